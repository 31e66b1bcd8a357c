/* profile.c - what a plan costs (FLOPs, bytes) and what it took, by op and by scope, with the machine's limits beside it. */
#include "graph/core.h"
#include <stdlib.h>

static double live_bytes(const nc_value *v, const int64_t *counts)
{
    const nc_dtype_info *i = nc_dtype_get(v->dtype);

    return (double)nc_live_count(v, counts) * i->bytes / i->block;
}

/* An op that says nothing moves its inputs and outputs once and computes nothing worth counting. */
void nc_node_cost(const nc_node *n, const int64_t *counts, double *flops, double *bytes)
{
    *flops = *bytes = 0;
    if (n->op->cost) {
        n->op->cost(n, counts, flops, bytes);
        return;
    }
    for (int j = 0; j < n->inputs; j++)
        if (n->in[j])
            *bytes += live_bytes(n->in[j], counts);
    for (int o = 0; o < n->outputs; o++)
        *bytes += live_bytes(n->out[o], counts);
}

void nc_plan_cost(const nc_plan *p, const int64_t *counts, double *flops, double *bytes)
{
    int64_t capacities[NC_MAX_COUNTS];

    for (int i = 0; i < p->g->counts; i++)
        capacities[i] = p->g->count[i].capacity;
    *flops = *bytes = 0;
    for (int i = 0; i < p->steps; i++) {
        double f, b;
        nc_node_cost(p->step[i].node, counts ? counts : capacities, &f, &b);
        *flops += f;
        *bytes += b;
    }
}

void nc_plan_profile(nc_plan *p, bool on)
{
    p->profile = on;
    for (int i = 0; on && i < p->steps; i++)
        p->seconds[i] = p->flops[i] = p->moved[i] = 0, p->calls[i] = 0;
}

typedef struct row { const char *name, *direction; double seconds, flops, bytes; uint64_t calls; } row;

static int by_time(const void *x, const void *y)
{
    const row *a = x, *b = y;

    return a->seconds < b->seconds ? 1 : a->seconds > b->seconds ? -1 : strcmp(a->name, b->name);
}

static int gather(const nc_plan *p, row *rows, bool by_scope)
{
    int count = 0;

    for (int i = 0; i < p->steps; i++) {
        const nc_node *n = p->step[i].node;
        const char *name = by_scope ? n->scope : n->op->name, *direction = n->backward ? "backward" : "forward";
        int k = 0;
        while (k < count && (strcmp(rows[k].name, name) || strcmp(rows[k].direction, direction)))
            k++;
        if (k == count)
            rows[count++] = (row){ name, direction, 0, 0, 0, 0 };
        rows[k].seconds += p->seconds[i];
        rows[k].flops += p->flops[i];
        rows[k].bytes += p->moved[i];
        rows[k].calls += p->calls[i];
    }
    qsort(rows, (size_t)count, sizeof *rows, by_time);
    return count;
}

static void print(nc_buf *out, const char *title, const row *rows, int count, double peak_gflops, double peak_gbps)
{
    double total = 1e-12;

    for (int i = 0; i < count; i++)
        total += rows[i].seconds;
    nc_buf_printf(out, "%-40s %-8s %8s %10s %6s %9s %6s %8s %6s\n", title, "", "calls", "ms", "%", "GFLOP/s", "% peak", "GB/s", "% peak");
    for (int i = 0; i < count; i++) {
        const row *r = &rows[i];
        double s = r->seconds > 0 ? r->seconds : 1e-12, gflops = r->flops / s * 1e-9, gbps = r->bytes / s * 1e-9;
        nc_buf_printf(out, "%-40s %-8s %8llu %10.3f %6.1f %9.1f %6.1f %8.1f %6.1f\n", *r->name ? r->name : "(no scope)", r->direction,
                      (unsigned long long)r->calls, r->seconds * 1e3, 100 * r->seconds / total, gflops, peak_gflops > 0 ? 100 * gflops / peak_gflops : 0,
                      gbps, peak_gbps > 0 ? 100 * gbps / peak_gbps : 0);
    }
}

void nc_plan_profile_table(const nc_plan *p, double peak_gflops, double peak_gbps, nc_buf *out)
{
    row *rows = nc_xcalloc((size_t)p->steps + 1, sizeof *rows);

    print(out, "op", rows, gather(p, rows, false), peak_gflops, peak_gbps);
    nc_buf_addc(out, '\n');
    print(out, "scope", rows, gather(p, rows, true), peak_gflops, peak_gbps);
    free(rows);
}

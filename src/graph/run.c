/* run.c - a plan's steps one after another. The work of a step is shared inside its kernel; between steps there is a call and nothing else. */
#include "base/clock.h"
#include "graph/core.h"

/* Live numbers within their capacities; every leaf that is read has data unless nothing of it is live. */
static int check_leaves(nc_plan *p, const int64_t *counts, nc_error *e)
{
    const nc_graph *g = p->g;

    for (int i = 0; i < g->counts; i++)
        if (counts[i] < 0 || counts[i] > g->count[i].capacity)
            return nc_fail(e, NC_EINVAL, "count %s is %lld, the plan's capacity is %lld", g->count[i].name, (long long)counts[i],
                           (long long)g->count[i].capacity);
    for (int i = 0; i < p->leaves; i++) {
        const nc_value *v = p->leaf[i];
        if (!v->data && !v->packed && nc_live_count(v, counts) > 0)
            return nc_fail(e, NC_EINVAL, "%s %s has no data", v->kind == NC_VALUE_STATE ? "state" : "input", v->name ? v->name : "without a name");
    }
    for (int i = 0; i < p->aliases; i++)
        p->alias[i].value->data = p->alias[i].root->data ? (char *)p->alias[i].root->data + p->alias[i].bytes : NULL;
    return 0;
}

static int run_step(nc_plan *p, int i, nc_run *r)
{
    const nc_step *s = &p->step[i];
    const nc_node *n = s->node;

    r->workspace = (char *)p->memory + s->workspace_at;
    r->before = i > 0 && s[-1].workspace_at == s->workspace_at && s[-1].node->workspace == n->workspace ? s[-1].node : NULL;
    if (n->copy_acc) {
        const nc_value *acc = n->in[n->inputs - 1];
        memcpy(n->out[n->op->accumulated]->data, acc->data, nc_dtype_bytes(acc->dtype, nc_live_count(acc, r->counts)));
    }
    return s->run(n, r);
}

static int failed_step(const nc_node *n, int rc, nc_error *e)
{
    if (e && !e->code)
        nc_fail(e, rc, "failed (%s)", nc_status_name(rc));
    nc_fail_in(e, "%s%s%s", n->scope, *n->scope ? ": " : "", n->op->name);
    return rc;
}

static int run_profiled(nc_plan *p, nc_run *r)
{
    for (int i = 0; i < p->steps; i++) {
        double flops = 0, bytes = 0;
        uint64_t start = nc_now_ns();
        int rc = run_step(p, i, r);
        p->seconds[i] += (double)(nc_now_ns() - start) * 1e-9;
        if (rc < 0)
            return failed_step(p->step[i].node, rc, r->error);
        nc_node_cost(p->step[i].node, r->counts, &flops, &bytes);
        p->calls[i]++;
        p->flops[i] += flops;
        p->moved[i] += bytes;
    }
    return 0;
}

int nc_plan_run(nc_plan *p, const nc_run_options *o, nc_error *e)
{
    int64_t capacities[NC_MAX_COUNTS];
    nc_error own = { 0 };
    const int64_t *counts = o->counts;

    if (!e)
        e = &own;
    e->code = 0;
    for (int i = 0; !o->counts && i < p->g->counts; i++)
        capacities[i] = p->g->count[i].capacity;
    if (!counts)
        counts = capacities;
    if (p->bytes && !p->memory)
        return nc_fail(e, NC_EINVAL, "the plan is not bound to memory");
    if (nc_pool_threads(o->pool) > p->threads)
        return nc_fail(e, NC_EINVAL, "the plan is for %d threads, the pool has %d", p->threads, nc_pool_threads(o->pool));
    NC_TRY(check_leaves(p, counts, e));
    nc_run r = { .pool = o->pool, .kernels = o->kernels ? o->kernels : nc_kernels_best(), .counts = counts, .seed = o->seed, .step = o->step,
                 .training = o->training, .fresh = o->fresh_gradients, .error = e };
    for (int i = 0; i < p->squared; i++)
        *p->squares[i] = 0;
    if (p->profile)
        return run_profiled(p, &r);
    for (int i = 0; i < p->steps; i++) {
        int rc = run_step(p, i, &r);
        if (rc < 0)
            return failed_step(p->step[i].node, rc, e);
    }
    return 0;
}

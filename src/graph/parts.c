/* parts.c - gradients of slices, written where they belong in the gradient of the whole.
 *
 * A product that makes [q | k | v] at once gets its gradient as a chain  u1 = unslice(dv), u2 = u1 + unslice(dk), u3 = u2 + unslice(dq).  Where the parts cover
 * all columns once, and each is an output nobody else reads of an op that can write rows with gaps (NC_OP_PLACES), these outputs become columns of the
 * chain's memory and nothing is left for the chain to do.
 */
#include "graph/core.h"

enum { MOST = 8 };

static bool is_unslice(const nc_node *n) { return n && n->op == &nc_op_unslice; }
static nc_node *before(const nc_node *u) { return u->in[1] ? u->in[1]->node : NULL; }

static bool goes_on(const nc_graph *g, const nc_node *u, const bool *live)
{
    for (int i = u->order + 1; i < g->nodes; i++)
        if (live[i] && is_unslice(g->node[i]) && g->node[i]->in[1] == u->out[0])
            return true;
    return false;
}

/* The op's output that u puts in its place, seen through a reshape; NULL where it cannot be written there at once. */
static nc_value *part_of(const nc_node *u, int64_t start)
{
    nc_value *x = u->in[0], *v = x->base ? x->base : x, *whole = u->out[0];

    if (!v->node || !(v->node->op->flags & NC_OP_PLACES) || v->base || v->kept || x->kept || v->uses != 1 || x->uses != 1 || x->offset || start < 0)
        return NULL;
    bool fits = whole->shape.rank == 2 && x->shape.rank == 2 && v->shape.rank >= 2 && v->dtype == whole->dtype && nc_same_rows(v, whole) &&
                nc_shape_count(&v->shape) == nc_shape_count(&x->shape);
    return fits ? v : NULL;
}

/* The parts cover columns [0, width) once: each column is begun by one of them and ended by another or the edge. */
static bool covers(const nc_node *const *u, int n, int64_t width)
{
    int64_t at = 0;

    for (int found = 0; found < n; found++) {
        int i = 0;
        while (i < n && nc_unslice_start(u[i]) != at)
            i++;
        if (i == n || u[i]->in[0]->shape.dim[1] <= 0)
            return false;
        at += u[i]->in[0]->shape.dim[1];
    }
    return at == width;
}

void nc_parts_assign(nc_graph *g, const bool *live, nc_node **place)
{
    for (int i = 0; i < g->nodes; i++) {
        const nc_node *u[MOST];
        int n = 0;
        if (!live[i] || !is_unslice(g->node[i]) || goes_on(g, g->node[i], live))
            continue;
        const nc_node *end = g->node[i];
        bool fits = true;
        for (const nc_node *k = end; fits && k; k = before(k)) {
            fits = n < MOST && is_unslice(k) && part_of(k, nc_unslice_start(k)) && (k == end || (k->out[0]->uses == 1 && !k->out[0]->kept));
            if (fits)
                u[n++] = k;
        }
        if (!fits || u[n - 1]->in[1] || !covers(u, n, end->out[0]->shape.dim[1]))
            continue;
        for (int k = 0; k < n; k++)
            place[part_of(u[k], 0)->id] = g->node[u[k]->order];
    }
}

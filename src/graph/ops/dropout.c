/* dropout.c - y = x m / (1 - p), m 0 with probability p, else 1 (Srivastava et al., JMLR 15, 2014; inverted form). dx = dy m / (1 - p).
 *
 * The mask is a function of (seed; step, site, row, column), so the gradient and a recomputed block draw it again instead of keeping it.
 */
#include "graph/op.h"
#include "base/rng.h"
#include "kernels/element.h"

typedef struct attr { double p; uint32_t site; } attr;
typedef struct job { const nc_node *n; const nc_run *r; } job;

static int infer(nc_graph *g, nc_node *n, nc_error *e)
{
    double p = NC_ATTR(n, attr)->p;

    if (!(p >= 0 && p < 1))
        return nc_infer_fail(n, e, NC_EINVAL, "p must be at least 0 and below 1, got %g", p);
    return nc_infer_same(g, n, e);
}

static void rows(void *context, int64_t begin, int64_t end, int worker)
{
    const job *j = context;
    const attr *a = NC_ATTR(j->n, attr);
    const nc_value *x = j->n->in[0], *y = j->n->out[0];
    int64_t width = nc_live_last(y, j->r->counts);
    nc_slot slot = (nc_slot)nc_dtype_slot(y->dtype);

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        nc_dropout_row d = { j->r->seed, nc_rng_stream(j->r->step, a->site, (uint64_t)i, 0), 0, (uint32_t)(a->p * 4294967296.0), 1 / (1 - a->p) };
        if (j->r->training)
            j->r->kernels->element->dropout[slot](nc_row_at(y, i), nc_row_at(x, i), width, &d);
        else if (nc_row_at(y, i) != nc_row_at(x, i))
            memcpy(nc_row_at(y, i), nc_row_at(x, i), nc_dtype_bytes(y->dtype, width));
    }
}

static int run(const nc_node *n, const nc_run *r)
{
    job j = { n, r };

    nc_parallel_rows(r, nc_live_last_rows(n->out[0], r->counts), nc_grain(nc_shape_last(&n->out[0]->shape) * 4), rows, &j);
    return 0;
}

static void grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    dx[0] = nc_dropout(g, dy[0], NC_ATTR(n, attr)->p, NC_ATTR(n, attr)->site);
}

const nc_op nc_op_dropout = { .name = "dropout", .flags = NC_OP_INPLACE | NC_OP_STRIDED, .infer = infer, .grad = grad, .run = run };

nc_value *nc_dropout(nc_graph *g, nc_value *x, double p, uint32_t site)
{
    return p == 0 ? x : nc_emit(g, &nc_op_dropout, &(attr){ p, site }, sizeof(attr), &x, 1);
}

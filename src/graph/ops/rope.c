/* rope.c - rotary positions: a table of cos and sin for each row's positions, and the rotation of heads by it. Formulas in kernels/rope.h.
 *
 *   rope_table   pos [N, axes] I32 -> cos, sin [N, R/2] f32 (f64 in an f64 graph)
 *   rope         x [N, H, A], cos, sin [N, R/2] -> y [N, H, A];   dx = the rotation by minus the angle of dy
 */
#include "graph/op.h"
#include "kernels/rope.h"

typedef struct rope_attr { bool neighbours, inverse; } rope_attr;
typedef struct job { const nc_node *n; const nc_run *r; nc_rope_shape s; } job;

static int infer(nc_graph *g, nc_node *n, nc_error *e)
{
    const nc_value *x = n->in[0];

    NC_TRY(nc_infer_rank(n, 0, 3, e));
    for (int i = 1; i < 3; i++) {
        NC_TRY(nc_infer_dtype(n, i, nc_graph_wide(g), e));
        NC_TRY(nc_infer_rank(n, i, 2, e));
        if (!nc_same_rows(x, n->in[i]) || n->in[i]->shape.dim[1] != n->in[1]->shape.dim[1])
            return nc_infer_fail(n, e, NC_ESHAPE, "cos and sin must have the rows of x and one width");
    }
    if (2 * n->in[1]->shape.dim[1] > x->shape.dim[2])
        return nc_infer_fail(n, e, NC_ESHAPE, "%lld frequencies turn %lld columns, a head has %lld", (long long)n->in[1]->shape.dim[1],
                             (long long)(2 * n->in[1]->shape.dim[1]), (long long)x->shape.dim[2]);
    return nc_infer_same(g, n, e);
}

static void rows(void *context, int64_t begin, int64_t end, int worker)
{
    const job *j = context;
    const nc_value *x = j->n->in[0], *y = j->n->out[0];

    (void)worker;
    for (int64_t i = begin; i < end; i++)
        j->r->kernels->rope->rotate[nc_dtype_slot(x->dtype)](nc_at(y, i * y->stride[0]), y->stride[1], nc_at(x, i * x->stride[0]), x->stride[1],
                                                             nc_row_at(j->n->in[1], i), nc_row_at(j->n->in[2], i), &j->s);
}

static int run(const nc_node *n, const nc_run *r)
{
    const rope_attr *a = NC_ATTR(n, rope_attr);
    const nc_value *x = n->in[0];
    job j = { n, r, { x->shape.dim[1], x->shape.dim[2], n->in[1]->shape.dim[1], a->neighbours, a->inverse } };

    nc_parallel_rows(r, nc_live_rows(x, r->counts), nc_grain(x->shape.dim[1] * x->shape.dim[2] * 4), rows, &j);
    return 0;
}

static void grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    rope_attr a = *NC_ATTR(n, rope_attr);

    a.inverse = !a.inverse;
    dx[0] = nc_emit(g, &nc_op_rope, &a, sizeof a, (nc_value *[]){ dy[0], n->in[1], n->in[2] }, 3);
}

const nc_op nc_op_rope = { .name = "rope", .flags = NC_OP_INPLACE | NC_OP_STRIDED, .infer = infer, .grad = grad, .run = run };

nc_value *nc_rope(nc_graph *g, nc_value *x, nc_value *cosine, nc_value *sine, nc_rope_style style)
{
    rope_attr a = { style == NC_ROPE_NEIGHBOURS, false };

    return nc_emit(g, &nc_op_rope, &a, sizeof a, (nc_value *[]){ x, cosine, sine }, 3);
}

/* ---- tables ---- */

static int table_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    const nc_rope_freqs *f = NC_ATTR(n, nc_rope_freqs);
    const nc_value *pos = n->in[0];

    NC_TRY(nc_infer_dtype(n, 0, NC_I32, e));
    NC_TRY(nc_infer_rank(n, 0, 2, e));
    if (f->half < 1)
        return nc_infer_fail(n, e, NC_EINVAL, "at least one frequency is needed, got %d", f->half);
    for (int i = 0; f->axis_of && i < f->half; i++)
        if (f->axis_of[i] < 0 || f->axis_of[i] >= pos->shape.dim[1])
            return nc_infer_fail(n, e, NC_ESHAPE, "frequency %d follows axis %d of positions with %lld axes", i, f->axis_of[i], (long long)pos->shape.dim[1]);
    n->outputs = 2;
    for (int i = 0; i < 2; i++)
        nc_infer_out(n, i, nc_graph_wide(g), NC_SHAPE(pos->shape.dim[0], f->half), pos->count, pos->count_scale);
    return 0;
}

static void table_rows(void *context, int64_t begin, int64_t end, int worker)
{
    const job *j = context;
    const nc_rope_freqs *f = NC_ATTR(j->n, nc_rope_freqs);
    nc_value *c = j->n->out[0], *s = j->n->out[1];

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        const int32_t *position = nc_row_at(j->n->in[0], i);
        if (c->dtype == NC_F64)
            j->r->kernels->rope->table_f64(nc_row_at(c, i), nc_row_at(s, i), position, f);
        else
            j->r->kernels->rope->table_f32(nc_row_at(c, i), nc_row_at(s, i), position, f);
    }
}

static int table_run(const nc_node *n, const nc_run *r)
{
    job j = { .n = n, .r = r };

    if (!n->out[1]->data)
        return nc_fail(r->error, NC_EINVAL, "rope_table: the sine is not used; use both outputs");
    nc_parallel_rows(r, nc_live_rows(n->in[0], r->counts), nc_grain(NC_ATTR(n, nc_rope_freqs)->half * 40), table_rows, &j);
    return 0;
}

const nc_op nc_op_rope_table = { .name = "rope_table", .infer = table_infer, .run = table_run };

nc_value *nc_rope_table(nc_graph *g, nc_value *pos, const float *inv_freq, const int *axis_of, int half, double factor)
{
    nc_arena *a = nc_graph_arena(g);
    nc_rope_freqs f = { half, NULL, NULL, factor };

    if (half > 0) {
        f.inv_freq = nc_arena_copy(a, inv_freq, (size_t)half * sizeof *inv_freq);
        f.axis_of = axis_of ? nc_arena_copy(a, axis_of, (size_t)half * sizeof *axis_of) : NULL;
    }
    return nc_emit(g, &nc_op_rope_table, &f, sizeof f, &pos, 1);
}

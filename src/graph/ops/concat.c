/* concat.c - values laid side by side along one axis; the others agree. Its gradient is a slice for each. */
#include "graph/op.h"

typedef struct attr { int axis; } attr;

static int infer(nc_graph *g, nc_node *n, nc_error *e)
{
    int axis = NC_ATTR(n, attr)->axis;
    const nc_value *x = n->in[0];
    nc_shape s = x->shape;
    char a[96], b[96];

    (void)g;
    if (axis < 0 || nc_dtype_get(x->dtype)->block != 1)
        return nc_infer_fail(n, e, NC_ESHAPE, "no such axis of %s, or %s is stored in blocks", nc_shape_str(&s, a), nc_dtype_name(x->dtype));
    for (int j = 1; j < n->inputs; j++) {
        const nc_value *y = n->in[j];
        bool fits = y->shape.rank == s.rank && y->dtype == x->dtype;
        for (int i = 0; fits && i < s.rank; i++)
            fits = i == axis || y->shape.dim[i] == s.dim[i];
        if (!fits || (axis > 0 && !nc_same_rows(x, y)))
            return nc_infer_fail(n, e, NC_ESHAPE, "%s %s and %s %s do not join along axis %d", nc_dtype_name(x->dtype), nc_shape_str(&x->shape, a),
                                 nc_dtype_name(y->dtype), nc_shape_str(&y->shape, b), axis);
        s.dim[axis] += y->shape.dim[axis];
    }
    for (int j = 0; axis == 0 && j < n->inputs; j++)
        if (n->in[j]->count >= 0)
            return nc_infer_fail(n, e, NC_ESHAPE, "axis 0 follows a count; splice rows by index instead");
    nc_infer_out(n, 0, x->dtype, s, x->count, x->count_scale);
    return 0;
}

static void grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    int axis = NC_ATTR(n, attr)->axis;
    int64_t at = 0;

    for (int j = 0; j < n->inputs; j++) {
        dx[j] = nc_slice(g, dy[0], axis, at, n->in[j]->shape.dim[axis]);
        at += n->in[j]->shape.dim[axis];
    }
}

/* inner: elements under one index of the axis; lines: last-axis lines in one input's share of one outer index, for each unit of the axis. */
typedef struct job { const nc_node *n; int axis; int64_t inner, lines; } job;

static void join(void *context, int64_t begin, int64_t end, int worker)
{
    const job *k = context;
    const nc_value *y = k->n->out[0];
    int64_t size = nc_dtype_get(y->dtype)->bytes, width = nc_shape_last(&y->shape);
    bool last = k->axis == y->shape.rank - 1;

    (void)worker;
    for (int64_t o = begin; o < end; o++) {
        int64_t at = o * y->shape.dim[k->axis] * k->inner;
        for (int j = 0; j < k->n->inputs; j++) {
            const nc_value *x = k->n->in[j];
            int64_t share = x->shape.dim[k->axis] * k->inner, lines = last ? 1 : x->shape.dim[k->axis] * k->lines;
            if (nc_value_is_contiguous(x))
                memcpy(nc_at(y, at), nc_at(x, o * share), (size_t)(share * size));
            else
                for (int64_t q = 0; q < lines; q++)
                    memcpy(nc_at(y, at + q * width), nc_row_at(x, o * lines + q), (size_t)((last ? share : width) * size));
            at += share;
        }
    }
}

static int run(const nc_node *n, const nc_run *r)
{
    const nc_value *y = n->out[0];
    job k = { n, NC_ATTR(n, attr)->axis, 1, 1 };
    int64_t outer = 1;

    for (int i = 0; i < k.axis; i++)
        outer *= i ? y->shape.dim[i] : nc_live_rows(y, r->counts);
    for (int i = k.axis + 1; i < y->shape.rank; i++) {
        k.inner *= y->shape.dim[i];
        k.lines *= i < y->shape.rank - 1 ? y->shape.dim[i] : 1;
    }
    nc_parallel_rows(r, outer, nc_grain(y->shape.dim[k.axis] * k.inner * 4), join, &k);
    return 0;
}

const nc_op nc_op_concat = { .name = "concat", .flags = NC_OP_STRIDED, .infer = infer, .grad = grad, .run = run };

nc_value *nc_concat(nc_graph *g, nc_value *const *xs, int n, int axis)
{
    if (n == 1)
        return xs[0];
    if (n < 1) {
        nc_graph_mistake(g, NC_EINVAL, "concat: nothing to join");
        return nc_graph_poison(g);
    }
    attr a = { nc_axis(xs[0], axis) };
    return nc_emit(g, &nc_op_concat, &a, sizeof a, xs, n);
}

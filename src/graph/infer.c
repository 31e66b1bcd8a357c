/* infer.c - rules of shape that ops share (op.h), and work cut by rows. */
#include "graph/core.h"
#include <stdio.h>

void nc_infer_out(nc_node *n, int output, nc_dtype t, nc_shape s, int count, int64_t count_scale)
{
    nc_value *v = n->out[output];

    v->dtype = t;
    v->shape = s;
    v->count = count;
    v->count_scale = count < 0 ? 1 : count_scale;
    nc_row_major(v);
    if (output >= n->outputs)
        n->outputs = output + 1;
}

void nc_infer_like(nc_node *n, int output, const nc_value *x) { nc_infer_out(n, output, x->dtype, x->shape, x->count, x->count_scale); }

int nc_infer_fail(const nc_node *n, nc_error *e, int code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    nc_failv(e, code, format, args);
    va_end(args);
    nc_fail_in(e, "%s", n->op->name);
    return code;
}

static const char *input_name(const nc_node *n, int input, char *text, size_t size)
{
    if (n->in[input] && n->in[input]->name)
        snprintf(text, size, "input %d (%s)", input, n->in[input]->name);
    else
        snprintf(text, size, "input %d", input);
    return text;
}

static int present(const nc_node *n, int input, nc_error *e)
{
    return input < n->inputs && n->in[input] ? 0 : nc_infer_fail(n, e, NC_EINVAL, "input %d is missing", input);
}

int nc_infer_rank(const nc_node *n, int input, int rank, nc_error *e)
{
    char text[96], name[200];

    NC_TRY(present(n, input, e));
    if (n->in[input]->shape.rank != rank)
        return nc_infer_fail(n, e, NC_ESHAPE, "%s must have %d axes, got %s", input_name(n, input, name, sizeof name), rank,
                             nc_shape_str(&n->in[input]->shape, text));
    return 0;
}

int nc_infer_dims(const nc_node *n, int input, nc_error *e, int rank, const int64_t *dims)
{
    char got[96], needed[96], name[200];
    nc_shape want = nc_shape_of(rank, dims);

    NC_TRY(present(n, input, e));
    bool fits = n->in[input]->shape.rank == rank;
    for (int i = 0; fits && i < rank; i++)
        fits = dims[i] < 0 || dims[i] == n->in[input]->shape.dim[i];
    if (!fits)
        return nc_infer_fail(n, e, NC_ESHAPE, "%s must be %s (-1: any), got %s", input_name(n, input, name, sizeof name), nc_shape_str(&want, needed),
                             nc_shape_str(&n->in[input]->shape, got));
    return 0;
}

int nc_infer_dtype(const nc_node *n, int input, nc_dtype t, nc_error *e)
{
    char name[200];

    NC_TRY(present(n, input, e));
    if (n->in[input]->dtype != t)
        return nc_infer_fail(n, e, NC_ESHAPE, "%s must be %s, got %s", input_name(n, input, name, sizeof name), nc_dtype_name(t),
                             nc_dtype_name(n->in[input]->dtype));
    return 0;
}

int nc_infer_compute(const nc_node *n, int input, nc_error *e)
{
    char name[200];

    NC_TRY(present(n, input, e));
    if (!nc_is_compute(n->in[input]->dtype))
        return nc_infer_fail(n, e, NC_ESHAPE, "%s must be F32, BF16 or F64, got %s", input_name(n, input, name, sizeof name),
                             nc_dtype_name(n->in[input]->dtype));
    return 0;
}

int nc_infer_same(nc_graph *g, nc_node *n, nc_error *e)
{
    (void)g;
    NC_TRY(nc_infer_compute(n, 0, e));
    nc_infer_like(n, 0, n->in[0]);
    return 0;
}

bool nc_same_rows(const nc_value *a, const nc_value *b)
{
    if (a->shape.rank == 0 || b->shape.rank == 0)
        return a->shape.rank == b->shape.rank;
    return a->shape.dim[0] == b->shape.dim[0] && a->count == b->count && a->count_scale == b->count_scale;
}

/* Whether v reaches axis 0 of a broadcast to `out` with more than one row. */
static bool spans_axis0(const nc_value *v, const nc_shape *out) { return v->shape.rank == out->rank && out->rank > 0 && (v->shape.dim[0] != 1 || v->count >= 0); }

/* A counted axis 0 stands against the same count or against one row. Against a constant number of rows it would read rows that are not live. */
int nc_count_broadcast(const nc_value *a, const nc_value *b, const nc_shape *out, int *count, int64_t *scale)
{
    bool sa = spans_axis0(a, out), sb = spans_axis0(b, out);
    const nc_value *from = sa && a->count >= 0 ? a : sb && b->count >= 0 ? b : NULL;

    *count = from ? from->count : -1;
    *scale = from ? from->count_scale : 1;
    if ((a->count >= 0 && !sa) || (b->count >= 0 && !sb))
        return NC_ESHAPE;
    return sa && sb && (a->count != b->count || a->count_scale != b->count_scale) ? NC_ESHAPE : 0;
}

int nc_infer_broadcast(nc_graph *g, nc_node *n, nc_error *e)
{
    char ta[96], tb[96];
    nc_shape s;
    int count;
    int64_t scale;

    (void)g;
    NC_TRY(nc_infer_compute(n, 0, e));
    NC_TRY(nc_infer_compute(n, 1, e));
    const nc_value *a = n->in[0], *b = n->in[1];
    if (!nc_shape_broadcast(&a->shape, &b->shape, &s))
        return nc_infer_fail(n, e, NC_ESHAPE, "%s and %s do not broadcast", nc_shape_str(&a->shape, ta), nc_shape_str(&b->shape, tb));
    if (nc_count_broadcast(a, b, &s, &count, &scale) < 0)
        return nc_infer_fail(n, e, NC_ESHAPE, "rows of %s and %s do not follow the same count", nc_shape_str(&a->shape, ta), nc_shape_str(&b->shape, tb));
    nc_dtype t = a->dtype == NC_F64 || b->dtype == NC_F64 ? NC_F64 : a->dtype == NC_F32 || b->dtype == NC_F32 ? NC_F32 : NC_BF16;
    nc_infer_out(n, 0, t, s, count, scale);
    return 0;
}

int nc_axis(const nc_value *x, int axis)
{
    int a = axis < 0 ? axis + x->shape.rank : axis;

    return a < 0 || a >= x->shape.rank ? -1 : a;
}

bool nc_rows_even(const nc_value *v, int64_t *stride)
{
    int rank = v->shape.rank;

    if (rank < 2)
        return *stride = nc_shape_last(&v->shape), true;
    int64_t step = 0, expected = 0;
    for (int a = rank - 2; a >= 0; a--) {
        if (v->shape.dim[a] == 1)
            continue;
        if (!step)
            step = v->stride[a];
        else if (v->stride[a] != expected)
            return false;
        expected = v->stride[a] * v->shape.dim[a];
    }
    return *stride = step ? step : nc_shape_last(&v->shape), true;
}

typedef struct cut { int64_t rows, grain; nc_rows_fn *fn; void *context; } cut;

static void piece(void *context, int64_t part, int64_t parts, int worker)
{
    const cut *c = context;
    int64_t begin = part * c->grain, end = begin + c->grain;

    (void)parts;
    c->fn(c->context, begin, end < c->rows ? end : c->rows, worker);
}

void nc_parallel_rows(const nc_run *r, int64_t rows, int64_t grain, nc_rows_fn *fn, void *context)
{
    cut c = { rows, grain < 1 ? 1 : grain, fn, context };
    int64_t parts = (rows + c.grain - 1) / c.grain;

    if (rows <= 0)
        return;
    if (parts == 1)
        fn(context, 0, rows, 0);
    else
        nc_pool_run(r->pool, parts, piece, &c);
}

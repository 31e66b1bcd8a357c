/* conv.c - convolution in one, two and three dimensions (cross-correlation, as PyTorch has it), with groups.
 *
 *   x [B,C,(D,)H,W], w [O,C/groups,(D,)H,W], b [O]  ->  y [B,O,...],  out = (in + 2 pad - dilation (kernel - 1) - 1) / stride + 1
 * One group: columns [B*P, C*K] times the weight as [O, C*K] (ops/linear.c), rows turned back to planes; gradients follow from these ops.
 * Several groups (depthwise among them): planes are summed directly over the group's channels; dx, dw are sums of the same form.
 *   columns / uncolumns: the rows of x that each output sees, and the adjoint; each is the other's gradient.
 */
#include "graph/op.h"
#include "kernels/conv.h"
#include "kernels/element.h"

typedef struct job { const nc_node *n; const nc_run *r; const nc_conv_shape *s; const void *w; char *acc; size_t acc_bytes; int64_t samples; } job;

static int slot_of(const nc_value *v) { return nc_dtype_slot(v->dtype); }
static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

static size_t acc_bytes(const nc_conv_shape *s)
{
    return ((size_t)larger(nc_conv_volume(s->in), nc_conv_volume(s->out)) * sizeof(double) + 63) & ~(size_t)63;
}
static size_t w_bytes(const nc_value *w) { return w ? ((size_t)nc_shape_count(&w->shape) * sizeof(double) + 63) & ~(size_t)63 : 0; }

/* Shape [B, channels, size ...] with x's number of axes and rows. */
static nc_shape planes(const nc_value *x, int64_t channels, const int64_t size[3], int dims)
{
    nc_shape s = { .rank = dims + 2, .dim = { x->shape.dim[0], channels } };

    for (int i = 0; i < dims; i++)
        s.dim[2 + i] = size[3 - dims + i];
    return s;
}

static void parallel(const nc_run *r, job *j, int64_t pieces, int64_t cost, nc_rows_fn *fn) { nc_parallel_rows(r, pieces, nc_grain(cost), fn, j); }

/* ---- columns and their adjoint ---- */

typedef struct column_attr { nc_conv_shape s; int dims; } column_attr;

static int columns_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    const column_attr *a = NC_ATTR(n, column_attr);
    const nc_value *x = n->in[0];
    int64_t P = nc_conv_volume(a->s.out);

    (void)g;
    NC_TRY(nc_infer_compute(n, 0, e));
    nc_infer_out(n, 0, x->dtype, NC_SHAPE(x->shape.dim[0] * P, a->s.channels * nc_conv_volume(a->s.kernel)), x->count, x->count_scale * P);
    return 0;
}

static void columns_rows(void *context, int64_t begin, int64_t end, int worker)
{
    const job *j = context;
    const nc_value *x = j->n->in[0], *y = j->n->out[0];
    int64_t P = nc_conv_volume(j->s->out), I = nc_conv_volume(j->s->in) * j->s->channels;

    (void)worker;
    for (int64_t i = begin; i < end;) {
        int64_t sample = i / P, last = (sample + 1) * P < end ? (sample + 1) * P : end;
        j->r->kernels->conv->columns[slot_of(x)](nc_row_at(y, i), nc_at(x, sample * I), j->s, i - sample * P, last - sample * P);
        i = last;
    }
}

static int columns_run(const nc_node *n, const nc_run *r)
{
    job j = { .n = n, .r = r, .s = &NC_ATTR(n, column_attr)->s };

    parallel(r, &j, nc_live_rows(n->out[0], r->counts), n->out[0]->shape.dim[1] * 4, columns_rows);
    return 0;
}

static void columns_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    dx[0] = nc_emit(g, &nc_op_uncolumns, n->attr, n->attr_size, (nc_value *[]){ dy[0] }, 1);
}

const nc_op nc_op_columns = { .name = "columns", .infer = columns_infer, .grad = columns_grad, .run = columns_run };

static int uncolumns_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    const column_attr *a = NC_ATTR(n, column_attr);
    const nc_value *y = n->in[0];
    int64_t P = nc_conv_volume(a->s.out);

    (void)g;
    NC_TRY(nc_infer_compute(n, 0, e));
    nc_value rows = *y;
    rows.shape.dim[0] = y->shape.dim[0] / P;
    nc_infer_out(n, 0, y->dtype, planes(&rows, a->s.channels, a->s.in, a->dims), y->count, y->count_scale / P);
    return 0;
}

static void uncolumns_planes(void *context, int64_t begin, int64_t end, int worker)
{
    const job *j = context;
    const nc_value *y = j->n->in[0], *x = j->n->out[0];
    int64_t P = nc_conv_volume(j->s->out), I = nc_conv_volume(j->s->in);

    for (int64_t i = begin; i < end; i++)
        j->r->kernels->conv->uncolumns[slot_of(x)](nc_at(x, i * I), nc_row_at(y, i / j->s->channels * P), j->s, i % j->s->channels,
                                                   j->acc + (size_t)worker * j->acc_bytes);
}

static int uncolumns_run(const nc_node *n, const nc_run *r)
{
    const nc_conv_shape *s = &NC_ATTR(n, column_attr)->s;
    job j = { .n = n, .r = r, .s = s, .acc = r->workspace, .acc_bytes = acc_bytes(s) };

    parallel(r, &j, nc_live_rows(n->out[0], r->counts) * s->channels, nc_conv_volume(s->out) * nc_conv_volume(s->kernel) * 4, uncolumns_planes);
    return 0;
}

static size_t uncolumns_workspace(const nc_node *n, int threads) { return acc_bytes(&NC_ATTR(n, column_attr)->s) * (size_t)threads; }

static void uncolumns_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    dx[0] = nc_emit(g, &nc_op_columns, n->attr, n->attr_size, (nc_value *[]){ dy[0] }, 1);
}

const nc_op nc_op_uncolumns = { .name = "uncolumns", .infer = uncolumns_infer, .grad = uncolumns_grad, .run = uncolumns_run, .workspace = uncolumns_workspace };

/* ---- grouped planes ---- */

/* The weight in x's type: as it is, or converted to the start of the workspace. */
static const void *weight_of(const nc_run *r, const nc_value *w, const nc_value *x)
{
    if (w->dtype == x->dtype)
        return w->data;
    r->kernels->element->cast(x->dtype, r->workspace, w->dtype, w->data, nc_shape_count(&w->shape));
    return r->workspace;
}

static job job_of(const nc_node *n, const nc_run *r, const nc_value *w, const nc_value *x)
{
    const nc_conv_shape *s = &NC_ATTR(n, column_attr)->s;

    return (job){ n, r, s, w ? weight_of(r, w, x) : NULL, (char *)r->workspace + w_bytes(w), acc_bytes(s), nc_live_rows(x, r->counts) };
}

static size_t planes_workspace(const nc_node *n, int threads) { return w_bytes(n->in[1]) + acc_bytes(&NC_ATTR(n, column_attr)->s) * (size_t)threads; }
static int64_t planes_cost(const nc_conv_shape *s) { return nc_conv_volume(s->out) * nc_conv_volume(s->kernel) * larger(1, s->channels / s->groups); }

static void planes_flops(const nc_node *n, const int64_t *counts, double *flops, double *bytes)
{
    const nc_conv_shape *s = &NC_ATTR(n, column_attr)->s;

    *flops = 2.0 * (double)nc_live_rows(n->in[0], counts) * (double)s->outputs * (double)planes_cost(s);
    *bytes = (double)(nc_live_count(n->in[0], counts) + nc_live_count(n->out[0], counts)) * nc_dtype_get(n->in[0]->dtype)->bytes;
}

static int planes_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    const column_attr *a = NC_ATTR(n, column_attr);

    (void)g;
    NC_TRY(nc_infer_compute(n, 0, e));
    NC_TRY(nc_infer_compute(n, 1, e));
    if ((n->in[0]->dtype == NC_F64) != (n->in[1]->dtype == NC_F64))
        return nc_infer_fail(n, e, NC_ESHAPE, "x is %s, the weight %s", nc_dtype_name(n->in[0]->dtype), nc_dtype_name(n->in[1]->dtype));
    bool forward = n->op == &nc_op_conv_planes;
    nc_infer_out(n, 0, n->in[0]->dtype, planes(n->in[0], forward ? a->s.outputs : a->s.channels, forward ? a->s.out : a->s.in, a->dims), n->in[0]->count,
                 n->in[0]->count_scale);
    return 0;
}

static void forward_planes(void *context, int64_t begin, int64_t end, int worker)
{
    const job *j = context;
    const nc_value *x = j->n->in[0], *y = j->n->out[0];
    int64_t P = nc_conv_volume(j->s->out), I = nc_conv_volume(j->s->in);

    for (int64_t i = begin; i < end; i++)
        j->r->kernels->conv->plane[slot_of(x)](nc_at(y, i * P), nc_at(x, i / j->s->outputs * j->s->channels * I), j->w, j->s, i % j->s->outputs,
                                               j->acc + (size_t)worker * j->acc_bytes);
}

static int forward_run(const nc_node *n, const nc_run *r)
{
    job j = job_of(n, r, n->in[1], n->in[0]);

    parallel(r, &j, j.samples * j.s->outputs, planes_cost(j.s), forward_planes);
    return 0;
}

static void planes_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    nc_value *x = n->in[0], *w = n->in[1];

    if (x->has_grad || x->wants_grad)
        dx[0] = nc_emit(g, &nc_op_conv_planes_dx, n->attr, n->attr_size, (nc_value *[]){ dy[0], w }, 2);
    if (w->has_grad || w->wants_grad)
        dx[1] = nc_emit(g, &nc_op_conv_planes_dw, n->attr, n->attr_size, (nc_value *[]){ x, dy[0], NULL }, 3);
}

const nc_op nc_op_conv_planes = { .name = "conv_planes", .infer = planes_infer, .grad = planes_grad, .run = forward_run, .workspace = planes_workspace, .cost = planes_flops };

static void dx_planes(void *context, int64_t begin, int64_t end, int worker)
{
    const job *j = context;
    const nc_value *dy = j->n->in[0], *dx = j->n->out[0];
    int64_t P = nc_conv_volume(j->s->out), I = nc_conv_volume(j->s->in);

    for (int64_t i = begin; i < end; i++)
        j->r->kernels->conv->plane_dx[slot_of(dy)](nc_at(dx, i * I), nc_at(dy, i / j->s->channels * j->s->outputs * P), j->w, j->s, i % j->s->channels,
                                                   j->acc + (size_t)worker * j->acc_bytes);
}

static int dx_run(const nc_node *n, const nc_run *r)
{
    job j = job_of(n, r, n->in[1], n->in[0]);

    parallel(r, &j, j.samples * j.s->channels, planes_cost(j.s), dx_planes);
    return 0;
}

/* z = dx of (dy, w) is linear in both: by dy it is the forward of z', by w the weight gradient of z' against dy. */
static void dx_grad(nc_graph *g, nc_node *n, nc_value *const *dz, nc_value **dx)
{
    nc_value *dy = n->in[0], *w = n->in[1];

    if (dy->has_grad || dy->wants_grad)
        dx[0] = nc_emit(g, &nc_op_conv_planes, n->attr, n->attr_size, (nc_value *[]){ dz[0], w }, 2);
    if (w->has_grad || w->wants_grad)
        dx[1] = nc_emit(g, &nc_op_conv_planes_dw, n->attr, n->attr_size, (nc_value *[]){ dz[0], dy, NULL }, 3);
}

const nc_op nc_op_conv_planes_dx = { .name = "conv_planes_dx", .infer = planes_infer, .grad = dx_grad, .run = dx_run, .workspace = planes_workspace, .cost = planes_flops };

static int dw_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    const column_attr *a = NC_ATTR(n, column_attr);
    nc_value rows = { .shape = { .dim = { a->s.outputs } } };

    NC_TRY(nc_infer_dtype(n, 1, n->in[0]->dtype, e));
    nc_infer_out(n, 0, nc_graph_wide(g), planes(&rows, a->s.channels / a->s.groups, a->s.kernel, a->dims), -1, 1);
    return 0;
}

static void dw_pieces(void *context, int64_t begin, int64_t end, int worker)
{
    const job *j = context;
    const nc_value *x = j->n->in[0], *dy = j->n->in[1], *dw = j->n->out[0];
    int64_t P = nc_conv_volume(j->s->out), I = nc_conv_volume(j->s->in), K = nc_conv_volume(j->s->kernel), in = j->s->channels / j->s->groups;

    (void)worker;
    for (int64_t i = begin; i < end; i++)
        for (int64_t b = 0; b < j->samples; b++)
            j->r->kernels->conv->plane_dw[slot_of(x)](nc_at(dw, i * K), nc_at(x, b * j->s->channels * I), nc_at(dy, b * j->s->outputs * P), j->s, i / in, i % in);
}

static int dw_run(const nc_node *n, const nc_run *r)
{
    nc_value *dw = n->out[0];
    job j = job_of(n, r, NULL, n->in[0]);
    int64_t pieces = j.s->outputs * (j.s->channels / j.s->groups);

    if (!nc_adds(n, r))
        memset(dw->data, 0, nc_dtype_bytes(dw->dtype, nc_shape_count(&dw->shape)));
    parallel(r, &j, pieces, j.samples * nc_conv_volume(j.s->out) * nc_conv_volume(j.s->kernel), dw_pieces);
    return 0;
}

const nc_op nc_op_conv_planes_dw = { .name = "conv_planes_dw", .flags = NC_OP_ACCUMULATE | NC_OP_BATCHY, .infer = dw_infer, .run = dw_run };

/* ---- the constructor ---- */

static int shape_of(const nc_value *x, const nc_value *w, const nc_conv_attr *a, nc_conv_shape *s, nc_error *e)
{
    char tx[96], tw[96];

    if (a->dims < 1 || a->dims > 3 || x->shape.rank != a->dims + 2 || w->shape.rank != a->dims + 2)
        return nc_fail(e, NC_ESHAPE, "conv: %d dimensions need x and w of rank %d, got %s and %s", a->dims, a->dims + 2, nc_shape_str(&x->shape, tx), nc_shape_str(&w->shape, tw));
    *s = (nc_conv_shape){ { 1, 1, 1 }, { 1, 1, 1 }, { 1, 1, 1 }, { 1, 1, 1 }, { 0, 0, 0 }, { 1, 1, 1 }, x->shape.dim[1], w->shape.dim[0], a->groups > 0 ? a->groups : 1 };
    if (s->channels % s->groups || s->outputs % s->groups || w->shape.dim[1] != s->channels / s->groups)
        return nc_fail(e, NC_ESHAPE, "conv: %lld groups do not fit x %s and w %s", (long long)s->groups, nc_shape_str(&x->shape, tx), nc_shape_str(&w->shape, tw));
    for (int i = 0; i < a->dims; i++) {
        int k = 3 - a->dims + i;
        s->in[k] = x->shape.dim[2 + i], s->kernel[k] = w->shape.dim[2 + i];
        s->stride[k] = a->stride[i] ? a->stride[i] : 1, s->dilation[k] = a->dilation[i] ? a->dilation[i] : 1, s->pad[k] = a->pad[i];
        int64_t span = s->dilation[k] * (s->kernel[k] - 1) + 1, room = s->in[k] + 2 * s->pad[k];
        if (s->stride[k] < 1 || s->dilation[k] < 1 || s->pad[k] < 0 || span > room || s->kernel[k] < 1)
            return nc_fail(e, NC_ESHAPE, "conv: a kernel of %lld cells (dilation %lld) does not fit %lld with padding %lld on axis %d", (long long)s->kernel[k],
                           (long long)s->dilation[k], (long long)s->in[k], (long long)s->pad[k], i);
        s->out[k] = (room - span) / s->stride[k] + 1;
    }
    return 0;
}

nc_value *nc_conv(nc_graph *g, nc_value *x, nc_value *w, nc_value *b, const nc_conv_attr *attr)
{
    nc_value *poison = nc_graph_poison(g);
    column_attr a = { .dims = attr->dims };
    nc_error e = { 0 };

    if (x == poison || w == poison || b == poison)
        return poison;
    if (shape_of(x, w, attr, &a.s, &e) < 0) {
        nc_graph_mistake(g, e.code, "%s", e.message);
        return poison;
    }
    nc_shape out = planes(x, a.s.outputs, a.s.out, a.dims);
    int64_t P = nc_conv_volume(a.s.out), width = a.s.channels * nc_conv_volume(a.s.kernel);
    if (a.s.groups > 1) {
        nc_value *y = nc_emit(g, &nc_op_conv_planes, &a, sizeof a, (nc_value *[]){ x, w }, 2);
        nc_shape channel = { .rank = a.dims + 1, .dim = { a.s.outputs, 1, 1, 1 } };
        return b ? nc_add(g, y, nc_reshape(g, nc_cast(g, b, x->dtype), channel)) : y;
    }
    nc_value *columns = nc_emit(g, &nc_op_columns, &a, sizeof a, &x, 1);
    nc_value *rows = nc_linear_op(g, columns, nc_reshape(g, w, NC_SHAPE(a.s.outputs, width)), b, x->dtype);
    rows = nc_reshape(g, rows, NC_SHAPE(x->shape.dim[0], P, a.s.outputs));
    return nc_reshape(g, nc_permute(g, rows, (int[]){ 0, 2, 1 }), out);
}

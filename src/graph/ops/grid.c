/* grid.c - what convolutions and pooling are made of where a picture's cells are rows: x [pictures * height * width, channels].
 *
 *   grid_columns   the row of each output cell, [cells', channels * kernel]; y = columns w^T is a convolution (grid_uncolumns: the adjoint; each is the other's gradient)
 *   grid_depth     depthwise: y[p,c] = b[c] + sum over k of w[c,k] x[cell(p,k),c], w [channels, kernel];  grid_depth_dx, grid_depth_dw: its adjoints
 *   grid_pool      the largest, or the mean of the cells inside each window; padding before and after may differ
 * Kernels: kernels/grid.h. Weights are turned to [kernel, channels] in f32 once a run.
 */
#include "graph/op.h"
#include "kernels/grid.h"
#include "kernels/reduce.h"

typedef struct attr { nc_grid_shape s; bool average; } attr;
typedef struct job { const nc_node *n; const nc_run *r; const nc_grid_shape *s; const nc_value *from, *to; int64_t in, out, width; const void *w, *bias; char *acc; size_t acc_bytes; int64_t pictures; } job;

enum { DW_CHANNELS = 16 };                       /* a piece's channels: fixed */

static int slot_of(const nc_value *v) { return nc_dtype_slot(v->dtype); }
static size_t wide_bytes(const nc_value *v) { return v->dtype == NC_F64 ? 8 : 4; }
static size_t up64(size_t n) { return (n + 63) & ~(size_t)63; }
static bool wants(const nc_value *v) { return v && (v->has_grad || v->wants_grad); }

/* Rows of `cells` to a picture become rows of `others`. */
static int infer_cells(nc_node *n, nc_error *e, int input, int64_t width, int64_t cells, int64_t others, int64_t columns)
{
    const nc_value *x = n->in[input];
    char text[96];

    NC_TRY(nc_infer_compute(n, input, e));
    if (x->shape.rank != 2 || x->shape.dim[1] != width || x->shape.dim[0] % cells || (x->count >= 0 && x->count_scale % cells))
        return nc_infer_fail(n, e, NC_ESHAPE, "pictures of %lld cells and %lld channels are needed, got %s", (long long)cells, (long long)width, nc_shape_str(&x->shape, text));
    nc_infer_out(n, 0, x->dtype, NC_SHAPE(x->shape.dim[0] / cells * others, columns), x->count, x->count >= 0 ? x->count_scale / cells * others : x->count_scale);
    return 0;
}

static int64_t in_cells(const nc_node *n) { return nc_grid_cells(NC_ATTR(n, attr)->s.in); }
static int64_t out_cells(const nc_node *n) { return nc_grid_cells(NC_ATTR(n, attr)->s.out); }
static int64_t kernel_cells(const nc_node *n) { return nc_grid_cells(NC_ATTR(n, attr)->s.kernel); }
static int64_t channels(const nc_node *n) { return NC_ATTR(n, attr)->s.channels; }

/* A job over the rows of the output, cut into stretches within one picture. */
typedef void stretch_fn(const job *j, int64_t picture, int64_t first, int64_t last);
typedef struct stretches { job j; stretch_fn *fn; } stretches;

static void each_stretch(void *context, int64_t begin, int64_t end, int worker)
{
    const stretches *t = context;
    (void)worker;
    for (int64_t i = begin; i < end;) {
        int64_t picture = i / t->j.out, last = (picture + 1) * t->j.out < end ? (picture + 1) * t->j.out : end;
        t->fn(&t->j, picture, i - picture * t->j.out, last - picture * t->j.out);
        i = last;
    }
}

static int run_rows(const nc_node *n, const nc_run *r, const nc_value *from, int64_t in, int64_t out, const void *w, const void *bias, int64_t grain, stretch_fn *fn)
{
    stretches t = { { .n = n, .r = r, .s = &NC_ATTR(n, attr)->s, .from = from, .to = n->out[0], .in = in, .out = out, .width = n->out[0]->shape.dim[1], .w = w, .bias = bias }, fn };
    nc_parallel_rows(r, nc_live_rows(n->out[0], r->counts), grain, each_stretch, &t);
    return 0;
}

static void *picture_at(const nc_value *v, int64_t picture, int64_t cells, int64_t row) { return nc_at(v, (picture * cells + row) * v->shape.dim[1]); }

/* ---- columns and their adjoint ---- */

static int columns_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    (void)g;
    return infer_cells(n, e, 0, channels(n), in_cells(n), out_cells(n), channels(n) * kernel_cells(n));
}

static void columns_rows(const job *j, int64_t picture, int64_t first, int64_t last)
{
    j->r->kernels->grid->columns[slot_of(j->to)](picture_at(j->to, picture, j->out, first), picture_at(j->from, picture, j->in, 0), j->s, first, last);
}

static int columns_run(const nc_node *n, const nc_run *r) { return run_rows(n, r, n->in[0], in_cells(n), out_cells(n), NULL, NULL, nc_grain(n->out[0]->shape.dim[1] * 2), columns_rows); }

static void columns_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    dx[0] = nc_emit(g, &nc_op_grid_uncolumns, n->attr, n->attr_size, (nc_value *[]){ dy[0] }, 1);
}

static int uncolumns_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    (void)g;
    return infer_cells(n, e, 0, channels(n) * kernel_cells(n), out_cells(n), in_cells(n), channels(n));
}

static void uncolumns_rows(const job *j, int64_t picture, int64_t first, int64_t last)
{
    j->r->kernels->grid->uncolumns[slot_of(j->to)](picture_at(j->to, picture, j->out, first), picture_at(j->from, picture, j->in, 0), j->s, first, last);
}

static int uncolumns_run(const nc_node *n, const nc_run *r) { return run_rows(n, r, n->in[0], out_cells(n), in_cells(n), NULL, NULL, nc_grain(channels(n) * kernel_cells(n) * 4), uncolumns_rows); }

static void uncolumns_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    dx[0] = nc_emit(g, &nc_op_grid_columns, n->attr, n->attr_size, (nc_value *[]){ dy[0] }, 1);
}

const nc_op nc_op_grid_columns = { .name = "grid_columns", .infer = columns_infer, .grad = columns_grad, .run = columns_run };
const nc_op nc_op_grid_uncolumns = { .name = "grid_uncolumns", .infer = uncolumns_infer, .grad = uncolumns_grad, .run = uncolumns_run };

/* ---- depthwise ---- */

static size_t weight_bytes(const nc_node *n) { return up64((size_t)(channels(n) * kernel_cells(n)) * wide_bytes(n->in[0])); }

static size_t depth_workspace(const nc_node *n, int threads)
{
    (void)threads;
    return weight_bytes(n) + up64((size_t)channels(n) * wide_bytes(n->in[0]));
}

static float load_f32(const nc_value *v, int64_t i) { return v->dtype == NC_F32 ? ((const float *)v->data)[i] : v->dtype == NC_BF16 ? nc_bf16_to_f32(((const uint16_t *)v->data)[i]) : (float)nc_dtype_load(v->dtype, v->data, i); }

/* w [C,K] as [K,C] wide, then the bias. */
static const void *turn_weight(const nc_node *n, const nc_run *r, const nc_value *w, const nc_value *bias, const void **wide_bias)
{
    const int64_t C = channels(n), K = kernel_cells(n);
    char *to = r->workspace, *b = to + weight_bytes(n);
    bool f64 = n->in[0]->dtype == NC_F64;

    for (int64_t c = 0; c < C; c++)
        for (int64_t k = 0; k < K; k++) {
            if (f64)
                ((double *)to)[k * C + c] = nc_dtype_load(w->dtype, w->data, c * K + k);
            else
                ((float *)to)[k * C + c] = load_f32(w, c * K + k);
        }
    for (int64_t c = 0; bias && c < C; c++) {
        if (f64)
            ((double *)b)[c] = nc_dtype_load(bias->dtype, bias->data, c);
        else
            ((float *)b)[c] = load_f32(bias, c);
    }
    *wide_bias = bias ? b : NULL;
    return to;
}

static int check_weight(const nc_node *n, int input, int64_t columns, nc_error *e)
{
    const nc_value *w = n->in[input];

    NC_TRY(nc_infer_compute(n, input, e));
    NC_TRY(nc_infer_dims(n, input, e, columns ? 2 : 1, (int64_t[]){ channels(n), columns }));
    if ((w->dtype == NC_F64) != (n->in[0]->dtype == NC_F64))
        return nc_infer_fail(n, e, NC_ESHAPE, "x is %s, the weight %s", nc_dtype_name(n->in[0]->dtype), nc_dtype_name(w->dtype));
    return 0;
}

static int depth_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    (void)g;
    NC_TRY(check_weight(n, 1, kernel_cells(n), e));
    if (n->in[2])
        NC_TRY(check_weight(n, 2, 0, e));
    return infer_cells(n, e, 0, channels(n), in_cells(n), out_cells(n), channels(n));
}

static void depth_rows(const job *j, int64_t picture, int64_t first, int64_t last)
{
    j->r->kernels->grid->depth[slot_of(j->to)](picture_at(j->to, picture, j->out, first), picture_at(j->from, picture, j->in, 0), j->w, j->bias, j->s, first, last);
}

static int depth_run(const nc_node *n, const nc_run *r)
{
    const void *bias, *w = turn_weight(n, r, n->in[1], n->in[2], &bias);
    return run_rows(n, r, n->in[0], in_cells(n), out_cells(n), w, bias, NC_ATTR(n, attr)->s.out[1], depth_rows);
}

static void depth_cost(const nc_node *n, const int64_t *counts, double *flops, double *bytes)
{
    const nc_value *x = n->in[0], *y = n->out[0];
    double cells = (double)(nc_live_rows(x, counts) / (n->op == &nc_op_grid_depth ? in_cells(n) : out_cells(n)) * out_cells(n));

    *flops = 2 * cells * (double)(channels(n) * kernel_cells(n));
    *bytes = (double)(nc_live_count(x, counts) + nc_live_count(y, counts)) * nc_dtype_get(x->dtype)->bytes;
}

static void depth_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    if (wants(n->in[0]))
        dx[0] = nc_emit(g, &nc_op_grid_depth_dx, n->attr, n->attr_size, (nc_value *[]){ dy[0], n->in[1] }, 2);
    if (wants(n->in[1]))
        dx[1] = nc_emit(g, &nc_op_grid_depth_dw, n->attr, n->attr_size, (nc_value *[]){ n->in[0], dy[0], NULL }, 3);
    if (wants(n->in[2]))
        dx[2] = nc_sum_to(g, nc_cast(g, dy[0], nc_graph_wide(g)), &n->in[2]->shape);
}

static int dx_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    (void)g;
    NC_TRY(check_weight(n, 1, kernel_cells(n), e));
    return infer_cells(n, e, 0, channels(n), out_cells(n), in_cells(n), channels(n));
}

static void dx_rows(const job *j, int64_t picture, int64_t first, int64_t last)
{
    j->r->kernels->grid->depth_dx[slot_of(j->to)](picture_at(j->to, picture, j->out, first), picture_at(j->from, picture, j->in, 0), j->w, j->s, first, last);
}

static int dx_run(const nc_node *n, const nc_run *r)
{
    const void *bias, *w = turn_weight(n, r, n->in[1], NULL, &bias);
    return run_rows(n, r, n->in[0], out_cells(n), in_cells(n), w, NULL, nc_grain(channels(n) * kernel_cells(n)), dx_rows);
}

/* z = dx of (dy, w) is linear in both. */
static void dx_grad(nc_graph *g, nc_node *n, nc_value *const *dz, nc_value **dx)
{
    if (wants(n->in[0]))
        dx[0] = nc_emit(g, &nc_op_grid_depth, n->attr, n->attr_size, (nc_value *[]){ dz[0], n->in[1], NULL }, 3);
    if (wants(n->in[1]))
        dx[1] = nc_emit(g, &nc_op_grid_depth_dw, n->attr, n->attr_size, (nc_value *[]){ dz[0], n->in[0], NULL }, 3);
}

static int dw_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    NC_TRY(nc_infer_dtype(n, 1, n->in[0]->dtype, e));
    NC_TRY(infer_cells(n, e, 1, channels(n), out_cells(n), in_cells(n), channels(n)));
    NC_TRY(infer_cells(n, e, 0, channels(n), in_cells(n), out_cells(n), channels(n)));
    nc_infer_out(n, 0, nc_graph_wide(g), NC_SHAPE(channels(n), kernel_cells(n)), -1, 1);
    return 0;
}

/* Pieces are channels; pictures are added in order. */
static void dw_channels(void *context, int64_t begin, int64_t end, int worker)
{
    const job *j = context;
    (void)worker;
    for (int64_t b = 0; b < j->pictures; b++)
        j->r->kernels->grid->depth_dw[slot_of(j->from)](j->acc, picture_at(j->from, b, j->in, 0), picture_at(j->to, b, j->out, 0), j->s, begin, end);
}

static int dw_run(const nc_node *n, const nc_run *r)
{
    const nc_value *x = n->in[0], *dy = n->in[1], *dw = n->out[0];
    const int64_t C = channels(n), K = kernel_cells(n);
    job j = { .n = n, .r = r, .s = &NC_ATTR(n, attr)->s, .from = x, .to = dy, .in = in_cells(n), .out = out_cells(n), .acc = r->workspace,
              .pictures = nc_live_rows(x, r->counts) / in_cells(n) };

    const bool adds = nc_adds(n, r);
    memset(j.acc, 0, weight_bytes(n));
    nc_parallel_rows(r, C, DW_CHANNELS, dw_channels, &j);
    for (int64_t c = 0; c < C; c++)
        for (int64_t k = 0; k < K; k++) {
            int64_t at = c * K + k, from = k * C + c;
            if (dw->dtype == NC_F64)
                ((double *)dw->data)[at] = ((double *)j.acc)[from] + (adds ? ((double *)dw->data)[at] : 0);
            else
                ((float *)dw->data)[at] = ((float *)j.acc)[from] + (adds ? ((float *)dw->data)[at] : 0);
        }
    return 0;
}

static size_t dw_workspace(const nc_node *n, int threads) { return (void)threads, weight_bytes(n); }

const nc_op nc_op_grid_depth = { .name = "grid_depth", .infer = depth_infer, .grad = depth_grad, .run = depth_run, .workspace = depth_workspace, .cost = depth_cost };
const nc_op nc_op_grid_depth_dx = { .name = "grid_depth_dx", .infer = dx_infer, .grad = dx_grad, .run = dx_run, .workspace = depth_workspace, .cost = depth_cost };
const nc_op nc_op_grid_depth_dw = { .name = "grid_depth_dw", .flags = NC_OP_ACCUMULATE | NC_OP_BATCHY, .infer = dw_infer, .run = dw_run, .workspace = dw_workspace };

/* ---- pooling ---- */

static int pool_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    (void)g;
    return infer_cells(n, e, 0, channels(n), in_cells(n), out_cells(n), channels(n));
}

static void pool_rows(const job *j, int64_t picture, int64_t first, int64_t last)
{
    j->r->kernels->grid->pool[slot_of(j->to)](picture_at(j->to, picture, j->out, first), picture_at(j->from, picture, j->in, 0), j->s, NC_ATTR(j->n, attr)->average, first, last);
}

static int pool_run(const nc_node *n, const nc_run *r) { return run_rows(n, r, n->in[0], in_cells(n), out_cells(n), NULL, NULL, nc_grain(channels(n) * kernel_cells(n)), pool_rows); }

static void pool_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    dx[0] = nc_emit(g, &nc_op_grid_pool_grad, n->attr, n->attr_size, (nc_value *[]){ n->in[0], dy[0] }, 2);
}

static int pool_grad_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    NC_TRY(nc_infer_dtype(n, 1, n->in[0]->dtype, e));
    return nc_infer_same(g, n, e);
}

static int64_t strips(const nc_node *n) { return (channels(n) + DW_CHANNELS - 1) / DW_CHANNELS; }
static size_t strip_bytes(const nc_node *n) { return up64((size_t)(in_cells(n) * DW_CHANNELS) * wide_bytes(n->in[0])); }

/* Pieces are strips of channels of a picture. */
static void pool_grad_strips(void *context, int64_t begin, int64_t end, int worker)
{
    const job *j = context;
    int64_t many = strips(j->n), C = j->s->channels;

    for (int64_t i = begin; i < end; i++) {
        int64_t picture = i / many, from = i % many * DW_CHANNELS, to = from + DW_CHANNELS < C ? from + DW_CHANNELS : C;
        j->r->kernels->grid->pool_grad[slot_of(j->to)](picture_at(j->to, picture, j->in, 0), picture_at(j->from, picture, j->in, 0), picture_at(j->n->in[1], picture, j->out, 0), j->s,
                                                       NC_ATTR(j->n, attr)->average, from, to, j->acc + (size_t)worker * j->acc_bytes);
    }
}

static int pool_grad_run(const nc_node *n, const nc_run *r)
{
    job j = { .n = n, .r = r, .s = &NC_ATTR(n, attr)->s, .from = n->in[0], .to = n->out[0], .in = in_cells(n), .out = out_cells(n), .acc = r->workspace, .acc_bytes = strip_bytes(n) };
    nc_parallel_rows(r, nc_live_rows(n->in[0], r->counts) / in_cells(n) * strips(n), 1, pool_grad_strips, &j);
    return 0;
}

static size_t pool_grad_workspace(const nc_node *n, int threads) { return strip_bytes(n) * (size_t)threads; }

const nc_op nc_op_grid_pool = { .name = "grid_pool", .infer = pool_infer, .grad = pool_grad, .run = pool_run };
const nc_op nc_op_grid_pool_grad = { .name = "grid_pool_grad", .infer = pool_grad_infer, .run = pool_grad_run, .workspace = pool_grad_workspace };

/* ---- constructors ---- */

static int64_t out_size(const nc_grid_window *w, int axis, int64_t in)
{
    int64_t room = in + w->before[axis] + w->after[axis] - (w->dilation[axis] ? w->dilation[axis] : 1) * (w->kernel[axis] - 1) - 1, stride = w->stride[axis] ? w->stride[axis] : 1;
    int64_t out = room < 0 ? 0 : (room + (w->ceil ? stride - 1 : 0)) / stride + 1;

    if (w->ceil && out > 1 && (out - 1) * stride >= in + w->before[axis])
        out--;
    return out;
}

bool nc_grid_out(const nc_grid_window *w, int64_t height, int64_t width, int64_t *out_height, int64_t *out_width)
{
    *out_height = out_size(w, 0, height);
    *out_width = out_size(w, 1, width);
    return *out_height > 0 && *out_width > 0;
}

static nc_value *emit(nc_graph *g, const nc_op *op, const char *what, nc_value *const *in, int inputs, int64_t height, int64_t width, const nc_grid_window *w, bool average)
{
    const nc_value *x = in[0];
    attr a = { { .channels = x->shape.rank == 2 ? x->shape.dim[1] : 0, .in = { height, width } }, average };
    bool fits = nc_grid_out(w, height, width, &a.s.out[0], &a.s.out[1]) && x->shape.rank == 2;

    for (int i = 0; i < inputs; i++)
        if (in[i] == nc_graph_poison(g))
            return in[i];
    for (int i = 0; i < 2; i++) {
        a.s.kernel[i] = w->kernel[i], a.s.stride[i] = w->stride[i] ? w->stride[i] : 1, a.s.dilation[i] = w->dilation[i] ? w->dilation[i] : 1, a.s.before[i] = w->before[i];
        fits = fits && w->kernel[i] > 0 && a.s.stride[i] > 0 && a.s.dilation[i] > 0 && w->before[i] >= 0 && w->after[i] >= 0;
    }
    if (fits && a.s.kernel[0] * a.s.kernel[1] > NC_GRID_KERNEL && op == &nc_op_grid_columns) {
        nc_graph_mistake(g, NC_ELIMIT, "%s: a kernel of %lld x %lld cells; at most %d are known", what, (long long)a.s.kernel[0], (long long)a.s.kernel[1], NC_GRID_KERNEL);
        return nc_graph_poison(g);
    }
    if (!fits) {
        nc_graph_mistake(g, NC_ESHAPE, "%s: a window of %d x %d does not fit a picture of %lld x %lld cells", what, w->kernel[0], w->kernel[1], (long long)height, (long long)width);
        return nc_graph_poison(g);
    }
    return nc_emit(g, op, &a, sizeof a, in, inputs);
}

nc_value *nc_grid_columns_op(nc_graph *g, nc_value *x, int64_t height, int64_t width, const nc_grid_window *w)
{
    return emit(g, &nc_op_grid_columns, "grid_columns", &x, 1, height, width, w, false);
}

nc_value *nc_grid_depth_op(nc_graph *g, nc_value *x, nc_value *weight, nc_value *bias, int64_t height, int64_t width, const nc_grid_window *w)
{
    return emit(g, &nc_op_grid_depth, "grid_depth", (nc_value *[]){ x, weight, bias }, 3, height, width, w, false);
}

nc_value *nc_grid_pool_op(nc_graph *g, nc_value *x, int64_t height, int64_t width, const nc_grid_window *w, bool average)
{
    return emit(g, &nc_op_grid_pool, "grid_pool", &x, 1, height, width, w, average);
}

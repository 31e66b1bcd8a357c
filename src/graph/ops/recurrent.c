/* recurrent.c - recurrences over the rows of sequences: causal convolution, linear attention and the delta rule, Mamba's selective scan, RWKV-4's wkv.
 *
 * Formulas, states and the order of the sums are in kernels/recurrent.h. Units (heads, blocks of channels) are dealt to threads; a unit takes its spans in order.
 * With a cache the state a span begins with is its slot's, and what is left there after its last row begins the next; these forms have no gradient.
 *
 *   causal_conv     x [N,C], w [C,T] or absent, b [C] or absent              -> [N,C]
 *   linear_scan     q, k [N,G,K], v [N,H,V], decay [N,H], beta [N,H] or absent -> [N,H,V]
 *   selective_scan  x, d [N,C], a [C,n], b, c [N,n]                          -> [N,C]
 *   wkv             k, v [N,C], w, u [C]                                     -> [N,C]
 *   ..._grad        the same and dy -> gradients of each; they have no gradient of their own. Sums over heads or units are the graph's.
 */
#include <stdlib.h>

#include "base/arena.h"
#include "graph/op.h"
#include "graph/spans.h"
#include "kernels/recurrent.h"

typedef struct job job;
struct job {
    const nc_node *n;
    const nc_run *r;
    nc_recurrent_span *span;
    int spans, slot;                 /* slot: of the dtype */
    bool backward;
    unsigned weights;                /* outputs that are gradients of weights, bit by bit */
    size_t scratch;                  /* bytes of a worker's */
    void (*take)(const job *j, const nc_recurrent_span *s, int64_t unit, void *scratch);
    union { nc_conv_args conv; nc_linear_args linear; nc_selective_args selective; nc_wkv_args wkv; } args;
};

/* ---- spans ---- */
static int check_span(const nc_node *n, const nc_run *r, const nc_span *s, int i, int64_t after)
{
    const int64_t live = nc_live_rows(n->in[0], r->counts);

    if (s->q_rows < 0 || s->q_row < after || s->q_row > live || s->q_rows > live - s->q_row)
        return nc_fail(r->error, NC_ESHAPE, "%s: span %d has rows %d+%d after row %lld, of %lld live", n->op->name, i, s->q_row, s->q_rows, (long long)after, (long long)live);
    if (NC_ATTR(n, nc_recurrent_attr)->cache && (s->slot < 0 || s->q_index < 0))
        return nc_fail(r->error, NC_EINVAL, "%s: span %d has index %d and slot %d of a cache", n->op->name, i, s->q_index, s->slot);
    return 0;
}

static int take_spans(job *j)
{
    const nc_recurrent_attr *a = NC_ATTR(j->n, nc_recurrent_attr);
    int64_t after = 0;

    j->spans = a->spans->count > 0 ? a->spans->count : 0;
    j->span = nc_xmalloc(sizeof *j->span * ((size_t)j->spans + 1));
    for (int i = 0; i < j->spans; i++) {
        const nc_span *s = &a->spans->span[i];
        NC_TRY(check_span(j->n, j->r, s, i, after));
        after = s->q_row + s->q_rows;
        float *state = a->cache ? a->cache->state(a->cache, s->slot) : NULL;
        j->span[i] = (nc_recurrent_span){ s->q_row, s->q_rows, state ? state + a->state : NULL, s->q_index == 0 };
    }
    return 0;
}

/* Rows of no span give nothing; gradients of weights begin with nothing. */
static void clear(const job *j, int output)
{
    const nc_value *v = j->n->out[output];
    const bool by_row = !(j->weights >> output & 1);
    const size_t row = nc_dtype_bytes(v->dtype, nc_shape_count(&v->shape) / (v->shape.dim[0] > 0 ? v->shape.dim[0] : 1));
    const int64_t live = nc_live_rows(v, j->r->counts);
    int64_t at = 0;

    for (int i = 0; v->data && i <= j->spans; i++) {
        int64_t until = by_row && i < j->spans ? j->span[i].row : live;
        if (until > at)
            memset((char *)v->data + row * (size_t)at, 0, row * (size_t)(until - at));
        at = by_row && i < j->spans ? j->span[i].row + j->span[i].rows : live;
    }
}

static void part(void *context, int64_t begin, int64_t end, int worker)
{
    const job *j = context;

    for (int64_t unit = begin; unit < end; unit++)
        for (int i = 0; i < j->spans; i++)
            if (j->span[i].rows > 0)
                j->take(j, &j->span[i], unit, (char *)j->r->workspace + (size_t)worker * j->scratch);
}

static size_t line(size_t bytes) { return (bytes + 63) / 64 * 64; }

static int go(job *j, int64_t units)
{
    int rc = take_spans(j);

    j->slot = nc_dtype_slot(j->n->in[0]->dtype);
    for (int i = 0; i < j->n->outputs && rc == 0; i++)
        clear(j, i);
    if (rc == 0)
        nc_parallel_rows(j->r, units, 1, part, j);
    free(j->span);
    return rc;
}

/* ---- shapes ---- */
static int infer_common(nc_graph *g, const nc_node *n, nc_error *e)
{
    const nc_recurrent_attr *a = NC_ATTR(n, nc_recurrent_attr);

    if (!a->spans)
        return nc_infer_fail(n, e, NC_EINVAL, "no table of spans");
    if (a->cache && nc_graph_wide(g) == NC_F64)
        return nc_infer_fail(n, e, NC_EUNSUPPORTED, "a cache holds f32, the graph computes in f64");
    for (int i = 0; i < n->inputs; i++)
        if (n->in[i])
            NC_TRY(nc_infer_dtype(n, i, nc_graph_wide(g), e));
    return 0;
}

/* Input i is [rows of input 0, d1(, d2)]. */
static int infer_rows(const nc_node *n, int i, nc_error *e, int64_t d1, int64_t d2)
{
    NC_TRY(nc_infer_dims(n, i, e, d2 ? 3 : 2, (const int64_t[]){ -1, d1, d2 }));
    return nc_same_rows(n->in[i], n->in[0]) ? 0 : nc_infer_fail(n, e, NC_ESHAPE, "input %d has other rows than input 0", i);
}

static void out_rows(const nc_graph *g, nc_node *n, int output, int64_t d1, int64_t d2)
{
    const nc_value *x = n->in[0];
    nc_infer_out(n, output, nc_graph_wide(g), d2 ? NC_SHAPE(x->shape.dim[0], d1, d2) : NC_SHAPE(x->shape.dim[0], d1), x->count, x->count_scale);
}

static double elements(const nc_node *n, const int64_t *counts) { return (double)nc_live_count(n->in[0], counts); }

static void moved(const nc_node *n, const int64_t *counts, double *bytes)
{
    *bytes = 0;
    for (int i = 0; i < n->inputs; i++)
        *bytes += n->in[i] ? (double)nc_live_count(n->in[i], counts) * nc_dtype_get(n->in[i]->dtype)->bytes : 0;
    for (int i = 0; i < n->outputs; i++)
        *bytes += (double)nc_live_count(n->out[i], counts) * nc_dtype_get(n->out[i]->dtype)->bytes;
}

static void *data(const nc_value *v) { return v ? v->data : NULL; }
static nc_value *gradient(nc_graph *g, nc_node *n, const nc_op *op, nc_value *dy)
{
    nc_value *in[8] = { 0 };

    for (int i = 0; i < n->inputs; i++)
        in[i] = n->in[i];
    in[n->inputs] = dy;
    return nc_emit(g, op, n->attr, n->attr_size, in, n->inputs + 1);
}

/* ---- causal_conv ---- */
static int conv_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    NC_TRY(infer_common(g, n, e));
    NC_TRY(nc_infer_rank(n, 0, 2, e));
    const int64_t C = n->in[0]->shape.dim[1];
    if (n->in[1])
        NC_TRY(nc_infer_dims(n, 1, e, 2, (const int64_t[]){ C, -1 }));
    if (n->in[2])
        NC_TRY(nc_infer_dims(n, 2, e, 1, (const int64_t[]){ C }));
    if (n->in[1] && (n->in[1]->shape.dim[1] < 1 || n->in[1]->shape.dim[1] > NC_CONV_MAX_TAPS))
        return nc_infer_fail(n, e, NC_ELIMIT, "%lld taps; from 1 to %d are known", (long long)n->in[1]->shape.dim[1], NC_CONV_MAX_TAPS);
    out_rows(g, n, 0, C, 0);
    return 0;
}

static void take_conv(const job *j, const nc_recurrent_span *s, int64_t unit, void *scratch)
{
    const struct nc_recurrent_kernels *k = j->r->kernels->recurrent;
    (j->backward ? k->conv_backward : k->conv)[j->slot](&j->args.conv, s, unit, scratch);
}

static nc_conv_args conv_args(const nc_node *n)
{
    return (nc_conv_args){ .channels = n->in[0]->shape.dim[1], .taps = n->in[1] ? n->in[1]->shape.dim[1] : 2, .x = n->in[0]->data, .w = data(n->in[1]), .bias = data(n->in[2]) };
}

static size_t conv_workspace(const nc_node *n, int threads) { return (size_t)threads * line(nc_conv_scratch(conv_args(n).taps)); }

static int conv_run(const nc_node *n, const nc_run *r)
{
    job j = { .n = n, .r = r, .take = take_conv, .scratch = conv_workspace(n, 1) };

    j.args.conv = conv_args(n);
    j.args.conv.y = n->out[0]->data;
    return go(&j, nc_units(j.args.conv.channels, NC_CONV_UNIT));
}

static void conv_cost(const nc_node *n, const int64_t *counts, double *flops, double *bytes)
{
    *flops = n->in[1] ? 2 * (double)conv_args(n).taps * elements(n, counts) * (n->inputs > 3 ? 2 : 1) : 0;
    moved(n, counts, bytes);
}

static int conv_infer_grad(nc_graph *g, nc_node *n, nc_error *e)
{
    n->outputs = 3;
    out_rows(g, n, 0, n->in[0]->shape.dim[1], 0);
    for (int i = 1; i < 3; i++)
        nc_infer_out(n, i, nc_graph_wide(g), n->in[i] ? n->in[i]->shape : NC_SHAPE(1), -1, 1);
    return infer_rows(n, 3, e, n->in[0]->shape.dim[1], 0);
}

static int conv_run_grad(const nc_node *n, const nc_run *r)
{
    job j = { .n = n, .r = r, .take = take_conv, .backward = true, .weights = 6, .scratch = conv_workspace(n, 1) };

    j.args.conv = conv_args(n);
    j.args.conv.dy = n->in[3]->data;
    j.args.conv.dx = n->out[0]->data;
    j.args.conv.dw = n->in[1] ? n->out[1]->data : NULL;
    j.args.conv.dbias = n->in[2] ? n->out[2]->data : NULL;
    return go(&j, nc_units(j.args.conv.channels, NC_CONV_UNIT));
}

static void conv_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    nc_value *d = gradient(g, n, &nc_op_causal_conv_grad, dy[0]);

    dx[0] = d;
    dx[1] = n->in[1] ? nc_output(d, 1) : NULL;
    dx[2] = n->in[2] ? nc_output(d, 2) : NULL;
}

/* ---- linear_scan ---- */
static int linear_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    NC_TRY(infer_common(g, n, e));
    NC_TRY(nc_infer_rank(n, 0, 3, e));
    NC_TRY(nc_infer_rank(n, 2, 3, e));
    const int64_t G = n->in[0]->shape.dim[1], K = n->in[0]->shape.dim[2], H = n->in[2]->shape.dim[1], V = n->in[2]->shape.dim[2];
    if (G < 1 || K < 1 || H < 1 || V < 1 || H % G)
        return nc_infer_fail(n, e, NC_ESHAPE, "q, k [N,G,K] and v [N,H,V] with H a multiple of G; got G %lld, K %lld, H %lld, V %lld", (long long)G, (long long)K, (long long)H,
                             (long long)V);
    NC_TRY(infer_rows(n, 1, e, G, K));
    NC_TRY(infer_rows(n, 2, e, H, V));
    for (int i = 3; i < 5; i++)
        if (i == 3 || n->in[i])
            NC_TRY(infer_rows(n, i, e, H, 0));
    out_rows(g, n, 0, H, V);
    return 0;
}

static nc_linear_args linear_args(const nc_node *n)
{
    const int64_t *q = n->in[0]->shape.dim, *v = n->in[2]->shape.dim;
    return (nc_linear_args){ .heads = v[1], .key_heads = q[1], .key = q[2], .value = v[2], .q = n->in[0]->data, .k = n->in[1]->data, .v = n->in[2]->data,
                             .decay = n->in[3]->data, .beta = data(n->in[4]) };
}

static void take_linear(const job *j, const nc_recurrent_span *s, int64_t unit, void *scratch)
{
    const struct nc_recurrent_kernels *k = j->r->kernels->recurrent;
    (j->backward ? k->linear_backward : k->linear)[j->slot](&j->args.linear, s, unit, scratch);
}

static size_t linear_workspace(const nc_node *n, int threads)
{
    return (size_t)threads * line(nc_linear_scratch(n->in[0]->shape.dim[2], n->in[2]->shape.dim[2], n->inputs > 5 ? n->in[0]->shape.dim[0] : 0));
}

static int linear_run(const nc_node *n, const nc_run *r)
{
    job j = { .n = n, .r = r, .take = take_linear, .scratch = linear_workspace(n, 1) };

    j.args.linear = linear_args(n);
    j.args.linear.out = n->out[0]->data;
    return go(&j, j.args.linear.heads);
}

static void linear_cost(const nc_node *n, const int64_t *counts, double *flops, double *bytes)
{
    const nc_linear_args a = linear_args(n);
    *flops = (double)nc_live_rows(n->in[0], counts) * (double)(a.heads * a.key * a.value) * (n->in[4] ? 7 : 5) * (n->inputs > 5 ? 4 : 1);
    moved(n, counts, bytes);
}

static int linear_infer_grad(nc_graph *g, nc_node *n, nc_error *e)
{
    const nc_linear_args a = linear_args(n);

    n->outputs = n->in[4] ? 5 : 4;
    out_rows(g, n, 0, a.heads, a.key);
    out_rows(g, n, 1, a.heads, a.key);
    out_rows(g, n, 2, a.heads, a.value);
    for (int i = 3; i < n->outputs; i++)
        out_rows(g, n, i, a.heads, 0);
    return infer_rows(n, 5, e, a.heads, a.value);
}

static int linear_run_grad(const nc_node *n, const nc_run *r)
{
    job j = { .n = n, .r = r, .take = take_linear, .backward = true, .scratch = linear_workspace(n, 1) };
    nc_linear_args *a = &j.args.linear;

    *a = linear_args(n);
    a->dout = n->in[5]->data;
    a->dq = n->out[0]->data;
    a->dk = n->out[1]->data;
    a->dv = n->out[2]->data;
    a->ddecay = n->out[3]->data;
    a->dbeta = n->in[4] ? n->out[4]->data : NULL;
    return go(&j, a->heads);
}

static void linear_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    const nc_linear_args a = linear_args(n);
    nc_value *d = gradient(g, n, &nc_op_linear_scan_grad, dy[0]);

    for (int i = 0; i < 2; i++)
        dx[i] = nc_sum(g, nc_reshape(g, nc_output(d, i), NC_SHAPE(n->in[0]->shape.dim[0], a.key_heads, a.heads / a.key_heads, a.key)), 2, false);
    for (int i = 2; i < (n->in[4] ? 5 : 4); i++)
        dx[i] = nc_output(d, i);
}

/* ---- selective_scan ---- */
static int selective_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    NC_TRY(infer_common(g, n, e));
    NC_TRY(nc_infer_rank(n, 0, 2, e));
    NC_TRY(nc_infer_rank(n, 2, 2, e));
    const int64_t C = n->in[0]->shape.dim[1], S = n->in[2]->shape.dim[1];
    if (S < 1)
        return nc_infer_fail(n, e, NC_ESHAPE, "%lld states a channel", (long long)S);
    NC_TRY(infer_rows(n, 1, e, C, 0));
    NC_TRY(nc_infer_dims(n, 2, e, 2, (const int64_t[]){ C, S }));
    NC_TRY(infer_rows(n, 3, e, S, 0));
    NC_TRY(infer_rows(n, 4, e, S, 0));
    out_rows(g, n, 0, C, 0);
    return 0;
}

static nc_selective_args selective_args(const nc_node *n)
{
    return (nc_selective_args){ .channels = n->in[0]->shape.dim[1], .states = n->in[2]->shape.dim[1], .x = n->in[0]->data, .d = n->in[1]->data, .a = n->in[2]->data,
                                .b = n->in[3]->data, .c = n->in[4]->data };
}

static void take_selective(const job *j, const nc_recurrent_span *s, int64_t unit, void *scratch)
{
    const struct nc_recurrent_kernels *k = j->r->kernels->recurrent;
    (j->backward ? k->selective_backward : k->selective)[j->slot](&j->args.selective, s, unit, scratch);
}

static size_t selective_workspace(const nc_node *n, int threads)
{
    return (size_t)threads * line(nc_selective_scratch(n->in[2]->shape.dim[1], n->inputs > 5 ? n->in[0]->shape.dim[0] : 0));
}

static int selective_run(const nc_node *n, const nc_run *r)
{
    job j = { .n = n, .r = r, .take = take_selective, .scratch = selective_workspace(n, 1) };

    j.args.selective = selective_args(n);
    j.args.selective.y = n->out[0]->data;
    return go(&j, nc_units(j.args.selective.channels, NC_SCAN_UNIT));
}

static void selective_cost(const nc_node *n, const int64_t *counts, double *flops, double *bytes)
{
    *flops = elements(n, counts) * (double)selective_args(n).states * 8 * (n->inputs > 5 ? 4 : 1);
    moved(n, counts, bytes);
}

static int selective_infer_grad(nc_graph *g, nc_node *n, nc_error *e)
{
    const nc_selective_args a = selective_args(n);

    n->outputs = 5;
    out_rows(g, n, 0, a.channels, 0);
    out_rows(g, n, 1, a.channels, 0);
    nc_infer_out(n, 2, nc_graph_wide(g), n->in[2]->shape, -1, 1);
    for (int i = 3; i < 5; i++)
        out_rows(g, n, i, nc_units(a.channels, NC_SCAN_UNIT), a.states);
    return infer_rows(n, 5, e, a.channels, 0);
}

static int selective_run_grad(const nc_node *n, const nc_run *r)
{
    job j = { .n = n, .r = r, .take = take_selective, .backward = true, .weights = 4, .scratch = selective_workspace(n, 1) };
    nc_selective_args *a = &j.args.selective;

    *a = selective_args(n);
    a->dy = n->in[5]->data;
    a->dx = n->out[0]->data;
    a->dd = n->out[1]->data;
    a->da = n->out[2]->data;
    a->db = n->out[3]->data;
    a->dc = n->out[4]->data;
    return go(&j, nc_units(a->channels, NC_SCAN_UNIT));
}

static void selective_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    nc_value *d = gradient(g, n, &nc_op_selective_scan_grad, dy[0]);

    for (int i = 0; i < 5; i++)
        dx[i] = i < 3 ? nc_output(d, i) : nc_sum(g, nc_output(d, i), 1, false);
}

/* ---- wkv ---- */
static int wkv_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    NC_TRY(infer_common(g, n, e));
    NC_TRY(nc_infer_rank(n, 0, 2, e));
    const int64_t C = n->in[0]->shape.dim[1];
    NC_TRY(infer_rows(n, 1, e, C, 0));
    for (int i = 2; i < 4; i++)
        NC_TRY(nc_infer_dims(n, i, e, 1, (const int64_t[]){ C }));
    out_rows(g, n, 0, C, 0);
    return 0;
}

static nc_wkv_args wkv_args(const nc_node *n)
{
    return (nc_wkv_args){ .channels = n->in[0]->shape.dim[1], .k = n->in[0]->data, .v = n->in[1]->data, .w = n->in[2]->data, .u = n->in[3]->data };
}

static void take_wkv(const job *j, const nc_recurrent_span *s, int64_t unit, void *scratch)
{
    const struct nc_recurrent_kernels *k = j->r->kernels->recurrent;
    (j->backward ? k->wkv_backward : k->wkv)[j->slot](&j->args.wkv, s, unit, scratch);
}

static size_t wkv_workspace(const nc_node *n, int threads) { return (size_t)threads * line(nc_wkv_scratch(n->inputs > 4 ? n->in[0]->shape.dim[0] : 0)); }

static int wkv_run(const nc_node *n, const nc_run *r)
{
    job j = { .n = n, .r = r, .take = take_wkv, .scratch = wkv_workspace(n, 1) };

    j.args.wkv = wkv_args(n);
    j.args.wkv.y = n->out[0]->data;
    return go(&j, nc_units(j.args.wkv.channels, NC_SCAN_UNIT));
}

static void wkv_cost(const nc_node *n, const int64_t *counts, double *flops, double *bytes)
{
    *flops = elements(n, counts) * 60 * (n->inputs > 4 ? 3 : 1);
    moved(n, counts, bytes);
}

static int wkv_infer_grad(nc_graph *g, nc_node *n, nc_error *e)
{
    n->outputs = 4;
    for (int i = 0; i < 2; i++)
        out_rows(g, n, i, n->in[0]->shape.dim[1], 0);
    for (int i = 2; i < 4; i++)
        nc_infer_out(n, i, nc_graph_wide(g), n->in[i]->shape, -1, 1);
    return infer_rows(n, 4, e, n->in[0]->shape.dim[1], 0);
}

static int wkv_run_grad(const nc_node *n, const nc_run *r)
{
    job j = { .n = n, .r = r, .take = take_wkv, .backward = true, .weights = 12, .scratch = wkv_workspace(n, 1) };
    nc_wkv_args *a = &j.args.wkv;

    *a = wkv_args(n);
    a->dy = n->in[4]->data;
    a->dk = n->out[0]->data;
    a->dv = n->out[1]->data;
    a->dw = n->out[2]->data;
    a->du = n->out[3]->data;
    return go(&j, nc_units(a->channels, NC_SCAN_UNIT));
}

static void wkv_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    nc_value *d = gradient(g, n, &nc_op_wkv_grad, dy[0]);

    for (int i = 0; i < 4; i++)
        dx[i] = nc_output(d, i);
}

/* ---- descriptors and constructors ---- */
#define OPS(id, short)                                                                                                                                              \
    const nc_op nc_op_##id = { .name = #id, .infer = short##_infer, .grad = short##_grad, .run = short##_run, .workspace = short##_workspace, .cost = short##_cost }; \
    const nc_op nc_op_##id##_cached = { .name = #id "_cached", .flags = NC_OP_EFFECT, .infer = short##_infer, .run = short##_run, .workspace = short##_workspace,     \
                                        .cost = short##_cost };                                                                                                     \
    const nc_op nc_op_##id##_grad = { .name = #id "_grad", .flags = NC_OP_BATCHY, .infer = short##_infer_grad, .run = short##_run_grad,                              \
                                      .workspace = short##_workspace, .cost = short##_cost };
OPS(causal_conv, conv)
OPS(linear_scan, linear)
OPS(selective_scan, selective)
OPS(wkv, wkv)

nc_value *nc_causal_conv(nc_graph *g, nc_value *x, nc_value *w, nc_value *b, const nc_recurrent_attr *attr)
{
    return nc_emit(g, attr->cache ? &nc_op_causal_conv_cached : &nc_op_causal_conv, attr, sizeof *attr, (nc_value *[]){ x, w, b }, 3);
}

nc_value *nc_linear_scan(nc_graph *g, nc_value *q, nc_value *k, nc_value *v, nc_value *decay, nc_value *beta, const nc_recurrent_attr *attr)
{
    return nc_emit(g, attr->cache ? &nc_op_linear_scan_cached : &nc_op_linear_scan, attr, sizeof *attr, (nc_value *[]){ q, k, v, decay, beta }, 5);
}

nc_value *nc_selective_scan(nc_graph *g, nc_value *x, nc_value *d, nc_value *a, nc_value *b, nc_value *c, const nc_recurrent_attr *attr)
{
    return nc_emit(g, attr->cache ? &nc_op_selective_scan_cached : &nc_op_selective_scan, attr, sizeof *attr, (nc_value *[]){ x, d, a, b, c }, 5);
}

nc_value *nc_wkv(nc_graph *g, nc_value *k, nc_value *v, nc_value *w, nc_value *u, const nc_recurrent_attr *attr)
{
    return nc_emit(g, attr->cache ? &nc_op_wkv_cached : &nc_op_wkv, attr, sizeof *attr, (nc_value *[]){ k, v, w, u }, 4);
}

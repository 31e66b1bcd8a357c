/* attention.c - fused attention over the spans of flat streams (kernels/attention.h has the mathematics and the order of the sums).
 *
 *   attention        q [N,H,A], k [M,G,A], v [M,G,Av] -> out [N,H,Av], lse [N,H] (f32, f64 in an f64 graph); with a bias also bias [H,R] wide and, maybe, codes [N], [M] I32;
 *                    with a list [N,L] I32 a row sees only those keys
 *   attention_cached the same; the rows of k and v are first appended to the cache and attention reads its pages. It has no gradient.
 *   attention_grad   q, k, v, out, lse, dout, dlse (or absent), and the bias and codes -> dq, dk, dv, dbias. It has no gradient: second derivatives are refused by its name.
 */
#include <math.h>
#include <stdlib.h>
#include "base/arena.h"
#include "graph/op.h"
#include "graph/spans.h"
#include "kernels/attention.h"

_Static_assert((int)NC_KEY_BLOCK == (int)NC_ATTENTION_BLOCK, "pages are blocks of the kernel");
_Static_assert((int)NC_SIGHT_CAUSAL == (int)NC_ATTENTION_CAUSAL && (int)NC_SIGHT_FULL == (int)NC_ATTENTION_FULL && (int)NC_SIGHT_PREFIX == (int)NC_ATTENTION_PREFIX,
               "the rules of sight are the kernel's");

enum { BIAS = 3, LIST = 6, INPUTS = 7 };          /* of the forward: q, k, v, bias, q code, k code, list; the last four may be NULL */

static int infer_heads(const nc_node *n, nc_error *e)
{
    const nc_value *q = n->in[0], *k = n->in[1], *v = n->in[2];
    char a[96], b[96], c[96];

    for (int i = 0; i < 3; i++) {
        NC_TRY(nc_infer_rank(n, i, 3, e));
        NC_TRY(nc_infer_dtype(n, i, q->dtype, e));
    }
    NC_TRY(nc_infer_compute(n, 0, e));
    const int64_t *qd = q->shape.dim, *kd = k->shape.dim, *vd = v->shape.dim;
    if (!nc_same_rows(k, v) || kd[1] != vd[1] || kd[2] != qd[2] || kd[1] < 1 || qd[1] < 1 || qd[1] % kd[1] || qd[2] < 1 || vd[2] < 1 || qd[1] > 65536)
        return nc_infer_fail(n, e, NC_ESHAPE, "q [N,H,A], k [M,G,A], v [M,G,Av] with H a multiple of G; got %s, %s, %s", nc_shape_str(&q->shape, a),
                             nc_shape_str(&k->shape, b), nc_shape_str(&v->shape, c));
    if (qd[2] > NC_ATTENTION_MAX_HEAD || vd[2] > NC_ATTENTION_MAX_HEAD)
        return nc_infer_fail(n, e, NC_ELIMIT, "heads of %lld and %lld; at most %d", (long long)qd[2], (long long)vd[2], NC_ATTENTION_MAX_HEAD);
    return 0;
}

/* Inputs bias, q code, k code of a node, from `at` on. */
static int infer_bias(nc_graph *g, const nc_node *n, int at, nc_error *e)
{
    const nc_value *bias = n->inputs > at ? n->in[at] : NULL, *q = n->in[0], *k = n->in[1];
    char a[96];

    if (!bias)
        return 0;
    NC_TRY(nc_infer_dtype(n, at, nc_graph_wide(g), e));
    if (bias->shape.rank != 2 || bias->shape.dim[0] != q->shape.dim[1] || bias->shape.dim[1] < 1 || bias->count >= 0)
        return nc_infer_fail(n, e, NC_ESHAPE, "a bias of %s for %lld heads; it must be [H,R]", nc_shape_str(&bias->shape, a), (long long)q->shape.dim[1]);
    if (!n->in[at + 1] != !n->in[at + 2])
        return nc_infer_fail(n, e, NC_EINVAL, "codes of one side alone");
    for (int i = 1; i < 3 && n->in[at + 1]; i++) {
        NC_TRY(nc_infer_dtype(n, at + i, NC_I32, e));
        if (n->in[at + i]->shape.rank != 1 || !nc_same_rows(n->in[at + i], i == 1 ? q : k))
            return nc_infer_fail(n, e, NC_ESHAPE, "codes of %s, one for each row of %s", nc_shape_str(&n->in[at + i]->shape, a), i == 1 ? "q" : "k");
    }
    return 0;
}

/* The list of keys of a node, its last input. */
static int infer_list(const nc_node *n, nc_error *e)
{
    const nc_value *list = n->in[n->inputs - 1];

    if (!list)
        return 0;
    NC_TRY(nc_infer_dtype(n, n->inputs - 1, NC_I32, e));
    NC_TRY(nc_infer_rank(n, n->inputs - 1, 2, e));
    if (!nc_same_rows(list, n->in[0]) || !nc_value_is_contiguous(list) || n->in[n->inputs - 4])
        return nc_infer_fail(n, e, NC_ESHAPE, "a list of keys must be contiguous, one run for each row of q, and without a bias");
    return 0;
}

static int infer(nc_graph *g, nc_node *n, nc_error *e)
{
    const nc_attention_attr *attr = NC_ATTR(n, nc_attention_attr);

    NC_TRY(infer_heads(n, e));
    NC_TRY(infer_bias(g, n, BIAS, e));
    NC_TRY(infer_list(n, e));
    if (n->in[BIAS] && (attr->soft_cap > 0 || (attr->cache && n->in[BIAS + 1])))
        return nc_infer_fail(n, e, NC_EUNSUPPORTED, "a bias with %s", attr->soft_cap > 0 ? "a soft cap" : "codes of rows over a cache");
    const nc_value *q = n->in[0];
    if (!attr->spans)
        return nc_infer_fail(n, e, NC_EINVAL, "no table of spans");
    if (!isfinite(attr->scale) || !(attr->soft_cap >= 0) || !isfinite(attr->soft_cap) || attr->window < 0)
        return nc_infer_fail(n, e, NC_EINVAL, "scale %g, soft cap %g, window %d", attr->scale, attr->soft_cap, attr->window);
    if (attr->slopes && attr->soft_cap > 0)
        return nc_infer_fail(n, e, NC_EUNSUPPORTED, "ALiBi's slopes and a soft cap together");
    if (attr->cache && q->dtype == NC_F64)
        return nc_infer_fail(n, e, NC_EUNSUPPORTED, "a cache holds f32 or bf16, the graph computes in f64");
    nc_infer_out(n, 0, q->dtype, NC_SHAPE(q->shape.dim[0], q->shape.dim[1], n->in[2]->shape.dim[2]), q->count, q->count_scale);
    nc_infer_out(n, 1, nc_graph_wide(g), NC_SHAPE(q->shape.dim[0], q->shape.dim[1]), q->count, q->count_scale);
    n->outputs = 2;
    return 0;
}

static const nc_value *bias_of(const nc_node *n) { return n->in[n->inputs - 4]; }      /* of the forward and of the gradient */

static nc_attention_shape shape_of(const nc_node *n)
{
    const nc_value *q = n->in[0], *k = n->in[1], *v = n->in[2], *bias = bias_of(n);

    return (nc_attention_shape){ q->dtype, (int)q->shape.dim[1], (int)k->shape.dim[1], (int)q->shape.dim[2], (int)v->shape.dim[2],
                                 q->shape.dim[0], k->shape.dim[0], NC_ATTR(n, nc_attention_attr)->cache != NULL, bias ? bias->shape.dim[1] : 0 };
}

/* The kernel's slots are the numbers of its spans, each of which begins at a page of its sequence's slot. */
typedef struct layer { nc_cache *cache; int layer; const nc_span *span; } layer;
static void *page_keys(void *context, int span, int64_t block)
{
    const layer *l = context;
    return l->cache->keys(l->cache, l->span[span].slot, l->layer, l->span[span].page + (int)block);
}
static void *page_values(void *context, int span, int64_t block)
{
    const layer *l = context;
    return l->cache->values(l->cache, l->span[span].slot, l->layer, l->span[span].page + (int)block);
}

/* The kernel's arguments of a node whose inputs begin with q, k, v and end with the bias and its codes. The spans are the caller's to free. */
static int fill(const nc_node *n, const nc_run *r, nc_attention_args *a, nc_attention_span **spans)
{
    const nc_attention_attr *attr = NC_ATTR(n, nc_attention_attr);
    const nc_value *q = n->in[0], *k = n->in[1], *v = n->in[2];

    *a = (nc_attention_args){ .shape = shape_of(n), .q = q->data, .k = k->data, .v = v->data, .q_stride = { q->stride[0], q->stride[1] },
                              .k_stride = { k->stride[0], k->stride[1] }, .v_stride = { v->stride[0], v->stride[1] },
                              .scale = attr->scale > 0 || attr->scale < 0 ? attr->scale : 1 / sqrt((double)q->shape.dim[2]), .soft_cap = attr->soft_cap, .slopes = attr->slopes,
                              .window = attr->window, .spans = attr->spans->count };
    if (bias_of(n)) {
        const nc_value *const *bias = (const nc_value *const *)&n->in[n->inputs - 4];
        a->bias = bias[0]->data;
        a->bias_offset = attr->bias_offset;
        a->q_code = bias[1] ? bias[1]->data : NULL;
        a->k_code = bias[2] ? bias[2]->data : NULL;
    }
    if (n->in[n->inputs - 1]) {
        a->list = n->in[n->inputs - 1]->data;
        a->listed = n->in[n->inputs - 1]->shape.dim[1];
    }
    a->shape.rows = nc_live_rows(q, r->counts);
    a->shape.keys = nc_live_rows(k, r->counts);
    if (attr->spans->count < 0)
        return nc_fail(r->error, NC_EINVAL, "a table of %d spans", attr->spans->count);
    *spans = nc_xmalloc(sizeof **spans * ((size_t)a->spans + 1));
    for (int i = 0; i < a->spans; i++) {
        const nc_span *s = &attr->spans->span[i];
        (*spans)[i] = (nc_attention_span){ s->q_row, s->q_rows, s->q_index, s->k_row, s->k_rows, s->prefix, s->slot, (nc_attention_sight)s->sight };
    }
    a->span = *spans;
    return nc_attention_check(a, r->error);
}

static int run(const nc_node *n, const nc_run *r)
{
    const nc_attention_attr *attr = NC_ATTR(n, nc_attention_attr);
    layer l = { attr->cache, attr->layer, attr->spans->span };
    nc_attention_pages pages = { &l, page_keys, page_values };
    nc_attention_span *spans = NULL;
    nc_attention_args a;
    int rc = fill(n, r, &a, &spans);

    if (rc == 0 && attr->cache && attr->cache->bf16 != (a.shape.dtype == NC_BF16))
        rc = nc_fail(r->error, NC_EINVAL, "the cache holds %s, the graph computes in %s", attr->cache->bf16 ? "bf16" : "f32", nc_dtype_name(a.shape.dtype));
    for (int i = 0; i < a.spans && rc == 0 && attr->cache; i++) {
        if (attr->spans->span[i].page < 0)
            rc = nc_fail(r->error, NC_EINVAL, "span %d begins at page %d of its slot", i, attr->spans->span[i].page);
        spans[i].slot = i;
    }
    if (rc == 0) {
        a.pages = attr->cache ? &pages : NULL;
        a.out = n->out[0]->data;
        a.lse = n->out[1]->data;
        r->kernels->attention->forward[nc_dtype_slot(a.shape.dtype)](&a, r->pool, r->workspace);
    }
    free(spans);
    return rc;
}

/* The level is chosen when the plan runs: room for the greediest of this CPU. */
static size_t workspace(const nc_node *n, int threads)
{
    nc_attention_shape s = shape_of(n);
    size_t most = 0;

    for (int isa = 0; isa <= (int)nc_isa_of_cpu(); isa++) {
        size_t bytes = nc_kernels_for((nc_isa)isa)->attention->forward_bytes[nc_dtype_slot(s.dtype)](&s, threads);
        most = bytes > most ? bytes : most;
    }
    return most;
}

static void cost_of(const nc_node *n, const int64_t *counts, double times, double *flops, double *bytes)
{
    const nc_attention_attr *attr = NC_ATTR(n, nc_attention_attr);
    nc_attention_args a = { .shape = shape_of(n), .window = attr->window, .spans = 1 };

    *flops = *bytes = 0;
    for (int i = 0; i < attr->spans->count; i++) {
        const nc_span *s = &attr->spans->span[i];
        nc_attention_span one = { s->q_row, s->q_rows, s->q_index, s->k_row, s->k_rows, s->prefix, s->slot, (nc_attention_sight)s->sight };
        a.span = &one;
        *flops += nc_attention_flops(&a) * times;
        *bytes += (double)nc_attention_keys(&one, a.shape.paged) * a.shape.kv_heads * (a.shape.head + a.shape.value_head) * nc_dtype_get(a.shape.dtype)->bytes;
    }
    for (int i = 0; i < n->inputs; i++)
        if (n->in[i] && (i == 0 || i > 2))
            *bytes += (double)nc_live_count(n->in[i], counts) * nc_dtype_get(n->in[i]->dtype)->bytes;
    for (int i = 0; i < n->outputs; i++)
        *bytes += (double)nc_live_count(n->out[i], counts) * nc_dtype_get(n->out[i]->dtype)->bytes;
}

static void cost(const nc_node *n, const int64_t *counts, double *flops, double *bytes) { cost_of(n, counts, 1, flops, bytes); }

/* ---- gradient ---- */
enum { Q, K, V, OUT, LSE, DOUT, DLSE, GRAD_BIAS, GRAD_LIST = GRAD_BIAS + 3, GRAD_INPUTS };

static int infer_grad(nc_graph *g, nc_node *n, nc_error *e)
{
    NC_TRY(infer_heads(n, e));
    NC_TRY(infer_bias(g, n, GRAD_BIAS, e));
    NC_TRY(infer_list(n, e));
    for (int i = 0; i < 3; i++)
        nc_infer_like(n, i, n->in[i]);
    n->outputs = 3;
    if (n->in[GRAD_BIAS])
        nc_infer_like(n, n->outputs++, n->in[GRAD_BIAS]);
    return 0;
}

static int run_grad(const nc_node *n, const nc_run *r)
{
    nc_attention_span *spans = NULL;
    nc_attention_args a;
    int rc = fill(n, r, &a, &spans);

    for (int i = OUT; i < GRAD_BIAS && rc == 0; i++)
        if (n->in[i] && !nc_value_is_contiguous(n->in[i]))
            rc = nc_fail(r->error, NC_ESHAPE, "input %d must be contiguous", i);
    if (rc == 0) {
        a.dq = n->out[0]->data;
        a.dk = n->out[1]->data;                              /* NULL where nobody reads it */
        a.dv = n->out[2]->data;
        a.dq_row = n->out[0]->stride[0], a.dk_row = n->out[1]->stride[0], a.dv_row = n->out[2]->stride[0];
        a.dbias = n->outputs > 3 ? n->out[3]->data : NULL;
        a.out = n->in[OUT]->data;
        a.lse = n->in[LSE]->data;
        a.dout = n->in[DOUT]->data;
        a.dlse = n->in[DLSE] ? n->in[DLSE]->data : NULL;
        r->kernels->attention->backward[nc_dtype_slot(a.shape.dtype)](&a, r->pool, r->workspace);
    }
    free(spans);
    return rc;
}

static size_t workspace_grad(const nc_node *n, int threads)
{
    nc_attention_shape s = shape_of(n);
    size_t most = 0;

    for (int isa = 0; isa <= (int)nc_isa_of_cpu(); isa++) {
        size_t bytes = nc_kernels_for((nc_isa)isa)->attention->backward_bytes[nc_dtype_slot(s.dtype)](&s, threads);
        most = bytes > most ? bytes : most;
    }
    return most;
}

static void cost_grad(const nc_node *n, const int64_t *counts, double *flops, double *bytes) { cost_of(n, counts, 2.5, flops, bytes); }

const nc_op nc_op_attention_grad = { .name = "attention_grad", .flags = NC_OP_STRIDED | NC_OP_PLACES, .infer = infer_grad, .run = run_grad, .workspace = workspace_grad,
                                     .cost = cost_grad };

static void grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    nc_value *dout = dy[0] ? nc_contiguous(g, dy[0]) : nc_affine(g, n->out[0], 0, 0), *dlse = dy[1] ? nc_contiguous(g, dy[1]) : NULL;
    nc_value *in[GRAD_INPUTS] = { n->in[0], n->in[1], n->in[2], n->out[0], n->out[1], dout, dlse, n->in[BIAS], n->in[BIAS + 1], n->in[BIAS + 2], n->in[LIST] };
    nc_value *dq = nc_emit(g, &nc_op_attention_grad, n->attr, n->attr_size, in, GRAD_INPUTS);

    for (int i = 0; i < (n->in[BIAS] ? 4 : 3); i++)
        dx[i] = nc_output(dq, i);
}

const nc_op nc_op_attention = { .name = "attention", .flags = NC_OP_STRIDED, .infer = infer, .grad = grad, .run = run, .workspace = workspace, .cost = cost };
const nc_op nc_op_attention_cached = { .name = "attention_cached", .flags = NC_OP_STRIDED | NC_OP_EFFECT, .infer = infer, .run = run, .workspace = workspace,
                                       .cost = cost };

nc_value *nc_attention(nc_graph *g, nc_value *q, nc_value *k, nc_value *v, const nc_attention_attr *attr)
{
    nc_value *bias = attr->bias ? nc_contiguous(g, attr->bias) : NULL;
    nc_attention_attr own = *attr;

    if (attr->slopes && q->shape.rank == 3 && q->shape.dim[1] > 0)
        own.slopes = nc_arena_copy(nc_graph_arena(g), attr->slopes, (size_t)q->shape.dim[1] * sizeof *attr->slopes);
    own.bias = own.q_code = own.k_code = own.list = NULL;       /* values are inputs, attributes are compared */
    return nc_emit(g, attr->cache ? &nc_op_attention_cached : &nc_op_attention, &own, sizeof own, (nc_value *[]){ q, k, v, bias, attr->q_code, attr->k_code, attr->list }, INPUTS);
}

/* head.c - the head fused with its softmax: log-probabilities, their gradient, and the weighted negative log-likelihood made in one go.
 *
 *   l = cap(scale * (h w^T + b))   h [N,D], w [V,D], b [V] or absent;   lse_i = log sum_j exp l_ij;   logprob_i = l[i,target_i] - lse_i
 *   head_logprob  -> logprob [N] (0 where target < 0), lse [N];  its gradient (head_grad) makes the logits again:
 *                    dl_ij = scale f_ij ((dlse_i - dlogprob_i) p_ij + dlogprob_i [j = target_i])
 *   head_loss     -> L = -sum_i weight_i logprob_i; where its gradient is asked for also dL/dh, dL/dw, dL/db, made while the block's softmax is at hand.
 * Logits are made for a block of rows and a chunk of the vocabulary (kernels/head.h). head_loss keeps exp(l - chunk's maximum) for one block of
 * rows; never for all rows. Rows of dh are independent; dw and db add blocks of rows in order.
 */
#include "graph/op.h"
#include "graph/ops/head.h"

/* ---- shapes ---- */

static int infer_head(const nc_node *n, nc_error *e)
{
    const nc_value *h = n->in[0], *w = n->in[1], *b = n->in[2], *t = n->in[3];
    const nc_head_attr *a = NC_ATTR(n, nc_head_attr);

    NC_TRY(nc_infer_compute(n, 0, e));
    NC_TRY(nc_infer_rank(n, 0, 2, e));
    NC_TRY(nc_infer_dims(n, 1, e, 2, (int64_t[]){ -1, h->shape.dim[1] }));
    if (b)
        NC_TRY(nc_infer_dims(n, 2, e, 1, (int64_t[]){ w->shape.dim[0] }));
    if (b && (h->dtype == NC_F64 ? b->dtype != NC_F64 : b->dtype != NC_F32 && b->dtype != NC_BF16))
        return nc_infer_fail(n, e, NC_ESHAPE, "a bias of %s", nc_dtype_name(b->dtype));
    NC_TRY(nc_infer_dtype(n, 3, NC_I32, e));
    bool plain = w->dtype == NC_F32 || w->dtype == NC_BF16 || w->dtype == NC_F16;
    if (h->dtype == NC_F64 ? w->dtype != NC_F64 || w->packed : !w->packed && !plain)
        return nc_infer_fail(n, e, NC_ESHAPE, "no product of %s rows with %s weights held plain", nc_dtype_name(h->dtype), nc_dtype_name(w->dtype));
    if (t->shape.rank != 1 || !nc_same_rows(h, t))
        return nc_infer_fail(n, e, NC_ESHAPE, "a target for each row");
    if (w->shape.dim[0] < 1 || !isfinite(a->scale) || !(a->cap >= 0) || !isfinite(a->cap))
        return nc_infer_fail(n, e, NC_EINVAL, "vocabulary of %lld, scale %g, soft cap %g", (long long)w->shape.dim[0], a->scale, a->cap);
    return 0;
}

static int infer_logprob(nc_graph *g, nc_node *n, nc_error *e)
{
    NC_TRY(infer_head(n, e));
    const nc_value *h = n->in[0];
    for (int i = 0; i < 2; i++)
        nc_infer_out(n, i, nc_graph_wide(g), NC_SHAPE(h->shape.dim[0]), h->count, h->count_scale);
    n->outputs = 2;
    return 0;
}

static void infer_gradients(nc_graph *g, nc_node *n, int first)
{
    const nc_value *w = n->in[1];
    nc_infer_like(n, first, n->in[0]);
    nc_infer_out(n, first + 1, nc_graph_wide(g), w->shape, -1, 1);
    nc_infer_out(n, first + 2, nc_graph_wide(g), NC_SHAPE(w->shape.dim[0]), -1, 1);
    n->outputs = first + 3;
}

static int infer_grad(nc_graph *g, nc_node *n, nc_error *e)
{
    NC_TRY(infer_head(n, e));
    infer_gradients(g, n, 0);
    return 0;
}

static int infer_loss(nc_graph *g, nc_node *n, nc_error *e)
{
    NC_TRY(infer_head(n, e));
    NC_TRY(nc_infer_dtype(n, 4, nc_graph_wide(g), e));
    if (n->in[4]->shape.rank != 1 || !nc_same_rows(n->in[0], n->in[4]))
        return nc_infer_fail(n, e, NC_ESHAPE, "a weight for each row");
    nc_infer_out(n, 0, nc_graph_wide(g), (nc_shape){ 0 }, -1, 1);
    infer_gradients(g, n, 1);
    return 0;
}

/* ---- costs: one product for the values, two for the gradients ---- */

static void cost_of(const nc_node *n, const int64_t *counts, double products, double *flops, double *bytes)
{
    const nc_value *h = n->in[0], *w = n->in[1];
    double rows = (double)nc_live_rows(h, counts), V = (double)w->shape.dim[0], D = (double)w->shape.dim[1];
    *flops = 2 * products * rows * V * D;
    *bytes = products * ((w->packed ? (double)w->packed->bytes : V * D * nc_dtype_get(w->dtype)->bytes) + rows * D * nc_dtype_get(h->dtype)->bytes);
}

static void cost_logprob(const nc_node *n, const int64_t *counts, double *flops, double *bytes) { cost_of(n, counts, 1, flops, bytes); }
static void cost_grad(const nc_node *n, const int64_t *counts, double *flops, double *bytes) { cost_of(n, counts, 3, flops, bytes); }
static void cost_loss(const nc_node *n, const int64_t *counts, double *flops, double *bytes)
{
    cost_of(n, counts, n->out[1]->uses || n->out[1]->kept || n->out[2]->uses || n->out[2]->kept || n->in[5] ? 3 : 1, flops, bytes);
}

/* ---- gradients ---- */

static bool wanted(const nc_value *v) { return v && (v->has_grad || v->wants_grad); }

/* The seed of a backward pass: scaling by it would only cost a pass over the gradients. */
static bool is_one(const nc_value *v)
{
    return v && v->kind == NC_VALUE_INPUT && v->shape.rank == 0 && v->data && nc_dtype_load(v->dtype, v->data, 0) == 1;
}

static void take_gradients(nc_graph *g, const nc_node *n, nc_value *node0, int first, nc_value *by, nc_value **dx)
{
    for (int i = 0; i < 3; i++)
        if (wanted(n->in[i])) {
            nc_value *v = nc_output(node0, first + i);
            dx[i] = by ? nc_scale_by(g, v, by) : v;
        }
    if (wanted(n->in[1]) && n->in[1]->packed && !n->in[1]->packed->turned)
        nc_graph_mistake(g, NC_EUNSUPPORTED, "head: weight %s is held packed and cannot be trained", n->in[1]->name ? n->in[1]->name : "");
}

static void grad_logprob(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx);
static void grad_loss(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    if (wanted(n->in[4]))
        nc_graph_mistake(g, NC_EUNSUPPORTED, "head_loss: weights of rows have no gradient here; build the loss from nc_head_logprob");
    if (dy[0])
        take_gradients(g, n, n->out[0], 1, is_one(dy[0]) ? NULL : dy[0], dx);
}

const nc_op nc_op_head_logprob = { .name = "head_logprob", .infer = infer_logprob, .grad = grad_logprob, .run = nc_head_run_logprob,
                                   .workspace = nc_head_workspace_logprob, .cost = cost_logprob };
const nc_op nc_op_head_grad = { .name = "head_grad", .flags = NC_OP_BATCHY, .infer = infer_grad, .run = nc_head_run_grad,
                                .workspace = nc_head_workspace_grad, .cost = cost_grad };
/* The vocabulary's gradient is large: dw goes straight into the table's own where that is the first to come. */
const nc_op nc_op_head_loss = { .name = "head_loss", .flags = NC_OP_BATCHY | NC_OP_ACCUMULATE | NC_OP_GIVES, .accumulated = 2, .infer = infer_loss, .grad = grad_loss, .run = nc_head_run_loss,
                                .workspace = nc_head_workspace_loss, .cost = cost_loss };

/* Inputs of head_grad: h, w, b, target, lse, dlogprob, dlse. */
static void grad_logprob(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    if (!dy[0] && !dy[1])
        return;
    nc_value *in[] = { n->in[0], n->in[1], n->in[2], n->in[3], n->out[1], dy[0], dy[1] };
    nc_value *v = nc_emit(g, &nc_op_head_grad, n->attr, n->attr_size, in, 7);
    take_gradients(g, n, v, 0, NULL, dx);
}

nc_value *nc_head_logprob(nc_graph *g, nc_value *h, nc_value *w, nc_value *b, nc_value *target, double scale, double soft_cap)
{
    nc_head_attr a = { scale, soft_cap };
    return nc_emit(g, &nc_op_head_logprob, &a, sizeof a, (nc_value *[]){ h, w, b, target }, 4);
}

nc_value *nc_head_loss(nc_graph *g, nc_value *h, nc_value *w, nc_value *b, nc_value *target, nc_value *weight, double scale, double soft_cap)
{
    nc_head_attr a = { scale, soft_cap };
    return nc_emit(g, &nc_op_head_loss, &a, sizeof a, (nc_value *[]){ h, w, b, target, weight, NULL }, 6);
}

nc_value *nc_nll(nc_graph *g, nc_value *logprob, nc_value *weight)
{
    return nc_affine(g, nc_sum_all(g, nc_mul(g, logprob, weight)), -1, 0);
}

nc_value *nc_head_logits(nc_graph *g, nc_value *h, nc_value *w, nc_value *b, double scale, double soft_cap)
{
    nc_head_attr a = { scale, soft_cap };
    nc_value *x = nc_linear_op(g, h, w, b, nc_graph_wide(g));
    return scale == 1 && soft_cap == 0 ? x : nc_emit(g, &nc_op_head_finish, &a, sizeof a, (nc_value *[]){ x }, 1);
}

/* ---- head_finish: x -> l, the training op's bits ---- */

static int infer_finish(nc_graph *g, nc_node *n, nc_error *e)
{
    NC_TRY(nc_infer_dtype(n, 0, nc_graph_wide(g), e));
    nc_infer_like(n, 0, n->in[0]);
    return 0;
}

static void finish_rows(void *context, int64_t begin, int64_t end, int worker)
{
    const nc_node *n = ((void **)context)[0];
    const nc_run *r = ((void **)context)[1];
    const nc_head_attr *a = NC_ATTR(n, nc_head_attr);
    const nc_value *x = n->in[0], *y = n->out[0];
    int64_t width = nc_shape_last(&x->shape);

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        if (y->data != x->data)
            memcpy(nc_at(y, i * width), nc_at(x, i * width), (size_t)width * (size_t)nc_dtype_get(x->dtype)->bytes);
        if (x->dtype == NC_F64)
            for (int64_t j = 0; j < width; j++) {
                double *l = (double *)y->data + i * width + j;
                *l = a->cap > 0 ? a->cap * tanh(*l * a->scale / a->cap) : *l * a->scale;
            }
        else
            nc_head_finish(r->kernels, (float *)y->data + i * width, width, (float)a->scale, (float)a->cap);
    }
}

static int run_finish(const nc_node *n, const nc_run *r)
{
    nc_parallel_rows(r, nc_live_last_rows(n->in[0], r->counts), nc_grain(4 * nc_shape_last(&n->in[0]->shape)), finish_rows, (const void *[]){ n, r });
    return 0;
}

const nc_op nc_op_head_finish = { .name = "head_finish", .flags = NC_OP_INPLACE, .infer = infer_finish, .run = run_finish };

/* ---- scale_by: x * s for a scalar s, added in place where there is an accumulator ---- */

static int infer_scale(nc_graph *g, nc_node *n, nc_error *e)
{
    NC_TRY(nc_infer_rank(n, 1, 0, e));
    NC_TRY(nc_infer_dtype(n, 1, nc_graph_wide(g), e));
    return nc_infer_same(g, n, e);
}

static void scale_part(void *context, int64_t begin, int64_t end, int worker)
{
    const nc_node *n = ((const void **)context)[0];
    const void *x = n->in[0]->data;
    void *y = n->out[0]->data;
    bool add = nc_adds(n, ((const void **)context)[1]);

    (void)worker;
    if (n->in[0]->dtype == NC_F64) {
        double s = *(const double *)n->in[1]->data, *to = y;
        for (int64_t i = begin; i < end; i++)
            to[i] = (add ? to[i] : 0) + ((const double *)x)[i] * s;
        return;
    }
    float s = *(const float *)n->in[1]->data;
    if (n->in[0]->dtype == NC_BF16) {
        uint16_t *to = y;
        for (int64_t i = begin; i < end; i++)
            to[i] = nc_f32_to_bf16((add ? nc_bf16_to_f32(to[i]) : 0) + nc_bf16_to_f32(((const uint16_t *)x)[i]) * s);
    } else if (add) {
        for (int64_t i = begin; i < end; i++)
            ((float *)y)[i] += ((const float *)x)[i] * s;
    } else {
        for (int64_t i = begin; i < end; i++)
            ((float *)y)[i] = ((const float *)x)[i] * s;
    }
}

static int run_scale(const nc_node *n, const nc_run *r)
{
    nc_parallel_rows(r, nc_live_count(n->in[0], r->counts), 65536, scale_part, (const void *[]){ n, r });
    return 0;
}

static void grad_scale(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    if (dy[0] && wanted(n->in[0]))
        dx[0] = nc_scale_by(g, dy[0], n->in[1]);
    if (dy[0] && wanted(n->in[1]))
        dx[1] = nc_sum_all(g, nc_mul(g, dy[0], n->in[0]));
}

const nc_op nc_op_scale_by = { .name = "scale_by", .flags = NC_OP_ACCUMULATE, .infer = infer_scale, .grad = grad_scale, .run = run_scale };

nc_value *nc_scale_by(nc_graph *g, nc_value *x, nc_value *s)
{
    return nc_emit(g, &nc_op_scale_by, NULL, 0, (nc_value *[]){ x, s, NULL }, 3);
}

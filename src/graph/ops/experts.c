/* experts.c - what a mixture of experts needs: the choice of experts, columns taken by it, rows brought together by expert, products whose weight follows the row.
 *
 *   top_columns    s [N,E] -> I32 [N,k]: the k columns of the largest s, largest first, of equal ones the first. With groups the E columns are cut into equal
 *                  groups and only those of the `top_groups` best are looked at; a group's score is its largest s, or the sum of its two largest.
 *   take_columns   x [N,E], index [N,k] -> x[i, index[i,j]];     put_columns the adjoint: dy [N,k] -> [N,E], zeros elsewhere (without dy: ones)
 *   expert_rows    chosen [N,k] -> rows [N*k] (which row of the stream each slot holds; slots lie expert after expert, in order of row then of j),
 *                  place [N,k] (the slot of each), starts [E+1] (first slot of each expert)
 *   expert_linear  x [N*k,K], starts, w_e [M,K] -> y [N*k,M], y = x w_e^T for the slots of expert e;  expert_linear_dx: dy w_e;  expert_linear_dw: dy_e^T x_e
 *
 * Rows of one expert are one product of kernels/gemm.h, whose results depend on a row and the weight alone, so a row has the same bits in any batch.
 * Routing: Shazeer et al. 2017; by groups: DeepSeek-V2 and V3 (2024).
 */
#include <math.h>

#include "graph/op.h"
#include "kernels/gemm.h"

typedef struct linear_attr { nc_dtype out; int expert; } linear_attr;

/* ---- top_columns ---- */

static int top_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    const nc_top_attr *a = NC_ATTR(n, nc_top_attr);
    const nc_value *s = n->in[0];

    (void)g;
    NC_TRY(nc_infer_compute(n, 0, e));
    NC_TRY(nc_infer_rank(n, 0, 2, e));
    int64_t E = s->shape.dim[1];
    bool grouped = a->groups > 1;
    if (a->top < 1 || a->top > E || E > NC_MAX_EXPERTS || (grouped && (E % a->groups || a->top_groups < 1 || a->top_groups > a->groups || a->group_best < 1 || a->group_best > 2)))
        return nc_infer_fail(n, e, NC_EINVAL, "the %d best of %lld, from %d of %d groups", a->top, (long long)E, a->top_groups, a->groups);
    if (grouped && a->top > E / a->groups * a->top_groups)
        return nc_infer_fail(n, e, NC_EINVAL, "%d groups hold fewer than %d columns", a->top_groups, a->top);
    nc_infer_out(n, 0, NC_I32, NC_SHAPE(s->shape.dim[0], a->top), s->count, s->count_scale);
    return 0;
}

/* Takes the best of those open, closes it. Not a number counts as the least. */
static int take_best(const double *s, bool *open, int64_t n)
{
    int best = -1;
    for (int64_t i = 0; i < n; i++)
        if (open[i] && (best < 0 || s[i] > s[best] || (isnan(s[best]) && !isnan(s[i]))))
            best = (int)i;
    open[best] = false;
    return best;
}

static void top_row(const nc_top_attr *a, const double *s, int64_t E, int32_t *out)
{
    bool open[NC_MAX_EXPERTS], group_open[NC_MAX_EXPERTS];
    double score[NC_MAX_EXPERTS];
    int64_t each = a->groups > 1 ? E / a->groups : E;

    memset(open, a->groups <= 1, sizeof open);
    for (int i = 0; a->groups > 1 && i < a->groups; i++) {
        bool all[NC_MAX_EXPERTS];
        memset(all, 1, sizeof all);
        score[i] = 0;
        for (int j = 0; j < a->group_best && j < each; j++)
            score[i] += s[i * each + take_best(s + i * each, all, each)];
        group_open[i] = true;
    }
    for (int i = 0; a->groups > 1 && i < a->top_groups; i++)
        memset(open + take_best(score, group_open, a->groups) * each, 1, (size_t)each);
    for (int j = 0; j < a->top; j++)
        out[j] = take_best(s, open, E);
}

struct rows { const nc_node *n; };

static void top_rows(void *context, int64_t begin, int64_t end, int worker)
{
    const nc_node *n = ((const struct rows *)context)->n;
    int64_t E = n->in[0]->shape.dim[1];
    double s[NC_MAX_EXPERTS];

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        for (int64_t j = 0; j < E; j++)
            s[j] = nc_dtype_load(n->in[0]->dtype, n->in[0]->data, i * E + j);
        top_row(NC_ATTR(n, nc_top_attr), s, E, nc_at(n->out[0], i * n->out[0]->shape.dim[1]));
    }
}

static int top_run(const nc_node *n, const nc_run *r)
{
    struct rows job = { n };
    nc_parallel_rows(r, nc_live_rows(n->out[0], r->counts), nc_grain(n->in[0]->shape.dim[1] * n->out[0]->shape.dim[1]), top_rows, &job);
    return 0;
}

const nc_op nc_op_top_columns = { .name = "top_columns", .infer = top_infer, .run = top_run };

nc_value *nc_top_columns(nc_graph *g, nc_value *s, const nc_top_attr *attr)
{
    return nc_emit(g, &nc_op_top_columns, attr, sizeof *attr, &s, 1);
}

/* ---- take_columns, put_columns ---- */

static int check_columns(const nc_node *n, const nc_run *r, const nc_value *index, int64_t width)
{
    const int32_t *p = index->data;
    for (int64_t i = 0, c = nc_live_count(index, r->counts); i < c; i++)
        if (p[i] < 0 || p[i] >= width)
            return nc_fail(r->error, NC_EINVAL, "%s: column %d of %lld", n->op->name, (int)p[i], (long long)width);
    return 0;
}

static int take_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    const nc_value *x = n->in[0], *index = n->in[1];

    (void)g;
    NC_TRY(nc_infer_compute(n, 0, e));
    NC_TRY(nc_infer_rank(n, 0, 2, e));
    NC_TRY(nc_infer_rank(n, 1, 2, e));
    NC_TRY(nc_infer_dtype(n, 1, NC_I32, e));
    if (!nc_same_rows(x, index))
        return nc_infer_fail(n, e, NC_ESHAPE, "rows and index differ in number");
    nc_infer_out(n, 0, x->dtype, index->shape, x->count, x->count_scale);
    return 0;
}

static int take_run(const nc_node *n, const nc_run *r)
{
    const nc_value *x = n->in[0], *index = n->in[1], *y = n->out[0];
    const int32_t *at = index->data;
    int64_t E = x->shape.dim[1], k = index->shape.dim[1];

    NC_TRY(check_columns(n, r, index, E));
    for (int64_t i = 0, c = nc_live_rows(y, r->counts) * k; i < c; i++)
        memcpy(nc_at(y, i), nc_at(x, i / k * E + at[i]), (size_t)nc_dtype_get(y->dtype)->bytes);
    return 0;
}

static void take_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    if (dy[0])
        dx[0] = nc_put_columns(g, dy[0], n->in[1], n->in[0]->shape.dim[1]);
}

const nc_op nc_op_take_columns = { .name = "take_columns", .infer = take_infer, .grad = take_grad, .run = take_run };

nc_value *nc_take_columns(nc_graph *g, nc_value *x, nc_value *index)
{
    return nc_emit(g, &nc_op_take_columns, NULL, 0, (nc_value *[]){ x, index }, 2);
}

static int put_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    const nc_value *y = n->in[0], *index = n->in[1];

    NC_TRY(nc_infer_rank(n, 1, 2, e));
    NC_TRY(nc_infer_dtype(n, 1, NC_I32, e));
    if (y)
        NC_TRY(nc_infer_compute(n, 0, e));
    if (y && (!nc_same_rows(y, index) || !nc_shape_equal(&y->shape, &index->shape)))
        return nc_infer_fail(n, e, NC_ESHAPE, "values and index differ in shape");
    nc_infer_out(n, 0, y ? y->dtype : nc_graph_wide(g), NC_SHAPE(index->shape.dim[0], *NC_ATTR(n, int64_t)), index->count, index->count_scale);
    return 0;
}

/* Columns of a row are distinct, so values are put, not added. */
static int put_run(const nc_node *n, const nc_run *r)
{
    const nc_value *x = n->in[0], *index = n->in[1], *y = n->out[0];
    const int32_t *at = index->data;
    int64_t E = y->shape.dim[1], k = index->shape.dim[1], rows = nc_live_rows(y, r->counts);

    NC_TRY(check_columns(n, r, index, E));
    memset(y->data, 0, nc_dtype_bytes(y->dtype, rows * E));
    for (int64_t i = 0; i < rows * k; i++) {
        if (x)
            memcpy(nc_at(y, i / k * E + at[i]), nc_at(x, i), (size_t)nc_dtype_get(y->dtype)->bytes);
        else if (y->dtype == NC_F64)
            ((double *)y->data)[i / k * E + at[i]] = 1;
        else
            ((float *)y->data)[i / k * E + at[i]] = 1;
    }
    return 0;
}

static void put_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    if (dy[0] && n->in[0])
        dx[0] = nc_take_columns(g, dy[0], n->in[1]);
}

const nc_op nc_op_put_columns = { .name = "put_columns", .infer = put_infer, .grad = put_grad, .run = put_run };

nc_value *nc_put_columns(nc_graph *g, nc_value *y, nc_value *index, int64_t width)
{
    return nc_emit(g, &nc_op_put_columns, &width, sizeof width, (nc_value *[]){ y, index }, 2);
}

/* ---- expert_rows ---- */

static int rows_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    const nc_value *c = n->in[0];
    int64_t experts = *NC_ATTR(n, int64_t);

    (void)g;
    NC_TRY(nc_infer_rank(n, 0, 2, e));
    NC_TRY(nc_infer_dtype(n, 0, NC_I32, e));
    if (experts < 1 || experts > NC_MAX_EXPERTS)
        return nc_infer_fail(n, e, NC_EINVAL, "%lld experts", (long long)experts);
    n->outputs = 3;
    nc_infer_out(n, 0, NC_I32, NC_SHAPE(c->shape.dim[0] * c->shape.dim[1]), c->count, c->count_scale * c->shape.dim[1]);
    nc_infer_out(n, 1, NC_I32, c->shape, c->count, c->count_scale);
    nc_infer_out(n, 2, NC_I32, NC_SHAPE(experts + 1), -1, 1);
    return 0;
}

static int rows_run(const nc_node *n, const nc_run *r)
{
    const nc_value *c = n->in[0];
    const int32_t *chosen = c->data;
    int32_t *rows = n->out[0]->data, *place = n->out[1]->data, *starts = n->out[2]->data, next[NC_MAX_EXPERTS + 1] = { 0 };
    int64_t k = c->shape.dim[1], items = nc_live_rows(c, r->counts) * k, experts = *NC_ATTR(n, int64_t);

    NC_TRY(check_columns(n, r, c, experts));
    for (int64_t i = 0; i < items; i++)
        next[chosen[i] + 1]++;
    for (int64_t i = 0; i < experts; i++)
        next[i + 1] += next[i];
    if (starts)
        memcpy(starts, next, sizeof *starts * (size_t)(experts + 1));
    for (int64_t i = 0; i < items; i++) {
        int32_t slot = next[chosen[i]]++;
        rows[slot] = (int32_t)(i / k);
        if (place)
            place[i] = slot;
    }
    return 0;
}

const nc_op nc_op_expert_rows = { .name = "expert_rows", .flags = NC_OP_BATCHY, .infer = rows_infer, .run = rows_run };

nc_value *nc_expert_rows(nc_graph *g, nc_value *chosen, int64_t experts)
{
    return nc_emit(g, &nc_op_expert_rows, &experts, sizeof experts, &chosen, 1);
}

/* ---- expert_linear ---- */

static nc_gemm_kind kind_of(const nc_value *w, const nc_value *x)
{
    return w->packed ? w->packed->kind : nc_gemm_kind_for(w->dtype, x->dtype == NC_BF16);
}

static int check_experts(nc_node *n, int transposed, nc_error *e)
{
    const nc_value *x = n->in[0], *w0 = n->in[2];

    NC_TRY(nc_infer_compute(n, 0, e));
    NC_TRY(nc_infer_rank(n, 0, 2, e));
    NC_TRY(nc_infer_dims(n, 1, e, 1, (int64_t[]){ n->inputs - 1 }));
    NC_TRY(nc_infer_dtype(n, 1, NC_I32, e));
    for (int i = 2; i < n->inputs; i++) {
        const nc_value *w = n->in[i];
        bool plain = w->dtype == NC_F32 || w->dtype == NC_BF16 || w->dtype == NC_F16;
        NC_TRY(nc_infer_rank(n, i, 2, e));
        if (!nc_shape_equal(&w->shape, &w0->shape) || w->shape.dim[transposed ? 0 : 1] != x->shape.dim[1] ||
            (x->dtype == NC_F64 ? w->dtype != NC_F64 || w->packed : !w->packed && !plain))
            return nc_infer_fail(n, e, NC_ESHAPE, "the weight of expert %d does not fit the rows or the other experts", i - 2);
        if (w->packed && (w->packed->n != w->shape.dim[0] || w->packed->k != w->shape.dim[1]))
            return nc_infer_fail(n, e, NC_ESHAPE, "the packed weight of expert %d has another shape", i - 2);
    }
    nc_infer_out(n, 0, x->dtype == NC_F64 ? NC_F64 : NC_ATTR(n, linear_attr)->out, NC_SHAPE(x->shape.dim[0], w0->shape.dim[transposed ? 1 : 0]), x->count, x->count_scale);
    return 0;
}

static int linear_infer(nc_graph *g, nc_node *n, nc_error *e) { (void)g; return check_experts(n, 0, e); }
static int dx_infer(nc_graph *g, nc_node *n, nc_error *e) { (void)g; return check_experts(n, 1, e); }

/* The slots of one expert; starts come from expert_rows of the same step. */
static int slots_of(const nc_node *n, const nc_run *r, const nc_value *starts, int64_t expert, int64_t live, int64_t *first, int64_t *count)
{
    const int32_t *s = starts->data;
    *first = s[expert];
    *count = s[expert + 1] - s[expert];
    if (*first < 0 || *count < 0 || *first + *count > live)
        return nc_fail(r->error, NC_EINVAL, "%s: expert %lld has slots %lld to %lld of %lld", n->op->name, (long long)expert, (long long)*first,
                       (long long)(*first + *count), (long long)live);
    return 0;
}

static void one_expert(const nc_node *n, const nc_run *r, const nc_value *w, const nc_gemm_call *c, bool transposed)
{
    int64_t M = w->shape.dim[0], K = w->shape.dim[1];
    nc_gemm_source s = { .dtype = w->dtype, .data = w->data, .stride = w->stride[0], .transposed = transposed };

    if (n->in[0]->dtype == NC_F64)
        nc_ref_gemm_f64(c->c, c->ldc, c->a, c->lda, 1, w->data, transposed ? 1 : w->stride[0], transposed ? w->stride[0] : 1, c->m, transposed ? K : M, transposed ? M : K, NULL, false);
    else if (!w->packed)
        nc_gemm_plain(r->kernels, r->pool, c, &s, kind_of(w, n->in[0]), transposed ? K : M, transposed ? M : K, r->workspace);
    else if (transposed)
        nc_gemm_backward(r->kernels, r->pool, c, w->packed, r->workspace);
    else
        nc_gemm(r->kernels, r->pool, c, w->packed, r->workspace);
}

static int run_experts(const nc_node *n, const nc_run *r, bool transposed)
{
    const nc_value *x = n->in[0], *y = n->out[0];
    int64_t live = nc_live_rows(x, r->counts), first, count;

    for (int e = 0; e < n->inputs - 2; e++) {
        NC_TRY(slots_of(n, r, n->in[1], e, live, &first, &count));
        nc_gemm_call c = { .m = count, .a = nc_at(x, first * x->shape.dim[1]), .a_dtype = x->dtype, .lda = x->shape.dim[1],
                           .c = nc_at(y, first * y->shape.dim[1]), .c_dtype = y->dtype, .ldc = y->shape.dim[1] };
        if (count)
            one_expert(n, r, n->in[2 + e], &c, transposed);
    }
    return 0;
}

static int linear_run(const nc_node *n, const nc_run *r) { return run_experts(n, r, false); }
static int dx_run(const nc_node *n, const nc_run *r) { return run_experts(n, r, true); }

static size_t experts_workspace(const nc_node *n, int threads, bool transposed)
{
    size_t most = 0;
    for (int i = 2; i < n->inputs && n->in[0]->dtype != NC_F64; i++) {
        const nc_value *x = n->in[0], *w = n->in[i];
        int64_t M = w->shape.dim[0], K = w->shape.dim[1], rows = x->shape.dim[0];
        size_t bytes = transposed && w->packed ? nc_gemm_backward_workspace_any(w->packed->kind, rows, M, K, x->dtype, threads)
                                               : nc_gemm_workspace_any(kind_of(w, x), rows, transposed ? K : M, transposed ? M : K, x->dtype, threads, !w->packed);
        most = bytes > most ? bytes : most;
    }
    return most;
}

static size_t linear_workspace(const nc_node *n, int threads) { return experts_workspace(n, threads, false); }
static size_t dx_workspace(const nc_node *n, int threads) { return experts_workspace(n, threads, true); }

static void linear_cost(const nc_node *n, const int64_t *counts, double *flops, double *bytes)
{
    const nc_value *w = n->in[2];
    double rows = (double)nc_live_rows(n->in[0], counts), size = (double)(w->shape.dim[0] * w->shape.dim[1]), used = fmin(rows, n->inputs - 2);
    *flops = 2 * rows * size;
    *bytes = rows * (double)(w->shape.dim[0] + w->shape.dim[1]) * nc_dtype_get(n->in[0]->dtype)->bytes +
             used * (w->packed ? (double)w->packed->bytes : size * nc_dtype_get(w->dtype)->bytes);
}

static nc_value *expert_linear(nc_graph *g, const nc_op *op, nc_value *x, nc_value *starts, nc_value *const *w, int experts, nc_dtype out)
{
    nc_value *in[NC_MAX_EXPERTS + 2] = { x, starts };
    linear_attr a = { .out = out };
    if (experts < 1 || experts > NC_MAX_EXPERTS) {
        nc_graph_mistake(g, NC_ELIMIT, "%d experts; at most %d", experts, NC_MAX_EXPERTS);
        return nc_graph_poison(g);
    }
    memcpy(in + 2, w, sizeof *w * (size_t)experts);
    return nc_emit(g, op, &a, sizeof a, in, experts + 2);
}

/* dw of each expert that is trained, and the gradient towards the rows. */
static void linear_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    nc_value *x = n->in[0];

    if (!dy[0])
        return;
    if (x->has_grad || x->wants_grad)
        dx[0] = expert_linear(g, &nc_op_expert_linear_dx, dy[0], n->in[1], n->in + 2, n->inputs - 2, x->dtype);
    for (int i = 2; i < n->inputs; i++) {
        nc_value *w = n->in[i];
        linear_attr a = { nc_graph_wide(g), i - 2 };
        if (!w->has_grad && !w->wants_grad)
            continue;
        if (w->packed && !w->packed->turned)
            nc_graph_mistake(g, NC_EUNSUPPORTED, "expert_linear: weight %s is held packed and cannot be trained", w->name ? w->name : "");
        dx[i] = nc_emit(g, &nc_op_expert_linear_dw, &a, sizeof a, (nc_value *[]){ dy[0], x, n->in[1], NULL }, 4);
    }
}

const nc_op nc_op_expert_linear = { .name = "expert_linear", .infer = linear_infer, .grad = linear_grad, .run = linear_run, .workspace = linear_workspace, .cost = linear_cost };
const nc_op nc_op_expert_linear_dx = { .name = "expert_linear_dx", .infer = dx_infer, .run = dx_run, .workspace = dx_workspace, .cost = linear_cost };

nc_value *nc_expert_linear(nc_graph *g, nc_value *x, nc_value *starts, nc_value *const *w, int experts)
{
    return expert_linear(g, &nc_op_expert_linear, x, starts, w, experts, nc_graph_compute(g));
}

static int dw_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    NC_TRY(nc_infer_compute(n, 0, e));
    NC_TRY(nc_infer_rank(n, 0, 2, e));
    NC_TRY(nc_infer_rank(n, 1, 2, e));
    NC_TRY(nc_infer_dtype(n, 1, n->in[0]->dtype, e));
    if (!nc_same_rows(n->in[0], n->in[1]))
        return nc_infer_fail(n, e, NC_ESHAPE, "the two tables differ in rows");
    nc_infer_out(n, 0, nc_graph_wide(g), NC_SHAPE(n->in[0]->shape.dim[1], n->in[1]->shape.dim[1]), -1, 1);
    return 0;
}

static int dw_run(const nc_node *n, const nc_run *r)
{
    const nc_value *dy = n->in[0], *x = n->in[1], *y = n->out[0];
    int64_t M = dy->shape.dim[1], K = x->shape.dim[1], first, count;

    NC_TRY(slots_of(n, r, n->in[2], NC_ATTR(n, linear_attr)->expert, nc_live_rows(dy, r->counts), &first, &count));
    if (count == 0) {
        if (!nc_adds(n, r))
            memset(y->data, 0, nc_dtype_bytes(y->dtype, M * K));
        return 0;
    }
    if (dy->dtype == NC_F64) {
        nc_ref_gemm_f64(y->data, K, nc_at(dy, first * M), 1, M, nc_at(x, first * K), 1, K, M, K, count, NULL, nc_adds(n, r));
        return 0;
    }
    nc_gemm_call c = { .m = M, .a = nc_at(dy, first * M), .a_dtype = dy->dtype, .lda = M, .a_transposed = true, .c = y->data, .c_dtype = y->dtype, .ldc = K,
                       .accumulate = nc_adds(n, r) };
    nc_gemm_source s = { .dtype = x->dtype, .data = nc_at(x, first * K), .stride = K, .transposed = true };
    nc_gemm_plain(r->kernels, r->pool, &c, &s, kind_of(x, dy), K, count, r->workspace);
    return 0;
}

static size_t dw_workspace(const nc_node *n, int threads)
{
    const nc_value *dy = n->in[0], *x = n->in[1];
    return dy->dtype == NC_F64 ? 0 : nc_gemm_workspace_any(kind_of(x, dy), dy->shape.dim[1], x->shape.dim[1], x->shape.dim[0], dy->dtype, threads, true);
}

const nc_op nc_op_expert_linear_dw = { .name = "expert_linear_dw", .flags = NC_OP_ACCUMULATE | NC_OP_BATCHY, .infer = dw_infer, .run = dw_run, .workspace = dw_workspace };

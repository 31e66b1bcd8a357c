/* linear.c - y = x w^T + b over the last axis, and its gradients.
 *
 *   linear      x [.., K], w [M,K], b [M] or absent        -> y [.., M]
 *   linear_dx   dy [.., M], w [M,K]                        -> dx = dy w [.., K]
 *   linear_db   dy [.., M]                                 -> db = sum of dy's rows, wide
 *   dw = dy^T x is a matmul.
 * w is a plain value (f32, bf16, f16) that is packed on the way, or a STATE held packed (then frozen). Arithmetic is bf16 when x is bf16 and w is not
 * held in f32 panels, else f32; sums are f32. f64 graphs use the definition.
 */
#include "graph/op.h"
#include "kernels/gemm.h"
#include "kernels/reduce.h"

typedef struct attr { nc_dtype out; } attr;

static nc_gemm_kind kind_of(const nc_value *w, const nc_value *x)
{
    return w->packed ? w->packed->kind : nc_gemm_kind_for(w->dtype, x->dtype == NC_BF16);
}

static int check_weight(const nc_node *n, nc_error *e)
{
    const nc_value *x = n->in[0], *w = n->in[1];
    bool plain = w->dtype == NC_F32 || w->dtype == NC_BF16 || w->dtype == NC_F16;

    NC_TRY(nc_infer_compute(n, 0, e));
    NC_TRY(nc_infer_rank(n, 1, 2, e));
    if (x->shape.rank < 2)
        return nc_infer_fail(n, e, NC_ESHAPE, "rows must have rank 2 or more");
    if (x->dtype == NC_F64 ? w->dtype != NC_F64 || w->packed : !w->packed && !plain)
        return nc_infer_fail(n, e, NC_ESHAPE, "no product of %s rows with %s weights held plain", nc_dtype_name(x->dtype), nc_dtype_name(w->dtype));
    if (w->packed && (w->packed->n != w->shape.dim[0] || w->packed->k != w->shape.dim[1]))
        return nc_infer_fail(n, e, NC_ESHAPE, "the packed weight is [%lld, %lld], its value another shape", (long long)w->packed->n, (long long)w->packed->k);
    return 0;
}

static int infer_rows(nc_node *n, nc_error *e, int64_t width_in, int64_t width_out)
{
    const nc_value *x = n->in[0];
    char a[96], b[96];

    if (nc_shape_last(&x->shape) != width_in)
        return nc_infer_fail(n, e, NC_ESHAPE, "rows %s do not fit weight %s", nc_shape_str(&x->shape, a), nc_shape_str(&n->in[1]->shape, b));
    nc_shape s = x->shape;
    s.dim[s.rank - 1] = width_out;
    nc_dtype out = x->dtype == NC_F64 ? NC_F64 : NC_ATTR(n, attr)->out;
    if (out != NC_F32 && out != NC_BF16 && out != NC_F64)
        return nc_infer_fail(n, e, NC_ESHAPE, "no product gives %s", nc_dtype_name(out));
    nc_infer_out(n, 0, out, s, x->count, x->count_scale);
    return 0;
}

static int infer(nc_graph *g, nc_node *n, nc_error *e)
{
    const nc_value *w = n->in[1], *b = n->in[2];

    (void)g;
    NC_TRY(check_weight(n, e));
    if (b) {
        NC_TRY(nc_infer_dims(n, 2, e, 1, (int64_t[]){ w->shape.dim[0] }));
        if (n->in[0]->dtype == NC_F64 ? b->dtype != NC_F64 : b->dtype != NC_F32 && b->dtype != NC_BF16)
            return nc_infer_fail(n, e, NC_ESHAPE, "a bias of %s", nc_dtype_name(b->dtype));
    }
    return infer_rows(n, e, w->shape.dim[1], w->shape.dim[0]);
}

static int infer_dx(nc_graph *g, nc_node *n, nc_error *e)
{
    const nc_value *w = n->in[1];

    (void)g;
    NC_TRY(check_weight(n, e));
    return infer_rows(n, e, w->shape.dim[0], w->shape.dim[1]);
}

static int64_t row_stride(const nc_value *v)
{
    int64_t stride = nc_shape_last(&v->shape);
    nc_rows_even(v, &stride);
    return stride;
}

static int64_t capacity_rows(const nc_value *v)
{
    int64_t rows = 1;
    for (int i = 0; i + 1 < v->shape.rank; i++)
        rows *= v->shape.dim[i];
    return rows;
}

static nc_gemm_call call_of(const nc_node *n, const nc_run *r)
{
    const nc_value *x = n->in[0], *y = n->out[0];

    return (nc_gemm_call){ .m = nc_live_last_rows(x, r->counts), .a = x->data, .a_dtype = x->dtype, .lda = row_stride(x),
                           .c = y->data, .c_dtype = y->dtype, .ldc = nc_shape_last(&y->shape) };
}

/* x was the input of the node before as well (queries, keys and values; gate and up), and its product left it packed. */
static bool again(const nc_node *n, const nc_run *r)
{
    const nc_node *b = r->before;
    return b && b->op == n->op && b->in[0] == n->in[0] && b->in[1]->packed && b->in[1]->packed->kind == NC_GEMM_BF16 && n->in[1]->packed->kind == NC_GEMM_BF16;
}

static int run(const nc_node *n, const nc_run *r)
{
    const nc_value *x = n->in[0], *w = n->in[1], *b = n->in[2];
    int64_t M = w->shape.dim[0], K = w->shape.dim[1];
    nc_gemm_call c = call_of(n, r);

    c.bias = b ? b->data : NULL;
    c.bias_dtype = b ? b->dtype : NC_F32;
    if (x->dtype == NC_F64) {
        nc_ref_gemm_f64(c.c, c.ldc, c.a, c.lda, 1, w->data, w->stride[0], 1, c.m, M, K, c.bias, false);
    } else if (w->packed) {
        c.again = again(n, r);
        nc_gemm(r->kernels, r->pool, &c, w->packed, r->workspace);
    } else {
        nc_gemm_source s = { .dtype = w->dtype, .data = w->data, .stride = w->stride[0] };
        nc_gemm_plain(r->kernels, r->pool, &c, &s, kind_of(w, x), M, K, r->workspace);
    }
    return 0;
}

static int run_dx(const nc_node *n, const nc_run *r)
{
    const nc_value *dy = n->in[0], *w = n->in[1];
    int64_t M = w->shape.dim[0], K = w->shape.dim[1];
    nc_gemm_call c = call_of(n, r);

    c.accumulate = nc_adds(n, r);
    if (dy->dtype == NC_F64) {
        nc_ref_gemm_f64(c.c, c.ldc, c.a, c.lda, 1, w->data, 1, w->stride[0], c.m, K, M, NULL, c.accumulate);
    } else if (w->packed) {
        nc_gemm_backward(r->kernels, r->pool, &c, w->packed, r->workspace);
    } else {
        nc_gemm_source s = { .dtype = w->dtype, .data = w->data, .stride = w->stride[0], .transposed = true };
        nc_gemm_plain(r->kernels, r->pool, &c, &s, kind_of(w, dy), K, M, r->workspace);
    }
    return 0;
}

static size_t workspace(const nc_node *n, int threads)
{
    const nc_value *x = n->in[0], *w = n->in[1];
    if (x->dtype == NC_F64)
        return 0;
    return nc_gemm_workspace_any(kind_of(w, x), capacity_rows(x), w->shape.dim[0], w->shape.dim[1], x->dtype, threads, !w->packed);
}

static size_t workspace_dx(const nc_node *n, int threads)
{
    const nc_value *dy = n->in[0], *w = n->in[1];
    int64_t M = w->shape.dim[0], K = w->shape.dim[1];
    if (dy->dtype == NC_F64)
        return 0;
    if (w->packed && !(w->packed->turned && dy->dtype == NC_BF16))
        return nc_gemm_backward_workspace_any(w->packed->kind, capacity_rows(dy), M, K, dy->dtype, threads);
    return nc_gemm_workspace_any(kind_of(w, dy), capacity_rows(dy), K, M, dy->dtype, threads, !w->packed);
}

static void cost(const nc_node *n, const int64_t *counts, double *flops, double *bytes)
{
    const nc_value *x = n->in[0], *w = n->in[1], *y = n->out[0];
    double rows = (double)nc_live_last_rows(x, counts), M = (double)w->shape.dim[0], K = (double)w->shape.dim[1];

    *flops = 2 * rows * M * K;
    *bytes = rows * ((double)nc_shape_last(&x->shape) * nc_dtype_get(x->dtype)->bytes + (double)nc_shape_last(&y->shape) * nc_dtype_get(y->dtype)->bytes) +
             (w->packed ? (double)w->packed->bytes : M * K * nc_dtype_get(w->dtype)->bytes);
}

/* ---- db ---- */

static int infer_db(nc_graph *g, nc_node *n, nc_error *e)
{
    NC_TRY(nc_infer_compute(n, 0, e));
    nc_infer_out(n, 0, nc_graph_wide(g), NC_SHAPE(nc_shape_last(&n->in[0]->shape)), -1, 1);
    return 0;
}

typedef struct db_job { const nc_node *n; const nc_run *r; int64_t rows, stride; bool adds; } db_job;
enum { DB_COLUMNS = 128 };                       /* a piece's columns: fixed, for the order of a sum may depend on how many there are */

static void db_columns(void *context, int64_t begin, int64_t end, int worker)
{
    const db_job *j = context;
    const nc_value *dy = j->n->in[0], *db = j->n->out[0];
    _Alignas(64) double sums[DB_COLUMNS];
    int slot = nc_dtype_slot(dy->dtype);

    (void)worker;
    j->r->kernels->reduce->sum[slot](sums, nc_at(dy, begin), j->rows, end - begin, j->stride);
    for (int64_t i = begin; i < end; i++) {
        if (db->dtype == NC_F64)
            ((double *)db->data)[i] = sums[i - begin] + (j->adds ? ((double *)db->data)[i] : 0);
        else
            ((float *)db->data)[i] = ((const float *)sums)[i - begin] + (j->adds ? ((float *)db->data)[i] : 0);
    }
}

static int run_db(const nc_node *n, const nc_run *r)
{
    db_job j = { n, r, nc_live_last_rows(n->in[0], r->counts), row_stride(n->in[0]), nc_adds(n, r) };
    nc_parallel_rows(r, nc_shape_last(&n->in[0]->shape), DB_COLUMNS, db_columns, &j);
    return 0;
}

/* ---- gradients ---- */

static nc_value *as_rows(nc_graph *g, nc_value *v)
{
    if (v->shape.rank == 2)
        return v;
    return nc_reshape(g, v, NC_SHAPE(capacity_rows(v), nc_shape_last(&v->shape)));
}

/* A view whose rows are not evenly spaced is copied. */
static nc_value *even(nc_graph *g, nc_value *v)
{
    int64_t stride;
    return nc_rows_even(v, &stride) ? v : nc_contiguous(g, v);
}

static nc_value *linear_dx(nc_graph *g, nc_value *dy, nc_value *w, nc_dtype out);
static nc_value *linear_db(nc_graph *g, nc_value *dy);

static void grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    nc_value *x = n->in[0], *w = n->in[1], *b = n->in[2];

    if (!dy[0])
        return;
    if (x->has_grad || x->wants_grad)
        dx[0] = linear_dx(g, dy[0], w, x->node ? x->dtype : nc_graph_wide(g));
    if (w->has_grad || w->wants_grad) {
        if (w->packed && !w->packed->turned)
            nc_graph_mistake(g, NC_EUNSUPPORTED, "linear: weight %s is held packed and cannot be trained", w->name ? w->name : "");
        dx[1] = nc_matmul(g, as_rows(g, dy[0]), true, as_rows(g, x), false, nc_graph_wide(g));
    }
    if (b && (b->has_grad || b->wants_grad))
        dx[2] = linear_db(g, dy[0]);
}

/* dx = dy w is linear in both: d(dy) = ddx w^T, dw = dy^T ddx. */
static void grad_dx(nc_graph *g, nc_node *n, nc_value *const *ddx, nc_value **out)
{
    nc_value *dy = n->in[0], *w = n->in[1];

    if (!ddx[0])
        return;
    if (dy->has_grad || dy->wants_grad)
        out[0] = nc_linear_op(g, ddx[0], w, NULL, dy->node ? dy->dtype : nc_graph_wide(g));
    if (w->has_grad || w->wants_grad)
        out[1] = nc_matmul(g, as_rows(g, dy), true, as_rows(g, ddx[0]), false, nc_graph_wide(g));
}

static void grad_db(nc_graph *g, nc_node *n, nc_value *const *ddb, nc_value **out)
{
    nc_value *dy = n->in[0];

    if (ddb[0])
        out[0] = nc_broadcast_to(g, nc_cast(g, ddb[0], dy->dtype), dy->shape, dy->count);
}

const nc_op nc_op_linear = { .name = "linear", .flags = NC_OP_STRIDED, .infer = infer, .grad = grad, .run = run, .workspace = workspace, .cost = cost };
const nc_op nc_op_linear_dx = { .name = "linear_dx", .flags = NC_OP_STRIDED | NC_OP_ACCUMULATE, .infer = infer_dx, .grad = grad_dx, .run = run_dx,
                                .workspace = workspace_dx, .cost = cost };
const nc_op nc_op_linear_db = { .name = "linear_db", .flags = NC_OP_STRIDED | NC_OP_ACCUMULATE | NC_OP_BATCHY, .infer = infer_db, .grad = grad_db, .run = run_db };

static nc_value *linear_dx(nc_graph *g, nc_value *dy, nc_value *w, nc_dtype out)
{
    attr a = { out };
    return nc_emit(g, &nc_op_linear_dx, &a, sizeof a, (nc_value *[]){ even(g, dy), w, NULL }, 3);
}

static nc_value *linear_db(nc_graph *g, nc_value *dy)
{
    return nc_emit(g, &nc_op_linear_db, NULL, 0, (nc_value *[]){ even(g, dy), NULL }, 2);
}

nc_value *nc_linear_op(nc_graph *g, nc_value *x, nc_value *w, nc_value *b, nc_dtype out_dtype)
{
    attr a = { out_dtype == NC_DTYPES ? nc_graph_compute(g) : out_dtype };
    return nc_emit(g, &nc_op_linear, &a, sizeof a, (nc_value *[]){ even(g, x), w, b }, 3);
}

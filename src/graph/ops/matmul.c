/* matmul.c - C = A' B' over the last two axes, for each index of equal leading axes.
 *
 *   A' = a [.., m, k] or the transpose of a [.., k, m] (ta);  B' = b [.., k, n] or the transpose of b [.., n, k] (tb)   ->  [.., m, n]
 * A counted axis 0 may be m (a not transposed), k of both (the product that makes a weight's gradient: ta, not tb), or a leading axis.
 * Gradients are products again: dA' = dC B'^T, dB' = A'^T dC.
 */
#include "graph/op.h"
#include "kernels/gemm.h"

typedef struct attr { bool ta, tb; nc_dtype out; } attr;
typedef struct sizes { int64_t m, n, k; } sizes;

static sizes sizes_of(const nc_node *n)
{
    const attr *t = NC_ATTR(n, attr);
    const nc_shape *a = &n->in[0]->shape, *b = &n->in[1]->shape;
    int r = a->rank;
    return (sizes){ a->dim[r - (t->ta ? 1 : 2)], b->dim[r - (t->tb ? 2 : 1)], a->dim[r - (t->ta ? 2 : 1)] };
}

static int infer(nc_graph *g, nc_node *n, nc_error *e)
{
    const attr *t = NC_ATTR(n, attr);
    const nc_value *a = n->in[0], *b = n->in[1];
    char sa[96], sb[96];

    (void)g;
    NC_TRY(nc_infer_compute(n, 0, e));
    NC_TRY(nc_infer_dtype(n, 1, a->dtype, e));
    int r = a->shape.rank;
    bool fits = r >= 2 && b->shape.rank == r;
    for (int i = 0; fits && i < r - 2; i++)
        fits = a->shape.dim[i] == b->shape.dim[i];
    if (!fits || sizes_of(n).k != b->shape.dim[r - (t->tb ? 1 : 2)])
        return nc_infer_fail(n, e, NC_ESHAPE, "%s%s and %s%s do not fit", nc_shape_str(&a->shape, sa), t->ta ? "^T" : "", nc_shape_str(&b->shape, sb), t->tb ? "^T" : "");
    bool lead = r > 2, k_rows = t->ta && !t->tb;
    if ((lead || k_rows) ? !nc_same_rows(a, b) : b->count >= 0 || (a->count >= 0 && t->ta))
        return nc_infer_fail(n, e, NC_ESHAPE, "a counted axis must be the rows of the result, or summed in both");
    nc_shape s = a->shape;
    s.dim[r - 2] = sizes_of(n).m;
    s.dim[r - 1] = sizes_of(n).n;
    nc_dtype out = a->dtype == NC_F64 ? NC_F64 : t->out;
    if (out != NC_F32 && out != NC_BF16 && out != NC_F64)
        return nc_infer_fail(n, e, NC_ESHAPE, "no product gives %s", nc_dtype_name(out));
    bool counted = a->count >= 0 && (lead || !t->ta);
    nc_infer_out(n, 0, out, s, counted ? a->count : -1, counted ? a->count_scale : 1);
    return 0;
}

/* The element at which the matrix of leading index i starts. */
static int64_t matrix_at(const nc_value *v, int64_t i)
{
    int64_t at = 0;
    for (int d = v->shape.rank - 3; d >= 0; d--) {
        int64_t size = d ? v->shape.dim[d] : INT64_MAX;
        at += i % size * v->stride[d];
        i /= size;
    }
    return at;
}

static int64_t batches(const nc_value *v, const int64_t *counts)
{
    int64_t many = 1;
    for (int d = 0; d < v->shape.rank - 2; d++)
        many *= d ? v->shape.dim[d] : counts ? nc_live_rows(v, counts) : v->shape.dim[0];
    return many;
}

static sizes live_sizes(const nc_node *n, const int64_t *counts)
{
    sizes s = sizes_of(n);
    if (n->in[0]->shape.rank == 2 && n->in[0]->count >= 0)
        *(NC_ATTR(n, attr)->ta ? &s.k : &s.m) = nc_live_rows(n->in[0], counts);
    return s;
}

static nc_gemm_kind kind_of(const nc_node *n) { return n->in[0]->dtype == NC_BF16 ? NC_GEMM_BF16 : NC_GEMM_F32; }

/* Room for the squares of C's tiles, before the product's own. */
static size_t square_bytes(const nc_node *n)
{
    sizes s = sizes_of(n);
    return n->squares ? ((size_t)nc_gemm_square_tiles(s.m, s.n) * sizeof(float) + 63) & ~(size_t)63 : 0;
}

static double sum_of(const float *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i];
    return sum;
}

static int run(const nc_node *n, const nc_run *r)
{
    const attr *t = NC_ATTR(n, attr);
    const nc_value *a = n->in[0], *b = n->in[1], *c = n->out[0];
    const bool counts = n->squares && a->shape.rank == 2 && c->dtype == NC_F32 && nc_gemm_counts_squares(r->kernels, kind_of(n), a->dtype);
    sizes s = live_sizes(n, r->counts);
    int rank = a->shape.rank;
    int64_t lda = a->stride[rank - 2], ldb = b->stride[rank - 2], many = batches(a, r->counts);

    for (int64_t i = 0; i < many; i++) {
        const void *pa = nc_at(a, matrix_at(a, i)), *pb = nc_at(b, matrix_at(b, i));
        void *pc = nc_at(c, i * c->shape.dim[rank - 2] * c->shape.dim[rank - 1]);
        if (a->dtype == NC_F64) {
            nc_ref_gemm_f64(pc, s.n, pa, t->ta ? 1 : lda, t->ta ? lda : 1, pb, t->tb ? ldb : 1, t->tb ? 1 : ldb, s.m, s.n, s.k, NULL, nc_adds(n, r));
            continue;
        }
        nc_gemm_call call = { .m = s.m, .a = pa, .a_dtype = a->dtype, .lda = lda, .a_transposed = t->ta, .c = pc, .c_dtype = c->dtype, .ldc = s.n,
                              .accumulate = nc_adds(n, r), .squares = counts ? r->workspace : NULL };
        nc_gemm_source w = { .dtype = b->dtype, .data = pb, .stride = ldb, .transposed = !t->tb };
        nc_gemm_plain(r->kernels, r->pool, &call, &w, kind_of(n), s.n, s.k, (char *)r->workspace + square_bytes(n));
    }
    if (counts)
        *n->squares = sum_of(r->workspace, nc_gemm_square_tiles(s.m, s.n));
    return 0;
}

static size_t workspace(const nc_node *n, int threads)
{
    sizes s = sizes_of(n);
    if (n->in[0]->dtype == NC_F64)
        return 0;
    return square_bytes(n) + nc_gemm_workspace_any(kind_of(n), s.m, s.n, s.k, n->in[0]->dtype, threads, true);
}

static void cost(const nc_node *n, const int64_t *counts, double *flops, double *bytes)
{
    sizes s = live_sizes(n, counts);
    double many = (double)batches(n->in[0], counts), m = (double)s.m, k = (double)s.k, w = (double)s.n;
    *flops = 2 * many * m * k * w;
    *bytes = many * ((m * k + k * w) * nc_dtype_get(n->in[0]->dtype)->bytes + m * w * nc_dtype_get(n->out[0]->dtype)->bytes);
}

static nc_dtype gradient_dtype(const nc_graph *g, const nc_value *v) { return v->node ? v->dtype : nc_graph_wide(g); }

static void grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    const attr *t = NC_ATTR(n, attr);
    nc_value *a = n->in[0], *b = n->in[1];

    if (!dy[0])
        return;
    if (a->has_grad || a->wants_grad)
        dx[0] = t->ta ? nc_matmul(g, b, t->tb, dy[0], true, gradient_dtype(g, a)) : nc_matmul(g, dy[0], false, b, !t->tb, gradient_dtype(g, a));
    if (b->has_grad || b->wants_grad)
        dx[1] = t->tb ? nc_matmul(g, dy[0], true, a, t->ta, gradient_dtype(g, b)) : nc_matmul(g, a, !t->ta, dy[0], false, gradient_dtype(g, b));
}

const nc_op nc_op_matmul = { .name = "matmul", .flags = NC_OP_STRIDED | NC_OP_ACCUMULATE | NC_OP_SQUARES, .infer = infer, .grad = grad, .run = run,
                             .workspace = workspace, .cost = cost };

nc_value *nc_matmul(nc_graph *g, nc_value *a, bool ta, nc_value *b, bool tb, nc_dtype out_dtype)
{
    attr t = { ta, tb, out_dtype == NC_DTYPES ? nc_graph_compute(g) : out_dtype };
    /* Mixed operands meet in the wider type. */
    if (a->dtype != b->dtype && a->dtype == NC_BF16)
        a = nc_cast(g, a, b->dtype);
    else if (a->dtype != b->dtype && b->dtype == NC_BF16)
        b = nc_cast(g, b, a->dtype);
    return nc_emit(g, &nc_op_matmul, &t, sizeof t, (nc_value *[]){ a, b, NULL }, 3);
}

/* group_linear.c - products of groups of columns, as grouped convolutions need them.
 *
 *   x [N, G*K], w [G*M, K]  ->  y [N, G*M],  y[:, g*M + m] = sum over k of x[:, g*K + k] w[g*M + m, k]
 *   group_linear_dx  dy -> [N, G*K];  group_linear_dw  dw_g = dy_g^T x_g, wide
 */
#include "graph/op.h"
#include "kernels/gemm.h"

typedef struct attr { int groups; } attr;

static bool wants(const nc_value *v) { return v->has_grad || v->wants_grad; }
static nc_gemm_kind kind_of(const nc_value *w, const nc_value *x) { return nc_gemm_kind_for(w->dtype, x->dtype == NC_BF16); }

/* transposed: the input is dy, the output dx. */
static int check(nc_node *n, bool transposed, nc_error *e)
{
    const nc_value *x = n->in[0], *w = n->in[1];
    const int64_t G = NC_ATTR(n, attr)->groups;

    NC_TRY(nc_infer_compute(n, 0, e));
    NC_TRY(nc_infer_compute(n, 1, e));
    NC_TRY(nc_infer_rank(n, 0, 2, e));
    NC_TRY(nc_infer_rank(n, 1, 2, e));
    int64_t in = transposed ? w->shape.dim[0] : G * w->shape.dim[1], out = transposed ? G * w->shape.dim[1] : w->shape.dim[0];
    if (G < 1 || w->shape.dim[0] % G || x->shape.dim[1] != in || w->packed || (x->dtype == NC_F64) != (w->dtype == NC_F64)) {
        char a[96], b[96];
        return nc_infer_fail(n, e, NC_ESHAPE, "%lld groups, rows %s and a plain weight %s do not fit", (long long)G, nc_shape_str(&x->shape, a), nc_shape_str(&w->shape, b));
    }
    nc_infer_out(n, 0, x->dtype, NC_SHAPE(x->shape.dim[0], out), x->count, x->count_scale);
    return 0;
}

static int infer(nc_graph *g, nc_node *n, nc_error *e) { return (void)g, check(n, false, e); }
static int dx_infer(nc_graph *g, nc_node *n, nc_error *e) { return (void)g, check(n, true, e); }

static int run_groups(const nc_node *n, const nc_run *r, bool transposed)
{
    const nc_value *x = n->in[0], *w = n->in[1], *y = n->out[0];
    const int64_t G = NC_ATTR(n, attr)->groups, M = w->shape.dim[0] / G, K = w->shape.dim[1], in = transposed ? M : K, out = transposed ? K : M;

    for (int64_t g = 0; g < G; g++) {
        const void *wg = nc_at(w, g * M * K);
        nc_gemm_call c = { .m = nc_live_rows(x, r->counts), .a = nc_at(x, g * in), .a_dtype = x->dtype, .lda = G * in, .c = nc_at(y, g * out), .c_dtype = y->dtype, .ldc = G * out };
        nc_gemm_source s = { .dtype = w->dtype, .data = wg, .stride = K, .transposed = transposed };
        if (x->dtype == NC_F64)
            nc_ref_gemm_f64(c.c, c.ldc, c.a, c.lda, 1, wg, transposed ? 1 : K, transposed ? K : 1, c.m, out, in, NULL, false);
        else
            nc_gemm_plain(r->kernels, r->pool, &c, &s, kind_of(w, x), out, in, r->workspace);
    }
    return 0;
}

static int run(const nc_node *n, const nc_run *r) { return run_groups(n, r, false); }
static int dx_run(const nc_node *n, const nc_run *r) { return run_groups(n, r, true); }

static size_t workspace_of(const nc_node *n, int threads, bool transposed)
{
    const nc_value *x = n->in[0], *w = n->in[1];
    const int64_t M = w->shape.dim[0] / NC_ATTR(n, attr)->groups, K = w->shape.dim[1];

    return x->dtype == NC_F64 ? 0 : nc_gemm_workspace_any(kind_of(w, x), x->shape.dim[0], transposed ? K : M, transposed ? M : K, x->dtype, threads, true);
}

static size_t workspace(const nc_node *n, int threads) { return workspace_of(n, threads, false); }
static size_t dx_workspace(const nc_node *n, int threads) { return workspace_of(n, threads, true); }

static void cost(const nc_node *n, const int64_t *counts, double *flops, double *bytes)
{
    const nc_value *x = n->in[0], *w = n->in[1];

    *flops = 2 * (double)nc_live_rows(x, counts) * (double)nc_shape_count(&w->shape);
    *bytes = (double)(nc_live_count(x, counts) + nc_live_count(n->out[0], counts)) * nc_dtype_get(x->dtype)->bytes + (double)nc_shape_count(&w->shape) * nc_dtype_get(w->dtype)->bytes;
}

static void grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    if (wants(n->in[0]))
        dx[0] = nc_emit(g, &nc_op_group_linear_dx, n->attr, n->attr_size, (nc_value *[]){ dy[0], n->in[1] }, 2);
    if (wants(n->in[1]))
        dx[1] = nc_emit(g, &nc_op_group_linear_dw, n->attr, n->attr_size, (nc_value *[]){ dy[0], n->in[0], NULL }, 3);
}

/* dx = dy w is linear in both. */
static void dx_grad(nc_graph *g, nc_node *n, nc_value *const *ddx, nc_value **out)
{
    if (wants(n->in[0]))
        out[0] = nc_emit(g, &nc_op_group_linear, n->attr, n->attr_size, (nc_value *[]){ ddx[0], n->in[1] }, 2);
    if (wants(n->in[1]))
        out[1] = nc_emit(g, &nc_op_group_linear_dw, n->attr, n->attr_size, (nc_value *[]){ n->in[0], ddx[0], NULL }, 3);
}

const nc_op nc_op_group_linear = { .name = "group_linear", .infer = infer, .grad = grad, .run = run, .workspace = workspace, .cost = cost };
const nc_op nc_op_group_linear_dx = { .name = "group_linear_dx", .infer = dx_infer, .grad = dx_grad, .run = dx_run, .workspace = dx_workspace, .cost = cost };

static int dw_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    const int64_t G = NC_ATTR(n, attr)->groups;

    NC_TRY(nc_infer_compute(n, 0, e));
    NC_TRY(nc_infer_dtype(n, 1, n->in[0]->dtype, e));
    if (!nc_same_rows(n->in[0], n->in[1]))
        return nc_infer_fail(n, e, NC_ESHAPE, "the two tables differ in rows");
    nc_infer_out(n, 0, nc_graph_wide(g), NC_SHAPE(n->in[0]->shape.dim[1], n->in[1]->shape.dim[1] / G), -1, 1);
    return 0;
}

static int dw_run(const nc_node *n, const nc_run *r)
{
    const nc_value *dy = n->in[0], *x = n->in[1], *dw = n->out[0];
    const int64_t G = NC_ATTR(n, attr)->groups, M = dy->shape.dim[1] / G, K = x->shape.dim[1] / G, rows = nc_live_rows(x, r->counts);

    for (int64_t g = 0; g < G; g++) {
        nc_gemm_call c = { .m = M, .a = nc_at(dy, g * M), .a_dtype = dy->dtype, .lda = G * M, .a_transposed = true, .c = nc_at(dw, g * M * K), .c_dtype = dw->dtype, .ldc = K,
                           .accumulate = nc_adds(n, r) };
        nc_gemm_source s = { .dtype = x->dtype, .data = nc_at(x, g * K), .stride = G * K, .transposed = true };
        if (dy->dtype == NC_F64)
            nc_ref_gemm_f64(c.c, K, c.a, 1, G * M, s.data, 1, G * K, M, K, rows, NULL, c.accumulate);
        else
            nc_gemm_plain(r->kernels, r->pool, &c, &s, kind_of(x, dy), K, rows, r->workspace);
    }
    return 0;
}

static size_t dw_workspace(const nc_node *n, int threads)
{
    const nc_value *dy = n->in[0], *x = n->in[1];
    const int64_t G = NC_ATTR(n, attr)->groups;

    return dy->dtype == NC_F64 ? 0 : nc_gemm_workspace_any(kind_of(x, dy), dy->shape.dim[1] / G, x->shape.dim[1] / G, x->shape.dim[0], dy->dtype, threads, true);
}

const nc_op nc_op_group_linear_dw = { .name = "group_linear_dw", .flags = NC_OP_ACCUMULATE | NC_OP_BATCHY, .infer = dw_infer, .run = dw_run, .workspace = dw_workspace };

nc_value *nc_group_linear_op(nc_graph *g, nc_value *x, nc_value *w, int groups)
{
    attr a = { groups };
    return nc_emit(g, &nc_op_group_linear, &a, sizeof a, (nc_value *[]){ x, w }, 2);
}

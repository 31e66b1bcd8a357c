/* test_products.c - linear, matmul and the head by the common check; packed weights; serving's log-probabilities against the training op's. */
#include "graph/op_check.h"
#include "graph/ops/head.h"
#include "kernels/gemm.h"

static nc_value *linear(nc_graph *g, nc_value *const *in, const void *arg) { (void)arg; return nc_linear_op(g, in[0], in[1], in[2], NC_DTYPES); }
static nc_value *linear_f32(nc_graph *g, nc_value *const *in, const void *arg) { (void)arg; return nc_linear_op(g, in[0], in[1], NULL, NC_F32); }
/* Two uses of one weight and of one input: gradients are added in place. */
static nc_value *twice(nc_graph *g, nc_value *const *in, const void *arg)
{
    (void)arg;
    return nc_linear_op(g, nc_linear_op(g, in[0], in[1], in[2], NC_DTYPES), in[1], in[2], NC_DTYPES);
}
static nc_value *matmul(nc_graph *g, nc_value *const *in, const void *arg)
{
    const bool *t = arg;
    return nc_matmul(g, in[0], t[0], in[1], t[1], NC_DTYPES);
}

static void linears(void **state)
{
    (void)state;
    op_check(&(op_case){ .name = "linear", .build = linear, .in = { { NC_SHAPE(37, 50), .counted = true }, { NC_SHAPE(45, 50), .state = true }, { NC_SHAPE(45), .state = true } } });
    op_check(&(op_case){ .name = "linear, one row", .build = linear, .in = { { NC_SHAPE(1, 33), .counted = true }, { NC_SHAPE(17, 33), .state = true }, { NC_SHAPE(17), .f32 = true, .state = true } } });
    op_check(&(op_case){ .name = "linear, rank 3", .build = linear, .in = { { NC_SHAPE(7, 3, 20), .counted = true }, { NC_SHAPE(66, 20), .state = true }, { NC_SHAPE(66), .state = true } } });
    op_check(&(op_case){ .name = "linear to f32", .build = linear_f32, .in = { { NC_SHAPE(9, 64), .counted = true }, { NC_SHAPE(31, 64), .f32 = true, .state = true } } });
    op_check(&(op_case){ .name = "linear twice", .build = twice, .in = { { NC_SHAPE(11, 24), .counted = true }, { NC_SHAPE(24, 24), .state = true }, { NC_SHAPE(24), .state = true } }, .tol_bf16 = 3e-2 });
}

static void matmuls(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        const bool t[2] = { i & 1, i & 2 };
        nc_shape a = t[0] ? NC_SHAPE(19, 34) : NC_SHAPE(34, 19), b = t[1] ? NC_SHAPE(21, 19) : NC_SHAPE(19, 21);
        op_check(&(op_case){ .name = "matmul", .build = matmul, .arg = t, .in = { { a }, { b } } });
        nc_shape a3 = t[0] ? NC_SHAPE(3, 6, 5) : NC_SHAPE(3, 5, 6), b3 = t[1] ? NC_SHAPE(3, 7, 6) : NC_SHAPE(3, 6, 7);
        op_check(&(op_case){ .name = "batched matmul", .build = matmul, .arg = t, .in = { { a3, .counted = true }, { b3, .counted = true } } });
    }
    op_check(&(op_case){ .name = "matmul by rows", .build = matmul, .arg = (bool[]){ false, true }, .in = { { NC_SHAPE(13, 8), .counted = true }, { NC_SHAPE(9, 8) } } });
    op_check(&(op_case){ .name = "matmul over rows", .build = matmul, .arg = (bool[]){ true, false }, .in = { { NC_SHAPE(13, 8), .counted = true }, { NC_SHAPE(13, 9), .counted = true } }, .no_live = true });
    op_check_refused(&(op_case){ .name = "matmul", .build = matmul, .arg = (bool[]){ false, false }, .in = { { NC_SHAPE(3, 8) }, { NC_SHAPE(9, 8) } } }, NC_ESHAPE, "do not fit");
    op_check_refused(&(op_case){ .name = "linear", .build = linear_f32, .in = { { NC_SHAPE(3, 8) }, { NC_SHAPE(9, 7) } } }, NC_ESHAPE, "do not fit weight");
}

typedef struct head_arg { double scale, cap; bool bias; int output; } head_arg;
static nc_value *logprob(nc_graph *g, nc_value *const *in, const void *arg)
{
    const head_arg *a = arg;
    return nc_output(nc_head_logprob(g, in[0], in[1], a->bias ? in[3] : NULL, in[2], a->scale, a->cap), a->output);
}
static nc_value *loss(nc_graph *g, nc_value *const *in, const void *arg)
{
    const head_arg *a = arg;
    return nc_head_loss(g, in[0], in[1], a->bias ? in[4] : NULL, in[2], in[3], a->scale, a->cap);
}
static nc_value *logits(nc_graph *g, nc_value *const *in, const void *arg)
{
    const head_arg *a = arg;
    return nc_head_logits(g, in[0], in[1], NULL, a->scale, a->cap);
}

static void heads(void **state)
{
    static const int32_t targets[] = { 3, -1, 4500, 0, 2047, 2048, 77, 4999, -1 };
    static const head_arg args[] = { { 1, 0, false, 0 }, { 0.25, 5, true, 0 }, { 0.5, 0, true, 1 } };
    (void)state;
    for (int i = 0; i < NC_COUNT(args); i++) {
        op_check(&(op_case){ .name = "head_logprob", .build = logprob, .arg = &args[i], .tol_grad = 1e-5, .tol_bf16 = 2e-2,
                             .in = { { NC_SHAPE(9, 20), .counted = true, .no_strided = true }, { NC_SHAPE(5000, 20), .state = true },
                                     { NC_SHAPE(9), .counted = true, .ints = targets }, { NC_SHAPE(5000), .state = true, .no_grad = !args[i].bias } } });
        op_check(&(op_case){ .name = "head_loss", .build = loss, .arg = &args[i], .tol_grad = 1e-5, .tol_bf16 = 2e-2,
                             .in = { { NC_SHAPE(9, 20), .counted = true, .no_strided = true }, { NC_SHAPE(5000, 20), .state = true },
                                     { NC_SHAPE(9), .counted = true, .ints = targets }, { NC_SHAPE(9), .counted = true, .f32 = true, .no_grad = true, .low = 0.1, .high = 0.3 },
                                     { NC_SHAPE(5000), .state = true, .no_grad = !args[i].bias } } });
    }
    op_check(&(op_case){ .name = "head_logits", .build = logits, .arg = &args[1], .no_grad = true, .in = { { NC_SHAPE(5, 20), .counted = true }, { NC_SHAPE(70, 20), .state = true } } });
}

/* More rows than a block: gradients of head_loss agree with those of nll(head_logprob). */
static void blocks(void **state)
{
    enum { N = 1300, V = 3000, D = 16 };
    static float h[N * D], w[V * D], weight[N], dw[2][V * D], dh[2][N * D];
    static int32_t target[N];
    float got[2];
    nc_rng r = nc_rng_new(5, 5);
    (void)state;
    for (int i = 0; i < N * D; i++) h[i] = (float)nc_rng_normal(&r);
    for (int i = 0; i < V * D; i++) w[i] = (float)nc_rng_normal(&r);
    for (int i = 0; i < N; i++) target[i] = i % 5 ? (int32_t)nc_rng_below(&r, V) : -1, weight[i] = 1.0f / N;
    for (int way = 0; way < 2; way++) {
        nc_error e = { 0 };
        nc_graph *g = nc_graph_new(NC_F32);
        nc_value *vh = nc_input(g, "h", NC_F32, NC_SHAPE(N, D), -1), *vw = nc_state(g, "w", NC_F32, NC_SHAPE(V, D), w);
        nc_value *vt = nc_input(g, "t", NC_I32, NC_SHAPE(N), -1), *vs = nc_input(g, "s", NC_F32, NC_SHAPE(N), -1);
        vh->data = h, vt->data = target, vs->data = weight;
        vh->wants_grad = vw->wants_grad = true;
        nc_value *l = way ? nc_head_loss(g, vh, vw, NULL, vt, vs, 1, 0) : nc_nll(g, nc_head_logprob(g, vh, vw, NULL, vt, 1, 0), vs);
        nc_keep(g, l);
        assert_int_equal(nc_graph_backward(g, l, false, &e), 0);
        nc_keep(g, nc_graph_gradient(g, vh)), nc_keep(g, nc_graph_gradient(g, vw));
        nc_plan *plan;
        assert_int_equal(nc_plan_new(g, 2, &plan, &e), 0);
        assert_int_equal(nc_plan_bind(plan, NULL, &e), 0);
        nc_run_options o = { .pool = op_pool(2), .kernels = nc_kernels_best() };
        assert_int_equal(nc_plan_run(plan, &o, &e), 0);
        got[way] = *(float *)l->data;
        memcpy(dh[way], nc_graph_gradient(g, vh)->data, sizeof dh[way]);
        memcpy(dw[way], nc_graph_gradient(g, vw)->data, sizeof dw[way]);
        nc_plan_free(plan);
        nc_graph_free(g);
    }
    assert_true(fabsf(got[0] - got[1]) < 1e-5f * got[0]);
    for (int i = 0; i < N * D; i++) assert_true(fabsf(dh[0][i] - dh[1][i]) < 1e-8f);
    for (int i = 0; i < V * D; i++) assert_true(fabsf(dw[0][i] - dw[1][i]) < 1e-7f);
}

/* Packed and quantized weights: the value and dx equal those of the plain weight of the same values; the server's logsumexp has the op's bits. */
static void packed(void **state)
{
    enum { N = 6, V = 2500, D = 64 };
    static float w[V * D], rows[N * V];
    float h[N * D], lse[2][N], lp[2][N], dh[2][N * D];
    int32_t target[N] = { 1, 2, 2499, 2048, 2047, -1 };
    nc_rng r = nc_rng_new(6, 6);
    nc_error e = { 0 };
    (void)state;
    for (int i = 0; i < N * D; i++) h[i] = (float)nc_rng_normal(&r);
    static uint8_t q8[V * D / 32 * 34];
    for (int i = 0; i < V * D / 32; i++) {
        uint16_t d = nc_f32_to_f16(0.01f);
        memcpy(q8 + i * 34, &d, 2);
        for (int k = 0; k < 32; k++) q8[i * 34 + 2 + k] = (uint8_t)nc_rng_below(&r, 256);
    }
    nc_gemm_b b;
    nc_gemm_source source = { NC_Q8_0, q8, D, false };
    assert_int_equal(nc_gemm_b_new(&b, NC_GEMM_Q8_0, V, D, &e), 0);
    assert_int_equal(nc_gemm_pack(nc_kernels_best(), NULL, &b, &source, false, &e), 0);
    assert_int_equal(nc_gemm_unpack(&b, 0, V, w, NC_F32, &e), 0);
    for (int way = 0; way < 2; way++) {
        nc_graph *g = nc_graph_new(NC_F32);
        nc_value *vh = nc_input(g, "h", NC_F32, NC_SHAPE(N, D), -1), *vw = nc_state(g, "w", way ? NC_Q8_0 : NC_F32, NC_SHAPE(V, D), way ? NULL : w);
        nc_value *vt = nc_input(g, "t", NC_I32, NC_SHAPE(N), -1);
        if (way) vw->packed = &b;
        vh->data = h, vt->data = target, vh->wants_grad = true;
        nc_value *l = nc_head_logprob(g, vh, vw, NULL, vt, 0.5, 3), *z = nc_head_logits(g, vh, vw, NULL, 0.5, 3);
        nc_keep(g, l), nc_keep(g, nc_output(l, 1)), nc_keep(g, z);
        assert_int_equal(nc_graph_backward(g, nc_sum_all(g, nc_add(g, l, nc_sum(g, nc_linear_op(g, vh, vw, NULL, NC_F32), -1, false))), false, &e), 0);
        nc_value *d = nc_graph_gradient(g, vh);
        nc_keep(g, d);
        nc_plan *plan;
        if (nc_plan_new(g, 2, &plan, &e) < 0 || nc_plan_bind(plan, NULL, &e) < 0) fail_msg("%s", e.message);
        nc_run_options o = { .pool = op_pool(2), .kernels = nc_kernels_best() };
        assert_int_equal(nc_plan_run(plan, &o, &e), 0);
        memcpy(lp[way], l->data, sizeof lp[way]), memcpy(lse[way], nc_output(l, 1)->data, sizeof lse[way]), memcpy(dh[way], d->data, sizeof dh[way]);
        memcpy(rows, z->data, sizeof rows);
        for (int i = 0; i < N; i++) {
            float s = nc_head_logsumexp(nc_kernels_best(), rows + i * V, V);
            assert_memory_equal(&s, &lse[way][i], 4);
            if (target[i] >= 0)
                assert_true(rows[i * V + target[i]] - s == lp[way][i]);
        }
        nc_plan_free(plan);
        nc_graph_free(g);
    }
    assert_memory_equal(lp[0], lp[1], sizeof lp[0]);
    assert_memory_equal(dh[0], dh[1], sizeof dh[0]);
    nc_gemm_b_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(linears), cmocka_unit_test(matmuls), cmocka_unit_test(heads), cmocka_unit_test(blocks), cmocka_unit_test(packed) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

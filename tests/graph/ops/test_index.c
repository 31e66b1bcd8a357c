/* test_index.c - gather, scatter, splice and embedding by op_check: repeated and absent indices, weights, counted tables; sums into a gradient state;
 * packed weights; indices out of range refused when the plan runs. */
#include "graph/op_check.h"
#include "kernels/gemm.h"

static const int32_t index7[7] = { 2, 0, -1, 2, 3, 2, 0 };
static const int32_t taps[8] = { 0, 3, 3, -1, 2, 2, 1, 0 };

static nc_value *gather(nc_graph *g, nc_value *const *in, const void *arg) { return (void)arg, nc_gather_rows(g, in[0], in[1]); }
static nc_value *weighted(nc_graph *g, nc_value *const *in, const void *arg) { return (void)arg, nc_gather_weighted(g, in[0], in[1], in[2]); }
static nc_value *scatter(nc_graph *g, nc_value *const *in, const void *arg) { return nc_scatter_add_rows(g, in[0], in[1], *(const int64_t *)arg, -1); }
static nc_value *splice(nc_graph *g, nc_value *const *in, const void *arg) { return (void)arg, nc_splice_rows(g, in[0], in[1], in[2]); }
static nc_value *embedding(nc_graph *g, nc_value *const *in, const void *arg) { return (void)arg, nc_embedding(g, in[0], in[1]); }

static void test_gather(void **state)
{
    (void)state;
    op_check(&(op_case){ .name = "gather", .build = gather, .in = { { NC_SHAPE(4, 19), .state = true }, { NC_SHAPE(7), .counted = true, .ints = index7 } } });
    op_check(&(op_case){ .name = "gather, rank 3", .build = gather, .in = { { NC_SHAPE(4, 3, 5) }, { NC_SHAPE(7), .counted = true, .ints = index7 } } });
    op_check(&(op_case){ .name = "gather, counted table", .build = gather,
                         .in = { { NC_SHAPE(14, 600), .counted = true, .scale = 2 }, { NC_SHAPE(7), .counted = true, .ints = index7 } } });
    op_check(&(op_case){ .name = "gather_weighted", .build = weighted,
                         .in = { { NC_SHAPE(4, 530), .state = true }, { NC_SHAPE(4, 2), .counted = true, .ints = taps }, { NC_SHAPE(4, 2), .counted = true, .f32 = true } } });
}

static void test_scatter(void **state)
{
    (void)state;
    op_check(&(op_case){ .name = "scatter", .build = scatter, .arg = &(int64_t){ 6 },
                         .in = { { NC_SHAPE(7, 33), .counted = true }, { NC_SHAPE(7), .counted = true, .ints = index7 } } });
    op_check(&(op_case){ .name = "scatter, wide", .build = scatter, .arg = &(int64_t){ 4 },
                         .in = { { NC_SHAPE(7, 1050), .counted = true }, { NC_SHAPE(7), .counted = true, .ints = index7 } } });
}

static void test_splice(void **state)
{
    (void)state;
    op_check(&(op_case){ .name = "splice", .build = splice,
                         .in = { { NC_SHAPE(7, 9), .counted = true }, { NC_SHAPE(4, 9) }, { NC_SHAPE(7), .counted = true, .ints = index7 } } });
}

static void test_embedding(void **state)
{
    (void)state;
    op_check(&(op_case){ .name = "embedding", .build = embedding, .in = { { NC_SHAPE(4, 19), .state = true }, { NC_SHAPE(7), .counted = true, .ints = index7 } } });
    op_check(&(op_case){ .name = "embedding, f32 weight", .build = embedding,
                         .in = { { NC_SHAPE(4, 19), .state = true, .f32 = true }, { NC_SHAPE(7), .counted = true, .ints = index7 } } });
    op_check_refused(&(op_case){ .name = "ids", .build = embedding, .in = { { NC_SHAPE(4, 19) }, { NC_SHAPE(7) } } }, NC_ESHAPE, "");
}

/* The gradient goes straight into the state, twice adds twice, and rows nobody asked for keep their bits. */
static void test_gradient_state(void **state)
{
    (void)state;
    enum { V = 5, D = 40 };
    static float w[V * D], into[V * D];
    static int32_t ids[7] = { 2, 0, -1, 2, 3, 2, 0 };
    static const float uses[V] = { 2, 0, 3, 1, 0 };
    nc_error e = { 0 };
    nc_graph *g = nc_graph_new(NC_BF16);
    nc_value *weight = nc_state(g, "w", NC_F32, NC_SHAPE(V, D), w), *in = nc_input(g, "ids", NC_I32, NC_SHAPE(7), -1);
    nc_plan *p;
    weight->wants_grad = true;
    weight->grad_into = nc_state(g, "dw", NC_F32, NC_SHAPE(V, D), into);
    in->data = ids;
    assert_int_equal(nc_graph_backward(g, nc_sum_all(g, nc_embedding(g, weight, in)), false, &e), 0);
    assert_int_equal(nc_plan_new(g, 1, &p, &e), 0);
    assert_true(nc_plan_bytes(p) < V * D * 4 * 4);
    assert_int_equal(nc_plan_bind(p, NULL, &e), 0);
    for (int i = 0; i < V * D; i++)
        into[i] = 10;
    for (int run = 0; run < 2; run++)
        assert_int_equal(nc_plan_run(p, &(nc_run_options){ 0 }, &e), 0);
    for (int i = 0; i < V * D; i++)
        assert_true(into[i] == 10 + 2 * uses[i / D]);
    ids[1] = V;
    assert_int_equal(nc_plan_run(p, &(nc_run_options){ 0 }, &e), NC_EINVAL);
    assert_non_null(strstr(e.message, "index 1 is 5, there are 5 rows"));
    nc_plan_free(p);
    nc_graph_free(g);
}

/* A packed weight gives the rows that were packed. */
static void test_packed(void **state)
{
    (void)state;
    enum { V = 21, D = 33 };
    static float w[V * D];
    static int32_t ids[4] = { 20, 0, -1, 16 };
    nc_error e = { 0 };
    nc_gemm_b b;
    for (int i = 0; i < V * D; i++)
        w[i] = nc_bf16_to_f32(nc_f32_to_bf16(sinf((float)i)));
    for (int kind = NC_GEMM_F32; kind <= NC_GEMM_BF16; kind++) {
        nc_graph *g = nc_graph_new(NC_F32);
        nc_plan *p;
        assert_int_equal(nc_gemm_b_new(&b, (nc_gemm_kind)kind, V, D, &e), 0);
        assert_int_equal(nc_gemm_pack(nc_kernels_best(), NULL, &b, &(nc_gemm_source){ NC_F32, w, D, false }, false, &e), 0);
        nc_value *weight = nc_state(g, "w", NC_F32, NC_SHAPE(V, D), NULL), *in = nc_input(g, "ids", NC_I32, NC_SHAPE(4), -1);
        weight->packed = &b;
        in->data = ids;
        nc_value *y = nc_embedding(g, weight, in);
        nc_keep(g, y);
        assert_int_equal(nc_plan_new(g, 1, &p, &e), 0);
        assert_int_equal(nc_plan_bind(p, NULL, &e), 0);
        assert_int_equal(nc_plan_run(p, &(nc_run_options){ 0 }, &e), 0);
        for (int i = 0; i < 4; i++)
            for (int j = 0; j < D; j++)
                assert_true(((float *)y->data)[i * D + j] == (ids[i] < 0 ? 0 : w[ids[i] * D + j]));
        nc_plan_free(p);
        nc_graph_free(g);
        nc_gemm_b_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gather), cmocka_unit_test(test_scatter), cmocka_unit_test(test_splice), cmocka_unit_test(test_embedding),
        cmocka_unit_test(test_gradient_state), cmocka_unit_test(test_packed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

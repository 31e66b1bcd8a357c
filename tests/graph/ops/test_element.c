/* test_element.c - functions of one and two numbers, gated products, casts and dropout by op_check: gradients by differences, broadcasting, views. */
#include "graph/op_check.h"

typedef struct how { int kind; double a, b; } how;

static nc_value *build_unary(nc_graph *g, nc_value *const *in, const void *arg) { return nc_unary_op(g, (nc_unary)((const how *)arg)->kind, in[0]); }
static nc_value *build_affine(nc_graph *g, nc_value *const *in, const void *arg) { return nc_affine(g, in[0], ((const how *)arg)->a, ((const how *)arg)->b); }
static nc_value *build_clamp(nc_graph *g, nc_value *const *in, const void *arg) { return nc_clamp(g, in[0], ((const how *)arg)->a, ((const how *)arg)->b); }
static nc_value *build_cap(nc_graph *g, nc_value *const *in, const void *arg) { return nc_soft_cap(g, in[0], ((const how *)arg)->a); }
static nc_value *build_gated(nc_graph *g, nc_value *const *in, const void *arg) { return nc_gated(g, (nc_unary)((const how *)arg)->kind, in[0], in[1]); }
static nc_value *build_binary(nc_graph *g, nc_value *const *in, const void *arg)
{
    static nc_value *(*const op[])(nc_graph *, nc_value *, nc_value *) = { nc_add, nc_sub, nc_mul, nc_div, nc_maximum, nc_minimum };
    return op[((const how *)arg)->kind](g, in[0], in[1]);
}
/* The gradient of sum(f(x)^2 / 2) by f's own gradient, as a function to be differentiated once more. */
static nc_value *build_slope(nc_graph *g, nc_value *const *in, const void *arg)
{
    nc_unary kind = (nc_unary)((const how *)arg)->kind;
    struct { nc_unary kind; double p[2]; } attr = { kind, { 0, 0 } };
    return nc_emit(g, &nc_op_unary_grad, &attr, sizeof attr, (nc_value *[]){ in[0], in[1] }, 2);
}

static void test_unary(void **state)
{
    (void)state;
    for (int kind = 0; kind < NC_UNARY_KINDS; kind++) {
        bool positive = kind == NC_LOG || kind == NC_SQRT || kind == NC_RSQRT || kind == NC_RECIP;
        bool flat = kind == NC_SIGN || kind == NC_STEP;
        op_check(&(op_case){ .name = "unary", .build = build_unary, .arg = &(how){ kind, 0, 0 }, .no_grad = flat, .tol_bf16 = 2e-2,
                             .in = { { NC_SHAPE(7, 3, 5), .counted = true, .low = positive ? 0.3 : -3, .high = 3 } } });
    }
    op_check(&(op_case){ .name = "affine", .build = build_affine, .arg = &(how){ 0, -2.5, 0.75 }, .in = { { NC_SHAPE(33, 9), .counted = true } } });
    op_check(&(op_case){ .name = "clamp", .build = build_clamp, .arg = &(how){ 0, -0.5, 0.8 }, .in = { { NC_SHAPE(3, 90), .counted = true } } });
    op_check(&(op_case){ .name = "soft_cap", .build = build_cap, .arg = &(how){ 0, 2, 0 }, .in = { { NC_SHAPE(40, 4), .low = -6, .high = 6 } } });
    op_check(&(op_case){ .name = "scalar", .build = build_unary, .arg = &(how){ NC_EXP, 0, 0 }, .in = { { .scalar = true } } });
    op_check(&(op_case){ .name = "long", .build = build_unary, .arg = &(how){ NC_GELU_TANH, 0, 0 }, .in = { { NC_SHAPE(3, 20011), .counted = true } } });
}

static void test_second_derivative(void **state)
{
    (void)state;
    static const int kinds[] = { NC_EXP, NC_LOG, NC_SQRT, NC_RSQRT, NC_RECIP, NC_SQUARE, NC_SIN, NC_COS, NC_TANH, NC_SIGMOID, NC_SOFTPLUS, NC_SILU, NC_GELU };
    for (int i = 0; i < NC_COUNT(kinds); i++)
        op_check(&(op_case){ .name = "slope", .build = build_slope, .arg = &(how){ kinds[i], 0, 0 }, .no_bf16 = true, .tol_f32 = 5e-5,
                             .in = { { NC_SHAPE(6, 5), .low = 0.4, .high = 2 }, { NC_SHAPE(6, 5) } } });
}

static void test_binary(void **state)
{
    (void)state;
    for (int kind = 0; kind < 6; kind++) {
        double low = kind == 3 ? 0.5 : -2;
        how h = { kind, 0, 0 };
        op_check(&(op_case){ .name = "same shape", .build = build_binary, .arg = &h,
                             .in = { { NC_SHAPE(9, 7), .counted = true, .low = -2, .high = 2 }, { NC_SHAPE(9, 7), .counted = true, .low = low, .high = 2 } } });
        op_check(&(op_case){ .name = "row", .build = build_binary, .arg = &h,
                             .in = { { NC_SHAPE(9, 3, 4), .counted = true, .low = -2, .high = 2 }, { NC_SHAPE(4), .low = low, .high = 2 } } });
        op_check(&(op_case){ .name = "column", .build = build_binary, .arg = &h,
                             .in = { { NC_SHAPE(9, 5), .counted = true, .low = -2, .high = 2 }, { NC_SHAPE(9, 1), .counted = true, .low = low, .high = 2 } } });
        op_check(&(op_case){ .name = "both", .build = build_binary, .arg = &h,
                             .in = { { NC_SHAPE(2, 1, 5), .low = -2, .high = 2 }, { NC_SHAPE(3, 1), .low = low, .high = 2 } } });
        op_check(&(op_case){ .name = "scalar", .build = build_binary, .arg = &h,
                             .in = { { NC_SHAPE(6, 5), .counted = true, .low = -2, .high = 2 }, { .scalar = true, .low = low, .high = 2 } } });
        op_check(&(op_case){ .name = "channels, wide bias", .build = build_binary, .arg = &h,
                             .in = { { NC_SHAPE(2, 3, 4, 5), .low = -2, .high = 2 }, { NC_SHAPE(3, 1, 1), .low = low, .high = 2, .state = true, .f32 = true } } });
    }
    op_check_refused(&(op_case){ .name = "shapes", .build = build_binary, .arg = &(how){ 0, 0, 0 }, .in = { { NC_SHAPE(2, 3) }, { NC_SHAPE(2) } } }, NC_ESHAPE, "do not broadcast");
}

static void test_gated(void **state)
{
    (void)state;
    static const int kinds[] = { NC_SILU, NC_GELU, NC_GELU_TANH, NC_RELU, NC_SIGMOID, NC_QUICK_GELU };
    for (int i = 0; i < NC_COUNT(kinds); i++)
        op_check(&(op_case){ .name = "gated", .build = build_gated, .arg = &(how){ kinds[i], 0, 0 }, .tol_bf16 = 2e-2,
                             .in = { { NC_SHAPE(5, 37), .counted = true }, { NC_SHAPE(5, 37), .counted = true } } });
    op_check_refused(&(op_case){ .name = "shapes", .build = build_gated, .arg = &(how){ NC_SILU, 0, 0 }, .in = { { NC_SHAPE(2, 3) }, { NC_SHAPE(3) } } }, NC_ESHAPE, "differ in shape");
}

/* Dropout: the mask of the forward is the mask of the gradient, it changes with site and step, and it is the identity outside training. */
static void test_dropout(void **state)
{
    (void)state;
    enum { ROWS = 40, COLUMNS = 70 };
    static float x[ROWS * COLUMNS], y[3][ROWS * COLUMNS], d[ROWS * COLUMNS];
    for (int site = 1; site <= 2; site++) {
        nc_error e = { 0 };
        nc_graph *g = nc_graph_new(NC_F32);
        nc_value *in = nc_input(g, "x", NC_F32, NC_SHAPE(ROWS, COLUMNS), -1);
        nc_plan *p;
        in->wants_grad = true;
        nc_value *out = nc_dropout(g, in, 0.25, (uint32_t)site);
        nc_keep(g, out);
        assert_int_equal(nc_graph_backward(g, nc_sum_all(g, out), false, &e), 0);
        nc_keep(g, nc_graph_gradient(g, in));
        assert_int_equal(nc_plan_new(g, 1, &p, &e), 0);
        assert_int_equal(nc_plan_bind(p, NULL, &e), 0);
        for (int i = 0; i < ROWS * COLUMNS; i++)
            x[i] = 1 + (float)i;
        in->data = x;
        for (uint64_t step = 0; step < 2; step++) {
            assert_int_equal(nc_plan_run(p, &(nc_run_options){ .seed = 5, .step = step, .training = true }, &e), 0);
            memcpy(y[site == 2 ? 2 : step], out->data, sizeof x);
            memcpy(d, nc_graph_gradient(g, in)->data, sizeof d);
            int kept = 0;
            for (int i = 0; i < ROWS * COLUMNS; i++) {
                float v = ((float *)out->data)[i];
                assert_true(v == 0 ? d[i] == 0 : fabsf(v - x[i] / 0.75f) < 1e-3f && fabsf(d[i] - 1 / 0.75f) < 1e-6f);
                kept += v != 0;
            }
            assert_true(abs(kept - 2100) < 150);
        }
        assert_int_equal(nc_plan_run(p, &(nc_run_options){ .seed = 5 }, &e), 0);
        assert_memory_equal(out->data, x, sizeof x);
        nc_plan_free(p);
        nc_graph_free(g);
    }
    assert_memory_not_equal(y[0], y[1], sizeof x);
    assert_memory_not_equal(y[1], y[2], sizeof x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unary), cmocka_unit_test(test_second_derivative), cmocka_unit_test(test_binary), cmocka_unit_test(test_gated), cmocka_unit_test(test_dropout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

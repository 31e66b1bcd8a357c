/* test_conv.c - convolution and pooling by op_check: one, two and three dimensions, stride, padding, dilation, groups, depthwise, a patch embedding;
 * max and average pooling with ceil mode; refused shapes. */
#include "graph/op_check.h"

static nc_value *conv(nc_graph *g, nc_value *const *in, const void *arg) { return nc_conv(g, in[0], in[1], in[2], arg); }
static nc_value *bare(nc_graph *g, nc_value *const *in, const void *arg) { return nc_conv(g, in[0], in[1], NULL, arg); }
static nc_value *pool(nc_graph *g, nc_value *const *in, const void *arg) { return nc_pool_op(g, in[0], arg); }

static void check(const char *name, nc_conv_attr a, nc_shape x, nc_shape w)
{
    op_check(&(op_case){ .name = name, .build = conv, .arg = &a, .tol_f32 = 2e-5, .tol_bf16 = 3e-2,
                         .in = { { x, .counted = true }, { w, .state = true }, { NC_SHAPE(w.dim[0]), .state = true } } });
    op_check(&(op_case){ .name = name, .build = bare, .arg = &a, .tol_f32 = 2e-5, .tol_bf16 = 3e-2,
                         .in = { { x, .counted = true }, { w, .state = true, .f32 = true } } });
}

static void test_conv(void **state)
{
    (void)state;
    check("1d", (nc_conv_attr){ .dims = 1, .stride = { 2 }, .pad = { 1 } }, NC_SHAPE(2, 3, 11), NC_SHAPE(4, 3, 3));
    check("1d, dilation", (nc_conv_attr){ .dims = 1, .stride = { 1 }, .pad = { 4 }, .dilation = { 2 } }, NC_SHAPE(2, 3, 9), NC_SHAPE(2, 3, 3));
    check("2d", (nc_conv_attr){ .dims = 2, .stride = { 1, 1 }, .pad = { 1, 1 } }, NC_SHAPE(2, 3, 6, 7), NC_SHAPE(5, 3, 3, 3));
    check("2d, uneven", (nc_conv_attr){ .dims = 2, .stride = { 2, 3 }, .pad = { 1, 0 }, .dilation = { 2, 1 } }, NC_SHAPE(1, 2, 9, 8), NC_SHAPE(3, 2, 3, 2));
    check("patches", (nc_conv_attr){ .dims = 2, .stride = { 4, 4 } }, NC_SHAPE(2, 3, 8, 12), NC_SHAPE(7, 3, 4, 4));
    check("3d", (nc_conv_attr){ .dims = 3, .stride = { 1, 2, 1 }, .pad = { 1, 1, 0 } }, NC_SHAPE(1, 2, 3, 4, 5), NC_SHAPE(3, 2, 2, 3, 2));
}

static void test_groups(void **state)
{
    (void)state;
    check("groups", (nc_conv_attr){ .dims = 2, .stride = { 1, 1 }, .pad = { 1, 1 }, .groups = 2 }, NC_SHAPE(2, 4, 5, 6), NC_SHAPE(6, 2, 3, 3));
    check("depthwise", (nc_conv_attr){ .dims = 2, .stride = { 2, 2 }, .pad = { 1, 1 }, .groups = 3 }, NC_SHAPE(2, 3, 7, 20), NC_SHAPE(3, 1, 3, 3));
    check("multiplier", (nc_conv_attr){ .dims = 2, .stride = { 1, 1 }, .pad = { 3, 3 }, .groups = 3 }, NC_SHAPE(1, 3, 8, 40), NC_SHAPE(6, 1, 7, 7));
    check("1d causal", (nc_conv_attr){ .dims = 1, .stride = { 1 }, .pad = { 3 }, .groups = 4 }, NC_SHAPE(3, 4, 37), NC_SHAPE(4, 1, 4));
    check("3d groups", (nc_conv_attr){ .dims = 3, .stride = { 1, 1, 2 }, .pad = { 0, 1, 1 }, .dilation = { 1, 2, 1 }, .groups = 2 }, NC_SHAPE(1, 4, 3, 6, 5), NC_SHAPE(2, 2, 2, 2, 3));
}

static void test_pool(void **state)
{
    (void)state;
    for (int way = 0; way < 8; way++) {
        nc_pool_attr a = { .dims = 2, .kernel = { 3, 2 }, .stride = { 2, 2 }, .pad = { 1, 0 }, .average = way & 1, .ceil = way & 2, .count_pad = way & 4 };
        op_check(&(op_case){ .name = "pool 2d", .build = pool, .arg = &a, .in = { { NC_SHAPE(2, 3, 6, 7), .counted = true } } });
    }
    op_check(&(op_case){ .name = "pool 1d", .build = pool, .arg = &(nc_pool_attr){ .dims = 1, .kernel = { 4 }, .average = true }, .in = { { NC_SHAPE(2, 3, 13) } } });
    op_check(&(op_case){ .name = "pool 3d", .build = pool, .arg = &(nc_pool_attr){ .dims = 3, .kernel = { 2, 2, 3 }, .stride = { 1, 2, 2 } },
                         .in = { { NC_SHAPE(1, 2, 3, 4, 7) } } });
}

static void test_refused(void **state)
{
    (void)state;
    op_check_refused(&(op_case){ .name = "groups", .build = bare, .arg = &(nc_conv_attr){ .dims = 2, .groups = 2 }, .in = { { NC_SHAPE(1, 3, 4, 4) }, { NC_SHAPE(2, 3, 2, 2) } } },
                     NC_ESHAPE, "groups do not fit");
    op_check_refused(&(op_case){ .name = "kernel", .build = bare, .arg = &(nc_conv_attr){ .dims = 2 }, .in = { { NC_SHAPE(1, 3, 4, 4) }, { NC_SHAPE(2, 3, 5, 2) } } },
                     NC_ESHAPE, "does not fit 4");
    op_check_refused(&(op_case){ .name = "window", .build = pool, .arg = &(nc_pool_attr){ .dims = 2, .kernel = { 5, 1 } }, .in = { { NC_SHAPE(1, 3, 4, 4) } } }, NC_ESHAPE, "does not fit 4");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_conv), cmocka_unit_test(test_groups), cmocka_unit_test(test_pool), cmocka_unit_test(test_refused) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

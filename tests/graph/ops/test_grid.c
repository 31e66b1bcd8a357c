/* test_grid.c - pictures whose cells are rows: columns, depthwise, pooling, grouped products, batch norm, by op_check; convolution as columns and a product against
 * nc_conv over planes; running statistics; refused shapes. */
#include "graph/op_check.h"

typedef struct grid { int64_t height, width; nc_grid_window w; bool average; } grid;

static nc_value *columns(nc_graph *g, nc_value *const *in, const void *arg) { const grid *a = arg; return nc_grid_columns_op(g, in[0], a->height, a->width, &a->w); }
static nc_value *depth(nc_graph *g, nc_value *const *in, const void *arg) { const grid *a = arg; return nc_grid_depth_op(g, in[0], in[1], in[2], a->height, a->width, &a->w); }
static nc_value *pool(nc_graph *g, nc_value *const *in, const void *arg) { const grid *a = arg; return nc_grid_pool_op(g, in[0], a->height, a->width, &a->w, a->average); }

static const grid grids[] = {
    { 5, 6, { .kernel = { 3, 3 }, .before = { 1, 1 }, .after = { 1, 1 } }, false },
    { 7, 9, { .kernel = { 3, 3 }, .stride = { 2, 2 }, .before = { 0, 0 }, .after = { 1, 1 } }, false },
    { 6, 11, { .kernel = { 5, 4 }, .stride = { 2, 1 }, .before = { 2, 3 }, .after = { 1, 0 } }, false },
    { 9, 8, { .kernel = { 3, 2 }, .stride = { 1, 3 }, .dilation = { 2, 3 }, .before = { 2, 0 }, .after = { 2, 1 } }, false },
    { 8, 13, { .kernel = { 7, 7 }, .before = { 3, 3 }, .after = { 3, 3 } }, false },
    { 4, 8, { .kernel = { 4, 4 }, .stride = { 4, 4 } }, false },
    { 3, 2, { .kernel = { 5, 5 }, .before = { 3, 4 }, .after = { 3, 4 } }, false },
    { 1, 1, { .kernel = { 1, 1 } }, false },
};
static const int64_t channels[] = { 3, 16, 21, 35 };

static void test_columns(void **state)
{
    (void)state;
    for (int i = 0; i < NC_COUNT(grids); i++) {
        const grid *a = &grids[i];
        int64_t cells = a->height * a->width, C = channels[i % 4];
        op_check(&(op_case){ .name = "columns", .build = columns, .arg = a, .in = { { NC_SHAPE(2 * cells, C), .counted = true, .scale = (int)cells } } });
    }
}

static void test_depth(void **state)
{
    (void)state;
    for (int i = 0; i < NC_COUNT(grids); i++)
        for (int bias = 0; bias < 2; bias++) {
            const grid *a = &grids[i];
            int64_t cells = a->height * a->width, C = channels[(i + bias) % 4];
            op_case c = { .name = "depth", .build = depth, .arg = a, .tol_f32 = 2e-5, .tol_bf16 = 3e-2,
                          .in = { { NC_SHAPE(2 * cells, C), .counted = true, .scale = (int)cells }, { NC_SHAPE(C, a->w.kernel[0] * a->w.kernel[1]), .state = true } } };
            if (bias)
                c.in[2] = (op_input){ NC_SHAPE(C), .state = true, .f32 = true };
            op_check(&c);
        }
}

static void test_pool(void **state)
{
    (void)state;
    for (int i = 0; i < NC_COUNT(grids); i++)
        for (int way = 0; way < 4; way++) {
            grid a = grids[i];
            a.average = way & 1, a.w.ceil = way & 2;
            if (i == 6)
                a.w.before[0] = a.w.before[1] = a.w.after[0] = a.w.after[1] = 2;
            int64_t cells = a.height * a.width;
            op_check(&(op_case){ .name = "pool", .build = pool, .arg = &a, .in = { { NC_SHAPE(2 * cells, channels[i % 4]), .counted = true, .scale = (int)cells } } });
        }
}

/* ---- a convolution two ways ---- */

static void test_against_planes(void **state)
{
    enum { H = 7, W = 9, C = 5, O = 6, K = 9 };
    float planes[C * H * W], rows[H * W * C], weight[O * C * K];
    nc_rng r = nc_rng_new(3, 3);
    nc_graph *g = nc_graph_new(NC_F32);
    nc_error e = { 0 };
    nc_plan *p;
    (void)state;
    for (int i = 0; i < C * H * W; i++)
        planes[i] = rows[i % (H * W) * C + i / (H * W)] = (float)nc_rng_normal(&r);
    for (int i = 0; i < O * C * K; i++)
        weight[i] = (float)nc_rng_normal(&r);
    nc_value *x = nc_input(g, "x", NC_F32, NC_SHAPE(H * W, C), -1), *z = nc_input(g, "z", NC_F32, NC_SHAPE(1, C, H, W), -1);
    nc_value *w = nc_state(g, "w", NC_F32, NC_SHAPE(O, C * K), weight);
    x->data = rows, z->data = planes;
    nc_grid_window window = { .kernel = { 3, 3 }, .stride = { 2, 1 }, .before = { 1, 1 }, .after = { 1, 1 } };
    nc_value *y = nc_linear_op(g, nc_grid_columns_op(g, x, H, W, &window), w, NULL, NC_F32);
    nc_value *want = nc_conv(g, z, nc_reshape(g, w, NC_SHAPE(O, C, 3, 3)), NULL, &(nc_conv_attr){ .dims = 2, .stride = { 2, 1 }, .pad = { 1, 1 } });
    nc_keep(g, y), nc_keep(g, want);
    assert_int_equal(nc_plan_new(g, 1, &p, &e), 0);
    assert_int_equal(nc_plan_bind(p, NULL, &e), 0);
    assert_int_equal(nc_plan_run(p, &(nc_run_options){ .kernels = nc_kernels_best() }, &e), 0);
    int64_t P = y->shape.dim[0];
    assert_int_equal(P, 4 * W);
    for (int64_t i = 0; i < P; i++)
        for (int64_t o = 0; o < O; o++)
            assert_true(fabsf(((float *)y->data)[i * O + o] - ((float *)want->data)[o * P + i]) < 1e-4f);
    nc_plan_free(p);
    nc_graph_free(g);
}

/* ---- groups, batch norm ---- */

static nc_value *groups(nc_graph *g, nc_value *const *in, const void *arg) { return nc_group_linear_op(g, in[0], in[1], *(const int *)arg); }

static void test_groups(void **state)
{
    (void)state;
    for (int n = 1; n < 5; n++)
        op_check(&(op_case){ .name = "groups", .build = groups, .arg = &n, .tol_f32 = 2e-5, .tol_bf16 = 3e-2, .no_strided = true,
                             .in = { { NC_SHAPE(37, n * 11), .counted = true }, { NC_SHAPE(n * 7, 11), .state = true } } });
    op_check_refused(&(op_case){ .name = "groups", .build = groups, .arg = &(int){ 2 }, .in = { { NC_SHAPE(3, 10) }, { NC_SHAPE(4, 6) } } }, NC_ESHAPE, "do not fit");
}

static nc_value *live(nc_graph *g, nc_value *const *in, const void *arg) { return (void)arg, nc_batch_norm_op(g, in[0], in[1], in[2], NULL, NULL, 1e-3, false); }
static nc_value *frozen(nc_graph *g, nc_value *const *in, const void *arg) { return (void)arg, nc_batch_norm_op(g, in[0], in[1], in[2], in[3], in[4], 1e-3, true); }

static void test_batch_norm(void **state)
{
    static const int64_t rows[] = { 2, 7, 130, 300 };
    (void)state;
    for (int i = 0; i < 4; i++) {
        int64_t C = channels[i];
        op_check(&(op_case){ .name = "batch norm", .build = live, .tol_f32 = 2e-5, .tol_grad = 1e-5, .tol_grad_bf16 = 8e-2, .in = { { NC_SHAPE(rows[i], C), .counted = true },
                             { NC_SHAPE(C), .state = true, .f32 = true }, { NC_SHAPE(C), .state = true, .f32 = true } } });
        op_check(&(op_case){ .name = "frozen", .build = frozen, .tol_f32 = 2e-5, .in = { { NC_SHAPE(rows[i], C), .counted = true },
                             { NC_SHAPE(C), .state = true, .f32 = true }, { NC_SHAPE(C), .state = true, .f32 = true },
                             { NC_SHAPE(C), .state = true, .f32 = true, .no_grad = true }, { NC_SHAPE(C), .state = true, .f32 = true, .no_grad = true, .low = 0.1, .high = 3 } } });
    }
    op_check_refused(&(op_case){ .name = "width", .build = live, .in = { { NC_SHAPE(3, 4) }, { NC_SHAPE(5) }, { NC_SHAPE(5) } } }, NC_ESHAPE, "");
}

static void test_running(void **state)
{
    float data[] = { 1, 10, 3, 20, 5, 60 }, mean[2] = { 1, 1 }, var[2] = { 2, 2 }, batches[1] = { 5 };
    (void)state;
    for (int training = 0; training < 2; training++) {
        nc_graph *g = nc_graph_new(NC_F32);
        nc_error e = { 0 };
        nc_plan *p;
        nc_value *x = nc_input(g, "x", NC_F32, NC_SHAPE(3, 2), -1);
        x->data = data;
        nc_value *y = nc_batch_norm_op(g, x, NULL, NULL, NULL, NULL, 1e-5, false);
        nc_running_op(g, nc_state(g, "mean", NC_F32, NC_SHAPE(2), mean), nc_output(y, 1), 0.25);
        nc_running_op(g, nc_state(g, "var", NC_F32, NC_SHAPE(2), var), nc_output(y, 2), 0.25);
        nc_running_op(g, nc_state(g, "n", NC_F32, NC_SHAPE(1), batches), NULL, 0);
        nc_keep(g, y);
        assert_int_equal(nc_plan_new(g, 1, &p, &e), 0);
        assert_int_equal(nc_plan_bind(p, NULL, &e), 0);
        assert_int_equal(nc_plan_run(p, &(nc_run_options){ .kernels = nc_kernels_best(), .training = training }, &e), 0);
        assert_true(fabsf(mean[0] - (training ? 0.75f + 0.75f : 1)) < 1e-6f && fabsf(mean[1] - (training ? 0.75f + 7.5f : 1)) < 1e-5f);
        assert_true(fabsf(var[0] - (training ? 1.5f + 1 : 2)) < 1e-6f && fabsf(var[1] - (training ? 1.5f + 175 : 2)) < 1e-3f);     /* unbiased: 4 and 700 */
        assert_true(batches[0] == (training ? 6 : 5));
        nc_plan_free(p);
        nc_graph_free(g);
    }
}

static void test_refused(void **state)
{
    grid small = { 2, 2, { .kernel = { 3, 3 } }, false };
    (void)state;
    op_check_refused(&(op_case){ .name = "window", .build = columns, .arg = &small, .in = { { NC_SHAPE(4, 3) } } }, NC_ESHAPE, "does not fit a picture of 2 x 2");
    small.w.before[0] = small.w.before[1] = 1;
    op_check_refused(&(op_case){ .name = "cells", .build = columns, .arg = &small, .in = { { NC_SHAPE(5, 3) } } }, NC_ESHAPE, "4 cells");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_columns), cmocka_unit_test(test_depth), cmocka_unit_test(test_pool), cmocka_unit_test(test_against_planes),
                                        cmocka_unit_test(test_groups), cmocka_unit_test(test_batch_norm), cmocka_unit_test(test_running), cmocka_unit_test(test_refused) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

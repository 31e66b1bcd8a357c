/* test_norm.c - the norms and softmax by op_check: gradients of x, w and b, weights of another type, heads as rows, wrong weights refused. */
#include "graph/op_check.h"

static nc_value *layer(nc_graph *g, nc_value *const *in, const void *arg) { return nc_layer_norm(g, in[0], in[1], in[2], *(const double *)arg); }
static nc_value *plain(nc_graph *g, nc_value *const *in, const void *arg) { return nc_layer_norm(g, in[0], NULL, NULL, *(const double *)arg); }
static nc_value *rms(nc_graph *g, nc_value *const *in, const void *arg) { return nc_rms_norm(g, in[0], in[1], 1e-6, *(const double *)arg); }
static nc_value *l2(nc_graph *g, nc_value *const *in, const void *arg) { return nc_l2_norm(g, in[0], *(const double *)arg); }
static nc_value *group(nc_graph *g, nc_value *const *in, const void *arg) { return nc_group_norm(g, in[0], *(const int *)arg, in[1], in[2], 1e-5); }
static nc_value *soft(nc_graph *g, nc_value *const *in, const void *arg) { return *(const bool *)arg ? nc_log_softmax(g, in[0]) : nc_softmax(g, in[0]); }
static nc_value *soft_grad(nc_graph *g, nc_value *const *in, const void *arg)
{
    return nc_emit(g, &nc_op_softmax_grad, arg, sizeof(bool), (nc_value *[]){ in[0], in[1] }, 2);
}

static void test_layer_norm(void **state)
{
    (void)state;
    double eps = 1e-5;
    op_check(&(op_case){ .name = "layer_norm", .build = layer, .arg = &eps, .tol_grad_bf16 = 6e-2,
                         .in = { { NC_SHAPE(21, 37), .counted = true }, { NC_SHAPE(37), .state = true }, { NC_SHAPE(37), .state = true } } });
    op_check(&(op_case){ .name = "layer_norm, f32 weights", .build = layer, .arg = &eps, .tol_grad_bf16 = 6e-2,
                         .in = { { NC_SHAPE(70, 3, 16), .counted = true }, { NC_SHAPE(16), .state = true, .f32 = true }, { NC_SHAPE(16), .state = true, .f32 = true } } });
    op_check(&(op_case){ .name = "layer_norm, many rows", .build = layer, .arg = &eps, .tol_grad_bf16 = 6e-2,
                         .in = { { NC_SHAPE(1300, 6), .counted = true }, { NC_SHAPE(6), .state = true }, { NC_SHAPE(6), .state = true } } });
    op_check(&(op_case){ .name = "layer_norm, plain", .build = plain, .arg = &eps, .tol_grad_bf16 = 6e-2, .in = { { NC_SHAPE(5, 12), .counted = true } } });
    op_check_refused(&(op_case){ .name = "weight", .build = layer, .arg = &eps, .in = { { NC_SHAPE(2, 8) }, { NC_SHAPE(9) }, { NC_SHAPE(8) } } }, NC_ESHAPE, "needs a weight [8]");
}

static void test_rms_norm(void **state)
{
    (void)state;
    for (double offset = 0; offset < 2; offset++)
        op_check(&(op_case){ .name = "rms_norm", .build = rms, .arg = &offset, .tol_grad_bf16 = 6e-2,
                             .in = { { NC_SHAPE(9, 2, 33), .counted = true }, { NC_SHAPE(33), .state = true } } });
    op_check(&(op_case){ .name = "l2_norm", .build = l2, .arg = &(double){ 1e-6 }, .tol_grad_bf16 = 6e-2, .in = { { NC_SHAPE(9, 20), .counted = true } } });
}

static void test_group_norm(void **state)
{
    (void)state;
    op_check(&(op_case){ .name = "group_norm", .build = group, .arg = &(int){ 3 }, .tol_bf16 = 3e-2, .tol_grad_bf16 = 1e-1,
                         .in = { { NC_SHAPE(2, 6, 3, 4), .counted = true }, { NC_SHAPE(6), .state = true }, { NC_SHAPE(6), .state = true } } });
    op_check_refused(&(op_case){ .name = "groups", .build = group, .arg = &(int){ 4 }, .in = { { NC_SHAPE(2, 6, 3, 4) }, { NC_SHAPE(6) }, { NC_SHAPE(6) } } }, NC_ESHAPE, "do not divide");
}

static void test_softmax(void **state)
{
    (void)state;
    for (int log_form = 0; log_form < 2; log_form++) {
        bool form = log_form;
        op_check(&(op_case){ .name = "softmax", .build = soft, .arg = &form, .in = { { NC_SHAPE(7, 2, 35), .counted = true } } });
        op_check(&(op_case){ .name = "softmax_grad", .build = soft_grad, .arg = &form, .no_bf16 = true,
                             .in = { { NC_SHAPE(7, 9), .counted = true, .low = -2, .high = 0.5 }, { NC_SHAPE(7, 9), .counted = true } } });
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layer_norm), cmocka_unit_test(test_rms_norm), cmocka_unit_test(test_group_norm), cmocka_unit_test(test_softmax),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

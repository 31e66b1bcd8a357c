/* test_shape_ops.c - reshape, slice, concat, permute, broadcast and reductions by the common check. */
#include "graph/op_check.h"

static nc_value *reshape(nc_graph *g, nc_value *const *in, const void *arg) { return nc_reshape(g, in[0], *(const nc_shape *)arg); }
static nc_value *slice(nc_graph *g, nc_value *const *in, const void *arg) { const int *a = arg; return nc_contiguous(g, nc_slice(g, in[0], a[0], a[1], a[2])); }
static nc_value *permute(nc_graph *g, nc_value *const *in, const void *arg) { return nc_permute(g, in[0], arg); }
static nc_value *concat(nc_graph *g, nc_value *const *in, const void *arg) { return nc_concat(g, in, 3, *(const int *)arg); }
static nc_value *broadcast(nc_graph *g, nc_value *const *in, const void *arg) { return nc_broadcast_to(g, in[0], *(const nc_shape *)arg, -1); }
static nc_value *sum(nc_graph *g, nc_value *const *in, const void *arg) { return nc_sum(g, in[0], *(const int *)arg, true); }
static nc_value *max(nc_graph *g, nc_value *const *in, const void *arg) { return nc_max(g, in[0], *(const int *)arg, false); }
static nc_value *cumsum(nc_graph *g, nc_value *const *in, const void *arg) { return nc_cumsum(g, in[0], *(const int *)arg); }
static nc_value *sum_all(nc_graph *g, nc_value *const *in, const void *arg) { (void)arg; return nc_sum_all(g, in[0]); }
static nc_value *sum_to(nc_graph *g, nc_value *const *in, const void *arg) { return nc_sum_to(g, in[0], arg); }
static nc_value *thirds(nc_graph *g, nc_value *const *in, const void *arg)
{
    (void)arg;
    nc_value *parts[3] = { nc_slice(g, in[0], 1, 4, 2), nc_slice(g, in[0], 1, 0, 3), nc_slice(g, in[0], 1, 2, 4) };
    return nc_concat(g, parts, 3, 1);
}

static void views(void **state)
{
    (void)state;
    nc_shape split = NC_SHAPE(-1, 3, 4), merged = NC_SHAPE(-1, 4);
    op_check(&(op_case){ .name = "reshape split", .build = reshape, .arg = &split, .in = { { NC_SHAPE(5, 12), .counted = true } } });
    op_check(&(op_case){ .name = "reshape merge", .build = reshape, .arg = &merged, .in = { { NC_SHAPE(5, 3, 4), .counted = true } } });
    op_check(&(op_case){ .name = "slice last", .build = slice, .arg = (int[]){ -1, 2, 5 }, .in = { { NC_SHAPE(6, 2, 9), .counted = true } } });
    op_check(&(op_case){ .name = "slice middle", .build = slice, .arg = (int[]){ 1, 1, 2 }, .in = { { NC_SHAPE(6, 4, 9), .counted = true } } });
    op_check(&(op_case){ .name = "slice first", .build = slice, .arg = (int[]){ 0, 1, 2 }, .in = { { NC_SHAPE(6, 4) } } });
    op_check(&(op_case){ .name = "slices of long blocks", .build = slice, .arg = (int[]){ 1, 1, 2 }, .in = { { NC_SHAPE(2, 4, 9000), .counted = true } } });
    op_check(&(op_case){ .name = "overlapping slices", .build = thirds, .in = { { NC_SHAPE(70, 6, 33), .counted = true } } });
}

static void copies(void **state)
{
    (void)state;
    nc_shape wide = NC_SHAPE(4, 5, 3);
    op_check(&(op_case){ .name = "permute", .build = permute, .arg = (int[]){ 0, 2, 1 }, .in = { { NC_SHAPE(5, 3, 4), .counted = true } } });
    op_check(&(op_case){ .name = "permute whole", .build = permute, .arg = (int[]){ 2, 0, 1 }, .in = { { NC_SHAPE(5, 3, 4) } } });
    op_check(&(op_case){ .name = "transpose in tiles", .build = permute, .arg = (int[]){ 0, 2, 1 }, .in = { { NC_SHAPE(3, 37, 53), .counted = true } } });
    op_check(&(op_case){ .name = "concat rows", .build = concat, .arg = (int[]){ 0 }, .in = { { NC_SHAPE(2, 3) }, { NC_SHAPE(1, 3) }, { NC_SHAPE(4, 3) } } });
    op_check(&(op_case){ .name = "concat middle", .build = concat, .arg = (int[]){ 1 },
                         .in = { { NC_SHAPE(3, 2, 5), .counted = true }, { NC_SHAPE(3, 1, 5), .counted = true }, { NC_SHAPE(3, 4, 5), .counted = true } } });
    op_check(&(op_case){ .name = "concat last", .build = concat, .arg = (int[]){ -1 },
                         .in = { { NC_SHAPE(3, 2, 5), .counted = true }, { NC_SHAPE(3, 2, 1), .counted = true }, { NC_SHAPE(3, 2, 7), .counted = true } } });
    op_check(&(op_case){ .name = "broadcast", .build = broadcast, .arg = &wide, .in = { { NC_SHAPE(5, 1) } } });
}

static void reductions(void **state)
{
    (void)state;
    nc_shape bias = NC_SHAPE(330), heads = NC_SHAPE(7, 1);
    int axes[] = { 0, 1, 2 };
    for (int i = 0; i < 3; i++) {
        op_check(&(op_case){ .name = "sum", .build = sum, .arg = &axes[i], .in = { { NC_SHAPE(9, 35, 67), .counted = true } }, .tol_f32 = 1e-6 });
        op_check(&(op_case){ .name = "max", .build = max, .arg = &axes[i], .in = { { NC_SHAPE(4, 5, 6), .counted = true } } });
        op_check(&(op_case){ .name = "cumsum", .build = cumsum, .arg = &axes[i], .in = { { NC_SHAPE(4, 5, 6), .counted = true } } });
    }
    op_check(&(op_case){ .name = "sum_all", .build = sum_all, .in = { { NC_SHAPE(300, 70), .counted = true } } });
    op_check(&(op_case){ .name = "sum_to bias", .build = sum_to, .arg = &bias, .in = { { NC_SHAPE(130, 330), .counted = true } } });
    op_check(&(op_case){ .name = "sum_to middle", .build = sum_to, .arg = &heads, .in = { { NC_SHAPE(6, 7, 5), .counted = true } } });
}

static void refused(void **state)
{
    (void)state;
    nc_shape wrong = NC_SHAPE(5, 3);
    op_check_refused(&(op_case){ .name = "reshape", .build = reshape, .arg = &wrong, .in = { { NC_SHAPE(5, 4) } } }, NC_ESHAPE, "same number of elements");
    op_check_refused(&(op_case){ .name = "slice", .build = slice, .arg = (int[]){ 0, 1, 2 }, .in = { { NC_SHAPE(5, 4), .counted = true } } }, NC_ESHAPE, "count");
    op_check_refused(&(op_case){ .name = "slice", .build = slice, .arg = (int[]){ 1, 3, 2 }, .in = { { NC_SHAPE(5, 4) } } }, NC_ESHAPE, "leaves [5, 4]");
    op_check_refused(&(op_case){ .name = "permute", .build = permute, .arg = (int[]){ 1, 0 }, .in = { { NC_SHAPE(5, 4), .counted = true } } }, NC_ESHAPE, "stays");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(views), cmocka_unit_test(copies), cmocka_unit_test(reductions), cmocka_unit_test(refused) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

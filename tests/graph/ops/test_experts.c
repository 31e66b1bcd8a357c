/* test_experts.c - the ops of a mixture of experts: choices against what they are defined to be, and the rest by op_check. */
#include "graph/op_check.h"

static const int32_t chosen[] = { 2, 0, 1, 2, 0, 1, 2, 1, 0, 2 };      /* five rows, two of three columns each */

static nc_value *take(nc_graph *g, nc_value *const *in, const void *arg) { (void)arg; return nc_take_columns(g, in[0], in[1]); }
static nc_value *put(nc_graph *g, nc_value *const *in, const void *arg) { (void)arg; return nc_put_columns(g, in[0], in[1], 3); }

/* The rows of each expert by its own weight, and back: sum over j of w_chosen(i,j) x_i. */
static nc_value *mixture(nc_graph *g, nc_value *const *in, const void *arg)
{
    nc_value *slots = nc_expert_rows(g, in[1], 3);
    (void)arg;
    nc_value *y = nc_expert_linear(g, nc_gather_rows(g, in[0], slots), nc_output(slots, 2), in + 3, 3);
    return nc_gather_weighted(g, y, nc_output(slots, 1), in[2]);
}

static void columns_are_taken_and_put(void **state)
{
    (void)state;
    op_check(&(op_case){ .name = "take_columns", .build = take, .in = { { NC_SHAPE(5, 3), .counted = true }, { NC_SHAPE(5, 2), .counted = true, .ints = chosen } } });
    op_check(&(op_case){ .name = "put_columns", .build = put, .in = { { NC_SHAPE(5, 2), .counted = true }, { NC_SHAPE(5, 2), .counted = true, .ints = chosen } } });
}

static void experts_multiply_their_own_rows(void **state)
{
    (void)state;
    op_check(&(op_case){ .name = "expert_linear", .build = mixture,
                         .in = { { NC_SHAPE(5, 7), .counted = true }, { NC_SHAPE(5, 2), .counted = true, .ints = chosen }, { NC_SHAPE(5, 2), .counted = true, .f32 = true },
                                 { NC_SHAPE(6, 7), .state = true }, { NC_SHAPE(6, 7), .state = true }, { NC_SHAPE(6, 7), .state = true } } });
}

/* The columns that top_columns gives for one row of eight. */
static void choose(const float *s, nc_top_attr a, int32_t *out)
{
    nc_error e = { 0 };
    float row[8];
    nc_graph *g = nc_graph_new(NC_F32);
    nc_value *in = nc_input(g, "s", NC_F32, NC_SHAPE(1, 8), -1), *y = nc_top_columns(g, in, &a);
    nc_pool *pool = nc_pool_new(1);
    nc_plan *plan = NULL;
    memcpy(row, s, sizeof row);
    nc_keep(g, y);
    in->data = row;
    assert_int_equal(nc_graph_check(g, &e), 0);
    assert_int_equal(nc_plan_new(g, 1, &plan, &e), 0);
    assert_int_equal(nc_plan_bind(plan, NULL, &e), 0);
    assert_int_equal(nc_plan_run(plan, &(nc_run_options){ .pool = pool, .kernels = nc_kernels_best() }, &e), 0);
    memcpy(out, y->data, sizeof *out * (size_t)a.top);
    nc_plan_free(plan);
    nc_pool_free(pool);
    nc_graph_free(g);
}

static void the_best_are_chosen(void **state)
{
    static const float s[8] = { 0.5f, 0.9f, 0.8f, 0.85f, 0.1f, 0.95f, 0.8f, 0.2f };    /* groups of two: best 0.9 0.85 0.95 0.8, sums 1.4 1.65 1.05 1.0 */
    int32_t out[3];
    (void)state;
    choose(s, (nc_top_attr){ .top = 3 }, out);
    assert_memory_equal(out, ((int32_t[]){ 5, 1, 3 }), sizeof out);
    choose(s, (nc_top_attr){ 3, 4, 2, 1 }, out);                                       /* groups 2 and 0 */
    assert_memory_equal(out, ((int32_t[]){ 5, 1, 0 }), sizeof out);
    choose(s, (nc_top_attr){ 3, 4, 2, 2 }, out);                                       /* groups 1 and 0 */
    assert_memory_equal(out, ((int32_t[]){ 1, 3, 2 }), sizeof out);
    static const float equal[8] = { 1, 2, 2, 1, 2, NAN, 1, 1 };
    choose(equal, (nc_top_attr){ .top = 3 }, out);
    assert_memory_equal(out, ((int32_t[]){ 1, 2, 4 }), sizeof out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_taken_and_put),
        cmocka_unit_test(experts_multiply_their_own_rows),
        cmocka_unit_test(the_best_are_chosen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

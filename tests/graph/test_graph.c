/* test_graph.c - building, differentiating, planning and running, with two small ops of its own: a product and a counter that has an effect. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/rng.h"
#include "graph/core.h"

static int mul_runs, tick_runs;

static void mul_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx);

static int mul_run(const nc_node *n, const nc_run *r)
{
    for (int64_t i = 0, c = nc_live_count(n->out[0], r->counts); i < c; i++)
        nc_dtype_store(n->out[0]->dtype, n->out[0]->data, i,
                       nc_dtype_load(n->in[0]->dtype, n->in[0]->data, i) * nc_dtype_load(n->in[1]->dtype, n->in[1]->data, i));
    mul_runs++;
    return 0;
}

static const nc_op mul_op = { .name = "test_mul", .flags = NC_OP_INPLACE, .infer = nc_infer_same, .grad = mul_grad, .run = mul_run };
static nc_value *mul(nc_graph *g, nc_value *a, nc_value *b) { return nc_emit(g, &mul_op, NULL, 0, (nc_value *[]){ a, b }, 2); }

static void mul_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    dx[0] = mul(g, dy[0], n->in[1]);
    dx[1] = mul(g, dy[0], n->in[0]);
}

static int tick_run(const nc_node *n, const nc_run *r)
{
    int64_t live = nc_live_count(n->in[0], r->counts);

    if (live)
        memcpy(n->out[0]->data, n->in[0]->data, nc_dtype_bytes(n->in[0]->dtype, live));
    tick_runs++;
    return 0;
}

static void tick_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    (void)g, (void)n;
    dx[0] = dy[0];
}

static const nc_op tick_op = { .name = "test_tick", .flags = NC_OP_EFFECT, .infer = nc_infer_same, .grad = tick_grad, .run = tick_run };
static const nc_op blunt_op = { .name = "test_blunt", .infer = nc_infer_same, .run = tick_run };
static nc_value *one(nc_graph *g, const nc_op *op, nc_value *x) { return nc_emit(g, op, NULL, 0, &x, 1); }

static void run(nc_graph *g, const int64_t *counts, nc_plan **out)
{
    nc_error e = { 0 };
    nc_run_options o = { .counts = counts, .kernels = nc_kernels_for(NC_ISA_SCALAR) };

    if (nc_plan_new(g, 1, out, &e) < 0 || nc_plan_bind(*out, NULL, &e) < 0 || nc_plan_run(*out, &o, &e) < 0)
        fail_msg("%s", e.message);
}

static void first_mistake_is_kept(void **state)
{
    (void)state;
    nc_graph *g = nc_graph_new(NC_F32);
    nc_error e = { 0 };
    nc_value *x = nc_input(g, "x", NC_F32, NC_SHAPE(2, 3), -1);
    nc_scope_push(g, "layers.%d", 4);
    nc_value *y = nc_reshape(g, x, NC_SHAPE(7));
    assert_ptr_equal(y, nc_graph_poison(g));
    assert_ptr_equal(nc_slice(g, mul(g, y, x), 0, 0, 100), nc_graph_poison(g));
    assert_int_equal(nc_graph_check(g, &e), NC_ESHAPE);
    assert_non_null(strstr(e.message, "layers.4"));
    assert_non_null(strstr(e.message, "reshape"));
    assert_non_null(strstr(e.message, "[2, 3]"));
    nc_plan *p;
    assert_int_equal(nc_plan_new(g, 1, &p, &e), NC_ESHAPE);
    assert_null(p);
    nc_graph_free(g);
}

static void names_and_counts(void **state)
{
    (void)state;
    nc_graph *g = nc_graph_new(NC_F32);
    int rows = nc_graph_count(g, "rows", 10);
    assert_int_equal(nc_graph_count(g, "rows", 10), rows);
    nc_value *x = nc_input(g, "x", NC_F32, NC_SHAPE(0, 12), rows);
    nc_scope_push(g, "a");
    nc_scope_push(g, "b.%d", 1);
    nc_value *y = nc_name(g, nc_reshape(g, x, NC_SHAPE(-1, 3, 4)), "y");
    nc_value *z = nc_reshape(g, y, NC_SHAPE(-1, 4));
    nc_value *back = nc_reshape(g, z, NC_SHAPE(10, 12));
    nc_scope_pop(g);
    nc_scope_pop(g);
    assert_ptr_equal(nc_graph_find(g, "a.b.1.y"), y);
    assert_null(nc_graph_find(g, "y"));
    assert_int_equal(y->count_scale, 1);
    assert_int_equal(z->count_scale, 3);
    assert_int_equal(z->shape.dim[0], 30);
    assert_int_equal(back->count_scale, 1);
    assert_ptr_equal(back->base, x);
    assert_int_equal(nc_live_rows(z, (int64_t[]){ 4 }), 12);
    nc_graph_count(g, "rows", 11);
    assert_true(nc_graph_failed(g));
    nc_graph_free(g);
}

/* Spans of time that meet never share bytes, and the arena is no larger than all buffers side by side nor smaller than the busiest moment. */
static void layout_is_sound(void **state)
{
    (void)state;
    nc_rng r = nc_rng_new(1, 2);
    for (int round = 0; round < 50; round++) {
        enum { N = 60 };
        nc_lifetime life[N];
        size_t at[N], all = 0, busiest = 0;
        for (int i = 0; i < N; i++) {
            int first = (int)nc_rng_below(&r, 40);
            life[i] = (nc_lifetime){ 64 * (1 + nc_rng_below(&r, 50)), first, first + (int)nc_rng_below(&r, 12) };
            all += life[i].bytes;
        }
        size_t arena = nc_layout(life, N, at);
        for (int i = 0; i < N; i++)
            for (int j = 0; j < i; j++)
                if (life[i].first <= life[j].last && life[j].first <= life[i].last)
                    assert_true(at[i] + life[i].bytes <= at[j] || at[j] + life[j].bytes <= at[i]);
        for (int t = 0; t < 60; t++) {
            size_t now = 0;
            for (int i = 0; i < N; i++)
                now += life[i].first <= t && t <= life[i].last ? life[i].bytes : 0;
            busiest = now > busiest ? now : busiest;
        }
        assert_true(arena >= busiest && arena <= all);
        assert_true((double)arena <= 1.25 * (double)busiest);
    }
}

static void memory_is_shared_and_dead_nodes_dropped(void **state)
{
    (void)state;
    nc_graph *g = nc_graph_new(NC_F32);
    float data[64];
    nc_plan *p;
    nc_value *x = nc_input(g, "x", NC_F32, NC_SHAPE(64), -1), *y = x;
    for (int i = 0; i < 64; i++)
        data[i] = 1 + (float)i / 64;
    x->data = data;
    for (int i = 0; i < 5; i++)
        y = mul(g, y, x);                               /* the first makes a buffer, the others run in it */
    mul(g, y, y);                                       /* nobody reads this */
    nc_keep(g, y);
    mul_runs = 0;
    run(g, NULL, &p);
    assert_int_equal(mul_runs, 5);
    assert_int_equal(nc_plan_bytes(p), 64 * sizeof(float));
    for (int i = 0; i < 64; i++)
        assert_float_equal(((float *)y->data)[i], powf(data[i], 6), 1e-3);
    double flops, bytes;
    nc_plan_cost(p, NULL, &flops, &bytes);
    assert_true(bytes == 5.0 * 3 * 64 * 4);
    nc_plan_free(p);
    nc_graph_free(g);
}

/* f = sum(x^3) has gradient 3x^2; the sum of that gradient has gradient 6x. */
static void second_derivative(void **state)
{
    (void)state;
    nc_graph *g = nc_graph_new(NC_F64);
    double data[5] = { -2, -0.5, 0, 1, 3 };
    nc_plan *p;
    nc_value *x = nc_input(g, "x", NC_F64, NC_SHAPE(5), -1);
    x->data = data;
    x->wants_grad = true;
    nc_value *loss = nc_sum_all(g, mul(g, mul(g, x, x), x));
    assert_int_equal(nc_graph_backward(g, loss, false, NULL), 0);
    nc_value *first = nc_graph_gradient(g, x);
    nc_keep(g, first);
    assert_int_equal(nc_graph_backward(g, nc_sum_all(g, first), false, NULL), 0);
    nc_value *second = nc_graph_gradient(g, x);
    nc_keep(g, second);
    run(g, NULL, &p);
    for (int i = 0; i < 5; i++) {
        assert_float_equal(((double *)first->data)[i], 3 * data[i] * data[i], 1e-12);
        assert_float_equal(((double *)second->data)[i], 6 * data[i], 1e-12);
    }
    nc_plan_free(p);
    nc_graph_free(g);
}

/* Slices of a weight in three places: their gradients chain into the given state, over two runs twice as much; no addition is emitted. */
static void gradients_go_into_a_state(void **state)
{
    (void)state;
    nc_graph *g = nc_graph_new(NC_F32);
    float w[12], sum[12] = { 0 };
    nc_plan *p;
    nc_error e = { 0 };
    for (int i = 0; i < 12; i++)
        w[i] = (float)(i + 1);
    nc_value *weight = nc_state(g, "w", NC_F32, NC_SHAPE(3, 4), w);
    weight->wants_grad = true;
    weight->grad_into = nc_state(g, "w.grad", NC_F32, NC_SHAPE(3, 4), sum);
    nc_value *a = nc_slice(g, weight, 1, 0, 2), *b = nc_slice(g, weight, 1, 2, 2), *c = nc_slice(g, weight, 1, 1, 2);
    nc_value *loss = nc_sum_all(g, mul(g, mul(g, a, b), c));
    assert_int_equal(nc_graph_backward(g, loss, false, &e), 0);
    for (int i = 0; i < nc_graph_nodes(g); i++)
        assert_false(nc_graph_node(g, i)->op == nc_op_find("accumulate"));
    run(g, NULL, &p);
    assert_int_equal(nc_plan_run(p, &(nc_run_options){ 0 }, &e), 0);
    for (int row = 0; row < 3; row++) {
        const float *v = &w[4 * row];                   /* loss = v0 v2 v1 + v1 v3 v2 */
        float want[4] = { v[2] * v[1], v[0] * v[2] + v[3] * v[2], v[0] * v[1] + v[1] * v[3], v[1] * v[2] };
        for (int k = 0; k < 4; k++)
            assert_float_equal(sum[4 * row + k], 2 * want[k], 1e-3);
    }
    nc_plan_free(p);
    nc_graph_free(g);
}

/* An accumulator that is read again afterwards keeps its value: the plan gives the sum its own memory. */
static void accumulator_read_later_is_copied(void **state)
{
    (void)state;
    nc_graph *g = nc_graph_new(NC_F32);
    float data[3] = { 1, 2, 3 };
    nc_plan *p;
    nc_value *x = nc_input(g, "x", NC_F32, NC_SHAPE(3), -1);
    x->data = data;
    nc_value *square = mul(g, x, x), *sum = nc_accumulate(g, x, square), *later = mul(g, square, sum);
    nc_keep(g, later);
    run(g, NULL, &p);
    assert_true(sum->node->copy_acc);
    for (int i = 0; i < 3; i++)
        assert_float_equal(((float *)later->data)[i], data[i] * data[i] * (data[i] * data[i] + data[i]), 1e-5);
    nc_plan_free(p);
    nc_graph_free(g);
}

/* The gradient of eight blocks of four squarings, made with and without recomputation. */
static size_t deep(bool recompute, double *gradient, double *ticks)
{
    nc_graph *g = nc_graph_new(NC_F64);
    static double data[1000];
    nc_plan *p;
    nc_error e = { 0 };
    for (int i = 0; i < 1000; i++)
        data[i] = 1 + 1e-9 * i;
    nc_value *x = nc_input(g, "x", NC_F64, NC_SHAPE(1000), -1), *h;
    x->data = data;
    x->wants_grad = true;
    h = x;
    for (int layer = 0; layer < 8; layer++) {
        nc_scope_push(g, "layer.%d", layer);
        nc_block_begin(g);
        for (int i = 0; i < 3; i++)
            h = nc_reshape(g, mul(g, h, h), i & 1 ? NC_SHAPE(1000) : NC_SHAPE(10, 100));
        h = nc_reshape(g, mul(g, h, one(g, &tick_op, h)), NC_SHAPE(1000));
        nc_block_end(g);
        nc_scope_pop(g);
    }
    if (nc_graph_backward(g, nc_sum_all(g, h), recompute, &e) < 0)
        fail_msg("%s", e.message);
    nc_value *d = nc_graph_gradient(g, x);
    nc_keep(g, d);
    tick_runs = 0;
    run(g, NULL, &p);
    *ticks = tick_runs;
    memcpy(gradient, d->data, sizeof data);
    size_t bytes = nc_plan_bytes(p);
    nc_plan_free(p);
    nc_graph_free(g);
    return bytes;
}

static void recomputation_saves_memory_and_changes_no_bit(void **state)
{
    (void)state;
    static double a[1000], b[1000];
    double ticks_a, ticks_b;
    size_t kept = deep(false, a, &ticks_a), made_again = deep(true, b, &ticks_b);
    assert_memory_equal(a, b, sizeof a);
    assert_float_equal(a[0], 4294967296.0, 1e-3);
    assert_true(made_again < kept * 7 / 10);
    assert_true(ticks_a == 8 && ticks_b == 8);
}

static void refusals_say_why(void **state)
{
    (void)state;
    nc_graph *g = nc_graph_new(NC_F32);
    nc_error e = { 0 };
    nc_plan *p;
    int rows = nc_graph_count(g, "rows", 4);
    nc_value *x = nc_input(g, "x", NC_F32, NC_SHAPE(0, 2), rows), *y = one(g, &blunt_op, x);
    nc_keep(g, y);
    assert_int_equal(nc_graph_backward(g, nc_sum_all(g, y), false, &e), NC_EINVAL);
    assert_int_equal(nc_plan_new(g, 1, &p, &e), 0);
    assert_int_equal(nc_plan_run(p, &(nc_run_options){ 0 }, &e), NC_EINVAL);
    assert_non_null(strstr(e.message, "not bound"));
    assert_int_equal(nc_plan_bind(p, NULL, &e), 0);
    assert_int_equal(nc_plan_run(p, &(nc_run_options){ .counts = (int64_t[]){ 5 } }, &e), NC_EINVAL);
    assert_non_null(strstr(e.message, "rows is 5"));
    assert_int_equal(nc_plan_run(p, &(nc_run_options){ .counts = (int64_t[]){ 3 } }, &e), NC_EINVAL);
    assert_non_null(strstr(e.message, "input x has no data"));
    assert_int_equal(nc_plan_run(p, &(nc_run_options){ .counts = (int64_t[]){ 0 } }, &e), 0);
    nc_plan_free(p);
    nc_graph_free(g);

    g = nc_graph_new(NC_F32);
    x = nc_input(g, "x", NC_F32, NC_SHAPE(2), -1);
    x->wants_grad = true;
    assert_int_equal(nc_graph_backward(g, nc_sum_all(g, one(g, &blunt_op, x)), false, &e), NC_EUNSUPPORTED);
    assert_non_null(strstr(e.message, "test_blunt"));
    nc_graph_free(g);
}

static void profile_adds_up(void **state)
{
    (void)state;
    nc_graph *g = nc_graph_new(NC_F32);
    float data[4] = { 1, 2, 3, 4 };
    nc_plan *p;
    nc_buf table = { 0 };
    nc_value *x = nc_input(g, "x", NC_F32, NC_SHAPE(4), -1);
    x->data = data;
    nc_scope_push(g, "block");
    nc_keep(g, mul(g, x, x));
    nc_scope_pop(g);
    run(g, NULL, &p);
    nc_plan_profile(p, true);
    for (int i = 0; i < 3; i++)
        assert_int_equal(nc_plan_run(p, &(nc_run_options){ 0 }, NULL), 0);
    nc_plan_profile_table(p, 100, 50, &table);
    assert_non_null(strstr(table.p, "test_mul"));
    assert_non_null(strstr(table.p, "block"));
    assert_int_equal(p->calls[0], 3);
    assert_true(p->moved[0] == 3 * 3 * 16);
    nc_buf_free(&table);
    nc_plan_free(p);
    nc_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_mistake_is_kept), cmocka_unit_test(names_and_counts), cmocka_unit_test(layout_is_sound),
        cmocka_unit_test(memory_is_shared_and_dead_nodes_dropped), cmocka_unit_test(second_derivative), cmocka_unit_test(gradients_go_into_a_state),
        cmocka_unit_test(accumulator_read_later_is_copied), cmocka_unit_test(recomputation_saves_memory_and_changes_no_bit),
        cmocka_unit_test(refusals_say_why), cmocka_unit_test(profile_adds_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

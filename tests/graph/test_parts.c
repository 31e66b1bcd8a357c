/* test_parts.c - gradients of q, k and v that are slices of one product, written where they belong: values, gradients and bits as ever, no unslice left;
 * and the cases where the chain has to stay.
 */
#include "graph/core.h"
#include "graph/spans.h"
#include "graph/op_check.h"

enum { H = 4, G = 2, A = 6 };
typedef struct arg { nc_span span[2]; int spans; int64_t more; bool k_first, used; } arg;

/* x -> [q | k | v | more] by something that is a node; `used`: dk is asked for beside. */
static nc_value *build(nc_graph *g, nc_value *const *in, const void *p)
{
    const arg *a = p;
    nc_spans *spans = NC_NEW(nc_graph_arena(g), nc_spans);
    *spans = (nc_spans){ (nc_span *)a->span, a->spans };
    nc_value *x = nc_affine(g, in[0], 1.25, 0);
    const int64_t N = x->shape.dim[0], from_q = a->k_first ? G * A : 0, from_k = a->k_first ? 0 : H * A;
    nc_value *q = nc_slice(g, x, 1, from_q, H * A), *k = nc_slice(g, x, 1, from_k, G * A), *v = nc_slice(g, x, 1, (H + G) * A, G * A);
    nc_value *heads = nc_reshape(g, k, NC_SHAPE(N, G, A));
    nc_value *y = nc_attention(g, nc_reshape(g, q, NC_SHAPE(N, H, A)), heads, nc_reshape(g, v, NC_SHAPE(N, G, A)), &(nc_attention_attr){ .spans = spans });
    y = nc_reshape(g, y, NC_SHAPE(N, H * A));
    return a->used ? nc_add(g, y, nc_concat(g, (nc_value *[]){ k, k }, 2, 1)) : y;
}

static int unslices(const arg *a, int64_t rows, bool *apart)
{
    nc_error e = { 0 };
    nc_plan *plan;
    nc_graph *g = nc_graph_new(NC_F32);
    nc_value *x = nc_input(g, "x", NC_F32, NC_SHAPE(rows, (H + 2 * G) * A + a->more), -1);
    x->wants_grad = true;
    nc_value *y = build(g, &x, a);
    assert_int_equal(nc_graph_backward(g, nc_sum_all(g, y), false, &e), 0);
    nc_keep(g, nc_graph_gradient(g, x));
    assert_int_equal(nc_plan_new(g, 1, &plan, &e), 0);
    int left = 0;
    *apart = false;
    for (int i = 0; i < plan->steps; i++) {
        const nc_node *n = plan->step[i].node;
        left += n->op == &nc_op_unslice;
        if (n->op == &nc_op_attention_grad)
            *apart = !nc_value_is_contiguous(n->out[0]) && !nc_value_is_contiguous(n->out[1]) && !nc_value_is_contiguous(n->out[2]);
    }
    nc_plan_free(plan);
    nc_graph_free(g);
    return left;
}

static void check(const char *name, const arg *a, int64_t rows, bool placed)
{
    bool apart;
    assert_int_equal(unslices(a, rows, &apart) == 0, placed);
    assert_int_equal(apart, placed);
    op_check(&(op_case){ .name = name, .build = build, .arg = a, .no_live = true, .in = { { NC_SHAPE(rows, (H + 2 * G) * A + a->more), .counted = true } } });
}

static void parts(void **state)
{
    const nc_span two[2] = { { 0, 5, 0, 5, 0, -1, 0, 0, NC_SIGHT_CAUSAL }, { 5, 70, 5, 70, 0, -1, 0, 0, NC_SIGHT_CAUSAL } };
    arg a = { { two[0], two[1] }, 2, 0, false, false };
    (void)state;
    check("parts in place", &a, 75, true);
    a.k_first = true;
    check("parts in another order", &a, 75, true);
    arg gap = { { { 2, 3, 1, 3, 0, -1, 0, 0, NC_SIGHT_CAUSAL } }, 1, 0, false, false };
    check("parts with rows of no span", &gap, 7, true);
    a.more = 3;
    check("parts that leave columns over", &a, 75, false);
    a.more = 0, a.used = true;
    check("a part with another reader", &a, 75, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(parts) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_attention.c - the attention op by op_check: every rule of sight, grouped heads, odd sizes, soft cap, window, cross attention; gradients by differences. */
#include "graph/op_check.h"
#include "graph/spans.h"

typedef struct rule { nc_span span[4]; int spans; double scale, soft_cap; int window; bool lse; } rule;

static nc_value *build(nc_graph *g, nc_value *const *in, const void *arg)
{
    const rule *r = arg;
    nc_spans *spans = NC_NEW(nc_graph_arena(g), nc_spans);

    *spans = (nc_spans){ (nc_span *)r->span, r->spans };
    nc_value *y = nc_attention(g, in[0], in[1], in[2], &(nc_attention_attr){ .spans = spans, .scale = r->scale, .soft_cap = r->soft_cap, .window = r->window });
    return r->lse ? nc_output(y, 1) : y;
}

static void check(const char *name, const rule *r, int64_t N, int64_t M, int64_t H, int64_t G, int64_t A, int64_t V)
{
    op_check(&(op_case){ .name = name, .build = build, .arg = r, .no_live = true, .tol_bf16 = 2e-2, .tol_grad_bf16 = 4e-2,
                         .in = { { NC_SHAPE(N, H, A) }, { NC_SHAPE(M, G, A) }, { NC_SHAPE(M, G, V) } } });
}

static void test_causal(void **state)
{
    (void)state;
    check("causal", &(rule){ .span = { { 0, 5, 0, 5, 0, -1, 0, NC_SIGHT_CAUSAL }, { 5, 2, 5, 2, 0, -1, 0, NC_SIGHT_CAUSAL } }, .spans = 2 }, 7, 7, 2, 2, 8, 8);
    check("causal, grouped", &(rule){ .span = { { 0, 70, 0, 70, 0, -1, 0, NC_SIGHT_CAUSAL } }, .spans = 1 }, 70, 70, 6, 2, 10, 6);
    /* One row sees itself alone: the gradients of q and k are zero, and rounding noise has nothing to be measured against. */
    op_check(&(op_case){ .name = "causal, one row", .build = build, .arg = &(rule){ .span = { { 0, 1, 0, 1, 0, -1, 0, NC_SIGHT_CAUSAL } }, .spans = 1 }, .no_live = true,
                         .no_grad = true, .in = { { NC_SHAPE(1, 2, 4) }, { NC_SHAPE(1, 1, 4) }, { NC_SHAPE(1, 1, 4) } } });
}

static void test_full(void **state)
{
    (void)state;
    check("full", &(rule){ .span = { { 0, 33, 0, 33, 0, -1, 0, NC_SIGHT_FULL } }, .spans = 1, .scale = 0.3 }, 33, 33, 3, 3, 18, 18);
    check("cross", &(rule){ .span = { { 0, 3, 0, 66, 0, -1, 0, NC_SIGHT_FULL }, { 3, 4, 66, 4, 0, -1, 0, NC_SIGHT_FULL } }, .spans = 2 }, 7, 70, 2, 1, 8, 12);
    check("full, window", &(rule){ .span = { { 0, 140, 0, 140, 0, -1, 0, NC_SIGHT_FULL } }, .spans = 1, .window = 20 }, 140, 140, 1, 1, 4, 4);
    check("keys shared by spans", &(rule){ .span = { { 0, 3, 0, 3, 0, -1, 0, NC_SIGHT_CAUSAL }, { 3, 6, 0, 9, 3, -1, 9, NC_SIGHT_PREFIX }, { 9, 4, 0, 13, 9, -1, 0, NC_SIGHT_CAUSAL } }, .spans = 3, .window = 4 }, 13, 13, 2, 1, 6, 6);
    check("rows of no span", &(rule){ .span = { { 2, 3, 1, 3, 0, -1, 0, NC_SIGHT_CAUSAL } }, .spans = 1 }, 7, 6, 2, 1, 4, 4);
}

static void test_prefix(void **state)
{
    (void)state;
    check("prefix", &(rule){ .span = { { 0, 80, 0, 80, 0, -1, 66, NC_SIGHT_PREFIX } }, .spans = 1 }, 80, 80, 2, 2, 8, 8);
    check("prefix, window", &(rule){ .span = { { 0, 20, 0, 20, 0, -1, 9, NC_SIGHT_PREFIX } }, .spans = 1, .window = 5 }, 20, 20, 2, 2, 8, 8);
}

static void test_soft_cap(void **state)
{
    (void)state;
    check("soft cap", &(rule){ .span = { { 0, 21, 0, 21, 0, -1, 0, NC_SIGHT_CAUSAL } }, .spans = 1, .scale = 0.5, .soft_cap = 2.0, .window = 7 }, 21, 21, 4, 2, 8, 8);
    check("log-sum-exp", &(rule){ .span = { { 0, 21, 0, 21, 0, -1, 0, NC_SIGHT_CAUSAL } }, .spans = 1, .soft_cap = 3.0, .lse = true }, 21, 21, 2, 2, 8, 8);
}

static void test_refused(void **state)
{
    (void)state;
    op_check_refused(&(op_case){ .name = "heads", .build = build, .arg = &(rule){ .spans = 0 },
                                 .in = { { NC_SHAPE(4, 3, 8) }, { NC_SHAPE(4, 2, 8) }, { NC_SHAPE(4, 2, 8) } } }, NC_ESHAPE, "H a multiple of G");
    op_check_refused(&(op_case){ .name = "window", .build = build, .arg = &(rule){ .window = -1 },
                                 .in = { { NC_SHAPE(4, 2, 8) }, { NC_SHAPE(4, 2, 8) }, { NC_SHAPE(4, 2, 8) } } }, NC_EINVAL, "window");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_causal), cmocka_unit_test(test_full), cmocka_unit_test(test_prefix), cmocka_unit_test(test_soft_cap),
                                        cmocka_unit_test(test_refused) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

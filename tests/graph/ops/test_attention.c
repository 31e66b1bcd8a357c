/* test_attention.c - the attention op by op_check: every rule of sight, grouped heads, odd sizes, soft cap, window, cross attention; gradients by differences. */
#include "graph/op_check.h"
#include "graph/spans.h"

typedef struct rule { nc_span span[4]; int spans; double scale, soft_cap; int window; bool lse; const float *slopes; } rule;

static nc_value *build(nc_graph *g, nc_value *const *in, const void *arg)
{
    const rule *r = arg;
    nc_spans *spans = NC_NEW(nc_graph_arena(g), nc_spans);

    *spans = (nc_spans){ (nc_span *)r->span, r->spans };
    nc_value *y = nc_attention(g, in[0], in[1], in[2], &(nc_attention_attr){ .spans = spans, .scale = r->scale, .soft_cap = r->soft_cap, .window = r->window, .slopes = r->slopes });
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
    check("causal", &(rule){ .span = { { 0, 5, 0, 5, 0, -1, 0, 0, NC_SIGHT_CAUSAL }, { 5, 2, 5, 2, 0, -1, 0, 0, NC_SIGHT_CAUSAL } }, .spans = 2 }, 7, 7, 2, 2, 8, 8);
    check("causal, grouped", &(rule){ .span = { { 0, 70, 0, 70, 0, -1, 0, 0, NC_SIGHT_CAUSAL } }, .spans = 1 }, 70, 70, 6, 2, 10, 6);
    /* One row sees itself alone: the gradients of q and k are zero, and rounding noise has nothing to be measured against. */
    op_check(&(op_case){ .name = "causal, one row", .build = build, .arg = &(rule){ .span = { { 0, 1, 0, 1, 0, -1, 0, 0, NC_SIGHT_CAUSAL } }, .spans = 1 }, .no_live = true,
                         .no_grad = true, .in = { { NC_SHAPE(1, 2, 4) }, { NC_SHAPE(1, 1, 4) }, { NC_SHAPE(1, 1, 4) } } });
}

static void test_full(void **state)
{
    (void)state;
    check("full", &(rule){ .span = { { 0, 33, 0, 33, 0, -1, 0, 0, NC_SIGHT_FULL } }, .spans = 1, .scale = 0.3 }, 33, 33, 3, 3, 18, 18);
    check("cross", &(rule){ .span = { { 0, 3, 0, 66, 0, -1, 0, 0, NC_SIGHT_FULL }, { 3, 4, 66, 4, 0, -1, 0, 0, NC_SIGHT_FULL } }, .spans = 2 }, 7, 70, 2, 1, 8, 12);
    check("full, window", &(rule){ .span = { { 0, 140, 0, 140, 0, -1, 0, 0, NC_SIGHT_FULL } }, .spans = 1, .window = 20 }, 140, 140, 1, 1, 4, 4);
    check("keys shared by spans", &(rule){ .span = { { 0, 3, 0, 3, 0, -1, 0, 0, NC_SIGHT_CAUSAL }, { 3, 6, 0, 9, 3, -1, 0, 9, NC_SIGHT_PREFIX }, { 9, 4, 0, 13, 9, -1, 0, 0, NC_SIGHT_CAUSAL } }, .spans = 3, .window = 4 }, 13, 13, 2, 1, 6, 6);
    check("rows of no span", &(rule){ .span = { { 2, 3, 1, 3, 0, -1, 0, 0, NC_SIGHT_CAUSAL } }, .spans = 1 }, 7, 6, 2, 1, 4, 4);
}

static void test_prefix(void **state)
{
    (void)state;
    check("prefix", &(rule){ .span = { { 0, 80, 0, 80, 0, -1, 0, 66, NC_SIGHT_PREFIX } }, .spans = 1 }, 80, 80, 2, 2, 8, 8);
    check("prefix, window", &(rule){ .span = { { 0, 20, 0, 20, 0, -1, 0, 9, NC_SIGHT_PREFIX } }, .spans = 1, .window = 5 }, 20, 20, 2, 2, 8, 8);
}

static void test_soft_cap(void **state)
{
    (void)state;
    check("soft cap", &(rule){ .span = { { 0, 21, 0, 21, 0, -1, 0, 0, NC_SIGHT_CAUSAL } }, .spans = 1, .scale = 0.5, .soft_cap = 2.0, .window = 7 }, 21, 21, 4, 2, 8, 8);
    check("log-sum-exp", &(rule){ .span = { { 0, 21, 0, 21, 0, -1, 0, 0, NC_SIGHT_CAUSAL } }, .spans = 1, .soft_cap = 3.0, .lse = true }, 21, 21, 2, 2, 8, 8);
}

static void test_slopes(void **state)
{
    static const float slopes[] = { 0.5f, 0.0625f, 0.7071f, 0.25f };
    (void)state;
    check("ALiBi", &(rule){ .span = { { 0, 70, 0, 70, 0, -1, 0, 0, NC_SIGHT_CAUSAL }, { 70, 9, 70, 9, 0, -1, 0, 0, NC_SIGHT_CAUSAL } }, .spans = 2, .slopes = slopes }, 79, 79, 4, 2, 10, 6);
    check("ALiBi, full", &(rule){ .span = { { 0, 5, 0, 140, 3, -1, 0, 0, NC_SIGHT_FULL } }, .spans = 1, .scale = 0.3, .slopes = slopes }, 5, 140, 2, 2, 8, 8);
}

/* ---- a bias by distance, and by codes of the rows ---- */
static nc_value *build_biased(nc_graph *g, nc_value *const *in, const void *arg)
{
    const rule *r = arg;
    nc_spans *spans = NC_NEW(nc_graph_arena(g), nc_spans);

    *spans = (nc_spans){ (nc_span *)r->span, r->spans };
    return nc_attention(g, in[0], in[1], in[2], &(nc_attention_attr){ .spans = spans, .scale = r->scale, .window = r->window, .bias = in[3], .q_code = in[4], .k_code = in[5], .bias_offset = 4 });
}

static void check_biased(const char *name, const rule *r, int64_t N, int64_t M, int64_t H, int64_t G, int64_t A, int64_t V, const int32_t *q_code, const int32_t *k_code)
{
    op_input codes[2] = { { .shape = NC_SHAPE(N), .ints = q_code }, { .shape = NC_SHAPE(M), .ints = k_code } };
    op_case c = { .name = name, .build = build_biased, .arg = r, .no_live = true, .tol_bf16 = 2e-2, .tol_grad_bf16 = 4e-2,
                  .in = { { NC_SHAPE(N, H, A) }, { NC_SHAPE(M, G, A) }, { NC_SHAPE(M, G, V) }, { NC_SHAPE(H, 9), .f32 = true, .no_strided = true } } };

    for (int i = 0; i < 2 && q_code; i++)
        c.in[4 + i] = codes[i];
    op_check(&c);
}

static void test_bias(void **state)
{
    static int32_t q_code[70], k_code[90];
    nc_rng r = nc_rng_new(11, 0);

    (void)state;
    check_biased("bias by distance", &(rule){ .span = { { 0, 70, 0, 70, 0, -1, 0, 0, NC_SIGHT_CAUSAL }, { 70, 9, 70, 9, 0, -1, 0, 0, NC_SIGHT_FULL } }, .spans = 2, .scale = 1 }, 79, 79, 4, 2, 8, 6,
                 NULL, NULL);
    check_biased("bias, both ways", &(rule){ .span = { { 0, 67, 0, 67, 0, -1, 0, 0, NC_SIGHT_FULL } }, .spans = 1, .scale = 0.4 }, 67, 67, 3, 3, 5, 5, NULL, NULL);
    for (int i = 0; i < 90; i++) {
        k_code[i] = (int32_t)nc_rng_below(&r, 7) - 3;
        q_code[i % 70] = (int32_t)nc_rng_below(&r, 9) - 4;
    }
    check_biased("bias by codes", &(rule){ .span = { { 0, 66, 0, 80, 0, -1, 0, 0, NC_SIGHT_FULL }, { 66, 4, 80, 10, 0, -1, 0, 0, NC_SIGHT_FULL } }, .spans = 2 }, 70, 90, 2, 2, 8, 8, q_code, k_code);
}

/* Lists of keys: some rows see few, some none of a whole block. */
static nc_value *build_listed(nc_graph *g, nc_value *const *in, const void *arg)
{
    const rule *r = arg;
    nc_spans *spans = NC_NEW(nc_graph_arena(g), nc_spans);
    *spans = (nc_spans){ (nc_span *)r->span, r->spans };
    return nc_attention(g, in[0], in[1], in[2], &(nc_attention_attr){ .spans = spans, .scale = r->scale, .list = in[3] });
}

static void test_listed(void **state)
{
    enum { N = 150, L = 9 };
    static int32_t list[N * L];
    nc_rng random = nc_rng_new(11, 1);
    (void)state;
    for (int i = 0; i < N; i++) {
        int count = 0, index = i < 80 ? i : i - 80;
        for (int j = 0; j <= index && count < L; j++)        /* the own key, and now and then another */
            if (j == index || (count < L - 1 && nc_rng_below(&random, (uint64_t)(index + 1)) < L - 1))
                list[i * L + count++] = j;
        while (count < L)
            list[i * L + count++] = INT32_MAX;
    }
    rule r = { .span = { { 0, 80, 0, 80, 0, -1, 0, 0, NC_SIGHT_CAUSAL }, { 80, 70, 80, 70, 0, -1, 0, 0, NC_SIGHT_CAUSAL } }, .spans = 2 };
    op_check(&(op_case){ .name = "lists of keys", .build = build_listed, .arg = &r, .no_live = true, .no_strided = true, .tol_bf16 = 2e-2, .tol_grad_bf16 = 4e-2,
                         .in = { { NC_SHAPE(N, 4, 10) }, { NC_SHAPE(N, 2, 10) }, { NC_SHAPE(N, 2, 6) }, { NC_SHAPE(N, L), .ints = list, .no_strided = true } } });
}

/* ---- the cached op: rows come in chunks, the cache is two arrays; the same bits as the whole, and no gradient ---- */
enum { LAYERS = 2, BLOCKS = 3, ROWS = 130, HEADS = 4, GROUPS = 2, A = 6, V = 8 };
typedef struct store { nc_cache cache; _Alignas(64) char keys[LAYERS][BLOCKS][GROUPS * A * 64 * 4]; _Alignas(64) char values[LAYERS][BLOCKS][GROUPS * V * 64 * 4]; } store;
static void *keys_at(nc_cache *c, int slot, int layer, int block) { return ((store *)c)->keys[layer][block + slot]; }
static void *values_at(nc_cache *c, int slot, int layer, int block) { return ((store *)c)->values[layer][block + slot]; }

/* Runs rows [from, to) of random q, k, v through a graph with or without the cache; out [to - from][HEADS * V]. */
static void run_rows(nc_dtype t, store *cache, int64_t from, int64_t to, void *out)
{
    nc_graph *g = nc_graph_new(t);
    int64_t n = to - from, width[3] = { HEADS * A, GROUPS * A, GROUPS * V };
    nc_shape shape[3] = { NC_SHAPE(n, HEADS, A), NC_SHAPE(n, GROUPS, A), NC_SHAPE(n, GROUPS, V) };
    nc_span span = { .q_rows = (int32_t)n, .k_rows = (int32_t)n, .q_index = (int32_t)from, .sight = NC_SIGHT_CAUSAL };
    nc_spans spans = { &span, 1 };
    nc_value *in[3];
    nc_error e = { 0 };
    nc_plan *p;

    for (int i = 0; i < 3; i++) {
        nc_rng r = nc_rng_new(3, (uint64_t)i);
        in[i] = nc_input(g, "x", t, shape[i], -1);
        in[i]->data = nc_arena_alloc(nc_graph_arena(g), nc_dtype_bytes(t, n * width[i]));
        for (int64_t k = 0; k < to * width[i]; k++) {
            double v = nc_rng_normal(&r);
            if (k >= from * width[i])
                nc_dtype_store(t, in[i]->data, k - from * width[i], v);
        }
    }
    nc_value *y = nc_attention(g, in[0], in[1], in[2], &(nc_attention_attr){ .spans = &spans, .cache = cache ? &cache->cache : NULL, .layer = 1, .slopes = (const float[]){ 0.25f, 0.5f, 0.01f, 1 } });
    nc_keep(g, y);
    if (nc_plan_new(g, 1, &p, &e) < 0 || nc_plan_bind(p, NULL, &e) < 0 || nc_plan_run(p, &(nc_run_options){ 0 }, &e) < 0)
        fail_msg("%s", e.message);
    memcpy(out, y->data, nc_dtype_bytes(t, n * HEADS * V));
    nc_plan_free(p);
    nc_graph_free(g);
}

static void test_cached(void **state)
{
    static const int64_t cuts[] = { 0, 50, 51, 64, 129, ROWS };
    static char whole[ROWS * HEADS * V * 4], part[ROWS * HEADS * V * 4];
    static store cache;

    (void)state;
    for (int t = 0; t < 2; t++) {
        nc_dtype type = t ? NC_BF16 : NC_F32;
        size_t row = nc_dtype_bytes(type, HEADS * V);
        memset(&cache, 0, sizeof cache);
        cache.cache = (nc_cache){ .bf16 = type == NC_BF16, .keys = keys_at, .values = values_at };
        run_rows(type, NULL, 0, ROWS, whole);
        for (int i = 0; i + 1 < NC_COUNT(cuts); i++) {
            run_rows(type, &cache, cuts[i], cuts[i + 1], part);
            assert_memory_equal(part, whole + row * (size_t)cuts[i], row * (size_t)(cuts[i + 1] - cuts[i]));
        }
        for (size_t i = 0; i < sizeof cache.keys[0]; i++)
            assert_int_equal(((char *)cache.keys[0])[i], 0); /* the other layer is untouched */
    }
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
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_causal), cmocka_unit_test(test_full), cmocka_unit_test(test_prefix), cmocka_unit_test(test_soft_cap), cmocka_unit_test(test_slopes), cmocka_unit_test(test_listed), cmocka_unit_test(test_bias), cmocka_unit_test(test_cached),
                                        cmocka_unit_test(test_refused) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

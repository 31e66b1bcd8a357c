/* test_recurrent.c - recurrences over rows by op_check (several spans, odd sizes, more rows than a chunk; gradients by differences), and with a cache: rows in chunks
 * have the bits of the whole, whatever lay in a fresh slot. */
#include "graph/op_check.h"
#include "graph/spans.h"
#include "kernels/recurrent.h"

enum kind { CONV, SHIFT, LINEAR, DELTA, SELECTIVE, WKV, KINDS };
typedef struct ask { enum kind kind; nc_span span[3]; int spans; } ask;

static nc_value *emit(nc_graph *g, enum kind kind, nc_value *const *in, const nc_recurrent_attr *attr)
{
    nc_value *decay = in[3] && (kind == LINEAR || kind == DELTA) ? nc_unary_op(g, NC_SIGMOID, in[3]) : NULL;
    switch (kind) {
    case CONV: return nc_causal_conv(g, in[0], in[1], in[2], attr);
    case SHIFT: return nc_causal_conv(g, in[0], NULL, NULL, attr);
    case LINEAR: return nc_linear_scan(g, in[0], in[1], in[2], decay, NULL, attr);
    case DELTA: return nc_linear_scan(g, nc_l2_norm(g, in[0], 1e-6), nc_l2_norm(g, in[1], 1e-6), in[2], decay, nc_unary_op(g, NC_SIGMOID, in[4]), attr);
    case SELECTIVE: return nc_selective_scan(g, in[0], nc_unary_op(g, NC_SOFTPLUS, in[1]), nc_affine(g, nc_unary_op(g, NC_EXP, in[2]), -1, 0), in[3], in[4], attr);
    default: return nc_wkv(g, in[0], in[1], nc_affine(g, nc_unary_op(g, NC_EXP, in[2]), -1, 0), in[3], attr);
    }
}

static nc_value *build(nc_graph *g, nc_value *const *in, const void *arg)
{
    const ask *a = arg;
    nc_spans *spans = NC_NEW(nc_graph_arena(g), nc_spans);
    *spans = (nc_spans){ (nc_span *)a->span, a->spans };
    return emit(g, a->kind, in, &(nc_recurrent_attr){ .spans = spans });
}

#define ROWS(first, n) { .q_row = (first), .q_rows = (n), .slot = -1 }
#define CHECK(what, asked, ...) \
    op_check(&(op_case){ .name = what, .build = build, .arg = &(asked), .no_live = true, .no_bf16 = true, .tol_f32 = 4e-5, .tol_grad_f32 = 2e-4, .in = { __VA_ARGS__ } })
#define IN(...) { NC_SHAPE(__VA_ARGS__), .f32 = true }

static void test_conv(void **state)
{
    (void)state;
    CHECK("causal conv", ((ask){ CONV, { ROWS(0, 9), ROWS(11, 2) }, 2 }), IN(13, 70), IN(70, 4), IN(70));
    CHECK("as many channels as rows", ((ask){ CONV, { ROWS(0, 3), ROWS(3, 2) }, 2 }), IN(5, 5), IN(5, 3), IN(5));
    CHECK("the row before", ((ask){ SHIFT, { ROWS(0, 4), ROWS(4, 1), ROWS(6, 4) }, 3 }), IN(10, 19));
}

static void test_linear(void **state)
{
    (void)state;
    CHECK("linear scan", ((ask){ LINEAR, { ROWS(0, 7), ROWS(9, 3) }, 2 }), IN(12, 2, 5), IN(12, 2, 5), IN(12, 4, 19), IN(12, 4));
    CHECK("linear scan, chunks", ((ask){ LINEAR, { ROWS(1, 131) }, 1 }), IN(132, 1, 8), IN(132, 1, 8), IN(132, 2, 37), IN(132, 2));
    CHECK("delta rule", ((ask){ DELTA, { ROWS(0, 7), ROWS(7, 5) }, 2 }), IN(12, 2, 5), IN(12, 2, 5), IN(12, 4, 6), IN(12, 4), IN(12, 4));
    CHECK("delta rule, chunks", ((ask){ DELTA, { ROWS(0, 70) }, 1 }), IN(70, 1, 9), IN(70, 1, 9), IN(70, 1, 33), IN(70, 1), IN(70, 1));
}

static void test_selective(void **state)
{
    (void)state;
    CHECK("selective scan", ((ask){ SELECTIVE, { ROWS(0, 7), ROWS(8, 4) }, 2 }), IN(13, 21), IN(13, 21), IN(21, 3), IN(13, 3), IN(13, 3));
    CHECK("selective scan, chunks", ((ask){ SELECTIVE, { ROWS(0, 67) }, 1 }), IN(67, 9), IN(67, 9), IN(9, 4), IN(67, 4), IN(67, 4));
}

static void test_wkv(void **state)
{
    (void)state;
    CHECK("wkv", ((ask){ WKV, { ROWS(0, 6), ROWS(6, 1), ROWS(8, 20) }, 3 }), IN(28, 21), IN(28, 21), IN(21), IN(21));
}

/* ---- with a cache ---- */
enum { N = 100, STATE = 4096, CHANNELS = 20 };
typedef struct store { nc_cache cache; float state[2][STATE]; } store;
static float *state_at(nc_cache *c, int slot) { return ((store *)c)->state[slot]; }

static const nc_shape *shapes(enum kind kind, bool *by_row)
{
    static nc_shape s[5];
    static const bool rows[KINDS][5] = { { 1, 0, 0 }, { 1 }, { 1, 1, 1, 1 }, { 1, 1, 1, 1, 1 }, { 1, 1, 0, 1, 1 }, { 1, 1, 0, 0 } };
    memcpy(by_row, rows[kind], sizeof rows[kind]);
    memset(s, 0, sizeof s);
    if (kind == CONV)
        s[0] = NC_SHAPE(N, CHANNELS), s[1] = NC_SHAPE(CHANNELS, 4), s[2] = NC_SHAPE(CHANNELS);
    else if (kind == SHIFT)
        s[0] = NC_SHAPE(N, CHANNELS);
    else if (kind == LINEAR || kind == DELTA)
        s[0] = s[1] = NC_SHAPE(N, 2, 7), s[2] = NC_SHAPE(N, 4, CHANNELS), s[3] = s[4] = NC_SHAPE(N, 4);
    else if (kind == SELECTIVE)
        s[0] = s[1] = NC_SHAPE(N, CHANNELS), s[2] = NC_SHAPE(CHANNELS, 5), s[3] = s[4] = NC_SHAPE(N, 5);
    else
        s[0] = s[1] = NC_SHAPE(N, CHANNELS), s[2] = s[3] = NC_SHAPE(CHANNELS);
    return s;
}

/* Rows [from, to) through a graph of their own. */
static int64_t run_rows(enum kind kind, nc_isa isa, store *cache, int from, int to, float *out)
{
    nc_graph *g = nc_graph_new(NC_F32);
    bool by_row[5];
    const nc_shape *s = shapes(kind, by_row);
    nc_span span = { .q_row = 0, .q_rows = to - from, .q_index = from, .slot = 1 };
    nc_spans spans = { &span, 1 };
    nc_value *in[5] = { 0 };
    nc_error e = { 0 };
    nc_plan *p;
    for (int i = 0; i < 5 && s[i].rank; i++) {
        nc_rng r = nc_rng_new(7, (uint64_t)i);
        nc_shape own = s[i];
        int64_t each = nc_shape_count(&own) / own.dim[0], total = by_row[i] ? to * each : nc_shape_count(&own), first = by_row[i] ? from * each : 0;
        own.dim[0] = by_row[i] ? to - from : own.dim[0];
        in[i] = nc_input(g, "x", NC_F32, own, -1);
        float *x = nc_arena_alloc(nc_graph_arena(g), sizeof *x * (size_t)(total - first));
        for (int64_t k = 0; k < total; k++) {
            double v = nc_rng_normal(&r);
            if (k >= first)
                x[k - first] = (float)v;
        }
        in[i]->data = x;
    }
    nc_value *y = emit(g, kind, in, &(nc_recurrent_attr){ .spans = &spans, .cache = cache ? &cache->cache : NULL, .state = 16 });
    nc_keep(g, y);
    if (nc_plan_new(g, 2, &p, &e) < 0 || nc_plan_bind(p, NULL, &e) < 0 || nc_plan_run(p, &(nc_run_options){ .kernels = nc_kernels_for(isa) }, &e) < 0)
        fail_msg("%s", e.message);
    int64_t n = nc_shape_count(&y->shape);
    memcpy(out, y->data, sizeof *out * (size_t)n);
    nc_plan_free(p);
    nc_graph_free(g);
    return n / (to - from);
}

static void test_cached(void **state)
{
    static const int cuts[] = { 0, 1, 2, 50, 52, 99, N };
    static float whole[N * 4 * CHANNELS], part[N * 4 * CHANNELS];
    static store cache;
    (void)state;
    for (int kind = 0; kind < KINDS; kind++)
        for (int isa = 0; isa <= (int)nc_isa_of_cpu(); isa++) {
            cache.cache = (nc_cache){ .state = state_at };
            for (int i = 0; i < STATE; i++)
                cache.state[0][i] = cache.state[1][i] = NAN;                /* left by another sequence */
            int64_t width = run_rows(kind, (nc_isa)isa, NULL, 0, N, whole);
            for (int i = 0; i + 1 < NC_COUNT(cuts); i++) {
                run_rows(kind, (nc_isa)isa, &cache, cuts[i], cuts[i + 1], part);
                if (memcmp(part, whole + width * cuts[i], sizeof *part * (size_t)(width * (cuts[i + 1] - cuts[i]))))
                    fail_msg("kind %d on %s: rows %d to %d have other bits than in the whole", kind, nc_isa_name((nc_isa)isa), cuts[i], cuts[i + 1]);
            }
            for (int i = 0; i < STATE; i++)
                assert_true(isnan(cache.state[0][i]));
            for (int i = 0; i < 16; i++)
                assert_true(isnan(cache.state[1][i]));
        }
}

static void test_refused(void **state)
{
    (void)state;
    op_check_refused(&(op_case){ .name = "heads", .build = build, .arg = &(ask){ .kind = LINEAR }, .in = { IN(4, 2, 8), IN(4, 2, 8), IN(4, 3, 8), IN(4, 3) } }, NC_ESHAPE, "H a multiple of G");
    op_check_refused(&(op_case){ .name = "rows", .build = build, .arg = &(ask){ .kind = WKV }, .in = { IN(4, 8), IN(5, 8), IN(8), IN(8) } }, NC_ESHAPE, "other rows");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_conv), cmocka_unit_test(test_linear), cmocka_unit_test(test_selective), cmocka_unit_test(test_wkv),
                                        cmocka_unit_test(test_cached), cmocka_unit_test(test_refused) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

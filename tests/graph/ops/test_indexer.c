/* test_indexer.c - the keys sparse attention may see: against a plain choice by sorting, at every level and in f64, with many equal scores, short and long sequences,
 * NaN; in chunks over a cache the same choice. */
#include "graph/op_check.h"
#include "graph/spans.h"

enum { N = 200, H = 3, A = 10, TOP = 7, SLOT = 1, BLOCKS = 4 };
typedef struct store { nc_cache cache; float index[2][BLOCKS][A * NC_KEY_BLOCK]; } store;
static float *index_at(nc_cache *c, int slot, int layer, int block) { return ((store *)c)->index[slot][block + layer - 5]; }

/* Small whole numbers: sums are exact, and many scores are equal. */
static double number(int input, int64_t i) { return (double)((uint32_t)(i * 2654435761u + (uint32_t)input * 40503u) >> 13) - 262144 > 0 ? (double)(i * (7 + input) % 5) - 2 : (double)(i * 3 % 4) - 1; }

static double score(int row, int key)
{
    double sum = 0;
    for (int h = 0; h < H; h++) {
        double s = 0;
        for (int c = 0; c < A; c++)
            s += number(0, ((int64_t)row * H + h) * A + c) * number(1, (int64_t)key * A + c);
        sum += number(2, (int64_t)row * H + h) * (s > 0 ? 0.5 * s : 0);
    }
    return sum;
}

static void expect(const nc_span *spans, int count, int row, int32_t *out)
{
    int taken[N] = { 0 }, keys = 0, start = 0;
    for (int i = 0; i < count; i++)
        if (row >= spans[i].q_row && row < spans[i].q_row + spans[i].q_rows)
            start = spans[i].q_row, keys = row - start + 1;
    for (int t = 0; t < TOP && t < keys; t++) {
        int best = -1;
        for (int k = 0; k < keys; k++)
            if (!taken[k] && (best < 0 || score(row, start + k) > score(row, start + best)))
                best = k;
        taken[best] = 1;
    }
    int n = 0;
    for (int k = 0; k < keys; k++)
        if (taken[k])
            out[n++] = k;
    while (n < TOP)
        out[n++] = INT32_MAX;
}

static void run_rows(nc_dtype t, nc_isa isa, int threads, store *cache, nc_span *span, int count, int from, int to, int32_t *out)
{
    const int64_t width[3] = { H * A, A, H };
    nc_graph *g = nc_graph_new(t);
    nc_spans spans = { span, count };
    nc_value *in[3];
    nc_error e = { 0 };
    nc_plan *p;
    for (int i = 0; i < 3; i++) {
        in[i] = nc_input(g, "x", t, i == 0 ? NC_SHAPE(to - from, H, A) : NC_SHAPE(to - from, width[i]), -1);
        in[i]->data = nc_arena_alloc(nc_graph_arena(g), nc_dtype_bytes(t, (to - from) * width[i]));
        for (int64_t k = 0; k < (to - from) * width[i]; k++)
            nc_dtype_store(t, in[i]->data, k, number(i, from * width[i] + k));
    }
    nc_value *y = nc_index_keys(g, in[0], in[1], in[2], &(nc_index_attr){ &spans, cache ? &cache->cache : NULL, 5, TOP, 0.5 });
    nc_keep(g, y);
    if (nc_plan_new(g, threads, &p, &e) < 0 || nc_plan_bind(p, NULL, &e) < 0 || nc_plan_run(p, &(nc_run_options){ .pool = op_pool(threads), .kernels = nc_kernels_for(isa) }, &e) < 0)
        fail_msg("%s", e.message);
    memcpy(out, y->data, sizeof *out * (size_t)((to - from) * TOP));
    nc_plan_free(p);
    nc_graph_free(g);
}

static void test_choice(void **state)
{
    static int32_t got[N * TOP];
    nc_span spans[] = { { .q_row = 0, .q_rows = 130, .slot = -1 }, { .q_row = 131, .q_rows = 69, .slot = -1 } };       /* row 130 belongs to none */
    (void)state;
    for (int isa = -1; isa <= (int)nc_isa_of_cpu(); isa++) {
        run_rows(isa < 0 ? NC_F64 : NC_F32, isa < 0 ? NC_ISA_SCALAR : (nc_isa)isa, 1 + (isa + 1) % 3, NULL, spans, 2, 0, N, got);
        for (int row = 0; row < N; row++) {
            int32_t want[TOP];
            expect(spans, 2, row, want);
            for (int k = 0; k < TOP; k++)
                if (want[k] != got[row * TOP + k])
                    fail_msg("%s: row %d chooses key %d in place %d, should be %d", isa < 0 ? "f64" : nc_isa_name((nc_isa)isa), row, got[row * TOP + k], k, want[k]);
        }
    }
}

static void test_cached(void **state)
{
    static const int cuts[] = { 0, 1, 63, 64, 70, 129, N };
    static int32_t whole[N * TOP], part[N * TOP];
    static store cache;
    nc_span all = { .q_row = 0, .q_rows = N, .slot = -1 };
    (void)state;
    cache.cache = (nc_cache){ .index = index_at };
    run_rows(NC_F32, nc_isa_of_cpu(), 2, NULL, &all, 1, 0, N, whole);
    for (int i = 0; i + 1 < NC_COUNT(cuts); i++) {
        nc_span some = { .q_row = 0, .q_rows = cuts[i + 1] - cuts[i], .q_index = cuts[i], .slot = SLOT };
        run_rows(NC_F32, nc_isa_of_cpu(), 3, &cache, &some, 1, cuts[i], cuts[i + 1], part);
        assert_memory_equal(part, whole + TOP * cuts[i], sizeof *part * (size_t)(TOP * (cuts[i + 1] - cuts[i])));
    }
    for (int i = 0; i < A * NC_KEY_BLOCK; i++)
        assert_true(cache.index[0][0][i] == 0);
}

/* A key that scores NaN is the last to be chosen, and the list is full all the same. */
static void test_nan(void **state)
{
    nc_graph *g = nc_graph_new(NC_F32);
    nc_span span = { .q_row = 0, .q_rows = 12, .slot = -1 };
    nc_spans spans = { &span, 1 };
    float q[12], k[12], w[12];
    nc_error e = { 0 };
    nc_plan *p;
    (void)state;
    for (int i = 0; i < 12; i++)
        q[i] = w[i] = 1, k[i] = i % 2 ? NAN : (float)i;
    nc_value *in[3] = { nc_input(g, "q", NC_F32, NC_SHAPE(12, 1, 1), -1), nc_input(g, "k", NC_F32, NC_SHAPE(12, 1), -1), nc_input(g, "w", NC_F32, NC_SHAPE(12, 1), -1) };
    in[0]->data = q, in[1]->data = k, in[2]->data = w;
    nc_value *y = nc_index_keys(g, in[0], in[1], in[2], &(nc_index_attr){ .spans = &spans, .top = 4, .scale = 1 });
    nc_keep(g, y);
    if (nc_plan_new(g, 1, &p, &e) < 0 || nc_plan_bind(p, NULL, &e) < 0 || nc_plan_run(p, &(nc_run_options){ .kernels = nc_kernels_for(NC_ISA_SCALAR) }, &e) < 0)
        fail_msg("%s", e.message);
    const int32_t *last = (const int32_t *)y->data + 11 * 4;
    for (int i = 0; i < 4; i++)
        assert_in_range(last[i], i ? last[i - 1] + 1 : 0, 11);
    nc_plan_free(p);
    nc_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_choice), cmocka_unit_test(test_cached), cmocka_unit_test(test_nan) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

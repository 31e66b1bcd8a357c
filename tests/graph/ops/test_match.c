/* test_match.c - queries and objects: a case small enough to be decided by eye, the least cost by all permutations, refused shapes. */
#include "graph/op_check.h"

typedef struct setting { int pictures, queries, labels, objects; float *logits, *boxes, *truth; int32_t *label, *picture; } setting;

static void run_match(const setting *s, const nc_match_attr *a, int32_t *out)
{
    nc_graph *g = nc_graph_new(NC_F32);
    nc_error e = { 0 };
    nc_plan *p;
    const int64_t N = (int64_t)s->pictures * s->queries;
    nc_value *logits = nc_input(g, "logits", NC_F32, NC_SHAPE(N, s->labels), -1), *boxes = nc_input(g, "boxes", NC_F32, NC_SHAPE(N, 4), -1);
    nc_value *label = nc_input(g, "label", NC_I32, NC_SHAPE(s->objects, 1), -1), *truth = nc_input(g, "truth", NC_F32, NC_SHAPE(s->objects, 4), -1);
    nc_value *picture = nc_input(g, "picture", NC_I32, NC_SHAPE(s->objects, 1), -1);
    logits->data = s->logits, boxes->data = s->boxes, label->data = s->label, truth->data = s->truth, picture->data = s->picture;
    nc_value *y = nc_match(g, logits, boxes, label, truth, picture, a);
    nc_keep(g, y);
    assert_int_equal(nc_plan_new(g, 1, &p, &e), 0);
    assert_int_equal(nc_plan_bind(p, NULL, &e), 0);
    assert_int_equal(nc_plan_run(p, &(nc_run_options){ .kernels = nc_kernels_best() }, &e), 0);
    memcpy(out, y->data, sizeof *out * (size_t)N);
    nc_plan_free(p);
    nc_graph_free(g);
}

static void by_eye(void **state)
{
    float logits[6 * 3] = { 0, 0, 0, 5, 0, 0, 0, 5, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0 };
    float boxes[6 * 4] = { 0.2f, 0.2f, 0.1f, 0.1f, 0.8f, 0.8f, 0.2f, 0.2f, 0.5f, 0.5f, 0.4f, 0.4f, 0.5f, 0.5f, 0.1f, 0.1f, 0.1f, 0.9f, 0.1f, 0.1f, 0.9f, 0.1f, 0.1f, 0.1f };
    float truth[3 * 4] = { 0.8f, 0.8f, 0.25f, 0.2f, 0.88f, 0.12f, 0.1f, 0.1f, 0.2f, 0.2f, 0.1f, 0.12f };
    int32_t label[3] = { 0, 1, 1 }, picture[3] = { 0, 1, 0 }, out[6];
    const int32_t want[6] = { 2, 0, -1, -1, -1, 1 };
    setting s = { 2, 3, 3, 3, logits, boxes, truth, label, picture };
    (void)state;
    run_match(&s, &(nc_match_attr){ 3, 1, 5, 2 }, out);
    assert_memory_equal(out, want, sizeof want);
}

/* The class cost alone has a closed form: the most probable pairs. */
static void by_permutations(void **state)
{
    enum { Q = 5, K = 4, T = 3 };
    float logits[Q * K], boxes[Q * 4], truth[T * 4];
    int32_t label[T], picture[T] = { 0 }, out[Q];
    nc_rng r = nc_rng_new(8, 8);
    (void)state;
    for (int round = 0; round < 50; round++) {
        double best = -1, p[Q][K], got = 0;
        for (int i = 0; i < Q * K; i++)
            logits[i] = (float)nc_rng_normal(&r);
        for (int i = 0; i < Q * 4; i++)
            boxes[i] = 0.1f + 0.8f * (float)nc_rng_uniform(&r);
        for (int i = 0; i < T * 4; i++)
            truth[i] = 0.1f + 0.8f * (float)nc_rng_uniform(&r);
        for (int i = 0; i < T; i++)
            label[i] = (int32_t)nc_rng_below(&r, K);
        for (int q = 0; q < Q; q++) {
            double sum = 0;
            for (int k = 0; k < K; k++)
                sum += exp((double)logits[q * K + k]);
            for (int k = 0; k < K; k++)
                p[q][k] = exp((double)logits[q * K + k]) / sum;
        }
        for (int a = 0; a < Q; a++)
            for (int b = 0; b < Q; b++)
                for (int c = 0; c < Q; c++)
                    if (a != b && a != c && b != c)
                        best = fmax(best, p[a][label[0]] + p[b][label[1]] + p[c][label[2]]);
        run_match(&(setting){ 1, Q, K, T, logits, boxes, truth, label, picture }, &(nc_match_attr){ Q, 1, 0, 0 }, out);
        for (int q = 0; q < Q; q++)
            got += out[q] < 0 ? 0 : p[q][label[out[q]]];
        assert_true(fabs(got - best) < 1e-9);
    }
}

static nc_value *match(nc_graph *g, nc_value *const *in, const void *arg) { return nc_match(g, in[0], in[1], in[2], in[3], in[4], arg); }

static void refused(void **state)
{
    static const int32_t zeros[8];
    (void)state;
    op_check_refused(&(op_case){ .name = "rows", .build = match, .arg = &(nc_match_attr){ 3, 1, 1, 1 },
                                 .in = { { NC_SHAPE(4, 3) }, { NC_SHAPE(4, 4) }, { NC_SHAPE(2, 1), .ints = zeros }, { NC_SHAPE(2, 4) }, { NC_SHAPE(2, 1), .ints = zeros } } },
                     NC_ESHAPE, "3 queries");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(by_eye), cmocka_unit_test(by_permutations), cmocka_unit_test(refused) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_attention_golden.c - scaled_dot_product_attention of PyTorch and its gradients (golden/ops/attention), on every level, f32.
 * The reference lays heads before rows, [B,H,T,A]: queries, keys and values are read where they lie, by strides. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"
#include "kernels/attention.h"

typedef struct golden { nc_arena *a; const char *bytes; const nc_json *head; size_t start; } golden;
typedef struct tensor { const float *x; int64_t dim[4]; } tensor;

static tensor get(const golden *g, const char *name, const char *which)
{
    const nc_json *t = nc_json_get(g->head, nc_arena_printf(g->a, "%s/%s", name, which));
    tensor out = { 0 };

    if (!t)
        fail_msg("%s/%s is missing", name, which);
    out.x = (const float *)(const void *)(g->bytes + g->start + nc_json_int(nc_json_at(nc_json_get(t, "data_offsets"), 0), 0));
    for (int i = 0; i < 4; i++)
        out.dim[i] = nc_json_int(nc_json_at(nc_json_get(t, "shape"), i), 0);
    return out;
}

/* got [T,H,W] of batch b against want [B,H,T,W]. */
static void compare(const char *name, const char *what, nc_isa isa, const float *got, tensor want, int64_t b, double tol)
{
    int64_t H = want.dim[1], T = want.dim[2], W = want.dim[3];
    double largest = 0;

    for (int64_t i = 0; i < want.dim[0] * H * T * W; i++)
        largest = fmax(largest, fabs((double)want.x[i]));
    for (int64_t t = 0; t < T; t++)
        for (int64_t h = 0; h < H; h++)
            for (int64_t c = 0; c < W; c++) {
                double y = got[(t * H + h) * W + c], x = want.x[((b * H + h) * T + t) * W + c];
                if (!(fabs(x - y) <= tol * largest))
                    fail_msg("%s: %s on %s, batch %lld row %lld head %lld column %lld is %.9g, should be %.9g", name, what, nc_isa_name(isa), (long long)b, (long long)t, (long long)h,
                             (long long)c, y, x);
            }
}

static void run_case(const golden *g, const char *name, nc_attention_sight sight, int64_t window, double scale, nc_isa isa)
{
    tensor q = get(g, name, "q"), k = get(g, name, "k"), v = get(g, name, "v"), up = get(g, name, "up");
    const int64_t H = q.dim[1], T = q.dim[2], A = q.dim[3], G = k.dim[1], M = k.dim[2], V = v.dim[3];
    const struct nc_attention_kernels *kernels = nc_kernels_for(isa)->attention;
    nc_error e = { 0 };

    for (int64_t b = 0; b < q.dim[0]; b++) {
        nc_attention_span span = { .q_rows = T, .k_rows = M, .sight = sight };
        float *dout = NC_NEW_ARRAY(g->a, float, T * H * V);
        nc_attention_args a = { .shape = { NC_F32, (int)H, (int)G, (int)A, (int)V, T, M, false }, .q = q.x + b * H * T * A, .k = k.x + b * G * M * A, .v = v.x + b * G * M * V,
                                .q_stride = { A, T * A }, .k_stride = { A, M * A }, .v_stride = { V, M * V }, .scale = scale > 0 ? scale : 1 / sqrt((double)A), .window = window,
                                .span = &span, .spans = 1, .out = NC_NEW_ARRAY(g->a, float, T * H * V), .lse = NC_NEW_ARRAY(g->a, float, T * H), .dout = dout,
                                .dq = NC_NEW_ARRAY(g->a, float, T * H * A), .dk = NC_NEW_ARRAY(g->a, float, M * G * A), .dv = NC_NEW_ARRAY(g->a, float, M * G * V) };
        size_t forward = kernels->forward_bytes[NC_SLOT_F32](&a.shape, 1), backward = kernels->backward_bytes[NC_SLOT_F32](&a.shape, 1);
        void *workspace = nc_arena_alloc(g->a, (forward > backward ? forward : backward) + 64);
        for (int64_t t = 0; t < T; t++)
            for (int64_t h = 0; h < H; h++)
                for (int64_t c = 0; c < V; c++)
                    dout[(t * H + h) * V + c] = up.x[((b * H + h) * T + t) * V + c];
        assert_int_equal(nc_attention_check(&a, &e), 0);
        kernels->forward[NC_SLOT_F32](&a, NULL, workspace);
        kernels->backward[NC_SLOT_F32](&a, NULL, workspace);
        compare(name, "out", isa, a.out, get(g, name, "out"), b, 2e-6);
        compare(name, "grad.q", isa, a.dq, get(g, name, "grad.q"), b, 5e-6);
        compare(name, "grad.k", isa, a.dk, get(g, name, "grad.k"), b, 5e-6);
        compare(name, "grad.v", isa, a.dv, get(g, name, "grad.v"), b, 5e-6);
    }
}

static void test_golden(void **state)
{
    static const struct { const char *name; nc_attention_sight sight; int64_t window; double scale; } cases[] = {
        { "plain", NC_ATTENTION_FULL, 0, 0 }, { "causal", NC_ATTENTION_CAUSAL, 0, 0 }, { "causal.longer_keys", NC_ATTENTION_CAUSAL, 0, 0 },
        { "scale", NC_ATTENTION_FULL, 0, 0.3 }, { "gqa", NC_ATTENTION_FULL, 0, 0 }, { "mqa.causal", NC_ATTENTION_CAUSAL, 0, 0 },
        { "value_width", NC_ATTENTION_FULL, 0, 0 }, { "sliding_window", NC_ATTENTION_CAUSAL, 3, 0 },
    };
    nc_arena *a = nc_arena_new();
    nc_buf text = { 0 };
    nc_json *head;
    nc_error e = { 0 };
    uint64_t size;

    (void)state;
    if (nc_file_read("tests/golden/ops/attention/golden.safetensors", 1 << 24, &text, &e) < 0)
        fail_msg("%s", e.message);
    memcpy(&size, text.p, 8);
    assert_true(size < text.n - 8);
    assert_int_equal(nc_json_parse(a, (nc_str){ text.p + 8, (size_t)size }, "golden.safetensors", &head, &e), 0);
    golden g = { a, (const char *)text.p, head, 8 + (size_t)size };
    for (int isa = 0; isa <= (int)nc_isa_of_cpu(); isa++)
        for (int i = 0; i < NC_COUNT(cases); i++)
            run_case(&g, cases[i].name, cases[i].sight, cases[i].window, cases[i].scale, (nc_isa)isa);
    nc_arena_free(a);
    nc_buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_golden) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_attention_walk_amx_model.c - the AMX forward of attention on a scalar model of the tile instructions, against the definition: on CPUs without AMX too. Every
 * tile is configured whole, so what lies beyond rows, words and columns is seen here as it is there. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#if defined(__x86_64__) && !defined(__clang__)      /* Clang does not tell the preprocessor of a target chosen in the file */
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")
#include <immintrin.h>
#include <stdlib.h>
#include <string.h>
#include "base/arena.h"
#include "base/rng.h"
#include "kernels/attention.h"
#include "kernels/amx_model.h"
#define nc_attention_walk_amx model_walk
#define nc_attention_walk_amx_bytes model_walk_bytes
#include "kernels/cpu/attention_walk_amx.c"

typedef struct problem { const char *name; int N, H, G, A, V; nc_attention_sight sight; int64_t window; double soft_cap; float climb; } problem;

static void enter_model(uint32_t *state)
{
    nc_tile_config c = { .palette = 1 };

    enter(state);
    for (int i = 0; i < 8; i++) {
        c.row_bytes[i] = 64;
        c.rows[i] = 16;
    }
    tile_config(c);
}

static void leave_model(const uint32_t *state)
{
    tile_release();
    leave(state);
}

static uint16_t *numbers(int64_t n, uint64_t seed)
{
    nc_rng r = nc_rng_new(seed, 11);
    uint16_t *p = nc_xmalloc((size_t)n * 2);

    for (int64_t i = 0; i < n; i++)
        p[i] = nc_f32_to_bf16((float)nc_rng_normal(&r));
    return p;
}

/* Rows of both outputs; a sum of the model is rounded as the definition's double is, but for p in bf16. */
static void compare(const problem *p, const uint16_t *got, const uint16_t *want, const float *lse, const float *want_lse)
{
    for (int64_t i = 0; i < (int64_t)p->N * p->H; i++) {
        if (!(fabsf(lse[i] - want_lse[i]) <= 4e-6f * (1 + fabsf(want_lse[i]))))
            fail_msg("%s: lse %lld is %.9g, should be %.9g", p->name, (long long)i, (double)lse[i], (double)want_lse[i]);
        for (int c = 0; c < p->V; c++) {
            float y = nc_bf16_to_f32(got[i * p->V + c]), z = nc_bf16_to_f32(want[i * p->V + c]);
            if (!(fabsf(y - z) <= 1.2e-2f * (1 + fabsf(z))))
                fail_msg("%s: row %lld column %d is %.9g, should be %.9g", p->name, (long long)i, c, (double)y, (double)z);
        }
    }
}

static void check(const problem *p)
{
    static const nc_attention_tiles model = { 2, NULL, NULL, NULL, rescale, lanes, pairs_bf16, store_bf16, dot_bf16, enter_model, leave_model, model_walk, model_walk_bytes };
    nc_attention_span span = { .q_rows = p->N, .k_rows = p->N, .sight = p->sight };
    nc_attention_args a = { .shape = { NC_BF16, p->H, p->G, p->A, p->V, p->N, p->N, false, 0 }, .q_stride = { (int64_t)p->H * p->A, p->A },
                            .k_stride = { (int64_t)p->G * p->A, p->A }, .v_stride = { (int64_t)p->G * p->V, p->V }, .scale = 1 / sqrt((double)p->A),
                            .soft_cap = p->soft_cap, .window = p->window, .span = &span, .spans = 1 };
    const int64_t rows = (int64_t)p->N * p->H;
    uint16_t *q = numbers(rows * p->A, 1), *k = numbers((int64_t)p->N * p->G * p->A, 2), *v = numbers((int64_t)p->N * p->G * p->V, 3);
    uint16_t *got = numbers(rows * p->V, 4), *want = numbers(rows * p->V, 5);
    float *lse = nc_xmalloc((size_t)rows * 4), *want_lse = nc_xmalloc((size_t)rows * 4);
    size_t bytes = nc_attention_tiled_forward_bytes(&a.shape, 1) + nc_line(model_walk_bytes(&a.shape));
    void *workspace = aligned_alloc(64, nc_line(bytes));

    memset(workspace, 0xff, nc_line(bytes));                     /* NaN: what is read unwritten shows */
    for (int64_t j = 0; p->climb != 0 && j < p->N; j++) {
        q[j * p->H * p->A] = nc_f32_to_bf16((float)p->A);        /* head 0 climbs along the keys */
        k[j * p->G * p->A] = nc_f32_to_bf16(p->climb * (float)(j / 24));
    }
    a.q = q, a.k = k, a.v = v, a.out = got, a.lse = lse;
    nc_attention_tiled_forward(&model, &a, NULL, workspace);
    a.out = want, a.lse = want_lse;
    nc_ref_attention.forward[NC_SLOT_BF16](&a, NULL, NULL);
    compare(p, got, want, lse, want_lse);
    void *all[] = { q, k, v, got, want, lse, want_lse, workspace };
    for (int i = 0; i < NC_COUNT(all); i++)
        free(all[i]);
}

static void agrees_with_the_definition(void **state)
{
    static const problem problems[] = {
        { "one row", 1, 1, 1, 64, 64, NC_ATTENTION_CAUSAL, 0, 0, 0 },
        { "heads of 64, a row behind whole tiles", 129, 1, 1, 64, 64, NC_ATTENTION_FULL, 0, 0, 0 },
        { "heads that end inside a tile", 70, 2, 1, 72, 88, NC_ATTENTION_CAUSAL, 0, 0, 0 },
        { "odd heads", 35, 3, 1, 7, 5, NC_ATTENTION_CAUSAL, 0, 0, 0 },
        { "five blocks of a wide head", 300, 1, 1, 32, 80, NC_ATTENTION_FULL, 0, 0, 0 },
        { "window and cap", 200, 2, 2, 16, 16, NC_ATTENTION_CAUSAL, 70, 3, 0 },
        { "two groups", 1100, 1, 1, 16, 16, NC_ATTENTION_FULL, 0, 0, 0 },
        { "climbing", 260, 1, 1, 16, 32, NC_ATTENTION_FULL, 0, 0, 0.5f },
        { "climbing, wide", 260, 1, 1, 16, 96, NC_ATTENTION_FULL, 0, 0, 0.5f },
        { "climbing, causal", 260, 2, 1, 16, 96, NC_ATTENTION_CAUSAL, 0, 0, 0.25f },
        { "falling", 260, 1, 1, 16, 96, NC_ATTENTION_FULL, 0, 0, -0.5f },
    };

    (void)state;
    if (nc_isa_of_cpu() < NC_ISA_AVX512BF16) {
        printf("skipped: this CPU has no AVX512_BF16, which rounds p\n");
        return;
    }
    for (int i = 0; i < NC_COUNT(problems); i++)
        check(&problems[i]);
}
#else
static void agrees_with_the_definition(void **state)
{
    (void)state;
    printf("skipped: for GCC on x86-64\n");
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(agrees_with_the_definition) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

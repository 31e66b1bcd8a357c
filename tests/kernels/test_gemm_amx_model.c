/* test_gemm_amx_model.c - the AMX file of the product on a scalar model of the tile instructions, so that its logic is tested on CPUs without AMX.
 *
 * Model (Intel SDM vol. 2): LDTILECFG gives each tile rows and bytes a row; TILELOADD reads its rows and zeroes the rest; TDPBF16PS adds, for each
 * row of A, each pair k and each column, the two products of the pair to the f32 sum. Loads and stores outside the configured rows do not happen.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")
#endif
#include <immintrin.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/rng.h"
#include "kernels/gemm.h"

static _Thread_local struct { int rows, bytes; char data[16][64]; } tiles[8];
static _Thread_local int configured_tiles;

static void model_config(const void *c)
{
    const uint8_t *b = c;
    assert_int_equal(b[0], 1);
    for (int i = 0; i < 8; i++) {
        uint16_t bytes;
        memcpy(&bytes, b + 16 + 2 * i, 2);
        tiles[i].rows = b[48 + i];
        tiles[i].bytes = bytes;
        assert_true(tiles[i].rows >= 1 && tiles[i].rows <= 16 && bytes <= 64 && bytes % 4 == 0);
        memset(tiles[i].data, 0, sizeof tiles[i].data);
    }
    configured_tiles = 1;
}

static void model_release(void) { configured_tiles = 0; }

static void model_load(int t, const void *p, int64_t stride)
{
    assert_true(configured_tiles);
    memset(tiles[t].data, 0, sizeof tiles[t].data);
    for (int r = 0; r < tiles[t].rows; r++)
        memcpy(tiles[t].data[r], (const char *)p + r * stride, (size_t)tiles[t].bytes);
}

static void model_store(int t, void *p, int64_t stride)
{
    assert_true(configured_tiles);
    for (int r = 0; r < tiles[t].rows; r++)
        memcpy((char *)p + r * stride, tiles[t].data[r], (size_t)tiles[t].bytes);
}

static void model_zero(int t)
{
    assert_true(configured_tiles);
    memset(tiles[t].data, 0, sizeof tiles[t].data);
}

static void model_dot(int c, int a, int b)
{
    assert_true(configured_tiles && tiles[c].rows == tiles[a].rows && tiles[a].bytes / 4 == tiles[b].rows && tiles[c].bytes == tiles[b].bytes);
    for (int m = 0; m < tiles[c].rows; m++)
        for (int k = 0; k < tiles[a].bytes / 4; k++)
            for (int n = 0; n < tiles[c].bytes / 4; n++) {
                uint16_t x[2], y[2];
                float sum;
                memcpy(x, tiles[a].data[m] + 4 * k, 4);
                memcpy(y, tiles[b].data[k] + 4 * n, 4);
                memcpy(&sum, tiles[c].data[m] + 4 * n, 4);
                sum += nc_bf16_to_f32(x[0]) * nc_bf16_to_f32(y[0]);
                sum += nc_bf16_to_f32(x[1]) * nc_bf16_to_f32(y[1]);
                memcpy(tiles[c].data[m] + 4 * n, &sum, 4);
            }
}

#define NC_TILE_MODEL
#define tile_config(c) model_config(&c)
#define tile_release() model_release()
#define tile_load(t, p, stride) model_load(t, p, stride)
#define tile_stream(t, p, stride) model_load(t, p, stride)
#define tile_zero(t) model_zero(t)
#define tile_store(t, p, stride) model_store(t, p, stride)
#define tile_dot(c, a, b) model_dot(c, a, b)
#define nc_gemm_amx_table model_table
#include "kernels/cpu/gemm_amx.c"

typedef struct shape { int64_t m, n, k; bool at, accumulate; nc_gemm_kind kind; } shape;

static void product(const nc_kernels *kernels, nc_pool *pool, const shape *s, bool by_row, float *c, const uint16_t *a, int64_t lda, const nc_gemm_b *b)
{
    void *workspace = aligned_alloc(64, nc_gemm_workspace(kernels, s->kind, s->m, s->n, s->k, NC_BF16, 2, false) / 64 * 64 + 64);
    nc_gemm_call call = { .m = s->m, .a = a, .a_dtype = NC_BF16, .lda = lda, .a_transposed = s->at, .c = c, .c_dtype = NC_F32, .ldc = s->n, .accumulate = s->accumulate };
    if (!by_row)
        nc_gemm(kernels, pool, &call, b, workspace);
    for (int64_t i = 0; by_row && i < s->m; i++) {
        call.m = 1;
        call.a = a + (s->at ? i : i * lda);
        call.c = c + i * s->n;
        nc_gemm(kernels, pool, &call, b, workspace);
    }
    free(workspace);
}

static void matches_definition(void **state)
{
    static const shape shapes[] = {
        { 1, 16, 32, false, false, NC_GEMM_BF16 }, { 1, 5, 3, false, false, NC_GEMM_BF16 }, { 16, 33, 64, false, true, NC_GEMM_BF16 }, { 17, 32, 65, true, false, NC_GEMM_BF16 },
        { 32, 48, 100, true, true, NC_GEMM_BF16 }, { 70, 100, 257, false, false, NC_GEMM_BF16 }, { 100, 70, 94, true, true, NC_GEMM_BF16 }, { 9, 40, 96, false, false, NC_GEMM_Q8_0 },
        { 40, 33, 64, false, false, NC_GEMM_Q4_0 }, { 65, 47, 1330, false, true, NC_GEMM_BF16 }, { 50, 64, 640, false, false, NC_GEMM_BF16 },
    };
    struct nc_gemm_kernels table;
    nc_kernels kernels = { NC_ISA_AMX, .gemm = &table };
    nc_pool *pool = nc_pool_new(2);
    (void)state;
    if (nc_isa_of_cpu() < NC_ISA_AVX512BF16) {
        printf("skipped: this CPU has no AVX512_BF16, which packs for AMX\n");
        return;
    }
    table = *nc_kernels_for(NC_ISA_AVX512BF16)->gemm;
    model_table(&table);
    for (int i = 0; i < NC_COUNT(shapes); i++) {
        const shape *s = &shapes[i];
        int64_t lda = s->at ? s->m + 3 : s->k + 1, many = (s->at ? s->k : s->m) * lda;
        uint16_t *a = malloc((size_t)many * 2 + 64);
        float *w = malloc((size_t)(s->n * s->k) * 4), *c = malloc((size_t)(s->m * s->n) * 4), *d = malloc((size_t)(s->m * s->n) * 4);
        nc_rng r = nc_rng_new(3, (uint64_t)i);
        for (int64_t j = 0; j < many; j++)
            a[j] = nc_f32_to_bf16((float)nc_rng_normal(&r));
        for (int64_t j = 0; j < s->m * s->n; j++)
            c[j] = d[j] = (float)nc_rng_normal(&r);
        nc_gemm_b b;
        assert_int_equal(nc_gemm_b_new(&b, s->kind, s->n, s->k, NULL), 0);
        if (s->kind == NC_GEMM_BF16) {
            for (int64_t j = 0; j < s->n * s->k; j++)
                w[j] = nc_bf16_to_f32(nc_f32_to_bf16((float)nc_rng_normal(&r)));
            nc_gemm_source source = { NC_F32, w, s->k, false };
            assert_int_equal(nc_gemm_pack(&kernels, pool, &b, &source, false, NULL), 0);
        } else {                             /* any bytes with finite scales */
            for (size_t j = 0; j < b.bytes; j++)
                ((uint8_t *)b.data)[j] = (uint8_t)(nc_rng_below(&r, 256) & (j % 2 ? 0x3f : 0xff));
            uint16_t *row = malloc((size_t)s->k * 2);
            for (int64_t j = 0; j < s->n; j++) {
                nc_gemm_unpack_row(&b, j, row, NC_BF16);
                for (int64_t k = 0; k < s->k; k++)
                    w[j * s->k + k] = nc_bf16_to_f32(row[k]);
            }
            free(row);
        }
        float *first = malloc((size_t)(s->m * s->n) * 4);
        memcpy(first, c, (size_t)(s->m * s->n) * 4);
        product(&kernels, pool, s, false, c, a, lda, &b);
        product(&kernels, NULL, s, true, d, a, lda, &b);
        assert_memory_equal(c, d, (size_t)(s->m * s->n) * 4);
        for (int64_t m = 0; m < s->m; m++)
            for (int64_t n = 0; n < s->n; n++) {
                double sum = s->accumulate ? first[m * s->n + n] : 0, size = fabs(sum);
                for (int64_t k = 0; k < s->k; k++) {
                    double x = (double)nc_bf16_to_f32(a[s->at ? k * lda + m : m * lda + k]) * w[n * s->k + k];
                    sum += x, size += fabs(x);
                }
                if (!(fabs(sum - c[m * s->n + n]) <= size * 1e-6 + 1e-30))
                    fail_msg("case %d at (%lld,%lld): %g, should be %g", i, (long long)m, (long long)n, c[m * s->n + n], sum);
            }
        nc_gemm_b_free(&b);
        free(a), free(w), free(c), free(d), free(first);
    }
    nc_pool_free(pool);
}
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
static void matches_definition(void **state) { (void)state; }
#endif

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(matches_definition) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

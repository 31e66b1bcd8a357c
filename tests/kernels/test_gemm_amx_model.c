/* test_gemm_amx_model.c - the AMX file of the product on a scalar model of the tile instructions, so that its logic is tested on CPUs without AMX. */
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
#include "base/arena.h"
#include "base/rng.h"
#include "kernels/gemm.h"

#include "kernels/amx_model.h"
#include "kernels/cpu/gemm_x86.h"
#define nc_gemm_amx_table model_table
#define nc_gemm_blocks_amx_table(t) (void)(t)         /* test_gemm_blocks_amx_model.c has them */
#define nc_gemm_few_amx_table model_few_table
#include "kernels/cpu/gemm_few_amx.c"
#include "kernels/cpu/gemm_amx.c"

typedef struct shape { int64_t m, n, k; bool at, accumulate; } shape;

static void product(const nc_kernels *kernels, nc_pool *pool, const shape *s, bool by_row, float *c, const uint16_t *a, int64_t lda, const nc_gemm_b *b)
{
    void *workspace = aligned_alloc(64, nc_gemm_workspace(kernels, NC_GEMM_BF16, s->m, s->n, s->k, NC_BF16, 2, false) / 64 * 64 + 64);
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

static bool yes(void) { return true; }
static bool no(void) { return false; }

static void matches_definition(void **state)
{
    static const shape shapes[] = {
        { 1, 16, 32, false, false }, { 1, 5, 3, false, false }, { 16, 33, 64, false, true }, { 17, 32, 65, true, false },
        { 32, 48, 100, true, true }, { 70, 100, 257, false, false }, { 100, 70, 94, true, true },
        { 65, 47, 1330, false, true }, { 50, 64, 640, false, false },
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
        assert_int_equal(nc_gemm_b_new(&b, NC_GEMM_BF16, s->n, s->k, NULL), 0);
        for (int64_t j = 0; j < s->n * s->k; j++)
            w[j] = nc_bf16_to_f32(nc_f32_to_bf16((float)nc_rng_normal(&r)));
        nc_gemm_source source = { NC_F32, w, s->k, false };
        assert_int_equal(nc_gemm_pack(&kernels, pool, &b, &source, false, NULL), 0);
        float *first = malloc((size_t)(s->m * s->n) * 4);
        memcpy(first, c, (size_t)(s->m * s->n) * 4);
        float *wide = malloc((size_t)(s->m * s->n) * 4);
        memcpy(wide, c, (size_t)(s->m * s->n) * 4);
        table.slab_narrow = no;
        product(&kernels, pool, s, false, wide, a, lda, &b);
        table.slab_narrow = yes;
        product(&kernels, pool, s, false, c, a, lda, &b);
        assert_memory_equal(c, wide, (size_t)(s->m * s->n) * 4);
        free(wide);
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

/* A weight as its file holds it: the bits of the packed one, until more rows come than it is taken for. */
static void stored_as_packed(void **state)
{
    enum { N = 80, K = 96, M = 17 };
    struct nc_gemm_kernels table;
    nc_kernels kernels = { NC_ISA_AMX, .gemm = &table };
    static uint16_t w[N * K], a[M * K];
    static float want[M * N], got[M * N];
    nc_gemm_b packed, b;
    nc_gemm_stored shared;
    nc_rng r = nc_rng_new(4, 1);
    (void)state;
    if (nc_isa_of_cpu() < NC_ISA_AVX512BF16) {
        printf("skipped: this CPU has no AVX512_BF16, which packs for AMX\n");
        return;
    }
    table = *nc_kernels_for(NC_ISA_AVX512BF16)->gemm;
    model_table(&table);
    for (int i = 0; i < N * K; i++)
        w[i] = nc_f32_to_bf16((float)nc_rng_normal(&r));
    for (int i = 0; i < M * K; i++)
        a[i] = nc_f32_to_bf16((float)nc_rng_normal(&r));
    nc_gemm_source source = { NC_BF16, w, K, false };
    assert_int_equal(nc_gemm_b_new(&packed, NC_GEMM_BF16, N, K, NULL), 0);
    assert_int_equal(nc_gemm_pack(&kernels, NULL, &packed, &source, false, NULL), 0);
    void *room = nc_pages_alloc(packed.bytes);
    assert_int_equal(nc_gemm_b_store(&b, &shared, N, K, w, room, NULL), 0);
    for (int m = 1; m <= M; m++) {
        shape s = { m, N, K, false, false };
        product(&kernels, NULL, &s, false, want, a, K, &packed);
        product(&kernels, NULL, &s, false, got, a, K, &b);
        assert_memory_equal(want, got, (size_t)(m * N) * 4);
        assert_int_equal(nc_gemm_is_stored(&b), m <= table.few_rows);
    }
    nc_pages_free(room, packed.bytes);
    nc_gemm_b_free(&packed);
}
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
static void matches_definition(void **state) { (void)state; }
static void stored_as_packed(void **state) { (void)state; }
#endif

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(matches_definition), cmocka_unit_test(stored_as_packed) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

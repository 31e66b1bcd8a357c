/* test_gemm_blocks_amx_model.c - the AMX file of products by blocks on a scalar model of the tile instructions: the scalar level's bits, on CPUs without AMX too. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")
#endif
#include <immintrin.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/rng.h"
#include "kernels/gemm.h"
#include "kernels/amx_model.h"
#define nc_gemm_blocks_amx_table model_table
#include "kernels/cpu/gemm_blocks_amx.c"

static void whole_tiles(void)
{
    nc_tile_config c = { .palette = 1 };
    for (int i = 0; i < 8; i++) {
        c.row_bytes[i] = 64;
        c.rows[i] = 16;
    }
    tile_config(c);
}

static void released(nc_gemm_rest *unused)
{
    (void)unused;
    tile_release();
}

static void product(const nc_kernels *kernels, const nc_gemm_b *b, int64_t m, const uint16_t *a, bool at, float *c, bool accumulate)
{
    int64_t lda = at ? m + 3 : b->k + 1;
    void *workspace = aligned_alloc(64, nc_gemm_workspace(kernels, b->kind, m, b->n, b->k, NC_BF16, 1, false) / 64 * 64 + 64);
    for (int64_t i = 0; i < m * b->n; i++)
        c[i] = (float)(i % 7) - 3;
    nc_gemm_call call = { .m = m, .a = a, .a_dtype = NC_BF16, .lda = lda, .a_transposed = at, .c = c, .c_dtype = NC_F32, .ldc = b->n, .accumulate = accumulate };
    nc_gemm(kernels, NULL, &call, b, workspace);
    free(workspace);
}

static void has_the_bits_of_scalar(void **state)
{
    static const struct { int64_t m, n, k; bool at, accumulate; } shapes[] = {
        { 1, 16, 32, false, false }, { 3, 33, 96, false, true }, { 5, 40, 64, true, false }, { 8, 5, 160, false, false }, { 9, 48, 224, false, true },
        { 16, 16, 32, true, false }, { 37, 70, 544, false, false }, { 50, 33, 1088, true, true },
    };
    struct nc_gemm_kernels table;
    nc_kernels kernels = { NC_ISA_AMX, .gemm = &table };
    (void)state;
    if (nc_isa_of_cpu() < NC_ISA_AVX512) {
        printf("skipped: this CPU has no AVX512_VNNI, which packs for AMX\n");
        return;
    }
    table = *nc_kernels_for(NC_ISA_AVX512)->gemm;
    model_table(&table);
    table.slab_begin = whole_tiles;
    table.slab_end = released;
    for (int i = 0; i < NC_COUNT(shapes) * 2; i++) {
        int64_t m = shapes[i / 2].m, n = shapes[i / 2].n, k = shapes[i / 2].k, many = (m + 3) * (k + 1);
        bool at = shapes[i / 2].at, accumulate = shapes[i / 2].accumulate;
        uint16_t *a = malloc((size_t)many * 2 + 64);
        float *want = malloc((size_t)(m * n) * 4), *got = malloc((size_t)(m * n) * 4);
        nc_rng r = nc_rng_new(3, (uint64_t)i);
        nc_gemm_b b;
        for (int64_t j = 0; j < many; j++)
            a[j] = nc_f32_to_bf16((float)(nc_rng_normal(&r) * (j % 5 ? 1 : 40)));
        assert_int_equal(nc_gemm_b_new(&b, i % 2 ? NC_GEMM_Q4_0 : NC_GEMM_Q8_0, n, k, NULL), 0);
        for (size_t j = 0; j < b.bytes; j++)         /* any bytes with finite scales */
            ((uint8_t *)b.data)[j] = (uint8_t)(nc_rng_below(&r, 256) & (j % nc_gemm_panel_bytes(b.kind, k) < nc_gemm_scale_bytes(k) && j % 2 ? 0xbf : 0xff));
        product(nc_kernels_for(NC_ISA_SCALAR), &b, m, a, at, want, accumulate);
        product(&kernels, &b, m, a, at, got, accumulate);
        assert_memory_equal(want, got, (size_t)(m * n) * 4);
        nc_gemm_b_free(&b);
        free(a), free(want), free(got);
    }
}
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
static void has_the_bits_of_scalar(void **state) { (void)state; }
#endif

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(has_the_bits_of_scalar) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

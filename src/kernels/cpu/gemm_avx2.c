/* gemm_avx2.c - the product in f32 with 256-bit FMA: a tile is up to 6 rows x 1 panel of 16 columns, 12 accumulators of the 16 registers.
 * bf16 arithmetic widens both operands (exact) and uses the same tile.
 */
#include <immintrin.h>
#include "kernels/cpu/gemm_x86.h"

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

static float load(nc_dtype t, const void *p, int64_t i) { return t == NC_F32 ? ((const float *)p)[i] : nc_bf16_to_f32(((const uint16_t *)p)[i]); }

static void finish(const float *sums, const nc_gemm_out *o, int rows)
{
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < o->columns; j++) {
            float v = sums[r * 16 + j];
            if (o->bias)
                v += load(o->bias_dtype, o->bias, j);
            if (o->c_dtype == NC_F32)
                ((float *)o->c)[r * o->ldc + j] = v;
            else
                ((uint16_t *)o->c)[r * o->ldc + j] = nc_f32_to_bf16(v);
        }
}

static inline __attribute__((always_inline)) void tile_rows(const nc_gemm_out *o, const float *a, const float *b, int64_t k, const int R)
{
    _Alignas(32) float sums[6 * 16] = { 0 };
    __m256 s[6][2];
    if (o->accumulate)
        for (int r = 0; r < R; r++)
            for (int j = 0; j < o->columns; j++)
                sums[r * 16 + j] = load(o->c_dtype, o->c, r * o->ldc + j);
    UNROLL
    for (int r = 0; r < R; r++) {
        s[r][0] = _mm256_load_ps(sums + r * 16);
        s[r][1] = _mm256_load_ps(sums + r * 16 + 8);
    }
    for (int64_t p = 0; p < k; p++, a += R, b += 16) {
        __m256 b0 = _mm256_load_ps(b), b1 = _mm256_load_ps(b + 8);
        UNROLL
        for (int r = 0; r < R; r++) {
            __m256 x = _mm256_broadcast_ss(a + r);
            s[r][0] = _mm256_fmadd_ps(x, b0, s[r][0]);
            s[r][1] = _mm256_fmadd_ps(x, b1, s[r][1]);
        }
    }
    UNROLL
    for (int r = 0; r < R; r++) {
        _mm256_store_ps(sums + r * 16, s[r][0]);
        _mm256_store_ps(sums + r * 16 + 8, s[r][1]);
    }
    finish(sums, o, R);
}

static void tile_f32(const nc_gemm_out *o, const float *a, int rows, const float *b, int panels, int64_t k)
{
    (void)panels;
    switch (rows) {
#define X(R) case R: tile_rows(o, a, b, k, R); break;
    X(1) X(2) X(3) X(4) X(5) X(6)
#undef X
    }
}

/* Pairs of k, 16 columns: the low halves of the words are even k, the high halves odd k. */
static void bf16_panel(float *out, const uint16_t *b, int64_t k)
{
    const __m256i high = _mm256_set1_epi32((int)0xffff0000);
    for (int64_t i = 0; i < k; i += 2, b += 32, out += 32) {
        __m256i w0 = _mm256_load_si256((const void *)b), w1 = _mm256_load_si256((const void *)(b + 16));
        _mm256_store_ps(out, _mm256_castsi256_ps(_mm256_slli_epi32(w0, 16)));
        _mm256_store_ps(out + 8, _mm256_castsi256_ps(_mm256_slli_epi32(w1, 16)));
        if (i + 1 < k) {
            _mm256_store_ps(out + 16, _mm256_castsi256_ps(_mm256_and_si256(w0, high)));
            _mm256_store_ps(out + 24, _mm256_castsi256_ps(_mm256_and_si256(w1, high)));
        }
    }
}

static __m256 rounded(__m256 v, bool round)
{
    if (!round)
        return v;
    __m256i u = _mm256_castps_si256(v), odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    u = _mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    return _mm256_castsi256_ps(_mm256_and_si256(u, _mm256_set1_epi32((int)0xffff0000)));
}

static void panel_f32(float *out, nc_gemm_kind kind, const void *panel, int64_t k, bool round)
{
    if (kind == NC_GEMM_BF16) {
        bf16_panel(out, panel, k);
        return;
    }
    const uint16_t *scale = panel;
    const uint8_t *q = (const uint8_t *)panel + nc_gemm_scale_bytes(k);
    const bool four = kind == NC_GEMM_Q4_0;
    for (int64_t i = 0; i < k; i += 4, q += four && i % 8 ? 0 : 64)          /* a byte of Q4_0 holds k and k + 4 */
        for (int h = 0; h < 2; h++) {
            __m256i w = _mm256_loadu_si256((const void *)(q + 32 * h));
            __m256 d = _mm256_cvtph_ps(_mm_loadu_si128((const void *)(scale + i / NC_GEMM_QK * 16 + 8 * h)));
            for (int t = 0; t < 4; t++) {
                __m256i v = four ? _mm256_sub_epi32(_mm256_and_si256(_mm256_srl_epi32(w, _mm_cvtsi32_si128(8 * t + (int)(i & 4))), _mm256_set1_epi32(15)), _mm256_set1_epi32(8))
                                 : _mm256_srai_epi32(_mm256_sll_epi32(w, _mm_cvtsi32_si128(24 - 8 * t)), 24);
                _mm256_store_ps(out + (i + t) * 16 + 8 * h, rounded(_mm256_mul_ps(_mm256_cvtepi32_ps(v), d), round));
            }
        }
}

void nc_gemm_avx2_table(struct nc_gemm_kernels *t)
{
    t->isa = NC_ISA_AVX2;
    t->rows[0] = 6;
    t->panels[0] = 1;
    t->tile_f32 = tile_f32;
    t->panel_f32 = panel_f32;
    nc_gemm_blocks_avx2_table(t);
}

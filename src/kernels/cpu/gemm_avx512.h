/* gemm_avx512.h - pieces that the AVX-512, AVX512_BF16 and AMX files of the product share: loads that widen, exact rounding to bf16, the 16x16
 * transposition of 32-bit words, and the write-out of a tile's sums. Rounding is done with integers so that its bits are those of
 * nc_f32_to_bf16 everywhere (VCVTNEPS2BF16 would flush denormals).
 */
#ifndef NC_KERNELS_CPU_GEMM_AVX512_H
#define NC_KERNELS_CPU_GEMM_AVX512_H
#include <immintrin.h>
#include "kernels/cpu/gemm_x86.h"

#if defined(__clang__)
#define NC_UNROLL _Pragma("clang loop unroll(full)")
#else
#define NC_UNROLL _Pragma("GCC unroll 32")
#endif
#define NC_INLINE static inline __attribute__((always_inline))


NC_INLINE __mmask16 nc_mask16(int64_t n) { return n >= 16 ? 0xffff : n <= 0 ? 0 : (__mmask16)((1u << n) - 1); }
NC_INLINE __mmask32 nc_mask32(int64_t n) { return n >= 32 ? 0xffffffffu : n <= 0 ? 0 : (__mmask32)((1u << n) - 1); }

NC_INLINE __m512 nc_widen_bf16(__m256i h) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16)); }

/* Round to nearest even; NaN keeps its sign and becomes quiet. Result in the low half of each 32-bit word. */
NC_INLINE __m512i nc_round_bf16(__m512 v)
{
    __m512i u = _mm512_castps_si512(v);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    __m512i r = _mm512_srli_epi32(_mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
    __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    return _mm512_mask_or_epi32(r, nan, _mm512_srli_epi32(u, 16), _mm512_set1_epi32(0x40));
}

/* 16 numbers of F32, BF16 or F16 at p as f32; those outside the mask are zero and not read. */
NC_INLINE __m512 nc_load16(nc_dtype t, const void *p, __mmask16 mask)
{
    if (t == NC_F32)
        return _mm512_maskz_loadu_ps(mask, p);
    __m256i h = _mm256_maskz_loadu_epi16(mask, p);
    return t == NC_BF16 ? nc_widen_bf16(h) : _mm512_cvtph_ps(h);
}

/* 32 numbers as bf16. */
NC_INLINE __m512i nc_load32_bf16(nc_dtype t, const void *p, __mmask32 mask)
{
    if (t == NC_BF16)
        return _mm512_maskz_loadu_epi16(mask, p);
    size_t half = t == NC_F32 ? 64 : 32;
    __m256i lo = _mm512_cvtepi32_epi16(nc_round_bf16(nc_load16(t, p, (__mmask16)mask)));
    __m256i hi = _mm512_cvtepi32_epi16(nc_round_bf16(nc_load16(t, (const char *)p + half, (__mmask16)(mask >> 16))));
    return _mm512_inserti64x4(_mm512_castsi256_si512(lo), hi, 1);
}

NC_INLINE void nc_transpose16(__m512i r[16])
{
    __m512i t[16];
    NC_UNROLL
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    NC_UNROLL
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    NC_UNROLL
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
    }
    NC_UNROLL
    for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
        r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
        r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
    }
}

NC_INLINE __m512 nc_tile_bias(const nc_gemm_out *o, int panel)
{
    if (!o->bias)
        return _mm512_setzero_ps();
    size_t size = o->bias_dtype == NC_F32 ? 4 : 2;
    return nc_load16(o->bias_dtype, (const char *)o->bias + (size_t)panel * 16 * size, nc_mask16(o->columns - panel * 16));
}

/* A tile's sums pass through memory between registers (whose indices must be constants) and C (whose shape and type vary): [rows][panels][16]. */
static __attribute__((noinline, unused)) void nc_tile_load(float *sums, const nc_gemm_out *o, int rows, int panels)
{
    size_t size = o->c_dtype == NC_F32 ? 4 : 2;
    for (int r = 0; r < rows; r++)
        for (int p = 0; p < panels; p++)
            _mm512_store_ps(sums + (r * panels + p) * 16,
                            nc_load16(o->c_dtype, (const char *)o->c + (size_t)(r * o->ldc + p * 16) * size, nc_mask16(o->columns - p * 16)));
}

static __attribute__((noinline, unused)) void nc_tile_store(const float *sums, const nc_gemm_out *o, int rows, int panels)
{
    for (int p = 0; p < panels; p++) {
        __m512 bias = nc_tile_bias(o, p);
        __mmask16 mask = nc_mask16(o->columns - p * 16);
        if (o->c_dtype == NC_F32)
            for (int r = 0; r < rows; r++)
                _mm512_mask_storeu_ps((float *)o->c + r * o->ldc + p * 16, mask, _mm512_add_ps(_mm512_load_ps(sums + (r * panels + p) * 16), bias));
        else
            for (int r = 0; r < rows; r++)
                _mm256_mask_storeu_epi16((uint16_t *)o->c + r * o->ldc + p * 16, mask,
                                         _mm512_cvtepi32_epi16(nc_round_bf16(_mm512_add_ps(_mm512_load_ps(sums + (r * panels + p) * 16), bias))));
    }
}

/* A switch over the number of rows, so that each is compiled with its own registers. */
#define NC_ROWS_14(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#endif

/* gemm_blocks_avx512.h - 32 bf16 values of a row to the integers of their block: what the AVX-512 and AMX files of the product by blocks share. */
#ifndef NC_KERNELS_CPU_GEMM_BLOCKS_AVX512_H
#define NC_KERNELS_CPU_GEMM_BLOCKS_AVX512_H
#include "kernels/cpu/gemm_avx512.h"

/* The grid's step and its inverse, as nc_ref_gemm_block_step finds them. The largest of the sizes is the least of their complements; NaN is above all. */
NC_INLINE void nc_block_step(__m512i a, float *step, float *inverse)
{
    __m512i size = _mm512_and_si512(a, _mm512_set1_epi16(0x7fff));
    __m256i m = _mm256_max_epu16(_mm512_castsi512_si256(size), _mm512_extracti64x4_epi64(size, 1));
    __m128i top = _mm_max_epu16(_mm256_castsi256_si128(m), _mm256_extracti128_si256(m, 1));
    uint32_t max = 0xffff & ~(uint32_t)_mm_extract_epi16(_mm_minpos_epu16(_mm_xor_si128(top, _mm_set1_epi16(-1))), 0), exponent = max >> 7;
    bool zero = exponent < 127 - 100, none = exponent >= 127 + 100;
    uint32_t s = zero ? 0 : none ? 0x7fc00000u : (exponent - 11) << 23, i = zero || none ? 0 : (265 - exponent) << 23;
    memcpy(step, &s, 4);
    memcpy(inverse, &i, 4);
}

/* n of the values 0-15 and 16-31. */
NC_INLINE void nc_block_integers(__m512i a, float inverse, __m512i n[2])
{
    __m512 i = _mm512_set1_ps(inverse);
    __mmask16 live = inverse == 0 ? 0 : 0xffff;
    n[0] = _mm512_maskz_cvtps_epi32(live, _mm512_mul_ps(nc_widen_bf16(_mm512_castsi512_si256(a)), i));
    n[1] = _mm512_maskz_cvtps_epi32(live, _mm512_mul_ps(nc_widen_bf16(_mm512_extracti64x4_epi64(a, 1)), i));
}

/* Up to eight rows by one panel (gemm_blocks_avx512.c). */
void nc_gemm_blocks_vnni(const nc_gemm_out *o, const nc_gemm_block_rows *a, int rows, nc_gemm_kind kind, const void *panel, int64_t k);
#endif

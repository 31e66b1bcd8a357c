/* gemm_quant.h - quantized values widened to bf16 in registers, as VDPBF16PS and the tiles take them: pairs of k for 16 columns.
 *
 * A value is bf16(scale * q): the product in f32 is exact (11 bits times 8 or fewer), rounded once. Layouts are those of kernels/gemm.h.
 */
#ifndef NC_KERNELS_CPU_GEMM_QUANT_H
#define NC_KERNELS_CPU_GEMM_QUANT_H
#include "kernels/cpu/gemm_avx512.h"

/* The scales of 16 columns, each twice: columns 0-7, columns 8-15. */
NC_INLINE void scales(const uint16_t *scale, __m512 *low, __m512 *high)
{
    const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    __m512 d = _mm512_cvtph_ps(_mm256_loadu_si256((const void *)scale));
    *low = _mm512_permutexvar_ps(twice, d);
    *high = _mm512_permutexvar_ps(_mm512_add_epi32(twice, _mm512_set1_epi32(8)), d);
}

NC_INLINE __m512i join(__m512 low, __m512 high) { return (__m512i)_mm512_cvtne2ps_pbh(high, low); }

NC_INLINE __m512i widen_q8(const uint8_t *q, __m512 d0, __m512 d1)
{
    __m512 low = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)q)));
    __m512 high = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)(q + 16))));
    return join(_mm512_mul_ps(low, d0), _mm512_mul_ps(high, d1));
}

/* Four-bit values without conversion or table: a nibble at bits 4p of a word, under the exponent of 2^(23-4p), is the float 2^(23-4p) + q, and one
 * fused multiply-add by the scale d with -(2^(23-4p) + 8) d makes d (q - 8). Exact: d has 11 bits, the constant 13 or fewer for p = 2, 3, 4; the other
 * nibbles are shifted there. */
typedef struct q4_scale { __m512 d[2], c2[2], c3[2], c4[2]; } q4_scale;   /* [columns 0-7, columns 8-15] */

NC_INLINE q4_scale q4_scales(const uint16_t *scale)
{
    q4_scale s;
    scales(scale, &s.d[0], &s.d[1]);
    NC_UNROLL
    for (int h = 0; h < 2; h++) {
        s.c2[h] = _mm512_mul_ps(s.d[h], _mm512_set1_ps(-(32768.0f + 8)));
        s.c3[h] = _mm512_mul_ps(s.d[h], _mm512_set1_ps(-(2048.0f + 8)));
        s.c4[h] = _mm512_mul_ps(s.d[h], _mm512_set1_ps(-(128.0f + 8)));
    }
    return s;
}

/* (words & mask) | exponent */
NC_INLINE __m512 nibble(__m512i words, int mask, int exponent)
{
    return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(words, _mm512_set1_epi32(mask), _mm512_set1_epi32(exponent), 0xea));
}
NC_INLINE __m512 nibble2(__m512i w, __m512 d, __m512 c) { return _mm512_fmadd_ps(nibble(w, 0xf00, 0x47000000), d, c); }
NC_INLINE __m512 nibble3(__m512i w, __m512 d, __m512 c) { return _mm512_fmadd_ps(nibble(w, 0xf000, 0x45000000), d, c); }
NC_INLINE __m512 nibble4(__m512i w, __m512 d, __m512 c) { return _mm512_fmadd_ps(nibble(w, 0xf0000, 0x43000000), d, c); }

/* The four pairs of k of a group of words. */
NC_INLINE void widen_q4(__m512i out[4], __m512i w, const q4_scale *s)
{
    __m512i up = _mm512_slli_epi32(w, 8), down = _mm512_srli_epi32(w, 12);
    out[0] = join(nibble2(up, s->d[0], s->c2[0]), nibble3(up, s->d[1], s->c3[1]));
    out[1] = join(nibble2(w, s->d[0], s->c2[0]), nibble3(w, s->d[1], s->c3[1]));
    out[2] = join(nibble4(w, s->d[0], s->c4[0]), nibble2(down, s->d[1], s->c2[1]));
    out[3] = join(nibble3(down, s->d[0], s->c3[0]), nibble4(down, s->d[1], s->c4[1]));
}

/* A block of 32 k of a panel, [16 pairs of k][16 columns][2]. */
static inline __attribute__((always_inline, unused)) void widen_q8_block(uint16_t *out, const uint8_t *q, const uint16_t *scale)
{
    __m512 d0, d1;
    scales(scale, &d0, &d1);
    for (int p = 0; p < 16; p++)
        _mm512_store_si512(out + 32 * p, widen_q8(q + 32 * p, d0, d1));
}

static inline __attribute__((always_inline, unused)) void widen_q4_block(uint16_t *out, const uint8_t *q, const uint16_t *scale)
{
    q4_scale s = q4_scales(scale);
    for (int g = 0; g < 4; g++, out += 128) {
        __m512i v[4];
        widen_q4(v, _mm512_loadu_si512(q + 64 * g), &s);
        NC_UNROLL
        for (int p = 0; p < 4; p++)
            _mm512_store_si512(out + 32 * p, v[p]);
    }
}
#endif

/* simd.h - one vector of floats, as wide as the file that includes this was compiled for (AVX2: 8, AVX-512: 16).
 *
 * Kernels are written once over these few calls in <family>_body.h, and <family>_avx2.c and <family>_avx512.c are that text compiled
 * twice (and <family>_avx512bf16.c where bf16 stores matter). A tail of n < NC_VL elements is loaded with zeros behind and goes through the same arithmetic as whole vectors, so that an
 * element's value does not depend on where in its row it lies. Storage is f32 or bf16 (`h` true); arithmetic is f32. bf16 is rounded as
 * nc_f32_to_bf16 does: by vcvtneps2bf16 where there is one and no input is subnormal (it flushes those), else with integers.
 */
#ifndef NC_KERNELS_CPU_SIMD_H
#define NC_KERNELS_CPU_SIMD_H
#include <immintrin.h>
#include "kernels/dtype.h"

#define NC_INLINE static inline __attribute__((always_inline, unused))

#if defined(__AVX512F__)
enum { NC_VL = 16 };
typedef __m512 vf;
typedef __m512i vi;
typedef __mmask16 vm;

NC_INLINE vf v_set(float x) { return _mm512_set1_ps(x); }
NC_INLINE vf v_zero(void) { return _mm512_setzero_ps(); }
NC_INLINE vf v_add(vf a, vf b) { return _mm512_add_ps(a, b); }
NC_INLINE vf v_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
NC_INLINE vf v_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
NC_INLINE vf v_div(vf a, vf b) { return _mm512_div_ps(a, b); }
NC_INLINE vf v_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }       /* a*b + c */
NC_INLINE vf v_fnma(vf a, vf b, vf c) { return _mm512_fnmadd_ps(a, b, c); }     /* c - a*b */
NC_INLINE vf v_max(vf a, vf b) { return _mm512_max_ps(a, b); }                  /* b where either is NaN */
NC_INLINE vf v_min(vf a, vf b) { return _mm512_min_ps(a, b); }
NC_INLINE vf v_sqrt(vf a) { return _mm512_sqrt_ps(a); }
NC_INLINE vf v_round(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
NC_INLINE vi v_bits(vf a) { return _mm512_castps_si512(a); }
NC_INLINE vf v_float(vi a) { return _mm512_castsi512_ps(a); }
NC_INLINE vi vi_set(int x) { return _mm512_set1_epi32(x); }
NC_INLINE vi vi_add(vi a, vi b) { return _mm512_add_epi32(a, b); }
NC_INLINE vi vi_sub(vi a, vi b) { return _mm512_sub_epi32(a, b); }
NC_INLINE vi vi_and(vi a, vi b) { return _mm512_and_si512(a, b); }
NC_INLINE vi vi_or(vi a, vi b) { return _mm512_or_si512(a, b); }
NC_INLINE vi vi_xor(vi a, vi b) { return _mm512_xor_si512(a, b); }
#define vi_shr(a, n) _mm512_srli_epi32(a, n)
#define vi_sar(a, n) _mm512_srai_epi32(a, n)
#define vi_shl(a, n) _mm512_slli_epi32(a, n)
NC_INLINE vi v_to_int(vf a) { return _mm512_cvtps_epi32(a); }
NC_INLINE vf vi_to_float(vi a) { return _mm512_cvtepi32_ps(a); }
NC_INLINE vm v_lt(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
NC_INLINE vm v_le(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
NC_INLINE vm v_eq(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
NC_INLINE vm v_isnan(vf a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
NC_INLINE vm vi_eq(vi a, vi b) { return _mm512_cmpeq_epi32_mask(a, b); }
NC_INLINE vf v_select(vm m, vf yes, vf no) { return _mm512_mask_blend_ps(m, no, yes); }
NC_INLINE vi vi_select(vm m, vi yes, vi no) { return _mm512_mask_blend_epi32(m, no, yes); }
NC_INLINE bool vm_any(vm m) { return m != 0; }
NC_INLINE vm v_head(int64_t n) { return (vm)((1u << n) - 1); }                  /* the first n < NC_VL lanes */

NC_INLINE vf v_load(const float *p) { return _mm512_loadu_ps(p); }
NC_INLINE vf v_load_n(const float *p, int64_t n) { return _mm512_maskz_loadu_ps(v_head(n), p); }
NC_INLINE void v_store(float *p, vf a) { _mm512_storeu_ps(p, a); }
NC_INLINE void v_store_n(float *p, vf a, int64_t n) { _mm512_mask_storeu_ps(p, v_head(n), a); }
NC_INLINE vf v_load_h(const uint16_t *p) { return v_float(vi_shl(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16)); }
NC_INLINE vf v_load_h_n(const uint16_t *p, int64_t n) { return v_float(vi_shl(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(v_head(n), p)), 16)); }
NC_INLINE __m256i v_narrow(vf a)
{
#if defined(__AVX512BF16__)
    if (__builtin_expect(_mm512_fpclass_ps_mask(a, 0x20) == 0, 1))   /* no subnormal among them */
        return (__m256i)_mm512_cvtneps_pbh(a);
#endif
    vi u = v_bits(a);
    vi r = vi_shr(vi_add(u, vi_add(vi_set(0x7fff), vi_and(vi_shr(u, 16), vi_set(1)))), 16);
    return _mm512_cvtepi32_epi16(vi_select(v_isnan(a), vi_or(vi_shr(u, 16), vi_set(0x40)), r));
}
NC_INLINE void v_store_h(uint16_t *p, vf a) { _mm256_storeu_si256((__m256i *)p, v_narrow(a)); }
NC_INLINE void v_store_h_n(uint16_t *p, vf a, int64_t n) { _mm256_mask_storeu_epi16(p, v_head(n), v_narrow(a)); }
NC_INLINE void v_stream_h(uint16_t *p, vf a) { _mm256_stream_si256((__m256i *)p, v_narrow(a)); }    /* past the cache; p on a vector of bf16 */
/* Doubles: a vf is two of them. */
typedef __m512d vd;
NC_INLINE vd vd_low(vf a) { return _mm512_cvtps_pd(_mm512_castps512_ps256(a)); }
NC_INLINE vd vd_high(vf a) { return _mm512_cvtps_pd(_mm512_extractf32x8_ps(a, 1)); }
NC_INLINE vf vd_join(vd a, vd b) { return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(a)), _mm512_cvtpd_ps(b), 1); }
NC_INLINE vd vd_set(double x) { return _mm512_set1_pd(x); }
NC_INLINE vd vd_add(vd a, vd b) { return _mm512_add_pd(a, b); }
NC_INLINE vd vd_mul(vd a, vd b) { return _mm512_mul_pd(a, b); }
NC_INLINE vd vd_fma(vd a, vd b, vd c) { return _mm512_fmadd_pd(a, b, c); }
NC_INLINE vd vd_fnma(vd a, vd b, vd c) { return _mm512_fnmadd_pd(a, b, c); }
NC_INLINE vd vd_round(vd a) { return _mm512_roundscale_pd(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
NC_INLINE double vd_sum(vd a)                                                    /* halves, then quarters ... */
{
    __m256d s = _mm256_add_pd(_mm512_castpd512_pd256(a), _mm512_extractf64x4_pd(a, 1));
    __m128d t = _mm_add_pd(_mm256_castpd256_pd128(s), _mm256_extractf128_pd(s, 1));
    return _mm_cvtsd_f64(_mm_add_sd(t, _mm_unpackhi_pd(t, t)));
}
/* (x0 x1 x2 x3 ...) -> (x1 x0 x3 x2 ...) */
NC_INLINE vf v_swap(vf a) { return _mm512_permute_ps(a, 0xB1); }
/* The first half of the lanes, each twice. */
NC_INLINE vf v_twice_low(vf a)
{
    return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7), a);
}
/* (-a0, a1, -a2, ...) */
NC_INLINE vf v_alternate(vf a) { return v_float(vi_xor(v_bits(a), _mm512_set1_epi64(0x80000000LL))); }
NC_INLINE __m256 v_half_low(vf a) { return _mm512_castps512_ps256(a); }
NC_INLINE __m256 v_half_high(vf a) { return _mm512_extractf32x8_ps(a, 1); }

#elif defined(__AVX2__)
enum { NC_VL = 8 };
typedef __m256 vf;
typedef __m256i vi;
typedef __m256 vm;

NC_INLINE vf v_set(float x) { return _mm256_set1_ps(x); }
NC_INLINE vf v_zero(void) { return _mm256_setzero_ps(); }
NC_INLINE vf v_add(vf a, vf b) { return _mm256_add_ps(a, b); }
NC_INLINE vf v_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
NC_INLINE vf v_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
NC_INLINE vf v_div(vf a, vf b) { return _mm256_div_ps(a, b); }
NC_INLINE vf v_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
NC_INLINE vf v_fnma(vf a, vf b, vf c) { return _mm256_fnmadd_ps(a, b, c); }
NC_INLINE vf v_max(vf a, vf b) { return _mm256_max_ps(a, b); }
NC_INLINE vf v_min(vf a, vf b) { return _mm256_min_ps(a, b); }
NC_INLINE vf v_sqrt(vf a) { return _mm256_sqrt_ps(a); }
NC_INLINE vf v_round(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
NC_INLINE vi v_bits(vf a) { return _mm256_castps_si256(a); }
NC_INLINE vf v_float(vi a) { return _mm256_castsi256_ps(a); }
NC_INLINE vi vi_set(int x) { return _mm256_set1_epi32(x); }
NC_INLINE vi vi_add(vi a, vi b) { return _mm256_add_epi32(a, b); }
NC_INLINE vi vi_sub(vi a, vi b) { return _mm256_sub_epi32(a, b); }
NC_INLINE vi vi_and(vi a, vi b) { return _mm256_and_si256(a, b); }
NC_INLINE vi vi_or(vi a, vi b) { return _mm256_or_si256(a, b); }
NC_INLINE vi vi_xor(vi a, vi b) { return _mm256_xor_si256(a, b); }
#define vi_shr(a, n) _mm256_srli_epi32(a, n)
#define vi_sar(a, n) _mm256_srai_epi32(a, n)
#define vi_shl(a, n) _mm256_slli_epi32(a, n)
NC_INLINE vi v_to_int(vf a) { return _mm256_cvtps_epi32(a); }
NC_INLINE vf vi_to_float(vi a) { return _mm256_cvtepi32_ps(a); }
NC_INLINE vm v_lt(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
NC_INLINE vm v_le(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LE_OQ); }
NC_INLINE vm v_eq(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
NC_INLINE vm v_isnan(vf a) { return _mm256_cmp_ps(a, a, _CMP_UNORD_Q); }
NC_INLINE vm vi_eq(vi a, vi b) { return v_float(_mm256_cmpeq_epi32(a, b)); }
NC_INLINE vf v_select(vm m, vf yes, vf no) { return _mm256_blendv_ps(no, yes, m); }
NC_INLINE vi vi_select(vm m, vi yes, vi no) { return v_bits(_mm256_blendv_ps(v_float(no), v_float(yes), m)); }
NC_INLINE bool vm_any(vm m) { return _mm256_movemask_ps(m) != 0; }
NC_INLINE __m256i v_head_bits(int64_t n) { return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)); }
NC_INLINE vm v_head(int64_t n) { return v_float(v_head_bits(n)); }

NC_INLINE vf v_load(const float *p) { return _mm256_loadu_ps(p); }
NC_INLINE vf v_load_n(const float *p, int64_t n) { return _mm256_maskload_ps(p, v_head_bits(n)); }
NC_INLINE void v_store(float *p, vf a) { _mm256_storeu_ps(p, a); }
NC_INLINE void v_store_n(float *p, vf a, int64_t n) { _mm256_maskstore_ps(p, v_head_bits(n), a); }
NC_INLINE vf v_load_h(const uint16_t *p) { return v_float(vi_shl(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)), 16)); }
NC_INLINE vf v_load_h_n(const uint16_t *p, int64_t n)
{
    uint16_t t[8] = { 0 };
    for (int64_t i = 0; i < n; i++)
        t[i] = p[i];
    return v_load_h(t);
}
NC_INLINE __m128i v_narrow(vf a)
{
    vi u = v_bits(a);
    vi r = vi_shr(vi_add(u, vi_add(vi_set(0x7fff), vi_and(vi_shr(u, 16), vi_set(1)))), 16);
    r = vi_select(v_isnan(a), vi_or(vi_shr(u, 16), vi_set(0x40)), r);
    return _mm_packus_epi32(_mm256_castsi256_si128(r), _mm256_extracti128_si256(r, 1));
}
NC_INLINE void v_store_h(uint16_t *p, vf a) { _mm_storeu_si128((__m128i *)p, v_narrow(a)); }
NC_INLINE void v_stream_h(uint16_t *p, vf a) { _mm_stream_si128((__m128i *)p, v_narrow(a)); }
NC_INLINE void v_store_h_n(uint16_t *p, vf a, int64_t n)
{
    uint16_t t[8];
    v_store_h(t, a);
    for (int64_t i = 0; i < n; i++)
        p[i] = t[i];
}
typedef __m256d vd;
NC_INLINE vd vd_low(vf a) { return _mm256_cvtps_pd(_mm256_castps256_ps128(a)); }
NC_INLINE vd vd_high(vf a) { return _mm256_cvtps_pd(_mm256_extractf128_ps(a, 1)); }
NC_INLINE vf vd_join(vd a, vd b) { return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm256_cvtpd_ps(a)), _mm256_cvtpd_ps(b), 1); }
NC_INLINE vd vd_set(double x) { return _mm256_set1_pd(x); }
NC_INLINE vd vd_add(vd a, vd b) { return _mm256_add_pd(a, b); }
NC_INLINE vd vd_mul(vd a, vd b) { return _mm256_mul_pd(a, b); }
NC_INLINE vd vd_fma(vd a, vd b, vd c) { return _mm256_fmadd_pd(a, b, c); }
NC_INLINE vd vd_fnma(vd a, vd b, vd c) { return _mm256_fnmadd_pd(a, b, c); }
NC_INLINE vd vd_round(vd a) { return _mm256_round_pd(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
NC_INLINE double vd_sum(vd a)
{
    __m128d t = _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
    return _mm_cvtsd_f64(_mm_add_sd(t, _mm_unpackhi_pd(t, t)));
}
NC_INLINE vf v_swap(vf a) { return _mm256_permute_ps(a, 0xB1); }
NC_INLINE vf v_twice_low(vf a) { return _mm256_permutevar8x32_ps(a, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3)); }
NC_INLINE vf v_alternate(vf a) { return v_float(vi_xor(v_bits(a), _mm256_set1_epi64x(0x80000000LL))); }
#else
#error "simd.h needs AVX2 or AVX-512 flags: name the file <family>_avx2.c or <family>_avx512.c"
#endif

NC_INLINE vf v_abs(vf a) { return v_float(vi_and(v_bits(a), vi_set(0x7fffffff))); }
NC_INLINE vf v_neg(vf a) { return v_float(vi_xor(v_bits(a), vi_set((int)0x80000000u))); }
NC_INLINE vf v_copysign(vf size, vf sign)
{
    const vi s = vi_set((int)0x80000000u);
    return v_float(vi_or(vi_and(v_bits(sign), s), vi_and(v_bits(size), vi_set(0x7fffffff))));
}

/* The sum, largest of all lanes: halves are added (compared) until one is left. */
NC_INLINE float v_sum(vf a)
{
#if defined(__AVX512F__)
    __m256 b = _mm256_add_ps(v_half_low(a), v_half_high(a));
#else
    __m256 b = a;
#endif
    __m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
    c = _mm_add_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
NC_INLINE float v_largest(vf a)
{
#if defined(__AVX512F__)
    __m256 b = _mm256_max_ps(v_half_low(a), v_half_high(a));
#else
    __m256 b = a;
#endif
    __m128 c = _mm_max_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
    c = _mm_max_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
}

/* Element i of an array in storage h (false f32, true bf16); _n: n < NC_VL of them. */
NC_INLINE vf v_get(bool h, const void *p, int64_t i) { return h ? v_load_h((const uint16_t *)p + i) : v_load((const float *)p + i); }
NC_INLINE vf v_get_n(bool h, const void *p, int64_t i, int64_t n) { return h ? v_load_h_n((const uint16_t *)p + i, n) : v_load_n((const float *)p + i, n); }
NC_INLINE void v_put(bool h, void *p, int64_t i, vf a)
{
    if (h)
        v_store_h((uint16_t *)p + i, a);
    else
        v_store((float *)p + i, a);
}
/* a and the vector behind it, b. */
NC_INLINE void v_put2(bool h, void *p, int64_t i, vf a, vf b)
{
#if defined(__AVX512BF16__)
    if (h && __builtin_expect((_mm512_fpclass_ps_mask(a, 0x20) | _mm512_fpclass_ps_mask(b, 0x20)) == 0, 1)) {        /* as v_narrow */
        _mm512_storeu_si512((uint16_t *)p + i, (__m512i)_mm512_cvtne2ps_pbh(b, a));
        return;
    }
#endif
    v_put(h, p, i, a);
    v_put(h, p, i + NC_VL, b);
}
NC_INLINE void v_put_n(bool h, void *p, int64_t i, vf a, int64_t n)
{
    if (h)
        v_store_h_n((uint16_t *)p + i, a, n);
    else
        v_store_n((float *)p + i, a, n);
}
NC_INLINE float v_get1(bool h, const void *p, int64_t i) { return h ? nc_bf16_to_f32(((const uint16_t *)p)[i]) : ((const float *)p)[i]; }
#endif

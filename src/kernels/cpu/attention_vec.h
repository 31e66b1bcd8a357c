/* attention_vec.h - the operations of attention_tiles.h over vectors of one ISA: 16 lanes with AVX-512, 8 with AVX2. Included by attention_<isa>.c alone, once
 * in each; the compiler's flags choose the vocabulary. bf16 products here widen to f32 (exact) and fuse; attention_avx512bf16.c has the instruction.
 *
 * 2^x: n = round(x), f = x - n in [-1/2, 1/2], 2^f = 1 + f q(f), q interpolating (2^f - 1)/f at six Chebyshev nodes (relative error 5e-9), times 2^n.
 */
#include <immintrin.h>
#include <math.h>
#include "kernels/cpu/attention_tiles.h"

#define INLINE static inline __attribute__((always_inline))
#if defined(__AVX512F__)
enum { LANES = 16, TILE_ROWS = 6, TILE_VECTORS = 4, WIDE_ROWS = 6, WIDE_VECTORS = 2 };
typedef __m512 vf;
typedef __m512i vi;
typedef __mmask16 vm;
INLINE vm mask_first(int n) { return (vm)(n >= 16 ? 0xffff : (1u << n) - 1); }
INLINE vm mask_bits(uint64_t bits) { return (vm)bits; }
INLINE vf vload(const float *p) { return _mm512_loadu_ps(p); }
INLINE vf vload_some(vm m, const float *p) { return _mm512_maskz_loadu_ps(m, p); }
INLINE void vstore(float *p, vf x) { _mm512_storeu_ps(p, x); }
INLINE void vstore_some(vm m, float *p, vf x) { _mm512_mask_storeu_ps(p, m, x); }
INLINE vf vset(float x) { return _mm512_set1_ps(x); }
INLINE vf vadd(vf a, vf b) { return _mm512_add_ps(a, b); }
INLINE vf vsub(vf a, vf b) { return _mm512_sub_ps(a, b); }
INLINE vf vmul(vf a, vf b) { return _mm512_mul_ps(a, b); }
INLINE vf vdiv(vf a, vf b) { return _mm512_div_ps(a, b); }
INLINE vf vfma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
INLINE vf vmax(vf a, vf b) { return _mm512_max_ps(a, b); }
INLINE vf vmin(vf a, vf b) { return _mm512_min_ps(a, b); }
INLINE vf vwhere(vm m, vf yes, vf no) { return _mm512_mask_blend_ps(m, no, yes); }
INLINE vf vkeep(vm m, vf x) { return _mm512_maskz_mov_ps(m, x); }
INLINE float vsum(vf x) { return _mm512_reduce_add_ps(x); }
INLINE float vmost(vf x) { return _mm512_reduce_max_ps(x); }
INLINE vf vround(vf x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE vf vpow2(vf p, vf n) { return _mm512_scalef_ps(p, n); }
INLINE vi vbits(vf x) { return _mm512_castps_si512(x); }
INLINE vf vfloat(vi x) { return _mm512_castsi512_ps(x); }
INLINE vi viset(uint32_t x) { return _mm512_set1_epi32((int)x); }
INLINE vi viand(vi a, vi b) { return _mm512_and_si512(a, b); }
INLINE vi vior(vi a, vi b) { return _mm512_or_si512(a, b); }
INLINE vi viadd(vi a, vi b) { return _mm512_add_epi32(a, b); }
#define vileft(x, n) _mm512_slli_epi32(x, n)
#define viright(x, n) _mm512_srli_epi32(x, n)
INLINE vm vnan(vf x) { return _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q); }
INLINE vi vhalves(const uint16_t *p) { return _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)); }
INLINE void vstore_halves(uint16_t *p, vi x) { _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16(x)); }
#else
enum { LANES = 8, TILE_ROWS = 4, TILE_VECTORS = 2, WIDE_ROWS = 4, WIDE_VECTORS = 2 };
typedef __m256 vf;
typedef __m256i vi;
typedef __m256 vm;
INLINE vm mask_bits(uint64_t bits)
{
    const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32((int)(bits & 0xff)), bit), bit));
}
INLINE vm mask_first(int n) { return mask_bits(n >= 8 ? 0xff : (1u << n) - 1); }
INLINE vf vload(const float *p) { return _mm256_loadu_ps(p); }
INLINE vf vload_some(vm m, const float *p) { return _mm256_maskload_ps(p, _mm256_castps_si256(m)); }
INLINE void vstore(float *p, vf x) { _mm256_storeu_ps(p, x); }
INLINE void vstore_some(vm m, float *p, vf x) { _mm256_maskstore_ps(p, _mm256_castps_si256(m), x); }
INLINE vf vset(float x) { return _mm256_set1_ps(x); }
INLINE vf vadd(vf a, vf b) { return _mm256_add_ps(a, b); }
INLINE vf vsub(vf a, vf b) { return _mm256_sub_ps(a, b); }
INLINE vf vmul(vf a, vf b) { return _mm256_mul_ps(a, b); }
INLINE vf vdiv(vf a, vf b) { return _mm256_div_ps(a, b); }
INLINE vf vfma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
INLINE vf vmax(vf a, vf b) { return _mm256_max_ps(a, b); }
INLINE vf vmin(vf a, vf b) { return _mm256_min_ps(a, b); }
INLINE vf vwhere(vm m, vf yes, vf no) { return _mm256_blendv_ps(no, yes, m); }
INLINE vf vkeep(vm m, vf x) { return _mm256_and_ps(m, x); }
INLINE __m128 fold(vf x, bool most)
{
    __m128 a = _mm256_castps256_ps128(x), b = _mm256_extractf128_ps(x, 1);
    a = most ? _mm_max_ps(a, b) : _mm_add_ps(a, b);
    b = _mm_movehl_ps(a, a);
    a = most ? _mm_max_ps(a, b) : _mm_add_ps(a, b);
    b = _mm_shuffle_ps(a, a, 1);
    return most ? _mm_max_ps(a, b) : _mm_add_ps(a, b);
}
INLINE float vsum(vf x) { return _mm_cvtss_f32(fold(x, false)); }
INLINE float vmost(vf x) { return _mm_cvtss_f32(fold(x, true)); }
INLINE vf vround(vf x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE vf vpow2(vf p, vf n)                      /* n in -126..127, else 0 below */
{
    vf low = _mm256_set1_ps(-126), safe = _mm256_min_ps(_mm256_max_ps(n, low), _mm256_set1_ps(127));
    vf power = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(safe), _mm256_set1_epi32(127)), 23));
    return _mm256_andnot_ps(_mm256_cmp_ps(n, low, _CMP_LT_OQ), _mm256_mul_ps(p, power));
}
INLINE vi vbits(vf x) { return _mm256_castps_si256(x); }
INLINE vf vfloat(vi x) { return _mm256_castsi256_ps(x); }
INLINE vi viset(uint32_t x) { return _mm256_set1_epi32((int)x); }
INLINE vi viand(vi a, vi b) { return _mm256_and_si256(a, b); }
INLINE vi vior(vi a, vi b) { return _mm256_or_si256(a, b); }
INLINE vi viadd(vi a, vi b) { return _mm256_add_epi32(a, b); }
#define vileft(x, n) _mm256_slli_epi32(x, n)
#define viright(x, n) _mm256_srli_epi32(x, n)
INLINE vm vnan(vf x) { return _mm256_cmp_ps(x, x, _CMP_UNORD_Q); }
INLINE vi vhalves(const uint16_t *p) { return _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)); }
INLINE void vstore_halves(uint16_t *p, vi x)
{
    __m256i y = _mm256_permute4x64_epi64(_mm256_packus_epi32(x, x), 0x08);
    _mm_storeu_si128((__m128i *)p, _mm256_castsi256_si128(y));
}
#endif
enum { VECTORS = NC_TILE / LANES };

INLINE vf vexp2(vf x)
{
    x = vmax(vset(-150), vmin(vset(150), x));    /* in this order NaN stays NaN */
    vf n = vround(x), f = vsub(x, n);
    vf q = vfma(f, vset(1.545316294e-04f), vset(1.339086336e-03f));
    q = vfma(f, q, vset(9.618082557e-03f));
    q = vfma(f, q, vset(5.550357114e-02f));
    q = vfma(f, q, vset(2.402265076e-01f));
    q = vfma(f, q, vset(6.931471880e-01f));
    return vpow2(vfma(f, q, vset(1)), n);
}

#if defined(__AVX512F__)
/* For p stored in bf16: 2^floor(x) q(x - floor(x)), q of degree 4 with the least relative error, 2.7e-6. */
INLINE vf vexp2_bf16(vf x)
{
    vf f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    vf q = vfma(f, vset(1.3534168e-02f), vset(5.2011460e-02f));
    q = vfma(f, q, vset(2.4144275e-01f));
    q = vfma(f, q, vset(6.9300383e-01f));
    return vpow2(vfma(f, q, vset(1.0000026f)), x);
}
#endif

/* The bf16 nearest to x, ties to even, in the low half of each lane; NaN stays NaN. */
#if defined(__AVX512BF16__)
INLINE vi vround_bf16(vf x) { return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(x)); }
INLINE void vstore_bf16(uint16_t *p, vf x) { _mm256_storeu_si256((__m256i *)p, (__m256i)_mm512_cvtneps_pbh(x)); }
#else
INLINE vi vround_bf16(vf x)
{
    vi u = vbits(x), r = viright(viadd(u, viadd(viset(0x7fff), viand(viright(u, 16), viset(1)))), 16);
    return vbits(vwhere(vnan(x), vfloat(vior(viright(u, 16), viset(0x40))), vfloat(r)));
}
INLINE void vstore_bf16(uint16_t *p, vf x) { vstore_halves(p, vround_bf16(x)); }
#endif

/* tanh(y) = 1 - 2 / (1 + e^2y): exact to 1e-7 of 1, which is what a capped score asks for. */
INLINE vf vtanh(vf y)
{
    y = vmax(vset(-15), vmin(vset(15), y));
    return vsub(vset(1), vdiv(vset(2), vadd(vset(1), vexp2(vmul(y, vset(2.885390082f))))));
}

INLINE vf score_of(const nc_attention_score *f, vf s, vf *tanh_out)
{
    if (!f->capped)
        return vmul(s, vset(f->scale2));
    *tanh_out = vtanh(vmul(s, vset(f->scale_cap)));
    return vmul(*tanh_out, vset(f->cap2));
}

/* ---- products: a block of R rows by V vectors, each element one accumulator, k upward ---- */
INLINE void tile_f32(const int R, const int V, float *c, int64_t ldc, const uint32_t *a, int64_t lda, const uint32_t *b, int64_t ldb, int depth, vm tail, bool add)
{
    vf sum[TILE_ROWS][TILE_VECTORS], y[TILE_VECTORS];

#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
        for (int v = 0; v < V; v++)
            sum[r][v] = add ? (v == V - 1 ? vload_some(tail, c + r * ldc + v * LANES) : vload(c + r * ldc + v * LANES)) : vset(0);
    for (int k = 0; k < depth; k++) {
#pragma GCC unroll 8
        for (int v = 0; v < V; v++)
            y[v] = v == V - 1 ? vload_some(tail, (const float *)b + k * ldb + v * LANES) : vload((const float *)b + k * ldb + v * LANES);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            vf x = vset(((const float *)a)[r * lda + k]);
#pragma GCC unroll 8
            for (int v = 0; v < V; v++)
                sum[r][v] = vfma(x, y[v], sum[r][v]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
        for (int v = 0; v < V; v++)
            if (v == V - 1)
                vstore_some(tail, c + r * ldc + v * LANES, sum[r][v]);
            else
                vstore(c + r * ldc + v * LANES, sum[r][v]);
}

INLINE void tile_wide(const int R, const int V, float *c, int64_t ldc, const uint32_t *a, int64_t lda, const uint32_t *b, int64_t ldb, int depth, vm tail, bool add)
{
    vf sum[WIDE_ROWS][WIDE_VECTORS], low[WIDE_VECTORS], high[WIDE_VECTORS];

#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
        for (int v = 0; v < V; v++)
            sum[r][v] = add ? (v == V - 1 ? vload_some(tail, c + r * ldc + v * LANES) : vload(c + r * ldc + v * LANES)) : vset(0);
    for (int k = 0; k < depth; k++) {
#pragma GCC unroll 8
        for (int v = 0; v < V; v++) {
            const float *at = (const float *)b + k * ldb + v * LANES;
            vi y = vbits(v == V - 1 ? vload_some(tail, at) : vload(at));
            low[v] = vfloat(vileft(y, 16));
            high[v] = vfloat(viand(y, viset(0xffff0000u)));
        }
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            vi x = viset(a[r * lda + k]);
            vf x0 = vfloat(vileft(x, 16)), x1 = vfloat(viand(x, viset(0xffff0000u)));
#pragma GCC unroll 8
            for (int v = 0; v < V; v++)
                sum[r][v] = vfma(x1, high[v], vfma(x0, low[v], sum[r][v]));
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
        for (int v = 0; v < V; v++)
            if (v == V - 1)
                vstore_some(tail, c + r * ldc + v * LANES, sum[r][v]);
            else
                vstore(c + r * ldc + v * LANES, sum[r][v]);
}

typedef void tile_fn(float *c, int64_t ldc, const uint32_t *a, int64_t lda, const uint32_t *b, int64_t ldb, int depth, vm tail, bool add);
/* One function for each number of rows and vectors: sizes known to the compiler, sums in registers. */
#define TILE(kind, R, V)                                                                                                                              \
    static void kind##_##R##_##V(float *c, int64_t ldc, const uint32_t *a, int64_t lda, const uint32_t *b, int64_t ldb, int depth, vm tail, bool add) \
    { kind(R, V, c, ldc, a, lda, b, ldb, depth, tail, add); }
#define TILE_COLUMN(kind, V) TILE(kind, 1, V) TILE(kind, 2, V) TILE(kind, 3, V) TILE(kind, 4, V)
#define TILE_COLUMN6(kind, V) TILE_COLUMN(kind, V) TILE(kind, 5, V) TILE(kind, 6, V)
#define TILE_NAMES(kind, V) { kind##_1_##V, kind##_2_##V, kind##_3_##V, kind##_4_##V }
#define TILE_NAMES6(kind, V) { kind##_1_##V, kind##_2_##V, kind##_3_##V, kind##_4_##V, kind##_5_##V, kind##_6_##V }

/* Cuts rows and columns into blocks of at most R by V vectors; which block an element falls into does not change its sum. */
INLINE void cut(tile_fn *const *names, const int R, const int V, float *c, int64_t ldc, const uint32_t *a, int64_t lda, const uint32_t *b, int64_t ldb, int rows, int cols,
                int depth, bool add)
{
    for (int n = 0; n < cols;) {
        int left = (cols - n + LANES - 1) / LANES, v = left <= V ? left : left < 2 * V ? (left + 1) / 2 : V;
        vm tail = mask_first(cols - n - (v - 1) * LANES);
        for (int r = 0; r < rows;) {
            int rest = rows - r, h = rest <= R ? rest : rest < 2 * R ? (rest + 1) / 2 : R;
            names[(v - 1) * R + h - 1](c + r * ldc + n, ldc, a + r * lda, lda, b + n, ldb, depth, tail, add);
            r += h;
        }
        n += v * LANES;
    }
}

/* Sparse attention's indexer: the 64 keys are lanes. */
static __attribute__((unused)) void index_scores(void *out, const void *q, const void *w, const void *keys, int heads, int head, double scale)
{
    vf sum[VECTORS], s[VECTORS];

    for (int v = 0; v < VECTORS; v++)
        sum[v] = vset(0);
    for (int h = 0; h < heads; h++) {
        const float *row = (const float *)q + (int64_t)h * head;
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; v++)
            s[v] = vset(0);
        for (int c = 0; c < head; c++)
#pragma GCC unroll 8
            for (int v = 0; v < VECTORS; v++)
                s[v] = vfma(vset(row[c]), vload((const float *)keys + c * NC_TILE + v * LANES), s[v]);
        for (int v = 0; v < VECTORS; v++)
            sum[v] = vfma(vset(((const float *)w)[h]), vmax(vset(0), vmul(vset((float)scale), s[v])), sum[v]);
    }
    for (int v = 0; v < VECTORS; v++)
        vstore((float *)out + v * LANES, sum[v]);
}

/* ---- passes over 64 columns ---- */
#if defined(__AVX512F__)
/* 16 x 16 words turned in registers: interleave words, then pairs, then quarters. */
INLINE void turn16(__m512i x[16])
{
    __m512i y[16];

#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 4)
        for (int h = 0; h < 2; h++) {
            y[i + h] = h ? _mm512_unpackhi_epi32(x[i], x[i + 1]) : _mm512_unpacklo_epi32(x[i], x[i + 1]);
            y[i + 2 + h] = h ? _mm512_unpackhi_epi32(x[i + 2], x[i + 3]) : _mm512_unpacklo_epi32(x[i + 2], x[i + 3]);
        }
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 4)                /* x[i + c]: column 4q + c of rows i..i+3 in quarter q */
        for (int h = 0; h < 2; h++) {
            x[i + 2 * h] = _mm512_unpacklo_epi64(y[i + h], y[i + 2 + h]);
            x[i + 2 * h + 1] = _mm512_unpackhi_epi64(y[i + h], y[i + 2 + h]);
        }
#pragma GCC unroll 8
    for (int c = 0; c < 4; c++) {
        __m512i a = _mm512_shuffle_i32x4(x[c], x[4 + c], 0x88), b = _mm512_shuffle_i32x4(x[c], x[4 + c], 0xdd);
        __m512i d = _mm512_shuffle_i32x4(x[8 + c], x[12 + c], 0x88), e = _mm512_shuffle_i32x4(x[8 + c], x[12 + c], 0xdd);
        y[c] = _mm512_shuffle_i32x4(a, d, 0x88);
        y[8 + c] = _mm512_shuffle_i32x4(a, d, 0xdd);
        y[4 + c] = _mm512_shuffle_i32x4(b, e, 0x88);
        y[12 + c] = _mm512_shuffle_i32x4(b, e, 0xdd);
    }
    memcpy(x, y, sizeof y);
}

/* Lane r of the result: the greatest (or, with add, the sum in the order of vsum) of the 16 lanes of x[r]. */
INLINE vf across(vf x[16], const bool add)
{
    __m512i y[16];
    memcpy(y, x, sizeof y);
    turn16(y);
#pragma GCC unroll 4
    for (int half = 8; half > 0; half /= 2)
#pragma GCC unroll 8
        for (int i = 0; i < half; i++) {
            vf low = vfloat(y[i]), high = vfloat(y[i + half]);
            y[i] = vbits(add ? vadd(low, high) : vmax(low, high));
        }
    return vfloat(y[0]);
}

/* 16 rows at a time, their maxima and sums found for all at once: no row waits for its own. The maximum is lazy (attention.h): most rows need no rescaling. */
INLINE void softmax_rows(const bool bf16, int rows, const float *s, const uint64_t *seen, const nc_attention_score *f, float *m, float *l, float *alpha, uint32_t *p)
{
    for (int begin = 0; begin < rows; begin += 16) {
        const int live = rows - begin < 16 ? rows - begin : 16;
        const vm some = mask_first(live);
        vf x[16], t = vset(0);
        for (int i = 0; i < 16; i++)
            x[i] = vset(-INFINITY);
        for (int i = 0; i < live; i++) {
            const int r = begin + i;
            vf most = x[i];
#pragma GCC unroll 8
            for (int v = 0; v < VECTORS; v++)
                most = vmax(vwhere(mask_bits(seen[r] >> (v * LANES)), score_of(f, vload(s + r * NC_TILE + v * LANES), &t), vset(-INFINITY)), most);
            x[i] = most;
        }
        const vf old = _mm512_mask_loadu_ps(vset(-INFINITY), some, m + begin), top = across(x, false);
        const vm rises = _mm512_cmp_ps_mask(top, vadd(old, vset(NC_ATTENTION_RISE)), _CMP_GT_OQ);
        const vf now = vwhere(rises, top, old), from = vwhere(_mm512_cmp_ps_mask(now, vset(-INFINITY), _CMP_GT_OQ), now, vset(0));
        const vf a = vwhere(rises, vexp2(vsub(old, from)), vset(1));
        _Alignas(64) float base[16];
        vstore(base, from);
        for (int i = 0; i < live; i++) {
            const int r = begin + i;
            vf sum = vset(0);
#pragma GCC unroll 8
            for (int v = 0; v < VECTORS; v++) {
                vf e = vsub(score_of(f, vload(s + r * NC_TILE + v * LANES), &t), vset(base[i])), y = vkeep(mask_bits(seen[r] >> (v * LANES)), bf16 ? vexp2_bf16(e) : vexp2(e));
                sum = vadd(sum, y);
                if (bf16)
                    vstore_bf16((uint16_t *)p + r * NC_TILE + v * LANES, y);
                else
                    vstore((float *)p + r * NC_TILE + v * LANES, y);
            }
            x[i] = sum;
        }
        vstore_some(some, m + begin, now);
        vstore_some(some, alpha + begin, a);
        vstore_some(some, l + begin, vfma(vload_some(some, l + begin), a, across(x, true)));
    }
}
#else
INLINE void softmax_rows(const bool bf16, int rows, const float *s, const uint64_t *seen, const nc_attention_score *f, float *m, float *l, float *alpha, uint32_t *p)
{
    float added[NC_TILE];

    for (int r = 0; r < rows; r++, s += NC_TILE, p += NC_TILE / (bf16 ? 2 : 1)) {
        vf x[VECTORS], most = vset(-INFINITY), sum = vset(0), t = vset(0);
        vm see[VECTORS];
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; v++) {
            see[v] = mask_bits(seen[r] >> (v * LANES));
            x[v] = vwhere(see[v], score_of(f, vload(s + v * LANES), &t), vset(-INFINITY));
            most = vmax(x[v], most);
        }
        float old = m[r], now = vmost(most);
        now = now > old ? now : old;
        vf from = vset(now > -INFINITY ? now : 0);
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; v++) {
            x[v] = vkeep(see[v], vexp2(vsub(x[v], from)));
            sum = vadd(sum, x[v]);
            if (bf16)
                vstore_bf16((uint16_t *)p + v * LANES, x[v]);
            else
                vstore((float *)p + v * LANES, x[v]);
        }
        m[r] = now;
        alpha[r] = old - (now > -INFINITY ? now : 0);
        added[r] = vsum(sum);
    }
    for (int r = 0; r < rows; r += LANES) {
        vm some = mask_first(rows - r);
        vf a = vexp2(vload_some(some, alpha + r));
        vstore_some(some, alpha + r, a);
        vstore_some(some, l + r, vfma(vload_some(some, l + r), a, vload_some(some, added + r)));
    }
}
#endif

INLINE void gradient_rows(const bool bf16, int keys, const float *s, const float *dp, const uint64_t *seen, const nc_attention_score *f, const float *lse2, const float *d,
                          uint32_t *p, uint32_t *ds, uint32_t *pairs)
{
    vi before[VECTORS] = { 0 };

    for (int k = 0; k < keys; k++, s += NC_TILE, dp += NC_TILE) {
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; v++) {
            vm see = mask_bits(seen[k] >> (v * LANES));
            vf t = vset(0), x = score_of(f, vload(s + v * LANES), &t), y = vexp2(vsub(x, vload(lse2 + v * LANES)));
            vf g = vmul(vmul(y, vsub(vload(dp + v * LANES), vload(d + v * LANES))), vset(f->scale));
            if (f->capped)
                g = vmul(g, vsub(vset(1), vmul(t, t)));
            y = vkeep(see, y);
            g = vkeep(see, g);
            if (bf16) {
                vi h = vround_bf16(g);
                vstore_bf16((uint16_t *)p + k * NC_TILE + v * LANES, y);
                vstore_halves((uint16_t *)ds + k * NC_TILE + v * LANES, h);
                if (k % 2)
                    vstore((float *)pairs + k / 2 * NC_TILE + v * LANES, vfloat(vior(before[v], vileft(h, 16))));
                before[v] = h;
            } else {
                vstore((float *)p + k * NC_TILE + v * LANES, y);
                vstore((float *)ds + k * NC_TILE + v * LANES, g);
            }
        }
    }
}

static inline void rescale(float *acc, int64_t width, const float *alpha, int rows)
{
    for (int r = 0; r < rows; r++, acc += width)
        for (int64_t c = 0; alpha[r] != 1 && c < width; c += LANES) {
            vm m = mask_first(width - c < LANES ? (int)(width - c) : LANES);
            vstore_some(m, acc + c, vmul(vload_some(m, acc + c), vset(alpha[r])));
        }
}

static inline void store_f32(void *to, const float *from, float scale, int n)
{
    for (int c = 0; c < n; c += LANES) {
        vm m = mask_first(n - c);
        vstore_some(m, (float *)to + c, vadd(vmul(vload_some(m, from + c), vset(scale)), vset(0)));
    }
}

static inline void store_bf16(void *to, const float *from, float scale, int n)
{
    uint16_t *h = to;
    int c = 0;

#if defined(__AVX512BF16__)          /* whole lines go past the cache: heads are short runs far apart, and fetching their old content first takes longer */
    if (((uintptr_t)to | (uintptr_t)(n * 2)) % 64 == 0)
        for (; c < n; c += 2 * LANES) {
            vf a = vadd(vmul(vload(from + c), vset(scale)), vset(0)), b = vadd(vmul(vload(from + c + LANES), vset(scale)), vset(0));
            _mm512_stream_si512((void *)(h + c), (__m512i)_mm512_cvtne2ps_pbh(b, a));
        }
#endif
    for (; c + LANES <= n; c += LANES)
        vstore_bf16(h + c, vadd(vmul(vload(from + c), vset(scale)), vset(0)));
    for (; c < n; c++)
        h[c] = nc_f32_to_bf16(from[c] * scale + 0.0f);
}

static inline float dot_f32(const void *x, const void *y, int n)
{
    const float *a = x, *b = y;
    vf sum = vset(0);

    for (int c = 0; c < n; c += LANES) {
        vm m = mask_first(n - c);
        sum = vfma(vload_some(m, a + c), vload_some(m, b + c), sum);
    }
    return vsum(sum);
}

static inline float dot_bf16(const void *x, const void *y, int n)
{
    const uint16_t *a = x, *b = y;
    vf sum = vset(0);
    float rest = 0;
    int c = 0;

    for (; c + LANES <= n; c += LANES)
        sum = vfma(vfloat(vileft(vhalves(a + c), 16)), vfloat(vileft(vhalves(b + c), 16)), sum);
    for (; c < n; c++)
        rest += nc_bf16_to_f32(a[c]) * nc_bf16_to_f32(b[c]);
    return vsum(sum) + rest;
}

static inline void pairs_f32(uint32_t *to, const void *from, int64_t row_bytes, int rows, int cols)
{
    for (int r = 0; r < rows; r++)
        memcpy(to + (int64_t)r * cols, (const char *)from + r * row_bytes, (size_t)cols * 4);
    memset(to + (int64_t)rows * cols, 0, (size_t)(NC_TILE - rows) * (size_t)cols * 4);
}

static inline void pairs_bf16(uint32_t *to, const void *from, int64_t row_bytes, int rows, int cols)
{
    for (int r = 0; r < NC_TILE; r += 2, to += cols) {
        const uint16_t *x = (const uint16_t *)((const char *)from + r * row_bytes), *y = (const uint16_t *)((const char *)x + row_bytes);
        int c = 0;
        if (r >= rows)
            memset(to, 0, (size_t)cols * 4);
        else if (r + 1 == rows)
            for (; c < cols; c++)
                to[c] = x[c];
        else {
            for (; c + LANES <= cols; c += LANES)
                vstore((float *)to + c, vfloat(vior(vhalves(x + c), vileft(vhalves(y + c), 16))));
            for (; c < cols; c++)
                to[c] = x[c] | (uint32_t)y[c] << 16;
        }
    }
}

#if defined(__AVX512F__)
static inline void lanes(uint32_t *to, const void *from, int64_t row_bytes, int rows, int words)
{
    for (int c = 0; c < words; c += 16) {
        vm m = mask_first(words - c);
        for (int r = 0; r < NC_TILE; r += 16) {
            __m512i x[16];
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++)
                x[i] = r + i < rows ? _mm512_maskz_loadu_epi32(m, (const char *)from + (r + i) * row_bytes + c * 4) : _mm512_setzero_si512();
            turn16(x);
            for (int i = 0; i < 16 && c + i < words; i++)
                _mm512_storeu_si512(to + (int64_t)(c + i) * NC_TILE + r, x[i]);
        }
    }
}
#else
static inline void lanes(uint32_t *to, const void *from, int64_t row_bytes, int rows, int words)
{
    memset(to, 0, (size_t)words * NC_TILE * 4);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < words; c++)
            memcpy(to + (int64_t)c * NC_TILE + r, (const char *)from + r * row_bytes + c * 4, 4);
}
#endif

/* ---- MXCSR: denormals count as zero, as VDPBF16PS has it; so adding a zero never changes a sum. ---- */
static inline void enter(uint32_t *state)
{
    *state = _mm_getcsr();
    _mm_setcsr(*state | 0x8040);
}
static inline void leave(const uint32_t *state)
{
    _mm_sfence();                    /* what went past the cache is written before another thread is told */
    _mm_setcsr(*state);
}

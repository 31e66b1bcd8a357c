/* gemm_avx512bf16.c - the product of bf16 values by VDPBF16PS: each 32-bit lane adds two products of a pair of k to its f32 sum.
 *
 * A tile is up to 14 rows x 2 panels (28 accumulators, two vectors of W, one broadcast pair of A). One accumulator an element runs over pairs of k
 * in ascending order. VDPBF16PS takes denormals as zero and rounds its two products' sum to nearest even (Intel SDM vol. 2, "VDPBF16PS").
 */
#include "kernels/cpu/gemm_avx512.h"

NC_INLINE __m512 dot(__m512 sum, __m512i a, __m512i b) { return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b); }
NC_INLINE __m512i pair(const uint16_t *a) { int32_t v; memcpy(&v, a, 4); return _mm512_set1_epi32(v); }

/* Steps [0, pairs) of a tile's sums. */
#define NC_STEPS(PAIRS)                                                              \
    for (int64_t p = 0; p < (PAIRS); p++, a += 2 * R, b += 32) {                     \
        __m512i b0 = _mm512_load_si512(b), b1 = _mm512_load_si512(b + stride);       \
        if (R > 8) {                                                                 \
            _mm_prefetch(ahead, _MM_HINT_T1);                                        \
            ahead += o->ahead_step;                                                  \
        } else {                                                                     \
            _mm_prefetch((const char *)(b + 1024), _MM_HINT_T0);                     \
            _mm_prefetch((const char *)(b + stride + 1024), _MM_HINT_T0);            \
        }                                                                            \
        NC_UNROLL                                                                    \
        for (int r = 0; r < R; r++) {                                                \
            __m512i x = pair(a + 2 * r);                                             \
            s[r][0] = dot(s[r][0], x, b0);                                           \
            s[r][1] = dot(s[r][1], x, b1);                                           \
        }                                                                            \
    }

/* The lines of the next tile of C are asked for a row at a time, spread over the steps: all at once they would hold up the loads of A and W. */
NC_INLINE void tile_rows(const nc_gemm_out *o, const uint16_t *a, const uint16_t *b, int64_t stride, int64_t pairs, const int R)
{
    _Alignas(64) float sums[14 * 32];
    __m512 s[14][2];
    const char *ahead = o->ahead, *next = o->next;
    bool whole = o->c_dtype == NC_F32 && o->columns == 32 && !o->bias;
    float *c = o->c;
    NC_UNROLL
    for (int r = 0; r < R; r++)
        s[r][0] = s[r][1] = _mm512_setzero_ps();
    if (o->accumulate && whole) {
        NC_UNROLL
        for (int r = 0; r < R; r++) {
            s[r][0] = _mm512_loadu_ps(c + r * o->ldc);
            s[r][1] = _mm512_loadu_ps(c + r * o->ldc + 16);
        }
    } else if (o->accumulate) {
        nc_tile_load(sums, o, R, 2);
        NC_UNROLL
        for (int r = 0; r < R; r++) {
            s[r][0] = _mm512_load_ps(sums + r * 32);
            s[r][1] = _mm512_load_ps(sums + r * 32 + 16);
        }
    }
    if (R > 8 && next) {
        int64_t piece = pairs / R, done = 0;
        for (int row = 0; row < R && piece > 0; row++, next += o->next_step, done += piece) {
            __builtin_prefetch(next, 1, 3);
            __builtin_prefetch(next + 64, 1, 3);
            NC_STEPS(piece)
        }
        pairs -= done;
    }
    NC_STEPS(pairs)
    if (whole) {
        NC_UNROLL
        for (int r = 0; r < R; r++) {
            _mm512_storeu_ps(c + r * o->ldc, _mm512_add_ps(s[r][0], _mm512_setzero_ps()));   /* as without a bias elsewhere: -0 becomes 0 */
            _mm512_storeu_ps(c + r * o->ldc + 16, _mm512_add_ps(s[r][1], _mm512_setzero_ps()));
        }
        return;
    }
    NC_UNROLL
    for (int r = 0; r < R; r++) {
        _mm512_store_ps(sums + r * 32, s[r][0]);
        _mm512_store_ps(sums + r * 32 + 16, s[r][1]);
    }
    nc_tile_store(sums, o, R, 2);
}

static void tile_bf16(const nc_gemm_out *o, const uint16_t *a, int rows, const uint16_t *b, int panels, int64_t k)
{
    int64_t pairs = (k + 1) / 2, stride = panels > 1 ? pairs * 32 : 0;
    switch (rows) {
#define X(R) case R: tile_rows(o, a, b, stride, pairs, R); break;
    NC_ROWS_14(X)
#undef X
    }
}

void nc_gemm_avx512bf16_table(struct nc_gemm_kernels *t)
{
    t->isa = NC_ISA_AVX512BF16;
    t->bf16 = true;
    t->rows[1] = 14;
    t->panels[1] = 2;
    t->k_step = 2;
    t->tile_bf16 = tile_bf16;
}

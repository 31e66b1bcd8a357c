/* gemm_blocks_avx512.c - products by blocks with VPDPBUSD: four bytes of W, unsigned, by four of A, signed, added to each of 16 columns.
 *
 * W's bytes become unsigned by a bias (Q8_0: 128, by flipping the sign bit; Q4_0: its nibbles are q + 8 as they are), which the offset takes back. A's
 * integers are two bytes, high and low: a block's sum is 64 times that of the high ones plus that of the low ones, by the same eight vectors of W.
 * A panel is read once, in order, for up to eight rows; its lines are asked of memory (for L2) far ahead of their reading, and of L2 nearer: by one request
 * alone, from memory to L1, the few buffers between the two caches are what bounds it. Source: Intel SDM vol. 2, VPDPBUSD. The bits are those of ref/gemm_blocks.c.
 */
#include "kernels/cpu/gemm_blocks_avx512.h"
#include "kernels/ref/gemm.h"

enum { ROWS = 8, NEAR = 6144, FAR = 16384 }; /* rows of a group; bytes ahead of a panel's reading that are fetched into L1 and into L2 */

/* 32 values of bf16 to a block of integers. */
NC_INLINE void block_of(__m512i a, int8_t *q, float *step, int32_t *offset, int bias)
{
    float inverse;
    __m512i n[2];
    nc_block_step(a, step, &inverse);
    nc_block_integers(a, inverse, n);
    NC_UNROLL
    for (int h = 0; h < 2; h++) {
        _mm_storeu_si128((void *)(q + 16 * h), _mm512_cvtepi32_epi8(_mm512_srai_epi32(n[h], 6)));
        _mm_storeu_si128((void *)(q + 32 + 16 * h), _mm512_cvtepi32_epi8(_mm512_and_si512(n[h], _mm512_set1_epi32(63))));
    }
    *offset = -bias * _mm512_reduce_add_epi32(_mm512_add_epi32(n[0], n[1]));
}

static void blocks_a(const nc_gemm_block_rows *out, const uint16_t *a, int64_t lda, bool transposed, int64_t row, int rows, int64_t k)
{
    if (transposed) {
        nc_ref_gemm_blocks_a(out, a, lda, transposed, row, rows, k);
        return;
    }
    for (int64_t i = 0; i < k / NC_GEMM_QK; i++)
        for (int r = 0; r < rows; r++) {
            int64_t at = i * rows + r;
            const uint16_t *from = a + (row + r) * lda + i * NC_GEMM_QK;
            _mm_prefetch((const char *)(from + 256), _MM_HINT_T0);
            block_of(_mm512_loadu_si512(from), out->q + at * 2 * NC_GEMM_QK, &out->step[at], &out->offset[at], out->bias);
        }
}

NC_INLINE __m512i four_of(const int8_t *p) { int32_t v; memcpy(&v, p, 4); return _mm512_set1_epi32(v); }

/* The eight vectors of a block of W, plus bias. */
NC_INLINE void block_w(__m512i w[8], const uint8_t *q, const bool four)
{
    const __m512i flip = _mm512_set1_epi8((char)0x80), low = _mm512_set1_epi8(15);
    NC_UNROLL
    for (int g = 0; g < 8; g++) {
        const uint8_t *from = q + (four ? g / 2 : g) * 64;
        __m512i v = _mm512_load_si512(from);
        w[g] = !four ? _mm512_xor_si512(v, flip) : _mm512_and_si512(g % 2 ? _mm512_srli_epi16(v, 4) : v, low);
        if (!four || g % 2 == 0) {
            _mm_prefetch((const char *)from + NEAR, _MM_HINT_T0);
            _mm_prefetch((const char *)from + FAR, _MM_HINT_T1);
        }
    }
}

NC_INLINE void tile_rows(const nc_gemm_out *o, const nc_gemm_block_rows *a, const void *panel, int64_t k, const bool four, const int R)
{
    _Alignas(64) float sums[ROWS * 16];
    const int8_t *p = a->q;
    const float *step = a->step;
    const int32_t *offset = a->offset;
    const uint16_t *scale = panel;
    const uint8_t *q = (const uint8_t *)panel + nc_gemm_scale_bytes(k);
    __m512 c[ROWS];
    NC_UNROLL
    for (int r = 0; r < R; r++)
        c[r] = _mm512_setzero_ps();
    if (o->accumulate) {
        nc_tile_load(sums, o, R, 1);
        NC_UNROLL
        for (int r = 0; r < R; r++)
            c[r] = _mm512_load_ps(sums + r * 16);
    }
    for (int64_t i = 0; i < k; i += NC_GEMM_QK, p += 64 * R, step += R, offset += R, scale += 16, q += four ? 256 : 512) {
        __m512i w[8];
        __m512 d = _mm512_cvtph_ps(_mm256_loadu_si256((const void *)scale));
        block_w(w, q, four);
        NC_UNROLL
        for (int r = 0; r < R; r++) {
            __m512i high = _mm512_setzero_si512(), s = _mm512_set1_epi32(offset[r]);
            NC_UNROLL
            for (int g = 0; g < 8; g++) {
                high = _mm512_dpbusd_epi32(high, w[g], four_of(p + 64 * r + 4 * g));
                s = _mm512_dpbusd_epi32(s, w[g], four_of(p + 64 * r + 32 + 4 * g));
            }
            s = _mm512_add_epi32(_mm512_slli_epi32(high, 6), s);
            c[r] = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(s), _mm512_set1_ps(step[r])), d, c[r]);
        }
    }
    NC_UNROLL
    for (int r = 0; r < R; r++)
        _mm512_store_ps(sums + r * 16, c[r]);
    nc_tile_store(sums, o, R, 1);
}

void nc_gemm_blocks_vnni(const nc_gemm_out *o, const nc_gemm_block_rows *a, int rows, nc_gemm_kind kind, const void *panel, int64_t k)
{
    switch (kind == NC_GEMM_Q4_0 ? -rows : rows) {
#define X(R) case R: tile_rows(o, a, panel, k, false, R); break; case -R: tile_rows(o, a, panel, k, true, R); break;
    X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8)
#undef X
    }
}

void nc_gemm_blocks_avx512_table(struct nc_gemm_kernels *t)
{
    t->blocks_rows = ROWS;
    t->blocks_a = blocks_a;
    t->blocks_tile = nc_gemm_blocks_vnni;
}

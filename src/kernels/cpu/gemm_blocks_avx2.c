/* gemm_blocks_avx2.c - products by blocks with 256-bit VPMADDUBSW: pairs of bytes, one side unsigned, to 16 bits, which saturate.
 *
 * n = 64 high + low, bytes from -64 to 63 and from 0 to 63. Q8_0 gives |q| to the unsigned side and its sign to the other: two products are at most
 * 2 * 128 * 64 < 2^15. Q4_0 gives q + 8 and takes the offset for the 8.
 * The bits are those of ref/gemm_blocks.c.
 */
#include <immintrin.h>
#include "kernels/cpu/gemm_x86.h"

enum { ROWS = 4 };

static float load(nc_dtype t, const void *p, int64_t i) { return t == NC_F32 ? ((const float *)p)[i] : nc_bf16_to_f32(((const uint16_t *)p)[i]); }

/* Sums of fours of bytes: w unsigned. */
static inline __attribute__((always_inline)) __m256i fours(__m256i sum, __m256i w, __m256i p)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(w, p), _mm256_set1_epi16(1)));
}

static inline __attribute__((always_inline)) __m256i four_of(const int8_t *p) { int32_t v; memcpy(&v, p, 4); return _mm256_set1_epi32(v); }

/* Eight columns of a block by 32 bytes of one row. */
static inline __attribute__((always_inline)) __m256i block_dot(const int8_t *p, const uint8_t *q, const bool four)
{
    __m256i sum = _mm256_setzero_si256(), low = _mm256_set1_epi8(15);
    for (int g = 0; g < (four ? 4 : 8); g++, q += 64) {
        __m256i w = _mm256_loadu_si256((const void *)q);
        if (four) {
            sum = fours(sum, _mm256_and_si256(w, low), four_of(p + 8 * g));
            sum = fours(sum, _mm256_and_si256(_mm256_srli_epi16(w, 4), low), four_of(p + 8 * g + 4));
        } else
            sum = fours(sum, _mm256_abs_epi8(w), _mm256_sign_epi8(four_of(p + 4 * g), w));
    }
    return sum;
}

static inline __attribute__((always_inline)) void sums_of(float *sums, const nc_gemm_block_rows *a, int rows, const void *panel, int64_t k, const bool four)
{
    const uint16_t *scale = panel;
    const uint8_t *q = (const uint8_t *)panel + nc_gemm_scale_bytes(k);
    for (int64_t i = 0; i < k / NC_GEMM_QK; i++, scale += 16, q += four ? 256 : 512)
        for (int h = 0; h < 2; h++) {
            __m256 d = _mm256_cvtph_ps(_mm_loadu_si128((const void *)(scale + 8 * h)));
            for (int r = 0; r < rows; r++) {
                int64_t at = i * rows + r;
                const int8_t *p = a->q + at * 2 * NC_GEMM_QK;
                __m256i sum = _mm256_slli_epi32(block_dot(p, q + 32 * h, four), 6);
                sum = _mm256_add_epi32(_mm256_add_epi32(sum, block_dot(p + NC_GEMM_QK, q + 32 * h, four)), _mm256_set1_epi32(four ? a->offset[at] : 0));
                float *to = sums + r * 16 + 8 * h;
                _mm256_store_ps(to, _mm256_fmadd_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_set1_ps(a->step[at])), d, _mm256_load_ps(to)));
            }
        }
}

static void tile(const nc_gemm_out *o, const nc_gemm_block_rows *a, int rows, nc_gemm_kind kind, const void *panel, int64_t k)
{
    _Alignas(32) float sums[ROWS * 16] = { 0 };
    for (int r = 0; r < rows && o->accumulate; r++)
        for (int j = 0; j < o->columns; j++)
            sums[r * 16 + j] = load(o->c_dtype, o->c, r * o->ldc + j);
    if (kind == NC_GEMM_Q4_0)
        sums_of(sums, a, rows, panel, k, true);
    else
        sums_of(sums, a, rows, panel, k, false);
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < o->columns; j++) {
            float v = sums[r * 16 + j] + (o->bias ? load(o->bias_dtype, o->bias, j) : 0);
            if (o->c_dtype == NC_F32)
                ((float *)o->c)[r * o->ldc + j] = v;
            else
                ((uint16_t *)o->c)[r * o->ldc + j] = nc_f32_to_bf16(v);
        }
}

void nc_gemm_blocks_avx2_table(struct nc_gemm_kernels *t)
{
    t->blocks_rows = ROWS;
    t->blocks_tile = tile;
}

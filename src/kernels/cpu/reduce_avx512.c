/* cpu/reduce_avx512.c - sums and accumulation of reduce.h with 16-lane vectors, in the order reduce.h states. Maxima stay with the reference. */
#include <immintrin.h>
#include "kernels/reduce.h"

static __m512 load_bf16(const uint16_t *p)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16));
}

static __m512 load_f32(const float *p) { return _mm512_loadu_ps(p); }
static float one_f32(float x) { return x; }

/* To nearest even, in integers as nc_f32_to_bf16 does; a NaN keeps a set mantissa bit. */
static __m256i to_bf16(__m512 x)
{
    __m512i u = _mm512_castps_si512(x), odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
    __m512i quiet = _mm512_or_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(0x40));
    return _mm512_cvtepi32_epi16(_mm512_mask_blend_epi32(_mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), rounded, quiet));
}

/* 32 lanes folded by halves: 32 to 16, 8, 4, 2, 1. */
static float fold(float lane[32])
{
    for (int h = 16; h >= 1; h /= 2)
        for (int i = 0; i < h; i++)
            lane[i] += lane[i + h];
    return lane[0];
}

static float sum_vector_f32(const float *x, int64_t n)
{
    __m512 s[2] = { _mm512_setzero_ps(), _mm512_setzero_ps() };
    float lane[32];
    int64_t j = 0;

    for (; j + 32 <= n; j += 32)
        for (int k = 0; k < 2; k++)
            s[k] = _mm512_add_ps(s[k], load_f32(x + j + 16 * k));
    for (int k = 0; k < 2; k++)
        _mm512_storeu_ps(lane + 16 * k, s[k]);
    for (; j < n; j++)
        lane[j % 32] += one_f32(x[j]);
    return fold(lane);
}

/* 64 columns, all rows: blocks of 32 rows, then the blocks' sums. */
static void sum_columns_f32(float *y, const float *x, int64_t n, int64_t stride)
{
    __m512 total[4] = { _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps() };

    for (int64_t j = 0; j < n; j += 32) {
        int64_t end = j + 32 < n ? j + 32 : n;
        __m512 block[4] = { _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps() };
        for (int64_t k = j; k < end; k++)
            for (int v = 0; v < 4; v++)
                block[v] = _mm512_add_ps(block[v], load_f32(x + k * stride + 16 * v));
        for (int v = 0; v < 4; v++)
            total[v] = _mm512_add_ps(total[v], block[v]);
    }
    for (int v = 0; v < 4; v++)
        _mm512_storeu_ps(y + 16 * v, total[v]);
}

static float sum_column_f32(const float *x, int64_t n, int64_t stride)
{
    float total = 0;

    for (int64_t j = 0; j < n; j += 32) {
        int64_t end = j + 32 < n ? j + 32 : n;
        float block = 0;
        for (int64_t k = j; k < end; k++)
            block += one_f32(x[k * stride]);
        total += block;
    }
    return total;
}

static void sum_f32(void *y, const void *x, int64_t n, int64_t inner, int64_t stride)
{
    const float *from = x;
    float *to = y;
    int64_t i = 0;

    if (inner == 1 && stride == 1) {
        *to = sum_vector_f32(from, n);
        return;
    }
    for (; i + 64 <= inner; i += 64)
        sum_columns_f32(to + i, from + i, n, stride);
    for (; i < inner; i++)
        to[i] = sum_column_f32(from + i, n, stride);
}

static void accumulate_f32(void *y, const void *x, int64_t n)
{
    const float *from = x;
    float *to = y;
    int64_t i = 0;

    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(to + i, _mm512_add_ps(load_f32(to + i), load_f32(from + i)));
    for (; i < n; i++)
        to[i] += one_f32(from[i]);
}

static float sum_vector_bf16(const uint16_t *x, int64_t n)
{
    __m512 s[2] = { _mm512_setzero_ps(), _mm512_setzero_ps() };
    float lane[32];
    int64_t j = 0;

    for (; j + 32 <= n; j += 32)
        for (int k = 0; k < 2; k++)
            s[k] = _mm512_add_ps(s[k], load_bf16(x + j + 16 * k));
    for (int k = 0; k < 2; k++)
        _mm512_storeu_ps(lane + 16 * k, s[k]);
    for (; j < n; j++)
        lane[j % 32] += nc_bf16_to_f32(x[j]);
    return fold(lane);
}

/* 64 columns, all rows: blocks of 32 rows, then the blocks' sums. */
static void sum_columns_bf16(float *y, const uint16_t *x, int64_t n, int64_t stride)
{
    __m512 total[4] = { _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps() };

    for (int64_t j = 0; j < n; j += 32) {
        int64_t end = j + 32 < n ? j + 32 : n;
        __m512 block[4] = { _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps() };
        for (int64_t k = j; k < end; k++)
            for (int v = 0; v < 4; v++)
                block[v] = _mm512_add_ps(block[v], load_bf16(x + k * stride + 16 * v));
        for (int v = 0; v < 4; v++)
            total[v] = _mm512_add_ps(total[v], block[v]);
    }
    for (int v = 0; v < 4; v++)
        _mm512_storeu_ps(y + 16 * v, total[v]);
}

static float sum_column_bf16(const uint16_t *x, int64_t n, int64_t stride)
{
    float total = 0;

    for (int64_t j = 0; j < n; j += 32) {
        int64_t end = j + 32 < n ? j + 32 : n;
        float block = 0;
        for (int64_t k = j; k < end; k++)
            block += nc_bf16_to_f32(x[k * stride]);
        total += block;
    }
    return total;
}

static void sum_bf16(void *y, const void *x, int64_t n, int64_t inner, int64_t stride)
{
    const uint16_t *from = x;
    float *to = y;
    int64_t i = 0;

    if (inner == 1 && stride == 1) {
        *to = sum_vector_bf16(from, n);
        return;
    }
    for (; i + 64 <= inner; i += 64)
        sum_columns_bf16(to + i, from + i, n, stride);
    for (; i < inner; i++)
        to[i] = sum_column_bf16(from + i, n, stride);
}

static void accumulate_bf16(void *y, const void *x, int64_t n)
{
    const uint16_t *from = x;
    float *to = y;
    int64_t i = 0;

    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(to + i, _mm512_add_ps(load_f32(to + i), load_bf16(from + i)));
    for (; i < n; i++)
        to[i] += nc_bf16_to_f32(from[i]);
}

static void add_bf16(void *y, const void *x, int64_t n)
{
    const uint16_t *from = x;
    uint16_t *to = y;
    int64_t i = 0;

    for (; i + 16 <= n; i += 16)
        _mm256_storeu_si256((__m256i *)(to + i), to_bf16(_mm512_add_ps(load_bf16(to + i), load_bf16(from + i))));
    for (; i < n; i++)
        to[i] = nc_f32_to_bf16(nc_bf16_to_f32(to[i]) + nc_bf16_to_f32(from[i]));
}

void nc_reduce_avx512(struct nc_reduce_kernels *t)
{
    t->sum[NC_SLOT_F32] = sum_f32;
    t->sum[NC_SLOT_BF16] = sum_bf16;
    t->accumulate[NC_SLOT_F32] = accumulate_f32;
    t->add[NC_SLOT_F32] = accumulate_f32;
    t->add[NC_SLOT_BF16] = add_bf16;
    t->accumulate[NC_SLOT_BF16] = accumulate_bf16;
}

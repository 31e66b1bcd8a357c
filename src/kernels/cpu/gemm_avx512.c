/* gemm_avx512.c - the product in f32 with 512-bit FMA, and the packing that all AVX-512 levels share.
 *
 * A tile is up to 14 rows x 2 panels of 16 columns: 28 accumulators, two vectors of W and a broadcast of A fill the 32 registers, and each k costs
 * 16 loads for 28 products. Each accumulator runs over k in ascending order by fused multiply-add, whatever the number of rows.
 */
#include "kernels/cpu/gemm_avx512.h"
#include "kernels/ref/gemm.h"

NC_INLINE void tile_rows(const nc_gemm_out *o, const float *a, const float *b, int64_t stride, int64_t k, const int R)
{
    _Alignas(64) float sums[14 * 32];
    __m512 s[14][2];
    const char *ahead = o->ahead;
    NC_UNROLL
    for (int r = 0; r < R; r++)
        s[r][0] = s[r][1] = _mm512_setzero_ps();
    if (o->accumulate) {
        nc_tile_load(sums, o, R, 2);
        NC_UNROLL
        for (int r = 0; r < R; r++) {
            s[r][0] = _mm512_load_ps(sums + r * 32);
            s[r][1] = _mm512_load_ps(sums + r * 32 + 16);
        }
    }
    for (int64_t p = 0; p < k; p++, a += R, b += 16) {
        __m512 b0 = _mm512_load_ps(b), b1 = _mm512_load_ps(b + stride);
        if (R > 4) {
            _mm_prefetch(ahead, _MM_HINT_T1);
            ahead += o->ahead_step;
        } else {
            _mm_prefetch((const char *)(b + 384), _MM_HINT_T0);
            _mm_prefetch((const char *)(b + stride + 384), _MM_HINT_T0);
        }
        NC_UNROLL
        for (int r = 0; r < R; r++) {
            __m512 x = _mm512_set1_ps(a[r]);
            s[r][0] = _mm512_fmadd_ps(x, b0, s[r][0]);
            s[r][1] = _mm512_fmadd_ps(x, b1, s[r][1]);
        }
    }
    NC_UNROLL
    for (int r = 0; r < R; r++) {
        _mm512_store_ps(sums + r * 32, s[r][0]);
        _mm512_store_ps(sums + r * 32 + 16, s[r][1]);
    }
    nc_tile_store(sums, o, R, 2);
}

/* A single panel is computed beside itself; the mask of the second then writes nothing. */
static void tile_f32(const nc_gemm_out *o, const float *a, int rows, const float *b, int panels, int64_t k)
{
    int64_t stride = panels > 1 ? k * 16 : 0;
    switch (rows) {
#define X(R) case R: tile_rows(o, a, b, stride, k, R); break;
    NC_ROWS_14(X)
#undef X
    }
}

static size_t size_of(nc_dtype t) { return t == NC_F32 ? 4 : 2; }

/* Streaming stores are not ordered by the lock that ends a part of work. */
static void stored(bool stream)
{
    if (stream)
        _mm_sfence();
}

static void store(void *out, __m512i v, bool stream)
{
    if (stream)
        _mm512_stream_si512(out, v);
    else
        _mm512_store_si512(out, v);
}

static void pack_a_f32(float *out, const void *a, nc_dtype dtype, int64_t lda, bool transposed, int64_t row, int rows, int64_t k)
{
    const char *p = a;
    size_t size = size_of(dtype);
    __mmask16 live = nc_mask16(rows);
    if (transposed) {
        for (int64_t i = 0; i < k; i++, out += rows)
            _mm512_mask_storeu_ps(out, live, nc_load16(dtype, p + (size_t)(i * lda + row) * size, live));
        return;
    }
    for (int64_t i = 0; i < k; i += 16) {
        __mmask16 mask = nc_mask16(k - i);
        __m512i r[16];
        for (int j = 0; j < 16; j++)
            if (j < rows) {
                const char *from = p + (size_t)((row + j) * lda + i) * size;
                _mm_prefetch(from + 512, _MM_HINT_T0);
                r[j] = _mm512_castps_si512(nc_load16(dtype, from, mask));
            } else
                r[j] = _mm512_setzero_si512();
        nc_transpose16(r);
        int64_t count = k - i < 16 ? k - i : 16;
        for (int64_t j = 0; j < count; j++, out += rows)
            _mm512_mask_storeu_epi32(out, live, r[j]);
    }
}

/* Rows p and p+1 of a transposed source, 16 columns: pairs of k side by side. */
static __m512i pair_of_rows(const uint16_t *low, const uint16_t *high, __mmask16 mask)
{
    __m512i lo = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, low));
    if (!high)
        return lo;
    return _mm512_or_si512(lo, _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, high)), 16));
}

static void pack_a_bf16(uint16_t *out, const uint16_t *a, int64_t lda, bool transposed, int64_t row, int rows, int64_t k)
{
    __mmask16 live = nc_mask16(rows);
    if (transposed) {
        for (int64_t i = 0; i < k; i += 2, out += 2 * rows) {
            const uint16_t *low = a + i * lda + row;
            __builtin_prefetch(low + 64, 0, 3);      /* for the blocks further on */
            __builtin_prefetch(low + 64 + (i + 1 < k ? lda : 0), 0, 3);
            _mm512_mask_storeu_epi32(out, live, pair_of_rows(low, i + 1 < k ? low + lda : NULL, live));
        }
        return;
    }
    for (int64_t i = 0; i < k; i += 32) {
        __mmask32 mask = nc_mask32(k - i);
        __m512i r[16];
        for (int j = 0; j < 16; j++)
            if (j < rows) {
                const uint16_t *from = a + (row + j) * lda + i;
                _mm_prefetch((const char *)(from + 256), _MM_HINT_T0);
                r[j] = _mm512_maskz_loadu_epi16(mask, from);
            } else
                r[j] = _mm512_setzero_si512();
        if (rows > 1)
            nc_transpose16(r);
        else {
            _mm512_mask_storeu_epi16(out, nc_mask32((k - i + 1) & ~(int64_t)1), r[0]);
            out += 32;
            continue;
        }
        int64_t count = k - i < 32 ? (k - i + 1) / 2 : 16;
        for (int64_t j = 0; j < count; j++, out += 2 * rows)
            _mm512_mask_storeu_epi32(out, live, r[j]);
    }
}

static void pack_f32(float *out, const nc_gemm_source *s, int64_t row, int valid, int64_t k, bool stream)
{
    if (s->dtype == NC_F64) {
        struct nc_gemm_kernels ref;
        nc_ref_gemm_table(&ref);
        ref.pack_f32(out, s, row, valid, k, stream);
        return;
    }
    const char *p = s->data;
    size_t size = size_of(s->dtype);
    if (s->transposed) {
        for (int64_t i = 0; i < k; i++, out += 16)
            store(out, _mm512_castps_si512(nc_load16(s->dtype, p + (size_t)(i * s->stride + row) * size, nc_mask16(valid))), stream);
        stored(stream);
        return;
    }
    for (int64_t i = 0; i < k; i += 16) {
        __mmask16 mask = nc_mask16(k - i);
        __m512i r[16];
        for (int j = 0; j < 16; j++)
            r[j] = j < valid ? _mm512_castps_si512(nc_load16(s->dtype, p + (size_t)((row + j) * s->stride + i) * size, mask)) : _mm512_setzero_si512();
        nc_transpose16(r);
        int64_t count = k - i < 16 ? k - i : 16;
        for (int64_t j = 0; j < count; j++, out += 16)
            store(out, r[j], stream);
    }
    stored(stream);
}

static void pack_bf16_transposed(uint16_t *out, const nc_gemm_source *s, int64_t row, int valid, int64_t k, bool stream)
{
    const char *p = s->data;
    size_t size = size_of(s->dtype);
    __mmask16 mask = nc_mask16(valid);
    for (int64_t i = 0; i < k; i += 2, out += 32) {
        const char *low = p + (size_t)(i * s->stride + row) * size, *high = i + 1 < k ? low + (size_t)s->stride * size : NULL;
        __m512i v;
        __builtin_prefetch(low + 64, 0, 2);          /* what panels further on read of these rows */
        if (high)
            __builtin_prefetch(high + 64, 0, 2);
        if (s->dtype == NC_BF16)
            v = pair_of_rows((const uint16_t *)low, (const uint16_t *)high, mask);
        else {
            v = nc_round_bf16(nc_load16(s->dtype, low, mask));
            if (high)
                v = _mm512_or_si512(v, _mm512_slli_epi32(nc_round_bf16(nc_load16(s->dtype, high, mask)), 16));
        }
        store(out, v, stream);
    }
    stored(stream);
}

static void pack_bf16(uint16_t *out, const nc_gemm_source *s, int64_t row, int valid, int64_t k, bool stream)
{
    if (s->dtype == NC_F64) {
        struct nc_gemm_kernels ref;
        nc_ref_gemm_table(&ref);
        ref.pack_bf16(out, s, row, valid, k, stream);
        return;
    }
    if (s->transposed) {
        pack_bf16_transposed(out, s, row, valid, k, stream);
        return;
    }
    const char *p = s->data;
    size_t size = size_of(s->dtype);
    for (int64_t i = 0; i < k; i += 32) {
        __mmask32 mask = nc_mask32(k - i);
        __m512i r[16];
        for (int j = 0; j < 16; j++) {
            const char *from = p + (size_t)((row + j) * s->stride + i) * size;
            if (j < valid)
                __builtin_prefetch(from + (size_t)(16 * s->stride) * size, 0, 2);    /* the next panel: sixteen short runs that no hardware foresees */
            r[j] = j < valid ? nc_load32_bf16(s->dtype, from, mask) : _mm512_setzero_si512();
        }
        nc_transpose16(r);
        int64_t count = k - i < 32 ? (k - i + 1) / 2 : 16;
        for (int64_t j = 0; j < count; j++, out += 32)
            store(out, r[j], stream);
    }
    stored(stream);
}

static __m512 rounded(__m512 v, bool round)
{
    return round ? _mm512_castsi512_ps(_mm512_slli_epi32(nc_round_bf16(v), 16)) : v;
}

static void quant_panel_f32(float *out, nc_gemm_kind kind, const void *panel, int64_t k, bool round)
{
    const uint16_t *scale = panel;
    const uint8_t *q = (const uint8_t *)panel + nc_gemm_scale_bytes(k);
    const bool four = kind == NC_GEMM_Q4_0;
    for (int64_t i = 0; i < k; i += 4) {
        __m512 d = _mm512_cvtph_ps(_mm256_loadu_si256((const void *)(scale + i / NC_GEMM_QK * 16)));
        __m512i w = _mm512_loadu_si512(q);
        q += four && i % 8 == 0 ? 0 : 64;            /* a byte of Q4_0 holds k and k + 4 */
        for (int t = 0; t < 4; t++, out += 16) {
            __m512i v = four ? _mm512_sub_epi32(_mm512_and_si512(_mm512_srli_epi32(w, (unsigned)(8 * t + (i & 4))), _mm512_set1_epi32(15)), _mm512_set1_epi32(8))
                             : _mm512_srai_epi32(_mm512_slli_epi32(w, (unsigned)(24 - 8 * t)), 24);
            _mm512_store_ps(out, rounded(_mm512_mul_ps(_mm512_cvtepi32_ps(v), d), round));
        }
    }
}

static void panel_f32(float *out, nc_gemm_kind kind, const void *panel, int64_t k, bool round)
{
    if (kind == NC_GEMM_Q8_0 || kind == NC_GEMM_Q4_0) {
        quant_panel_f32(out, kind, panel, k, round);
        return;
    }
    const uint16_t *b = panel;
    for (int64_t i = 0; i < k; i += 2, b += 32, out += 32) {
        __m512i w = _mm512_load_si512(b);
        _mm512_store_ps(out, _mm512_castsi512_ps(_mm512_slli_epi32(w, 16)));
        if (i + 1 < k)
            _mm512_store_ps(out + 16, _mm512_castsi512_ps(_mm512_and_si512(w, _mm512_set1_epi32((int)0xffff0000))));
    }
}

void nc_gemm_avx512_table(struct nc_gemm_kernels *t)
{
    t->isa = NC_ISA_AVX512;
    t->rows[0] = 14;
    t->panels[0] = 2;
    t->pack_a_f32 = pack_a_f32;
    t->pack_a_bf16 = pack_a_bf16;
    t->tile_f32 = tile_f32;
    t->panel_f32 = panel_f32;
    t->pack_f32 = pack_f32;
    t->pack_bf16 = pack_bf16;
    nc_gemm_blocks_avx512_table(t);
}

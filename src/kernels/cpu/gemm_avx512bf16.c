/* gemm_avx512bf16.c - the product of bf16 values by VDPBF16PS: each 32-bit lane adds two products of a pair of k to its f32 sum.
 *
 * A tile is up to 14 rows x 2 panels (28 accumulators, two vectors of W, one broadcast pair of A). Few rows over quantized panels widen the
 * weights in registers: value = bf16(scale * q), the same as panel_bf16 writes for many rows. One accumulator an element runs over pairs of k
 * in ascending order in every path. VDPBF16PS takes denormals as zero and rounds its two products' sum to nearest even
 * (Intel SDM vol. 2, "VDPBF16PS").
 */
#include "kernels/cpu/gemm_avx512.h"
#include "kernels/cpu/gemm_quant.h"

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

static void panel_bf16(uint16_t *out, nc_gemm_kind kind, const void *panel, int64_t k)
{
    const uint16_t *scale = panel;
    const uint8_t *q = (const uint8_t *)panel + nc_gemm_scale_bytes(k);
    for (int64_t i = 0; i < k; i += 32, scale += 16, out += 512, q += kind == NC_GEMM_Q8_0 ? 512 : 256)
        if (kind == NC_GEMM_Q8_0)
            widen_q8_block(out, q, scale);
        else
            widen_q4_block(out, q, scale);
}

enum { QUANT_ROWS = 8, QUANT_PANELS = 4 };

/* One block of 32 k of P panels for R rows. `ahead` runs through the bytes of the next P panels, line by line, as these are used up. */
NC_INLINE void q4_block(__m512 s[][QUANT_PANELS], const uint16_t *a, const uint16_t *scale, const uint8_t *q, size_t panel, const char *ahead,
                        const int R, const int P)
{
    q4_scale d[QUANT_PANELS];
    NC_UNROLL
    for (int j = 0; j < P; j++)
        d[j] = q4_scales((const uint16_t *)((const char *)scale + (size_t)j * panel));
    for (int g = 0; g < 4; g++, q += 64, a += 8 * R, ahead += 64 * P) {
        NC_UNROLL
        for (int j = 0; j < P; j++) {
            __m512i v[4];
            _mm_prefetch(ahead + 64 * j, _MM_HINT_T0);
            widen_q4(v, _mm512_loadu_si512(q + (size_t)j * panel), &d[j]);
            NC_UNROLL
            for (int p = 0; p < 4; p++)
                NC_UNROLL
                for (int r = 0; r < R; r++)
                    s[r][j] = dot(s[r][j], pair(a + 2 * (p * R + r)), v[p]);
        }
    }
}

NC_INLINE void q8_block(__m512 s[][QUANT_PANELS], const uint16_t *a, const uint16_t *scale, const uint8_t *q, size_t panel, const char *ahead,
                        const int R, const int P)
{
    __m512 d[QUANT_PANELS][2];
    NC_UNROLL
    for (int j = 0; j < P; j++)
        scales((const uint16_t *)((const char *)scale + (size_t)j * panel), &d[j][0], &d[j][1]);
    for (int g = 0; g < 8; g++, q += 64, a += 4 * R, ahead += 64 * P) {
        NC_UNROLL
        for (int j = 0; j < P; j++) {
            _mm_prefetch(ahead + 64 * j, _MM_HINT_T0);
            NC_UNROLL
            for (int p = 0; p < 2; p++) {
                __m512i b = widen_q8(q + (size_t)j * panel + 32 * p, d[j][0], d[j][1]);
                NC_UNROLL
                for (int r = 0; r < R; r++)
                    s[r][j] = dot(s[r][j], pair(a + 2 * (p * R + r)), b);
            }
        }
    }
}

NC_INLINE void quant_rows(const nc_gemm_out *o, const uint16_t *a, const void *b, size_t panel, int64_t k, bool four, int first,
                          const int R, const int P)
{
    _Alignas(64) float sums[QUANT_ROWS * QUANT_PANELS * 16];
    __m512 s[QUANT_ROWS][QUANT_PANELS];
    nc_gemm_out tile = *o;
    tile.c = o->c_dtype == NC_F32 ? (void *)((float *)o->c + first * 16) : (void *)((uint16_t *)o->c + first * 16);
    tile.bias = o->bias ? (const char *)o->bias + (size_t)first * 16 * (o->bias_dtype == NC_F32 ? 4 : 2) : NULL;
    tile.columns = o->columns - first * 16;
    memset(sums, 0, sizeof sums);
    if (o->accumulate)
        nc_tile_load(sums, &tile, R, P);
    NC_UNROLL
    for (int r = 0; r < R; r++)
        NC_UNROLL
        for (int j = 0; j < P; j++)
            s[r][j] = _mm512_load_ps(sums + (r * P + j) * 16);
    const uint16_t *scale = (const uint16_t *)((const char *)b + (size_t)first * panel);
    const uint8_t *q = (const uint8_t *)scale + nc_gemm_scale_bytes(k);
    /* A block's lines and its share of the scales: 64-byte lines of the next panels. */
    const char *ahead = (const char *)scale + (size_t)P * panel;
    for (int64_t i = 0; i < k; i += 32, scale += 16, q += four ? 256 : 512, a += 32 * R) {
        if (four)
            q4_block(s, a, scale, q, panel, ahead, R, P);
        else
            q8_block(s, a, scale, q, panel, ahead, R, P);
        ahead += (four ? 256 : 512) * P;
        NC_UNROLL
        for (int j = 0; j < (P + 1) / 2; j++, ahead += 64)
            _mm_prefetch(ahead, _MM_HINT_T0);
    }
    NC_UNROLL
    for (int r = 0; r < R; r++)
        NC_UNROLL
        for (int j = 0; j < P; j++)
            _mm512_store_ps(sums + (r * P + j) * 16, s[r][j]);
    nc_tile_store(sums, &tile, R, P);
}

NC_INLINE void quant_tile(const nc_gemm_out *o, const uint16_t *a, int rows, const void *b, int panels, int64_t k, const bool four)
{
    size_t panel = nc_gemm_panel_bytes(four ? NC_GEMM_Q4_0 : NC_GEMM_Q8_0, k);
    int j = 0;
    for (; j + 4 <= panels && rows <= 4; j += 4)
        switch (rows) {
#define X(R) case R: quant_rows(o, a, b, panel, k, four, j, R, 4); break;
        X(1) X(2) X(3) X(4)
#undef X
        }
    for (; j + 2 <= panels; j += 2)
        switch (rows) {
#define X(R) case R: quant_rows(o, a, b, panel, k, four, j, R, 2); break;
        X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8)
#undef X
        }
    for (; j < panels; j++)
        switch (rows) {
#define X(R) case R: quant_rows(o, a, b, panel, k, four, j, R, 1); break;
        X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8)
#undef X
        }
}

static void tile_q8_0(const nc_gemm_out *o, const uint16_t *a, int rows, const void *b, int panels, int64_t k)
{
    quant_tile(o, a, rows, b, panels, k, false);
}

static void tile_q4_0(const nc_gemm_out *o, const uint16_t *a, int rows, const void *b, int panels, int64_t k)
{
    quant_tile(o, a, rows, b, panels, k, true);
}

void nc_gemm_avx512bf16_table(struct nc_gemm_kernels *t)
{
    t->isa = NC_ISA_AVX512BF16;
    t->bf16 = true;
    t->rows[1] = 14;
    t->panels[1] = 2;
    t->k_step = 2;
    t->tile_bf16 = tile_bf16;
    t->tile_q8_0 = tile_q8_0;
    t->tile_q4_0 = tile_q4_0;
    t->quant_rows[0] = QUANT_ROWS;
    t->quant_rows[1] = QUANT_ROWS;
    t->quant_panels = QUANT_PANELS;
    t->panel_bf16 = panel_bf16;
}

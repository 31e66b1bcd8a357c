/* gemm_blocks_amx.c - products by blocks on tiles: TDPBF16PS for many rows, TDPBSSD for up to eight.
 *
 * Few rows: the high and low bytes of eight rows' integers are the 16 rows of a tile, 32 bytes of k each, and W's bytes are tiles as they are packed.
 * Many rows: a block of 32 k is one step of the tiles, 16 rows on their grid times the panel's integers as bf16. Both are exact in bf16 and their sums in f32, so the tile holds step * sum(n q). Each block has scales of its own: its sums leave the tile through a ring
 * in L1, some blocks long because a stored tile cannot be read before its lines have left for L1, and are scaled and added by the vector units while the
 * tiles work on the blocks after it. 16 rows' sums of a panel stay in 16 registers over a piece of k; the pieces of two panels, 32 KiB, stay in L1 while
 * all rows pass by, and the sums wait in L2 between pieces. Source: Intel SDM vol. 2, TILELOADD, TDPBF16PS and TDPBSSD. The bits are those of ref/gemm_blocks.c.
 */
#include "kernels/cpu/amx_tiles.h"
#include "kernels/cpu/gemm_blocks_avx512.h"

enum { ROWS = 16, TILE = 512, PIECE = 16, RING = 4, LATE = 2 };  /* values of a tile; blocks of a piece; pairs of blocks in the ring, and how late their sums are added */

static void grid_of(uint16_t *out, __m512i a)
{
    float step, inverse;
    __m512i n[2];
    nc_block_step(a, &step, &inverse);
    nc_block_integers(a, inverse, n);
    __m512 s = _mm512_set1_ps(step);                         /* NaN times anything is NaN */
    __m512i low = _mm512_srli_epi32(_mm512_castps_si512(_mm512_mul_ps(_mm512_cvtepi32_ps(n[0]), s)), 16);
    __m512i high = _mm512_srli_epi32(_mm512_castps_si512(_mm512_mul_ps(_mm512_cvtepi32_ps(n[1]), s)), 16);
    _mm256_storeu_si256((void *)out, _mm512_cvtepi32_epi16(low));
    _mm256_storeu_si256((void *)(out + 16), _mm512_cvtepi32_epi16(high));
}

static void grid(uint16_t *out, const uint16_t *a, int64_t lda, bool transposed, int64_t row, int rows, int64_t k)
{
    for (int64_t i = 0; i < k; i += NC_GEMM_QK)
        for (int r = 0; r < ROWS; r++, out += NC_GEMM_QK) {
            _Alignas(64) uint16_t v[NC_GEMM_QK];
            const uint16_t *from = a + (transposed ? i * lda + row + r : (row + r) * lda + i);
            if (r >= rows) {
                _mm512_storeu_si512(out, _mm512_setzero_si512());
                continue;
            }
            for (int j = 0; j < NC_GEMM_QK && transposed; j++)
                v[j] = from[j * lda];
            grid_of(out, _mm512_loadu_si512(transposed ? v : from));
        }
}

/* Four k of 16 columns, a byte each, to two rows of pairs. */
NC_INLINE void widen_four(uint16_t *out, __m512i w)
{
    __m512 v[4];
    NC_UNROLL
    for (int t = 0; t < 4; t++)
        v[t] = _mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_slli_epi32(w, (unsigned)(24 - 8 * t)), 24));
    NC_UNROLL
    for (int t = 0; t < 2; t++)
        _mm512_store_si512(out + 32 * t, _mm512_mask_blend_epi16(0xaaaaaaaau, _mm512_srli_epi32(_mm512_castps_si512(v[2 * t]), 16), _mm512_castps_si512(v[2 * t + 1])));
}

static void widen(uint16_t *out, nc_gemm_kind kind, const void *panel, int64_t k)
{
    const uint8_t *q = (const uint8_t *)panel + nc_gemm_scale_bytes(k);
    const __m512i low = _mm512_set1_epi8(15), eight = _mm512_set1_epi8(8);
    if (kind == NC_GEMM_Q8_0)
        for (int64_t i = 0; i < k; i += 4, q += 64, out += 64)
            widen_four(out, _mm512_load_si512(q));
    else
        for (int64_t i = 0; i < k; i += 8, q += 64, out += 128) {
            __m512i w = _mm512_load_si512(q);
            widen_four(out, _mm512_sub_epi8(_mm512_and_si512(w, low), eight));
            widen_four(out + 64, _mm512_sub_epi8(_mm512_and_si512(_mm512_srli_epi16(w, 4), low), eight));
        }
}

/* Two blocks' products, each into a tile of its own and from there to the ring. */
NC_INLINE void two_dots(const uint16_t *a, const uint16_t *w, float *sums, bool two)
{
    tile_zero(0);
    tile_stream(4, a, 64);
    tile_load(6, w, 64);
    tile_dot(0, 4, 6);
    if (two) {
        tile_zero(1);
        tile_stream(5, a + TILE, 64);
        tile_load(7, w + TILE, 64);
        tile_dot(1, 5, 7);
    }
    tile_store(0, sums, 64);
    tile_store(1, sums + ROWS * 16, 64);
}

NC_INLINE void add_block(__m512 c[ROWS], const float *sums, const uint16_t *scale)
{
    __m512 d = _mm512_cvtph_ps(_mm256_loadu_si256((const void *)scale));
    NC_UNROLL
    for (int r = 0; r < ROWS; r++)
        c[r] = _mm512_fmadd_ps(_mm512_load_ps(sums + 16 * r), d, c[r]);
}

/* 16 rows by `blocks` blocks of a panel, onto the sums. */
static void piece(float *sums, const uint16_t *a, const uint16_t *w, const uint16_t *scale, int64_t blocks)
{
    _Alignas(64) float ring[RING][2 * ROWS * 16];
    __m512 c[ROWS];
    NC_UNROLL
    for (int r = 0; r < ROWS; r++)
        c[r] = _mm512_load_ps(sums + 16 * r);
    for (int64_t i = 0; i < blocks + 2 * LATE; i += 2) {
        int64_t done = i - 2 * LATE;
        if (i < blocks)
            two_dots(a + i * TILE, w + i * TILE, ring[i / 2 % RING], i + 1 < blocks);
        if (done >= 0)
            add_block(c, ring[done / 2 % RING], scale + done * 16);
        if (done >= 0 && done + 1 < blocks)
            add_block(c, ring[done / 2 % RING] + ROWS * 16, scale + done * 16 + 16);
    }
    NC_UNROLL
    for (int r = 0; r < ROWS; r++)
        _mm512_store_ps(sums + 16 * r, c[r]);
}

static nc_gemm_out out_at(const nc_gemm_block_slab *s, int64_t row, int panel)
{
    nc_gemm_out o = s->o;
    o.c = (char *)o.c + (size_t)(row * o.ldc + panel * 16) * (o.c_dtype == NC_F32 ? 4 : 2);
    o.bias = o.bias ? (const char *)o.bias + panel * 16 * (o.bias_dtype == NC_F32 ? 4 : 2) : NULL;
    o.columns = o.columns - panel * 16 < 16 ? o.columns - panel * 16 : 16;
    return o;
}

static void slab(const nc_gemm_block_slab *s)
{
    const int64_t blocks = s->k / NC_GEMM_QK;
    for (int64_t from = 0; from < blocks || from == 0; from += PIECE) {
        int64_t many = blocks - from < PIECE ? blocks - from : PIECE;
        for (int64_t row = 0; row < s->rows; row += ROWS)
            for (int p = 0; p < s->panels; p++) {
                float *sums = s->sums + (row / ROWS * 2 + p) * ROWS * 16;
                int rows = (int)(s->rows - row < ROWS ? s->rows - row : ROWS);
                nc_gemm_out o = out_at(s, row, p);
                if (from == 0)
                    memset(sums, 0, ROWS * 16 * sizeof *sums);
                if (from == 0 && o.accumulate)
                    nc_tile_load(sums, &o, rows, 1);
                piece(sums, s->a + row * s->k + from * TILE, s->w + p * (s->k * 16) + from * TILE, s->scale[p] + from * 16, many);
                if (from + many == blocks)
                    nc_tile_store(sums, &o, rows, 1);
            }
    }
}

/* ---- up to eight rows ---- */

enum { FEW = 8, AHEAD = 4096 };

/* Tiles 0-3: sums; 4, 5: 16 rows of 32 bytes of A; 6, 7: 8 rows of fours of k of W. */
static void begin(void)
{
    _Alignas(64) nc_tile_config c = { .palette = 1 };
    for (int i = 0; i < 8; i++) {
        c.row_bytes[i] = i == 4 || i == 5 ? 32 : 64;
        c.rows[i] = i == 6 || i == 7 ? 8 : 16;
    }
    tile_config(c);
}

static void end(void) { tile_release(); }

/* W's bytes for two blocks: the panel's own, or of Q4_0 its nibbles in `room`, two blocks ahead because of the stores. */
NC_INLINE void unpack(uint8_t *room, const uint8_t *q)
{
    const __m512i low = _mm512_set1_epi8(15), eight = _mm512_set1_epi8(8);
    for (int g = 0; g < 8; g++, q += 64, room += 128) {
        __m512i w = _mm512_load_si512(q);
        _mm512_store_si512(room, _mm512_sub_epi8(_mm512_and_si512(w, low), eight));
        _mm512_store_si512(room + 64, _mm512_sub_epi8(_mm512_and_si512(_mm512_srli_epi16(w, 4), low), eight));
    }
}

NC_INLINE void few_dots(const int8_t *a, int64_t step, const uint8_t *w, int32_t *sums, bool two)
{
    tile_zero(0);
    tile_load(4, a, 32);
    tile_load(6, w, 64);
    tile_dot_int8(0, 4, 6);
    if (two) {
        tile_zero(1);
        tile_load(5, a + step, 32);
        tile_load(7, w + 512, 64);
        tile_dot_int8(1, 5, 7);
    }
    tile_store(0, sums, 64);
    tile_store(1, sums + ROWS * 16, 64);
}

NC_INLINE void few_add(__m512 c[FEW], const int32_t *sums, const float *step, const uint16_t *scale, const int R)
{
    __m512 d = _mm512_cvtph_ps(_mm256_loadu_si256((const void *)scale));
    NC_UNROLL
    for (int r = 0; r < R; r++) {
        __m512i n = _mm512_add_epi32(_mm512_slli_epi32(_mm512_load_si512(sums + 32 * r), 6), _mm512_load_si512(sums + 32 * r + 16));
        c[r] = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(n), _mm512_set1_ps(step[r])), d, c[r]);
    }
}

NC_INLINE void few_rows(const nc_gemm_out *o, const nc_gemm_block_rows *a, const void *panel, int64_t k, const bool four, const int R)
{
    _Alignas(64) int32_t ring[RING][2 * ROWS * 16];
    _Alignas(64) float sums[FEW * 16];
    _Alignas(64) uint8_t room[2][1024];
    const uint16_t *scale = panel;
    const uint8_t *q = (const uint8_t *)panel + nc_gemm_scale_bytes(k);
    const int64_t blocks = k / NC_GEMM_QK, bytes = four ? 256 : 512;
    __m512 c[FEW];
    NC_UNROLL
    for (int r = 0; r < R; r++)
        c[r] = _mm512_setzero_ps();
    if (o->accumulate) {
        nc_tile_load(sums, o, R, 1);
        NC_UNROLL
        for (int r = 0; r < R; r++)
            c[r] = _mm512_load_ps(sums + r * 16);
    }
    if (four)
        unpack(room[0], q);
    for (int64_t i = 0; i < blocks + 2 * LATE; i += 2) {
        int64_t done = i - 2 * LATE;
        for (int64_t j = 0; j < 2 * bytes; j += 64)
            _mm_prefetch((const char *)q + i * bytes + j + AHEAD, _MM_HINT_T0);
        if (four && i + 2 < blocks)
            unpack(room[i / 2 % 2 ^ 1], q + (i + 2) * bytes);
        if (i < blocks)
            few_dots(a->q + i * R * 64, R * 64, four ? room[i / 2 % 2] : q + i * bytes, ring[i / 2 % RING], i + 1 < blocks);
        if (done >= 0)
            few_add(c, ring[done / 2 % RING], a->step + done * R, scale + done * 16, R);
        if (done >= 0 && done + 1 < blocks)
            few_add(c, ring[done / 2 % RING] + ROWS * 16, a->step + (done + 1) * R, scale + done * 16 + 16, R);
    }
    NC_UNROLL
    for (int r = 0; r < R; r++)
        _mm512_store_ps(sums + r * 16, c[r]);
    nc_tile_store(sums, o, R, 1);
}

static void tile(const nc_gemm_out *o, const nc_gemm_block_rows *a, int rows, nc_gemm_kind kind, const void *panel, int64_t k)
{
    switch (kind == NC_GEMM_Q4_0 ? -rows : rows) {
#define X(R) case R: few_rows(o, a, panel, k, false, R); break; case -R: few_rows(o, a, panel, k, true, R); break;
    X(3) X(4) X(5) X(6) X(7) X(8)
#undef X
    default: nc_gemm_blocks_vnni(o, a, rows, kind, panel, k);
    }
}

void nc_gemm_blocks_amx_table(struct nc_gemm_kernels *t)
{
    t->blocks_tile = tile;
    t->blocks_begin = begin;
    t->blocks_end = end;
    t->blocks_grid = grid;
    t->blocks_widen = widen;
    t->blocks_slab = slab;
}

/* gemm_amx.c - the product of bf16 values by AMX tiles (TDPBF16PS): 16x16 sums += 16 rows x 32 k times 32 k x 16 columns.
 *
 * A tile of ours is 32 rows x 2 panels: four tiles of sums (tmm0-3), two of A (tmm4,5), two of W (tmm6,7); each k step of 32 loads four tiles
 * for four products. A's tile rows are [32 k], W's tile rows are the packed layout's pairs of k. W's last step may have fewer pairs than 16: it is
 * copied to a zero-filled block, and packed A is filled with zeros to 32 k, so one configuration serves a whole row count.
 * A sum runs over k in ascending steps of 32; inside a step the order is the instruction's (pairs ascending), for any number of rows.
 * Source: Intel SDM vol. 2, LDTILECFG and TDPBF16PS.
 */
#include "kernels/cpu/gemm_avx512.h"
#include "kernels/cpu/amx_tiles.h"

/* The rows this thread's tiles are configured for: upper and lower half; -1 when released. */
static _Thread_local int configured = -1;

static void configure(int rows)
{
    if (configured == rows)
        return;
    int low = rows > 16 ? 16 : rows, high = rows > 16 ? rows - 16 : 1;
    _Alignas(64) nc_tile_config c = { .palette = 1 };
    for (int i = 0; i < 8; i++)
        c.row_bytes[i] = 64;
    c.rows[0] = c.rows[1] = c.rows[4] = (uint8_t)low;
    c.rows[2] = c.rows[3] = c.rows[5] = (uint8_t)high;
    c.rows[6] = c.rows[7] = 16;
    tile_config(c);
    configured = rows;
}

static void begin(void) { configured = -1; }

static void end(void)
{
    tile_release();
    configured = -1;
}

/* Packed A is [k/32][rows][32]: a half of up to 16 rows is `rows * 32` apart from step to step. */
static void pack_half(uint16_t *out, const uint16_t *a, int64_t lda, bool transposed, int64_t row, int rows, int all, int64_t k)
{
    for (int64_t i = 0; i < k; i += 32, out += 32 * all) {
        __mmask32 mask = nc_mask32(k - i);
        if (!transposed) {
            for (int j = 0; j < rows; j++)
                _mm512_storeu_si512(out + 32 * j, _mm512_maskz_loadu_epi16(mask, a + (row + j) * lda + i));
            continue;
        }
        __m512i r[16];
        __mmask16 live = nc_mask16(rows);
        for (int p = 0; p < 16; p++) {
            const uint16_t *low = a + (i + 2 * p) * lda + row;
            __m512i lo = i + 2 * p < k ? _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(live, low)) : _mm512_setzero_si512();
            __m512i hi = i + 2 * p + 1 < k ? _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(live, low + lda)) : _mm512_setzero_si512();
            r[p] = _mm512_or_si512(lo, _mm512_slli_epi32(hi, 16));
        }
        nc_transpose16(r);
        for (int j = 0; j < rows; j++)
            _mm512_storeu_si512(out + 32 * j, r[j]);
    }
}

static void pack_a_bf16(uint16_t *out, const uint16_t *a, int64_t lda, bool transposed, int64_t row, int rows, int64_t k)
{
    pack_half(out, a, lda, transposed, row, rows > 16 ? 16 : rows, rows, k);
    if (rows > 16)
        pack_half(out + 16 * 32, a, lda, transposed, row + 16, rows - 16, rows, k);
}

/* Steps [0,count) of 32 k; the accumulators stay in their tiles from call to call. */
NC_INLINE void steps(const uint16_t *a, int rows, const uint16_t *b0, const uint16_t *b1, int64_t count, const nc_gemm_out *o, const bool both, const bool two)
{
    const char *ahead = o->ahead;
    for (int64_t i = 0; i < count; i++, a += 32 * rows, ahead += 16 * o->ahead_step) {
        for (int64_t at = 0; at < 16 * o->ahead_step; at += 64)      /* the next panels, into L2 */
            _mm_prefetch(ahead + at, _MM_HINT_T1);
        tile_load(4, a, 64);
        tile_load(6, b0 + i * 512, 64);
        tile_dot(0, 4, 6);
        if (two) {
            tile_load(7, b1 + i * 512, 64);
            tile_dot(1, 4, 7);
        }
        if (both) {
            tile_load(5, a + 16 * 32, 64);
            tile_dot(2, 5, 6);
            if (two)
                tile_dot(3, 5, 7);
        }
    }
}

static void run_steps(const uint16_t *a, int rows, const uint16_t *b0, const uint16_t *b1, int64_t count, const nc_gemm_out *o)
{
    if (rows > 16 && b1)
        steps(a, rows, b0, b1, count, o, true, true);
    else if (rows > 16)
        steps(a, rows, b0, b1, count, o, true, false);
    else if (b1)
        steps(a, rows, b0, b1, count, o, false, true);
    else
        steps(a, rows, b0, b1, count, o, false, false);
}

static void tile_bf16(const nc_gemm_out *o, const uint16_t *a, int rows, const uint16_t *b, int panels, int64_t k)
{
    _Alignas(64) float sums[32 * 32];
    bool high = rows > 16;
    int64_t pairs = (k + 1) / 2, whole = pairs / 16;
    const uint16_t *b1 = panels > 1 ? b + pairs * 32 : NULL;
    int stride = panels * 64;

    configure(rows);
    memset(sums, 0, sizeof sums);
    if (o->accumulate)
        nc_tile_load(sums, o, rows, panels);
    tile_load(0, sums, stride);
    if (panels > 1)
        tile_load(1, sums + 16, stride);
    if (high) {
        tile_load(2, sums + 16 * 16 * panels, stride);
        if (panels > 1)
            tile_load(3, sums + 16 * 16 * panels + 16, stride);
    }
    run_steps(a, rows, b, b1, whole, o);
    if (pairs % 16) {
        _Alignas(64) uint16_t last[2][512] = { 0 };
        size_t left = (size_t)(pairs % 16) * 64;
        memcpy(last[0], b + whole * 512, left);
        if (b1)
            memcpy(last[1], b1 + whole * 512, left);
        run_steps(a + whole * 32 * rows, rows, last[0], b1 ? last[1] : NULL, 1, o);
    }
    tile_store(0, sums, stride);
    if (panels > 1)
        tile_store(1, sums + 16, stride);
    if (high) {
        tile_store(2, sums + 16 * 16 * panels, stride);
        if (panels > 1)
            tile_store(3, sums + 16 * 16 * panels + 16, stride);
    }
    nc_tile_store(sums, o, rows, panels);
}

void nc_gemm_amx_table(struct nc_gemm_kernels *t)
{
    t->isa = NC_ISA_AMX;
    t->bf16 = true;
    t->rows[1] = 32;
    t->panels[1] = 2;
    t->k_step = 32;
    t->pack_a_bf16 = pack_a_bf16;
    t->tile_bf16 = tile_bf16;
    t->begin = begin;
    t->end = end;
    t->tile_q8_0 = t->tile_q4_0 = NULL;      /* VDPBF16PS adds in another order than the tiles: quantized panels are widened */
    t->quant_rows[0] = t->quant_rows[1] = 0;
}

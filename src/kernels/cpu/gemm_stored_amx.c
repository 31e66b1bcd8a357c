/* gemm_stored_amx.c - a few rows by a weight as its file holds it.
 *
 * W's rows [n][k] are the left operand of the tiles as they lie, 16 rows x 32 k; the activations are the right one, pairs of k by rows. The sums come out
 * turned, 16 columns of C by rows, and are turned back on their way to C. A product's factors may change sides and the order over k is the same, so the
 * bits are those of gemm_amx.c. Panels lie one behind the other in either layout, so what is fetched ahead is the same run of lines.
 * Tiles: 0,1 sums of two panels, 2 activations, 4,5 W. Their width follows the rows: one row's activations are its k as they are.
 */
#include "kernels/cpu/gemm_amx.h"

enum { MOST_ROWS = 16 };

static void stored_a(uint16_t *out, const uint16_t *a, int64_t lda, int rows, int64_t k)
{
    for (int r = 0; r < rows; r++)
        for (int64_t p = 0; p < k / 2; p++)
            memcpy(out + (p * rows + r) * 2, a + r * lda + 2 * p, 4);
}

static void stored_begin(int rows)
{
    _Alignas(64) nc_tile_config c = { .palette = 1 };
    for (int i = 0; i < 8; i++) {
        c.row_bytes[i] = (uint16_t)(i < 4 ? 4 * rows : 64);
        c.rows[i] = 16;
    }
    tile_config(c);
}

NC_INLINE void stored_steps(const nc_gemm_slab *s, const bool two)
{
    const uint16_t *a = s->a, *w0 = s->w, *w1 = s->w + 16 * s->k;
    const char *next = s->ahead;
    const int64_t width = 4 * s->rows, all = s->k / 32, lines = next ? (s->ahead_lines + all - 1) / all : 0;
    tile_zero(0);
    tile_zero(1);
    for (int64_t i = 0; i < all; i++, a += 32 * s->rows, w0 += 32, w1 += 32) {
        for (int64_t l = 0; l < lines; l++, next += 64)
            _mm_prefetch(next, _MM_HINT_T1);
        tile_load(2, a, width);
        tile_load(4, w0, 2 * s->k);
        tile_dot(0, 4, 2);
        if (two) {
            tile_load(5, w1, 2 * s->k);
            tile_dot(1, 5, 2);
        }
    }
}

static void turned(__m512i out[16], const float *sums)
{
    for (int i = 0; i < 16; i++)
        out[i] = _mm512_load_si512(sums + 16 * i);
    nc_transpose16(out);
}

static void stored_slab(const nc_gemm_slab *s)
{
    __m512i low[16], high[16];
    if (s->panels > 1)
        stored_steps(s, true);
    else
        stored_steps(s, false);
    tile_store(0, s->sums[0], 64);
    tile_store(1, s->sums[0] + 256, 64);
    turned(low, s->sums[0]);
    turned(high, s->sums[0] + 256);
    for (int r = 0; r < s->rows; r++)
        nc_amx_store_row(&s->o, r, _mm512_castsi512_ps(low[r]), _mm512_castsi512_ps(high[r]), false);
}

void nc_gemm_stored_amx_table(struct nc_gemm_kernels *t)
{
    t->stored_rows = MOST_ROWS;
    t->stored_a = stored_a;
    t->stored_begin = stored_begin;
    t->stored_slab = stored_slab;
}

/* gemm_few_amx.c - up to 16 rows by a weight, packed or as its file holds it: decoding, which waits for memory.
 *
 * Packed, the activations are a left operand of as many rows as there are and W's pairs the right one. As stored, W's rows [n][k] are the left operand as
 * they lie, 16 rows x 32 k, and the activations are the right one, pairs of k by rows; the sums come out turned, 16 columns of C by rows, and are turned
 * back on their way to C. A product's factors may change sides and the order over k is the same, so the bits are those of gemm_amx.c. One row of
 * activations is its k as they are in either form, and panels lie one behind the other in either layout.
 * Tiles: 0,1 sums of two panels, 2 activations, 4,5 W.
 */
#include "kernels/cpu/gemm_amx.h"

enum { MOST_ROWS = 16, NEAR = 2, FAR = 12 };   /* steps ahead of its use that a tile of W is fetched into L1 and into L2 */

static void few_a(uint16_t *out, const uint16_t *a, int64_t lda, int rows, int64_t k, bool stored)
{
    const int64_t run = rows == 1 ? k : stored ? 2 : 32;
    for (int64_t i = 0; i < k; i += run)
        for (int r = 0; r < rows; r++, out += run)
            memcpy(out, a + r * lda + i, (size_t)run * 2);
}

static void few_begin(int rows, bool stored)
{
    _Alignas(64) nc_tile_config c = { .palette = 1 };
    for (int i = 0; i < 8; i++) {
        c.row_bytes[i] = (uint16_t)(i < 4 && stored ? 4 * rows : 64);
        c.rows[i] = (uint8_t)(i < 4 && !stored ? rows : 16);
    }
    tile_config(c);
}

/* Where W's tile of step t lies; steps behind the last are those of the next pair of panels. */
NC_INLINE const char *tile_of(const nc_gemm_slab *s, int64_t t, const bool stored)
{
    const int64_t all = s->k / 32, next = t < all ? 0 : s->k * 64;
    return (const char *)s->w + next + (t < all ? t : t - all) * (stored ? 64 : 1024);
}

/* Lines are asked of memory (for L2) far ahead, in the order they lie in, and of L2 shortly before their step. Of rows as stored every line of a panel is
 * needed from its first steps on, so far ahead is the next pair. */
NC_INLINE void fetch(const nc_gemm_slab *s, int64_t i, const bool two, const bool stored)
{
    const int64_t row = stored ? 2 * s->k : 64, panel = s->k * 32;
    const char *near = tile_of(s, i + NEAR, stored), *far = tile_of(s, i + (stored ? s->k / 32 : FAR), false);
    for (int64_t l = 0; l < 16; l++) {
        _mm_prefetch(near + l * row, _MM_HINT_T0);
        _mm_prefetch(far + l * 64, _MM_HINT_T1);
        if (two) {
            _mm_prefetch(near + panel + l * row, _MM_HINT_T0);
            _mm_prefetch(far + panel + l * 64, _MM_HINT_T1);
        }
    }
}

NC_INLINE void few_steps(const nc_gemm_slab *s, const bool two, const bool stored)
{
    const uint16_t *a = s->a, *w0 = s->w, *w1 = s->w + 16 * s->k;
    const int64_t all = s->k / 32, a_row = stored ? 4 * s->rows : 64, row = stored ? 2 * s->k : 64, step = stored ? 32 : 512;
    tile_zero(0);
    tile_zero(1);
    for (int64_t i = 0; i < all; i++, a += 32 * s->rows, w0 += step, w1 += step) {
        fetch(s, i, two, stored);
        tile_load(2, a, a_row);
        tile_load(4, w0, row);
        if (stored)
            tile_dot(0, 4, 2);
        else
            tile_dot(0, 2, 4);
        if (two) {
            tile_load(5, w1, row);
            if (stored)
                tile_dot(1, 5, 2);
            else
                tile_dot(1, 2, 5);
        }
    }
}

static void turn(float *sums)
{
    __m512i v[16];
    for (int i = 0; i < 16; i++)
        v[i] = _mm512_load_si512(sums + 16 * i);
    nc_transpose16(v);
    for (int i = 0; i < 16; i++)
        _mm512_store_si512(sums + 16 * i, v[i]);
}

static void few_slab(const nc_gemm_slab *s, bool stored)
{
    float *low = s->sums[0], *high = low + 256;
    if (stored && s->panels > 1)
        few_steps(s, true, true);
    else if (stored)
        few_steps(s, false, true);
    else if (s->panels > 1)
        few_steps(s, true, false);
    else
        few_steps(s, false, false);
    tile_store(0, low, 64);
    tile_store(1, high, 64);
    if (stored) {
        turn(low);
        turn(high);
    }
    for (int r = 0; r < s->rows; r++)
        nc_amx_store_row(&s->o, r, _mm512_load_ps(low + 16 * r), _mm512_load_ps(high + 16 * r), false);
}

void nc_gemm_few_amx_table(struct nc_gemm_kernels *t)
{
    t->few_rows = MOST_ROWS;
    t->few_a = few_a;
    t->few_begin = few_begin;
    t->few_slab = few_slab;
}

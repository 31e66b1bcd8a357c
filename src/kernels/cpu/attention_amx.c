/* attention_amx.c - tiles of attention in bf16 by AMX: 16 x 16 sums += 16 rows x 16 words times 16 words x 16 columns (TDPBF16PS).
 *
 * A block is 32 rows by 32 columns: sums in tmm0-3, rows in tmm4,5, columns in tmm6,7. Every tile is configured whole; what ends earlier (rows, columns, depth) is copied to a
 * zero-filled block first, so a row's sum does not depend on how many rows there are. Inside 16 words the order is the instruction's; the drivers start
 * depth at multiples of 16 words, so a word always falls into the same step. The passes over 64 columns are those of AVX-512.
 * Source: Intel SDM vol. 2, LDTILECFG, TILELOADD, TDPBF16PS.
 */
#include "kernels/cpu/amx_tiles.h"
#include "kernels/cpu/attention_vec.h"

typedef struct operand { const void *at; int64_t stride; } operand;    /* of a whole tile, stride in bytes */

static void enter_tiles(uint32_t *state)
{
    _Alignas(64) nc_tile_config c = { .palette = 1 };

    enter(state);
    for (int i = 0; i < 8; i++) {
        c.row_bytes[i] = 64;
        c.rows[i] = 16;
    }
    tile_config(c);
}

static void leave_tiles(const uint32_t *state)
{
    tile_release();
    leave(state);
}

/* A tile of up to 16 rows of up to 16 words: where it lies, or a zero-filled copy in `room`. */
static operand whole(const uint32_t *from, int64_t ld, int rows, int words, uint32_t room[256])
{
    if (rows >= 16 && words >= 16)
        return (operand){ from, ld * 4 };
    __mmask16 some = mask_first(words);
    for (int r = 0; r < 16; r++)
        _mm512_store_si512(room + 16 * r, r < rows ? _mm512_maskz_loadu_epi32(some, from + r * ld) : _mm512_setzero_si512());
    return (operand){ room, 64 };
}

static void put(float *c, int64_t ldc, int rows, int cols, const float room[256])
{
    __mmask16 some = mask_first(cols);

    for (int r = 0; r < rows && r < 16; r++)
        _mm512_mask_storeu_ps(c + r * ldc, some, _mm512_load_ps(room + 16 * r));
}

/* Tile numbers must be constants: one line for each of the four sums. */
#define LOAD_SUM(tile, c, rows, cols)                                                         \
    do {                                                                                      \
        operand sum = whole((const uint32_t *)(c), ldc, rows, cols, (uint32_t *)room);        \
        tile_load(tile, sum.at, sum.stride);                                                  \
    } while (0)
#define STORE_SUM(tile, c, rows, cols)                                                        \
    do {                                                                                      \
        if ((rows) >= 16 && (cols) >= 16)                                                     \
            tile_store(tile, c, ldc * 4);                                                     \
        else {                                                                                \
            tile_store(tile, room, 64);                                                       \
            put(c, ldc, rows, cols, room);                                                    \
        }                                                                                     \
    } while (0)

/* rows, cols: 1..32. lower: a second tile of rows; right: a second tile of columns. */
static void block(float *c, int64_t ldc, const uint32_t *a, int64_t lda, const uint32_t *b, int64_t ldb, int rows, int cols, int depth, bool add)
{
    _Alignas(64) float room[256];
    _Alignas(64) uint32_t room_a[256], room_b[256];
    const bool lower = rows > 16, right = cols > 16;

    tile_zero(0);
    tile_zero(1);
    tile_zero(2);
    tile_zero(3);
    if (add) {
        LOAD_SUM(0, c, rows, cols);
        if (right)
            LOAD_SUM(1, c + 16, rows, cols - 16);
        if (lower)
            LOAD_SUM(2, c + 16 * ldc, rows - 16, cols);
        if (lower && right)
            LOAD_SUM(3, c + 16 * ldc + 16, rows - 16, cols - 16);
    }
    for (int k = 0; k < depth; k += 16) {
        operand x = whole(a + k, lda, rows, depth - k, room_a), y;
        tile_load(4, x.at, x.stride);
        y = whole(b + k * ldb, ldb, depth - k, cols, room_b);
        tile_load(6, y.at, y.stride);
        tile_dot(0, 4, 6);
        if (right) {
            y = whole(b + k * ldb + 16, ldb, depth - k, cols - 16, room_b);
            tile_load(7, y.at, y.stride);
            tile_dot(1, 4, 7);
        }
        tile_zero(4);
        if (lower) {
            x = whole(a + 16 * lda + k, lda, rows - 16, depth - k, room_a);
            tile_load(5, x.at, x.stride);
            tile_dot(2, 5, 6);
            if (right)
                tile_dot(3, 5, 7);
            tile_zero(5);
        }
        tile_zero(6);
        tile_zero(7);
    }
    STORE_SUM(0, c, rows, cols);
    if (right)
        STORE_SUM(1, c + 16, rows, cols - 16);
    if (lower)
        STORE_SUM(2, c + 16 * ldc, rows - 16, cols);
    if (lower && right)
        STORE_SUM(3, c + 16 * ldc + 16, rows - 16, cols - 16);
}

static void product_bf16(float *c, int64_t ldc, const uint32_t *a, int64_t lda, const uint32_t *b, int64_t ldb, int rows, int cols, int depth, bool add)
{
    for (int r = 0; r < rows; r += 32)
        for (int n = 0; n < cols; n += 32)
            block(c + r * ldc + n, ldc, a + r * lda, lda, b + n, ldb, rows - r < 32 ? rows - r : 32, cols - n < 32 ? cols - n : 32, depth, add);
}

static void softmax_bf16(int rows, const float *s, const uint64_t *seen, const nc_attention_score *f, float *m, float *l, float *alpha, uint32_t *p)
{
    softmax_rows(true, rows, s, seen, f, m, l, alpha, p);
}

static void gradient_bf16(int keys, const float *s, const float *dp, const uint64_t *seen, const nc_attention_score *f, const float *lse2, const float *d, uint32_t *p,
                         uint32_t *ds, uint32_t *pairs)
{
    gradient_rows(true, keys, s, dp, seen, f, lse2, d, p, ds, pairs);
}

static const nc_attention_tiles bf16 = { 2, product_bf16, softmax_bf16, gradient_bf16, rescale, lanes, pairs_bf16, store_bf16, dot_bf16, enter_tiles, leave_tiles, nc_attention_walk_amx, nc_attention_walk_amx_bytes };
static void forward_bf16(const nc_attention_args *a, nc_pool *pool, void *workspace) { nc_attention_tiled_forward(&bf16, a, pool, workspace); }
static size_t forward_bytes(const nc_attention_shape *s, int threads)
{
    return nc_attention_tiled_forward_bytes(s, threads) + (size_t)threads * nc_line(nc_attention_walk_amx_bytes(s));
}
static void backward_bf16(const nc_attention_args *a, nc_pool *pool, void *workspace) { nc_attention_tiled_backward(&bf16, a, pool, workspace); }

void nc_attention_amx(struct nc_attention_kernels *t)
{
    t->forward[NC_SLOT_BF16] = forward_bf16;
    t->forward_bytes[NC_SLOT_BF16] = forward_bytes;
    t->backward[NC_SLOT_BF16] = backward_bf16;
}

/* attention_avx2.c - tiles of attention with 8 lanes, f32 and bf16 (widened to f32 in the products). */
#include "kernels/cpu/attention_vec.h"

TILE_COLUMN(tile_f32, 1) TILE_COLUMN(tile_f32, 2)
static tile_fn *const f32_tiles[TILE_VECTORS][TILE_ROWS] = { TILE_NAMES(tile_f32, 1), TILE_NAMES(tile_f32, 2) };
TILE_COLUMN(tile_wide, 1) TILE_COLUMN(tile_wide, 2)
static tile_fn *const wide_tiles[WIDE_VECTORS][WIDE_ROWS] = { TILE_NAMES(tile_wide, 1), TILE_NAMES(tile_wide, 2) };

static void product_f32(float *c, int64_t ldc, const uint32_t *a, int64_t lda, const uint32_t *b, int64_t ldb, int rows, int cols, int depth, bool add)
{
    cut(&f32_tiles[0][0], TILE_ROWS, TILE_VECTORS, c, ldc, a, lda, b, ldb, rows, cols, depth, add);
}

static void product_bf16(float *c, int64_t ldc, const uint32_t *a, int64_t lda, const uint32_t *b, int64_t ldb, int rows, int cols, int depth, bool add)
{
    cut(&wide_tiles[0][0], WIDE_ROWS, WIDE_VECTORS, c, ldc, a, lda, b, ldb, rows, cols, depth, add);
}

static void softmax_f32(int rows, const float *s, const uint64_t *seen, const nc_attention_score *f, float *m, float *l, float *alpha, uint32_t *p)
{
    softmax_rows(false, rows, s, seen, f, m, l, alpha, p);
}

static void gradient_f32(int keys, const float *s, const float *dp, const uint64_t *seen, const nc_attention_score *f, const float *lse2, const float *d, uint32_t *p,
                         uint32_t *ds, uint32_t *pairs)
{
    gradient_rows(false, keys, s, dp, seen, f, lse2, d, p, ds, pairs);
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

static const nc_attention_tiles f32 = { 1, product_f32, softmax_f32, gradient_f32, rescale, lanes, pairs_f32, store_f32, dot_f32, enter, leave, NULL, NULL };
static void forward_f32(const nc_attention_args *a, nc_pool *pool, void *workspace) { nc_attention_tiled_forward(&f32, a, pool, workspace); }
static void backward_f32(const nc_attention_args *a, nc_pool *pool, void *workspace) { nc_attention_tiled_backward(&f32, a, pool, workspace); }

static const nc_attention_tiles bf16 = { 2, product_bf16, softmax_bf16, gradient_bf16, rescale, lanes, pairs_bf16, store_bf16, dot_bf16, enter, leave, NULL, NULL };
static void forward_bf16(const nc_attention_args *a, nc_pool *pool, void *workspace) { nc_attention_tiled_forward(&bf16, a, pool, workspace); }
static void backward_bf16(const nc_attention_args *a, nc_pool *pool, void *workspace) { nc_attention_tiled_backward(&bf16, a, pool, workspace); }

void nc_attention_avx2(struct nc_attention_kernels *t)
{
    t->index_scores[NC_SLOT_F32] = index_scores;
    t->forward[NC_SLOT_F32] = forward_f32;
    t->forward_bytes[NC_SLOT_F32] = nc_attention_tiled_forward_bytes;
    t->backward[NC_SLOT_F32] = backward_f32;
    t->backward_bytes[NC_SLOT_F32] = nc_attention_tiled_backward_bytes;
    t->forward[NC_SLOT_BF16] = forward_bf16;
    t->forward_bytes[NC_SLOT_BF16] = nc_attention_tiled_forward_bytes;
    t->backward[NC_SLOT_BF16] = backward_bf16;
    t->backward_bytes[NC_SLOT_BF16] = nc_attention_tiled_backward_bytes;
}

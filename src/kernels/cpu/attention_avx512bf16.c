/* attention_avx512bf16.c - tiles of attention in bf16 by VDPBF16PS: 6 rows by 4 vectors, sums in registers.
 *
 * The instruction adds both products of a word to the sum, denormals count as zero, rounding to nearest even (Intel SDM vol. 2, VDPBF16PS).
 */
#include "kernels/cpu/attention_vec.h"

INLINE __m512bh as_bf16(__m512i x) { return (__m512bh)x; }

INLINE void tile_bf16(const int R, const int V, float *c, int64_t ldc, const uint32_t *a, int64_t lda, const uint32_t *b, int64_t ldb, int depth, vm tail, bool add)
{
    vf sum[TILE_ROWS][TILE_VECTORS];
    __m512i y[TILE_VECTORS];

#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
        for (int v = 0; v < V; v++)
            sum[r][v] = add ? (v == V - 1 ? vload_some(tail, c + r * ldc + v * LANES) : vload(c + r * ldc + v * LANES)) : vset(0);
    for (int k = 0; k < depth; k++) {
#pragma GCC unroll 8
        for (int v = 0; v < V; v++)
            y[v] = v == V - 1 ? _mm512_maskz_loadu_epi32(tail, b + k * ldb + v * LANES) : _mm512_loadu_si512(b + k * ldb + v * LANES);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            __m512i x = _mm512_set1_epi32((int)a[r * lda + k]);
#pragma GCC unroll 8
            for (int v = 0; v < V; v++)
                sum[r][v] = _mm512_dpbf16_ps(sum[r][v], as_bf16(x), as_bf16(y[v]));
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
        for (int v = 0; v < V; v++)
            if (v == V - 1)
                vstore_some(tail, c + r * ldc + v * LANES, sum[r][v]);
            else
                vstore(c + r * ldc + v * LANES, sum[r][v]);
}
TILE_COLUMN6(tile_bf16, 1) TILE_COLUMN6(tile_bf16, 2) TILE_COLUMN6(tile_bf16, 3) TILE_COLUMN6(tile_bf16, 4)
static tile_fn *const bf16_tiles[TILE_VECTORS][TILE_ROWS] = { TILE_NAMES6(tile_bf16, 1), TILE_NAMES6(tile_bf16, 2), TILE_NAMES6(tile_bf16, 3), TILE_NAMES6(tile_bf16, 4) };

static void product_bf16(float *c, int64_t ldc, const uint32_t *a, int64_t lda, const uint32_t *b, int64_t ldb, int rows, int cols, int depth, bool add)
{
    cut(&bf16_tiles[0][0], TILE_ROWS, TILE_VECTORS, c, ldc, a, lda, b, ldb, rows, cols, depth, add);
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

static const nc_attention_tiles bf16 = { 2, product_bf16, softmax_bf16, gradient_bf16, rescale, lanes, pairs_bf16, store_bf16, dot_bf16, enter, leave, NULL, NULL };
static void forward_bf16(const nc_attention_args *a, nc_pool *pool, void *workspace) { nc_attention_tiled_forward(&bf16, a, pool, workspace); }
static void backward_bf16(const nc_attention_args *a, nc_pool *pool, void *workspace) { nc_attention_tiled_backward(&bf16, a, pool, workspace); }

void nc_attention_avx512bf16(struct nc_attention_kernels *t)
{
    t->forward[NC_SLOT_BF16] = forward_bf16;
    t->backward[NC_SLOT_BF16] = backward_bf16;
}

/* attention_tiles.h - what the fast attention drivers ask of an ISA: products of small tiles and passes over 64 columns. Private to kernels/cpu.
 *
 * Operands are 4-byte words: one f32, or two bf16 (the first in the low half) that are neighbours along the summed axis. A "row" below never sees its
 * neighbours: each element's sum runs over k upward in one f32 accumulator, whatever `rows` and `cols` are, so tiles may be cut anyhow.
 * (AMX adds 16 words at a time and the order inside follows the multiple of 16: the drivers start depth ranges at multiples of 16 words.)
 */
#ifndef NC_KERNELS_CPU_ATTENTION_TILES_H
#define NC_KERNELS_CPU_ATTENTION_TILES_H
#include "kernels/attention.h"

enum { NC_TILE = NC_ATTENTION_BLOCK };           /* rows of a query tile, keys of a block */

typedef struct nc_attention_score {              /* from a raw product s to the score in units of log2 e: x = scale2*s, or cap2*tanh(scale_cap*s) */
    bool capped;
    float scale, scale2, scale_cap, cap2;
} nc_attention_score;

typedef struct nc_attention_walk nc_attention_walk;

typedef struct nc_attention_tiles {
    int per;                                     /* numbers in a word: 1 f32, 2 bf16 */
    /* c[r][n] = (add ? c[r][n] : 0) + sum_k a[r][k] b[k][n]; lda, ldb in words, ldc in floats. */
    void (*product)(float *c, int64_t ldc, const uint32_t *a, int64_t lda, const uint32_t *b, int64_t ldb, int rows, int cols, int depth, bool add);
    /* One block of the running softmax: s [rows][64] raw, bit j of seen[r]: key j counts. m, l: running maximum (log2) and sum; alpha: what the accumulator is to be
     * multiplied by; p [rows][64/per] = 2^(x - m) in words, 0 where not seen. */
    void (*softmax)(int rows, const float *s, const uint64_t *seen, const nc_attention_score *f, float *m, float *l, float *alpha, uint32_t *p);
    /* The same for the gradient, keys as rows and queries as the 64 lanes: p = 2^(x - lse2), ds = p (dp - d) f' scale; 0 where not seen. bf16: also ds with
     * keys 2k, 2k+1 in one word, pairs [keys/2][64] (keys even). */
    void (*gradient)(int keys, const float *s, const float *dp, const uint64_t *seen, const nc_attention_score *f, const float *lse2, const float *d,
                     uint32_t *p, uint32_t *ds, uint32_t *pairs);
    void (*rescale)(float *acc, int64_t width, const float *alpha, int rows);            /* acc[r][:] *= alpha[r] */
    /* to[c][r] = word c of row r, r < 64; rows beyond `rows` are 0. */
    void (*lanes)(uint32_t *to, const void *from, int64_t row_bytes, int rows, int words);
    /* f32: to[r][c] = from[r][c]; bf16: to[r][c] = from[2r][c], from[2r+1][c]; rows up to 64 are filled with 0. */
    void (*pairs)(uint32_t *to, const void *from, int64_t row_bytes, int rows, int cols);
    void (*store)(void *to, const float *from, float scale, int n);                      /* to = from*scale + 0 in the dtype (no -0: whether zeros were added must not show) */
    float (*dot)(const void *x, const void *y, int n);
    void (*enter)(uint32_t *state);              /* a worker begins: denormals count as zero, tiles are configured */
    void (*leave)(const uint32_t *state);
    /* An ISA whose products run beside its other work takes a whole group of blocks at once (in bf16); NULL: the driver goes block by block with the above. */
    void (*walk)(const nc_attention_walk *w);
    size_t (*walk_bytes)(const nc_attention_shape *s);
} nc_attention_tiles;

/* The drivers (attention_forward.c, attention_backward.c). */
void nc_attention_tiled_forward(const nc_attention_tiles *t, const nc_attention_args *a, nc_pool *pool, void *workspace);
size_t nc_attention_tiled_forward_bytes(const nc_attention_shape *s, int threads);
void nc_attention_tiled_backward(const nc_attention_tiles *t, const nc_attention_args *a, nc_pool *pool, void *workspace);
size_t nc_attention_tiled_backward_bytes(const nc_attention_shape *s, int threads);

/* attention_walk_amx.c */
void nc_attention_walk_amx(const nc_attention_walk *w);
size_t nc_attention_walk_amx_bytes(const nc_attention_shape *s);

/* ---- shared by the drivers ---- */
static inline nc_attention_score nc_attention_score_of(const nc_attention_args *a)
{
    const double log2e = 1.4426950408889634;
    bool capped = a->soft_cap > 0;

    return (nc_attention_score){ capped, (float)a->scale, (float)(a->scale * log2e), capped ? (float)(a->scale / a->soft_cap) : 0, (float)(a->soft_cap * log2e) };
}
static inline int nc_words(const nc_attention_shape *s, int n) { return s->dtype == NC_BF16 ? (n + 1) / 2 : n; }
static inline size_t nc_line(size_t bytes) { return (bytes + 63) / 64 * 64; }
static inline void *nc_carve(char **at, size_t bytes) { void *p = *at; *at += nc_line(bytes); return p; }
/* Bits low..high (clipped to 0..63), none when low > high. */
static inline uint64_t nc_bits(int64_t low, int64_t high)
{
    low = low > 0 ? low : 0;
    high = high < 63 ? high : 63;
    return low > high ? 0 : (~(uint64_t)0 >> (63 - (high - low))) << low;
}
/* Copies `rows` rows of n numbers into words, odd bf16 rows filled with 0. */
static inline void nc_copy_rows(uint32_t *to, int words, const char *from, int64_t row_bytes, int rows, size_t bytes)
{
    for (int r = 0; r < rows; r++, to += words, from += row_bytes) {
        to[words - 1] = 0;
        memcpy(to, from, bytes);
    }
}

/* Flattened query rows of a (span, kv head): row f is token f / n, head f % n of the group of n. A tile is 64 of them. */
typedef struct nc_attention_tile {
    const nc_attention_span *span;
    int g, rows;                                 /* kv head, rows of the tile */
    int64_t at;                                  /* its first flattened row */
    int64_t row[NC_TILE];                        /* rows of q */
    int head[NC_TILE];
    int64_t first[NC_TILE], last[NC_TILE];       /* the keys each row sees */
} nc_attention_tile;
static inline int64_t nc_tiles_of(const nc_attention_span *s, int n) { return (s->q_rows * n + NC_TILE - 1) / NC_TILE; }
static inline void nc_tile_fill(nc_attention_tile *t, const nc_attention_args *a, const nc_attention_span *s, int g, int64_t tile)
{
    const int n = a->shape.heads / a->shape.kv_heads;
    const int64_t keys = nc_attention_keys(s, a->pages != NULL), rest = s->q_rows * n - tile * NC_TILE;

    t->span = s;
    t->g = g;
    t->at = tile * NC_TILE;
    t->rows = rest < NC_TILE ? (int)rest : NC_TILE;
    int64_t token = t->at / n;
    int head = (int)(t->at % n);
    for (int r = 0; r < t->rows; r++) {
        t->row[r] = s->q_row + token;
        t->head[r] = g * n + head;
        nc_attention_sees(s, keys, a->window, s->q_index + token, &t->first[r], &t->last[r]);
        token += ++head == n;
        head = head == n ? 0 : head;
    }
}
/* A tile of queries before the blocks of one group. Out: m, l, acc of the group alone, as softmax and products would leave them. */
struct nc_attention_walk {
    const nc_attention_args *a;
    const nc_attention_score *score;
    const nc_attention_tile *tile;
    const uint32_t *q;                           /* [64][ldq] words, zeros behind those of the head */
    int64_t ldq, width;                          /* multiples of 16; floats of a row of acc */
    float *m, *l, *acc;                          /* [64], [64], [64][width] */
    void *room;                                  /* walk_bytes */
    int blocks;
    struct { const uint32_t *keys, *values; int64_t start; } block[NC_ATTENTION_GROUP];      /* of the tile's kv head; index of the first key */
};
/* Adds to the raw products s [rows begin..end of the tile][64] what ALiBi and a bias add, before scaling, in the columns each row sees. */
void nc_attention_dress(const nc_attention_args *a, const nc_attention_tile *t, float *s, int64_t start, int begin, int end);
/* The rows that see anything of keys low..high: they lie together, as both ends of sight grow with the row. */
static inline void nc_tile_active(const nc_attention_tile *t, int64_t low, int64_t high, int *begin, int *end)
{
    int b = 0, e = t->rows;

    while (b < e && t->last[b] < low)
        b++;
    while (e > b && (t->first[e - 1] > high || t->first[e - 1] > t->last[e - 1]))
        e--;
    *begin = b;
    *end = e;
}
/* Element of row r of the tile in a [rows, heads] array of these strides. */
static inline int64_t nc_tile_row(const nc_attention_tile *t, int r, int64_t row_stride, int64_t head_stride) { return t->row[r] * row_stride + t->head[r] * head_stride; }
/* The index in its sequence of row r's token. */
static inline int64_t nc_tile_index(const nc_attention_tile *t, int r) { return t->span->q_index + t->row[r] - t->span->q_row; }
/* The keys of a block that row r may see by its list; all of them without one. */
static inline uint64_t nc_tile_listed(const nc_attention_tile *t, const nc_attention_args *a, int r, int64_t start)
{
    return a->list ? nc_attention_listed(a->list + t->row[r] * a->listed, a->listed, start) : ~(uint64_t)0;
}
/* Rows of no span: out 0 (and lse -inf), row_bytes of every `stride` bytes; spans are in order of rows. */
void nc_attention_gaps(const nc_attention_args *a, void *out, int64_t row_bytes, int64_t stride, float *lse);
static inline void nc_clear_rows(void *x, int64_t row, int64_t until, int64_t row_bytes, int64_t stride)
{
    for (; row < until; row++)
        memset((char *)x + row * stride, 0, (size_t)row_bytes);
}
#endif

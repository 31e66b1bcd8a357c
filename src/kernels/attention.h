/* attention.h - fused softmax attention over spans of flat streams, and its gradient.
 *
 *   out[i,h,:] = sum_j p[i,h,j] v[j,g,:],   p = softmax_j of s = cap(scale * q[i,h,:].k[j,g,:]) + slope_h (j - i)  over the keys j that i sees,  g = h / (H/G)
 *   lse[i,h]   = log sum_j exp(s[i,h,j])                                    cap(x) = c tanh(x/c), or x without a soft cap
 *
 * With a bias table the score is s + bias[h, r], r = clamp(offset + code(j) - code(i), 0, R-1): a code is the index in the sequence (T5's buckets by distance), or read from
 * tables of the rows (windows: y*(2w-1) + x, whose differences are Swin's relative_position_index). Not together with a soft cap.
 *
 * q [N,H,A], k [M,G,A], v [M,G,Av], out [N,H,Av], lse [N,H]. A row that sees no key has out 0 and lse -inf; rows of no span give out 0, lse -inf.
 *
 * What a row sees is one run of key indices [first, last], for the query of index i (window w, 0: none; `keys` in all):
 *   causal   max(0, i-w+1) .. i
 *   full     0 .. keys-1; with a window |i-j| < w
 *   prefix   i < prefix: min(max(0, i-w+1), q_index) .. prefix-1 (the span that holds the prefix is never cut); else as causal
 *
 * Order of the sums (idea 4 of the design): keys are cut into blocks of NC_ATTENTION_BLOCK at multiples of the key's index in its sequence, blocks into
 * groups of NC_ATTENTION_GROUP blocks. A row visits the blocks it sees anything of, in order, with a running maximum, sum and rescaled accumulator in f32
 * (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018; Dao et al., "FlashAttention", 2022); groups start afresh and are merged in order.
 * A kernel may leave the maximum where it is until a block's greatest score exceeds it by more than NC_ATTENTION_RISE in units of log2 e (p up to 2^RISE; as
 * FlashAttention-4 does): a rule of the row alone, and most blocks need no rescaling then.
 * Nothing of this depends on threads, on the other rows, on chunks, or on whether keys came from a cache. Keys a row does not see contribute exactly zero, provided the
 * values there are finite (a NaN in a later row of the same block does reach earlier ones). bf16 kernels multiply pairs by VDPBF16PS (denormals count as zero) and
 * round p to bf16 before the second product; sums stay in f32.
 *
 * Pages hold NC_ATTENTION_BLOCK rows of one sequence, in 4-byte words of which bf16 packs two (the first in the low half):
 *   keys   [G][words of A][64]: f32 word a of key j = k[j,a];  bf16 word a = k[j,2a], k[j,2a+1] (an odd A is filled with 0)
 *   values f32 [G][64][Av]; bf16 [G][32][Av], word = v[2j,:], v[2j+1,:]
 * Rows of a page that were never written must be finite.
 */
#ifndef NC_KERNELS_ATTENTION_H
#define NC_KERNELS_ATTENTION_H
#include "kernels/dtype.h"
#include "kernels/kernels.h"

enum { NC_ATTENTION_BLOCK = 64, NC_ATTENTION_GROUP = 16, NC_ATTENTION_MAX_HEAD = 1024, NC_ATTENTION_RISE = 8 };
typedef enum nc_attention_sight { NC_ATTENTION_CAUSAL, NC_ATTENTION_FULL, NC_ATTENTION_PREFIX } nc_attention_sight;

typedef struct nc_attention_span {
    int64_t q_row, q_rows, q_index;  /* rows of q, and the index in the sequence of the first */
    int64_t k_row, k_rows;           /* rows of k and v: all keys of the sequence; with pages the new ones, of index q_index on */
    int64_t prefix;
    int slot;                        /* pages: whose */
    nc_attention_sight sight;
} nc_attention_span;

typedef struct nc_attention_pages {  /* where the pages of a cache are; called from several threads at once, answers must not change during a call */
    void *context;
    void *(*keys)(void *context, int slot, int64_t block);
    void *(*values)(void *context, int slot, int64_t block);
} nc_attention_pages;

typedef struct nc_attention_shape {  /* what the workspace depends on */
    nc_dtype dtype;                  /* F32, BF16; F64 by the references and without pages */
    int heads, kv_heads, head, value_head;      /* H, G, A, Av: 1..NC_ATTENTION_MAX_HEAD; H a multiple of G */
    int64_t rows, keys;              /* N, M: at most so many live rows */
    bool paged;
    int64_t bias_rows;               /* R; 0: no bias */
} nc_attention_shape;

typedef struct nc_attention_args {
    nc_attention_shape shape;
    const void *q, *k, *v;           /* strides in elements; the last axis is dense */
    int64_t q_stride[2], k_stride[2], v_stride[2];   /* [row, head] */
    void *out, *lse;                 /* contiguous [N,H,Av], [N,H]; lse f32 (f64 in F64), may be NULL in the forward */
    double scale, soft_cap;          /* soft_cap 0: none */
    const float *slopes;             /* [H]: ALiBi, s += slopes[h] * (j - i) by indices in the sequence (Press et al. 2022); NULL: none. Not together with a soft cap. */
    int64_t window;
    const void *bias;                /* [H,R] f32 (f64 in F64) */
    int64_t bias_offset;
    const int32_t *q_code, *k_code;  /* [N], [M]; both NULL: codes are indices in the sequence. Not with pages. */
    const int32_t *list;             /* [N, listed]: a row sees of its keys only those whose indices are here, ascending, filled up with INT32_MAX; NULL: all */
    int64_t listed;
    const nc_attention_span *span;   /* checked by nc_attention_check */
    int spans;
    const nc_attention_pages *pages; /* NULL: keys are rows of k and v. Else these rows are first appended and attention reads the pages. */
    const void *dout, *dlse;         /* backward: [N,H,Av] contiguous of the dtype; dlse [N,H] like lse, may be NULL */
    void *dq, *dk, *dv;              /* backward, of the dtype, heads dense; every live row is written (0 where nothing reaches); dk, dv may be NULL */
    int64_t dq_row, dk_row, dv_row;  /* elements from row to row of these; 0: contiguous */
    void *dbias;                     /* like bias; may be NULL */
} nc_attention_args;

struct nc_attention_kernels {
    /* workspace: forward_bytes for the shape at its capacities and the pool's threads, 64-byte aligned; the same for backward. Nothing overlaps. */
    void (*forward[NC_SLOTS])(const nc_attention_args *a, nc_pool *pool, void *workspace);
    size_t (*forward_bytes[NC_SLOTS])(const nc_attention_shape *s, int threads);
    /* From q, k, v, out, lse, dout to dq, dk, dv; no pages. dk, dv of a key add over query rows in order (token, then head), in f32 (f64 in F64). */
    void (*backward[NC_SLOTS])(const nc_attention_args *a, nc_pool *pool, void *workspace);
    size_t (*backward_bytes[NC_SLOTS])(const nc_attention_shape *s, int threads);
    /* Scores of one query against a block of keys, by which sparse attention chooses (DeepSeek-V3.2's indexer): out[j] = sum_h w[h] max(0, scale * q[h,:].k_j),
     * q [H,A], keys [A][64], h and A upward in one accumulator each. F32, F64. */
    void (*index_scores[NC_SLOTS])(void *out, const void *q, const void *w, const void *keys, int heads, int head, double scale);
};

static inline int64_t nc_attention_dq_row(const nc_attention_args *a) { return a->dq_row ? a->dq_row : (int64_t)a->shape.heads * a->shape.head; }
static inline int64_t nc_attention_dk_row(const nc_attention_args *a) { return a->dk_row ? a->dk_row : (int64_t)a->shape.kv_heads * a->shape.head; }
static inline int64_t nc_attention_dv_row(const nc_attention_args *a) { return a->dv_row ? a->dv_row : (int64_t)a->shape.kv_heads * a->shape.value_head; }

/* Spans lie within the live rows a->shape.rows, .keys, no row of q twice, prefixes are whole; the message names the span. Call before a kernel. */
int nc_attention_check(const nc_attention_args *a, nc_error *e);

static inline int64_t nc_attention_keys(const nc_attention_span *s, bool paged) { return paged ? s->q_index + s->k_rows : s->k_rows; }
/* The run of keys that the query of this index sees; empty when *first > *last. Both ends grow with the index. */
static inline void nc_attention_sees(const nc_attention_span *s, int64_t keys, int64_t window, int64_t index, int64_t *first, int64_t *last)
{
    int64_t low = window > 0 && index - window + 1 > 0 ? index - window + 1 : 0, high = index;

    if (s->sight == NC_ATTENTION_FULL)
        high = window > 0 && index < keys - window ? index + window - 1 : keys - 1;
    else if (s->sight == NC_ATTENTION_PREFIX && index < s->prefix) {
        low = low < s->q_index ? low : s->q_index;
        high = s->prefix - 1;
    }
    *first = low;
    *last = high < keys - 1 ? high : keys - 1;
}
/* The code of the query at this row; what of the bias key j of the span meets at a query of code c. */
static inline int64_t nc_attention_query_code(const nc_attention_args *a, const nc_attention_span *s, int64_t row) { return a->q_code ? a->q_code[row] : s->q_index + row - s->q_row; }
static inline int64_t nc_attention_bias_at(const nc_attention_args *a, const nc_attention_span *s, int64_t j, int64_t code)
{
    int64_t r = a->bias_offset + (a->k_code ? a->k_code[s->k_row + j] : j) - code, last = a->shape.bias_rows - 1;

    return r < 0 ? 0 : r > last ? last : r;
}
/* Which of the 64 keys from `start` on are in a row's list, bit by bit. */
static inline uint64_t nc_attention_listed(const int32_t *list, int64_t listed, int64_t start)
{
    int64_t low = 0, high = listed;
    uint64_t bits = 0;

    while (low < high) {
        int64_t mid = (low + high) / 2;
        if (list[mid] < start)
            low = mid + 1;
        else
            high = mid;
    }
    for (; low < listed && list[low] < start + NC_ATTENTION_BLOCK; low++)
        bits |= (uint64_t)1 << (list[low] - start);
    return bits;
}
/* FLOPs of the two products of the forward over what is seen (a multiply and an add are two); the backward does 2.5 times as many. */
double nc_attention_flops(const nc_attention_args *a);

/* Bytes of one page's keys and values (all kv heads), whole 64-byte lines. */
static inline size_t nc_attention_key_page_bytes(const nc_attention_shape *s)
{
    return (size_t)s->kv_heads * (size_t)(s->dtype == NC_BF16 ? (s->head + 1) / 2 : s->head) * NC_ATTENTION_BLOCK * 4;
}
static inline size_t nc_attention_value_page_bytes(const nc_attention_shape *s)
{
    size_t bytes = (size_t)s->kv_heads * (size_t)s->value_head * (s->dtype == NC_BF16 ? NC_ATTENTION_BLOCK * 2 : NC_ATTENTION_BLOCK * 4);
    return (bytes + 63) / 64 * 64;
}
/* Writes row `index` of a sequence, one kv head, into its pages. */
void nc_attention_append(const nc_attention_shape *s, void *key_page, void *value_page, int64_t index, int kv_head, const void *k, const void *v);

extern const struct nc_attention_kernels nc_ref_attention;               /* the definition; two passes, sums in double */
void nc_attention_avx2(struct nc_attention_kernels *t);
void nc_attention_avx512(struct nc_attention_kernels *t);
void nc_attention_avx512bf16(struct nc_attention_kernels *t);
void nc_attention_amx(struct nc_attention_kernels *t);
#endif

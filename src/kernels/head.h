/* head.h - what turns a row of raw products of the head into log-probabilities and their gradient, chunk by chunk of the vocabulary.
 *
 *   l = scale * x, soft-capped: l = cap * tanh(scale * x / cap)                     f(l) = 1 - (l/cap)^2 (1 without a cap): dl/dx = scale * f
 *   a chunk's maximum m_c and s_c = sum exp(l - m_c); chunks are merged in order:  m' = max(m, m_c), s' = s exp(m - m') + s_c exp(m_c - m')
 *   log-sum-exp = m + log s
 * Chunks are cut at multiples of NC_HEAD_CHUNK, by the vocabulary alone, so training, evaluation and serving add in the same order.
 */
#ifndef NC_KERNELS_HEAD_H
#define NC_KERNELS_HEAD_H
#include <math.h>
#include "kernels/kernels.h"

enum { NC_HEAD_CHUNK = 2048 };

struct nc_head_kernels {
    /* x becomes l in place (nothing is written where scale is 1 and cap 0); returns the largest. */
    float (*logits)(float *x, int64_t n, float scale, float cap);
    /* Sum of exp(l - max); e (or NULL) gets exp(l - max) * f(l), in F32 or BF16. past: e is read much later and may be written past the cache. */
    float (*exps)(void *e, nc_dtype t, const float *l, int64_t n, float max, float cap, bool past);
    /* e *= factor, F32 or BF16. */
    void (*rescale)(void *e, nc_dtype t, int64_t n, float factor);
    /* out = factor * exp(l - lse) * f(l), in F32 or BF16. */
    void (*gradient)(void *out, nc_dtype t, const float *l, int64_t n, float lse, float factor, float cap);
};
extern const struct nc_head_kernels nc_ref_head;
void nc_head_avx2(struct nc_head_kernels *t);
void nc_head_avx512(struct nc_head_kernels *t);
void nc_head_avx512bf16(struct nc_head_kernels *t);

typedef struct nc_head_state { float max, sum; } nc_head_state;
#define NC_HEAD_START ((nc_head_state){ -INFINITY, 0 })
void nc_head_merge(nc_head_state *s, float max, float sum);
static inline float nc_head_lse(nc_head_state s) { return s.max + logf(s.sum); }
/* Log-sum-exp of a whole row of logits l (already scaled and capped): the bits that the training op gives. */
float nc_head_logsumexp(const nc_kernels *kernels, const float *l, int64_t vocabulary);
/* x becomes l for a row of serving's logits, with the training op's bits. */
void nc_head_finish(const nc_kernels *kernels, float *x, int64_t vocabulary, float scale, float cap);

/* The definition in double: row h [d], w [v,d] (stride), b [v] or NULL; l [v] is filled; returns the log-sum-exp. */
double nc_ref_head_row_f64(double *l, const double *h, const double *w, int64_t stride, const double *b, int64_t v, int64_t d, double scale, double cap);
#endif

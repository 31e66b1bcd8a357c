/* rope.h - rotary positions (Su et al., arXiv 2104.09864): pairs of columns turned by angle position * frequency.
 *
 *   halves       pairs (i, i + R/2)        neighbours   pairs (2i, 2i + 1)        i < R/2; columns R .. A are copied
 *   (a, b) -> (a c - b s, b c + a s);  inverse: s negated, which is also the gradient
 * rotate is indexed by nc_slot; cos and sin are f32 (f64 for slot f64). One call turns the heads of one token; y may be the very memory of x.
 */
#ifndef NC_KERNELS_ROPE_H
#define NC_KERNELS_ROPE_H
#include "kernels/dtype.h"
#include "kernels/kernels.h"

typedef struct nc_rope_shape { int64_t heads, width /* A */, half /* R/2 */; bool neighbours, inverse; } nc_rope_shape;
/* Frequencies of a table: angle i = (float)position[axis_of[i]] * inv_freq[i] in f32, as the reference implementations multiply. axis_of NULL: axis 0. */
typedef struct nc_rope_freqs { int half; const float *inv_freq; const int *axis_of; double factor; } nc_rope_freqs;

struct nc_rope_kernels {
    void (*rotate[NC_SLOTS])(void *y, int64_t y_head, const void *x, int64_t x_head, const void *cosine, const void *sine, const nc_rope_shape *s);
    /* factor * cos(angle), factor * sin(angle) for one token's positions; f64: the same f32 angle, cos and sin in double. */
    void (*table_f32)(float *cosine, float *sine, const int32_t *position, const nc_rope_freqs *f);
    void (*table_f64)(double *cosine, double *sine, const int32_t *position, const nc_rope_freqs *f);
};
extern const struct nc_rope_kernels nc_ref_rope;
void nc_rope_avx2(struct nc_rope_kernels *t);
void nc_rope_avx512(struct nc_rope_kernels *t);
void nc_rope_avx512bf16(struct nc_rope_kernels *t);
#endif

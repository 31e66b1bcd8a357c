/* reduce.h - sums, maxima and running sums along one axis, and accumulation.
 *
 * x is [n, inner] with rows `stride` elements apart: axis 0 is reduced, inner columns stay (inner 1, stride 1: a plain vector).
 * Kernels are indexed by nc_slot: f32 and bf16 sum in f32 and write f32, f64 sums and writes f64. No alignment is asked for; outputs do not overlap inputs.
 * The order of each sum depends on n and inner alone: inner 1 adds in 32 lanes (element j to lane j mod 32) and then folds the lanes by halves;
 * inner > 1 adds blocks of 32 rows in order and the blocks' sums in order.
 */
#ifndef NC_KERNELS_REDUCE_H
#define NC_KERNELS_REDUCE_H
#include "kernels/dtype.h"
#include "kernels/kernels.h"

struct nc_reduce_kernels {
    /* y[i] = sum over j of x[j*stride + i]. */
    void (*sum[NC_SLOTS])(void *y, const void *x, int64_t n, int64_t inner, int64_t stride);
    /* y[i] = max over j; NaN anywhere gives NaN; -inf for n = 0. */
    void (*max[NC_SLOTS])(void *y, const void *x, int64_t n, int64_t inner, int64_t stride);
    /* y[i] += x[i], y wide (f32, or f64 for slot f64), x of the slot's type. */
    void (*accumulate[NC_SLOTS])(void *y, const void *x, int64_t n);
    /* y[i] += x[i], both of the slot's type (bf16: added in f32, rounded once). */
    void (*add[NC_SLOTS])(void *y, const void *x, int64_t n);
    /* y[j, i] = sum of x[0..j, i], or of x[j..n, i] when reverse; x and y [n, inner] of the slot's type, rows `inner` apart; the running sum is in double. */
    void (*cumsum[NC_SLOTS])(void *y, const void *x, int64_t n, int64_t inner, bool reverse);
    /* dx[j, i] = dy[i] / (number of j with x[j, i] == y[i]) where x[j, i] == y[i], else 0; all of the slot's type, contiguous. */
    void (*max_grad[NC_SLOTS])(void *dx, const void *x, const void *y, const void *dy, int64_t n, int64_t inner);
};
extern const struct nc_reduce_kernels nc_ref_reduce;                     /* the definitions; sums in double */
void nc_reduce_avx2(struct nc_reduce_kernels *t);
void nc_reduce_avx512(struct nc_reduce_kernels *t);
void nc_reduce_avx512bf16(struct nc_reduce_kernels *t);
#endif

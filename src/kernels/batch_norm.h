/* batch_norm.h - normalization of each column by statistics of the rows (Ioffe & Szegedy 2015), over rows x [rows, columns], `stride` elements apart.
 *
 *   mean = sum x / rows,  var = sum (x - mean)^2 / rows;   y = x scale + shift
 *   gradient: s1 = sum dy, s2 = sum dy (x - mean) rstd;    dx = (dy - m1) scale - (x - mean) q,  m1 = s1 / rows, q = scale rstd s2 / rows
 * Statistics are wide (f32, f64 for slot f64): blocks of 64 rows are summed in f32, the blocks in double, in order. Kernels are indexed by nc_slot of x.
 */
#ifndef NC_KERNELS_BATCH_NORM_H
#define NC_KERNELS_BATCH_NORM_H
#include "kernels/dtype.h"
#include "kernels/kernels.h"

enum { NC_BATCH_NORM_COLUMNS = 16, NC_BATCH_NORM_ROWS = 64 };    /* most columns of moments and grad_sums; rows summed in f32 */

struct nc_batch_norm_kernels {
    void (*moments[NC_SLOTS])(void *mean, void *var, const void *x, int64_t rows, int64_t columns, int64_t stride);
    void (*apply[NC_SLOTS])(void *y, const void *x, const void *scale, const void *shift, int64_t rows, int64_t columns);      /* contiguous; y may be x */
    void (*grad_sums[NC_SLOTS])(void *s1, void *s2, const void *x, const void *dy, const void *mean, const void *rstd, int64_t rows, int64_t columns, int64_t stride);
    /* v: scale, m1, mean, q, each `columns` wide numbers; contiguous. */
    void (*grad_apply[NC_SLOTS])(void *dx, const void *x, const void *dy, const void *const v[4], int64_t rows, int64_t columns);
};
extern const struct nc_batch_norm_kernels nc_ref_batch_norm;
void nc_batch_norm_avx2(struct nc_batch_norm_kernels *t);
void nc_batch_norm_avx512(struct nc_batch_norm_kernels *t);
#endif

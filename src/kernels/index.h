/* index.h - what indexed rows need beyond copies: a row added with a factor, and the product of two rows. Indexed by nc_slot of x.
 *
 * axpy: acc[i] += s * x[i], acc f32 (f64 for slot f64), product and sum rounded once. dot: sum of a[i] b[i] in lanes over n, folded by halves.
 */
#ifndef NC_KERNELS_INDEX_H
#define NC_KERNELS_INDEX_H
#include "kernels/dtype.h"
#include "kernels/kernels.h"

struct nc_index_kernels {
    void (*axpy[NC_SLOTS])(void *acc, const void *x, double s, int64_t n);
    double (*dot[NC_SLOTS])(const void *a, const void *b, int64_t n);
};
extern const struct nc_index_kernels nc_ref_index;
void nc_index_avx2(struct nc_index_kernels *t);
void nc_index_avx512(struct nc_index_kernels *t);
#endif

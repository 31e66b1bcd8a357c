/* norm.h - rows normalized over their last axis, softmax, and their gradients.
 *
 *   norm       h = (x - m) r,  y = h (w + offset) + b       m = mean of the row (centered) or 0,  r = 1 / sqrt(sum (x - m)^2 * scale + eps)
 *              layer norm: centered, scale 1/n; RMS norm: scale 1/n; l2 norm: scale 1
 *   norm_grad  u = dy (w + offset),  dx = r (u - [centered] mean u - h scale sum(u h));  dw += dy h,  db += dy
 *   softmax    y = exp(x - max) / sum        dx = y (dy - sum(dy y))
 *   log_softmax  y = x - max - log sum exp   dx = dy - exp(y) sum dy
 *
 * Kernels are indexed by nc_slot; w, b, dw, db are f32 (f64 for slot f64) whatever x is, and may be NULL. Statistics are f32 (f64): the mean first, then the
 * centered squares, each in vector lanes over the row and then folded by halves, so they depend on n alone. Rows lie a stride apart (elements);
 * y or dx may be the very memory of x or dy. n >= 1.
 */
#ifndef NC_KERNELS_NORM_H
#define NC_KERNELS_NORM_H
#include "kernels/dtype.h"
#include "kernels/kernels.h"

typedef struct nc_norm_shape { int64_t n; bool centered; double scale, eps, offset; } nc_norm_shape;

struct nc_norm_kernels {
    void (*norm[NC_SLOTS])(void *y, int64_t y_stride, const void *x, int64_t x_stride, const void *w, const void *b, int64_t rows, const nc_norm_shape *s);
    /* dx may be NULL; dw and db are added to. */
    void (*norm_grad[NC_SLOTS])(void *dx, int64_t dx_stride, void *dw, void *db, const void *x, int64_t x_stride, const void *dy, int64_t dy_stride,
                                const void *w, int64_t rows, const nc_norm_shape *s);
    void (*softmax[NC_SLOTS])(void *y, int64_t y_stride, const void *x, int64_t x_stride, int64_t rows, int64_t n, bool log);
    void (*softmax_grad[NC_SLOTS])(void *dx, int64_t dx_stride, const void *y, int64_t y_stride, const void *dy, int64_t dy_stride, int64_t rows, int64_t n,
                                   bool log);
};
extern const struct nc_norm_kernels nc_ref_norm;
void nc_norm_avx2(struct nc_norm_kernels *t);
void nc_norm_avx512(struct nc_norm_kernels *t);
void nc_norm_avx512bf16(struct nc_norm_kernels *t);
#endif

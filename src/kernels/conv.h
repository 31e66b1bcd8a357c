/* conv.h - convolution (cross-correlation, as PyTorch's conv) and pooling over planes; always three axes, absent ones have size and kernel 1.
 *
 *   y[o, p] = sum over c, k of w[o, c, k] x[c, p*stride - pad + k*dilation]      zero outside; c runs over the group of o
 *   columns of one sample: row p is [C][kernel] of the x that output p sees, so that y = columns w^T
 * Kernels are indexed by nc_slot of x and do one sample (or one plane) a call; sums are f32 (f64 for slot f64) in an order fixed by the shapes.
 */
#ifndef NC_KERNELS_CONV_H
#define NC_KERNELS_CONV_H
#include "kernels/dtype.h"
#include "kernels/kernels.h"

typedef struct nc_conv_shape {
    int64_t in[3], out[3], kernel[3], stride[3], pad[3], dilation[3];
    int64_t channels, outputs, groups;
} nc_conv_shape;
static inline int64_t nc_conv_volume(const int64_t d[3]) { return d[0] * d[1] * d[2]; }

/* Pooling: pad is not more than half the kernel. divisor: of a window's average without the cells beyond the input; with count_pad padding counts, but
 * not what ceil mode lets hang over. Max takes the first of equals in order of the window; NaN wins. */
typedef struct nc_pool_shape { int64_t in[3], out[3], kernel[3], stride[3], pad[3]; bool average, count_pad; } nc_pool_shape;

struct nc_conv_kernels {
    /* columns[rows first .. last) of one sample x [C, in]; columns points at row `first`. */
    void (*columns[NC_SLOTS])(void *columns, const void *x, const nc_conv_shape *s, int64_t first, int64_t last);
    /* The adjoint for one channel: dx [in] of channel c from a sample's columns, each cell summed over the kernel in order. acc: nc_conv_volume(in) wide numbers. */
    void (*uncolumns[NC_SLOTS])(void *dx, const void *columns, const nc_conv_shape *s, int64_t c, void *acc);
    /* One output plane of one sample: y [out] of output o, x [C, in], w [outputs, C/groups, kernel] of x's type. acc: nc_conv_volume(out) wide numbers. */
    void (*plane[NC_SLOTS])(void *y, const void *x, const void *w, const nc_conv_shape *s, int64_t o, void *acc);
    /* Its adjoints: dx [in] of channel c from dy [outputs, out]; dw [kernel] (wide, added to) of weights (o, i-th channel of the group) from one sample. */
    void (*plane_dx[NC_SLOTS])(void *dx, const void *dy, const void *w, const nc_conv_shape *s, int64_t c, void *acc);
    void (*plane_dw[NC_SLOTS])(void *dw, const void *x, const void *dy, const nc_conv_shape *s, int64_t o, int64_t i);
    /* One plane: y [out] from x [in]; dx [in] from dy [out] (x tells the maxima). acc as above, of in. */
    void (*pool[NC_SLOTS])(void *y, const void *x, const nc_pool_shape *s);
    void (*pool_grad[NC_SLOTS])(void *dx, const void *x, const void *dy, const nc_pool_shape *s, void *acc);
};
extern const struct nc_conv_kernels nc_ref_conv;
void nc_conv_avx2(struct nc_conv_kernels *t);
void nc_conv_avx512(struct nc_conv_kernels *t);
#endif

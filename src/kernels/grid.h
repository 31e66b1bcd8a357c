/* grid.h - convolution parts and pooling over pictures whose cells are rows: x [height*width, channels], channels side by side.
 *
 *   output cell (i, j) sees input cells (i*stride - before + k*dilation) on both axes; cells outside count as zero (max pooling: as absent)
 *   columns: the row of output cell p is [channels][kernel], what a weight [outputs, channels, kernel] is multiplied with
 *   depth:   y[p, c] = bias[c] + sum over k of w[k, c] x[cell(p, k), c]
 * Padding before and after may differ: `before` is a shape's own, what is padded after follows from the size of the output. Kernels are indexed by nc_slot of x
 * and do rows [first, last) of one picture; sums are f32 (f64 for slot f64), over the kernel's cells in order, so a row's bits depend on its picture alone.
 * w, bias, sums are wide: f32, f64 for slot f64.
 */
#ifndef NC_KERNELS_GRID_H
#define NC_KERNELS_GRID_H
#include "kernels/dtype.h"
#include "kernels/kernels.h"

enum { NC_GRID_KERNEL = 4096 };                 /* most cells of a kernel of columns */
typedef struct nc_grid_shape { int64_t channels, in[2], out[2], kernel[2], stride[2], dilation[2], before[2]; } nc_grid_shape;
static inline int64_t nc_grid_cells(const int64_t d[2]) { return d[0] * d[1]; }

struct nc_grid_kernels {
    /* columns points at row `first`; [last - first, channels * kernel]. */
    void (*columns[NC_SLOTS])(void *columns, const void *x, const nc_grid_shape *s, int64_t first, int64_t last);
    /* The adjoint, rows [first, last) of the input's cells, from all columns of the picture. */
    void (*uncolumns[NC_SLOTS])(void *dx, const void *columns, const nc_grid_shape *s, int64_t first, int64_t last);
    /* Depthwise: y points at output row `first`; w [kernel, channels], bias [channels] or NULL. */
    void (*depth[NC_SLOTS])(void *y, const void *x, const void *w, const void *bias, const nc_grid_shape *s, int64_t first, int64_t last);
    /* Its adjoints: dx points at input row `first`; dw [kernel, channels] (added to) for channels [from, to) of one picture. */
    void (*depth_dx[NC_SLOTS])(void *dx, const void *dy, const void *w, const nc_grid_shape *s, int64_t first, int64_t last);
    void (*depth_dw[NC_SLOTS])(void *dw, const void *x, const void *dy, const nc_grid_shape *s, int64_t from, int64_t to);
    /* The largest cell of each window (the first of equals, NaN wins), or the mean of those inside the picture; y points at output row `first`. */
    void (*pool[NC_SLOTS])(void *y, const void *x, const nc_grid_shape *s, bool average, int64_t first, int64_t last);
    /* dx of one picture for channels [from, to): dy goes to each window's first largest cell, or is shared by its cells. acc: input cells * (to - from) wide numbers. */
    void (*pool_grad[NC_SLOTS])(void *dx, const void *x, const void *dy, const nc_grid_shape *s, bool average, int64_t from, int64_t to, void *acc);
};
extern const struct nc_grid_kernels nc_ref_grid;
void nc_grid_avx2(struct nc_grid_kernels *t);
void nc_grid_avx512(struct nc_grid_kernels *t);

/* The window of output cell `at` on one axis: kernel cells [from, to) lie inside, the first of them over input cell `start`. */
typedef struct nc_grid_range { int64_t from, to, start; } nc_grid_range;
static inline nc_grid_range nc_grid_inside(const nc_grid_shape *s, int axis, int64_t at)
{
    const int64_t first = at * s->stride[axis] - s->before[axis], step = s->dilation[axis];
    int64_t from = first < 0 ? (step - 1 - first) / step : 0, to = s->in[axis] > first ? (s->in[axis] - first + step - 1) / step : 0;
    to = to < s->kernel[axis] ? to : s->kernel[axis];
    from = from < to ? from : to;
    return (nc_grid_range){ from, to, first + from * step };
}
/* The output cell whose kernel cell k lies over input cell `at` on one axis; -1 when there is none. */
static inline int64_t nc_grid_seer(const nc_grid_shape *s, int axis, int64_t at, int64_t k)
{
    const int64_t p = at + s->before[axis] - k * s->dilation[axis];
    return p < 0 || p % s->stride[axis] || p / s->stride[axis] >= s->out[axis] ? -1 : p / s->stride[axis];
}
#endif

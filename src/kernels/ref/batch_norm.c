/* ref/batch_norm.c - the definitions of batch_norm.h; sums in double. */
#include "kernels/batch_norm.h"
#include "kernels/ref/scalar.h"

static void moments(nc_slot t, void *mean, void *var, const void *x, int64_t rows, int64_t columns, int64_t stride)
{
    for (int64_t c = 0; c < columns; c++) {
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < rows; i++)
            sum += nc_slot_get(t, x, i * stride + c);
        const double m = rows ? sum / (double)rows : 0;
        for (int64_t i = 0; i < rows; i++) {
            double d = nc_slot_get(t, x, i * stride + c) - m;
            squares += d * d;
        }
        nc_wide_put(t, mean, c, m);
        nc_wide_put(t, var, c, rows ? squares / (double)rows : 0);
    }
}

static void apply(nc_slot t, void *y, const void *x, const void *scale, const void *shift, int64_t rows, int64_t columns)
{
    for (int64_t i = 0; i < rows * columns; i++)
        nc_slot_put(t, y, i, nc_slot_get(t, x, i) * nc_wide_get(t, scale, i % columns) + nc_wide_get(t, shift, i % columns));
}

static void grad_sums(nc_slot t, void *s1, void *s2, const void *x, const void *dy, const void *mean, const void *rstd, int64_t rows, int64_t columns, int64_t stride)
{
    for (int64_t c = 0; c < columns; c++) {
        double sum = 0, dots = 0;
        for (int64_t i = 0; i < rows; i++) {
            double d = nc_slot_get(t, dy, i * stride + c);
            sum += d;
            dots += d * (nc_slot_get(t, x, i * stride + c) - nc_wide_get(t, mean, c));
        }
        nc_wide_put(t, s1, c, sum);
        nc_wide_put(t, s2, c, dots * nc_wide_get(t, rstd, c));
    }
}

static void grad_apply(nc_slot t, void *dx, const void *x, const void *dy, const void *const v[4], int64_t rows, int64_t columns)
{
    for (int64_t i = 0; i < rows * columns; i++) {
        const int64_t c = i % columns;
        nc_slot_put(t, dx, i, (nc_slot_get(t, dy, i) - nc_wide_get(t, v[1], c)) * nc_wide_get(t, v[0], c) - (nc_slot_get(t, x, i) - nc_wide_get(t, v[2], c)) * nc_wide_get(t, v[3], c));
    }
}

#define SLOTS(name, parameters, ...) NC_EACH_SLOT(name, parameters, name(NC_SLOT_F32, __VA_ARGS__), name(NC_SLOT_BF16, __VA_ARGS__), name(NC_SLOT_F64, __VA_ARGS__))
SLOTS(moments, (void *mean, void *var, const void *x, int64_t rows, int64_t columns, int64_t stride), mean, var, x, rows, columns, stride)
SLOTS(apply, (void *y, const void *x, const void *scale, const void *shift, int64_t rows, int64_t columns), y, x, scale, shift, rows, columns)
SLOTS(grad_sums, (void *s1, void *s2, const void *x, const void *dy, const void *mean, const void *rstd, int64_t rows, int64_t columns, int64_t stride), s1, s2, x, dy, mean, rstd, rows, columns, stride)
SLOTS(grad_apply, (void *dx, const void *x, const void *dy, const void *const v[4], int64_t rows, int64_t columns), dx, x, dy, v, rows, columns)

const struct nc_batch_norm_kernels nc_ref_batch_norm = {
    .moments = NC_SLOT_TABLE(moments), .apply = NC_SLOT_TABLE(apply), .grad_sums = NC_SLOT_TABLE(grad_sums), .grad_apply = NC_SLOT_TABLE(grad_apply),
};

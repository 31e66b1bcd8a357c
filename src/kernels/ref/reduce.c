/* ref/reduce.c - the definitions of reduce.h: plain loops, sums in double. */
#include "kernels/reduce.h"
#include <math.h>

static double at(nc_dtype t, const void *x, int64_t i)
{
    return t == NC_F32 ? (double)((const float *)x)[i] : t == NC_BF16 ? (double)nc_bf16_to_f32(((const uint16_t *)x)[i]) : ((const double *)x)[i];
}

static void put(nc_dtype t, void *y, int64_t i, double v)
{
    if (t == NC_F64)
        ((double *)y)[i] = v;
    else
        ((float *)y)[i] = (float)v;
}

static void sum(nc_dtype t, void *y, const void *x, int64_t n, int64_t inner, int64_t stride)
{
    for (int64_t i = 0; i < inner; i++) {
        double s = 0;
        for (int64_t j = 0; j < n; j++)
            s += at(t, x, j * stride + i);
        put(t, y, i, s);
    }
}

static void max(nc_dtype t, void *y, const void *x, int64_t n, int64_t inner, int64_t stride)
{
    for (int64_t i = 0; i < inner; i++) {
        double m = -INFINITY;
        for (int64_t j = 0; j < n; j++) {
            double v = at(t, x, j * stride + i);
            m = v > m || v != v ? v : m;
        }
        put(t, y, i, m);
    }
}

static void accumulate(nc_dtype t, void *y, const void *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (t == NC_F64)
            ((double *)y)[i] += ((const double *)x)[i];
        else
            ((float *)y)[i] += (float)at(t, x, i);
}

static void add(nc_dtype t, void *y, const void *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        nc_dtype_store(t, y, i, at(t, y, i) + at(t, x, i));
}

static void cumsum(nc_dtype t, void *y, const void *x, int64_t n, int64_t inner, bool reverse)
{
    for (int64_t i = 0; i < inner; i++) {
        double s = 0;
        for (int64_t j = 0; j < n; j++) {
            int64_t k = (reverse ? n - 1 - j : j) * inner + i;
            s += at(t, x, k);
            nc_dtype_store(t, y, k, s);
        }
    }
}

static void max_grad(nc_dtype t, void *dx, const void *x, const void *y, const void *dy, int64_t n, int64_t inner)
{
    for (int64_t i = 0; i < inner; i++) {
        int64_t ties = 0;
        for (int64_t j = 0; j < n; j++)
            ties += at(t, x, j * inner + i) == at(t, y, i);
        for (int64_t j = 0; j < n; j++)
            nc_dtype_store(t, dx, j * inner + i, at(t, x, j * inner + i) == at(t, y, i) ? at(t, dy, i) / (double)ties : 0);
    }
}

static void sum_f32(void *y, const void *x, int64_t n, int64_t inner, int64_t stride) { sum(NC_F32, y, x, n, inner, stride); }
static void sum_bf16(void *y, const void *x, int64_t n, int64_t inner, int64_t stride) { sum(NC_BF16, y, x, n, inner, stride); }
static void sum_f64(void *y, const void *x, int64_t n, int64_t inner, int64_t stride) { sum(NC_F64, y, x, n, inner, stride); }
static void max_f32(void *y, const void *x, int64_t n, int64_t inner, int64_t stride) { max(NC_F32, y, x, n, inner, stride); }
static void max_bf16(void *y, const void *x, int64_t n, int64_t inner, int64_t stride) { max(NC_BF16, y, x, n, inner, stride); }
static void max_f64(void *y, const void *x, int64_t n, int64_t inner, int64_t stride) { max(NC_F64, y, x, n, inner, stride); }
static void accumulate_f32(void *y, const void *x, int64_t n) { accumulate(NC_F32, y, x, n); }
static void accumulate_bf16(void *y, const void *x, int64_t n) { accumulate(NC_BF16, y, x, n); }
static void accumulate_f64(void *y, const void *x, int64_t n) { accumulate(NC_F64, y, x, n); }

static void add_f32(void *y, const void *x, int64_t n) { add(NC_F32, y, x, n); }
static void add_bf16(void *y, const void *x, int64_t n) { add(NC_BF16, y, x, n); }
static void add_f64(void *y, const void *x, int64_t n) { add(NC_F64, y, x, n); }
static void cumsum_f32(void *y, const void *x, int64_t n, int64_t inner, bool reverse) { cumsum(NC_F32, y, x, n, inner, reverse); }
static void cumsum_bf16(void *y, const void *x, int64_t n, int64_t inner, bool reverse) { cumsum(NC_BF16, y, x, n, inner, reverse); }
static void cumsum_f64(void *y, const void *x, int64_t n, int64_t inner, bool reverse) { cumsum(NC_F64, y, x, n, inner, reverse); }
static void max_grad_f32(void *dx, const void *x, const void *y, const void *dy, int64_t n, int64_t inner) { max_grad(NC_F32, dx, x, y, dy, n, inner); }
static void max_grad_bf16(void *dx, const void *x, const void *y, const void *dy, int64_t n, int64_t inner) { max_grad(NC_BF16, dx, x, y, dy, n, inner); }
static void max_grad_f64(void *dx, const void *x, const void *y, const void *dy, int64_t n, int64_t inner) { max_grad(NC_F64, dx, x, y, dy, n, inner); }

const struct nc_reduce_kernels nc_ref_reduce = {
    .sum = { sum_f32, sum_bf16, sum_f64 },
    .max = { max_f32, max_bf16, max_f64 },
    .add = { add_f32, add_bf16, add_f64 },
    .cumsum = { cumsum_f32, cumsum_bf16, cumsum_f64 },
    .max_grad = { max_grad_f32, max_grad_bf16, max_grad_f64 },
    .accumulate = { accumulate_f32, accumulate_bf16, accumulate_f64 },
};

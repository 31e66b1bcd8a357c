/* ref/norm.c - the definitions of norm.h, sums in double. Source: Ba, Kiros, Hinton, arXiv 1607.06450; Zhang and Sennrich, arXiv 1910.07467. */
#include "kernels/norm.h"
#include "kernels/ref/scalar.h"

#include <math.h>

typedef struct stats { double mean, r; } stats;

static stats statistics(nc_slot s, const void *x, int64_t at, const nc_norm_shape *k)
{
    double sum = 0, squares = 0;

    for (int64_t j = 0; k->centered && j < k->n; j++)
        sum += nc_slot_get(s, x, at + j);
    double mean = sum / (double)k->n;
    for (int64_t j = 0; j < k->n; j++) {
        double d = nc_slot_get(s, x, at + j) - mean;
        squares += d * d;
    }
    return (stats){ mean, 1 / sqrt(squares * k->scale + k->eps) };
}

static void norm(nc_slot s, void *y, int64_t ys, const void *x, int64_t xs, const void *w, const void *b, int64_t rows, const nc_norm_shape *k)
{
    for (int64_t i = 0; i < rows; i++) {
        stats t = statistics(s, x, i * xs, k);
        for (int64_t j = 0; j < k->n; j++) {
            double h = (nc_slot_get(s, x, i * xs + j) - t.mean) * t.r;
            nc_slot_put(s, y, i * ys + j, h * ((w ? nc_wide_get(s, w, j) : 1) + (w ? k->offset : 0)) + (b ? nc_wide_get(s, b, j) : 0));
        }
    }
}

static void norm_grad(nc_slot s, void *dx, int64_t ds, void *dw, void *db, const void *x, int64_t xs, const void *dy, int64_t gs, const void *w, int64_t rows,
                      const nc_norm_shape *k)
{
    for (int64_t i = 0; i < rows; i++) {
        stats t = statistics(s, x, i * xs, k);
        double su = 0, suh = 0;
        for (int64_t j = 0; j < k->n; j++) {
            double d = nc_slot_get(s, dy, i * gs + j), h = (nc_slot_get(s, x, i * xs + j) - t.mean) * t.r, u = w ? d * (nc_wide_get(s, w, j) + k->offset) : d;
            su += u;
            suh += u * h;
            if (dw)
                nc_wide_put(s, dw, j, nc_wide_get(s, dw, j) + d * h);
            if (db)
                nc_wide_put(s, db, j, nc_wide_get(s, db, j) + d);
        }
        for (int64_t j = 0; dx && j < k->n; j++) {
            double d = nc_slot_get(s, dy, i * gs + j), h = (nc_slot_get(s, x, i * xs + j) - t.mean) * t.r, u = w ? d * (nc_wide_get(s, w, j) + k->offset) : d;
            nc_slot_put(s, dx, i * ds + j, t.r * (u - (k->centered ? su / (double)k->n : 0) - h * k->scale * suh));
        }
    }
}

static void softmax(nc_slot s, void *y, int64_t ys, const void *x, int64_t xs, int64_t rows, int64_t n, bool log_form)
{
    for (int64_t i = 0; i < rows; i++) {
        double top = -INFINITY, sum = 0;
        for (int64_t j = 0; j < n; j++)
            top = fmax(top, nc_slot_get(s, x, i * xs + j));
        for (int64_t j = 0; j < n; j++)
            sum += exp(nc_slot_get(s, x, i * xs + j) - top);
        for (int64_t j = 0; j < n; j++) {
            double v = nc_slot_get(s, x, i * xs + j) - top;
            nc_slot_put(s, y, i * ys + j, log_form ? v - log(sum) : exp(v) / sum);
        }
    }
}

static void softmax_grad(nc_slot s, void *dx, int64_t ds, const void *y, int64_t ys, const void *dy, int64_t gs, int64_t rows, int64_t n, bool log_form)
{
    for (int64_t i = 0; i < rows; i++) {
        double sum = 0;
        for (int64_t j = 0; j < n; j++)
            sum += nc_slot_get(s, dy, i * gs + j) * (log_form ? 1 : nc_slot_get(s, y, i * ys + j));
        for (int64_t j = 0; j < n; j++) {
            double v = nc_slot_get(s, y, i * ys + j), d = nc_slot_get(s, dy, i * gs + j);
            nc_slot_put(s, dx, i * ds + j, log_form ? d - exp(v) * sum : v * (d - sum));
        }
    }
}

#define SLOTS(name, parameters, ...)                                                  \
    NC_EACH_SLOT(name, parameters, name(NC_SLOT_F32, __VA_ARGS__), name(NC_SLOT_BF16, __VA_ARGS__), name(NC_SLOT_F64, __VA_ARGS__))
SLOTS(norm, (void *y, int64_t ys, const void *x, int64_t xs, const void *w, const void *b, int64_t rows, const nc_norm_shape *k), y, ys, x, xs, w, b, rows, k)
SLOTS(norm_grad, (void *dx, int64_t ds, void *dw, void *db, const void *x, int64_t xs, const void *dy, int64_t gs, const void *w, int64_t rows,
                  const nc_norm_shape *k), dx, ds, dw, db, x, xs, dy, gs, w, rows, k)
SLOTS(softmax, (void *y, int64_t ys, const void *x, int64_t xs, int64_t rows, int64_t n, bool log_form), y, ys, x, xs, rows, n, log_form)
SLOTS(softmax_grad, (void *dx, int64_t ds, const void *y, int64_t ys, const void *dy, int64_t gs, int64_t rows, int64_t n, bool log_form),
      dx, ds, y, ys, dy, gs, rows, n, log_form)

const struct nc_norm_kernels nc_ref_norm = {
    .norm = NC_SLOT_TABLE(norm), .norm_grad = NC_SLOT_TABLE(norm_grad), .softmax = NC_SLOT_TABLE(softmax), .softmax_grad = NC_SLOT_TABLE(softmax_grad),
};

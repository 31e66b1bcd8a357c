/* ref/grid.c - the definitions of grid.h. */
#include "kernels/grid.h"
#include "kernels/ref/scalar.h"

#include <math.h>

/* The input cell under kernel cell k of output cell p; -1 outside. */
static int64_t source(const nc_grid_shape *s, int64_t p, int64_t k)
{
    int64_t h = p / s->out[1] * s->stride[0] - s->before[0] + k / s->kernel[1] * s->dilation[0];
    int64_t w = p % s->out[1] * s->stride[1] - s->before[1] + k % s->kernel[1] * s->dilation[1];

    return h < 0 || h >= s->in[0] || w < 0 || w >= s->in[1] ? -1 : h * s->in[1] + w;
}

/* The output cell whose kernel cell k lies over input cell i; -1 for none. */
static int64_t seer(const nc_grid_shape *s, int64_t i, int64_t k)
{
    int64_t h = nc_grid_seer(s, 0, i / s->in[1], k / s->kernel[1]), w = nc_grid_seer(s, 1, i % s->in[1], k % s->kernel[1]);

    return h < 0 || w < 0 ? -1 : h * s->out[1] + w;
}

static void columns(nc_slot t, void *y, const void *x, const nc_grid_shape *s, int64_t first, int64_t last)
{
    const int64_t K = nc_grid_cells(s->kernel), C = s->channels;

    for (int64_t p = first; p < last; p++)
        for (int64_t c = 0; c < C; c++)
            for (int64_t k = 0; k < K; k++) {
                int64_t at = source(s, p, k);
                nc_slot_put(t, y, ((p - first) * C + c) * K + k, at < 0 ? 0 : nc_slot_get(t, x, at * C + c));
            }
}

static void uncolumns(nc_slot t, void *dx, const void *y, const nc_grid_shape *s, int64_t first, int64_t last)
{
    const int64_t K = nc_grid_cells(s->kernel), C = s->channels;

    for (int64_t i = first; i < last; i++)
        for (int64_t c = 0; c < C; c++) {
            double sum = 0;
            for (int64_t k = 0; k < K; k++) {
                int64_t p = seer(s, i, k);
                sum += p < 0 ? 0 : nc_slot_get(t, y, (p * C + c) * K + k);
            }
            nc_slot_put(t, dx, (i - first) * C + c, sum);
        }
}

static void depth(nc_slot t, void *y, const void *x, const void *w, const void *bias, const nc_grid_shape *s, int64_t first, int64_t last)
{
    const int64_t K = nc_grid_cells(s->kernel), C = s->channels;

    for (int64_t p = first; p < last; p++)
        for (int64_t c = 0; c < C; c++) {
            double sum = bias ? nc_wide_get(t, bias, c) : 0;
            for (int64_t k = 0; k < K; k++) {
                int64_t at = source(s, p, k);
                sum += at < 0 ? 0 : nc_wide_get(t, w, k * C + c) * nc_slot_get(t, x, at * C + c);
            }
            nc_slot_put(t, y, (p - first) * C + c, sum);
        }
}

static void depth_dx(nc_slot t, void *dx, const void *dy, const void *w, const nc_grid_shape *s, int64_t first, int64_t last)
{
    const int64_t K = nc_grid_cells(s->kernel), C = s->channels;

    for (int64_t i = first; i < last; i++)
        for (int64_t c = 0; c < C; c++) {
            double sum = 0;
            for (int64_t k = 0; k < K; k++) {
                int64_t p = seer(s, i, k);
                sum += p < 0 ? 0 : nc_wide_get(t, w, k * C + c) * nc_slot_get(t, dy, p * C + c);
            }
            nc_slot_put(t, dx, (i - first) * C + c, sum);
        }
}

static void depth_dw(nc_slot t, void *dw, const void *x, const void *dy, const nc_grid_shape *s, int64_t from, int64_t to)
{
    const int64_t K = nc_grid_cells(s->kernel), P = nc_grid_cells(s->out), C = s->channels;

    for (int64_t k = 0; k < K; k++)
        for (int64_t c = from; c < to; c++) {
            double sum = 0;
            for (int64_t p = 0; p < P; p++) {
                int64_t at = source(s, p, k);
                sum += at < 0 ? 0 : nc_slot_get(t, dy, p * C + c) * nc_slot_get(t, x, at * C + c);
            }
            nc_wide_put(t, dw, k * C + c, nc_wide_get(t, dw, k * C + c) + sum);
        }
}

/* The cell of the largest value in p's window; -1 when no cell lies inside. cells: how many do. */
static int64_t largest(nc_slot t, const void *x, const nc_grid_shape *s, int64_t p, int64_t c, double *cells, double *sum)
{
    int64_t best = -1;
    double top = 0;

    *cells = *sum = 0;
    for (int64_t k = 0; k < nc_grid_cells(s->kernel); k++) {
        int64_t at = source(s, p, k);
        if (at < 0)
            continue;
        double v = nc_slot_get(t, x, at * s->channels + c);
        *cells += 1;
        *sum += v;
        if (best < 0 || v > top || (v != v && top == top))
            best = at, top = v;
    }
    return best;
}

static void pool(nc_slot t, void *y, const void *x, const nc_grid_shape *s, bool average, int64_t first, int64_t last)
{
    const int64_t C = s->channels;
    double cells, sum;

    for (int64_t p = first; p < last; p++)
        for (int64_t c = 0; c < C; c++) {
            int64_t at = largest(t, x, s, p, c, &cells, &sum);
            nc_slot_put(t, y, (p - first) * C + c, average ? sum / cells : at < 0 ? -INFINITY : nc_slot_get(t, x, at * C + c));
        }
}

static void pool_grad(nc_slot t, void *dx, const void *x, const void *dy, const nc_grid_shape *s, bool average, int64_t from, int64_t to, void *acc)
{
    const int64_t C = s->channels, I = nc_grid_cells(s->in), n = to - from;
    double cells, sum;

    for (int64_t i = 0; i < I * n; i++)
        nc_wide_put(t, acc, i, 0);
    for (int64_t p = 0, P = nc_grid_cells(s->out); p < P; p++)
        for (int64_t c = from; c < to; c++) {
            int64_t best = largest(t, x, s, p, c, &cells, &sum);
            double d = nc_slot_get(t, dy, p * C + c);
            for (int64_t k = 0; k < nc_grid_cells(s->kernel); k++) {
                int64_t at = source(s, p, k), to_cell = at * n + c - from;
                if (at >= 0 && (average || at == best))
                    nc_wide_put(t, acc, to_cell, nc_wide_get(t, acc, to_cell) + (average ? d / cells : d));
            }
        }
    for (int64_t i = 0; i < I; i++)
        for (int64_t c = from; c < to; c++)
            nc_slot_put(t, dx, i * C + c, nc_wide_get(t, acc, i * n + c - from));
}

#define SLOTS(name, parameters, ...) NC_EACH_SLOT(name, parameters, name(NC_SLOT_F32, __VA_ARGS__), name(NC_SLOT_BF16, __VA_ARGS__), name(NC_SLOT_F64, __VA_ARGS__))
SLOTS(columns, (void *y, const void *x, const nc_grid_shape *s, int64_t first, int64_t last), y, x, s, first, last)
SLOTS(uncolumns, (void *dx, const void *y, const nc_grid_shape *s, int64_t first, int64_t last), dx, y, s, first, last)
SLOTS(depth, (void *y, const void *x, const void *w, const void *bias, const nc_grid_shape *s, int64_t first, int64_t last), y, x, w, bias, s, first, last)
SLOTS(depth_dx, (void *dx, const void *dy, const void *w, const nc_grid_shape *s, int64_t first, int64_t last), dx, dy, w, s, first, last)
SLOTS(depth_dw, (void *dw, const void *x, const void *dy, const nc_grid_shape *s, int64_t from, int64_t to), dw, x, dy, s, from, to)
SLOTS(pool, (void *y, const void *x, const nc_grid_shape *s, bool average, int64_t first, int64_t last), y, x, s, average, first, last)
SLOTS(pool_grad, (void *dx, const void *x, const void *dy, const nc_grid_shape *s, bool average, int64_t from, int64_t to, void *acc), dx, x, dy, s, average, from, to, acc)

const struct nc_grid_kernels nc_ref_grid = {
    .columns = NC_SLOT_TABLE(columns), .uncolumns = NC_SLOT_TABLE(uncolumns), .depth = NC_SLOT_TABLE(depth), .depth_dx = NC_SLOT_TABLE(depth_dx),
    .depth_dw = NC_SLOT_TABLE(depth_dw), .pool = NC_SLOT_TABLE(pool), .pool_grad = NC_SLOT_TABLE(pool_grad),
};

/* ref/conv.c - the definitions of conv.h. Sums run in the wide type's accumulator over (channel, kernel cell) in order. */
#include "kernels/conv.h"
#include "kernels/ref/scalar.h"

#include <math.h>

typedef struct cell { int64_t d, h, w; } cell;

static cell cell_of(const int64_t size[3], int64_t i) { return (cell){ i / (size[1] * size[2]), i / size[2] % size[1], i % size[2] }; }

/* The input cell under kernel cell k of output p; -1 in the padding. */
static int64_t source(const nc_conv_shape *s, cell p, cell k)
{
    int64_t d = p.d * s->stride[0] - s->pad[0] + k.d * s->dilation[0], h = p.h * s->stride[1] - s->pad[1] + k.h * s->dilation[1];
    int64_t w = p.w * s->stride[2] - s->pad[2] + k.w * s->dilation[2];

    if (d < 0 || d >= s->in[0] || h < 0 || h >= s->in[1] || w < 0 || w >= s->in[2])
        return -1;
    return (d * s->in[1] + h) * s->in[2] + w;
}

static void columns(nc_slot t, void *y, const void *x, const nc_conv_shape *s, int64_t first, int64_t last)
{
    const int64_t K = nc_conv_volume(s->kernel), I = nc_conv_volume(s->in);

    for (int64_t p = first; p < last; p++)
        for (int64_t c = 0; c < s->channels; c++)
            for (int64_t k = 0; k < K; k++) {
                int64_t at = source(s, cell_of(s->out, p), cell_of(s->kernel, k));
                nc_slot_put(t, y, ((p - first) * s->channels + c) * K + k, at < 0 ? 0 : nc_slot_get(t, x, c * I + at));
            }
}

static void clear(nc_slot t, void *acc, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        nc_wide_put(t, acc, i, 0);
}
static void add(nc_slot t, void *acc, int64_t i, double v) { nc_wide_put(t, acc, i, nc_wide_get(t, acc, i) + v); }
static void finish(nc_slot t, void *y, const void *acc, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        nc_slot_put(t, y, i, nc_wide_get(t, acc, i));
}

static void uncolumns(nc_slot t, void *dx, const void *y, const nc_conv_shape *s, int64_t c, void *acc)
{
    const int64_t K = nc_conv_volume(s->kernel), P = nc_conv_volume(s->out), I = nc_conv_volume(s->in);

    clear(t, acc, I);
    for (int64_t k = 0; k < K; k++)
        for (int64_t p = 0; p < P; p++) {
            int64_t at = source(s, cell_of(s->out, p), cell_of(s->kernel, k));
            if (at >= 0)
                add(t, acc, at, nc_slot_get(t, y, (p * s->channels + c) * K + k));
        }
    finish(t, dx, acc, I);
}

static void plane(nc_slot t, void *y, const void *x, const void *w, const nc_conv_shape *s, int64_t o, void *acc)
{
    const int64_t K = nc_conv_volume(s->kernel), P = nc_conv_volume(s->out), I = nc_conv_volume(s->in), in = s->channels / s->groups;
    const int64_t c0 = o / (s->outputs / s->groups) * in;

    clear(t, acc, P);
    for (int64_t i = 0; i < in; i++)
        for (int64_t k = 0; k < K; k++) {
            double v = nc_slot_get(t, w, (o * in + i) * K + k);
            for (int64_t p = 0; p < P; p++) {
                int64_t at = source(s, cell_of(s->out, p), cell_of(s->kernel, k));
                if (at >= 0)
                    add(t, acc, p, v * nc_slot_get(t, x, (c0 + i) * I + at));
            }
        }
    finish(t, y, acc, P);
}

static void plane_dx(nc_slot t, void *dx, const void *dy, const void *w, const nc_conv_shape *s, int64_t c, void *acc)
{
    const int64_t K = nc_conv_volume(s->kernel), P = nc_conv_volume(s->out), I = nc_conv_volume(s->in), in = s->channels / s->groups;
    const int64_t each = s->outputs / s->groups, o0 = c / in * each;

    clear(t, acc, I);
    for (int64_t o = o0; o < o0 + each; o++)
        for (int64_t k = 0; k < K; k++) {
            double v = nc_slot_get(t, w, (o * in + c % in) * K + k);
            for (int64_t p = 0; p < P; p++) {
                int64_t at = source(s, cell_of(s->out, p), cell_of(s->kernel, k));
                if (at >= 0)
                    add(t, acc, at, v * nc_slot_get(t, dy, o * P + p));
            }
        }
    finish(t, dx, acc, I);
}

static void plane_dw(nc_slot t, void *dw, const void *x, const void *dy, const nc_conv_shape *s, int64_t o, int64_t i)
{
    const int64_t K = nc_conv_volume(s->kernel), P = nc_conv_volume(s->out), I = nc_conv_volume(s->in), in = s->channels / s->groups;
    const int64_t c = o / (s->outputs / s->groups) * in + i;

    for (int64_t k = 0; k < K; k++) {
        double sum = 0;
        for (int64_t p = 0; p < P; p++) {
            int64_t at = source(s, cell_of(s->out, p), cell_of(s->kernel, k));
            if (at >= 0)
                sum += nc_slot_get(t, dy, o * P + p) * nc_slot_get(t, x, c * I + at);
        }
        add(t, dw, k, sum);
    }
}

/* ---- pooling ---- */

typedef struct window { int64_t from[3], to[3]; double count; } window;

static window window_of(const nc_pool_shape *s, int64_t p)
{
    cell c = cell_of(s->out, p);
    const int64_t at[3] = { c.d, c.h, c.w };
    window v = { .count = 1 };

    for (int a = 0; a < 3; a++) {
        int64_t from = at[a] * s->stride[a] - s->pad[a], to = from + s->kernel[a], padded = s->in[a] + s->pad[a];
        int64_t with_pad = (to < padded ? to : padded) - from;
        v.from[a] = from < 0 ? 0 : from;
        v.to[a] = to < s->in[a] ? to : s->in[a];
        v.count *= (double)(s->count_pad ? with_pad : v.to[a] - v.from[a]);
    }
    return v;
}

#define NC_EACH_CELL(v, s, at)                                                                                \
    for (int64_t d_ = v.from[0]; d_ < v.to[0]; d_++)                                                          \
        for (int64_t h_ = v.from[1]; h_ < v.to[1]; h_++)                                                      \
            for (int64_t at = (d_ * s->in[1] + h_) * s->in[2] + v.from[2]; at < (d_ * s->in[1] + h_) * s->in[2] + v.to[2]; at++)

static int64_t largest(nc_slot t, const void *x, const nc_pool_shape *s, const window *w)
{
    const window v = *w;
    int64_t best = -1;
    double top = 0;

    NC_EACH_CELL(v, s, at) {
        double u = nc_slot_get(t, x, at);
        if (best < 0 || u > top || (u != u && top == top))
            best = at, top = u;
    }
    return best;
}

static void pool(nc_slot t, void *y, const void *x, const nc_pool_shape *s)
{
    for (int64_t p = 0, P = nc_conv_volume(s->out); p < P; p++) {
        window v = window_of(s, p);
        double sum = 0;
        if (!s->average) {
            int64_t at = largest(t, x, s, &v);
            nc_slot_put(t, y, p, at < 0 ? -INFINITY : nc_slot_get(t, x, at));
            continue;
        }
        NC_EACH_CELL(v, s, at)
            sum += nc_slot_get(t, x, at);
        nc_slot_put(t, y, p, sum / v.count);
    }
}

static void pool_grad(nc_slot t, void *dx, const void *x, const void *dy, const nc_pool_shape *s, void *acc)
{
    clear(t, acc, nc_conv_volume(s->in));
    for (int64_t p = 0, P = nc_conv_volume(s->out); p < P; p++) {
        window v = window_of(s, p);
        double d = nc_slot_get(t, dy, p);
        if (!s->average) {
            int64_t at = largest(t, x, s, &v);
            if (at >= 0)
                add(t, acc, at, d);
            continue;
        }
        NC_EACH_CELL(v, s, at)
            add(t, acc, at, d / v.count);
    }
    finish(t, dx, acc, nc_conv_volume(s->in));
}

#define SLOTS(name, parameters, ...)                                                  \
    NC_EACH_SLOT(name, parameters, name(NC_SLOT_F32, __VA_ARGS__), name(NC_SLOT_BF16, __VA_ARGS__), name(NC_SLOT_F64, __VA_ARGS__))
SLOTS(columns, (void *y, const void *x, const nc_conv_shape *s, int64_t first, int64_t last), y, x, s, first, last)
SLOTS(uncolumns, (void *dx, const void *y, const nc_conv_shape *s, int64_t c, void *acc), dx, y, s, c, acc)
SLOTS(plane, (void *y, const void *x, const void *w, const nc_conv_shape *s, int64_t o, void *acc), y, x, w, s, o, acc)
SLOTS(plane_dx, (void *dx, const void *dy, const void *w, const nc_conv_shape *s, int64_t c, void *acc), dx, dy, w, s, c, acc)
SLOTS(plane_dw, (void *dw, const void *x, const void *dy, const nc_conv_shape *s, int64_t o, int64_t i), dw, x, dy, s, o, i)
SLOTS(pool, (void *y, const void *x, const nc_pool_shape *s), y, x, s)
SLOTS(pool_grad, (void *dx, const void *x, const void *dy, const nc_pool_shape *s, void *acc), dx, x, dy, s, acc)

const struct nc_conv_kernels nc_ref_conv = {
    .columns = NC_SLOT_TABLE(columns), .uncolumns = NC_SLOT_TABLE(uncolumns), .plane = NC_SLOT_TABLE(plane), .plane_dx = NC_SLOT_TABLE(plane_dx),
    .plane_dw = NC_SLOT_TABLE(plane_dw), .pool = NC_SLOT_TABLE(pool), .pool_grad = NC_SLOT_TABLE(pool_grad),
};

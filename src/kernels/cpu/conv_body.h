/* conv_body.h - conv.h over rows of the last axis; included by conv_avx2.c and conv_avx512.c, which define ISA(name).
 *
 * For a kernel cell the outputs that see the input form a range of each axis, found once; inside it rows are copied, or added with a factor, without
 * tests. Pooling stays with the reference.
 */
#include "kernels/conv.h"
#include "kernels/cpu/simd.h"

typedef struct range { int64_t from, to, shift; } range;            /* outputs [from, to) see input p * stride + shift */

/* ceil(a / b), floor(a / b) for b > 0. */
static int64_t ceil_div(int64_t a, int64_t b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }

static range range_of(const nc_conv_shape *s, int axis, int64_t k)
{
    range r = { 0, 0, k * s->dilation[axis] - s->pad[axis] };
    int64_t from = ceil_div(-r.shift, s->stride[axis]), to = ceil_div(s->in[axis] - r.shift, s->stride[axis]);

    r.from = from < 0 ? 0 : from;
    r.to = to < s->out[axis] ? to : s->out[axis];
    r.to = r.to < r.from ? r.from : r.to;
    return r;
}

NC_INLINE void zero(float *p, int64_t n) { memset(p, 0, (size_t)n * sizeof *p); }

NC_INLINE void store_plane(bool h, void *y, const float *acc, int64_t n)
{
    int64_t i = 0;

    for (; i + NC_VL <= n; i += NC_VL)
        v_put(h, y, i, v_load(acc + i));
    if (i < n)
        v_put_n(h, y, i, v_load_n(acc + i, n - i), n - i);
}

/* acc[i * as] += w * x[i * xs] for i < n; one of the strides is 1. */
NC_INLINE void add_row(bool h, float *acc, int64_t as, const void *x, int64_t at, int64_t xs, float w, int64_t n)
{
    int64_t i = 0;

    if (as == 1 && xs == 1) {
        const vf k = v_set(w);
        for (; i + NC_VL <= n; i += NC_VL)
            v_store(acc + i, v_fma(k, v_get(h, x, at + i), v_load(acc + i)));
        if (i < n)
            v_store_n(acc + i, v_fma(k, v_get_n(h, x, at + i, n - i), v_load_n(acc + i, n - i)), n - i);
        return;
    }
    for (; i < n; i++)
        acc[i * as] = __builtin_fmaf(w, v_get1(h, x, at + i * xs), acc[i * as]);
}

NC_INLINE double dot_row(bool h, const void *dy, int64_t dat, const void *x, int64_t xat, int64_t xs, int64_t n)
{
    double rest = 0;
    vf sum = v_zero();
    int64_t i = 0;

    if (xs == 1) {
        for (; i + NC_VL <= n; i += NC_VL)
            sum = v_fma(v_get(h, dy, dat + i), v_get(h, x, xat + i), sum);
        if (i < n)
            sum = v_fma(v_get_n(h, dy, dat + i, n - i), v_get_n(h, x, xat + i, n - i), sum);
        return (double)v_sum(sum);
    }
    for (; i < n; i++)
        rest += (double)v_get1(h, dy, dat + i) * (double)v_get1(h, x, xat + i * xs);
    return rest;
}

/* For each kernel cell of (channel c of x, output row p): rows of the last axis. BODY sees k (cell), out (start in the output plane), at (start in x), n. */
#define EACH_ROW(s, BODY)                                                                                                        \
    for (int64_t kd = 0, k = 0; kd < s->kernel[0]; kd++)                                                                         \
        for (int64_t kh = 0; kh < s->kernel[1]; kh++)                                                                            \
            for (int64_t kw = 0; kw < s->kernel[2]; kw++, k++) {                                                                 \
                const range rd = range_of(s, 0, kd), rh = range_of(s, 1, kh), rw = range_of(s, 2, kw);                           \
                const int64_t n = rw.to - rw.from;                                                                               \
                for (int64_t d = rd.from; n && d < rd.to; d++)                                                                   \
                    for (int64_t y_ = rh.from; y_ < rh.to; y_++) {                                                               \
                        const int64_t out = (d * s->out[1] + y_) * s->out[2] + rw.from;                                          \
                        const int64_t at = ((d * s->stride[0] + rd.shift) * s->in[1] + y_ * s->stride[1] + rh.shift) * s->in[2] + \
                                           rw.from * s->stride[2] + rw.shift;                                                    \
                        BODY;                                                                                                    \
                    }                                                                                                            \
            }

NC_INLINE void plane_body(bool h, void *y, const void *x, const void *w, const nc_conv_shape *s, int64_t o, float *acc)
{
    const int64_t K = nc_conv_volume(s->kernel), P = nc_conv_volume(s->out), I = nc_conv_volume(s->in), in = s->channels / s->groups;
    const int64_t c0 = o / (s->outputs / s->groups) * in, step = s->stride[2];

    zero(acc, P);
    for (int64_t i = 0; i < in; i++)
        EACH_ROW(s, add_row(h, acc + out, 1, x, (c0 + i) * I + at, step, v_get1(h, w, (o * in + i) * K + k), n))
    store_plane(h, y, acc, P);
}

NC_INLINE void plane_dx_body(bool h, void *dx, const void *dy, const void *w, const nc_conv_shape *s, int64_t c, float *acc)
{
    const int64_t K = nc_conv_volume(s->kernel), P = nc_conv_volume(s->out), I = nc_conv_volume(s->in), in = s->channels / s->groups;
    const int64_t each = s->outputs / s->groups, o0 = c / in * each, step = s->stride[2];

    zero(acc, I);
    for (int64_t o = o0; o < o0 + each; o++)
        EACH_ROW(s, add_row(h, acc + at, step, dy, o * P + out, 1, v_get1(h, w, (o * in + c % in) * K + k), n))
    store_plane(h, dx, acc, I);
}

NC_INLINE void plane_dw_body(bool h, float *dw, const void *x, const void *dy, const nc_conv_shape *s, int64_t o, int64_t i)
{
    const int64_t K = nc_conv_volume(s->kernel), P = nc_conv_volume(s->out), I = nc_conv_volume(s->in), in = s->channels / s->groups;
    const int64_t c = o / (s->outputs / s->groups) * in + i, step = s->stride[2];
    double sum = 0;
    int64_t last = 0;

    EACH_ROW(s, {
        if (k != last) {
            dw[last] += (float)sum;
            sum = 0;
            last = k;
        }
        sum += dot_row(h, dy, o * P + out, x, c * I + at, step, n);
    })
    if (K)
        dw[last] += (float)sum;
}

NC_INLINE void uncolumns_body(bool h, void *dx, const void *cols, const nc_conv_shape *s, int64_t c, float *acc)
{
    const int64_t K = nc_conv_volume(s->kernel), row = s->channels * K, step = s->stride[2];

    zero(acc, nc_conv_volume(s->in));
    EACH_ROW(s, {
        for (int64_t j = 0; j < n; j++)
            acc[at + j * step] += v_get1(h, cols, (out + j) * row + c * K + k);
    })
    store_plane(h, dx, acc, nc_conv_volume(s->in));
}

/* A row of columns is filled kernel row by kernel row; cells in the padding are zero. With dilation 1 a kernel row is one run of x. */
NC_INLINE void columns_body(size_t size, char *cols, const char *x, const nc_conv_shape *s, int64_t first, int64_t last)
{
    const int64_t K = nc_conv_volume(s->kernel), I = nc_conv_volume(s->in), KW = s->kernel[2], step = s->dilation[2];

    for (int64_t p = first; p < last; p++, cols += (size_t)(s->channels * K) * size) {
        const int64_t d0 = p / (s->out[1] * s->out[2]) * s->stride[0] - s->pad[0], h0 = p / s->out[2] % s->out[1] * s->stride[1] - s->pad[1];
        const int64_t w0 = p % s->out[2] * s->stride[2] - s->pad[2];
        int64_t from = ceil_div(-w0, step), to = ceil_div(s->in[2] - w0, step);     /* kernel columns inside */
        from = from < 0 ? 0 : from > KW ? KW : from;
        to = to > KW ? KW : to < from ? from : to;
        char *cell = cols;
        for (int64_t c = 0; c < s->channels; c++)
            for (int64_t kd = 0; kd < s->kernel[0]; kd++)
                for (int64_t kh = 0; kh < s->kernel[1]; kh++, cell += (size_t)KW * size) {
                    const int64_t d = d0 + kd * s->dilation[0], h = h0 + kh * s->dilation[1];
                    if (d < 0 || d >= s->in[0] || h < 0 || h >= s->in[1] || from == to) {
                        memset(cell, 0, (size_t)KW * size);
                        continue;
                    }
                    const char *row = x + (size_t)(c * I + (d * s->in[1] + h) * s->in[2]) * size;
                    memset(cell, 0, (size_t)from * size);
                    memset(cell + (size_t)to * size, 0, (size_t)(KW - to) * size);
                    if (step == 1)
                        memcpy(cell + (size_t)from * size, row + (size_t)(w0 + from) * size, (size_t)(to - from) * size);
                    else
                        for (int64_t k = from; k < to; k++)
                            memcpy(cell + (size_t)k * size, row + (size_t)(w0 + k * step) * size, size);
                }
    }
}

#define STORAGE(suffix, h)                                                                                                              \
    static void columns_##suffix(void *y, const void *x, const nc_conv_shape *s, int64_t first, int64_t last)                           \
    {                                                                                                                                   \
        columns_body((h) ? 2 : 4, y, x, s, first, last);                                                                                \
    }                                                                                                                                   \
    static void uncolumns_##suffix(void *dx, const void *y, const nc_conv_shape *s, int64_t c, void *acc) { uncolumns_body(h, dx, y, s, c, acc); } \
    static void plane_##suffix(void *y, const void *x, const void *w, const nc_conv_shape *s, int64_t o, void *acc)                     \
    {                                                                                                                                   \
        plane_body(h, y, x, w, s, o, acc);                                                                                              \
    }                                                                                                                                   \
    static void plane_dx_##suffix(void *dx, const void *dy, const void *w, const nc_conv_shape *s, int64_t c, void *acc)                \
    {                                                                                                                                   \
        plane_dx_body(h, dx, dy, w, s, c, acc);                                                                                         \
    }                                                                                                                                   \
    static void plane_dw_##suffix(void *dw, const void *x, const void *dy, const nc_conv_shape *s, int64_t o, int64_t i)                \
    {                                                                                                                                   \
        plane_dw_body(h, dw, x, dy, s, o, i);                                                                                           \
    }
STORAGE(f32, false)
STORAGE(bf16, true)

void ISA(nc_conv)(struct nc_conv_kernels *t)
{
#define SET(name) t->name[NC_SLOT_F32] = name##_f32, t->name[NC_SLOT_BF16] = name##_bf16
    SET(columns), SET(uncolumns), SET(plane), SET(plane_dx), SET(plane_dw);
#undef SET
}

/* head.c - the definitions of head.h; sums in double. */
#include "kernels/head.h"

static float logits(float *x, int64_t n, float scale, float cap)
{
    float most = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        double l = (double)x[i] * scale;
        if (cap > 0)
            l = cap * tanh(l / cap);
        if (scale != 1 || cap > 0)
            x[i] = (float)l;
        most = x[i] > most ? x[i] : most;
    }
    return most;
}

static void put(void *p, nc_dtype t, int64_t i, float v)
{
    if (t == NC_BF16)
        ((uint16_t *)p)[i] = nc_f32_to_bf16(v);
    else
        ((float *)p)[i] = v;
}

static double slope(float l, float cap) { return cap > 0 ? 1 - (double)l / cap * ((double)l / cap) : 1; }

static float exps(void *e, nc_dtype t, const float *l, int64_t n, float max, float cap, bool past)
{
    (void)past;
    double sum = 0, from = max == -INFINITY ? 0 : max;
    for (int64_t i = 0; i < n; i++) {
        double v = exp(l[i] - from);
        sum += v;
        if (e)
            put(e, t, i, (float)(v * slope(l[i], cap)));
    }
    return (float)sum;
}

static void rescale(void *e, nc_dtype t, int64_t n, float factor)
{
    for (int64_t i = 0; i < n; i++)
        put(e, t, i, factor * (t == NC_BF16 ? nc_bf16_to_f32(((const uint16_t *)e)[i]) : ((const float *)e)[i]));
}

static void gradient(void *out, nc_dtype t, const float *l, int64_t n, float lse, float factor, float cap)
{
    for (int64_t i = 0; i < n; i++)
        put(out, t, i, (float)(factor * exp((double)l[i] - lse) * slope(l[i], cap)));
}

const struct nc_head_kernels nc_ref_head = { logits, exps, rescale, gradient };

double nc_ref_head_row_f64(double *l, const double *h, const double *w, int64_t stride, const double *b, int64_t v, int64_t d, double scale, double cap)
{
    double most = -INFINITY, sum = 0;
    for (int64_t j = 0; j < v; j++) {
        double x = b ? b[j] : 0;
        for (int64_t k = 0; k < d; k++)
            x += h[k] * w[j * stride + k];
        x *= scale;
        l[j] = cap > 0 ? cap * tanh(x / cap) : x;
        most = l[j] > most ? l[j] : most;
    }
    for (int64_t j = 0; j < v; j++)
        sum += exp(l[j] - most);
    return most + log(sum);
}

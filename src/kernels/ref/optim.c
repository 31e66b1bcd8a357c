/* ref/optim.c - the definitions of optim.h: plain loops in double; what is stored is rounded once. */
#include "kernels/optim.h"
#include <math.h>

static void adam(const nc_adam_step *s, float *p, const float *g, float *m, float *v, float *largest, uint16_t *half, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double d = g[i] * s->scale + s->l2 * p[i];
        double m1 = m[i] + (1 - s->beta1) * (d - m[i]), v1 = s->beta2 * v[i] + (1 - s->beta2) * d * d, top = v1;
        m[i] = (float)m1;
        v[i] = (float)v1;
        if (largest) {
            if (!(largest[i] > v1))
                largest[i] = (float)v1;
            top = largest[i];
        }
        p[i] = (float)(p[i] * s->decay - s->rate * m1 / (sqrt(top) * s->root + s->eps));
        if (half)
            half[i] = nc_f32_to_bf16(p[i]);
    }
}

static void sgd(const nc_sgd_step *s, float *p, const float *g, float *m, uint16_t *half, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double d = g[i] * s->scale + s->l2 * p[i];
        if (m) {
            double m1 = s->first ? d : s->momentum * m[i] + (1 - s->dampening) * d;
            m[i] = (float)m1;
            d = s->nesterov ? d + s->momentum * m1 : m1;
        }
        p[i] = (float)(p[i] - s->lr * d);
        if (half)
            half[i] = nc_f32_to_bf16(p[i]);
    }
}

static void lion(const nc_lion_step *s, float *p, const float *g, float *m, uint16_t *half, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double d = g[i] * s->scale, c = s->beta1 * m[i] + (1 - s->beta1) * d;
        p[i] = (float)(p[i] * s->decay - s->lr * (c > 0 ? 1 : c < 0 ? -1 : c));
        m[i] = (float)(s->beta2 * m[i] + (1 - s->beta2) * d);
        if (half)
            half[i] = nc_f32_to_bf16(p[i]);
    }
}

static double squares(const float *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i] * x[i];
    return sum;
}

const struct nc_optim_kernels nc_ref_optim = { .adam = adam, .sgd = sgd, .lion = lion, .squares = squares };

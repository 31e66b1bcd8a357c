/* ref/element.c - the definitions of element.h, in double with libm.
 *
 *   gelu        x Phi(x),  Phi(x) = (1 + erf(x/sqrt 2))/2          (Hendrycks and Gimpel, arXiv 1606.08415)
 *   gelu_tanh   x sigma(2u),  u = sqrt(2/pi) (x + 0.044715 x^3)     equal to x/2 (1 + tanh u)
 *   quick_gelu  x sigma(1.702 x)        silu  x sigma(x)            softplus  log(1 + e^x)
 */
#include "kernels/element.h"
#include "base/rng.h"
#include "kernels/ref/scalar.h"

#include <math.h>

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double gelu_u2(double x) { return 1.5957691216057308 * (x + 0.044715 * x * x * x); }        /* 2u */

static double value(nc_unary kind, double x, const double *p)
{
    switch (kind) {
    case NC_NEG: return -x;
    case NC_EXP: return exp(x);
    case NC_LOG: return log(x);
    case NC_SQRT: return sqrt(x);
    case NC_RSQRT: return 1 / sqrt(x);
    case NC_RECIP: return 1 / x;
    case NC_SQUARE: return x * x;
    case NC_ABS: return fabs(x);
    case NC_SIGN: return x > 0 ? 1 : x < 0 ? -1 : x;
    case NC_SIN: return sin(x);
    case NC_COS: return cos(x);
    case NC_TANH: return tanh(x);
    case NC_SIGMOID: return sigmoid(x);
    case NC_SOFTPLUS: return (x > 0 ? x : 0) + log1p(exp(-fabs(x))) + (x != x ? x : 0);
    case NC_RELU: return x < 0 ? 0 : x;
    case NC_GELU: return 0.5 * x * (1 + erf(x * 0.70710678118654752440));
    case NC_GELU_TANH: return x * sigmoid(gelu_u2(x));
    case NC_QUICK_GELU: return x * sigmoid(1.702 * x);
    case NC_SILU: return x * sigmoid(x);
    case NC_STEP: return x > 0 ? 1 : 0;
    case NC_ERF: return erf(x);
    case NC_AFFINE: return x * p[0] + p[1];
    case NC_CLAMP: return x < p[0] ? p[0] : x > p[1] ? p[1] : x;
    case NC_SOFT_CAP: return p[0] * tanh(x / p[0]);
    default: return x;
    }
}

/* x sigma(k x) has the derivative s + k x s (1 - s). */
static double swish_slope(double x, double k)
{
    double s = sigmoid(k * x);
    return s + k * x * s * (1 - s);
}

static double slope(nc_unary kind, double x, const double *p)
{
    double t;

    switch (kind) {
    case NC_NEG: return -1;
    case NC_EXP: return exp(x);
    case NC_LOG: return 1 / x;
    case NC_SQRT: return 0.5 / sqrt(x);
    case NC_RSQRT: return -0.5 / (x * sqrt(x));
    case NC_RECIP: return -1 / (x * x);
    case NC_SQUARE: return 2 * x;
    case NC_ABS: return x > 0 ? 1 : x < 0 ? -1 : 0;
    case NC_SIN: return cos(x);
    case NC_COS: return -sin(x);
    case NC_TANH: return t = tanh(x), 1 - t * t;
    case NC_SIGMOID: return t = sigmoid(x), t * (1 - t);
    case NC_SOFTPLUS: return sigmoid(x);
    case NC_RELU: return x > 0 ? 1 : 0;
    case NC_GELU: return 0.5 * (1 + erf(x * 0.70710678118654752440)) + x * 0.39894228040143267794 * exp(-0.5 * x * x);
    case NC_GELU_TANH: return t = sigmoid(gelu_u2(x)), t + x * t * (1 - t) * 1.5957691216057308 * (1 + 0.134145 * x * x);
    case NC_QUICK_GELU: return swish_slope(x, 1.702);
    case NC_SILU: return swish_slope(x, 1);
    case NC_ERF: return 1.12837916709551257390 * exp(-x * x);
    case NC_AFFINE: return p[0];
    case NC_CLAMP: return x > p[0] && x < p[1] ? 1 : 0;
    case NC_SOFT_CAP: return t = tanh(x / p[0]), 1 - t * t;
    default: return 0;                                   /* sign, step */
    }
}

static void unary(nc_slot s, nc_unary kind, void *y, const void *x, int64_t n, const double *p)
{
    for (int64_t i = 0; i < n; i++)
        nc_slot_put(s, y, i, value(kind, nc_slot_get(s, x, i), p));
}

static void unary_grad(nc_slot s, nc_unary kind, void *dx, const void *x, const void *dy, int64_t n, const double *p)
{
    for (int64_t i = 0; i < n; i++)
        nc_slot_put(s, dx, i, nc_slot_get(s, dy, i) * slope(kind, nc_slot_get(s, x, i), p));
}

static void binary(nc_slot s, nc_binary kind, void *y, const void *a, int as, const void *b, int bs, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double u = nc_slot_get(s, a, i * as), v = nc_slot_get(s, b, i * bs);
        double r = kind == NC_ADD ? u + v : kind == NC_SUB ? u - v : kind == NC_MUL ? u * v : kind == NC_DIV ? u / v :
                   u != u ? u : v != v ? v : (kind == NC_MAXIMUM ? u > v : u < v) ? u : v;
        nc_slot_put(s, y, i, r);
    }
}

static void gated(nc_slot s, nc_unary kind, void *y, const void *gate, const void *up, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        nc_slot_put(s, y, i, value(kind, nc_slot_get(s, gate, i), NULL) * nc_slot_get(s, up, i));
}

static void gated_grad(nc_slot s, nc_unary kind, void *dgate, void *dup, const void *gate, const void *up, const void *dy, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double x = nc_slot_get(s, gate, i), u = nc_slot_get(s, up, i), d = nc_slot_get(s, dy, i);
        if (dgate)
            nc_slot_put(s, dgate, i, d * u * slope(kind, x, NULL));
        if (dup)
            nc_slot_put(s, dup, i, d * value(kind, x, NULL));
    }
}

static void dropout(nc_slot s, void *y, const void *x, int64_t n, const nc_dropout_row *d)
{
    uint32_t w[4];

    for (int64_t i = 0; i < n; i++) {
        if (i % 4 == 0)
            nc_philox(d->seed, d->stream, d->counter + (uint64_t)i / 4, w);
        double v = nc_slot_get(s, x, i);
        nc_slot_put(s, y, i, w[i % 4] < d->threshold ? 0 : s == NC_SLOT_F64 ? v * d->scale : (double)((float)v * (float)d->scale));
    }
}

static void cast(nc_dtype to, void *y, nc_dtype from, const void *x, int64_t n)
{
    if (to == from) {
        memmove(y, x, nc_dtype_bytes(to, n));
        return;
    }
    for (int64_t i = 0; i < n; i++)
        nc_dtype_store(to, y, i, nc_dtype_load(from, x, i));
}

#define SLOTS(name, parameters, ...)                                                  \
    NC_EACH_SLOT(name, parameters, name(NC_SLOT_F32, __VA_ARGS__), name(NC_SLOT_BF16, __VA_ARGS__), name(NC_SLOT_F64, __VA_ARGS__))
SLOTS(unary, (nc_unary kind, void *y, const void *x, int64_t n, const double *p), kind, y, x, n, p)
SLOTS(unary_grad, (nc_unary kind, void *dx, const void *x, const void *dy, int64_t n, const double *p), kind, dx, x, dy, n, p)
SLOTS(binary, (nc_binary kind, void *y, const void *a, int as, const void *b, int bs, int64_t n), kind, y, a, as, b, bs, n)
SLOTS(gated, (nc_unary kind, void *y, const void *gate, const void *up, int64_t n), kind, y, gate, up, n)
SLOTS(gated_grad, (nc_unary kind, void *dgate, void *dup, const void *gate, const void *up, const void *dy, int64_t n), kind, dgate, dup, gate, up, dy, n)
SLOTS(dropout, (void *y, const void *x, int64_t n, const nc_dropout_row *d), y, x, n, d)

const struct nc_element_kernels nc_ref_element = {
    .unary = NC_SLOT_TABLE(unary), .unary_grad = NC_SLOT_TABLE(unary_grad), .binary = NC_SLOT_TABLE(binary), .gated = NC_SLOT_TABLE(gated),
    .gated_grad = NC_SLOT_TABLE(gated_grad), .dropout = NC_SLOT_TABLE(dropout), .cast = cast,
};

/* element.h - functions of one and two numbers, gated products, casts and dropout, over plain runs of n elements.
 *
 * Kernels are indexed by nc_slot: f32 and bf16 compute in f32 and round once on store, f64 in f64. No alignment is asked for. An output may be the very
 * memory of an input (y == x), no other overlap. An element's value depends on its inputs alone, never on where in the run it lies.
 * f32 functions are accurate to about 2 ulp (see cpu/simd_math.h); the reference uses libm in double.
 */
#ifndef NC_KERNELS_ELEMENT_H
#define NC_KERNELS_ELEMENT_H
#include "kernels/dtype.h"
#include "kernels/kernels.h"

typedef enum nc_unary {
    NC_NEG, NC_EXP, NC_LOG, NC_SQRT, NC_RSQRT, NC_RECIP, NC_SQUARE, NC_ABS, NC_SIGN, NC_SIN, NC_COS, NC_TANH, NC_SIGMOID, NC_SOFTPLUS,
    NC_RELU, NC_GELU /* erf */, NC_GELU_TANH, NC_QUICK_GELU, NC_SILU, NC_STEP /* 1 where x > 0 */, NC_ERF,
    NC_UNARY_KINDS,
    NC_AFFINE = NC_UNARY_KINDS,      /* x*p[0] + p[1] */
    NC_CLAMP,                        /* to [p[0], p[1]]; its derivative is 1 strictly inside */
    NC_SOFT_CAP,                     /* p[0] * tanh(x / p[0]) */
    NC_ELEMENT_KINDS
} nc_unary;

typedef enum nc_binary { NC_ADD, NC_SUB, NC_MUL, NC_DIV, NC_MAXIMUM, NC_MINIMUM, NC_BINARY_KINDS } nc_binary;

/* Dropout of one row: column j is kept when word j%4 of philox(seed, stream, counter + j/4) is at least `threshold` = round(p * 2^32). */
typedef struct nc_dropout_row { uint64_t seed, stream, counter; uint32_t threshold; double scale; } nc_dropout_row;

struct nc_element_kernels {
    /* y = f(x); p: the kind's parameters or NULL. */
    void (*unary[NC_SLOTS])(nc_unary kind, void *y, const void *x, int64_t n, const double *p);
    /* dx = dy * f'(x). */
    void (*unary_grad[NC_SLOTS])(nc_unary kind, void *dx, const void *x, const void *dy, int64_t n, const double *p);
    /* y[i] = a[i*as] op b[i*bs]; as, bs are 0 or 1. */
    void (*binary[NC_SLOTS])(nc_binary kind, void *y, const void *a, int as, const void *b, int bs, int64_t n);
    /* y = f(gate) * up, rounded once; kinds without parameters. */
    void (*gated[NC_SLOTS])(nc_unary kind, void *y, const void *gate, const void *up, int64_t n);
    /* dgate = dy * up * f'(gate), dup = dy * f(gate); either may be NULL. */
    void (*gated_grad[NC_SLOTS])(nc_unary kind, void *dgate, void *dup, const void *gate, const void *up, const void *dy, int64_t n);
    /* y = x * scale where kept, else 0. */
    void (*dropout[NC_SLOTS])(void *y, const void *x, int64_t n, const nc_dropout_row *d);
    /* Between any two plain types; floats round to nearest even, integers from floats toward zero. */
    void (*cast)(nc_dtype to, void *y, nc_dtype from, const void *x, int64_t n);
};
extern const struct nc_element_kernels nc_ref_element;
void nc_element_avx2(struct nc_element_kernels *t);
void nc_element_avx512(struct nc_element_kernels *t);
void nc_element_avx512bf16(struct nc_element_kernels *t);
#endif

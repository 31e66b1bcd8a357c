/* test_element.c - element.h: every function on every ISA level against libm in double, in ulp; lengths around the vector's; tails and neighbours
 * untouched; bf16 rounding as nc_f32_to_bf16; the same dropout mask on every level. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/rng.h"
#include "kernels/element.h"

enum { N = 4099 };

static double ulp_error(float got, double want)
{
    if (isnan(want))
        return isnan(got) ? 0 : INFINITY;
    if (isinf((float)want) || isinf(got))
        return got == (float)want || (isinf(got) && fabs(want) > 3.4028e38 && (got > 0) == (want > 0)) ? 0 : INFINITY;
    int e;
    frexp(want, &e);
    double ulp = ldexp(1, (e < -125 ? -125 : e) - 24);
    return fabs((double)got - want) / ulp;
}

/* Grid: random of growing size, exact points, specials. */
static void grid(float *x, int n, double low, double high)
{
    static const float special[] = { 0, -0.0f, 1, -1, 0.5f, 88.7f, -87.5f, -100, 1e-40f, 3e38f, INFINITY, -INFINITY, NAN, 0.625f, 0.624999f, 1.4142135f, 3.9f, -4.1f };
    nc_rng r = nc_rng_new(7, 1);

    for (int i = 0; i < n; i++) {
        double u = nc_rng_uniform(&r);
        x[i] = i < NC_COUNT(special) ? special[i] : (float)(i % 3 ? low + (high - low) * u : (u - 0.5) * pow(10, 2 - 12 * nc_rng_uniform(&r)));
    }
}

typedef struct limit { nc_unary kind; double low, high, ulp, slope_ulp; bool absolute; } limit;
/* absolute: near cancellation the error is measured in ulp of max(1, |x|) as PyTorch's own formula has it. */
static const limit limits[] = {
    { NC_NEG, -9, 9, 0.5, 0.5, 0 }, { NC_EXP, -104, 89, 1.5, 1.5, 0 }, { NC_LOG, 0, 100, 2, 1, 0 }, { NC_SQRT, 0, 1e9, 0.51, 2, 0 }, { NC_RSQRT, 0, 1e3, 1.5, 3, 0 },
    { NC_RECIP, -9, 9, 0.51, 2, 0 }, { NC_SQUARE, -9, 9, 0.51, 0.51, 0 }, { NC_ABS, -9, 9, 0.5, 0.5, 0 }, { NC_SIGN, -9, 9, 0.5, 0.5, 0 },
    { NC_SIN, -1e5, 1e5, 2, 2, 0 }, { NC_COS, -1e5, 1e5, 2, 2, 0 }, { NC_TANH, -10, 10, 2.5, 4, 1 }, { NC_SIGMOID, -80, 80, 3, 4, 1 }, { NC_SOFTPLUS, -80, 80, 3, 3, 0 },
    { NC_RELU, -9, 9, 0.5, 0.5, 0 }, { NC_GELU, -6, 6, 4, 8, 1 }, { NC_GELU_TANH, -6, 6, 4, 16, 1 }, { NC_QUICK_GELU, -30, 30, 4, 16, 1 }, { NC_SILU, -30, 30, 4, 16, 1 },
    { NC_STEP, -9, 9, 0.5, 0.5, 0 }, { NC_ERF, -5, 5, 2.5, 4, 1 },
};

static void check_unary(const struct nc_element_kernels *k, const char *isa, const limit *l)
{
    static float x[N], y[N], dx[N], ones[N];
    static double xd[N], want[N], one_d[N], slope[N];
    double worst = 0, worst_slope = 0;
    int at = 0, slope_at = 0;

    grid(x, N, l->low, l->high);
    for (int i = 0; i < N; i++)
        xd[i] = x[i], ones[i] = 1, one_d[i] = 1;
    k->unary[0](l->kind, y, x, N, NULL);
    nc_ref_element.unary[2](l->kind, want, xd, N, NULL);
    k->unary_grad[0](l->kind, dx, x, ones, N, NULL);
    nc_ref_element.unary_grad[2](l->kind, slope, xd, one_d, N, NULL);
    for (int i = 0; i < N; i++) {
        bool outside = isinf(x[i]) || fabs((double)x[i]) > 1e30;       /* products such as -inf * 0 are not promised */
        double scale = fmax(1, fabs((double)x[i])) * 0x1p-24, e = ulp_error(y[i], want[i]), s = ulp_error(dx[i], slope[i]);
        if (l->absolute && isfinite(want[i]) && isfinite(y[i]))
            e = fmin(e, fabs(y[i] - want[i]) / scale);
        if (isfinite(slope[i]) && isfinite(dx[i]) && l->absolute)
            s = fmin(s, fabs(dx[i] - slope[i]) / scale);
        if (fabs(slope[i]) > 1e36 || fabs(slope[i]) < 1e-30)
            s = 0;
        if (!outside && e > worst)
            worst = e, at = i;
        if (!outside && s > worst_slope)
            worst_slope = s, slope_at = i;
    }
    if (worst > l->ulp || worst_slope > l->slope_ulp)
        fail_msg("%s: function %d: %.2f ulp at x=%.9g (%.9g, want %.9g); slope %.2f ulp at x=%.9g (%.9g, want %.9g)", isa, (int)l->kind, worst, (double)x[at],
                 (double)y[at], want[at], worst_slope, (double)x[slope_at], (double)dx[slope_at], slope[slope_at]);
}

static void test_functions(void **state)
{
    (void)state;
    for (int isa = 0; isa <= (int)nc_isa_of_cpu(); isa++)
        for (int i = 0; i < NC_COUNT(limits); i++)
            check_unary(nc_kernels_for((nc_isa)isa)->element, nc_isa_name((nc_isa)isa), &limits[i]);
}

static void test_with_parameters(void **state)
{
    (void)state;
    const double p[2] = { -0.75, 1.25 }, cap[2] = { 3, 0 };
    const float x[5] = { -2, -0.75f, 0.1f, 1.25f, 9 };
    for (int isa = 0; isa <= (int)nc_isa_of_cpu(); isa++) {
        const struct nc_element_kernels *k = nc_kernels_for((nc_isa)isa)->element;
        float y[5], one[5] = { 1, 1, 1, 1, 1 };
        k->unary[0](NC_CLAMP, y, x, 5, p);
        assert_true(y[0] == -0.75f && y[1] == -0.75f && y[2] == 0.1f && y[3] == 1.25f && y[4] == 1.25f);
        k->unary_grad[0](NC_CLAMP, y, x, one, 5, p);
        assert_true(y[0] == 0 && y[1] == 0 && y[2] == 1 && y[3] == 0 && y[4] == 0);
        k->unary[0](NC_AFFINE, y, x, 5, p);
        assert_true(fabsf(y[4] + 5.5f) < 1e-6f);
        k->unary[0](NC_SOFT_CAP, y, x, 5, cap);
        assert_true(fabs(y[4] - 3 * tanh(3)) < 1e-6 && fabs(y[2] - 3 * tanh((double)0.1f / 3)) < 1e-7);
    }
}

/* Every length: same element, same value; what lies behind the run stays. In place gives the same. */
static void test_lengths(void **state)
{
    (void)state;
    static const nc_unary kinds[] = { NC_EXP, NC_GELU, NC_GELU_TANH, NC_SILU, NC_TANH, NC_LOG };
    uint16_t h[80], hy[80], hz[80];
    float f[80], fy[80], fz[80];
    for (int isa = 0; isa <= (int)nc_isa_of_cpu(); isa++) {
        const struct nc_element_kernels *k = nc_kernels_for((nc_isa)isa)->element;
        for (int c = 0; c < NC_COUNT(kinds); c++) {
            for (int i = 0; i < 80; i++)
                f[i] = 0.07f * (float)(i - 20), h[i] = nc_f32_to_bf16(f[i]);
            k->unary[0](kinds[c], fy, f, 80, NULL);
            k->unary[1](kinds[c], hy, h, 80, NULL);
            for (int n = 0; n < 70; n++) {
                memset(fz, 0x55, sizeof fz), memset(hz, 0x55, sizeof hz);
                k->unary[0](kinds[c], fz, f, n, NULL);
                k->unary[1](kinds[c], hz, h, n, NULL);
                assert_memory_equal(fz, fy, (size_t)n * 4);
                assert_memory_equal(hz, hy, (size_t)n * 2);
                for (int i = n; i < 80; i++)
                    assert_true(((uint32_t *)(void *)fz)[i] == 0x55555555u && hz[i] == 0x5555);
                memcpy(fz, f, sizeof f);
                k->gated[0](kinds[c], fz, fz, f, n);
                k->gated[0](kinds[c], fy + 0, f, f, 80);
                assert_memory_equal(fz, fy, (size_t)n * 4);
                k->unary[0](kinds[c], fy, f, 80, NULL);
            }
            for (int i = 0; i < 80; i++) {                              /* bf16 in and out: the f32 function rounded once */
                float x = nc_bf16_to_f32(h[i]), y;
                k->unary[0](kinds[c], &y, &x, 1, NULL);
                assert_int_equal(hy[i], nc_f32_to_bf16(y));
            }
        }
    }
}

static void test_binary(void **state)
{
    (void)state;
    float a[37], b[37], y[37], z[37];
    uint16_t ha[37], hb[37], hy[37], hz[37];
    nc_rng r = nc_rng_new(3, 3);
    for (int i = 0; i < 37; i++) {
        a[i] = (float)nc_rng_normal(&r), b[i] = i % 5 ? (float)nc_rng_normal(&r) : a[i];
        ha[i] = nc_f32_to_bf16(a[i]), hb[i] = nc_f32_to_bf16(b[i]);
    }
    a[3] = NAN, b[4] = NAN;
    for (int isa = 1; isa <= (int)nc_isa_of_cpu(); isa++)
        for (int kind = 0; kind < NC_BINARY_KINDS; kind++)
            for (int steps = 0; steps < 4; steps++) {
                const struct nc_element_kernels *k = nc_kernels_for((nc_isa)isa)->element;
                k->binary[0]((nc_binary)kind, y, a, steps & 1, b, steps >> 1, 37);
                nc_ref_element.binary[0]((nc_binary)kind, z, a, steps & 1, b, steps >> 1, 37);
                for (int i = 0; i < 37; i++)
                    assert_true(isnan(z[i]) ? isnan(y[i]) : y[i] == z[i]);
                k->binary[1]((nc_binary)kind, hy, ha, steps & 1, hb, steps >> 1, 37);
                nc_ref_element.binary[1]((nc_binary)kind, hz, ha, steps & 1, hb, steps >> 1, 37);
                for (int i = 0; i < 37; i++)                            /* the reference rounds a double: a tie may fall the other way */
                    assert_true(abs((int)hy[i] - (int)hz[i]) <= 1);
            }
}

/* All bf16 and many f32 patterns, subnormals and NaN among them, give the bits of the scalar conversions. */
static void test_casts(void **state)
{
    (void)state;
    enum { COUNT = 1 << 16 };
    uint16_t *h = malloc(COUNT * 2);
    float *f = malloc(COUNT * 4);
    for (int isa = 0; isa <= (int)nc_isa_of_cpu(); isa++) {
        const struct nc_element_kernels *k = nc_kernels_for((nc_isa)isa)->element;
        for (uint32_t low = 0; low < 5; low++) {
            for (uint32_t i = 0; i < COUNT; i++) {
                uint32_t u = i << 16 | (low == 4 ? i * 40503u & 0xffff : low * 0x4000u + (low == 3));
                memcpy(&f[i], &u, 4);
            }
            k->cast(NC_BF16, h, NC_F32, f, COUNT - 3);
            for (int i = 0; i < COUNT - 3; i++)
                assert_int_equal(h[i], nc_f32_to_bf16(f[i]));
        }
        for (int i = 0; i < COUNT; i++)
            h[i] = (uint16_t)i;
        k->cast(NC_F32, f, NC_BF16, h, COUNT);
        for (int i = 0; i < COUNT; i++) {
            float want = nc_bf16_to_f32((uint16_t)i);
            assert_true(isnan(want) ? isnan(f[i]) : !memcmp(&f[i], &want, 4));
        }
    }
    free(h), free(f);
}

static void test_dropout(void **state)
{
    (void)state;
    enum { COUNT = 10007 };
    static float x[COUNT], y[COUNT], z[COUNT];
    nc_dropout_row d = { 42, 0x123456789abcdefu, 0xfffffff0u, (uint32_t)(0.3 * 4294967296.0), 1 / 0.7 };
    int dropped = 0;
    for (int i = 0; i < COUNT; i++)
        x[i] = (float)(i + 1);
    nc_ref_element.dropout[0](z, x, COUNT, &d);
    for (int i = 0; i < COUNT; i++)
        dropped += z[i] == 0;
    assert_true(abs(dropped - 3002) < 250);
    for (int isa = 1; isa <= (int)nc_isa_of_cpu(); isa++)
        for (int n = COUNT; n > 0; n = n > 100 ? 99 : n - 7) {
            nc_kernels_for((nc_isa)isa)->element->dropout[0](y, x, n, &d);
            assert_memory_equal(y, z, (size_t)n * 4);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_functions), cmocka_unit_test(test_with_parameters), cmocka_unit_test(test_lengths), cmocka_unit_test(test_binary),
        cmocka_unit_test(test_casts), cmocka_unit_test(test_dropout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

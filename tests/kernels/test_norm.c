/* test_norm.c - norm.h on every ISA level against the reference in double: odd widths, strided rows, offsets, in place, dw and db added to. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/rng.h"
#include "kernels/norm.h"

enum { ROWS = 3, WIDEST = 1100, PAD = 7 };
static const int64_t widths[] = { 1, 2, 7, 8, 15, 16, 17, 31, 33, 64, 100, 768, 1029 };

static float xf[ROWS * WIDEST], df[ROWS * WIDEST], yf[ROWS * WIDEST], wf[WIDEST], bf[WIDEST], dwf[WIDEST], dbf[WIDEST];
static uint16_t xh[ROWS * WIDEST], dh[ROWS * WIDEST], yh[ROWS * WIDEST];
static double xd[ROWS * WIDEST], dd[ROWS * WIDEST], yd[ROWS * WIDEST], wd[WIDEST], bd[WIDEST], dwd[WIDEST], dbd[WIDEST];

static void fill(double scale, double shift, bool bf16)
{
    nc_rng r = nc_rng_new(11, 4);

    for (int i = 0; i < ROWS * WIDEST; i++) {
        xf[i] = (float)(nc_rng_normal(&r) * scale + shift), df[i] = (float)nc_rng_normal(&r);
        xh[i] = nc_f32_to_bf16(xf[i]), dh[i] = nc_f32_to_bf16(df[i]);
        xd[i] = bf16 ? nc_bf16_to_f32(xh[i]) : xf[i], dd[i] = bf16 ? nc_bf16_to_f32(dh[i]) : df[i];
    }
    for (int i = 0; i < WIDEST; i++)
        wd[i] = wf[i] = (float)(1 + 0.3 * nc_rng_normal(&r)), bd[i] = bf[i] = (float)nc_rng_normal(&r), dwd[i] = dwf[i] = 1, dbd[i] = dbf[i] = 2;
}

static void close_to(const char *what, const char *isa, int64_t n, bool bf16, const double *want, int64_t stride, double tolerance)
{
    double top = 1e-3, worst = 0;

    for (int64_t i = 0; i < ROWS; i++)
        for (int64_t j = 0; j < n; j++) {
            double w = want[i * stride + j], g = bf16 ? (double)nc_bf16_to_f32(yh[i * stride + j]) : (double)yf[i * stride + j];
            top = fmax(top, fabs(w)), worst = isnan(g) ? INFINITY : fmax(worst, fabs(g - w));
        }
    if (!(worst <= tolerance * top))
        fail_msg("%s on %s, width %lld, %s: off by %g of %g", what, isa, (long long)n, bf16 ? "bf16" : "f32", worst, top);
    for (int64_t i = 0; i < ROWS; i++)                               /* what lies between the rows stays */
        for (int64_t j = n; j < stride; j++)
            assert_true(bf16 ? yh[i * stride + j] == 0x5555 : ((uint32_t *)(void *)yf)[i * stride + j] == 0x55555555u);
}

static void check(nc_isa isa, int64_t n, bool bf16, const nc_norm_shape *base, bool weights)
{
    const struct nc_norm_kernels *k = nc_kernels_for(isa)->norm;
    const int64_t stride = n + PAD;
    const int slot = bf16;
    void *y = bf16 ? (void *)yh : (void *)yf;
    const void *x = bf16 ? (const void *)xh : (const void *)xf, *d = bf16 ? (const void *)dh : (const void *)df;
    nc_norm_shape s = *base;
    double tolerance = bf16 ? 5e-3 : 4e-6;
    s.n = n;
    s.scale = base->scale == 1 ? 1 : 1.0 / (double)n;

    fill(base->centered ? 2 : 1, base->centered ? 3 : 0, bf16);
    memset(yf, 0x55, sizeof yf), memset(yh, 0x55, sizeof yh);
    k->norm[slot](y, stride, x, stride, weights ? wf : NULL, weights ? bf : NULL, ROWS, &s);
    nc_ref_norm.norm[2](yd, stride, xd, stride, weights ? wd : NULL, weights ? bd : NULL, ROWS, &s);
    close_to("norm", nc_isa_name(isa), n, bf16, yd, stride, tolerance);
    memset(yf, 0x55, sizeof yf), memset(yh, 0x55, sizeof yh);
    k->norm_grad[slot](y, stride, weights ? dwf : NULL, weights ? dbf : NULL, x, stride, d, stride, weights ? wf : NULL, ROWS, &s);
    nc_ref_norm.norm_grad[2](yd, stride, weights ? dwd : NULL, weights ? dbd : NULL, xd, stride, dd, stride, weights ? wd : NULL, ROWS, &s);
    if (n > 2)                                                       /* two columns normalized leave no gradient but rounding */
        close_to("norm_grad", nc_isa_name(isa), n, bf16, yd, stride, 4 * tolerance);
    for (int64_t j = 0; weights && j < n; j++)
        assert_true(fabs(dwf[j] - dwd[j]) < 2e-5 * (1 + fabs(dwd[j])) && fabs(dbf[j] - dbd[j]) < 1e-5 * (1 + fabs(dbd[j])));
}

static void test_norms(void **state)
{
    (void)state;
    static const nc_norm_shape kinds[] = { { 0, true, 0, 1e-5, 0 }, { 0, false, 0, 1e-6, 0 }, { 0, false, 0, 1e-6, 1 }, { 0, false, 1, 1e-6, 0 } };
    for (int isa = 0; isa <= (int)nc_isa_of_cpu(); isa++)
        for (int i = 0; i < NC_COUNT(widths); i++)
            for (int kind = 0; kind < NC_COUNT(kinds); kind++)
                for (int way = 0; way < 4; way++)
                    check((nc_isa)isa, widths[i], way & 1, &kinds[kind], way >> 1);
}

static void test_softmax(void **state)
{
    (void)state;
    for (int isa = 0; isa <= (int)nc_isa_of_cpu(); isa++)
        for (int i = 0; i < NC_COUNT(widths); i++)
            for (int way = 0; way < 4; way++) {
                const struct nc_norm_kernels *k = nc_kernels_for((nc_isa)isa)->norm;
                const bool bf16 = way & 1, log_form = way >> 1;
                const int64_t n = widths[i], stride = n + PAD;
                void *y = bf16 ? (void *)yh : (void *)yf;
                fill(5, 100, bf16);
                memset(yf, 0x55, sizeof yf), memset(yh, 0x55, sizeof yh);
                k->softmax[bf16](y, stride, bf16 ? (void *)xh : (void *)xf, stride, ROWS, n, log_form);
                nc_ref_norm.softmax[2](yd, stride, xd, stride, ROWS, n, log_form);
                close_to("softmax", nc_isa_name((nc_isa)isa), n, bf16, yd, stride, bf16 ? 5e-3 : 2e-6);
                for (int64_t j = 0; j < ROWS * stride; j++)          /* the gradient from the values this level made */
                    yd[j] = bf16 ? (double)nc_bf16_to_f32(yh[j]) : (double)yf[j], xh[j] = yh[j], xf[j] = yf[j];
                k->softmax_grad[bf16](y, stride, bf16 ? (void *)xh : (void *)xf, stride, bf16 ? (void *)dh : (void *)df, stride, ROWS, n, log_form);
                nc_ref_norm.softmax_grad[2](xd, stride, yd, stride, dd, stride, ROWS, n, log_form);
                close_to("softmax_grad", nc_isa_name((nc_isa)isa), n, bf16, xd, stride, bf16 ? 5e-3 : 5e-6);
            }
}

/* The property that needs no reference: layer norm forgets scale and shift of its input, RMS norm its scale. */
static void test_invariance(void **state)
{
    (void)state;
    for (int isa = 0; isa <= (int)nc_isa_of_cpu(); isa++) {
        static float other[WIDEST], z[WIDEST];
        nc_norm_shape s = { 768, true, 1.0 / 768, 0, 0 };
        fill(1, 0, false);
        for (int j = 0; j < 768; j++)
            other[j] = 8 * xf[j] + 16;
        nc_kernels_for((nc_isa)isa)->norm->norm[0](yf, 0, xf, 0, NULL, NULL, 1, &s);
        nc_kernels_for((nc_isa)isa)->norm->norm[0](z, 0, other, 0, NULL, NULL, 1, &s);
        for (int j = 0; j < 768; j++)
            assert_true(fabsf(yf[j] - z[j]) < 1e-5f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_norms), cmocka_unit_test(test_softmax), cmocka_unit_test(test_invariance) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_conv.c - conv.h and index.h on every ISA level against the reference in double: random shapes with strides, padding, dilation and groups. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/rng.h"
#include "kernels/conv.h"
#include "kernels/index.h"

typedef struct arrays { float *f; uint16_t *h; double *d; int64_t n; } arrays;

static arrays make(nc_rng *r, int64_t n, bool bf16)
{
    arrays a = { malloc((size_t)(n + 8) * 4), malloc((size_t)(n + 8) * 2), malloc((size_t)(n + 8) * 8), n };

    for (int64_t i = 0; i < n + 8; i++) {
        a.f[i] = (float)nc_rng_normal(r), a.h[i] = nc_f32_to_bf16(a.f[i]);
        a.d[i] = bf16 ? (double)nc_bf16_to_f32(a.h[i]) : (double)a.f[i];
    }
    return a;
}
static void give_back(arrays a) { free(a.f), free(a.h), free(a.d); }
static void *data(arrays a, bool bf16) { return bf16 ? (void *)a.h : (void *)a.f; }

/* got: of the slot, or wide; eight numbers behind must be those of `before`. */
static void check(const char *what, nc_isa isa, bool bf16, bool wide, arrays got, arrays before, const double *want, const nc_conv_shape *s)
{
    double top = 1;

    for (int64_t i = 0; i < got.n; i++)
        top = fmax(top, fabs(want[i]));
    for (int64_t i = 0; i < got.n; i++) {
        double v = bf16 && !wide ? (double)nc_bf16_to_f32(got.h[i]) : (double)got.f[i];
        if (!(fabs(v - want[i]) <= (bf16 && !wide ? 4e-3 : 2e-6) * top))
            fail_msg("%s on %s, %s: [%lld] is %g, should be %g (kernel %lldx%lldx%lld, out %lldx%lldx%lld)", what, nc_isa_name(isa), bf16 ? "bf16" : "f32", (long long)i, v,
                     want[i], (long long)s->kernel[0], (long long)s->kernel[1], (long long)s->kernel[2], (long long)s->out[0], (long long)s->out[1], (long long)s->out[2]);
    }
    for (int64_t i = got.n; i < got.n + 8; i++)
        assert_true(bf16 && !wide ? got.h[i] == before.h[i] : got.f[i] == before.f[i]);
}

static bool draw(nc_rng *r, nc_conv_shape *s)
{
    s->groups = 1 + (int64_t)nc_rng_below(r, 3);
    s->channels = s->groups * (1 + (int64_t)nc_rng_below(r, 3)), s->outputs = s->groups * (1 + (int64_t)nc_rng_below(r, 2));
    for (int a = 0; a < 3; a++) {
        s->in[a] = 1 + (int64_t)nc_rng_below(r, a == 2 ? 40 : 5), s->kernel[a] = 1 + (int64_t)nc_rng_below(r, 4);
        s->stride[a] = 1 + (int64_t)nc_rng_below(r, 3), s->pad[a] = (int64_t)nc_rng_below(r, 4), s->dilation[a] = 1 + (int64_t)nc_rng_below(r, 3);
        int64_t room = s->in[a] + 2 * s->pad[a] - s->dilation[a] * (s->kernel[a] - 1) - 1;
        if (room < 0)
            return false;
        s->out[a] = room / s->stride[a] + 1;
    }
    return true;
}

static void one(nc_rng *r, const nc_conv_shape *s, nc_isa isa, bool bf16)
{
    const struct nc_conv_kernels *k = nc_kernels_for(isa)->conv;
    const int64_t K = nc_conv_volume(s->kernel), P = nc_conv_volume(s->out), I = nc_conv_volume(s->in), in = s->channels / s->groups, rows = P > 3 ? P - 2 : P;
    const int64_t o = s->outputs - 1, c = s->channels - 1;
    arrays x = make(r, s->channels * I, bf16), dy = make(r, s->outputs * P, bf16), w = make(r, s->outputs * in * K, bf16), cols = make(r, P * s->channels * K, bf16);
    arrays y = make(r, P, bf16), dx = make(r, I, bf16), dw = make(r, K, false), part = make(r, rows * s->channels * K, bf16), was;
    void *acc = malloc((size_t)(P + I) * 8);
    double *want = malloc((size_t)(P * s->channels * K + P + I + K) * 8);
#define COPY(a) (was = (arrays){ malloc((size_t)((a).n + 8) * 4), malloc((size_t)((a).n + 8) * 2), NULL, (a).n }, \
                 memcpy(was.f, (a).f, (size_t)((a).n + 8) * 4), memcpy(was.h, (a).h, (size_t)((a).n + 8) * 2))
    COPY(part);
    k->columns[bf16](data(part, bf16), data(x, bf16), s, P - rows, P);
    nc_ref_conv.columns[2](want, x.d, s, P - rows, P);
    check("columns", isa, bf16, false, part, was, want, s), give_back(was);
    COPY(dx);
    k->uncolumns[bf16](data(dx, bf16), data(cols, bf16), s, c, acc);
    nc_ref_conv.uncolumns[2](want, cols.d, s, c, acc);
    check("uncolumns", isa, bf16, false, dx, was, want, s), give_back(was);
    COPY(y);
    k->plane[bf16](data(y, bf16), data(x, bf16), data(w, bf16), s, o, acc);
    nc_ref_conv.plane[2](want, x.d, w.d, s, o, acc);
    check("plane", isa, bf16, false, y, was, want, s), give_back(was);
    COPY(dx);
    k->plane_dx[bf16](data(dx, bf16), data(dy, bf16), data(w, bf16), s, c, acc);
    nc_ref_conv.plane_dx[2](want, dy.d, w.d, s, c, acc);
    check("plane_dx", isa, bf16, false, dx, was, want, s), give_back(was);
    COPY(dw);
    memcpy(want, dw.d, (size_t)K * 8);
    k->plane_dw[bf16](dw.f, data(x, bf16), data(dy, bf16), s, o, in - 1);
    nc_ref_conv.plane_dw[2](want, x.d, dy.d, s, o, in - 1);
    check("plane_dw", isa, bf16, true, dw, was, want, s), give_back(was);
    give_back(x), give_back(dy), give_back(w), give_back(cols), give_back(y), give_back(dx), give_back(dw), give_back(part);
    free(acc), free(want);
}

static void test_planes(void **state)
{
    (void)state;
    for (int isa = 0; isa <= (int)nc_isa_of_cpu(); isa++) {
        nc_rng r = nc_rng_new(20, 1);
        for (int done = 0; done < 120;) {
            nc_conv_shape s;
            if (!draw(&r, &s))
                continue;
            one(&r, &s, (nc_isa)isa, done++ % 2);
        }
    }
}

static void test_index(void **state)
{
    (void)state;
    for (int isa = 0; isa <= (int)nc_isa_of_cpu(); isa++)
        for (int64_t n = 0; n < 70; n++)
            for (int bf16 = 0; bf16 < 2; bf16++) {
                const struct nc_index_kernels *k = nc_kernels_for((nc_isa)isa)->index;
                nc_rng r = nc_rng_new((uint64_t)n, 2);
                arrays x = make(&r, n, bf16), y = make(&r, n, bf16), acc = make(&r, n, false), was;
                double dot = k->dot[bf16](data(x, bf16), data(y, bf16), n), want = nc_ref_index.dot[2](x.d, y.d, n);
                assert_true(fabs(dot - want) < 1e-5 * (1 + sqrt((double)n)));
                COPY(acc);
                k->axpy[bf16](acc.f, data(x, bf16), 0.75, n);
                nc_ref_index.axpy[2](acc.d, x.d, 0.75, n);
                check("axpy", (nc_isa)isa, bf16, true, acc, was, acc.d, &(nc_conv_shape){ 0 });
                give_back(was), give_back(x), give_back(y), give_back(acc);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_planes), cmocka_unit_test(test_index) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

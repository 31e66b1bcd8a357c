/* test_head.c - the head's passes over a row at every ISA level against the definition; what is written past the cache has the bits of what is not. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include "kernels/dtype.h"
#include "kernels/head.h"

enum { MOST = NC_HEAD_CHUNK + 40 };
static const int sizes[] = { 1, 15, 16, 17, 63, 64, 65, 200, 1105, NC_HEAD_CHUNK };

static void fill(float *l, int n, uint32_t state)
{
    for (int i = 0; i < n; i++)
        l[i] = (float)(int32_t)(state = state * 1664525u + 1013904223u) * (6.0f / 2147483648.0f);
}

/* slack: what a tanh's last bits may do. */
static void check(const char *what, nc_isa isa, nc_dtype t, const void *got, const void *want, int n, double slack)
{
    for (int i = 0; i < n; i++) {
        double x = nc_dtype_load(t, got, i), y = nc_dtype_load(t, want, i);
        if (!(fabs(x - y) <= fabs(y) * (t == NC_BF16 ? 0.0079 : 2e-6) + slack))
            fail_msg("%s at %s, %d of %d: %.9g, should be %.9g", what, nc_isa_name(isa), i, n, x, y);
    }
}

static void passes(void **unused)
{
    static const nc_dtype types[] = { NC_F32, NC_BF16 };
    static float l[MOST], capped[2][MOST];
    static _Alignas(64) float e[3][MOST + 16];
    (void)unused;
    for (int isa = 0; isa <= (int)nc_isa_of_cpu(); isa++)
        for (int s = 0; s < NC_COUNT(sizes); s++)
            for (int v = 0; v < 8; v++) {
                const struct nc_head_kernels *k = nc_kernels_for((nc_isa)isa)->head;
                const nc_dtype t = types[v % 2];
                const float cap = v & 2 ? 5 : 0;
                const int n = sizes[s], off = v & 4 ? 3 : 0;            /* elements off the line */
                char *at[3];
                for (int i = 0; i < 3; i++)
                    at[i] = (char *)e[i] + nc_dtype_bytes(t, off);
                fill(l, n, (uint32_t)(n * 8 + v));
                memcpy(capped[0], l, sizeof l);
                memcpy(capped[1], l, sizeof l);
                float top = nc_ref_head.logits(capped[0], n, 0.5f, cap);
                assert_true(fabsf(k->logits(capped[1], n, 0.5f, cap) - top) <= 4e-6f);
                check("logits", (nc_isa)isa, NC_F32, capped[1], capped[0], n, cap > 0 ? 3e-6 : 0);
                float sum = nc_ref_head.exps(at[0], t, capped[0], n, top, cap, false), near = k->exps(at[1], t, capped[0], n, top, cap, false);
                assert_true(fabsf(near - sum) <= 2e-6f * sum);
                assert_true(k->exps(at[2], t, capped[0], n, top, cap, true) == near && k->exps(NULL, t, capped[0], n, top, cap, false) == near);
                assert_memory_equal(at[1], at[2], nc_dtype_bytes(t, n));
                check("exps", (nc_isa)isa, t, at[1], at[0], n, cap > 0 ? 3e-6 : 0);
                memcpy(at[1], at[0], nc_dtype_bytes(t, n));
                nc_ref_head.rescale(at[0], t, n, 0.3f);
                k->rescale(at[1], t, n, 0.3f);
                assert_memory_equal(at[0], at[1], nc_dtype_bytes(t, n));
                nc_ref_head.gradient(at[0], t, capped[0], n, top + 1, 0.7f, cap);
                k->gradient(at[1], t, capped[0], n, top + 1, 0.7f, cap);
                check("gradient", (nc_isa)isa, t, at[1], at[0], n, cap > 0 ? 3e-6 : 0);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(passes) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_assign.c - assignments of random costs against all permutations, and larger ones against the certificate of their dual prices (no cycle of changes helps). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include "base/assign.h"
#include "base/rng.h"

static double best_from(const double *c, int rows, int columns, int row, unsigned used, int left)
{
    double best = INFINITY;
    if (left == 0)
        return 0;
    if (rows - row > left)                       /* this row may be left out */
        best = best_from(c, rows, columns, row + 1, used, left);
    for (int j = 0; j < columns; j++)
        if (!(used >> j & 1))
            best = fmin(best, c[row * columns + j] + best_from(c, rows, columns, row + 1, used | 1u << j, left - 1));
    return best;
}

static double checked_sum(const double *c, int rows, int columns, const int32_t *of)
{
    double sum = 0;
    int pairs = 0, taken[64] = { 0 };
    for (int i = 0; i < rows; i++) {
        if (of[i] < 0)
            continue;
        assert_true(of[i] < columns && !taken[of[i]]++);
        sum += c[i * columns + of[i]];
        pairs++;
    }
    assert_int_equal(pairs, rows < columns ? rows : columns);
    return sum;
}

static void all_permutations(void **state)
{
    double c[49];
    int32_t of[7];
    nc_rng r = nc_rng_new(1, 1);
    (void)state;
    for (int round = 0; round < 600; round++) {
        int rows = 1 + (int)nc_rng_below(&r, 6), columns = 1 + (int)nc_rng_below(&r, 6);
        bool coarse = round % 3 == 0;            /* many ties */
        for (int i = 0; i < rows * columns; i++)
            c[i] = coarse ? (double)nc_rng_below(&r, 3) : nc_rng_normal(&r);
        void *work = malloc(nc_assign_bytes(rows, columns));
        nc_assign(c, rows, columns, of, work);
        free(work);
        double want = best_from(c, rows, columns, 0, 0, rows < columns ? rows : columns);
        assert_true(fabs(checked_sum(c, rows, columns, of) - want) < 1e-12);
    }
}

/* Optimal when no cycle of exchanges (a row takes another's column, or a free one) lowers the sum: Bellman-Ford over rows finds none. */
static void no_exchange_helps(void **state)
{
    enum { N = 40 };
    double c[N * N], gain[N];
    int32_t of[N];
    nc_rng r = nc_rng_new(2, 1);
    (void)state;
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < N * N; i++)
            c[i] = nc_rng_uniform(&r) * (round % 2 ? 1 : 1e6);
        void *work = malloc(nc_assign_bytes(N, N));
        nc_assign(c, N, N, of, work);
        free(work);
        checked_sum(c, N, N, of);
        for (int i = 0; i < N; i++)
            gain[i] = 0;
        for (int pass = 0; pass <= N; pass++) {
            bool changed = false;
            for (int i = 0; i < N; i++)
                for (int k = 0; k < N; k++) {
                    double d = gain[i] + c[i * N + of[k]] - c[k * N + of[k]];      /* i takes k's column, k must find another */
                    if (d < gain[k] - 1e-9) {
                        gain[k] = d;
                        changed = true;
                    }
                }
            if (!changed)
                break;
            assert_true(pass < N);
        }
    }
}

static void edges(void **state)
{
    double huge[] = { 3.4e38, 3.4e38, 1, 2, 3.4e38, 5 }, one = 7;
    int32_t of[3];
    char work[256];
    (void)state;
    nc_assign(&one, 1, 1, of, work);
    assert_int_equal(of[0], 0);
    nc_assign(huge, 3, 2, of, work);
    assert_int_equal(of[0], -1);
    assert_int_equal(of[1], 0);
    assert_int_equal(of[2], 1);
    of[0] = 9;
    nc_assign(huge, 3, 0, of, work);
    assert_int_equal(of[0], -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(all_permutations), cmocka_unit_test(no_exchange_helps), cmocka_unit_test(edges) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

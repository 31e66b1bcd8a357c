/* test_squares.c - the squares of weight gradients, counted by the product that writes them last: of one use, of two micro-batches, of two uses, of a table. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include "base/rng.h"
#include "graph/op.h"
#include "kernels/gemm.h"

enum { ROWS = 261, D = 70, F = 133 };

typedef struct model { nc_graph *g; nc_plan *plan; nc_value *w, *v; float *dw, *dv; double squares[2]; } model;

static uint16_t *halves(int64_t n, uint64_t seed)
{
    nc_rng r = nc_rng_new(seed, 1);
    uint16_t *p = malloc((size_t)n * 2);
    for (int64_t i = 0; i < n; i++)
        p[i] = nc_f32_to_bf16((float)nc_rng_normal(&r));
    return p;
}

static nc_value *weight(model *m, const char *name, int64_t rows, int64_t columns, uint16_t *data, float *grad, double *squares)
{
    nc_value *w = nc_state(m->g, name, NC_BF16, NC_SHAPE(rows, columns), data);
    w->wants_grad = w->has_grad = true;
    w->grad_into = nc_state(m->g, name, NC_F32, NC_SHAPE(rows, columns), grad);
    w->grad_into->squares = squares;
    return w;
}

/* x w^T v^T, and with `tied` v once more as rows that are looked up: its gradient ends with a scatter that cannot count. */
static void build(model *m, uint16_t *x, uint16_t *w, uint16_t *v, int32_t *ids, bool tied, int threads)
{
    nc_error e = { 0 };
    m->g = nc_graph_new(NC_BF16);
    nc_value *in = nc_input(m->g, "x", NC_BF16, NC_SHAPE(ROWS, D), -1), *at = nc_input(m->g, "ids", NC_I32, NC_SHAPE(ROWS), -1);
    in->data = x;
    at->data = ids;
    m->w = weight(m, "w", F, D, w, m->dw, &m->squares[0]);
    m->v = weight(m, "v", D, F, v, m->dv, &m->squares[1]);
    nc_value *rows = tied ? nc_embedding(m->g, m->v, at) : NULL;
    nc_value *h = nc_linear_op(m->g, in, m->w, NULL, NC_DTYPES), *y = nc_linear_op(m->g, tied ? nc_add(m->g, h, rows) : h, m->v, NULL, NC_DTYPES);
    nc_value *loss = nc_sum_all(m->g, nc_unary_op(m->g, NC_SQUARE, y));
    nc_keep(m->g, loss);
    assert_int_equal(nc_graph_backward(m->g, loss, false, &e), 0);
    assert_int_equal(nc_plan_new(m->g, threads, &m->plan, &e), 0);
    assert_int_equal(nc_plan_bind(m->plan, NULL, &e), 0);
}

static double sum(const float *x) { double s = 0; for (int i = 0; i < F * D; i++) s += (double)x[i] * x[i]; return s; }

static void counted(const float *grad, double got, bool counts)
{
    if (!counts)
        assert_true(got == 0);
    else if (!(fabs(got - sum(grad)) <= 1e-6 * sum(grad)))
        fail_msg("squares %.9g, should be %.9g", got, sum(grad));
}

static void last_writer_counts(void **unused)
{
    uint16_t *x = halves(ROWS * D, 1), *w = halves(F * D, 2), *v = halves(F * D, 3);
    static int32_t ids[ROWS];
    (void)unused;
    for (int i = 0; i < ROWS; i++)
        ids[i] = i * 7 % D;
    for (int isa = 0; isa <= (int)nc_isa_of_cpu(); isa++)
        for (int tied = 0; tied < 2; tied++) {
            const nc_kernels *kernels = nc_kernels_for((nc_isa)isa);
            const bool counts = nc_gemm_counts_squares(kernels, NC_GEMM_BF16, NC_BF16);
            double first[2] = { 0 };
            for (int threads = 1; threads <= 3; threads++) {
                nc_error e = { 0 };
                nc_pool *pool = nc_pool_new(threads);
                model m = { .dw = malloc(F * D * 4), .dv = malloc(F * D * 4), .squares = { 77, 77 } };
                build(&m, x, w, v, ids, tied, threads);
                nc_run_options o = { .pool = pool, .kernels = kernels, .training = true, .fresh_gradients = true };
                for (int batch = 0; batch < 2; batch++) {
                    o.fresh_gradients = batch == 0;
                    assert_int_equal(nc_plan_run(m.plan, &o, &e), 0);
                    counted(m.dw, m.squares[0], counts);
                    counted(m.dv, m.squares[1], counts && !tied);
                }
                if (threads == 1)
                    memcpy(first, m.squares, sizeof first);
                assert_true(m.squares[0] == first[0] && m.squares[1] == first[1]);
                nc_plan_free(m.plan);
                nc_graph_free(m.g);
                nc_pool_free(pool);
                free(m.dw), free(m.dv);
            }
        }
    free(x), free(w), free(v);
}

/* Deep sums, cut into pieces, and blocks of rows and columns that are not whole. */
static void products_count(void **unused)
{
    static const int64_t shape[][3] = { { 1, 1, 1 }, { 31, 33, 64 }, { 33, 15, 700 }, { 700, 49, 1400 } };
    (void)unused;
    for (int isa = 0; isa <= (int)nc_isa_of_cpu(); isa++)
        for (int i = 0; i < NC_COUNT(shape); i++) {
            const nc_kernels *kernels = nc_kernels_for((nc_isa)isa);
            const int64_t m = shape[i][0], n = shape[i][1], k = shape[i][2], across = (n + 31) / 32;
            if (!nc_gemm_counts_squares(kernels, NC_GEMM_BF16, NC_BF16))
                continue;
            nc_pool *pool = nc_pool_new(2);
            uint16_t *a = halves(m * k, 4), *w = halves(n * k, 5);
            float *c = malloc((size_t)(m * n) * 4), *squares = malloc((size_t)nc_gemm_square_tiles(m, n) * 4);
            void *room = nc_pages_alloc(nc_gemm_workspace(kernels, NC_GEMM_BF16, m, n, k, NC_BF16, 2, true));
            nc_gemm_call call = { .m = m, .a = a, .a_dtype = NC_BF16, .lda = m, .a_transposed = true, .c = c, .c_dtype = NC_F32, .ldc = n, .squares = squares };
            nc_gemm_plain(kernels, pool, &call, &(nc_gemm_source){ NC_BF16, w, n, true }, NC_GEMM_BF16, n, k, room);
            for (int64_t t = 0; t < nc_gemm_square_tiles(m, n); t++) {
                double want = 0;
                for (int64_t r = t / across * 32; r < m && r < t / across * 32 + 32; r++)
                    for (int64_t j = t % across * 32; j < n && j < t % across * 32 + 32; j++)
                        want += (double)c[r * n + j] * c[r * n + j];
                assert_true(fabs(squares[t] - want) <= 2e-6 * want);
            }
            nc_pages_free(room, nc_gemm_workspace(kernels, NC_GEMM_BF16, m, n, k, NC_BF16, 2, true));
            nc_pool_free(pool);
            free(a), free(w), free(c), free(squares);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(last_writer_counts), cmocka_unit_test(products_count) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

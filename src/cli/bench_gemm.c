/* bench_gemm.c - products timed alone: medians after warm runs.
 *
 * Large products count 2 m n k operations against the peak of the arithmetic they use. Few rows count the bytes of packed weights against the speed of reading
 * the same block, measured in turn with the product (other machines on the same memory come and go, and a ratio of neighbours is steadier).
 */
#include <stdlib.h>
#include "base/arena.h"
#include "base/clock.h"
#include "base/rng.h"
#include "cli/bench.h"
#include "kernels/gemm.h"

typedef struct shape { int64_t m, n, k; bool bf16; } shape;
static const shape shapes[] = {
    { 512, 3072, 1024, true }, { 2048, 2048, 2048, true }, { 1024, 2304, 768, true }, { 1024, 768, 3072, true }, { 577, 4096, 1024, true },
    { 512, 3072, 1024, false }, { 2048, 2048, 2048, false },
};
enum { STREAM_N = 151936, STREAM_K = 1024, MOST_RUNS = 41 };

typedef struct bench {
    nc_pool *pool;
    const nc_kernels *kernels;
    nc_buf *table, *json;
    int items;
} bench;

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double nc_bench_median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, ascending);
    return v[n / 2];
}

static void report(bench *b, int64_t m, int64_t n, int64_t k, const char *dtype, const char *unit, double speed, double share)
{
    if (b->table)
        nc_buf_printf(b->table, "  %5lld x %6lld x %5lld  %-5s %8.1f %-8s %5.1f %%\n", (long long)m, (long long)n, (long long)k, dtype, speed,
                      unit[1] == 'f' ? "GFLOP/s" : "GB/s", 100 * share);
    if (b->json)
        nc_buf_printf(b->json, "%s{\"m\": %lld, \"n\": %lld, \"k\": %lld, \"dtype\": \"%s\", \"%s\": %.1f, \"share\": %.4f}", b->items++ ? ", " : "", (long long)m,
                      (long long)n, (long long)k, dtype, unit, speed, share);
}

/* A weight of random values, in any storage. */
static int random_weight(bench *b, nc_gemm_b *w, nc_gemm_kind kind, int64_t n, int64_t k, nc_error *e)
{
    NC_TRY(nc_gemm_b_new(w, kind, n, k, e));
    nc_rng r = nc_rng_new(1, (uint64_t)kind);
    (void)b;
    for (size_t i = 0; i + 8 <= w->bytes; i += 8) {
        uint64_t bits = (uint64_t)(nc_rng_uniform(&r) * 9007199254740992.0) * 2048;
        if (kind == NC_GEMM_F32)             /* exponents of numbers below one */
            bits = (bits & 0x807fffff807fffffu) | 0x3d0000003d000000u;
        else if (kind == NC_GEMM_BF16)
            bits = (bits & 0x807f807f807f807fu) | 0x3d003d003d003d00u;
        memcpy((char *)w->data + i, &bits, 8);
    }
    if (kind == NC_GEMM_Q8_0 || kind == NC_GEMM_Q4_0)
        for (int64_t p = 0; p < nc_gemm_panels(n); p++)
            for (size_t i = 0; i + 2 <= nc_gemm_scale_bytes(k); i += 2) {
                uint16_t scale = (uint16_t)(0x2000 + (i * 37 & 0x3ff));
                memcpy((char *)w->data + (size_t)p * nc_gemm_panel_bytes(kind, k) + i, &scale, 2);
            }
    return 0;
}

typedef struct product { nc_gemm_call call; nc_gemm_b w; void *a, *c, *workspace; size_t a_bytes, c_bytes, workspace_bytes; } product;

static void product_free(product *p)
{
    nc_gemm_b_free(&p->w);
    if (p->a)
        nc_pages_free(p->a, p->a_bytes);
    if (p->c)
        nc_pages_free(p->c, p->c_bytes);
    if (p->workspace)
        nc_pages_free(p->workspace, p->workspace_bytes);
}

static int product_new(bench *b, product *p, nc_gemm_kind kind, int64_t m, int64_t n, int64_t k, bool bf16, nc_error *e)
{
    *p = (product){ .a_bytes = (size_t)(m * k) * 4, .c_bytes = (size_t)(m * n) * 4 };
    NC_TRY(random_weight(b, &p->w, kind, n, k, e));
    nc_dtype t = bf16 ? NC_BF16 : NC_F32;
    p->workspace_bytes = nc_gemm_workspace(b->kernels, kind, m, n, k, t, nc_pool_threads(b->pool), false);
    p->a = nc_pages_alloc(p->a_bytes);
    p->c = nc_pages_alloc(p->c_bytes);
    p->workspace = nc_pages_alloc(p->workspace_bytes);
    if (!p->a || !p->c || !p->workspace) {
        product_free(p);
        return nc_fail(e, NC_ENOMEM, "no memory for a product of %lld x %lld x %lld", (long long)m, (long long)n, (long long)k);
    }
    nc_rng r = nc_rng_new(2, 2);
    for (int64_t i = 0; i < m * k; i++)
        nc_dtype_store(t, p->a, i, nc_rng_uniform(&r) - 0.5);
    p->call = (nc_gemm_call){ .m = m, .a = p->a, .a_dtype = t, .lda = k, .c = p->c, .c_dtype = NC_F32, .ldc = n };
    return 0;
}

static int large(bench *b, const shape *s, double peak, nc_error *e)
{
    product p;
    double times[MOST_RUNS];
    int runs = s->m * s->n * s->k > (int64_t)3e9 ? 15 : MOST_RUNS;

    NC_TRY(product_new(b, &p, s->bf16 ? NC_GEMM_BF16 : NC_GEMM_F32, s->m, s->n, s->k, s->bf16, e));
    for (int i = -2; i < runs; i++) {
        double start = nc_now();
        nc_gemm(b->kernels, b->pool, &p.call, &p.w, p.workspace);
        times[i < 0 ? 0 : i] = nc_now() - start;
    }
    double gflops = 2e-9 * (double)s->m * (double)s->n * (double)s->k / nc_bench_median(times, runs);
    report(b, s->m, s->n, s->k, s->bf16 ? "bf16" : "f32", "gflops", gflops, gflops / peak);
    product_free(&p);
    return 0;
}

static int stream(bench *b, nc_gemm_kind kind, const char *name, int64_t rows, nc_error *e)
{
    enum { RUNS = 7 };
    product p;
    double speed[RUNS], share[RUNS];

    NC_TRY(product_new(b, &p, kind, rows, STREAM_N, STREAM_K, true, e));
    for (int i = -1; i < RUNS; i++) {
        double limit = nc_roofline_read(b->kernels, b->pool, p.w.data, p.w.bytes), start = nc_now();
        nc_gemm(b->kernels, b->pool, &p.call, &p.w, p.workspace);
        double gbps = 1e-9 * (double)p.w.bytes / (nc_now() - start), again = nc_roofline_read(b->kernels, b->pool, p.w.data, p.w.bytes);
        if (i >= 0)
            speed[i] = gbps, share[i] = 2 * gbps / (limit + again);
    }
    report(b, rows, STREAM_N, STREAM_K, name, "gbps", nc_bench_median(speed, RUNS), nc_bench_median(share, RUNS));
    product_free(&p);
    return 0;
}

int nc_bench_gemm(nc_pool *pool, const nc_kernels *kernels, const nc_roofline *limits, nc_buf *table, nc_buf *json, nc_error *e)
{
    bench b = { .pool = pool, .kernels = kernels, .table = table, .json = json };

    if (table)
        nc_buf_printf(table, "products, rows x columns x depth; share of %s's peak, %d threads\n", limits->isa, limits->threads);
    if (json)
        nc_buf_addc(json, '[');
    for (int i = 0; i < NC_COUNT(shapes); i++)
        NC_TRY(large(&b, &shapes[i], shapes[i].bf16 ? limits->bf16_gflops : limits->f32_gflops, e));
    if (table)
        nc_buf_adds(table, "few rows; share of the memory's speed measured next to each\n");
    for (int64_t rows = 1; rows <= 8; rows *= 2) {
        NC_TRY(stream(&b, NC_GEMM_BF16, "bf16", rows, e));
        NC_TRY(stream(&b, NC_GEMM_Q8_0, "q8_0", rows, e));
        NC_TRY(stream(&b, NC_GEMM_Q4_0, "q4_0", rows, e));
    }
    if (json)
        nc_buf_addc(json, ']');
    return 0;
}

/* peer_onednn.c - oneDNN's products at the shapes of `nunchi bench gemm`, weights packed beforehand (format any), C in f32: one JSON object a line.
 *
 * A yardstick only: built when Debian's libdnnl-dev is there (target peer_onednn); the program does not use the library.
 * Run with OMP_NUM_THREADS and OMP_PROC_BIND=true set as the program's threads are.
 */
#include <dnnl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHECK(call) do { dnnl_status_t s_ = (call); if (s_ != dnnl_success) { fprintf(stderr, "%s: oneDNN status %d\n", #call, (int)s_); exit(1); } } while (0)
enum { RUNS = 21 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static dnnl_memory_t memory_of(dnnl_memory_desc_t *d, dnnl_engine_t engine)
{
    dnnl_memory_t m;
    void *p = NULL;
    size_t bytes = dnnl_memory_desc_get_size(d);
    if (posix_memalign(&p, 64, bytes))
        exit(1);
    for (size_t i = 0; i < bytes / 2; i++)
        ((uint16_t *)p)[i] = (uint16_t)(0x3c00 + (i * 37 & 0x7f));
    CHECK(dnnl_memory_create(&m, d, engine, p));
    return m;
}

static void product(dnnl_engine_t engine, dnnl_stream_t stream, int64_t m, int64_t n, int64_t k, dnnl_data_type_t t, const char *name)
{
    dnnl_memory_desc_t a, w, c;
    dnnl_matmul_desc_t d;
    dnnl_primitive_desc_t pd;
    dnnl_primitive_t run;
    CHECK(dnnl_memory_desc_init_by_tag(&a, 2, (dnnl_dims_t){ m, k }, t, dnnl_ab));
    CHECK(dnnl_memory_desc_init_by_tag(&w, 2, (dnnl_dims_t){ k, n }, t, dnnl_format_tag_any));
    CHECK(dnnl_memory_desc_init_by_tag(&c, 2, (dnnl_dims_t){ m, n }, dnnl_f32, dnnl_ab));
    CHECK(dnnl_matmul_desc_init(&d, &a, &w, NULL, &c));
    CHECK(dnnl_primitive_desc_create(&pd, &d, NULL, engine, NULL));
    CHECK(dnnl_primitive_create(&run, pd));
    dnnl_memory_desc_t packed = *dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
    dnnl_memory_t ma = memory_of(&a, engine), mw = memory_of(&packed, engine), mc = memory_of(&c, engine);
    dnnl_exec_arg_t args[] = { { DNNL_ARG_SRC, ma }, { DNNL_ARG_WEIGHTS, mw }, { DNNL_ARG_DST, mc } };
    double times[RUNS];
    for (int i = -3; i < RUNS; i++) {
        double start = now();
        CHECK(dnnl_primitive_execute(run, stream, 3, args));
        CHECK(dnnl_stream_wait(stream));
        times[i < 0 ? 0 : i] = now() - start;
    }
    qsort(times, RUNS, sizeof *times, ascending);
    printf("{\"peer\": \"oneDNN %d.%d.%d\", \"m\": %lld, \"n\": %lld, \"k\": %lld, \"dtype\": \"%s\", \"gflops\": %.1f}\n", dnnl_version()->major, dnnl_version()->minor,
           dnnl_version()->patch, (long long)m, (long long)n, (long long)k, name, 2e-9 * (double)m * (double)n * (double)k / times[RUNS / 2]);
}

int main(void)
{
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    CHECK(dnnl_engine_create(&engine, dnnl_cpu, 0));
    CHECK(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags));
    product(engine, stream, 512, 3072, 1024, dnnl_bf16, "bf16");
    product(engine, stream, 2048, 2048, 2048, dnnl_bf16, "bf16");
    product(engine, stream, 512, 3072, 1024, dnnl_f32, "f32");
    product(engine, stream, 2048, 2048, 2048, dnnl_f32, "f32");
    return 0;
}

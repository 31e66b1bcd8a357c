/* roofline.c - measures the limits: the best of several short runs on all threads, for a limit is what can be reached at all. */
#include "kernels/roofline.h"
#include "base/arena.h"
#include "base/clock.h"
#include <stdlib.h>

static double f32_scalar(int64_t n)
{
    float s[8] = { 0, 1, 2, 3, 4, 5, 6, 7 };
    for (int64_t i = 0; i < n * 16; i++)
        for (int j = 0; j < 8; j++)
            s[j] = s[j] * 0.5f + 1.0f;
    __asm__ volatile("" :: "r"(s) : "memory");
    return (double)n * 16 * 8 * 2;
}

static uint64_t read_scalar(const void *p, size_t bytes)
{
    const uint64_t *w = p;
    uint64_t s[4] = { 0 };
    for (size_t i = 0; i < bytes / 8; i += 4)
        for (int j = 0; j < 4; j++)
            s[j] += w[i + (size_t)j];
    return s[0] + s[1] + s[2] + s[3];
}

static nc_roofline_kernels table_of(nc_isa isa)
{
    nc_roofline_kernels t = { .f32 = f32_scalar, .read = read_scalar };
#if defined(__x86_64__)
    if (isa >= NC_ISA_AVX2)
        nc_roofline_avx2(&t);
    if (isa >= NC_ISA_AVX512)
        nc_roofline_avx512(&t);
    if (isa >= NC_ISA_AVX512BF16)
        nc_roofline_avx512bf16(&t);
    if (isa >= NC_ISA_AMX)
        nc_roofline_amx(&t);
#else
    (void)isa;
#endif
    return t;
}

typedef struct burn { double (*fn)(int64_t); int64_t rounds; double *done; } burn;

static void burn_part(void *context, int64_t part, int64_t parts, int worker)
{
    burn *b = context;
    (void)parts, (void)worker;
    b->done[part] = b->fn(b->rounds);
}

/* 1e9 operations a second of all threads: runs of about 15 ms, the best of eight. */
static double peak(nc_pool *pool, double (*fn)(int64_t), double *done)
{
    int threads = nc_pool_threads(pool);
    burn b = { fn, 1000, done };
    double best = 0;

    for (int run = 0; run < 8; run++) {
        uint64_t start = nc_now_ns();
        nc_pool_run(pool, threads, burn_part, &b);
        double ns = (double)(nc_now_ns() - start), sum = 0;
        for (int i = 0; i < threads; i++)
            sum += done[i];
        if (ns < 5e6 && b.rounds < (int64_t)1 << 40) {      /* too short to tell: not counted */
            double times = ns > 0 ? 15e6 / ns : 100;
            b.rounds = (int64_t)((double)b.rounds * (times > 100 ? 100 : times)) + 1;
            run--;
            continue;
        }
        best = sum / ns > best ? sum / ns : best;
    }
    return best;
}

typedef struct reader { uint64_t (*read)(const void *, size_t); const char *p; size_t bytes; uint64_t sum; } reader;
enum { READ_PIECE = 4 << 20 };

static void read_part(void *context, int64_t part, int64_t parts, int worker)
{
    reader *r = context;
    size_t from = (size_t)part * READ_PIECE, n = r->bytes - from < READ_PIECE ? r->bytes - from : READ_PIECE;
    (void)parts, (void)worker;
    __atomic_fetch_add(&r->sum, r->read(r->p + from, n / 1024 * 1024), __ATOMIC_RELAXED);
}

static void touch_part(void *context, int64_t part, int64_t parts, int worker)
{
    reader *r = context;
    (void)parts, (void)worker;
    size_t from = (size_t)part * READ_PIECE, n = r->bytes - from < READ_PIECE ? r->bytes - from : READ_PIECE;
    memset((char *)(uintptr_t)r->p + from, 1, n);
}

double nc_roofline_read(const nc_kernels *kernels, nc_pool *pool, const void *block, size_t bytes)
{
    reader r = { table_of(kernels->isa).read, block, bytes, 0 };
    uint64_t start = nc_now_ns();
    nc_pool_run(pool, (int64_t)((bytes + READ_PIECE - 1) / READ_PIECE), read_part, &r);
    return (double)bytes / (double)(nc_now_ns() - start);
}

int nc_roofline_measure(const nc_kernels *kernels, nc_pool *pool, nc_roofline *out, nc_error *e)
{
    nc_roofline_kernels t = table_of(kernels->isa);
    int threads = nc_pool_threads(pool);
    double *done = nc_xcalloc((size_t)threads, sizeof *done);

    *out = (nc_roofline){ .isa = nc_isa_name(kernels->isa), .threads = threads };
    out->f32_gflops = peak(pool, t.f32, done);
    out->bf16_gflops = t.bf16 ? peak(pool, t.bf16, done) : out->f32_gflops;
    out->int8_gops = t.int8 ? peak(pool, t.int8, done) : out->f32_gflops;
    free(done);

    size_t bytes = (size_t)1 << 30;
    char *block = nc_pages_alloc(bytes);
    while (!block && bytes > (size_t)64 << 20)
        block = nc_pages_alloc(bytes /= 2);
    if (!block)
        return nc_fail(e, NC_ENOMEM, "no 64 MB of memory to measure its speed with");
    reader r = { t.read, block, bytes, 0 };
    nc_pool_run(pool, (int64_t)(bytes / READ_PIECE), touch_part, &r);
    for (int i = 0; i < 8; i++) {
        double gbps = nc_roofline_read(kernels, pool, block, bytes);
        out->dram_read_gbps = gbps > out->dram_read_gbps ? gbps : out->dram_read_gbps;
    }
    nc_pages_free(block, bytes);
    return 0;
}

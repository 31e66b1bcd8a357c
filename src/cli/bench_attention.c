/* bench_attention.c - attention timed alone: the best of several runs after a warm one. Only keys that are seen count as work (4 A FLOPs each for the forward,
 * 2.5 times that for the backward); a decoded token counts the bytes of keys and values it reads once. */
#include <math.h>
#include <stdlib.h>
#include "base/arena.h"
#include "base/clock.h"
#include "base/rng.h"
#include "cli/bench_attention.h"
#include "kernels/attention.h"

typedef struct shape { const char *name; nc_dtype dtype; int sequences, tokens, heads, kv_heads, head, depth; nc_attention_sight sight; bool backward; } shape;
static const shape shapes[] = {
    { "GPT-2 124M, training step", NC_BF16, 4, 256, 12, 12, 64, 0, NC_ATTENTION_CAUSAL, true },
    { "GPT-2 124M, training step", NC_F32, 4, 256, 12, 12, 64, 0, NC_ATTENTION_CAUSAL, true },
    { "Qwen3-0.6B, prefill", NC_BF16, 1, 512, 16, 8, 128, 0, NC_ATTENTION_CAUSAL, false },
    { "Qwen3-0.6B, training", NC_BF16, 1, 2048, 16, 8, 128, 0, NC_ATTENTION_CAUSAL, true },
    { "ViT-L/14-336", NC_BF16, 1, 577, 16, 16, 64, 0, NC_ATTENTION_FULL, true },
    { "SigLIP, heads of 72", NC_BF16, 1, 729, 16, 16, 72, 0, NC_ATTENTION_FULL, true },
    { "Qwen3-0.6B, one token", NC_BF16, 1, 1, 16, 8, 128, 2048, NC_ATTENTION_CAUSAL, false },
    { "Qwen3-0.6B, one token", NC_BF16, 1, 1, 16, 8, 128, 32768, NC_ATTENTION_CAUSAL, false },
    { "Qwen3-0.6B, 16 sequences", NC_BF16, 16, 1, 16, 8, 128, 2048, NC_ATTENTION_CAUSAL, false },
    { "one kv head, one token", NC_BF16, 1, 1, 8, 1, 128, 8192, NC_ATTENTION_CAUSAL, false },
};

typedef struct pages { nc_attention_shape shape; int blocks; char *keys, *values; } pages;
static void *keys_at(void *context, int slot, int64_t block)
{
    const pages *p = context;
    return p->keys + ((size_t)slot * (size_t)p->blocks + (size_t)block) * nc_attention_key_page_bytes(&p->shape);
}
static void *values_at(void *context, int slot, int64_t block)
{
    const pages *p = context;
    return p->values + ((size_t)slot * (size_t)p->blocks + (size_t)block) * nc_attention_value_page_bytes(&p->shape);
}

static void fill(nc_dtype t, void *p, int64_t n, uint64_t seed)
{
    nc_rng r = nc_rng_new(seed, 1);

    for (int64_t i = 0; i < n; i++)
        nc_dtype_store(t, p, i, nc_rng_uniform(&r) * 2 - 1);
}

typedef void run_fn(const nc_attention_args *a, nc_pool *pool, void *workspace);
static double best(run_fn *fn, const nc_attention_args *a, nc_pool *pool, void *workspace)
{
    double least = INFINITY, total = 0;

    fn(a, pool, workspace);
    for (int i = 0; i < 300 && (i < 5 || total < 0.3); i++) {
        uint64_t start = nc_now_ns();
        fn(a, pool, workspace);
        double s = (double)(nc_now_ns() - start) * 1e-9;
        least = s < least ? s : least;
        total += s;
    }
    return least;
}

static void share(nc_buf *out, double value, double peak)
{
    if (peak > 0)
        nc_buf_printf(out, " %5.1f %%", 100 * value / peak);
    nc_buf_addc(out, '\n');
}

/* One measurement for programs; share is of the peak, of the memory's speed for decoded tokens over pages. */
static void item(nc_buf *json, const shape *s, const char *pass, double gflops, double fraction)
{
    if (!json)
        return;
    nc_buf_printf(json, "%s{\"name\": \"%s\", \"pass\": \"%s\", \"dtype\": \"%s\", \"sequences\": %d, \"tokens\": %d, \"depth\": %d, \"heads\": %d, \"kv_heads\": %d, \"head_dim\": %d, \"gflops\": %.2f, "
                  "\"share\": %.4f}", json->n ? ",\n " : "[", s->name, pass, nc_dtype_name(s->dtype), s->sequences, s->tokens, s->depth, s->heads, s->kv_heads, s->head, gflops, fraction);
}

static void *take(char **at, size_t bytes) { void *p = *at; *at += (bytes + 63) / 64 * 64; return p; }

static int measure(const shape *s, nc_pool *pool, const nc_kernels *kernels, double peak_flops, double peak_gbps, nc_buf *out, nc_buf *json, nc_error *e)
{
    const struct nc_attention_kernels *k = kernels->attention;
    const int slot = nc_dtype_slot(s->dtype), threads = nc_pool_threads(pool);
    const int64_t N = (int64_t)s->sequences * s->tokens, size = nc_dtype_get(s->dtype)->bytes, H = s->heads, G = s->kv_heads, A = s->head;
    nc_attention_shape d = { s->dtype, s->heads, s->kv_heads, s->head, s->head, N, N, s->depth > 0, 0 };
    size_t q = (size_t)(N * H * A * size) + 64, kv = (size_t)(N * G * A * size) + 64, blocks = (size_t)(s->depth + s->tokens + 63) / 64, paged = d.paged ? blocks * (size_t)s->sequences : 0;
    size_t forward = k->forward_bytes[slot](&d, threads), backward = s->backward ? k->backward_bytes[slot](&d, threads) : 0, work = forward > backward ? forward : backward;
    size_t bytes = 4 * q + 4 * kv + (size_t)(N * H) * 4 + work + paged * (nc_attention_key_page_bytes(&d) + nc_attention_value_page_bytes(&d)) + 4096;
    char *memory = nc_pages_alloc(bytes), *at = memory;

    if (!memory)
        return nc_fail(e, NC_ENOMEM, "bench: the system refuses %zu bytes for \"%s\"", bytes, s->name);
    nc_attention_span *span = nc_xcalloc((size_t)s->sequences, sizeof *span);
    for (int i = 0; i < s->sequences; i++)
        span[i] = (nc_attention_span){ .q_row = (int64_t)i * s->tokens, .q_rows = s->tokens, .q_index = s->depth, .k_row = (int64_t)i * s->tokens, .k_rows = s->tokens, .slot = i, .sight = s->sight };
    pages p = { d, (int)blocks, NULL, NULL };
    nc_attention_pages table = { &p, keys_at, values_at };
    nc_attention_args a = { .shape = d, .q_stride = { H * A, A }, .k_stride = { G * A, A }, .v_stride = { G * A, A }, .scale = 1 / sqrt((double)A), .span = span,
                            .spans = s->sequences, .pages = d.paged ? &table : NULL };
    void *tensors[4] = { take(&at, q), take(&at, kv), take(&at, kv), take(&at, q) };
    for (int i = 0; i < 4; i++)
        fill(s->dtype, tensors[i], i == 0 || i == 3 ? N * H * A : N * G * A, (uint64_t)i);
    a.q = tensors[0], a.k = tensors[1], a.v = tensors[2], a.dout = tensors[3];
    a.out = take(&at, q), a.dq = take(&at, q), a.dk = take(&at, kv), a.dv = take(&at, kv), a.lse = take(&at, (size_t)(N * H) * 4);
    p.keys = take(&at, paged * nc_attention_key_page_bytes(&d));
    p.values = take(&at, paged * nc_attention_value_page_bytes(&d));
    memset(p.keys, 0x3c, paged * (nc_attention_key_page_bytes(&d) + nc_attention_value_page_bytes(&d)));   /* small numbers; untouched memory would be one page of zeros */
    void *workspace = take(&at, work);
    double flops = nc_attention_flops(&a), seconds = best(k->forward[slot], &a, pool, workspace);
    nc_buf_printf(out, "%-26s %-4s %3d x %4d at %5d, heads %2d/%2d of %3d  ", s->name, nc_dtype_name(s->dtype), s->sequences, s->tokens, s->depth, s->heads, s->kv_heads, s->head);
    if (d.paged) {
        double gb = (double)s->sequences * (s->depth + s->tokens) * (double)(2 * G * A * size) * 1e-9;
        nc_buf_printf(out, "forward  %9.3f ms %7.1f GB/s   ", seconds * 1e3, gb / seconds);
        share(out, gb / seconds, peak_gbps);
        item(json, s, "forward", flops / seconds * 1e-9, peak_gbps > 0 ? gb / seconds / peak_gbps : 0);
    } else {
        nc_buf_printf(out, "forward  %9.3f ms %7.1f GFLOP/s", seconds * 1e3, flops / seconds * 1e-9);
        share(out, flops / seconds * 1e-9, peak_flops);
        item(json, s, "forward", flops / seconds * 1e-9, peak_flops > 0 ? flops / seconds * 1e-9 / peak_flops : 0);
    }
    if (s->backward) {
        seconds = best(k->backward[slot], &a, pool, workspace);
        nc_buf_printf(out, "%-68s  backward %9.3f ms %7.1f GFLOP/s", "", seconds * 1e3, 2.5 * flops / seconds * 1e-9);
        share(out, 2.5 * flops / seconds * 1e-9, peak_flops);
        item(json, s, "backward", 2.5 * flops / seconds * 1e-9, peak_flops > 0 ? 2.5 * flops / seconds * 1e-9 / peak_flops : 0);
    }
    free(span);
    nc_pages_free(memory, bytes);
    return 0;
}

int nc_bench_attention(nc_pool *pool, const nc_kernels *kernels, double peak_f32, double peak_bf16, double peak_gbps, nc_buf *out, nc_buf *json, nc_error *e)
{
    for (int i = 0; i < NC_COUNT(shapes); i++)
        NC_TRY(measure(&shapes[i], pool, kernels, shapes[i].dtype == NC_BF16 ? peak_bf16 : peak_f32, peak_gbps, out, json, e));
    if (json)
        nc_buf_adds(json, "]\n");
    return 0;
}

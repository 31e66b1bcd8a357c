/* bench_model.c - a decoder's prefill and its decoding, with the paged cache, one program for each.
 *
 *   prefill: 2 (parameters of the products) tokens + 2 (head) sequences + 4 heads width layers (sum of keys each row sees)   operations
 *   decode:  bytes of packed weights (head included) + keys and values of all rows so far, a step
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/rng.h"
#include "cli/bench_models.h"
#include "infer/kv_pages.h"

typedef struct run {
    nc_bench *b;
    nc_kv *kv;
    nc_kv_shape shape;
    nc_program *prefill, *decode;
    nc_batch *batch;
    nc_seq *seq;
    int32_t *ids;                    /* [batch, prompt] */
    int *slot;
    size_t program_bytes;
    void *memory;
} run;

static int build(run *r, int rows, nc_program **out, nc_error *e)
{
    nc_model *m = r->b->model;
    nc_program *p = *out = nc_program_new(&(nc_program_options){ .compute = r->b->weights.compute, .cache = nc_kv_cache(r->kv) });
    nc_build *b = nc_program_build(p);
    nc_head head;
    nc_build_capacity(b, "tokens", rows);
    nc_build_capacity(b, "scored", r->b->o.batch);
    m->family->head(m->self, &head);
    nc_value *h = nc_gather_rows(b->g, nc_model_decoder(m, b, NULL), nc_in(b, "score.rows", NC_I32, "scored", 0));
    nc_build_keep(b, nc_model_logits(b, &head, h), "logits");
    NC_TRY(nc_program_finish(p, NULL, nc_pool_threads(r->b->pool), e));
    size_t bytes = nc_program_bytes(p);
    r->program_bytes = bytes > r->program_bytes ? bytes : r->program_bytes;
    return 0;
}

/* count new rows of every sequence from row start on. */
static int step(run *r, nc_program *p, int start, int count, nc_error *e)
{
    const nc_bench *b = r->b;
    for (int i = 0; i < b->o.batch; i++)
        r->seq[i] = (nc_seq){ .ids = r->ids + (int64_t)i * b->o.prompt, .count = count, .start = start, .slot = r->slot[i], .want_logits = true };
    NC_TRY(nc_model_prepare(b->model, r->batch, r->seq, b->o.batch, e));
    return nc_program_run(p, r->batch, &(nc_run_options){ .pool = b->pool, .kernels = b->kernels }, e);
}

static int prepare(run *r, nc_error *e)
{
    nc_bench *b = r->b;
    const int length = b->o.depth + b->o.prompt + b->o.generate, sequences = b->o.batch;
    nc_cache_need need;
    if (!b->model->family->cache || !b->model->family->head || b->model->family->tower)
        return nc_fail(e, NC_EUNSUPPORTED, "bench model: a %s is no text decoder", b->model->family->name);
    if (b->model->max_positions > 0 && length > b->model->max_positions)
        return nc_fail(e, NC_EINVAL, "bench model: %d rows of depth, prompt and text; the config allows %d", length, b->model->max_positions);
    b->model->family->cache(b->model->self, &need);
    r->shape = (nc_kv_shape){ need, b->weights.compute == NC_BF16 };
    NC_TRY(nc_kv_new(&r->shape, nc_kv_pages_for(length) * sequences, sequences, &r->kv, e));
    r->seq = NC_NEW_ARRAY(b->arena, nc_seq, sequences);
    r->slot = NC_NEW_ARRAY(b->arena, int, sequences);
    r->ids = NC_NEW_ARRAY(b->arena, int32_t, (int64_t)sequences * b->o.prompt);
    nc_rng rng = nc_rng_new(2, 0);
    for (int64_t i = 0; i < (int64_t)sequences * b->o.prompt; i++)
        r->ids[i] = (int32_t)nc_rng_below(&rng, (uint64_t)b->model->vocab_size);
    for (int i = 0; i < sequences; i++) {
        if ((r->slot[i] = nc_kv_open(r->kv, e)) < 0)
            return r->slot[i];
        NC_TRY(nc_kv_reserve(r->kv, r->slot[i], length, e));
    }
    NC_TRY(build(r, b->o.prompt * sequences, &r->prefill, e));
    NC_TRY(build(r, sequences, &r->decode, e));
    r->memory = nc_pages_alloc(r->program_bytes + 64);
    if (!r->memory)
        return nc_fail(e, NC_ENOMEM, "bench model: the system refuses %zu bytes", r->program_bytes);
    NC_TRY(nc_program_allocate(r->prefill, r->memory, e));
    return nc_program_allocate(r->decode, r->memory, e);
}

static int measure(run *r, double *prefill, double *decode, nc_error *e)
{
    const nc_bench_options *o = &r->b->o;
    double *prefills = NC_NEW_ARRAY(r->b->arena, double, o->steps + 1), *steps = NC_NEW_ARRAY(r->b->arena, double, o->generate + 1);
    for (int at = 0; at < o->depth; at += o->prompt)               /* the context before, not timed */
        NC_TRY(step(r, r->prefill, at, o->depth - at < o->prompt ? o->depth - at : o->prompt, e));
    for (int i = 0; i <= o->steps; i++) {                           /* the first one touches memory */
        double begin = nc_now();
        NC_TRY(step(r, r->prefill, o->depth, o->prompt, e));
        prefills[i] = nc_now() - begin;
    }
    for (int i = 0; i < o->generate; i++) {
        double begin = nc_now();
        NC_TRY(step(r, r->decode, o->depth + o->prompt + i, 1, e));
        steps[i] = nc_now() - begin;
    }
    *prefill = nc_bench_median(prefills + 1, o->steps);
    *decode = nc_bench_median(steps, o->generate);
    return 0;
}

/* One more prefill, by op. */
static int profile(run *r, nc_buf *table, nc_error *e)
{
    nc_plan_profile(nc_program_plan(r->prefill), true);
    NC_TRY(step(r, r->prefill, r->b->o.depth, r->b->o.prompt, e));
    nc_plan_profile_table(nc_program_plan(r->prefill), nc_bench_peak(r->b) / 1e9, r->b->limits.dram_read_gbps, table);
    return 0;
}

static double weight_bytes(const nc_bench *b)
{
    double sum = 0;
    for (int i = 0; i < b->model->site_count; i++)
        sum += b->model->sites[i]->packed ? (double)b->model->sites[i]->packed->bytes : 0;
    return sum;
}

static void report(run *r, double prefill, double decode, nc_buf *table, nc_buf *json)
{
    const nc_bench *b = r->b;
    const nc_bench_options *o = &b->o;
    double tokens = (double)o->batch * o->prompt, keys = (double)o->batch * ((double)o->prompt * o->depth + (double)o->prompt * (o->prompt + 1) / 2);
    double flops = 2 * b->linear * tokens + 2 * b->head * o->batch + 4.0 * b->heads * b->head_dim * b->layers * keys;
    double rows = o->depth + o->prompt + o->generate / 2.0, row = (double)r->shape.need.layers * r->shape.need.kv_heads * (r->shape.need.key_dim + r->shape.need.value_dim) * (r->shape.bf16 ? 2 : 4);
    double bytes = weight_bytes(b) + o->batch * rows * row;
    nc_kv_stats kv;
    nc_kv_get_stats(r->kv, &kv);
    size_t planned = b->weight_bytes + kv.bytes + r->program_bytes + nc_bench_reserve(), peak = nc_bench_peak_bytes();
    double prefill_rate = tokens / prefill, prefill_share = flops / prefill / nc_bench_peak(b), decode_rate = o->batch / decode, decode_share = bytes / decode / 1e9 / b->limits.dram_read_gbps;
    nc_buf_printf(json, "{\"config\": \"%s\", \"dtype\": \"%s\", \"prompt\": %d, \"generate\": %d, \"batch\": %d, \"depth\": %d, \"threads\": %d, \"prefill_tokens_per_second\": %.2f, "
                  "\"prefill_share\": %.4f, \"decode_tokens_per_second\": %.3f, \"decode_share\": %.4f, \"peak_bytes\": %zu, \"planned_bytes\": %zu}\n", o->config, nc_dtype_name(o->dtype), o->prompt,
                  o->generate, o->batch, o->depth, b->limits.threads, prefill_rate, prefill_share, decode_rate, decode_share, peak, planned);
    char p[32], q[32];
    nc_buf_printf(table, "prefill  %9.1f tokens/s  %5.1f %% of %.0f GFLOP/s\ndecode   %9.2f tokens/s  %5.1f %% of %.1f GB/s\nmemory   %s at the peak, %s planned\n", prefill_rate, 100 * prefill_share,
                  nc_bench_peak(b) / 1e9, decode_rate, 100 * decode_share, b->limits.dram_read_gbps, nc_human_bytes((double)peak, p), nc_human_bytes((double)planned, q));
}

int nc_bench_model(const nc_bench_options *o, nc_buf *table, nc_buf *json, nc_error *e)
{
    nc_bench b;
    double prefill, decode;
    int status = nc_bench_open(&b, o, false, e);
    run r = { .b = &b, .batch = nc_batch_new() };
    if (status == 0)
        status = prepare(&r, e);
    if (status == 0)
        status = measure(&r, &prefill, &decode, e);
    if (status == 0)
        report(&r, prefill, decode, table, json);
    if (status == 0 && o->profile)
        status = profile(&r, table, e);
    nc_program_free(r.prefill);
    nc_program_free(r.decode);
    if (r.memory)
        nc_pages_free(r.memory, r.program_bytes + 64);
    nc_kv_free(r.kv);
    nc_batch_free(r.batch);
    nc_bench_close(&b);
    return status;
}

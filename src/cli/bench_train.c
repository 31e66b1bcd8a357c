/* bench_train.c - whole training steps of a decoder: forward, backward, norm, AdamW.
 *
 * Operations: three times the forward's, 2 (parameters of the products and the head) tokens + 4 heads width layers (keys each row sees).
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/rng.h"
#include "cli/bench_models.h"
#include "optim/optim.h"

typedef struct run { double update; /* seconds of the last norm and update */ nc_bench *b; nc_program *p; nc_batch *batch; nc_optim *optim; nc_seq *seq; double trained; } run;

static int build(run *r, nc_error *e)
{
    nc_bench *b = r->b;
    nc_model *m = b->model;
    int tokens = b->o.batch * b->o.tokens;
    nc_head head;
    if (!m->family->head || m->family->tower)
        return nc_fail(e, NC_EUNSUPPORTED, "bench train: a %s is no text decoder", m->family->name);
    r->p = nc_program_new(&(nc_program_options){ .compute = b->weights.compute, .training = true });
    nc_build *x = nc_program_build(r->p);
    nc_build_capacity(x, "tokens", tokens);
    nc_build_capacity(x, "scored", tokens);
    m->family->head(m->self, &head);
    nc_value *rows = nc_gather_rows(x->g, nc_model_decoder(m, x, NULL), nc_in(x, "score.rows", NC_I32, "scored", 0));
    nc_value *loss = nc_model_nll(x, &head, rows);
    nc_build_keep(x, loss, "loss");
    NC_TRY(nc_program_finish(r->p, loss, nc_pool_threads(b->pool), e));
    return nc_program_allocate(r->p, NULL, e);
}

static int prepare(run *r, nc_error *e)
{
    nc_bench *b = r->b;
    const int T = b->o.tokens;
    nc_rng rng = nc_rng_new(3, 0);
    r->seq = NC_NEW_ARRAY(b->arena, nc_seq, b->o.batch);
    for (int i = 0; i < b->o.batch; i++) {
        int32_t *ids = NC_NEW_ARRAY(b->arena, int32_t, T + 1);
        for (int k = 0; k <= T; k++)
            ids[k] = (int32_t)nc_rng_below(&rng, (uint64_t)b->model->vocab_size);
        r->seq[i] = (nc_seq){ .ids = ids, .count = T, .slot = -1, .targets = ids + 1, .weight = 1.0f / (float)(b->o.batch * T) };
    }
    nc_optim_param *params = NC_NEW_ARRAY(b->arena, nc_optim_param, b->model->site_count);
    int n = 0;
    for (int i = 0; i < b->model->site_count; i++) {
        nc_site *s = b->model->sites[i];
        if (!s->trainable)
            continue;
        bool half = s->value.dtype == NC_BF16;
        params[n++] = (nc_optim_param){ s->name, nc_site_count(s), s->master, s->grad, half ? s->value.data : NULL, 1, -1, s->packed, &s->squares };
        r->trained += (double)nc_site_count(s);
    }
    nc_optim_options o = nc_optim_defaults();
    o.weight_decay = 0.1;
    NC_TRY(nc_optim_new("adamw_torch", &o, params, n, &r->optim, e));
    return build(r, e);
}

static int one_step(run *r, nc_error *e)
{
    const nc_bench *b = r->b;
    NC_TRY(nc_model_prepare(b->model, r->batch, r->seq, b->o.batch, e));
    NC_TRY(nc_program_run(r->p, r->batch, &(nc_run_options){ .pool = b->pool, .kernels = b->kernels, .training = true, .fresh_gradients = true }, e));
    double begin = nc_now(), norm = nc_optim_norm(r->optim, b->pool, b->kernels);
    nc_optim_step(r->optim, b->pool, b->kernels, 1e-4, nc_clip_scale(norm, 1));
    r->update = nc_now() - begin;
    return 0;
}

/* One more step, by op. The norm reads the gradients; AdamW reads 16 bytes an element and writes 12, and 2 of the bf16 copy. */
static int profile(run *r, nc_buf *table, nc_error *e)
{
    const nc_bench *b = r->b;
    nc_plan_profile(nc_program_plan(r->p), true);
    NC_TRY(one_step(r, e));
    nc_plan_profile_table(nc_program_plan(r->p), nc_bench_peak(b) / 1e9, b->limits.dram_read_gbps, table);
    double bytes = r->trained * (4 + 16 + 12 + (b->weights.compute == NC_BF16 ? 2 : 0));
    nc_buf_printf(table, "\nnorm and AdamW %8.3f ms  %6.1f GB/s of %.1f\n", r->update * 1e3, bytes / r->update / 1e9, b->limits.dram_read_gbps);
    return 0;
}

static void report(run *r, double seconds, nc_buf *table, nc_buf *json)
{
    const nc_bench *b = r->b;
    double tokens = (double)b->o.batch * b->o.tokens, keys = (double)b->o.batch * b->o.tokens * (b->o.tokens + 1) / 2;
    double flops = 3 * (2 * (b->linear + b->head) * tokens + 4.0 * b->heads * b->head_dim * b->layers * keys), share = flops / seconds / nc_bench_peak(b);
    size_t planned = b->weight_bytes + nc_optim_bytes(r->optim, nc_pool_threads(b->pool)) + nc_program_bytes(r->p) + nc_bench_reserve(), peak = nc_bench_peak_bytes();
    char p[32], q[32];
    nc_buf_printf(json, "{\"config\": \"%s\", \"dtype\": \"%s\", \"batch\": %d, \"tokens\": %d, \"threads\": %d, \"tokens_per_second\": %.2f, \"share\": %.4f, \"peak_bytes\": %zu, \"planned_bytes\": %zu}\n",
                  b->o.config, nc_dtype_name(b->o.dtype), b->o.batch, b->o.tokens, b->limits.threads, tokens / seconds, share, peak, planned);
    nc_buf_printf(table, "train    %9.1f tokens/s  %5.1f %% of %.0f GFLOP/s\nmemory   %s at the peak, %s planned\n", tokens / seconds, 100 * share, nc_bench_peak(b) / 1e9, nc_human_bytes((double)peak, p),
                  nc_human_bytes((double)planned, q));
}

int nc_bench_train(const nc_bench_options *o, nc_buf *table, nc_buf *json, nc_error *e)
{
    nc_bench b;
    int status = nc_bench_open(&b, o, true, e);
    run r = { .b = &b, .batch = nc_batch_new() };
    if (status == 0)
        status = prepare(&r, e);
    double *seconds = NC_NEW_ARRAY(b.arena, double, o->steps + 1);
    for (int i = 0; i <= o->steps && status == 0; i++) {           /* the first one touches memory */
        double begin = nc_now();
        status = one_step(&r, e);
        seconds[i] = nc_now() - begin;
    }
    if (status == 0)
        report(&r, nc_bench_median(seconds + 1, o->steps), table, json);
    if (status == 0 && o->profile)
        status = profile(&r, table, e);
    nc_optim_free(r.optim);
    nc_program_free(r.p);
    nc_batch_free(r.batch);
    nc_bench_close(&b);
    return status;
}

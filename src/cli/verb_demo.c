/* verb_demo.c - the whole way once: data, training, scores before and after, quantization, a server and one question to it. */
#include "base/clock.h"
#include "base/file.h"
#include "base/progress.h"
#include "cli/demo.h"
#include "quant/quantize.h"

static const nc_cli_option options[] = {
    { "out", "DIR", "runs/demo" },
    { "clips", "N", "5000" },
    { "seed", "N", "7" },
    { "recipe", "FILE", "recipes/korean-scenes.yaml" },
    { "max-samples", "N", "clips to score; all of the test split" },
    { NULL, NULL, NULL },
};

static void clips_made(void *context, int done, int clips) { (void)clips; nc_progress_set(context, done, "%s", ""); }
static void answered(void *context, int done, int total) { nc_progress_set(context, total ? (double)done / total : 0, "%d/%d clips", done, total); }

static int make_data(nc_demo *d, nc_error *e)
{
    double begin = nc_now();
    nc_progress *p = nc_progress_new("clips", d->clips);
    int status = nc_scenes_make(d->data, d->clips, (uint64_t)d->seed, NULL, clips_made, p, e);
    nc_progress_done(p, "%s", status < 0 ? "failed" : d->data);
    d->data_seconds = nc_now() - begin;
    return status;
}

static int evaluate(nc_demo *d, const char *title, const char *folder, const char *out, int max_tokens, nc_evaluate_result *r, nc_error *e)
{
    nc_arena *a = d->c->arena;
    int64_t most;
    NC_TRY(nc_cli_int(d->c, "max-samples", 1, INT32_MAX, 0, &most, e));
    nc_progress *p = nc_progress_new(title, 1);
    nc_evaluate_options o = { .folder = folder, .data = nc_path_join(a, d->data, "test.jsonl"), .out = out ? nc_path_join(a, d->out, out) : NULL, .max_tokens = max_tokens,
                              .max_samples = (int)most, .training_metrics = nc_cli_metrics(a, d->run), .open = { .dtype = "bf16" }, .progress = answered, .context = p };
    int status = nc_evaluate(&o, r, e);
    nc_progress_done(p, status < 0 ? "failed" : "METEOR %.3f", status < 0 ? 0 : r->meteor);
    return status;
}

static int quantize(nc_demo *d, nc_error *e)
{
    nc_quantize_report r;
    nc_pool *pool = nc_pool_new(0);
    nc_quantize_options o = { .to = NC_Q8_0, .pool = pool };
    int status = nc_quantize(d->model, d->quantized, &o, &r, e);
    nc_pool_free(pool);
    if (status == 0)
        d->model_bytes = (int64_t)r.bytes_before, d->small_bytes = (int64_t)r.bytes_after;
    return status;
}

static int all_steps(nc_demo *d, nc_error *e)
{
    double begin = nc_now();
    NC_TRY(make_data(d, e));
    NC_TRY(nc_demo_train(d, e));
    NC_TRY(nc_demo_untrained(d, e));
    NC_TRY(evaluate(d, "untrained", d->untrained, NULL, 48, &d->before, e));
    NC_TRY(evaluate(d, "trained", d->model, "eval", 96, &d->trained, e));
    NC_TRY(quantize(d, e));
    NC_TRY(evaluate(d, "q8_0", d->quantized, NULL, 96, &d->small, e));
    NC_TRY(nc_demo_clip(d, e));
    NC_TRY(nc_demo_serve(d, e));
    NC_TRY(nc_demo_sheet(d, e));
    d->seconds = nc_now() - begin;
    return nc_demo_summary(d, e);
}

static int run(nc_cli *c, nc_error *e)
{
    nc_demo d = { .c = c, .out = nc_cli_get(c, "out"), .recipe = nc_cli_get(c, "recipe") };
    int64_t clips;
    d.out = d.out ? d.out : "runs/demo";
    d.recipe = d.recipe ? d.recipe : "recipes/korean-scenes.yaml";
    NC_TRY(nc_cli_int(c, "clips", 20, 1000000, 5000, &clips, e));
    NC_TRY(nc_cli_int(c, "seed", 0, INT64_MAX, 7, &d.seed, e));
    d.clips = (int)clips;
    if (!nc_file_exists(d.recipe))
        return nc_cli_usage(c, e, "demo: %s: no such recipe; run it from the root of the source, or give --recipe", d.recipe);
    NC_TRY(nc_mkdirs(d.out, e));
    d.data = nc_path_join(c->arena, d.out, "data");
    d.run = nc_path_join(c->arena, d.out, "train");
    d.model = nc_path_join(c->arena, d.run, "model");
    d.untrained = nc_path_join(c->arena, d.out, "untrained");
    d.quantized = nc_path_join(c->arena, d.out, "model-q8_0");
    NC_TRY(all_steps(&d, e));
    nc_buf b = { 0 };
    nc_demo_tell(&d, &b);
    nc_cli_print(&b);
    return 0;
}

const nc_verb nc_verb_demo = { "demo", "", "make data, train a Korean video captioner, score it, quantize it, serve it and ask it",
    "Everything lies in --out; key=value overrides the recipe. A run that was stopped goes on where it was.", options, 0, 0, true, run };

/* verb_eval.c - a model's answers, or a classifier's labels, on a set, scored. */
#include "base/file.h"
#include "base/progress.h"
#include "cli/cli.h"
#include "eval/evaluate_labels.h"

static const nc_cli_option options[] = {
    { "data", "FILE", "test.jsonl in LLaVA's or ShareGPT's layout; of a classifier labelled records, or a folder of pictures" },
    { "references", "FILE", "references.jsonl; the one beside the data" },
    { "out", "DIR", "predictions.jsonl, scores.json, report.html; FOLDER/eval of a run" },
    { "max-samples", "N", "the first N" },
    { "max-tokens", "N", "of an answer; 128" },
    { "dtype", "TYPE", "f32 or bf16; the checkpoint's" },
    { "batch", "N", "answers written at once; 16" },
    { "frames", "N", "taken of a video; what the folder says" },
    { "template", "NAME", "a built-in chat template instead of the folder's" },
    { "threads", "N", "threads, all CPUs by default" },
    { "json", NULL, "the scores as one object" },
    { NULL, NULL, NULL },
};

static void progress(void *context, int done, int total) { (void)total; nc_progress_set(context, done, "%s", ""); }

static int run_labels(nc_cli *c, nc_evaluate_options *o, nc_error *e)
{
    nc_json *scores = NULL;
    nc_progress *p = nc_progress_new("eval", 0);
    nc_buf b = { 0 };
    o->context = p;
    int status = nc_evaluate_labels(o, c->arena, &scores, e);
    nc_progress_done(p, "%s", status < 0 ? "failed" : o->out ? o->out : "");
    if (status < 0)
        return status;
    if (nc_cli_has(c, "json")) {
        nc_json_write(&b, scores, 1);
        nc_buf_addc(&b, '\n');
    } else
        nc_evaluate_labels_table(scores, &b);
    nc_cli_print(&b);
    return 0;
}

static int run(nc_cli *c, nc_error *e)
{
    int64_t samples, tokens, batch, frames, threads;
    const char *data = nc_cli_get(c, "data"), *out = nc_cli_get(c, "out"), *folder = c->word[0];
    if (!data)
        return nc_cli_usage(c, e, "eval: --data FILE is needed");
    NC_TRY(nc_cli_int(c, "max-samples", 1, INT32_MAX, 0, &samples, e));
    NC_TRY(nc_cli_int(c, "max-tokens", 1, 1 << 20, 0, &tokens, e));
    NC_TRY(nc_cli_int(c, "batch", 1, 4096, 0, &batch, e));
    NC_TRY(nc_cli_int(c, "frames", 1, 1024, 0, &frames, e));
    NC_TRY(nc_cli_int(c, "threads", 1, 1024, 0, &threads, e));
    const bool is_run = !nc_file_exists(nc_path_join(c->arena, folder, "config.json")) && nc_is_dir(nc_path_join(c->arena, folder, "model"));
    if (!out && is_run)
        out = nc_path_join(c->arena, folder, "eval");
    nc_evaluate_options o = {
        .folder = folder, .data = data, .references = nc_cli_get(c, "references"), .out = out, .max_samples = (int)samples, .max_tokens = (int)tokens,
        .training_metrics = is_run ? nc_cli_metrics(c->arena, folder) : NULL, .progress = progress,
        .open = { .dtype = nc_cli_get(c, "dtype"), .engine = { .sequences = (int)batch }, .template_name = nc_cli_get(c, "template"), .visual = { .frames = (int)frames }, .threads = (int)threads },
    };
    if (nc_evaluates_labels(folder))
        return run_labels(c, &o, e);
    nc_evaluate_result r;
    nc_progress *p = nc_progress_new("eval", 0);
    o.context = p;
    int status = nc_evaluate(&o, &r, e);
    nc_progress_done(p, "%s", status < 0 ? "failed" : out ? out : "");
    if (status < 0)
        return status;
    nc_buf b = { 0 };
    if (nc_cli_has(c, "json")) {
        nc_json_write(&b, nc_evaluate_json(c->arena, &r), 1);
        nc_buf_addc(&b, '\n');
    } else
        nc_evaluate_table(&r, &b);
    nc_cli_print(&b);
    return 0;
}

const nc_verb nc_verb_eval = { "eval", "FOLDER", "score a model's captions or answers on a set (METEOR, BLEU-4, CIDEr-D, ROUGE-L, slots), a classifier's labels (accuracy, F1)",
    "FOLDER is a model, or a training run that holds model/.", options, 1, 1, false, run };

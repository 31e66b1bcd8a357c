/* golden_train.c - golden/train: the base model trained whole, and by LoRA adapters beside it: loss, gradients, ten AdamW steps, the factors after them, the merge.
 *
 * Limits: losses 1e-4 relative, gradients 1e-4 of (a tensor's largest + a thousandth of the largest of all), merged weights 1e-6, factors after ten steps 1e-3 of the
 * tensor's largest. The batch lies in base/golden.safetensors: train.input_ids and train.labels, -100 where nothing is learned.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "cli/golden.h"
#include "cli/worse.h"
#include "load/load.h"
#include "load/peft.h"
#include "optim/optim.h"

typedef struct trial {
    nc_arena *arena;
    nc_golden_tally *tally;
    const char *folder, *base;
    nc_json *golden;
    nc_loaded *l;
    nc_lora *lora;
    nc_safetensors *want, *batch_file;
    nc_program *p;
    nc_value *loss;
    nc_batch *batch;
    nc_site **trained;
    int count;
    double worst;                    /* of what was compared / its limit */
    char bad[300];
} trial;

static void judge(trial *t, const char *name, double error, double limit)
{
    double part = error / limit;
    if (!(part <= 1) && !t->bad[0])
        snprintf(t->bad, sizeof t->bad, "%.200s: %.3g over %.3g", name, error, limit);
    t->worst = !(part <= t->worst) ? part : t->worst;
}

static void compare(trial *t, const char *name, const float *have, const nc_stored *want, double share, double largest_of_all)
{
    double largest = 0, worst = 0;
    for (int64_t i = 0, n = nc_shape_count(&want->shape); i < n; i++) {
        double w = nc_dtype_load(want->dtype, want->data, i), d = fabs((double)have[i] - w);
        largest = fmax(largest, fabs(w));
        worst = nc_worse(worst, d);
    }
    judge(t, name, worst, share * (largest + 1e-3 * largest_of_all) + 1e-30);
}

static double number(const nc_safetensors *s, const char *name, int64_t i)
{
    const nc_stored *t = nc_safetensors_find(s, name);
    return t && i < nc_shape_count(&t->shape) ? nc_dtype_load(t->dtype, t->data, i) : NAN;
}

static int read_batch(trial *t, nc_error *e)
{
    const nc_stored *ids = nc_safetensors_find(t->batch_file, "train.input_ids"), *labels = nc_safetensors_find(t->batch_file, "train.labels");
    if (!ids || !labels || ids->shape.rank != 2 || nc_shape_count(&ids->shape) != nc_shape_count(&labels->shape))
        return nc_fail(e, NC_EUNSUPPORTED, "no train.input_ids and train.labels in %s", t->base);
    int rows = (int)ids->shape.dim[0], columns = (int)ids->shape.dim[1], counted = 0;
    nc_seq *seq = NC_NEW_ARRAY(t->arena, nc_seq, rows);
    int32_t *in = NC_NEW_ARRAY(t->arena, int32_t, rows * columns), *out = NC_NEW_ARRAY(t->arena, int32_t, rows * columns);
    for (int i = 0; i < rows * columns; i++) {
        double next = i % columns + 1 < columns ? nc_dtype_load(labels->dtype, labels->data, i + 1) : -100;
        in[i] = (int32_t)nc_dtype_load(ids->dtype, ids->data, i);
        out[i] = next < 0 ? -1 : (int32_t)next;
        counted += next >= 0;
    }
    for (int i = 0; i < rows; i++)
        seq[i] = (nc_seq){ .ids = in + i * columns, .count = columns, .slot = -1, .targets = out + i * columns, .weight = 1.0f / (float)(counted ? counted : 1) };
    t->batch = nc_batch_new();
    return nc_model_prepare(t->l->model, t->batch, seq, rows, e);
}

static int build(trial *t, nc_error *e)
{
    nc_model *m = t->l->model;
    nc_head head;
    t->p = nc_program_new(&(nc_program_options){ .compute = NC_F32, .training = true });
    nc_build *b = nc_program_build(t->p);
    nc_build_capacity(b, "tokens", nc_batch_count(t->batch, "tokens"));
    nc_build_capacity(b, "scored", nc_batch_count(t->batch, "scored") + 1);
    m->family->head(m->self, &head);
    nc_value *h = nc_gather_rows(b->g, nc_model_decoder(m, b, NULL), nc_in(b, "score.rows", NC_I32, "scored", 0));
    nc_value *logp = nc_model_logprob(b, &head, h);
    t->loss = nc_nll(b->g, logp, nc_in(b, "score.weights", NC_F32, "scored", 0));
    NC_TRY(nc_program_finish(t->p, t->loss, nc_pool_threads(t->tally->pool), e));
    return nc_program_allocate(t->p, NULL, e);
}

static int open_trial(trial *t, bool is_base, nc_error *e)
{
    static const char *const all[] = { "*", NULL };
    nc_load_options o = { .weights = { .compute = NC_F32, .pool = t->tally->pool, .kernels = nc_kernels_best() }, .train = is_base ? all : NULL, .no_front = true };
    NC_TRY(nc_load(t->base, &o, &t->l, e));
    NC_TRY(nc_safetensors_open(nc_path_join(t->arena, t->base, "golden.safetensors"), &t->batch_file, e));
    NC_TRY(nc_safetensors_open(nc_path_join(t->arena, t->folder, "golden.safetensors"), &t->want, e));
    NC_TRY(nc_json_load(t->arena, nc_path_join(t->arena, t->folder, "golden.json"), &t->golden, e));
    if (!is_base)
        NC_TRY(nc_peft_load(t->l->model, t->folder, NC_F32, true, &t->lora, e));
    t->trained = NC_NEW_ARRAY(t->arena, nc_site *, t->l->model->site_count + (t->lora ? 2 * t->lora->count : 0) + 1);
    for (int i = 0; is_base && i < t->l->model->site_count; i++)
        if (t->l->model->sites[i]->grad)
            t->trained[t->count++] = t->l->model->sites[i];
    for (int i = 0; t->lora && i < t->lora->count; i++) {
        t->trained[t->count++] = &t->lora->pair[i]->a;
        t->trained[t->count++] = &t->lora->pair[i]->b;
    }
    NC_TRY(read_batch(t, e));
    return build(t, e);
}

static int run_loss(trial *t, double *loss, nc_error *e)
{
    for (int i = 0; i < t->count; i++)
        memset(t->trained[i]->grad, 0, sizeof(float) * (size_t)nc_site_count(t->trained[i]));
    NC_TRY(nc_program_run(t->p, t->batch, &(nc_run_options){ .pool = t->tally->pool, .kernels = nc_kernels_best(), .training = true }, e));
    *loss = ((const float *)t->loss->data)[0];
    return 0;
}

static const nc_stored *wanted(const trial *t, const char *kind, const nc_site *s)
{
    return nc_safetensors_find(t->want, nc_arena_printf(t->arena, "%s%s%s", kind, t->lora ? "base_model.model." : "", s->name));
}

static void check_gradients(trial *t)
{
    double largest = 0;
    for (int i = 0; i < t->count; i++) {
        const nc_stored *w = wanted(t, "grad.", t->trained[i]);
        for (int64_t j = 0; w && j < nc_shape_count(&w->shape); j++)
            largest = fmax(largest, fabs(nc_dtype_load(w->dtype, w->data, j)));
    }
    for (int i = 0; i < t->count; i++) {
        const nc_stored *w = wanted(t, "grad.", t->trained[i]);
        if (w && nc_shape_count(&w->shape) == nc_site_count(t->trained[i]))
            compare(t, w->name, t->trained[i]->grad, w, 1e-4, largest);
        else
            judge(t, t->trained[i]->name, INFINITY, 1);
    }
}

static int check_steps(trial *t, nc_error *e)
{
    const nc_json *train = nc_json_get(t->golden, "train");
    nc_optim_options o = nc_optim_defaults();
    nc_optim_param *params = NC_NEW_ARRAY(t->arena, nc_optim_param, t->count + 1);
    nc_optim *optim = NULL;
    double loss = 0, lr = nc_json_double(nc_json_get(train, "lr"), 1e-3);
    int status = 0;
    o.beta1 = nc_json_double(nc_json_at(nc_json_get(train, "betas"), 0), 0.9);
    o.beta2 = nc_json_double(nc_json_at(nc_json_get(train, "betas"), 1), 0.95);
    o.weight_decay = nc_json_double(nc_json_get(train, "weight_decay"), 0.1);
    for (int i = 0; i < t->count; i++)
        params[i] = (nc_optim_param){ t->trained[i]->name, nc_site_count(t->trained[i]), t->trained[i]->master, t->trained[i]->grad, NULL, 1, -1, NULL, NULL };
    NC_TRY(nc_optim_new("adamw_torch", &o, params, t->count, &optim, e));
    for (int step = 0; step <= 10 && status == 0; step++) {
        status = run_loss(t, &loss, e);
        double want = number(t->want, "adamw.losses", step);
        judge(t, "adamw.losses", fabs(loss - want) / fabs(want), 1e-4);
        if (step < 10) {
            double norm = nc_optim_norm(optim, t->tally->pool, nc_kernels_best());
            nc_optim_step(optim, t->tally->pool, nc_kernels_best(), lr, nc_clip_scale(norm, nc_json_double(nc_json_get(train, "clip"), 1)));
        }
    }
    nc_optim_free(optim);
    for (int i = 0; i < t->count; i++) {
        const nc_stored *w = wanted(t, "adamw.final.", t->trained[i]);
        if (w && nc_shape_count(&w->shape) == nc_site_count(t->trained[i]))
            compare(t, w->name, t->trained[i]->master, w, 1e-3, 0);
    }
    return status;
}

/* Last, since it changes the weights under the adapter: a fresh reading of it is merged. */
static int check_merge(trial *t, nc_error *e)
{
    trial m = { .arena = t->arena, .tally = t->tally, .folder = t->folder, .base = t->base };
    nc_weights_options o = { .compute = NC_F32, .pool = t->tally->pool, .kernels = nc_kernels_best() };
    int status = open_trial(&m, false, e);
    if (status == 0)
        status = nc_lora_merge(m.lora, m.l->model, &o, e);
    for (int i = 0; status == 0 && i < m.l->model->site_count; i++) {
        const nc_stored *w = nc_safetensors_find(t->want, nc_arena_printf(t->arena, "merged.%s", m.l->model->sites[i]->name));
        if (w && nc_shape_count(&w->shape) == nc_site_count(m.l->model->sites[i]))
            compare(t, w->name, m.l->model->sites[i]->value.data, w, 1e-6, 0);
    }
    nc_program_free(m.p);
    if (m.batch)
        nc_batch_free(m.batch);
    nc_lora_free(m.lora);
    nc_safetensors_close(m.want);
    nc_safetensors_close(m.batch_file);
    nc_loaded_free(m.l);
    return status;
}

static int run_trial(trial *t, bool is_base, nc_error *e)
{
    double loss;
    NC_TRY(open_trial(t, is_base, e));
    NC_TRY(run_loss(t, &loss, e));
    double want = number(t->want, "loss", 0);
    judge(t, "loss", fabs(loss - want) / fabs(want), 2e-5);
    check_gradients(t);
    if (!is_base)
        NC_TRY(check_merge(t, e));
    return check_steps(t, e);
}

/* The reason why a folder is not for this release, NULL when it is. */
static const char *why_skipped(nc_arena *a, const char *folder)
{
    nc_json *c = NULL, *g = NULL;
    nc_error e = { 0 };
    const char *path = nc_path_join(a, folder, "adapter_config.json");
    if (!nc_file_exists(path) || nc_json_load(a, path, &c, &e) < 0)
        return "this method comes with a later release";
    if (nc_is_dir(nc_path_join(a, folder, "model")))
        return "adapters over a quantized base come with a later release";
    const nc_json *init = nc_json_get(c, "init_lora_weights");
    if (strcmp(nc_json_string(nc_json_get(c, "peft_type"), ""), "LORA"))
        return nc_arena_printf(a, "the method %s comes with a later release", nc_json_string(nc_json_get(c, "peft_type"), "unknown"));
    if (nc_json_is(init, NC_JSON_STRING))
        return nc_arena_printf(a, "the initialization %s comes with a later release", init->text.p);
    if (nc_json_load(a, nc_path_join(a, folder, "golden.json"), &g, &e) == 0 && strcmp(nc_json_string(nc_json_path(g, "train.optimizer"), "other"), "AdamW"))
        return "not a plain AdamW run over one adapter; later";
    return NULL;
}

void nc_golden_run_train(nc_golden_tally *t, const char *path, const char *folder)
{
    nc_arena *a = nc_arena_new();
    const bool is_base = !strcmp(nc_path_base(folder), "base");
    const char *reason = is_base ? NULL : why_skipped(a, folder);
    trial x = { .arena = a, .tally = t, .folder = folder, .base = nc_path_join(a, nc_path_dir(a, folder), "base") };
    nc_error e = { 0 };
    int status = 0;
    if (reason)
        nc_golden_line(t, NC_CASE_SKIPPED, path, "%s", reason);
    else if ((status = run_trial(&x, is_base, &e)) < 0)
        nc_golden_line(t, status == NC_EUNSUPPORTED ? NC_CASE_SKIPPED : NC_CASE_FAILED, path, "%s", e.message);
    else if (x.bad[0])
        nc_golden_line(t, NC_CASE_FAILED, path, "%s", x.bad);
    else
        nc_golden_line(t, NC_CASE_OK, path, "worst %.3f of its limit", x.worst);
    nc_program_free(x.p);
    if (x.batch)
        nc_batch_free(x.batch);
    nc_lora_free(x.lora);
    nc_safetensors_close(x.want);
    nc_safetensors_close(x.batch_file);
    nc_loaded_free(x.l);
    nc_arena_free(a);
}

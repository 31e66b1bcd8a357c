/* train.c - the stages of a recipe, one after another; what is finished is passed over, what was interrupted goes on. */
#include "train/train.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "train/checkpoint.h"
#include "train/run.h"

volatile sig_atomic_t nc_train_cancelled;

void nc_train_cancel(void) { nc_train_cancelled = 1; }

struct training {
    nc_recipe *recipe;
    nc_arena *arena;
    nc_pool *pool;
    const char **results;
    const char *root;                /* output_dir, or a temporary folder when planning */
    bool plan_only;
    nc_buf *table;
    nc_media_shelf shelf;
    nc_train_report report;
};

static const char *stage_folder(struct training *t, int k)
{
    return t->recipe->staged ? nc_arena_printf(t->arena, "%s/stage%d", t->root, k) : t->root;
}

static int write_results(const nc_train_run *r, nc_error *e)
{
    nc_buf b = { 0 };
    nc_buf_adds(&b, "{\"train_seconds\": ");
    nc_buf_json_double(&b, r->seconds);
    nc_buf_adds(&b, ", \"tokens_per_second\": ");
    nc_buf_json_double(&b, r->seconds > 0 ? (double)r->tokens / r->seconds : 0);
    nc_buf_printf(&b, ", \"tokens\": %" PRId64 ", \"samples\": %" PRId64 ", \"steps\": %" PRId64 ", \"train_loss\": ", r->tokens, r->samples, r->step);
    nc_buf_json_double(&b, r->last_loss);
    nc_buf_adds(&b, ", \"first_loss\": ");
    nc_buf_json_double(&b, r->first_loss);
    nc_buf_adds(&b, ", \"eval_loss\": ");
    nc_buf_json_double(&b, r->eval_loss);
    nc_buf_printf(&b, ", \"peak_bytes\": %zu, \"planned_bytes\": %zu, \"recipe_hash\": \"%016" PRIx64 "\", \"dataset_hash\": \"%016" PRIx64 "\"}\n", nc_process_peak(), r->planned, r->s->hash,
                  r->data->hash);
    int status = nc_file_write(nc_path_join(r->arena, r->folder, "train_results.json"), b.p, b.n, e);
    nc_buf_free(&b);
    return status;
}

static void add_up(struct training *t, double seconds, int64_t tokens, int64_t samples, int64_t steps, uint64_t planned, double first, double last, double eval)
{
    t->report.train_seconds += seconds;
    t->report.tokens += tokens;
    t->report.samples += samples;
    t->report.steps += steps;
    t->report.planned_bytes = planned > t->report.planned_bytes ? planned : t->report.planned_bytes;
    t->report.first_loss = first;
    t->report.last_loss = last;
    t->report.eval_loss = eval;
}

/* The files of a finished stage's dataset are what they were. */
static int check_dataset(const nc_recipe_stage *s, const char *folder, const char *hash, nc_error *e)
{
    nc_dataset_options d = { .folder = s->dataset_dir, .media_folder = s->media_dir, .records = s->objective->records, .max_samples = s->max_samples };
    nc_dataset *data = NULL;
    char now[24];
    NC_TRY(nc_dataset_load(s->dataset, &d, &data, e));
    snprintf(now, sizeof now, "%016" PRIx64, data->hash);
    nc_dataset_free(data);
    return strcmp(now, hash) ? nc_fail(e, NC_EINVAL, "%s holds the result of another dataset; overwrite_output_dir=true starts anew, another output_dir keeps both", folder) : 0;
}

/* 1: the stage was finished by the same recipe before; its figures are added. */
static int is_finished(struct training *t, int k, nc_error *e)
{
    const nc_recipe_stage *s = &t->recipe->stages[k];
    const char *path = nc_path_join(t->arena, stage_folder(t, k), "train_results.json");
    nc_json *o = NULL;
    char hash[24];
    if (t->plan_only || !nc_file_exists(path) || !nc_is_dir(nc_path_join(t->arena, stage_folder(t, k), "model")))
        return 0;
    NC_TRY(nc_json_load(t->arena, path, &o, e));
    snprintf(hash, sizeof hash, "%016" PRIx64, s->hash);
    if (!nc_json_get(o, "recipe_hash"))
        return 0;
    if (strcmp(nc_json_string(nc_json_get(o, "recipe_hash"), ""), hash))
        return nc_fail(e, NC_EINVAL, "%s holds the result of another recipe; overwrite_output_dir=true starts anew, another output_dir keeps both", stage_folder(t, k));
    NC_TRY(check_dataset(s, stage_folder(t, k), nc_json_string(nc_json_get(o, "dataset_hash"), ""), e));
    add_up(t, nc_json_double(nc_json_get(o, "train_seconds"), 0), nc_json_int(nc_json_get(o, "tokens"), 0), nc_json_int(nc_json_get(o, "samples"), 0),
           nc_json_int(nc_json_get(o, "steps"), 0), (uint64_t)nc_json_int(nc_json_get(o, "planned_bytes"), 0), nc_json_double(nc_json_get(o, "first_loss"), 0),
           nc_json_double(nc_json_get(o, "train_loss"), 0), nc_json_double(nc_json_get(o, "eval_loss"), NAN));
    return 1;
}

static int prepare_stage(nc_train_run *r, nc_error *e)
{
    NC_TRY(nc_train_open(r, e));
    NC_TRY(nc_train_choose(r, e));
    NC_TRY(nc_train_schedule(r, e));
    NC_TRY(nc_train_programs(r, e));
    return nc_train_memory(r, e);
}

static int bind_memory(nc_train_run *r, nc_error *e)
{
    r->memory = nc_pages_alloc(r->memory_bytes ? r->memory_bytes : 64);
    if (!r->memory)
        return nc_fail(e, NC_ENOMEM, "%.1f GB for activations are not to be had", (double)r->memory_bytes / 1e9);
    NC_TRY(nc_program_allocate(r->program, r->memory, e));
    if (r->frozen)
        NC_TRY(nc_program_allocate(nc_frozen_program(r->frozen), r->memory, e));
    return r->judge ? nc_program_allocate(r->judge, r->memory, e) : 0;
}

static int train_stage(nc_train_run *r, nc_error *e)
{
    NC_TRY(bind_memory(r, e));
    NC_TRY(nc_train_fill(r, e));
    NC_TRY(nc_checkpoint_resume(r, e));
    NC_TRY(nc_train_loop(r, e));
    NC_TRY(nc_train_save(r, e));
    NC_TRY(write_results(r, e));
    nc_checkpoints_remove(r->folder);
    return 0;
}

/* A plan leaves the files in front of a model where its result would be, for the stages after it. */
static int plan_stage(struct training *t, nc_train_run *r, int k, nc_error *e)
{
    nc_train_table(r, t->table);
    const char *model = nc_path_join(t->arena, r->folder, "model");
    NC_TRY(nc_copy_front_files(r->front, model, e));
    t->results[k] = model;
    return nc_file_copy(nc_path_join(r->arena, r->front, "config.json"), nc_path_join(r->arena, model, "config.json"), e);
}

static int run_stage(struct training *t, int k, nc_error *e)
{
    nc_train_run r = { .recipe = t->recipe, .s = &t->recipe->stages[k], .index = k, .plan_only = t->plan_only, .arena = nc_arena_new(), .pool = t->pool,
                       .kernels = nc_kernels_best(), .folder = stage_folder(t, k), .results = t->results, .shelf = &t->shelf, .epoch_index = -1, .eval_loss = NAN };
    int status = nc_mkdirs(r.folder, e);
    if (status == 0)
        status = prepare_stage(&r, e);
    if (status == 0 && t->plan_only) {
        status = plan_stage(t, &r, k, e);
    } else if (status == 0) {
        nc_buf table = { 0 };
        nc_train_table(&r, &table);
        for (char *line = strtok(table.p, "\n"); line; line = strtok(NULL, "\n"))
            nc_info("%s", line);
        nc_buf_free(&table);
        status = train_stage(&r, e);
    }
    if (status == 0)
        add_up(t, r.seconds, r.tokens, r.samples, r.step, r.planned, r.first_loss, r.last_loss, r.eval_loss);
    else if (t->recipe->staged && status != NC_ECANCELLED)
        nc_fail_in(e, "stage %d%s%s", k, r.s->name ? " " : "", r.s->name ? r.s->name : "");
    nc_train_close(&r);
    return status;
}

/* The last stage's model under output_dir/model. */
static int hand_over(struct training *t, nc_error *e)
{
    const char *from = t->results[t->recipe->count - 1], *to = nc_path_join(t->arena, t->root, "model"), *partial = nc_path_join(t->arena, t->root, "model.partial");
    char **names;
    int count;
    if (!strcmp(from, to))
        return 0;
    NC_TRY(nc_remove_tree(partial, e));
    NC_TRY(nc_mkdirs(partial, e));
    NC_TRY(nc_list_dir(t->arena, from, &names, &count, e));
    for (int i = 0; i < count; i++)
        NC_TRY(nc_file_copy(nc_path_join(t->arena, from, names[i]), nc_path_join(t->arena, partial, names[i]), e));
    NC_TRY(nc_remove_tree(to, e));
    return nc_rename(partial, to, e);
}

static int write_summary(struct training *t, nc_error *e)
{
    nc_train_report *p = &t->report;
    nc_buf b = { 0 };
    p->tokens_per_second = p->train_seconds > 0 ? (double)p->tokens / p->train_seconds : 0;
    p->peak_bytes = nc_process_peak();
    p->stages = t->recipe->count;
    snprintf(p->model, sizeof p->model, "%s/model", t->root);
    if (!t->recipe->staged)
        return 0;
    nc_buf_adds(&b, "{\"train_seconds\": ");
    nc_buf_json_double(&b, p->train_seconds);
    nc_buf_adds(&b, ", \"tokens_per_second\": ");
    nc_buf_json_double(&b, p->tokens_per_second);
    nc_buf_printf(&b, ", \"tokens\": %" PRId64 ", \"samples\": %" PRId64 ", \"steps\": %" PRId64 ", \"peak_bytes\": %" PRIu64 ", \"planned_bytes\": %" PRIu64 ", \"stages\": %d}\n", p->tokens,
                  p->samples, p->steps, p->peak_bytes, p->planned_bytes, p->stages);
    int status = nc_file_write(nc_path_join(t->arena, t->root, "train_results.json"), b.p, b.n, e);
    nc_buf_free(&b);
    return status;
}

static int start_anew(struct training *t, nc_error *e)
{
    for (int k = 0; k < t->recipe->count; k++) {
        const char *folder = stage_folder(t, k);
        nc_checkpoints_remove(folder);
        NC_TRY(nc_remove_tree(nc_path_join(t->arena, folder, "model"), e));
        remove(nc_path_join(t->arena, folder, "train_results.json"));
        remove(nc_path_join(t->arena, folder, "metrics.jsonl"));
    }
    return nc_remove_tree(nc_path_join(t->arena, t->root, "model"), e);
}

static int run_all(struct training *t, nc_error *e)
{
    if (t->recipe->warnings.n && !t->plan_only)
        for (char *line = strtok(t->recipe->warnings.p, "\n"); line; line = strtok(NULL, "\n"))
            nc_warn("%s", line);
    if (t->recipe->overwrite_output_dir && !t->plan_only)
        NC_TRY(start_anew(t, e));
    t->results = NC_NEW_ARRAY(t->arena, const char *, t->recipe->count + 1);
    for (int k = 0; k < t->recipe->count; k++) {
        int done = is_finished(t, k, e);
        NC_TRY(done);
        if (!done)
            NC_TRY(run_stage(t, k, e));
        else
            nc_info("%s is finished", stage_folder(t, k));
        t->results[k] = nc_path_join(t->arena, stage_folder(t, k), "model");
    }
    if (t->plan_only)
        return 0;
    NC_TRY(hand_over(t, e));
    return write_summary(t, e);
}

int nc_train(const char *recipe_path, char *const *overrides, int n, nc_train_report *report, nc_error *e)
{
    struct training t = { .report = { .eval_loss = NAN } };
    nc_error spare = { 0 };
    e = e ? e : &spare;
    nc_train_cancelled = 0;
    NC_TRY(nc_recipe_load(recipe_path, overrides, n, &t.recipe, e));
    if (!t.recipe->output_dir || !*t.recipe->output_dir) {
        nc_recipe_free(t.recipe);
        return nc_fail(e, NC_EINVAL, "%s: output_dir is empty; name the folder that the run is written to", recipe_path);
    }
    t.arena = nc_arena_new();
    t.root = t.recipe->output_dir;
    t.pool = nc_pool_new(0);
    int status = nc_mkdirs(t.root, e);
    if (status == 0)
        status = run_all(&t, e);
    if (report)
        *report = t.report;
    nc_media_shelf_clear(&t.shelf);
    nc_pool_free(t.pool);
    nc_arena_free(t.arena);
    nc_recipe_free(t.recipe);
    return status;
}

int nc_train_plan(const char *recipe_path, char *const *overrides, int n, nc_buf *table, nc_error *e)
{
    struct training t = { .plan_only = true, .table = table };
    nc_error spare = { 0 };
    e = e ? e : &spare;
    NC_TRY(nc_recipe_load(recipe_path, overrides, n, &t.recipe, e));
    t.arena = nc_arena_new();
    const char *temporary = getenv("TMPDIR");
    char *root = nc_arena_printf(t.arena, "%s/nunchi-plan-XXXXXX", temporary ? temporary : "/tmp");
    int status = mkdtemp(root) ? 0 : nc_fail(e, NC_EIO, "%s: no temporary folder can be made", root);
    if (status == 0) {
        t.root = root;
        t.pool = nc_pool_new(0);
        status = run_all(&t, e);
        nc_media_shelf_clear(&t.shelf);
        nc_pool_free(t.pool);
        nc_remove_tree(root, &spare);
    }
    nc_arena_free(t.arena);
    nc_recipe_free(t.recipe);
    return status;
}

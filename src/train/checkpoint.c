/* checkpoint.c - writing and reading a stage's state. */
#include "train/checkpoint.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"

static const char stem[] = "checkpoint-";

static int64_t step_of(const char *name)
{
    int64_t n;
    return nc_starts_with(name, stem) && nc_parse_int(name + strlen(stem), &n) && n >= 0 ? n : -1;
}

/* Steps of the folder's checkpoints, ascending. */
static int list_steps(nc_arena *a, const char *folder, int64_t **steps)
{
    char **names;
    int count, n = 0;
    nc_error ignored = { 0 };
    *steps = NULL;
    if (!nc_is_dir(folder) || nc_list_dir(a, folder, &names, &count, &ignored) < 0)
        return 0;
    int64_t *out = NC_NEW_ARRAY(a, int64_t, count + 1);
    for (int i = 0; i < count; i++) {
        int64_t s = step_of(names[i]);
        int at = n;
        if (s < 0)
            continue;
        while (at > 0 && out[at - 1] > s) {
            out[at] = out[at - 1];
            at--;
        }
        out[at] = s;
        n++;
    }
    *steps = out;
    return n;
}

static const char *path_of(nc_arena *a, const char *folder, int64_t step)
{
    return nc_arena_printf(a, "%s/%s%" PRId64, folder, stem, step);
}

/* What training changes beside the trained: the running statistics of batch norm. */
static bool is_running(const nc_site *s) { return (s->flags & NC_SITE_BUFFER) && (s->flags & NC_SITE_KEEP_F32) && s->value.dtype == NC_F32 && s->value.data; }

static int write_tensors(nc_train_run *r, nc_arena *a, const char *path, nc_error *e)
{
    const nc_model *m = r->l->model;
    int states = nc_optim_states(r->optim), n = r->trained_count;
    nc_store *stores = NC_NEW_ARRAY(a, nc_store, n * (states + 1) + m->site_count + 1);
    int at = 0;
    for (int i = 0; i < n; i++) {
        const nc_site *s = r->trained[i];
        stores[at++] = (nc_store){ s->name, NC_F32, s->shape, s->master };
        for (int k = 0; k < states; k++)
            stores[at++] = (nc_store){ nc_arena_printf(a, "%s//%s", s->name, nc_optim_state_name(r->optim, k)), NC_F32, s->shape, nc_optim_state(r->optim, i, k) };
    }
    for (int i = 0; i < m->site_count; i++)
        if (is_running(m->sites[i]))
            stores[at++] = (nc_store){ m->sites[i]->name, NC_F32, m->sites[i]->shape, m->sites[i]->value.data };
    return nc_safetensors_write(path, stores, at, NULL, NULL, NULL, e);
}

static int write_state(const nc_train_run *r, const char *path, nc_error *e)
{
    nc_buf b = { 0 };
    nc_buf_printf(&b, "{\"global_step\": %" PRId64 ", \"max_steps\": %" PRId64 ", \"tokens\": %" PRId64 ", \"samples\": %" PRId64 ", \"seconds\": ", r->step, r->total_steps, r->tokens,
                  r->samples);
    nc_buf_json_double(&b, r->seconds);
    nc_buf_adds(&b, ", \"first_loss\": ");
    nc_buf_json_double(&b, r->first_loss);
    nc_buf_adds(&b, ", \"last_loss\": ");
    nc_buf_json_double(&b, r->last_loss);
    nc_buf_adds(&b, ", \"eval_loss\": ");
    nc_buf_json_double(&b, r->eval_loss);
    nc_buf_printf(&b, ", \"recipe_hash\": \"%016" PRIx64 "\", \"data_hash\": \"%016" PRIx64 "\"}\n", r->s->hash, r->data_hash);
    int status = nc_file_write(path, b.p, b.n, e);
    nc_buf_free(&b);
    return status;
}

static void prune(nc_train_run *r, nc_arena *a)
{
    int64_t *steps;
    int n = list_steps(a, r->folder, &steps), limit = r->s->save_total_limit > 0 ? (int)r->s->save_total_limit : n;
    nc_error ignored = { 0 };
    for (int i = 0; i + limit < n; i++)
        nc_remove_tree(path_of(a, r->folder, steps[i]), &ignored);
}

int nc_checkpoint_write(nc_train_run *r, nc_error *e)
{
    nc_arena *a = nc_arena_new();
    const char *path = path_of(a, r->folder, r->step), *partial = nc_arena_printf(a, "%s/partial-%" PRId64, r->folder, r->step);
    int status = nc_remove_tree(partial, e);
    if (status == 0)
        status = nc_mkdirs(partial, e);
    if (status == 0)
        status = write_tensors(r, a, nc_path_join(a, partial, "trainer.safetensors"), e);
    if (status == 0)
        status = write_state(r, nc_path_join(a, partial, "trainer_state.json"), e);
    if (status == 0 && !nc_is_dir(path))
        status = nc_rename(partial, path, e);
    nc_error ignored = { 0 };
    nc_remove_tree(partial, &ignored);
    if (status == 0)
        prune(r, a);
    nc_arena_free(a);
    return status;
}

static int take(const nc_safetensors *f, const char *name, const nc_site *s, float *out, nc_error *e)
{
    const nc_stored *t = nc_safetensors_find(f, name);
    if (!t || t->dtype != NC_F32 || nc_shape_count(&t->shape) != nc_site_count(s))
        return nc_fail(e, NC_EFORMAT, "%s: %s is missing or of another shape", nc_safetensors_file(f, 0), name);
    memcpy(out, t->data, t->bytes);
    return 0;
}

static int read_tensors(nc_train_run *r, nc_arena *a, const char *path, nc_error *e)
{
    nc_safetensors *f = NULL;
    NC_TRY(nc_safetensors_open(path, &f, e));
    int status = 0;
    for (int i = 0; i < r->trained_count && status == 0; i++) {
        nc_site *s = r->trained[i];
        status = take(f, s->name, s, s->master, e);
        for (int k = 0; k < nc_optim_states(r->optim) && status == 0; k++)
            status = take(f, nc_arena_printf(a, "%s//%s", s->name, nc_optim_state_name(r->optim, k)), s, nc_optim_state(r->optim, i, k), e);
        if (status == 0)
            nc_site_refresh(s, r->pool, r->kernels);
    }
    for (int i = 0; i < r->l->model->site_count && status == 0; i++)
        if (is_running(r->l->model->sites[i]))
            status = take(f, r->l->model->sites[i]->name, r->l->model->sites[i], r->l->model->sites[i]->value.data, e);
    nc_safetensors_close(f);
    return status;
}

static bool same_hash(const nc_json *state, const char *key, uint64_t hash)
{
    char text[24];
    snprintf(text, sizeof text, "%016" PRIx64, hash);
    return !strcmp(nc_json_string(nc_json_get(state, key), ""), text);
}

static int resume_from(nc_train_run *r, nc_arena *a, const char *path, const nc_json *state, nc_error *e)
{
    bool recipe = same_hash(state, "recipe_hash", r->s->hash), data = same_hash(state, "data_hash", r->data_hash);
    if (!recipe || !data)
        return nc_fail(e, NC_EINVAL, "%s was made by another %s; overwrite_output_dir=true starts anew, another output_dir keeps both", path,
                       recipe ? "dataset" : data ? "recipe" : "recipe and dataset");
    NC_TRY(read_tensors(r, a, nc_path_join(a, path, "trainer.safetensors"), e));
    r->step = nc_json_int(nc_json_get(state, "global_step"), 0);
    r->tokens = nc_json_int(nc_json_get(state, "tokens"), 0);
    r->samples = nc_json_int(nc_json_get(state, "samples"), 0);
    r->seconds = nc_json_double(nc_json_get(state, "seconds"), 0);
    r->first_loss = nc_json_double(nc_json_get(state, "first_loss"), 0);
    r->last_loss = nc_json_double(nc_json_get(state, "last_loss"), 0);
    nc_optim_set_steps(r->optim, r->step);
    nc_info("going on from %s", path);
    return 0;
}

int nc_checkpoint_resume(nc_train_run *r, nc_error *e)
{
    nc_arena *a = nc_arena_new();
    int64_t *steps;
    int n = list_steps(a, r->folder, &steps), status = 0;
    for (int i = n - 1; i >= 0; i--) {
        const char *path = path_of(a, r->folder, steps[i]), *file = nc_path_join(a, path, "trainer_state.json");
        nc_json *state = NULL;
        nc_error broken = { 0 };
        if (!nc_file_exists(file) || nc_json_load(a, file, &state, &broken) < 0) {
            nc_warn("%s is not whole; looking for an older one", path);
            continue;
        }
        status = resume_from(r, a, path, state, e);
        break;
    }
    nc_arena_free(a);
    return status;
}

void nc_checkpoints_remove(const char *folder)
{
    nc_arena *a = nc_arena_new();
    int64_t *steps;
    nc_error ignored = { 0 };
    int n = list_steps(a, folder, &steps);
    for (int i = 0; i < n; i++)
        nc_remove_tree(path_of(a, folder, steps[i]), &ignored);
    nc_arena_free(a);
}

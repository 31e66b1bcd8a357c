/* weights.c - which sites a stage trains, and where their values come from: files, results of earlier stages, or random numbers. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "load/checkpoint.h"
#include "train/run.h"

static bool is_frozen(const nc_train_run *r, const nc_site *s)
{
    if (s->flags & NC_SITE_BUFFER)
        return true;
    if (!r->l->model->family->tower)
        return false;
    switch (nc_model_part(r->l->model, s)) {
    case NC_PART_TOWER:
        return r->s->freeze_vision_tower;
    case NC_PART_PROJECTOR:
        return r->s->freeze_multi_modal_projector;
    default:
        return r->s->freeze_language_model;
    }
}

/* Adapters are for the language model, and for the tower where it is not frozen; a head of the stage's own class is trained itself. */
static const char *const *without_adapters(const nc_train_run *r)
{
    const nc_model *m = r->l->model;
    const char **all = NC_NEW_ARRAY(r->arena, const char *, 32 + m->site_count);
    int n = 0;
    for (nc_part part = NC_PART_TOWER; part <= NC_PART_PROJECTOR; part++)
        for (const char *const *p = nc_model_part_names(r->l->model, part); p && *p && n < 31; p++)
            if (part == NC_PART_PROJECTOR || r->s->freeze_vision_tower)
                all[n++] = *p;
    for (int i = 0; r->own && i < m->site_count; i++)
        if (r->own[i])
            all[n++] = m->sites[i]->name;
    return all;
}

static int choose_lora(nc_train_run *r, nc_error *e)
{
    const nc_recipe_stage *s = r->s;
    if (s->adapter_name_or_path)
        return nc_peft_load(r->l->model, s->adapter_name_or_path, r->weights.compute, true, &r->lora, e);
    nc_lora_config c = { .r = (int)s->lora_rank, .alpha = (double)s->lora_alpha, .dropout = s->lora_dropout, .rslora = s->use_rslora, .target = s->lora_target,
                         .skip = without_adapters(r) };
    nc_json *all = nc_json_new_string(r->arena, NC_STR("all-linear"));
    nc_json *list = nc_json_new(r->arena, NC_JSON_ARRAY);
    const char *text = nc_json_string(s->lora_target, NULL);
    if (!s->lora_target)
        c.target = all;
    else if (text && strcmp(text, "all") && !strpbrk(text, "*\\[(|+^$")) {
        while (*text) {                              /* LLaMA-Factory writes a list as "q_proj,v_proj" */
            size_t n = strcspn(text, ",");
            nc_json_append(list, nc_json_new_string(r->arena, (nc_str){ nc_arena_strndup(r->arena, text, n), n }));
            text += n + (text[n] == ',');
        }
        c.target = strcmp(nc_json_string(s->lora_target, ""), "all-linear") ? list : all;
    }
    r->lora = nc_lora_new();
    NC_TRY(nc_lora_attach_targets(r->lora, r->l->model, &c, e));
    return nc_lora_allocate(r->lora, r->weights.compute, true, e);
}

int nc_train_choose(nc_train_run *r, nc_error *e)
{
    nc_model *m = r->l->model;
    bool lora = !strcmp(r->s->finetuning_type, "lora");
    int any = 0;
    for (int i = 0; i < m->site_count; i++) {
        m->sites[i]->trainable = nc_site_is_there(m->sites[i]) && (!lora || (r->own && r->own[i])) && !is_frozen(r, m->sites[i]);
        any += m->sites[i]->trainable;
    }
    NC_TRY(nc_weights_allocate(m, &r->weights, e));
    if (lora)
        return choose_lora(r, e);
    return any ? 0 : nc_fail(e, NC_EINVAL, "every part of the model is frozen; set freeze_multi_modal_projector, freeze_language_model or freeze_vision_tower to false");
}

static int copy_part(nc_train_run *r, const nc_model *from, const char *prefix, const char *into, nc_error *e)
{
    int copied = 0;
    for (int i = 0; i < from->site_count; i++) {
        const nc_site *s = from->sites[i];
        if (!nc_starts_with(s->name, prefix))
            continue;
        nc_buf name = { 0 };
        nc_buf_printf(&name, "%s%s", into, s->name + strlen(prefix));
        nc_site *t = nc_model_site(r->l->model, name.p);
        nc_buf_free(&name);
        if (!t)
            continue;
        if (!nc_shape_equal(&s->shape, &t->shape) || !nc_shape_equal(&s->file_shape, &t->file_shape)) {
            char have[96], want[96];
            return nc_fail(e, NC_ESHAPE, "%s is %s in the stage it comes from and %s here", t->name, nc_shape_str(&s->shape, have), nc_shape_str(&t->shape, want));
        }
        float *values = nc_xmalloc((size_t)nc_site_count(s) * sizeof *values + 64);
        int status = nc_site_read(s, NC_F32, values, e);
        if (status == 0)
            status = nc_site_fill(r->l->model, t, NC_F32, values, s->flags & NC_SITE_TRANSPOSED, &r->weights, e);
        free(values);
        NC_TRY(status);
        copied++;
    }
    return copied ? 0 : nc_fail(e, NC_ENOTFOUND, "compose: no weight under \"%s\" has a place under \"%s\"", prefix, into);
}

static int compose(nc_train_run *r, const nc_json *part, nc_error *e)
{
    const char *name = nc_json_string(nc_json_get(part, "from"), NULL), *prefix = nc_json_string(nc_json_get(part, "prefix"), ""),
               *into = nc_json_string(nc_json_get(part, "into"), ""), *folder;
    nc_loaded *l = NULL;
    if (!name)
        return nc_fail(e, NC_EINVAL, "compose: every entry needs from (a stage's name or a folder), and may have prefix and into");
    NC_TRY(nc_train_folder(r, name, &folder, e));
    nc_load_options o = { .weights = { .compute = NC_F32, .pool = r->pool, .kernels = r->kernels }, .no_front = true };
    NC_TRY(nc_load(folder, &o, &l, e));
    int status = copy_part(r, l->model, prefix, into, e);
    nc_loaded_free(l);
    return status;
}

int nc_train_fill(nc_train_run *r, nc_error *e)
{
    nc_model *m = r->l->model;
    if (r->source) {
        nc_checkpoint *f = NULL;
        nc_buf warn = { 0 };
        NC_TRY(nc_checkpoint_open(r->source, &f, e));
        int status = nc_weights_read(m, f, &r->weights, &warn, e);
        nc_checkpoint_close(f);
        if (status == 0 && warn.n)
            nc_warn("%s: %.*s", r->source, (int)strcspn(warn.p, "\n"), warn.p);
        nc_buf_free(&warn);
        NC_TRY(status);
        NC_TRY(nc_weights_init_fresh(m, (uint64_t)r->s->seed, &r->weights, e));
        for (int i = 0; r->class_changed && i < m->site_count; i++)      /* saved under the names of the class it is now */
            m->sites[i]->file_name = NULL;
    } else {
        NC_TRY(nc_weights_init(m, (uint64_t)r->s->seed, &r->weights, e));
    }
    NC_JSON_EACH(part, nc_json_is(r->s->compose, NC_JSON_ARRAY) ? r->s->compose : NULL)
        NC_TRY(compose(r, part, e));
    if (r->lora && !r->s->adapter_name_or_path)
        nc_lora_init(r->lora, (uint64_t)r->s->seed);
    return 0;
}

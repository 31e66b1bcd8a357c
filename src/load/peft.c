/* peft.c - which modules an adapter names, its two files, and merging. A module's name is its weight's without ".weight". */
#include "load/peft.h"

#include <stdlib.h>

#include "base/file.h"
#include "text/regex.h"

/* 1: pattern matches the whole name; 0: not; negative: a broken pattern. */
static int full_match(const char *pattern, const char *name, nc_error *e)
{
    nc_buf b = { 0 };
    nc_regex *re = NULL;
    size_t begin, end, n = strlen(name);
    nc_buf_printf(&b, "^(?:%s)$", pattern);
    int status = nc_regex_new((nc_str){ b.p, b.n }, &re, e);
    nc_buf_free(&b);
    if (status < 0)
        return status;
    nc_regex_scratch *scratch = nc_regex_scratch_new();
    bool found = nc_regex_find(re, scratch, (nc_str){ name, n }, 0, &begin, &end) && begin == 0 && end == n;
    nc_regex_scratch_free(scratch);
    nc_regex_free(re);
    return found;
}

static bool is_suffix(const char *name, const char *suffix)
{
    size_t n = strlen(name), k = strlen(suffix);
    return k <= n && !strcmp(name + n - k, suffix) && (k == n || name[n - k - 1] == '.');
}

static int names_module(const nc_json *names, const char *module, nc_error *e)
{
    if (nc_json_is(names, NC_JSON_STRING))
        return full_match(names->text.p, module, e);
    NC_JSON_EACH(n, nc_json_is(names, NC_JSON_ARRAY) ? names : NULL)
        if (is_suffix(module, nc_json_string(n, "\n")))
            return 1;
    return 0;
}

/* The number after the last ".<pattern>." (any word when no pattern is given) is among layers. */
static bool layer_fits(const nc_lora_config *c, const char *module)
{
    if (!c->layers || c->layers->type == NC_JSON_NULL || (nc_json_is(c->layers, NC_JSON_ARRAY) && c->layers->count == 0))
        return true;
    int64_t found = -1;
    for (const char *dot = strchr(module, '.'); dot; dot = strchr(dot + 1, '.')) {
        const char *end = strchr(dot + 1, '.'), *word = dot;
        int64_t n;
        if (!end)
            break;
        char digits[24];
        size_t length = (size_t)(end - dot - 1);
        if (length == 0 || length >= sizeof digits)
            continue;
        memcpy(digits, dot + 1, length);
        digits[length] = 0;
        if (!nc_parse_int(digits, &n))
            continue;
        while (word > module && word[-1] != '.')
            word--;
        size_t w = (size_t)(dot - word);
        if (!c->layers_pattern || !*c->layers_pattern || (strlen(c->layers_pattern) == w && !strncmp(c->layers_pattern, word, w)))
            found = n;
    }
    if (found < 0)
        return false;
    if (nc_json_is(c->layers, NC_JSON_NUMBER))
        return nc_json_int(c->layers, -1) == found;
    NC_JSON_EACH(l, c->layers)
        if (nc_json_int(l, -1) == found)
            return true;
    return false;
}

static bool is_linear(const nc_site *s)
{
    return (s->flags & NC_SITE_LINEAR) && s->shape.rank == 2 && s->file_shape.rank == 2 && nc_ends_with(s->name, ".weight");
}

static bool is_all(const nc_json *target)
{
    const char *t = nc_json_string(target, "");
    return !strcmp(t, "all-linear") || !strcmp(t, "all");
}

static bool is_skipped(const nc_lora_config *c, const char *name)
{
    for (const char *const *p = c->skip; p && *p; p++)
        if (nc_starts_with(name, *p))
            return true;
    return false;
}

static int wants(const nc_lora_config *c, const nc_site *s, bool is_head, const char *module, nc_error *e)
{
    int yes;
    if (is_all(c->target))
        yes = is_linear(s) && !is_head && !is_skipped(c, s->name);
    else
        yes = names_module(c->target, module, e);
    if (yes > 0 && c->exclude && c->exclude->type != NC_JSON_NULL) {
        int no = names_module(c->exclude, module, e);
        yes = no < 0 ? no : !no;
    }
    return yes > 0 ? layer_fits(c, module) : yes;
}

/* The value of the first pattern that fits the end of the module's name. */
static int patterned(const nc_json *patterns, const char *module, double fallback, double *out, nc_error *e)
{
    *out = fallback;
    NC_JSON_EACH(p, patterns) {
        nc_buf b = { 0 };
        nc_buf_printf(&b, "(.*\\.)?(%s)", p->key.p);
        int yes = full_match(b.p, module, e);
        nc_buf_free(&b);
        NC_TRY(yes);
        if (yes) {
            *out = nc_json_double(p, fallback);
            return 0;
        }
    }
    return 0;
}

static int attach_one(nc_lora *l, nc_site *s, const char *module, const nc_lora_config *c, nc_error *e)
{
    double r, alpha;
    NC_TRY(patterned(c->rank_pattern, module, c->r, &r, e));
    NC_TRY(patterned(c->alpha_pattern, module, c->alpha, &alpha, e));
    return nc_lora_attach(l, s, module, (int)r, alpha, c->rslora, c->dropout, e);
}

static int none_found(const nc_model *m, const nc_lora_config *c, nc_error *e)
{
    nc_buf target = { 0 };
    nc_json_write(&target, c->target, 0);
    const char *example = "none";
    for (int i = 0; i < m->site_count; i++)
        if (is_linear(m->sites[i]))
            example = m->sites[i]->name;
    nc_fail(e, NC_ENOTFOUND, "lora_target %s names no linear module of the model (one of its weights: %s)", target.p ? target.p : "", example);
    nc_buf_free(&target);
    return NC_ENOTFOUND;
}

int nc_lora_attach_targets(nc_lora *l, nc_model *m, const nc_lora_config *c, nc_error *e)
{
    nc_head head = { 0 };
    if (m->family->head)
        m->family->head(m->self, &head);
    for (int i = 0; i < m->site_count; i++) {
        nc_site *s = m->sites[i];
        if (!nc_ends_with(s->name, ".weight"))
            continue;
        const char *module = nc_arena_strndup(l->arena, s->name, strlen(s->name) - strlen(".weight"));
        bool is_head = s == head.w || s == head.more;
        int yes = wants(c, s, is_head, module, e);
        NC_TRY(yes);
        if (!yes)
            continue;
        if (is_head || !is_linear(s))
            return nc_fail(e, NC_EUNSUPPORTED, "LoRA on %s: only linear layers inside the model are adapted here, no embeddings and no head", module);
        NC_TRY(attach_one(l, s, module, c, e));
    }
    return l->count ? 0 : none_found(m, c, e);
}

/* ---- files ---- */

static const char prefix[] = "base_model.model.";

static nc_json *whole_modules(const nc_lora_config *c, nc_arena *a)
{
    nc_json *list = nc_json_new(a, NC_JSON_ARRAY);
    for (int i = 0; i < c->whole_count; i++) {
        const char *name = c->whole[i]->name, *dot = strrchr(name, '.');
        nc_str module = { name, dot ? (size_t)(dot - name) : strlen(name) };
        bool there = false;
        NC_JSON_EACH(m, list)
            there |= nc_str_eq(m->text, module);
        if (!there)
            nc_json_append(list, nc_json_new_string(a, (nc_str){ nc_arena_strndup(a, module.p, module.n), module.n }));
    }
    return list;
}

static void config_tree(const nc_lora *l, const nc_lora_config *c, nc_arena *a, nc_json *o)
{
    nc_json *modules = nc_json_new(a, NC_JSON_ARRAY);
    for (int i = 0; i < l->count; i++) {
        const char *name = l->pair[i]->target->name;
        nc_json_append(modules, nc_json_new_string(a, (nc_str){ name, strlen(name) - strlen(".weight") }));
    }
    bool named = c->target && !is_all(c->target);
    nc_json_set(a, o, "peft_type", nc_json_new_string(a, NC_STR("LORA")));
    nc_json_set(a, o, "task_type", c->task_type && !*c->task_type ? nc_json_new(a, NC_JSON_NULL) : nc_json_new_string(a, nc_str_of(c->task_type ? c->task_type : "CAUSAL_LM")));
    nc_json_set(a, o, "base_model_name_or_path", c->base ? nc_json_new_string(a, nc_str_of(c->base)) : nc_json_new(a, NC_JSON_NULL));
    nc_json_set(a, o, "r", nc_json_new_int(a, c->r));
    nc_json_set(a, o, "lora_alpha", nc_json_new_double(a, c->alpha));
    nc_json_set(a, o, "lora_dropout", nc_json_new_double(a, c->dropout));
    nc_json_set(a, o, "use_rslora", nc_json_new_bool(a, c->rslora));
    nc_json_set(a, o, "use_dora", nc_json_new_bool(a, false));
    nc_json_set(a, o, "bias", nc_json_new_string(a, NC_STR("none")));
    nc_json_set(a, o, "fan_in_fan_out", nc_json_new_bool(a, l->count && (l->pair[0]->target->flags & NC_SITE_TRANSPOSED)));
    nc_json_set(a, o, "inference_mode", nc_json_new_bool(a, true));
    nc_json_set(a, o, "target_modules", named ? nc_json_clone(a, c->target) : modules);
    nc_json_set(a, o, "exclude_modules", c->exclude ? nc_json_clone(a, c->exclude) : nc_json_new(a, NC_JSON_NULL));
    nc_json_set(a, o, "layers_to_transform", c->layers ? nc_json_clone(a, c->layers) : nc_json_new(a, NC_JSON_NULL));
    nc_json_set(a, o, "layers_pattern", c->layers_pattern ? nc_json_new_string(a, nc_str_of(c->layers_pattern)) : nc_json_new(a, NC_JSON_NULL));
    nc_json_set(a, o, "rank_pattern", c->rank_pattern ? nc_json_clone(a, c->rank_pattern) : nc_json_new(a, NC_JSON_OBJECT));
    nc_json_set(a, o, "alpha_pattern", c->alpha_pattern ? nc_json_clone(a, c->alpha_pattern) : nc_json_new(a, NC_JSON_OBJECT));
    nc_json_set(a, o, "modules_to_save", c->whole_count ? whole_modules(c, a) : nc_json_new(a, NC_JSON_NULL));
}

int nc_peft_save(const nc_lora *l, const nc_lora_config *c, const char *folder, nc_error *e)
{
    nc_arena *a = nc_arena_new();
    nc_store *stores = NC_NEW_ARRAY(a, nc_store, 2 * l->count + c->whole_count + 1);
    int status = nc_mkdirs(folder, e), count = 2 * l->count;
    for (int i = 0; i < c->whole_count && status == 0; i++, count++) {
        float *values = NC_NEW_ARRAY(a, float, nc_site_count(c->whole[i]) + 1);
        status = nc_site_read(c->whole[i], NC_F32, values, e);
        stores[count] = (nc_store){ nc_arena_printf(a, "%s%s", prefix, c->whole[i]->name), NC_F32, c->whole[i]->file_shape, values };
    }
    for (int i = 0; i < 2 * l->count; i++) {
        const nc_site *s = i % 2 ? &l->pair[i / 2]->b : &l->pair[i / 2]->a;
        int64_t n = nc_site_count(s);
        float *values = NC_NEW_ARRAY(a, float, n);
        for (int64_t j = 0; j < n; j++)
            values[j] = s->master ? s->master[j] : (float)nc_dtype_load(s->value.dtype, s->value.data, j);
        stores[i] = (nc_store){ nc_arena_printf(a, "%s%s", prefix, s->name), NC_F32, s->shape, values };
    }
    if (status == 0)
        status = nc_safetensors_write(nc_path_join(a, folder, "adapter_model.safetensors"), stores, count, NULL, NULL, NULL, e);
    nc_json *o = nc_json_new(a, NC_JSON_OBJECT);
    nc_buf text = { 0 };
    config_tree(l, c, a, o);
    nc_json_write(&text, o, 2);
    if (status == 0)
        status = nc_file_write(nc_path_join(a, folder, "adapter_config.json"), text.p, text.n, e);
    nc_buf_free(&text);
    nc_arena_free(a);
    return status;
}

static int refuse_others(const nc_json *o, const char *path, nc_error *e)
{
    static const char *const flags[] = { "use_dora", "use_qalora", "use_bdlora", "lora_bias" };
    static const char *const trees[] = { "modules_to_save", "trainable_token_indices", "layer_replication", "target_parameters", "alora_invocation_tokens", "arrow_config" };
    if (strcmp(nc_json_string(nc_json_get(o, "peft_type"), "LORA"), "LORA"))
        return nc_fail(e, NC_EUNSUPPORTED, "%s: peft_type %s is not known here; LORA is", path, nc_json_string(nc_json_get(o, "peft_type"), "?"));
    if (strcmp(nc_json_string(nc_json_get(o, "bias"), "none"), "none"))
        return nc_fail(e, NC_EUNSUPPORTED, "%s: bias %s; adapters that train biases are not read here", path, nc_json_string(nc_json_get(o, "bias"), "?"));
    for (int i = 0; i < NC_COUNT(flags); i++)
        if (nc_json_bool(nc_json_get(o, flags[i]), false))
            return nc_fail(e, NC_EUNSUPPORTED, "%s: %s is not known here", path, flags[i]);
    for (int i = 0; i < NC_COUNT(trees); i++) {
        const nc_json *v = nc_json_get(o, trees[i]);
        if (v && v->type != NC_JSON_NULL && !(v->type == NC_JSON_ARRAY && v->count == 0))
            return nc_fail(e, NC_EUNSUPPORTED, "%s: %s is not known here", path, trees[i]);
    }
    return 0;
}

static int fill_factor(nc_site *s, const nc_safetensors *f, nc_error *e)
{
    nc_buf name = { 0 };
    nc_buf_printf(&name, "%s%s", prefix, s->name);
    const nc_stored *t = nc_safetensors_find(f, name.p);
    nc_buf_free(&name);
    if (!t)
        return nc_fail(e, NC_ENOTFOUND, "%s: tensor %s%s is missing", nc_safetensors_file(f, 0), prefix, s->name);
    if (!nc_shape_equal(&t->shape, &s->shape) || nc_dtype_get(t->dtype)->is_quantized) {
        char have[96], want[96];
        return nc_fail(e, NC_ESHAPE, "%s: %s has shape %s, the model and rank make it %s", nc_safetensors_file(f, 0), t->name, nc_shape_str(&t->shape, have),
                       nc_shape_str(&s->shape, want));
    }
    int64_t n = nc_site_count(s);
    float *values = nc_xmalloc(sizeof *values * (size_t)n + 64);
    for (int64_t i = 0; i < n; i++)
        values[i] = (float)nc_dtype_load(t->dtype, t->data, i);
    nc_lora_fill(s, values);
    free(values);
    return 0;
}

static int load_adapter(nc_model *m, const char *folder, nc_dtype compute, bool train, nc_lora *l, nc_error *e)
{
    nc_json *o = NULL;
    nc_safetensors *f = NULL;
    const char *path = nc_path_join(l->arena, folder, "adapter_config.json");
    NC_TRY(nc_json_load(l->arena, path, &o, e));
    NC_TRY(refuse_others(o, path, e));
    nc_lora_config c = { .r = (int)nc_json_int(nc_json_get(o, "r"), 8), .alpha = nc_json_double(nc_json_get(o, "lora_alpha"), 8),
                         .dropout = train ? nc_json_double(nc_json_get(o, "lora_dropout"), 0) : 0, .rslora = nc_json_bool(nc_json_get(o, "use_rslora"), false),
                         .target = nc_json_get(o, "target_modules"), .exclude = nc_json_get(o, "exclude_modules"), .layers = nc_json_get(o, "layers_to_transform"),
                         .layers_pattern = nc_json_string(nc_json_get(o, "layers_pattern"), NULL), .rank_pattern = nc_json_get(o, "rank_pattern"),
                         .alpha_pattern = nc_json_get(o, "alpha_pattern") };
    NC_TRY(nc_lora_attach_targets(l, m, &c, e));
    NC_TRY(nc_lora_allocate(l, compute, train, e));
    NC_TRY(nc_safetensors_open(nc_path_join(l->arena, folder, "adapter_model.safetensors"), &f, e));
    int status = 0;
    for (int i = 0; i < l->count && status == 0; i++) {
        status = fill_factor(&l->pair[i]->a, f, e);
        if (status == 0)
            status = fill_factor(&l->pair[i]->b, f, e);
    }
    if (status == 0 && nc_safetensors_count(f) != 2 * l->count)
        status = nc_fail(e, NC_EFORMAT, "%s holds %d tensors, its config names %d", nc_safetensors_file(f, 0), nc_safetensors_count(f), 2 * l->count);
    nc_safetensors_close(f);
    return status;
}

int nc_peft_load(nc_model *m, const char *folder, nc_dtype compute, bool train, nc_lora **out, nc_error *e)
{
    nc_lora *l = nc_lora_new();
    int status = load_adapter(m, folder, compute, train, l, e);
    if (status < 0) {
        nc_fail_in(e, "%s", folder);
        nc_lora_free(l);
        return status;
    }
    *out = l;
    return 0;
}

int nc_lora_merge(const nc_lora *l, nc_model *m, const nc_weights_options *o, nc_error *e)
{
    for (int i = 0; i < l->count; i++) {
        nc_site *s = l->pair[i]->target;
        int64_t out = s->shape.dim[0], in = s->shape.dim[1];
        bool transposed = s->flags & NC_SITE_TRANSPOSED;
        float *file = nc_xmalloc(sizeof *file * (size_t)(out * in) + 64), *w = transposed ? nc_xmalloc(sizeof *w * (size_t)(out * in) + 64) : file;
        int status = nc_site_read(s, NC_F32, file, e);
        for (int64_t j = 0; transposed && j < out * in; j++)
            w[j] = file[j % in * out + j / in];
        if (status == 0) {
            nc_lora_add_delta(l->pair[i], w);
            status = nc_site_fill(m, s, NC_F32, w, false, o, e);
        }
        if (w != file)
            free(w);
        free(file);
        NC_TRY(status);
    }
    return 0;
}

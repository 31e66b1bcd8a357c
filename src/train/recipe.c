/* recipe.c - the recipe's tree to stages: overrides laid over the common keys, every key checked against one table. */
#include "train/recipe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"

enum key_type { KEY_STRING, KEY_INT, KEY_FLOAT, KEY_BOOL, KEY_TREE, KEY_COUNT /* an integer, at least 1 */, KEY_WHEN /* a string; YAML reads a bare no as false */ };
enum { AFTER = 1 };                  /* may change between runs without changing the result */

struct key { const char *name; enum key_type type; size_t at; unsigned flags; };
#define K(name, type) { #name, type, offsetof(nc_recipe_stage, name), 0 }
#define L(name, type) { #name, type, offsetof(nc_recipe_stage, name), AFTER }
static const struct key keys[] = {
    K(name, KEY_STRING), K(stage, KEY_STRING), K(finetuning_type, KEY_STRING), K(model_name_or_path, KEY_STRING), K(adapter_name_or_path, KEY_STRING),
    K(tokenizer_name_or_path, KEY_STRING), K(train_from_scratch, KEY_BOOL), K(freeze_vision_tower, KEY_BOOL), K(freeze_multi_modal_projector, KEY_BOOL),
    K(freeze_language_model, KEY_BOOL), K(model_config, KEY_TREE), K(image_processor, KEY_TREE), K(augment, KEY_TREE), K(compose, KEY_TREE), K(tokenizer_vocab_size, KEY_INT), K(tokenizer_dataset, KEY_STRING),
    K(lora_rank, KEY_COUNT), K(lora_alpha, KEY_INT), K(lora_dropout, KEY_FLOAT), K(lora_target, KEY_TREE), K(use_rslora, KEY_BOOL), K(merge_adapter, KEY_BOOL),
    K(dataset, KEY_STRING), K(eval_dataset, KEY_STRING), K(dataset_dir, KEY_STRING), K(media_dir, KEY_STRING), K(template, KEY_STRING), K(cutoff_len, KEY_COUNT),
    K(max_samples, KEY_INT), K(video_maxlen, KEY_COUNT), K(video_fps, KEY_FLOAT), K(image_max_pixels, KEY_COUNT), K(image_min_pixels, KEY_COUNT),
    K(video_max_pixels, KEY_COUNT), K(video_min_pixels, KEY_COUNT), K(val_size, KEY_FLOAT), L(media_memory_gb, KEY_FLOAT), K(packing, KEY_BOOL), K(train_on_prompt, KEY_BOOL),
    K(mask_history, KEY_BOOL), L(output_dir, KEY_STRING), L(save_strategy, KEY_WHEN), K(eval_strategy, KEY_WHEN), L(overwrite_output_dir, KEY_BOOL),
    L(logging_steps, KEY_COUNT), L(save_steps, KEY_COUNT), L(save_total_limit, KEY_INT), L(eval_steps, KEY_COUNT), K(per_device_train_batch_size, KEY_COUNT),
    L(per_device_eval_batch_size, KEY_COUNT), K(gradient_accumulation_steps, KEY_COUNT), K(max_steps, KEY_INT), K(warmup_steps, KEY_INT), K(seed, KEY_INT),
    K(data_seed, KEY_INT), K(learning_rate, KEY_FLOAT), K(num_train_epochs, KEY_FLOAT), K(warmup_ratio, KEY_FLOAT), K(weight_decay, KEY_FLOAT),
    K(adam_beta1, KEY_FLOAT), K(adam_beta2, KEY_FLOAT), K(adam_epsilon, KEY_FLOAT), K(max_grad_norm, KEY_FLOAT), K(moe_aux_loss_coef, KEY_FLOAT), L(memory_limit_gb, KEY_FLOAT),
    K(lr_scheduler_type, KEY_STRING), K(optim, KEY_STRING), K(lr_scheduler_kwargs, KEY_TREE), K(bf16, KEY_BOOL), L(gradient_checkpointing, KEY_BOOL), K(do_train, KEY_BOOL),
    K(problem_type, KEY_STRING), K(ignore_mismatched_sizes, KEY_BOOL), K(mlm_probability, KEY_FLOAT),
};

/* Keys of LLaMA-Factory's examples and arguments that say nothing to a CPU program with one process. */
static const char *const meaningless[] = {
    "plot_loss", "preprocessing_num_workers", "dataloader_num_workers", "overwrite_cache", "ddp_timeout", "report_to", "resume_from_checkpoint", "trust_remote_code", "flash_attn",
    "deepspeed", "fsdp", "fsdp_config", "save_only_model", "include_num_input_tokens_seen", "use_fast_tokenizer", "low_cpu_mem_usage",
    "disable_gradient_checkpointing", "use_reentrant_gc", "enable_liger_kernel", "use_unsloth", "cache_dir", "hf_hub_token",
    "ms_hub_token", "om_hub_token", "push_to_hub", "run_name", "tokenized_path", "streaming", "buffer_size", "preprocessing_batch_size", "data_shared_file_system",
    "print_param_status", "logging_first_step", "log_level", "disable_tqdm", "neat_packing", "ignore_pad_token_for_loss", "upcast_layernorm", "upcast_lmhead_output", "pure_bf16",
    "include_effective_tokens_per_second", "max_new_tokens", "predict_with_generate", "export_dir", "infer_backend", "do_eval", "do_predict", "dataloader_pin_memory", "local_rank",
    "remove_unused_columns", "group_by_length", "length_column_name", "torch_compile", "tf32", "use_cache", "crop_to_patches", "load_best_model_at_end", "logging_dir",
    "logging_strategy", "lora_seed", "ddp_find_unused_parameters", "fp16",
};

static void defaults(nc_recipe_stage *s)
{
    *s = (nc_recipe_stage){
        .stage = "sft", .finetuning_type = "full", .freeze_vision_tower = true, .freeze_multi_modal_projector = true, .lora_rank = 8, .merge_adapter = true,
        .dataset_dir = "data", .cutoff_len = 2048, .video_maxlen = 0, .media_memory_gb = 4, .output_dir = "saves", .save_strategy = "steps", .eval_strategy = "no",
        .logging_steps = 10, .save_steps = 500, .save_total_limit = 2, .eval_steps = 500, .per_device_train_batch_size = 8, .per_device_eval_batch_size = 8,
        .gradient_accumulation_steps = 1, .max_steps = -1, .seed = 42, .data_seed = -1, .learning_rate = 5e-5, .num_train_epochs = 3, .adam_beta1 = 0.9, .adam_beta2 = 0.999,
        .adam_epsilon = 1e-8, .max_grad_norm = 1, .moe_aux_loss_coef = -1, .lr_scheduler_type = "linear", .optim = "adamw_torch", .do_train = true, .lora_alpha = 0, .mlm_probability = 0.15,
    };
}

static const struct key *find_key(const char *name)
{
    for (int i = 0; i < NC_COUNT(keys); i++)
        if (!strcmp(keys[i].name, name))
            return &keys[i];
    return NULL;
}

static bool is_meaningless(const char *name)
{
    for (int i = 0; i < NC_COUNT(meaningless); i++)
        if (!strcmp(meaningless[i], name))
            return true;
    return false;
}

/* "recipe.yaml:12", or what stands for it when the command line said it (line 0). */
static const char *place(nc_arena *a, const char *path, const nc_json *v)
{
    return v->line ? nc_arena_printf(a, "%s:%d", path, v->line) : "the command line";
}

static int wrong(nc_arena *a, const char *path, const nc_json *v, const char *what, nc_error *e)
{
    return nc_fail(e, NC_EINVAL, "%s: %s must be %s", place(a, path, v), v->key.p, what);
}

static int read_value(const struct key *k, const nc_json *v, const char *path, nc_arena *a, nc_recipe_stage *s, nc_error *e)
{
    char *at = (char *)s + k->at;
    int64_t n;
    if (v->type == NC_JSON_NULL)
        return 0;
    if (k->type == KEY_WHEN && v->type == NC_JSON_BOOL && !v->boolean) {
        *(const char **)at = "no";
        return 0;
    }
    switch (k->type) {
    case KEY_WHEN:
    case KEY_STRING:
        if (nc_json_is(v, NC_JSON_ARRAY) && v->first) {
            nc_buf b = { 0 };
            NC_JSON_EACH(i, v)
                nc_buf_printf(&b, "%s%s", i == v->first ? "" : ",", nc_json_string(i, ""));
            *(const char **)at = nc_arena_strdup(a, b.p);
            nc_buf_free(&b);
            return 0;
        }
        if (v->type != NC_JSON_STRING && v->type != NC_JSON_NUMBER)
            return wrong(a, path, v, "a string", e);
        *(const char **)at = nc_arena_strndup(a, v->text.p, v->text.n);
        return 0;
    case KEY_INT:
    case KEY_COUNT:
        if (v->type != NC_JSON_NUMBER || !nc_json_int_exact(v, &n) || n < (k->type == KEY_COUNT ? 1 : -1) || n > INT64_C(1) << 53)
            return wrong(a, path, v, k->type == KEY_COUNT ? "a whole number, at least 1" : "a whole number", e);
        *(int64_t *)at = n;
        return 0;
    case KEY_FLOAT:
        if (v->type != NC_JSON_NUMBER || !(nc_json_double(v, -1) >= 0))
            return wrong(a, path, v, "a number, at least 0", e);
        *(double *)at = nc_json_double(v, 0);
        return 0;
    case KEY_BOOL:
        if (v->type != NC_JSON_BOOL)
            return wrong(a, path, v, "true or false", e);
        *(bool *)at = v->boolean;
        return 0;
    default:
        *(const nc_json **)at = v;
        return 0;
    }
}

static int one_of(const char *path, const char *key, const char *value, const char *const *allowed, int n, nc_error *e)
{
    nc_buf all = { 0 };
    for (int i = 0; i < n; i++) {
        if (!strcmp(value, allowed[i])) {
            nc_buf_free(&all);
            return i;
        }
        nc_buf_printf(&all, "%s%s", i ? ", " : "", allowed[i]);
    }
    nc_fail(e, NC_EINVAL, "%s: %s: \"%s\" is none of %s", path, key, value, all.p);
    nc_buf_free(&all);
    return NC_EINVAL;
}

static int check_stage(nc_recipe_stage *s, const char *path, nc_error *e)
{
    static const char *const types[] = { "full", "lora" }, *const when[] = { "no", "steps", "epoch" },
                      *const problems[] = { "single_label_classification", "multi_label_classification", "regression" };
    const char *names[16];
    int count, which;
    const nc_objective *const *all = nc_objectives(&count);
    for (int i = 0; i < count && i < NC_COUNT(names); i++)
        names[i] = all[i]->stage;
    which = one_of(path, "stage", s->stage, names, count, e);
    NC_TRY(which);
    s->objective = all[which];
    NC_TRY(one_of(path, "finetuning_type", s->finetuning_type, types, 2, e));
    NC_TRY(one_of(path, "save_strategy", s->save_strategy, when, 3, e));
    NC_TRY(one_of(path, "eval_strategy", s->eval_strategy, when, 3, e));
    if (s->problem_type)
        NC_TRY(one_of(path, "problem_type", s->problem_type, problems, 3, e));
    if (!s->dataset)
        return nc_fail(e, NC_EINVAL, "%s: dataset is not set", path);
    if (s->train_from_scratch && !s->model_config)
        return nc_fail(e, NC_EINVAL, "%s: train_from_scratch needs model_config (a map, or the path of a config.json)", path);
    if (s->train_from_scratch && !strcmp(s->finetuning_type, "lora"))
        return nc_fail(e, NC_EINVAL, "%s: finetuning_type lora adapts a trained model; train_from_scratch has none", path);
    if (s->val_size >= 1 && s->val_size != (double)(int64_t)s->val_size)
        return nc_fail(e, NC_EINVAL, "%s: val_size is a share below 1 or a whole number of samples", path);
    if (s->mlm_probability <= 0 || s->mlm_probability > 1)
        return nc_fail(e, NC_EINVAL, "%s: mlm_probability is a share of the words, above 0 and at most 1", path);
    if (s->warmup_ratio > 1 || s->lora_dropout >= 1)
        return nc_fail(e, NC_EINVAL, "%s: %s must be below 1", path, s->warmup_ratio > 1 ? "warmup_ratio" : "lora_dropout");
    if (s->lora_alpha <= 0)
        s->lora_alpha = 2 * s->lora_rank;
    if (s->data_seed < 0)
        s->data_seed = s->seed;
    if (!s->packing_given)
        s->packing = s->objective->packs;
    return 0;
}

static void hash_stage(const nc_json *tree, nc_recipe_stage *s)
{
    nc_buf b = { 0 };
    NC_JSON_EACH(v, tree) {
        const struct key *k = find_key(v->key.p);
        if (!k || (k->flags & AFTER))
            continue;
        nc_buf_printf(&b, "%s=", k->name);
        nc_json_write(&b, v, 0);
        nc_buf_addc(&b, '\n');
    }
    s->hash = nc_hash64(b.p ? b.p : "", b.n, 1);
    nc_buf_free(&b);
}

static int read_stage(nc_recipe *r, const nc_json *tree, nc_recipe_stage *s, nc_error *e)
{
    const char *known[NC_COUNT(keys) + 1];
    defaults(s);
    NC_JSON_EACH(v, tree) {
        const struct key *k = find_key(v->key.p);
        if (k) {
            NC_TRY(read_value(k, v, r->path, r->arena, s, e));
            s->packing_given |= !strcmp(k->name, "packing");
            continue;
        }
        if (is_meaningless(v->key.p)) {
            if (!r->warnings.n || !strstr(r->warnings.p, nc_arena_printf(r->arena, " %s ", v->key.p)))
                nc_buf_printf(&r->warnings, "%s: the key %s has no meaning here and is passed over\n", place(r->arena, r->path, v), v->key.p);
            continue;
        }
        for (int i = 0; i < NC_COUNT(keys); i++)
            known[i] = keys[i].name;
        known[NC_COUNT(keys)] = "stages";
        const char *near = nc_nearest(v->key.p, known, NC_COUNT(known));
        return nc_fail(e, NC_EINVAL, "%s: unknown key \"%s\"%s%s", place(r->arena, r->path, v), v->key.p, near ? "; nearest is " : "", near ? near : "");
    }
    NC_TRY(check_stage(s, r->path, e));
    hash_stage(tree, s);
    return 0;
}

static void lay_over(nc_arena *a, nc_json *tree, const nc_json *over)
{
    NC_JSON_EACH(v, over)
        if (strcmp(v->key.p, "stages"))
            nc_json_set(a, tree, v->key.p, nc_json_clone(a, v));
}

/* "key=value"; the value is a YAML scalar or flow collection. */
static int parse_override(nc_arena *a, const char *text, const char **key, nc_json **value, nc_error *e)
{
    const char *equals = strchr(text, '=');
    if (!equals || equals == text)
        return nc_fail(e, NC_EINVAL, "\"%s\" is no override; write key=value", text);
    *key = nc_arena_strndup(a, text, (size_t)(equals - text));
    if (!equals[1]) {
        *value = nc_json_new_string(a, NC_STR(""));
        return 0;
    }
    return nc_yaml_parse(a, nc_str_of(equals + 1), text, value, e);
}

/* stages.<index or name>.key: the stage's tree and what is left of the key. */
static nc_json *addressed(const nc_json *list, const char *key, const char **rest)
{
    const char *dot = strchr(key, '.');
    int i = 0;
    if (!dot)
        return NULL;
    for (nc_json *s = list ? list->first : NULL; s; s = s->next, i++) {
        char number[16];
        const char *name = nc_json_string(nc_json_get(s, "name"), "");
        snprintf(number, sizeof number, "%d", i);
        if ((strlen(number) == (size_t)(dot - key) && !strncmp(number, key, (size_t)(dot - key))) || (strlen(name) == (size_t)(dot - key) && !strncmp(name, key, (size_t)(dot - key)))) {
            *rest = dot + 1;
            return s;
        }
    }
    return NULL;
}

static int build(nc_recipe *r, nc_json *root, char *const *overrides, int n, nc_error *e)
{
    nc_arena *a = r->arena;
    nc_json *list = (nc_json *)nc_json_get(root, "stages"), *over = nc_json_new(a, NC_JSON_OBJECT);
    if (!nc_json_is(root, NC_JSON_OBJECT))
        return nc_fail(e, NC_EFORMAT, "%s: a recipe is a map of keys", r->path);
    if (list && !nc_json_is(list, NC_JSON_ARRAY))
        return nc_fail(e, NC_EFORMAT, "%s:%d: stages must be a list", r->path, list->line);
    for (int i = 0; i < n; i++) {
        const char *key = NULL, *rest = NULL;
        nc_json *value;
        NC_TRY(parse_override(a, overrides[i], &key, &value, e));
        value->line = 0;
        if (nc_starts_with(key, "stages.")) {
            nc_json *stage = addressed(list, key + 7, &rest);
            if (!stage || !nc_json_is(stage, NC_JSON_OBJECT))
                return nc_fail(e, NC_ENOTFOUND, "%s: the recipe has no stage of that number or name", overrides[i]);
            nc_json_set(a, stage, rest, value);
        } else {
            nc_json_set(a, over, key, value);
        }
    }
    r->staged = list && list->count > 0;
    r->count = r->staged ? list->count : 1;
    r->stages = NC_NEW_ARRAY(a, nc_recipe_stage, r->count);
    for (int i = 0; i < r->count; i++) {
        nc_json *tree = nc_json_new(a, NC_JSON_OBJECT);
        const nc_json *stage = r->staged ? nc_json_at(list, i) : NULL;
        if (stage && !nc_json_is(stage, NC_JSON_OBJECT))
            return nc_fail(e, NC_EFORMAT, "%s:%d: a stage is a map of keys", r->path, stage->line);
        lay_over(a, tree, root);
        lay_over(a, tree, stage);
        lay_over(a, tree, over);
        NC_TRY(read_stage(r, tree, &r->stages[i], e));
    }
    r->output_dir = r->stages[0].output_dir;
    r->overwrite_output_dir = r->stages[0].overwrite_output_dir;
    return 0;
}

int nc_recipe_parse(nc_str text, const char *path, char *const *overrides, int n, nc_recipe **out, nc_error *e)
{
    nc_arena *a = nc_arena_new();
    nc_recipe *r = NC_NEW(a, nc_recipe);
    nc_json *root = NULL;
    r->arena = a;
    r->path = nc_arena_strdup(a, path);
    int status = nc_yaml_parse(a, text, r->path, &root, e);
    if (status == 0)
        status = build(r, root, overrides, n, e);
    if (status < 0) {
        nc_recipe_free(r);
        return status;
    }
    *out = r;
    return 0;
}

int nc_recipe_load(const char *path, char *const *overrides, int n, nc_recipe **out, nc_error *e)
{
    nc_buf text = { 0 };
    NC_TRY(nc_file_read(path, 16 << 20, &text, e));
    int status = nc_recipe_parse((nc_str){ text.p ? text.p : "", text.n }, path, overrides, n, out, e);
    nc_buf_free(&text);
    return status;
}

void nc_recipe_free(nc_recipe *r)
{
    if (!r)
        return;
    nc_buf_free(&r->warnings);
    nc_arena_free(r->arena);
}

/* config.c - the reader that remembers which keys were asked for. */
#include "models/config.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "nn/build.h"

/* Keys that change neither the forward pass nor training, in every family: provenance, generation and pipeline settings, regularization that the recipe sets. */
static const char *const meaningless[] = {
    "_name_or_path", "architectures", "transformers_version", "torch_dtype", "dtype", "model_type", "use_cache", "bos_token_id", "eos_token_id", "pad_token_id",
    "sep_token_id", "cls_token_id", "unk_token_id", "decoder_start_token_id", "task_specific_params", "id2label", "label2id", "num_labels", "output_attentions", "output_hidden_states", "return_dict",
    "use_return_dict", "torchscript", "tie_encoder_decoder", "pruned_heads", "initializer_range", "attn_implementation", "_attn_implementation", "_attn_implementation_autoset",
    "pretraining_tp", "finetuning_task", "problem_type", "tokenizer_class", "prefix", "chunk_size_feed_forward", "is_encoder_decoder", "is_decoder", "add_cross_attention",
    "cross_attention_hidden_size", "use_bfloat16", "tf_legacy_loss", "early_stopping", "max_length", "min_length", "do_sample", "num_beams", "num_beam_groups",
    "diversity_penalty", "temperature", "top_k", "top_p", "typical_p", "repetition_penalty", "length_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size",
    "bad_words_ids", "num_return_sequences", "output_scores", "return_dict_in_generate", "forced_bos_token_id", "forced_eos_token_id", "remove_invalid_values",
    "exponential_decay_length_penalty", "suppress_tokens", "begin_suppress_tokens", "auto_map", "quantization_config", NULL,
};

struct shared { char message[600]; bool failed; nc_config_notes *notes; };     /* notes: of a trial; NULL else */

struct nc_config {
    nc_arena *arena;
    const nc_json *object;
    const char *where;
    bool *read;
    struct shared *shared;
    nc_config *child, *next;
};

static nc_config *new_reader(nc_arena *a, const nc_json *object, const char *where, struct shared *shared)
{
    nc_config *r = NC_NEW(a, nc_config);
    *r = (nc_config){ .arena = a, .object = object, .where = where, .shared = shared };
    r->read = NC_NEW_ARRAY(a, bool, object ? object->count + 1 : 1);
    return r;
}

nc_config *nc_config_new(nc_arena *a, const nc_json *object, const char *where)
{
    return new_reader(a, object, where, NC_NEW(a, struct shared));
}

nc_config *nc_config_new_trial(nc_arena *a, const nc_json *object, nc_config_notes *notes)
{
    nc_config *r = nc_config_new(a, object, "");
    r->shared->notes = notes;
    *notes = (nc_config_notes){ .missing = NC_NEW(a, const char *), .mistakes = NC_NEW(a, const char *), .unread = NC_NEW(a, const char *) };
    return r;
}

/* The list grows by doubling; one place is always left for its end. */
static void note(nc_config *r, const char ***list, int *count, const char *text)
{
    if ((*count & (*count + 1)) == 0) {
        const char **more = NC_NEW_ARRAY(r->arena, const char *, 2 * *count + 2);
        memcpy(more, *list, sizeof *more * (size_t)*count);
        *list = more;
    }
    (*list)[(*count)++] = *r->where ? nc_arena_printf(r->arena, "%s.%s", r->where, text) : nc_arena_strdup(r->arena, text);
}

static void mistake(nc_config *r, bool breaks, const char *format, va_list args)
{
    nc_config_notes *n = r->shared->notes;
    nc_error e = { 0 };
    if (r->shared->failed)
        return;
    nc_failv(&e, NC_EINVAL, format, args);
    if (n) {
        n->broken |= breaks;
        note(r, &n->mistakes, &n->mistake_count, e.message);
        return;
    }
    r->shared->failed = true;
    snprintf(r->shared->message, sizeof r->shared->message, "%s: %.500s", r->where, e.message);
}

void nc_config_mistake(nc_config *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    mistake(r, true, format, args);
    va_end(args);
}

void nc_config_differs(nc_config *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    mistake(r, false, format, args);
    va_end(args);
}

/* The families' words for the same quantity. */
static const char *const words[][8] = {
    { "hidden_size", "n_embd", "d_model", "dim", "embed_dim", "encoder_embed_dim" },
    { "num_hidden_layers", "n_layer", "num_layers", "n_layers", "encoder_layers", "depth" },
    { "num_attention_heads", "n_head", "num_heads", "n_heads", "encoder_attention_heads" },
    { "intermediate_size", "n_inner", "ffn_dim", "d_ff", "ffn_hidden_size", "encoder_ffn_dim" },
    { "max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_sequence_length" },
    { "num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts" },
};

static int64_t stand_in(const nc_config *r, const char *key)
{
    int64_t n;
    for (int i = 0; i < NC_COUNT(words); i++) {
        bool here = false;
        for (int k = 0; k < 8 && words[i][k]; k++)
            here |= !strcmp(words[i][k], key);
        for (int k = 0; here && k < 8 && words[i][k]; k++)
            if (nc_json_int_exact(nc_json_get(r->object, words[i][k]), &n) && n > 0 && n <= INT_MAX)
                return n;
    }
    return strstr(key, "layer") || strstr(key, "heads") ? 1 : 64;
}

static int64_t missing(nc_config *r, const char *key)
{
    nc_config_notes *n = r->shared->notes;
    if (!n) {
        nc_config_mistake(r, "the key \"%s\" is missing", key);
        return 0;
    }
    note(r, &n->missing, &n->missing_count, key);
    return stand_in(r, key);
}

const nc_json *nc_config_get(nc_config *r, const char *key)
{
    int i = 0;
    const nc_json *found = NULL;
    NC_JSON_EACH(item, r->object) {
        if (nc_str_eqz(item->key, key)) {
            r->read[i] = true;
            found = item->type == NC_JSON_NULL ? NULL : item;
        }
        i++;
    }
    return found;
}

int64_t nc_config_int(nc_config *r, const char *key, int64_t fallback)
{
    const nc_json *v = nc_config_get(r, key);
    int64_t n = 0;
    if (!v)
        return fallback == NC_REQUIRED ? missing(r, key) : fallback;
    if (!nc_json_int_exact(v, &n) || n < -1 || n > INT_MAX)
        nc_config_mistake(r, "line %d: \"%s\" must be a whole number from 0 to %d", v->line, key, INT_MAX);
    return n;
}

int nc_config_layers(nc_config *r, const char *key, int64_t fallback)
{
    int64_t n = nc_config_int(r, key, fallback);
    if (n >= 0 && n <= NC_MAX_LAYERS)
        return (int)n;
    nc_config_mistake(r, "\"%s\" must be a whole number from 0 to %d", key, NC_MAX_LAYERS);
    return 0;
}

int64_t nc_config_int_any(nc_config *r, const char *key, int64_t fallback)
{
    const nc_json *v = nc_config_get(r, key);
    int64_t n = fallback;
    if (v && (!nc_json_int_exact(v, &n) || n < -INT_MAX || n > INT_MAX))
        nc_config_mistake(r, "line %d: \"%s\" must be a whole number", v->line, key);
    return n;
}

int nc_config_side(nc_config *r, const char *key, int fallback)
{
    const nc_json *v = nc_config_get(r, key);
    int64_t n = fallback, other;
    if (!nc_json_is(v, NC_JSON_ARRAY))
        return (int)nc_config_int(r, key, fallback);
    NC_JSON_EACH(item, v)
        if (!nc_json_int_exact(item, item == v->first ? &n : &other) || n < 0 || n > INT_MAX || (item != v->first && other != n)) {
            nc_config_mistake(r, "line %d: \"%s\" must be one number, or equal ones", v->line, key);
            return fallback;
        }
    return (int)n;
}

int nc_config_ints(nc_config *r, const char *key, const int *fallback, int fallback_count, int **out)
{
    const nc_json *v = nc_config_get(r, key);
    int n = v ? 0 : fallback_count;
    *out = NC_NEW_ARRAY(r->arena, int, (v && v->type == NC_JSON_ARRAY ? v->count : fallback_count) + 1);
    for (int i = 0; !v && i < fallback_count; i++)
        (*out)[i] = fallback[i];
    if (v && v->type != NC_JSON_ARRAY)
        nc_config_mistake(r, "line %d: \"%s\" must be a list of whole numbers", v->line, key);
    NC_JSON_EACH(item, v && v->type == NC_JSON_ARRAY ? v : NULL) {
        int64_t number = 0;
        if (!nc_json_int_exact(item, &number) || number < 0 || number > INT_MAX)
            nc_config_mistake(r, "line %d: \"%s\" must hold whole numbers from 0 to %d", item->line, key, INT_MAX);
        (*out)[n++] = (int)number;
    }
    return n;
}

double nc_config_float(nc_config *r, const char *key, double fallback)
{
    const nc_json *v = nc_config_get(r, key);
    if (!v)
        return fallback;
    if (v->type != NC_JSON_NUMBER)
        nc_config_mistake(r, "line %d: \"%s\" must be a number", v->line, key);
    return nc_json_double(v, fallback);
}

bool nc_config_bool(nc_config *r, const char *key, bool fallback)
{
    const nc_json *v = nc_config_get(r, key);
    if (!v)
        return fallback;
    if (v->type != NC_JSON_BOOL)
        nc_config_mistake(r, "line %d: \"%s\" must be true or false", v->line, key);
    return nc_json_bool(v, fallback);
}

const char *nc_config_string(nc_config *r, const char *key, const char *fallback)
{
    const nc_json *v = nc_config_get(r, key);
    if (!v)
        return fallback;
    if (v->type != NC_JSON_STRING)
        nc_config_mistake(r, "line %d: \"%s\" must be a string", v->line, key);
    return nc_json_string(v, fallback);
}

void nc_config_expect_bool(nc_config *r, const char *key, bool value)
{
    if (nc_config_bool(r, key, value) != value)
        nc_config_differs(r, "\"%s\" is %s, and this family knows only %s", key, value ? "false" : "true", value ? "true" : "false");
}

void nc_config_ignore(nc_config *r, const char *const *keys)
{
    for (; *keys; keys++)
        nc_config_get(r, *keys);
}

nc_config *nc_config_child(nc_config *r, const char *key)
{
    const nc_json *v = nc_config_get(r, key);
    if (!v)
        return NULL;
    if (v->type != NC_JSON_OBJECT) {
        nc_config_mistake(r, "line %d: \"%s\" must be an object", v->line, key);
        return NULL;
    }
    return nc_config_over(r, v, key);
}

nc_config *nc_config_over(nc_config *r, const nc_json *object, const char *where)
{
    const char *joint = !r->shared->notes ? ": " : *r->where ? "." : "";
    nc_config *c = new_reader(r->arena, object, nc_arena_printf(r->arena, "%s%s%s", r->where, joint, where), r->shared);
    c->next = r->child;
    return r->child = c;
}

static bool is_meaningless(nc_str key)
{
    for (const char *const *k = meaningless; *k; k++)
        if (nc_str_eqz(key, *k))
            return true;
    return key.n && key.p[0] == '_';
}

static void check_unread(nc_config *r)
{
    int i = 0;
    NC_JSON_EACH(item, r->object) {
        if (!r->read[i] && !is_meaningless(item->key))
            nc_config_mistake(r, "line %d: the key \"%s\" is not understood here; ignore_keys=%s loads the model without it", item->line, item->key.p, item->key.p);
        i++;
    }
    for (nc_config *c = r->child; c; c = c->next)
        check_unread(c);
}

static bool is_nothing(const nc_json *v) { return v->type == NC_JSON_NULL || (v->type == NC_JSON_BOOL && !v->boolean); }

void nc_config_finish_trial(nc_config *r)
{
    nc_config_notes *n = r->shared->notes;
    int i = 0;
    NC_JSON_EACH(item, r->object) {
        if (r->read[i] && !is_meaningless(item->key))
            n->known++;
        else if (!r->read[i] && !is_meaningless(item->key) && !is_nothing(item))
            note(r, &n->unread, &n->unread_count, item->key.p);
        i++;
    }
    for (nc_config *c = r->child; c; c = c->next)
        nc_config_finish_trial(c);
}

int nc_config_finish(nc_config *r, nc_error *e)
{
    check_unread(r);
    return r->shared->failed ? nc_fail(e, NC_EUNSUPPORTED, "%s", r->shared->message) : 0;
}

int nc_config_activation(nc_config *r, const char *key, const char *fallback)
{
    static const struct { const char *name; nc_unary kind; } known[] = {
        { "gelu", NC_GELU }, { "gelu_python", NC_GELU }, { "gelu_new", NC_GELU_TANH }, { "gelu_pytorch_tanh", NC_GELU_TANH }, { "gelu_fast", NC_GELU_TANH },
        { "quick_gelu", NC_QUICK_GELU }, { "silu", NC_SILU }, { "swish", NC_SILU }, { "relu", NC_RELU }, { "tanh", NC_TANH }, { "sigmoid", NC_SIGMOID },
    };
    const char *name = nc_config_string(r, key, fallback);
    for (int i = 0; i < NC_COUNT(known); i++)
        if (!strcmp(name, known[i].name))
            return known[i].kind;
    nc_config_differs(r, "\"%s\": the activation \"%s\" is not known here", key, name);
    return 0;
}

/* gguf_config.c - llama.cpp's words back to config.json's. What the words leave out (windows of Mistral, dynamic scaling) is what llama.cpp leaves out. */
#include "load/gguf_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load/gguf_arch.h"

static const char *full_key(const nc_gguf_back *b, const char *key, char out[128])
{
    snprintf(out, 128, "%s.%s", b->architecture, key);
    return out;
}

int64_t nc_gguf_back_int(const nc_gguf_back *b, const char *key, int64_t otherwise)
{
    char name[128];
    return nc_gguf_int(b->g, full_key(b, key, name), otherwise);
}

double nc_gguf_back_real(const nc_gguf_back *b, const char *key, double otherwise)
{
    char name[128];
    return nc_gguf_double(b->g, full_key(b, key, name), otherwise);
}

bool nc_gguf_back_has(const nc_gguf_back *b, const char *tensor) { return nc_gguf_find(b->g, tensor) != NULL; }

void nc_gguf_back_set_int(const nc_gguf_back *b, const char *key, int64_t v) { nc_json_set(b->a, b->config, key, nc_json_new_int(b->a, v)); }
void nc_gguf_back_set_bool(const nc_gguf_back *b, const char *key, bool v) { nc_json_set(b->a, b->config, key, nc_json_new_bool(b->a, v)); }
void nc_gguf_back_set_text(const nc_gguf_back *b, const char *key, const char *v) { nc_json_set(b->a, b->config, key, nc_json_new_string(b->a, nc_str_of(v))); }

/* The shortest decimal that is this f32: 1e-6, not 9.99999997e-07. */
static double decimal(double v)
{
    char text[32];
    for (int digits = 3; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if ((float)strtod(text, NULL) == (float)v)
            break;
    }
    return strtod(text, NULL);
}

void nc_gguf_back_set_real(const nc_gguf_back *b, const char *key, double v) { nc_json_set(b->a, b->config, key, nc_json_new_double(b->a, decimal(v))); }

void nc_gguf_back_rename(const nc_gguf_back *b, const char *from, const char *to)
{
    nc_json *fresh = nc_json_new(b->a, NC_JSON_OBJECT);
    char key[96];
    NC_JSON_EACH(v, b->config) {
        snprintf(key, sizeof key, "%.*s", (int)v->key.n, v->key.p);
        if (to || strcmp(key, from))
            nc_json_set(b->a, fresh, strcmp(key, from) ? key : to, nc_json_clone(b->a, v));
    }
    *b->config = *fresh;
}

void nc_gguf_back_rope(const nc_gguf_back *b)
{
    static const struct { const char *word, *key; } yarn[] = {
        { "rope.scaling.yarn_ext_factor", "extrapolation_factor" }, { "rope.scaling.yarn_attn_factor", "attention_factor" },
        { "rope.scaling.yarn_beta_fast", "beta_fast" }, { "rope.scaling.yarn_beta_slow", "beta_slow" },
    };
    char name[128];
    const char *type = nc_gguf_string(b->g, full_key(b, "rope.scaling.type", name), "none");
    nc_gguf_back_set_real(b, "rope_theta", nc_gguf_back_real(b, "rope.freq_base", 10000));
    if (strcmp(type, "linear") && strcmp(type, "yarn"))
        return;
    nc_gguf_back scaling = *b;
    scaling.config = nc_json_new(b->a, NC_JSON_OBJECT);
    nc_gguf_back_set_text(&scaling, "rope_type", type);
    nc_gguf_back_set_real(&scaling, "factor", nc_gguf_back_real(b, "rope.scaling.factor", 1));
    if (!strcmp(type, "yarn")) {
        nc_gguf_back_set_int(&scaling, "original_max_position_embeddings", nc_gguf_back_int(b, "rope.scaling.original_context_length", nc_gguf_back_int(b, "context_length", 4096)));
        for (int i = 0; i < NC_COUNT(yarn); i++)
            if (nc_gguf_get(b->g, full_key(b, yarn[i].word, name)))
                nc_gguf_back_set_real(&scaling, yarn[i].key, nc_gguf_back_real(b, yarn[i].word, 0));
    }
    nc_json_set(b->a, b->config, "rope_scaling", scaling.config);
}

/* A word's key: the first of its names, set when the file has the word. */
static void read_word(const nc_gguf_back *b, const nc_gguf_word *word)
{
    char name[128], key[96];
    const nc_gguf_value *v = nc_gguf_get(b->g, full_key(b, word->key, name));
    snprintf(key, sizeof key, "%.*s", (int)strcspn(word->config, "|"), word->config);
    if (!v || !key[0])
        return;
    switch (word->type) {
    case NC_GGUF_F32: nc_gguf_back_set_real(b, key, nc_gguf_double(b->g, name, 0)); break;
    case NC_GGUF_BOOL: nc_gguf_back_set_bool(b, key, nc_gguf_bool(b->g, name, false)); break;
    case NC_GGUF_STRING: nc_gguf_back_set_text(b, key, nc_gguf_string(b->g, name, "")); break;
    default: nc_gguf_back_set_int(b, key, nc_gguf_int(b->g, name, 0)); break;
    }
}

/* Files may repeat the table as the head. */
static bool is_tied(const nc_gguf *g)
{
    const nc_stored *table = nc_gguf_find(g, "token_embd.weight"), *head = nc_gguf_find(g, "output.weight");
    return !head || (table && table->bytes == head->bytes && table->dtype == head->dtype && !memcmp(table->data, head->data, head->bytes));
}

static void special_ids(const nc_gguf_back *b)
{
    static const char *const ids[][2] = { { "tokenizer.ggml.bos_token_id", "bos_token_id" }, { "tokenizer.ggml.eos_token_id", "eos_token_id" }, { "tokenizer.ggml.padding_token_id", "pad_token_id" } };
    for (int i = 0; i < NC_COUNT(ids); i++)
        if (nc_gguf_get(b->g, ids[i][0]))
            nc_gguf_back_set_int(b, ids[i][1], nc_gguf_int(b->g, ids[i][0], 0));
}

static int unknown(const char *file, const char *name, nc_error *e)
{
    nc_buf known = { 0 };
    int count;
    const nc_gguf_arch *const *archs = nc_gguf_archs(&count);
    for (int i = 0; i < count; i++)
        nc_buf_printf(&known, "%s%s", i ? " " : "", archs[i]->name);
    int status = nc_fail(e, NC_EUNSUPPORTED, "%s: the architecture \"%s\" is not known; these are: %s", file, name, known.p);
    nc_buf_free(&known);
    return status;
}

int nc_gguf_config(nc_arena *a, const nc_gguf *g, const char *file, nc_json **out, nc_error *e)
{
    const char *name = nc_gguf_string(g, "general.architecture", "");
    const nc_stored *table = nc_gguf_find(g, "token_embd.weight");
    const nc_gguf_arch *arch = NULL;
    int count;
    const nc_gguf_arch *const *archs = nc_gguf_archs(&count);
    for (int i = 0; i < count && !arch; i++)
        arch = !strcmp(archs[i]->name, name) ? archs[i] : NULL;
    if (!arch)
        return unknown(file, name, e);
    if (!table || table->shape.rank != 2)
        return nc_fail(e, NC_EFORMAT, "%s: no token_embd.weight with rows and columns; this is no whole model", file);
    nc_gguf_back b = { a, g, name, nc_json_new(a, NC_JSON_OBJECT) };
    nc_json_set(a, b.config, "model_type", nc_json_new_string(a, (nc_str){ arch->families, strcspn(arch->families, " ") }));
    for (int t = 0; t < NC_COUNT(arch->words) && arch->words[t]; t++)
        for (const nc_gguf_word *word = arch->words[t]; word->key; word++)
            read_word(&b, word);
    nc_gguf_back_set_int(&b, "vocab_size", table->shape.dim[0]);
    nc_gguf_back_set_bool(&b, "tie_word_embeddings", is_tied(g));
    special_ids(&b);
    if (arch->back)
        arch->back(&b);
    *out = b.config;
    return 0;
}

int nc_gguf_config_open(nc_arena *a, const char *file, nc_json **out, nc_error *e)
{
    nc_gguf *g;
    NC_TRY(nc_gguf_open(file, &g, e));
    int status = nc_gguf_config(a, g, file, out, e);
    nc_gguf_close(g);
    return status;
}

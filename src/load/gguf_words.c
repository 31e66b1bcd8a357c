/* gguf_words.c - config.json in llama.cpp's words (gguf_arch.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load/gguf_arch.h"

const nc_json *nc_gguf_config_get(const nc_json *config, const char *keys)
{
    char key[96];
    while (*keys) {
        const size_t n = strcspn(keys, "|");
        snprintf(key, sizeof key, "%.*s", (int)n, keys);
        const nc_json *v = nc_json_path(config, key);
        if (v && !nc_json_is(v, NC_JSON_NULL))
            return v;
        keys += n + (keys[n] == '|');
    }
    return NULL;
}

int64_t nc_gguf_config_int(const nc_json *config, const char *keys, int64_t otherwise) { return nc_json_int(nc_gguf_config_get(config, keys), otherwise); }
double nc_gguf_config_real(const nc_json *config, const char *keys, double otherwise) { return nc_json_double(nc_gguf_config_get(config, keys), otherwise); }

int64_t nc_gguf_head_width(const nc_json *config)
{
    const int64_t heads = nc_gguf_config_int(config, "num_attention_heads", 1);
    return nc_gguf_config_int(config, "head_dim", nc_gguf_config_int(config, "hidden_size", 0) / (heads ? heads : 1));
}

const nc_json *nc_gguf_rope_get(const nc_json *config, const char *key)
{
    const nc_json *all = nc_json_get(config, "rope_parameters"), *full = nc_json_get(all, "full_attention");
    const nc_json *v = nc_json_get(full ? full : all, key);
    v = v ? v : nc_json_get(nc_json_get(config, "rope_scaling"), key);
    return nc_json_is(v, NC_JSON_NULL) ? NULL : v;
}

const char *nc_gguf_rope_type(const nc_json *config)
{
    const nc_json *v = nc_gguf_rope_get(config, "rope_type");
    return nc_json_string(v ? v : nc_gguf_rope_get(config, "type"), "default");
}

double nc_gguf_rope_theta(const nc_json *config)
{
    const nc_json *v = nc_gguf_rope_get(config, "rope_theta");
    return nc_json_double(v ? v : nc_json_get(config, "rope_theta"), 10000);
}

static const char *full_key(const nc_gguf_words *w, const char *key, char out[128])
{
    snprintf(out, 128, "%s.%s", w->architecture, key);
    return out;
}

void nc_gguf_word_int(const nc_gguf_words *w, const char *key, int64_t v)
{
    char name[128];
    nc_gguf_set_int(w->meta, full_key(w, key, name), NC_GGUF_U32, v);
}

void nc_gguf_word_real(const nc_gguf_words *w, const char *key, double v)
{
    char name[128];
    nc_gguf_set_float(w->meta, full_key(w, key, name), NC_GGUF_F32, v);
}

void nc_gguf_word_bool(const nc_gguf_words *w, const char *key, bool v)
{
    char name[128];
    nc_gguf_set_int(w->meta, full_key(w, key, name), NC_GGUF_BOOL, v);
}

void nc_gguf_word_text(const nc_gguf_words *w, const char *key, const char *v)
{
    char name[128];
    nc_gguf_set_string(w->meta, full_key(w, key, name), nc_str_of(v));
}

void nc_gguf_rope_words(const nc_gguf_words *w)
{
    static const struct { const char *from, *to; } yarn[] = {
        { "extrapolation_factor", "rope.scaling.yarn_ext_factor" }, { "attention_factor", "rope.scaling.yarn_attn_factor" },
        { "beta_fast", "rope.scaling.yarn_beta_fast" }, { "beta_slow", "rope.scaling.yarn_beta_slow" },
    };
    const char *type = nc_gguf_rope_type(w->config);
    nc_gguf_word_real(w, "rope.freq_base", nc_gguf_rope_theta(w->config));
    const bool is_yarn = !strcmp(type, "yarn"), is_long = !strcmp(type, "longrope") || !strcmp(type, "su");
    if (!is_yarn && !is_long && strcmp(type, "linear"))
        return;
    nc_gguf_word_text(w, "rope.scaling.type", is_long ? "longrope" : type);
    if (is_long)
        return;
    nc_gguf_word_real(w, "rope.scaling.factor", nc_json_double(nc_gguf_rope_get(w->config, "factor"), 1));
    if (!is_yarn)
        return;
    nc_gguf_word_int(w, "rope.scaling.original_context_length",
                     nc_json_int(nc_gguf_rope_get(w->config, "original_max_position_embeddings"), nc_gguf_config_int(w->config, "max_position_embeddings", 0)));
    for (int i = 0; i < NC_COUNT(yarn); i++)
        if (nc_gguf_rope_get(w->config, yarn[i].from))
            nc_gguf_word_real(w, yarn[i].to, nc_json_double(nc_gguf_rope_get(w->config, yarn[i].from), 0));
}

static void write_word(const nc_gguf_words *w, const nc_gguf_word *word)
{
    const nc_json *v = nc_gguf_config_get(w->config, word->config);
    if (!v && !word->otherwise)
        return;
    switch (word->type) {
    case NC_GGUF_F32: nc_gguf_word_real(w, word->key, v ? nc_json_double(v, 0) : strtod(word->otherwise, NULL)); break;
    case NC_GGUF_BOOL: nc_gguf_word_bool(w, word->key, v ? nc_json_bool(v, false) : word->otherwise[0] == '1'); break;
    case NC_GGUF_STRING: nc_gguf_word_text(w, word->key, nc_json_string(v, word->otherwise ? word->otherwise : "")); break;
    default: nc_gguf_word_int(w, word->key, v ? nc_json_int(v, 0) : strtoll(word->otherwise, NULL, 10)); break;
    }
}

void nc_gguf_write_words(nc_gguf_meta *meta, const nc_gguf_arch *arch, const nc_model *m)
{
    nc_gguf_words w = { meta, arch->name, nc_gguf_text_config(m), m };
    for (int t = 0; t < NC_COUNT(arch->words) && arch->words[t]; t++)
        for (const nc_gguf_word *word = arch->words[t]; word->key; word++)
            write_word(&w, word);
    if (arch->more)
        arch->more(&w);
}

void nc_gguf_write_tower_words(nc_gguf_meta *meta, const nc_gguf_tower *tower, const nc_model *m)
{
    const nc_gguf_words w = { meta, "clip", nc_json_get(m->config, "vision_config"), m };
    nc_gguf_word_bool(&w, "has_vision_encoder", true);
    nc_gguf_word_text(&w, "projector_type", tower->projector);
    nc_gguf_word_int(&w, "vision.projection_dim", m->hidden_size);
    for (const nc_gguf_word *word = tower->words; word->key; word++)
        write_word(&w, word);
    tower->more(&w);
}

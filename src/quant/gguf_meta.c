/* gguf_meta.c - config.json in llama.cpp's words. Source: gguf-py's constants.py; convert_hf_to_gguf's choices for gpt2, llama, mistral and qwen3; clip.cpp. */
#include "quant/gguf_meta.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "load/gguf_names.h"

struct words { const char *family, *architecture; };
static const struct words architectures[] = { { "gpt2", "gpt2" }, { "llama", "llama" }, { "mistral", "llama" }, { "qwen3", "qwen3" } };

struct writer { nc_gguf_meta *meta; const char *architecture; const nc_json *config; };

static const char *key_of(const struct writer *w, const char *key, char out[128])
{
    snprintf(out, 128, "%s.%s", w->architecture, key);
    return out;
}

static void number(const struct writer *w, const char *key, int64_t v)
{
    char name[128];
    nc_gguf_set_int(w->meta, key_of(w, key, name), NC_GGUF_U32, v);
}

static void real(const struct writer *w, const char *key, double v)
{
    char name[128];
    nc_gguf_set_float(w->meta, key_of(w, key, name), NC_GGUF_F32, v);
}

static void word(const struct writer *w, const char *key, const char *v)
{
    char name[128];
    nc_gguf_set_string(w->meta, key_of(w, key, name), nc_str_of(v));
}

static int64_t whole(const struct writer *w, const char *key, int64_t fallback) { return nc_json_int(nc_json_get(w->config, key), fallback); }

/* ggml's llama_ftype, "mostly" this type. */
static int file_type(nc_dtype to)
{
    switch (to) {
    case NC_F32: return 0;
    case NC_F16: return 1;
    case NC_Q4_0: return 2;
    case NC_Q8_0: return 7;
    default: return 32;              /* BF16 */
    }
}

static const nc_json *rope_value(const nc_json *config, const char *key)
{
    const nc_json *v = nc_json_path(config, "rope_parameters");
    const nc_json *found = nc_json_get(v, key);
    return found ? found : nc_json_get(nc_json_get(config, "rope_scaling"), key);
}

static const char *rope_type(const nc_json *config)
{
    const nc_json *v = rope_value(config, "rope_type");
    return nc_json_string(v ? v : rope_value(config, "type"), "default");
}

static double rope_theta(const nc_json *config)
{
    const nc_json *v = nc_json_path(config, "rope_parameters.rope_theta");
    return nc_json_double(v ? v : nc_json_get(config, "rope_theta"), 10000);
}

static void rotary(const struct writer *w)
{
    const char *type = rope_type(w->config);
    int64_t heads = whole(w, "num_attention_heads", 1), width = whole(w, "head_dim", whole(w, "hidden_size", 0) / (heads ? heads : 1));
    real(w, "rope.freq_base", rope_theta(w->config));
    number(w, "rope.dimension_count", width);
    if (nc_json_get(w->config, "head_dim")) {
        number(w, "attention.key_length", width);
        number(w, "attention.value_length", width);
    }
    if (strcmp(type, "linear") && strcmp(type, "yarn"))
        return;
    word(w, "rope.scaling.type", type);
    real(w, "rope.scaling.factor", nc_json_double(rope_value(w->config, "factor"), 1));
    if (!strcmp(type, "yarn"))
        number(w, "rope.scaling.original_context_length", nc_json_int(rope_value(w->config, "original_max_position_embeddings"), whole(w, "max_position_embeddings", 0)));
}

/* llama3: wavelengths beyond the low bound are divided by factor, those below the high bound kept, between them blended. */
float *nc_gguf_rope_factors(nc_arena *a, const nc_model *m, int *count)
{
    const nc_json *c = nc_gguf_text_config(m);
    int64_t heads = nc_json_int(nc_json_get(c, "num_attention_heads"), 1), width = nc_json_int(nc_json_get(c, "head_dim"), m->hidden_size / (heads ? heads : 1));
    if (strcmp(rope_type(c), "llama3"))
        return NULL;
    double factor = nc_json_double(rope_value(c, "factor"), 8), low = nc_json_double(rope_value(c, "low_freq_factor"), 1), high = nc_json_double(rope_value(c, "high_freq_factor"), 4);
    double context = nc_json_double(rope_value(c, "original_max_position_embeddings"), 8192), theta = rope_theta(c);
    *count = (int)width / 2;
    float *out = NC_NEW_ARRAY(a, float, *count + 1);
    for (int i = 0; i < *count; i++) {
        double wavelength = 2 * M_PI * pow(theta, 2.0 * i / (double)width);
        double smooth = (context / wavelength - low) / (high - low);
        out[i] = (float)(wavelength < context / high ? 1 : wavelength > context / low ? factor : 1 / ((1 - smooth) / factor + smooth));
    }
    return out;
}

int nc_gguf_meta_decoder(nc_gguf_meta *meta, const nc_loaded *l, nc_dtype to, nc_error *e)
{
    const nc_json *c = nc_gguf_text_config(l->model);
    const char *type = nc_json_string(nc_json_get(c, "model_type"), "llama");
    struct writer w = { meta, NULL, c };
    for (int i = 0; i < NC_COUNT(architectures); i++)
        if (!strcmp(architectures[i].family, type))
            w.architecture = architectures[i].architecture;
    if (!w.architecture || !l->model->family->head)
        return nc_fail(e, NC_EUNSUPPORTED, "%s: %s models are not written as GGUF (gpt2, llama, mistral and qwen3 are, alone or behind a tower)", l->folder, type);
    nc_gguf_set_string(meta, "general.architecture", nc_str_of(w.architecture));
    nc_gguf_set_string(meta, "general.type", NC_STR("model"));
    nc_gguf_set_string(meta, "general.name", nc_str_of(nc_path_base(l->folder)));
    nc_gguf_set_int(meta, "general.file_type", NC_GGUF_U32, file_type(to));
    nc_gguf_set_int(meta, "general.quantization_version", NC_GGUF_U32, 2);
    if (!strcmp(type, "gpt2")) {
        int64_t width = whole(&w, "n_embd", 768);
        number(&w, "block_count", whole(&w, "n_layer", 12));
        number(&w, "context_length", whole(&w, "n_positions", whole(&w, "n_ctx", 1024)));
        number(&w, "embedding_length", width);
        number(&w, "feed_forward_length", whole(&w, "n_inner", 4 * width));
        number(&w, "attention.head_count", whole(&w, "n_head", 12));
        real(&w, "attention.layer_norm_epsilon", nc_json_double(nc_json_get(c, "layer_norm_epsilon"), 1e-5));
        return 0;
    }
    number(&w, "block_count", whole(&w, "num_hidden_layers", 0));
    number(&w, "context_length", whole(&w, "max_position_embeddings", 2048));
    number(&w, "embedding_length", whole(&w, "hidden_size", 0));
    number(&w, "feed_forward_length", whole(&w, "intermediate_size", 0));
    number(&w, "attention.head_count", whole(&w, "num_attention_heads", 0));
    number(&w, "attention.head_count_kv", whole(&w, "num_key_value_heads", whole(&w, "num_attention_heads", 0)));
    real(&w, "attention.layer_norm_rms_epsilon", nc_json_double(nc_json_get(c, "rms_norm_eps"), 1e-6));
    number(&w, "vocab_size", whole(&w, "vocab_size", 0));
    if (whole(&w, "sliding_window", 0) > 0)
        number(&w, "attention.sliding_window", whole(&w, "sliding_window", 0));
    rotary(&w);
    return 0;
}

static void colors(nc_gguf_meta *meta, const nc_loaded *l)
{
    const nc_processor *p = l->image ? l->image : l->video;
    double mean[3] = { 0.5, 0.5, 0.5 }, std[3] = { 0.5, 0.5, 0.5 };
    float m[3], s[3];
    if (p)
        nc_processor_colors(p, mean, std);
    for (int i = 0; i < 3; i++)
        m[i] = (float)mean[i], s[i] = (float)std[i];
    nc_gguf_set_numbers(meta, "clip.vision.image_mean", NC_GGUF_F32, m, 3);
    nc_gguf_set_numbers(meta, "clip.vision.image_std", NC_GGUF_F32, s, 3);
}

/* Keys of LLaVA that clip.cpp has no word for. */
static void own_words(nc_gguf_meta *meta, const nc_json *config)
{
    static const char *const keys[] = { "model_type", "vision_feature_select_strategy", "spatial_pool_mode", "spatial_pool_stride", "image_token_index", "video_token_index" };
    for (int i = 0; i < NC_COUNT(keys); i++) {
        const nc_json *v = nc_json_get(config, keys[i]);
        char name[96];
        snprintf(name, sizeof name, "nunchi.%s", keys[i]);
        if (nc_json_is(v, NC_JSON_STRING))
            nc_gguf_set_string(meta, name, v->text);
        else if (nc_json_is(v, NC_JSON_NUMBER))
            nc_gguf_set_int(meta, name, NC_GGUF_I32, nc_json_int(v, 0));
    }
}

void nc_gguf_meta_tower(nc_gguf_meta *meta, const nc_loaded *l, nc_dtype to)
{
    const nc_json *config = l->config, *v = nc_json_get(config, "vision_config");
    const bool siglip = nc_starts_with(nc_json_string(nc_json_get(v, "model_type"), "clip_vision_model"), "siglip"), next = strcmp(l->model->family->name, "llava") != 0;
    struct writer w = { meta, "clip.vision", v };
    const char *act = nc_json_string(nc_json_get(v, "hidden_act"), siglip ? "gelu_pytorch_tanh" : "quick_gelu");
    int64_t layers = whole(&w, "num_hidden_layers", 12), feature = nc_json_int(nc_json_get(config, "vision_feature_layer"), -2);
    nc_gguf_set_string(meta, "general.architecture", NC_STR("clip"));
    nc_gguf_set_string(meta, "general.type", NC_STR("mmproj"));
    nc_gguf_set_string(meta, "general.name", nc_str_of(nc_path_base(l->folder)));
    nc_gguf_set_int(meta, "general.file_type", NC_GGUF_U32, file_type(to));
    nc_gguf_set_int(meta, "general.quantization_version", NC_GGUF_U32, 2);
    nc_gguf_set_int(meta, "clip.has_text_encoder", NC_GGUF_BOOL, 0);
    nc_gguf_set_int(meta, "clip.has_vision_encoder", NC_GGUF_BOOL, 1);
    nc_gguf_set_int(meta, "clip.has_llava_projector", NC_GGUF_BOOL, 1);
    nc_gguf_set_string(meta, "clip.projector_type", NC_STR("mlp"));
    nc_gguf_set_int(meta, "clip.use_gelu", NC_GGUF_BOOL, nc_starts_with(act, "gelu"));
    nc_gguf_set_int(meta, "clip.use_silu", NC_GGUF_BOOL, !strcmp(act, "silu"));
    number(&w, "image_size", whole(&w, "image_size", 224));
    number(&w, "patch_size", whole(&w, "patch_size", 32));
    number(&w, "embedding_length", whole(&w, "hidden_size", 768));
    number(&w, "feed_forward_length", whole(&w, "intermediate_size", 3072));
    number(&w, "projection_dim", l->model->hidden_size);
    number(&w, "block_count", layers);
    number(&w, "attention.head_count", whole(&w, "num_attention_heads", 12));
    real(&w, "attention.layer_norm_epsilon", nc_json_double(nc_json_get(v, "layer_norm_eps"), siglip ? 1e-6 : 1e-5));
    if (feature != -2) {
        int32_t layer = (int32_t)(feature < 0 ? layers + feature + 1 : feature);
        nc_gguf_set_numbers(meta, "clip.vision.feature_layer", NC_GGUF_I32, &layer, 1);
    }
    nc_gguf_set_string(meta, "clip.vision.mm_patch_merge_type", nc_str_of(next ? "spatial_unpad" : "flat"));
    colors(meta, l);
    own_words(meta, config);
}

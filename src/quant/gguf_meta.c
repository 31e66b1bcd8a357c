/* gguf_meta.c - what the files say of themselves: general.*, the decoder's words (load/gguf_arch.h), the tower's. Source: gguf-py's constants.py; clip.cpp. */
#include "quant/gguf_meta.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "load/gguf_arch.h"

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

static void general(nc_gguf_meta *meta, const nc_loaded *l, const char *architecture, const char *type, nc_dtype to)
{
    nc_gguf_set_string(meta, "general.architecture", nc_str_of(architecture));
    nc_gguf_set_string(meta, "general.type", nc_str_of(type));
    nc_gguf_set_string(meta, "general.name", nc_str_of(nc_path_base(l->folder)));
    nc_gguf_set_int(meta, "general.file_type", NC_GGUF_U32, file_type(to));
    nc_gguf_set_int(meta, "general.quantization_version", NC_GGUF_U32, 2);
}

void nc_gguf_meta_decoder(nc_gguf_meta *meta, const nc_loaded *l, nc_dtype to)
{
    const nc_gguf_arch *arch = nc_gguf_arch_of(l->model);
    general(meta, l, arch->name, "model", to);
    nc_gguf_write_words(meta, arch, l->model);
    if (!l->tokenizer)                                   /* else llama.cpp counts the tokens */
        number(&(struct writer){ meta, arch->name, l->config }, "vocab_size", l->model->vocab_size);
}

void nc_gguf_meta_extra(nc_gguf_meta *meta, const nc_loaded *l, nc_dtype to) { general(meta, l, nc_gguf_arch_of(l->model)->name, "nunchi.extra", to); }

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
    if (!nc_starts_with(l->model->family->name, "llava")) {    /* clip.cpp holds it in another form */
        general(meta, l, "nunchi", "mmproj", to);
        own_words(meta, config);
        return;
    }
    general(meta, l, "clip", "mmproj", to);
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

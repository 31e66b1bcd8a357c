/* gguf_clip.c - towers and projectors under clip.cpp's names: the list of them, LLaVA's, Idefics3's, InternVL's, and what they share. Source: tools/mtmd/clip-impl.h, clip.cpp.
 *
 * mm.0 and mm.2 are the two products of the projector. Towers that clip.cpp does not know take LLaVA's names where they have the same parts, and keep their own otherwise.
 */
#include <string.h>

#include "load/gguf_arch.h"

#define TOWER(name) extern const nc_gguf_tower nc_gguf_tower_##name;
#include "load/gguf_towers.list"
#undef TOWER

static const nc_gguf_tower *const towers[] = {
#define TOWER(name) &nc_gguf_tower_##name,
#include "load/gguf_towers.list"
#undef TOWER
};

const nc_gguf_tower *nc_gguf_tower_of(const nc_model *m)
{
    for (int i = 0; i < NC_COUNT(towers); i++)
        if (nc_gguf_lists(towers[i]->families, m->family->name))
            return towers[i];
    return NULL;
}

const nc_gguf_rule *const *nc_gguf_tower_rules(const nc_model *m, const char **prefix)
{
    const nc_gguf_tower *t = nc_gguf_tower_of(m);
    t = t ? t : &nc_gguf_tower_llava;
    *prefix = t->prefix;
    return t->rules;
}

bool nc_gguf_tower_fits(const nc_model *m)
{
    const nc_gguf_tower *t = nc_gguf_tower_of(m);
    return t && (!t->fits || t->fits(m->config));
}

void nc_gguf_activation_words(const nc_gguf_words *w, const char *otherwise)
{
    const char *act = nc_json_string(nc_json_get(w->config, "hidden_act"), otherwise);
    if (nc_starts_with(act, "gelu"))
        nc_gguf_word_bool(w, "use_gelu", true);
    if (!strcmp(act, "silu"))
        nc_gguf_word_bool(w, "use_silu", true);
}

/* ---- LLaVA ---- */

#define BLOCK(site, file) { "vision_model.encoder.layers.#." site, "v.blk.#." file, NULL }

static const nc_gguf_rule llava_rules[] = {
    { "vision_model.embeddings.class_embedding", "v.class_embd", NULL }, { "vision_model.embeddings.patch_embedding.", "v.patch_embd.", NULL },
    { "vision_model.embeddings.position_embedding.", "v.position_embd.", NULL }, { "vision_model.pre_layrnorm.", "v.pre_ln.", NULL },
    { "vision_model.post_layernorm.", "v.post_ln.", NULL }, { "multi_modal_projector.linear_1.", "mm.0.", NULL }, { "multi_modal_projector.linear_2.", "mm.2.", NULL },
    { "image_newline", "model.image_newline", NULL },
    BLOCK("self_attn.q_proj.", "attn_q."), BLOCK("self_attn.k_proj.", "attn_k."), BLOCK("self_attn.v_proj.", "attn_v."), BLOCK("self_attn.out_proj.", "attn_out."),
    BLOCK("layer_norm1.", "ln1."), BLOCK("layer_norm2.", "ln2."), BLOCK("mlp.fc1.", "ffn_up."), BLOCK("mlp.fc2.", "ffn_down."),
    { NULL, NULL, NULL },
};
static const nc_gguf_word llava_words[] = {
    { "vision.image_size", NC_GGUF_U32, "image_size", "224" }, { "vision.patch_size", NC_GGUF_U32, "patch_size", "32" },
    { "vision.embedding_length", NC_GGUF_U32, "hidden_size", "768" }, { "vision.feed_forward_length", NC_GGUF_U32, "intermediate_size", "3072" },
    { "vision.block_count", NC_GGUF_U32, "num_hidden_layers", "12" }, { "vision.attention.head_count", NC_GGUF_U32, "num_attention_heads", "12" },
    { NULL, 0, NULL, NULL },
};

/* Keys of LLaVA that clip.cpp has no word for. */
void nc_gguf_own_words(nc_gguf_meta *meta, const nc_json *config)
{
    static const char *const keys[] = { "model_type", "vision_feature_select_strategy", "spatial_pool_mode", "spatial_pool_stride", "image_token_index", "video_token_index" };
    const nc_gguf_words own = { meta, "nunchi", config, NULL };
    for (int i = 0; i < NC_COUNT(keys); i++) {
        const nc_json *v = nc_json_get(config, keys[i]);
        if (nc_json_is(v, NC_JSON_STRING))
            nc_gguf_word_text(&own, keys[i], nc_json_string(v, ""));
        else if (nc_json_is(v, NC_JSON_NUMBER))
            nc_gguf_word_int(&own, keys[i], nc_json_int(v, 0));
    }
}

static void llava_more(const nc_gguf_words *w)
{
    const nc_json *config = w->m->config;
    const bool siglip = nc_starts_with(nc_json_string(nc_json_get(w->config, "model_type"), "clip_vision_model"), "siglip"), next = strcmp(w->m->family->name, "llava") != 0;
    const char *act = nc_json_string(nc_json_get(w->config, "hidden_act"), siglip ? "gelu_pytorch_tanh" : "quick_gelu");
    const int64_t layers = nc_gguf_config_int(w->config, "num_hidden_layers", 12), feature = nc_gguf_config_int(config, "vision_feature_layer", -2);
    nc_gguf_word_bool(w, "has_text_encoder", false);
    nc_gguf_word_bool(w, "has_llava_projector", true);
    nc_gguf_word_bool(w, "use_gelu", nc_starts_with(act, "gelu"));
    nc_gguf_word_bool(w, "use_silu", !strcmp(act, "silu"));
    nc_gguf_word_real(w, "vision.attention.layer_norm_epsilon", nc_gguf_config_real(w->config, "layer_norm_eps", siglip ? 1e-6 : 1e-5));
    if (feature != -2) {
        const int32_t layer = (int32_t)(feature < 0 ? layers + feature + 1 : feature);
        nc_gguf_set_numbers(w->meta, "clip.vision.feature_layer", NC_GGUF_I32, &layer, 1);
    }
    nc_gguf_word_text(w, "vision.mm_patch_merge_type", next ? "spatial_unpad" : "flat");
    nc_gguf_own_words(w->meta, config);
}

const nc_gguf_tower nc_gguf_tower_llava = {
    .families = "llava llava_next llava_next_video llava_onevision", .prefix = "vision_tower.", .projector = "mlp", .rules = { llava_rules }, .words = llava_words, .more = llava_more,
};

/* ---- Idefics3, SmolVLM ---- */

static const nc_gguf_rule idefics3_rules[] = { { "connector.modality_projection.proj.", "mm.model.fc.", NULL }, { NULL, NULL, NULL } };
static const nc_gguf_word idefics3_words[] = {
    { "vision.image_size", NC_GGUF_U32, "image_size", "224" }, { "vision.patch_size", NC_GGUF_U32, "patch_size", "32" },
    { "vision.embedding_length", NC_GGUF_U32, "hidden_size", "1152" }, { "vision.feed_forward_length", NC_GGUF_U32, "intermediate_size", "3072" },
    { "vision.block_count", NC_GGUF_U32, "num_hidden_layers", "12" }, { "vision.attention.head_count", NC_GGUF_U32, "num_attention_heads", "16" },
    { "vision.attention.layer_norm_epsilon", NC_GGUF_F32, "layer_norm_eps", "1e-6" },
    { NULL, 0, NULL, NULL },
};

static void idefics3_more(const nc_gguf_words *w)
{
    nc_gguf_activation_words(w, "gelu_pytorch_tanh");
    nc_gguf_word_int(w, "vision.projector.scale_factor", nc_gguf_config_int(w->m->config, "scale_factor", 2));
}

const nc_gguf_tower nc_gguf_tower_idefics3 = {
    .families = "idefics3 smolvlm", .prefix = "model.", .projector = "idefics3", .rules = { idefics3_rules, llava_rules }, .words = idefics3_words, .edge = true, .more = idefics3_more,
};

/* ---- InternVL ---- */

#undef BLOCK
#define BLOCK(site, file) { "vision_tower.encoder.layer.#." site, "v.blk.#." file, NULL }

static const nc_gguf_rule internvl_rules[] = {
    { "vision_tower.embeddings.cls_token", "v.class_embd", NULL }, { "vision_tower.embeddings.position_embeddings", "v.position_embd.weight", NULL },
    { "vision_tower.embeddings.patch_embeddings.projection.", "v.patch_embd.", NULL },
    BLOCK("attention.q_proj.", "attn_q."), BLOCK("attention.k_proj.", "attn_k."), BLOCK("attention.v_proj.", "attn_v."), BLOCK("attention.projection_layer.", "attn_out."),
    BLOCK("attention.q_norm.", "attn_q_norm."), BLOCK("attention.k_norm.", "attn_k_norm."), BLOCK("lambda_1", "ls1.weight"), BLOCK("lambda_2", "ls2.weight"),
    BLOCK("layernorm_before.", "ln1."), BLOCK("layernorm_after.", "ln2."), BLOCK("mlp.fc1.", "ffn_up."), BLOCK("mlp.fc2.", "ffn_down."),
    { "multi_modal_projector.layer_norm.", "mm.model.mlp.0.", NULL }, { "multi_modal_projector.linear_1.", "mm.model.mlp.1.", NULL },
    { "multi_modal_projector.linear_2.", "mm.model.mlp.3.", NULL },
    { NULL, NULL, NULL },
};
static const nc_gguf_word internvl_words[] = {
    { "vision.embedding_length", NC_GGUF_U32, "hidden_size", "1024" }, { "vision.feed_forward_length", NC_GGUF_U32, "intermediate_size", "4096" },
    { "vision.block_count", NC_GGUF_U32, "num_hidden_layers", "24" }, { "vision.attention.head_count", NC_GGUF_U32, "num_attention_heads", "16" },
    { "vision.attention.layer_norm_epsilon", NC_GGUF_F32, "layer_norm_eps", "1e-6" },
    { NULL, 0, NULL, NULL },
};

/* A side, or the first of two. */
static int64_t side(const nc_json *vision, const char *key, int64_t otherwise)
{
    const nc_json *v = nc_json_get(vision, key);
    return nc_json_int(nc_json_is(v, NC_JSON_ARRAY) ? nc_json_at(v, 0) : v, otherwise);
}

static void internvl_more(const nc_gguf_words *w)
{
    const double ratio = nc_gguf_config_real(w->m->config, "downsample_ratio", 0.5);
    nc_gguf_word_int(w, "vision.image_size", side(w->config, "image_size", 448));
    nc_gguf_word_int(w, "vision.patch_size", side(w->config, "patch_size", 14));
    nc_gguf_activation_words(w, "gelu");
    nc_gguf_word_int(w, "vision.projector.scale_factor", (int64_t)(1 / ratio));
}

/* clip.cpp takes the last block's rows without a closing norm, and RMS norms in the tower of 6 billion alone, which it knows by its sizes. */
static bool internvl_fits(const nc_json *config)
{
    const nc_json *v = nc_json_get(config, "vision_config");
    const bool large = nc_gguf_config_int(v, "hidden_size", 1024) == 3200 && nc_gguf_config_int(v, "num_hidden_layers", 24) == 45;
    return nc_json_bool(nc_json_get(v, "use_mean_pooling"), true) && nc_json_bool(nc_json_get(v, "use_absolute_position_embeddings"), true) &&
           nc_gguf_config_int(config, "vision_feature_layer", -1) == -1 && large == !strcmp(nc_json_string(nc_json_get(v, "norm_type"), "layer_norm"), "rms_norm");
}

const nc_gguf_tower nc_gguf_tower_internvl = {
    .families = "internvl", .projector = "internvl", .rules = { internvl_rules }, .words = internvl_words, .fits = internvl_fits, .more = internvl_more,
};

/* gguf_qwen_vl.c - Qwen2-VL, Qwen2.5-VL and Qwen3-VL: decoders that rotate in sections, towers whose patches reach over two frames.
 *
 * Easy to get wrong: the patches' kernel is two, v.patch_embd.weight and .weight.1, one for each frame; q, k, v come apart for Qwen2's towers, not for Qwen3's;
 * v.deepstack.N counts the tower's blocks, the site counts the mergers; the merger's norm is v.post_ln.
 * feed_forward_length of a Qwen2-VL is hidden_size, the decoder's width, as the converter writes it: clip.cpp takes the width from the tensors. The towers' norms have
 * eps 1e-6 whatever the decoder's have.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load/gguf_arch.h"

/* ---- decoders ---- */

/* usual, theta: of a config that does not say them. */
static void sections(const nc_gguf_words *w, const int usual[3], double theta)
{
    const nc_json *list = nc_gguf_rope_get(w->config, "mrope_section");
    int32_t out[4] = { usual[0], usual[1], usual[2], 0 };
    for (int i = 0; list && i < 4; i++)
        out[i] = (int32_t)nc_json_int(nc_json_at(list, i), 0);
    nc_gguf_rope_words(w);
    if (!nc_gguf_rope_get(w->config, "rope_theta") && !nc_json_get(w->config, "rope_theta"))
        nc_gguf_word_real(w, "rope.freq_base", theta);
    char key[64];
    snprintf(key, sizeof key, "%s.rope.dimension_sections", w->architecture);
    nc_gguf_set_numbers(w->meta, key, NC_GGUF_I32, out, 4);
}

static void qwen2_more(const nc_gguf_words *w) { sections(w, (int[]){ 16, 24, 24 }, 1e6); }

static void qwen3_more(const nc_gguf_words *w)
{
    const nc_json *deep = nc_json_path(w->m->config, "vision_config.deepstack_visual_indexes");
    sections(w, (int[]){ 24, 20, 20 }, 5e5);
    nc_gguf_word_int(w, "attention.key_length", nc_gguf_config_int(w->config, "head_dim", 128));
    nc_gguf_word_int(w, "attention.value_length", nc_gguf_config_int(w->config, "head_dim", 128));
    nc_gguf_word_int(w, "n_deepstack_layers", deep ? deep->count : 3);
}

/* A decoder that stands alone has no pictures: where all three positions are the text's, the sections rotate as Qwen2 and Qwen3 do. */
static void text_back(const nc_gguf_back *b)
{
    nc_gguf_back_rope(b);
    nc_gguf_back_set_text(b, "model_type", strcmp(b->architecture, "qwen2vl") ? "qwen3" : "qwen2");
}

const nc_gguf_arch nc_gguf_arch_qwen2_vl = {
    .name = "qwen2vl", .families = "qwen2_vl qwen2_5_vl qwen2_vl_text qwen2_5_vl_text", .rules = { nc_gguf_llama_rules }, .words = { nc_gguf_decoder_words }, .more = qwen2_more,
    .back = text_back,
};
const nc_gguf_arch nc_gguf_arch_qwen3_vl = {
    .name = "qwen3vl", .families = "qwen3_vl qwen3_vl_text", .rules = { nc_gguf_llama_rules }, .words = { nc_gguf_decoder_words }, .more = qwen3_more, .back = text_back,
};

/* ---- towers ---- */

/* [width, channels, frames, side, side]: a kernel for each frame. Other counts of frames than two clip.cpp cannot have. */
static void frames_apart(const nc_gguf_ask *ask, nc_gguf_home *out)
{
    const nc_shape *s = &ask->site->file_shape;
    if (s->rank != 5)
        return;
    const int64_t frames = s->dim[2], inner = s->dim[3] * s->dim[4];
    if (frames < 1 || frames > NC_GGUF_PARTS) {
        out->part[0].shape = NC_SHAPE(s->dim[0], s->dim[1] * frames, s->dim[3], s->dim[4]);
        return;
    }
    const nc_gguf_part first = out->part[0];
    out->count = (int)frames;
    for (int t = 0; t < frames; t++) {
        nc_gguf_part *p = &out->part[t];
        *p = (nc_gguf_part){ .shape = NC_SHAPE(s->dim[0], s->dim[1], s->dim[3], s->dim[4]), .offset = t * inner, .dim = { 1, s->dim[0], s->dim[1], inner },
                             .stride = { 0, s->dim[1] * frames * inner, frames * inner, 1 } };
        if (t)
            snprintf(p->name, sizeof p->name, "%.48s.%d", first.name, t);
        else
            memcpy(p->name, first.name, sizeof p->name);
    }
}

/* [3 x width, ...]: q, k and v. */
static void qkv_apart(const nc_gguf_ask *ask, nc_gguf_home *out)
{
    const nc_shape *s = &ask->site->shape;
    const int64_t n = nc_shape_count(s) / 3;
    nc_shape third = *s;
    if (s->dim[0] % 3)
        return;
    third.dim[0] /= 3;
    out->count = 3;
    const char *rest = strrchr(out->part[0].name, '.');
    for (int i = 2; i >= 0; i--) {
        nc_gguf_part *p = &out->part[i];
        char name[sizeof p->name];
        snprintf(name, sizeof name, "v.blk.%d.attn_%c%s", ask->layer, "qkv"[i], rest);
        *p = (nc_gguf_part){ .shape = third, .offset = i * n, .dim = { 1, 1, 1, n }, .stride = { n, n, n, 1 } };
        memcpy(p->name, name, sizeof name);
    }
}

static int deep_layer(const nc_json *vision, int i)
{
    const nc_json *list = nc_json_get(vision, "deepstack_visual_indexes");
    return list ? (int)nc_json_int(nc_json_at(list, i), i) : 8 * (i + 1);
}

static void by_layer(const nc_gguf_ask *ask, nc_gguf_home *out)
{
    static const char head[] = "v.deepstack.";
    char name[sizeof out->part[0].name];
    const char *rest = strchr(out->part[0].name + strlen(head), '.');
    snprintf(name, sizeof name, "%s%d%.40s", head, deep_layer(ask->config, ask->layer), rest);
    memcpy(out->part[0].name, name, sizeof name);
}

#define BLOCK(site, file) { "visual.blocks.#." site, "v.blk.#." file, NULL }
#define DEEP(site, file) { "visual.deepstack_merger_list.#." site, "v.deepstack.#." file, by_layer }

static const nc_gguf_rule blocks[] = {
    { "visual.patch_embed.proj.weight", "v.patch_embd.weight", frames_apart }, { "visual.patch_embed.proj.bias", "v.patch_embd.bias", NULL },
    BLOCK("attn.proj.", "attn_out."), BLOCK("norm1.", "ln1."), BLOCK("norm2.", "ln2."),
    { NULL, NULL, NULL },
};
static const nc_gguf_rule qwen2_rules[] = {
    { "visual.blocks.#.attn.qkv.", "v.blk.#.attn_q.", qkv_apart }, BLOCK("mlp.fc1.", "ffn_up."), BLOCK("mlp.fc2.", "ffn_down."),
    BLOCK("mlp.gate_proj.", "ffn_gate."), BLOCK("mlp.up_proj.", "ffn_up."), BLOCK("mlp.down_proj.", "ffn_down."),
    { "visual.merger.ln_q.", "v.post_ln.", NULL }, { "visual.merger.mlp.0.", "mm.0.", NULL }, { "visual.merger.mlp.2.", "mm.2.", NULL },
    { NULL, NULL, NULL },
};
static const nc_gguf_rule qwen3_rules[] = {
    BLOCK("attn.qkv.", "attn_qkv."), BLOCK("mlp.linear_fc1.", "ffn_up."), BLOCK("mlp.linear_fc2.", "ffn_down."), { "visual.pos_embed.", "v.position_embd.", NULL },
    { "visual.merger.norm.", "v.post_ln.", NULL }, { "visual.merger.linear_fc1.", "mm.0.", NULL }, { "visual.merger.linear_fc2.", "mm.2.", NULL },
    DEEP("norm.", "norm."), DEEP("linear_fc1.", "fc1."), DEEP("linear_fc2.", "fc2."),
    { NULL, NULL, NULL },
};

static const nc_gguf_word qwen2_words[] = {
    { "vision.image_size", NC_GGUF_U32, "image_size", "560" }, { "vision.patch_size", NC_GGUF_U32, "patch_size", "14" },
    { "vision.embedding_length", NC_GGUF_U32, "embed_dim", "1280" }, { "vision.feed_forward_length", NC_GGUF_U32, "hidden_size", "3584" },
    { "vision.block_count", NC_GGUF_U32, "depth", "32" }, { "vision.attention.head_count", NC_GGUF_U32, "num_heads", "16" },
    { NULL, 0, NULL, NULL },
};
static const nc_gguf_word qwen2_5_words[] = {
    { "vision.image_size", NC_GGUF_U32, "image_size", "560" }, { "vision.patch_size", NC_GGUF_U32, "patch_size", "14" },
    { "vision.embedding_length", NC_GGUF_U32, "hidden_size", "3584" }, { "vision.feed_forward_length", NC_GGUF_U32, "intermediate_size", "3420" },
    { "vision.block_count", NC_GGUF_U32, "depth", "32" }, { "vision.attention.head_count", NC_GGUF_U32, "num_heads", "16" },
    { NULL, 0, NULL, NULL },
};
static const nc_gguf_word qwen3_words[] = {
    { "vision.patch_size", NC_GGUF_U32, "patch_size", "14" },
    { "vision.embedding_length", NC_GGUF_U32, "hidden_size", "1152" }, { "vision.feed_forward_length", NC_GGUF_U32, "intermediate_size", "4304" },
    { "vision.block_count", NC_GGUF_U32, "depth", "32" }, { "vision.attention.head_count", NC_GGUF_U32, "num_heads", "16" },
    { "vision.spatial_merge_size", NC_GGUF_U32, "spatial_merge_size", "2" },
    { NULL, 0, NULL, NULL },
};

static void qwen2_tower_more(const nc_gguf_words *w)
{
    nc_gguf_activation_words(w, "quick_gelu");
    nc_gguf_word_real(w, "vision.attention.layer_norm_epsilon", 1e-6);
}

/* One block in `period` sees everything, the last of each run; 0: they lie otherwise. */
static int64_t period_of(const nc_json *vision)
{
    const nc_json *list = nc_json_get(vision, "fullatt_block_indexes");
    const int64_t period = list ? nc_json_int(nc_json_at(list, 0), -1) + 1 : 8;
    for (int i = 1; list && i < list->count; i++)
        if (nc_json_int(nc_json_at(list, i), -1) - nc_json_int(nc_json_at(list, i - 1), -1) != period)
            return 0;
    return period;
}

static void qwen2_5_tower_more(const nc_gguf_words *w)
{
    nc_gguf_activation_words(w, "silu");
    nc_gguf_word_int(w, "vision.n_wa_pattern", period_of(w->config));
    nc_gguf_word_real(w, "vision.attention.layer_norm_epsilon", 1e-6);
}

static void qwen3_tower_more(const nc_gguf_words *w)
{
    const int64_t positions = nc_gguf_config_int(w->config, "num_position_embeddings", 2304), layers = nc_gguf_config_int(w->config, "depth", 32);
    const nc_json *list = nc_json_get(w->config, "deepstack_visual_indexes");
    nc_gguf_word_int(w, "vision.image_size", (int64_t)(sqrt((double)positions) * (double)nc_gguf_config_int(w->config, "patch_size", 14)));
    nc_gguf_activation_words(w, "gelu_pytorch_tanh");
    nc_gguf_word_real(w, "vision.attention.layer_norm_epsilon", 1e-6);
    uint8_t *deep = nc_xcalloc((size_t)layers + 1, 1);
    for (int i = 0; i < (list ? list->count : 3); i++)
        if (deep_layer(w->config, i) >= 0 && deep_layer(w->config, i) < layers)
            deep[deep_layer(w->config, i)] = 1;
    nc_gguf_set_numbers(w->meta, "clip.vision.is_deepstack_layers", NC_GGUF_BOOL, deep, layers);
    free(deep);
}

static bool two_frames(const nc_json *config) { return nc_gguf_config_int(config, "vision_config.temporal_patch_size", 2) == 2; }
static bool regular(const nc_json *config) { return two_frames(config) && period_of(nc_json_get(config, "vision_config")) > 0; }

const nc_gguf_tower nc_gguf_tower_qwen2_vl = {
    .families = "qwen2_vl", .projector = "qwen2vl_merger", .rules = { qwen2_rules, blocks }, .words = qwen2_words, .fits = two_frames, .more = qwen2_tower_more,
};
const nc_gguf_tower nc_gguf_tower_qwen2_5_vl = {
    .families = "qwen2_5_vl", .projector = "qwen2.5vl_merger", .rules = { qwen2_rules, blocks }, .words = qwen2_5_words, .fits = regular, .more = qwen2_5_tower_more,
};
const nc_gguf_tower nc_gguf_tower_qwen3_vl = {
    .families = "qwen3_vl", .prefix = "model.", .projector = "qwen3vl_merger", .rules = { qwen3_rules, blocks }, .words = qwen3_words, .fits = two_frames, .more = qwen3_tower_more,
};

/* qwen_vl.c - the tower and the merger of Qwen's vision-language models, and the config they share.
 *
 *   x = W patches [+ interpolated table of positions]                                             [P,Dv], patches in blocks of merge x merge
 *   per block:  x += proj(attention(rope2d(q h), rope2d(k h), v h)), h = norm1 x;   x += mlp(norm2 x)
 *   media = fc2 gelu(fc1 (norm x of the merge^2 patches of a block side by side))                  [P / merge^2, D]
 *   deepstack: a merger of its own behind some blocks, with its norm over the merged row; side by side with media, added behind the decoder's first blocks
 *
 * Easy to get wrong: a frame of a video is a sequence of its own in the tower; windows are cut from merged units and the border's are smaller; the merger's gelu is the
 * exact one whatever hidden_act says; norms have eps 1e-6.
 */
#include "models/qwen_vl.h"

#include <stdio.h>

static const double tower_eps = 1e-6, tower_theta = 10000;

const char *const nc_qwen_vl_towers[] = { "visual.patch_embed.", "visual.blocks.", "model.visual.patch_embed.", "model.visual.pos_embed.", "model.visual.blocks.", NULL };
const char *const nc_qwen_vl_projectors[] = { "visual.merger.", "model.visual.merger.", "model.visual.deepstack_merger_list.", NULL };
const char *const nc_qwen_vl_ignored[] = { "*rotary_emb.inv_freq", "*rotary_pos_emb.inv_freq", NULL };

static void check_rope(nc_config *r, nc_qwen_vl *c)
{
    nc_config *own = nc_config_child(r, "rope_parameters");
    double theta = own ? nc_config_float(own, "rope_theta", tower_theta) : tower_theta;
    const char *type = own ? nc_config_string(own, "rope_type", "axial") : "axial";
    nc_error e = { 0 };
    if (strcmp(type, "axial") && strcmp(type, "default"))
        nc_config_mistake(r, "rope_type \"%s\" is not known to this tower (axial is)", type);
    else if (!(theta > 0))
        nc_config_mistake(r, "rope_theta must be over 0");
    else if (c->heads < 1 || c->width % c->heads)
        nc_config_mistake(r, "a tower of width %d with %d heads", c->width, c->heads);
    else if (nc_rope_make_plane(&c->rope, c->width / c->heads, theta, &e) < 0)
        nc_config_mistake(r, "%s", e.message);
}

/* A config of transformers 5 keeps the text's keys in text_config; older ones at the top, and some write both. */
static nc_config *text_reader(nc_config *r)
{
    static const char *const doubled[] = { "attention_bias", "attention_dropout", "head_dim", "hidden_act", "hidden_size", "intermediate_size", "layer_types", "max_position_embeddings",
                                           "max_window_layers", "num_attention_heads", "num_hidden_layers", "num_key_value_heads", "rms_norm_eps", "rope_parameters",
                                           "rope_scaling", "rope_theta", "sliding_window", "use_sliding_window", "vocab_size", NULL };
    nc_config *text = nc_config_child(r, "text_config");
    if (text)
        nc_config_ignore(r, doubled);
    return text ? text : r;
}

nc_config *nc_qwen_vl_config(nc_model *m, nc_qwen_vl *c, nc_config *r, nc_config **text)
{
    static const char *const ignored[] = { "vision_start_token_id", "vision_end_token_id", "vision_token_id", NULL };
    static const char *const vision_ignored[] = { "in_chans", "spatial_patch_size", NULL };
    *text = text_reader(r);
    m->image_token_id = (int)nc_config_int(r, "image_token_id", 151655);
    m->video_token_id = (int)nc_config_int(r, "video_token_id", 151656);
    c->text.tied = nc_config_bool(r, "tie_word_embeddings", false);
    nc_config_ignore(r, ignored);
    nc_config *v = nc_config_child(r, "vision_config");
    if (!v) {
        nc_config_mistake(r, "the key \"vision_config\" is missing");
        return NULL;
    }
    c->depth = nc_config_layers(v, "depth", 32);
    c->heads = (int)nc_config_int(v, "num_heads", 16);
    c->channels = (int)nc_config_int(v, "in_channels", 3);
    c->patch = nc_config_side(v, "patch_size", 14);
    c->merge = (int)nc_config_int(v, "spatial_merge_size", 2);
    c->temporal = nc_config_side(v, "temporal_patch_size", 2);
    nc_config_ignore(v, vision_ignored);
    return v;
}

void nc_qwen_vl_text(nc_model *m, nc_qwen_vl *c, nc_config *text)
{
    c->text.mrope = true;
    nc_llama_config(m, &c->text, text, 1e6);
    nc_qwen_windows(m, &c->text, text);
    c->text.qkv_bias = true;
    c->text.o_bias = false;
}

void nc_qwen_vl_check(nc_model *m, nc_qwen_vl *c, nc_config *v)
{
    check_rope(v, c);
    if (c->width < 1 || c->inner < 1 || c->channels < 1 || c->patch < 1 || c->patch > 1024 || c->merge < 1 || c->merge > 64 || c->temporal < 1 || c->temporal > 64)
        nc_config_mistake(v, "a tower of width %d, %d channels, patches of %d, %d x %d of them merged, %d in time", c->width, c->channels, c->patch, c->merge, c->merge, c->temporal);
    else if (c->out != m->hidden_size)
        nc_config_mistake(v, "the tower gives rows of %d, the text has rows of %d", c->out, m->hidden_size);
    m->media_width = (1 + c->deep_count) * m->hidden_size;
    if (c->text.rope.axes != 3)
        nc_config_mistake(v, "mrope_section is missing in rope_scaling or rope_parameters");
}

/* ---- weights ---- */

static nc_site *bias(nc_model *m, const char *name, int width)
{
    char full[64];
    snprintf(full, sizeof full, "%s.bias", name);
    return nc_weight_bias(m, full, width);
}

static nc_site *linear(nc_model *m, const char *name, int out, int in)
{
    char full[64];
    snprintf(full, sizeof full, "%s.weight", name);
    return nc_weight_linear(m, full, out, in);
}

static nc_site *norm_weight(nc_model *m, const nc_qwen_vl *c, const char *name, int width, nc_site **b)
{
    char full[64];
    snprintf(full, sizeof full, "%s.weight", name);
    nc_site *w = nc_weight_norm(m, full, width);
    *b = c->rms ? NULL : bias(m, name, width);
    return w;
}

static void block_weights(nc_model *m, nc_qwen_vl *c, nc_qwen_block *l)
{
    const int D = c->width, F = c->inner;
    l->norm1 = norm_weight(m, c, "norm1", D, &l->norm1_b);
    l->norm2 = norm_weight(m, c, "norm2", D, &l->norm2_b);
    l->qkv = linear(m, "attn.qkv", 3 * D, D);
    l->qkv_b = bias(m, "attn.qkv", 3 * D);
    l->proj = linear(m, "attn.proj", D, D);
    l->proj_b = bias(m, "attn.proj", D);
    l->fc1 = linear(m, c->mlp_names[0], F, D);
    l->fc1_b = bias(m, c->mlp_names[0], F);
    if (c->gated) {
        l->up = linear(m, c->mlp_names[1], F, D);
        l->up_b = bias(m, c->mlp_names[1], F);
    }
    l->fc2 = linear(m, c->mlp_names[2], D, F);
    l->fc2_b = bias(m, c->mlp_names[2], D);
}

static void merger_weights(nc_model *m, const nc_qwen_vl *c, nc_qwen_merger *w, bool norm_after)
{
    const int wide = c->width * c->merge * c->merge;
    w->norm_after = norm_after;
    w->norm = norm_weight(m, c, c->merger_names[0], norm_after ? wide : c->width, &w->norm_b);
    w->fc1 = linear(m, c->merger_names[1], wide, wide);
    w->fc1_b = bias(m, c->merger_names[1], wide);
    w->fc2 = linear(m, c->merger_names[2], c->out, wide);
    w->fc2_b = bias(m, c->merger_names[2], c->out);
}

void nc_qwen_vl_weights(nc_model *m, void *self)
{
    nc_qwen_vl *c = self;
    nc_weight_scope(m, "%s", c->scope);
    c->patch_w = nc_weight_linear(m, "patch_embed.proj.weight", c->width, c->channels * c->temporal * c->patch * c->patch);
    c->patch_w->file_shape = NC_SHAPE(c->width, c->channels, c->temporal, c->patch, c->patch);
    c->patch_b = c->patch_bias ? nc_weight_bias(m, "patch_embed.proj.bias", c->width) : NULL;
    c->position = c->side ? nc_weight_table(m, "pos_embed.weight", c->side * c->side, c->width) : NULL;
    c->block = NC_NEW_ARRAY(m->arena, nc_qwen_block, c->depth + 1);
    c->deep_merger = NC_NEW_ARRAY(m->arena, nc_qwen_merger, c->deep_count + 1);
    for (int i = 0; i < c->depth; i++) {
        nc_weight_scope(m, "%sblocks.%d.", c->scope, i);
        block_weights(m, c, &c->block[i]);
    }
    nc_weight_scope(m, "%smerger.", c->scope);
    merger_weights(m, c, &c->merger, false);
    for (int i = 0; i < c->deep_count; i++) {
        nc_weight_scope(m, "%sdeepstack_merger_list.%d.", c->scope, i);
        merger_weights(m, c, &c->deep_merger[i], true);
    }
    nc_llama_weights(m, self);
}

/* ---- tower ---- */

static nc_value *norm(const nc_qwen_vl *c, nc_build *b, nc_value *x, nc_site *w, nc_site *bias_w)
{
    return c->rms ? nc_rms(b, x, w, tower_eps) : nc_ln(b, x, w, bias_w, tower_eps);
}

static nc_value *attention(const nc_qwen_vl *c, nc_build *b, const nc_qwen_block *l, nc_value *x, nc_rope_rows rope, const nc_spans *spans)
{
    const int D = c->width, A = D / c->heads;
    const int64_t N = x->shape.dim[0];
    nc_value *qkv = nc_linear(b, x, l->qkv, l->qkv_b);
    nc_value *q = nc_reshape(b->g, nc_slice(b->g, qkv, 1, 0, D), NC_SHAPE(N, c->heads, A));
    nc_value *k = nc_reshape(b->g, nc_slice(b->g, qkv, 1, D, D), NC_SHAPE(N, c->heads, A));
    nc_value *y = nc_attend_heads(b, nc_rope_apply(b, q, rope), nc_rope_apply(b, k, rope), nc_slice(b->g, qkv, 1, 2 * D, D),
                                  &(nc_attend){ .heads = c->heads, .kv_heads = c->heads, .head_dim = A, .spans = spans });
    return nc_linear(b, y, l->proj, l->proj_b);
}

static nc_value *mlp(const nc_qwen_vl *c, nc_build *b, const nc_qwen_block *l, nc_value *x)
{
    if (!c->gated)
        return nc_mlp(b, c->activation, x, l->fc1, l->fc1_b, l->fc2, l->fc2_b);
    return nc_linear(b, nc_gated(b->g, c->activation, nc_linear(b, x, l->fc1, l->fc1_b), nc_linear(b, x, l->up, l->up_b)), l->fc2, l->fc2_b);
}

static nc_value *block(const nc_qwen_vl *c, nc_build *b, int i, nc_value *x, nc_rope_rows rope)
{
    const nc_qwen_block *l = &c->block[i];
    const nc_spans *spans = nc_in_spans(b, c->window && !c->full[i] ? "vision.windows" : "vision");
    nc_scope_push(b->g, "blocks.%d", i);
    nc_block_begin(b->g);
    nc_value *h = nc_point(b, norm(c, b, x, l->norm1, l->norm1_b), "attn.in");
    x = nc_add(b->g, x, nc_point(b, attention(c, b, l, h, rope, spans), "attn.out"));
    x = nc_add(b->g, x, mlp(c, b, l, norm(c, b, x, l->norm2, l->norm2_b)));
    nc_block_end(b->g);
    nc_scope_pop(b->g);
    return nc_probe(b, x, "tower.hidden.%d", i + 1);
}

/* Rows of merged units [media, merge^2 D] from patch rows, and back. */
static nc_value *side_by_side(const nc_qwen_vl *c, nc_build *b, nc_value *x, int64_t width)
{
    int64_t unit = (int64_t)c->merge * c->merge;
    return nc_reshape(b->g, x, NC_SHAPE(x->shape.dim[0] / unit, unit * width));
}

static nc_value *merge(const nc_qwen_vl *c, nc_build *b, const nc_qwen_merger *w, nc_value *x)
{
    nc_value *h = w->norm_after ? norm(c, b, side_by_side(c, b, x, c->width), w->norm, w->norm_b) : side_by_side(c, b, norm(c, b, x, w->norm, w->norm_b), c->width);
    return nc_mlp(b, NC_GELU, h, w->fc1, w->fc1_b, w->fc2, w->fc2_b);
}

/* An input with so many numbers for each patch, as patch rows. */
static nc_value *per_patch(const nc_qwen_vl *c, nc_build *b, const char *name, nc_dtype t, int64_t width)
{
    int64_t unit = (int64_t)c->merge * c->merge;
    nc_value *x = nc_in(b, name, t, "media", unit * width);
    return nc_reshape(b->g, x, NC_SHAPE(x->shape.dim[0] * unit, width));
}

static nc_value *embed(const nc_qwen_vl *c, nc_build *b)
{
    nc_value *patches = per_patch(c, b, "vision.patches", NC_F32, (int64_t)c->channels * c->temporal * c->patch * c->patch);
    nc_value *x = nc_probe(b, nc_linear(b, nc_cast(b->g, patches, nc_graph_compute(b->g)), c->patch_w, c->patch_b), "tower.patch_embed");
    if (c->position)
        x = nc_add(b->g, x, nc_gather_weighted(b->g, nc_site_value(b, c->position), per_patch(c, b, "vision.taps", NC_I32, 4), per_patch(c, b, "vision.share", NC_F32, 4)));
    nc_probe(b, x, "tower.hidden.0");
    if (c->window) {
        int64_t N = x->shape.dim[0];
        x = nc_gather_rows(b->g, side_by_side(c, b, x, c->width), nc_in(b, "vision.order", NC_I32, "media", 0));
        x = nc_reshape(b->g, x, NC_SHAPE(N, c->width));
    }
    return x;
}

static int deep_of(const nc_qwen_vl *c, int layer)
{
    for (int i = 0; i < c->deep_count; i++)
        if (c->deep[i] == layer)
            return i;
    return -1;
}

nc_value *nc_qwen_vl_tower(const nc_model *m, const void *self, nc_build *b)
{
    const nc_qwen_vl *c = self;
    nc_value **out = NC_NEW_ARRAY(m->arena, nc_value *, c->deep_count + 1);
    nc_scope_push(b->g, "visual");
    nc_value *x = embed(c, b);
    nc_rope_rows rope = nc_rope_rows_of(b, &c->rope, per_patch(c, b, "vision.pos", NC_I32, 2));
    for (int i = 0; i < c->depth; i++) {
        x = block(c, b, i, x, rope);
        int k = deep_of(c, i);
        if (k >= 0)
            out[1 + k] = nc_probe(b, merge(c, b, &c->deep_merger[k], x), "deepstack.%d", k);
    }
    out[0] = nc_probe(b, merge(c, b, &c->merger, x), "projector.out");
    nc_value *y = c->deep_count ? nc_concat(b->g, out, c->deep_count + 1, 1) : out[0];
    if (c->window)
        y = nc_gather_rows(b->g, y, nc_in(b, "vision.back", NC_I32, "media", 0));
    nc_scope_pop(b->g);
    return y;
}

void nc_qwen_vl_capacity(const void *self, nc_build *b, int64_t patches)
{
    const nc_qwen_vl *c = self;
    int64_t unit = (int64_t)c->merge * c->merge;
    nc_build_capacity(b, "media", (patches + unit - 1) / unit);
}

int nc_qwen_vl_media_rows(const nc_model *m, const void *self, const nc_media *media)
{
    const nc_qwen_vl *c = self;
    (void)m;
    return (int)(nc_media_units(media) / (c->merge * c->merge));
}

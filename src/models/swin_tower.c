/* swin_tower.c - see swin.h: config, weights and forward. */
#include "models/swin.h"

#include <stdio.h>

static int list_of(nc_config *r, const char *key, int *to, int fallback_count, const int *fallback)
{
    const nc_json *list = nc_config_get(r, key);
    int n = 0;
    if (!list) {
        memcpy(to, fallback, sizeof *to * (size_t)fallback_count);
        return fallback_count;
    }
    NC_JSON_EACH(item, list) {
        int64_t v = 0;
        if (n == NC_SWIN_STAGES || !nc_json_int_exact(item, &v) || v < 1 || v > NC_MAX_LAYERS) {
            nc_config_mistake(r, "\"%s\" must be at most %d whole numbers from 1 to %d", key, NC_SWIN_STAGES, NC_MAX_LAYERS);
            return 0;
        }
        to[n++] = (int)v;
    }
    return n;
}

static void picture_size(nc_swin *c, nc_config *r)
{
    int64_t size[2] = { 224, 224 };
    const nc_json *v = nc_config_get(r, "image_size");
    int n = 0;
    if (nc_json_is(v, NC_JSON_ARRAY)) {
        NC_JSON_EACH(item, v)
            if (n < 2)
                size[n++] = nc_json_int(item, 0);
    } else if (v) {
        size[0] = size[1] = nc_json_int(v, 0);
    }
    if (size[0] < c->patch || size[1] < c->patch || size[0] > 1 << 16 || size[1] > 1 << 16)
        nc_config_mistake(r, "image_size %lld x %lld with patches of %d", (long long)size[0], (long long)size[1], c->patch);
    c->height = (int)size[0];
    c->width = (int)size[1];
}

void nc_swin_config(nc_swin *c, nc_config *r)
{
    static const char *const ignored[] = { "hidden_dropout_prob", "attention_probs_dropout_prob", "drop_path_rate", "num_layers", "hidden_size", "encoder_stride", "out_features", "out_indices",
                                           "stage_names", "path_norm", NULL };
    static const int depths[] = { 2, 2, 6, 2 }, usual[] = { 3, 6, 12, 24 };
    int depth[NC_SWIN_STAGES] = { 0 }, heads[NC_SWIN_STAGES] = { 0 };
    c->embed = (int)nc_config_int(r, "embed_dim", 96);
    c->patch = (int)nc_config_int(r, "patch_size", 4);
    c->channels = (int)nc_config_int(r, "num_channels", 3);
    c->window = (int)nc_config_int(r, "window_size", 7);
    c->mlp_ratio = nc_config_float(r, "mlp_ratio", 4);
    c->eps = nc_config_float(r, "layer_norm_eps", 1e-5);
    c->activation = (nc_unary)nc_config_activation(r, "hidden_act", "gelu");
    c->qkv_bias = nc_config_bool(r, "qkv_bias", true);
    nc_config_expect_bool(r, "use_absolute_embeddings", false);
    nc_config_ignore(r, ignored);
    c->stages = list_of(r, "depths", depth, 4, depths);
    if (list_of(r, "num_heads", heads, 4, usual) != c->stages || c->stages < 1)
        nc_config_mistake(r, "\"depths\" and \"num_heads\" must have as many numbers");
    if (c->embed < 1 || c->embed > 1 << 16 || c->patch < 1 || c->window < 1 || c->window > 256 || c->channels < 1 || !(c->mlp_ratio > 0)) {
        nc_config_mistake(r, "embed_dim %d, patch_size %d, window_size %d, mlp_ratio %g", c->embed, c->patch, c->window, c->mlp_ratio);
        c->stages = 0;
        return;
    }
    for (int s = 0; s < c->stages; s++) {
        c->stage[s] = (nc_swin_stage){ .depth = depth[s], .heads = heads[s], .width = c->embed << s };
        if (heads[s] < 1 || c->stage[s].width % heads[s])
            nc_config_mistake(r, "stage %d is %d wide, no multiple of its %d heads", s, c->stage[s].width, heads[s]);
    }
    picture_size(c, r);
}

int nc_swin_width(const nc_swin *c) { return c->stages ? c->stage[c->stages - 1].width : 0; }

static void block_weights(nc_model *m, nc_swin *c, int stage, int block)
{
    nc_swin_block *l = &c->stage[stage].block[block];
    const int D = c->stage[stage].width, F = (int)(c->mlp_ratio * D), side = 2 * c->window - 1;
    l->before = nc_weight_layer_norm(m, "layernorm_before", D);
    l->bias = nc_weight_table(m, "attention.self.relative_position_bias_table", (int64_t)side * side, c->stage[stage].heads);
    l->q = nc_weight_dense(m, "attention.self.query", D, D, c->qkv_bias);
    l->k = nc_weight_dense(m, "attention.self.key", D, D, c->qkv_bias);
    l->v = nc_weight_dense(m, "attention.self.value", D, D, c->qkv_bias);
    l->o = nc_weight_dense(m, "attention.output.dense", D, D, true);
    l->after = nc_weight_layer_norm(m, "layernorm_after", D);
    l->up = nc_weight_dense(m, "intermediate.dense", F, D, true);
    l->down = nc_weight_dense(m, "output.dense", D, F, true);
}

void nc_swin_weights(nc_model *m, nc_swin *c, const char *prefix)
{
    nc_weight_scope(m, "%sembeddings.", prefix);
    c->patches.w = nc_weight_conv(m, "patch_embeddings.projection.weight", c->embed, c->channels, c->patch, c->patch);
    c->patches.b = nc_weight_bias(m, "patch_embeddings.projection.bias", c->embed);
    c->norm = nc_weight_layer_norm(m, "norm", c->embed);
    for (int s = 0; s < c->stages; s++) {
        nc_swin_stage *stage = &c->stage[s];
        stage->block = NC_NEW_ARRAY(m->arena, nc_swin_block, stage->depth);
        for (int i = 0; i < stage->depth; i++) {
            nc_weight_scope(m, "%sencoder.layers.%d.blocks.%d.", prefix, s, i);
            (c->block_weights ? c->block_weights : block_weights)(m, c, s, i);
        }
        if (s + 1 == c->stages)
            break;
        nc_weight_scope(m, "%sencoder.layers.%d.downsample.", prefix, s);
        stage->reduction = nc_weight_dense(m, "reduction", 2 * stage->width, 4 * stage->width, false);
        stage->norm = nc_weight_layer_norm(m, "norm", c->merge ? 2 * stage->width : 4 * stage->width);
    }
}

/* ---- forward ---- */
nc_swin_windows nc_swin_windows_of(const nc_swin *c, nc_build *b, int stage, int block)
{
    char rows[32], back[32], code[32], spans[32], in[32], out[32];
    const int moved = block % 2, side = nc_swin_window(c, stage);
    snprintf(rows, sizeof rows, "swin.%d.%d.rows", stage, moved);
    snprintf(back, sizeof back, "swin.%d.%d.back", stage, moved);
    snprintf(code, sizeof code, "swin.%d.%d.code", stage, moved);
    snprintf(spans, sizeof spans, "swin.%d.%d", stage, moved);
    snprintf(in, sizeof in, "swin.%d", stage);
    snprintf(out, sizeof out, "swin.%d.%d", stage, moved);
    return (nc_swin_windows){ nc_in(b, rows, NC_I32, out, 0), nc_in(b, back, NC_I32, in, 0), nc_in(b, code, NC_I32, out, 0), nc_in_spans(b, spans), 2 * (int64_t)side * (side - 1) };
}

nc_value *nc_swin_mlp(const nc_swin *c, nc_build *b, const nc_swin_block *l, nc_value *x)
{
    return nc_mlp(b, c->activation, x, l->up.w, l->up.b, l->down.w, l->down.b);
}

static nc_value *attention(const nc_swin *c, nc_build *b, int stage, int block, nc_value *x)
{
    const nc_swin_block *l = &c->stage[stage].block[block];
    const int heads = c->stage[stage].heads;
    nc_swin_windows w = nc_swin_windows_of(c, b, stage, block);
    nc_value *h = nc_gather_rows(b->g, nc_point(b, x, "attn.in"), w.rows);
    nc_value *bias = nc_permute(b->g, nc_cast(b->g, nc_site_value(b, l->bias), nc_graph_compute(b->g) == NC_F64 ? NC_F64 : NC_F32), (const int[]){ 1, 0 });
    nc_value *q = nc_dense_apply(b, h, l->q), *k = nc_dense_apply(b, h, l->k), *v = nc_dense_apply(b, h, l->v);
    nc_value *y = nc_attend_heads(b, q, k, v, &(nc_attend){ .heads = heads, .kv_heads = heads, .head_dim = c->stage[stage].width / heads, .spans = w.spans, .bias = bias,
                                                            .q_code = w.code, .k_code = w.code, .bias_offset = w.offset });
    return nc_point(b, nc_dense_apply(b, nc_gather_rows(b->g, y, w.back), l->o), "attn.out");
}

static nc_value *plain_block(const nc_swin *c, nc_build *b, int stage, int block, nc_value *x)
{
    const nc_swin_block *l = &c->stage[stage].block[block];
    x = nc_add(b->g, x, attention(c, b, stage, block, nc_ln(b, x, l->before.w, l->before.b, c->eps)));
    return nc_add(b->g, x, nc_swin_mlp(c, b, l, nc_ln(b, x, l->after.w, l->after.b, c->eps)));
}

static nc_value *merged(const nc_swin *c, nc_build *b, int s, nc_value *x)
{
    char merge[32], count[32];
    const nc_swin_stage *stage = &c->stage[s];
    snprintf(merge, sizeof merge, "swin.%d.merge", s);
    snprintf(count, sizeof count, "swin.%d", s + 1);
    nc_value *index = nc_in(b, merge, NC_I32, count, 4);
    int64_t rows = index->shape.dim[0];
    x = nc_gather_rows(b->g, x, nc_reshape(b->g, index, NC_SHAPE(4 * rows)));
    x = nc_reshape(b->g, x, NC_SHAPE(rows, 4 * (int64_t)stage->width));
    if (c->merge)
        return c->merge(c, b, s, x);
    return nc_dense_apply(b, nc_ln(b, x, stage->norm.w, stage->norm.b, 1e-5), stage->reduction);
}

nc_value *nc_swin_blocks(const nc_swin *c, nc_build *b, const char *prefix)
{
    int64_t width = (int64_t)c->channels * c->patch * c->patch;
    nc_value *x = nc_cast(b->g, nc_in(b, "swin.patches", NC_F32, "swin.0", width), nc_graph_compute(b->g));
    x = nc_dense_apply(b, x, c->patches);
    x = nc_probe(b, nc_ln(b, x, c->norm.w, c->norm.b, 1e-5), "%s.0", prefix);
    for (int s = 0; s < c->stages; s++) {
        for (int i = 0; i < c->stage[s].depth; i++) {
            nc_scope_push(b->g, "layers.%d.blocks.%d", s, i);
            nc_block_begin(b->g);
            x = (c->block ? c->block : plain_block)(c, b, s, i, x);
            nc_block_end(b->g);
            nc_scope_pop(b->g);
        }
        if (s + 1 < c->stages)
            x = merged(c, b, s, x);
        x = nc_probe(b, x, "%s.%d", prefix, s + 1);
    }
    return x;
}

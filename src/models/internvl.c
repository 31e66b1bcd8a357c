/* internvl.c - InternVL (Chen et al. 2024; Zhu et al. 2025): InternViT over tiles of a picture, its rows put together k x k, projected and spliced into a decoder's text.
 *
 *   f = InternViT(tile), class row dropped                                                      [side^2, Dv]
 *   media = linear_2 f(linear_1 layer_norm(the k x k rows of a block side by side))             [(side / k)^2, D],  k = 1 / downsample_ratio
 *
 * Easy to get wrong: the tower's closing norm is there only without use_mean_pooling, and feature layer -1 looks behind it; the projector's norm has eps 1e-5 over all
 * k^2 Dv columns; frames of a video are pictures of one tile.
 */
#include "models/media.h"
#include "models/vit.h"

/* ---- InternViT ---- */

static const nc_vit_names names = {
    .layer = "encoder.layer.", .norm1 = "layernorm_before", .q = "attention.q_proj", .k = "attention.k_proj", .v = "attention.v_proj", .o = "attention.projection_layer",
    .norm2 = "layernorm_after", .fc1 = "mlp.fc1", .fc2 = "mlp.fc2", .scale1 = "lambda_1", .scale2 = "lambda_2", .q_norm = "attention.q_norm", .k_norm = "attention.k_norm",
    .patch = "embeddings.patch_embeddings.projection", .norm = "layernorm",
};

static void vision_config(nc_model *m, void *self, nc_config *r)
{
    static const char *const ignored[] = { "projection_dropout", NULL };
    nc_vit *c = self;
    nc_vit_config(m, c, r, 1e-6, 14);
    c->names = &names;
    c->inner = (int)nc_config_int(r, "intermediate_size", 4096);
    c->q_bias = c->k_bias = c->v_bias = nc_config_bool(r, "attention_bias", false);
    c->qk_norm = nc_config_bool(r, "use_qk_norm", false);
    c->has_mask = nc_config_bool(r, "use_mask_token", false);
    c->has_position = nc_config_bool(r, "use_absolute_position_embeddings", true);
    c->scale_init = nc_config_float(r, "layer_scale_init_value", 0.1);
    c->norm_last = !nc_config_bool(r, "use_mean_pooling", true);
    const char *norm = nc_config_string(r, "norm_type", "layer_norm");
    c->rms = !strcmp(norm, "rms_norm");
    if (!c->rms && strcmp(norm, "layer_norm"))
        nc_config_mistake(r, "norm_type \"%s\" is neither \"layer_norm\" nor \"rms_norm\"", norm);
    nc_config_ignore(r, ignored);
}

static void vision_weights(nc_model *m, void *self)
{
    nc_vit_embedding_weights(m, self, "");
    nc_vit_block_weights(m, self, "");
}

static nc_value *vision(const nc_model *m, const void *self, nc_build *b, int layer, const char *prefix)
{
    const nc_vit *c = self;
    (void)m;
    nc_value *x = nc_vit_vision(c, b, layer, NULL, prefix);
    return layer == -1 && c->norm_last ? nc_ln(b, x, c->norm.w, c->norm.b, c->eps) : x;
}

const nc_family nc_family_internvl_vision = {
    .name = "internvl_vision", .architectures = "InternVLVisionModel", .size = sizeof(nc_vit), .config = vision_config, .weights = vision_weights, .vision = vision,
    .vision_info = nc_vit_info,
};

/* ---- the whole ---- */

struct internvl {
    nc_vision_text parts;                    /* first */
    int layer, block, side;                  /* block: k; side: of a tile, in patches */
    bool drop_class;
    nc_unary activation;
    nc_dense norm, linear_1, linear_2;
};

static void config(nc_model *m, void *self, nc_config *r)
{
    static const char *const ignored[] = { "image_seq_length", NULL };
    struct internvl *c = self;
    double ratio = nc_config_float(r, "downsample_ratio", 0.5);
    const char *strategy = nc_config_string(r, "vision_feature_select_strategy", "default");
    c->layer = (int)nc_config_int_any(r, "vision_feature_layer", -1);
    c->activation = (nc_unary)nc_config_activation(r, "projector_hidden_act", "gelu");
    m->image_token_id = (int)nc_config_int(r, "image_token_id", 151667);
    nc_config_ignore(r, ignored);
    c->drop_class = !strcmp(strategy, "default");
    if (!nc_vision_text_config(m, &c->parts, r, true))
        return;
    c->side = c->parts.info.image_size / c->parts.info.patch_size;
    c->block = ratio > 0 && ratio <= 1 ? (int)(1 / ratio) : 0;
    if (c->block < 1 || c->block * ratio != 1 || c->side % c->block)
        nc_config_mistake(r, "downsample_ratio %g does not divide %d x %d patches into blocks", ratio, c->side, c->side);
    if (!c->parts.vision->family->vision)
        nc_config_mistake(r, "a %s gives no rows of patches", c->parts.vision->family->name);
    if (!c->drop_class)
        nc_config_mistake(r, "vision_feature_select_strategy \"%s\" leaves rows that make no square (\"default\" drops the class row)", strategy);
}

static void weights(nc_model *m, void *self)
{
    struct internvl *c = self;
    const int D = m->hidden_size, wide = c->parts.info.hidden_size * c->block * c->block;
    nc_submodel_weights(c->parts.vision);
    nc_weight_scope(m, "multi_modal_projector.");
    c->norm = nc_weight_layer_norm(m, "layer_norm", wide);
    c->linear_1 = nc_weight_dense(m, "linear_1", D, wide, true);
    c->linear_2 = nc_weight_dense(m, "linear_2", D, D, true);
    nc_weight_scope(m, "%s", "");
    nc_submodel_weights(c->parts.text);
}

static int rows_of_tile(const struct internvl *c) { return c->side / c->block * (c->side / c->block); }

static int media_rows(const nc_model *m, const void *self, const nc_media *media)
{
    (void)m;
    return media->count * rows_of_tile(self);
}

static nc_value *tower(const nc_model *m, const void *self, nc_build *b)
{
    const struct internvl *c = self;
    const nc_model *v = c->parts.vision;
    const int64_t unit = (int64_t)c->block * c->block;
    (void)m;
    nc_scope_push(b->g, "vision_tower");
    nc_value *x = nc_model_vision(v, b, c->layer, "tower.hidden"), *from = nc_in(b, "media.from", NC_I32, "media", unit);
    nc_scope_pop(b->g);
    nc_scope_push(b->g, "multi_modal_projector");
    x = nc_gather_rows(b->g, x, nc_reshape(b->g, from, NC_SHAPE(from->shape.dim[0] * unit)));
    x = nc_reshape(b->g, x, NC_SHAPE(from->shape.dim[0], unit * c->parts.info.hidden_size));
    x = nc_dense_apply(b, nc_ln(b, x, c->norm.w, c->norm.b, 1e-5), c->linear_1);
    x = nc_probe(b, nc_dense_apply(b, nc_unary_op(b->g, c->activation, x), c->linear_2), "projector.out");
    nc_scope_pop(b->g);
    return x;
}

static int tower_tables(const void *self, nc_batch *batch, const nc_pixels *pictures, int count, nc_error *e)
{
    const struct internvl *c = self;
    const nc_vision_info *info = &c->parts.info;
    NC_TRY(nc_prepare_pictures(batch, info, pictures, count, e));
    nc_media_blocks(batch, count, c->side, c->block, info->class_rows + info->register_rows);
    return 0;
}

static int prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    return nc_vision_text_prepare(m, self, batch, seqs, count, tower_tables, e);
}

static void capacity(const void *self, nc_build *b, int64_t pictures)
{
    const struct internvl *c = self;
    nc_capacity_pictures(b, &c->parts.info, pictures);
    nc_build_capacity(b, "media", pictures * rows_of_tile(c));
}

static const char *const ignored_tensors[] = { "*rotary_emb.inv_freq", NULL };
static const char *const renames[] = { "model.language_model.", "language_model.model.", "lm_head.", "language_model.lm_head.", "model.vision_tower.", "vision_tower.",
                                       "model.multi_modal_projector.", "multi_modal_projector.", NULL };

const nc_family nc_family_internvl = {
    .name = "internvl", .architectures = "InternVLForConditionalGeneration", .size = sizeof(struct internvl), .config = config, .weights = weights, .ignored = ignored_tensors,
    .renames = renames, .prepare = prepare, .tower = tower, .decoder = nc_vision_text_decoder, .media_rows = media_rows, .head = nc_vision_text_head,
    .cache = nc_vision_text_cache, .capacity = capacity, .regime = nc_vision_text_regime,
};

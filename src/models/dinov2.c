/* dinov2.c - DINOv2 (Oquab et al. 2024) and DINOv2 with registers (Darcet et al. 2024).
 *
 *   rows = layernorm(blocks([class + position; registers; patches + positions])) with layer scale;  pooled = class row
 *   logits = classifier([class row; mean of the patch rows])
 *
 * Easy to get wrong: the mean leaves the registers out; SwiGLU's width is (int(D * mlp_ratio * 2 / 3) + 7) / 8 * 8, gate and up in one product; its activation is SiLU whatever
 * hidden_act says; positions of other sizes are resized with antialias where there are registers, without where there are none.
 */
#include "models/vit.h"

static const nc_vit_names plain = {
    .layer = "encoder.layer.", .norm1 = "norm1", .q = "attention.attention.query", .k = "attention.attention.key", .v = "attention.attention.value",
    .o = "attention.output.dense", .norm2 = "norm2", .fc1 = "mlp.fc1", .fc2 = "mlp.fc2", .scale1 = "layer_scale1.lambda1", .scale2 = "layer_scale2.lambda1",
    .patch = "embeddings.patch_embeddings.projection", .norm = "layernorm",
};
static const nc_vit_names swiglu = {
    .layer = "encoder.layer.", .norm1 = "norm1", .q = "attention.attention.query", .k = "attention.attention.key", .v = "attention.attention.value",
    .o = "attention.output.dense", .norm2 = "norm2", .fc1 = "mlp.weights_in", .fc2 = "mlp.weights_out", .scale1 = "layer_scale1.lambda1", .scale2 = "layer_scale2.lambda1",
    .patch = "embeddings.patch_embeddings.projection", .norm = "layernorm",
};

static void common_config(nc_model *m, void *self, nc_config *r, int patch)
{
    nc_vit *c = self;
    nc_vit_config(m, c, r, 1e-6, patch);
    double ratio = nc_config_float(r, "mlp_ratio", 4);
    bool gated = nc_config_bool(r, "use_swiglu_ffn", false);
    c->scale_init = nc_config_float(r, "layerscale_value", 1);
    c->has_mask = nc_config_bool(r, "use_mask_token", true);
    c->q_bias = c->k_bias = c->v_bias = nc_config_bool(r, "qkv_bias", true);
    c->has_position = c->mask_is_row = true;
    c->gated = c->joined = gated;
    c->names = gated ? &swiglu : &plain;
    if (!(ratio > 0 && ratio < 1024))
        nc_config_mistake(r, "\"mlp_ratio\" %g", ratio);
    else
        c->inner = gated ? ((int)((int)(c->width * ratio) * 2.0 / 3) + 7) / 8 * 8 : (int)(c->width * ratio);
    if (gated)
        c->activation = NC_SILU;
    if (nc_ends_with(c->class, "ForImageClassification"))
        nc_config_labels(m, r);
}

static void config(nc_model *m, void *self, nc_config *r) { common_config(m, self, r, 14); }

static void registers_config(nc_model *m, void *self, nc_config *r)
{
    nc_vit *c = self;
    common_config(m, self, r, 16);
    c->info.position_filter = NC_POSITION_CUBIC_ANTIALIAS;
    c->info.register_rows = (int)nc_config_int(r, "num_register_tokens", 4);
}

static void family_weights(nc_model *m, nc_vit *c, const char *family)
{
    const char *prefix = m->labels.count ? family : "";
    nc_vit_embedding_weights(m, c, prefix);
    nc_vit_block_weights(m, c, prefix);
    nc_weight_scope(m, "%s", "");
    if (m->labels.count)
        c->head = nc_weight_dense(m, "classifier", m->labels.count, 2 * c->width, true);
}

static void weights(nc_model *m, void *self) { family_weights(m, self, "dinov2."); }
static void registers_weights(nc_model *m, void *self) { family_weights(m, self, "dinov2_with_registers."); }

static nc_value *vision(const nc_model *m, const void *self, nc_build *b, int layer, const char *prefix)
{
    (void)m;
    return nc_vit_vision(self, b, layer, NULL, prefix);
}

static void encode(const nc_model *m, const void *self, nc_build *b, nc_modality what, nc_encoded *out)
{
    const nc_vit *c = self;
    (void)what;
    nc_value *x = vision(m, self, b, -1, "hidden");
    out->rows = nc_probe(b, nc_ln(b, x, c->norm.w, c->norm.b, c->eps), "out.last_hidden_state");
    out->pooled = nc_probe(b, nc_first_row(b, out->rows), "out.pooled");
    if (c->head.w) {
        nc_value *both[] = { out->pooled, nc_mean_of_patches(b, out->rows) };
        out->logits = nc_probe(b, nc_dense_apply(b, nc_concat(b->g, both, 2, 1), c->head), "out.logits");
    }
}

static const char *const renames[] = { "", "dinov2.", "dinov2.", "", NULL };
static const char *const registers_renames[] = { "", "dinov2_with_registers.", "dinov2_with_registers.", "", NULL };

const nc_family nc_family_dinov2 = {
    .name = "dinov2", .architectures = "Dinov2ForImageClassification Dinov2Model Dinov2Backbone", .size = sizeof(nc_vit), .config = config, .weights = weights,
    .renames = renames, .prepare = nc_vit_prepare, .vision = vision, .vision_info = nc_vit_info, .encode = encode, .capacity = nc_vit_capacity,
};
const nc_family nc_family_dinov2_with_registers = {
    .name = "dinov2_with_registers", .architectures = "Dinov2WithRegistersForImageClassification Dinov2WithRegistersModel Dinov2WithRegistersBackbone",
    .size = sizeof(nc_vit), .config = registers_config, .weights = registers_weights, .renames = registers_renames, .prepare = nc_vit_prepare, .vision = vision,
    .vision_info = nc_vit_info, .encode = encode, .capacity = nc_vit_capacity,
};

/* vision.c - clip_vision_model (Radford et al. 2021), siglip_vision_model (Zhai et al. 2023) and siglip2_vision_model (Tschannen et al. 2025, NaFlex).
 *
 *   x = patch_embedding(patches) [+ class_embedding in front] + position_embedding;  CLIP: x = pre_layrnorm x;  blocks;  post_layernorm
 *   CLIP pools post_layernorm of the class row; SigLIP pools by attention of a learned probe over post_layernorm of all rows.
 *
 * Easy to get wrong: CLIP's patch embedding has no bias, SigLIP's has one; "pre_layrnorm" is spelled so; feature layers are counted before post_layernorm; the head's attention
 * holds q, k and v in one in_proj_weight; SigLIP 2 resizes its positions to every picture's own grid, linear with antialias, and its patches have the channel fastest.
 */
#include "models/vision.h"

static void common_config(nc_model *m, nc_vision *c, nc_config *r)
{
    c->info.image_size = (int)nc_config_int(r, "image_size", 224);
    c->info.patch_size = (int)nc_config_int(r, "patch_size", 32);
    c->info.channels = (int)nc_config_int(r, "num_channels", 3);
    c->info.layers = c->encoder.layers;
    c->info.hidden_size = c->encoder.width;
    if (c->info.patch_size <= 0 || c->info.image_size < c->info.patch_size)
        nc_config_mistake(r, "image_size %d is smaller than patch_size %d", c->info.image_size, c->info.patch_size);
    m->hidden_size = c->encoder.width;
}

static void clip_config(nc_model *m, void *self, nc_config *r)
{
    static const char *const ignored[] = { "projection_dim", "initializer_factor", "dropout", NULL };
    nc_vision *c = self;
    c->is_clip = true;
    nc_encoder_config(r, &c->encoder, "quick_gelu", 1e-5);
    common_config(m, c, r);
    c->info.class_rows = 1;
    nc_config_ignore(r, ignored);
}

static void siglip_config(nc_model *m, void *self, nc_config *r)
{
    static const char *const ignored[] = { "num_image_tokens", "projection_dim", "projector_hidden_act", "num_positions", NULL };
    nc_vision *c = self;
    nc_config_ignore(r, ignored);
    nc_encoder_config(r, &c->encoder, "gelu_pytorch_tanh", 1e-6);
    common_config(m, c, r);
    c->use_head = nc_config_bool(r, "vision_use_head", true);
}

/* Idefics3's and SmolVLM's: SigLIP without a head. Positions of a whole tile are those of the table (fractions matter only to padded pictures). */
static void idefics3_config(nc_model *m, void *self, nc_config *r)
{
    nc_vision *c = self;
    nc_encoder_config(r, &c->encoder, "gelu_pytorch_tanh", 1e-6);
    common_config(m, c, r);
}

/* NaFlex: the table of positions is a square of num_patches. */
static void siglip2_config(nc_model *m, void *self, nc_config *r)
{
    nc_vision *c = self;
    int side = 0, patches = (int)nc_config_int(r, "num_patches", 256);
    nc_encoder_config(r, &c->encoder, "gelu_pytorch_tanh", 1e-6);
    while ((side + 1) * (side + 1) <= patches && side < 4096)
        side++;
    c->info = (nc_vision_info){ .patch_size = (int)nc_config_int(r, "patch_size", 16), .channels = (int)nc_config_int(r, "num_channels", 3), .layers = c->encoder.layers,
                                .hidden_size = c->encoder.width, .position_filter = NC_POSITION_LINEAR_ANTIALIAS, .channels_last = true };
    c->info.image_size = side * c->info.patch_size;
    c->naflex = true;
    c->use_head = nc_config_bool(r, "vision_use_head", true);
    m->hidden_size = c->encoder.width;
    if (side < 1 || side * side != patches || c->info.patch_size < 1)
        nc_config_mistake(r, "num_patches %d of size %d: they must make a square", patches, c->info.patch_size);
}

static void head_weights(nc_model *m, nc_vision *c)
{
    const int D = c->encoder.width, F = c->encoder.inner;
    nc_weight_scope(m, "vision_model.head.");
    c->probe = nc_weight(m, 0, NC_INIT_NORMAL, "probe", 1, D, 0, 0);
    c->probe->file_shape = NC_SHAPE(1, 1, D);
    c->in_proj = nc_weight_table(m, "attention.in_proj_weight", 3 * D, D);    /* sliced, so never held packed */
    c->in_proj_b = nc_weight_bias(m, "attention.in_proj_bias", 3 * D);
    c->out_proj = nc_weight_linear(m, "attention.out_proj.weight", D, D);
    c->out_proj_b = nc_weight_bias(m, "attention.out_proj.bias", D);
    c->head_ln = nc_weight_norm(m, "layernorm.weight", D);
    c->head_lnb = nc_weight_bias(m, "layernorm.bias", D);
    c->fc1 = nc_weight_linear(m, "mlp.fc1.weight", F, D);
    c->fc1b = nc_weight_bias(m, "mlp.fc1.bias", F);
    c->fc2 = nc_weight_linear(m, "mlp.fc2.weight", D, F);
    c->fc2b = nc_weight_bias(m, "mlp.fc2.bias", D);
}

static void weights(nc_model *m, void *self)
{
    nc_vision *c = self;
    const int D = c->encoder.width, P = c->info.patch_size, side = c->info.image_size / P;
    nc_weight_scope(m, "vision_model.embeddings.");
    if (c->is_clip) {
        c->class_embedding = nc_weight(m, 0, NC_INIT_NORMAL, "class_embedding", 1, D, 0, 0);
        c->class_embedding->file_shape = NC_SHAPE(D);
    }
    c->patch = c->naflex ? nc_weight_linear(m, "patch_embedding.weight", D, (int64_t)c->info.channels * P * P)
                         : nc_weight_conv(m, "patch_embedding.weight", D, c->info.channels, P, P);
    c->patch_b = c->is_clip ? NULL : nc_weight_bias(m, "patch_embedding.bias", D);
    c->position = nc_weight_table(m, "position_embedding.weight", side * side + c->info.class_rows, D);
    nc_weight_scope(m, "vision_model.");
    if (c->is_clip) {
        c->pre = nc_weight_norm(m, "pre_layrnorm.weight", D);
        c->pre_b = nc_weight_bias(m, "pre_layrnorm.bias", D);
    }
    nc_encoder_weights(m, &c->encoder, "vision_model.encoder.layers.");
    nc_weight_scope(m, "vision_model.");
    c->post = nc_weight_norm(m, "post_layernorm.weight", D);
    c->post_b = nc_weight_bias(m, "post_layernorm.bias", D);
    if (c->use_head)
        head_weights(m, c);
}

static nc_value *embed(const nc_vision *c, nc_build *b)
{
    int64_t width = (int64_t)c->info.channels * c->info.patch_size * c->info.patch_size;
    nc_value *patches = nc_cast(b->g, nc_in(b, "vision.patches", NC_F32, "patches", width), nc_graph_compute(b->g));
    nc_value *x = nc_linear(b, patches, c->patch, c->patch_b);
    if (c->is_clip) {
        x = nc_gather_rows(b->g, x, nc_in(b, "vision.rows", NC_I32, "vision", 0));
        x = nc_splice_rows(b->g, x, nc_site_value(b, c->class_embedding), nc_in(b, "vision.class", NC_I32, "vision", 0));
    }
    const char *rows = c->is_clip ? "vision" : "patches";
    const int taps = nc_position_taps(&c->info);
    nc_value *table = nc_site_value(b, c->position);
    x = nc_add(b->g, x, b->any_size || c->naflex ? nc_gather_weighted(b->g, table, nc_in(b, "vision.taps", NC_I32, rows, taps), nc_in(b, "vision.share", NC_F32, rows, taps))
                                                 : nc_embed(b, c->position, nc_in(b, "vision.pos", NC_I32, rows, 0)));
    return c->is_clip ? nc_ln(b, x, c->pre, c->pre_b, c->encoder.eps) : x;
}

static nc_value *vision(const nc_model *m, const void *self, nc_build *b, int layer, const char *probe_prefix)
{
    const nc_vision *c = self;
    int depth = nc_encoder_depth(&c->encoder, layer);
    (void)m;
    if (depth < 0) {
        nc_graph_mistake(b->g, NC_EINVAL, "the tower has %d layers, layer %d was asked for", c->encoder.layers, layer);
        return nc_graph_poison(b->g);
    }
    /* The reference runs every block; those beyond the feature layer matter only to probes. */
    nc_value *x = nc_encoder_blocks(&c->encoder, b, embed(c, b), depth, nc_in_spans(b, "vision"), probe_prefix);
    if (b->probes && probe_prefix && depth < c->encoder.layers)
        nc_vision_rest(c, b, x, depth, probe_prefix);
    return x;
}

void nc_vision_rest(const nc_vision *c, nc_build *b, nc_value *x, int depth, const char *prefix)
{
    nc_encoder rest = c->encoder;
    rest.layer += depth;
    rest.layers -= depth;
    for (int i = depth; i < c->encoder.layers; i++, rest.layer++) {
        x = nc_encoder_blocks(&rest, b, x, 1, nc_in_spans(b, "vision"), NULL);
        x = nc_probe(b, x, "%s.%d", prefix, i + 1);
    }
}

static void info(const void *self, nc_vision_info *out)
{
    *out = ((const nc_vision *)self)->info;
}

/* SigLIP's pooling: the probe attends to all rows of its picture, then x + mlp(layernorm x). */
static nc_value *attention_pool(const nc_vision *c, nc_build *b, nc_value *x)
{
    const int D = c->encoder.width;
    nc_value *w = nc_site_value(b, c->in_proj), *bias = nc_site_value(b, c->in_proj_b);
    nc_value *probe = nc_gather_rows(b->g, nc_site_value(b, c->probe), nc_in(b, "pool.rows", NC_I32, "pictures", 0));      /* [n,D] of row 0 */
    nc_value *q = nc_linear_op(b->g, probe, nc_slice(b->g, w, 0, 0, D), nc_slice(b->g, bias, 0, 0, D), NC_DTYPES);
    nc_value *k = nc_linear_op(b->g, x, nc_slice(b->g, w, 0, D, D), nc_slice(b->g, bias, 0, D, D), NC_DTYPES);
    nc_value *v = nc_linear_op(b->g, x, nc_slice(b->g, w, 0, 2 * D, D), nc_slice(b->g, bias, 0, 2 * D, D), NC_DTYPES);
    nc_value *y = nc_attend_heads(b, q, k, v, &(nc_attend){ .heads = c->encoder.heads, .kv_heads = c->encoder.heads, .head_dim = D / c->encoder.heads,
                                                            .spans = nc_in_spans(b, "pool") });
    y = nc_linear(b, y, c->out_proj, c->out_proj_b);
    return nc_add(b->g, y, nc_mlp(b, c->encoder.activation, nc_ln(b, y, c->head_ln, c->head_lnb, c->encoder.eps), c->fc1, c->fc1b, c->fc2, c->fc2b));
}

nc_value *nc_vision_pooled(const nc_model *m, nc_build *b, const char *probe_prefix, nc_value **rows)
{
    const nc_vision *c = m->self;
    nc_value *x = vision(m, c, b, -1, probe_prefix);
    if (c->is_clip) {
        *rows = nc_probe(b, x, "out.last_hidden_state");
        x = nc_gather_rows(b->g, x, nc_in(b, "pool.rows", NC_I32, "pictures", 0));
        return nc_probe(b, nc_ln(b, x, c->post, c->post_b, c->encoder.eps), "out.pooled");
    }
    *rows = x = nc_probe(b, nc_ln(b, x, c->post, c->post_b, c->encoder.eps), "out.last_hidden_state");
    return c->use_head ? nc_probe(b, attention_pool(c, b, x), "out.pooled") : x;
}

nc_value *nc_vision_closed(const nc_model *v, nc_build *b, const char *probe_prefix)
{
    const nc_vision *c = v->self;
    return nc_ln(b, vision(v, c, b, -1, probe_prefix), c->post, c->post_b, c->encoder.eps);
}

bool nc_is_closed_vision(const nc_model *v) { return v->family->weights == weights && !((const nc_vision *)v->self)->is_clip; }

int nc_vision_prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    const nc_vision *c = self;
    (void)m;
    NC_TRY(nc_prepare_samples(batch, &c->info, seqs, count, e));
    int32_t *at = nc_batch_i32(batch, "pool.rows", count, 1);
    nc_spans spans = nc_batch_spans(batch, "vision");
    for (int i = 0; i < count; i++) {
        const nc_span s = spans.span[i];
        at[i] = c->is_clip ? s.k_row : 0;
        if (!c->is_clip)
            nc_batch_add_span(batch, "pool", (nc_span){ .q_row = i, .q_rows = 1, .k_row = s.k_row, .k_rows = s.k_rows, .slot = -1, .sight = NC_SIGHT_FULL });
    }
    return 0;
}

static void encode(const nc_model *m, const void *self, nc_build *b, nc_modality what, nc_encoded *out)
{
    (void)self;
    (void)what;
    out->pooled = nc_vision_pooled(m, b, "hidden", &out->rows);
}

static const char *const ignored[] = { "*position_ids", NULL };

#define TOWER_KIN .size = sizeof(nc_vision), .weights = weights, .ignored = ignored, .prepare = nc_vision_prepare, .vision = vision, .vision_info = info, .encode = encode

const nc_family nc_family_clip_vision_model = { .name = "clip_vision_model", .architectures = "CLIPVisionModel", .config = clip_config, TOWER_KIN };
const nc_family nc_family_siglip_vision_model = { .name = "siglip_vision_model", .architectures = "SiglipVisionModel", .config = siglip_config, TOWER_KIN };
const nc_family nc_family_siglip2_vision_model = { .name = "siglip2_vision_model", .architectures = "Siglip2VisionModel", .config = siglip2_config, TOWER_KIN };
const nc_family nc_family_idefics3_vision = { .name = "idefics3_vision", .architectures = "Idefics3VisionTransformer", .config = idefics3_config, TOWER_KIN };
const nc_family nc_family_smolvlm_vision = { .name = "smolvlm_vision", .architectures = "SmolVLMVisionTransformer", .config = idefics3_config, TOWER_KIN };

/* dinov3_vit.c - DINOv3's vision transformer (Simeoni et al. 2025).
 *
 *   rows = norm(blocks([class; registers; patches])) with layer scale, q and k of the patches turned by their place in the picture;  pooled = class row
 *   place of patch (y, x) of h x w: c = 2 ((y, x) + 1/2) / (h, w) - 1 on each axis; angle of pair i of axis a: 2 pi c_a / theta^(4 i / A), the pairs of y before those of x
 *
 * Easy to get wrong: class and register rows are not turned; keys have no bias; coordinates follow the picture's own shape, so another size needs no table.
 */
#include "models/vit.h"

#include <math.h>

static const nc_vit_names names = {
    .layer = "layer.", .norm1 = "norm1", .q = "attention.q_proj", .k = "attention.k_proj", .v = "attention.v_proj", .o = "attention.o_proj", .norm2 = "norm2",
    .fc1 = "mlp.up_proj", .gate = "mlp.gate_proj", .fc2 = "mlp.down_proj", .scale1 = "layer_scale1.lambda1", .scale2 = "layer_scale2.lambda1",
    .patch = "embeddings.patch_embeddings", .norm = "norm",
};

typedef struct dinov3 { nc_vit vit; double theta; } dinov3;

static void config(nc_model *m, void *self, nc_config *r)
{
    static const char *const ignored[] = { "pos_embed_shift", "pos_embed_jitter", "pos_embed_rescale", NULL };     /* act in their training only */
    dinov3 *d = self;
    nc_vit *c = &d->vit;
    nc_vit_config(m, c, r, 1e-5, 16);
    c->inner = (int)nc_config_int(r, "intermediate_size", 4 * c->width);
    c->info.register_rows = (int)nc_config_int(r, "num_register_tokens", 0);
    c->scale_init = nc_config_float(r, "layerscale_value", 1);
    c->q_bias = nc_config_bool(r, "query_bias", true);
    c->k_bias = nc_config_bool(r, "key_bias", false);
    c->v_bias = nc_config_bool(r, "value_bias", true);
    c->o_bias = nc_config_bool(r, "proj_bias", true);
    c->mlp_bias = nc_config_bool(r, "mlp_bias", true);
    c->gated = nc_config_bool(r, "use_gated_mlp", false);
    c->has_mask = true;
    c->names = &names;
    const nc_json *rope = nc_config_get(r, "rope_parameters");
    d->theta = nc_config_float(r, "rope_theta", rope ? nc_json_double(nc_json_get(rope, "rope_theta"), 100) : 100);
    nc_config_ignore(r, ignored);
    if (c->heads > 0 && c->width / c->heads % 4)
        nc_config_mistake(r, "heads of %d: two axes of pairs need a multiple of 4", c->width / c->heads);
    if (!(d->theta > 0))
        nc_config_mistake(r, "\"rope_theta\" %g", d->theta);
}

static void weights(nc_model *m, void *self)
{
    nc_vit_embedding_weights(m, self, "");
    nc_vit_block_weights(m, self, "");
}

static nc_value *vision(const nc_model *m, const void *self, nc_build *b, int layer, const char *prefix)
{
    const nc_vit *c = self;
    const int half = c->width / c->heads / 2;
    (void)m;
    nc_vit_positions p = { .rope = { nc_in(b, "vision.cos", NC_F32, "vision", half), nc_in(b, "vision.sin", NC_F32, "vision", half), NC_ROPE_HALVES } };
    return nc_vit_vision(c, b, layer, &p, prefix);
}

static void encode(const nc_model *m, const void *self, nc_build *b, nc_modality what, nc_encoded *out)
{
    const nc_vit *c = self;
    (void)what;
    nc_value *x = vision(m, self, b, -1, "hidden");
    out->rows = nc_probe(b, nc_ln(b, x, c->norm.w, c->norm.b, c->eps), "out.last_hidden_state");
    out->pooled = nc_probe(b, nc_first_row(b, out->rows), "out.pooled");
}

/* A row's angles in float, as the reference computes them. */
static void turn(const dinov3 *d, int y, int x, int down, int across, float *cos_row, float *sin_row)
{
    const int quarter = d->vit.width / d->vit.heads / 4;
    float place[2] = { 2 * ((float)y + 0.5f) / (float)down - 1, 2 * ((float)x + 0.5f) / (float)across - 1 };
    for (int axis = 0; axis < 2; axis++)
        for (int i = 0; i < quarter; i++) {
            float frequency = 1 / powf((float)d->theta, (float)i / (float)quarter), angle = (float)(2 * 3.14159265358979323846) * place[axis] * frequency;
            cos_row[axis * quarter + i] = cosf(angle);
            sin_row[axis * quarter + i] = sinf(angle);
        }
}

static int prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    const dinov3 *d = self;
    const int half = d->vit.width / d->vit.heads / 2, before = d->vit.info.class_rows + d->vit.info.register_rows, size = d->vit.info.patch_size;
    NC_TRY(nc_vit_prepare(m, self, batch, seqs, count, e));
    int64_t rows = nc_batch_count(batch, "vision");
    float *c = nc_batch_f32(batch, "vision.cos", rows, half), *s = nc_batch_f32(batch, "vision.sin", rows, half);
    for (int i = 0; i < count; i++) {
        const nc_pixels *p = &seqs[i].media[0].frames[0];
        int down = p->height / size, across = p->width / size;
        for (int j = 0; j < before * half; j++)
            c[j] = 1, s[j] = 0;
        c += before * half;
        s += before * half;
        for (int j = 0; j < down * across; j++, c += half, s += half)
            turn(d, j / across, j % across, down, across, c, s);
    }
    return 0;
}

static const char *const renames[] = { "model.", "", NULL };
static const char *const ignored[] = { "*register_tokens", NULL };               /* [1,0,D] where there are none */

const nc_family nc_family_dinov3_vit = {
    .name = "dinov3_vit", .architectures = "DINOv3ViTModel DINOv3ViTBackbone", .size = sizeof(dinov3), .config = config, .weights = weights, .renames = renames, .ignored = ignored,
    .prepare = prepare, .vision = vision, .vision_info = nc_vit_info, .encode = encode, .capacity = nc_vit_capacity,
};

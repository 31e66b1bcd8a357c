/* beit.c - BEiT (Bao et al. 2022): a ViT without absolute positions, whose attention learns a bias for every distance between two patches.
 *
 *   score of query i for key j += bias[h, d(i, j)];   d: (2h-1)(2w-1) distances in the grid, then class to patch, patch to class, class to class
 *   a table for each layer, one for all (use_shared_relative_position_bias), or their sum;  layer scale lambda_1, lambda_2
 *   pooled = layernorm(mean of the patch rows), or the class row;  logits = classifier(pooled)
 *
 * Attention finds a bias by code(j) - code(i) (nc_attention_attr). With C = (h-1)(2w-1) + w-1 patch (y, x) has the code -(y(2w-1) + x); as a key the class row has C+1, as a
 * query -(3C+2): differences -C .. C are distances, C+1 .. 2C+1 patch to class, 2C+2 .. 3C+2 class to patch, 4C+3 class to class. The table of those 5C+4 is gathered
 * from the learned one; for another grid its distances are resized bilinearly.
 *
 * Easy to get wrong: keys have no bias; with mean pooling there is no norm behind the last block; the class entries are copied, not resized.
 */
#include "models/vit.h"

static const nc_vit_names names = {
    .layer = "encoder.layer.", .norm1 = "layernorm_before", .q = "attention.attention.query", .k = "attention.attention.key", .v = "attention.attention.value",
    .o = "attention.output.dense", .norm2 = "layernorm_after", .fc1 = "intermediate.dense", .fc2 = "output.dense", .scale1 = "lambda_1", .scale2 = "lambda_2",
    .patch = "embeddings.patch_embeddings.projection", .norm = "layernorm",
};
static const nc_vit_names unscaled = {
    .layer = "encoder.layer.", .norm1 = "layernorm_before", .q = "attention.attention.query", .k = "attention.attention.key", .v = "attention.attention.value",
    .o = "attention.output.dense", .norm2 = "layernorm_after", .fc1 = "intermediate.dense", .fc2 = "output.dense",
    .patch = "embeddings.patch_embeddings.projection", .norm = "layernorm",
};

typedef struct beit { nc_vit vit; bool mean, relative, shared; } beit;

static void config(nc_model *m, void *self, nc_config *r)
{
    static const char *const ignored[] = { "vocab_size", "pool_scales", "use_auxiliary_head", "auxiliary_loss_weight", "auxiliary_channels", "auxiliary_num_convs",
        "auxiliary_concat_input", "semantic_loss_ignore_index", "add_fpn", "segmentation_indices", NULL };      /* of the segmentation class */
    beit *d = self;
    nc_vit *c = &d->vit;
    nc_vit_config(m, c, r, 1e-12, 16);
    c->inner = (int)nc_config_int(r, "intermediate_size", 3072);
    c->scale_init = nc_config_float(r, "layer_scale_init_value", 0.1);
    c->names = c->scale_init > 0 ? &names : &unscaled;
    c->q_bias = c->v_bias = true;
    c->has_mask = nc_config_bool(r, "use_mask_token", false);
    c->has_position = nc_config_bool(r, "use_absolute_position_embeddings", false);
    d->relative = nc_config_bool(r, "use_relative_position_bias", false);
    d->shared = nc_config_bool(r, "use_shared_relative_position_bias", false);
    d->mean = nc_config_bool(r, "use_mean_pooling", true);
    c->norm_last = !d->mean;
    nc_config_ignore(r, ignored);
    if (nc_ends_with(c->class, "ForImageClassification"))
        nc_config_labels(m, r);
}

static int64_t reach(int64_t down, int64_t across) { return (down - 1) * (2 * across - 1) + across - 1; }
static int64_t side_of(const nc_vit *c) { return c->info.image_size / c->info.patch_size; }

static nc_site *bias_table(nc_model *m, const nc_vit *c, const char *name)
{
    return nc_weight(m, 0, NC_INIT_ZERO, name, 2 * reach(side_of(c), side_of(c)) + 4, c->heads, 0, 0);
}

static void weights(nc_model *m, void *self)
{
    beit *d = self;
    nc_vit *c = &d->vit;
    const char *prefix = m->labels.count ? "beit." : "";
    nc_vit_embedding_weights(m, c, prefix);
    nc_vit_block_weights(m, c, prefix);
    for (int i = 0; d->relative && i < c->layers; i++) {
        nc_weight_scope(m, "%sencoder.layer.%d.", prefix, i);
        c->block[i].bias = bias_table(m, c, "attention.attention.relative_position_bias.relative_position_bias_table");
    }
    nc_weight_scope(m, "%s", prefix);
    if (d->shared)
        c->shared_bias = bias_table(m, c, "encoder.relative_position_bias.relative_position_bias_table");
    if (d->mean)
        c->pooler_norm = nc_weight_layer_norm(m, "pooler.layernorm", c->width);
    nc_weight_scope(m, "%s", "");
    if (m->labels.count)
        c->head = nc_weight_dense(m, "classifier", m->labels.count, c->width, true);
}

static nc_value *vision(const nc_model *m, const void *self, nc_build *b, int layer, const char *prefix)
{
    const beit *d = self;
    const nc_vit *c = &d->vit;
    nc_vit_positions p = { 0 };
    (void)m;
    if (d->relative || d->shared) {
        bool other = b->any_size && b->picture_height > 0;
        int64_t C = reach(other ? b->picture_height / c->info.patch_size : side_of(c), other ? b->picture_width / c->info.patch_size : side_of(c));
        nc_build_fixed(b, "relations", 5 * C + 4);
        p.taps = nc_in(b, "relation.taps", NC_I32, "relations", 4);
        p.share = nc_in(b, "relation.share", NC_F32, "relations", 4);
        p.q_code = nc_in(b, "relation.queries", NC_I32, "vision", 0);
        p.k_code = nc_in(b, "relation.keys", NC_I32, "vision", 0);
        p.bias_offset = C;
    }
    return nc_vit_vision(c, b, layer, &p, prefix);
}

static void encode(const nc_model *m, const void *self, nc_build *b, nc_modality what, nc_encoded *out)
{
    const beit *d = self;
    const nc_vit *c = &d->vit;
    (void)what;
    nc_value *x = vision(m, self, b, -1, "hidden");
    out->rows = nc_probe(b, c->norm.w ? nc_ln(b, x, c->norm.w, c->norm.b, c->eps) : x, "out.last_hidden_state");
    out->pooled = d->mean ? nc_ln(b, nc_mean_of_patches(b, out->rows), c->pooler_norm.w, c->pooler_norm.b, c->eps) : nc_first_row(b, out->rows);
    nc_probe(b, out->pooled, "out.pooled");
    if (c->head.w)
        out->logits = nc_probe(b, nc_dense_apply(b, out->pooled, c->head), "out.logits");
}

/* ---- host tables ---- */

struct taps { int at[2]; float share[2]; };

/* Linear, corners not aligned: where index i of n_out lies among n_in. */
static struct taps linear(int64_t i, int64_t n_in, int64_t n_out)
{
    double s = ((double)i + 0.5) * (double)n_in / (double)n_out - 0.5;
    s = s < 0 ? 0 : s;
    int first = (int)s, next = first + 1 < n_in ? first + 1 : first;
    return (struct taps){ { first, next }, { (float)(1 - (s - first)), (float)(s - first) } };
}

/* Row `at` of the gathered table: distance (dy, dx) counted from the corner, of a down x across grid. */
static void distance_taps(int64_t side, int64_t down, int64_t across, int64_t at, int32_t *taps, float *share)
{
    struct taps y = linear(at / (2 * across - 1), 2 * side - 1, 2 * down - 1), x = linear(at % (2 * across - 1), 2 * side - 1, 2 * across - 1);
    for (int i = 0; i < 4; i++) {
        share[i] = y.share[i / 2] * x.share[i % 2];
        taps[i] = share[i] > 0 ? (int32_t)(y.at[i / 2] * (2 * side - 1) + x.at[i % 2]) : -1;
    }
}

static void fill_relations(nc_batch *batch, int64_t side, int64_t down, int64_t across)
{
    int64_t C = reach(down, across), learned = 2 * reach(side, side) + 1, rows = 5 * C + 4;
    int32_t *taps = nc_batch_i32(batch, "relation.taps", rows, 4);
    float *share = nc_batch_f32(batch, "relation.share", rows, 4);
    nc_batch_set_count(batch, "relations", rows);
    for (int64_t i = 0; i < rows; i++, taps += 4, share += 4) {
        if (i <= 2 * C) {
            distance_taps(side, down, across, i, taps, share);
            continue;
        }
        taps[0] = (int32_t)(i <= 3 * C + 1 ? learned + 1 : i <= 4 * C + 2 ? learned : learned + 2);
        share[0] = 1;
        for (int k = 1; k < 4; k++)
            taps[k] = -1, share[k] = 0;
    }
}

static int prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    const nc_vit *c = self;
    const int P = c->info.patch_size;
    NC_TRY(nc_vit_prepare(m, self, batch, seqs, count, e));
    int64_t rows = nc_batch_count(batch, "vision");
    int32_t *queries = nc_batch_i32(batch, "relation.queries", rows, 1), *keys = nc_batch_i32(batch, "relation.keys", rows, 1);
    for (int i = 0; i < count; i++) {
        const nc_pixels *p = seqs[i].media[0].frames, *first = seqs[0].media[0].frames;
        int down = p->height / P, across = p->width / P;
        int32_t C = (int32_t)reach(down, across);
        if (p->height != first->height || p->width != first->width)
            return nc_fail(e, NC_ESHAPE, "pictures of %d x %d and %d x %d: BEiT takes one size at a time", first->width, first->height, p->width, p->height);
        *keys++ = C + 1;
        *queries++ = -(3 * C + 2);
        for (int j = 0; j < down * across; j++)
            *keys++ = *queries++ = -(j / across * (2 * across - 1) + j % across);
    }
    if (count)
        fill_relations(batch, side_of(c), seqs[0].media[0].frames->height / P, seqs[0].media[0].frames->width / P);
    return 0;
}

static const char *const ignored[] = { "*relative_position_index", NULL };
static const char *const renames[] = { "", "beit.", "beit.", "", NULL };

const nc_family nc_family_beit = {
    .name = "beit", .architectures = "BeitForImageClassification BeitModel", .size = sizeof(beit), .config = config, .weights = weights, .ignored = ignored,
    .renames = renames, .prepare = prepare, .vision = vision, .vision_info = nc_vit_info, .encode = encode, .capacity = nc_vit_capacity,
};

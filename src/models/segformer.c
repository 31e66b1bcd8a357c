/* segformer.c - SegFormer (Xie et al. 2021): a hierarchical encoder over overlapping patches, and a head that is all MLP.
 *
 *   per stage:  x = layernorm(conv_p/s x);  per block:  x += o(attention(q h, k r, v r)), h = norm_1 x, r = h, or layernorm(conv_sr/sr h);
 *               x += dense2(f(depthwise_3x3(dense1(norm_2 x))));  map_i = layernorm x
 *   logits = classifier(relu(norm(fuse [u_last .. u_0]))),  u_i = resize(linear_i map_i) to map_0's size; at a quarter of the picture's size
 *   loss: cross entropy of the logits resized to the labels' size; labels -1 do not count. The class for pictures: classifier(mean over cells of the last map)
 *
 * Easy to get wrong: maps are concatenated in reverse order; every layer norm has torch's own epsilon 1e-5, whatever layer_norm_eps says; resizing does not align corners.
 * Golden: segformer (hidden.k the stages, post.map.k).
 */
#include "models/segformer.h"
#include "models/convnet.h"

#include <stdio.h>

enum { MAX_STAGES = 8 };
typedef struct block { nc_dense norm1, q, k, v, o, sr_norm, norm2, up, down; nc_site *sr, *sr_b, *conv, *conv_b; } block;
typedef struct stage { int patch, stride, reduce, width, heads, inner, blocks; nc_site *conv, *conv_b; nc_dense embed_norm, norm, linear; block *block; } stage;
typedef struct segformer {
    nc_convnet net;
    int stages, head_width;
    bool segments;
    nc_unary activation;
    stage stage[MAX_STAGES];
    nc_site *fuse, *logits, *logits_b;
    nc_batch_norm norm;
} segformer;

static const double eps = 1e-5;

static void read_stages(segformer *c, nc_config *r)
{
    static const struct { const char *key; int fallback[4]; } keys[] = {
        { "patch_sizes", { 7, 3, 3, 3 } }, { "strides", { 4, 2, 2, 2 } }, { "sr_ratios", { 8, 4, 2, 1 } }, { "hidden_sizes", { 32, 64, 160, 256 } },
        { "num_attention_heads", { 1, 2, 5, 8 } }, { "mlp_ratios", { 4, 4, 4, 4 } }, { "depths", { 2, 2, 2, 2 } },
    };
    c->stages = (int)nc_config_int(r, "num_encoder_blocks", 4);
    if (c->stages < 1 || c->stages > MAX_STAGES) {
        nc_config_mistake(r, "num_encoder_blocks is %d; 1 to %d are known", c->stages, MAX_STAGES);
        c->stages = 1;
    }
    for (int i = 0; i < NC_COUNT(keys); i++) {
        int *values, n = nc_config_ints(r, keys[i].key, keys[i].fallback, 4, &values);
        if (n < c->stages)
            nc_config_mistake(r, "%s has %d numbers for num_encoder_blocks %d", keys[i].key, n, c->stages);
        for (int j = 0; j < c->stages && j < n; j++) {
            stage *s = &c->stage[j];
            int *const to[] = { &s->patch, &s->stride, &s->reduce, &s->width, &s->heads, &s->inner, &s->blocks };
            *to[i] = values[j];
        }
    }
    for (int j = 0; j < c->stages; j++) {
        stage *s = &c->stage[j];
        if (s->patch < 1 || s->stride < 1 || s->reduce < 1 || s->heads < 1 || s->width < 1 || s->width % s->heads)
            nc_config_mistake(r, "stage %d has a patch, stride, sr_ratio or head count of 0, or %d channels for %d heads", j, s->width, s->heads);
        s->inner *= s->width;
    }
}

static void config(nc_model *m, void *self, nc_config *r)
{
    static const char *const ignored[] = { "classifier_dropout_prob", "hidden_dropout_prob", "attention_probs_dropout_prob", "layer_norm_eps", "reshape_last_stage",
                                           "semantic_loss_ignore_index", "image_size", "downsampling_rates", NULL };
    segformer *c = self;
    nc_convnet_config(m, &c->net, r);
    read_stages(c, r);
    c->segments = nc_ends_with(c->net.class, "ForSemanticSegmentation");
    c->head_width = (int)nc_config_int(r, "decoder_hidden_size", 256);
    c->activation = (nc_unary)nc_config_activation(r, "hidden_act", "gelu");
    nc_config_ignore(r, ignored);
    m->hidden_size = c->stage[c->stages - 1].width;
}

static void block_weights(nc_model *m, const stage *s, block *k)
{
    const int D = s->width;
    k->norm1 = nc_weight_layer_norm(m, "layer_norm_1", D);
    k->q = nc_weight_dense(m, "attention.self.query", D, D, true);
    k->k = nc_weight_dense(m, "attention.self.key", D, D, true);
    k->v = nc_weight_dense(m, "attention.self.value", D, D, true);
    if (s->reduce > 1) {
        k->sr = nc_weight_grid(m, "attention.self.sr.weight", D, D, 1, s->reduce, s->reduce);
        k->sr_b = nc_weight_bias(m, "attention.self.sr.bias", D);
        k->sr_norm = nc_weight_layer_norm(m, "attention.self.layer_norm", D);
    }
    k->o = nc_weight_dense(m, "attention.output.dense", D, D, true);
    k->norm2 = nc_weight_layer_norm(m, "layer_norm_2", D);
    k->up = nc_weight_dense(m, "mlp.dense1", s->inner, D, true);
    k->conv = nc_weight_grid(m, "mlp.dwconv.dwconv.weight", s->inner, s->inner, s->inner, 3, 3);
    k->conv_b = nc_weight_bias(m, "mlp.dwconv.dwconv.bias", s->inner);
    k->down = nc_weight_dense(m, "mlp.dense2", D, s->inner, true);
}

static void encoder_weights(nc_model *m, segformer *c)
{
    const char *prefix = nc_convnet_prefix(&c->net, "segformer.");
    int in = c->net.channels;
    for (int i = 0; i < c->stages; in = c->stage[i++].width) {
        stage *s = &c->stage[i];
        nc_weight_scope(m, "%sencoder.patch_embeddings.%d.", prefix, i);
        s->conv = nc_weight_grid(m, "proj.weight", s->width, in, 1, s->patch, s->patch);
        s->conv_b = nc_weight_bias(m, "proj.bias", s->width);
        s->embed_norm = nc_weight_layer_norm(m, "layer_norm", s->width);
        s->block = NC_NEW_ARRAY(m->arena, block, s->blocks + 1);
        for (int j = 0; j < s->blocks; j++) {
            nc_weight_scope(m, "%sencoder.block.%d.%d.", prefix, i, j);
            block_weights(m, s, &s->block[j]);
        }
        nc_weight_scope(m, "%sencoder.layer_norm.", prefix);
        s->norm = nc_weight_layer_norm(m, nc_arena_printf(m->arena, "%d", i), s->width);
    }
}

static void weights(nc_model *m, void *self)
{
    segformer *c = self;
    const int L = m->labels.count, D = c->head_width;
    encoder_weights(m, c);
    nc_weight_scope(m, "%s", "");
    if (!c->segments) {
        if (!c->net.is_bare)
            c->net.classifier = nc_weight_dense(m, "classifier", L, c->stage[c->stages - 1].width, true);
        return;
    }
    nc_weight_scope(m, "decode_head.");
    for (int i = 0; i < c->stages; i++)
        c->stage[i].linear = nc_weight_dense(m, nc_arena_printf(m->arena, "linear_c.%d.proj", i), D, c->stage[i].width, true);
    c->fuse = nc_weight_grid(m, "linear_fuse.weight", D, (int64_t)D * c->stages, 1, 1, 1);
    c->norm = nc_weight_batch_norm(m, "batch_norm", D, eps, 0.1);
    c->logits = nc_weight_grid(m, "classifier.weight", L, D, 1, 1, 1);
    c->logits_b = nc_weight_bias(m, "classifier.bias", L);
}

/* ---- forward ---- */

static nc_value *attention(nc_build *b, const stage *s, const block *k, nc_grid x, const nc_spans *spans)
{
    const nc_grid_window reduce = nc_window(s->reduce, s->reduce, 0);
    x.rows = nc_point(b, x.rows, "attn.in");
    nc_grid r = s->reduce > 1 ? nc_grid_layer_norm(b, nc_grid_conv(b, x, k->sr, k->sr_b, &reduce), k->sr_norm.w, k->sr_norm.b, eps) : x;
    nc_value *y = nc_attend_heads(b, nc_dense_apply(b, x.rows, k->q), nc_dense_apply(b, r.rows, k->k), nc_dense_apply(b, r.rows, k->v),
                                  &(nc_attend){ .heads = s->heads, .kv_heads = s->heads, .head_dim = s->width / s->heads, .spans = spans });
    return nc_point(b, nc_dense_apply(b, y, k->o), "attn.out");
}

static nc_grid stage_forward(const segformer *c, nc_build *b, const stage *s, nc_grid x, int index)
{
    const nc_grid_window patch = nc_window(s->patch, s->stride, s->patch / 2), three = nc_window(3, 1, 1);
    char name[16];
    snprintf(name, sizeof name, "grid.%d", index);
    const nc_spans *spans = nc_in_spans(b, name);
    x = nc_grid_layer_norm(b, nc_grid_conv(b, x, s->conv, s->conv_b, &patch), s->embed_norm.w, s->embed_norm.b, eps);
    for (int j = 0; j < s->blocks; j++) {
        const block *k = &s->block[j];
        nc_block_begin(b->g);
        x.rows = nc_add(b->g, x.rows, attention(b, s, k, nc_grid_layer_norm(b, x, k->norm1.w, k->norm1.b, eps), spans));
        nc_grid y = nc_grid_layer_norm(b, x, k->norm2.w, k->norm2.b, eps);
        y.rows = nc_point(b, y.rows, "mlp.in");
        y = nc_grid_unary(b, c->activation, nc_grid_conv(b, nc_grid_linear(b, y, k->up.w, k->up.b), k->conv, k->conv_b, &three));
        x.rows = nc_add(b->g, x.rows, nc_point(b, nc_dense_apply(b, y.rows, k->down), "mlp.out"));
        nc_block_end(b->g);
    }
    return nc_grid_probe(b, nc_grid_layer_norm(b, x, s->norm.w, s->norm.b, eps), "hidden.%d", index);
}

/* A grid of the logits at map 0's size. */
static nc_grid decode(const segformer *c, nc_build *b, const nc_grid *map)
{
    const nc_grid_window one = nc_window(1, 1, 0);
    nc_value *u[MAX_STAGES];
    for (int i = 0; i < c->stages; i++)
        u[c->stages - 1 - i] = nc_grid_resize(b, nc_grid_linear(b, map[i], c->stage[i].linear.w, c->stage[i].linear.b), map[0].height, map[0].width).rows;
    nc_grid x = map[0];
    x.rows = nc_concat(b->g, u, c->stages, 1);
    x = nc_grid_unary(b, NC_RELU, nc_grid_batch_norm(b, nc_grid_conv(b, x, c->fuse, NULL, &one), &c->norm));
    return nc_grid_probe(b, nc_grid_conv(b, x, c->logits, c->logits_b, &one), "out.logits");
}

static nc_grid run(const segformer *c, nc_build *b, nc_encoded *out)
{
    nc_grid map[MAX_STAGES], x = nc_grid_in(b, c->net.channels);
    for (int i = 0; i < c->stages; i++) {
        nc_scope_push(b->g, "block.%d", i);
        x = map[i] = stage_forward(c, b, &c->stage[i], x, i);
        nc_scope_pop(b->g);
    }
    if (!c->segments) {
        nc_convnet_head(&c->net, b, x, nc_grid_mean(b, x), out);
        return x;
    }
    nc_grid_probe(b, x, "out.last_hidden_state");
    out->rows = nc_grid_planes(b, x);
    return decode(c, b, map);
}

static void encode(const nc_model *m, const void *self, nc_build *b, nc_modality what, nc_encoded *out)
{
    const segformer *c = self;
    (void)m, (void)what;
    nc_grid logits = run(c, b, out);
    if (c->segments)
        out->logits = nc_grid_planes(b, logits);
}

/* Labels of the picture's own size; tables "labels", "label.weights" [pictures, height * width]. */
static nc_value *outputs(const nc_model *m, const void *self, nc_build *b)
{
    const segformer *c = self;
    const int64_t area = (int64_t)b->picture_height * b->picture_width;
    nc_encoded x = { 0 };
    nc_grid logits = run(c, b, &x);
    if (!c->segments)
        return x.logits ? nc_labels_loss(b, &m->labels, x.logits, "pictures") : NULL;
    logits = nc_grid_resize(b, logits, b->picture_height, b->picture_width);
    nc_value *labels = nc_in(b, "labels", NC_I32, "pictures", area), *share = nc_in(b, "label.weights", NC_F32, "pictures", area);
    if (nc_graph_failed(b->g))
        return logits.rows;
    int64_t rows = labels->shape.dim[0] * area;
    return nc_class_loss(b, nc_cast(b->g, logits.rows, nc_graph_compute(b->g) == NC_F64 ? NC_F64 : NC_F32), nc_reshape(b->g, labels, NC_SHAPE(rows, 1)), nc_reshape(b->g, share, NC_SHAPE(rows)));
}

/* ---- host ---- */

static int prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    const segformer *c = self;
    NC_TRY(nc_convnet_prepare(m, self, batch, seqs, count, e));
    int64_t height = count ? seqs[0].media[0].frames->height : 1, width = count ? seqs[0].media[0].frames->width : 1, down, across;
    for (int i = 0; i < c->stages; i++) {
        const stage *s = &c->stage[i];
        const nc_grid_window patch = nc_window(s->patch, s->stride, s->patch / 2), reduce = nc_window(s->reduce, s->reduce, 0);
        char name[16];
        snprintf(name, sizeof name, "grid.%d", i);
        if (!nc_grid_out(&patch, height, width, &height, &width) || !nc_grid_out(&reduce, height, width, &down, &across))
            return nc_fail(e, NC_ESHAPE, "pictures of %d x %d are too small for stage %d", seqs[0].media[0].frames->height, seqs[0].media[0].frames->width, i);
        for (int j = 0; j < count; j++)
            nc_batch_add_span(batch, name, (nc_span){ .q_row = (int32_t)(j * height * width), .q_rows = (int32_t)(height * width), .k_row = (int32_t)(j * down * across),
                                                      .k_rows = (int32_t)(down * across), .slot = -1, .sight = NC_SIGHT_FULL });
    }
    return 0;
}

void nc_segment_labels(const float *logits, int labels, int64_t rows, int64_t columns, int64_t height, int64_t width, int32_t *out)
{
    for (int64_t i = 0; i < height * width; i++) {
        const nc_grid_tap v = nc_grid_tap_of(i / width, rows, height), h = nc_grid_tap_of(i % width, columns, width);
        float best = 0;
        for (int k = 0; k < labels; k++) {
            const float *p = logits + k * rows * columns, *low = p + v.low * columns, *high = p + v.high * columns;
            const float at = (float)((1 - v.share) * ((1 - h.share) * (double)low[h.low] + h.share * (double)low[h.high]) +
                                     v.share * ((1 - h.share) * (double)high[h.low] + h.share * (double)high[h.high]));
            if (k == 0 || at > best) {
                best = at;
                out[i] = k;
            }
        }
    }
}

static const char *const renames[] = { "", "segformer.", "segformer.", "", NULL };

const nc_family nc_family_segformer = {
    .name = "segformer", .architectures = "SegformerForSemanticSegmentation SegformerForImageClassification SegformerModel", .size = sizeof(segformer), .config = config,
    .weights = weights, .renames = renames, .prepare = prepare, .encode = encode, .outputs = outputs, .capacity = nc_convnet_capacity,
};

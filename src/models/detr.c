/* detr.c - DETR (Carion et al. 2020): objects as a set, found by queries over a convolutional map.
 *
 *   f = projection(resnet(picture)), a row for each cell inside the picture;  p: sines of the cell's place, or learned
 *   encoder:  x = norm(x + o(attend(q (x+p), k (x+p), v x)));  x = norm(x + fc2(f(fc1 x)))
 *   decoder:  y from 0; q0: learned queries;  y = norm(y + self(y+q0, y+q0, y));  y = norm(y + cross(y+q0, x+p, x));  y = norm(y + fc2(f(fc1 y)))
 *   logits = class_labels_classifier(layernorm y) (the last: no object);  boxes = sigmoid(bbox_predictor(layernorm y)) (centre x, y, width, height)
 *   loss: match each picture's queries with its objects (graph/ops/match.c); then
 *         cross entropy (no object weighs eos_coefficient) + bbox L1 + giou (1 - generalized IoU), the boxes' over the number of objects; with auxiliary_loss that of
 *         each layer's output too
 *
 * Easy to get wrong: with auxiliary_loss the reference norms the decoder's state between layers, so that the next layer reads it normed and the last is normed twice;
 * batch norm is frozen, and so is the whole backbone where it is the library's own ResNet (the rule for which layers train matches none of
 * its names), the stem and the first stage where it is timm's; places are counted over the cells
 * inside the picture and scaled to 2 pi. Golden: detr (hidden.encoder.k, hidden.decoder.k, loss.*, post.*).
 */
#include "models/detr.h"
#include "models/resnet.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { LEARNED_CELLS = 50 };
typedef struct attention { nc_dense q, k, v, o, norm; } attention;
typedef struct layer { attention self, cross; nc_dense fc1, fc2, norm; } layer;
typedef struct stack { int layers, heads, inner; layer *layer; } stack;
typedef struct detr {
    nc_model *backbone;
    int stage, channels, width, queries;
    bool auxiliary, learned, is_timm;
    nc_unary activation;
    stack encoder, decoder;
    double class_cost, box_cost, giou_cost, box_weight, giou_weight, nothing_weight;
    nc_site *projection, *projection_b, *query, *rows, *columns;
    nc_dense norm, classifier, box[3];
} detr;

/* ---- config and weights ---- */

/* The map that the backbone hands on: the last of out_features ("stage4"). */
static int last_stage(const nc_json *backbone)
{
    const nc_json *features = nc_json_get(backbone, "out_features");
    int stage = 0;
    NC_JSON_EACH(item, features)
        if (sscanf(nc_json_string(item, ""), "stage%d", &stage) != 1)
            stage = 0;
    return stage;
}

/* A config.json's own tree, or a net of timm by its name: the key "backbone", or backbone_config's of a timm_backbone. */
static nc_model *backbone_of(nc_model *m, detr *c, nc_config *r)
{
    static const char prefix[] = "model.backbone.conv_encoder.model.";
    const nc_json *tree = nc_config_get(r, "backbone_config");
    const bool wraps = !strcmp(nc_json_string(nc_json_get(tree, "model_type"), ""), "timm_backbone");
    c->is_timm = nc_config_bool(r, "use_timm_backbone", !tree || wraps);
    const char *name = wraps ? nc_json_string(nc_json_get(tree, "backbone"), "resnet50") : nc_config_string(r, "backbone", "resnet50");
    if (!c->is_timm)
        return nc_submodel(m, r, "backbone_config", prefix);
    const nc_json *named = nc_resnet_named(m->arena, name);
    if (!named)
        nc_config_mistake(r, "the backbone \"%s\" of timm is not known here; resnet18, 34, 50, 101 and 152 are", name);
    nc_config_expect_bool(r, "dilation", false);
    return named ? nc_submodel_of(m, r, named, name, prefix) : NULL;
}

static void read_backbone(nc_model *m, detr *c, nc_config *r)
{
    static const char *const ignored[] = { "backbone", "use_pretrained_backbone", "backbone_kwargs", "dilation", NULL };
    c->backbone = backbone_of(m, c, r);
    nc_config_ignore(r, ignored);
    if (!c->backbone)
        return;
    if (strcmp(c->backbone->family->name, "resnet")) {
        nc_config_mistake(r, "backbone_config is a %s; only resnet is known", c->backbone->family->name);
        c->backbone = NULL;
        return;
    }
    c->stage = last_stage(c->backbone->config);
    if (c->stage < 0 || c->stage > nc_resnet_stages(c->backbone))
        nc_config_mistake(r, "backbone_config: out_features names stage %d of %d", c->stage, nc_resnet_stages(c->backbone));
}

static void config(nc_model *m, void *self, nc_config *r)
{
    static const char *const ignored[] = { "encoder_layerdrop", "decoder_layerdrop", "dropout", "attention_dropout", "activation_dropout", "init_std", "init_xavier_std",
                                           "mask_loss_coefficient", "dice_loss_coefficient", "num_hidden_layers", "scale_embedding", "classifier_dropout", "max_position_embeddings", NULL };
    detr *c = self;
    nc_config_class(m, r);
    nc_config_labels(m, r);
    read_backbone(m, c, r);
    c->channels = (int)nc_config_int(r, "num_channels", 3);
    c->width = (int)nc_config_int(r, "d_model", 256);
    c->queries = (int)nc_config_int(r, "num_queries", 100);
    c->encoder = (stack){ nc_config_layers(r, "encoder_layers", 6), (int)nc_config_int(r, "encoder_attention_heads", 8), (int)nc_config_int(r, "encoder_ffn_dim", 2048), NULL };
    c->decoder = (stack){ nc_config_layers(r, "decoder_layers", 6), (int)nc_config_int(r, "decoder_attention_heads", 8), (int)nc_config_int(r, "decoder_ffn_dim", 2048), NULL };
    c->activation = (nc_unary)nc_config_activation(r, "activation_function", "relu");
    c->auxiliary = nc_config_bool(r, "auxiliary_loss", false);
    const char *places = nc_config_string(r, "position_embedding_type", "sine");
    c->learned = !strcmp(places, "learned");
    c->class_cost = nc_config_float(r, "class_cost", 1);
    c->box_cost = nc_config_float(r, "bbox_cost", 5);
    c->giou_cost = nc_config_float(r, "giou_cost", 2);
    c->box_weight = nc_config_float(r, "bbox_loss_coefficient", 5);
    c->giou_weight = nc_config_float(r, "giou_loss_coefficient", 2);
    c->nothing_weight = nc_config_float(r, "eos_coefficient", 0.1);
    nc_config_ignore(r, ignored);
    m->hidden_size = c->width;
    if (!c->learned && strcmp(places, "sine"))
        nc_config_mistake(r, "position_embedding_type is \"%s\"; known are sine and learned", places);
    if (c->queries < 1 || c->width < 4 || c->width % 4 || c->encoder.heads < 1 || c->decoder.heads < 1 || c->width % c->encoder.heads || c->width % c->decoder.heads)
        nc_config_mistake(r, "d_model %d, num_queries %d and %d or %d heads do not go together", c->width, c->queries, c->encoder.heads, c->decoder.heads);
}

static nc_dense dense(nc_model *m, const char *module, const char *part, int out, int in) { return nc_weight_dense(m, nc_arena_printf(m->arena, "%s.%s", module, part), out, in, true); }

static attention attention_weights(nc_model *m, const char *module, int D)
{
    attention a = { dense(m, module, "q_proj", D, D), dense(m, module, "k_proj", D, D), dense(m, module, "v_proj", D, D), dense(m, module, "out_proj", D, D), { 0 } };
    a.norm = nc_weight_layer_norm(m, nc_arena_printf(m->arena, "%s_layer_norm", module), D);
    return a;
}

static void stack_weights(nc_model *m, stack *s, const char *name, int D, bool crosses)
{
    s->layer = NC_NEW_ARRAY(m->arena, layer, s->layers + 1);
    for (int i = 0; i < s->layers; i++) {
        layer *l = &s->layer[i];
        nc_weight_scope(m, "model.%s.layers.%d.", name, i);
        l->self = attention_weights(m, "self_attn", D);
        if (crosses)
            l->cross = attention_weights(m, "encoder_attn", D);
        l->fc1 = nc_weight_dense(m, "fc1", s->inner, D, true);
        l->fc2 = nc_weight_dense(m, "fc2", D, s->inner, true);
        l->norm = nc_weight_layer_norm(m, "final_layer_norm", D);
    }
}

static void weights(nc_model *m, void *self)
{
    detr *c = self;
    const int D = c->width;
    nc_submodel_weights(c->backbone);
    nc_weight_scope(m, "model.");
    if (c->learned) {
        c->rows = nc_weight_table(m, "backbone.position_embedding.row_embeddings.weight", LEARNED_CELLS, D / 2);
        c->columns = nc_weight_table(m, "backbone.position_embedding.column_embeddings.weight", LEARNED_CELLS, D / 2);
    }
    c->projection = nc_weight_grid(m, "input_projection.weight", D, nc_resnet_width(c->backbone, c->stage), 1, 1, 1);
    c->projection_b = nc_weight_bias(m, "input_projection.bias", D);
    c->query = nc_weight_table(m, "query_position_embeddings.weight", c->queries, D);
    stack_weights(m, &c->encoder, "encoder", D, false);
    stack_weights(m, &c->decoder, "decoder", D, true);
    nc_weight_scope(m, "model.decoder.");
    c->norm = nc_weight_layer_norm(m, "layernorm", D);
    nc_weight_scope(m, "%s", "");
    c->classifier = nc_weight_dense(m, "class_labels_classifier", m->labels.count + 1, D, true);
    for (int i = 0; i < 3; i++)
        c->box[i] = nc_weight_dense(m, nc_arena_printf(m->arena, "bbox_predictor.layers.%d", i), i < 2 ? D : 4, D, true);
}

/* ---- forward ---- */

static const double eps = 1e-5;

static nc_value *normed(nc_build *b, nc_value *x, nc_dense n) { return nc_ln(b, x, n.w, n.b, eps); }

static nc_value *attend(nc_build *b, const attention *a, nc_value *q, nc_value *k, nc_value *v, int heads, const char *spans)
{
    nc_value *y = nc_attend_heads(b, nc_dense_apply(b, q, a->q), nc_dense_apply(b, k, a->k), nc_dense_apply(b, v, a->v),
                                  &(nc_attend){ .heads = heads, .kv_heads = heads, .head_dim = (int)a->q.w->shape.dim[0] / heads,
                                                                                                               .spans = nc_in_spans(b, spans) });
    return nc_point(b, nc_dense_apply(b, y, a->o), "attn.out");
}

static nc_value *mlp(const detr *c, nc_build *b, const layer *l, nc_value *x)
{
    return normed(b, nc_add(b->g, x, nc_mlp(b, c->activation, x, l->fc1.w, l->fc1.b, l->fc2.w, l->fc2.b)), l->norm);
}

static nc_value *places(const detr *c, nc_build *b)
{
    if (!c->learned)
        return nc_cast(b->g, nc_in(b, "detr.places", NC_F32, "cells", c->width), nc_graph_compute(b->g));
    nc_value *parts[] = { nc_gather_rows(b->g, nc_site_value(b, c->columns), nc_in(b, "detr.column", NC_I32, "cells", 0)),
                          nc_gather_rows(b->g, nc_site_value(b, c->rows), nc_in(b, "detr.row", NC_I32, "cells", 0)) };
    return nc_cast(b->g, nc_concat(b->g, parts, 2, 1), nc_graph_compute(b->g));
}

/* Rows of the cells inside their pictures. */
static nc_value *cells(const detr *c, nc_build *b)
{
    const nc_grid_window one = nc_window(1, 1, 0);
    const int stages = c->stage ? c->stage : nc_resnet_stages(c->backbone);
    nc_grid map = nc_resnet_features(c->backbone, b, nc_grid_in(b, c->channels), c->stage, c->is_timm ? 1 : stages);
    return nc_gather_rows(b->g, nc_grid_conv(b, map, c->projection, c->projection_b, &one).rows, nc_in(b, "detr.cells", NC_I32, "cells", 0));
}

static nc_value *encoder(const detr *c, nc_build *b, nc_value *x, nc_value *p)
{
    nc_probe(b, x, "hidden.encoder.0");
    for (int i = 0; i < c->encoder.layers; i++) {
        const layer *l = &c->encoder.layer[i];
        nc_block_begin(b->g);
        nc_value *at = nc_add(b->g, nc_point(b, x, "attn.in"), p);
        x = normed(b, nc_add(b->g, x, attend(b, &l->self, at, at, x, c->encoder.heads, "detr.encoder")), l->self.norm);
        x = mlp(c, b, l, x);
        nc_block_end(b->g);
        nc_probe(b, x, "hidden.encoder.%d", i + 1);
    }
    return nc_probe(b, x, "out.encoder_last_hidden_state");
}

typedef struct answer { nc_value *logits, *boxes; } answer;

static answer answers(const detr *c, nc_build *b, nc_value *y)
{
    nc_value *h = nc_unary_op(b->g, NC_RELU, nc_dense_apply(b, y, c->box[0]));
    h = nc_dense_apply(b, nc_unary_op(b->g, NC_RELU, nc_dense_apply(b, h, c->box[1])), c->box[2]);
    nc_dtype wide = nc_graph_compute(b->g) == NC_F64 ? NC_F64 : NC_F32;
    return (answer){ nc_cast(b->g, nc_dense_apply(b, y, c->classifier), wide), nc_unary_op(b->g, NC_SIGMOID, nc_cast(b->g, h, wide)) };
}

/* The last rows, normed; what each layer but the last gives is added to `early` (one answer a layer), where there is room for it. */
static nc_value *decoder(const detr *c, nc_build *b, nc_value *x, nc_value *p, answer *early)
{
    nc_value *query = nc_gather_rows(b->g, nc_site_value(b, c->query), nc_in(b, "detr.query", NC_I32, "queries", 0)), *keys = nc_add(b->g, x, p);
    nc_value *y = nc_probe(b, nc_affine(b->g, nc_stop_gradient(b->g, query), 0, 0), "hidden.decoder.0");
    for (int i = 0; i < c->decoder.layers; i++) {
        const layer *l = &c->decoder.layer[i];
        nc_block_begin(b->g);
        nc_value *at = nc_add(b->g, nc_point(b, y, "attn.in"), query);
        y = normed(b, nc_add(b->g, y, attend(b, &l->self, at, at, y, c->decoder.heads, "detr.self")), l->self.norm);
        y = normed(b, nc_add(b->g, y, attend(b, &l->cross, nc_add(b->g, y, query), keys, x, c->decoder.heads, "detr.cross")), l->cross.norm);
        y = mlp(c, b, l, y);
        nc_block_end(b->g);
        if (i + 1 < c->decoder.layers)
            nc_probe(b, y, "hidden.decoder.%d", i + 1);
        if (c->auxiliary)
            y = normed(b, y, c->norm);
        if (early && c->auxiliary && i + 1 < c->decoder.layers)
            early[i] = answers(c, b, y);
    }
    y = normed(b, y, c->norm);
    nc_probe(b, y, "hidden.decoder.%d", c->decoder.layers);
    return nc_probe(b, y, "out.last_hidden_state");
}

static answer run(const detr *c, nc_build *b, answer *early, nc_encoded *out)
{
    nc_value *p = places(c, b), *x = encoder(c, b, cells(c, b), p);
    out->rows = decoder(c, b, x, p, early);
    answer a = answers(c, b, out->rows);
    out->logits = nc_probe(b, a.logits, "out.logits");
    out->pooled = nc_probe(b, a.boxes, "out.pred_boxes");
    return a;
}

static void encode(const nc_model *m, const void *self, nc_build *b, nc_modality what, nc_encoded *out)
{
    (void)m, (void)what;
    run(self, b, NULL, out);
}

/* ---- loss ---- */

typedef struct box { nc_value *x0, *y0, *x1, *y1, *area; } box;

static box corners(nc_build *b, nc_value *x)
{
    nc_value *part[4], *half[2];
    for (int i = 0; i < 4; i++)
        part[i] = nc_slice(b->g, x, 1, i, 1);
    for (int i = 0; i < 2; i++)
        half[i] = nc_affine(b->g, part[2 + i], 0.5, 0);
    box k = { nc_sub(b->g, part[0], half[0]), nc_sub(b->g, part[1], half[1]), nc_add(b->g, part[0], half[0]), nc_add(b->g, part[1], half[1]), NULL };
    k.area = nc_mul(b->g, nc_sub(b->g, k.x1, k.x0), nc_sub(b->g, k.y1, k.y0));
    return k;
}

/* Rezatofighi et al. 2019, [N, 1]. */
static nc_value *generalized_iou(nc_build *b, nc_value *one, nc_value *other)
{
    const box p = corners(b, one), q = corners(b, other);
    nc_graph *g = b->g;
    nc_value *w = nc_unary_op(g, NC_RELU, nc_sub(g, nc_minimum(g, p.x1, q.x1), nc_maximum(g, p.x0, q.x0)));
    nc_value *h = nc_unary_op(g, NC_RELU, nc_sub(g, nc_minimum(g, p.y1, q.y1), nc_maximum(g, p.y0, q.y0)));
    nc_value *meet = nc_mul(g, w, h), *both = nc_sub(g, nc_add(g, p.area, q.area), meet);
    nc_value *hull = nc_mul(g, nc_sub(g, nc_maximum(g, p.x1, q.x1), nc_minimum(g, p.x0, q.x0)), nc_sub(g, nc_maximum(g, p.y1, q.y1), nc_minimum(g, p.y0, q.y0)));
    return nc_sub(g, nc_div(g, meet, both), nc_div(g, nc_sub(g, hull, both), hull));
}

/* suffix: "" of the last layer, "_k" of layer k. */
static nc_value *set_loss(const detr *c, nc_build *b, answer a, const char *suffix)
{
    nc_graph *g = b->g;
    nc_value *labels = nc_in(b, "objects.label", NC_I32, "objects", 1), *truth = nc_in(b, "objects.box", NC_F32, "objects", 4), *picture = nc_in(b, "objects.picture", NC_I32, "objects", 1);
    if (nc_graph_failed(g) || a.logits->shape.rank != 2)
        return nc_graph_poison(g);
    const int64_t K = a.logits->shape.dim[1];
    truth = nc_cast(g, truth, a.boxes->dtype);
    nc_value *of = nc_match(g, nc_stop_gradient(g, a.logits), nc_stop_gradient(g, a.boxes), labels, truth, picture,
                            &(nc_match_attr){ c->queries, c->class_cost, c->box_cost, c->giou_cost });
    nc_value *one_hot = nc_cast(g, nc_put_columns(g, NULL, labels, K), a.logits->dtype), *wanted = nc_gather_rows(g, one_hot, of);
    nc_value *found = nc_sum(g, wanted, -1, true), *logp = nc_log_softmax(g, a.logits);                       /* found [N,1]: 1 where the query has an object */
    nc_value *none = nc_affine(g, found, -1, 1), *weight = nc_affine(g, found, 1 - c->nothing_weight, c->nothing_weight);
    nc_value *on = nc_add(g, nc_sum(g, nc_mul(g, wanted, logp), -1, true), nc_mul(g, none, nc_slice(g, logp, 1, K - 1, 1)));
    nc_value *ce = nc_affine(g, nc_div(g, nc_sum_all(g, nc_mul(g, weight, on)), nc_sum_all(g, weight)), -1, 0);
    nc_value *many = nc_sum_all(g, one_hot);
    many = nc_maximum(g, many, nc_constant(g, 1, many->dtype, many->shape));
    nc_value *theirs = nc_gather_rows(g, truth, of);
    nc_value *far = nc_div(g, nc_sum_all(g, nc_mul(g, nc_unary_op(g, NC_ABS, nc_sub(g, a.boxes, theirs)), found)), many);
    nc_value *giou = nc_div(g, nc_sum_all(g, nc_mul(g, nc_affine(g, generalized_iou(b, a.boxes, theirs), -1, 1), found)), many);
    nc_probe(b, ce, "loss.loss_ce%s", suffix);
    nc_probe(b, far, "loss.loss_bbox%s", suffix);
    nc_probe(b, giou, "loss.loss_giou%s", suffix);
    nc_probe(b, a.logits, "logits%s", suffix);
    return nc_add(g, ce, nc_add(g, nc_affine(g, far, c->box_weight, 0), nc_affine(g, giou, c->giou_weight, 0)));
}

static nc_value *outputs(const nc_model *m, const void *self, nc_build *b)
{
    const detr *c = self;
    answer *early = NC_NEW_ARRAY(nc_graph_arena(b->g), answer, c->decoder.layers + 1);
    nc_encoded x = { 0 };
    (void)m;
    nc_value *loss = set_loss(c, b, run(c, b, early, &x), "");
    for (int i = 0; c->auxiliary && i + 1 < c->decoder.layers; i++) {
        char suffix[16];
        snprintf(suffix, sizeof suffix, "_%d", i);
        loss = nc_add(b->g, loss, set_loss(c, b, early[i], suffix));
    }
    return loss;
}

/* ---- host ---- */

/* The map's size under a picture's size. */
static void map_size(const detr *c, int64_t height, int64_t width, int64_t *down, int64_t *across)
{
    nc_resnet_map_size(c->backbone, c->stage, height, width, down, across);
}

/* How many of `out` cells lie inside the first `own` of `in` pixels: nearest resize of a mask. */
static int64_t inside(int64_t own, int64_t in, int64_t out)
{
    int64_t n = 0;
    while (n < out && (int64_t)((float)n * ((float)in / (float)out)) < own)
        n++;
    return n;
}

static void sines(float *to, int half, int64_t at, int64_t count)
{
    const double place = (double)(at + 1) / ((double)count + 1e-6) * 2 * M_PI;
    for (int i = 0; i < half; i++) {
        double angle = place / pow(10000, 2.0 * (i / 2) / half);
        to[i] = (float)(i % 2 ? cos(angle) : sin(angle));
    }
}

typedef struct place { int64_t down, across, own_down, own_across; } place;

static void fill_cells(const detr *c, nc_batch *batch, const place *of, int count)
{
    const int64_t total = nc_batch_count(batch, "cells");
    int32_t *index = nc_batch_i32(batch, "detr.cells", total, 1), *row = nc_batch_i32(batch, "detr.row", total, 1), *column = nc_batch_i32(batch, "detr.column", total, 1);
    float *to = nc_batch_f32(batch, "detr.places", c->learned ? 0 : total, c->width);
    int64_t at = 0;
    for (int i = 0; i < count; i++) {
        const place *p = &of[i];
        const nc_span own = { .q_row = (int32_t)at, .q_rows = (int32_t)(p->own_down * p->own_across), .k_row = (int32_t)at, .k_rows = (int32_t)(p->own_down * p->own_across), .slot = -1, .sight = NC_SIGHT_FULL };
        const nc_span cross = { .q_row = i * c->queries, .q_rows = c->queries, .k_row = own.k_row, .k_rows = own.k_rows, .slot = -1, .sight = NC_SIGHT_FULL };
        const nc_span self = { .q_row = i * c->queries, .q_rows = c->queries, .k_row = i * c->queries, .k_rows = c->queries, .slot = -1, .sight = NC_SIGHT_FULL };
        nc_batch_add_span(batch, "detr.encoder", own);
        nc_batch_add_span(batch, "detr.cross", cross);
        nc_batch_add_span(batch, "detr.self", self);
        for (int64_t k = 0; k < p->own_down * p->own_across; k++, at++) {
            const int64_t y = k / p->own_across, x = k % p->own_across;
            index[at] = (int32_t)((i * p->down + y) * p->across + x);
            row[at] = (int32_t)y;
            column[at] = (int32_t)x;
            if (c->learned)
                continue;
            sines(to + at * c->width, c->width / 2, y, p->own_down);
            sines(to + at * c->width + c->width / 2, c->width / 2, x, p->own_across);
        }
    }
}

static void fill_objects(nc_batch *batch, const nc_seq *seqs, int count)
{
    int64_t total = 0, at = 0;
    for (int i = 0; i < count; i++)
        total += seqs[i].objects ? seqs[i].objects->count : 0;
    int32_t *label = nc_batch_i32(batch, "objects.label", total, 1), *picture = nc_batch_i32(batch, "objects.picture", total, 1);
    float *boxes = nc_batch_f32(batch, "objects.box", total, 4);
    nc_batch_set_count(batch, "objects", total);
    for (int i = 0; i < count; i++)
        for (int j = 0; seqs[i].objects && j < seqs[i].objects->count; j++, at++) {
            label[at] = seqs[i].objects->labels[j];
            picture[at] = i;
            memcpy(boxes + at * 4, seqs[i].objects->boxes + (size_t)j * 4, 4 * sizeof *boxes);
        }
}

/* Pictures of different sizes are laid in the upper left corner of the largest height and width. */
static int prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    const detr *c = self;
    int64_t height = 0, width = 0, total = 0;
    (void)m;
    NC_TRY(nc_prepare_grid_padded(batch, c->channels, seqs, count, &height, &width, e));
    place *of = nc_xcalloc((size_t)count + 1, sizeof *of);
    int status = 0;
    for (int i = 0; i < count; i++) {
        const nc_pixels *p = seqs[i].media[0].frames;
        map_size(c, height, width, &of[i].down, &of[i].across);
        of[i].own_down = inside(p->height, height, of[i].down);
        of[i].own_across = inside(p->width, width, of[i].across);
        total += of[i].own_down * of[i].own_across;
        if (c->learned && (of[i].own_down > LEARNED_CELLS || of[i].own_across > LEARNED_CELLS))
            status = nc_fail(e, NC_ELIMIT, "picture %d leaves a map of %lld x %lld cells; %d rows and columns of positions were learned", i, (long long)of[i].own_down,
                             (long long)of[i].own_across, LEARNED_CELLS);
    }
    nc_batch_set_count(batch, "cells", total);
    nc_batch_set_count(batch, "queries", (int64_t)count * c->queries);
    int32_t *query = nc_batch_i32(batch, "detr.query", (int64_t)count * c->queries, 1);
    for (int i = 0; i < count * c->queries; i++)
        query[i] = i % c->queries;
    if (status == 0)
        fill_cells(c, batch, of, count);
    fill_objects(batch, seqs, count);
    free(of);
    return status;
}

static void capacity(const void *self, nc_build *b, int64_t pictures)
{
    const detr *c = self;
    int64_t down, across;
    map_size(c, b->picture_height, b->picture_width, &down, &across);
    nc_build_capacity(b, "pictures", pictures);
    nc_build_capacity(b, "cells", pictures * down * across);
    nc_build_capacity(b, "queries", pictures * c->queries);
    nc_build_capacity(b, "objects", pictures * c->queries);
}

extern const nc_family nc_family_detr;

int nc_detr_queries(const nc_model *m) { return m->family == &nc_family_detr ? ((const detr *)m->self)->queries : -1; }

int nc_detections(const float *logits, const float *boxes, int queries, int labels, double threshold, int height, int width, nc_detection *out)
{
    int found = 0;
    for (int q = 0; q < queries; q++, logits += labels + 1, boxes += 4) {
        double largest = (double)logits[labels], sum = 0;
        int best = 0;
        for (int k = 0; k < labels; k++) {
            best = logits[k] > logits[best] ? k : best;
            largest = fmax(largest, (double)logits[k]);
        }
        for (int k = 0; k <= labels; k++)
            sum += exp((double)logits[k] - largest);
        const double score = exp((double)logits[best] - largest) / sum, x = (double)boxes[0], y = (double)boxes[1], w = (double)boxes[2] / 2, h = (double)boxes[3] / 2;
        if (score > threshold)
            out[found++] = (nc_detection){ score, best, { (x - w) * width, (y - h) * height, (x + w) * width, (y + h) * height } };
    }
    return found;
}

static const char *const renames[] = { "model.position_embedding.", "model.backbone.position_embedding.", NULL };

const nc_family nc_family_detr = {
    .name = "detr", .architectures = "DetrForObjectDetection", .size = sizeof(detr), .config = config, .weights = weights, .renames = renames, .prepare = prepare,
    .encode = encode, .outputs = outputs, .capacity = capacity,
};

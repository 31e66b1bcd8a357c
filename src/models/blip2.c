/* blip2.c - BLIP-2 (Li et al. 2023): a vision transformer, a Q-Former whose learned queries read its rows, a projection, and the text of
 * a decoder (OPT) or of an encoder and a decoder (T5).
 *
 *   f = post_layernorm(tower(picture)), class row kept                                                     [1 + side^2, Dv]
 *   h = layernorm(query_tokens);  per layer of the Q-Former, norms after each sum:                          [queries, Dq]
 *     h = norm(h + dense(attn(h, h)));  every cross_attention_frequency-th layer, the first included: h = norm(h + dense(attn(h, f)));  h = norm(h + dense f(dense h))
 *   media = language_projection h                                                                           [queries, D]
 *   logits = decoder([media; <s> text]), or decoder(ids, encoder([media; text </s>]))
 *
 * Easy to get wrong: q, k and v of the tower are one product; the tower's closing norm is on all rows; cross attention counts layers from 0; the feed-forward of queries is
 * intermediate_query and output_query, that of texts is not there; picture tokens stand before <s>.
 */
#include "models/media.h"
#include "models/vit.h"

/* ---- the tower ---- */

static const nc_vit_names names = {
    .layer = "encoder.layers.", .norm1 = "layer_norm1", .qkv = "self_attn.qkv", .o = "self_attn.projection", .norm2 = "layer_norm2", .fc1 = "mlp.fc1", .fc2 = "mlp.fc2",
    .patch = "embeddings.patch_embedding", .norm = "post_layernorm",
};

static void vision_config(nc_model *m, void *self, nc_config *r)
{
    static const char *const ignored[] = { "dropout", "projection_dim", "initializer_factor", NULL };
    nc_vit *c = self;
    nc_vit_config(m, c, r, 1e-6, 14);
    c->names = &names;
    c->inner = (int)nc_config_int(r, "intermediate_size", 6144);
    c->q_bias = c->k_bias = c->v_bias = nc_config_bool(r, "qkv_bias", true);
    c->has_position = c->mlp_bias = true;
    nc_config_ignore(r, ignored);
}

static void vision_weights(nc_model *m, void *self)
{
    nc_vit *c = self;
    const int side = c->info.image_size / c->info.patch_size;
    nc_weight_scope(m, "embeddings.");
    c->class_token = nc_weight_table(m, "class_embedding", 1, c->width);
    c->class_token->file_shape = NC_SHAPE(1, 1, c->width);
    c->position = nc_weight_table(m, "position_embedding", side * side + 1, c->width);
    c->position->file_shape = NC_SHAPE(1, side * side + 1, c->width);
    c->patch.w = nc_weight_conv(m, "patch_embedding.weight", c->width, c->info.channels, c->info.patch_size, c->info.patch_size);
    c->patch.b = nc_weight_bias(m, "patch_embedding.bias", c->width);
    nc_vit_block_weights(m, c, "");
}

static nc_value *vision(const nc_model *m, const void *self, nc_build *b, int layer, const char *prefix)
{
    const nc_vit *c = self;
    (void)m;
    nc_value *x = nc_vit_vision(c, b, layer, NULL, prefix);
    return layer == -1 ? nc_ln(b, x, c->norm.w, c->norm.b, c->eps) : x;
}

const nc_family nc_family_blip_2_vision_model = {
    .name = "blip_2_vision_model", .architectures = "Blip2VisionModel", .size = sizeof(nc_vit), .config = vision_config, .weights = vision_weights, .vision = vision,
    .vision_info = nc_vit_info,
};

/* ---- the Q-Former ---- */

struct attention { nc_dense q, k, v, o, norm; };
struct layer { struct attention self, cross; nc_dense fc1, fc2, norm; };
struct qformer { int layers, width, heads, inner, every; double eps; nc_unary activation; nc_dense norm; struct layer *layer; };

struct blip2 {
    nc_vision_text parts;                    /* first */
    struct qformer q;
    int queries;
    nc_site *query;
    nc_dense project;
};

static void qformer_config(struct qformer *q, nc_config *r, int tower_width)
{
    static const char *const ignored[] = { "hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout", "max_position_embeddings", "vocab_size", "use_qformer_text_input", NULL };
    static const struct { const char *key; int64_t usual; } sizes[] = { { "hidden_size", 768 }, { "num_attention_heads", 12 }, { "intermediate_size", 3072 }, { "cross_attention_frequency", 2 } };
    int *const out[] = { &q->width, &q->heads, &q->inner, &q->every };
    q->layers = nc_config_layers(r, "num_hidden_layers", 12);
    for (int i = 0; i < NC_COUNT(sizes); i++)
        *out[i] = (int)nc_config_int(r, sizes[i].key, sizes[i].usual);
    q->eps = nc_config_float(r, "layer_norm_eps", 1e-12);
    q->activation = (nc_unary)nc_config_activation(r, "hidden_act", "gelu");
    const char *scheme = nc_config_string(r, "position_embedding_type", "absolute");
    int64_t read = nc_config_int(r, "encoder_hidden_size", tower_width);
    nc_config_ignore(r, ignored);
    if (strcmp(scheme, "absolute"))
        nc_config_mistake(r, "position_embedding_type \"%s\" is not known here (absolute is)", scheme);
    if (q->heads <= 0 || q->width <= 0 || q->width % q->heads)
        nc_config_mistake(r, "hidden_size %d is no multiple of num_attention_heads %d", q->width, q->heads);
    if (q->every < 1)
        nc_config_mistake(r, "cross_attention_frequency %d is no number of layers", q->every);
    if (read != tower_width)
        nc_config_mistake(r, "encoder_hidden_size %d is not the tower's hidden_size %d", (int)read, tower_width);
}

static void config(nc_model *m, void *self, nc_config *r)
{
    static const char *const ignored[] = { "image_text_hidden_size", "initializer_factor", "use_decoder_only_language_model", NULL };
    struct blip2 *c = self;
    nc_config_ignore(r, ignored);
    c->queries = (int)nc_config_int(r, "num_query_tokens", 32);
    m->image_token_id = (int)nc_config_int_any(r, "image_token_index", nc_config_int_any(r, "image_token_id", -1));
    if (m->image_token_id < 0)
        nc_config_mistake(r, "image_token_index is missing: it says which token stands for a row of the picture");
    nc_config *q = nc_config_child(r, "qformer_config");
    if (!nc_vision_text_config_at(m, &c->parts, r, true, "vision_model.", "language_model."))
        return;
    if (!q)
        nc_config_mistake(r, "qformer_config is missing");
    else
        qformer_config(&c->q, q, c->parts.info.hidden_size);
    if (c->queries < 1)
        nc_config_mistake(r, "num_query_tokens %d leaves nothing to read a picture with", c->queries);
}

/* ---- weights ---- */

static void attention_weights(nc_model *m, const struct qformer *q, struct attention *a, const char *name, int key_width)
{
    const char *scope = m->scope;
    nc_weight_scope(m, "%s%s.", scope, name);
    a->q = nc_weight_dense(m, "attention.query", q->width, q->width, true);
    a->k = nc_weight_dense(m, "attention.key", q->width, key_width, true);
    a->v = nc_weight_dense(m, "attention.value", q->width, key_width, true);
    a->o = nc_weight_dense(m, "output.dense", q->width, q->width, true);
    a->norm = nc_weight_layer_norm(m, "output.LayerNorm", q->width);
    m->scope = scope;
}

static void qformer_weights(nc_model *m, struct qformer *q, int tower_width)
{
    nc_weight_scope(m, "qformer.");
    q->norm = nc_weight_layer_norm(m, "layernorm", q->width);
    q->layer = NC_NEW_ARRAY(m->arena, struct layer, q->layers + 1);
    for (int i = 0; i < q->layers; i++) {
        struct layer *l = &q->layer[i];
        nc_weight_scope(m, "qformer.encoder.layer.%d.", i);
        attention_weights(m, q, &l->self, "attention", q->width);
        if (i % q->every == 0)
            attention_weights(m, q, &l->cross, "crossattention", tower_width);
        l->fc1 = nc_weight_dense(m, "intermediate_query.dense", q->inner, q->width, true);
        l->fc2 = nc_weight_dense(m, "output_query.dense", q->width, q->inner, true);
        l->norm = nc_weight_layer_norm(m, "output_query.LayerNorm", q->width);
    }
}

static void weights(nc_model *m, void *self)
{
    struct blip2 *c = self;
    nc_weight_scope(m, "%s", "");
    c->query = nc_weight_table(m, "query_tokens", c->queries, c->q.width);
    c->query->file_shape = NC_SHAPE(1, c->queries, c->q.width);
    nc_submodel_weights(c->parts.vision);
    qformer_weights(m, &c->q, c->parts.info.hidden_size);
    nc_weight_scope(m, "%s", "");
    c->project = nc_weight_dense(m, "language_projection", c->parts.text->media_width ? c->parts.text->media_width : m->hidden_size, c->q.width, true);
    nc_submodel_weights(c->parts.text);
}

/* ---- forward ---- */

static nc_value *attend(const struct qformer *q, nc_build *b, const struct attention *l, nc_value *x, nc_value *rows, const char *spans)
{
    nc_value *y = nc_attend_heads(b, nc_dense_apply(b, x, l->q), nc_dense_apply(b, rows, l->k), nc_dense_apply(b, rows, l->v),
                                  &(nc_attend){ .heads = q->heads, .kv_heads = q->heads, .head_dim = q->width / q->heads, .spans = nc_in_spans(b, spans) });
    return nc_ln(b, nc_add(b->g, x, nc_dense_apply(b, y, l->o)), l->norm.w, l->norm.b, q->eps);
}

static nc_value *qformer(const struct blip2 *c, nc_build *b, nc_value *rows)
{
    const struct qformer *q = &c->q;
    nc_value *x = nc_gather_rows(b->g, nc_site_value(b, c->query), nc_in(b, "query.rows", NC_I32, "media", 0));
    x = nc_cast(b->g, x, rows->dtype);
    x = nc_probe(b, nc_ln(b, x, q->norm.w, q->norm.b, q->eps), "qformer.hidden.0");
    for (int i = 0; i < q->layers; i++) {
        const struct layer *l = &q->layer[i];
        nc_scope_push(b->g, "layer.%d", i);
        nc_block_begin(b->g);
        x = attend(q, b, &l->self, x, x, "query");
        if (l->cross.q.w)
            x = attend(q, b, &l->cross, x, rows, "query.picture");
        x = nc_add(b->g, x, nc_mlp(b, q->activation, x, l->fc1.w, l->fc1.b, l->fc2.w, l->fc2.b));
        x = nc_ln(b, x, l->norm.w, l->norm.b, q->eps);
        nc_block_end(b->g);
        nc_scope_pop(b->g);
        x = nc_probe(b, x, "qformer.hidden.%d", i + 1);
    }
    return x;
}

/* The reference makes a vector of the class row with the same norm once more; only probes look at it. */
static void probe_pooled(const nc_vit *c, nc_build *b, nc_value *rows)
{
    if (b->probes)
        nc_probe(b, nc_ln(b, nc_gather_rows(b->g, rows, nc_in(b, "class.rows", NC_I32, "pictures", 0)), c->norm.w, c->norm.b, c->eps), "tower.last#2");
}

static nc_value *tower(const nc_model *m, const void *self, nc_build *b)
{
    const struct blip2 *c = self;
    const nc_model *v = c->parts.vision;
    (void)m;
    nc_scope_push(b->g, "vision_model");
    nc_value *x = nc_probe(b, v->family->vision(v, v->self, b, -1, "tower.hidden"), "tower.last");
    if (v->family == &nc_family_blip_2_vision_model)
        probe_pooled(v->self, b, x);
    nc_scope_pop(b->g);
    nc_scope_push(b->g, "qformer");
    x = qformer(c, b, x);
    nc_scope_pop(b->g);
    return nc_probe(b, nc_dense_apply(b, x, c->project), "projector.out");
}

/* ---- host tables ---- */

static int media_rows(const nc_model *m, const void *self, const nc_media *media)
{
    (void)m;
    return media->count * ((const struct blip2 *)self)->queries;
}

static int tower_tables(const void *self, nc_batch *batch, const nc_pixels *pictures, int count, nc_error *e)
{
    const struct blip2 *c = self;
    const int Q = c->queries;
    NC_TRY(nc_prepare_pictures(batch, &c->parts.info, pictures, count, e));
    int32_t *rows = nc_batch_i32(batch, "query.rows", (int64_t)count * Q, 1), *class = nc_batch_i32(batch, "class.rows", count, 1);
    nc_spans seen = nc_batch_spans(batch, "vision");
    nc_batch_set_count(batch, "pictures", count);
    for (int p = 0; p < count; p++) {
        const int first = seen.span[p].k_row, each = seen.span[p].k_rows;
        class[p] = first;
        for (int i = 0; i < Q; i++)
            *rows++ = i;
        nc_batch_add_span(batch, "query", (nc_span){ .q_row = p * Q, .q_rows = Q, .k_row = p * Q, .k_rows = Q, .slot = -1, .sight = NC_SIGHT_FULL });
        nc_batch_add_span(batch, "query.picture", (nc_span){ .q_row = p * Q, .q_rows = Q, .k_row = first, .k_rows = each, .slot = -1, .sight = NC_SIGHT_FULL });
    }
    return 0;
}

static int prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    return nc_vision_text_prepare(m, self, batch, seqs, count, tower_tables, e);
}

static void capacity(const void *self, nc_build *b, int64_t pictures)
{
    const struct blip2 *c = self;
    nc_capacity_pictures(b, &c->parts.info, pictures);
    nc_build_capacity(b, "pictures", pictures);
    nc_build_capacity(b, "media", pictures * c->queries);
}

static const char *const ignored_tensors[] = { "language_model.lm_head.weight", "language_model.encoder.embed_tokens.weight", "language_model.decoder.embed_tokens.weight",
                                               "language_model.decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight", "*position_ids", NULL };
static const char *const projector[] = { "query_tokens", "qformer.", "language_projection.", NULL };

#define MEMBERS .name = "blip-2", .architectures = "Blip2ForConditionalGeneration", .size = sizeof(struct blip2), .variant = variant, .config = config, .weights = weights, \
    .ignored = ignored_tensors, .projector_parts = projector, .prepare = prepare, .tower = tower, .decoder = nc_vision_text_decoder, .media_rows = media_rows, \
    .head = nc_vision_text_head, .cache = nc_vision_text_cache, .capacity = capacity, .regime = nc_vision_text_regime

static const nc_family *variant(const nc_json *config);
static const nc_family reads_and_writes = { MEMBERS, .encoder = nc_vision_text_encoder, .cross = nc_vision_text_cross };
const nc_family nc_family_blip_2 = { MEMBERS };

/* The reference takes a kind of text that also comes as a decoder alone (BART) as that. */
static const nc_family *variant(const nc_json *config)
{
    static const char *const text_encoders[] = { "t5", "mt5" };
    const char *text = nc_json_string(nc_json_path(config, "text_config.model_type"), "");
    for (int i = 0; i < NC_COUNT(text_encoders); i++)
        if (!strcmp(text, text_encoders[i]))
            return &reads_and_writes;
    return &nc_family_blip_2;
}

/* pix2struct.c - Pix2Struct (Lee et al. 2023): patches of a picture at its own shape, and a decoder of T5's kind (t5.h) that looks at their rows.
 *
 *   x = patch_projection(patch) + row_embedder(row) + column_embedder(column);   per block: x += output(attend(query h, key h, value h)), x += wo(f(wi_0 h) * wi_1 h), h = norm x
 *   e = layernorm x;   h = decoder(ids, e);   logits = lm_head h
 *
 * A picture comes as one channel of [patches, 2 + values], the first two its row and column from 1; patches that only fill up do not come at all.
 * Easy to get wrong: all norms are RMS norms, scores are not divided by sqrt(d_kv), only the patch projection has a bias.
 */
#include "models/t5.h"

#include <stdlib.h>

struct block { nc_site *norm1, *q, *k, *v, *o, *norm2, *wi_0, *wi_1, *wo; };
struct vision { int layers, width, d_kv, heads, inner, values, places; double eps; nc_unary activation; struct block *block; nc_site *patch, *patch_b, *row, *column, *norm; };
struct pix2struct { struct vision vision; nc_t5_stack text; int vocab; bool tied; nc_site *embed, *head; };

static void vision_config(struct vision *c, nc_config *r)
{
    static const char *const ignored[] = { "dropout_rate", "attention_dropout", "initializer_factor", "relative_attention_num_buckets", "relative_attention_max_distance", "num_channels",
                                           "patch_size", "projection_dim", "layer_norm_bias", "hidden_dropout_prob", "image_size", NULL };
    c->layers = nc_config_layers(r, "num_hidden_layers", 12);
    c->width = (int)nc_config_int(r, "hidden_size", 768);
    c->d_kv = (int)nc_config_int(r, "d_kv", 64);
    c->heads = (int)nc_config_int(r, "num_attention_heads", 12);
    c->inner = (int)nc_config_int(r, "d_ff", 2048);
    c->values = (int)nc_config_int(r, "patch_embed_hidden_size", 768);
    c->places = (int)nc_config_int(r, "seq_len", 4096);
    c->eps = nc_config_float(r, "layer_norm_eps", 1e-6);
    c->activation = (nc_unary)nc_config_activation(r, "dense_act_fn", "gelu_new");
    nc_config_ignore(r, ignored);
    if (c->width <= 0 || c->d_kv <= 0 || c->heads <= 0 || c->inner <= 0 || c->values <= 0 || c->places <= 0)
        nc_config_mistake(r, "hidden_size %d, %d heads of %d, d_ff %d, patch_embed_hidden_size %d, seq_len %d must be positive", c->width, c->heads, c->d_kv, c->inner, c->values, c->places);
}

static void text_config(struct pix2struct *p, nc_config *r)
{
    static const char *const ignored[] = { "dropout_rate", "initializer_factor", "encoder_hidden_size", NULL };
    nc_t5_stack *c = &p->text;
    p->vocab = (int)nc_config_int(r, "vocab_size", 50244);
    p->tied = nc_config_bool(r, "tie_word_embeddings", false);
    c->width = (int)nc_config_int(r, "hidden_size", 768);
    c->d_kv = (int)nc_config_int(r, "d_kv", 64);
    c->heads = (int)nc_config_int(r, "num_heads", 12);
    c->inner = (int)nc_config_int(r, "d_ff", 2048);
    c->layers = nc_config_layers(r, "num_layers", 12);
    c->buckets = (int)nc_config_int(r, "relative_attention_num_buckets", 32);
    c->max_distance = (int)nc_config_int(r, "relative_attention_max_distance", 128);
    c->eps = nc_config_float(r, "layer_norm_epsilon", 1e-6);
    c->activation = (nc_unary)nc_config_activation(r, "dense_act_fn", "gelu_new");
    c->gated = c->decoder = true;
    nc_config_ignore(r, ignored);
    nc_t5_check(r, c);
}

static void config(nc_model *m, void *self, nc_config *r)
{
    static const char *const ignored[] = { "initializer_factor", "tie_word_embeddings", "is_vqa", NULL };
    struct pix2struct *c = self;
    nc_config *vision = nc_config_child(r, "vision_config"), *text = nc_config_child(r, "text_config");
    nc_config_ignore(r, ignored);
    if (!vision || !text) {
        nc_config_mistake(r, "the keys \"vision_config\" and \"text_config\" must be there");
        return;
    }
    vision_config(&c->vision, vision);
    text_config(c, text);
    c->text.cross_width = c->vision.width;
    m->hidden_size = c->text.width;
    m->vocab_size = c->vocab;
}

static void weights(nc_model *m, void *self)
{
    static const nc_t5_names names = { "layer.", "self_attention.", "encoder_decoder_attention.", "mlp.", "attention.", "attention.", "query.", "key.", "value.", "output." };
    struct pix2struct *c = self;
    struct vision *v = &c->vision;
    const int D = v->width, I = v->heads * v->d_kv;
    nc_weight_scope(m, "encoder.embeddings.");
    v->patch = nc_weight_linear(m, "patch_projection.weight", D, v->values);
    v->patch_b = nc_weight_bias(m, "patch_projection.bias", D);
    v->row = nc_weight_table(m, "row_embedder.weight", v->places, D);
    v->column = nc_weight_table(m, "column_embedder.weight", v->places, D);
    v->block = NC_NEW_ARRAY(m->arena, struct block, v->layers);
    for (int i = 0; i < v->layers; i++) {
        struct block *l = &v->block[i];
        nc_weight_scope(m, "encoder.encoder.layer.%d.", i);
        l->q = nc_weight_linear(m, "attention.query.weight", I, D);
        l->k = nc_weight_linear(m, "attention.key.weight", I, D);
        l->v = nc_weight_linear(m, "attention.value.weight", I, D);
        l->o = nc_weight_linear(m, "attention.output.weight", D, I);
        l->wi_0 = nc_weight_linear(m, "mlp.wi_0.weight", v->inner, D);
        l->wi_1 = nc_weight_linear(m, "mlp.wi_1.weight", v->inner, D);
        l->wo = nc_weight_linear(m, "mlp.wo.weight", D, v->inner);
        l->norm2 = nc_weight_norm(m, "pre_mlp_layer_norm.weight", D);
        l->norm1 = nc_weight_norm(m, "pre_attention_layer_norm.weight", D);
    }
    nc_weight_scope(m, "encoder.");
    v->norm = nc_weight_norm(m, "layernorm.weight", D);
    nc_weight_scope(m, "decoder.");
    c->embed = nc_weight_linear(m, "embed_tokens.weight", c->vocab, c->text.width);
    nc_t5_weights(m, &c->text, &names, "decoder.");
    c->head = c->tied ? c->embed : nc_weight_linear(m, "lm_head.weight", c->vocab, c->text.width);
}

/* ---- host tables ---- */
static int encoder_rows(const nc_model *m, const void *self, const nc_seq *s)
{
    (void)m, (void)self;
    return s->media_count && s->media[0].count ? s->media[0].frames[0].height : 0;
}

static int picture(const struct vision *v, const nc_pixels *p, float *values, int32_t *row, int32_t *column, nc_error *e)
{
    if (p->channels != 1 || p->width != v->values + 2)
        return nc_fail(e, NC_ESHAPE, "patches of %d numbers; this model's have %d and their row and column", p->width, v->values);
    for (int i = 0; i < p->height; i++) {
        const float *at = p->data + (size_t)i * (size_t)p->width;
        if (!(at[0] >= 0 && at[0] < (float)v->places && at[1] >= 0 && at[1] < (float)v->places))
            return nc_fail(e, NC_ELIMIT, "patch %d lies in row %g and column %g; this model knows %d of each", i, (double)at[0], (double)at[1], v->places);
        row[i] = (int32_t)at[0];
        column[i] = (int32_t)at[1];
        memcpy(values + (size_t)i * (size_t)v->values, at + 2, sizeof *values * (size_t)v->values);
    }
    return 0;
}

static int prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    const struct vision *v = &((const struct pix2struct *)self)->vision;
    int *rows = nc_xcalloc((size_t)count + 1, sizeof *rows), status = nc_prepare_text(batch, seqs, count, e);
    int64_t total = 0, at = 0;
    for (int i = 0; i < count; i++) {
        rows[i] = encoder_rows(m, self, &seqs[i]);
        total += rows[i];
    }
    float *values = nc_batch_f32(batch, "patch.values", total, v->values);
    int32_t *row = nc_batch_i32(batch, "patch.row", total, 1), *column = nc_batch_i32(batch, "patch.column", total, 1);
    if (total)
        nc_batch_set_count(batch, "patches", total);
    for (int i = 0; i < count && status == 0; i++) {
        if (rows[i] == 0)
            continue;
        status = picture(v, &seqs[i].media[0].frames[0], values + at * v->values, row + at, column + at, e);
        nc_batch_add_span(batch, "patches", (nc_span){ .q_row = (int32_t)at, .q_rows = rows[i], .k_row = (int32_t)at, .k_rows = rows[i], .slot = -1, .sight = NC_SIGHT_FULL });
        at += rows[i];
    }
    nc_prepare_cross(batch, seqs, count, rows);
    free(rows);
    return status;
}

static void capacity(const void *self, nc_build *b, int64_t pictures)
{
    (void)self;
    nc_build_capacity(b, "patches", pictures * 2048);
}

/* ---- forward ---- */
static nc_value *attention(const struct vision *c, nc_build *b, const struct block *l, nc_value *x)
{
    x = nc_point(b, x, "attn.in");
    nc_value *q = nc_linear(b, x, l->q, NULL), *k = nc_linear(b, x, l->k, NULL), *v = nc_linear(b, x, l->v, NULL);
    nc_value *y = nc_attend_heads(b, q, k, v, &(nc_attend){ .heads = c->heads, .kv_heads = c->heads, .head_dim = c->d_kv, .scale = 1, .spans = nc_in_spans(b, "patches") });
    return nc_point(b, nc_linear(b, y, l->o, NULL), "attn.out");
}

static nc_value *encoder(const nc_model *m, const void *self, nc_build *b, nc_value *media)
{
    const struct vision *c = &((const struct pix2struct *)self)->vision;
    (void)m;
    (void)media;
    nc_value *x = nc_linear(b, nc_cast(b->g, nc_in(b, "patch.values", NC_F32, "patches", c->values), nc_graph_compute(b->g)), c->patch, c->patch_b);
    x = nc_add(b->g, x, nc_embed(b, c->row, nc_in(b, "patch.row", NC_I32, "patches", 0)));
    x = nc_probe(b, nc_add(b->g, x, nc_embed(b, c->column, nc_in(b, "patch.column", NC_I32, "patches", 0))), "hidden.0");
    for (int i = 0; i < c->layers; i++) {
        const struct block *l = &c->block[i];
        nc_scope_push(b->g, "layer.%d", i);
        nc_block_begin(b->g);
        x = nc_add(b->g, x, attention(c, b, l, nc_rms(b, x, l->norm1, c->eps)));
        x = nc_add(b->g, x, nc_gated_mlp(b, c->activation, nc_rms(b, x, l->norm2, c->eps), l->wi_0, l->wi_1, l->wo));
        nc_block_end(b->g);
        nc_scope_pop(b->g);
        x = nc_probe(b, x, "hidden.%d", i + 1);
    }
    x = nc_probe(b, nc_rms(b, x, c->norm, c->eps), "out.last_hidden_state");
    return nc_probe(b, x, "encoder.last_hidden_state");
}

static void cross(const nc_model *m, const void *self, nc_build *b, nc_value *rows)
{
    (void)m;
    nc_t5_cross(&((const struct pix2struct *)self)->text, b, rows);
}

static nc_value *decoder(const nc_model *m, const void *self, nc_build *b, nc_value *rows)
{
    const struct pix2struct *c = self;
    (void)m;
    nc_value *x = nc_point(b, nc_embed(b, c->embed, nc_in(b, "text.ids", NC_I32, "tokens", 0)), "embedding.out");
    return nc_t5_blocks(&c->text, b, x, nc_in_spans(b, "text"), rows, "decoder.hidden");
}

static void head(const void *self, nc_head *out)
{
    *out = (nc_head){ .w = ((const struct pix2struct *)self)->head, .scale = 1 };
}

static void cache(const void *self, nc_cache_need *out) { nc_t5_cache(&((const struct pix2struct *)self)->text, out); }

static const char *const ignored[] = { "decoder.lm_head.weight", NULL };

const nc_family nc_family_pix2struct = {
    .name = "pix2struct", .architectures = "Pix2StructForConditionalGeneration", .size = sizeof(struct pix2struct), .config = config, .weights = weights, .ignored = ignored,
    .prepare = prepare, .encoder = encoder, .cross = cross, .encoder_rows = encoder_rows, .decoder = decoder, .head = head, .cache = cache, .capacity = capacity,
};

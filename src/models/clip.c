/* clip.c - CLIP (Radford et al. 2021), SigLIP (Zhai et al. 2023) and SigLIP 2 (Tschannen et al. 2025): a vision and a text tower whose pooled vectors are compared.
 *
 *   text:  x = token_embedding + position_embedding; blocks (CLIP causal, SigLIP bidirectional); final_layer_norm
 *          CLIP pools the row of the end token and projects; SigLIP pools the last row and applies `head`
 *   u = normalize(image), t = normalize(text);  logits_per_text = exp(logit_scale) t u^T [+ logit_bias]
 *   loss: CLIP the mean of the cross entropies by rows and by columns; SigLIP -sum log sigmoid(+-logits) / n
 *
 * Easy to get wrong: eos_token_id 2 in a CLIP config means the largest id is the end token; SigLIP's text padding is attended.
 */
#include "models/vision.h"

typedef struct text_tower { nc_encoder encoder; bool is_clip; int vocab, positions, eos, pooled; nc_site *token, *position, *norm, *norm_b, *head, *head_b; } text_tower;
typedef struct pair { bool is_clip; int projection; nc_model *text, *vision; nc_site *text_projection, *visual_projection, *scale, *bias; } pair;

static void text_config(nc_model *m, text_tower *c, nc_config *r, const char *activation, double eps)
{
    static const char *const ignored[] = { "projection_dim", "initializer_factor", "dropout", NULL };
    nc_encoder_config(r, &c->encoder, activation, eps);
    c->vocab = (int)nc_config_int(r, "vocab_size", c->is_clip ? 49408 : 32000);
    c->positions = (int)nc_config_int(r, "max_position_embeddings", c->is_clip ? 77 : 64);
    c->eos = (int)nc_config_int(r, "eos_token_id", 49407);
    nc_config_ignore(r, ignored);
    m->hidden_size = c->encoder.width;
    m->vocab_size = c->vocab;
    m->max_positions = c->positions;
}

static void clip_text_config(nc_model *m, void *self, nc_config *r)
{
    ((text_tower *)self)->is_clip = true;
    text_config(m, self, r, "quick_gelu", 1e-5);
}

static void siglip_text_config(nc_model *m, void *self, nc_config *r)
{
    text_tower *c = self;
    text_config(m, self, r, "gelu_pytorch_tanh", 1e-6);
    c->pooled = (int)nc_config_int(r, "projection_size", c->encoder.width);
}

static void text_weights(nc_model *m, void *self)
{
    text_tower *c = self;
    const int D = c->encoder.width;
    nc_weight_scope(m, "text_model.embeddings.");
    c->token = nc_weight_table(m, "token_embedding.weight", c->vocab, D);
    c->position = nc_weight_table(m, "position_embedding.weight", c->positions, D);
    nc_encoder_weights(m, &c->encoder, "text_model.encoder.layers.");
    nc_weight_scope(m, "text_model.");
    c->norm = nc_weight_norm(m, "final_layer_norm.weight", D);
    c->norm_b = nc_weight_bias(m, "final_layer_norm.bias", D);
    if (!c->is_clip) {
        c->head = nc_weight_linear(m, "head.weight", c->pooled, D);
        c->head_b = nc_weight_bias(m, "head.bias", c->pooled);
    }
}

/* The vector of each text; count: what their number is called ("pictures" in pairs). */
static nc_value *text_pooled(const nc_model *m, nc_build *b, const char *count, nc_value **rows)
{
    const text_tower *c = m->self;
    nc_value *pos = nc_in(b, "text.pos", NC_I32, "tokens", 1);
    nc_value *x = nc_add(b->g, nc_embed(b, c->token, nc_in(b, "text.ids", NC_I32, "tokens", 0)), nc_embed(b, c->position, nc_reshape(b->g, pos, NC_SHAPE(pos->shape.dim[0]))));
    x = nc_encoder_blocks(&c->encoder, b, x, c->encoder.layers, nc_in_spans(b, "text"), "hidden.text");
    *rows = nc_probe(b, nc_ln(b, x, c->norm, c->norm_b, c->encoder.eps), "out.text.last_hidden_state");
    x = nc_gather_rows(b->g, *rows, nc_in(b, "pool.text", NC_I32, count, 0));
    return nc_probe(b, c->is_clip ? x : nc_linear(b, x, c->head, c->head_b), "out.text.pooled");
}

static void pair_config(nc_model *m, pair *c, nc_config *r)
{
    static const char *const ignored[] = { "logit_scale_init_value", "initializer_factor", "text_config_dict", "vision_config_dict", "projection_dim", NULL };
    c->text = nc_submodel(m, r, "text_config", "");
    c->vision = nc_submodel(m, r, "vision_config", "");
    nc_config_ignore(r, ignored);
    if (c->text) {
        m->vocab_size = c->text->vocab_size;
        m->max_positions = c->text->max_positions;
    }
}

static void clip_config(nc_model *m, void *self, nc_config *r)
{
    pair *c = self;
    c->is_clip = true;
    c->projection = (int)nc_config_int(r, "projection_dim", 512);
    pair_config(m, c, r);
}

extern const nc_family nc_family_siglip2;

static void siglip_config(nc_model *m, void *self, nc_config *r)
{
    pair_config(m, self, r);
    m->pads_text = true;
    m->lowers_text = m->family == &nc_family_siglip2;
}

static void pair_weights(nc_model *m, void *self)
{
    pair *c = self;
    c->scale = nc_weight(m, 0, NC_INIT_ZERO, "logit_scale", 1, 0, 0, 0);
    c->scale->init_value = c->is_clip ? 2.6592 : 2.3026;
    if (c->is_clip) {
        c->scale->file_shape = (nc_shape){ 0 };
    } else {                                         /* the paper's start: nearly all pairs are no pairs */
        c->bias = nc_weight(m, 0, NC_INIT_ZERO, "logit_bias", 1, 0, 0, 0);
        c->bias->init_value = -10;
    }
    nc_submodel_weights(c->text);
    nc_submodel_weights(c->vision);
    if (c->is_clip) {
        c->visual_projection = nc_weight_linear(m, "visual_projection.weight", c->projection, c->vision->hidden_size);
        c->text_projection = nc_weight_linear(m, "text_projection.weight", c->projection, c->text->hidden_size);
    }
}

/* The mean over rows of the log probability of the diagonal, negated. */
static nc_value *diagonal_loss(nc_build *b, nc_value *logits, nc_value *eye, int64_t n)
{
    nc_value *on = nc_mul(b->g, nc_log_softmax(b->g, logits), eye);
    return nc_affine(b->g, nc_sum_all(b->g, on), -1.0 / (double)n, 0);
}

static nc_value *pair_loss(const pair *c, nc_build *b, nc_value *per_text, nc_value *per_image)
{
    int64_t n = per_text->shape.dim[0];
    nc_value *eye = nc_in(b, "pair.eye", NC_F32, "pictures", n);
    if (c->is_clip)
        return nc_affine(b->g, nc_add(b->g, diagonal_loss(b, per_text, eye, n), diagonal_loss(b, per_image, eye, n)), 0.5, 0);
    /* log sigmoid(z) = -softplus(-z), z = logits * (2 eye - 1) */
    nc_value *z = nc_mul(b->g, per_text, nc_affine(b->g, eye, 2, -1));
    return nc_affine(b->g, nc_sum_all(b->g, nc_unary_op(b->g, NC_SOFTPLUS, nc_unary_op(b->g, NC_NEG, z))), 1.0 / (double)n, 0);
}

static nc_value *unit(nc_build *b, nc_value *x)
{
    return nc_l2_norm(b->g, nc_cast(b->g, x, nc_graph_compute(b->g) == NC_F64 ? NC_F64 : NC_F32), 0);
}

static nc_value *image_vector(const pair *c, nc_build *b, nc_value **rows)
{
    nc_value *x = nc_vision_pooled(c->vision, b, "hidden.vision", rows);
    return nc_probe(b, unit(b, c->is_clip ? nc_linear(b, x, c->visual_projection, NULL) : x), "out.image_embeds");
}

static nc_value *text_vector(const pair *c, nc_build *b, const char *count, nc_value **rows)
{
    nc_value *x = text_pooled(c->text, b, count, rows);
    return nc_probe(b, unit(b, c->is_clip ? nc_linear(b, x, c->text_projection, NULL) : x), "out.text_embeds");
}

static void encode(const nc_model *m, const void *self, nc_build *b, nc_modality what, nc_encoded *out)
{
    (void)m;
    out->pooled = what == NC_TEXTS ? text_vector(self, b, "sequences", &out->rows) : image_vector(self, b, &out->rows);
}

static void text_encode(const nc_model *m, const void *self, nc_build *b, nc_modality what, nc_encoded *out)
{
    (void)self;
    (void)what;
    out->pooled = text_pooled(m, b, "sequences", &out->rows);
}

static nc_value *outputs(const nc_model *m, const void *self, nc_build *b)
{
    static const int swap[] = { 1, 0 };
    const pair *c = self;
    nc_value *rows, *image = image_vector(c, b, &rows), *text = text_vector(c, b, "pictures", &rows);
    nc_dtype wide = image->dtype;
    (void)m;
    nc_value *scale = nc_unary_op(b->g, NC_EXP, nc_cast(b->g, nc_site_value(b, c->scale), wide));
    nc_value *per_text = nc_mul(b->g, nc_matmul(b->g, text, false, image, true, wide), scale);
    if (c->bias)
        per_text = nc_add(b->g, per_text, nc_cast(b->g, nc_site_value(b, c->bias), wide));
    nc_value *per_image = nc_permute(b->g, per_text, swap);
    nc_probe(b, per_text, "out.logits_per_text");
    nc_probe(b, per_image, "out.logits_per_image");
    return pair_loss(c, b, per_text, per_image);
}

/* The row whose vector stands for the text. */
static int pooled_row(const text_tower *c, const nc_seq *s)
{
    int best = 0;
    if (!c->is_clip)
        return s->count - 1;
    for (int i = 0; i < s->count; i++) {
        if (c->eos == 2 ? s->ids[i] > s->ids[best] : s->ids[i] == c->eos) {
            best = i;
            if (c->eos != 2)
                break;
        }
    }
    return best;
}

static int prepare_texts(const text_tower *c, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    NC_TRY(nc_prepare_text(batch, seqs, count, e));
    int32_t *pooled = nc_batch_i32(batch, "pool.text", count, 1), row = 0;
    nc_spans spans = nc_batch_spans(batch, "text");
    nc_batch_set_count(batch, "sequences", count);
    for (int i = 0; i < count; i++) {
        if (seqs[i].count > c->positions)
            return nc_fail(e, NC_ELIMIT, "text %d has %d tokens, the model has positions for %d", i, seqs[i].count, c->positions);
        pooled[i] = row + pooled_row(c, &seqs[i]);
        row += seqs[i].count;
        if (!c->is_clip)
            spans.span[i].sight = NC_SIGHT_FULL;
    }
    return 0;
}

static int text_prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    (void)m;
    return prepare_texts(self, batch, seqs, count, e);
}

/* Pairs, or texts alone, or pictures alone. */
static int prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    const pair *c = self;
    int texts = 0, pictures = 0;
    (void)m;
    for (int i = 0; i < count; i++) {
        texts += seqs[i].count > 0;
        pictures += seqs[i].media_count == 1 && seqs[i].media[0].count == 1;
    }
    if ((texts && texts != count) || (pictures && pictures != count) || (!texts && !pictures))
        return nc_fail(e, NC_EINVAL, "%d texts and %d pictures in %d samples: every sample needs one of each, or all the same one", texts, pictures, count);
    if (texts)
        NC_TRY(prepare_texts(c->text->self, batch, seqs, count, e));
    if (pictures)
        NC_TRY(nc_vision_prepare(c->vision, c->vision->self, batch, seqs, count, e));
    float *eye = nc_batch_f32(batch, "pair.eye", count, count);
    for (int i = 0; i < count * count; i++)
        eye[i] = i / count == i % count;
    return 0;
}

static void vision_info(const void *self, nc_vision_info *out) { *out = ((const nc_vision *)((const pair *)self)->vision->self)->info; }

static void capacity(const void *self, nc_build *b, int64_t pictures)
{
    const pair *c = self;
    nc_capacity_pictures(b, &((const nc_vision *)c->vision->self)->info, pictures);
    nc_build_fixed(b, "pictures", pictures);
}

static const char *const ignored[] = { "*position_ids", NULL };

#define TEXT_KIN .size = sizeof(text_tower), .weights = text_weights, .ignored = ignored, .prepare = text_prepare, .encode = text_encode, .reads_text = true
#define PAIR_KIN .size = sizeof(pair), .weights = pair_weights, .ignored = ignored, .prepare = prepare, .encode = encode, .outputs = outputs, .vision_info = vision_info, .capacity = capacity

const nc_family nc_family_clip_text_model = { .name = "clip_text_model", .architectures = "CLIPTextModel", .config = clip_text_config, TEXT_KIN };
const nc_family nc_family_siglip_text_model = { .name = "siglip_text_model", .architectures = "SiglipTextModel", .config = siglip_text_config, TEXT_KIN };
const nc_family nc_family_siglip2_text_model = { .name = "siglip2_text_model", .architectures = "Siglip2TextModel", .config = siglip_text_config, TEXT_KIN };
const nc_family nc_family_clip = { .name = "clip", .architectures = "CLIPModel", .config = clip_config, PAIR_KIN };
const nc_family nc_family_siglip = { .name = "siglip", .architectures = "SiglipModel", .config = siglip_config, PAIR_KIN };
const nc_family nc_family_siglip2 = { .name = "siglip2", .architectures = "Siglip2Model", .config = siglip_config, PAIR_KIN };

/* idefics.c - IDEFICS (Laurencon et al. 2023, "OBELICS"), an open Flamingo (Alayrac et al. 2022): a Llama whose blocks look at pictures through gated cross attention.
 *
 *   f = CLIP tower(picture), class row kept, not closed by post_layernorm                              [1 + side^2, Dv]
 *   use_resampler: l = latents;  per block  l += o(attention(q l', [k f'; k l'], [v f'; v l'])),  l += c_proj relu(fc(ln l))     f', l' normed;   media = norm l     [latents, Dv]
 *   before every cross_layer_interval-th block of the decoder, the first included:
 *     x += tanh(alpha_cross_attn) o(attention(q h, k media, v media)), h = rms x;   x += tanh(alpha_dense) mlp(rms x)
 *
 * A token sees the last picture before it, its own <image> included; after the end token none until the next picture; what is written after a prompt sees what its last token saw.
 * Easy to get wrong: keys of the resampler are the picture's rows, then the latents; its norms of q and k are layer norms, those of the cross attention (qk_layer_norms) RMS norms, and
 * there is no rotation; a token that sees nothing gets zeros from the attention, but the block's MLP all the same; the last rows of the vocabulary are weights of their own.
 */
#include "models/llama.h"
#include "models/media.h"
#include "models/vit.h"

#include <stdlib.h>

struct perceiver_block { nc_dense context, latents, q_norm, k_norm, ln; nc_site *q, *k, *v, *o, *fc, *c_proj; };
struct perceiver { int depth, heads, head_dim, count; bool qk_norm; struct perceiver_block *block; nc_site *latents; nc_dense norm; };
struct cross { nc_site *norm, *q, *k, *v, *o, *q_norm, *k_norm, *mlp_norm, *gate, *up, *down, *alpha, *alpha_dense; };

struct idefics {
    nc_llama text;                           /* first */
    nc_model *vision;
    nc_vision_info info;
    bool resampled, qk_norm, vector_alpha;
    int interval, *eos, eos_count;
    const char *alpha_init;
    double alpha_range;
    struct perceiver p;
    struct cross *cross;
};

/* ---- config ---- */

/* The tower is CLIP's under other keys. */
static void vision_config(nc_model *m, struct idefics *c, nc_config *r)
{
    static const char *const ignored[] = { "vision_model_name", "vision_model_params", "attention_dropout", "initializer_factor", "dropout", "projection_dim", NULL };
    static const struct { const char *key, *as; int usual; } sizes[] = { { "embed_dim", "hidden_size", 768 }, { "image_size", "image_size", 224 },
        { "intermediate_size", "intermediate_size", 5120 }, { "patch_size", "patch_size", 14 }, { "num_hidden_layers", "num_hidden_layers", 32 },
        { "num_attention_heads", "num_attention_heads", 16 }, { "num_channels", "num_channels", 3 } };
    nc_config *v = nc_config_child(r, "vision_config");
    nc_json *tree = nc_json_new(m->arena, NC_JSON_OBJECT);
    v = v ? v : nc_config_over(r, nc_json_new(m->arena, NC_JSON_OBJECT), "vision_config");
    nc_json_set(m->arena, tree, "model_type", nc_json_new_string(m->arena, NC_STR("clip_vision_model")));
    for (int i = 0; i < NC_COUNT(sizes); i++) {
        nc_json_set(m->arena, tree, sizes[i].as, nc_json_new_int(m->arena, nc_config_side(v, sizes[i].key, sizes[i].usual)));
    }
    nc_json_set(m->arena, tree, "hidden_act", nc_json_new_string(m->arena, nc_str_of(nc_config_string(v, "hidden_act", "gelu"))));
    nc_json_set(m->arena, tree, "layer_norm_eps", nc_json_new_double(m->arena, nc_config_float(v, "layer_norm_eps", 1e-5)));
    nc_config_ignore(v, ignored);
    c->vision = nc_submodel_of(m, r, tree, "vision_config", "model.");
    if (c->vision)
        c->vision->family->vision_info(c->vision->self, &c->info);
}

static void perceiver_config(nc_model *m, struct idefics *c, nc_config *r)
{
    static const char *const ignored[] = { "use_resampler", NULL };
    nc_config *p = nc_config_child(r, "perceiver_config");
    p = p ? p : nc_config_over(r, nc_json_new(m->arena, NC_JSON_OBJECT), "perceiver_config");
    c->p.count = (int)nc_config_int(p, "resampler_n_latents", 64);
    c->p.depth = nc_config_layers(p, "resampler_depth", 6);
    c->p.heads = (int)nc_config_int(p, "resampler_n_heads", 16);
    c->p.head_dim = (int)nc_config_int(p, "resampler_head_dim", 96);
    c->p.qk_norm = nc_config_bool(p, "qk_layer_norms_perceiver", false);
    nc_config_ignore(p, ignored);
    if (c->resampled && (c->p.count < 1 || c->p.heads < 1 || c->p.head_dim < 1))
        nc_config_mistake(p, "a resampler of %d latents and %d heads of %d", c->p.count, c->p.heads, c->p.head_dim);
}

static void alpha_config(struct idefics *c, nc_config *r)
{
    static const char *const known[] = { "zeros", "ones", "normal", "gaussian", "random" };
    const char *type = nc_config_string(r, "alpha_type", "float");
    int i = 0;
    c->alpha_init = nc_config_string(r, "alpha_initializer", "zeros");
    c->alpha_range = nc_config_float(r, "alphas_initializer_range", 0);
    c->vector_alpha = !strcmp(type, "vector");
    if (!c->vector_alpha && strcmp(type, "float"))
        nc_config_mistake(r, "alpha_type \"%s\" is neither \"float\" nor \"vector\"", type);
    while (i < NC_COUNT(known) && strcmp(known[i], c->alpha_init))
        i++;
    if (i == NC_COUNT(known))
        nc_config_mistake(r, "alpha_initializer \"%s\" is not known (zeros, ones, normal are)", c->alpha_init);
}

/* One end token or a list of them. */
static void eos_config(nc_model *m, struct idefics *c, nc_config *r)
{
    const nc_json *eos = nc_config_get(r, "eos_token_id");
    const bool many = nc_json_is(eos, NC_JSON_ARRAY);
    c->eos = NC_NEW_ARRAY(m->arena, int, many ? eos->count + 1 : 1);
    if (!many)
        c->eos[c->eos_count++] = (int)nc_json_int(eos, 2);
    for (int i = 0; many && i < eos->count; i++)
        c->eos[c->eos_count++] = (int)nc_json_int(nc_json_at(eos, i), -1);
}

static void config(nc_model *m, void *self, nc_config *r)
{
    static const char *const ignored[] = { "freeze_text_layers", "freeze_text_module_exceptions", "freeze_lm_head", "freeze_vision_layers", "freeze_vision_module_exceptions", "dropout",
                                           "cross_layer_activation_function", "ffn_dim", "word_embed_proj_dim", "max_new_tokens", "max_sequence_length", NULL };
    struct idefics *c = self;
    nc_llama_config(m, &c->text, r, 10000);
    c->text.vocab_more = (int)nc_config_int(r, "additional_vocab_size", 0);
    c->text.embed_more_name = "embed_tokens.additional_embedding.weight";
    c->text.head_more_name = "lm_head.additional_fc.weight";
    c->interval = (int)nc_config_int(r, "cross_layer_interval", 1);
    c->qk_norm = nc_config_bool(r, "qk_layer_norms", false);
    c->resampled = nc_config_bool(r, "use_resampler", false);
    alpha_config(c, r);
    eos_config(m, c, r);
    vision_config(m, c, r);
    perceiver_config(m, c, r);
    nc_config_ignore(r, ignored);
    if ((int64_t)c->text.vocab + c->text.vocab_more > INT32_MAX)
        nc_config_mistake(r, "vocab_size %d and additional_vocab_size %d are no vocabulary", c->text.vocab, c->text.vocab_more);
    else
        m->vocab_size += c->text.vocab_more;
    m->image_token_id = c->text.vocab_more > 1 ? c->text.vocab + 1 : -1;      /* <fake_token_around_image>, <image>; the tokenizer knows better (placeholder) */
    m->media_width = c->info.hidden_size;
    if (c->interval < 1 || c->text.layers % c->interval)
        nc_config_mistake(r, "num_hidden_layers %d is no multiple of cross_layer_interval %d", c->text.layers, c->interval);
    if ((int64_t)c->text.head_dim * c->text.heads != c->text.width || c->text.kv_heads != c->text.heads)
        nc_config_mistake(r, "heads of %d x %d (%d of keys) in a width of %d; they must make the width", c->text.heads, c->text.head_dim, c->text.kv_heads, c->text.width);
}

/* ---- weights ---- */

static void perceiver_weights(nc_model *m, struct idefics *c)
{
    const int64_t D = c->info.hidden_size, Q = (int64_t)c->p.heads * c->p.head_dim;
    nc_weight_scope(m, "model.perceiver_resampler.");
    c->p.latents = nc_weight_table(m, "latents", c->p.count, D);
    c->p.block = NC_NEW_ARRAY(m->arena, struct perceiver_block, c->p.depth + 1);
    for (int i = 0; i < c->p.depth; i++) {
        struct perceiver_block *l = &c->p.block[i];
        nc_weight_scope(m, "model.perceiver_resampler.blocks.%d.0.", i);
        l->context = nc_weight_layer_norm(m, "context_layer_norm", D);
        l->latents = nc_weight_layer_norm(m, "latents_layer_norm", D);
        if (c->p.qk_norm) {
            l->q_norm = nc_weight_layer_norm(m, "q_layer_norm", c->p.head_dim);
            l->k_norm = nc_weight_layer_norm(m, "k_layer_norm", c->p.head_dim);
        }
        l->q = nc_weight_linear(m, "q_proj.weight", Q, D);
        l->k = nc_weight_linear(m, "k_proj.weight", Q, D);
        l->v = nc_weight_linear(m, "v_proj.weight", Q, D);
        l->o = nc_weight_linear(m, "output_proj.weight", D, Q);
        nc_weight_scope(m, "model.perceiver_resampler.blocks.%d.1.", i);
        l->ln = nc_weight_layer_norm(m, "ln", D);
        l->fc = nc_weight_linear(m, "fc.weight", 4 * D, D);
        l->c_proj = nc_weight_linear(m, "c_proj.weight", D, 4 * D);
    }
    nc_weight_scope(m, "model.perceiver_resampler.");
    c->p.norm = nc_weight_layer_norm(m, "layer_norm", D);
}

static nc_site *alpha_weight(nc_model *m, const struct idefics *c, const char *name)
{
    const bool ones = !strcmp(c->alpha_init, "ones"), zeros = !strcmp(c->alpha_init, "zeros") || c->alpha_range <= 0;
    nc_site *s = nc_weight(m, 0, ones ? NC_INIT_ONE : zeros ? NC_INIT_ZERO : NC_INIT_NORMAL, name, c->vector_alpha ? c->text.width : 1, 0, 0, 0);
    if (c->vector_alpha)
        s->file_shape = NC_SHAPE(1, 1, c->text.width);
    if (!ones && !zeros)
        s->init_std = c->alpha_range;
    return s;
}

static int cross_layers(const struct idefics *c) { return c->text.layers / c->interval; }

static void cross_weights(nc_model *m, struct idefics *c)
{
    const int D = c->text.width, F = c->text.inner, A = c->text.head_dim;
    c->cross = NC_NEW_ARRAY(m->arena, struct cross, cross_layers(c) + 1);
    for (int i = 0; i < cross_layers(c); i++) {
        struct cross *l = &c->cross[i];
        nc_weight_scope(m, "model.gated_cross_attn_layers.%d.", i);
        l->norm = nc_weight_norm(m, "input_layernorm.weight", D);
        l->q = nc_weight_linear(m, "cross_attn.q_proj.weight", D, D);
        l->k = nc_weight_linear(m, "cross_attn.k_proj.weight", D, c->info.hidden_size);
        l->v = nc_weight_linear(m, "cross_attn.v_proj.weight", D, c->info.hidden_size);
        l->o = nc_weight_linear(m, "cross_attn.o_proj.weight", D, D);
        if (c->qk_norm) {
            l->q_norm = nc_weight_norm(m, "cross_attn.q_layer_norm.weight", A);
            l->k_norm = nc_weight_norm(m, "cross_attn.k_layer_norm.weight", A);
        }
        l->mlp_norm = nc_weight_norm(m, "post_attention_layernorm.weight", D);
        l->gate = nc_weight_linear(m, "mlp.gate_proj.weight", F, D);
        l->up = nc_weight_linear(m, "mlp.up_proj.weight", F, D);
        l->down = nc_weight_linear(m, "mlp.down_proj.weight", D, F);
        l->alpha = alpha_weight(m, c, "alpha_cross_attn");
        l->alpha_dense = alpha_weight(m, c, "alpha_dense");
    }
    nc_weight_scope(m, "%s", "");
}

static nc_value *before(const nc_llama *text, nc_build *b, int layer, nc_value *x, nc_value *media);

static void weights(nc_model *m, void *self)
{
    struct idefics *c = self;
    nc_submodel_weights(c->vision);
    if (c->resampled)
        perceiver_weights(m, c);
    c->text.before = before;
    nc_llama_weights(m, &c->text);
    cross_weights(m, c);
}

/* ---- pictures ---- */

static int picture_rows(const struct idefics *c)
{
    const int side = c->info.image_size / c->info.patch_size;
    return c->resampled ? c->p.count : side * side + c->info.class_rows;
}

static int media_rows(const nc_model *m, const void *self, const nc_media *media)
{
    (void)m;
    (void)self;
    return media->count;
}

static int feature_rows(const void *self, const nc_media *media) { return media->count * picture_rows(self); }

static nc_value *heads_of(nc_build *b, nc_value *x, int heads) { return nc_reshape(b->g, x, NC_SHAPE(x->shape.dim[0], heads, x->shape.dim[1] / heads)); }

static nc_value *perceive(const struct perceiver *p, nc_build *b, const struct perceiver_block *l, nc_value *context, nc_value *x)
{
    nc_value *h = nc_ln(b, x, l->latents.w, l->latents.b, 1e-5), *all = nc_ln(b, context, l->context.w, l->context.b, 1e-5);
    all = nc_gather_rows(b->g, all, nc_in(b, "resample.rows", NC_I32, "resample", 0));
    all = nc_splice_rows(b->g, all, h, nc_in(b, "resample.latents", NC_I32, "resample", 0));
    nc_value *q = heads_of(b, nc_linear(b, h, l->q, NULL), p->heads), *k = heads_of(b, nc_linear(b, all, l->k, NULL), p->heads);
    if (p->qk_norm) {
        q = nc_ln(b, q, l->q_norm.w, l->q_norm.b, 1e-5);
        k = nc_ln(b, k, l->k_norm.w, l->k_norm.b, 1e-5);
    }
    nc_value *y = nc_attend_heads(b, q, k, nc_linear(b, all, l->v, NULL), &(nc_attend){ .heads = p->heads, .kv_heads = p->heads, .head_dim = p->head_dim,
                                                                                       .spans = nc_in_spans(b, "resample") });
    return nc_linear(b, y, l->o, NULL);
}

static nc_value *resampler(const struct perceiver *p, nc_build *b, nc_value *context)
{
    nc_value *x = nc_gather_rows(b->g, nc_site_value(b, p->latents), nc_in(b, "media.latent", NC_I32, "media", 0));
    x = nc_cast(b->g, x, context->dtype);
    for (int i = 0; i < p->depth; i++) {
        const struct perceiver_block *l = &p->block[i];
        nc_scope_push(b->g, "blocks.%d", i);
        nc_block_begin(b->g);
        x = nc_add(b->g, x, perceive(p, b, l, context, x));
        x = nc_add(b->g, x, nc_mlp(b, NC_RELU, nc_ln(b, x, l->ln.w, l->ln.b, 1e-5), l->fc, NULL, l->c_proj, NULL));
        nc_block_end(b->g);
        nc_scope_pop(b->g);
    }
    return nc_probe(b, nc_ln(b, x, p->norm.w, p->norm.b, 1e-5), "resampler.out");
}

static nc_value *tower(const nc_model *m, const void *self, nc_build *b)
{
    const struct idefics *c = self;
    (void)m;
    nc_scope_push(b->g, "vision_model");
    nc_value *x = nc_model_vision(c->vision, b, -1, "tower.hidden");
    nc_scope_pop(b->g);
    if (!c->resampled)
        return x;
    nc_scope_push(b->g, "perceiver_resampler");
    x = resampler(&c->p, b, x);
    nc_scope_pop(b->g);
    return x;
}

/* ---- decoder ---- */

static nc_value *gated(nc_build *b, nc_value *x, nc_value *h, nc_site *alpha)
{
    nc_value *gate = nc_unary_op(b->g, NC_TANH, nc_cast(b->g, nc_site_value(b, alpha), h->dtype));
    return nc_add(b->g, x, nc_mul(b->g, h, gate));
}

static nc_value *cross_heads(const struct idefics *c, nc_build *b, nc_value *x, nc_site *w, nc_site *norm)
{
    nc_value *y = heads_of(b, nc_linear(b, x, w, NULL), c->text.heads);
    return norm ? nc_rms(b, y, norm, c->text.eps) : y;
}

static nc_attend heads(const struct idefics *c) { return (nc_attend){ .heads = c->text.heads, .kv_heads = c->text.heads, .head_dim = c->text.head_dim }; }

/* The gated cross attention that stands before some blocks. A program without media and without a cache is one of texts that see nothing. */
static nc_value *before(const nc_llama *text, nc_build *b, int layer, nc_value *x, nc_value *media)
{
    const struct idefics *c = (const struct idefics *)(const void *)text;
    const struct cross *l = &c->cross[layer / c->interval];
    if (layer % c->interval)
        return x;
    nc_scope_push(b->g, "cross");
    if (media || b->cache) {
        nc_attend a = heads(c);
        nc_value *q = cross_heads(c, b, nc_point(b, nc_rms(b, x, l->norm, text->eps), "cross.in"), l->q, l->q_norm);
        nc_value *k = media ? cross_heads(c, b, media, l->k, l->k_norm) : NULL, *v = media ? nc_linear(b, media, l->v, NULL) : NULL;
        nc_value *y = nc_point(b, nc_linear(b, nc_attend_cross(b, q, k, v, &a), l->o, NULL), "cross.out");
        x = gated(b, x, y, l->alpha);
    }
    x = gated(b, x, nc_gated_mlp(b, text->activation, nc_rms(b, x, l->mlp_norm, text->eps), l->gate, l->up, l->down), l->alpha_dense);
    nc_scope_pop(b->g);
    return nc_probe(b, x, "cross.%d", layer / c->interval);
}

static void cross(const nc_model *m, const void *self, nc_build *b, nc_value *rows)
{
    const struct idefics *c = self;
    nc_attend a = heads(c);
    (void)m;
    for (int i = 0; i < cross_layers(c); i++)
        nc_keep_cross(b, cross_heads(c, b, rows, c->cross[i].k, c->cross[i].k_norm), nc_linear(b, rows, c->cross[i].v, NULL), &a, i);
}

/* ---- tables ---- */

static bool is_end(const struct idefics *c, int32_t id)
{
    for (int i = 0; i < c->eos_count; i++)
        if (id == c->eos[i])
            return true;
    return false;
}

static int views(const nc_model *m, const void *self, const int32_t *ids, int count, const nc_media *media, int media_count, nc_views *out, nc_error *e)
{
    const struct idefics *c = self;
    int *rows = nc_xcalloc((size_t)media_count + 1, sizeof *rows), last = -1, status = 0;
    bool ended = false;
    for (int i = 0; i < media_count && status == 0; i++) {
        rows[i] = feature_rows(c, &media[i]);
        if (media[i].count != 1)
            status = nc_fail(e, NC_EUNSUPPORTED, "medium %d has %d frames; a %s reads pictures alone", i, media[i].count, m->family->name);
    }
    if (status == 0) {
        nc_views_new(out, count, rows, media_count);
        for (int i = 0; i < count; i++) {
            bool picture = ids[i] >= 0 && ids[i] == m->image_token_id;
            last += picture;
            ended = ended && !picture;
            if (last >= 0 && last < media_count && !ended)
                out->of[i] = out->group[last];
            ended = ended || is_end(c, ids[i]);
        }
    }
    free(rows);
    return status;
}

/* The rows that a picture's latents attend to: its own, then the latents. */
static void resample_tables(const struct idefics *c, nc_batch *batch, int pictures)
{
    const int side = c->info.image_size / c->info.patch_size, context = side * side + c->info.class_rows, n = c->p.count, all = context + n;
    int32_t *latent = nc_batch_i32(batch, "media.latent", (int64_t)pictures * n, 1), *rows = nc_batch_i32(batch, "resample.rows", (int64_t)pictures * all, 1);
    int32_t *latents = nc_batch_i32(batch, "resample.latents", (int64_t)pictures * all, 1);
    nc_batch_set_count(batch, "resample", (int64_t)pictures * all);
    for (int p = 0; p < pictures; p++) {
        for (int i = 0; i < n; i++)
            latent[p * n + i] = i;
        for (int i = 0; i < all; i++) {
            rows[p * all + i] = i < context ? p * context + i : -1;
            latents[p * all + i] = i < context ? -1 : p * n + i - context;
        }
        nc_batch_add_span(batch, "resample", (nc_span){ .q_row = p * n, .q_rows = n, .k_row = p * all, .k_rows = all, .slot = -1, .sight = NC_SIGHT_FULL });
    }
}

static int tower_tables(const void *self, nc_batch *batch, const nc_pixels *pictures, int count, nc_error *e)
{
    const struct idefics *c = self;
    NC_TRY(nc_prepare_pictures(batch, &c->info, pictures, count, e));
    if (c->resampled)
        resample_tables(c, batch, count);
    return 0;
}

static int prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    const struct idefics *c = self;
    bool computed;
    NC_TRY(nc_llama_prepare(m, self, batch, seqs, count, e));
    NC_TRY(nc_media_gather(m, batch, seqs, count, &computed, e));
    if (!computed)
        NC_TRY(nc_media_see(&c->info, c, batch, seqs, count, tower_tables, e));
    return nc_prepare_views(m, batch, seqs, count, e);
}

static void capacity(const void *self, nc_build *b, int64_t pictures)
{
    const struct idefics *c = self;
    const int64_t side = c->info.image_size / c->info.patch_size;
    nc_capacity_pictures(b, &c->info, pictures);
    nc_build_capacity(b, "media", pictures * picture_rows(c));
    if (c->resampled)
        nc_build_capacity(b, "resample", pictures * (side * side + c->info.class_rows + c->p.count));
}

static const char *const ignored_tensors[] = { "*rotary_emb.inv_freq", "*position_ids", NULL };
static const char *const tower_parts[] = { "model.vision_model.", NULL }, *const projector_parts[] = { "model.perceiver_resampler.", NULL };

const nc_family nc_family_idefics = {
    .name = "idefics", .architectures = "IdeficsForVisionText2Text", .size = sizeof(struct idefics), .config = config, .weights = weights, .tower_parts = tower_parts,
    .projector_parts = projector_parts, .ignored = ignored_tensors, .prepare = prepare, .tower = tower, .decoder = nc_llama_decoder, .cross = cross, .views = views,
    .placeholder = "<image>", .media_rows = media_rows, .feature_rows = feature_rows, .head = nc_llama_head, .cache = nc_llama_cache, .regime = nc_llama_regime, .capacity = capacity,
};

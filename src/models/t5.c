/* t5.c - T5 (Raffel et al. 2020), T5 1.1, Flan-T5 and mT5: an encoder over the source and a decoder that looks at its rows (t5.h has the blocks).
 *
 *   e = encoder(shared(source));   h = decoder(shared(ids), e);   logits = lm_head (h * d_model^-0.5 when tied)
 *
 * Easy to get wrong: scores are not divided by sqrt(d_kv); the bias of block 0 serves all blocks of its stack and cross attention has none; "gated-gelu" is the tanh
 * form; tie_word_embeddings false means both an lm_head of its own and no scaling before it. Newer configs say that in scale_decoder_outputs and write
 * tie_word_embeddings true whatever holds; mT5's configs say nothing that holds: it is tied where its file has no lm_head, and never scaled.
 */
#include "models/t5.h"

#include <math.h>

struct t5 { nc_t5_stack encoder, decoder; int vocab; bool tied, by_file; nc_site *shared, *head; };     /* by_file: tied where the folder has no head */

static void read_config(nc_model *m, struct t5 *c, nc_config *r, const char *mlp)
{
    static const char *const ignored[] = { "dropout_rate", "classifier_dropout", "initializer_factor", "is_gated_act", "dense_act_fn", "n_positions", "output_past", "bad_words_ids", NULL };
    nc_t5_stack *s = &c->encoder;
    c->vocab = (int)nc_config_int(r, "vocab_size", NC_REQUIRED);
    s->width = s->cross_width = (int)nc_config_int(r, "d_model", NC_REQUIRED);
    s->d_kv = (int)nc_config_int(r, "d_kv", 64);
    s->heads = (int)nc_config_int(r, "num_heads", NC_REQUIRED);
    s->inner = (int)nc_config_int(r, "d_ff", NC_REQUIRED);
    s->layers = nc_config_layers(r, "num_layers", NC_REQUIRED);
    s->buckets = (int)nc_config_int(r, "relative_attention_num_buckets", 32);
    s->max_distance = (int)nc_config_int(r, "relative_attention_max_distance", 128);
    s->eps = nc_config_float(r, "layer_norm_epsilon", 1e-6);
    nc_t5_mlp_config(r, s, mlp);
    c->decoder = *s;
    c->decoder.decoder = true;
    c->decoder.layers = nc_config_layers(r, "num_decoder_layers", s->layers);
    c->tied = nc_config_bool(r, "tie_word_embeddings", true);
    c->tied = nc_config_bool(r, "scale_decoder_outputs", c->tied);
    nc_config_ignore(r, ignored);
    nc_t5_check(r, s);
    m->hidden_size = s->width;
    m->vocab_size = c->vocab;
}

static void config_t5(nc_model *m, void *self, nc_config *r) { read_config(m, self, r, "relu"); }

static void config_mt5(nc_model *m, void *self, nc_config *r)
{
    struct t5 *c = self;
    read_config(m, c, r, "gated-gelu");
    c->tied = false;
    c->by_file = true;
}

static void weights(nc_model *m, void *self)
{
    static const nc_t5_names encoder = { "block.", "layer.0.", NULL, "layer.1.", "SelfAttention.", NULL, "q.", "k.", "v.", "o." };
    static const nc_t5_names decoder = { "block.", "layer.0.", "layer.1.", "layer.2.", "SelfAttention.", "EncDecAttention.", "q.", "k.", "v.", "o." };
    struct t5 *c = self;
    c->shared = nc_weight_linear(m, "shared.weight", c->vocab, c->encoder.width);
    c->shared->init_std = 1;
    nc_t5_weights(m, &c->encoder, &encoder, "encoder.");
    nc_t5_weights(m, &c->decoder, &decoder, "decoder.");
    nc_weight_scope(m, "%s", "");
    c->head = c->tied ? c->shared : nc_weight_linear(m, "lm_head.weight", c->vocab, c->encoder.width);
    if (c->by_file)
        c->head->flags |= NC_SITE_OPTIONAL;
}

static nc_value *encoder(const nc_model *m, const void *self, nc_build *b, nc_value *media)
{
    const struct t5 *c = self;
    (void)m;
    nc_value *x = nc_source_media(b, nc_embed(b, c->shared, nc_in(b, "source.ids", NC_I32, "source", 0)), media);
    x = nc_point(b, x, "embedding.out");
    return nc_probe(b, nc_t5_blocks(&c->encoder, b, x, nc_in_spans(b, "source"), NULL, "hidden.encoder"), "out.encoder_last_hidden_state");
}

static void cross(const nc_model *m, const void *self, nc_build *b, nc_value *rows)
{
    (void)m;
    nc_t5_cross(&((const struct t5 *)self)->decoder, b, rows);
}

static nc_value *decoder(const nc_model *m, const void *self, nc_build *b, nc_value *rows)
{
    const struct t5 *c = self;
    (void)m;
    nc_value *x = nc_point(b, nc_embed(b, c->shared, nc_in(b, "text.ids", NC_I32, "tokens", 0)), "embedding.out");
    return nc_t5_blocks(&c->decoder, b, x, nc_in_spans(b, "text"), rows, "hidden.decoder");
}

static void head(const void *self, nc_head *out)
{
    const struct t5 *c = self;
    *out = (nc_head){ .w = nc_site_is_there(c->head) ? c->head : c->shared, .scale = c->tied ? 1 / sqrt((double)c->encoder.width) : 1 };
}

static void cache(const void *self, nc_cache_need *out) { nc_t5_cache(&((const struct t5 *)self)->decoder, out); }

static const char *const ignored[] = { "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight",
                                       "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight", NULL };

const nc_family nc_family_t5 = {
    .name = "t5", .architectures = "T5ForConditionalGeneration T5WithLMHeadModel T5Model", .size = sizeof(struct t5), .config = config_t5, .weights = weights, .ignored = ignored,
    .prepare = nc_prepare_seq2seq, .encoder = encoder, .cross = cross, .decoder = decoder, .head = head, .cache = cache,
};
const nc_family nc_family_mt5 = {
    .name = "mt5", .architectures = "MT5ForConditionalGeneration MT5Model", .size = sizeof(struct t5), .config = config_mt5, .weights = weights, .ignored = ignored,
    .prepare = nc_prepare_seq2seq, .encoder = encoder, .cross = cross, .decoder = decoder, .head = head, .cache = cache,
};

/* bart.c - BART (Lewis et al. 2020) and mBART (Liu et al. 2020); bart.h has the blocks.
 *
 *   e = encoder(shared(source));   h = decoder(shared(ids), e);   logits = shared . h + final_logits_bias
 *
 * Easy to get wrong: final_logits_bias is a buffer that is added and never trained; BART norms after the residual, mBART before it and after each stack; an mBART
 * sequence ends with </s> and its language, and the decoder begins with that language. layernorm_embedding is in both.
 */
#include "models/bart.h"

struct bart { nc_bart_stack encoder, decoder; int vocab; bool tied; nc_site *shared, *head, *bias; };

static void read_config(nc_model *m, struct bart *c, nc_config *r, bool pre_norm)
{
    nc_bart_stack *stack[] = { &c->encoder, &c->decoder };
    c->vocab = (int)nc_config_int(r, "vocab_size", NC_REQUIRED);
    c->tied = nc_config_bool(r, "tie_word_embeddings", true);
    for (int i = 0; i < 2; i++) {
        nc_bart_config(r, stack[i], i ? "decoder" : "encoder");
        stack[i]->pre_norm = stack[i]->final_norm = pre_norm;
        stack[i]->embed_norm = stack[i]->learned = true;
    }
    nc_config_ignore(r, nc_bart_meaningless);
    m->hidden_size = c->decoder.width;
    m->vocab_size = c->vocab;
    m->max_positions = m->max_source = c->decoder.positions;
}

static void config_bart(nc_model *m, void *self, nc_config *r) { read_config(m, self, r, false); }
static void config_mbart(nc_model *m, void *self, nc_config *r) { read_config(m, self, r, true); }

static void weights(nc_model *m, void *self)
{
    struct bart *c = self;
    nc_weight_scope(m, "%s", "");
    c->bias = nc_weight(m, NC_SITE_BUFFER | NC_SITE_OPTIONAL, NC_INIT_ZERO, "final_logits_bias", c->vocab, 0, 0, 0);
    c->bias->file_shape = NC_SHAPE(1, c->vocab);
    c->shared = c->encoder.embed = c->decoder.embed = nc_weight_linear(m, "model.shared.weight", c->vocab, c->decoder.width);
    nc_bart_weights(m, &c->encoder, "model.encoder.");
    nc_bart_weights(m, &c->decoder, "model.decoder.");
    nc_weight_scope(m, "%s", "");
    c->head = c->tied ? c->shared : nc_weight_linear(m, "lm_head.weight", c->vocab, c->decoder.width);
}

static nc_value *encoder(const nc_model *m, const void *self, nc_build *b)
{
    const nc_bart_stack *c = &((const struct bart *)self)->encoder;
    (void)m;
    nc_value *x = nc_bart_embed(c, b, nc_in(b, "source.ids", NC_I32, "source", 0), nc_in(b, "source.pos", NC_I32, "source", 1), NULL);
    return nc_probe(b, nc_bart_blocks(c, b, x, nc_in_spans(b, "source"), NULL, "hidden.encoder"), "out.encoder_last_hidden_state");
}

static void cross(const nc_model *m, const void *self, nc_build *b, nc_value *rows)
{
    (void)m;
    nc_bart_cross(&((const struct bart *)self)->decoder, b, rows);
}

static nc_value *decoder(const nc_model *m, const void *self, nc_build *b, nc_value *rows)
{
    const nc_bart_stack *c = &((const struct bart *)self)->decoder;
    (void)m;
    nc_value *x = nc_bart_embed(c, b, nc_in(b, "text.ids", NC_I32, "tokens", 0), nc_in(b, "text.pos", NC_I32, "tokens", 1), NULL);
    return nc_bart_blocks(c, b, x, nc_in_spans(b, "text"), rows, "hidden.decoder");
}

static void head(const void *self, nc_head *out)
{
    const struct bart *c = self;
    *out = (nc_head){ .w = c->head, .bias = c->bias, .scale = 1 };
}

static void cache(const void *self, nc_cache_need *out) { nc_bart_cache(&((const struct bart *)self)->decoder, out); }

static const char *const ignored[] = { "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight", "lm_head.weight", "model.encoder.version", "model.decoder.version", NULL };
static const char *const renames[] = { "", "model.", NULL };

#define MEMBERS .size = sizeof(struct bart), .weights = weights, .ignored = ignored, .renames = renames, .prepare = nc_prepare_seq2seq, .encoder = encoder, .cross = cross, \
    .decoder = decoder, .head = head, .cache = cache
const nc_family nc_family_bart = { .name = "bart", .architectures = "BartForConditionalGeneration BartModel", .config = config_bart, MEMBERS };
const nc_family nc_family_mbart = { .name = "mbart", .architectures = "MBartForConditionalGeneration MBartModel", .config = config_mbart, MEMBERS };

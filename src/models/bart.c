/* bart.c - BART (Lewis et al. 2020) and mBART (Liu et al. 2020); bart.h has the blocks.
 *
 *   e = encoder(shared(source));   h = decoder(shared(ids), e);   logits = shared . h + final_logits_bias
 *
 * Easy to get wrong: final_logits_bias is a buffer that is added and never trained; BART norms after the residual, mBART before it and after each stack; an mBART
 * sequence ends with </s> and its language, and the decoder begins with that language. layernorm_embedding is in both.
 */
#include "models/bart.h"

void nc_bart_whole_config(nc_model *m, nc_bart *c, nc_config *r, bool pre_norm)
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

void nc_bart_whole_weights(nc_model *m, nc_bart *c, const nc_bart_names *n)
{
    nc_bart_stack *stack[] = { &c->encoder, &c->decoder };
    nc_weight_scope(m, "%s", n->bias);
    c->bias = nc_weight(m, NC_SITE_BUFFER | NC_SITE_OPTIONAL, NC_INIT_ZERO, "final_logits_bias", c->vocab, 0, 0, 0);
    c->bias->file_shape = NC_SHAPE(1, c->vocab);
    nc_weight_scope(m, "%s", n->body);
    c->shared = nc_weight_linear(m, "shared.weight", c->vocab, c->decoder.width);
    for (int i = 0; i < 2; i++) {
        const char *scope = nc_arena_printf(m->arena, "%s%s.", n->body, i ? "decoder" : "encoder");
        nc_weight_scope(m, "%s", scope);
        stack[i]->embed = c->shared;
        if (!c->tied && (i || n->encoder_table))
            stack[i]->own = nc_weight(m, NC_SITE_OPTIONAL, NC_INIT_NORMAL, "embed_tokens.weight", c->vocab, c->decoder.width, 0, 0);
        nc_bart_weights(m, stack[i], scope);
    }
    nc_weight_scope(m, "%s", n->head);
    c->head = c->tied ? c->shared : nc_weight(m, NC_SITE_LINEAR | NC_SITE_OPTIONAL, NC_INIT_NORMAL, "lm_head.weight", c->vocab, c->decoder.width, 0, 0);
}

nc_value *nc_bart_encode(const nc_bart *c, nc_build *b, nc_value *media)
{
    nc_value *x = nc_source_media(b, nc_bart_tokens(&c->encoder, b, nc_in(b, "source.ids", NC_I32, "source", 0)), media);
    x = nc_bart_embed(&c->encoder, b, x, nc_in(b, "source.pos", NC_I32, "source", 1), NULL);
    return nc_probe(b, nc_bart_blocks(&c->encoder, b, x, nc_in_spans(b, "source"), NULL, "hidden.encoder"), "out.encoder_last_hidden_state");
}

nc_value *nc_bart_decode(const nc_bart *c, nc_build *b, nc_value *rows)
{
    nc_value *x = nc_bart_tokens(&c->decoder, b, nc_in(b, "text.ids", NC_I32, "tokens", 0));
    x = nc_bart_embed(&c->decoder, b, x, nc_in(b, "text.pos", NC_I32, "tokens", 1), NULL);
    return nc_bart_blocks(&c->decoder, b, x, nc_in_spans(b, "text"), rows, "hidden.decoder");
}

void nc_bart_head(const nc_bart *c, nc_head *out)
{
    *out = (nc_head){ .w = nc_site_is_there(c->head) ? c->head : c->shared, .bias = c->bias, .scale = 1 };
}

/* ---- the families ---- */
static void config_bart(nc_model *m, void *self, nc_config *r) { nc_bart_whole_config(m, self, r, false); }
static void config_mbart(nc_model *m, void *self, nc_config *r) { nc_bart_whole_config(m, self, r, true); }
static void weights(nc_model *m, void *self) { nc_bart_whole_weights(m, self, &(nc_bart_names){ "model.", "", "", true }); }

static nc_value *encoder(const nc_model *m, const void *self, nc_build *b, nc_value *media)
{
    (void)m;
    return nc_bart_encode(self, b, media);
}

static void cross(const nc_model *m, const void *self, nc_build *b, nc_value *rows)
{
    (void)m;
    nc_bart_cross(&((const nc_bart *)self)->decoder, b, rows);
}

static nc_value *decoder(const nc_model *m, const void *self, nc_build *b, nc_value *rows)
{
    (void)m;
    return nc_bart_decode(self, b, rows);
}

static void head(const void *self, nc_head *out) { nc_bart_head(self, out); }
static void cache(const void *self, nc_cache_need *out) { nc_bart_cache(&((const nc_bart *)self)->decoder, out); }

static const char *const ignored[] = { "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight", "lm_head.weight", "model.encoder.version", "model.decoder.version", NULL };
static const char *const renames[] = { "", "model.", NULL };

#define MEMBERS .size = sizeof(nc_bart), .weights = weights, .ignored = ignored, .renames = renames, .prepare = nc_prepare_seq2seq, .encoder = encoder, .cross = cross, \
    .decoder = decoder, .head = head, .cache = cache
const nc_family nc_family_bart = { .name = "bart", .architectures = "BartForConditionalGeneration BartModel", .config = config_bart, MEMBERS };
const nc_family nc_family_mbart = { .name = "mbart", .architectures = "MBartForConditionalGeneration MBartModel", .config = config_mbart, MEMBERS };

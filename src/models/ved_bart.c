/* ved_bart.c - mBART's decoder (Donut, Nougat) and TrOCR's under a tower.
 *
 * Easy to get wrong: TrOCR's small models have sinusoidal positions that count the tokens that are not padding, from pad_token_id + 1 on; TrOCR norms after the residual, mBART
 * before it.
 */
#include <math.h>

#include "models/bart.h"
#include "models/ved.h"

struct decoder { nc_bart_stack stack; int vocab, pad; bool tied; const char *head_name; nc_site *head; };

static void config(nc_model *m, void *self, nc_config *r, const char *type, nc_ved_facts *out)
{
    static const char *const others[] = { "encoder_layers", "encoder_attention_heads", "encoder_ffn_dim", NULL };
    struct decoder *c = self;
    nc_bart_stack *d = &c->stack;
    bool trocr = !strcmp(type, "trocr");
    (void)m;
    nc_bart_config(r, d, "decoder");
    d->pre_norm = d->final_norm = !trocr;
    d->embed_norm = nc_config_bool(r, "layernorm_embedding", true) || !trocr;
    d->learned = nc_config_bool(r, "use_learned_position_embeddings", true) || !trocr;
    c->vocab = (int)nc_config_int(r, "vocab_size", 50265);
    c->pad = (int)nc_config_int(r, "pad_token_id", 1);
    c->tied = nc_config_bool(r, "tie_word_embeddings", true);
    c->head_name = trocr ? "output_projection.weight" : "lm_head.weight";
    nc_config_ignore(r, others);
    nc_config_ignore(r, nc_bart_meaningless);
    *out = (nc_ved_facts){ d->width, c->vocab, d->positions, (int)nc_config_int(r, "cross_attention_hidden_size", 0) };
}

static void weights(nc_model *m, void *self, int cross_width)
{
    struct decoder *c = self;
    c->stack.cross_width = cross_width;
    nc_weight_scope(m, "%s", "");
    c->head = c->stack.embed = nc_weight_linear(m, "model.decoder.embed_tokens.weight", c->vocab, c->stack.width);
    nc_bart_weights(m, &c->stack, "model.decoder.");
    nc_weight_scope(m, "%s", "");
    if (!c->tied)
        c->head = nc_weight_linear(m, c->head_name, c->vocab, c->stack.width);
}

/* Rows of sines, then cosines: a token's place is how many tokens that are not padding stand before it, itself counted, plus the padding's id. */
static int prepare(const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    const struct decoder *c = self;
    (void)e;
    if (c->stack.learned)
        return 0;
    const int D = c->stack.width, half = D / 2;
    const double step = -log(10000) / (half - 1);
    float *to = nc_batch_f32(batch, "text.sinusoids", nc_batch_count(batch, "tokens"), D);
    for (int i = 0; i < count; i++) {
        int padded = 0;
        for (int j = 0; j < seqs[i].count; j++, to += D) {
            bool pad = seqs[i].ids[j] == c->pad;
            padded += pad;
            int place = pad ? c->pad : seqs[i].start + j - padded + 1 + c->pad;
            memset(to, 0, sizeof *to * (size_t)D);
            for (int k = 0; k < half && place != c->pad; k++) {
                float angle = (float)place * expf((float)k * (float)step);
                to[k] = sinf(angle);
                to[half + k] = cosf(angle);
            }
        }
    }
    return 0;
}
static nc_value *decode(const void *self, nc_build *b, nc_value *rows)
{
    const nc_bart_stack *c = &((const struct decoder *)self)->stack;
    nc_value *pos = c->learned ? nc_in(b, "text.pos", NC_I32, "tokens", 1) : NULL;
    nc_value *sines = c->learned ? NULL : nc_cast(b->g, nc_in(b, "text.sinusoids", NC_F32, "tokens", c->width), nc_graph_compute(b->g));
    nc_value *x = nc_bart_embed(c, b, nc_bart_tokens(c, b, nc_in(b, "text.ids", NC_I32, "tokens", 0)), pos, sines);
    return nc_bart_blocks(c, b, x, nc_in_spans(b, "text"), rows, "decoder.hidden");
}

static void cross(const void *self, nc_build *b, nc_value *rows) { nc_bart_cross(&((const struct decoder *)self)->stack, b, rows); }
static void head(const void *self, nc_head *out) { *out = (nc_head){ .w = ((const struct decoder *)self)->head, .scale = 1 }; }
static void cache(const void *self, nc_cache_need *out) { nc_bart_cache(&((const struct decoder *)self)->stack, out); }

static const char *const types[] = { "mbart", "trocr", NULL };
const nc_ved_kind nc_ved_bart = { types, sizeof(struct decoder), config, weights, prepare, decode, cross, head, cache };

/* rwkv.c - RWKV-4 (Peng et al. 2023): time mixing by a decaying average, channel mixing by a gated square.
 *
 *   x = embeddings(ids), before block 0 pre_ln                                     [N,D]
 *   time:     x += output(sigmoid(r) * wkv(k, v));  r, k, v products of  h m + h' (1 - m),  h = ln1 x,  h' the row before       w = -exp(time_decay), u = time_first
 *   channels: x += sigmoid(receptance(..)) * value(relu(key(..))^2),  the same mixing of h = ln2 x
 *   logits = head . ln_out x                                                       [N,V]
 *
 * Easy to get wrong: the reference halves x after every rescale_every blocks and divides what block i adds by 2^(i / rescale_every): the norms' eps is all that changes,
 * so it is done here too, in training as well (powers of two are exact); wkv and its state are f32 in a bf16 run; the head is head.weight.
 */
#include "models/model.h"

#include <math.h>

#include "nn/recurrent.h"

struct mix { nc_site *key, *value, *receptance; };
struct layer {
    nc_site *pre_ln, *pre_ln_b, *ln1, *ln1_b, *ln2, *ln2_b, *decay, *first, *key, *value, *receptance, *output, *f_key, *f_value, *f_receptance;
    struct mix mix, f_mix;
};
struct rwkv { int layers, width, attention, inner, vocab, rescale; double eps; bool tied; struct layer *layer; nc_site *embed, *ln, *ln_b, *head; };

static void config(nc_model *m, void *self, nc_config *r)
{
    static const char *const ignored[] = { "context_length", "max_position_embeddings", "layer_types", NULL };
    struct rwkv *c = self;
    c->layers = nc_config_layers(r, "num_hidden_layers", 32);
    c->width = (int)nc_config_int(r, "hidden_size", 4096);
    c->attention = (int)nc_config_int(r, "attention_hidden_size", c->width);
    c->inner = (int)nc_config_int(r, "intermediate_size", 4 * (int64_t)c->width & INT32_MAX);
    c->vocab = (int)nc_config_int(r, "vocab_size", 50277);
    c->eps = nc_config_float(r, "layer_norm_epsilon", 1e-5);
    c->rescale = (int)nc_config_int(r, "rescale_every", 6);
    c->tied = nc_config_bool(r, "tie_word_embeddings", false);
    nc_config_ignore(r, ignored);
    if (c->width < 1 || c->attention < 1 || c->inner < 1)
        nc_config_mistake(r, "hidden_size %d, attention_hidden_size %d, intermediate_size %d must be over 0", c->width, c->attention, c->inner);
    m->hidden_size = c->width;
    m->vocab_size = c->vocab;
}

static nc_site *mix_weight(nc_model *m, const char *name, int width)
{
    nc_site *s = nc_weight(m, 0, NC_INIT_ZERO, name, 1, 1, width, 0);
    s->init_value = 0.5;
    return s;
}

static void block_weights(nc_model *m, const struct rwkv *c, struct layer *l)
{
    const int D = c->width, A = c->attention;
    l->ln1 = nc_weight_norm(m, "ln1.weight", D);
    l->ln1_b = nc_weight_bias(m, "ln1.bias", D);
    l->ln2 = nc_weight_norm(m, "ln2.weight", D);
    l->ln2_b = nc_weight_bias(m, "ln2.bias", D);
    l->decay = nc_weight(m, NC_SITE_KEEP_F32, NC_INIT_ZERO, "attention.time_decay", A, 0, 0, 0);
    l->first = nc_weight(m, NC_SITE_KEEP_F32, NC_INIT_ZERO, "attention.time_first", A, 0, 0, 0);
    l->mix.key = mix_weight(m, "attention.time_mix_key", D);
    l->mix.value = mix_weight(m, "attention.time_mix_value", D);
    l->mix.receptance = mix_weight(m, "attention.time_mix_receptance", D);
    l->key = nc_weight_linear(m, "attention.key.weight", A, D);
    l->value = nc_weight_linear(m, "attention.value.weight", A, D);
    l->receptance = nc_weight_linear(m, "attention.receptance.weight", A, D);
    l->output = nc_weight_linear(m, "attention.output.weight", D, A);
    l->f_mix.key = mix_weight(m, "feed_forward.time_mix_key", D);
    l->f_mix.receptance = mix_weight(m, "feed_forward.time_mix_receptance", D);
    l->f_key = nc_weight_linear(m, "feed_forward.key.weight", c->inner, D);
    l->f_receptance = nc_weight_linear(m, "feed_forward.receptance.weight", D, D);
    l->f_value = nc_weight_linear(m, "feed_forward.value.weight", D, c->inner);
}

static void weights(nc_model *m, void *self)
{
    struct rwkv *c = self;
    const int D = c->width;
    c->layer = NC_NEW_ARRAY(m->arena, struct layer, c->layers);
    nc_weight_scope(m, "rwkv.");
    c->embed = c->tied ? nc_weight_linear(m, "embeddings.weight", c->vocab, D) : nc_weight_table(m, "embeddings.weight", c->vocab, D);
    for (int i = 0; i < c->layers; i++) {
        nc_weight_scope(m, "rwkv.blocks.%d.", i);
        if (i == 0) {
            c->layer[i].pre_ln = nc_weight_norm(m, "pre_ln.weight", D);
            c->layer[i].pre_ln_b = nc_weight_bias(m, "pre_ln.bias", D);
        }
        block_weights(m, c, &c->layer[i]);
    }
    nc_weight_scope(m, "rwkv.");
    c->ln = nc_weight_norm(m, "ln_out.weight", D);
    c->ln_b = nc_weight_bias(m, "ln_out.bias", D);
    nc_weight_scope(m, "%s", "");
    c->head = c->tied ? c->embed : nc_weight_linear(m, "head.weight", c->vocab, D);
}

/* before + (x - before) m; step is x - before. */
static nc_value *mixed(nc_build *b, nc_value *before, nc_value *step, nc_site *m)
{
    return nc_add(b->g, before, nc_mul(b->g, step, nc_reshape(b->g, nc_site_value(b, m), NC_SHAPE(nc_shape_last(&m->shape)))));
}

static nc_value *time_mixing(const struct rwkv *c, nc_build *b, const struct layer *l, nc_value *x)
{
    nc_value *before = nc_row_before(b, x), *step = nc_sub(b->g, x, before);
    nc_value *k = nc_linear(b, mixed(b, before, step, l->mix.key), l->key, NULL), *v = nc_linear(b, mixed(b, before, step, l->mix.value), l->value, NULL);
    nc_value *r = nc_linear(b, mixed(b, before, step, l->mix.receptance), l->receptance, NULL);
    nc_value *w = nc_affine(b->g, nc_unary_op(b->g, NC_EXP, nc_site_wide(b, l->decay)), -1, 0);
    nc_recurrent_attr a = nc_recur(b, nc_wkv_state(c->attention));
    nc_value *y = nc_wkv(b->g, nc_widen(b, k), nc_widen(b, v), w, nc_site_wide(b, l->first), &a);
    return nc_linear(b, nc_gated(b->g, NC_SIGMOID, r, nc_narrow(b, y)), l->output, NULL);
}

static nc_value *channel_mixing(nc_build *b, const struct layer *l, nc_value *x)
{
    nc_value *before = nc_row_before(b, x), *step = nc_sub(b->g, x, before);
    nc_value *k = nc_unary_op(b->g, NC_SQUARE, nc_unary_op(b->g, NC_RELU, nc_linear(b, mixed(b, before, step, l->f_mix.key), l->f_key, NULL)));
    nc_value *r = nc_linear(b, mixed(b, before, step, l->f_mix.receptance), l->f_receptance, NULL);
    return nc_gated(b->g, NC_SIGMOID, r, nc_linear(b, k, l->f_value, NULL));
}

static nc_value *block(const struct rwkv *c, nc_build *b, int i, nc_value *x)
{
    const struct layer *l = &c->layer[i];
    const double scale = c->rescale > 0 ? exp2(-(i / c->rescale)) : 1;
    if (l->pre_ln)
        x = nc_ln(b, x, l->pre_ln, l->pre_ln_b, c->eps);
    nc_value *h = nc_point(b, nc_ln(b, x, l->ln1, l->ln1_b, c->eps), "attn.in");
    h = nc_point(b, time_mixing(c, b, l, h), "attn.out");
    x = nc_add(b->g, x, scale < 1 ? nc_affine(b->g, h, scale, 0) : h);
    h = nc_point(b, nc_ln(b, x, l->ln2, l->ln2_b, c->eps), "mlp.in");
    h = nc_point(b, channel_mixing(b, l, h), "mlp.out");
    x = nc_add(b->g, x, scale < 1 ? nc_affine(b->g, h, scale, 0) : h);
    return c->rescale > 0 && (i + 1) % c->rescale == 0 ? nc_affine(b->g, x, 0.5, 0) : x;
}

static nc_value *decoder(const nc_model *m, const void *self, nc_build *b, nc_value *media)
{
    const struct rwkv *c = self;
    nc_value *x = nc_embed(b, c->embed, nc_in(b, "text.ids", NC_I32, "tokens", 0));
    (void)m;
    if (media)
        x = nc_splice_rows(b->g, x, media, nc_in(b, "text.media", NC_I32, "tokens", 0));
    x = nc_point(b, x, "embedding.out");
    for (int i = 0; i < c->layers; i++) {
        nc_scope_push(b->g, "blocks.%d", i);
        nc_block_begin(b->g);
        x = block(c, b, i, x);
        nc_block_end(b->g);
        nc_scope_pop(b->g);
        x = nc_probe(b, nc_point(b, x, "block.out"), "hidden.%d", i);        /* the reference counts from what leaves block 0 */
    }
    return nc_probe(b, nc_ln(b, x, c->ln, c->ln_b, c->eps), "hidden.%d", c->layers);
}

static void head(const void *self, nc_head *out)
{
    *out = (nc_head){ .w = ((const struct rwkv *)self)->head, .scale = 1 };
}

static void cache(const void *self, nc_cache_need *out)
{
    const struct rwkv *c = self;
    *out = (nc_cache_need){ .state = c->layers * (2 * nc_causal_conv_state(c->width, 2) + nc_wkv_state(c->attention)) };
}

static const char *const ignored[] = { "head.weight", NULL };

const nc_family nc_family_rwkv = {
    .name = "rwkv", .architectures = "RwkvForCausalLM RwkvModel", .size = sizeof(struct rwkv), .config = config, .weights = weights, .ignored = ignored,
    .decoder = decoder, .head = head, .cache = cache,
};

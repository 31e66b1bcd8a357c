/* gpt2.c - GPT-2 (Radford et al. 2019).
 *
 *   x = wte(ids) + wpe(pos)                                   [N,D]
 *   per layer:  x += c_proj(attn(c_attn(ln_1 x)));  x += c_proj(gelu(c_fc(ln_2 x)))
 *   logits = wte . ln_f x                                     [N,V]
 *
 * Easy to get wrong: products are stored [in, out] (Conv1D); c_attn is [q | k | v]; the usual gelu is the tanh form; names come with and without "transformer.";
 * the n-th layer's scores may be divided by n+1 (scale_attn_by_inverse_layer_idx), those of its cross attention too.
 * With cross attention:  x += crossattention.c_proj(attn(q_attn(ln_cross_attn x), c_attn rows))  between the two; that c_attn is [k | v].
 */
#include "models/gpt2.h"

#include <math.h>

void nc_gpt2_config(nc_model *m, nc_gpt2 *c, nc_config *r)
{
    static const char *const ignored[] = { "n_ctx", "attn_pdrop", "embd_pdrop", "resid_pdrop", "summary_type", "summary_use_proj", "summary_activation", "summary_first_dropout",
                                           "summary_proj_to_labels", "reorder_and_upcast_attn", NULL };
    c->layers = nc_config_layers(r, "n_layer", NC_REQUIRED);
    c->width = (int)nc_config_int(r, "n_embd", NC_REQUIRED);
    c->heads = (int)nc_config_int(r, "n_head", NC_REQUIRED);
    c->inner = (int)nc_config_int(r, "n_inner", 4 * (int64_t)c->width);
    c->vocab = (int)nc_config_int(r, "vocab_size", NC_REQUIRED);
    c->positions = (int)nc_config_int(r, "n_positions", 1024);
    c->eps = nc_config_float(r, "layer_norm_epsilon", 1e-5);
    c->activation = (nc_unary)nc_config_activation(r, "activation_function", "gelu_new");
    c->scale = nc_config_bool(r, "scale_attn_weights", true);
    c->inverse_layer = nc_config_bool(r, "scale_attn_by_inverse_layer_idx", false);
    nc_config_expect_bool(r, "tie_word_embeddings", true);
    nc_config_ignore(r, ignored);
    if (c->heads <= 0 || c->width <= 0 || c->width % c->heads)
        nc_config_mistake(r, "n_embd %d is no multiple of n_head %d", c->width, c->heads);
    m->hidden_size = c->width;
    m->vocab_size = c->vocab;
    m->max_positions = c->positions;
}

static void cross_weights(nc_model *m, const nc_gpt2 *c, nc_gpt2_layer *l)
{
    const int D = c->width;
    l->ln_cross = nc_weight_norm(m, "ln_cross_attn.weight", D);
    l->ln_crossb = nc_weight_bias(m, "ln_cross_attn.bias", D);
    l->cross_q = nc_weight_conv1d(m, "crossattention.q_attn.weight", D, D);
    l->cross_qb = nc_weight_bias(m, "crossattention.q_attn.bias", D);
    l->cross_kv = nc_weight_conv1d(m, "crossattention.c_attn.weight", D, 2 * D);
    l->cross_kvb = nc_weight_bias(m, "crossattention.c_attn.bias", 2 * D);
    l->cross_o = nc_weight_conv1d(m, "crossattention.c_proj.weight", D, D);
    l->cross_ob = nc_weight_bias(m, "crossattention.c_proj.bias", D);
    l->cross_o->init_std /= sqrt(2.0 * c->layers);
}

void nc_gpt2_weights(nc_model *m, nc_gpt2 *c)
{
    const int D = c->width, F = c->inner;
    c->layer = NC_NEW_ARRAY(m->arena, nc_gpt2_layer, c->layers + 1);
    nc_weight_scope(m, "transformer.");
    c->wte = nc_weight_linear(m, "wte.weight", c->vocab, D);
    c->wpe = nc_weight_table(m, "wpe.weight", c->positions, D);
    for (int i = 0; i < c->layers; i++) {
        nc_gpt2_layer *l = &c->layer[i];
        nc_weight_scope(m, "transformer.h.%d.", i);
        l->ln_1 = nc_weight_norm(m, "ln_1.weight", D);
        l->ln_1b = nc_weight_bias(m, "ln_1.bias", D);
        l->attn = nc_weight_conv1d(m, "attn.c_attn.weight", D, 3 * D);
        l->attn_b = nc_weight_bias(m, "attn.c_attn.bias", 3 * D);
        l->proj = nc_weight_conv1d(m, "attn.c_proj.weight", D, D);
        l->proj_b = nc_weight_bias(m, "attn.c_proj.bias", D);
        if (c->cross)
            cross_weights(m, c, l);
        l->ln_2 = nc_weight_norm(m, "ln_2.weight", D);
        l->ln_2b = nc_weight_bias(m, "ln_2.bias", D);
        l->fc = nc_weight_conv1d(m, "mlp.c_fc.weight", D, F);
        l->fc_b = nc_weight_bias(m, "mlp.c_fc.bias", F);
        l->out = nc_weight_conv1d(m, "mlp.c_proj.weight", F, D);
        l->out_b = nc_weight_bias(m, "mlp.c_proj.bias", D);
        l->proj->init_std /= sqrt(2.0 * c->layers);
        l->out->init_std /= sqrt(2.0 * c->layers);
    }
    nc_weight_scope(m, "transformer.");
    c->ln_f = nc_weight_norm(m, "ln_f.weight", D);
    c->ln_fb = nc_weight_bias(m, "ln_f.bias", D);
}

static nc_attend heads_of(const nc_gpt2 *c, int index)
{
    double scale = (c->scale ? 1 / sqrt((double)c->width / c->heads) : 1) / (c->inverse_layer ? index + 1 : 1);
    return (nc_attend){ .heads = c->heads, .kv_heads = c->heads, .head_dim = c->width / c->heads, .scale = scale };
}

static nc_value *attention(const nc_gpt2 *c, nc_build *b, const nc_gpt2_layer *l, nc_value *x, int index)
{
    const int D = c->width;
    nc_value *qkv = nc_linear(b, nc_point(b, x, "attn.in"), l->attn, l->attn_b);    /* [N,3D] */
    nc_value *q = nc_slice(b->g, qkv, 1, 0, D), *k = nc_slice(b->g, qkv, 1, D, D), *v = nc_slice(b->g, qkv, 1, 2 * D, D);
    nc_attend a = heads_of(c, index);
    a.cached = true;
    a.spans = nc_in_spans(b, "text");
    nc_value *y = nc_attend_heads(b, q, k, v, &a);
    return nc_point(b, nc_linear(b, y, l->proj, l->proj_b), "attn.out");
}

/* Keys and values of the encoder's rows. */
static void keys(const nc_gpt2 *c, nc_build *b, const nc_gpt2_layer *l, nc_value *rows, nc_value **k, nc_value **v)
{
    nc_value *kv = nc_linear(b, rows, l->cross_kv, l->cross_kvb);
    *k = nc_slice(b->g, kv, 1, 0, c->width);
    *v = nc_slice(b->g, kv, 1, c->width, c->width);
}

static nc_value *cross_attention(const nc_gpt2 *c, nc_build *b, const nc_gpt2_layer *l, nc_value *x, nc_value *rows, int index)
{
    nc_attend a = heads_of(c, index);
    nc_value *k = NULL, *v = NULL;
    if (rows)
        keys(c, b, l, rows, &k, &v);
    nc_value *q = nc_linear(b, nc_ln(b, x, l->ln_cross, l->ln_crossb, c->eps), l->cross_q, l->cross_qb);
    return nc_linear(b, nc_attend_cross(b, q, k, v, &a), l->cross_o, l->cross_ob);
}

nc_value *nc_gpt2_decode(const nc_gpt2 *c, nc_build *b, nc_value *media, nc_value *rows, const char *prefix)
{
    nc_value *pos = nc_in(b, "text.pos", NC_I32, "tokens", 1);
    nc_value *x = nc_add(b->g, nc_embed(b, c->wte, nc_in(b, "text.ids", NC_I32, "tokens", 0)), nc_embed(b, c->wpe, nc_reshape(b->g, pos, NC_SHAPE(pos->shape.dim[0]))));
    if (media)
        x = nc_splice_rows(b->g, x, media, nc_in(b, "text.media", NC_I32, "tokens", 0));
    x = nc_probe(b, nc_point(b, x, "embedding.out"), "%s.0", prefix);
    for (int i = 0; i < c->layers; i++) {
        const nc_gpt2_layer *l = &c->layer[i];
        nc_scope_push(b->g, "h.%d", i);
        nc_block_begin(b->g);
        x = nc_add(b->g, x, attention(c, b, l, nc_ln(b, x, l->ln_1, l->ln_1b, c->eps), i));
        if (c->cross)
            x = nc_add(b->g, x, cross_attention(c, b, l, x, rows, i));
        x = nc_add(b->g, x, nc_mlp(b, c->activation, nc_ln(b, x, l->ln_2, l->ln_2b, c->eps), l->fc, l->fc_b, l->out, l->out_b));
        nc_block_end(b->g);
        nc_scope_pop(b->g);
        if (i + 1 < c->layers)
            x = nc_probe(b, nc_point(b, x, "block.out"), "%s.%d", prefix, i + 1);
    }
    return nc_probe(b, nc_ln(b, x, c->ln_f, c->ln_fb, c->eps), "%s.%d", prefix, c->layers);
}

void nc_gpt2_keep(const nc_gpt2 *c, nc_build *b, nc_value *rows)
{
    for (int i = 0; i < c->layers; i++) {
        nc_attend a = heads_of(c, i);
        nc_value *k, *v;
        keys(c, b, &c->layer[i], rows, &k, &v);
        nc_keep_cross(b, k, v, &a, i);
    }
}

void nc_gpt2_head(const void *self, nc_head *out)
{
    const nc_gpt2 *c = self;
    *out = (nc_head){ .w = c->wte, .scale = 1 };
}

void nc_gpt2_cache(const void *self, nc_cache_need *out)
{
    const nc_gpt2 *c = self;
    *out = (nc_cache_need){ .layers = c->layers, .kv_heads = c->heads, .key_dim = c->width / c->heads, .value_dim = c->width / c->heads };
}

static void config(nc_model *m, void *self, nc_config *r)
{
    nc_gpt2_config(m, self, r);
    nc_config_expect_bool(r, "add_cross_attention", false);
}

static void weights(nc_model *m, void *self) { nc_gpt2_weights(m, self); }

static nc_value *decoder(const nc_model *m, const void *self, nc_build *b, nc_value *media)
{
    (void)m;
    return nc_gpt2_decode(self, b, media, NULL, "hidden");
}

static const char *const ignored[] = { "*.attn.bias", "*.attn.masked_bias", "lm_head.weight", NULL };
static const char *const renames[] = { "", "transformer.", NULL };

const nc_family nc_family_gpt2 = {
    .name = "gpt2", .architectures = "GPT2LMHeadModel GPT2Model", .size = sizeof(nc_gpt2), .config = config, .weights = weights, .ignored = ignored, .renames = renames,
    .decoder = decoder, .head = nc_gpt2_head, .cache = nc_gpt2_cache,
};

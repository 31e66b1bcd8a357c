/* gpt2.c - GPT-2 (Radford et al. 2019).
 *
 *   x = wte(ids) + wpe(pos)                                   [N,D]
 *   per layer:  x += c_proj(attn(c_attn(ln_1 x)));  x += c_proj(gelu(c_fc(ln_2 x)))
 *   logits = wte . ln_f x                                     [N,V]
 *
 * Easy to get wrong: products are stored [in, out] (Conv1D); c_attn is [q | k | v]; the usual gelu is the tanh form; names come with and without "transformer.";
 * the n-th layer's scores may be divided by n+1 (scale_attn_by_inverse_layer_idx).
 */
#include "models/model.h"

#include <math.h>

struct layer { nc_site *ln_1, *ln_1b, *attn, *attn_b, *proj, *proj_b, *ln_2, *ln_2b, *fc, *fc_b, *out, *out_b; };
struct gpt2 { int layers, width, heads, inner, vocab, positions; double eps; nc_unary activation; bool scale, inverse_layer; struct layer *layer; nc_site *wte, *wpe, *ln_f, *ln_fb; };

static void config(nc_model *m, void *self, nc_config *r)
{
    static const char *const ignored[] = { "n_ctx", "attn_pdrop", "embd_pdrop", "resid_pdrop", "summary_type", "summary_use_proj", "summary_activation", "summary_first_dropout",
                                           "summary_proj_to_labels", "reorder_and_upcast_attn", NULL };
    struct gpt2 *c = self;
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

static void weights(nc_model *m, void *self)
{
    struct gpt2 *c = self;
    const int D = c->width, F = c->inner;
    c->layer = NC_NEW_ARRAY(m->arena, struct layer, c->layers);
    nc_weight_scope(m, "transformer.");
    c->wte = nc_weight_linear(m, "wte.weight", c->vocab, D);
    c->wpe = nc_weight_table(m, "wpe.weight", c->positions, D);
    for (int i = 0; i < c->layers; i++) {
        struct layer *l = &c->layer[i];
        nc_weight_scope(m, "transformer.h.%d.", i);
        l->ln_1 = nc_weight_norm(m, "ln_1.weight", D);
        l->ln_1b = nc_weight_bias(m, "ln_1.bias", D);
        l->attn = nc_weight_conv1d(m, "attn.c_attn.weight", D, 3 * D);
        l->attn_b = nc_weight_bias(m, "attn.c_attn.bias", 3 * D);
        l->proj = nc_weight_conv1d(m, "attn.c_proj.weight", D, D);
        l->proj_b = nc_weight_bias(m, "attn.c_proj.bias", D);
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

static nc_value *attention(const struct gpt2 *c, nc_build *b, const struct layer *l, nc_value *x, int index)
{
    const int D = c->width;
    nc_value *qkv = nc_linear(b, nc_point(b, x, "attn.in"), l->attn, l->attn_b);    /* [N,3D] */
    nc_value *q = nc_slice(b->g, qkv, 1, 0, D), *k = nc_slice(b->g, qkv, 1, D, D), *v = nc_slice(b->g, qkv, 1, 2 * D, D);
    double scale = (c->scale ? 1 / sqrt((double)D / c->heads) : 1) / (c->inverse_layer ? index + 1 : 1);
    nc_value *y = nc_attend_heads(b, q, k, v, &(nc_attend){ .heads = c->heads, .kv_heads = c->heads, .head_dim = D / c->heads, .scale = scale,
                                                            .cached = true, .spans = nc_in_spans(b, "text") });
    return nc_point(b, nc_linear(b, y, l->proj, l->proj_b), "attn.out");
}

static nc_value *decoder(const nc_model *m, const void *self, nc_build *b, nc_value *media)
{
    const struct gpt2 *c = self;
    nc_value *pos = nc_in(b, "text.pos", NC_I32, "tokens", 1);
    nc_value *x = nc_add(b->g, nc_embed(b, c->wte, nc_in(b, "text.ids", NC_I32, "tokens", 0)), nc_embed(b, c->wpe, nc_reshape(b->g, pos, NC_SHAPE(pos->shape.dim[0]))));
    (void)m;
    if (media)
        x = nc_splice_rows(b->g, x, media, nc_in(b, "text.media", NC_I32, "tokens", 0));
    x = nc_probe(b, nc_point(b, x, "embedding.out"), "hidden.0");
    for (int i = 0; i < c->layers; i++) {
        const struct layer *l = &c->layer[i];
        nc_scope_push(b->g, "h.%d", i);
        nc_block_begin(b->g);
        x = nc_add(b->g, x, attention(c, b, l, nc_ln(b, x, l->ln_1, l->ln_1b, c->eps), i));
        x = nc_add(b->g, x, nc_mlp(b, c->activation, nc_ln(b, x, l->ln_2, l->ln_2b, c->eps), l->fc, l->fc_b, l->out, l->out_b));
        nc_block_end(b->g);
        nc_scope_pop(b->g);
        if (i + 1 < c->layers)
            x = nc_probe(b, nc_point(b, x, "block.out"), "hidden.%d", i + 1);
    }
    return nc_probe(b, nc_ln(b, x, c->ln_f, c->ln_fb, c->eps), "hidden.%d", c->layers);
}

static void head(const void *self, nc_head *out)
{
    const struct gpt2 *c = self;
    *out = (nc_head){ .w = c->wte, .scale = 1 };
}

static void cache(const void *self, nc_cache_need *out)
{
    const struct gpt2 *c = self;
    *out = (nc_cache_need){ .layers = c->layers, .kv_heads = c->heads, .key_dim = c->width / c->heads, .value_dim = c->width / c->heads };
}

static const char *const ignored[] = { "*.attn.bias", "*.attn.masked_bias", "lm_head.weight", NULL };
static const char *const renames[] = { "", "transformer.", NULL };

const nc_family nc_family_gpt2 = {
    .name = "gpt2", .architectures = "GPT2LMHeadModel GPT2Model", .size = sizeof(struct gpt2), .config = config, .weights = weights, .ignored = ignored, .renames = renames,
    .decoder = decoder, .head = head, .cache = cache,
};

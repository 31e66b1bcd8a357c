/* bloom.c - BLOOM (BigScience 2022): positions by ALiBi (Press et al. 2022), none in the embedding.
 *
 *   x = ln(word_embeddings(ids))                              [N,D]
 *   per layer:  a = r + dense(attention(qkv h)), h = ln x;   x = r' + dense_4h_to_h gelu(dense_h_to_4h h'), h' = ln a
 *   r = x, r' = a;  with apply_residual_connection_post_layernorm r = h, r' = h'
 *   scores of head i += slope_i * (j - t)                     slopes 2^(-8/n), its powers; n the power of two below the heads, then every second one of 2n's
 *
 * Easy to get wrong: query_key_value's rows are grouped by head, [q | k | v] of each; gelu is the tanh form; names come with and without "transformer."; keys of
 * old configs (n_embed, num_attention_heads) stand for today's.
 */
#include "models/model.h"

#include <math.h>

struct layer { nc_site *ln1, *ln1_b, *qkv, *qkv_b, *dense, *dense_b, *ln2, *ln2_b, *in, *in_b, *out, *out_b; };
struct bloom { int layers, width, heads, vocab; double eps; bool after_norm, tied; float *slopes; struct layer *layer; nc_site *embed, *embed_ln, *embed_ln_b, *ln, *ln_b, *head; };

static float *slopes_of(nc_arena *a, int heads)
{
    float *slopes = NC_NEW_ARRAY(a, float, heads + 1);
    int power = 1;
    while (2 * power <= heads)
        power *= 2;
    for (int i = 0; i < heads; i++)
        slopes[i] = (float)(i < power ? exp2(-8.0 * (i + 1) / power) : exp2(-4.0 * (2 * (i - power) + 1) / power));
    return slopes;
}

static void config(nc_model *m, void *self, nc_config *r)
{
    static const char *const ignored[] = { "hidden_dropout", "attention_dropout", "attention_softmax_in_fp32", "pretraining_tp", "slow_but_exact", "n_inner", "bias_dropout_fusion",
                                           "masked_softmax_fusion", "offset_alibi", "skip_bias_add", "skip_bias_add_qkv", NULL };
    struct bloom *c = self;
    c->layers = nc_config_layers(r, "n_layer", nc_config_layers(r, "num_hidden_layers", 2));
    c->width = (int)nc_config_int(r, "n_embed", nc_config_int(r, "hidden_size", 64));
    c->heads = (int)nc_config_int(r, "n_head", nc_config_int(r, "num_attention_heads", 8));
    c->vocab = (int)nc_config_int(r, "vocab_size", 250880);
    c->eps = nc_config_float(r, "layer_norm_epsilon", 1e-5);
    c->after_norm = nc_config_bool(r, "apply_residual_connection_post_layernorm", false);
    c->tied = nc_config_bool(r, "tie_word_embeddings", true);
    m->max_positions = (int)nc_config_int(r, "seq_length", 0);
    nc_config_ignore(r, ignored);
    m->hidden_size = c->width;
    m->vocab_size = c->vocab;
    if (c->heads <= 0 || c->heads > 65536 || c->width <= 0 || c->width % c->heads) {
        nc_config_mistake(r, "hidden_size %d is no multiple of n_head %d", c->width, c->heads);
        return;
    }
    c->slopes = slopes_of(m->arena, c->heads);
}

static void weights(nc_model *m, void *self)
{
    struct bloom *c = self;
    const int D = c->width;
    c->layer = NC_NEW_ARRAY(m->arena, struct layer, c->layers);
    nc_weight_scope(m, "transformer.");
    c->embed = c->tied ? nc_weight_linear(m, "word_embeddings.weight", c->vocab, D) : nc_weight_table(m, "word_embeddings.weight", c->vocab, D);
    c->embed_ln = nc_weight_norm(m, "word_embeddings_layernorm.weight", D);
    c->embed_ln_b = nc_weight_bias(m, "word_embeddings_layernorm.bias", D);
    for (int i = 0; i < c->layers; i++) {
        struct layer *l = &c->layer[i];
        nc_weight_scope(m, "transformer.h.%d.", i);
        l->ln1 = nc_weight_norm(m, "input_layernorm.weight", D);
        l->ln1_b = nc_weight_bias(m, "input_layernorm.bias", D);
        l->qkv = nc_weight_linear(m, "self_attention.query_key_value.weight", 3 * D, D);
        l->qkv_b = nc_weight_bias(m, "self_attention.query_key_value.bias", 3 * D);
        l->dense = nc_weight_linear(m, "self_attention.dense.weight", D, D);
        l->dense_b = nc_weight_bias(m, "self_attention.dense.bias", D);
        l->ln2 = nc_weight_norm(m, "post_attention_layernorm.weight", D);
        l->ln2_b = nc_weight_bias(m, "post_attention_layernorm.bias", D);
        l->in = nc_weight_linear(m, "mlp.dense_h_to_4h.weight", 4 * D, D);
        l->in_b = nc_weight_bias(m, "mlp.dense_h_to_4h.bias", 4 * D);
        l->out = nc_weight_linear(m, "mlp.dense_4h_to_h.weight", D, 4 * D);
        l->out_b = nc_weight_bias(m, "mlp.dense_4h_to_h.bias", D);
    }
    nc_weight_scope(m, "transformer.");
    c->ln = nc_weight_norm(m, "ln_f.weight", D);
    c->ln_b = nc_weight_bias(m, "ln_f.bias", D);
    nc_weight_scope(m, "%s", "");
    c->head = c->tied ? c->embed : nc_weight_linear(m, "lm_head.weight", c->vocab, D);
}

static nc_value *attention(const struct bloom *c, nc_build *b, const struct layer *l, nc_value *x)
{
    const int A = c->width / c->heads;
    nc_value *qkv = nc_linear(b, nc_point(b, x, "attn.in"), l->qkv, l->qkv_b);
    qkv = nc_reshape(b->g, qkv, NC_SHAPE(x->shape.dim[0], c->heads, 3 * A));
    nc_value *q = nc_slice(b->g, qkv, 2, 0, A), *k = nc_slice(b->g, qkv, 2, A, A), *v = nc_slice(b->g, qkv, 2, 2 * A, A);
    nc_value *y = nc_attend_heads(b, q, k, v, &(nc_attend){ .heads = c->heads, .kv_heads = c->heads, .head_dim = A, .cached = true, .spans = nc_in_spans(b, "text"),
                                                            .slopes = c->slopes });
    return nc_point(b, nc_linear(b, y, l->dense, l->dense_b), "attn.out");
}

static nc_value *decoder(const nc_model *m, const void *self, nc_build *b, nc_value *media)
{
    const struct bloom *c = self;
    nc_value *x = nc_ln(b, nc_embed(b, c->embed, nc_in(b, "text.ids", NC_I32, "tokens", 0)), c->embed_ln, c->embed_ln_b, c->eps);
    (void)m;
    if (media)
        x = nc_splice_rows(b->g, x, media, nc_in(b, "text.media", NC_I32, "tokens", 0));
    x = nc_probe(b, nc_point(b, x, "embedding.out"), "hidden.0");
    for (int i = 0; i < c->layers; i++) {
        const struct layer *l = &c->layer[i];
        nc_scope_push(b->g, "h.%d", i);
        nc_block_begin(b->g);
        nc_value *h = nc_ln(b, x, l->ln1, l->ln1_b, c->eps);
        x = nc_add(b->g, c->after_norm ? h : x, attention(c, b, l, h));
        h = nc_ln(b, x, l->ln2, l->ln2_b, c->eps);
        x = nc_add(b->g, c->after_norm ? h : x, nc_mlp(b, NC_GELU_TANH, h, l->in, l->in_b, l->out, l->out_b));
        nc_block_end(b->g);
        nc_scope_pop(b->g);
        if (i + 1 < c->layers)
            x = nc_probe(b, nc_point(b, x, "block.out"), "hidden.%d", i + 1);
    }
    return nc_probe(b, nc_ln(b, x, c->ln, c->ln_b, c->eps), "hidden.%d", c->layers);
}

static void head(const void *self, nc_head *out)
{
    *out = (nc_head){ .w = ((const struct bloom *)self)->head, .scale = 1 };
}

static void cache(const void *self, nc_cache_need *out)
{
    const struct bloom *c = self;
    *out = (nc_cache_need){ .layers = c->layers, .kv_heads = c->heads, .key_dim = c->width / c->heads, .value_dim = c->width / c->heads };
}

static const char *const renames[] = { "", "transformer.", NULL };

const nc_family nc_family_bloom = {
    .name = "bloom", .architectures = "BloomForCausalLM BloomModel", .size = sizeof(struct bloom), .config = config, .weights = weights, .renames = renames,
    .decoder = decoder, .head = head, .cache = cache,
};

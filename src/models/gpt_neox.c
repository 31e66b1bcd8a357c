/* gpt_neox.c - GPT-NeoX and Pythia (Black et al. 2022).
 *
 *   x = embed_in(ids)                                                              [N,D]
 *   parallel:    x += attention(ln1 x) + mlp(ln2 x);   else  x += attention(ln1 x);  x += mlp(ln2 x);    mlp = dense_4h_to_h gelu(dense_h_to_4h)
 *   logits = embed_out . ln x                                                      [N,V]
 *
 * Easy to get wrong: query_key_value's rows are grouped by head, [q | k | v] of each; only rotary_pct of a head is rotated, in halves; ln2 of the parallel form reads
 * the block's input; old files carry masks and inv_freq.
 */
#include "models/rope_config.h"
#include "models/model.h"

struct layer { nc_site *ln1, *ln1_b, *qkv, *qkv_b, *dense, *dense_b, *ln2, *ln2_b, *in, *in_b, *out, *out_b; };
struct neox { int layers, width, heads, inner, vocab; double eps; nc_unary activation; bool parallel, tied, bias; nc_rope_spec rope; struct layer *layer; nc_site *embed, *ln, *ln_b, *head; };

static void config(nc_model *m, void *self, nc_config *r)
{
    static const char *const dropouts[] = { "hidden_dropout", "attention_dropout", "classifier_dropout", NULL };
    struct neox *c = self;
    c->layers = nc_config_layers(r, "num_hidden_layers", NC_REQUIRED);
    c->width = (int)nc_config_int(r, "hidden_size", NC_REQUIRED);
    c->heads = (int)nc_config_int(r, "num_attention_heads", NC_REQUIRED);
    c->inner = (int)nc_config_int(r, "intermediate_size", NC_REQUIRED);
    c->vocab = (int)nc_config_int(r, "vocab_size", NC_REQUIRED);
    c->eps = nc_config_float(r, "layer_norm_eps", 1e-5);
    c->activation = (nc_unary)nc_config_activation(r, "hidden_act", "gelu");
    c->parallel = nc_config_bool(r, "use_parallel_residual", true);
    c->tied = nc_config_bool(r, "tie_word_embeddings", false);
    c->bias = nc_config_bool(r, "attention_bias", true);
    m->max_positions = (int)nc_config_int(r, "max_position_embeddings", 2048);
    m->hidden_size = c->width;
    m->vocab_size = c->vocab;
    nc_config_ignore(r, dropouts);
    if (c->heads <= 0 || c->width <= 0 || c->width % c->heads) {
        nc_config_mistake(r, "hidden_size %d is no multiple of num_attention_heads %d", c->width, c->heads);
        return;
    }
    nc_config_rope(r, c->width / c->heads, nc_config_float(r, "rotary_pct", 0.25), m->max_positions, nc_config_float(r, "rotary_emb_base", 10000), NC_ROPE_HALVES, &c->rope);
}

static void weights(nc_model *m, void *self)
{
    struct neox *c = self;
    const int D = c->width, F = c->inner;
    c->layer = NC_NEW_ARRAY(m->arena, struct layer, c->layers);
    nc_weight_scope(m, "gpt_neox.");
    c->embed = c->tied ? nc_weight_linear(m, "embed_in.weight", c->vocab, D) : nc_weight_table(m, "embed_in.weight", c->vocab, D);
    for (int i = 0; i < c->layers; i++) {
        struct layer *l = &c->layer[i];
        nc_weight_scope(m, "gpt_neox.layers.%d.", i);
        l->ln1 = nc_weight_norm(m, "input_layernorm.weight", D);
        l->ln1_b = nc_weight_bias(m, "input_layernorm.bias", D);
        l->ln2 = nc_weight_norm(m, "post_attention_layernorm.weight", D);
        l->ln2_b = nc_weight_bias(m, "post_attention_layernorm.bias", D);
        l->qkv = nc_weight_linear(m, "attention.query_key_value.weight", 3 * D, D);
        l->dense = nc_weight_linear(m, "attention.dense.weight", D, D);
        if (c->bias) {
            l->qkv_b = nc_weight_bias(m, "attention.query_key_value.bias", 3 * D);
            l->dense_b = nc_weight_bias(m, "attention.dense.bias", D);
        }
        l->in = nc_weight_linear(m, "mlp.dense_h_to_4h.weight", F, D);
        l->in_b = nc_weight_bias(m, "mlp.dense_h_to_4h.bias", F);
        l->out = nc_weight_linear(m, "mlp.dense_4h_to_h.weight", D, F);
        l->out_b = nc_weight_bias(m, "mlp.dense_4h_to_h.bias", D);
    }
    nc_weight_scope(m, "gpt_neox.");
    c->ln = nc_weight_norm(m, "final_layer_norm.weight", D);
    c->ln_b = nc_weight_bias(m, "final_layer_norm.bias", D);
    nc_weight_scope(m, "%s", "");
    c->head = c->tied ? c->embed : nc_weight_linear(m, "embed_out.weight", c->vocab, D);
}

static nc_value *attention(const struct neox *c, nc_build *b, const struct layer *l, nc_value *x, nc_rope_rows rope)
{
    const int A = c->width / c->heads;
    nc_value *qkv = nc_linear(b, nc_point(b, x, "attn.in"), l->qkv, l->qkv_b);
    qkv = nc_reshape(b->g, qkv, NC_SHAPE(x->shape.dim[0], c->heads, 3 * A));
    nc_value *q = nc_rope_apply(b, nc_slice(b->g, qkv, 2, 0, A), rope), *k = nc_rope_apply(b, nc_slice(b->g, qkv, 2, A, A), rope);
    nc_value *y = nc_attend_heads(b, q, k, nc_slice(b->g, qkv, 2, 2 * A, A), &(nc_attend){ .heads = c->heads, .kv_heads = c->heads, .head_dim = A, .cached = true,
                                                                                           .spans = nc_in_spans(b, "text") });
    return nc_point(b, nc_linear(b, y, l->dense, l->dense_b), "attn.out");
}

static nc_value *decoder(const nc_model *m, const void *self, nc_build *b, nc_value *media)
{
    const struct neox *c = self;
    nc_value *x = nc_embed(b, c->embed, nc_in(b, "text.ids", NC_I32, "tokens", 0));
    nc_rope_rows rope = nc_rope_rows_of(b, &c->rope, nc_in(b, "text.pos", NC_I32, "tokens", 1));
    (void)m;
    if (media)
        x = nc_splice_rows(b->g, x, media, nc_in(b, "text.media", NC_I32, "tokens", 0));
    x = nc_probe(b, nc_point(b, x, "embedding.out"), "hidden.0");
    for (int i = 0; i < c->layers; i++) {
        const struct layer *l = &c->layer[i];
        nc_scope_push(b->g, "layers.%d", i);
        nc_block_begin(b->g);
        nc_value *after = nc_add(b->g, x, attention(c, b, l, nc_ln(b, x, l->ln1, l->ln1_b, c->eps), rope));
        nc_value *h = nc_ln(b, c->parallel ? x : after, l->ln2, l->ln2_b, c->eps);
        x = nc_add(b->g, after, nc_mlp(b, c->activation, h, l->in, l->in_b, l->out, l->out_b));
        nc_block_end(b->g);
        nc_scope_pop(b->g);
        if (i + 1 < c->layers)
            x = nc_probe(b, nc_point(b, x, "block.out"), "hidden.%d", i + 1);
    }
    return nc_probe(b, nc_ln(b, x, c->ln, c->ln_b, c->eps), "hidden.%d", c->layers);
}

static int prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    (void)m;
    NC_TRY(nc_prepare_text(batch, seqs, count, e));
    nc_rope_prepare(&((const struct neox *)self)->rope, batch, seqs, count);
    return 0;
}

static int regime(const void *self, int length)
{
    return nc_rope_regime(&((const struct neox *)self)->rope, length);
}

static void head(const void *self, nc_head *out)
{
    *out = (nc_head){ .w = ((const struct neox *)self)->head, .scale = 1 };
}

static void cache(const void *self, nc_cache_need *out)
{
    const struct neox *c = self;
    *out = (nc_cache_need){ .layers = c->layers, .kv_heads = c->heads, .key_dim = c->width / c->heads, .value_dim = c->width / c->heads };
}

static const char *const ignored[] = { "*.attention.bias", "*.attention.masked_bias", "*rotary_emb.inv_freq", NULL };

const nc_family nc_family_gpt_neox = {
    .name = "gpt_neox", .architectures = "GPTNeoXForCausalLM GPTNeoXModel", .size = sizeof(struct neox), .config = config, .weights = weights, .ignored = ignored,
    .prepare = prepare, .decoder = decoder, .head = head, .cache = cache, .regime = regime,
};

/* llama.c - Llama 1 to 3 (Touvron et al. 2023) and those that only differ in their config.
 *
 *   x = embed(ids)                                            [N,D]
 *   per layer:  x += o(attention(rope(q h), rope(k h), v h)), h = rms(x);   x += down(silu(gate h) * up h), h = rms(x)
 *   logits = head . rms(x)                                    [N,V]
 *
 * Easy to get wrong: rotation pairs are halves (i, i + A/2); head_dim may differ from width / heads; files of old converters carry rotary_emb.inv_freq.
 */
#include "models/llama.h"

void nc_llama_config(nc_model *m, nc_llama *c, nc_config *r, double default_theta)
{
    c->layers = (int)nc_config_int(r, "num_hidden_layers", NC_REQUIRED);
    c->width = (int)nc_config_int(r, "hidden_size", NC_REQUIRED);
    c->heads = (int)nc_config_int(r, "num_attention_heads", NC_REQUIRED);
    c->kv_heads = (int)nc_config_int(r, "num_key_value_heads", c->heads);
    c->head_dim = (int)nc_config_int(r, "head_dim", c->heads > 0 ? c->width / c->heads : 0);
    c->inner = (int)nc_config_int(r, "intermediate_size", NC_REQUIRED);
    c->vocab = (int)nc_config_int(r, "vocab_size", NC_REQUIRED);
    c->positions = (int)nc_config_int(r, "max_position_embeddings", 2048);
    c->eps = nc_config_float(r, "rms_norm_eps", 1e-6);
    c->activation = (nc_unary)nc_config_activation(r, "hidden_act", "silu");
    c->tied = nc_config_bool(r, "tie_word_embeddings", c->tied);
    c->qkv_bias = c->o_bias = nc_config_bool(r, "attention_bias", false);
    nc_config_float(r, "attention_dropout", 0);
    nc_config_rope(r, c->head_dim, c->positions, default_theta, NC_ROPE_HALVES, &c->rope);
    if (c->heads <= 0 || c->kv_heads <= 0 || c->heads % c->kv_heads)
        nc_config_mistake(r, "num_attention_heads %d is no multiple of num_key_value_heads %d", c->heads, c->kv_heads);
    m->hidden_size = c->width;
    m->vocab_size = c->vocab;
    m->max_positions = c->positions;
}

static void config(nc_model *m, void *self, nc_config *r)
{
    nc_llama_config(m, self, r, 10000);
    nc_config_expect_bool(r, "mlp_bias", false);
}

static void attention_weights(nc_model *m, const nc_llama *c, nc_llama_layer *l)
{
    const int D = c->width, Q = c->heads * c->head_dim, K = c->kv_heads * c->head_dim;
    l->q = nc_weight_linear(m, "self_attn.q_proj.weight", Q, D);
    l->k = nc_weight_linear(m, "self_attn.k_proj.weight", K, D);
    l->v = nc_weight_linear(m, "self_attn.v_proj.weight", K, D);
    l->o = nc_weight_linear(m, "self_attn.o_proj.weight", D, Q);
    if (c->qkv_bias) {
        l->q_bias = nc_weight_bias(m, "self_attn.q_proj.bias", Q);
        l->k_bias = nc_weight_bias(m, "self_attn.k_proj.bias", K);
        l->v_bias = nc_weight_bias(m, "self_attn.v_proj.bias", K);
    }
    if (c->o_bias)
        l->o_bias = nc_weight_bias(m, "self_attn.o_proj.bias", D);
    if (c->qk_norm) {
        l->q_norm = nc_weight_norm(m, "self_attn.q_norm.weight", c->head_dim);
        l->k_norm = nc_weight_norm(m, "self_attn.k_norm.weight", c->head_dim);
    }
}

void nc_llama_weights(nc_model *m, void *self)
{
    nc_llama *c = self;
    const int D = c->width, F = c->inner;
    c->layer = NC_NEW_ARRAY(m->arena, nc_llama_layer, c->layers);
    nc_weight_scope(m, "model.");
    c->embed = c->tied ? nc_weight_linear(m, "embed_tokens.weight", c->vocab, D) : nc_weight_table(m, "embed_tokens.weight", c->vocab, D);
    for (int i = 0; i < c->layers; i++) {
        nc_llama_layer *l = &c->layer[i];
        nc_weight_scope(m, "model.layers.%d.", i);
        l->norm1 = nc_weight_norm(m, "input_layernorm.weight", D);
        attention_weights(m, c, l);
        l->norm2 = nc_weight_norm(m, "post_attention_layernorm.weight", D);
        l->gate = nc_weight_linear(m, "mlp.gate_proj.weight", F, D);
        l->up = nc_weight_linear(m, "mlp.up_proj.weight", F, D);
        l->down = nc_weight_linear(m, "mlp.down_proj.weight", D, F);
    }
    nc_weight_scope(m, "model.");
    c->norm = nc_weight_norm(m, "norm.weight", D);
    nc_weight_scope(m, "%s", "");
    c->head = c->tied ? c->embed : nc_weight_linear(m, "lm_head.weight", c->vocab, D);
}

static nc_value *attention(const nc_llama *c, nc_build *b, const nc_llama_layer *l, nc_value *x, nc_rope_rows rope)
{
    const int64_t N = x->shape.dim[0];
    x = nc_point(b, x, "attn.in");
    nc_value *q = nc_reshape(b->g, nc_linear(b, x, l->q, l->q_bias), NC_SHAPE(N, c->heads, c->head_dim));
    nc_value *k = nc_reshape(b->g, nc_linear(b, x, l->k, l->k_bias), NC_SHAPE(N, c->kv_heads, c->head_dim));
    nc_value *v = nc_linear(b, x, l->v, l->v_bias);
    if (c->qk_norm) {
        q = nc_rms(b, q, l->q_norm, c->eps);
        k = nc_rms(b, k, l->k_norm, c->eps);
    }
    q = nc_rope_apply(b, q, rope);
    k = nc_rope_apply(b, k, rope);
    nc_value *y = nc_attend_heads(b, q, k, v, &(nc_attend){ .heads = c->heads, .kv_heads = c->kv_heads, .head_dim = c->head_dim, .window = c->window,
                                                            .cached = true, .spans = nc_in_spans(b, "text") });
    return nc_point(b, nc_linear(b, y, l->o, l->o_bias), "attn.out");
}

nc_value *nc_llama_decoder(const nc_model *m, const void *self, nc_build *b, nc_value *media)
{
    const nc_llama *c = self;
    nc_value *x = nc_embed(b, c->embed, nc_in(b, "text.ids", NC_I32, "tokens", 0));
    nc_rope_rows rope = nc_rope_rows_of(b, &c->rope, nc_in(b, "text.pos", NC_I32, "tokens", 1));
    (void)m;
    if (media)
        x = nc_splice_rows(b->g, x, media, nc_in(b, "text.media", NC_I32, "tokens", 0));
    x = nc_probe(b, nc_point(b, x, "embedding.out"), "hidden.0");
    for (int i = 0; i < c->layers; i++) {
        const nc_llama_layer *l = &c->layer[i];
        nc_scope_push(b->g, "layers.%d", i);
        nc_block_begin(b->g);
        x = nc_add(b->g, x, attention(c, b, l, nc_rms(b, x, l->norm1, c->eps), rope));
        x = nc_add(b->g, x, nc_gated_mlp(b, c->activation, nc_rms(b, x, l->norm2, c->eps), l->gate, l->up, l->down));
        nc_block_end(b->g);
        nc_scope_pop(b->g);
        if (i + 1 < c->layers)
            x = nc_probe(b, nc_point(b, x, "block.out"), "hidden.%d", i + 1);
    }
    return nc_probe(b, nc_rms(b, x, c->norm, c->eps), "hidden.%d", c->layers);
}

void nc_llama_head(const void *self, nc_head *out)
{
    const nc_llama *c = self;
    *out = (nc_head){ .w = c->head, .scale = 1 };
}

void nc_llama_cache(const void *self, nc_cache_need *out)
{
    const nc_llama *c = self;
    *out = (nc_cache_need){ c->layers, c->kv_heads, c->head_dim, c->head_dim };
}

static const char *const ignored[] = { "*rotary_emb.inv_freq", NULL };

const nc_family nc_family_llama = {
    .name = "llama", .architectures = "LlamaForCausalLM LlamaModel", .size = sizeof(nc_llama), .config = config, .weights = nc_llama_weights, .ignored = ignored,
    .decoder = nc_llama_decoder, .head = nc_llama_head, .cache = nc_llama_cache,
};

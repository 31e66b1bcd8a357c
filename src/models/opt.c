/* opt.c - OPT (Zhang et al. 2022).
 *
 *   x = project_in(embed_tokens(ids)) + embed_positions(pos + 2)                                          [N,D]
 *   per layer:  x += out_proj(attn(self_attn_layer_norm x));  x += fc2(f(fc1(final_layer_norm x)))
 *   h = project_out(final_layer_norm x);   logits = embed_tokens . h                                       [N,V]
 *
 * Easy to get wrong: the position table has two rows more than max_position_embeddings and begins at row 2; without do_layer_norm_before (350m) norms come after each sum and
 * there is none behind the stack; words are word_embed_proj_dim wide, with projections only where that is not the hidden size; norms have torch's eps.
 */
#include "models/vit.h"

struct layer { nc_dense norm1, q, k, v, o, norm2, fc1, fc2; };
struct opt {
    int layers, width, heads, inner, vocab, positions, words;      /* words: width of the embedding and of the rows the head reads */
    bool pre_norm, final_norm, bias, affine, tied;
    nc_unary activation;
    struct layer *layer;
    nc_site *embed, *position, *head;
    nc_dense in, out, norm;
};

static void config(nc_model *m, void *self, nc_config *r)
{
    static const char *const ignored[] = { "dropout", "attention_dropout", "activation_dropout", "layerdrop", "init_std", "output_past", NULL };
    struct opt *c = self;
    c->layers = nc_config_layers(r, "num_hidden_layers", 12);
    c->width = (int)nc_config_int(r, "hidden_size", 768);
    c->heads = (int)nc_config_int(r, "num_attention_heads", 12);
    c->inner = (int)nc_config_int(r, "ffn_dim", 3072);
    c->vocab = (int)nc_config_int(r, "vocab_size", 50272);
    c->positions = (int)nc_config_int(r, "max_position_embeddings", 2048);
    c->words = (int)nc_config_int(r, "word_embed_proj_dim", c->width);
    c->pre_norm = nc_config_bool(r, "do_layer_norm_before", true);
    c->final_norm = !nc_config_bool(r, "_remove_final_layer_norm", false) && c->pre_norm;
    c->bias = nc_config_bool(r, "enable_bias", true);
    c->affine = nc_config_bool(r, "layer_norm_elementwise_affine", true);
    c->tied = nc_config_bool(r, "tie_word_embeddings", true);
    c->activation = (nc_unary)nc_config_activation(r, "activation_function", "relu");
    nc_config_ignore(r, ignored);
    if (c->heads <= 0 || c->width <= 0 || c->width % c->heads)
        nc_config_mistake(r, "hidden_size %d is no multiple of num_attention_heads %d", c->width, c->heads);
    m->hidden_size = c->words;
    m->media_width = c->width;
    m->vocab_size = c->vocab;
    m->max_positions = c->positions;
}

static nc_dense norm_weights(nc_model *m, const struct opt *c, const char *name)
{
    return c->affine ? nc_weight_layer_norm(m, name, c->width) : (nc_dense){ 0 };
}

static void weights(nc_model *m, void *self)
{
    struct opt *c = self;
    const int D = c->width;
    const bool projects = c->words != D;
    c->layer = NC_NEW_ARRAY(m->arena, struct layer, c->layers + 1);
    nc_weight_scope(m, "model.decoder.");
    c->embed = nc_weight_linear(m, "embed_tokens.weight", c->vocab, c->words);
    c->position = nc_weight_table(m, "embed_positions.weight", (int64_t)c->positions + 2, D);
    c->out = nc_weight_dense(m, projects ? "project_out" : NULL, c->words, D, false);
    c->in = nc_weight_dense(m, projects ? "project_in" : NULL, D, c->words, false);
    c->norm = c->final_norm ? norm_weights(m, c, "final_layer_norm") : (nc_dense){ 0 };
    for (int i = 0; i < c->layers; i++) {
        struct layer *l = &c->layer[i];
        nc_weight_scope(m, "model.decoder.layers.%d.", i);
        l->k = nc_weight_dense(m, "self_attn.k_proj", D, D, c->bias);
        l->v = nc_weight_dense(m, "self_attn.v_proj", D, D, c->bias);
        l->q = nc_weight_dense(m, "self_attn.q_proj", D, D, c->bias);
        l->o = nc_weight_dense(m, "self_attn.out_proj", D, D, c->bias);
        l->norm1 = norm_weights(m, c, "self_attn_layer_norm");
        l->fc1 = nc_weight_dense(m, "fc1", c->inner, D, c->bias);
        l->fc2 = nc_weight_dense(m, "fc2", D, c->inner, c->bias);
        l->norm2 = norm_weights(m, c, "final_layer_norm");
    }
    nc_weight_scope(m, "%s", "");
    c->head = c->tied ? c->embed : nc_weight_linear(m, "lm_head.weight", c->vocab, c->words);
}

static nc_value *normed(nc_build *b, nc_value *x, nc_dense n) { return nc_ln(b, x, n.w, n.b, 1e-5); }

static nc_value *attention(const struct opt *c, nc_build *b, const struct layer *l, nc_value *x)
{
    x = nc_point(b, x, "attn.in");
    nc_value *q = nc_dense_apply(b, x, l->q), *k = nc_dense_apply(b, x, l->k), *v = nc_dense_apply(b, x, l->v);
    nc_value *y = nc_attend_heads(b, q, k, v, &(nc_attend){ .heads = c->heads, .kv_heads = c->heads, .head_dim = c->width / c->heads, .cached = true, .spans = nc_in_spans(b, "text") });
    return nc_point(b, nc_dense_apply(b, y, l->o), "attn.out");
}

static nc_value *block(const struct opt *c, nc_build *b, const struct layer *l, nc_value *x)
{
    x = nc_add(b->g, x, attention(c, b, l, c->pre_norm ? normed(b, x, l->norm1) : x));
    x = c->pre_norm ? x : normed(b, x, l->norm1);
    x = nc_add(b->g, x, nc_mlp(b, c->activation, c->pre_norm ? normed(b, x, l->norm2) : x, l->fc1.w, l->fc1.b, l->fc2.w, l->fc2.b));
    return c->pre_norm ? x : normed(b, x, l->norm2);
}

static nc_value *embedding(const struct opt *c, nc_build *b, nc_value *media)
{
    nc_value *pos = nc_in(b, "text.pos", NC_I32, "tokens", 1), *x = nc_embed(b, c->embed, nc_in(b, "text.ids", NC_I32, "tokens", 0));
    if (c->in.w)
        x = nc_dense_apply(b, x, c->in);
    if (media)
        x = nc_splice_rows(b->g, x, media, nc_in(b, "text.media", NC_I32, "tokens", 0));
    nc_value *table = nc_slice(b->g, nc_site_value(b, c->position), 0, 2, c->positions);
    return nc_add(b->g, x, nc_gather_rows(b->g, table, nc_reshape(b->g, pos, NC_SHAPE(pos->shape.dim[0]))));
}

static nc_value *decoder(const nc_model *m, const void *self, nc_build *b, nc_value *media)
{
    const struct opt *c = self;
    (void)m;
    nc_value *x = nc_probe(b, nc_point(b, embedding(c, b, media), "embedding.out"), "hidden.0");
    for (int i = 0; i < c->layers; i++) {
        nc_scope_push(b->g, "layers.%d", i);
        nc_block_begin(b->g);
        x = block(c, b, &c->layer[i], x);
        nc_block_end(b->g);
        nc_scope_pop(b->g);
        if (i + 1 < c->layers)
            x = nc_probe(b, nc_point(b, x, "block.out"), "hidden.%d", i + 1);
    }
    x = c->final_norm ? normed(b, x, c->norm) : x;
    return nc_probe(b, c->out.w ? nc_dense_apply(b, x, c->out) : x, "hidden.%d", c->layers);
}

static void head(const void *self, nc_head *out)
{
    const struct opt *c = self;
    *out = (nc_head){ .w = c->head, .scale = 1 };
}

static void cache(const void *self, nc_cache_need *out)
{
    const struct opt *c = self;
    *out = (nc_cache_need){ .layers = c->layers, .kv_heads = c->heads, .key_dim = c->width / c->heads, .value_dim = c->width / c->heads };
}

static const char *const ignored[] = { "lm_head.weight", NULL };
static const char *const renames[] = { "decoder.", "model.decoder.", NULL };

const nc_family nc_family_opt = {
    .name = "opt", .architectures = "OPTForCausalLM OPTModel", .size = sizeof(struct opt), .config = config, .weights = weights, .ignored = ignored, .renames = renames,
    .decoder = decoder, .head = head, .cache = cache,
};

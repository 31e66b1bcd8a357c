/* llama.c - Llama 1 to 3 (Touvron et al. 2023) and those that only differ in their config.
 *
 *   x = embed(ids)                                            [N,D]
 *   per layer:  x += o(attention(rope(q h), rope(k h), v h)), h = rms(x);   x += down(silu(gate h) * up h), h = rms(x)
 *   logits = head . rms(x)                                    [N,V]
 *
 * Easy to get wrong: rotation pairs are halves (i, i + A/2); head_dim may differ from width / heads; files of old converters carry rotary_emb.inv_freq.
 * Kin add norms after the sublayers, windows and rotations by layer, soft caps, fused products; see llama.h.
 */
#include "models/llama.h"

static const char *const llama_norms[NC_BLOCK_NORMS] = { "input_layernorm.weight", NULL, "post_attention_layernorm.weight", NULL };

void nc_llama_config(nc_model *m, nc_llama *c, nc_config *r, double default_theta)
{
    c->layers = nc_config_layers(r, "num_hidden_layers", NC_REQUIRED);
    c->width = (int)nc_config_int(r, "hidden_size", NC_REQUIRED);
    c->heads = (int)nc_config_int(r, "num_attention_heads", NC_REQUIRED);
    c->kv_heads = (int)nc_config_int(r, "num_key_value_heads", c->heads);
    c->head_dim = (int)nc_config_int(r, "head_dim", c->head_dim ? c->head_dim : c->heads > 0 ? c->width / c->heads : 0);
    c->inner = (int)nc_config_int(r, "intermediate_size", NC_REQUIRED);
    c->vocab = (int)nc_config_int(r, "vocab_size", NC_REQUIRED);
    c->positions = (int)nc_config_int(r, "max_position_embeddings", 2048);
    c->eps = nc_config_float(r, "rms_norm_eps", 1e-6);
    c->activation = (nc_unary)nc_config_activation(r, "hidden_act", "silu");
    c->tied = nc_config_bool(r, "tie_word_embeddings", c->tied);
    const nc_json *class = nc_config_get(r, "architectures");
    if (class && class->first && nc_ends_with(nc_json_string(class->first, ""), "Model"))
        c->tied = true;                              /* a bare model (an embedder) has no head of its own */
    c->qkv_bias = c->o_bias = nc_config_bool(r, "attention_bias", false);
    nc_config_float(r, "attention_dropout", 0);
    c->norms = c->norms ? c->norms : llama_norms;
    nc_config_rope(r, c->head_dim, c->rotary_share > 0 ? c->rotary_share : 1, c->positions, default_theta, c->rope_style, &c->rope);
    if (c->rope.axes > 1 && !c->mrope)
        nc_config_mistake(r, "mrope_section is for models with pictures; this one is none");
    if (c->heads <= 0 || c->kv_heads <= 0 || c->heads % c->kv_heads)
        nc_config_mistake(r, "num_attention_heads %d is no multiple of num_key_value_heads %d", c->heads, c->kv_heads);
    if (c->width <= 0)
        nc_config_mistake(r, "\"hidden_size\" must be over 0");
    m->hidden_size = c->width;
    m->vocab_size = c->vocab;
    m->max_positions = c->positions;
}

void nc_llama_windows(nc_model *m, nc_llama *c, nc_config *r, int window, int first, int period)
{
    const nc_json *types = nc_config_get(r, "layer_types");
    c->windows = NC_NEW_ARRAY(m->arena, int, c->layers + 1);
    for (int i = 0; i < c->layers; i++)
        c->windows[i] = i >= first && (period == 0 || (i + 1) % period) ? window : 0;
    if (types && types->count != c->layers)
        nc_config_mistake(r, "line %d: \"layer_types\" names %d layers, num_hidden_layers is %d", types->line, types->count, c->layers);
    int i = 0;
    NC_JSON_EACH(item, types) {
        const char *type = nc_json_string(item, "");
        if (strcmp(type, "full_attention") && strcmp(type, "sliding_attention"))
            nc_config_mistake(r, "line %d: the layer type \"%s\" is not known to this family", item->line, type);
        else if (i < c->layers)
            c->windows[i++] = !strcmp(type, "sliding_attention") ? window : 0;
    }
}

static void config(nc_model *m, void *self, nc_config *r)
{
    nc_llama *c = self;
    nc_llama_config(m, c, r, 10000);
    c->mlp_bias = nc_config_bool(r, "mlp_bias", false);
}

/* A norm that multiplies by 1 + w starts at w = 0. */
static nc_site *norm_weight(nc_model *m, const nc_llama *c, const char *name, int width)
{
    return c->norm_offset != 0 ? nc_weight_bias(m, name, width) : nc_weight_norm(m, name, width);
}

static void attention_weights(nc_model *m, nc_llama *c, int layer)
{
    const int D = c->width, Q = c->heads * c->head_dim, K = c->kv_heads * c->head_dim;
    nc_llama_layer *l = &c->layer[layer];
    if (c->fused_qkv) {
        l->qkv = nc_weight_linear(m, "self_attn.qkv_proj.weight", Q + 2 * K, D);
    } else {
        l->q = nc_weight_linear(m, "self_attn.q_proj.weight", Q, D);
        l->k = nc_weight_linear(m, "self_attn.k_proj.weight", K, D);
        l->v = nc_weight_linear(m, "self_attn.v_proj.weight", K, D);
    }
    l->o = nc_weight_linear(m, "self_attn.o_proj.weight", D, Q);
    if (c->qkv_bias) {
        l->q_bias = nc_weight_bias(m, "self_attn.q_proj.bias", Q);
        l->k_bias = nc_weight_bias(m, "self_attn.k_proj.bias", K);
        l->v_bias = nc_weight_bias(m, "self_attn.v_proj.bias", K);
    }
    if (c->o_bias)
        l->o_bias = nc_weight_bias(m, "self_attn.o_proj.bias", D);
    if (c->qk_norm || c->qk_norm_whole) {
        l->q_norm = norm_weight(m, c, "self_attn.q_norm.weight", c->qk_norm ? c->head_dim : Q);
        l->k_norm = norm_weight(m, c, "self_attn.k_norm.weight", c->qk_norm ? c->head_dim : K);
    }
}

void nc_llama_mlp_weights(nc_model *m, nc_llama *c, int layer)
{
    const int D = c->width, F = c->inner;
    nc_llama_layer *l = &c->layer[layer];
    if (c->fused_gate_up) {
        l->gate_up = nc_weight_linear(m, "mlp.gate_up_proj.weight", 2 * F, D);
    } else {
        l->gate = nc_weight_linear(m, "mlp.gate_proj.weight", F, D);
        l->up = nc_weight_linear(m, "mlp.up_proj.weight", F, D);
    }
    l->down = nc_weight_linear(m, "mlp.down_proj.weight", D, F);
    if (c->mlp_bias) {
        l->gate_bias = nc_weight_bias(m, "mlp.gate_proj.bias", F);
        l->up_bias = nc_weight_bias(m, "mlp.up_proj.bias", F);
        l->down_bias = nc_weight_bias(m, "mlp.down_proj.bias", D);
    }
}

void nc_llama_weights(nc_model *m, void *self)
{
    nc_llama *c = self;
    const int D = c->width;
    const char *scope = c->scope ? c->scope : "model.";
    c->layer = NC_NEW_ARRAY(m->arena, nc_llama_layer, c->layers);
    nc_weight_scope(m, "%s", scope);
    if (c->vocab_more)
        c->embed_more = c->tied ? nc_weight_linear(m, c->embed_more_name, c->vocab_more, D) : nc_weight_table(m, c->embed_more_name, c->vocab_more, D);
    c->embed = c->tied ? nc_weight_linear(m, "embed_tokens.weight", c->vocab, D) : nc_weight_table(m, "embed_tokens.weight", c->vocab, D);
    for (int i = 0; i < c->layers; i++) {
        nc_weight_scope(m, "%slayers.%d.", scope, i);
        for (int k = 0; k < NC_BLOCK_NORMS; k++) {
            if (c->norms[k])
                c->layer[i].norm[k] = norm_weight(m, c, c->norms[k], D);
            if (k == NC_NORM_ATTN_IN)
                (c->attention_weights ? c->attention_weights : attention_weights)(m, c, i);
        }
        (c->mlp_weights ? c->mlp_weights : nc_llama_mlp_weights)(m, c, i);
    }
    nc_weight_scope(m, "%s", scope);
    c->norm = norm_weight(m, c, "norm.weight", D);
    nc_weight_scope(m, "%s", "");
    c->head = c->tied ? c->embed : nc_weight_linear(m, "lm_head.weight", c->vocab, D);
    if (c->vocab_more)
        c->head_more = c->tied ? c->embed_more : nc_weight_linear(m, c->head_more_name, c->vocab_more, D);
}

static nc_value *norm(const nc_llama *c, nc_build *b, nc_value *x, nc_site *w)
{
    return w ? nc_rms_norm(b->g, x, nc_site_value(b, w), c->eps, c->norm_offset) : x;
}

static int window_of(const nc_llama *c, int layer) { return c->windows ? c->windows[layer] : c->window; }

static nc_value *attention(const nc_llama *c, nc_build *b, int layer, nc_value *x, nc_rope_rows rope)
{
    const nc_llama_layer *l = &c->layer[layer];
    const int64_t N = x->shape.dim[0];
    const int Q = c->heads * c->head_dim, K = c->kv_heads * c->head_dim;
    nc_value *qkv = c->fused_qkv ? nc_linear(b, x, l->qkv, NULL) : NULL;
    nc_value *q = qkv ? nc_slice(b->g, qkv, 1, 0, Q) : nc_linear(b, x, l->q, l->q_bias);
    nc_value *k = qkv ? nc_slice(b->g, qkv, 1, Q, K) : nc_linear(b, x, l->k, l->k_bias);
    nc_value *v = qkv ? nc_slice(b->g, qkv, 1, Q + K, K) : nc_linear(b, x, l->v, l->v_bias);
    if (c->qk_norm_whole) {
        q = norm(c, b, q, l->q_norm);
        k = norm(c, b, k, l->k_norm);
    }
    q = nc_reshape(b->g, q, NC_SHAPE(N, c->heads, c->head_dim));
    k = nc_reshape(b->g, k, NC_SHAPE(N, c->kv_heads, c->head_dim));
    if (c->qk_norm) {
        q = norm(c, b, q, l->q_norm);
        k = norm(c, b, k, l->k_norm);
    }
    q = nc_rope_apply(b, q, rope);
    k = nc_rope_apply(b, k, rope);
    nc_value *y = nc_attend_heads(b, q, k, v, &(nc_attend){ .heads = c->heads, .kv_heads = c->kv_heads, .head_dim = c->head_dim, .window = window_of(c, layer),
                                                            .scale = c->score_scale, .soft_cap = c->score_cap, .cached = true, .spans = nc_in_spans(b, "text") });
    return nc_linear(b, y, l->o, l->o_bias);
}

nc_value *nc_llama_mlp(const nc_llama *c, nc_build *b, int layer, nc_value *x)
{
    const nc_llama_layer *l = &c->layer[layer];
    nc_value *both = l->gate_up ? nc_linear(b, x, l->gate_up, NULL) : NULL;
    nc_value *gate = both ? nc_slice(b->g, both, 1, 0, c->inner) : nc_linear(b, x, l->gate, l->gate_bias);
    nc_value *up = both ? nc_slice(b->g, both, 1, c->inner, c->inner) : nc_linear(b, x, l->up, l->up_bias);
    return nc_linear(b, nc_gated(b->g, c->activation, gate, up), l->down, l->down_bias);
}

static nc_value *block(const nc_llama *c, nc_build *b, int i, nc_value *x, nc_rope_rows rope)
{
    const nc_llama_layer *l = &c->layer[i];
    nc_value *h = nc_point(b, norm(c, b, x, l->norm[NC_NORM_ATTN_IN]), "attn.in");
    h = nc_point(b, (c->attention ? c->attention : attention)(c, b, i, h, rope), "attn.out");
    x = nc_add(b->g, x, norm(c, b, h, l->norm[NC_NORM_ATTN_OUT]));
    h = nc_point(b, norm(c, b, x, l->norm[NC_NORM_MLP_IN]), "mlp.in");
    h = nc_point(b, (c->mlp ? c->mlp : nc_llama_mlp)(c, b, i, h), "mlp.out");
    return nc_add(b->g, x, norm(c, b, h, l->norm[NC_NORM_MLP_OUT]));
}

/* What media bring for block i beyond the rows spliced at the embedding. */
static nc_value *add_media(const nc_llama *c, nc_build *b, int i, nc_value *x, nc_value *media)
{
    if (!media || media->shape.dim[1] < (int64_t)(i + 2) * c->width)
        return x;
    nc_value *rows = nc_slice(b->g, media, 1, (int64_t)(i + 1) * c->width, c->width);
    return nc_add(b->g, x, nc_gather_rows(b->g, rows, nc_in(b, "text.media", NC_I32, "tokens", 0)));
}

/* A vocabulary in two weights: an id has its row in one, and -1, a row of zeros, in the other. */
static nc_value *embedding(const nc_llama *c, nc_build *b)
{
    if (!c->embed_more)
        return nc_embed(b, c->embed, nc_in(b, "text.ids", NC_I32, "tokens", 0));
    nc_value *x = nc_embed(b, c->embed, nc_in(b, "text.base", NC_I32, "tokens", 0));
    return nc_add(b->g, x, nc_embed(b, c->embed_more, nc_in(b, "text.more", NC_I32, "tokens", 0)));
}

/* hidden.0 is what enters the first block. */
static nc_value *before(const nc_llama *c, nc_build *b, int i, nc_value *x, nc_value *media)
{
    if (!c->before)
        return x;
    x = c->before(c, b, i, x, media);
    return i == 0 ? nc_probe(b, x, "hidden.0") : x;
}

nc_value *nc_llama_decoder(const nc_model *m, const void *self, nc_build *b, nc_value *media)
{
    const nc_llama *c = self;
    nc_value *x = embedding(c, b), *pos = nc_in(b, "text.pos", NC_I32, "tokens", c->rope.axes > 1 ? c->rope.axes : 1);
    nc_rope_rows rope = nc_rope_rows_of(b, &c->rope, pos), sliding = c->two_ropes ? nc_rope_rows_of(b, &c->sliding_rope, pos) : rope;
    (void)m;
    x = c->embed_scale > 0 ? nc_affine(b->g, x, c->embed_scale, 0) : x;
    if (media && !c->before)
        x = nc_splice_rows(b->g, x, media->shape.dim[1] > c->width ? nc_slice(b->g, media, 1, 0, c->width) : media, nc_in(b, "text.media", NC_I32, "tokens", 0));
    x = nc_point(b, x, "embedding.out");
    x = c->before ? x : nc_probe(b, x, "hidden.0");
    for (int i = 0; i < c->layers; i++) {
        nc_scope_push(b->g, "layers.%d", i);
        nc_block_begin(b->g);
        x = before(c, b, i, x, media);
        x = block(c, b, i, x, window_of(c, i) ? sliding : rope);
        nc_block_end(b->g);
        nc_scope_pop(b->g);
        if (i + 1 < c->layers)
            x = nc_probe(b, nc_point(b, x, "block.out"), "hidden.%d", i + 1);
        x = c->before ? x : add_media(c, b, i, x, media);
    }
    return nc_probe(b, norm(c, b, x, c->norm), "hidden.%d", c->layers);
}

static void share_ids(nc_batch *batch, int first)
{
    const nc_tensor *ids = nc_batch_find(batch, "text.ids");
    const int64_t n = nc_shape_count(&ids->shape);
    const int32_t *id = ids->data;
    int32_t *base = nc_batch_i32(batch, "text.base", n, 1), *more = nc_batch_i32(batch, "text.more", n, 1);
    for (int64_t i = 0; i < n; i++) {
        base[i] = id[i] < first ? id[i] : -1;
        more[i] = id[i] < first ? -1 : id[i] - first;
    }
}

int nc_llama_prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    const nc_llama *c = self;
    (void)m;
    NC_TRY(nc_prepare_text(batch, seqs, count, e));
    nc_rope_prepare(&c->rope, batch, seqs, count);
    if (c->vocab_more) {
        share_ids(batch, c->vocab);
        nc_prepare_targets(batch, c->vocab);
    }
    return 0;
}

int nc_llama_regime(const void *self, int length)
{
    return nc_rope_regime(&((const nc_llama *)self)->rope, length);
}

void nc_llama_head(const void *self, nc_head *out)
{
    const nc_llama *c = self;
    *out = (nc_head){ .w = c->head, .more = c->head_more, .scale = 1, .soft_cap = c->logit_cap };
}

void nc_llama_cache(const void *self, nc_cache_need *out)
{
    const nc_llama *c = self;
    *out = (nc_cache_need){ .layers = c->layers, .kv_heads = c->kv_heads, .key_dim = c->head_dim, .value_dim = c->head_dim };
}

static const char *const ignored[] = { "*rotary_emb.inv_freq", NULL };

const char *const nc_llama_renames[] = { "", "model.", NULL };

const nc_family nc_family_llama = {
    .name = "llama", .architectures = "LlamaForCausalLM LlamaModel", .config = config, .ignored = ignored, .renames = nc_llama_renames, NC_LLAMA_KIN(nc_llama),
};

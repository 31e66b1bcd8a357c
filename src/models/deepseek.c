/* deepseek.c - DeepSeek-V2 (2024), V3/R1 (2024) and V3.2 (2025): attention over latents (MLA) and mixtures of experts chosen by groups.
 *
 *   q = q_b rms(q_a x), or q_proj x             [N,H,P+R]   the last R of each head rotated
 *   [c | k_pe] = kv_a x                         [N,C], [N,R]  k_pe rotated, the same for all heads
 *   [k | v] = kv_b rms(c)                       [N,H,P+V]   keys are [k | k_pe]
 *   y = o(softmax(q k^T s) v),   s = (P+R)^-1/2, times (0.1 mscale_all_dim ln(factor) + 1)^2 with yarn
 *   V3.2: a row sees only the index_topk keys j that its indexer scores highest:  sum_h w_h relu(q_h.k_j / sqrt(index_head_dim)),  q = wq_b rms(q_a x),
 *         k = ln(wk x), their first R columns rotated,  w = weights_proj x / sqrt(index_n_heads)
 *   MLP: nn/moe.h with shared experts; V2 by softmax, V3 by sigmoid with a bias for the choice; the first layers dense
 *
 * Easy to get wrong: pairs are neighbours; V2 neither divides by the sum of the chosen nor leaves out routed_scaling_factor, V3 divides (norm_topk_prob), then scales; a
 * group's score is its best expert in V2, the sum of its two best in V3; the norms of the latents have eps 1e-6 whatever rms_norm_eps says;
 * the indexer rotates halves where attention rotates neighbours, and no gradient reaches it.
 */
#include <math.h>

#include "models/moe_config.h"

struct indexer { nc_site *q, *k, *k_norm, *k_norm_b, *w; };
struct mla { nc_site *q, *q_a, *q_a_bias, *q_a_norm, *q_b, *kv_a, *kv_a_bias, *kv_a_norm, *kv_b, *o, *o_bias; struct indexer index; };
typedef struct deepseek { nc_moe_llama moe; int q_rank, kv_rank, nope, rope, value, index_heads, index_dim, index_top; struct mla *mla; } deepseek;   /* index_top 0: none */

static const double LATENT_EPS = 1e-6;

/* The part of yarn's mscale that goes into the softmax. */
static double yarn_scale(nc_config *r)
{
    const nc_json *s = nc_config_get(r, "rope_scaling");
    s = s ? s : nc_config_get(r, "rope_parameters");
    const char *type = nc_json_string(nc_json_get(s, "rope_type"), nc_json_string(nc_json_get(s, "type"), "default"));
    double factor = nc_json_double(nc_json_get(s, "factor"), 1), all = nc_json_double(nc_json_get(s, "mscale_all_dim"), 0);
    double scale = strcmp(type, "yarn") || factor <= 1 || all == 0 ? 1 : 0.1 * all * log(factor) + 1;
    return scale * scale;
}

static void indexer_weights(nc_model *m, const deepseek *c, struct indexer *l)
{
    const unsigned frozen = NC_SITE_BUFFER;                  /* the choice of keys has no gradient */
    l->q = nc_weight(m, NC_SITE_LINEAR | frozen, NC_INIT_NORMAL, "self_attn.indexer.wq_b.weight", (int64_t)c->index_heads * c->index_dim, c->q_rank, 0, 0);
    l->k = nc_weight(m, NC_SITE_LINEAR | frozen, NC_INIT_NORMAL, "self_attn.indexer.wk.weight", c->index_dim, c->moe.base.width, 0, 0);
    l->k_norm = nc_weight(m, frozen, NC_INIT_ONE, "self_attn.indexer.k_norm.weight", c->index_dim, 0, 0, 0);
    l->k_norm_b = nc_weight(m, frozen, NC_INIT_ZERO, "self_attn.indexer.k_norm.bias", c->index_dim, 0, 0, 0);
    l->w = nc_weight(m, NC_SITE_LINEAR | frozen, NC_INIT_NORMAL, "self_attn.indexer.weights_proj.weight", c->index_heads, c->moe.base.width, 0, 0);
}

static void mla_weights(nc_model *m, nc_llama *base, int layer)
{
    deepseek *c = (deepseek *)base;
    struct mla *l = &c->mla[layer];
    const int D = base->width, H = base->heads;
    if (c->q_rank) {
        l->q_a = nc_weight_linear(m, "self_attn.q_a_proj.weight", c->q_rank, D);
        l->q_a_bias = base->qkv_bias ? nc_weight_bias(m, "self_attn.q_a_proj.bias", c->q_rank) : NULL;
        l->q_a_norm = nc_weight_norm(m, "self_attn.q_a_layernorm.weight", c->q_rank);
        l->q_b = nc_weight_linear(m, "self_attn.q_b_proj.weight", (int64_t)H * (c->nope + c->rope), c->q_rank);
    } else {
        l->q = nc_weight_linear(m, "self_attn.q_proj.weight", (int64_t)H * (c->nope + c->rope), D);
    }
    l->kv_a = nc_weight_linear(m, "self_attn.kv_a_proj_with_mqa.weight", c->kv_rank + c->rope, D);
    l->kv_a_bias = base->qkv_bias ? nc_weight_bias(m, "self_attn.kv_a_proj_with_mqa.bias", c->kv_rank + c->rope) : NULL;
    l->kv_a_norm = nc_weight_norm(m, "self_attn.kv_a_layernorm.weight", c->kv_rank);
    l->kv_b = nc_weight_linear(m, "self_attn.kv_b_proj.weight", (int64_t)H * (c->nope + c->value), c->kv_rank);
    l->o = nc_weight_linear(m, "self_attn.o_proj.weight", D, (int64_t)H * c->value);
    l->o_bias = base->o_bias ? nc_weight_bias(m, "self_attn.o_proj.bias", D) : NULL;
    if (c->index_top)
        indexer_weights(m, c, &l->index);
}

static nc_value *index_input(nc_build *b, nc_value *x)
{
    const nc_dtype wide = nc_graph_compute(b->g) == NC_F64 ? NC_F64 : NC_F32;
    return nc_stop_gradient(b->g, x->dtype == wide ? x : nc_cast(b->g, x, wide));
}

/* The keys each row may see. */
static nc_value *chosen_keys(const deepseek *c, nc_build *b, const struct indexer *l, nc_value *x, nc_value *q_latent, nc_rope_rows rope)
{
    const int64_t N = x->shape.dim[0], H = c->index_heads, A = c->index_dim;
    rope.style = NC_ROPE_HALVES;
    nc_value *q = nc_rope_apply(b, nc_reshape(b->g, nc_linear(b, nc_stop_gradient(b->g, q_latent), l->q, NULL), NC_SHAPE(N, H, A)), rope);
    nc_value *k = nc_ln(b, nc_linear(b, nc_stop_gradient(b->g, x), l->k, NULL), l->k_norm, l->k_norm_b, LATENT_EPS);
    k = nc_reshape(b->g, nc_rope_apply(b, nc_reshape(b->g, k, NC_SHAPE(N, 1, A)), rope), NC_SHAPE(N, A));
    nc_value *w = nc_affine(b->g, index_input(b, nc_linear(b, nc_stop_gradient(b->g, x), l->w, NULL)), 1 / sqrt((double)H), 0);
    return nc_index_keys(b->g, index_input(b, q), index_input(b, k), w, &(nc_index_attr){ .spans = nc_in_spans(b, "text"), .cache = b->cache, .layer = b->layer,
                                                                                          .top = c->index_top, .scale = 1 / sqrt((double)A) });
}

static nc_value *mla(const nc_llama *base, nc_build *b, int layer, nc_value *x, nc_rope_rows rope)
{
    const deepseek *c = (const deepseek *)base;
    const struct mla *l = &c->mla[layer];
    const int64_t N = x->shape.dim[0], H = base->heads, P = c->nope, R = c->rope, V = c->value;
    nc_value *q_latent = l->q ? NULL : nc_rms(b, nc_linear(b, x, l->q_a, l->q_a_bias), l->q_a_norm, LATENT_EPS), *q = nc_linear(b, l->q ? x : q_latent, l->q ? l->q : l->q_b, NULL);
    nc_value *list = c->index_top ? chosen_keys(c, b, &l->index, x, q_latent, rope) : NULL;
    q = nc_reshape(b->g, q, NC_SHAPE(N, H, P + R));
    q = nc_concat(b->g, (nc_value *[]){ nc_slice(b->g, q, 2, 0, P), nc_rope_apply(b, nc_slice(b->g, q, 2, P, R), rope) }, 2, 2);
    nc_value *latent = nc_linear(b, x, l->kv_a, l->kv_a_bias);
    nc_value *k_pe = nc_rope_apply(b, nc_reshape(b->g, nc_contiguous(b->g, nc_slice(b->g, latent, 1, c->kv_rank, R)), NC_SHAPE(N, 1, R)), rope);
    nc_value *kv = nc_linear(b, nc_rms(b, nc_slice(b->g, latent, 1, 0, c->kv_rank), l->kv_a_norm, LATENT_EPS), l->kv_b, NULL);
    kv = nc_reshape(b->g, kv, NC_SHAPE(N, H, P + V));
    k_pe = nc_broadcast_to(b->g, k_pe, NC_SHAPE(N, H, R), x->count);
    nc_value *k = nc_concat(b->g, (nc_value *[]){ nc_slice(b->g, kv, 2, 0, P), k_pe }, 2, 2);
    nc_value *y = nc_attend_heads(b, q, k, nc_slice(b->g, kv, 2, P, V), &(nc_attend){ .heads = (int)H, .kv_heads = (int)H, .head_dim = (int)(P + R), .scale = base->score_scale,
                                                                                      .cached = true, .spans = nc_in_spans(b, "text"), .list = list });
    return nc_linear(b, y, l->o, l->o_bias);
}

/* Layers after the last predict further tokens (multi-token prediction): not run here, kept with the checkpoint. */
static void keep_predictors(nc_model *m, const nc_llama *base, nc_config *r)
{
    const int extra = nc_config_layers(r, "num_nextn_predict_layers", 0);
    const char **kept = NC_NEW_ARRAY(m->arena, const char *, extra + 1);
    for (int i = 0; i < extra; i++)
        kept[i] = nc_arena_printf(m->arena, "model.layers.%d.*", base->layers + i);
    m->kept = kept;
}

/* Layers with an ordinary MLP: the first ones, and those that moe_layer_freq leaves out; or as mlp_layer_types says. */
static void read_dense(deepseek *c, nc_config *r, int first_dense)
{
    const int layers = c->moe.base.layers, first = (int)nc_config_int(r, "first_k_dense_replace", first_dense), every = (int)nc_config_int(r, "moe_layer_freq", 1);
    const nc_json *types = nc_config_get(r, "mlp_layer_types");
    for (int i = 0; i < layers; i++)
        c->moe.dense[i] = i < first || (every > 0 && i % every);
    if (types && types->count != layers)
        nc_config_mistake(r, "line %d: \"mlp_layer_types\" names %d layers, num_hidden_layers is %d", types->line, types->count, layers);
    int i = 0;
    NC_JSON_EACH(item, types) {
        const char *type = nc_json_string(item, "");
        if (strcmp(type, "dense") && strcmp(type, "sparse"))
            nc_config_mistake(r, "line %d: the MLP type \"%s\" is not known to this family", item->line, type);
        else if (i < layers)
            c->moe.dense[i++] = !strcmp(type, "dense");
    }
}

static void common_config(nc_model *m, deepseek *c, nc_config *r, int first_dense)
{
    static const char *const ignored[] = { "aux_loss_alpha", "seq_aux", "ep_size", "qk_head_dim", NULL };
    nc_llama *base = &c->moe.base;
    c->nope = (int)nc_config_int(r, "qk_nope_head_dim", 128);
    c->rope = (int)nc_config_int(r, "qk_rope_head_dim", 64);
    c->value = (int)nc_config_int(r, "v_head_dim", 128);
    c->q_rank = (int)nc_config_int(r, "q_lora_rank", 0);
    c->kv_rank = (int)nc_config_int(r, "kv_lora_rank", 512);
    base->head_dim = c->rope;
    base->rope_style = nc_config_bool(r, "rope_interleave", true) ? NC_ROPE_NEIGHBOURS : NC_ROPE_HALVES;
    base->attention = mla;
    base->attention_weights = mla_weights;
    nc_llama_config(m, base, r, 10000);
    base->score_scale = yarn_scale(r) / sqrt((double)c->nope + c->rope);
    if (c->nope < 1 || c->rope < 2 || c->value < 1 || c->kv_rank < 1 || base->head_dim != c->rope)
        nc_config_mistake(r, "qk_nope_head_dim %d, qk_rope_head_dim %d (head_dim %d), v_head_dim %d, kv_lora_rank %d", c->nope, c->rope, base->head_dim, c->value, c->kv_rank);
    nc_moe_config(&c->moe, r, "n_routed_experts", "num_local_experts");
    c->mla = NC_NEW_ARRAY(m->arena, struct mla, base->layers + 1);
    c->moe.dense = NC_NEW_ARRAY(m->arena, bool, base->layers + 1);
    read_dense(c, r, first_dense);
    c->moe.expert_inner = (int)nc_config_int(r, "moe_intermediate_size", 1407);
    int64_t shared = (int64_t)c->moe.expert_inner * nc_config_int(r, "n_shared_experts", 0);
    if (shared < 0 || shared > INT32_MAX)
        nc_config_mistake(r, "n_shared_experts times moe_intermediate_size is %lld", (long long)shared);
    c->moe.shared_inner = (int)shared;
    c->moe.shared = "shared_experts";
    c->moe.block = "mlp.";
    c->moe.names[0] = "gate_proj";
    c->moe.names[1] = "up_proj";
    c->moe.names[2] = "down_proj";
    c->moe.moe.groups = (int)nc_config_int(r, "n_group", 1);
    c->moe.moe.top_groups = (int)nc_config_int(r, "topk_group", 1);
    c->moe.moe.scale = nc_config_float(r, "routed_scaling_factor", 1);
    keep_predictors(m, base, r);
    nc_config_expect_bool(r, "mlp_bias", false);
    nc_config_ignore(r, ignored);
}

static void expect(nc_config *r, const char *key, const char *value)
{
    if (strcmp(nc_config_string(r, key, value), value))
        nc_config_mistake(r, "\"%s\" is not %s, and this family knows only that", key, value);
}

static void v2_config(nc_model *m, void *self, nc_config *r)
{
    deepseek *c = self;
    common_config(m, c, r, 0);
    const char *method = nc_config_string(r, "topk_method", "greedy");
    if (!strcmp(method, "greedy"))
        c->moe.moe.groups = 0;
    else if (strcmp(method, "group_limited_greedy"))
        nc_config_mistake(r, "\"topk_method\" is %s; greedy and group_limited_greedy are known", method);
    c->moe.moe.group_best = 1;
    expect(r, "scoring_func", "softmax");
    nc_config_expect_bool(r, "norm_topk_prob", false);
}

static void v3_config(nc_model *m, void *self, nc_config *r)
{
    deepseek *c = self;
    common_config(m, c, r, 3);
    c->moe.choose_bias = c->moe.moe.sigmoid = true;
    c->moe.moe.group_best = 2;
    c->moe.moe.normalize = nc_config_bool(r, "norm_topk_prob", true);
    c->moe.moe.sum_floor = 1e-20;
    expect(r, "topk_method", "noaux_tc");
    expect(r, "scoring_func", "sigmoid");
}

static void v32_config(nc_model *m, void *self, nc_config *r)
{
    static const char *const ignored[] = { "layer_types", NULL };
    deepseek *c = self;
    c->index_heads = (int)nc_config_int(r, "index_n_heads", 64);
    c->index_dim = (int)nc_config_int(r, "index_head_dim", 128);
    c->index_top = (int)nc_config_int(r, "index_topk", 2048);
    v3_config(m, self, r);
    nc_config_ignore(r, ignored);
    if (c->index_heads < 1 || c->index_top < 1 || c->index_dim < c->rope || c->q_rank < 1)
        nc_config_mistake(r, "index_n_heads %d, index_topk %d, index_head_dim %d (qk_rope_head_dim %d), q_lora_rank %d", c->index_heads, c->index_top, c->index_dim, c->rope, c->q_rank);
}

static void cache(const void *self, nc_cache_need *out)
{
    const deepseek *c = self;
    *out = (nc_cache_need){ .layers = c->moe.base.layers, .kv_heads = c->moe.base.heads, .key_dim = c->nope + c->rope, .value_dim = c->value,
                            .index_dim = c->index_top ? c->index_dim : 0 };
}

static const char *const ignored[] = { "*rotary_emb.inv_freq", NULL };

const nc_family nc_family_deepseek_v2 = {
    .name = "deepseek_v2", .architectures = "DeepseekV2ForCausalLM DeepseekV2Model", .size = sizeof(deepseek), .config = v2_config, .weights = nc_llama_weights,
    .ignored = ignored, .stacks = nc_moe_stacks, .prepare = nc_llama_prepare, .decoder = nc_llama_decoder, .head = nc_llama_head, .cache = cache, .regime = nc_llama_regime,
};
const nc_family nc_family_deepseek_v3 = {
    .name = "deepseek_v3", .architectures = "DeepseekV3ForCausalLM DeepseekV3Model", .size = sizeof(deepseek), .config = v3_config, .weights = nc_llama_weights,
    .ignored = ignored, .stacks = nc_moe_stacks, .prepare = nc_llama_prepare, .decoder = nc_llama_decoder, .head = nc_llama_head, .cache = cache, .regime = nc_llama_regime,
};
const nc_family nc_family_deepseek_v32 = {
    .name = "deepseek_v32", .architectures = "DeepseekV32ForCausalLM DeepseekV32Model", .size = sizeof(deepseek), .config = v32_config, .weights = nc_llama_weights,
    .ignored = ignored, .stacks = nc_moe_stacks, .prepare = nc_llama_prepare, .decoder = nc_llama_decoder, .head = nc_llama_head, .cache = cache, .regime = nc_llama_regime,
};

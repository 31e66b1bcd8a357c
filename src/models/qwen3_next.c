/* qwen3_next.c - Qwen3-Next (Qwen team 2025): gated delta nets (Yang et al. 2024), every so often a gated attention; sparse MLPs with a shared expert.
 *
 *   delta net   [q | k | v | z], [b | a] = in_proj_qkvz h, in_proj_ba h, grouped by key head                G key heads of K, H value heads of V
 *               q, k, v = silu(conv [q | k | v]);  q, k divided by their l2 norms, q by sqrt(K) too
 *               S_i = g_i S_{i-1} + k_i (beta_i (v_i - g_i S_{i-1}^T k_i))^T,  o = S^T q;     g = exp(-exp(A_log) softplus(a + dt_bias)), beta = sigmoid(b)
 *               y = out_proj(rms(o) * w * silu(z))
 *   attention   [q | gate] of each head = q_proj h;  y = o_proj(attention(rope rms q, rope rms k, v) * sigmoid(gate))
 *
 * Easy to get wrong: norms multiply by 1 + w, but the delta net's own by w; eps lies inside the l2 norm's root, 1e-6 always; a quarter of head_dim is rotated; layers
 * whose number (from 1) is a multiple of full_attention_interval attend. A file's mtp.* (a head that predicts further tokens) is
 * kept with the checkpoint but not run.
 */
#include <math.h>

#include "models/moe_config.h"
#include "nn/recurrent.h"

struct delta { nc_site *qkvz, *ba, *conv, *dt_bias, *a_log, *norm, *out; };
typedef struct qwen3_next { nc_moe_llama moe; int key_heads, value_heads, key, value, taps; bool *attends; struct delta *delta; } qwen3_next;

/* ---- config ---- */
static void read_layer_types(nc_model *m, qwen3_next *c, nc_config *r)
{
    const int layers = c->moe.base.layers, every = (int)nc_config_int(r, "full_attention_interval", 4);
    const nc_json *types = nc_config_get(r, "layer_types");
    c->attends = NC_NEW_ARRAY(m->arena, bool, layers + 1);
    if (every < 1)
        nc_config_mistake(r, "\"full_attention_interval\" must be over 0");
    for (int i = 0; i < layers && every > 0; i++)
        c->attends[i] = (i + 1) % every == 0;
    if (types && types->count != layers)
        nc_config_mistake(r, "line %d: \"layer_types\" names %d layers, num_hidden_layers is %d", types->line, types->count, layers);
    int i = 0;
    NC_JSON_EACH(item, types) {
        const char *type = nc_json_string(item, "");
        if (strcmp(type, "full_attention") && strcmp(type, "linear_attention"))
            nc_config_mistake(r, "line %d: the layer type \"%s\" is not known to this family", item->line, type);
        else if (i < layers)
            c->attends[i++] = !strcmp(type, "full_attention");
    }
}

static nc_value *mixer(const nc_llama *base, nc_build *b, int layer, nc_value *x, nc_rope_rows rope);
static void mixer_weights(nc_model *m, nc_llama *base, int layer);

static const char *const kept[] = { "mtp.*", NULL };

static void config(nc_model *m, void *self, nc_config *r)
{
    qwen3_next *c = self;
    nc_llama *base = &c->moe.base;
    base->head_dim = 256;
    base->rotary_share = 0.25;
    base->norm_offset = 1;
    base->attention = mixer;
    base->attention_weights = mixer_weights;
    nc_llama_config(m, base, r, 10000);
    c->key_heads = (int)nc_config_int(r, "linear_num_key_heads", 16);
    c->value_heads = (int)nc_config_int(r, "linear_num_value_heads", 32);
    c->key = (int)nc_config_int(r, "linear_key_head_dim", 128);
    c->value = (int)nc_config_int(r, "linear_value_head_dim", 128);
    c->taps = (int)nc_config_int(r, "linear_conv_kernel_dim", 4);
    read_layer_types(m, c, r);
    if (c->key_heads < 1 || c->value_heads < 1 || c->value_heads % c->key_heads || c->key < 1 || c->value < 1 || c->taps < 1 || c->taps > 64)
        nc_config_mistake(r, "linear_num_key_heads %d, linear_num_value_heads %d, linear_key_head_dim %d, linear_value_head_dim %d, linear_conv_kernel_dim %d", c->key_heads,
                          c->value_heads, c->key, c->value, c->taps);
    c->delta = NC_NEW_ARRAY(m->arena, struct delta, base->layers + 1);
    nc_moe_config(&c->moe, r, "num_experts", "num_local_experts");
    nc_moe_dense(m, &c->moe, r);
    c->moe.moe.normalize = nc_config_bool(r, "norm_topk_prob", true);
    c->moe.expert_inner = (int)nc_config_int(r, "moe_intermediate_size", 512);
    c->moe.shared_inner = (int)nc_config_int(r, "shared_expert_intermediate_size", 512);
    c->moe.shared_switch = true;
    c->moe.shared = "shared_expert";
    c->moe.block = "mlp.";
    c->moe.names[0] = "gate_proj";
    c->moe.names[1] = "up_proj";
    c->moe.names[2] = "down_proj";
    m->kept = kept;
}

/* ---- weights ---- */
static int64_t keys_of(const qwen3_next *c) { return (int64_t)c->key_heads * c->key; }
static int64_t values_of(const qwen3_next *c) { return (int64_t)c->value_heads * c->value; }

static void delta_weights(nc_model *m, const qwen3_next *c, struct delta *l)
{
    const int64_t D = c->moe.base.width, K = keys_of(c), V = values_of(c);
    l->qkvz = nc_weight_linear(m, "linear_attn.in_proj_qkvz.weight", 2 * K + 2 * V, D);
    l->ba = nc_weight_linear(m, "linear_attn.in_proj_ba.weight", 2 * (int64_t)c->value_heads, D);
    l->conv = nc_weight(m, 0, NC_INIT_NORMAL, "linear_attn.conv1d.weight", 2 * K + V, 1, c->taps, 0);
    l->dt_bias = nc_weight(m, NC_SITE_KEEP_F32, NC_INIT_ONE, "linear_attn.dt_bias", c->value_heads, 0, 0, 0);
    l->a_log = nc_weight(m, NC_SITE_KEEP_F32, NC_INIT_ZERO, "linear_attn.A_log", c->value_heads, 0, 0, 0);
    l->norm = nc_weight_norm(m, "linear_attn.norm.weight", c->value);
    l->out = nc_weight_linear(m, "linear_attn.out_proj.weight", D, V);
}

static void mixer_weights(nc_model *m, nc_llama *base, int layer)
{
    qwen3_next *c = (qwen3_next *)base;
    nc_llama_layer *l = &base->layer[layer];
    const int D = base->width, Q = base->heads * base->head_dim, K = base->kv_heads * base->head_dim;
    if (!c->attends[layer]) {
        delta_weights(m, c, &c->delta[layer]);
        return;
    }
    l->q = nc_weight_linear(m, "self_attn.q_proj.weight", 2 * Q, D);
    l->k = nc_weight_linear(m, "self_attn.k_proj.weight", K, D);
    l->v = nc_weight_linear(m, "self_attn.v_proj.weight", K, D);
    l->o = nc_weight_linear(m, "self_attn.o_proj.weight", D, Q);
    if (base->qkv_bias) {
        l->q_bias = nc_weight_bias(m, "self_attn.q_proj.bias", 2 * Q);
        l->k_bias = nc_weight_bias(m, "self_attn.k_proj.bias", K);
        l->v_bias = nc_weight_bias(m, "self_attn.v_proj.bias", K);
        l->o_bias = nc_weight_bias(m, "self_attn.o_proj.bias", D);
    }
    l->q_norm = nc_weight_bias(m, "self_attn.q_norm.weight", base->head_dim);
    l->k_norm = nc_weight_bias(m, "self_attn.k_norm.weight", base->head_dim);
}

/* ---- the two mixers ---- */
/* Columns [at, at + each) of every key head's part of x [N, G, ...], as [N, G * each]. */
static nc_value *part(nc_build *b, nc_value *x, int64_t at, int64_t each)
{
    return nc_reshape(b->g, nc_contiguous(b->g, nc_slice(b->g, x, 2, at, each)), NC_SHAPE(x->shape.dim[0], x->shape.dim[1] * each));
}

static nc_value *delta_net(const qwen3_next *c, nc_build *b, const struct delta *l, nc_value *x)
{
    const int64_t N = x->shape.dim[0], G = c->key_heads, H = c->value_heads, K = c->key, V = c->value, own = H / G * V;
    nc_value *all = nc_reshape(b->g, nc_linear(b, x, l->qkvz, NULL), NC_SHAPE(N, G, 2 * K + 2 * own));
    nc_value *ba = nc_widen(b, nc_reshape(b->g, nc_linear(b, x, l->ba, NULL), NC_SHAPE(N, G, 2 * H / G)));
    nc_value *qkv = nc_concat(b->g, (nc_value *[]){ part(b, all, 0, K), part(b, all, K, K), part(b, all, 2 * K, own) }, 3, 1);
    qkv = nc_unary_op(b->g, c->moe.base.activation, nc_short_conv(b, qkv, l->conv, NULL));
    nc_value *q = nc_reshape(b->g, nc_contiguous(b->g, nc_slice(b->g, qkv, 1, 0, G * K)), NC_SHAPE(N, G, K));
    nc_value *k = nc_reshape(b->g, nc_contiguous(b->g, nc_slice(b->g, qkv, 1, G * K, G * K)), NC_SHAPE(N, G, K));
    nc_value *v = nc_reshape(b->g, nc_contiguous(b->g, nc_slice(b->g, qkv, 1, 2 * G * K, H * V)), NC_SHAPE(N, H, V));
    nc_value *beta = nc_unary_op(b->g, NC_SIGMOID, part(b, ba, 0, H / G));
    nc_value *step = nc_unary_op(b->g, NC_SOFTPLUS, nc_add(b->g, part(b, ba, H / G, H / G), nc_site_wide(b, l->dt_bias)));
    nc_value *decay = nc_unary_op(b->g, NC_EXP, nc_mul(b->g, step, nc_affine(b->g, nc_unary_op(b->g, NC_EXP, nc_site_wide(b, l->a_log)), -1, 0)));
    nc_recurrent_attr a = nc_recur(b, nc_linear_scan_state(H, K, V));
    nc_value *o = nc_linear_scan(b->g, nc_affine(b->g, nc_l2_norm(b->g, q, 1e-6), 1 / sqrt((double)K), 0), nc_l2_norm(b->g, k, 1e-6), v, decay, beta, &a);
    nc_value *z = nc_widen(b, nc_reshape(b->g, part(b, all, 2 * K + own, own), NC_SHAPE(N, H, V)));
    o = nc_gated(b->g, NC_SILU, z, nc_rms_norm(b->g, o, nc_site_wide(b, l->norm), c->moe.base.eps, 0));
    return nc_linear(b, nc_narrow(b, nc_reshape(b->g, o, NC_SHAPE(N, H * V))), l->out, NULL);
}

static nc_value *head_norm(nc_build *b, const nc_llama *c, nc_value *x, nc_site *w) { return nc_rms_norm(b->g, x, nc_site_value(b, w), c->eps, c->norm_offset); }

static nc_value *mixer(const nc_llama *base, nc_build *b, int layer, nc_value *x, nc_rope_rows rope)
{
    const qwen3_next *c = (const qwen3_next *)base;
    const nc_llama_layer *l = &base->layer[layer];
    const int64_t N = x->shape.dim[0], H = base->heads, A = base->head_dim;
    if (!c->attends[layer])
        return delta_net(c, b, &c->delta[layer], x);
    nc_value *both = nc_reshape(b->g, nc_linear(b, x, l->q, l->q_bias), NC_SHAPE(N, H, 2 * A));
    nc_value *k = nc_reshape(b->g, nc_linear(b, x, l->k, l->k_bias), NC_SHAPE(N, base->kv_heads, A));
    nc_value *q = nc_rope_apply(b, head_norm(b, base, nc_slice(b->g, both, 2, 0, A), l->q_norm), rope);
    k = nc_rope_apply(b, head_norm(b, base, k, l->k_norm), rope);
    nc_value *y = nc_attend_heads(b, q, k, nc_linear(b, x, l->v, l->v_bias), &(nc_attend){ .heads = (int)H, .kv_heads = base->kv_heads, .head_dim = (int)A, .cached = true,
                                                                                           .spans = nc_in_spans(b, "text") });
    return nc_linear(b, nc_gated(b->g, NC_SIGMOID, part(b, both, A, A), y), l->o, l->o_bias);
}

static void cache(const void *self, nc_cache_need *out)
{
    const qwen3_next *c = self;
    const nc_llama *base = &c->moe.base;
    int attending = 0;
    for (int i = 0; i < base->layers; i++)
        attending += c->attends[i];
    *out = (nc_cache_need){ .layers = attending, .kv_heads = base->kv_heads, .key_dim = base->head_dim, .value_dim = base->head_dim };
    out->state = (base->layers - attending) * (nc_causal_conv_state(2 * keys_of(c) + values_of(c), c->taps) + nc_linear_scan_state(c->value_heads, c->key, c->value));
}

static const char *const ignored[] = { "*rotary_emb.inv_freq", NULL };

const nc_family nc_family_qwen3_next = {
    .name = "qwen3_next", .architectures = "Qwen3NextForCausalLM Qwen3NextModel", .size = sizeof(qwen3_next), .config = config, .weights = nc_llama_weights, .ignored = ignored,
    .stacks = nc_moe_stacks,    .prepare = nc_llama_prepare, .decoder = nc_llama_decoder, .head = nc_llama_head, .cache = cache, .regime = nc_llama_regime,
};

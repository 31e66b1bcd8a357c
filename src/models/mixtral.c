/* mixtral.c - Mixtral (Jiang et al. 2024), Qwen1.5-MoE and Qwen2-MoE, Qwen3-MoE: the Llama, Qwen2 and Qwen3 decoders with mixtures of experts for MLPs.
 *
 * Easy to get wrong: Mixtral's w1, w3, w2 are gate, up, down; Mixtral and (by norm_topk_prob) Qwen3 divide the chosen probabilities by their sum, Qwen2 does not;
 * Qwen2's shared expert is multiplied by a sigmoid of its own; decoder_sparse_step and mlp_only_layers leave some layers dense, with intermediate_size.
 */
#include "models/moe_config.h"
#include "models/qwen.h"

void nc_moe_config(nc_moe_llama *c, nc_config *r, const char *experts_key, const char *other_key)
{
    static const char *const ignored[] = { "output_router_logits", "router_aux_loss_coef", "router_jitter_noise", NULL };
    c->moe.experts = (int)nc_config_int(r, nc_config_get(r, experts_key) ? experts_key : other_key, NC_REQUIRED);
    c->moe.top = (int)nc_config_int(r, "num_experts_per_tok", NC_REQUIRED);
    c->moe.activation = c->base.activation;
    c->moe.scale = 1;
    c->base.mlp_weights = nc_moe_weights;
    c->base.mlp = nc_moe_layer_mlp;
    if (c->moe.experts < 1 || c->moe.experts > NC_MAX_EXPERTS || c->moe.top < 1 || c->moe.top > c->moe.experts) {
        nc_config_mistake(r, "%d of %d experts: at most %d are known here", c->moe.top, c->moe.experts, NC_MAX_EXPERTS);
        c->moe.experts = c->moe.top = 1;
    }
    nc_config_ignore(r, ignored);
}

void nc_moe_dense(nc_model *m, nc_moe_llama *c, nc_config *r)
{
    int step = (int)nc_config_int(r, "decoder_sparse_step", 1);
    const nc_json *only = nc_config_get(r, "mlp_only_layers");
    c->dense = NC_NEW_ARRAY(m->arena, bool, c->base.layers + 1);
    for (int i = 0; i < c->base.layers; i++)
        c->dense[i] = step > 0 && (i + 1) % step != 0;
    NC_JSON_EACH(item, only) {
        int64_t i = nc_json_int(item, -1);
        if (i < 0 || i >= c->base.layers)
            nc_config_mistake(r, "line %d: \"mlp_only_layers\" names layer %lld of %d", item->line, (long long)i, c->base.layers);
        else
            c->dense[i] = true;
    }
}

static nc_site **expert_sites(nc_model *m, const nc_moe_llama *c, int which, int64_t out, int64_t in)
{
    nc_site **list = NC_NEW_ARRAY(m->arena, nc_site *, c->moe.experts);
    for (int e = 0; e < c->moe.experts; e++)
        list[e] = nc_weight_linear(m, nc_arena_printf(m->arena, "%sexperts.%d.%s.weight", c->block, e, c->names[which]), out, in);
    return list;
}

void nc_moe_weights(nc_model *m, nc_llama *base, int layer)
{
    nc_moe_llama *c = (nc_moe_llama *)base;
    const int D = base->width, F = c->expert_inner, S = c->shared_inner;
    if (c->dense && c->dense[layer]) {
        nc_llama_mlp_weights(m, base, layer);
        return;
    }
    nc_moe_layer *l = base->layer[layer].own = NC_NEW(m->arena, nc_moe_layer);
    l->moe = c->moe;
    l->moe.router = nc_weight_linear(m, nc_arena_printf(m->arena, "%sgate.weight", c->block), c->moe.experts, D);
    if (c->choose_bias)
        l->moe.choose_bias = nc_weight(m, NC_SITE_BUFFER | NC_SITE_KEEP_F32, NC_INIT_ZERO, "mlp.gate.e_score_correction_bias", c->moe.experts, 0, 0, 0);
    l->moe.gate = expert_sites(m, c, 0, F, D);
    l->moe.up = expert_sites(m, c, 1, F, D);
    l->moe.down = expert_sites(m, c, 2, D, F);
    if (S) {
        l->shared_gate = nc_weight_linear(m, nc_arena_printf(m->arena, "mlp.%s.gate_proj.weight", c->shared), S, D);
        l->shared_up = nc_weight_linear(m, nc_arena_printf(m->arena, "mlp.%s.up_proj.weight", c->shared), S, D);
        l->shared_down = nc_weight_linear(m, nc_arena_printf(m->arena, "mlp.%s.down_proj.weight", c->shared), D, S);
    }
    if (c->shared_switch)
        l->shared_switch = nc_weight_linear(m, "mlp.shared_expert_gate.weight", 1, D);
}

nc_value *nc_moe_layer_mlp(const nc_llama *base, nc_build *b, int layer, nc_value *x)
{
    const nc_moe_layer *l = base->layer[layer].own;
    if (!l)
        return nc_llama_mlp(base, b, layer, x);
    nc_value *y = nc_moe_mlp(b, x, &l->moe);
    if (!l->shared_gate)
        return y;
    nc_value *s = nc_linear(b, nc_gated(b->g, base->activation, nc_linear(b, x, l->shared_gate, NULL), nc_linear(b, x, l->shared_up, NULL)), l->shared_down, NULL);
    if (l->shared_switch)
        s = nc_mul(b->g, s, nc_unary_op(b->g, NC_SIGMOID, nc_linear(b, x, l->shared_switch, NULL)));
    return nc_add(b->g, y, s);
}

static const char *const ignored[] = { "*rotary_emb.inv_freq", NULL };

const nc_stack nc_moe_stacks[] = {
    { "*.mlp.experts.gate_up_proj", "*.mlp.experts.#.gate_proj.weight", 0, 2 }, { "*.mlp.experts.gate_up_proj", "*.mlp.experts.#.up_proj.weight", 1, 2 },
    { "*.mlp.experts.down_proj", "*.mlp.experts.#.down_proj.weight", 0, 1 }, { 0 },
};
static const nc_stack mixtral_stacks[] = {
    { "*.mlp.experts.gate_up_proj", "*.block_sparse_moe.experts.#.w1.weight", 0, 2 }, { "*.mlp.experts.gate_up_proj", "*.block_sparse_moe.experts.#.w3.weight", 1, 2 },
    { "*.mlp.experts.down_proj", "*.block_sparse_moe.experts.#.w2.weight", 0, 1 }, { 0 },
};
static const char *const mixtral_renames[] = { "*.mlp.gate.weight", "*.block_sparse_moe.gate.weight", NULL };

static void qwen_names(nc_moe_llama *c)
{
    c->block = "mlp.";
    c->names[0] = "gate_proj";
    c->names[1] = "up_proj";
    c->names[2] = "down_proj";
}

static void mixtral_config(nc_model *m, void *self, nc_config *r)
{
    nc_moe_llama *c = self;
    nc_llama_config(m, &c->base, r, 1e6);
    nc_moe_config(c, r, "num_local_experts", "num_experts");
    c->base.window = (int)nc_config_int(r, "sliding_window", 0);
    c->expert_inner = c->base.inner;
    c->moe.normalize = true;
    c->block = "block_sparse_moe.";
    c->names[0] = "w1";
    c->names[1] = "w3";
    c->names[2] = "w2";
}

static void qwen2_config(nc_model *m, void *self, nc_config *r)
{
    nc_moe_llama *c = self;
    nc_llama_config(m, &c->base, r, 10000);
    nc_qwen_windows(m, &c->base, r);
    c->base.qkv_bias = nc_config_bool(r, "qkv_bias", true);
    c->base.o_bias = false;
    nc_moe_config(c, r, "num_experts", "num_local_experts");
    nc_moe_dense(m, c, r);
    c->moe.normalize = nc_config_bool(r, "norm_topk_prob", false);
    c->expert_inner = (int)nc_config_int(r, "moe_intermediate_size", 1408);
    c->shared_inner = (int)nc_config_int(r, "shared_expert_intermediate_size", 5632);
    c->shared_switch = true;
    c->shared = "shared_expert";
    qwen_names(c);
}

static void qwen3_config(nc_model *m, void *self, nc_config *r)
{
    nc_moe_llama *c = self;
    c->base.qk_norm = true;
    nc_llama_config(m, &c->base, r, 10000);
    nc_qwen_windows(m, &c->base, r);
    nc_moe_config(c, r, "num_experts", "num_local_experts");
    nc_moe_dense(m, c, r);
    c->moe.normalize = nc_config_bool(r, "norm_topk_prob", false);
    c->expert_inner = (int)nc_config_int(r, "moe_intermediate_size", 768);
    qwen_names(c);
}

const nc_family nc_family_mixtral = {
    .name = "mixtral", .architectures = "MixtralForCausalLM MixtralModel", .config = mixtral_config, .ignored = ignored, .renames = mixtral_renames, .stacks = mixtral_stacks,
     NC_LLAMA_KIN(nc_moe_llama),
};
const nc_family nc_family_qwen2_moe = {
    .name = "qwen2_moe", .architectures = "Qwen2MoeForCausalLM Qwen2MoeModel", .config = qwen2_config, .ignored = ignored, .stacks = nc_moe_stacks, NC_LLAMA_KIN(nc_moe_llama),
};
const nc_family nc_family_qwen3_moe = {
    .name = "qwen3_moe", .architectures = "Qwen3MoeForCausalLM Qwen3MoeModel", .config = qwen3_config, .ignored = ignored, .stacks = nc_moe_stacks, NC_LLAMA_KIN(nc_moe_llama),
};

/* glm4.c - GLM-4-0414 (GLM team 2025): the Llama decoder with four norms a block, half of each head rotated in neighbouring pairs, gate and up in one product.
 *
 * Easy to get wrong: post_attention_layernorm stands before the MLP, post_self_attn_layernorm after the attention; biases on q, k and v only; gate_up is [gate | up].
 */
#include "models/llama.h"

static void config(nc_model *m, void *self, nc_config *r)
{
    static const char *const norms[NC_BLOCK_NORMS] = { "input_layernorm.weight", "post_self_attn_layernorm.weight", "post_attention_layernorm.weight", "post_mlp_layernorm.weight" };
    nc_llama *c = self;
    c->norms = norms;
    c->rope_style = NC_ROPE_NEIGHBOURS;
    c->rotary_share = 0.5;
    c->fused_gate_up = true;
    c->head_dim = 128;
    nc_llama_config(m, c, r, 10000);
    c->o_bias = false;
}

const nc_family nc_family_glm4 = {
    .name = "glm4", .architectures = "Glm4ForCausalLM Glm4Model", .config = config, NC_LLAMA_KIN(nc_llama),
};

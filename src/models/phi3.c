/* phi3.c - Phi-3 and Phi-4 mini (Abdin et al. 2024): the Llama decoder with fused products, a sliding window, and long contexts by LongRoPE.
 *
 * Easy to get wrong: qkv_proj is [q | k | v] and gate_up_proj [gate | up]; only partial_rotary_factor of each head is rotated (Phi-4 mini); the long factors serve a whole
 * sequence once it is longer than original_max_position_embeddings, so its cached keys must be made again when it grows over that.
 */
#include "models/llama.h"

static void config(nc_model *m, void *self, nc_config *r)
{
    static const char *const dropouts[] = { "embd_pdrop", "resid_pdrop", NULL };
    nc_llama *c = self;
    c->fused_qkv = c->fused_gate_up = true;
    nc_llama_config(m, c, r, 10000);
    c->window = (int)nc_config_int(r, "sliding_window", 0);
    c->qkv_bias = c->o_bias = false;
    nc_config_ignore(r, dropouts);
}

const nc_family nc_family_phi3 = {
    .name = "phi3", .architectures = "Phi3ForCausalLM Phi3Model", .config = config, NC_LLAMA_KIN(nc_llama),
};

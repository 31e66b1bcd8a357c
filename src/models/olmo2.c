/* olmo2.c - OLMo 2 (Walsh et al. 2024): the Llama decoder with norms after the sublayers only, and q and k normed over all their heads at once.
 *
 *   x += rms(o(attention(rope(rms(q x)), rope(rms(k x)), v x)));   x += rms(down(silu(gate x) * up x))
 *
 * Easy to get wrong: nothing is normed before the products; post_attention_layernorm stands after the attention here, not before the MLP.
 */
#include "models/llama.h"

static void config(nc_model *m, void *self, nc_config *r)
{
    static const char *const norms[NC_BLOCK_NORMS] = { NULL, "post_attention_layernorm.weight", NULL, "post_feedforward_layernorm.weight" };
    nc_llama *c = self;
    c->norms = norms;
    c->qk_norm_whole = true;
    nc_llama_config(m, c, r, 10000);
}

const nc_family nc_family_olmo2 = {
    .name = "olmo2", .architectures = "Olmo2ForCausalLM Olmo2Model", .config = config, NC_LLAMA_KIN(nc_llama),
};

/* gemma.c - Gemma (Mesnard et al. 2024): the Llama decoder over embeddings times sqrt(D), norms that multiply by 1 + w, gated gelu, a tied head.
 *
 * Easy to get wrong: head_dim is 256 whatever the width; the activation is the tanh form although old configs say "gelu" in hidden_act.
 */
#include <math.h>

#include "models/llama.h"

static void config(nc_model *m, void *self, nc_config *r)
{
    static const char *const ignored[] = { "use_bidirectional_attention", "num_image_tokens", NULL };
    nc_llama *c = self;
    c->tied = true;
    c->norm_offset = 1;
    c->head_dim = 256;
    nc_llama_config(m, c, r, 10000);
    c->activation = (nc_unary)nc_config_activation(r, "hidden_activation", "gelu_pytorch_tanh");
    c->embed_scale = sqrtf((float)c->width);
    nc_config_ignore(r, ignored);
}

const nc_family nc_family_gemma = { .name = "gemma", .architectures = "GemmaForCausalLM GemmaModel", .config = config, NC_LLAMA_KIN(nc_llama) };

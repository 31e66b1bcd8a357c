/* mistral.c - Mistral (Jiang et al. 2023): the Llama decoder with grouped queries and, in its first version, a sliding window.
 *
 * Easy to get wrong: a window of w sees w tokens, the current one among them; null means none.
 */
#include "models/llama.h"

static void config(nc_model *m, void *self, nc_config *r)
{
    nc_llama *c = self;
    nc_llama_config(m, c, r, 10000);
    c->window = (int)nc_config_int(r, "sliding_window", 0);
}

static const char *const ignored[] = { "*rotary_emb.inv_freq", NULL };

const nc_family nc_family_mistral = {
    .name = "mistral", .architectures = "MistralForCausalLM MistralModel", .config = config, .ignored = ignored, .renames = nc_llama_renames, NC_LLAMA_KIN(nc_llama),
};

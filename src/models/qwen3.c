/* qwen3.c - Qwen3 (Qwen team 2025): the Llama decoder with an RMS norm over each head of q and k before the rotation.
 *
 * Easy to get wrong: head_dim is 128 whatever hidden_size / heads says; the sliding window is off unless use_sliding_window, and then only from layer max_window_layers on.
 */
#include "models/llama.h"

static void config(nc_model *m, void *self, nc_config *r)
{
    static const char *const read_elsewhere[] = { "sliding_window", "max_window_layers", "layer_types", NULL };
    nc_llama *c = self;
    c->tied = false;
    c->qk_norm = true;
    nc_llama_config(m, c, r, 1e6);
    nc_config_expect_bool(r, "use_sliding_window", false);
    nc_config_ignore(r, read_elsewhere);
}

const nc_family nc_family_qwen3 = {
    .name = "qwen3", .architectures = "Qwen3ForCausalLM Qwen3Model", .size = sizeof(nc_llama), .config = config, .weights = nc_llama_weights,
    .decoder = nc_llama_decoder, .head = nc_llama_head, .cache = nc_llama_cache,
};

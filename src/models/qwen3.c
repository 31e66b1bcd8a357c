/* qwen3.c - Qwen3 (Qwen team 2025): the Llama decoder with an RMS norm over each head of q and k before the rotation.
 *
 * Easy to get wrong: head_dim is 128 whatever hidden_size / heads says; the sliding window is off unless use_sliding_window, and then only from layer max_window_layers on.
 */
#include "models/qwen.h"

static void config(nc_model *m, void *self, nc_config *r)
{
    nc_llama *c = self;
    c->qk_norm = true;
    c->head_dim = 128;
    nc_llama_config(m, c, r, 1e6);
    nc_qwen_windows(m, c, r);
}

const nc_family nc_family_qwen3 = {
    .name = "qwen3", .architectures = "Qwen3ForCausalLM Qwen3Model", .config = config, .renames = nc_llama_renames, NC_LLAMA_KIN(nc_llama),
};

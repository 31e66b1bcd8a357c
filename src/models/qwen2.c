/* qwen2.c - Qwen2 and Qwen2.5 (Qwen team 2024): the Llama decoder with biases on q, k and v.
 *
 * Easy to get wrong: the biases are there whatever attention_bias says and o_proj has none; max_window_layers counts the layers that do not slide.
 */
#include "models/qwen.h"

void nc_qwen_windows(nc_model *m, nc_llama *c, nc_config *r)
{
    int window = (int)nc_config_int(r, "sliding_window", 4096), first = (int)nc_config_int(r, "max_window_layers", 28);
    nc_llama_windows(m, c, r, nc_config_bool(r, "use_sliding_window", false) ? window : 0, first, 0);
}

static void config(nc_model *m, void *self, nc_config *r)
{
    nc_llama *c = self;
    nc_llama_config(m, c, r, 10000);
    nc_qwen_windows(m, c, r);
    c->qkv_bias = true;
    c->o_bias = false;
}

static const char *const ignored[] = { "*rotary_emb.inv_freq", NULL };

const nc_family nc_family_qwen2 = {
    .name = "qwen2", .architectures = "Qwen2ForCausalLM Qwen2Model", .config = config, .ignored = ignored, .renames = nc_llama_renames, NC_LLAMA_KIN(nc_llama),
};

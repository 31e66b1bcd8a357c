/* gemma2.c - Gemma 2 (Riviere et al. 2024) and Gemma 3's text model (Gemma team 2025): the Llama decoder with norms before and after each sublayer.
 *
 *   x = sqrt(D) embed(ids);   x += rms(attention(rms x));   x += rms(mlp(rms x));   rms(x) = x / root(mean x^2 + eps) * (1 + w)
 *   scores q.k / sqrt(query_pre_attn_scalar); Gemma 2: scores and logits capped, c tanh(s / c); Gemma 3: q and k normed by head, two rotary bases
 *
 * Easy to get wrong: every norm multiplies by 1 + w; the scale is query_pre_attn_scalar's, not head_dim's; the cap comes before the mask; Gemma 2 slides on even
 * layers, Gemma 3 on five of six, with the local base on those and the scaling of the config on the full ones only.
 */
#include <math.h>

#include "models/llama.h"

static void common_config(nc_model *m, nc_llama *c, nc_config *r, double theta)
{
    static const char *const norms[NC_BLOCK_NORMS] = { "input_layernorm.weight", "post_attention_layernorm.weight", "pre_feedforward_layernorm.weight",
                                                       "post_feedforward_layernorm.weight" };
    static const char *const ignored[] = { "cache_implementation", "use_bidirectional_attention", NULL };
    c->norms = norms;
    c->tied = true;
    c->norm_offset = 1;
    c->head_dim = 256;
    nc_llama_config(m, c, r, theta);
    c->activation = (nc_unary)nc_config_activation(r, "hidden_activation", "gelu_pytorch_tanh");
    c->embed_scale = sqrtf((float)c->width);
    double scalar = nc_config_float(r, "query_pre_attn_scalar", 256);
    if (!(scalar > 0))
        nc_config_mistake(r, "query_pre_attn_scalar must be over 0");
    c->score_scale = 1 / sqrt(scalar);
    nc_config_ignore(r, ignored);
}

static void gemma2_config(nc_model *m, void *self, nc_config *r)
{
    nc_llama *c = self;
    common_config(m, c, r, 10000);
    c->score_cap = nc_config_float(r, "attn_logit_softcapping", 0);
    c->logit_cap = nc_config_float(r, "final_logit_softcapping", 0);
    nc_llama_windows(m, c, r, (int)nc_config_int(r, "sliding_window", 4096), 0, 2);
}

static void gemma3_config(nc_model *m, void *self, nc_config *r)
{
    nc_llama *c = self;
    c->qk_norm = c->two_ropes = true;
    common_config(m, c, r, 1e6);
    c->score_cap = nc_config_float(r, "attn_logit_softcapping", 0);
    c->logit_cap = nc_config_float(r, "final_logit_softcapping", 0);
    int period = (int)nc_config_int(r, "sliding_window_pattern", nc_config_int(r, "_sliding_window_pattern", 6));
    nc_llama_windows(m, c, r, (int)nc_config_int(r, "sliding_window", 4096), 0, period);
    nc_config_sliding_rope(r, c->head_dim, c->positions, nc_config_float(r, "rope_local_base_freq", 10000), c->rope_style, &c->sliding_rope);
}

const nc_family nc_family_gemma2 = {
    .name = "gemma2", .architectures = "Gemma2ForCausalLM Gemma2Model", .config = gemma2_config, NC_LLAMA_KIN(nc_llama),
};
const nc_family nc_family_gemma3_text = {
    .name = "gemma3_text", .architectures = "Gemma3ForCausalLM Gemma3TextModel", .config = gemma3_config, NC_LLAMA_KIN(nc_llama),
};

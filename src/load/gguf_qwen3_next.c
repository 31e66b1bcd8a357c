/* gguf_qwen3_next.c - Qwen3-Next: gated delta layers between attention layers, experts everywhere.
 *
 * Easy to get wrong: the fused q, k, v, z of the linear layers come head after head in the library's file; llama.cpp's attn_qkv holds all heads' q, then k, then v, and
 * attn_gate all z. Norms are stored as 1 + w, but for the gated norm of the linear layers.
 */
#include "load/gguf_arch.h"

#define BLOCK(site, file, part) { "model.layers.#." site, "blk.#." file, part }

static void qkvz(const nc_gguf_ask *ask, nc_gguf_home *out)
{
    const nc_json *c = ask->config;
    const int64_t heads = nc_gguf_config_int(c, "linear_num_key_heads", 16), values = nc_gguf_config_int(c, "linear_num_value_heads", 32);
    const int64_t k = nc_gguf_config_int(c, "linear_key_head_dim", 128), v = values / heads * nc_gguf_config_int(c, "linear_value_head_dim", 128);
    const int64_t columns = ask->site->shape.dim[1], each = 2 * k + 2 * v;
    const nc_shape fused = NC_SHAPE(heads * (2 * k + v), columns), gate = NC_SHAPE(heads * v, columns);
    out->count = 0;
    nc_gguf_rows_of_blocks(ask, out, "attn_qkv", fused, 0, each, 0, k, false);
    nc_gguf_rows_of_blocks(ask, out, "attn_qkv", fused, heads * k * columns, each, k, k, false);
    nc_gguf_rows_of_blocks(ask, out, "attn_qkv", fused, 2 * heads * k * columns, each, 2 * k, v, false);
    nc_gguf_rows_of_blocks(ask, out, "attn_gate", gate, 0, each, 2 * k + v, v, false);
}

static const nc_gguf_rule rules[] = {
    BLOCK("linear_attn.in_proj_qkvz.weight", "attn_qkv.weight", qkvz), BLOCK("linear_attn.in_proj_ba.", "ssm_ba.", NULL), BLOCK("linear_attn.conv1d.", "ssm_conv1d.", nc_gguf_as_matrix),
    BLOCK("linear_attn.dt_bias", "ssm_dt.bias", NULL), BLOCK("linear_attn.A_log", "ssm_a", nc_gguf_decay), BLOCK("linear_attn.norm.", "ssm_norm.", NULL),
    BLOCK("linear_attn.out_proj.", "ssm_out.", NULL),
    BLOCK("input_layernorm.", "attn_norm.", nc_gguf_plus_one), BLOCK("post_attention_layernorm.", "post_attention_norm.", nc_gguf_plus_one),
    BLOCK("self_attn.q_norm.", "attn_q_norm.", nc_gguf_plus_one), BLOCK("self_attn.k_norm.", "attn_k_norm.", nc_gguf_plus_one),
    { "model.norm.", "output_norm.", nc_gguf_plus_one }, { NULL, NULL, NULL },
};

static const nc_gguf_word words[] = {
    { "ssm.conv_kernel", NC_GGUF_U32, "linear_conv_kernel_dim", "4" }, { "ssm.state_size", NC_GGUF_U32, "linear_key_head_dim", "128" },
    { "ssm.group_count", NC_GGUF_U32, "linear_num_key_heads", "16" }, { "ssm.time_step_rank", NC_GGUF_U32, "linear_num_value_heads", "32" },
    { "full_attention_interval", NC_GGUF_U32, "full_attention_interval", "4" }, { NULL, 0, NULL, NULL },
};

static void more(const nc_gguf_words *w)
{
    const nc_json *factor = nc_gguf_rope_get(w->config, "partial_rotary_factor");
    const double part = factor ? nc_json_double(factor, 0.25) : nc_gguf_config_real(w->config, "partial_rotary_factor", 0.25);
    nc_gguf_rope_words(w);
    nc_gguf_word_int(w, "ssm.inner_size", nc_gguf_config_int(w->config, "linear_value_head_dim", 128) * nc_gguf_config_int(w->config, "linear_num_value_heads", 32));
    nc_gguf_word_int(w, "rope.dimension_count", (int64_t)(part * (double)nc_gguf_head_width(w->config)));
}

static void back(const nc_gguf_back *b)
{
    const int64_t values = nc_gguf_back_int(b, "ssm.time_step_rank", 32), width = nc_gguf_back_int(b, "attention.key_length", 256);
    nc_gguf_back_rope(b);
    nc_gguf_back_rename(b, "num_local_experts", "num_experts");
    nc_gguf_back_set_bool(b, "norm_topk_prob", true);
    if (values > 0)
        nc_gguf_back_set_int(b, "linear_value_head_dim", nc_gguf_back_int(b, "ssm.inner_size", 0) / values);
    if (width > 0)
        nc_json_set(b->a, b->config, "partial_rotary_factor", nc_json_new_double(b->a, (double)nc_gguf_back_int(b, "rope.dimension_count", width / 4) / (double)width));
}

const nc_gguf_arch nc_gguf_arch_qwen3_next = {
    .name = "qwen3next", .families = "qwen3_next", .rules = { rules, nc_gguf_moe_rules, nc_gguf_llama_rules }, .words = { nc_gguf_decoder_words, nc_gguf_moe_words, words }, .more = more, .back = back,
};

/* gguf_deepseek.c - DeepSeek V2, V3 and V3.2: latent attention in llama.cpp's absorbed form.
 *
 * Easy to get wrong: kv_b is cut into the keys' part, each head's turned ([heads, rank, nope]), and the values' ([heads, value, rank]); the file speaks of one key head
 * whose width is the latent's and the rotary key's.
 */
#include <string.h>

#include "load/gguf_arch.h"

#define BLOCK(site, file, part) { "model.layers.#." site, "blk.#." file, part }

static void kv_b(const nc_gguf_ask *ask, nc_gguf_home *out)
{
    const nc_json *c = ask->config;
    const int64_t heads = nc_gguf_config_int(c, "num_attention_heads", 1), nope = nc_gguf_config_int(c, "qk_nope_head_dim", 128), value = nc_gguf_config_int(c, "v_head_dim", 128);
    const int64_t rank = ask->site->shape.dim[1];
    out->count = 0;
    nc_gguf_rows_of_blocks(ask, out, "attn_k_b", NC_SHAPE(heads, rank, nope), 0, nope + value, 0, nope, true);
    nc_gguf_rows_of_blocks(ask, out, "attn_v_b", NC_SHAPE(heads, value, rank), 0, nope + value, nope, value, false);
}

static const nc_gguf_rule rules[] = {
    BLOCK("self_attn.kv_b_proj.weight", "attn_kv_b.weight", kv_b), BLOCK("self_attn.kv_a_proj_with_mqa.", "attn_kv_a_mqa.", NULL), BLOCK("self_attn.kv_a_layernorm.", "attn_kv_a_norm.", NULL),
    BLOCK("self_attn.q_a_proj.", "attn_q_a.", NULL), BLOCK("self_attn.q_b_proj.", "attn_q_b.", NULL), BLOCK("self_attn.q_a_layernorm.", "attn_q_a_norm.", NULL),
    BLOCK("self_attn.indexer.wq_b.", "indexer.attn_q_b.", NULL), BLOCK("self_attn.indexer.wk.", "indexer.attn_k.", NULL), BLOCK("self_attn.indexer.k_norm.", "indexer.k_norm.", NULL),
    BLOCK("self_attn.indexer.weights_proj.", "indexer.proj.", NULL), { NULL, NULL, NULL },
};

static const nc_gguf_word words[] = {
    { "block_count", NC_GGUF_U32, "num_hidden_layers", "0" }, { "context_length", NC_GGUF_U32, "max_position_embeddings", "2048" },
    { "embedding_length", NC_GGUF_U32, "hidden_size", "0" }, { "feed_forward_length", NC_GGUF_U32, "intermediate_size", "0" },
    { "attention.head_count", NC_GGUF_U32, "num_attention_heads", "0" }, { "attention.layer_norm_rms_epsilon", NC_GGUF_F32, "rms_norm_eps", "1e-6" },
    { "expert_count", NC_GGUF_U32, "n_routed_experts", NULL }, { "expert_used_count", NC_GGUF_U32, "num_experts_per_tok", NULL },
    { "expert_group_count", NC_GGUF_U32, "n_group", NULL }, { "expert_group_used_count", NC_GGUF_U32, "topk_group", NULL },
    { "expert_feed_forward_length", NC_GGUF_U32, "moe_intermediate_size|intermediate_size", "0" }, { "expert_shared_count", NC_GGUF_U32, "n_shared_experts", "0" },
    { "expert_weights_scale", NC_GGUF_F32, "routed_scaling_factor", NULL }, { "vocab_size", NC_GGUF_U32, "vocab_size", "0" },
    { "attention.q_lora_rank", NC_GGUF_U32, "q_lora_rank", NULL }, { "attention.kv_lora_rank", NC_GGUF_U32, "kv_lora_rank", "512" },
    { "attention.value_length", NC_GGUF_U32, "kv_lora_rank", "512" }, { "attention.value_length_mla", NC_GGUF_U32, "v_head_dim", "128" },
    { "rope.dimension_count", NC_GGUF_U32, "qk_rope_head_dim", "64" }, { NULL, 0, NULL, NULL },
};
static const nc_gguf_word indexer_words[] = {
    { "attention.indexer.head_count", NC_GGUF_U32, "index_n_heads", "64" }, { "attention.indexer.key_length", NC_GGUF_U32, "index_head_dim", "128" },
    { "attention.indexer.top_k", NC_GGUF_U32, "index_topk", "2048" }, { "nextn_predict_layers", NC_GGUF_U32, "", "0" }, { NULL, 0, NULL, NULL },
};

static void more(const nc_gguf_words *w)
{
    const nc_json *c = w->config, *mscale = nc_gguf_rope_get(c, "mscale_all_dim");
    const int64_t rope = nc_gguf_config_int(c, "qk_rope_head_dim", 64), layers = nc_gguf_config_int(c, "num_hidden_layers", 0);
    const char *type = nc_json_string(nc_json_get(c, "model_type"), ""), *score = nc_json_string(nc_json_get(c, "scoring_func"), strcmp(type, "deepseek_v2") ? "sigmoid" : "softmax");
    nc_gguf_rope_words(w);
    nc_gguf_word_int(w, "attention.head_count_kv", 1);
    nc_gguf_word_int(w, "attention.key_length", nc_gguf_config_int(c, "kv_lora_rank", 512) + rope);
    nc_gguf_word_int(w, "attention.key_length_mla", nc_gguf_config_int(c, "qk_nope_head_dim", 128) + rope);
    nc_gguf_word_int(w, "leading_dense_block_count", nc_gguf_config_int(c, "first_k_dense_replace", nc_json_get(c, "n_routed_experts") ? 0 : layers));
    nc_gguf_word_int(w, "expert_gating_func", !strcmp(score, "sigmoid") ? 2 : 1);
    if (nc_json_bool(nc_json_get(c, "norm_topk_prob"), false))
        nc_gguf_word_bool(w, "expert_weights_norm", true);
    if (mscale)
        nc_gguf_word_real(w, "rope.scaling.yarn_log_multiplier", 0.1 * nc_json_double(mscale, 0));
}

/* V3 is the one whose router is a sigmoid; V2's groups are chosen by their best expert. */
static void back(const nc_gguf_back *b)
{
    const bool sigmoid = nc_gguf_back_int(b, "expert_gating_func", 1) == 2, is_32 = !strcmp(b->architecture, "deepseek32");
    const double mscale = 10 * nc_gguf_back_real(b, "rope.scaling.yarn_log_multiplier", 0);
    nc_json *scaling;
    nc_gguf_back_rope(b);
    if (!is_32)
        nc_gguf_back_set_text(b, "model_type", sigmoid ? "deepseek_v3" : "deepseek_v2");
    nc_gguf_back_set_text(b, "topk_method", sigmoid ? "noaux_tc" : nc_gguf_back_int(b, "expert_group_count", 1) > 1 ? "group_limited_greedy" : "greedy");
    nc_gguf_back_set_text(b, "scoring_func", sigmoid ? "sigmoid" : "softmax");
    nc_gguf_back_set_bool(b, "norm_topk_prob", nc_gguf_back_int(b, "expert_weights_norm", 0) != 0);
    nc_gguf_back_set_int(b, "first_k_dense_replace", nc_gguf_back_int(b, "leading_dense_block_count", 0));
    nc_gguf_back_set_int(b, "num_key_value_heads", nc_gguf_back_int(b, "attention.head_count", 1));
    nc_gguf_back_set_int(b, "qk_nope_head_dim", nc_gguf_back_int(b, "attention.key_length_mla", 192) - nc_gguf_back_int(b, "rope.dimension_count", 64));
    if (mscale > 0 && (scaling = (nc_json *)(uintptr_t)nc_json_get(b->config, "rope_scaling"))) {
        nc_gguf_back inner = *b;
        inner.config = scaling;
        nc_gguf_back_set_real(&inner, "mscale", mscale);
        nc_gguf_back_set_real(&inner, "mscale_all_dim", mscale);
    }
}

const nc_gguf_arch nc_gguf_arch_deepseek2 = {
    .name = "deepseek2", .families = "deepseek_v2 deepseek_v3", .rules = { rules, nc_gguf_moe_rules, nc_gguf_llama_rules }, .words = { words }, .more = more, .back = back,
};
const nc_gguf_arch nc_gguf_arch_deepseek32 = {
    .name = "deepseek32", .families = "deepseek_v32", .rules = { rules, nc_gguf_moe_rules, nc_gguf_llama_rules }, .words = { words, indexer_words }, .more = more, .back = back,
};

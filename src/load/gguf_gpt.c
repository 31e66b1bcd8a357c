/* gguf_gpt.c - GPT-2, GPT-NeoX and BLOOM. The last two keep a head's q, k and v together; llama.cpp's attn_qkv has all heads' q, then k, then v. */
#include "load/gguf_arch.h"

static const nc_gguf_rule gpt2_rules[] = {
    { "transformer.wte.", "token_embd.", NULL }, { "transformer.wpe.", "position_embd.", NULL }, { "transformer.ln_f.", "output_norm.", NULL }, { "lm_head.", "output.", NULL },
    { "transformer.h.#.ln_1.", "blk.#.attn_norm.", NULL }, { "transformer.h.#.attn.c_attn.", "blk.#.attn_qkv.", NULL }, { "transformer.h.#.attn.c_proj.", "blk.#.attn_output.", NULL },
    { "transformer.h.#.ln_2.", "blk.#.ffn_norm.", NULL }, { "transformer.h.#.mlp.c_fc.", "blk.#.ffn_up.", NULL }, { "transformer.h.#.mlp.c_proj.", "blk.#.ffn_down.", NULL },
    { NULL, NULL, NULL },
};
static const nc_gguf_rule gpt_neox_rules[] = {
    { "gpt_neox.embed_in.", "token_embd.", NULL }, { "gpt_neox.final_layer_norm.", "output_norm.", NULL }, { "embed_out.", "output.", NULL },
    { "gpt_neox.layers.#.input_layernorm.", "blk.#.attn_norm.", NULL }, { "gpt_neox.layers.#.attention.query_key_value.", "blk.#.attn_qkv.", nc_gguf_qkv },
    { "gpt_neox.layers.#.attention.dense.", "blk.#.attn_output.", NULL }, { "gpt_neox.layers.#.post_attention_layernorm.", "blk.#.ffn_norm.", NULL },
    { "gpt_neox.layers.#.mlp.dense_h_to_4h.", "blk.#.ffn_up.", NULL }, { "gpt_neox.layers.#.mlp.dense_4h_to_h.", "blk.#.ffn_down.", NULL }, { NULL, NULL, NULL },
};
static const nc_gguf_rule bloom_rules[] = {
    { "transformer.word_embeddings.", "token_embd.", NULL }, { "transformer.word_embeddings_layernorm.", "token_embd_norm.", NULL }, { "transformer.ln_f.", "output_norm.", NULL },
    { "lm_head.", "output.", NULL }, { "transformer.h.#.input_layernorm.", "blk.#.attn_norm.", NULL },
    { "transformer.h.#.self_attention.query_key_value.", "blk.#.attn_qkv.", nc_gguf_qkv }, { "transformer.h.#.self_attention.dense.", "blk.#.attn_output.", NULL },
    { "transformer.h.#.post_attention_layernorm.", "blk.#.ffn_norm.", NULL }, { "transformer.h.#.mlp.dense_h_to_4h.", "blk.#.ffn_up.", NULL },
    { "transformer.h.#.mlp.dense_4h_to_h.", "blk.#.ffn_down.", NULL }, { NULL, NULL, NULL },
};

static const nc_gguf_word gpt2_words[] = {
    { "block_count", NC_GGUF_U32, "n_layer", "12" }, { "context_length", NC_GGUF_U32, "n_positions|n_ctx", "1024" }, { "embedding_length", NC_GGUF_U32, "n_embd", "768" },
    { "attention.head_count", NC_GGUF_U32, "n_head", "12" }, { "attention.layer_norm_epsilon", NC_GGUF_F32, "layer_norm_epsilon", "1e-5" }, { NULL, 0, NULL, NULL },
};
static const nc_gguf_word gpt_neox_words[] = {
    { "block_count", NC_GGUF_U32, "num_hidden_layers", "44" }, { "context_length", NC_GGUF_U32, "max_position_embeddings", "2048" },
    { "embedding_length", NC_GGUF_U32, "hidden_size", "6144" }, { "feed_forward_length", NC_GGUF_U32, "intermediate_size", "24576" },
    { "attention.head_count", NC_GGUF_U32, "num_attention_heads", "64" }, { "use_parallel_residual", NC_GGUF_BOOL, "use_parallel_residual", "1" },
    { "attention.layer_norm_epsilon", NC_GGUF_F32, "layer_norm_eps", "1e-5" }, { NULL, 0, NULL, NULL },
};
static const nc_gguf_word bloom_words[] = {
    { "block_count", NC_GGUF_U32, "n_layer|num_hidden_layers", "2" }, { "context_length", NC_GGUF_U32, "seq_length|hidden_size|n_embed", "2048" },
    { "embedding_length", NC_GGUF_U32, "hidden_size|n_embed", "64" }, { "attention.head_count", NC_GGUF_U32, "n_head|num_attention_heads", "8" },
    { "attention.head_count_kv", NC_GGUF_U32, "n_head|num_attention_heads", "8" }, { "attention.layer_norm_epsilon", NC_GGUF_F32, "layer_norm_epsilon", "1e-5" },
    { NULL, 0, NULL, NULL },
};

static void gpt2_more(const nc_gguf_words *w) { nc_gguf_word_int(w, "feed_forward_length", nc_gguf_config_int(w->config, "n_inner", 4 * nc_gguf_config_int(w->config, "n_embd", 768))); }
static void bloom_more(const nc_gguf_words *w) { nc_gguf_word_int(w, "feed_forward_length", 4 * nc_gguf_config_int(w->config, "hidden_size|n_embed", 64)); }

/* The base is 10000 where llama.cpp is not told another. */
static void gpt_neox_more(const nc_gguf_words *w)
{
    const nc_json *c = w->config, *said = nc_gguf_rope_get(c, "rope_theta"), *part = nc_gguf_rope_get(c, "partial_rotary_factor");
    nc_gguf_word_int(w, "rope.dimension_count", (int64_t)((part ? nc_json_double(part, 0.25) : nc_gguf_config_real(c, "rotary_pct", 0.25)) * (double)nc_gguf_head_width(c)));
    nc_gguf_word_real(w, "rope.freq_base", said ? nc_json_double(said, 10000) : nc_gguf_config_real(c, "rotary_emb_base|rope_theta", 10000));
}

static void gpt2_back(const nc_gguf_back *b) { nc_gguf_back_set_int(b, "n_inner", nc_gguf_back_int(b, "feed_forward_length", 4 * nc_gguf_back_int(b, "embedding_length", 768))); }

static void gpt_neox_back(const nc_gguf_back *b)
{
    const int64_t heads = nc_gguf_back_int(b, "attention.head_count", 64), width = heads > 0 ? nc_gguf_back_int(b, "embedding_length", 0) / heads : 0;
    if (width > 0)
        nc_json_set(b->a, b->config, "rotary_pct", nc_json_new_double(b->a, (double)nc_gguf_back_int(b, "rope.dimension_count", width / 4) / (double)width));
    nc_gguf_back_set_real(b, "rotary_emb_base", nc_gguf_back_real(b, "rope.freq_base", 10000));
    nc_gguf_back_set_bool(b, "attention_bias", nc_gguf_back_has(b, "blk.0.attn_qkv.bias"));
}

/* BLOOM's positions have no end; the file's context_length is a guess of the converter's. */
static void bloom_back(const nc_gguf_back *b) { nc_gguf_back_rename(b, "seq_length", NULL); }

const nc_gguf_arch nc_gguf_arch_gpt2 = { .name = "gpt2", .families = "gpt2", .rules = { gpt2_rules }, .words = { gpt2_words }, .more = gpt2_more, .back = gpt2_back };
const nc_gguf_arch nc_gguf_arch_gpt_neox = { .name = "gptneox", .families = "gpt_neox", .rules = { gpt_neox_rules }, .words = { gpt_neox_words }, .own_head = true,
                                               .more = gpt_neox_more, .back = gpt_neox_back };
const nc_gguf_arch nc_gguf_arch_bloom = { .name = "bloom", .families = "bloom", .rules = { bloom_rules }, .words = { bloom_words }, .more = bloom_more, .back = bloom_back };

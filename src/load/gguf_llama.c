/* gguf_llama.c - decoders of llama's kind: the same blocks, with experts, other norms or fused products.
 *
 * Easy to get wrong: what llama.cpp calls llama (Mistral and Mixtral too) rotates neighbours, so that rows of q and k move; all others rotate halves as the library does.
 * Gemma's norms are stored as 1 + w. ffn_norm is the norm before the feed-forward, whatever the library calls it.
 */
#include <math.h>
#include <string.h>

#include "load/gguf_arch.h"

#define BLOCK(site, file) { "model.layers.#." site, "blk.#." file, NULL }
#define BLOCK_AS(site, file, part) { "model.layers.#." site, "blk.#." file, part }
#define EXPERT(site, file) BLOCK_AS(site, file, nc_gguf_expert)

const nc_gguf_rule nc_gguf_llama_rules[] = {
    { "model.embed_tokens.", "token_embd.", NULL }, { "model.norm.", "output_norm.", NULL }, { "lm_head.", "output.", NULL },
    BLOCK("input_layernorm.", "attn_norm."), BLOCK("post_attention_layernorm.", "ffn_norm."),
    BLOCK("self_attn.q_proj.", "attn_q."), BLOCK("self_attn.k_proj.", "attn_k."), BLOCK("self_attn.v_proj.", "attn_v."), BLOCK("self_attn.o_proj.", "attn_output."),
    BLOCK("self_attn.q_norm.", "attn_q_norm."), BLOCK("self_attn.k_norm.", "attn_k_norm."),
    BLOCK("mlp.gate_proj.", "ffn_gate."), BLOCK("mlp.up_proj.", "ffn_up."), BLOCK("mlp.down_proj.", "ffn_down."),
    { NULL, NULL, NULL },
};
const nc_gguf_rule nc_gguf_moe_rules[] = {
    BLOCK("mlp.gate.weight", "ffn_gate_inp.weight"), BLOCK("mlp.gate.e_score_correction_bias", "exp_probs_b.bias"), BLOCK("mlp.shared_expert_gate.", "ffn_gate_inp_shexp."),
    EXPERT("mlp.experts.@.gate_proj.weight", "ffn_gate_exps.weight"), EXPERT("mlp.experts.@.up_proj.weight", "ffn_up_exps.weight"),
    EXPERT("mlp.experts.@.down_proj.weight", "ffn_down_exps.weight"),
    BLOCK("mlp.shared_expert.gate_proj.", "ffn_gate_shexp."), BLOCK("mlp.shared_expert.up_proj.", "ffn_up_shexp."), BLOCK("mlp.shared_expert.down_proj.", "ffn_down_shexp."),
    BLOCK("mlp.shared_experts.gate_proj.", "ffn_gate_shexp."), BLOCK("mlp.shared_experts.up_proj.", "ffn_up_shexp."), BLOCK("mlp.shared_experts.down_proj.", "ffn_down_shexp."),
    { NULL, NULL, NULL },
};
static const nc_gguf_rule neighbours[] = {
    BLOCK_AS("self_attn.q_proj.", "attn_q.", nc_gguf_neighbours), BLOCK_AS("self_attn.k_proj.", "attn_k.", nc_gguf_neighbours),
    BLOCK("block_sparse_moe.gate.", "ffn_gate_inp."), EXPERT("block_sparse_moe.experts.@.w1.weight", "ffn_gate_exps.weight"),
    EXPERT("block_sparse_moe.experts.@.w2.weight", "ffn_down_exps.weight"), EXPERT("block_sparse_moe.experts.@.w3.weight", "ffn_up_exps.weight"),
    { NULL, NULL, NULL },
};
static const nc_gguf_rule gemma_rules[] = {
    BLOCK_AS("input_layernorm.", "attn_norm.", nc_gguf_plus_one), BLOCK_AS("post_attention_layernorm.", "ffn_norm.", nc_gguf_plus_one),
    { "model.norm.", "output_norm.", nc_gguf_plus_one }, { NULL, NULL, NULL },
};
static const nc_gguf_rule gemma2_rules[] = {
    BLOCK_AS("input_layernorm.", "attn_norm.", nc_gguf_plus_one), BLOCK_AS("post_attention_layernorm.", "post_attention_norm.", nc_gguf_plus_one),
    BLOCK_AS("pre_feedforward_layernorm.", "ffn_norm.", nc_gguf_plus_one), BLOCK_AS("post_feedforward_layernorm.", "post_ffw_norm.", nc_gguf_plus_one),
    BLOCK_AS("self_attn.q_norm.", "attn_q_norm.", nc_gguf_plus_one), BLOCK_AS("self_attn.k_norm.", "attn_k_norm.", nc_gguf_plus_one),
    { "model.norm.", "output_norm.", nc_gguf_plus_one }, { NULL, NULL, NULL },
};
static const nc_gguf_rule olmo2_rules[] = {
    BLOCK("post_attention_layernorm.", "post_attention_norm."), BLOCK("post_feedforward_layernorm.", "post_ffw_norm."), { NULL, NULL, NULL },
};
static const nc_gguf_rule fused_rules[] = {
    BLOCK("self_attn.qkv_proj.", "attn_qkv."), BLOCK("mlp.gate_up_proj.", "ffn_up."), BLOCK("post_self_attn_layernorm.", "post_attention_norm."),
    BLOCK("post_mlp_layernorm.", "post_ffw_norm."), { NULL, NULL, NULL },
};

const nc_gguf_word nc_gguf_decoder_words[] = {
    { "block_count", NC_GGUF_U32, "num_hidden_layers", "0" }, { "context_length", NC_GGUF_U32, "max_position_embeddings", "2048" },
    { "embedding_length", NC_GGUF_U32, "hidden_size", "0" }, { "feed_forward_length", NC_GGUF_U32, "intermediate_size", "0" },
    { "attention.head_count", NC_GGUF_U32, "num_attention_heads", "0" }, { "attention.head_count_kv", NC_GGUF_U32, "num_key_value_heads|num_attention_heads", "0" },
    { "attention.layer_norm_rms_epsilon", NC_GGUF_F32, "rms_norm_eps", "1e-6" },
    { "attention.key_length", NC_GGUF_U32, "head_dim", NULL }, { "attention.value_length", NC_GGUF_U32, "head_dim", NULL },
    { NULL, 0, NULL, NULL },
};
const nc_gguf_word nc_gguf_moe_words[] = {
    { "expert_count", NC_GGUF_U32, "num_local_experts|num_experts|n_routed_experts", NULL }, { "expert_used_count", NC_GGUF_U32, "num_experts_per_tok", NULL },
    { "expert_feed_forward_length", NC_GGUF_U32, "moe_intermediate_size", NULL }, { "expert_shared_feed_forward_length", NC_GGUF_U32, "shared_expert_intermediate_size", NULL },
    { NULL, 0, NULL, NULL },
};
static const nc_gguf_word gemma2_words[] = {
    { "attn_logit_softcapping", NC_GGUF_F32, "attn_logit_softcapping", "50" }, { "final_logit_softcapping", NC_GGUF_F32, "final_logit_softcapping", "30" },
    { "attention.sliding_window", NC_GGUF_U32, "sliding_window", "4096" }, { NULL, 0, NULL, NULL },
};

static void llama_more(const nc_gguf_words *w)
{
    nc_gguf_rope_words(w);
    nc_gguf_word_int(w, "vocab_size", nc_gguf_config_int(w->config, "vocab_size", 0));
    nc_gguf_word_int(w, "rope.dimension_count", nc_gguf_head_width(w->config));
    if (nc_gguf_config_int(w->config, "sliding_window", 0) > 0)
        nc_gguf_word_int(w, "attention.sliding_window", nc_gguf_config_int(w->config, "sliding_window", 0));
}

static void gemma_more(const nc_gguf_words *w)
{
    const int64_t width = nc_gguf_config_int(w->config, "head_dim", 256);
    nc_gguf_word_int(w, "attention.key_length", width);
    nc_gguf_word_int(w, "attention.value_length", width);
}

/* llama.cpp counts every sixth layer as full unless the pattern is said. */
static void gemma3_more(const nc_gguf_words *w)
{
    const nc_json *types = nc_json_get(w->config, "layer_types"), *local = nc_json_path(w->config, "rope_parameters.sliding_attention.rope_theta");
    int period = (int)nc_gguf_config_int(w->config, "sliding_window_pattern|_sliding_window_pattern", 0);
    gemma_more(w);
    nc_gguf_rope_words(w);
    if (!nc_gguf_rope_get(w->config, "rope_theta") && !nc_json_get(w->config, "rope_theta"))
        nc_gguf_word_real(w, "rope.freq_base", 1000000);
    nc_gguf_word_real(w, "rope.freq_base_swa", local ? nc_json_double(local, 10000) : nc_gguf_config_real(w->config, "rope_local_base_freq", 10000));
    nc_gguf_word_int(w, "attention.sliding_window", nc_gguf_config_int(w->config, "sliding_window", 4096));
    if (nc_gguf_config_get(w->config, "final_logit_softcapping"))
        nc_gguf_word_real(w, "final_logit_softcapping", nc_gguf_config_real(w->config, "final_logit_softcapping", 0));
    if (!period && types)
        NC_JSON_EACH(t, types) {
            period++;
            if (!strcmp(nc_json_string(t, ""), "full_attention"))
                break;
        }
    nc_gguf_word_int(w, "attention.sliding_window_pattern", period ? period : 6);
}

/* llama 3: wavelengths beyond the low bound are divided by factor, those below the high bound kept, between them blended. */
static int llama3_factors(nc_arena *a, const nc_json *c, nc_gguf_extra out[NC_GGUF_EXTRAS])
{
    if (strcmp(nc_gguf_rope_type(c), "llama3"))
        return 0;
    const double factor = nc_json_double(nc_gguf_rope_get(c, "factor"), 8), low = nc_json_double(nc_gguf_rope_get(c, "low_freq_factor"), 1);
    const double high = nc_json_double(nc_gguf_rope_get(c, "high_freq_factor"), 4), context = nc_json_double(nc_gguf_rope_get(c, "original_max_position_embeddings"), 8192);
    const double theta = nc_gguf_rope_theta(c), width = (double)nc_gguf_head_width(c);
    const int count = (int)width / 2;
    float *factors = NC_NEW_ARRAY(a, float, count + 1);
    for (int i = 0; i < count; i++) {
        double wavelength = 2 * M_PI * pow(theta, 2.0 * i / width);
        double smooth = (context / wavelength - low) / (high - low);
        factors[i] = (float)(wavelength < context / high ? 1 : wavelength > context / low ? factor : 1 / ((1 - smooth) / factor + smooth));
    }
    out[0] = (nc_gguf_extra){ "rope_freqs.weight", factors, count };
    return 1;
}

static double partial(const nc_json *c, double otherwise)
{
    const nc_json *v = nc_gguf_rope_get(c, "partial_rotary_factor");
    return v ? nc_json_double(v, otherwise) : nc_gguf_config_real(c, "partial_rotary_factor", otherwise);
}

static int64_t original_context(const nc_json *c)
{
    const int64_t own = nc_gguf_config_int(c, "original_max_position_embeddings", nc_gguf_config_int(c, "max_position_embeddings", 4096));
    return nc_json_int(nc_gguf_rope_get(c, "original_max_position_embeddings"), own);
}

/* A window of 0 marks those without one. rope.scaling.type stays unsaid, as in the converter's files: the factors' tensors say it. */
static void phi3_more(const nc_gguf_words *w)
{
    const nc_json *c = w->config;
    const double original = (double)original_context(c), scale = (double)nc_gguf_config_int(c, "max_position_embeddings", 4096) / original;
    nc_gguf_word_real(w, "rope.freq_base", nc_gguf_rope_theta(c));
    nc_gguf_word_int(w, "rope.scaling.original_context_length", (int64_t)original);
    nc_gguf_word_int(w, "rope.dimension_count", (int64_t)(partial(c, 1) * (double)nc_gguf_head_width(c)));
    nc_gguf_word_int(w, "attention.sliding_window", nc_gguf_config_int(c, "sliding_window", 0));
    if (nc_gguf_rope_get(c, "long_factor"))
        nc_gguf_word_real(w, "rope.scaling.attn_factor", scale > 1 ? sqrt(1 + log(scale) / log(original)) : 1);
}

static int phi3_factors(nc_arena *a, const nc_json *c, nc_gguf_extra out[NC_GGUF_EXTRAS])
{
    static const char *const keys[] = { "long_factor", "short_factor" }, *const names[] = { "rope_factors_long.weight", "rope_factors_short.weight" };
    for (int i = 0; i < 2; i++) {
        const nc_json *list = nc_gguf_rope_get(c, keys[i]);
        if (!nc_json_is(list, NC_JSON_ARRAY))
            return 0;
        out[i] = (nc_gguf_extra){ names[i], NC_NEW_ARRAY(a, float, list->count + 1), 0 };
        NC_JSON_EACH(v, list)
            out[i].values[out[i].count++] = (float)nc_json_double(v, 1);
    }
    return 2;
}

static void glm4_more(const nc_gguf_words *w)
{
    nc_gguf_rope_words(w);
    nc_gguf_word_int(w, "rope.dimension_count", (int64_t)(partial(w->config, 0.5) * (double)nc_gguf_head_width(w->config)));
}

/* ---- and back ---- */

static nc_json *factors_back(const nc_gguf_back *b, const char *tensor)
{
    const nc_stored *t = nc_gguf_find(b->g, tensor);
    nc_json *list = nc_json_new(b->a, NC_JSON_ARRAY);
    for (int64_t i = 0; t && t->dtype == NC_F32 && i < nc_shape_count(&t->shape); i++)
        nc_json_append(list, nc_json_new_double(b->a, nc_dtype_load(NC_F32, t->data, i)));
    return list;
}

/* Frequencies divided by a file's factors: LongRoPE's form says just that. attention 0: what its own rule makes. */
static void back_factors(const nc_gguf_back *b, const char *long_tensor, const char *short_tensor, double attention)
{
    nc_gguf_back scaling = *b;
    scaling.config = nc_json_new(b->a, NC_JSON_OBJECT);
    nc_gguf_back_set_text(&scaling, "rope_type", "longrope");
    nc_json_set(b->a, scaling.config, "long_factor", factors_back(b, long_tensor));
    nc_json_set(b->a, scaling.config, "short_factor", factors_back(b, short_tensor));
    if (attention > 0)
        nc_gguf_back_set_real(&scaling, "attention_factor", attention);
    nc_json_set(b->a, b->config, "rope_scaling", scaling.config);
}

static void llama_back(const nc_gguf_back *b)
{
    const int64_t window = nc_gguf_back_int(b, "attention.sliding_window", 0);
    const bool experts = nc_gguf_back_int(b, "expert_count", 0) > 0;
    nc_gguf_back_rope(b);
    if (nc_gguf_back_has(b, "rope_freqs.weight"))                    /* Llama 3's */
        back_factors(b, "rope_freqs.weight", "rope_freqs.weight", 1);
    if (experts || window)
        nc_gguf_back_set_text(b, "model_type", experts ? "mixtral" : "mistral");
    if (!experts)
        nc_gguf_back_rename(b, "num_local_experts", NULL), nc_gguf_back_rename(b, "num_experts_per_tok", NULL);
    if (window)
        nc_gguf_back_set_int(b, "sliding_window", window);
    if (nc_gguf_back_has(b, "blk.0.attn_q.bias"))
        nc_gguf_back_set_bool(b, "attention_bias", true);
    if (nc_gguf_back_has(b, "blk.0.ffn_up.bias"))
        nc_gguf_back_set_bool(b, "mlp_bias", true);
}

/* llama.cpp divides the chosen experts' shares by their sum in qwen3moe, not in qwen2moe. */
static void qwen2_moe_back(const nc_gguf_back *b)
{
    nc_gguf_back_rope(b);
    nc_gguf_back_rename(b, "num_local_experts", "num_experts");
    nc_gguf_back_set_bool(b, "norm_topk_prob", false);
}

static void qwen3_moe_back(const nc_gguf_back *b)
{
    qwen2_moe_back(b);
    nc_gguf_back_set_bool(b, "norm_topk_prob", true);
}

/* llama.cpp scales by the head's width but in the models of 27 billion, which it knows by their layers. */
static void gemma_back(const nc_gguf_back *b)
{
    const bool is_2 = !strcmp(b->architecture, "gemma2"), is_3 = !strcmp(b->architecture, "gemma3");
    const int64_t layers = nc_gguf_back_int(b, "block_count", 0), heads = nc_gguf_back_int(b, "attention.head_count", 1), width = nc_gguf_back_int(b, "attention.key_length", 256);
    const bool by_hidden = (is_2 && layers == 46) || (is_3 && layers == 62);
    if (is_2 || is_3)
        nc_gguf_back_set_int(b, "query_pre_attn_scalar", by_hidden && heads > 0 ? nc_gguf_back_int(b, "embedding_length", 0) / heads : width);
    if (!is_3)
        return;
    nc_gguf_back_rope(b);
    nc_gguf_back_set_real(b, "rope_theta", nc_gguf_back_real(b, "rope.freq_base", 1000000));
    nc_gguf_back_set_real(b, "rope_local_base_freq", nc_gguf_back_real(b, "rope.freq_base_swa", 10000));
    nc_gguf_back_set_int(b, "sliding_window", nc_gguf_back_int(b, "attention.sliding_window", 4096));
    nc_gguf_back_set_int(b, "sliding_window_pattern", nc_gguf_back_int(b, "attention.sliding_window_pattern", 6));
    if (nc_gguf_back_real(b, "final_logit_softcapping", 0) > 0)
        nc_gguf_back_set_real(b, "final_logit_softcapping", nc_gguf_back_real(b, "final_logit_softcapping", 0));
}

static void back_partial(const nc_gguf_back *b)
{
    const int64_t heads = nc_gguf_back_int(b, "attention.head_count", 1), all = nc_gguf_back_int(b, "attention.key_length", heads > 0 ? nc_gguf_back_int(b, "embedding_length", 0) / heads : 1);
    const int64_t rotated = nc_gguf_back_int(b, "rope.dimension_count", all);
    if (all > 0 && rotated > 0 && rotated < all)
        nc_json_set(b->a, b->config, "partial_rotary_factor", nc_json_new_double(b->a, (double)rotated / (double)all));
}

static void phi3_back(const nc_gguf_back *b)
{
    const int64_t window = nc_gguf_back_int(b, "attention.sliding_window", 0);
    nc_gguf_back_rope(b);
    back_partial(b);
    nc_gguf_back_set_int(b, "original_max_position_embeddings", nc_gguf_back_int(b, "rope.scaling.original_context_length", nc_gguf_back_int(b, "context_length", 4096)));
    if (window > 0)
        nc_gguf_back_set_int(b, "sliding_window", window);
    if (nc_gguf_back_has(b, "rope_factors_long.weight"))
        back_factors(b, "rope_factors_long.weight", "rope_factors_short.weight", nc_gguf_back_real(b, "rope.scaling.attn_factor", 0));
}

static void glm4_back(const nc_gguf_back *b)
{
    nc_gguf_back_rope(b);
    back_partial(b);
    nc_gguf_back_set_bool(b, "attention_bias", nc_gguf_back_has(b, "blk.0.attn_q.bias"));
}

#define LLAMA(word, family) .name = word, .families = family, .words = { nc_gguf_decoder_words, nc_gguf_moe_words }

const nc_gguf_arch nc_gguf_arch_llama = { LLAMA("llama", "llama mistral mixtral"), .rules = { neighbours, nc_gguf_llama_rules }, .more = llama_more, .back = llama_back, .extra = llama3_factors };
const nc_gguf_arch nc_gguf_arch_qwen2 = { LLAMA("qwen2", "qwen2"), .rules = { nc_gguf_llama_rules }, .more = nc_gguf_rope_words, .back = nc_gguf_back_rope };
const nc_gguf_arch nc_gguf_arch_qwen2_moe = { LLAMA("qwen2moe", "qwen2_moe"), .own_head = true, .rules = { nc_gguf_moe_rules, nc_gguf_llama_rules },
                                                .more = nc_gguf_rope_words, .back = qwen2_moe_back };
const nc_gguf_arch nc_gguf_arch_qwen3 = { LLAMA("qwen3", "qwen3"), .rules = { nc_gguf_llama_rules }, .more = nc_gguf_rope_words, .back = nc_gguf_back_rope };
const nc_gguf_arch nc_gguf_arch_qwen3_moe = { LLAMA("qwen3moe", "qwen3_moe"), .rules = { nc_gguf_moe_rules, nc_gguf_llama_rules }, .more = nc_gguf_rope_words, .back = qwen3_moe_back };
const nc_gguf_arch nc_gguf_arch_olmo2 = { LLAMA("olmo2", "olmo2"), .own_head = true, .rules = { olmo2_rules, nc_gguf_llama_rules }, .more = nc_gguf_rope_words, .back = nc_gguf_back_rope };
const nc_gguf_arch nc_gguf_arch_glm4 = { LLAMA("glm4", "glm4"), .rules = { fused_rules, nc_gguf_llama_rules }, .more = glm4_more, .back = glm4_back };
const nc_gguf_arch nc_gguf_arch_phi3 = { LLAMA("phi3", "phi3"), .rules = { fused_rules, nc_gguf_llama_rules }, .more = phi3_more, .back = phi3_back, .extra = phi3_factors };
const nc_gguf_arch nc_gguf_arch_gemma = { LLAMA("gemma", "gemma"), .rules = { gemma_rules, nc_gguf_llama_rules }, .more = gemma_more, .back = gemma_back };
const nc_gguf_arch nc_gguf_arch_gemma2 = {
    .name = "gemma2", .families = "gemma2", .rules = { gemma2_rules, nc_gguf_llama_rules }, .words = { nc_gguf_decoder_words, gemma2_words }, .more = gemma_more, .back = gemma_back,
};
const nc_gguf_arch nc_gguf_arch_gemma3 = { LLAMA("gemma3", "gemma3_text"), .rules = { gemma2_rules, nc_gguf_llama_rules }, .more = gemma3_more, .back = gemma_back };

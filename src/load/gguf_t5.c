/* gguf_t5.c - T5 and mT5: blocks of the encoder and of the decoder, each layer's table of relative positions under its first block. */
#include "load/gguf_arch.h"

#define ENCODER(site, file) { "encoder.block.#.layer." site, "enc.blk.#." file, NULL }
#define DECODER(site, file) { "decoder.block.#.layer." site, "dec.blk.#." file, NULL }

static const nc_gguf_rule rules[] = {
    { "shared.", "token_embd.", NULL }, { "lm_head.", "output.", NULL }, { "encoder.final_layer_norm.", "enc.output_norm.", NULL }, { "decoder.final_layer_norm.", "dec.output_norm.", NULL },
    ENCODER("0.layer_norm.", "attn_norm."), ENCODER("0.SelfAttention.q.", "attn_q."), ENCODER("0.SelfAttention.k.", "attn_k."), ENCODER("0.SelfAttention.v.", "attn_v."),
    ENCODER("0.SelfAttention.o.", "attn_o."), ENCODER("0.SelfAttention.relative_attention_bias.", "attn_rel_b."), ENCODER("1.layer_norm.", "ffn_norm."),
    ENCODER("1.DenseReluDense.wi.", "ffn_up."), ENCODER("1.DenseReluDense.wi_0.", "ffn_gate."), ENCODER("1.DenseReluDense.wi_1.", "ffn_up."), ENCODER("1.DenseReluDense.wo.", "ffn_down."),
    DECODER("0.layer_norm.", "attn_norm."), DECODER("0.SelfAttention.q.", "attn_q."), DECODER("0.SelfAttention.k.", "attn_k."), DECODER("0.SelfAttention.v.", "attn_v."),
    DECODER("0.SelfAttention.o.", "attn_o."), DECODER("0.SelfAttention.relative_attention_bias.", "attn_rel_b."), DECODER("1.layer_norm.", "cross_attn_norm."),
    DECODER("1.EncDecAttention.q.", "cross_attn_q."), DECODER("1.EncDecAttention.k.", "cross_attn_k."), DECODER("1.EncDecAttention.v.", "cross_attn_v."),
    DECODER("1.EncDecAttention.o.", "cross_attn_o."), DECODER("1.EncDecAttention.relative_attention_bias.", "cross_attn_rel_b."), DECODER("2.layer_norm.", "ffn_norm."),
    DECODER("2.DenseReluDense.wi.", "ffn_up."), DECODER("2.DenseReluDense.wi_0.", "ffn_gate."), DECODER("2.DenseReluDense.wi_1.", "ffn_up."), DECODER("2.DenseReluDense.wo.", "ffn_down."),
    { NULL, NULL, NULL },
};

static const nc_gguf_word words[] = {
    { "context_length", NC_GGUF_U32, "n_positions", "512" }, { "embedding_length", NC_GGUF_U32, "d_model", "512" }, { "feed_forward_length", NC_GGUF_U32, "d_ff", "2048" },
    { "block_count", NC_GGUF_U32, "num_layers", "6" }, { "decoder_block_count", NC_GGUF_U32, "num_decoder_layers|num_layers", "6" },
    { "attention.head_count", NC_GGUF_U32, "num_heads", "8" }, { "attention.key_length", NC_GGUF_U32, "d_kv", "64" }, { "attention.value_length", NC_GGUF_U32, "d_kv", "64" },
    { "attention.layer_norm_epsilon", NC_GGUF_F32, "layer_norm_epsilon", "1e-6" }, { "attention.layer_norm_rms_epsilon", NC_GGUF_F32, "layer_norm_epsilon", "1e-6" },
    { "attention.relative_buckets_count", NC_GGUF_U32, "relative_attention_num_buckets", "32" }, { "decoder_start_token_id", NC_GGUF_U32, "decoder_start_token_id", "0" },
    { NULL, 0, NULL, NULL },
};

static void back(const nc_gguf_back *b)
{
    nc_gguf_back_set_text(b, "feed_forward_proj", nc_gguf_back_has(b, "enc.blk.0.ffn_gate.weight") ? "gated-gelu" : "relu");
    nc_gguf_back_set_bool(b, "is_encoder_decoder", true);
}

const nc_gguf_arch nc_gguf_arch_t5 = { .name = "t5", .families = "t5 mt5", .rules = { rules }, .words = { words }, .back = back };

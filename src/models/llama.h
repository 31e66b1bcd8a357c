/* llama.h - the Llama decoder and what its close kin (Qwen3 ...) vary: flags that their own files set from their own configs. */
#ifndef NC_MODELS_LLAMA_H
#define NC_MODELS_LLAMA_H
#include "models/model.h"
#include "models/rope_config.h"

typedef struct nc_llama_layer {
    nc_site *norm1, *q, *k, *v, *o, *q_bias, *k_bias, *v_bias, *o_bias, *q_norm, *k_norm, *norm2, *gate, *up, *down;
} nc_llama_layer;

typedef struct nc_llama {
    int layers, width, heads, kv_heads, head_dim, inner, vocab, positions, window;
    double eps;
    nc_unary activation;
    nc_rope_spec rope;
    bool tied, qkv_bias, o_bias, qk_norm;      /* qk_norm: an RMS norm over each head of q and k before the rotation */
    nc_llama_layer *layer;
    nc_site *embed, *norm, *head;
} nc_llama;

void nc_llama_config(nc_model *m, nc_llama *c, nc_config *r, double default_theta);   /* the keys all of them share */
void nc_llama_weights(nc_model *m, void *self);
nc_value *nc_llama_decoder(const nc_model *m, const void *self, nc_build *b, nc_value *media);
void nc_llama_head(const void *self, nc_head *out);
void nc_llama_cache(const void *self, nc_cache_need *out);
#endif

/* moe_config.h - Llama's kin whose MLPs are mixtures of experts: what Mixtral and the Qwen and DeepSeek mixtures share. */
#ifndef NC_MODELS_MOE_CONFIG_H
#define NC_MODELS_MOE_CONFIG_H
#include "models/llama.h"
#include "nn/moe.h"

typedef struct nc_moe_layer { nc_moe moe; nc_site *shared_gate, *shared_up, *shared_down, *shared_switch; } nc_moe_layer;

typedef struct nc_moe_llama {
    nc_llama base;                             /* first: a family's self is both */
    nc_moe moe;                                /* as every sparse layer has it, without sites */
    int expert_inner, shared_inner;            /* shared_inner 0: no shared expert */
    bool shared_switch;                        /* the shared expert's output times sigmoid(switch x) */
    bool choose_bias;
    bool *dense;                               /* layers with an ordinary MLP; NULL: none */
    const char *block, *names[3];              /* "mlp."; gate, up, down of an expert */
    const char *shared;                        /* "shared_expert" */
} nc_moe_llama;

/* Experts, top and coefficients under the names given; checks them. After nc_llama_config. */
void nc_moe_config(nc_moe_llama *c, nc_config *r, const char *experts_key, const char *other_key);
void nc_moe_dense(nc_model *m, nc_moe_llama *c, nc_config *r);                   /* decoder_sparse_step, mlp_only_layers */
void nc_moe_weights(nc_model *m, nc_llama *c, int layer);
/* Transformers 5 writes the experts of a layer as two tensors; for families whose experts are mlp.experts.N.{gate,up,down}_proj. */
extern const nc_stack nc_moe_stacks[];
nc_value *nc_moe_layer_mlp(const nc_llama *c, nc_build *b, int layer, nc_value *x);
#endif

/* llama.h - the Llama decoder and what its close kin (Qwen, Gemma, GLM, OLMo, Phi, the mixtures of experts) vary: flags that their own files set from their own configs. */
#ifndef NC_MODELS_LLAMA_H
#define NC_MODELS_LLAMA_H
#include "models/model.h"
#include "models/rope_config.h"

/* Norms of a block, each where the family has one: before and after the attention, before and after the MLP. */
enum { NC_NORM_ATTN_IN, NC_NORM_ATTN_OUT, NC_NORM_MLP_IN, NC_NORM_MLP_OUT, NC_BLOCK_NORMS };

typedef struct nc_llama_layer {
    nc_site *norm[NC_BLOCK_NORMS], *q, *k, *v, *o, *qkv, *q_bias, *k_bias, *v_bias, *o_bias, *q_norm, *k_norm;
    nc_site *gate, *up, *gate_up, *down, *gate_bias, *up_bias, *down_bias;
    void *own;                                 /* of a family with its own attention or MLP */
} nc_llama_layer;

typedef struct nc_llama nc_llama;
struct nc_llama {
    int layers, width, heads, kv_heads, head_dim, inner, vocab, positions, window;
    double eps;
    nc_unary activation;
    nc_rope_spec rope, sliding_rope;
    nc_rope_style rope_style;
    double rotary_share;                       /* of head_dim that is rotated where the config does not say; 0: all */
    bool tied, qkv_bias, o_bias, mlp_bias;
    bool qk_norm, qk_norm_whole;               /* an RMS norm over each head of q and k before the rotation; or over all heads at once */
    bool fused_qkv, fused_gate_up;             /* one product: [q | k | v], [gate | up] */
    bool two_ropes;                            /* layers with a window rotate by sliding_rope */
    bool mrope;                                /* positions have three axes, shared out by mrope_section */
    const char *scope;                         /* of its weights but the head; NULL: "model." */
    const char *const *norms;                  /* names of the block's norms, NULL where there is none; NULL: Llama's */
    double norm_offset, embed_scale, score_scale, score_cap, logit_cap;   /* norms multiply by w + offset; a scale of 0 stands for the usual one */
    int *windows;                              /* of each layer, 0: none; NULL: all have `window` */
    /* A family's own parts; NULL: Llama's. */
    void (*attention_weights)(nc_model *m, nc_llama *c, int layer);
    nc_value *(*attention)(const nc_llama *c, nc_build *b, int layer, nc_value *x, nc_rope_rows rope);
    void (*mlp_weights)(nc_model *m, nc_llama *c, int layer);
    nc_value *(*mlp)(const nc_llama *c, nc_build *b, int layer, nc_value *x);
    /* What stands before a block (Idefics' cross attention to the media, which are then not spliced). */
    nc_value *(*before)(const nc_llama *c, nc_build *b, int layer, nc_value *x, nc_value *media);
    int vocab_more;                            /* rows of the vocabulary after `vocab`, in weights of their own; 0: none */
    const char *embed_more_name, *head_more_name;
    nc_llama_layer *layer;
    nc_site *embed, *norm, *head, *embed_more, *head_more;
};

void nc_llama_config(nc_model *m, nc_llama *c, nc_config *r, double default_theta);   /* the keys all of them share */
/* media wider than the hidden rows holds, after the rows that are spliced, what is added to the same rows behind the first blocks (Qwen3-VL's deepstack). */
/* Windows by layer: `layer_types` where the config has it, else layers from `first` on slide but for every period-th one (period 0: all of them do). */
void nc_llama_windows(nc_model *m, nc_llama *c, nc_config *r, int window, int first, int period);
void nc_llama_weights(nc_model *m, void *self);
void nc_llama_mlp_weights(nc_model *m, nc_llama *c, int layer);
nc_value *nc_llama_mlp(const nc_llama *c, nc_build *b, int layer, nc_value *x);
nc_value *nc_llama_decoder(const nc_model *m, const void *self, nc_build *b, nc_value *media);
int nc_llama_prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e);
int nc_llama_regime(const void *self, int length);
void nc_llama_head(const void *self, nc_head *out);
void nc_llama_cache(const void *self, nc_cache_need *out);

/* The members a kin's nc_family takes over. */
extern const char *const nc_llama_renames[];     /* bare models (Qwen3Model of an embedder) have no "model." before their names */
#define NC_LLAMA_KIN(struct_type) .size = sizeof(struct_type), .weights = nc_llama_weights, .prepare = nc_llama_prepare, .decoder = nc_llama_decoder, \
    .head = nc_llama_head, .cache = nc_llama_cache, .regime = nc_llama_regime
#endif

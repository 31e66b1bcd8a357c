/* qwen_vl.h - what Qwen2-VL, Qwen2.5-VL and Qwen3-VL share: a tower over patches of pictures of any size, a merger, a Llama-like decoder with positions of three axes. */
#ifndef NC_MODELS_QWEN_VL_H
#define NC_MODELS_QWEN_VL_H
#include "models/media.h"
#include "models/qwen.h"

typedef struct nc_qwen_block { nc_site *norm1, *norm1_b, *qkv, *qkv_b, *proj, *proj_b, *norm2, *norm2_b, *fc1, *fc1_b, *up, *up_b, *fc2, *fc2_b; } nc_qwen_block;
typedef struct nc_qwen_merger { nc_site *norm, *norm_b, *fc1, *fc1_b, *fc2, *fc2_b; bool norm_after; } nc_qwen_merger;   /* norm_after: over the merged row */

typedef struct nc_qwen_vl {
    nc_llama text;                             /* first: a family's self is both */
    int depth, width, heads, inner, out, channels, patch, merge, temporal;
    nc_unary activation;
    bool rms, gated, patch_bias;               /* RMS norms without bias; SwiGLU */
    int window;                                /* in merged units: blocks not in full[] see windows; 0: all see the whole frame */
    bool *full;
    double tokens_per_second;                  /* 0: a frame's time is its number */
    bool frames_apart;                         /* a video's frames stand apart in the text (time stamps between them): each is a picture of its own */
    int side;                                  /* of the learned table of positions, interpolated; 0: none */
    int *deep, deep_count;                     /* blocks behind which a further merger looks */
    nc_rope_spec rope;                         /* of the tower */
    const char *scope;                         /* "visual." */
    const char *mlp_names[3], *merger_names[3];   /* fc1 or gate, up (NULL), fc2; norm, fc1, fc2 */
    nc_site *patch_w, *patch_b, *position;
    nc_qwen_block *block;
    nc_qwen_merger merger, *deep_merger;
} nc_qwen_vl;

/* Text keys where they lie (text_config or the top level), tokens, and the vision keys all three share. The vision_config's reader, NULL after a mistake. */
nc_config *nc_qwen_vl_config(nc_model *m, nc_qwen_vl *c, nc_config *r, nc_config **text);
void nc_qwen_vl_text(nc_model *m, nc_qwen_vl *c, nc_config *text);             /* Qwen2's decoder with M-RoPE */
void nc_qwen_vl_check(nc_model *m, nc_qwen_vl *c, nc_config *r);               /* sizes that must fit; the tower's rotation */
void nc_qwen_vl_weights(nc_model *m, void *self);
nc_value *nc_qwen_vl_tower(const nc_model *m, const void *self, nc_build *b);
int nc_qwen_vl_media_rows(const nc_model *m, const void *self, const nc_media *media);
void nc_qwen_vl_capacity(const void *self, nc_build *b, int64_t patches);
int nc_qwen_vl_prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e);
int nc_qwen_vl_positions(const nc_model *m, const void *self, const int32_t *ids, int count, const nc_media *media, int media_count, nc_positions *out, nc_error *e);

extern const char *const nc_qwen_vl_ignored[], *const nc_qwen_vl_towers[], *const nc_qwen_vl_projectors[];
/* The members a family takes over. */
#define NC_QWEN_VL_KIN .size = sizeof(nc_qwen_vl), .weights = nc_qwen_vl_weights, .ignored = nc_qwen_vl_ignored, .prepare = nc_qwen_vl_prepare, .tower = nc_qwen_vl_tower, \
    .decoder = nc_llama_decoder, .positions = nc_qwen_vl_positions, .media_rows = nc_qwen_vl_media_rows, .head = nc_llama_head, .cache = nc_llama_cache, \
    .capacity = nc_qwen_vl_capacity, .regime = nc_llama_regime, .tower_parts = nc_qwen_vl_towers, .projector_parts = nc_qwen_vl_projectors
#endif

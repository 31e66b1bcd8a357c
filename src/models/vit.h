/* vit.h - what the vision transformers of one lineage share (ViT, DeiT, DINOv2, DINOv3, BEiT): patches, class and register rows, pre-norm blocks, heads.
 *
 *   x = [class; distillation; registers; patch_embedding(patches)] + position_embeddings
 *   per layer:  x += scale1 * o(attention(q h, k h, v h)), h = norm1 x;   x += scale2 * mlp(norm2 x)
 *   rows = norm x
 *
 * Families differ in names (nc_vit_names), in which parts there are, and in how positions enter attention. Golden probes: hidden.k, out.last_hidden_state.
 */
#ifndef NC_MODELS_VIT_H
#define NC_MODELS_VIT_H
#include "models/model.h"
#include "nn/rope.h"

typedef struct nc_dense { nc_site *w, *b; } nc_dense;            /* of a product or a norm; b may be NULL */

/* Modules of a block under its own scope; NULL: the family has none. */
typedef struct nc_vit_names {
    const char *layer;                       /* "encoder.layer." */
    const char *qkv;                         /* the three as one product, instead of q, k and v */
    const char *norm1, *q, *k, *v, *o, *norm2, *fc1, *gate, *fc2, *scale1, *scale2;
    const char *q_norm, *k_norm;             /* over all heads at once */
    const char *patch, *norm;                /* "embeddings.patch_embeddings.projection", "layernorm" */
} nc_vit_names;

typedef struct nc_vit_block { nc_dense norm1, q_norm, k_norm, qkv, q, k, v, o, norm2, fc1, gate, fc2; nc_site *scale1, *scale2, *bias; } nc_vit_block;

typedef struct nc_vit {
    nc_vision_info info;
    int layers, width, heads, inner;
    double eps, scale_init;                  /* layer scale's initial value */
    nc_unary activation;
    bool q_bias, k_bias, v_bias, o_bias, mlp_bias;
    bool gated, joined;                      /* gate and up; in one product of 2 * inner columns */
    bool rms, qk_norm;                       /* the blocks' norms are RMS norms without bias; q and k have such norms of their own */
    bool has_mask, has_position, mask_is_row;    /* mask token; learned positions; the file holds the mask as [1,D] instead of [1,1,D] */
    bool norm_last;                          /* there is a norm after the last block */
    const char *class;
    const nc_vit_names *names;
    nc_vit_block *block;
    nc_site *class_token, *distillation, *registers, *mask, *position, *shared_bias;
    nc_dense patch, norm, pooler, pooler_norm, head, head2;
} nc_vit;

/* config(): the keys all of them have; the layer norm's default epsilon, a default patch size. */
void nc_vit_config(nc_model *m, nc_vit *c, nc_config *r, double eps, int patch);
/* weights(), in the order of the reference's modules. prefix: "vit." of classes with a head; "" of the bare model. */
void nc_vit_embedding_weights(nc_model *m, nc_vit *c, const char *prefix);
void nc_vit_block_weights(nc_model *m, nc_vit *c, const char *prefix);
nc_dense nc_weight_dense(nc_model *m, const char *name, int64_t out, int64_t in, bool bias);
nc_dense nc_weight_layer_norm(nc_model *m, const char *name, int64_t width);

/* How positions enter attention: rotary rows (cos NULL: none), or the table of biases gathered from the learned one and the codes that find its rows (NULL: none). */
typedef struct nc_vit_positions { nc_rope_rows rope; nc_value *taps, *share, *q_code, *k_code; int64_t bias_offset; } nc_vit_positions;
nc_value *nc_vit_embed(const nc_vit *c, nc_build *b);
nc_value *nc_vit_blocks(const nc_vit *c, nc_build *b, nc_value *x, int count, const nc_vit_positions *p, const char *prefix);    /* probes prefix.0 ... */
nc_value *nc_dense_apply(nc_build *b, nc_value *x, nc_dense d);
nc_value *nc_first_row(nc_build *b, nc_value *x);                /* [pictures, D]: the class row of each */
nc_value *nc_mean_of_patches(nc_build *b, nc_value *x);   /* [pictures, D]; classes and registers left out */

/* nc_family's prepare, vision_info and capacity for struct nc_vit; adds "first.rows", "mean.rows", "mean.share" and the count "pictures" to nc_prepare_pictures' tables. */
int nc_vit_prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e);
void nc_vit_info(const void *self, nc_vision_info *out);
void nc_vit_capacity(const void *self, nc_build *b, int64_t pictures);
/* Tables of the pictures of some sequences, one each (in ids' place, or beside them). */
int nc_prepare_vision(nc_batch *batch, const nc_vision_info *info, const nc_seq *seqs, int count, nc_error *e);
/* nc_family.vision: rows after block `layer` (-1: the last). */
nc_value *nc_vit_vision(const nc_vit *c, nc_build *b, int layer, const nc_vit_positions *p, const char *prefix);
#endif

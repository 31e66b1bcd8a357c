/* encoder.h - the pre-norm transformer encoder that CLIP's and SigLIP's towers share:
 *   x += out_proj(attention(q h, k h, v h)), h = layer_norm1 x;   x += fc2(f(fc1 h)), h = layer_norm2 x
 * Names are those of both families: layer_norm1, self_attn.{q,k,v,out}_proj, layer_norm2, mlp.fc1, mlp.fc2. */
#ifndef NC_MODELS_ENCODER_H
#define NC_MODELS_ENCODER_H
#include "models/model.h"

typedef struct nc_encoder_layer { nc_site *ln1, *ln1b, *q, *qb, *k, *kb, *v, *vb, *o, *ob, *ln2, *ln2b, *fc1, *fc1b, *fc2, *fc2b; } nc_encoder_layer;
typedef struct nc_encoder {
    int layers, width, heads, inner;
    double eps;
    nc_unary activation;
    nc_encoder_layer *layer;
} nc_encoder;

void nc_encoder_config(nc_config *r, nc_encoder *c, const char *default_activation, double default_eps);
void nc_encoder_weights(nc_model *m, nc_encoder *c, const char *scope);          /* "vision_model.encoder.layers.%d." */
/* Blocks [0, count); probes prefix.0 (x itself) ... prefix.count; prefix NULL: none. */
nc_value *nc_encoder_blocks(const nc_encoder *c, nc_build *b, nc_value *x, int count, const nc_spans *spans, const char *prefix);
/* A feature layer as transformers counts them (0: the embedding, -1: the last, -2: the one before): how many blocks run. -1 when out of range. */
int nc_encoder_depth(const nc_encoder *c, int feature_layer);
#endif

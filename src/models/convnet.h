/* convnet.h - what the convolutional classifiers share: a convolution with its batch norm, pictures of one size, the head over pooled cells. */
#ifndef NC_MODELS_CONVNET_H
#define NC_MODELS_CONVNET_H
#include "models/vit.h"
#include "nn/grid.h"

/* The first member of each family's struct. */
typedef struct nc_convnet { int channels; const char *class; bool is_bare; nc_dense classifier; } nc_convnet;

/* A convolution without bias and the batch norm behind it. */
typedef struct nc_conv_unit { nc_site *w; nc_batch_norm norm; nc_grid_window window; } nc_conv_unit;
typedef struct nc_conv_spec { int out, in, kernel, stride, groups; double eps, momentum; } nc_conv_spec;

void nc_convnet_config(nc_model *m, nc_convnet *c, nc_config *r);                /* num_channels, the class, its labels */
/* The prefix of the body's names: the family's own with a head, "" for a bare model or a part. */
const char *nc_convnet_prefix(const nc_convnet *c, const char *family);
nc_site *nc_weight_grid(nc_model *m, const char *name, int64_t out, int64_t in, int64_t groups, int64_t height, int64_t width);   /* [out, in / groups, height, width] */
nc_batch_norm nc_weight_batch_norm(nc_model *m, const char *name, int64_t channels, double eps, double momentum);
nc_conv_unit nc_weight_conv_unit(nc_model *m, const char *conv, const char *norm, const nc_conv_spec *s);     /* padded by kernel / 2 on all sides */
nc_grid nc_conv_unit_apply(nc_build *b, nc_grid x, const nc_conv_unit *u);
/* Squeeze and excitation (Hu et al. 2018): x times sigmoid(excite f(squeeze mean(x))) of its picture. */
nc_grid nc_squeeze_excite(nc_build *b, nc_grid x, nc_unary activation, nc_dense squeeze, nc_dense excite);

/* nc_family's: one picture a sequence. */
int nc_convnet_prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e);
void nc_convnet_capacity(const void *self, nc_build *b, int64_t pictures);
/* The last map, and the vector the head reads; probes out.last_hidden_state, out.pooled, out.logits. */
void nc_convnet_head(const nc_convnet *c, nc_build *b, nc_grid last, nc_value *pooled, nc_encoded *out);
#endif

/* davit.h - the tower of Florence-2: DaViT (Ding et al. 2022), which attends over windows of cells and over groups of channels in turn.
 *
 *   per stage:  x = norm(conv(x)), or conv(norm(x)) where patch_prenorm is true; then blocks, each of two halves
 *   a half:     x += conv1(x);  x += attend(norm1 x);  x += conv2(x);  x += fc2 f(fc1 norm2 x)            conv1, conv2: 3x3, each channel alone
 *   spatial:    attention among the cells of each window of window_size x window_size
 *   channel:    in each of num_groups groups of c channels: o = softmax(q^T k / sqrt(N)) v^T over channels, q, k, v [N, c] of a picture's N cells
 *
 * Easy to get wrong: windows are filled up with zero cells at the lower and right edge before q, k and v, so their keys and values are the biases and are attended; the
 * channels' scale counts cells, not channels; positions come from the convolutions alone; all norms have epsilon 1e-5.
 * Its graph is made for one picture size (nn/grid.h).
 */
#ifndef NC_MODELS_DAVIT_H
#define NC_MODELS_DAVIT_H
#include "models/convnet.h"

enum { NC_DAVIT_STAGES = 8 };

typedef struct nc_davit_half { nc_dense conv1, norm1, qkv, proj, conv2, norm2, fc1, fc2; } nc_davit_half;
typedef struct nc_davit_stage { int depth, width, heads, groups, kernel, stride, pad; bool norm_first; nc_dense conv, norm; nc_davit_half *half; } nc_davit_stage;   /* half: spatial, channel of block 0, of 1 ... */
typedef struct nc_davit { int stages, channels, window; double mlp_ratio; nc_unary activation; bool qkv_bias; nc_davit_stage stage[NC_DAVIT_STAGES]; } nc_davit;

/* The keys of both spellings: transformers' (embed_dim) and those of the checkpoint's own code (dim_embed). */
void nc_davit_config(nc_davit *c, nc_config *r);
void nc_davit_weights(nc_model *m, nc_davit *c, const char *prefix);
static inline int nc_davit_width(const nc_davit *c) { return c->stages ? c->stage[c->stages - 1].width : 1; }
/* Cells of a picture after stage `stage`; false: it is too small for a convolution. */
bool nc_davit_cells(const nc_davit *c, int stage, int height, int width, int64_t *down, int64_t *across);
/* "grid.pixels", and for stage s "davit.s.rows" [pictures, cells of windows], "davit.s.back" [pictures, cells] and spans "davit.s"; the count "pictures". */
int nc_davit_prepare(const nc_davit *c, nc_batch *batch, const nc_pixels *pictures, int count, nc_error *e);
/* Cells after the last stage; probes tower.conv.s: what enters stage s. */
nc_grid nc_davit_cells_of(const nc_davit *c, nc_build *b);
#endif

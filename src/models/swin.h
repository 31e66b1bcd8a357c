/* swin.h - hierarchical towers of shifted windows (Swin, Liu et al. 2021; the towers of Donut and Nougat; Swin v2 on top of them).
 *
 *   x = norm(patches)                                                          rows of an h x w grid, picture after picture
 *   per block:  x += o(attend(q h, k h, v h; bias)), h = layernorm_before x, over windows;   x += output(f(intermediate(layernorm_after x)))
 *   between stages:  x = reduction(norm([x00, x10, x01, x11]))                 four neighbours become one row
 *
 * Windows are gathers of rows: those of a grid that is no multiple of the window are filled up with zero rows, which are attended (as keys they are the biases). Every
 * second block moves the windows by half of one, around the edges; the parts of a window that were no neighbours do not see each other, so each part is a span.
 */
#ifndef NC_MODELS_SWIN_H
#define NC_MODELS_SWIN_H
#include "models/vit.h"

enum { NC_SWIN_STAGES = 8 };

typedef struct nc_swin_block { nc_dense before, q, k, v, o, after, up, down; nc_site *bias; void *own; } nc_swin_block;
/* window, move: of families that fix them for a stage, whatever picture comes; window 0: by the picture. */
typedef struct nc_swin_stage { int depth, heads, width, window, move; nc_swin_block *block; nc_dense norm, reduction; } nc_swin_stage;

typedef struct nc_swin nc_swin;
struct nc_swin {
    int stages, embed, window, patch, channels, height, width;     /* height, width of the pictures the config speaks of */
    double mlp_ratio, eps;
    nc_unary activation;
    bool qkv_bias;
    nc_dense patches, norm;
    nc_swin_stage stage[NC_SWIN_STAGES];
    /* A family's own blocks; NULL: Swin's. */
    void (*block_weights)(nc_model *m, nc_swin *c, int stage, int block);
    nc_value *(*block)(const nc_swin *c, nc_build *b, int stage, int block, nc_value *x);
    nc_value *(*merge)(const nc_swin *c, nc_build *b, int stage, nc_value *x);
};

void nc_swin_config(nc_swin *c, nc_config *r);
int nc_swin_width(const nc_swin *c);                                             /* of the last rows */
void nc_swin_weights(nc_model *m, nc_swin *c, const char *prefix);               /* "swin." or "" */

/* Tables for these pictures (any sizes): "swin.patches", and for stage s with or without the move (k 0, 1) "swin.s.k.rows", ".back", ".code", spans "swin.s.k"; "swin.s.merge". */
int nc_swin_prepare(const nc_swin *c, nc_batch *batch, const nc_pixels *pictures, int count, nc_error *e);
int nc_swin_rows(const nc_swin *c, int height, int width);                       /* rows of one picture after the last stage */
void nc_swin_capacity(const nc_swin *c, nc_build *b, int64_t pictures);          /* of the config's size */
/* Rows after the last stage; probes prefix.0 (embedding), prefix.k (after stage k, merged). */
nc_value *nc_swin_blocks(const nc_swin *c, nc_build *b, const char *prefix);

/* For families with blocks of their own: rows of stage s into the windows of a block, attention's rule of sight and codes there, and back. */
typedef struct nc_swin_windows { nc_value *rows, *back, *code; const nc_spans *spans; int64_t offset; } nc_swin_windows;
nc_swin_windows nc_swin_windows_of(const nc_swin *c, nc_build *b, int stage, int block);
static inline int nc_swin_window(const nc_swin *c, int stage) { return c->stage[stage].window ? c->stage[stage].window : c->window; }   /* the side codes count in */
nc_value *nc_swin_mlp(const nc_swin *c, nc_build *b, const nc_swin_block *l, nc_value *x);

/* A classifier, or a bare model, on a tower: pooled is the mean of the normed rows. Swin and Swin v2. */
typedef struct nc_swin_net { nc_swin swin; bool is_bare; nc_dense norm, classifier; } nc_swin_net;
void nc_swin_net_config(nc_model *m, nc_swin_net *c, nc_config *r);
void nc_swin_net_weights(nc_model *m, nc_swin_net *c, const char *family);
void nc_swin_net_encode(const nc_model *m, const void *self, nc_build *b, nc_modality what, nc_encoded *out);
int nc_swin_net_prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e);
void nc_swin_net_capacity(const void *self, nc_build *b, int64_t pictures);
#endif

/* grid.h - pictures as rows of cells, for the nets that convolve them: one graph for each picture shape.
 *
 * A grid is rows [pictures * height * width, channels]; how many pictures there are follows the count "pictures". Channels lie side by side, so a 1x1 convolution is
 * nc_linear and norms run over columns; the reference's maps [n, C, H, W] are nc_grid_planes.
 */
#ifndef NC_NN_GRID_H
#define NC_NN_GRID_H
#include "nn/build.h"

typedef struct nc_grid { nc_value *rows; int64_t height, width; } nc_grid;

/* Batch norm (Ioffe & Szegedy 2015): statistics of the rows in training, which also move the running ones; the running ones otherwise, where `frozen` (then w and b
 * learn nothing either), and in programs built so. batches counts the steps (may be NULL). */
typedef struct nc_batch_norm { nc_site *w, *b, *mean, *var, *batches; double eps, momentum; bool frozen; } nc_batch_norm;

nc_grid nc_grid_in(nc_build *b, int channels);                                   /* table "grid.pixels" f32 [pictures, channels * height * width] of the program's picture size */
static inline int64_t nc_grid_area(nc_grid x) { return x.height * x.width; }
static inline int64_t nc_grid_channels(nc_grid x) { return x.rows->shape.rank == 2 ? x.rows->shape.dim[1] : 1; }
nc_grid_window nc_window(int kernel, int stride, int pad);                       /* a square one */
/* The kernel, and the number of groups, are those of the weight's shape in the file [out, in / groups, h, w]. bias may be NULL. */
nc_grid nc_grid_conv(nc_build *b, nc_grid x, nc_site *w, nc_site *bias, const nc_grid_window *window);
nc_grid nc_grid_batch_norm(nc_build *b, nc_grid x, const nc_batch_norm *n);
nc_grid nc_grid_layer_norm(nc_build *b, nc_grid x, nc_site *w, nc_site *bias, double eps);     /* over channels */
nc_grid nc_grid_linear(nc_build *b, nc_grid x, nc_site *w, nc_site *bias);
nc_grid nc_grid_unary(nc_build *b, nc_unary kind, nc_grid x);
nc_grid nc_grid_add(nc_build *b, nc_grid x, nc_grid y);
nc_grid nc_grid_pool(nc_build *b, nc_grid x, const nc_grid_window *window, bool average);
nc_value *nc_grid_mean(nc_build *b, nc_grid x);                                  /* over the cells of each picture, [pictures, channels] */
nc_grid nc_grid_gate(nc_build *b, nc_grid x, nc_value *gate);                    /* times gate [pictures, channels] */
nc_grid nc_grid_resize(nc_build *b, nc_grid x, int64_t height, int64_t width);   /* bilinear, corners not aligned, no antialias */
/* torch's interpolate for cell i of `out` on one axis: source position (i + 1/2) in / out - 1/2, not below 0; the cell there, the next, and the share of the next. */
typedef struct nc_grid_tap { int64_t low, high; double share; } nc_grid_tap;
nc_grid_tap nc_grid_tap_of(int64_t i, int64_t in, int64_t out);
nc_value *nc_grid_planes(nc_build *b, nc_grid x);                                /* [pictures, channels, height, width] */
nc_grid nc_grid_probe(nc_build *b, nc_grid x, const char *format, ...) NC_PRINTF(3, 4);        /* its planes under the reference's name */

/* Fills "grid.pixels" and the count "pictures": one picture a sequence, all of one size. */
int nc_prepare_grid(nc_batch *batch, int channels, const nc_seq *seqs, int count, nc_error *e);
int nc_prepare_grid_pictures(nc_batch *batch, int channels, const nc_pixels *pictures, int count, nc_error *e);      /* the same of any number of pictures */
/* The same for pictures of any sizes: each in the upper left corner of the largest height and width (which are given back), zeros around. */
int nc_prepare_grid_padded(nc_batch *batch, int channels, const nc_seq *seqs, int count, int64_t *height, int64_t *width, nc_error *e);
#endif

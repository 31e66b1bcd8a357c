/* anyres.h - LLaVA-NeXT's pictures of any resolution: a base tile and a grid of tiles, put together again as one map, unpadded, with a newline after each row.
 *
 * Source: transformers' LlavaNext get_anyres_image_grid_shape, unpad_image and pack_image_features (Liu et al. 2024). */
#ifndef NC_MODELS_ANYRES_H
#define NC_MODELS_ANYRES_H
#include "models/config.h"

enum { NC_MAX_PINPOINTS = 64 };
typedef struct nc_anyres { int count; int size[NC_MAX_PINPOINTS][2]; } nc_anyres;      /* [height, width] */

void nc_anyres_config(nc_config *r, const char *key, nc_anyres *out);
/* Of the pinpoints the one that keeps most of the picture, then wastes least. */
void nc_anyres_best(const nc_anyres *a, int height, int width, int *best_height, int *best_width);
/* The rows a picture takes in the text, in order: an index of its feature rows (tile after tile, side*side rows each, the base tile first), or NC_ANYRES_NEWLINE.
 * Returns how many; order NULL: counts only. tiles is what the processor made; image_size the tower's. */
enum { NC_ANYRES_NEWLINE = -2 };
/* The map of a picture's tiles without what the padding added: rows [top, height - top) and columns [left, width - left) of down x across tiles of side x side. */
typedef struct nc_anyres_map { int down, across, top, left, height, width; } nc_anyres_map;
nc_anyres_map nc_anyres_map_of(const nc_anyres *a, int height, int width, int image_size, int side);
int nc_anyres_rows(const nc_anyres *a, int height, int width, int tiles, int image_size, int side, int32_t *order);
#endif

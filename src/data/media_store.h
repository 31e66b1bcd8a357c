/* media_store.h - the processed pictures and frames of a dataset, each file once: kept in memory as bytes up to a limit, else made again when asked for.
 *
 * A processor whose result is a function of one byte a value (all that rescale and normalize) is kept as bytes and a table [channels][256]; others in float.
 */
#ifndef NC_DATA_MEDIA_STORE_H
#define NC_DATA_MEDIA_STORE_H
#include "base/thread.h"
#include "front/conversation.h"
#include "media/augment.h"

typedef struct nc_media_store nc_media_store;
typedef struct nc_media_store_options {
    const nc_processor *image, *video;   /* borrowed */
    nc_visual_options visual;
    size_t memory;                   /* bytes to keep; the rest is decoded again at each use */
} nc_media_store_options;

nc_media_store *nc_media_store_new(const nc_media_store_options *o);
void nc_media_store_free(nc_media_store *s);
/* The index of a file; the same path gives the same index. Nothing is read yet. */
int nc_media_store_add(nc_media_store *s, const char *path, bool is_video);
/* Decodes everything that was added and is not loaded yet, on the pool; progress may be NULL. The first failure by order of adding is reported. */
int nc_media_store_load(nc_media_store *s, nc_pool *pool, void (*progress)(void *context, int done, int total), void *context, nc_error *e);
int nc_media_store_count(const nc_media_store *s);
/* Shape and kind; pixels are NULL. */
const nc_visual *nc_media_store_shape(const nc_media_store *s, int index);
/* Pixels of frames [first, first + count) as float32 [count, channels, height, width] to out. */
int nc_media_store_pixels(nc_media_store *s, int index, int first, int count, float *out, nc_error *e);
/* The same of the file decoded again and augmented by the draws of (seed, stream); frames of a video share them. Where the processor would give another shape
 * than the file's own, the augmented picture is scaled to the file's size first (Pillow's bicubic). Threads may call it. */
int nc_media_store_augmented(const nc_media_store *s, int index, int first, int count, const nc_augment *g, uint64_t seed, uint64_t stream, float *out, nc_error *e);
size_t nc_media_store_bytes(const nc_media_store *s);    /* held */
uint64_t nc_media_store_hash(const nc_media_store *s, int index);    /* of a file's size and its shape as processed */
int nc_media_store_unloaded(const nc_media_store *s);    /* files added and not yet decoded */
#endif

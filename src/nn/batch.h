/* batch.h - the host side of one step: flat streams as named tables, named counts and named spans.
 *
 * A model's prepare() fills a batch from sequences; a program (nn/build.h) binds every graph input to the table of the same name. Tables grow as needed
 * and are reused from step to step.
 */
#ifndef NC_NN_BATCH_H
#define NC_NN_BATCH_H
#include "graph/spans.h"
#include "tensor/tensor.h"

/* One picture or frame after the processor: float32 pixels [channels, height, width], normalized. */
typedef struct nc_pixels {
    const float *data;
    int channels, height, width;
    const void *rows;                        /* the tower's rows of it, computed earlier in the compute dtype, for programs with given_rows; NULL: the tower sees the pixels */
    nc_dtype rows_dtype;
} nc_pixels;

/* What stands in a picture: boxes [count, 4] as centre x, y, width, height in shares of the picture, and a label each. */
typedef struct nc_objects { const float *boxes; const int32_t *labels; int count; } nc_objects;

/* A group of pictures behind one placeholder: an image (with its tiles) or a video's frames. */
typedef struct nc_media {
    enum { NC_MEDIA_IMAGE, NC_MEDIA_VIDEO } kind;
    nc_pixels *frames;                       /* NULL: the shape alone, which tells how many rows it takes; then a frame is of this size */
    int count, frame_height, frame_width;
    int original_height, original_width;     /* before the processor */
    /* Pictures that come cut into patches: a frame is one step in time, pixels [grid_height * grid_width, channels, values of a patch and channel] with those three as its
     * height, channels and width. 0: frames are grids of pixels. */
    int grid_height, grid_width;
    float seconds_per_grid;                  /* between two frames; 0: unknown */
    int pictures;                            /* of its prompt, this one included; 0: unknown, alone */
    /* Serving: rows computed earlier by the tower, [rows, hidden] in the compute dtype; NULL: not computed yet. */
    const void *features;
    int feature_rows;
} nc_media;

/* What a tower's work is counted in: patches where pictures come as patches, else pictures and frames. */
static inline int64_t nc_media_units(const nc_media *m) { return (int64_t)m->count * (m->grid_height > 0 ? (int64_t)m->grid_height * m->grid_width : 1); }

/* Positions of a whole sequence where they are not its indices (M-RoPE): row i of table [rows, axes], and beyond it i + shift on every axis. */
typedef struct nc_positions { int32_t *table; int rows, axes, shift; } nc_positions;

/* What the rows of a whole text see of its media by cross attention: row i the media rows [row, row + rows) of all its media laid end to end, rows behind the table what the last
 * one sees. Rows that are ever seen together make a group; in the cache a group begins page `page` of the sequence's cross slot, so that its keys are cut alike everywhere. */
typedef struct nc_view { int32_t row, rows, page; } nc_view;
typedef struct nc_views { nc_view *of; int count; nc_view *group; int groups, pages; } nc_views;

/* A stretch of one sequence that takes part in a step. */
typedef struct nc_seq {
    const int32_t *ids;          /* tokens of this stretch; media placeholders already repeated once a feature row */
    int count;
    const int32_t *types;        /* token types of encoders (which of two texts); NULL: 0 */
    int start;                   /* index of the first one in its sequence (rows already in the cache) */
    int length;                  /* of the whole sequence as far as it is known beforehand (a prompt cut into stretches); less than start + count: nothing more */
    int slot;                    /* cache slot, -1 without */
    int prompt;                  /* tokens of the whole sequence that are its prompt; 0: those before the first target, else all that start at 0 */
    const int32_t *targets;      /* training: next token at each row, -1 where it does not count; NULL: none */
    float weight;                /* training: weight of each counted row in the loss */
    const nc_media *media;       /* in order of their placeholders, of this stretch */
    int media_count;
    const nc_objects *objects;   /* training a detector: those of its picture; NULL: none are known */
    nc_dtype feature_dtype;      /* of media features computed earlier */
    int media_row;               /* rows of media[0] already spliced before this stretch */
    const nc_positions *positions;   /* of the whole sequence; NULL: the family makes them for a stretch from index 0 that has all its media, else they are the indices */
    bool want_logits;            /* serving: the last row samples */
    /* Encoder-decoder models: what the encoder reads (text here, pictures as media). With it the step runs the encoder too; without it keys and values of the encoder's
     * rows lie in the cache: `cross_rows` of them in slot cross_slot. */
    const int32_t *source;
    int source_count;
    int cross_slot, cross_rows;
    /* Decoders that read their media by cross attention (nc_family.views): of the whole sequence; NULL: made for a stretch from index 0 that has all its media, else nothing is seen.
     * Without media here their keys and values lie in the cache, in slot cross_slot. */
    const nc_views *views;
} nc_seq;

typedef struct nc_batch nc_batch;
nc_batch *nc_batch_new(void);
void nc_batch_free(nc_batch *b);
void nc_batch_reset(nc_batch *b);                                                 /* forgets names, keeps memory */
/* From here on names are this part's own ("video." before "vision.rows"); "": everybody's. A second tower has its tables, counts and spans so (nc_build.part). */
void nc_batch_part(nc_batch *b, const char *part);
int64_t nc_batch_count(const nc_batch *b, const char *name);                      /* -1 when never set */
const char *nc_batch_count_name(const nc_batch *b, int i);                        /* NULL behind the last */
void nc_batch_set_count(nc_batch *b, const char *name, int64_t n);
/* A table of rows x columns, uninitialized; the batch owns it until the next reset. Asking again for the same name gives it anew (old contents lost). */
int32_t *nc_batch_i32(nc_batch *b, const char *name, int64_t rows, int64_t columns);
float *nc_batch_f32(nc_batch *b, const char *name, int64_t rows, int64_t columns);
void *nc_batch_table(nc_batch *b, const char *name, nc_dtype t, int64_t rows, int64_t columns);
void nc_batch_borrow(nc_batch *b, const char *name, nc_dtype t, int64_t rows, int64_t columns, const void *data);   /* the caller's memory */
const nc_tensor *nc_batch_find(const nc_batch *b, const char *name);              /* [rows, columns] or NULL */
nc_span *nc_batch_add_span(nc_batch *b, const char *name, nc_span s);             /* appends */
nc_spans nc_batch_spans(const nc_batch *b, const char *name);                     /* empty when none */
#endif

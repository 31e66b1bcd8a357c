/* picture_encoder.h - pictures to vectors: what an encoder of pictures (ViT, DINO, conv nets, the picture side of CLIP and SigLIP) makes of one picture at a time.
 *
 * The folder's processor makes the pixels. One program serves all pictures of one shape; another shape makes another.
 */
#ifndef NC_INFER_PICTURE_ENCODER_H
#define NC_INFER_PICTURE_ENCODER_H
#include "load/load.h"

typedef struct nc_picture_encoder nc_picture_encoder;

/* Of one picture; the encoder's until the next call. Absent parts are NULL and 0. */
typedef struct nc_picture_code {
    const float *vector;             /* [width]: pooled; of pairs the vector of length 1 that is compared */
    int width;
    const float *patch;              /* [down * across, patch_width], without class and register rows */
    int down, across, patch_width;
    const float *logits;             /* [labels] */
    int labels;
} nc_picture_code;

int nc_picture_encoder_open(const char *folder_or_id, nc_dtype compute, int threads, nc_picture_encoder **out, nc_error *e);
void nc_picture_encoder_free(nc_picture_encoder *x);     /* NULL is allowed */
nc_loaded *nc_picture_encoder_loaded(const nc_picture_encoder *x);
int nc_picture_encoder_run(nc_picture_encoder *x, const nc_image *image, nc_picture_code *out, nc_error *e);
#endif

/* processor_family.h - what a family of processors gives to the list and what all share. Inside src/front only. */
#ifndef NC_FRONT_PROCESSOR_FAMILY_H
#define NC_FRONT_PROCESSOR_FAMILY_H
#include "front/processor.h"
#include "media/resize.h"

enum { nc_processor_most_pinpoints = 64 };

/* A class's defaults, as the reference's constructor has them. */
typedef struct nc_processor_class_row {
    const char *name;
    int shortest, height, width, crop;         /* 0: not set */
    int filter;
    int colors;                                /* NC_COLORS_* */
    bool crops, rgb, pads, video;
} nc_processor_class_row;
enum { NC_COLORS_CLIP, NC_COLORS_HALF, NC_COLORS_IMAGENET };

struct nc_processor {
    const struct nc_processor_family *family;
    const nc_processor_class_row *row;
    bool do_resize, do_center_crop, do_rescale, do_normalize, do_convert_rgb, do_pad;
    int filter;
    nc_resize_rule rule;
    int shortest, longest, height, width;      /* of size; 0: not given */
    int crop_height, crop_width;
    double factor, mean[3], std[3];
    /* What single families read. */
    int patch_size, patch_width, merge_size, temporal_patch_size;
    int min_patches, max_patches, max_image_edge;
    int min_frames, max_frames, max_video_tokens;
    double fps;
    bool cap_pixels;
    int (*frame_size)(const nc_processor *p, const nc_image *im, int frames, int *height, int *width, nc_error *e);   /* what a frame among so many is scaled to; NULL: not known beforehand */
    int (*sample)(const nc_processor *p, int n, double fps, int want, int *index, nc_error *e);   /* which frames of a video; NULL: no rule of its own */
    double crop_pct, min_ratio;
    int min_crop;
    bool split, flag, thumbnail, rotate;
    int pinpoints, pinpoint[nc_processor_most_pinpoints][2];
};

typedef struct nc_processor_family {
    const nc_processor_class_row *classes;     /* ends with name NULL */
    const char *keys;                          /* space-separated keys beyond the common ones */
    int (*parse)(nc_processor *p, const nc_json *config, const char *file, nc_error *e);    /* may be NULL */
    int (*run)(const nc_processor *p, nc_arena *a, const nc_image *images, int count, nc_features *out, nc_error *e);
    int (*video)(const nc_processor *p, nc_arena *a, const nc_image *frames, int count, nc_features *out, nc_error *e);   /* may be NULL */
    bool one;                                  /* one picture a call */
} nc_processor_family;

#define NC_PROCESSOR_FAMILY(name) extern const nc_processor_family nc_processor_##name;
#include "front/processor_families.list"
#undef NC_PROCESSOR_FAMILY

/* Shared steps; each makes a new picture. */
int nc_step_resize(const nc_processor *p, const nc_image *in, int height, int width, nc_image *out, nc_error *e);
/* The short side becomes `edge`, the long one is scaled and truncated. */
int nc_step_shortest(const nc_processor *p, const nc_image *in, int edge, nc_image *out, nc_error *e);
/* The middle; zeros where the picture is smaller. */
int nc_step_center_crop(const nc_image *in, int height, int width, nc_image *out, nc_error *e);
/* resize and crop as size and crop_size say; *im is replaced. */
int nc_step_size(const nc_processor *p, nc_image *im, nc_error *e);
/* Takes the place of *im by next and frees what was there; for chains of steps. */
void nc_step_replace(nc_image *im, nc_image *next);

/* [leading..., 3, H, W] from pictures of one size: adds the feature with f32 and sets out->u8. */
int nc_emit_pictures(const nc_processor *p, nc_arena *a, const nc_image *tiles, int count, const char *name, int rank, const int64_t *leading,
                     nc_features *out, nc_error *e);
/* f32 of u8 already in its layout, where the channel of element i is (i / inner) % 3. */
float *nc_emit_floats(const nc_processor *p, nc_arena *a, const uint8_t *u8, size_t n, size_t inner);
nc_feature *nc_features_emit(nc_features *out, const char *name, int rank, const int64_t *shape);
int64_t *nc_emit_ints(nc_arena *a, nc_features *out, const char *name, int rank, const int64_t *shape);
#endif

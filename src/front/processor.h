/* processor.h - pictures and frames to the numbers a tower takes, as the checkpoint's preprocessor_config.json says.
 *
 * The steps are those of the Hugging Face processor of the named class: RGB, resize, crop or pad or tile, rescale (in double, rounded to float),
 * normalize ((v - mean) / std in float). Image processors follow the Pillow path to the byte; video processors resize as torchvision does.
 * A key that the class does not know is refused by name. A family is one file processor_<name>.c and one line in processor_families.list.
 */
#ifndef NC_FRONT_PROCESSOR_H
#define NC_FRONT_PROCESSOR_H
#include "base/json.h"
#include "media/image.h"

typedef struct nc_processor nc_processor;      /* lives in the arena it was made in; not changed by use, so threads may share it */

/* One named result: pixel_values [n, 3, H, W], image_sizes [n, 2], image_grid_thw [n, 3] ... Either f32 or i64 is set. */
typedef struct nc_feature {
    const char *name;
    int rank;
    int64_t shape[6];
    float *f32;
    int64_t *i64;
} nc_feature;

typedef struct nc_features {
    nc_feature item[6];
    int count;
    const uint8_t *u8;         /* the first item before rescaling, in its layout; NULL when it is not made of whole numbers */
} nc_features;

enum { NC_PROCESS_IMAGE, NC_PROCESS_VIDEO };

/* kind's processor of a checkpoint folder: preprocessor_config.json or processor_config.json's image_processor; video_preprocessor_config.json,
 * processor_config.json's video_processor, else the image file's where its class takes videos. NC_ENOTFOUND when the folder has none. */
int nc_processor_open(nc_arena *a, const char *folder, int kind, nc_processor **out, nc_error *e);
/* config is the file's tree, overrides (may be NULL) replaces keys of it; file names the errors. */
int nc_processor_parse(nc_arena *a, const nc_json *config, const nc_json *overrides, const char *file, nc_processor **out, nc_error *e);

/* Pictures of any channel count and size. Results lie in a. Classes whose result's shape depends on the picture (LLaVA-NeXT, Qwen2-VL ...) take one
 * picture a call (NC_EINVAL else); the others stack. */
int nc_processor_images(const nc_processor *p, nc_arena *a, const nc_image *images, int count, nc_features *out, nc_error *e);
/* Frames of one video, already sampled: pixel_values_videos [1, frames, 3, H, W] (Qwen2-VL: patches, with video_grid_thw). */
int nc_processor_video(const nc_processor *p, nc_arena *a, const nc_image *frames, int count, nc_features *out, nc_error *e);

/* Which of a video's n frames this class takes (fps: its rate, 0: unknown; want: how many were asked for, 0: as the class and its config say). index has room for the larger of n and
 * want; returns how many, 0 when the class has no rule of its own. */
int nc_processor_sample(const nc_processor *p, int n, double fps, int want, int *index, nc_error *e);

const nc_feature *nc_features_get(const nc_features *f, const char *name);    /* NULL when absent */
const char *nc_processor_class(const nc_processor *p);                        /* "CLIPImageProcessor" */
/* Height and width of one output picture where it is fixed, else 0. */
void nc_processor_size(const nc_processor *p, int *height, int *width);
int nc_processor_longest(const nc_processor *p);                              /* size.longest_edge, 0 without one */
void nc_processor_colors(const nc_processor *p, double mean[3], double std[3]);

/* What processor_config.json says about placeholders in the text; absent keys keep 0 or NULL. */
typedef struct nc_processor_tokens {
    int patch_size, num_additional_image_tokens, num_image_tokens;
    const char *vision_feature_select_strategy, *image_token, *video_token, *vision_aspect_ratio;
} nc_processor_tokens;
int nc_processor_tokens_load(nc_arena *a, const char *folder, nc_processor_tokens *out, nc_error *e);    /* NC_ENOTFOUND without the file */
#endif

/* processor_idefics.c - IDEFICS: a square of image_size, whatever the picture's shape. pixel_values [1, n, 3, image_size, image_size].
 *
 * Scaled as torchvision does, transformers 5's way; where a picture grows in one direction and shrinks in the other Pillow's bytes differ by up to 4 levels. */
#include "front/processor_family.h"
#include <stdlib.h>

static const nc_processor_class_row classes[] = {
    { "IdeficsImageProcessor", 0, 224, 224, 0, NC_BICUBIC, NC_COLORS_CLIP, false, true, false, false },
    { 0 },
};

/* image_size is the older key and goes before size. */
static int parse(nc_processor *p, const nc_json *config, const char *file, nc_error *e)
{
    const int64_t side = nc_json_int(nc_json_get(config, "image_size"), 0), channels = nc_json_int(nc_json_get(config, "image_num_channels"), 3);
    if (side < 0 || side > 16384 || channels != 3)
        return nc_fail(e, NC_EFORMAT, "%s: image_size must be 1 to 16384 and image_num_channels 3", file);
    p->rule = NC_RESIZE_TORCHVISION;
    if (side > 0)
        p->height = p->width = (int)side;
    return 0;
}

static int run(const nc_processor *p, nc_arena *a, const nc_image *images, int count, nc_features *out, nc_error *e)
{
    nc_image *work = nc_xcalloc((size_t)count + 1, sizeof *work);
    int code = 0;
    for (int i = 0; i < count && code == 0; i++) {
        code = nc_image_copy(&images[i], &work[i], e);
        if (code == 0)
            code = nc_step_size(p, &work[i], e);
    }
    if (code == 0)
        code = nc_emit_pictures(p, a, work, count, "pixel_values", 2, (int64_t[]){ 1, count }, out, e);
    for (int i = 0; i < count; i++)
        nc_image_free(&work[i]);
    free(work);
    return code;
}

const nc_processor_family nc_processor_idefics = { classes, "image_size image_num_channels", parse, run, NULL, false };

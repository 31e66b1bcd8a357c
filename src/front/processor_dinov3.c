/* processor_dinov3.c - DINOv3: bytes become floats first, then each plane is resized in float (torchvision's antialias), then normalized. Nothing is rounded to bytes. */
#include "front/processor_family.h"
#include <stdlib.h>
#include <string.h>

static const nc_processor_class_row classes[] = {
    { "DINOv3ViTImageProcessor", 0, 224, 224, 0, NC_BILINEAR, NC_COLORS_IMAGENET, false, true, false, false },
    { 0 },
};

static int plane(const nc_processor *p, const nc_image *im, int c, int height, int width, float *room, float *out, nc_error *e)
{
    const size_t n = (size_t)im->width * (size_t)im->height, m = (size_t)height * (size_t)width;
    const float mean = (float)p->mean[c], std = (float)p->std[c];
    for (size_t i = 0; i < n; i++)
        room[i] = p->do_rescale ? (float)im->pixels[3 * i + (size_t)c] * (float)p->factor : (float)im->pixels[3 * i + (size_t)c];
    if (p->do_resize)
        NC_TRY(nc_resize_f32(room, im->width, im->height, out, width, height, (nc_filter)p->filter, NC_RESIZE_TORCHVISION, e));
    else
        memcpy(out, room, m * sizeof *out);
    for (size_t i = 0; p->do_normalize && i < m; i++)
        out[i] = (out[i] - mean) / std;
    return 0;
}

static int run_images(const nc_processor *p, nc_arena *a, const nc_image *images, int count, nc_features *out, nc_error *e)
{
    const int height = p->do_resize ? p->height : images[0].height, width = p->do_resize ? p->width : images[0].width;
    size_t bytes, n = (size_t)height * (size_t)width;
    if (p->do_center_crop || height < 1)
        return nc_fail(e, NC_EUNSUPPORTED, "size must be height and width, without a crop");
    if (!nc_mul_size(n * 3 * sizeof(float), (size_t)count, &bytes) || bytes > (size_t)1 << 33)
        return nc_fail(e, NC_ELIMIT, "%d pictures of %d x %d are too many at once", count, height, width);
    float *to = nc_features_emit(out, "pixel_values", 4, (int64_t[]){ count, 3, height, width })->f32 = nc_arena_alloc(a, bytes);
    for (int i = 0; i < count; i++) {
        if (!p->do_resize && (images[i].height != height || images[i].width != width))
            return nc_fail(e, NC_ESHAPE, "pictures of several sizes cannot be stacked");
        float *room = nc_xmalloc(sizeof *room * (size_t)images[i].width * (size_t)images[i].height);
        int code = 0;
        for (int c = 0; c < 3 && code == 0; c++, to += n)
            code = plane(p, &images[i], c, height, width, room, to, e);
        free(room);
        NC_TRY(code);
    }
    return 0;
}

const nc_processor_family nc_processor_dinov3 = { classes, "", NULL, run_images, NULL, false };

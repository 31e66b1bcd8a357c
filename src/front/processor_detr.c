/* processor_detr.c - DETR: the short side becomes shortest_edge unless the long one would pass longest_edge; pictures of a batch are padded below and to the right with
 * zeros (after normalization), and pixel_mask says which pixels are a picture's own.
 *
 * Easy to get wrong: a side that meets the bound is rounded half to even, the other is truncated and follows from the unrounded one; older files say size 800, max_size 1333.
 */
#include "front/processor_family.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const nc_processor_class_row classes[] = {
    { "DetrImageProcessor", 800, 0, 0, 0, NC_BILINEAR, NC_COLORS_IMAGENET, false, true, true, false },
    { 0 },
};

static int parse(nc_processor *p, const nc_json *config, const char *file, nc_error *e)
{
    const nc_json *bound = nc_json_get(config, "max_size");
    int64_t n = 1333;

    if (bound && bound->type != NC_JSON_NULL && (!nc_json_int_exact(bound, &n) || n < 1 || n > 65536))
        return nc_fail(e, NC_EFORMAT, "%s:%d: max_size must be a whole number from 1", file, bound->line);
    if (p->shortest && !p->longest)
        p->longest = (int)n;
    if (!p->shortest && !p->height)
        return nc_fail(e, NC_EUNSUPPORTED, "%s: size must hold shortest_edge or height and width", file);
    if (nc_json_get(config, "pad_size") && nc_json_get(config, "pad_size")->type != NC_JSON_NULL)
        return nc_fail(e, NC_EUNSUPPORTED, "%s: pad_size is not known here", file);
    return 0;
}

static int size_of(const nc_processor *p, const nc_image *im, int *height, int *width, nc_error *e)
{
    const double h = im->height, w = im->width, low = fmin(h, w), high = fmax(h, w);
    double size = p->shortest, rounded = size;

    *height = p->height;
    *width = p->width;
    if (p->height)
        return 0;
    if (p->longest && high / low * size > p->longest) {
        size = p->longest * low / high;
        rounded = rint(size);
    }
    if ((h <= w && h == rounded) || (w <= h && w == rounded)) {
        *height = im->height;
        *width = im->width;
    } else {
        *height = w < h ? (int)(size * h / w) : (int)rounded;
        *width = w < h ? (int)rounded : (int)(size * w / h);
    }
    return *height < 1 || *width < 1 || *height > 65536 || *width > 65536 ? nc_fail(e, NC_EINVAL, "a picture of %d x %d is too narrow", im->width, im->height) : 0;
}

/* Pictures, each normalized in its corner of a zero plane. */
static int emit(const nc_processor *p, nc_arena *a, const nc_image *im, int count, nc_features *out, nc_error *e)
{
    int height = 0, width = 0;
    size_t bytes;

    for (int i = 0; i < count; i++) {
        height = im[i].height > height ? im[i].height : height;
        width = im[i].width > width ? im[i].width : width;
    }
    for (int i = 0; i < count && !p->do_pad; i++)
        if (im[i].height != height || im[i].width != width)
            return nc_fail(e, NC_ESHAPE, "pictures of several sizes cannot be stacked without do_pad");
    const size_t plane = (size_t)height * (size_t)width;
    if (!nc_mul_size(plane * 3 * sizeof(float), (size_t)count, &bytes) || bytes > (size_t)1 << 33)
        return nc_fail(e, NC_ELIMIT, "%d pictures of %d x %d are too many at once", count, height, width);
    float *pixels = nc_features_emit(out, "pixel_values", 4, (int64_t[]){ count, 3, height, width })->f32 = nc_arena_alloc(a, bytes);
    int64_t *mask = nc_emit_ints(a, out, "pixel_mask", 3, (int64_t[]){ count, height, width });
    memset(pixels, 0, bytes);
    memset(mask, 0, plane * (size_t)count * sizeof *mask);
    for (int i = 0; i < count; i++) {
        const size_t own = (size_t)im[i].height * (size_t)im[i].width;
        const float *values = nc_emit_floats(p, a, im[i].pixels, own * 3, 1);
        for (size_t k = 0; k < own; k++) {
            const size_t to = k / (size_t)im[i].width * (size_t)width + k % (size_t)im[i].width;
            mask[(size_t)i * plane + to] = 1;
            for (size_t c = 0; c < 3; c++)
                pixels[((size_t)i * 3 + c) * plane + to] = values[3 * k + c];
        }
    }
    return 0;
}

static int run_images(const nc_processor *p, nc_arena *a, const nc_image *images, int count, nc_features *out, nc_error *e)
{
    nc_image *work = nc_xcalloc((size_t)count, sizeof *work);
    int code = 0, height, width;

    for (int i = 0; i < count && code == 0; i++) {
        if (!p->do_resize)
            code = nc_image_copy(&images[i], &work[i], e);
        else if ((code = size_of(p, &images[i], &height, &width, e)) == 0)
            code = nc_step_resize(p, &images[i], height, width, &work[i], e);
    }
    if (code == 0)
        code = emit(p, a, work, count, out, e);
    for (int i = 0; i < count; i++)
        nc_image_free(&work[i]);
    free(work);
    return code;
}

const nc_processor_family nc_processor_detr = { classes, "format do_convert_annotations max_size pad_size pad_and_return_pixel_mask", parse, run_images, NULL, false };

/* processor_native.c - towers that take pictures near their own size: Pixtral and SigLIP 2 (NaFlex).
 *
 * Pixtral: scaled down to fit longest_edge (floor), then both sides up to multiples of the patch; image_sizes [1, 2].
 * SigLIP 2: the largest scale, by bisection to 1e-5, at which the sides rounded up to patches make at most max_num_patches of them;
 * pixel_values [1, max_num_patches, P P 3] (channel last, zero rows after the picture's), pixel_attention_mask, spatial_shapes [1, 2].
 */
#include "front/processor_family.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const nc_processor_class_row classes[] = {
    { "PixtralImageProcessor", 0, 0, 0, 0, NC_BICUBIC, NC_COLORS_CLIP, false, true, true, false },
    { "Siglip2ImageProcessor", 0, 0, 0, 0, NC_BILINEAR, NC_COLORS_HALF, false, true, false, false },
    { 0 },
};

static int side(const nc_json *v, const char *file, int fallback, int *out, nc_error *e)
{
    int64_t n = fallback;
    if (v && (!nc_json_int_exact(v, &n) || n < 1 || n > 65536))
        return nc_fail(e, NC_EFORMAT, "%s:%d: %s must be 1 to 65536", file, v->line, v->key.p);
    *out = (int)n;
    return 0;
}

static int parse(nc_processor *p, const nc_json *config, const char *file, nc_error *e)
{
    const nc_json *patch = nc_json_get(config, "patch_size");
    const bool pair = nc_json_is(patch, NC_JSON_OBJECT);
    NC_TRY(side(pair ? nc_json_get(patch, "height") : patch, file, 16, &p->patch_size, e));
    p->patch_width = p->patch_size;
    if (pair)
        NC_TRY(side(nc_json_get(patch, "width"), file, 16, &p->patch_width, e));
    NC_TRY(side(nc_json_get(config, "max_num_patches"), file, 256, &p->max_patches, e));
    if (!p->longest)
        p->longest = 1024;
    return 0;
}

static int pixtral(const nc_processor *p, nc_arena *a, const nc_image *im, nc_features *out, nc_error *e)
{
    double h = im->height, w = im->width;
    const double ratio = fmax(h / p->longest, w / p->longest);
    nc_image work;

    if (ratio > 1) {
        h = floor(h / ratio);
        w = floor(w / ratio);
    }
    if (h < 1 || w < 1)
        return nc_fail(e, NC_EINVAL, "height and width must be > 0; a picture of %d x %d is too narrow for %d", im->width, im->height, p->longest);
    const int H = ((int)h + p->patch_size - 1) / p->patch_size * p->patch_size, W = ((int)w + p->patch_width - 1) / p->patch_width * p->patch_width;
    NC_TRY(p->do_resize ? nc_step_resize(p, im, H, W, &work, e) : nc_image_copy(im, &work, e));
    int code = nc_emit_pictures(p, a, &work, 1, "pixel_values", 1, (int64_t[]){ 1 }, out, e);
    if (code == 0) {
        int64_t *size = nc_emit_ints(a, out, "image_sizes", 2, (int64_t[]){ 1, 2 });
        size[0] = work.height;
        size[1] = work.width;
    }
    nc_image_free(&work);
    return code;
}

static int scaled(double scale, int length, int patch)
{
    const double v = ceil(length * scale / patch) * patch;
    return v < patch ? patch : (int)v;
}

static void naflex_size(const nc_processor *p, const nc_image *im, int *height, int *width)
{
    const double eps = 1e-5;
    double low = eps / 10, high = 100;
    while (high - low >= eps) {
        const double s = (low + high) / 2;
        const double n = (double)(scaled(s, im->height, p->patch_size) / p->patch_size) * (scaled(s, im->width, p->patch_size) / p->patch_size);
        if (n <= p->max_patches)
            low = s;
        else
            high = s;
    }
    *height = scaled(low, im->height, p->patch_size);
    *width = scaled(low, im->width, p->patch_size);
}

static int siglip2(const nc_processor *p, nc_arena *a, const nc_image *im, nc_features *out, nc_error *e)
{
    const int P = p->patch_size;
    const int64_t row = (int64_t)P * P * 3, all = p->max_patches * row;
    int h, w;
    nc_image work;

    naflex_size(p, im, &h, &w);
    const int rows = h / P, columns = w / P;
    if ((int64_t)rows * columns > p->max_patches || all > (int64_t)1 << 31)
        return nc_fail(e, NC_EINVAL, "a picture of %d x %d cannot be cut into %d patches", im->width, im->height, p->max_patches);
    NC_TRY(nc_step_resize(p, im, h, w, &work, e));
    uint8_t *u8 = nc_arena_alloc(a, (size_t)all), *to = u8;
    for (int i = 0; i < rows * columns; i++)
        for (int y = 0; y < P; y++, to += 3 * P)
            memcpy(to, work.pixels + ((size_t)(i / columns * P + y) * (size_t)w + (size_t)(i % columns * P)) * 3, (size_t)(3 * P));
    nc_image_free(&work);
    float *f = nc_emit_floats(p, a, u8, (size_t)all, 1);
    memset(f + rows * columns * row, 0, (size_t)(all - rows * columns * row) * sizeof *f);
    nc_features_emit(out, "pixel_values", 3, (int64_t[]){ 1, p->max_patches, row })->f32 = f;
    out->u8 = u8;
    int64_t *mask = nc_emit_ints(a, out, "pixel_attention_mask", 2, (int64_t[]){ 1, p->max_patches });
    for (int i = 0; i < rows * columns; i++)
        mask[i] = 1;
    int64_t *shape = nc_emit_ints(a, out, "spatial_shapes", 2, (int64_t[]){ 1, 2 });
    shape[0] = rows;
    shape[1] = columns;
    return 0;
}

static int run_images(const nc_processor *p, nc_arena *a, const nc_image *images, int count, nc_features *out, nc_error *e)
{
    (void)count;
    return p->row == &classes[0] ? pixtral(p, a, images, out, e) : siglip2(p, a, images, out, e);
}

const nc_processor_family nc_processor_native = { classes, "patch_size max_num_patches", parse, run_images, NULL, true };

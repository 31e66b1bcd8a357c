/* processor_pix2struct.c - Pix2Struct: the picture normalized by its own mean and deviation, scaled so that at most max_patches patches fit, and cut.
 *
 * With s = sqrt(max_patches (P / h) (Q / w)): rows = floor(s h / P), columns = floor(s w / Q), each from 1 to max_patches. All in float:
 * v = (x - mean) / max(std, 1 / sqrt(3 h w)), antialiased bilinear scaling, patches channel last. flattened_patches [1, max_patches, 2 + P Q 3]
 * begin with row and column from 1; rows after the last patch are zero; attention_mask marks the others.
 */
#include "front/processor_family.h"
#include <math.h>
#include <stdlib.h>

static const nc_processor_class_row classes[] = {
    { "Pix2StructImageProcessor", 0, 0, 0, 0, NC_BILINEAR, NC_COLORS_HALF, false, true, false, false },
    { 0 },
};

static int parse(nc_processor *p, const nc_json *config, const char *file, nc_error *e)
{
    const nc_json *patch = nc_json_get(config, "patch_size");
    const int64_t h = nc_json_int(nc_json_get(patch, "height"), 16), w = nc_json_int(nc_json_get(patch, "width"), 16);
    const int64_t most = nc_json_int(nc_json_get(config, "max_patches"), 2048);
    if (h < 1 || w < 1 || h > 1024 || w > 1024 || most < 1 || most > 65536)
        return nc_fail(e, NC_EFORMAT, "%s: patch_size must be 1 to 1024 a side and max_patches 1 to 65536", file);
    if (nc_json_bool(nc_json_get(config, "is_vqa"), false))
        return nc_fail(e, NC_EUNSUPPORTED, "%s: is_vqa true draws the question into the picture, which is not done here", file);
    p->patch_size = (int)h;
    p->patch_width = (int)w;
    p->max_patches = (int)most;
    return 0;
}

static int fitting(double scale, int length, int patch, int most)
{
    const double n = floor(scale * length / patch);
    return n < 1 ? 1 : n > most ? most : (int)n;
}

/* Channel c as floats, normalized. */
static void plane_of(const nc_processor *p, const nc_image *im, int c, double mean, double deviation, float *to)
{
    const size_t n = (size_t)im->width * (size_t)im->height;
    for (size_t i = 0; i < n; i++) {
        const float v = (float)im->pixels[3 * i + (size_t)c];
        to[i] = p->do_normalize ? (v - (float)mean) / (float)deviation : v;
    }
}

static void moments(const nc_image *im, double *mean, double *deviation)
{
    const size_t n = nc_image_bytes(im);
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += im->pixels[i];
    *mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += (im->pixels[i] - *mean) * (im->pixels[i] - *mean);
    *deviation = fmax(sqrt(squares / (double)n), 1 / sqrt((double)n));
}

static void place(const nc_processor *p, const float *plane, int c, int rows, int columns, float *out)
{
    const int P = p->patch_size, Q = p->patch_width;
    const size_t row = 2 + (size_t)(P * Q * 3), width = (size_t)(columns * Q);
    for (int i = 0; i < rows * columns; i++) {
        float *to = out + (size_t)i * row;
        to[0] = (float)(i / columns + 1);
        to[1] = (float)(i % columns + 1);
        for (int y = 0; y < P; y++)
            for (int x = 0; x < Q; x++)
                to[2 + (y * Q + x) * 3 + c] = plane[(size_t)(i / columns * P + y) * width + (size_t)(i % columns * Q + x)];
    }
}

static int run_images(const nc_processor *p, nc_arena *a, const nc_image *images, int count, nc_features *out, nc_error *e)
{
    const nc_image *im = &images[0];
    const int P = p->patch_size, Q = p->patch_width;
    const double scale = sqrt(p->max_patches * ((double)P / im->height) * ((double)Q / im->width));
    const int rows = fitting(scale, im->height, P, p->max_patches), columns = fitting(scale, im->width, Q, p->max_patches);
    const int64_t shape[] = { 1, p->max_patches, 2 + (int64_t)P * Q * 3 };
    double mean, deviation;
    int code = 0;

    (void)count;
    if (rows * (int64_t)columns > p->max_patches || shape[1] * shape[2] > (int64_t)1 << 31)
        return nc_fail(e, NC_EINVAL, "a picture of %d x %d cannot be cut into %d patches", im->width, im->height, p->max_patches);
    moments(im, &mean, &deviation);
    float *all = NC_NEW_ARRAY(a, float, shape[1] * shape[2]);
    float *plane = nc_xmalloc((size_t)im->width * (size_t)im->height * sizeof *plane), *small = nc_xmalloc((size_t)(rows * P) * (size_t)(columns * Q) * sizeof *small);
    for (int c = 0; c < 3 && code == 0; c++) {
        plane_of(p, im, c, mean, deviation, plane);
        code = nc_resize_f32(plane, im->width, im->height, small, columns * Q, rows * P, NC_BILINEAR, NC_RESIZE_TORCHVISION, e);
        place(p, small, c, rows, columns, all);
    }
    free(plane);
    free(small);
    if (code < 0)
        return code;
    nc_features_emit(out, "flattened_patches", 3, shape)->f32 = all;
    float *mask = NC_NEW_ARRAY(a, float, p->max_patches);
    for (int i = 0; i < rows * columns; i++)
        mask[i] = 1;
    nc_features_emit(out, "attention_mask", 2, shape)->f32 = mask;
    return 0;
}

const nc_processor_family nc_processor_pix2struct = { classes, "patch_size max_patches is_vqa header_text", parse, run_images, NULL, true };

/* functional.c - torchvision.transforms.functional by its names, with the defaults it has; on Pillow pictures and tensors. */
#include <math.h>
#include <string.h>

#include "media/augment/raster.h"

#define APPLY(id, type, call)                                                              \
    static int apply_##id(const void *parameters, nc_rng *rng, nc_raster *x, nc_error *e)  \
    {                                                                                      \
        const type *p = parameters;                                                        \
        (void)rng;                                                                         \
        (void)p;                                                                           \
        return call;                                                                       \
    }
#define OPERATION(id, type, reader) const nc_augment_op nc_augment_##id = { #id, sizeof(type), reader, apply_##id }

#define ADJUST(id, key, least, most, call)                                                 \
    static void read_##id(void *parameters, nc_args *a)                                    \
    {                                                                                      \
        nc_arg_need(a, key);                                                               \
        *(double *)parameters = nc_arg_number_in(a, key, 1, least, most);                  \
    }                                                                                      \
    APPLY(id, double, call(x, *p, e))                                                      \
    OPERATION(id, double, read_##id);
ADJUST(adjust_brightness, "brightness_factor", 0, 1e6, nc_torch_brightness)
ADJUST(adjust_contrast, "contrast_factor", 0, 1e6, nc_torch_contrast)
ADJUST(adjust_saturation, "saturation_factor", 0, 1e6, nc_torch_saturation)
ADJUST(adjust_hue, "hue_factor", -0.5, 0.5, nc_torch_hue)
ADJUST(adjust_sharpness, "sharpness_factor", 0, 1e6, nc_torch_sharpness)
ADJUST(solarize, "threshold", -1e6, 1e6, nc_torch_solarize)

struct gamma { double gamma, gain; };

static void read_gamma(void *parameters, nc_args *a)
{
    nc_arg_need(a, "gamma");
    *(struct gamma *)parameters = (struct gamma){ nc_arg_number_in(a, "gamma", 1, 0, 1e6), nc_arg_number_in(a, "gain", 1, -1e6, 1e6) };
}
APPLY(adjust_gamma, struct gamma, nc_torch_gamma(x, p->gamma, p->gain, e))
OPERATION(adjust_gamma, struct gamma, read_gamma);

static void read_none(void *parameters, nc_args *a)
{
    (void)parameters;
    (void)a;
}
static void read_channels(void *parameters, nc_args *a)
{
    int *n = parameters;
    *n = nc_arg_int(a, "num_output_channels", 1, 1, 3);
    if (*n == 2)
        nc_arg_mistake(a, "num_output_channels is 1 or 3");
}
static void read_bits(void *parameters, nc_args *a)
{
    nc_arg_need(a, "bits");
    *(int *)parameters = nc_arg_int(a, "bits", 8, 0, 8);
}
APPLY(to_grayscale, int, nc_torch_grayscale(x, *p, e))
APPLY(autocontrast, char, nc_torch_autocontrast(x, e))
APPLY(equalize, char, nc_torch_equalize(x, e))
APPLY(invert, char, nc_torch_invert(x, e))
APPLY(posterize, int, nc_torch_posterize(x, *p, e))
APPLY(hflip, char, nc_torch_flip(x, false, e))
APPLY(vflip, char, nc_torch_flip(x, true, e))
OPERATION(to_grayscale, int, read_channels);
OPERATION(autocontrast, char, read_none);
OPERATION(equalize, char, read_none);
OPERATION(invert, char, read_none);
OPERATION(posterize, int, read_bits);
OPERATION(hflip, char, read_none);
OPERATION(vflip, char, read_none);

struct blur { int kernel[2]; double sigma[2]; };

static void read_blur(void *parameters, nc_args *a)
{
    struct blur *b = parameters;
    double kernel[2] = { 0 };
    nc_arg_need(a, "kernel_size");
    if (nc_arg_numbers(a, "kernel_size", kernel, 1, 2) == 1)
        kernel[1] = kernel[0];
    const int given = nc_arg_numbers(a, "sigma", b->sigma, 1, 2);
    for (int k = 0; k < 2; k++) {
        if (!(kernel[k] >= 1 && kernel[k] <= 255 && fmod(kernel[k], 2) == 1))
            nc_arg_mistake(a, "kernel_size must be odd, from 1 to 255");
        else
            b->kernel[k] = (int)kernel[k];
        b->sigma[k] = given == 0 ? kernel[k] * 0.15 + 0.35 : given == 1 ? b->sigma[0] : b->sigma[k];
        if (!(b->sigma[k] > 0 && b->sigma[k] < 1e6))
            nc_arg_mistake(a, "sigma must be above 0");
    }
}
APPLY(gaussian_blur, struct blur, nc_torch_blur(x, p->kernel, p->sigma, e))
OPERATION(gaussian_blur, struct blur, read_blur);

struct window { int top, left, height, width, size[2]; nc_filter filter; bool antialias; };

static void read_corner(struct window *w, nc_args *a)
{
    static const char *const keys[] = { "top", "left", "height", "width" };
    int *const to[] = { &w->top, &w->left, &w->height, &w->width };
    for (int k = 0; k < 4; k++) {
        nc_arg_need(a, keys[k]);
        *to[k] = nc_arg_int(a, keys[k], 1, k < 2 ? -65536 : 1, 65536);
    }
}

/* [height, width], or one number for both. */
static void read_size(struct window *w, nc_args *a)
{
    double size[2] = { 1, 1 };
    nc_arg_need(a, "size");
    if (nc_arg_numbers(a, "size", size, 1, 2) == 1)
        size[1] = size[0];
    for (int k = 0; k < 2; k++)
        if (size[k] >= 1 && size[k] <= 65536)
            w->size[k] = (int)size[k];
        else
            nc_arg_mistake(a, "size must lie within 1 to 65536");
}

static void read_scaling(struct window *w, nc_args *a)
{
    w->filter = nc_arg_filter(a, "interpolation", NC_BILINEAR);
    w->antialias = nc_arg_bool(a, "antialias", true);
}
static void read_crop(void *parameters, nc_args *a) { read_corner(parameters, a); }
static void read_center_crop(void *parameters, nc_args *a) { read_size(parameters, a); }
static void read_resize(void *parameters, nc_args *a)
{
    read_size(parameters, a);
    read_scaling(parameters, a);
}
static void read_resized_crop(void *parameters, nc_args *a)
{
    read_corner(parameters, a);
    read_resize(parameters, a);
}

static int resized_crop(nc_raster *x, const struct window *w, nc_error *e)
{
    NC_TRY(nc_torch_crop(x, w->top, w->left, w->height, w->width, e));
    return nc_torch_resize(x, w->size[0], w->size[1], w->filter, w->antialias, e);
}
APPLY(crop, struct window, nc_torch_crop(x, p->top, p->left, p->height, p->width, e))
APPLY(center_crop, struct window, nc_torch_center_crop(x, p->size[0], p->size[1], e))
APPLY(resize, struct window, nc_torch_resize(x, p->size[0], p->size[1], p->filter, p->antialias, e))
APPLY(resized_crop, struct window, resized_crop(x, p, e))
OPERATION(crop, struct window, read_crop);
OPERATION(center_crop, struct window, read_center_crop);
OPERATION(resize, struct window, read_resize);
OPERATION(resized_crop, struct window, read_resized_crop);

struct padding { int v[4]; nc_fill fill; nc_padding mode; };

/* One number, [horizontal, vertical] or [left, top, right, bottom]. */
void nc_arg_padding(nc_args *a, const char *key, int out[4])
{
    double v[4] = { 0 };
    const int n = nc_arg_numbers(a, key, v, 1, 4);
    if (n == 3)
        nc_arg_mistake(a, "%s is one number, two or four", key);
    for (int k = 0; k < 4; k++) {
        const double d = v[n == 4 ? k : n == 2 ? k % 2 : 0];
        if (fabs(d) <= 65536)
            out[k] = (int)d;
        else
            nc_arg_mistake(a, "%s must lie within -65536 to 65536", key);
    }
}

nc_padding nc_arg_padding_mode(nc_args *a)
{
    static const char *const words[] = { "constant", "edge", "reflect", "symmetric" };
    return (nc_padding)nc_arg_word_of(a, "padding_mode", words, NC_COUNT(words), NC_PAD_CONSTANT);
}

static void read_pad(void *parameters, nc_args *a)
{
    struct padding *p = parameters;
    nc_arg_need(a, "padding");
    nc_arg_padding(a, "padding", p->v);
    p->fill = nc_arg_fill(a, "fill", false);
    p->mode = nc_arg_padding_mode(a);
}
APPLY(pad, struct padding, nc_torch_pad(x, p->v, &p->fill, p->mode, e))
OPERATION(pad, struct padding, read_pad);

static void read_rotate(void *parameters, nc_args *a)
{
    nc_rotation *r = parameters;
    nc_arg_need(a, "angle");
    r->angle = nc_arg_number_in(a, "angle", 0, -1e9, 1e9);
    r->filter = nc_arg_filter(a, "interpolation", NC_NEAREST);
    r->expand = nc_arg_bool(a, "expand", false);
    r->centered = nc_arg_numbers(a, "center", r->center, 2, 2) == 2;
    r->fill = nc_arg_fill(a, "fill", false);
}
APPLY(rotate, nc_rotation, nc_torch_rotate(x, p, e))
OPERATION(rotate, nc_rotation, read_rotate);

static void read_affine(void *parameters, nc_args *a)
{
    nc_affine *f = parameters;
    f->angle = nc_arg_number_in(a, "angle", 0, -1e9, 1e9);
    nc_arg_numbers(a, "translate", f->translate, 2, 2);
    f->scale = nc_arg_number_in(a, "scale", 1, 1e-9, 1e9);
    const bool list = nc_json_is(nc_json_get(a->map, "shear"), NC_JSON_ARRAY);
    if (nc_arg_numbers(a, "shear", f->shear, 1, 2) == 1)
        f->shear[1] = list ? f->shear[0] : 0;        /* a list of one shears both axes, a number only x */
    f->filter = nc_arg_filter(a, "interpolation", NC_NEAREST);
    f->fill = nc_arg_fill(a, "fill", false);
    f->centered = nc_arg_numbers(a, "center", f->center, 2, 2) == 2;
}
APPLY(affine, nc_affine, nc_torch_affine(x, p, e))
OPERATION(affine, nc_affine, read_affine);

struct perspective { bool corners; double start[8], end[8]; nc_filter filter; nc_fill fill; };

static void read_points(nc_args *a, const char *key, const nc_json *v, double out[8])
{
    int n = 0;
    NC_JSON_EACH(point, v)
        for (int k = 0; k < 2 && n < 8 && point->count == 2; k++)
            out[n++] = nc_json_double(nc_json_at(point, k), NAN);
    for (int k = 0; k < 8; k++)
        if (n != 8 || v->count != 4 || !(fabs(out[k]) <= 1e6))
            nc_arg_mistake(a, "%s must be four points [x, y]: top left, top right, bottom right, bottom left", key);
}

/* startpoints: the picture's corners where they are not given. */
static void read_perspective(void *parameters, nc_args *a)
{
    struct perspective *p = parameters;
    nc_arg_need(a, "endpoints");
    p->corners = !nc_arg_given(a, "startpoints");
    if (!p->corners)
        read_points(a, "startpoints", nc_arg_list(a, "startpoints"), p->start);
    read_points(a, "endpoints", nc_arg_list(a, "endpoints"), p->end);
    p->filter = nc_arg_filter(a, "interpolation", NC_BILINEAR);
    p->fill = nc_arg_fill(a, "fill", false);
}

static int perspective(nc_raster *x, const struct perspective *p, nc_error *e)
{
    const double w = nc_raster_width(x) - 1, h = nc_raster_height(x) - 1, corners[8] = { 0, 0, w, 0, w, h, 0, h };
    return nc_torch_perspective(x, p->corners ? corners : p->start, p->end, p->filter, &p->fill, e);
}
APPLY(perspective, struct perspective, perspective(x, p, e))
OPERATION(perspective, struct perspective, read_perspective);

struct normalize { int count; double mean[4], std[4]; };

static void read_normalize(void *parameters, nc_args *a)
{
    struct normalize *n = parameters;
    nc_arg_need(a, "mean");
    nc_arg_need(a, "std");
    n->count = nc_arg_numbers(a, "mean", n->mean, 1, 4);
    if (nc_arg_numbers(a, "std", n->std, 1, 4) != n->count)
        nc_arg_mistake(a, "mean and std must have as many numbers");
    for (int k = 0; k < n->count; k++)
        if ((float)n->std[k] == 0)
            nc_arg_mistake(a, "std must not be 0");
}

static int normalize(nc_raster *x, const struct normalize *n, nc_error *e)
{
    const nc_planes *p = &x->planes;
    if (!x->tensor || p->bytes)
        return nc_fail(e, NC_EINVAL, "normalize takes a tensor of floats: put ToTensor before it");
    if (n->count != 1 && n->count != p->channels)
        return nc_fail(e, NC_EINVAL, "normalize: %d means for %d channels", n->count, p->channels);
    for (size_t i = 0; i < nc_planes_count(p); i++) {
        const int k = n->count == 1 ? 0 : (int)(i / nc_planes_plane(p));
        p->p[i] = (p->p[i] - (float)n->mean[k]) / (float)n->std[k];
    }
    return 0;
}
APPLY(normalize, struct normalize, normalize(x, p, e))
OPERATION(normalize, struct normalize, read_normalize);

struct erase { struct window at; int count; float value[4]; };

static void read_erase(void *parameters, nc_args *a)
{
    struct erase *p = parameters;
    double v[4] = { 0 };
    read_corner(&p->at, a);
    p->count = nc_arg_numbers(a, "value", v, 1, 4);
    for (int k = 0; k < 4; k++)
        p->value[k] = (float)v[k];
    p->count = p->count ? p->count : 1;
}

/* As a slice of Python: cut at the picture's edge. */
static int erase(nc_raster *x, const struct erase *p, nc_error *e)
{
    const int w = nc_raster_width(x), h = nc_raster_height(x);
    const int top = p->at.top < h ? p->at.top : h, left = p->at.left < w ? p->at.left : w;
    const int height = p->at.height < h - top ? p->at.height : h - top, width = p->at.width < w - left ? p->at.width : w - left;
    return nc_torch_erase(x, top, left, height, width, p->value, p->count, e);
}
APPLY(erase, struct erase, erase(x, p, e))
OPERATION(erase, struct erase, read_erase);

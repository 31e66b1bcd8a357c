/* imageops_operations.c - Pillow's ImageOps by their names. They take a Pillow picture, not a tensor.
 *
 * contain scales into a box, cover around it, keeping the ratio of the sides (the other side rounded half to even); pad is contain laid on a canvas;
 * fit cuts the largest part of the box's ratio, at fractions of a pixel, and scales that.
 */
#include <math.h>
#include <string.h>

#include "media/augment/pillow_operations.h"

#define OPERATION(id, type, reader) const nc_augment_op nc_augment_ImageOps_##id = { "ImageOps." #id, sizeof(type), reader, apply_##id }

struct contrast { double cutoff[2]; int ignore[16], ignored; bool preserve_tone; };

static void read_autocontrast(void *parameters, nc_args *a)
{
    struct contrast *c = parameters;
    double ignore[16];
    if (nc_arg_numbers(a, "cutoff", c->cutoff, 1, 2) == 1)
        c->cutoff[1] = c->cutoff[0];
    for (int k = 0; k < 2; k++)
        if (!(c->cutoff[k] >= 0 && c->cutoff[k] <= 100))
            nc_arg_mistake(a, "cutoff is a percentage");
    c->ignored = nc_arg_numbers(a, "ignore", ignore, 1, NC_COUNT(ignore));
    for (int k = 0; k < c->ignored; k++)
        if (ignore[k] >= 0 && ignore[k] <= 255)
            c->ignore[k] = (int)ignore[k];
        else
            nc_arg_mistake(a, "ignore holds levels from 0 to 255");
    c->preserve_tone = nc_arg_bool(a, "preserve_tone", false);
}
NC_AUGMENT_APPLY(autocontrast, struct contrast, nc_pillow_autocontrast(in, p->cutoff[0], p->cutoff[1], p->ignore, p->ignored, p->preserve_tone, &out, e))
OPERATION(autocontrast, struct contrast, read_autocontrast);

static void read_none(void *parameters, nc_args *a)
{
    (void)parameters;
    (void)a;
}
static void read_bits(void *parameters, nc_args *a)
{
    nc_arg_need(a, "bits");
    *(int *)parameters = nc_arg_int(a, "bits", 8, 1, 8);
}
static void read_threshold(void *parameters, nc_args *a) { *(double *)parameters = nc_arg_number_in(a, "threshold", 128, -1e6, 1e6); }
NC_AUGMENT_APPLY(equalize, char, nc_pillow_equalize(in, &out, e))
NC_AUGMENT_APPLY(invert, char, nc_pillow_invert(in, &out, e))
NC_AUGMENT_APPLY(posterize, int, nc_pillow_posterize(in, *p, &out, e))
NC_AUGMENT_APPLY(solarize, double, nc_pillow_solarize(in, *p, &out, e))
NC_AUGMENT_APPLY(grayscale, char, nc_pillow_convert(in, NC_MODE_L, &out, e))
NC_AUGMENT_APPLY(mirror, char, nc_pillow_transpose(in, NC_FLIP_LEFT_RIGHT, &out, e))
NC_AUGMENT_APPLY(flip, char, nc_pillow_transpose(in, NC_FLIP_TOP_BOTTOM, &out, e))
OPERATION(equalize, char, read_none);
OPERATION(invert, char, read_none);
OPERATION(posterize, int, read_bits);
OPERATION(solarize, double, read_threshold);
OPERATION(grayscale, char, read_none);
OPERATION(mirror, char, read_none);
OPERATION(flip, char, read_none);

struct border { int left, top, right, bottom; nc_fill fill; };

static void read_border(void *parameters, nc_args *a)
{
    struct border *b = parameters;
    double v[4] = { 0 };
    const int n = nc_arg_numbers(a, "border", v, 1, 4);
    if (n == 3)
        nc_arg_mistake(a, "border is one number, two or four");
    for (int k = 0; k < n; k++)
        if (!(fabs(v[k]) <= 65536))
            nc_arg_mistake(a, "border must lie within -65536 to 65536");
    *b = (struct border){ (int)v[0], (int)v[n > 1 ? 1 : 0], (int)v[n == 4 ? 2 : 0], (int)v[n == 4 ? 3 : n > 1 ? 1 : 0], { 0 } };
}

static void read_expand(void *parameters, nc_args *a)
{
    read_border(parameters, a);
    ((struct border *)parameters)->fill = nc_arg_fill(a, "fill", true);
}

static int frame(const nc_image *in, const struct border *b, int sign, nc_image *out, nc_error *e)
{
    uint8_t color[4];
    const int left = sign * b->left, top = sign * b->top, w = in->width + left + sign * b->right, h = in->height + top + sign * b->bottom;
    for (int c = 0; c < in->channels; c++)
        color[c] = nc_fill_byte(&b->fill, c, in->channels);
    return nc_crop(in, -left, -top, w, h, color, out, e);
}
NC_AUGMENT_APPLY(expand, struct border, frame(in, p, 1, &out, e))
NC_AUGMENT_APPLY(crop, struct border, frame(in, p, -1, &out, e))
OPERATION(expand, struct border, read_expand);
OPERATION(crop, struct border, read_border);

struct place { int width, height; nc_filter filter; double bleed, centering[2]; nc_fill fill; };

static void read_place(struct place *s, nc_args *a)
{
    double size[2] = { 1, 1 };
    nc_arg_need(a, "size");
    nc_arg_numbers(a, "size", size, 2, 2);
    if (!(size[0] >= 1 && size[1] >= 1 && size[0] <= 65536 && size[1] <= 65536))
        nc_arg_mistake(a, "size is a width and a height from 1 to 65536");
    else {
        s->width = (int)size[0];
        s->height = (int)size[1];
    }
    s->filter = nc_arg_filter(a, "method", NC_BICUBIC);
    s->centering[0] = s->centering[1] = 0.5;
}

static void read_scaled(void *parameters, nc_args *a) { read_place(parameters, a); }

static void read_fit(void *parameters, nc_args *a)
{
    struct place *s = parameters;
    read_place(s, a);
    s->bleed = nc_arg_number(a, "bleed", 0);
    nc_arg_numbers(a, "centering", s->centering, 2, 2);
}

static void read_pad(void *parameters, nc_args *a)
{
    struct place *s = parameters;
    read_place(s, a);
    s->fill = nc_arg_fill(a, "color", true);
    nc_arg_numbers(a, "centering", s->centering, 2, 2);
}

static void contained(const nc_image *in, const struct place *s, bool cover, double *w, double *h)
{
    const double ratio = (double)in->width / in->height, wanted = (double)s->width / s->height;
    *w = s->width;
    *h = s->height;
    if (ratio != wanted && (ratio > wanted) != cover)
        *h = rint((double)in->height / in->width * s->width);
    else if (ratio != wanted)
        *w = rint((double)in->width / in->height * s->height);
}

static int contain(const nc_image *in, const struct place *s, bool cover, nc_image *out, nc_error *e)
{
    double w, h;
    contained(in, s, cover, &w, &h);
    if (!(w >= 1 && h >= 1 && w <= 65536 && h <= 65536))
        return nc_fail(e, NC_EINVAL, "a picture of %d x %d would become %g x %g", in->width, in->height, w, h);
    return nc_resize(in, (int)w, (int)h, s->filter, NULL, NC_RESIZE_PILLOW, out, e);
}

/* Where a side of the picture would vanish the canvas stays empty. */
static int pad(const nc_image *in, const struct place *s, nc_image *out, nc_error *e)
{
    nc_image part;
    uint8_t color[4];
    double w, h;
    for (int c = 0; c < in->channels; c++)
        color[c] = nc_fill_byte(&s->fill, c, in->channels);
    contained(in, s, false, &w, &h);
    if (w < 1 || h < 1)
        return nc_crop(in, in->width, in->height, s->width, s->height, color, out, e);
    NC_TRY(contain(in, s, false, &part, e));
    const int x = (int)rint((s->width - part.width) * fmax(0, fmin(s->centering[0], 1)));
    const int y = part.width == s->width ? (int)rint((s->height - part.height) * fmax(0, fmin(s->centering[1], 1))) : 0;
    int status = nc_crop(&part, -x, -y, s->width, s->height, color, out, e);
    nc_image_free(&part);
    return status;
}

static int fit(const nc_image *in, const struct place *s, nc_image *out, nc_error *e)
{
    const double cx = s->centering[0] >= 0 && s->centering[0] <= 1 ? s->centering[0] : 0.5, cy = s->centering[1] >= 0 && s->centering[1] <= 1 ? s->centering[1] : 0.5;
    const double bleed = s->bleed >= 0 && s->bleed < 0.5 ? s->bleed : 0, bx = bleed * in->width, by = bleed * in->height;
    const double w = in->width - bx * 2, h = in->height - by * 2, ratio = w / h, wanted = (double)s->width / s->height;
    const double cw = ratio > wanted ? wanted * h : w, ch = ratio < wanted ? w / wanted : h, left = bx + (w - cw) * cx, top = by + (h - ch) * cy;
    return nc_resize(in, s->width, s->height, s->filter, &(nc_box){ left, top, left + cw, top + ch }, NC_RESIZE_PILLOW, out, e);
}
NC_AUGMENT_APPLY(fit, struct place, fit(in, p, &out, e))
NC_AUGMENT_APPLY(contain, struct place, contain(in, p, false, &out, e))
NC_AUGMENT_APPLY(cover, struct place, contain(in, p, true, &out, e))
NC_AUGMENT_APPLY(pad, struct place, pad(in, p, &out, e))
OPERATION(fit, struct place, read_fit);
OPERATION(contain, struct place, read_scaled);
OPERATION(cover, struct place, read_scaled);
OPERATION(pad, struct place, read_pad);

struct scale { double factor; nc_filter filter; };

static void read_scale(void *parameters, nc_args *a)
{
    nc_arg_need(a, "factor");
    *(struct scale *)parameters = (struct scale){ nc_arg_number_in(a, "factor", 1, 1e-6, 1e6), nc_arg_filter(a, "resample", NC_BICUBIC) };
}

static int scale(const nc_image *in, const struct scale *s, nc_image *out, nc_error *e)
{
    const double w = rint(s->factor * in->width), h = rint(s->factor * in->height);
    if (!(w >= 1 && h >= 1 && w <= 65536 && h <= 65536))
        return nc_fail(e, NC_EINVAL, "a picture of %d x %d would become %g x %g", in->width, in->height, w, h);
    return nc_resize(in, (int)w, (int)h, s->filter, NULL, NC_RESIZE_PILLOW, out, e);
}
NC_AUGMENT_APPLY(scale, struct scale, scale(in, p, &out, e))
OPERATION(scale, struct scale, read_scale);

/* random_geometry.c - torchvision.transforms that scale, cut, turn, warp and erase, with its defaults and its distributions. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "media/augment/raster.h"

#define OPERATION(id, type) const nc_augment_op nc_augment_##id = { #id, sizeof(type), read_##id, apply_##id }

static double uniform(nc_rng *rng, const double range[2]) { return range[0] + (range[1] - range[0]) * nc_rng_uniform(rng); }
static int below(nc_rng *rng, int n) { return n > 1 ? (int)nc_rng_below(rng, (uint64_t)n) : 0; }

/* A number d stands for -d to d. */
static bool read_range(nc_args *a, const char *key, double out[2])
{
    const int n = nc_arg_numbers(a, key, out, 1, 2);
    if (n == 1) {
        if (out[0] < 0)
            nc_arg_mistake(a, "%s must not be below 0", key);
        out[1] = out[0];
        out[0] = -out[0];
    }
    if (n && out[0] > out[1])
        nc_arg_mistake(a, "%s must be a range, the smaller number first", key);
    return n > 0;
}

/* [height, width], or one number for both; returns how many were given. */
static int read_size(nc_args *a, int size[2])
{
    double v[2] = { 1, 1 };
    nc_arg_need(a, "size");
    const int n = nc_arg_numbers(a, "size", v, 1, 2);
    for (int k = 0; k < 2; k++) {
        const double d = v[n == 2 ? k : 0];
        if (d >= 1 && d <= 65536)
            size[k] = (int)d;
        else
            nc_arg_mistake(a, "size must lie within 1 to 65536");
    }
    return n;
}

struct scaling { int given, size[2], max_size; nc_filter filter; bool antialias; };

static void read_Resize(void *parameters, nc_args *a)
{
    struct scaling *s = parameters;
    s->given = read_size(a, s->size);
    s->max_size = nc_arg_int(a, "max_size", 0, 1, 65536);
    s->filter = nc_arg_filter(a, "interpolation", NC_BILINEAR);
    s->antialias = nc_arg_bool(a, "antialias", true);
    if (s->max_size && (s->given == 2 || s->max_size <= s->size[0]))
        nc_arg_mistake(a, "max_size bounds the longer side where size is one number, and is larger than it");
}

/* One number is the shorter side; the longer one follows, cut to a whole number, and max_size bounds it. */
static int apply_Resize(const void *parameters, nc_rng *rng, nc_raster *x, nc_error *e)
{
    const struct scaling *s = parameters;
    const int w = nc_raster_width(x), h = nc_raster_height(x), less = w < h ? w : h, more = w < h ? h : w;
    double shorter = s->size[0], longer = floor((double)s->size[0] * more / less);
    (void)rng;
    if (s->given == 2)
        return nc_torch_resize(x, s->size[0], s->size[1], s->filter, s->antialias, e);
    if (s->max_size && longer > s->max_size) {
        shorter = floor(s->max_size * shorter / longer);
        longer = s->max_size;
    }
    if (longer > 65536 || shorter < 1)
        return nc_fail(e, NC_EINVAL, "a picture of %d x %d would become %g x %g", w, h, w < h ? shorter : longer, w < h ? longer : shorter);
    if ((w < h ? shorter : longer) == w && (w < h ? longer : shorter) == h)
        return 0;
    return nc_torch_resize(x, (int)(w < h ? longer : shorter), (int)(w < h ? shorter : longer), s->filter, s->antialias, e);
}
OPERATION(Resize, struct scaling);

struct cut { int size[2], padding[4]; bool padded, pad_if_needed; nc_fill fill; nc_padding mode; };

static void read_CenterCrop(void *parameters, nc_args *a) { read_size(a, ((struct cut *)parameters)->size); }
static int apply_CenterCrop(const void *parameters, nc_rng *rng, nc_raster *x, nc_error *e)
{
    const struct cut *c = parameters;
    (void)rng;
    return nc_torch_center_crop(x, c->size[0], c->size[1], e);
}
OPERATION(CenterCrop, struct cut);

static void read_Pad(void *parameters, nc_args *a)
{
    struct cut *c = parameters;
    nc_arg_need(a, "padding");
    nc_arg_padding(a, "padding", c->padding);
    c->fill = nc_arg_fill(a, "fill", false);
    c->mode = nc_arg_padding_mode(a);
}
static int apply_Pad(const void *parameters, nc_rng *rng, nc_raster *x, nc_error *e)
{
    const struct cut *c = parameters;
    (void)rng;
    return nc_torch_pad(x, c->padding, &c->fill, c->mode, e);
}
OPERATION(Pad, struct cut);

static void read_RandomCrop(void *parameters, nc_args *a)
{
    struct cut *c = parameters;
    read_size(a, c->size);
    c->padded = nc_arg_given(a, "padding");
    nc_arg_padding(a, "padding", c->padding);
    c->pad_if_needed = nc_arg_bool(a, "pad_if_needed", false);
    c->fill = nc_arg_fill(a, "fill", false);
    c->mode = nc_arg_padding_mode(a);
}

static int apply_RandomCrop(const void *parameters, nc_rng *rng, nc_raster *x, nc_error *e)
{
    const struct cut *c = parameters;
    if (c->padded)
        NC_TRY(nc_torch_pad(x, c->padding, &c->fill, c->mode, e));
    const int more[2] = { c->size[0] - nc_raster_height(x), c->size[1] - nc_raster_width(x) };
    if (c->pad_if_needed && more[1] > 0)
        NC_TRY(nc_torch_pad(x, (int[4]){ more[1], 0, more[1], 0 }, &c->fill, c->mode, e));
    if (c->pad_if_needed && more[0] > 0)
        NC_TRY(nc_torch_pad(x, (int[4]){ 0, more[0], 0, more[0] }, &c->fill, c->mode, e));
    const int w = nc_raster_width(x), h = nc_raster_height(x);
    if (w < c->size[1] || h < c->size[0])
        return nc_fail(e, NC_EINVAL, "a crop of %d x %d is larger than the picture of %d x %d: set pad_if_needed, or put Resize before it", c->size[1], c->size[0], w, h);
    const int top = below(rng, h - c->size[0] + 1), left = below(rng, w - c->size[1] + 1);
    return nc_torch_crop(x, top, left, c->size[0], c->size[1], e);
}
OPERATION(RandomCrop, struct cut);

struct part { int size[2]; double scale[2], ratio[2], p; nc_filter filter; bool antialias, random; int values; float value[4]; };

static void read_shares(struct part *s, nc_args *a)
{
    nc_arg_numbers(a, "scale", s->scale, 2, 2);
    nc_arg_numbers(a, "ratio", s->ratio, 2, 2);
    if (!(s->scale[0] >= 0 && s->scale[0] <= s->scale[1] && s->scale[1] <= 100))
        nc_arg_mistake(a, "scale must be two shares of the area, the smaller first");
    if (!(s->ratio[0] > 0 && s->ratio[0] <= s->ratio[1] && s->ratio[1] < 1e6))
        nc_arg_mistake(a, "ratio must be two ratios above 0, the smaller first");
}

/* A share of the area and a ratio, uniform in its logarithm. */
static void draw_part(const struct part *s, double area, nc_rng *rng, double *wide, double *high)
{
    const double share = area * uniform(rng, s->scale), range[2] = { log(s->ratio[0]), log(s->ratio[1]) }, ratio = exp(uniform(rng, range));
    *wide = rint(sqrt(share * ratio));
    *high = rint(sqrt(share / ratio));
}

static void read_RandomResizedCrop(void *parameters, nc_args *a)
{
    struct part *s = parameters;
    *s = (struct part){ .scale = { 0.08, 1 }, .ratio = { 3.0 / 4, 4.0 / 3 } };
    read_size(a, s->size);
    read_shares(s, a);
    s->filter = nc_arg_filter(a, "interpolation", NC_BILINEAR);
    s->antialias = nc_arg_bool(a, "antialias", true);
}

static int apply_RandomResizedCrop(const void *parameters, nc_rng *rng, nc_raster *x, nc_error *e)
{
    enum { TRIES = 10 };
    const struct part *s = parameters;
    const int w = nc_raster_width(x), h = nc_raster_height(x);
    double cw = w, ch = h;
    int top = -1, left = -1;
    for (int k = 0; k < TRIES && top < 0; k++) {
        draw_part(s, (double)w * h, rng, &cw, &ch);
        if (cw >= 1 && cw <= w && ch >= 1 && ch <= h) {
            top = below(rng, h - (int)ch + 1);
            left = below(rng, w - (int)cw + 1);
        }
    }
    if (top < 0) {                                       /* the middle, as large as the ratios allow */
        const double ratio = (double)w / h;
        cw = ratio > s->ratio[1] ? rint(h * s->ratio[1]) : w;
        ch = ratio < s->ratio[0] ? rint(w / s->ratio[0]) : h;
        top = (h - (int)ch) / 2;
        left = (w - (int)cw) / 2;
    }
    NC_TRY(nc_torch_crop(x, top, left, (int)ch, (int)cw, e));
    return nc_torch_resize(x, s->size[0], s->size[1], s->filter, s->antialias, e);
}
OPERATION(RandomResizedCrop, struct part);

static void read_RandomErasing(void *parameters, nc_args *a)
{
    struct part *s = parameters;
    double v[4] = { 0 };
    *s = (struct part){ .scale = { 0.02, 0.33 }, .ratio = { 0.3, 3.3 } };
    s->p = nc_arg_number_in(a, "p", 0.5, 0, 1);
    read_shares(s, a);
    s->random = nc_json_is(nc_json_get(a->map, "value"), NC_JSON_STRING);
    if (s->random) {
        static const char *const words[] = { "random" };
        nc_arg_word_of(a, "value", words, 1, 0);
        return;
    }
    s->values = nc_arg_numbers(a, "value", v, 1, 4);
    s->values = s->values ? s->values : 1;
    for (int k = 0; k < 4; k++)
        s->value[k] = (float)v[k];
}

static int apply_RandomErasing(const void *parameters, nc_rng *rng, nc_raster *x, nc_error *e)
{
    enum { TRIES = 10 };
    const struct part *s = parameters;
    const int w = nc_raster_width(x), h = nc_raster_height(x);
    if (!x->tensor)
        return nc_fail(e, NC_EINVAL, "takes a tensor: put PILToTensor or ToTensor before it");
    if (nc_rng_uniform(rng) >= s->p)
        return 0;
    for (int k = 0; k < TRIES; k++) {
        double cw, ch;
        draw_part(s, (double)w * h, rng, &ch, &cw);      /* here the ratio is height over width */
        if (!(cw < w && ch < h))
            continue;
        const int n = s->random ? x->planes.channels * (int)cw * (int)ch : s->values;
        float *v = nc_xmalloc(sizeof *v * (size_t)(n + 1));
        for (int i = 0; i < n; i++)
            v[i] = s->random ? (float)nc_rng_normal(rng) : s->value[i];
        const int top = below(rng, h - (int)ch + 1), left = below(rng, w - (int)cw + 1);
        int status = n && cw && ch ? nc_torch_erase(x, top, left, (int)ch, (int)cw, v, n, e) : 0;
        free(v);
        return status;
    }
    return 0;
}
OPERATION(RandomErasing, struct part);

#define FLIP(id, vertical)                                                                                  \
    static void read_##id(void *parameters, nc_args *a) { *(double *)parameters = nc_arg_number_in(a, "p", 0.5, 0, 1); } \
    static int apply_##id(const void *parameters, nc_rng *rng, nc_raster *x, nc_error *e)                   \
    {                                                                                                       \
        return nc_rng_uniform(rng) < *(const double *)parameters ? nc_torch_flip(x, vertical, e) : 0;       \
    }                                                                                                       \
    OPERATION(id, double);
FLIP(RandomHorizontalFlip, false)
FLIP(RandomVerticalFlip, true)

static nc_fill black_or(nc_fill f)
{
    if (!f.count)
        f = (nc_fill){ .count = 1 };
    return f;
}

struct turn { double degrees[2]; nc_rotation r; };

static void read_RandomRotation(void *parameters, nc_args *a)
{
    struct turn *t = parameters;
    nc_arg_need(a, "degrees");
    read_range(a, "degrees", t->degrees);
    t->r.filter = nc_arg_filter(a, "interpolation", NC_NEAREST);
    t->r.expand = nc_arg_bool(a, "expand", false);
    t->r.centered = nc_arg_numbers(a, "center", t->r.center, 2, 2) == 2;
    t->r.fill = black_or(nc_arg_fill(a, "fill", false));
}
static int apply_RandomRotation(const void *parameters, nc_rng *rng, nc_raster *x, nc_error *e)
{
    const struct turn *t = parameters;
    nc_rotation r = t->r;
    r.angle = uniform(rng, t->degrees);
    return nc_torch_rotate(x, &r, e);
}
OPERATION(RandomRotation, struct turn);

struct shake { double degrees[2], translate[2], scale[2], shear[4]; bool moved, scaled, sheared; nc_affine a; };

static void read_RandomAffine(void *parameters, nc_args *a)
{
    struct shake *s = parameters;
    nc_arg_need(a, "degrees");
    read_range(a, "degrees", s->degrees);
    s->moved = nc_arg_numbers(a, "translate", s->translate, 2, 2) == 2;
    s->scaled = nc_arg_numbers(a, "scale", s->scale, 2, 2) == 2;
    const int n = nc_arg_numbers(a, "shear", s->shear, 1, 4);
    s->sheared = n > 0;
    if (n == 1) {
        s->shear[1] = fabs(s->shear[0]);
        s->shear[0] = -s->shear[1];
    }
    if (n == 3)
        nc_arg_mistake(a, "shear is one number, two or four");
    if (s->moved && !(s->translate[0] >= 0 && s->translate[0] <= 1 && s->translate[1] >= 0 && s->translate[1] <= 1))
        nc_arg_mistake(a, "translate holds two shares of the sides, from 0 to 1");
    if (s->scaled && !(s->scale[0] > 0 && s->scale[1] >= s->scale[0]))
        nc_arg_mistake(a, "scale must be a range above 0");
    s->a.filter = nc_arg_filter(a, "interpolation", NC_NEAREST);
    s->a.fill = black_or(nc_arg_fill(a, "fill", false));
    s->a.centered = nc_arg_numbers(a, "center", s->a.center, 2, 2) == 2;
}

static int apply_RandomAffine(const void *parameters, nc_rng *rng, nc_raster *x, nc_error *e)
{
    const struct shake *s = parameters;
    const double sides[2] = { nc_raster_width(x), nc_raster_height(x) };
    nc_affine a = s->a;
    a.angle = uniform(rng, s->degrees);
    for (int k = 0; s->moved && k < 2; k++)
        a.translate[k] = rint(uniform(rng, (double[2]){ -s->translate[k] * sides[k], s->translate[k] * sides[k] }));
    a.scale = s->scaled ? uniform(rng, s->scale) : 1;
    for (int k = 0; s->sheared && k < 2; k++)
        a.shear[k] = uniform(rng, s->shear + 2 * k);
    return nc_torch_affine(x, &a, e);
}
OPERATION(RandomAffine, struct shake);

struct tilt { double distortion, p; nc_filter filter; nc_fill fill; };

static void read_RandomPerspective(void *parameters, nc_args *a)
{
    struct tilt *t = parameters;
    t->distortion = nc_arg_number_in(a, "distortion_scale", 0.5, 0, 1);
    t->p = nc_arg_number_in(a, "p", 0.5, 0, 1);
    t->filter = nc_arg_filter(a, "interpolation", NC_BILINEAR);
    t->fill = black_or(nc_arg_fill(a, "fill", false));
}

/* Each corner moves inwards by up to distortion times half a side. */
static int apply_RandomPerspective(const void *parameters, nc_rng *rng, nc_raster *x, nc_error *e)
{
    const struct tilt *t = parameters;
    const int w = nc_raster_width(x), h = nc_raster_height(x), dx = (int)(t->distortion * (w / 2)) + 1, dy = (int)(t->distortion * (h / 2)) + 1;
    const double start[8] = { 0, 0, w - 1, 0, w - 1, h - 1, 0, h - 1 };
    double end[8];
    if (nc_rng_uniform(rng) >= t->p)
        return 0;
    for (int k = 0; k < 4; k++) {
        end[2 * k] = k == 1 || k == 2 ? w - 1 - below(rng, dx) : below(rng, dx);
        end[2 * k + 1] = k >= 2 ? h - 1 - below(rng, dy) : below(rng, dy);
    }
    return w > 1 && h > 1 ? nc_torch_perspective(x, start, end, t->filter, &t->fill, e) : 0;
}
OPERATION(RandomPerspective, struct tilt);

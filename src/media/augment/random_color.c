/* random_color.c - torchvision.transforms that change colours and sharpness, and those that change what a picture is kept in. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "media/augment/raster.h"

#define OPERATION(id, type) const nc_augment_op nc_augment_##id = { #id, sizeof(type), read_##id, apply_##id }

static double uniform(nc_rng *rng, const double range[2]) { return range[0] + (range[1] - range[0]) * nc_rng_uniform(rng); }

enum { JITTERS = 4 };
typedef int adjust_fn(nc_raster *x, double factor, nc_error *e);
struct jitter { bool on[JITTERS]; double range[JITTERS][2]; };

/* A number d stands for center - d to center + d, not below 0 but for hue. */
static void read_ColorJitter(void *parameters, nc_args *a)
{
    static const char *const keys[JITTERS] = { "brightness", "contrast", "saturation", "hue" };
    struct jitter *j = parameters;
    for (int k = 0; k < JITTERS; k++) {
        const double center = k < 3 ? 1 : 0, least = k < 3 ? 0 : -0.5, most = k < 3 ? 1e6 : 0.5;
        double *r = j->range[k];
        const int n = nc_arg_numbers(a, keys[k], r, 1, 2);
        if (n == 1) {
            const double d = r[0];
            if (d < 0)
                nc_arg_mistake(a, "%s must not be below 0", keys[k]);
            r[0] = k < 3 ? fmax(center - d, 0) : center - d;
            r[1] = center + d;
        }
        if (n && !(r[0] >= least && r[0] <= r[1] && r[1] <= most))
            nc_arg_mistake(a, "%s must lie within %g to %g", keys[k], least, most);
        j->on[k] = n && !(r[0] == center && r[1] == center);
    }
}

static int apply_ColorJitter(const void *parameters, nc_rng *rng, nc_raster *x, nc_error *e)
{
    static adjust_fn *const adjust[JITTERS] = { nc_torch_brightness, nc_torch_contrast, nc_torch_saturation, nc_torch_hue };
    const struct jitter *j = parameters;
    int64_t order[JITTERS] = { 0, 1, 2, 3 };
    double factor[JITTERS];
    nc_rng_shuffle(rng, order, JITTERS);
    for (int k = 0; k < JITTERS; k++)
        factor[k] = uniform(rng, j->range[k]);
    for (int k = 0; k < JITTERS; k++)
        if (j->on[order[k]])
            NC_TRY(adjust[order[k]](x, factor[order[k]], e));
    return 0;
}
OPERATION(ColorJitter, struct jitter);

static void read_Grayscale(void *parameters, nc_args *a)
{
    int *n = parameters;
    *n = nc_arg_int(a, "num_output_channels", 1, 1, 3);
    if (*n == 2)
        nc_arg_mistake(a, "num_output_channels is 1 or 3");
}
static int apply_Grayscale(const void *parameters, nc_rng *rng, nc_raster *x, nc_error *e)
{
    (void)rng;
    return nc_torch_grayscale(x, *(const int *)parameters, e);
}
OPERATION(Grayscale, int);

struct chance { double p, value; };

/* What is done with chance p, by torchvision's function of one value. */
#define CHANCE(id, default_p, key, fallback, least, most, call)                                            \
    static void read_##id(void *parameters, nc_args *a)                                                    \
    {                                                                                                      \
        struct chance *c = parameters;                                                                     \
        const char *const name = key;                                                                      \
        c->p = nc_arg_number_in(a, "p", default_p, 0, 1);                                                  \
        if (name && (fallback) != (fallback))                                                              \
            nc_arg_need(a, name);                                                                          \
        c->value = name ? nc_arg_number_in(a, name, fallback, least, most) : 0;                            \
    }                                                                                                      \
    static int apply_##id(const void *parameters, nc_rng *rng, nc_raster *x, nc_error *e)                  \
    {                                                                                                      \
        const struct chance *c = parameters;                                                               \
        return nc_rng_uniform(rng) < c->p ? call : 0;                                                      \
    }                                                                                                      \
    OPERATION(id, struct chance);
CHANCE(RandomGrayscale, 0.1, NULL, 0.0, 0, 0, nc_torch_grayscale(x, nc_raster_channels(x) >= 3 ? 3 : 1, e))
CHANCE(RandomInvert, 0.5, NULL, 0.0, 0, 0, nc_torch_invert(x, e))
CHANCE(RandomAutocontrast, 0.5, NULL, 0.0, 0, 0, nc_torch_autocontrast(x, e))
CHANCE(RandomEqualize, 0.5, NULL, 0.0, 0, 0, nc_torch_equalize(x, e))
CHANCE(RandomPosterize, 0.5, "bits", (double)NAN, 0, 8, nc_torch_posterize(x, (int)c->value, e))
CHANCE(RandomSolarize, 0.5, "threshold", (double)NAN, -1e6, 1e6, nc_torch_solarize(x, c->value, e))
CHANCE(RandomAdjustSharpness, 0.5, "sharpness_factor", (double)NAN, 0, 1e6, nc_torch_sharpness(x, c->value, e))

struct blur { int kernel[2]; double sigma[2]; };

static void read_GaussianBlur(void *parameters, nc_args *a)
{
    struct blur *b = parameters;
    double kernel[2] = { 0 };
    nc_arg_need(a, "kernel_size");
    const int n = nc_arg_numbers(a, "kernel_size", kernel, 1, 2);
    for (int k = 0; k < 2; k++) {
        const double d = kernel[n == 2 ? k : 0];
        if (!(d >= 1 && d <= 255 && fmod(d, 2) == 1))
            nc_arg_mistake(a, "kernel_size must be odd, from 1 to 255");
        else
            b->kernel[k] = (int)d;
    }
    b->sigma[0] = 0.1;
    b->sigma[1] = 2;
    if (nc_arg_numbers(a, "sigma", b->sigma, 1, 2) == 1)
        b->sigma[1] = b->sigma[0];
    if (!(b->sigma[0] > 0 && b->sigma[0] <= b->sigma[1] && b->sigma[1] < 1e6))
        nc_arg_mistake(a, "sigma must be a range above 0");
}
static int apply_GaussianBlur(const void *parameters, nc_rng *rng, nc_raster *x, nc_error *e)
{
    const struct blur *b = parameters;
    const double sigma = uniform(rng, b->sigma);
    return nc_torch_blur(x, b->kernel, (double[2]){ sigma, sigma }, e);
}
OPERATION(GaussianBlur, struct blur);

static void read_none(void *parameters, nc_args *a)
{
    (void)parameters;
    (void)a;
}

static int to_tensor(nc_raster *x, bool bytes, nc_error *e)
{
    nc_planes p;
    if (x->tensor)
        return nc_fail(e, NC_EINVAL, "the picture is a tensor already");
    NC_TRY(nc_planes_of_image(&x->image, bytes, &p, e));
    nc_raster_take_planes(x, &p);
    return 0;
}

static int apply_PILToTensor(const void *parameters, nc_rng *rng, nc_raster *x, nc_error *e)
{
    (void)parameters;
    (void)rng;
    return to_tensor(x, true, e);
}
static int apply_ToTensor(const void *parameters, nc_rng *rng, nc_raster *x, nc_error *e)
{
    (void)parameters;
    (void)rng;
    return to_tensor(x, false, e);
}
static int apply_ToPILImage(const void *parameters, nc_rng *rng, nc_raster *x, nc_error *e)
{
    nc_image im;
    (void)parameters;
    (void)rng;
    if (!x->tensor)
        return nc_fail(e, NC_EINVAL, "the picture is no tensor: PILToTensor and ToTensor make one");
    NC_TRY(nc_image_of_planes(&x->planes, &im, e));
    nc_raster_take(x, &im);
    return 0;
}
const nc_augment_op nc_augment_PILToTensor = { "PILToTensor", 1, read_none, apply_PILToTensor };
const nc_augment_op nc_augment_ToTensor = { "ToTensor", 1, read_none, apply_ToTensor };
const nc_augment_op nc_augment_ToPILImage = { "ToPILImage", 1, read_none, apply_ToPILImage };

static void read_ConvertImageDtype(void *parameters, nc_args *a)
{
    static const char *const words[] = { "float32", "uint8" };
    nc_arg_need(a, "dtype");
    *(int *)parameters = nc_arg_word_of(a, "dtype", words, 2, 0);
}
static int apply_ConvertImageDtype(const void *parameters, nc_rng *rng, nc_raster *x, nc_error *e)
{
    const bool bytes = *(const int *)parameters == 1;
    nc_planes *p = &x->planes;
    (void)rng;
    if (!x->tensor)
        return nc_fail(e, NC_EINVAL, "takes a tensor: put PILToTensor before it");
    for (size_t i = 0; p->bytes != bytes && i < nc_planes_count(p); i++)
        p->p[i] = bytes ? truncf(fminf(fmaxf(p->p[i] * 255.999f, 0), 255)) : p->p[i] / 255.0f;
    p->bytes = bytes;
    return 0;
}
OPERATION(ConvertImageDtype, int);

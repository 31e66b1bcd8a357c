/* policies.c - RandAugment (Cubuk et al., 2020), TrivialAugmentWide (Mueller & Hutter, 2021) and AutoAugment (Cubuk et al., 2019), with torchvision's spaces of magnitudes.
 *
 * An operation's magnitude is the k-th of `bins` steps from 0 to its most; half of the time it is negative, for those that have a sign.
 * Easy to get wrong: shears are arc tangents of the magnitude, about the top left corner; Posterize counts bits down from 8 and rounds half to even; AutoAugment knows ten bins.
 */
#include <math.h>
#include <string.h>

#include "media/augment/raster.h"

enum op { IDENTITY, SHEARX, SHEARY, TRANSLATEX, TRANSLATEY, ROTATE, BRIGHTNESS, COLOR, CONTRAST, SHARPNESS, POSTERIZE, SOLARIZE, AUTOCONTRAST, EQUALIZE, INVERT };
enum { WIDE_OPS = EQUALIZE + 1, RULES = 25, POLICIES = 3, POLICY_BINS = 10 };

/* p in tenths; magnitude: which bin. */
struct choice { enum op op; int p, magnitude; };
static const struct choice policies[POLICIES][RULES][2] = {      /* imagenet, cifar10, svhn */
    {
        { { POSTERIZE, 4, 8 }, { ROTATE, 6, 9 } }, { { SOLARIZE, 6, 5 }, { AUTOCONTRAST, 6, 0 } }, { { EQUALIZE, 8, 0 }, { EQUALIZE, 6, 0 } },
        { { POSTERIZE, 6, 7 }, { POSTERIZE, 6, 6 } }, { { EQUALIZE, 4, 0 }, { SOLARIZE, 2, 4 } }, { { EQUALIZE, 4, 0 }, { ROTATE, 8, 8 } },
        { { SOLARIZE, 6, 3 }, { EQUALIZE, 6, 0 } }, { { POSTERIZE, 8, 5 }, { EQUALIZE, 10, 0 } }, { { ROTATE, 2, 3 }, { SOLARIZE, 6, 8 } },
        { { EQUALIZE, 6, 0 }, { POSTERIZE, 4, 6 } }, { { ROTATE, 8, 8 }, { COLOR, 4, 0 } }, { { ROTATE, 4, 9 }, { EQUALIZE, 6, 0 } },
        { { EQUALIZE, 0, 0 }, { EQUALIZE, 8, 0 } }, { { INVERT, 6, 0 }, { EQUALIZE, 10, 0 } }, { { COLOR, 6, 4 }, { CONTRAST, 10, 8 } },
        { { ROTATE, 8, 8 }, { COLOR, 10, 2 } }, { { COLOR, 8, 8 }, { SOLARIZE, 8, 7 } }, { { SHARPNESS, 4, 7 }, { INVERT, 6, 0 } },
        { { SHEARX, 6, 5 }, { EQUALIZE, 10, 0 } }, { { COLOR, 4, 0 }, { EQUALIZE, 6, 0 } }, { { EQUALIZE, 4, 0 }, { SOLARIZE, 2, 4 } },
        { { SOLARIZE, 6, 5 }, { AUTOCONTRAST, 6, 0 } }, { { INVERT, 6, 0 }, { EQUALIZE, 10, 0 } }, { { COLOR, 6, 4 }, { CONTRAST, 10, 8 } },
        { { EQUALIZE, 8, 0 }, { EQUALIZE, 6, 0 } },
    },
    {
        { { INVERT, 1, 0 }, { CONTRAST, 2, 6 } }, { { ROTATE, 7, 2 }, { TRANSLATEX, 3, 9 } }, { { SHARPNESS, 8, 1 }, { SHARPNESS, 9, 3 } },
        { { SHEARY, 5, 8 }, { TRANSLATEY, 7, 9 } }, { { AUTOCONTRAST, 5, 0 }, { EQUALIZE, 9, 0 } }, { { SHEARY, 2, 7 }, { POSTERIZE, 3, 7 } },
        { { COLOR, 4, 3 }, { BRIGHTNESS, 6, 7 } }, { { SHARPNESS, 3, 9 }, { BRIGHTNESS, 7, 9 } }, { { EQUALIZE, 6, 0 }, { EQUALIZE, 5, 0 } },
        { { CONTRAST, 6, 7 }, { SHARPNESS, 6, 5 } }, { { COLOR, 7, 7 }, { TRANSLATEX, 5, 8 } }, { { EQUALIZE, 3, 0 }, { AUTOCONTRAST, 4, 0 } },
        { { TRANSLATEY, 4, 3 }, { SHARPNESS, 2, 6 } }, { { BRIGHTNESS, 9, 6 }, { COLOR, 2, 8 } }, { { SOLARIZE, 5, 2 }, { INVERT, 0, 0 } },
        { { EQUALIZE, 2, 0 }, { AUTOCONTRAST, 6, 0 } }, { { EQUALIZE, 2, 0 }, { EQUALIZE, 6, 0 } }, { { COLOR, 9, 9 }, { EQUALIZE, 6, 0 } },
        { { AUTOCONTRAST, 8, 0 }, { SOLARIZE, 2, 8 } }, { { BRIGHTNESS, 1, 3 }, { COLOR, 7, 0 } }, { { SOLARIZE, 4, 5 }, { AUTOCONTRAST, 9, 0 } },
        { { TRANSLATEY, 9, 9 }, { TRANSLATEY, 7, 9 } }, { { AUTOCONTRAST, 9, 0 }, { SOLARIZE, 8, 3 } }, { { EQUALIZE, 8, 0 }, { INVERT, 1, 0 } },
        { { TRANSLATEY, 7, 9 }, { AUTOCONTRAST, 9, 0 } },
    },
    {
        { { SHEARX, 9, 4 }, { INVERT, 2, 0 } }, { { SHEARY, 9, 8 }, { INVERT, 7, 0 } }, { { EQUALIZE, 6, 0 }, { SOLARIZE, 6, 6 } },
        { { INVERT, 9, 0 }, { EQUALIZE, 6, 0 } }, { { EQUALIZE, 6, 0 }, { ROTATE, 9, 3 } }, { { SHEARX, 9, 4 }, { AUTOCONTRAST, 8, 0 } },
        { { SHEARY, 9, 8 }, { INVERT, 4, 0 } }, { { SHEARY, 9, 5 }, { SOLARIZE, 2, 6 } }, { { INVERT, 9, 0 }, { AUTOCONTRAST, 8, 0 } },
        { { EQUALIZE, 6, 0 }, { ROTATE, 9, 3 } }, { { SHEARX, 9, 4 }, { SOLARIZE, 3, 3 } }, { { SHEARY, 8, 8 }, { INVERT, 7, 0 } },
        { { EQUALIZE, 9, 0 }, { TRANSLATEY, 6, 6 } }, { { INVERT, 9, 0 }, { EQUALIZE, 6, 0 } }, { { CONTRAST, 3, 3 }, { ROTATE, 8, 4 } },
        { { INVERT, 8, 0 }, { TRANSLATEY, 0, 2 } }, { { SHEARY, 7, 6 }, { SOLARIZE, 4, 8 } }, { { INVERT, 6, 0 }, { ROTATE, 8, 4 } },
        { { SHEARY, 3, 7 }, { TRANSLATEX, 9, 3 } }, { { SHEARX, 1, 6 }, { INVERT, 6, 0 } }, { { SOLARIZE, 7, 2 }, { TRANSLATEY, 6, 7 } },
        { { SHEARY, 8, 4 }, { INVERT, 8, 0 } }, { { SHEARX, 7, 9 }, { TRANSLATEY, 8, 3 } }, { { SHEARY, 8, 5 }, { AUTOCONTRAST, 7, 0 } },
        { { SHEARX, 7, 2 }, { INVERT, 1, 0 } },
    },
};

struct policy { int num_ops, magnitude, bins; nc_filter filter; nc_fill fill; const struct choice (*rules)[2]; };

/* size: width, height */
static double most_of(enum op op, bool wide, const int size[2])
{
    switch (op) {
    case SHEARX: case SHEARY: return wide ? 0.99 : 0.3;
    case TRANSLATEX: return wide ? 32 : 150.0 / 331.0 * size[0];
    case TRANSLATEY: return wide ? 32 : 150.0 / 331.0 * size[1];
    case ROTATE: return wide ? 135 : 30;
    default: return wide ? 0.99 : 0.9;                   /* the four of ImageEnhance */
    }
}

static double magnitude_of(enum op op, int bin, int bins, bool wide, const int size[2])
{
    if (op == IDENTITY || op > SOLARIZE)
        return 0;
    if (op == POSTERIZE)
        return 8 - rint(bin / ((bins - 1) / (wide ? 6.0 : 4.0)));
    if (op == SOLARIZE)
        return 255.0 - 255.0 * bin / (bins - 1);
    return most_of(op, wide, size) * bin / (bins - 1);
}

static bool has_sign(enum op op) { return op >= SHEARX && op <= SHARPNESS; }

static int apply(const struct policy *p, enum op op, double m, nc_raster *x, nc_error *e)
{
    nc_affine a = { .scale = 1, .filter = p->filter, .fill = p->fill };
    switch (op) {
    case SHEARX: case SHEARY:
        a.shear[op - SHEARX] = atan(m) * (180 / 3.14159265358979323846);
        a.centered = true;
        return nc_torch_affine(x, &a, e);
    case TRANSLATEX: case TRANSLATEY:
        a.translate[op - TRANSLATEX] = trunc(m);
        return nc_torch_affine(x, &a, e);
    case ROTATE: return nc_torch_rotate(x, &(nc_rotation){ .angle = m, .filter = p->filter, .fill = p->fill }, e);
    case BRIGHTNESS: return nc_torch_brightness(x, 1 + m, e);
    case COLOR: return nc_torch_saturation(x, 1 + m, e);
    case CONTRAST: return nc_torch_contrast(x, 1 + m, e);
    case SHARPNESS: return nc_torch_sharpness(x, 1 + m, e);
    case POSTERIZE: return nc_torch_posterize(x, (int)m, e);
    case SOLARIZE: return nc_torch_solarize(x, m, e);
    case AUTOCONTRAST: return nc_torch_autocontrast(x, e);
    case EQUALIZE: return nc_torch_equalize(x, e);
    case INVERT: return nc_torch_invert(x, e);
    default: return 0;
    }
}

static int check(const nc_raster *x, nc_error *e)
{
    return x->tensor && !x->planes.bytes ? nc_fail(e, NC_EINVAL, "takes a picture or a tensor of uint8: put it before ToTensor") : 0;
}

static void read_common(struct policy *p, nc_args *a, int bins)
{
    p->bins = bins ? nc_arg_int(a, "num_magnitude_bins", bins, 2, 1000) : POLICY_BINS;
    p->filter = nc_arg_filter(a, "interpolation", NC_NEAREST);
    p->fill = nc_arg_fill(a, "fill", false);
}

static void read_RandAugment(void *parameters, nc_args *a)
{
    struct policy *p = parameters;
    read_common(p, a, 31);
    p->num_ops = nc_arg_int(a, "num_ops", 2, 0, 100);
    p->magnitude = nc_arg_int(a, "magnitude", 9, 0, p->bins - 1);
}

static int apply_RandAugment(const void *parameters, nc_rng *rng, nc_raster *x, nc_error *e)
{
    const struct policy *p = parameters;
    const int size[2] = { nc_raster_width(x), nc_raster_height(x) };
    NC_TRY(check(x, e));
    for (int k = 0; k < p->num_ops; k++) {
        const enum op op = (enum op)nc_rng_below(rng, WIDE_OPS);
        const bool negative = nc_rng_below(rng, 2) == 1 && has_sign(op);
        const double m = magnitude_of(op, p->magnitude, p->bins, false, size);
        NC_TRY(apply(p, op, negative ? -m : m, x, e));
    }
    return 0;
}

static void read_TrivialAugmentWide(void *parameters, nc_args *a) { read_common(parameters, a, 31); }

static int apply_TrivialAugmentWide(const void *parameters, nc_rng *rng, nc_raster *x, nc_error *e)
{
    const struct policy *p = parameters;
    NC_TRY(check(x, e));
    const enum op op = (enum op)nc_rng_below(rng, WIDE_OPS);
    const int bin = (int)nc_rng_below(rng, (uint64_t)p->bins);
    const bool negative = nc_rng_below(rng, 2) == 1 && has_sign(op);
    const double m = magnitude_of(op, bin, p->bins, true, NULL);
    return apply(p, op, negative ? -m : m, x, e);
}

static void read_AutoAugment(void *parameters, nc_args *a)
{
    static const char *const words[POLICIES] = { "imagenet", "cifar10", "svhn" };
    struct policy *p = parameters;
    read_common(p, a, 0);
    p->rules = policies[nc_arg_word_of(a, "policy", words, POLICIES, 0)];
}

static int apply_AutoAugment(const void *parameters, nc_rng *rng, nc_raster *x, nc_error *e)
{
    const struct policy *p = parameters;
    const int size[2] = { nc_raster_width(x), nc_raster_height(x) };
    NC_TRY(check(x, e));
    const struct choice *rule = p->rules[nc_rng_below(rng, RULES)];
    for (int k = 0; k < 2; k++) {
        const bool on = nc_rng_uniform(rng) * 10 <= rule[k].p, negative = nc_rng_below(rng, 2) == 0 && has_sign(rule[k].op);
        const double m = magnitude_of(rule[k].op, rule[k].magnitude, p->bins, false, size);
        if (on)
            NC_TRY(apply(p, rule[k].op, negative ? -m : m, x, e));
    }
    return 0;
}

#define OPERATION(id) const nc_augment_op nc_augment_##id = { #id, sizeof(struct policy), read_##id, apply_##id }
OPERATION(RandAugment);
OPERATION(TrivialAugmentWide);
OPERATION(AutoAugment);

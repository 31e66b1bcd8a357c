/* golden_augment.c - the golden folder of single augmentations: each case is read and run as the same operation of a recipe would be.
 *
 * A case is named domain.word[.rest]: pil (Pillow's own functions), tv.pil, tv.u8 and tv.f32 (torchvision on a picture and on tensors); the rest tells cases apart, and ends in
 * the filter, mode or kernel where an operation has one. The words are the data's own; the table says which operation they mean and how its keys are called.
 */
#include "front/golden_augment.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "media/augment.h"
#include "media/augment/raster.h"

/* fixed: "key=value", rename: "theirs=ours"; last: the key that the name's last part gives; size: the key that takes the result's (width, height). */
struct meaning { const char *domain, *word, *operation, *fixed, *last, *rename, *size; };
static const struct meaning meanings[] = {
    { "pil", "rotate", "Image.rotate", NULL, "resample", "fill=fillcolor", NULL },
    { "pil", "affine", "Image.transform", "method=AFFINE", "resample", NULL, "size" },
    { "pil", "perspective", "Image.transform", "method=PERSPECTIVE", "resample", NULL, "size" },
    { "pil", "quad", "Image.transform", "method=QUAD", "resample", NULL, "size" },
    { "pil", "extent", "Image.transform", "method=EXTENT", "resample", "extent=data", "size" },
    { "pil", "rotate90", "Image.transpose", "method=ROTATE_90", NULL, NULL, NULL },
    { "pil", "rotate180", "Image.transpose", "method=ROTATE_180", NULL, NULL, NULL },
    { "pil", "rotate270", "Image.transpose", "method=ROTATE_270", NULL, NULL, NULL },
    { "pil", "flip_lr", "Image.transpose", "method=FLIP_LEFT_RIGHT", NULL, NULL, NULL },
    { "pil", "flip_tb", "Image.transpose", "method=FLIP_TOP_BOTTOM", NULL, NULL, NULL },
    { "pil", "transpose", "Image.transpose", "method=TRANSPOSE", NULL, NULL, NULL },
    { "pil", "transverse", "Image.transpose", "method=TRANSVERSE", NULL, NULL, NULL },
    { "pil", "contain", "ImageOps.contain", "method=2", NULL, NULL, NULL },  /* bilinear: the data's choice, which its parameters do not tell */
    { "pil", "crop", "Image.crop", NULL, NULL, NULL, NULL },
    { "pil", "convert", "Image.convert", NULL, "mode", NULL, NULL },
    { "pil", "color", "ImageEnhance.Color", NULL, NULL, NULL, NULL },
    { "pil", "contrast", "ImageEnhance.Contrast", NULL, NULL, NULL, NULL },
    { "pil", "brightness", "ImageEnhance.Brightness", NULL, NULL, NULL, NULL },
    { "pil", "sharpness", "ImageEnhance.Sharpness", NULL, NULL, NULL, NULL },
    { "pil", "filter", "ImageFilter.Kernel", NULL, "filter", NULL, NULL },
    { "pil", "gaussian", "ImageFilter.GaussianBlur", NULL, NULL, NULL, NULL },
    { "pil", "boxblur", "ImageFilter.BoxBlur", NULL, NULL, NULL, NULL },
    { "pil", "unsharp", "ImageFilter.UnsharpMask", NULL, NULL, NULL, NULL },
    { "pil", "median", "ImageFilter.MedianFilter", NULL, NULL, NULL, NULL },
    { "pil", "min", "ImageFilter.MinFilter", NULL, NULL, NULL, NULL },
    { "pil", "max", "ImageFilter.MaxFilter", NULL, NULL, NULL, NULL },
    { "pil", "mode", "ImageFilter.ModeFilter", NULL, NULL, NULL, NULL },
    { "tv", "brightness", "adjust_brightness", NULL, NULL, "factor=brightness_factor", NULL },
    { "tv", "contrast", "adjust_contrast", NULL, NULL, "factor=contrast_factor", NULL },
    { "tv", "saturation", "adjust_saturation", NULL, NULL, "factor=saturation_factor", NULL },
    { "tv", "sharpness", "adjust_sharpness", NULL, NULL, "factor=sharpness_factor", NULL },
    { "tv", "hue", "adjust_hue", NULL, NULL, "factor=hue_factor", NULL },
    { "tv", "gamma", "adjust_gamma", NULL, NULL, NULL, NULL },
    { "tv", "gray", "to_grayscale", "num_output_channels=3", NULL, NULL, NULL },
    { "tv", "gaussian", "gaussian_blur", NULL, NULL, "kernel=kernel_size", NULL },
    { "tv", "pad", "pad", NULL, "padding_mode", NULL, NULL },
    { "tv", "rotate", "rotate", NULL, "interpolation", NULL, NULL },
    { "tv", "affine", "affine", NULL, "interpolation", NULL, NULL },
    { "tv", "perspective", "perspective", NULL, "interpolation", "end=endpoints", NULL },
};

struct run { nc_arena *a; const nc_golden_tensors *t; const nc_json *parameters; };

/* "pil", "tv.pil", "tv.u8" or "tv.f32" and what follows; the word's length. */
static const char *split(const char *name, bool *torch, char kind[4], int *word)
{
    const char *rest = nc_starts_with(name, "tv.") ? name + 3 : name;
    const int n = (int)strcspn(rest, ".");
    *torch = rest != name;
    if (n > 3 || !rest[n])
        return NULL;
    memcpy(kind, rest, (size_t)n);
    kind[n] = 0;
    rest += n + 1;
    *word = (int)strcspn(rest, ".");
    return strcmp(kind, "pil") && (!*torch || (strcmp(kind, "u8") && strcmp(kind, "f32"))) ? NULL : rest;
}

/* What the table lacks has the operation's own name: ImageOps.fit, crop. */
static struct meaning meaning_of(nc_arena *a, bool torch, const char *rest, int word)
{
    for (int i = 0; i < NC_COUNT(meanings); i++)
        if (torch == !strcmp(meanings[i].domain, "tv") && (int)strlen(meanings[i].word) == word && !strncmp(meanings[i].word, rest, (size_t)word))
            return meanings[i];
    return (struct meaning){ .operation = nc_arena_printf(a, "%s%.*s", torch ? "" : "ImageOps.", word, rest) };
}

static nc_json *number_or_word(nc_arena *a, const char *text)
{
    return isdigit((unsigned char)*text) ? nc_json_new_int(a, atoi(text)) : nc_json_new_string(a, nc_str_of(text));
}

static void set_numbers(nc_arena *a, nc_json *map, const char *key, const double *v, int n)
{
    nc_json *list = nc_json_new(a, NC_JSON_ARRAY);
    for (int i = 0; i < n; i++)
        nc_json_append(list, nc_json_new_double(a, v[i]));
    nc_json_set(a, map, key, list);
}

/* The case's parameters as an entry of a recipe. */
static nc_json *entry_of(const struct run *r, const char *name, const struct meaning *m, const char *rest, int width, int height)
{
    nc_json *map = nc_json_new(r->a, NC_JSON_OBJECT);
    const char *equals = m->rename ? strchr(m->rename, '=') : NULL, *last = strrchr(rest, '.');
    nc_json_set(r->a, map, "name", nc_json_new_string(r->a, nc_str_of(m->operation)));
    NC_JSON_EACH(v, nc_json_get(r->parameters, name)) {
        const bool renamed = equals && v->key.n == (size_t)(equals - m->rename) && !strncmp(v->key.p, m->rename, v->key.n);
        if (strcmp(v->key.p, "start") != 0 || v->type == NC_JSON_ARRAY)      /* "corners": where the operation starts by itself */
            nc_json_set(r->a, map, renamed ? equals + 1 : !strcmp(v->key.p, "start") ? "startpoints" : v->key.p, nc_json_clone(r->a, v));
    }
    if (m->fixed) {
        const char *value = strchr(m->fixed, '=') + 1;
        nc_json_set(r->a, map, nc_arena_strndup(r->a, m->fixed, (size_t)(value - 1 - m->fixed)), number_or_word(r->a, value));
    }
    if (m->last && last) {
        char *word = nc_arena_strdup(r->a, last + 1);
        for (char *p = word; !strcmp(m->last, "filter") && *p; p++)
            *p = (char)toupper((unsigned char)*p);
        nc_json_set(r->a, map, m->last, nc_json_new_string(r->a, nc_str_of(word)));
    }
    if (strstr(rest, ".expand."))
        nc_json_set(r->a, map, "expand", nc_json_new_bool(r->a, true));
    if (m->size)
        set_numbers(r->a, map, m->size, (double[2]){ width, height }, 2);
    if (!strcmp(m->operation, "normalize") && !nc_json_get(map, "mean")) {   /* the data means ImageNet's */
        set_numbers(r->a, map, "mean", (double[3]){ 0.485, 0.456, 0.406 }, 3);
        set_numbers(r->a, map, "std", (double[3]){ 0.229, 0.224, 0.225 }, 3);
    }
    return map;
}

static bool borrow(const struct run *r, const char *name, nc_image *out)
{
    nc_golden_tensor t;
    if (!nc_golden_tensor_get(r->t, name, &t) || strcmp(t.dtype, "U8") != 0 || t.rank < 2 || t.rank > 3 || t.elements < 1 || t.elements > INT32_MAX || (t.rank == 3 && t.shape[2] > 4))
        return false;
    *out = (nc_image){ (int)t.shape[1], (int)t.shape[0], t.rank == 3 ? (int)t.shape[2] : 1, (uint8_t *)(uintptr_t)t.bytes };
    return true;
}

/* Two pictures in one: blend with the mirrored one, or laid over the one upside down by the mask in.l. */
static int pair(const struct run *r, const char *name, bool blend, nc_raster *x, nc_error *e)
{
    nc_image other, mask, out;
    if (!blend && !borrow(r, "in.l", &mask))
        return nc_fail(e, NC_EFORMAT, "in.l is missing");
    NC_TRY(nc_pillow_transpose(&x->image, blend ? NC_FLIP_LEFT_RIGHT : NC_FLIP_TOP_BOTTOM, &other, e));
    int status = blend ? nc_pillow_blend(&x->image, &other, nc_json_double(nc_json_path(nc_json_get(r->parameters, name), "alpha"), 0.5), &out, e)
                       : nc_pillow_composite(&x->image, &other, &mask, &out, e);
    nc_image_free(&other);
    if (status == 0)
        nc_raster_take(x, &out);
    return status;
}

static int compute(const struct run *r, const char *name, const nc_golden_tensor *want, nc_raster *x, nc_error *e)
{
    bool torch;
    char kind[4];
    int word;
    nc_image in;
    nc_augment_step *step;
    nc_json *list = nc_json_new(r->a, NC_JSON_ARRAY);
    const char *rest = split(name, &torch, kind, &word);
    if (!rest)
        return nc_fail(e, NC_EUNSUPPORTED, "the case belongs to none of pil, tv.pil, tv.u8, tv.f32");
    const struct meaning m = meaning_of(r->a, torch, rest, word);
    const bool grey = !strcmp(m.operation, "ImageFilter.ModeFilter") || (nc_ends_with(rest, ".l") && !nc_starts_with(rest, "convert"));
    if (!borrow(r, grey ? "in.l" : "in", &in))
        return nc_fail(e, NC_EFORMAT, "the input picture is missing or damaged");
    NC_TRY(nc_image_copy(&in, &x->image, e));
    if (!torch && (!strcmp(rest, "blend") || !strcmp(rest, "alpha")))
        return pair(r, name, !strcmp(rest, "blend"), x, e);
    if (strcmp(kind, "pil")) {
        nc_planes p;
        NC_TRY(nc_planes_of_image(&x->image, !strcmp(kind, "u8"), &p, e));
        nc_raster_take_planes(x, &p);
    }
    nc_json_append(list, entry_of(r, name, &m, rest, (int)want->shape[1], (int)want->shape[0]));
    nc_json *holder = nc_json_new(r->a, NC_JSON_OBJECT);
    nc_json_set(r->a, holder, "transforms", list);
    nc_args args = { .map = holder, .arena = r->a, .name = name, .e = e };
    if (nc_augment_steps_read(&args, "transforms", &step) < 1)
        return args.status;
    nc_rng rng = nc_rng_new(0, 0);
    return nc_augment_step_run(step, &rng, x, e);
}

static const char *compare(nc_arena *a, const nc_raster *x, const nc_golden_tensor *want, double *worst)
{
    const nc_planes *p = &x->planes;
    if (!x->tensor) {
        const int channels = want->rank == 3 ? (int)want->shape[2] : 1;
        if (want->rank < 2 || strcmp(want->dtype, "U8") || x->image.height != want->shape[0] || x->image.width != want->shape[1] || x->image.channels != channels)
            return nc_arena_printf(a, "the size differs: %d x %d with %d channels", x->image.width, x->image.height, x->image.channels);
        for (int64_t i = 0; i < want->elements; i++)
            *worst = fmax(*worst, abs(x->image.pixels[i] - want->bytes[i]));
        return *worst > 0 ? "pixels differ" : NULL;
    }
    if (want->rank != 3 || strcmp(want->dtype, p->bytes ? "U8" : "F32") || p->channels != want->shape[0] || p->height != want->shape[1] || p->width != want->shape[2])
        return nc_arena_printf(a, "the size differs: %d x %d with %d channels", p->width, p->height, p->channels);
    const float *values = p->bytes ? NULL : nc_golden_floats(a, want);
    double largest = 1;
    for (int64_t i = 0; i < want->elements; i++) {
        const double v = values ? (double)values[i] : want->bytes[i], d = fabs((double)p->p[i] - v);
        largest = fmax(largest, fabs(v));
        *worst = d <= *worst ? *worst : d;               /* a NaN stays */
    }
    return *worst <= (p->bytes ? 0 : 2e-6 * largest) ? NULL : "values differ";
}

void nc_golden_augment(nc_arena *a, const nc_golden_tensors *t, const nc_json *g, nc_golden_fn *report, void *context)
{
    const struct run r = { a, t, nc_json_get(g, "parameters") };
    NC_JSON_EACH(v, t->header) {
        const char *name = v->key.p;
        nc_golden_tensor want;
        nc_raster x = { 0 };
        nc_error e = { 0 };
        double worst = 0;
        if (!strcmp(name, "in") || nc_starts_with(name, "in.") || !strcmp(name, "__metadata__"))
            continue;
        const char *why = nc_golden_tensor_get(t, name, &want) && want.elements > 0 ? NULL : "the tensor is damaged";
        if (!why)
            why = compute(&r, name, &want, &x, &e) < 0 ? e.message : compare(a, &x, &want, &worst);
        report(context, name, why ? NC_GOLDEN_FAILED : NC_GOLDEN_OK, worst, why ? why : "");
        nc_raster_free(&x);
    }
    NC_JSON_EACH(v, r.parameters)
        if (!nc_json_getn(t->header, v->key))
            report(context, v->key.p, NC_GOLDEN_FAILED, 0, "the result is not in golden.safetensors");
}

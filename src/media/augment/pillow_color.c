/* pillow_color.c - Image.convert, Image.blend, Image.paste with a mask and ImageEnhance, to the byte as Pillow 13 computes them.
 *
 *     L      (19595 R + 38470 G + 7471 B + 2^15) >> 16
 *     YCbCr  JFIF's weights, each product rounded to 6 fractional bits (upwards below zero), the sum cut        CMYK   255 - R, 255 - G, 255 - B, 0
 *     HSV    colorsys's formulas in float, times 255, cut; back with p, q, t rounded
 *     blend  a + alpha (b - a) in float, cut to a byte, clipped only where alpha lies outside 0 to 1
 *     ImageEnhance: blend(degenerate, picture, factor). degenerate: grey; one grey, the mean of L; black; SMOOTH
 * Easy to get wrong: the degenerate picture keeps the picture's alpha; factor 0 and 1 are copies; the mean is of the converted bytes, plus a half, cut.
 */
#include <math.h>
#include <string.h>

#include "media/augment/raster.h"

static uint8_t grey(const uint8_t *p) { return (uint8_t)((p[0] * 19595 + p[1] * 38470 + p[2] * 7471 + 0x8000) >> 16); }
static uint8_t clip(int v) { return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v); }

static void to_hsv(const uint8_t *in, uint8_t *out)
{
    const uint8_t r = in[0], g = in[1], b = in[2], rg = r > g ? r : g, less = r < g ? r : g, most = rg > b ? rg : b, least = less < b ? less : b;
    out[0] = out[1] = 0;
    out[2] = most;
    if (most == least)
        return;
    const float range = (float)(most - least), s = range / (float)most;
    const float rc = (float)(most - r) / range, gc = (float)(most - g) / range, bc = (float)(most - b) / range;
    float h = r == most ? bc - gc : g == most ? (float)(2.0 + (double)rc - (double)bc) : (float)(4.0 + (double)gc - (double)rc);
    h = (float)fmod((double)h / 6.0 + 1.0, 1.0);
    out[0] = clip((int)((double)h * 255.0));
    out[1] = clip((int)((double)s * 255.0));
}

static void of_hsv(const uint8_t *in, uint8_t *out)
{
    const uint8_t h = in[0], s = in[1], v = in[2];
    if (s == 0) {
        memset(out, v, 3);
        return;
    }
    const int i = (int)floor((double)(float)h * 6.0 / 255.0);
    const float f = (float)((double)(float)h * 6.0 / 255.0 - (double)(float)i), fs = (float)((double)(float)s / 255.0);
    const uint8_t p = clip((int)round((double)v * (1.0 - (double)fs))), q = clip((int)round((double)v * (1.0 - (double)(fs * f)))),
                  t = clip((int)round((double)v * (1.0 - (double)fs * (1.0 - (double)f))));
    const uint8_t rgb[6][3] = { { v, t, p }, { q, v, p }, { p, v, t }, { p, q, v }, { t, p, v }, { v, p, q } };
    memcpy(out, rgb[i % 6], 3);
}

/* A half is added and the fraction cut, also below zero. */
static int part(double weight, int v) { return (int)(weight * v * 64 + 0.5); }

static void to_ycbcr(const uint8_t *in, uint8_t *out)
{
    const int r = in[0], g = in[1], b = in[2];
    out[0] = (uint8_t)((part(0.299, r) + part(0.587, g) + part(0.114, b)) >> 6);
    out[1] = (uint8_t)(((part(-0.16874, r) + part(-0.33126, g) + part(0.5, b)) >> 6) + 128);
    out[2] = (uint8_t)(((part(0.5, r) + part(-0.41869, g) + part(-0.08131, b)) >> 6) + 128);
}

static void to_cmyk(const uint8_t *in, uint8_t *out)
{
    for (int c = 0; c < 3; c++)
        out[c] = (uint8_t)~in[c];
    out[3] = 0;
}

/* L becomes RGB on the way to the modes of colour. */
int nc_pillow_convert(const nc_image *in, nc_color_mode to, nc_image *out, nc_error *e)
{
    static const int channels[] = { 1, 3, 3, 3, 4 };
    const size_t n = (size_t)in->width * (size_t)in->height, step = (size_t)in->channels;
    NC_TRY(nc_image_new(in->width, in->height, channels[to], out, e));
    for (size_t i = 0; i < n; i++) {
        const uint8_t *p = in->pixels + i * step, wide[3] = { p[0], p[0], p[0] }, *rgb = step < 3 ? wide : p;
        uint8_t *q = out->pixels + i * (size_t)channels[to];
        switch (to) {
        case NC_MODE_L: *q = step < 3 ? *p : grey(p); break;
        case NC_MODE_RGB: memcpy(q, rgb, 3); break;
        case NC_MODE_HSV: to_hsv(rgb, q); break;
        case NC_MODE_YCBCR: to_ycbcr(rgb, q); break;
        case NC_MODE_CMYK: to_cmyk(rgb, q); break;
        }
    }
    return 0;
}

int nc_pillow_rgb_of_hsv(const nc_image *in, nc_image *out, nc_error *e)
{
    if (in->channels != 3)
        return nc_fail(e, NC_EINVAL, "a picture in HSV has three channels, not %d", in->channels);
    NC_TRY(nc_image_new(in->width, in->height, 3, out, e));
    for (size_t i = 0; i < nc_image_bytes(in); i += 3)
        of_hsv(in->pixels + i, out->pixels + i);
    return 0;
}

static bool same_size(const nc_image *a, const nc_image *b) { return a->width == b->width && a->height == b->height; }

int nc_pillow_blend(const nc_image *a, const nc_image *b, double factor, nc_image *out, nc_error *e)
{
    const float alpha = (float)factor;
    if (!same_size(a, b) || a->channels != b->channels)
        return nc_fail(e, NC_EINVAL, "pictures of different sizes or channels cannot be blended");
    if (alpha == 0 || alpha == 1)
        return nc_image_copy(alpha == 0 ? a : b, out, e);
    NC_TRY(nc_image_new(a->width, a->height, a->channels, out, e));
    for (size_t i = 0; i < nc_image_bytes(a); i++) {
        const float v = (float)a->pixels[i] + alpha * (float)(b->pixels[i] - a->pixels[i]);
        out->pixels[i] = v <= 0 ? 0 : v >= 255 ? 255 : (uint8_t)v;
    }
    return 0;
}

int nc_pillow_composite(const nc_image *over, const nc_image *under, const nc_image *mask, nc_image *out, nc_error *e)
{
    if (!same_size(over, under) || !same_size(over, mask) || over->channels != under->channels || mask->channels != 1)
        return nc_fail(e, NC_EINVAL, "pictures and mask of different sizes or channels cannot be laid over each other");
    NC_TRY(nc_image_new(over->width, over->height, over->channels, out, e));
    const size_t channels = (size_t)over->channels;
    for (size_t i = 0; i < nc_image_bytes(over); i++) {
        const int m = mask->pixels[i / channels], t = over->pixels[i] * m + under->pixels[i] * (255 - m) + 128;
        out->pixels[i] = (uint8_t)((t + (t >> 8)) >> 8);
    }
    return 0;
}

/* Without alpha: L and LA have grey to give, RGB and RGBA have to be converted. */
static void degenerate(const nc_image *in, nc_enhancement what, nc_image *d)
{
    const size_t n = (size_t)in->width * (size_t)in->height, channels = (size_t)in->channels, colors = channels < 3 ? 1 : 3;
    int64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *p = in->pixels + i * channels, l = colors == 1 ? *p : grey(p);
        sum += l;
        if (what == NC_ENHANCE_COLOR)
            memset(d->pixels + i * channels, l, colors);
    }
    if (what != NC_ENHANCE_CONTRAST)
        return;
    const int mean = (int)((double)sum / (double)n + 0.5);
    for (size_t i = 0; i < n; i++)
        memset(d->pixels + i * channels, mean, colors);
}

int nc_pillow_enhance(const nc_image *in, nc_enhancement what, double factor, nc_image *out, nc_error *e)
{
    nc_image d = { 0 };
    const size_t channels = (size_t)in->channels;
    if (what == NC_ENHANCE_SHARPNESS)
        NC_TRY(nc_pillow_kernel(in, nc_pillow_kernel_named("SMOOTH"), &d, e));
    else {
        NC_TRY(nc_image_new(in->width, in->height, in->channels, &d, e));
        degenerate(in, what, &d);
    }
    for (size_t i = channels - 1; (channels == 2 || channels == 4) && i < nc_image_bytes(in); i += channels)
        d.pixels[i] = in->pixels[i];
    int status = nc_pillow_blend(&d, in, factor, out, e);
    nc_image_free(&d);
    return status;
}

/* torch_color.c - torchvision.transforms.functional's adjust_* and to_grayscale.
 *
 * A Pillow picture goes to ImageEnhance (hue: the H of HSV plus int(factor * 255), modulo 256). On a tensor, in float32, each product and sum rounded:
 *     blend(a, b) = clamp(factor a + (1 - factor) b, 0, 255 or 1), cut for bytes            grey = 0.2989 R + 0.587 G + 0.114 B, cut for bytes
 *     brightness: b = 0      contrast: the mean of grey      saturation: grey      sharpness: a 3 x 3 mean with 5 in the middle over 13, borders kept
 *     hue: RGB to HSV as colorsys, H + factor modulo 1, and back; bytes are v / 255 before and v * 255.999, cut, after
 * Easy to get wrong: the blurred picture of sharpness is rounded for bytes, half to even; pictures of two rows or columns are left alone; one channel has no hue.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "media/augment/raster.h"

static int enhance(nc_raster *x, nc_enhancement what, double factor, nc_error *e)
{
    nc_image out;
    NC_TRY(nc_pillow_enhance(&x->image, what, factor, &out, e));
    nc_raster_take(x, &out);
    return 0;
}

static int check(const nc_raster *x, const char *name, double value, nc_error *e)
{
    if (!(value >= 0 && value < 1e30))
        return nc_fail(e, NC_EINVAL, "%s of %g is not a number from 0 on", name, value);
    if (x->tensor && x->planes.channels != 1 && x->planes.channels != 3)
        return nc_fail(e, NC_EINVAL, "%s takes tensors of 1 or 3 channels, not %d", name, x->planes.channels);
    return 0;
}

static float clamp(float v, float most) { return v < 0 ? 0 : v > most ? most : v; }

/* other: one value for each pixel of a plane, for each of all planes, or one (count 1). */
static void blend(nc_planes *p, const float *other, size_t count, double factor)
{
    const float f = (float)factor, g = (float)(1.0 - factor), most = p->bytes ? 255 : 1;
    for (size_t i = 0; i < nc_planes_count(p); i++) {
        const float v = clamp(f * p->p[i] + g * other[i % count], most);
        p->p[i] = p->bytes ? truncf(v) : v;
    }
}

static void grey(const nc_planes *p, float *out)
{
    const size_t n = nc_planes_plane(p);
    for (size_t i = 0; i < n; i++) {
        const float v = p->channels == 3 ? 0.2989f * p->p[i] + 0.587f * p->p[n + i] + 0.114f * p->p[2 * n + i] : p->p[i];
        out[i] = p->bytes ? truncf(v) : v;
    }
}

int nc_torch_brightness(nc_raster *x, double factor, nc_error *e)
{
    NC_TRY(check(x, "brightness_factor", factor, e));
    if (!x->tensor)
        return enhance(x, NC_ENHANCE_BRIGHTNESS, factor, e);
    blend(&x->planes, &(float){ 0 }, 1, factor);
    return 0;
}

int nc_torch_contrast(nc_raster *x, double factor, nc_error *e)
{
    NC_TRY(check(x, "contrast_factor", factor, e));
    if (!x->tensor)
        return enhance(x, NC_ENHANCE_CONTRAST, factor, e);
    const size_t n = nc_planes_plane(&x->planes);
    float *l = nc_xmalloc(n * sizeof *l);
    double sum = 0;
    grey(&x->planes, l);
    for (size_t i = 0; i < n; i++)
        sum += (double)l[i];
    free(l);
    blend(&x->planes, &(float){ (float)(sum / (double)n) }, 1, factor);
    return 0;
}

int nc_torch_saturation(nc_raster *x, double factor, nc_error *e)
{
    NC_TRY(check(x, "saturation_factor", factor, e));
    if (!x->tensor)
        return enhance(x, NC_ENHANCE_COLOR, factor, e);
    if (x->planes.channels == 1)
        return 0;
    float *l = nc_xmalloc(nc_planes_plane(&x->planes) * sizeof *l);
    grey(&x->planes, l);
    blend(&x->planes, l, nc_planes_plane(&x->planes), factor);
    free(l);
    return 0;
}

int nc_torch_sharpness(nc_raster *x, double factor, nc_error *e)
{
    const nc_planes *p = &x->planes;
    const float one = 1.0f / 13, five = 5.0f / 13;
    NC_TRY(check(x, "sharpness_factor", factor, e));
    if (!x->tensor)
        return enhance(x, NC_ENHANCE_SHARPNESS, factor, e);
    if (p->width <= 2 || p->height <= 2)
        return 0;
    float *soft = nc_xmalloc(nc_planes_count(p) * sizeof *soft);
    memcpy(soft, p->p, nc_planes_count(p) * sizeof *soft);
    for (int c = 0; c < p->channels; c++)
        for (int i = 1; i < p->height - 1; i++)
            for (int j = 1; j < p->width - 1; j++) {
                const ptrdiff_t w = p->width, at = ((ptrdiff_t)c * p->height + i) * w + j;
                float sum = 0;
                for (int k = 0; k < 9; k++)
                    sum = fmaf(p->p[at + (k / 3 - 1) * w + k % 3 - 1], k == 4 ? five : one, sum);
                soft[at] = p->bytes ? rintf(sum) : sum;
            }
    blend(&x->planes, soft, nc_planes_count(p), factor);
    free(soft);
    return 0;
}

static void hue_pixel(float *r, float *g, float *b, float factor)
{
    const float most = fmaxf(*r, fmaxf(*g, *b)), least = fminf(*r, fminf(*g, *b)), range = most - least, d = range == 0 ? 1 : range;
    const float s = range / (range == 0 ? 1 : most), rc = (most - *r) / d, gc = (most - *g) / d, bc = (most - *b) / d;
    float h = most == *r ? bc - gc : most == *g ? 2.0f + rc - bc : 4.0f + gc - rc;
    h = fmodf(h / 6.0f + 1.0f, 1.0f) + factor;
    h = fmodf(h, 1.0f);
    if (h < 0)
        h += 1.0f;
    const float sixth = floorf(h * 6.0f), f = h * 6.0f - sixth;
    const float p = clamp(most * (1.0f - s), 1), q = clamp(most * (1.0f - s * f), 1), t = clamp(most * (1.0f - s * (1.0f - f)), 1);
    const float rgb[6][3] = { { most, t, p }, { q, most, p }, { p, most, t }, { p, q, most }, { t, p, most }, { most, p, q } };
    const int k = (int)sixth % 6;
    *r = rgb[k][0];
    *g = rgb[k][1];
    *b = rgb[k][2];
}

static int pillow_hue(nc_raster *x, double factor, nc_error *e)
{
    nc_image hsv, out;
    if (x->image.channels != 3)
        return nc_fail(e, NC_EINVAL, "adjust_hue takes grey or RGB pictures, not %d channels", x->image.channels);
    NC_TRY(nc_pillow_convert(&x->image, NC_MODE_HSV, &hsv, e));
    for (size_t i = 0; i < nc_image_bytes(&hsv); i += 3)
        hsv.pixels[i] = (uint8_t)(hsv.pixels[i] + (uint8_t)(int)(factor * 255));
    int status = nc_pillow_rgb_of_hsv(&hsv, &out, e);
    nc_image_free(&hsv);
    if (status == 0)
        nc_raster_take(x, &out);
    return status;
}

int nc_torch_hue(nc_raster *x, double factor, nc_error *e)
{
    nc_planes *p = &x->planes;
    if (!(factor >= -0.5 && factor <= 0.5))
        return nc_fail(e, NC_EINVAL, "hue_factor of %g is not within -0.5 to 0.5", factor);
    NC_TRY(check(x, "hue", 0, e));
    if (nc_raster_channels(x) == 1)
        return 0;
    if (!x->tensor)
        return pillow_hue(x, factor, e);
    const size_t n = nc_planes_plane(p);
    for (size_t i = 0; i < n; i++) {
        float *v[3] = { p->p + i, p->p + n + i, p->p + 2 * n + i };
        for (int c = 0; p->bytes && c < 3; c++)
            *v[c] /= 255.0f;
        hue_pixel(v[0], v[1], v[2], (float)factor);
        for (int c = 0; p->bytes && c < 3; c++)
            *v[c] = truncf(*v[c] * 255.999f);
    }
    return 0;
}

/* channels: 1 or 3 equal ones. */
int nc_torch_grayscale(nc_raster *x, int channels, nc_error *e)
{
    if (!x->tensor) {
        nc_image l, out;
        NC_TRY(nc_pillow_convert(&x->image, NC_MODE_L, &l, e));
        if (channels == 3) {
            int status = nc_pillow_convert(&l, NC_MODE_RGB, &out, e);
            nc_image_free(&l);
            NC_TRY(status);
            l = out;
        }
        nc_raster_take(x, &l);
        return 0;
    }
    nc_planes out;
    NC_TRY(check(x, "grayscale", 0, e));
    NC_TRY(nc_planes_new(channels, x->planes.height, x->planes.width, x->planes.bytes, &out, e));
    const size_t n = nc_planes_plane(&out);
    grey(&x->planes, out.p);
    for (int c = 1; c < channels; c++)
        memcpy(out.p + (size_t)c * n, out.p, n * sizeof *out.p);
    nc_raster_take_planes(x, &out);
    return 0;
}

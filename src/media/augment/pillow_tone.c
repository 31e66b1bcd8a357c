/* pillow_tone.c - the operations of ImageOps that are a table of 256 bytes for each channel, to the byte as Pillow 13 computes them. Grey and RGB only.
 *
 *     autocontrast   cut percent of the pixels off both ends of the histogram, then int(v * s - lo * s), s = 255 / (hi - lo)
 *     equalize       step = (pixels - those of the brightest level) / 255; v becomes (step / 2 + pixels darker than v) / step
 * Easy to get wrong: the cut takes part of a level away without emptying it; equalize leaves a channel alone where step is 0 or one level fills it.
 */
#include <math.h>
#include <string.h>

#include "media/augment/raster.h"

int nc_pillow_point(const nc_image *in, const uint8_t *table, bool per_channel, nc_image *out, nc_error *e)
{
    NC_TRY(nc_image_new(in->width, in->height, in->channels, out, e));
    const size_t channels = (size_t)in->channels;
    for (size_t i = 0; i < nc_image_bytes(in); i++)
        out->pixels[i] = table[(per_channel ? i % channels * 256 : 0) + in->pixels[i]];
    return 0;
}

static int check(const nc_image *in, const char *what, nc_error *e)
{
    return in->channels == 1 || in->channels == 3 ? 0 : nc_fail(e, NC_EINVAL, "%s takes grey or RGB pictures, not %d channels", what, in->channels);
}

static void histogram(const nc_image *in, int channel, int64_t *h)
{
    memset(h, 0, 256 * sizeof *h);
    for (size_t i = (size_t)channel; i < nc_image_bytes(in); i += (size_t)in->channels)
        h[in->pixels[i]]++;
}

static void cut_end(int64_t *h, int64_t cut, bool bright)
{
    for (int k = 0; k < 256; k++) {
        int64_t *level = &h[bright ? 255 - k : k], taken = cut > *level ? *level : cut;
        *level -= taken;
        cut -= taken;
        if (cut <= 0)
            break;
    }
}

static void stretch(const int64_t *h, uint8_t *table)
{
    int lo = 0, hi = 255;
    while (lo < 255 && !h[lo])
        lo++;
    while (hi > 0 && !h[hi])
        hi--;
    const double scale = hi > lo ? 255.0 / (hi - lo) : 1, offset = hi > lo ? -lo * scale : 0;
    for (int i = 0; i < 256; i++) {
        const int v = (int)(i * scale + offset);
        table[i] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
    }
}

int nc_pillow_autocontrast(const nc_image *in, double low, double high, const int *ignore, int ignored, bool preserve_tone, nc_image *out, nc_error *e)
{
    uint8_t table[3][256];
    nc_image grey = { 0 };
    NC_TRY(check(in, "autocontrast", e));
    if (preserve_tone)
        NC_TRY(nc_pillow_convert(in, NC_MODE_L, &grey, e));
    const nc_image *from = preserve_tone ? &grey : in;
    for (int c = 0; c < from->channels; c++) {
        int64_t h[256], n = 0;
        histogram(from, c, h);
        for (int k = 0; k < ignored; k++)
            h[ignore[k]] = 0;
        for (int k = 0; k < 256; k++)
            n += h[k];
        if (low != 0 || high != 0) {
            cut_end(h, (int64_t)floor((double)n * low / 100), false);
            cut_end(h, (int64_t)floor((double)n * high / 100), true);
        }
        stretch(h, table[c]);
    }
    nc_image_free(&grey);
    return nc_pillow_point(in, table[0], from->channels == 3, out, e);
}

int nc_pillow_equalize(const nc_image *in, nc_image *out, nc_error *e)
{
    uint8_t table[3][256];
    NC_TRY(check(in, "equalize", e));
    for (int c = 0; c < in->channels; c++) {
        int64_t h[256], sum = 0, last = 0;
        int levels = 0;
        histogram(in, c, h);
        for (int k = 0; k < 256; k++) {
            sum += h[k];
            levels += h[k] > 0;
            last = h[k] ? h[k] : last;
        }
        const int64_t step = levels > 1 ? (sum - last) / 255 : 0;
        int64_t n = step / 2;
        for (int k = 0; k < 256; n += h[k++]) {
            const int64_t v = step ? n / step : k;
            table[c][k] = (uint8_t)(v > 255 ? 255 : v);
        }
    }
    return nc_pillow_point(in, table[0], true, out, e);
}

int nc_pillow_posterize(const nc_image *in, int bits, nc_image *out, nc_error *e)
{
    uint8_t table[256];
    NC_TRY(check(in, "posterize", e));
    if (bits < 1 || bits > 8)
        return nc_fail(e, NC_EINVAL, "posterize keeps 1 to 8 bits, not %d", bits);
    for (int i = 0; i < 256; i++)
        table[i] = (uint8_t)(i & ~((1 << (8 - bits)) - 1));
    return nc_pillow_point(in, table, false, out, e);
}

int nc_pillow_solarize(const nc_image *in, double threshold, nc_image *out, nc_error *e)
{
    uint8_t table[256];
    NC_TRY(check(in, "solarize", e));
    for (int i = 0; i < 256; i++)
        table[i] = (uint8_t)(i < threshold ? i : 255 - i);
    return nc_pillow_point(in, table, false, out, e);
}

int nc_pillow_invert(const nc_image *in, nc_image *out, nc_error *e)
{
    NC_TRY(check(in, "invert", e));
    return nc_pillow_solarize(in, 0, out, e);
}

/* image.c - the table of picture formats, EXIF orientation and conversion to RGB.
 *
 * Source: Pillow's Image.convert and ImageOps.exif_transpose (behaviour), Exif 2.32 and TIFF 6.0 for tag 274.
 */
#include "media/image.h"
#include "base/file.h"
#include "media/image_formats.h"
#include <stdlib.h>
#include <string.h>

#define NC_IMAGE_FORMAT(name) &nc_image_codec_##name,
static const nc_image_codec *const codecs[] = {
#include "media/image_formats.list"
};
#undef NC_IMAGE_FORMAT

int nc_image_new(int width, int height, int channels, nc_image *out, nc_error *e)
{
    *out = (nc_image){ 0 };
    if (width < 1 || height < 1 || channels < 1 || channels > 4)
        return nc_fail(e, NC_EINVAL, "a picture of %d x %d with %d channels cannot be", width, height, channels);
    if ((int64_t)width * height > INT32_MAX / channels)
        return nc_fail(e, NC_ELIMIT, "a picture of %d x %d is too large", width, height);
    size_t bytes = (size_t)width * (size_t)height * (size_t)channels;
    out->pixels = calloc(1, bytes);
    if (!out->pixels)
        return nc_fail(e, NC_ENOMEM, "no memory for a picture of %d x %d", width, height);
    out->width = width;
    out->height = height;
    out->channels = channels;
    return 0;
}

void nc_image_free(nc_image *im)
{
    if (!im)
        return;
    free(im->pixels);
    *im = (nc_image){ 0 };
}

int nc_image_copy(const nc_image *im, nc_image *out, nc_error *e)
{
    NC_TRY(nc_image_new(im->width, im->height, im->channels, out, e));
    memcpy(out->pixels, im->pixels, nc_image_bytes(im));
    return 0;
}

static const nc_image_codec *codec_of(const uint8_t *p, size_t n)
{
    for (int i = 0; i < NC_COUNT(codecs); i++)
        if (codecs[i]->match(p, n))
            return codecs[i];
    return NULL;
}

const char *nc_image_format(const void *bytes, size_t n)
{
    const nc_image_codec *c = codec_of(bytes, n);
    return c ? c->name : NULL;
}

int nc_image_check_size(const char *format, int64_t width, int64_t height, const nc_image_options *o, nc_error *e)
{
    if (width < 1 || height < 1)
        return nc_fail(e, NC_EFORMAT, "%s: a side of the picture is 0", format);
    if (width > INT32_MAX || height > INT32_MAX || width > o->max_pixels / height)
        return nc_fail(e, NC_ELIMIT, "%s: %lld x %lld pixels, the limit is %lld; scale the picture down", format,
                       (long long)width, (long long)height, (long long)o->max_pixels);
    return 0;
}

int nc_image_decode(const void *bytes, size_t n, const nc_image_options *options, nc_image *out, nc_error *e)
{
    nc_image_options o = options ? *options : (nc_image_options){ 0 };

    *out = (nc_image){ 0 };
    if (!o.max_pixels)
        o.max_pixels = 178956970;
    if (!o.max_bytes)
        o.max_bytes = (size_t)256 << 20;
    if (n > o.max_bytes)
        return nc_fail(e, NC_ELIMIT, "the picture file has %zu bytes, the limit is %zu", n, o.max_bytes);
    const nc_image_codec *c = codec_of(bytes, n);
    if (!c) {
        nc_buf names = { 0 };
        for (int i = 0; i < NC_COUNT(codecs); i++)
            nc_buf_printf(&names, "%s%s", i ? ", " : "", codecs[i]->name);
        int code = nc_fail(e, NC_EFORMAT, "not a picture in a known format (%s)", names.p);
        nc_buf_free(&names);
        return code;
    }
    int orientation = 1;
    int code = c->decode(bytes, n, &o, out, &orientation, e);
    if (code == 0 && !o.keep_orientation)
        code = nc_image_orient(out, orientation, e);
    if (code == 0 && o.rgb)
        code = nc_image_rgb(out, e);
    if (code < 0)
        nc_image_free(out);
    return code;
}

int nc_image_load(const char *path, const nc_image_options *options, nc_image *out, nc_error *e)
{
    nc_mapped file;

    *out = (nc_image){ 0 };
    NC_TRY(nc_map_file(path, &file, e));
    int code = nc_image_decode(file.p, file.n, options, out, e);
    nc_unmap_file(&file);
    return code < 0 ? nc_fail_in(e, "%s", path) : 0;
}

int nc_image_rgb(nc_image *im, nc_error *e)
{
    if (im->channels == 3)
        return 0;
    nc_image rgb;
    NC_TRY(nc_image_new(im->width, im->height, 3, &rgb, e));
    size_t pixels = (size_t)im->width * (size_t)im->height, step = (size_t)im->channels;
    const size_t g = step == 4 ? 1 : 0, b = step == 4 ? 2 : 0;     /* grey goes into all three */
    const uint8_t *from = im->pixels;
    for (size_t i = 0; i < pixels; i++, from += step) {
        rgb.pixels[3 * i] = from[0];
        rgb.pixels[3 * i + 1] = from[g];
        rgb.pixels[3 * i + 2] = from[b];
    }
    nc_image_free(im);
    *im = rgb;
    return 0;
}

int nc_image_orient(nc_image *im, int orientation, nc_error *e)
{
    if (orientation < 2 || orientation > 8)
        return 0;
    const bool transposed = orientation >= 5;
    const int w = im->width, h = im->height, c = im->channels;
    nc_image out;

    NC_TRY(nc_image_new(transposed ? h : w, transposed ? w : h, c, &out, e));
    for (int y = 0; y < out.height; y++)
        for (int x = 0; x < out.width; x++) {
            int sx = transposed ? y : x, sy = transposed ? x : y;  /* the source pixel before mirroring */
            if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8)
                sx = w - 1 - sx;
            if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7)
                sy = h - 1 - sy;
            memcpy(out.pixels + ((size_t)y * (size_t)out.width + (size_t)x) * (size_t)c,
                   im->pixels + ((size_t)sy * (size_t)w + (size_t)sx) * (size_t)c, (size_t)c);
        }
    nc_image_free(im);
    *im = out;
    return 0;
}

static uint32_t tiff_int(const uint8_t *p, int bytes, bool big)
{
    uint32_t v = 0;
    for (int i = 0; i < bytes; i++)
        v |= (uint32_t)p[i] << 8 * (big ? bytes - 1 - i : i);
    return v;
}

int nc_exif_orientation(const uint8_t *p, size_t n)
{
    if (n >= 6 && memcmp(p, "Exif\0\0", 6) == 0)
        p += 6, n -= 6;
    if (n < 8 || (memcmp(p, "II*\0", 4) != 0 && memcmp(p, "MM\0*", 4) != 0))
        return 1;
    const bool big = p[0] == 'M';
    size_t at = tiff_int(p + 4, 4, big);
    if (at > n - 2)
        return 1;
    uint32_t entries = tiff_int(p + at, 2, big);
    at += 2;
    for (uint32_t i = 0; i < entries && n - at >= 12; i++, at += 12)
        if (tiff_int(p + at, 2, big) == 274) {
            uint32_t type = tiff_int(p + at + 2, 2, big);
            uint32_t v = type == 3 ? tiff_int(p + at + 8, 2, big) : type == 4 ? tiff_int(p + at + 8, 4, big) : 1;
            return v >= 1 && v <= 8 ? (int)v : 1;
        }
    return 1;
}

int nc_image_save_png(const nc_image *im, const char *path, nc_error *e)
{
    nc_buf png = { 0 };
    int code = nc_image_encode_png(im, &png, e);
    if (code == 0)
        code = nc_file_write(path, png.p, png.n, e);
    nc_buf_free(&png);
    return code;
}

/* image_webp.c - WebP by libwebp: RGB, or RGBA where the file has alpha; EXIF from its own chunk.
 * Animations are refused by name. Source: the WebP container specification (RIFF).
 */
#include "media/image_formats.h"
#include <string.h>
#include <webp/decode.h>

static bool match(const uint8_t *p, size_t n)
{
    return n >= 12 && memcmp(p, "RIFF", 4) == 0 && memcmp(p + 8, "WEBP", 4) == 0;
}

/* Chunks follow the 12-byte header: four letters, a little-endian length, data padded to an even length. */
static int find_orientation(const uint8_t *p, size_t n)
{
    size_t at = 12;

    while (n - at >= 8) {
        size_t length = p[at + 4] | (size_t)p[at + 5] << 8 | (size_t)p[at + 6] << 16 | (size_t)p[at + 7] << 24;
        size_t left = n - at - 8;
        if (length > left)
            return 1;
        if (memcmp(p + at, "EXIF", 4) == 0)
            return nc_exif_orientation(p + at + 8, length);
        if (length + (length & 1) > left)
            return 1;
        at += 8 + length + (length & 1);
    }
    return 1;
}

static int decode(const uint8_t *p, size_t n, const nc_image_options *o, nc_image *out, int *orientation, nc_error *e)
{
    WebPBitstreamFeatures f;

    if (WebPGetFeatures(p, n, &f) != VP8_STATUS_OK)
        return nc_fail(e, NC_EFORMAT, "webp: the header is damaged or cut short");
    if (f.has_animation)
        return nc_fail(e, NC_EUNSUPPORTED, "webp: animations are not read; store the frame as a still picture");
    NC_TRY(nc_image_check_size("webp", f.width, f.height, o, e));
    NC_TRY(nc_image_new(f.width, f.height, f.has_alpha ? 4 : 3, out, e));
    const int stride = f.width * out->channels;
    const size_t bytes = nc_image_bytes(out);
    const uint8_t *done = f.has_alpha ? WebPDecodeRGBAInto(p, n, out->pixels, bytes, stride)
                                      : WebPDecodeRGBInto(p, n, out->pixels, bytes, stride);
    if (!done) {
        nc_image_free(out);
        return nc_fail(e, NC_EFORMAT, "webp: the picture data are damaged or cut short");
    }
    *orientation = find_orientation(p, n);
    return 0;
}

const nc_image_codec nc_image_codec_webp = { "webp", match, decode };

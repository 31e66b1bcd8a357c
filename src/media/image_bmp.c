/* image_bmp.c - Windows and OS/2 bitmaps as Pillow reads them: 1, 4 and 8 bits through their palette (also run-length coded), 16, 24 and 32 bits by their masks;
 * alpha is dropped. Rows go from the bottom up unless the height is negative, each padded to four bytes. Source: the BITMAPINFOHEADER family of headers.
 */
#include <stdlib.h>
#include <string.h>

#include "media/image_formats.h"

enum { RAW = 0, RLE8 = 1, RLE4 = 2, MASKS = 3, ALPHA_MASKS = 6 };

struct header { int64_t width, height; bool top_down; int bits, compression; uint32_t mask[3]; size_t pixels; uint8_t palette[256][3]; };

static uint32_t u16(const uint8_t *p) { return p[0] | (uint32_t)p[1] << 8; }
static uint32_t u32(const uint8_t *p) { return u16(p) | u16(p + 2) << 16; }

static bool match(const uint8_t *p, size_t n)
{
    return n >= 18 && p[0] == 'B' && p[1] == 'M';
}

/* Entries are blue, green, red and, but for the oldest header, a byte of nothing. Absent ones are black. */
static void read_palette(const uint8_t *p, size_t n, size_t at, size_t entry, uint32_t colors, struct header *h)
{
    for (uint32_t i = 0; i < colors && at + 3 <= n; i++, at += entry)
        for (int k = 0; k < 3; k++)
            h->palette[i][k] = p[at + 2 - (size_t)k];
}

static void default_masks(struct header *h)
{
    static const uint32_t five[3] = { 0x7c00, 0x3e0, 0x1f }, eight[3] = { 0xff0000, 0xff00, 0xff };
    memcpy(h->mask, h->bits == 16 ? five : eight, sizeof h->mask);
}

static int read_header(const uint8_t *p, size_t n, struct header *h, nc_error *e)
{
    const uint32_t size = u32(p + 14);
    const bool core = size == 12;
    uint32_t colors = 0;

    if ((!core && size < 40) || size > 1024 || n < 14 + (size_t)size)
        return nc_fail(e, NC_EFORMAT, "bmp: the header says %u bytes, the file has %zu", size, n - 14);
    h->width = core ? (int64_t)u16(p + 18) : (int32_t)u32(p + 18);
    h->height = core ? (int64_t)u16(p + 20) : (int32_t)u32(p + 22);
    h->bits = (int)u16(p + (core ? 24 : 28));
    h->compression = core ? RAW : (int)u32(p + 30);
    h->top_down = h->height < 0;
    h->height = h->top_down ? -h->height : h->height;
    h->pixels = u32(p + 10);
    default_masks(h);
    size_t after = 14 + (size_t)size;
    if (h->compression == MASKS || h->compression == ALPHA_MASKS) {
        size_t at = 54;
        if (at + 12 > n || (h->bits != 16 && h->bits != 32))
            return nc_fail(e, NC_EFORMAT, "bmp: masks for %d bits, or cut short", h->bits);
        for (int k = 0; k < 3; k++)
            h->mask[k] = u32(p + at + 4 * (size_t)k);
        after = size == 40 ? after + 12 : after;
    } else if (h->compression != RAW && !(h->compression == RLE8 && h->bits == 8) && !(h->compression == RLE4 && h->bits == 4)) {
        return nc_fail(e, NC_EUNSUPPORTED, "bmp: compression %d with %d bits is not read", h->compression, h->bits);
    }
    if (h->bits <= 8) {
        colors = core ? 0 : u32(p + 46);
        colors = colors == 0 || colors > (1u << h->bits) ? 1u << h->bits : colors;
        read_palette(p, n, after, core ? 3 : 4, colors, h);
    }
    return 0;
}

static uint8_t masked(uint32_t v, uint32_t mask)
{
    int shift = 0;
    if (!mask)
        return 0;
    while (!(mask >> shift & 1))
        shift++;
    uint32_t most = mask >> shift;
    return (uint8_t)((uint64_t)(v >> shift & most) * 255 / most);
}

static void read_row(const struct header *h, const uint8_t *in, uint8_t *out)
{
    for (int64_t x = 0; x < h->width; x++, out += 3) {
        if (h->bits <= 8) {
            int per = 8 / h->bits, at = (int)(x % per);
            memcpy(out, h->palette[in[x / per] >> (8 - h->bits * (at + 1)) & ((1 << h->bits) - 1)], 3);
        } else if (h->bits == 24) {
            out[0] = in[3 * x + 2], out[1] = in[3 * x + 1], out[2] = in[3 * x];
        } else {
            uint32_t v = h->bits == 16 ? u16(in + 2 * x) : u32(in + 4 * x);
            for (int k = 0; k < 3; k++)
                out[k] = masked(v, h->mask[k]);
        }
    }
}

/* Run-length codes into one index a pixel. A code is (count, index) or (0, what): 0 ends the row, 1 the picture, 2 moves, more are so many plain indices. */
static int read_runs(const struct header *h, const uint8_t *p, size_t n, uint8_t *index, nc_error *e)
{
    const int64_t total = h->width * h->height;
    const bool four = h->compression == RLE4;
    int64_t at = 0;
    size_t i = 0;

    while (at < total && i + 2 <= n) {
        int count = p[i], what = p[i + 1];
        i += 2;
        if (count) {
            int64_t left = h->width - at % h->width;         /* a run ends with its row */
            for (int k = 0; k < count && k < left; k++)
                index[at++] = (uint8_t)(four ? (k % 2 ? what & 15 : what >> 4) : what);
        } else if (what == 0) {
            at = (at + h->width - 1) / h->width * h->width;
        } else if (what == 1) {
            return 0;
        } else if (what == 2) {
            if (i + 2 > n)
                break;
            at += p[i] + h->width * p[i + 1];
            i += 2;
        } else {
            size_t bytes = four ? ((size_t)what + 1) / 2 : (size_t)what;
            if (bytes > n - i)
                break;
            for (int k = 0; k < what && at < total; k++)
                index[at++] = (uint8_t)(four ? (k % 2 ? p[i + (size_t)k / 2] & 15 : p[i + (size_t)k / 2] >> 4) : p[i + (size_t)k]);
            i += bytes + (bytes & 1);
        }
    }
    return at >= total ? 0 : nc_fail(e, NC_EFORMAT, "bmp: the run-length codes are cut short");
}

static int read_coded(const struct header *h, const uint8_t *p, size_t n, nc_image *out, nc_error *e)
{
    uint8_t *index = nc_xcalloc((size_t)(h->width * h->height), 1);
    int status = read_runs(h, p, n, index, e);
    for (int64_t y = 0; status == 0 && y < h->height; y++)
        for (int64_t x = 0; x < h->width; x++)
            memcpy(out->pixels + 3 * ((h->top_down ? y : h->height - 1 - y) * h->width + x), h->palette[index[y * h->width + x]], 3);
    free(index);
    return status;
}

static int read_plain(const struct header *h, const uint8_t *p, size_t n, nc_image *out, nc_error *e)
{
    const size_t stride = ((size_t)h->width * (size_t)h->bits + 31) / 32 * 4, last = ((size_t)h->width * (size_t)h->bits + 7) / 8;
    if (n < last || (n - last) / stride + 1 < (size_t)h->height)
        return nc_fail(e, NC_EFORMAT, "bmp: the file is cut short: %lld rows of %zu bytes wanted, %zu bytes there", (long long)h->height, stride, n);
    for (int64_t y = 0; y < h->height; y++)
        read_row(h, p + stride * (size_t)y, out->pixels + 3 * (h->top_down ? y : h->height - 1 - y) * h->width);
    return 0;
}

static int decode(const uint8_t *p, size_t n, const nc_image_options *o, nc_image *out, int *orientation, nc_error *e)
{
    struct header h = { 0 };

    (void)orientation;
    NC_TRY(read_header(p, n, &h, e));
    if (h.bits != 1 && h.bits != 4 && h.bits != 8 && h.bits != 16 && h.bits != 24 && h.bits != 32)
        return nc_fail(e, NC_EUNSUPPORTED, "bmp: %d bits a pixel are not read", h.bits);
    if (h.width < 1 || h.height < 1 || h.pixels > n)
        return nc_fail(e, NC_EFORMAT, "bmp: %lld x %lld pixels at byte %zu of %zu", (long long)h.width, (long long)h.height, h.pixels, n);
    NC_TRY(nc_image_check_size("bmp", h.width, h.height, o, e));
    NC_TRY(nc_image_new((int)h.width, (int)h.height, 3, out, e));
    const bool coded = h.compression == RLE8 || h.compression == RLE4;
    int status = (coded ? read_coded : read_plain)(&h, p + h.pixels, n - h.pixels, out, e);
    if (status < 0)
        nc_image_free(out);
    return status;
}

const nc_image_codec nc_image_codec_bmp = { "bmp", match, decode };

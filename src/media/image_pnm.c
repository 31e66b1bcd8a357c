/* image_pnm.c - PBM, PGM and PPM, plain (P1 to P3) and binary (P4 to P6), as Pillow reads them: samples are scaled to 255 by round-half-even, except that grey of
 * more than 8 bits is scaled to 65535 and then saturates at 255. Bits of P1 and P4 are 1 for black. Source: the netpbm formats' manual pages.
 */
#include <math.h>

#include "media/image_formats.h"

struct reader { const uint8_t *p, *end; };

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool match(const uint8_t *p, size_t n)
{
    return n >= 3 && p[0] == 'P' && p[1] >= '1' && p[1] <= '6' && (is_space(p[2]) || p[2] == '#');
}

/* The next number; comments run from # to the end of the line. -1 when there is none, or it has over nine digits. */
static int64_t number(struct reader *r)
{
    while (r->p < r->end && (is_space(*r->p) || *r->p == '#')) {
        if (*r->p == '#')
            while (r->p < r->end && *r->p != '\n' && *r->p != '\r')
                r->p++;
        else
            r->p++;
    }
    int64_t v = 0;
    int digits = 0;
    for (; r->p < r->end && *r->p >= '0' && *r->p <= '9' && digits < 10; r->p++, digits++)
        v = 10 * v + (*r->p - '0');
    return digits == 0 || digits > 9 ? -1 : v;
}

/* A bit of a plain bitmap: digits need no space between them. */
static int64_t bit(struct reader *r)
{
    while (r->p < r->end && *r->p != '0' && *r->p != '1') {
        if (*r->p == '#')
            while (r->p < r->end && *r->p != '\n' && *r->p != '\r')
                r->p++;
        else if (is_space(*r->p))
            r->p++;
        else
            return -1;
    }
    return r->p < r->end ? *r->p++ - '0' : -1;
}

static uint8_t scaled(int64_t v, int64_t most, bool wide_grey)
{
    double x = nearbyint((double)v / (double)most * (wide_grey ? 65535 : 255));
    return x > 255 ? 255 : (uint8_t)x;
}

static int plain_samples(struct reader *r, bool bits, int64_t most, bool wide_grey, nc_image *out, nc_error *e)
{
    const size_t n = nc_image_bytes(out);
    for (size_t i = 0; i < n; i++) {
        int64_t v = bits ? bit(r) : number(r);
        if (v < 0 || v > most)
            return nc_fail(e, NC_EFORMAT, "pnm: sample %zu of %zu is %s", i, n, v < 0 ? "missing or no number" : "over the largest value that the header states");
        out->pixels[i] = bits ? (v ? 0 : 255) : scaled(v, most, wide_grey);
    }
    return 0;
}

static int binary_samples(struct reader *r, int64_t most, bool wide_grey, nc_image *out, nc_error *e)
{
    const size_t n = nc_image_bytes(out), width = most > 255 ? 2 : 1;
    if ((size_t)(r->end - r->p) / width < n)
        return nc_fail(e, NC_EFORMAT, "pnm: the file is cut short: %zu samples wanted, %zu there", n, (size_t)(r->end - r->p) / width);
    for (size_t i = 0; i < n; i++, r->p += width) {
        int64_t v = width == 2 ? r->p[0] << 8 | r->p[1] : r->p[0];
        out->pixels[i] = scaled(v < most ? v : most, most, wide_grey);
    }
    return 0;
}

static int binary_bits(struct reader *r, nc_image *out, nc_error *e)
{
    const size_t stride = ((size_t)out->width + 7) / 8;
    if ((size_t)(r->end - r->p) / stride < (size_t)out->height)
        return nc_fail(e, NC_EFORMAT, "pnm: the file is cut short: %d rows wanted, %zu there", out->height, (size_t)(r->end - r->p) / stride);
    for (int y = 0; y < out->height; y++, r->p += stride)
        for (int x = 0; x < out->width; x++)
            out->pixels[(size_t)y * (size_t)out->width + (size_t)x] = r->p[x / 8] >> (7 - x % 8) & 1 ? 0 : 255;
    return 0;
}

static int decode(const uint8_t *p, size_t n, const nc_image_options *o, nc_image *out, int *orientation, nc_error *e)
{
    struct reader r = { p + 2, p + n };
    const int kind = p[1] - '0';
    const bool bits = kind == 1 || kind == 4, colour = kind == 3 || kind == 6;
    const int64_t width = number(&r), height = number(&r), most = bits ? 1 : number(&r);

    (void)orientation;
    if (width < 1 || height < 1 || most < 1 || most > 65535)
        return nc_fail(e, NC_EFORMAT, "pnm: the header has no width, height and largest value (1 to 65535)");
    NC_TRY(nc_image_check_size("pnm", width, height, o, e));
    if (kind > 3) {
        if (r.p >= r.end || !is_space(*r.p))
            return nc_fail(e, NC_EFORMAT, "pnm: no samples after the header");
        r.p++;
    }
    NC_TRY(nc_image_new((int)width, (int)height, colour ? 3 : 1, out, e));
    const bool wide_grey = !colour && most > 255;
    int status = kind <= 3 ? plain_samples(&r, bits, most, wide_grey, out, e) : bits ? binary_bits(&r, out, e) : binary_samples(&r, most, wide_grey, out, e);
    if (status < 0)
        nc_image_free(out);
    return status;
}

const nc_image_codec nc_image_codec_pnm = { "pnm", match, decode };

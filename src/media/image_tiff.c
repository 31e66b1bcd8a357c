/* image_tiff.c - the first picture of a TIFF by libtiff, with the samples Pillow gives: grey of 1, 2, 4 and 8 bits widened to 8, 16-bit and 32-bit grey saturated
 * at 255, 16-bit colours cut to the high byte, palettes expanded, CMYK by Pillow's formula; strips or tiles, interleaved or in planes. Other photometric kinds (YCbCr, Lab, logarithmic)
 * go through libtiff's own conversion to RGBA. Source: TIFF 6.0.
 */
#include <stdlib.h>
#include <string.h>

#include <tiffio.h>

#include "media/image_formats.h"

enum { MOST_SAMPLES = 8 };
static const tmsize_t most_block_bytes = (tmsize_t)1 << 30;

struct source { const uint8_t *p; size_t n, at; char why[160]; };

struct picture {
    TIFF *tiff;
    uint32_t width, height;
    uint16_t bits, samples, photometric, planar, format, compression;
    uint16_t *map[3];                /* palette */
    bool wide_map;                   /* its entries use all 16 bits */
};

static tmsize_t read_bytes(thandle_t h, void *to, tmsize_t n)
{
    struct source *s = (struct source *)h;
    size_t left = s->at < s->n ? s->n - s->at : 0, take = n < 0 ? 0 : (size_t)n < left ? (size_t)n : left;
    memcpy(to, s->p + (left ? s->at : 0), take);
    s->at += take;
    return (tmsize_t)take;
}

static tmsize_t write_nothing(thandle_t h, void *from, tmsize_t n) { (void)h; (void)from; (void)n; return 0; }

static toff_t seek(thandle_t h, toff_t to, int whence)
{
    struct source *s = (struct source *)h;
    s->at = (size_t)(whence == SEEK_SET ? to : whence == SEEK_CUR ? s->at + to : s->n + to);
    return (toff_t)s->at;
}

static int close_nothing(thandle_t h) { (void)h; return 0; }
static toff_t size_of(thandle_t h) { return (toff_t)((struct source *)h)->n; }

static int on_error(TIFF *t, void *user, const char *module, const char *format, va_list args)
{
    struct source *s = user;
    (void)t; (void)module;
    if (!s->why[0])
        vsnprintf(s->why, sizeof s->why, format, args);
    return 1;
}

static int on_warning(TIFF *t, void *user, const char *module, const char *format, va_list args)
{
    (void)t; (void)user; (void)module; (void)format; (void)args;
    return 1;
}

static bool match(const uint8_t *p, size_t n)
{
    return n >= 8 && (!memcmp(p, "II*\0", 4) || !memcmp(p, "MM\0*", 4) || !memcmp(p, "II+\0", 4) || !memcmp(p, "MM\0+", 4));
}

/* A number of 32 bits, saturated at 0 and 255. */
static unsigned saturated(const uint8_t *p, bool real)
{
    float f;
    int32_t i;
    memcpy(&f, p, 4);
    memcpy(&i, p, 4);
    if (real)
        return f >= 255 ? 255 : f > 0 ? (unsigned)f : 0;
    return i > 255 ? 255 : i > 0 ? (unsigned)i : 0;
}

/* Sample `s` of pixel x in a row whose pixels hold `step` samples. */
static unsigned sample(const struct picture *t, const uint8_t *row, uint32_t x, unsigned s, unsigned step)
{
    const unsigned bits = t->bits;
    size_t i = (size_t)x * step + s;
    if (bits == 32)
        return saturated(row + 4 * i, t->format == SAMPLEFORMAT_IEEEFP);
    if (bits == 8)
        return row[i];
    if (bits == 16) {
        uint16_t v;
        memcpy(&v, row + 2 * i, 2);
        return v;
    }
    return row[i * bits / 8] >> (8 - bits - i * bits % 8) & ((1u << bits) - 1);
}

static uint8_t muldiv255(unsigned a, unsigned b)
{
    unsigned t = a * b + 128;
    return (uint8_t)((t + (t >> 8)) >> 8);
}

static uint8_t grey(const struct picture *t, unsigned v)
{
    if (t->bits >= 16)
        return v > 255 ? 255 : (uint8_t)v;
    v = v * 255 / ((1u << t->bits) - 1);
    return (uint8_t)(t->photometric == PHOTOMETRIC_MINISWHITE ? 255 - v : v);
}

static void pixel(const struct picture *t, const unsigned *v, uint8_t *out)
{
    if (t->photometric == PHOTOMETRIC_PALETTE)
        for (int k = 0; k < 3; k++)
            out[k] = (uint8_t)(t->wide_map ? t->map[k][v[0]] >> 8 : t->map[k][v[0]]);
    else if (t->photometric == PHOTOMETRIC_SEPARATED)
        for (int k = 0; k < 3; k++)
            out[k] = (uint8_t)(255 - v[3] - muldiv255(v[k], 255 - v[3]));
    else if (t->photometric == PHOTOMETRIC_RGB)
        for (int k = 0; k < 3; k++)
            out[k] = (uint8_t)(t->bits == 16 ? v[k] >> 8 : v[k]);
    else
        memset(out, grey(t, v[0]), 3);
}

/* Whether pixel() knows the samples as they are stored. */
static bool is_plain(const struct picture *t)
{
    if (t->bits == 32)
        return t->photometric == PHOTOMETRIC_MINISBLACK && t->format <= SAMPLEFORMAT_IEEEFP;
    const bool integers = t->format == SAMPLEFORMAT_UINT || t->format == SAMPLEFORMAT_VOID;
    switch (integers ? t->photometric : -1) {
    case PHOTOMETRIC_MINISBLACK:
    case PHOTOMETRIC_MINISWHITE: return t->bits == 1 || t->bits == 2 || t->bits == 4 || t->bits == 8 || t->bits == 16;
    case PHOTOMETRIC_PALETTE: return (t->bits == 1 || t->bits == 2 || t->bits == 4 || t->bits == 8) && t->map[0];
    case PHOTOMETRIC_RGB: return (t->bits == 8 || t->bits == 16) && t->samples >= 3;
    case PHOTOMETRIC_SEPARATED: return t->bits == 8 && t->samples >= 4;
    default: return false;
    }
}

/* A block (strip or tile) of width x height pixels at x0, y0 into the picture; planes[s] is the block of sample s, or all are one interleaved block. */
static void place_block(const struct picture *t, uint8_t *const *planes, size_t stride, uint32_t x0, uint32_t y0, uint32_t width, uint32_t height, nc_image *out)
{
    const bool together = t->planar == PLANARCONFIG_CONTIG;
    const unsigned used = t->photometric == PHOTOMETRIC_SEPARATED ? 4 : t->photometric == PHOTOMETRIC_RGB ? 3 : 1;
    for (uint32_t y = 0; y < height && y0 + y < t->height; y++)
        for (uint32_t x = 0; x < width && x0 + x < t->width; x++) {
            unsigned v[4] = { 0 };
            for (unsigned s = 0; s < used; s++)
                v[s] = sample(t, planes[together ? 0 : s] + (size_t)y * stride, x, together ? s : 0, together ? t->samples : 1);
            pixel(t, v, out->pixels + 3 * ((size_t)(y0 + y) * t->width + x0 + x));
        }
}

static int read_blocks(const struct picture *t, nc_image *out, const struct source *s, nc_error *e)
{
    const bool tiled = TIFFIsTiled(t->tiff), together = t->planar == PLANARCONFIG_CONTIG;
    uint32_t width = t->width, height = t->height;
    if (tiled && (!TIFFGetField(t->tiff, TIFFTAG_TILEWIDTH, &width) || !TIFFGetField(t->tiff, TIFFTAG_TILELENGTH, &height)))
        return nc_fail(e, NC_EFORMAT, "tiff: tiles without a size");
    if (!tiled)
        TIFFGetFieldDefaulted(t->tiff, TIFFTAG_ROWSPERSTRIP, &height);
    height = !tiled && height > t->height ? t->height : height;
    const tmsize_t bytes = tiled ? TIFFTileSize(t->tiff) : TIFFStripSize(t->tiff), stride = tiled ? TIFFTileRowSize(t->tiff) : TIFFScanlineSize(t->tiff);
    const unsigned planes = together ? 1 : t->samples;
    if (width == 0 || height == 0 || bytes <= 0 || stride <= 0 || bytes > most_block_bytes / (tmsize_t)planes || (tmsize_t)height > bytes / stride)
        return nc_fail(e, NC_ELIMIT, "tiff: blocks of %u x %u pixels, %lld bytes", width, height, (long long)bytes);
    uint8_t *block[MOST_SAMPLES] = { 0 };
    int status = 0;
    for (unsigned k = 0; k < planes; k++)
        block[k] = nc_xcalloc((size_t)bytes, 1);
    for (uint32_t y = 0; status == 0 && y < t->height; y += height)
        for (uint32_t x = 0; status == 0 && x < t->width; x += width) {
            for (unsigned k = 0; status == 0 && k < planes; k++) {
                tmsize_t got = tiled ? TIFFReadEncodedTile(t->tiff, TIFFComputeTile(t->tiff, x, y, 0, (uint16_t)k), block[k], bytes)
                                     : TIFFReadEncodedStrip(t->tiff, TIFFComputeStrip(t->tiff, y, (uint16_t)k), block[k], bytes);
                if (got < 0)
                    status = nc_fail(e, NC_EFORMAT, "tiff: %s", s->why[0] ? s->why : "the picture data are damaged or cut short");
            }
            if (status == 0)
                place_block(t, block, (size_t)stride, x, y, width, height, out);
        }
    for (unsigned k = 0; k < planes; k++)
        free(block[k]);
    return status;
}

/* libtiff's own conversion: words of A, B, G, R from high to low. */
static int read_converted(const struct picture *t, nc_image *out, const struct source *s, nc_error *e)
{
    const size_t n = (size_t)t->width * t->height;
    uint32_t *words = nc_xcalloc(n, sizeof *words);
    int ok = TIFFReadRGBAImageOriented(t->tiff, t->width, t->height, words, ORIENTATION_TOPLEFT, 1);
    for (size_t i = 0; ok && i < n; i++)
        out->pixels[3 * i] = TIFFGetR(words[i]), out->pixels[3 * i + 1] = TIFFGetG(words[i]), out->pixels[3 * i + 2] = TIFFGetB(words[i]);
    free(words);
    return ok ? 0 : nc_fail(e, NC_EFORMAT, "tiff: %s", s->why[0] ? s->why : "the picture data are damaged or cut short");
}

static void read_tags(struct picture *t)
{
    TIFFGetField(t->tiff, TIFFTAG_IMAGEWIDTH, &t->width);
    TIFFGetField(t->tiff, TIFFTAG_IMAGELENGTH, &t->height);
    TIFFGetFieldDefaulted(t->tiff, TIFFTAG_BITSPERSAMPLE, &t->bits);
    TIFFGetFieldDefaulted(t->tiff, TIFFTAG_SAMPLESPERPIXEL, &t->samples);
    TIFFGetFieldDefaulted(t->tiff, TIFFTAG_PLANARCONFIG, &t->planar);
    TIFFGetFieldDefaulted(t->tiff, TIFFTAG_SAMPLEFORMAT, &t->format);
    TIFFGetFieldDefaulted(t->tiff, TIFFTAG_COMPRESSION, &t->compression);
    if (!TIFFGetField(t->tiff, TIFFTAG_PHOTOMETRIC, &t->photometric))
        t->photometric = t->samples >= 3 ? PHOTOMETRIC_RGB : PHOTOMETRIC_MINISBLACK;
    if (t->photometric == PHOTOMETRIC_YCBCR && t->compression == COMPRESSION_JPEG) {
        TIFFSetField(t->tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
        t->photometric = PHOTOMETRIC_RGB;
    }
    if (t->photometric == PHOTOMETRIC_PALETTE && t->bits <= 8 && TIFFGetField(t->tiff, TIFFTAG_COLORMAP, &t->map[0], &t->map[1], &t->map[2]))
        for (unsigned i = 0; i < 3u << t->bits; i++)
            t->wide_map = t->wide_map || t->map[i % 3][i / 3] > 255;
}

static int read_picture(TIFF *tiff, const struct source *s, const nc_image_options *o, nc_image *out, int *orientation, nc_error *e)
{
    struct picture t = { .tiff = tiff };
    uint16_t turned = 1;
    read_tags(&t);
    if (t.width == 0 || t.height == 0 || t.samples == 0 || t.samples > MOST_SAMPLES)
        return nc_fail(e, NC_EFORMAT, "tiff: %u x %u pixels of %u samples", t.width, t.height, t.samples);
    NC_TRY(nc_image_check_size("tiff", t.width, t.height, o, e));
    NC_TRY(nc_image_new((int)t.width, (int)t.height, 3, out, e));
    int status = (is_plain(&t) ? read_blocks : read_converted)(&t, out, s, e);
    if (status < 0)
        nc_image_free(out);
    else if (TIFFGetField(tiff, TIFFTAG_ORIENTATION, &turned) && turned >= 1 && turned <= 8 && is_plain(&t))
        *orientation = turned;
    return status;
}

static int decode(const uint8_t *p, size_t n, const nc_image_options *o, nc_image *out, int *orientation, nc_error *e)
{
    struct source s = { p, n, 0, "" };
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    if (!options)
        return nc_fail(e, NC_ENOMEM, "tiff: no memory for the decoder");
    TIFFOpenOptionsSetErrorHandlerExtR(options, on_error, &s);
    TIFFOpenOptionsSetWarningHandlerExtR(options, on_warning, &s);
    TIFFOpenOptionsSetMaxSingleMemAlloc(options, most_block_bytes);
    TIFF *tiff = TIFFClientOpenExt("picture", "rm", (thandle_t)&s, read_bytes, write_nothing, seek, close_nothing, size_of, NULL, NULL, options);
    TIFFOpenOptionsFree(options);
    if (!tiff)
        return nc_fail(e, NC_EFORMAT, "tiff: %s", s.why[0] ? s.why : "the header is damaged or cut short");
    int status = read_picture(tiff, &s, o, out, orientation, e);
    TIFFClose(tiff);
    return status;
}

const nc_image_codec nc_image_codec_tiff = { "tiff", match, decode };

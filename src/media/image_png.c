/* image_png.c - PNG by libpng, with the samples Pillow gives: 1, 2 and 4 bit grey widened, palettes expanded to RGB (their transparency is
 * dropped, as convert("RGB") does), 16-bit grey saturated at 255, other 16-bit samples cut to the high byte, no gamma.
 * Source: ISO/IEC 15948; libpng-manual.txt.
 */
#include "media/image_formats.h"
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <png.h>

struct job {                          /* outside the frames that longjmp returns to */
    png_structp png;
    png_infop info;
    const uint8_t *p;
    size_t n;
    nc_buf *out;
    uint8_t *wide;                    /* 16-bit grey before it is saturated */
    png_bytep *rows;
    int code;
    char message[160];
};

static void on_error(png_structp png, png_const_charp message)
{
    struct job *j = png_get_error_ptr(png);
    snprintf(j->message, sizeof j->message, "%s", message);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message) { (void)png; (void)message; }

static void read_bytes(png_structp png, png_bytep to, size_t n)
{
    struct job *j = png_get_io_ptr(png);
    if (n > j->n)
        png_error(png, "the file is cut short");
    memcpy(to, j->p, n);
    j->p += n;
    j->n -= n;
}

static bool match(const uint8_t *p, size_t n)
{
    return n >= 8 && memcmp(p, "\x89PNG\r\n\x1a\n", 8) == 0;
}

static void finish(struct job *j)
{
    png_destroy_read_struct(&j->png, &j->info, NULL);
    free(j->wide);
    free(j->rows);
    free(j);
}

/* Sets libpng's conversions; returns true for 16-bit grey, which is read wide. */
static bool set_transforms(png_structp png, int type, int depth)
{
    const bool wide_grey = type == PNG_COLOR_TYPE_GRAY && depth == 16;
    if (type == PNG_COLOR_TYPE_PALETTE)
        png_set_palette_to_rgb(png);
    else if (type == PNG_COLOR_TYPE_GRAY && depth < 8)
        png_set_expand_gray_1_2_4_to_8(png);
    if (depth == 16 && !wide_grey)
        png_set_strip_16(png);
    png_set_interlace_handling(png);
    return wide_grey;
}

static void read_picture(struct job *j, const nc_image_options *o, nc_image *out, int *orientation, nc_error *e)
{
    png_uint_32 w, h;
    int depth, type;

    png_set_read_fn(j->png, j, read_bytes);
    png_set_user_limits(j->png, 0x7fffffff, 0x7fffffff);
    png_set_chunk_cache_max(j->png, 64);
    png_set_chunk_malloc_max(j->png, 8 << 20);
    png_read_info(j->png, j->info);
    png_get_IHDR(j->png, j->info, &w, &h, &depth, &type, NULL, NULL, NULL);
    if ((j->code = nc_image_check_size("png", w, h, o, e)) < 0)
        png_longjmp(j->png, 1);
    const bool wide_grey = set_transforms(j->png, type, depth);
    png_read_update_info(j->png, j->info);
    const int channels = png_get_channels(j->png, j->info);
    if ((j->code = nc_image_new((int)w, (int)h, channels, out, e)) < 0)
        png_longjmp(j->png, 1);
    const size_t stride = png_get_rowbytes(j->png, j->info);
    if (stride != (size_t)w * (size_t)channels * (wide_grey ? 2 : 1))
        png_error(j->png, "rows of an unexpected length");
    if (wide_grey && !(j->wide = malloc(stride * h)))
        png_error(j->png, "no memory for the rows");
    j->rows = nc_xmalloc(h * sizeof *j->rows);
    for (png_uint_32 y = 0; y < h; y++)
        j->rows[y] = (wide_grey ? j->wide : out->pixels) + y * stride;
    png_read_image(j->png, j->rows);
    png_read_end(j->png, j->info);
    if (wide_grey)
        for (size_t i = 0; i < (size_t)w * h; i++)
            out->pixels[i] = j->wide[2 * i] ? 255 : j->wide[2 * i + 1];
    png_uint_32 exif_bytes = 0;
    png_bytep exif = NULL;
    if (png_get_eXIf_1(j->png, j->info, &exif_bytes, &exif) && exif)
        *orientation = nc_exif_orientation(exif, exif_bytes);
}

static int decode(const uint8_t *p, size_t n, const nc_image_options *o, nc_image *out, int *orientation, nc_error *e)
{
    struct job *j = nc_xcalloc(1, sizeof *j);

    j->p = p;
    j->n = n;
    j->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, j, on_error, on_warning);
    j->info = j->png ? png_create_info_struct(j->png) : NULL;
    if (!j->info) {
        finish(j);
        return nc_fail(e, NC_ENOMEM, "png: no memory for the decoder");
    }
    if (setjmp(png_jmpbuf(j->png))) {
        int code = j->code < 0 ? j->code : nc_fail(e, NC_EFORMAT, "png: %s", j->message);
        finish(j);
        nc_image_free(out);
        return code;
    }
    read_picture(j, o, out, orientation, e);
    finish(j);
    return 0;
}

const nc_image_codec nc_image_codec_png = { "png", match, decode };

static void write_bytes(png_structp png, png_bytep bytes, size_t n)
{
    struct job *j = png_get_io_ptr(png);
    nc_buf_add(j->out, bytes, n);
}

static void flush_nothing(png_structp png) { (void)png; }

int nc_image_encode_png(const nc_image *im, nc_buf *out, nc_error *e)
{
    static const int types[] = { 0, PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB, PNG_COLOR_TYPE_RGBA };
    struct job *j = nc_xcalloc(1, sizeof *j);

    j->out = out;
    j->n = out->n;                    /* what out held before, restored on failure */
    j->png = png_create_write_struct(PNG_LIBPNG_VER_STRING, j, on_error, on_warning);
    j->info = j->png ? png_create_info_struct(j->png) : NULL;
    if (!j->info || setjmp(png_jmpbuf(j->png))) {
        int code = nc_fail(e, NC_EINVAL, "png: %s", j->info ? j->message : "no memory for the encoder");
        out->n = j->n;
        png_destroy_write_struct(&j->png, &j->info);
        free(j);
        return code;
    }
    png_set_write_fn(j->png, j, write_bytes, flush_nothing);
    png_set_user_limits(j->png, 0x7fffffff, 0x7fffffff);
    png_set_IHDR(j->png, j->info, (png_uint_32)im->width, (png_uint_32)im->height, 8, types[im->channels],
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(j->png, j->info);
    for (int y = 0; y < im->height; y++)
        png_write_row(j->png, im->pixels + (size_t)y * (size_t)im->width * (size_t)im->channels);
    png_write_end(j->png, NULL);
    png_destroy_write_struct(&j->png, &j->info);
    free(j);
    return 0;
}

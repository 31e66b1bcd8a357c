/* image_jpeg.c - JPEG by libjpeg-turbo: the accurate integer DCT and triangle upsampling of chroma, as Pillow decodes.
 *
 * CMYK and YCCK files are read by Adobe's habit (samples inverted) and turned to RGB with Pillow's formula
 * R = k - muldiv255(255 - c, k) where c and k are the stored, inverted samples. Source: ITU-T T.81; libjpeg.txt.
 */
#include "media/image_formats.h"
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jpeglib.h>
#include <jerror.h>

enum { most_scans = 200 };   /* a progressive file may hold millions of empty scans; each costs a pass over the picture */

struct failure {
    struct jpeg_error_mgr manager;
    jmp_buf back;
    char message[JMSG_LENGTH_MAX];
};

static void fail_out(j_common_ptr c)
{
    struct failure *f = (struct failure *)c->err;
    c->err->format_message(c, f->message);
    longjmp(f->back, 1);
}

/* Warnings are what a damaged but readable file gives; a file that ends early is refused, as Pillow does. */
static void on_message(j_common_ptr c, int level)
{
    if (level < 0 && c->err->msg_code == JWRN_JPEG_EOF) {
        struct failure *f = (struct failure *)c->err;
        snprintf(f->message, sizeof f->message, "the file is cut short");
        longjmp(f->back, 1);
    }
}

static void on_progress(j_common_ptr c)
{
    if (c->is_decompressor && ((j_decompress_ptr)c)->input_scan_number > most_scans) {
        struct failure *f = (struct failure *)c->err;
        snprintf(f->message, sizeof f->message, "more than %d scans", (int)most_scans);
        longjmp(f->back, 1);
    }
}

static void discard(j_common_ptr c) { (void)c; }

static void set_errors(struct failure *f)
{
    jpeg_std_error(&f->manager);
    f->manager.error_exit = fail_out;
    f->manager.emit_message = on_message;
    f->manager.output_message = discard;
    f->message[0] = 0;
}

static bool match(const uint8_t *p, size_t n)
{
    return n >= 3 && p[0] == 0xff && p[1] == 0xd8 && p[2] == 0xff;
}

static uint8_t cmyk_part(unsigned c, unsigned k)
{
    unsigned t = (255 - c) * k + 128;
    return (uint8_t)(k - ((t + (t >> 8)) >> 8));
}

static void cmyk_row(const uint8_t *in, uint8_t *out, int width)
{
    for (int x = 0; x < width; x++, in += 4, out += 3)
        for (int i = 0; i < 3; i++)
            out[i] = cmyk_part(in[i], in[3]);
}

struct reading {                     /* outside the frame that longjmp returns to */
    struct jpeg_decompress_struct c;
    struct failure failure;
    struct jpeg_progress_mgr progress;
    uint8_t *row;
    int limit_code;
};

static void read_rows(struct reading *r, nc_image *out)
{
    struct jpeg_decompress_struct *c = &r->c;
    const size_t stride = (size_t)out->width * (size_t)out->channels;

    while (c->output_scanline < c->output_height) {
        uint8_t *to = out->pixels + c->output_scanline * stride;
        JSAMPROW row = r->row ? r->row : to;
        jpeg_read_scanlines(c, &row, 1);
        if (r->row)
            cmyk_row(r->row, to, out->width);
    }
}

static int decode(const uint8_t *p, size_t n, const nc_image_options *o, nc_image *out, int *orientation, nc_error *e)
{
    struct reading *r = nc_xcalloc(1, sizeof *r);
    struct jpeg_decompress_struct *c = &r->c;

    set_errors(&r->failure);
    c->err = &r->failure.manager;
    if (setjmp(r->failure.back)) {
        int code = r->limit_code ? r->limit_code : nc_fail(e, NC_EFORMAT, "jpeg: %s", r->failure.message);
        jpeg_destroy_decompress(&r->c);
        free(r->row);
        free(r);
        nc_image_free(out);
        return code;
    }
    jpeg_create_decompress(c);
    r->progress.progress_monitor = on_progress;
    c->progress = &r->progress;
    jpeg_mem_src(c, p, n);
    jpeg_save_markers(c, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(c, TRUE);
    for (jpeg_saved_marker_ptr m = c->marker_list; m; m = m->next)
        if (m->data_length >= 6 && memcmp(m->data, "Exif\0", 5) == 0) {
            *orientation = nc_exif_orientation(m->data, m->data_length);
            break;
        }
    const bool cmyk = c->jpeg_color_space == JCS_CMYK || c->jpeg_color_space == JCS_YCCK;
    const bool grey = c->jpeg_color_space == JCS_GRAYSCALE;
    c->out_color_space = cmyk ? JCS_CMYK : grey ? JCS_GRAYSCALE : JCS_RGB;
    r->limit_code = nc_image_check_size("jpeg", c->image_width, c->image_height, o, e);
    if (r->limit_code == 0)
        r->limit_code = nc_image_new((int)c->image_width, (int)c->image_height, grey ? 1 : 3, out, e);
    if (r->limit_code < 0)
        longjmp(r->failure.back, 1);
    if (cmyk)
        r->row = nc_xmalloc((size_t)c->image_width * 4);
    jpeg_start_decompress(c);
    read_rows(r, out);
    jpeg_finish_decompress(c);
    jpeg_destroy_decompress(c);
    free(r->row);
    free(r);
    return 0;
}

const nc_image_codec nc_image_codec_jpeg = { "jpeg", match, decode };

struct writing {
    struct jpeg_compress_struct c;
    struct failure failure;
    unsigned char *bytes;
    unsigned long n;
};

int nc_image_encode_jpeg(const nc_image *im, int quality, nc_buf *out, nc_error *e)
{
    if (im->channels != 1 && im->channels != 3)
        return nc_fail(e, NC_EINVAL, "jpeg: %d channels cannot be stored; drop alpha first", im->channels);
    if (im->width > JPEG_MAX_DIMENSION || im->height > JPEG_MAX_DIMENSION)
        return nc_fail(e, NC_ELIMIT, "jpeg: %d x %d is over the format's limit of %ld a side", im->width, im->height, JPEG_MAX_DIMENSION);
    struct writing *w = nc_xcalloc(1, sizeof *w);
    set_errors(&w->failure);
    w->c.err = &w->failure.manager;
    if (setjmp(w->failure.back)) {
        int code = nc_fail(e, NC_EINVAL, "jpeg: %s", w->failure.message);
        jpeg_destroy_compress(&w->c);
        free(w->bytes);
        free(w);
        return code;
    }
    jpeg_create_compress(&w->c);
    jpeg_mem_dest(&w->c, &w->bytes, &w->n);
    w->c.image_width = (JDIMENSION)im->width;
    w->c.image_height = (JDIMENSION)im->height;
    w->c.input_components = im->channels;
    w->c.in_color_space = im->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&w->c);
    jpeg_set_quality(&w->c, quality < 1 ? 1 : quality > 100 ? 100 : quality, TRUE);
    jpeg_start_compress(&w->c, TRUE);
    while (w->c.next_scanline < w->c.image_height) {
        JSAMPROW row = im->pixels + (size_t)w->c.next_scanline * (size_t)im->width * (size_t)im->channels;
        jpeg_write_scanlines(&w->c, &row, 1);
    }
    jpeg_finish_compress(&w->c);
    nc_buf_add(out, w->bytes, w->n);
    jpeg_destroy_compress(&w->c);
    free(w->bytes);
    free(w);
    return 0;
}

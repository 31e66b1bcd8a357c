/* image.h - pictures in memory: 8-bit samples, rows packed, from and to files of the usual formats.
 *
 * Decoding follows what Pillow makes of the same file (transformers' reference path): the default DCT and upsampling of libjpeg-turbo,
 * CMYK with Adobe's inversion, palettes expanded, 16-bit grey saturated at 255, other 16-bit samples cut to their high byte, EXIF orientation
 * applied unless told otherwise. nc_image_rgb is Pillow's convert("RGB"): alpha is dropped, never blended.
 * A format is one file image_<name>.c and one line in image_formats.list.
 */
#ifndef NC_MEDIA_IMAGE_H
#define NC_MEDIA_IMAGE_H
#include "base/str.h"

typedef struct nc_image {
    int width, height;
    int channels;            /* 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA (alpha not premultiplied) */
    uint8_t *pixels;         /* height * width * channels bytes, owned by the picture; nc_image_free gives back */
} nc_image;

typedef struct nc_image_options {
    int64_t max_pixels;      /* 0: 178956970, Pillow's bound on what it decodes without complaint, twice */
    size_t max_bytes;        /* of the file; 0: 256 MiB */
    bool keep_orientation;   /* do not apply EXIF orientation */
    bool rgb;                /* convert to three channels */
} nc_image_options;

/* Zeroed picture; sides at least 1, channels 1 to 4; more than 2^31 - 1 samples is NC_ELIMIT. */
int nc_image_new(int width, int height, int channels, nc_image *out, nc_error *e);
void nc_image_free(nc_image *im);                                   /* NULL and {0} are allowed; leaves {0} */
int nc_image_copy(const nc_image *im, nc_image *out, nc_error *e);
static inline size_t nc_image_bytes(const nc_image *im) { return (size_t)im->width * (size_t)im->height * (size_t)im->channels; }

/* The format's name, "png", by the first bytes; NULL when it is none of the list. */
const char *nc_image_format(const void *bytes, size_t n);
/* options NULL: the defaults. On failure *out is {0}. */
int nc_image_decode(const void *bytes, size_t n, const nc_image_options *options, nc_image *out, nc_error *e);
int nc_image_load(const char *path, const nc_image_options *options, nc_image *out, nc_error *e);

/* Pillow's convert("RGB"), in place. */
int nc_image_rgb(nc_image *im, nc_error *e);
/* EXIF orientation 1 to 8 (TIFF 6.0 tag 274), in place: the picture is turned so that it shows upright. */
int nc_image_orient(nc_image *im, int orientation, nc_error *e);

/* Both append to out. PNG: any channel count, lossless. JPEG: 1 or 3 channels, quality 1 to 100, chroma halved both ways. */
int nc_image_encode_png(const nc_image *im, nc_buf *out, nc_error *e);
int nc_image_encode_jpeg(const nc_image *im, int quality, nc_buf *out, nc_error *e);
int nc_image_save_png(const nc_image *im, const char *path, nc_error *e);     /* atomically */
#endif

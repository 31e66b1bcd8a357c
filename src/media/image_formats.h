/* image_formats.h - what a picture format gives to the table in image.c. Inside src/media only. */
#ifndef NC_MEDIA_IMAGE_FORMATS_H
#define NC_MEDIA_IMAGE_FORMATS_H
#include "media/image.h"

typedef struct nc_image_codec {
    const char *name;
    bool (*match)(const uint8_t *p, size_t n);
    /* Decodes in the file's own orientation; *orientation is the EXIF value, 1 when there is none. o's limits are filled in. */
    int (*decode)(const uint8_t *p, size_t n, const nc_image_options *o, nc_image *out, int *orientation, nc_error *e);
} nc_image_codec;

#define NC_IMAGE_FORMAT(name) extern const nc_image_codec nc_image_codec_##name;
#include "media/image_formats.list"
#undef NC_IMAGE_FORMAT

/* NC_ELIMIT when width * height is over the limit; "jpeg: 100000 x 100000 pixels, limit ..." */
int nc_image_check_size(const char *format, int64_t width, int64_t height, const nc_image_options *o, nc_error *e);
/* Orientation from an EXIF block (TIFF header first, "Exif\0\0" before it allowed); 1 when absent or broken. */
int nc_exif_orientation(const uint8_t *p, size_t n);
#endif

/* raster.c - the picture on its way through a pipeline: bytes, or planes of numbers, and the step between them. */
#include "media/augment/raster.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

uint8_t nc_fill_byte(const nc_fill *f, int channel, int channels)
{
    if (!f->count)
        return 0;
    if (f->packed && f->count == 1 && channels > 1)
        return (uint8_t)((int64_t)f->v[0] >> 8 * channel);
    double v = trunc(f->count == 1 ? f->v[0] : channel < f->count ? f->v[channel] : 255);
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

void nc_raster_free(nc_raster *x)
{
    nc_image_free(&x->image);
    free(x->planes.p);
    *x = (nc_raster){ 0 };
}

void nc_raster_take(nc_raster *x, nc_image *im)
{
    nc_raster_free(x);
    x->image = *im;
    *im = (nc_image){ 0 };
}

void nc_raster_take_planes(nc_raster *x, nc_planes *p)
{
    nc_raster_free(x);
    x->tensor = true;
    x->planes = *p;
    *p = (nc_planes){ 0 };
}

int nc_planes_new(int channels, int height, int width, bool bytes, nc_planes *out, nc_error *e)
{
    *out = (nc_planes){ channels, height, width, bytes, NULL };
    if (channels < 1 || height < 1 || width < 1)
        return nc_fail(e, NC_EINVAL, "a picture of %d x %d with %d channels is empty", width, height, channels);
    if ((int64_t)height * width > INT32_MAX / 4 / channels)
        return nc_fail(e, NC_ELIMIT, "a picture of %d x %d with %d channels is too large", width, height, channels);
    out->p = nc_xcalloc(nc_planes_count(out), sizeof *out->p);
    return 0;
}

int nc_planes_of_image(const nc_image *im, bool bytes, nc_planes *out, nc_error *e)
{
    NC_TRY(nc_planes_new(im->channels, im->height, im->width, bytes, out, e));
    const size_t n = nc_planes_plane(out);
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < (size_t)im->channels; c++) {
            const float v = im->pixels[i * (size_t)im->channels + c];
            out->p[c * n + i] = bytes ? v : v / 255.0f;
        }
    return 0;
}

int nc_image_of_planes(const nc_planes *p, nc_image *out, nc_error *e)
{
    NC_TRY(nc_image_new(p->width, p->height, p->channels, out, e));
    const size_t n = nc_planes_plane(p);
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < (size_t)p->channels; c++) {
            const float v = p->p[c * n + i], scaled = p->bytes ? v : v * 255.0f;
            out->pixels[i * (size_t)p->channels + c] = !(scaled > 0) ? 0 : scaled < 255 ? (uint8_t)scaled : 255;
        }
    return 0;
}

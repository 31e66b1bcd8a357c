/* torch_frame.c - torchvision.transforms.functional's flips, crops, pad, resize and erase: what moves pixels without mixing them, and the resize that mixes.
 *
 * Easy to get wrong: center_crop of a smaller picture pads first, the odd pixel to the right and below, and rounds its corner half to even; negative padding crops;
 * reflect leaves the border out of the reflection, symmetric repeats it, and only Pillow's pictures may be reflected more than once; a uint8 tensor is resized in
 * float and rounded, unlike the uint8 path of transformers' fast processors.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "media/augment/raster.h"

/* Pixel (x, y) of the result is pixel (from_x[x], from_y[y]) of the source; -1: the fill colour. */
static int gather(nc_raster *x, const int *from_x, int width, const int *from_y, int height, const nc_fill *fill, nc_error *e)
{
    const int channels = nc_raster_channels(x);
    nc_image im;
    nc_planes p;
    if (!x->tensor) {
        NC_TRY(nc_image_new(width, height, channels, &im, e));
        uint8_t *out = im.pixels;
        for (int i = 0; i < height; i++)
            for (int j = 0; j < width; j++)
                for (int c = 0; c < channels; c++)
                    *out++ = from_y[i] < 0 || from_x[j] < 0 ? nc_fill_byte(fill, c, channels)
                                                            : x->image.pixels[((size_t)from_y[i] * (size_t)x->image.width + (size_t)from_x[j]) * (size_t)channels + (size_t)c];
        nc_raster_take(x, &im);
        return 0;
    }
    NC_TRY(nc_planes_new(channels, height, width, x->planes.bytes, &p, e));
    float *out = p.p;
    for (int c = 0; c < channels; c++) {
        const float *plane = x->planes.p + (size_t)c * nc_planes_plane(&x->planes), color = (float)(fill->count ? fill->v[fill->count == 1 ? 0 : c] : 0);
        for (int i = 0; i < height; i++)
            for (int j = 0; j < width; j++)
                *out++ = from_y[i] < 0 || from_x[j] < 0 ? p.bytes ? truncf(color) : color : plane[(size_t)from_y[i] * (size_t)x->planes.width + (size_t)from_x[j]];
    }
    nc_raster_take_planes(x, &p);
    return 0;
}

/* Where output i of an axis comes from, for source places from `first` on. */
static int fold(int64_t i, int n, nc_padding mode)
{
    if (i >= 0 && i < n)
        return (int)i;
    if (mode == NC_PAD_CONSTANT)
        return -1;
    if (mode == NC_PAD_EDGE || n == 1)
        return i < 0 ? 0 : n - 1;
    const int64_t period = mode == NC_PAD_REFLECT ? 2 * (int64_t)n - 2 : 2 * (int64_t)n;
    i = (i % period + period) % period;
    return (int)(i < n ? i : mode == NC_PAD_REFLECT ? period - i : period - 1 - i);
}

/* The window [left, left + width) x [top, top + height); what lies outside by the mode, seen from the part [low, high) of each axis. */
static int window(nc_raster *x, int left, int top, int width, int height, const int low[2], const int high[2], nc_padding mode, const nc_fill *fill, nc_error *e)
{
    if (width < 1 || height < 1)
        return nc_fail(e, NC_EINVAL, "the picture would be %d x %d", width, height);
    if (width > 1 << 20 || height > 1 << 20)
        return nc_fail(e, NC_ELIMIT, "the picture would be %d x %d", width, height);
    int *from = nc_xcalloc((size_t)width + (size_t)height, sizeof *from);
    for (int j = 0; j < width; j++) {
        const int k = fold((int64_t)left + j - low[0], high[0] - low[0], mode);
        from[j] = k < 0 ? k : k + low[0];
    }
    for (int i = 0; i < height; i++) {
        const int k = fold((int64_t)top + i - low[1], high[1] - low[1], mode);
        from[width + i] = k < 0 ? k : k + low[1];
    }
    int status = gather(x, from, width, from + width, height, fill, e);
    free(from);
    return status;
}

int nc_torch_crop(nc_raster *x, int top, int left, int height, int width, nc_error *e)
{
    const int low[2] = { 0, 0 }, high[2] = { nc_raster_width(x), nc_raster_height(x) };
    return window(x, left, top, width, height, low, high, NC_PAD_CONSTANT, &(nc_fill){ 0 }, e);
}

int nc_torch_flip(nc_raster *x, bool vertical, nc_error *e)
{
    const int w = nc_raster_width(x), h = nc_raster_height(x);
    int *from = nc_xcalloc((size_t)w + (size_t)h, sizeof *from);
    for (int j = 0; j < w; j++)
        from[j] = vertical ? j : w - 1 - j;
    for (int i = 0; i < h; i++)
        from[w + i] = vertical ? h - 1 - i : i;
    int status = gather(x, from, w, from + w, h, &(nc_fill){ 0 }, e);
    free(from);
    return status;
}

int nc_torch_pad(nc_raster *x, const int padding[4], const nc_fill *fill, nc_padding mode, nc_error *e)
{
    const int w = nc_raster_width(x), h = nc_raster_height(x);
    int low[2] = { 0, 0 }, high[2] = { w, h };
    for (int k = 0; k < 4; k++)
        if (padding[k] > 1 << 20 || padding[k] < -(1 << 20))
            return nc_fail(e, NC_ELIMIT, "padding of %d pixels", padding[k]);
    for (int k = 0; k < 2; k++) {
        low[k] = padding[k] < 0 ? -padding[k] : 0;
        high[k] += padding[2 + k] < 0 ? padding[2 + k] : 0;
        const int n = high[k] - low[k], most = mode == NC_PAD_REFLECT ? n - 1 : n;
        if (n < 1)
            return nc_fail(e, NC_EINVAL, "the padding cuts the whole picture of %d x %d away", w, h);
        if (x->tensor && (mode == NC_PAD_REFLECT || mode == NC_PAD_SYMMETRIC) && (padding[k] > most || padding[2 + k] > most))
            return nc_fail(e, NC_EINVAL, "a tensor of %d x %d cannot be reflected by %d and %d pixels", w, h, padding[k], padding[2 + k]);
    }
    return window(x, -padding[0], -padding[1], w + padding[0] + padding[2], h + padding[1] + padding[3], low, high, mode, fill, e);
}

int nc_torch_center_crop(nc_raster *x, int height, int width, nc_error *e)
{
    const int w = nc_raster_width(x), h = nc_raster_height(x), dx = width > w ? width - w : 0, dy = height > h ? height - h : 0;
    const int padding[4] = { dx / 2, dy / 2, (dx + 1) / 2, (dy + 1) / 2 };
    if (width < 1 || height < 1)
        return nc_fail(e, NC_EINVAL, "a crop of %d x %d is empty", width, height);
    if (dx || dy)
        NC_TRY(nc_torch_pad(x, padding, &(nc_fill){ 0 }, NC_PAD_CONSTANT, e));
    return nc_torch_crop(x, (int)rint((nc_raster_height(x) - height) / 2.0), (int)rint((nc_raster_width(x) - width) / 2.0), height, width, e);
}

static int resize_plane(const float *in, const nc_planes *from, float *out, int width, int height, nc_filter filter, bool antialias, nc_error *e)
{
    if (filter == NC_NEAREST)
        return nc_interpolate_f32(in, from->width, from->height, out, width, height, NC_INTERPOLATE_NEAREST, e);
    if (filter != NC_BILINEAR && filter != NC_BICUBIC)
        return nc_fail(e, NC_EINVAL, "a tensor is scaled by nearest, bilinear or bicubic");
    if (antialias)
        return nc_resize_f32(in, from->width, from->height, out, width, height, filter, NC_RESIZE_TORCHVISION, e);
    return nc_interpolate_f32(in, from->width, from->height, out, width, height, filter == NC_BILINEAR ? NC_INTERPOLATE_BILINEAR : NC_INTERPOLATE_BICUBIC, e);
}

int nc_torch_resize(nc_raster *x, int height, int width, nc_filter filter, bool antialias, nc_error *e)
{
    nc_image im;
    nc_planes p;
    if (width < 1 || height < 1 || width > 1 << 16 || height > 1 << 16)
        return nc_fail(e, NC_EINVAL, "the picture would be %d x %d", width, height);
    if (!x->tensor) {
        NC_TRY(nc_resize(&x->image, width, height, filter, NULL, NC_RESIZE_PILLOW, &im, e));
        nc_raster_take(x, &im);
        return 0;
    }
    NC_TRY(nc_planes_new(x->planes.channels, height, width, x->planes.bytes, &p, e));
    int status = 0;
    for (int c = 0; c < p.channels && status == 0; c++)
        status = resize_plane(x->planes.p + (size_t)c * nc_planes_plane(&x->planes), &x->planes, p.p + (size_t)c * nc_planes_plane(&p), width, height, filter, antialias, e);
    if (status < 0) {
        free(p.p);
        return status;
    }
    for (size_t i = 0; p.bytes && i < nc_planes_count(&p); i++)
        p.p[i] = rintf(fminf(fmaxf(p.p[i], 0), 255));
    nc_raster_take_planes(x, &p);
    return 0;
}

int nc_torch_erase(nc_raster *x, int top, int left, int height, int width, const float *value, int values, nc_error *e)
{
    const nc_planes *p = &x->planes;
    if (!x->tensor)
        return nc_fail(e, NC_EINVAL, "erase takes a tensor: put PILToTensor or ToTensor before it");
    if (top < 0 || left < 0 || height < 0 || width < 0 || height > p->height - top || width > p->width - left)
        return nc_fail(e, NC_EINVAL, "erase: %d x %d at (%d, %d) lies outside the picture of %d x %d", width, height, left, top, p->width, p->height);
    if (values != 1 && values != p->channels && values != p->channels * height * width)
        return nc_fail(e, NC_EINVAL, "erase: %d values for %d channels", values, p->channels);
    for (int c = 0; c < p->channels; c++)
        for (int i = 0; i < height; i++)
            for (int j = 0; j < width; j++) {
                const float v = value[values == 1 ? 0 : values == p->channels ? c : (c * height + i) * width + j];
                p->p[((size_t)c * (size_t)p->height + (size_t)(top + i)) * (size_t)p->width + (size_t)(left + j)] = p->bytes ? (float)(uint8_t)(int)v : v;
            }
    return 0;
}

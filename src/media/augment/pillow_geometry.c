/* pillow_geometry.c - Image.transpose, Image.transform and Image.rotate, to the byte as Pillow 13 computes them.
 *
 * Output pixel (x, y) looks at the source place T(x + 0.5, y + 0.5):
 *     affine       (a x + b y + c, d x + e y + f)                 extent: an affine map of the box onto the output
 *     perspective  the same over (g x + h y + 1)                  quad: a0 + a1 x + a2 y + a3 x y
 * Places outside the source stay the fill colour. bilinear and bicubic (a = -1) are centred on pixel middles, in double, and cut, not rounded, to a byte;
 * rows below the last repeat the interpolated row above, columns repeat the border's pixel.
 * Easy to get wrong: nearest affine maps run in 16.16 fixed point, added up along a row (or, without rotation, in a running sum of doubles); a picture with alpha is
 * premultiplied for bilinear and bicubic; rotate rounds sine and cosine to 15 decimals, and turns by transposing at multiples of 90 degrees.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "media/augment/raster.h"

int nc_pillow_transpose(const nc_image *in, nc_transposition how, nc_image *out, nc_error *e)
{
    const int w = in->width, h = in->height, c = in->channels;
    const bool turned = how == NC_ROTATE_90 || how == NC_ROTATE_270 || how == NC_TRANSPOSE || how == NC_TRANSVERSE;
    NC_TRY(nc_image_new(turned ? h : w, turned ? w : h, c, out, e));
    for (int y = 0; y < out->height; y++)
        for (int x = 0; x < out->width; x++) {
            int sx = turned ? y : x, sy = turned ? x : y;
            if (how == NC_FLIP_LEFT_RIGHT || how == NC_ROTATE_180 || how == NC_ROTATE_90 || how == NC_TRANSVERSE)
                sx = w - 1 - sx;
            if (how == NC_FLIP_TOP_BOTTOM || how == NC_ROTATE_180 || how == NC_ROTATE_270 || how == NC_TRANSVERSE)
                sy = h - 1 - sy;
            memcpy(out->pixels + ((size_t)y * (size_t)out->width + (size_t)x) * (size_t)c, in->pixels + ((size_t)sy * (size_t)w + (size_t)sx) * (size_t)c, (size_t)c);
        }
    return 0;
}

static int clamp(int i, int n) { return i < 0 ? 0 : i < n ? i : n - 1; }
static int cell(double v) { return v < 0 ? -1 : v < INT32_MAX ? (int)v : INT32_MAX; }

static const uint8_t *at(const nc_image *im, int x, int y)
{
    return im->pixels + ((size_t)y * (size_t)im->width + (size_t)x) * (size_t)im->channels;
}

static double cubic(double v1, double v2, double v3, double v4, double d)
{
    double p2 = -v1 + v3, p3 = 2 * (v1 - v2) + v3 - v4, p4 = -v1 + v2 - v3 + v4;
    return v2 + d * (p2 + d * (p3 + d * p4));
}

static void bilinear(const nc_image *im, double sx, double sy, uint8_t *out)
{
    const int x = (int)floor(sx - 0.5), y = (int)floor(sy - 0.5), x0 = clamp(x, im->width), x1 = clamp(x + 1, im->width);
    const double dx = sx - 0.5 - x, dy = sy - 0.5 - y;
    const bool below = y + 1 >= 0 && y + 1 < im->height;
    for (int c = 0; c < im->channels; c++) {
        double a = at(im, x0, clamp(y, im->height))[c], b = at(im, x1, clamp(y, im->height))[c], v1 = a + (b - a) * dx, v2 = v1;
        if (below) {
            a = at(im, x0, y + 1)[c];
            b = at(im, x1, y + 1)[c];
            v2 = a + (b - a) * dx;
        }
        out[c] = (uint8_t)(v1 + (v2 - v1) * dy);
    }
}

static void bicubic(const nc_image *im, double sx, double sy, uint8_t *out)
{
    const int x = (int)floor(sx - 0.5) - 1, y = (int)floor(sy - 0.5) - 1;
    const double dx = sx - 0.5 - (x + 1), dy = sy - 0.5 - (y + 1);
    for (int c = 0; c < im->channels; c++) {
        double row[4];
        for (int r = 0; r < 4; r++) {
            if (r && (y + r < 0 || y + r >= im->height)) {
                row[r] = row[r - 1];
                continue;
            }
            double v[4];
            for (int k = 0; k < 4; k++)
                v[k] = at(im, clamp(x + k, im->width), clamp(y + r, im->height))[c];
            row[r] = cubic(v[0], v[1], v[2], v[3], dx);
        }
        double v = cubic(row[0], row[1], row[2], row[3], dy);
        out[c] = v <= 0 ? 0 : v >= 255 ? 255 : (uint8_t)v;
    }
}

static void map(nc_warp how, const double *a, double x, double y, double *sx, double *sy)
{
    if (how == NC_WARP_QUAD) {
        *sx = a[0] + a[1] * x + a[2] * y + a[3] * x * y;
        *sy = a[4] + a[5] * x + a[6] * y + a[7] * x * y;
        return;
    }
    *sx = a[0] * x + a[1] * y + a[2];
    *sy = a[3] * x + a[4] * y + a[5];
    if (how == NC_WARP_PERSPECTIVE) {
        double d = a[6] * x + a[7] * y + 1;
        *sx /= d;
        *sy /= d;
    }
}

static void warp_generic(const nc_image *in, nc_warp how, const double *a, nc_filter filter, nc_image *out)
{
    uint8_t *p = out->pixels;
    for (int y = 0; y < out->height; y++)
        for (int x = 0; x < out->width; x++, p += out->channels) {
            double sx, sy;
            map(how, a, x + 0.5, y + 0.5, &sx, &sy);
            if (!(sx >= 0 && sy >= 0 && sx < in->width && sy < in->height))
                continue;
            if (filter == NC_BILINEAR)
                bilinear(in, sx, sy, p);
            else if (filter == NC_BICUBIC)
                bicubic(in, sx, sy, p);
            else
                memcpy(p, at(in, (int)sx, (int)sy), (size_t)in->channels);
        }
}

/* Nearest without rotation: the places of a row and a column, each a running sum. */
static void warp_scale(const nc_image *in, const double *a, nc_image *out)
{
    int *from = nc_xcalloc((size_t)out->width, sizeof *from);
    double place = a[2] + a[0] * 0.5;
    for (int x = 0; x < out->width; x++, place += a[0])
        from[x] = cell(place);
    place = a[5] + a[4] * 0.5;
    for (int y = 0; y < out->height; y++, place += a[4]) {
        const int sy = cell(place);
        for (int x = 0; sy >= 0 && sy < in->height && x < out->width; x++)
            if (from[x] >= 0 && from[x] < in->width)
                memcpy(out->pixels + ((size_t)y * (size_t)out->width + (size_t)x) * (size_t)out->channels, at(in, from[x], sy), (size_t)in->channels);
    }
    free(from);
}

static bool fits_fixed(const double *a, double x, double y)
{
    return fabs(x * a[0] + y * a[1] + a[2]) < 32768 && fabs(x * a[3] + y * a[4] + a[5]) < 32768;
}

static int64_t fixed(double v) { return (int64_t)floor(v * 65536 + 0.5); }

static void warp_nearest(const nc_image *in, const double *a, nc_image *out)
{
    const int w = out->width, h = out->height;
    const bool is_fixed = fits_fixed(a, 0, 0) && fits_fixed(a, w, h) && fits_fixed(a, 0, h) && fits_fixed(a, w, 0);
    const double first[2] = { is_fixed ? a[2] + a[0] * 0.5 + a[1] * 0.5 : a[2] + a[1] * 0.5 + a[0] * 0.5, is_fixed ? a[5] + a[3] * 0.5 + a[4] * 0.5 : a[5] + a[4] * 0.5 + a[3] * 0.5 };
    const int64_t step[4] = { is_fixed ? fixed(a[0]) : 0, is_fixed ? fixed(a[1]) : 0, is_fixed ? fixed(a[3]) : 0, is_fixed ? fixed(a[4]) : 0 };
    int64_t row[2] = { is_fixed ? fixed(first[0]) : 0, is_fixed ? fixed(first[1]) : 0 };
    double line[2] = { first[0], first[1] };
    uint8_t *p = out->pixels;
    for (int y = 0; y < h; y++) {
        int64_t fx = row[0], fy = row[1];
        double dx = line[0], dy = line[1];
        for (int x = 0; x < w; x++, p += out->channels) {
            const int64_t sx = is_fixed ? fx >> 16 : cell(dx), sy = is_fixed ? fy >> 16 : cell(dy);
            if (sx >= 0 && sx < in->width && sy >= 0 && sy < in->height)
                memcpy(p, at(in, (int)sx, (int)sy), (size_t)in->channels);
            fx += step[0];
            fy += step[2];
            dx += a[0];
            dy += a[3];
        }
        row[0] += step[1];
        row[1] += step[3];
        line[0] += a[1];
        line[1] += a[4];
    }
}

/* Pillow's convert to and from the premultiplied modes La and RGBa, in place. */
static void premultiply(nc_image *im, bool back)
{
    const int colors = im->channels - 1;
    const size_t n = (size_t)im->width * (size_t)im->height;
    for (size_t i = 0; i < n; i++) {
        uint8_t *p = im->pixels + i * (size_t)im->channels;
        const int alpha = p[colors];
        for (int c = 0; c < colors; c++) {
            int t = p[c] * alpha + 128, v = alpha ? 255 * p[c] / alpha : 0;
            if (!back)
                p[c] = (uint8_t)(((t >> 8) + t) >> 8);
            else if (alpha && alpha != 255)
                p[c] = (uint8_t)(v > 255 ? 255 : v);
        }
    }
}

static void fill_all(nc_image *im, const nc_fill *fill)
{
    if (!fill || !fill->count)
        return;                                          /* nc_image_new gave zeros */
    const size_t n = (size_t)im->width * (size_t)im->height;
    for (size_t i = 0; i < n; i++)
        for (int c = 0; c < im->channels; c++)
            im->pixels[i * (size_t)im->channels + (size_t)c] = nc_fill_byte(fill, c, im->channels);
}

/* The box or the quadrilateral as a map of places. */
static nc_warp as_map(nc_warp how, const double *data, int w, int h, double *a)
{
    memcpy(a, data, sizeof *a * (how == NC_WARP_AFFINE ? 6 : how == NC_WARP_EXTENT ? 4 : 8));
    if (how == NC_WARP_EXTENT) {
        const double x0 = data[0], y0 = data[1];
        const double m[6] = { (data[2] - x0) / w, 0, x0, 0, (data[3] - y0) / h, y0 };
        memcpy(a, m, sizeof m);
        return NC_WARP_AFFINE;
    }
    if (how == NC_WARP_QUAD) {                           /* corners NW, SW, SE, NE */
        const double s = 1.0 / w, t = 1.0 / h;
        for (int k = 0; k < 2; k++) {
            a[4 * k] = data[k];
            a[4 * k + 1] = (data[6 + k] - data[k]) * s;
            a[4 * k + 2] = (data[2 + k] - data[k]) * t;
            a[4 * k + 3] = (data[4 + k] - data[2 + k] - data[6 + k] + data[k]) * s * t;
        }
    }
    return how;
}

int nc_pillow_transform(const nc_image *in, int width, int height, nc_warp how, const double *data, nc_filter filter, const nc_fill *fill, nc_image *out, nc_error *e)
{
    double a[8];
    nc_image copy = { 0 };
    const bool alpha = filter != NC_NEAREST && (in->channels == 2 || in->channels == 4);
    if (filter != NC_NEAREST && filter != NC_BILINEAR && filter != NC_BICUBIC)
        return nc_fail(e, NC_EINVAL, "only nearest, bilinear and bicubic can be used here");
    for (int i = 0; i < (how == NC_WARP_AFFINE ? 6 : how == NC_WARP_EXTENT ? 4 : 8); i++)
        if (!isfinite(data[i]))
            return nc_fail(e, NC_EINVAL, "the map of the picture is not finite");
    NC_TRY(nc_image_new(width, height, in->channels, out, e));
    if (alpha) {
        int status = nc_image_copy(in, &copy, e);
        if (status < 0) {
            nc_image_free(out);
            return status;
        }
        premultiply(&copy, false);
        in = &copy;
    }
    how = as_map(how, data, width, height, a);
    fill_all(out, fill);
    if (how == NC_WARP_AFFINE && filter == NC_NEAREST && a[1] == 0 && a[3] == 0)
        warp_scale(in, a, out);
    else if (how == NC_WARP_AFFINE && filter == NC_NEAREST)
        warp_nearest(in, a, out);
    else
        warp_generic(in, how, a, filter, out);
    if (alpha)
        premultiply(out, true);
    nc_image_free(&copy);
    return 0;
}

/* Python's round(v, 15), for |v| <= 1. */
static double round15(double v)
{
    char text[40];
    snprintf(text, sizeof text, "%.15f", v);
    return strtod(text, NULL);
}

static void place(const double *m, double x, double y, double *px, double *py)
{
    *px = m[0] * x + m[1] * y + m[2];
    *py = m[3] * x + m[4] * y + m[5];
}

/* The size that holds the whole turned picture, and the map moved to its middle. */
static int expand(double *m, int *w, int *h, nc_error *e)
{
    double x[4], y[4];
    const double corner[4][2] = { { 0, 0 }, { *w, 0 }, { *w, *h }, { 0, *h } };
    for (int i = 0; i < 4; i++)
        place(m, corner[i][0], corner[i][1], &x[i], &y[i]);
    double nw = ceil(fmax(fmax(x[0], x[1]), fmax(x[2], x[3]))) - floor(fmin(fmin(x[0], x[1]), fmin(x[2], x[3])));
    double nh = ceil(fmax(fmax(y[0], y[1]), fmax(y[2], y[3]))) - floor(fmin(fmin(y[0], y[1]), fmin(y[2], y[3])));
    if (!(nw >= 1 && nh >= 1 && nw <= 1 << 20 && nh <= 1 << 20))
        return nc_fail(e, NC_ELIMIT, "the turned picture would be %g x %g", nw, nh);
    double c, f;
    place(m, -(nw - *w) / 2, -(nh - *h) / 2, &c, &f);
    m[2] = c;
    m[5] = f;
    *w = (int)nw;
    *h = (int)nh;
    return 0;
}

int nc_pillow_rotate(const nc_image *in, const nc_rotation *r, nc_image *out, nc_error *e)
{
    double angle = fmod(r->angle, 360);
    int w = in->width, h = in->height;
    if (angle < 0)
        angle += 360;
    if (!isfinite(angle))
        return nc_fail(e, NC_EINVAL, "the angle is not finite");
    if (!r->centered && !r->translated) {
        if (angle == 0)
            return nc_image_copy(in, out, e);
        if (angle == 180)
            return nc_pillow_transpose(in, NC_ROTATE_180, out, e);
        if ((angle == 90 || angle == 270) && (r->expand || w == h))
            return nc_pillow_transpose(in, angle == 90 ? NC_ROTATE_90 : NC_ROTATE_270, out, e);
    }
    const double cx = r->centered ? r->center[0] : w / 2.0, cy = r->centered ? r->center[1] : h / 2.0, tx = r->translated ? r->translate[0] : 0, ty = r->translated ? r->translate[1] : 0;
    const double t = -(angle * (3.14159265358979323846 / 180));
    double m[6] = { round15(cos(t)), round15(sin(t)), 0, round15(-sin(t)), round15(cos(t)), 0 }, c, f;
    place(m, -cx - tx, -cy - ty, &c, &f);
    m[2] = c + cx;
    m[5] = f + cy;
    if (r->expand)
        NC_TRY(expand(m, &w, &h, e));
    return nc_pillow_transform(in, w, h, NC_WARP_AFFINE, m, r->filter, &r->fill, out, e);
}

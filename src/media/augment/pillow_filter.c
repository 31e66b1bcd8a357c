/* pillow_filter.c - ImageFilter, to the byte as Pillow 13 computes it.
 *
 * Kernel: a half plus offset, then the rows' products from the lowest row of the picture up, in float, cut to a byte; the border of (side - 1) / 2 pixels is copied.
 * BoxBlur: passes along rows, then columns. With n = int(r), weights of 24 fractional bits: w = 2^24 / (2 r + 1) for the 2 n + 1 inner pixels and
 * f = (2^24 - (2 n + 1) w) / 2 for the two outer ones; places outside repeat the border.
 * GaussianBlur: three box blurs; s = radius^2 / 3, L = sqrt(12 s + 1), l = floor((L - 1) / 2), r = l + (2 l + 1)(l (l + 1) - 3 s) / (6 (s - (l + 1)^2)).
 * Easy to get wrong: all of it runs in float; kernels are read with their last row first; ModeFilter ignores values that occur once or twice, and what lies outside.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "media/augment/raster.h"

static const struct { const char *name; nc_kernel kernel; } kernels[] = {
    { "BLUR", { 5, 16, 0, { 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1, 1 } } },
    { "CONTOUR", { 3, 1, 255, { -1, -1, -1, -1, 8, -1, -1, -1, -1 } } },
    { "DETAIL", { 3, 6, 0, { 0, -1, 0, -1, 10, -1, 0, -1, 0 } } },
    { "EDGE_ENHANCE", { 3, 2, 0, { -1, -1, -1, -1, 10, -1, -1, -1, -1 } } },
    { "EDGE_ENHANCE_MORE", { 3, 1, 0, { -1, -1, -1, -1, 9, -1, -1, -1, -1 } } },
    { "EMBOSS", { 3, 1, 128, { -1, 0, 0, 0, 1, 0, 0, 0, 0 } } },
    { "FIND_EDGES", { 3, 1, 0, { -1, -1, -1, -1, 8, -1, -1, -1, -1 } } },
    { "SHARPEN", { 3, 16, 0, { -2, -2, -2, -2, 32, -2, -2, -2, -2 } } },
    { "SMOOTH", { 3, 13, 0, { 1, 1, 1, 1, 5, 1, 1, 1, 1 } } },
    { "SMOOTH_MORE", { 5, 100, 0, { 1, 1, 1, 1, 1, 1, 5, 5, 5, 1, 1, 5, 44, 5, 1, 1, 5, 5, 5, 1, 1, 1, 1, 1, 1 } } },
};

const nc_kernel *nc_pillow_kernel_named(const char *name)
{
    for (int i = 0; i < NC_COUNT(kernels); i++)
        if (!strcmp(kernels[i].name, name))
            return &kernels[i].kernel;
    return NULL;
}

int nc_pillow_kernel(const nc_image *in, const nc_kernel *k, nc_image *out, nc_error *e)
{
    const int half = k->side / 2, w = in->width, h = in->height;
    const ptrdiff_t step = in->channels, row = (ptrdiff_t)w * step;
    float weight[25], offset = (float)k->offset + 0.5f;
    NC_TRY(nc_image_copy(in, out, e));
    for (int i = 0; i < k->side * k->side; i++)
        weight[i] = (float)k->v[i] / (float)k->scale;
    for (int y = half; w >= k->side && y < h - half; y++)
        for (ptrdiff_t x = half * step; x < (w - half) * step; x++) {
            float sum = offset;
            for (int r = 0; r < k->side; r++) {
                const uint8_t *p = in->pixels + (y + half - r) * row + x - half * step;
                const float *v = weight + r * k->side;
                float part = (float)p[0] * v[0];
                for (int c = 1; c < k->side; c++)
                    part += (float)p[c * step] * v[c];
                sum += part;
            }
            out->pixels[y * row + x] = sum <= 0 ? 0 : sum >= 255 ? 255 : (uint8_t)sum;
        }
    return 0;
}

static int clamp(int i, int n) { return i < 0 ? 0 : i < n ? i : n - 1; }

/* Counts the window's values; outside, the border is repeated or nothing is there. */
static void count_window(const nc_image *in, int x, int y, int channel, int half, bool repeat, int *count)
{
    memset(count, 0, 256 * sizeof *count);
    for (int r = y - half; r <= y + half; r++)
        for (int c = x - half; c <= x + half; c++)
            if (repeat || (r >= 0 && r < in->height && c >= 0 && c < in->width))
                count[in->pixels[((size_t)clamp(r, in->height) * (size_t)in->width + (size_t)clamp(c, in->width)) * (size_t)in->channels + (size_t)channel]]++;
}

int nc_pillow_rank(const nc_image *in, int size, int rank, nc_image *out, nc_error *e)
{
    int count[256];
    if (size < 1 || size % 2 == 0 || size > 255 || rank < 0 || rank >= size * size)
        return nc_fail(e, NC_EINVAL, "a rank filter has an odd size up to 255 and a rank below size * size, not %d and %d", size, rank);
    NC_TRY(nc_image_new(in->width, in->height, in->channels, out, e));
    uint8_t *p = out->pixels;
    for (int y = 0; y < in->height; y++)
        for (int x = 0; x < in->width; x++)
            for (int c = 0; c < in->channels; c++) {
                int v = 0;
                count_window(in, x, y, c, size / 2, true, count);
                for (int below = count[0]; below <= rank; below += count[++v])
                    continue;
                *p++ = (uint8_t)v;
            }
    return 0;
}

int nc_pillow_mode(const nc_image *in, int size, nc_image *out, nc_error *e)
{
    int count[256];
    if (size < 0 || size > 255)
        return nc_fail(e, NC_EINVAL, "a mode filter's size is 0 to 255, not %d", size);
    NC_TRY(nc_image_copy(in, out, e));
    uint8_t *p = out->pixels;
    for (int y = 0; y < in->height; y++)
        for (int x = 0; x < in->width; x++)
            for (int c = 0; c < in->channels; c++, p++) {
                int best = 0;
                count_window(in, x, y, c, size / 2, false, count);
                for (int v = 1; v < 256; v++)
                    best = count[v] > count[best] ? v : best;
                if (count[best] > 2)
                    *p = (uint8_t)best;
            }
    return 0;
}

/* One line of n pixels, `step` bytes apart; line and copy of it. */
static void blur_line(uint8_t *line, ptrdiff_t step, int n, float radius, uint8_t *copy)
{
    const int r = (int)radius;
    const uint32_t inner = (uint32_t)((float)(1 << 24) / (radius * 2 + 1)), outer = ((1 << 24) - (uint32_t)(r * 2 + 1) * inner) / 2;
    uint32_t sum = 0;
    for (int i = 0; i < n; i++)
        copy[i] = line[i * step];
    for (int i = -r - 1; i < r; i++)
        sum += copy[clamp(i, n)];
    for (int i = 0; i < n; i++) {
        sum += (uint32_t)copy[clamp(i + r, n)] - copy[clamp(i - r - 1, n)];
        const uint32_t v = sum * inner + (uint32_t)(copy[clamp(i - r - 1, n)] + copy[clamp(i + r + 1, n)]) * outer;
        line[i * step] = (uint8_t)((v + (1 << 23)) >> 24);
    }
}

static int box_blur(const nc_image *in, float rx, float ry, int passes, nc_image *out, nc_error *e)
{
    const ptrdiff_t step = in->channels, row = in->width * step;
    if (!(rx >= 0 && ry >= 0 && rx < 65536 && ry < 65536))
        return nc_fail(e, NC_EINVAL, "a blur's radius is at least 0 and below 65536");
    NC_TRY(nc_image_copy(in, out, e));
    uint8_t *copy = nc_xmalloc((size_t)(in->width > in->height ? in->width : in->height));
    for (int pass = 0; rx != 0 && pass < passes; pass++)
        for (int y = 0; y < in->height; y++)
            for (ptrdiff_t c = 0; c < step; c++)
                blur_line(out->pixels + y * row + c, step, in->width, rx, copy);
    for (int pass = 0; ry != 0 && pass < passes; pass++)
        for (ptrdiff_t x = 0; x < row; x++)
            blur_line(out->pixels + x, row, in->height, ry, copy);
    free(copy);
    return 0;
}

int nc_pillow_box_blur(const nc_image *in, double rx, double ry, nc_image *out, nc_error *e) { return box_blur(in, (float)rx, (float)ry, 1, out, e); }

static float gaussian_box(float radius, int passes)
{
    const float s = radius * radius / (float)passes, length = (float)sqrt(12.0 * (double)s + 1.0), l = (float)floor(((double)length - 1.0) / 2.0);
    float a = (2 * l + 1) * (l * (l + 1) - 3 * s);
    a /= 6 * (s - (l + 1) * (l + 1));
    return l + a;
}

int nc_pillow_gaussian_blur(const nc_image *in, double rx, double ry, nc_image *out, nc_error *e)
{
    enum { PASSES = 3 };
    if (!(rx >= 0 && ry >= 0 && rx < 32768 && ry < 32768))
        return nc_fail(e, NC_EINVAL, "a blur's radius is at least 0 and below 32768");
    return box_blur(in, gaussian_box((float)rx, PASSES), gaussian_box((float)ry, PASSES), PASSES, out, e);
}

int nc_pillow_unsharp(const nc_image *in, double radius, int percent, int threshold, nc_image *out, nc_error *e)
{
    NC_TRY(nc_pillow_gaussian_blur(in, radius, radius, out, e));
    for (size_t i = 0; i < nc_image_bytes(in); i++) {
        const int v = in->pixels[i], d = v - out->pixels[i], sharp = v + d * percent / 100;
        out->pixels[i] = (uint8_t)(abs(d) <= threshold ? v : sharp < 0 ? 0 : sharp > 255 ? 255 : sharp);
    }
    return 0;
}

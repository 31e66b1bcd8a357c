/* scenes_canvas.c - filled shapes on an 8-bit canvas. A pixel belongs to a shape when its centre does; the camera averages several pixels
 * of the world for one of the frame, which smooths the edges.
 */
#include "data/scenes_draw.h"
#include "base/arena.h"
#include <math.h>
#include <stdlib.h>

rgb color(int r, int g, int b) { return (rgb){ r, g, b }; }

rgb mix(rgb a, rgb b, double t)
{
    return (rgb){ a.r + (b.r - a.r) * t, a.g + (b.g - a.g) * t, a.b + (b.b - a.b) * t };
}

static double limit(double v) { return v < 0 ? 0 : v > 255 ? 255 : v; }

rgb ink(const stage *s, rgb c, double depth, double cover)
{
    const light *l = &s->l;
    c = mix(c, color(243, 247, 252), cover * l->snow);
    c = (rgb){ limit(c.r * l->tint.r), limit(c.g * l->tint.g), limit(c.b * l->tint.b) };
    return mix(c, l->haze, l->near + (l->far - l->near) * depth);
}

/* Bhaskara's rational approximation of the sine of half a circle, 16 x (1 - x) / (5 - 4 x (1 - x)) with x in half circles. */
double wave(double turns)
{
    double t = turns - floor(turns), x = t < 0.5 ? 2 * t : 2 * t - 1, q = x * (1 - x);
    double v = 16 * q / (5 - 4 * q);
    return t < 0.5 ? v : -v;
}

double pick(stage *s, double low, double high)
{
    return low + (high - low) * nc_rng_uniform(&s->r);
}

static void put(uint8_t *p, rgb c, int alpha)
{
    const int k[3] = { (int)(limit(c.r) + 0.5), (int)(limit(c.g) + 0.5), (int)(limit(c.b) + 0.5) };
    for (int i = 0; i < 3; i++)
        p[i] = (uint8_t)(p[i] + (((k[i] - p[i]) * alpha + 128) >> 8));
}

/* The pixels of row y whose centres lie in [x0, x1), in pixels. */
static void span(canvas *c, int y, double x0, double x1, rgb ink_color, int alpha)
{
    int from = (int)ceil(x0 - 0.5), to = (int)ceil(x1 - 0.5);
    from = from < 0 ? 0 : from;
    to = to > c->im.width ? c->im.width : to;
    uint8_t *p = c->im.pixels + ((size_t)y * (size_t)c->im.width + (size_t)(from < to ? from : 0)) * 3;
    if (alpha >= 256) {
        const uint8_t r = (uint8_t)(limit(ink_color.r) + 0.5), g = (uint8_t)(limit(ink_color.g) + 0.5), b = (uint8_t)(limit(ink_color.b) + 0.5);
        for (int x = from; x < to; x++, p += 3)
            p[0] = r, p[1] = g, p[2] = b;
        return;
    }
    for (int x = from; x < to; x++, p += 3)
        put(p, ink_color, alpha);
}

static void rows_of(const canvas *c, double y0, double y1, int *from, int *to)
{
    const double top = y0 * c->scale, bottom = y1 * c->scale;
    *from = top < 0.5 ? 0 : top > c->im.height ? c->im.height : (int)ceil(top - 0.5);
    *to = bottom < 0.5 ? 0 : bottom > c->im.height ? c->im.height : (int)ceil(bottom - 0.5);
}

void draw_rect(canvas *c, double x0, double y0, double x1, double y1, rgb k)
{
    int from, to;
    rows_of(c, y0, y1, &from, &to);
    for (int y = from; y < to; y++)
        span(c, y, x0 * c->scale, x1 * c->scale, k, 256);
}

void draw_poly(canvas *c, const point *p, int n, rgb k, double alpha)
{
    enum { most = 32 };
    double low = p[0].y, high = p[0].y, cross[most];
    int from, to;

    for (int i = 1; i < n; i++) {
        low = p[i].y < low ? p[i].y : low;
        high = p[i].y > high ? p[i].y : high;
    }
    rows_of(c, low, high, &from, &to);
    for (int y = from; y < to; y++) {
        const double at = (y + 0.5) / c->scale;
        int m = 0;
        for (int i = 0; i < n; i++) {
            const point a = p[i], b = p[(i + 1) % n];
            if ((a.y <= at) != (b.y <= at) && m < most)
                cross[m++] = a.x + (b.x - a.x) * (at - a.y) / (b.y - a.y);
        }
        for (int i = 1; i < m; i++)
            for (int j = i; j > 0 && cross[j - 1] > cross[j]; j--) {
                double t = cross[j];
                cross[j] = cross[j - 1];
                cross[j - 1] = t;
            }
        for (int i = 0; i + 1 < m; i += 2)
            span(c, y, cross[i] * c->scale, cross[i + 1] * c->scale, k, (int)(alpha * 256));
    }
}

void draw_oval(canvas *c, double x, double y, double rx, double ry, rgb k, double alpha)
{
    int from, to;
    if (!(rx > 0) || !(ry > 0))
        return;
    rows_of(c, y - ry, y + ry, &from, &to);
    for (int i = from; i < to; i++) {
        const double d = ((i + 0.5) / c->scale - y) / ry, w = 1 - d * d;
        if (w > 0)
            span(c, i, (x - rx * sqrt(w)) * c->scale, (x + rx * sqrt(w)) * c->scale, k, (int)(alpha * 256));
    }
}

void draw_line(canvas *c, double x0, double y0, double x1, double y1, double width, rgb k, double alpha)
{
    const double dx = x1 - x0, dy = y1 - y0, length = sqrt(dx * dx + dy * dy);
    if (!(length > 0))
        return;
    const double nx = -dy / length * width / 2, ny = dx / length * width / 2;
    draw_poly(c, (point[]){ { x0 + nx, y0 + ny }, { x1 + nx, y1 + ny }, { x1 - nx, y1 - ny }, { x0 - nx, y0 - ny } }, 4, k, alpha);
}

void draw_fall(canvas *c, double x0, double y0, double x1, double y1, rgb top, rgb bottom)
{
    int from, to;
    rows_of(c, y0, y1, &from, &to);
    for (int y = from; y < to; y++)
        span(c, y, x0 * c->scale, x1 * c->scale, mix(top, bottom, ((y + 0.5) / c->scale - y0) / (y1 - y0)), 256);
}

void draw_glow(canvas *c, double x, double y, double radius, rgb k, double strength)
{
    int from, to;
    rows_of(c, y - radius, y + radius, &from, &to);
    int left = (int)((x - radius) * c->scale), right = (int)((x + radius) * c->scale) + 1;
    left = left < 0 ? 0 : left;
    right = right > c->im.width ? c->im.width : right;
    for (int i = from; i < to; i++)
        for (int j = left; j < right; j++) {
            const double dx = ((j + 0.5) / c->scale - x) / radius, dy = ((i + 0.5) / c->scale - y) / radius, w = 1 - dx * dx - dy * dy;
            if (w > 0)
                put(c->im.pixels + ((size_t)i * (size_t)c->im.width + (size_t)j) * 3, k, (int)(w * w * strength * 256));
        }
}

view scene_view(const stage *s, double phase, bool leftward)
{
    const double eased = phase * phase * (3 - 2 * phase);
    if (s->slots.camera == 1)
        return (view){ (leftward ? 1 - phase : phase) * (world_width - 100), 0, 100 };
    if (s->slots.camera == 2) {
        const double size = 100 - 42 * eased;
        return (view){ world_width / 2 - size / 2, (100 - size) * 0.78, size };
    }
    return (view){ world_width / 2 - 50, 0, 100 };
}

/* Where one of a line's sample points falls: the pixel before it and how far behind that it lies, in 64ths. */
struct tap { int at, share; };

static void taps_of(struct tap *t, int count, double first, double step, int size)
{
    for (int i = 0; i < count; i++) {
        double p = first + (i + 0.5) * step - 0.5;
        p = p < 0 ? 0 : p > size - 1.001 ? size - 1.001 : p;
        t[i].at = (int)p;
        t[i].share = (int)((p - t[i].at) * 64);
    }
}

/* Every frame pixel is the mean of 2 x 2 points of its square, each interpolated between the four nearest pixels of the world: down two lines of
 * points first, for all columns at once, then across. */
void scene_shoot(const canvas *c, view v, nc_image *frame)
{
    const double step = v.size * c->scale / frame->width / 2;
    const size_t stride = (size_t)c->im.width * 3;
    struct tap *across = nc_xcalloc(2 * (size_t)(frame->width + frame->height), sizeof *across), *down = across + 2 * frame->width;
    uint16_t *line = nc_xcalloc(stride, sizeof *line);

    taps_of(across, 2 * frame->width, v.x * c->scale, step, c->im.width);
    taps_of(down, 2 * frame->height, v.y * c->scale, step, c->im.height);
    const size_t from = (size_t)across[0].at * 3, to = (size_t)across[2 * frame->width - 1].at * 3 + 6;
    for (int y = 0; y < frame->height; y++) {
        const struct tap a = down[2 * y], b = down[2 * y + 1];
        const uint8_t *p = c->im.pixels + (size_t)a.at * stride, *q = c->im.pixels + (size_t)b.at * stride;
        uint8_t *out = frame->pixels + (size_t)y * (size_t)frame->width * 3;
        for (size_t i = from; i < to; i++)
            line[i] = (uint16_t)(p[i] * (64 - a.share) + p[i + stride] * a.share + q[i] * (64 - b.share) + q[i + stride] * b.share);
        for (int x = 0; x < frame->width; x++, out += 3) {
            const struct tap h = across[2 * x], k = across[2 * x + 1];
            const uint16_t *l = line + 3 * h.at, *m = line + 3 * k.at;
            for (int i = 0; i < 3; i++)
                out[i] = (uint8_t)((l[i] * (64 - h.share) + l[i + 3] * h.share + m[i] * (64 - k.share) + m[i + 3] * k.share + (1 << 13)) >> 14);
        }
    }
    free(line);
    free(across);
}

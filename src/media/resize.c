/* resize.c - Pillow-exact resampling. See resize.h for the formula.
 *
 * Easy to get wrong: the window's ends are truncated, not rounded; weights are divided by their sum in double before they become integers; the
 * two passes each round to 8 bits; nearest neighbour accumulates its position step by step in double.
 */
#include "media/resize.h"
#include "base/arena.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { pillow_bits = 22, lane = 64 };

struct weights {
    int out, taps;                   /* taps: the most any output has */
    int bits;                        /* fractional bits of fixed */
    int *first, *count;              /* [out] */
    double *w;                       /* [out, taps] */
    int32_t *fixed;                  /* [out, taps] */
};

static double box_filter(double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }
static double bilinear_filter(double x) { x = fabs(x); return x < 1.0 ? 1.0 - x : 0.0; }

static double hamming_filter(double x)
{
    x = fabs(x);
    if (x == 0.0)
        return 1.0;
    if (x >= 1.0)
        return 0.0;
    x *= M_PI;
    return sin(x) / x * (0.54 + 0.46 * cos(x));
}

static double bicubic_filter(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    return x < 2.0 ? (((x - 5) * x + 8) * x - 4) * a : 0.0;
}

static double sinc(double x) { return x == 0.0 ? 1.0 : sin(x * M_PI) / (x * M_PI); }
static double lanczos_filter(double x) { return -3.0 <= x && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0; }

static const struct { const char *name; double (*f)(double); double radius; } filters[] = {
    [NC_NEAREST] = { "nearest", NULL, 0 },               [NC_LANCZOS] = { "lanczos", lanczos_filter, 3 },
    [NC_BILINEAR] = { "bilinear", bilinear_filter, 1 },  [NC_BICUBIC] = { "bicubic", bicubic_filter, 2 },
    [NC_BOX] = { "box", box_filter, 0.5 },               [NC_HAMMING] = { "hamming", hamming_filter, 1 },
};

bool nc_filter_by_name(const char *name, nc_filter *out)
{
    for (int i = 0; i < NC_COUNT(filters); i++)
        if (strcmp(filters[i].name, name) == 0) {
            *out = (nc_filter)i;
            return true;
        }
    return false;
}

static void weights_free(struct weights *k)
{
    free(k->first);
    free(k->count);
    free(k->w);
    free(k->fixed);
}

/* torchvision takes the most fractional bits with which the largest weight stays below 2^15. */
static int torch_bits(double largest)
{
    int bits = 0;
    while (bits < 22 && (int)(0.5 + largest * (1 << (bits + 1))) < 1 << 15)
        bits++;
    return bits;
}

/* The box's length is a difference of single-precision numbers, as Pillow's. */
static int weights_make(struct weights *k, int size, double in0, double in1, int out, nc_filter filter, nc_resize_rule rule, nc_error *e)
{
    const double scale = (double)((float)in1 - (float)in0) / out, t = scale < 1.0 ? 1.0 : scale, radius = filters[filter].radius * t;
    const double inverse = 1.0 / t;
    const int taps = (int)ceil(radius) * 2 + 1;
    size_t cells;

    *k = (struct weights){ .out = out, .taps = taps, .bits = pillow_bits };
    if (!nc_mul_size((size_t)out, (size_t)taps, &cells) || cells > (size_t)1 << 28)
        return nc_fail(e, NC_ELIMIT, "resize: from %d to %d needs too large a table", size, out);
    k->first = nc_xmalloc((size_t)out * sizeof(int));
    k->count = nc_xmalloc((size_t)out * sizeof(int));
    k->w = nc_xcalloc(cells, sizeof(double));
    k->fixed = nc_xcalloc(cells, sizeof(int32_t));
    double largest = 0;
    for (int i = 0; i < out; i++) {
        const double centre = in0 + (i + 0.5) * scale;
        int first = (int)(centre - radius + 0.5), last = (int)(centre + radius + 0.5);
        double sum = 0, *w = k->w + (size_t)i * (size_t)taps;
        if (first < 0)
            first = 0;
        if (last > size)
            last = size;
        for (int x = 0; x < last - first; x++)
            sum += w[x] = filters[filter].f((x + first - centre + 0.5) * inverse);
        for (int x = 0; x < last - first; x++) {
            if (sum != 0.0)
                w[x] /= sum;
            if (w[x] > largest)
                largest = w[x];
        }
        k->first[i] = first;
        k->count[i] = last - first;
    }
    if (rule == NC_RESIZE_TORCHVISION)
        k->bits = torch_bits(largest);
    for (size_t i = 0; i < cells; i++)
        k->fixed[i] = (int32_t)((k->w[i] < 0 ? -0.5 : 0.5) + k->w[i] * (1 << k->bits));
    return 0;
}

static inline uint8_t clip8(int32_t v) { return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v); }

/* One output row of the horizontal pass; c is a constant at every call so that the sums stay in registers. */
static inline void horizontal_row(const uint8_t *in, uint8_t *out, const struct weights *k, const int c)
{
    const int32_t half = 1 << (k->bits - 1);

    for (int i = 0; i < k->out; i++) {
        const int32_t *w = k->fixed + (size_t)i * (size_t)k->taps;
        const uint8_t *p = in + (size_t)k->first[i] * (size_t)c;
        int32_t sum[4] = { half, half, half, half };
        for (int x = 0; x < k->count[i]; x++, p += c)
            for (int j = 0; j < c; j++)
                sum[j] += w[x] * p[j];
        for (int j = 0; j < c; j++)
            *out++ = clip8(sum[j] >> k->bits);
    }
}

static void horizontal(const nc_image *in, nc_image *out, const struct weights *k, int from_row)
{
    const size_t c = (size_t)in->channels, in_stride = (size_t)in->width * c, out_stride = (size_t)out->width * c;

    for (int y = 0; y < out->height; y++) {
        const uint8_t *row = in->pixels + (size_t)(y + from_row) * in_stride;
        uint8_t *to = out->pixels + (size_t)y * out_stride;
        switch (in->channels) {
        case 1: horizontal_row(row, to, k, 1); break;
        case 2: horizontal_row(row, to, k, 2); break;
        case 3: horizontal_row(row, to, k, 3); break;
        default: horizontal_row(row, to, k, 4); break;
        }
    }
}

/* Columns go in blocks of a fixed width, which compilers turn into vectors. */
static void vertical(const nc_image *in, nc_image *out, const struct weights *k, int from_row)
{
    const size_t stride = (size_t)in->width * (size_t)in->channels;
    const int32_t half = 1 << (k->bits - 1);

    for (int y = 0; y < out->height; y++) {
        const int32_t *w = k->fixed + (size_t)y * (size_t)k->taps;
        const uint8_t *rows = in->pixels + (size_t)(k->first[y] - from_row) * stride;
        uint8_t *to = out->pixels + (size_t)y * stride;
        size_t x = 0;
        for (; x + lane <= stride; x += lane) {
            int32_t sum[lane];
            for (int j = 0; j < lane; j++)
                sum[j] = half;
            for (int i = 0; i < k->count[y]; i++) {
                const uint8_t *p = rows + (size_t)i * stride + x;
                for (int j = 0; j < lane; j++)
                    sum[j] += w[i] * p[j];
            }
            for (int j = 0; j < lane; j++)
                to[x + (size_t)j] = clip8(sum[j] >> k->bits);
        }
        for (; x < stride; x++) {
            int32_t sum = half;
            for (int i = 0; i < k->count[y]; i++)
                sum += w[i] * rows[(size_t)i * stride + x];
            to[x] = clip8(sum >> k->bits);
        }
    }
}

/* The rows (or columns) [first, end) of the source that any output needs. */
static void needed(const struct weights *k, int *first, int *end)
{
    *first = k->first[0];
    *end = k->first[k->out - 1] + k->count[k->out - 1];
}

struct plan { bool across, down, down_first; struct weights h, v; };

static int resample_passes(const nc_image *in, int width, int height, struct plan *p, nc_image *out, nc_error *e)
{
    nc_image middle = { 0 };
    int first, end, code;

    if (!p->across && !p->down)
        return nc_image_copy(in, out, e);
    if (!p->across || !p->down) {
        NC_TRY(nc_image_new(width, height, in->channels, out, e));
        if (p->across)
            horizontal(in, out, &p->h, 0);
        else
            vertical(in, out, &p->v, 0);
        return 0;
    }
    if (p->down_first) {
        NC_TRY(nc_image_new(in->width, height, in->channels, &middle, e));
        vertical(in, &middle, &p->v, 0);
        code = nc_image_new(width, height, in->channels, out, e);
        if (code == 0)
            horizontal(&middle, out, &p->h, 0);
    } else {
        needed(&p->v, &first, &end);
        NC_TRY(nc_image_new(width, end - first, in->channels, &middle, e));
        horizontal(in, &middle, &p->h, first);
        code = nc_image_new(width, height, in->channels, out, e);
        if (code == 0)
            vertical(&middle, out, &p->v, first);
    }
    nc_image_free(&middle);
    return code;
}

static int resample(const nc_image *in, int width, int height, nc_filter filter, const nc_box *b, nc_resize_rule rule, nc_image *out,
                    nc_error *e)
{
    struct plan p = { 0 };

    p.across = width != in->width || b->left != 0 || b->right != width;
    p.down = height != in->height || b->top != 0 || b->bottom != height;
    p.down_first = rule == NC_RESIZE_PILLOW && in->height > height &&
                   (int64_t)in->height - height > 2 * ((int64_t)in->width - width);
    int code = weights_make(&p.h, in->width, b->left, b->right, width, filter, rule, e);
    if (code == 0)
        code = weights_make(&p.v, in->height, b->top, b->bottom, height, filter, rule, e);
    if (code == 0)
        code = resample_passes(in, width, height, &p, out, e);
    weights_free(&p.h);
    weights_free(&p.v);
    return code;
}

static void nearest(const nc_image *in, const nc_box *b, nc_image *out)
{
    const double sx = (b->right - b->left) / out->width, sy = (b->bottom - b->top) / out->height;
    const size_t c = (size_t)in->channels;
    int *column = nc_xmalloc((size_t)out->width * sizeof(int));
    double at = b->left + sx * 0.5;

    for (int x = 0; x < out->width; x++, at += sx)
        column[x] = at >= in->width ? in->width - 1 : (int)at;
    at = b->top + sy * 0.5;
    for (int y = 0; y < out->height; y++, at += sy) {
        int row = at >= in->height ? in->height - 1 : (int)at;
        const uint8_t *from = in->pixels + (size_t)row * (size_t)in->width * c;
        uint8_t *to = out->pixels + (size_t)y * (size_t)out->width * c;
        for (int x = 0; x < out->width; x++)
            for (size_t j = 0; j < c; j++)
                *to++ = from[(size_t)column[x] * c + j];
    }
    free(column);
}

static void premultiply(nc_image *im)
{
    const size_t c = (size_t)im->channels, n = nc_image_bytes(im);
    for (size_t i = 0; i < n; i += c)
        for (size_t j = 0; j + 1 < c; j++) {
            unsigned t = (unsigned)im->pixels[i + j] * im->pixels[i + c - 1] + 128;
            im->pixels[i + j] = (uint8_t)((t + (t >> 8)) >> 8);
        }
}

static void unmultiply(nc_image *im)
{
    const size_t c = (size_t)im->channels, n = nc_image_bytes(im);
    for (size_t i = 0; i < n; i += c) {
        const int a = im->pixels[i + c - 1];
        if (a == 255 || a == 0)
            continue;
        for (size_t j = 0; j + 1 < c; j++)
            im->pixels[i + j] = clip8(255 * im->pixels[i + j] / a);
    }
}

int nc_resize(const nc_image *in, int width, int height, nc_filter filter, const nc_box *box, nc_resize_rule rule, nc_image *out, nc_error *e)
{
    nc_box b = { 0, 0, in->width, in->height };

    if (box)     /* Pillow keeps boxes in single precision */
        b = (nc_box){ (float)box->left, (float)box->top, (float)box->right, (float)box->bottom };
    *out = (nc_image){ 0 };
    if (width < 1 || height < 1)
        return nc_fail(e, NC_EINVAL, "resize: height and width must be > 0, got %d x %d", width, height);
    if ((int)filter < 0 || (int)filter >= NC_COUNT(filters))
        return nc_fail(e, NC_EINVAL, "resize: resample %d is unknown; 0 nearest, 1 lanczos, 2 bilinear, 3 bicubic, 4 box, 5 hamming", (int)filter);
    if (!(b.left >= 0 && b.top >= 0 && b.right <= in->width && b.bottom <= in->height && b.left < b.right && b.top < b.bottom))
        return nc_fail(e, NC_EINVAL, "resize: the box lies outside the picture or is empty");
    if (filter == NC_NEAREST) {
        NC_TRY(nc_image_new(width, height, in->channels, out, e));
        nearest(in, &b, out);
        return 0;
    }
    if (in->channels % 2 == 1 || (width == in->width && height == in->height && !box))
        return resample(in, width, height, filter, &b, rule, out, e);
    nc_image work;
    NC_TRY(nc_image_copy(in, &work, e));
    premultiply(&work);
    int code = resample(&work, width, height, filter, &b, rule, out, e);
    nc_image_free(&work);
    if (code == 0)
        unmultiply(out);
    return code;
}

/* The same weights computed in float throughout, as torch does for float tensors. */
static void weights_single(struct weights *k, int size, nc_filter filter)
{
    const float scale = (float)size / (float)k->out, t = scale < 1 ? 1 : scale, radius = (float)filters[filter].radius * t, inverse = 1 / t;

    for (int i = 0; i < k->out; i++) {
        const float centre = (float)((double)scale * (i + 0.5));
        int64_t first = (int64_t)((double)(centre - radius) + 0.5), last = (int64_t)((double)(centre + radius) + 0.5);
        float sum = 0;
        double *w = k->w + (size_t)i * (size_t)k->taps;
        first = first < 0 ? 0 : first;
        last = last > size ? size : last;
        k->first[i] = (int)first;
        k->count[i] = (int)(last - first < k->taps ? last - first : k->taps);
        for (int x = 0; x < k->count[i]; x++) {
            const float at = (float)(((double)((float)(x + first) - centre) + 0.5) * (double)inverse);
            const float v = filter == NC_BICUBIC ? nc_torch_cubic(at, -0.5f) : (float)filters[filter].f((double)at);
            w[x] = v;
            sum += v;
        }
        for (int x = 0; x < k->count[i]; x++)
            w[x] = sum != 0 ? (float)w[x] / sum : (float)w[x];
    }
}

/* torch's weighted sum: the first tap's product, then fours of taps whose products are rounded before they are added, the rest in fused steps. */
static float f32_sum_torch(const float *p, size_t step, const double *w, int n)
{
    enum { GROUP = 4 };
    float sum = p[0] * (float)w[0];
    int x = 1;
    for (const int plain = 1 + (n - 1) / GROUP * GROUP; x < plain; x++)
        sum += p[(size_t)x * step] * (float)w[x];
    for (; x < n; x++)
        sum = fmaf(p[(size_t)x * step], (float)w[x], sum);
    return sum;
}

/* One output value: the weighted sum over values `step` apart. */
static float f32_sum(const float *p, size_t step, const double *w, int n, bool single)
{
    double sum = 0;
    if (single)
        return n > 0 ? f32_sum_torch(p, step, w, n) : 0;
    for (int x = 0; x < n; x++)
        sum += (double)p[(size_t)x * step] * w[x];
    return (float)sum;
}

static void f32_across(const float *in, int width, int height, float *out, const struct weights *k, bool single)
{
    for (int y = 0; y < height; y++)
        for (int i = 0; i < k->out; i++)
            out[(size_t)y * (size_t)k->out + (size_t)i] =
                f32_sum(in + (size_t)y * (size_t)width + k->first[i], 1, k->w + (size_t)i * (size_t)k->taps, k->count[i], single);
}

static void f32_down(const float *in, int width, float *out, const struct weights *k, bool single)
{
    for (int i = 0; i < k->out; i++)
        for (int x = 0; x < width; x++)
            out[(size_t)i * (size_t)width + (size_t)x] = f32_sum(in + (size_t)k->first[i] * (size_t)width + x, (size_t)width,
                                                                 k->w + (size_t)i * (size_t)k->taps, k->count[i], single);
}

static void f32_nearest(const float *in, int width, int height, float *out, int new_width, int new_height)
{
    const double sx = (double)width / new_width, sy = (double)height / new_height;
    double v = sy * 0.5;
    for (int y = 0; y < new_height; y++, v += sy) {
        double u = sx * 0.5;
        for (int x = 0; x < new_width; x++, u += sx)
            *out++ = in[(size_t)(v >= height ? height - 1 : (int)v) * (size_t)width + (size_t)(u >= width ? width - 1 : (int)u)];
    }
}

int nc_resize_f32(const float *in, int width, int height, float *out, int new_width, int new_height, nc_filter filter, nc_resize_rule rule, nc_error *e)
{
    const bool single = rule == NC_RESIZE_TORCHVISION;
    struct weights h = { 0 }, v = { 0 };

    if (width < 1 || height < 1 || new_width < 1 || new_height < 1 || (int)filter < 0 || (int)filter >= NC_COUNT(filters))
        return nc_fail(e, NC_EINVAL, "resize: from %d x %d to %d x %d by filter %d cannot be", width, height, new_width, new_height, (int)filter);
    if (filter == NC_NEAREST) {
        f32_nearest(in, width, height, out, new_width, new_height);
        return 0;
    }
    int code = weights_make(&h, width, 0, width, new_width, filter, NC_RESIZE_PILLOW, e);
    if (code == 0)
        code = weights_make(&v, height, 0, height, new_height, filter, NC_RESIZE_PILLOW, e);
    if (code == 0 && single) {
        weights_single(&h, width, filter);
        weights_single(&v, height, filter);
    }
    if (code == 0) {
        const bool down_first = !single && height > new_height && (int64_t)height - new_height > 2 * ((int64_t)width - new_width);
        float *middle = nc_xmalloc((down_first ? (size_t)width * (size_t)new_height : (size_t)new_width * (size_t)height) * sizeof *middle);
        if (down_first) {
            f32_down(in, width, middle, &v, single);
            f32_across(middle, width, new_height, out, &h, single);
        } else {
            f32_across(in, width, height, middle, &h, single);
            f32_down(middle, new_width, out, &v, single);
        }
        free(middle);
    }
    weights_free(&h);
    weights_free(&v);
    return code;
}

/* Block sums in 32 bits times round(2^24 / area) with half added, Pillow's way of dividing by the block's area. */
static void reduce_cell(const nc_image *in, int x0, int y0, int fx, int fy, uint8_t *to)
{
    const int c = in->channels;
    const int x1 = x0 + fx < in->width ? x0 + fx : in->width, y1 = y0 + fy < in->height ? y0 + fy : in->height;
    const uint32_t area = (uint32_t)(x1 - x0) * (uint32_t)(y1 - y0), multiplier = (uint32_t)((1 << 24) / (double)(area));

    for (int j = 0; j < c; j++) {
        uint32_t sum = area / 2;
        for (int y = y0; y < y1; y++)
            for (int x = x0; x < x1; x++)
                sum += in->pixels[((size_t)y * (size_t)in->width + (size_t)x) * (size_t)c + (size_t)j];
        to[j] = (uint8_t)((sum * multiplier) >> 24);
    }
}

int nc_reduce(const nc_image *in, int fx, int fy, nc_image *out, nc_error *e)
{
    if (fx < 1 || fy < 1 || fx > 4096 || fy > 4096)
        return nc_fail(e, NC_EINVAL, "reduce: factors %d x %d cannot be; 1 to 4096", fx, fy);
    NC_TRY(nc_image_new((in->width + fx - 1) / fx, (in->height + fy - 1) / fy, in->channels, out, e));
    for (int y = 0; y < out->height; y++)
        for (int x = 0; x < out->width; x++)
            reduce_cell(in, x * fx, y * fy, fx, fy, out->pixels + ((size_t)y * (size_t)out->width + (size_t)x) * (size_t)in->channels);
    return 0;
}

int nc_resize_gap(const nc_image *in, int width, int height, nc_filter filter, double gap, nc_image *out, nc_error *e)
{
    nc_image less;

    if (width < 1 || height < 1 || filter == NC_NEAREST || !(gap >= 1))
        return nc_resize(in, width, height, filter, NULL, NC_RESIZE_PILLOW, out, e);
    int fx = (int)((double)in->width / width / gap), fy = (int)((double)in->height / height / gap);
    fx = fx < 1 ? 1 : fx;
    fy = fy < 1 ? 1 : fy;
    if (fx == 1 && fy == 1)
        return nc_resize(in, width, height, filter, NULL, NC_RESIZE_PILLOW, out, e);
    const nc_box box = { 0, 0, (double)in->width / fx, (double)in->height / fy };
    NC_TRY(nc_reduce(in, fx, fy, &less, e));
    int code = nc_resize(&less, width, height, filter, &box, NC_RESIZE_PILLOW, out, e);
    nc_image_free(&less);
    return code;
}

int nc_crop(const nc_image *in, int left, int top, int width, int height, const uint8_t *fill, nc_image *out, nc_error *e)
{
    const size_t c = (size_t)in->channels;

    NC_TRY(nc_image_new(width, height, in->channels, out, e));
    if (fill)
        for (size_t i = 0, n = nc_image_bytes(out); i < n; i++)
            out->pixels[i] = fill[i % c];
    const int64_t x0 = left > 0 ? 0 : -(int64_t)left, x1 = (int64_t)in->width - left < width ? (int64_t)in->width - left : width;
    if (x0 >= x1)
        return 0;
    for (int y = 0; y < height; y++) {
        const int64_t from = (int64_t)y + top;
        if (from >= 0 && from < in->height)
            memcpy(out->pixels + ((size_t)y * (size_t)width + (size_t)x0) * c,
                   in->pixels + ((size_t)from * (size_t)in->width + (size_t)(left + x0)) * c, (size_t)(x1 - x0) * c);
    }
    return 0;
}

/* Of the whole numbers beside x, at least 1, the one for which the sides' ratio comes out nearest. */
static int round_side(double x, double aspect, int other, bool is_width)
{
    const double low = floor(x), high = ceil(x);
    double from_low = fabs(aspect - (is_width ? low / other : low == 0 ? 0 : other / low)), from_high = fabs(aspect - (is_width ? high / other : high == 0 ? 0 : other / high));
    const double best = !is_width && low == 0 ? low : from_low <= from_high ? low : high;
    return best < 1 ? 1 : (int)best;
}

int nc_thumbnail(const nc_image *in, int width, int height, nc_image *out, nc_error *e)
{
    if (width < 1 || height < 1)
        return nc_fail(e, NC_EINVAL, "thumbnail: a box of %d x %d", width, height);
    if (width >= in->width && height >= in->height)
        return nc_image_copy(in, out, e);
    const double aspect = (double)in->width / in->height;
    if ((double)width / height >= aspect)
        width = round_side(height * aspect, aspect, height, true);
    else
        height = round_side(width / aspect, aspect, width, false);
    return width == in->width && height == in->height ? nc_image_copy(in, out, e) : nc_resize_gap(in, width, height, NC_BICUBIC, 2, out, e);
}

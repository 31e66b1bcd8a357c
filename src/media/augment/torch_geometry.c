/* torch_geometry.c - torchvision.transforms.functional's rotate, affine and perspective.
 *
 * A Pillow picture goes to Image.rotate and Image.transform. A tensor is sampled as torch's grid_sample does, in float32: pixel (x, y) of the output looks at
 *     grid = (u, v, 1) M / (w / 2, h / 2),   place = ((grid + 1) size - 1) / 2
 * with (u, v) the pixel's middle, counted from the picture's middle for affine maps; perspective divides two such products and takes 1 off. Outside lie zeros.
 * The product is of plain steps, the place and the weighted sum of fused ones: bit for bit what the golden files hold.
 * M = C S^-1 C^-1 T^-1, S turned, sheared and scaled by (angle, shear, scale), C the centre, T the translation.
 * Easy to get wrong: rotate turns the other way than affine; a fill colour is mixed in by the sampled mask of ones (nearest: where it is below a half); bytes are rounded
 * half to even after it; the places of nearest too.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "media/augment/raster.h"

static double radians(double degrees) { return degrees * (3.14159265358979323846 / 180); }

/* _get_inverse_affine_matrix */
static void inverse_affine(const double center[2], double angle, const double translate[2], double scale, const double shear[2], double m[6])
{
    const double rot = radians(angle), sx = radians(shear[0]), sy = radians(shear[1]), cx = center[0], cy = center[1], tx = translate[0], ty = translate[1];
    const double a = cos(rot - sy) / cos(sy), b = -cos(rot - sy) * tan(sx) / cos(sy) - sin(rot), c = sin(rot - sy) / cos(sy), d = -sin(rot - sy) * tan(sx) / cos(sy) + cos(rot);
    const double inverse[6] = { d / scale, -b / scale, 0, -c / scale, a / scale, 0 };
    memcpy(m, inverse, sizeof inverse);
    m[2] += m[0] * (-cx - tx) + m[1] * (-cy - ty);
    m[5] += m[3] * (-cx - tx) + m[4] * (-cy - ty);
    m[2] += cx;
    m[5] += cy;
}

struct grid { bool projective; float m[3][2], d[3]; float u0, v0; };    /* m: of (u, v, 1), already over half the size */

static void place(const struct grid *g, int j, int i, int width, int height, float *x, float *y)
{
    const float u = g->u0 + (float)j, v = g->v0 + (float)i;
    float gx = u * g->m[0][0] + v * g->m[1][0] + g->m[2][0], gy = u * g->m[0][1] + v * g->m[1][1] + g->m[2][1];
    if (g->projective) {
        const float d = u * g->d[0] + v * g->d[1] + g->d[2];
        gx = gx / d - 1.0f;
        gy = gy / d - 1.0f;
    }
    *x = fmaf(gx + 1.0f, (float)width / 2, -0.5f);
    *y = fmaf(gy + 1.0f, (float)height / 2, -0.5f);
}

struct taps { int64_t at[4]; float w[4]; int n; };      /* at: in the plane, -1 outside */

static int64_t spot(const nc_planes *p, float x, float y)
{
    return x >= 0 && y >= 0 && x < (float)p->width && y < (float)p->height ? (int64_t)y * p->width + (int64_t)x : -1;
}

static struct taps taps_at(const nc_planes *p, float x, float y, nc_filter filter)
{
    if (filter == NC_NEAREST)
        return (struct taps){ { spot(p, rintf(x), rintf(y)) }, { 1 }, 1 };
    const float x0 = floorf(x), y0 = floorf(y), w = x - x0, e = 1.0f - w, n = y - y0, s = 1.0f - n;
    return (struct taps){ { spot(p, x0, y0), spot(p, x0 + 1, y0), spot(p, x0, y0 + 1), spot(p, x0 + 1, y0 + 1) }, { e * s, w * s, e * n, w * n }, 4 };
}

static float sampled(const float *plane, const struct taps *t)
{
    float sum = t->at[0] < 0 ? 0 : plane[t->at[0]] * t->w[0];
    for (int k = 1; k < t->n; k++)
        sum = t->at[k] < 0 ? sum : fmaf(plane[t->at[k]], t->w[k], sum);
    return sum;
}

static float filled(float v, const struct taps *t, nc_filter filter, float color)
{
    float mask = 0;
    for (int k = 0; k < t->n; k++)
        mask += t->at[k] < 0 ? 0 : t->w[k];
    return filter == NC_NEAREST ? mask < 0.5f ? color : v : v * mask + (1.0f - mask) * color;
}

static int sample(nc_raster *x, const struct grid *g, int width, int height, nc_filter filter, const nc_fill *fill, nc_error *e)
{
    const nc_planes *p = &x->planes;
    nc_planes out;
    if (filter != NC_NEAREST && filter != NC_BILINEAR)
        return nc_fail(e, NC_EINVAL, "a tensor is turned and warped by nearest or bilinear");
    if (fill->count > 1 && fill->count != p->channels)
        return nc_fail(e, NC_EINVAL, "fill has %d values, the tensor %d channels", fill->count, p->channels);
    NC_TRY(nc_planes_new(p->channels, height, width, p->bytes, &out, e));
    const size_t from = nc_planes_plane(p), to = nc_planes_plane(&out);
    for (int i = 0; i < height; i++)
        for (int j = 0; j < width; j++) {
            float px, py;
            place(g, j, i, p->width, p->height, &px, &py);
            const struct taps t = taps_at(p, px, py, filter);
            for (int c = 0; c < p->channels; c++) {
                float v = sampled(p->p + (size_t)c * from, &t);
                if (fill->count)
                    v = filled(v, &t, filter, (float)fill->v[fill->count == 1 ? 0 : c]);
                out.p[(size_t)c * to + (size_t)i * (size_t)width + (size_t)j] = p->bytes ? rintf(v) : v;
            }
        }
    nc_raster_take_planes(x, &out);
    return 0;
}

static int sample_affine(nc_raster *x, const double m[6], int width, int height, nc_filter filter, const nc_fill *fill, nc_error *e)
{
    const float half[2] = { (float)(0.5 * nc_raster_width(x)), (float)(0.5 * nc_raster_height(x)) };
    struct grid g = { .u0 = (float)(-width * 0.5 + 0.5), .v0 = (float)(-height * 0.5 + 0.5) };
    for (int k = 0; k < 6; k++) {
        if (!isfinite(m[k]))
            return nc_fail(e, NC_EINVAL, "the map of the picture is not finite");
        g.m[k % 3][k / 3] = (float)m[k] / half[k / 3];
    }
    return sample(x, &g, width, height, filter, fill, e);
}

/* The corners' places in float32, cut to four decimals, rounded outwards. */
static int expanded(const double m[6], int *width, int *height, nc_error *e)
{
    const float w = (float)*width, h = (float)*height, sides[2] = { w * 0.5f, h * 0.5f }, corner[4][2] = { { -sides[0], -sides[1] }, { -sides[0], sides[1] }, { sides[0], sides[1] }, { sides[0], -sides[1] } };
    int size[2];
    for (int k = 0; k < 2; k++) {
        float least = INFINITY, most = -INFINITY;
        for (int i = 0; i < 4; i++) {
            const float v = corner[i][0] * (float)m[3 * k] + corner[i][1] * (float)m[3 * k + 1] + (float)m[3 * k + 2];
            least = fminf(least, v);
            most = fmaxf(most, v);
        }
        const float n = ceilf(truncf((most + sides[k]) / 1e-4f) * 1e-4f) - floorf(truncf((least + sides[k]) / 1e-4f) * 1e-4f);
        if (!(n >= 1 && n <= 1 << 20))
            return nc_fail(e, NC_ELIMIT, "the turned picture would have a side of %g", (double)n);
        size[k] = (int)n;
    }
    *width = size[0];
    *height = size[1];
    return 0;
}

static void from_middle(const nc_raster *x, bool given, const double center[2], double out[2])
{
    out[0] = given ? center[0] - nc_raster_width(x) * 0.5 : 0;
    out[1] = given ? center[1] - nc_raster_height(x) * 0.5 : 0;
}

int nc_torch_rotate(nc_raster *x, const nc_rotation *r, nc_error *e)
{
    if (!x->tensor) {
        nc_image out;
        NC_TRY(nc_pillow_rotate(&x->image, r, &out, e));
        nc_raster_take(x, &out);
        return 0;
    }
    double center[2], m[6];
    int w = x->planes.width, h = x->planes.height;
    from_middle(x, r->centered, r->center, center);
    inverse_affine(center, -r->angle, (double[2]){ 0 }, 1, (double[2]){ 0 }, m);
    if (r->expand)
        NC_TRY(expanded(m, &w, &h, e));
    return sample_affine(x, m, w, h, r->filter, &r->fill, e);
}

int nc_torch_affine(nc_raster *x, const nc_affine *a, nc_error *e)
{
    const int w = nc_raster_width(x), h = nc_raster_height(x);
    double center[2], m[6];
    if (!(a->scale > 0))
        return nc_fail(e, NC_EINVAL, "affine: a scale of %g is not above 0", a->scale);
    from_middle(x, a->centered, a->center, center);
    if (x->tensor) {
        inverse_affine(center, a->angle, a->translate, a->scale, a->shear, m);
        return sample_affine(x, m, w, h, a->filter, &a->fill, e);
    }
    nc_image out;
    const double middle[2] = { a->centered ? a->center[0] : w * 0.5, a->centered ? a->center[1] : h * 0.5 };
    inverse_affine(middle, a->angle, a->translate, a->scale, a->shear, m);
    NC_TRY(nc_pillow_transform(&x->image, w, h, NC_WARP_AFFINE, m, a->filter, &a->fill, &out, e));
    nc_raster_take(x, &out);
    return 0;
}

/* The eight coefficients that send each end point to its start point: elimination with the largest pivot, in extended precision; rounded to float32. */
static int coefficients(const double start[8], const double end[8], double c[8], nc_error *e)
{
    long double a[8][9];
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 2; k++) {
            const double px = end[2 * i], py = end[2 * i + 1], q = start[2 * i + k];
            const long double row[9] = { k ? 0 : px, k ? 0 : py, k ? 0 : 1, k ? px : 0, k ? py : 0, k ? 1 : 0, -q * px, -q * py, q };
            memcpy(a[2 * i + k], row, sizeof row);
        }
    for (int k = 0; k < 8; k++) {
        int best = k;
        for (int i = k + 1; i < 8; i++)
            best = fabsl(a[i][k]) > fabsl(a[best][k]) ? i : best;
        if (!(fabsl(a[best][k]) > 1e-12L))
            return nc_fail(e, NC_EINVAL, "perspective: three of the corners lie on a line");
        for (int j = 0; j < 9; j++) {
            const long double t = a[k][j];
            a[k][j] = a[best][j];
            a[best][j] = t;
        }
        for (int i = 0; i < 8; i++)
            for (int j = 8; i != k && j >= k; j--)
                a[i][j] -= a[i][k] / a[k][k] * a[k][j];
    }
    for (int k = 0; k < 8; k++)
        c[k] = (double)(float)(a[k][8] / a[k][k]);
    return 0;
}

int nc_torch_perspective(nc_raster *x, const double start[8], const double end[8], nc_filter filter, const nc_fill *fill, nc_error *e)
{
    const int w = nc_raster_width(x), h = nc_raster_height(x);
    double c[8];
    NC_TRY(coefficients(start, end, c, e));
    if (!x->tensor) {
        nc_image out;
        NC_TRY(nc_pillow_transform(&x->image, w, h, NC_WARP_PERSPECTIVE, c, filter, fill, &out, e));
        nc_raster_take(x, &out);
        return 0;
    }
    struct grid g = { .projective = true, .d = { (float)c[6], (float)c[7], 1 }, .u0 = 0.5f, .v0 = 0.5f };
    for (int k = 0; k < 6; k++)
        g.m[k % 3][k / 3] = (float)c[k] / (float)(k < 3 ? 0.5 * w : 0.5 * h);
    return sample(x, &g, w, h, filter, fill, e);
}

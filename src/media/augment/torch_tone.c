/* torch_tone.c - torchvision.transforms.functional's gamma, autocontrast, equalize, invert, posterize, solarize and gaussian_blur.
 *
 * A Pillow picture goes to ImageOps; its gamma is a table int(255.999 gain (v / 255)^gamma), its blur that of a uint8 tensor. On a tensor, in float32:
 *     gamma          clamp(gain v^gamma, 0, 1); bytes are v / 255 before and v * 255.999, cut, after
 *     autocontrast   (v - min) * (1 / (max - min) * bound) for each channel, cut for bytes; a channel of one value is left alone
 *     blur           weights exp(-(i / sigma)^2 / 2), normalized, of both axes multiplied; reflected borders; rounded for bytes
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "media/augment/raster.h"

typedef int pillow_fn(const nc_image *in, nc_image *out, nc_error *e);

static int by_pillow(nc_raster *x, pillow_fn *f, nc_error *e)
{
    nc_image out;
    NC_TRY(f(&x->image, &out, e));
    nc_raster_take(x, &out);
    return 0;
}

static float clamp(float v, float most) { return v < 0 ? 0 : v > most ? most : v; }

/* The square root is torch's own case; others are the rounded power of doubles. */
static float power(float v, float gamma) { return gamma == 0.5f ? sqrtf(v) : (float)pow((double)v, (double)gamma); }

int nc_torch_gamma(nc_raster *x, double gamma, double gain, nc_error *e)
{
    nc_planes *p = &x->planes;
    if (!(gamma >= 0 && gamma < 1e6 && fabs(gain) < 1e6))
        return nc_fail(e, NC_EINVAL, "gamma of %g and gain of %g are out of range", gamma, gain);
    if (!x->tensor) {
        uint8_t table[256];
        nc_image out;
        for (int i = 0; i < 256; i++) {
            const double v = (255 + 1 - 1e-3) * gain * pow(i / 255.0, gamma);
            table[i] = !(v > 0) ? 0 : v >= 255 ? 255 : (uint8_t)v;
        }
        NC_TRY(nc_pillow_point(&x->image, table, false, &out, e));
        nc_raster_take(x, &out);
        return 0;
    }
    for (size_t i = 0; i < nc_planes_count(p); i++) {
        const float v = p->bytes ? p->p[i] / 255.0f : p->p[i], y = clamp((float)gain * power(v, (float)gamma), 1);
        p->p[i] = p->bytes ? truncf(y * 255.999f) : y;
    }
    return 0;
}

static int pillow_autocontrast(const nc_image *in, nc_image *out, nc_error *e) { return nc_pillow_autocontrast(in, 0, 0, NULL, 0, false, out, e); }

int nc_torch_autocontrast(nc_raster *x, nc_error *e)
{
    const nc_planes *p = &x->planes;
    if (!x->tensor)
        return by_pillow(x, pillow_autocontrast, e);
    const size_t n = nc_planes_plane(p);
    for (float *v = p->p; v < p->p + nc_planes_count(p); v += n) {
        float least = v[0], most = v[0];
        for (size_t i = 1; i < n; i++) {
            least = fminf(least, v[i]);
            most = fmaxf(most, v[i]);
        }
        const float bound = p->bytes ? 255 : 1, ratio = 1 / (most - least) * bound, scale = isfinite(ratio) ? ratio : 1, low = isfinite(ratio) ? least : 0;
        for (size_t i = 0; i < n; i++) {
            const float y = clamp((v[i] - low) * scale, bound);
            v[i] = p->bytes ? truncf(y) : y;
        }
    }
    return 0;
}

static int need_bytes(const nc_raster *x, const char *what, nc_error *e)
{
    return x->planes.bytes ? 0 : nc_fail(e, NC_EINVAL, "%s takes tensors of uint8; put it before ToTensor and ConvertImageDtype", what);
}

int nc_torch_equalize(nc_raster *x, nc_error *e)
{
    const nc_planes *p = &x->planes;
    if (!x->tensor)
        return by_pillow(x, nc_pillow_equalize, e);
    NC_TRY(need_bytes(x, "equalize", e));
    const size_t n = nc_planes_plane(p);
    for (float *v = p->p; v < p->p + nc_planes_count(p); v += n) {
        int64_t h[256] = { 0 }, last = 0, sum;
        for (size_t i = 0; i < n; i++)
            h[(int)v[i]]++;
        for (int k = 0; k < 256; k++)
            last = h[k] ? h[k] : last;
        const int64_t step = ((int64_t)n - last) / 255;
        if (!step)
            continue;
        float table[256];
        sum = step / 2;
        for (int k = 0; k < 256; sum += h[k++])
            table[k] = k ? clamp((float)(sum / step), 255) : 0;
        for (size_t i = 0; i < n; i++)
            v[i] = table[(int)v[i]];
    }
    return 0;
}

int nc_torch_invert(nc_raster *x, nc_error *e)
{
    if (!x->tensor)
        return by_pillow(x, nc_pillow_invert, e);
    for (size_t i = 0; i < nc_planes_count(&x->planes); i++)
        x->planes.p[i] = (x->planes.bytes ? 255.0f : 1.0f) - x->planes.p[i];
    return 0;
}

int nc_torch_posterize(nc_raster *x, int bits, nc_error *e)
{
    if (!x->tensor) {
        nc_image out;
        NC_TRY(nc_pillow_posterize(&x->image, bits, &out, e));
        nc_raster_take(x, &out);
        return 0;
    }
    NC_TRY(need_bytes(x, "posterize", e));
    if (bits < 0 || bits > 8)
        return nc_fail(e, NC_EINVAL, "posterize keeps 0 to 8 bits, not %d", bits);
    for (size_t i = 0; i < nc_planes_count(&x->planes); i++)
        x->planes.p[i] = (float)((int)x->planes.p[i] & -(1 << (8 - bits)) & 255);
    return 0;
}

int nc_torch_solarize(nc_raster *x, double threshold, nc_error *e)
{
    const nc_planes *p = &x->planes;
    if (!x->tensor) {
        nc_image out;
        NC_TRY(nc_pillow_solarize(&x->image, threshold, &out, e));
        nc_raster_take(x, &out);
        return 0;
    }
    const float bound = p->bytes ? 255 : 1;
    if (threshold > (double)bound)
        return nc_fail(e, NC_EINVAL, "solarize: a threshold of %g is above %g, the brightest value of the tensor", threshold, (double)bound);
    for (size_t i = 0; i < nc_planes_count(p); i++)
        if (p->p[i] >= (float)threshold)
            p->p[i] = bound - p->p[i];
    return 0;
}

static void gaussian(int n, double sigma, float *w)
{
    float sum = 0;
    for (int i = 0; i < n; i++) {
        const float x = ((float)i - (float)(n - 1) * 0.5f) / (float)sigma;
        w[i] = expf(-0.5f * (x * x));
        sum += w[i];
    }
    for (int i = 0; i < n; i++)
        w[i] /= sum;
}

static int reflect(int i, int n) { return i < 0 ? -i : i >= n ? 2 * n - 2 - i : i; }

static int blur(nc_planes *p, const int kernel[2], const double sigma[2], nc_error *e)
{
    enum { MOST = 255 };
    float wx[MOST], wy[MOST];
    nc_planes out;
    for (int k = 0; k < 2; k++)
        if (kernel[k] < 1 || kernel[k] % 2 == 0 || kernel[k] > MOST || !(sigma[k] > 0))
            return nc_fail(e, NC_EINVAL, "gaussian_blur: kernel sizes are odd, 1 to %d, and sigma is above 0", MOST);
    if (kernel[0] / 2 >= p->width || kernel[1] / 2 >= p->height)
        return nc_fail(e, NC_EINVAL, "gaussian_blur: a kernel of %d x %d does not fit a picture of %d x %d", kernel[0], kernel[1], p->width, p->height);
    NC_TRY(nc_planes_new(p->channels, p->height, p->width, p->bytes, &out, e));
    gaussian(kernel[0], sigma[0], wx);
    gaussian(kernel[1], sigma[1], wy);
    const size_t n = nc_planes_plane(p);
    for (int c = 0; c < p->channels; c++)
        for (int i = 0; i < p->height; i++)
            for (int j = 0; j < p->width; j++) {
                float sum = 0;
                for (int r = 0; r < kernel[1]; r++) {
                    const float *row = p->p + (size_t)c * n + (size_t)reflect(i + r - kernel[1] / 2, p->height) * (size_t)p->width;
                    for (int k = 0; k < kernel[0]; k++)
                        sum = fmaf(row[reflect(j + k - kernel[0] / 2, p->width)], wy[r] * wx[k], sum);
                }
                out.p[(size_t)c * n + (size_t)i * (size_t)p->width + (size_t)j] = p->bytes ? rintf(sum) : sum;
            }
    free(p->p);
    *p = out;
    return 0;
}

/* A Pillow picture is blurred as a tensor of bytes, and is one again after it. */
int nc_torch_blur(nc_raster *x, const int kernel[2], const double sigma[2], nc_error *e)
{
    nc_planes p;
    nc_image out;
    if (x->tensor)
        return blur(&x->planes, kernel, sigma, e);
    NC_TRY(nc_planes_of_image(&x->image, true, &p, e));
    int status = blur(&p, kernel, sigma, e);
    if (status == 0)
        status = nc_image_of_planes(&p, &out, e);
    free(p.p);
    if (status == 0)
        nc_raster_take(x, &out);
    return status;
}

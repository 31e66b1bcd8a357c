/* interpolate.c - torch.nn.functional.interpolate of one plane without antialias: what a tensor's resize gives where nothing is averaged.
 *
 * Output i of an axis looks at the source place c = (i + 0.5) * in / out - 0.5:  nearest takes floor(i * in / out), nearest-exact floor((i + 0.5) * in / out),
 * bilinear the two neighbours (c below 0 counts as 0), bicubic four with a = -0.75; places outside are the border's.
 */
#include <math.h>
#include <stdlib.h>

#include "media/resize.h"

enum { MOST_TAPS = 4 };

typedef struct tap { int at[MOST_TAPS]; float weight[MOST_TAPS]; } tap;

float nc_torch_cubic(float x, float a)
{
    x = fabsf(x);
    if (x <= 1)
        return fmaf(fmaf(a + 2, x, -(a + 3)) * x, x, 1);
    return x < 2 ? fmaf(fmaf(fmaf(a, x, -5 * a), x, 8 * a), x, -4 * a) : 0;
}

static int clamp(int i, int n) { return i < 0 ? 0 : i >= n ? n - 1 : i; }

/* Returns how many taps an output has. */
static int make_taps(int in, int out, nc_interpolation kind, tap *t)
{
    const float scale = (float)in / (float)out;
    for (int i = 0; i < out; i++) {
        float c = fmaf((float)i + 0.5f, scale, -0.5f);
        if (kind == NC_INTERPOLATE_BILINEAR) {
            c = c < 0 ? 0 : c;
            int first = clamp((int)c, in);
            t[i] = (tap){ { first, clamp(first + 1, in) }, { 1 - (c - (float)first), c - (float)first } };
        } else if (kind == NC_INTERPOLATE_BICUBIC) {
            const int first = (int)floorf(c);
            const float at = c - (float)first;
            for (int k = 0; k < 4; k++) {
                t[i].at[k] = clamp(first - 1 + k, in);
                t[i].weight[k] = nc_torch_cubic(at - (float)(k - 1), -0.75f);
            }
        } else {
            float place = kind == NC_INTERPOLATE_NEAREST ? (float)i * scale : ((float)i + 0.5f) * scale;
            t[i] = (tap){ { clamp((int)floorf(place), in) }, { 1 } };
        }
    }
    return kind == NC_INTERPOLATE_BILINEAR ? 2 : kind == NC_INTERPOLATE_BICUBIC ? 4 : 1;
}

int nc_interpolate_f32(const float *in, int width, int height, float *out, int new_width, int new_height, nc_interpolation kind, nc_error *e)
{
    if (width < 1 || height < 1 || new_width < 1 || new_height < 1)
        return nc_fail(e, NC_EINVAL, "interpolate: from %d x %d to %d x %d", width, height, new_width, new_height);
    tap *x = nc_xcalloc((size_t)new_width, sizeof *x), *y = nc_xcalloc((size_t)new_height, sizeof *y);
    const int taps = make_taps(width, new_width, kind, x);
    make_taps(height, new_height, kind, y);
    for (int i = 0; i < new_height; i++)
        for (int j = 0; j < new_width; j++) {
            float sum = 0;
            for (int r = 0; r < taps; r++) {
                const float *row = in + (size_t)y[i].at[r] * (size_t)width;
                float part = 0;
                for (int c = 0; c < taps; c++)
                    part = fmaf(x[j].weight[c], row[x[j].at[c]], part);
                sum = fmaf(y[i].weight[r], part, sum);
            }
            out[(size_t)i * (size_t)new_width + (size_t)j] = sum;
        }
    free(x);
    free(y);
    return 0;
}

/* position_taps.c - a square table of learned positions seen at another grid, as torch.nn.functional.interpolate resizes it (align_corners false).
 *
 *   plain cubic:   centre s = (i + 1/2) n_in / n_out - 1/2, four taps around it by Keys' kernel with a = -0.75; indices outside are the border's
 *   antialiased:   r = max(n_in / n_out, 1), centre c = (i + 1/2) n_in / n_out, taps j of [c - S r, c + S r) with weight f((j + 1/2 - c) / r), normalized;
 *                  cubic: S = 2, a = -0.5; linear: S = 1, f a triangle; indices outside are left out
 */
#include "models/model.h"

#include <math.h>

static double keys(double x, double a)
{
    x = fabs(x);
    return x <= 1 ? ((a + 2) * x - (a + 3)) * x * x + 1 : x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

static int clamp(int i, int n) { return i < 0 ? 0 : i >= n ? n - 1 : i; }

static int side_of(const nc_vision_info *info) { return info->image_size / info->patch_size; }

int nc_position_taps(const nc_vision_info *info)
{
    int side = side_of(info);
    return info->position_filter == NC_POSITION_CUBIC ? 16 : side * side;
}

/* One axis: index and weight of each tap; gives their number, at most max(4, n_in). */
static int axis_taps(nc_position_filter filter, int i, int n_in, int n_out, int *index, double *weight)
{
    double scale = (double)n_in / n_out, sum = 0;
    if (filter == NC_POSITION_CUBIC) {
        double s = (i + 0.5) * scale - 0.5;
        int base = (int)floor(s);
        for (int k = 0; k < 4; k++) {
            index[k] = clamp(base - 1 + k, n_in);
            weight[k] = keys(s - base + 1 - k, -0.75);
        }
        return 4;
    }
    double reach = scale > 1 ? scale : 1, support = (filter == NC_POSITION_CUBIC_ANTIALIAS ? 2 : 1) * reach, centre = (i + 0.5) * scale;
    int first = (int)(centre - support + 0.5), last = (int)(centre + support + 0.5);
    first = centre - support + 0.5 < 0 ? 0 : first;
    last = last < n_in ? last : n_in;
    for (int k = 0; k < last - first; k++) {
        double x = (first + k - centre + 0.5) / reach;
        index[k] = first + k;
        weight[k] = filter == NC_POSITION_CUBIC_ANTIALIAS ? keys(x, -0.5) : fabs(x) < 1 ? 1 - fabs(x) : 0;
        sum += weight[k];
    }
    for (int k = 0; k < last - first; k++)
        weight[k] /= sum;
    return last - first;
}

void nc_position_tap(const nc_vision_info *info, int y, int x, int down, int across, int32_t *taps, float *share)
{
    enum { MOST = 512 };
    int side = side_of(info), iy[MOST], ix[MOST], n = 0;
    double wy[MOST], wx[MOST];
    if (side > MOST)
        return;
    int ny = axis_taps(info->position_filter, y, side, down, iy, wy), nx = axis_taps(info->position_filter, x, side, across, ix, wx);
    for (int i = 0; i < ny; i++)
        for (int j = 0; j < nx; j++, n++) {
            taps[n] = info->class_rows + iy[i] * side + ix[j];
            share[n] = (float)(wy[i] * wx[j]);
        }
}

/* video_sample.c - which frames of a video are taken; pure arithmetic on indices, in the order of operations numpy and torch use. */
#include "media/video.h"
#include <math.h>

static int by_time(int n, int k, const double *times, int *index, nc_error *e)
{
    if (!times)
        return nc_fail(e, NC_EINVAL, "sampling by time needs the frames' times");
    /* The last frame is shown for as long as the mean of the others. */
    const double start = times[0], span = n > 1 ? (times[n - 1] - start) * n / (n - 1) : 0;
    int at = 0;
    for (int i = 0; i < k; i++) {
        double t = start + span * (i + 0.5) / k;
        while (at + 1 < n && times[at + 1] <= t)
            at++;
        index[i] = at;
    }
    return 0;
}

int nc_sample_frames(nc_sampling rule, int n, int k, const double *times, int *index, nc_error *e)
{
    if (n < 1 || k < 1)
        return nc_fail(e, NC_EINVAL, "cannot take %d frames of %d", k, n);
    if (rule == NC_SAMPLE_TIME)
        return by_time(n, k, times, index, e);
    if (k > n && rule != NC_SAMPLE_LINSPACE)
        return nc_fail(e, NC_EINVAL, "cannot take %d frames of a video of %d; ask for fewer", k, n);
    const double step = rule == NC_SAMPLE_LINSPACE ? (k > 1 ? (double)(n - 1) / (k - 1) : 0) : (double)n / k;
    for (int i = 0; i < k; i++)
        switch (rule) {
        case NC_SAMPLE_LINSPACE:
            index[i] = i == k - 1 && k > 1 ? n - 1 : (int)(i * step);
            break;
        case NC_SAMPLE_ARANGE:
            index[i] = (int)(i * step);
            break;
        case NC_SAMPLE_SEGMENT_MIDDLE:
            index[i] = (int)(step / 2 + step * i);
            break;
        default:
            index[i] = (int)((int64_t)i * n / k);
        }
    return 0;
}

int nc_sample_count(int n, double fps, double rate)
{
    if (!(fps > 0) || !(rate > 0) || n < 1)
        return n < 1 ? 0 : 1;
    double k = n / fps * rate;
    return k < 1 ? 1 : k > n ? n : (int)k;
}

int nc_sample_qwen2vl(int n, double fps, double rate, int count, int min_frames, int max_frames, int *index, nc_error *e)
{
    enum { factor = 2 };
    double k;

    if (n < 1)
        return nc_fail(e, NC_EINVAL, "the video has no frames");
    if (count > 0) {
        k = nearbyint((double)count / factor) * factor;
    } else {
        if (!(fps > 0))
            return nc_fail(e, NC_EINVAL, "sampling by rate needs the video's frame rate, which the file does not state; give a number of frames");
        const double most = floor((double)(max_frames < n ? max_frames : n) / factor) * factor;
        k = n / fps * rate;
        k = k < min_frames ? min_frames : k;
        k = k > most ? most : k;
        k = floor(k / factor) * factor;
    }
    if (k < 1 || k > n)
        return nc_fail(e, NC_EINVAL, "cannot take %g frames of a video of %d", k, n);
    const float step = (float)((double)n / k);
    int taken = 0;
    for (; taken < (int)k; taken++)
        index[taken] = (int)((float)taken * step);
    return taken;
}

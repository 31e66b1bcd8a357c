/* processor_qwen2_vl.c - Qwen2-VL, Qwen2.5-VL, Qwen3-VL: both sides to multiples of patch * merge near the picture's own size, then patches.
 *
 * Sides are rounded half to even; when the area leaves [shortest_edge, longest_edge] (these are areas here) both are scaled by the root of the
 * ratio, down or up. Frames are grouped by temporal_patch_size, a single picture or the last frame repeated. Patches come in blocks of
 * merge x merge: [t, h / m, w / m, m, m] rows of [3, T, P, P] values; image_grid_thw [1, 3] = (t, h, w) in patches.
 *
 * Qwen3-VL's videos have a budget of pixels for all frames together. cap_pixels_per_frame: a frame has at most its share of max_video_tokens.
 */
#include "front/processor_family.h"
#include "media/video.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const nc_processor_class_row classes[] = {
    { "Qwen2VLImageProcessor", 56 * 56, 0, 0, 0, NC_BICUBIC, NC_COLORS_CLIP, false, true, false, false },
    { "Qwen2VLVideoProcessor", 128 * 28 * 28, 0, 0, 0, NC_BICUBIC, NC_COLORS_CLIP, false, true, false, true },
    { "Qwen3VLVideoProcessor", 128 * 32 * 32, 0, 0, 0, NC_BICUBIC, NC_COLORS_HALF, false, true, false, true },
    { 0 },
};

static bool is_qwen3_video(const nc_processor *p) { return p->row == &classes[2]; }

static int small(const nc_json *config, const char *key, int fallback, int most, const char *file, int *out, nc_error *e)
{
    const nc_json *v = nc_json_get(config, key);
    int64_t n = fallback;
    if (v && v->type != NC_JSON_NULL && (!nc_json_int_exact(v, &n) || n < 1 || n > most))
        return nc_fail(e, NC_EFORMAT, "%s:%d: %s must be 1 to %d", file, v->line, key, most);
    *out = (int)n;
    return 0;
}

/* np.linspace(0, n - 1, k).round() of Qwen3-VL; Qwen2-VL's rule is nc_sample_qwen2vl. */
static int sample(const nc_processor *p, int n, double fps, int want, int *index, nc_error *e)
{
    int most = p->max_frames < n ? p->max_frames : n, k = want < n ? want : n;
    fps = fps > 0 ? fps : 24;
    if (!is_qwen3_video(p))
        return n < 2 || (want && want < 2) ? 0 : nc_sample_qwen2vl(n, fps, p->fps, k, p->min_frames < n ? p->min_frames : n, p->max_frames, index, e);
    if (!want) {
        k = (int)(n / fps * p->fps);
        k = k < p->min_frames ? p->min_frames : k;
        k = k > most ? most : k;
    }
    for (int i = 0; i < k; i++)
        index[i] = (int)nearbyint(k > 1 ? (double)i * ((double)(n - 1) / (k - 1)) : 0);
    return k;
}

/* The largest area of a frame, or of all of them where they share a budget. */
static double most_pixels(const nc_processor *p, int frames)
{
    const int f = p->patch_size * p->merge_size;
    const double least = floor(p->shortest * 1.05);
    if (!p->cap_pixels || !p->row->video)
        return p->longest;
    if (is_qwen3_video(p))
        return fmax(fmin((double)p->max_video_tokens * f * f, floor((double)p->longest / frames)), least) * frames;
    return fmax(fmin(p->longest, floor(floor((double)p->max_video_tokens * f * f * 0.9) * p->temporal_patch_size / frames)), least);
}

/* together: frames that share the area (1 for a picture); even: the same rounded to steps in time. */
static int choose_size(const nc_processor *p, const nc_image *im, int frames, int *height, int *width, nc_error *e)
{
    const int f = p->patch_size * p->merge_size, T = p->temporal_patch_size;
    const double most = most_pixels(p, frames), together = is_qwen3_video(p) ? frames : 1, even = is_qwen3_video(p) ? nearbyint((double)frames / T) * T : 1;
    double h = im->height, w = im->width;
    if (is_qwen3_video(p) && (h < f || w < f)) {
        const double scale = fmax(f / h, f / w);
        h = floor(h * scale);
        w = floor(w * scale);
    }
    if ((h > w ? h / w : w / h) > 200)
        return nc_fail(e, NC_EINVAL, "absolute aspect ratio must be smaller than 200, got %g", h > w ? h / w : w / h);
    double H = nearbyint(h / f) * f, W = nearbyint(w / f) * f;
    if (even * H * W > most) {
        const double beta = sqrt(together * h * w / most);
        H = fmax(f, floor(h / beta / f) * f);
        W = fmax(f, floor(w / beta / f) * f);
    } else if (even * H * W < p->shortest) {
        const double beta = sqrt(p->shortest / (together * h * w));
        H = ceil(h * beta / f) * f;
        W = ceil(w * beta / f) * f;
    }
    if (!(H >= f && W >= f && H <= 1 << 20 && W <= 1 << 20))
        return nc_fail(e, NC_EINVAL, "a picture of %d x %d cannot be scaled to patches of %d", im->width, im->height, f);
    *height = (int)H;
    *width = (int)W;
    return 0;
}

static int parse(nc_processor *p, const nc_json *config, const char *file, nc_error *e)
{
    const nc_json *fps = nc_json_get(config, "fps");
    const bool third = is_qwen3_video(p);
    NC_TRY(small(config, "patch_size", third ? 16 : 14, 1024, file, &p->patch_size, e));
    NC_TRY(small(config, "merge_size", 2, 64, file, &p->merge_size, e));
    NC_TRY(small(config, "temporal_patch_size", 2, 64, file, &p->temporal_patch_size, e));
    NC_TRY(small(config, "min_pixels", p->shortest, 1 << 30, file, &p->shortest, e));
    NC_TRY(small(config, "max_pixels", p->longest ? p->longest : third ? 32 * 32 * 768 : 28 * 28 * 1280, 1 << 30, file, &p->longest, e));
    NC_TRY(small(config, "min_frames", 4, 1 << 20, file, &p->min_frames, e));
    NC_TRY(small(config, "max_frames", 768, 1 << 20, file, &p->max_frames, e));
    NC_TRY(small(config, "max_video_tokens", third ? 768 : 128000, 1 << 20, file, &p->max_video_tokens, e));
    p->sample = sample;
    p->frame_size = p->do_resize ? choose_size : NULL;
    p->fps = nc_json_double(fps, 2);
    p->cap_pixels = nc_json_bool(nc_json_get(config, "cap_pixels_per_frame"), false);
    if (!(p->fps > 0 && p->fps <= 1000))
        return nc_fail(e, NC_EFORMAT, "%s:%d: fps must be over 0 and at most 1000", file, fps->line);
    return p->longest >= p->shortest ? 0 : nc_fail(e, NC_EFORMAT, "%s: the largest area is below the smallest", file);
}

/* frames: count pictures of one size; the last is repeated to fill the last group. */
static int patches(const nc_processor *p, nc_arena *a, const nc_image *frames, int count, const char *name, const char *grid_name, nc_features *out, nc_error *e)
{
    const int P = p->patch_size, m = p->merge_size, T = p->temporal_patch_size;
    const int gt = (count + T - 1) / T, gh = frames[0].height / P, gw = frames[0].width / P;
    const int64_t rows = (int64_t)gt * gh * gw, row = (int64_t)3 * T * P * P;
    if (frames[0].height % (P * m) || frames[0].width % (P * m))
        return nc_fail(e, NC_ESHAPE, "a picture of %d x %d is no multiple of %d; do_resize must be true", frames[0].width, frames[0].height, P * m);
    if (rows * row > (int64_t)1 << 33)
        return nc_fail(e, NC_ELIMIT, "%lld patches are too many at once", (long long)rows);
    uint8_t *u8 = nc_arena_alloc(a, (size_t)(rows * row)), *to = u8;

    for (int t = 0; t < gt; t++)
        for (int64_t i = 0; i < (int64_t)gh * gw; i++) {
            const int inner = (int)(i % (m * m)), block = (int)(i / (m * m)), per = gw / m;
            const int y0 = (block / per * m + inner / m) * P, x0 = (block % per * m + inner % m) * P;
            for (int c = 0; c < 3; c++)
                for (int k = 0; k < T; k++) {
                    const nc_image *f = &frames[t * T + k < count ? t * T + k : count - 1];
                    for (int y = 0; y < P; y++)
                        for (int x = 0; x < P; x++)
                            *to++ = f->pixels[((size_t)(y0 + y) * (size_t)f->width + (size_t)(x0 + x)) * 3 + (size_t)c];
                }
        }
    nc_features_emit(out, name, 2, (int64_t[]){ rows, row })->f32 = nc_emit_floats(p, a, u8, (size_t)(rows * row), (size_t)(T * P * P));
    out->u8 = u8;
    int64_t *grid = nc_emit_ints(a, out, grid_name, 2, (int64_t[]){ 1, 3 });
    grid[0] = gt;
    grid[1] = gh;
    grid[2] = gw;
    return 0;
}

static int both(const nc_processor *p, nc_arena *a, const nc_image *frames, int count, const char *name, const char *grid_name, nc_features *out, nc_error *e)
{
    nc_image *work = nc_xcalloc((size_t)count, sizeof *work);
    int height = frames[0].height, width = frames[0].width, code = p->do_resize ? choose_size(p, &frames[0], count, &height, &width, e) : 0;

    for (int i = 0; i < count && code == 0; i++)
        code = frames[i].height != frames[0].height || frames[i].width != frames[0].width ? nc_fail(e, NC_ESHAPE, "frame %d has another size than the first", i)
                                                                                         : nc_step_resize(p, &frames[i], height, width, &work[i], e);
    if (code == 0)
        code = patches(p, a, work, count, name, grid_name, out, e);
    for (int i = 0; i < count; i++)
        nc_image_free(&work[i]);
    free(work);
    return code;
}

static int run_images(const nc_processor *p, nc_arena *a, const nc_image *images, int count, nc_features *out, nc_error *e)
{
    return both(p, a, images, count, "pixel_values", "image_grid_thw", out, e);
}

static int run_video(const nc_processor *p, nc_arena *a, const nc_image *frames, int count, nc_features *out, nc_error *e)
{
    return both(p, a, frames, count, "pixel_values_videos", "video_grid_thw", out, e);
}

const nc_processor_family nc_processor_qwen2_vl = { classes,
    "patch_size merge_size temporal_patch_size min_pixels max_pixels cap_pixels_per_frame max_frames min_frames max_video_tokens", parse, run_images, run_video, true };

/* processor_anyres.c - LLaVA-NeXT and LLaVA-OneVision: the whole picture in small, then tiles of the picture at the best of the listed resolutions.
 *
 * Best: the largest number of the picture's own pixels kept, min(w h s^2, w h) with s the scale that fits; ties by the least waste. The picture is
 * scaled to fit (the other side rounded up), centred on black, and cut into squares row by row. pixel_values [1, 1 + tiles, 3, S, S],
 * image_sizes [1, 2] (height, width).
 */
#include "front/processor_family.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const nc_processor_class_row classes[] = {
    { "LlavaNextImageProcessor", 224, 0, 0, 224, NC_BICUBIC, NC_COLORS_CLIP, true, true, true, false },
    { "LlavaOnevisionImageProcessor", 0, 384, 384, 0, NC_BICUBIC, NC_COLORS_CLIP, false, true, true, false },
    { 0 },
};

static int parse(nc_processor *p, const nc_json *config, const char *file, nc_error *e)
{
    const nc_json *list = nc_json_get(config, "image_grid_pinpoints");
    if (!list) {
        static const int next[][2] = { { 336, 672 }, { 672, 336 }, { 672, 672 }, { 1008, 336 }, { 336, 1008 } };
        memcpy(p->pinpoint, next, sizeof next);
        p->pinpoints = NC_COUNT(next);
        if (p->row == &classes[1])
            for (p->pinpoints = 0; p->pinpoints < 36; p->pinpoints++) {
                p->pinpoint[p->pinpoints][0] = 384 * (p->pinpoints / 6 + 1);
                p->pinpoint[p->pinpoints][1] = 384 * (p->pinpoints % 6 + 1);
            }
        return 0;
    }
    NC_JSON_EACH(v, list) {
        int64_t h, w;
        if (p->pinpoints == nc_processor_most_pinpoints)
            return nc_fail(e, NC_ELIMIT, "%s:%d: more than %d image_grid_pinpoints", file, v->line, (int)nc_processor_most_pinpoints);
        if (v->count != 2 || !nc_json_int_exact(nc_json_at(v, 0), &h) || !nc_json_int_exact(nc_json_at(v, 1), &w) || h < 1 || w < 1 || h > 65536 || w > 65536)
            return nc_fail(e, NC_EFORMAT, "%s:%d: image_grid_pinpoints must hold pairs of height and width", file, v->line);
        p->pinpoint[p->pinpoints][0] = (int)h;
        p->pinpoint[p->pinpoints++][1] = (int)w;
    }
    return p->pinpoints ? 0 : nc_fail(e, NC_EFORMAT, "%s: image_grid_pinpoints is empty", file);
}

static const int *best_resolution(const nc_processor *p, const nc_image *im)
{
    const int *best = p->pinpoint[0];
    int64_t most = 0, least = INT64_MAX;
    for (int i = 0; i < p->pinpoints; i++) {
        const int h = p->pinpoint[i][0], w = p->pinpoint[i][1];
        const double a = (double)w / im->width, b = (double)h / im->height, scale = a < b ? a : b;
        const int64_t all = (int64_t)im->width * im->height, fitted = (int64_t)(im->width * scale) * (int64_t)(im->height * scale);
        const int64_t kept = fitted < all ? fitted : all, wasted = (int64_t)w * h - kept;
        if (kept > most || (kept == most && wasted < least)) {
            most = kept;
            least = wasted;
            best = p->pinpoint[i];
        }
    }
    return best;
}

/* The picture scaled into height x width and centred on black. */
static int fit(const nc_processor *p, const nc_image *im, int height, int width, nc_image *out, nc_error *e)
{
    const double across = (double)width / im->width, down = (double)height / im->height;
    int w = width, h = height;
    nc_image scaled;

    if (across < down)
        h = (int)fmin(ceil(im->height * across), height);
    else
        w = (int)fmin(ceil(im->width * down), width);
    NC_TRY(nc_step_resize(p, im, h, w, &scaled, e));
    int code = nc_crop(&scaled, -((width - w) / 2), -((height - h) / 2), width, height, NULL, out, e);
    nc_image_free(&scaled);
    return code;
}

static int cut(const nc_processor *p, const nc_image *im, int tile, nc_image **tiles, int *count, nc_error *e)
{
    const int *best = best_resolution(p, im);
    const int rows = best[0] / tile, columns = best[1] / tile, square = p->height ? p->height : p->shortest;
    nc_image whole;

    if (best[0] % tile || best[1] % tile)
        return nc_fail(e, NC_EINVAL, "the resolution %d x %d is no multiple of the tile's %d", best[0], best[1], tile);
    *tiles = nc_xcalloc((size_t)(rows * columns + 1), sizeof **tiles);
    NC_TRY(nc_step_resize(p, im, square, p->height ? p->width : square, &(*tiles)[(*count)++], e));
    NC_TRY(fit(p, im, best[0], best[1], &whole, e));
    int code = 0;
    for (int y = 0; y < rows && code == 0; y++)
        for (int x = 0; x < columns && code == 0; x++) {
            code = nc_crop(&whole, x * tile, y * tile, tile, tile, NULL, &(*tiles)[*count], e);
            *count += code == 0;
        }
    nc_image_free(&whole);
    return code;
}

static int run_images(const nc_processor *p, nc_arena *a, const nc_image *images, int count, nc_features *out, nc_error *e)
{
    const int tile = p->do_center_crop && p->crop_height ? p->crop_height : p->height ? p->height : p->shortest;
    nc_image *tiles = NULL;
    int n = 0;

    (void)count;
    if (!tile)
        return nc_fail(e, NC_EINVAL, "size or crop_size must be given");
    int code = cut(p, &images[0], tile, &tiles, &n, e);
    for (int i = 0; i < n && code == 0; i++)
        code = nc_step_size(p, &tiles[i], e);
    if (code == 0)
        code = nc_emit_pictures(p, a, tiles, n, "pixel_values", 2, (int64_t[]){ 1, n }, out, e);
    if (code == 0) {
        int64_t *size = nc_emit_ints(a, out, "image_sizes", 2, (int64_t[]){ 1, 2 });
        size[0] = images[0].height;
        size[1] = images[0].width;
        if (p->row == &classes[1])
            nc_emit_ints(a, out, "batch_num_images", 1, (int64_t[]){ 1 })[0] = 1;
    }
    for (int i = 0; i < n; i++)
        nc_image_free(&tiles[i]);
    free(tiles);
    return code;
}

const nc_processor_family nc_processor_anyres = { classes, "image_grid_pinpoints", parse, run_images, NULL, true };

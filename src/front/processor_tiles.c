/* processor_tiles.c - processors that cut large pictures into tiles of one size: GOT-OCR2 and InternVL, Gemma 3 (pan and scan), Idefics3.
 *
 * GOT-OCR2: the grid (columns x rows between min_patches and max_patches) whose aspect is nearest the picture's, larger grids winning ties when the
 * picture has at least half their pixels; the picture is stretched to the grid; a thumbnail comes last when there are several tiles.
 * Gemma 3: the whole picture first, then equal slices along the longer side when it is longer by min_ratio.
 * Idefics3: scaled to longest_edge with even sides, stretched to multiples of the tile, cut, the whole picture last.
 */
#include "front/processor_family.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const nc_processor_class_row classes[] = {
    { "GotOcr2ImageProcessor", 0, 384, 384, 0, NC_BICUBIC, NC_COLORS_CLIP, false, true, false, false },
    { "Gemma3ImageProcessor", 0, 224, 224, 0, NC_BILINEAR, NC_COLORS_HALF, false, true, false, false },
    { "Idefics3ImageProcessor", 0, 0, 0, 0, NC_LANCZOS, NC_COLORS_HALF, false, true, true, false },
    { 0 },
};

enum { most_tiles = 4096 };
struct list { nc_image *tile; int count; int rows, columns; };

static int count_of(const nc_json *config, const char *key, int fallback, int most, const char *file, int *out, nc_error *e)
{
    const nc_json *v = nc_json_get(config, key);
    int64_t n = fallback;
    if (v && v->type != NC_JSON_NULL && (!nc_json_int_exact(v, &n) || n < 1 || n > most))
        return nc_fail(e, NC_EFORMAT, "%s:%d: %s must be 1 to %d", file, v->line, key, most);
    *out = (int)n;
    return 0;
}

static int parse(nc_processor *p, const nc_json *config, const char *file, nc_error *e)
{
    const nc_json *edge = nc_json_get(nc_json_get(config, "max_image_size"), "longest_edge");
    const nc_json *pan = nc_json_get(config, "do_pan_and_scan"), *split = nc_json_get(config, "do_image_splitting");
    NC_TRY(count_of(config, "min_patches", 1, 256, file, &p->min_patches, e));
    NC_TRY(count_of(config, "max_patches", 12, 256, file, &p->max_patches, e));
    NC_TRY(count_of(config, "pan_and_scan_min_crop_size", 256, 65536, file, &p->min_crop, e));
    if (p->row == &classes[0]) {
        p->split = nc_json_bool(nc_json_get(config, "crop_to_patches"), false);
    } else if (p->row == &classes[1]) {
        p->split = nc_json_is(pan, NC_JSON_BOOL) && pan->boolean;
        NC_TRY(count_of(config, "pan_and_scan_max_num_crops", 4, 256, file, &p->max_patches, e));
        p->min_ratio = nc_json_double(nc_json_get(config, "pan_and_scan_min_ratio_to_activate"), 1.2);
    } else {
        int64_t n = 364;
        p->split = split ? nc_json_bool(split, true) : true;
        if (edge && (!nc_json_int_exact(edge, &n) || n < 1 || n > 65536))
            return nc_fail(e, NC_EFORMAT, "%s:%d: max_image_size.longest_edge must be 1 to 65536", file, edge->line);
        p->max_image_edge = (int)n;
        if (!p->longest)
            p->longest = 4 * 364;
    }
    return 0;
}

static int add(struct list *l, nc_image *im)
{
    l->tile = nc_xrealloc(l->tile, (size_t)(l->count + 1) * sizeof *l->tile);
    l->tile[l->count++] = *im;
    *im = (nc_image){ 0 };
    return 0;
}

static int add_crop(struct list *l, const nc_image *im, int x, int y, int w, int h, nc_error *e)
{
    nc_image tile;
    NC_TRY(nc_crop(im, x, y, w, h, NULL, &tile, e));
    return add(l, &tile);
}

static int add_resized(const nc_processor *p, struct list *l, const nc_image *im, int h, int w, nc_error *e)
{
    nc_image tile;
    NC_TRY(nc_step_resize(p, im, h, w, &tile, e));
    return add(l, &tile);
}

static void best_grid(const nc_processor *p, const nc_image *im, int *columns, int *rows)
{
    const double aspect = (double)im->width / im->height, area = (double)im->width * im->height;
    double nearest = INFINITY;
    *columns = *rows = 1;
    /* By number of tiles, then by columns: the order of a stable sort. */
    for (int n = p->min_patches; n <= p->max_patches; n++)
        for (int c = 1; c <= n; c++) {
            if (n % c)
                continue;
            const double distance = fabs(aspect - (double)c / (n / c));
            if (distance < nearest || (distance == nearest && area > 0.5 * p->height * p->width * n)) {
                nearest = distance;
                *columns = c;
                *rows = n / c;
            }
        }
}

static int got_ocr(const nc_processor *p, const nc_image *im, struct list *l, nc_error *e)
{
    int columns, rows, code = 0;
    nc_image canvas;

    if (!p->split || p->max_patches < 2)
        return add_resized(p, l, im, p->height, p->width, e);
    best_grid(p, im, &columns, &rows);
    NC_TRY(nc_step_resize(p, im, rows * p->height, columns * p->width, &canvas, e));
    for (int i = 0; i < rows * columns && code == 0; i++)
        code = add_crop(l, &canvas, i % columns * p->width, i / columns * p->height, p->width, p->height, e);
    nc_image_free(&canvas);
    if (code == 0 && l->count != 1)
        code = add_resized(p, l, im, p->height, p->width, e);
    return code;
}

static int gemma(const nc_processor *p, const nc_image *im, struct list *l, nc_error *e)
{
    const bool wide = im->width >= im->height;
    const int along = wide ? im->width : im->height, across = wide ? im->height : im->width;
    nc_image slice;

    NC_TRY(add_resized(p, l, im, p->height, p->width, e));
    if (!p->split || (double)along / across < p->min_ratio)
        return 0;
    int n = (int)floor((double)along / across + 0.5);
    n = along / p->min_crop < n ? along / p->min_crop : n;
    n = n < 2 ? 2 : n;
    n = n > p->max_patches ? p->max_patches : n;
    const int size = (along + n - 1) / n;
    if ((size < across ? size : across) < p->min_crop)
        return 0;
    for (int i = 0; i < n; i++) {
        const int from = i * size, length = along - from < size ? along - from : size;
        if (length < 1)
            return nc_fail(e, NC_EINVAL, "a picture of %d x %d cannot be cut in %d", im->width, im->height, n);
        NC_TRY(nc_crop(im, wide ? from : 0, wide ? 0 : from, wide ? length : across, wide ? across : length, NULL, &slice, e));
        int code = add_resized(p, l, &slice, p->height, p->width, e);
        nc_image_free(&slice);
        NC_TRY(code);
    }
    return 0;
}

/* The longer side becomes `longest`, the other keeps the aspect, made even. */
static void even_size(const nc_image *im, int longest, int *height, int *width)
{
    const double aspect = (double)im->width / im->height;
    if (im->width >= im->height) {
        *width = longest;
        *height = (int)(longest / aspect);
        *height += *height % 2;
    } else {
        *height = longest;
        *width = (int)(longest * aspect);
        *width += *width % 2;
    }
    *height = *height < 1 ? 1 : *height;
    *width = *width < 1 ? 1 : *width;
}

static int idefics_split(const nc_processor *p, nc_image *im, struct list *l, nc_error *e)
{
    const int edge = p->max_image_edge;
    const double aspect = (double)im->width / im->height;
    int w = im->width, h = im->height, code = 0;
    nc_image next;

    if (w >= h) {
        w = (w + edge - 1) / edge * edge;
        h = ((int)(w / aspect) + edge - 1) / edge * edge;
    } else {
        h = (h + edge - 1) / edge * edge;
        w = ((int)(h * aspect) + edge - 1) / edge * edge;
    }
    NC_TRY(nc_step_resize(p, im, h, w, &next, e));
    nc_step_replace(im, &next);
    if (h <= edge && w <= edge)
        return add(l, im);
    if ((int64_t)(h / edge) * (w / edge) > most_tiles)
        return nc_fail(e, NC_ELIMIT, "a picture of %d x %d makes too many tiles of %d", w, h, edge);
    for (int y = 0; y < h && code == 0; y += edge)
        for (int x = 0; x < w && code == 0; x += edge)
            code = add_crop(l, im, x, y, edge, edge, e);
    l->rows = h / edge;
    l->columns = w / edge;
    return code < 0 ? code : add_resized(p, l, im, edge, edge, e);
}

static int idefics(const nc_processor *p, const nc_image *im, struct list *l, nc_error *e)
{
    nc_image work, next;
    int h, w, code = nc_image_copy(im, &work, e);

    if (code == 0 && p->do_resize) {
        even_size(im, p->longest, &h, &w);
        code = nc_step_resize(p, &work, h, w, &next, e);
        if (code == 0)
            nc_step_replace(&work, &next);
    }
    if (code == 0)
        code = p->split ? idefics_split(p, &work, l, e) : add_resized(p, l, &work, p->max_image_edge, p->max_image_edge, e);
    nc_image_free(&work);
    return code;
}

static int run_images(const nc_processor *p, nc_arena *a, const nc_image *images, int count, nc_features *out, nc_error *e)
{
    struct list l = { 0 };
    const int kind = (int)(p->row - classes);
    int code;

    (void)count;
    if (kind < 2 && !p->height)
        return nc_fail(e, NC_EINVAL, "size needs height and width");
    code = kind == 0 ? got_ocr(p, &images[0], &l, e) : kind == 1 ? gemma(p, &images[0], &l, e) : idefics(p, &images[0], &l, e);
    if (code == 0)
        code = nc_emit_pictures(p, a, l.tile, l.count, "pixel_values", kind == 2 ? 2 : 1, kind == 2 ? (int64_t[]){ 1, l.count } : (int64_t[]){ l.count }, out, e);
    if (code == 0 && kind < 2)
        nc_emit_ints(a, out, kind ? "num_crops" : "num_patches", 1, (int64_t[]){ 1 })[0] = l.count - kind;
    if (code == 0 && kind == 2) {
        const int64_t shape[] = { 1, l.count, l.tile[0].height, l.tile[0].width };
        int64_t *mask = nc_emit_ints(a, out, "pixel_attention_mask", 4, shape);
        for (int64_t i = 0; i < shape[1] * shape[2] * shape[3]; i++)
            mask[i] = 1;
        int64_t *grid = nc_emit_ints(a, out, "tile_grid", 1, (int64_t[]){ 2 });
        grid[0] = l.rows;
        grid[1] = l.columns;
    }
    for (int i = 0; i < l.count; i++)
        nc_image_free(&l.tile[i]);
    free(l.tile);
    return code;
}

const nc_processor_family nc_processor_tiles = { classes,
    "crop_to_patches min_patches max_patches do_pan_and_scan pan_and_scan_max_num_crops pan_and_scan_min_crop_size pan_and_scan_min_ratio_to_activate "
    "do_image_splitting max_image_size", parse, run_images, NULL, true };

/* processor_steps.c - the steps processors are made of, and the way from bytes to floats: v = float(byte * factor), (v - mean) / std in float. */
#include "front/processor_family.h"
#include <string.h>

void nc_step_replace(nc_image *im, nc_image *next)
{
    nc_image_free(im);
    *im = *next;
    *next = (nc_image){ 0 };
}

int nc_step_resize(const nc_processor *p, const nc_image *in, int height, int width, nc_image *out, nc_error *e)
{
    return nc_resize(in, width, height, (nc_filter)p->filter, NULL, p->rule, out, e);
}

int nc_step_shortest(const nc_processor *p, const nc_image *in, int edge, nc_image *out, nc_error *e)
{
    const bool tall = in->height > in->width;
    const int64_t shorter = tall ? in->width : in->height, longer = tall ? in->height : in->width, scaled = longer * edge / shorter;
    if (scaled > 1 << 24)
        return nc_fail(e, NC_ELIMIT, "a picture of %d x %d is too narrow to be scaled to a short side of %d", in->width, in->height, edge);
    return nc_step_resize(p, in, tall ? (int)scaled : edge, tall ? edge : (int)scaled, out, e);
}

static int floor_half(int v) { return v >= 0 ? v / 2 : -((1 - v) / 2); }

/* torchvision and the numpy code round differently when the picture is smaller than the crop or the difference is odd; this is the numpy code's. */
int nc_step_center_crop(const nc_image *in, int height, int width, nc_image *out, nc_error *e)
{
    int top = floor_half(in->height - height), left = floor_half(in->width - width);
    if (in->height < height || in->width < width) {
        const int new_h = height > in->height ? height : in->height, new_w = width > in->width ? width : in->width;
        top = floor_half(in->height - height) + (new_h - in->height + 1) / 2;
        left = floor_half(in->width - width) + (new_w - in->width + 1) / 2;
        top = (top > 0 ? top : 0) - (new_h - in->height + 1) / 2;
        left = (left > 0 ? left : 0) - (new_w - in->width + 1) / 2;
    }
    return nc_crop(in, left, top, width, height, NULL, out, e);
}

int nc_step_size(const nc_processor *p, nc_image *im, nc_error *e)
{
    nc_image next;

    if (p->do_resize) {
        if (p->height)
            NC_TRY(nc_step_resize(p, im, p->height, p->width, &next, e));
        else if (p->shortest && !p->longest)
            NC_TRY(nc_step_shortest(p, im, p->shortest, &next, e));
        else
            return nc_fail(e, NC_EUNSUPPORTED, "size must hold shortest_edge alone or height and width");
        nc_step_replace(im, &next);
    }
    if (p->do_center_crop) {
        if (!p->crop_height)
            return nc_fail(e, NC_EINVAL, "do_center_crop needs crop_size");
        NC_TRY(nc_step_center_crop(im, p->crop_height, p->crop_width, &next, e));
        nc_step_replace(im, &next);
    }
    return 0;
}

nc_feature *nc_features_emit(nc_features *out, const char *name, int rank, const int64_t *shape)
{
    nc_feature *f = &out->item[out->count++];
    *f = (nc_feature){ .name = name, .rank = rank };
    memcpy(f->shape, shape, (size_t)rank * sizeof *shape);
    return f;
}

int64_t *nc_emit_ints(nc_arena *a, nc_features *out, const char *name, int rank, const int64_t *shape)
{
    nc_feature *f = nc_features_emit(out, name, rank, shape);
    int64_t n = 1;
    for (int i = 0; i < rank; i++)
        n *= shape[i];
    return f->i64 = NC_NEW_ARRAY(a, int64_t, n > 0 ? n : 1);
}

float *nc_emit_floats(const nc_processor *p, nc_arena *a, const uint8_t *u8, size_t n, size_t inner)
{
    float table[3][256], *to = NC_NEW_ARRAY(a, float, n ? n : 1);

    for (int c = 0; c < 3; c++)
        for (int i = 0; i < 256; i++) {
            const float v = p->do_rescale ? (float)(i * p->factor) : (float)i;
            table[c][i] = p->do_normalize ? (v - (float)p->mean[c]) / (float)p->std[c] : v;
        }
    for (size_t at = 0, c = 0; at < n; at += inner, c = c == 2 ? 0 : c + 1) {
        const size_t end = n - at < inner ? n : at + inner;
        for (size_t i = at; i < end; i++)
            to[i] = table[c][u8[i]];
    }
    return to;
}

int nc_emit_pictures(const nc_processor *p, nc_arena *a, const nc_image *tiles, int count, const char *name, int rank, const int64_t *leading,
                     nc_features *out, nc_error *e)
{
    const int h = tiles[0].height, w = tiles[0].width;
    const size_t plane = (size_t)h * (size_t)w;
    int64_t shape[6];
    size_t bytes;

    for (int i = 1; i < count; i++)
        if (tiles[i].height != h || tiles[i].width != w)
            return nc_fail(e, NC_ESHAPE, "pictures of %d x %d and %d x %d cannot be stacked", h, w, tiles[i].height, tiles[i].width);
    if (!nc_mul_size(plane * 3, (size_t)count, &bytes) || bytes > (size_t)1 << 33)
        return nc_fail(e, NC_ELIMIT, "%d pictures of %d x %d are too many at once", count, h, w);
    uint8_t *u8 = nc_arena_alloc(a, bytes);
    for (int i = 0; i < count; i++)
        for (size_t c = 0; c < 3; c++) {
            uint8_t *to = u8 + ((size_t)i * 3 + c) * plane;
            const uint8_t *from = tiles[i].pixels + c;
            for (size_t k = 0; k < plane; k++)
                to[k] = from[3 * k];
        }
    memcpy(shape, leading, (size_t)rank * sizeof *shape);
    shape[rank] = 3;
    shape[rank + 1] = h;
    shape[rank + 2] = w;
    nc_features_emit(out, name, rank + 3, shape)->f32 = nc_emit_floats(p, a, u8, bytes, plane);
    if (!out->u8)
        out->u8 = u8;
    return 0;
}

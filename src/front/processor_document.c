/* processor_document.c - pages: Donut and Nougat.
 *
 *   [Nougat: cut the white margin]  ->  [turn so that the long sides agree]  ->  short side to the shorter of size  ->  thumbnail inside size
 *   ->  centred on black  ->  rescale, normalize
 *
 * The margin is what is at least 200 of 255 after the grey picture is stretched to the full range.
 */
#include "front/processor_family.h"
#include <stdlib.h>

static const nc_processor_class_row classes[] = {
    { "DonutImageProcessor", 0, 2560, 1920, 0, NC_BILINEAR, NC_COLORS_HALF, false, true, true, false },
    { "NougatImageProcessor", 0, 896, 672, 0, NC_BILINEAR, NC_COLORS_IMAGENET, false, true, true, false },
    { 0 },
};

static int parse(nc_processor *p, const nc_json *config, const char *file, nc_error *e)
{
    p->rotate = nc_json_bool(nc_json_get(config, "do_align_long_axis"), false);
    p->thumbnail = nc_json_bool(nc_json_get(config, "do_thumbnail"), true);
    p->flag = nc_json_bool(nc_json_get(config, "do_crop_margin"), p->row == &classes[1]);
    return p->height ? 0 : nc_fail(e, NC_EFORMAT, "%s: size needs height and width", file);
}

/* ITU-R 601 luma in 16 fractional bits, as Pillow's convert("L"). */
static int grey(const uint8_t *q) { return (19595 * q[0] + 38470 * q[1] + 7471 * q[2] + 32768) >> 16; }

static int cut_margin(nc_image *im, nc_error *e)
{
    const size_t n = (size_t)im->width * (size_t)im->height;
    int low = 255, high = 0, x0 = im->width, x1 = -1, y0 = im->height, y1 = -1;
    nc_image inner;

    for (size_t i = 0; i < n; i++) {
        const int v = grey(im->pixels + 3 * i);
        low = v < low ? v : low;
        high = v > high ? v : high;
    }
    if (low == high)
        return 0;
    for (size_t i = 0; i < n; i++) {
        const int x = (int)(i % (size_t)im->width), y = (int)(i / (size_t)im->width);
        if ((double)(grey(im->pixels + 3 * i) - low) / (high - low) * 255 >= 200)
            continue;
        x0 = x < x0 ? x : x0;
        x1 = x > x1 ? x : x1;
        y0 = y < y0 ? y : y0;
        y1 = y > y1 ? y : y1;
    }
    NC_TRY(nc_crop(im, x0, y0, x1 - x0 + 1, y1 - y0 + 1, NULL, &inner, e));
    nc_step_replace(im, &inner);
    return 0;
}

static int thumbnail(const nc_processor *p, nc_image *im, nc_error *e)
{
    int h = im->height < p->height ? im->height : p->height, w = im->width < p->width ? im->width : p->width;
    nc_image next;

    if (h == im->height && w == im->width)
        return 0;
    if (im->height > im->width)
        w = (int)((int64_t)im->width * h / im->height);
    else if (im->width > im->height)
        h = (int)((int64_t)im->height * w / im->width);
    /* Donut scales by its own filter; Nougat by Image.thumbnail's defaults, bicubic with a gap of 2. */
    if (p->row == &classes[1])
        NC_TRY(nc_resize_gap(im, w, h, NC_BICUBIC, 2.0, &next, e));
    else
        NC_TRY(nc_step_resize(p, im, h, w, &next, e));
    nc_step_replace(im, &next);
    return 0;
}

static int prepare(const nc_processor *p, nc_image *im, nc_error *e)
{
    nc_image next;

    if (p->flag)
        NC_TRY(cut_margin(im, e));
    if (p->rotate && ((p->width < p->height && im->width > im->height) || (p->width > p->height && im->width < im->height)))
        NC_TRY(nc_image_orient(im, 6, e));                     /* a quarter turn clockwise */
    if (p->do_resize) {
        NC_TRY(nc_step_shortest(p, im, p->height < p->width ? p->height : p->width, &next, e));
        nc_step_replace(im, &next);
    }
    if (p->thumbnail)
        NC_TRY(thumbnail(p, im, e));
    if (p->do_pad && im->height <= p->height && im->width <= p->width) {
        NC_TRY(nc_crop(im, -((p->width - im->width) / 2), -((p->height - im->height) / 2), p->width, p->height, NULL, &next, e));
        nc_step_replace(im, &next);
    }
    return 0;
}

static int run_images(const nc_processor *p, nc_arena *a, const nc_image *images, int count, nc_features *out, nc_error *e)
{
    nc_image *work = nc_xcalloc((size_t)count, sizeof *work);
    int code = 0;
    for (int i = 0; i < count && code == 0; i++) {
        code = nc_image_copy(&images[i], &work[i], e);
        if (code == 0)
            code = prepare(p, &work[i], e);
    }
    if (code == 0)
        code = nc_emit_pictures(p, a, work, count, "pixel_values", 1, (int64_t[]){ count }, out, e);
    for (int i = 0; i < count; i++)
        nc_image_free(&work[i]);
    free(work);
    return code;
}

const nc_processor_family nc_processor_document = { classes, "do_align_long_axis do_thumbnail do_crop_margin", parse, run_images, NULL, false };

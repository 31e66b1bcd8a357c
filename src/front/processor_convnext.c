/* processor_convnext.c - ConvNeXt and EfficientNet.
 *
 * ConvNeXt below 384: short side to size / crop_pct, then the middle; from 384 on both sides are set without keeping the aspect.
 * EfficientNet with include_top divides by std a second time: y = ((v - mean) / std) / std.
 */
#include "front/processor_family.h"
#include <stdlib.h>
#include <string.h>

static const nc_processor_class_row classes[] = {
    { "ConvNextImageProcessor", 384, 0, 0, 0, NC_BICUBIC, NC_COLORS_HALF, false, true, false, false },
    { "EfficientNetImageProcessor", 0, 346, 346, 289, NC_NEAREST, NC_COLORS_HALF, false, true, false, false },
    { 0 },
};

static int parse(nc_processor *p, const nc_json *config, const char *file, nc_error *e)
{
    const nc_json *pct = nc_json_get(config, "crop_pct");
    p->crop_pct = pct ? nc_json_double(pct, 0) : 224.0 / 256;
    if (!(p->crop_pct > 0 && p->crop_pct <= 1))
        return nc_fail(e, NC_EFORMAT, "%s: crop_pct must lie in (0, 1]", file);
    p->flag = nc_json_bool(nc_json_get(config, "include_top"), true);
    if (nc_json_bool(nc_json_get(config, "rescale_offset"), false))
        return nc_fail(e, NC_EUNSUPPORTED, "%s: rescale_offset true is not known here", file);
    return 0;
}

static int convnext_size(const nc_processor *p, nc_image *im, nc_error *e)
{
    nc_image next;
    if (!p->shortest)
        return nc_fail(e, NC_EINVAL, "size needs shortest_edge");
    if (p->shortest >= 384) {
        NC_TRY(nc_step_resize(p, im, p->shortest, p->shortest, &next, e));
    } else {
        NC_TRY(nc_step_shortest(p, im, (int)(p->shortest / p->crop_pct), &next, e));
        nc_step_replace(im, &next);
        NC_TRY(nc_step_center_crop(im, p->shortest, p->shortest, &next, e));
    }
    nc_step_replace(im, &next);
    return 0;
}

static int run_images(const nc_processor *p, nc_arena *a, const nc_image *images, int count, nc_features *out, nc_error *e)
{
    const bool convnext = p->row == &classes[0];
    nc_image *work = nc_xcalloc((size_t)count, sizeof *work);
    int code = 0;
    for (int i = 0; i < count && code == 0; i++) {
        code = nc_image_copy(&images[i], &work[i], e);
        if (code == 0)
            code = convnext && p->do_resize ? convnext_size(p, &work[i], e) : nc_step_size(p, &work[i], e);
    }
    if (code == 0)
        code = nc_emit_pictures(p, a, work, count, "pixel_values", 1, (int64_t[]){ count }, out, e);
    if (code == 0 && !convnext && p->flag) {
        nc_feature *f = &out->item[0];
        const size_t plane = (size_t)(f->shape[2] * f->shape[3]);
        for (size_t i = 0; i < (size_t)count * 3 * plane; i++)
            f->f32[i] /= (float)p->std[i / plane % 3];
        out->u8 = NULL;
    }
    for (int i = 0; i < count; i++)
        nc_image_free(&work[i]);
    free(work);
    return code;
}

const nc_processor_family nc_processor_convnext = { classes, "crop_pct include_top rescale_offset", parse, run_images, NULL, false };

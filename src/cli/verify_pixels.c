/* verify_pixels.c - the folder's processor on the pictures beside it.
 *
 *   in.pixel_values_pil   Pillow's path, exact to the byte before rescaling; kept where it is far from
 *   in.pixel_values       torchvision's: at most 0.03 after normalization
 *   in.pixel_mask         which pixels are a picture's own
 */
#include <math.h>

#include "base/file.h"
#include "cli/verify.h"
#include "media/image.h"

static int process(nc_verify *v, const nc_json *names, nc_features *out, nc_error *e)
{
    nc_image *images = NC_NEW_ARRAY(v->arena, nc_image, names->count + 1);
    int status = 0, count = 0;
    for (; count < names->count && status == 0; count += status == 0)
        status = nc_image_load(nc_path_join(v->arena, v->folder, nc_json_string(nc_json_at(names, count), "")), NULL, &images[count], e);
    if (status == 0)
        status = nc_processor_images(v->f32->image, v->arena, images, count, out, e);
    for (int i = 0; i < count; i++)
        nc_image_free(&images[i]);
    return status;
}

static bool same_shape(const nc_stored *t, const nc_feature *f)
{
    bool same = f && t->shape.rank == f->rank;
    for (int i = 0; same && i < f->rank; i++)
        same = t->shape.dim[i] == f->shape[i];
    return same;
}

static void compare_values(nc_verify *v, const char *name, const nc_feature *ours, double limit)
{
    const nc_stored *want = nc_verify_tensor(v, "%s", name);
    double worst = 0;
    bool same = same_shape(want, ours);
    for (int64_t i = 0; same && i < nc_shape_count(&want->shape); i++)
        worst = nc_worse(worst, fabs(nc_dtype_load(want->dtype, want->data, i) - (double)ours->f32[i]));
    nc_verify_add(v, name, same ? worst : INFINITY, same ? worst : INFINITY, limit, same ? "absolute, from the pictures" : "another shape");
}

static void compare_mask(nc_verify *v, const nc_feature *ours)
{
    const nc_stored *want = nc_verify_tensor(v, "in.pixel_mask");
    bool same = same_shape(want, ours);
    double wrong = 0;
    for (int64_t i = 0; same && i < nc_shape_count(&want->shape); i++)
        wrong += (nc_dtype_load(want->dtype, want->data, i) != 0) != (ours->i64[i] != 0);
    nc_verify_add(v, "in.pixel_mask", same ? wrong : INFINITY, same ? wrong : INFINITY, 0, same ? "pixels that differ" : "another shape");
}

int nc_verify_pixels(nc_verify *v, nc_error *e)
{
    const nc_json *names = nc_json_get(v->golden, "images");
    nc_features f = { 0 };
    if (!v->f32->image || !names || !names->count)
        return 0;
    NC_JSON_EACH(name, names)
        if (!nc_file_exists(nc_path_join(v->arena, v->folder, nc_json_string(name, "?"))))
            return 0;
    NC_TRY(process(v, names, &f, e));
    const nc_feature *pixels = nc_features_get(&f, "pixel_values"), *mask = nc_features_get(&f, "pixel_mask");
    if (!pixels || !pixels->f32)
        return 0;
    if (nc_verify_has(v, "in.pixel_values_pil"))
        compare_values(v, "in.pixel_values_pil", pixels, 1e-6);
    else
        compare_values(v, "in.pixel_values", pixels, 0.03);
    if (mask && nc_verify_has(v, "in.pixel_mask"))
        compare_mask(v, mask);
    return 0;
}

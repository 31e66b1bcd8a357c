/* detect.c - see detect.h. */
#include "infer/detect.h"

#include <stdio.h>
#include <stdlib.h>

struct nc_detector { nc_loaded *loaded; nc_pool *pool; nc_picture_plans *plans; char name[32]; };

int nc_detector_open(const char *folder_or_id, const char *dtype, int threads, nc_detector **out, nc_error *e)
{
    nc_dtype t = NC_F32;
    if (dtype && (nc_dtype_parse(dtype, &t) < 0 || (t != NC_F32 && t != NC_BF16)))
        return nc_fail(e, NC_EINVAL, "dtype %s: f32 or bf16 was expected", dtype);
    nc_detector *d = nc_xcalloc(1, sizeof *d);
    d->pool = nc_pool_new(threads);
    nc_load_options o = { .weights = { t, true, d->pool, nc_kernels_best() } };
    int status = nc_load(folder_or_id, &o, &d->loaded, e);
    if (status == 0 && nc_detr_queries(d->loaded->model) < 0)
        status = nc_fail(e, NC_EUNSUPPORTED, "%s: a %s finds no objects; a detr was expected", folder_or_id, d->loaded->model->family->name);
    if (status == 0 && !d->loaded->image)
        status = nc_fail(e, NC_ENOTFOUND, "%s: no preprocessor_config.json", folder_or_id);
    if (status < 0) {
        nc_detector_close(d);
        return status;
    }
    d->plans = nc_picture_plans_new(d->loaded, t, d->pool, nc_kernels_best());
    *out = d;
    return 0;
}

void nc_detector_close(nc_detector *d)
{
    if (!d)
        return;
    nc_picture_plans_free(d->plans);
    nc_loaded_free(d->loaded);
    nc_pool_free(d->pool);
    free(d);
}

static int best_first(const void *a, const void *b)
{
    const nc_detection *x = a, *y = b;
    return x->score > y->score ? -1 : x->score < y->score;
}

int nc_detect(nc_detector *d, nc_arena *a, const nc_image *picture, double threshold, nc_detection **found, int *count, nc_error *e)
{
    const nc_model *m = d->loaded->model;
    const int queries = nc_detr_queries(m);
    nc_features f = { 0 };
    nc_shape shape;
    NC_TRY(nc_processor_images(d->loaded->image, a, picture, 1, &f, e));
    const nc_feature *v = nc_features_get(&f, "pixel_values");
    if (!v || v->rank != 4 || !v->f32)
        return nc_fail(e, NC_EUNSUPPORTED, "%s: its processor gives no pictures a detector takes", d->loaded->folder);
    const nc_pixels pixels = { .data = v->f32, (int)v->shape[1], (int)v->shape[2], (int)v->shape[3] };
    NC_TRY(nc_picture_plans_run(d->plans, &pixels, 1, e));
    const float *logits = nc_picture_plans_floats(d->plans, a, "logits", &shape), *boxes = nc_picture_plans_floats(d->plans, a, "pooled", &shape);
    *found = NC_NEW_ARRAY(a, nc_detection, queries + 1);
    *count = nc_detections(logits, boxes, queries, m->labels.count, threshold, picture->height, picture->width, *found);
    qsort(*found, (size_t)*count, sizeof **found, best_first);
    return 0;
}

const nc_model *nc_detector_model(const nc_detector *d) { return d->loaded->model; }

const char *nc_detector_label(const nc_detector *d, int label)
{
    char key[16];
    snprintf(key, sizeof key, "%d", label);
    snprintf(((nc_detector *)(uintptr_t)d)->name, sizeof d->name, "LABEL_%d", label);
    return nc_json_string(nc_json_get(nc_json_get(d->loaded->config, "id2label"), key), d->name);
}

/* picture_encoder.c - see picture_encoder.h. */
#include "infer/picture_encoder.h"

#include <stdlib.h>

struct nc_picture_encoder {
    nc_loaded *loaded;
    nc_pool *pool;
    nc_dtype compute;
    nc_program *program;
    nc_batch *batch;
    nc_arena *scratch;               /* of the picture at hand */
    nc_vision_info info;             /* zero for nets without patches */
    int height, width;               /* the program's */
};

static bool reads_pictures(const nc_family *f) { return f->encode && !f->reads_text; }

int nc_picture_encoder_open(const char *folder, nc_dtype compute, int threads, nc_picture_encoder **out, nc_error *e)
{
    nc_picture_encoder *x = nc_xcalloc(1, sizeof *x);
    x->pool = nc_pool_new(threads);
    x->compute = compute;
    x->batch = nc_batch_new();
    nc_load_options load = { .weights = { compute, true, x->pool, nc_kernels_best() } };
    int status = nc_load(folder, &load, &x->loaded, e);
    if (status == 0 && !reads_pictures(x->loaded->model->family))
        status = nc_fail(e, NC_EUNSUPPORTED, "%s: a %s makes no vectors of pictures", folder, x->loaded->model->family->name);
    if (status == 0 && !x->loaded->image)
        status = nc_fail(e, NC_ENOTFOUND, "%s: no preprocessor_config.json; pictures cannot be read without one", folder);
    if (status < 0) {
        nc_picture_encoder_free(x);
        return status;
    }
    const nc_family *f = x->loaded->model->family;
    if (f->vision_info)
        f->vision_info(x->loaded->model->self, &x->info);
    *out = x;
    return 0;
}

void nc_picture_encoder_free(nc_picture_encoder *x)
{
    if (!x)
        return;
    nc_program_free(x->program);
    nc_batch_free(x->batch);
    nc_loaded_free(x->loaded);
    nc_pool_free(x->pool);
    if (x->scratch)
        nc_arena_free(x->scratch);
    free(x);
}

nc_loaded *nc_picture_encoder_loaded(const nc_picture_encoder *x) { return x->loaded; }

static int pixels_of(nc_picture_encoder *x, const nc_image *image, nc_pixels *out, nc_error *e)
{
    nc_features f;
    NC_TRY(nc_processor_images(x->loaded->image, x->scratch, image, 1, &f, e));
    const nc_feature *p = nc_features_get(&f, "pixel_values"), *grid = nc_features_get(&f, "spatial_shapes");
    if (p && p->f32 && p->rank == 4 && p->shape[0] == 1) {
        *out = (nc_pixels){ .data = p->f32, (int)p->shape[1], (int)p->shape[2], (int)p->shape[3] };
        return 0;
    }
    if (!p || !p->f32 || p->rank != 3 || !grid || !grid->i64 || !x->info.channels_last)
        return nc_fail(e, NC_EUNSUPPORTED, "%s: its processor (%s) does not give one grid of pixels a picture", x->loaded->folder, nc_processor_class(x->loaded->image));
    int down = (int)grid->i64[0], across = (int)grid->i64[1], size = x->info.patch_size;
    if (p->shape[2] != (int64_t)size * size * x->info.channels || (int64_t)down * across > p->shape[1])
        return nc_fail(e, NC_ESHAPE, "%s: the processor's patches have %lld values, the model's %d x %d x %d", x->loaded->folder, (long long)p->shape[2], size, size, x->info.channels);
    float *picture = NC_NEW_ARRAY(x->scratch, float, (int64_t)down * across * p->shape[2]);
    nc_picture_of_patches(p->f32, down, across, size, x->info.channels, picture);
    *out = (nc_pixels){ .data = picture, x->info.channels, down * size, across * size };
    return 0;
}

static int make_program(nc_picture_encoder *x, const nc_pixels *p, nc_error *e)
{
    const nc_model *m = x->loaded->model;
    bool other = x->info.image_size > 0 && (p->height != x->info.image_size || p->width != x->info.image_size);
    nc_encoded out = { 0 };
    nc_program_free(x->program);
    x->program = nc_program_new(&(nc_program_options){ .compute = x->compute, .any_size = other, .picture_height = p->height, .picture_width = p->width });
    nc_build *b = nc_program_build(x->program);
    nc_build_capacities(b, x->batch);
    m->family->encode(m, m->self, b, NC_PICTURES, &out);
    nc_value *const values[] = { out.rows, out.pooled, out.logits };
    static const char *const names[] = { "rows", "pooled", "logits" };
    for (int i = 0; i < NC_COUNT(values); i++)
        if (values[i])
            nc_build_keep(b, nc_cast(b->g, values[i], NC_F32), names[i]);
    int status = nc_program_finish(x->program, NULL, nc_pool_threads(x->pool), e);
    if (status == 0)
        status = nc_program_allocate(x->program, NULL, e);
    if (status < 0) {
        nc_program_free(x->program);
        x->program = NULL;
        return status;
    }
    x->height = p->height;
    x->width = p->width;
    return 0;
}

/* A map [1,C,H,W] as rows of cells. */
static const float *cells_of(nc_picture_encoder *x, const nc_value *v)
{
    const int64_t C = v->shape.dim[1], n = v->shape.dim[2] * v->shape.dim[3];
    const float *map = v->data;
    float *out = NC_NEW_ARRAY(x->scratch, float, C * n);
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < C; c++)
            out[i * C + c] = map[c * n + i];
    return out;
}

static void read_out(nc_picture_encoder *x, const nc_pixels *p, nc_picture_code *out)
{
    const nc_value *rows = nc_program_value(x->program, "rows"), *pooled = nc_program_value(x->program, "pooled"), *logits = nc_program_value(x->program, "logits");
    *out = (nc_picture_code){ 0 };
    if (pooled) {
        out->vector = pooled->data;
        out->width = (int)(nc_shape_count(&pooled->shape) / pooled->shape.dim[0]);
    }
    if (logits) {
        out->logits = logits->data;
        out->labels = (int)nc_shape_last(&logits->shape);
    }
    if (rows && rows->shape.rank == 4) {
        out->patch = cells_of(x, rows);
        out->down = (int)rows->shape.dim[2];
        out->across = (int)rows->shape.dim[3];
        out->patch_width = (int)rows->shape.dim[1];
    } else if (rows && x->info.patch_size > 0) {
        out->patch_width = (int)nc_shape_last(&rows->shape);
        out->patch = (const float *)rows->data + (int64_t)(x->info.class_rows + x->info.register_rows) * out->patch_width;
        out->down = p->height / x->info.patch_size;
        out->across = p->width / x->info.patch_size;
    }
}

int nc_picture_encoder_run(nc_picture_encoder *x, const nc_image *image, nc_picture_code *out, nc_error *e)
{
    nc_pixels p;
    nc_media media = { .kind = NC_MEDIA_IMAGE, .frames = &p, .count = 1 };
    nc_seq seq = { .slot = -1, .media = &media, .media_count = 1 };
    if (x->scratch)
        nc_arena_free(x->scratch);
    x->scratch = nc_arena_new();
    NC_TRY(pixels_of(x, image, &p, e));
    NC_TRY(nc_model_prepare(x->loaded->model, x->batch, &seq, 1, e));
    if (!x->program || p.height != x->height || p.width != x->width)
        NC_TRY(make_program(x, &p, e));
    NC_TRY(nc_program_run(x->program, x->batch, &(nc_run_options){ .pool = x->pool, .kernels = nc_kernels_best() }, e));
    read_out(x, &p, out);
    return 0;
}

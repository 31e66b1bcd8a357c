/* verify_pair.c - CLIP, SigLIP and SigLIP 2: both towers, the compared vectors, the contrastive loss and its training. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/verify.h"

struct pairs { nc_seq *seq; nc_media *media; nc_pixels *pixels; bool *padded, *padded_patch; int count; int64_t width, patches; };     /* patches: slots of each picture, 0: no padding */

/* NaFlex: rows of patches padded to one number, and each picture's grid. */
static int gather_patches(nc_verify *v, const nc_stored *pixels, struct pairs *out, nc_error *e)
{
    const nc_stored *shapes = nc_verify_has(v, "in.spatial_shapes") ? nc_verify_tensor(v, "in.spatial_shapes") : NULL;
    nc_vision_info info = { 0 };
    const nc_site *patch = nc_model_site(v->f32->model, "vision_model.embeddings.patch_embedding.weight");
    int64_t slots = pixels->shape.dim[1], width = pixels->shape.dim[2];
    while (patch && (info.patch_size + 1) * (info.patch_size + 1) * 3 <= width)
        info.patch_size++;
    if (!shapes || shapes->shape.rank != 2 || shapes->shape.dim[0] != out->count || shapes->shape.dim[1] != 2 || info.patch_size * info.patch_size * 3 != width)
        return nc_fail(e, NC_EFORMAT, "%s: in.pixel_values as patches needs in.spatial_shapes [pictures, 2]", v->folder);
    int32_t *grid = nc_verify_ints(v->arena, shapes);
    out->patches = slots;
    out->padded_patch = NC_NEW_ARRAY(v->arena, bool, out->count * slots + 1);
    for (int i = 0; i < out->count; i++) {
        int down = grid[2 * i], across = grid[2 * i + 1];
        if (down < 1 || across < 1 || down > slots || across > slots || (int64_t)down * across > slots)
            return nc_fail(e, NC_EFORMAT, "%s: a grid of %d x %d in %lld slots", v->folder, down, across, (long long)slots);
        float *picture = NC_NEW_ARRAY(v->arena, float, down * across * width);
        nc_picture_of_patches((const float *)pixels->data + i * slots * width, down, across, info.patch_size, 3, picture);
        out->pixels[i] = (nc_pixels){ .data = picture, 3, down * info.patch_size, across * info.patch_size };
        for (int64_t j = down * across; j < slots; j++)
            out->padded_patch[i * slots + j] = true;
    }
    return 0;
}

static int gather(nc_verify *v, const char *ids_name, struct pairs *out, nc_error *e)
{
    const nc_stored *ids = nc_verify_tensor(v, "%s", ids_name), *mask = nc_safetensors_find(v->tensors, "in.attention_mask"), *pixels = nc_verify_tensor(v, "in.pixel_values");
    if (!ids || !pixels || ids->shape.rank != 2 || pixels->dtype != NC_F32 || (pixels->shape.rank != 4 && pixels->shape.rank != 3) || pixels->shape.dim[0] != ids->shape.dim[0])
        return nc_fail(e, NC_EFORMAT, "%s: no ids or pixels to run", v->folder);
    int n = (int)ids->shape.dim[0], width = (int)ids->shape.dim[1];
    const int64_t *dim = pixels->shape.dim;
    int32_t *all = nc_verify_ints(v->arena, ids);
    *out = (struct pairs){ .seq = NC_NEW_ARRAY(v->arena, nc_seq, n), .media = NC_NEW_ARRAY(v->arena, nc_media, n), .pixels = NC_NEW_ARRAY(v->arena, nc_pixels, n),
                           .padded = NC_NEW_ARRAY(v->arena, bool, n * width), .count = n, .width = width };
    if (pixels->shape.rank == 3)
        NC_TRY(gather_patches(v, pixels, out, e));
    for (int i = 0; i < n; i++) {
        int live = width;
        for (int j = 0; mask && j < width; j++)
            if (nc_dtype_load(mask->dtype, mask->data, i * width + j) == 0) {
                out->padded[i * width + j] = true;
                live = j < live ? j : live;
            }
        if (!out->patches)
            out->pixels[i] = (nc_pixels){ .data = (const float *)pixels->data + i * dim[1] * dim[2] * dim[3], (int)dim[1], (int)dim[2], (int)dim[3] };
        out->media[i] = (nc_media){ .kind = NC_MEDIA_IMAGE, .frames = &out->pixels[i], .count = 1 };
        out->seq[i] = (nc_seq){ .ids = all + i * width, .count = live, .slot = -1, .media = &out->media[i], .media_count = 1 };
    }
    return 0;
}

/* The program over a batch already prepared. */
static int run(nc_verify *v, const struct pairs *s, bool train, bool any_size, nc_program **out, nc_batch *batch, nc_error *e)
{
    nc_model *m = v->f32->model;
    nc_program *p = nc_program_new(&(nc_program_options){ .compute = NC_F32, .training = train, .probes = true, .any_size = any_size });
    nc_build *b = nc_program_build(p);
    nc_build_capacity(b, "tokens", nc_batch_count(batch, "tokens"));
    nc_build_capacity(b, "patches", nc_batch_count(batch, "patches"));
    nc_build_capacity(b, "vision", nc_batch_count(batch, "vision"));
    nc_build_fixed(b, "pictures", s->count);
    nc_value *loss = nc_probe(b, m->family->outputs(m, m->self, b), "loss");
    int status = nc_program_finish(p, train ? loss : NULL, nc_pool_threads(v->pool), e);
    if (status == 0)
        status = nc_program_allocate(p, NULL, e);
    if (status == 0)
        status = nc_program_run(p, batch, &(nc_run_options){ .pool = v->pool, .kernels = v->kernels }, e);
    if (status < 0) {
        nc_program_free(p);
        return status;
    }
    *out = p;
    return 0;
}

/* Rows are packed without padding: spread them over the reference's padded ones before comparing. */
static float *spread(nc_verify *v, const bool *padded, int64_t rows, const float *packed, int64_t columns)
{
    float *out = NC_NEW_ARRAY(v->arena, float, rows * columns + 1);
    for (int64_t i = 0; i < rows; i++)
        if (!padded[i]) {
            memcpy(out + i * columns, packed, sizeof *out * (size_t)columns);
            packed += columns;
        }
    return out;
}

static void compare(nc_verify *v, nc_program *p, const struct pairs *s)
{
    for (int i = 0; i < nc_program_probes(p); i++) {
        const char *name = nc_program_probe_name(p, i);
        const nc_stored *want = strcmp(name, "loss") && nc_verify_has(v, name) ? nc_verify_tensor(v, "%s", name) : NULL;
        int64_t n = 0;
        if (!want)
            continue;
        float *ours = nc_verify_probe(v->arena, p, name, &n);
        int64_t columns = nc_shape_last(&want->shape), count = nc_shape_count(&want->shape);
        bool text = nc_starts_with(name, "hidden.text.") || !strcmp(name, "out.text.last_hidden_state");
        bool patch = s->patches && (nc_starts_with(name, "hidden.vision.") || !strcmp(name, "out.last_hidden_state"));
        const bool *padded = text ? s->padded : patch ? s->padded_patch : NULL;
        if (padded)
            nc_verify_compare(v, name, want, spread(v, padded, count / columns, ours, columns), count, 2e-5, padded, columns);
        else
            nc_verify_compare(v, name, want, ours, n, 2e-5, NULL, 1);
    }
}

/* Text pooled at the largest id, as files whose config says eos_token_id 2 mean it. */
static int check_legacy(nc_verify *v, nc_batch *batch, nc_error *e)
{
    struct pairs s;
    nc_program *p = NULL;
    NC_TRY(gather(v, "legacy.input_ids", &s, e));
    nc_model *m = v->f32->model;
    NC_TRY(nc_model_prepare(m, batch, s.seq, s.count, e));
    int32_t *pooled = nc_batch_find(batch, "pool.text")->data, row = 0;
    for (int i = 0; i < s.count; i++) {
        int best = 0;
        for (int j = 0; j < s.seq[i].count; j++)
            best = s.seq[i].ids[j] > s.seq[i].ids[best] ? j : best;
        pooled[i] = row + best;
        row += s.seq[i].count;
    }
    NC_TRY(run(v, &s, false, false, &p, batch, e));
    int64_t n = 0;
    float *ours = nc_verify_probe(v->arena, p, "out.text.pooled", &n);
    nc_verify_compare(v, "legacy.text.pooled", nc_verify_tensor(v, "legacy.text.pooled"), ours, n, 2e-5, NULL, 1);
    nc_program_free(p);
    return 0;
}

/* One picture of another size, with any text beside it. */
static int check_interpolated(nc_verify *v, const struct pairs *all, nc_batch *batch, nc_error *e)
{
    const nc_stored *pixels = nc_verify_tensor(v, "interp.pixel_values");
    static const char *const names[][2] = { { "out.last_hidden_state", "interp.last_hidden_state" }, { "out.pooled", "interp.pooled" } };
    nc_program *p = NULL;
    nc_pixels picture = { .data = pixels->data, (int)pixels->shape.dim[1], (int)pixels->shape.dim[2], (int)pixels->shape.dim[3] };
    nc_media media = { .kind = NC_MEDIA_IMAGE, .frames = &picture, .count = 1 };
    nc_seq seq = { .ids = all->seq[0].ids, .count = all->seq[0].count, .slot = -1, .media = &media, .media_count = 1 };
    struct pairs one = { .seq = &seq, .media = &media, .pixels = &picture, .count = 1, .width = seq.count };
    NC_TRY(nc_model_prepare(v->f32->model, batch, one.seq, 1, e));
    NC_TRY(run(v, &one, false, true, &p, batch, e));
    for (int i = 0; i < NC_COUNT(names); i++) {
        int64_t n = 0;
        float *ours = nc_verify_probe(v->arena, p, names[i][0], &n);
        if (nc_verify_has(v, names[i][1]))
            nc_verify_compare(v, names[i][1], nc_verify_tensor(v, "%s", names[i][1]), ours, n, 2e-5, NULL, 1);
    }
    nc_program_free(p);
    return 0;
}

static int build(nc_verify *v, const struct pairs *s, bool train, nc_program **out, nc_batch *batch, nc_error *e)
{
    NC_TRY(nc_model_prepare(v->f32->model, batch, s->seq, s->count, e));
    return run(v, s, train, false, out, batch, e);
}

static int run_all(nc_verify *v, nc_error *e)
{
    struct pairs s;
    nc_batch *batch = nc_batch_new();
    nc_program *p = NULL;
    int status = gather(v, "in.input_ids", &s, e);
    if (status == 0)
        status = build(v, &s, false, &p, batch, e);
    if (status == 0)
        compare(v, p, &s);
    nc_program_free(p);
    if (status == 0 && nc_verify_has(v, "legacy.input_ids"))
        status = check_legacy(v, batch, e);
    if (status == 0 && nc_verify_has(v, "interp.pixel_values"))
        status = check_interpolated(v, &s, batch, e);
    if (status == 0 && nc_verify_has(v, "loss"))
        status = build(v, &s, true, &v->program, batch, e);
    if (status == 0 && v->program)
        status = nc_verify_train(v, v->program, batch, e);
    nc_batch_free(batch);
    return status;
}

static bool takes(const nc_verify *v)
{
    return v->f32->model->family->outputs != NULL && nc_verify_has(v, "in.input_ids") && nc_verify_has(v, "in.pixel_values");
}

const nc_verify_kind nc_verify_kind_pair = { "pair", takes, run_all };

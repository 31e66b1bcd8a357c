/* verify_media.c - vision-language models: pixels from the pictures beside the checkpoint, the tower's and the decoder's rows, training on the answer, greedy text. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "cli/verify.h"

enum { MAX_MEDIA = 8 };
struct media { nc_media item[MAX_MEDIA]; int count, pictures, images; };     /* pictures: what the tower's work is counted in */

static void add(nc_verify *v, struct media *m, const nc_stored *t, int kind, int first, int frames)
{
    const nc_stored *sizes = nc_verify_tensor(v, "in.image_sizes");
    int rank = t->shape.rank;
    int64_t c = t->shape.dim[rank - 3], h = t->shape.dim[rank - 2], w = t->shape.dim[rank - 1];
    nc_pixels *p = NC_NEW_ARRAY(v->arena, nc_pixels, frames);
    for (int i = 0; i < frames; i++)
        p[i] = (nc_pixels){ (const float *)t->data + (first + i) * c * h * w, (int)c, (int)h, (int)w };
    nc_media *item = &m->item[m->count++];
    *item = (nc_media){ .kind = kind, .frames = p, .count = frames };
    if (sizes && kind == NC_MEDIA_IMAGE && m->images < sizes->shape.dim[0]) {
        item->original_height = (int)nc_dtype_load(sizes->dtype, sizes->data, 2 * m->images);
        item->original_width = (int)nc_dtype_load(sizes->dtype, sizes->data, 2 * m->images + 1);
        m->images++;
    }
    m->pictures += frames;
}

/* Pictures as patches: medium k of a kind, whose grids (steps in time, rows, columns) say which rows of [patches, values] are its. */
static int add_patches(nc_verify *v, struct media *m, int kind, int k, nc_error *e)
{
    const char *grids_name = kind == NC_MEDIA_VIDEO ? "in.video_grid_thw" : "in.image_grid_thw";
    const nc_stored *t = nc_verify_tensor(v, kind == NC_MEDIA_VIDEO ? "in.pixel_values_videos" : "in.pixel_values"), *grids = nc_verify_tensor(v, "%s", grids_name);
    const nc_stored *seconds = nc_verify_tensor(v, "in.second_per_grid_ts");
    int64_t first = 0, grid[3] = { 0 };
    if (!grids || grids->shape.rank != 2 || k >= grids->shape.dim[0] || t->shape.dim[1] % 3)
        return nc_fail(e, NC_EFORMAT, "%s: golden.json names more media than %s has grids", v->folder, grids_name);
    for (int i = 0; i <= k; i++) {
        first += grid[0] * grid[1] * grid[2];
        for (int j = 0; j < 3; j++)
            grid[j] = (int64_t)nc_dtype_load(grids->dtype, grids->data, 3 * i + j);
    }
    int64_t width = t->shape.dim[1], rows = grid[1] * grid[2];
    if (first + grid[0] * rows > t->shape.dim[0])
        return nc_fail(e, NC_EFORMAT, "%s: the grids have more patches than there are", v->folder);
    nc_pixels *p = NC_NEW_ARRAY(v->arena, nc_pixels, grid[0] + 1);
    for (int i = 0; i < grid[0]; i++)
        p[i] = (nc_pixels){ (const float *)t->data + (first + i * rows) * width, 3, (int)rows, (int)(width / 3) };
    nc_media *item = &m->item[m->count++];
    *item = (nc_media){ .kind = kind, .frames = p, .count = (int)grid[0], .grid_height = (int)grid[1], .grid_width = (int)grid[2] };
    if (kind == NC_MEDIA_VIDEO && seconds && k < nc_shape_count(&seconds->shape))
        item->seconds_per_grid = (float)nc_dtype_load(seconds->dtype, seconds->data, k);
    m->pictures += (int)nc_media_units(item);
    return 0;
}

/* Picture k of [pictures, tiles, 3, H, W]; the tensor is filled up with zero tiles where pictures have fewer. */
static void add_tiles(nc_verify *v, struct media *m, const nc_stored *t, int k)
{
    int most = (int)t->shape.dim[1], tiles = most;
    int64_t size = t->shape.dim[2] * t->shape.dim[3] * t->shape.dim[4];
    const float *p = (const float *)t->data + k * most * size;
    while (tiles > 1) {
        const float *last = p + (tiles - 1) * size;
        int64_t i = 0;
        while (i < size && last[i] == 0)
            i++;
        if (i < size)
            break;
        tiles--;
    }
    add(v, m, t, NC_MEDIA_IMAGE, k * most, tiles);
}

/* Media in the order the messages name them. Pictures of one tensor follow each other; a video is one tensor [1, frames, 3, H, W]. */
static int gather(nc_verify *v, struct media *m, nc_error *e)
{
    const nc_stored *images = nc_verify_tensor(v, "in.pixel_values"), *videos = nc_verify_tensor(v, "in.pixel_values_videos");
    int image = 0, video = 0, images_left = images ? (int)images->shape.dim[0] : 0;
    *m = (struct media){ 0 };
    NC_JSON_EACH(message, nc_json_get(v->golden, "messages"))
        NC_JSON_EACH(part, nc_json_get(message, "content")) {
            const char *type = nc_json_string(nc_json_get(part, "type"), "");
            if (m->count == MAX_MEDIA)
                return nc_fail(e, NC_ELIMIT, "%s: more than %d media", v->folder, MAX_MEDIA);
            if (!strcmp(type, "image") && image < images_left && images->shape.rank == 4)
                add(v, m, images, NC_MEDIA_IMAGE, image++, 1);
            else if (!strcmp(type, "image") && image < images_left && images->shape.rank == 5)
                add_tiles(v, m, images, image++);
            else if (!strcmp(type, "image") && images && images->shape.rank == 2)
                NC_TRY(add_patches(v, m, NC_MEDIA_IMAGE, image++, e));
            else if (!strcmp(type, "video") && videos && videos->shape.rank == 2)
                NC_TRY(add_patches(v, m, NC_MEDIA_VIDEO, video++, e));
            else if (!strcmp(type, "video") && videos && videos->shape.rank == 5)
                add(v, m, videos, NC_MEDIA_VIDEO, 0, (int)videos->shape.dim[1]);
            else if (strcmp(type, "text"))
                return nc_fail(e, NC_EFORMAT, "%s: golden.json names more media than golden.safetensors has pixels", v->folder);
        }
    return 0;
}

/* The reference runs a tower twice where pictures and a video stand in one prompt ("#2" is the video's run); ours runs once over both, pictures first. */
static void compare_split(nc_verify *v, const char *name, const float *ours, int64_t n)
{
    char second[128];
    const nc_stored *first = nc_verify_tensor(v, "%s", name);
    int64_t head = nc_shape_count(&first->shape);
    snprintf(second, sizeof second, "%s#2", name);
    if (nc_verify_has(v, second) && n > head) {
        nc_verify_compare(v, name, first, ours, head, 2e-5, NULL, 1);
        nc_verify_compare(v, second, nc_verify_tensor(v, "%s", second), ours + head, n - head, 2e-5, NULL, 1);
    } else if (n > head && !strcmp(name, "video.pooled")) {
        nc_verify_compare(v, name, first, ours + n - head, head, 2e-5, NULL, 1);
    } else {
        nc_verify_compare(v, name, first, ours, n, 2e-5, NULL, 1);
    }
}

static void compare(nc_verify *v, nc_program *p, nc_arena *a)
{
    for (int i = 0; i < nc_program_probes(p); i++) {
        const char *name = nc_program_probe_name(p, i), *golden = strcmp(name, "logits") ? name : "out.logits";
        int64_t n = 0;
        float *ours = nc_verify_has(v, golden) ? nc_verify_probe(a, p, name, &n) : NULL;
        if (ours)
            compare_split(v, golden, ours, n);
    }
}

static void count_wrong(nc_verify *v, const char *name, const int32_t *ours, int64_t n, const char *note)
{
    const nc_stored *want = nc_verify_has(v, name) ? nc_verify_tensor(v, "%s", name) : NULL;
    int64_t wrong = want && nc_shape_count(&want->shape) != n ? n : 0;
    for (int64_t i = 0; want && !wrong && i < n; i++)
        wrong += nc_dtype_load(want->dtype, want->data, i) != ours[i];
    if (want)
        nc_verify_add(v, name, (double)wrong, (double)wrong, 0, note);
}

/* Positions of the prompt, and what is added to the index of later tokens. */
static int check_positions(nc_verify *v, const int32_t *ids, int n, const struct media *m, nc_error *e)
{
    const nc_model *model = v->f32->model;
    nc_positions p = { 0 };
    if (!model->family->positions)
        return 0;
    NC_TRY(model->family->positions(model, model->self, ids, n, m->item, m->count, &p, e));
    int32_t *by_axis = NC_NEW_ARRAY(v->arena, int32_t, n * p.axes + 1);
    for (int i = 0; i < n; i++)
        for (int a = 0; a < p.axes; a++)
            by_axis[a * n + i] = p.table[i * p.axes + a];
    free(p.table);
    count_wrong(v, "rope.position_ids", by_axis, (int64_t)n * p.axes, "positions that differ");
    count_wrong(v, "rope.delta", &p.shift, 1, "shift of later positions");
    return 0;
}

/* Windows of the tower: the order of merged rows, and where each window ends; the reference's run over pictures, then the one over videos. */
static void check_windows(nc_verify *v, const nc_batch *batch)
{
    const char *kinds[] = { "image", "video" };
    const nc_tensor *order = nc_batch_find(batch, "vision.order");
    nc_spans spans = nc_batch_spans(batch, "vision.windows");
    int64_t row = 0, unit = order && spans.count ? (spans.span[spans.count - 1].q_row + spans.span[spans.count - 1].q_rows) / order->shape.dim[0] : 1;
    int s = 0;
    for (int k = 0; k < 2 && order; k++) {
        char index[48], ends[48];
        snprintf(index, sizeof index, "window.%s.index", kinds[k]);
        snprintf(ends, sizeof ends, "window.%s.cu_seqlens", kinds[k]);
        const nc_stored *want = nc_verify_has(v, index) ? nc_verify_tensor(v, "%s", index) : NULL;
        int64_t n = want ? nc_shape_count(&want->shape) : 0;
        int32_t *ours = NC_NEW_ARRAY(v->arena, int32_t, n + 1), *end = NC_NEW_ARRAY(v->arena, int32_t, spans.count + 1);
        int windows = 0;
        if (row + n > order->shape.dim[0])
            return;
        for (int64_t i = 0; i < n; i++)
            ours[i] = ((const int32_t *)order->data)[row + i] - (int32_t)row;
        for (; s < spans.count && spans.span[s].q_row < (row + n) * unit; s++)
            end[++windows] = spans.span[s].q_row + spans.span[s].q_rows - (int32_t)(row * unit);
        row += n;
        count_wrong(v, index, ours, n, "rows out of order");
        count_wrong(v, ends, end, windows + 1, "windows that differ");
    }
}

static int check_forward(nc_verify *v, const int32_t *ids, int n, const struct media *m, nc_error *e)
{
    nc_batch *batch = nc_batch_new();
    nc_program *p = NULL;
    nc_seq seq = { .ids = ids, .count = n, .slot = -1, .media = m->item, .media_count = m->count };
    int status = nc_verify_build(v, v->f32, NC_F32, false, &seq, 1, m->pictures, &p, batch, e);
    if (status == 0) {
        compare(v, p, v->arena);
        check_windows(v, batch);
    }
    nc_program_free(p);
    nc_batch_free(batch);
    return status;
}

static int check_training(nc_verify *v, const struct media *m, nc_error *e)
{
    const nc_stored *in = nc_verify_tensor(v, "train.input_ids"), *labels = nc_verify_tensor(v, "train.labels");
    if (!in || !labels)
        return nc_fail(e, NC_EFORMAT, "%s: a loss without train.input_ids and train.labels", v->folder);
    int n = (int)nc_shape_count(&in->shape), counted = 0;
    int32_t *ids = nc_verify_ints(v->arena, in), *given = nc_verify_ints(v->arena, labels), *targets = NC_NEW_ARRAY(v->arena, int32_t, n);
    for (int i = 0; i < n; i++) {
        targets[i] = i + 1 < n && given[i + 1] >= 0 ? given[i + 1] : -1;
        counted += targets[i] >= 0;
    }
    nc_batch *batch = nc_batch_new();
    nc_seq seq = { .ids = ids, .count = n, .slot = -1, .targets = targets, .weight = 1.0f / (float)counted, .media = m->item, .media_count = m->count };
    int status = nc_verify_build(v, v->f32, NC_F32, true, &seq, 1, m->pictures, &v->program, batch, e);
    if (status == 0)
        status = nc_verify_train(v, v->program, batch, e);
    nc_batch_free(batch);
    return status;
}

/* Pixels made from the PNGs by the folder's processor may differ by 0.03 from what the model is fed. */
static int check_pixels(nc_verify *v, nc_error *e)
{
    const char *names[] = { "image.png", "image2.png" };
    const nc_stored *want = nc_safetensors_find(v->tensors, "in.pixel_values"), *pillow = nc_verify_tensor(v, "pil.pixel_values");
    nc_image images[2] = { 0 };
    int count = 0, status = 0;
    for (int i = 0; i < 2 && status == 0; i++) {
        const char *path = nc_path_join(v->arena, v->folder, names[i]);
        if (nc_file_exists(path))
            status = nc_image_load(path, NULL, &images[count++], e);
    }
    nc_features f = { 0 };
    if (status == 0 && count && want && v->f32->image && want->shape.rank == 4)
        status = nc_processor_images(v->f32->image, v->arena, images, count, &f, e);
    const nc_feature *pixels = nc_features_get(&f, "pixel_values");
    if (status == 0 && pixels) {
        int64_t n = nc_shape_count(&want->shape);
        double worst = 0, exact = 0;
        for (int64_t i = 0; i < n; i++) {
            worst = fmax(worst, fabs((double)((const float *)want->data)[i] - (double)pixels->f32[i]));
            if (pillow)
                exact = fmax(exact, fabs((double)((const float *)pillow->data)[i] - (double)pixels->f32[i]));
        }
        nc_verify_add(v, "in.pixel_values", worst, worst, 0.03, "absolute, from the pictures");
        if (pillow)
            nc_verify_add(v, "pil.pixel_values", exact, exact, 1e-6, "absolute, from the pictures");
    }
    for (int i = 0; i < count; i++)
        nc_image_free(&images[i]);
    return status;
}

static int run_all(nc_verify *v, nc_error *e)
{
    struct media m;
    const nc_stored *in = nc_verify_tensor(v, "in.input_ids");
    if (!in)
        return nc_fail(e, NC_EFORMAT, "%s: golden.safetensors has no in.input_ids", v->folder);
    int n = (int)nc_shape_count(&in->shape);
    int32_t *ids = nc_verify_ints(v->arena, in);
    NC_TRY(gather(v, &m, e));
    NC_TRY(check_pixels(v, e));
    NC_TRY(check_positions(v, ids, n, &m, e));
    NC_TRY(check_forward(v, ids, n, &m, e));
    if (nc_verify_has(v, "generate.new_ids"))
        NC_TRY(nc_verify_generate(v, ids, n, m.item, m.count, e));
    return nc_verify_has(v, "loss") ? check_training(v, &m, e) : 0;
}

static bool takes(const nc_verify *v)
{
    return v->f32->model->family->tower != NULL;
}

const nc_verify_kind nc_verify_kind_media = { "media", takes, run_all };

/* verify_media.c - vision-language models: pixels from the pictures beside the checkpoint, the tower's and the decoder's rows, training on the answer, greedy text. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "cli/verify.h"
#include "load/visual_media.h"

enum { MAX_MEDIA = 8 };
struct media { nc_media item[MAX_MEDIA]; int count, pictures, images; };     /* pictures: what the tower's work is counted in */
struct seen { nc_visual item[MAX_MEDIA]; int count, frames; };               /* the same media from the files; frames of all */

/* ---- from the files beside the checkpoint ---- */

/* Prompts that are lists of texts and pictures' files (Idefics) become one message of such parts, whose rendering is the parts alone. */
static const char parts_template[] = "{{- bos_token }}{%- for m in messages %}{%- for c in m.content %}{%- if c.type == 'text' %}{{- c.text.strip(' ') }}{%- else %}{{- '<image>' }}{%- endif %}"
                                     "{%- endfor %}{%- endfor %}";

static void take_parts(nc_verify *v)
{
    const nc_json *parts = nc_json_get(v->golden, "prompt_parts");
    nc_json *messages = nc_json_new(v->arena, NC_JSON_ARRAY), *message = nc_json_new(v->arena, NC_JSON_OBJECT), *content = nc_json_new(v->arena, NC_JSON_ARRAY);
    if (!parts || nc_json_get(v->golden, "messages"))
        return;
    NC_JSON_EACH(part, parts) {
        const char *text = nc_json_string(part, "");
        bool picture = nc_ends_with(text, ".png") && nc_file_exists(nc_path_join(v->arena, v->folder, text));
        nc_json *one = nc_json_new(v->arena, NC_JSON_OBJECT);
        nc_json_set(v->arena, one, "type", nc_json_new_string(v->arena, picture ? NC_STR("image") : NC_STR("text")));
        nc_json_set(v->arena, one, picture ? "path" : "text", nc_json_new_string(v->arena, nc_str_of(text)));
        nc_json_append(content, one);
    }
    nc_json_set(v->arena, message, "role", nc_json_new_string(v->arena, NC_STR("user")));
    nc_json_set(v->arena, message, "content", content);
    nc_json_append(messages, message);
    nc_json_set(v->arena, v->golden, "messages", messages);
}

static int load_frames(nc_verify *v, const nc_json *paths, nc_image *frames, int count, nc_error *e)
{
    for (int i = 0; i < count; i++) {
        const nc_json *path = paths->type == NC_JSON_ARRAY ? nc_json_at(paths, i) : paths;
        NC_TRY(nc_image_load(nc_path_join(v->arena, v->folder, nc_json_string(path, "")), NULL, &frames[i], e));
    }
    return 0;
}

/* What the processor was told of a video beside its frames. */
static nc_visual_times times_of(nc_verify *v, int count)
{
    const nc_json *data = nc_json_path(v->golden, "video_arguments.video_metadata"), *indices = nc_json_get(data, "frames_indices");
    double fps = nc_json_double(nc_json_get(data, "fps"), 0), total = nc_json_double(nc_json_get(data, "total_num_frames"), count);
    double *seconds = NC_NEW_ARRAY(v->arena, double, count + 1);
    if (!(fps > 0))
        return (nc_visual_times){ NULL, 0 };
    for (int i = 0; i < count; i++)
        seconds[i] = (indices ? nc_json_double(nc_json_at(indices, i), i) : i) / fps;
    return (nc_visual_times){ seconds, count / total * fps };
}

/* One medium of the messages through the folder's processors. */
static int see(nc_verify *v, const nc_json *part, nc_visual *out, nc_error *e)
{
    const nc_json *path = nc_json_get(part, "path");
    bool is_video = !strcmp(nc_json_string(nc_json_get(part, "type"), ""), "video");
    int count = nc_json_is(path, NC_JSON_ARRAY) ? path->count : 1;
    nc_image *frames = NC_NEW_ARRAY(v->arena, nc_image, count + 1);
    nc_visual_times t = times_of(v, count);
    int status = path ? load_frames(v, path, frames, count, e) : nc_fail(e, NC_EFORMAT, "%s: golden.json names a medium without its path", v->folder);
    if (status == 0)
        status = is_video ? nc_visual_of_frames(v->f32->image, v->f32->video, v->arena, frames, count, &t, v->folder, out, e)
                          : nc_visual_of_image(v->f32->image, v->arena, &frames[0], v->folder, out, e);
    for (int i = 0; i < count; i++)
        nc_image_free(&frames[i]);
    return status;
}

/* Video-LLaVA names its pictures otherwise. */
static const nc_stored *images_of(nc_verify *v)
{
    const nc_stored *t = nc_verify_tensor(v, "in.pixel_values");
    return t ? t : nc_verify_tensor(v, "in.pixel_values_images");
}

/* How many pictures the reference took picture k's prompt to have: in.batch_num_images says it of each group, else all are of one. */
static int pictures_of(nc_verify *v, int k, int all)
{
    const nc_stored *groups = nc_verify_tensor(v, "in.batch_num_images");
    for (int64_t i = 0; groups && i < nc_shape_count(&groups->shape); i++) {
        int n = (int)nc_dtype_load(groups->dtype, groups->data, i);
        if (k < n)
            return n;
        k -= n;
    }
    return all;
}

static void add(nc_verify *v, struct media *m, const nc_stored *t, int kind, int first, int frames)
{
    const nc_stored *sizes = nc_verify_tensor(v, "in.image_sizes");
    int rank = t->shape.rank;
    int64_t c = t->shape.dim[rank - 3], h = t->shape.dim[rank - 2], w = t->shape.dim[rank - 1];
    nc_pixels *p = NC_NEW_ARRAY(v->arena, nc_pixels, frames);
    for (int i = 0; i < frames; i++)
        p[i] = (nc_pixels){ .data = (const float *)t->data + (first + i) * c * h * w, (int)c, (int)h, (int)w };
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
        p[i] = (nc_pixels){ .data = (const float *)t->data + (first + i * rows) * width, 3, (int)rows, (int)(width / 3) };
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
static int gather(nc_verify *v, const struct seen *seen, struct media *m, nc_error *e)
{
    const nc_stored *images = images_of(v), *videos = nc_verify_tensor(v, "in.pixel_values_videos");
    const bool one_row = images && images->shape.rank == 5 && images->shape.dim[0] == 1 && seen->count > 1;      /* Idefics3: a prompt's pictures in one row */
    const bool tiled = images && !videos && ((images->shape.rank == 4 && seen->frames == images->shape.dim[0]) || (one_row && seen->frames == images->shape.dim[1]));
    int first = 0, image = 0, video = 0, images_left = images ? (int)images->shape.dim[0] : 0;
    *m = (struct media){ 0 };
    if (images && images->shape.rank == 4 && nc_json_get(v->golden, "image_file"))
        add(v, m, images, NC_MEDIA_IMAGE, 0, images_left);
    NC_JSON_EACH(message, nc_json_get(v->golden, "messages"))
        NC_JSON_EACH(part, nc_json_get(message, "content")) {
            const char *type = nc_json_string(nc_json_get(part, "type"), "");
            if (!strcmp(type, "text"))
                continue;
            if (m->count == MAX_MEDIA)
                return nc_fail(e, NC_ELIMIT, "%s: more than %d media", v->folder, MAX_MEDIA);
            if (tiled && m->count < seen->count) {                   /* tiles and frames of all media in one tensor, as many each as the processor makes of the files */
                const nc_visual *one = &seen->item[m->count];
                add(v, m, images, one->is_video ? NC_MEDIA_VIDEO : NC_MEDIA_IMAGE, first, one->frames);
                first += one->frames;
            } else if (!strcmp(type, "image") && image < images_left && images->shape.rank == 4)
                add(v, m, images, NC_MEDIA_IMAGE, image++, 1);
            else if (!strcmp(type, "image") && image < images_left && images->shape.rank == 5)
                add_tiles(v, m, images, image++);
            else if (!strcmp(type, "image") && images && images->shape.rank == 2)
                NC_TRY(add_patches(v, m, NC_MEDIA_IMAGE, image++, e));
            else if (!strcmp(type, "video") && videos && videos->shape.rank == 2)
                NC_TRY(add_patches(v, m, NC_MEDIA_VIDEO, video++, e));
            else if (!strcmp(type, "video") && videos && videos->shape.rank == 5)
                add(v, m, videos, NC_MEDIA_VIDEO, 0, (int)videos->shape.dim[1]);
            else
                return nc_fail(e, NC_EFORMAT, "%s: golden.json names more media than golden.safetensors has pixels", v->folder);
        }
    for (int i = 0, k = 0; i < m->count; i++)
        if (m->item[i].kind == NC_MEDIA_IMAGE)
            m->item[i].pictures = pictures_of(v, k++, m->images);
    return 0;
}

/* Rows of the tower with the pictures' first: each medium has its share of n numbers by its units. */
static const float *pictures_first(nc_verify *v, const float *ours, int64_t n, const struct media *m)
{
    float *out = NC_NEW_ARRAY(v->arena, float, n + 1), *to = out;
    for (int kind = NC_MEDIA_IMAGE; kind <= NC_MEDIA_VIDEO; kind++) {
        const float *from = ours;
        for (int i = 0; i < m->count; i++) {
            int64_t share = n / m->pictures * nc_media_units(&m->item[i]);
            if ((int)m->item[i].kind == kind) {
                memcpy(to, from, sizeof *to * (size_t)share);
                to += share;
            }
            from += share;
        }
    }
    return out;
}

/* The reference runs a tower twice where pictures and a video stand in one prompt ("#2" is the video's run); ours runs once over both, in their order. */
static void compare_split(nc_verify *v, const char *name, const float *ours, int64_t n, const struct media *m)
{
    char second[128];
    const nc_stored *first = nc_verify_tensor(v, "%s", name);
    int64_t head = nc_shape_count(&first->shape);
    snprintf(second, sizeof second, "%s#2", name);
    if (nc_verify_has(v, second) && n > head) {
        ours = m->pictures > 0 && n % m->pictures == 0 ? pictures_first(v, ours, n, m) : ours;
        nc_verify_compare(v, name, first, ours, head, 2e-5, NULL, 1);
        nc_verify_compare(v, second, nc_verify_tensor(v, "%s", second), ours + head, n - head, 2e-5, NULL, 1);
    } else if (n > head && !strcmp(name, "video.pooled")) {
        nc_verify_compare(v, name, first, ours + n - head, head, 2e-5, NULL, 1);
    } else {
        nc_verify_compare(v, name, first, ours, n, 2e-5, NULL, 1);
    }
}

static void compare(nc_verify *v, nc_program *p, nc_arena *a, const struct media *m)
{
    for (int i = 0; i < nc_program_probes(p); i++) {
        const char *name = nc_program_probe_name(p, i), *golden = strcmp(name, "logits") ? name : "out.logits";
        int64_t n = 0;
        float *ours = nc_verify_has(v, golden) ? nc_verify_probe(a, p, name, &n) : NULL;
        if (ours)
            compare_split(v, golden, ours, n, m);
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

/* Which pictures each token sees. */
static int check_views(nc_verify *v, const int32_t *ids, int n, const struct media *m, nc_error *e)
{
    const nc_model *model = v->f32->model;
    const nc_stored *mask = nc_verify_tensor(v, "in.image_attention_mask");
    nc_views seen;
    if (!model->family->views || !mask || nc_shape_count(&mask->shape) != (int64_t)n * m->count)
        return 0;
    NC_TRY(model->family->views(model, model->self, ids, n, m->item, m->count, &seen, e));
    int32_t *ours = NC_NEW_ARRAY(v->arena, int32_t, n * m->count + 1);
    for (int i = 0; i < n * m->count; i++) {
        const nc_view *of = &seen.of[i / m->count], *group = &seen.group[i % m->count];
        ours[i] = of->rows && group->row >= of->row && group->row < of->row + of->rows;
    }
    nc_views_free(&seen);
    count_wrong(v, "in.image_attention_mask", ours, (int64_t)n * m->count, "sights that differ");
    return 0;
}

/* Windows of the tower: the order of merged rows, and where each window ends; of all pictures, and of all videos. */
static void check_windows(nc_verify *v, const nc_batch *batch, const struct media *m)
{
    static const char *const kinds[] = { "image", "video" };
    const nc_model *model = v->f32->model;
    const nc_tensor *order = nc_batch_find(batch, "vision.order");
    nc_spans spans = nc_batch_spans(batch, "vision.windows");
    if (!order || !spans.count || !order->shape.dim[0])
        return;
    const int unit = (int)((spans.span[spans.count - 1].q_row + spans.span[spans.count - 1].q_rows) / order->shape.dim[0]);
    for (int k = 0; k < 2; k++) {
        char index[48], ends[48];
        int32_t *ours = NC_NEW_ARRAY(v->arena, int32_t, order->shape.dim[0] + 1), *end = NC_NEW_ARRAY(v->arena, int32_t, spans.count + 1);
        int n = 0, windows = 0, first = 0;
        for (int i = 0; i < m->count; i++) {
            int rows = model->family->media_rows(model, model->self, &m->item[i]);
            bool is_ours = (m->item[i].kind == NC_MEDIA_VIDEO) == k;
            for (int j = 0; is_ours && j < rows; j++)
                ours[n + j] = ((const int32_t *)order->data)[first + j] - first + n;
            for (int s = 0; is_ours && s < spans.count; s++)
                if (spans.span[s].q_row >= first * unit && spans.span[s].q_row < (first + rows) * unit)
                    end[++windows] = spans.span[s].q_row + spans.span[s].q_rows + (n - first) * unit;
            n += is_ours ? rows : 0;
            first += rows;
        }
        snprintf(index, sizeof index, "window.%s.index", kinds[k]);
        snprintf(ends, sizeof ends, "window.%s.cu_seqlens", kinds[k]);
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
        compare(v, p, v->arena, m);
        check_windows(v, batch, m);
    }
    nc_program_free(p);
    nc_batch_free(batch);
    return status;
}

/* A bf16 run, weights packed as a server holds them, against the f32 reference: root-mean-square error within 5e-2 of the largest logit. */
static int check_bf16(nc_verify *v, const int32_t *ids, int n, const struct media *m, nc_error *e)
{
    const nc_stored *want = nc_verify_tensor(v, "out.logits");
    nc_load_options o = { .weights = { NC_BF16, true, v->pool, v->kernels }, .no_front = true };
    nc_loaded *l = NULL;
    if (!want)
        return 0;
    NC_TRY(nc_load(v->folder, &o, &l, e));
    nc_batch *batch = nc_batch_new();
    nc_program *p = NULL;
    nc_seq seq = { .ids = ids, .count = n, .slot = -1, .media = m->item, .media_count = m->count };
    int status = nc_verify_build(v, l, NC_BF16, false, &seq, 1, m->pictures, &p, batch, e);
    if (status == 0) {
        int64_t count = 0;
        const float *ours = nc_verify_probe(v->arena, p, "logits", &count);
        double sum = count == nc_shape_count(&want->shape) ? 0 : INFINITY, largest = 0;
        for (int64_t i = 0; i < count && sum < INFINITY; i++) {
            double w = nc_dtype_load(want->dtype, want->data, i);
            sum += (ours[i] - w) * (ours[i] - w);
            largest = fmax(largest, fabs(w));
        }
        nc_verify_add(v, "out.logits in bf16", sqrt(sum / (double)count), sqrt(sum / (double)count) / largest, 5e-2, "root-mean-square error over the largest");
    }
    nc_program_free(p);
    nc_batch_free(batch);
    nc_loaded_free(l);
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

/* The prompt with its answer, where the reference tells its logits too. */
static int check_answer(nc_verify *v, const struct media *m, nc_error *e)
{
    const nc_stored *in = nc_verify_tensor(v, "train.input_ids"), *labels = nc_verify_tensor(v, "train.labels"), *want = nc_verify_tensor(v, "train.logits");
    if (!in || !labels)
        return nc_fail(e, NC_EFORMAT, "%s: train.logits without train.input_ids and train.labels", v->folder);
    int n = (int)nc_shape_count(&in->shape), prompt = 0;
    int32_t *ids = nc_verify_ints(v->arena, in), *given = nc_verify_ints(v->arena, labels);
    while (prompt < n && given[prompt] < 0)
        prompt++;
    nc_batch *batch = nc_batch_new();
    nc_program *p = NULL;
    nc_seq seq = { .ids = ids, .count = n, .prompt = prompt, .slot = -1, .media = m->item, .media_count = m->count };
    int status = nc_verify_build(v, v->f32, NC_F32, false, &seq, 1, m->pictures, &p, batch, e);
    int64_t count = 0;
    float *ours = status == 0 ? nc_verify_probe(v->arena, p, "logits", &count) : NULL;
    if (status == 0)
        nc_verify_compare(v, "train.logits", want, ours, count, 2e-5, NULL, 1);
    nc_program_free(p);
    nc_batch_free(batch);
    return status;
}

struct pixels_seen { double worst, pillow; bool has_pillow; };

static double two_levels(const nc_verify *v)
{
    double mean[3], std[3];
    nc_processor_colors(v->f32->image, mean, std);
    return 2.001 / 255 / fmin(std[0], fmin(std[1], std[2]));
}

/* Pixels made from the files may differ by two levels of 255 from what the model is fed, which torchvision made; from the Pillow path's not at all. */
static void compare_pixels(nc_verify *v, const nc_media *fed, const nc_visual *seen, struct pixels_seen *out)
{
    const nc_stored *all = images_of(v), *pillow = nc_verify_tensor(v, "pil.pixel_values");
    nc_media shape = nc_media_of(seen);
    size_t each = (size_t)seen->channels * (size_t)seen->height * (size_t)seen->width;
    bool same = shape.count >= fed->count && shape.grid_height == fed->grid_height && shape.grid_width == fed->grid_width && fed->frames[0].height == seen->height &&
                fed->frames[0].width == seen->width && fed->frames[0].channels == seen->channels;
    for (int f = 0; same && f < fed->count; f++)
        for (size_t i = 0; i < each; i++) {
            out->worst = nc_worse(out->worst, fabs((double)fed->frames[f].data[i] - (double)seen->pixels[(size_t)f * each + i]));
            if (!seen->is_video && pillow && all) {
                out->has_pillow = true;
                out->pillow = fmax(out->pillow, fabs((double)((const float *)pillow->data)[fed->frames[f].data + i - (const float *)all->data] - (double)seen->pixels[(size_t)f * each + i]));
            }
        }
    if (!same || fabsf(shape.seconds_per_grid - fed->seconds_per_grid) > (fed->seconds_per_grid > 0 ? 1e-6f : 1e6f))
        out->worst = INFINITY;
}

static int encode(nc_verify *v, const nc_visual *seen, int count, nc_conversation_ids *out, nc_error *e)
{
    const nc_loaded *l = v->f32;
    const nc_model *m = l->model;
    const nc_visual **media = NC_NEW_ARRAY(v->arena, const nc_visual *, count + 1);
    int *rows = NC_NEW_ARRAY(v->arena, int, count + 1);
    for (int i = 0; i < count; i++) {
        nc_media shape = nc_media_of(&seen[i]);
        media[i] = &seen[i];
        rows[i] = m->family->media_rows(m, m->self, &shape);
    }
    nc_conversation *c = NULL;
    nc_conversation_options o = { .tokenizer = l->tokenizer, .image_token_id = m->image_token_id, .video_token_id = m->video_token_id, .processor = l->processor };
    o.template_source = nc_json_get(v->golden, "prompt_parts") ? parts_template : NULL;
    NC_TRY(nc_conversation_new(&o, &c, e));
    nc_conversation_request r = { .messages = nc_json_get(v->golden, "messages"), .media_rows = rows, .media = media, .media_count = count, .generate = true };
    int status = nc_conversation_encode(c, v->arena, &r, out, e);
    nc_conversation_free(c);
    return status;
}

/* All media of the messages through the folder's processors; none where it has no processor. */
static int see_all(nc_verify *v, struct seen *out, nc_error *e)
{
    *out = (struct seen){ 0 };
    if (!v->f32->image)
        return 0;
    NC_JSON_EACH(message, nc_json_get(v->golden, "messages"))
        NC_JSON_EACH(part, nc_json_get(message, "content"))
            if (strcmp(nc_json_string(nc_json_get(part, "type"), ""), "text") && out->count < MAX_MEDIA) {
                NC_TRY(see(v, part, &out->item[out->count], e));
                out->frames += out->item[out->count++].frames;
            }
    if (nc_json_get(v->golden, "image_file")) {
        nc_json *part = nc_json_new(v->arena, NC_JSON_OBJECT);
        nc_json_set(v->arena, part, "type", nc_json_new_string(v->arena, NC_STR("image")));
        nc_json_set(v->arena, part, "path", nc_json_clone(v->arena, nc_json_get(v->golden, "image_file")));
        NC_TRY(see(v, part, &out->item[out->count++], e));
    }
    int pictures = 0, k = 0;
    for (int i = 0; i < out->count; i++)
        pictures += !out->item[i].is_video;
    for (int i = 0; i < out->count; i++)
        out->item[i].pictures = out->item[i].is_video ? 0 : pictures_of(v, k++, pictures);
    return 0;
}

/* The messages and the files beside the checkpoint become the ids and pixels that the reference's processor made. */
static int check_front(nc_verify *v, const int32_t *ids, int n, const struct seen *seen, const struct media *m, nc_error *e)
{
    struct pixels_seen p = { 0 };
    if (!seen->count)
        return 0;
    for (int i = 0; i < seen->count && i < m->count; i++)
        compare_pixels(v, &m->item[i], &seen->item[i], &p);
    nc_verify_add(v, "in.pixel_values", p.worst, p.worst, two_levels(v), "absolute, from the files");
    if (p.has_pillow)
        nc_verify_add(v, "pil.pixel_values", p.pillow, p.pillow, 1e-6, "absolute, from the files");
    if (!v->f32->tokenizer || !nc_json_get(v->golden, "messages"))
        return 0;
    nc_conversation_ids made = { 0 };
    NC_TRY(encode(v, seen->item, seen->count, &made, e));
    int wrong = made.count == n ? 0 : n;
    for (int i = 0; !wrong && i < n; i++)
        wrong += made.ids[i] != ids[i];
    nc_verify_add(v, "in.input_ids", wrong, wrong, 0, "ids that differ, from the messages");
    return 0;
}

static int run_all(nc_verify *v, nc_error *e)
{
    struct media m;
    struct seen seen;
    const nc_stored *in = nc_verify_tensor(v, "in.input_ids");
    if (!in)
        return nc_fail(e, NC_EFORMAT, "%s: golden.safetensors has no in.input_ids", v->folder);
    int n = (int)nc_shape_count(&in->shape);
    int32_t *ids = nc_verify_ints(v->arena, in);
    take_parts(v);
    NC_TRY(see_all(v, &seen, e));
    NC_TRY(gather(v, &seen, &m, e));
    NC_TRY(check_front(v, ids, n, &seen, &m, e));
    NC_TRY(check_positions(v, ids, n, &m, e));
    NC_TRY(check_views(v, ids, n, &m, e));
    NC_TRY(check_forward(v, ids, n, &m, e));
    NC_TRY(check_bf16(v, ids, n, &m, e));
    if (nc_verify_has(v, "generate.new_ids"))
        NC_TRY(nc_verify_generate(v, ids, n, m.item, m.count, e));
    if (nc_verify_has(v, "train.logits"))
        NC_TRY(check_answer(v, &m, e));
    return nc_verify_has(v, "loss") ? check_training(v, &m, e) : 0;
}

static bool takes(const nc_verify *v)
{
    return v->f32->model->family->tower != NULL;
}

const nc_verify_kind nc_verify_kind_media = { "media", takes, run_all };

/* verify_detect.c - detectors: pictures of several sizes in one batch, the encoder's and decoder's rows, the matched loss and its parts, training, the boxes found.
 *
 *   in.pixel_values [n,C,H,W] with in.pixel_mask [n,H,W]: each picture is the rectangle its mask shows;  in.boxes.i, in.class_labels.i: its objects
 *   hidden.encoder.k, out.encoder_last_hidden_state: rows of cells outside their picture are not compared
 *   post.scores.i, post.labels.i, post.boxes.i at golden.json's post_threshold, in pixels of the pictures beside the checkpoint
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "cli/verify.h"
#include "media/image.h"
#include "models/detr.h"

struct pictures { nc_seq *seq; int count, height, width; };

/* Height and width of the ones in a mask [H, W]. */
static void rectangle(const nc_stored *mask, int64_t picture, int64_t H, int64_t W, int *height, int *width)
{
    *height = *width = 0;
    for (int64_t i = 0; i < H * W; i++)
        if (!mask || nc_dtype_load(mask->dtype, mask->data, picture * H * W + i) != 0) {
            *height = (int)(i / W) + 1 > *height ? (int)(i / W) + 1 : *height;
            *width = (int)(i % W) + 1 > *width ? (int)(i % W) + 1 : *width;
        }
}

static const nc_objects *objects_of(nc_verify *v, int i)
{
    const nc_stored *boxes = nc_verify_tensor(v, "in.boxes.%d", i), *labels = nc_verify_tensor(v, "in.class_labels.%d", i);
    nc_objects *o = NC_NEW(v->arena, nc_objects);
    if (boxes && labels && boxes->dtype == NC_F32 && nc_shape_count(&boxes->shape) == 4 * nc_shape_count(&labels->shape))
        *o = (nc_objects){ boxes->data, nc_verify_ints(v->arena, labels), (int)nc_shape_count(&labels->shape) };
    return o;
}

static int gather(nc_verify *v, struct pictures *out, nc_error *e)
{
    const nc_stored *t = nc_verify_tensor(v, "in.pixel_values"), *mask = nc_verify_tensor(v, "in.pixel_mask");
    if (!t || t->shape.rank != 4 || t->dtype != NC_F32 || (mask && nc_shape_count(&mask->shape) != t->shape.dim[0] * t->shape.dim[2] * t->shape.dim[3]))
        return nc_fail(e, NC_EFORMAT, "%s: in.pixel_values must be F32 of [pictures, channels, height, width], in.pixel_mask of the same size", v->folder);
    const int64_t n = t->shape.dim[0], C = t->shape.dim[1], H = t->shape.dim[2], W = t->shape.dim[3];
    *out = (struct pictures){ NC_NEW_ARRAY(v->arena, nc_seq, n + 1), (int)n, (int)H, (int)W };
    for (int64_t i = 0; i < n; i++) {
        nc_pixels *p = NC_NEW(v->arena, nc_pixels);
        nc_media *m = NC_NEW(v->arena, nc_media);
        int height, width;
        rectangle(mask, i, H, W, &height, &width);
        float *own = NC_NEW_ARRAY(v->arena, float, C * height * width + 1);
        for (int64_t k = 0; k < C * height; k++)
            memcpy(own + k * width, (const float *)t->data + ((i * C + k / height) * H + k % height) * W, sizeof *own * (size_t)width);
        *p = (nc_pixels){ .data = own, (int)C, height, width };
        *m = (nc_media){ .kind = NC_MEDIA_IMAGE, .frames = p, .count = 1 };
        out->seq[i] = (nc_seq){ .slot = -1, .media = m, .media_count = 1, .objects = objects_of(v, (int)i) };
    }
    return 0;
}

static int run(nc_verify *v, const struct pictures *s, bool train, nc_program **out, nc_batch *batch, nc_error *e)
{
    const nc_model *m = v->f32->model;
    NC_TRY(nc_model_prepare(m, batch, s->seq, s->count, e));
    nc_program *p = nc_program_new(&(nc_program_options){ .compute = NC_F32, .training = train, .probes = true, .picture_height = s->height, .picture_width = s->width });
    nc_build *b = nc_program_build(p);
    m->family->capacity(m->self, b, s->count);
    nc_value *loss = nc_probe(b, nc_model_loss(m, b), "loss");
    int status = nc_program_finish(p, loss, nc_pool_threads(v->pool), e);
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

/* Our rows are the cells inside the pictures; the reference's are all cells of the map. */
static void compare_cells(nc_verify *v, const nc_batch *batch, const char *name, const nc_stored *want, const float *ours)
{
    const nc_tensor *index = nc_batch_find(batch, "detr.cells");
    const int64_t width = nc_shape_last(&want->shape), rows = nc_shape_count(&want->shape) / width, own = nc_shape_count(&index->shape);
    float *all = NC_NEW_ARRAY(v->arena, float, rows * width + 1);
    bool *outside = NC_NEW_ARRAY(v->arena, bool, rows + 1);
    for (int64_t i = 0; i < rows; i++)
        outside[i] = true;
    for (int64_t i = 0; i < own; i++) {
        const int64_t row = ((const int32_t *)index->data)[i];
        if (row >= rows)
            return;
        outside[row] = false;
        memcpy(all + row * width, ours + i * width, sizeof *all * (size_t)width);
    }
    nc_verify_compare(v, name, want, all, rows * width, 2e-5, outside, width);
}

static void compare(nc_verify *v, const nc_program *p, const nc_batch *batch)
{
    for (int i = 0; i < nc_program_probes(p); i++) {
        const char *name = nc_program_probe_name(p, i);
        const nc_stored *want = strcmp(name, "loss") && nc_verify_has(v, name) ? nc_verify_tensor(v, "%s", name) : NULL;
        int64_t n = 0;
        float *ours = want ? nc_verify_probe(v->arena, p, name, &n) : NULL;
        if (ours && (nc_starts_with(name, "hidden.encoder.") || !strcmp(name, "out.encoder_last_hidden_state")))
            compare_cells(v, batch, name, want, ours);
        else if (ours)
            nc_verify_compare(v, name, want, ours, n, 2e-5, NULL, 1);
    }
}

/* The mean difference between the number of queries that name an object and that of objects. */
static void compare_cardinality(nc_verify *v, const nc_program *p, const struct pictures *s)
{
    const int queries = nc_detr_queries(v->f32->model), labels = v->f32->model->labels.count;
    for (int k = -1; k < NC_MAX_LAYERS; k++) {
        char name[48], probe[32];
        int64_t n = 0;
        double sum = 0;
        snprintf(name, sizeof name, k < 0 ? "loss.cardinality_error" : "loss.cardinality_error_%d", k);
        snprintf(probe, sizeof probe, k < 0 ? "logits" : "logits_%d", k);
        float *logits = nc_verify_has(v, name) ? nc_verify_probe(v->arena, p, probe, &n) : NULL;
        if (!logits && k >= 0)
            break;
        for (int i = 0; logits && i < s->count; i++) {
            int named = 0;
            for (int q = 0; q < queries; q++) {
                const float *row = logits + ((int64_t)i * queries + q) * (labels + 1);
                int best = 0;
                for (int j = 1; j <= labels; j++)
                    best = row[j] > row[best] ? j : best;
                named += best != labels;
            }
            sum += abs(named - s->seq[i].objects->count);
        }
        float mean = (float)(sum / s->count);
        if (logits)
            nc_verify_compare(v, name, nc_verify_tensor(v, "%s", name), &mean, 1, 2e-5, NULL, 1);
    }
}

/* The size of picture i beside the checkpoint; pixels of it when there is none. */
static int size_of(nc_verify *v, int i, const struct pictures *s, int *height, int *width, nc_error *e)
{
    const nc_json *names = nc_json_get(v->golden, "images");
    const char *path = nc_path_join(v->arena, v->folder, i < (names ? names->count : 0) ? nc_json_string(nc_json_at(names, i), "") : "");
    nc_image image;
    *height = s->seq[i].media[0].frames->height;
    *width = s->seq[i].media[0].frames->width;
    if (!nc_file_exists(path))
        return 0;
    NC_TRY(nc_image_load(path, NULL, &image, e));
    *height = image.height;
    *width = image.width;
    nc_image_free(&image);
    return 0;
}

static int check_found(nc_verify *v, const nc_program *p, const struct pictures *s, nc_error *e)
{
    const int queries = nc_detr_queries(v->f32->model), labels = v->f32->model->labels.count;
    const double threshold = nc_json_double(nc_json_get(v->golden, "post_threshold"), 0.5);
    int64_t n = 0;
    const float *logits = nc_verify_probe(v->arena, p, "out.logits", &n), *boxes = nc_verify_probe(v->arena, p, "out.pred_boxes", &n);
    for (int i = 0; i < s->count && logits && boxes; i++) {
        const nc_stored *scores = nc_verify_tensor(v, "post.scores.%d", i), *names = nc_verify_tensor(v, "post.labels.%d", i), *corners = nc_verify_tensor(v, "post.boxes.%d", i);
        nc_detection *found = NC_NEW_ARRAY(v->arena, nc_detection, queries + 1);
        float *score = NC_NEW_ARRAY(v->arena, float, queries + 1), *corner = NC_NEW_ARRAY(v->arena, float, 4 * queries + 1);
        int32_t *label = NC_NEW_ARRAY(v->arena, int32_t, queries + 1);
        int height, width;
        if (!scores || !names || !corners)
            continue;
        NC_TRY(size_of(v, i, s, &height, &width, e));
        int count = nc_detections(logits + (int64_t)i * queries * (labels + 1), boxes + (int64_t)i * queries * 4, queries, labels, threshold, height, width, found);
        for (int k = 0; k < count; k++) {
            score[k] = (float)found[k].score;
            label[k] = found[k].label;
            for (int j = 0; j < 4; j++)
                corner[4 * k + j] = (float)found[k].box[j];
        }
        nc_verify_compare(v, scores->name, scores, score, count, 2e-5, NULL, 1);
        nc_verify_ids(v, names->name, names, label, count);
        nc_verify_compare(v, corners->name, corners, corner, 4 * count, 2e-5, NULL, 1);
    }
    return 0;
}

static int run_all(nc_verify *v, nc_error *e)
{
    struct pictures s;
    nc_batch *batch = nc_batch_new();
    nc_program *p = NULL;
    int status = gather(v, &s, e);
    if (status == 0)
        status = nc_verify_pixels(v, e);
    if (status == 0)
        status = run(v, &s, false, &p, batch, e);
    if (status == 0) {
        compare(v, p, batch);
        compare_cardinality(v, p, &s);
        status = check_found(v, p, &s, e);
    }
    nc_program_free(p);
    if (status == 0 && nc_verify_has(v, "loss"))
        status = run(v, &s, true, &v->program, batch, e);
    if (status == 0 && v->program)
        status = nc_verify_train(v, v->program, batch, e);
    nc_batch_free(batch);
    return status;
}

static bool takes(const nc_verify *v) { return nc_detr_queries(v->f32->model) > 0; }

const nc_verify_kind nc_verify_kind_detect = { "detect", takes, run_all };

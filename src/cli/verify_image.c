/* verify_image.c - encoders of pictures: towers and classifiers of every kind, under the reference's own names.
 *
 *   in.pixel_values [n,C,H,W]  the batch; every probe that golden.safetensors has a tensor of the same name for is compared
 *   <case>.pixel_values        the same model on other pictures (interp: any size of position table; odd: sizes that need padding): <case>.x is compared with the probe out.x
 *   mask.bool_masked_pos       the batch with masked patches
 *   loss                       to in.target (of a probe of its shape), else that of the labels
 */
#include <stdio.h>
#include <stdlib.h>

#include "cli/verify.h"
#include "models/segformer.h"

struct pictures { nc_seq *seq; int count, height, width; };

static int pictures_of(nc_verify *v, const char *name, struct pictures *out, nc_error *e)
{
    const nc_stored *t = nc_verify_tensor(v, "%s", name);
    if (!t || t->shape.rank != 4 || t->dtype != NC_F32)
        return nc_fail(e, NC_EFORMAT, "%s: %s must be F32 of [pictures, channels, height, width]", v->folder, name);
    const int64_t *dim = t->shape.dim;
    int n = (int)dim[0];
    nc_pixels *pixels = NC_NEW_ARRAY(v->arena, nc_pixels, n + 1);
    nc_media *media = NC_NEW_ARRAY(v->arena, nc_media, n + 1);
    *out = (struct pictures){ NC_NEW_ARRAY(v->arena, nc_seq, n + 1), n, (int)dim[2], (int)dim[3] };
    for (int i = 0; i < n; i++) {
        pixels[i] = (nc_pixels){ .data = (const float *)t->data + i * dim[1] * dim[2] * dim[3], (int)dim[1], (int)dim[2], (int)dim[3] };
        media[i] = (nc_media){ .kind = NC_MEDIA_IMAGE, .frames = &pixels[i], .count = 1 };
        out->seq[i] = (nc_seq){ .slot = -1, .media = &media[i], .media_count = 1 };
    }
    return 0;
}

/* What a model's loss reads beside the pictures. */
static void add_labels(nc_verify *v, nc_batch *batch)
{
    static const char *const tables[][3] = { { "in.labels", "labels", "label.weights" }, { "in.teacher_labels", "teacher.labels", "teacher.weights" } };
    for (int i = 0; i < NC_COUNT(tables); i++) {
        const nc_stored *t = nc_verify_has(v, tables[i][0]) ? nc_verify_tensor(v, "%s", tables[i][0]) : NULL;
        if (!t)
            continue;
        int32_t *labels = nc_verify_ints(v->arena, t);
        for (int64_t j = 0; t->shape.rank > 1 && j < nc_shape_count(&t->shape); j++)     /* of pixels: what is no label (255) does not count */
            labels[j] = labels[j] < v->f32->model->labels.count ? labels[j] : -1;
        nc_batch_labels(batch, tables[i][1], tables[i][2], labels, nc_shape_count(&t->shape));
    }
    const nc_stored *mask = nc_verify_has(v, "mask.bool_masked_pos") ? nc_verify_tensor(v, "mask.bool_masked_pos") : NULL;
    int64_t n = mask ? nc_shape_count(&mask->shape) : 0;
    int32_t *masked = nc_batch_i32(batch, "vision.masked", n, 1);
    for (int64_t i = 0; i < n; i++)
        masked[i] = nc_dtype_load(mask->dtype, mask->data, i) != 0 ? 0 : -1;
    const nc_stored *target = nc_verify_has(v, "in.target") ? nc_verify_tensor(v, "in.target") : NULL;
    if (target)
        nc_batch_borrow(batch, "target", NC_F32, nc_shape_count(&target->shape) / nc_shape_last(&target->shape), nc_shape_last(&target->shape), target->data);
}

/* The mean square to in.target of the output with as many values. */
static nc_value *target_loss(nc_verify *v, nc_build *b, const nc_encoded *x)
{
    int64_t want = nc_shape_count(&nc_verify_tensor(v, "in.target")->shape);
    const struct { nc_value *value; const char *count; } outputs[] = { { x->pooled, "pictures" }, { x->rows, "vision" } };
    for (int i = 0; i < NC_COUNT(outputs); i++) {
        nc_value *y = outputs[i].value;
        if (y && nc_shape_count(&y->shape) == want)
            return nc_square_loss(b, y, nc_in(b, "target", NC_F32, outputs[i].count, nc_shape_last(&y->shape)));
    }
    nc_graph_mistake(b->g, NC_EFORMAT, "in.target has the shape of no output");
    return NULL;
}

struct how { bool train, any_size, masked, frozen, exact; };      /* exact: the float64 twin */

static const nc_model *model_of(nc_verify *v, struct how how) { return (how.exact ? nc_exact_loaded(v->exact) : v->f32)->model; }

static nc_value *build(nc_verify *v, nc_build *b, const nc_model *m)
{
    nc_encoded x = { 0 };
    if (!nc_verify_has(v, "in.target") && nc_verify_has(v, "in.labels"))
        return nc_model_loss(m, b);
    m->family->encode(m, m->self, b, NC_PICTURES, &x);
    return nc_verify_has(v, "in.target") ? target_loss(v, b, &x) : NULL;
}

static int run(nc_verify *v, const struct pictures *s, struct how how, nc_program **out, nc_batch *batch, nc_error *e)
{
    const nc_model *m = model_of(v, how);
    nc_encoded x = { 0 };
    NC_TRY(nc_model_prepare(m, batch, s->seq, s->count, e));
    add_labels(v, batch);
    nc_program *p = nc_program_new(&(nc_program_options){ .compute = how.exact ? NC_F64 : NC_F32, .training = how.train, .probes = true, .any_size = how.any_size, .masked = how.masked, .frozen = how.frozen,
                                                          .picture_height = s->height, .picture_width = s->width });
    nc_build *b = nc_program_build(p);
    nc_build_capacities(b, batch);
    nc_build_fixed(b, "pictures", s->count);
    nc_value *loss = NULL;
    if (how.train)
        loss = nc_probe(b, build(v, b, m), "loss");
    else
        m->family->encode(m, m->self, b, NC_PICTURES, &x);
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

/* Probes out.x (and, of the batch itself, all others) against prefix.x. */
static void compare(nc_verify *v, nc_program *p, const char *prefix)
{
    for (int i = 0; i < nc_program_probes(p); i++) {
        const char *probe = nc_program_probe_name(p, i);
        char name[128];
        int64_t n = 0;
        bool is_output = nc_starts_with(probe, "out.");
        snprintf(name, sizeof name, "%s%s%s", prefix, *prefix ? "." : "", *prefix && is_output ? probe + 4 : probe);
        if (!nc_verify_has(v, name) || !strcmp(probe, "loss"))
            continue;
        float *ours = nc_verify_probe(v->arena, p, probe, &n);
        nc_verify_compare(v, name, nc_verify_tensor(v, "%s", name), ours, n, 2e-5, NULL, 1);
    }
}

/* post.map.k: the label of each pixel of picture k at the size its tensor has. */
static void compare_maps(nc_verify *v, nc_program *p)
{
    const nc_value *logits = nc_program_value(p, "out.logits");
    int64_t n = 0;
    for (int k = 0; logits && logits->shape.rank == 4 && k < logits->shape.dim[0]; k++) {
        char name[32];
        snprintf(name, sizeof name, "post.map.%d", k);
        const nc_stored *want = nc_verify_has(v, name) ? nc_verify_tensor(v, "%s", name) : NULL;
        if (!want || want->shape.rank != 2)
            continue;
        const int64_t *dim = logits->shape.dim;
        const float *values = nc_verify_probe(v->arena, p, "out.logits", &n);
        int32_t *ours = NC_NEW_ARRAY(v->arena, int32_t, nc_shape_count(&want->shape) + 1);
        nc_segment_labels(values + k * dim[1] * dim[2] * dim[3], (int)dim[1], dim[2], dim[3], want->shape.dim[0], want->shape.dim[1], ours);
        nc_verify_ids(v, name, want, ours, nc_shape_count(&want->shape));
    }
}

/* Every <case>.pixel_values beside the batch's own. */
static int check_cases(nc_verify *v, nc_batch *batch, nc_error *e)
{
    static const char end[] = ".pixel_values";
    for (int i = 0; i < nc_safetensors_count(v->tensors); i++) {
        const char *name = nc_safetensors_at(v->tensors, i)->name;
        struct pictures s;
        nc_program *p = NULL;
        if (!nc_ends_with(name, end) || nc_starts_with(name, "in.") || nc_starts_with(name, "train."))
            continue;
        const char *prefix = nc_arena_strndup(v->arena, name, strlen(name) - sizeof end + 1);
        NC_TRY(pictures_of(v, name, &s, e));
        NC_TRY(run(v, &s, (struct how){ .any_size = true }, &p, batch, e));
        compare(v, p, prefix);
        nc_program_free(p);
    }
    return 0;
}

static int check(nc_verify *v, const struct pictures *s, struct how how, const char *prefix, nc_batch *batch, nc_error *e)
{
    nc_program *p = NULL;
    NC_TRY(run(v, s, how, &p, batch, e));
    compare(v, p, prefix);
    if (!*prefix)
        compare_maps(v, p);
    nc_program_free(p);
    return 0;
}

/* How far the reference is from float64: the outputs, then the training run and its steps. */
static int run_exact(nc_verify *v, const struct pictures *s, nc_batch *batch, nc_error *e)
{
    nc_program *p = NULL;
    NC_TRY(nc_exact_begin(v, e));
    NC_TRY(run(v, s, (struct how){ .exact = true }, &p, batch, e));
    nc_exact_take(v, p, "", false);
    nc_program_free(p);
    NC_TRY(run(v, s, (struct how){ .train = true, .exact = true }, &p, batch, e));
    int status = nc_exact_steps(v, p, batch, e);
    nc_program_free(p);
    return status;
}

/* Families with batch norm: the loss and gradients with frozen statistics first, then train.* and the steps with those of the batch. */
static int check_norms(nc_verify *v, const struct pictures *s, nc_batch *batch, nc_error *e)
{
    double loss;
    NC_TRY(run(v, s, (struct how){ .train = true, .frozen = true }, &v->program, batch, e));
    NC_TRY(nc_verify_gradients(v, v->program, batch, "", &loss, e));
    nc_program_free(v->program);
    v->program = NULL;
    NC_TRY(run(v, s, (struct how){ .train = true }, &v->program, batch, e));
    compare(v, v->program, "train");
    NC_TRY(nc_verify_gradients(v, v->program, batch, "train.", &loss, e));
    return nc_verify_steps(v, v->program, batch, loss, e);
}

static int check_training(nc_verify *v, const struct pictures *s, nc_batch *batch, nc_error *e)
{
    if (nc_verify_has(v, "train.loss"))
        return check_norms(v, s, batch, e);
    NC_TRY(run(v, s, (struct how){ .train = true }, &v->program, batch, e));
    return nc_verify_train(v, v->program, batch, e);
}

static int run_all(nc_verify *v, nc_error *e)
{
    struct pictures s;
    nc_batch *batch = nc_batch_new();
    int status = pictures_of(v, "in.pixel_values", &s, e);
    if (status == 0)
        status = nc_verify_pixels(v, e);
    if (status == 0 && nc_verify_has(v, "train.loss") && !nc_json_path(v->golden, "reference_spread.grad_float64"))
        status = run_exact(v, &s, batch, e);
    if (status == 0)
        status = check(v, &s, (struct how){ 0 }, "", batch, e);
    if (status == 0)
        status = check_cases(v, batch, e);
    if (status == 0 && nc_verify_has(v, "mask.bool_masked_pos"))
        status = check(v, &s, (struct how){ .masked = true }, "mask", batch, e);
    if (status == 0 && nc_verify_has(v, "loss"))
        status = check_training(v, &s, batch, e);
    nc_batch_free(batch);
    return status;
}

static bool takes(const nc_verify *v)
{
    return v->f32->model->family->encode && !v->f32->model->family->reads_text && nc_verify_has(v, "in.pixel_values") && !nc_verify_has(v, "in.input_ids");
}

const nc_verify_kind nc_verify_kind_image = { "image", takes, run_all };

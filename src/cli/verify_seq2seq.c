/* verify_seq2seq.c - encoders of text, of a picture or of both with a decoder: rows of both, the loss over the labels and its training, greedy text alone and in a batch.
 *
 * The reference pads; here each row of the batch is a sequence of its own without its padding, and the encoder's rows of padding are not compared. A model of pictures has
 * one of them, and its names are tower.hidden.k, encoder.last_hidden_state and decoder.hidden.k. Where pictures stand in the text, all sequences have the one there is.
 */
#include <math.h>
#include <stdio.h>

#include "cli/verify.h"
#include "infer/engine.h"

enum { MAX_ROWS = 64 };
struct rows { nc_seq seq[MAX_ROWS]; int count, width, steps, pictures; bool both, *padded; };     /* of the source: width columns; of the decoder: steps */

/* One sequence has no axis of its own. */
static int rows_in(const nc_stored *t) { return t->shape.rank > 1 ? (int)t->shape.dim[0] : 1; }

static int gather(nc_verify *v, struct rows *r, nc_error *e)
{
    const nc_stored *ids = nc_verify_tensor(v, "in.input_ids"), *mask = nc_verify_tensor(v, "in.attention_mask"), *text = nc_verify_tensor(v, "in.decoder_input_ids");
    const nc_stored *labels = nc_verify_has(v, "in.labels") ? nc_verify_tensor(v, "in.labels") : nc_verify_tensor(v, "train.labels");
    if (!text || ids->shape.rank < 1 || text->shape.rank != ids->shape.rank || ids->shape.rank > 2 || rows_in(text) != rows_in(ids) || rows_in(ids) > MAX_ROWS ||
        (mask && nc_shape_count(&mask->shape) != nc_shape_count(&ids->shape)) || (labels && nc_shape_count(&labels->shape) != nc_shape_count(&text->shape)))
        return nc_fail(e, NC_EFORMAT, "%s: in.input_ids, in.attention_mask, in.decoder_input_ids and in.labels do not fit each other", v->folder);
    int n = rows_in(ids), width = (int)nc_shape_last(&ids->shape), steps = (int)nc_shape_last(&text->shape), counted = 0;
    int32_t *source = nc_verify_ints(v->arena, ids), *decoder = nc_verify_ints(v->arena, text), *target = labels ? nc_verify_ints(v->arena, labels) : NULL;
    *r = (struct rows){ .count = n, .width = width, .steps = steps, .padded = NC_NEW_ARRAY(v->arena, bool, n * width) };
    for (int i = 0; target && i < n * steps; i++) {
        target[i] = target[i] < 0 ? -1 : target[i];
        counted += target[i] >= 0;
    }
    for (int i = 0; i < n; i++) {
        int live = 0;
        for (int j = 0; j < width; j++) {
            r->padded[i * width + j] = mask && nc_dtype_load(mask->dtype, mask->data, i * width + j) == 0;
            if (!r->padded[i * width + j])
                source[i * width + live++] = source[i * width + j];
        }
        r->seq[i] = (nc_seq){ .ids = decoder + i * steps, .count = steps, .slot = -1, .targets = target ? target + i * steps : NULL, .weight = 1.0f / (float)counted,
                              .source = source + i * width, .source_count = live };
    }
    return 0;
}

/* What stands for the picture: pixels, or patches with their row and column (Pix2Struct), of which those the mask leaves out only fill up. */
static const nc_stored *picture_of(nc_verify *v)
{
    return nc_verify_has(v, "in.pixel_values") ? nc_verify_tensor(v, "in.pixel_values") : nc_verify_tensor(v, "in.flattened_patches");
}

static nc_pixels pixels_of(nc_verify *v, const nc_stored *t, struct rows *r)
{
    const int64_t *dim = t->shape.dim;
    if (t->shape.rank == 4)
        return (nc_pixels){ .data = t->data, (int)dim[1], (int)dim[2], (int)dim[3] };
    const nc_stored *mask = nc_verify_tensor(v, "in.attention_mask");
    int live = 0, n = (int)dim[1];
    r->padded = NC_NEW_ARRAY(v->arena, bool, n);
    r->width = n;
    for (int i = 0; i < n; i++) {
        r->padded[i] = mask && i < nc_shape_count(&mask->shape) && nc_dtype_load(mask->dtype, mask->data, i) == 0;
        live += !r->padded[i];
    }
    return (nc_pixels){ .data = t->data, 1, live, (int)dim[2] };
}

/* One picture and the answer that follows it. */
static int gather_picture(nc_verify *v, struct rows *r, nc_error *e)
{
    const nc_stored *picture = picture_of(v), *text = nc_verify_tensor(v, "in.decoder_input_ids"), *labels = nc_verify_tensor(v, "train.labels");
    if (!text || !picture || picture->dtype != NC_F32 || picture->shape.rank < 3 || picture->shape.rank > 4 || picture->shape.dim[0] != 1 ||
        (labels && nc_shape_count(&labels->shape) != nc_shape_count(&text->shape)))
        return nc_fail(e, NC_EFORMAT, "%s: the picture [1,...], in.decoder_input_ids and train.labels do not fit each other", v->folder);
    int n = (int)nc_shape_count(&text->shape), counted = 0;
    int32_t *target = labels ? nc_verify_ints(v->arena, labels) : NULL;
    for (int i = 0; target && i < n; i++) {
        target[i] = target[i] < 0 ? -1 : target[i];
        counted += target[i] >= 0;
    }
    nc_pixels *frame = NC_NEW(v->arena, nc_pixels);
    nc_media *media = NC_NEW(v->arena, nc_media);
    *r = (struct rows){ .count = 1, .steps = n, .pictures = 1 };
    *frame = pixels_of(v, picture, r);
    *media = (nc_media){ .kind = NC_MEDIA_IMAGE, .frames = frame, .count = 1 };
    r->seq[0] = (nc_seq){ .ids = nc_verify_ints(v->arena, text), .count = n, .slot = -1, .targets = target, .weight = 1.0f / (float)counted, .media = media, .media_count = 1 };
    return 0;
}

/* Pictures in the text: in.pixel_values [n,C,H,W], as many for each sequence. */
static int gather_both(nc_verify *v, struct rows *r, nc_error *e)
{
    const nc_stored *pixels = nc_verify_tensor(v, "in.pixel_values");
    NC_TRY(gather(v, r, e));
    if (pixels->dtype != NC_F32 || pixels->shape.rank != 4 || pixels->shape.dim[0] < 1 || pixels->shape.dim[0] % r->count)
        return nc_fail(e, NC_EFORMAT, "%s: in.pixel_values must be F32 of [pictures, channels, height, width], as many for each of %d sequences", v->folder, r->count);
    const int64_t *dim = pixels->shape.dim, each = dim[0] / r->count;
    nc_pixels *frames = NC_NEW_ARRAY(v->arena, nc_pixels, dim[0]);
    nc_media *media = NC_NEW_ARRAY(v->arena, nc_media, dim[0]);
    for (int i = 0; i < dim[0]; i++) {
        frames[i] = (nc_pixels){ .data = (const float *)pixels->data + i * dim[1] * dim[2] * dim[3], (int)dim[1], (int)dim[2], (int)dim[3] };
        media[i] = (nc_media){ .kind = NC_MEDIA_IMAGE, .frames = &frames[i], .count = 1 };
    }
    for (int i = 0; i < r->count; i++) {
        r->seq[i].media = media + i * each;
        r->seq[i].media_count = (int)each;
    }
    r->pictures = (int)dim[0];
    r->both = true;
    return 0;
}

/* The text that the processor makes of golden.json's task. */
static int check_source(nc_verify *v, const struct rows *r, nc_error *e)
{
    const char *task = nc_json_string(nc_json_get(v->golden, "task"), NULL);
    const nc_loaded *l = v->f32;
    const nc_seq *s = &r->seq[0];
    int media_rows[MAX_ROWS], wrong;
    nc_conversation_ids made;
    if (!task || !l->tokenizer || s->media_count > MAX_ROWS)
        return 0;
    for (int i = 0; i < s->media_count; i++)
        media_rows[i] = l->model->family->media_rows(l->model, l->model->self, &s->media[i]);
    NC_TRY(nc_source_encode(&(nc_source_request){ .tokenizer = l->tokenizer, .processor = l->processor, .media_token = l->model->image_token_id, .text = nc_str_of(task), .media_rows = media_rows,
                                                  .media_count = s->media_count }, v->arena, &made, e));
    wrong = made.count != s->source_count ? s->source_count : 0;
    for (int i = 0; i < s->source_count && !wrong; i++)
        wrong += made.ids[i] != s->source[i];
    nc_verify_add(v, "in.input_ids", wrong, wrong, 0, "ids that differ, from the task");
    return 0;
}

/* Pixels made from the picture beside the checkpoint may differ by 0.03 from what the model is fed (a level or two of 255 in single ones). */
static int check_pixels(nc_verify *v, nc_error *e)
{
    const char *path = nc_json_string(nc_json_get(v->golden, "image_file"), NULL);
    const nc_stored *want = picture_of(v), *pillow = nc_verify_tensor(v, "pil.pixel_values");
    nc_image image = { 0 };
    nc_features f = { 0 };
    if (!path || !v->f32->image)
        return 0;
    NC_TRY(nc_image_load(nc_path_join(v->arena, v->folder, path), NULL, &image, e));
    int status = nc_processor_images(v->f32->image, v->arena, &image, 1, &f, e);
    nc_image_free(&image);
    NC_TRY(status);
    const nc_feature *pixels = nc_features_get(&f, want->name + strlen("in."));
    int64_t n = nc_shape_count(&want->shape), ours = pixels ? 1 : 0;
    for (int i = 0; pixels && i < pixels->rank; i++)
        ours *= pixels->shape[i];
    if (ours != n)
        return nc_fail(e, NC_EFORMAT, "%s: the processor makes %lld values of %s, %s has %lld", v->folder, (long long)ours, path, want->name, (long long)n);
    double worst = 0, exact = 0;
    if (pillow && (pillow->dtype != NC_F32 || nc_shape_count(&pillow->shape) != n))
        return nc_fail(e, NC_EFORMAT, "%s: pil.pixel_values has another shape than in.pixel_values", v->folder);
    for (int64_t i = 0; i < n; i++) {
        worst = nc_worse(worst, fabs((double)((const float *)want->data)[i] - (double)pixels->f32[i]));
        exact = pillow ? nc_worse(exact, fabs((double)((const float *)pillow->data)[i] - (double)pixels->f32[i])) : 0;
    }
    nc_verify_add(v, want->name, worst, worst, 0.03, "absolute, from the picture");
    if (pillow)
        nc_verify_add(v, "pil.pixel_values", exact, exact, 1e-6, "absolute, from the picture");
    return 0;
}

/* Rows of the sources, which lie packed, at their places among the padding. */
static float *spread(nc_verify *v, const struct rows *r, const float *packed, int64_t columns)
{
    float *out = NC_NEW_ARRAY(v->arena, float, r->count * r->width * columns);
    for (int64_t i = 0, row = 0; i < r->count * r->width; i++)
        if (!r->padded[i])
            memcpy(out + i * columns, packed + row++ * columns, sizeof *out * (size_t)columns);
    return out;
}

static const char *golden_name(nc_verify *v, const struct rows *r, const char *probe)
{
    if (!strcmp(probe, "logits"))
        return "out.logits";
    static const char *const pairs[][2] = { { "out.encoder_last_hidden_state", "encoder.last_hidden_state" }, { "hidden.encoder.", "encoder.hidden." }, { "hidden.decoder.", "decoder.hidden." } };
    for (int i = 0; r->both && i < NC_COUNT(pairs); i++)
        if (nc_starts_with(probe, pairs[i][0]))
            return nc_arena_printf(v->arena, "%s%s", pairs[i][1], probe + strlen(pairs[i][0]));
    if (r->pictures && !strcmp(probe, "out.last_hidden_state"))
        return "tower.last";
    return r->pictures && nc_starts_with(probe, "hidden.") ? nc_arena_printf(v->arena, "tower.%s", probe) : probe;
}

static bool of_encoder(const struct rows *r, const char *probe)
{
    static const char *const of_pictures[] = { "hidden.*", "out.last_hidden_state", "encoder.last_hidden_state" }, *const of_text[] = { "hidden.encoder.*", "out.encoder_last_hidden_state" };
    const bool sees = r->pictures && !r->both;
    const char *const *names = sees ? of_pictures : of_text;
    for (int i = 0; i < (sees ? NC_COUNT(of_pictures) : NC_COUNT(of_text)); i++)
        if (nc_glob(names[i], probe))
            return true;
    return false;
}

static void compare(nc_verify *v, nc_program *p, const struct rows *r)
{
    for (int i = 0; i < nc_program_probes(p); i++) {
        const char *name = nc_program_probe_name(p, i), *golden = golden_name(v, r, name);
        const nc_stored *want = strcmp(name, "loss") && nc_verify_has(v, golden) ? nc_verify_tensor(v, "%s", golden) : NULL;
        int64_t n = 0, columns = want ? nc_shape_last(&want->shape) : 0;
        float *ours = want ? nc_verify_probe(v->arena, p, name, &n) : NULL;
        if (!ours)
            continue;
        if (r->padded && of_encoder(r, name))
            nc_verify_compare(v, golden, want, spread(v, r, ours, columns), r->count * r->width * columns, 2e-5, r->padded, columns);
        else
            nc_verify_compare(v, golden, want, ours, n, 2e-5, NULL, 1);
    }
}

static int check_forward(nc_verify *v, const struct rows *r, nc_error *e)
{
    nc_batch *batch = nc_batch_new();
    nc_program *p = NULL;
    int status = nc_verify_build(v, v->f32, NC_F32, false, r->seq, r->count, r->pictures, &p, batch, e);
    if (status == 0)
        compare(v, p, r);
    nc_program_free(p);
    nc_batch_free(batch);
    return status;
}

/* Where golden.json does not say how far the reference's steps are from float64's: the same steps there. */
static int run_exact(nc_verify *v, const struct rows *r, nc_batch *batch, nc_error *e)
{
    nc_program *p = NULL;
    if (nc_json_path(v->golden, "reference_spread.adamw_losses_float64"))
        return 0;
    NC_TRY(nc_exact_begin(v, e));
    NC_TRY(nc_verify_build(v, nc_exact_loaded(v->exact), NC_F64, true, r->seq, r->count, r->pictures, &p, batch, e));
    int status = nc_exact_steps(v, p, batch, e);
    nc_program_free(p);
    return status;
}

static int check_training(nc_verify *v, const struct rows *r, nc_error *e)
{
    nc_batch *batch = nc_batch_new();
    int status = run_exact(v, r, batch, e);
    if (status == 0)
        status = nc_verify_build(v, v->f32, NC_F32, true, r->seq, r->count, r->pictures, &v->program, batch, e);
    if (status == 0)
        status = nc_verify_train(v, v->program, batch, e);
    nc_batch_free(batch);
    return status;
}

static int check_cases(nc_verify *v, const struct rows *r, const nc_seq *from, nc_error *e)
{
    nc_pictures *picture = NULL;
    if (r->pictures) {
        const nc_pixels *p = &from->media[0].frames[0];
        picture = nc_pictures_new(&(nc_visual){ .frames = 1, .channels = p->channels, .height = p->height, .width = p->width, .pixels = (float *)(uintptr_t)p->data });
    }
    int status = nc_verify_cases(v, from, picture, e);
    nc_pictures_free(picture);
    return status;
}

/* Greedy text begins with what golden.json states: one id or a few. */
static int decoder_prompt(nc_verify *v, int32_t *ids, int room, int *count, nc_error *e)
{
    const nc_json *list = nc_json_get(v->golden, "decoder_prompt_ids"), *start = nc_json_path(v->golden, "generate.decoder_start_token_id");
    *count = 0;
    NC_JSON_EACH(item, list)
        if (*count < room)
            ids[(*count)++] = (int32_t)nc_json_int(item, -1);
    if (start)
        ids[(*count)++] = (int32_t)nc_json_int(start, -1);
    for (int i = 0; i < *count; i++)
        if (ids[i] < 0)
            *count = 0;
    if (!list && !start)
        *count = nc_decoder_start(v->f32, ids, e) == 0;
    return *count ? 0 : nc_fail(e, NC_EFORMAT, "%s: golden.json does not say what the decoder's text begins with", v->folder);
}

static int check_text(nc_verify *v, const struct rows *r, nc_error *e)
{
    const nc_stored *batch = nc_verify_tensor(v, "generate.batch_ids");
    nc_seq from = r->seq[0];
    int32_t start[16];
    NC_TRY(decoder_prompt(v, start, NC_COUNT(start), &from.count, e));
    from.ids = start;
    from.targets = NULL;
    NC_TRY(nc_verify_generate_from(v, &from, e));
    NC_TRY(check_cases(v, r, &from, e));
    if (!batch)
        return 0;
    int steps = (int)nc_shape_last(&batch->shape), rows = (int)batch->shape.dim[0];
    if (rows > r->count)
        return nc_fail(e, NC_EFORMAT, "%s: generate.batch_ids has %d rows, in.input_ids %d", v->folder, rows, r->count);
    int32_t *ids = NC_NEW_ARRAY(v->arena, int32_t, rows * steps);
    for (int i = 0; i < rows; i++) {
        from.source = r->seq[i].source;
        from.source_count = r->seq[i].source_count;
        from.media = r->seq[i].media;
        from.media_count = r->seq[i].media_count;
        NC_TRY(nc_verify_greedy(v, &from, steps, ids + i * steps, e));
    }
    nc_verify_ids(v, "generate.batch_ids", batch, ids, rows * steps);
    return 0;
}

static bool has_picture(const nc_verify *v) { return nc_verify_has(v, "in.pixel_values") || nc_verify_has(v, "in.flattened_patches"); }

static int run_all(nc_verify *v, nc_error *e)
{
    struct rows r;
    const bool text = nc_verify_has(v, "in.input_ids");
    NC_TRY(text && has_picture(v) ? gather_both(v, &r, e) : text ? gather(v, &r, e) : gather_picture(v, &r, e));
    if (r.pictures)
        NC_TRY(check_pixels(v, e));
    if (r.both)
        NC_TRY(check_source(v, &r, e));
    NC_TRY(check_forward(v, &r, e));
    if (nc_verify_has(v, "generate.new_ids"))
        NC_TRY(check_text(v, &r, e));
    return nc_verify_has(v, "loss") ? check_training(v, &r, e) : 0;
}

static bool takes(const nc_verify *v)
{
    const nc_family *f = v->f32->model->family;
    return f->encoder && (nc_verify_has(v, "in.input_ids") != has_picture(v) || f->tower);
}

const nc_verify_kind nc_verify_kind_seq2seq = { "seq2seq", takes, run_all };

/* objective_cls.c - labels: of a text or a pair of texts, of words, of pictures. The model is the family's ...ForSequenceClassification, ...ForTokenClassification or
 * ...ForImageClassification, with the folder's head or a fresh one.
 *
 *   one of several   -sum_i w log softmax(z_i)[label_i]                w = 1 / (samples, or words with a label, of all micro-batches of the step)
 *   some of several  sum_i w mean_k (softplus(z_ik) - y_ik z_ik)
 *   numbers          sum_i w mean_k (z_ik - y_ik)^2
 *
 * Which it is: problem_type of the recipe, else of the folder's config where it has that head, else as the labels look (data/labels.h); the result's config.json says it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "load/visual_media.h"
#include "train/objective.h"
#include "train/run.h"

enum what { TEXTS, WORDS, PICTURES };
static const char *const suffixes[] = { "ForSequenceClassification", "ForTokenClassification", "ForImageClassification" }, *const words[] = { "texts", "words", "pictures" };

static enum what what_is(const nc_sample *s) { return s->words ? WORDS : s->media_count ? PICTURES : TEXTS; }

/* All samples are of one kind. */
static int what_of(const nc_train_run *r, enum what *out, nc_error *e)
{
    *out = what_is(&r->data->samples[0]);
    for (int k = 0; k < 2; k++) {
        const nc_dataset *d = k ? r->eval_data : r->data;
        for (int i = 0; d && i < d->count; i++)
            if (what_is(&d->samples[i]) != *out)
                return nc_fail(e, NC_EINVAL, "%s:%d: a record of %s among those of %s", d->samples[i].file, d->samples[i].line, words[what_is(&d->samples[i])], words[*out]);
    }
    return 0;
}

static nc_label_kind kind_of(const char *problem, int count)
{
    if (!*problem)
        return count == 1 ? NC_LABELS_NUMBERS : NC_LABELS_ANY;
    return !strcmp(problem, "regression") ? NC_LABELS_NUMBERS : !strcmp(problem, "multi_label_classification") ? NC_LABELS_SOME : NC_LABELS_ONE;
}

/* The head's labels stay where the data's are among them. */
static bool fits(const nc_train_run *r, const nc_label_set *head)
{
    float *values = NC_NEW_ARRAY(r->arena, float, head->count + 1);
    nc_error unknown = { 0 };
    for (int k = 0; k < 2; k++) {
        const nc_dataset *d = k ? r->eval_data : r->data;
        for (int i = 0; d && i < d->count; i++) {
            const nc_json *label = d->samples[i].label;
            if (!d->samples[i].words && head->kind != NC_LABELS_ONE && (!label || nc_label_values(head, label, values, &unknown) < 0))
                return false;
            if (!d->samples[i].words && head->kind == NC_LABELS_ONE && nc_label_id(head, label) < 0)
                return false;
            NC_JSON_EACH(one, d->samples[i].words ? label : NULL)
                if (nc_label_id(head, one) < 0 && nc_json_int(one, 0) >= 0)
                    return false;
        }
    }
    return true;
}

static int head_count(const nc_json *config)
{
    const nc_json *names = nc_json_get(config, "id2label");
    return (int)nc_json_int(nc_json_get(config, "num_labels"), nc_json_is(names, NC_JSON_OBJECT) ? names->count : 2);
}

static int settle(nc_train_run *r, nc_error *e)
{
    nc_arena *a = r->arena;
    nc_json *config = NULL;
    enum what what;
    const nc_dataset *const data[] = { r->data, r->eval_data };
    nc_label_set found;
    NC_TRY(what_of(r, &what, e));
    NC_TRY(nc_json_load(a, nc_path_join(a, r->front, "config.json"), &config, e));
    bool has_head = r->source && nc_ends_with(nc_json_string(nc_json_at(nc_json_get(config, "architectures"), 0), ""), suffixes[what]);
    const char *problem = r->s->problem_type ? r->s->problem_type : has_head ? nc_json_string(nc_json_get(config, "problem_type"), "") : "";
    nc_label_kind kind = what == WORDS ? NC_LABELS_ONE : kind_of(problem, has_head ? head_count(config) : 0);
    NC_TRY(nc_labels_find(a, data, 1 + (r->eval_data != NULL), kind, &found, e));
    r->labels = found;
    if (has_head && !r->s->ignore_mismatched_sizes) {
        nc_label_set head;
        nc_labels_of_config(a, config, found.kind, head_count(config), &head);
        if (!fits(r, &head))
            return nc_fail(e, NC_EINVAL, "the data's labels are not those of %s's head (%d of them); ignore_mismatched_sizes: true gives it a fresh one for the data's %d", r->source, head.count,
                           found.count);
        r->labels = head;
    }
    if (r->labels.count < 1 || (r->labels.count < 2 && r->labels.kind == NC_LABELS_ONE))
        return nc_fail(e, NC_EINVAL, "all samples have the same label; there is nothing to tell apart");
    NC_TRY(nc_train_settle(r, suffixes[what], words[what], &r->labels, e));
    r->scores = nc_label_scores_new(&r->labels, what == WORDS);
    return 0;
}

static int check(const nc_train_run *r, nc_error *e)
{
    if (r->data->samples[0].media_count)
        return r->l->image ? 0 : nc_fail(e, NC_ENOTFOUND, "%s holds no preprocessor_config.json, which says how pictures are read", r->front);
    return r->l->tokenizer ? 0 : nc_fail(e, NC_ENOTFOUND, "%s holds no tokenizer", r->front);
}

/* PEFT knows no task of pictures. */
static const char *task_type(const nc_train_run *r)
{
    const nc_sample *s = &r->data->samples[0];
    return s->words ? "TOKEN_CLS" : s->media_count ? "" : "SEQ_CLS";
}

static void examples(const nc_train_run *r, nc_example_options *o)
{
    o->kind = NC_EXAMPLE_LABELS;
    o->labels = &r->labels;
    o->types = r->l->model->text_types;
}

/* ---- the loss ---- */

/* A program of pictures is made for one size. */
static int program(nc_train_run *r, nc_program_options *o, nc_error *e)
{
    o->kept_probe = o->training ? NULL : "out.logits";
    if (!r->train->item[0].media_count)
        return 0;
    const nc_visual *first = nc_media_store_shape(r->store, r->train->item[0].media[0]);
    for (int k = 0; k < 2; k++)
        for (int i = 0; (k ? r->eval : r->train) && i < (k ? r->eval : r->train)->count; i++) {
            const nc_visual *v = nc_media_store_shape(r->store, (k ? r->eval : r->train)->item[i].media[0]);
            if (v->is_video || v->grid_height || v->frames != 1)
                return nc_fail(e, NC_EUNSUPPORTED, "stage: cls takes pictures; the processor made %d frames or patches of one", v->frames);
            if (v->height != first->height || v->width != first->width)
                return nc_fail(e, NC_ESHAPE, "the processor makes pictures of %d x %d and of %d x %d; stage: cls needs one size (size with height and width, or a crop, in preprocessor_config.json)",
                               first->width, first->height, v->width, v->height);
        }
    nc_vision_info info = { 0 };
    if (r->l->model->family->vision_info)
        r->l->model->family->vision_info(r->l->model->self, &info);
    o->picture_height = first->height;
    o->picture_width = first->width;
    o->any_size = info.image_size > 0 && (first->height != info.image_size || first->width != info.image_size);
    return 0;
}

/* Capacities are what a full micro-batch of such pictures has. */
static int capacities_of_pictures(nc_train_run *r, nc_build *b, nc_error *e)
{
    const nc_visual *v = nc_media_store_shape(r->store, r->train->item[0].media[0]);
    nc_arena *a = nc_arena_new();
    const int n = (int)r->most_samples;
    nc_seq *seqs = NC_NEW_ARRAY(a, nc_seq, n + 1);
    nc_pixels pixels = nc_pixels_of(v, NC_NEW_ARRAY(a, float, nc_visual_unit(v) + 16), 0);
    nc_media media = nc_media_of(v);
    nc_batch *batch = nc_batch_new();
    media.frames = &pixels;
    for (int i = 0; i < n; i++)
        seqs[i] = (nc_seq){ .slot = -1, .media = &media, .media_count = 1 };
    int status = nc_model_prepare(r->l->model, batch, seqs, n, e);
    if (status == 0)
        nc_build_capacities(b, batch);
    nc_batch_free(batch);
    nc_arena_free(a);
    return status;
}

static nc_value *loss(nc_train_run *r, nc_build *b)
{
    nc_error e = { 0 };
    if (r->train->item[0].media_count) {
        if (capacities_of_pictures(r, b, &e) < 0) {
            nc_graph_mistake(b->g, e.code, "%s", e.message);
            return nc_graph_poison(b->g);
        }
    } else {
        nc_build_capacity(b, "tokens", r->most_tokens);
        nc_build_capacity(b, "scored", r->most_scored);
        nc_build_capacity(b, "sequences", r->most_samples);
    }
    return nc_model_loss(r->l->model, b);
}

static int tables(nc_train_run *r, const nc_examples *x, const int64_t *order, int count, float weight, nc_error *e)
{
    (void)e;
    if (x->item[order[0]].targets)                       /* of words: the model's prepare made them */
        return 0;
    float *w = nc_batch_f32(r->batch, "label.weights", count, 1);
    int32_t *label = nc_batch_i32(r->batch, "labels", count, 1);
    float *values = r->labels.kind == NC_LABELS_ONE ? NULL : nc_batch_f32(r->batch, "label.values", count, r->labels.count);
    for (int i = 0; i < count; i++) {
        const nc_example *one = &x->item[order[i]];
        w[i] = weight;
        label[i] = one->label < 0 ? 0 : one->label;
        if (values)
            memcpy(values + (int64_t)i * r->labels.count, one->values, sizeof *values * (size_t)r->labels.count);
    }
    return 0;
}

static void judge(nc_train_run *r, const nc_examples *x, const int64_t *order, int count)
{
    const nc_value *z = nc_program_value(r->judge, "out.logits");
    const int n = r->labels.count;
    float *logits = nc_xcalloc((size_t)n + 1, sizeof *logits);
    int64_t row = 0;
    for (int i = 0; i < count; i++) {
        const nc_example *one = &x->item[order[i]];
        int rows = one->targets ? one->count : 1;
        for (int j = 0; j < rows; j++, row++) {
            int label = one->targets ? one->targets[j] : one->label;
            if (one->targets && label < 0)
                continue;
            for (int k = 0; k < n; k++)
                logits[k] = (float)nc_dtype_load(z->dtype, z->data, row * n + k);
            nc_label_scores_add(r->scores, logits, label, one->values);
        }
        nc_label_scores_end(r->scores);
    }
    free(logits);
}

const nc_objective nc_objective_cls = {
    .stage = "cls", .records = NC_RECORDS_LABELS, .settle = settle, .check = check, .examples = examples, .program = program, .loss = loss, .tables = tables, .task_type = task_type, .judge = judge,
};

/* evaluate_labels.c - see evaluate_labels.h. */
#include "eval/evaluate_labels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "data/label_scores.h"
#include "eval/report.h"
#include "infer/classifier.h"

enum { AT_ONCE = 64, REPORTED = 400, SHOWN = 48, SHOWN_BYTES = 1 << 18, MATRIX = 40 };

struct scoring {
    const nc_evaluate_options *o;
    nc_arena *a;
    nc_dataset *data;
    nc_classifier *x;
    nc_classified kind;
    nc_label_set labels;
    nc_label_scores *scores;
    nc_writer *predictions;          /* NULL: none are written */
    nc_report *report;
};

static const char *model_folder(nc_arena *a, const char *folder)
{
    const char *inside = nc_path_join(a, folder, "model");
    return !nc_file_exists(nc_path_join(a, folder, "config.json")) && nc_is_dir(inside) ? inside : folder;
}

bool nc_evaluates_labels(const char *folder)
{
    nc_arena *a = nc_arena_new();
    bool is = nc_classifier_kind(model_folder(a, folder)) != NC_CLASSIFIES_NOTHING;
    nc_arena_free(a);
    return is;
}

static nc_str name_of(const struct scoring *s, int label)
{
    return s->labels.name && label >= 0 ? s->labels.name[label] : NC_STR("-");
}

/* What the model says in words: a label, several, or numbers. */
static nc_str answer_of(const struct scoring *s, nc_arena *a, const float *logits, const float *values)
{
    nc_buf b = { 0 };
    for (int i = 0; s->labels.kind != NC_LABELS_ONE && i < s->labels.count; i++) {
        float v = logits ? logits[i] : values[i];
        if (s->labels.kind == NC_LABELS_NUMBERS)
            nc_buf_printf(&b, "%s%.6g", i ? ", " : "", (double)v);
        else if (logits ? v > 0 : v > 0.5f)
            nc_buf_printf(&b, "%s%.*s", b.n ? ", " : "", (int)name_of(s, i).n, name_of(s, i).p);
    }
    if (s->labels.kind == NC_LABELS_ONE)
        return name_of(s, nc_label_best(logits, s->labels.count));
    nc_str out = { nc_arena_strndup(a, b.p ? b.p : "", b.n), b.n };
    nc_buf_free(&b);
    return out;
}

static void add_text(nc_arena *a, nc_json *j, const char *key, nc_str v) { nc_json_set(a, j, key, nc_json_new_string(a, v)); }

static void write_line(struct scoring *s, nc_arena *a, const nc_sample *sample, int index, nc_json *line)
{
    nc_buf b = { 0 };
    nc_json *j = nc_json_new(a, NC_JSON_OBJECT);
    nc_json_set(a, j, "index", nc_json_new_int(a, index));
    if (sample->media_count)
        add_text(a, j, "image", nc_str_of(sample->media[0].path));
    NC_JSON_EACH(v, line)
        nc_json_set(a, j, v->key.p, nc_json_clone(a, v));
    nc_json_write(&b, j, 0);
    nc_buf_addc(&b, '\n');
    nc_writer_add(s->predictions, b.p, b.n);
    nc_buf_free(&b);
}

static void show(struct scoring *s, nc_arena *a, const nc_sample *sample, int index, nc_str answer, nc_str truth, bool right)
{
    nc_frame frame = { 0 };
    nc_buf bytes = { 0 };
    nc_error ignored = { 0 };
    const char *path = sample->media_count ? sample->media[0].path : NULL;
    if (path && index < SHOWN && nc_file_read(path, SHOWN_BYTES, &bytes, &ignored) == 0)
        frame = (nc_frame){ bytes.p, bytes.n, nc_ends_with(path, ".png") ? "image/png" : "image/jpeg" };
    const char *asked = path ? path : nc_arena_printf(a, "%.*s%s%.*s", (int)sample->text.n, sample->text.p, sample->pair.p ? " | " : "", (int)sample->pair.n, sample->pair.p ? sample->pair.p : "");
    nc_score score = { "right", right };
    nc_report_sample(s->report, &(nc_report_row){ .id = nc_arena_printf(a, "%d", index), .note = asked, .frames = &frame, .frame_count = frame.bytes != NULL, .prediction = answer, .references = &truth,
                                                  .reference_count = 1, .scores = &score, .score_count = s->labels.kind != NC_LABELS_NUMBERS });
    nc_buf_free(&bytes);
}

static int score_whole(struct scoring *s, nc_arena *a, const nc_sample *sample, int index, const float *logits, nc_error *e)
{
    float *values = NC_NEW_ARRAY(a, float, s->labels.count + 1);
    double *shares = NC_NEW_ARRAY(a, double, s->labels.count + 1);
    int label = -1;
    if (!sample->label)
        return nc_fail(e, NC_EFORMAT, "the record has no label");
    if (s->labels.kind == NC_LABELS_ONE) {
        label = nc_label_id(&s->labels, sample->label);
        if (label < 0)
            return nc_label_unknown(&s->labels, sample->label, e);
    } else
        NC_TRY(nc_label_values(&s->labels, sample->label, values, e));
    nc_label_scores_add(s->scores, logits, label, values);
    nc_classifier_scores(s->x, logits, shares);
    nc_str answer = answer_of(s, a, logits, values), truth = label >= 0 ? name_of(s, label) : answer_of(s, a, NULL, values);
    if (s->predictions) {
        nc_json *line = nc_json_new(a, NC_JSON_OBJECT), *list = nc_json_new(a, NC_JSON_ARRAY);
        for (int i = 0; i < s->labels.count; i++)
            nc_json_append(list, nc_json_new_double(a, shares[i]));
        add_text(a, line, "label", truth);
        add_text(a, line, "prediction", answer);
        nc_json_set(a, line, "scores", list);
        write_line(s, a, sample, index, line);
    }
    if (s->report && index < REPORTED)
        show(s, a, sample, index, answer, truth, nc_str_eq(answer, truth));
    return 0;
}

static int score_words(struct scoring *s, nc_arena *a, const nc_sample *sample, int index, const float *logits, nc_error *e)
{
    nc_json *words = nc_json_new(a, NC_JSON_ARRAY), *line = nc_json_new(a, NC_JSON_OBJECT);
    const nc_json *label = sample->label ? sample->label->first : NULL, *word = sample->words->first;
    for (int j = 0; word; j++, word = word->next, label = label ? label->next : NULL) {
        const float *mine = logits + (int64_t)j * s->labels.count;
        int truth = label ? nc_label_id(&s->labels, label) : -1;
        if (!label || (truth < 0 && nc_json_int(label, 0) >= 0))
            return label ? nc_label_unknown(&s->labels, label, e) : nc_fail(e, NC_EFORMAT, "the record has no labels of its words");
        if (truth >= 0 && !isnan(mine[0]))
            nc_label_scores_add(s->scores, mine, truth, NULL);
        nc_json_append(words, nc_json_new_string(a, isnan(mine[0]) ? NC_STR("") : name_of(s, nc_label_best(mine, s->labels.count))));
    }
    nc_label_scores_end(s->scores);
    nc_json_set(a, line, "predictions", words);
    if (s->predictions)
        write_line(s, a, sample, index, line);
    return 0;
}

static int fits(const struct scoring *s, const nc_sample *sample, nc_error *e)
{
    nc_classified is = sample->words ? NC_CLASSIFIES_WORDS : sample->media_count ? NC_CLASSIFIES_PICTURES : NC_CLASSIFIES_TEXTS;
    static const char *const names[] = { "nothing", "texts", "words", "pictures" };
    return is == s->kind ? 0 : nc_fail(e, NC_EINVAL, "a record of %s; the model labels %s", names[is], names[s->kind]);
}

static int score_some(struct scoring *s, int from, int to, nc_error *e)
{
    nc_arena *a = nc_arena_new();
    nc_unlabelled *things = NC_NEW_ARRAY(a, nc_unlabelled, to - from + 1);
    float **logits = NC_NEW_ARRAY(a, float *, to - from + 1);
    int status = 0;
    for (int i = from; i < to && status == 0; i++) {
        const nc_sample *sample = &s->data->samples[i];
        nc_unlabelled *t = &things[i - from];
        *t = (nc_unlabelled){ .text = sample->text, .pair = sample->pair, .picture = sample->media_count ? sample->media[0].path : NULL };
        nc_str *words = sample->words ? NC_NEW_ARRAY(a, nc_str, sample->words->count + 1) : NULL;
        NC_JSON_EACH(w, sample->words)
            words[t->word_count++] = w->text;
        t->words = words;
        status = fits(s, sample, e);
        if (status < 0)
            nc_fail_in(e, "%s:%d", sample->file, sample->line);
    }
    if (status == 0)
        status = nc_classifier_run(s->x, a, things, to - from, logits, e);
    for (int i = from; i < to && status == 0; i++) {
        const nc_sample *sample = &s->data->samples[i];
        status = sample->words ? score_words(s, a, sample, i, logits[i - from], e) : score_whole(s, a, sample, i, logits[i - from], e);
        if (status < 0)
            nc_fail_in(e, "%s:%d", sample->file, sample->line);
    }
    nc_arena_free(a);
    return status;
}

static nc_json *tree_of(const struct scoring *s, double seconds)
{
    nc_arena *a = s->a;
    nc_json *j = nc_json_new(a, NC_JSON_OBJECT), *labels = nc_json_new(a, NC_JSON_ARRAY), *matrix = nc_json_new(a, NC_JSON_ARRAY);
    nc_label_score list[NC_LABEL_SCORES];
    int n = nc_label_scores_list(s->scores, list);
    nc_json_set(a, j, "samples", nc_json_new_int(a, s->data->count));
    for (int i = 0; i < n; i++)
        nc_json_set(a, j, list[i].name, isnan(list[i].value) ? nc_json_new(a, NC_JSON_NULL) : nc_json_new_double(a, list[i].value));
    for (int i = 0; s->labels.kind != NC_LABELS_NUMBERS && i < s->labels.count; i++) {
        nc_json *one = nc_json_new(a, NC_JSON_OBJECT), *row = nc_json_new(a, NC_JSON_ARRAY);
        nc_label_share share = nc_label_share_of(s->scores, i);
        add_text(a, one, "label", name_of(s, i));
        nc_json_set(a, one, "precision", nc_json_new_double(a, share.precision));
        nc_json_set(a, one, "recall", nc_json_new_double(a, share.recall));
        nc_json_set(a, one, "f1", nc_json_new_double(a, share.f1));
        nc_json_set(a, one, "support", nc_json_new_int(a, share.support));
        nc_json_append(labels, one);
        for (int k = 0; k < s->labels.count; k++)
            nc_json_append(row, nc_json_new_int(a, nc_label_confusion(s->scores, i, k)));
        nc_json_append(matrix, row);
    }
    if (labels->count)
        nc_json_set(a, j, "labels", labels);
    if (s->labels.kind == NC_LABELS_ONE)
        nc_json_set(a, j, "confusion", matrix);
    nc_json_set(a, j, "seconds", nc_json_new_double(a, seconds));
    return j;
}

static int write_files(struct scoring *s, const nc_json *tree, nc_error *e)
{
    nc_buf text = { 0 };
    nc_error ignored = { 0 };
    nc_label_score list[NC_LABEL_SCORES];
    int n = nc_label_scores_list(s->scores, list);
    nc_json_write(&text, tree, 2);
    nc_buf_addc(&text, '\n');
    int status = nc_file_write(nc_path_join(s->a, s->o->out, "scores.json"), text.p, text.n, e);
    nc_buf_free(&text);
    NC_TRY(status);
    for (int i = 0; i < n; i++)
        nc_report_score(s->report, list[i].name, list[i].value, 3, "");
    nc_report_setting(s->report, "model", s->o->folder);
    nc_report_setting(s->report, "data", s->o->data);
    nc_report_setting(s->report, "samples", nc_arena_printf(s->a, "%d", s->data->count));
    if (s->labels.kind == NC_LABELS_ONE && s->labels.count <= MATRIX) {
        int64_t *counts = NC_NEW_ARRAY(s->a, int64_t, s->labels.count * s->labels.count);
        for (int i = 0; i < s->labels.count * s->labels.count; i++)
            counts[i] = nc_label_confusion(s->scores, i / s->labels.count, i % s->labels.count);
        nc_report_matrix(s->report, "Confusion (rows: the data's label, columns: the model's)", s->labels.name, s->labels.count, counts);
    }
    if (s->o->training_metrics)
        nc_report_curves(s->report, s->o->training_metrics, &ignored);
    return nc_report_write(s->report, nc_path_join(s->a, s->o->out, "report.html"), e);
}

static nc_label_kind kind_of(const nc_model *m)
{
    return m->labels.problem == NC_REGRESSION ? NC_LABELS_NUMBERS : m->labels.problem == NC_MULTI_LABEL ? NC_LABELS_SOME : NC_LABELS_ONE;
}

static int open_all(struct scoring *s, nc_error *e)
{
    const nc_evaluate_options *o = s->o;
    const char *folder = model_folder(s->a, o->folder);
    nc_classifier_options open = { .compute = NC_F32, .threads = o->open.threads };
    nc_dataset_options data = { .folder = nc_path_dir(s->a, o->data), .records = NC_RECORDS_LABELS, .max_samples = o->max_samples };
    if (o->open.dtype && (nc_dtype_parse(o->open.dtype, &open.compute) < 0 || (open.compute != NC_F32 && open.compute != NC_BF16)))
        return nc_fail(e, NC_EINVAL, "dtype %s: f32 and bf16 are known", o->open.dtype);
    NC_TRY(nc_dataset_load(o->data, &data, &s->data, e));
    NC_TRY(nc_classifier_open(folder, &open, &s->x, e));
    const nc_model *m = nc_classifier_loaded(s->x)->model;
    s->kind = nc_classifier_kind(folder);
    nc_labels_of_config(s->a, m->config, s->kind == NC_CLASSIFIES_WORDS ? NC_LABELS_ONE : kind_of(m), m->labels.count, &s->labels);
    s->scores = nc_label_scores_new(&s->labels, s->kind == NC_CLASSIFIES_WORDS);
    if (!o->out)
        return 0;
    s->report = nc_report_new("Evaluation", o->data);
    NC_TRY(nc_mkdirs(o->out, e));
    return nc_writer_open(nc_path_join(s->a, o->out, "predictions.jsonl"), &s->predictions, e);
}

int nc_evaluate_labels(const nc_evaluate_options *o, nc_arena *a, nc_json **scores, nc_error *e)
{
    struct scoring s = { .o = o, .a = a };
    int status = open_all(&s, e);
    double start = nc_now();
    for (int from = 0; status == 0 && from < s.data->count; from += AT_ONCE) {
        int to = from + AT_ONCE < s.data->count ? from + AT_ONCE : s.data->count;
        status = score_some(&s, from, to, e);
        if (status == 0 && o->progress)
            o->progress(o->context, to, s.data->count);
    }
    if (status == 0)
        *scores = tree_of(&s, nc_now() - start);
    if (s.predictions && status == 0)
        status = nc_writer_commit(s.predictions, e);
    else
        nc_writer_abandon(s.predictions);
    if (status == 0 && o->out)
        status = write_files(&s, *scores, e);
    nc_report_free(s.report);
    nc_label_scores_free(s.scores);
    nc_classifier_free(s.x);
    nc_dataset_free(s.data);
    return status;
}

void nc_evaluate_labels_table(const nc_json *scores, nc_buf *out)
{
    char time[32];
    nc_buf_printf(out, "%lld samples in %s\n", (long long)nc_json_int(nc_json_get(scores, "samples"), 0), nc_human_time(nc_json_double(nc_json_get(scores, "seconds"), 0), time));
    NC_JSON_EACH(v, scores)
        if (nc_json_is(v, NC_JSON_NUMBER) && strcmp(v->key.p, "samples") && strcmp(v->key.p, "seconds"))
            nc_buf_printf(out, "  %-18s %8.4f\n", v->key.p, nc_json_double(v, 0));
    const nc_json *labels = nc_json_get(scores, "labels");
    if (labels)
        nc_buf_printf(out, "  %-18s %9s %9s %9s %9s\n", "label", "precision", "recall", "f1", "support");
    NC_JSON_EACH(one, labels)
        nc_buf_printf(out, "  %-18s %9.4f %9.4f %9.4f %9lld\n", nc_json_string(nc_json_get(one, "label"), ""), nc_json_double(nc_json_get(one, "precision"), 0),
                      nc_json_double(nc_json_get(one, "recall"), 0), nc_json_double(nc_json_get(one, "f1"), 0), (long long)nc_json_int(nc_json_get(one, "support"), 0));
}

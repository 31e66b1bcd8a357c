/* classifier.c - see classifier.h. Texts run as flat streams without padding, up to 64 at once. */
#include "infer/classifier.h"

#include <math.h>
#include <stdlib.h>

#include "base/file.h"
#include "front/text_ids.h"
#include "infer/picture_encoder.h"

enum { TEXTS = 64, LEAST_TOKENS = 1024 };

struct nc_classifier {
    nc_arena *arena;
    nc_classified kind;
    nc_picture_encoder *pictures;
    nc_loaded *loaded;               /* the encoder's, of pictures */
    nc_pool *pool;
    nc_program *program;
    nc_batch *batch;
    nc_dtype compute;
    int capacity, labels;
    const char **name;
};

static nc_classified kind_of(const nc_json *config)
{
    const char *class = nc_json_string(nc_json_at(nc_json_get(config, "architectures"), 0), "");
    return nc_ends_with(class, "ForSequenceClassification") ? NC_CLASSIFIES_TEXTS : nc_ends_with(class, "ForTokenClassification") ? NC_CLASSIFIES_WORDS
           : strstr(class, "ForImageClassification") ? NC_CLASSIFIES_PICTURES : NC_CLASSIFIES_NOTHING;
}

nc_classified nc_classifier_kind(const char *name)
{
    nc_arena *a = nc_arena_new();
    nc_json *config = NULL;
    const char *folder;
    nc_error ignored = { 0 };
    bool has = nc_load_resolve(a, name, &folder, &ignored) == 0 && nc_json_load(a, nc_path_join(a, folder, "config.json"), &config, &ignored) == 0;
    nc_classified kind = has ? kind_of(config) : NC_CLASSIFIES_NOTHING;
    nc_arena_free(a);
    return kind;
}

static int open_texts(nc_classifier *x, const char *folder, int threads, nc_error *e)
{
    x->pool = nc_pool_new(threads);
    x->batch = nc_batch_new();
    NC_TRY(nc_load(folder, &(nc_load_options){ .weights = { x->compute, true, x->pool, nc_kernels_best() } }, &x->loaded, e));
    if (!x->loaded->model->family->reads_text || !x->loaded->model->family->encode)
        return nc_fail(e, NC_EUNSUPPORTED, "%s: a %s labels no texts here", folder, x->loaded->model->family->name);
    return x->loaded->tokenizer ? 0 : nc_fail(e, NC_ENOTFOUND, "%s: no tokenizer; texts cannot be read without one", folder);
}

static int open_folder(nc_classifier *x, const char *folder, const nc_classifier_options *o, nc_error *e)
{
    const char *found;
    NC_TRY(nc_load_resolve(x->arena, folder, &found, e));
    x->kind = nc_classifier_kind(folder);
    x->compute = o->compute;
    if (x->kind == NC_CLASSIFIES_NOTHING)
        return nc_fail(e, NC_EUNSUPPORTED, "%s is no classifier: config.json's architectures name none of ...ForSequenceClassification, ...ForTokenClassification, ...ForImageClassification; "
                       "nunchi train with stage: cls makes one", folder);
    if (x->kind == NC_CLASSIFIES_PICTURES) {
        NC_TRY(nc_picture_encoder_open(folder, o->compute, o->threads, &x->pictures, e));
        x->loaded = nc_picture_encoder_loaded(x->pictures);
    } else
        NC_TRY(open_texts(x, folder, o->threads, e));
    const nc_json *names = nc_json_get(x->loaded->model->config, "id2label");
    x->labels = x->loaded->model->labels.count;
    x->name = NC_NEW_ARRAY(x->arena, const char *, x->labels + 1);
    for (int i = 0; i < x->labels; i++) {
        const char *number = nc_arena_printf(x->arena, "%d", i);
        x->name[i] = nc_json_string(nc_json_get(names, number), nc_arena_printf(x->arena, "LABEL_%d", i));
    }
    return 0;
}

int nc_classifier_open(const char *folder, const nc_classifier_options *o, nc_classifier **out, nc_error *e)
{
    nc_classifier *x = nc_xcalloc(1, sizeof *x);
    x->arena = nc_arena_new();
    int status = open_folder(x, folder, o, e);
    if (status < 0) {
        nc_classifier_free(x);
        return status;
    }
    *out = x;
    return 0;
}

void nc_classifier_free(nc_classifier *x)
{
    if (!x)
        return;
    nc_program_free(x->program);
    nc_batch_free(x->batch);
    if (x->pictures)
        nc_picture_encoder_free(x->pictures);
    else
        nc_loaded_free(x->loaded);
    nc_pool_free(x->pool);
    nc_arena_free(x->arena);
    free(x);
}

nc_loaded *nc_classifier_loaded(const nc_classifier *x) { return x->loaded; }
int nc_classifier_labels(const nc_classifier *x) { return x->labels; }
const char *nc_classifier_name(const nc_classifier *x, int label) { return x->name[label]; }

static int make_program(nc_classifier *x, int tokens, nc_error *e)
{
    const nc_model *m = x->loaded->model;
    nc_encoded out = { 0 };
    nc_program_free(x->program);
    x->program = nc_program_new(&(nc_program_options){ .compute = x->compute, .kept_probe = "out.logits" });
    nc_build *b = nc_program_build(x->program);
    for (x->capacity = LEAST_TOKENS; x->capacity < tokens;)
        x->capacity *= 2;
    nc_build_capacity(b, "tokens", x->capacity);
    nc_build_capacity(b, "sequences", TEXTS);
    nc_build_capacity(b, "scored", 1);
    m->family->encode(m, m->self, b, NC_TEXTS, &out);
    NC_TRY(nc_program_finish(x->program, NULL, nc_pool_threads(x->pool), e));
    return nc_program_allocate(x->program, NULL, e);
}

static void take(const nc_classifier *x, const nc_value *z, int64_t row, float *out)
{
    for (int k = 0; k < x->labels; k++)
        out[k] = (float)nc_dtype_load(z->dtype, z->data, row * x->labels + k);
}

static int run_some(nc_classifier *x, nc_arena *a, const nc_unlabelled *things, const nc_text_ids *ids, int count, int tokens, float **out, nc_error *e)
{
    nc_seq seqs[TEXTS];
    for (int i = 0; i < count; i++)
        seqs[i] = (nc_seq){ .ids = ids[i].ids, .count = ids[i].count, .slot = -1, .types = things[i].pair.p && x->loaded->model->text_types > 1 ? ids[i].types : NULL };
    if (!x->program || tokens > x->capacity)
        NC_TRY(make_program(x, tokens, e));
    NC_TRY(nc_model_prepare(x->loaded->model, x->batch, seqs, count, e));
    NC_TRY(nc_program_run(x->program, x->batch, &(nc_run_options){ .pool = x->pool, .kernels = nc_kernels_best() }, e));
    const nc_value *z = nc_program_value(x->program, "out.logits");
    int64_t row = 0;
    for (int i = 0; i < count; i++) {
        const int rows = x->kind == NC_CLASSIFIES_WORDS ? things[i].word_count : 1;
        out[i] = NC_NEW_ARRAY(a, float, rows * x->labels + 1);
        for (int k = 0; x->kind == NC_CLASSIFIES_WORDS && k < rows * x->labels; k++)
            out[i][k] = NAN;
        for (int j = 0; x->kind == NC_CLASSIFIES_WORDS && j < ids[i].count; j++)
            if (ids[i].word[j] >= 0)
                take(x, z, row + j, out[i] + (int64_t)ids[i].word[j] * x->labels);
        if (x->kind == NC_CLASSIFIES_TEXTS)
            take(x, z, i, out[i]);
        row += ids[i].count;
    }
    return 0;
}

static int run_texts(nc_classifier *x, nc_arena *a, const nc_unlabelled *things, int count, float **out, nc_error *e)
{
    const int most = x->loaded->model->max_positions;
    nc_text_ids *ids = NC_NEW_ARRAY(a, nc_text_ids, count + 1);
    for (int i = 0; i < count; i++)
        if (x->kind == NC_CLASSIFIES_WORDS)
            NC_TRY(nc_text_ids_of_words(x->loaded->tokenizer, a, things[i].words, things[i].word_count, most, &ids[i], e));
        else
            NC_TRY(nc_text_ids_of(x->loaded->tokenizer, a, things[i].text, things[i].pair.p ? &things[i].pair : NULL, most, &ids[i], e));
    for (int from = 0, to; from < count; from = to) {
        int sum = 0;
        for (to = from; to < count && to - from < TEXTS && (to == from || sum + ids[to].count <= x->capacity); to++)
            sum += ids[to].count;
        NC_TRY(run_some(x, a, things + from, ids + from, to - from, sum, out + from, e));
    }
    return 0;
}

static int run_picture(nc_classifier *x, nc_arena *a, const char *path, float **out, nc_error *e)
{
    nc_image image = { 0 };
    nc_picture_code code;
    NC_TRY(nc_image_load(path, NULL, &image, e));
    int status = nc_picture_encoder_run(x->pictures, &image, &code, e);
    nc_image_free(&image);
    if (status == 0 && (!code.logits || code.labels != x->labels))
        status = nc_fail(e, NC_EUNSUPPORTED, "the model gives no logits of labels");
    if (status == 0)
        *out = nc_arena_copy(a, code.logits, sizeof **out * (size_t)x->labels);
    return status;
}

int nc_classifier_run(nc_classifier *x, nc_arena *a, const nc_unlabelled *things, int count, float **out, nc_error *e)
{
    if (x->kind != NC_CLASSIFIES_PICTURES)
        return run_texts(x, a, things, count, out, e);
    for (int i = 0; i < count; i++) {
        int status = run_picture(x, a, things[i].picture, &out[i], e);
        if (status < 0)
            return nc_fail_in(e, "%s", things[i].picture), status;
    }
    return 0;
}

void nc_classifier_scores(const nc_classifier *x, const float *logits, double *out)
{
    const nc_problem problem = x->loaded->model->labels.problem;
    double most = -INFINITY, sum = 0;
    for (int i = 0; i < x->labels; i++)
        most = fmax(most, (double)logits[i]);
    for (int i = 0; i < x->labels; i++) {
        const double z = (double)logits[i];
        out[i] = problem == NC_REGRESSION ? z : problem == NC_MULTI_LABEL ? 1 / (1 + exp(-z)) : exp(z - most);
        sum += out[i];
    }
    for (int i = 0; problem == NC_SINGLE_LABEL && i < x->labels; i++)
        out[i] /= sum;
}

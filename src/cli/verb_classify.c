/* verb_classify.c - what a classifier calls lines of text, pairs of texts, words or pictures: a JSON line each. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cli/cli.h"
#include "cli/lines.h"
#include "infer/classifier.h"

static const nc_cli_option options[] = {
    { "pair", NULL, "a line is two texts with a TAB between" },
    { "top", "N", "labels printed, 5 by default" },
    { "batch", "N", "lines read ahead at most, 64 by default" },
    { "dtype", "TYPE", "f32 (the default) or bf16" },
    { "threads", "N", "threads, all CPUs by default" },
    { NULL, NULL, NULL },
};

struct label { const char *name; double score; };
struct state { nc_classifier *x; bool pair, words; int top; };

static int by_score(const void *a, const void *b)
{
    double x = ((const struct label *)a)->score, y = ((const struct label *)b)->score;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* "label": ..., "score": ... of the best, then the best ones in order; of numbers their values as they stand. */
static void add_labels(nc_buf *b, const struct state *s, const float *logits, bool all)
{
    const int n = nc_classifier_labels(s->x);
    const bool numbers = nc_classifier_loaded(s->x)->model->labels.problem == NC_REGRESSION;
    double *score = nc_xcalloc((size_t)n + 1, sizeof *score);
    struct label *l = nc_xcalloc((size_t)n + 1, sizeof *l);
    nc_classifier_scores(s->x, logits, score);
    for (int i = 0; i < n; i++)
        l[i] = (struct label){ nc_classifier_name(s->x, i), score[i] };
    if (!numbers)
        qsort(l, (size_t)n, sizeof *l, by_score);
    nc_buf_adds(b, "\"label\": ");
    nc_buf_json_string(b, nc_str_of(l[0].name));
    nc_buf_printf(b, ", \"score\": %.9g", l[0].score);
    nc_buf_adds(b, all ? ", \"labels\": [" : "");
    for (int i = 0; all && i < n && (i < s->top || numbers); i++) {
        nc_buf_adds(b, i ? ", {\"label\": " : "{\"label\": ");
        nc_buf_json_string(b, nc_str_of(l[i].name));
        nc_buf_printf(b, ", \"score\": %.9g}", l[i].score);
    }
    nc_buf_adds(b, all ? "]" : "");
    free(l);
    free(score);
}

static void add_words(nc_buf *b, const struct state *s, const nc_unlabelled *thing, const float *logits)
{
    nc_buf_adds(b, "\"words\": [");
    for (int j = 0; j < thing->word_count; j++) {
        const float *mine = logits + (int64_t)j * nc_classifier_labels(s->x);
        nc_buf_adds(b, j ? ", {\"word\": " : "{\"word\": ");
        nc_buf_json_string(b, thing->words[j]);
        nc_buf_adds(b, ", ");
        if (isnan(mine[0]))
            nc_buf_adds(b, "\"label\": null");
        else
            add_labels(b, s, mine, false);
        nc_buf_addc(b, '}');
    }
    nc_buf_addc(b, ']');
}

static void split(nc_arena *a, const struct state *s, nc_str line, nc_unlabelled *out)
{
    const char *tab = s->pair ? memchr(line.p, '\t', line.n) : NULL;
    *out = (nc_unlabelled){ .text = line };
    if (tab) {
        out->text.n = (size_t)(tab - line.p);
        out->pair = (nc_str){ tab + 1, line.n - out->text.n - 1 };
    }
    nc_str *words = s->words ? NC_NEW_ARRAY(a, nc_str, line.n / 2 + 2) : NULL;
    for (size_t at = 0; s->words && at < line.n;) {
        size_t from = at;
        while (at < line.n && line.p[at] != ' ' && line.p[at] != '\t')
            at++;
        if (at > from)
            words[out->word_count++] = (nc_str){ line.p + from, at - from };
        at += at < line.n;
    }
    out->words = words;
}

static int print(struct state *s, nc_arena *a, const nc_unlabelled *things, int count, int64_t first, nc_error *e)
{
    float **logits = NC_NEW_ARRAY(a, float *, count + 1);
    nc_buf b = { 0 };
    int status = nc_classifier_run(s->x, a, things, count, logits, e);
    for (int i = 0; i < count && status == 0; i++) {
        if (things[i].picture) {
            nc_buf_adds(&b, "{\"file\": ");
            nc_buf_json_string(&b, nc_str_of(things[i].picture));
            nc_buf_adds(&b, ", ");
        } else
            nc_buf_printf(&b, "{\"index\": %lld, ", (long long)first + i);
        if (s->words)
            add_words(&b, s, &things[i], logits[i]);
        else
            add_labels(&b, s, logits[i], true);
        nc_buf_adds(&b, "}\n");
    }
    nc_cli_print(&b);
    return status;
}

static int take_lines(void *context, const nc_str *lines, int count, int64_t first, nc_error *e)
{
    struct state *s = context;
    nc_arena *a = nc_arena_new();
    nc_unlabelled *things = NC_NEW_ARRAY(a, nc_unlabelled, count + 1);
    for (int i = 0; i < count; i++)
        split(a, s, lines[i], &things[i]);
    int status = print(s, a, things, count, first, e);
    nc_arena_free(a);
    return status;
}

static int take_pictures(struct state *s, char *const *paths, int count, nc_error *e)
{
    int status = count ? 0 : nc_fail(e, NC_EINVAL, "this model labels pictures; name some behind the folder");
    for (int i = 0; i < count && status == 0; i++) {
        nc_arena *a = nc_arena_new();
        status = print(s, a, &(nc_unlabelled){ .picture = paths[i] }, 1, i, e);
        nc_arena_free(a);
    }
    return status;
}

static int run(nc_cli *c, nc_error *e)
{
    const char *dtype = nc_cli_get(c, "dtype");
    nc_classifier_options o = { .compute = NC_F32 };
    int64_t top, batch, threads;
    struct state s = { .pair = nc_cli_has(c, "pair") };
    NC_TRY(nc_cli_int(c, "top", 1, 1 << 20, 5, &top, e));
    NC_TRY(nc_cli_int(c, "batch", 1, 1 << 16, 64, &batch, e));
    NC_TRY(nc_cli_int(c, "threads", 1, 1024, 0, &threads, e));
    if (dtype && (nc_dtype_parse(dtype, &o.compute) < 0 || (o.compute != NC_F32 && o.compute != NC_BF16)))
        return nc_cli_usage(c, e, "--dtype %s: f32 and bf16 are known", dtype);
    o.threads = (int)threads;
    s.top = (int)top;
    NC_TRY(nc_classifier_open(c->word[0], &o, &s.x, e));
    nc_loaded *l = nc_classifier_loaded(s.x);
    nc_classified kind = nc_classifier_kind(c->word[0]);
    s.words = kind == NC_CLASSIFIES_WORDS;
    if (l->warnings.n)
        nc_warn("%s: %.*s", l->folder, (int)strcspn(l->warnings.p, "\n"), l->warnings.p);
    int status;
    if (kind == NC_CLASSIFIES_PICTURES) {
        status = take_pictures(&s, c->word + 1, c->words - 1, e);
    } else if (c->words > 1) {
        nc_str *texts = NC_NEW_ARRAY(c->arena, nc_str, c->words);
        for (int i = 1; i < c->words; i++)
            texts[i - 1] = nc_str_of(c->word[i]);
        status = take_lines(&s, texts, c->words - 1, 0, e);
    } else
        status = nc_cli_lines((int)batch, take_lines, &s, e);
    nc_classifier_free(s.x);
    return status;
}

const nc_verb nc_verb_classify = { "classify", "FOLDER [TEXT...|PICTURE...]", "labels of lines of stdin (or words), or of pictures, a JSON line each",
    "FOLDER is a ...ForSequenceClassification, ...ForTokenClassification (words are what spaces separate) or ...ForImageClassification; nunchi train with stage: cls makes one.\n"
    "Each line gives {\"index\" or \"file\", \"label\", \"score\", \"labels\"}, of words {\"words\": [{\"word\", \"label\", \"score\"}]}; of a regression score is the number.",
    options, 1, 65536, false, run };

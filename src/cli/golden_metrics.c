/* golden_metrics.c - golden/metrics: METEOR by both definitions, coco-caption's BLEU, ROUGE-L and CIDEr, sacreBLEU, error rates; a file is a case. Rows that quote files
 * of the data folder and metrics of later releases are passed over.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "cli/golden.h"
#include "eval/metrics.h"

typedef struct set { nc_line *at; int n; } set;
typedef struct metrics {
    nc_arena *arena;
    const char *folder;
    set en, ko, more;                /* more: en and the pairs that meteor15.jsonl adds to it */
    nc_meteor_data *data;
    long ok, failed;
    double worst;
    char first[200];
} metrics;

static void compare(metrics *m, double got, const nc_json *want, double limit, const char *what)
{
    double w = nc_json_double(want, NAN), d = fabs(got - w), rel = d <= 1e-12 ? d : d / fmax(fabs(w), 1e-300);
    if (!(rel <= limit) && !(d <= 1e-12)) {
        if (!m->failed++)
            snprintf(m->first, sizeof m->first, "%s: %.12g, reference %.12g", what, got, w);
        return;
    }
    m->ok++;
    m->worst = rel > m->worst ? rel : m->worst;
}

static int read_lines(metrics *m, const char *name, nc_json ***out, int *n, nc_error *e)
{
    nc_buf b = { 0 };
    const char *path = nc_path_join(m->arena, m->folder, name);
    int status = nc_file_read(path, (size_t)1 << 28, &b, e);
    *n = 0;
    if (status == 0) {
        nc_words lines = nc_words_split_on(m->arena, (nc_str){ nc_arena_strndup(m->arena, b.p, b.n), b.n }, '\n');
        *out = NC_NEW_ARRAY(m->arena, nc_json *, lines.n + 1);
        for (int i = 0; i < lines.n && status == 0; i++)
            if (lines.at[i].n)
                status = nc_json_parse(m->arena, lines.at[i], path, &(*out)[(*n)++], e);
    }
    nc_buf_free(&b);
    return status;
}

static nc_line line_of(nc_arena *a, const nc_json *hypothesis, const nc_json *references)
{
    nc_str *r = NC_NEW_ARRAY(a, nc_str, (references ? references->count : 0) + 1);
    nc_line l = { hypothesis ? hypothesis->text : (nc_str){ "", 0 }, r, 0 };
    NC_JSON_EACH(x, references)
        r[l.count++] = x->text;
    return l;
}

static int read_sets(metrics *m, nc_error *e)
{
    nc_json **line;
    int n;
    NC_TRY(read_lines(m, "texts.jsonl", &line, &n, e));
    set *sets[] = { &m->en, &m->ko };
    static const char *const names[] = { "en", "ko" };
    for (int k = 0; k < 2; k++) {
        sets[k]->at = NC_NEW_ARRAY(m->arena, nc_line, n + 1);
        for (int i = 1; i < n; i++)
            if (!strcmp(nc_json_string(nc_json_get(line[i], "set"), ""), names[k]))
                sets[k]->at[sets[k]->n++] = line_of(m->arena, nc_json_get(line[i], "hyp"), nc_json_get(line[i], "refs"));
    }
    NC_TRY(read_lines(m, "meteor15.jsonl", &line, &n, e));
    const nc_json *pairs = n > 1 ? nc_json_get(line[1], "pairs_after_en") : NULL;
    m->more.at = NC_NEW_ARRAY(m->arena, nc_line, m->en.n + (pairs ? pairs->count : 0) + 1);
    memcpy(m->more.at, m->en.at, sizeof *m->en.at * (size_t)m->en.n);
    m->more.n = m->en.n;
    NC_JSON_EACH(p, pairs)
        m->more.at[m->more.n++] = line_of(m->arena, nc_json_at(p, 0), nc_json_at(p, 1));
    return 0;
}

static nc_segment *segments(nc_arena *a, set s, nc_unit unit)
{
    nc_segment *out = NC_NEW_ARRAY(a, nc_segment, s.n + 1);
    for (int i = 0; i < s.n; i++) {
        nc_words *r = NC_NEW_ARRAY(a, nc_words, s.at[i].count + 1);
        for (int k = 0; k < s.at[i].count; k++)
            r[k] = nc_units(a, s.at[i].references[k], unit);
        out[i] = (nc_segment){ nc_units(a, s.at[i].hypothesis, unit), r, s.at[i].count };
    }
    return out;
}

static nc_unit unit_in(const char *text) { return strstr(text, "jamo") ? NC_UNIT_JAMO : strstr(text, "syllable") ? NC_UNIT_SYLLABLE : NC_UNIT_EOJEOL; }

/* ---- METEOR, NLTK's ---- */

static bool in_lemmas(void *context, nc_str word, nc_str other)
{
    NC_JSON_EACH(l, nc_json_getn(context, word))
        if (nc_str_eq(l->text, other))
            return true;
    return false;
}

static void meteor_nltk(metrics *m, nc_json **line, int n)
{
    for (int i = 1; i < n; i++) {
        const nc_json *c = line[i], *p = nc_json_get(c, "parameters"), *want = nc_json_get(c, "scores");
        bool korean = !strcmp(nc_json_string(nc_json_get(c, "set"), ""), "ko"), wordnet = strstr(nc_json_string(nc_json_get(c, "stages"), ""), "+wordnet") != NULL;
        set s = korean ? m->ko : m->more;
        s.n = want && want->count < s.n ? want->count : s.n;
        nc_meteor_nltk_options o = { nc_json_double(nc_json_get(p, "alpha"), 0.9), nc_json_double(nc_json_get(p, "beta"), 3), nc_json_double(nc_json_get(p, "gamma"), 0.5),
                                     wordnet ? in_lemmas : NULL, (void *)(uintptr_t)nc_json_get(line[0], "wordnet_lemmas_of_hypothesis_words") };
        nc_segment *seg = segments(m->arena, s, korean ? unit_in(nc_json_string(nc_json_get(c, "unit"), "")) : NC_UNIT_EOJEOL);
        double sum = 0;
        for (int k = 0; k < s.n; k++) {
            double got = nc_meteor_nltk(&seg[k], &o);
            compare(m, got, nc_json_at(want, k), 1e-9, "METEOR (NLTK)");
            sum += got;
        }
        if (nc_json_get(c, "mean") && s.n)
            compare(m, sum / s.n, nc_json_get(c, "mean"), 1e-9, "METEOR (NLTK), mean");
    }
}

/* ---- METEOR 1.5 ---- */

static bool has_argument(const nc_json *args, const char *name)
{
    NC_JSON_EACH(x, args)
        if (nc_str_eqz(x->text, name))
            return true;
    return false;
}

static void options15(const metrics *m, const nc_json *c, nc_meteor15_options *o)
{
    static const char *const names[] = { "exact", "stem", "synonym", "paraphrase" };
    const nc_json *args = nc_json_get(c, "args"), *h = nc_json_get(c, "header");
    nc_meteor15_defaults(has_argument(args, "other") ? "other" : "rank", m->data, o, NULL);
    o->normalize = has_argument(args, "-norm");
    o->lower = o->normalize || has_argument(args, "-lower");
    o->keep_punctuation = !has_argument(args, "-noPunct");
    o->characters = has_argument(args, "-ch");
    if (!h)
        return;
    o->modules = 0;
    for (int k = 0; k < 4; k++)
        o->modules |= strstr(nc_json_string(nc_json_get(h, "modules"), ""), names[k]) ? 1u << k : 0;
    sscanf(nc_json_string(nc_json_get(h, "parameters"), ""), "%lf %lf %lf %lf", &o->alpha, &o->beta, &o->gamma, &o->delta);
    sscanf(nc_json_string(nc_json_get(h, "weights"), ""), "%lf %lf %lf %lf", &o->weight[0], &o->weight[1], &o->weight[2], &o->weight[3]);
}

static nc_str joined(nc_arena *a, nc_str s, nc_unit unit) { return nc_words_join(a, nc_units(a, s, unit), " "); }

static void meteor15(metrics *m, nc_json **line, int n)
{
    for (int i = 1; i < n; i++) {
        const char *texts = nc_json_string(nc_json_get(line[i], "texts"), "");
        bool korean = nc_starts_with(texts, "set ko");
        const nc_json *want = nc_json_get(line[i], "scores");
        if (!korean && strcmp(texts, "same") && !nc_starts_with(texts, "set en"))
            continue;
        set s = korean ? m->ko : m->more;
        nc_meteor15_options o;
        nc_meteor15_stats total = { 0 };
        options15(m, line[i], &o);
        for (int k = 0; k < s.n && want && k < want->count; k++) {
            nc_meteor15_stats got;
            nc_str *r = NC_NEW_ARRAY(m->arena, nc_str, s.at[k].count + 1);
            for (int j = 0; j < s.at[k].count; j++)
                r[j] = korean ? joined(m->arena, s.at[k].references[j], unit_in(texts)) : s.at[k].references[j];
            nc_meteor15(korean ? joined(m->arena, s.at[k].hypothesis, unit_in(texts)) : s.at[k].hypothesis, r, s.at[k].count, &o, &got);
            compare(m, got.score, nc_json_at(want, k), 1e-9, "METEOR 1.5");
            nc_meteor15_add(&total, &got);
        }
        compare(m, nc_meteor15_score(&total, &o), nc_json_get(line[i], "total"), 1e-9, "METEOR 1.5, total");
    }
}

/* ---- coco-caption ---- */

static void compare_list(metrics *m, const nc_json *want, const double *got, int n, const char *what)
{
    int i = 0;
    NC_JSON_EACH(v, want)
        if (i < n) {
            compare(m, got[i], v, 1e-9, what);
            i++;
        }
}

static void coco(metrics *m, nc_json **line, int n)
{
    for (int i = 1; i < n; i++) {
        const char *name = nc_json_string(nc_json_get(line[i], "set"), ""), *option = nc_json_string(nc_json_get(line[i], "option"), "");
        set s = !strcmp(name, "en") ? m->en : m->ko;
        if (strcmp(name, "en") && !nc_starts_with(name, "ko "))
            continue;
        nc_segment *seg = segments(m->arena, s, unit_in(name));
        double bleu[4], *each = NC_NEW_ARRAY(m->arena, double, 4 * s.n + 1), *one = NC_NEW_ARRAY(m->arena, double, s.n + 1), sum = 0;
        if (nc_json_get(line[i], "metric")) {
            compare(m, nc_cider(seg, s.n, true, one), nc_json_get(line[i], "score"), 1e-9, "CIDEr");
            compare_list(m, nc_json_get(line[i], "segments"), one, s.n, "CIDEr of segments");
            continue;
        }
        nc_bleu_coco(seg, s.n, !strcmp(option, "shortest") ? NC_BLEU_SHORTEST : !strcmp(option, "average") ? NC_BLEU_AVERAGE : NC_BLEU_CLOSEST, bleu, each);
        compare_list(m, nc_json_get(line[i], "Bleu"), bleu, 4, "BLEU");
        for (int k = 0; k < 4; k++)
            compare_list(m, nc_json_at(nc_json_get(line[i], "bleu_segments"), k), each + k * s.n, s.n, "BLEU of segments");
        if (*option)
            continue;
        for (int k = 0; k < s.n; k++)
            sum += one[k] = nc_rouge_l_coco(&seg[k]);
        compare(m, sum / s.n, nc_json_get(line[i], "ROUGE_L"), 1e-9, "ROUGE-L");
        compare_list(m, nc_json_get(line[i], "rouge_segments"), one, s.n, "ROUGE-L of segments");
        compare(m, nc_cider(seg, s.n, false, one), nc_json_get(line[i], "CIDEr"), 1e-9, "CIDEr-D");
        compare_list(m, nc_json_get(line[i], "cider_segments"), one, s.n, "CIDEr-D of segments");
    }
}

/* ---- sacreBLEU ---- */

static int index_of(const char *const *names, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(names[i], name))
            return i;
    return -1;
}

static void sacrebleu(metrics *m, nc_json **line, int n)
{
    static const char *const tokenizers[] = { "none", "13a", "intl", "char", "zh" }, *const smooths[] = { "none", "floor", "add-k", "exp" };
    for (int i = 1; i < n; i++) {
        const nc_json *c = line[i], *scores = nc_json_get(c, "scores");
        int t = index_of(tokenizers, NC_COUNT(tokenizers), nc_json_string(nc_json_get(c, "tokenize"), "")), refs = (int)nc_json_int(nc_json_get(c, "references"), 1);
        int smooth = index_of(smooths, NC_COUNT(smooths), nc_json_string(nc_json_get(c, "smooth"), "exp"));
        const char *name = nc_json_string(nc_json_get(c, "set"), "");
        if (!nc_starts_with(nc_json_string(nc_json_get(c, "metric"), ""), "BLEU") || t < 0 || refs < 1 || smooth < 0 || (strcmp(name, "en") && strcmp(name, "ko")))
            continue;
        set s = !strcmp(name, "en") ? m->en : m->ko;
        nc_line *lines = NC_NEW_ARRAY(m->arena, nc_line, s.n + 1);
        for (int k = 0; k < s.n; k++) {
            nc_str *r = NC_NEW_ARRAY(m->arena, nc_str, refs);
            for (int j = 0; j < refs && s.at[k].count; j++)
                r[j] = s.at[k].references[j < s.at[k].count ? j : s.at[k].count - 1];
            lines[k] = (nc_line){ s.at[k].hypothesis, r, refs };
        }
        nc_sacrebleu_options o = { (nc_sacrebleu_tokenizer)t, nc_json_bool(nc_json_get(c, "lowercase"), false), nc_json_bool(nc_json_get(c, "effective_order"), false), (nc_bleu_smooth)smooth,
                                   nc_json_double(nc_json_get(c, "value"), -1), (int)nc_json_int(nc_json_get(c, "max_ngram_order"), 4) };
        nc_sacrebleu got;
        for (int k = 0; scores && k < scores->count && k < s.n; k++) {
            nc_sacrebleu_score(&lines[k], 1, &o, &got);
            compare(m, got.score, nc_json_at(scores, k), 1e-9, "sacreBLEU of a sentence");
        }
        if (scores)
            continue;
        nc_sacrebleu_score(lines, s.n, &o, &got);
        compare(m, got.score, nc_json_get(c, "score"), 1e-9, "sacreBLEU");
    }
}

static void error_rates(metrics *m, nc_json **line, int n)
{
    for (int i = 1; i < n; i++) {
        const nc_json *c = line[i], *want = nc_json_get(c, "segments"), *pairs = nc_json_get(c, "pairs");
        bool paired = nc_json_is(pairs, NC_JSON_ARRAY);
        set s = !strcmp(nc_json_string(nc_json_get(c, "set"), ""), "en") ? m->en : m->ko;
        for (int k = 0; want && k < want->count && (paired || k < s.n); k++) {
            const nc_json *p = nc_json_at(pairs, k), *first = nc_json_at(p, 0), *second = nc_json_at(p, 1);
            nc_str h = paired && first ? first->text : paired ? (nc_str){ "", 0 } : s.at[k].hypothesis, r = paired && second ? second->text : paired ? (nc_str){ "", 0 } : s.at[k].references[0];
            compare(m, nc_error_rate(nc_edit_counts(nc_words_split(m->arena, r), nc_words_split(m->arena, h))), nc_json_get(nc_json_at(want, k), "wer"), 1e-9, "WER");
            compare(m, nc_error_rate(nc_edit_counts(nc_characters(m->arena, r), nc_characters(m->arena, h))), nc_json_get(nc_json_at(want, k), "cer"), 1e-9, "CER");
        }
    }
}

void nc_golden_run_metrics(nc_golden_tally *t, const char *path, const char *folder)
{
    static const struct { const char *name; void (*run)(metrics *m, nc_json **line, int n); } files[] = {
        { "meteor_nltk.jsonl", meteor_nltk }, { "meteor15.jsonl", meteor15 }, { "coco_caption.jsonl", coco }, { "sacrebleu.jsonl", sacrebleu }, { "error_rates.jsonl", error_rates },
    };
    metrics m = { .arena = nc_arena_new(), .folder = folder };
    nc_error e = { 0 };
    char **names, all[256];
    int count = 0, status = nc_list_dir(m.arena, folder, &names, &count, &e);
    if (status == 0)
        status = read_sets(&m, &e);
    if (status == 0)
        status = nc_meteor_data_load(nc_path_join(m.arena, folder, "meteor-data"), &m.data, &e);
    if (status < 0) {
        nc_golden_line(t, NC_CASE_FAILED, path, "%s", e.message);
        count = 0;
    }
    for (int i = 0; i < count; i++) {
        int k = 0, n;
        nc_json **line;
        if (!nc_ends_with(names[i], ".jsonl") || !strcmp(names[i], "texts.jsonl"))
            continue;
        snprintf(all, sizeof all, "%s/%.200s", path, names[i]);
        while (k < NC_COUNT(files) && strcmp(files[k].name, names[i]))
            k++;
        if (k == NC_COUNT(files)) {
            nc_golden_line(t, NC_CASE_SKIPPED, all, "these metrics are no part of this release's golden runs");
            continue;
        }
        m.ok = m.failed = 0;
        m.worst = 0;
        if (read_lines(&m, names[i], &line, &n, &e) < 0)
            nc_golden_line(t, NC_CASE_FAILED, all, "%s", e.message);
        else {
            files[k].run(&m, line, n);
            if (m.failed)
                nc_golden_line(t, NC_CASE_FAILED, all, "%ld of %ld scores differ; %s", m.failed, m.ok + m.failed, m.first);
            else
                nc_golden_line(t, m.ok ? NC_CASE_OK : NC_CASE_SKIPPED, all, m.ok ? "%ld scores, worst relative error %.3g" : "no score to compare", m.ok, m.worst);
        }
    }
    nc_meteor_data_free(m.data);
    nc_arena_free(m.arena);
}

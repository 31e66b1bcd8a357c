/* test_text_metrics.c - sacreBLEU and its tokenizers, NLTK's BLEU, rouge_score, error rates: every case of the reference. */
#include "golden_lines.h"

static int tokenizer_of(const char *name)
{
    static const char *const names[] = { "none", "13a", "intl", "char", "zh" };
    for (int i = 0; i < NC_COUNT(names); i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    return -1;
}

static void tokenizers(void **state)
{
    (void)state;
    nc_arena *a = nc_arena_new();
    golden_lines g = read_lines(a, GOLDEN "sacrebleu_tokenizers.jsonl");
    int seen = 0;
    for (int i = 1; i < g.n; i++) {
        int t = tokenizer_of(nc_json_string(nc_json_get(g.at[i], "tokenize"), ""));
        if (t < 0)
            continue;                          /* the MeCab ones need its dictionaries */
        NC_JSON_EACH(p, nc_json_get(g.at[i], "pairs")) {
            nc_str got = nc_sacrebleu_tokenize(a, p->first->text, (nc_sacrebleu_tokenizer)t);
            if (!nc_str_eq(got, p->first->next->text))
                fail_msg("%s of \"%s\": got \"%.*s\", reference \"%s\"", nc_json_string(nc_json_get(g.at[i], "tokenize"), ""), p->first->text.p, (int)got.n, got.p, p->first->next->text.p);
            seen++;
        }
    }
    assert_true(seen > 100);
    nc_arena_free(a);
}

/* The first n references, the last one repeated where a segment has fewer. */
static nc_line *with_references(nc_arena *a, text_set s, int n)
{
    nc_line *out = NC_NEW_ARRAY(a, nc_line, s.n);
    for (int i = 0; i < s.n; i++) {
        nc_str *r = NC_NEW_ARRAY(a, nc_str, n);
        for (int k = 0; k < n; k++)
            r[k] = s.at[i].references[k < s.at[i].count ? k : s.at[i].count - 1];
        out[i] = (nc_line){ s.at[i].hypothesis, r, n };
    }
    return out;
}

static void check_sacrebleu(nc_arena *a, const nc_json *c, int line)
{
    static const char *const smooth[] = { "none", "floor", "add-k", "exp" };
    text_set s = read_set(a, nc_json_string(nc_json_get(c, "set"), ""));
    int n = (int)nc_json_int(nc_json_get(c, "references"), 1), t = tokenizer_of(nc_json_string(nc_json_get(c, "tokenize"), ""));
    nc_sacrebleu_options o = { (nc_sacrebleu_tokenizer)t, nc_json_bool(nc_json_get(c, "lowercase"), false), nc_json_bool(nc_json_get(c, "effective_order"), false), NC_SMOOTH_EXP,
                               nc_json_double(nc_json_get(c, "value"), -1), (int)nc_json_int(nc_json_get(c, "max_ngram_order"), 4) };
    nc_line *lines = with_references(a, s, n);
    nc_sacrebleu got;
    const char *method = nc_json_string(nc_json_get(c, "smooth"), "exp");
    for (int i = 0; i < NC_COUNT(smooth); i++)
        if (strcmp(method, smooth[i]) == 0)
            o.smooth = (nc_bleu_smooth)i;
    const nc_json *scores = nc_json_get(c, "scores");
    for (int i = 0; scores && i < scores->count; i++) {
        nc_sacrebleu_score(&lines[i], 1, &o, &got);
        close_to(got.score, nc_json_double(nc_json_at(scores, i), NAN), 1e-9, "sentence", line * 1000 + i);
    }
    if (scores)
        return;
    nc_sacrebleu_score(lines, s.n, &o, &got);
    close_to(got.score, nc_json_double(nc_json_get(c, "score"), NAN), 1e-9, "corpus", line);
    if (nc_json_get(c, "bp")) {
        close_to(got.brevity, nc_json_double(nc_json_get(c, "bp"), NAN), 1e-9, "brevity", line);
        assert_int_equal(got.hypothesis_length, nc_json_int(nc_json_get(c, "sys_len"), -1));
        assert_int_equal(got.reference_length, nc_json_int(nc_json_get(c, "ref_len"), -1));
        for (int k = 0; k < 4; k++) {
            assert_int_equal(got.correct[k], nc_json_int(nc_json_at(nc_json_get(c, "counts"), k), -1));
            assert_int_equal(got.total[k], nc_json_int(nc_json_at(nc_json_get(c, "totals"), k), -1));
            close_to(got.precision[k], nc_json_double(nc_json_at(nc_json_get(c, "precisions"), k), NAN), 1e-9, "precision", line);
        }
    }
}

static void sacrebleu(void **state)
{
    (void)state;
    nc_arena *a = nc_arena_new();
    golden_lines g = read_lines(a, GOLDEN "sacrebleu.jsonl");
    int seen = 0;
    for (int i = 1; i < g.n; i++) {
        if (!nc_starts_with(nc_json_string(nc_json_get(g.at[i], "metric"), ""), "BLEU") || tokenizer_of(nc_json_string(nc_json_get(g.at[i], "tokenize"), "")) < 0)
            continue;
        check_sacrebleu(a, g.at[i], i);
        seen++;
    }
    assert_true(seen > 60);
    nc_arena_free(a);
}

static void nltk(void **state)
{
    (void)state;
    nc_arena *a = nc_arena_new();
    golden_lines g = read_lines(a, GOLDEN "nltk_bleu_diversity.jsonl");
    int seen = 0;
    for (int i = 1; i < g.n; i++) {
        const char *metric = nc_json_string(nc_json_get(g.at[i], "metric"), ""), *method = nc_json_string(nc_json_get(g.at[i], "smoothing"), "method0");
        if (strcmp(metric, "sentence_bleu") != 0 && strcmp(metric, "corpus_bleu") != 0)
            continue;
        text_set s = read_set(a, nc_json_string(nc_json_get(g.at[i], "set"), ""));
        s.n = s.n < 20 ? s.n : 20;             /* the file was made of the first twenty */
        nc_segment *seg = segments_of(a, s, NC_UNIT_EOJEOL);
        const nc_json *scores = nc_json_get(g.at[i], "scores");
        double got;
        seen++;
        for (int k = 0; scores && k < scores->count; k++) {
            const nc_json *want = nc_json_at(scores, k);
            int code = nc_bleu_nltk(&seg[k], 1, 4, method[6] - '0', &got, NULL);
            if (want->type == NC_JSON_STRING)
                assert_int_equal(code, NC_EINVAL);
            else
                close_to(got, nc_json_double(want, NAN), 1e-9, method, i * 1000 + k);
        }
        if (scores)
            continue;
        static const struct { const char *key; int order, method; } corpus[] = { { "score", 4, 0 }, { "score_2", 2, 0 }, { "score_method1", 4, 1 } };
        for (int k = 0; k < NC_COUNT(corpus); k++) {
            assert_int_equal(nc_bleu_nltk(seg, s.n, corpus[k].order, corpus[k].method, &got, NULL), 0);
            close_to(got, nc_json_double(nc_json_get(g.at[i], corpus[k].key), NAN), 1e-9, corpus[k].key, i);
        }
    }
    assert_int_equal(seen, 18);
    nc_arena_free(a);
}

static nc_words rouge_words(nc_arena *a, nc_str text, bool white, bool stem) { return white ? nc_words_split(a, text) : nc_rouge_words(a, text, stem); }

static nc_rouge rouge(nc_arena *a, const char *type, nc_str reference, nc_str hypothesis, bool white, bool stem)
{
    if (strcmp(type, "rougeLsum") != 0) {
        nc_words r = rouge_words(a, reference, white, stem), h = rouge_words(a, hypothesis, white, stem);
        return strcmp(type, "rougeL") == 0 ? nc_rouge_l(r, h) : nc_rouge_n(r, h, type[5] - '0');
    }
    nc_words lines[2] = { nc_words_split_on(a, reference, '\n'), nc_words_split_on(a, hypothesis, '\n') }, *sentences[2];
    int n[2] = { 0 };
    for (int k = 0; k < 2; k++) {
        sentences[k] = NC_NEW_ARRAY(a, nc_words, lines[k].n);
        for (int i = 0; i < lines[k].n; i++)
            if (lines[k].at[i].n)
                sentences[k][n[k]++] = rouge_words(a, lines[k].at[i], white, stem);
    }
    return nc_rouge_lsum(sentences[0], n[0], sentences[1], n[1]);
}

static void check_rouge(nc_arena *a, const nc_json *c, int line)
{
    bool stem = nc_json_bool(nc_json_get(c, "stemmer"), false), white = nc_json_get(c, "tokenizer") != NULL;
    text_set s = { 0 };
    if (nc_json_is(nc_json_get(c, "pairs"), NC_JSON_ARRAY))
        add_pairs(a, &s, nc_json_get(c, "pairs"));
    else
        s = read_set(a, nc_starts_with(nc_json_string(nc_json_get(c, "set"), ""), "ko") ? "ko" : "en");
    int k = 0;
    NC_JSON_EACH(item, nc_json_get(c, "first")) {
        const nc_json *multi = nc_json_at(nc_json_get(c, "multi"), k);
        NC_JSON_EACH(want, item) {
            nc_rouge got = rouge(a, want->key.p, s.at[k].references[0], s.at[k].hypothesis, white, stem), best = { .f1 = -1 };
            double values[3] = { got.precision, got.recall, got.f1 };
            for (int i = 0; i < 3; i++)
                close_to(values[i], nc_json_double(nc_json_at(want, i), NAN), 1e-9, want->key.p, line * 1000 + k);
            for (int r = 0; r < s.at[k].count; r++) {
                nc_rouge v = rouge(a, want->key.p, s.at[k].references[r], s.at[k].hypothesis, white, stem);
                best = v.f1 > best.f1 ? v : best;
            }
            const nc_json *m = nc_json_getn(multi, want->key);
            close_to(best.f1, nc_json_double(m->type == NC_JSON_ARRAY ? nc_json_at(m, 2) : m, NAN), 1e-9, "best reference", line * 1000 + k);
        }
        k++;
    }
    assert_true(k > 0);
}

static void rouges(void **state)
{
    (void)state;
    nc_arena *a = nc_arena_new();
    golden_lines g = read_lines(a, GOLDEN "rouge.jsonl");
    for (int i = 1; i < g.n; i++) {
        NC_JSON_EACH(t, nc_json_get(g.at[i], "tokenizer_cases"))
            for (int stem = 0; stem < 2; stem++) {
                const nc_json *want = nc_json_at(t, 1 + stem);
                nc_words w = nc_rouge_words(a, t->first->text, stem);
                assert_int_equal(w.n, want->count);
                for (int k = 0; k < w.n; k++)
                    assert_true(nc_str_eq(w.at[k], nc_json_at(want, k)->text));
            }
        if (nc_json_get(g.at[i], "first"))
            check_rouge(a, g.at[i], i);
    }
    nc_arena_free(a);
}

static int64_t total(nc_edits e) { return e.hits + e.substitutions + e.deletions; }

static void error_rates(void **state)
{
    (void)state;
    nc_arena *a = nc_arena_new();
    golden_lines g = read_lines(a, GOLDEN "error_rates.jsonl");
    int seen = 0;
    for (int i = 1; i < g.n; i++) {
        const nc_json *segments = nc_json_get(g.at[i], "segments");
        if (!segments)
            continue;
        text_set s = { 0 };
        bool paired = nc_json_is(nc_json_get(g.at[i], "pairs"), NC_JSON_ARRAY);
        if (!paired)
            s = read_set(a, nc_json_string(nc_json_get(g.at[i], "set"), ""));
        int64_t wrong[2] = { 0 }, length[2] = { 0 };
        for (int k = 0; k < segments->count; k++, seen++) {
            const nc_json *want = nc_json_at(segments, k), *p = nc_json_at(nc_json_get(g.at[i], "pairs"), k);
            nc_str h = paired ? p->first->text : s.at[k].hypothesis, r = paired ? p->first->next->text : s.at[k].references[0];
            nc_edits w = nc_edit_counts(nc_words_split(a, r), nc_words_split(a, h)), c = nc_edit_counts(nc_characters(a, r), nc_characters(a, h));
            close_to(nc_error_rate(w), nc_json_double(nc_json_get(want, "wer"), NAN), 1e-9, "WER", i * 1000 + k);
            close_to(nc_error_rate(c), nc_json_double(nc_json_get(want, "cer"), NAN), 1e-9, "CER", i * 1000 + k);
            wrong[0] += w.substitutions + w.deletions + w.insertions;
            wrong[1] += c.substitutions + c.deletions + c.insertions;
            length[0] += total(w);
            length[1] += total(c);
        }
        close_to((double)wrong[0] / (double)length[0], nc_json_double(nc_json_get(g.at[i], "corpus_wer"), NAN), 1e-9, "corpus WER", i);
        close_to((double)wrong[1] / (double)length[1], nc_json_double(nc_json_get(g.at[i], "corpus_cer"), NAN), 1e-9, "corpus CER", i);
    }
    assert_true(seen > 40);
    nc_arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(tokenizers), cmocka_unit_test(sacrebleu), cmocka_unit_test(nltk), cmocka_unit_test(rouges), cmocka_unit_test(error_rates) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_meteor15.c - statistics and scores of the Java program: every option set, Korean by three units, published values. */
#include "golden_lines.h"

static nc_meteor_data *load(void)
{
    nc_meteor_data *d = NULL;
    nc_error e = { 0 };
    if (nc_meteor_data_load(GOLDEN "meteor-data", &d, &e) < 0)
        fail_msg("%s", e.message);
    return d;
}

/* Options from the command line the case was made with. */
static nc_meteor15_options options(const nc_json *c, const nc_meteor_data *d)
{
    nc_meteor15_options o;
    const nc_json *h = nc_json_get(c, "header");
    bool other = false, norm = false, lower = false, punct = true, ch = false;
    NC_JSON_EACH(x, nc_json_get(c, "args")) {
        other |= nc_str_eqz(x->text, "other");
        norm |= nc_str_eqz(x->text, "-norm");
        lower |= nc_str_eqz(x->text, "-lower");
        punct &= !nc_str_eqz(x->text, "-noPunct");
        ch |= nc_str_eqz(x->text, "-ch");
    }
    assert_int_equal(nc_meteor15_defaults(other ? "other" : "rank", d, &o, NULL), 0);
    o.normalize = norm;
    o.lower = lower || norm;
    o.keep_punctuation = punct;
    o.characters = ch;
    if (!h)
        return o;
    static const char *const names[] = { "exact", "stem", "synonym", "paraphrase" };
    o.modules = 0;
    for (int m = 0; m < 4; m++)
        o.modules |= strstr(nc_json_string(nc_json_get(h, "modules"), ""), names[m]) ? 1u << m : 0;
    double p[4] = { 0 };
    sscanf(nc_json_string(nc_json_get(h, "parameters"), ""), "%lf %lf %lf %lf", &p[0], &p[1], &p[2], &p[3]);
    sscanf(nc_json_string(nc_json_get(h, "weights"), ""), "%lf %lf %lf %lf", &o.weight[0], &o.weight[1], &o.weight[2], &o.weight[3]);
    o.alpha = p[0];
    o.beta = p[1];
    o.gamma = p[2];
    o.delta = p[3];
    return o;
}

static void same_stats(const char *want, const nc_meteor15_stats *s, int line, int segment)
{
    double w[23];
    char *at = (char *)want;
    for (int i = 0; i < 23; i++)
        w[i] = strtod(at, &at);
    double got[23] = { s->length[0], s->length[1], s->function[0], s->function[1] };
    for (int m = 0; m < 4; m++) {
        got[4 + 4 * m] = s->content[m][0];
        got[5 + 4 * m] = s->content[m][1];
        got[6 + 4 * m] = s->functional[m][0];
        got[7 + 4 * m] = s->functional[m][1];
    }
    got[20] = s->chunks;
    got[21] = s->words[0];
    got[22] = s->words[1];
    for (int i = 0; i < 23; i++)
        if (w[i] != got[i])
            fail_msg("line %d segment %d: statistic %d is %g, reference %g", line, segment, i, got[i], w[i]);
}

static void check(nc_arena *a, const nc_json *c, text_set s, const nc_meteor15_options *o, nc_unit unit, bool units, int line)
{
    nc_meteor15_stats total = { 0 };
    const nc_json *stats = nc_json_get(c, "stats"), *scores = nc_json_get(c, "scores");
    assert_int_equal(scores->count, s.n);
    for (int k = 0; k < s.n; k++) {
        nc_meteor15_stats got;
        nc_str h = s.at[k].hypothesis, *r = NC_NEW_ARRAY(a, nc_str, s.at[k].count);
        for (int i = 0; i < s.at[k].count; i++)
            r[i] = units ? nc_words_join(a, nc_units(a, s.at[k].references[i], unit), " ") : s.at[k].references[i];
        if (units)
            h = nc_words_join(a, nc_units(a, h, unit), " ");
        nc_meteor15(h, r, s.at[k].count, o, &got);
        if (stats)
            same_stats(nc_json_string(nc_json_at(stats, k), ""), &got, line, k);
        close_to(got.score, nc_json_double(nc_json_at(scores, k), -1), 1e-12, "score", line * 1000 + k);
        nc_meteor15_add(&total, &got);
    }
    close_to(nc_meteor15_score(&total, o), nc_json_double(nc_json_get(c, "total"), -1), 1e-12, "total", line);
}

static void option_sets(void **state)
{
    (void)state;
    nc_arena *a = nc_arena_new();
    nc_meteor_data *d = load();
    golden_lines g = read_lines(a, GOLDEN "meteor15.jsonl");
    text_set s = read_set(a, "en");
    add_pairs(a, &s, nc_json_get(g.at[1], "pairs_after_en"));
    int seen = 0;
    for (int i = 1; i < g.n; i++) {
        const char *texts = nc_json_string(nc_json_get(g.at[i], "texts"), "");
        if (strcmp(texts, "same") != 0 && !nc_starts_with(texts, "set en"))
            continue;
        nc_meteor15_options o = options(g.at[i], d);
        check(a, g.at[i], s, &o, NC_UNIT_EOJEOL, false, i);
        seen++;
    }
    assert_int_equal(seen, 12);
    nc_meteor_data_free(d);
    nc_arena_free(a);
}

static void korean(void **state)
{
    (void)state;
    nc_arena *a = nc_arena_new();
    nc_meteor_data *d = load();
    golden_lines g = read_lines(a, GOLDEN "meteor15.jsonl");
    text_set s = read_set(a, "ko");
    int seen = 0;
    for (int i = 1; i < g.n; i++) {
        const char *texts = nc_json_string(nc_json_get(g.at[i], "texts"), "");
        if (!nc_starts_with(texts, "set ko"))
            continue;
        nc_unit unit = strstr(texts, "jamo") ? NC_UNIT_JAMO : strstr(texts, "syllable") ? NC_UNIT_SYLLABLE : NC_UNIT_EOJEOL;
        nc_meteor15_options o = options(g.at[i], d);
        check(a, g.at[i], s, &o, unit, true, i);
        seen++;
    }
    assert_int_equal(seen, 6);
    nc_meteor_data_free(d);
    nc_arena_free(a);
}

static void published(void **state)
{
    (void)state;
    nc_arena *a = nc_arena_new();
    nc_meteor_data *d = load();
    golden_lines g = read_lines(a, GOLDEN "meteor15.jsonl");
    const nc_json *pairs = nc_json_get(g.at[1], "pairs_after_en");
    text_set all = { 0 };
    add_pairs(a, &all, pairs);
    for (int i = 1; i < g.n; i++) {
        if (!nc_json_get(g.at[i], "published_total"))
            continue;
        nc_meteor15_options o = options(g.at[1], d);
        check(a, g.at[i], (text_set){ all.at, 2 }, &o, NC_UNIT_EOJEOL, false, i);
        for (int k = 0; k < 3; k++) {
            nc_meteor15_stats s;
            nc_meteor15(all.at[2 + k].hypothesis, all.at[2 + k].references, all.at[2 + k].count, &o, &s);
            close_to(s.score, nc_json_double(nc_json_at(nc_json_get(g.at[i], "singles"), k), -1), 1e-12, "single", k);
        }
    }
    nc_meteor_data_free(d);
    nc_arena_free(a);
}

static void coco_rows(void **state)
{
    (void)state;
    nc_arena *a = nc_arena_new();
    char path[512];
    snprintf(path, sizeof path, "%s/data/vlm_eval_predictions/jsonl/COCO_VAL.jsonl", shared_folder());
    if (!nc_file_exists(path)) {
        print_message("skipped: no %s\n", path);
        nc_arena_free(a);
        return;
    }
    nc_meteor_data *d = load();
    golden_lines rows = read_lines(a, path), g = read_lines(a, GOLDEN "meteor15.jsonl");
    text_set s = { NC_NEW_ARRAY(a, nc_line, 40), 40 };
    for (int i = 0; i < 40; i++) {
        s.at[i] = line_of(a, nc_json_get(rows.at[i], "prediction"), nc_json_get(rows.at[i], "answer"));
        for (size_t k = 0; k < s.at[i].hypothesis.n; k++)
            if (s.at[i].hypothesis.p[k] == '\n')
                ((char *)s.at[i].hypothesis.p)[k] = ' ';
    }
    for (int i = 1; i < g.n; i++)
        if (nc_starts_with(nc_json_string(nc_json_get(g.at[i], "config"), ""), "coco rows")) {
            nc_meteor15_options o = options(g.at[1], d);
            check(a, g.at[i], s, &o, NC_UNIT_EOJEOL, false, i);
        }
    nc_meteor_data_free(d);
    nc_arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(option_sets), cmocka_unit_test(korean), cmocka_unit_test(published), cmocka_unit_test(coco_rows) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

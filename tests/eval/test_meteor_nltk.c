/* test_meteor_nltk.c - NLTK's scores to 1e-12, its stems, and properties that need no reference. */
#include "golden_lines.h"
#include "eval/porter.h"

static bool in_lemmas(void *context, nc_str word, nc_str other)
{
    NC_JSON_EACH(l, nc_json_getn(context, word))
        if (nc_str_eq(l->text, other))
            return true;
    return false;
}

static text_set english(nc_arena *a)
{
    text_set s = read_set(a, "en");
    golden_lines more = read_lines(a, GOLDEN "meteor15.jsonl");
    const nc_json *pairs = nc_json_get(more.at[1], "pairs_after_en");
    nc_line two[2] = { line_of(a, pairs->first->first, pairs->first->first->next), line_of(a, pairs->first->next->first, pairs->first->next->first->next) };
    nc_line *all = NC_NEW_ARRAY(a, nc_line, s.n + 2);
    memcpy(all, s.at, sizeof *all * (size_t)s.n);
    memcpy(all + s.n, two, sizeof two);
    return (text_set){ all, s.n + 2 };
}

static void stems(void **state)
{
    (void)state;
    nc_arena *a = nc_arena_new();
    golden_lines g = read_lines(a, GOLDEN "meteor_nltk.jsonl");
    int n = 0;
    NC_JSON_EACH(s, nc_json_get(g.at[0], "porter_stems")) {
        nc_str got = nc_porter_stem(a, nc_lower(a, s->key));
        if (!nc_str_eq(got, s->text))
            fail_msg("%s: got %.*s, reference %s", s->key.p, (int)got.n, got.p, s->text.p);
        n++;
    }
    assert_true(n > 100);
    static const char *const pairs[][2] = { { "caresses", "caress" }, { "ponies", "poni" }, { "ties", "tie" }, { "agreed", "agre" }, { "hopping", "hop" }, { "falling", "fall" },
        { "relational", "relat" }, { "conditional", "condit" }, { "vietnamization", "vietnam" }, { "hopefulness", "hope" }, { "skies", "sky" }, { "enjoy", "enjoy" }, { "spied", "spi" },
        { "died", "die" }, { "adoption", "adopt" }, { "controll", "control" }, { "geology", "geolog" }, { "ed", "ed" }, { "하늘", "하늘" } };
    for (int i = 0; i < NC_COUNT(pairs); i++) {
        nc_str got = nc_porter_stem(a, nc_str_of(pairs[i][0]));
        if (!nc_str_eqz(got, pairs[i][1]))
            fail_msg("%s: got %.*s, want %s", pairs[i][0], (int)got.n, got.p, pairs[i][1]);
    }
    nc_arena_free(a);
}

static void scores(void **state)
{
    (void)state;
    nc_arena *a = nc_arena_new();
    golden_lines g = read_lines(a, GOLDEN "meteor_nltk.jsonl");
    for (int i = 1; i < g.n; i++) {
        bool korean = strcmp(nc_json_string(nc_json_get(g.at[i], "set"), ""), "ko") == 0;
        bool wordnet = strstr(nc_json_string(nc_json_get(g.at[i], "stages"), ""), "+wordnet") != NULL;
        const nc_json *p = nc_json_get(g.at[i], "parameters");
        nc_meteor_nltk_options o = { nc_json_double(nc_json_get(p, "alpha"), 0), nc_json_double(nc_json_get(p, "beta"), 0), nc_json_double(nc_json_get(p, "gamma"), 0),
                                     wordnet ? in_lemmas : NULL, (void *)nc_json_get(g.at[0], "wordnet_lemmas_of_hypothesis_words") };
        nc_unit unit = NC_UNIT_EOJEOL;
        if (korean)
            assert_int_equal(nc_unit_parse(nc_json_string(nc_json_get(g.at[i], "unit"), ""), &unit), 0);
        text_set s = korean ? read_set(a, "ko") : english(a);
        const nc_json *want = nc_json_get(g.at[i], "scores");
        double sum = 0;
        assert_int_equal(want->count, s.n);
        for (int k = 0; k < s.n; k++) {
            nc_segment seg = segment_of(a, s.at[k], unit);
            double got = nc_meteor_nltk(&seg, &o);
            close_to(got, nc_json_double(nc_json_at(want, k), -1), 1e-12, "meteor", i * 1000 + k);
            sum += got;
        }
        if (nc_json_get(g.at[i], "mean"))
            close_to(sum / s.n, nc_json_double(nc_json_get(g.at[i], "mean"), -1), 1e-12, "mean", i);
    }
    nc_arena_free(a);
}

static void properties(void **state)
{
    (void)state;
    nc_arena *a = nc_arena_new();
    nc_words w = nc_words_split(a, NC_STR("파란 바다 위로 배가 지나간다")), none = { 0 };
    nc_segment same = { w, &w, 1 }, empty = { none, &w, 1 }, empty_reference = { w, &none, 1 };
    assert_true(fabs(nc_meteor_nltk(&same, NULL) - (1 - 0.5 / 125)) < 1e-15);
    assert_true(nc_meteor_nltk(&empty, NULL) == 0 && nc_meteor_nltk(&empty_reference, NULL) == 0);
    nc_words marks = nc_units(a, NC_STR("값은 12,500원, \"정말\"!"), NC_UNIT_EOJEOL_PUNCT);
    assert_int_equal(marks.n, 7);
    assert_true(nc_str_eqz(marks.at[1], "12,500원") && nc_str_eqz(marks.at[6], "!"));
    assert_true(nc_str_eqz(nc_lower(a, NC_STR("ΟΔΟΣ Σ İ É")), "οδος σ i\xcc\x87 é"));
    nc_arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(stems), cmocka_unit_test(scores), cmocka_unit_test(properties) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

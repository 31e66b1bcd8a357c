/* test_wordnet.c - a small dictionary in WordNet's format, and the real one where it is installed. */
#include "golden_lines.h"
#include "eval/wordnet.h"
#include <unistd.h>

static const char *folder(void)
{
    const char *f = getenv("NUNCHI_WORDNET");
    return f ? f : "/usr/share/wordnet";
}

static bool holds(nc_words w, const char *s)
{
    for (int i = 0; i < w.n; i++)
        if (nc_str_eqz(w.at[i], s))
            return true;
    return false;
}

/* Offsets are those of the lines in the files below; one points outside. */
static void small_dictionary(void **state)
{
    (void)state;
    static const char *const files[][2] = {
        { "index.noun", "  1 licence\nboat n 1 0 1 0 00000000\nbadge n 2 0 2 0 00000000 99999999\nfoot n 1 0 1 0 00000047\n" },
        { "data.noun", "00000000 06 n 03 boat 0 ship(p) 0 small_boat 0\n00000047 08 n 02 foot 0 pes 1 000 | gloss\n" },
        { "noun.exc", "feet foot\n" }, { "index.verb", "" }, { "data.verb", "" }, { "verb.exc", "" }, { "index.adj", "broken\n" }, { "data.adj", "" }, { "adj.exc", "" },
        { "index.adv", "" }, { "data.adv", "" }, { "adv.exc", "" },
    };
    char dir[64] = "/tmp/nunchi-wordnet-XXXXXX", path[128];
    nc_error e = { 0 };
    nc_wordnet *w = NULL;
    nc_arena *a = nc_arena_new();
    assert_non_null(mkdtemp(dir));
    assert_true(nc_wordnet_load(dir, &w, &e) < 0 && w == NULL);
    for (int i = 0; i < NC_COUNT(files); i++) {
        snprintf(path, sizeof path, "%s/%s", dir, files[i][0]);
        assert_int_equal(nc_file_write(path, files[i][1], strlen(files[i][1]), &e), 0);
    }
    assert_int_equal(nc_wordnet_load(dir, &w, &e), 0);
    nc_words boats = nc_wordnet_lemmas(w, a, NC_STR("Boats")), feet = nc_wordnet_lemmas(w, a, NC_STR("feet"));
    assert_true(boats.n == 2 && holds(boats, "boat") && holds(boats, "ship"));
    assert_true(feet.n == 2 && holds(feet, "pes"));
    assert_int_equal(nc_wordnet_lemmas(w, a, NC_STR("badge")).n, 2);
    assert_int_equal(nc_wordnet_lemmas(w, a, NC_STR("broken")).n, 0);
    assert_true(nc_wordnet_related(w, NC_STR("boat"), NC_STR("ship")) && !nc_wordnet_related(w, NC_STR("boat"), NC_STR("foot")));
    nc_words h = nc_words_split(a, NC_STR("the boat")), r = nc_words_split(a, NC_STR("the ship"));
    nc_meteor_nltk_options o = { 0.9, 3, 0.5, nc_wordnet_related, w };
    assert_true(nc_meteor_nltk(&(nc_segment){ h, &r, 1 }, &o) > 0.9);
    nc_wordnet_free(w);
    nc_arena_free(a);
    assert_int_equal(nc_remove_tree(dir, &e), 0);
}

static void real_dictionary(void **state)
{
    (void)state;
    nc_arena *a = nc_arena_new();
    nc_wordnet *w = NULL;
    nc_error e = { 0 };
    if (nc_wordnet_load(folder(), &w, &e) < 0) {
        print_message("skipped: %s\n", e.message);
        nc_arena_free(a);
        return;
    }
    golden_lines g = read_lines(a, GOLDEN "meteor_nltk.jsonl");
    NC_JSON_EACH(want, nc_json_get(g.at[0], "wordnet_lemmas_of_hypothesis_words")) {
        nc_words got = nc_wordnet_lemmas(w, a, want->key);
        NC_JSON_EACH(l, want)
            if (!nc_str_eq(l->text, want->key) && !holds(got, l->text.p))      /* the reference's set holds the word itself too */
                fail_msg("%s lacks the lemma %s", want->key.p, l->text.p);
        if (got.n + !holds(got, want->key.p) != want->count)
            fail_msg("%s has %d lemmas, reference %d", want->key.p, got.n, want->count);
    }
    nc_wordnet_free(w);
    nc_arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(small_dictionary), cmocka_unit_test(real_dictionary) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

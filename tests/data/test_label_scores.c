/* test_label_scores.c - figures of classifiers beside those of scikit-learn 1.9.1, SciPy 1.17.1 and seqeval 1.2.2 on the same drawn answers; how labels are found and numbered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <string.h>
#include <cmocka.h>

#include "data/label_scores.h"

static uint32_t drawn = 7;

static int draw(int n)
{
    drawn = (uint32_t)(((uint64_t)drawn * 1103515245 + 12345) % 2147483648u);
    return (int)((drawn >> 8) % (uint32_t)n);
}

static void close_to(double ours, double theirs)
{
    if (!(fabs(ours - theirs) < 1e-12))
        fail_msg("%.17g is not %.17g", ours, theirs);
}

static double score(const nc_label_scores *s, const char *name)
{
    nc_label_score list[NC_LABEL_SCORES];
    int n = nc_label_scores_list(s, list);
    for (int i = 0; i < n; i++)
        if (!strcmp(list[i].name, name))
            return list[i].value;
    fail_msg("no score %s", name);
    return 0;
}

static void as_the_references_count(void **state)
{
    nc_str names[7] = { NC_STR("B-A"), NC_STR("B-B"), NC_STR("I-A"), NC_STR("I-B"), NC_STR("O"), NC_STR("S-A"), NC_STR("E-A") };
    nc_label_set one = { .kind = NC_LABELS_ONE, .count = 4, .name = names }, some = { .kind = NC_LABELS_SOME, .count = 3, .name = names },
                 numbers = { .kind = NC_LABELS_NUMBERS, .count = 1 }, words = { .kind = NC_LABELS_ONE, .count = 7, .name = names };
    nc_label_scores *s = nc_label_scores_new(&one, false);
    (void)state;
    for (int i = 0; i < 60; i++) {
        float logits[4] = { 0 };
        int a = draw(4), b = draw(10) < 6 ? a : draw(4);
        logits[b] = 1;
        nc_label_scores_add(s, logits, a == 3 ? 1 : a, NULL);
    }
    close_to(score(s, "accuracy"), 0.5666666666666667);
    close_to(score(s, "f1"), 0.49075630252100844);
    nc_label_share share = nc_label_share_of(s, 1);
    close_to(share.precision, 22.0 / 30);
    close_to(share.recall, 11.0 / 27);
    assert_int_equal(share.support, 27);
    nc_label_scores_free(s);

    s = nc_label_scores_new(&some, false);
    for (int i = 0; i < 40; i++) {
        float logits[3], values[3];
        for (int k = 0; k < 3; k++)
            values[k] = (float)draw(2);
        for (int k = 0; k < 3; k++)
            logits[k] = (draw(4) ? values[k] : 1 - values[k]) - 0.5f;
        nc_label_scores_add(s, logits, -1, values);
    }
    close_to(score(s, "accuracy"), 0.35);
    close_to(score(s, "f1"), 0.7175565175565176);
    close_to(score(s, "f1_micro"), 0.7175572519083969);
    nc_label_scores_free(s);

    float truth[30];
    s = nc_label_scores_new(&numbers, false);
    for (int i = 0; i < 30; i++)
        truth[i] = (float)draw(10) / 2;
    for (int i = 0; i < 30; i++)
        nc_label_scores_add(s, (float[1]){ truth[i] + (float)draw(7) / 4 }, -1, &truth[i]);
    close_to(score(s, "mse"), 0.59375);
    close_to(score(s, "pearson"), 0.9499012789590252);
    close_to(score(s, "spearman"), 0.9202719479500993);
    nc_label_scores_free(s);

    s = nc_label_scores_new(&words, true);
    for (int i = 0; i < 30; i++) {
        int n = 1 + draw(9), tag[9];
        for (int k = 0; k < n; k++)
            tag[k] = draw(7);
        for (int k = 0; k < n; k++) {
            float logits[7] = { 0 };
            logits[draw(10) < 7 ? tag[k] : draw(7)] = 1;
            nc_label_scores_add(s, logits, tag[k], NULL);
        }
        nc_label_scores_end(s);
    }
    close_to(score(s, "entity_precision"), 0.7967479674796748);
    close_to(score(s, "entity_recall"), 0.7777777777777778);
    close_to(score(s, "entity_f1"), 0.7871485943775101);
    nc_label_scores_free(s);
}

static nc_label_set found(nc_arena *a, const char *labels, const char *names)
{
    nc_json *list = NULL, *declared = NULL;
    nc_error e = { 0 };
    nc_label_set set;
    assert_int_equal(nc_json_parse(a, nc_str_of(labels), "labels", &list, &e), 0);
    if (names)
        assert_int_equal(nc_json_parse(a, nc_str_of(names), "names", &declared, &e), 0);
    nc_dataset d = { .samples = NC_NEW_ARRAY(a, nc_sample, list->count + 1), .label_names = declared };
    NC_JSON_EACH(label, list)
        d.samples[d.count++] = (nc_sample){ .label = label, .text = NC_STR("x"), .file = "f" };
    if (nc_labels_find(a, (const nc_dataset *const[]){ &d }, 1, NC_LABELS_ANY, &set, &e) < 0)
        fail_msg("%s", e.message);
    return set;
}

static int id_of(nc_arena *a, const nc_label_set *s, const char *label)
{
    nc_json *v = NULL;
    nc_error e = { 0 };
    assert_int_equal(nc_json_parse(a, nc_str_of(label), "label", &v, &e), 0);
    return nc_label_id(s, v);
}

static void labels_are_found_and_numbered(void **state)
{
    nc_arena *a = nc_arena_new();
    (void)state;
    nc_label_set s = found(a, "[\"b\", \"가\", \"a\", \"b\"]", NULL);
    assert_true(s.kind == NC_LABELS_ONE && s.count == 3);
    assert_true(nc_str_eqz(s.name[0], "a") && nc_str_eqz(s.name[2], "가"));
    assert_true(id_of(a, &s, "\"b\"") == 1 && id_of(a, &s, "\"c\"") == -1 && id_of(a, &s, "1") == -1);
    s = found(a, "[2, 0, 1, -100]", NULL);
    assert_true(s.count == 3 && nc_str_eqz(s.name[2], "LABEL_2") && id_of(a, &s, "2") == 2 && id_of(a, &s, "3") == -1);
    s = found(a, "[10, 2]", NULL);                       /* no label's own number: by value */
    assert_true(s.count == 2 && nc_str_eqz(s.name[0], "2") && id_of(a, &s, "10") == 1 && id_of(a, &s, "1") == -1);
    s = found(a, "[0, 1]", "[\"no\", \"yes\", \"perhaps\"]");
    assert_true(s.count == 3 && id_of(a, &s, "1") == 1 && id_of(a, &s, "\"perhaps\"") == 2);
    s = found(a, "[[\"x\"], [], [\"y\", \"x\"]]", NULL);
    assert_true(s.kind == NC_LABELS_SOME && s.count == 2);
    s = found(a, "[[0.0, 1.0, 0.0], [1.0, 1.0, 0.0]]", NULL);
    assert_true(s.kind == NC_LABELS_SOME && s.count == 3);
    s = found(a, "[4.0, 3.5]", NULL);
    assert_true(s.kind == NC_LABELS_NUMBERS && s.count == 1);
    s = found(a, "[[0.5, 1.0], [2.0, 3.0]]", NULL);
    assert_true(s.kind == NC_LABELS_NUMBERS && s.count == 2);
    nc_arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(as_the_references_count), cmocka_unit_test(labels_are_found_and_numbered) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_coco.c - BLEU, ROUGE-L and CIDEr of coco-caption: sets, single segments, and all 5000 rows where they are at hand. */
#include "golden_lines.h"

static void check_list(const nc_json *want, const double *got, int n, const char *what, int line)
{
    assert_true(want && want->count <= n);
    int i = 0;
    NC_JSON_EACH(v, want) {
        close_to(got[i], nc_json_double(v, NAN), 1e-9, what, line * 10000 + i);
        i++;
    }
}

static void check_set(nc_arena *a, const nc_json *c, text_set s, nc_unit unit, bool raw, int line)
{
    nc_segment *seg = segments_of(a, s, unit);
    double bleu[4], *each = NC_NEW_ARRAY(a, double, 4 * s.n), *rouge = NC_NEW_ARRAY(a, double, s.n), *cider = NC_NEW_ARRAY(a, double, s.n), sum = 0;
    nc_bleu_coco(seg, s.n, NC_BLEU_CLOSEST, bleu, each);
    check_list(nc_json_get(c, "Bleu"), bleu, 4, "BLEU", line);
    for (int k = 0; k < 4; k++)
        check_list(nc_json_at(nc_json_get(c, "bleu_segments"), k), each + k * s.n, s.n, "BLEU of segments", line);
    for (int i = 0; i < s.n; i++) {
        nc_segment spaced = seg[i];
        if (raw) {                             /* ROUGE splits on single spaces */
            nc_words *r = NC_NEW_ARRAY(a, nc_words, s.at[i].count);
            for (int k = 0; k < s.at[i].count; k++)
                r[k] = nc_words_split_on(a, s.at[i].references[k], ' ');
            spaced = (nc_segment){ nc_words_split_on(a, s.at[i].hypothesis, ' '), r, s.at[i].count };
        }
        sum += rouge[i] = nc_rouge_l_coco(&spaced);
    }
    check_list(nc_json_get(c, "rouge_segments"), rouge, s.n, "ROUGE-L of segments", line);
    close_to(sum / s.n, nc_json_double(nc_json_get(c, "ROUGE_L"), NAN), 1e-9, "ROUGE-L", line);
    double mean = nc_cider(seg, s.n, false, cider);
    check_list(nc_json_get(c, "cider_segments"), cider, s.n, "CIDEr-D of segments", line);
    close_to(mean, nc_json_double(nc_json_get(c, "CIDEr"), NAN), 1e-9, "CIDEr-D", line);
}

static void sets(void **state)
{
    (void)state;
    nc_arena *a = nc_arena_new();
    golden_lines g = read_lines(a, GOLDEN "coco_caption.jsonl");
    int seen = 0;
    for (int i = 1; i < g.n; i++) {
        const char *name = nc_json_string(nc_json_get(g.at[i], "set"), ""), *option = nc_json_string(nc_json_get(g.at[i], "option"), NULL);
        bool english = strcmp(name, "en") == 0, plain = nc_json_get(g.at[i], "metric") != NULL;
        if (!english && !nc_starts_with(name, "ko "))
            continue;
        nc_unit unit = strstr(name, "syllable") ? NC_UNIT_SYLLABLE : NC_UNIT_EOJEOL;
        text_set s = read_set(a, english ? "en" : "ko");
        seen++;
        if (plain) {
            double *each = NC_NEW_ARRAY(a, double, s.n);
            close_to(nc_cider(segments_of(a, s, unit), s.n, true, each), nc_json_double(nc_json_get(g.at[i], "score"), NAN), 1e-9, "CIDEr", i);
            check_list(nc_json_get(g.at[i], "segments"), each, s.n, "CIDEr of segments", i);
        } else if (option) {
            double bleu[4], *each = NC_NEW_ARRAY(a, double, 4 * s.n);
            nc_bleu_length kind = strcmp(option, "shortest") == 0 ? NC_BLEU_SHORTEST : strcmp(option, "average") == 0 ? NC_BLEU_AVERAGE : NC_BLEU_CLOSEST;
            nc_bleu_coco(segments_of(a, s, unit), s.n, kind, bleu, each);
            check_list(nc_json_get(g.at[i], "Bleu"), bleu, 4, option, i);
            for (int k = 0; k < 4; k++)
                check_list(nc_json_at(nc_json_get(g.at[i], "bleu_segments"), k), each + k * s.n, s.n, option, i);
        } else
            check_set(a, g.at[i], s, unit, false, i);
    }
    assert_int_equal(seen, 8);
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
    golden_lines rows = read_lines(a, path), g = read_lines(a, GOLDEN "coco_caption.jsonl");
    text_set s = { NC_NEW_ARRAY(a, nc_line, rows.n), rows.n };
    for (int i = 0; i < rows.n; i++)
        s.at[i] = line_of(a, nc_json_get(rows.at[i], "prediction"), nc_json_get(rows.at[i], "answer"));
    int seen = 0;
    for (int i = 1; i < g.n; i++) {
        const char *name = nc_json_string(nc_json_get(g.at[i], "set"), "");
        if (strstr(name, "all 5000")) {
            check_set(a, g.at[i], s, NC_UNIT_EOJEOL, true, i);
            seen++;
        }
        if (strstr(name, "rows 100 to 399")) {
            check_set(a, g.at[i], (text_set){ s.at + 100, 300 }, NC_UNIT_EOJEOL, true, i);
            seen++;
        }
    }
    assert_int_equal(seen, 2);
    nc_arena_free(a);
}

static void edges(void **state)
{
    (void)state;
    nc_arena *a = nc_arena_new();
    nc_words w = nc_words_split(a, NC_STR("a b c d e")), none = { 0 };
    nc_segment one = { w, &w, 1 }, empty = { none, &w, 1 }, two[2] = { one, one };
    double bleu[4];
    assert_true(nc_cider(&one, 1, false, NULL) == 0);          /* log(1) = 0: a single segment has no frequencies */
    assert_true(nc_cider(two, 0, false, NULL) == 0);
    nc_bleu_coco(&empty, 1, NC_BLEU_CLOSEST, bleu, NULL);
    assert_true(bleu[3] >= 0 && bleu[3] < 1e-6);
    assert_true(nc_rouge_l_coco(&empty) == 0 && fabs(nc_rouge_l_coco(&one) - 1) < 1e-15);
    nc_arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(sets), cmocka_unit_test(coco_rows), cmocka_unit_test(edges) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

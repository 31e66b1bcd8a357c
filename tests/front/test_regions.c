/* Location tokens to places in pixels, as transformers' Florence2PostProcessor has them (cases/regions.jsonl: its answers, most of them to tokens in no order); labels that are not
 * ASCII stay. And tasks to the questions an encoder reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/file.h"
#include "front/conversation.h"
#include "front/regions.h"

static const char *const kinds[] = { [NC_REGION_BOX] = "box", [NC_REGION_QUAD] = "quad", [NC_REGION_POLYGON] = "polygons" };

/* The regions from i on that are one of the reference's: [label, kind, [numbers, ...]]. */
static int check_one(const nc_regions *r, int i, const nc_json *want, const char *text)
{
    const nc_json *lists = nc_json_at(want, 2);
    for (int k = 0; k < lists->count; k++, i++) {
        const nc_json *numbers = nc_json_at(lists, k);
        if (i >= r->count)
            fail_msg("%s: %d regions, the reference has more", text, r->count);
        if (strcmp(r->item[i].label, nc_json_string(nc_json_at(want, 0), "?")))
            fail_msg("%s: region %d is \"%s\"", text, i, r->item[i].label);
        assert_string_equal(kinds[r->item[i].kind], nc_json_string(nc_json_at(want, 1), "?"));
        assert_int_equal(r->item[i].count, numbers->count);
        for (int j = 0; j < numbers->count; j++)
            if (r->item[i].xy[j] != nc_json_int(nc_json_at(numbers, j), -1))
                fail_msg("%s: number %d of region %d is %d", text, j, i, r->item[i].xy[j]);
    }
    return i;
}

static void check(nc_arena *a, const nc_json *v, const nc_json *banned)
{
    const char *text = nc_json_string(nc_json_get(v, "text"), "");
    const nc_json *want = nc_json_get(v, "regions");
    nc_regions r;
    int i = 0;
    nc_regions_read(a, nc_region_form_of(nc_json_string(nc_json_get(v, "task"), "")), nc_str_of(text), (int)nc_json_int(nc_json_get(v, "width"), 0), (int)nc_json_int(nc_json_get(v, "height"), 0),
                    banned, &r);
    NC_JSON_EACH(one, want)
        i = check_one(&r, i, one, text);
    if (i != r.count)
        fail_msg("%s: %d regions, the reference has %d", text, r.count, i);
}

static void regions_are_the_references(void **state)
{
    nc_arena *a = nc_arena_new();
    nc_json *banned = NULL, *v = NULL;
    nc_buf text = { 0 };
    nc_error e = { 0 };
    int cases = 0;
    (void)state;
    assert_int_equal(nc_json_parse(a, NC_STR("[\"it\", \"the image\"]"), "banned", &banned, &e), 0);
    assert_int_equal(nc_file_read("tests/front/cases/regions.jsonl", 1 << 20, &text, &e), 0);
    for (char *line = text.p, *end; line < text.p + text.n && (end = strchr(line, '\n')); line = end + 1, cases++) {
        assert_int_equal(nc_json_parse(a, (nc_str){ line, (size_t)(end - line) }, "regions.jsonl", &v, &e), 0);
        check(a, v, banned);
    }
    assert_true(cases >= 60);
    nc_buf_free(&text);
    nc_arena_free(a);
}

static void labels_keep_their_letters(void **state)
{
    nc_arena *a = nc_arena_new();
    nc_regions r;
    (void)state;
    nc_regions_read(a, NC_REGIONS_BOXES, NC_STR("</s>빨간 배<loc_0><loc_0><loc_999><loc_500></s>"), 200, 100, NULL, &r);
    assert_int_equal(r.count, 1);
    assert_string_equal(r.item[0].label, "빨간 배");
    assert_int_equal(r.item[0].xy[2], 199);
    nc_regions_read(a, NC_REGIONS_GROUNDING, NC_STR("the image<loc_0><loc_0><loc_9><loc_5>a boat<loc_0><loc_0><loc_9><loc_5>"), 200, 100, NULL, &r);
    assert_int_equal(r.count, 1);                            /* the first release's list of words that name nothing */
    assert_string_equal(r.item[0].label, "a boat");
    nc_regions_read(a, NC_REGIONS_NONE, NC_STR("a<loc_0><loc_0><loc_9><loc_5>"), 200, 100, NULL, &r);
    assert_int_equal(r.count, 0);
    assert_string_equal(nc_regions_words(a, NC_STR("</s><s> a boat<loc_1><loc_22></s>")).p, "a boat");
    nc_arena_free(a);
}

static void tasks_become_questions(void **state)
{
    static const struct { const char *text, *question; } cases[] = {
        { "<CAPTION>", "What does the image describe?" }, { "<OD>", "Locate the objects with category name in the image." },
        { "<CAPTION_TO_PHRASE_GROUNDING>  a red  boat ", "Locate the phrases in the caption: a red  boat" },
        { "a boat<REFERRING_EXPRESSION_SEGMENTATION>", "Locate a boat in the image with mask" },
        { "<REGION_TO_OCR>x", "What text is in the region x?" }, { "Is it a boat?", "Is it a boat?" },
    };
    static const int rows[] = { 3, 2 };
    nc_arena *a = nc_arena_new();
    nc_tokenizer *t = NULL;
    nc_error e = { 0 };
    nc_conversation_ids ids;
    (void)state;
    assert_int_equal(nc_tokenizer_load("tests/golden/models/llava", &t, &e), 0);
    nc_source_request r = { .tokenizer = t, .processor = "Florence2Processor", .media_token = 4, .media_rows = rows, .media_count = 2 };
    for (int i = 0; i < NC_COUNT(cases); i++) {
        nc_buf text = { 0 };
        r.text = nc_str_of(cases[i].text);
        assert_int_equal(nc_source_encode(&r, a, &ids, &e), 0);
        assert_int_equal(ids.media_end, 5);
        for (int k = 0; k < 5; k++)
            assert_int_equal(ids.ids[k], 4);
        assert_int_equal(ids.ids[5], nc_tokenizer_special_id(t, "bos"));
        assert_int_equal(ids.ids[ids.count - 1], nc_tokenizer_special_id(t, "eos"));
        nc_tokenizer_decode(t, ids.ids + 6, (size_t)ids.count - 7, false, &text);
        assert_string_equal(text.p, cases[i].question);
        nc_buf_free(&text);
    }
    r.text = NC_STR("<OD> a boat");
    assert_int_not_equal(nc_source_encode(&r, a, &ids, &e), 0);
    assert_non_null(strstr(e.message, "<OD> takes no text"));
    r.processor = NULL;                                      /* a text as it is */
    r.text = NC_STR("<OD>");
    r.media_count = 0;
    assert_int_equal(nc_source_encode(&r, a, &ids, &e), 0);
    assert_int_equal(ids.media_end, 0);
    assert_string_equal(nc_source_task("Florence2Processor", NC_TASK_DETECT), "<OD>");
    assert_null(nc_source_task("LlavaProcessor", NC_TASK_DETECT));
    nc_tokenizer_free(t);
    nc_arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(regions_are_the_references), cmocka_unit_test(labels_keep_their_letters), cmocka_unit_test(tasks_become_questions) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A set answered by a model: references equal to the model's own words score 1; clips of the generator run through reading, scoring and the report. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "eval/evaluate.h"

static char folder[64];

static void check(int status, const nc_error *e)
{
    if (status < 0)
        fail_msg("%s", e->message);
}

static char *path_of(const char *name, char out[256])
{
    snprintf(out, 256, "%s/%s", folder, name);
    return out;
}

static void test_own_words(void **state)
{
    (void)state;
    const char *model = "tests/golden/models/llama3", *questions[] = { "바다 위에 배가", "Hello there", "산 정상의 눈" };
    nc_session *s = NULL;
    nc_error e = { 0 };
    nc_buf set = { 0 };
    nc_evaluate_result r;
    char data[256], out[256], file[256];
    if (!nc_is_dir(model)) {
        printf("skipped: %s is not there\n", model);
        return;
    }
    check(nc_session_open(model, &(nc_session_options){ .threads = 2 }, &s, &e), &e);
    nc_generation_options o = { .max_tokens = 128 };
    nc_sample_defaults(&o.sample);
    for (int i = 0; i < 3; i++) {
        nc_answer a = { 0 };
        check(nc_session_caption(s, questions[i], NULL, 0, &o, NULL, NULL, &a, &e), &e);
        nc_buf_printf(&set, "{\"id\": \"q%d\", \"conversations\": [{\"from\": \"human\", \"value\": \"%s\"}, {\"from\": \"gpt\", \"value\": ", i, questions[i]);
        nc_buf_json_string(&set, (nc_str){ a.text.p ? a.text.p : "", a.text.n });
        nc_buf_adds(&set, "}]}\n");
        nc_buf_free(&a.text);
    }
    check(nc_file_write(path_of("own.jsonl", data), set.p, set.n, &e), &e);
    nc_evaluate_options eo = { .session = s, .data = data, .out = path_of("own", out) };
    check(nc_evaluate(&eo, &r, &e), &e);
    assert_int_equal(r.samples, 3);
    assert_true(fabs(r.rouge_l - 1) < 1e-9);
    assert_true(fabs(r.bleu4_syllable - 1) < 1e-3);
    assert_true(isnan(r.slot_accuracy));
    assert_true(isnan(r.meteor_ceiling));
    assert_true(nc_file_size(path_of("own/predictions.jsonl", file)) > 100);
    assert_true(nc_file_size(path_of("own/report.html", file)) > 1000);
    nc_json *scores = NULL;
    nc_arena *a = nc_arena_new();
    check(nc_json_load(a, path_of("own/scores.json", file), &scores, &e), &e);
    assert_true(nc_json_double(nc_json_get(scores, "rouge_l"), 0) > 0.999);
    assert_true(nc_json_is(nc_json_get(scores, "slot_accuracy"), NC_JSON_NULL));
    eo.data = path_of("none.jsonl", data);
    assert_int_equal(nc_evaluate(&eo, &r, &e), NC_ENOTFOUND);
    check(nc_file_write(path_of("none.jsonl", data), "{\"id\": \n", 8, &e), &e);
    assert_true(nc_evaluate(&eo, &r, &e) < 0);
    nc_arena_free(a);
    nc_buf_free(&set);
    nc_session_close(s);
}

static int calls;
static void count_calls(void *context, int done, int total)
{
    (void)context;
    calls++;
    assert_in_range(done, 1, total);
}

static void test_clips(void **state)
{
    (void)state;
    const char *model = "tests/golden/models/llava_next_video";
    nc_error e = { 0 };
    nc_evaluate_result r;
    char scenes[256], data[256], out[256], file[256];
    if (!nc_is_dir(model)) {
        printf("skipped: %s is not there\n", model);
        return;
    }
    check(nc_scenes_make(path_of("scenes", scenes), 30, 3, &(nc_scenes_options){ .size = 32, .frames = 9 }, NULL, NULL, &e), &e);
    nc_evaluate_options eo = { .folder = model, .open = { .threads = 2, .engine = { .sequences = 3 } }, .data = path_of("scenes/test.jsonl", data), .out = path_of("clips", out),
                               .max_tokens = 8, .progress = count_calls };
    check(nc_evaluate(&eo, &r, &e), &e);
    assert_true(r.samples > 0);
    assert_int_equal(calls, r.samples);
    assert_true(r.new_tokens > 0 && r.new_tokens <= 8 * r.samples);
    assert_true(r.meteor_ceiling > 0.4 && r.meteor_ceiling <= 1);
    assert_true(r.meteor >= 0 && r.meteor < 0.2);
    assert_true(r.slot_accuracy >= 0 && r.slot_accuracy < 0.6);
    nc_buf html = { 0 };
    check(nc_file_read(path_of("clips/report.html", file), 1 << 26, &html, &e), &e);
    assert_non_null(strstr(html.p, "data:image/jpeg;base64,"));
    nc_buf_free(&html);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_own_words), cmocka_unit_test(test_clips) };
    nc_error e = { 0 };
    snprintf(folder, sizeof folder, "/tmp/nunchi-evaluate-%d", (int)getpid());
    nc_mkdirs(folder, &e);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    nc_remove_tree(folder, &e);
    return failed;
}

/* Messages and picture files to the reference's text, through the folder's own template and processor. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "infer/session.h"

static void check(int status, const nc_error *e)
{
    if (status < 0)
        fail_msg("%s", e->message);
}

struct told { nc_buf text; int pieces, stop_after; };

static bool tell(void *context, nc_str piece)
{
    struct told *t = context;
    assert_true(nc_utf8_valid(piece));
    nc_buf_add(&t->text, piece.p, piece.n);
    return ++t->pieces != t->stop_after;
}

static void expected_text(const nc_loaded *l, const char *folder, nc_buf *out)
{
    nc_safetensors *s = NULL;
    nc_error e = { 0 };
    char path[600];
    snprintf(path, sizeof path, "%s/golden.safetensors", folder);
    check(nc_safetensors_open(path, &s, &e), &e);
    const nc_stored *t = nc_safetensors_find(s, "generate.new_ids");
    int32_t ids[64];
    int n = (int)nc_shape_count(&t->shape);
    for (int i = 0; i < n; i++)
        ids[i] = (int32_t)nc_dtype_load(t->dtype, t->data, i);
    nc_tokenizer_decode(l->tokenizer, ids, (size_t)n, true, out);
    nc_safetensors_close(s);
}

static void test_picture(void **state)
{
    (void)state;
    static const struct { const char *folder, *question; int prompt; } cases[] = {
        { "tests/golden/models/llava", "뭐? What?", 44 }, { "llava_siglip", "뭐? What?", 44 },
        { "tests/golden/models/got_ocr2", "OCR: ", 81 },                          /* no template: the prompt its processor writes */
        { "blip-2", "Question: 뭐? What? Answer:", 22 },
        { "tests/golden/models/blip2_t5", "Question: what is this? Answer:", 26 },      /* the picture before an encoder's text */
        { "florence2", "<CAPTION>", 28 },                                         /* an encoder's text, from the task's word */
    };
    for (int f = 0; f < NC_COUNT(cases); f++) {
        char path[600];
        nc_error e = { 0 };
        nc_session *s = NULL;
        nc_answer answer = { 0 };
        nc_buf want = { 0 };
        struct told told = { 0 }, cut = { .stop_after = 1 };
        char folder[512];
        const char *shared = getenv("NUNCHI_SHARED");
        if (!strchr(cases[f].folder, '/'))
            snprintf(folder, sizeof folder, "%s/golden/models/%s", shared ? shared : "../shared", cases[f].folder);
        else
            snprintf(folder, sizeof folder, "%s", cases[f].folder);
        snprintf(path, sizeof path, "%s/image.png", folder);
        if (!nc_file_exists(path)) {
            printf("skipped: %s is not there\n", path);
            continue;
        }
        check(nc_session_open(folder, &(nc_session_options){ .threads = 2, .engine = { .sequences = 2 } }, &s, &e), &e);
        nc_attachment at = { .name = path };
        nc_generation_options o = { .max_tokens = 10, .ignore_end = true };
        nc_sample_defaults(&o.sample);
        check(nc_session_caption(s, cases[f].question, &at, 1, &o, tell, &told, &answer, &e), &e);
        expected_text(nc_session_loaded(s), folder, &want);
        assert_int_equal(answer.new_tokens, 10);
        assert_int_equal(answer.prompt_tokens, cases[f].prompt);
        assert_string_equal(answer.text.p, want.p);
        assert_string_equal(told.text.p, want.p);
        assert_int_equal(answer.finish, NC_FINISH_LENGTH);
        nc_buf_free(&answer.text);
        check(nc_session_caption(s, cases[f].question, &at, 1, &o, tell, &cut, &answer, &e), &e);
        nc_buf_free(&answer.text);
        nc_buf_free(&cut.text);
        at.name = "tests/no-such-file.png";
        assert_int_not_equal(nc_session_caption(s, "x", &at, 1, &o, NULL, NULL, &answer, &e), 0);
        assert_non_null(strstr(e.message, "no-such-file.png"));
        nc_buf_free(&want);
        nc_buf_free(&told.text);
        nc_session_close(s);
    }
}

/* An encoder reads the last question and the picture shown last; nougat reads one page, whatever was shown before. */
static void test_last_picture(void **state)
{
    static const char picture[] = "tests/golden/models/nougat/image.png";
    const nc_attachment at[] = { { .name = picture }, { .name = picture } };
    nc_arena *a = nc_arena_new();
    nc_json *messages = nc_json_new(a, NC_JSON_ARRAY);
    nc_session *s = NULL;
    nc_reading r;
    nc_error e = { 0 };
    (void)state;
    nc_json_append(messages, nc_session_message(a, "user", "", at, 1));
    nc_json_append(messages, nc_session_message(a, "assistant", "a page", NULL, 0));
    nc_json_append(messages, nc_session_message(a, "user", "", at, 1));
    nc_json_append(messages, nc_session_message(a, "assistant", "another", NULL, 0));
    nc_json_append(messages, nc_session_message(a, "user", "", NULL, 0));
    check(nc_session_open("tests/golden/models/nougat", &(nc_session_options){ .threads = 2, .engine = { .sequences = 2 } }, &s, &e), &e);
    check(nc_session_read(s, messages, NULL, NULL, at, 2, &r, &e), &e);
    assert_int_equal(r.prompt.picture_count, 1);
    nc_reading_free(&r);
    nc_session_close(s);
    nc_arena_free(a);
}

static nc_str s_(const char *t) { return nc_str_of(t); }

static void test_stops(void **state)
{
    (void)state;
    nc_str stops[] = { s_("END"), s_("ND끝"), s_("") };
    nc_stops s;
    nc_buf out = { 0 };
    nc_stops_init(&s, stops, 3);
    assert_int_equal(s.count, 2);
    assert_false(nc_stops_add(&s, s_("abc E"), &out));
    assert_string_equal(out.p, "abc ");
    assert_false(nc_stops_add(&s, s_("N"), &out));
    assert_string_equal(out.p, "abc ");
    assert_false(nc_stops_add(&s, s_("X ND"), &out));
    assert_string_equal(out.p, "abc ENX ");
    assert_true(nc_stops_add(&s, s_("끝 more"), &out));
    assert_string_equal(out.p, "abc ENX ");
    nc_stops_flush(&s, &out);
    assert_string_equal(out.p, "abc ENX ");
    nc_stops_free(&s);
    nc_buf_clear(&out);
    nc_stops_init(&s, stops, 1);
    assert_false(nc_stops_add(&s, s_("tail EN"), &out));
    nc_stops_flush(&s, &out);
    assert_string_equal(out.p, "tail EN");
    nc_stops_free(&s);
    nc_buf_free(&out);
}

/* The text ends before the stop string wherever tokens cut it. */
static void test_stop_in_text(void **state)
{
    (void)state;
    const char *folder = "tests/golden/models/llama";
    nc_error e = { 0 };
    nc_session *s = NULL;
    nc_answer whole = { 0 }, cut = { 0 };
    if (!nc_is_dir(folder)) {
        printf("skipped: %s is not there\n", folder);
        return;
    }
    check(nc_session_open(folder, &(nc_session_options){ .threads = 1 }, &s, &e), &e);
    nc_generation_options o = { .max_tokens = 30, .ignore_end = true };
    nc_sample_defaults(&o.sample);
    check(nc_session_caption(s, "Hello 안녕", NULL, 0, &o, NULL, NULL, &whole, &e), &e);
    assert_true(whole.text.n > 8);
    for (size_t at = 1; at + 3 < whole.text.n; at++) {
        nc_str stop = { whole.text.p + at, 3 };
        const char *first = memmem(whole.text.p, whole.text.n, stop.p, stop.n);
        o.stop = &stop;
        o.stop_count = 1;
        if ((whole.text.p[at] & 0xC0) == 0x80 || (whole.text.p[at + 3] & 0xC0) == 0x80)
            continue;
        check(nc_session_caption(s, "Hello 안녕", NULL, 0, &o, NULL, NULL, &cut, &e), &e);
        assert_int_equal(cut.text.n, first - whole.text.p);
        assert_memory_equal(cut.text.p ? cut.text.p : "", whole.text.p, cut.text.n);
        assert_int_equal(cut.finish, NC_FINISH_STOP);
        nc_buf_free(&cut.text);
    }
    nc_buf_free(&whole.text);
    nc_session_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_picture), cmocka_unit_test(test_last_picture), cmocka_unit_test(test_stops), cmocka_unit_test(test_stop_in_text) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

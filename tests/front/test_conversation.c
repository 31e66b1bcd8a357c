/* Conversations: ids and the assistant's mask against the reference's {% generation %} masks; the same by difference of renderings; placeholders. */
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

static const char folder[] = "tests/golden/train/masking";

struct world { nc_arena *a; nc_tokenizer *t; nc_conversation *c; };

static struct world open_world(const char *source, const char *name)
{
    struct world w = { .a = nc_arena_new() };
    nc_error e = { 0 };
    if (nc_tokenizer_load(folder, &w.t, &e) < 0)
        fail_msg("%s", e.message);
    nc_conversation_options o = { .tokenizer = w.t, .template_source = source, .template_name = name, .image_token_id = -1, .video_token_id = -1 };
    if (nc_conversation_new(&o, &w.c, &e) < 0)
        fail_msg("%s", e.message);
    return w;
}

static void close_world(struct world *w)
{
    nc_conversation_free(w->c);
    nc_tokenizer_free(w->t);
    nc_arena_free(w->a);
}

static nc_conversation_ids encode(struct world *w, const nc_json *messages, const int *rows, int media)
{
    nc_conversation_request r = { .messages = messages, .media_rows = rows, .media_count = media, .train = true };
    nc_conversation_ids out;
    nc_error e = { 0 };
    if (nc_conversation_encode(w->c, w->a, &r, &out, &e) < 0)
        fail_msg("%s", e.message);
    return out;
}

/* Every line of the golden chats: ids, and labels where the mask is set. */
static void check_chats(struct world *w)
{
    nc_buf text = { 0 };
    nc_error e = { 0 };
    int lines = 0;
    assert_int_equal(nc_file_read("tests/golden/train/masking/chat.jsonl", 1 << 24, &text, &e), 0);
    for (char *line = strtok(text.p, "\n"); line; line = strtok(NULL, "\n"), lines++) {
        nc_json *j = NULL;
        assert_int_equal(nc_json_parse(w->a, nc_str_of(line), "chat.jsonl", &j, &e), 0);
        const nc_json *ids = nc_json_get(j, "input_ids"), *mask = nc_json_get(j, "assistant_masks");
        nc_conversation_ids x = encode(w, nc_json_get(j, "messages"), NULL, 0);
        assert_int_equal(x.count, ids->count);
        int i = 0;
        for (const nc_json *id = ids->first, *m = mask->first; id; id = id->next, m = m->next, i++) {
            assert_int_equal(x.ids[i], nc_json_int(id, -1));
            if (x.mask[i] != nc_json_int(m, -1))
                fail_msg("line %d: the mask of token %d is %d", lines + 1, i, x.mask[i]);
        }
    }
    assert_true(lines > 0);
    nc_buf_free(&text);
}

static void masks_by_generation_blocks(void **state)
{
    struct world w = open_world(NULL, NULL);
    (void)state;
    check_chats(&w);
    close_world(&w);
}

static void masks_by_difference(void **state)
{
    nc_buf source = { 0 };
    nc_error e = { 0 };
    (void)state;
    assert_int_equal(nc_file_read("tests/golden/train/masking/chat_template.jinja", 1 << 20, &source, &e), 0);
    static const char *const blocks[] = { "{% generation %}", "{% endgeneration %}" };
    for (int i = 0; i < 2; i++) {
        char *at = strstr(source.p, blocks[i]);
        assert_non_null(at);
        memset(at, ' ', strlen(blocks[i]));
        memmove(at, at + strlen(blocks[i]), strlen(at + strlen(blocks[i])) + 1);
    }
    struct world w = open_world(source.p, NULL);
    check_chats(&w);
    close_world(&w);
    nc_buf_free(&source);
}

static nc_json *messages_with_media(nc_arena *a)
{
    static const char text[] = "[{\"role\": \"user\", \"content\": [{\"type\": \"image\"}, {\"type\": \"text\", \"text\": \"x\"}, {\"type\": \"video\"}]}, "
                               "{\"role\": \"assistant\", \"content\": \"y\"}]";
    nc_json *j = NULL;
    nc_error e = { 0 };
    assert_int_equal(nc_json_parse(a, nc_str_of(text), "test", &j, &e), 0);
    return j;
}

/* Pictures beside each other share a mark, blanks beside them go, and a turn ends in the token its tokenizer has for that. */
static void idefics_words(void **state)
{
    static const struct { const char *messages, *template_name, *want; } cases[] = {
        { "[{\"role\": \"user\", \"content\": [{\"type\": \"image\"}, {\"type\": \"text\", \"text\": \" What? \"}, {\"type\": \"image\"}, {\"type\": \"image\"}]},"
          " {\"role\": \"assistant\", \"content\": \"a dog\"}]", "idefics", "User:#I#What?#I#I#<end_of_utterance>\nAssistant:[ a dog<end_of_utterance>" },
        { "[{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"one\"}, {\"type\": \"image\"}, {\"type\": \"text\", \"text\": \"two\"}, {\"type\": \"image\"},"
          " {\"type\": \"image\"}]}, {\"role\": \"assistant\", \"content\": \"both\"}]", "idefics_base", "User: one#I#two#I#I#\nAssistant:[ both" },
    };
    const nc_visual picture = { .frames = 1 }, *const media[] = { &picture, &picture, &picture };
    const int rows[] = { 1, 1, 1 };
    static const char mark[] = "<fake_token_around_image>";
    (void)state;
    for (int k = 0; k < NC_COUNT(cases); k++) {
        struct world w = open_world(NULL, "chatml");
        const int32_t image = nc_tokenizer_id(w.t, NC_STR("<image>"));
        nc_error e = { 0 };
        nc_conversation_ids x;
        nc_json *messages = NULL;
        nc_buf text = { 0 }, marked = { 0 };
        nc_conversation_free(w.c);
        nc_conversation_options o = { .tokenizer = w.t, .template_name = cases[k].template_name, .image_token_id = image, .video_token_id = -1, .processor = "IdeficsProcessor" };
        assert_int_equal(nc_conversation_new(&o, &w.c, &e), 0);
        assert_int_equal(nc_json_parse(w.a, nc_str_of(cases[k].messages), "test", &messages, &e), 0);
        nc_conversation_request r = { .messages = messages, .media_rows = rows, .media = media, .media_count = 3, .train = true };
        if (nc_conversation_encode(w.c, w.a, &r, &x, &e) < 0)
            fail_msg("%s", e.message);
        for (int i = 0; i < x.count; i++) {
            if (x.mask[i] && !x.mask[i - 1])
                nc_buf_adds(&text, "[");
            if (x.ids[i] == image)
                nc_buf_adds(&text, "I");
            else
                nc_tokenizer_decode(w.t, &x.ids[i], 1, false, &text);
        }
        for (const char *p = text.p; *p; p += nc_starts_with(p, mark) ? strlen(mark) : 1)
            nc_buf_add(&marked, nc_starts_with(p, mark) ? "#" : p, 1);
        if (!strstr(marked.p, cases[k].want))
            fail_msg("%s", marked.p);
        nc_buf_free(&text);
        nc_buf_free(&marked);
        close_world(&w);
    }
}

/* Processor classes that write about their media: the words are there, each placeholder stands for its run, and the mask still holds what the assistant said. */
static void words_of_processors(void **state)
{
    static const double times[] = { 0.26, 1.75 };
    const nc_visual picture = { .frames = 2 }, video = { .is_video = true, .frames = 2, .times = times };
    const nc_visual *const media[] = { &picture, &video };
    const int rows[] = { 6, 4 };
    const struct { const char *processor, *template_name, *want; } cases[] = {
        { "Qwen3VLProcessor", "qwen3_vl", "<|vision_start|>IIIIII<|vision_end|>x<|vision_start|><0.3 seconds><|vision_start|>VV<|vision_end|><1.8 seconds><|vision_start|>VV"
                                          "<|vision_end|><|vision_end|><|im_end|>\n<|im_start|>assistant\n[y<|im_end|>]" },
        { "InternVLProcessor", "intern_vl", "<img>IIIIII</img>\nxFrame1: <img>II</img>\nFrame2: <img>II</img>\n<|im_end|>\n<|im_start|>assistant\n[y<|im_end|>]" },
    };
    (void)state;
    for (int k = 0; k < 2; k++) {
        struct world w = open_world(NULL, "chatml");
        nc_error e = { 0 };
        const int32_t image = nc_tokenizer_id(w.t, NC_STR("<image>")), film = nc_tokenizer_id(w.t, NC_STR("<video>"));
        nc_buf source = { 0 }, text = { 0 };
        nc_conversation_free(w.c);
        for (const char *p = nc_builtin_template(cases[k].template_name); *p;) {         /* the tests' tokenizer has placeholders of its own */
            static const char *const from[] = { "<|image_pad|>", "<|video_pad|>", "<IMG_CONTEXT>" }, *const to[] = { "<image>", "<video>", "<image>" };
            int i = 0;
            while (i < 3 && !nc_starts_with(p, from[i]))
                i++;
            nc_buf_add(&source, i < 3 ? to[i] : p, i < 3 ? strlen(to[i]) : 1);
            p += i < 3 ? strlen(from[i]) : 1;
        }
        nc_conversation_options o = { .tokenizer = w.t, .template_source = source.p, .image_token_id = image, .video_token_id = film, .processor = cases[k].processor };
        assert_int_equal(nc_conversation_new(&o, &w.c, &e), 0);
        nc_conversation_request r = { .messages = messages_with_media(w.a), .media_rows = rows, .media = media, .media_count = 2, .train = true };
        nc_conversation_ids x;
        if (nc_conversation_encode(w.c, w.a, &r, &x, &e) < 0)
            fail_msg("%s", e.message);
        for (int i = 0; i < x.count; i++) {
            if (x.mask[i] && (i == 0 || !x.mask[i - 1]))
                nc_buf_adds(&text, "[");
            if (x.ids[i] == image || x.ids[i] == film)
                nc_buf_adds(&text, x.ids[i] == image ? "I" : "V");
            else
                nc_tokenizer_decode(w.t, &x.ids[i], 1, false, &text);
            if (x.mask[i] && (i + 1 == x.count || !x.mask[i + 1]))
                nc_buf_adds(&text, "]");
        }
        if (!strstr(text.p, cases[k].want))
            fail_msg("%s wrote %s", cases[k].processor, text.p);
        assert_true(x.media_end > 10 && x.media_end < x.count);
        nc_buf_free(&text);
        nc_buf_free(&source);
        close_world(&w);
    }
}

static void repeats_placeholders(void **state)
{
    struct world w = open_world(NULL, "chatml");
    const int rows[] = { 3, 5 };
    int images = 0, videos = 0, said = 0;
    (void)state;
    nc_json *messages = messages_with_media(w.a);
    nc_conversation_ids x = encode(&w, messages, rows, 2);
    for (int i = 0; i < x.count; i++) {
        images += x.ids[i] == nc_tokenizer_id(w.t, NC_STR("<image>"));
        videos += x.ids[i] == nc_tokenizer_id(w.t, NC_STR("<video>"));
        said += x.mask[i];
    }
    assert_int_equal(images, 3);
    assert_int_equal(videos, 5);
    assert_int_equal(said, 2);
    nc_error e = { 0 };
    nc_conversation_ids out;
    nc_conversation_request few = { .messages = messages, .media_rows = rows, .media_count = 1 };
    assert_int_equal(nc_conversation_encode(w.c, w.a, &few, &out, &e), NC_EINVAL);
    close_world(&w);
}

/* Each built-in template compiles, marks the answer and ends it with a token that stops. */
static void builtin_templates_mark_answers(void **state)
{
    int count;
    const char *const *names = nc_builtin_templates(&count);
    (void)state;
    for (int i = 0; i < count; i++) {
        struct world w = open_world(NULL, names[i]);
        nc_json *j = NULL;
        nc_error e = { 0 };
        static const char text[] = "[{\"role\": \"system\", \"content\": \"s\"}, {\"role\": \"user\", \"content\": \"u\"}, {\"role\": \"assistant\", \"content\": \"yes\"}]";
        assert_int_equal(nc_json_parse(w.a, nc_str_of(text), "test", &j, &e), 0);
        nc_conversation_ids x = encode(&w, j, NULL, 0);
        nc_buf said = { 0 };
        int32_t answer[64];
        int n = 0;
        for (int k = 0; k < x.count && n < 64; k++)
            if (x.mask[k])
                answer[n++] = x.ids[k];
        nc_tokenizer_decode(w.t, answer, (size_t)n, true, &said);
        if (!said.p || !strstr(said.p, "yes") || strstr(said.p, "u\n"))
            fail_msg("%s marks \"%s\"", names[i], said.p ? said.p : "");
        nc_buf_free(&said);
        close_world(&w);
    }
    nc_tokenizer *t = NULL;
    nc_conversation *c = NULL;
    nc_error e = { 0 };
    assert_int_equal(nc_tokenizer_load(folder, &t, &e), 0);
    nc_conversation_options o = { .tokenizer = t, .template_name = "chatmll", .image_token_id = -1, .video_token_id = -1 };
    assert_int_equal(nc_conversation_new(&o, &c, &e), NC_ENOTFOUND);
    assert_non_null(strstr(e.message, "nearest is chatml"));
    nc_tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masks_by_generation_blocks), cmocka_unit_test(masks_by_difference), cmocka_unit_test(repeats_placeholders), cmocka_unit_test(words_of_processors), cmocka_unit_test(idefics_words), cmocka_unit_test(builtin_templates_mark_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_tokenizer.c - loading a folder, lookups, special tokens as plain text, long words, threads, and what is refused with which words. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/thread.h"
#include "text/tokenizer.h"

#define QWEN "tests/golden/tokenizers/bbpe-qwen2"

static nc_tokenizer *load(const char *path)
{
    nc_tokenizer *t = NULL;
    nc_error e = { 0 };
    if (nc_tokenizer_load(path, &t, &e) < 0)
        print_error("%s\n", e.message);
    assert_non_null(t);
    return t;
}

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[300];
    nc_error e;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(nc_file_write(path, text, strlen(text), &e), 0);
}

static const char tiny[] = "{\"added_tokens\": [{\"id\": 3, \"content\": \"<s>\", \"special\": true}, {\"id\": 4, \"content\": \"</s>\", \"special\": true}],"
    " \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false}, \"decoder\": {\"type\": \"ByteLevel\"},"
    " \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2, \"<\": 5, \"s\": 6, \">\": 7, \"\xc3\xac\": 8, \"\xc4\xb7\": 9, \"\xc4\xaa\": 10}, \"merges\": [\"a b\"]}}";

static void test_folder(void **state)
{
    (void)state;
    char folder[] = "/tmp/nunchi-text-XXXXXX";
    nc_error e = { 0 };
    assert_non_null(mkdtemp(folder));
    write_file(folder, "tokenizer.json", tiny);
    write_file(folder, "tokenizer_config.json", "{\"bos_token\": \"<s>\", \"eos_token\": {\"content\": \"</s>\"}, \"pad_token\": null, \"model_max_length\": 1000000000000000019884624838656,"
               " \"added_tokens_decoder\": {\"11\": {\"content\": \"<late>\", \"special\": true}},"
               " \"chat_template\": [{\"name\": \"default\", \"template\": \"D\"}, {\"name\": \"tool_use\", \"template\": \"T\"}]}");
    write_file(folder, "special_tokens_map.json", "{\"unk_token\": \"a\", \"eos_token\": \"<s>\"}");
    nc_tokenizer *t = load(folder);
    assert_int_equal(nc_tokenizer_special_id(t, "bos"), 3);
    assert_int_equal(nc_tokenizer_special_id(t, "eos"), 4);
    assert_int_equal(nc_tokenizer_special_id(t, "pad"), -1);
    assert_string_equal(nc_tokenizer_special(t, "unk"), "a");
    assert_int_equal(nc_tokenizer_model_max_length(t), 0);
    assert_string_equal(nc_tokenizer_chat_template(t, NULL), "D");
    assert_string_equal(nc_tokenizer_chat_template(t, "tool_use"), "T");
    assert_int_equal(nc_tokenizer_vocab_size(t), 12);
    assert_true(nc_tokenizer_is_special(t, 11));
    nc_tokenizer_free(t);
    write_file(folder, "chat_template.jinja", "J");
    t = load(folder);
    assert_string_equal(nc_tokenizer_chat_template(t, NULL), "J");
    nc_tokenizer_free(t);
    assert_int_equal(nc_remove_tree(folder, &e), 0);
}

static void check_ids(const nc_tokenizer *t, const char *text, unsigned flags, const int32_t *want, size_t n)
{
    nc_ids ids = { 0 };
    nc_error e = { 0 };
    assert_int_equal(nc_tokenizer_encode(t, nc_str_of(text), flags, &ids, &e), 0);
    assert_int_equal(ids.n, n);
    if (n)
        assert_memory_equal(ids.p, want, n * sizeof *want);
    nc_ids_free(&ids);
}

static nc_tokenizer *parse(const char *text, nc_error *e)
{
    nc_arena *a = nc_arena_new();
    nc_json *tree;
    nc_tokenizer *t = NULL;
    if (nc_json_parse(a, nc_str_of(text), "tokenizer.json", &tree, e) >= 0)
        nc_tokenizer_from_json(tree, NULL, "tokenizer.json", &t, e);
    nc_arena_free(a);
    return t;
}

static void test_plain(void **state)
{
    (void)state;
    nc_error e = { 0 };
    nc_tokenizer *t = parse(tiny, &e);
    assert_non_null(t);
    check_ids(t, "ab<s>a", 0, (int32_t[]){ 2, 3, 0 }, 3);
    check_ids(t, "ab<s>a", NC_ENCODE_PLAIN, (int32_t[]){ 2, 5, 6, 7, 0 }, 5);
    check_ids(t, "", 0, NULL, 0);
    nc_ids ids = { 0 };
    assert_int_equal(nc_tokenizer_encode(t, NC_STR("ab\xff"), 0, &ids, &e), NC_EFORMAT);
    assert_non_null(strstr(e.message, "byte 2"));
    nc_ids_free(&ids);
    nc_tokenizer_free(t);
}

/* U+C7 00 arrives byte by byte: nothing before the last one, and U+FFFD for what never becomes whole. */
static void test_stream(void **state)
{
    (void)state;
    nc_error e = { 0 };
    nc_tokenizer *t = parse(tiny, &e);
    nc_detok *d = nc_detok_new(t, true);
    nc_buf out = { 0 };
    assert_true(nc_detok_add(d, 0, &out));
    assert_false(nc_detok_add(d, 8, &out));
    assert_false(nc_detok_add(d, 3, &out));
    assert_false(nc_detok_add(d, 9, &out));
    assert_string_equal(out.p, "a");
    assert_true(nc_detok_flush(d, &out));
    assert_true(nc_utf8_valid((nc_str){ out.p, out.n }));
    assert_true(out.n > 1);
    assert_false(nc_detok_flush(d, &out));
    assert_false(nc_detok_add(d, 99999, &out));
    nc_detok_free(d);
    nc_buf_free(&out);
    nc_tokenizer_free(t);
}

/* A word far beyond the scan's length takes the heap; both must agree with merging by hand: pairs of "ab". */
static void test_long_word(void **state)
{
    (void)state;
    nc_error e = { 0 };
    nc_tokenizer *t = parse(tiny, &e);
    enum { N = 50000 };
    char *text = malloc(2 * N);
    for (int i = 0; i < 2 * N; i++)
        text[i] = i & 1 ? 'b' : 'a';
    nc_ids ids = { 0 };
    assert_int_equal(nc_tokenizer_encode(t, (nc_str){ text, 2 * N }, 0, &ids, &e), 0);
    assert_int_equal(ids.n, N);
    for (int i = 0; i < N; i++)
        assert_int_equal(ids.p[i], 2);
    nc_ids_free(&ids);
    free(text);
    nc_tokenizer_free(t);
}

/* Words are cut in front of a blank only where no token has the character before it and a blank: "a_" merges across, "b_" never does. */
static void test_blanks_cut_words(void **state)
{
    (void)state;
    nc_error e = { 0 };
    nc_tokenizer *t = parse("{\"model\": {\"type\": \"BPE\", \"unk_token\": \"?\", \"fuse_unk\": true, \"vocab\": {\"?\": 0, \"a\": 1, \"b\": 2, \"\u2581\": 3, \"a\u2581\": 4, \"\u2581b\": 5, "
                            "\"\u2581\u2581\": 6, \"a\u2581b\": 7}, \"merges\": [\"\u2581 \u2581\", \"a \u2581\", \"a\u2581 b\", \"\u2581 b\"]}, "
                            "\"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"\u2581\"}}", &e);
    assert_non_null(t);
    check_ids(t, "a bb b", 0, (int32_t[]){ 7, 2, 5 }, 3);
    check_ids(t, "b  b   b", 0, (int32_t[]){ 2, 6, 2, 6, 5 }, 5);
    check_ids(t, "xy zz a a", 0, (int32_t[]){ 0, 3, 0, 3, 4, 1 }, 6);
    nc_tokenizer_free(t);
}

/* transformers 5 writes templates beside each other: chat_template.jinja, and those with names in a folder. */
static void test_folder_of_templates(void **state)
{
    (void)state;
    nc_error e = { 0 };
    nc_tokenizer *t = NULL;
    char folder[] = "/tmp/nunchi-test-XXXXXX", path[200];
    assert_non_null(mkdtemp(folder));
    static const char *const files[][2] = { { "tokenizer.json", tiny }, { "chat_template.jinja", "plain" }, { "additional_chat_templates/tool_use.jinja", "with tools" },
                                            { "additional_chat_templates/notes.txt", "no template" } };
    snprintf(path, sizeof path, "%s/additional_chat_templates", folder);
    assert_int_equal(nc_mkdirs(path, &e), 0);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i][0]);
        assert_int_equal(nc_file_write(path, files[i][1], strlen(files[i][1]), &e), 0);
    }
    assert_int_equal(nc_tokenizer_load(folder, &t, &e), 0);
    assert_string_equal(nc_tokenizer_chat_template(t, NULL), "plain");
    assert_string_equal(nc_tokenizer_chat_template(t, "tool_use"), "with tools");
    assert_null(nc_tokenizer_chat_template(t, "notes"));
    nc_tokenizer_free(t);
    nc_remove_tree(folder, NULL);
}

/* A sentencepiece file of fairseq's kind: four special tokens before the pieces, <mask> behind, <s> text </s>. */
static void test_fairseq_ids(void **state)
{
    (void)state;
    nc_error e = { 0 };
    const char *file = "tests/golden/tokenizers/spm-unigram/tokenizer.model";
    if (!nc_file_exists(file)) {
        printf("skipped: %s is not there\n", file);
        return;
    }
    nc_arena *a = nc_arena_new();
    nc_json *config = NULL;
    nc_tokenizer *plain = NULL, *fairseq = NULL;
    assert_int_equal(nc_json_parse(a, NC_STR("{\"tokenizer_class\": \"XLMRobertaTokenizer\"}"), "c", &config, &e), 0);
    assert_int_equal(nc_tokenizer_load_as(file, NULL, &plain, &e), 0);
    assert_int_equal(nc_tokenizer_load_as(file, config, &fairseq, &e), 0);
    assert_int_equal(nc_tokenizer_vocab_size(fairseq), nc_tokenizer_vocab_size(plain) + 2);
    assert_int_equal(nc_tokenizer_id(fairseq, NC_STR("<mask>")), nc_tokenizer_vocab_size(plain) + 1);
    nc_ids x = { 0 }, y = { 0 };
    assert_int_equal(nc_tokenizer_encode(plain, NC_STR("Hello world"), 0, &x, &e), 0);
    assert_int_equal(nc_tokenizer_encode(fairseq, NC_STR("Hello world"), NC_ENCODE_SPECIAL, &y, &e), 0);
    assert_int_equal(y.n, x.n + 2);
    assert_true(y.p[0] == 0 && y.p[y.n - 1] == 2);
    for (size_t i = 0; i < x.n; i++)
        assert_int_equal(y.p[i + 1], x.p[i] + 1);
    nc_ids_free(&x);
    nc_ids_free(&y);
    nc_tokenizer_free(plain);
    nc_tokenizer_free(fairseq);
    nc_arena_free(a);
}

struct shared { const nc_tokenizer *t; nc_str text; nc_ids parts[32]; };

static void encode_part(void *context, int64_t part, int64_t parts, int worker)
{
    struct shared *s = context;
    nc_error e;
    (void)parts;
    (void)worker;
    for (int i = 0; i < 50; i++) {
        s->parts[part].n = 0;
        nc_tokenizer_encode(s->t, s->text, NC_ENCODE_SPECIAL, &s->parts[part], &e);
    }
}

static void test_threads(void **state)
{
    (void)state;
    nc_tokenizer *t = load(QWEN);
    struct shared s = { .t = t, .text = NC_STR("바다에 배가 한 척 있다. The boat <|im_start|> 12345 \xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab") };
    nc_pool *pool = nc_pool_new(4);
    nc_pool_run(pool, 32, encode_part, &s);
    for (int i = 0; i < 32; i++) {
        assert_int_equal(s.parts[i].n, s.parts[0].n);
        assert_memory_equal(s.parts[i].p, s.parts[0].p, s.parts[0].n * sizeof(int32_t));
    }
    for (int i = 0; i < 32; i++)
        nc_ids_free(&s.parts[i]);
    nc_pool_free(pool);
    nc_tokenizer_free(t);
}

static void refuse(const char *text, int code, const char *words)
{
    nc_error e = { 0 };
    nc_tokenizer *t = parse(text, &e);
    assert_null(t);
    assert_int_equal(e.code, code);
    if (!strstr(e.message, words) || !strstr(e.message, "tokenizer.json"))
        print_error("%s\n", e.message);
    assert_non_null(strstr(e.message, words));
    assert_non_null(strstr(e.message, "tokenizer.json"));
}

static void test_refusals(void **state)
{
    (void)state;
    nc_tokenizer *t;
    nc_error e = { 0 };
    refuse("[]", NC_EFORMAT, "no JSON object");
    refuse("{}", NC_EFORMAT, "\"model\"");
    refuse("{\"model\": {\"type\": \"Wave\"}}", NC_EUNSUPPORTED, "Wave");
    refuse("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": -1}, \"merges\": []}}", NC_EFORMAT, "model.vocab[\"a\"]");
    refuse("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 4000000000}, \"merges\": []}}", NC_EFORMAT, "model.vocab");
    refuse("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [\"a b\"]}}", NC_EFORMAT, "model.merges[0]");
    refuse("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [], \"dropout\": 0.1}}", NC_EUNSUPPORTED, "dropout");
    refuse("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": []}, \"normalizer\": {\"type\": \"Odd\"}}", NC_EUNSUPPORTED, "Odd");
    refuse("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": []}, \"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"(\"}}}", NC_EFORMAT, "regular expression");
    assert_int_equal(nc_tokenizer_load("/nonexistent/tokenizer.json", &t, &e), NC_ENOTFOUND);
    assert_int_equal(nc_tokenizer_load("tests", &t, &e), NC_ENOTFOUND);
    assert_non_null(strstr(e.message, "tokenizer.json"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folder), cmocka_unit_test(test_plain), cmocka_unit_test(test_stream), cmocka_unit_test(test_long_word), cmocka_unit_test(test_blanks_cut_words),
        cmocka_unit_test(test_folder_of_templates), cmocka_unit_test(test_fairseq_ids),
        cmocka_unit_test(test_threads), cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

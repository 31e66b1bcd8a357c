/* test_gguf_vocab.c - vocabularies inside GGUF files against llama.cpp's own cases (ids without special tokens), and lying files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "load/gguf_vocab.h"

static const char *shared(void)
{
    const char *s = getenv("NUNCHI_SHARED");
    return s ? s : NUNCHI_SOURCE_DIR "/../shared";
}

/* Texts lie between marks; the ids of each are a line. */
static int check_cases(nc_arena *a, const char *gguf)
{
    static const char mark[] = "\n__ggml_vocab_test__\n";
    nc_buf texts = { 0 }, ids = { 0 };
    nc_tokenizer *t = NULL;
    nc_error e = { 0 };
    int checked = 0;
    if (nc_file_read(nc_arena_printf(a, "%s.inp", gguf), 1 << 20, &texts, &e) < 0 || nc_file_read(nc_arena_printf(a, "%s.out", gguf), 1 << 20, &ids, &e) < 0)
        fail_msg("%s", e.message);
    if (nc_gguf_vocab_open(gguf, &t, &e) < 0)
        fail_msg("%s", e.message);
    char *at = texts.p, *want = ids.p;
    while (at && want && *want) {
        char *end = strstr(at, mark), *line = strchr(want, '\n');
        nc_str text = { at, end ? (size_t)(end - at) : strlen(at) };
        nc_ids got = { 0 };
        text.n -= !end && text.n && at[text.n - 1] == '\n';                  /* the file's last line feed */
        assert_int_equal(nc_tokenizer_encode(t, text, 0, &got, &e), 0);
        for (size_t i = 0; i <= got.n; i++) {
            char *after = want;
            long id = strtol(want, &after, 10);
            bool there = after != want && after <= line;
            if (there != (i < got.n) || (there && id != got.p[i]))
                fail_msg("%s: text %d \"%.*s\": token %zu is %d, want %ld", gguf, checked, (int)text.n, text.p, i, i < got.n ? got.p[i] : -1, there ? id : -1);
            want = there ? after : want;
        }
        nc_ids_free(&got);
        want = line ? line + 1 : NULL;
        at = end ? end + strlen(mark) : NULL;
        checked++;
    }
    nc_tokenizer_free(t);
    nc_buf_free(&texts);
    nc_buf_free(&ids);
    return checked;
}

static void llama_cpp_cases(void **state)
{
    static const char *const names[] = { "bert-bge", "deepseek-llm", "gpt-2", "llama-spm", "phi-3", "starcoder", "deepseek-coder", "falcon", "command-r", "refact", "mpt" };
    int files = 0;
    nc_arena *a = nc_arena_new();
    (void)state;
    for (int i = 0; i < NC_COUNT(names); i++) {
        const char *file = nc_arena_printf(a, "%s/data/llama_cpp_vocab/ggml-vocab-%s.gguf", shared(), names[i]);
        if (!nc_file_exists(file))
            continue;
        assert_true(check_cases(a, file) >= 40);
        files++;
    }
    print_message(files ? "%d vocabularies\n" : "skipped: no vocabularies under NUNCHI_SHARED\n", files);
    nc_arena_free(a);
}

static void refused(const nc_gguf_meta *m, int status, const char *why)
{
    char path[] = "/tmp/nunchi-vocab-XXXXXX";
    nc_tokenizer *t = NULL;
    nc_error e = { 0 };
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(nc_gguf_write(path, m, NULL, 0, NULL, NULL, &e), 0);
    assert_int_equal(nc_gguf_vocab_open(path, &t, &e), status);
    if (!strstr(e.message, why))
        fail_msg("\"%s\" does not say \"%s\"", e.message, why);
    remove(path);
}

static void lying_files(void **state)
{
    static const nc_str tokens[] = { { "a", 1 }, { "b", 1 } };
    const int32_t types[] = { 1 };
    (void)state;
    nc_gguf_meta *m = nc_gguf_meta_new();
    nc_gguf_set_string(m, "tokenizer.ggml.model", NC_STR("gpt2"));
    refused(m, NC_ENOTFOUND, "no vocabulary");
    nc_gguf_set_strings(m, "tokenizer.ggml.tokens", tokens, 2);
    refused(m, NC_EFORMAT, "merges");
    nc_gguf_set_strings(m, "tokenizer.ggml.merges", tokens, 0);
    nc_gguf_set_string(m, "tokenizer.ggml.pre", NC_STR("nobody"));
    refused(m, NC_EUNSUPPORTED, "nobody");
    nc_gguf_set_numbers(m, "tokenizer.ggml.token_type", NC_GGUF_I32, types, 1);
    refused(m, NC_EFORMAT, "types");
    nc_gguf_meta_free(m);
    m = nc_gguf_meta_new();
    nc_gguf_set_string(m, "tokenizer.ggml.model", NC_STR("plamo2"));
    nc_gguf_set_strings(m, "tokenizer.ggml.tokens", tokens, 2);
    refused(m, NC_EUNSUPPORTED, "plamo2");
    nc_gguf_set_string(m, "tokenizer.ggml.model", NC_STR("llama"));
    refused(m, NC_EFORMAT, "scores");
    nc_gguf_meta_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(llama_cpp_cases), cmocka_unit_test(lying_files) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

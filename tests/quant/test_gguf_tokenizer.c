/* test_gguf_tokenizer.c - tokenizers written as GGUF's vocabularies and read back: the same ids for the golden texts, wherever llama.cpp's form can say what they do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "load/gguf_vocab.h"
#include "quant/gguf_meta.h"

/* The tokenizer of a folder as a vocabulary, back from its file. */
static nc_tokenizer *through_gguf(const char *folder, nc_tokenizer *t, const char *kind)
{
    char path[] = "/tmp/nunchi-vocab-XXXXXX";
    nc_model model = { .vocab_size = nc_tokenizer_vocab_size(t) + 3 };
    const nc_loaded l = { .folder = folder, .tokenizer = t, .model = &model };
    nc_gguf_meta *meta = nc_gguf_meta_new();
    nc_tokenizer *back = NULL;
    nc_error e = { 0 };
    nc_gguf *g;
    close(mkstemp(path));
    if (nc_gguf_meta_tokenizer(meta, &l, &e) < 0 || nc_gguf_write(path, meta, NULL, 0, NULL, NULL, &e) < 0 || nc_gguf_open(path, &g, &e) < 0)
        fail_msg("%s: %s", folder, e.message);
    assert_string_equal(nc_gguf_string(g, "tokenizer.ggml.model", ""), kind);
    if (nc_gguf_vocab(g, path, &back, &e) < 0)
        fail_msg("%s: %s", folder, e.message);
    nc_gguf_close(g);
    nc_gguf_meta_free(meta);
    unlink(path);
    return back;
}

/* What the form has no word for: a token that takes blanks from its left, and sentencepiece's control tokens, which no text spells. */
static bool is_beyond(const char *folder, nc_str text)
{
    return (nc_ends_with(folder, "bbpe-roberta") && strstr(text.p, " <mask>")) || (strstr(folder, "/nunchi-spm") && strchr(text.p, '<'));
}

static int check_texts(nc_arena *a, const char *cases, const char *folder, const nc_tokenizer *t, const nc_tokenizer *back)
{
    nc_buf lines = { 0 };
    nc_error e = { 0 };
    int texts = 0;
    assert_int_equal(nc_file_read(cases, 64 << 20, &lines, &e), 0);
    for (char *at = lines.p, *end; at && *at; at = end) {
        nc_json *one = NULL;
        end = strchr(at, '\n');
        assert_int_equal(nc_json_parse(a, (nc_str){ at, end ? (size_t)(end - at) : strlen(at) }, "cases.jsonl", &one, &e), 0);
        end = end ? end + 1 : NULL;
        const nc_json *text = nc_json_get(one, "text");
        if (!nc_json_is(text, NC_JSON_STRING) || is_beyond(folder, text->text))
            continue;
        for (unsigned flags = 0; flags <= NC_ENCODE_SPECIAL; flags++) {
            nc_ids want = { 0 }, have = { 0 };
            assert_int_equal(nc_tokenizer_encode(t, text->text, flags, &want, &e), 0);
            assert_int_equal(nc_tokenizer_encode(back, text->text, flags, &have, &e), 0);
            if (want.n != have.n || (want.n && memcmp(want.p, have.p, want.n * sizeof *want.p)))
                fail_msg("%s: \"%.*s\" has %zu ids, not the same %zu", folder, (int)text->text.n, text->text.p, have.n, want.n);
            nc_ids_free(&want);
            nc_ids_free(&have);
        }
        texts++;
    }
    nc_buf_free(&lines);
    return texts;
}

static void the_same_ids(void **state)
{
    static const struct { const char *name, *kind; } folders[] = {
        { "bbpe-gpt2", "gpt2" }, { "bbpe-llama3", "gpt2" }, { "bbpe-qwen2", "gpt2" }, { "bbpe-roberta", "gpt2" }, { "bbpe-deepseek", "gpt2" }, { "bbpe-o200k", "gpt2" },
        { "bpe-llama2", "llama" }, { "bpe-gemma", "llama" }, { "spm-bpe", "llama" }, { "spm-unigram", "t5" }, { "spm-unigram-bytes", "t5" },
        { "wordpiece-uncased", "bert" }, { "wordpiece-cased", "bert" },
    };
    const char *shared = getenv("NUNCHI_SHARED") ? getenv("NUNCHI_SHARED") : NUNCHI_SOURCE_DIR "/../shared";
    nc_arena *a = nc_arena_new();
    int checked = 0;
    (void)state;
    for (int i = 0; i < NC_COUNT(folders); i++) {
        const char *own = nc_arena_printf(a, NUNCHI_SOURCE_DIR "/tests/golden/tokenizers/%s", folders[i].name);
        const char *folder = nc_is_dir(own) ? own : nc_arena_printf(a, "%s/golden/tokenizers/%s", shared, folders[i].name);
        nc_tokenizer *t = NULL;
        nc_error e = { 0 };
        const char *cases = nc_path_join(a, folder, "cases.jsonl"), *spm = nc_path_join(a, folder, "tokenizer.model");
        char alone[] = "/tmp/nunchi-spm-XXXXXX";
        if (!nc_is_dir(folder))
            continue;
        if (nc_file_exists(spm)) {                       /* the .model file, not the library's form of it */
            assert_non_null(mkdtemp(alone));
            assert_int_equal(nc_file_copy(spm, nc_path_join(a, alone, "tokenizer.model"), &e), 0);
            folder = alone;
        }
        if (nc_tokenizer_load(folder, &t, &e) < 0)
            fail_msg("%s", e.message);
        nc_tokenizer *back = through_gguf(folder, t, folders[i].kind);
        print_message("%s: %d texts\n", folders[i].name, check_texts(a, cases, folder, t, back));
        if (folder == alone)
            nc_remove_tree(alone, NULL);
        nc_tokenizer_free(back);
        nc_tokenizer_free(t);
        checked++;
    }
    assert_true(checked > 0);
    nc_arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(the_same_ids) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

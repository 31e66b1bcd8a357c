/* test_train_bpe.c - a trained tokenizer loads, round-trips any text, and does not depend on the order of its texts. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "text/tokenizer.h"
#include "text/train.h"

static const char *const texts[] = { "바다에 배 한 척이 있다. 바다가 맑다.", "the boat on the bay, the bay is calm", "바다와 배, boats and bays", "the the the 바다 바다" };

static nc_json *train(nc_arena *a, int first, int step)
{
    static const char *const special[] = { "<|endoftext|>", "<|im_start|>" };
    nc_trainer_options o = { .vocab_size = 300, .special = special, .special_count = 2, .pattern = "qwen2", .nfc = true, .bos = "<|im_start|>", .eos = "<|endoftext|>" };
    nc_trainer *t;
    nc_error e = { 0 };
    nc_json *tree;
    assert_int_equal(nc_trainer_new(&o, &t, &e), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(nc_trainer_feed(t, nc_str_of(texts[(first + i * step + 4) % 4]), &e), 0);
    assert_int_equal(nc_trainer_finish(t, a, &tree, &e), 0);
    nc_trainer_free(t);
    return tree;
}

static void test_round_trip(void **state)
{
    (void)state;
    nc_arena *a = nc_arena_new();
    nc_error e = { 0 };
    nc_buf file = { 0 }, back = { 0 };
    nc_json *tree;
    nc_tokenizer *t;
    nc_json_write(&file, train(a, 0, 1), 2);
    assert_int_equal(nc_json_parse(a, (nc_str){ file.p, file.n }, "trained", &tree, &e), 0);
    assert_int_equal(nc_tokenizer_from_json(tree, NULL, "trained", &t, &e), 0);
    assert_true(nc_tokenizer_vocab_size(t) > 258 && nc_tokenizer_vocab_size(t) <= 300);
    assert_true(nc_tokenizer_id(t, NC_STR("<|im_start|>")) == 1);
    const nc_str text = NC_STR("바다 위의 the boat \xf0\x9f\x9a\xa2\n\t\0!");
    nc_ids ids = { 0 };
    assert_int_equal(nc_tokenizer_encode(t, text, NC_ENCODE_SPECIAL, &ids, &e), 0);
    assert_int_equal(ids.p[0], 1);
    assert_int_equal(ids.p[ids.n - 1], 0);
    assert_true(ids.n < text.n);
    nc_tokenizer_decode(t, ids.p, ids.n, true, &back);
    assert_int_equal(back.n, text.n);
    assert_memory_equal(back.p, text.p, text.n);
    nc_ids_free(&ids);
    nc_buf_free(&file);
    nc_buf_free(&back);
    nc_tokenizer_free(t);
    nc_arena_free(a);
}

static void test_order(void **state)
{
    (void)state;
    nc_arena *a = nc_arena_new();
    assert_true(nc_json_equal(train(a, 0, 1), train(a, 3, -1)));
    nc_arena_free(a);
}

static void test_refusals(void **state)
{
    (void)state;
    nc_trainer *t;
    nc_error e = { 0 };
    nc_trainer_options o = { .bos = "<s>" };
    assert_int_equal(nc_trainer_new(&o, &t, &e), NC_EINVAL);
    o = (nc_trainer_options){ .pattern = "(unclosed" };
    assert_int_equal(nc_trainer_new(&o, &t, &e), NC_EFORMAT);
    assert_non_null(strstr(e.message, "unclosed"));
    o = (nc_trainer_options){ .vocab_size = 300 };
    assert_int_equal(nc_trainer_new(&o, &t, &e), 0);
    assert_int_equal(nc_trainer_feed(t, NC_STR("a\xff"), &e), NC_EFORMAT);
    nc_trainer_free(t);
}

/* Every model learns, loads again and gives texts back through its own tokens. */
static void test_models(void **state)
{
    static const struct { const char *name, *special[2], *unk; int size; } cases[] = {
        { "unigram", { "<unk>", "</s>" }, "<unk>", 60 }, { "wordpiece", { "[UNK]", "[SEP]" }, "[UNK]", 80 }, { "wordlevel", { "[UNK]", "[SEP]" }, "[UNK]", 40 } };
    (void)state;
    for (int i = 0; i < 3; i++) {
        nc_arena *a = nc_arena_new();
        nc_trainer_options o = { .vocab_size = cases[i].size, .special = cases[i].special, .special_count = 2, .eos = cases[i].special[1], .unk = cases[i].unk, .min_frequency = 1 };
        nc_trainer *t;
        nc_tokenizer *k;
        nc_json *tree;
        nc_ids ids = { 0 };
        nc_buf back = { 0 };
        nc_error e = { 0 };
        assert_true(nc_trainer_model_by_name(cases[i].name, &o.model));
        assert_int_equal(nc_trainer_new(&o, &t, &e), 0);
        for (int j = 0; j < 4; j++)
            assert_int_equal(nc_trainer_feed(t, nc_str_of(texts[j]), &e), 0);
        assert_int_equal(nc_trainer_finish(t, a, &tree, &e), 0);
        assert_int_equal(nc_trainer_finish(t, a, &tree, &e), NC_EINVAL);
        assert_int_equal(nc_tokenizer_from_json(tree, NULL, "trained", &k, &e), 0);
        assert_true(nc_tokenizer_vocab_size(k) <= cases[i].size);
        assert_int_equal(nc_tokenizer_encode(k, NC_STR("the boat on the bay"), NC_ENCODE_SPECIAL, &ids, &e), 0);
        assert_int_equal(ids.p[ids.n - 1], 1);
        assert_true(ids.n >= 3 && ids.n <= 19);
        for (size_t j = 0; j + 1 < ids.n; j++)
            assert_true(ids.p[j] > 1);                   /* nothing unknown */
        nc_tokenizer_decode(k, ids.p, ids.n, true, &back);
        assert_string_equal(back.p, "the boat on the bay");
        nc_ids_free(&ids);
        nc_buf_free(&back);
        nc_tokenizer_free(k);
        nc_trainer_free(t);
        nc_arena_free(a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_round_trip), cmocka_unit_test(test_order), cmocka_unit_test(test_refusals), cmocka_unit_test(test_models) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

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
#include "text/train_bpe.h"

static const char *const texts[] = { "바다에 배 한 척이 있다. 바다가 맑다.", "the boat on the bay, the bay is calm", "바다와 배, boats and bays", "the the the 바다 바다" };

static nc_json *train(nc_arena *a, int first, int step)
{
    static const char *const special[] = { "<|endoftext|>", "<|im_start|>" };
    nc_bpe_options o = { .vocab_size = 300, .special = special, .special_count = 2, .pattern = "qwen2", .nfc = true, .bos = "<|im_start|>", .eos = "<|endoftext|>" };
    nc_bpe_trainer *t;
    nc_error e = { 0 };
    nc_json *tree;
    assert_int_equal(nc_bpe_trainer_new(&o, &t, &e), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(nc_bpe_trainer_feed(t, nc_str_of(texts[(first + i * step + 4) % 4]), &e), 0);
    assert_int_equal(nc_bpe_trainer_finish(t, a, &tree, &e), 0);
    nc_bpe_trainer_free(t);
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
    nc_bpe_trainer *t;
    nc_error e = { 0 };
    nc_bpe_options o = { .bos = "<s>" };
    assert_int_equal(nc_bpe_trainer_new(&o, &t, &e), NC_EINVAL);
    o = (nc_bpe_options){ .pattern = "(unclosed" };
    assert_int_equal(nc_bpe_trainer_new(&o, &t, &e), NC_EFORMAT);
    assert_non_null(strstr(e.message, "unclosed"));
    o = (nc_bpe_options){ .vocab_size = 300 };
    assert_int_equal(nc_bpe_trainer_new(&o, &t, &e), 0);
    assert_int_equal(nc_bpe_trainer_feed(t, NC_STR("a\xff"), &e), NC_EFORMAT);
    nc_bpe_trainer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_round_trip), cmocka_unit_test(test_order), cmocka_unit_test(test_refusals) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

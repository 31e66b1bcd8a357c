/* test_bench_words.c - the made tokenizer is a whole one: every byte, and words that are merged up to their full length. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/bench_words.h"
#include "text/tokenizer.h"

static void every_text_has_its_pieces(void **state)
{
    enum { PIECES = 256 + 26 * 26 + 20000 + 100 };
    char folder[] = "/tmp/nunchi-test-XXXXXX";
    nc_error e = { 0 };
    nc_arena *a = nc_arena_new();
    nc_tokenizer *t = NULL;
    nc_ids ids = { 0 };
    nc_buf back = { 0 };
    (void)state;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(nc_bench_write_tokenizer(a, folder, PIECES, &e), 0);
    if (nc_tokenizer_load(folder, &t, &e) < 0)
        fail_msg("%s", e.message);
    assert_int_equal(nc_tokenizer_vocab_size(t), PIECES);
    const nc_str words = NC_STR("abcd ez 눈치\n\"\\");
    assert_int_equal(nc_tokenizer_encode(t, words, 0, &ids, &e), 0);
    assert_int_equal((int)ids.n, 1 + 2 + 1 + 6 + 3);       /* abcd; a blank and ez; a blank; two syllables of three bytes; a line's end and two signs */
    assert_int_equal(ids.p[0], 256 + 26 * 26 + 1 * 26 * 26 + 2 * 26 + 3);
    nc_tokenizer_decode(t, ids.p, ids.n, false, &back);
    assert_true(back.n == words.n && !memcmp(back.p, words.p, words.n));
    assert_true(nc_tokenizer_id(t, NC_STR("aaaaaaab")) == 256 + 26 * 26 + 20000 + 1);
    nc_buf_free(&back);
    nc_ids_free(&ids);
    nc_tokenizer_free(t);
    nc_remove_tree(folder, NULL);
    nc_arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_text_has_its_pieces) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_nougat.c - pages' texts as a decoder writes them and the markdown the reference makes of each (nougat_cases.json: transformers 5.24, without a list of words). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/json.h"
#include "text/nougat.h"

static void test_cases(void **state)
{
    (void)state;
    nc_error e = { 0 };
    nc_arena *a = nc_arena_new();
    nc_json *cases = NULL;
    if (nc_json_load(a, "tests/text/nougat_cases.json", &cases, &e) < 0)
        fail_msg("%s", e.message);
    assert_true(cases->count > 50);
    NC_JSON_EACH(item, cases) {
        nc_str text = nc_json_at(item, 0)->text;
        nc_buf b = { 0 };
        nc_buf_add(&b, text.p, text.n);
        nc_nougat_markdown(&b);
        if (!nc_str_eq((nc_str){ b.p ? b.p : "", b.n }, nc_json_at(item, 1)->text))
            fail_msg("line %d: \"%s\"\nbecame \"%.*s\"\nnot    \"%s\"", item->line, text.p, (int)b.n, b.p ? b.p : "", nc_json_at(item, 1)->text.p);
        nc_buf_free(&b);
    }
    nc_arena_free(a);
}

/* What is no text at all does no harm. */
static void test_odd_texts(void **state)
{
    (void)state;
    static const char *const odd[] = { "", "\n", "\xff\xfe broken", "#", "* ", "- - - ", "`````````", "\\[\\]", "* [1]\n* [1]\n* [1]\n* [1]\n* [1]\n* [1]\n* [1]\n* [1]\n* [1]\n* [1]\n* [1]\n* [1]\n* [1]\n* [1]\n* [1]\n* [1]\n* [1]" };
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        nc_buf b = { 0 };
        nc_buf_adds(&b, odd[i]);
        nc_nougat_markdown(&b);
        assert_true(b.n < 4096);
        nc_buf_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_cases), cmocka_unit_test(test_odd_texts) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_ocr_fields.c - Donut's text to JSON, as its processor's token2json gives it (the expected trees were written by it). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "cli/ocr_fields.h"

static const struct { const char *text, *json; } cases[] = {
    { "plain words ", "{\"text_sequence\": \"plain words \"}" },
    { "", "{\"text_sequence\": \"\"}" },
    { "<s_total> 12,500 </s_total>", "{\"total\": \"12,500\"}" },
    { "<s_menu><s_nm>a</s_nm><s_price>1</s_price><sep/><s_nm>b</s_nm><s_price>2</s_price></s_menu><s_total>3</s_total>",
      "{\"menu\": [{\"nm\": \"a\", \"price\": \"1\"}, {\"nm\": \"b\", \"price\": \"2\"}], \"total\": \"3\"}" },
    { "<s_menu><s_nm>a</s_nm></s_menu>", "{\"menu\": {\"nm\": \"a\"}}" },
    { "<s_nm>a<sep/>b</s_nm>", "{\"nm\": [\"a\", \"b\"]}" },
    { "<s_open>never closed<s_nm>a</s_nm>", "{\"nm\": \"a\"}" },
    { "<s_class><yes/></s_class>", "{\"class\": \"yes\"}" },
    { "<s_cut", "{\"text_sequence\": \"<s_cut\"}" },
    { "<s_a></s_b><s_cut", "{\"text_sequence\": \"</s_b><s_cut\"}" },
    { "<s_a>x</s_a><sep/><s_a>y</s_a>", "[{\"a\": \"x\"}, {\"a\": \"y\"}]" },
};

static void every_case(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        nc_arena *a = nc_arena_new();
        nc_buf b = { 0 };
        nc_json_write(&b, nc_ocr_fields(a, nc_str_of(cases[i].text)), 0);
        nc_buf_adds(&b, "");
        if (b.n != strlen(cases[i].json) || memcmp(b.p, cases[i].json, b.n))
            fail_msg("%s: %.*s, should be %s", cases[i].text, (int)b.n, b.p, cases[i].json);
        nc_buf_free(&b);
        nc_arena_free(a);
    }
}

static void deep_nesting_ends(void **state)
{
    enum { DEEP = 3000 };
    nc_arena *a = nc_arena_new();
    nc_buf b = { 0 };
    (void)state;
    for (int i = 0; i < DEEP; i++)
        nc_buf_printf(&b, "<s_%d>", i);
    for (int i = DEEP - 1; i >= 0; i--)
        nc_buf_printf(&b, "</s_%d>", i);
    assert_non_null(nc_ocr_fields(a, (nc_str){ b.p, b.n }));
    nc_buf_free(&b);
    nc_arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_case), cmocka_unit_test(deep_nesting_ends) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

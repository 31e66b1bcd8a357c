/* test_text.c - status lines, views, numbers, globs, names that are near, UTF-8, escapes, base64, figures for people. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/str.h"

static void test_status(void **state)
{
    (void)state;
    nc_error e = { 0 };
    assert_int_equal(nc_fail(&e, NC_EIO, "%s: bad\nline \xff \x01", "f"), NC_EIO);
    assert_string_equal(e.message, "f: bad line ? ?");
    assert_int_equal(nc_fail_in(&e, "folder %d", 7), NC_EIO);
    assert_string_equal(e.message, "folder 7: f: bad line ? ?");
    assert_int_equal(nc_fail(&e, NC_EINVAL, "%s again", e.message), NC_EINVAL);
    assert_string_equal(e.message, "folder 7: f: bad line ? ? again");
    assert_int_equal(nc_fail(NULL, NC_ESHAPE, "x"), NC_ESHAPE);
    assert_string_equal(nc_status_name(NC_ESHAPE), "shape");

    /* A full line: cut at a character, and the cause at its end survives prefixes. */
    char longer[3001];
    for (int i = 0; i < 3000; i += 3)
        memcpy(longer + i, "\xed\x95\x9c", 3);
    longer[3000] = 0;
    nc_fail(&e, NC_EIO, "%s", longer);
    assert_int_equal(strlen(e.message), 999);
    nc_fail(&e, NC_EIO, "a%s", longer);
    assert_int_equal(strlen(e.message), 1 + 332 * 3);
    nc_fail(&e, NC_EIO, "the cause");
    for (int i = 0; i < 5; i++)
        nc_fail_in(&e, "%s", longer);
    assert_true(strlen(e.message) <= 999 && nc_utf8_valid(nc_str_of(e.message)));
    assert_true(nc_ends_with(e.message, ": the cause") || strstr(e.message, "the cause"));
}

static void test_views(void **state)
{
    (void)state;
    assert_true(nc_str_eqz(NC_STR("abc"), "abc") && !nc_str_eqz(NC_STR("abc"), "ab"));
    assert_true(nc_str_eq((nc_str){ NULL, 0 }, NC_STR("")));
    assert_true(nc_starts_with("model.layers", "model.") && !nc_starts_with("mo", "model"));
    assert_true(nc_ends_with("a.json", ".json") && !nc_ends_with("json", ".json"));
    static const struct { const char *pattern, *s; bool match; } globs[] = {
        { "*", "", true }, { "", "", true }, { "", "a", false }, { "a*b", "ab", true }, { "a*b", "axxb", true }, { "a*b", "axbx", false },
        { "*.layers.*.q", "m.layers.3.q", true }, { "?", "한", true }, { "??", "한", false }, { "*a*a*a", "aaab", false }, { "a?c", "abc", true }, { "**", "x", true },
    };
    for (int i = 0; i < NC_COUNT(globs); i++)
        assert_int_equal(nc_glob(globs[i].pattern, globs[i].s), globs[i].match);
    static const char *const names[] = { "learning_rate", "max_steps", "seed", "output_dir" };
    assert_string_equal(nc_nearest("lerning_rate", names, 4), "learning_rate");
    assert_string_equal(nc_nearest("max_setps", names, 4), "max_steps");
    assert_string_equal(nc_nearest("sed", names, 4), "seed");
    assert_null(nc_nearest("colour", names, 4));
    assert_null(nc_nearest("x", names, 4));
}

static void test_numbers(void **state)
{
    (void)state;
    int64_t i;
    double d;
    assert_true(nc_parse_int("-9223372036854775808", &i) && i == INT64_MIN);
    assert_false(nc_parse_int("9223372036854775808", &i) || nc_parse_int("", &i) || nc_parse_int(" 1", &i) || nc_parse_int("1 ", &i)
                 || nc_parse_int("1.0", &i) || nc_parse_int(NULL, &i) || nc_parse_int("-", &i));
    assert_true(nc_parse_double("1e-5", &d) && d == 1e-5);
    assert_true(nc_parse_double("5e-324", &d) && d == 5e-324);
    assert_false(nc_parse_double("1e999", &d) || nc_parse_double("", &d) || nc_parse_double(" 1", &d) || nc_parse_double("1,5", &d)
                 || nc_parse_double("0x10", &d) || nc_parse_double("1e", &d));
}

/* Short decimals take a path of their own: the same bits as strtod, in the middle of two doubles too. */
static void test_decimals_round_like_strtod(void **state)
{
    (void)state;
    static const char *const hard[] = { "9007199254740993", "9007199254740992.9999", "9007199254740993.0001", "0.1", "-0.0", "-2.0122928619384766", "18446744073709551615", "1844674407370955161.5",
                                        "0.000000000000000000000000001", "4503599627370497.5", "4503599627370496.5", "123456789012345678.9", "1.", "-.5", "00012.50" };
    nc_rng r = nc_rng_new(3, 0);
    double d, want;
    for (int i = 0; i < 20000 + NC_COUNT(hard); i++) {
        char text[64], *end;
        if (i < NC_COUNT(hard))
            snprintf(text, sizeof text, "%s", hard[i]);
        else
            snprintf(text, sizeof text, "%.*f", (int)nc_rng_below(&r, 20), nc_rng_normal(&r) * (double)(1 + nc_rng_below(&r, 1000000)));
        want = strtod(text, &end);
        assert_true(nc_parse_double(text, &d));
        if (memcmp(&d, &want, sizeof d))
            fail_msg("%s: %a, not %a", text, d, want);
    }
}

static void test_buf(void **state)
{
    (void)state;
    nc_buf b = { 0 };
    for (int i = 0; i < 1000; i++)
        nc_buf_printf(&b, "%d,", i);
    assert_int_equal(b.n, 10 * 2 + 90 * 3 + 900 * 4);
    assert_true(nc_ends_with(b.p, ",998,999,"));
    nc_buf_clear(&b);
    nc_buf_html(&b, NC_STR("<a href=\"x\">'&'</a>"));
    assert_string_equal(b.p, "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;");
    nc_buf_free(&b);
    assert_null(b.p);
}

static void test_utf8(void **state)
{
    (void)state;
    for (uint32_t c = 0; c < 0x110000; c++) {
        char out[4];
        uint32_t back = 0;
        if (c >= 0xd800 && c <= 0xdfff)
            continue;
        int n = nc_utf8_encode(c, out);
        assert_int_equal(nc_utf8_decode(out, (size_t)n, &back), n);
        assert_int_equal(back, c);
        if (n > 1)
            assert_int_equal(nc_utf8_decode(out, (size_t)n - 1, &back), -1);
        /* Every proper beginning is one; the whole is whole. */
        for (int cut = 1; cut < n; cut++)
            assert_int_equal(nc_utf8_whole((nc_str){ out, (size_t)cut }), 0);
        assert_int_equal(nc_utf8_whole((nc_str){ out, (size_t)n }), n);
    }
    static const char *const bad[] = { "\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xe1\x80x" };
    uint32_t c;
    for (int i = 0; i < NC_COUNT(bad); i++) {
        assert_int_equal(nc_utf8_decode(bad[i], strlen(bad[i]), &c), -1);
        assert_false(nc_utf8_valid(nc_str_of(bad[i])));
    }
    assert_int_equal(nc_utf8_whole(NC_STR("a\x80\x80\x80")), 4);
    assert_int_equal(nc_utf8_whole(NC_STR("a\xed\xa0")), 3);        /* never a character: counts as whole */
    assert_int_equal(nc_utf8_whole(NC_STR("ab\xff")), 3);
    assert_int_equal(nc_utf8_whole(NC_STR("")), 0);
}

static void test_base64(void **state)
{
    (void)state;
    static const char *const pairs[][2] = { { "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" }, { "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" }, { "foobar", "Zm9vYmFy" } };
    nc_buf b = { 0 };
    for (int i = 0; i < NC_COUNT(pairs); i++) {
        nc_buf_clear(&b);
        nc_buf_base64(&b, pairs[i][0], strlen(pairs[i][0]));
        assert_true(nc_str_eqz((nc_str){ b.p, b.n }, pairs[i][1]));
        nc_buf_clear(&b);
        assert_int_equal(nc_base64_decode(nc_str_of(pairs[i][1]), &b, NULL), 0);
        assert_true(nc_str_eqz((nc_str){ b.p, b.n }, pairs[i][0]));
    }
    nc_buf_clear(&b);
    assert_int_equal(nc_base64_decode(NC_STR("Zm9v\r\nYg"), &b, NULL), 0);
    assert_string_equal(b.p, "foob");
    static const char *const bad[] = { "Z", "Zg=", "Zg==Zg==", "Zm9v=", "Zm-_", "====", "Zg=a" };
    for (int i = 0; i < NC_COUNT(bad); i++)
        assert_int_equal(nc_base64_decode(nc_str_of(bad[i]), &b, NULL), NC_EFORMAT);
    nc_buf_free(&b);
}

static void test_human(void **state)
{
    (void)state;
    char b[32];
    assert_string_equal(nc_human_bytes(0, b), "0 B");
    assert_string_equal(nc_human_bytes(1.2e9, b), "1.2 GB");
    assert_string_equal(nc_human_bytes(345e6, b), "345 MB");
    assert_string_equal(nc_human_count(124.4e6, b), "124.4M");
    assert_string_equal(nc_human_count(999, b), "999");
    assert_string_equal(nc_human_time(4.2, b), "4.2 s");
    assert_string_equal(nc_human_time(200, b), "3m 20s");
    assert_string_equal(nc_human_time(59.97, b), "1m 00s");
    assert_string_equal(nc_human_time(3720, b), "1h 02m");
    assert_string_equal(nc_human_time(0.25, b), "250 ms");
    assert_string_equal(nc_human_time((double)INFINITY, b), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status), cmocka_unit_test(test_views), cmocka_unit_test(test_numbers), cmocka_unit_test(test_decimals_round_like_strtod), cmocka_unit_test(test_buf),
        cmocka_unit_test(test_utf8), cmocka_unit_test(test_base64), cmocka_unit_test(test_human),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_json.c - json_cases.txt, values of numbers, limits, writing, trees that are built. */
#include "base/cases.h"

#include <float.h>
#include <locale.h>
#include <math.h>

static nc_json *parse(nc_arena *a, const char *text)
{
    nc_json *v;
    nc_error e;
    if (nc_json_parse(a, nc_str_of(text), "text", &v, &e) < 0)
        fail_msg("%s", e.message);
    return v;
}

static void test_cases(void **state)
{
    (void)state;
    assert_true(run_cases(nc_json_parse, "tests/base/json_cases.txt") >= 40);
}

static void test_values(void **state)
{
    (void)state;
    nc_arena *a = nc_arena_new();
    const nc_json *v = parse(a, "{\"i\": 9223372036854775807, \"j\": 1e3, \"k\": 3.0, \"m\": 3.5, \"big\": 1e400, \"neg\": -99999999999999999999,"
                                "\"t\": true, \"s\": \"a\\u0000b\", \"o\": {\"p\": {\"q\": [10, 20]}}}");
    int64_t out = 0;
    assert_int_equal(nc_json_int(nc_json_get(v, "i"), 0), INT64_MAX);
    assert_int_equal(nc_json_int(nc_json_get(v, "j"), 0), 1000);
    assert_int_equal(nc_json_int(nc_json_get(v, "k"), 0), 3);
    assert_int_equal(nc_json_int(nc_json_get(v, "m"), -7), -7);
    assert_int_equal(nc_json_int(nc_json_get(v, "big"), 0), INT64_MAX);
    assert_int_equal(nc_json_int(nc_json_get(v, "neg"), 0), INT64_MIN);
    assert_false(nc_json_int_exact(nc_json_get(v, "neg"), &out));
    assert_false(nc_json_int_exact(nc_json_get(v, "m"), &out));
    assert_true(nc_json_int_exact(nc_json_get(v, "k"), &out) && out == 3);
    assert_true(isinf(nc_json_double(nc_json_get(v, "big"), 0)));
    assert_true(nc_json_bool(nc_json_get(v, "t"), false));
    assert_true(nc_json_bool(nc_json_get(v, "absent"), true));
    assert_int_equal(nc_json_get(v, "s")->text.n, 3);
    assert_string_equal(nc_json_string(nc_json_get(v, "i"), "none"), "none");
    assert_int_equal(nc_json_int(nc_json_at(nc_json_path(v, "o.p.q"), 1), 0), 20);
    assert_null(nc_json_path(v, "o.x.q"));
    assert_null(nc_json_at(nc_json_path(v, "o.p.q"), 2));
    assert_null(nc_json_get(NULL, "x"));
    nc_arena_free(a);
}

static void test_places(void **state)
{
    (void)state;
    nc_arena *a = nc_arena_new();
    const nc_json *v = parse(a, "{\n  \"a\": 1,\n  \"b\":\n    [2, 3]}");
    assert_int_equal(nc_json_get(v, "a")->line, 2);
    assert_int_equal(nc_json_get(v, "a")->column, 8);
    assert_int_equal(nc_json_at(nc_json_get(v, "b"), 1)->line, 4);
    assert_int_equal(nc_json_at(nc_json_get(v, "b"), 1)->column, 9);
    nc_arena_free(a);
}

/* Each spelling is what Python's repr gives for the double. */
static void test_doubles(void **state)
{
    (void)state;
    static const struct { double v; const char *text; } cases[] = {
        { 0, "0.0" }, { -0.0, "-0.0" }, { 1, "1.0" }, { 0.1, "0.1" }, { 1e-5, "1e-05" }, { 1e-4, "0.0001" }, { 1e16, "1e+16" }, { 1e15, "1000000000000000.0" },
        { 123456789.125, "123456789.125" }, { 1.0 / 3, "0.3333333333333333" }, { 2.0 / 3, "0.6666666666666666" }, { 5e-324, "5e-324" },
        { DBL_MAX, "1.7976931348623157e+308" }, { 0.1 + 0.2, "0.30000000000000004" }, { -1.5e-10, "-1.5e-10" }, { 100, "100.0" },
        { 9007199254740993.0, "9007199254740992.0" }, { 1e22, "1e+22" },
    };
    setlocale(LC_ALL, "de_DE.UTF-8");       /* where it is installed, the comma must not get in */
    for (int i = 0; i < NC_COUNT(cases); i++) {
        nc_buf b = { 0 };
        nc_buf_json_double(&b, cases[i].v);
        assert_string_equal(b.p, cases[i].text);
        double back;
        assert_true(nc_parse_double(b.p, &back) && back == cases[i].v);
        nc_buf_free(&b);
    }
    setlocale(LC_ALL, "C");
    nc_buf b = { 0 };
    nc_buf_json_double(&b, (double)NAN);
    assert_string_equal(b.p, "null");
    nc_buf_free(&b);
    uint64_t bits = 88172645463325252u;
    for (int i = 0; i < 20000; i++) {
        bits ^= bits << 13, bits ^= bits >> 7, bits ^= bits << 17;
        double v, back;
        memcpy(&v, &bits, 8);
        if (!isfinite(v))
            continue;
        nc_buf_json_double(&b, v);
        assert_true(nc_parse_double(b.p, &back) && !memcmp(&v, &back, 8));
        nc_buf_clear(&b);
    }
    nc_buf_free(&b);
}

static void test_depth(void **state)
{
    (void)state;
    nc_arena *a = nc_arena_new();
    nc_error e;
    nc_json *v;
    char deep[2001];
    for (int n = 199; n <= 201; n++) {
        memset(deep, '[', (size_t)n);
        memset(deep + n, ']', (size_t)n);
        int code = nc_json_parse(a, (nc_str){ deep, 2 * (size_t)n }, "deep", &v, &e);
        assert_int_equal(code, n <= 200 ? 0 : NC_ELIMIT);
    }
    memset(deep, '[', 2000);
    assert_int_equal(nc_json_parse(a, (nc_str){ deep, 2000 }, "deep", &v, &e), NC_ELIMIT);
    nc_arena_free(a);
}

static void test_writing(void **state)
{
    (void)state;
    nc_arena *a = nc_arena_new();
    nc_json *o = nc_json_new(a, NC_JSON_OBJECT), *list = nc_json_new(a, NC_JSON_ARRAY);
    nc_json_append(list, nc_json_new_int(a, -5));
    nc_json_append(list, nc_json_new_double(a, 0.5));
    nc_json_append(list, nc_json_new_string(a, NC_STR("x\ny\xff")));
    nc_json_set(a, o, "a", nc_json_new_bool(a, true));
    nc_json_set(a, o, "list", list);
    nc_json_set(a, o, "empty", nc_json_new(a, NC_JSON_OBJECT));
    nc_json_set(a, o, "a", nc_json_new(a, NC_JSON_NULL));
    nc_buf b = { 0 };
    nc_json_write(&b, o, 0);
    assert_string_equal(b.p, "{\"a\": null, \"list\": [-5, 0.5, \"x\\ny\xef\xbf\xbd\"], \"empty\": {}}");
    nc_buf_clear(&b);
    nc_json_write(&b, o, 2);
    assert_string_equal(b.p, "{\n  \"a\": null,\n  \"list\": [\n    -5,\n    0.5,\n    \"x\\ny\xef\xbf\xbd\"\n  ],\n  \"empty\": {}\n}");
    assert_int_equal(o->count, 3);
    nc_buf_free(&b);

    nc_json *copy = nc_json_clone(a, o);
    assert_true(nc_json_equal(copy, o));
    nc_json_set(a, copy, "list", nc_json_new_int(a, 1));
    assert_false(nc_json_equal(copy, o));
    assert_true(nc_json_equal(parse(a, "{\"a\": 1, \"b\": 2.0}"), parse(a, "{\"b\": 2, \"a\": 1e0}")));
    assert_false(nc_json_equal(parse(a, "[9223372036854775807]"), parse(a, "[9223372036854775806]")));
    assert_false(nc_json_equal(parse(a, "{\"a\": 1}"), parse(a, "{\"b\": 1}")));
    nc_arena_free(a);
}

/* Many keys and duplicates: the table of keys, not the list, must find them. */
static void test_many_keys(void **state)
{
    (void)state;
    nc_arena *a = nc_arena_new();
    nc_buf b = { 0 };
    nc_buf_addc(&b, '{');
    for (int i = 0; i < 30000; i++)
        nc_buf_printf(&b, "%s\"k%d\": %d", i ? "," : "", i % 20000, i);
    nc_buf_addc(&b, '}');
    const nc_json *v = parse(a, b.p);
    assert_int_equal(v->count, 20000);
    int i = 0;
    NC_JSON_EACH(item, v) {
        assert_int_equal(nc_json_int(item, -1), i < 10000 ? i + 20000 : i);
        i++;
    }
    assert_int_equal(i, 20000);
    nc_buf_free(&b);
    nc_arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases), cmocka_unit_test(test_values), cmocka_unit_test(test_places), cmocka_unit_test(test_doubles),
        cmocka_unit_test(test_depth), cmocka_unit_test(test_writing), cmocka_unit_test(test_many_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

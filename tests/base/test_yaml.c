/* test_yaml.c - yaml_cases.txt, places of values, limits of nesting and of aliases that multiply. */
#include "base/cases.h"

static void test_cases(void **state)
{
    (void)state;
    assert_true(run_cases(nc_yaml_parse, "tests/base/yaml_cases.txt") >= 20);
}

static void test_places(void **state)
{
    (void)state;
    nc_arena *a = nc_arena_new();
    nc_json *v;
    assert_int_equal(nc_yaml_parse(a, NC_STR("a: 1\nb:\n  c: x\n"), "t", &v, NULL), 0);
    assert_int_equal(nc_json_path(v, "b.c")->line, 3);
    assert_int_equal(nc_json_path(v, "b.c")->column, 6);
    nc_arena_free(a);
}

/* Ten levels of ten aliases each would be 10^10 values. */
static void test_laughs(void **state)
{
    (void)state;
    nc_arena *a = nc_arena_new();
    nc_error e = { 0 };
    nc_json *v;
    nc_buf b = { 0 };
    nc_buf_adds(&b, "a0: &a0 [1]\n");
    for (int i = 1; i <= 10; i++) {
        nc_buf_printf(&b, "a%d: &a%d [", i, i);
        for (int j = 0; j < 10; j++)
            nc_buf_printf(&b, "*a%d, ", i - 1);
        nc_buf_adds(&b, "]\n");
    }
    assert_int_equal(nc_yaml_parse(a, (nc_str){ b.p, b.n }, "laughs", &v, &e), NC_ELIMIT);
    nc_buf_clear(&b);
    nc_buf_adds(&b, "a0: &a0 [1]\n");
    for (int i = 1; i <= 300; i++)
        nc_buf_printf(&b, "a%d: &a%d [*a%d]\n", i, i, i - 1);
    assert_int_equal(nc_yaml_parse(a, (nc_str){ b.p, b.n }, "chain", &v, &e), NC_ELIMIT);
    nc_buf_clear(&b);
    for (int i = 0; i < 300; i++)
        nc_buf_addc(&b, '[');
    assert_true(nc_yaml_parse(a, (nc_str){ b.p, b.n }, "deep", &v, &e) < 0);
    nc_buf_free(&b);
    nc_arena_free(a);
}

static void test_load(void **state)
{
    (void)state;
    nc_arena *a = nc_arena_new();
    nc_error e = { 0 };
    nc_json *v;
    assert_int_equal(nc_yaml_load(a, "tests/base/absent.yaml", &v, &e), NC_ENOTFOUND);
    assert_non_null(strstr(e.message, "tests/base/absent.yaml"));
    assert_int_equal(nc_json_load(a, "tests/base", &v, &e), NC_EIO);
    nc_arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases), cmocka_unit_test(test_places), cmocka_unit_test(test_laughs), cmocka_unit_test(test_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

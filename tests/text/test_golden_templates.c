/* test_golden_templates.c - every case of golden/templates: rendered text, errors and assistant spans. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "text/golden_text.h"

static long all_ok, all_failed;

static void report(void *context, const char *name, long ok, long failed, const char *detail)
{
    (void)context;
    all_ok += ok;
    all_failed += failed;
    if (failed)
        printf("not ok %s: %ld of %ld failed, first: %s\n", name, failed, ok + failed, detail);
}

static void test_all(void **state)
{
    (void)state;
    nc_error e = { 0 };
    assert_int_equal(nc_golden_templates("tests/golden/templates", report, NULL, &e), 0);
    assert_true(all_ok > 1700);
    assert_int_equal(all_failed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_all) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

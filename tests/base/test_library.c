/* test_library.c - functions of a library that is opened when it is needed; what is missing is said in one line, and may be tried again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/library.h"

#define CALLS(F) F(cos) F(ldexp)

static const char *const names[] = { CALLS(NC_LIBRARY_NAME) }, *const wrong[] = { "cos", "cosine_of_the_moon" };
static const char *const files[] = { "libm.so.6", NULL }, *const none[] = { "libm.so.6", "libnunchi-is-not-here.so.9", NULL };

static void calls_what_it_found(void **state)
{
    static struct { CALLS(NC_LIBRARY_CALL) } m;
    nc_late_library l = { files, "libc6", names, NC_COUNT(names), &m, PTHREAD_MUTEX_INITIALIZER, false };
    nc_error e = { 0 };
    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(nc_library_open(&l, &e), 0);
        assert_true(m.cos(0) == 1 && m.ldexp(3, 2) == 12);
    }
}

static void says_what_is_missing(void **state)
{
    static struct { CALLS(NC_LIBRARY_CALL) } m;
    nc_late_library l = { none, "libnunchi-none", names, NC_COUNT(names), &m, PTHREAD_MUTEX_INITIALIZER, false };
    nc_error e = { 0 };
    (void)state;
    assert_int_equal(nc_library_open(&l, &e), NC_EUNSUPPORTED);
    assert_non_null(strstr(e.message, "libnunchi-is-not-here.so.9"));
    assert_non_null(strstr(e.message, "install Debian's package libnunchi-none"));
    l.files = files;
    l.names = wrong;
    assert_int_equal(nc_library_open(&l, &e), NC_EUNSUPPORTED);
    assert_non_null(strstr(e.message, "libm.so.6 has no function cosine_of_the_moon"));
    l.names = names;
    assert_int_equal(nc_library_open(&l, &e), 0);
    assert_true(m.cos(0) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(calls_what_it_found), cmocka_unit_test(says_what_is_missing) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_shape.c - shapes: counts, text, broadcasting, checked sizes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "tensor/tensor.h"

static void counts(void **state)
{
    (void)state;
    nc_shape s = NC_SHAPE(2, 3, 4), scalar = { 0 }, empty = NC_SHAPE(0, 5);
    char text[96];
    assert_int_equal(nc_shape_count(&s), 24);
    assert_int_equal(nc_shape_rows(&s), 6);
    assert_int_equal(nc_shape_count(&scalar), 1);
    assert_int_equal(nc_shape_rows(&empty), 0);
    assert_string_equal(nc_shape_str(&s, text), "[2, 3, 4]");
    assert_string_equal(nc_shape_str(&scalar, text), "[]");
    nc_shape big = NC_SHAPE(INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX);
    assert_true(strlen(nc_shape_str(&big, text)) < 96);
}

static void broadcasting(void **state)
{
    (void)state;
    nc_shape a = NC_SHAPE(4, 1, 3), b = NC_SHAPE(5, 1), c = NC_SHAPE(2, 3), out, scalar = { 0 };
    assert_true(nc_shape_broadcast(&a, &b, &out));
    nc_shape expected = NC_SHAPE(4, 5, 3), unfit = NC_SHAPE(2, 4);
    assert_true(nc_shape_equal(&out, &expected));
    assert_true(nc_shape_broadcast(&scalar, &a, &out) && nc_shape_equal(&out, &a));
    assert_false(nc_shape_broadcast(&unfit, &c, &out));
}

static int bytes_of(nc_shape s, nc_dtype t, size_t *bytes) { return nc_shape_bytes(&s, t, bytes); }

static void sizes(void **state)
{
    (void)state;
    size_t bytes;
    assert_int_equal(bytes_of(NC_SHAPE(3, 64), NC_Q4_0, &bytes), 0);
    assert_int_equal(bytes, 3 * 2 * 18);
    assert_int_equal(bytes_of(NC_SHAPE(3, 33), NC_Q8_0, &bytes), NC_ESHAPE);
    assert_int_equal(bytes_of(NC_SHAPE(-1, 33), NC_F32, &bytes), NC_ESHAPE);
    assert_int_equal(bytes_of(NC_SHAPE(INT64_C(1) << 40, INT64_C(1) << 40), NC_F32, &bytes), NC_ELIMIT);
    assert_int_equal(bytes_of(NC_SHAPE(INT64_C(1) << 61), NC_F64, &bytes), NC_ELIMIT);
    assert_int_equal(bytes_of((nc_shape){ 0 }, NC_BF16, &bytes), 0);
    assert_int_equal(bytes, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(counts), cmocka_unit_test(broadcasting), cmocka_unit_test(sizes) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_annotate.c - boxes drawn on pictures: lines where they belong, nothing elsewhere, boxes beyond the edge cut off, grey pictures made RGB. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "media/annotate.h"

static void boxes_and_nothing_else(void **state)
{
    nc_image im;
    nc_error e = { 0 };
    const nc_mark marks[] = { { 20, 30, 60, 70, NULL, 2 }, { -50, -50, 1000, 1000, NULL, 1 } };
    (void)state;
    assert_int_equal(nc_image_new(100, 90, 1, &im, &e), 0);
    memset(im.pixels, 128, nc_image_bytes(&im));
    assert_int_equal(nc_image_mark(&im, marks, 2, &e), 0);
    assert_int_equal(im.channels, 3);
    for (int y = 0; y < 90; y++)
        for (int x = 0; x < 100; x++) {
            const uint8_t *p = im.pixels + (y * 100 + x) * 3;
            bool drawn = p[0] != 128 || p[1] != 128 || p[2] != 128, inside = x > 22 && x < 58 && y > 32 && y < 68, outside = x < 18 || x > 62 || y < 28 || y > 72;
            if (inside || outside)
                assert_false(drawn);
        }
    const uint8_t *p = im.pixels + (50 * 100 + 20) * 3, *q = im.pixels + (50 * 100 + 19) * 3;
    assert_true(p[2] > 128 || q[2] > 128);       /* blue */
    nc_image_free(&im);
}

static void captions_are_drawn(void **state)
{
    nc_image im;
    nc_error e = { 0 };
    const nc_mark mark = { 10, 40, 150, 100, "고양이 0.98", 0 };
    int changed = 0;
    (void)state;
    assert_int_equal(nc_image_new(200, 120, 3, &im, &e), 0);
    assert_int_equal(nc_image_mark(&im, &mark, 1, &e), 0);
    for (int i = 0; i < 200 * 38; i++)           /* above the box */
        changed += im.pixels[3 * i] || im.pixels[3 * i + 1] || im.pixels[3 * i + 2];
    assert_true(changed > 100);
    nc_image_free(&im);
    assert_true(nc_mark_color(0) == nc_mark_color(12) && nc_mark_color(0) != nc_mark_color(1));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(boxes_and_nothing_else), cmocka_unit_test(captions_are_drawn) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

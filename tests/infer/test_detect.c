/* test_detect.c - a detector over pictures of many shapes: the same answers again after other shapes have come and gone, best first, by threshold; wrong folders refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "infer/detect.h"

static nc_image picture(int width, int height, uint64_t seed)
{
    nc_image im;
    nc_error e = { 0 };
    nc_rng r = nc_rng_new(seed, 1);
    assert_int_equal(nc_image_new(width, height, 3, &im, &e), 0);
    for (size_t i = 0; i < nc_image_bytes(&im); i++)
        im.pixels[i] = (uint8_t)nc_rng_below(&r, 256);
    return im;
}

static void many_shapes(void **state)
{
    nc_detector *d;
    nc_error e = { 0 };
    nc_arena *a = nc_arena_new();
    nc_detection *first, *again;
    int count, count_again, others;
    (void)state;
    assert_int_equal(nc_detector_open("tests/golden/models/detr", NULL, 2, &d, &e), 0);
    nc_image im = picture(61, 47, 1);
    assert_int_equal(nc_detect(d, a, &im, 0.1, &first, &count, &e), 0);
    assert_true(count > 0 && count <= nc_detr_queries(nc_detector_model(d)));
    for (int i = 0; i < count; i++) {
        assert_true(first[i].score > 0.1 && first[i].score <= 1 && (!i || first[i].score <= first[i - 1].score));
        assert_true(first[i].box[0] < first[i].box[2] && first[i].box[1] < first[i].box[3]);
        assert_non_null(strstr(nc_detector_label(d, first[i].label), "LABEL_"));
    }
    for (int i = 0; i < 11; i++) {               /* more shapes than plans are kept */
        nc_image other = picture(40 + 3 * i, 40 + 7 * (i % 3), 2);
        nc_detection *found;
        assert_int_equal(nc_detect(d, a, &other, 0, &found, &others, &e), 0);
        assert_int_equal(others, nc_detr_queries(nc_detector_model(d)));
        nc_image_free(&other);
    }
    assert_int_equal(nc_detect(d, a, &im, 0.1, &again, &count_again, &e), 0);
    assert_int_equal(count, count_again);
    assert_memory_equal(first, again, sizeof *first * (size_t)count);
    assert_int_equal(nc_detect(d, a, &im, 1, &again, &count_again, &e), 0);
    assert_int_equal(count_again, 0);
    nc_image_free(&im);
    nc_detector_close(d);
    nc_arena_free(a);
}

static void refused(void **state)
{
    nc_detector *d;
    nc_error e = { 0 };
    (void)state;
    assert_int_equal(nc_detector_open("tests/golden/models/regnet", NULL, 1, &d, &e), NC_EUNSUPPORTED);
    assert_non_null(strstr(e.message, "finds no objects"));
    assert_int_equal(nc_detector_open("tests/golden/models/detr", "f16", 1, &d, &e), NC_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(many_shapes), cmocka_unit_test(refused) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_contact_sheet.c - size follows the layout, frames and Hangul leave their marks, limits hold. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "media/contact_sheet.h"
#include <string.h>

/* fontconfig keeps its tables until the process ends, which LeakSanitizer would count. */
const char *__lsan_default_suppressions(void);
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void) { return "leak:libfontconfig\nleak:libpango\n"; }

static void sheet(void **state)
{
    (void)state;
    nc_image frames[3], out, bare;
    nc_error e;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(nc_image_new(40, 20, 3, &frames[i], NULL), 0);
        memset(frames[i].pixels, 50 * i, nc_image_bytes(&frames[i]));
    }
    nc_sheet_row row = { frames, 3, "비가 내리는 저녁 바다에서 배 한 척이 지나간다.", NULL };
    assert_int_equal(nc_contact_sheet(&row, 1, &(nc_sheet_options){ .cell = 80 }, &out, &e), 0);
    assert_int_equal(out.width, 2 * 16 + 3 * 80 + 2 * 6);
    assert_int_equal(out.pixels[((16 + 40) * out.width + 16 + 40) * 3], 0);
    assert_int_equal(out.pixels[((16 + 40) * out.width + 16 + 86 + 40) * 3], 50);
    row.caption = NULL;
    assert_int_equal(nc_contact_sheet(&row, 1, &(nc_sheet_options){ .cell = 80 }, &bare, &e), 0);
    assert_true(out.height > bare.height + 10);
    int dark = 0;                                    /* the caption's ink */
    for (int y = 16 + 80; y < out.height; y++)
        for (int x = 0; x < out.width; x++)
            dark += out.pixels[(y * out.width + x) * 3] < 100;
    assert_true(dark > 100);
    nc_image_free(&out);
    row.count = 5000;
    assert_int_equal(nc_contact_sheet(&row, 1, NULL, &out, &e), NC_ELIMIT);
    nc_image_free(&bare);
    for (int i = 0; i < 3; i++)
        nc_image_free(&frames[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(sheet) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

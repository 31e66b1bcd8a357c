/* test_pdf.c - pages of a PDF that cairo wrote, as pictures; pages that are not there, files that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <cairo-pdf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/library.h"
#include "media/pdf.h"

#define CALLS(F)                                                                                                                                        \
    F(cairo_create) F(cairo_destroy) F(cairo_fill) F(cairo_paint) F(cairo_pdf_surface_create) F(cairo_rectangle) F(cairo_set_source_rgb)                \
    F(cairo_show_page) F(cairo_surface_destroy)
static struct { CALLS(NC_LIBRARY_CALL) } cairo;
static const char *const files[] = { "libcairo.so.2", NULL }, *const names[] = { CALLS(NC_LIBRARY_NAME) };
static nc_late_library library = { files, "libcairo2", names, NC_COUNT(names), &cairo, PTHREAD_MUTEX_INITIALIZER, false };

static char path[] = "/tmp/nunchi-pdf-XXXXXX";

/* Two pages of 2 x 1 inches; the left half of the first is black, the second is red. */
static void write_pdf(void)
{
    assert_int_equal(nc_library_open(&library, NULL), 0);
    cairo_surface_t *s = cairo.cairo_pdf_surface_create(path, 144, 72);
    cairo_t *c = cairo.cairo_create(s);
    cairo.cairo_rectangle(c, 0, 0, 72, 72);
    cairo.cairo_fill(c);
    cairo.cairo_show_page(c);
    cairo.cairo_set_source_rgb(c, 1, 0, 0);
    cairo.cairo_paint(c);
    cairo.cairo_show_page(c);
    cairo.cairo_destroy(c);
    cairo.cairo_surface_destroy(s);
}

static void pages_become_pictures(void **state)
{
    nc_pdf *p = NULL;
    nc_image im;
    nc_error e = { 0 };
    (void)state;
    write_pdf();
    if (nc_pdf_open(path, &p, &e) == NC_EUNSUPPORTED) {
        print_message("skipped: %s\n", e.message);
        return;
    }
    assert_non_null(p);
    assert_int_equal(nc_pdf_pages(p), 2);
    assert_int_equal(nc_pdf_page(p, 0, 100, &im, &e), 0);
    assert_int_equal(im.width, 200);
    assert_int_equal(im.height, 100);
    assert_int_equal(im.channels, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(im.pixels[3 * (50 * 200 + 40) + i], 0);
        assert_int_equal(im.pixels[3 * (50 * 200 + 160) + i], 255);
    }
    nc_image_free(&im);
    assert_int_equal(nc_pdf_page(p, 1, 50, &im, &e), 0);
    assert_int_equal(im.pixels[0], 255);
    assert_int_equal(im.pixels[1], 0);
    nc_image_free(&im);
    assert_int_equal(nc_pdf_page(p, 2, 100, &im, &e), NC_EINVAL);
    assert_int_equal(nc_pdf_page(p, 0, 5000, &im, &e), NC_EINVAL);
    nc_pdf_close(p);
}

static void what_is_no_pdf_is_refused(void **state)
{
    nc_pdf *p = NULL;
    nc_error e = { 0 };
    FILE *f = fopen(path, "w");
    (void)state;
    fputs("%PDF-1.7 and nothing that follows", f);
    fclose(f);
    assert_true(nc_pdf_match("%PDF-1.7", 8));
    assert_false(nc_pdf_match("%PD", 3));
    assert_true(nc_pdf_open(path, &p, &e) < 0);
    assert_non_null(strstr(e.message, path));
    assert_true(nc_pdf_open("/tmp/there is no such file.pdf", &p, &e) < 0);
}

static int teardown(void **state) { (void)state; return unlink(path); }
static int setup(void **state) { (void)state; int fd = mkstemp(path); close(fd); return fd < 0; }

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(pages_become_pictures), cmocka_unit_test(what_is_no_pdf_is_refused) };
    return cmocka_run_group_tests(tests, setup, teardown);
}

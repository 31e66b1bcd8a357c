/* pdf.c - see pdf.h. */
#include "media/pdf.h"

#include <string.h>

bool nc_pdf_match(const void *bytes, size_t n) { return n >= 5 && !memcmp(bytes, "%PDF-", 5); }

#ifdef NUNCHI_POPPLER
#include <math.h>
#include <poppler.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/file.h"
#include "media/drawing.h"

#define CALLS(F)                                                                                                                                        \
    F(poppler_document_get_n_pages) F(poppler_document_get_page) F(poppler_document_new_from_bytes) F(poppler_page_get_size) F(poppler_page_render)     \
    F(g_bytes_new_static) F(g_bytes_unref) F(g_clear_error) F(g_object_unref)

static struct { CALLS(NC_LIBRARY_CALL) } poppler;
static const char *const files[] = { "libpoppler-glib.so.8", "libgobject-2.0.so.0", "libglib-2.0.so.0", NULL };
static const char *const names[] = { CALLS(NC_LIBRARY_NAME) };
static nc_late_library library = { files, "libpoppler-glib8", names, NC_COUNT(names), &poppler, PTHREAD_MUTEX_INITIALIZER, false };

enum { MOST_BYTES = 256 << 20, MOST_DOTS = 128 << 20 };

struct nc_pdf { nc_buf file; GBytes *bytes; PopplerDocument *document; char *path; };

int nc_pdf_open(const char *path, nc_pdf **out, nc_error *e)
{
    NC_TRY(nc_library_open(&library, e));
    NC_TRY(nc_drawing_open(e));
    nc_pdf *p = nc_xcalloc(1, sizeof *p);
    GError *why = NULL;
    int status = nc_file_read(path, MOST_BYTES, &p->file, e);
    if (status == 0) {
        p->path = nc_xstrdup(path);
        p->bytes = poppler.g_bytes_new_static(p->file.p, p->file.n);
        p->document = poppler.poppler_document_new_from_bytes(p->bytes, NULL, &why);
        if (!p->document)
            status = nc_fail(e, NC_EFORMAT, "%s: no PDF that can be read: %.200s", path, why ? why->message : "no reason is known");
    }
    poppler.g_clear_error(&why);
    if (status < 0) {
        nc_pdf_close(p);
        return status;
    }
    *out = p;
    return 0;
}

void nc_pdf_close(nc_pdf *p)
{
    if (!p)
        return;
    if (p->document)
        poppler.g_object_unref(p->document);
    if (p->bytes)
        poppler.g_bytes_unref(p->bytes);
    free(p->path);
    nc_buf_free(&p->file);
    free(p);
}

int nc_pdf_pages(const nc_pdf *p) { return poppler.poppler_document_get_n_pages(p->document); }

/* The page painted on white; cairo holds a dot as 0xXXRRGGBB in the machine's order. */
static int paint(const nc_pdf *p, PopplerPage *page, double scale, nc_image *out, nc_error *e)
{
    cairo_surface_t *surface = nc_drawing.cairo_image_surface_create(CAIRO_FORMAT_RGB24, out->width, out->height);
    cairo_t *c = nc_drawing.cairo_create(surface);
    int status = 0;
    nc_drawing.cairo_set_source_rgb(c, 1, 1, 1);
    nc_drawing.cairo_paint(c);
    nc_drawing.cairo_scale(c, scale, scale);
    poppler.poppler_page_render(page, c);
    nc_drawing.cairo_surface_flush(surface);
    if (nc_drawing.cairo_status(c) != CAIRO_STATUS_SUCCESS || !nc_drawing.cairo_image_surface_get_data(surface))
        status = nc_fail(e, NC_ENOMEM, "%s: a page of %d x %d dots cannot be painted: %s", p->path, out->width, out->height, nc_drawing.cairo_status_to_string(nc_drawing.cairo_status(c)));
    for (int y = 0; status == 0 && y < out->height; y++) {
        const unsigned char *row = nc_drawing.cairo_image_surface_get_data(surface) + (size_t)y * (size_t)nc_drawing.cairo_image_surface_get_stride(surface);
        for (int x = 0; x < out->width; x++) {
            uint32_t dot;
            memcpy(&dot, row + 4 * (size_t)x, sizeof dot);
            uint8_t *to = out->pixels + 3 * ((size_t)y * (size_t)out->width + (size_t)x);
            to[0] = (uint8_t)(dot >> 16);
            to[1] = (uint8_t)(dot >> 8);
            to[2] = (uint8_t)dot;
        }
    }
    nc_drawing.cairo_destroy(c);
    nc_drawing.cairo_surface_destroy(surface);
    return status;
}

int nc_pdf_page(const nc_pdf *p, int index, double dpi, nc_image *out, nc_error *e)
{
    double width = 0, height = 0;
    *out = (nc_image){ 0 };
    if (index < 0 || index >= nc_pdf_pages(p))
        return nc_fail(e, NC_EINVAL, "%s: page %d; it has %d", p->path, index + 1, nc_pdf_pages(p));
    if (!(dpi >= 18 && dpi <= 1200))
        return nc_fail(e, NC_EINVAL, "%g dots per inch; they must lie between 18 and 1200", dpi);
    PopplerPage *page = poppler.poppler_document_get_page(p->document, index);
    if (!page)
        return nc_fail(e, NC_EFORMAT, "%s: page %d cannot be read", p->path, index + 1);
    poppler.poppler_page_get_size(page, &width, &height);
    width = ceil(width * dpi / 72);
    height = ceil(height * dpi / 72);
    int status = width >= 1 && height >= 1 && width * height <= MOST_DOTS ? 0
                     : nc_fail(e, NC_ELIMIT, "%s: page %d would be %.0f x %.0f dots; use fewer dots per inch", p->path, index + 1, width, height);
    if (status == 0)
        status = nc_image_new((int)width, (int)height, 3, out, e);
    if (status == 0)
        status = paint(p, page, dpi / 72, out, e);
    poppler.g_object_unref(page);
    if (status < 0)
        nc_image_free(out);
    return status;
}
#else
int nc_pdf_open(const char *path, nc_pdf **out, nc_error *e)
{
    (void)out;
    return nc_fail(e, NC_EUNSUPPORTED, "%s: this build reads no PDF; install libpoppler-glib-dev and build again, or give the pages as pictures", path);
}

void nc_pdf_close(nc_pdf *p) { (void)p; }
int nc_pdf_pages(const nc_pdf *p) { return p ? 1 : 0; }

int nc_pdf_page(const nc_pdf *p, int page, double dpi, nc_image *out, nc_error *e)
{
    (void)p, (void)dpi;
    *out = (nc_image){ 0 };
    return nc_fail(e, NC_EUNSUPPORTED, "page %d: this build reads no PDF", page + 1);
}
#endif

/* annotate.c - see annotate.h. */
#include "media/annotate.h"
#include "media/drawing.h"
#include <math.h>
#include <string.h>

uint32_t nc_mark_color(int n)
{
    static const uint32_t colors[] = { 0xe6194b, 0x3cb44b, 0x4363d8, 0xf58231, 0x911eb4, 0x008080, 0xf032e6, 0x9a6324, 0x808000, 0x000075, 0xb8860b, 0x2f4f4f };
    return colors[n >= 0 ? n % NC_COUNT(colors) : 0];
}

static void source(cairo_t *cr, uint32_t rgb, double alpha) { nc_drawing.cairo_set_source_rgba(cr, (double)(rgb >> 16) / 255, (double)(rgb >> 8 & 255) / 255, (double)(rgb & 255) / 255, alpha); }

/* The caption stands on the box's upper edge, or below it where there is no room. */
static void caption(cairo_t *cr, const nc_mark *m, int width, double size)
{
    PangoLayout *layout = nc_drawing.pango_cairo_create_layout(cr);
    PangoFontDescription *font = nc_drawing.pango_font_description_from_string("NanumGothic, Sans Bold");
    int w, h;
    nc_drawing.pango_font_description_set_absolute_size(font, size * PANGO_SCALE);
    nc_drawing.pango_layout_set_font_description(layout, font);
    nc_drawing.pango_layout_set_text(layout, m->caption, -1);
    nc_drawing.pango_layout_get_pixel_size(layout, &w, &h);
    double x = fmax(0, fmin(m->left, (double)width - w - 6)), y = m->top >= h + 2 ? m->top - h - 2 : fmax(0, m->top);
    source(cr, nc_mark_color(m->color), 0.85);
    nc_drawing.cairo_rectangle(cr, x, y, w + 6, h + 2);
    nc_drawing.cairo_fill(cr);
    source(cr, 0xffffff, 1);
    nc_drawing.cairo_move_to(cr, x + 3, y + 1);
    nc_drawing.pango_cairo_show_layout(cr, layout);
    nc_drawing.pango_font_description_free(font);
    nc_drawing.g_object_unref(layout);
}

static void draw(cairo_t *cr, const nc_mark *marks, int count, int width, int height)
{
    const double side = width < height ? width : height, line = fmax(1, side / 200);
    for (int i = count - 1; i >= 0; i--) {                   /* the first lies on top */
        const nc_mark *m = &marks[i];
        source(cr, nc_mark_color(m->color), 1);
        nc_drawing.cairo_set_line_width(cr, line);
        nc_drawing.cairo_rectangle(cr, m->left, m->top, m->right - m->left, m->bottom - m->top);
        nc_drawing.cairo_stroke(cr);
        if (m->caption && *m->caption)
            caption(cr, m, width, fmax(10, side / 32));
    }
}

static void copy_words(nc_image *im, uint8_t *base, size_t stride, bool back)
{
    for (int y = 0; y < im->height; y++)
        for (int x = 0; x < im->width; x++) {
            uint8_t *p = im->pixels + ((size_t)y * (size_t)im->width + (size_t)x) * 3;
            uint32_t word = 0xff000000u | (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
            uint8_t *at = base + (size_t)y * stride + (size_t)x * 4;
            if (!back)
                memcpy(at, &word, 4);
            else {
                memcpy(&word, at, 4);
                p[0] = (uint8_t)(word >> 16), p[1] = (uint8_t)(word >> 8), p[2] = (uint8_t)word;
            }
        }
}

int nc_image_mark(nc_image *im, const nc_mark *marks, int count, nc_error *e)
{
    if (im->width > 32767 || im->height > 32767)
        return nc_fail(e, NC_ELIMIT, "a picture of %d x %d is too large to draw on", im->width, im->height);
    NC_TRY(nc_drawing_open(e));
    NC_TRY(nc_image_rgb(im, e));
    cairo_surface_t *s = nc_drawing.cairo_image_surface_create(CAIRO_FORMAT_RGB24, im->width, im->height);
    if (nc_drawing.cairo_surface_status(s) != CAIRO_STATUS_SUCCESS) {
        nc_drawing.cairo_surface_destroy(s);
        return nc_fail(e, NC_ENOMEM, "no surface of %d x %d", im->width, im->height);
    }
    copy_words(im, nc_drawing.cairo_image_surface_get_data(s), (size_t)nc_drawing.cairo_image_surface_get_stride(s), false);
    nc_drawing.cairo_surface_mark_dirty(s);
    cairo_t *cr = nc_drawing.cairo_create(s);
    draw(cr, marks, count, im->width, im->height);
    nc_drawing.cairo_destroy(cr);
    nc_drawing.cairo_surface_flush(s);
    copy_words(im, nc_drawing.cairo_image_surface_get_data(s), (size_t)nc_drawing.cairo_image_surface_get_stride(s), true);
    nc_drawing.cairo_surface_destroy(s);
    return 0;
}

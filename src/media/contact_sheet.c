/* contact_sheet.c - the layout is computed once to learn the height, then drawn by the same code on a surface of that height. */
#include "media/contact_sheet.h"
#include "media/drawing.h"
#include "media/resize.h"
#include <string.h>

enum { margin = 16, gap = 6, most_width = 8192, most_height = 32767, most_cells = 4096 };

struct pen { cairo_t *cr; bool draw; int width; double y; };

static void text(struct pen *p, const char *s, const char *font, double r, double g, double b)
{
    if (!s || !*s)
        return;
    PangoLayout *layout = nc_drawing.pango_cairo_create_layout(p->cr);
    PangoFontDescription *d = nc_drawing.pango_font_description_from_string(font);
    int height;

    nc_drawing.pango_layout_set_font_description(layout, d);
    nc_drawing.pango_layout_set_width(layout, (p->width - 2 * margin) * PANGO_SCALE);
    nc_drawing.pango_layout_set_wrap(layout, PANGO_WRAP_WORD_CHAR);
    nc_drawing.pango_layout_set_text(layout, s, -1);
    nc_drawing.pango_layout_get_pixel_size(layout, NULL, &height);
    if (p->draw) {
        nc_drawing.cairo_set_source_rgb(p->cr, r, g, b);
        nc_drawing.cairo_move_to(p->cr, margin, p->y);
        nc_drawing.pango_cairo_show_layout(p->cr, layout);
    }
    p->y += height + gap;
    nc_drawing.pango_font_description_free(d);
    nc_drawing.g_object_unref(layout);
}

/* Puts im into the square cell at (x, y), aspect kept, on a surface of 32-bit words 0x00rrggbb. */
static int cell(struct pen *p, const nc_image *im, int x, int y, int side, nc_error *e)
{
    const int longest = im->width > im->height ? im->width : im->height;
    int w = (int)((int64_t)im->width * side / longest), h = (int)((int64_t)im->height * side / longest);
    nc_image rgb, small;

    w = w < 1 ? 1 : w;
    h = h < 1 ? 1 : h;
    NC_TRY(nc_image_copy(im, &rgb, e));
    int code = nc_image_rgb(&rgb, e);
    if (code == 0)
        code = nc_resize(&rgb, w, h, NC_BICUBIC, NULL, NC_RESIZE_PILLOW, &small, e);
    nc_image_free(&rgb);
    if (code < 0)
        return code;
    cairo_surface_t *s = nc_drawing.cairo_get_target(p->cr);
    nc_drawing.cairo_surface_flush(s);
    uint8_t *base = nc_drawing.cairo_image_surface_get_data(s);
    const size_t stride = (size_t)nc_drawing.cairo_image_surface_get_stride(s);
    for (int j = 0; j < h; j++)
        for (int i = 0; i < w; i++) {
            const uint8_t *q = small.pixels + ((size_t)j * (size_t)w + (size_t)i) * 3;
            uint32_t word = 0xff000000u | (uint32_t)q[0] << 16 | (uint32_t)q[1] << 8 | q[2];
            memcpy(base + (size_t)(y + (side - h) / 2 + j) * stride + (size_t)(x + (side - w) / 2 + i) * 4, &word, 4);
        }
    nc_drawing.cairo_surface_mark_dirty(s);
    nc_image_free(&small);
    return 0;
}

static int lay_out(struct pen *p, const nc_sheet_row *rows, int count, const char *title, int side, int columns, nc_error *e)
{
    p->y = margin;
    text(p, title, "NanumSquare, NanumGothic, Sans Bold 15", 0.1, 0.12, 0.16);
    for (int r = 0; r < count; r++) {
        for (int i = 0; i < rows[r].count; i++) {
            if (i && i % columns == 0)
                p->y += side + gap;
            if (p->draw)
                NC_TRY(cell(p, &rows[r].frames[i], margin + i % columns * (side + gap), (int)p->y, side, e));
        }
        if (rows[r].count)
            p->y += side + gap;
        text(p, rows[r].caption, "NanumGothic, Sans 12", 0.1, 0.12, 0.16);
        text(p, rows[r].note, "NanumGothic, Sans 10", 0.42, 0.45, 0.5);
        p->y += gap;
        if (p->y > most_height)
            return nc_fail(e, NC_ELIMIT, "contact sheet: taller than %d pixels; show fewer clips", most_height);
    }
    return 0;
}

static cairo_t *canvas(int width, int height)
{
    cairo_surface_t *s = nc_drawing.cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height);
    cairo_t *cr = nc_drawing.cairo_create(s);
    nc_drawing.cairo_surface_destroy(s);
    nc_drawing.cairo_set_source_rgb(cr, 0.975, 0.975, 0.965);
    nc_drawing.cairo_paint(cr);
    return cr;
}

static int to_image(cairo_t *cr, nc_image *out, nc_error *e)
{
    cairo_surface_t *s = nc_drawing.cairo_get_target(cr);
    nc_drawing.cairo_surface_flush(s);
    const uint8_t *base = nc_drawing.cairo_image_surface_get_data(s);
    const int stride = nc_drawing.cairo_image_surface_get_stride(s);

    NC_TRY(nc_image_new(nc_drawing.cairo_image_surface_get_width(s), nc_drawing.cairo_image_surface_get_height(s), 3, out, e));
    for (int y = 0; y < out->height; y++)
        for (int x = 0; x < out->width; x++) {
            uint32_t word;
            memcpy(&word, base + (ptrdiff_t)y * stride + (ptrdiff_t)x * 4, 4);
            uint8_t *to = out->pixels + ((size_t)y * (size_t)out->width + (size_t)x) * 3;
            to[0] = (uint8_t)(word >> 16);
            to[1] = (uint8_t)(word >> 8);
            to[2] = (uint8_t)word;
        }
    return 0;
}

int nc_contact_sheet(const nc_sheet_row *rows, int count, const nc_sheet_options *options, nc_image *out, nc_error *e)
{
    const char *title = options ? options->title : NULL;
    const int side = options && options->cell > 0 ? options->cell : 160;
    int columns = options ? options->columns : 0;
    int64_t cells = 0, longest = 1;

    *out = (nc_image){ 0 };
    for (int i = 0; i < count; i++) {
        cells += rows[i].count;
        longest = rows[i].count > longest ? rows[i].count : longest;
    }
    if (columns < 1)
        columns = longest < 8 ? (int)longest : 8;
    const int64_t width = 2 * margin + (int64_t)columns * (side + gap) - gap;
    if (count < 1 || cells > most_cells || width > most_width)
        return nc_fail(e, NC_ELIMIT, "contact sheet: %d rows of %lld pictures, %lld pixels wide, cannot be drawn; limits are %d pictures, %d pixels",
                       count, (long long)cells, (long long)width, most_cells, most_width);
    NC_TRY(nc_drawing_open(e));
    struct pen p = { .cr = canvas((int)width, 1), .width = (int)width };
    int code = lay_out(&p, rows, count, title, side, columns, e);
    nc_drawing.cairo_destroy(p.cr);
    if (code < 0)
        return code;
    p.cr = canvas((int)width, (int)p.y + margin);
    p.draw = true;
    code = nc_drawing.cairo_status(p.cr) == CAIRO_STATUS_SUCCESS ? lay_out(&p, rows, count, title, side, columns, e)
                                                      : nc_fail(e, NC_ENOMEM, "contact sheet: no memory for the picture");
    if (code == 0)
        code = to_image(p.cr, out, e);
    nc_drawing.cairo_destroy(p.cr);
    return code;
}

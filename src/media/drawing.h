/* drawing.h - the functions of cairo and pango that are used, opened at first use. */
#ifndef NC_MEDIA_DRAWING_H
#define NC_MEDIA_DRAWING_H
#include <pango/pangocairo.h>
#include "base/library.h"

#define NC_DRAWING_CALLS(F)                                                                                                                             \
    F(cairo_create) F(cairo_destroy) F(cairo_fill) F(cairo_get_target) F(cairo_image_surface_create) F(cairo_image_surface_get_data)                    \
    F(cairo_image_surface_get_height) F(cairo_image_surface_get_stride) F(cairo_image_surface_get_width) F(cairo_move_to) F(cairo_paint)                \
    F(cairo_rectangle) F(cairo_scale) F(cairo_set_line_width) F(cairo_set_source_rgb) F(cairo_set_source_rgba) F(cairo_status)                          \
    F(cairo_status_to_string) F(cairo_stroke) F(cairo_surface_destroy) F(cairo_surface_flush) F(cairo_surface_mark_dirty) F(cairo_surface_status)       \
    F(cairo_version_string) F(g_object_unref) F(pango_cairo_create_layout) F(pango_cairo_show_layout) F(pango_font_description_free)                    \
    F(pango_font_description_from_string) F(pango_font_description_set_absolute_size) F(pango_layout_get_pixel_size)                                    \
    F(pango_layout_set_font_description) F(pango_layout_set_text) F(pango_layout_set_width) F(pango_layout_set_wrap) F(pango_version_string)

struct nc_drawing { NC_DRAWING_CALLS(NC_LIBRARY_CALL) };
extern struct nc_drawing nc_drawing;         /* to be called after nc_drawing_open succeeded */
int nc_drawing_open(nc_error *e);            /* NC_EUNSUPPORTED where they are not installed */
#endif

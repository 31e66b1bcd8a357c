/* annotate.h - boxes with captions drawn on a picture. Text is Pango's, as in contact_sheet.h. */
#ifndef NC_MEDIA_ANNOTATE_H
#define NC_MEDIA_ANNOTATE_H
#include "media/image.h"

typedef struct nc_mark { double left, top, right, bottom; const char *caption; int color; } nc_mark;     /* pixels; colors repeat, equal numbers look equal */
/* Draws on *im in place (it becomes RGB); what lies outside is cut off. */
int nc_image_mark(nc_image *im, const nc_mark *marks, int count, nc_error *e);
/* Color of number n as 0xrrggbb: twelve that are told apart. */
uint32_t nc_mark_color(int n);
#endif

/* contact_sheet.h - pictures in a grid with captions, as one picture: what a person looks at to judge clips.
 *
 * Text is laid out by Pango (Hangul and everything else fontconfig has a font for); the font asked for is Nanum Gothic, fontconfig finds the
 * nearest when it is absent.
 */
#ifndef NC_MEDIA_CONTACT_SHEET_H
#define NC_MEDIA_CONTACT_SHEET_H
#include "media/image.h"

typedef struct nc_sheet_row {
    const nc_image *frames;      /* RGB, grey or RGBA; drawn scaled to the cell, aspect kept */
    int count;
    const char *caption;         /* UTF-8, may be NULL; wrapped below the row */
    const char *note;            /* a second, quieter paragraph; may be NULL */
} nc_sheet_row;

typedef struct nc_sheet_options {
    const char *title;           /* may be NULL */
    int cell;                    /* side of a cell in pixels; 0: 160 */
    int columns;                 /* cells in a line; 0: as many as the longest row, at most 8 */
} nc_sheet_options;

/* *out is a new RGB picture. Limits: 4096 cells, 8192 x 32767 pixels (NC_ELIMIT). */
int nc_contact_sheet(const nc_sheet_row *rows, int count, const nc_sheet_options *options, nc_image *out, nc_error *e);
#endif

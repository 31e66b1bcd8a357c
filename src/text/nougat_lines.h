/* nougat_lines.h - lines and repetitions of a page's text, for nougat.c. Everything counts characters. */
#ifndef NC_TEXT_NOUGAT_LINES_H
#define NC_TEXT_NOUGAT_LINES_H
#include "base/str.h"

typedef struct nc_lines { char *text; nc_str *at; int n; } nc_lines;     /* of a copy of the text, without their line feeds; at least one */
nc_lines nc_lines_of(const nc_buf *t);
void nc_lines_free(nc_lines *l);
void nc_replace_all(nc_buf *t, nc_str from, nc_str to);     /* from empty: nothing */
void nc_strip(nc_buf *t);                                   /* blanks at both ends */
/* Of what repeats at the end one stays, up to the end of its sentence. */
void nc_truncate_repetitions(nc_buf *t);
/* Long runs of lines that resemble their neighbours (references a decoder went on inventing) become [MISSING_PAGE_POST]. */
void nc_remove_repeated_references(nc_buf *t);
/* Items that stand in one line get lines of their own, indented by their number's depth. */
void nc_normalize_lists(nc_buf *t);
#endif

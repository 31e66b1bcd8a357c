/* term.h - the terminal line that log.c and progress.c share; for these two files only. */
#ifndef NC_BASE_TERM_H
#define NC_BASE_TERM_H
#include "base/str.h"

/* Writes whole lines to stderr; a bar that is drawn is wiped first and drawn again after them. */
void nc_term_lines(nc_str lines);
/* Replaces the drawn bar (one line without its newline); n 0 takes it away. */
void nc_term_bar(nc_str bar);
#endif

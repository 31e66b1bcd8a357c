/* progress.h - a progress bar on stderr; plain lines every few seconds when stderr is no terminal (or NO_COLOR/CI say so). Log lines and the bar
 * do not tear each other. One bar at a time. */
#ifndef NC_BASE_PROGRESS_H
#define NC_BASE_PROGRESS_H
#include "base/status.h"
typedef struct nc_progress nc_progress;
nc_progress *nc_progress_new(const char *title, double total);     /* total 0: unknown */
void nc_progress_set(nc_progress *p, double done, const char *note_format, ...) NC_PRINTF(3, 4);  /* cheap: redraws at most 10 times a second */
void nc_progress_done(nc_progress *p, const char *note_format, ...) NC_PRINTF(2, 3);              /* last line stays; frees p */
bool nc_term_is_rich(void);                                        /* stderr is a terminal that takes colour */
#endif

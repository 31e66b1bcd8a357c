/* drawing.c - see drawing.h. */
#include "media/drawing.h"

struct nc_drawing nc_drawing;

static const char *const files[] = { "libpangocairo-1.0.so.0", "libpango-1.0.so.0", "libcairo.so.2", "libgobject-2.0.so.0", NULL };
static const char *const names[] = { NC_DRAWING_CALLS(NC_LIBRARY_NAME) };
static nc_late_library library = { files, "libpangocairo-1.0-0", names, NC_COUNT(names), &nc_drawing, PTHREAD_MUTEX_INITIALIZER, false };

int nc_drawing_open(nc_error *e) { return nc_library_open(&library, e); }

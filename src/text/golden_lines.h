/* golden_lines.h - reading .jsonl files of cases and counting what came out. */
#ifndef NC_TEXT_GOLDEN_LINES_H
#define NC_TEXT_GOLDEN_LINES_H
#include "base/file.h"
#include "base/json.h"
#include "base/map.h"
#include "text/golden_text.h"

typedef struct nc_golden_file {
    nc_arena *arena;            /* reset for every line */
    nc_buf text;
    size_t at;
    int line;
    const char *path;
    long ok, failed, skipped;
    char detail[600];
} nc_golden_file;

int nc_golden_open(nc_golden_file *f, const char *path, nc_error *e);
/* 1 and the next line's tree, 0 at the end, negative for a broken line. */
int nc_golden_next(nc_golden_file *f, nc_json **out, nc_error *e);
/* Counts one comparison; the first failure's text is kept with its line. */
void nc_golden_count(nc_golden_file *f, bool ok, const char *format, ...) NC_PRINTF(3, 4);
void nc_golden_close(nc_golden_file *f, const char *name, nc_golden_fn *report, void *context);
/* Sets precompiled_charsmap of the normalizer v to what the .model file holds. */
int nc_golden_charsmap(nc_arena *a, nc_json *v, const char *model, nc_error *e);
#endif

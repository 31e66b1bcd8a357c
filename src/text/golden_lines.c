/* golden_lines.c - .jsonl files of cases, line by line. */
#include "text/golden_lines.h"

#include <stdio.h>
#include <string.h>

int nc_golden_open(nc_golden_file *f, const char *path, nc_error *e)
{
    *f = (nc_golden_file){ .path = path, .arena = nc_arena_new() };
    int status = nc_file_read(path, (size_t)256 << 20, &f->text, e);
    if (status < 0) {
        nc_arena_free(f->arena);
        nc_buf_free(&f->text);
    }
    return status;
}

int nc_golden_next(nc_golden_file *f, nc_json **out, nc_error *e)
{
    while (f->at < f->text.n) {
        const char *begin = f->text.p + f->at, *end = memchr(begin, '\n', f->text.n - f->at);
        size_t length = end ? (size_t)(end - begin) : f->text.n - f->at;
        f->at += length + 1;
        f->line++;
        if (!length)
            continue;
        nc_arena_reset(f->arena);
        NC_TRY(nc_json_parse(f->arena, (nc_str){ begin, length }, f->path, out, e));
        return 1;
    }
    return 0;
}

void nc_golden_count(nc_golden_file *f, bool ok, const char *format, ...)
{
    f->ok += ok;
    f->failed += !ok;
    if (ok || f->detail[0])
        return;
    int n = snprintf(f->detail, sizeof f->detail, "line %d: ", f->line);
    va_list args;
    va_start(args, format);
    vsnprintf(f->detail + n, sizeof f->detail - (size_t)n, format, args);
    va_end(args);
}

void nc_golden_close(nc_golden_file *f, const char *name, nc_golden_fn *report, void *context)
{
    report(context, name, f->ok, f->failed, f->ok + f->failed == 0 && !f->detail[0] ? "no cases of a kind that is built" : f->detail);
    nc_arena_free(f->arena);
    nc_buf_free(&f->text);
}

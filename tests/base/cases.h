/* cases.h - text cases: blocks of a file, each some lines of text, then one line "= expected" or "! part of the error". */
#ifndef TESTS_BASE_CASES_H
#define TESTS_BASE_CASES_H
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"

typedef int parse_fn(nc_arena *a, nc_str text, const char *file, nc_json **out, nc_error *e);

/* \xHH becomes the byte. */
static void unescape(nc_buf *b)
{
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++) {
        if (i + 3 < b->n && b->p[i] == '\\' && b->p[i + 1] == 'x') {
            char hex[3] = { b->p[i + 2], b->p[i + 3], 0 };
            b->p[n++] = (char)strtol(hex, NULL, 16);
            i += 3;
        } else {
            b->p[n++] = b->p[i];
        }
    }
    b->n = n;
    if (b->p)
        b->p[n] = 0;
}

static void run_case(parse_fn *parse, nc_buf *text, const char *verdict, const char *file, int line)
{
    nc_arena *a = nc_arena_new();
    nc_error e = { 0 };
    nc_json *v = NULL;
    nc_buf got = { 0 };
    if (text->n && text->p[text->n - 1] == '\n')
        text->p[--text->n] = 0;
    unescape(text);
    /* An exact-size copy, so that the sanitizer sees a read past the end. */
    char *exact = nc_xmalloc(text->n);
    if (text->n)
        memcpy(exact, text->p, text->n);
    int code = parse(a, (nc_str){ exact, text->n }, "case", &v, &e);
    if (code == 0)
        nc_json_write(&got, v, 0);
    bool good = *verdict == '=' ? code == 0 && !strcmp(got.p, verdict + 2) : code < 0 && v == NULL && strstr(e.message, verdict + 2) != NULL;
    if (!good)
        fail_msg("%s:%d: wanted \"%s\", got \"%s\"", file, line, verdict, code == 0 ? got.p : e.message);
    free(exact);
    nc_buf_free(&got);
    nc_arena_free(a);
}

static int run_cases(parse_fn *parse, const char *path)
{
    nc_buf all = { 0 }, text = { 0 };
    nc_error e = { 0 };
    if (nc_file_read(path, 1 << 20, &all, &e) < 0)
        fail_msg("%s", e.message);
    int count = 0, number = 0;
    bool comment = true;
    for (char *p = all.p, *next; *p; p = next) {
        next = strchr(p, '\n');
        number++;
        if (!next)
            fail_msg("%s: the last line has no end", path);
        *next++ = 0;
        if (comment && *p == '#')
            continue;
        comment = false;
        if ((*p == '=' || *p == '!') && p[1] == ' ') {
            run_case(parse, &text, p, path, number);
            nc_buf_clear(&text);
            count++;
            if (*next == '\n') {
                next++;
                number++;
            }
            continue;
        }
        nc_buf_adds(&text, p);
        nc_buf_addc(&text, '\n');
    }
    nc_buf_free(&all);
    nc_buf_free(&text);
    return count;
}
#endif

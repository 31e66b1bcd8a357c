/* golden_lines.h - reads the reference's JSON lines and the text sets they name. */
#ifndef GOLDEN_LINES_H
#define GOLDEN_LINES_H
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/json.h"
#include "eval/metrics.h"

#define GOLDEN "tests/golden/metrics/"

typedef struct golden_lines { nc_json **at; int n; } golden_lines;
typedef struct text_set { nc_line *at; int n; } text_set;

static inline golden_lines read_lines(nc_arena *a, const char *path)
{
    nc_buf b = { 0 };
    nc_error e = { 0 };
    golden_lines out = { 0 };
    if (nc_file_read(path, 1u << 30, &b, &e) < 0)
        fail_msg("%s", e.message);
    nc_words lines = nc_words_split_on(a, (nc_str){ nc_arena_strndup(a, b.p, b.n), b.n }, '\n');
    out.at = NC_NEW_ARRAY(a, nc_json *, lines.n);
    for (int i = 0; i < lines.n; i++)
        if (lines.at[i].n && nc_json_parse(a, lines.at[i], path, &out.at[out.n++], &e) < 0)
            fail_msg("%s", e.message);
    nc_buf_free(&b);
    return out;
}

static inline nc_line line_of(nc_arena *a, const nc_json *hypothesis, const nc_json *references)
{
    nc_str *r = NC_NEW_ARRAY(a, nc_str, references->count + 1);
    nc_line l = { hypothesis->text, r, 0 };
    NC_JSON_EACH(x, references)
        r[l.count++] = x->text;
    return l;
}

/* The set "en" or "ko" of texts.jsonl. */
static inline text_set read_set(nc_arena *a, const char *name)
{
    golden_lines lines = read_lines(a, GOLDEN "texts.jsonl");
    text_set s = { NC_NEW_ARRAY(a, nc_line, lines.n), 0 };
    for (int i = 1; i < lines.n; i++)
        if (strcmp(nc_json_string(nc_json_get(lines.at[i], "set"), ""), name) == 0)
            s.at[s.n++] = line_of(a, nc_json_get(lines.at[i], "hyp"), nc_json_get(lines.at[i], "refs"));
    return s;
}

/* Adds pairs [hypothesis, [references]]. */
static inline void add_pairs(nc_arena *a, text_set *s, const nc_json *pairs)
{
    nc_line *more = NC_NEW_ARRAY(a, nc_line, s->n + (pairs ? pairs->count : 0) + 1);
    if (s->n)
        memcpy(more, s->at, sizeof *more * (size_t)s->n);
    s->at = more;
    NC_JSON_EACH(p, pairs)
        s->at[s->n++] = line_of(a, p->first, p->first->next);
}

typedef enum split { BY_UNIT, BY_SPACE } split;
static inline nc_segment segment_of(nc_arena *a, nc_line l, nc_unit unit)
{
    nc_words *r = NC_NEW_ARRAY(a, nc_words, l.count + 1);
    for (int i = 0; i < l.count; i++)
        r[i] = nc_units(a, l.references[i], unit);
    return (nc_segment){ nc_units(a, l.hypothesis, unit), r, l.count };
}

static inline nc_segment *segments_of(nc_arena *a, text_set s, nc_unit unit)
{
    nc_segment *out = NC_NEW_ARRAY(a, nc_segment, s.n + 1);
    for (int i = 0; i < s.n; i++)
        out[i] = segment_of(a, s.at[i], unit);
    return out;
}

static inline void close_to(double got, double want, double relative, const char *what, int i)
{
    if (!(fabs(got - want) <= relative * fmax(fabs(want), 1e-300)) && !(fabs(got - want) <= 1e-12 && fabs(want) >= 1e-3))
        fail_msg("%s, %d: got %.17g, reference %.17g", what, i, got, want);
}

static inline const char *shared_folder(void)
{
    const char *s = getenv("NUNCHI_SHARED");
    return s ? s : "../shared";
}
#endif

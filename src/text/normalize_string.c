/* normalize_string.c - Sequence, Strip, Replace, Prepend, ByteLevel normalizers; patterns. */
#include <stdlib.h>
#include <string.h>

#include "text/parts.h"
#include "text/unicode.h"

static void free_regex(void *r) { nc_regex_free(r); }

int nc_pattern_create(nc_build *b, const nc_json *v, nc_pattern *out, nc_error *e)
{
    const nc_json *text = nc_json_get(v, "String"), *regex = nc_json_get(v, "Regex");
    *out = (nc_pattern){ 0 };
    if (nc_json_is(v, NC_JSON_STRING))
        text = v;
    if (nc_json_is(text, NC_JSON_STRING)) {
        out->literal = (nc_str){ nc_arena_strndup(b->arena, text->text.p, text->text.n), text->text.n };
        return NC_OK;
    }
    if (!nc_json_is(regex, NC_JSON_STRING))
        return nc_fail(e, NC_EFORMAT, "pattern needs {\"String\": ...} or {\"Regex\": ...}");
    NC_TRY(nc_regex_new(regex->text, &out->regex, e));
    b->defer(b, free_regex, out->regex);
    return NC_OK;
}

bool nc_pattern_find(const nc_pattern *p, nc_scratch *s, nc_str text, size_t from, size_t *begin, size_t *end)
{
    if (p->regex)
        return nc_regex_find(p->regex, s->regex, text, from, begin, end);
    if (!p->literal.n || from > text.n)
        return false;
    const char *hit = memmem(text.p + from, text.n - from, p->literal.p, p->literal.n);
    if (!hit)
        return false;
    *begin = (size_t)(hit - text.p);
    *end = *begin + p->literal.n;
    return true;
}

struct sequence {
    nc_normalizer part;
    int count;
    const nc_normalizer *parts[];
};

static void sequence_run(const nc_normalizer *self, nc_scratch *s)
{
    const struct sequence *q = (const struct sequence *)self;
    for (int i = 0; i < q->count; i++)
        if (q->parts[i])
            q->parts[i]->run(q->parts[i], s);
}

int nc_normalizer_sequence(nc_build *b, const nc_json *v, const nc_normalizer **out, nc_error *e)
{
    const nc_json *list = nc_json_get(v, "normalizers");
    if (!nc_json_is(list, NC_JSON_ARRAY))
        return nc_fail(e, NC_EFORMAT, "Sequence needs a list \"normalizers\"");
    struct sequence *q = nc_arena_alloc(b->arena, sizeof *q + (size_t)list->count * sizeof q->parts[0]);
    q->part.run = sequence_run;
    NC_JSON_EACH(item, list)
        NC_TRY(nc_normalizer_create(b, item, &q->parts[q->count++], e));
    *out = &q->part;
    return NC_OK;
}

struct strip {
    nc_normalizer part;
    bool left, right;
};

static void strip_run(const nc_normalizer *self, nc_scratch *s)
{
    const struct strip *p = (const struct strip *)self;
    nc_str text = nc_aligned_str(&s->text);
    size_t begin = 0, end = text.n;
    uint32_t c;
    while (p->left && begin < end) {
        int length = nc_utf8_decode(text.p + begin, end - begin, &c);
        if (!nc_char_is_space(c))
            break;
        begin += (size_t)length;
    }
    while (p->right && begin < end) {
        size_t at = end - 1;
        while (at > begin && ((unsigned char)text.p[at] & 0xc0) == 0x80)
            at--;
        nc_utf8_decode(text.p + at, end - at, &c);
        if (!nc_char_is_space(c))
            break;
        end = at;
    }
    if (begin == 0 && end == text.n)
        return;
    nc_edit e = nc_edit_begin(&s->text, &s->other);
    nc_edit_skip(&e, begin);
    nc_edit_keep(&e, end - begin);
    nc_aligned_swap(&s->text, &s->other);
}

int nc_normalizer_strip(nc_build *b, const nc_json *v, const nc_normalizer **out, nc_error *e)
{
    (void)e;
    struct strip *p = NC_NEW(b->arena, struct strip);
    p->part.run = strip_run;
    p->left = nc_json_bool(nc_json_get(v, "strip_left"), true);
    p->right = nc_json_bool(nc_json_get(v, "strip_right"), true);
    *out = &p->part;
    return NC_OK;
}

struct replace {
    nc_normalizer part;
    nc_pattern pattern;
    nc_str content;
};

static void replace_run(const nc_normalizer *self, nc_scratch *s)
{
    const struct replace *r = (const struct replace *)self;
    nc_str text = nc_aligned_str(&s->text);
    size_t begin, end, at = 0;
    if (!nc_pattern_find(&r->pattern, s, text, 0, &begin, &end))
        return;
    nc_edit e = nc_edit_begin(&s->text, &s->other);
    do {
        nc_edit_keep(&e, begin - at);
        nc_edit_replace(&e, end - begin, r->content);
        at = end;
    } while (nc_pattern_find(&r->pattern, s, text, at, &begin, &end));
    nc_edit_keep(&e, text.n - at);
    nc_aligned_swap(&s->text, &s->other);
}

int nc_normalizer_replace(nc_build *b, const nc_json *v, const nc_normalizer **out, nc_error *e)
{
    const nc_json *content = nc_json_get(v, "content");
    struct replace *r = NC_NEW(b->arena, struct replace);
    r->part.run = replace_run;
    if (!nc_json_is(content, NC_JSON_STRING))
        return nc_fail(e, NC_EFORMAT, "Replace needs a string \"content\"");
    r->content = (nc_str){ nc_arena_strndup(b->arena, content->text.p, content->text.n), content->text.n };
    NC_TRY(nc_pattern_create(b, nc_json_get(v, "pattern"), &r->pattern, e));
    *out = &r->part;
    return NC_OK;
}

struct prepend {
    nc_normalizer part;
    nc_str text;
};

static void prepend_run(const nc_normalizer *self, nc_scratch *s)
{
    const struct prepend *p = (const struct prepend *)self;
    if (!s->text.n)
        return;
    nc_edit e = nc_edit_begin(&s->text, &s->other);
    nc_edit_prepend(&e, p->text);
    nc_edit_keep(&e, s->text.n);
    nc_aligned_swap(&s->text, &s->other);
}

int nc_normalizer_prepend(nc_build *b, const nc_json *v, const nc_normalizer **out, nc_error *e)
{
    const nc_json *text = nc_json_get(v, "prepend");
    if (!nc_json_is(text, NC_JSON_STRING))
        return nc_fail(e, NC_EFORMAT, "Prepend needs a string \"prepend\"");
    struct prepend *p = NC_NEW(b->arena, struct prepend);
    p->part.run = prepend_run;
    p->text = (nc_str){ nc_arena_strndup(b->arena, text->text.p, text->text.n), text->text.n };
    *out = &p->part;
    return NC_OK;
}

static void byte_level_run(const nc_normalizer *self, nc_scratch *s)
{
    (void)self;
    nc_edit e = nc_edit_begin(&s->text, &s->other);
    for (size_t i = 0; i < s->text.n; i++) {
        unsigned char byte = (unsigned char)s->text.p[i];
        nc_edit_put(&e, nc_byte_char[byte], (byte & 0xc0) == 0x80);
    }
    nc_aligned_swap(&s->text, &s->other);
}

int nc_normalizer_byte_level(nc_build *b, const nc_json *v, const nc_normalizer **out, nc_error *e)
{
    (void)v;
    (void)e;
    nc_normalizer *n = NC_NEW(b->arena, nc_normalizer);
    n->run = byte_level_run;
    *out = n;
    return NC_OK;
}

/* ocr_fields.c - Donut's way to write fields as text, "<s_total><s_price>12,500</s_price></s_total>", as JSON: its processor's token2json.
 *
 * Fields of one name's level that follow <sep/> make a list; leaves may be lists of the same kind; a field without its end is left out.
 */
#include "cli/ocr_fields.h"

#include <string.h>

typedef struct walk { nc_arena *a; int depth; } walk;
enum { MOST_DEPTH = 64 };

static const char *find(nc_str s, const char *what)
{
    return s.n ? memmem(s.p, s.n, what, strlen(what)) : NULL;
}

static nc_str from(nc_str s, const char *at) { return (nc_str){ at, s.n - (size_t)(at - s.p) }; }

static nc_str stripped(nc_str s)
{
    while (s.n && strchr(" \t\r\n", s.p[0]))
        s = (nc_str){ s.p + 1, s.n - 1 };
    while (s.n && strchr(" \t\r\n", s.p[s.n - 1]))
        s.n--;
    return s;
}

static bool begins_with(nc_str s, const char *what) { return s.n >= strlen(what) && !memcmp(s.p, what, strlen(what)); }

/* "a<sep/>b": a list; one: itself. A class such as <yes/> is its name. */
static nc_json *leaf(const walk *w, nc_str s)
{
    nc_json *list = nc_json_new(w->a, NC_JSON_ARRAY);
    for (bool more = true; more;) {
        const char *cut = find(s, "<sep/>");
        nc_str one = stripped(cut ? (nc_str){ s.p, (size_t)(cut - s.p) } : s);
        if (one.n > 3 && one.p[0] == '<' && !memcmp(one.p + one.n - 2, "/>", 2))
            one = (nc_str){ one.p + 1, one.n - 3 };
        nc_json_append(list, nc_json_new_string(w->a, one));
        more = cut != NULL;
        if (cut)
            s = from(s, cut + strlen("<sep/>"));
    }
    return list->count == 1 ? list->first : list;
}

static nc_json *fields(walk *w, nc_str s, bool inner);

static nc_json *value(walk *w, nc_str s)
{
    if (!find(s, "<s_") || !find(s, "</s_") || w->depth >= MOST_DEPTH)
        return leaf(w, stripped(s));
    w->depth++;
    nc_json *v = fields(w, s, true);
    w->depth--;
    return v && v->type == NC_JSON_ARRAY && v->count == 1 ? v->first : v;
}

/* The first "<s_name>" of s: its name; p NULL: none. */
static nc_str first_field(nc_str s)
{
    const char *start = find(s, "<s_"), *close = start ? memchr(start, '>', s.n - (size_t)(start - s.p)) : NULL;
    return close ? (nc_str){ start + 3, (size_t)(close - start - 3) } : (nc_str){ 0 };
}

/* Puts that field into object; what stands behind its end. A start that is never ended is taken out of the text. */
static nc_str take_field(walk *w, nc_str s, nc_str name, nc_json *object)
{
    const char *end_tag = nc_arena_printf(w->a, "</s_%.*s>", (int)name.n, name.p), *key = nc_arena_strndup(w->a, name.p, name.n), *begin = name.p + name.n + 1;
    const char *end = find(from(s, begin), end_tag);
    if (!end) {
        size_t before = (size_t)(name.p - 3 - s.p), after = s.n - (size_t)(begin - s.p);
        char *rest = nc_arena_strndup(w->a, s.p, before + after);
        memcpy(rest + before, begin, after);
        return (nc_str){ rest, before + after };
    }
    nc_json *v = value(w, (nc_str){ begin, (size_t)(end - begin) });
    if (v)
        nc_json_set(w->a, object, key, v);
    return stripped(from(s, end + strlen(end_tag)));
}

/* A list of one object for each run between <sep/>; not inner and no <sep/>: the object itself, or all the text where there is no field. */
static nc_json *fields(walk *w, nc_str s, bool inner)
{
    nc_json *list = nc_json_new(w->a, NC_JSON_ARRAY), *object = nc_json_new(w->a, NC_JSON_OBJECT);
    bool separated = false;
    for (nc_str name; (name = first_field(s)).p;) {
        int had = object->count;
        s = take_field(w, s, name, object);
        if (object->count == had || !begins_with(s, "<sep/>"))
            continue;
        separated = true;
        s = from(s, s.p + strlen("<sep/>"));
        nc_json_append(list, object);
        object = nc_json_new(w->a, NC_JSON_OBJECT);
    }
    if (!object->count && !inner && !separated)
        nc_json_set(w->a, object, "text_sequence", nc_json_new_string(w->a, s));
    if (!inner && !separated)
        return object;
    if (object->count)
        nc_json_append(list, object);
    return list;
}

nc_json *nc_ocr_fields(nc_arena *a, nc_str text)
{
    walk w = { a, 0 };
    return fields(&w, text, false);
}

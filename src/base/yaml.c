/* yaml.c - libyaml's events as the tree of json.h.
 *
 * Aliases are expanded by copying, under a limit of nodes, and merge keys (<<) give what the mapping does not have itself, as PyYAML does.
 * Refused by name: tags outside YAML's core, keys that are no scalars, a second document, an alias inside its own anchor.
 */
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/file.h"
#include "base/map.h"
#include "base/yaml_scalar.h"

enum { MAX_DEPTH = 200, MAX_NODES = 1000000 };
#define MAX_BYTES ((size_t)64 << 20)

struct reader {
    nc_arena *a;
    const char *file;
    yaml_parser_t parser;
    yaml_event_t event;             /* the current event; held says whether it must be deleted */
    bool held;
    nc_map *anchors;                /* name -> index into anchored */
    nc_json **anchored;
    int anchor_count, nodes;
    nc_error *e;
};

static int fail_at(struct reader *r, yaml_mark_t at, int code, const char *what, const char *name)
{
    return nc_fail(r->e, code, "%s:%zu:%zu: %s%s%s", r->file, at.line + 1, at.column + 1, what, *name ? " " : "", name);
}

static int advance(struct reader *r)
{
    if (r->held)
        yaml_event_delete(&r->event);
    r->held = false;
    if (!yaml_parser_parse(&r->parser, &r->event)) {
        const yaml_parser_t *p = &r->parser;
        const char *problem = p->problem ? p->problem : "cannot be read";
        yaml_mark_t at = p->problem_mark;
        if (p->error == YAML_READER_ERROR)
            return nc_fail(r->e, NC_EFORMAT, "%s: byte %zu: %s", r->file, p->problem_offset, problem);
        return fail_at(r, at, NC_EFORMAT, problem, p->context ? p->context : "");
    }
    r->held = true;
    return 0;
}

static int new_node(struct reader *r, nc_json_type type, nc_json **out)
{
    if (++r->nodes > MAX_NODES)
        return fail_at(r, r->event.start_mark, NC_ELIMIT, "more than a million values, aliases expanded", "");
    nc_json *v = *out = nc_json_new(r->a, type);
    v->line = (int)r->event.start_mark.line + 1;
    v->column = (int)r->event.start_mark.column + 1;
    return 0;
}

static void remember(struct reader *r, const char *anchor, nc_json *v)
{
    nc_map_set(r->anchors, nc_str_of(anchor), r->anchor_count);
    r->anchored = nc_xrealloc(r->anchored, (size_t)(r->anchor_count + 1) * sizeof *r->anchored);
    r->anchored[r->anchor_count++] = v;
}

static int copy_tree(struct reader *r, const nc_json *from, int depth, nc_json **out)
{
    if (depth > MAX_DEPTH)
        return fail_at(r, r->event.start_mark, NC_ELIMIT, "nested more than 200 deep, aliases expanded", "");
    NC_TRY(new_node(r, from->type, out));
    nc_json *v = *out, **tail = &v->first;
    v->boolean = from->boolean;
    v->text = from->text;
    v->key = from->key;
    v->count = from->count;
    NC_JSON_EACH(item, from) {
        NC_TRY(copy_tree(r, item, depth + 1, tail));
        tail = &(*tail)->next;
    }
    return 0;
}

static int read_alias(struct reader *r, int depth, nc_json **out)
{
    const char *name = (const char *)r->event.data.alias.anchor;
    int64_t index;
    if (!nc_map_get(r->anchors, nc_str_of(name), &index))
        return fail_at(r, r->event.start_mark, NC_EFORMAT, "no finished anchor before the alias", name);
    NC_TRY(copy_tree(r, r->anchored[index], depth, out));
    (*out)->key = (nc_str){ NULL, 0 };
    return 0;
}

/* What is left of "tag:yaml.org,2002:int"; NULL for a tag from elsewhere. */
static const char *core_tag(const char *tag)
{
    static const char prefix[] = "tag:yaml.org,2002:";
    return nc_starts_with(tag, prefix) ? tag + sizeof prefix - 1 : NULL;
}

static bool has_type(const nc_json *v, const char *tag)
{
    if (v->type == NC_JSON_NUMBER)
        return !strcmp(tag, "float") || (!strcmp(tag, "int") && !strpbrk(v->text.p, ".eEIN"));
    return (v->type == NC_JSON_NULL && !strcmp(tag, "null")) || (v->type == NC_JSON_BOOL && !strcmp(tag, "bool"));
}

static int read_scalar(struct reader *r, nc_json **out)
{
    const char *text = (const char *)r->event.data.scalar.value, *tag = (const char *)r->event.data.scalar.tag;
    const nc_str s = { text, r->event.data.scalar.length };
    NC_TRY(new_node(r, NC_JSON_STRING, out));
    nc_json *v = *out;
    const char *core = tag ? core_tag(tag) : NULL;
    if (tag && !core && strcmp(tag, "!"))
        return fail_at(r, r->event.start_mark, NC_EUNSUPPORTED, "tags of other kinds are not read:", tag);
    const bool plain = r->event.data.scalar.plain_implicit && r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if ((tag && (!core || !strcmp(core, "str"))) || (!tag && !plain)) {
        v->text = (nc_str){ nc_arena_strndup(r->a, s.p, s.n), s.n };
        return 0;
    }
    if (!nc_yaml_resolve(r->a, s, v))
        return fail_at(r, r->event.start_mark, NC_EFORMAT, "the number is too large:", nc_arena_strndup(r->a, s.p, s.n));
    if (core && !has_type(v, core))
        return fail_at(r, r->event.start_mark, NC_EFORMAT, "the value does not have the type of its tag", tag);
    return 0;
}

/* A mapping while it is read: its last member, and the member that holds each key (a pointer as an integer). */
struct members {
    nc_json *object, **tail;
    nc_map *seen;
    nc_json *merged;            /* the value of << */
};

/* A later duplicate replaces the value of the first and keeps its place. */
static void add_member(struct members *m, nc_json *item)
{
    int64_t place;
    if (nc_map_get(m->seen, item->key, &place)) {
        nc_json *first = (nc_json *)(intptr_t)place, *next = first->next;
        *first = *item;
        first->next = next;
        return;
    }
    nc_map_set(m->seen, item->key, (int64_t)(intptr_t)item);
    *m->tail = item;
    m->tail = &item->next;
    m->object->count++;
}

/* Adds copies of from's members that the mapping does not have. */
static int merge_members(struct reader *r, struct members *m, const nc_json *from, int depth)
{
    if (from->type != NC_JSON_OBJECT)
        return fail_at(r, r->event.start_mark, NC_EFORMAT, "<< needs a mapping or a list of mappings", "");
    NC_JSON_EACH(item, from) {
        nc_json *copy;
        if (nc_map_get(m->seen, item->key, NULL))
            continue;
        NC_TRY(copy_tree(r, item, depth + 1, &copy));
        add_member(m, copy);
    }
    return 0;
}

static int merge(struct reader *r, struct members *m, int depth)
{
    if (!m->merged || m->merged->type != NC_JSON_ARRAY)
        return m->merged ? merge_members(r, m, m->merged, depth) : 0;
    NC_JSON_EACH(item, m->merged)
        NC_TRY(merge_members(r, m, item, depth));
    return 0;
}

static int read_node(struct reader *r, int depth, nc_json **out);

static int read_sequence(struct reader *r, nc_json *v, int depth)
{
    nc_json **tail = &v->first;
    for (;;) {
        NC_TRY(advance(r));
        if (r->event.type == YAML_SEQUENCE_END_EVENT)
            return 0;
        NC_TRY(read_node(r, depth + 1, tail));
        tail = &(*tail)->next;
        v->count++;
    }
}

static int read_members(struct reader *r, struct members *m, int depth)
{
    for (;;) {
        NC_TRY(advance(r));
        if (r->event.type == YAML_MAPPING_END_EVENT)
            return 0;
        if (r->event.type != YAML_SCALAR_EVENT)
            return fail_at(r, r->event.start_mark, NC_EUNSUPPORTED, "a key must be a plain name", "");
        const nc_str text = { (const char *)r->event.data.scalar.value, r->event.data.scalar.length };
        const nc_str key = { nc_arena_strndup(r->a, text.p, text.n), text.n };
        const bool merge_key = nc_str_eqz(key, "<<") && r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
        nc_json *item;
        NC_TRY(advance(r));
        NC_TRY(read_node(r, depth + 1, &item));
        item->key = key;
        if (merge_key)
            m->merged = item;
        else
            add_member(m, item);
    }
}

static int read_mapping(struct reader *r, nc_json *v, int depth)
{
    struct members m = { v, &v->first, nc_map_new(8), NULL };
    int code = read_members(r, &m, depth);
    if (code == 0)
        code = merge(r, &m, depth);
    nc_map_free(m.seen);
    return code;
}

static int read_node(struct reader *r, int depth, nc_json **out)
{
    if (depth > MAX_DEPTH)
        return fail_at(r, r->event.start_mark, NC_ELIMIT, "nested more than 200 deep", "");
    const char *anchor = NULL, *tag = NULL;
    switch (r->event.type) {
    case YAML_ALIAS_EVENT:
        return read_alias(r, depth, out);
    case YAML_SCALAR_EVENT:
        anchor = (const char *)r->event.data.scalar.anchor;
        NC_TRY(read_scalar(r, out));
        if (anchor)
            remember(r, anchor, *out);
        return 0;
    case YAML_SEQUENCE_START_EVENT:
        anchor = (const char *)r->event.data.sequence_start.anchor;
        tag = (const char *)r->event.data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = (const char *)r->event.data.mapping_start.anchor;
        tag = (const char *)r->event.data.mapping_start.tag;
        break;
    default:
        return fail_at(r, r->event.start_mark, NC_EFORMAT, "a value was expected", "");
    }
    const bool sequence = r->event.type == YAML_SEQUENCE_START_EVENT;
    const char *core = tag ? core_tag(tag) : NULL;
    if (tag && strcmp(tag, "!") && !(core && !strcmp(core, sequence ? "seq" : "map")))
        return fail_at(r, r->event.start_mark, NC_EUNSUPPORTED, "tags of other kinds are not read:", tag);
    /* The event dies with the next one, its anchor must outlive it. */
    anchor = anchor ? nc_arena_strdup(r->a, anchor) : NULL;
    NC_TRY(new_node(r, sequence ? NC_JSON_ARRAY : NC_JSON_OBJECT, out));
    NC_TRY(sequence ? read_sequence(r, *out, depth) : read_mapping(r, *out, depth));
    if (anchor)
        remember(r, anchor, *out);
    return 0;
}

static int read_document(struct reader *r, nc_json **out)
{
    NC_TRY(advance(r));                                     /* the stream's start */
    NC_TRY(advance(r));
    if (r->event.type == YAML_STREAM_END_EVENT)
        return new_node(r, NC_JSON_NULL, out);
    NC_TRY(advance(r));
    NC_TRY(read_node(r, 1, out));
    NC_TRY(advance(r));                                     /* the document's end */
    NC_TRY(advance(r));
    if (r->event.type != YAML_STREAM_END_EVENT)
        return fail_at(r, r->event.start_mark, NC_EFORMAT, "a second document begins; one was expected", "");
    return 0;
}

int nc_yaml_parse(nc_arena *a, nc_str text, const char *file, nc_json **out, nc_error *e)
{
    struct reader r = { .a = a, .file = file ? file : "yaml", .e = e };
    *out = NULL;
    if (text.n > MAX_BYTES)
        return nc_fail(e, NC_ELIMIT, "%s: larger than 64 MiB", r.file);
    if (!yaml_parser_initialize(&r.parser))
        return nc_fail(e, NC_ENOMEM, "%s: no memory for the YAML reader", r.file);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)(text.n ? text.p : ""), text.n);
    r.anchors = nc_map_new(0);
    nc_json *v = NULL;
    int code = read_document(&r, &v);
    if (r.held)
        yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    nc_map_free(r.anchors);
    free(r.anchored);
    if (code == 0)
        *out = v;
    return code;
}

int nc_yaml_load(nc_arena *a, const char *path, nc_json **out, nc_error *e)
{
    nc_buf b = { 0 };
    *out = NULL;
    int code = nc_file_read(path, MAX_BYTES, &b, e);
    if (code == 0)
        code = nc_yaml_parse(a, (nc_str){ b.p, b.n }, path, out, e);
    nc_buf_free(&b);
    return code;
}

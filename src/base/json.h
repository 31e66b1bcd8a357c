/* json.h - JSON and YAML as one tree in an arena, and a writer.
 *
 * Numbers are kept as text (integers of any size, 1e400, and NaN, Infinity, -Infinity as Python writes them); keys keep
 * their order; every node knows its line. Limits: depth 200, 1 GiB. Source: RFC 8259; Python's json for NaN and Infinity.
 * A duplicate key keeps the last value, as Python does. YAML (libyaml) becomes the same tree: plain scalars are typed by YAML 1.1's rules
 * as PyYAML reads them, plus 1e-5 as a number, which LLaMA-Factory's users write; anchors and aliases are expanded under a node limit.
 * Accessors accept NULL and give the fallback, so that chains read straight.
 */
#ifndef NC_BASE_JSON_H
#define NC_BASE_JSON_H
#include "base/str.h"

typedef enum nc_json_type { NC_JSON_NULL, NC_JSON_BOOL, NC_JSON_NUMBER, NC_JSON_STRING, NC_JSON_ARRAY, NC_JSON_OBJECT } nc_json_type;

typedef struct nc_json nc_json;
struct nc_json {
    nc_json_type type;
    int line, column;            /* where the value starts, from 1 */
    bool boolean;
    nc_str text;                 /* string: decoded UTF-8 (may hold NUL), NUL-terminated as well; number: its spelling */
    nc_str key;                  /* inside an object: the key, NUL-terminated */
    nc_json *first, *next;       /* children of an array or object; the next sibling */
    int count;                   /* children */
};

int nc_json_parse(nc_arena *a, nc_str text, const char *file, nc_json **out, nc_error *e);  /* file names the errors */
int nc_json_load(nc_arena *a, const char *path, nc_json **out, nc_error *e);
int nc_yaml_parse(nc_arena *a, nc_str text, const char *file, nc_json **out, nc_error *e);
int nc_yaml_load(nc_arena *a, const char *path, nc_json **out, nc_error *e);

const nc_json *nc_json_get(const nc_json *object, const char *key);         /* NULL when absent or no object */
const nc_json *nc_json_getn(const nc_json *object, nc_str key);
const nc_json *nc_json_path(const nc_json *v, const char *dotted);          /* "text_config.hidden_size" */
const nc_json *nc_json_at(const nc_json *array, int index);                 /* O(index) */
bool nc_json_is(const nc_json *v, nc_json_type type);                       /* false for NULL */
const char *nc_json_string(const nc_json *v, const char *fallback);
int64_t nc_json_int(const nc_json *v, int64_t fallback);                    /* 3.0 and 1e3 count as integers; out of range: clamped */
double nc_json_double(const nc_json *v, double fallback);                   /* correctly rounded */
bool nc_json_bool(const nc_json *v, bool fallback);
bool nc_json_int_exact(const nc_json *v, int64_t *out);                     /* false unless an integer in range */
#define NC_JSON_EACH(item, container) \
    for (const nc_json *item = (container) ? (container)->first : NULL; item; item = item->next)

/* Trees can be built: nodes are the arena's. */
nc_json *nc_json_new(nc_arena *a, nc_json_type type);
nc_json *nc_json_new_string(nc_arena *a, nc_str s);
nc_json *nc_json_new_int(nc_arena *a, int64_t v);
nc_json *nc_json_new_double(nc_arena *a, double v);                         /* shortest spelling that reads back equal */
nc_json *nc_json_new_bool(nc_arena *a, bool v);
void nc_json_append(nc_json *array, nc_json *item);
void nc_json_set(nc_arena *a, nc_json *object, const char *key, nc_json *item);  /* replaces in place or appends */
nc_json *nc_json_clone(nc_arena *a, const nc_json *v);
bool nc_json_equal(const nc_json *a, const nc_json *b);                     /* key order ignored, numbers by value */

/* Writing. indent 0: one line ("a": 1, as Python's default separators); else that many spaces a level. Non-ASCII is written as UTF-8. */
void nc_json_write(nc_buf *b, const nc_json *v, int indent);
void nc_buf_json_double(nc_buf *b, double v);                               /* shortest spelling that reads back equal; NaN as null */
#endif

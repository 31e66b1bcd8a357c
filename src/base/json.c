/* json.c - reading, building and comparing trees. A number is its spelling; its value is taken only here. */
#include "base/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/number.h"

const nc_json *nc_json_getn(const nc_json *object, nc_str key)
{
    if (!nc_json_is(object, NC_JSON_OBJECT))
        return NULL;
    NC_JSON_EACH(v, object)
        if (nc_str_eq(v->key, key))
            return v;
    return NULL;
}

const nc_json *nc_json_get(const nc_json *object, const char *key)
{
    return nc_json_getn(object, nc_str_of(key));
}

const nc_json *nc_json_path(const nc_json *v, const char *dotted)
{
    while (v) {
        const char *dot = strchr(dotted, '.');
        v = nc_json_getn(v, (nc_str){ dotted, dot ? (size_t)(dot - dotted) : strlen(dotted) });
        if (!dot)
            break;
        dotted = dot + 1;
    }
    return v;
}

const nc_json *nc_json_at(const nc_json *array, int index)
{
    if (!nc_json_is(array, NC_JSON_ARRAY) || index < 0)
        return NULL;
    NC_JSON_EACH(v, array)
        if (index-- == 0)
            return v;
    return NULL;
}

bool nc_json_is(const nc_json *v, nc_json_type type)
{
    return v && v->type == type;
}

const char *nc_json_string(const nc_json *v, const char *fallback)
{
    return nc_json_is(v, NC_JSON_STRING) ? v->text.p : fallback;
}

double nc_json_double(const nc_json *v, double fallback)
{
    if (!nc_json_is(v, NC_JSON_NUMBER))
        return fallback;
    if (nc_str_eqz(v->text, "NaN"))
        return (double)NAN;
    double value;
    if (nc_parse_double(v->text.p, &value))
        return value;
    return v->text.p[0] == '-' ? -(double)INFINITY : (double)INFINITY;     /* 1e400, as Python reads it */
}

/* Digits alone are read as an integer, so that 64 bits survive; every other spelling goes through a double. */
bool nc_json_int_exact(const nc_json *v, int64_t *out)
{
    if (!nc_json_is(v, NC_JSON_NUMBER))
        return false;
    if (nc_parse_int(v->text.p, out))
        return true;
    double d = nc_json_double(v, (double)NAN);
    if (!(d >= -0x1p63 && d < 0x1p63) || d != floor(d))
        return false;
    *out = (int64_t)d;
    return true;
}

int64_t nc_json_int(const nc_json *v, int64_t fallback)
{
    int64_t value;
    if (nc_json_int_exact(v, &value))
        return value;
    double d = nc_json_double(v, (double)NAN);
    if (d >= 0x1p63)
        return INT64_MAX;
    return d < -0x1p63 ? INT64_MIN : fallback;
}

bool nc_json_bool(const nc_json *v, bool fallback)
{
    return nc_json_is(v, NC_JSON_BOOL) ? v->boolean : fallback;
}

nc_json *nc_json_new(nc_arena *a, nc_json_type type)
{
    nc_json *v = NC_NEW(a, nc_json);
    v->type = type;
    if (type == NC_JSON_STRING)
        v->text = NC_STR("");
    if (type == NC_JSON_NUMBER)
        v->text = NC_STR("0");
    return v;
}

static nc_json *new_number(nc_arena *a, const char *text)
{
    nc_json *v = nc_json_new(a, NC_JSON_NUMBER);
    v->text = nc_str_of(nc_arena_strdup(a, text));
    return v;
}

nc_json *nc_json_new_string(nc_arena *a, nc_str s)
{
    nc_json *v = nc_json_new(a, NC_JSON_STRING);
    v->text = (nc_str){ nc_arena_strndup(a, s.p, s.n), s.n };
    return v;
}

nc_json *nc_json_new_int(nc_arena *a, int64_t value)
{
    nc_json *v = nc_json_new(a, NC_JSON_NUMBER);
    v->text = nc_str_of(nc_arena_printf(a, "%lld", (long long)value));
    return v;
}

nc_json *nc_json_new_double(nc_arena *a, double value)
{
    char text[32];
    return new_number(a, nc_format_double(value, text));
}

nc_json *nc_json_new_bool(nc_arena *a, bool value)
{
    nc_json *v = nc_json_new(a, NC_JSON_BOOL);
    v->boolean = value;
    return v;
}

void nc_json_append(nc_json *array, nc_json *item)
{
    nc_json **tail = &array->first;
    while (*tail)
        tail = &(*tail)->next;
    *tail = item;
    item->next = NULL;
    array->count++;
}

void nc_json_set(nc_arena *a, nc_json *object, const char *key, nc_json *item)
{
    item->key = nc_str_of(nc_arena_strdup(a, key));
    for (nc_json **at = &object->first; *at; at = &(*at)->next)
        if (nc_str_eq((*at)->key, item->key)) {
            item->next = (*at)->next;
            *at = item;
            return;
        }
    nc_json_append(object, item);
}

nc_json *nc_json_clone(nc_arena *a, const nc_json *v)
{
    if (!v)
        return NULL;
    nc_json *copy = nc_arena_copy(a, v, sizeof *v), **tail = &copy->first;
    copy->next = NULL;
    if (v->text.p)
        copy->text.p = nc_arena_strndup(a, v->text.p, v->text.n);
    if (v->key.p)
        copy->key.p = nc_arena_strndup(a, v->key.p, v->key.n);
    NC_JSON_EACH(item, v) {
        *tail = nc_json_clone(a, item);
        tail = &(*tail)->next;
    }
    return copy;
}

static bool equal_numbers(const nc_json *a, const nc_json *b)
{
    int64_t i, j;
    if (nc_str_eq(a->text, b->text))
        return true;
    if (nc_json_int_exact(a, &i) && nc_json_int_exact(b, &j))
        return i == j;
    return nc_json_double(a, 0) == nc_json_double(b, 0);
}

/* Keys of one object are unique, so equal counts and every key of a found in b make the sets equal. */
static bool equal_objects(const nc_json *a, const nc_json *b)
{
    const nc_json **values = nc_xcalloc((size_t)b->count, sizeof *values);
    nc_map *map = nc_map_new((size_t)b->count);
    int64_t at = 0;
    NC_JSON_EACH(v, b) {
        nc_map_set(map, v->key, at);
        values[at++] = v;
    }
    bool same = true;
    for (const nc_json *v = a->first; v && same; v = v->next)
        same = nc_map_get(map, v->key, &at) && nc_json_equal(v, values[at]);
    nc_map_free(map);
    free(values);
    return same;
}

bool nc_json_equal(const nc_json *a, const nc_json *b)
{
    if (!a || !b || a == b)
        return a == b;
    if (a->type != b->type || a->count != b->count)
        return false;
    switch (a->type) {
    case NC_JSON_NULL: return true;
    case NC_JSON_BOOL: return a->boolean == b->boolean;
    case NC_JSON_STRING: return nc_str_eq(a->text, b->text);
    case NC_JSON_NUMBER: return equal_numbers(a, b);
    case NC_JSON_OBJECT: return equal_objects(a, b);
    case NC_JSON_ARRAY: break;
    }
    for (a = a->first, b = b->first; a && b; a = a->next, b = b->next)
        if (!nc_json_equal(a, b))
            return false;
    return !a && !b;
}

/* gguf.c - the reader. A cursor walks the mapping; `take` is the only way forward and checks what is left.
 *
 * Counts are bounded by what is left divided by the least size of an item, so that memory stays within a small multiple of
 * the file. Arrays of arrays are followed to a depth of 4.
 */
#include "formats/gguf_types.h"
#include "base/file.h"
#include "base/map.h"
#include <stdlib.h>

#define DEPTH_LIMIT 4
#define NAME_LIMIT 65535

struct nc_gguf {
    nc_arena *arena;
    nc_mapped map;
    const char *path;
    int version, key_count, count;
    nc_gguf_value *values;
    nc_stored *tensors;
    const nc_ggml_type **types;                /* of tensors[i] */
    nc_map *key_index, *tensor_index;
    size_t alignment;
};

struct cursor { nc_gguf *g; const uint8_t *p; size_t left; nc_error *e; };

static int cut_short(struct cursor *c, const char *what, uint64_t need)
{
    return nc_fail(c->e, NC_EFORMAT, "%s: %s needs %llu bytes at byte %zu, %zu are left; the file is cut short or damaged, download it again",
                   c->g->path, what, (unsigned long long)need, c->g->map.n - c->left, c->left);
}

static int take(struct cursor *c, uint64_t n, const uint8_t **out, const char *what)
{
    if (n > c->left)
        return cut_short(c, what, n);
    *out = c->p;
    c->p += n;
    c->left -= (size_t)n;
    return 0;
}

static int take_number(struct cursor *c, nc_gguf_type type, int64_t *v, const char *what)
{
    const uint8_t *p = NULL;
    double unused;
    NC_TRY(take(c, nc_gguf_type_bytes(type), &p, what));
    nc_gguf_number(type, p, v, &unused);
    return 0;
}

static int take_count(struct cursor *c, size_t least, uint64_t *out, const char *what)
{
    int64_t v;
    NC_TRY(take_number(c, NC_GGUF_U64, &v, what));
    if ((uint64_t)v > c->left / least)
        return nc_fail(c->e, NC_EFORMAT, "%s: %s claims %llu items, %zu bytes are left; the file is cut short or damaged, download it again",
                       c->g->path, what, (unsigned long long)v, c->left);
    *out = (uint64_t)v;
    return 0;
}

static int take_string(struct cursor *c, nc_str *out, const char *what)
{
    int64_t n;
    const uint8_t *p;
    NC_TRY(take_number(c, NC_GGUF_U64, &n, what));
    NC_TRY(take(c, (uint64_t)n, &p, what));
    *out = (nc_str){ (const char *)p, (size_t)n };
    return 0;
}

/* A key or a tensor's name: short, without NUL, copied so that it ends in NUL. */
static int take_name(struct cursor *c, const char **out, const char *what)
{
    nc_str s;
    NC_TRY(take_string(c, &s, what));
    if (s.n == 0 || s.n > NAME_LIMIT || memchr(s.p, 0, s.n))
        return nc_fail(c->e, NC_EFORMAT, "%s: %s of %zu bytes is empty, longer than %d or holds NUL; the file is damaged, download it again",
                       c->g->path, what, s.n, NAME_LIMIT);
    *out = nc_arena_strndup(c->g->arena, s.p, s.n);
    return 0;
}

static int take_value(struct cursor *c, nc_gguf_type type, nc_gguf_value *v, const char *key, int depth);

static int take_array(struct cursor *c, nc_gguf_value *v, const char *key, int depth)
{
    int64_t item;
    uint64_t n;
    if (depth >= DEPTH_LIMIT)
        return nc_fail(c->e, NC_ELIMIT, "%s: key %s nests arrays deeper than %d", c->g->path, key, DEPTH_LIMIT);
    NC_TRY(take_number(c, NC_GGUF_U32, &item, key));
    if (item >= NC_GGUF_TYPES)
        return nc_fail(c->e, NC_EFORMAT, "%s: key %s is an array of unknown type %lld; the file is damaged or newer than this program",
                       c->g->path, key, (long long)item);
    v->item = (nc_gguf_type)item;
    size_t least = nc_gguf_type_bytes(v->item);
    NC_TRY(take_count(c, least ? least : v->item == NC_GGUF_STRING ? 8 : 12, &n, key));
    v->count = (int64_t)n;
    if (least) {
        const uint8_t *p;
        NC_TRY(take(c, n * least, &p, key));
        v->numbers = p;
    } else if (v->item == NC_GGUF_STRING) {
        nc_str *strings = nc_arena_alloc(c->g->arena, sizeof *strings * (n + 1));
        for (uint64_t i = 0; i < n; i++)
            NC_TRY(take_string(c, &strings[i], key));
        v->strings = strings;
    } else {
        nc_gguf_value *arrays = nc_arena_alloc(c->g->arena, sizeof *arrays * (n + 1));
        for (uint64_t i = 0; i < n; i++)
            NC_TRY(take_value(c, NC_GGUF_ARRAY, &arrays[i], key, depth + 1));
        v->arrays = arrays;
    }
    return 0;
}

static int take_value(struct cursor *c, nc_gguf_type type, nc_gguf_value *v, const char *key, int depth)
{
    v->type = type;
    if (type == NC_GGUF_ARRAY)
        return take_array(c, v, key, depth);
    if (type == NC_GGUF_STRING) {
        nc_str s;
        NC_TRY(take_string(c, &s, key));
        v->s = (nc_str){ nc_arena_strndup(c->g->arena, s.p, s.n), s.n };
        return 0;
    }
    const uint8_t *p;
    NC_TRY(take(c, nc_gguf_type_bytes(type), &p, key));
    nc_gguf_number(type, p, &v->i, &v->f);
    if (type != NC_GGUF_F32 && type != NC_GGUF_F64)
        v->f = 0;
    return 0;
}

static int read_keys(struct cursor *c)
{
    nc_gguf *g = c->g;
    for (int i = 0; i < g->key_count; i++) {
        nc_gguf_value *v = &g->values[i];
        int64_t type;
        NC_TRY(take_name(c, &v->key, "a metadata key"));
        NC_TRY(take_number(c, NC_GGUF_U32, &type, v->key));
        if (type >= NC_GGUF_TYPES)
            return nc_fail(c->e, NC_EFORMAT, "%s: key %s has unknown type %lld; the file is damaged or newer than this program", g->path, v->key, (long long)type);
        NC_TRY(take_value(c, (nc_gguf_type)type, v, v->key, 0));
        if (!nc_map_set(g->key_index, nc_str_of(v->key), i))
            return nc_fail(c->e, NC_EFORMAT, "%s: key %s appears twice; the file is damaged", g->path, v->key);
    }
    int64_t alignment = nc_gguf_int(g, "general.alignment", 32);
    if (alignment <= 0 || alignment > 1 << 20 || (alignment & (alignment - 1)))
        return nc_fail(c->e, NC_EFORMAT, "%s: general.alignment %lld is no power of two up to 1048576", g->path, (long long)alignment);
    g->alignment = (size_t)alignment;
    return 0;
}

/* The bytes of a tensor of this type and shape; false on overflow or when blocks do not divide the last axis. */
static bool tensor_bytes(const nc_ggml_type *type, const nc_shape *s, size_t *bytes)
{
    size_t last = (size_t)nc_shape_last(s), n;
    if (last % (size_t)type->block || !nc_mul_size(last / (size_t)type->block, (size_t)type->bytes, &n))
        return false;
    for (int d = 0; d + 1 < s->rank; d++)
        if (!nc_mul_size(n, (size_t)s->dim[d], &n))
            return false;
    *bytes = n;
    return true;
}

static int read_info(struct cursor *c, nc_stored *t, const nc_ggml_type **type, uint64_t *offset)
{
    nc_gguf *g = c->g;
    int64_t rank, dim, id, at;
    NC_TRY(take_name(c, &t->name, "a tensor's name"));
    NC_TRY(take_number(c, NC_GGUF_U32, &rank, t->name));
    if (rank > NC_MAX_RANK)
        return nc_fail(c->e, NC_EFORMAT, "%s: tensor %s has %lld dimensions, at most %d are supported", g->path, t->name, (long long)rank, NC_MAX_RANK);
    t->shape.rank = (int)rank;
    int64_t count = 1;
    for (int d = (int)rank - 1; d >= 0; d--) {
        NC_TRY(take_number(c, NC_GGUF_U64, &dim, t->name));
        if (dim < 0 || __builtin_mul_overflow(count, dim, &count))
            return nc_fail(c->e, NC_EFORMAT, "%s: tensor %s: its shape overflows; the file is damaged, download it again", g->path, t->name);
        t->shape.dim[d] = dim;
    }
    NC_TRY(take_number(c, NC_GGUF_U32, &id, t->name));
    NC_TRY(take_number(c, NC_GGUF_U64, &at, t->name));
    *type = nc_ggml_type_of((uint32_t)id);
    if (!*type)
        return nc_fail(c->e, NC_EUNSUPPORTED, "%s: tensor %s has ggml type %lld, which is not known here; convert the file to Q8_0 or F16",
                       g->path, t->name, (long long)id);
    t->dtype = (*type)->dtype;
    *offset = (uint64_t)at;
    if (!tensor_bytes(*type, &t->shape, &t->bytes))
        return nc_fail(c->e, NC_EFORMAT, "%s: tensor %s: blocks of %d (%s) do not fill its rows, or its size overflows; the file is damaged",
                       g->path, t->name, (*type)->block, (*type)->name);
    return 0;
}

static int by_offset(const void *a, const void *b)
{
    const nc_stored *x = *(const nc_stored *const *)a, *y = *(const nc_stored *const *)b;
    if (x->data != y->data)
        return (const char *)x->data < (const char *)y->data ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static int check_overlap(const nc_gguf *g, nc_error *e)
{
    const nc_stored **order = NC_NEW_ARRAY(g->arena, const nc_stored *, g->count + 1);
    for (int i = 0; i < g->count; i++)
        order[i] = &g->tensors[i];
    qsort(order, (size_t)g->count, sizeof *order, by_offset);
    for (int i = 1; i < g->count; i++)
        if ((const char *)order[i]->data < (const char *)order[i - 1]->data + order[i - 1]->bytes)
            return nc_fail(e, NC_EFORMAT, "%s: tensors %s and %s overlap; the file is damaged, download it again", g->path, order[i - 1]->name, order[i]->name);
    return 0;
}

static int read_tensors(struct cursor *c)
{
    nc_gguf *g = c->g;
    uint64_t *offset = nc_arena_alloc(g->arena, sizeof *offset * ((size_t)g->count + 1));
    for (int i = 0; i < g->count; i++) {
        NC_TRY(read_info(c, &g->tensors[i], &g->types[i], &offset[i]));
        if (!nc_map_set(g->tensor_index, nc_str_of(g->tensors[i].name), i))
            return nc_fail(c->e, NC_EFORMAT, "%s: tensor %s appears twice; the file is damaged", g->path, g->tensors[i].name);
    }
    size_t at = g->map.n - c->left, start = (at + g->alignment - 1) / g->alignment * g->alignment;
    for (int i = 0; i < g->count; i++) {
        nc_stored *t = &g->tensors[i];
        size_t room = start <= g->map.n ? g->map.n - start : 0;
        if (offset[i] % g->alignment)
            return nc_fail(c->e, NC_EFORMAT, "%s: tensor %s lies at %llu, no multiple of %zu; the file is damaged", g->path, t->name,
                           (unsigned long long)offset[i], g->alignment);
        if (offset[i] > room || t->bytes > room - offset[i])
            return nc_fail(c->e, NC_EFORMAT, "%s: tensor %s needs bytes %llu to %llu of the data, the file holds %zu; it is cut short, download it again",
                           g->path, t->name, (unsigned long long)offset[i], (unsigned long long)offset[i] + t->bytes, room);
        t->data = g->map.p + start + offset[i];
    }
    return check_overlap(g, c->e);
}

static int read_all(nc_gguf *g, nc_error *e)
{
    struct cursor c = { g, g->map.p, g->map.n, e };
    const uint8_t *magic;
    int64_t version;
    uint64_t keys, tensors;
    if (c.left < 4 || memcmp(c.p, "GGUF", 4) != 0)
        return nc_fail(e, NC_EFORMAT, "%s: does not start with \"GGUF\"; this is no GGUF file", g->path);
    NC_TRY(take(&c, 4, &magic, "the magic"));
    NC_TRY(take_number(&c, NC_GGUF_U32, &version, "the version"));
    if ((version & 0xffff) == 0)
        return nc_fail(e, NC_EUNSUPPORTED, "%s: a big-endian GGUF file; convert it to little endian", g->path);
    if (version != 2 && version != 3)
        return nc_fail(e, NC_EUNSUPPORTED, "%s: GGUF version %lld; versions 2 and 3 are read, convert the file with a current llama.cpp", g->path, (long long)version);
    g->version = (int)version;
    NC_TRY(take_count(&c, 24, &tensors, "the tensor count"));
    NC_TRY(take_count(&c, 13, &keys, "the key count"));
    if (tensors > INT32_MAX - 1 || keys > INT32_MAX - 1)
        return nc_fail(e, NC_ELIMIT, "%s: more than 2^31 tensors or keys", g->path);
    g->key_count = (int)keys;
    g->count = (int)tensors;
    g->values = NC_NEW_ARRAY(g->arena, nc_gguf_value, keys + 1);
    g->tensors = NC_NEW_ARRAY(g->arena, nc_stored, tensors + 1);
    g->types = NC_NEW_ARRAY(g->arena, const nc_ggml_type *, tensors + 1);
    g->key_index = nc_map_new(64);
    g->tensor_index = nc_map_new(64);
    NC_TRY(read_keys(&c));
    return read_tensors(&c);
}

int nc_gguf_open(const char *path, nc_gguf **out, nc_error *e)
{
    nc_gguf *g = nc_xcalloc(1, sizeof *g);
    g->arena = nc_arena_new();
    g->path = nc_arena_strdup(g->arena, path);
    int code = nc_map_file(path, &g->map, e);
    if (code == 0)
        code = read_all(g, e);
    else
        g->map = (nc_mapped){ .fd = -1 };
    if (code < 0) {
        nc_gguf_close(g);
        g = NULL;
    }
    *out = g;
    return code;
}

void nc_gguf_close(nc_gguf *g)
{
    if (!g)
        return;
    if (g->map.p || g->map.fd >= 0)
        nc_unmap_file(&g->map);
    nc_map_free(g->key_index);
    nc_map_free(g->tensor_index);
    nc_arena_free(g->arena);
    free(g);
}

int nc_gguf_version(const nc_gguf *g) { return g->version; }
int nc_gguf_keys(const nc_gguf *g) { return g->key_count; }
int nc_gguf_count(const nc_gguf *g) { return g->count; }
const nc_gguf_value *nc_gguf_key(const nc_gguf *g, int i) { return i >= 0 && i < g->key_count ? &g->values[i] : NULL; }
const nc_stored *nc_gguf_at(const nc_gguf *g, int i) { return i >= 0 && i < g->count ? &g->tensors[i] : NULL; }

const nc_gguf_value *nc_gguf_get(const nc_gguf *g, const char *key)
{
    int64_t i;
    return nc_map_get(g->key_index, nc_str_of(key), &i) ? &g->values[i] : NULL;
}

static bool is_real(nc_gguf_type t) { return t == NC_GGUF_F32 || t == NC_GGUF_F64; }

static int64_t whole(double f)
{
    return f >= 9.2e18 ? INT64_MAX : f <= -9.2e18 ? INT64_MIN : f == f ? (int64_t)f : 0;
}

int64_t nc_gguf_int(const nc_gguf *g, const char *key, int64_t fallback)
{
    const nc_gguf_value *v = nc_gguf_get(g, key);
    if (!v || v->type == NC_GGUF_STRING || v->type == NC_GGUF_ARRAY)
        return fallback;
    return is_real(v->type) ? whole(v->f) : v->i;
}

double nc_gguf_double(const nc_gguf *g, const char *key, double fallback)
{
    const nc_gguf_value *v = nc_gguf_get(g, key);
    if (!v || v->type == NC_GGUF_STRING || v->type == NC_GGUF_ARRAY)
        return fallback;
    return is_real(v->type) ? v->f : v->type == NC_GGUF_U64 ? (double)(uint64_t)v->i : (double)v->i;
}

bool nc_gguf_bool(const nc_gguf *g, const char *key, bool fallback) { return nc_gguf_int(g, key, fallback) != 0; }

const char *nc_gguf_string(const nc_gguf *g, const char *key, const char *fallback)
{
    const nc_gguf_value *v = nc_gguf_get(g, key);
    return v && v->type == NC_GGUF_STRING ? v->s.p : fallback;
}

static bool has_number(const nc_gguf_value *a, int64_t i) { return a && a->type == NC_GGUF_ARRAY && a->numbers && i >= 0 && i < a->count; }

int64_t nc_gguf_item_int(const nc_gguf_value *a, int64_t i)
{
    int64_t v = 0;
    double f = 0;
    if (has_number(a, i))
        nc_gguf_number(a->item, (const char *)a->numbers + (size_t)i * nc_gguf_type_bytes(a->item), &v, &f);
    return has_number(a, i) && is_real(a->item) ? whole(f) : v;
}

double nc_gguf_item_double(const nc_gguf_value *a, int64_t i)
{
    int64_t v;
    double f = 0;
    if (has_number(a, i))
        nc_gguf_number(a->item, (const char *)a->numbers + (size_t)i * nc_gguf_type_bytes(a->item), &v, &f);
    return f;
}

const nc_stored *nc_gguf_find(const nc_gguf *g, const char *name)
{
    int64_t i;
    return nc_map_get(g->tensor_index, nc_str_of(name), &i) ? &g->tensors[i] : NULL;
}

const nc_ggml_type *nc_gguf_tensor_type(const nc_gguf *g, const nc_stored *t) { return g->types[t - g->tensors]; }

int nc_gguf_need(const nc_gguf *g, const char *name, const nc_stored **out, nc_error *e)
{
    const nc_stored *t = nc_gguf_find(g, name);
    if (!t)
        return nc_fail(e, NC_ENOTFOUND, "%s: has no tensor %s", g->path, name);
    if (t->dtype == NC_DTYPES)
        return nc_fail(e, NC_EUNSUPPORTED, "%s: tensor %s is %s, which is not supported yet; convert the file to Q8_0, Q4_0, F16, BF16 or F32",
                       g->path, name, nc_gguf_tensor_type(g, t)->name);
    *out = t;
    return 0;
}

void nc_gguf_advise(const nc_gguf *g, const void *p, size_t n, nc_advice advice) { nc_stored_advise(&g->map, p, n, advice); }
bool nc_gguf_place(const nc_gguf *g, const void *p, size_t n, int *fd, uint64_t *offset) { return nc_stored_place(&g->map, p, n, fd, offset); }

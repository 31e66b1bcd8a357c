/* safetensors.c - the reader: maps the files, checks the headers completely, finds tensors by name.
 *
 * Order of checks for one file: length of the header against the file and the limit; the header is a JSON object; every
 * tensor has a known dtype, whole non-negative dimensions, and begin <= end <= data; product of dimensions x size = end - begin,
 * multiplied with overflow checks; sorted by begin, each tensor starts where the one before ended, and the last ends the file.
 */
#include "formats/safetensors.h"
#include "base/file.h"
#include "base/map.h"
#include <stdlib.h>
#include <string.h>

#define HEADER_LIMIT (100u << 20)              /* the reference's MAX_HEADER_SIZE is 100 MB */
#define INDEX_LIMIT (256u << 20)

struct shard { char *path; nc_mapped map; size_t data_at; };

struct nc_safetensors {
    nc_arena *arena;                           /* names, paths, JSON */
    struct shard *shards;
    int shard_count, shard_capacity;
    nc_stored *tensors;
    int count, capacity;
    nc_map *by_name;
    const nc_json *metadata;
    size_t bytes;
};

/* Order of the rows is the reference's rank of dtypes, which the writer sorts by (higher first). */
static const struct { const char *name; nc_dtype dtype; } kinds[] = {
    { "BOOL", NC_BOOL }, { "U8", NC_U8 }, { "I8", NC_I8 }, { "F8_E5M2", NC_F8_E5M2 }, { "F8_E4M3", NC_F8_E4M3 },
    { "I16", NC_I16 }, { "F16", NC_F16 }, { "BF16", NC_BF16 }, { "I32", NC_I32 }, { "F32", NC_F32 }, { "F64", NC_F64 }, { "I64", NC_I64 },
};

const char *nc_safetensors_dtype_name(nc_dtype dtype)
{
    for (int i = 0; i < NC_COUNT(kinds); i++)
        if (kinds[i].dtype == dtype)
            return kinds[i].name;
    return NULL;
}

bool nc_safetensors_dtype_of(nc_str name, nc_dtype *out)
{
    for (int i = 0; i < NC_COUNT(kinds); i++)
        if (nc_str_eqz(name, kinds[i].name)) {
            *out = kinds[i].dtype;
            return true;
        }
    return false;
}

static uint64_t read_u64(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

/* Reads one header entry into t; begin is its offset in the data. */
static int read_entry(const char *path, const nc_json *item, const uint8_t *data, size_t data_bytes, nc_stored *t, nc_error *e)
{
    const char *name = item->key.p;
    const nc_json *dtype = nc_json_get(item, "dtype"), *shape = nc_json_get(item, "shape"), *at = nc_json_get(item, "data_offsets");

    if (strlen(name) != item->key.n)
        return nc_fail(e, NC_EFORMAT, "%s: a tensor's name holds a NUL byte (\"%s...\"); the file is damaged, download it again", path, name);
    if (!nc_json_is(dtype, NC_JSON_STRING) || !nc_json_is(shape, NC_JSON_ARRAY) || !nc_json_is(at, NC_JSON_ARRAY) || at->count != 2)
        return nc_fail(e, NC_EFORMAT, "%s: tensor %s needs dtype, shape and two data_offsets; the header is damaged, download it again", path, name);
    if (!nc_safetensors_dtype_of(dtype->text, &t->dtype))
        return nc_fail(e, NC_EUNSUPPORTED, "%s: tensor %s has dtype %s, which is not known here; convert it to F32 or BF16", path, name, dtype->text.p);
    if (shape->count > NC_MAX_RANK)
        return nc_fail(e, NC_EUNSUPPORTED, "%s: tensor %s has %d dimensions, at most %d are supported", path, name, shape->count, NC_MAX_RANK);

    size_t bytes = (size_t)nc_dtype_get(t->dtype)->bytes;
    t->shape.rank = 0;
    NC_JSON_EACH(d, shape) {
        int64_t v;
        if (!nc_json_int_exact(d, &v) || v < 0)
            return nc_fail(e, NC_EFORMAT, "%s: tensor %s: dimension %d is no whole number >= 0", path, name, t->shape.rank);
        if (!nc_mul_size(bytes, (size_t)v, &bytes))
            return nc_fail(e, NC_EFORMAT, "%s: tensor %s: its shape overflows; the header is damaged, download it again", path, name);
        t->shape.dim[t->shape.rank++] = v;
    }
    int64_t begin, end;
    if (!nc_json_int_exact(at->first, &begin) || !nc_json_int_exact(at->first->next, &end) || begin < 0 || end < begin)
        return nc_fail(e, NC_EFORMAT, "%s: tensor %s: data_offsets must be two rising whole numbers", path, name);
    if ((uint64_t)end > data_bytes)
        return nc_fail(e, NC_EFORMAT, "%s: tensor %s ends at byte %lld of the data, the file holds %zu; it is cut short, download it again",
                       path, name, (long long)end, data_bytes);
    if ((uint64_t)(end - begin) != bytes)
        return nc_fail(e, NC_EFORMAT, "%s: tensor %s: shape and dtype want %zu bytes, data_offsets give %lld; the header is damaged, download it again",
                       path, name, bytes, (long long)(end - begin));
    t->name = name;
    t->data = data + begin;
    t->bytes = bytes;
    return 0;
}

static int by_offset(const void *a, const void *b)
{
    const nc_stored *x = a, *y = b;
    if (x->data != y->data)
        return (const char *)x->data < (const char *)y->data ? -1 : 1;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1;   /* empty tensors stand before the one that starts at the same place */
    return strcmp(x->name, y->name);
}

/* Tensors sorted by offset must fill the data: no overlap, no hole, nothing after the last. */
static int check_layout(const char *path, const nc_stored *t, int n, const uint8_t *data, size_t data_bytes, nc_error *e)
{
    const uint8_t *at = data;
    const char *before = "the header";
    for (int i = 0; i < n; i++) {
        const uint8_t *p = t[i].data;
        if (p < at)
            return nc_fail(e, NC_EFORMAT, "%s: tensor %s overlaps %s; the header is damaged, download it again", path, t[i].name, before);
        if (p > at)
            return nc_fail(e, NC_EFORMAT, "%s: %zu bytes between %s and tensor %s belong to nothing; the header is damaged, download it again",
                           path, (size_t)(p - at), before, t[i].name);
        at = p + t[i].bytes;
        before = t[i].name;
    }
    if ((size_t)(at - data) != data_bytes)
        return nc_fail(e, NC_EFORMAT, "%s: %zu bytes after tensor %s belong to nothing; the file is damaged, download it again",
                       path, data_bytes - (size_t)(at - data), before);
    return 0;
}

static int parse_header(nc_safetensors *s, struct shard *f, const nc_json **header, nc_error *e)
{
    if (f->map.n < 8)
        return nc_fail(e, NC_EFORMAT, "%s: %zu bytes are too few for a safetensors file; download it again", f->path, f->map.n);
    uint64_t n = read_u64(f->map.p);
    if (n > HEADER_LIMIT)
        return nc_fail(e, NC_ELIMIT, "%s: its header claims %llu bytes, the limit is %u; this is no safetensors file or it is damaged",
                       f->path, (unsigned long long)n, HEADER_LIMIT);
    if (n > f->map.n - 8)
        return nc_fail(e, NC_EFORMAT, "%s: its header claims %llu bytes, the file has %zu; it is cut short, download it again",
                       f->path, (unsigned long long)n, f->map.n);
    const char *text = (const char *)f->map.p + 8;
    if (n < 2 || text[0] != '{')
        return nc_fail(e, NC_EFORMAT, "%s: its header does not start with {; this is no safetensors file or it is damaged", f->path);
    nc_json *v;
    NC_TRY(nc_json_parse(s->arena, (nc_str){ text, (size_t)n }, f->path, &v, e));
    if (!nc_json_is(v, NC_JSON_OBJECT))
        return nc_fail(e, NC_EFORMAT, "%s: its header is no JSON object", f->path);
    f->data_at = 8 + (size_t)n;
    *header = v;
    return 0;
}

static nc_stored *new_tensor(nc_safetensors *s)
{
    if (s->count == s->capacity) {
        s->capacity = s->capacity ? s->capacity * 2 : 64;
        s->tensors = nc_xrealloc(s->tensors, sizeof *s->tensors * (size_t)s->capacity);
    }
    nc_stored *t = &s->tensors[s->count++];
    memset(t, 0, sizeof *t);
    return t;
}

static int open_shard(nc_safetensors *s, const char *path, nc_error *e)
{
    if (s->shard_count == s->shard_capacity) {
        s->shard_capacity = s->shard_capacity ? s->shard_capacity * 2 : 4;
        s->shards = nc_xrealloc(s->shards, sizeof *s->shards * (size_t)s->shard_capacity);
    }
    struct shard *f = &s->shards[s->shard_count];
    *f = (struct shard){ .path = nc_arena_strdup(s->arena, path) };
    NC_TRY(nc_map_file(path, &f->map, e));
    s->shard_count++;                          /* from here on close unmaps it */

    const nc_json *header = NULL;
    NC_TRY(parse_header(s, f, &header, e));
    const uint8_t *data = f->map.p + f->data_at;
    size_t data_bytes = f->map.n - f->data_at;
    int first = s->count;
    NC_JSON_EACH(item, header) {
        if (nc_str_eqz(item->key, "__metadata__")) {
            if (item->type != NC_JSON_OBJECT)
                return nc_fail(e, NC_EFORMAT, "%s: __metadata__ is no JSON object", path);
            NC_JSON_EACH(v, item)
                if (v->type != NC_JSON_STRING)
                    return nc_fail(e, NC_EFORMAT, "%s: __metadata__ key %s is no string", path, v->key.p);
            if (s->shard_count == 1)
                s->metadata = item;
            continue;
        }
        nc_stored *t = new_tensor(s);
        t->shard = s->shard_count - 1;
        NC_TRY(read_entry(path, item, data, data_bytes, t, e));
    }
    if (s->count > first)
        qsort(s->tensors + first, (size_t)(s->count - first), sizeof *s->tensors, by_offset);
    NC_TRY(check_layout(path, s->tensors + first, s->count - first, data, data_bytes, e));
    for (int i = first; i < s->count; i++) {
        int64_t other;
        if (nc_map_get(s->by_name, nc_str_of(s->tensors[i].name), &other))
            return nc_fail(e, NC_EFORMAT, "%s: tensor %s is also in %s; remove one of the files", path, s->tensors[i].name,
                           s->shards[s->tensors[other].shard].path);
        nc_map_set(s->by_name, nc_str_of(s->tensors[i].name), i);
    }
    s->bytes += data_bytes;
    return 0;
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Opens every file the index names, in the order of their names, and checks that each tensor lies where it says. */
static int open_index(nc_safetensors *s, const char *path, nc_error *e)
{
    if (nc_file_size(path) > INDEX_LIMIT)
        return nc_fail(e, NC_ELIMIT, "%s: larger than %u bytes; this is no index", path, INDEX_LIMIT);
    nc_json *v;
    NC_TRY(nc_json_load(s->arena, path, &v, e));
    const nc_json *weights = nc_json_get(v, "weight_map");
    if (!nc_json_is(weights, NC_JSON_OBJECT) || weights->count == 0)
        return nc_fail(e, NC_EFORMAT, "%s: has no weight_map; download it again", path);

    nc_map *names = nc_map_new(16);
    int code = 0;
    NC_JSON_EACH(item, weights) {
        if (item->type != NC_JSON_STRING || item->text.n == 0 || memchr(item->text.p, '/', item->text.n) || memchr(item->text.p, 0, item->text.n)) {
            code = nc_fail(e, NC_EFORMAT, "%s: weight_map of %s is no file name in the same folder", path, item->key.p);
            break;
        }
        nc_map_set(names, item->text, 0);
    }
    int files = (int)nc_map_count(names);
    char **sorted = NC_NEW_ARRAY(s->arena, char *, files + 1);
    for (int i = 0; i < files; i++) {
        nc_str k = nc_map_key(names, (size_t)i);
        sorted[i] = nc_arena_strndup(s->arena, k.p, k.n);
    }
    nc_map_free(names);
    qsort(sorted, (size_t)files, sizeof *sorted, by_text);
    const char *folder = nc_path_dir(s->arena, path);
    for (int i = 0; code == 0 && i < files; i++)
        code = open_shard(s, nc_path_join(s->arena, folder, sorted[i]), e);
    NC_TRY(code);
    NC_JSON_EACH(item, weights) {
        const nc_stored *t = nc_safetensors_find(s, item->key.p);
        if (!t || strcmp(nc_path_base(s->shards[t->shard].path), item->text.p) != 0)
            return nc_fail(e, NC_ENOTFOUND, "%s: tensor %s is not in %s, where the index says; download the folder again", path, item->key.p, item->text.p);
    }
    return 0;
}

static int open_any(nc_safetensors *s, const char *path, nc_error *e)
{
    static const char *const usual[] = {
        "model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors",
        "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.safetensors.index.json",
    };
    if (nc_is_dir(path)) {
        for (int i = 0; i < NC_COUNT(usual); i++) {
            char *file = nc_path_join(s->arena, path, usual[i]);
            if (nc_file_exists(file))
                return nc_ends_with(file, ".json") ? open_index(s, file, e) : open_shard(s, file, e);
        }
        return nc_fail(e, NC_ENOTFOUND, "%s: holds neither model.safetensors nor model.safetensors.index.json", path);
    }
    return nc_ends_with(path, ".json") ? open_index(s, path, e) : open_shard(s, path, e);
}

int nc_safetensors_open(const char *path, nc_safetensors **out, nc_error *e)
{
    nc_safetensors *s = nc_xcalloc(1, sizeof *s);
    s->arena = nc_arena_new();
    s->by_name = nc_map_new(256);
    int code = open_any(s, path, e);
    if (code < 0) {
        nc_safetensors_close(s);
        s = NULL;
    }
    *out = s;
    return code;
}

void nc_safetensors_close(nc_safetensors *s)
{
    if (!s)
        return;
    for (int i = 0; i < s->shard_count; i++)
        nc_unmap_file(&s->shards[i].map);
    free(s->shards);
    free(s->tensors);
    nc_map_free(s->by_name);
    nc_arena_free(s->arena);
    free(s);
}

int nc_safetensors_count(const nc_safetensors *s) { return s->count; }
const nc_json *nc_safetensors_metadata(const nc_safetensors *s) { return s->metadata; }
int nc_safetensors_files(const nc_safetensors *s) { return s->shard_count; }
size_t nc_safetensors_bytes(const nc_safetensors *s) { return s->bytes; }

const nc_stored *nc_safetensors_at(const nc_safetensors *s, int i)
{
    return i >= 0 && i < s->count ? &s->tensors[i] : NULL;
}

const nc_stored *nc_safetensors_find(const nc_safetensors *s, const char *name)
{
    int64_t i;
    return nc_map_get(s->by_name, nc_str_of(name), &i) ? &s->tensors[i] : NULL;
}

const char *nc_safetensors_file(const nc_safetensors *s, int shard)
{
    return shard >= 0 && shard < s->shard_count ? s->shards[shard].path : NULL;
}

void nc_safetensors_advise(const nc_safetensors *s, const void *p, size_t n, nc_advice advice)
{
    for (int i = 0; i < s->shard_count; i++)
        if (nc_stored_advise(&s->shards[i].map, p, n, advice))
            return;
}

bool nc_safetensors_place(const nc_safetensors *s, const void *p, size_t n, int *fd, uint64_t *offset)
{
    for (int i = 0; i < s->shard_count; i++)
        if (nc_stored_place(&s->shards[i].map, p, n, fd, offset))
            return true;
    return false;
}

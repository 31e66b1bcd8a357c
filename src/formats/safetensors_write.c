/* safetensors_write.c - the writer: one file, or shards with an index, in the reference's byte layout.
 *
 *   u64 header length | {"__metadata__":{...},"name":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},...} | spaces to 8 | data
 *
 * Within a file tensors are sorted by the rank of their dtype, wide ones first, then by name (bytes): every tensor is then
 * aligned to its element size. Files go through nc_writer, so that a killed or failed save leaves the old files.
 */
#include "base/file.h"
#include "formats/safetensors.h"
#include <stdlib.h>
#include <string.h>

#define MAX_SHARDS 99999

struct item { const nc_store *t; int index; size_t bytes; int rank; };

/* Position in the reference's enumeration of dtypes. */
static int dtype_rank(const char *name)
{
    static const char *const order[] = { "BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "I16", "F16", "BF16", "I32", "F32", "F64", "I64" };
    for (int i = 0; i < NC_COUNT(order); i++)
        if (strcmp(order[i], name) == 0)
            return i;
    return -1;
}

static int by_rank_and_name(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    if (x->rank != y->rank)
        return x->rank > y->rank ? -1 : 1;
    return strcmp(x->t->name, y->t->name);
}

static int check(const char *path, const nc_store *t, int index, struct item *out, nc_error *e)
{
    const char *dtype = nc_safetensors_dtype_name(t->dtype);
    if (!t->name || !*t->name || strcmp(t->name, "__metadata__") == 0 || !nc_utf8_valid(nc_str_of(t->name)))
        return nc_fail(e, NC_EINVAL, "%s: tensor %d needs a name of valid UTF-8", path, index);
    if (!dtype)
        return nc_fail(e, NC_EUNSUPPORTED, "%s: tensor %s has a dtype that safetensors cannot hold; save it as F32 or BF16, or write GGUF", path, t->name);
    if (t->shape.rank < 0 || t->shape.rank > NC_MAX_RANK)
        return nc_fail(e, NC_EINVAL, "%s: tensor %s has %d dimensions, at most %d are supported", path, t->name, t->shape.rank, NC_MAX_RANK);
    size_t bytes = (size_t)nc_dtype_get(t->dtype)->bytes;
    for (int i = 0; i < t->shape.rank; i++)
        if (t->shape.dim[i] < 0 || !nc_mul_size(bytes, (size_t)t->shape.dim[i], &bytes))
            return nc_fail(e, NC_EINVAL, "%s: tensor %s: its shape is negative or overflows", path, t->name);
    *out = (struct item){ t, index, bytes, dtype_rank(dtype) };
    return 0;
}

static void add_header(nc_buf *b, const struct item *items, int n, const nc_json *metadata)
{
    uint64_t at = 0;
    bool comma = !metadata || metadata->first;
    nc_buf_adds(b, metadata ? comma ? "{\"__metadata__\":{" : "{" : "{\"__metadata__\":{\"format\":\"pt\"");
    NC_JSON_EACH(m, metadata) {
        if (m != metadata->first)
            nc_buf_addc(b, ',');
        nc_buf_json_string(b, m->key);
        nc_buf_addc(b, ':');
        nc_buf_json_string(b, m->text);
    }
    if (comma)
        nc_buf_addc(b, '}');
    for (int i = 0; i < n; i++) {
        const nc_store *t = items[i].t;
        if (comma || i)
            nc_buf_addc(b, ',');
        nc_buf_json_string(b, nc_str_of(t->name));
        nc_buf_printf(b, ":{\"dtype\":\"%s\",\"shape\":[", nc_safetensors_dtype_name(t->dtype));
        for (int d = 0; d < t->shape.rank; d++)
            nc_buf_printf(b, "%s%lld", d ? "," : "", (long long)t->shape.dim[d]);
        nc_buf_printf(b, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)at, (unsigned long long)(at + items[i].bytes));
        at += items[i].bytes;
    }
    nc_buf_addc(b, '}');
    while (b->n % 8)
        nc_buf_addc(b, ' ');
}

static int add_data(nc_writer *w, const char *path, const struct item *item, void *piece, nc_store_fill *fill, void *context, nc_error *e)
{
    if (item->t->data || item->bytes == 0) {
        if (item->bytes)
            nc_writer_add(w, item->t->data, item->bytes);
        return 0;
    }
    if (!fill)
        return nc_fail(e, NC_EINVAL, "%s: tensor %s has neither data nor a function that gives it", path, item->t->name);
    size_t most = nc_store_piece(item->t->dtype);
    for (size_t at = 0; at < item->bytes; at += most) {
        size_t n = item->bytes - at < most ? item->bytes - at : most;
        NC_TRY(fill(context, item->index, at, piece, n, e));
        nc_writer_add(w, piece, n);
    }
    return 0;
}

/* items are sorted in place. */
static int write_file(const char *path, struct item *items, int n, const nc_json *metadata, nc_store_fill *fill, void *context, nc_error *e)
{
    if (n)
        qsort(items, (size_t)n, sizeof *items, by_rank_and_name);
    for (int i = 1; i < n; i++)
        if (strcmp(items[i - 1].t->name, items[i].t->name) == 0)
            return nc_fail(e, NC_EINVAL, "%s: two tensors are named %s", path, items[i].t->name);
    nc_buf header = { 0 };
    add_header(&header, items, n, metadata);
    nc_writer *w;
    int code = nc_writer_open(path, &w, e);
    if (code < 0) {
        nc_buf_free(&header);
        return code;
    }
    uint8_t length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)((uint64_t)header.n >> (8 * i));
    nc_writer_add(w, length, 8);
    nc_writer_add(w, header.p, header.n);
    nc_buf_free(&header);
    void *piece = nc_xmalloc((size_t)1 << 20);
    for (int i = 0; code == 0 && i < n; i++)
        code = add_data(w, path, &items[i], piece, fill, context, e);
    free(piece);
    if (code < 0) {
        nc_writer_abandon(w);
        return code;
    }
    return nc_writer_commit(w, e);
}

static int check_all(const char *path, const nc_store *tensors, int count, const nc_json *metadata, struct item **out, nc_error *e)
{
    *out = NULL;
    NC_JSON_EACH(m, metadata)
        if (m->type != NC_JSON_STRING)
            return nc_fail(e, NC_EINVAL, "%s: metadata %s must be a string", path, m->key.p);
    struct item *items = nc_xcalloc((size_t)count + 1, sizeof *items);
    for (int i = 0; i < count; i++) {
        int code = check(path, &tensors[i], i, &items[i], e);
        if (code < 0) {
            free(items);
            return code;
        }
    }
    *out = items;
    return 0;
}

int nc_safetensors_write(const char *path, const nc_store *tensors, int count, const nc_json *metadata,
                         nc_store_fill *fill, void *context, nc_error *e)
{
    struct item *items;
    NC_TRY(check_all(path, tensors, count, metadata, &items, e));
    int code = write_file(path, items, count, metadata, fill, context, e);
    free(items);
    return code;
}

/* first[k] is the first tensor of shard k, first[shards] = count. A tensor larger than the limit has a shard of its own. */
static int cut_shards(const struct item *items, int count, uint64_t limit, int *first)
{
    int shards = 0;
    uint64_t held = 0;
    for (int i = 0; i < count; i++) {
        if (i == 0 || (limit && held + items[i].bytes > limit && held > 0)) {
            first[shards++] = i;
            held = 0;
        }
        held += items[i].bytes;
    }
    if (shards == 0)
        first[shards++] = 0;
    first[shards] = count;
    return shards;
}

struct place { const char *name; int shard; };
static int by_place_name(const void *a, const void *b) { return strcmp(((const struct place *)a)->name, ((const struct place *)b)->name); }

/* {"metadata": {"total_size": N}, "weight_map": {name: file}} with sorted names, as save_pretrained writes it. */
static int write_index(const char *path, const char *stem, struct place *places, int count, int shards, uint64_t total, nc_error *e)
{
    qsort(places, (size_t)count, sizeof *places, by_place_name);
    nc_buf b = { 0 };
    nc_buf_printf(&b, "{\n  \"metadata\": {\n    \"total_size\": %llu\n  },\n  \"weight_map\": {", (unsigned long long)total);
    for (int i = 0; i < count; i++) {
        nc_buf_adds(&b, i ? ",\n    " : "\n    ");
        nc_buf_json_string(&b, nc_str_of(places[i].name));
        nc_buf_printf(&b, ": \"%s-%05d-of-%05d.safetensors\"", stem, places[i].shard + 1, shards);
    }
    nc_buf_adds(&b, "\n  }\n}\n");
    int code = nc_file_write(path, b.p, b.n, e);
    nc_buf_free(&b);
    return code;
}

/* Removes what an earlier save under this stem left and the new one did not write. */
static int remove_stale(nc_arena *a, const char *folder, const char *stem, int shards, nc_error *e)
{
    char **names;
    int count;
    NC_TRY(nc_list_dir(a, folder, &names, &count, e));
    const char *pattern = nc_arena_printf(a, "%s-*-of-*.safetensors", stem);
    const char *keep = nc_arena_printf(a, "-of-%05d.safetensors", shards);
    for (int i = 0; i < count; i++) {
        bool stale = nc_glob(pattern, names[i]) && (shards == 1 || !nc_ends_with(names[i], keep));
        if (strcmp(names[i], nc_arena_printf(a, "%s.safetensors", stem)) == 0)
            stale = shards > 1;
        if (strcmp(names[i], nc_arena_printf(a, "%s.safetensors.index.json", stem)) == 0)
            stale = shards == 1;
        if (stale)
            NC_TRY(nc_remove_tree(nc_path_join(a, folder, names[i]), e));
    }
    return 0;
}

static int write_shards(nc_arena *a, const char *folder, const char *stem, struct item *items, int count, const int *first, int shards,
                        const nc_json *metadata, nc_store_fill *fill, void *context, nc_error *e)
{
    if (shards == 1) {
        NC_TRY(write_file(nc_path_join(a, folder, nc_arena_printf(a, "%s.safetensors", stem)), items, count, metadata, fill, context, e));
        return remove_stale(a, folder, stem, 1, e);
    }
    struct place *places = NC_NEW_ARRAY(a, struct place, count);
    uint64_t total = 0;
    for (int k = 0; k < shards; k++) {
        for (int i = first[k]; i < first[k + 1]; i++) {
            places[i] = (struct place){ items[i].t->name, k };
            total += items[i].bytes;
        }
        char *path = nc_path_join(a, folder, nc_arena_printf(a, "%s-%05d-of-%05d.safetensors", stem, k + 1, shards));
        NC_TRY(write_file(path, items + first[k], first[k + 1] - first[k], metadata, fill, context, e));
    }
    char *index = nc_path_join(a, folder, nc_arena_printf(a, "%s.safetensors.index.json", stem));
    NC_TRY(write_index(index, stem, places, count, shards, total, e));
    return remove_stale(a, folder, stem, shards, e);
}

int nc_safetensors_write_folder(const char *folder, const char *stem, const nc_store *tensors, int count, const nc_json *metadata,
                                uint64_t max_shard_bytes, nc_store_fill *fill, void *context, nc_error *e)
{
    struct item *items;
    NC_TRY(nc_mkdirs(folder, e));
    NC_TRY(check_all(folder, tensors, count, metadata, &items, e));
    nc_arena *a = nc_arena_new();
    int *first = NC_NEW_ARRAY(a, int, count + 2);
    int shards = cut_shards(items, count, max_shard_bytes, first), code;
    if (shards > MAX_SHARDS)
        code = nc_fail(e, NC_ELIMIT, "%s: a shard limit of %llu bytes gives %d files, at most %d are supported; raise it",
                       folder, (unsigned long long)max_shard_bytes, shards, MAX_SHARDS);
    else
        code = write_shards(a, folder, stem, items, count, first, shards, metadata, fill, context, e);
    nc_arena_free(a);
    free(items);
    return code;
}

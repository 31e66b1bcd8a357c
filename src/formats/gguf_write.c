/* gguf_write.c - the writer, version 3: header, metadata, infos, padding, then each tensor padded to 32 bytes.
 * Offsets follow from the sizes, so the file is written in one pass through nc_writer. */
#include "formats/gguf_types.h"
#include "base/map.h"
#include <stdlib.h>

#define ALIGNMENT 32
#define NAME_LIMIT 63                          /* GGML_MAX_NAME less its NUL */
#define RANK_LIMIT 4                           /* GGML_MAX_DIMS */

struct nc_gguf_meta { nc_map *index; nc_buf *values; int count, capacity; };   /* values[i]: u32 type and payload of key i */

static void add_le(nc_buf *b, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        nc_buf_addc(b, (char)(v >> (8 * i)));
}

static void add_string(nc_buf *b, nc_str s)
{
    add_le(b, s.n, 8);
    nc_buf_add(b, s.p, s.n);
}

nc_gguf_meta *nc_gguf_meta_new(void)
{
    nc_gguf_meta *m = nc_xcalloc(1, sizeof *m);
    m->index = nc_map_new(32);
    return m;
}

void nc_gguf_meta_free(nc_gguf_meta *m)
{
    if (!m)
        return;
    for (int i = 0; i < m->count; i++)
        nc_buf_free(&m->values[i]);
    free(m->values);
    nc_map_free(m->index);
    free(m);
}

/* The empty buffer of a key, its old value forgotten. */
static nc_buf *slot(nc_gguf_meta *m, const char *key)
{
    int64_t i;
    if (nc_map_get(m->index, nc_str_of(key), &i)) {
        nc_buf_clear(&m->values[i]);
        return &m->values[i];
    }
    if (m->count == m->capacity) {
        m->capacity = m->capacity ? m->capacity * 2 : 32;
        m->values = nc_xrealloc(m->values, sizeof *m->values * (size_t)m->capacity);
    }
    nc_map_set(m->index, nc_str_of(key), m->count);
    m->values[m->count] = (nc_buf){ 0 };
    return &m->values[m->count++];
}

static void add_real(nc_buf *b, nc_gguf_type type, double v)
{
    uint64_t bits = 0;
    float f = (float)v;
    uint32_t low;
    if (type == NC_GGUF_F32) {
        memcpy(&low, &f, sizeof low);
        bits = low;
    } else
        memcpy(&bits, &v, sizeof bits);
    add_le(b, bits, (int)nc_gguf_type_bytes(type));
}

void nc_gguf_set_int(nc_gguf_meta *m, const char *key, nc_gguf_type type, int64_t v)
{
    nc_buf *b = slot(m, key);
    add_le(b, type, 4);
    add_le(b, (uint64_t)v, (int)nc_gguf_type_bytes(type));
}

void nc_gguf_set_float(nc_gguf_meta *m, const char *key, nc_gguf_type type, double v)
{
    nc_buf *b = slot(m, key);
    add_le(b, type, 4);
    add_real(b, type, v);
}

void nc_gguf_set_string(nc_gguf_meta *m, const char *key, nc_str v)
{
    nc_buf *b = slot(m, key);
    add_le(b, NC_GGUF_STRING, 4);
    add_string(b, v);
}

void nc_gguf_set_strings(nc_gguf_meta *m, const char *key, const nc_str *v, int64_t n)
{
    nc_buf *b = slot(m, key);
    add_le(b, NC_GGUF_ARRAY, 4);
    add_le(b, NC_GGUF_STRING, 4);
    add_le(b, (uint64_t)n, 8);
    for (int64_t i = 0; i < n; i++)
        add_string(b, v[i]);
}

static void add_numbers(nc_buf *b, nc_gguf_type item, const void *packed, int64_t n)
{
    add_le(b, item, 4);
    add_le(b, (uint64_t)n, 8);
    nc_buf_add(b, packed, (size_t)n * nc_gguf_type_bytes(item));   /* every supported machine is little endian */
}

void nc_gguf_set_numbers(nc_gguf_meta *m, const char *key, nc_gguf_type item, const void *packed, int64_t n)
{
    nc_buf *b = slot(m, key);
    add_le(b, NC_GGUF_ARRAY, 4);
    add_numbers(b, item, packed, n);
}

/* The payload of v without its type; a read value nests at most 4 deep. */
static void add_value(nc_buf *b, const nc_gguf_value *v)
{
    if (v->type == NC_GGUF_STRING)
        add_string(b, v->s);
    else if (v->type == NC_GGUF_F32 || v->type == NC_GGUF_F64)
        add_real(b, v->type, v->f);
    else if (v->type != NC_GGUF_ARRAY)
        add_le(b, (uint64_t)v->i, (int)nc_gguf_type_bytes(v->type));
    else if (nc_gguf_type_bytes(v->item))
        add_numbers(b, v->item, v->numbers, v->count);
    else {
        add_le(b, v->item, 4);
        add_le(b, (uint64_t)v->count, 8);
        for (int64_t i = 0; i < v->count; i++)
            v->item == NC_GGUF_STRING ? add_string(b, v->strings[i]) : add_value(b, &v->arrays[i]);
    }
}

void nc_gguf_set_value(nc_gguf_meta *m, const char *key, const nc_gguf_value *v)
{
    nc_buf *b = slot(m, key);
    add_le(b, v->type, 4);
    add_value(b, v);
}

static int check_tensor(const char *path, const nc_store *t, size_t *bytes, nc_error *e)
{
    if (!t->name || !*t->name || strlen(t->name) > NAME_LIMIT)
        return nc_fail(e, NC_EINVAL, "%s: tensor name \"%s\" must have 1 to %d bytes, as ggml has", path, t->name ? t->name : "", NAME_LIMIT);
    if (!nc_ggml_type_for(t->dtype))
        return nc_fail(e, NC_EUNSUPPORTED, "%s: tensor %s: GGUF cannot hold %s; convert it to F16 or BF16", path, t->name,
                       (unsigned)t->dtype < NC_DTYPES ? nc_dtype_name(t->dtype) : "this dtype");
    if (t->shape.rank > RANK_LIMIT)
        return nc_fail(e, NC_ESHAPE, "%s: tensor %s has %d dimensions, ggml at most %d; fold some together", path, t->name, t->shape.rank, RANK_LIMIT);
    int code = nc_shape_bytes(&t->shape, t->dtype, bytes);
    if (code < 0)
        return nc_fail(e, code, "%s: tensor %s: rows of %lld do not fill %s blocks of %d, or its size overflows; keep it in F16", path, t->name,
                       (long long)nc_shape_last(&t->shape), nc_dtype_name(t->dtype), nc_dtype_get(t->dtype)->block);
    return 0;
}

static int add_infos(nc_buf *b, const char *path, const nc_store *tensors, int count, nc_error *e)
{
    uint64_t at = 0;
    nc_map *seen = nc_map_new((size_t)count);
    int code = 0;
    for (int i = 0; i < count && code == 0; i++) {
        const nc_store *t = &tensors[i];
        size_t bytes = 0;
        code = check_tensor(path, t, &bytes, e);
        if (code == 0 && !nc_map_set(seen, nc_str_of(t->name), i))
            code = nc_fail(e, NC_EINVAL, "%s: two tensors are named %s", path, t->name);
        if (code < 0)
            break;
        int rank = t->shape.rank ? t->shape.rank : 1;              /* ggml has no scalars: one of length 1 */
        add_string(b, nc_str_of(t->name));
        add_le(b, (uint64_t)rank, 4);
        for (int d = rank - 1; d >= 0; d--)
            add_le(b, t->shape.rank ? (uint64_t)t->shape.dim[d] : 1, 8);
        add_le(b, (uint64_t)nc_ggml_type_for(t->dtype)->id, 4);
        add_le(b, at, 8);
        at += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    nc_map_free(seen);
    return code;
}

static void pad(nc_writer *w)
{
    static const char zeros[ALIGNMENT];
    nc_writer_add(w, zeros, (size_t)(-nc_writer_offset(w) % ALIGNMENT));
}

static int add_data(nc_writer *w, const char *path, const nc_store *t, int index, void *piece, nc_store_fill *fill, void *context, nc_error *e)
{
    size_t bytes, most = nc_store_piece(t->dtype);
    NC_TRY(check_tensor(path, t, &bytes, e));
    if (t->data)
        nc_writer_add(w, t->data, bytes);
    else if (bytes && !fill)
        return nc_fail(e, NC_EINVAL, "%s: tensor %s has neither data nor a function that gives it", path, t->name);
    for (size_t at = 0; !t->data && at < bytes; at += most) {
        size_t n = bytes - at < most ? bytes - at : most;
        NC_TRY(fill(context, index, at, piece, n, e));
        nc_writer_add(w, piece, n);
    }
    pad(w);
    return 0;
}

static int write_all(nc_writer *w, const char *path, const nc_gguf_meta *meta, const nc_store *tensors, int count,
                     nc_store_fill *fill, void *context, nc_error *e)
{
    nc_buf b = { 0 };
    int keys = meta ? meta->count : 0;
    nc_buf_adds(&b, "GGUF");
    add_le(&b, 3, 4);
    add_le(&b, (uint64_t)count, 8);
    add_le(&b, (uint64_t)keys, 8);
    for (int i = 0; i < keys; i++) {
        add_string(&b, nc_map_key(meta->index, (size_t)i));
        nc_buf_add(&b, meta->values[i].p, meta->values[i].n);
    }
    int code = add_infos(&b, path, tensors, count, e);
    nc_writer_add(w, b.p, b.n);
    nc_buf_free(&b);
    pad(w);
    void *piece = nc_xmalloc((size_t)1 << 20);
    for (int i = 0; i < count && code == 0; i++)
        code = add_data(w, path, &tensors[i], i, piece, fill, context, e);
    free(piece);
    return code;
}

int nc_gguf_write(const char *path, const nc_gguf_meta *meta, const nc_store *tensors, int count,
                  nc_store_fill *fill, void *context, nc_error *e)
{
    int64_t i;
    if (meta && nc_map_get(meta->index, NC_STR("general.alignment"), &i))
        return nc_fail(e, NC_EINVAL, "%s: general.alignment is fixed at %d here; leave the key out", path, ALIGNMENT);
    nc_writer *w;
    NC_TRY(nc_writer_open(path, &w, e));
    int code = write_all(w, path, meta, tensors, count, fill, context, e);
    if (code < 0) {
        nc_writer_abandon(w);
        return code;
    }
    return nc_writer_commit(w, e);
}

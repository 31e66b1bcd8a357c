/* gathered.c - see gathered.h. */
#include "load/gathered.h"

#include <stdlib.h>

/* Whether every run of the part is whole blocks of type in both orders. */
static bool keeps_blocks(const nc_gguf_part *p, nc_dtype type)
{
    const int64_t block = nc_dtype_get(type)->block;
    bool whole = p->stride[3] == 1 && p->dim[3] % block == 0 && p->first % block == 0 && p->offset % block == 0;
    for (int k = 0; k < 3; k++)
        whole = whole && (p->dim[k] == 1 || p->stride[k] % block == 0);
    return whole;
}

void nc_gathered_source(nc_arena *a, const nc_gguf_home *p, const nc_stored *const *t, int64_t count, nc_source *out)
{
    const nc_dtype type = t[0]->dtype;
    *out = (nc_source){ .dtype = type, .data = t[0]->data, .bytes = nc_dtype_bytes(type, count), .name = t[0]->name, .fd = -1 };
    if (nc_gguf_is_plain(p, count) && p->part[0].first % nc_dtype_get(type)->block == 0) {
        out->data = (const char *)t[0]->data + nc_dtype_bytes(type, p->part[0].first);
        return;
    }
    struct nc_gathered *g = NC_NEW(a, struct nc_gathered);
    bool whole = p->change == NC_GGUF_SAME;
    *g = (struct nc_gathered){ .place = *p, .count = count };
    for (int i = 0; i < p->count; i++) {
        g->tensor[i] = t[i];
        whole = whole && (!t[i] || (t[i]->dtype == type && keeps_blocks(&p->part[i], type)));
    }
    out->dtype = whole ? type : NC_F32;
    out->bytes = nc_dtype_bytes(out->dtype, count);
    out->gathered = g;
}

/* Values [at, at + n) of a tensor as f32: whole blocks are read around them. */
static void some_values(const nc_stored *t, int64_t at, int64_t n, float *room, float **values)
{
    const int64_t block = nc_dtype_get(t->dtype)->block, from = at / block * block, all = nc_shape_count(&t->shape);
    int64_t to = (at + n + block - 1) / block * block;
    to = to < all ? to : all;
    nc_values_to_f32(t->dtype, (const char *)t->data + nc_dtype_bytes(t->dtype, from), to - from, room);
    *values = room + (at - from);
}

static void gather_run(const nc_source *s, const nc_stored *t, int64_t at, int64_t n, int64_t to, int64_t step, float *room, void *out)
{
    float *values;
    if (s->dtype == t->dtype && step == 1 && s->gathered->place.change == NC_GGUF_SAME) {
        memcpy((char *)out + nc_dtype_bytes(s->dtype, to), (const char *)t->data + nc_dtype_bytes(t->dtype, at), nc_dtype_bytes(t->dtype, n));
        return;
    }
    some_values(t, at, n, room, &values);
    for (int64_t i = 0; i < n; i++)
        ((float *)out)[to + i * step] = nc_gguf_restored(s->gathered->place.change, values[i]);
}

void nc_source_gather(const nc_source *s, void *out)
{
    const struct nc_gathered *g = s->gathered;
    memset(out, 0, nc_dtype_bytes(s->dtype, g->count));
    for (int k = 0; k < g->place.count; k++) {
        const nc_gguf_part *p = &g->place.part[k];
        if (!g->tensor[k])                               /* beside the file, and not there: zeros */
            continue;
        float *room = nc_xmalloc(((size_t)p->dim[3] + 128) * sizeof *room);
        int64_t at = p->first;
        for (int64_t i = 0; i < p->dim[0]; i++)
            for (int64_t j = 0; j < p->dim[1]; j++)
                for (int64_t l = 0; l < p->dim[2]; l++, at += p->dim[3])
                    gather_run(s, g->tensor[k], at, p->dim[3], p->offset + i * p->stride[0] + j * p->stride[1] + l * p->stride[2], p->stride[3], room, out);
        free(room);
    }
}

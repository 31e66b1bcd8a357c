/* aligned.c - edits of text that keep, for every byte, the range of the original it came from. */
#include "text/aligned.h"

#include <stdlib.h>
#include <string.h>

static void reserve(nc_aligned *t, size_t more)
{
    if (t->n + more <= t->capacity && (!t->aligned || t->from))
        return;
    size_t capacity = t->capacity ? t->capacity : 256;
    while (capacity < t->n + more)
        capacity *= 2;
    t->p = nc_xrealloc(t->p, capacity);
    if (t->aligned || t->from) {
        t->from = nc_xrealloc(t->from, capacity * sizeof *t->from);
        t->to = nc_xrealloc(t->to, capacity * sizeof *t->to);
    }
    t->capacity = capacity;
}

void nc_aligned_set(nc_aligned *t, nc_str original, uint32_t base, bool aligned)
{
    t->n = 0;
    t->base = base;
    t->aligned = aligned;
    reserve(t, original.n + 1);
    if (original.n)
        memcpy(t->p, original.p, original.n);
    t->n = original.n;
    if (!aligned)
        return;
    for (size_t i = 0; i < t->n;) {
        size_t end = i + 1;
        while (end < t->n && ((unsigned char)t->p[end] & 0xc0) == 0x80)
            end++;
        for (size_t k = i; k < end; k++) {
            t->from[k] = base + (uint32_t)i;
            t->to[k] = base + (uint32_t)end;
        }
        i = end;
    }
}

void nc_aligned_free(nc_aligned *t)
{
    free(t->p);
    free(t->from);
    free(t->to);
    *t = (nc_aligned){ 0 };
}

void nc_aligned_swap(nc_aligned *a, nc_aligned *b)
{
    nc_aligned t = *a;
    *a = *b;
    *b = t;
}

nc_edit nc_edit_begin(const nc_aligned *in, nc_aligned *out)
{
    out->n = 0;
    out->base = in->base;
    out->aligned = in->aligned;
    reserve(out, in->n + 1);
    return (nc_edit){ in, out, 0 };
}

static size_t next_length(const nc_edit *e)
{
    if (e->at >= e->in->n)
        return 0;
    size_t end = e->at + 1;
    while (end < e->in->n && ((unsigned char)e->in->p[end] & 0xc0) == 0x80)
        end++;
    return end - e->at;
}

static void write(nc_edit *e, nc_str text, uint32_t from, uint32_t to)
{
    nc_aligned *out = e->out;
    reserve(out, text.n);
    if (text.n)
        memcpy(out->p + out->n, text.p, text.n);
    for (size_t i = 0; out->aligned && i < text.n; i++) {
        out->from[out->n + i] = from;
        out->to[out->n + i] = to;
    }
    out->n += text.n;
}

void nc_edit_put(nc_edit *e, uint32_t c, int change)
{
    char bytes[4];
    nc_str text = { bytes, (size_t)nc_utf8_encode(c, bytes) };
    uint32_t from = e->in->base, to = e->in->base;
    size_t source = change > 0 ? e->at - 1 : e->at;
    if (e->in->aligned && (change <= 0 || e->at > 0) && source < e->in->n) {
        from = e->in->from[source];
        to = e->in->to[source];
    }
    for (int k = change; k <= 0; k++)
        e->at += next_length(e);
    write(e, text, from, to);
}

void nc_edit_keep(nc_edit *e, size_t bytes)
{
    nc_aligned *out = e->out;
    if (bytes > e->in->n - e->at)
        bytes = e->in->n - e->at;
    reserve(out, bytes);
    if (bytes)
        memcpy(out->p + out->n, e->in->p + e->at, bytes);
    if (out->aligned && bytes) {
        memcpy(out->from + out->n, e->in->from + e->at, bytes * sizeof *out->from);
        memcpy(out->to + out->n, e->in->to + e->at, bytes * sizeof *out->to);
    }
    out->n += bytes;
    e->at += bytes;
}

void nc_edit_skip(nc_edit *e, size_t bytes)
{
    e->at += bytes < e->in->n - e->at ? bytes : e->in->n - e->at;
}

void nc_edit_replace(nc_edit *e, size_t bytes, nc_str text)
{
    uint32_t from = 0, to = 0;
    if (bytes && e->in->aligned) {
        from = e->in->from[e->at + bytes - 1];
        to = e->in->to[e->at + bytes - 1];
    }
    nc_edit_skip(e, bytes);
    write(e, text, from, to);
}

void nc_edit_prepend(nc_edit *e, nc_str text)
{
    bool any = e->at < e->in->n && e->in->aligned;
    write(e, text, any ? e->in->from[e->at] : 0, any ? e->in->to[e->at] : 0);
}

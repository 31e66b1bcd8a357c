/* batch.c - named tables, counts and spans of one step. A handful of names, so a linear search is the right map. */
#include "nn/batch.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"

enum { MAX_TABLES = 64, MAX_NAME = 48 };

struct table { char name[MAX_NAME]; nc_tensor view; void *own; size_t own_bytes; bool live; };
struct count { char name[MAX_NAME]; int64_t n; };
struct spans { char name[MAX_NAME]; nc_span *span; int count, capacity; bool live; };

struct nc_batch {
    struct table table[MAX_TABLES];
    struct count count[MAX_TABLES];
    struct spans spans[MAX_TABLES];
    int tables, counts, span_lists;
    char part[16];
};

nc_batch *nc_batch_new(void)
{
    return nc_xcalloc(1, sizeof(nc_batch));
}

void nc_batch_free(nc_batch *b)
{
    if (!b)
        return;
    for (int i = 0; i < b->tables; i++)
        free(b->table[i].own);
    for (int i = 0; i < b->span_lists; i++)
        free(b->spans[i].span);
    free(b);
}

void nc_batch_reset(nc_batch *b)
{
    for (int i = 0; i < b->tables; i++)
        b->table[i].live = false;
    for (int i = 0; i < b->span_lists; i++) {
        b->spans[i].live = false;
        b->spans[i].count = 0;
    }
    b->counts = 0;
    b->part[0] = 0;
}

static void set_name(char to[MAX_NAME], const char *name)
{
    size_t n = strlen(name);
    if (n >= MAX_NAME)
        n = MAX_NAME - 1;
    memcpy(to, name, n);
    to[n] = 0;
}

void nc_batch_part(nc_batch *b, const char *part)
{
    snprintf(b->part, sizeof b->part, "%s", part);
}

/* The name with the part's before it. */
static const char *full_name(const nc_batch *b, const char *name, char out[MAX_NAME])
{
    if (!b->part[0])
        return name;
    snprintf(out, MAX_NAME, "%s%s", b->part, name);
    return out;
}

int64_t nc_batch_count(const nc_batch *b, const char *name)
{
    char full[MAX_NAME];
    name = full_name(b, name, full);
    for (int i = 0; i < b->counts; i++)
        if (!strcmp(b->count[i].name, name))
            return b->count[i].n;
    return -1;
}

const char *nc_batch_count_name(const nc_batch *b, int i)
{
    return i >= 0 && i < b->counts ? b->count[i].name : NULL;
}

void nc_batch_set_count(nc_batch *b, const char *name, int64_t n)
{
    char full[MAX_NAME];
    name = full_name(b, name, full);
    for (int i = 0; i < b->counts; i++)
        if (!strcmp(b->count[i].name, name)) {
            b->count[i].n = n;
            return;
        }
    if (b->counts == MAX_TABLES)
        return;
    set_name(b->count[b->counts].name, name);
    b->count[b->counts++].n = n;
}

static struct table *find_table(nc_batch *b, const char *name)
{
    char full[MAX_NAME];
    name = full_name(b, name, full);
    for (int i = 0; i < b->tables; i++)
        if (!strcmp(b->table[i].name, name))
            return &b->table[i];
    if (b->tables == MAX_TABLES)
        return &b->table[MAX_TABLES - 1];
    set_name(b->table[b->tables].name, name);
    return &b->table[b->tables++];
}

void *nc_batch_table(nc_batch *b, const char *name, nc_dtype t, int64_t rows, int64_t columns)
{
    struct table *e = find_table(b, name);
    size_t bytes = nc_dtype_bytes(t, rows * columns);
    if (bytes > e->own_bytes || !e->own) {
        size_t grown = bytes + bytes / 2 + 256;
        free(e->own);
        e->own = nc_xmalloc(grown);
        e->own_bytes = grown;
    }
    e->view = (nc_tensor){ t, NC_SHAPE(rows, columns), e->own };
    e->live = true;
    return e->own;
}

int32_t *nc_batch_i32(nc_batch *b, const char *name, int64_t rows, int64_t columns)
{
    return nc_batch_table(b, name, NC_I32, rows, columns);
}

float *nc_batch_f32(nc_batch *b, const char *name, int64_t rows, int64_t columns)
{
    return nc_batch_table(b, name, NC_F32, rows, columns);
}

void nc_batch_borrow(nc_batch *b, const char *name, nc_dtype t, int64_t rows, int64_t columns, const void *data)
{
    struct table *e = find_table(b, name);
    e->view = (nc_tensor){ t, NC_SHAPE(rows, columns), (void *)(uintptr_t)data };
    e->live = true;
}

const nc_tensor *nc_batch_find(const nc_batch *b, const char *name)
{
    char full[MAX_NAME];
    name = full_name(b, name, full);
    for (int i = 0; i < b->tables; i++)
        if (b->table[i].live && !strcmp(b->table[i].name, name))
            return &b->table[i].view;
    return NULL;
}

static struct spans *find_spans(nc_batch *b, const char *name)
{
    char full[MAX_NAME];
    name = full_name(b, name, full);
    for (int i = 0; i < b->span_lists; i++)
        if (!strcmp(b->spans[i].name, name))
            return &b->spans[i];
    if (b->span_lists == MAX_TABLES)
        return &b->spans[MAX_TABLES - 1];
    set_name(b->spans[b->span_lists].name, name);
    return &b->spans[b->span_lists++];
}

nc_span *nc_batch_add_span(nc_batch *b, const char *name, nc_span s)
{
    struct spans *l = find_spans(b, name);
    if (l->count == l->capacity) {
        l->capacity = l->capacity ? 2 * l->capacity : 16;
        l->span = nc_xrealloc(l->span, sizeof *l->span * (size_t)l->capacity);
    }
    l->live = true;
    l->span[l->count] = s;
    return &l->span[l->count++];
}

nc_spans nc_batch_spans(const nc_batch *b, const char *name)
{
    char full[MAX_NAME];
    name = full_name(b, name, full);
    for (int i = 0; i < b->span_lists; i++)
        if (b->spans[i].live && !strcmp(b->spans[i].name, name))
            return (nc_spans){ b->spans[i].span, b->spans[i].count };
    return (nc_spans){ NULL, 0 };
}

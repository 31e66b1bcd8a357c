/* map.c - open addressing with linear probing over indices into an array of entries, which keeps the order of insertion.
 * Keys lie in an arena, so the views nc_map_key gives stay valid as the map grows. */
#include "base/map.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

struct entry {
    nc_str key;
    uint64_t hash;
    int64_t value;
};

struct nc_map {
    nc_arena *keys;
    struct entry *entries;
    size_t count, capacity;
    uint32_t *slots;        /* entry index + 1; 0 is empty; the number of slots is a power of two, at most 2/3 full */
    size_t mask;
};

static void place(nc_map *m, size_t index)
{
    size_t slot = m->entries[index].hash & m->mask;
    while (m->slots[slot])
        slot = (slot + 1) & m->mask;
    m->slots[slot] = (uint32_t)(index + 1);
}

static void grow(nc_map *m, size_t slots)
{
    free(m->slots);
    m->slots = nc_xcalloc(slots, sizeof *m->slots);
    m->mask = slots - 1;
    m->capacity = slots / 3 * 2;
    m->entries = nc_xrealloc(m->entries, m->capacity * sizeof *m->entries);
    for (size_t i = 0; i < m->count; i++)
        place(m, i);
}

nc_map *nc_map_new(size_t expected)
{
    nc_map *m = nc_xcalloc(1, sizeof *m);
    size_t slots = 16;
    while (slots / 3 * 2 < expected && slots < (size_t)1 << 31)
        slots *= 2;
    m->keys = nc_arena_new();
    grow(m, slots);
    return m;
}

void nc_map_free(nc_map *m)
{
    if (!m)
        return;
    nc_arena_free(m->keys);
    free(m->entries);
    free(m->slots);
    free(m);
}

static struct entry *find(const nc_map *m, nc_str key, uint64_t hash)
{
    for (size_t slot = hash & m->mask; m->slots[slot]; slot = (slot + 1) & m->mask) {
        struct entry *x = &m->entries[m->slots[slot] - 1];
        if (x->hash == hash && nc_str_eq(x->key, key))
            return x;
    }
    return NULL;
}

bool nc_map_set(nc_map *m, nc_str key, int64_t value)
{
    uint64_t hash = nc_hash64(key.n ? key.p : "", key.n, 0);
    struct entry *x = find(m, key, hash);
    if (x) {
        x->value = value;
        return false;
    }
    if (m->count == m->capacity)
        grow(m, (m->mask + 1) * 2);
    m->entries[m->count] = (struct entry){ { nc_arena_strndup(m->keys, key.p, key.n), key.n }, hash, value };
    place(m, m->count++);
    return true;
}

bool nc_map_get(const nc_map *m, nc_str key, int64_t *value)
{
    const struct entry *x = find(m, key, nc_hash64(key.n ? key.p : "", key.n, 0));
    if (x && value)
        *value = x->value;
    return x != NULL;
}

size_t nc_map_count(const nc_map *m)
{
    return m->count;
}

nc_str nc_map_key(const nc_map *m, size_t i)
{
    return m->entries[i].key;
}

int64_t nc_map_value(const nc_map *m, size_t i)
{
    return m->entries[i].value;
}

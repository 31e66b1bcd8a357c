/* vocab.c - spellings by id and ids by spelling: an array and an open-addressed table of ids hashed by XXH3. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "text/parts.h"

struct slot { uint32_t hash; int32_t id; };     /* the hash's upper half spares most looks at other spellings; id -1: empty */

struct nc_vocab {
    nc_arena *arena;            /* not owned */
    nc_str *token;              /* p is NULL where no token has the id */
    size_t count, capacity;
    struct slot *slots;
    size_t mask, used;
};

nc_vocab *nc_vocab_new(nc_arena *arena)
{
    nc_vocab *v = nc_xcalloc(1, sizeof *v);
    v->arena = arena;
    return v;
}

void nc_vocab_free(nc_vocab *v)
{
    if (!v)
        return;
    free(v->token);
    free(v->slots);
    free(v);
}

static size_t find(const nc_vocab *v, nc_str token, uint64_t hash)
{
    size_t i = hash & v->mask;
    for (; v->slots[i].id >= 0; i = (i + 1) & v->mask) {
        const nc_str *t = &v->token[v->slots[i].id];
        if (v->slots[i].hash == (uint32_t)(hash >> 32) && t->n == token.n && !memcmp(t->p, token.p, token.n))
            break;
    }
    return i;
}

static void rehash(nc_vocab *v, size_t slots)
{
    free(v->slots);
    v->slots = nc_xmalloc(slots * sizeof *v->slots);
    memset(v->slots, 0xff, slots * sizeof *v->slots);
    v->mask = slots - 1;
    v->used = 0;
    for (size_t id = 0; id < v->count; id++) {
        if (!v->token[id].p)
            continue;
        uint64_t hash = nc_hash64(v->token[id].p, v->token[id].n, 0);
        size_t slot = find(v, v->token[id], hash);
        v->used += v->slots[slot].id < 0;
        v->slots[slot] = (struct slot){ (uint32_t)(hash >> 32), (int32_t)id };
    }
}

void nc_vocab_reserve(nc_vocab *v, size_t count)
{
    size_t slots = 1024;
    if (count > NC_VOCAB_LIMIT)
        count = NC_VOCAB_LIMIT;
    while (slots < count * 2)
        slots *= 2;
    if (!v->slots || slots > v->mask + 1)
        rehash(v, slots);
    if (count > v->capacity) {
        v->token = nc_xrealloc(v->token, count * sizeof *v->token);
        memset(v->token + v->capacity, 0, (count - v->capacity) * sizeof *v->token);
        v->capacity = count;
    }
}

int nc_vocab_set(nc_vocab *v, int32_t id, nc_str token)
{
    if (id < 0 || id >= NC_VOCAB_LIMIT)
        return -1;
    if ((size_t)id >= v->capacity)
        nc_vocab_reserve(v, (size_t)id + 1 > v->capacity * 2 ? (size_t)id + 1 : v->capacity * 2);
    if (!v->slots || (v->used + 1) * 2 > v->mask + 1)
        rehash(v, v->slots ? (v->mask + 1) * 2 : 1024);
    v->token[id] = (nc_str){ nc_arena_strndup(v->arena, token.p ? token.p : "", token.n), token.n };
    if ((size_t)id >= v->count)
        v->count = (size_t)id + 1;
    uint64_t hash = nc_hash64(v->token[id].p, token.n, 0);
    size_t slot = find(v, v->token[id], hash);
    v->used += v->slots[slot].id < 0;
    v->slots[slot] = (struct slot){ (uint32_t)(hash >> 32), id };
    return 0;
}

void nc_vocab_prefetch(const nc_vocab *v, nc_str token)
{
    if (v->slots)
        __builtin_prefetch(&v->slots[nc_hash64(token.p, token.n, 0) & v->mask], 1);
}

int32_t nc_vocab_id(const nc_vocab *v, nc_str token)
{
    return v->slots ? v->slots[find(v, token, nc_hash64(token.p, token.n, 0))].id : -1;
}

nc_str nc_vocab_token(const nc_vocab *v, int32_t id)
{
    return id >= 0 && (size_t)id < v->count ? v->token[id] : (nc_str){ NULL, 0 };
}

int32_t nc_vocab_size(const nc_vocab *v)
{
    return (int32_t)v->count;
}

size_t nc_vocab_memory(const nc_vocab *v)
{
    return v->capacity * sizeof *v->token + (v->slots ? (v->mask + 1) * sizeof *v->slots : 0);
}

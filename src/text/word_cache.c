/* word_cache.c - open addressing; keys and pieces lie in two growing blocks. */
#include "text/word_cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "text/tokenizer_internal.h"

#define SLOTS 131072
#define WORDS (SLOTS / 2)

struct slot { uint32_t hash, key, pieces; uint16_t length, count; };    /* length 0: empty */

struct nc_word_cache {
    struct slot *slots;
    size_t used, key_bytes, key_capacity, piece_count, piece_capacity;
    char *keys;
    nc_piece *pieces;
};

nc_word_cache *nc_word_cache_new(void)
{
    nc_word_cache *c = nc_xcalloc(1, sizeof *c);
    c->slots = nc_xcalloc(SLOTS, sizeof *c->slots);
    c->piece_capacity = 16384;
    c->pieces = nc_xmalloc(c->piece_capacity * sizeof *c->pieces);
    c->key_capacity = 65536;
    c->keys = nc_xmalloc(c->key_capacity);
    return c;
}

void nc_word_cache_free(nc_word_cache *c)
{
    if (!c)
        return;
    free(c->slots);
    free(c->keys);
    free(c->pieces);
    free(c);
}

const nc_piece *nc_word_cache_get(const nc_word_cache *c, nc_str word, uint64_t *hash, uint32_t *count)
{
    *hash = nc_hash64(word.p, word.n, 0);
    for (size_t i = *hash & (SLOTS - 1); c->slots[i].length; i = (i + 1) & (SLOTS - 1)) {
        const struct slot *s = &c->slots[i];
        if (s->hash == (uint32_t)(*hash >> 32) && s->length == word.n && !memcmp(c->keys + s->key, word.p, word.n)) {
            *count = s->count;
            return c->pieces + s->pieces;
        }
    }
    return NULL;
}

void nc_word_cache_put(nc_word_cache *c, nc_str word, uint64_t hash, const nc_piece *pieces, size_t count)
{
    if (!word.n || word.n > NC_CACHED_WORD)
        return;
    if (c->used == WORDS) {
        memset(c->slots, 0, SLOTS * sizeof *c->slots);
        c->used = c->key_bytes = c->piece_count = 0;
    }
    if (c->key_bytes + word.n > c->key_capacity) {
        c->key_capacity *= 2;
        c->keys = nc_xrealloc(c->keys, c->key_capacity);
    }
    while (c->piece_count + count > c->piece_capacity) {
        c->piece_capacity *= 2;
        c->pieces = nc_xrealloc(c->pieces, c->piece_capacity * sizeof *c->pieces);
    }
    size_t i = hash & (SLOTS - 1);
    while (c->slots[i].length)
        i = (i + 1) & (SLOTS - 1);
    c->slots[i] = (struct slot){ (uint32_t)(hash >> 32), (uint32_t)c->key_bytes, (uint32_t)c->piece_count, (uint16_t)word.n, (uint16_t)count };
    memcpy(c->keys + c->key_bytes, word.p, word.n);
    if (count)
        memcpy(c->pieces + c->piece_count, pieces, count * sizeof *pieces);
    c->key_bytes += word.n;
    c->piece_count += count;
    c->used++;
}

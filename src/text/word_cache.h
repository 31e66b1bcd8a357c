/* word_cache.h - words met before and their pieces, so that a frequent word costs one hash lookup. One thread's; bounded, emptied when full. */
#ifndef NC_TEXT_WORD_CACHE_H
#define NC_TEXT_WORD_CACHE_H
#include "text/parts.h"

#define NC_CACHED_WORD 48       /* longer words are not remembered */

/* The pieces of word, or NULL; *hash serves the put that follows. */
const nc_piece *nc_word_cache_get(const nc_word_cache *c, nc_str word, uint64_t *hash, uint32_t *count);
void nc_word_cache_put(nc_word_cache *c, nc_str word, uint64_t hash, const nc_piece *pieces, size_t count);
#endif

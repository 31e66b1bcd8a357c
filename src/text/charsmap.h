/* charsmap.h - sentencepiece's table of replacements: a double array trie of byte strings whose values are places in a block of NUL-ended texts.
 *
 * Layout: u32 bytes of the trie, the trie's 32-bit units, the texts. Source: sentencepiece's normalizer.cc; Darts-clone's unit format.
 */
#ifndef NC_TEXT_CHARSMAP_H
#define NC_TEXT_CHARSMAP_H
#include "base/arena.h"
#include "base/str.h"

typedef struct nc_charsmap {
    const uint32_t *units;
    size_t count;
    nc_str texts;
} nc_charsmap;

/* Copies bytes into the arena. Empty bytes give a map without replacements. */
int nc_charsmap_read(nc_arena *a, nc_str bytes, nc_charsmap *out, nc_error *e);
/* The shortest or longest prefix of text with a replacement: its length, 0 when there is none. */
size_t nc_charsmap_find(const nc_charsmap *m, nc_str text, bool longest, nc_str *replacement);
#endif

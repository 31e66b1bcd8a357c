/* aligned.h - text under transformation that remembers where every byte came from.
 *
 * A byte i of p came from bytes [from[i], to[i]) of the original text. Rules as in the tokenizers library's NormalizedString: a replaced
 * character keeps the range of the one it replaces, an inserted one shares that of its left neighbour. When nobody asks for offsets,
 * aligned is false and only the bytes are carried.
 */
#ifndef NC_TEXT_ALIGNED_H
#define NC_TEXT_ALIGNED_H
#include "base/str.h"

typedef struct nc_aligned {
    char *p;
    uint32_t *from, *to;
    size_t n, capacity;
    uint32_t base;              /* where in the original this text starts */
    bool aligned;
} nc_aligned;

void nc_aligned_set(nc_aligned *t, nc_str original, uint32_t base, bool aligned);   /* starts over with text whose first byte is original byte base */
void nc_aligned_free(nc_aligned *t);
void nc_aligned_swap(nc_aligned *a, nc_aligned *b);
static inline nc_str nc_aligned_str(const nc_aligned *t) { return (nc_str){ t->p, t->n }; }

/* An edit reads `in` from left to right and writes `out`. */
typedef struct nc_edit {
    const nc_aligned *in;
    nc_aligned *out;
    size_t at;                  /* bytes of in consumed */
} nc_edit;
nc_edit nc_edit_begin(const nc_aligned *in, nc_aligned *out);       /* out is emptied */
/* Writes code point c. change > 0: inserted; 0: replaces the next character of in; -k: replaces it and swallows k more. */
void nc_edit_put(nc_edit *e, uint32_t c, int change);
void nc_edit_keep(nc_edit *e, size_t bytes);                        /* copies through */
void nc_edit_skip(nc_edit *e, size_t bytes);                        /* drops */
/* Writes text for the next `bytes` bytes of in: every byte of it gets the range of the last character it replaces. */
void nc_edit_replace(nc_edit *e, size_t bytes, nc_str text);
/* Writes text in front of the character that comes next, with that character's range. */
void nc_edit_prepend(nc_edit *e, nc_str text);
#endif

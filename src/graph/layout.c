/* layout.c - places for buffers of known size and lifetime in one arena (offline dynamic storage allocation).
 *
 * Two orders are tried, by size (Lee et al., "On-device neural net inference with mobile GPUs", 2019: greedy by size) and by first use; each buffer
 * goes into the smallest gap that holds it among the buffers alive at the same time. The smaller arena wins.
 */
#include "graph/core.h"
#include <stdlib.h>

enum { ALIGN = 64 };

typedef struct item { size_t bytes; int first, last, index; } item;

static int by_size(const void *x, const void *y)
{
    const item *a = x, *b = y;

    if (a->bytes != b->bytes)
        return a->bytes < b->bytes ? 1 : -1;
    return a->first != b->first ? (a->first > b->first) - (a->first < b->first) : a->index - b->index;
}

static int by_first(const void *x, const void *y)
{
    const item *a = x, *b = y;

    if (a->first != b->first)
        return a->first < b->first ? -1 : 1;
    return by_size(x, y);
}

/* placed[] holds indices of items already placed, ordered by their place. Returns the best gap's start for `it`. */
static size_t best_gap(const item *it, const item *items, const int *placed, int count, const size_t *at)
{
    size_t end = 0, best = SIZE_MAX, slack = SIZE_MAX;

    for (int k = 0; k < count; k++) {
        const item *o = &items[placed[k]];
        if (o->last < it->first || o->first > it->last)
            continue;
        size_t start = at[o->index];
        if (start >= end + it->bytes && start - end - it->bytes < slack) {
            slack = start - end - it->bytes;
            best = end;
        }
        if (start + o->bytes > end)
            end = start + o->bytes;
    }
    return best == SIZE_MAX ? end : best;
}

static size_t place(item *items, int count, size_t *at, int *placed)
{
    size_t arena = 0;

    for (int i = 0; i < count; i++) {
        size_t spot = best_gap(&items[i], items, placed, i, at);
        at[items[i].index] = spot;
        if (spot + items[i].bytes > arena)
            arena = spot + items[i].bytes;
        int k = i;
        for (; k > 0 && at[items[placed[k - 1]].index] > spot; k--)
            placed[k] = placed[k - 1];
        placed[k] = i;
    }
    return arena;
}

size_t nc_layout(const nc_lifetime *life, int count, size_t *at)
{
    item *items = nc_xcalloc((size_t)count + 1, sizeof *items);
    int *placed = nc_xcalloc((size_t)count + 1, sizeof *placed);
    size_t *other = nc_xcalloc((size_t)count + 1, sizeof *other);

    for (int i = 0; i < count; i++)
        items[i] = (item){ (life[i].bytes + ALIGN - 1) / ALIGN * ALIGN, life[i].first, life[i].last, i };
    qsort(items, (size_t)count, sizeof *items, by_size);
    size_t arena = place(items, count, at, placed);
    qsort(items, (size_t)count, sizeof *items, by_first);
    size_t second = place(items, count, other, placed);
    if (second < arena) {
        memcpy(at, other, sizeof *at * (size_t)count);
        arena = second;
    }
    free(items);
    free(placed);
    free(other);
    return arena;
}

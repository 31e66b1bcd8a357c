/* train_seed.c - the substrings a Unigram model begins with: those that end where the text branches (inner nodes of the suffix tree of all words).
 *
 * The places of all words are sorted by what follows up to the end of the word or most + 1 characters; a run of neighbours that share d characters and no more, and go on
 * differently, is a node of depth d. The end of a word counts as a character that is the same for all words.
 */
#include <stdlib.h>
#include <string.h>

#include "text/train_parts.h"

struct place { const uint32_t *at; int left; };          /* characters from here to the word's end, at most most + 1 */

static int order(const void *x, const void *y)
{
    const struct place *a = x, *b = y;
    for (int i = 0; i < a->left && i < b->left; i++)
        if (a->at[i] != b->at[i])
            return a->at[i] < b->at[i] ? -1 : 1;
    return (a->left > b->left) - (a->left < b->left);
}

/* Characters two neighbours share; past the end of both they share everything. */
static int shared(const struct place *a, const struct place *b, int most)
{
    int n = a->left < b->left ? a->left : b->left, i = 0;
    while (i < n && a->at[i] == b->at[i])
        i++;
    return i == n && a->left == b->left ? most + 1 : i;
}

struct found { struct place where; int length; double score; };

static int best_first(const void *x, const void *y)
{
    const struct found *a = x, *b = y;
    if (a->score != b->score)
        return a->score > b->score ? -1 : 1;
    for (int i = 0; i < a->length && i < b->length; i++)
        if (a->where.at[i] != b->where.at[i])
            return a->where.at[i] > b->where.at[i] ? -1 : 1;
    return b->length - a->length;
}

struct list { struct found *p; size_t n, capacity; };

static void add(struct list *l, struct place where, int depth, size_t times, int most)
{
    if (depth < 2 || depth > most)
        return;
    if (l->n == l->capacity) {
        l->capacity = l->capacity ? l->capacity * 2 : 4096;
        l->p = nc_xrealloc(l->p, l->capacity * sizeof *l->p);
    }
    l->p[l->n++] = (struct found){ where, depth, (double)times * depth };
}

/* Runs of sorted places as nodes: a stack of open runs, deepest on top. */
static void find_nodes(const struct place *p, size_t n, int most, struct list *out)
{
    struct { int depth; size_t from; } *stack = nc_xmalloc(sizeof *stack * (size_t)(most + 3));
    int top = 0;
    stack[0].depth = 0;
    stack[0].from = 0;
    for (size_t i = 1; i <= n; i++) {
        int d = i < n ? shared(&p[i - 1], &p[i], most) : 0;
        size_t from = i - 1;
        while (stack[top].depth > d) {
            from = stack[top].from;
            add(out, p[from], stack[top].depth, i - from, most);
            top--;
        }
        if (d > stack[top].depth) {
            top++;
            stack[top].depth = d;
            stack[top].from = from;
        }
    }
    free(stack);
}

static nc_str text_of(nc_arena *a, const uint32_t *c, int n)
{
    char *text = nc_arena_alloc(a, (size_t)(4 * n + 1));
    size_t length = 0;
    for (int i = 0; i < n; i++)
        length += (size_t)nc_utf8_encode(c[i], text + length);
    text[length] = 0;
    return (nc_str){ text, length };
}

nc_seed *nc_train_seeds(nc_arena *a, const nc_units *u, int most, size_t limit, size_t *count)
{
    const size_t n = u->first[u->words];
    struct place *places = nc_xmalloc(sizeof *places * (n + 1));
    struct list found = { 0 };
    for (size_t w = 0; w < u->words; w++)
        for (size_t i = u->first[w]; i < u->first[w + 1]; i++) {
            size_t left = u->first[w + 1] - i;
            places[i] = (struct place){ u->at + i, left > (size_t)most + 1 ? most + 1 : (int)left };
        }
    qsort(places, n, sizeof *places, order);
    find_nodes(places, n, most, &found);
    qsort(found.p, found.n, sizeof *found.p, best_first);
    *count = found.n < limit ? found.n : limit;
    nc_seed *out = NC_NEW_ARRAY(a, nc_seed, *count + 1);
    for (size_t i = 0; i < *count; i++)
        out[i] = (nc_seed){ text_of(a, found.p[i].where.at, found.p[i].length), found.p[i].score };
    free(found.p);
    free(places);
    return out;
}

/* meteor_align.c - METEOR 1.5's matchers and its beam search for the alignment.
 *
 * Every module lists its matches by the reference word where they start. A match whose words nothing else covers is definite. The others are
 * tried from left to right with a beam of 40 paths, sorted by most covered words (a word matched inexactly weighs a half, and sums are
 * cut to whole numbers after every addition, as the Java program's integers are), then fewest chunks, then least distance.
 * The sort is stable and the distance of a tried match is booked on the path it was tried from: both decide ties, so both are kept.
 * Words are compared by Java's 32-bit string hash, as the program does. Source: M. Denkowski, A. Lavie, "Meteor Universal", WMT 2014.
 */
#include "eval/meteor15.h"
#include <libstemmer.h>
#include <stdlib.h>
#include <string.h>

#define BEAM 40

struct stage {
    nc_arena *a;
    nc_words test, reference;
    int32_t *key[2];                           /* hashes of the words: test, reference */
    nc_meteor_match *all;                      /* every match found */
    int count, capacity;
    int **at, *at_count, *at_capacity;         /* indices into all, by starting reference word */
    int *cover[2];                             /* how many matches cover a word: test, reference */
};

/* s[0] 31^(n-1) + ... + s[n-1] over UTF-16 units. */
static int32_t java_hash(nc_str s)
{
    uint32_t h = 0;
    for (size_t at = 0; at < s.n;) {
        uint32_t c = nc_next_char(s, &at);
        if (c >= 0x110000)
            h = h * 31 + 0xfffd;
        else if (c >= 0x10000) {
            h = h * 31 + (0xd800 + ((c - 0x10000) >> 10));
            h = h * 31 + (0xdc00 + ((c - 0x10000) & 0x3ff));
        } else
            h = h * 31 + c;
    }
    return (int32_t)h;
}

static int32_t *hashes(nc_arena *a, nc_words w)
{
    int32_t *h = NC_NEW_ARRAY(a, int32_t, w.n + 1);
    for (int i = 0; i < w.n; i++)
        h[i] = java_hash(w.at[i]);
    return h;
}

static void *grown(nc_arena *a, const void *old, size_t item, int n, int capacity)
{
    void *p = nc_arena_alloc(a, item * (size_t)capacity);
    if (n)
        memcpy(p, old, item * (size_t)n);
    return p;
}

static void add_match(struct stage *s, nc_meteor_match m)
{
    if (s->count == s->capacity) {
        s->capacity = s->capacity ? s->capacity * 2 : 64;
        s->all = grown(s->a, s->all, sizeof *s->all, s->count, s->capacity);
    }
    int j = m.start;
    if (s->at_count[j] == s->at_capacity[j]) {
        s->at_capacity[j] = s->at_capacity[j] ? s->at_capacity[j] * 2 : 4;
        s->at[j] = grown(s->a, s->at[j], sizeof **s->at, s->at_count[j], s->at_capacity[j]);
    }
    s->at[j][s->at_count[j]++] = s->count;
    s->all[s->count++] = m;
    for (int k = 0; k < m.test_length; k++)
        s->cover[0][m.test + k]++;
    for (int k = 0; k < m.length; k++)
        s->cover[1][m.start + k]++;
}

static void match_exact(struct stage *s, int module)
{
    for (int j = 0; j < s->reference.n; j++)
        for (int i = 0; i < s->test.n; i++)
            if (s->key[0][i] == s->key[1][j])
                add_match(s, (nc_meteor_match){ j, 1, i, 1, module });
}

static int32_t *stem_hashes(nc_arena *a, struct sb_stemmer *stemmer, nc_words w)
{
    int32_t *h = NC_NEW_ARRAY(a, int32_t, w.n + 1);
    for (int i = 0; i < w.n; i++) {
        const sb_symbol *p = sb_stemmer_stem(stemmer, (const sb_symbol *)w.at[i].p, (int)w.at[i].n);
        h[i] = java_hash(p ? (nc_str){ (const char *)p, (size_t)sb_stemmer_length(stemmer) } : w.at[i]);
    }
    return h;
}

static void match_stems(struct stage *s, int module)
{
    struct sb_stemmer *stemmer = sb_stemmer_new("english", "UTF_8");
    if (!stemmer)
        return;
    int32_t *test = stem_hashes(s->a, stemmer, s->test), *reference = stem_hashes(s->a, stemmer, s->reference);
    sb_stemmer_delete(stemmer);
    for (int j = 0; j < s->reference.n; j++)
        for (int i = 0; i < s->test.n; i++)
            if (test[i] == reference[j] && s->key[0][i] != s->key[1][j])
                add_match(s, (nc_meteor_match){ j, 1, i, 1, module });
}

struct synsets { const int32_t *at; int n; };

static struct synsets *word_synsets(nc_arena *a, const nc_meteor_data *d, nc_words w)
{
    struct synsets *out = NC_NEW_ARRAY(a, struct synsets, w.n + 1);
    for (int i = 0; i < w.n; i++)
        out[i].n = nc_meteor_synsets(a, d, w.at[i], &out[i].at);
    return out;
}

static bool share(struct synsets x, struct synsets y)
{
    for (int i = 0; i < x.n; i++)
        for (int j = 0; j < y.n; j++)
            if (x.at[i] == y.at[j])
                return true;
    return false;
}

static void match_synonyms(struct stage *s, int module, const nc_meteor_data *d)
{
    struct synsets *test = word_synsets(s->a, d, s->test), *reference = word_synsets(s->a, d, s->reference);
    for (int j = 0; j < s->reference.n; j++)
        for (int i = 0; i < s->test.n; i++)
            if (s->key[0][i] != s->key[1][j] && share(test[i], reference[j]))
                add_match(s, (nc_meteor_match){ j, 1, i, 1, module });
}

static int32_t *table_ids(nc_arena *a, const nc_meteor_data *d, nc_words w)
{
    int32_t *ids = NC_NEW_ARRAY(a, int32_t, w.n + 1);
    for (int i = 0; i < w.n; i++) {
        int64_t id;
        ids[i] = nc_map_get(d->vocabulary, w.at[i], &id) ? (int32_t)id : -1;
    }
    return ids;
}

/* Phrases of `from` (n words) whose paraphrase stands somewhere in `to` (m words); swapped: from is the test. */
static void match_phrases(struct stage *s, int module, const nc_meteor_data *d, const int32_t *from, int n, const int32_t *to, int m, bool swapped)
{
    for (int j = 0; j < n; j++)
        for (int length = 1; length <= d->longest && j + length <= n && from[j + length - 1] >= 0; length++) {
            int64_t p;
            if (!nc_map_get(d->phrases, (nc_str){ (const char *)(from + j), sizeof *from * (size_t)length }, &p))
                continue;
            for (; p >= 0; p = d->phrase[p].next)
                for (int i = 0; i + d->phrase[p].n <= m; i++)
                    if (memcmp(to + i, d->phrase[p].ids, sizeof *to * (size_t)d->phrase[p].n) == 0)
                        add_match(s, swapped ? (nc_meteor_match){ i, d->phrase[p].n, j, length, module }
                                             : (nc_meteor_match){ j, length, i, d->phrase[p].n, module });
        }
}

static void match_paraphrases(struct stage *s, int module, const nc_meteor_data *d)
{
    int32_t *test = table_ids(s->a, d, s->test), *reference = table_ids(s->a, d, s->reference);
    match_phrases(s, module, d, reference, s->reference.n, test, s->test.n, false);
    match_phrases(s, module, d, test, s->test.n, reference, s->reference.n, true);
}

/* A partial alignment: the memory behind it holds chosen[reference], used test words, used reference words. */
struct path { int covered[2], chunks, idx, last_end, distance; int *chosen; bool *used[2]; };

static struct path *path_new(const struct stage *s)
{
    size_t n = (size_t)s->reference.n, m = (size_t)s->test.n;
    struct path *p = nc_xcalloc(1, sizeof *p + n * sizeof *p->chosen + n + m);
    p->chosen = (int *)(p + 1);
    p->used[0] = (bool *)(p->chosen + n);
    p->used[1] = p->used[0] + m;
    p->last_end = -1;
    return p;
}

static struct path *path_copy(const struct stage *s, const struct path *from)
{
    struct path *p = path_new(s), kept = *p;
    size_t n = (size_t)s->reference.n, m = (size_t)s->test.n;
    *p = *from;
    p->chosen = kept.chosen;
    p->used[0] = kept.used[0];
    p->used[1] = kept.used[1];
    memcpy(p->chosen, from->chosen, n * sizeof *p->chosen + n + m);
    return p;
}

static bool is_used(const struct path *p, const nc_meteor_match *m)
{
    for (int i = 0; i < m->length; i++)
        if (p->used[1][m->start + i])
            return true;
    for (int i = 0; i < m->test_length; i++)
        if (p->used[0][m->test + i])
            return true;
    return false;
}

static void use(struct path *p, const nc_meteor_match *m, int index)
{
    p->chosen[m->start] = index;
    memset(p->used[1] + m->start, true, (size_t)m->length);
    memset(p->used[0] + m->test, true, (size_t)m->test_length);
}

/* Books a chosen match on the path's sums; distance is booked by the callers. */
static void advance(struct path *p, const nc_meteor_match *m, bool exact)
{
    double weight = exact ? 1.0 : 0.5;
    p->covered[0] = (int)(p->covered[0] + m->test_length * weight);
    p->covered[1] = (int)(p->covered[1] + m->length * weight);
    if (p->last_end != -1 && m->test != p->last_end)
        p->chunks++;
    p->idx = m->start + m->length;
    p->last_end = m->test + m->test_length;
}

static bool is_better(const struct path *x, const struct path *y)
{
    int more = x->covered[0] + x->covered[1] - y->covered[0] - y->covered[1];
    if (more)
        return more > 0;
    if (x->chunks != y->chunks)
        return x->chunks < y->chunks;
    return x->distance < y->distance;
}

struct queue { struct path **at; int n, capacity; };

static void enqueue(struct queue *q, struct path *p)
{
    if (q->n == q->capacity) {
        q->capacity = q->capacity ? q->capacity * 2 : 128;
        q->at = nc_xrealloc(q->at, sizeof *q->at * (size_t)q->capacity);
    }
    q->at[q->n++] = p;
}

static void sort(struct queue *q)              /* by insertion: stable */
{
    for (int i = 1; i < q->n; i++) {
        struct path *p = q->at[i];
        int j = i;
        for (; j > 0 && is_better(p, q->at[j - 1]); j--)
            q->at[j] = q->at[j - 1];
        q->at[j] = p;
    }
}

/* Extends one path at reference word `current`; true when the path itself went into next. */
static bool extend(const struct stage *s, struct path *p, int current, bool exact_first, struct queue *next)
{
    if (current == s->reference.n) {
        if (p->last_end != -1)
            p->chunks++;
        enqueue(next, p);
        return true;
    }
    if (p->used[1][current]) {
        if (current < p->idx) {
            enqueue(next, p);
            return true;
        }
        if (p->chosen[p->idx] < 0)
            return false;
        const nc_meteor_match *m = &s->all[p->chosen[p->idx]];
        advance(p, m, exact_first && m->module == 0);
        p->distance += abs(m->start - m->test);
        enqueue(next, p);
        return true;
    }
    for (int k = 0; k < s->at_count[current]; k++) {
        int index = s->at[current][k];
        const nc_meteor_match *m = &s->all[index];
        if (is_used(p, m))
            continue;
        struct path *q = path_copy(s, p);
        use(q, m, index);
        advance(q, m, exact_first && m->module == 0);
        p->distance += abs(m->start - m->test);
        enqueue(next, q);
    }
    if (p->last_end != -1) {
        p->chunks++;
        p->last_end = -1;
    }
    p->idx++;
    enqueue(next, p);
    return true;
}

static void resolve(const struct stage *s, struct path *start, bool exact_first, int *chosen)
{
    struct queue paths = { 0 }, next = { 0 };
    enqueue(&next, start);
    for (int current = 0; current <= s->reference.n; current++) {
        struct queue swap = paths;
        paths = next;
        next = swap;
        next.n = 0;
        sort(&paths);
        struct path *dropped = NULL;
        for (int rank = 0; rank < paths.n; rank++) {
            bool went_on = rank < BEAM && extend(s, paths.at[rank], current, exact_first, &next);
            if (!went_on && rank == 0)
                dropped = paths.at[rank];      /* kept in case that no path can go on */
            else if (!went_on)
                free(paths.at[rank]);
        }
        if (next.n == 0)
            enqueue(&next, dropped);
        else
            free(dropped);
    }
    sort(&next);
    memcpy(chosen, next.at[0]->chosen, sizeof *chosen * (size_t)s->reference.n);
    for (int i = 0; i < next.n; i++)
        free(next.at[i]);
    free(paths.at);
    free(next.at);
}

/* A single match at its start that shares no word with another is part of every alignment. */
static void fix_definite(const struct stage *s, struct path *start)
{
    for (int j = 0; j < s->reference.n; j++) {
        start->chosen[j] = -1;
        if (s->at_count[j] != 1)
            continue;
        const nc_meteor_match *m = &s->all[s->at[j][0]];
        bool alone = true;
        for (int k = 0; k < m->length; k++)
            alone = alone && s->cover[1][j + k] == 1;
        for (int k = 0; k < m->test_length; k++)
            alone = alone && s->cover[0][m->test + k] == 1;
        if (alone)
            use(start, m, s->at[j][0]);
    }
}

static void run_modules(struct stage *s, const nc_meteor15_options *o, bool first_only)
{
    int module = 0;
    for (unsigned bit = NC_METEOR_EXACT; bit <= NC_METEOR_PARAPHRASE; bit <<= 1) {
        if (!(o->modules & bit))
            continue;
        if (bit == NC_METEOR_EXACT)
            match_exact(s, module);
        else if (bit == NC_METEOR_STEM)
            match_stems(s, module);
        else if (o->data && bit == NC_METEOR_SYNONYM)
            match_synonyms(s, module, o->data);
        else if (o->data)
            match_paraphrases(s, module, o->data);
        module++;
        if (first_only)
            return;
    }
}

void nc_meteor_align(nc_arena *a, nc_words test, nc_words reference, const nc_meteor15_options *o,
                     nc_meteor_match **matches, int **chosen)
{
    int n = reference.n;
    struct stage s = { .a = a, .test = test, .reference = reference, .key = { hashes(a, test), hashes(a, reference) },
                       .at = NC_NEW_ARRAY(a, int *, n + 1), .at_count = NC_NEW_ARRAY(a, int, n + 1), .at_capacity = NC_NEW_ARRAY(a, int, n + 1),
                       .cover = { NC_NEW_ARRAY(a, int, test.n + 1), NC_NEW_ARRAY(a, int, n + 1) } };
    /* Equal sentences need only exact matches: so the search cannot go wrong on them. */
    bool equal = test.n == n && memcmp(s.key[0], s.key[1], sizeof *s.key[0] * (size_t)n) == 0;
    run_modules(&s, o, equal);
    struct path *start = path_new(&s);
    fix_definite(&s, start);
    *chosen = NC_NEW_ARRAY(a, int, n + 1);
    resolve(&s, start, (o->modules & NC_METEOR_EXACT) != 0, *chosen);
    *matches = s.all;
}

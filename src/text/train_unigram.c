/* train_unigram.c - a Unigram model by EM and pruning (Kudo 2018, section 3.2), in the order of steps of the tokenizers library's UnigramTrainer.
 *
 *   seeds: every character (its count) and every branching substring (words it is in x length), as log shares
 *   E: expected count of every piece over all ways to cut every word      M: log p = digamma(count) - digamma(sum), pieces under half a count go
 *   pruning: a piece that the best cut of itself uses two of goes; of the others the shrinking_factor part whose loss to the likelihood is largest stays
 * until 1.1 times the wanted pieces are left. Every character stays, those pruned at the lowest score.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "text/train_parts.h"

#define UNK_PENALTY 10.0

typedef struct piece { nc_str text; double score; } piece;
typedef struct edge { uint64_t key; uint32_t node; int32_t id; } edge;   /* key: node << 32 | character, + 1; id of the piece that ends here, -1: none */

/* Pieces by their characters. */
typedef struct trie { edge *edges; size_t mask, count; uint32_t nodes; } trie;

typedef struct model { piece *p; size_t n; trie trie; double unk_score; } model;

struct work {
    nc_trainer *t;
    nc_units units;
    double *count;                       /* of each word */
    int most;
    double *forward, *backward;          /* of a word's places */
    struct cut { double score; size_t from; int32_t id; } *best;
    double *expected, *used;             /* of each piece */
    double times, all_cuts;              /* of the word at hand: its count, the sum over all its cuts (a logarithm) */
    int32_t whole;                       /* best_other_cut: the piece that may not be all of it */
};

static edge *find(trie *t, uint64_t key)
{
    size_t at = (size_t)(key * 0x9e3779b97f4a7c15u >> 20) & t->mask;
    while (t->edges[at].key && t->edges[at].key != key)
        at = (at + 1) & t->mask;
    return &t->edges[at];
}

static void trie_grow(trie *t)
{
    trie old = *t;
    t->mask = old.edges ? old.mask * 2 + 1 : 0xffff;
    t->edges = nc_xcalloc(t->mask + 1, sizeof *t->edges);
    for (size_t i = 0; old.edges && i <= old.mask; i++)
        if (old.edges[i].key)
            *find(t, old.edges[i].key) = old.edges[i];
    free(old.edges);
}

static edge *step(trie *t, uint32_t node, uint32_t c) { return find(t, ((uint64_t)node << 32 | c) + 1); }

static void trie_add(trie *t, nc_str text, int32_t id)
{
    uint32_t node = 0, c;
    for (size_t at = 0; at < text.n;) {
        at += (size_t)nc_utf8_decode(text.p + at, text.n - at, &c);
        if (!t->edges || 2 * (t->count + 1) > t->mask)
            trie_grow(t);
        edge *x = step(t, node, c);
        if (!x->key) {
            *x = (edge){ ((uint64_t)node << 32 | c) + 1, ++t->nodes, -1 };
            t->count++;
        }
        node = x->node;
        if (at == text.n)
            x->id = id;
    }
}

/* Piece 0 stands for what is unknown and is never found in a text. */
static void model_set(model *m, piece *p, size_t n)
{
    double least = INFINITY;
    free(m->trie.edges);
    *m = (model){ .p = p, .n = n };
    trie_grow(&m->trie);
    for (size_t i = 1; i < n; i++) {
        trie_add(&m->trie, p[i].text, (int32_t)i);
        least = p[i].score < least ? p[i].score : least;
    }
    m->unk_score = least - UNK_PENALTY;
}

static double add_logs(double a, double b)
{
    double high = a > b ? a : b, low = a > b ? b : a;
    return low == -INFINITY ? high : high + log1p(exp(low - high));
}

typedef void arc_fn(struct work *w, const model *m, size_t from, size_t to, int32_t id, double score);

/* Every piece that begins at a place of the characters c[0..n), in order of length; the unknown one where no single character is a piece. */
static void arcs_from(struct work *w, model *m, const uint32_t *c, size_t n, size_t from, arc_fn *fn)
{
    bool alone = false;
    uint32_t node = 0;
    for (size_t i = from; i < n; i++) {
        const edge *x = step(&m->trie, node, c[i]);
        if (!x->key)
            break;
        if (x->id >= 0) {
            fn(w, m, from, i + 1, x->id, m->p[x->id].score);
            alone = alone || i == from;
        }
        node = x->node;
    }
    if (!alone)
        fn(w, m, from, from + 1, 0, m->unk_score);
}

static void go_forward(struct work *w, const model *m, size_t from, size_t to, int32_t id, double score)
{
    (void)m; (void)id;
    w->forward[to] = add_logs(w->forward[to], w->forward[from] + score);
}

static void go_backward(struct work *w, const model *m, size_t from, size_t to, int32_t id, double score)
{
    (void)m; (void)id;
    w->backward[from] = add_logs(w->backward[from], w->backward[to] + score);
}

static void go_expect(struct work *w, const model *m, size_t from, size_t to, int32_t id, double score)
{
    (void)m;
    w->expected[id] += w->times * exp(w->forward[from] + score + w->backward[to] - w->all_cuts);
}

static void expect_word(struct work *w, model *m, const uint32_t *c, size_t n, double count)
{
    for (size_t i = 0; i <= n; i++)
        w->forward[i] = w->backward[i] = -INFINITY;
    w->forward[0] = w->backward[n] = 0;
    for (size_t i = 0; i < n; i++)
        arcs_from(w, m, c, n, i, go_forward);
    for (size_t i = n; i-- > 0;)
        arcs_from(w, m, c, n, i, go_backward);
    w->all_cuts = w->forward[n];
    w->times = count;
    for (size_t i = 0; i < n; i++)
        arcs_from(w, m, c, n, i, go_expect);
}

static void go_best(struct work *w, const model *m, size_t from, size_t to, int32_t id, double score)
{
    (void)m;
    struct cut x = { w->best[from].score + score, from, id };
    if (x.score > w->best[to].score)
        w->best[to] = x;
}

static void go_other(struct work *w, const model *m, size_t from, size_t to, int32_t id, double score)
{
    if (from > 0 || w->whole != id)
        go_best(w, m, from, to, id, score);
}

/* The best cut of n characters; with whole >= 0 the best that is not this one piece. */
static void best_cut(struct work *w, model *m, const uint32_t *c, size_t n, int32_t whole)
{
    for (size_t i = 1; i <= n; i++)
        w->best[i].score = -INFINITY;
    w->best[0].score = 0;
    w->whole = whole;
    for (size_t i = 0; i < n; i++)
        arcs_from(w, m, c, n, i, whole < 0 ? go_best : go_other);
}

static double digamma(double x)
{
    double sum = 0;
    for (; x < 7; x++)
        sum -= 1 / x;
    x -= 0.5;
    double y = 1 / x, y2 = y * y, y4 = y2 * y2;
    return sum + log(x) + y2 / 24 - y4 * 7 / 960 + y4 * y2 * 31 / 8064 - y4 * y4 * 127 / 30720;
}

static const uint32_t *word_of(const struct work *w, size_t i, size_t *n)
{
    *n = w->units.first[i + 1] - w->units.first[i];
    return w->units.at + w->units.first[i];
}

/* One round of EM: new pieces with new scores, those under half an expected count left out. */
static void em_round(struct work *w, model *m)
{
    memset(w->expected, 0, sizeof *w->expected * m->n);
    for (size_t i = 0; i < w->units.words; i++) {
        size_t n;
        const uint32_t *c = word_of(w, i, &n);
        expect_word(w, m, c, n, w->count[i]);
    }
    size_t kept = 1;
    double sum = 0;
    for (size_t i = 1; i < m->n; i++)
        if (w->expected[i] >= 0.5) {
            m->p[kept++] = (piece){ m->p[i].text, w->expected[i] };
            sum += w->expected[i];
        }
    double log_sum = digamma(sum);
    for (size_t i = 1; i < kept; i++)
        m->p[i].score = digamma(m->p[i].score) - log_sum;
    model_set(m, m->p, kept);
}

struct loss { int32_t id; double value; };

static int largest_first(const void *x, const void *y)
{
    const struct loss *a = x, *b = y;
    return a->value != b->value ? (a->value > b->value ? -1 : 1) : a->id - b->id;
}

/* How often the best cuts use each piece, and in how many words (repeats of a word counted). */
static void count_uses(struct work *w, model *m, double *words_with)
{
    memset(w->used, 0, sizeof *w->used * m->n);
    memset(words_with, 0, sizeof *words_with * m->n);
    for (size_t i = 0; i < w->units.words; i++) {
        size_t n;
        const uint32_t *c = word_of(w, i, &n);
        best_cut(w, m, c, n, -1);
        for (size_t at = n; at > 0; at = w->best[at].from) {
            w->used[w->best[at].id] += w->count[i];
            words_with[w->best[at].id] += w->count[i];
        }
    }
}

/* What the likelihood loses when its uses of piece id go to its second best cut; NAN when it has to stay, -INFINITY when it can go at once. */
static double loss_of(struct work *w, model *m, int32_t id, double all_words, double sum, const double *words_with, uint32_t *c)
{
    size_t n = 0;
    for (size_t at = 0; at < m->p[id].text.n;)
        at += (size_t)nc_utf8_decode(m->p[id].text.p + at, m->p[id].text.n - at, &c[n++]);
    best_cut(w, m, c, n, -1);
    bool itself = w->best[n].from == 0;
    if (w->used[id] == 0 && !itself)
        return -INFINITY;
    if (!itself || n == 1)
        return NAN;
    best_cut(w, m, c, n, id);
    if (words_with[id] == 0)
        return -INFINITY;
    /* The factor is that of both sentencepiece and the tokenizers library: the number of all pieces, not of those the uses go to. */
    double log_after = log(sum + w->used[id] * (double)(m->n - 1)), after = 0;
    for (size_t at = n; at > 0; at = w->best[at].from)
        after += log(w->used[w->best[at].id] + w->used[id]) - log_after;
    return words_with[id] / all_words * (log(w->used[id]) - log(sum) - after);
}

static void prune(struct work *w, model *m, size_t wanted)
{
    double *words_with = nc_xcalloc(m->n, sizeof *words_with), all_words = 0, sum = 0;
    struct loss *losses = nc_xmalloc(sizeof *losses * m->n);
    piece *kept = nc_xmalloc(sizeof *kept * m->n);
    uint32_t *c = nc_xmalloc(sizeof *c * (size_t)(w->most + 1));
    size_t n = 1, candidates = 0;
    count_uses(w, m, words_with);
    for (size_t i = 0; i < w->units.words; i++)
        all_words += w->count[i];
    for (size_t i = 0; i < m->n; i++)
        sum += w->used[i];
    kept[0] = m->p[0];
    for (size_t i = 1; i < m->n; i++) {
        double loss = loss_of(w, m, (int32_t)i, all_words, sum, words_with, c);
        if (isnan(loss))
            kept[n++] = m->p[i];
        else if (loss != -INFINITY)
            losses[candidates++] = (struct loss){ (int32_t)i, loss };
    }
    size_t size = (size_t)((double)m->n * (w->t->o.shrinking_factor > 0 ? w->t->o.shrinking_factor : 0.75));
    size = size > wanted ? size : wanted;
    qsort(losses, candidates, sizeof *losses, largest_first);
    for (size_t i = 0; i < candidates && n != size; i++)
        kept[n++] = m->p[losses[i].id];
    memcpy(m->p, kept, sizeof *kept * n);
    model_set(m, m->p, n);
    free(words_with);
    free(losses);
    free(kept);
    free(c);
}

static int by_code(const void *x, const void *y)
{
    const uint32_t *a = x, *b = y;
    return (*a > *b) - (*a < *b);
}

struct character { uint32_t c; double count; };

static int commonest_first(const void *x, const void *y)
{
    const struct character *a = x, *b = y;
    if (a->count != b->count)
        return a->count > b->count ? -1 : 1;
    return a->c < b->c ? 1 : -1;
}

/* All characters with their counts, commonest first. */
static struct character *characters(struct work *w, size_t *count)
{
    size_t total = w->units.first[w->units.words], n = 0;
    uint32_t *sorted = nc_xmalloc(sizeof *sorted * (total + 1));
    double *times = nc_xcalloc(0x110000, sizeof *times);
    memcpy(sorted, w->units.at, sizeof *sorted * total);
    qsort(sorted, total, sizeof *sorted, by_code);
    for (size_t i = 0; i < w->units.words; i++)
        for (size_t k = w->units.first[i]; k < w->units.first[i + 1]; k++)
            times[w->units.at[k]] += w->count[i];
    struct character *out = NC_NEW_ARRAY(w->t->arena, struct character, total + 1);
    for (size_t i = 0; i < total; i++)
        if (i == 0 || sorted[i] != sorted[i - 1])
            out[n++] = (struct character){ sorted[i], times[sorted[i]] };
    qsort(out, n, sizeof *out, commonest_first);
    free(sorted);
    free(times);
    *count = n;
    return out;
}

static nc_str one_character(nc_arena *a, uint32_t c)
{
    char text[4];
    size_t n = (size_t)nc_utf8_encode(c, text);
    return (nc_str){ nc_arena_strndup(a, text, n), n };
}

static void seed(struct work *w, const struct character *chars, size_t char_count, model *m)
{
    const size_t limit = w->t->o.seed_size > 0 ? (size_t)w->t->o.seed_size : 1000000;
    size_t n;
    const nc_seed *s = nc_train_seeds(w->t->arena, &w->units, w->most, limit > char_count ? limit - char_count : 0, &n);
    piece *p = nc_xmalloc(sizeof *p * (n + char_count + 1));
    double sum = 0;
    p[0] = (piece){ NC_STR(""), 0 };
    for (size_t i = 0; i < char_count; i++)
        p[1 + i] = (piece){ one_character(w->t->arena, chars[i].c), chars[i].count };
    for (size_t i = 0; i < n; i++)
        p[1 + char_count + i] = (piece){ s[i].text, s[i].score };
    n += char_count + 1;
    for (size_t i = 1; i < n; i++)
        sum += p[i].score;
    for (size_t i = 1; i < n; i++)
        p[i].score = log(p[i].score) - log(sum);
    model_set(m, p, n);
}

static int highest_first(const void *x, const void *y)
{
    const piece *a = x, *b = y;
    if (a->score != b->score)
        return a->score > b->score ? -1 : 1;
    int c = memcmp(a->text.p, b->text.p, a->text.n < b->text.n ? a->text.n : b->text.n);
    return c ? c : (a->text.n > b->text.n) - (a->text.n < b->text.n);
}

/* Characters first, those without a piece under the lowest score; then pieces in their order while there is room; sorted by score. */
static size_t choose(struct work *w, const model *m, const struct character *chars, size_t char_count, size_t room, piece *out)
{
    nc_map *taken = nc_map_new(char_count + room);
    double penalty = 0;
    size_t n = 0;
    uint32_t *codes = NC_NEW_ARRAY(w->t->arena, uint32_t, char_count + 1);
    for (size_t i = 0; i < char_count; i++)
        codes[i] = chars[i].c;
    qsort(codes, char_count, sizeof *codes, by_code);
    for (size_t i = 0; i < char_count; i++) {
        edge *x = step(&((model *)(uintptr_t)m)->trie, 0, codes[i]);
        out[n] = (piece){ one_character(w->t->arena, codes[i]), m->unk_score + UNK_PENALTY + penalty };
        if (x->key && x->id >= 0)
            out[n].score = m->p[x->id].score;
        else
            penalty += 0.0001;
        nc_map_set(taken, out[n++].text, 1);
    }
    for (size_t i = 1; i < m->n && n < room; i++)
        if (nc_map_set(taken, m->p[i].text, 1))
            out[n++] = m->p[i];
    nc_map_free(taken);
    qsort(out, n, sizeof *out, highest_first);
    return n;
}

static nc_json *unigram_model(nc_trainer *t, nc_arena *a, const piece *p, size_t n, bool add_unk)
{
    nc_json *v = nc_json_new(a, NC_JSON_OBJECT), *vocab = nc_json_new(a, NC_JSON_ARRAY), *last = NULL;
    const int specials = t->o.special_count + add_unk;
    int unk = 0;
    for (size_t i = 0; i < (size_t)specials + n; i++) {
        const char *special = i >= (size_t)specials ? NULL : add_unk && i == 0 ? t->o.unk : t->o.special[(int)i - add_unk];
        const piece *x = special ? NULL : &p[i - (size_t)specials];
        nc_json *pair = nc_json_new(a, NC_JSON_ARRAY);
        unk = special && !strcmp(special, t->o.unk) ? (int)i : unk;
        nc_train_add(t, special ? nc_str_of(special) : x->text);
        nc_json_append(pair, nc_json_new_string(a, special ? nc_str_of(nc_arena_strdup(a, special)) : (nc_str){ nc_arena_strndup(a, x->text.p, x->text.n), x->text.n }));
        nc_json_append(pair, nc_json_new_double(a, special ? 0 : x->score));
        nc_train_append(vocab, &last, (nc_str){ NULL, 0 }, pair);
    }
    nc_json_set(a, v, "type", nc_train_text(a, "Unigram"));
    nc_json_set(a, v, "unk_id", nc_json_new_int(a, unk));
    nc_json_set(a, v, "vocab", vocab);
    nc_json_set(a, v, "byte_fallback", nc_json_new_bool(a, false));
    return v;
}

static void read_words(struct work *w)
{
    size_t words = nc_map_count(w->t->words), bytes = 0, longest = (size_t)w->most, n = 0;
    for (size_t i = 0; i < words; i++)
        bytes += nc_map_key(w->t->words, i).n;
    w->units = (nc_units){ NC_NEW_ARRAY(w->t->arena, uint32_t, bytes + 1), NC_NEW_ARRAY(w->t->arena, size_t, words + 1), words };
    w->count = NC_NEW_ARRAY(w->t->arena, double, words + 1);
    for (size_t i = 0; i < words; i++) {
        nc_str word = nc_map_key(w->t->words, i);
        w->count[i] = (double)nc_map_value(w->t->words, i);
        for (size_t at = 0; at < word.n;)
            w->units.at[n++] = nc_train_next(w->t, word, &at);
        w->units.first[i + 1] = n;
        longest = n - w->units.first[i] > longest ? n - w->units.first[i] : longest;
    }
    w->forward = NC_NEW_ARRAY(w->t->arena, double, longest + 1);
    w->backward = NC_NEW_ARRAY(w->t->arena, double, longest + 1);
    w->best = NC_NEW_ARRAY(w->t->arena, struct cut, longest + 1);
}

int nc_train_unigram(nc_trainer *t, nc_arena *a, nc_json **out, nc_error *e)
{
    const size_t size = t->o.vocab_size > 0 ? (size_t)t->o.vocab_size : 8000, wanted = size * 11 / 10;
    const int rounds = t->o.sub_iterations > 0 ? t->o.sub_iterations : 2;
    bool add_unk = true;
    struct work w = { .t = t, .most = t->o.max_piece_length > 0 ? t->o.max_piece_length : 16 };
    model m = { 0 };
    size_t char_count;
    for (int i = 0; i < t->o.special_count; i++)
        add_unk = add_unk && strcmp(t->o.special[i], t->o.unk);
    const size_t specials = (size_t)(t->o.special_count + add_unk);
    read_words(&w);
    const struct character *chars = characters(&w, &char_count);
    if (char_count + specials > size)
        return nc_fail(e, NC_EINVAL, "vocab_size %zu is too small: the texts have %zu characters, and there are %zu special tokens", size, char_count, specials);
    seed(&w, chars, char_count, &m);
    piece *pieces = m.p;
    w.expected = NC_NEW_ARRAY(t->arena, double, m.n);
    w.used = NC_NEW_ARRAY(t->arena, double, m.n);
    for (;;) {
        for (int k = 0; k < rounds; k++)
            em_round(&w, &m);
        if (m.n <= wanted)
            break;
        size_t before = m.n;
        prune(&w, &m, wanted);
        if (m.n == before)
            break;
    }
    piece *chosen = nc_xmalloc(sizeof *chosen * (size + char_count));
    size_t n = choose(&w, &m, chars, char_count, size - specials, chosen);
    *out = unigram_model(t, a, chosen, n, add_unk);
    free(chosen);
    free(pieces);
    free(m.trie.edges);
    return NC_OK;
}

/* model_bpe.c - byte-pair encoding (Sennrich, Haddow, Birch 2016, "Neural machine translation of rare words with subword units").
 *
 * A word starts as its characters (or bytes) and the adjacent pair with the lowest rank, leftmost first, is merged until none is left.
 * Merges are a hash of (left id, right id) -> (rank, merged id). Words of up to SHORT symbols are merged by scanning an array of ranks; longer ones by a
 * heap over a linked list, O(n log n). No merge crosses the place between a character and a blank (U+2581) that no token has in a row, so a text without a
 * pre-tokenizer falls into words there. byte_fallback spells unknown characters as <0xNN>; unknown ones are unk_token, fused when fuse_unk says so.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/model_bpe.h"

#define SHORT 48
#define NO_RANK UINT32_MAX
#define GLUE 4096
#define BLANK "\xe2\x96\x81"

struct merge { uint64_t key; uint32_t rank; int32_t id; };      /* key: left << 32 | right; empty: all ones */

struct bpe {
    nc_model part;
    struct merge *merges;
    int shift;
    size_t mask;
    bool raw, fuse_unk, byte_fallback, ignore_merges;
    int32_t unk;
    nc_str prefix, suffix;                  /* continuing_subword_prefix, end_of_word_suffix */
    int32_t byte_id[4][256];                /* raw: id of a byte, with prefix (bit 0) and suffix (bit 1); -1: none */
    int32_t fallback[256];
    uint64_t glue[GLUE / 64];               /* code points (by their low bits) that some merge joins to a blank behind them */
    nc_vocab *bytes;                        /* raw and ignore_merges: words by their bytes */
};

static inline const struct merge *find_merge(const struct bpe *m, int32_t left, int32_t right)
{
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    size_t i = (size_t)((key * 0x9e3779b97f4a7c15u) >> m->shift);
    for (;;) {
        const struct merge *x = &m->merges[i];
        if (x->key == key)
            return x;
        if (x->key == UINT64_MAX)
            return NULL;
        i = (i + 1) & m->mask;
    }
}

static void put_merge(struct bpe *m, int32_t left, int32_t right, uint32_t rank, int32_t id)
{
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    size_t i = (size_t)((key * 0x9e3779b97f4a7c15u) >> m->shift);
    while (m->merges[i].key != UINT64_MAX && m->merges[i].key != key)
        i = (i + 1) & m->mask;
    m->merges[i] = (struct merge){ key, rank, id };
}

/* A symbol of the word: its id, where its bytes end, and its neighbours in the list (heap form only). */
struct symbol { int32_t id; uint32_t end; int32_t previous, next; };

static inline uint32_t pair_rank(const struct bpe *m, const struct symbol *s, size_t i)
{
    const struct merge *x = find_merge(m, s[i].id, s[i + 1].id);
    return x ? x->rank : NO_RANK;
}

static size_t merge_short(const struct bpe *m, struct symbol *s, size_t n)
{
    uint32_t rank[SHORT];
    for (size_t i = 0; i + 1 < n; i++)
        rank[i] = pair_rank(m, s, i);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (rank[i] < rank[best])
                best = i;
        if (rank[best] == NO_RANK)
            break;
        s[best].id = find_merge(m, s[best].id, s[best + 1].id)->id;
        s[best].end = s[best + 1].end;
        memmove(s + best + 1, s + best + 2, (n - best - 2) * sizeof *s);
        memmove(rank + best, rank + best + 1, (n - best - 2) * sizeof *rank);
        n--;
        if (best + 1 < n)
            rank[best] = pair_rank(m, s, best);
        if (best > 0)
            rank[best - 1] = pair_rank(m, s, best - 1);
    }
    return n;
}

struct candidate { uint32_t rank; int32_t at; int32_t left, right; };

static inline bool before(struct candidate a, struct candidate b)
{
    return a.rank != b.rank ? a.rank < b.rank : a.at < b.at;
}

static void push(struct candidate *heap, size_t *count, struct candidate x)
{
    size_t i = (*count)++;
    while (i > 0 && before(x, heap[(i - 1) / 2])) {
        heap[i] = heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap[i] = x;
}

static struct candidate pop(struct candidate *heap, size_t *count)
{
    struct candidate top = heap[0], x = heap[--*count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= *count)
            break;
        if (child + 1 < *count && before(heap[child + 1], heap[child]))
            child++;
        if (!before(heap[child], x))
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = x;
    return top;
}

static void offer(const struct bpe *m, const struct symbol *s, int32_t at, struct candidate *heap, size_t *count)
{
    int32_t next = at < 0 ? -1 : s[at].next;
    if (next < 0)
        return;
    const struct merge *x = find_merge(m, s[at].id, s[next].id);
    if (x)
        push(heap, count, (struct candidate){ x->rank, at, s[at].id, s[next].id });
}

/* Every merge offers at most two new pairs, so the heap never holds more than 3n. */
static size_t merge_long(const struct bpe *m, struct symbol *s, size_t n, struct candidate *heap)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        s[i].previous = (int32_t)i - 1;
        s[i].next = i + 1 < n ? (int32_t)i + 1 : -1;
    }
    for (size_t i = 0; i + 1 < n; i++)
        offer(m, s, (int32_t)i, heap, &count);
    while (count) {
        struct candidate c = pop(heap, &count);
        struct symbol *left = &s[c.at];
        if (left->id != c.left || left->next < 0 || s[left->next].id != c.right)
            continue;
        struct symbol *right = &s[left->next];
        left->id = find_merge(m, c.left, c.right)->id;
        left->end = right->end;
        left->next = right->next;
        right->id = -1;
        if (left->next >= 0)
            s[left->next].previous = c.at;
        offer(m, s, c.at, heap, &count);
        offer(m, s, left->previous, heap, &count);
    }
    size_t kept = 0;
    for (int32_t i = 0; i >= 0; ) {
        int32_t next = s[i].next;
        s[kept++] = s[i];
        i = next;
    }
    return kept;
}

/* The id of one character with the affixes its place calls for. */
static int32_t character_id(const struct bpe *m, const char *p, size_t length, bool first, bool last)
{
    nc_str prefix = first ? (nc_str){ NULL, 0 } : m->prefix, suffix = last ? m->suffix : (nc_str){ NULL, 0 };
    if (!prefix.n && !suffix.n)
        return nc_vocab_id(m->part.vocab, (nc_str){ p, length });
    char text[4 + 2 * NC_BPE_AFFIX];
    memcpy(text, prefix.p ? prefix.p : "", prefix.n);
    memcpy(text + prefix.n, p, length);
    memcpy(text + prefix.n + length, suffix.p ? suffix.p : "", suffix.n);
    return nc_vocab_id(m->part.vocab, (nc_str){ text, prefix.n + length + suffix.n });
}

/* The word's first symbols; unknown characters wait in `unk` so that a run of them can become one. Characters without any id and no unk_token vanish. */
static size_t symbols_of(const struct bpe *m, nc_str word, struct symbol *s)
{
    size_t n = 0, unk_end = 0;
    for (size_t i = 0; i < word.n;) {
        size_t end = i + 1;
        int32_t id;
        if (m->raw) {
            id = m->byte_id[(i > 0) | (end == word.n) << 1][(unsigned char)word.p[i]];
        } else {
            while (end < word.n && ((unsigned char)word.p[end] & 0xc0) == 0x80)
                end++;
            id = character_id(m, word.p + i, end - i, i == 0, end == word.n);
        }
        bool fall = id < 0 && m->byte_fallback && !m->prefix.n && !m->suffix.n;
        for (size_t k = i; fall && k < end; k++)
            fall = m->fallback[(unsigned char)word.p[k]] >= 0;
        if (unk_end && (id >= 0 || (!fall && !m->fuse_unk))) {
            s[n++] = (struct symbol){ .id = m->unk, .end = (uint32_t)unk_end };
            unk_end = 0;
        }
        if (id >= 0) {
            s[n++] = (struct symbol){ .id = id, .end = (uint32_t)end };
        } else if (fall) {
            for (size_t k = i; k < end; k++)
                s[n++] = (struct symbol){ .id = m->fallback[(unsigned char)word.p[k]], .end = (uint32_t)k + 1 };
        } else if (m->unk >= 0) {
            unk_end = end;
        }
        i = end;
    }
    if (unk_end)
        s[n++] = (struct symbol){ .id = m->unk, .end = (uint32_t)unk_end };
    return n;
}

static int bpe_run(const nc_model *self, nc_scratch *scratch, nc_str word, nc_error *e)
{
    (void)e;
    const struct bpe *m = (const struct bpe *)self;
    if (m->ignore_merges) {
        int32_t id = nc_vocab_id(m->raw ? m->bytes : m->part.vocab, word);
        if (id >= 0) {
            nc_pieces_add(&scratch->pieces, id, (uint32_t)word.n);
            return NC_OK;
        }
    }
    struct symbol few[SHORT], *s = few;
    struct candidate *heap = NULL;
    if (word.n > SHORT) {
        s = nc_scratch_work(scratch, word.n * (sizeof *s + 3 * sizeof *heap));
        heap = (struct candidate *)(s + word.n);
    }
    size_t n = symbols_of(m, word, s);
    if (n > 1)
        n = n <= SHORT ? merge_short(m, s, n) : merge_long(m, s, n, heap);
    for (size_t i = 0; i < n; i++)
        nc_pieces_add(&scratch->pieces, s[i].id, s[i].end);
    return NC_OK;
}

/* The character that ends at byte end. */
static uint32_t last_character(nc_str text, size_t end)
{
    size_t at = end - 1;
    uint32_t c = 0;
    while (at > 0 && ((unsigned char)text.p[at] & 0xc0) == 0x80)
        at--;
    nc_utf8_decode(text.p + at, end - at, &c);
    return c;
}

static bool glued(const struct bpe *m, uint32_t c)
{
    return m->glue[c % GLUE / 64] >> (c % 64) & 1;
}

/* A blank in front of which no merge reaches. */
static size_t bpe_cut(const nc_model *self, nc_str word, size_t from)
{
    const struct bpe *m = (const struct bpe *)self;
    for (size_t at = from + 1; at < word.n; at++) {
        const char *blank = memmem(word.p + at, word.n - at, BLANK, 3);
        if (!blank)
            break;
        at = (size_t)(blank - word.p);
        if (!glued(m, last_character(word, at)))
            return at;
    }
    return word.n;
}

/* Which characters some token has in front of a blank. Bytes that stand in for a character and unk_token are spelled otherwise than the text they cover: where a token
 * could be one of those and a blank, nothing is cut. */
static void find_cuts(struct bpe *m)
{
    const nc_vocab *v = m->part.vocab;
    const char *blank;
    nc_str unk = nc_vocab_token(v, m->unk);
    if (m->raw || m->ignore_merges || m->prefix.n || m->suffix.n || nc_vocab_id(v, NC_STR(BLANK)) < 0)
        return;
    for (int32_t id = 0; id < nc_vocab_size(v); id++) {
        nc_str token = nc_vocab_token(v, id);
        for (size_t at = 1; at < token.n && (blank = memmem(token.p + at, token.n - at, BLANK, 3)); at = (size_t)(blank - token.p) + 1) {
            uint32_t c = last_character(token, (size_t)(blank - token.p));
            if (c == '>' || (unk.n && c == last_character(unk, unk.n)))
                return;
            m->glue[c % GLUE / 64] |= (uint64_t)1 << (c % 64);
        }
    }
    m->part.cut = bpe_cut;
}

static size_t bpe_memory(const nc_model *self)
{
    const struct bpe *m = (const struct bpe *)self;
    return sizeof *m + (m->mask + 1) * sizeof *m->merges + nc_vocab_memory(m->part.vocab) + (m->bytes ? nc_vocab_memory(m->bytes) : 0);
}

static void bpe_release(nc_model *self)
{
    struct bpe *m = (struct bpe *)self;
    nc_vocab_free(m->part.vocab);
    nc_vocab_free(m->bytes);
    free(m->merges);
}

/* A merge is "left right" or ["left", "right"]. */
static bool merge_parts(const nc_json *v, nc_str *left, nc_str *right)
{
    if (nc_json_is(v, NC_JSON_ARRAY)) {
        if (v->count != 2 || v->first->type != NC_JSON_STRING || v->first->next->type != NC_JSON_STRING)
            return false;
        *left = v->first->text;
        *right = v->first->next->text;
        return true;
    }
    if (!nc_json_is(v, NC_JSON_STRING))
        return false;
    const char *space = memchr(v->text.p, ' ', v->text.n);
    if (!space)
        return false;
    *left = (nc_str){ v->text.p, (size_t)(space - v->text.p) };
    *right = (nc_str){ space + 1, v->text.n - left->n - 1 };
    return !memchr(right->p, ' ', right->n);
}

#define AHEAD 8             /* table slots are fetched this many items before their use: loading is bound by memory latency */

/* The ids of merge number rank: left, right and what they make. guess: merges mostly stand in the order of the ids they make. */
static int merge_ids(const struct bpe *m, const nc_json *item, uint32_t rank, nc_buf *whole, int32_t guess, struct merge *out, nc_error *e)
{
    nc_str left, right;
    if (!merge_parts(item, &left, &right) || right.n < m->prefix.n)
        return nc_fail(e, NC_EFORMAT, "model.merges[%u] (line %d) is no pair of tokens", rank, item->line);
    nc_buf_clear(whole);
    nc_buf_add(whole, left.p, left.n);
    nc_buf_add(whole, right.p + m->prefix.n, right.n - m->prefix.n);
    nc_str merged = { whole->p ? whole->p : "", whole->n };
    int32_t a = nc_vocab_id(m->part.vocab, left), b = nc_vocab_id(m->part.vocab, right);
    int32_t id = nc_str_eq(nc_vocab_token(m->part.vocab, guess), merged) ? guess : nc_vocab_id(m->part.vocab, merged);
    if (a < 0 || b < 0 || id < 0) {
        nc_str missing = a < 0 ? left : b < 0 ? right : merged;
        return nc_fail(e, NC_EFORMAT, "model.merges[%u]: token \"%.*s\" is not in model.vocab", rank, (int)(missing.n < 100 ? missing.n : 100), missing.p);
    }
    *out = (struct merge){ (uint64_t)(uint32_t)a << 32 | (uint32_t)b, rank, id };
    return NC_OK;
}

static int read_merges(struct bpe *m, const nc_json *list, nc_error *e)
{
    size_t slots = 64, count = (size_t)list->count;
    while (slots < count * 2)
        slots *= 2;
    m->mask = slots - 1;
    m->shift = 64 - __builtin_ctzll(slots);
    m->merges = nc_xmalloc(slots * sizeof *m->merges);
    memset(m->merges, 0xff, slots * sizeof *m->merges);
    struct merge *all = nc_xmalloc((count + 1) * sizeof *all);
    nc_buf whole = { 0 };
    const nc_json *ahead = list->first;
    uint32_t rank = 0;
    int status = NC_OK;
    for (int i = 0; ahead && i < AHEAD; i++)
        ahead = ahead->next;
    NC_JSON_EACH(item, list) {
        nc_str left, right;
        if (ahead && merge_parts(ahead, &left, &right)) {
            nc_vocab_prefetch(m->part.vocab, left);
            nc_vocab_prefetch(m->part.vocab, right);
        }
        ahead = ahead ? ahead->next : NULL;
        status = merge_ids(m, item, rank, &whole, rank ? all[rank - 1].id + 1 : 0, &all[rank], e);
        if (status < 0)
            break;
        rank++;
    }
    for (uint32_t i = 0; status >= 0 && i < rank; i++) {
        if (i + AHEAD < rank)
            __builtin_prefetch(&m->merges[(size_t)((all[i + AHEAD].key * 0x9e3779b97f4a7c15u) >> m->shift)], 1);
        put_merge(m, (int32_t)(all[i].key >> 32), (int32_t)(uint32_t)all[i].key, all[i].rank, all[i].id);
    }
    nc_buf_free(&whole);
    free(all);
    return status;
}

/* "merges": "every split" (tiktoken ranks): any two tokens whose joined spelling is a token merge into it, its id being the rank. */
static int every_split(struct bpe *m)
{
    struct merge *all = NULL;
    size_t n = 0, capacity = 0, slots = 64;
    for (int32_t id = 0; id < nc_vocab_size(m->part.vocab); id++) {
        nc_str token = nc_vocab_token(m->part.vocab, id);
        for (size_t cut = 1; token.p && cut < token.n; cut++) {
            int32_t left = ((unsigned char)token.p[cut] & 0xc0) == 0x80 ? -1 : nc_vocab_id(m->part.vocab, (nc_str){ token.p, cut });
            int32_t right = left < 0 ? -1 : nc_vocab_id(m->part.vocab, (nc_str){ token.p + cut, token.n - cut });
            if (right < 0)
                continue;
            if (n == capacity) {
                capacity = capacity ? capacity * 2 : 1024;
                all = nc_xrealloc(all, capacity * sizeof *all);
            }
            all[n++] = (struct merge){ (uint64_t)(uint32_t)left << 32 | (uint32_t)right, (uint32_t)id, id };
        }
    }
    while (slots < n * 2)
        slots *= 2;
    m->mask = slots - 1;
    m->shift = 64 - __builtin_ctzll(slots);
    m->merges = nc_xmalloc(slots * sizeof *m->merges);
    memset(m->merges, 0xff, slots * sizeof *m->merges);
    for (size_t i = 0; i < n; i++)
        put_merge(m, (int32_t)(all[i].key >> 32), (int32_t)(uint32_t)all[i].key, all[i].rank, all[i].id);
    free(all);
    return NC_OK;
}

int nc_vocab_read(nc_vocab *vocab, const nc_json *object, nc_error *e)
{
    if (!nc_json_is(object, NC_JSON_OBJECT))
        return nc_fail(e, NC_EFORMAT, "model.vocab is missing or no object of token: id");
    nc_vocab_reserve(vocab, (size_t)object->count);
    const nc_json *ahead = object->first;
    for (int i = 0; ahead && i < AHEAD; i++)
        ahead = ahead->next;
    NC_JSON_EACH(item, object) {
        int64_t id;
        if (ahead)
            nc_vocab_prefetch(vocab, ahead->key);
        ahead = ahead ? ahead->next : NULL;
        if (!nc_json_int_exact(item, &id) || id < 0 || id >= NC_VOCAB_LIMIT || nc_vocab_set(vocab, (int32_t)id, item->key) < 0)
            return nc_fail(e, NC_EFORMAT, "model.vocab[\"%.*s\"] (line %d) is no id between 0 and %d", (int)(item->key.n < 100 ? item->key.n : 100),
                           item->key.p, item->line, NC_VOCAB_LIMIT - 1);
    }
    return NC_OK;
}

static int affix(nc_build *b, const nc_json *v, const char *key, nc_str *out, nc_error *e)
{
    const nc_json *text = nc_json_get(v, key);
    *out = nc_json_is(text, NC_JSON_STRING) ? text->text : (nc_str){ NULL, 0 };
    if (out->n > NC_BPE_AFFIX)
        return nc_fail(e, NC_ELIMIT, "model.%s has %zu bytes, the limit is %d", key, out->n, NC_BPE_AFFIX);
    if (out->n)
        out->p = nc_arena_strndup(b->arena, out->p, out->n);
    return NC_OK;
}

static void byte_tables(struct bpe *m)
{
    for (int byte = 0; byte < 256; byte++) {
        char text[8];
        int length = nc_utf8_encode(nc_byte_char[byte], text);
        for (int k = 0; k < 4; k++)
            m->byte_id[k][byte] = character_id(m, text, (size_t)length, !(k & 1), k >> 1);
        snprintf(text, sizeof text, "<0x%02X>", (unsigned)byte);
        m->fallback[byte] = nc_vocab_id(m->part.vocab, nc_str_of(text));
    }
}

int nc_model_bpe(nc_build *b, const nc_json *v, nc_model **out, nc_error *e)
{
    struct bpe *m = NC_NEW(b->arena, struct bpe);
    m->part = (nc_model){ .run = bpe_run, .vocab = nc_vocab_new(b->arena), .cached = true, .memory = bpe_memory, .release = bpe_release };
    *out = &m->part;                        /* released by the tokenizer, also when this fails */
    m->raw = b->raw_bytes;
    m->fuse_unk = nc_json_bool(nc_json_get(v, "fuse_unk"), false);
    m->byte_fallback = nc_json_bool(nc_json_get(v, "byte_fallback"), false);
    m->ignore_merges = nc_json_bool(nc_json_get(v, "ignore_merges"), false);
    m->unk = -1;
    if (nc_json_double(nc_json_get(v, "dropout"), 0) != 0)
        return nc_fail(e, NC_EUNSUPPORTED, "model.dropout is %g; only null or 0 is supported, set it to null", nc_json_double(nc_json_get(v, "dropout"), 0));
    NC_TRY(affix(b, v, "continuing_subword_prefix", &m->prefix, e));
    NC_TRY(affix(b, v, "end_of_word_suffix", &m->suffix, e));
    NC_TRY(nc_vocab_read(m->part.vocab, nc_json_get(v, "vocab"), e));
    const nc_json *merges = nc_json_get(v, "merges");
    if (nc_json_is(merges, NC_JSON_STRING) && nc_str_eqz(merges->text, "every split"))
        NC_TRY(every_split(m));
    else if (!nc_json_is(merges, NC_JSON_ARRAY))
        return nc_fail(e, NC_EFORMAT, "model.merges is missing or no list");
    else
        NC_TRY(read_merges(m, merges, e));
    const nc_json *unk = nc_json_get(v, "unk_token");
    if (nc_json_is(unk, NC_JSON_STRING) && (m->unk = nc_vocab_id(m->part.vocab, unk->text)) < 0)
        return nc_fail(e, NC_EFORMAT, "model.unk_token \"%s\" is not in model.vocab", unk->text.p);
    byte_tables(m);
    find_cuts(m);
    if (m->raw && m->ignore_merges) {
        m->bytes = nc_vocab_new(b->arena);
        nc_buf bytes = { 0 };
        nc_vocab_reserve(m->bytes, (size_t)nc_vocab_size(m->part.vocab));
        for (int32_t id = 0; id < nc_vocab_size(m->part.vocab); id++) {
            nc_str token = nc_vocab_token(m->part.vocab, id);
            nc_buf_clear(&bytes);
            if (token.p && nc_bytelevel_decode(token, &bytes) && bytes.n)
                nc_vocab_set(m->bytes, id, (nc_str){ bytes.p, bytes.n });
        }
        nc_buf_free(&bytes);
    }
    return NC_OK;
}

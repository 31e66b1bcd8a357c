/* spm_models.c - sentencepiece's BPE, char and word models.
 *
 * BPE: of all neighbours whose joined spelling is a piece, the pair with the best score joins first, the leftmost of equals; user-defined symbols never join; a piece marked
 * unused falls apart again into what it was made from. Char: every character is a piece. Word: every stretch from one U+2581 to the next.
 * Source: bpe_model.cc, char_model.cc, word_model.cc, model_interface.cc of google/sentencepiece.
 */
#include <stdlib.h>
#include <string.h>

#include "text/spm.h"
#include "text/tokenizer_internal.h"

#define UNUSED_DEPTH 64     /* an unused piece of unused pieces of ... */

struct spm {
    nc_model part;
    const uint8_t *type;
    float *score;
    nc_trie user;
    int32_t count, unk, fallback[256];
    bool byte_fallback;
};

/* Piece id for bytes [begin, end) of the word; unknown neighbours become one, or their bytes. */
static void emit(const struct spm *m, nc_scratch *s, nc_str word, size_t begin, size_t end, int32_t id)
{
    nc_piece *last = begin && s->pieces.n ? &s->pieces.p[s->pieces.n - 1] : NULL;
    bool bytes = id == m->unk && m->byte_fallback;
    for (size_t i = begin; bytes && i < end; i++)
        bytes = m->fallback[(unsigned char)word.p[i]] >= 0;
    if (bytes)
        for (size_t i = begin; i < end; i++)
            nc_pieces_add(&s->pieces, m->fallback[(unsigned char)word.p[i]], (uint32_t)(i + 1 < end ? begin : end));
    else if (id == m->unk && last && last->id == m->unk && last->end == begin)
        last->end = (uint32_t)end;
    else
        nc_pieces_add(&s->pieces, id, (uint32_t)end);
}

/* The id of a spelling that merging or cutting may give: no control, byte or unknown piece. -1: none. */
static int32_t piece_id(const struct spm *m, nc_str text)
{
    int32_t id = nc_vocab_id(m->part.vocab, text);
    int type = id >= 0 && id < m->count ? m->type[id] : 0;
    return type == NC_SPM_NORMAL || type == NC_SPM_USER || type == NC_SPM_UNUSED ? id : -1;
}

static int32_t id_or_unk(const struct spm *m, nc_str text)
{
    int32_t id = piece_id(m, text);
    return id >= 0 ? id : m->unk;
}

static size_t character(const struct spm *m, nc_str text, bool *whole)
{
    size_t n = nc_trie_prefix(&m->user, text);
    *whole = n > 0;
    if (n)
        return n;
    for (n = 1; n < text.n && ((unsigned char)text.p[n] & 0xc0) == 0x80;)
        n++;
    return n;
}

struct symbol { uint32_t begin, size; int32_t previous, next; bool whole; };
struct pair { float score; int32_t left, right; uint32_t size; };

static bool before(const struct pair *a, const struct pair *b)
{
    return a->score > b->score || (a->score == b->score && a->left < b->left);
}

struct heap { struct pair *p; size_t n; };

static void push(struct heap *h, struct pair x)
{
    size_t i = h->n++;
    while (i > 0 && before(&x, &h->p[(i - 1) / 2])) {
        h->p[i] = h->p[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    h->p[i] = x;
}

static struct pair pop(struct heap *h)
{
    struct pair top = h->p[0], x = h->p[--h->n];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < h->n; i = child) {
        if (child + 1 < h->n && before(&h->p[child + 1], &h->p[child]))
            child++;
        if (!before(&h->p[child], &x))
            break;
        h->p[i] = h->p[child];
    }
    h->p[i] = x;
    return top;
}

/* Where an unused piece was joined last: its first part's size, by id. Kept as (id, size) pairs of one call. */
struct splits { struct { int32_t id; uint32_t size; } *p; size_t n, capacity; };

static void offer(const struct spm *m, nc_str word, const struct symbol *s, int32_t left, int32_t right, struct heap *h, struct splits *unused)
{
    if (left < 0 || right < 0 || s[left].whole || s[right].whole)
        return;
    uint32_t size = s[left].size + s[right].size;
    int32_t id = piece_id(m, (nc_str){ word.p + s[left].begin, size });
    if (id < 0)
        return;
    push(h, (struct pair){ m->score[id], left, right, size });
    if (m->type[id] != NC_SPM_UNUSED)
        return;
    if (unused->n == unused->capacity) {
        unused->capacity = unused->capacity ? unused->capacity * 2 : 16;
        unused->p = nc_xrealloc(unused->p, unused->capacity * sizeof *unused->p);
    }
    unused->p[unused->n].id = id;
    unused->p[unused->n++].size = s[left].size;
}

static void segment(const struct spm *m, nc_scratch *s, nc_str word, size_t begin, size_t end, const struct splits *unused, int depth)
{
    int32_t id = id_or_unk(m, (nc_str){ word.p + begin, end - begin });
    if (m->type[id] == NC_SPM_UNUSED && depth < UNUSED_DEPTH) {
        for (size_t i = unused->n; i > 0; i--) {
            if (unused->p[i - 1].id != id)
                continue;
            size_t middle = begin + unused->p[i - 1].size;
            segment(m, s, word, begin, middle, unused, depth + 1);
            segment(m, s, word, middle, end, unused, depth + 1);
            return;
        }
    }
    emit(m, s, word, begin, end, id);
}

/* At most one pair a neighbourhood at the start and two a merge: 3n in all. */
static int bpe_run(const nc_model *self, nc_scratch *scratch, nc_str word, nc_error *e)
{
    (void)e;
    const struct spm *m = (const struct spm *)self;
    struct symbol *s = nc_scratch_work(scratch, word.n * (sizeof *s + 3 * sizeof(struct pair)));
    struct heap h = { (struct pair *)(s + word.n), 0 };
    struct splits unused = { 0 };
    int32_t n = 0;
    for (size_t at = 0; at < word.n; n++) {
        bool whole;
        size_t size = character(m, (nc_str){ word.p + at, word.n - at }, &whole);
        s[n] = (struct symbol){ (uint32_t)at, (uint32_t)size, n - 1, at + size < word.n ? n + 1 : -1, whole };
        at += size;
    }
    for (int32_t i = 1; i < n; i++)
        offer(m, word, s, i - 1, i, &h, &unused);
    while (h.n) {
        struct pair x = pop(&h);
        struct symbol *left = &s[x.left], *right = &s[x.right];
        if (!left->size || !right->size || left->size + right->size != x.size)
            continue;
        left->size = x.size;
        left->next = right->next;
        right->size = 0;
        if (right->next >= 0)
            s[right->next].previous = x.left;
        offer(m, word, s, left->previous, x.left, &h, &unused);
        offer(m, word, s, x.left, left->next, &h, &unused);
    }
    for (int32_t i = n ? 0 : -1; i >= 0; i = s[i].next)
        segment(m, scratch, word, s[i].begin, s[i].begin + s[i].size, &unused, 0);
    free(unused.p);
    return NC_OK;
}

static int char_run(const nc_model *self, nc_scratch *s, nc_str word, nc_error *e)
{
    (void)e;
    const struct spm *m = (const struct spm *)self;
    for (size_t at = 0; at < word.n;) {
        bool whole;
        size_t n = character(m, (nc_str){ word.p + at, word.n - at }, &whole);
        emit(m, s, word, at, at + n, id_or_unk(m, (nc_str){ word.p + at, n }));
        at += n;
    }
    return NC_OK;
}

static int word_run(const nc_model *self, nc_scratch *s, nc_str word, nc_error *e)
{
    (void)e;
    const struct spm *m = (const struct spm *)self;
    for (size_t at = 0; at < word.n;) {
        const char *mark = word.n - at > 1 ? memmem(word.p + at + 1, word.n - at - 1, "\xe2\x96\x81", 3) : NULL;
        size_t end = mark ? (size_t)(mark - word.p) : word.n;
        emit(m, s, word, at, end, id_or_unk(m, (nc_str){ word.p + at, end - at }));
        at = end;
    }
    return NC_OK;
}

static size_t spm_memory(const nc_model *self)
{
    return sizeof(struct spm) + nc_vocab_memory(self->vocab);
}

static void spm_release(nc_model *self)
{
    struct spm *m = (struct spm *)self;
    nc_vocab_free(m->part.vocab);
    free(m->user.p);
}

static int create(nc_build *b, const nc_json *v, int (*run)(const nc_model *, nc_scratch *, nc_str, nc_error *), nc_model **out, nc_error *e)
{
    const nc_json *list = nc_json_get(v, "vocab");
    struct spm *m = NC_NEW(b->arena, struct spm);
    m->part = (nc_model){ .run = run, .vocab = nc_vocab_new(b->arena), .memory = spm_memory, .release = spm_release };
    *out = &m->part;
    nc_trie_init(&m->user);
    m->type = list ? nc_spm_types(b->arena, list) : NULL;
    m->unk = (int32_t)nc_json_int(nc_json_get(v, "unk_id"), -1);
    if (!m->type || m->unk < 0 || m->unk >= list->count)
        return nc_fail(e, NC_EFORMAT, "model needs a \"vocab\" of [piece, score, type] and an \"unk_id\" in it");
    m->byte_fallback = nc_json_bool(nc_json_get(v, "byte_fallback"), false);
    m->score = NC_NEW_ARRAY(b->arena, float, list->count);
    NC_JSON_EACH(item, list) {
        if (nc_vocab_set(m->part.vocab, m->count, nc_json_at(item, 0)->text) < 0)
            return nc_fail(e, NC_EFORMAT, "model.vocab[%d] is too long or one too many", m->count);
        m->score[m->count] = (float)nc_json_double(nc_json_at(item, 1), 0);
        if (m->type[m->count] == NC_SPM_USER)
            nc_trie_add(&m->user, nc_json_at(item, 0)->text, 0);
        m->count++;
    }
    nc_byte_entries(m->part.vocab, m->fallback);
    return NC_OK;
}

int nc_model_spm_bpe(nc_build *b, const nc_json *v, nc_model **out, nc_error *e) { return create(b, v, bpe_run, out, e); }
int nc_model_spm_char(nc_build *b, const nc_json *v, nc_model **out, nc_error *e) { return create(b, v, char_run, out, e); }
int nc_model_spm_word(nc_build *b, const nc_json *v, nc_model **out, nc_error *e) { return create(b, v, word_run, out, e); }

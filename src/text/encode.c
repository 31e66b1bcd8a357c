/* encode.c - text to ids: added tokens cut out, the rest normalized, split into words, the model run on each word, special tokens put around. */
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer_internal.h"
#include "text/unicode.h"
#include "text/word_cache.h"

/* Where the ids go. chars[i]: characters before byte i of the text, NULL when offsets are bytes. */
struct sink {
    const nc_tokenizer *t;
    nc_scratch *s;
    nc_ids *ids;
    nc_encoding *full;
    const uint32_t *chars;
    unsigned flags;
    int8_t sequence;
    uint8_t type;
    size_t first;               /* where this sequence begins in full */
};

void nc_ids_add(nc_ids *ids, int32_t id)
{
    if (ids->n == ids->capacity) {
        ids->capacity = ids->capacity ? ids->capacity * 2 : 64;
        ids->p = nc_xrealloc(ids->p, ids->capacity * sizeof *ids->p);
    }
    ids->p[ids->n++] = id;
}

void nc_ids_free(nc_ids *ids)
{
    free(ids->p);
    *ids = (nc_ids){ 0 };
}

void nc_encoding_free(nc_encoding *x)
{
    free(x->ids);
    free(x->begin);
    free(x->end);
    free(x->sequence);
    free(x->type);
    free(x->special);
    *x = (nc_encoding){ 0 };
}

static void encoding_add(nc_encoding *x, int32_t id, uint32_t begin, uint32_t end, int8_t sequence, uint8_t type, unsigned flags)
{
    if (x->n == x->capacity) {
        size_t c = x->capacity = x->capacity ? x->capacity * 2 : 64;
        x->ids = nc_xrealloc(x->ids, c * sizeof *x->ids);
        x->sequence = nc_xrealloc(x->sequence, c);
        x->type = nc_xrealloc(x->type, c);
        x->special = nc_xrealloc(x->special, c);
        if (flags & NC_ENCODE_OFFSETS) {
            x->begin = nc_xrealloc(x->begin, c * sizeof *x->begin);
            x->end = nc_xrealloc(x->end, c * sizeof *x->end);
        }
    }
    x->ids[x->n] = id;
    x->sequence[x->n] = sequence;
    x->type[x->n] = type;
    x->special[x->n] = sequence < 0;
    if (flags & NC_ENCODE_OFFSETS) {
        x->begin[x->n] = begin;
        x->end[x->n] = end;
    }
    x->n++;
}

/* Blanks at both ends of a token's spelling: the byte alphabet's blank (U+0120) counts. */
static void blanks_of(nc_str token, uint32_t *lead, uint32_t *trail)
{
    *lead = *trail = 0;
    bool leading = true;
    for (size_t i = 0; i < token.n;) {
        uint32_t c = 0;
        int length = nc_utf8_decode(token.p + i, token.n - i, &c);
        bool blank = length > 0 && (c == 0x120 || nc_char_is_space(c));
        leading = leading && blank;
        *lead += leading;
        *trail = blank ? *trail + 1 : 0;
        i += length > 0 ? (size_t)length : 1;
    }
}

/* ByteLevel's trim_offsets: blanks are taken off the range, except a single one in front that an added prefix space may have put there. */
static void trim(const struct sink *k, nc_str token, uint32_t *begin, uint32_t *end)
{
    uint32_t lead, trail;
    blanks_of(token, &lead, &trail);
    if (lead && !(lead == 1 && (k->full->n == k->first || *begin == 0) && k->t->post->prefix_space))
        *begin = *begin + lead < *end ? *begin + lead : *end;
    if (trail && *end >= trail)
        *end = *end - trail > *begin ? *end - trail : *begin;
}

static void emit_full(const struct sink *k, int32_t id, uint32_t begin, uint32_t end, nc_str spelling)
{
    if (k->chars) {
        begin = k->chars[begin];
        end = k->chars[end];
    }
    if (k->flags & NC_ENCODE_OFFSETS && k->t->post && k->t->post->trim_offsets)
        trim(k, spelling, &begin, &end);
    encoding_add(k->full, id, begin, end, k->sequence, k->type, k->flags);
}

static void emit_word(const struct sink *k, nc_span word, const nc_piece *pieces, size_t count)
{
    if (k->ids) {
        for (size_t i = 0; i < count; i++)
            nc_ids_add(k->ids, pieces[i].id);
        return;
    }
    const nc_aligned *text = &k->s->text;
    uint32_t at = word.begin, begin = 0, end = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t next = word.begin + (pieces[i].end & ~NC_PIECE_SHARED);
        if (text->aligned && !(pieces[i].end & NC_PIECE_SHARED)) {
            begin = at < text->n ? text->from[at] : 0;
            end = next > at ? text->to[next - 1] : begin;
        }
        at = next;
        emit_full(k, pieces[i].id, begin, end, nc_tokenizer_token(k->t, pieces[i].id));
    }
}

/* One word, or what can be cut off a word: its pieces come from the cache or from the model. */
static int run_word(const struct sink *k, nc_span q, nc_error *e)
{
    nc_scratch *s = k->s;
    const nc_model *model = k->t->model;
    nc_str word = { s->text.p + q.begin, q.end - q.begin };
    uint64_t hash = 0;
    uint32_t count = 0;
    bool cached = model->cached && word.n <= NC_CACHED_WORD;
    const nc_piece *known = cached ? nc_word_cache_get(s->cache, word, &hash, &count) : NULL;
    if (!known) {
        s->pieces.n = 0;
        if (word.n)
            NC_TRY(model->run(model, s, word, e));
        known = s->pieces.p;
        count = (uint32_t)s->pieces.n;
        if (cached && count < UINT16_MAX)
            nc_word_cache_put(s->cache, word, hash, known, count);
    }
    emit_word(k, q, known, count);
    return NC_OK;
}

/* Words of the text in s->text, which is one stretch between added tokens. */
static int run_words(const struct sink *k, bool at_start, nc_error *e)
{
    nc_scratch *s = k->s;
    const nc_model *model = k->t->model;
    if (!s->text.n)
        return NC_OK;
    s->spans.n = 0;
    nc_spans_add(&s->spans, 0, (uint32_t)s->text.n, at_start);
    if (k->t->pretokenizer)
        k->t->pretokenizer->run(k->t->pretokenizer, s);
    for (size_t i = 0; i < s->spans.n; i++) {
        nc_span q = s->spans.p[i];
        if (!model->cut) {
            NC_TRY(run_word(k, q, e));
            continue;
        }
        nc_str word = { s->text.p + q.begin, q.end - q.begin };
        for (size_t at = 0, end; at < word.n; at = end) {
            end = model->cut(model, word, at);
            NC_TRY(run_word(k, (nc_span){ q.begin + (uint32_t)at, q.begin + (uint32_t)end, false }, e));
        }
    }
    return NC_OK;
}

static bool ends_in_word(nc_str text)
{
    size_t at = text.n;
    uint32_t c;
    if (!at)
        return false;
    do
        at--;
    while (at > 0 && ((unsigned char)text.p[at] & 0xc0) == 0x80);
    return nc_utf8_decode(text.p + at, text.n - at, &c) > 0 && nc_char_is_word(c);
}

static bool starts_with_word(nc_str text)
{
    uint32_t c;
    return nc_utf8_decode(text.p, text.n, &c) > 0 && nc_char_is_word(c);
}

static size_t blanks_before(nc_str text)
{
    size_t begin = text.n;
    while (begin > 0) {
        size_t at = begin - 1;
        uint32_t c;
        while (at > 0 && ((unsigned char)text.p[at] & 0xc0) == 0x80)
            at--;
        if (nc_utf8_decode(text.p + at, begin - at, &c) <= 0 || !nc_char_is_space(c))
            break;
        begin = at;
    }
    return begin;
}

static size_t blanks_after(nc_str text, size_t at)
{
    uint32_t c;
    int length;
    while ((length = nc_utf8_decode(text.p + at, text.n - at, &c)) > 0 && nc_char_is_space(c))
        at += (size_t)length;
    return at;
}

/* The next added token of text that may stand there. *search goes on behind the bare match, *begin and *end hold the blanks it swallows as well. */
static int32_t next_added(const struct sink *k, const nc_trie *trie, nc_str text, size_t done, size_t *search, size_t *begin, size_t *end)
{
    int32_t index;
    while ((index = nc_trie_find(trie, text, *search, begin, end)) >= 0) {
        const nc_added *a = &k->t->added[index];
        *search = *end;
        if (a->special && (k->flags & NC_ENCODE_PLAIN))
            continue;
        if (a->single_word && (ends_in_word((nc_str){ text.p, *begin }) || starts_with_word((nc_str){ text.p + *end, text.n - *end })))
            continue;
        if (a->lstrip)
            *begin = blanks_before((nc_str){ text.p, *begin });
        if (a->rstrip)
            *end = blanks_after(text, *end);
        if (*begin < done)
            *begin = done;
        if (*end < *begin)
            *end = *begin;
        return index;
    }
    return -1;
}

static void emit_added(const struct sink *k, int32_t index, uint32_t begin, uint32_t end, nc_str spelling)
{
    if (k->ids)
        nc_ids_add(k->ids, k->t->added[index].id);
    else
        emit_full(k, k->t->added[index].id, begin, end, spelling);
}

/* s->text = bytes [begin, end) of s->whole with their origins. */
static void take_part(nc_scratch *s, size_t begin, size_t end)
{
    nc_edit e = nc_edit_begin(&s->whole, &s->text);
    nc_edit_skip(&e, begin);
    nc_edit_keep(&e, end - begin);
}

/* A stretch without plain added tokens: normalize, cut out the normalized added tokens, then words. */
static int run_stretch(const struct sink *k, nc_str text, size_t base, nc_error *e)
{
    nc_scratch *s = k->s;
    nc_aligned_set(&s->text, text, (uint32_t)base, k->flags & NC_ENCODE_OFFSETS);
    if (k->t->normalizer)
        k->t->normalizer->run(k->t->normalizer, s);
    size_t begin, end, done = 0, search = 0;
    int32_t index = -1;
    if (k->t->has_normalized)
        index = next_added(k, &k->t->normalized, nc_aligned_str(&s->text), 0, &search, &begin, &end);
    if (index < 0)
        return run_words(k, base == 0, e);
    nc_aligned_swap(&s->text, &s->whole);
    nc_str whole = nc_aligned_str(&s->whole);
    do {
        if (begin > done) {
            take_part(s, done, begin);
            NC_TRY(run_words(k, base == 0 && done == 0, e));
        }
        bool known = s->whole.aligned && end > begin;
        emit_added(k, index, known ? s->whole.from[begin] : 0, known ? s->whole.to[end - 1] : 0, (nc_str){ whole.p + begin, end - begin });
        done = end;
    } while ((index = next_added(k, &k->t->normalized, whole, done, &search, &begin, &end)) >= 0);
    if (done < whole.n) {
        take_part(s, done, whole.n);
        NC_TRY(run_words(k, base == 0 && done == 0, e));
    }
    return NC_OK;
}

static int run_text(const struct sink *k, nc_str text, nc_error *e)
{
    size_t begin, end, done = 0, search = 0;
    int32_t index;
    while (k->t->has_plain && (index = next_added(k, &k->t->plain, text, done, &search, &begin, &end)) >= 0) {
        if (begin > done)
            NC_TRY(run_stretch(k, (nc_str){ text.p + done, begin - done }, done, e));
        emit_added(k, index, (uint32_t)begin, (uint32_t)end, (nc_str){ text.p + begin, end - begin });
        done = end;
    }
    return done < text.n ? run_stretch(k, (nc_str){ text.p + done, text.n - done }, done, e) : NC_OK;
}

static int check_text(nc_str text, nc_error *e)
{
    if (text.n > (size_t)1 << 30)
        return nc_fail(e, NC_ELIMIT, "text of %zu bytes, the limit is 1 GiB; encode it in parts", text.n);
    if (nc_utf8_valid(text))
        return NC_OK;
    size_t at = 0;
    uint32_t c;
    int length;
    while ((length = nc_utf8_decode(text.p + at, text.n - at, &c)) > 0)
        at += (size_t)length;
    return nc_fail(e, NC_EFORMAT, "text is not valid UTF-8 at byte %zu; convert it first", at);
}

static uint32_t *character_index(nc_str text)
{
    uint32_t *chars = nc_xmalloc((text.n + 1) * sizeof *chars), count = 0;
    for (size_t i = 0; i < text.n; i++) {
        bool lead = ((unsigned char)text.p[i] & 0xc0) != 0x80;
        chars[i] = lead ? count : count - 1;
        count += lead;
    }
    chars[text.n] = count;
    return chars;
}

static int run_sequence(struct sink *k, nc_str text, nc_error *e)
{
    uint32_t *chars = k->full && (k->flags & NC_ENCODE_OFFSETS) && !(k->flags & NC_ENCODE_BYTES) ? character_index(text) : NULL;
    k->chars = chars;
    k->first = k->full ? k->full->n : 0;
    k->s = nc_scratch_lend(k->t);
    int status = run_text(k, text, e);
    nc_scratch_return(k->t, k->s);
    free(chars);
    return status;
}

int nc_tokenizer_encode(const nc_tokenizer *t, nc_str text, unsigned flags, nc_ids *ids, nc_error *e)
{
    NC_TRY(check_text(text, e));
    struct sink k = { .t = t, .ids = ids, .flags = flags & ~(unsigned)NC_ENCODE_OFFSETS };
    if (!t->post || !(flags & NC_ENCODE_SPECIAL))
        return run_sequence(&k, text, e);
    for (int i = 0; i < t->post->singles; i++) {
        const nc_post_item *item = &t->post->single[i];
        if (item->sequence < 0)
            nc_ids_add(ids, item->id);
        else
            NC_TRY(run_sequence(&k, text, e));
    }
    return NC_OK;
}

int nc_tokenizer_encode_full(const nc_tokenizer *t, nc_str text, const nc_str *pair, unsigned flags, nc_encoding *out, nc_error *e)
{
    static const nc_post_item bare[] = { { 0, 0, 0 }, { 1, 1, 0 } };
    NC_TRY(check_text(text, e));
    if (pair)
        NC_TRY(check_text(*pair, e));
    struct sink k = { .t = t, .full = out, .flags = flags };
    const nc_post_item *items = t->post ? pair ? t->post->pair : t->post->single : bare;
    int count = t->post ? pair ? t->post->pairs : t->post->singles : pair ? 2 : 1;
    for (int i = 0; i < count; i++) {
        k.sequence = items[i].sequence;
        k.type = items[i].type;
        if (items[i].sequence >= 0)
            NC_TRY(run_sequence(&k, items[i].sequence ? *pair : text, e));
        else if (flags & NC_ENCODE_SPECIAL)
            encoding_add(out, items[i].id, 0, 0, -1, items[i].type, flags);
    }
    return NC_OK;
}

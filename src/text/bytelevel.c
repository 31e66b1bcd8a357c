/* bytelevel.c - GPT-2's byte alphabet and the ByteLevel pre-tokenizer; Metaspace, SentencePiece's way of writing blanks.
 *
 * Alphabet: printable Latin-1 bytes stand for themselves, the other 68 for U+0100 and up in order (openai/gpt-2, encoder.py).
 * When the model takes bytes as they are (raw), the mapping is left out: a word is its bytes and the model's vocabulary is read in bytes.
 */
#include <string.h>

#include "text/parts.h"
#include "text/unicode.h"

#define ROW(a) a, a + 1, a + 2, a + 3, a + 4, a + 5, a + 6, a + 7, a + 8, a + 9, a + 10, a + 11, a + 12, a + 13, a + 14, a + 15
const uint16_t nc_byte_char[256] = {
    ROW(256), ROW(272),
    288, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47,
    ROW(48), ROW(64), ROW(80), ROW(96),
    112, 113, 114, 115, 116, 117, 118, 119, 120, 121, 122, 123, 124, 125, 126, 289,
    ROW(290), ROW(306),
    322, 161, 162, 163, 164, 165, 166, 167, 168, 169, 170, 171, 172, 323, 174, 175,
    ROW(176), ROW(192), ROW(208), ROW(224), ROW(240)
};

int nc_char_byte(uint32_t c)
{
    if (c < 256)
        return nc_byte_char[c] == c ? (int)c : -1;
    if (c <= 288)
        return (int)c - 256;
    if (c <= 322)
        return (int)c - 289 + 127;
    return c == 323 ? 173 : -1;
}

bool nc_bytelevel_decode(nc_str token, nc_buf *out)
{
    nc_buf_reserve(out, token.n + 1);
    char *to = out->p + out->n;
    for (size_t i = 0; i < token.n;) {
        uint32_t c = (unsigned char)token.p[i];
        int length = c < 0x80 ? 1 : nc_utf8_decode(token.p + i, token.n - i, &c), byte = length > 0 ? nc_char_byte(c) : -1;
        if (byte < 0)
            return false;
        *to++ = (char)byte;
        i += (size_t)length;
    }
    out->n = (size_t)(to - out->p);
    *to = 0;
    return true;
}

void nc_bytelevel_encode(nc_str bytes, nc_buf *out)
{
    for (size_t i = 0; i < bytes.n; i++) {
        char text[4];
        nc_buf_add(out, text, (size_t)nc_utf8_encode(nc_byte_char[(unsigned char)bytes.p[i]], text));
    }
}

#define GPT2_PATTERN "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

struct byte_level {
    nc_pretokenizer part;
    bool prefix_space, raw;
    nc_regex *regex;
};

static bool find_regex(const void *context, nc_scratch *s, nc_str text, size_t from, size_t *begin, size_t *end)
{
    return nc_regex_find(context, s->regex, text, from, begin, end);
}

static void byte_level_run(const nc_pretokenizer *self, nc_scratch *s)
{
    const struct byte_level *p = (const struct byte_level *)self;
    if (p->prefix_space) {
        nc_edit e = nc_edit_begin(&s->text, &s->other);
        for (size_t i = 0; i < s->spans.n; i++) {
            nc_span *q = &s->spans.p[i];
            nc_edit_skip(&e, q->begin - e.at);
            uint32_t begin = (uint32_t)s->other.n, length = q->end - q->begin;
            if (length && s->text.p[q->begin] != ' ')
                nc_edit_prepend(&e, NC_STR(" "));
            nc_edit_keep(&e, length);
            q->begin = begin;
            q->end = (uint32_t)s->other.n;
        }
        nc_aligned_swap(&s->text, &s->other);
    }
    if (p->regex)
        nc_split_spans(s, find_regex, p->regex, NC_ISOLATED, false);
    if (p->raw)
        return;
    nc_edit e = nc_edit_begin(&s->text, &s->other);
    for (size_t i = 0; i < s->spans.n; i++) {
        nc_span *q = &s->spans.p[i];
        nc_edit_skip(&e, q->begin - e.at);
        uint32_t begin = (uint32_t)s->other.n;
        for (uint32_t k = q->begin; k < q->end; k++) {
            unsigned char byte = (unsigned char)s->text.p[k];
            nc_edit_put(&e, nc_byte_char[byte], (byte & 0xc0) == 0x80);
        }
        q->begin = begin;
        q->end = (uint32_t)s->other.n;
    }
    nc_aligned_swap(&s->text, &s->other);
}

static void free_regex(void *r) { nc_regex_free(r); }

int nc_pretokenizer_byte_level(nc_build *b, const nc_json *v, const nc_pretokenizer **out, nc_error *e)
{
    struct byte_level *p = NC_NEW(b->arena, struct byte_level);
    p->part.run = byte_level_run;
    p->prefix_space = nc_json_bool(nc_json_get(v, "add_prefix_space"), true);
    p->raw = b->raw_bytes;
    if (nc_json_bool(nc_json_get(v, "use_regex"), true)) {
        NC_TRY(nc_regex_new(NC_STR(GPT2_PATTERN), &p->regex, e));
        b->defer(b, free_regex, p->regex);
    }
    *out = &p->part;
    return NC_OK;
}

struct metaspace {
    nc_pretokenizer part;
    nc_str replacement;
    enum { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER } scheme;
    bool split;
};

static bool find_replacement(const void *context, nc_scratch *s, nc_str text, size_t from, size_t *begin, size_t *end)
{
    (void)s;
    const struct metaspace *p = context;
    const char *hit = memmem(text.p + from, text.n - from, p->replacement.p, p->replacement.n);
    if (!hit)
        return false;
    *begin = (size_t)(hit - text.p);
    *end = *begin + p->replacement.n;
    return true;
}

static void metaspace_run(const nc_pretokenizer *self, nc_scratch *s)
{
    const struct metaspace *p = (const struct metaspace *)self;
    nc_edit e = nc_edit_begin(&s->text, &s->other);
    for (size_t i = 0; i < s->spans.n; i++) {
        nc_span *q = &s->spans.p[i];
        nc_edit_skip(&e, q->begin - e.at);
        nc_str text = { s->text.p + q->begin, q->end - q->begin };
        uint32_t begin = (uint32_t)s->other.n;
        bool marked = text.n && (text.p[0] == ' ' || (text.n >= p->replacement.n && !memcmp(text.p, p->replacement.p, p->replacement.n)));
        bool wanted = p->scheme == PREPEND_ALWAYS || (p->scheme == PREPEND_FIRST && q->at_start);
        if (text.n && wanted && !marked)
            nc_edit_prepend(&e, p->replacement);
        size_t at = 0;
        for (;;) {
            const char *blank = at < text.n ? memchr(text.p + at, ' ', text.n - at) : NULL;
            size_t next = blank ? (size_t)(blank - text.p) : text.n;
            nc_edit_keep(&e, next - at);
            if (!blank)
                break;
            nc_edit_replace(&e, 1, p->replacement);
            at = next + 1;
        }
        q->begin = begin;
        q->end = (uint32_t)s->other.n;
    }
    nc_aligned_swap(&s->text, &s->other);
    if (p->split)
        nc_split_spans(s, find_replacement, p, NC_MERGED_WITH_NEXT, false);
}

int nc_pretokenizer_metaspace(nc_build *b, const nc_json *v, const nc_pretokenizer **out, nc_error *e)
{
    struct metaspace *p = NC_NEW(b->arena, struct metaspace);
    p->part.run = metaspace_run;
    const nc_json *replacement = nc_json_get(v, "replacement");
    uint32_t c;
    p->replacement = nc_json_is(replacement, NC_JSON_STRING) ? replacement->text : NC_STR("\xe2\x96\x81");
    if (nc_utf8_decode(p->replacement.p, p->replacement.n, &c) != (int)p->replacement.n || !p->replacement.n)
        return nc_fail(e, NC_EFORMAT, "Metaspace needs one character as \"replacement\"");
    p->replacement.p = nc_arena_strndup(b->arena, p->replacement.p, p->replacement.n);
    const char *scheme = nc_json_string(nc_json_get(v, "prepend_scheme"), NULL);
    if (!scheme)
        scheme = nc_json_bool(nc_json_get(v, "add_prefix_space"), true) ? "always" : "never";
    if (strcmp(scheme, "always") && strcmp(scheme, "first") && strcmp(scheme, "never"))
        return nc_fail(e, NC_EFORMAT, "Metaspace: prepend_scheme \"%s\" is none of always, first, never", scheme);
    p->scheme = !strcmp(scheme, "always") ? PREPEND_ALWAYS : !strcmp(scheme, "first") ? PREPEND_FIRST : PREPEND_NEVER;
    p->split = nc_json_bool(nc_json_get(v, "split"), true);
    *out = &p->part;
    return NC_OK;
}

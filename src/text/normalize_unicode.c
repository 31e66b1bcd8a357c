/* normalize_unicode.c - NFC, NFD, NFKC, NFKD (Unicode Standard Annex 15), Lowercase, StripAccents, BertNormalizer, Nmt.
 *
 * A form is computed as (code point, change) pairs: a decomposition's first character has change 0, the rest +1; canonical reordering moves the
 * pairs; composing a pair adds their changes and takes one off. nc_edit_put then knows the origin of every character.
 */
#include <stdlib.h>

#include "text/parts.h"
#include "text/unicode.h"

struct form {
    nc_normalizer part;
    bool compatible, compose;
    const uint8_t *plain;           /* bit per BMP code point that the form leaves alone wherever it stands */
};

struct mark { uint32_t c; int change; uint8_t class; };
struct marks { struct mark *p; size_t n, capacity; };

static void add_mark(struct marks *m, uint32_t c, int change)
{
    if (m->n == m->capacity) {
        m->capacity = m->capacity ? m->capacity * 2 : 64;
        m->p = nc_xrealloc(m->p, m->capacity * sizeof *m->p);
    }
    m->p[m->n++] = (struct mark){ c, change, (uint8_t)nc_char_combining_class(c) };
}

static void decompose(struct marks *m, nc_str text, bool compatible)
{
    for (size_t i = 0; i < text.n;) {
        uint32_t c, parts[18];
        i += (size_t)nc_utf8_decode(text.p + i, text.n - i, &c);
        int n = c < 0x80 ? (parts[0] = c, 1) : nc_char_decompose(c, compatible, parts);
        for (int k = 0; k < n; k++)
            add_mark(m, parts[k], k > 0);
    }
    /* Stable insertion sort by class inside each run of non-starters (canonical ordering); a starter, class 0, stops the shift. */
    for (size_t i = 1; i < m->n; i++) {
        struct mark x = m->p[i];
        size_t k = i;
        while (x.class && k > 0 && m->p[k - 1].class > x.class) {
            m->p[k] = m->p[k - 1];
            k--;
        }
        m->p[k] = x;
    }
}

/* Composes in place; the pairs a starter swallows add to its change. */
static void compose(struct marks *m)
{
    size_t n = 0, starter = SIZE_MAX;
    int last = -1;                  /* class of the last mark kept since the starter; -1: none */
    for (size_t i = 0; i < m->n; i++) {
        struct mark x = m->p[i];
        if (starter != SIZE_MAX && (last < 0 || last < x.class)) {
            uint32_t c = nc_char_compose(m->p[starter].c, x.c);
            if (c) {
                m->p[starter].c = c;
                m->p[starter].change += x.change - 1;
                continue;
            }
        }
        m->p[n] = x;
        if (x.class == 0) {
            starter = n;
            last = -1;
        } else {
            last = x.class;
        }
        n++;
    }
    m->n = n;
}

static bool is_plain(const struct form *f, uint32_t c)
{
    if (c < 0x10000)
        return f->plain[c >> 3] >> (c & 7) & 1;
    return (c >= 0x1f300 && c < 0x1fb00) || (c >= 0x20000 && c < 0x2f800);
}

static void form_run(const nc_normalizer *self, nc_scratch *s)
{
    const struct form *f = (const struct form *)self;
    nc_str text = nc_aligned_str(&s->text);
    size_t i = 0;
    while (i < text.n) {
        uint32_t c = (unsigned char)text.p[i];
        int length = c < 0x80 ? 1 : nc_utf8_decode(text.p + i, text.n - i, &c);
        if (c >= 0x80 && !is_plain(f, c))
            break;
        i += (size_t)length;
    }
    if (i == text.n)
        return;
    struct marks m = { 0 };
    decompose(&m, text, f->compatible);
    if (f->compose)
        compose(&m);
    nc_edit e = nc_edit_begin(&s->text, &s->other);
    for (size_t k = 0; k < m.n; k++)
        nc_edit_put(&e, m.p[k].c, m.p[k].change);
    free(m.p);
    nc_aligned_swap(&s->text, &s->other);
}

/* A code point is plain when the form maps it to itself, its class is 0 and (for composing forms) it is never the second of a composite. */
static const uint8_t *plain_table(nc_arena *a, bool compatible, bool composing)
{
    uint8_t *table = nc_arena_alloc(a, 8192);
    uint8_t *second = nc_arena_alloc(a, 8192);
    for (uint32_t c = 0x1161; c <= 0x11c2; c++)
        second[c >> 3] |= (uint8_t)(1u << (c & 7));
    for (uint32_t c = 0x80; c < 0x10000; c++) {
        uint32_t parts[18];
        if (c >= 0xac00 && c < 0xd7a4) {
            table[c >> 3] |= (uint8_t)(composing << (c & 7));
            continue;
        }
        if (c >= 0xd800 && c < 0xe000)
            continue;
        int n = nc_char_decompose(c, compatible, parts);
        bool same = n == 1 && parts[0] == c;
        if (n > 1 && parts[n - 1] < 0x10000)
            second[parts[n - 1] >> 3] |= (uint8_t)(1u << (parts[n - 1] & 7));
        if (!same && composing && n > 1 && !compatible) {
            uint32_t whole = parts[0];
            for (int k = 1; k < n && whole; k++)
                whole = nc_char_compose(whole, parts[k]);
            same = whole == c;
        }
        if (same && nc_char_combining_class(c) == 0)
            table[c >> 3] |= (uint8_t)(1u << (c & 7));
    }
    for (size_t i = 0; composing && i < 8192; i++)
        table[i] &= (uint8_t)~second[i];
    return table;
}

static int form_create(nc_build *b, bool compatible, bool composing, const nc_normalizer **out)
{
    struct form *f = NC_NEW(b->arena, struct form);
    f->part.run = form_run;
    f->compatible = compatible;
    f->compose = composing;
    f->plain = plain_table(b->arena, compatible, composing);
    *out = &f->part;
    return NC_OK;
}

#define FORM(name, compatible, composing) \
    int name(nc_build *b, const nc_json *v, const nc_normalizer **out, nc_error *e) \
    { \
        (void)v; \
        (void)e; \
        return form_create(b, compatible, composing, out); \
    }
FORM(nc_normalizer_nfc, false, true)
FORM(nc_normalizer_nfd, false, false)
FORM(nc_normalizer_nfkc, true, true)
FORM(nc_normalizer_nfkd, true, false)

static void lowercase_run(const nc_normalizer *self, nc_scratch *s)
{
    (void)self;
    nc_edit e = nc_edit_begin(&s->text, &s->other);
    nc_str text = nc_aligned_str(&s->text);
    for (size_t i = 0; i < text.n;) {
        uint32_t c, lower[3];
        i += (size_t)nc_utf8_decode(text.p + i, text.n - i, &c);
        int n = nc_char_to_lower(c, lower);
        for (int k = 0; k < n; k++)
            nc_edit_put(&e, lower[k], k > 0);
    }
    nc_aligned_swap(&s->text, &s->other);
}

static bool keep_unmarked(uint32_t c) { return !nc_char_is_mark(c); }
static bool keep_bare(uint32_t c) { return !nc_char_is_any_mark(c); }
static bool keep_clean(uint32_t c)
{
    return c != 0 && c != 0xfffd && (c == '\t' || c == '\n' || c == '\r' || !nc_char_is_other(c));
}
static bool keep_nmt(uint32_t c)
{
    return !((c >= 1 && c <= 8) || c == 0xb || (c >= 0xe && c <= 0x1f) || c == 0x7f || c == 0x8f || c == 0x9f);
}

static void filter(nc_scratch *s, bool keep(uint32_t))
{
    nc_edit e = nc_edit_begin(&s->text, &s->other);
    nc_str text = nc_aligned_str(&s->text);
    for (size_t i = 0; i < text.n;) {
        uint32_t c;
        size_t length = (size_t)nc_utf8_decode(text.p + i, text.n - i, &c);
        if (keep(c))
            nc_edit_keep(&e, length);
        else
            nc_edit_skip(&e, length);
        i += length;
    }
    nc_aligned_swap(&s->text, &s->other);
}

static void strip_accents_run(const nc_normalizer *self, nc_scratch *s)
{
    (void)self;
    filter(s, keep_bare);
}

/* Characters that stand for a blank become one. */
static void blanks(nc_scratch *s, bool is_blank(uint32_t))
{
    nc_edit e = nc_edit_begin(&s->text, &s->other);
    nc_str text = nc_aligned_str(&s->text);
    for (size_t i = 0; i < text.n;) {
        uint32_t c;
        i += (size_t)nc_utf8_decode(text.p + i, text.n - i, &c);
        nc_edit_put(&e, is_blank(c) ? ' ' : c, 0);
    }
    nc_aligned_swap(&s->text, &s->other);
}

static bool nmt_blank(uint32_t c)
{
    return c == 9 || c == 0xa || c == 0xc || c == 0xd || c == 0x1680 || (c >= 0x200b && c <= 0x200f) || c == 0x2028 || c == 0x2029 ||
           c == 0x2581 || c == 0xfeff || c == 0xfffd;
}

static void nmt_run(const nc_normalizer *self, nc_scratch *s)
{
    (void)self;
    filter(s, keep_nmt);
    blanks(s, nmt_blank);
}

struct bert {
    nc_normalizer part;
    bool clean, chinese, strip, lower;
    const nc_normalizer *nfd;
};

static void bert_run(const nc_normalizer *self, nc_scratch *s)
{
    const struct bert *b = (const struct bert *)self;
    if (b->clean) {
        filter(s, keep_clean);
        blanks(s, nc_char_is_space);
    }
    if (b->chinese) {
        nc_edit e = nc_edit_begin(&s->text, &s->other);
        nc_str text = nc_aligned_str(&s->text);
        for (size_t i = 0; i < text.n;) {
            uint32_t c;
            i += (size_t)nc_utf8_decode(text.p + i, text.n - i, &c);
            bool wide = nc_char_is_chinese(c);
            if (wide)
                nc_edit_put(&e, ' ', 0);
            nc_edit_put(&e, c, wide);
            if (wide)
                nc_edit_put(&e, ' ', 1);
        }
        nc_aligned_swap(&s->text, &s->other);
    }
    if (b->strip) {
        b->nfd->run(b->nfd, s);
        filter(s, keep_unmarked);
    }
    if (b->lower)
        lowercase_run(NULL, s);
}

static int simple(nc_build *b, void (*run)(const nc_normalizer *, nc_scratch *), const nc_normalizer **out)
{
    nc_normalizer *n = NC_NEW(b->arena, nc_normalizer);
    n->run = run;
    *out = n;
    return NC_OK;
}

int nc_normalizer_lowercase(nc_build *b, const nc_json *v, const nc_normalizer **out, nc_error *e)
{
    (void)v;
    (void)e;
    return simple(b, lowercase_run, out);
}

int nc_normalizer_strip_accents(nc_build *b, const nc_json *v, const nc_normalizer **out, nc_error *e)
{
    (void)v;
    (void)e;
    return simple(b, strip_accents_run, out);
}

int nc_normalizer_nmt(nc_build *b, const nc_json *v, const nc_normalizer **out, nc_error *e)
{
    (void)v;
    (void)e;
    return simple(b, nmt_run, out);
}

int nc_normalizer_bert(nc_build *b, const nc_json *v, const nc_normalizer **out, nc_error *e)
{
    (void)e;
    struct bert *n = NC_NEW(b->arena, struct bert);
    n->part.run = bert_run;
    n->clean = nc_json_bool(nc_json_get(v, "clean_text"), true);
    n->chinese = nc_json_bool(nc_json_get(v, "handle_chinese_chars"), true);
    n->lower = nc_json_bool(nc_json_get(v, "lowercase"), true);
    n->strip = nc_json_bool(nc_json_get(v, "strip_accents"), n->lower);
    form_create(b, false, false, &n->nfd);
    *out = &n->part;
    return NC_OK;
}

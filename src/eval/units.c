/* units.c - splitting, lower case and decomposition. Character data of text/unicode.h. */
#include "eval/units.h"
#include "text/unicode.h"
#include <string.h>

static const char *const names[NC_UNITS] = { "eojeol", "eojeol_punct", "syllable", "jamo" };

const char *nc_unit_name(nc_unit unit) { return names[unit]; }

int nc_unit_parse(const char *name, nc_unit *out)
{
    for (int i = 0; i < NC_UNITS; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (nc_unit)i;
            return 0;
        }
    return NC_ENOTFOUND;
}

uint32_t nc_next_char(nc_str s, size_t *at)
{
    uint32_t c;
    int n = nc_utf8_decode(s.p + *at, s.n - *at, &c);
    if (n <= 0) {
        c = 0x110000u + (unsigned char)s.p[*at];
        n = 1;
    }
    *at += (size_t)n;
    return c;
}

/* White_Space and the four information separators. */
bool nc_char_is_blank(uint32_t c) { return c < 0x110000 && (nc_char_is_space(c) || (c >= 0x1c && c <= 0x1f)); }

nc_char_kind nc_char_kind_of(uint32_t c)
{
    if (c >= 0x110000)
        return NC_CHAR_OTHER;
    if ((c < 0x80 && c && strchr("$+<=>^`|~", (int)c)) || (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f189))
        return NC_CHAR_SYMBOL;                 /* ASCII marks that BERT calls punctuation; circled and squared letters, alphabetic by property */
    if (nc_char_is_numeric(c))
        return NC_CHAR_NUMBER;
    if (nc_char_is_alphabetic(c))
        return NC_CHAR_LETTER;
    if (nc_char_is_punctuation(c))
        return NC_CHAR_PUNCTUATION;
    return nc_char_is_word(c) || nc_char_is_other(c) || nc_char_is_blank(c) ? NC_CHAR_OTHER : NC_CHAR_SYMBOL;
}

struct list { nc_str *at; int n, capacity; nc_arena *a; };

static void push(struct list *l, const char *p, size_t n)
{
    if (l->n == l->capacity) {
        int more = l->capacity ? l->capacity * 2 : 16;
        nc_str *grown = NC_NEW_ARRAY(l->a, nc_str, more);
        if (l->n)
            memcpy(grown, l->at, sizeof *grown * (size_t)l->n);
        l->at = grown;
        l->capacity = more;
    }
    l->at[l->n++] = (nc_str){ p, n };
}

nc_words nc_words_split(nc_arena *a, nc_str s)
{
    struct list l = { .a = a };
    size_t at = 0, start = 0;
    bool inside = false;
    while (at < s.n) {
        size_t before = at;
        bool space = nc_char_is_blank(nc_next_char(s, &at));
        if (space && inside)
            push(&l, s.p + start, before - start);
        if (!space && !inside)
            start = before;
        inside = !space;
    }
    if (inside)
        push(&l, s.p + start, s.n - start);
    return (nc_words){ l.at, l.n };
}

nc_words nc_words_split_on(nc_arena *a, nc_str s, char separator)
{
    struct list l = { .a = a };
    size_t start = 0;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == separator) {
            push(&l, s.p + start, i - start);
            start = i + 1;
        }
    push(&l, s.p + start, s.n - start);
    return (nc_words){ l.at, l.n };
}

/* Splits each word of w at punctuation and symbols; one between two digits stays. */
static void push_pieces(struct list *l, nc_str w)
{
    size_t at = 0, start = 0;
    bool digit_before = false;
    while (at < w.n) {
        size_t before = at;
        uint32_t c = nc_next_char(w, &at);
        nc_char_kind k = nc_char_kind_of(c);
        if (k == NC_CHAR_PUNCTUATION || k == NC_CHAR_SYMBOL) {
            size_t next = at;
            bool digit_after = at < w.n && nc_char_kind_of(nc_next_char(w, &next)) == NC_CHAR_NUMBER;
            if (!(digit_before && digit_after)) {
                if (before > start)
                    push(l, w.p + start, before - start);
                push(l, w.p + before, at - before);
                start = at;
            }
        }
        digit_before = k == NC_CHAR_NUMBER;
    }
    if (w.n > start)
        push(l, w.p + start, w.n - start);
}

static void push_char(struct list *l, uint32_t c)
{
    char bytes[4];
    int n = nc_utf8_encode(c, bytes);
    push(l, nc_arena_copy(l->a, bytes, (size_t)n), (size_t)n);
}

static void push_decomposed(struct list *l, const char *p, size_t n, uint32_t c)
{
    uint32_t parts[18];
    int count = c < 0x110000 ? nc_char_decompose(c, false, parts) : 1;
    if (count <= 1)
        push(l, p, n);
    for (int i = 0; count > 1 && i < count; i++)
        push_char(l, parts[i]);
}

nc_words nc_units(nc_arena *a, nc_str s, nc_unit unit)
{
    if (unit == NC_UNIT_EOJEOL)
        return nc_words_split(a, s);
    struct list l = { .a = a };
    if (unit == NC_UNIT_EOJEOL_PUNCT) {
        nc_words w = nc_words_split(a, s);
        for (int i = 0; i < w.n; i++)
            push_pieces(&l, w.at[i]);
        return (nc_words){ l.at, l.n };
    }
    for (size_t at = 0; at < s.n;) {
        size_t before = at;
        uint32_t c = nc_next_char(s, &at);
        if (nc_char_is_blank(c))
            continue;
        if (unit == NC_UNIT_JAMO)
            push_decomposed(&l, s.p + before, at - before, c);
        else
            push(&l, s.p + before, at - before);
    }
    return (nc_words){ l.at, l.n };
}

nc_str nc_words_join(nc_arena *a, nc_words w, const char *separator)
{
    size_t gap = strlen(separator), n = 0;
    for (int i = 0; i < w.n; i++)
        n += w.at[i].n + (i ? gap : 0);
    char *p = nc_arena_alloc(a, n + 1), *to = p;
    for (int i = 0; i < w.n; i++) {
        if (i) {
            memcpy(to, separator, gap);
            to += gap;
        }
        memcpy(to, w.at[i].p, w.at[i].n);
        to += w.at[i].n;
    }
    return (nc_str){ p, n };
}

static bool is_cased(uint32_t c)
{
    uint32_t low[3];
    return c < 0x110000 && (nc_char_is_upper(c) || nc_char_is_lower(c) || (nc_char_to_lower(c, low) && low[0] != c));
}

/* Characters that casing looks through: marks, format characters, and the word-inner signs of Word_Break. */
static bool is_looked_through(uint32_t c)
{
    return c < 0x110000 && (nc_char_is_mark(c) || (nc_char_is_other(c) && !nc_char_is_control(c)) || (c < 0x80 && c && strchr("'.:^`", (int)c)) || c == 0xa8 ||
                            c == 0xad || c == 0xaf || c == 0xb4 || c == 0xb7 || c == 0xb8 || c == 0x387 || c == 0x2018 || c == 0x2019 || c == 0x2024 || c == 0x2027);
}

/* Sigma is final after a cased letter and before none (Unicode 3.13, Final_Sigma); before: the last character not looked through. */
static bool is_final_sigma(nc_str s, uint32_t before, size_t after)
{
    uint32_t c = 0;
    while (after < s.n && is_looked_through(c = nc_next_char(s, &after)))
        c = 0;
    return is_cased(before) && !is_cased(c);
}

nc_str nc_lower(nc_arena *a, nc_str s)
{
    nc_buf b = { 0 };
    uint32_t before = 0;
    for (size_t at = 0; at < s.n;) {
        size_t start = at;
        uint32_t c = nc_next_char(s, &at);
        uint32_t low[3] = { 0x3c2 };
        char bytes[4];
        int n = c >= 0x110000 ? 0 : c == 0x3a3 && is_final_sigma(s, before, at) ? 1 : nc_char_to_lower(c, low);
        if (n == 0)
            nc_buf_add(&b, s.p + start, at - start);
        for (int i = 0; i < n; i++)
            nc_buf_add(&b, bytes, (size_t)nc_utf8_encode(low[i], bytes));
        before = is_looked_through(c) ? before : c;
    }
    nc_str out = { nc_arena_strndup(a, b.p ? b.p : "", b.n), b.n };
    nc_buf_free(&b);
    return out;
}

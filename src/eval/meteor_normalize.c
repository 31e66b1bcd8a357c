/* meteor_normalize.c - the tokenizer that METEOR 1.5 applies with -norm to English (after the Moses tokenizer).
 *
 * The reference is a chain of regular substitutions; here each is one pass over code points. A pattern of three characters consumes all
 * three, so a match cannot begin inside another. A run of dots is kept together as one character beyond Unicode until the end.
 */
#include "eval/meteor15.h"
#include <string.h>

#define DOTS 0x200000u                         /* + length: a run of dots */

struct text { uint32_t *c; int n; nc_arena *a; };

static bool in(uint32_t c, uint32_t from, uint32_t to) { return c >= from && c <= to; }

/* Western European and Cyrillic letters. */
static bool is_alpha(uint32_t c)
{
    return in(c, 'A', 'Z') || in(c, 'a', 'z') || in(c, 0xc0, 0xd6) || in(c, 0xd8, 0xf6) || in(c, 0xf8, 0x17e) || in(c, 0x400, 0x527) ||
           in(c, 0xa640, 0xa66e) || in(c, 0xa67e, 0xa697) || in(c, 0x1d00, 0x1d7f) || c >= DOTS;
}
static bool is_digit(uint32_t c) { return in(c, '0', '9'); }
static bool is_alnum(uint32_t c) { return is_alpha(c) || is_digit(c); }
static bool is_no_digit(uint32_t c) { return !is_digit(c); }
static bool is_no_alpha(uint32_t c) { return !is_alpha(c); }
static bool is_no_alnum(uint32_t c) { return !is_alnum(c); }
static bool is_dot_or_alnum(uint32_t c) { return c == '.' || is_alnum(c); }
static bool is_s(uint32_t c) { return c == 's'; }
static bool is_java_space(uint32_t c) { return c == ' ' || in(c, 9, 13); }
static bool is_blank(uint32_t c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f'; }
static bool is_wide_space(uint32_t c) { return in(c, 0x2000, 0x200a) || c == 0x202f || c == 0x205f || c == 0x3000 || c == 0xa0; }
static bool stands_apart(uint32_t c)
{
    return !is_alnum(c) && !is_java_space(c) && c != '.' && c != '\'' && c != '`' && c != ',' && c != '-' && c != 0x2018 && c != 0x2019;
}

static struct text room(const struct text *t, int more) { return (struct text){ NC_NEW_ARRAY(t->a, uint32_t, more), 0, t->a }; }
static void put(struct text *t, uint32_t c) { t->c[t->n++] = c; }

static void separate(struct text *t)
{
    struct text o = room(t, 3 * t->n);
    for (int i = 0; i < t->n; i++) {
        bool apart = stands_apart(t->c[i]);
        if (apart)
            put(&o, ' ');
        put(&o, t->c[i]);
        if (apart)
            put(&o, ' ');
    }
    *t = o;
}

static void join_dots(struct text *t)
{
    struct text o = room(t, 3 * t->n);
    for (int i = 0; i < t->n; i++) {
        int run = 0;
        while (i + run < t->n && t->c[i + run] == '.')
            run++;
        if (run < 2) {
            put(&o, t->c[i]);
            continue;
        }
        put(&o, ' ');
        put(&o, DOTS + (uint32_t)run);
        put(&o, ' ');
        i += run - 1;
    }
    *t = o;
}

typedef bool test(uint32_t c);
enum { SPACED, LEFT, GAP };                    /* "x m y", "x my", "x y" */

static void triples(struct text *t, test *before, uint32_t mark, test *after, int form)
{
    struct text o = room(t, 3 * t->n);
    for (int i = 0; i < t->n; i++) {
        put(&o, t->c[i]);
        if (i + 2 >= t->n || !before(t->c[i]) || t->c[i + 1] != mark || !after(t->c[i + 2]))
            continue;
        put(&o, ' ');
        if (form != GAP)
            put(&o, mark);
        if (form == SPACED)
            put(&o, ' ');
        put(&o, t->c[i + 2]);
        i += 2;
    }
    *t = o;
}

static void unify_marks(struct text *t)
{
    struct text o = room(t, 3 * t->n);
    for (int i = 0; i < t->n; i++)
        if (t->c[i] == '`' || t->c[i] == 0x2018 || t->c[i] == 0x2019)
            t->c[i] = '\'';
        else if (t->c[i] == 0x2013)
            t->c[i] = '-';
    for (int i = 0; i < t->n; i++) {
        bool two = i + 1 < t->n && t->c[i] == t->c[i + 1] && (t->c[i] == '\'' || t->c[i] == '-');
        if (t->c[i] == 0x201c || t->c[i] == 0x201d || (two && t->c[i] == '\'')) {
            put(&o, ' ');
            put(&o, '"');
            put(&o, ' ');
        } else
            put(&o, t->c[i]);
        i += two;
    }
    *t = o;
}

/* What becomes of a word that ends in a dot: the dots removed (U.S.), kept (an abbreviation), or the last one split off. */
static void put_dotted(struct text *o, const uint32_t *w, int n, uint32_t next, const nc_meteor_data *d)
{
    bool inner = false, letter = false;
    nc_buf name = { 0 };
    for (int i = 0; i + 1 < n; i++) {
        char bytes[4];
        inner = inner || w[i] == '.';
        letter = letter || is_alpha(w[i]);
        if (w[i] < 0x110000)
            nc_buf_add(&name, bytes, (size_t)nc_utf8_encode(w[i], bytes));
    }
    int64_t kind = 0;
    if (d)
        nc_map_get(d->prefixes, (nc_str){ name.p, name.n }, &kind);
    nc_buf_free(&name);
    bool remove = inner && letter, keep = kind == 1 || in(next, 'a', 'z') || (kind == 2 && is_digit(next));
    for (int i = 0; i + 1 < n; i++)
        if (!remove || w[i] != '.')
            put(o, w[i]);
    if (!remove && !keep)
        put(o, ' ');
    if (!remove)
        put(o, '.');
}

static void split_dots(struct text *t, const nc_meteor_data *d)
{
    struct text o = room(t, 3 * t->n + 1);
    for (int i = 0; i < t->n;) {
        int start = i;
        while (i < t->n && !is_blank(t->c[i]))
            i++;
        int n = i - start;
        while (i < t->n && is_blank(t->c[i]))
            i++;
        if (n > 1 && t->c[start + n - 1] == '.')
            put_dotted(&o, t->c + start, n, i < t->n ? t->c[i] : 0, d);
        else
            for (int k = 0; k < n; k++)
                put(&o, t->c[start + k]);
        put(&o, ' ');
    }
    *t = o;
}

static nc_str written(nc_arena *a, const struct text *t, bool keep_punctuation)
{
    nc_buf b = { 0 };
    for (int i = 0; i < t->n; i++) {
        uint32_t c = t->c[i];
        char bytes[4];
        if (c > DOTS)
            for (uint32_t k = 0; k < c - DOTS; k++)
                nc_buf_addc(&b, keep_punctuation ? '.' : ' ');
        else if (is_wide_space(c) || (!keep_punctuation && is_no_alnum(c)))
            nc_buf_addc(&b, ' ');
        else if (c >= 0x110000)
            nc_buf_addc(&b, (char)(c - 0x110000));
        else
            nc_buf_add(&b, bytes, (size_t)nc_utf8_encode(c, bytes));
    }
    nc_str s = { nc_arena_strndup(a, b.p ? b.p : "", b.n), b.n };
    nc_buf_free(&b);
    return nc_lower(a, s);
}

nc_str nc_meteor_normalize(nc_arena *a, nc_str line, const nc_meteor_data *data, bool keep_punctuation)
{
    struct text t = { NC_NEW_ARRAY(a, uint32_t, line.n + 2), 0, a };
    put(&t, ' ');
    for (size_t at = 0; at < line.n;)
        put(&t, nc_next_char(line, &at));
    put(&t, ' ');
    separate(&t);
    join_dots(&t);
    triples(&t, is_no_digit, ',', is_no_digit, SPACED);
    triples(&t, is_digit, ',', is_no_digit, SPACED);
    triples(&t, is_no_digit, ',', is_digit, SPACED);
    unify_marks(&t);
    triples(&t, is_dot_or_alnum, '-', is_alnum, GAP);
    triples(&t, is_no_alpha, '\'', is_no_alpha, SPACED);
    triples(&t, is_no_alnum, '\'', is_alpha, SPACED);
    triples(&t, is_alpha, '\'', is_no_alpha, SPACED);
    triples(&t, is_alpha, '\'', is_alpha, LEFT);
    triples(&t, is_digit, '\'', is_s, LEFT);
    split_dots(&t, data);
    return written(a, &t, keep_punctuation);
}

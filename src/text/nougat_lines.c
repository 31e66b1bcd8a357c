/* nougat_lines.c - see nougat_lines.h. */
#include "text/nougat_lines.h"

#include <stdlib.h>
#include <string.h>

#include "text/unicode.h"

nc_lines nc_lines_of(const nc_buf *t)
{
    nc_lines l = { .text = nc_xmalloc(t->n + 1) };
    if (t->n)
        memcpy(l.text, t->p, t->n);
    int count = 1;
    for (size_t i = 0; i < t->n; i++)
        count += l.text[i] == '\n';
    l.at = nc_xcalloc((size_t)count, sizeof *l.at);
    for (size_t at = 0; l.n < count;) {
        const char *stop = at < t->n ? memchr(l.text + at, '\n', t->n - at) : NULL;
        size_t end = stop ? (size_t)(stop - l.text) : t->n;
        l.at[l.n++] = (nc_str){ l.text + at, end - at };
        at = end + 1;
    }
    return l;
}

void nc_lines_free(nc_lines *l)
{
    free(l->text);
    free(l->at);
}

void nc_replace_all(nc_buf *t, nc_str from, nc_str to)
{
    nc_buf b = { 0 };
    const char *hit;
    size_t at = 0;
    while (from.n && at < t->n && (hit = memmem(t->p + at, t->n - at, from.p, from.n))) {
        nc_buf_add(&b, t->p + at, (size_t)(hit - t->p) - at);
        nc_buf_add(&b, to.p, to.n);
        at = (size_t)(hit - t->p) + from.n;
    }
    if (!at) {
        nc_buf_free(&b);
        return;
    }
    nc_buf_add(&b, t->p + at, t->n - at);
    nc_buf_free(t);
    *t = b;
}

static bool is_blank(uint32_t c) { return nc_char_is_space(c) || (c >= 0x1c && c <= 0x1f); }

static nc_str stripped(nc_str s)
{
    uint32_t c;
    int n;
    while (s.n && (n = nc_utf8_decode(s.p, s.n, &c)) > 0 && is_blank(c))
        s = (nc_str){ s.p + n, s.n - (size_t)n };
    while (s.n) {
        size_t at = s.n - 1;
        while (at > 0 && ((unsigned char)s.p[at] & 0xc0) == 0x80)
            at--;
        if (nc_utf8_decode(s.p + at, s.n - at, &c) <= 0 || !is_blank(c))
            break;
        s.n = at;
    }
    return s;
}

void nc_strip(nc_buf *t)
{
    nc_str s = stripped((nc_str){ t->p ? t->p : "", t->n });
    if (s.n && s.p != t->p)
        memmove(t->p, s.p, s.n);
    t->n = s.n;
}

/* ---- characters ---- */
typedef struct chars { uint32_t *c; size_t *at; size_t n; } chars;       /* at[n + 1]: the byte each begins at */

static chars chars_of(nc_str s)
{
    chars x = { nc_xcalloc(s.n + 1, sizeof *x.c), nc_xcalloc(s.n + 1, sizeof *x.at), 0 };
    for (size_t i = 0; i < s.n;) {
        int n = nc_utf8_decode(s.p + i, s.n - i, &x.c[x.n]);
        x.at[x.n++] = i;
        i += n > 0 ? (size_t)n : 1;
    }
    x.at[x.n] = s.n;
    return x;
}

static void chars_free(chars *x)
{
    free(x->c);
    free(x->at);
}

/* 2 LCS / sum of lengths; 1 of two empty ones. */
static double ratio(nc_str a, nc_str b)
{
    chars x = chars_of(a), y = chars_of(b);
    uint32_t *row = nc_xcalloc(y.n + 1, sizeof *row);
    for (size_t i = 0; i < x.n; i++) {
        uint32_t corner = 0;
        for (size_t k = 0; k < y.n; k++) {
            uint32_t up = row[k + 1];
            row[k + 1] = x.c[i] == y.c[k] ? corner + 1 : up > row[k] ? up : row[k];
            corner = up;
        }
    }
    double value = x.n + y.n ? 2.0 * row[y.n] / (double)(x.n + y.n) : 1;
    free(row);
    chars_free(&x);
    chars_free(&y);
    return value;
}

/* ---- repetitions ---- */
static bool ends_sentence(uint32_t c) { return c == '.' || c == '?' || c == '!' || c == '\n'; }

static size_t punctuation(const chars *x, size_t from, bool backwards)
{
    for (size_t i = from; i < x->n; i++)
        if (ends_sentence(x->c[backwards ? x->n - 1 - i : i]))
            return i;
    return SIZE_MAX;
}

static bool contains(const uint32_t *in, size_t n, const uint32_t *what, size_t m)
{
    for (size_t i = 0; i + m <= n; i++)
        if (!m || !memcmp(in + i, what, m * sizeof *what))
            return true;
    return false;
}

void nc_truncate_repetitions(nc_buf *t)
{
    enum { LEAST = 30 };
    chars x = chars_of((nc_str){ t->p ? t->p : "", t->n });
    size_t n = x.n, longest = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t lower[3];
        nc_char_to_lower(x.c[i], lower);
        x.c[i] = lower[0];
    }
    for (size_t r = LEAST; n >= 2 * LEAST && r < n / 2; r++)
        if (!memcmp(x.c + n - 2 * r, x.c + n - r, r * sizeof *x.c))
            longest = r;
    if (longest) {
        size_t rest = n, out;
        while (rest >= longest && !memcmp(x.c + rest - longest, x.c + n - longest, longest * sizeof *x.c))
            rest -= longest;
        for (out = rest;;) {
            size_t end = punctuation(&x, out, false), start = punctuation(&x, out, true);
            if (end == SIZE_MAX || !end || start == SIZE_MAX || !start)
                break;
            out = end + 1;
            if (start >= end || contains(x.c + rest, n - rest, x.c + start, end - start))
                break;
        }
        t->n = x.at[out < n ? out : n];
    }
    chars_free(&x);
}

/* ---- references ---- */
/* s without digits, "_" and "**", stripped; the caller's to free. */
static nc_buf without_numbers(nc_str s)
{
    nc_buf b = { 0 };
    nc_buf_adds(&b, "");
    for (size_t i = 0; i < s.n;) {
        uint32_t c = 0;
        int n = nc_utf8_decode(s.p + i, s.n - i, &c);
        n = n > 0 ? n : 1;
        if (c == '*' && i + 1 < s.n && s.p[i + 1] == '*')
            n = 2;
        else if (c != '_' && !nc_char_is_decimal(c))
            nc_buf_add(&b, s.p + i, (size_t)n);
        i += (size_t)n;
    }
    nc_strip(&b);
    return b;
}

static nc_str str_of(const nc_buf *b) { return (nc_str){ b->p ? b->p : "", b->n }; }

static double resemblance(nc_str base, nc_str line)
{
    nc_buf clean = without_numbers(line);
    double r = ratio(base, str_of(&clean));
    nc_buf_free(&clean);
    return r;
}

static nc_str behind_mark(nc_str s, const char *mark)
{
    const char *hit = s.n ? memmem(s.p, s.n, mark, strlen(mark)) : NULL;
    return hit ? (nc_str){ hit + strlen(mark), (size_t)(s.p + s.n - hit) - strlen(mark) } : (nc_str){ "", 0 };
}

static bool next_letter(const chars *x, size_t *at, size_t *where)
{
    do
        if (*at >= x->n)
            return false;
    while (nc_char_is_numeric(x->c[(*at)++]));
    *where = *at - 1;
    return true;
}

/* How far line b goes with line a, numbers left out: the place in b of the first letter that differs, or of the last one looked at; -1: none was. */
static int64_t common(nc_str a, nc_str b)
{
    chars x = chars_of(a), y = chars_of(b);
    size_t i = 0, k = 0, in_a = 0, in_b = 0;
    int64_t last = -1;
    while (next_letter(&x, &i, &in_a)) {
        bool more = next_letter(&y, &k, &in_b);
        last = more ? (int64_t)in_b : k ? (int64_t)k - 1 : last;
        if (!more || x.c[in_a] != y.c[in_b])
            break;
    }
    chars_free(&x);
    chars_free(&y);
    return last;
}

/* The text of one run of lines [from, to) that is to go, stripped, in out. */
static void text_to_delete(const nc_lines *l, const nc_buf *clean, int from, int to, nc_buf *out)
{
    nc_str base = str_of(&clean[from]);
    int first = from, last = to, low = from - 5 > 0 ? from - 5 : 0;
    bool cut_front = false;
    for (int i = from - 1 > 0 ? from - 1 : 0; i > low; i--) {
        if (!l->at[i].n)
            continue;
        if (nc_str_eqz(l->at[i], "## References")) {
            first = i;
            break;
        }
        if (resemblance(base, l->at[i]) < 0.9) {
            nc_buf before = without_numbers(behind_mark(l->at[i - 1 > 0 ? i - 1 : 0], "* ["));
            nc_str reference = str_of(&before);
            first = (double)nc_utf8_count(reference) >= 0.75 * (double)nc_utf8_count(base) && ratio(base, reference) < 0.9 ? i : i + 1;
            nc_buf_free(&before);
            cut_front = true;
            break;
        }
    }
    for (int i = to < l->n ? to : l->n; i < l->n && i < to + 5; i++)
        if (resemblance(base, l->at[i]) < 0.9) {
            last = i;
            break;
        }
    last = last < l->n ? last : l->n - 1;
    for (int i = first; i <= last; i++) {
        nc_buf_adds(out, i > first ? "\n" : "");
        nc_buf_add(out, l->at[i].p, l->at[i].n);
    }
    nc_str rest = cut_front ? behind_mark(str_of(out), "* [") : (nc_str){ "", 0 };
    if (cut_front && rest.p != out->p && out->n && memmem(out->p, out->n, "* [", 3)) {
        nc_buf b = { 0 };
        nc_buf_adds(&b, "* [");
        nc_buf_add(&b, rest.p, rest.n);
        nc_buf_free(out);
        *out = b;
    }
    int64_t at = last > 0 ? common(l->at[last - 1], l->at[last]) : -1, delta = at < 0 ? 0 : (int64_t)nc_utf8_count(l->at[last]) - at - 1;
    for (; delta > 0 && out->n; delta--)
        do
            out->n--;
        while (out->n && ((unsigned char)out->p[out->n] & 0xc0) == 0x80);
    nc_strip(out);
}

static bool plain(const nc_buf *b)
{
    int n = (int)nc_utf8_count(str_of(b));
    return n < 200 && n > 3;
}

void nc_remove_repeated_references(nc_buf *t)
{
    nc_lines l = nc_lines_of(t);
    nc_buf *clean = nc_xcalloc((size_t)l.n, sizeof *clean), *gone = nc_xcalloc((size_t)l.n + 1, sizeof *gone);
    bool *marked = nc_xcalloc((size_t)l.n + 1, sizeof *marked);
    int count = 0;
    for (int i = 0; i < l.n; i++)
        clean[i] = without_numbers(l.at[i]);
    for (int i = 0; i + 1 < l.n; i++) {
        int j = i + 1;
        while (!clean[j].n && j < l.n - 1)
            j++;
        if (plain(&clean[i]) && plain(&clean[j]) && !(clean[i].n >= 13 && !memcmp(clean[i].p, "[MISSING_PAGE", 13)) && ratio(str_of(&clean[i]), str_of(&clean[j])) > 0.9)
            memset(marked + i, 1, (size_t)(j - i));
    }
    for (int i = 0, first = -1, last = -1; i <= l.n; i++) {
        if (i < l.n && !marked[i])
            continue;
        if (first >= 0 && (i == l.n || i - last > 3)) {
            if (last + 2 - first > 15)
                text_to_delete(&l, clean, first, last + 2, &gone[count++]);
            first = -1;
        }
        first = first < 0 ? i : first;
        last = i;
    }
    while (count-- > 0)
        nc_replace_all(t, str_of(&gone[count]), NC_STR("\n\n[MISSING_PAGE_POST]\n\n"));
    for (int i = 0; i < l.n; i++) {
        nc_buf_free(&clean[i]);
        nc_buf_free(&gone[i]);
    }
    free(clean);
    free(gone);
    free(marked);
    nc_lines_free(&l);
}

/* ---- lists ---- */
/* "1.2.iv": digits and small roman numerals parted by single points. */
static int depth_of(nc_str s)
{
    int points = 0;
    bool letter = false;
    for (size_t i = 0; i < s.n; i++) {
        uint32_t c = 0;
        int n = nc_utf8_decode(s.p + i, s.n - i, &c);
        if (n > 0 && (nc_char_is_decimal(c) || strchr("ixvIXV", (int)(c < 128 && c ? c : '?')))) {
            if (points && letter)
                return 0;                    /* one behind each point */
            letter = true;
            i += (size_t)n - 1;
        } else if (c == '.' && letter) {
            points++;
            letter = false;
        } else {
            return 0;
        }
    }
    return letter ? points : 0;
}

/* The mark of the items inside a line that is itself one; 0: it is none. */
static char inner_mark(nc_str line)
{
    if (!line.n || (line.p[0] != '-' && line.p[0] != '*'))
        return 0;
    for (size_t i = 1; i + 2 < line.n; i++)
        if (line.p[i] == ' ' && (line.p[i + 1] == '-' || line.p[i + 1] == '*') && line.p[i + 2] == ' ')
            return line.p[i + 1];
    return 0;
}

void nc_normalize_lists(nc_buf *t)
{
    nc_lines l = nc_lines_of(t);
    nc_buf out = { 0 };
    for (int n = 0; n < l.n; n++) {
        nc_str line = l.at[n];
        char mark = inner_mark(line), delim[3] = { mark, ' ', 0 };
        nc_buf_adds(&out, n ? "\n" : "");
        if (!mark) {
            nc_buf_add(&out, line.p, line.n);
            continue;
        }
        nc_str rest = behind_mark(line, delim);
        for (int i = 0; rest.p; i++) {
            const char *hit = rest.n ? memmem(rest.p, rest.n, delim, 2) : NULL;
            nc_str item = stripped((nc_str){ rest.p, hit ? (size_t)(hit - rest.p) : rest.n });
            rest = hit ? (nc_str){ hit + 2, (size_t)(rest.p + rest.n - hit) - 2 } : (nc_str){ NULL, 0 };
            const char *blank = item.n ? memchr(item.p, ' ', item.n) : NULL;
            if (!blank || blank + 1 == item.p + item.n)
                continue;
            nc_buf_adds(&out, i ? "\n" : "");
            for (int d = depth_of((nc_str){ item.p, (size_t)(blank - item.p) }); d > 0; d--)
                nc_buf_addc(&out, '\t');
            nc_buf_addc(&out, i || n == 0 ? mark : line.p[0]);
            nc_buf_addc(&out, ' ');
            nc_buf_add(&out, item.p, item.n);
        }
        nc_buf_adds(&out, n == l.n - 1 ? "\n" : "");
    }
    nc_lines_free(&l);
    nc_buf_free(t);
    *t = out;
}

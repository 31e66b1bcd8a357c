/* sacrebleu.c - BLEU with sacreBLEU's tokenizers and smoothing (M. Post, "A call for clarity in reporting BLEU scores", WMT 2018; version 2.6).
 *
 * The tokenizers are chains of regular substitutions; each is written here as one pass over the characters that puts spaces:
 *   13a   unescape &quot; &amp; &lt; &gt;, then  [{-~ [-` space-& (-+ :-@ /] -> " c ",  (non-digit)([.,]) -> "\1 \2 ",
 *         ([.,])(non-digit) -> " \1 \2",  (digit)(-) -> "\1 \2 "
 *   intl  (non-number)(punctuation) -> "\1 \2 ",  (punctuation)(non-number) -> " \1 \2",  (symbol) -> " \1 "
 *   zh    Chinese characters apart, then 13a's substitutions        char  every character
 * A two-character pattern consumes both of its characters, so that overlapping pairs match once; `pairs` keeps that.
 */
#include "eval/metrics.h"
#include "eval/ngrams.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef bool test(uint32_t c);

static bool is_ascii_mark(uint32_t c)
{
    return (c >= '{' && c <= '~') || (c >= '[' && c <= '`') || (c >= ' ' && c <= '&') || (c >= '(' && c <= '+') || (c >= ':' && c <= '@') || c == '/';
}
static bool is_digit(uint32_t c) { return c >= '0' && c <= '9'; }
static bool is_no_digit(uint32_t c) { return !is_digit(c); }
static bool is_stop(uint32_t c) { return c == '.' || c == ','; }
static bool is_dash(uint32_t c) { return c == '-'; }
static bool is_punctuation(uint32_t c) { return nc_char_kind_of(c) == NC_CHAR_PUNCTUATION; }
static bool is_symbol(uint32_t c) { return nc_char_kind_of(c) == NC_CHAR_SYMBOL; }
static bool is_no_number(uint32_t c) { return nc_char_kind_of(c) != NC_CHAR_NUMBER; }

/* The ranges of sacreBLEU's zh tokenizer as its string comparison reads them (its five-digit escapes fall apart into four and one). */
static bool is_chinese(uint32_t c)
{
    static const uint32_t ranges[][2] = {
        { 0x3400, 0x4db5 }, { 0x4e00, 0x9fbb }, { 0xf900, 0xfa2d }, { 0xfa30, 0xfa6a }, { 0xfa70, 0xfad9 }, { 0x2001, 0x2a6d }, { 0x2f81, 0x2fa1 },
        { 0xff00, 0xffef }, { 0x2e80, 0x2eff }, { 0x3000, 0x303f }, { 0x31c0, 0x31ef }, { 0x2f00, 0x2fdf }, { 0x2ff0, 0x2fff }, { 0x3100, 0x312f },
        { 0x31a0, 0x31bf }, { 0xfe10, 0xfe1f }, { 0xfe30, 0xfe4f }, { 0x2600, 0x27bf }, { 0x3200, 0x33ff },
    };
    for (int i = 0; i < NC_COUNT(ranges); i++)
        if (c >= ranges[i][0] && c <= ranges[i][1])
            return true;
    return false;
}

/* Every character that passes gets a space on both sides. */
static nc_str singles(nc_arena *a, nc_str s, test *passes)
{
    char *out = nc_arena_alloc(a, 3 * s.n + 1), *to = out;
    for (size_t at = 0; at < s.n;) {
        size_t before = at;
        bool apart = passes(nc_next_char(s, &at));
        if (apart)
            *to++ = ' ';
        memcpy(to, s.p + before, at - before);
        to += at - before;
        if (apart)
            *to++ = ' ';
    }
    return (nc_str){ out, (size_t)(to - out) };
}

/* Neighbours that pass first and second become "x y " (mark second) or " x y" (mark first); the search goes on behind the pair. */
static nc_str pairs(nc_arena *a, nc_str s, test *first, test *second, bool mark_second)
{
    char *out = nc_arena_alloc(a, 3 * s.n + 1), *to = out;
    for (size_t at = 0; at < s.n;) {
        size_t one = at;
        uint32_t c = nc_next_char(s, &at);
        size_t two = at, end = at;
        bool pair = first(c) && two < s.n && second(nc_next_char(s, &end));
        if (pair && !mark_second)
            *to++ = ' ';
        memcpy(to, s.p + one, two - one);
        to += two - one;
        if (!pair)
            continue;
        *to++ = ' ';
        memcpy(to, s.p + two, end - two);
        to += end - two;
        if (mark_second)
            *to++ = ' ';
        at = end;
    }
    return (nc_str){ out, (size_t)(to - out) };
}

static nc_str replaced(nc_arena *a, nc_str s, const char *what, const char *with)
{
    size_t n = strlen(what), m = strlen(with);          /* with is never longer than what */
    char *out = nc_arena_alloc(a, s.n + 1), *to = out;
    for (size_t i = 0; i < s.n;) {
        if (s.n - i >= n && memcmp(s.p + i, what, n) == 0) {
            memcpy(to, with, m);
            to += m;
            i += n;
        } else
            *to++ = s.p[i++];
    }
    return (nc_str){ out, (size_t)(to - out) };
}

/* Without white space at both ends. */
static nc_str stripped(nc_str s)
{
    size_t start = s.n, end = 0;
    for (size_t at = 0; at < s.n;) {
        size_t before = at;
        if (nc_char_is_blank(nc_next_char(s, &at)))
            continue;
        start = before < start ? before : start;
        end = at;
    }
    return end > start ? (nc_str){ s.p + start, end - start } : (nc_str){ s.p, 0 };
}

static nc_str western(nc_arena *a, nc_str s)
{
    s = singles(a, s, is_ascii_mark);
    s = pairs(a, s, is_no_digit, is_stop, true);
    s = pairs(a, s, is_stop, is_no_digit, false);
    return pairs(a, s, is_digit, is_dash, true);
}

nc_str nc_sacrebleu_tokenize(nc_arena *a, nc_str s, nc_sacrebleu_tokenizer t)
{
    static const char *const entities[][2] = { { "<skipped>", "" }, { "-\n", "" }, { "\n", " " }, { "&quot;", "\"" }, { "&amp;", "&" }, { "&lt;", "<" }, { "&gt;", ">" } };
    switch (t) {
    case NC_SACREBLEU_13A:
        for (int i = 0; i < NC_COUNT(entities); i++)
            s = replaced(a, s, entities[i][0], entities[i][1]);
        s = western(a, nc_str_of(nc_arena_printf(a, " %.*s ", (int)s.n, s.p)));
        break;
    case NC_SACREBLEU_ZH:
        s = western(a, singles(a, stripped(s), is_chinese));
        break;
    case NC_SACREBLEU_INTL:
        s = pairs(a, s, is_no_number, is_punctuation, true);
        s = pairs(a, s, is_punctuation, is_no_number, false);
        s = singles(a, s, is_symbol);
        break;
    case NC_SACREBLEU_CHAR:
        return nc_words_join(a, nc_characters(a, s), " ");
    case NC_SACREBLEU_NONE:
        return s;
    }
    return nc_words_join(a, nc_words_split(a, s), " ");
}

/* Trailing white space goes before tokenizing. */
static nc_words prepare(nc_arena *a, nc_str s, const nc_sacrebleu_options *o)
{
    if (o->lowercase)
        s = nc_lower(a, s);
    nc_str core = stripped(s);
    if (core.n)
        s.n = (size_t)(core.p + core.n - s.p);
    else
        s.n = 0;
    return nc_words_split(a, nc_sacrebleu_tokenize(a, s, o->tokenizer));
}

static void add_line(const nc_line *l, const nc_sacrebleu_options *o, nc_sacrebleu *out)
{
    nc_arena *a = nc_arena_new();
    nc_map *vocabulary = nc_map_new(64), **refs = NC_NEW_ARRAY(a, nc_map *, l->count + 1);
    nc_words h = prepare(a, l->hypothesis, o);
    nc_map *hyp = nc_gram_counts(nc_word_ids(a, vocabulary, h), h.n, 1, o->order);
    int64_t closest = 0;
    for (int i = 0; i < l->count; i++) {
        nc_words r = prepare(a, l->references[i], o);
        refs[i] = nc_gram_counts(nc_word_ids(a, vocabulary, r), r.n, 1, o->order);
        int64_t near = llabs(closest - h.n), far = llabs((int64_t)r.n - h.n);
        if (i == 0 || far < near || (far == near && r.n < closest))
            closest = r.n;
    }
    for (int k = 0; k < o->order; k++) {
        out->correct[k] += nc_gram_clipped(hyp, refs, l->count, k + 1);
        out->total[k] += h.n - k > 0 ? h.n - k : 0;
    }
    out->hypothesis_length += h.n;
    out->reference_length += closest;
    for (int i = 0; i < l->count; i++)
        nc_map_free(refs[i]);
    nc_map_free(hyp);
    nc_map_free(vocabulary);
    nc_arena_free(a);
}

static void finish(const nc_sacrebleu_options *o, nc_sacrebleu *out)
{
    double value = o->smooth_value >= 0 ? o->smooth_value : o->smooth == NC_SMOOTH_FLOOR ? 0.1 : 1, doubling = 1, sum = 0;
    int order = o->order, any = 0;
    out->brevity = 1;
    if (out->hypothesis_length < out->reference_length)
        out->brevity = out->hypothesis_length ? exp(1 - (double)out->reference_length / (double)out->hypothesis_length) : 0;
    for (int k = 0; k < o->order; k++)
        any |= out->correct[k] != 0;
    if (!any)
        return;
    for (int k = 0; k < o->order; k++) {
        bool add = o->smooth == NC_SMOOTH_ADD_K && k > 0;
        double correct = (double)out->correct[k] + (add ? value : 0), total = (double)out->total[k] + (add ? value : 0);
        if (total == 0)
            break;
        if (o->effective_order)
            order = k + 1;
        if (correct > 0)
            out->precision[k] = 100 * correct / total;
        else if (o->smooth == NC_SMOOTH_EXP)
            out->precision[k] = 100 / ((doubling *= 2) * total);
        else if (o->smooth == NC_SMOOTH_FLOOR)
            out->precision[k] = 100 * value / total;
    }
    for (int k = 0; k < order; k++)
        sum += out->precision[k] > 0 ? log(out->precision[k]) : -9999999999.0;
    out->score = out->brevity * exp(sum / order);
}

void nc_sacrebleu_score(const nc_line *lines, int n, const nc_sacrebleu_options *o, nc_sacrebleu *out)
{
    nc_sacrebleu_options own = *o;
    own.order = o->order < 1 ? 4 : o->order > NC_BLEU_MAX ? NC_BLEU_MAX : o->order;
    memset(out, 0, sizeof *out);
    for (int i = 0; i < n; i++)
        add_line(&lines[i], &own, out);
    finish(&own, out);
}

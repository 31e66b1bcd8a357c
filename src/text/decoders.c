/* decoders.c - from token strings to text: Sequence, ByteLevel, Fuse, Replace, Strip, ByteFallback, Metaspace, WordPiece, BPEDecoder, CTC.
 *
 * A decoder rewrites the list of strings; what is left at the end is joined. New strings lie in the list's arena.
 */
#include <string.h>

#include "text/parts.h"
#include "text/unicode.h"

struct decoder {
    nc_decoder part;
    nc_pattern pattern;
    nc_str content;             /* replacement, prefix, suffix, character or pad token */
    nc_str delimiter;
    int64_t start, stop;
    bool cleanup, prepended;
    int count;
    const nc_decoder *parts[];
};

static nc_str keep_copy(nc_tokens *t, nc_buf *b)
{
    nc_str s = { nc_arena_strndup(t->arena, b->p ? b->p : "", b->n), b->n };
    nc_buf_clear(b);
    return s;
}

static void sequence_run(const nc_decoder *self, nc_tokens *t)
{
    const struct decoder *d = (const struct decoder *)self;
    for (int i = 0; i < d->count; i++)
        if (d->parts[i])
            d->parts[i]->run(d->parts[i], t);
}

static void byte_level_run(const nc_decoder *self, nc_tokens *t)
{
    (void)self;
    nc_buf bytes = { 0 }, text = { 0 };
    for (size_t i = 0; i < t->n; i++)
        if (!nc_bytelevel_decode(t->p[i], &bytes))
            nc_buf_add(&bytes, t->p[i].p, t->p[i].n);
    nc_utf8_lossy(&text, (nc_str){ bytes.p, bytes.n });
    if (t->n) {
        t->p[0] = keep_copy(t, &text);
        t->n = 1;
    }
    nc_buf_free(&bytes);
    nc_buf_free(&text);
}

static void fuse_run(const nc_decoder *self, nc_tokens *t)
{
    (void)self;
    nc_buf all = { 0 };
    for (size_t i = 0; i < t->n; i++)
        nc_buf_add(&all, t->p[i].p, t->p[i].n);
    if (t->n) {
        t->p[0] = keep_copy(t, &all);
        t->n = 1;
    }
    nc_buf_free(&all);
}

/* Literal patterns only need no scratch; a regex one brings its own for the call. */
static nc_str replace_all(nc_tokens *t, const nc_pattern *pattern, nc_scratch *s, nc_str text, nc_str with)
{
    size_t begin, end, at = 0;
    if (!nc_pattern_find(pattern, s, text, 0, &begin, &end))
        return text;
    nc_buf b = { 0 };
    do {
        nc_buf_add(&b, text.p + at, begin - at);
        nc_buf_add(&b, with.p, with.n);
        at = end;
    } while (nc_pattern_find(pattern, s, text, at, &begin, &end));
    nc_buf_add(&b, text.p + at, text.n - at);
    nc_str result = keep_copy(t, &b);
    nc_buf_free(&b);
    return result;
}

static nc_str replace_literal(nc_tokens *t, nc_str text, nc_str what, nc_str with)
{
    nc_pattern p = { .literal = what };
    return replace_all(t, &p, NULL, text, with);
}

static void replace_run(const nc_decoder *self, nc_tokens *t)
{
    const struct decoder *d = (const struct decoder *)self;
    nc_scratch s = { .regex = d->pattern.regex ? nc_regex_scratch_new() : NULL };
    for (size_t i = 0; i < t->n; i++)
        t->p[i] = replace_all(t, &d->pattern, &s, t->p[i], d->content);
    nc_regex_scratch_free(s.regex);
}

static void strip_run(const nc_decoder *self, nc_tokens *t)
{
    const struct decoder *d = (const struct decoder *)self;
    for (size_t i = 0; i < t->n; i++) {
        nc_str *x = &t->p[i];
        for (int64_t k = 0; k < d->start && x->n >= d->content.n && !memcmp(x->p, d->content.p, d->content.n); k++) {
            x->p += d->content.n;
            x->n -= d->content.n;
        }
        for (int64_t k = 0; k < d->stop && x->n >= d->content.n && !memcmp(x->p + x->n - d->content.n, d->content.p, d->content.n); k++)
            x->n -= d->content.n;
    }
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int fallback_byte(nc_str t)
{
    if (t.n != 6 || memcmp(t.p, "<0x", 3) || t.p[5] != '>' || hex_digit(t.p[3]) < 0 || hex_digit(t.p[4]) < 0)
        return -1;
    return hex_digit(t.p[3]) * 16 + hex_digit(t.p[4]);
}

/* Runs of <0xNN> become their text, or one U+FFFD for each byte when they are not valid UTF-8 as a whole. */
static void byte_fallback_run(const nc_decoder *self, nc_tokens *t)
{
    (void)self;
    nc_buf bytes = { 0 };
    size_t n = 0;
    for (size_t i = 0; i < t->n;) {
        int byte;
        size_t first = i;
        while (i < t->n && (byte = fallback_byte(t->p[i])) >= 0) {
            nc_buf_addc(&bytes, (char)byte);
            i++;
        }
        if (i == first) {
            t->p[n++] = t->p[i++];
        } else if (nc_utf8_valid((nc_str){ bytes.p, bytes.n })) {
            t->p[n++] = keep_copy(t, &bytes);
        } else {
            for (size_t k = first; k < i; k++)
                t->p[n++] = NC_STR("\xef\xbf\xbd");
            nc_buf_clear(&bytes);
        }
    }
    t->n = n;
    nc_buf_free(&bytes);
}

/* Every replacement character becomes a blank; the first token loses all of its own when one was prepended. */
static void metaspace_run(const nc_decoder *self, nc_tokens *t)
{
    const struct decoder *d = (const struct decoder *)self;
    for (size_t i = 0; i < t->n; i++)
        t->p[i] = replace_literal(t, t->p[i], d->content, i == 0 && d->prepended ? NC_STR("") : NC_STR(" "));
}

/* The blanks that English punctuation does not want before it. */
static nc_str cleaned(nc_tokens *t, nc_str x)
{
    static const char *const pairs[][2] = {
        { " .", "." }, { " ?", "?" }, { " !", "!" }, { " ,", "," }, { " ' ", "'" }, { " n't", "n't" },
        { " 'm", "'m" }, { " do not", " don't" }, { " 's", "'s" }, { " 've", "'ve" }, { " 're", "'re" },
    };
    for (int i = 0; i < NC_COUNT(pairs); i++)
        x = replace_literal(t, x, nc_str_of(pairs[i][0]), nc_str_of(pairs[i][1]));
    return x;
}

static void wordpiece_run(const nc_decoder *self, nc_tokens *t)
{
    const struct decoder *d = (const struct decoder *)self;
    for (size_t i = 0; i < t->n; i++) {
        nc_str x = t->p[i];
        if (i > 0) {
            if (x.n >= d->content.n && !memcmp(x.p, d->content.p, d->content.n)) {
                x.p += d->content.n;
                x.n -= d->content.n;
            } else {
                char *with_blank = nc_arena_alloc(t->arena, x.n + 1);
                with_blank[0] = ' ';
                memcpy(with_blank + 1, x.p, x.n);
                x = (nc_str){ with_blank, x.n + 1 };
            }
        }
        t->p[i] = d->cleanup ? cleaned(t, x) : x;
    }
}

static void bpe_run(const nc_decoder *self, nc_tokens *t)
{
    const struct decoder *d = (const struct decoder *)self;
    for (size_t i = 0; i < t->n; i++)
        t->p[i] = replace_literal(t, t->p[i], d->content, i + 1 == t->n ? NC_STR("") : NC_STR(" "));
}

static void ctc_run(const nc_decoder *self, nc_tokens *t)
{
    const struct decoder *d = (const struct decoder *)self;
    size_t n = 0;
    nc_str last = { NULL, 0 };
    for (size_t i = 0; i < t->n; i++) {
        nc_str x = t->p[i];
        if (i > 0 && nc_str_eq(x, last))
            continue;
        last = x;
        x = replace_literal(t, x, d->content, NC_STR(""));
        if (d->cleanup) {
            x = cleaned(t, x);
            x = replace_literal(t, x, d->delimiter, NC_STR(" "));
        }
        if (x.n)
            t->p[n++] = x;
    }
    t->n = n;
}

static struct decoder *decoder_new(nc_build *b, void (*run)(const nc_decoder *, nc_tokens *), int parts, const nc_decoder **out)
{
    struct decoder *d = nc_arena_alloc(b->arena, sizeof *d + (size_t)parts * sizeof d->parts[0]);
    d->part.run = run;
    *out = &d->part;
    return d;
}

static nc_str field(nc_build *b, const nc_json *v, const char *key, const char *fallback)
{
    const nc_json *text = nc_json_get(v, key);
    nc_str s = nc_json_is(text, NC_JSON_STRING) ? text->text : nc_str_of(fallback);
    return (nc_str){ nc_arena_strndup(b->arena, s.p, s.n), s.n };
}

int nc_decoder_sequence(nc_build *b, const nc_json *v, const nc_decoder **out, nc_error *e)
{
    const nc_json *list = nc_json_get(v, "decoders");
    if (!nc_json_is(list, NC_JSON_ARRAY))
        return nc_fail(e, NC_EFORMAT, "Sequence needs a list \"decoders\"");
    struct decoder *d = decoder_new(b, sequence_run, list->count, out);
    NC_JSON_EACH(item, list)
        NC_TRY(nc_decoder_create(b, item, &d->parts[d->count++], e));
    return NC_OK;
}

int nc_decoder_byte_level(nc_build *b, const nc_json *v, const nc_decoder **out, nc_error *e)
{
    (void)v;
    (void)e;
    decoder_new(b, byte_level_run, 0, out);
    return NC_OK;
}

int nc_decoder_fuse(nc_build *b, const nc_json *v, const nc_decoder **out, nc_error *e)
{
    (void)v;
    (void)e;
    decoder_new(b, fuse_run, 0, out);
    return NC_OK;
}

int nc_decoder_byte_fallback(nc_build *b, const nc_json *v, const nc_decoder **out, nc_error *e)
{
    (void)v;
    (void)e;
    decoder_new(b, byte_fallback_run, 0, out);
    return NC_OK;
}

int nc_decoder_replace(nc_build *b, const nc_json *v, const nc_decoder **out, nc_error *e)
{
    struct decoder *d = decoder_new(b, replace_run, 0, out);
    d->content = field(b, v, "content", "");
    return nc_pattern_create(b, nc_json_get(v, "pattern"), &d->pattern, e);
}

int nc_decoder_strip(nc_build *b, const nc_json *v, const nc_decoder **out, nc_error *e)
{
    struct decoder *d = decoder_new(b, strip_run, 0, out);
    d->content = field(b, v, "content", " ");
    d->start = nc_json_int(nc_json_get(v, "start"), 0);
    d->stop = nc_json_int(nc_json_get(v, "stop"), 0);
    if (!d->content.n)
        return nc_fail(e, NC_EFORMAT, "Strip needs one character as \"content\"");
    return NC_OK;
}

int nc_decoder_metaspace(nc_build *b, const nc_json *v, const nc_decoder **out, nc_error *e)
{
    struct decoder *d = decoder_new(b, metaspace_run, 0, out);
    d->content = field(b, v, "replacement", "\xe2\x96\x81");
    const char *scheme = nc_json_string(nc_json_get(v, "prepend_scheme"), NULL);
    d->prepended = scheme ? strcmp(scheme, "never") != 0 : nc_json_bool(nc_json_get(v, "add_prefix_space"), true);
    return d->content.n ? NC_OK : nc_fail(e, NC_EFORMAT, "Metaspace needs one character as \"replacement\"");
}

int nc_decoder_wordpiece(nc_build *b, const nc_json *v, const nc_decoder **out, nc_error *e)
{
    (void)e;
    struct decoder *d = decoder_new(b, wordpiece_run, 0, out);
    d->content = field(b, v, "prefix", "##");
    d->cleanup = nc_json_bool(nc_json_get(v, "cleanup"), true);
    return NC_OK;
}

int nc_decoder_bpe(nc_build *b, const nc_json *v, const nc_decoder **out, nc_error *e)
{
    (void)e;
    decoder_new(b, bpe_run, 0, out)->content = field(b, v, "suffix", "</w>");
    return NC_OK;
}

int nc_decoder_ctc(nc_build *b, const nc_json *v, const nc_decoder **out, nc_error *e)
{
    (void)e;
    struct decoder *d = decoder_new(b, ctc_run, 0, out);
    d->content = field(b, v, "pad_token", "<pad>");
    d->delimiter = field(b, v, "word_delimiter_token", "|");
    d->cleanup = nc_json_bool(nc_json_get(v, "cleanup"), true);
    return NC_OK;
}

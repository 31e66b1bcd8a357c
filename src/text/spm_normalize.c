/* spm_normalize.c - sentencepiece's normalizer and its way from pieces back to text.
 *
 * Text is replaced by the longest rules of the charsmap, user-defined symbols stand as they are, runs of blanks become one, blanks become U+2581, and one is put in front
 * (or behind). Byte i of the result came from byte at[i] of the text and reaches to at[i + 1]. Source: normalizer.cc, sentencepiece_processor.cc.
 */
#include <stdlib.h>
#include <string.h>

#include "text/charsmap.h"
#include "text/spm.h"
#include "text/tokenizer_internal.h"

#define MARK "\xe2\x96\x81"

struct normalizer {
    nc_normalizer part;
    nc_charsmap map;
    nc_trie user;
    bool dummy_prefix, remove_extra, escape, suffix;
};

struct output { nc_buf text; uint32_t *at; size_t capacity; };

static void put(struct output *o, const char *p, size_t n, size_t place)
{
    if (o->text.n + n + 1 > o->capacity) {
        o->capacity = (o->text.n + n + 1) * 2;
        o->at = nc_xrealloc(o->at, o->capacity * sizeof *o->at);
    }
    for (size_t i = 0; i < n; i++)
        o->at[o->text.n + i] = (uint32_t)place;
    nc_buf_add(&o->text, p, n);
}

static void put_blank(const struct normalizer *m, struct output *o, size_t place)
{
    if (m->escape)
        put(o, MARK, 3, place);
    else
        put(o, " ", 1, place);
}

/* What stands for the next few bytes of text, and how many. */
static size_t step(const struct normalizer *m, nc_str text, nc_str *new)
{
    uint32_t c;
    size_t n = nc_trie_prefix(&m->user, text);
    if (!n && (n = nc_charsmap_find(&m->map, text, true, new)) > 0)
        return n;
    if (!n)
        n = (size_t)nc_utf8_decode(text.p, text.n, &c);
    *new = (nc_str){ text.p, n };
    return n;
}

static void rewrite(const struct normalizer *m, nc_str text, struct output *o)
{
    size_t at = 0, blank = m->escape ? 3 : 1;
    nc_str new;
    while (m->remove_extra && at < text.n) {
        size_t n = step(m, (nc_str){ text.p + at, text.n - at }, &new);
        if (!nc_str_eqz(new, " "))
            break;
        at += n;
    }
    if (at == text.n) {
        put(o, "", 0, at);
        o->at[0] = (uint32_t)at;
        return;
    }
    if (!m->suffix && m->dummy_prefix)
        put_blank(m, o, at);
    bool after_blank = m->remove_extra;
    while (at < text.n) {
        size_t n = step(m, (nc_str){ text.p + at, text.n - at }, &new);
        while (after_blank && new.n && new.p[0] == ' ')
            new = (nc_str){ new.p + 1, new.n - 1 };
        for (size_t i = 0; i < new.n; i++) {
            if (new.p[i] == ' ')
                put_blank(m, o, at);
            else
                put(o, new.p + i, 1, at);
        }
        if (new.n)
            after_blank = m->remove_extra && new.p[new.n - 1] == ' ';
        at += n;
    }
    while (m->remove_extra && o->text.n >= blank && !memcmp(o->text.p + o->text.n - blank, m->escape ? MARK : " ", blank)) {
        o->text.n -= blank;
        at = o->at[o->text.n];
    }
    if (m->suffix && m->dummy_prefix)
        put_blank(m, o, at);
    put(o, "", 0, at);
    o->at[o->text.n] = (uint32_t)at;
}

static void normalizer_run(const nc_normalizer *self, nc_scratch *s)
{
    struct output o = { 0 };
    nc_aligned *in = &s->text, *out = &s->other;
    if (!in->n)
        return;
    rewrite((const struct normalizer *)self, nc_aligned_str(in), &o);
    nc_aligned_set(out, (nc_str){ o.text.p ? o.text.p : "", o.text.n }, in->base, in->aligned);
    for (size_t i = 0; in->aligned && i < out->n; i++) {
        out->from[i] = o.at[i] < in->n ? in->from[o.at[i]] : in->to[in->n - 1];
        out->to[i] = o.at[i + 1] < in->n ? in->from[o.at[i + 1]] : in->to[in->n - 1];
    }
    nc_aligned_swap(in, out);
    nc_buf_free(&o.text);
    free(o.at);
}

static void release_trie(void *t) { free(((nc_trie *)t)->p); }

int nc_normalizer_sentencepiece(nc_build *b, const nc_json *v, const nc_normalizer **out, nc_error *e)
{
    struct normalizer *m = NC_NEW(b->arena, struct normalizer);
    m->part.run = normalizer_run;
    m->dummy_prefix = nc_json_bool(nc_json_get(v, "add_dummy_prefix"), true);
    m->remove_extra = nc_json_bool(nc_json_get(v, "remove_extra_whitespaces"), true);
    m->escape = nc_json_bool(nc_json_get(v, "escape_whitespaces"), true);
    m->suffix = nc_json_bool(nc_json_get(v, "suffix"), false);
    *out = &m->part;
    nc_trie_init(&m->user);
    b->defer(b, release_trie, &m->user);
    NC_JSON_EACH(item, nc_json_get(v, "user_defined"))
        nc_trie_add(&m->user, item->text, 0);
    const char *text = nc_json_string(nc_json_get(v, "precompiled_charsmap"), "");
    nc_buf bytes = { 0 };
    int status = nc_base64_decode(nc_str_of(text), &bytes, e);
    if (status >= 0)
        status = nc_charsmap_read(b->arena, (nc_str){ bytes.p ? bytes.p : "", bytes.n }, &m->map, e);
    nc_buf_free(&bytes);
    return status;
}

struct decoder {
    nc_decoder part;
    const nc_vocab *vocab;
    const uint8_t *type;
    int32_t count;
    nc_str unk_surface;
    bool strip, strip_all, suffix;
};

static int byte_of(nc_str token)
{
    static const char digits[] = "0123456789ABCDEF";
    const char *high = token.n == 6 ? strchr(digits, token.p[3]) : NULL, *low = high ? strchr(digits, token.p[4]) : NULL;
    return low ? (int)(high - digits) * 16 + (int)(low - digits) : 0;
}

/* Bytes as text; each byte outside a valid character becomes U+FFFD. */
static void flush_bytes(nc_buf *bytes, nc_buf *out)
{
    for (size_t i = 0; i < bytes->n;) {
        uint32_t c;
        int n = nc_utf8_decode(bytes->p + i, bytes->n - i, &c);
        nc_buf_add(out, n > 0 ? bytes->p + i : "\xef\xbf\xbd", n > 0 ? (size_t)n : 3);
        i += n > 0 ? (size_t)n : 1;
    }
    nc_buf_clear(bytes);
}

static void add_text(nc_buf *out, nc_str token)
{
    for (size_t i = 0; i < token.n;) {
        bool mark = token.n - i >= 3 && !memcmp(token.p + i, MARK, 3);
        nc_buf_addc(out, mark ? ' ' : token.p[i]);
        i += mark ? 3 : 1;
    }
}

static void decoder_run(const nc_decoder *self, nc_tokens *t)
{
    const struct decoder *m = (const struct decoder *)self;
    nc_buf out = { 0 }, bytes = { 0 };
    bool first = true, seen = false;
    for (size_t i = 0; i < t->n; i++) {
        nc_str token = t->p[i];
        int32_t id = nc_vocab_id(m->vocab, token);
        int type = id >= 0 && id < m->count ? m->type[id] : NC_SPM_NORMAL;
        if (type == NC_SPM_BYTE) {
            nc_buf_addc(&bytes, (char)byte_of(token));
            continue;
        }
        flush_bytes(&bytes, &out);
        first = first && !seen && !out.n;
        seen = false;
        if (type == NC_SPM_CONTROL)
            continue;
        if (type == NC_SPM_UNKNOWN) {
            nc_buf_add(&out, m->unk_surface.p, m->unk_surface.n);
            continue;
        }
        if (first && m->strip && !m->suffix && token.n >= 3 && !memcmp(token.p, MARK, 3)) {
            token = (nc_str){ token.p + 3, token.n - 3 };
            seen = !m->strip_all;
        }
        add_text(&out, token);
    }
    flush_bytes(&bytes, &out);
    t->p[0] = (nc_str){ nc_arena_strndup(t->arena, out.p ? out.p : "", out.n), out.n };
    t->n = 1;
    nc_buf_free(&out);
    nc_buf_free(&bytes);
}

int nc_decoder_sentencepiece(nc_build *b, const nc_json *v, const nc_decoder **out, nc_error *e)
{
    const nc_json *vocab = nc_json_get(v, "vocab"), *surface = nc_json_get(v, "unk_surface");
    struct decoder *m = NC_NEW(b->arena, struct decoder);
    m->part.run = decoder_run;
    m->type = vocab ? nc_spm_types(b->arena, vocab) : NULL;
    if (!m->type)
        return nc_fail(e, NC_EFORMAT, "needs a \"vocab\" of [piece, score, type]");
    m->vocab = b->tokenizer->model->vocab;
    m->count = vocab->count;
    m->strip = nc_json_bool(nc_json_get(v, "strip"), true);
    m->strip_all = nc_json_bool(nc_json_get(v, "strip_all"), true);
    m->suffix = nc_json_bool(nc_json_get(v, "suffix"), false);
    if (nc_json_is(surface, NC_JSON_STRING))
        m->unk_surface = (nc_str){ nc_arena_strndup(b->arena, surface->text.p, surface->text.n), surface->text.n };
    else
        m->unk_surface = NC_STR(" \xe2\x81\x87 ");
    *out = &m->part;
    return NC_OK;
}

/* split.c - cutting spans by matches, and the pre-tokenizers that are a pattern or a class of characters:
 * Sequence, Split, Digits, Whitespace, WhitespaceSplit, Punctuation, BertPreTokenizer, CharDelimiterSplit, FixedLength.
 *
 * A text is matches and what lies between them. Removed drops the matches, Isolated keeps both apart, Contiguous joins adjacent matches,
 * MergedWithPrevious and MergedWithNext glue a match to its neighbour; invert exchanges the two roles.
 */
#include <string.h>

#include "text/parts.h"
#include "text/unicode.h"

void nc_spans_add(nc_spans *s, uint32_t begin, uint32_t end, bool at_start)
{
    if (s->n == s->capacity) {
        s->capacity = s->capacity ? s->capacity * 2 : 256;
        s->p = nc_xrealloc(s->p, s->capacity * sizeof *s->p);
    }
    s->p[s->n++] = (nc_span){ begin, end, at_start };
}

struct cut {
    nc_spans *out;
    nc_span whole;
    nc_behavior behavior;
    size_t first;               /* index in out of this span's first piece */
    bool previous;              /* whether the piece before was a match */
    bool glue;                  /* MergedWithNext: the last piece is a match that takes in the next one */
};

/* One piece of the span at hand, in order. */
static inline void piece(struct cut *c, size_t begin, size_t end, bool match)
{
    nc_spans *out = c->out;
    uint32_t from = c->whole.begin + (uint32_t)begin, to = c->whole.begin + (uint32_t)end;
    bool join = false;
    switch (c->behavior) {
    case NC_REMOVED:
        if (match)
            return;
        break;
    case NC_ISOLATED:
        break;
    case NC_CONTIGUOUS:
        join = match == c->previous;
        break;
    case NC_MERGED_WITH_PREVIOUS:
        join = match && !c->previous;
        break;
    case NC_MERGED_WITH_NEXT:
        join = !match && c->glue;
        c->glue = match;
        break;
    }
    c->previous = match;
    if (join && out->n > c->first)
        out->p[out->n - 1].end = to;
    else if (to > from)
        nc_spans_add(out, from, to, c->whole.at_start && begin == 0);
}

void nc_split_spans(nc_scratch *s, nc_find_fn *find, const void *context, nc_behavior behavior, bool invert)
{
    s->split.n = 0;
    for (size_t i = 0; i < s->spans.n; i++) {
        nc_span whole = s->spans.p[i];
        nc_str text = { s->text.p + whole.begin, whole.end - whole.begin };
        struct cut c = { &s->split, whole, behavior, s->split.n, false, false };
        size_t at = 0, begin, end;
        while (at < text.n && find(context, s, text, at, &begin, &end)) {
            if (begin > at)
                piece(&c, at, begin, invert);
            piece(&c, begin, end, !invert);
            at = end;
        }
        if (at < text.n)
            piece(&c, at, text.n, invert);
    }
    nc_spans t = s->spans;
    s->spans = s->split;
    s->split = t;
}

int nc_behavior_read(const nc_json *v, nc_behavior fallback, nc_behavior *out, nc_error *e)
{
    static const char *const names[] = { "Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous" };
    const char *name = nc_json_string(v, NULL);
    *out = fallback;
    if (!name)
        return NC_OK;
    for (int i = 0; i < NC_COUNT(names); i++) {
        if (!strcmp(name, names[i])) {
            *out = (nc_behavior)i;
            return NC_OK;
        }
    }
    return nc_fail(e, NC_EFORMAT, "behavior \"%s\" is none of Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous", name);
}

/* One or more steps, each (finder, context, behavior). */
struct step {
    nc_find_fn *find;
    nc_pattern pattern;
    uint32_t character;
    uint32_t length;
    nc_behavior behavior;
    bool invert;
    bool (*is)(uint32_t);
};
struct splitter {
    nc_pretokenizer part;
    int count;
    struct step steps[2];
};

static bool find_pattern(const void *context, nc_scratch *s, nc_str text, size_t from, size_t *begin, size_t *end)
{
    return nc_pattern_find(&((const struct step *)context)->pattern, s, text, from, begin, end);
}

/* The next single character of a class. */
static bool find_class(const void *context, nc_scratch *s, nc_str text, size_t from, size_t *begin, size_t *end)
{
    (void)s;
    const struct step *p = context;
    while (from < text.n) {
        uint32_t c;
        size_t length = (size_t)nc_utf8_decode(text.p + from, text.n - from, &c);
        if (p->is ? p->is(c) : c == p->character) {
            *begin = from;
            *end = from + length;
            return true;
        }
        from += length;
    }
    return false;
}

static bool find_fixed(const void *context, nc_scratch *s, nc_str text, size_t from, size_t *begin, size_t *end)
{
    (void)s;
    const struct step *p = context;
    *begin = from;
    for (uint32_t i = 0; i < p->length && from < text.n; i++) {
        uint32_t c;
        from += (size_t)nc_utf8_decode(text.p + from, text.n - from, &c);
    }
    *end = from;
    return true;
}

static void splitter_run(const nc_pretokenizer *self, nc_scratch *s)
{
    const struct splitter *p = (const struct splitter *)self;
    for (int i = 0; i < p->count; i++)
        nc_split_spans(s, p->steps[i].find, &p->steps[i], p->steps[i].behavior, p->steps[i].invert);
}

static struct splitter *splitter_new(nc_build *b, const nc_pretokenizer **out)
{
    struct splitter *p = NC_NEW(b->arena, struct splitter);
    p->part.run = splitter_run;
    p->count = 1;
    *out = &p->part;
    return p;
}

static void class_step(struct step *s, bool is(uint32_t), nc_behavior behavior)
{
    s->find = find_class;
    s->is = is;
    s->behavior = behavior;
}

int nc_pretokenizer_split(nc_build *b, const nc_json *v, const nc_pretokenizer **out, nc_error *e)
{
    struct splitter *p = splitter_new(b, out);
    p->steps[0].find = find_pattern;
    p->steps[0].invert = nc_json_bool(nc_json_get(v, "invert"), false);
    NC_TRY(nc_pattern_create(b, nc_json_get(v, "pattern"), &p->steps[0].pattern, e));
    return nc_behavior_read(nc_json_get(v, "behavior"), NC_ISOLATED, &p->steps[0].behavior, e);
}

int nc_pretokenizer_digits(nc_build *b, const nc_json *v, const nc_pretokenizer **out, nc_error *e)
{
    (void)e;
    bool individual = nc_json_bool(nc_json_get(v, "individual_digits"), false);
    class_step(&splitter_new(b, out)->steps[0], nc_char_is_numeric, individual ? NC_ISOLATED : NC_CONTIGUOUS);
    return NC_OK;
}

static int regex_pattern(nc_build *b, const char *regex, nc_pattern *out, nc_error *e)
{
    nc_json text = { .type = NC_JSON_STRING, .text = nc_str_of(regex), .key = NC_STR("Regex") };
    nc_json object = { .type = NC_JSON_OBJECT, .first = &text, .count = 1 };
    return nc_pattern_create(b, &object, out, e);
}

/* The regex crate's \w, which this pre-tokenizer uses, has letter-like symbols and joiners that Oniguruma's lacks. */
int nc_pretokenizer_whitespace(nc_build *b, const nc_json *v, const nc_pretokenizer **out, nc_error *e)
{
    (void)v;
    struct splitter *p = splitter_new(b, out);
    p->steps[0].find = find_pattern;
    p->steps[0].behavior = NC_REMOVED;
    p->steps[0].invert = true;
    return regex_pattern(b, "[\\w\\p{Nl}\\x{200c}\\x{200d}\\x{24b6}-\\x{24e9}]+|[^\\w\\s\\p{Nl}\\x{200c}\\x{200d}\\x{24b6}-\\x{24e9}]+", &p->steps[0].pattern, e);
}

int nc_pretokenizer_whitespace_split(nc_build *b, const nc_json *v, const nc_pretokenizer **out, nc_error *e)
{
    (void)v;
    (void)e;
    class_step(&splitter_new(b, out)->steps[0], nc_char_is_space, NC_REMOVED);
    return NC_OK;
}

int nc_pretokenizer_punctuation(nc_build *b, const nc_json *v, const nc_pretokenizer **out, nc_error *e)
{
    nc_behavior behavior;
    NC_TRY(nc_behavior_read(nc_json_get(v, "behavior"), NC_ISOLATED, &behavior, e));
    class_step(&splitter_new(b, out)->steps[0], nc_char_is_punctuation, behavior);
    return NC_OK;
}

int nc_pretokenizer_bert(nc_build *b, const nc_json *v, const nc_pretokenizer **out, nc_error *e)
{
    (void)v;
    (void)e;
    struct splitter *p = splitter_new(b, out);
    p->count = 2;
    class_step(&p->steps[0], nc_char_is_space, NC_REMOVED);
    class_step(&p->steps[1], nc_char_is_punctuation, NC_ISOLATED);
    return NC_OK;
}

int nc_pretokenizer_char_delimiter(nc_build *b, const nc_json *v, const nc_pretokenizer **out, nc_error *e)
{
    const nc_json *text = nc_json_get(v, "delimiter");
    struct splitter *p = splitter_new(b, out);
    class_step(&p->steps[0], NULL, NC_REMOVED);
    if (!nc_json_is(text, NC_JSON_STRING) || nc_utf8_decode(text->text.p, text->text.n, &p->steps[0].character) != (int)text->text.n)
        return nc_fail(e, NC_EFORMAT, "CharDelimiterSplit needs one character as \"delimiter\"");
    return NC_OK;
}

int nc_pretokenizer_fixed_length(nc_build *b, const nc_json *v, const nc_pretokenizer **out, nc_error *e)
{
    int64_t length = nc_json_int(nc_json_get(v, "length"), 5);
    if (length < 1 || length > INT32_MAX)
        return nc_fail(e, NC_EFORMAT, "FixedLength needs a \"length\" of at least 1");
    struct splitter *p = splitter_new(b, out);
    p->steps[0].find = find_fixed;
    p->steps[0].length = (uint32_t)length;
    p->steps[0].behavior = NC_ISOLATED;
    return NC_OK;
}

struct sequence {
    nc_pretokenizer part;
    int count;
    const nc_pretokenizer *parts[];
};

static void sequence_run(const nc_pretokenizer *self, nc_scratch *s)
{
    const struct sequence *q = (const struct sequence *)self;
    for (int i = 0; i < q->count; i++)
        if (q->parts[i])
            q->parts[i]->run(q->parts[i], s);
}

int nc_pretokenizer_sequence(nc_build *b, const nc_json *v, const nc_pretokenizer **out, nc_error *e)
{
    const nc_json *list = nc_json_get(v, "pretokenizers");
    if (!nc_json_is(list, NC_JSON_ARRAY))
        return nc_fail(e, NC_EFORMAT, "Sequence needs a list \"pretokenizers\"");
    struct sequence *q = nc_arena_alloc(b->arena, sizeof *q + (size_t)list->count * sizeof q->parts[0]);
    q->part.run = sequence_run;
    bool raw = b->raw_bytes;
    int at = 0;
    NC_JSON_EACH(item, list) {
        b->raw_bytes = raw && ++at == list->count;      /* only the last part may leave bytes unmapped */
        NC_TRY(nc_pretokenizer_create(b, item, &q->parts[q->count++], e));
    }
    b->raw_bytes = raw;
    *out = &q->part;
    return NC_OK;
}

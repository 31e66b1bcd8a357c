/* conversation.c - messages to ids: the chat template, the tokenizer, placeholders repeated once a feature row, and the mask of the assistant's words.
 *
 * The mask comes from the template's {% generation %} blocks where it has them; else from rendering the messages up to each answer with and without it:
 * what the answer adds behind the generation prompt is the assistant's. White space behind an end token carries no loss.
 */
#include "front/words.h"

#include <stdlib.h>
#include <string.h>

struct nc_conversation {
    nc_arena *arena;
    const nc_tokenizer *tokenizer;
    nc_template *compiled;
    const char *source;
    bool lists;                      /* the template looks into lists of parts */
    bool strings;                    /* and into strings */
    bool specials;                   /* the post-processor's special tokens are added, as processors of models with media do */
    int token[2];                    /* placeholder ids: image, video */
    const char *spelling[2];
    const nc_wording *wording;       /* NULL: placeholders alone */
};

static int32_t find_token(const nc_conversation *c, const char *const *names, int count)
{
    for (int i = 0; i < count; i++) {
        int32_t id = nc_tokenizer_id(c->tokenizer, nc_str_of(names[i]));
        if (id >= 0)
            return id;
    }
    return -1;
}

static void find_placeholders(nc_conversation *c, const nc_conversation_options *o)
{
    static const char *const image[] = { "<image>", "<|image_pad|>" }, *const video[] = { "<video>", "<|video_pad|>" };
    c->token[0] = o->image_token_id >= 0 ? o->image_token_id : find_token(c, image, 2);
    c->token[1] = o->video_token_id >= 0 ? o->video_token_id : find_token(c, video, 2);
    for (int i = 0; i < 2; i++) {
        nc_str s = c->token[i] >= 0 ? nc_tokenizer_token(c->tokenizer, c->token[i]) : (nc_str){ 0 };
        c->spelling[i] = s.p ? s.p : i ? "<video>" : "<image>";
    }
}

static int unknown_template(const char *name, nc_error *e)
{
    int count;
    const char *const *names = nc_builtin_templates(&count);
    const char *near = nc_nearest(name, names, count);
    nc_buf all = { 0 };
    for (int i = 0; i < count; i++)
        nc_buf_printf(&all, "%s%s", i ? " " : "", names[i]);
    nc_fail(e, NC_ENOTFOUND, "template \"%s\" is not known%s%s (known: %s)", name, near ? "; nearest is " : "", near ? near : "", all.p);
    nc_buf_free(&all);
    return NC_ENOTFOUND;
}

static const char *usual_template(const nc_wording *x, const nc_tokenizer *t)
{
    if (!x)
        return nc_builtin_template("default");
    return nc_builtin_template(x->end && nc_tokenizer_id(t, nc_str_of(x->end)) < 0 ? x->template_without : x->template_name);
}

int nc_conversation_new(const nc_conversation_options *o, nc_conversation **out, nc_error *e)
{
    const char *own = nc_tokenizer_chat_template(o->tokenizer, NULL), *source = o->template_source;
    const nc_wording *wording = nc_wording_find(o->processor);
    if (!source && o->template_name)
        source = nc_builtin_template(o->template_name);
    if (!source && o->template_name)
        return unknown_template(o->template_name, e);
    const bool worded = !source && !own && wording && wording->template_name;      /* such a template writes <s> where the processor puts it */
    if (!source)
        source = own ? own : usual_template(worded ? wording : NULL, o->tokenizer);
    nc_template *compiled = NULL;
    int status = nc_template_compile(nc_str_of(source), &compiled, e);
    if (status < 0)
        return nc_fail_in(e, source == own ? "the model's chat template" : "chat template"), status;
    nc_arena *a = nc_arena_new();
    nc_conversation *c = NC_NEW(a, nc_conversation);
    *c = (nc_conversation){ .arena = a, .tokenizer = o->tokenizer, .compiled = compiled, .source = nc_arena_strdup(a, source) };
    c->lists = strstr(source, "'type'") || strstr(source, "\"type\"") || strstr(source, ".type");
    c->strings = !c->lists || strstr(source, "is string") || strstr(source, "is not string");
    c->specials = (o->image_token_id >= 0 || o->video_token_id >= 0) && !worded;
    find_placeholders(c, o);
    c->wording = wording;
    *out = c;
    return 0;
}

void nc_conversation_free(nc_conversation *c)
{
    if (!c)
        return;
    nc_template_free(c->compiled);
    nc_arena_free(c->arena);
}

const char *nc_conversation_template(const nc_conversation *c) { return c->source; }

/* Content in the form the template reads: parts joined to a string with placeholders spelled out, or a string made a list of one part. */
static nc_json *shaped_content(const nc_conversation *c, nc_arena *a, const nc_json *content)
{
    if (nc_json_is(content, NC_JSON_ARRAY) && !c->lists) {
        nc_buf b = { 0 };
        NC_JSON_EACH(part, content) {
            const char *type = nc_json_string(nc_json_get(part, "type"), "text");
            const nc_json *text = nc_json_get(part, "text");
            if (!strcmp(type, "image") || !strcmp(type, "video"))
                nc_buf_adds(&b, c->spelling[!strcmp(type, "video")]);
            else if (nc_json_is(text, NC_JSON_STRING))
                nc_buf_add(&b, text->text.p, text->text.n);
        }
        nc_json *s = nc_json_new_string(a, (nc_str){ b.n ? nc_arena_strndup(a, b.p, b.n) : "", b.n });
        nc_buf_free(&b);
        return s;
    }
    if (nc_json_is(content, NC_JSON_STRING) && !c->strings) {
        nc_json *list = nc_json_new(a, NC_JSON_ARRAY), *part = nc_json_new(a, NC_JSON_OBJECT);
        nc_json_set(a, part, "type", nc_json_new_string(a, NC_STR("text")));
        nc_json_set(a, part, "text", nc_json_clone(a, content));
        nc_json_append(list, part);
        return list;
    }
    return content ? nc_json_clone(a, content) : nc_json_new_string(a, NC_STR(""));
}

static nc_json *shaped_messages(const nc_conversation *c, nc_arena *a, const nc_json *messages)
{
    nc_json *out = nc_json_new(a, NC_JSON_ARRAY);
    NC_JSON_EACH(m, messages) {
        nc_json *copy = nc_json_clone(a, m);
        copy->key = (nc_str){ 0 };
        if (nc_json_is(copy, NC_JSON_OBJECT))
            nc_json_set(a, copy, "content", shaped_content(c, a, nc_json_get(m, "content")));
        nc_json_append(out, copy);
    }
    return out;
}

static nc_json *first_messages(nc_arena *a, const nc_json *messages, int count)
{
    nc_json *out = nc_json_new(a, NC_JSON_ARRAY);
    int i = 0;
    NC_JSON_EACH(m, messages)
        if (i++ < count)
            nc_json_append(out, nc_json_clone(a, m));
    return out;
}

static int render(const nc_conversation *c, const nc_conversation_request *r, const nc_json *messages, bool prompt, nc_buf *out, nc_template_spans *spans, nc_error *e)
{
    nc_template_limits limits = { .now = r->now };
    nc_chat_options o = { .tools = r->tools, .extra = r->extra, .add_generation_prompt = prompt, .continue_final_message = r->continue_final && !prompt, .limits = &limits };
    o.bos = nc_tokenizer_special(c->tokenizer, "bos");
    o.eos = nc_tokenizer_special(c->tokenizer, "eos");
    o.pad = nc_tokenizer_special(c->tokenizer, "pad");
    o.unk = nc_tokenizer_special(c->tokenizer, "unk");
    return nc_chat_render(c->compiled, messages, &o, out, spans, e);
}

static void add_span(nc_template_spans *s, size_t begin, size_t end)
{
    if (s->n == s->capacity) {
        s->capacity = s->capacity ? 2 * s->capacity : 8;
        s->p = nc_xrealloc(s->p, sizeof *s->p * s->capacity);
    }
    s->p[s->n++] = (nc_template_span){ begin, end };
}

/* White space behind a special token at the end of the span is the template's, not the assistant's. */
static size_t trimmed_end(const nc_conversation *c, const char *p, size_t begin, size_t end)
{
    size_t cut = end;
    while (cut > begin && (p[cut - 1] == '\n' || p[cut - 1] == ' '))
        cut--;
    if (cut == begin || cut == end)
        return end;
    for (int32_t id = 0; id < nc_tokenizer_vocab_size(c->tokenizer); id++) {
        if (!nc_tokenizer_is_special(c->tokenizer, id))
            continue;
        nc_str s = nc_tokenizer_token(c->tokenizer, id);
        if (s.p && s.n && s.n <= cut - begin && !memcmp(p + cut - s.n, s.p, s.n))
            return cut;
    }
    return end;
}

static size_t common(const nc_buf *x, const nc_buf *y)
{
    size_t n = x->n < y->n ? x->n : y->n, i = 0;
    while (i < n && x->p[i] == y->p[i])
        i++;
    return i;
}

/* The assistant's spans by difference of renderings. */
static int spans_by_difference(const nc_conversation *c, nc_arena *a, const nc_conversation_request *r, const nc_json *messages, const nc_buf *whole, nc_template_spans *spans,
                               nc_error *e)
{
    int i = 0, status = 0;
    NC_JSON_EACH(m, messages) {
        if (strcmp(nc_json_string(nc_json_get(m, "role"), ""), "assistant")) {
            i++;
            continue;
        }
        nc_buf before = { 0 }, after = { 0 };
        status = render(c, r, first_messages(a, messages, i), true, &before, NULL, e);
        if (status == 0)
            status = render(c, r, first_messages(a, messages, i + 1), false, &after, NULL, e);
        size_t begin = common(&before, &after), end = common(&after, whole);
        if (status == 0 && begin < end)
            add_span(spans, begin, trimmed_end(c, whole->p, begin, end));
        nc_buf_free(&before);
        nc_buf_free(&after);
        if (status < 0)
            return status;
        i++;
    }
    return 0;
}

struct building { nc_ids ids; uint8_t *mask; size_t masks; int media_end; };

static void push(struct building *b, int32_t id, bool said)
{
    nc_ids_add(&b->ids, id);
    if (b->masks < b->ids.n) {
        b->masks = b->ids.n + b->ids.n / 2 + 64;
        b->mask = nc_xrealloc(b->mask, b->masks);
    }
    b->mask[b->ids.n - 1] = said;
}

static bool is_said(const nc_template_spans *spans, size_t begin, size_t end)
{
    for (size_t i = 0; i < spans->n; i++)
        if (begin >= spans->p[i].begin && begin < spans->p[i].end && end > begin)
            return true;
    return false;
}

/* Every placeholder becomes its run of rows. */
static int expand(const nc_conversation *c, const nc_conversation_request *r, const int *run, int runs, const nc_encoding *x, const nc_template_spans *spans,
                  struct building *b, nc_error *e)
{
    int medium = 0;
    for (size_t i = 0; i < x->n; i++) {
        bool holds = x->ids[i] == c->token[0] || x->ids[i] == c->token[1];
        if (!holds || x->ids[i] < 0) {
            push(b, x->ids[i], r->train && is_said(spans, x->begin[i], x->end[i]));
            continue;
        }
        if (medium >= runs)
            return nc_fail(e, NC_EINVAL, "the messages name %d or more media by %s or %s, but %d are given", medium + 1, c->spelling[0], c->spelling[1], r->media_count);
        for (int k = 0; k < run[medium]; k++)
            push(b, x->ids[i], false);
        b->media_end = (int)b->ids.n;
        medium++;
    }
    if (medium < runs)
        return nc_fail(e, NC_EINVAL, "%d media are given, but the messages as rendered by the chat template have %d placeholders (%s, %s)", r->media_count, medium,
                       c->spelling[0], c->spelling[1]);
    return 0;
}

/* An answer must end in a token that stops generation; a template that writes none gets the tokenizer's. */
static void close_answer(const nc_conversation *c, struct building *b)
{
    int32_t eos = nc_tokenizer_special_id(c->tokenizer, "eos");
    size_t last = b->ids.n;
    while (last > 0 && !b->mask[last - 1])
        last--;
    if (eos >= 0 && last == b->ids.n && last > 0 && !nc_tokenizer_is_special(c->tokenizer, b->ids.p[last - 1]))
        push(b, eos, true);
}

static void hand_over(struct building *b, nc_arena *a, bool mask, nc_conversation_ids *out)
{
    *out = (nc_conversation_ids){ .count = (int)b->ids.n, .media_end = b->media_end };
    out->ids = nc_arena_copy(a, b->ids.p ? (void *)b->ids.p : "", sizeof *b->ids.p * b->ids.n);
    if (mask)
        out->mask = nc_arena_copy(a, b->mask ? (void *)b->mask : "", b->ids.n);
}

/* transformers: a processor's apply_chat_template adds special tokens unless the text begins with the bos token; a tokenizer's never does. */
static unsigned encode_flags(const nc_conversation *c, const nc_buf *text)
{
    const char *bos = nc_tokenizer_special(c->tokenizer, "bos");
    bool begins = bos && text->p && nc_starts_with(text->p, bos);
    return NC_ENCODE_OFFSETS | NC_ENCODE_BYTES | (c->specials && !begins ? NC_ENCODE_SPECIAL : 0);
}

/* text, its spans and its runs as the processor class words them. */
static int reword(const nc_conversation *c, const nc_conversation_request *r, nc_buf *text, nc_template_spans *spans, nc_words *w, nc_error *e)
{
    if (!c->wording || !c->wording->write || !r->media || !r->media_count)
        return 0;
    w->spelling[0] = c->spelling[0];
    w->spelling[1] = c->spelling[1];
    int status = nc_words_write(c->wording, (nc_str){ text->p ? text->p : "", text->n }, r->media, r->media_rows, r->media_count, spans, w, e);
    nc_buf plain = *text;
    *text = w->text;
    w->text = plain;
    return status;
}

int nc_conversation_encode(const nc_conversation *c, nc_arena *a, const nc_conversation_request *r, nc_conversation_ids *out, nc_error *e)
{
    nc_arena *scratch = nc_arena_new();
    nc_json *messages = shaped_messages(c, scratch, r->messages);
    nc_buf text = { 0 };
    nc_template_spans spans = { 0 };
    nc_encoding x = { 0 };
    struct building b = { 0 };
    nc_words words = { 0 };
    bool marks = r->train && nc_template_has_generation(c->compiled);
    int status = render(c, r, messages, r->generate, &text, marks ? &spans : NULL, e);
    if (status == 0 && r->train && !marks)
        status = spans_by_difference(c, scratch, r, messages, &text, &spans, e);
    if (status == 0)
        status = reword(c, r, &text, &spans, &words, e);
    if (status == 0)
        status = nc_tokenizer_encode_full(c->tokenizer, (nc_str){ text.p ? text.p : "", text.n }, NULL, encode_flags(c, &text), &x, e);
    if (status == 0)
        status = expand(c, r, words.run ? words.run : r->media_rows, words.run ? words.runs : r->media_count, &x, &spans, &b, e);
    if (status == 0) {
        if (r->train)
            close_answer(c, &b);
        hand_over(&b, a, r->train, out);
    }
    nc_ids_free(&b.ids);
    free(b.mask);
    nc_encoding_free(&x);
    nc_template_spans_free(&spans);
    nc_buf_free(&text);
    nc_buf_free(&words.text);
    free(words.run);
    nc_arena_free(scratch);
    return status;
}

int nc_conversation_text(const nc_conversation *c, nc_arena *a, nc_str text, nc_conversation_ids *out, nc_error *e)
{
    nc_ids ids = { 0 };
    int status = nc_tokenizer_encode(c->tokenizer, text, NC_ENCODE_SPECIAL, &ids, e);
    if (status == 0) {
        *out = (nc_conversation_ids){ .count = (int)ids.n };
        out->ids = nc_arena_copy(a, ids.p ? (void *)ids.p : "", sizeof *ids.p * ids.n);
    }
    nc_ids_free(&ids);
    return status;
}

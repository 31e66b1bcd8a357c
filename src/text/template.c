/* template.c - compiling a chat template, and what transformers' apply_chat_template does around rendering it. */
#include "text/template.h"

#include <stdlib.h>
#include <string.h>

#include "text/jinja.h"

#define SOURCE_LIMIT ((size_t)4 << 20)

int nc_template_compile(nc_str source, nc_template **out, nc_error *e)
{
    *out = NULL;
    if (source.n > SOURCE_LIMIT)
        return nc_fail(e, NC_ELIMIT, "a chat template of %zu bytes, the limit is 4 MiB", source.n);
    if (!nc_utf8_valid(source))
        return nc_fail(e, NC_EFORMAT, "a chat template that is not valid UTF-8");
    nc_arena *arena = nc_arena_new();
    nc_template *t = NC_NEW(arena, nc_template);
    nc_error local;
    t->arena = arena;
    int status = nc_jinja_parse(arena, source, &t->body, &t->has_generation, e ? e : &local);
    if (status < 0) {
        nc_arena_free(arena);
        return status;
    }
    *out = t;
    return NC_OK;
}

void nc_template_free(nc_template *t)
{
    if (t)
        nc_arena_free(t->arena);
}

bool nc_template_has_generation(const nc_template *t)
{
    return t->has_generation;
}

void nc_template_spans_free(nc_template_spans *s)
{
    free(s->p);
    *s = (nc_template_spans){ 0 };
}

/* The messages with reasoning_content, reasoning and thinking all set where one of them is. */
static nc_json *with_aliases(nc_arena *a, const nc_json *messages)
{
    static const char *const names[] = { "reasoning_content", "reasoning", "thinking" };
    nc_json *out = nc_json_clone(a, messages);
    for (nc_json *m = out->first; m; m = m->next) {
        const nc_json *given = NULL;
        if (m->type != NC_JSON_OBJECT)
            continue;
        for (int i = 0; i < 3 && !given; i++)
            given = nc_json_get(m, names[i]);
        for (int i = 0; i < 3 && given; i++)
            if (!nc_json_get(m, names[i]))
                nc_json_set(a, m, names[i], nc_json_clone(a, given));
    }
    return out;
}

static void set_token(nc_arena *a, nc_json *context, const char *name, const char *text)
{
    if (text)
        nc_json_set(a, context, name, nc_json_new_string(a, nc_str_of(text)));
}

/* The last message's text: its content, or the last text item of it. */
static nc_str final_text(const nc_json *messages)
{
    const nc_json *last = NULL, *content;
    NC_JSON_EACH(m, messages)
        last = m;
    content = nc_json_get(last, "content");
    if (nc_json_is(content, NC_JSON_STRING))
        return content->text;
    const nc_json *found = NULL;
    NC_JSON_EACH(item, nc_json_is(content, NC_JSON_ARRAY) ? content : NULL) {
        const nc_json *text = nc_json_get(item, "text");
        found = nc_json_is(text, NC_JSON_STRING) ? text : found;
    }
    return found ? found->text : (nc_str){ NULL, 0 };
}

static nc_str stripped(nc_str t)
{
    while (t.n && strchr(" \t\n\r\v\f", t.p[0]) && t.p[0]) {
        t.p++;
        t.n--;
    }
    while (t.n && strchr(" \t\n\r\v\f", t.p[t.n - 1]) && t.p[t.n - 1])
        t.n--;
    return t;
}

static size_t last_place(const nc_buf *b, size_t from, nc_str what)
{
    for (size_t i = b->n >= what.n ? b->n - what.n + 1 : 0; i-- > from;)
        if (!memcmp(b->p + i, what.p, what.n))
            return i;
    return SIZE_MAX;
}

/* Cuts the output behind the last message's text; when the template trimmed that text, behind its trimmed form. */
static int cut_after_final(const nc_json *messages, nc_buf *out, size_t from, nc_error *e)
{
    nc_str text = final_text(messages), bare = stripped(text);
    size_t at = text.p && out->p ? last_place(out, from, bare) : SIZE_MAX;
    if (at == SIZE_MAX)
        return nc_fail(e, NC_EINVAL, "ValueError: continue_final_message is set but the final message does not appear in the chat after applying the chat template! "
                       "This can happen if the chat template deletes portions of the final message. Please verify the chat template and final message in your chat to ensure they are compatible.");
    nc_str left = { bare.p, text.n - (size_t)(bare.p - text.p) };      /* only its front trimmed */
    bool kept = out->n - at >= left.n && !memcmp(out->p + at, left.p, left.n);
    out->n = at + (kept ? left.n : bare.n);
    out->p[out->n] = 0;
    return NC_OK;
}

int nc_chat_render(const nc_template *t, const nc_json *messages, const nc_chat_options *o, nc_buf *out, nc_template_spans *spans, nc_error *e)
{
    if (!nc_json_is(messages, NC_JSON_ARRAY))
        return nc_fail(e, NC_EINVAL, "a chat is a list of messages");
    if (o->continue_final_message && o->add_generation_prompt)
        return nc_fail(e, NC_EINVAL, "continue_final_message and add_generation_prompt exclude each other");
    nc_arena *a = nc_arena_new();
    nc_json *context = nc_json_new(a, NC_JSON_OBJECT);
    size_t from = out->n;
    nc_json_set(a, context, "messages", with_aliases(a, messages));
    nc_json_set(a, context, "tools", o->tools ? nc_json_clone(a, o->tools) : nc_json_new(a, NC_JSON_NULL));
    nc_json_set(a, context, "documents", nc_json_new(a, NC_JSON_NULL));
    nc_json_set(a, context, "add_generation_prompt", nc_json_new_bool(a, o->add_generation_prompt));
    set_token(a, context, "bos_token", o->bos);
    set_token(a, context, "eos_token", o->eos);
    set_token(a, context, "pad_token", o->pad);
    set_token(a, context, "unk_token", o->unk);
    NC_JSON_EACH(item, o->extra)
        nc_json_set(a, context, item->key.p, nc_json_clone(a, item));
    int status = nc_template_render(t, context, o->limits, out, spans, e);
    if (status >= 0 && o->continue_final_message) {
        status = cut_after_final(messages, out, from, e);
        if (status < 0)
            out->n = from;
    }
    nc_arena_free(a);
    return status;
}

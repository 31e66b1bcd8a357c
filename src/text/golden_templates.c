/* golden_templates.c - chat templates (cases.jsonl) and the language alone (jinja_cases.jsonl), output and errors compared byte for byte. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "text/golden_lines.h"
#include "text/template.h"
#include "text/unicode.h"

struct family { nc_template *t; nc_error why; };

struct templates {
    const char *folder;
    nc_arena *arena;
    nc_json *messages, *info;
    nc_map *known;
    struct family *families;
    int count;
    double now;
};

static double time_of(const char *text)
{
    struct tm t = { 0 };
    if (!text || sscanf(text, "%d-%d-%dT%d:%d:%d", &t.tm_year, &t.tm_mon, &t.tm_mday, &t.tm_hour, &t.tm_min, &t.tm_sec) != 6)
        return 0;
    t.tm_year -= 1900;
    t.tm_mon--;
    return (double)timegm(&t);
}

static const struct family *family_of(struct templates *x, const char *name)
{
    int64_t index;
    if (nc_map_get(x->known, nc_str_of(name), &index))
        return &x->families[index];
    struct family *f = &x->families[x->count];
    nc_buf text = { 0 };
    nc_map_set(x->known, nc_str_of(name), x->count++);
    if (nc_file_read(nc_path_join(x->arena, x->folder, nc_arena_printf(x->arena, "text/%s.jinja", name)), (size_t)4 << 20, &text, &f->why) >= 0)
        nc_template_compile((nc_str){ text.p ? text.p : "", text.n }, &f->t, &f->why);
    nc_buf_free(&text);
    return f;
}

/* Every string content becomes [{"type": "text", "text": ...}]. */
static void as_lists(nc_arena *a, nc_json *messages)
{
    for (nc_json *m = messages->first; m; m = m->next) {
        const nc_json *content = nc_json_get(m, "content");
        if (!nc_json_is(content, NC_JSON_STRING))
            continue;
        nc_json *list = nc_json_new(a, NC_JSON_ARRAY), *item = nc_json_new(a, NC_JSON_OBJECT);
        nc_json_set(a, item, "type", nc_json_new_string(a, NC_STR("text")));
        nc_json_set(a, item, "text", nc_json_new_string(a, content->text));
        nc_json_append(list, item);
        nc_json_set(a, m, "content", list);
    }
}

#define MESSAGE_CUT 160     /* the files keep this many characters of a message */

/* An expected error is "Class: message". */
static bool same_error(const nc_json *v, const nc_error *e, nc_arena *a)
{
    const char *message = nc_json_string(nc_json_get(v, "message"), "");
    const char *want = nc_arena_printf(a, "%s: %s", nc_json_string(nc_json_get(v, "error"), ""), message);
    return nc_utf8_count(nc_str_of(message)) >= MESSAGE_CUT ? nc_starts_with(e->message, want) : !strcmp(e->message, want);
}

static void check(nc_golden_file *f, const nc_json *v, const char *what, int status, const nc_buf *out, const nc_error *e)
{
    const nc_json *want = nc_json_get(v, "rendered");
    if (nc_json_get(v, "error")) {
        bool ok = status < 0 && same_error(v, e, f->arena);
        nc_golden_count(f, ok, "%s: got %.200s, want %s: %.150s", what, status < 0 ? e->message : "text", nc_json_string(nc_json_get(v, "error"), ""),
                        nc_json_string(nc_json_get(v, "message"), ""));
        return;
    }
    bool ok = status >= 0 && nc_json_is(want, NC_JSON_STRING) && nc_str_eq(want->text, (nc_str){ out->p ? out->p : "", out->n });
    size_t at = 0;
    while (status >= 0 && want && at < out->n && at < want->text.n && out->p[at] == want->text.p[at])
        at++;
    at = at > 10 ? at - 10 : 0;
    nc_golden_count(f, ok, "%s: got \"%.150s\", want \"%.150s\"", what, status < 0 ? e->message : out->p ? out->p + at : "", want && want->text.n > at ? want->text.p + at : "");
}

static bool same_spans(const nc_json *want, const nc_template_spans *have, const nc_buf *out)
{
    size_t i = 0;
    if ((size_t)want->count != have->n)
        return false;
    NC_JSON_EACH(item, want) {
        nc_template_span s = have->p[i++];
        if (nc_json_int(nc_json_at(item, 0), -1) != (int64_t)nc_utf8_count((nc_str){ out->p, s.begin }) ||
            nc_json_int(nc_json_at(item, 1), -1) != (int64_t)nc_utf8_count((nc_str){ out->p, s.end }))
            return false;
    }
    return true;
}

static void run_chat(struct templates *x, nc_golden_file *f, const nc_json *v)
{
    const char *name = nc_json_string(nc_json_get(v, "family"), ""), *set_name = nc_json_string(nc_json_get(v, "messages"), "");
    const nc_json *set = nc_json_get(nc_json_get(x->messages, "sets"), set_name), *info = nc_json_get(x->info, name);
    const struct family *family = family_of(x, name);
    nc_error e = family->why;
    nc_buf out = { 0 };
    nc_template_spans spans = { 0 };
    nc_template_limits limits = { .now = x->now, .now_is_utc = true };
    nc_chat_options o = { .limits = &limits, .extra = nc_json_get(set, "kwargs"), .bos = nc_json_string(nc_json_get(info, "bos"), NULL),
                          .eos = nc_json_string(nc_json_get(info, "eos"), NULL) };
    o.tools = nc_json_bool(nc_json_get(set, "tools"), false) ? nc_json_get(x->messages, "tools") : NULL;
    o.add_generation_prompt = nc_json_bool(nc_json_get(v, "add_generation_prompt"), false);
    o.continue_final_message = nc_json_bool(nc_json_get(v, "continue_final_message"), false);
    nc_json *messages = nc_json_clone(f->arena, nc_json_get(set, "messages"));
    if (nc_json_is(nc_json_get(v, "append"), NC_JSON_OBJECT))
        nc_json_append(messages, nc_json_clone(f->arena, nc_json_get(v, "append")));
    if (nc_json_bool(nc_json_get(v, "as_lists"), false))
        as_lists(f->arena, messages);
    int status = family->t ? nc_chat_render(family->t, messages, &o, &out, &spans, &e) : e.code;
    check(f, v, nc_arena_printf(f->arena, "%s, %s", name, set_name), status, &out, &e);
    if (nc_json_get(v, "assistant_spans") && status >= 0)
        nc_golden_count(f, same_spans(nc_json_get(v, "assistant_spans"), &spans, &out), "%s, %s: assistant_spans", name, set_name);
    nc_buf_free(&out);
    nc_template_spans_free(&spans);
}

static void run_language(nc_golden_file *f, const nc_json *v, const nc_json *context, double now)
{
    const nc_json *source = nc_json_get(v, "template");
    nc_template *t = NULL;
    nc_error e = { 0 };
    nc_buf out = { 0 };
    nc_template_limits limits = { .now = now, .now_is_utc = true };
    int status = nc_template_compile(source->text, &t, &e);
    if (status >= 0)
        status = nc_template_render(t, context, &limits, &out, NULL, &e);
    check(f, v, source->text.p, status, &out, &e);
    nc_template_free(t);
    nc_buf_free(&out);
}

static int run_language_file(const char *path, nc_golden_fn *report, void *context, nc_error *e)
{
    nc_golden_file f;
    nc_json *v;
    nc_json *shared = NULL;
    double now = 0;
    nc_arena *a = nc_arena_new();
    int status = nc_golden_open(&f, path, e);
    while (status >= 0 && (status = nc_golden_next(&f, &v, e)) > 0) {
        if (!shared) {
            shared = nc_json_clone(a, nc_json_get(v, "context"));
            now = time_of(nc_json_string(nc_json_get(v, "now"), NULL));
        } else {
            run_language(&f, v, shared, now);
        }
    }
    if (status >= 0)
        nc_golden_close(&f, "jinja_cases.jsonl", report, context);
    nc_arena_free(a);
    return status;
}

static int run_chats(const char *folder, nc_golden_fn *report, void *context, nc_error *e)
{
    struct templates x = { .folder = folder, .arena = nc_arena_new() };
    nc_golden_file f;
    nc_json *v;
    int status = nc_json_load(x.arena, nc_path_join(x.arena, folder, "messages.json"), &x.messages, e);
    if (status >= 0)
        status = nc_json_load(x.arena, nc_path_join(x.arena, folder, "templates.json"), &x.info, e);
    if (status >= 0)
        status = nc_golden_open(&f, nc_path_join(x.arena, folder, "cases.jsonl"), e);
    if (status < 0) {
        nc_arena_free(x.arena);
        return status;
    }
    x.now = time_of(nc_json_string(nc_json_get(x.messages, "now"), NULL));
    x.known = nc_map_new(128);
    x.families = NC_NEW_ARRAY(x.arena, struct family, x.info->count + 1000);
    while ((status = nc_golden_next(&f, &v, e)) > 0 && x.count < x.info->count + 1000)
        run_chat(&x, &f, v);
    if (status < 0)
        nc_golden_count(&f, false, "%s", e ? e->message : "broken line");
    nc_golden_close(&f, "cases.jsonl", report, context);
    for (int i = 0; i < x.count; i++)
        nc_template_free(x.families[i].t);
    nc_map_free(x.known);
    nc_arena_free(x.arena);
    return status < 0 ? status : NC_OK;
}

int nc_golden_templates(const char *folder, nc_golden_fn *report, void *context, nc_error *e)
{
    nc_arena *a = nc_arena_new();
    const char *language = nc_path_join(a, folder, "jinja_cases.jsonl"), *chats = nc_path_join(a, folder, "cases.jsonl");
    int status = NC_OK;
    if (nc_file_exists(chats))
        status = run_chats(folder, report, context, e);
    if (status >= 0 && nc_file_exists(language))
        status = run_language_file(language, report, context, e);
    nc_arena_free(a);
    return status < 0 ? status : NC_OK;
}

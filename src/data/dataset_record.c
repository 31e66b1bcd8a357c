/* dataset_record.c - records in alpaca's and sharegpt's layout to messages; <image> and <video> in the text become parts. */
#include "data/dataset_record.h"

#include <string.h>

#include "base/file.h"

static const char *named(nc_arena *a, const nc_json *entry, const char *group, const char *key, const char *fallback)
{
    const nc_json *names = nc_json_get(entry, group);
    const char *s = nc_json_string(nc_json_get(names, key), NULL);
    return s ? nc_arena_strdup(a, s) : fallback;
}

int nc_columns_read(nc_arena *a, const nc_json *entry, const char *name, nc_records records, nc_columns *out, nc_error *e)
{
    const bool plain = records == NC_RECORDS_TEXT;
    const char *formatting = nc_json_string(nc_json_get(entry, "formatting"), "alpaca");
    *out = (nc_columns){ .sharegpt = !strcmp(formatting, "sharegpt") || !strcmp(formatting, "openai"), .sniff = !entry, .records = records };
    if (records == NC_RECORDS_LABELS) {
        nc_columns_read_labels(a, entry, out);
        return 0;
    }
    if (!out->sharegpt && strcmp(formatting, "alpaca"))
        return nc_fail(e, NC_EUNSUPPORTED, "dataset \"%s\": formatting \"%s\" is neither alpaca nor sharegpt", name, formatting);
    if (nc_json_bool(nc_json_get(entry, "ranking"), false))
        return nc_fail(e, NC_EUNSUPPORTED, "dataset \"%s\" holds preferences (ranking), which the stages pt, sft and contrastive do not use", name);
    out->prompt = named(a, entry, "columns", "prompt", plain ? "text" : "instruction");
    out->query = named(a, entry, "columns", "query", "input");
    out->response = named(a, entry, "columns", "response", "output");
    out->history = named(a, entry, "columns", "history", "history");
    out->system = named(a, entry, "columns", "system", "system");
    out->messages = named(a, entry, "columns", "messages", entry ? "conversations" : NULL);
    out->images = named(a, entry, "columns", "images", "images");
    out->videos = named(a, entry, "columns", "videos", "videos");
    out->tools = named(a, entry, "columns", "tools", "tools");
    bool openai = !strcmp(formatting, "openai");
    out->role_tag = named(a, entry, "tags", "role_tag", openai ? "role" : "from");
    out->content_tag = named(a, entry, "tags", "content_tag", openai ? "content" : "value");
    out->user_tag = named(a, entry, "tags", "user_tag", openai ? "user" : "human");
    out->assistant_tag = named(a, entry, "tags", "assistant_tag", openai ? "assistant" : "gpt");
    out->observation_tag = named(a, entry, "tags", "observation_tag", "observation");
    out->function_tag = named(a, entry, "tags", "function_tag", "function_call");
    out->system_tag = named(a, entry, "tags", "system_tag", "system");
    return 0;
}

static void add_part(nc_arena *a, nc_json *list, const char *type, nc_str text)
{
    nc_json *part = nc_json_new(a, NC_JSON_OBJECT);
    nc_json_set(a, part, "type", nc_json_new_string(a, nc_str_of(type)));
    if (text.n)
        nc_json_set(a, part, "text", nc_json_new_string(a, text));
    nc_json_append(list, part);
}

/* The next placeholder in s: its offset and kind, or false. */
static bool next_placeholder(nc_str s, size_t *at, bool *is_video)
{
    for (size_t i = 0; i + 7 <= s.n; i++)
        if (s.p[i] == '<' && (!memcmp(s.p + i, "<image>", 7) || !memcmp(s.p + i, "<video>", 7))) {
            *at = i;
            *is_video = s.p[i + 1] == 'v';
            return true;
        }
    return false;
}

/* kinds collects the order of placeholders: 'i' or 'v'. Without media a text stays a string, whatever it spells. LLaVA's files write "<video>\nquestion"; the line
 * feed belongs to the placeholder (templates that want one write it), else a model would hear at home what a message of parts never says. */
static nc_json *content(nc_arena *a, nc_str s, bool media, nc_buf *kinds)
{
    size_t at;
    bool is_video;
    if (!media || !next_placeholder(s, &at, &is_video))
        return nc_json_new_string(a, s);
    nc_json *list = nc_json_new(a, NC_JSON_ARRAY);
    while (next_placeholder(s, &at, &is_video)) {
        if (at)
            add_part(a, list, "text", (nc_str){ s.p, at });
        add_part(a, list, is_video ? "video" : "image", (nc_str){ 0 });
        nc_buf_addc(kinds, is_video ? 'v' : 'i');
        size_t end = at + 7 + (at + 7 < s.n && s.p[at + 7] == '\n');
        s = (nc_str){ s.p + end, s.n - end };
    }
    if (s.n)
        add_part(a, list, "text", s);
    return list;
}

static void add_message(nc_arena *a, nc_json *messages, const char *role, nc_str text, bool media, nc_buf *kinds)
{
    nc_json *m = nc_json_new(a, NC_JSON_OBJECT);
    nc_json_set(a, m, "role", nc_json_new_string(a, nc_str_of(role)));
    nc_json_set(a, m, "content", content(a, text, media, kinds));
    nc_json_append(messages, m);
}

static nc_str text_of(const nc_json *v) { return nc_json_is(v, NC_JSON_STRING) ? v->text : (nc_str){ "", 0 }; }

static int read_turns(nc_arena *a, const nc_columns *c, const nc_json *turns, nc_json *messages, bool media, nc_buf *kinds, nc_error *e)
{
    int said = 0;
    NC_JSON_EACH(turn, turns) {
        const nc_json *from = nc_json_get(turn, c->role_tag), *value = nc_json_get(turn, c->content_tag);
        if (!from && c->sniff) {
            from = nc_json_get(turn, "role");
            value = nc_json_get(turn, "content");
        }
        const char *tag = nc_json_string(from, NULL), *role = NULL;
        if (!tag || !nc_json_is(value, NC_JSON_STRING))
            return nc_fail(e, NC_EFORMAT, "a turn needs \"%s\" and \"%s\", both strings", c->role_tag, c->content_tag);
        if (!strcmp(tag, c->assistant_tag) || !strcmp(tag, c->function_tag) || (c->sniff && !strcmp(tag, "assistant")))
            role = "assistant", said++;
        else if (!strcmp(tag, c->user_tag) || (c->sniff && !strcmp(tag, "user")))
            role = "user";
        else if (!strcmp(tag, c->observation_tag))
            role = "tool";
        else if (!strcmp(tag, c->system_tag))
            role = "system";
        if (!role)
            return nc_fail(e, NC_EFORMAT, "a turn is from \"%s\", which is none of %s, %s, %s, %s, %s", tag, c->user_tag, c->assistant_tag, c->observation_tag, c->function_tag,
                           c->system_tag);
        add_message(a, messages, role, value->text, media, kinds);
    }
    return said ? 0 : nc_fail(e, NC_EFORMAT, "no turn is the assistant's (\"%s\")", c->assistant_tag);
}

static int read_sharegpt(nc_arena *a, const nc_columns *c, const nc_json *record, nc_json *messages, bool media, nc_buf *kinds, nc_error *e)
{
    const char *key = c->messages ? c->messages : nc_json_get(record, "messages") ? "messages" : "conversations";
    const nc_json *turns = nc_json_get(record, key), *system = nc_json_get(record, c->system);
    if (!nc_json_is(turns, NC_JSON_ARRAY))
        return nc_fail(e, NC_EFORMAT, "the record has no list \"%s\"", key);
    if (text_of(system).n)
        add_message(a, messages, "system", system->text, false, kinds);
    return read_turns(a, c, turns, messages, media, kinds, e);
}

static int read_alpaca(nc_arena *a, const nc_columns *c, const nc_json *record, nc_json *messages, bool media, nc_buf *kinds, nc_error *e)
{
    const nc_json *prompt = nc_json_get(record, c->prompt), *response = nc_json_get(record, c->response);
    if (!nc_json_is(prompt, NC_JSON_STRING) || !nc_json_is(response, NC_JSON_STRING))
        return nc_fail(e, NC_EFORMAT, "the record needs \"%s\" and \"%s\", both strings", c->prompt, c->response);
    if (text_of(nc_json_get(record, c->system)).n)
        add_message(a, messages, "system", nc_json_get(record, c->system)->text, false, kinds);
    const nc_json *history = nc_json_get(record, c->history);
    NC_JSON_EACH(pair, nc_json_is(history, NC_JSON_ARRAY) ? history : NULL) {
        add_message(a, messages, "user", text_of(nc_json_at(pair, 0)), media, kinds);
        add_message(a, messages, "assistant", text_of(nc_json_at(pair, 1)), media, kinds);
    }
    nc_str query = text_of(nc_json_get(record, c->query)), whole = prompt->text;
    if (query.n) {
        const char *joined = nc_arena_printf(a, "%.*s\n%.*s", (int)prompt->text.n, prompt->text.p, (int)query.n, query.p);
        whole = nc_str_of(joined);
    }
    add_message(a, messages, "user", whole, media, kinds);
    add_message(a, messages, "assistant", response->text, media, kinds);
    return 0;
}

static int media_of(nc_arena *a, const nc_columns *c, const nc_json *record, const nc_buf *kinds, nc_sample *out, nc_error *e)
{
    const nc_json *lists[2] = { nc_json_get(record, c->images), nc_json_get(record, c->videos) };
    const nc_json *next[2];
    int have[2];
    for (int i = 0; i < 2; i++) {
        bool one = nc_json_is(lists[i], NC_JSON_STRING);
        next[i] = one ? lists[i] : lists[i] ? lists[i]->first : NULL;
        have[i] = one ? 1 : lists[i] ? lists[i]->count : 0;
    }
    nc_sample_media *media = NC_NEW_ARRAY(a, nc_sample_media, kinds->n + 1);
    for (size_t k = 0; k < kinds->n; k++) {
        int i = kinds->p[k] == 'v';
        if (have[i]-- <= 0 || !nc_json_is(next[i], NC_JSON_STRING))
            return nc_fail(e, NC_EFORMAT, "the text has more <%s> than the list \"%s\" has paths", i ? "video" : "image", i ? c->videos : c->images);
        media[k] = (nc_sample_media){ nc_path_join(a, c->media_folder, next[i]->text.p), i };
        next[i] = next[i]->next;
    }
    if (have[0] > 0 || have[1] > 0)
        return nc_fail(e, NC_EFORMAT, "the list \"%s\" has %d paths more than the text has <%s>", have[1] > 0 ? c->videos : c->images, have[have[1] > 0], have[1] > 0 ? "video" : "image");
    out->media = media;
    out->media_count = (int)kinds->n;
    return 0;
}

static int read_plain(nc_arena *a, const nc_columns *c, const nc_json *record, nc_sample *out, nc_error *e)
{
    const nc_json *text = nc_json_get(record, c->prompt);
    if (nc_json_is(text, NC_JSON_STRING)) {
        out->text = text->text;
        return 0;
    }
    (void)a;
    return nc_fail(e, NC_EFORMAT, "the record needs \"%s\", a string", c->prompt);
}

int nc_record_read(nc_arena *a, const nc_columns *c, const nc_json *record, nc_sample *out, nc_error *e)
{
    if (!nc_json_is(record, NC_JSON_OBJECT))
        return nc_fail(e, NC_EFORMAT, "a record must be an object");
    if (c->records == NC_RECORDS_LABELS)
        return nc_record_read_labels(a, c, record, out, e);
    const bool plain = c->records == NC_RECORDS_TEXT;
    bool turns = nc_json_get(record, "messages") || nc_json_get(record, "conversations");
    if (plain && !(c->sharegpt || (c->sniff && turns)))
        return read_plain(a, c, record, out, e);
    bool media = nc_json_get(record, c->images) || nc_json_get(record, c->videos);
    nc_json *messages = nc_json_new(a, NC_JSON_ARRAY);
    nc_buf kinds = { 0 };
    int status;
    if (c->sharegpt || (c->sniff && turns))
        status = read_sharegpt(a, c, record, messages, media, &kinds, e);
    else
        status = read_alpaca(a, c, record, messages, media, &kinds, e);
    if (status == 0)
        status = media_of(a, c, record, &kinds, out, e);
    nc_buf_free(&kinds);
    out->messages = messages;
    const nc_json *tools = nc_json_get(record, c->tools);
    out->tools = nc_json_is(tools, NC_JSON_ARRAY) ? tools : NULL;
    if (status == 0 && plain) {
        out->text = nc_sample_answer(out);
        out->messages = NULL;
        out->media_count = 0;
    }
    return status;
}

/* request.c - see request.h. Every failing check names the key and says what would be right. */
#include "serve/request.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_STOPS = 16, MAX_STOP_BYTES = 1024 };

static const char *const meaningless[] = { "user", "store", "metadata", "service_tier", "parallel_tool_calls", "reasoning_effort", "safety_identifier",
                                           "prompt_cache_key", "tool_choice", "modalities", "verbosity", "best_of" };

struct reader { nc_request *r; const nc_json *body; nc_request_limits limits; nc_error *e; const char *known[64]; int known_count; };

static int wrong(struct reader *x, int code, const char *key, const nc_json *at, const char *what)
{
    snprintf(x->r->param, sizeof x->r->param, "%s", key);
    return nc_fail(x->e, code, "line %d column %d: \"%s\" %s", at ? at->line : 1, at ? at->column : 1, key, what);
}

/* The value of a key, NULL when absent or null; the key counts as known from here on. */
static const nc_json *take(struct reader *x, const char *key)
{
    if (x->known_count < NC_COUNT(x->known))
        x->known[x->known_count++] = key;
    const nc_json *v = nc_json_get(x->body, key);
    return nc_json_is(v, NC_JSON_NULL) ? NULL : v;
}

static int take_number(struct reader *x, const char *key, double *out)
{
    const nc_json *v = take(x, key);
    if (!v)
        return 0;
    double d = nc_json_double(v, NAN);
    if (!nc_json_is(v, NC_JSON_NUMBER) || !isfinite(d))
        return wrong(x, NC_EINVAL, key, v, "must be a number");
    *out = d;
    return 0;
}

static int take_int(struct reader *x, const char *key, int64_t low, int64_t high, int64_t *out)
{
    const nc_json *v = take(x, key);
    char what[96];
    if (!v)
        return 0;
    if (!nc_json_is(v, NC_JSON_NUMBER) || !nc_json_int_exact(v, out) || *out < low || *out > high) {
        snprintf(what, sizeof what, "must be an integer from %lld to %lld", (long long)low, (long long)high);
        return wrong(x, NC_EINVAL, key, v, what);
    }
    return 1;
}

static int take_bool(struct reader *x, const char *key, bool *out)
{
    const nc_json *v = take(x, key);
    if (v && !nc_json_is(v, NC_JSON_BOOL))
        return wrong(x, NC_EINVAL, key, v, "must be true or false");
    *out = nc_json_bool(v, *out);
    return 0;
}

/* ---- media ---- */
static bool is_prefix(nc_str s, const char *prefix)
{
    size_t n = strlen(prefix);
    return s.n >= n && !memcmp(s.p, prefix, n);
}

static int add_media(struct reader *x, const nc_json *url, bool is_video, const char *key)
{
    nc_request *r = x->r;
    char what[160];
    if (nc_json_is(url, NC_JSON_OBJECT))
        url = nc_json_get(url, "url");
    if (!nc_json_is(url, NC_JSON_STRING))
        return wrong(x, NC_EINVAL, key, url, "must hold {\"url\": \"data:...;base64,...\"}");
    nc_str s = url->text;
    const char *comma = is_prefix(s, "data:") ? memchr(s.p, ',', s.n) : NULL;
    if (!comma || comma - s.p < 7 || memcmp(comma - 7, ";base64", 7))
        return wrong(x, NC_EINVAL, key, url, "must be a data: URI with base64 content; other addresses are not fetched");
    if (r->attachment_count == x->limits.media) {
        snprintf(what, sizeof what, "is one picture or video too many; a request may hold %d", x->limits.media);
        return wrong(x, NC_ELIMIT, key, url, what);
    }
    nc_str content = { comma + 1, s.n - (size_t)(comma + 1 - s.p) };
    if (content.n / 4 * 3 > x->limits.media_bytes + 3) {
        snprintf(what, sizeof what, "holds more than the %zu bytes a picture or video may have", x->limits.media_bytes);
        return wrong(x, NC_ELIMIT, key, url, what);
    }
    nc_buf bytes = { 0 };
    nc_error bad = { 0 };
    if (nc_base64_decode(content, &bytes, &bad) < 0 || !bytes.n) {
        nc_buf_free(&bytes);
        snprintf(what, sizeof what, "is no base64: %.100s", bad.code ? bad.message : "it is empty");
        return wrong(x, NC_EINVAL, key, url, what);
    }
    nc_attachment *at = &r->attachments[r->attachment_count];
    *at = (nc_attachment){ .is_video = is_video, .name = nc_arena_printf(r->arena, "%s %d", is_video ? "video" : "picture", r->attachment_count + 1),
                           .bytes = nc_arena_copy(r->arena, bytes.p, bytes.n), .n = bytes.n };
    r->attachment_count++;
    nc_buf_free(&bytes);
    return 0;
}

/* ---- messages ---- */
static int read_part(struct reader *x, const nc_json *part, nc_json *out)
{
    nc_arena *a = x->r->arena;
    const char *type = nc_json_string(nc_json_get(part, "type"), "");
    nc_json *made = nc_json_new(a, NC_JSON_OBJECT);
    if (!strcmp(type, "text")) {
        const nc_json *text = nc_json_get(part, "text");
        if (!nc_json_is(text, NC_JSON_STRING))
            return wrong(x, NC_EINVAL, "messages", part, "holds a text part without \"text\"");
        nc_json_set(a, made, "type", nc_json_new_string(a, NC_STR("text")));
        nc_json_set(a, made, "text", nc_json_new_string(a, text->text));
    } else if (!strcmp(type, "image_url") || !strcmp(type, "video_url")) {
        bool is_video = type[0] == 'v';
        NC_TRY(add_media(x, nc_json_get(part, type), is_video, type));
        nc_json_set(a, made, "type", nc_json_new_string(a, is_video ? NC_STR("video") : NC_STR("image")));
    } else
        return wrong(x, NC_EINVAL, "messages", part, "holds a part whose \"type\" is none of text, image_url, video_url");
    nc_json_append(out, made);
    return 0;
}

static int read_content(struct reader *x, const nc_json *message, nc_json *made)
{
    nc_arena *a = x->r->arena;
    const nc_json *content = nc_json_get(message, "content");
    if (nc_json_is(content, NC_JSON_STRING)) {
        nc_json_set(a, made, "content", nc_json_new_string(a, content->text));
        return 0;
    }
    if (nc_json_is(content, NC_JSON_ARRAY)) {
        nc_json *parts = nc_json_new(a, NC_JSON_ARRAY);
        NC_JSON_EACH(part, content)
            NC_TRY(read_part(x, part, parts));
        nc_json_set(a, made, "content", parts);
        return 0;
    }
    if ((!content || nc_json_is(content, NC_JSON_NULL)) && nc_json_get(message, "tool_calls")) {
        nc_json_set(a, made, "content", nc_json_new_string(a, NC_STR("")));
        return 0;
    }
    return wrong(x, NC_EINVAL, "messages", message, "holds a message whose \"content\" is neither a text nor a list of parts");
}

static int read_message(struct reader *x, const nc_json *message)
{
    static const char *const roles[] = { "system", "developer", "user", "assistant", "tool" };
    static const char *const kept[] = { "name", "tool_calls", "tool_call_id", "reasoning_content" };
    nc_arena *a = x->r->arena;
    const char *role = nc_json_string(nc_json_get(message, "role"), "");
    bool known = false;
    for (int i = 0; i < NC_COUNT(roles); i++)
        known = known || !strcmp(role, roles[i]);
    if (!known)
        return wrong(x, NC_EINVAL, "messages", message, "holds a message whose \"role\" is none of system, developer, user, assistant, tool");
    nc_json *made = nc_json_new(a, NC_JSON_OBJECT);
    nc_json_set(a, made, "role", nc_json_new_string(a, nc_str_of(strcmp(role, "developer") ? role : "system")));
    NC_TRY(read_content(x, message, made));
    for (int i = 0; i < NC_COUNT(kept); i++)
        if (nc_json_get(message, kept[i]))
            nc_json_set(a, made, kept[i], nc_json_clone(a, nc_json_get(message, kept[i])));
    nc_json_append(x->r->messages, made);
    return 0;
}

static int read_chat(struct reader *x)
{
    nc_request *r = x->r;
    const nc_json *messages = take(x, "messages"), *tools = take(x, "tools"), *extra = take(x, "chat_template_kwargs"), *format = take(x, "response_format");
    if (!nc_json_is(messages, NC_JSON_ARRAY) || messages->count < 1 || messages->count > x->limits.messages)
        return wrong(x, NC_EINVAL, "messages", messages, "must be a list of 1 to 1024 messages");
    if (tools && !nc_json_is(tools, NC_JSON_ARRAY))
        return wrong(x, NC_EINVAL, "tools", tools, "must be a list");
    if (extra && !nc_json_is(extra, NC_JSON_OBJECT))
        return wrong(x, NC_EINVAL, "chat_template_kwargs", extra, "must be an object");
    if (format && strcmp(nc_json_string(nc_json_get(format, "type"), ""), "text"))
        return wrong(x, NC_EUNSUPPORTED, "response_format", format, "other than {\"type\": \"text\"} is not offered");
    r->tools = tools && tools->count ? nc_json_clone(r->arena, tools) : NULL;
    r->extra = extra ? nc_json_clone(r->arena, extra) : NULL;
    r->messages = nc_json_new(r->arena, NC_JSON_ARRAY);
    r->attachments = NC_NEW_ARRAY(r->arena, nc_attachment, x->limits.media + 1);
    NC_JSON_EACH(message, messages)
        NC_TRY(read_message(x, message));
    return 0;
}

/* ---- prompts of completions ---- */
static int read_ids(struct reader *x, const nc_json *list)
{
    nc_request *r = x->r;
    r->ids = NC_NEW_ARRAY(r->arena, int32_t, list->count + 1);
    NC_JSON_EACH(item, list) {
        int64_t id;
        if (!nc_json_int_exact(item, &id) || id < 0 || id > INT_MAX)
            return wrong(x, NC_EINVAL, "prompt", item, "must be a text or a list of token ids");
        r->ids[r->id_count++] = (int32_t)id;
    }
    return 0;
}

static int read_prompt(struct reader *x)
{
    nc_request *r = x->r;
    const nc_json *p = take(x, "prompt"), *suffix = take(x, "suffix");
    if (suffix)
        return wrong(x, NC_EUNSUPPORTED, "suffix", suffix, "is not offered");
    if (nc_json_is(p, NC_JSON_ARRAY) && p->count == 1 && !nc_json_is(p->first, NC_JSON_NUMBER))
        p = p->first;
    if (nc_json_is(p, NC_JSON_STRING)) {
        r->prompt = (nc_str){ nc_arena_strndup(r->arena, p->text.p, p->text.n), p->text.n };
        return 0;
    }
    if (!nc_json_is(p, NC_JSON_ARRAY) || !p->count)
        return wrong(x, NC_EINVAL, "prompt", p, "must be a text or a list of token ids");
    if (!nc_json_is(p->first, NC_JSON_NUMBER))
        return wrong(x, NC_EUNSUPPORTED, "prompt", p, "holds several prompts; send one a request, they are batched all the same");
    return read_ids(x, p);
}

/* ---- what both have ---- */
static int read_stops(struct reader *x)
{
    nc_request *r = x->r;
    const nc_json *stop = take(x, "stop");
    nc_str *list = NC_NEW_ARRAY(r->arena, nc_str, MAX_STOPS);
    int n = 0;
    if (!stop)
        return 0;
    bool single = nc_json_is(stop, NC_JSON_STRING);
    if (!single && (!nc_json_is(stop, NC_JSON_ARRAY) || stop->count > MAX_STOPS))
        return wrong(x, NC_EINVAL, "stop", stop, "must be a text or a list of at most 16 texts");
    for (const nc_json *item = single ? stop : stop->first; item; item = single ? NULL : item->next) {
        if (!nc_json_is(item, NC_JSON_STRING) || item->text.n > MAX_STOP_BYTES)
            return wrong(x, NC_EINVAL, "stop", item, "must be a text or a list of texts of at most 1024 bytes");
        if (item->text.n)
            list[n++] = (nc_str){ nc_arena_strndup(r->arena, item->text.p, item->text.n), item->text.n };
    }
    r->options.stop = list;
    r->options.stop_count = n;
    return 0;
}

static int read_logprobs(struct reader *x)
{
    nc_sample_options *s = &x->r->options.sample;
    int64_t n = 0;
    bool top = false;
    if (!x->r->chat) {
        int given = take_int(x, "logprobs", 0, NC_TOP_LOGPROBS, &n);
        NC_TRY(given);
        s->logprobs = given > 0;
        s->top_logprobs = (int)n;
        return 0;
    }
    NC_TRY(take_bool(x, "logprobs", &s->logprobs));
    int given = take_int(x, "top_logprobs", 0, NC_TOP_LOGPROBS, &n);
    NC_TRY(given);
    top = given > 0;
    if (top && !s->logprobs)
        return wrong(x, NC_EINVAL, "top_logprobs", take(x, "top_logprobs"), "needs \"logprobs\": true");
    s->top_logprobs = (int)n;
    return 0;
}

/* num_beams, no_repeat_ngram_size, bad_words_ids ...: what generation_config.json may say, of this request. Those that OpenAI has under the same name were read. */
static int read_decoding(struct reader *x)
{
    static const char *const own[] = { "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "eos_token_id", "pad_token_id", "decoder_start_token_id", "num_return_sequences",
                                       "do_sample" };
    nc_request *r = x->r;
    nc_decoding *d = &r->decoding;
    nc_generation_options *o = &r->options;
    nc_decoding_init(d);
    if (o->sample.process)
        d->process = *o->sample.process;
    d->beams = o->beams;
    d->early_stopping = o->early_stopping;
    d->length_penalty = o->length_penalty;
    d->max_length = o->max_length;
    bool asked = false;
    NC_JSON_EACH(item, x->body) {
        bool is_own = !nc_decoding_knows(item->key);
        for (int i = 0; i < NC_COUNT(own); i++)
            is_own = is_own || nc_str_eqz(item->key, own[i]);
        if (is_own)
            continue;
        take(x, item->key.p);
        int status = nc_decoding_take(d, r->arena, item, "request body", x->e);
        if (status < 0)
            snprintf(r->param, sizeof r->param, "%.60s", item->key.p);
        NC_TRY(status);
        asked = asked || nc_str_eqz(item->key, "num_beams");
    }
    o->beams = o->sample.temperature > 0 && !asked ? 0 : d->beams;
    o->early_stopping = d->early_stopping;
    o->length_penalty = d->length_penalty;
    o->max_length = d->max_length;
    o->max_tokens = d->max_new_tokens ? d->max_new_tokens : o->max_tokens;
    o->sample.process = &d->process;
    return 0;
}

static int read_sampling(struct reader *x)
{
    nc_request *r = x->r;
    nc_sample_options *s = &r->options.sample;
    int64_t n = 0;
    NC_TRY(take_number(x, "temperature", &s->temperature));
    NC_TRY(take_number(x, "top_p", &s->top_p));
    NC_TRY(take_number(x, "min_p", &s->min_p));
    NC_TRY(take_number(x, "repetition_penalty", &s->repetition_penalty));
    NC_TRY(take_number(x, "presence_penalty", &s->presence_penalty));
    NC_TRY(take_number(x, "frequency_penalty", &s->frequency_penalty));
    int given = take_int(x, "top_k", -1, INT_MAX, &n);
    NC_TRY(given);
    s->top_k = given ? (n < 0 ? 0 : (int)n) : s->top_k;
    given = take_int(x, "seed", INT64_MIN, INT64_MAX, &n);
    NC_TRY(given);
    r->has_seed = given > 0;
    s->seed = given ? (uint64_t)n : 0;
    NC_TRY(read_logprobs(x));
    const nc_json *bias = take(x, "logit_bias");
    if (bias && bias->count)
        return wrong(x, NC_EUNSUPPORTED, "logit_bias", bias, "is not offered");
    int status = nc_sample_check(s, x->e);
    if (status < 0)
        snprintf(r->param, sizeof r->param, "%.*s", (int)strcspn(x->e->message, " "), x->e->message);
    return status < 0 ? status : read_decoding(x);
}

static int read_bounds(struct reader *x)
{
    nc_request *r = x->r;
    int64_t n = 0;
    int most = x->limits.max_tokens > 0 ? x->limits.max_tokens : INT_MAX, given = 0;
    if (r->chat) {
        given = take_int(x, "max_completion_tokens", 1, most, &n);
        NC_TRY(given);
    }
    if (!given) {
        given = take_int(x, "max_tokens", 1, most, &n);
        NC_TRY(given);
    } else
        take(x, "max_tokens");
    r->options.max_tokens = given ? (int)n : r->options.max_tokens;
    given = take_int(x, "n", 1, x->limits.choices, &n);
    NC_TRY(given);
    r->options.choices = given ? (int)n : 1;
    NC_TRY(take_bool(x, "stream", &r->stream));
    NC_TRY(take_bool(x, "ignore_eos", &r->options.ignore_end));
    const nc_json *so = take(x, "stream_options"), *usage = nc_json_get(so, "include_usage");
    if (so && !r->stream)
        return wrong(x, NC_EINVAL, "stream_options", so, "needs \"stream\": true");
    if (usage && !nc_json_is(usage, NC_JSON_BOOL))
        return wrong(x, NC_EINVAL, "stream_options", usage, "must hold \"include_usage\": true or false");
    r->include_usage = nc_json_bool(usage, false);
    if (!r->chat)
        NC_TRY(take_bool(x, "echo", &r->echo));
    if (r->echo && r->options.sample.logprobs)
        return wrong(x, NC_EUNSUPPORTED, "echo", take(x, "echo"), "with logprobs is not offered");
    return 0;
}

static int refuse_unknown(struct reader *x)
{
    char what[160];
    NC_JSON_EACH(item, x->body) {
        bool known = false;
        for (int i = 0; i < x->known_count && !known; i++)
            known = nc_str_eqz(item->key, x->known[i]);
        for (int i = 0; i < NC_COUNT(meaningless) && !known; i++)
            known = nc_str_eqz(item->key, meaningless[i]);
        if (known)
            continue;
        char key[48];
        snprintf(key, sizeof key, "%.40s", item->key.p);
        const char *near = nc_nearest(key, x->known, x->known_count);
        snprintf(what, sizeof what, "is not known here%s%s", near ? "; nearest is " : "", near ? near : "");
        return wrong(x, NC_EINVAL, key, item, what);
    }
    return 0;
}

static int read_all(struct reader *x)
{
    const nc_json *model = take(x, "model");
    if (model && !nc_json_is(model, NC_JSON_STRING))
        return wrong(x, NC_EINVAL, "model", model, "must be a text");
    x->r->model = model ? nc_arena_strdup(x->r->arena, nc_json_string(model, "")) : NULL;
    NC_TRY(x->r->chat ? read_chat(x) : read_prompt(x));
    NC_TRY(read_sampling(x));
    NC_TRY(read_stops(x));
    NC_TRY(read_bounds(x));
    return refuse_unknown(x);
}

static int parse(struct reader *x, nc_str body)
{
    nc_json *tree = NULL;
    nc_str s = body;
    if (!nc_utf8_valid(s)) {
        size_t at = 0;
        uint32_t c;
        for (int n; at < s.n && (n = nc_utf8_decode(s.p + at, s.n - at, &c)) > 0;)
            at += (size_t)n;
        return nc_fail(x->e, NC_EFORMAT, "request body: byte %zu is no valid UTF-8", at);
    }
    NC_TRY(nc_json_parse(x->r->arena, body, "request body", &tree, x->e));
    if (!nc_json_is(tree, NC_JSON_OBJECT))
        return nc_fail(x->e, NC_EFORMAT, "request body: must be a JSON object");
    x->body = tree;
    return read_all(x);
}

static void fill_limits(nc_request_limits *l)
{
    l->body_bytes = l->body_bytes ? l->body_bytes : (size_t)32 << 20;
    l->media_bytes = l->media_bytes ? l->media_bytes : (size_t)24 << 20;
    l->media = l->media > 0 ? l->media : 16;
    l->choices = l->choices > 0 ? l->choices : 8;
    l->messages = l->messages > 0 ? l->messages : 1024;
}

int nc_request_parse(nc_str body, bool chat, const nc_request_limits *limits, const nc_generation_options *defaults, nc_request *out, nc_error *e)
{
    nc_error spare = { 0 };
    struct reader x = { .r = out, .e = e ? e : &spare };
    *out = (nc_request){ .arena = nc_arena_new(), .chat = chat };
    if (limits)
        x.limits = *limits;
    fill_limits(&x.limits);
    if (defaults)
        out->options = *defaults;
    else
        nc_sample_defaults(&out->options.sample);
    int status = body.n > x.limits.body_bytes ? nc_fail(x.e, NC_ELIMIT, "request body: more than %zu bytes", x.limits.body_bytes) : parse(&x, body);
    if (status < 0) {
        nc_arena_free(out->arena);
        char param[sizeof out->param];
        memcpy(param, out->param, sizeof param);
        *out = (nc_request){ 0 };
        memcpy(out->param, param, sizeof param);
        return status;
    }
    return 0;
}

void nc_request_free(nc_request *r)
{
    nc_arena_free(r->arena);
    *r = (nc_request){ 0 };
}

/* openai.c - see openai.h. JSON is written straight into the buffer; every text passes nc_buf_json_string. */
#include "serve/openai.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/random.h>

#include "base/clock.h"

void nc_reply_init(nc_reply *r, const nc_request *request, const char *model, const nc_tokenizer *tokenizer)
{
    uint64_t id[2] = { 0 };
    if (getrandom(id, sizeof id, 0) != (ssize_t)sizeof id)
        id[0] = nc_now_ns();
    *r = (nc_reply){ .model = model, .created = (int64_t)nc_wall_time(), .tokenizer = tokenizer, .request = request };
    snprintf(r->id, sizeof r->id, "%s-%016" PRIx64 "%08" PRIx32, request->chat ? "chatcmpl" : "cmpl", id[0], (uint32_t)id[1]);
    r->choice = nc_xcalloc((size_t)request->options.choices, sizeof *r->choice);
    for (int i = 0; i < request->options.choices && request->echo; i++)
        nc_buf_add(&r->choice[i].text, request->prompt.p ? request->prompt.p : "", request->prompt.n);
}

void nc_reply_free(nc_reply *r)
{
    for (int i = 0; r->choice && i < r->request->options.choices; i++) {
        nc_buf_free(&r->choice[i].text);
        nc_buf_free(&r->choice[i].logprobs);
    }
    free(r->choice);
    r->choice = NULL;
}

static const char *finish_name(nc_finish f)
{
    return f == NC_FINISH_LENGTH ? "length" : "stop";
}

static void text_of(const nc_reply *r, int32_t id, nc_buf *out)
{
    nc_buf_clear(out);
    nc_tokenizer_decode(r->tokenizer, &id, 1, false, out);
}

static void add_number(nc_buf *out, float v)
{
    nc_buf_json_double(out, isfinite(v) ? (double)v : -9999);      /* JSON has no infinity; -9999 is what OpenAI writes */
}

/* "token": ..., "logprob": ..., "bytes": [...] */
static void add_token(const nc_reply *r, int32_t id, float logprob, nc_buf *out)
{
    nc_buf text = { 0 };
    nc_str bytes = nc_tokenizer_bytes(r->tokenizer, id);
    text_of(r, id, &text);
    if (!bytes.p)
        bytes = (nc_str){ text.p ? text.p : "", text.n };
    nc_buf_adds(out, "\"token\": ");
    nc_buf_json_string(out, (nc_str){ text.p ? text.p : "", text.n });
    nc_buf_adds(out, ", \"logprob\": ");
    add_number(out, logprob);
    nc_buf_adds(out, ", \"bytes\": [");
    for (size_t i = 0; i < bytes.n; i++)
        nc_buf_printf(out, "%s%u", i ? ", " : "", (unsigned)(uint8_t)bytes.p[i]);
    nc_buf_adds(out, "]");
    nc_buf_free(&text);
}

static void add_chat_entries(const nc_reply *r, const nc_piece *p, nc_buf *out)
{
    for (int i = 0; i < p->token_count; i++) {
        const nc_token *t = &p->tokens[i];
        nc_buf_adds(out, out->n ? ", {" : "{");
        add_token(r, t->id, t->logprob, out);
        nc_buf_adds(out, ", \"top_logprobs\": [");
        for (int k = 0; k < t->top_count; k++) {
            nc_buf_adds(out, k ? ", {" : "{");
            add_token(r, t->top[k].id, t->top[k].logprob, out);
            nc_buf_adds(out, "}");
        }
        nc_buf_adds(out, "]}");
    }
}

/* Completions keep parallel lists; four buffers would be one each, so entries are kept one to a line in the order tokens, logprobs, top, offset. */
struct lists { nc_buf tokens, logprobs, top, offsets; size_t offset; };

static void add_text_entries(const nc_reply *r, const nc_piece *p, struct lists *l)
{
    nc_buf text = { 0 };
    for (int i = 0; i < p->token_count; i++) {
        const nc_token *t = &p->tokens[i];
        const char *comma = l->tokens.n ? ", " : "";
        text_of(r, t->id, &text);
        nc_buf_adds(&l->tokens, comma);
        nc_buf_json_string(&l->tokens, (nc_str){ text.p ? text.p : "", text.n });
        nc_buf_adds(&l->logprobs, comma);
        add_number(&l->logprobs, t->logprob);
        nc_buf_printf(&l->offsets, "%s%zu", comma, l->offset);
        l->offset += text.n;
        nc_buf_printf(&l->top, "%s{", comma);
        for (int k = 0; k < t->top_count; k++) {
            text_of(r, t->top[k].id, &text);
            nc_buf_adds(&l->top, k ? ", " : "");
            nc_buf_json_string(&l->top, (nc_str){ text.p ? text.p : "", text.n });
            nc_buf_adds(&l->top, ": ");
            add_number(&l->top, t->top[k].logprob);
        }
        nc_buf_adds(&l->top, "}");
    }
    nc_buf_free(&text);
}

static void write_lists(struct lists *l, nc_buf *out)
{
    nc_buf_printf(out, "{\"tokens\": [%s], \"token_logprobs\": [%s], \"top_logprobs\": [%s], \"text_offset\": [%s]}", l->tokens.p ? l->tokens.p : "",
                  l->logprobs.p ? l->logprobs.p : "", l->top.p ? l->top.p : "", l->offsets.p ? l->offsets.p : "");
    nc_buf_free(&l->tokens);
    nc_buf_free(&l->logprobs);
    nc_buf_free(&l->top);
    nc_buf_free(&l->offsets);
}

static bool wants_logprobs(const nc_reply *r) { return r->request->options.sample.logprobs; }

/* ---- whole ---- */
void nc_reply_take(nc_reply *r, const nc_piece *p)
{
    struct nc_reply_choice *c = &r->choice[p->choice];
    if (p->text.n)
        nc_buf_add(&c->text, p->text.p, p->text.n);
    if (p->finish)
        c->finish = p->finish;
    if (!wants_logprobs(r))
        return;
    if (r->request->chat)
        add_chat_entries(r, p, &c->logprobs);
    else                             /* the tokens themselves: their lists are written at the end */
        nc_buf_add(&c->logprobs, p->tokens ? (const void *)p->tokens : "", sizeof *p->tokens * (size_t)p->token_count);
    c->tokens += p->token_count;
}

static void write_usage(nc_buf *out, int prompt_tokens, int new_tokens)
{
    nc_buf_printf(out, "{\"prompt_tokens\": %d, \"completion_tokens\": %d, \"total_tokens\": %d}", prompt_tokens, new_tokens, prompt_tokens + new_tokens);
}

static void write_head(const nc_reply *r, const char *object, nc_buf *out)
{
    nc_buf_printf(out, "{\"id\": \"%s\", \"object\": \"%s\", \"created\": %" PRId64 ", \"model\": ", r->id, object, r->created);
    nc_buf_json_string(out, nc_str_of(r->model));
    nc_buf_adds(out, ", \"choices\": [");
}

static void write_choice(const nc_reply *r, int index, nc_buf *out)
{
    struct nc_reply_choice *c = &r->choice[index];
    nc_str text = { c->text.p ? c->text.p : "", c->text.n };
    nc_buf_printf(out, "%s{\"index\": %d, ", index ? ", " : "", index);
    nc_buf_adds(out, r->request->chat ? "\"message\": {\"role\": \"assistant\", \"content\": " : "\"text\": ");
    nc_buf_json_string(out, text);
    nc_buf_adds(out, r->request->chat ? ", \"refusal\": null}, \"logprobs\": " : ", \"logprobs\": ");
    if (!wants_logprobs(r))
        nc_buf_adds(out, "null");
    else if (r->request->chat)
        nc_buf_printf(out, "{\"content\": [%s], \"refusal\": null}", c->logprobs.p ? c->logprobs.p : "");
    else {
        struct lists l = { 0 };
        nc_piece all = { .tokens = (nc_token *)(void *)c->logprobs.p, .token_count = c->tokens };
        add_text_entries(r, &all, &l);
        write_lists(&l, out);
    }
    nc_buf_printf(out, ", \"finish_reason\": \"%s\"}", finish_name(c->finish));
}

void nc_reply_whole(const nc_reply *r, int prompt_tokens, int new_tokens, nc_buf *out)
{
    write_head(r, r->request->chat ? "chat.completion" : "text_completion", out);
    for (int i = 0; i < r->request->options.choices; i++)
        write_choice(r, i, out);
    nc_buf_adds(out, "], \"usage\": ");
    write_usage(out, prompt_tokens, new_tokens);
    nc_buf_adds(out, "}");
}

/* ---- events ---- */
static void begin_event(const nc_reply *r, nc_buf *out)
{
    nc_buf_adds(out, "data: ");
    write_head(r, r->request->chat ? "chat.completion.chunk" : "text_completion", out);
}

static void end_event(const nc_reply *r, nc_buf *out)
{
    nc_buf_adds(out, r->request->include_usage ? "], \"usage\": null}\n\n" : "]}\n\n");
}

static void write_delta(nc_reply *r, const nc_piece *p, bool first, bool last, nc_buf *out)
{
    struct nc_reply_choice *c = &r->choice[p->choice];
    nc_str text = { p->text.p ? p->text.p : "", p->text.n };
    begin_event(r, out);
    nc_buf_printf(out, "{\"index\": %d, ", p->choice);
    if (r->request->chat) {
        nc_buf_adds(out, first ? "\"delta\": {\"role\": \"assistant\", \"content\": " : "\"delta\": {");
        if (!first && !last)
            nc_buf_adds(out, "\"content\": ");
        if (first)
            nc_buf_adds(out, "\"\"");
        else if (!last)
            nc_buf_json_string(out, text);
        nc_buf_adds(out, "}, \"logprobs\": ");
    } else {
        nc_buf_adds(out, "\"text\": ");
        nc_buf_json_string(out, last ? NC_STR("") : first ? (nc_str){ c->text.p ? c->text.p : "", c->text.n } : text);
        nc_buf_adds(out, ", \"logprobs\": ");
    }
    if (!wants_logprobs(r) || first || last)
        nc_buf_adds(out, "null");
    else if (r->request->chat) {
        nc_buf entries = { 0 };
        add_chat_entries(r, p, &entries);
        nc_buf_printf(out, "{\"content\": [%s], \"refusal\": null}", entries.p ? entries.p : "");
        nc_buf_free(&entries);
    } else {
        struct lists l = { 0 };
        add_text_entries(r, p, &l);
        write_lists(&l, out);
    }
    if (last)
        nc_buf_printf(out, ", \"finish_reason\": \"%s\"}", finish_name(p->finish));
    else
        nc_buf_adds(out, ", \"finish_reason\": null}");
    end_event(r, out);
}

void nc_reply_event(nc_reply *r, const nc_piece *p, nc_buf *out)
{
    struct nc_reply_choice *c = &r->choice[p->choice];
    if (!c->begun && (r->request->chat || r->request->echo))
        write_delta(r, p, true, false, out);
    c->begun = true;
    if (p->text.n || (wants_logprobs(r) && p->token_count))
        write_delta(r, p, false, false, out);
    if (p->finish == NC_FINISH_ERROR) {
        nc_buf_adds(out, "data: ");
        nc_openai_error(out, 500, p->error.message, NULL, NULL);
        nc_buf_adds(out, "\n\n");
    } else if (p->finish)
        write_delta(r, p, false, true, out);
}

void nc_reply_end(const nc_reply *r, int prompt_tokens, int new_tokens, nc_buf *out)
{
    if (r->request->include_usage) {
        begin_event(r, out);
        nc_buf_adds(out, "], \"usage\": ");
        write_usage(out, prompt_tokens, new_tokens);
        nc_buf_adds(out, "}\n\n");
    }
    nc_buf_adds(out, "data: [DONE]\n\n");
}

void nc_openai_error(nc_buf *out, int status, const char *message, const char *param, const char *code)
{
    const char *type = status == 401 ? "authentication_error" : status == 429 ? "rate_limit_error" : status >= 500 ? "server_error" : "invalid_request_error";
    nc_buf_adds(out, "{\"error\": {\"message\": ");
    nc_buf_json_string(out, nc_str_of(message));
    nc_buf_printf(out, ", \"type\": \"%s\", \"param\": ", type);
    if (param && *param)
        nc_buf_json_string(out, nc_str_of(param));
    else
        nc_buf_adds(out, "null");
    nc_buf_adds(out, ", \"code\": ");
    if (code)
        nc_buf_json_string(out, nc_str_of(code));
    else
        nc_buf_adds(out, "null");
    nc_buf_adds(out, "}}");
}

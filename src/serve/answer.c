/* answer.c - a request's texts: parsed, read, written whole or as server-sent events.
 *
 * The connection's thread waits for pieces and looks between them whether the client is still there; when it is not, freeing the generation cancels it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "serve/server.h"

static const double look_seconds = 0.1, alive_seconds = 10;

typedef struct answer {
    nc_exchange *exchange;
    nc_request request;
    nc_generation *generation;
    nc_reply reply;
    nc_buf out;                      /* events not sent yet */
    size_t sent;
    bool ended, failed;
    double last;                     /* time of the last piece, 0 before the first */
} answer;

static void free_answer(void *context)
{
    answer *a = context;
    nc_generation_free(a->generation);
    nc_reply_free(&a->reply);
    if (a->request.arena)
        nc_request_free(&a->request);
    nc_buf_free(&a->out);
    free(a);
}

/* ---- preparing ---- */
static int status_of(int code)
{
    switch (code) {
    case NC_EINVAL: case NC_EFORMAT: case NC_ESHAPE: case NC_EUNSUPPORTED: return 400;
    case NC_ENOTFOUND: return 404;
    case NC_ECANCELLED: return 503;
    default: return 500;
    }
}

static enum MHD_Result refuse(answer *a, int status, const char *message, const char *param, const char *code)
{
    enum MHD_Result result = nc_exchange_error(a->exchange, status, message, param, code);
    free_answer(a);
    return result;
}

static int read_prompt(answer *a, nc_reading *reading, nc_error *e)
{
    nc_session *s = a->exchange->server->session;
    const nc_request *r = &a->request;
    if (r->chat)
        return nc_session_read(s, r->messages, r->tools, r->extra, r->attachments, r->attachment_count, reading, e);
    if (r->prompt.p)
        return nc_session_read_text(s, r->prompt, reading, e);
    *reading = (nc_reading){ .arena = nc_arena_new(), .prompt = { .ids = r->ids, .count = r->id_count } };
    return 0;
}

static void note_time(answer *a)
{
    nc_metrics *m = &a->exchange->server->metrics;
    double now = nc_now();
    if (a->last > 0)
        nc_metrics_observe(m, &m->wait_each, now - a->last);
    else
        nc_metrics_observe(m, &m->first, now - a->exchange->arrived);
    a->last = now;
}

/* ---- whole ---- */
static enum MHD_Result write_whole(answer *a)
{
    nc_exchange *x = a->exchange;
    while (!nc_generation_ended(a->generation)) {
        nc_piece *p = nc_generation_next(a->generation, look_seconds);
        bool gone = !p && nc_exchange_is_gone(x->connection);
        if (gone || atomic_load(&x->server->aborting)) {
            nc_piece_free(p);
            if (gone)
                nc_debug("a client went away; its request is cancelled");
            return refuse(a, gone ? 499 : 503, gone ? "the client went away" : "the server is shutting down", NULL, NULL);
        }
        if (!p)
            continue;
        if (a->last == 0)
            note_time(a);
        if (p->finish == NC_FINISH_ERROR || p->finish == NC_FINISH_CANCELLED) {
            nc_error e = p->error;
            bool cancelled = p->finish == NC_FINISH_CANCELLED;
            nc_piece_free(p);
            return refuse(a, cancelled ? 503 : status_of(e.code), cancelled ? "the server is shutting down" : e.message, NULL, NULL);
        }
        nc_reply_take(&a->reply, p);
        nc_piece_free(p);
    }
    nc_buf out = { 0 };
    nc_reply_whole(&a->reply, nc_generation_prompt_tokens(a->generation), nc_generation_new_tokens(a->generation), &out);
    free_answer(a);
    return nc_exchange_send(x, 200, "application/json", &out);
}

/* ---- events ---- */
static void more_events(answer *a)
{
    nc_exchange *x = a->exchange;
    double begin = nc_now();
    nc_buf_clear(&a->out);
    a->sent = 0;
    while (!a->out.n && !a->ended && !a->failed) {
        if (atomic_load(&x->server->aborting)) {
            a->failed = true;
            break;
        }
        nc_piece *p = nc_generation_next(a->generation, look_seconds);
        if (p) {
            note_time(a);
            nc_reply_event(&a->reply, p, &a->out);
            nc_piece_free(p);
        } else if (nc_generation_ended(a->generation)) {
            nc_reply_end(&a->reply, nc_generation_prompt_tokens(a->generation), nc_generation_new_tokens(a->generation), &a->out);
            a->ended = true;
        } else if (nc_exchange_is_gone(x->connection))
            a->failed = true;
        else if (nc_now() - begin > alive_seconds)
            nc_buf_adds(&a->out, ": waiting\n\n");     /* a comment: tells the client, and us, that the line is up */
    }
}

static ssize_t give_events(void *context, uint64_t position, char *to, size_t room)
{
    answer *a = context;
    (void)position;
    /* Waiting for the engine is not the client's idleness: the clock of the connection starts anew. */
    MHD_set_connection_option(a->exchange->connection, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
    if (a->sent == a->out.n)
        more_events(a);
    MHD_set_connection_option(a->exchange->connection, MHD_CONNECTION_OPTION_TIMEOUT, (unsigned)a->exchange->server->o.idle_seconds);
    if (a->failed)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    size_t n = a->out.n - a->sent;
    if (!n)
        return MHD_CONTENT_READER_END_OF_STREAM;
    n = n < room ? n : room;
    memcpy(to, a->out.p + a->sent, n);
    a->sent += n;
    return (ssize_t)n;
}

static enum MHD_Result write_events(answer *a)
{
    nc_exchange *x = a->exchange;
    struct MHD_Response *r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16384, give_events, a, free_answer);
    if (!r)
        return refuse(a, 500, "no memory for the answer", NULL, NULL);
    MHD_add_response_header(r, "Content-Type", "text/event-stream; charset=utf-8");
    MHD_add_response_header(r, "Cache-Control", "no-cache");
    nc_metrics_request(&x->server->metrics, x->route, 200);
    x->answered = true;
    enum MHD_Result result = MHD_queue_response(x->connection, 200, r);
    MHD_destroy_response(r);
    return result;
}

static enum MHD_Result start(answer *a)
{
    nc_server *s = a->exchange->server;
    nc_reading reading;
    nc_error e = { 0 };
    int status = read_prompt(a, &reading, &e);
    if (status < 0)
        return refuse(a, status == NC_ELIMIT ? 400 : status_of(status), e.message, a->request.chat ? "messages" : "prompt", NULL);
    if (!a->request.has_seed && getrandom(&a->request.options.sample.seed, sizeof a->request.options.sample.seed, 0) < 0)
        a->request.options.sample.seed = nc_now_ns();
    status = nc_generation_start(nc_session_engine(s->session), &reading.prompt, &a->request.options, &a->generation, &e);
    nc_reading_free(&reading);
    if (status < 0)
        return refuse(a, status == NC_ELIMIT ? 429 : status_of(status), e.message, NULL, status == NC_ELIMIT ? "queue_full" : NULL);
    nc_reply_init(&a->reply, &a->request, s->name, nc_session_loaded(s->session)->tokenizer);
    return a->request.stream ? write_events(a) : write_whole(a);
}

enum MHD_Result nc_answer_request(nc_exchange *x)
{
    nc_server *s = x->server;
    answer *a = nc_xcalloc(1, sizeof *a);
    nc_error e = { 0 };
    nc_generation_options defaults;
    a->exchange = x;
    nc_session_defaults(s->session, &defaults);
    nc_str body = { x->body.p ? x->body.p : "", x->body.n };
    int status = nc_request_parse(body, x->route == NC_ROUTE_CHAT, &s->o.limits, &defaults, &a->request, &e);
    nc_buf_free(&x->body);
    if (status < 0)
        return refuse(a, 400, e.message, a->request.param, NULL);
    if (a->request.model && strcmp(a->request.model, s->name)) {
        char message[512];
        snprintf(message, sizeof message, "no model \"%.200s\" here; this server has \"%.200s\"", a->request.model, s->name);
        return refuse(a, 404, message, "model", "model_not_found");
    }
    MHD_set_connection_option(x->connection, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
    enum MHD_Result result = start(a);
    MHD_set_connection_option(x->connection, MHD_CONNECTION_OPTION_TIMEOUT, (unsigned)s->o.idle_seconds);
    return result;
}

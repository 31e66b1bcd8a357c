/* generation.c - see generation.h. */
#include "infer/generation.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DEFAULT_TOKENS = 1024 };

struct choice { nc_detok *detok; nc_stops stops; nc_piece *open; bool met; };

struct nc_generation {
    nc_engine *engine;
    uint64_t id;
    int choices, prompt_tokens;
    bool wants_tokens;               /* log-probabilities were asked for, or there is no tokenizer: tokens travel with the text */
    struct choice *choice;
    pthread_mutex_t lock;
    pthread_cond_t arrived;
    nc_piece *first, *last;
    int ended_choices, taken_ends, new_tokens;
    bool idle;                       /* the engine has let go */
};

/* ---- stop strings ---- */
void nc_stops_init(nc_stops *s, const nc_str *strings, int count)
{
    *s = (nc_stops){ .at = nc_xcalloc((size_t)count + 1, sizeof *s->at) };
    for (int i = 0; i < count; i++) {
        if (!strings[i].n)
            continue;
        char *copy = nc_xmalloc(strings[i].n);
        memcpy(copy, strings[i].p, strings[i].n);
        s->at[s->count++] = (nc_str){ copy, strings[i].n };
    }
}

void nc_stops_free(nc_stops *s)
{
    for (int i = 0; i < s->count; i++)
        free((char *)(uintptr_t)s->at[i].p);
    free(s->at);
    nc_buf_free(&s->held);
    *s = (nc_stops){ 0 };
}

/* Where the earliest stop string begins, or held.n. */
static size_t earliest(const nc_stops *s)
{
    size_t at = s->held.n;
    for (int i = 0; i < s->count && s->held.n; i++) {
        const char *found = memmem(s->held.p, s->held.n, s->at[i].p, s->at[i].n);
        if (found && (size_t)(found - s->held.p) < at)
            at = (size_t)(found - s->held.p);
    }
    return at;
}

/* How many bytes at the end of the held text may begin a stop string. */
static size_t doubtful(const nc_stops *s)
{
    size_t most = 0;
    for (int i = 0; i < s->count; i++)
        for (size_t n = s->at[i].n - 1; n > most; n--)
            if (n <= s->held.n && !memcmp(s->held.p + s->held.n - n, s->at[i].p, n))
                most = n;
    return most;
}

bool nc_stops_add(nc_stops *s, nc_str piece, nc_buf *out)
{
    nc_buf_add(&s->held, piece.p, piece.n);
    size_t at = earliest(s), certain = s->held.n;
    bool met = at < s->held.n;
    certain = met ? at : s->held.n - doubtful(s);
    if (certain)
        nc_buf_add(out, s->held.p, certain);
    size_t rest = met ? 0 : s->held.n - certain;
    if (rest)
        memmove(s->held.p, s->held.p + certain, rest);
    s->held.n = rest;
    return met;
}

void nc_stops_flush(nc_stops *s, nc_buf *out)
{
    if (s->held.n)
        nc_buf_add(out, s->held.p, s->held.n);
    s->held.n = 0;
}

/* ---- pieces ---- */
void nc_piece_free(nc_piece *p)
{
    if (!p)
        return;
    nc_buf_free(&p->text);
    free(p->tokens);
    free(p);
}

static nc_piece *open_piece(struct choice *c, int index)
{
    if (!c->open) {
        c->open = nc_xcalloc(1, sizeof *c->open);
        c->open->choice = index;
    }
    return c->open;
}

static void add_token(nc_piece *p, const nc_token *t)
{
    if (p->token_count == p->token_capacity) {
        p->token_capacity = p->token_capacity ? 2 * p->token_capacity : 4;
        p->tokens = nc_xrealloc(p->tokens, sizeof *p->tokens * (size_t)p->token_capacity);
    }
    p->tokens[p->token_count++] = *t;
}

static void hand_out(nc_generation *x, struct choice *c)
{
    pthread_mutex_lock(&x->lock);
    if (c->open) {
        *(x->last ? &x->last->next : &x->first) = c->open;
        x->last = c->open;
        c->open = NULL;
    }
    pthread_cond_broadcast(&x->arrived);
    pthread_mutex_unlock(&x->lock);
}

/* On the engine's thread. */
static bool on_token(void *context, int index, const nc_token *t)
{
    nc_generation *x = context;
    struct choice *c = &x->choice[index];
    nc_piece *p = open_piece(c, index);
    nc_buf text = { 0 };
    pthread_mutex_lock(&x->lock);
    x->new_tokens++;
    pthread_mutex_unlock(&x->lock);
    if (x->wants_tokens)
        add_token(p, t);
    if (c->detok && nc_detok_add(c->detok, t->id, &text))
        c->met = nc_stops_add(&c->stops, (nc_str){ text.p, text.n }, &p->text);
    nc_buf_free(&text);
    if (p->text.n || (x->wants_tokens && !c->detok))
        hand_out(x, c);
    return !c->met;
}

static void on_done(void *context, int index, nc_finish finish, const nc_error *e)
{
    nc_generation *x = context;
    struct choice *c = &x->choice[index];
    nc_piece *p = open_piece(c, index);
    nc_buf text = { 0 };
    if (c->detok && !c->met) {
        nc_detok_flush(c->detok, &text);
        if (text.n && nc_stops_add(&c->stops, (nc_str){ text.p, text.n }, &p->text))
            finish = NC_FINISH_STOP;
        else
            nc_stops_flush(&c->stops, &p->text);
        nc_buf_free(&text);
    }
    p->finish = finish;
    if (e)
        p->error = *e;
    hand_out(x, c);
    pthread_mutex_lock(&x->lock);
    x->idle = ++x->ended_choices == x->choices;
    pthread_cond_broadcast(&x->arrived);
    pthread_mutex_unlock(&x->lock);
}

/* ---- the asking side ---- */
static void add_ids(const nc_json *v, nc_ids *out)
{
    int64_t id;
    if (nc_json_int_exact(v, &id) && id >= 0 && id <= INT32_MAX)
        nc_ids_add(out, (int32_t)id);
    if (nc_json_is(v, NC_JSON_ARRAY))
        NC_JSON_EACH(item, v)
            add_ids(item, out);
}

void nc_end_ids(const nc_loaded *l, nc_ids *out)
{
    const nc_json *of_folder = nc_json_get(l->generation, "eos_token_id");
    add_ids(of_folder, out);
    if (!of_folder) {
        add_ids(nc_json_get(l->config, "eos_token_id"), out);
        add_ids(nc_json_path(l->config, "text_config.eos_token_id"), out);
    }
    int32_t eos = l->tokenizer ? nc_tokenizer_special_id(l->tokenizer, "eos") : -1;
    if (eos >= 0)
        nc_ids_add(out, eos);
    int32_t turn = l->tokenizer ? nc_processor_end(l->processor, l->tokenizer) : -1;
    if (turn >= 0)
        nc_ids_add(out, turn);
}

static void release(nc_generation *x)
{
    for (int i = 0; i < x->choices; i++) {
        nc_detok_free(x->choice[i].detok);
        nc_stops_free(&x->choice[i].stops);
        nc_piece_free(x->choice[i].open);
    }
    while (x->first) {
        nc_piece *p = x->first;
        x->first = p->next;
        nc_piece_free(p);
    }
    pthread_mutex_destroy(&x->lock);
    pthread_cond_destroy(&x->arrived);
    free(x->choice);
    free(x);
}

void nc_generation_by(const nc_decoding *d, nc_generation_options *out)
{
    nc_job job = { 0 };
    nc_decoding_apply(d, &job);
    *out = (nc_generation_options){ .choices = 1, .sample = job.sample, .max_tokens = d->max_new_tokens, .max_length = d->max_length, .beams = job.beams,
                                    .early_stopping = job.early_stopping, .length_penalty = job.length_penalty };
}

static int tokens_of(const nc_generation_options *o, int prompt)
{
    if (o->max_tokens || !o->max_length)
        return o->max_tokens ? o->max_tokens : DEFAULT_TOKENS;
    return o->max_length > prompt ? o->max_length - prompt : 1;
}

int nc_generation_start(nc_engine *g, const nc_prompt *prompt, const nc_generation_options *o, nc_generation **out, nc_error *e)
{
    nc_loaded *l = nc_engine_loaded(g);
    nc_ids end = { 0 };
    if (o->stop_count && !l->tokenizer)
        return nc_fail(e, NC_EINVAL, "stop strings need a tokenizer, the folder has none");
    nc_generation *x = nc_xcalloc(1, sizeof *x);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&x->lock, NULL);
    pthread_cond_init(&x->arrived, &monotonic);
    pthread_condattr_destroy(&monotonic);
    x->engine = g;
    x->choices = o->choices > 0 ? o->choices : 1;
    x->prompt_tokens = prompt->source_count ? prompt->source_count : prompt->count;
    x->wants_tokens = o->sample.logprobs || !l->tokenizer;
    x->choice = nc_xcalloc((size_t)x->choices, sizeof *x->choice);
    for (int i = 0; i < x->choices; i++) {
        x->choice[i].detok = l->tokenizer ? nc_detok_new(l->tokenizer, !o->keep_special) : NULL;
        nc_stops_init(&x->choice[i].stops, o->stop, o->stop_count);
    }
    if (!o->ignore_end)
        nc_end_ids(l, &end);
    nc_processors process;
    nc_job job = { .prompt = prompt->ids, .prompt_count = prompt->count, .pictures = prompt->pictures, .picture_count = prompt->picture_count, .source = prompt->source,
                   .source_count = prompt->source_count, .choices = x->choices, .max_tokens = tokens_of(o, prompt->count), .sample = o->sample, .beams = o->beams,
                   .early_stopping = o->early_stopping, .length_penalty = o->length_penalty, .stop_ids = end.p, .stop_id_count = (int)end.n, .token = on_token, .done = on_done,
                   .context = x };
    if (o->sample.process) {
        process = *o->sample.process;
        process.eos = (nc_id_list){ end.p, (int)end.n };
        job.sample.process = &process;
    }
    int status = nc_engine_submit(g, &job, &x->id, e);
    nc_ids_free(&end);
    if (status < 0) {
        release(x);
        return status;
    }
    *out = x;
    return 0;
}

static struct timespec after(double seconds)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    int64_t ns = t.tv_nsec + (int64_t)(seconds * 1e9);
    t.tv_sec += (time_t)(ns / 1000000000);
    t.tv_nsec = (long)(ns % 1000000000);
    return t;
}

nc_piece *nc_generation_next(nc_generation *x, double seconds)
{
    struct timespec until = after(seconds < 0 ? 0 : seconds);
    pthread_mutex_lock(&x->lock);
    while (!x->first && x->taken_ends < x->choices)
        if (seconds < 0)
            pthread_cond_wait(&x->arrived, &x->lock);
        else if (pthread_cond_timedwait(&x->arrived, &x->lock, &until) == ETIMEDOUT)
            break;
    nc_piece *p = x->first;
    if (p) {
        x->first = p->next;
        x->last = x->first ? x->last : NULL;
        x->taken_ends += p->finish != NC_FINISH_NONE;
        p->next = NULL;
    }
    pthread_mutex_unlock(&x->lock);
    return p;
}

bool nc_generation_ended(nc_generation *x)
{
    pthread_mutex_lock(&x->lock);
    bool ended = x->taken_ends == x->choices;
    pthread_mutex_unlock(&x->lock);
    return ended;
}

void nc_generation_cancel(nc_generation *x) { nc_engine_cancel(x->engine, x->id); }

void nc_generation_free(nc_generation *x)
{
    if (!x)
        return;
    pthread_mutex_lock(&x->lock);
    bool idle = x->idle;
    pthread_mutex_unlock(&x->lock);
    if (!idle)
        nc_generation_cancel(x);
    pthread_mutex_lock(&x->lock);
    while (!x->idle)
        pthread_cond_wait(&x->arrived, &x->lock);
    pthread_mutex_unlock(&x->lock);
    release(x);
}

int nc_generation_prompt_tokens(const nc_generation *x) { return x->prompt_tokens; }

int nc_generation_new_tokens(nc_generation *x)
{
    pthread_mutex_lock(&x->lock);
    int n = x->new_tokens;
    pthread_mutex_unlock(&x->lock);
    return n;
}

/* beams.c - beam search: a job's texts are beams that go on together, and what it answers are the best texts that ended.
 *
 *   score of a text = sum of log-probabilities (after the processors) ; of one that ended: the sum / new tokens ^ length_penalty
 *
 * The rules are the reference library's: of all beams' continuations the best (1 + end tokens, at least 2) * beams are looked at; those that end count only among the
 * first `beams`; the others go on. It is over when the best running one, weighed by its present length (early_stopping false) or the greatest possible ("never" with a
 * positive penalty), is no better than the worst that ended; with early_stopping true as soon as enough have ended; or when nothing can go on.
 * With a temperature the continuations looked at are drawn instead, without replacement and in proportion to exp(score): those with the greatest score + Gumbel noise
 * (Kool et al. 2019), the noise keyed by seed, beam, position and token; the rules then see them best score first.
 * A beam that goes on alone keeps its pages of the cache; further ones fork them, and beams without a continuation give theirs back first: never more pages than promised.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "infer/engine_internal.h"
#include "kernels/head.h"

static const float NEVER = -1e9f;

typedef struct candidate { float score, drawn; int beam; int32_t id; float logprob; } candidate;   /* drawn: what it is chosen by; logprob: the model's own */
typedef struct ended_text { float score; int32_t *ids; nc_token *tokens; int count; bool is_there; } ended_text;

struct beam_search {
    int beams, keep;
    float *running;                  /* score of each beam */
    candidate *seen;                 /* [beams][keep], best first */
    int *found;                      /* [beams], of them */
    nc_token *row;                   /* [beams]: the best tokens of the row at hand; NULL: log-probabilities are not asked for */
    nc_token **tokens;               /* [beams][max_tokens]: what was told of each text so far */
    ended_text *best;                /* [beams], best first */
    bool improvable;
};

beam_search *nc_beams_new(const nc_job *ask)
{
    beam_search *b = nc_xcalloc(1, sizeof *b);
    int ends = ask->stop_id_count + 1;
    b->beams = ask->beams;
    b->keep = (ends > 2 ? ends : 2) * ask->beams;
    b->running = nc_xcalloc((size_t)b->beams, sizeof *b->running);
    b->seen = nc_xcalloc((size_t)b->beams * (size_t)b->keep, sizeof *b->seen);
    b->found = nc_xcalloc((size_t)b->beams, sizeof *b->found);
    b->best = nc_xcalloc((size_t)b->beams, sizeof *b->best);
    for (int i = 0; i < b->beams; i++)
        b->best[i].score = NEVER;
    b->improvable = true;
    if (ask->sample.logprobs) {
        b->row = nc_xcalloc((size_t)b->beams, sizeof *b->row);
        b->tokens = nc_xcalloc((size_t)b->beams, sizeof *b->tokens);
        for (int i = 0; i < b->beams; i++)
            b->tokens[i] = nc_xcalloc((size_t)ask->max_tokens, sizeof **b->tokens);
    }
    return b;
}

void nc_beams_free(beam_search *b)
{
    if (!b)
        return;
    for (int i = 0; i < b->beams; i++) {
        free(b->best[i].ids);
        free(b->best[i].tokens);
        if (b->tokens)
            free(b->tokens[i]);
    }
    free(b->row);
    free(b->tokens);
    free(b->running);
    free(b->seen);
    free(b->found);
    free(b->best);
    free(b);
}

/* Keeps a list of at most `keep`, the greatest drawn first; of equal ones the first that came. */
static void insert(candidate *list, int *n, int keep, candidate c)
{
    if (*n == keep && !(c.drawn > list[keep - 1].drawn))
        return;
    int at = *n < keep ? (*n)++ : keep - 1;
    for (; at > 0 && c.drawn > list[at - 1].drawn; at--)
        list[at] = list[at - 1];
    list[at] = c;
}

static float gumbel(const nc_job *ask, int beam, int position, int32_t id)
{
    nc_rng r = nc_rng_new(ask->sample.seed, nc_rng_stream((uint64_t)beam, (uint64_t)position, 0x6265616d, (uint64_t)id));
    return (float)-log(-log(nc_rng_uniform(&r) * (1 - 0x1p-50) + 0x1p-52));    /* never of 0 or 1 */
}

/* log-probabilities to scores, by the processors. */
static void process(const sequence *s, float *scores, int vocabulary)
{
    const nc_job *ask = &s->of->ask;
    const nc_processors *p = ask->sample.process;
    nc_text_state t = { s->ids, s->count, ask->prompt_count, ask->prompt_count + ask->max_tokens, ask->source, ask->source_count };
    if (p)
        nc_process_first(p, &t, scores, vocabulary);
    if (ask->sample.repetition_penalty != 1)
        nc_process_repetition(ask->sample.repetition_penalty, s->ids, s->count, scores, vocabulary);
    if (p)
        nc_process_rest(p, &t, scores, vocabulary);
    if (ask->sample.temperature > 0)
        nc_sampler_warp(s->sampler, scores, ask->stop_id_count + 1);
    if (p && p->renormalize)
        nc_process_renormalize(scores, vocabulary);
}

void nc_beams_look(const nc_engine *g, sequence *s, float *logits, int vocabulary)
{
    const nc_job *ask = &s->of->ask;
    beam_search *b = s->of->beams;
    const bool draws = ask->sample.temperature > 0;
    float *own = NULL;
    double lse = nc_head_logsumexp(g->kernels, logits, vocabulary);
    if (b->row)
        nc_sampler_report(s->sampler, logits, lse, &b->row[s->choice]);
    for (int i = 0; i < vocabulary; i++)
        logits[i] = (float)(logits[i] - lse);
    if (b->row) {
        own = nc_xmalloc(sizeof *own * (size_t)vocabulary);
        memcpy(own, logits, sizeof *own * (size_t)vocabulary);
    }
    process(s, logits, vocabulary);
    b->found[s->choice] = 0;
    for (int i = 0; i < vocabulary; i++) {
        if (!(logits[i] > -INFINITY))
            continue;
        float score = logits[i] + b->running[s->choice], drawn = draws ? score + gumbel(ask, s->choice, s->count, i) : score;
        insert(b->seen + s->choice * b->keep, &b->found[s->choice], b->keep, (candidate){ score, drawn, s->choice, i, own ? own[i] : 0 });
    }
    free(own);
}

/* What is told of a candidate's token. */
static nc_token told(const beam_search *b, const candidate *c, int position)
{
    nc_token t = b->row[c->beam];
    t.id = c->id;
    t.logprob = c->logprob;
    t.position = position;
    return t;
}

/* The tokens of the text that a candidate makes, in memory of its own; NULL when they are not asked for. */
static nc_token *extended(const job *j, const candidate *c)
{
    const beam_search *b = j->beams;
    const int said = j->sequence[c->beam].count - j->ask.prompt_count;
    if (!b->row)
        return NULL;
    nc_token *t = nc_xmalloc(sizeof *t * ((size_t)said + 1));
    memcpy(t, b->tokens[c->beam], sizeof *t * (size_t)said);
    t[said] = told(b, c, j->sequence[c->beam].count);
    return t;
}

static bool is_stop(const job *j, int32_t id)
{
    for (int i = 0; i < j->ask.stop_id_count; i++)
        if (j->stop_ids[i] == id)
            return true;
    return false;
}

static bool all_ended(const beam_search *b)
{
    for (int i = 0; i < b->beams; i++)
        if (!b->best[i].is_there)
            return false;
    return true;
}

static float weighed(const job *j, float score, int tokens) { return score / powf((float)tokens, (float)j->ask.length_penalty); }

static void keep_ended(job *j, const candidate *c)
{
    beam_search *b = j->beams;
    const sequence *from = &j->sequence[c->beam];
    ended_text *last = &b->best[b->beams - 1];
    float score = weighed(j, c->score, from->count + 1 - j->ask.prompt_count);
    if (!(score > last->score))
        return;
    free(last->ids);
    free(last->tokens);
    ended_text t = { score, nc_xmalloc(sizeof *t.ids * ((size_t)from->count + 1)), extended(j, c), from->count + 1, true };
    memcpy(t.ids, from->ids, sizeof *t.ids * (size_t)from->count);
    t.ids[from->count] = c->id;
    int at = b->beams - 1;
    for (; at > 0 && score > b->best[at - 1].score; at--)
        b->best[at] = b->best[at - 1];
    b->best[at] = t;
}

/* Can the best running text still beat the worst that ended? */
static bool may_improve(const job *j, int tokens)
{
    const beam_search *b = j->beams;
    int length = j->ask.early_stopping == NC_EARLY_NEVER && j->ask.length_penalty > 0 ? j->ask.max_tokens : tokens;
    return b->improvable && (!all_ended(b) || weighed(j, b->running[0], length) > b->best[b->beams - 1].score);
}

/* ---- going on ---- */
static void stop_running(nc_engine *g, sequence *s)
{
    for (sequence **at = &g->running; *at; at = &(*at)->next)
        if (*at == s) {
            *at = s->next;
            g->running_count--;
            return;
        }
}

typedef struct plan { int32_t *ids; nc_token *tokens; int slot, count, done, regime; } plan;

/* The slots of the beams to come: the first child of a beam takes its slot, the others fork it. */
static int place(nc_engine *g, job *j, const candidate *next, int n, plan *to, nc_error *e)
{
    bool *taken = nc_xcalloc((size_t)j->texts, sizeof *taken);
    int status = 0;
    for (int i = 0; i < n; i++)
        taken[next[i].beam] = true;
    for (int i = 0; i < j->texts; i++)
        if (!taken[i] && j->sequence[i].slot >= 0) {
            nc_kv_close(g->kv, j->sequence[i].slot);
            j->sequence[i].slot = -1;
        }
    for (int i = 0; i < n; i++) {
        const sequence *from = &j->sequence[next[i].beam];
        to[i] = (plan){ nc_xmalloc(sizeof *to[i].ids * ((size_t)from->count + 1)), extended(j, &next[i]), -1, from->count + 1, from->done, from->regime };
        memcpy(to[i].ids, from->ids, sizeof *to[i].ids * (size_t)from->count);
        to[i].ids[from->count] = next[i].id;
    }
    for (int i = n - 1; i >= 0 && status >= 0; i--) {        /* forks before the slot itself is written to */
        sequence *from = &j->sequence[next[i].beam];
        bool first = true;
        for (int k = 0; k < i; k++)
            first = first && next[k].beam != next[i].beam;
        if (first) {
            to[i].slot = from->slot;
            continue;
        }
        status = to[i].slot = nc_kv_fork(g->kv, from->slot, from->done, e);
        if (status >= 0)
            status = nc_kv_reserve(g->kv, to[i].slot, (int64_t)j->ask.prompt_count + j->ask.max_tokens, e);
    }
    free(taken);
    return status < 0 ? status : 0;
}

static int go_on(nc_engine *g, job *j, const candidate *next, int n, nc_error *e)
{
    plan *to = nc_xcalloc((size_t)n + 1, sizeof *to);
    int status = place(g, j, next, n, to, e);
    for (int i = 0; i < j->texts; i++) {
        sequence *s = &j->sequence[i];
        bool was = s->running;
        s->slot = -1;
        if (i < n) {
            s->slot = to[i].slot;
            s->count = to[i].count;
            s->done = to[i].done;
            s->regime = to[i].regime;
            memcpy(s->ids, to[i].ids, sizeof *s->ids * (size_t)to[i].count);
            j->beams->running[i] = next[i].score;
            if (to[i].tokens)
                memcpy(j->beams->tokens[i], to[i].tokens, sizeof *to[i].tokens * (size_t)(to[i].count - j->ask.prompt_count));
            free(to[i].tokens);
            free(to[i].ids);
        }
        s->running = i < n;
        if (was && !s->running)
            stop_running(g, s);
        if (!was && s->running)
            nc_engine_run(g, s);
    }
    free(to);
    return status;
}

/* ---- the end ---- */
static void answer(nc_engine *g, job *j)
{
    beam_search *b = j->beams;
    for (int c = 0; c < j->ask.choices; c++) {
        const ended_text *t = &b->best[c];
        bool stopped = t->is_there && is_stop(j, t->ids[t->count - 1]);
        int until = stopped && !j->ask.keep_stop ? t->count - 1 : t->count;
        for (int i = j->ask.prompt_count; t->is_there && i < until; i++) {
            nc_token token = t->tokens ? t->tokens[i - j->ask.prompt_count] : (nc_token){ .id = t->ids[i], .position = i };
            if (!j->ask.token(j->ask.context, c, &token)) {
                stopped = true;
                break;
            }
        }
        if (j->ask.score)
            j->ask.score(j->ask.context, c, t->score);
        nc_engine_end(g, &j->sequence[c], stopped ? NC_FINISH_STOP : NC_FINISH_LENGTH, NULL);
    }
    for (int c = j->ask.choices; c < j->texts; c++)
        nc_engine_end(g, &j->sequence[c], NC_FINISH_STOP, NULL);
}

static int by_score(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    return x->score > y->score ? -1 : x->score < y->score ? 1 : x->beam != y->beam ? x->beam - y->beam : (x->id > y->id) - (x->id < y->id);
}

void nc_beams_advance(nc_engine *g, job *j)
{
    beam_search *b = j->beams;
    candidate *top = nc_xcalloc((size_t)b->keep + 1, sizeof *top), *next = nc_xcalloc((size_t)b->beams + 1, sizeof *next);
    int n = 0, going = 0, length = 0;
    nc_error e = { 0 };
    for (int i = 0; i < j->texts; i++) {
        if (!j->sequence[i].running)
            continue;
        length = j->sequence[i].count;
        for (int k = 0; k < b->found[i]; k++)
            insert(top, &n, b->keep, b->seen[i * b->keep + k]);
    }
    if (j->ask.sample.temperature > 0)
        qsort(top, (size_t)n, sizeof *top, by_score);
    bool full = length + 1 == j->ask.prompt_count + j->ask.max_tokens, takes = b->improvable && !(j->ask.early_stopping == NC_EARLY_TRUE && all_ended(b));
    for (int i = 0; i < n; i++) {
        bool ends = full || is_stop(j, top[i].id);
        if (ends && takes && i < b->beams)
            keep_ended(j, &top[i]);
        if (!ends && going < b->beams)
            next[going++] = top[i];
    }
    if (going)
        b->running[0] = next[0].score;
    b->improvable = may_improve(j, length + 1 - j->ask.prompt_count);
    bool over = !going || !b->improvable || (j->ask.early_stopping == NC_EARLY_TRUE && all_ended(b));
    if (over)
        answer(g, j);
    else if (go_on(g, j, next, going, &e) < 0)
        nc_engine_end_all(g, j, NC_FINISH_ERROR, &e);
    free(top);
    free(next);
}

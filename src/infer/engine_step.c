/* engine_step.c - one step: whose rows, the run, the draws, what follows from them.
 *
 * Texts that are being written get their row first; what is left of step_tokens is shared evenly among prompts being read, beginning with another one each step,
 * so that a long prompt holds up neither the writers nor the prompts behind it.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "infer/engine_internal.h"
#include "kernels/head.h"

enum { LEAST_SHARE = 64 };

/* A text that grows into another regime of its rotations (LongRoPE) is read again from its start, into pages of its own. */
static int keep_regime(nc_engine *g, sequence *s, nc_error *e)
{
    const nc_model *m = g->model;
    int regime = m->family->regime ? m->family->regime(m->self, s->count) : 0;
    if (regime != s->regime && s->done) {
        int64_t rows = nc_kv_rows(g->kv, s->slot);
        s->done = 0;
        nc_kv_truncate(g->kv, s->slot, 0);
        NC_TRY(nc_kv_reserve(g->kv, s->slot, rows, e));
    }
    s->regime = regime;
    return 0;
}

static void keep_regimes(nc_engine *g)
{
    for (sequence *s = g->running, *next; s; s = next) {
        nc_error e = { 0 };
        job *j = s->of;
        next = s->next;
        if (keep_regime(g, s, &e) < 0) {
            nc_engine_end(g, s, NC_FINISH_ERROR, &e);
            nc_engine_release(g, j);
        }
    }
}

/* Gives every sequence its rows of this step; returns how many in all. */
static int share_rows(nc_engine *g)
{
    int left = g->o.step_tokens, reading = 0, at = 0;
    keep_regimes(g);
    for (sequence *s = g->running; s; s = s->next) {
        s->take = s->count - s->done == 1 ? 1 : 0;
        reading += !s->take;
        left -= s->take;
    }
    int share = reading ? left / reading : 0;
    share = share > LEAST_SHARE ? share : LEAST_SHARE;
    for (int round = 0; round < 3 && reading; round++, at = 0)   /* first those from `rotate` on, then those before, then what is left over */
        for (sequence *s = g->running; s; s = s->next) {
            int want = s->count - s->done - s->take;
            if (want == 0 || s->count - s->done == 1)
                continue;
            if (g->model->family->whole_prompt) {
                s->take = want <= left ? want : 0;
                left -= s->take;
                continue;
            }
            bool turn = round == 2 || (at++ >= g->rotate % reading) == (round == 0);
            if (!turn)
                continue;
            int most = round == 2 ? left : share < left ? share : left;
            want = want < most ? want : most;
            s->take += want;
            left -= want;
        }
    g->rotate++;
    return g->o.step_tokens - left;
}

static void room_for_media(nc_engine *g)
{
    int needed = 0;
    for (sequence *s = g->running; s; s = s->next)
        needed += s->of->ask.picture_count;
    if (needed > g->stretch_media_capacity) {
        g->stretch_media = nc_xrealloc(g->stretch_media, sizeof *g->stretch_media * (size_t)needed);
        g->stretch_media_capacity = needed;
    }
}

/* The stretches of the step and which sequence each scored row belongs to. */
static int lay_out(nc_engine *g, int *scored)
{
    int n = 0, media = 0;
    *scored = 0;
    room_for_media(g);
    for (sequence *s = g->running; s; s = s->next) {
        if (!s->take)
            continue;
        nc_seq *q = &g->stretch[n++];
        *q = (nc_seq){ .ids = s->ids + s->done, .count = s->take, .start = s->done, .length = s->count, .prompt = s->of->ask.prompt_count, .slot = s->slot, .feature_dtype = g->compute,
                       .want_logits = s->done + s->take == s->count };
        q->positions = s->of->positions.table ? &s->of->positions : NULL;
        q->cross_slot = s->of->cross_slot;
        q->cross_rows = s->of->cross_rows;
        q->views = s->of->views.of ? &s->of->views : NULL;
        if (s->done < s->of->ask.prompt_count && s->of->ask.picture_count && !g->model->family->cross) {
            q->media = g->stretch_media + media;
            q->media_count = nc_engine_stretch_media(g, s->of, s->done, s->take, g->stretch_media + media, &q->media_row);
            media += q->media_count;
        }
        if (q->want_logits)
            g->row_of[(*scored)++] = s;
    }
    return n;
}

struct draws { nc_engine *g; float *logits; int vocabulary; };

static void draw(sequence *s, float *row)
{
    s->status = nc_sampler_draw(s->sampler, row, s->count, &s->token, &s->error);
}

/* A job's other texts take their first token from the logits of the prompt's last row too. */
static void draw_row(void *context, int64_t part, int64_t parts, int worker)
{
    const struct draws *d = context;
    sequence *s = d->g->row_of[part];
    float *row = d->logits + part * d->vocabulary, *copy = NULL;
    const nc_model *m = d->g->model;
    (void)parts;
    (void)worker;
    nc_head_finish(d->g->kernels, row, d->vocabulary, (float)d->g->head.scale, (float)d->g->head.soft_cap);
    for (int i = 0; i < 2 && m->family->tower && !m->family->encoder; i++) {
        int id = i ? m->video_token_id : m->image_token_id;
        if (id >= 0 && id < d->vocabulary)
            row[id] = -INFINITY;                 /* a placeholder is nothing a text can say */
    }
    if (s->of->beams) {
        nc_beams_look(d->g, s, row, d->vocabulary);
        return;
    }
    for (int i = 1; i < s->of->ask.choices && s->count == s->of->ask.prompt_count && s->choice == 0; i++) {
        copy = copy ? copy : nc_xmalloc(sizeof *copy * (size_t)d->vocabulary);
        memcpy(copy, row, sizeof *copy * (size_t)d->vocabulary);
        draw(&s->of->sequence[i], copy);
    }
    free(copy);
    draw(s, row);
}

static bool is_stop(const job *j, int32_t id)
{
    for (int i = 0; i < j->ask.stop_id_count; i++)
        if (j->stop_ids[i] == id)
            return true;
    return false;
}

static void accept(nc_engine *g, sequence *s)
{
    job *j = s->of;
    if (s->status < 0) {
        nc_engine_end(g, s, NC_FINISH_ERROR, &s->error);
        return;
    }
    if (is_stop(j, s->token.id)) {
        if (j->ask.keep_stop)
            j->ask.token(j->ask.context, s->choice, &s->token);
        nc_engine_end(g, s, NC_FINISH_STOP, NULL);
        return;
    }
    s->ids[s->count++] = s->token.id;
    pthread_mutex_lock(&g->lock);
    g->stats.new_tokens++;
    pthread_mutex_unlock(&g->lock);
    if (!j->ask.token(j->ask.context, s->choice, &s->token))
        nc_engine_end(g, s, NC_FINISH_STOP, NULL);
    else if (s->count - j->ask.prompt_count == j->ask.max_tokens)
        nc_engine_end(g, s, NC_FINISH_LENGTH, NULL);
}

static int fork_choice(nc_engine *g, sequence *leader, sequence *s, nc_error *e)
{
    const nc_job *ask = &s->of->ask;
    s->slot = nc_kv_fork(g->kv, leader->slot, ask->prompt_count, e);
    NC_TRY(s->slot);
    s->done = ask->prompt_count;
    s->regime = leader->regime;
    return nc_kv_reserve(g->kv, s->slot, (int64_t)ask->prompt_count + ask->max_tokens, e);
}

/* The prompt is in the cache: its pictures are no longer needed, the other texts begin on copies of its last page. */
static void prompt_read(nc_engine *g, sequence *leader)
{
    job *j = leader->of;
    nc_engine_features_done(g, j);
    pthread_mutex_lock(&g->lock);
    g->stats.prompt_tokens += (uint64_t)j->ask.prompt_count;
    pthread_mutex_unlock(&g->lock);
    g->promised -= j->pages;
    j->pages = 0;
    for (int i = 1; i < j->ask.choices && !j->beams; i++) {
        sequence *s = &j->sequence[i];
        s->status = s->status < 0 ? s->status : fork_choice(g, leader, s, &s->error);
        if (s->status == 0)
            nc_engine_run(g, s);
    }
    for (int i = 1; i < j->ask.choices && !j->beams; i++)
        accept(g, &j->sequence[i]);
}

/* Beams of a job are scored in one step, each a row of its own: does the job have no row after this one? */
static bool is_last_beam(const nc_engine *g, int row, int scored)
{
    for (int i = row + 1; i < scored; i++)
        if (g->row_of[i]->of == g->row_of[row]->of)
            return false;
    return true;
}

static void follow(nc_engine *g, int scored)
{
    for (int i = 0; i < scored; i++) {
        sequence *s = g->row_of[i];
        job *j = s->of;
        if (s->choice == 0 && s->count == j->ask.prompt_count)
            prompt_read(g, s);
        if (!j->beams)
            accept(g, s);
        else if (is_last_beam(g, i, scored))
            nc_beams_advance(g, j);
        else
            continue;
        nc_engine_release(g, j);
    }
}

static int run(nc_engine *g, int rows, int stretches, int scored, nc_error *e)
{
    int k = 0;
    while (g->capacity[k] < rows)
        k++;
    NC_TRY(nc_model_prepare(g->model, g->batch, g->stretch, stretches, e));
    NC_TRY(nc_program_run(g->program[k], g->batch, &(nc_run_options){ .pool = g->pool, .kernels = g->kernels }, e));
    struct draws d = { g, nc_program_value(g->program[k], "logits")->data, nc_head_vocabulary(&g->head) };
    nc_pool_run(g->pool, scored, draw_row, &d);
    return 0;
}

static void fail_all(nc_engine *g, const nc_error *e)
{
    while (g->running)
        nc_engine_end_job(g, g->running->of, NC_FINISH_ERROR, e);
}

bool nc_engine_step(nc_engine *g)
{
    nc_error e = { 0 };
    int scored, rows = share_rows(g);
    if (!rows)
        return false;
    double begin = nc_now();
    int stretches = lay_out(g, &scored), status = run(g, rows, stretches, scored, &e);
    for (sequence *s = g->running; s; s = s->next)
        s->done += s->take;
    if (status < 0)
        fail_all(g, &e);
    else
        follow(g, scored);
    pthread_mutex_lock(&g->lock);
    g->stats.steps++;
    g->stats.step_rows += (uint64_t)rows;
    g->stats.busy_seconds += nc_now() - begin;
    pthread_mutex_unlock(&g->lock);
    return true;
}

/* engine.c - jobs from any thread, the thread that serves them, admission by reserved pages and slots, endings.
 *
 * A job waits until pages for its prompt and all it may write are free; its further choices share the prompt's pages (they fork when the prompt is read), and the
 * pages they will need are promised from admission on, so a job once admitted never runs out.
 */
#include <stdlib.h>
#include <string.h>

#include "infer/engine_internal.h"

static void *copied(const void *from, size_t bytes)
{
    void *to = nc_xmalloc(bytes + 1);
    if (bytes)
        memcpy(to, from, bytes);
    return to;
}

static void free_job(job *j)
{
    for (int i = 0; i < j->texts; i++) {
        nc_sampler_free(j->sequence[i].sampler);
        free(j->sequence[i].ids);
    }
    for (int i = 0; i < j->ask.picture_count; i++)
        nc_pictures_free(j->media[i].pictures);
    nc_beams_free(j->beams);
    nc_arena_free(j->arena);
    free(j->sequence);
    free(j->media);
    free(j->positions.table);
    nc_views_free(&j->views);
    free(j->prompt);
    free(j->stop_ids);
    free(j);
}

/* ---- taking jobs ---- */
static int check_media(const nc_engine *g, const nc_job *ask, job_media *media, nc_error *e)
{
    const nc_model *m = g->model;
    const bool in_source = m->family->encoder != NULL;
    int rows = 0, placeholders = in_source ? nc_engine_placeholders(m, ask->source, ask->source_count) : nc_engine_placeholders(m, ask->prompt, ask->prompt_count);
    if (ask->picture_count && !m->family->tower)
        return nc_fail(e, NC_EINVAL, "this model reads text only, the request shows it %d pictures or videos", ask->picture_count);
    for (int i = 0; i < ask->picture_count; i++) {
        int n = m->family->media_rows(m, m->self, nc_pictures_media(ask->pictures[i]));
        media[i] = (job_media){ .first = rows, .count = n };
        rows += n;
    }
    if (in_source ? rows > placeholders : rows != placeholders)     /* a source may hold the padding that stands for them where a vocabulary has no placeholder */
        return nc_fail(e, NC_EINVAL, "the prompt holds %d places for picture rows, its pictures and videos have %d rows", placeholders, rows);
    return 0;
}

/* Positions come from the whole prompt and its media, before it is cut into stretches. */
static int find_positions(const nc_engine *g, const nc_job *ask, nc_positions *out, nc_error *e)
{
    const nc_model *m = g->model;
    *out = (nc_positions){ 0 };
    if (!m->family->positions || !ask->picture_count)
        return 0;
    nc_media *media = nc_xcalloc((size_t)ask->picture_count, sizeof *media);
    for (int i = 0; i < ask->picture_count; i++)
        media[i] = *nc_pictures_media(ask->pictures[i]);
    int status = m->family->positions(m, m->self, ask->prompt, ask->prompt_count, media, ask->picture_count, out, e);
    free(media);
    return status;
}

/* Choices share the prompt's pages, unless it may have to be read again for each (nc_family.regime). */
static int64_t pages_needed(const nc_model *m, const nc_job *ask, int cross_rows)
{
    int64_t one = nc_kv_pages_for((int64_t)ask->prompt_count + ask->max_tokens), shared = ask->prompt_count / NC_KEY_BLOCK, texts = ask->beams > 1 ? ask->beams : ask->choices;
    if (m->family->regime && m->family->regime(m->self, ask->prompt_count) != m->family->regime(m->self, ask->prompt_count + ask->max_tokens))
        shared = 0;
    return one + (texts - 1) * (one - shared) + nc_kv_pages_for(cross_rows);
}

static int check_beams(const nc_engine *g, const nc_job *ask, nc_error *e)
{
    if (ask->beams <= 1)
        return 0;
    if (ask->beams > g->o.sequences)
        return nc_fail(e, NC_EINVAL, "num_beams is %d; it must lie between 1 and %d", ask->beams, g->o.sequences);
    if (ask->choices > ask->beams)
        return nc_fail(e, NC_EINVAL, "num_return_sequences is %d, more than the %d of num_beams", ask->choices, ask->beams);
    return 0;
}

static int check_job(const nc_engine *g, nc_job *ask, int *cross_rows, nc_views *views, nc_error *e)
{
    NC_TRY(nc_sample_check(&ask->sample, e));
    NC_TRY(check_beams(g, ask, e));
    if (ask->prompt_count < 1)
        return nc_fail(e, NC_EINVAL, "the prompt is empty");
    if (ask->prompt_count >= g->max_length)
        return nc_fail(e, NC_EINVAL, "the prompt has %d tokens, this server takes sequences of at most %d with the answer", ask->prompt_count, g->max_length);
    if (g->model->family->whole_prompt && ask->prompt_count > g->o.step_tokens - g->o.sequences)
        return nc_fail(e, NC_EINVAL, "the prompt has %d tokens; a %s reads its prompt whole and a step has room for %d (step_tokens)", ask->prompt_count, g->model->family->name,
                       g->o.step_tokens - g->o.sequences);
    if (ask->max_tokens < 1)
        return nc_fail(e, NC_EINVAL, "max_tokens is %d; it must be at least 1", ask->max_tokens);
    if (ask->choices < 1 || ask->choices > g->o.sequences)
        return nc_fail(e, NC_EINVAL, "n is %d; it must lie between 1 and %d", ask->choices, g->o.sequences);
    for (int i = 0; i < ask->prompt_count; i++)
        if (ask->prompt[i] < 0 || ask->prompt[i] >= g->model->vocab_size)
            return nc_fail(e, NC_EINVAL, "token %d of the prompt is %d, the vocabulary has %d", i, ask->prompt[i], g->model->vocab_size);
    if (ask->max_tokens > g->max_length - ask->prompt_count)
        ask->max_tokens = g->max_length - ask->prompt_count;
    if (g->model->family->encoder)
        NC_TRY(nc_engine_check_source(g, ask, cross_rows, e));
    NC_TRY(nc_engine_find_views(g, ask, views, cross_rows, e));
    if (pages_needed(g->model, ask, *cross_rows) > g->stats.pages)
        return nc_fail(e, NC_EINVAL, "%d texts of up to %d tokens after a prompt of %d take %lld pages of the cache, it has %lld; ask for fewer",
                       ask->beams > 1 ? ask->beams : ask->choices, ask->max_tokens, ask->prompt_count, (long long)pages_needed(g->model, ask, *cross_rows), (long long)g->stats.pages);
    return 0;
}

/* Processors and the source, copied. */
static void copy_settings(job *j)
{
    j->arena = nc_arena_new();
    if (j->ask.sample.process)
        j->ask.sample.process = nc_processors_copy(j->arena, j->ask.sample.process);
    if (j->ask.source_count)
        j->ask.source = nc_arena_copy(j->arena, j->ask.source, sizeof *j->ask.source * (size_t)j->ask.source_count);
}

static void begin_text(const nc_engine *g, job *j, int choice)
{
    const nc_job *ask = &j->ask;
    nc_sample_options sample = ask->sample;
    sequence *s = &j->sequence[choice];
    sample.choice = choice;
    *s = (sequence){ .of = j, .choice = choice, .slot = -1, .count = ask->prompt_count, .running = choice == 0 };
    s->ids = nc_xmalloc(sizeof *s->ids * ((size_t)ask->prompt_count + (size_t)ask->max_tokens));
    memcpy(s->ids, j->prompt, sizeof *s->ids * (size_t)ask->prompt_count);
    s->sampler = nc_sampler_new(&sample, g->kernels, nc_head_vocabulary(&g->head), j->prompt, ask->prompt_count);
    nc_sampler_knows(s->sampler, ask->source, ask->source_count, ask->prompt_count + ask->max_tokens);
}

static int make_job(const nc_engine *g, const nc_job *ask, job **out, nc_error *e)
{
    job_media *media = nc_xcalloc((size_t)ask->picture_count + 1, sizeof *media);
    nc_job checked = *ask;
    nc_positions positions = { 0 };
    nc_views views = { 0 };
    int cross_rows = 0, status = check_job(g, &checked, &cross_rows, &views, e);
    if (status == 0 && (!g->model->family->encoder || g->model->family->tower))
        status = check_media(g, ask, media, e);
    if (status == 0)
        status = find_positions(g, ask, &positions, e);
    if (status < 0) {
        nc_views_free(&views);
        free(media);
        return status;
    }
    job *j = nc_xcalloc(1, sizeof *j);
    j->ask = checked;
    j->media = media;
    j->positions = positions;
    j->views = views;
    j->ask.prompt = j->prompt = copied(ask->prompt, sizeof *j->prompt * (size_t)ask->prompt_count);
    j->ask.stop_ids = j->stop_ids = copied(ask->stop_ids, sizeof *j->stop_ids * (size_t)ask->stop_id_count);
    for (int i = 0; i < ask->picture_count; i++)
        media[i].pictures = nc_pictures_keep(ask->pictures[i]);
    j->ask.pictures = NULL;
    j->cross_slot = -1;
    j->cross_rows = cross_rows;
    copy_settings(j);
    j->texts = checked.beams > 1 ? checked.beams : checked.choices;
    j->beams = checked.beams > 1 ? nc_beams_new(&j->ask) : NULL;
    j->live = j->texts;
    atomic_init(&j->cancelled, false);
    j->sequence = nc_xcalloc((size_t)j->texts, sizeof *j->sequence);
    for (int i = 0; i < j->texts; i++)
        begin_text(g, j, i);
    *out = j;
    return 0;
}

static int enqueue(nc_engine *g, job *j, nc_error *e)
{
    if (g->closing || g->stopping)
        return nc_fail(e, NC_ECANCELLED, "the server is shutting down");
    if (g->waiting >= g->o.max_waiting)
        return nc_fail(e, NC_ELIMIT, "%d requests are waiting already; try again later", g->waiting);
    if (g->active_count == g->active_capacity) {
        g->active_capacity = g->active_capacity ? 2 * g->active_capacity : 64;
        g->active = nc_xrealloc(g->active, sizeof(job *) * (size_t)g->active_capacity);
    }
    j->id = ++g->next_id;
    g->active[g->active_count++] = j;
    if (g->last)
        g->last->next = j;
    else
        g->first = j;
    g->last = j;
    g->waiting++;
    g->stats.jobs++;
    return 0;
}

int nc_engine_submit(nc_engine *g, const nc_job *ask, uint64_t *id, nc_error *e)
{
    job *j = NULL;
    NC_TRY(make_job(g, ask, &j, e));
    pthread_mutex_lock(&g->lock);
    int status = enqueue(g, j, e);
    if (status == 0) {
        *id = j->id;
        pthread_cond_signal(&g->wake);
    }
    pthread_mutex_unlock(&g->lock);
    if (status < 0)
        free_job(j);
    return status;
}

void nc_engine_cancel(nc_engine *g, uint64_t id)
{
    pthread_mutex_lock(&g->lock);
    for (int i = 0; i < g->active_count; i++)
        if (g->active[i]->id == id) {
            atomic_store(&g->active[i]->cancelled, true);
            g->stats.cancelled++;
        }
    pthread_cond_signal(&g->wake);
    pthread_mutex_unlock(&g->lock);
}

/* ---- endings ---- */
void nc_engine_end(nc_engine *g, sequence *s, nc_finish finish, const nc_error *e)
{
    job *j = s->of;
    if (s->ended)
        return;
    s->ended = true;
    j->live--;
    for (sequence **at = &g->running; *at; at = &(*at)->next)
        if (*at == s) {
            *at = s->next;
            g->running_count--;
            break;
        }
    if (s->slot >= 0)
        nc_kv_close(g->kv, s->slot);
    s->slot = -1;
    if (j->admitted)
        g->slots_promised--;
    if (s->choice < j->ask.choices)
        j->ask.done(j->ask.context, s->choice, finish, finish == NC_FINISH_ERROR ? e : NULL);
}

void nc_engine_release(nc_engine *g, job *j)
{
    if (j->live)
        return;
    nc_engine_features_done(g, j);
    if (j->cross_slot >= 0)
        nc_kv_close(g->kv, j->cross_slot);
    g->promised -= j->pages;
    pthread_mutex_lock(&g->lock);
    for (int i = 0; i < g->active_count; i++)
        if (g->active[i] == j)
            g->active[i] = g->active[--g->active_count];
    pthread_mutex_unlock(&g->lock);
    free_job(j);
}

void nc_engine_end_all(nc_engine *g, job *j, nc_finish finish, const nc_error *e)
{
    for (int i = 0; i < j->texts; i++)
        nc_engine_end(g, &j->sequence[i], finish, e);
}

void nc_engine_end_job(nc_engine *g, job *j, nc_finish finish, const nc_error *e)
{
    nc_engine_end_all(g, j, finish, e);
    nc_engine_release(g, j);
}

/* ---- the thread ---- */
static bool unqueue(nc_engine *g, job *j)
{
    job *before = NULL;
    for (job *at = g->first; at; before = at, at = at->next)
        if (at == j) {
            *(before ? &before->next : &g->first) = j->next;
            g->last = g->last == j ? before : g->last;
            g->waiting--;
            return true;
        }
    return false;
}

/* Ends jobs whose client went away; all of them when everything stops. */
static void sweep(nc_engine *g, bool all)
{
    for (;;) {
        job *found = NULL;
        pthread_mutex_lock(&g->lock);
        for (int i = 0; i < g->active_count && !found; i++)
            if (all || atomic_load(&g->active[i]->cancelled))
                found = g->active[i];
        if (found)
            unqueue(g, found);
        pthread_mutex_unlock(&g->lock);
        if (!found)
            return;
        nc_engine_end_job(g, found, NC_FINISH_CANCELLED, NULL);
    }
}

static job *next_admissible(nc_engine *g)
{
    pthread_mutex_lock(&g->lock);
    job *j = g->first;
    if (j && (g->slots_promised + j->texts > g->o.sequences || pages_needed(g->model, &j->ask, j->cross_rows) > nc_kv_pages_free(g->kv) - g->promised))
        j = NULL;
    if (j)
        unqueue(g, j);
    pthread_mutex_unlock(&g->lock);
    return j;
}

static int open_leader(nc_engine *g, job *j, nc_error *e)
{
    sequence *s = &j->sequence[0];
    s->slot = nc_kv_open(g->kv, e);
    NC_TRY(s->slot);
    return nc_kv_reserve(g->kv, s->slot, (int64_t)j->ask.prompt_count + j->ask.max_tokens, e);
}

/* Takes waiting jobs in order while they fit; after one with media the running texts get their step first. */
static void admit(nc_engine *g)
{
    for (job *j; (j = next_admissible(g));) {
        nc_error e = { 0 };
        j->admitted = true;
        g->slots_promised += j->texts;
        j->pages = pages_needed(g->model, &j->ask, 0) - nc_kv_pages_for((int64_t)j->ask.prompt_count + j->ask.max_tokens);
        g->promised += j->pages;
        int status = open_leader(g, j, &e);
        if (status == 0)
            status = g->model->family->tower ? nc_engine_features(g, j, &e) : 0;
        if (status == 0 && g->model->family->cross)
            status = nc_engine_encode(g, j, &e);
        if (status < 0) {
            nc_engine_end_job(g, j, NC_FINISH_ERROR, &e);
            continue;
        }
        nc_engine_run(g, &j->sequence[0]);
        if (j->ask.picture_count)
            return;
    }
}

void nc_engine_run(nc_engine *g, sequence *s)
{
    sequence **at = &g->running;
    while (*at)
        at = &(*at)->next;
    s->next = NULL;
    *at = s;
    g->running_count++;
}

static bool wait_for_work(nc_engine *g)
{
    pthread_mutex_lock(&g->lock);
    g->stats.pages_used = g->stats.pages - nc_kv_pages_free(g->kv);
    g->stats.running = g->running_count;
    while (!g->stopping && !g->active_count)
        pthread_cond_wait(&g->wake, &g->lock);
    bool goes_on = !g->stopping;
    pthread_mutex_unlock(&g->lock);
    return goes_on;
}

static void *run_thread(void *context)
{
    nc_engine *g = context;
    while (wait_for_work(g)) {
        sweep(g, false);
        admit(g);
        nc_engine_step(g);
    }
    sweep(g, true);
    return NULL;
}

/* ---- life ---- */
static void fill_defaults(nc_engine *g)
{
    nc_engine_options *o = &g->o;
    const int own = g->model->max_positions, bound = own > 0 ? own : o->max_length > 0 ? o->max_length : 4096;   /* models without positions have no bound of their own */
    o->sequences = o->sequences > 0 ? o->sequences : 16;
    o->step_tokens = o->step_tokens > 0 ? o->step_tokens : 512;
    o->step_tokens = o->step_tokens > o->sequences ? o->step_tokens : o->sequences;
    if (g->model->family->whole_prompt && g->model->family->media_rows) {
        const nc_media picture = { .kind = NC_MEDIA_IMAGE, .count = 1 };
        int least = g->model->family->media_rows(g->model, g->model->self, &picture) + 512;
        o->step_tokens = o->step_tokens > least ? o->step_tokens : least;
    }
    o->max_waiting = o->max_waiting > 0 ? o->max_waiting : 256;
    o->tower_pictures = o->tower_pictures > 0 ? o->tower_pictures : 8;
    o->feature_bytes = o->feature_bytes ? o->feature_bytes : (size_t)64 << 20;
    g->max_length = o->max_length > 0 && o->max_length < bound ? o->max_length : bound;
}

static int start(nc_engine *g, nc_error *e)
{
    if (!g->model->family->decoder)
        return nc_fail(e, NC_EUNSUPPORTED, "%s: a %s writes no text", g->loaded->folder, g->model->family->name);
    fill_defaults(g);
    NC_TRY(nc_engine_build(g, e));
    g->stretch = nc_xcalloc((size_t)g->o.sequences, sizeof *g->stretch);
    g->row_of = nc_xcalloc((size_t)g->o.sequences, sizeof *g->row_of);
    if (pthread_create(&g->thread, NULL, run_thread, g))
        return nc_fail(e, NC_ENOMEM, "the system refuses a thread for the engine");
    g->has_thread = true;
    return 0;
}

int nc_engine_new(nc_loaded *loaded, const nc_engine_options *o, nc_engine **out, nc_error *e)
{
    nc_engine *g = nc_xcalloc(1, sizeof *g);
    g->loaded = loaded;
    g->model = loaded->model;
    g->o = o ? *o : (nc_engine_options){ 0 };
    g->kernels = loaded->options.weights.kernels ? loaded->options.weights.kernels : nc_kernels_best();
    g->compute = loaded->options.weights.compute;
    g->own_pool = !g->o.pool;
    g->pool = g->own_pool ? nc_pool_new(g->o.threads) : g->o.pool;
    g->batch = nc_batch_new();
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->wake, NULL);
    int status = start(g, e);
    if (status < 0) {
        nc_engine_free(g);
        return status;
    }
    *out = g;
    return 0;
}

void nc_engine_close(nc_engine *g)
{
    pthread_mutex_lock(&g->lock);
    g->closing = true;
    pthread_mutex_unlock(&g->lock);
}

void nc_engine_free(nc_engine *g)
{
    if (!g)
        return;
    if (g->has_thread) {
        pthread_mutex_lock(&g->lock);
        g->stopping = true;
        pthread_cond_signal(&g->wake);
        pthread_mutex_unlock(&g->lock);
        pthread_join(g->thread, NULL);
    }
    nc_engine_features_free(g);
    nc_engine_unbuild(g);
    nc_batch_free(g->batch);
    if (g->own_pool)
        nc_pool_free(g->pool);
    pthread_mutex_destroy(&g->lock);
    pthread_cond_destroy(&g->wake);
    free(g->stretch);
    free(g->stretch_media);
    free(g->row_of);
    free(g->active);
    free(g);
}

int nc_engine_max_length(const nc_engine *g) { return g->max_length; }
nc_loaded *nc_engine_loaded(const nc_engine *g) { return g->loaded; }

void nc_engine_get_stats(nc_engine *g, nc_engine_stats *out)
{
    pthread_mutex_lock(&g->lock);
    *out = g->stats;
    out->waiting = g->waiting;
    pthread_mutex_unlock(&g->lock);
}

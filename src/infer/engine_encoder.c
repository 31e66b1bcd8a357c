/* engine_encoder.c - what a decoder attends to beside its own text: an encoder's rows, or the rows a tower made of the job's pictures. What the decoder's layers make of them lies in a
 * slot of the cache until the job ends.
 *
 * One program is kept and made anew when a job's tables are larger than any before.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "infer/engine_internal.h"

enum { LEAST_SOURCE = 256, MOST_ROWS = 8192 };

int64_t nc_engine_cross_pages(const nc_engine *g)
{
    const nc_model *m = g->model;
    const nc_media picture = { .kind = NC_MEDIA_IMAGE, .count = 1 };
    return m->family->views ? g->o.tower_pictures * nc_kv_pages_for(m->family->feature_rows(m->self, &picture)) : nc_kv_pages_for(m->max_source > 0 ? m->max_source : MOST_ROWS);
}

static nc_seq sequence_of(const nc_job *ask, const nc_media *media, int cross_slot)
{
    return (nc_seq){ .slot = -1, .source = ask->source, .source_count = ask->source_count, .media = media, .media_count = ask->picture_count, .cross_slot = cross_slot };
}

static nc_media *media_of(nc_pictures *const *pictures, int count)
{
    nc_media *media = nc_xcalloc((size_t)count + 1, sizeof *media);
    for (int i = 0; i < count; i++)
        media[i] = *nc_pictures_media(pictures[i]);
    return media;
}

int nc_engine_check_source(const nc_engine *g, const nc_job *ask, int *rows, nc_error *e)
{
    const nc_model *m = g->model;
    for (int i = 0; i < ask->source_count; i++)
        if (ask->source[i] < 0 || ask->source[i] >= m->vocab_size)
            return nc_fail(e, NC_EINVAL, "token %d of the source is %d, the vocabulary has %d", i, ask->source[i], m->vocab_size);
    nc_media *media = media_of(ask->pictures, ask->picture_count);
    nc_seq s = sequence_of(ask, media, -1);
    *rows = nc_model_encoder_rows(m, &s);
    free(media);
    if (*rows < 1)
        return nc_fail(e, NC_EINVAL, "this model's encoder reads %s, the request has none", m->family->encoder_rows ? "a picture" : "a source text");
    if (m->max_source > 0 && ask->source_count > m->max_source)
        return nc_fail(e, NC_EINVAL, "the source has %d tokens, the encoder reads at most %d", ask->source_count, m->max_source);
    return 0;
}

int nc_engine_find_views(const nc_engine *g, const nc_job *ask, nc_views *out, int *rows, nc_error *e)
{
    const nc_model *m = g->model;
    *out = (nc_views){ 0 };
    if (!m->family->views || !ask->picture_count)
        return 0;
    nc_media *media = media_of(ask->pictures, ask->picture_count);
    int status = m->family->views(m, m->self, ask->prompt, ask->prompt_count, media, ask->picture_count, out, e);
    *rows = out->pages * NC_KEY_BLOCK;
    free(media);
    return status;
}

/* Is the program at hand large enough for the batch? */
static bool fits(const nc_engine *g)
{
    const char *name;
    for (int i = 0; g->encoder && (name = nc_batch_count_name(g->batch, i)); i++)
        for (int k = 0; k < g->encoder_counts; k++)
            if (!strcmp(g->encoder_count[k].name, name) && nc_batch_count(g->batch, name) > g->encoder_count[k].n)
                return false;
    return g->encoder != NULL;
}

/* What the program has room for: texts, and media that are attended to, are rounded up; the rows of a tower are its input, so the tower's own counts are none of its. -1: not a count
 * of it. */
static int64_t room_for(const nc_engine *g, const char *name)
{
    static const char *const of_text[] = { "tokens", "scored" };
    int64_t n = nc_batch_count(g->batch, name), room = LEAST_SOURCE;
    if (!strcmp(name, "source") || (g->model->family->views && !strcmp(name, "media"))) {
        while (room < n)
            room *= 2;
        return room;
    }
    if (!g->model->family->tower || !strcmp(name, of_text[0]) || !strcmp(name, of_text[1]))
        return n;
    return strcmp(name, "media") ? -1 : NC_ENGINE_MEDIA_ROWS;
}

static int build(nc_engine *g, nc_error *e)
{
    const nc_model *m = g->model;
    const char *name;
    nc_program_free(g->encoder);
    g->encoder = nc_program_new(&(nc_program_options){ .compute = g->compute, .cache = nc_kv_cache(g->kv), .any_size = true });
    nc_build *b = nc_program_build(g->encoder);
    g->encoder_counts = 0;
    for (int i = 0; (name = nc_batch_count_name(g->batch, i)) && g->encoder_counts < NC_COUNT(g->encoder_count); i++) {
        const int64_t n = room_for(g, name);
        if (n < 0)
            continue;
        snprintf(g->encoder_count[g->encoder_counts].name, sizeof g->encoder_count[0].name, "%s", name);
        g->encoder_count[g->encoder_counts++].n = n;
        nc_build_capacity(b, name, n);
    }
    nc_value *media = m->family->tower ? nc_engine_media_rows(g, b) : NULL;
    m->family->cross(m, m->self, b, m->family->encoder ? nc_model_encoder(m, b, media) : media);
    int status = nc_program_finish(g->encoder, NULL, nc_pool_threads(g->pool), e);
    if (status == 0)
        status = nc_program_allocate(g->encoder, NULL, e);
    if (status < 0) {
        nc_program_free(g->encoder);
        g->encoder = NULL;
    }
    return status;
}

int nc_engine_encode(nc_engine *g, job *j, nc_error *e)
{
    if (!j->cross_rows)
        return 0;
    j->cross_slot = nc_kv_open(g->kv, e);
    NC_TRY(j->cross_slot);
    NC_TRY(nc_kv_reserve(g->kv, j->cross_slot, j->cross_rows, e));
    nc_media *media = nc_xcalloc((size_t)j->ask.picture_count + 1, sizeof *media);
    for (int i = 0; i < j->ask.picture_count; i++) {
        const features *rows = j->media[i].rows;
        media[i] = *nc_pictures_media(j->media[i].pictures);
        media[i].features = rows ? rows->data : NULL;
        media[i].feature_rows = rows ? rows->rows : 0;
    }
    nc_seq s = sequence_of(&j->ask, media, j->cross_slot);
    s.views = j->views.of ? &j->views : NULL;
    s.feature_dtype = g->compute;
    int status = nc_model_prepare(g->model, g->batch, &s, 1, e);
    if (status == 0 && !fits(g))
        status = build(g, e);
    if (status == 0)
        status = nc_program_run(g->encoder, g->batch, &(nc_run_options){ .pool = g->pool, .kernels = g->kernels }, e);
    nc_engine_features_done(g, j);
    free(media);
    return status;
}

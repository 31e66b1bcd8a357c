/* features.c - pictures on their way into a text: shared pixels, the tower's rows by content, and which of them a stretch splices.
 *
 * Rows are found by the hash of kind, shape and pixels, so a picture asked about again is not seen again. Rows that nobody uses are
 * dropped, oldest first, when they exceed the budget.
 */
#include <stdlib.h>
#include <string.h>

#include "infer/engine_internal.h"
#include "load/visual_media.h"

nc_pictures *nc_pictures_new(const nc_visual *v)
{
    size_t each = (size_t)v->channels * (size_t)v->height * (size_t)v->width, n = each * (size_t)v->frames;
    nc_pictures *p = nc_xcalloc(1, sizeof *p);
    int shape[] = { v->is_video, v->frames, v->channels, v->height, v->width, v->original_height, v->original_width, v->grid_height, v->grid_width, v->pictures > 1 };
    atomic_init(&p->holders, 1);
    p->pixels = nc_xmalloc(n * sizeof *p->pixels);
    memcpy(p->pixels, v->pixels, n * sizeof *p->pixels);
    p->frames = nc_xcalloc((size_t)v->frames + 1, sizeof *p->frames);
    for (int i = 0; i < v->frames; i++)
        p->frames[i] = nc_pixels_of(v, p->pixels, i);
    p->media = nc_media_of(v);
    p->media.frames = p->frames;
    p->key = nc_hash128_of(p->pixels, n * sizeof *p->pixels);
    uint64_t form = nc_hash64(shape, sizeof shape, 0);
    p->key.low ^= form;
    p->key.high += form;
    return p;
}

nc_pictures *nc_pictures_keep(nc_pictures *p)
{
    atomic_fetch_add(&p->holders, 1);
    return p;
}

void nc_pictures_free(nc_pictures *p)
{
    if (!p || atomic_fetch_sub(&p->holders, 1) > 1)
        return;
    free(p->frames);
    free(p->pixels);
    free(p);
}

const nc_media *nc_pictures_media(const nc_pictures *p) { return &p->media; }

static size_t bytes_of(const nc_engine *g, const features *f)
{
    return nc_dtype_bytes(g->compute, (int64_t)f->rows * nc_model_media_width(g->model));
}

static features *find(nc_engine *g, nc_hash128 key)
{
    for (features *f = g->features; f; f = f->next)
        if (f->key.low == key.low && f->key.high == key.high)
            return f;
    return NULL;
}

static void evict(nc_engine *g)
{
    while (g->stats.feature_bytes > g->o.feature_bytes) {
        features **oldest = NULL;
        for (features **at = &g->features; *at; at = &(*at)->next)
            if ((*at)->users == 0 && (!oldest || (*at)->used < (*oldest)->used))
                oldest = at;
        if (!oldest)
            return;
        features *f = *oldest;
        *oldest = f->next;
        pthread_mutex_lock(&g->lock);
        g->stats.feature_bytes -= bytes_of(g, f);
        pthread_mutex_unlock(&g->lock);
        free(f->data);
        free(f);
    }
}

/* The tower over as many frames at a time as its program has room for; rows follow each other in f. */
static int compute(nc_engine *g, const nc_pictures *p, features *f, nc_error *e)
{
    size_t row_bytes = nc_dtype_bytes(g->compute, nc_model_media_width(g->model));
    nc_media one = p->media;
    one.count = 1;
    int64_t each = nc_media_units(&one);
    NC_TRY(nc_engine_tower(g, each, &p->frames[0], e));
    int most = (int)(g->tower_units / each);
    for (int first = 0; first < p->media.count; first += most) {
        nc_media part = p->media;
        part.frames = p->frames + first;
        part.count = p->media.count - first < most ? p->media.count - first : most;
        nc_seq seq = { .slot = -1, .media = &part, .media_count = 1 };
        NC_TRY(nc_model_prepare(g->model, g->batch, &seq, 1, e));
        NC_TRY(nc_program_run(g->tower, g->batch, &(nc_run_options){ .pool = g->pool, .kernels = g->kernels }, e));
        int rows = (int)nc_program_count(g->tower, "media");
        f->data = nc_xrealloc(f->data, row_bytes * (size_t)(f->rows + rows));
        memcpy((char *)f->data + row_bytes * (size_t)f->rows, nc_program_value(g->tower, "features")->data, row_bytes * (size_t)rows);
        f->rows += rows;
    }
    return 0;
}

static int obtain(nc_engine *g, job_media *m, nc_error *e)
{
    features *f = find(g, m->pictures->key);
    bool is_new = !f;
    if (is_new) {
        f = nc_xcalloc(1, sizeof *f);
        f->key = m->pictures->key;
        int status = compute(g, m->pictures, f, e);
        if (status < 0) {
            free(f->data);
            free(f);
            return status;
        }
        f->next = g->features;
        g->features = f;
    }
    f->users++;
    f->used = g->stats.steps;
    m->rows = f;
    pthread_mutex_lock(&g->lock);
    if (is_new)
        g->stats.feature_bytes += bytes_of(g, f);
    g->stats.media_computed += is_new;
    g->stats.media_reused += !is_new;
    pthread_mutex_unlock(&g->lock);
    return 0;
}

int nc_engine_features(nc_engine *g, job *j, nc_error *e)
{
    for (int i = 0; i < j->ask.picture_count; i++)
        NC_TRY(obtain(g, &j->media[i], e));
    evict(g);
    return 0;
}

void nc_engine_features_done(nc_engine *g, job *j)
{
    for (int i = 0; i < j->ask.picture_count; i++)
        if (j->media[i].rows) {
            j->media[i].rows->users--;
            j->media[i].rows = NULL;
        }
    evict(g);
}

void nc_engine_features_free(nc_engine *g)
{
    while (g->features) {
        features *f = g->features;
        g->features = f->next;
        free(f->data);
        free(f);
    }
}

static bool is_placeholder(const nc_model *m, int32_t id)
{
    return id >= 0 && (id == m->image_token_id || id == m->video_token_id);
}

int nc_engine_placeholders(const nc_model *m, const int32_t *ids, int count)
{
    int n = 0;
    for (int i = 0; m->family->tower && i < count; i++)
        n += is_placeholder(m, ids[i]);
    return n;
}

int nc_engine_stretch_media(const nc_engine *g, const job *j, int from, int count, nc_media *out, int *media_row)
{
    int before = nc_engine_placeholders(g->model, j->prompt, from), here = nc_engine_placeholders(g->model, j->prompt + from, count), n = 0;
    *media_row = 0;
    for (int i = 0; i < j->ask.picture_count && here; i++) {
        const job_media *m = &j->media[i];
        if (m->first + m->count <= before || m->first >= before + here)
            continue;
        if (n == 0)
            *media_row = before > m->first ? before - m->first : 0;
        out[n] = m->pictures->media;
        out[n].features = m->rows->data;
        out[n++].feature_rows = m->rows->rows;
    }
    return n;
}

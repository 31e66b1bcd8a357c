/* verify_generate.c - greedy text from a prompt, once with the paged cache, token by token, once recomputing the whole sequence at every step. */
#include <math.h>
#include <stdlib.h>

#include "cli/verify.h"
#include "infer/kv_pages.h"

struct run { nc_program *p; nc_batch *batch; nc_kv *cache; int slot, cross_slot, cross_rows; int pictures; nc_positions positions; nc_views views; };

static int build_cached(nc_verify *v, struct run *r, int capacity, nc_error *e)
{
    nc_model *m = v->f32->model;
    r->p = nc_program_new(&(nc_program_options){ .compute = NC_F32, .probes = true, .cache = nc_kv_cache(r->cache) });
    nc_build *b = nc_program_build(r->p);
    nc_build_capacity(b, "tokens", capacity);
    nc_build_capacity(b, "scored", 1);
    if (m->family->capacity && !m->family->encoder)
        m->family->capacity(m->self, b, r->pictures ? r->pictures : 1);
    nc_value *media = m->family->tower && !m->family->cross && r->pictures ? nc_model_tower(m, b) : NULL;
    nc_value *h = nc_gather_rows(b->g, nc_model_decoder(m, b, media), nc_in(b, "score.rows", NC_I32, "scored", 0));
    nc_head head;
    m->family->head(m->self, &head);
    nc_value *logits = nc_model_logits(b, &head, h);
    logits = head.scale != 1 ? nc_affine(b->g, logits, head.scale, 0) : logits;
    nc_probe(b, head.soft_cap > 0 ? nc_soft_cap(b->g, logits, head.soft_cap) : logits, "logits");
    NC_TRY(nc_program_finish(r->p, NULL, nc_pool_threads(v->pool), e));
    return nc_program_allocate(r->p, NULL, e);
}

static int step(nc_verify *v, struct run *r, const nc_seq *seq, float *logits, int *best, nc_error *e)
{
    NC_TRY(nc_model_prepare(v->f32->model, r->batch, seq, 1, e));
    NC_TRY(nc_program_run(r->p, r->batch, &(nc_run_options){ .pool = v->pool, .kernels = v->kernels }, e));
    nc_arena *a = nc_arena_new();
    int64_t n = 0;
    float *row = nc_verify_probe(a, r->p, "logits", &n);
    *best = 0;
    for (int64_t i = 0; i < n; i++) {
        logits[i] = row[i];
        if (row[i] > row[*best])
            *best = (int)i;
    }
    nc_arena_free(a);
    return 0;
}

static int regime(const nc_model *m, int length)
{
    return m->family->regime ? m->family->regime(m->self, length) : 0;
}

/* What a decoder attends to beside its text (an encoder's rows, a tower's) is made once; keys and values of it go into a slot of their own. */
static int fill_cross(nc_verify *v, struct run *r, const nc_seq *from, nc_error *e)
{
    nc_model *m = v->f32->model;
    nc_seq seq = { .slot = -1, .source = from->source, .source_count = from->source_count, .media = from->media, .media_count = from->media_count };
    seq.views = r->views.of ? &r->views : NULL;
    r->cross_rows = m->family->views ? r->views.pages * NC_KEY_BLOCK : nc_model_encoder_rows(m, from);
    if (!r->cross_rows)
        return 0;
    seq.cross_slot = r->cross_slot = nc_kv_open(r->cache, e);
    NC_TRY(r->cross_slot);
    NC_TRY(nc_kv_reserve(r->cache, r->cross_slot, r->cross_rows, e));
    NC_TRY(nc_model_prepare(m, r->batch, &seq, 1, e));
    nc_program_options o = { .compute = NC_F32, .cache = nc_kv_cache(r->cache) };
    nc_program_size(&o, &seq, 1);
    nc_program *p = nc_program_new(&o);
    nc_build *b = nc_program_build(p);
    nc_build_capacities(b, r->batch);
    m->family->cross(m, m->self, b, nc_model_reads(m, b, seq.media_count > 0));
    int status = nc_program_finish(p, NULL, nc_pool_threads(v->pool), e);
    if (status == 0)
        status = nc_program_allocate(p, NULL, e);
    if (status == 0)
        status = nc_program_run(p, r->batch, &(nc_run_options){ .pool = v->pool, .kernels = v->kernels }, e);
    nc_program_free(p);
    return status;
}

/* The prompt in one stretch (with its media), then one token a step through the same program. */
static int cached(nc_verify *v, struct run *r, const nc_seq *from, int steps, float *logits, int32_t *ids, nc_error *e)
{
    int vocabulary = v->f32->model->vocab_size, next = 0, count = from->count;
    int32_t *all = NC_NEW_ARRAY(v->arena, int32_t, count + steps);
    memcpy(all, from->ids, sizeof *all * (size_t)count);
    NC_TRY(nc_kv_reserve(r->cache, r->slot, count + steps, e));
    const nc_model *m = v->f32->model;
    if (m->family->positions)
        NC_TRY(m->family->positions(m, m->self, from->ids, count, from->media, from->media_count, &r->positions, e));
    nc_seq seq = { .ids = all, .count = count, .media = from->media, .media_count = from->media_count, .want_logits = true, .slot = r->slot };
    if (m->family->cross) {
        NC_TRY(fill_cross(v, r, from, e));
        seq.media = NULL;
        seq.media_count = 0;
    }
    for (int k = 0; k < steps; k++) {
        seq.cross_slot = r->cross_slot;
        seq.cross_rows = r->cross_rows;
        seq.views = r->views.of ? &r->views : NULL;
        NC_TRY(step(v, r, &seq, logits + (int64_t)k * vocabulary, &next, e));
        ids[k] = all[count + k] = next;
        if (k + 1 == steps)
            break;
        seq = (nc_seq){ .ids = all + count + k, .count = 1, .start = count + k, .want_logits = true, .slot = r->slot };
        seq.positions = r->positions.table ? &r->positions : NULL;
        if (regime(m, count + k) != regime(m, count + k + 1))      /* cached keys are void: from the start again */
            seq = (nc_seq){ .ids = all, .count = count + k + 1, .want_logits = true, .slot = r->slot };
        if (k == 0 && r->pictures) {            /* from here on no media: a program without the tower */
            nc_program_free(r->p);
            r->pictures = 0;
            NC_TRY(build_cached(v, r, 1, e));
        }
    }
    return 0;
}

struct text { int32_t *ids; float *logits; int steps; };

/* Greedy text without a cache: the whole sequence at every step. follow: its tokens are these, not our own. */
static int whole(nc_verify *v, const nc_seq *from, int pictures, const int32_t *follow, struct text *out, nc_error *e)
{
    int vocabulary = v->f32->model->vocab_size, count = from->count;
    int32_t *all = NC_NEW_ARRAY(v->arena, int32_t, count + out->steps);
    memcpy(all, from->ids, sizeof *all * (size_t)count);
    for (int k = 0; k < out->steps; k++) {
        nc_arena *a = nc_arena_new();
        nc_batch *batch = nc_batch_new();
        nc_program *p = NULL;
        nc_seq seq = *from;
        seq.prompt = count;
        seq.ids = all;
        seq.count = count + k;
        int status = nc_verify_build(v, v->f32, NC_F32, false, &seq, 1, pictures, &p, batch, e);
        int64_t n = 0;
        float *ours = status == 0 ? nc_verify_probe(a, p, "logits", &n) : NULL, *row = out->logits + (int64_t)k * vocabulary;
        if (ours)
            memcpy(row, ours + n - vocabulary, sizeof *row * (size_t)vocabulary);
        nc_program_free(p);
        nc_batch_free(batch);
        nc_arena_free(a);
        NC_TRY(status);
        out->ids[k] = 0;
        for (int i = 1; i < vocabulary; i++)
            out->ids[k] = row[i] > row[out->ids[k]] ? i : out->ids[k];
        all[count + k] = follow ? follow[k] : out->ids[k];
    }
    return 0;
}

/* Where the reference gives an uncached text of its own (rotations that depend on the length) ours is compared with that; else it must equal the cached one, bit for bit. */
static int check_whole(nc_verify *v, const nc_seq *from, int pictures, const struct text *cached_text, nc_error *e)
{
    const nc_stored *ids = nc_verify_tensor(v, "generate.uncached_ids"), *logits = nc_verify_tensor(v, "generate.uncached_logits");
    int steps = cached_text->steps, vocabulary = v->f32->model->vocab_size;
    struct text own = { NC_NEW_ARRAY(v->arena, int32_t, steps), NC_NEW_ARRAY(v->arena, float, (int64_t)steps * vocabulary), steps };
    double differing = 0;
    NC_TRY(whole(v, from, pictures, ids ? NULL : cached_text->ids, &own, e));
    if (ids)
        nc_verify_ids(v, ids->name, ids, own.ids, steps);
    if (logits)
        nc_verify_compare(v, logits->name, logits, own.logits, (int64_t)steps * vocabulary, 2e-5, NULL, 1);
    for (int k = 0; k < steps; k++)
        differing += memcmp(own.logits + (int64_t)k * vocabulary, cached_text->logits + (int64_t)k * vocabulary, sizeof *own.logits * (size_t)vocabulary) != 0;
    if (!ids || regime(v->f32->model, from->count) != regime(v->f32->model, from->count + steps))
        nc_verify_add(v, "generate.cached equals whole", differing, differing, 0, "steps whose logits differ in any bit");
    return 0;
}

/* steps greedy tokens and their logits from one prompt with a fresh cache. */
static int greedy(nc_verify *v, const nc_seq *from, int pictures, int steps, float *logits, int32_t *ids, nc_error *e)
{
    struct run r = { .batch = nc_batch_new(), .pictures = pictures };
    nc_model *m = v->f32->model;
    nc_cache_need need;
    m->family->cache(m->self, &need);
    nc_kv_shape shape = { need, false };
    int64_t pages = nc_kv_pages_for(from->count + steps) + (m->family->encoder ? nc_kv_pages_for(nc_model_encoder_rows(m, from)) : 0);
    int status = m->family->views ? m->family->views(m, m->self, from->ids, from->count, from->media, from->media_count, &r.views, e) : 0;
    if (status == 0)
        status = nc_kv_new(&shape, pages + r.views.pages, 2, &r.cache, e);
    if (status == 0)
        status = r.slot = nc_kv_open(r.cache, e);
    if (status >= 0)
        status = build_cached(v, &r, m->family->regime ? from->count + steps : from->count, e);
    if (status == 0)
        status = cached(v, &r, from, steps, logits, ids, e);
    free(r.positions.table);
    nc_views_free(&r.views);
    nc_program_free(r.p);
    nc_kv_free(r.cache);
    nc_batch_free(r.batch);
    return status;
}

int nc_verify_generate_from(nc_verify *v, const nc_seq *from, nc_error *e)
{
    nc_model *m = v->f32->model;
    const nc_stored *want = nc_verify_tensor(v, "generate.new_ids"), *want_logits = nc_verify_tensor(v, "generate.cached_logits");
    int steps = (int)nc_shape_count(&want->shape), pictures = 0;
    float *logits = NC_NEW_ARRAY(v->arena, float, (int64_t)steps * m->vocab_size);
    int32_t *ids = NC_NEW_ARRAY(v->arena, int32_t, steps);
    for (int i = 0; i < from->media_count; i++)
        pictures += (int)nc_media_units(&from->media[i]);
    NC_TRY(greedy(v, from, pictures, steps, logits, ids, e));
    nc_verify_ids(v, "generate.new_ids", want, ids, steps);
    if (want_logits)
        nc_verify_compare(v, "generate.cached_logits", want_logits, logits, (int64_t)steps * m->vocab_size, 2e-5, NULL, 1);
    return check_whole(v, from, pictures, &(struct text){ ids, logits, steps }, e);
}

int nc_verify_generate(nc_verify *v, const int32_t *prompt, int count, const nc_media *media, int media_count, nc_error *e)
{
    return nc_verify_generate_from(v, &(nc_seq){ .ids = prompt, .count = count, .slot = -1, .media = media, .media_count = media_count }, e);
}

int nc_verify_greedy(nc_verify *v, const nc_seq *from, int steps, int32_t *ids, nc_error *e)
{
    float *logits = NC_NEW_ARRAY(v->arena, float, (int64_t)steps * v->f32->model->vocab_size);
    int pictures = 0;
    for (int i = 0; i < from->media_count; i++)
        pictures += (int)nc_media_units(&from->media[i]);
    return greedy(v, from, pictures, steps, logits, ids, e);
}

/* Sequences padded on the left and generated together by the reference: here each alone. */
int nc_verify_generate_batch(nc_verify *v, nc_error *e)
{
    const nc_stored *in = nc_verify_tensor(v, "batch.input_ids"), *mask = nc_verify_tensor(v, "batch.attention_mask"), *want = nc_verify_tensor(v, "batch.new_ids");
    if (!in || !mask || !want)
        return 0;
    int rows = (int)in->shape.dim[0], width = (int)in->shape.dim[1], steps = (int)want->shape.dim[1];
    int32_t *ids = nc_verify_ints(v->arena, in), *out = NC_NEW_ARRAY(v->arena, int32_t, rows * steps);
    for (int i = 0; i < rows; i++) {
        int first = 0;
        while (first < width && nc_dtype_load(mask->dtype, mask->data, i * width + first) == 0)
            first++;
        NC_TRY(nc_verify_greedy(v, &(nc_seq){ .ids = ids + i * width + first, .count = width - first, .slot = -1 }, steps, out + i * steps, e));
    }
    nc_verify_ids(v, "batch.new_ids", want, out, rows * steps);
    return 0;
}

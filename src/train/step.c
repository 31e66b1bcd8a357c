/* step.c - the programs of a stage and one optimizer step: micro-batches assembled, gradients added up, one update. What the loss is, train/objective.h says.
 *
 * Which samples a step sees follows from its number alone, so a resumed run sees what an undisturbed one does.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "load/visual_media.h"
#include "train/objective.h"
#include "train/run.h"

/* ---- order and sizes ---- */

static void take_epoch(nc_train_run *r, int64_t k)
{
    if (r->epoch_index == k && r->epoch.order)
        return;
    nc_epoch_make(&r->pack, k, r->sizes, r->train->count, &r->epoch);
    r->epoch_index = k;
}

static int scored_in(const nc_train_run *r, const nc_examples *x, int64_t index, uint64_t epoch)
{
    return r->s->objective->draw ? r->s->objective->draw(r, x, index, epoch, NULL, NULL) : x->item[index].scored;
}

static void measure(nc_train_run *r, const nc_examples *x, const nc_epoch *p, uint64_t epoch)
{
    for (int b = 0; b < p->batches; b++) {
        int64_t tokens = 0, scored = 0, pictures = 0, source = 0, samples = p->begin[b + 1] - p->begin[b];
        for (int i = p->begin[b]; i < p->begin[b + 1]; i++) {
            const nc_example *one = &x->item[p->order[i]];
            tokens += one->count;
            scored += scored_in(r, x, p->order[i], epoch);
            source += one->source_count;
            pictures += r->s->objective->one_frame ? 1 : one->pictures;
        }
        r->most_tokens = tokens > r->most_tokens ? tokens : r->most_tokens;
        r->most_scored = scored > r->most_scored ? scored : r->most_scored;
        r->most_pictures = pictures > r->most_pictures ? pictures : r->most_pictures;
        r->most_source = source > r->most_source ? source : r->most_source;
        r->most_samples = samples > r->most_samples ? samples : r->most_samples;
    }
}

static int *sizes_of(const nc_examples *x)
{
    int *sizes = nc_xcalloc((size_t)x->count + 1, sizeof *sizes);
    for (int i = 0; i < x->count; i++)
        sizes[i] = x->item[i].count;
    return sizes;
}

static nc_pack_options judge_pack(const nc_train_run *r)
{
    nc_pack_options p = r->pack;
    p.shuffle = false;
    p.batch = r->pack.exact ? r->pack.batch : (int)r->s->per_device_eval_batch_size;
    return p;
}

static int64_t longest(const nc_train_run *r)
{
    return r->eval && r->eval->longest > r->train->longest ? r->eval->longest : r->train->longest;
}

int nc_train_schedule(nc_train_run *r, nc_error *e)
{
    const nc_recipe_stage *s = r->s;
    int64_t cutoff = s->cutoff_len > longest(r) ? s->cutoff_len : longest(r);
    bool pairs = s->objective->exact;
    r->sizes = sizes_of(r->train);
    r->pack = (nc_pack_options){ .batch = (int)s->per_device_train_batch_size, .tokens = s->packing && !pairs ? cutoff * s->per_device_train_batch_size : 0, .exact = pairs,
                                 .shuffle = true, .seed = (uint64_t)s->data_seed };
    r->epochs = s->max_steps > 0 ? 0 : (int64_t)ceil(s->num_train_epochs);
    int64_t capacity = 16, steps = 0;
    r->epoch_steps = nc_xcalloc((size_t)capacity, sizeof *r->epoch_steps);
    for (int64_t k = 0; s->max_steps > 0 ? steps < s->max_steps : k < r->epochs; k++) {
        take_epoch(r, k);
        if (r->epoch.batches == 0)
            return nc_fail(e, NC_EINVAL, "%d samples do not make one batch of %lld", r->train->count, (long long)s->per_device_train_batch_size);
        measure(r, r->train, &r->epoch, (uint64_t)k);
        int64_t more = (r->epoch.batches + s->gradient_accumulation_steps - 1) / s->gradient_accumulation_steps;
        if (s->max_steps <= 0 && k == r->epochs - 1 && s->num_train_epochs < (double)r->epochs)
            more = (int64_t)ceil(((s->num_train_epochs) - (double)k) * (double)more);
        steps += more;
        if (k + 2 > capacity) {
            capacity *= 2;
            r->epoch_steps = nc_xrealloc(r->epoch_steps, sizeof *r->epoch_steps * (size_t)capacity);
        }
        r->epoch_steps[k + 1] = steps;
        if (s->max_steps > 0)
            r->epochs = k + 1;
    }
    r->total_steps = s->max_steps > 0 ? s->max_steps : steps;
    if (r->total_steps < 1)
        return nc_fail(e, NC_EINVAL, "num_train_epochs and max_steps leave nothing to do");
    if (r->eval) {
        nc_pack_options p = judge_pack(r);
        int *sizes = sizes_of(r->eval);
        nc_epoch x = { 0 };
        nc_epoch_make(&p, 0, sizes, r->eval->count, &x);
        measure(r, r->eval, &x, 0);
        nc_epoch_free(&x);
        free(sizes);
    }
    return 0;
}

/* ---- programs ---- */

static int make_program(nc_train_run *r, bool training, nc_program **out, nc_value **loss, nc_error *e)
{
    nc_program_options o = { .compute = r->weights.compute, .training = training, .recompute = r->s->gradient_checkpointing, .given_rows = nc_frozen_wanted(r) };
    if (r->l->model->family->one_size && nc_media_store_count(r->store)) {
        o.picture_height = nc_media_store_shape(r->store, 0)->height;
        o.picture_width = nc_media_store_shape(r->store, 0)->width;
    }
    if (r->s->objective->program)
        NC_TRY(r->s->objective->program(r, &o, e));
    *out = nc_program_new(&o);
    nc_build *b = nc_program_build(*out);
    *loss = r->s->objective->loss(r, b);
    if (o.given_rows && !b->took_rows) {             /* a tower that computes its rows where they are needed */
        nc_program_free(*out);
        o.given_rows = false;
        *out = nc_program_new(&o);
        *loss = r->s->objective->loss(r, nc_program_build(*out));
    } else if (o.given_rows && !r->frozen) {
        NC_TRY(nc_frozen_new(r, e));
    }
    return nc_program_finish(*out, *loss, nc_pool_threads(r->pool), e);
}

/* A site that no node reads (a tower's blocks behind the chosen layer) is not trained: its weight would only decay. */
static bool is_read(nc_graph *g, const nc_site *s)
{
    for (int i = 0; i < nc_graph_nodes(g); i++) {
        const nc_node *n = nc_graph_node(g, i);
        for (int k = 0; k < n->inputs; k++)
            if (n->in[k] && n->in[k]->kind == NC_VALUE_STATE && n->in[k]->data == s->value.data && n->in[k]->packed == s->packed && n->in[k]->wants_grad)
                return true;
    }
    return false;
}

static void collect(nc_train_run *r)
{
    nc_model *m = r->l->model;
    nc_graph *g = nc_program_graph(r->program);
    int pairs = r->lora ? r->lora->count : 0;
    r->trained = nc_xcalloc((size_t)m->site_count + 2 * (size_t)pairs + 1, sizeof *r->trained);
    for (int i = 0; i < m->site_count; i++)
        if (m->sites[i]->trainable && is_read(g, m->sites[i]))
            r->trained[r->trained_count++] = m->sites[i];
    for (int i = 0; i < pairs; i++) {
        r->trained[r->trained_count++] = &r->lora->pair[i]->a;
        r->trained[r->trained_count++] = &r->lora->pair[i]->b;
    }
}

/* transformers decays neither biases nor norms. */
static bool decays(const nc_site *s)
{
    return s->shape.rank >= 2 && !nc_ends_with(s->name, ".bias");
}

static int make_optimizer(nc_train_run *r, nc_error *e)
{
    nc_optim_options o = nc_optim_defaults();
    o.beta1 = r->s->adam_beta1;
    o.beta2 = r->s->adam_beta2;
    o.eps = r->s->adam_epsilon;
    o.weight_decay = r->s->weight_decay;
    nc_optim_param *p = nc_xcalloc((size_t)r->trained_count + 1, sizeof *p);
    for (int i = 0; i < r->trained_count; i++) {
        nc_site *s = r->trained[i];
        p[i] = (nc_optim_param){ .name = s->name, .count = nc_site_count(s), .value = s->master, .grad = s->grad,
                                 .half = s->value.dtype == NC_BF16 ? s->value.data : NULL, .lr_scale = 1, .weight_decay = decays(s) ? -1 : 0, .packed = s->packed, .squares = &s->squares };
    }
    int status = nc_optim_new(r->s->optim, &o, p, r->trained_count, &r->optim, e);
    free(p);
    return status;
}

static int64_t warmup_steps(const nc_train_run *r)
{
    return r->s->warmup_steps > 0 ? r->s->warmup_steps : (int64_t)ceil(r->s->warmup_ratio * (double)r->total_steps);
}

static int make_rates(nc_train_run *r, nc_error *e)
{
    nc_schedule *c = &r->schedule;
    *c = nc_schedule_defaults();
    c->name = r->s->lr_scheduler_type;
    c->warmup_steps = warmup_steps(r);
    c->total_steps = r->total_steps;
    NC_JSON_EACH(v, r->s->lr_scheduler_kwargs) {
        static const char *const names[] = { "num_cycles", "power", "lr_end", "min_lr", "min_lr_rate", "min_lr_ratio", "warmup_lr_rate" };
        double *const to[] = { &c->num_cycles, &c->power, &c->lr_end, &c->min_lr, &c->min_lr_rate, &c->min_lr_ratio, &c->warmup_lr_rate };
        int i = 0;
        while (i < NC_COUNT(names) && strcmp(names[i], v->key.p))
            i++;
        if (i < NC_COUNT(names))
            *to[i] = nc_json_double(v, *to[i]);
        else if (!strcmp(v->key.p, "num_decay_steps"))
            c->decay_steps = nc_json_int(v, 0);
        else if (!strcmp(v->key.p, "num_stable_steps"))
            c->stable_steps = nc_json_int(v, -1);
        else
            return nc_fail(e, NC_EINVAL, "lr_scheduler_kwargs: unknown key \"%s\"", v->key.p);
    }
    return nc_schedule_check(c, e);
}

static void stage_buffers(nc_train_run *r)
{
    size_t frame = 0;
    int64_t media = 0;
    for (int i = 0; i < nc_media_store_count(r->store); i++) {
        const nc_visual *v = nc_media_store_shape(r->store, i);
        size_t n = nc_visual_unit(v);
        frame = n > frame ? n : frame;
    }
    for (int k = 0; k < 2; k++) {
        const nc_examples *x = k ? r->eval : r->train;
        for (int i = 0; x && i < x->count; i++)
            media = x->item[i].media_count > media ? x->item[i].media_count : media;
    }
    r->pixels = nc_xcalloc((size_t)r->most_pictures * frame + 16, sizeof *r->pixels);
    r->seqs = nc_xcalloc((size_t)r->most_samples + 1, sizeof *r->seqs);
    r->media = nc_xcalloc((size_t)(r->most_samples * media) + 1, sizeof *r->media);
    r->frames = nc_xcalloc((size_t)r->most_pictures + 1, sizeof *r->frames);
    if (r->augment)
        r->jobs = nc_xcalloc((size_t)(r->most_samples * media) + 1, sizeof *r->jobs);
    if (r->s->objective->draw)
        r->drawn = nc_xcalloc(2 * (size_t)r->most_tokens + 1, sizeof *r->drawn);
    r->batch = nc_batch_new();
}

int nc_train_programs(nc_train_run *r, nc_error *e)
{
    NC_TRY(make_program(r, true, &r->program, &r->loss, e));
    collect(r);
    if (r->trained_count == 0)
        return nc_fail(e, NC_EINVAL, "no weight is left to train: the parts that are not frozen take no part in the loss");
    double bytes;
    nc_plan_cost(nc_program_plan(r->program), NULL, &r->flops, &bytes);
    if (r->eval)
        NC_TRY(make_program(r, false, &r->judge, &r->judge_loss, e));
    stage_buffers(r);
    NC_TRY(make_optimizer(r, e));
    return make_rates(r, e);
}

/* ---- one micro-batch ---- */

/* Pictures of a micro-batch that are augmented, on the pool. */
static void augment_one(void *context, int64_t part, int64_t parts, int worker)
{
    const nc_train_run *r = context;
    struct nc_augment_job *j = &r->jobs[part];
    (void)parts;
    (void)worker;
    nc_media_store_augmented(r->store, j->medium, j->first, j->count, r->augment, (uint64_t)r->s->seed, j->draw, j->out, &j->error);
}

static int augment(nc_train_run *r, int jobs, nc_error *e)
{
    nc_pool_run(r->pool, jobs, augment_one, r);
    for (int i = 0; i < jobs; i++)
        if (r->jobs[i].error.code) {
            if (e)
                *e = r->jobs[i].error;
            return r->jobs[i].error.code;
        }
    return 0;
}

/* draw: of the sample; where `jobs` is not NULL, pixels are left to augment(). */
static int add_media(nc_train_run *r, const nc_example *x, const uint64_t draw[2], nc_media *media, int *frames, int *jobs, float **pixels, nc_error *e)
{
    bool one_frame = r->s->objective->one_frame;
    int pictures = 0;
    for (int k = 0; k < x->media_count; k++)
        pictures += !nc_media_store_shape(r->store, x->media[k])->is_video;
    for (int k = 0; k < x->media_count; k++) {
        const nc_visual *v = nc_media_store_shape(r->store, x->media[k]);
        size_t one = (size_t)v->channels * (size_t)v->height * (size_t)v->width;
        int first = 0, count = v->frames;
        if (one_frame) {                                  /* one frame of a video, another in each epoch */
            nc_rng rng = nc_rng_new((uint64_t)r->s->seed, nc_rng_stream(0x6672616d65, draw[0], draw[1], 0));
            first = (int)nc_rng_below(&rng, (uint64_t)v->frames);
            count = 1;
        }
        if (jobs)
            r->jobs[(*jobs)++] = (struct nc_augment_job){ x->media[k], first, count, nc_rng_stream(0x6175676d656e74, draw[0], draw[1], (uint64_t)k), *pixels, { 0 } };
        else if (!r->frozen)
            NC_TRY(nc_media_store_pixels(r->store, x->media[k], first, count, *pixels, e));
        media[k] = nc_media_of(v);
        media[k].pictures = pictures;
        media[k].kind = one_frame ? NC_MEDIA_IMAGE : media[k].kind;
        media[k].frames = r->frames + *frames;
        media[k].count = count;
        for (int f = 0; f < count; f++, *pixels += r->frozen ? 0 : one) {
            nc_pixels *p = &r->frames[(*frames)++];
            *p = nc_pixels_of(v, *pixels, 0);
            p->rows = r->frozen ? nc_frozen_rows(r->frozen, x->media[k], f) : NULL;
            p->rows_dtype = r->weights.compute;
        }
    }
    return 0;
}

/* training: its pictures are augmented. */
static int assemble(nc_train_run *r, const nc_examples *x, const int64_t *order, int count, float weight, uint64_t epoch, bool training, nc_error *e)
{
    float *pixels = r->pixels;
    int frames = 0, media = 0, jobs = 0;
    int32_t *drawn = r->drawn;
    if (r->frozen)
        NC_TRY(nc_frozen_see(r, x, order, count, e));
    for (int i = 0; i < count; i++) {
        const nc_example *one = &x->item[order[i]];
        NC_TRY(add_media(r, one, (uint64_t[2]){ epoch, (uint64_t)order[i] }, r->media + media, &frames, training && r->augment ? &jobs : NULL, &pixels, e));
        r->seqs[i] = (nc_seq){ .ids = one->ids, .count = one->count, .slot = -1, .targets = one->targets, .weight = weight, .media = r->media + media, .media_count = one->media_count,
                                .source = one->source, .source_count = one->source_count, .types = one->types };
        if (drawn) {
            r->s->objective->draw(r, x, order[i], epoch, drawn, drawn + one->count);
            r->seqs[i].ids = drawn;
            r->seqs[i].targets = drawn + one->count;
            drawn += 2 * one->count;
        }
        media += one->media_count;
        r->tokens += one->count;
    }
    if (jobs)
        NC_TRY(augment(r, jobs, e));
    NC_TRY(nc_model_prepare(r->l->model, r->batch, r->seqs, count, e));
    return r->s->objective->tables ? r->s->objective->tables(r, x, order, count, weight, e) : 0;
}

/* first: of an optimizer step, where gradients begin. */
static int run_batch(nc_train_run *r, nc_program *p, const nc_value *loss, uint64_t step, bool training, bool first, double *out, nc_error *e)
{
    nc_run_options o = { .pool = r->pool, .kernels = r->kernels, .seed = (uint64_t)r->s->seed, .step = step, .training = training, .fresh_gradients = first };
    NC_TRY(nc_program_run(p, r->batch, &o, e));
    *out = nc_dtype_load(loss->dtype, loss->data, 0);
    return 0;
}

static int64_t scored_of(const nc_train_run *r, const nc_examples *x, const int64_t *order, int count, uint64_t epoch)
{
    int64_t n = 0;
    for (int i = 0; i < count; i++)
        n += scored_in(r, x, order[i], epoch);
    return n;
}

int nc_train_step(nc_train_run *r, double *loss, double *norm, double *rate, nc_error *e)
{
    int64_t k = 0, accumulate = r->s->gradient_accumulation_steps;
    while (k + 1 < r->epochs && r->step >= r->epoch_steps[k + 1])
        k++;
    take_epoch(r, k);
    int first = (int)((r->step - r->epoch_steps[k]) * accumulate), last = first + (int)accumulate < r->epoch.batches ? first + (int)accumulate : r->epoch.batches;
    const int64_t *order = r->epoch.order;
    int64_t targets = scored_of(r, r->train, order + r->epoch.begin[first], r->epoch.begin[last] - r->epoch.begin[first], (uint64_t)k);
    *loss = 0;
    for (int b = first; b < last; b++) {
        double part = 0;
        int begin = r->epoch.begin[b], count = r->epoch.begin[b + 1] - begin;
        NC_TRY(assemble(r, r->train, order + begin, count, targets ? 1.0f / (float)targets : 0, (uint64_t)k, true, e));
        NC_TRY(run_batch(r, r->program, r->loss, (uint64_t)(r->step * accumulate + b - first), true, b == first, &part, e));
        *loss += part;
        r->samples += count;
    }
    *norm = nc_optim_norm(r->optim, r->pool, r->kernels);
    *rate = nc_schedule_rate(&r->schedule, r->s->learning_rate, r->step);
    if (!isfinite(*norm) || !isfinite(*loss))
        return nc_fail(e, NC_EINVAL, "step %lld: the loss is %g and its gradient's norm %g; a smaller learning_rate or a longer warm-up may help", (long long)r->step + 1, *loss, *norm);
    nc_optim_step(r->optim, r->pool, r->kernels, *rate, nc_clip_scale(*norm, r->s->max_grad_norm));
    r->step++;
    return 0;
}

int nc_train_evaluate(nc_train_run *r, double *loss, nc_error *e)
{
    nc_pack_options p = judge_pack(r);
    int *sizes = sizes_of(r->eval);
    nc_epoch x = { 0 };
    int64_t kept = r->tokens;
    int status = 0;
    nc_epoch_make(&p, 0, sizes, r->eval->count, &x);
    int64_t targets = scored_of(r, r->eval, x.order, x.batches ? x.begin[x.batches] : 0, 0);
    double sum = 0, part = 0;
    if (r->scores)
        nc_label_scores_clear(r->scores);
    for (int b = 0; b < x.batches && status == 0; b++) {
        status = assemble(r, r->eval, x.order + x.begin[b], x.begin[b + 1] - x.begin[b], targets ? 1.0f / (float)targets : 0, 0, false, e);
        if (status == 0)
            status = run_batch(r, r->judge, r->judge_loss, 0, false, false, &part, e);
        if (status == 0 && r->scores)
            r->s->objective->judge(r, r->eval, x.order + x.begin[b], x.begin[b + 1] - x.begin[b]);
        sum += part;
    }
    *loss = r->s->objective->exact && x.batches ? sum / x.batches : sum;
    r->tokens = kept;
    nc_epoch_free(&x);
    free(sizes);
    return status;
}

/* picture_plans.c - see picture_plans.h. */
#include "infer/picture_plans.h"

#include <stdlib.h>

enum { MOST_PLANS = 8 };
struct plan { nc_program *program; int height, width, count; uint64_t used; };

struct nc_picture_plans {
    nc_loaded *loaded;
    nc_dtype compute;
    nc_pool *pool;
    const nc_kernels *kernels;
    nc_batch *batch;
    struct plan plan[MOST_PLANS], *last;
    uint64_t clock;
};

nc_picture_plans *nc_picture_plans_new(nc_loaded *l, nc_dtype compute, nc_pool *pool, const nc_kernels *kernels)
{
    nc_picture_plans *p = nc_xcalloc(1, sizeof *p);
    *p = (nc_picture_plans){ .loaded = l, .compute = compute, .pool = pool, .kernels = kernels, .batch = nc_batch_new() };
    return p;
}

void nc_picture_plans_free(nc_picture_plans *p)
{
    if (!p)
        return;
    for (int i = 0; i < MOST_PLANS; i++)
        nc_program_free(p->plan[i].program);
    nc_batch_free(p->batch);
    free(p);
}

static int build(nc_picture_plans *p, struct plan *plan, nc_error *e)
{
    const nc_model *m = p->loaded->model;
    nc_encoded x = { 0 };
    plan->program = nc_program_new(&(nc_program_options){ .compute = p->compute, .any_size = true, .picture_height = plan->height, .picture_width = plan->width });
    nc_build *b = nc_program_build(plan->program);
    nc_build_capacities(b, p->batch);
    m->family->encode(m, m->self, b, NC_PICTURES, &x);
    const struct { nc_value *value; const char *name; } kept[] = { { x.rows, "rows" }, { x.pooled, "pooled" }, { x.logits, "logits" } };
    for (int i = 0; i < NC_COUNT(kept); i++)
        if (kept[i].value)
            nc_build_keep(b, kept[i].value, kept[i].name);
    int status = nc_program_finish(plan->program, NULL, nc_pool_threads(p->pool), e);
    if (status == 0)
        status = nc_program_allocate(plan->program, NULL, e);
    if (status < 0) {
        nc_program_free(plan->program);
        *plan = (struct plan){ 0 };
    }
    return status;
}

/* The plan for these sizes: one that is there, a free place, or the one longest unused. */
static struct plan *place_for(nc_picture_plans *p, int height, int width, int count)
{
    struct plan *oldest = &p->plan[0];
    for (int i = 0; i < MOST_PLANS; i++) {
        struct plan *q = &p->plan[i];
        if (q->program && q->height == height && q->width == width && q->count == count)
            return q;
        oldest = q->used < oldest->used ? q : oldest;
    }
    nc_program_free(oldest->program);
    *oldest = (struct plan){ .height = height, .width = width, .count = count };
    return oldest;
}

int nc_picture_plans_run(nc_picture_plans *p, const nc_pixels *pictures, int count, nc_error *e)
{
    const nc_model *m = p->loaded->model;
    nc_media *media = nc_xcalloc((size_t)count + 1, sizeof *media);
    nc_seq *seq = nc_xcalloc((size_t)count + 1, sizeof *seq);
    int height = 0, width = 0;
    for (int i = 0; i < count; i++) {
        media[i] = (nc_media){ .kind = NC_MEDIA_IMAGE, .frames = (nc_pixels *)(uintptr_t)&pictures[i], .count = 1 };
        seq[i] = (nc_seq){ .slot = -1, .media = &media[i], .media_count = 1 };
        height = pictures[i].height > height ? pictures[i].height : height;
        width = pictures[i].width > width ? pictures[i].width : width;
    }
    int status = m->family->encode && !m->family->reads_text ? nc_model_prepare(m, p->batch, seq, count, e)
                                                            : nc_fail(e, NC_EUNSUPPORTED, "%s: a %s is no encoder of pictures", p->loaded->folder, m->family->name);
    p->last = NULL;
    if (status == 0) {
        struct plan *plan = place_for(p, height, width, count);
        if (!plan->program)
            status = build(p, plan, e);
        if (status == 0)
            status = nc_program_run(plan->program, p->batch, &(nc_run_options){ .pool = p->pool, .kernels = p->kernels }, e);
        plan->used = ++p->clock;
        p->last = status == 0 ? plan : NULL;
    }
    free(seq);
    free(media);
    return status;
}

const float *nc_picture_plans_floats(const nc_picture_plans *p, nc_arena *a, const char *output, nc_shape *shape)
{
    const nc_value *v = p->last ? nc_program_value(p->last->program, output) : NULL;
    if (!v || !v->data)
        return NULL;
    const int64_t n = nc_shape_count(&v->shape);         /* capacities are this batch's own numbers */
    float *out = NC_NEW_ARRAY(a, float, n + 1);
    for (int64_t i = 0; i < n; i++)
        out[i] = (float)nc_dtype_load(v->dtype, v->data, i);
    *shape = v->shape;
    return out;
}

/* frozen.c - a frozen tower sees a picture once: its rows are kept by medium and given to the step's program in place of the pixels.
 *
 * They are the rows that the step would have computed, to the bit, since a picture's rows depend on the picture and the weights alone. What does not fit into
 * media_memory_gb is seen again at each use.
 */
#include <stdlib.h>
#include <string.h>

#include "load/visual_media.h"
#include "train/run.h"

struct nc_frozen {
    nc_program *tower;
    size_t limit, held, all;         /* bytes that may be kept, are kept, and every medium's together */
    size_t frame;                    /* bytes of one frame's rows */
    void **rows;                     /* by medium; NULL: not seen yet */
    int *passing, passing_count;     /* media whose rows only this micro-batch keeps */
};

bool nc_frozen_wanted(const nc_train_run *r)
{
    return !r->augment && !r->s->objective->one_frame && r->l->model->family->tower && r->s->freeze_vision_tower && !r->s->adapter_name_or_path && r->most_pictures > 0 && r->epochs > 1;
}

int nc_frozen_new(nc_train_run *r, nc_error *e)
{
    nc_model *m = r->l->model;
    nc_frozen *f = r->frozen = nc_xcalloc(1, sizeof *f);
    const int media = nc_media_store_count(r->store);
    const size_t most = (size_t)(r->s->media_memory_gb * 1e9), pixels = nc_media_store_bytes(r->store);
    f->limit = most > pixels ? most - pixels : 0;
    f->rows = nc_xcalloc((size_t)media + 1, sizeof *f->rows);
    f->passing = nc_xcalloc((size_t)r->most_pictures + 1, sizeof *f->passing);
    f->tower = nc_program_new(&(nc_program_options){ .compute = r->weights.compute, .keep_rows = true, .frozen = true });
    nc_build *b = nc_program_build(f->tower);
    nc_build_capacity(b, "tokens", 1);
    nc_build_capacity(b, "scored", 1);
    m->family->capacity(m->self, b, r->most_pictures);
    nc_model_tower(m, b);
    NC_TRY(nc_program_finish(f->tower, NULL, nc_pool_threads(r->pool), e));
    const nc_value *x = nc_program_value(f->tower, "vision.given");
    f->frame = nc_dtype_bytes(x->dtype, x->shape.dim[0] / r->most_pictures * x->shape.dim[1]);
    for (int i = 0; i < media; i++)
        f->all += (size_t)nc_media_store_shape(r->store, i)->frames * f->frame;
    return 0;
}

void nc_frozen_free(nc_frozen *f, int media)
{
    if (!f)
        return;
    for (int i = 0; i < media; i++)
        free(f->rows[i]);
    free(f->rows);
    free(f->passing);
    nc_program_free(f->tower);
    free(f);
}

nc_program *nc_frozen_program(const nc_frozen *f) { return f->tower; }
size_t nc_frozen_kept(const nc_frozen *f) { return f->all < f->limit ? f->all : f->limit; }
size_t nc_frozen_staging(const nc_frozen *f, int64_t pictures) { return f->frame * (size_t)pictures * (f->all < f->limit ? 1 : 2); }

const void *nc_frozen_rows(const nc_frozen *f, int medium, int frame) { return (const char *)f->rows[medium] + f->frame * (size_t)frame; }

static void forget_passing(nc_frozen *f)
{
    for (int i = 0; i < f->passing_count; i++) {
        free(f->rows[f->passing[i]]);
        f->rows[f->passing[i]] = NULL;
    }
    f->passing_count = 0;
}

/* Room for a medium's rows; over the limit they go with the micro-batch. */
static void make_room(nc_frozen *f, int medium, int frames)
{
    const size_t bytes = f->frame * (size_t)frames;
    f->rows[medium] = nc_xmalloc(bytes + 64);
    if (f->held + bytes <= f->limit)
        f->held += bytes;
    else
        f->passing[f->passing_count++] = medium;
}

int nc_frozen_see(nc_train_run *r, const nc_examples *x, const int64_t *order, int count, nc_error *e)
{
    nc_frozen *f = r->frozen;
    float *pixels = r->pixels;
    int frames = 0, media = 0;
    char **to = nc_xcalloc((size_t)r->most_pictures + 1, sizeof *to);
    int status = 0;
    forget_passing(f);
    for (int i = 0; i < count && status == 0; i++)
        for (int k = 0; k < x->item[order[i]].media_count && status == 0; k++) {
            const int medium = x->item[order[i]].media[k];
            const nc_visual *v = nc_media_store_shape(r->store, medium);
            if (f->rows[medium])
                continue;
            make_room(f, medium, v->frames);
            status = nc_media_store_pixels(r->store, medium, 0, v->frames, pixels, e);
            r->media[media] = nc_media_of(v);
            r->media[media++].frames = r->frames + frames;
            for (int j = 0; j < v->frames; j++, pixels += nc_visual_unit(v)) {
                to[frames] = (char *)f->rows[medium] + f->frame * (size_t)j;
                r->frames[frames++] = nc_pixels_of(v, pixels, 0);
            }
        }
    nc_seq seq = { .slot = -1, .media = r->media, .media_count = media };
    if (status == 0 && media)
        status = nc_model_prepare(r->l->model, r->batch, &seq, 1, e);
    if (status == 0 && media)
        status = nc_program_run(f->tower, r->batch, &(nc_run_options){ .pool = r->pool, .kernels = r->kernels }, e);
    const char *made = status == 0 && media ? nc_program_value(f->tower, "vision.given")->data : NULL;
    for (int i = 0; made && i < frames; i++)
        memcpy(to[i], made + f->frame * (size_t)i, f->frame);
    free(to);
    return status;
}

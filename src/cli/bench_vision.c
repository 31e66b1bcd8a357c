/* bench_vision.c - a tower's forward over one batch of pictures.
 *
 * Operations: 2 (parameters of the products) rows, the patch convolution at patches only, + 4 width layers rows^2 of each picture's attention.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/rng.h"
#include "cli/bench_models.h"

typedef struct run { nc_bench *b; nc_program *p; nc_batch *batch; nc_vision_info info; } run;

static int build(run *r, nc_error *e)
{
    nc_bench *b = r->b;
    nc_model *m = b->model;
    if (!m->family->vision)
        return nc_fail(e, NC_EUNSUPPORTED, "bench vision: a %s is no vision tower", m->family->name);
    m->family->vision_info(m->self, &r->info);
    r->p = nc_program_new(&(nc_program_options){ .compute = b->weights.compute });
    nc_build *x = nc_program_build(r->p);
    nc_capacity_pictures(x, &r->info, b->o.batch);
    nc_build_keep(x, m->family->vision(m, m->self, x, -1, "hidden"), "rows");
    NC_TRY(nc_program_finish(r->p, NULL, nc_pool_threads(b->pool), e));
    return nc_program_allocate(r->p, NULL, e);
}

static int pictures(run *r, nc_error *e)
{
    const nc_vision_info *v = &r->info;
    int64_t n = (int64_t)v->channels * v->image_size * v->image_size;
    float *pixels = NC_NEW_ARRAY(r->b->arena, float, n);
    nc_pixels *p = NC_NEW_ARRAY(r->b->arena, nc_pixels, r->b->o.batch);
    nc_rng rng = nc_rng_new(4, 0);
    for (int64_t i = 0; i < n; i++)
        pixels[i] = (float)(nc_rng_uniform(&rng) * 4 - 2);
    for (int i = 0; i < r->b->o.batch; i++)
        p[i] = (nc_pixels){ .data = pixels, v->channels, v->image_size, v->image_size };
    return nc_prepare_pictures(r->batch, v, p, r->b->o.batch, e);
}

static int forward(run *r, nc_error *e) { return nc_program_run(r->p, r->batch, &(nc_run_options){ .pool = r->b->pool, .kernels = r->b->kernels }, e); }

/* One more batch, by op. */
static int profile(run *r, nc_buf *table, nc_error *e)
{
    nc_plan_profile(nc_program_plan(r->p), true);
    NC_TRY(forward(r, e));
    nc_plan_profile_table(nc_program_plan(r->p), nc_bench_peak(r->b) / 1e9, r->b->limits.dram_read_gbps, table);
    return 0;
}

static void report(run *r, double seconds, nc_buf *table, nc_buf *json)
{
    const nc_bench *b = r->b;
    const nc_vision_info *v = &r->info;
    int side = v->image_size / v->patch_size;
    double patches = (double)side * side, rows = patches + v->class_rows, conv = (double)v->hidden_size * v->channels * v->patch_size * v->patch_size;
    double flops = 2 * (b->linear - conv) * rows + 2 * conv * patches + 4.0 * v->hidden_size * v->layers * rows * rows;
    double rate = b->o.batch / seconds, share = rate * flops / nc_bench_peak(b);
    nc_buf_printf(json, "{\"config\": \"%s\", \"dtype\": \"%s\", \"batch\": %d, \"threads\": %d, \"images_per_second\": %.4f, \"share\": %.4f}\n", b->o.config, nc_dtype_name(b->o.dtype), b->o.batch,
                  b->limits.threads, rate, share);
    nc_buf_printf(table, "tower    %9.3f images/s  %5.1f %% of %.0f GFLOP/s (%.0f GFLOP a picture)\n", rate, 100 * share, nc_bench_peak(b) / 1e9, flops / 1e9);
}

int nc_bench_vision(const nc_bench_options *o, nc_buf *table, nc_buf *json, nc_error *e)
{
    nc_bench b;
    int status = nc_bench_open(&b, o, false, e);
    run r = { .b = &b, .batch = nc_batch_new() };
    if (status == 0)
        status = build(&r, e);
    if (status == 0)
        status = pictures(&r, e);
    double *seconds = NC_NEW_ARRAY(b.arena, double, o->steps + 1);
    for (int i = 0; i <= o->steps && status == 0; i++) {           /* the first one touches memory */
        double begin = nc_now();
        status = forward(&r, e);
        seconds[i] = nc_now() - begin;
    }
    if (status == 0)
        report(&r, nc_bench_median(seconds + 1, o->steps), table, json);
    if (status == 0 && o->profile)
        status = profile(&r, table, e);
    nc_program_free(r.p);
    nc_batch_free(r.batch);
    nc_bench_close(&b);
    return status;
}

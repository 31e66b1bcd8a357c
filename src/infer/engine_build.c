/* engine_build.c - the programs of an engine: the decoder with its cache at a few capacities, the tower, and the memory they share.
 *
 * One program runs at a time and nothing of a run is kept beyond the reading of its logits, so all plans are bound to one block of the largest plan's size.
 */
#include <stdlib.h>
#include <string.h>

#include "infer/engine_internal.h"

nc_value *nc_engine_media_rows(const nc_engine *g, nc_build *b)
{
    return nc_in(b, "media.features", g->compute, "media", nc_model_media_width(g->model));
}

static int build_decoder(nc_engine *g, int capacity, nc_program **out, nc_error *e)
{
    nc_model *m = g->model;
    nc_program *p = *out = nc_program_new(&(nc_program_options){ .compute = g->compute, .cache = nc_kv_cache(g->kv) });
    nc_build *b = nc_program_build(p);
    nc_build_capacity(b, "tokens", capacity);
    nc_build_capacity(b, "scored", capacity < g->o.sequences ? capacity : g->o.sequences);
    nc_value *media = NULL;
    if (m->family->tower && !m->family->cross) {
        nc_build_capacity(b, "media", NC_ENGINE_MEDIA_ROWS);
        media = nc_engine_media_rows(g, b);
    }
    nc_value *h = nc_model_decoder(m, b, media);
    nc_value *rows = nc_gather_rows(b->g, h, nc_in(b, "score.rows", NC_I32, "scored", 0));
    nc_build_keep(b, nc_model_logits(b, &g->head, rows), "logits");
    return nc_program_finish(p, NULL, nc_pool_threads(g->pool), e);
}

static int build_tower(nc_engine *g, int64_t units, int height, int width, nc_error *e)
{
    nc_model *m = g->model;
    g->tower_units = units;
    g->tower_height = height;
    g->tower_width = width;
    g->tower = nc_program_new(&(nc_program_options){ .compute = g->compute, .picture_height = height, .picture_width = width });
    nc_build *b = nc_program_build(g->tower);
    m->family->capacity(m->self, b, units);
    nc_build_capacity(b, "tokens", 1);
    nc_build_capacity(b, "scored", 1);
    nc_build_keep(b, nc_model_tower(m, b), "features");
    return nc_program_finish(g->tower, NULL, nc_pool_threads(g->pool), e);
}

/* Rows of the cache: what was asked for, in whole pages; at least one sequence of max_length must fit, else max_length shrinks. */
static int build_cache(nc_engine *g, nc_error *e)
{
    nc_cache_need need = { 0 };
    g->model->family->cache(g->model->self, &need);
    nc_kv_shape shape = { need, g->compute == NC_BF16 };
    size_t page, limit = g->o.cache_bytes ? g->o.cache_bytes : (size_t)1 << 30;
    NC_TRY(nc_kv_page_bytes(&shape, &page, e));
    bool crosses = g->model->family->cross != NULL;
    int slots = (crosses ? 2 : 1) * g->o.sequences;
    int64_t wanted = (nc_kv_pages_for(g->max_length) + (crosses ? nc_engine_cross_pages(g) : 0)) * g->o.sequences, pages = page ? (int64_t)(limit / page) : wanted;
    pages = pages < wanted ? pages : wanted;
    if (pages < 1)
        return nc_fail(e, NC_ELIMIT, "the cache may take %zu bytes, one page of %d rows of this model takes %zu; allow more", limit, NC_KEY_BLOCK, page);
    if (pages * NC_KEY_BLOCK < g->max_length)
        g->max_length = (int)(pages * NC_KEY_BLOCK);
    g->stats.pages = pages;
    NC_TRY(nc_kv_bytes(&shape, pages, slots, &g->stats.cache_bytes, e));
    return nc_kv_new(&shape, pages, slots, &g->kv, e);
}

static void add_capacity(nc_engine *g, int capacity)
{
    if (g->programs && g->capacity[g->programs - 1] >= capacity)
        return;
    g->capacity[g->programs++] = capacity;
}

int nc_engine_build(nc_engine *g, nc_error *e)
{
    static const int small[] = { 1, 8, 64 };
    g->model->family->head(g->model->self, &g->head);
    NC_TRY(build_cache(g, e));
    for (int i = 0; i < NC_COUNT(small); i++)
        if (small[i] < g->o.step_tokens)
            add_capacity(g, small[i]);
    add_capacity(g, g->o.step_tokens);
    for (int i = 0; i < g->programs; i++) {
        NC_TRY(build_decoder(g, g->capacity[i], &g->program[i], e));
        if (nc_program_bytes(g->program[i]) > g->memory_bytes)
            g->memory_bytes = nc_program_bytes(g->program[i]);
    }
    int height = 0, width = 0;
    if (g->model->family->one_size && g->loaded->image)
        nc_processor_size(g->loaded->image, &height, &width);
    if (g->model->family->tower && (!g->model->family->one_size || (height && width))) {
        NC_TRY(build_tower(g, g->model->family->one_size ? 1 : g->o.tower_pictures, height, width, e));
        if (nc_program_bytes(g->tower) > g->memory_bytes)
            g->memory_bytes = nc_program_bytes(g->tower);
    }
    g->memory_bytes = g->memory_bytes ? g->memory_bytes : 64;
    g->memory = nc_pages_alloc(g->memory_bytes);
    if (!g->memory)
        return nc_fail(e, NC_ENOMEM, "the system refuses %zu bytes for the programs; use fewer step_tokens", g->memory_bytes);
    for (int i = 0; i < g->programs; i++)
        NC_TRY(nc_program_allocate(g->program[i], g->memory, e));
    g->stats.program_bytes = g->memory_bytes;
    return g->tower ? nc_program_allocate(g->tower, g->memory, e) : 0;
}

int nc_engine_tower(nc_engine *g, int64_t units, const nc_pixels *picture, nc_error *e)
{
    const bool one_size = g->model->family->one_size;
    if (units <= g->tower_units && (!one_size || (picture->height == g->tower_height && picture->width == g->tower_width)))
        return 0;
    int64_t room = one_size ? 1 : 256;
    while (room < units)
        room *= 2;
    nc_program_free(g->tower);
    g->tower = NULL;
    g->tower_units = 0;
    if (g->tower_memory)
        nc_pages_free(g->tower_memory, g->tower_bytes);
    pthread_mutex_lock(&g->lock);
    g->stats.program_bytes -= g->tower_bytes;
    pthread_mutex_unlock(&g->lock);
    g->tower_memory = NULL;
    g->tower_bytes = 0;
    NC_TRY(build_tower(g, room, picture->height, picture->width, e));
    size_t bytes = nc_program_bytes(g->tower);
    g->tower_memory = nc_pages_alloc(bytes ? bytes : 64);
    if (!g->tower_memory) {
        g->tower_units = 0;
        return nc_fail(e, NC_ENOMEM, "the system refuses %zu bytes for a picture of %lld patches; use smaller pictures (max_pixels in preprocessor_config.json)", bytes, (long long)units);
    }
    g->tower_bytes = bytes ? bytes : 64;
    pthread_mutex_lock(&g->lock);
    g->stats.program_bytes += g->tower_bytes;
    pthread_mutex_unlock(&g->lock);
    return nc_program_allocate(g->tower, g->tower_memory, e);
}

void nc_engine_unbuild(nc_engine *g)
{
    if (g->tower_memory)
        nc_pages_free(g->tower_memory, g->tower_bytes);
    for (int i = 0; i < g->programs; i++)
        nc_program_free(g->program[i]);
    nc_program_free(g->tower);
    nc_program_free(g->encoder);
    nc_kv_free(g->kv);
    if (g->memory)
        nc_pages_free(g->memory, g->memory_bytes);
}

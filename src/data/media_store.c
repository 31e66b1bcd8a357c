/* media_store.c - each file of a dataset decoded and processed once, kept as bytes with a table that gives the processor's floats back exactly. */
#include "data/media_store.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/map.h"
#include "media/resize.h"

enum { max_channels = 4, any_side = 56 };

struct entry {
    const char *path;
    nc_visual shape;
    uint8_t *bytes;                  /* or */
    float *floats;
    double *times;
    int64_t file_size;
    bool loaded;
    nc_error error;
};

struct nc_media_store {
    nc_media_store_options o;
    nc_arena *arena;
    nc_map *index;
    struct entry *entry;
    int count, capacity;
    float table[2][max_channels][256];       /* pictures, videos */
    bool known[2][max_channels][256];
    atomic_size_t held;
    atomic_int done;
};

nc_media_store *nc_media_store_new(const nc_media_store_options *o)
{
    nc_media_store *s = nc_xcalloc(1, sizeof *s);
    s->o = *o;
    s->arena = nc_arena_new();
    s->index = nc_map_new(256);
    return s;
}

void nc_media_store_free(nc_media_store *s)
{
    if (!s)
        return;
    for (int i = 0; i < s->count; i++) {
        free(s->entry[i].bytes);
        free(s->entry[i].floats);
        free(s->entry[i].times);
    }
    free(s->entry);
    nc_map_free(s->index);
    nc_arena_free(s->arena);
    free(s);
}

int nc_media_store_add(nc_media_store *s, const char *path, bool is_video)
{
    int64_t at;
    if (nc_map_get(s->index, nc_str_of(path), &at))
        return (int)at;
    if (s->count == s->capacity) {
        s->capacity = s->capacity ? 2 * s->capacity : 256;
        s->entry = nc_xrealloc(s->entry, sizeof *s->entry * (size_t)s->capacity);
    }
    s->entry[s->count] = (struct entry){ .path = nc_arena_strdup(s->arena, path), .shape = { .is_video = is_video }, .file_size = nc_file_size(path) };
    nc_map_set(s->index, nc_str_of(path), s->count);
    return s->count++;
}

static size_t pixels_of(const nc_visual *v) { return (size_t)v->frames * (size_t)v->channels * (size_t)v->height * (size_t)v->width; }

static void note_values(const nc_visual *v, float table[max_channels][256], bool known[max_channels][256])
{
    size_t plane = nc_visual_plane(v), n = pixels_of(v);
    for (size_t i = 0; i < n; i++) {
        int c = (int)(i / plane % (size_t)v->channels), b = v->u8[i];
        known[c][b] = true;
        table[c][b] = v->pixels[i];
    }
}

/* True when the table, complete by now, gives every float back. */
static bool is_table(const nc_media_store *s, const nc_visual *v)
{
    size_t plane = nc_visual_plane(v), n = pixels_of(v);
    if (!v->u8 || v->channels > max_channels)
        return false;
    for (size_t i = 0; i < n; i++) {
        int c = (int)(i / plane % (size_t)v->channels), b = v->u8[i];
        if (!s->known[v->is_video][c][b] || memcmp(&s->table[v->is_video][c][b], &v->pixels[i], sizeof(float)))
            return false;
    }
    return true;
}

/* Keeps what fits in the memory given. */
static void keep(nc_media_store *s, struct entry *x, const nc_visual *v)
{
    size_t n = pixels_of(v);
    bool as_bytes = is_table(s, v);
    size_t bytes = as_bytes ? n : n * sizeof(float);
    if (atomic_fetch_add(&s->held, bytes) + bytes > s->o.memory) {
        atomic_fetch_sub(&s->held, bytes);
        return;
    }
    if (as_bytes) {
        x->bytes = nc_xmalloc(n);
        memcpy(x->bytes, v->u8, n);
    } else {
        x->floats = nc_xmalloc(n * sizeof(float));
        memcpy(x->floats, v->pixels, n * sizeof(float));
    }
}

static void load_one(nc_media_store *s, struct entry *x)
{
    nc_arena *a = nc_arena_new();
    nc_visual v;
    int kind = x->shape.is_video;
    if (nc_visual_load(s->o.image, s->o.video, a, kind, x->path, &s->o.visual, &v, &x->error) == 0) {
        keep(s, x, &v);
        x->shape = v;
        x->shape.pixels = NULL;
        x->shape.u8 = NULL;
        if (v.times) {                               /* the arena of this file dies with it */
            x->times = nc_xmalloc(sizeof *x->times * ((size_t)v.frames + 1));
            memcpy(x->times, v.times, sizeof *x->times * (size_t)v.frames);
            x->shape.times = x->times;
        }
        x->loaded = true;
    }
    nc_arena_free(a);
}

/* Pictures of one shade each, sent through the processor, give the float of every byte. */
static void learn_table(nc_media_store *s, bool is_video)
{
    nc_arena *a = nc_arena_new();
    nc_image im[1] = { { 0 } };
    nc_error e = { 0 };
    int height = 0, width = 0;
    const nc_processor *p = is_video && s->o.video ? s->o.video : s->o.image;
    nc_processor_size(p, &height, &width);
    height = height > 0 ? height : any_side;
    width = width > 0 ? width : any_side;
    for (int level = 0; level < 256; level++) {
        if (nc_image_new(width, height, 3, im, &e) < 0)
            break;
        memset(im->pixels, level, nc_image_bytes(im));
        nc_visual v;
        int status = is_video ? nc_visual_of_frames(s->o.image, s->o.video, a, im, 1, &(nc_visual_times){ 0 }, "", &v, &e) : nc_visual_of_image(s->o.image, a, im, "", &v, &e);
        if (status == 0 && v.u8 && v.channels <= max_channels)
            note_values(&v, s->table[is_video], s->known[is_video]);
        nc_image_free(im);
        nc_arena_reset(a);
    }
    nc_arena_free(a);
}

struct load { nc_media_store *s; void (*progress)(void *, int, int); void *context; };

static void load_part(void *context, int64_t part, int64_t parts, int worker)
{
    struct load *l = context;
    (void)parts;
    if (!l->s->entry[part].loaded)
        load_one(l->s, &l->s->entry[part]);
    int done = atomic_fetch_add(&l->s->done, 1) + 1;
    if (l->progress && worker == 0)
        l->progress(l->context, done, l->s->count);
}

int nc_media_store_load(nc_media_store *s, nc_pool *pool, void (*progress)(void *context, int done, int total), void *context, nc_error *e)
{
    struct load l = { s, progress, context };
    bool kinds[2] = { false, false };
    atomic_store(&s->done, 0);
    for (int i = 0; i < s->count; i++)
        kinds[s->entry[i].shape.is_video] = true;
    for (int k = 0; k < 2; k++)
        if (kinds[k] && (s->o.image || s->o.video))
            learn_table(s, k);
    nc_pool_run(pool, s->count, load_part, &l);
    for (int i = 0; i < s->count; i++)
        if (s->entry[i].error.code) {
            if (e)
                *e = s->entry[i].error;
            return s->entry[i].error.code;
        }
    return 0;
}

int nc_media_store_count(const nc_media_store *s) { return s->count; }
const nc_visual *nc_media_store_shape(const nc_media_store *s, int index) { return &s->entry[index].shape; }
size_t nc_media_store_bytes(const nc_media_store *s) { return atomic_load(&s->held); }

int nc_media_store_pixels(nc_media_store *s, int index, int first, int count, float *out, nc_error *e)
{
    struct entry *x = &s->entry[index];
    const nc_visual *v = &x->shape;
    if (first < 0 || count < 0 || first + count > v->frames)
        return nc_fail(e, NC_EINVAL, "%s: frames %d to %d of %d", x->path, first, first + count - 1, v->frames);
    size_t plane = nc_visual_plane(v), frame = (size_t)v->channels * (size_t)v->height * (size_t)v->width, n = frame * (size_t)count, from = frame * (size_t)first;
    if (x->floats) {
        memcpy(out, x->floats + from, n * sizeof *out);
        return 0;
    }
    if (x->bytes) {
        for (size_t i = 0; i < n; i += plane) {
            const float *table = s->table[v->is_video][i / plane % (size_t)v->channels];
            for (size_t j = 0; j < plane; j++)
                out[i + j] = table[x->bytes[from + i + j]];
        }
        return 0;
    }
    nc_arena *a = nc_arena_new();
    nc_visual again;
    int status = nc_visual_load(s->o.image, s->o.video, a, v->is_video, x->path, &s->o.visual, &again, e);
    if (status == 0 && pixels_of(&again) != pixels_of(v))
        status = nc_fail(e, NC_EFORMAT, "%s: the file has changed since training began", x->path);
    if (status == 0)
        memcpy(out, again.pixels + from, n * sizeof *out);
    nc_arena_free(a);
    return status;
}

struct draws { const nc_augment *augment; uint64_t seed, stream; bool keep_size; };

static int augment(void *context, nc_image *im, nc_error *e)
{
    const struct draws *d = context;
    const int width = im->width, height = im->height;
    nc_rng rng = nc_rng_new(d->seed, d->stream);
    nc_image scaled;
    NC_TRY(nc_augment_run(d->augment, &rng, im, e));
    NC_TRY(nc_image_rgb(im, e));
    if (!d->keep_size || (im->width == width && im->height == height))
        return 0;
    NC_TRY(nc_resize(im, width, height, NC_BICUBIC, NULL, NC_RESIZE_PILLOW, &scaled, e));
    nc_image_free(im);
    *im = scaled;
    return 0;
}

static bool same_shape(const nc_visual *a, const nc_visual *b)
{
    return a->frames == b->frames && a->channels == b->channels && a->height == b->height && a->width == b->width && a->grid_height == b->grid_height &&
           a->grid_width == b->grid_width && a->tile_rows == b->tile_rows && a->tile_columns == b->tile_columns;
}

int nc_media_store_augmented(const nc_media_store *s, int index, int first, int count, const nc_augment *g, uint64_t seed, uint64_t stream, float *out, nc_error *e)
{
    const struct entry *x = &s->entry[index];
    const nc_visual *v = &x->shape;
    struct draws d = { g, seed, stream, false };
    nc_visual_options o = s->o.visual;
    nc_arena *a = nc_arena_new();
    nc_visual got;
    o.edit = augment;
    o.edit_context = &d;
    int status = nc_visual_load(s->o.image, s->o.video, a, v->is_video, x->path, &o, &got, e);
    /* Where a picture is cut into tiles, the model asks for its own size, too. */
    const bool resized = status == 0 && (got.original_height != v->original_height || got.original_width != v->original_width);
    d.keep_size = status == 0 && (!same_shape(&got, v) || (resized && !v->is_video && v->frames > 1));
    if (d.keep_size)
        status = nc_visual_load(s->o.image, s->o.video, a, v->is_video, x->path, &o, &got, e);
    if (status == 0 && (!same_shape(&got, v) || first < 0 || count < 0 || first + count > v->frames))
        status = nc_fail(e, NC_EFORMAT, "%s: the file has changed since training began", x->path);
    if (status == 0) {
        const size_t frame = (size_t)v->channels * (size_t)v->height * (size_t)v->width;
        memcpy(out, got.pixels + frame * (size_t)first, frame * (size_t)count * sizeof *out);
    }
    nc_arena_free(a);
    return status;
}

uint64_t nc_media_store_hash(const nc_media_store *s, int index)
{
    const struct entry *x = &s->entry[index];
    int64_t facts[5] = { x->file_size, x->shape.frames, x->shape.channels, x->shape.height, x->shape.width };
    return nc_hash64(facts, sizeof facts, 0);
}

int nc_media_store_unloaded(const nc_media_store *s)
{
    int n = 0;
    for (int i = 0; i < s->count; i++)
        n += !s->entry[i].loaded;
    return n;
}

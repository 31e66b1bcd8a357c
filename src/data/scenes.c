/* scenes.c - choosing the clips of korean-scenes, filming them and writing the folder.
 *
 * Every draw is keyed by (seed, purpose, clip), so that clips are made in any order on any number of threads. Splits are dealt to whole
 * combinations of slots: combinations are put in an order by hash and go to test until it holds a tenth of the clips, then to validation until
 * that holds a twentieth.
 */
#include "data/scenes.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/thread.h"
#include "data/scenes_draw.h"
#include "media/video.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { format_version = 2, most_clips = 1000000, batch = 32, references = 3 };
enum { train, val, test };
static const char *const split_names[] = { "train", "val", "test" };

/* Which things belong to which place, as bits. */
static const uint32_t inhabitants[nc_scene_places] = {
    1 << 0 | 1 << 1 | 1 << 7, 1 << 5 | 1 << 7 | 1 << 9 | 1 << 10, 1 << 4 | 1 << 5 | 1 << 6 | 1 << 9, 1 << 2 | 1 << 3 | 1 << 5 | 1 << 6,
    1 << 5 | 1 << 6 | 1 << 7 | 1 << 8, 1 << 0 | 1 << 1 | 1 << 4 | 1 << 5 | 1 << 6, 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8, 1 << 5 | 1 << 6 | 1 << 8,
};

struct clip { nc_scene_slots slots; uint64_t key; int split; };

struct job {
    nc_scenes_options o;
    uint64_t seed;
    int count, first;
    struct clip *clips;
    const char *folder;
    pthread_mutex_t lock;
    nc_error error;                  /* the first that happened */
};

static nc_scene_slots choose(uint64_t seed, int clip)
{
    nc_rng r = nc_rng_new(seed, nc_rng_stream(1, (uint64_t)clip, 0, 0));
    nc_scene_slots s = { (int)nc_rng_below(&r, nc_scene_places), (int)nc_rng_below(&r, nc_scene_times), 0, (int)nc_rng_below(&r, nc_scene_cameras), 0 };
    /* Sunset glow belongs to the evening alone, where it comes as often as clear sky. */
    s.weather = (int)nc_rng_below(&r, s.time == 3 ? 5 : 4);
    const int share = (int)nc_rng_below(&r, 10), things = share < 2 ? 0 : share < 7 ? 1 : 2;
    while (__builtin_popcount(s.objects) < things)
        s.objects |= inhabitants[s.place] & 1u << nc_rng_below(&r, nc_scene_things);
    return s;
}

static uint64_t combination(const nc_scene_slots *s)
{
    return (uint64_t)s->place | (uint64_t)s->time << 4 | (uint64_t)s->weather << 8 | (uint64_t)s->camera << 12 | (uint64_t)s->objects << 16;
}

struct order { uint64_t hash, key; int clip; };

static int by_hash(const void *a, const void *b)
{
    const struct order *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->clip - y->clip;
}

static void deal_splits(struct job *j)
{
    struct order *o = nc_xmalloc((size_t)j->count * sizeof *o);
    int filled[3] = { 0 }, split = test;

    for (int i = 0; i < j->count; i++)
        o[i] = (struct order){ nc_hash64(&j->clips[i].key, sizeof j->clips[i].key, j->seed), j->clips[i].key, i };
    qsort(o, (size_t)j->count, sizeof *o, by_hash);
    for (int i = 0; i < j->count; i++) {
        if (i == 0 || o[i].key != o[i - 1].key) {
            if (split == test && filled[test] * 10 >= j->count)
                split = val;
            if (split == val && filled[val] * 20 >= j->count)
                split = train;
        }
        j->clips[o[i].clip].split = split;
        filled[split]++;
    }
    free(o);
}

/* The still world of a clip, before anything moves. */
static int set_stage(const struct job *j, int clip, stage *s, nc_error *e)
{
    const double scale = j->o.size / 100.0 * oversample;
    *s = (stage){ .slots = j->clips[clip].slots, .r = nc_rng_new(j->seed, nc_rng_stream(2, (uint64_t)clip, 0, 0)) };
    s->c.scale = scale;
    NC_TRY(nc_image_new((int)(world_width * scale + 0.5), (int)(world_height * scale + 0.5), 3, &s->c.im, e));
    scene_light(s->slots.time, s->slots.weather, &s->l);
    scene_sky(s);
    scene_place(s);
    return 0;
}

static int film(const struct job *j, int clip, nc_image *frames, nc_error *e)
{
    stage s;
    thing things[2];
    int count = 0;
    canvas work;

    NC_TRY(set_stage(j, clip, &s, e));
    const bool leftward = nc_rng_below(&s.r, 2);
    for (uint32_t left = s.slots.objects; left && count < 2; left &= left - 1, count++)
        things[count] = scene_thing(&s, __builtin_ctz(left), count);
    /* Two that go the same way keep their distance; others cross. */
    if (count == 2 && things[0].leftward == things[1].leftward)
        for (int i = 0; i < 2; i++)
            things[i].offset += i ? 0.17 : -0.17;
    work.scale = s.c.scale;
    int code = nc_image_copy(&s.c.im, &work.im, e);
    for (int i = 0; i < j->o.frames && code == 0; i++) {
        const double phase = j->o.frames > 1 ? (double)i / (j->o.frames - 1) : 0;
        const view v = scene_view(&s, phase, leftward);
        memcpy(work.im.pixels, s.c.im.pixels, nc_image_bytes(&work.im));
        for (int k = 0; k < count; k++)
            scene_draw_thing(&s, &work, &things[k], phase, v);
        code = nc_image_new(j->o.size, j->o.size, 3, &frames[i], e);
        if (code < 0)
            break;
        scene_shoot(&work, v, &frames[i]);
        scene_weather(&s, &frames[i], i, j->o.frames);
    }
    nc_image_free(&work.im);
    nc_image_free(&s.c.im);
    return code;
}

/* Clips lie in a folder that gets its name last, so they need no renaming of their own. */
static int write_plain(const char *path, const nc_buf *b, nc_error *e)
{
    FILE *f = fopen(path, "wb");
    if (!f)
        return nc_fail(e, NC_EIO, "%s: cannot be written: %s", path, strerror(errno));
    const bool whole = fwrite(b->p, 1, b->n, f) == b->n;
    if (fclose(f) != 0 || !whole)
        return nc_fail(e, NC_EIO, "%s: cannot be written: %s; is the disk full?", path, strerror(errno));
    return 0;
}

static int make_clip(struct job *j, int clip, nc_error *e)
{
    nc_image *frames = nc_xcalloc((size_t)j->o.frames, sizeof *frames);
    nc_buf mp4 = { 0 }, path = { 0 };
    int code = film(j, clip, frames, e);

    if (code == 0)
        code = nc_video_encode(frames, j->o.frames, j->o.fps, &mp4, e);
    nc_buf_printf(&path, "%s/clips/%06d.mp4", j->folder, clip + 1);
    if (code == 0)
        code = write_plain(path.p, &mp4, e);
    for (int i = 0; i < j->o.frames; i++)
        nc_image_free(&frames[i]);
    free(frames);
    nc_buf_free(&mp4);
    nc_buf_free(&path);
    return code;
}

static void make_part(void *context, int64_t part, int64_t parts, int worker)
{
    struct job *j = context;
    nc_error e = { 0 };
    (void)parts;
    (void)worker;
    pthread_mutex_lock(&j->lock);
    const bool stop = j->error.code < 0;
    pthread_mutex_unlock(&j->lock);
    if (stop || make_clip(j, j->first + (int)part, &e) == 0)
        return;
    pthread_mutex_lock(&j->lock);
    if (!j->error.code)
        j->error = e;
    pthread_mutex_unlock(&j->lock);
}

static int make_clips(struct job *j, nc_scenes_progress *progress, void *context, nc_error *e)
{
    nc_pool *pool = nc_pool_new(j->o.threads);
    for (j->first = 0; j->first < j->count && !j->error.code; j->first += batch) {
        nc_pool_run(pool, j->count - j->first < batch ? j->count - j->first : batch, make_part, j);
        if (progress)
            progress(context, j->first + batch < j->count ? j->first + batch : j->count, j->count);
    }
    nc_pool_free(pool);
    return j->error.code ? nc_fail(e, j->error.code, "%s", j->error.message) : 0;
}

/* Three captions that differ as far as the grammar allows, and a fourth drawn freely. */
static void captions(const struct job *j, int clip, nc_buf out[references + 1])
{
    const uint64_t seed = j->seed ^ nc_rng_stream(3, (uint64_t)clip, 0, 0);
    uint64_t variant = 0;

    for (int i = 0; i < references; i++)
        for (int attempt = 0; attempt < 16; attempt++) {
            nc_buf_clear(&out[i]);
            nc_scenes_caption(&j->clips[clip].slots, seed, variant++, &out[i]);
            bool fresh = true;
            for (int k = 0; k < i; k++)
                fresh = fresh && strcmp(out[k].p, out[i].p) != 0;
            if (fresh)
                break;
        }
    nc_buf_clear(&out[references]);
    nc_scenes_caption(&j->clips[clip].slots, seed, 1000, &out[references]);
}

static void add_sample(nc_buf *b, int clip, int line, const char *caption)
{
    nc_buf_printf(b, "{\"id\": \"%06d", clip + 1);
    if (line)
        nc_buf_printf(b, "-%d", line + 1);
    nc_buf_printf(b, "\", \"video\": \"clips/%06d.mp4\", \"videos\": [\"clips/%06d.mp4\"], \"conversations\": [{\"from\": \"human\", \"value\": "
                     "\"<video>\\n이 영상을 한 문장으로 설명해 주세요.\"}, {\"from\": \"gpt\", \"value\": ", clip + 1, clip + 1);
    nc_buf_json_string(b, nc_str_of(caption));
    nc_buf_adds(b, "}]}\n");
}

static void add_reference(nc_buf *b, const struct job *j, int clip, nc_buf text[references + 1])
{
    const nc_scene_slots *s = &j->clips[clip].slots;
    const char *comma = "";

    nc_buf_printf(b, "{\"id\": \"%06d\", \"video\": \"clips/%06d.mp4\", \"split\": \"%s\", \"references\": [", clip + 1, clip + 1, split_names[j->clips[clip].split]);
    for (int i = 0; i < references; i++) {
        nc_buf_adds(b, i ? ", " : "");
        nc_buf_json_string(b, (nc_str){ text[i].p, text[i].n });
    }
    nc_buf_adds(b, "], \"ceiling\": ");
    nc_buf_json_string(b, (nc_str){ text[references].p, text[references].n });
    nc_buf_printf(b, ", \"slots\": {\"place\": \"%s\", \"time\": \"%s\", \"weather\": \"%s\", \"objects\": [", nc_scene_name(0, s->place),
                  nc_scene_name(1, s->time), nc_scene_name(2, s->weather));
    for (int i = 0; i < nc_scene_things; i++)
        if (s->objects >> i & 1) {
            nc_buf_printf(b, "%s\"%s\"", comma, nc_scene_name(3, i));
            comma = ", ";
        }
    nc_buf_printf(b, "], \"camera\": \"%s\"}}\n", nc_scene_name(4, s->camera));
}

static void add_dataset_info(nc_buf *b)
{
    nc_buf_adds(b, "{");
    for (int i = 0; i < 3; i++)
        nc_buf_printf(b, "%s\n  \"korean_scenes_%s\": {\"file_name\": \"%s.jsonl\", \"formatting\": \"sharegpt\", \"columns\": {\"messages\": \"conversations\", "
                         "\"videos\": \"videos\"}, \"tags\": {\"role_tag\": \"from\", \"content_tag\": \"value\", \"user_tag\": \"human\", \"assistant_tag\": \"gpt\"}}",
                      i ? "," : "", split_names[i], split_names[i]);
    nc_buf_adds(b, "\n}\n");
}

static void describe(nc_buf *b, const struct job *j)
{
    nc_buf_printf(b, "{\"maker\": \"korean-scenes\", \"version\": %d, \"clips\": %d, \"seed\": %llu, \"size\": %d, \"fps\": %d, \"frames\": %d, \"captions\": %d}\n",
                  format_version, j->count, (unsigned long long)j->seed, j->o.size, j->o.fps, j->o.frames, j->o.captions);
}

static int write_texts(const struct job *j, nc_error *e)
{
    enum { splits = 3, corpus = splits, list, info, about, files };
    static const char *const names[files] = { "train.jsonl", "val.jsonl", "test.jsonl", "captions.txt", "references.jsonl", "dataset_info.json", "scenes.json" };
    nc_buf out[files] = { 0 }, text[references + 1] = { 0 }, path = { 0 };
    int code = 0;

    for (int i = 0; i < j->count; i++) {
        const int split = j->clips[i].split;
        captions(j, i, text);
        for (int k = 0; k < (split == train ? j->o.captions : 1); k++)
            add_sample(&out[split], i, k, text[k].p);
        for (int k = 0; k < references && split == train; k++)
            nc_buf_printf(&out[corpus], "%s\n", text[k].p);
        add_reference(&out[list], j, i, text);
    }
    add_dataset_info(&out[info]);
    describe(&out[about], j);
    for (int i = 0; i < files && code == 0; i++) {
        nc_buf_clear(&path);
        nc_buf_printf(&path, "%s/%s", j->folder, names[i]);
        code = write_plain(path.p, &out[i], e);
    }
    for (int i = 0; i < files; i++)
        nc_buf_free(&out[i]);
    for (int i = 0; i <= references; i++)
        nc_buf_free(&text[i]);
    nc_buf_free(&path);
    return code;
}

static int check_options(nc_scenes_options *o, int clips, nc_error *e)
{
    o->size = o->size ? o->size : 96;
    o->fps = o->fps ? o->fps : 8;
    o->frames = o->frames ? o->frames : 20;
    o->captions = o->captions ? o->captions : references;
    if (clips < 1 || clips > most_clips)
        return nc_fail(e, NC_EINVAL, "korean-scenes: %d clips cannot be made; 1 to %d", clips, most_clips);
    if (o->size < 32 || o->size > 512 || o->size % 2)
        return nc_fail(e, NC_EINVAL, "korean-scenes: size %d; it must be even, 32 to 512", o->size);
    if (o->fps < 1 || o->fps > 60 || o->frames < 1 || o->frames > 600)
        return nc_fail(e, NC_EINVAL, "korean-scenes: %d frames at %d a second; 1 to 600 frames at 1 to 60", o->frames, o->fps);
    if (o->captions < 1 || o->captions > references)
        return nc_fail(e, NC_EINVAL, "korean-scenes: %d captions a clip; 1 to %d", o->captions, (int)references);
    return 0;
}

/* 1: the folder is what this call would make; 0: nothing is there; else an error. */
static int already_made(const struct job *j, const char *folder, nc_error *e)
{
    nc_buf want = { 0 }, have = { 0 }, path = { 0 };
    int result = 0;

    if (nc_file_exists(folder)) {
        describe(&want, j);
        nc_buf_printf(&path, "%s/scenes.json", folder);
        const bool same = nc_file_exists(path.p) && nc_file_read(path.p, 4096, &have, NULL) == 0 && have.n == want.n && memcmp(have.p, want.p, want.n) == 0;
        result = same ? 1 : nc_fail(e, NC_EINVAL, "%s: exists and holds something else; choose another folder or remove it", folder);
    }
    nc_buf_free(&want);
    nc_buf_free(&have);
    nc_buf_free(&path);
    return result;
}

static int flush_folder(const char *folder, nc_error *e)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const bool done = fd >= 0 && syncfs(fd) == 0;
    const int why = errno;
    if (fd >= 0)
        close(fd);
    return done ? 0 : nc_fail(e, NC_EIO, "%s: cannot be flushed to disk: %s", folder, strerror(why));
}

static int make_folder(struct job *j, nc_scenes_progress *progress, void *context, nc_error *e)
{
    nc_buf clips = { 0 };
    nc_buf_printf(&clips, "%s/clips", j->folder);
    int code = nc_remove_tree(j->folder, e);
    if (code == 0)
        code = nc_mkdirs(clips.p, e);
    nc_buf_free(&clips);
    if (code == 0)
        code = make_clips(j, progress, context, e);
    if (code == 0)
        code = write_texts(j, e);
    if (code == 0)
        code = flush_folder(j->folder, e);
    return code;
}

int nc_scenes_make(const char *out_folder, int clips, uint64_t seed, const nc_scenes_options *options, nc_scenes_progress *progress, void *context,
                   nc_error *e)
{
    struct job j = { .o = options ? *options : (nc_scenes_options){ 0 }, .seed = seed, .count = clips };
    nc_buf partial = { 0 };

    NC_TRY(check_options(&j.o, clips, e));
    int code = already_made(&j, out_folder, e);
    if (code)
        return code < 0 ? code : 0;
    j.clips = nc_xcalloc((size_t)clips, sizeof *j.clips);
    for (int i = 0; i < clips; i++) {
        j.clips[i].slots = choose(seed, i);
        j.clips[i].key = combination(&j.clips[i].slots);
    }
    deal_splits(&j);
    size_t n = strlen(out_folder);
    while (n > 1 && out_folder[n - 1] == '/')
        n--;
    nc_buf_printf(&partial, "%.*s.partial", (int)n, out_folder);
    j.folder = partial.p;
    pthread_mutex_init(&j.lock, NULL);
    code = make_folder(&j, progress, context, e);
    if (code == 0)
        code = nc_rename(partial.p, out_folder, e);
    if (code < 0)
        nc_remove_tree(partial.p, NULL);
    pthread_mutex_destroy(&j.lock);
    nc_buf_free(&partial);
    free(j.clips);
    return code;
}

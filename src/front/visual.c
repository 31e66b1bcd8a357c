/* visual.c - the bytes of a picture or a video to the pixels a tower takes: decode, choose frames, the checkpoint's processor. */
#include "front/conversation.h"


#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "front/processor_family.h"
#include "media/resize.h"

enum { default_frames = 8 };

enum { most_frame_bytes = 1 << 30 };

/* Patches [t h w, 3 values] with their grid (t, h, w). */
static int keep_patches(const nc_features *f, const nc_feature *p, bool is_video, nc_visual *out, const char *file, nc_error *e)
{
    const nc_feature *grid = nc_features_get(f, is_video ? "video_grid_thw" : "image_grid_thw");
    if (!grid || !grid->i64 || p->shape[1] % 3)
        return nc_fail(e, NC_EUNSUPPORTED, "%s: the processor gives patches without a grid", file);
    out->is_video = is_video;
    out->pixels = p->f32;
    out->u8 = f->u8;
    out->frames = (int)grid->i64[0];
    out->grid_height = (int)grid->i64[1];
    out->grid_width = (int)grid->i64[2];
    out->channels = 3;
    out->height = out->grid_height * out->grid_width;
    out->width = (int)(p->shape[1] / 3);
    return 0;
}

/* Pix2Struct's patches with their row and column: one channel; those the mask leaves out only fill up. */
static int keep_flattened(const nc_features *f, const nc_feature *p, nc_visual *out)
{
    const nc_feature *mask = nc_features_get(f, "attention_mask");
    int rows = (int)p->shape[1];
    while (mask && mask->f32 && rows > 1 && mask->f32[rows - 1] == 0)
        rows--;
    out->pixels = p->f32;
    out->frames = out->channels = 1;
    out->height = rows;
    out->width = (int)p->shape[2];
    return 0;
}

static int keep(const nc_features *f, const char *name, bool is_video, nc_visual *out, const char *file, nc_error *e)
{
    const nc_feature *p = nc_features_get(f, name), *flat = is_video ? NULL : nc_features_get(f, "flattened_patches");
    if (flat && flat->f32 && flat->rank == 3)
        return keep_flattened(f, flat, out);
    if (p && p->f32 && p->rank == 2)
        return keep_patches(f, p, is_video, out, file, e);
    if (!p || !p->f32 || p->rank < 4)
        return nc_fail(e, NC_EUNSUPPORTED, "%s: the processor gives no %s of pictures as a grid", file, name);
    const int64_t *s = p->shape + p->rank - 4;
    int64_t frames = s[0];
    for (int i = 0; i < p->rank - 4; i++)
        frames *= p->shape[i];
    const nc_feature *tiles = nc_features_get(f, "tile_grid");
    out->tile_rows = tiles && tiles->i64 ? (int)tiles->i64[0] : 0;
    out->tile_columns = tiles && tiles->i64 ? (int)tiles->i64[1] : 0;
    out->is_video = is_video;
    out->pixels = p->f32;
    out->u8 = f->u8;
    out->frames = (int)frames;
    out->channels = (int)s[1];
    out->height = (int)s[2];
    out->width = (int)s[3];
    return 0;
}

/* Frames of a step in time share the middle of the first's and the last's time, as the reference says it. */
static void keep_times(nc_arena *a, const nc_visual_times *t, int count, nc_visual *out)
{
    int each = out->frames > 0 ? (count + out->frames - 1) / out->frames : 1;
    if (t->rate > 0 && out->grid_height)
        out->seconds_per_grid = (float)(each / t->rate);
    if (!t->seconds)
        return;
    double *times = NC_NEW_ARRAY(a, double, out->frames + 1);
    for (int i = 0; i < out->frames; i++) {
        int first = i * each < count ? i * each : count - 1, last = first + each - 1 < count ? first + each - 1 : count - 1;
        times[i] = (t->seconds[first] + t->seconds[last]) / 2;
    }
    out->times = times;
}

int nc_visual_of_frames(const nc_processor *image, const nc_processor *video, nc_arena *a, const nc_image *frames, int count, const nc_visual_times *t, const char *name,
                        nc_visual *out, nc_error *e)
{
    nc_features f = { 0 };
    *out = (nc_visual){ .original_height = frames[0].height, .original_width = frames[0].width };
    NC_TRY(video ? nc_processor_video(video, a, frames, count, &f, e) : nc_processor_images(image, a, frames, count, &f, e));
    NC_TRY(keep(&f, video ? "pixel_values_videos" : "pixel_values", true, out, name, e));
    keep_times(a, t, count, out);
    return 0;
}

struct choice { const nc_processor *video; const nc_visual_options *o; nc_video_info info; int count; };

static int bounded(struct choice *c, int count, nc_error *e)
{
    int height = c->info.height, width = c->info.width;
    if (count > 0 && c->video && c->video->frame_size)
        NC_TRY(c->video->frame_size(c->video, &(nc_image){ .width = width, .height = height, .channels = 3 }, count, &height, &width, e));
    if (count > 0 && (double)count * width * height * 3 > most_frame_bytes)
        return nc_fail(e, NC_ELIMIT, "%d frames of %d x %d are more than is held at once; ask for fewer frames", count, width, height);
    return c->count = count;
}

/* Into [least, most] pixels, as LLaMA-Factory scales: Pillow's bicubic, sides truncated. */
static int scale_area(nc_image *im, int64_t least, int64_t most, nc_error *e)
{
    double area = (double)im->width * im->height, factor = most > 0 && area > (double)most ? sqrt((double)most / area) : least > 0 && area < (double)least ? sqrt((double)least / area) : 1;
    nc_image scaled;
    if (factor == 1)
        return 0;
    int width = (int)(im->width * factor), height = (int)(im->height * factor);
    NC_TRY(nc_resize(im, width < 1 ? 1 : width, height < 1 ? 1 : height, NC_BICUBIC, NULL, NC_RESIZE_PILLOW, &scaled, e));
    nc_image_free(im);
    *im = scaled;
    return 0;
}

/* By a rate or a number that was asked for, else by the rule of the processor's class, else default_frames evenly. */
static int choose_frames(void *context, int n, const double *times, int *index, nc_error *e)
{
    struct choice *c = context;
    int want = c->o ? c->o->frames : 0;
    nc_sampling rule = c->o ? c->o->sampling : NC_SAMPLE_DEFAULT;
    if (c->o && c->o->rate > 0 && c->info.fps > 0) {
        double count = floor(n / c->info.fps * c->o->rate), most = want && want < n ? want : n;
        count = count > most ? most : count < 1 ? 1 : count;
        NC_TRY(nc_sample_frames(NC_SAMPLE_LINSPACE, n, (int)count, times, index, e));
        return bounded(c, (int)count, e);
    }
    int count = c->video && rule == NC_SAMPLE_DEFAULT ? nc_processor_sample(c->video, n, c->info.fps, want, index, e) : 0;
    if (count == 0) {
        count = want ? want : default_frames;
        if (rule == NC_SAMPLE_DEFAULT && n < count)
            rule = NC_SAMPLE_LINSPACE;
        NC_TRY(nc_sample_frames(rule, n, count, times, index, e));
    }
    return bounded(c, count, e);
}

/* A frame as soon as it is decoded: into the bounds asked for, and to the size the processor gives it, so that no large ones are held. */
static int frame_ready(void *context, nc_image *im, nc_error *e)
{
    const struct choice *c = context;
    int height, width;
    if (c->o && c->o->edit)
        NC_TRY(c->o->edit(c->o->edit_context, im, e));
    if (c->o)
        NC_TRY(scale_area(im, c->o->frame_area.least, c->o->frame_area.most, e));
    if (!c->video || !c->video->frame_size)
        return 0;
    nc_image scaled;
    NC_TRY(c->video->frame_size(c->video, im, c->count, &height, &width, e));
    NC_TRY(nc_step_resize(c->video, im, height, width, &scaled, e));
    nc_image_free(im);
    *im = scaled;
    return 0;
}

struct taken { nc_image *frames; double *seconds, rate; int count; };

static int take_frames(nc_video *v, const nc_processor *video, const nc_visual_options *o, struct taken *t, nc_error *e)
{
    struct choice c = { .video = video, .o = o };
    nc_video_describe(v, &c.info);
    int of = 0, want = o ? o->frames : 0, room = (c.info.frames > want ? c.info.frames : want) + default_frames, *index = nc_xcalloc((size_t)room, sizeof *index);
    t->frames = nc_xcalloc((size_t)room, sizeof *t->frames);
    int status = nc_video_take(v, choose_frames, frame_ready, &c, t->frames, index, &t->count, &of, e);
    if (status == 0 && t->count == 0)
        status = nc_fail(e, NC_EFORMAT, "the video has no frame");
    t->seconds = nc_xcalloc((size_t)t->count + 1, sizeof *t->seconds);
    t->rate = c.info.fps > 0 && of > 0 ? t->count * c.info.fps / of : 0;
    for (int i = 0; i < t->count && t->rate > 0; i++)
        t->seconds[i] = index[i] / c.info.fps;
    free(index);
    return status;
}

static int video_frames(const nc_processor *image, const nc_processor *video, nc_arena *a, const void *file, size_t n, const char *name, const nc_visual_options *o, nc_visual *out,
                        nc_error *e)
{
    nc_video *v = NULL;
    struct taken t = { 0 };
    nc_video_options limits = { .max_pixels = o ? o->max_pixels : 0, .max_frames = o ? o->max_frames : 0 };
    int status = nc_video_open_memory(file, n, &limits, &v, e);
    if (status == 0)
        status = take_frames(v, video, o, &t, e);
    nc_processor scaled = video ? *video : (nc_processor){ 0 };
    scaled.do_resize = scaled.do_resize && !scaled.frame_size;               /* frame_ready did that */
    if (status == 0)
        status = nc_visual_of_frames(image, video ? &scaled : NULL, a, t.frames, t.count, &(nc_visual_times){ t.rate > 0 ? t.seconds : NULL, t.rate }, name, out, e);
    for (int i = 0; i < t.count; i++)
        nc_image_free(&t.frames[i]);
    free(t.frames);
    free(t.seconds);
    nc_video_free(v);
    return status;
}

int nc_visual_of_image(const nc_processor *image, nc_arena *a, const nc_image *im, const char *name, nc_visual *out, nc_error *e)
{
    nc_features f = { 0 };
    *out = (nc_visual){ .original_height = im->height, .original_width = im->width };
    NC_TRY(nc_processor_images(image, a, im, 1, &f, e));
    return keep(&f, "pixel_values", false, out, name, e);
}

static int picture(const nc_processor *image, nc_arena *a, const void *file, size_t n, const char *name, const nc_visual_options *o, nc_visual *out, nc_error *e)
{
    nc_image im = { 0 };
    NC_TRY(nc_image_decode(file, n, &(nc_image_options){ .rgb = true, .max_pixels = o ? o->max_pixels : 0 }, &im, e));
    int status = o && o->edit ? o->edit(o->edit_context, &im, e) : 0;
    if (status == 0 && o)
        status = scale_area(&im, o->picture_area.least, o->picture_area.most, e);
    if (status == 0)
        status = nc_visual_of_image(image, a, &im, name, out, e);
    nc_image_free(&im);
    return status;
}

int nc_visual_decode(const nc_processor *image, const nc_processor *video, nc_arena *a, bool is_video, const void *file, size_t n, const char *name,
                     const nc_visual_options *o, nc_visual *out, nc_error *e)
{
    *out = (nc_visual){ 0 };
    if (!image && !(is_video && video))
        return nc_fail(e, NC_EUNSUPPORTED, "%s: the model takes no %s (its folder has no preprocessor_config.json)", name, is_video ? "videos" : "pictures");
    int status = is_video ? video_frames(image, video, a, file, n, name, o, out, e) : picture(image, a, file, n, name, o, out, e);
    if (status < 0)
        nc_fail_in(e, "%s", name);
    return status;
}

int nc_visual_load(const nc_processor *image, const nc_processor *video, nc_arena *a, bool is_video, const char *path, const nc_visual_options *o,
                   nc_visual *out, nc_error *e)
{
    nc_mapped f;
    NC_TRY(nc_map_file(path, &f, e));
    int status = nc_visual_decode(image, video, a, is_video, f.p, f.n, path, o, out, e);
    nc_unmap_file(&f);
    return status;
}

int nc_visual_frames(nc_arena *a, const char *folder)
{
    static const char *const files[] = { "video_preprocessor_config.json", "preprocessor_config.json" };
    for (int i = 0; i < NC_COUNT(files); i++) {
        nc_json *j = NULL;
        nc_error ignored = { 0 };
        const char *path = nc_path_join(a, folder, files[i]);
        if (!nc_file_exists(path) || nc_json_load(a, path, &j, &ignored) < 0)
            continue;
        int64_t n = nc_json_int(nc_json_get(j, "num_frames"), 0);
        if (n >= 1 && n <= 1024)
            return (int)n;
    }
    return 0;
}

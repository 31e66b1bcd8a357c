/* visual.c - the bytes of a picture or a video to the pixels a tower takes: decode, choose frames, the checkpoint's processor. */
#include "front/conversation.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"

enum { default_frames = 8 };

static int keep(const nc_features *f, const char *name, bool is_video, nc_visual *out, const char *file, nc_error *e)
{
    const nc_feature *p = nc_features_get(f, name);
    if (!p || !p->f32 || p->rank < 4)
        return nc_fail(e, NC_EUNSUPPORTED, "%s: the processor gives no %s of pictures as a grid", file, name);
    const int64_t *s = p->shape + p->rank - 4;
    int64_t frames = s[0];
    for (int i = 0; i < p->rank - 4; i++)
        frames *= p->shape[i];
    out->is_video = is_video;
    out->pixels = p->f32;
    out->u8 = f->u8;
    out->frames = (int)frames;
    out->channels = (int)s[1];
    out->height = (int)s[2];
    out->width = (int)s[3];
    return 0;
}

static int video_frames(const nc_processor *image, const nc_processor *video, nc_arena *a, const void *file, size_t n, const char *name,
                        const nc_visual_options *o, nc_visual *out, nc_error *e)
{
    int want = o && o->frames ? o->frames : default_frames, taken = 0;
    nc_video *v = NULL;
    nc_image *frames = nc_xcalloc((size_t)want, sizeof *frames);
    nc_video_options limits = { .max_pixels = o ? o->max_pixels : 0, .max_frames = o ? o->max_frames : 0 };
    int status = nc_video_open_memory(file, n, &limits, &v, e);
    if (status == 0) {
        nc_video_info info;
        nc_video_describe(v, &info);
        nc_sampling rule = o ? o->sampling : NC_SAMPLE_DEFAULT;
        if (rule == NC_SAMPLE_DEFAULT && info.frames < want)
            rule = NC_SAMPLE_LINSPACE;
        status = nc_video_sample(v, rule, want, frames, NULL, &taken, e);
    }
    if (status == 0 && taken == 0)
        status = nc_fail(e, NC_EFORMAT, "the video has no frame");
    if (status == 0) {
        nc_features f = { 0 };
        out->original_height = frames[0].height;
        out->original_width = frames[0].width;
        if (video)
            status = nc_processor_video(video, a, frames, taken, &f, e);
        else
            status = nc_processor_images(image, a, frames, taken, &f, e);
        if (status == 0)
            status = keep(&f, video ? "pixel_values_videos" : "pixel_values", true, out, name, e);
    }
    for (int i = 0; i < want; i++)
        nc_image_free(&frames[i]);
    free(frames);
    nc_video_free(v);
    return status;
}

static int picture(const nc_processor *image, nc_arena *a, const void *file, size_t n, const char *name, const nc_visual_options *o, nc_visual *out, nc_error *e)
{
    nc_image im = { 0 };
    NC_TRY(nc_image_decode(file, n, &(nc_image_options){ .rgb = true, .max_pixels = o ? o->max_pixels : 0 }, &im, e));
    nc_features f = { 0 };
    out->original_height = im.height;
    out->original_width = im.width;
    int status = nc_processor_images(image, a, &im, 1, &f, e);
    nc_image_free(&im);
    return status < 0 ? status : keep(&f, "pixel_values", false, out, name, e);
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

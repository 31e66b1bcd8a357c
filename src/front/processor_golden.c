/* processor_golden.c - see processor_golden.h. golden.json: images.<name> = {file, shape, mean, std, sample {step, values}, u8_sha256, extra outputs,
 * error, overrides}; a video's expected values lie in golden.safetensors (F32 only is read here).
 */
#include "front/processor_golden.h"
#include "base/file.h"
#include "base/hash.h"
#include "front/golden_media.h"
#include "front/golden_tensors.h"
#include "front/processor.h"
#include "media/video.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct run { nc_arena *a; const char *folder, *data; nc_golden_fn *report; void *context; nc_json *config; char *config_file; };

static char *find_media(struct run *r, const char *file)
{
    char *path = nc_arena_printf(r->a, "%s/../images/%s", r->folder, file);
    if (nc_file_exists(path))
        return path;
    path = r->data ? nc_path_join(r->a, r->data, file) : NULL;
    return path && nc_file_exists(path) ? path : NULL;
}

static bool same_shape(const nc_json *want, const nc_feature *f)
{
    int i = 0;
    if (!want || want->count != f->rank)
        return false;
    NC_JSON_EACH(d, want)
        if (nc_json_int(d, -1) != f->shape[i++])
            return false;
    return true;
}

static int64_t elements(const nc_feature *f)
{
    int64_t n = 1;
    for (int i = 0; i < f->rank; i++)
        n *= f->shape[i];
    return n;
}

/* Nested lists of numbers against flat integers; returns how many were consumed, -1 on a difference. */
static int64_t same_numbers(const nc_json *want, const nc_feature *f, int64_t at, int depth)
{
    if (want->type == NC_JSON_ARRAY && depth < 8) {
        NC_JSON_EACH(v, want)
            if ((at = same_numbers(v, f, at, depth + 1)) < 0)
                return -1;
        return at;
    }
    if (at >= elements(f))
        return -1;
    const double got = f->i64 ? (double)f->i64[at] : (double)f->f32[at];
    return fabs(nc_json_double(want, NAN) - got) <= 1e-6 ? at + 1 : -1;
}

/* An output besides the pixels: whole, or as its shape and sum. */
static bool same_extra(const nc_json *want, const nc_feature *f)
{
    if (want->type != NC_JSON_OBJECT)
        return same_numbers(want, f, 0, 0) == elements(f);
    double sum = 0;
    for (int64_t i = 0; i < elements(f); i++)
        sum += f->i64 ? (double)f->i64[i] : (double)f->f32[i];
    return same_shape(nc_json_get(want, "shape"), f) && sum == nc_json_double(nc_json_get(want, "sum"), NAN);
}

static const char *check_floats(const nc_json *want, const nc_feature *f, double *worst)
{
    const int64_t n = elements(f), step = nc_json_int(nc_json_path(want, "sample.step"), 0);
    double sum = 0, squares = 0;
    int64_t at = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)f->f32[i];
    const double mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++)
        squares += ((double)f->f32[i] - mean) * ((double)f->f32[i] - mean);
    *worst = fmax(*worst, fabs(mean - nc_json_double(nc_json_get(want, "mean"), NAN)));
    *worst = fmax(*worst, fabs(sqrt(squares / (double)n) - nc_json_double(nc_json_get(want, "std"), NAN)));
    NC_JSON_EACH(v, nc_json_path(want, "sample.values")) {
        if (step < 1 || at >= n)
            return "the sample does not fit the output";
        *worst = fmax(*worst, fabs((double)f->f32[at] - nc_json_double(v, NAN)));
        at += step;
    }
    return *worst <= 2e-6 ? NULL : "values differ";
}

static const char *check_case(struct run *r, const nc_json *want, const nc_features *got, double *worst)
{
    static const char *const about[] = { "file", "size", "shape", "mean", "std", "sample", "u8_sha256", "overrides", "not_integer", "error" };
    const nc_feature *pixels = &got->item[0];
    const nc_json *hash = nc_json_get(want, "u8_sha256");
    char hex[65];

    if (!same_shape(nc_json_get(want, "shape"), pixels))
        return "the shape differs";
    if (hash) {
        if (!got->u8)
            return "no whole numbers to compare";
        nc_sha256_hex(got->u8, (size_t)elements(pixels), hex);
        if (!nc_str_eqz(hash->text, hex))
            return "bytes before normalization differ";
    }
    const char *why = check_floats(want, pixels, worst);
    if (why)
        return why;
    NC_JSON_EACH(v, want) {
        bool known = false;
        for (int i = 0; i < NC_COUNT(about); i++)
            known = known || strcmp(v->key.p, about[i]) == 0;
        if (known)
            continue;
        const nc_feature *f = nc_features_get(got, v->key.p);
        if (!f)
            return nc_arena_printf(r->a, "there is no %s", v->key.p);
        if (!same_extra(v, f))
            return nc_arena_printf(r->a, "%s differs", v->key.p);
    }
    return NULL;
}

static void run_picture(struct run *r, const nc_json *want)
{
    nc_error e = { 0 };
    nc_processor *p;
    nc_image im;
    nc_features got;
    double worst = 0;
    const char *path = find_media(r, nc_json_string(nc_json_get(want, "file"), "")), *why;

    if (!path) {
        r->report(r->context, want->key.p, NC_GOLDEN_SKIPPED, 0, "the picture is not here");
        return;
    }
    /* A case with overrides is the class's defaults with them; the folder's file names the class alone. */
    const nc_json *overrides = nc_json_get(want, "overrides"), *type = nc_json_get(r->config, "image_processor_type");
    nc_json *bare = nc_json_new(r->a, NC_JSON_OBJECT);
    if (type)
        nc_json_set(r->a, bare, "image_processor_type", nc_json_clone(r->a, type));
    int code = nc_processor_parse(r->a, overrides ? bare : r->config, overrides, r->config_file, &p, &e);
    if (code == 0) {
        code = nc_image_load(path, &(nc_image_options){ .rgb = true }, &im, &e);
        if (code == 0) {
            code = nc_processor_images(p, r->a, &im, 1, &got, &e);
            nc_image_free(&im);
        }
    }
    if (nc_json_get(want, "error"))
        why = code < 0 ? NULL : "an error was expected";
    else
        why = code < 0 ? e.message : check_case(r, want, &got, &worst);
    r->report(r->context, want->key.p, why ? NC_GOLDEN_FAILED : NC_GOLDEN_OK, worst, why ? why : "");
}

static int video_features(struct run *r, const nc_json *g, nc_processor *p, nc_features *got, nc_error *e)
{
    const nc_json *list = nc_json_get(g, "frames");
    const char *path = find_media(r, nc_json_string(nc_json_get(g, "video"), ""));
    const int count = list ? list->count : 0;
    nc_video *v;

    if (!path)
        return nc_fail(e, NC_ENOTFOUND, "the video is not here");
    if (count < 1 || count > 1024)
        return nc_fail(e, NC_EFORMAT, "golden.json names no frames");
    int *index = NC_NEW_ARRAY(r->a, int, count), n = 0;
    nc_image *frames = NC_NEW_ARRAY(r->a, nc_image, count);
    NC_JSON_EACH(i, list)
        index[n++] = (int)nc_json_int(i, 0);
    NC_TRY(nc_video_open(path, NULL, &v, e));
    int code = nc_video_read(v, index, count, frames, NULL, e);
    nc_video_free(v);
    if (code < 0)
        return code;
    code = nc_processor_video(p, r->a, frames, count, got, e);
    for (int i = 0; i < count; i++)
        nc_image_free(&frames[i]);
    return code == NC_ENOTFOUND ? NC_EFORMAT : code;
}

static void run_video(struct run *r, const nc_json *g)
{
    const char *name = nc_json_string(nc_json_get(g, "class"), "video"), *why = NULL;
    nc_error e = { 0 };
    nc_processor *p;
    nc_features got;
    nc_golden_tensors file = { 0 };
    nc_golden_tensor t;
    double worst = 0, std[3], mean[3];

    int code = nc_processor_parse(r->a, r->config, NULL, r->config_file, &p, &e);
    if (code == 0)
        code = video_features(r, g, p, &got, &e);
    if (code == 0)
        code = nc_golden_tensors_open(r->a, nc_path_join(r->a, r->folder, "golden.safetensors"), &file, &e) < 0 ? NC_EFORMAT : 0;
    if (code < 0) {
        r->report(r->context, name, code == NC_ENOTFOUND ? NC_GOLDEN_SKIPPED : NC_GOLDEN_FAILED, 0, e.message);
        return;
    }
    const nc_feature *f = nc_features_get(&got, "pixel_values_videos");
    const float *want = nc_golden_tensor_get(&file, "pixel_values_videos", &t) ? nc_golden_floats(r->a, &t) : NULL;
    nc_processor_colors(p, mean, std);
    if (!f || !want || t.elements != elements(f) || !same_shape(nc_json_path(g, "shapes.pixel_values_videos"), f))
        why = "the shape differs";
    for (int64_t i = 0; !why && i < t.elements; i++)
        worst = fmax(worst, fabs((double)f->f32[i] - (double)want[i]));
    if (!why && !(worst <= 2.01 / 255 / fmin(std[0], fmin(std[1], std[2]))))
        why = "values differ by more than two levels";
    nc_unmap_file(&file.file);
    r->report(r->context, name, why ? NC_GOLDEN_FAILED : NC_GOLDEN_OK, worst, why ? why : "");
}

int nc_golden_processor(const char *folder, const char *data, nc_golden_fn *report, void *context, nc_error *e)
{
    struct run r = { .a = nc_arena_new(), .folder = folder, .data = data, .report = report, .context = context };
    nc_json *g;

    int code = nc_json_load(r.a, nc_path_join(r.a, folder, "golden.json"), &g, e);
    const bool video = code == 0 && nc_json_get(g, "video");
    if (code == 0 && !nc_file_exists(nc_path_join(r.a, folder, "preprocessor_config.json")) &&
        !nc_file_exists(nc_path_join(r.a, folder, "video_preprocessor_config.json"))) {
        nc_arena_free(r.a);
        return nc_golden_media(folder, data, report, context, e);
    }
    r.config_file = nc_path_join(r.a, folder, video ? "video_preprocessor_config.json" : "preprocessor_config.json");
    if (code == 0)
        code = nc_json_load(r.a, r.config_file, &r.config, e);
    if (code == 0 && video)
        run_video(&r, g);
    else if (code == 0)
        NC_JSON_EACH(v, nc_json_get(g, "images"))
            run_picture(&r, v);
    nc_arena_free(r.a);
    return code;
}

/* golden_media.c - the golden folders of pictures themselves: decoded synthetic files, decoded real files, Pillow's and torchvision's resizing,
 * video frames, times and sampling, single augmentations (golden_augment.c). The kind is told by what the folder holds.
 */
#include "front/golden_media.h"
#include "base/hash.h"
#include "front/golden_augment.h"
#include "front/golden_tensors.h"
#include "media/resize.h"
#include "media/video.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct run { nc_arena *a; const char *folder, *data; nc_golden_fn *report; void *context; nc_golden_tensors t; const nc_json *g; };

static void result(const struct run *r, const char *name, const char *why, double worst)
{
    r->report(r->context, name, why ? NC_GOLDEN_FAILED : NC_GOLDEN_OK, worst, why ? why : "");
}

static void skip(const struct run *r, const char *name, const char *why) { r->report(r->context, name, NC_GOLDEN_SKIPPED, 0, why); }

/* 0 when decoded; else the case has been reported. */
static int decode(const struct run *r, const char *name, const char *path, bool upright, nc_image *im)
{
    nc_mapped f;
    nc_error e = { 0 };
    if (!nc_file_exists(path)) {
        skip(r, name, "the picture is not here");
        return 1;
    }
    int code = nc_map_file(path, &f, &e);
    if (code == 0) {
        code = nc_image_decode(f.p, f.n, &(nc_image_options){ .rgb = true, .keep_orientation = !upright }, im, &e);
        nc_unmap_file(&f);
    }
    if (code < 0)
        result(r, name, e.message, 0);
    return code;
}

static void images(struct run *r)
{
    NC_JSON_EACH(v, r->t.header) {
        nc_golden_tensor want;
        nc_image im;
        if (!nc_starts_with(v->key.p, "rgb."))
            continue;
        const char *name = v->key.p + 4, *why = NULL;
        if (decode(r, name, nc_path_join(r->a, r->folder, name), true, &im))
            continue;
        if (!nc_golden_tensor_get(&r->t, v->key.p, &want) || want.rank != 3 || want.shape[0] != im.height || want.shape[1] != im.width)
            why = "the size differs";
        else if (memcmp(want.bytes, im.pixels, nc_image_bytes(&im)) != 0)
            why = "pixels differ";
        result(r, name, why, 0);
        nc_image_free(&im);
    }
}

static void files(struct run *r)
{
    NC_JSON_EACH(v, nc_json_get(r->g, "files")) {
        char hex[65];
        nc_image im;
        if (decode(r, v->key.p, nc_path_join(r->a, r->data ? r->data : "", v->key.p), false, &im))
            continue;
        nc_sha256_hex(im.pixels, nc_image_bytes(&im), hex);
        result(r, v->key.p, strcmp(hex, nc_json_string(nc_json_get(v, "rgb_sha256"), "")) ? "pixels differ" : NULL, 0);
        nc_image_free(&im);
    }
}

/* A tensor [h, w] or [h, w, c] of bytes as a picture that borrows them. */
static bool borrow(const struct run *r, const char *name, nc_image *out)
{
    nc_golden_tensor t;
    if (!nc_golden_tensor_get(&r->t, name, &t) || strcmp(t.dtype, "U8") != 0 || t.rank < 2 || t.rank > 3 || t.elements < 1 || t.elements > INT32_MAX ||
        (t.rank == 3 && t.shape[2] > 4))
        return false;
    *out = (nc_image){ (int)t.shape[1], (int)t.shape[0], t.rank == 3 ? (int)t.shape[2] : 1, (uint8_t *)(uintptr_t)t.bytes };
    return true;
}

static const char *differ(const nc_image *got, const nc_image *want, int allowed, double *worst)
{
    if (got->width != want->width || got->height != want->height || got->channels != want->channels)
        return "the size differs";
    for (size_t i = 0; i < nc_image_bytes(got); i++)
        *worst = fmax(*worst, abs(got->pixels[i] - want->pixels[i]));
    return *worst > allowed ? "pixels differ" : NULL;
}

static const char *resize_floats(struct run *r, const char *name, int w, int h, nc_filter f, double *worst)
{
    nc_golden_tensor in, want;
    nc_error e;
    if (!nc_golden_tensor_get(&r->t, "in.f", &in) || !nc_golden_tensor_get(&r->t, name, &want) || in.rank != 2 || want.elements != (int64_t)w * h)
        return "the size differs";
    const float *from = nc_golden_floats(r->a, &in), *expected = nc_golden_floats(r->a, &want);
    float *got = NC_NEW_ARRAY(r->a, float, (int64_t)w * h);
    if (!from || !expected || nc_resize_f32(from, (int)in.shape[1], (int)in.shape[0], got, w, h, f, NC_RESIZE_PILLOW, &e) < 0)
        return "could not be scaled";
    double scale = 1;
    for (int64_t i = 0; i < want.elements; i++) {
        scale = fmax(scale, fabs((double)expected[i]));
        *worst = fmax(*worst, fabs((double)got[i] - (double)expected[i]));
    }
    return *worst <= 2e-6 * scale ? NULL : "values differ";
}

static const char *resize_bytes(struct run *r, const char *name, const char *mode, bool box, int w, int h, nc_filter f, double *worst)
{
    const nc_box b = { 3.3, 1.25, 29.75, 21.5 };
    nc_image in, want, got;
    nc_error e = { 0 };
    if (!borrow(r, nc_arena_printf(r->a, "in.%s", mode), &in) || !borrow(r, name, &want))
        return "the tensors are damaged";
    if (nc_resize(&in, w, h, f, box ? &b : NULL, NC_RESIZE_PILLOW, &got, &e) < 0)
        return nc_arena_strdup(r->a, e.message);
    const char *why = differ(&got, &want, 0, worst);
    nc_image_free(&got);
    return why;
}

/* torchvision's result is planes [3, h, w]. */
static const char *resize_torch(struct run *r, const char *name, int w, int h, nc_filter f, double *worst)
{
    nc_golden_tensor planes;
    nc_image in, want, got;
    nc_error e = { 0 };
    if (!borrow(r, "in.rgb", &in) || !nc_golden_tensor_get(&r->t, name, &planes) || planes.elements != 3 * (int64_t)w * h)
        return "the tensors are damaged";
    if (nc_resize(&in, w, h, f, NULL, NC_RESIZE_TORCHVISION, &got, &e) < 0)
        return nc_arena_strdup(r->a, e.message);
    const int64_t plane = (int64_t)w * h;
    uint8_t *interleaved = nc_arena_alloc(r->a, (size_t)(3 * plane));
    for (int64_t i = 0; i < 3 * plane; i++)
        interleaved[i % plane * 3 + i / plane] = planes.bytes[i];
    want = (nc_image){ w, h, 3, interleaved };
    const char *why = differ(&got, &want, 2, worst);
    nc_image_free(&got);
    return why;
}

static bool interpolation_by_name(const char *name, nc_interpolation *out)
{
    static const char *const names[] = { "nearest", "nearest-exact", "bilinear.plain", "bicubic.plain" };
    for (int i = 0; i < NC_COUNT(names); i++)
        if (!strcmp(name, names[i])) {
            *out = (nc_interpolation)i;
            return true;
        }
    return false;
}

/* torchvision's resize of planes of numbers (bytes: the same numbers, where nothing is averaged), with antialias or without. */
static const char *resize_planes(struct run *r, const char *name, int w, int h, const char *how, double *worst)
{
    nc_golden_tensor want;
    nc_image in;
    nc_error e;
    nc_filter f = NC_BICUBIC;
    nc_interpolation plain = NC_INTERPOLATE_NEAREST;
    const bool is_plain = interpolation_by_name(how, &plain), bytes = nc_starts_with(name, "tv.u8.");
    const int64_t n = (int64_t)w * h;
    if (!borrow(r, "in.rgb", &in) || !nc_golden_tensor_get(&r->t, name, &want) || want.elements != 3 * n || (!is_plain && !nc_filter_by_name(how, &f)))
        return "the tensors are damaged, or the way of scaling is unknown";
    const float *expected = bytes ? NULL : nc_golden_floats(r->a, &want);
    float *plane = NC_NEW_ARRAY(r->a, float, (int64_t)in.width * in.height), *got = NC_NEW_ARRAY(r->a, float, n);
    for (int k = 0; k < 3; k++) {
        for (int64_t i = 0; i < (int64_t)in.width * in.height; i++)
            plane[i] = (float)in.pixels[3 * i + k];
        int status = is_plain ? nc_interpolate_f32(plane, in.width, in.height, got, w, h, plain, &e)
                              : nc_resize_f32(plane, in.width, in.height, got, w, h, f, NC_RESIZE_TORCHVISION, &e);
        if (status < 0)
            return "could not be scaled";
        for (int64_t i = 0; i < n; i++)
            *worst = fmax(*worst, fabs((double)got[i] - (bytes ? want.bytes[k * n + i] : (double)expected[k * n + i])));
    }
    return *worst <= 2e-6 * 255 ? NULL : "values differ";
}

static void resizing(struct run *r)
{
    NC_JSON_EACH(v, r->t.header) {
        const char *name = v->key.p, *why;
        char mode[8], filter[24];
        int w, h;
        double worst = 0, gap;
        nc_filter f;
        if (nc_starts_with(name, "in.") || strcmp(name, "__metadata__") == 0)
            continue;
        const bool box = strstr(name, ".box.") && sscanf(name, "%7[a-z].box.%dx%d.%23s", mode, &w, &h, filter) == 4;
        if (sscanf(name, "big.reduce.%dx%d", &w, &h) == 2) {
            nc_image in, want, got;
            nc_error e;
            why = borrow(r, "in.big", &in) && borrow(r, name, &want) && nc_reduce(&in, w, h, &got, &e) == 0 ? NULL : "could not be reduced";
            if (!why) {
                why = differ(&got, &want, 0, &worst);
                nc_image_free(&got);
            }
        } else if (sscanf(name, "big.thumbnail%d", &w) == 1) {
            nc_image in, want, got;
            nc_error e;
            why = borrow(r, "in.big", &in) && borrow(r, name, &want) && nc_thumbnail(&in, w, w, &got, &e) == 0 ? NULL : "could not be scaled";
            if (!why) {
                why = differ(&got, &want, 0, &worst);
                nc_image_free(&got);
            }
        } else if (sscanf(name, "big.gap%lf.%23[a-z].%dx%d", &gap, filter, &w, &h) == 4 && nc_filter_by_name(filter, &f)) {
            nc_image in, want, got;
            nc_error e;
            why = borrow(r, "in.big", &in) && borrow(r, name, &want) && nc_resize_gap(&in, w, h, f, gap, &got, &e) == 0 ? NULL : "could not be scaled";
            if (!why) {
                why = differ(&got, &want, 0, &worst);
                nc_image_free(&got);
            }
        } else if (sscanf(name, "tv.u8.%dx%d.%23s", &w, &h, filter) == 3 && nc_filter_by_name(filter, &f) && f != NC_NEAREST) {
            why = resize_torch(r, name, w, h, f, &worst);
        } else if (sscanf(name, "tv.%*[uf0-9].%dx%d.%23s", &w, &h, filter) == 3 && w > 0 && h > 0 && w <= 65536 && h <= 65536) {
            why = resize_planes(r, name, w, h, filter, &worst);
        } else if ((box || sscanf(name, "%7[a-z].%dx%d.%23s", mode, &w, &h, filter) == 4) && nc_filter_by_name(filter, &f) && w > 0 && h > 0 &&
                   w <= 65536 && h <= 65536) {
            why = strcmp(mode, "f") == 0 ? resize_floats(r, name, w, h, f, &worst) : resize_bytes(r, name, mode, box, w, h, f, &worst);
        } else {
            why = "this way of scaling is unknown";
        }
        result(r, name, why, worst);
    }
}

struct watch { struct run *r; const nc_json *want; const float *means; const uint8_t *times; int64_t frames; int seen; double worst; const char *why; };

static int watch_frame(void *context, const nc_video_planes *p, const nc_image *rgb, nc_error *e)
{
    struct watch *w = context;
    double sum[3] = { 0 }, time;
    char hex[65];
    (void)e;
    if (p->index >= w->frames) {
        w->why = "there are more frames";
        return 0;
    }
    memcpy(&time, w->times + 8 * p->index, 8);
    if (fabs(time - p->time) > 1e-6)
        w->why = "a frame's time differs";
    for (size_t i = 0; i < nc_image_bytes(rgb); i++)
        sum[i % 3] += rgb->pixels[i];
    for (int c = 0; c < 3; c++)
        w->worst = fmax(w->worst, fabs(sum[c] / ((double)rgb->width * rgb->height) - (double)w->means[3 * p->index + c]));
    const nc_json *hash = p->index % 10 ? NULL : nc_json_at(nc_json_get(w->want, "rgb_sha256_first_32_hex"), p->index / 10);
    nc_sha256_hex(rgb->pixels, hash ? nc_image_bytes(rgb) : 0, hex);
    hex[32] = 0;
    if (hash && !nc_str_eqz(hash->text, hex))
        w->why = "pixels differ";
    w->seen++;
    return 0;
}

/* Each rule of golden.json's "sampling" by its name. */
static const char *sampling(struct run *r, const nc_json *want, int n, double fps)
{
    static const struct { const char *format; nc_sampling rule; } rules[] = { { "linspace_%d", NC_SAMPLE_LINSPACE }, { "arange_%d", NC_SAMPLE_ARANGE },
        { "segment_middle_%d", NC_SAMPLE_SEGMENT_MIDDLE }, { "default_%d", NC_SAMPLE_DEFAULT } };
    NC_JSON_EACH(rule, nc_json_get(want, "sampling")) {
        const char *name = rule->key.p;
        int *index = NC_NEW_ARRAY(r->a, int, n + 1024), k = 0, most = 0, count = -1;
        double rate;
        nc_error e;
        if (sscanf(name, "default_fps_%lf", &rate) == 1) {
            count = nc_sample_count(n, fps, rate);
            if (nc_sample_frames(NC_SAMPLE_DEFAULT, n, count, NULL, index, &e) < 0)
                count = -1;
        } else if (sscanf(name, "qwen2vl_fps_%lf_max_%d", &rate, &most) == 2) {
            count = nc_sample_qwen2vl(n, fps, rate, 0, 4, most, index, &e);
        } else if (sscanf(name, "qwen2vl_num_%d", &k) == 1) {
            count = nc_sample_qwen2vl(n, fps, 0, k, 4, 768, index, &e);
        } else {
            for (int i = 0; i < NC_COUNT(rules); i++)
                if (sscanf(name, rules[i].format, &k) == 1 && k <= 1024 && nc_sample_frames(rules[i].rule, n, k, NULL, index, &e) == 0)
                    count = k;
        }
        int i = 0;
        NC_JSON_EACH(v, rule)
            if (i >= count || index[i++] != nc_json_int(v, -1))
                return nc_arena_printf(r->a, "sampling %s differs", name);
        if (i != count)
            return nc_arena_printf(r->a, "sampling %s takes %d frames", name, count);
    }
    return NULL;
}

static void videos(struct run *r)
{
    NC_JSON_EACH(v, nc_json_get(r->g, "videos")) {
        const char *name = v->key.p, *path = r->data ? nc_path_join(r->a, r->data, nc_json_string(nc_json_get(v, "file"), "")) : NULL;
        nc_golden_tensor times, means;
        nc_video *video;
        nc_video_info info;
        nc_error e = { 0 };
        if (!path || !nc_file_exists(path)) {
            skip(r, name, "the video is not here");
            continue;
        }
        if (!nc_golden_tensor_get(&r->t, nc_arena_printf(r->a, "times.%s", name), &times) || strcmp(times.dtype, "F64") != 0 ||
            !nc_golden_tensor_get(&r->t, nc_arena_printf(r->a, "means.%s", name), &means) || means.elements != 3 * times.elements) {
            result(r, name, "the tensors are damaged", 0);
            continue;
        }
        struct watch w = { .r = r, .want = v, .times = times.bytes, .means = nc_golden_floats(r->a, &means), .frames = times.elements };
        int code = w.means ? nc_video_open(path, NULL, &video, &e) : nc_fail(&e, NC_EFORMAT, "means are not F32");
        if (code == 0) {
            nc_video_describe(video, &info);
            w.why = sampling(r, v, (int)times.elements, info.fps);
            code = nc_video_each(video, watch_frame, &w, &e);
            nc_video_free(video);
        }
        const char *why = code < 0 ? e.message : w.why ? w.why : w.seen != w.frames ? "there are fewer frames" : w.worst > 1e-3 ? "means differ" : NULL;
        result(r, name, why, w.worst);
    }
}

int nc_golden_media(const char *folder, const char *data, nc_golden_fn *report, void *context, nc_error *e)
{
    struct run r = { .a = nc_arena_new(), .folder = folder, .data = data, .report = report, .context = context };
    nc_json *g = NULL;
    char *decoded = nc_path_join(r.a, folder, "decoded.safetensors"), *golden = nc_path_join(r.a, folder, "golden.safetensors");
    int code = nc_json_load(r.a, nc_path_join(r.a, folder, "golden.json"), &g, e);
    const bool own = code == 0 && nc_file_exists(decoded), tensors = own || (code == 0 && nc_file_exists(golden));

    r.g = g;
    if (tensors)
        code = nc_golden_tensors_open(r.a, own ? decoded : golden, &r.t, e);
    if (code == 0) {
        if (own)
            images(&r);
        else if (nc_json_get(g, "files"))
            files(&r);
        else if (nc_json_get(g, "videos") && tensors)
            videos(&r);
        else if (nc_json_get(g, "names") && tensors)
            resizing(&r);
        else if (nc_json_get(g, "parameters") && tensors)
            nc_golden_augment(r.a, &r.t, r.g, report, context);
        else
            skip(&r, nc_path_base(folder), "this kind of folder comes with a later part");
        if (tensors)
            nc_unmap_file(&r.t.file);
    }
    nc_arena_free(r.a);
    return code;
}

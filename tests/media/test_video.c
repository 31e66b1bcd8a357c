/* test_video.c - times, planes and RGB of real files against FFmpeg's own, the sampling rules, writing and reading again, damaged files. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "media/golden.h"
#include "media/video.h"
#include "base/rng.h"
#include <math.h>

struct golden_case { const nc_json *v; const char *name; const double *times; const float *means; const uint8_t *pixels; int frames; nc_arena *a; };

static int check_frame(void *context, const nc_video_planes *p, const nc_image *rgb, nc_error *e)
{
    (void)e;
    struct golden_case *c = context;
    char hex[65];
    double mean[3] = { 0 };
    if (fabs(p->time - c->times[p->index]) > 1e-9)
        fail_msg("%s: frame %d at %.9g, want %.9g", c->name, p->index, p->time, c->times[p->index]);
    for (size_t i = 0; i < nc_image_bytes(rgb); i++)
        mean[i % 3] += rgb->pixels[i];
    for (int j = 0; j < 3; j++)
        if (fabs(mean[j] / ((double)rgb->width * rgb->height) - (double)c->means[3 * p->index + j]) > 1e-3)
            fail_msg("%s: frame %d channel %d has mean %.6g, want %.6g", c->name, p->index, j, mean[j] / ((double)rgb->width * rgb->height),
                     (double)c->means[3 * p->index + j]);
    c->frames++;
    if (p->index % 10)
        return 0;
    const nc_json *want = nc_json_at(nc_json_get(c->v, "rgb_sha256_first_32_hex"), p->index / 10);
    if (!want)
        return 0;
    nc_sha256_hex(rgb->pixels, nc_image_bytes(rgb), hex);
    hex[32] = 0;
    if (strcmp(hex, want->text.p) != 0)
        fail_msg("%s: frame %d: other RGB than the reference", c->name, p->index);
    const nc_json *planes = nc_json_at(nc_json_get(c->v, "planes_sha256_first_32_hex"), p->index / 10);
    for (int i = 0; i < 3; i++) {
        nc_buf b = { 0 };
        for (int y = 0; y < p->plane_height[i]; y++)
            nc_buf_add(&b, p->plane[i] + (ptrdiff_t)y * p->stride[i], (size_t)p->plane_width[i]);
        nc_sha256_hex(b.p, b.n, hex);
        hex[32] = 0;
        assert_string_equal(hex, nc_json_string(nc_json_at(planes, i), ""));
        nc_buf_free(&b);
    }
    return 0;
}

static void check_sampling(const nc_json *v, int n, double fps, const double *times)
{
    NC_JSON_EACH(rule, nc_json_get(v, "sampling")) {
        int *index = calloc((size_t)n + 64, sizeof *index), k, count = -1, most;
        double rate;
        const char *name = rule->key.p;
        nc_error e;
        if (sscanf(name, "default_fps_%lf", &rate) == 1) {
            count = nc_sample_count(n, fps, rate);
            assert_int_equal(nc_sample_frames(NC_SAMPLE_DEFAULT, n, count, times, index, &e), 0);
        } else if (sscanf(name, "qwen2vl_fps_%lf_max_%d", &rate, &most) == 2) {
            count = nc_sample_qwen2vl(n, fps, rate, 0, 4, most, index, &e);
        } else if (sscanf(name, "qwen2vl_num_%d", &k) == 1) {
            count = nc_sample_qwen2vl(n, fps, 0, k, 4, 768, index, &e);
        } else {
            static const struct { const char *format; nc_sampling rule; } rules[] = { { "linspace_%d", NC_SAMPLE_LINSPACE },
                { "arange_%d", NC_SAMPLE_ARANGE }, { "default_%d", NC_SAMPLE_DEFAULT }, { "segment_middle_%d", NC_SAMPLE_SEGMENT_MIDDLE } };
            for (int i = 0; i < 4; i++)
                if (sscanf(name, rules[i].format, &k) == 1) {
                    count = k;
                    assert_int_equal(nc_sample_frames(rules[i].rule, n, k, times, index, &e), 0);
                }
        }
        if (count != rule->count)
            fail_msg("%s takes %d frames, want %d", name, count, rule->count);
        int i = 0;
        NC_JSON_EACH(want, rule) {
            if (index[i] != nc_json_int(want, -1))
                fail_msg("%s of %d: index %d is %d, want %d", name, n, i, index[i], (int)nc_json_int(want, -1));
            i++;
        }
        free(index);
    }
}

static void golden_videos(void **state)
{
    (void)state;
    nc_arena *a = nc_arena_new();
    nc_json *g;
    nc_error e;
    tensors t;
    int missing = 0, seen = 0;
    char *folder = golden_path(a, "processors/video-decode");
    if (!folder || !tensors_open(a, nc_path_join(a, folder, "golden.safetensors"), &t)) {
        print_message("skipped: no golden/processors/video-decode\n");
        nc_arena_free(a);
        return;
    }
    assert_int_equal(nc_json_load(a, nc_path_join(a, folder, "golden.json"), &g, &e), 0);
    NC_JSON_EACH(v, nc_json_get(g, "videos")) {
        int64_t s[4];
        int rank;
        const int n = (int)nc_json_int(nc_json_get(v, "frames"), 0);
        struct golden_case c = { .v = v, .name = v->key.p, .a = a };
        c.times = tensor(&t, nc_arena_printf(a, "times.%s", c.name), s, &rank);
        c.means = tensor(&t, nc_arena_printf(a, "means.%s", c.name), s, &rank);
        check_sampling(v, n, nc_json_double(nc_json_get(v, "fps"), 0), c.times);
        char *path = picture_path(a, nc_json_string(nc_json_get(v, "file"), ""));
        if (!path) {
            missing++;
            continue;
        }
        nc_video *video;
        nc_video_info info;
        if (nc_video_open(path, NULL, &video, &e) < 0)
            fail_msg("%s", e.message);
        nc_video_describe(video, &info);
        assert_int_equal(info.width, nc_json_int(nc_json_get(v, "width"), 0));
        assert_int_equal(info.frames, n);
        assert_true(fabs(info.fps - nc_json_double(nc_json_get(v, "fps"), 0)) < 1e-9);
        for (int i = 0; i < 6; i++)
            assert_int_equal(info.color[i], nc_json_int(nc_json_at(nc_json_get(v, "constants"), i), 0));
        if (nc_video_each(video, check_frame, &c, &e) < 0)
            fail_msg("%s: %s", path, e.message);
        assert_int_equal(c.frames, n);
        nc_video_free(video);
        seen++;
    }
    if (missing)
        print_message("skipped: %d of the videos are not here\n", missing);
    assert_true(seen + missing == 5);
    nc_unmap_file(&t.file);
    nc_arena_free(a);
}

/* A bright square that moves over a smooth ground. */
static void draw(nc_image *im, int w, int h, int step)
{
    assert_int_equal(nc_image_new(w, h, 3, im, NULL), 0);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            bool in = x >= step * 2 && x < step * 2 + 16 && y >= 16 && y < 32;
            memcpy(im->pixels + ((size_t)y * (size_t)w + (size_t)x) * 3, (uint8_t[]){ in ? 230 : 40, in ? 200 : (uint8_t)(60 + y), in ? 40 : 120 }, 3);
        }
}

enum { clip_frames = 24, clip_fps = 8 };

static void make_clip(nc_buf *mp4)
{
    nc_image f[clip_frames];
    nc_error e;
    for (int i = 0; i < clip_frames; i++)
        draw(&f[i], 96, 64, i);
    if (nc_video_encode(f, clip_frames, clip_fps, mp4, &e) < 0)
        fail_msg("%s", e.message);
    for (int i = 0; i < clip_frames; i++)
        nc_image_free(&f[i]);
}

static void write_and_read(void **state)
{
    (void)state;
    nc_buf mp4 = { 0 }, again = { 0 };
    nc_error e;
    make_clip(&mp4);
    make_clip(&again);
    assert_int_equal(mp4.n, again.n);
    assert_memory_equal(mp4.p, again.p, mp4.n);
    nc_video *v;
    nc_image f[6], want;
    double times[6];
    int taken;
    if (nc_video_open_memory(mp4.p, mp4.n, NULL, &v, &e) < 0)
        fail_msg("%s", e.message);
    nc_video_info info;
    nc_video_describe(v, &info);
    assert_int_equal(info.frames, clip_frames);
    assert_true(fabs(info.fps - clip_fps) < 1e-9);
    assert_int_equal(nc_video_sample(v, NC_SAMPLE_TIME, 6, f, times, &taken, &e), 0);
    assert_int_equal(taken, 6);
    for (int i = 0; i < 6; i++) {
        int step = 4 * i + 2, worst = 0;
        assert_true(fabs(times[i] - (double)step / clip_fps) < 1e-6);
        draw(&want, 96, 64, step);
        for (size_t j = 0; j < nc_image_bytes(&want); j++)
            worst = abs(want.pixels[j] - f[i].pixels[j]) > worst ? abs(want.pixels[j] - f[i].pixels[j]) : worst;
        assert_true(worst < 70);
        nc_image_free(&want);
        nc_image_free(&f[i]);
    }
    /* More frames than there are: as many as there are, in order. */
    nc_image *all = calloc(clip_frames + 8, sizeof *all);
    assert_int_equal(nc_video_sample(v, NC_SAMPLE_DEFAULT, clip_frames + 8, all, NULL, &taken, &e), 0);
    assert_int_equal(taken, clip_frames);
    for (int i = 0; i < taken; i++)
        nc_image_free(&all[i]);
    free(all);
    nc_video_free(v);
    nc_buf_free(&mp4);
    nc_buf_free(&again);
}

static void damaged_videos(void **state)
{
    (void)state;
    nc_buf mp4 = { 0 };
    nc_error e = { 0 };
    nc_video *v;
    nc_image f[4];
    int taken;
    make_clip(&mp4);
    nc_rng r = nc_rng_new(11, 0);
    for (int i = 0; i < 150; i++) {
        size_t n = i % 3 ? mp4.n : nc_rng_below(&r, mp4.n);
        char *copy = malloc(n + 1);
        memcpy(copy, mp4.p, n);
        for (int k = 0; i % 3 && k < 6; k++)
            copy[nc_rng_below(&r, n)] = (char)nc_rng_u32(&r);
        e.message[0] = 0;
        if (nc_video_open_memory(copy, n, &(nc_video_options){ .max_pixels = 1 << 20, .max_frames = 100 }, &v, &e) < 0) {
            assert_true(e.message[0] != 0 && v == NULL);
        } else {
            if (nc_video_sample(v, NC_SAMPLE_TIME, 4, f, NULL, &taken, &e) == 0)
                for (int k = 0; k < taken; k++)
                    nc_image_free(&f[k]);
            nc_video_free(v);
        }
        free(copy);
    }
    assert_int_equal(nc_video_open_memory("not a video at all", 18, NULL, &v, &e), NC_EFORMAT);
    assert_int_equal(nc_video_open_memory(mp4.p, mp4.n, &(nc_video_options){ .max_frames = 5 }, &v, &e), NC_ELIMIT);
    assert_int_equal(nc_video_open_memory(mp4.p, mp4.n, &(nc_video_options){ .max_seconds = 1 }, &v, &e), NC_ELIMIT);
    assert_int_equal(nc_video_open_memory(mp4.p, mp4.n, &(nc_video_options){ .max_pixels = 100 }, &v, &e), NC_ELIMIT);
    assert_int_equal(nc_video_open("no/such/file.mp4", NULL, &v, &e), NC_ENOTFOUND);
    nc_buf_free(&mp4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_videos), cmocka_unit_test(write_and_read), cmocka_unit_test(damaged_videos),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

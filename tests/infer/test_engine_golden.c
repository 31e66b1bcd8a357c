/* Greedy texts of reference checkpoints token for token: alone, all at once, in small chunks, with a cache, several choices, one or more threads. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "infer/generation.h"

static const char *const folders[] = { "llama", "gpt2", "gpt2_prefixed", "qwen3", "llama3", "mistral", "phi3", "gemma3", "mixtral", "deepseek_v2", "gpt_neox", "bloom", "mamba", "mamba2", "rwkv", "qwen3_next", "deepseek_v32" };

static bool folder_of(const char *name, char out[512])
{
    const char *shared = getenv("NUNCHI_SHARED");
    snprintf(out, 512, "tests/golden/models/%s", name);
    if (!nc_is_dir(out))
        snprintf(out, 512, "%s/golden/models/%s", shared ? shared : "../shared", name);
    if (!nc_is_dir(out))
        printf("skipped: %s is not there (NUNCHI_SHARED names the folder of reference data)\n", out);
    return nc_is_dir(out);
}

struct golden { nc_safetensors *tensors; nc_loaded *loaded; int32_t prompt[3][64]; int count[3]; int32_t want[64]; int want_count; };

static void read_ids(const struct golden *g, const char *name, int32_t *out, int *count)
{
    const nc_stored *t = nc_safetensors_find(g->tensors, name);
    assert_non_null(t);
    *count = (int)nc_shape_count(&t->shape);
    assert_true(*count <= 64);
    for (int i = 0; i < *count; i++)
        out[i] = (int32_t)nc_dtype_load(t->dtype, t->data, i);
}

static void check(int status, const nc_error *e)
{
    if (status < 0)
        fail_msg("%s", e->message);
}

static void open_golden_in(const char *folder, nc_dtype compute, struct golden *g)
{
    nc_error e = { 0 };
    char path[600];
    snprintf(path, sizeof path, "%s/golden.safetensors", folder);
    check(nc_safetensors_open(path, &g->tensors, &e), &e);
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "in.input_ids.%d", i);
        read_ids(g, path, g->prompt[i], &g->count[i]);
    }
    read_ids(g, "generate.new_ids", g->want, &g->want_count);
    nc_load_options o = { .weights = { compute, true, NULL, nc_kernels_best() } };
    check(nc_load(folder, &o, &g->loaded, &e), &e);
}

static void open_golden(const char *folder, struct golden *g) { open_golden_in(folder, NC_F32, g); }

static void close_golden(struct golden *g)
{
    nc_safetensors_close(g->tensors);
    nc_loaded_free(g->loaded);
}

static nc_generation *begin(nc_engine *g, const int32_t *ids, int count, int max_tokens, int choices, double temperature)
{
    nc_error e = { 0 };
    nc_generation *x = NULL;
    nc_generation_options o = { .max_tokens = max_tokens, .choices = choices, .ignore_end = true };
    nc_sample_defaults(&o.sample);
    o.sample.temperature = temperature;
    o.sample.seed = 5;
    o.sample.logprobs = true;
    check(nc_generation_start(g, &(nc_prompt){ .ids = ids, .count = count, .pictures = NULL, .picture_count = 0 }, &o, &x, &e), &e);
    return x;
}

/* Tokens and log-probabilities of every choice. */
struct text { int32_t ids[8][80]; float logprob[8][80]; int count[8]; };

static void collect(nc_generation *x, struct text *out)
{
    memset(out, 0, sizeof *out);
    for (nc_piece *p; (p = nc_generation_next(x, -1)); nc_piece_free(p)) {
        if (p->finish == NC_FINISH_ERROR)
            fail_msg("%s", p->error.message);
        for (int i = 0; i < p->token_count; i++) {
            int at = out->count[p->choice]++;
            assert_true(at < 80);
            out->ids[p->choice][at] = p->tokens[i].id;
            out->logprob[p->choice][at] = p->tokens[i].logprob;
        }
    }
    nc_generation_free(x);
}

static nc_engine *engine(struct golden *g, const nc_engine_options *o)
{
    nc_engine *out = NULL;
    nc_error e = { 0 };
    check(nc_engine_new(g->loaded, o, &out, &e), &e);
    return out;
}

static void assert_golden(const struct golden *g, const struct text *t, const char *name)
{
    if (t->count[0] != g->want_count || memcmp(t->ids[0], g->want, sizeof *g->want * (size_t)g->want_count))
        fail_msg("%s: another text than the reference", name);
}

static void test_greedy(void **state)
{
    (void)state;
    for (size_t f = 0; f < sizeof folders / sizeof *folders; f++) {
        char folder[512];
        struct golden g = { 0 };
        struct text t;
        if (!folder_of(folders[f], folder))
            continue;
        open_golden(folder, &g);
        nc_engine *e = engine(&g, &(nc_engine_options){ .sequences = 2, .threads = 2 });
        collect(begin(e, g.prompt[1], g.count[1], g.want_count, 1, 0), &t);
        assert_golden(&g, &t, folders[f]);
        nc_engine_free(e);
        close_golden(&g);
    }
}

/* The same bits (log-probabilities compared as floats) alone with one thread, and among others, chunked, with three threads. */
static void same_bits(const char *name, nc_dtype compute)
{
    char folder[512];
    struct golden g = { 0 };
    struct text alone[3], among, many;
    if (!folder_of(name, folder))
        return;
    open_golden_in(folder, compute, &g);
    nc_engine *e = engine(&g, &(nc_engine_options){ .sequences = 1, .threads = 1 });
    for (int i = 0; i < 3; i++)
        collect(begin(e, g.prompt[i], g.count[i], 40, 1, i == 2 ? 0.9 : 0), &alone[i]);
    nc_engine_free(e);
    e = engine(&g, &(nc_engine_options){ .sequences = 7, .threads = 3, .step_tokens = 9 });
    nc_generation *x[9];
    for (int i = 0; i < 9; i++)
        x[i] = begin(e, g.prompt[i % 3], g.count[i % 3], 40, 1, i % 3 == 2 ? 0.9 : 0);
    for (int i = 0; i < 9; i++) {
        collect(x[i], &among);
        assert_int_equal(among.count[0], 40);
        assert_memory_equal(among.ids[0], alone[i % 3].ids[0], sizeof among.ids[0]);
        assert_memory_equal(among.logprob[0], alone[i % 3].logprob[0], sizeof among.logprob[0]);
    }
    collect(begin(e, g.prompt[2], g.count[2], 40, 4, 0.9), &many);
    assert_memory_equal(many.ids[0], alone[2].ids[0], sizeof many.ids[0]);
    assert_memory_equal(many.logprob[0], alone[2].logprob[0], sizeof many.logprob[0]);
    for (int c = 1; c < 4; c++)
        assert_memory_not_equal(many.ids[0], many.ids[c], sizeof many.ids[0]);
    nc_engine_stats s;
    nc_engine_get_stats(e, &s);
    assert_int_equal(s.new_tokens, 9 * 40 + 4 * 40);
    nc_engine_free(e);
    close_golden(&g);
}

static void test_same_bits(void **state)
{
    (void)state;
    same_bits("llama", NC_F32);
    same_bits("llama", NC_BF16);
    same_bits("qwen3", NC_BF16);
    same_bits("llama3", NC_BF16);
    same_bits("mamba2", NC_BF16);
    same_bits("mamba", NC_F32);
}

/* More jobs than slots and pages: they wait in order and all come out right; what can never fit is refused at once. */
static void test_admission(void **state)
{
    (void)state;
    char folder[512];
    struct golden g = { 0 };
    struct text t, first;
    nc_error e = { 0 };
    nc_generation *x[12], *refused = NULL;
    nc_engine_stats s;
    if (!folder_of("llama", folder))
        return;
    open_golden(folder, &g);
    nc_engine *en = engine(&g, &(nc_engine_options){ .sequences = 4, .threads = 2, .cache_bytes = 2 * 32768, .max_length = 100, .max_waiting = 12 });
    for (int i = 0; i < 12; i++)
        x[i] = begin(en, g.prompt[1], g.count[1], 40, 1, 0);
    for (int i = 0; i < 12; i++) {
        collect(x[i], i ? &t : &first);
        assert_int_equal((i ? &t : &first)->count[0], 40);
        if (i)
            assert_memory_equal(&t, &first, sizeof t);
    }
    nc_engine_get_stats(en, &s);
    assert_int_equal(s.pages, 2);
    nc_generation_options o = { .max_tokens = 90, .choices = 3 };
    nc_sample_defaults(&o.sample);
    assert_int_equal(nc_generation_start(en, &(nc_prompt){ .ids = g.prompt[1], .count = g.count[1], .pictures = NULL, .picture_count = 0 }, &o, &refused, &e), NC_EINVAL);
    o.choices = 1;
    int32_t bad[] = { 3, 100000 };
    assert_int_equal(nc_generation_start(en, &(nc_prompt){ .ids = bad, .count = 2, .pictures = NULL, .picture_count = 0 }, &o, &refused, &e), NC_EINVAL);
    assert_int_equal(nc_generation_start(en, &(nc_prompt){ .ids = bad, .count = 0, .pictures = NULL, .picture_count = 0 }, &o, &refused, &e), NC_EINVAL);
    o.sample.temperature = -1;
    assert_int_equal(nc_generation_start(en, &(nc_prompt){ .ids = bad, .count = 1, .pictures = NULL, .picture_count = 0 }, &o, &refused, &e), NC_EINVAL);
    nc_engine_close(en);
    o.sample.temperature = 0;
    assert_int_equal(nc_generation_start(en, &(nc_prompt){ .ids = bad, .count = 1, .pictures = NULL, .picture_count = 0 }, &o, &refused, &e), NC_ECANCELLED);
    nc_engine_free(en);
    close_golden(&g);
}

/* A text nobody wants any longer ends and gives its pages back; the engine may go while texts are being written. */
static void test_cancel(void **state)
{
    (void)state;
    char folder[512];
    struct golden g = { 0 };
    nc_engine_stats s;
    if (!folder_of("llama3", folder))
        return;
    open_golden(folder, &g);
    nc_engine *en = engine(&g, &(nc_engine_options){ .sequences = 2, .threads = 2 });
    nc_generation *x[5];
    for (int i = 0; i < 5; i++)
        x[i] = begin(en, g.prompt[1], g.count[1], 400, 1 + i % 2, 0);
    nc_piece_free(nc_generation_next(x[0], -1));
    nc_generation_cancel(x[4]);
    for (int i = 0; i < 4; i++)
        nc_generation_free(x[i]);
    nc_piece *last = NULL;
    for (nc_piece *p; (p = nc_generation_next(x[4], -1)); last = p)
        nc_piece_free(last);
    assert_int_equal(last->finish, NC_FINISH_CANCELLED);
    nc_piece_free(last);
    nc_generation_free(x[4]);
    for (int i = 0; i < 200; i++) {
        nc_engine_get_stats(en, &s);
        if (s.pages_used == 0)
            break;
        struct timespec ms = { 0, 1000000 };
        nanosleep(&ms, NULL);
    }
    assert_int_equal(s.pages_used, 0);
    assert_int_equal(s.waiting, 0);
    x[0] = begin(en, g.prompt[1], g.count[1], 400, 1, 0);
    nc_engine_free(en);
    last = NULL;
    for (nc_piece *p; (p = nc_generation_next(x[0], -1)); last = p)
        nc_piece_free(last);
    assert_non_null(last);
    nc_piece_free(last);
    nc_generation_free(x[0]);
    close_golden(&g);
}

static int media_frames(const nc_stored *t, bool is_video, nc_visual *out)
{
    int rank = t->shape.rank;
    int64_t h = t->shape.dim[rank - 2];
    *out = (nc_visual){ .is_video = is_video, .pixels = (float *)(uintptr_t)t->data, .frames = (int)t->shape.dim[rank - 4], .channels = (int)t->shape.dim[rank - 3],
                        .height = (int)h, .width = (int)t->shape.dim[rank - 1] };
    return out->frames;
}

/* Pictures or videos as patches, by their grids. */
static int read_patches(const struct golden *g, bool is_video, nc_pictures **p)
{
    const nc_stored *t = nc_safetensors_find(g->tensors, is_video ? "in.pixel_values_videos" : "in.pixel_values");
    const nc_stored *grids = nc_safetensors_find(g->tensors, is_video ? "in.video_grid_thw" : "in.image_grid_thw"), *seconds = nc_safetensors_find(g->tensors, "in.second_per_grid_ts");
    float *pixels = t ? (float *)(uintptr_t)t->data : NULL;
    int count = t && grids ? (int)grids->shape.dim[0] : 0;
    for (int i = 0; i < count; i++) {
        int grid[3];
        for (int k = 0; k < 3; k++)
            grid[k] = (int)nc_dtype_load(grids->dtype, grids->data, 3 * i + k);
        nc_visual v = { .is_video = is_video, .pixels = pixels, .frames = grid[0], .channels = 3, .height = grid[1] * grid[2], .width = (int)(t->shape.dim[1] / 3),
                        .grid_height = grid[1], .grid_width = grid[2], .seconds_per_grid = is_video && seconds ? ((const float *)seconds->data)[i] : 0 };
        p[i] = nc_pictures_new(&v);
        pixels += (int64_t)grid[0] * grid[1] * grid[2] * t->shape.dim[1];
    }
    return count;
}

/* The case's pictures, then its video, into p; how many. Pictures in AnyRes tiles have five axes, patches two. */
static int read_pictures(const struct golden *g, nc_pictures *p[8])
{
    nc_visual v;
    int pictures = 0;
    const nc_stored *images = nc_safetensors_find(g->tensors, "in.pixel_values"), *videos = nc_safetensors_find(g->tensors, "in.pixel_values_videos");
    images = images ? images : nc_safetensors_find(g->tensors, "in.pixel_values_images");
    const nc_stored *sizes = nc_safetensors_find(g->tensors, "in.image_sizes");
    if ((images && images->shape.rank == 2) || (videos && videos->shape.rank == 2)) {
        pictures = read_patches(g, false, p);
        return pictures + read_patches(g, true, p + pictures);
    }
    if (images && images->shape.rank == 5 && nc_safetensors_find(g->tensors, "in.image_attention_mask")) {      /* a prompt's pictures in one row */
        int n = media_frames(images, false, &v);
        v.frames = 1;
        for (int i = 0; i < n; i++, v.pixels += (size_t)v.channels * (size_t)v.height * (size_t)v.width)
            p[pictures++] = nc_pictures_new(&v);
    } else if (images && images->shape.rank == 5) {
        int tiles = media_frames(images, false, &v);
        size_t each = (size_t)tiles * (size_t)v.channels * (size_t)v.height * (size_t)v.width;
        for (int i = 0; i < (int)images->shape.dim[0]; i++, v.pixels += each) {
            v.original_height = sizes ? (int)nc_dtype_load(sizes->dtype, sizes->data, 2 * i) : 0;
            v.original_width = sizes ? (int)nc_dtype_load(sizes->dtype, sizes->data, 2 * i + 1) : 0;
            p[pictures++] = nc_pictures_new(&v);
        }
    } else if (images) {
        int n = media_frames(images, false, &v);
        size_t each = (size_t)v.channels * (size_t)v.height * (size_t)v.width;
        v.frames = 1;
        for (int i = 0; i < n; i++, v.pixels += each)
            p[pictures++] = nc_pictures_new(&v);
    }
    if (videos) {
        media_frames(videos, true, &v);
        p[pictures++] = nc_pictures_new(&v);
    }
    return pictures;
}

/* Pictures and videos: the text of the reference whatever the chunks, the tower run once for the same pixels. */
static void test_media(void **state)
{
    (void)state;
    static const char *const names[] = { "llava", "llava_siglip", "llava_next", "llava_next_video", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "got_ocr2", "internvl", "llava_onevision", "llava_onevision_multi", "video_llava", "idefics3", "paligemma", "blip-2", "idefics" };
    for (int f = 0; f < (int)(sizeof names / sizeof *names); f++) {
        char folder[512];
        struct golden g = { 0 };
        nc_error e = { 0 };
        struct text t;
        int32_t ids[512], want[64];
        nc_pictures *p[8];
        if (!folder_of(names[f], folder))
            continue;
        char path[600];
        snprintf(path, sizeof path, "%s/golden.safetensors", folder);
        check(nc_safetensors_open(path, &g.tensors, &e), &e);
        const nc_stored *in = nc_safetensors_find(g.tensors, "in.input_ids"), *out = nc_safetensors_find(g.tensors, "generate.new_ids");
        int count = (int)nc_shape_count(&in->shape), wanted = (int)nc_shape_count(&out->shape);
        for (int i = 0; i < count; i++)
            ids[i] = (int32_t)nc_dtype_load(in->dtype, in->data, i);
        for (int i = 0; i < wanted; i++)
            want[i] = (int32_t)nc_dtype_load(out->dtype, out->data, i);
        int pictures = read_pictures(&g, p);
        nc_load_options o = { .weights = { NC_F32, true, NULL, nc_kernels_best() } };
        check(nc_load(folder, &o, &g.loaded, &e), &e);
        struct text first;
        for (int run = 0; run < 2 && pictures; run++) {
            nc_engine *en = engine(&g, &(nc_engine_options){ .sequences = 3, .threads = 2, .step_tokens = run ? 5 : 512, .tower_pictures = run ? 1 : 8 });
            nc_generation_options go = { .max_tokens = wanted, .ignore_end = true };
            nc_sample_defaults(&go.sample);
            go.sample.logprobs = true;
            nc_generation *x[3];
            for (int i = 0; i < 3; i++)
                check(nc_generation_start(en, &(nc_prompt){ .ids = ids, .count = count, .pictures = p, .picture_count = pictures }, &go, &x[i], &e), &e);
            for (int i = 0; i < 3; i++) {
                collect(x[i], &t);
                assert_int_equal(t.count[0], wanted);
                assert_memory_equal(t.ids[0], want, sizeof *want * (size_t)wanted);
                first = run == 0 && i == 0 ? t : first;
                assert_memory_equal(t.logprob[0], first.logprob[0], sizeof *t.logprob[0] * (size_t)wanted);      /* the same bits whatever the chunks and the tower's batches */
            }
            nc_engine_stats s;
            nc_engine_get_stats(en, &s);
            assert_true((int)s.media_computed <= pictures);
            assert_int_equal(s.media_computed + s.media_reused, 3 * pictures);
            nc_engine_free(en);
        }
        for (int i = 0; i < pictures; i++)
            nc_pictures_free(p[i]);
        close_golden(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_greedy), cmocka_unit_test(test_same_bits), cmocka_unit_test(test_admission), cmocka_unit_test(test_cancel),
                                        cmocka_unit_test(test_media) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_processor.c - the golden folders of processors, strict keys, stacking, and the kinds of folders. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/file.h"
#include "front/processor.h"
#include "front/processor_golden.h"
#include <stdlib.h>
#include <string.h>

struct tally { const char *folder; int passed, failed, skipped; double worst; };

static void count(void *context, const char *name, nc_golden_result result, double worst, const char *message)
{
    struct tally *t = context;
    t->passed += result == NC_GOLDEN_OK;
    t->skipped += result == NC_GOLDEN_SKIPPED;
    t->worst = worst > t->worst ? worst : t->worst;
    if (result == NC_GOLDEN_FAILED) {
        t->failed++;
        print_message("%s/%s: %s (worst %g)\n", t->folder, name, message, worst);
    }
}

static nc_processor *video_of(nc_arena *a, const char *text)
{
    nc_json *config = NULL;
    nc_processor *p = NULL;
    nc_error e = { 0 };
    if (nc_json_parse(a, nc_str_of(text), "video_preprocessor_config.json", &config, &e) < 0 || nc_processor_parse(a, config, NULL, "video_preprocessor_config.json", &p, &e) < 0)
        fail_msg("%s", e.message);
    return p;
}

/* Sizes and frames as transformers 5.24 chooses them: frames, height, width, area, cap, tokens; height and width for Qwen2-VL and for Qwen3-VL. */
static void sizes_of_videos(void **state)
{
    static const struct { int frames, height, width, least, most, cap, tokens, second[2], third[2]; } cases[] = {
        { 5, 174, 424, 4096, 200000, 0, 768, { 168, 420 }, { 128, 288 } },      { 2, 539, 239, 4096, 200000, 1, 768, { 532, 252 }, { 448, 192 } },
        { 2, 266, 112, 131072, 200000, 0, 64, { 560, 252 }, { 416, 192 } },     { 3, 316, 449, 4096, 200000, 1, 64, { 140, 196 }, { 192, 288 } },
        { 2, 653, 230, 131072, 786432, 1, 768, { 644, 224 }, { 640, 224 } },    { 8, 390, 326, 4096, 200000, 0, 64, { 392, 336 }, { 160, 128 } },
        { 5, 557, 526, 131072, 786432, 1, 64, { 364, 336 }, { 352, 352 } },
    };
    static const int few[] = { 0, 12, 24, 36 }, more[] = { 0, 14, 28, 42, 57, 71, 85, 99 }, middle[] = { 3, 10, 16, 23 };
    int index[128];
    nc_error e = { 0 };
    (void)state;
    for (int i = 0; i < NC_COUNT(cases); i++)
        for (int k = 0; k < 2; k++) {
            nc_arena *a = nc_arena_new();
            nc_processor *p = video_of(a, nc_arena_printf(a, "{\"video_processor_type\": \"%s\", \"size\": {\"shortest_edge\": %d, \"longest_edge\": %d}, \"cap_pixels_per_frame\": %s, "
                                                          "\"max_video_tokens\": %d}", k ? "Qwen3VLVideoProcessor" : "Qwen2VLVideoProcessor", cases[i].least, cases[i].most,
                                                          cases[i].cap ? "true" : "false", cases[i].tokens));
            nc_image frame[8] = { { 0 } };
            nc_features f;
            for (int j = 0; j < cases[i].frames; j++)
                assert_int_equal(nc_image_new(cases[i].width, cases[i].height, 3, &frame[j], &e), 0);
            if (nc_processor_video(p, a, frame, cases[i].frames, &f, &e) < 0)
                fail_msg("%s", e.message);
            const int64_t *grid = nc_features_get(&f, "video_grid_thw")->i64;
            assert_int_equal(grid[0], (cases[i].frames + 1) / 2);
            assert_int_equal(grid[1] * (k ? 16 : 14), k ? cases[i].third[0] : cases[i].second[0]);
            assert_int_equal(grid[2] * (k ? 16 : 14), k ? cases[i].third[1] : cases[i].second[1]);
            for (int j = 0; j < cases[i].frames; j++)
                nc_image_free(&frame[j]);
            nc_arena_free(a);
        }
    nc_arena *a = nc_arena_new();
    nc_processor *third = video_of(a, "{\"video_processor_type\": \"Qwen3VLVideoProcessor\"}"), *intern = video_of(a, "{\"video_processor_type\": \"InternVLVideoProcessor\"}");
    assert_int_equal(nc_processor_sample(third, 37, 30, 0, index, &e), 4);
    assert_memory_equal(index, few, sizeof few);
    assert_int_equal(nc_processor_sample(third, 100, 25, 0, index, &e), 8);
    assert_memory_equal(index, more, sizeof more);
    assert_int_equal(nc_processor_sample(intern, 27, 30, 4, index, &e), 4);
    assert_memory_equal(index, middle, sizeof middle);
    nc_arena_free(a);
}

static void golden(void **state)
{
    (void)state;
    static const char *const folders[] = { "clip", "clip-crop", "siglip", "vit", "trocr", "deit", "dinov2", "blip", "llava", "llava-pad", "convnext",
        "convnext-large", "efficientnet", "llava-next", "llava-onevision", "qwen2-vl", "qwen2-vl-16", "internvl", "got-ocr2", "gemma3", "idefics3",
        "idefics3-nosplit", "video-llava-next-video", "video-llava-onevision", "video-internvl", "video-qwen2-vl",
        "donut", "donut-rotate", "nougat", "pixtral", "siglip2", "pix2struct", "images", "image-decode", "pillow-resize", "video-decode", "augment" };
    const char *shared = getenv("NUNCHI_SHARED");
    shared = shared && *shared ? shared : "../shared";
    nc_arena *a = nc_arena_new();
    int passed = 0, failed = 0, skipped = 0, absent = 0;
    for (int i = 0; i < NC_COUNT(folders); i++) {
        struct tally t = { .folder = folders[i] };
        nc_error e = { 0 };
        char *path = nc_arena_printf(a, "tests/golden/processors/%s", folders[i]);
        if (!nc_is_dir(path))
            path = nc_arena_printf(a, "%s/golden/processors/%s", shared, folders[i]);
        if (!nc_is_dir(path)) {
            absent++;
            continue;
        }
        if (nc_golden_processor(path, nc_arena_printf(a, "%s/data", shared), count, &t, &e) < 0)
            fail_msg("%s: %s", path, e.message);
        passed += t.passed;
        failed += t.failed;
        skipped += t.skipped;
    }
    print_message("processors: %d passed, %d failed\n", passed, failed);
    if (skipped || absent)
        print_message("skipped: %d cases without their picture, %d folders\n", skipped, absent);
    assert_int_equal(failed, 0);
    assert_true(passed > 25);
    nc_arena_free(a);
}

static int parse(nc_arena *a, const char *text, nc_processor **p, nc_error *e)
{
    nc_json *v;
    assert_int_equal(nc_json_parse(a, nc_str_of(text), "preprocessor_config.json", &v, e), 0);
    return nc_processor_parse(a, v, NULL, "preprocessor_config.json", p, e);
}

static void refuses_what_it_does_not_know(void **state)
{
    (void)state;
    nc_arena *a = nc_arena_new();
    nc_processor *p;
    nc_error e = { 0 };
    static const struct { const char *text, *says; } bad[] = {
        { "{\"image_processor_type\": \"CLIPImageProcessor\", \"do_resise\": true}", "did you mean \"do_resize\"" },
        { "{\"image_processor_type\": \"NoSuchProcessor\"}", "NoSuchProcessor" },
        { "{\"do_resize\": true}", "image_processor_type" },
        { "{\"image_processor_type\": \"CLIPImageProcessor\", \"image_std\": [0, 1, 1]}", "image_std" },
        { "{\"image_processor_type\": \"CLIPImageProcessor\", \"size\": {\"shortest_edge\": -3}}", "shortest_edge" },
        { "{\"image_processor_type\": \"CLIPImageProcessor\", \"size\": {\"height\": 3}}", "together" },
        { "{\"image_processor_type\": \"CLIPImageProcessor\", \"resample\": 17}", "resample" },
        { "[1]", "object" },
    };
    for (int i = 0; i < NC_COUNT(bad); i++) {
        assert_true(parse(a, bad[i].text, &p, &e) < 0);
        if (!strstr(e.message, bad[i].says))
            fail_msg("%s should speak of %s", e.message, bad[i].says);
    }
    nc_arena_free(a);
}

/* Two pictures stacked equal each alone; grey and RGBA pictures are taken; the older spelling of sizes is read. */
static void stacking(void **state)
{
    (void)state;
    nc_arena *a = nc_arena_new();
    nc_processor *p;
    nc_error e;
    nc_image im[2];
    nc_features both, one;
    assert_int_equal(parse(a, "{\"feature_extractor_type\": \"CLIPFeatureExtractor\", \"size\": 20, \"crop_size\": 16}", &p, &e), 0);
    assert_string_equal(nc_processor_class(p), "CLIPImageProcessor");
    int height, width;
    nc_processor_size(p, &height, &width);
    assert_int_equal(height, 16);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(nc_image_new(31 + 9 * i, 40, i ? 4 : 1, &im[i], NULL), 0);
        for (size_t k = 0; k < nc_image_bytes(&im[i]); k++)
            im[i].pixels[k] = (uint8_t)(k * 37 % 251);
    }
    assert_int_equal(nc_processor_images(p, a, im, 2, &both, &e), 0);
    assert_int_equal(both.item[0].shape[0], 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(nc_processor_images(p, a, &im[i], 1, &one, &e), 0);
        assert_memory_equal(one.item[0].f32, both.item[0].f32 + i * 3 * 16 * 16, 3 * 16 * 16 * sizeof(float));
        nc_image_free(&im[i]);
    }
    nc_arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden), cmocka_unit_test(sizes_of_videos), cmocka_unit_test(refuses_what_it_does_not_know), cmocka_unit_test(stacking),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

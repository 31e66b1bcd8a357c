/* test_augment.c - augment.txt line by line; every operation on pictures of all shapes and kinds; the same draws, the same bits; wrong entries named. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "media/augment.h"

/* The picture that augment.txt was made from: channel c at (x, y), rgba with channel 1 upside down as its alpha. */
static uint8_t sample(int x, int y, int c) { return (uint8_t)(7 * x * x + 13 * y + 29 * c * (x + 1) + 3 * x * y); }

static nc_image picture(int width, int height, int channels)
{
    nc_image im;
    assert_int_equal(nc_image_new(width, height, channels, &im, NULL), 0);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < channels; c++)
                im.pixels[(y * width + x) * channels + c] = c == 3 ? sample(x, height - 1 - y, 1) : sample(x, y, c);
    return im;
}

static nc_augment *augment(nc_arena *a, const char *list)
{
    nc_json *v;
    nc_error e = { 0 };
    nc_augment *g;
    if (nc_json_parse(a, nc_str_of(list), "list", &v, &e) < 0 || nc_augment_new(a, v, "augment", &g, &e) < 0)
        fail_msg("%s: %s", list, e.message);
    return g;
}

static void matches_pillow_and_torchvision(void **state)
{
    (void)state;
    nc_buf text = { 0 };
    int lines = 0;
    assert_int_equal(nc_file_read("tests/media/augment.txt", 1 << 20, &text, NULL), 0);
    for (char *line = strtok(text.p, "\n"); line; line = strtok(NULL, "\n")) {
        char kind[8], entry[400], size[32], hash[24], got_size[32], hex[65];
        if (*line == '#')
            continue;
        assert_int_equal(sscanf(line, "%7[^\t]\t%399[^\t]\t%31[^\t]\t%23s", kind, entry, size, hash), 4);
        nc_arena *a = nc_arena_new();
        nc_image im = picture(23, 17, !strcmp(kind, "l") ? 1 : !strcmp(kind, "rgba") ? 4 : 3);
        nc_rng rng = nc_rng_new(1, 2);
        nc_error e = { 0 };
        nc_augment *g = augment(a, nc_arena_printf(a, "[%s%s]", !strcmp(kind, "u8") ? "\"PILToTensor\", " : "", entry));
        if (nc_augment_run(g, &rng, &im, &e) < 0)
            fail_msg("%s: %s", line, e.message);
        snprintf(got_size, sizeof got_size, "%dx%dx%d", im.width, im.height, im.channels);
        nc_sha256_hex(im.pixels, nc_image_bytes(&im), hex);
        hex[16] = 0;
        if (strcmp(size, got_size) || strcmp(hash, hex))
            fail_msg("%s\ngives %s %s", line, got_size, hex);
        assert_int_equal(rng.counter, 0);                /* nothing was drawn */
        nc_image_free(&im);
        nc_arena_free(a);
        lines++;
    }
    assert_true(lines > 200);
    nc_buf_free(&text);
}

/* What an operation cannot do without. */
static const struct { const char *name, *needs; } needed[] = {
    { "Image.rotate", "\"angle\": 20, \"resample\": \"bicubic\"" },
    { "Image.transform", "\"method\": \"PERSPECTIVE\", \"data\": [1, 0.1, -1, 0.1, 1, 1, 0.01, 0.01], \"resample\": \"bicubic\"" },
    { "Image.transpose", "\"method\": \"TRANSVERSE\"" },
    { "Image.crop", "\"box\": [-1, -1, 5, 4]" },
    { "Image.convert", "\"mode\": \"HSV\"" },
    { "ImageEnhance.", "\"factor\": 1.4" },
    { "ImageFilter.Kernel", "\"filter\": \"SMOOTH_MORE\"" },
    { "ImageFilter.RankFilter", "\"rank\": 3" },
    { "ImageOps.posterize", "\"bits\": 3" },
    { "ImageOps.scale", "\"factor\": 2.5" },
    { "ImageOps.fit", "\"size\": [7, 5]" },
    { "ImageOps.contain", "\"size\": [64, 64]" },
    { "ImageOps.cover", "\"size\": [7, 5]" },
    { "ImageOps.pad", "\"size\": [64, 64]" },
    { "adjust_brightness", "\"brightness_factor\": 1.3" },
    { "adjust_contrast", "\"contrast_factor\": 1.3" },
    { "adjust_saturation", "\"saturation_factor\": 1.3" },
    { "adjust_hue", "\"hue_factor\": 0.3" },
    { "adjust_gamma", "\"gamma\": 0.7" },
    { "adjust_sharpness", "\"sharpness_factor\": 1.3" },
    { "posterize", "\"bits\": 3" },
    { "solarize", "\"threshold\": 0.5" },
    { "gaussian_blur", "\"kernel_size\": 1" },
    { "crop", "\"top\": 0, \"left\": 1, \"height\": 3, \"width\": 2" },
    { "center_crop", "\"size\": [9, 4]" },
    { "resized_crop", "\"top\": 0, \"left\": 0, \"height\": 2, \"width\": 2, \"size\": 8" },
    { "resize", "\"size\": [5, 9]" },
    { "pad", "\"padding\": [1, 2, 0, 3], \"padding_mode\": \"edge\"" },
    { "rotate", "\"angle\": 20, \"interpolation\": \"bilinear\", \"expand\": true, \"fill\": 3" },
    { "perspective", "\"endpoints\": [[0, 1], [30, 0], [33, 20], [2, 25]], \"startpoints\": [[0, 0], [31, 0], [31, 21], [0, 21]]" },
    { "normalize", "\"mean\": 0.5, \"std\": 0.5" },
    { "erase", "\"top\": 0, \"left\": 0, \"height\": 2, \"width\": 1" },
    { "ConvertImageDtype", "\"dtype\": \"float32\"" },
    { "Resize", "\"size\": 6" },
    { "CenterCrop", "\"size\": 6" },
    { "Pad", "\"padding\": 2" },
    { "RandomCrop", "\"size\": [5, 9], \"pad_if_needed\": true" },
    { "RandomResizedCrop", "\"size\": 8" },
    { "RandomRotation", "\"degrees\": 40, \"expand\": true" },
    { "RandomAffine", "\"degrees\": [-20, 30], \"translate\": [0.2, 0.3], \"scale\": [0.7, 1.4], \"shear\": [-9, 9, -3, 3], \"interpolation\": \"bilinear\"" },
    { "RandomPerspective", "\"p\": 1" },
    { "RandomErasing", "\"p\": 1, \"value\": \"random\"" },
    { "ColorJitter", "\"brightness\": 0.4, \"contrast\": [0.5, 2], \"saturation\": 1, \"hue\": 0.2" },
    { "GaussianBlur", "\"kernel_size\": 1" },
    { "RandomPosterize", "\"bits\": 2, \"p\": 1" },
    { "RandomSolarize", "\"threshold\": 0.5, \"p\": 1" },
    { "RandomAdjustSharpness", "\"sharpness_factor\": 2, \"p\": 1" },
    { "RandomApply", "\"transforms\": [\"hflip\", \"vflip\"], \"p\": 1" },
    { "RandomChoice", "\"transforms\": [\"hflip\", \"invert\"], \"p\": [1, 3]" },
    { "RandomOrder", "\"transforms\": [\"hflip\", \"invert\"]" },
};

static const char *needs_of(const char *name)
{
    for (int i = 0; i < NC_COUNT(needed); i++) {
        const size_t n = strlen(needed[i].name);
        if (!strcmp(needed[i].name, name) || (needed[i].name[n - 1] == '.' && !strncmp(name, needed[i].name, n)))
            return needed[i].needs;
    }
    return NULL;
}

/* Every operation, on rows, columns, single pixels; an error must say something, and the picture must be whole after it. */
static void every_operation_takes_every_shape(void **state)
{
    (void)state;
    static const int shapes[][2] = { { 1, 1 }, { 1, 9 }, { 9, 1 }, { 2, 2 }, { 3, 5 }, { 32, 22 } };
    static const char *const kinds[] = { "", "\"PILToTensor\", ", "\"ToTensor\", " };
    int count, done = 0, refused = 0;
    const char *const *names = nc_augment_names(&count);
    for (int i = 0; i < count; i++)
        for (int k = 0; k < NC_COUNT(kinds); k++)
            for (int s = 0; s < NC_COUNT(shapes) * 3; s++) {
                nc_arena *a = nc_arena_new();
                const char *needs = needs_of(names[i]);
                nc_augment *g = augment(a, nc_arena_printf(a, "[%s{\"name\": \"%s\"%s%s}]", kinds[k], names[i], needs ? ", " : "", needs ? needs : ""));
                const int channels = (int[3]){ 1, 3, 4 }[s % 3];
                nc_image im = picture(shapes[s / 3][0], shapes[s / 3][1], channels);
                nc_rng rng = nc_rng_new(7, (uint64_t)s);
                nc_error e = { 0 };
                const int status = nc_augment_run(g, &rng, &im, &e);
                assert_true(status == 0 || strstr(e.message, names[i]));
                assert_true(im.width > 0 && im.height > 0 && im.channels > 0 && im.pixels);
                done += status == 0;
                refused += status < 0;
                if (status < 0 && channels == 3 && k == 0 && s / 3 == NC_COUNT(shapes) - 1 && strcmp(names[i], "normalize") && strcmp(names[i], "erase") &&
                    strcmp(names[i], "RandomErasing") && strcmp(names[i], "ConvertImageDtype") && strcmp(names[i], "ToPILImage"))
                    fail_msg("%s", e.message);
                nc_image_free(&im);
                nc_arena_free(a);
            }
    print_message("%d operations: %d runs, %d refused\n", count, done, refused);
    assert_true(done > refused);
}

static void same_draws_give_same_bits(void **state)
{
    (void)state;
    nc_arena *a = nc_arena_new();
    nc_augment *g = augment(a, "[{\"name\": \"RandomResizedCrop\", \"size\": 16}, \"RandomHorizontalFlip\", {\"name\": \"ColorJitter\", \"brightness\": 0.5, \"hue\": 0.3}, \"RandAugment\","
                               " \"TrivialAugmentWide\", {\"name\": \"AutoAugment\", \"policy\": \"svhn\"}, \"PILToTensor\", {\"name\": \"RandomErasing\", \"value\": \"random\"}]");
    int equal = 0;
    for (uint64_t s = 0; s < 40; s++) {
        nc_image one = picture(31, 29, 3), two = picture(31, 29, 3), other = picture(31, 29, 3);
        nc_rng r1 = nc_rng_new(5, s), r2 = nc_rng_new(5, s), r3 = nc_rng_new(5, s + 1000);
        nc_error e = { 0 };
        if (nc_augment_run(g, &r1, &one, &e) < 0 || nc_augment_run(g, &r2, &two, &e) < 0 || nc_augment_run(g, &r3, &other, &e) < 0)
            fail_msg("%s", e.message);
        assert_int_equal(one.width, 16);
        assert_memory_equal(one.pixels, two.pixels, nc_image_bytes(&one));
        equal += !memcmp(one.pixels, other.pixels, nc_image_bytes(&one));
        nc_image_free(&one);
        nc_image_free(&two);
        nc_image_free(&other);
    }
    assert_int_equal(equal, 0);
    nc_arena_free(a);
}

/* How often the picture changes, of 2000 draws. */
static double share_changed(const char *list)
{
    enum { DRAWS = 2000 };
    nc_arena *a = nc_arena_new();
    nc_augment *g = augment(a, list);
    int changed = 0;
    for (uint64_t s = 0; s < DRAWS; s++) {
        nc_image im = picture(4, 3, 3), was = picture(4, 3, 3);
        nc_rng rng = nc_rng_new(11, s);
        assert_int_equal(nc_augment_run(g, &rng, &im, NULL), 0);
        changed += memcmp(im.pixels, was.pixels, nc_image_bytes(&im)) != 0;
        nc_image_free(&im);
        nc_image_free(&was);
    }
    nc_arena_free(a);
    return (double)changed / DRAWS;
}

static void chances_are_kept(void **state)
{
    (void)state;
    static const struct { const char *list; double share; } cases[] = {
        { "[]", 0 }, { "[\"invert\"]", 1 }, { "[{\"name\": \"invert\", \"p\": 0}]", 0 }, { "[{\"name\": \"ImageOps.invert\", \"p\": 0.3}]", 0.3 }, { "[\"RandomInvert\"]", 0.5 },
        { "[{\"name\": \"RandomVerticalFlip\", \"p\": 0.9}]", 0.9 }, { "[\"RandomGrayscale\"]", 0.1 }, { "[{\"name\": \"RandomApply\", \"p\": 0.2, \"transforms\": [\"invert\"]}]", 0.2 },
        { "[{\"name\": \"RandomChoice\", \"p\": [1, 3], \"transforms\": [\"invert\", {\"name\": \"invert\", \"p\": 0}]}]", 0.25 },
    };
    for (int i = 0; i < NC_COUNT(cases); i++) {
        const double share = share_changed(cases[i].list);
        if (!(share >= cases[i].share - 0.04 && share <= cases[i].share + 0.04))
            fail_msg("%s: %g of the pictures changed, not %g", cases[i].list, share, cases[i].share);
    }
}

static void wrong_entries_are_named(void **state)
{
    (void)state;
    static const struct { const char *list, *says; } cases[] = {
        { "[\"RandomHorizontalFlp\"]", "nearest is RandomHorizontalFlip" },
        { "[{\"name\": \"ColorJitter\", \"brightnes\": 0.2}]", "nearest is brightness" },
        { "[{\"name\": \"ColorJitter\", \"hue\": 0.7}]", "hue must lie within -0.5 to 0.5" },
        { "[{\"name\": \"RandomResizedCrop\"}]", "size is missing" },
        { "[{\"name\": \"rotate\", \"angle\": \"far\"}]", "angle must be a number" },
        { "[{\"name\": \"rotate\", \"angle\": 1, \"interpolation\": \"cubic\"}]", "none of nearest, lanczos" },
        { "[{\"name\": \"GaussianBlur\", \"kernel_size\": 4}]", "kernel_size must be odd" },
        { "[{\"name\": \"invert\", \"p\": 2}]", "p must be a number from 0 to 1" },
        { "[{\"name\": \"RandomApply\", \"transforms\": [{\"name\": \"posterize\"}]}]", "bits is missing" },
        { "[{\"name\": \"RandomChoice\", \"transforms\": [\"hflip\"], \"p\": [1, 2]}]", "p must be a list of 1 numbers" },
        { "{\"name\": \"invert\"}", "must be a list" },
        { "[3]", "a map with a name" },
    };
    for (int i = 0; i < NC_COUNT(cases); i++) {
        nc_arena *a = nc_arena_new();
        nc_json *v;
        nc_augment *g;
        nc_error e = { 0 };
        assert_int_equal(nc_json_parse(a, nc_str_of(cases[i].list), "list", &v, &e), 0);
        if (nc_augment_new(a, v, "recipe.yaml: augment", &g, &e) >= 0 || !strstr(e.message, cases[i].says) || !strstr(e.message, "recipe.yaml: augment: "))
            fail_msg("%s: \"%s\", not \"%s\"", cases[i].list, e.message, cases[i].says);
        nc_arena_free(a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_pillow_and_torchvision),
        cmocka_unit_test(every_operation_takes_every_shape),
        cmocka_unit_test(same_draws_give_same_bits),
        cmocka_unit_test(chances_are_kept),
        cmocka_unit_test(wrong_entries_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

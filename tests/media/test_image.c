/* test_image.c - decoded pictures against Pillow's bytes; orientation; damaged files; encode and decode again. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "media/golden.h"
#include "media/image.h"
#include "base/rng.h"

/* The synthetic pictures: every sample of rgb.<file>; gray's own samples too. */
static void golden_images(void **state)
{
    (void)state;
    nc_arena *a = nc_arena_new();
    char *folder = golden_path(a, "processors/images");
    if (!folder) {
        print_message("skipped: no golden/processors/images\n");
        nc_arena_free(a);
        return;
    }
    tensors t;
    nc_error e;
    assert_true(tensors_open(a, nc_path_join(a, folder, "decoded.safetensors"), &t));
    int checked = 0;
    NC_JSON_EACH(v, t.header) {
        if (!nc_starts_with(v->key.p, "rgb."))
            continue;
        char *path = nc_path_join(a, folder, v->key.p + 4);
        nc_mapped f;
        nc_image im;
        int64_t shape[4];
        int rank;
        assert_int_equal(nc_map_file(path, &f, &e), 0);
        if (nc_image_decode(f.p, f.n, &(nc_image_options){ .rgb = true }, &im, &e) < 0)
            fail_msg("%s: %s", path, e.message);
        const uint8_t *want = tensor(&t, v->key.p, shape, &rank);
        assert_int_equal(im.height, shape[0]);
        assert_int_equal(im.width, shape[1]);
        for (size_t i = 0; i < nc_image_bytes(&im); i++)
            if (im.pixels[i] != want[i])
                fail_msg("%s: sample %zu is %d, want %d", path, i, im.pixels[i], want[i]);
        nc_image_free(&im);
        nc_unmap_file(&f);
        checked++;
    }
    assert_true(checked >= 20);
    nc_unmap_file(&t.file);
    nc_arena_free(a);
}

/* Real files by the SHA-256 of their RGB rows, orientation not applied. */
static void golden_decode(void **state)
{
    (void)state;
    nc_arena *a = nc_arena_new();
    nc_error e;
    nc_json *g;
    char *folder = golden_path(a, "processors/image-decode");
    if (!folder) {
        print_message("skipped: no golden/processors/image-decode\n");
        nc_arena_free(a);
        return;
    }
    assert_int_equal(nc_json_load(a, nc_path_join(a, folder, "golden.json"), &g, &e), 0);
    int checked = 0, missing = 0;
    NC_JSON_EACH(v, nc_json_get(g, "files")) {
        char *path = picture_path(a, v->key.p), hex[65];
        nc_mapped f;
        nc_image im;
        if (!path) {
            missing++;
            continue;
        }
        assert_int_equal(nc_map_file(path, &f, &e), 0);
        if (nc_image_decode(f.p, f.n, &(nc_image_options){ .rgb = true, .keep_orientation = true }, &im, &e) < 0)
            fail_msg("%s: %s", path, e.message);
        nc_sha256_hex(im.pixels, nc_image_bytes(&im), hex);
        if (strcmp(hex, nc_json_string(nc_json_get(v, "rgb_sha256"), "")) != 0)
            fail_msg("%s: other pixels than Pillow's", path);
        nc_image_free(&im);
        checked++;
        nc_unmap_file(&f);
    }
    if (missing)
        print_message("skipped: %d of the real pictures are not here\n", missing);
    assert_true(checked + missing >= 40);
    nc_arena_free(a);
}

static void orientation_turns(void **state)
{
    (void)state;
    /* 1 2 3 / 4 5 6 seen under each EXIF value, from the table of the Exif standard. */
    static const struct { int w; uint8_t p[6]; } want[] = {
        { 3, { 1, 2, 3, 4, 5, 6 } }, { 3, { 3, 2, 1, 6, 5, 4 } }, { 3, { 6, 5, 4, 3, 2, 1 } }, { 3, { 4, 5, 6, 1, 2, 3 } },
        { 2, { 1, 4, 2, 5, 3, 6 } }, { 2, { 4, 1, 5, 2, 6, 3 } }, { 2, { 6, 3, 5, 2, 4, 1 } }, { 2, { 3, 6, 2, 5, 1, 4 } },
    };
    for (int o = 1; o <= 8; o++) {
        nc_image im;
        assert_int_equal(nc_image_new(3, 2, 1, &im, NULL), 0);
        for (int i = 0; i < 6; i++)
            im.pixels[i] = (uint8_t)(i + 1);
        assert_int_equal(nc_image_orient(&im, o, NULL), 0);
        assert_int_equal(im.width, want[o - 1].w);
        assert_memory_equal(im.pixels, want[o - 1].p, 6);
        nc_image_free(&im);
    }
}

static nc_image noise(int w, int h, int c, uint64_t seed)
{
    nc_image im;
    nc_rng r = nc_rng_new(seed, 1);
    assert_int_equal(nc_image_new(w, h, c, &im, NULL), 0);
    for (size_t i = 0; i < nc_image_bytes(&im); i++)
        im.pixels[i] = (uint8_t)nc_rng_u32(&r);
    return im;
}

static void png_round_trip(void **state)
{
    (void)state;
    for (int c = 1; c <= 4; c++) {
        nc_image im = noise(31, 17, c, 5), back;
        nc_buf png = { 0 };
        assert_int_equal(nc_image_encode_png(&im, &png, NULL), 0);
        assert_int_equal(nc_image_decode(png.p, png.n, NULL, &back, NULL), 0);
        assert_int_equal(back.channels, c);
        assert_memory_equal(back.pixels, im.pixels, nc_image_bytes(&im));
        nc_image_free(&im);
        nc_image_free(&back);
        nc_buf_free(&png);
    }
}

static void jpeg_round_trip(void **state)
{
    (void)state;
    nc_image im, back;
    nc_buf jpeg = { 0 };
    assert_int_equal(nc_image_new(40, 24, 3, &im, NULL), 0);
    for (int i = 0; i < 40 * 24; i++)
        memcpy(im.pixels + 3 * i, (uint8_t[]){ (uint8_t)(i % 40 * 6), 90, 140 }, 3);
    assert_int_equal(nc_image_encode_jpeg(&im, 95, &jpeg, NULL), 0);
    assert_int_equal(nc_image_decode(jpeg.p, jpeg.n, NULL, &back, NULL), 0);
    int worst = 0;
    for (size_t i = 0; i < nc_image_bytes(&im); i++)
        worst = abs(im.pixels[i] - back.pixels[i]) > worst ? abs(im.pixels[i] - back.pixels[i]) : worst;
    assert_true(worst > 0 && worst < 24);
    nc_image_free(&im);
    nc_image_free(&back);
    nc_buf_free(&jpeg);
}

/* Every prefix of a file fails with a message; flipped bytes never crash. */
static void damaged_files(void **state)
{
    (void)state;
    nc_image im = noise(24, 24, 3, 9), out;
    for (int kind = 0; kind < 2; kind++) {
        nc_buf b = { 0 };
        nc_error e;
        assert_int_equal(kind ? nc_image_encode_jpeg(&im, 80, &b, NULL) : nc_image_encode_png(&im, &b, NULL), 0);
        for (size_t n = 0; n + 2 < b.n; n++) {
            uint8_t *cut = malloc(n + 1);
            memcpy(cut, b.p, n);
            e.message[0] = 0;
            assert_true(nc_image_decode(cut, n, NULL, &out, &e) < 0);
            assert_true(e.message[0] != 0 && out.pixels == NULL);
            free(cut);
        }
        nc_rng r = nc_rng_new(3, (uint64_t)kind);
        for (int i = 0; i < 300; i++) {
            size_t at = nc_rng_below(&r, b.n);
            char old = b.p[at];
            b.p[at] = (char)nc_rng_u32(&r);
            nc_image_decode(b.p, b.n, NULL, &out, &e);
            nc_image_free(&out);
            b.p[at] = old;
        }
        nc_buf_free(&b);
    }
    nc_image_free(&im);
}

static void limits(void **state)
{
    (void)state;
    nc_image im = noise(20, 20, 3, 1), out;
    nc_buf b = { 0 };
    nc_error e;
    nc_image_encode_png(&im, &b, NULL);
    assert_int_equal(nc_image_decode(b.p, b.n, &(nc_image_options){ .max_pixels = 399 }, &out, &e), NC_ELIMIT);
    assert_non_null(strstr(e.message, "399"));
    assert_int_equal(nc_image_decode(b.p, b.n, &(nc_image_options){ .max_bytes = b.n - 1 }, &out, &e), NC_ELIMIT);
    assert_int_equal(nc_image_decode("hello", 5, NULL, &out, &e), NC_EFORMAT);
    assert_non_null(strstr(e.message, "webp"));
    nc_image_free(&im);
    nc_buf_free(&b);
}

static void check_picture(const char *path, const char *mode, int width, int height, const char *sha)
{
    nc_mapped f;
    nc_image im, part;
    nc_error e;
    char hex[65];
    assert_int_equal(nc_map_file(path, &f, &e), 0);
    if (nc_image_decode(f.p, f.n, &(nc_image_options){ .rgb = true }, &im, &e) < 0)
        fail_msg("%s (%s): %s", path, mode, e.message);
    assert_int_equal(im.width, width);
    assert_int_equal(im.height, height);
    nc_sha256_hex(im.pixels, nc_image_bytes(&im), hex);
    if (strcmp(hex, sha))
        fail_msg("%s (%s): other pixels than Pillow's", path, mode);
    nc_image_free(&im);
    /* Cut short and with bytes turned over it is refused or read, never more. */
    for (size_t n = 0; n < f.n; n += 1 + n / 16) {
        uint8_t *copy = nc_xmalloc(f.n);
        memcpy(copy, f.p, f.n);
        copy[n] ^= 0x5a;
        if (nc_image_decode(f.p, n, NULL, &part, &e) == 0)
            nc_image_free(&part);
        if (nc_image_decode(copy, f.n, &(nc_image_options){ .max_pixels = 1 << 20 }, &part, &e) == 0)
            nc_image_free(&part);
        free(copy);
    }
    nc_unmap_file(&f);
}

/* GIF, TIFF, BMP and PNM in many modes: pictures/rgb.txt says what Pillow makes of each. */
static void pictures_of_many_kinds(void **state)
{
    (void)state;
    nc_arena *a = nc_arena_new();
    FILE *list = fopen(NUNCHI_SOURCE_DIR "/tests/media/pictures/rgb.txt", "r");
    char line[256], name[64], mode[8], sha[65];
    int width, height, checked = 0;
    assert_non_null(list);
    while (fgets(line, sizeof line, list))
        if (sscanf(line, "%63s %7s %d %d %64s", name, mode, &width, &height, sha) == 5 && name[0] != '#') {
            check_picture(nc_arena_printf(a, NUNCHI_SOURCE_DIR "/tests/media/pictures/%s", name), mode, width, height, sha);
            checked++;
        }
    fclose(list);
    assert_true(checked >= 34);
    nc_arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_images),    cmocka_unit_test(golden_decode),  cmocka_unit_test(orientation_turns),
        cmocka_unit_test(png_round_trip),   cmocka_unit_test(jpeg_round_trip), cmocka_unit_test(damaged_files),
        cmocka_unit_test(limits),           cmocka_unit_test(pictures_of_many_kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_resize.c - every case of golden/processors/pillow-resize by its name, and properties that need no reference. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "media/golden.h"
#include "media/resize.h"
#include <math.h>

static nc_image picture_of(const tensors *t, const char *name)
{
    int64_t s[4] = { 0 };
    int rank = 0;
    const uint8_t *p = tensor(t, name, s, &rank);
    assert_non_null(p);
    return (nc_image){ (int)s[1], (int)s[0], rank == 3 ? (int)s[2] : 1, (uint8_t *)(uintptr_t)p };
}

static int compare(const char *name, const nc_image *got, const nc_image *want, int allowed)
{
    int worst = 0;
    assert_int_equal(got->width, want->width);
    assert_int_equal(got->height, want->height);
    assert_int_equal(got->channels, want->channels);
    for (size_t i = 0; i < nc_image_bytes(got); i++) {
        int d = abs(got->pixels[i] - want->pixels[i]);
        worst = d > worst ? d : worst;
        if (d > allowed)
            fail_msg("%s: sample %zu is %d, want %d", name, i, got->pixels[i], want->pixels[i]);
    }
    return worst;
}

/* <mode>.<w>x<h>.<filter> and <mode>.box.<w>x<h>.<filter> */
static bool parse(const char *name, char mode[8], bool *box, int *w, int *h, nc_filter *f)
{
    char filter[16];
    *box = false;
    if (sscanf(name, "%7[a-z].%dx%d.%15s", mode, w, h, filter) == 4)
        return nc_filter_by_name(filter, f);
    *box = true;
    return sscanf(name, "%7[a-z].box.%dx%d.%15s", mode, w, h, filter) == 4 && nc_filter_by_name(filter, f);
}

static void check_float(const tensors *t, const char *name, int w, int h, nc_filter f)
{
    int64_t s[4] = { 0 };
    int rank;
    const float *in = tensor(t, "in.f", s, &rank);
    float *out = malloc((size_t)w * (size_t)h * sizeof *out);
    assert_int_equal(nc_resize_f32(in, (int)s[1], (int)s[0], out, w, h, f, NC_RESIZE_PILLOW, NULL), 0);
    const float *want = tensor(t, name, s, &rank);
    for (int i = 0; i < w * h; i++)
        if (!(fabsf(out[i] - want[i]) <= 1e-5f * (1 + fabsf(want[i]))))
            fail_msg("%s: value %d is %.9g, want %.9g", name, i, out[i], want[i]);
    free(out);
}

static void golden_pillow(void **state)
{
    (void)state;
    nc_arena *a = nc_arena_new();
    tensors t;
    char *folder = golden_path(a, "processors/pillow-resize");
    if (!folder || !tensors_open(a, nc_path_join(a, folder, "golden.safetensors"), &t)) {
        print_message("skipped: no golden/processors/pillow-resize\n");
        nc_arena_free(a);
        return;
    }
    int checked = 0;
    NC_JSON_EACH(v, t.header) {
        char mode[8];
        bool box;
        int w, h;
        nc_filter f;
        if (!parse(v->key.p, mode, &box, &w, &h, &f) || strcmp(mode, "tv") == 0 || strcmp(mode, "big") == 0)
            continue;
        checked++;
        if (strcmp(mode, "f") == 0) {
            check_float(&t, v->key.p, w, h, f);
            continue;
        }
        nc_image in = picture_of(&t, nc_arena_printf(a, "in.%s", mode)), want = picture_of(&t, v->key.p), got;
        nc_box b = { 3.3, 1.25, 29.75, 21.5 };
        nc_error e;
        if (nc_resize(&in, w, h, f, box ? &b : NULL, NC_RESIZE_PILLOW, &got, &e) < 0)
            fail_msg("%s: %s", v->key.p, e.message);
        compare(v->key.p, &got, &want, 0);
        nc_image_free(&got);
    }
    assert_true(checked >= 90);
    nc_image big = picture_of(&t, "in.big"), want = picture_of(&t, "big.reduce.5x3"), got;
    assert_int_equal(nc_reduce(&big, 5, 3, &got, NULL), 0);
    compare("big.reduce.5x3", &got, &want, 0);
    nc_image_free(&got);
    nc_arena_free(a);
}

static void golden_torchvision(void **state)
{
    (void)state;
    nc_arena *a = nc_arena_new();
    tensors t;
    char *folder = golden_path(a, "processors/pillow-resize");
    if (!folder || !tensors_open(a, nc_path_join(a, folder, "golden.safetensors"), &t)) {
        print_message("skipped: no golden/processors/pillow-resize\n");
        nc_arena_free(a);
        return;
    }
    int checked = 0, worst = 0;
    NC_JSON_EACH(v, t.header) {
        int w, h, rank;
        char filter[24];
        nc_filter f;
        int64_t s[4] = { 0 };
        if (sscanf(v->key.p, "tv.u8.%dx%d.%23s", &w, &h, filter) != 3 || !nc_filter_by_name(filter, &f) || f == NC_NEAREST)
            continue;
        nc_image in = picture_of(&t, "in.rgb"), got, want;
        assert_int_equal(nc_resize(&in, w, h, f, NULL, NC_RESIZE_TORCHVISION, &got, NULL), 0);
        const uint8_t *planes = tensor(&t, v->key.p, s, &rank);
        assert_int_equal(nc_image_new(w, h, 3, &want, NULL), 0);
        for (int c = 0; c < 3; c++)
            for (int i = 0; i < w * h; i++)
                want.pixels[i * 3 + c] = planes[c * w * h + i];
        int d = compare(v->key.p, &got, &want, 2);
        worst = d > worst ? d : worst;
        nc_image_free(&got);
        nc_image_free(&want);
        checked++;
    }
    print_message("torchvision: largest difference %d in %d cases\n", worst, checked);
    assert_true(checked >= 6);
    nc_arena_free(a);
}

/* A constant picture stays constant under every filter and rule; weights sum to one. */
static void constant_stays(void **state)
{
    (void)state;
    nc_image in, out;
    assert_int_equal(nc_image_new(33, 21, 3, &in, NULL), 0);
    memset(in.pixels, 201, nc_image_bytes(&in));
    for (int f = 0; f <= NC_HAMMING; f++)
        for (int rule = 0; rule < 2; rule++)
            for (int k = 0; k < 3; k++) {
                const int w[] = { 7, 80, 33 }, h[] = { 90, 5, 20 };
                assert_int_equal(nc_resize(&in, w[k], h[k], (nc_filter)f, NULL, (nc_resize_rule)rule, &out, NULL), 0);
                for (size_t i = 0; i < nc_image_bytes(&out); i++)
                    assert_in_range(out.pixels[i], rule ? 200 : 201, rule ? 202 : 201);
                nc_image_free(&out);
            }
    nc_image_free(&in);
}

static void crop_and_pad(void **state)
{
    (void)state;
    nc_image in, out;
    assert_int_equal(nc_image_new(3, 2, 1, &in, NULL), 0);
    for (int i = 0; i < 6; i++)
        in.pixels[i] = (uint8_t)(i + 1);
    assert_int_equal(nc_crop(&in, -1, -1, 5, 4, (uint8_t[]){ 9 }, &out, NULL), 0);
    assert_memory_equal(out.pixels, ((uint8_t[]){ 9, 9, 9, 9, 9, 9, 1, 2, 3, 9, 9, 4, 5, 6, 9, 9, 9, 9, 9, 9 }), 20);
    nc_image_free(&out);
    assert_int_equal(nc_crop(&in, 1, 1, 2, 1, NULL, &out, NULL), 0);
    assert_memory_equal(out.pixels, ((uint8_t[]){ 5, 6 }), 2);
    nc_image_free(&out);
    assert_int_equal(nc_crop(&in, 7, 7, 2, 2, NULL, &out, NULL), 0);
    assert_memory_equal(out.pixels, ((uint8_t[]){ 0, 0, 0, 0 }), 4);
    nc_image_free(&out);
    nc_image_free(&in);
}

static void bad_input(void **state)
{
    (void)state;
    nc_image in, out;
    nc_error e;
    assert_int_equal(nc_image_new(3, 2, 3, &in, NULL), 0);
    assert_int_equal(nc_resize(&in, 0, 4, NC_BICUBIC, NULL, 0, &out, &e), NC_EINVAL);
    assert_int_equal(nc_resize(&in, 4, 4, (nc_filter)9, NULL, 0, &out, &e), NC_EINVAL);
    assert_int_equal(nc_resize(&in, 4, 4, NC_BOX, &(nc_box){ 0, 0, 4, 1 }, 0, &out, &e), NC_EINVAL);
    assert_int_equal(nc_resize(&in, 4, 4, NC_BOX, &(nc_box){ 0, 0, NAN, 1 }, 0, &out, &e), NC_EINVAL);
    nc_image_free(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_pillow), cmocka_unit_test(golden_torchvision), cmocka_unit_test(constant_stays),
        cmocka_unit_test(crop_and_pad),  cmocka_unit_test(bad_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

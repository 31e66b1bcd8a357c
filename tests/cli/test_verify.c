/* test_verify.c - every checkpoint of tests/golden/models against the reference outputs beside it; a planted fault is seen; wrong folders are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/verify.h"

static void say(const nc_verify *v)
{
    for (int i = 0; i < v->count; i++) {
        const nc_quantity *q = &v->quantity[i];
        if (!q->pass || (q->note && !strcmp(q->note, "unchecked")))
            print_message("%s: %s abs %g rel %g limit %g %s\n", v->folder, q->name, q->abs, q->rel, q->limit, q->note ? q->note : "");
    }
}

/* Folders of root that are not among those of `but` too; how many there were. */
static int check_all(const char *root, const char *but)
{
    nc_arena *a = nc_arena_new();
    nc_pool *pool = nc_pool_new(2);
    char **names;
    int count = 0, failed = 0, checked = 0;
    nc_error e = { 0 };
    assert_int_equal(nc_list_dir(a, root, &names, &count, &e), 0);
    for (int i = 0; i < count; i++) {
        nc_verify v;
        if (but && nc_is_dir(nc_path_join(a, but, names[i])))
            continue;
        nc_json *config = NULL;
        if (nc_json_load(a, nc_path_join(a, nc_path_join(a, root, names[i]), "config.json"), &config, &e) == 0 &&
            !nc_family_find(nc_json_string(nc_json_get(config, "model_type"), ""))) {
            print_message("%-24s skipped: the family is not known yet\n", names[i]);
            continue;
        }
        int status = nc_verify_run(nc_path_join(a, root, names[i]), NULL, pool, &v, &e);
        print_message("%-24s %s, worst %.3f of its limit\n", names[i], status < 0 ? e.message : v.passed ? "ok" : "over", status < 0 ? 0 : nc_verify_worst(&v));
        failed += status < 0 || !v.passed;
        checked++;
        if (status == 0)
            say(&v);
        nc_verify_free(&v);
    }
    nc_pool_free(pool);
    nc_arena_free(a);
    assert_int_equal(failed, 0);
    return checked;
}

static void every_golden_model_is_within_its_limits(void **state)
{
    (void)state;
    assert_true(check_all("tests/golden/models", NULL) >= 40);
}

/* The other families' folders, where they are at hand. */
static void every_shared_model_is_within_its_limits(void **state)
{
    const char *shared = getenv("NUNCHI_SHARED") ? getenv("NUNCHI_SHARED") : NUNCHI_SOURCE_DIR "/../shared";
    nc_arena *a = nc_arena_new();
    const char *root = nc_path_join(a, shared, "golden/models");
    (void)state;
    if (nc_is_dir(root))
        print_message("%d folders of %s\n", check_all(root, "tests/golden/models"), root);
    else
        print_message("skipped: no %s\n", root);
    nc_arena_free(a);
}

/* A copy of a folder with one weight changed must be seen, also where limits follow a twin in float64. */
static void plant(const char *from, const char *tensor)
{
    static const char *const files[] = { "config.json", "model.safetensors", "golden.json", "golden.safetensors" };
    char folder[] = "/tmp/nunchi-verify-XXXXXX";
    nc_arena *a = nc_arena_new();
    nc_error e = { 0 };
    assert_non_null(mkdtemp(folder));
    for (int i = 0; i < NC_COUNT(files); i++)
        assert_int_equal(nc_file_copy(nc_path_join(a, from, files[i]), nc_path_join(a, folder, files[i]), &e), 0);
    const char *path = nc_path_join(a, folder, "model.safetensors");
    nc_buf bytes = { 0 };
    assert_int_equal(nc_file_read(path, 1 << 26, &bytes, &e), 0);
    nc_safetensors *s;
    assert_int_equal(nc_safetensors_open(path, &s, &e), 0);
    const nc_stored *t = nc_safetensors_find(s, tensor);
    assert_non_null(t);
    size_t at = bytes.n - 4;
    for (size_t i = 0; i + t->bytes <= bytes.n; i += 4)
        if (!memcmp(bytes.p + i, t->data, t->bytes))
            at = i;
    nc_safetensors_close(s);
    float w;
    memcpy(&w, bytes.p + at, 4);
    w += 0.5f;
    memcpy(bytes.p + at, &w, 4);
    assert_int_equal(nc_file_write(path, bytes.p, bytes.n, &e), 0);
    nc_verify v;
    assert_int_equal(nc_verify_run(folder, NULL, NULL, &v, &e), 0);
    assert_false(v.passed);
    nc_verify_free(&v);
    nc_buf_free(&bytes);
    nc_remove_tree(folder, &e);
    nc_arena_free(a);
}

static void a_planted_fault_is_seen(void **state)
{
    (void)state;
    plant("tests/golden/models/gpt2_prefixed", "transformer.h.0.mlp.c_fc.weight");
    plant("tests/golden/models/regnet", "regnet.encoder.stages.1.layers.0.layer.1.convolution.weight");
}

/* A value that is no number is over every limit, wherever it stands. */
static void no_number_is_near(void **state)
{
    float want[5] = { 1, 2, 3, 4, 5 };
    nc_stored t = { .name = "out", .dtype = NC_F32, .shape = NC_SHAPE(5), .data = want, .bytes = sizeof want };
    nc_verify v = { .arena = nc_arena_new() };
    (void)state;
    for (int at = 0; at < 5; at++) {
        float ours[5] = { 1, 2, 3, 4, 5 };
        ours[at] = NAN;
        nc_verify_compare(&v, "out", &t, ours, 5, 2e-5, NULL, 1);
        assert_false(v.quantity[at].pass);
    }
    assert_true(isinf(nc_worse(0, NAN)) && nc_worse(2, 1) == 2 && nc_worse(1, 2) == 2);
    nc_arena_free(v.arena);
    free(v.quantity);
}

static void a_folder_that_is_no_model_is_refused(void **state)
{
    nc_verify v;
    nc_error e = { 0 };
    (void)state;
    assert_int_equal(nc_verify_run("tests/golden", NULL, NULL, &v, &e), NC_ENOTFOUND);
    assert_non_null(strstr(e.message, "golden.safetensors"));
    nc_verify_free(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_golden_model_is_within_its_limits),
        cmocka_unit_test(every_shared_model_is_within_its_limits),
        cmocka_unit_test(a_planted_fault_is_seen),
        cmocka_unit_test(no_number_is_near),
        cmocka_unit_test(a_folder_that_is_no_model_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

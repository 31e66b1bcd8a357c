/* test_golden_tokenizer.c - every folder of golden/tokenizers, ids, offsets, decoded text and streams compared for equality. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "text/golden_text.h"

struct tally { const char *folder; long ok, failed, skipped; };

static void report(void *context, const char *name, long ok, long failed, const char *detail)
{
    struct tally *t = context;
    t->ok += ok;
    t->failed += failed;
    t->skipped += ok + failed == 0;
    if (failed)
        printf("not ok %s/%s: %ld of %ld failed, first: %s\n", t->folder, name, failed, ok + failed, detail);
    else if (!ok)
        printf("skipped: %s/%s: %s\n", t->folder, name, detail);
}

static void run_tree(const char *root, const char *data)
{
    nc_arena *a = nc_arena_new();
    nc_error e = { 0 };
    char **names;
    int count;
    struct tally t = { 0 };
    if (!nc_is_dir(root)) {
        printf("skipped: %s is absent\n", root);
        nc_arena_free(a);
        return;
    }
    assert_int_equal(nc_list_dir(a, root, &names, &count, &e), 0);
    for (int i = 0; i < count; i++) {
        t.folder = names[i];
        assert_int_equal(nc_golden_tokenizer(nc_path_join(a, root, names[i]), data, NULL, report, &t, &e), 0);
    }
    printf("%s: %ld compared equal, %ld not, %ld files skipped\n", root, t.ok, t.failed, t.skipped);
    nc_arena_free(a);
    assert_true(t.ok > 0);
    assert_int_equal(t.failed, 0);
}

static void test_visible(void **state)
{
    (void)state;
    run_tree("tests/golden/tokenizers", "tests/golden/data");
}

static void test_shared(void **state)
{
    (void)state;
    const char *shared = getenv("NUNCHI_SHARED");
    nc_arena *a = nc_arena_new();
    shared = shared ? shared : "../shared";
    run_tree(nc_path_join(a, shared, "golden/tokenizers"), nc_path_join(a, shared, "data"));
    nc_arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_visible), cmocka_unit_test(test_shared) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

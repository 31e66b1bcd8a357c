/* test_file.c - reading, folders, mapping, and the writer when the disk is full. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"

static char folder[64];
static nc_arena *a;

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/nunchi-test-XXXXXX");
    a = nc_arena_new();
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    nc_error e = { 0 };
    int code = nc_remove_tree(folder, &e);
    nc_arena_free(a);
    return code < 0 || nc_file_exists(folder) ? -1 : 0;
}

static int names_in(const char *path)
{
    char **names;
    int count;
    nc_error e = { 0 };
    if (nc_list_dir(a, path, &names, &count, &e) < 0)
        fail_msg("%s", e.message);
    return count;
}

static void test_read_write(void **state)
{
    (void)state;
    nc_error e = { 0 };
    nc_buf b = { 0 };
    const char *path = nc_path_join(a, folder, "a.txt");
    assert_int_equal(nc_file_read(path, 100, &b, &e), NC_ENOTFOUND);
    assert_non_null(strstr(e.message, "a.txt"));
    assert_int_equal(nc_file_write(path, "hello", 5, &e), 0);
    nc_buf_adds(&b, "> ");
    assert_int_equal(nc_file_read(path, 5, &b, &e), 0);
    assert_string_equal(b.p, "> hello");
    assert_int_equal(nc_file_read(path, 4, &b, &e), NC_ELIMIT);
    assert_string_equal(b.p, "> hello");
    assert_int_equal(nc_file_size(path), 5);
    assert_int_equal(nc_file_size("/nowhere/at/all"), -1);
    assert_int_equal(nc_file_write(path, "", 0, &e), 0);
    assert_int_equal(nc_file_size(path), 0);
    assert_int_equal(nc_file_read(folder, 100, &b, &e), NC_EIO);
    assert_int_equal(nc_file_write(folder, "x", 1, &e), NC_EIO);
    assert_int_equal(nc_file_write(nc_path_join(a, folder, "no/such/x"), "x", 1, &e), NC_ENOTFOUND);
    assert_int_equal(names_in(folder), 1);
    nc_buf_free(&b);
}

static void test_writer(void **state)
{
    (void)state;
    nc_error e = { 0 };
    nc_writer *w;
    const char *path = nc_path_join(a, folder, "big"), *copy = nc_path_join(a, folder, "copy");
    assert_int_equal(nc_file_write(path, "old", 3, &e), 0);
    assert_int_equal(nc_writer_open(path, &w, &e), 0);
    enum { N = 1000000 };
    static unsigned char block[N];
    for (int i = 0; i < N; i++)
        block[i] = (unsigned char)(i * 31 >> 3);
    for (size_t at = 0, n = 1; at < N; at += n, n = n * 3 + 1) {
        n = n > N - at ? N - at : n;
        nc_writer_add(w, block + at, n);
        assert_int_equal(nc_writer_offset(w), at + n);
        assert_int_equal(nc_file_size(path), 3);            /* the old file stands until the commit */
    }
    assert_int_equal(nc_writer_commit(w, &e), 0);
    assert_int_equal(nc_file_copy(path, copy, &e), 0);
    nc_mapped m;
    assert_int_equal(nc_map_file(copy, &m, &e), 0);
    assert_int_equal(m.n, N);
    assert_memory_equal(m.p, block, N);
    nc_unmap_file(&m);

    assert_int_equal(nc_writer_open(path, &w, &e), 0);
    nc_writer_add(w, "x", 1);
    nc_writer_abandon(w);
    nc_writer_abandon(NULL);
    assert_int_equal(nc_file_size(path), N);
    assert_int_equal(names_in(folder), 2);
    assert_int_equal(nc_file_copy(nc_path_join(a, folder, "absent"), copy, &e), NC_ENOTFOUND);
    assert_int_equal(nc_file_size(copy), N);
    assert_int_equal(nc_file_write(nc_path_join(a, folder, "empty"), "", 0, &e), 0);
    assert_int_equal(nc_map_file(nc_path_join(a, folder, "empty"), &m, &e), 0);
    assert_true(m.p == NULL && m.n == 0 && m.fd >= 0);
    nc_unmap_file(&m);
    assert_int_equal(nc_map_file(folder, &m, &e), NC_EIO);
}

/* A full device, and a limit on file size that stops the write in its middle: the old file stands, nothing else is left. */
static void test_full_disk(void **state)
{
    (void)state;
    nc_error e = { 0 };
    nc_writer *w;
    static char block[1 << 20];
    assert_int_equal(nc_writer_open("/dev/full", &w, &e), 0);
    nc_writer_add(w, block, sizeof block);
    nc_writer_add(w, block, 10);
    assert_int_equal(nc_writer_commit(w, &e), NC_EIO);
    assert_non_null(strstr(e.message, "/dev/full"));
    assert_non_null(strstr(e.message, "No space left"));

    const char *path = nc_path_join(a, folder, "limited");
    int before = names_in(folder);
    assert_int_equal(nc_file_write(path, "old", 3, &e), 0);
    struct rlimit old, small = { 300000, 300000 };
    getrlimit(RLIMIT_FSIZE, &old);
    small.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    int code = nc_file_write(path, block, sizeof block, &e);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(code, NC_EIO);
    assert_non_null(strstr(e.message, "limited"));
    assert_int_equal(nc_file_size(path), 3);
    assert_int_equal(names_in(folder), before + 1);
}

static void test_folders(void **state)
{
    (void)state;
    nc_error e = { 0 };
    const char *deep = nc_path_join(a, folder, "x/y//z/"), *outside = nc_path_join(a, folder, "outside");
    assert_int_equal(nc_mkdirs(deep, &e), 0);
    assert_int_equal(nc_mkdirs(deep, &e), 0);
    assert_true(nc_is_dir(deep));
    assert_int_equal(nc_file_write(nc_path_join(a, deep, "b"), "1", 1, &e), 0);
    assert_int_equal(nc_file_write(nc_path_join(a, deep, "a"), "1", 1, &e), 0);
    assert_int_equal(nc_mkdirs(nc_path_join(a, deep, "a/c"), &e), NC_EIO);
    char **names;
    int count;
    assert_int_equal(nc_list_dir(a, deep, &names, &count, &e), 0);
    assert_true(count == 2 && !strcmp(names[0], "a") && !strcmp(names[1], "b"));
    assert_int_equal(nc_list_dir(a, nc_path_join(a, folder, "none"), &names, &count, &e), NC_ENOTFOUND);

    /* A link inside the tree is removed, not followed. */
    assert_int_equal(nc_mkdirs(outside, &e), 0);
    assert_int_equal(nc_file_write(nc_path_join(a, outside, "keep"), "1", 1, &e), 0);
    assert_int_equal(symlink(outside, nc_path_join(a, deep, "link")), 0);
    assert_int_equal(nc_remove_tree(nc_path_join(a, folder, "x"), &e), 0);
    assert_false(nc_file_exists(nc_path_join(a, folder, "x")));
    assert_true(nc_file_exists(nc_path_join(a, outside, "keep")));
    assert_int_equal(nc_remove_tree(nc_path_join(a, folder, "x"), &e), 0);
    assert_int_equal(nc_rename(outside, nc_path_join(a, folder, "moved"), &e), 0);
    assert_true(nc_file_exists(nc_path_join(a, folder, "moved/keep")));
    assert_int_equal(nc_rename(outside, nc_path_join(a, folder, "again"), &e), NC_ENOTFOUND);
}

static void test_paths(void **state)
{
    (void)state;
    assert_string_equal(nc_path_join(a, "a", "b"), "a/b");
    assert_string_equal(nc_path_join(a, "a/", "b"), "a/b");
    assert_string_equal(nc_path_join(a, "a", "/b"), "/b");
    assert_string_equal(nc_path_join(a, "", "b"), "b");
    assert_string_equal(nc_path_base("a/b.c"), "b.c");
    assert_string_equal(nc_path_base("b.c"), "b.c");
    assert_string_equal(nc_path_dir(a, "a/b/c"), "a/b");
    assert_string_equal(nc_path_dir(a, "c"), ".");
    assert_string_equal(nc_path_dir(a, "/c"), "/");
    assert_string_equal(nc_path_dir(a, "a//c"), "a");
}

/* A writer that was killed leaves its temporary file; the next one of the same file takes it away, and no other's. */
static void test_leftovers(void **state)
{
    nc_error e = { 0 };
    const char *path = nc_path_join(a, folder, "model.gguf"), *mine = nc_arena_printf(a, "%s.tmp-%ld-9", path, (long)getpid()), *other = nc_path_join(a, folder, "other.tmp-1-2");
    (void)state;
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    const char *dead = nc_arena_printf(a, "%s.tmp-%ld-0", path, (long)child);
    assert_int_equal(nc_file_write(other, "x", 1, &e), 0);
    assert_int_equal(nc_file_write(mine, "x", 1, &e), 0);
    assert_int_equal(nc_file_write(dead, "x", 1, &e), 0);
    assert_int_equal(nc_file_write(path, "whole", 5, &e), 0);
    assert_false(nc_file_exists(dead));
    assert_true(nc_file_exists(mine));
    assert_true(nc_file_exists(other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_leftovers, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_read_write, make_folder, remove_folder), cmocka_unit_test_setup_teardown(test_writer, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_full_disk, make_folder, remove_folder), cmocka_unit_test_setup_teardown(test_folders, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_paths, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

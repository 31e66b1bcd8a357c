/* test_pool.c - every part once, with 1, 2, 3 and more threads than CPUs; nested runs, two callers, sleep and wake. `test_base_pool time`
 * prints what a run costs. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/thread.h"

enum { PARTS = 257, MAX_THREADS = 9 };

struct job {
    int count[PARTS], threads;
    _Atomic int wrong;
    nc_pool *pool;
};

static void mark(void *context, int64_t part, int64_t parts, int worker)
{
    struct job *j = context;
    if (part < 0 || part >= parts || worker < 0 || worker >= j->threads)
        atomic_fetch_add(&j->wrong, 1);
    j->count[part]++;                   /* not atomic: two threads on one part would be a race that TSan sees */
}

static void check(struct job *j, int64_t parts, int times)
{
    assert_int_equal(j->wrong, 0);
    for (int64_t i = 0; i < PARTS; i++)
        assert_int_equal(j->count[i], i < parts ? times : 0);
}

static void test_parts(void **state)
{
    (void)state;
    static const int threads[] = { 1, 2, 3, 9 };
    for (int t = 0; t < NC_COUNT(threads); t++) {
        nc_pool *p = nc_pool_new(threads[t]);
        assert_int_equal(nc_pool_threads(p), threads[t]);
        for (int64_t parts = 0; parts <= PARTS; parts += parts < 5 ? 1 : 63) {
            struct job j = { .threads = threads[t] };
            for (int times = 1; times <= 20; times++)
                nc_pool_run(p, parts, mark, &j);
            check(&j, parts, 20);
        }
        usleep(2000);                   /* workers fall asleep; the next run wakes them */
        struct job j = { .threads = threads[t] };
        nc_pool_run(p, PARTS, mark, &j);
        check(&j, PARTS, 1);
        nc_pool_free(p);
    }
    struct job j = { .threads = 1 };
    nc_pool_run(NULL, 5, mark, &j);
    check(&j, 5, 1);
    assert_int_equal(nc_pool_threads(NULL), 1);
    nc_pool_free(NULL);
}

static void nested(void *context, int64_t part, int64_t parts, int worker)
{
    struct job *outer = context;
    struct job j = { .threads = outer->threads };
    (void)parts;
    (void)worker;
    nc_pool_run(outer->pool, 7, mark, &j);
    for (int i = 0; i < 7; i++)
        if (j.count[i] != 1)
            atomic_fetch_add(&outer->wrong, 1);
    outer->count[part]++;
}

static void test_nested(void **state)
{
    (void)state;
    struct job j = { .threads = 3, .pool = nc_pool_new(3) };
    nc_pool_run(j.pool, 100, nested, &j);
    check(&j, 100, 1);
    nc_pool_free(j.pool);
}

static void *call_often(void *context)
{
    struct job *j = context;
    for (int i = 0; i < 300; i++)
        nc_pool_run(j->pool, PARTS, mark, j);
    return NULL;
}

static void test_two_callers(void **state)
{
    (void)state;
    nc_pool *p = nc_pool_new(2);
    struct job jobs[3] = { { .threads = 2, .pool = p }, { .threads = 2, .pool = p }, { .threads = 2, .pool = p } };
    pthread_t t[2];
    pthread_create(&t[0], NULL, call_often, &jobs[0]);
    pthread_create(&t[1], NULL, call_often, &jobs[1]);
    call_often(&jobs[2]);
    pthread_join(t[0], NULL);
    pthread_join(t[1], NULL);
    for (int i = 0; i < 3; i++)
        check(&jobs[i], PARTS, 300);
    nc_pool_free(p);
}

static void slow(void *context, int64_t part, int64_t parts, int worker)
{
    (void)parts;
    (void)worker;
    usleep(part == 0 ? 100 : 5000);
    ((int *)context)[part] = 1;
}

/* Parts that take longer than the spin: the caller sleeps and is woken by whoever computes the last part. */
static void test_caller_sleeps(void **state)
{
    (void)state;
    nc_pool *p = nc_pool_new(3);
    for (int i = 0; i < 10; i++) {
        int done[4] = { 0 };
        nc_pool_run(p, 4, slow, done);
        assert_int_equal(done[0] + done[1] + done[2] + done[3], 4);
    }
    nc_pool_free(p);
}

static void test_count(void **state)
{
    (void)state;
    assert_true(nc_cpu_count() >= 1);
    setenv("NUNCHI_THREADS", "3", 1);
    nc_pool *p = nc_pool_new(0);
    assert_int_equal(nc_pool_threads(p), 3);
    nc_pool_free(p);
    setenv("NUNCHI_THREADS", "many", 1);
    p = nc_pool_new(0);
    assert_int_equal(nc_pool_threads(p), nc_cpu_count());
    nc_pool_free(p);
    unsetenv("NUNCHI_THREADS");
}

static void nothing(void *context, int64_t part, int64_t parts, int worker)
{
    (void)context, (void)part, (void)parts, (void)worker;
}

static void print_times(void)
{
    for (int threads = 1; threads <= 2; threads++) {
        nc_pool *p = nc_pool_new(threads);
        enum { RUNS = 200000 };
        for (int parts = 2; parts <= 8; parts *= 2) {
            double before = nc_now();
            for (int i = 0; i < RUNS; i++)
                nc_pool_run(p, parts, nothing, NULL);
            printf("%d threads, %d empty parts: %.0f ns a run\n", threads, parts, (nc_now() - before) / RUNS * 1e9);
        }
        nc_pool_free(p);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "time"))
        return print_times(), 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts), cmocka_unit_test(test_nested), cmocka_unit_test(test_two_callers), cmocka_unit_test(test_caller_sleeps),
        cmocka_unit_test(test_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

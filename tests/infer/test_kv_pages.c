/* test_kv_pages.c - the pool's bookkeeping, and attention through it: a fork writes its own rows and leaves its parent's, a page given out again is clean. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "base/rng.h"
#include "infer/kv_pages.h"

static nc_kv *make(int64_t pages, int slots, bool bf16)
{
    nc_kv *kv;
    nc_error e = { 0 };
    int rc = nc_kv_new(&(nc_kv_shape){ { 3, 2, 6, 10, 0, 0 }, bf16 }, pages, slots, &kv, &e);

    if (rc < 0)
        fail_msg("%s", e.message);
    return kv;
}

static void test_bytes(void **state)
{
    size_t bytes, page;
    nc_error e = { 0 };

    (void)state;
    assert_int_equal(nc_kv_page_bytes(&(nc_kv_shape){ { 28, 8, 128, 128, 0, 0 }, true }, &page, &e), 0);
    assert_int_equal(page, 28 * 8 * 64 * (128 + 128) * 2);
    assert_int_equal(nc_kv_page_bytes(&(nc_kv_shape){ { 2, 3, 5, 7, 0, 0 }, true }, &page, &e), 0);
    assert_int_equal(page, 2 * (3 * 3 * 64 * 4 + 3 * 32 * 7 * 4));
    assert_int_equal(nc_kv_page_bytes(&(nc_kv_shape){ { 2, 3, 5, 7, 0, 0 }, false }, &page, &e), 0);
    assert_int_equal(page, 2 * 3 * 64 * 12 * 4);
    assert_int_equal(nc_kv_bytes(&(nc_kv_shape){ { 28, 8, 128, 128, 0, 0 }, true }, 100, 4, &bytes, &e), 0);
    assert_true(bytes > 100 * 28 * 8 * 64 * 512);
    assert_int_equal(nc_kv_bytes(&(nc_kv_shape){ { 28, 8, 128, 128, 0, 0 }, true }, INT64_MAX / 2, 4, &bytes, &e), NC_ELIMIT);
    assert_int_equal(nc_kv_bytes(&(nc_kv_shape){ { 28, 8, 128, 128, 0, 0 }, true }, 0, 4, &bytes, &e), NC_EINVAL);
    assert_int_equal(nc_kv_bytes(&(nc_kv_shape){ { 28, -8, 128, 128, 0, 0 }, true }, 10, 4, &bytes, &e), NC_EINVAL);
}

static void test_slots(void **state)
{
    nc_kv *kv = make(6, 3, true);
    nc_kv_stats s;
    nc_error e = { 0 };

    (void)state;
    int a = nc_kv_open(kv, &e), b = nc_kv_open(kv, &e);
    assert_int_equal(nc_kv_reserve(kv, a, 65, &e), 0);
    assert_int_equal(nc_kv_reserve(kv, b, 64 * 4, &e), 0);
    assert_int_equal(nc_kv_pages_free(kv), 0);
    assert_int_equal(nc_kv_reserve(kv, a, 128, &e), 0);      /* the second page has room */
    assert_int_equal(nc_kv_reserve(kv, a, 129, &e), NC_ELIMIT);
    assert_int_equal(nc_kv_rows(kv, a), 128);
    nc_kv_truncate(kv, b, 130);
    assert_int_equal(nc_kv_pages_free(kv), 1);
    assert_int_equal(nc_kv_reserve(kv, a, 129, &e), 0);
    assert_true(nc_kv_open(kv, &e) >= 0);
    assert_int_equal(nc_kv_open(kv, &e), NC_ELIMIT);
    nc_kv_close(kv, a);
    nc_kv_get_stats(kv, &s);
    assert_int_equal(s.used, 3);
    assert_int_equal(s.peak, 6);
    assert_int_equal(s.slots_used, 2);
    nc_kv_free(kv);
}

static void test_fork(void **state)
{
    nc_kv *kv = make(8, 4, false);
    nc_cache *c = nc_kv_cache(kv);
    nc_kv_stats s;
    nc_error e = { 0 };

    (void)state;
    int a = nc_kv_open(kv, &e);
    assert_int_equal(nc_kv_reserve(kv, a, 100, &e), 0);
    float *first = c->keys(c, a, 1, 0), *second = c->values(c, a, 2, 1);
    first[5] = 7;
    second[3] = 9;
    int b = nc_kv_fork(kv, a, 70, &e);
    assert_true(b >= 0);
    nc_kv_get_stats(kv, &s);
    assert_int_equal(s.used, 2);
    assert_int_equal(s.shared, 2);
    assert_ptr_equal(c->keys(c, b, 1, 0), first);
    assert_int_equal(nc_kv_reserve_needs(kv, b, 71), 1);
    assert_int_equal(nc_kv_reserve(kv, b, 71, &e), 0);       /* the begun page is copied, the whole one stays shared */
    float *own = c->values(c, b, 2, 1);
    assert_ptr_not_equal(own, second);
    assert_true(own[3] == 9);
    own[3] = 1;
    assert_true(second[3] == 9);
    assert_ptr_equal(c->keys(c, b, 1, 0), first);
    assert_int_equal(nc_kv_reserve_needs(kv, a, 101), 0);    /* the parent is alone with its page again */
    int64_t page = nc_kv_page(kv, a, 0);
    nc_kv_retain(kv, page);
    nc_kv_close(kv, a);
    nc_kv_close(kv, b);
    assert_int_equal(nc_kv_holders(kv, page), 1);
    assert_int_equal(nc_kv_pages_free(kv), 7);
    int d = nc_kv_open(kv, &e);
    assert_int_equal(nc_kv_attach(kv, d, &page, 1, &e), 0);
    assert_int_equal(nc_kv_rows(kv, d), 64);
    assert_true(((float *)c->keys(c, d, 1, 0))[5] == 7);
    assert_int_equal(nc_kv_attach(kv, d, &page, 1, &e), NC_EINVAL);
    nc_kv_release(kv, page);
    nc_kv_close(kv, d);
    assert_int_equal(nc_kv_pages_free(kv), 8);
    int f = nc_kv_open(kv, &e);                              /* given out again: clean */
    assert_int_equal(nc_kv_reserve(kv, f, 64 * 8, &e), 0);
    for (int block = 0; block < 8; block++)
        for (int i = 0; i < 2 * 6 * 64; i++)
            assert_true(((float *)c->keys(c, f, 1, block))[i] == 0);
    assert_int_equal(nc_kv_fork(kv, f, 513, &e), NC_EINVAL);
    nc_kv_free(kv);
}

/* Random opening, growing, truncating, forking, closing: the counts always add up, and no page that two sequences may write is shared. */
static void test_random(void **state)
{
    nc_kv *kv = make(40, 6, true);
    bool open[6] = { false };
    nc_rng r = nc_rng_new(5, 5);
    nc_error e = { 0 };

    (void)state;
    for (int step = 0; step < 20000; step++) {
        int slot = (int)nc_rng_below(&r, 6), made = -1;
        switch (open[slot] ? nc_rng_below(&r, 6) : 6) {
        case 0: nc_kv_close(kv, slot), open[slot] = false; break;
        case 1: nc_kv_truncate(kv, slot, (int64_t)nc_rng_below(&r, 300)); break;
        case 2: made = nc_kv_fork(kv, slot, (int64_t)nc_rng_below(&r, (uint64_t)nc_kv_rows(kv, slot) + 1), &e); break;
        case 6: made = nc_kv_open(kv, &e); break;
        default: {
            int64_t rows = nc_kv_rows(kv, slot), to = rows + (int64_t)nc_rng_below(&r, 150), needs = nc_kv_reserve_needs(kv, slot, to), before = nc_kv_pages_free(kv);
            if (nc_kv_reserve(kv, slot, to, &e) == 0) {
                assert_int_equal(before - nc_kv_pages_free(kv), needs);
                for (int64_t b = rows / 64; to > rows && b < nc_kv_pages_for(to); b++)
                    assert_int_equal(nc_kv_holders(kv, nc_kv_page(kv, slot, b)), 1);
            } else
                assert_int_equal(nc_kv_pages_free(kv), before);
        }
        }
        if (made >= 0)
            open[made] = true;
        int64_t held = 0, counted = 0;
        for (int i = 0; i < 6; i++)
            for (int64_t b = 0; open[i] && nc_kv_page(kv, i, b) >= 0; b++)
                held++;
        for (int64_t p = 0; p < 40; p++)
            counted += nc_kv_holders(kv, p);
        assert_int_equal(held, counted);
    }
    for (int i = 0; i < 6; i++)
        if (open[i])
            nc_kv_close(kv, i);
    assert_int_equal(nc_kv_pages_free(kv), 40);
    nc_kv_free(kv);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_bytes), cmocka_unit_test(test_slots), cmocka_unit_test(test_fork), cmocka_unit_test(test_random) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

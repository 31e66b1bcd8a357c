/* test_memory.c - arenas, pages, maps, hashes, random numbers, dates. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/rng.h"

static void test_arena(void **state)
{
    (void)state;
    nc_arena *a = nc_arena_new();
    for (int round = 0; round < 3; round++) {
        unsigned char *last = NULL;
        for (size_t n = 0; n < 3000; n += 7) {
            unsigned char *p = nc_arena_alloc(a, n);
            assert_int_equal((uintptr_t)p % (n >= 64 ? 64 : 16), 0);
            for (size_t i = 0; i < n; i++)
                assert_int_equal(p[i], 0);
            memset(p, 0xaa, n);
            assert_ptr_not_equal(p, last);
            last = n ? p : NULL;
        }
        unsigned char *big = nc_arena_alloc(a, 10 << 20);
        assert_int_equal(big[0] | big[(10 << 20) - 1], 0);
        memset(big, 1, 10 << 20);
        assert_string_equal(nc_arena_printf(a, "%d-%s", 5, "x"), "5-x");
        assert_string_equal(nc_arena_strndup(a, "abcdef", 3), "abc");
        assert_true(nc_arena_bytes(a) >= (size_t)10 << 20);
        nc_arena_reset(a);
        assert_true(nc_arena_bytes(a) < (size_t)16 << 20);
    }
    nc_arena_free(a);
    nc_arena_free(NULL);
}

static void test_pages(void **state)
{
    (void)state;
    const size_t n = ((size_t)5 << 20) + 123;
    unsigned char *p = nc_pages_alloc(n);
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % (2 << 20), 0);
    assert_int_equal(p[0] | p[n - 1], 0);
    p[n - 1] = 1;
    nc_pages_free(p, n);
    assert_null(nc_pages_alloc(SIZE_MAX - 5));
    assert_null(nc_pages_alloc(SIZE_MAX / 2));
    nc_pages_free(NULL, 10);
}

static void test_map(void **state)
{
    (void)state;
    nc_map *m = nc_map_new(0);
    char key[32];
    int64_t v;
    for (int i = 0; i < 50000; i++) {
        int n = snprintf(key, sizeof key, "key %d", i * 7);
        assert_true(nc_map_set(m, (nc_str){ key, (size_t)n }, i));
    }
    nc_str first = nc_map_key(m, 0);
    assert_false(nc_map_set(m, NC_STR("key 0"), -1));
    assert_true(nc_map_set(m, NC_STR("a\0b"), 1) && nc_map_set(m, NC_STR("a\0c"), 2) && nc_map_set(m, (nc_str){ NULL, 0 }, 3));
    assert_int_equal(nc_map_count(m), 50003);
    assert_true(nc_map_get(m, NC_STR("key 0"), &v) && v == -1);
    assert_true(nc_map_get(m, NC_STR("a\0c"), &v) && v == 2);
    assert_true(nc_map_get(m, NC_STR(""), NULL));
    assert_false(nc_map_get(m, NC_STR("key 1"), &v));
    assert_ptr_equal(first.p, nc_map_key(m, 0).p);
    assert_true(nc_str_eqz(nc_map_key(m, 49999), "key 349993") && nc_map_value(m, 49999) == 49999);
    nc_map_free(m);
}

static void test_hash(void **state)
{
    (void)state;
    /* XXH3's published value of the empty input, CRC-32C's check values (RFC 3720, B.4). */
    assert_true(nc_hash64("", 0, 0) == 0x2d06800538d394c2u);
    assert_true(nc_hash128_of("", 0).low == 0x6001c324468d497fu && nc_hash128_of("", 0).high == 0x99aa06d3014798d8u);
    unsigned char zero[32] = { 0 }, up[32];
    for (int i = 0; i < 32; i++)
        up[i] = (unsigned char)i;
    assert_int_equal(nc_crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(nc_crc32c(0, zero, 32), 0x8a9136aa);
    assert_int_equal(nc_crc32c(0, up, 32), 0x46dd794e);
    for (size_t cut = 0; cut <= 32; cut++)
        assert_int_equal(nc_crc32c(nc_crc32c(0, up, cut), up + cut, 32 - cut), 0x46dd794e);
}

static void test_philox(void **state)
{
    (void)state;
    /* Known answers of Random123 (kat_vectors): philox4x32 10. */
    static const struct { uint64_t seed, stream, counter; uint32_t out[4]; } known[] = {
        { 0, 0, 0, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
        { UINT64_MAX, UINT64_MAX, UINT64_MAX, { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
        { 0x299f31d0a4093822u, 0x0370734413198a2eu, 0x85a308d3243f6a88u, { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
    };
    for (int i = 0; i < NC_COUNT(known); i++) {
        uint32_t out[4];
        nc_philox(known[i].seed, known[i].stream, known[i].counter, out);
        assert_memory_equal(out, known[i].out, sizeof out);
    }
}

static void test_draws(void **state)
{
    (void)state;
    nc_rng r = nc_rng_new(7, nc_rng_stream(1, 2, 3, 4)), again = r;
    double sum = 0, squares = 0, normal = 0, normal2 = 0;
    int64_t bins[10] = { 0 };
    enum { N = 200000 };
    for (int i = 0; i < N; i++) {
        double u = nc_rng_uniform(&r), z = nc_rng_normal(&r);
        assert_true(u >= 0 && u < 1);
        sum += u, squares += u * u, normal += z, normal2 += z * z;
        bins[nc_rng_below(&r, 10)]++;
    }
    /* Five standard errors of each mean. */
    assert_true(fabs(sum / N - 0.5) < 5 * 0.2887 / sqrt(N));
    assert_true(fabs(squares / N - 1.0 / 3) < 5 * 0.2981 / sqrt(N));
    assert_true(fabs(normal / N) < 5 / sqrt(N) && fabs(normal2 / N - 1) < 5 * sqrt(2) / sqrt(N));
    for (int i = 0; i < 10; i++)
        assert_true(fabs((double)bins[i] - N / 10.0) < 5 * sqrt(N * 0.09));
    assert_true(nc_rng_uniform(&again) == (nc_rng_uniform(&(nc_rng){ 7, nc_rng_stream(1, 2, 3, 4), 0 })));
    assert_true(nc_rng_stream(1, 2, 3, 4) != nc_rng_stream(1, 2, 4, 3) && nc_rng_stream(0, 0, 0, 0) != nc_rng_stream(0, 0, 0, 1));
    assert_int_equal(nc_rng_below(&r, 1), 0);
    assert_int_equal(nc_rng_below(&r, 0), 0);
    assert_true(nc_rng_u32(&(nc_rng){ 0, 0, 0 }) == 0x6627e8d5);

    int64_t items[100], seen[100] = { 0 }, moved = 0;
    for (int i = 0; i < 100; i++)
        items[i] = i;
    nc_rng_shuffle(&r, items, 100);
    for (int i = 0; i < 100; i++) {
        seen[items[i]]++;
        moved += items[i] != i;
    }
    for (int i = 0; i < 100; i++)
        assert_int_equal(seen[i], 1);
    assert_true(moved > 80);
}

static void test_clock(void **state)
{
    (void)state;
    char iso[32];
    assert_string_equal(nc_wall_iso(0, iso), "1970-01-01T00:00:00Z");
    assert_string_equal(nc_wall_iso(1795333320, iso), "2026-11-22T07:42:00Z");
    uint64_t before = nc_now_ns();
    assert_true(nc_now_ns() >= before && nc_now() > 0 && nc_wall_time() > 1.6e9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arena), cmocka_unit_test(test_pages), cmocka_unit_test(test_map), cmocka_unit_test(test_hash),
        cmocka_unit_test(test_philox), cmocka_unit_test(test_draws), cmocka_unit_test(test_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

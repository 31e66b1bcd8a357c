/* test_tfevents.c - framing with known checksums, a cut record removed on resume, fields as TensorBoard reads them. */
#include "formats_test.h"
#include "base/hash.h"
#include "formats/tfevents.h"

static uint64_t get(const char *p, int n)
{
    uint64_t v = 0;
    while (n-- > 0)
        v = v << 8 | (uint8_t)p[n];
    return v;
}

static uint32_t masked(const char *p, size_t n)
{
    uint32_t c = nc_crc32c(0, p, n);
    return ((c >> 15) | (c << 17)) + 0xa282ead8u;
}

/* The records of a file; fails where framing or a checksum is wrong. */
static int records(const char *path, nc_buf *b, nc_str *out, int most)
{
    int n = 0;
    nc_buf_clear(b);
    assert_ok(nc_file_read(path, 1 << 20, b, e));
    for (size_t at = 0; at < b->n; n++) {
        assert_true(b->n - at >= 16 && n < most);
        uint64_t length = get(b->p + at, 8);
        assert_true(length <= b->n - at - 16);
        assert_int_equal(get(b->p + at + 8, 4), masked(b->p + at, 8));
        assert_int_equal(get(b->p + at + 12 + length, 4), masked(b->p + at + 12, length));
        out[n] = (nc_str){ b->p + at + 12, length };
        at += 16 + length;
    }
    return n;
}

static bool holds(nc_str s, const char *part, size_t n)
{
    return memmem(s.p, s.n, part, n) != NULL;
}

static void events(void **state)
{
    (void)state;
    nc_tfevents *t = NULL;
    nc_buf b = { 0 };
    nc_str r[16];
    char path[512];
    assert_int_equal(nc_crc32c(0, "123456789", 9), 0xe3069283u);
    assert_ok(nc_tfevents_open(in_scratch("log"), -1, &t, e));
    snprintf(path, sizeof path, "%s", nc_tfevents_path(t));
    assert_ok(nc_tfevents_scalar(t, "loss", 300, 1.5, e));
    assert_ok(nc_tfevents_text(t, "sample/text_summary", 7, NC_STR("**안녕**"), e));
    assert_ok(nc_tfevents_close(t, e));
    assert_int_equal(records(path, &b, r, 16), 3);
    assert_true(r[0].p[0] == 0x09 && holds(r[0], "\x1a\x0d" "brain.Event:2", 15));
    assert_true(holds(r[1], "\x10\xac\x02", 3));                                    /* step 300 as a varint */
    assert_true(holds(r[1], "\x2a\x0d\x0a\x0b\x0a\x04loss\x15\x00\x00\xc0\x3f", 15)); /* summary, value, tag, simple_value 1.5f */
    assert_true(holds(r[2], "text", 4) && holds(r[2], "**안녕**", 10));

    size_t whole = b.n;
    assert_ok(nc_file_write(path, b.p, whole - 5, e));                             /* as if killed while writing */
    assert_ok(nc_tfevents_open(in_scratch("log"), 200, &t, e));
    assert_string_equal(nc_tfevents_path(t), path);
    assert_ok(nc_tfevents_scalar(t, "loss", 201, 1.25, e));
    assert_ok(nc_tfevents_close(t, e));
    assert_int_equal(records(path, &b, r, 16), 4);
    assert_true(holds(r[2], "\x3a\x02\x08\x01", 4));                                /* session log: start */
    nc_buf_free(&b);
    assert_fails(nc_tfevents_open("/proc/none/here", -1, &t, e), NC_EIO, "/proc/none");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(events) };
    return cmocka_run_group_tests(tests, make_scratch, drop_scratch);
}

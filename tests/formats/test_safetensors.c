/* test_safetensors.c - the reference's bytes reproduced, shards, and headers that lie. */
#include "formats_test.h"
#include "formats/safetensors.h"

#define GOLDEN "tests/golden/quant/gguf-blocks/golden.safetensors"

static void same_file(const char *a, const char *b)
{
    nc_buf x = { 0 }, y = { 0 };
    assert_ok(nc_file_read(a, 1u << 30, &x, e));
    assert_ok(nc_file_read(b, 1u << 30, &y, e));
    assert_int_equal(x.n, y.n);
    assert_memory_equal(x.p, y.p, x.n);
    nc_buf_free(&x);
    nc_buf_free(&y);
}

static nc_store *entries(const nc_safetensors *s)
{
    nc_store *t = calloc((size_t)nc_safetensors_count(s) + 1, sizeof *t);
    for (int i = 0; i < nc_safetensors_count(s); i++) {
        const nc_stored *from = nc_safetensors_at(s, i);
        t[nc_safetensors_count(s) - 1 - i] = (nc_store){ from->name, from->dtype, from->shape, from->data };   /* reversed: the writer sorts */
    }
    return t;
}

/* What the reference library wrote is written again byte for byte. */
static void reference_bytes(void **state)
{
    (void)state;
    nc_safetensors *s = NULL;
    assert_ok(nc_safetensors_open(GOLDEN, &s, e));
    nc_store *t = entries(s);
    nc_json empty = { .type = NC_JSON_OBJECT };
    const nc_json *metadata = nc_safetensors_metadata(s);
    assert_ok(nc_safetensors_write(in_scratch("again.safetensors"), t, nc_safetensors_count(s), metadata ? metadata : &empty, NULL, NULL, e));
    same_file(GOLDEN, in_scratch("again.safetensors"));
    free(t);
    nc_safetensors_close(s);
}

static int fill_counting(void *context, int i, uint64_t offset, void *out, size_t n, nc_error *e)
{
    (void)e;
    for (size_t k = 0; k < n; k++)
        ((uint8_t *)out)[k] = (uint8_t)((offset + k) * 7 + (uint64_t)i);
    *(int *)context += 1;
    return 0;
}

/* A sharded save is read back whole; a second one with one shard removes the files of the first. */
static void shards(void **state)
{
    (void)state;
    nc_store t[] = { { "b.weight", NC_F32, NC_SHAPE(700000), NULL }, { "a", NC_BF16, NC_SHAPE(3, 5), NULL }, { "empty", NC_F16, NC_SHAPE(0, 4), NULL },
                     { "c", NC_I8, NC_SHAPE(1000001), NULL }, { "scalar", NC_I64, { 0, { 0 } }, NULL } };
    int pieces = 0;
    nc_safetensors *s = NULL;
    assert_ok(nc_safetensors_write_folder(in_scratch("m"), "model", t, NC_COUNT(t), NULL, 1000000, fill_counting, &pieces, e));
    assert_int_equal(pieces, 3 + 1 + 1 + 1);
    assert_true(nc_file_exists(in_scratch("m/model-00003-of-00004.safetensors")));
    assert_ok(nc_safetensors_open(in_scratch("m"), &s, e));
    assert_int_equal(nc_safetensors_files(s), 4);
    assert_int_equal(nc_safetensors_count(s), 5);
    assert_string_equal(nc_json_string(nc_json_get(nc_safetensors_metadata(s), "format"), ""), "pt");
    for (int i = 0; i < NC_COUNT(t); i++) {
        const nc_stored *x = nc_safetensors_find(s, t[i].name);
        assert_non_null(x);
        assert_true(nc_shape_equal(&x->shape, &t[i].shape));
        for (size_t k = 0; k < x->bytes; k++)
            if (((const uint8_t *)x->data)[k] != (uint8_t)(k * 7 + (size_t)i))
                fail_msg("%s byte %zu", x->name, k);
        nc_safetensors_advise(s, x->data, x->bytes, NC_ADVISE_DROP);
        if (x->bytes)
            assert_int_equal(((const uint8_t *)x->data)[x->bytes - 1], (uint8_t)((x->bytes - 1) * 7 + (size_t)i));
    }
    assert_null(nc_safetensors_find(s, "absent"));
    nc_safetensors_close(s);
    assert_ok(nc_safetensors_write_folder(in_scratch("m"), "model", t, NC_COUNT(t), NULL, 0, fill_counting, &pieces, e));
    assert_false(nc_file_exists(in_scratch("m/model.safetensors.index.json")));
    assert_false(nc_file_exists(in_scratch("m/model-00003-of-00004.safetensors")));
    assert_ok(nc_safetensors_open(in_scratch("m"), &s, e));
    assert_int_equal(nc_safetensors_files(s), 1);
    assert_int_equal((uintptr_t)nc_safetensors_find(s, "b.weight")->data % 4, 0);
    nc_safetensors_close(s);
}

static void put(const char *name, const char *header, size_t claimed, size_t data)
{
    nc_buf b = { 0 };
    for (int i = 0; i < 8; i++)
        nc_buf_addc(&b, (char)((uint64_t)claimed >> (8 * i)));
    nc_buf_adds(&b, header);
    for (size_t i = 0; i < data; i++)
        nc_buf_addc(&b, 'x');
    assert_ok(nc_file_write(in_scratch(name), b.p, b.n, e));
    nc_buf_free(&b);
}

static void refuses(const char *header, size_t data, int code, const char *part)
{
    nc_safetensors *s;
    put("bad.safetensors", header, strlen(header), data);
    assert_fails(nc_safetensors_open(in_scratch("bad.safetensors"), &s, e), code, part);
    assert_null(s);
}

static void lying_headers(void **state)
{
    (void)state;
    nc_safetensors *s;
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 7, NC_EFORMAT, "cut short");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 9, NC_EFORMAT, "belong to nothing");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, NC_EFORMAT, "want 12 bytes");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,8]}}", 8, NC_EFORMAT, "no whole number");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,8]}}", 8, NC_EFORMAT, "no whole number");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}", 0, NC_EFORMAT, "overflows");
    refuses("{\"a\":{\"dtype\":\"Q9\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, NC_EUNSUPPORTED, "dtype Q9");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, NC_EFORMAT, "rising");
    refuses("{\"a\":{\"dtype\":\"I8\",\"shape\":[8],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"I8\",\"shape\":[4],\"data_offsets\":[4,8]}}", 8, NC_EFORMAT, "b overlaps a");
    refuses("{\"a\":{\"dtype\":\"I8\",\"shape\":[2],\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"I8\",\"shape\":[2],\"data_offsets\":[4,6]}}", 6, NC_EFORMAT, "between a and tensor b");
    refuses("{\"a\":{\"dtype\":\"I8\",\"shape\":[1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1, NC_EUNSUPPORTED, "7 dimensions");
    refuses("{\"a\":{\"shape\":[1]}}", 0, NC_EFORMAT, "needs dtype");
    refuses("{\"a\":7}", 0, NC_EFORMAT, "needs dtype");
    refuses("{\"__metadata__\":{\"k\":1}}", 0, NC_EFORMAT, "is no string");
    refuses("[1,2]", 0, NC_EFORMAT, "start with {");
    put("bad.safetensors", "{}", (size_t)1 << 40, 0);
    assert_fails(nc_safetensors_open(in_scratch("bad.safetensors"), &s, e), NC_ELIMIT, "limit");
    put("bad.safetensors", "{}", 3000, 0);
    assert_fails(nc_safetensors_open(in_scratch("bad.safetensors"), &s, e), NC_EFORMAT, "cut short");
    assert_ok(nc_file_write(in_scratch("bad.safetensors"), "abc", 3, e));
    assert_fails(nc_safetensors_open(in_scratch("bad.safetensors"), &s, e), NC_EFORMAT, "too few");
    assert_true(nc_safetensors_open(in_scratch("absent.safetensors"), &s, NULL) < 0);
}

static void lying_index(void **state)
{
    (void)state;
    nc_safetensors *s;
    const char *one = "{\"a\":{\"dtype\":\"I8\",\"shape\":[2],\"data_offsets\":[0,2]}}";
    put("s1.safetensors", one, strlen(one), 2);
    put("s2.safetensors", one, strlen(one), 2);
    static const struct { const char *index, *part; } cases[] = {
        { "{\"weight_map\":{\"a\":\"../s1.safetensors\"}}", "no file name" }, { "{\"weight_map\":{\"b\":\"s1.safetensors\"}}", "tensor b is not in" },
        { "{\"weight_map\":{\"a\":\"s1.safetensors\",\"b\":\"s2.safetensors\"}}", "is also in" }, { "{}", "no weight_map" }, { "{\"weight_map\":{\"a\":\"s9.safetensors\"}}", "s9" },
    };
    for (int i = 0; i < NC_COUNT(cases); i++) {
        nc_error bad = { 0 };
        assert_ok(nc_file_write(in_scratch("x.safetensors.index.json"), cases[i].index, strlen(cases[i].index), e));
        assert_true(nc_safetensors_open(in_scratch("x.safetensors.index.json"), &s, &bad) < 0);
        if (!strstr(bad.message, cases[i].part))
            fail_msg("case %d: %s", i, bad.message);
    }
}

static int fill_failing(void *context, int i, uint64_t offset, void *out, size_t n, nc_error *e)
{
    (void)context, (void)i, (void)out, (void)n;
    return offset ? nc_fail(e, NC_EIO, "no more") : 0;
}

/* A save that fails half way leaves the old file as it was and nothing else. */
static void failed_save(void **state)
{
    (void)state;
    nc_store old = { "a", NC_I8, NC_SHAPE(2), "xy" }, big = { "a", NC_I8, NC_SHAPE(3000000), NULL }, twice[2] = { old, old };
    assert_ok(nc_safetensors_write(in_scratch("keep.safetensors"), &old, 1, NULL, NULL, NULL, e));
    assert_fails(nc_safetensors_write(in_scratch("keep.safetensors"), &big, 1, NULL, fill_failing, NULL, e), NC_EIO, "no more");
    assert_fails(nc_safetensors_write(in_scratch("keep.safetensors"), twice, 2, NULL, NULL, NULL, e), NC_EINVAL, "two tensors");
    nc_safetensors *s = NULL;
    assert_ok(nc_safetensors_open(in_scratch("keep.safetensors"), &s, e));
    assert_memory_equal(nc_safetensors_find(s, "a")->data, "xy", 2);
    nc_safetensors_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(reference_bytes), cmocka_unit_test(shards), cmocka_unit_test(lying_headers),
                                        cmocka_unit_test(lying_index), cmocka_unit_test(failed_save) };
    return cmocka_run_group_tests(tests, make_scratch, drop_scratch);
}

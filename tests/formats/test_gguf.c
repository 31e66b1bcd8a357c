/* test_gguf.c - the reference's blocks and model, every metadata type there and back, every truncation refused. */
#include "formats_test.h"
#include "formats/ggml_blocks.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"

#define BLOCKS "tests/golden/quant/gguf-blocks/golden.safetensors"
#define MODEL "tests/golden/quant/gguf-model/model.gguf"

static const nc_stored *need(const nc_safetensors *s, const char *a, const char *b)
{
    char name[64];
    snprintf(name, sizeof name, "%s.%s", a, b);
    const nc_stored *t = nc_safetensors_find(s, name);
    if (!t)
        fail_msg("golden lacks %s", name);
    return t;
}

/* ggml's C library and this program give the same bytes and the same values. */
static void blocks(void **state)
{
    (void)state;
    static const struct { const char *name; nc_dtype type; } types[] = { { "q8_0", NC_Q8_0 }, { "q4_0", NC_Q4_0 }, { "bf16", NC_BF16 } };
    nc_safetensors *s = NULL;
    assert_ok(nc_safetensors_open(BLOCKS, &s, e));
    const nc_stored *x = nc_safetensors_find(s, "x");
    int64_t n = nc_shape_count(&x->shape);
    for (int i = 0; i < NC_COUNT(types); i++) {
        const nc_stored *data = need(s, types[i].name, "data"), *values = need(s, types[i].name, "data.values"), *random = need(s, types[i].name, "random");
        const nc_stored *random_values = need(s, types[i].name, "random.values");
        uint8_t *out = malloc(nc_dtype_bytes(types[i].type, n));
        float *f = malloc(sizeof *f * (size_t)n);
        assert_ok(nc_ggml_quantize(types[i].type, x->data, n, out, e));
        assert_int_equal(nc_dtype_bytes(types[i].type, n), data->bytes);
        assert_memory_equal(out, data->data, data->bytes);
        assert_ok(nc_ggml_dequantize(types[i].type, data->data, n, f, e));
        assert_memory_equal(f, values->data, values->bytes);
        int64_t m = nc_shape_count(&random_values->shape);
        assert_int_equal(nc_dtype_bytes(types[i].type, m), random->bytes);
        assert_ok(nc_ggml_dequantize(types[i].type, random->data, m, f, e));
        assert_memory_equal(f, random_values->data, random_values->bytes);
        free(out);
        free(f);
    }
    nc_safetensors_close(s);
    float bad[32] = { 1, 2, 0.0f / 0.0f }, zero[32] = { 0 }, back[32];
    uint8_t out[34];
    assert_fails(nc_ggml_quantize(NC_Q8_0, bad, 32, out, e), NC_EINVAL, "NaN");
    assert_fails(nc_ggml_quantize(NC_Q4_0, bad, 31, out, e), NC_ESHAPE, "blocks of 32");
    bad[2] = 3e38f;
    assert_fails(nc_ggml_quantize(NC_Q8_0, bad, 32, out, e), NC_EINVAL, "half-precision");
    assert_ok(nc_ggml_quantize(NC_Q4_0, zero, 32, out, e));
    assert_ok(nc_ggml_dequantize(NC_Q4_0, out, 32, back, e));
    for (int i = 0; i < 32; i++)
        assert_true(back[i] == 0);
}

static void golden_model(void **state)
{
    (void)state;
    nc_gguf *g = NULL;
    assert_ok(nc_gguf_open(MODEL, &g, e));
    assert_int_equal(nc_gguf_version(g), 3);
    assert_int_equal(nc_gguf_count(g), 21);
    assert_string_equal(nc_gguf_string(g, "general.architecture", ""), "llama");
    assert_int_equal(nc_gguf_int(g, "llama.block_count", 0), 2);
    const nc_stored *t = NULL;
    assert_ok(nc_gguf_need(g, "blk.0.attn_q.weight", &t, e));
    assert_int_equal(t->dtype, NC_Q8_0);
    assert_fails(nc_gguf_need(g, "blk.0.attn_v.weight", &t, e), NC_EUNSUPPORTED, "Q5_1");
    assert_fails(nc_gguf_need(g, "blk.7.attn_v.weight", &t, e), NC_ENOTFOUND, "blk.7");
    const nc_gguf_value *tokens = nc_gguf_get(g, "tokenizer.ggml.tokens");
    assert_non_null(tokens);
    assert_int_equal(nc_gguf_find(g, "token_embd.weight")->shape.dim[0], tokens->count);
    nc_gguf_close(g);
}

/* A file of the reference, its supported tensors and all metadata written again, reads as the same. */
static void written_again(void **state)
{
    (void)state;
    nc_gguf *g = NULL, *h = NULL;
    assert_ok(nc_gguf_open(MODEL, &g, e));
    nc_gguf_meta *m = nc_gguf_meta_new();
    for (int i = 0; i < nc_gguf_keys(g); i++)
        nc_gguf_set_value(m, nc_gguf_key(g, i)->key, nc_gguf_key(g, i));
    nc_store t[32];
    int n = 0;
    for (int i = 0; i < nc_gguf_count(g); i++) {
        const nc_stored *x = nc_gguf_at(g, i);
        if (x->dtype != NC_DTYPES)
            t[n++] = (nc_store){ x->name, x->dtype, x->shape, x->data };
    }
    assert_ok(nc_gguf_write(in_scratch("again.gguf"), m, t, n, NULL, NULL, e));
    nc_gguf_meta_free(m);
    assert_ok(nc_gguf_open(in_scratch("again.gguf"), &h, e));
    assert_int_equal(nc_gguf_keys(h), nc_gguf_keys(g));
    for (int i = 0; i < nc_gguf_keys(g); i++) {
        const nc_gguf_value *a = nc_gguf_key(g, i), *b = nc_gguf_key(h, i);
        assert_string_equal(a->key, b->key);
        assert_true(a->type == b->type && a->i == b->i && a->f == b->f && a->item == b->item && a->count == b->count && nc_str_eq(a->s, b->s));
        for (int64_t k = 0; a->strings && k < a->count; k++)
            assert_true(nc_str_eq(a->strings[k], b->strings[k]));
        for (int64_t k = 0; a->numbers && k < a->count; k++)
            assert_true(nc_gguf_item_double(a, k) == nc_gguf_item_double(b, k));
    }
    for (int i = 0; i < n; i++) {
        const nc_stored *x = nc_gguf_find(h, t[i].name), *y = nc_gguf_find(g, t[i].name);
        assert_true(nc_shape_equal(&x->shape, &y->shape) && x->dtype == y->dtype && (uintptr_t)x->data % 32 == 0);
        assert_memory_equal(x->data, y->data, y->bytes);
    }
    nc_gguf_close(h);
    nc_gguf_close(g);
}

static void every_type(void **state)
{
    (void)state;
    static const int32_t numbers[] = { -1, 2, INT32_MIN };
    const nc_str words[] = { NC_STR("하나"), NC_STR(""), { "a\0b", 3 } };
    const nc_gguf_value rows[2] = { { .type = NC_GGUF_ARRAY, .item = NC_GGUF_I32, .count = 3, .numbers = numbers },
                                    { .type = NC_GGUF_ARRAY, .item = NC_GGUF_STRING, .count = 3, .strings = words } };
    const nc_gguf_value nested = { .type = NC_GGUF_ARRAY, .item = NC_GGUF_ARRAY, .count = 2, .arrays = rows };
    nc_gguf_meta *m = nc_gguf_meta_new();
    nc_gguf_set_int(m, "u8", NC_GGUF_U8, 200);
    nc_gguf_set_int(m, "i8", NC_GGUF_I8, -100);
    nc_gguf_set_int(m, "u16", NC_GGUF_U16, 60000);
    nc_gguf_set_int(m, "i16", NC_GGUF_I16, -30000);
    nc_gguf_set_int(m, "u32", NC_GGUF_U32, 4000000000);
    nc_gguf_set_int(m, "i32", NC_GGUF_I32, -2000000000);
    nc_gguf_set_int(m, "u64", NC_GGUF_U64, -1);
    nc_gguf_set_int(m, "i64", NC_GGUF_I64, INT64_MIN);
    nc_gguf_set_int(m, "yes", NC_GGUF_BOOL, 1);
    nc_gguf_set_float(m, "f32", NC_GGUF_F32, 0.1);
    nc_gguf_set_float(m, "f64", NC_GGUF_F64, 0.1);
    nc_gguf_set_string(m, "s", NC_STR("첫째"));
    nc_gguf_set_string(m, "s", NC_STR("둘째"));
    nc_gguf_set_strings(m, "words", words, 3);
    nc_gguf_set_numbers(m, "numbers", NC_GGUF_I32, numbers, 3);
    nc_gguf_set_value(m, "nested", &nested);
    nc_store t = { "t", NC_F32, NC_SHAPE(2, 3), (float[]){ 1, 2, 3, 4, 5, 6 } };
    assert_ok(nc_gguf_write(in_scratch("types.gguf"), m, &t, 1, NULL, NULL, e));
    nc_gguf_meta_free(m);
    nc_gguf *g = NULL;
    assert_ok(nc_gguf_open(in_scratch("types.gguf"), &g, e));
    assert_int_equal(nc_gguf_int(g, "u8", 0), 200);
    assert_int_equal(nc_gguf_int(g, "i8", 0), -100);
    assert_int_equal(nc_gguf_int(g, "u16", 0), 60000);
    assert_int_equal(nc_gguf_int(g, "i16", 0), -30000);
    assert_int_equal(nc_gguf_int(g, "u32", 0), 4000000000);
    assert_int_equal(nc_gguf_int(g, "i32", 0), -2000000000);
    assert_true(nc_gguf_double(g, "u64", 0) == 18446744073709551615.0);
    assert_int_equal(nc_gguf_int(g, "i64", 0), INT64_MIN);
    assert_true(nc_gguf_bool(g, "yes", false));
    assert_true(nc_gguf_double(g, "f32", 0) == (double)0.1f && nc_gguf_double(g, "f64", 0) == 0.1);
    assert_string_equal(nc_gguf_string(g, "s", ""), "둘째");
    assert_int_equal(nc_gguf_get(g, "words")->strings[2].n, 3);
    assert_int_equal(nc_gguf_item_int(nc_gguf_get(g, "numbers"), 2), INT32_MIN);
    assert_int_equal(nc_gguf_item_int(nc_gguf_get(g, "numbers"), 3), 0);
    assert_true(nc_str_eqz(nc_gguf_get(g, "nested")->arrays[1].strings[0], "하나"));
    assert_int_equal(nc_gguf_int(g, "absent", 42), 42);
    assert_int_equal(nc_gguf_find(g, "t")->shape.dim[1], 3);
    nc_gguf_close(g);
    nc_store odd = { "odd", NC_Q4_0, NC_SHAPE(2, 33), "" };
    assert_fails(nc_gguf_write(in_scratch("odd.gguf"), NULL, &odd, 1, NULL, NULL, e), NC_ESHAPE, "odd");
    assert_false(nc_file_exists(in_scratch("odd.gguf")));
}

/* Cut anywhere, and with any single byte of its head changed, a file gives an error or a reader, never a crash. */
static void damaged(void **state)
{
    (void)state;
    nc_buf b = { 0 };
    nc_gguf *g;
    assert_ok(nc_file_read(in_scratch("types.gguf"), 1 << 20, &b, e));
    for (size_t n = 0; n < b.n - 8; n++) {
        assert_ok(nc_file_write(in_scratch("cut.gguf"), b.p, n, e));
        if (nc_gguf_open(in_scratch("cut.gguf"), &g, NULL) == 0)
            fail_msg("a file cut to %zu of %zu bytes was read", n, b.n);
    }
    for (size_t i = 0; i < b.n; i++) {
        char kept = b.p[i];
        b.p[i] = (char)0xff;
        assert_ok(nc_file_write(in_scratch("bent.gguf"), b.p, b.n, e));
        if (nc_gguf_open(in_scratch("bent.gguf"), &g, NULL) == 0)
            nc_gguf_close(g);
        b.p[i] = kept;
    }
    nc_buf_free(&b);
    assert_ok(nc_file_write(in_scratch("no.gguf"), "GGUF\1\0\0\0", 8, e));
    assert_fails(nc_gguf_open(in_scratch("no.gguf"), &g, e), NC_EUNSUPPORTED, "version 1");
    assert_ok(nc_file_write(in_scratch("no.gguf"), "GGUF\0\0\0\3", 8, e));
    assert_fails(nc_gguf_open(in_scratch("no.gguf"), &g, e), NC_EUNSUPPORTED, "big-endian");
    assert_fails(nc_gguf_open(MODEL ".no", &g, e), NC_ENOTFOUND, "model.gguf.no");
}

/* The vocabularies of llama.cpp and a small model of convolutions, where they are at hand. */
static void real_files(void **state)
{
    (void)state;
    char folder[512], path[1024];
    snprintf(folder, sizeof folder, "%s/data/llama_cpp_vocab", shared_folder());
    nc_arena *a = nc_arena_new();
    char **names;
    int count, read = 0;
    if (!nc_is_dir(folder)) {
        print_message("skipped: no %s\n", folder);
        nc_arena_free(a);
        return;
    }
    assert_ok(nc_list_dir(a, folder, &names, &count, e));
    for (int i = 0; i < count; i++) {
        nc_gguf *g = NULL;
        if (!nc_ends_with(names[i], ".gguf"))
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        assert_ok(nc_gguf_open(path, &g, e));
        const nc_gguf_value *tokens = nc_gguf_get(g, "tokenizer.ggml.tokens");
        assert_true(tokens && tokens->strings && tokens->count > 1000);
        nc_gguf_close(g);
        read++;
    }
    assert_true(read >= 5);
    snprintf(path, sizeof path, "%s/data/tiny_weights/taesd/taesd-decoder.gguf", shared_folder());
    nc_gguf *g = NULL;
    assert_ok(nc_gguf_open(path, &g, e));
    assert_int_equal(nc_gguf_count(g), 67);
    nc_gguf_close(g);
    nc_arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(blocks), cmocka_unit_test(golden_model), cmocka_unit_test(written_again),
                                        cmocka_unit_test(every_type), cmocka_unit_test(damaged), cmocka_unit_test(real_files) };
    return cmocka_run_group_tests(tests, make_scratch, drop_scratch);
}

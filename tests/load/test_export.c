/* test_export.c - a folder exported as it is, in another dtype, and through GGUF: files byte for byte, tensors value for value. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "load/export.h"

#define MODELS NUNCHI_SOURCE_DIR "/tests/golden/models/"

static char out[64];

static int fresh(void **state)
{
    (void)state;
    strcpy(out, "/tmp/nunchi-export-XXXXXX");
    return mkdtemp(out) ? 0 : -1;
}

static int gone(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -r %s", out);
    return system(command);
}

static void same_file(nc_arena *a, const char *folder, const char *name)
{
    nc_buf x = { 0 }, y = { 0 };
    nc_error e;
    assert_int_equal(nc_file_read(nc_path_join(a, folder, name), 1 << 24, &x, &e), 0);
    if (nc_file_read(nc_path_join(a, out, name), 1 << 24, &y, &e) < 0)
        fail_msg("%s", e.message);
    assert_int_equal(x.n, y.n);
    assert_memory_equal(x.p, y.p, x.n);
    nc_buf_free(&x);
    nc_buf_free(&y);
}

static void as_it_is(void **state)
{
    static const char *const files[] = { "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json" };
    nc_arena *a = nc_arena_new();
    nc_error e = { 0 };
    uint64_t bytes = 0;
    (void)state;
    if (nc_export_hf(MODELS "qwen3", out, &(nc_export_options){ .dtype = NC_DTYPES }, &bytes, &e) < 0)
        fail_msg("%s", e.message);
    for (int i = 0; i < NC_COUNT(files); i++)
        same_file(a, MODELS "qwen3", files[i]);
    assert_true(bytes > 0);
    assert_int_equal(nc_export_hf(out, out, &(nc_export_options){ .dtype = NC_DTYPES }, &bytes, &e), NC_EINVAL);
    nc_arena_free(a);
}

static void another_dtype(void **state)
{
    nc_safetensors *from, *to;
    nc_error e = { 0 };
    uint64_t bytes = 0;
    (void)state;
    if (nc_export_hf(MODELS "qwen3", out, &(nc_export_options){ .dtype = NC_BF16 }, &bytes, &e) < 0)
        fail_msg("%s", e.message);
    assert_int_equal(nc_safetensors_open(MODELS "qwen3", &from, &e), 0);
    assert_int_equal(nc_safetensors_open(out, &to, &e), 0);
    assert_int_equal(nc_safetensors_count(from), nc_safetensors_count(to));
    assert_int_equal(bytes * 2, nc_safetensors_bytes(from));
    for (int i = 0; i < nc_safetensors_count(from); i++) {
        const nc_stored *x = nc_safetensors_at(from, i), *y = nc_safetensors_find(to, x->name);
        assert_non_null(y);
        assert_int_equal(y->dtype, NC_BF16);
        for (int64_t k = 0; k < nc_shape_count(&x->shape); k++) {
            float v;
            memcpy(&v, (const char *)x->data + 4 * k, 4);
            assert_true(nc_dtype_load(NC_BF16, y->data, k) == (double)nc_bf16_to_f32(nc_f32_to_bf16(v)));
        }
    }
    nc_safetensors_close(from);
    nc_safetensors_close(to);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(as_it_is, fresh, gone), cmocka_unit_test_setup_teardown(another_dtype, fresh, gone) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

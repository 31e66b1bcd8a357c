/* test_quantize.c - folders written as GGUF and read back: every value in f32 as it was, quantized ones as the blocks say; llama.cpp's names, rows and metadata. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "formats/ggml_blocks.h"
#include "formats/gguf.h"
#include "load/export.h"
#include "load/gguf_names.h"
#include "quant/quantize.h"

static const char *const models[] = { "gpt2", "llama", "llama3", "mistral", "qwen3", "llava", "llava_next_video", "llava_siglip" };

static nc_loaded *open_f32(const char *folder)
{
    nc_loaded *l = NULL;
    nc_error e = { 0 };
    nc_load_options o = { .weights = { NC_F32, false, NULL, nc_kernels_best() }, .no_front = true };
    if (nc_load(folder, &o, &l, &e) < 0)
        fail_msg("%s: %s", folder, e.message);
    return l;
}

/* What the value of a product's weight is after blocks of `type`. */
static void through(nc_dtype type, const float *from, int64_t n, float *out)
{
    char *blocks = malloc(nc_dtype_bytes(type, n) + 64);
    assert_int_equal(nc_ggml_quantize(type, from, n, blocks, NULL), 0);
    assert_int_equal(nc_ggml_dequantize(type, blocks, n, out, NULL), 0);
    free(blocks);
}

static nc_dtype stored_as(const nc_site *s, nc_dtype to)
{
    if (s->shape.rank < 2 || s->shape.dim[0] == 1 || s->file_shape.rank > 2)
        return NC_F32;
    bool whole = nc_shape_last(&s->shape) % nc_dtype_get(to)->block == 0;
    return to == NC_F32 || ((s->flags & NC_SITE_LINEAR) && whole) ? to : NC_BF16;
}

static void check_folder(const char *name, nc_dtype to)
{
    char out[] = "/tmp/nunchi-quant-XXXXXX";
    nc_arena *a = nc_arena_new();
    nc_error e = { 0 };
    nc_quantize_options o = { .to = to };
    nc_quantize_report r;
    const char *folder = nc_arena_printf(a, "tests/golden/models/%s", name);
    if (!nc_is_dir(folder)) {
        print_message("skipped: %s is not in the tree\n", folder);
        nc_arena_free(a);
        return;
    }
    assert_non_null(mkdtemp(out));
    if (nc_quantize(folder, out, &o, &r, &e) < 0)
        fail_msg("%s: %s", name, e.message);
    nc_loaded *was = open_f32(folder), *is = open_f32(out);
    assert_int_equal(was->model->site_count, is->model->site_count);
    for (int i = 0; i < was->model->site_count; i++) {
        const nc_site *s = was->model->sites[i], *t = is->model->sites[i];
        int64_t n = nc_site_count(s);
        float *want = malloc((size_t)n * 4 + 64);
        through(stored_as(s, to), s->value.data, n, want);
        if (memcmp(want, t->value.data, (size_t)n * 4))
            fail_msg("%s: %s differs after %s", name, s->name, nc_dtype_name(to));
        free(want);
    }
    nc_loaded_free(was);
    nc_loaded_free(is);
    nc_remove_tree(out, NULL);
    nc_arena_free(a);
}

static void every_value_comes_back(void **state)
{
    static const nc_dtype types[] = { NC_F32, NC_BF16, NC_Q8_0, NC_Q4_0 };
    (void)state;
    for (int i = 0; i < NC_COUNT(models); i++)
        for (int k = 0; k < NC_COUNT(types); k++)
            check_folder(models[i], types[k]);
}

/* convert_hf_to_gguf: w.reshape(heads, 2, rows / heads / 2, columns).swapaxes(1, 2). */
static void llama_rows_are_permuted_as_its_converter_does(void **state)
{
    const int heads = 3, width = 8;
    int want[24], n = 0;
    (void)state;
    for (int h = 0; h < heads; h++)
        for (int i = 0; i < width / 2; i++)
            for (int j = 0; j < 2; j++)
                want[n++] = h * width + j * width / 2 + i;
    for (int r = 0; r < n; r++) {
        assert_int_equal(nc_gguf_site_row(width, r), want[r]);
        assert_int_equal(nc_gguf_file_row(width, want[r]), r);
        assert_int_equal(nc_gguf_file_row(0, r), r);
    }
}

static void names_and_metadata_are_llama_cpps(void **state)
{
    char out[] = "/tmp/nunchi-quant-XXXXXX";
    nc_arena *a = nc_arena_new();
    nc_error e = { 0 };
    nc_gguf *g = NULL;
    nc_quantize_options o = { .to = NC_Q8_0 };
    static const char *const names[] = { "token_embd.weight", "output_norm.weight", "output.weight", "blk.0.attn_norm.weight", "blk.0.attn_q.weight", "blk.0.attn_k.weight", "blk.0.attn_v.weight",
                                         "blk.0.attn_output.weight", "blk.0.ffn_norm.weight", "blk.0.ffn_gate.weight", "blk.0.ffn_up.weight", "blk.0.ffn_down.weight" };
    static const char *const media[] = { "v.class_embd", "v.patch_embd.weight", "v.position_embd.weight", "v.pre_ln.weight", "v.blk.0.attn_q.bias", "v.blk.0.attn_out.weight", "v.blk.0.ln1.weight",
                                         "v.blk.0.ffn_up.weight", "v.blk.0.ffn_down.weight", "mm.0.weight", "mm.2.bias", "model.image_newline" };
    (void)state;
    assert_non_null(mkdtemp(out));
    assert_int_equal(nc_quantize("tests/golden/models/llava_next_video", out, &o, NULL, &e), 0);
    assert_int_equal(nc_gguf_open(nc_path_join(a, out, "model.gguf"), &g, &e), 0);
    for (int i = 0; i < NC_COUNT(names); i++)
        if (!nc_gguf_find(g, names[i]))
            fail_msg("%s is missing", names[i]);
    assert_string_equal(nc_gguf_string(g, "general.architecture", ""), "llama");
    assert_int_equal(nc_gguf_int(g, "llama.block_count", 0), 2);
    assert_true(nc_gguf_int(g, "llama.attention.head_count", 0) > 0);
    assert_int_equal(nc_gguf_get(g, "tokenizer.ggml.tokens")->count, 384);
    assert_int_equal(nc_gguf_get(g, "tokenizer.ggml.token_type")->count, 384);
    nc_gguf_close(g);
    assert_int_equal(nc_gguf_open(nc_path_join(a, out, "mmproj.gguf"), &g, &e), 0);
    for (int i = 0; i < NC_COUNT(media); i++)
        if (!nc_gguf_find(g, media[i]))
            fail_msg("%s is missing", media[i]);
    assert_string_equal(nc_gguf_string(g, "general.architecture", ""), "clip");
    assert_string_equal(nc_gguf_string(g, "clip.projector_type", ""), "mlp");
    nc_gguf_close(g);
    nc_remove_tree(out, NULL);
    nc_arena_free(a);
}

static void what_cannot_be_is_refused(void **state)
{
    char out[] = "/tmp/nunchi-quant-XXXXXX";
    nc_arena *a = nc_arena_new();
    nc_error e = { 0 };
    nc_quantize_options o = { .to = NC_Q8_0 };
    (void)state;
    assert_non_null(mkdtemp(out));
    assert_int_equal(nc_quantize("tests/golden/models/clip", out, &o, NULL, &e), NC_EUNSUPPORTED);
    assert_false(nc_file_exists(nc_path_join(a, out, "config.json")));
    assert_int_equal(nc_file_write(nc_path_join(a, out, "model.safetensors"), "x", 1, &e), 0);
    assert_int_equal(nc_quantize("tests/golden/models/llama", out, &o, NULL, &e), NC_EINVAL);
    nc_remove_tree(out, NULL);
    nc_arena_free(a);
}

/* A folder whose mmproj.gguf is missing, or whose config asks for other shapes, says so. */
static void broken_folders_are_named(void **state)
{
    char out[] = "/tmp/nunchi-quant-XXXXXX";
    nc_arena *a = nc_arena_new();
    nc_error e = { 0 };
    nc_loaded *l = NULL;
    nc_quantize_options o = { .to = NC_Q8_0 };
    nc_load_options load = { .weights = { NC_BF16, true, NULL, nc_kernels_best() }, .no_front = true };
    (void)state;
    assert_non_null(mkdtemp(out));
    assert_int_equal(nc_quantize("tests/golden/models/llava_next_video", out, &o, NULL, &e), 0);
    assert_int_equal(unlink(nc_path_join(a, out, "mmproj.gguf")), 0);
    assert_int_equal(nc_load(out, &load, &l, &e), NC_ENOTFOUND);
    assert_non_null(strstr(e.message, "mmproj.gguf"));
    assert_int_equal(nc_file_copy("tests/golden/models/llama/config.json", nc_path_join(a, out, "config.json"), &e), 0);
    assert_true(nc_load(out, &load, &l, &e) < 0);
    nc_remove_tree(out, NULL);
    nc_arena_free(a);
}

/* Written as GGUF in f32 and exported from that, a folder has the files it had. */
static void gguf_and_back_is_the_same_folder(void **state)
{
    static const char *const names[] = { "qwen3", "llama3", "mistral", "gpt2_prefixed" }, *const files[] = { "config.json", "model.safetensors" };
    (void)state;
    for (int i = 0; i < NC_COUNT(names); i++) {
        char out[] = "/tmp/nunchi-quant-XXXXXX";
        nc_arena *a = nc_arena_new();
        nc_error e = { 0 };
        const char *from = nc_arena_printf(a, "tests/golden/models/%s", names[i]);
        assert_non_null(mkdtemp(out));
        const char *gguf = nc_path_join(a, out, "gguf"), *back = nc_path_join(a, out, "hf");
        if (nc_quantize(from, gguf, &(nc_quantize_options){ .to = NC_F32 }, NULL, &e) < 0 || nc_export_hf(gguf, back, &(nc_export_options){ .dtype = NC_DTYPES }, NULL, &e) < 0)
            fail_msg("%s", e.message);
        for (int k = 0; k < NC_COUNT(files); k++) {
            nc_buf x = { 0 }, y = { 0 };
            assert_int_equal(nc_file_read(nc_path_join(a, from, files[k]), 1 << 24, &x, &e), 0);
            assert_int_equal(nc_file_read(nc_path_join(a, back, files[k]), 1 << 24, &y, &e), 0);
            if (x.n != y.n || memcmp(x.p, y.p, x.n))
                fail_msg("%s: %s is another file", names[i], files[k]);
            nc_buf_free(&x);
            nc_buf_free(&y);
        }
        nc_remove_tree(out, NULL);
        nc_arena_free(a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_comes_back), cmocka_unit_test(llama_rows_are_permuted_as_its_converter_does), cmocka_unit_test(names_and_metadata_are_llama_cpps),
        cmocka_unit_test(what_cannot_be_is_refused), cmocka_unit_test(broken_folders_are_named), cmocka_unit_test(gguf_and_back_is_the_same_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

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

/* Seams of the form: qkv head by head, experts in one tensor, latent attention cut in two, decays, norms of 1 + w, fused products, encoders beside their heads. */
static const char *const models[] = {
    "gpt2", "llama", "llama3", "mistral", "qwen3", "llava", "llava_next_video", "llava_siglip", "gpt_neox", "bloom", "qwen2", "qwen2_moe", "mixtral", "deepseek_v2", "deepseek_v32",
    "qwen3_next", "gemma3", "phi3", "olmo2", "glm4", "mamba2", "bert", "t5", "mamba", "gemma2", "deepseek_v3", "qwen3_moe", "roberta", "distilbert", "bert_classify", "t5_v11",
    "qwen2_5_vl", "qwen2_vl", "qwen3_vl", "idefics3", "internvl",
};

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

/* The type of the tensor that holds most of a site, by the file itself. */
static nc_dtype stored_as(const nc_gguf *const *g, const nc_gguf_home *home)
{
    const nc_stored *t = nc_gguf_find(g[home->file], home->part[0].name);
    assert_non_null(t);
    return t->dtype;
}

/* Values that a change takes through exp, or adds one to, come back but for their last bits. */
static void check_site(const char *name, const nc_gguf *const *g, const nc_model *m, const nc_site *s, const nc_site *t, nc_dtype to)
{
    nc_gguf_home home;
    int64_t n = nc_site_count(s);
    float *want = malloc((size_t)n * 4 + 64);
    const float *was = s->value.data, *is = t->value.data;
    assert_int_equal(nc_gguf_home_of(m, s, &home, NULL), 0);
    const nc_dtype type = stored_as(g, &home);
    assert_true(type == NC_F32 || type == to || type == NC_BF16);
    through(type, was, n, want);
    for (int64_t i = 0; i < n; i++) {
        const bool exact = home.change == NC_GGUF_SAME && (home.count > 1 || type != NC_Q4_0 || home.part[0].stride[3] == 1);
        if (exact ? is[i] != want[i] : fabs(is[i] - was[i]) > 2e-6 * (1 + fabs(was[i])))
            fail_msg("%s: %s [%lld] is %g, not %g, after %s", name, s->name, (long long)i, is[i], want[i], nc_dtype_name(to));
    }
    free(want);
}

/* The repository's own copy, else the large tree's. */
static const char *folder_of(nc_arena *a, const char *name)
{
    const char *shared = getenv("NUNCHI_SHARED") ? getenv("NUNCHI_SHARED") : "../shared", *own = nc_arena_printf(a, "tests/golden/models/%s", name);
    return nc_is_dir(own) ? own : nc_arena_printf(a, "%s/golden/models/%s", shared, name);
}

static void check_folder(const char *name, nc_dtype to)
{
    char out[] = "/tmp/nunchi-quant-XXXXXX";
    nc_arena *a = nc_arena_new();
    nc_error e = { 0 };
    nc_quantize_options o = { .to = to };
    nc_quantize_report r;
    const char *folder = folder_of(a, name);
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
    nc_gguf *g[NC_GGUF_FILES] = { NULL };
    for (int i = 0; i < NC_GGUF_FILES; i++)
        if (nc_file_exists(nc_path_join(a, out, nc_gguf_files[i])))
            assert_int_equal(nc_gguf_open(nc_path_join(a, out, nc_gguf_files[i]), &g[i], &e), 0);
    for (int i = 0; i < was->model->site_count; i++)
        if (nc_site_is_there(was->model->sites[i]))
            check_site(name, (const nc_gguf *const *)g, was->model, was->model->sites[i], is->model->sites[i], to);
    for (int i = 0; i < NC_GGUF_FILES; i++)
        nc_gguf_close(g[i]);
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

/* What part `k` of a site's home makes of the site's values 0, 1, 2 ... */
static void check_order(const char *folder, const char *site, int k, const char *tensor, int64_t first, const int *want, int count)
{
    nc_loaded *l = open_f32(folder);
    nc_gguf_home home;
    assert_int_equal(nc_gguf_home_of(l->model, nc_model_site(l->model, site), &home, NULL), 0);
    const nc_gguf_part *p = &home.part[k];
    assert_string_equal(p->name, tensor);
    assert_int_equal(p->first, first);
    for (int n = 0; n < count; n++) {
        int64_t rest = n, at = p->offset;
        for (int d = 3; d >= 0; d--) {
            at += rest % p->dim[d] * p->stride[d];
            rest /= p->dim[d];
        }
        assert_int_equal(at, want[n]);
    }
    nc_loaded_free(l);
}

static void orders_are_the_converters(void **state)
{
    enum { D = 32, A = 8 };
    int want[4 * D], n;
    (void)state;
    for (n = 0; n < 4 * D; n++)                       /* llama: w.reshape(heads, 2, rows / heads / 2, columns).swapaxes(1, 2) */
        want[n] = (n / D % 2 * (A / 2) + n / D / 2) * D + n % D;
    check_order("tests/golden/models/llama", "model.layers.0.self_attn.q_proj.weight", 0, "blk.0.attn_q.weight", 0, want, 4 * D);
    for (n = 0; n < 4 * D; n++)                       /* bloom: all heads' q before their k: [heads, 3, A] -> [3, heads, A], head 0 whole before head 1 */
        want[n] = (n / D / A * 3 * A + n / D % A) * D + n % D;
    check_order("tests/golden/models/bloom", "transformer.h.0.self_attention.query_key_value.weight", 0, "blk.0.attn_qkv.weight", 0, want, 4 * D);
    for (n = 0; n < 96; n++)                          /* deepseek: k_b of head 0 is [rank 12, nope 8] of rows [8, 12] */
        want[n] = n % 8 * 12 + n / 8;
    check_order("tests/golden/models/deepseek_v2", "model.layers.0.self_attn.kv_b_proj.weight", 0, "blk.0.attn_k_b.weight", 0, want, 96);
    for (n = 0; n < 3 * 16; n++)                      /* qwen2_5_vl: of [width, 3 channels, 2 frames, 4, 4] the second frame's kernel */
        want[n] = (n / 16 * 2 + 1) * 16 + n % 16;
    check_order("tests/golden/models/qwen2_5_vl", "visual.patch_embed.proj.weight", 1, "v.patch_embd.weight.1", 0, want, 3 * 16);
    want[0] = 2 * 16 * 16;                            /* and v, behind q and k */
    check_order("tests/golden/models/qwen2_5_vl", "visual.blocks.1.attn.qkv.weight", 2, "v.blk.1.attn_v.weight", 0, want, 1);
    want[0] = 2 * 8 * 24;                             /* qwen3_next: v of key head 0 begins behind its q and k, and stands behind all heads' q and k */
    check_order("tests/golden/models/qwen3_next", "model.layers.0.linear_attn.in_proj_qkvz.weight", 2, "blk.0.attn_qkv.weight", 2 * 2 * 8 * 24, want, 1);
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

/* A tower whose patches reach over two frames: its kernel is two, its q, k, v come apart, one block in two sees everything. */
static void towers_are_clip_cpps(void **state)
{
    static const char *const names[] = { "v.patch_embd.weight", "v.patch_embd.weight.1", "v.blk.0.attn_q.weight", "v.blk.2.attn_k.bias", "v.blk.0.attn_v.weight", "v.blk.0.attn_out.weight",
                                         "v.blk.1.ffn_gate.weight", "v.blk.0.ffn_up.bias", "v.blk.0.ffn_down.weight", "v.blk.0.ln1.weight", "v.blk.0.ln2.weight", "v.post_ln.weight",
                                         "mm.0.weight", "mm.2.bias" };
    char out[] = "/tmp/nunchi-quant-XXXXXX";
    nc_arena *a = nc_arena_new();
    nc_error e = { 0 };
    nc_gguf *g = NULL;
    (void)state;
    assert_non_null(mkdtemp(out));
    assert_int_equal(nc_quantize("tests/golden/models/qwen2_5_vl", out, &(nc_quantize_options){ .to = NC_F32 }, NULL, &e), 0);
    assert_int_equal(nc_gguf_open(nc_path_join(a, out, "model.gguf"), &g, &e), 0);
    assert_string_equal(nc_gguf_string(g, "general.architecture", ""), "qwen2vl");
    const nc_gguf_value *sections = nc_gguf_get(g, "qwen2vl.rope.dimension_sections");
    assert_non_null(sections);
    assert_int_equal(sections->count, 4);
    nc_gguf_close(g);
    assert_int_equal(nc_gguf_open(nc_path_join(a, out, "mmproj.gguf"), &g, &e), 0);
    for (int i = 0; i < NC_COUNT(names); i++)
        if (!nc_gguf_find(g, names[i]))
            fail_msg("%s is missing", names[i]);
    assert_string_equal(nc_gguf_string(g, "general.architecture", ""), "clip");
    assert_string_equal(nc_gguf_string(g, "clip.projector_type", ""), "qwen2.5vl_merger");
    assert_int_equal(nc_gguf_int(g, "clip.vision.n_wa_pattern", 0), 2);
    assert_int_equal(nc_gguf_int(g, "clip.vision.block_count", 0), 3);
    assert_true(nc_gguf_bool(g, "clip.use_silu", false));
    for (int i = 0; i < nc_gguf_count(g); i++)
        if (nc_starts_with(nc_gguf_at(g, i)->name, "visual."))
            fail_msg("%s is no name of clip.cpp's", nc_gguf_at(g, i)->name);
    nc_gguf_close(g);
    nc_remove_tree(out, NULL);
    nc_arena_free(a);
}

static void check_names(const char *name, const char *projector, const char *const *names, int count)
{
    char out[] = "/tmp/nunchi-quant-XXXXXX";
    nc_arena *a = nc_arena_new();
    nc_error e = { 0 };
    nc_gguf *g = NULL;
    const char *folder = folder_of(a, name);
    if (nc_is_dir(folder)) {
        assert_non_null(mkdtemp(out));
        if (nc_quantize(folder, out, &(nc_quantize_options){ .to = NC_F32 }, NULL, &e) < 0 || nc_gguf_open(nc_path_join(a, out, "mmproj.gguf"), &g, &e) < 0)
            fail_msg("%s: %s", name, e.message);
        assert_string_equal(nc_gguf_string(g, "clip.projector_type", ""), projector);
        for (int i = 0; i < count; i++)
            if (!nc_gguf_find(g, names[i]))
                fail_msg("%s: %s is missing", name, names[i]);
        for (int i = 0; i < nc_gguf_count(g); i++)
            if (!nc_starts_with(nc_gguf_at(g, i)->name, "v.") && !nc_starts_with(nc_gguf_at(g, i)->name, "mm."))
                fail_msg("%s: %s is no name of clip.cpp's", name, nc_gguf_at(g, i)->name);
        nc_gguf_close(g);
        nc_remove_tree(out, NULL);
    }
    nc_arena_free(a);
}

static void towers_of_the_large_tree(void **state)
{
    static const char *const qwen3[] = { "v.blk.2.attn_qkv.bias", "v.deepstack.1.fc2.weight", "v.position_embd.weight", "v.patch_embd.weight.1" };
    static const char *const idefics3[] = { "mm.model.fc.weight", "v.position_embd.weight", "v.post_ln.bias", "v.blk.1.attn_out.weight" };
    static const char *const internvl[] = { "mm.model.mlp.0.bias", "mm.model.mlp.3.weight", "v.class_embd", "v.position_embd.weight", "v.blk.1.ls2.weight", "v.blk.0.ln2.bias" };
    (void)state;
    check_names("qwen3_vl", "qwen3vl_merger", qwen3, NC_COUNT(qwen3));
    check_names("idefics3", "idefics3", idefics3, NC_COUNT(idefics3));
    check_names("internvl", "internvl", internvl, NC_COUNT(internvl));
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
        cmocka_unit_test(every_value_comes_back), cmocka_unit_test(orders_are_the_converters), cmocka_unit_test(names_and_metadata_are_llama_cpps), cmocka_unit_test(towers_are_clip_cpps), cmocka_unit_test(towers_of_the_large_tree),
        cmocka_unit_test(what_cannot_be_is_refused), cmocka_unit_test(broken_folders_are_named), cmocka_unit_test(gguf_and_back_is_the_same_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

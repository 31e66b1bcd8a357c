/* test_gguf_alone.c - a GGUF file without a folder around it: its config and vocabulary come from its words, and it is the same model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "load/gguf_config.h"
#include "quant/quantize.h"

static const char *golden(nc_arena *a, const char *name)
{
    const char *shared = getenv("NUNCHI_SHARED") ? getenv("NUNCHI_SHARED") : "../shared", *own = nc_arena_printf(a, "tests/golden/models/%s", name);
    return nc_is_dir(own) ? own : nc_arena_printf(a, "%s/golden/models/%s", shared, name);
}

/* Every key of the folder's config that the file's config has too says the same; those named are what llama.cpp has no word for. */
static void check_config(const char *name, const nc_json *want, const nc_json *have)
{
    static const char *const spelled[] = { "architectures", "torch_dtype", "rope_scaling", "sliding_window", "query_pre_attn_scalar", "bos_token_id", "eos_token_id", "pad_token_id", NULL };
    NC_JSON_EACH(v, have) {
        char key[96];
        snprintf(key, sizeof key, "%.*s", (int)v->key.n, v->key.p);
        const nc_json *other = nc_json_get(want, key);
        bool passed_over = !other || nc_json_is(other, NC_JSON_NULL);
        for (int i = 0; spelled[i]; i++)
            passed_over = passed_over || !strcmp(key, spelled[i]);
        if (passed_over)
            continue;
        if (nc_json_is(v, NC_JSON_NUMBER) ? nc_json_double(v, 0) != nc_json_double(other, 1) : nc_json_is(v, NC_JSON_STRING) ? strcmp(nc_json_string(v, ""), nc_json_string(other, "")) != 0
                : nc_json_is(v, NC_JSON_BOOL) && nc_json_bool(v, false) != nc_json_bool(other, true))
            fail_msg("%s: %s is not what config.json says", name, key);
    }
}

static void check_alone(const char *name, bool has_tokenizer)
{
    char out[] = "/tmp/nunchi-alone-XXXXXX";
    nc_arena *a = nc_arena_new();
    nc_error e = { 0 };
    const char *folder = golden(a, name), *file = NULL;
    nc_loaded *was = NULL, *is = NULL;
    nc_load_options o = { .weights = { NC_F32, false, NULL, nc_kernels_best() } };
    if (!nc_is_dir(folder)) {
        nc_arena_free(a);
        return;
    }
    assert_non_null(mkdtemp(out));
    file = nc_path_join(a, out, "some-name.gguf");
    const char *there = nc_path_join(a, out, "whole");
    if (nc_quantize(folder, there, &(nc_quantize_options){ .to = NC_F32 }, NULL, &e) < 0 || nc_file_copy(nc_path_join(a, there, "model.gguf"), file, &e) < 0 ||
        nc_load(folder, &o, &was, &e) < 0 || nc_load(file, &o, &is, &e) < 0)
        fail_msg("%s: %s", name, e.message);
    check_config(name, was->config, is->config);
    assert_int_equal(was->model->site_count, is->model->site_count);
    for (int i = 0; i < was->model->site_count; i++) {
        const nc_site *s = was->model->sites[i], *t = nc_model_site(is->model, s->name);
        assert_non_null(t);
        assert_true(nc_shape_equal(&s->shape, &t->shape));
    }
    assert_int_equal(is->tokenizer != NULL, has_tokenizer);
    nc_loaded_free(was);
    nc_loaded_free(is);
    nc_remove_tree(there, NULL);
    assert_int_equal(nc_load(out, &o, &is, &e), 0);                      /* a folder with nothing but the file */
    nc_loaded_free(is);
    nc_remove_tree(out, NULL);
    nc_arena_free(a);
}

static void the_same_model(void **state)
{
    static const struct { const char *name; bool tokenizer; } models[] = {
        { "gpt2", true }, { "llama", true }, { "llama3", true }, { "qwen3", true }, { "mixtral", true }, { "qwen2_moe", false }, { "qwen3_next", false }, { "gemma3", false }, { "phi3", false },
        { "olmo2", false }, { "glm4", false }, { "deepseek_v2", false }, { "deepseek_v32", false }, { "gpt_neox", false }, { "bloom", false }, { "mamba2", false }, { "t5", false },
        { "mamba", true }, { "qwen2", false }, { "mistral", false }, { "gemma2", false }, { "deepseek_v3", true }, { "deepseek_v2_lite", false },
    };
    (void)state;
    for (int i = 0; i < NC_COUNT(models); i++)
        check_alone(models[i].name, models[i].tokenizer);
}

/* A decoder that lies without its tower: what Qwen2-VL is to a text alone. */
static void a_decoder_without_its_tower(void **state)
{
    char out[] = "/tmp/nunchi-alone-XXXXXX";
    nc_arena *a = nc_arena_new();
    nc_error e = { 0 };
    nc_loaded *l = NULL;
    nc_load_options o = { .weights = { NC_F32, false, NULL, nc_kernels_best() } };
    (void)state;
    assert_non_null(mkdtemp(out));
    const char *there = nc_path_join(a, out, "whole"), *file = nc_path_join(a, out, "some-name.gguf");
    if (nc_quantize("tests/golden/models/qwen2_5_vl", there, &(nc_quantize_options){ .to = NC_F32 }, NULL, &e) < 0 ||
        nc_file_copy(nc_path_join(a, there, "model.gguf"), file, &e) < 0 || nc_load(file, &o, &l, &e) < 0)
        fail_msg("%s", e.message);
    assert_string_equal(l->model->family->name, "qwen2");
    assert_true(nc_json_double(nc_json_get(l->config, "rope_theta"), 0) == 1e6);
    assert_non_null(nc_model_site(l->model, "model.layers.1.self_attn.k_proj.bias"));
    nc_loaded_free(l);
    nc_remove_tree(out, NULL);
    nc_arena_free(a);
}

static void what_is_no_model_is_refused(void **state)
{
    char path[] = "/tmp/nunchi-alone-XXXXXX";
    nc_arena *a = nc_arena_new();
    nc_error e = { 0 };
    nc_json *config = NULL;
    nc_gguf_meta *m = nc_gguf_meta_new();
    (void)state;
    close(mkstemp(path));
    nc_gguf_set_string(m, "general.architecture", NC_STR("llama"));
    assert_int_equal(nc_gguf_write(path, m, NULL, 0, NULL, NULL, &e), 0);
    assert_int_equal(nc_gguf_config_open(a, path, &config, &e), NC_EFORMAT);
    nc_gguf_set_string(m, "general.architecture", NC_STR("rwkv6"));
    assert_int_equal(nc_gguf_write(path, m, NULL, 0, NULL, NULL, &e), 0);
    assert_int_equal(nc_gguf_config_open(a, path, &config, &e), NC_EUNSUPPORTED);
    assert_non_null(strstr(e.message, "rwkv6"));
    nc_gguf_meta_free(m);
    unlink(path);
    nc_arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(the_same_model), cmocka_unit_test(a_decoder_without_its_tower), cmocka_unit_test(what_is_no_model_is_refused) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

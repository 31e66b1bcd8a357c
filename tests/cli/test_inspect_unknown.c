/* test_inspect_unknown.c - `inspect` on a family nobody knows: the nearest known one by what the folder holds, what differs from it, and exit code 1; also where config.json lies. */
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
#include "base/json.h"
#include "formats/safetensors.h"
#include "run_child.h"

static char folder[] = "/tmp/nunchi-unknown-XXXXXX";

static int inspect(bool json)
{
    char *argv[] = { "nunchi", "inspect", folder, json ? "--json" : NULL };
    return run_child(json ? 4 : 3, argv, !json);
}

static const char *at(nc_arena *a, const char *name) { return nc_path_join(a, folder, name); }

/* A golden model's config.json under another model_type (NULL: none), with the keys of `more` laid over it (null takes one away), and its tensors unless `bare`. */
static void take(nc_arena *a, const char *model, const char *type, const char *more, bool bare)
{
    nc_json *config, *keys;
    nc_buf b = { 0 };
    nc_error e = { 0 };
    const char *from = nc_arena_printf(a, "tests/golden/models/%s", model);
    assert_int_equal(nc_json_load(a, nc_path_join(a, from, "config.json"), &config, &e), 0);
    assert_int_equal(nc_json_parse(a, nc_str_of(more ? more : "{}"), "more", &keys, &e), 0);
    nc_json_set(a, config, "model_type", type ? nc_json_new_string(a, nc_str_of(type)) : nc_json_new(a, NC_JSON_NULL));
    NC_JSON_EACH(v, keys)
        nc_json_set(a, config, v->key.p, nc_json_clone(a, v));
    nc_json_write(&b, config, 1);
    assert_int_equal(nc_file_write(at(a, "config.json"), b.p, b.n, &e), 0);
    nc_buf_free(&b);
    unlink(at(a, "model.safetensors"));
    if (!bare && nc_file_copy(nc_path_join(a, from, "model.safetensors"), at(a, "model.safetensors"), &e) < 0)
        fail_msg("%s", e.message);
}

static const nc_json *nearest(nc_arena *a)
{
    nc_json *o;
    nc_error e = { 0 };
    assert_int_equal(inspect(true), 1);
    if (nc_json_parse(a, nc_str_of(output), "output", &o, &e) < 0)
        fail_msg("%s: %s", e.message, output);
    return nc_json_at(nc_json_get(o, "nearest"), 0);
}

/* A family under another name is found, and differs in nothing. */
static void another_name(void **state)
{
    static const char *const models[] = { "llama", "qwen2", "bert", "vit", "gpt2", "clip", "t5", "mamba" };
    (void)state;
    for (int i = 0; i < NC_COUNT(models); i++) {
        nc_arena *a = nc_arena_new();
        if (!nc_is_dir(nc_arena_printf(a, "tests/golden/models/%s", models[i]))) {
            nc_arena_free(a);
            continue;
        }
        take(a, models[i], i % 2 ? "somethingelse" : NULL, NULL, false);
        const nc_json *n = nearest(a), *keys = nc_json_get(n, "keys"), *tensors = nc_json_get(n, "tensors");
        assert_string_equal(nc_json_string(nc_json_get(n, "family"), ""), models[i]);
        assert_true(nc_json_double(nc_json_get(n, "score"), 0) == 1);
        assert_int_equal(nc_json_get(keys, "unknown")->count + nc_json_get(keys, "missing")->count + nc_json_get(keys, "mistakes")->count, 0);
        assert_int_equal(nc_json_get(tensors, "unknown")->count + nc_json_get(tensors, "missing")->count + nc_json_get(tensors, "shapes")->count, 0);
        assert_true(nc_json_int(nc_json_get(tensors, "alike"), 0) > 10);
        nc_arena_free(a);
    }
}

/* A Qwen2 with biases, a norm and a wider MLP: each is named once for all layers, with shapes. */
static void what_differs_is_named(void **state)
{
    nc_arena *a = nc_arena_new();
    nc_safetensors *s = NULL;
    nc_store list[128];
    float zeros[1 << 14] = { 0 };
    nc_error e = { 0 };
    int n = 0;
    (void)state;
    take(a, "qwen2", "qwen2x", "{\"attention_multiplier\": 0.5, \"rms_norm_eps\": null, \"hidden_act\": \"relu7\"}", true);
    assert_int_equal(nc_safetensors_open("tests/golden/models/qwen2", &s, &e), 0);
    for (int i = 0; i < nc_safetensors_count(s) && n < 120; i++) {
        const nc_stored *t = nc_safetensors_at(s, i);
        list[n] = (nc_store){ t->name, NC_F32, t->shape, zeros };
        if (strstr(t->name, "gate_proj"))
            list[n].shape.dim[0] += 8;
        n += !strstr(t->name, "up_proj");
        if (strstr(t->name, "self_attn.o_proj.weight"))
            list[n++] = (nc_store){ nc_arena_printf(a, "%.*s.q_norm.weight", (int)(strstr(t->name, ".o_proj") - t->name), t->name), NC_F32, NC_SHAPE(8), zeros };
        assert_true(nc_shape_count(&list[n - 1].shape) <= NC_COUNT(zeros));
    }
    assert_int_equal(nc_safetensors_write(at(a, "model.safetensors"), list, n, NULL, NULL, NULL, &e), 0);
    nc_safetensors_close(s);
    assert_int_equal(inspect(false), 1);
    static const char *const said[] = { "model_type  qwen2x", "nearest     qwen2, ", "keys of config.json that qwen2 does not know\n  attention_multiplier\n", "the activation \"relu7\" is not known here",
        "tensors that qwen2 does not know\n  model.layers.*.self_attn.q_norm.weight ", " of them", "tensors that qwen2 needs\n  model.layers.*.mlp.up_proj.weight ", "tensors of another shape\n  model.layers.*.mlp.gate_proj.weight ",
        ", expected [", "nunchi: config.json: model_type \"qwen2x\" is none of the ", "nearest is qwen2\n" };
    for (int i = 0; i < NC_COUNT(said); i++)
        if (!strstr(output, said[i]))
            fail_msg("\"%s\" is not in:\n%s", said[i], output);
    nc_arena_free(a);
}

/* Without tensors the keys alone decide, and it says why they were not compared. */
static void keys_alone(void **state)
{
    nc_arena *a = nc_arena_new();
    (void)state;
    take(a, "gpt2", "gptx", "{\"n_layer\": null}", true);
    const nc_json *n = nearest(a);
    assert_string_equal(nc_json_string(nc_json_get(n, "family"), ""), "gpt2");
    assert_true(nc_json_is(nc_json_get(n, "tensors"), NC_JSON_NULL));
    assert_int_equal(inspect(false), 1);
    assert_non_null(strstr(output, "tensors     not compared: "));
    nc_arena_free(a);
}

/* Whatever config.json says, the answer is one, and soon. */
static void lies_are_survived(void **state)
{
    static const char *const lies[] = { "{\"num_hidden_layers\": 4096}", "{\"num_hidden_layers\": 2147483647}", "{\"hidden_size\": 0}", "{\"hidden_size\": 1e300, \"vocab_size\": -1}",
        "{\"num_attention_heads\": 0, \"num_key_value_heads\": 0}", "{\"vision_config\": {\"patch_size\": 0, \"model_type\": \"clip_vision_model\"}, \"text_config\": {\"model_type\": \"llama\"}}",
        "{\"vision_config\": 3, \"text_config\": []}", "{\"architectures\": [7]}", "{\"architectures\": [\"\"]}", "{\"model_type\": 9}", "{\"model_type\": \"\\u001b[2J\"}", "{\"layer_types\": [[]], \"rope_scaling\": {\"rope_type\": []}}" };
    static const char *const models[] = { "llama", "llava", "qwen2_5_vl" };
    (void)state;
    for (int m = 0; m < NC_COUNT(models); m++)
        for (int i = 0; i < NC_COUNT(lies); i++) {
            nc_arena *a = nc_arena_new();
            take(a, models[m], "unheardof", lies[i], false);
            const int code = inspect(i % 2);
            if (code != 1)
                fail_msg("%s %s: exit code %d: %s", models[m], lies[i], code, output);
            assert_null(strchr(output, '\033'));
            nc_arena_free(a);
        }
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    nc_error e = { 0 };
    (void)state;
    return nc_remove_tree(folder, &e);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(another_name), cmocka_unit_test(what_differs_is_named), cmocka_unit_test(keys_alone), cmocka_unit_test(lies_are_survived) };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

/* test_bad_input.c - files that lie: configs, weights, GGUF, data and recipes that are damaged in one place each. The program says in one line what, where
 * and the mend, ends with 1 (2 for a mistake of usage), and leaves nothing that looks whole. */
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
#include "run_child.h"

#define LLAVA "tests/golden/models/llava"

static char folder[] = "/tmp/nunchi-bad-XXXXXX";

static int nunchi(const char *const *words)
{
    char *argv[16] = { "nunchi" };
    int n = 1;
    while (*words)
        argv[n++] = (char *)(uintptr_t)*words++;
    return run_child(n, argv, true);
}
#define NUNCHI(...) nunchi((const char *const[]){ __VA_ARGS__, NULL })

/* The last line is the program's, and holds the words. */
static void says(const char *first, const char *second)
{
    char *line = strstr(output, "nunchi: ");
    assert_non_null(line);
    assert_ptr_equal(strchr(line, '\n'), output + strlen(output) - 1);
    if (!strstr(line, first) || !strstr(line, second))
        fail_msg("\"%s\" and \"%s\" are not in: %s", first, second, output);
}

static const char *at(const char *name)
{
    static char path[4][256];
    static int next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static void put(const char *name, const void *bytes, size_t n)
{
    nc_error e = { 0 };
    if (nc_file_write(at(name), bytes, n, &e) < 0)
        fail_msg("%s", e.message);
}

/* model/ becomes a fresh copy of the golden LLaVA. */
static void copy_model(void)
{
    static const char *const files[] = { "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json",
                                         "chat_template.json" };
    nc_error e = { 0 };
    nc_arena *a = nc_arena_new();
    nc_mkdirs(at("model"), &e);
    for (int i = 0; i < NC_COUNT(files); i++)
        if (nc_file_copy(nc_path_join(a, LLAVA, files[i]), nc_path_join(a, at("model"), files[i]), &e) < 0)
            fail_msg("%s", e.message);
    nc_arena_free(a);
}

/* In model/file, after the text `within`, the next `from` becomes `to`. */
static void change(const char *file, const char *within, const char *from, const char *to)
{
    nc_error e = { 0 };
    nc_buf b = { 0 }, changed = { 0 };
    char name[64];
    snprintf(name, sizeof name, "model/%s", file);
    assert_int_equal(nc_file_read(at(name), 1 << 24, &b, &e), 0);
    char *start = b.p, *end = b.p + b.n;
    char *place = memmem(start, b.n, within, strlen(within));
    place = place ? memmem(place, (size_t)(end - place), from, strlen(from)) : NULL;
    if (!place)
        fail_msg("%s: no %s after %s", file, from, within);
    nc_buf_add(&changed, start, (size_t)(place - start));
    nc_buf_adds(&changed, to);
    nc_buf_add(&changed, place + strlen(from), (size_t)(end - place) - strlen(from));
    put(name, changed.p, changed.n);
    nc_buf_free(&b);
    nc_buf_free(&changed);
}

struct lie { const char *file, *within, *from, *to, *first, *second; };

static void a_model_folder_that_lies_is_refused(void **state)
{
    static const struct lie lies[] = {
        { "config.json", "", "\"llava\"", "\"lava\"", "lava", "nearest is llava" },
        { "config.json", "\"text_config\"", "\"num_hidden_layers\": ", "\"num_hidden_layers\": 10000000", "num_hidden_layers", "0 to 4096" },
        { "config.json", "\"vision_config\"", "\"num_hidden_layers\": ", "\"num_hidden_layers\": 10000000", "num_hidden_layers", "0 to 4096" },
        { "config.json", "\"text_config\"", "\"num_hidden_layers\": ", "\"num_hidden_layers\": -", "num_hidden_layers", "text_config" },
        { "config.json", "\"text_config\"", "\"hidden_size\": ", "\"hidden_size\": 99999999999", "hidden_size", "whole number" },
        { "config.json", "\"text_config\"", "\"hidden_size\": ", "\"hidden_size\": 0, \"ignored\": ", "hidden_size", "over 0" },
        { "config.json", "\"text_config\"", "\"num_attention_heads\": ", "\"num_attention_heads\": 7", "is this the right config?", "q_proj" },
        { "config.json", "\"text_config\"", "\"rms_norm_eps\": ", "\"rms_norm_eps\": \"x\", \"ignored\": ", "rms_norm_eps", "number" },
        { "model.safetensors", "", "\"F32\"", "\"F13\"", "dtype F13", "model.safetensors" },
        { "model.safetensors", "\"shape\"", "[", "[9", "shape and dtype want", "model.safetensors" },
        { "tokenizer.json", "\"vocab\"", ": 0", ": -1", "tokenizer.json", "is no id" },
        { "preprocessor_config.json", "\"image_std\"", "[", "[0, ", "image_std", "preprocessor_config.json" },
        { "chat_template.json", "", "{% for", "{% fro", "template", "fro" },
    };
    (void)state;
    for (int i = 0; i < NC_COUNT(lies); i++) {
        const struct lie *l = &lies[i];
        copy_model();
        change(l->file, l->within, l->from, l->to);
        int code = NUNCHI("caption", at("model"), LLAVA "/image.png", "--max-tokens", "1");
        if (code != 1)
            fail_msg("%s: %s: exit code %d: %s", l->file, l->to, code, output);
        says(l->first, l->second);
    }
}

static void a_gguf_that_lies_is_refused(void **state)
{
    static const char huge[] = "GGUF\3\0\0\0\xff\xff\xff\xff\xff\xff\xff\x7f\1\0\0\0\0\0\0\0";
    nc_error e = { 0 };
    nc_buf b = { 0 };
    (void)state;
    assert_int_equal(NUNCHI("quantize", "tests/golden/models/llama", "--to", "q8_0", "--out", at("q")), 0);
    assert_int_equal(nc_file_read(at("q/model.gguf"), 1 << 24, &b, &e), 0);
    put("q/model.gguf", b.p, 5000);
    assert_int_equal(NUNCHI("inspect", at("q")), 1);
    says("model.gguf", "cut short");
    put("q/model.gguf", huge, sizeof huge - 1);
    assert_int_equal(NUNCHI("inspect", at("q")), 1);
    says("model.gguf", "claims");
    put("q/model.gguf", "JUNKJUNK", 8);
    assert_int_equal(NUNCHI("inspect", at("q")), 1);
    says("model.gguf", "no GGUF file");
    nc_buf_free(&b);
}

static void pictures_that_lie_are_refused(void **state)
{
    nc_error e = { 0 };
    nc_buf b = { 0 };
    (void)state;
    assert_int_equal(nc_file_read(LLAVA "/image.png", 1 << 24, &b, &e), 0);
    put("cut.png", b.p, 60);
    assert_int_equal(NUNCHI("caption", LLAVA, at("cut.png")), 1);
    says("cut.png", "cut short");
    put("empty.jpg", "", 0);
    assert_int_equal(NUNCHI("caption", LLAVA, at("empty.jpg")), 1);
    says("empty.jpg", "neither a picture nor a video");
    assert_int_equal(NUNCHI("caption", LLAVA, LLAVA "/image.png", "--prompt", "\xff\xfe"), 1);
    says("not valid UTF-8", "at byte");
    nc_buf_free(&b);
}

static void recipes_that_lie_are_refused(void **state)
{
    static const char talk[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"b\"}]}\n{\"bad json\n";
    static const char head[] = "model_name_or_path: tests/golden/models/llama\nstage: sft\ntemplate: chatml\n";
    static const struct { const char *more, *first, *second; } lies[] = {
        { "dataset: nowhere\n", "nowhere", "dataset_info.json" },
        { "dataset: talk.jsonl\nlearning_rate: abc\n", "learning_rate", "number" },
        { "dataset: talk.jsonl\nlearnin_rate: 1\n", "learnin_rate", "nearest is learning_rate" },
        { "dataset: talk.jsonl\nper_device_train_batch_size: 0\n", "per_device_train_batch_size", "at least 1" },
        { "dataset: talk.jsonl\noutput_dir: \"\"\n", "output_dir is empty", "name the folder" },
        { "dataset: talk.jsonl\n", "talk.jsonl:2", "string is not closed" },
        { "dataset: &x [*x]\n", "r.yaml:4", "anchor" },
    };
    char where[256], out[256];
    (void)state;
    put("talk.jsonl", talk, sizeof talk - 1);
    snprintf(where, sizeof where, "dataset_dir=%s", folder);
    snprintf(out, sizeof out, "output_dir=%s", at("run"));
    for (int i = 0; i < NC_COUNT(lies); i++) {
        char text[512];
        snprintf(text, sizeof text, "%s%s", head, lies[i].more);
        put("r.yaml", text, strlen(text));
        int code = strstr(lies[i].more, "output_dir") ? NUNCHI("train", at("r.yaml"), where) : NUNCHI("train", at("r.yaml"), where, out);
        if (code != 1)
            fail_msg("%s: exit code %d: %s", lies[i].more, code, output);
        says(lies[i].first, lies[i].second);
        assert_false(nc_is_dir(at("run/model")));
    }
}

static void mistyped_variables_are_named(void **state)
{
    static const char *const variables[][3] = { { "NUNCHI_CPU", "avx3", "avx512" }, { "NUNCHI_THREADS", "two", "whole number" }, { "NUNCHI_LOG", "jsn", "json" },
                                                { "NUNCHI_LOG_LEVEL", "loud", "debug" } };
    (void)state;
    for (int i = 0; i < NC_COUNT(variables); i++) {
        const char *before = getenv(variables[i][0]);
        char *kept = before ? nc_xstrdup(before) : NULL;
        setenv(variables[i][0], variables[i][1], 1);
        assert_int_equal(NUNCHI("version"), 2);
        says(variables[i][0], variables[i][2]);
        kept ? setenv(variables[i][0], kept, 1) : unsetenv(variables[i][0]);
        free(kept);
    }
}

static int start(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int finish(void **state)
{
    (void)state;
    return nc_remove_tree(folder, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_folder_that_lies_is_refused), cmocka_unit_test(a_gguf_that_lies_is_refused), cmocka_unit_test(pictures_that_lie_are_refused),
        cmocka_unit_test(recipes_that_lie_are_refused), cmocka_unit_test(mistyped_variables_are_named),
    };
    return cmocka_run_group_tests(tests, start, finish);
}

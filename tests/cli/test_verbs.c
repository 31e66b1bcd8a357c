/* test_verbs.c - the program as its users meet it: verbs run in a child process; exit codes, messages, and that a failure leaves nothing that looks whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "cli/cli.h"

#define LLAMA "tests/golden/models/llama"

static char folder[] = "/tmp/nunchi-verbs-XXXXXX";
static char output[1 << 20];

static void run_child(int out, const char *line)
{
    char *words[64] = { "nunchi" };
    char *copy = nc_xstrdup(line);
    int n = 1;
    for (char *w = strtok(copy, " "); w && n < 63; w = strtok(NULL, " "))
        words[n++] = w;
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    int code = nc_cli_main(n, words);
    fflush(NULL);
    _exit(code);
}

/* Runs "verb words"; the exit code, and all it printed in `output`. A signal counts as 1000 + its number. */
static int nunchi(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int nunchi(const char *format, ...)
{
    char line[4096];
    int ends[2], code;
    size_t n = 0;
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        run_child(ends[1], line);
    }
    close(ends[1]);
    for (ssize_t got; (got = read(ends[0], output + n, sizeof output - 1 - n)) > 0;)
        n += (size_t)got;
    output[n] = 0;
    close(ends[0]);
    assert_int_equal(waitpid(child, &code, 0), child);
    return WIFEXITED(code) ? WEXITSTATUS(code) : 1000 + WTERMSIG(code);
}

static const char *path(const char *name)
{
    static char at[4][256];
    static int next;
    char *p = at[next++ % 4];
    snprintf(p, sizeof at[0], "%s/%s", folder, name);
    return p;
}

static void write_file(const char *name, const void *bytes, size_t n)
{
    nc_error e = { 0 };
    nc_arena *a = nc_arena_new();
    assert_int_equal(nc_mkdirs(nc_path_dir(a, path(name)), &e), 0);
    assert_int_equal(nc_file_write(path(name), bytes, n, &e), 0);
    nc_arena_free(a);
}

/* One line, that begins with the program's name and holds all of the words. */
static void says(const char *const *words)
{
    char *line = strstr(output, "nunchi: ");
    assert_non_null(line);
    char *end = strchr(line, '\n');
    assert_non_null(end);
    for (int i = 0; words[i]; i++)
        if (!strstr(line, words[i]))
            fail_msg("\"%s\" is not in: %s", words[i], output);
}
#define SAYS(...) says((const char *const[]){ __VA_ARGS__, NULL })

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

static void mistakes_of_usage_end_with_2(void **state)
{
    (void)state;
    assert_int_equal(nunchi("trian x"), 2);
    SAYS("trian", "did you mean train?");
    assert_int_equal(nunchi("inspect --jsn " LLAMA), 2);
    SAYS("--jsn", "did you mean --json?");
    assert_int_equal(nunchi("inspect"), 2);
    SAYS("too few arguments", "usage: nunchi inspect FOLDER");
    assert_int_equal(nunchi("inspect a b"), 2);
    SAYS("b: one argument too many");
    assert_int_equal(nunchi("serve %s --port 70000", LLAMA), 2);
    SAYS("--port 70000", "0 to 65535");
    assert_int_equal(nunchi("serve %s --port", LLAMA), 2);
    SAYS("--port needs a value");
    assert_int_equal(nunchi("quantize %s --to q8 --out %s", LLAMA, path("q")), 2);
    SAYS("--to q8", "q8_0");
    assert_int_equal(nunchi("quantize %s --to q8_0", LLAMA), 2);
    SAYS("--out");
    assert_int_equal(nunchi("data mkae korean-scenes --out x"), 2);
    SAYS("did you mean make");
    assert_int_equal(nunchi("data make korean-scene --out x"), 2);
    SAYS("korean-scene", "korean-scenes is");
    assert_int_equal(nunchi("bench modle"), 2);
    SAYS("did you mean model");
    assert_int_equal(nunchi("verify %s", folder), 2);
    SAYS("no config.json");
    assert_int_equal(nunchi("golden %s/nowhere", folder), 2);
    SAYS("no such folder");
    assert_false(nc_is_dir(path("q")));
}

static void help_is_there_for_every_verb(void **state)
{
    int count;
    const nc_verb *const *verb = nc_verbs(&count);
    (void)state;
    assert_int_equal(nunchi("help"), 0);
    assert_true(count >= 15);
    for (int i = 0; i < count; i++)
        assert_non_null(strstr(output, verb[i]->summary));
    for (int i = 0; i < count; i++) {
        assert_int_equal(nunchi("%s --help", verb[i]->name), 0);
        assert_non_null(strstr(output, "usage: nunchi "));
        for (const nc_cli_option *o = verb[i]->options; o && o->name; o++)
            assert_non_null(strstr(output, o->help));
    }
}

static void missing_and_broken_files_end_with_1(void **state)
{
    (void)state;
    assert_int_equal(nunchi("inspect %s/nowhere", folder), 1);
    SAYS("nowhere", "no such folder");
    assert_int_equal(nunchi("train %s/nowhere.yaml", folder), 1);
    SAYS("nowhere.yaml");
    assert_int_equal(nunchi("plan %s/nowhere.yaml", folder), 1);
    SAYS("nowhere.yaml");
    assert_int_equal(nunchi("caption %s %s/nowhere.mp4", LLAMA, folder), 1);
    SAYS("nowhere.mp4");
    write_file("text.mp4", "not a video", 11);
    assert_int_equal(nunchi("caption %s %s", LLAMA, path("text.mp4")), 1);
    SAYS("text.mp4", "neither a picture nor a video");
    write_file("model/config.json", "{\"model_type\": ", 15);
    assert_int_equal(nunchi("inspect %s", path("model")), 1);
    SAYS("config.json");
    write_file("model/config.json", "{\"model_type\": \"lama\"}", 22);
    assert_int_equal(nunchi("inspect %s", path("model")), 1);
    SAYS("lama");
    write_file("recipe.yaml", "stage: sft\nlearnin_rate: 1e-3\n", 30);
    assert_int_equal(nunchi("train %s", path("recipe.yaml")), 1);
    SAYS("learnin_rate", "learning_rate");
    write_file("broken.yaml", "stage: [sft\n", 12);
    assert_int_equal(nunchi("train %s", path("broken.yaml")), 1);
    SAYS("broken.yaml");
    assert_int_equal(nunchi("eval %s --data %s/nowhere.jsonl", LLAMA, folder), 1);
    SAYS("nowhere.jsonl");
}

static void a_cut_checkpoint_is_refused_and_leaves_nothing(void **state)
{
    nc_error e = { 0 };
    nc_arena *a = nc_arena_new();
    nc_buf b = { 0 };
    (void)state;
    nc_mkdirs(path("cut"), &e);
    assert_int_equal(nc_file_copy(LLAMA "/config.json", path("cut/config.json"), &e), 0);
    assert_int_equal(nc_file_read(LLAMA "/model.safetensors", 1 << 26, &b, &e), 0);
    write_file("cut/model.safetensors", b.p, b.n / 2);
    assert_int_equal(nunchi("quantize %s --to q8_0 --out %s", path("cut"), path("cut-q8")), 1);
    SAYS("model.safetensors");
    assert_false(nc_file_exists(path("cut-q8/config.json")));
    assert_int_equal(nunchi("serve %s --port 0", path("cut")), 1);
    SAYS("model.safetensors");
    write_file("cut/model.safetensors", "\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10);
    assert_int_equal(nunchi("inspect %s", path("cut")), 1);
    SAYS("model.safetensors");
    nc_buf_free(&b);
    nc_arena_free(a);
}

static void a_port_in_use_is_one_clear_line(void **state)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    char port[16];
    (void)state;
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    snprintf(port, sizeof port, "%d", ntohs(at.sin_port));
    assert_int_equal(nunchi("serve %s --port %s", LLAMA, port), 1);
    SAYS(port, "in use");
    close(fd);
}

static void inspect_and_verify_speak_json(void **state)
{
    nc_arena *a = nc_arena_new();
    nc_json *v;
    nc_error e = { 0 };
    (void)state;
    assert_int_equal(nunchi("inspect %s --json", LLAMA), 0);
    assert_int_equal(nc_json_parse(a, nc_str_of(output), "output", &v, &e), 0);
    assert_string_equal(nc_json_string(nc_json_get(v, "family"), ""), "llama");
    assert_true(nc_json_get(v, "tensors")->count > 10);
    assert_int_equal(nunchi("verify %s --json", LLAMA), 0);
    assert_int_equal(nc_json_parse(a, nc_str_of(output), "output", &v, &e), 0);
    assert_true(nc_json_bool(nc_json_get(v, "passed"), false));
    assert_int_equal(nc_json_get(v, "unchecked")->count, 0);
    assert_true(nc_json_get(v, "quantities")->count > 30);
    nc_arena_free(a);
}

static void golden_counts_its_cases(void **state)
{
    (void)state;
    assert_int_equal(nunchi("golden tests/golden --only models/llama*"), 0);
    assert_non_null(strstr(output, "ok models/llama "));
    assert_non_null(strstr(output, " passed, 0 failed, "));
}

static void a_tokenizer_is_learned(void **state)
{
    static const char text[] = "바다에 비가 내린다\n산에 눈이 내린다\n강에 비가 내린다\n";
    (void)state;
    write_file("words.txt", text, sizeof text - 1);
    assert_int_equal(nunchi("data tokenizer %s --vocab-size 270 --out %s", path("words.txt"), path("tok")), 0);
    assert_true(nc_file_exists(path("tok/tokenizer.json")));
    write_file("bad.txt", "\xff\xfe", 2);
    assert_int_equal(nunchi("data tokenizer %s --out %s", path("bad.txt"), path("tok2")), 1);
    SAYS("bad.txt:1", "UTF-8");
    assert_false(nc_file_exists(path("tok2/tokenizer.json")));
}

/* A reader of pages learns one picture's text by heart and reads it; a text model learns pairs; both from their golden folders. */
static void encoders_and_decoders_learn(void **state)
{
    static const char info[] = "{\"pages\": {\"file_name\": \"pages.json\", \"formatting\": \"sharegpt\", \"columns\": {\"messages\": \"messages\", \"images\": \"images\"},"
                               " \"tags\": {\"role_tag\": \"role\", \"content_tag\": \"content\", \"user_tag\": \"user\", \"assistant_tag\": \"assistant\"}}, \"pairs\": {\"file_name\": \"pairs.json\"}, \"words\": {\"file_name\": \"words.json\"}}";
    static const char pairs[] = "[{\"instruction\": \"red\", \"input\": \"\", \"output\": \"apple\"}, {\"instruction\": \"blue\", \"input\": \"\", \"output\": \"sky\"}]";
    static const char recipe[] = "stage: sft\nfinetuning_type: full\nper_device_train_batch_size: 2\nlearning_rate: 3.0e-3\nlr_scheduler_type: constant\nmax_steps: 80\ncutoff_len: 40\n";
    char cwd[200], pages[600];
    (void)state;
    assert_non_null(getcwd(cwd, sizeof cwd));
    snprintf(pages, sizeof pages, "[{\"messages\": [{\"role\": \"user\", \"content\": \"<image>\"}, {\"role\": \"assistant\", \"content\": \"Total 12\"}], \"images\": "
             "[\"%s/tests/golden/models/nougat/image.png\"]}]", cwd);
    write_file("seq/dataset_info.json", info, strlen(info));
    write_file("seq/pairs.json", pairs, strlen(pairs));
    write_file("seq/pages.json", pages, strlen(pages));
    write_file("seq/words.json", "[{\"text\": \"red apple\"}]", strlen("[{\"text\": \"red apple\"}]"));
    write_file("seq/r.yaml", recipe, strlen(recipe));
    assert_int_equal(nunchi("train %s model_name_or_path=tests/golden/models/nougat dataset=pages dataset_dir=%s output_dir=%s", path("seq/r.yaml"), path("seq"), path("pages-run")), 0);
    assert_int_equal(nunchi("ocr %s/model tests/golden/models/nougat/image.png", path("pages-run")), 0);
    assert_string_equal(output, "Total 12\n");
    assert_int_equal(nunchi("train %s model_name_or_path=tests/golden/models/bart dataset=pairs dataset_dir=%s output_dir=%s", path("seq/r.yaml"), path("seq"), path("pairs-run")), 0);
    char *loss = strstr(output, ", loss ");
    assert_non_null(loss);
    assert_true(strtod(loss + 7, NULL) < 0.2);
    assert_int_equal(nunchi("train %s model_name_or_path=tests/golden/models/bart dataset=pairs dataset_dir=%s output_dir=%s finetuning_type=lora max_steps=1", path("seq/r.yaml"), path("seq"),
                            path("lora-run")), 0);
    nc_buf adapter = { 0 };
    nc_error e = { 0 };
    assert_int_equal(nc_file_read(path("lora-run/adapter/adapter_config.json"), 1 << 20, &adapter, &e), 0);
    assert_non_null(strstr(adapter.p, "\"SEQ_2_SEQ_LM\""));
    nc_buf_free(&adapter);
    assert_int_equal(nunchi("train %s stage=pt model_name_or_path=tests/golden/models/bart dataset=words dataset_dir=%s output_dir=%s", path("seq/r.yaml"), path("seq"), path("no-run")), 1);
    SAYS("stage: pt", "bart");
    assert_int_equal(nunchi("ocr tests/golden/models/nougat %s", path("seq/r.yaml")), 1);
    SAYS("r.yaml", "neither a picture");
    assert_int_equal(nunchi("ocr tests/golden/models/nougat --pages 3-2 tests/golden/models/nougat/image.png"), 2);
    SAYS("--pages 3-2");
    assert_int_equal(nunchi("caption tests/golden/models/bart --generation {\"num_beam\":2} tests/golden/models/nougat/image.png"), 1);
    SAYS("num_beam");
}

/* A reader of pictures and tasks learns an answer with words and one with places by heart; of the reference data. */
static void pictures_and_tasks_learn(void **state)
{
    static const char info[] = "{\"tasks\": {\"file_name\": \"tasks.json\", \"formatting\": \"sharegpt\", \"columns\": {\"messages\": \"messages\", \"images\": \"images\"},"
                               " \"tags\": {\"role_tag\": \"role\", \"content_tag\": \"content\", \"user_tag\": \"user\", \"assistant_tag\": \"assistant\"}}}";
    static const char recipe[] = "stage: sft\nfinetuning_type: full\nper_device_train_batch_size: 2\nlearning_rate: 5.0e-3\nlr_scheduler_type: constant\nmax_steps: 150\ncutoff_len: 90\ndataset: tasks\n"
                                 "freeze_vision_tower: false\nfreeze_multi_modal_projector: false\n";
    const char *shared = getenv("NUNCHI_SHARED");
    char model[300], tasks[2000];
    (void)state;
    snprintf(model, sizeof model, "%s/golden/models/florence2", shared ? shared : NUNCHI_SOURCE_DIR "/../shared");
    if (!nc_is_dir(model)) {
        print_message("skipped: no %s\n", model);
        return;
    }
    snprintf(tasks, sizeof tasks,
             "[{\"messages\": [{\"role\": \"user\", \"content\": \"<image><CAPTION>\"}, {\"role\": \"assistant\", \"content\": \"배 하나\"}], \"images\": [\"%s/image.png\"]},"
             " {\"messages\": [{\"role\": \"user\", \"content\": \"<image><OD>\"}, {\"role\": \"assistant\", \"content\": \"배<loc_0><loc_99><loc_499><loc_999>\"}], \"images\": [\"%s/image.png\"]}]",
             model, model);
    write_file("flo/dataset_info.json", info, strlen(info));
    write_file("flo/tasks.json", tasks, strlen(tasks));
    write_file("flo/r.yaml", recipe, strlen(recipe));
    assert_int_equal(nunchi("train %s model_name_or_path=%s dataset_dir=%s output_dir=%s", path("flo/r.yaml"), model, path("flo"), path("flo-run")), 0);
    assert_int_equal(nunchi("caption %s/model %s/image.png", path("flo-run"), model), 0);
    assert_string_equal(output, "배 하나\n");
    assert_int_equal(nunchi("detect %s/model %s/image.png", path("flo-run"), model), 0);
    assert_non_null(strstr(output, "\"label\": \"배\", \"box\": [0, "));
    assert_int_equal(nunchi("detect %s --task <CAPTION> %s/image.png", model, model), 2);
    SAYS("<CAPTION>", "tells no places");
    assert_int_equal(nunchi("detect %s --threshold 0.5 %s/image.png", model, model), 2);
    SAYS("--threshold");
}

/* From labelled lines to a classifier and its answers. */
static void a_classifier_is_trained_and_asked(void **state)
{
    static const char recipe[] = "model_name_or_path: tests/golden/models/beit\nstage: cls\nignore_mismatched_sizes: true\nmax_steps: 2\n";
    static const char data[] = "{\"image\": \"a.png\", \"label\": \"one\"}\n{\"image\": \"b.png\", \"label\": \"two\"}\n";
    nc_error e = { 0 };
    (void)state;
    write_file("cls/r.yaml", recipe, sizeof recipe - 1);
    write_file("cls/data.jsonl", data, sizeof data - 1);
    assert_int_equal(nc_file_copy("tests/golden/models/beit/image.png", path("cls/a.png"), &e), 0);
    assert_int_equal(nc_file_copy("tests/golden/models/beit/image2.png", path("cls/b.png"), &e), 0);
    assert_int_equal(nunchi("train %s dataset=data.jsonl dataset_dir=%s output_dir=%s", path("cls/r.yaml"), path("cls"), path("cls/out")), 0);
    assert_int_equal(nunchi("classify %s %s", path("cls/out/model"), path("cls/a.png")), 0);
    assert_non_null(strstr(output, "\"labels\": [{\"label\": "));
    assert_true(strstr(output, "\"one\"") && strstr(output, "\"two\"") && !strstr(output, "LABEL_"));
    assert_int_equal(nunchi("eval %s --data %s", path("cls/out"), path("cls/data.jsonl")), 0);
    assert_true(strstr(output, "accuracy") && strstr(output, "precision") && nc_file_exists(path("cls/out/eval/scores.json")) && nc_file_exists(path("cls/out/eval/report.html")));
    assert_int_equal(nunchi("classify %s hello", LLAMA), 1);
    assert_non_null(strstr(output, "is no classifier"));
    assert_int_equal(nunchi("classify %s", path("cls/out/model")), 1);
    assert_non_null(strstr(output, "name some behind the folder"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mistakes_of_usage_end_with_2), cmocka_unit_test(help_is_there_for_every_verb), cmocka_unit_test(missing_and_broken_files_end_with_1),
        cmocka_unit_test(a_cut_checkpoint_is_refused_and_leaves_nothing), cmocka_unit_test(a_port_in_use_is_one_clear_line), cmocka_unit_test(inspect_and_verify_speak_json),
        cmocka_unit_test(golden_counts_its_cases), cmocka_unit_test(a_tokenizer_is_learned), cmocka_unit_test(encoders_and_decoders_learn),
        cmocka_unit_test(pictures_and_tasks_learn),
        cmocka_unit_test(a_classifier_is_trained_and_asked),
    };
    return cmocka_run_group_tests(tests, start, finish);
}

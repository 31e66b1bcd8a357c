/* test_demo.c - the demo at a reduced size, from the clips to the served caption; and the same training killed at a random step: the second try ends with the same
 * weights, bit for bit. Called with words this program is nunchi itself, since the demo starts its own file again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/cli.h"

static char folder[] = "/tmp/nunchi-demo-XXXXXX";

static pid_t start(const char *verb, const char *const *more)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        char *words[24] = { "nunchi", (char *)(uintptr_t)verb };
        int n = 2;
        for (; more[n - 2] && n < 23; n++)
            words[n] = (char *)(uintptr_t)more[n - 2];
        setpgid(0, 0);
        if (!freopen("/dev/null", "w", stdout))
            _exit(99);
        setenv("CI", "1", 1);
        execv("/proc/self/exe", words);
        _exit(98);
    }
    return child;
}

static int end_of(pid_t child)
{
    int code;
    assert_int_equal(waitpid(child, &code, 0), child);
    return WIFEXITED(code) ? WEXITSTATUS(code) : 1000 + WTERMSIG(code);
}

static const char *in(nc_arena *a, const char *name) { return nc_arena_printf(a, "%s/%s", folder, name); }

static void the_whole_way_at_a_reduced_size(void **state)
{
    static const char *const keys[] = { "meteor", "meteor_untrained", "meteor_ceiling", "slot_accuracy", "meteor_q8_0", "bleu4", "cider", "rouge_l", "train_seconds", "tokens_per_second", "peak_bytes",
                                        "planned_bytes", "served_caption" };
    static const char *const files[] = { "demo/contact-sheet.png", "demo/eval/report.html", "demo/model-q8_0/model.gguf", "demo/model-q8_0/mmproj.gguf", "demo/train/model/model.safetensors" };
    nc_arena *a = nc_arena_new();
    nc_json *v;
    nc_error e = { 0 };
    (void)state;
    const char *const words[] = { "--out", in(a, "demo"), "--clips", "40", "max_steps=3", "per_device_train_batch_size=8", NULL };
    assert_int_equal(end_of(start("demo", words)), 0);
    if (nc_json_load(a, in(a, "demo/summary.json"), &v, &e) < 0)
        fail_msg("%s", e.message);
    for (int i = 0; i < NC_COUNT(keys); i++)
        if (!nc_json_get(v, keys[i]))
            fail_msg("%s is missing in summary.json", keys[i]);
    assert_true(nc_json_double(nc_json_get(v, "meteor_ceiling"), 0) > 0.5);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)                    /* their shadow memory counts too */
    assert_true(nc_json_int(nc_json_get(v, "peak_bytes"), 0) <= nc_json_int(nc_json_get(v, "planned_bytes"), 0));
#endif
    for (int i = 0; i < NC_COUNT(files); i++)
        if (!nc_file_exists(in(a, files[i])))
            fail_msg("%s is missing", files[i]);
    nc_arena_free(a);
}

static void wait_for_step(const char *file, int lines)
{
    for (double begin = nc_now(); nc_now() - begin < 60;) {
        nc_buf b = { 0 };
        int n = 0;
        nc_file_read(file, 1 << 20, &b, NULL);
        for (size_t i = 0; i < b.n; i++)
            n += b.p[i] == '\n';
        nc_buf_free(&b);
        if (n >= lines)
            return;
        nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
    }
}

/* Uses the clips of the test before. */
static void killed_at_a_random_step_it_ends_with_the_same_weights(void **state)
{
    nc_arena *a = nc_arena_new();
    nc_error e = { 0 };
    nc_buf whole = { 0 }, resumed = { 0 };
    (void)state;
    const char *data = nc_arena_printf(a, "dataset_dir=%s/demo/data", folder);
    const char *const undisturbed[] = { "recipes/korean-scenes.yaml", data, nc_arena_printf(a, "output_dir=%s/whole", folder), "max_steps=6", "save_steps=2", "logging_steps=1", "per_device_train_batch_size=8", NULL };
    const char *const killed[] = { "recipes/korean-scenes.yaml", data, nc_arena_printf(a, "output_dir=%s/killed", folder), "max_steps=6", "save_steps=2", "logging_steps=1", "per_device_train_batch_size=8", NULL };
    assert_int_equal(end_of(start("train", undisturbed)), 0);
    srand((unsigned)time(NULL));
    for (int i = 0; i < 3; i++) {
        int stage = rand() % 4, step = 1 + rand() % 5;
        pid_t child = start("train", killed);
        wait_for_step(nc_arena_printf(a, "%s/killed/stage%d/metrics.jsonl", folder, stage), step);
        kill(child, SIGKILL);
        int code = end_of(child);
        print_message("killed in stage %d from step %d on: %d\n", stage, step, code);
    }
    assert_int_equal(end_of(start("train", killed)), 0);
    assert_int_equal(nc_file_read(in(a, "whole/model/model.safetensors"), 1 << 28, &whole, &e), 0);
    assert_int_equal(nc_file_read(in(a, "killed/model/model.safetensors"), 1 << 28, &resumed, &e), 0);
    assert_int_equal(whole.n, resumed.n);
    assert_memory_equal(whole.p, resumed.p, whole.n);
    nc_buf_free(&whole);
    nc_buf_free(&resumed);
    nc_arena_free(a);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return nc_remove_tree(folder, NULL);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(the_whole_way_at_a_reduced_size), cmocka_unit_test(killed_at_a_random_step_it_ends_with_the_same_weights) };
    return argc > 1 ? nc_cli_main(argc, argv) : cmocka_run_group_tests(tests, make_folder, remove_folder);
}

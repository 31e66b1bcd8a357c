/* A run that stops and goes on reaches the bits of one that does not: cancelled at a step, and killed by SIGKILL at any instant. Other things a run
 * promises: a recipe that changed is refused, accumulation equals a larger batch, packed equals alone.
 */
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "formats/safetensors.h"
#include "train/train.h"

static char folder[64], recipe[100], cancelled_metrics[160];
static double whole_seconds;                 /* of the undisturbed run: how fast this machine is */
static off_t metrics_before;

static const char text[] =
    "model_name_or_path: tests/golden/train/base\nstage: sft\ndataset: talk.jsonl\ntemplate: chatml\ncutoff_len: 96\nper_device_train_batch_size: 2\n"
    "gradient_accumulation_steps: 2\nlearning_rate: 2.0e-3\nnum_train_epochs: 3\nlr_scheduler_type: cosine\nwarmup_ratio: 0.1\nweight_decay: 0.1\nlogging_steps: 1\nsave_steps: 3\n"
    "val_size: 4\neval_strategy: steps\neval_steps: 5\n";

static int make_folder(void **state)
{
    nc_error e = { 0 };
    nc_buf b = { 0 };
    char path[100];
    (void)state;
    nc_log_setup(NC_LOG_SILENT, false);
    strcpy(folder, "/tmp/nunchi-test-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    for (int i = 0; i < 40; i++)
        nc_buf_printf(&b, "{\"instruction\": \"%d plus %d?\", \"output\": \"That is %d%s\"}\n", i, i * 7 % 13, i + i * 7 % 13, i % 3 ? "." : ", and no more than that.");
    snprintf(path, sizeof path, "%s/talk.jsonl", folder);
    int status = nc_file_write(path, b.p, b.n, &e);
    nc_buf_free(&b);
    snprintf(recipe, sizeof recipe, "%s/r.yaml", folder);
    return status < 0 ? status : nc_file_write(recipe, text, strlen(text), &e);
}

static int remove_folder(void **state)
{
    nc_error e = { 0 };
    (void)state;
    return nc_remove_tree(folder, &e);
}

struct options { char *list[8]; int n; char space[8][160]; };

static void add(struct options *o, const char *key, const char *value)
{
    snprintf(o->space[o->n], sizeof o->space[0], "%s=%s", key, value);
    o->n++;
}

static char *const *listed(struct options *o)
{
    for (int i = 0; i < o->n; i++)
        o->list[i] = o->space[i];
    return o->list;
}

static struct options options(const char *out)
{
    struct options o = { .n = 0 };
    char path[120];
    snprintf(path, sizeof path, "%s/%s", folder, out);
    add(&o, "dataset_dir", folder);
    add(&o, "output_dir", path);
    return o;
}

static nc_train_report train(struct options *o)
{
    nc_train_report r;
    nc_error e = { 0 };
    if (nc_train(recipe, listed(o), o->n, &r, &e) < 0)
        fail_msg("%s", e.message);
    return r;
}

static nc_buf model_bytes(const char *out)
{
    char path[160];
    nc_buf b = { 0 };
    nc_error e = { 0 };
    snprintf(path, sizeof path, "%s/%s/model/model.safetensors", folder, out);
    if (nc_file_read(path, 1 << 26, &b, &e) < 0)
        fail_msg("%s", e.message);
    return b;
}

static void same_models(const char *a, const char *b)
{
    nc_buf x = model_bytes(a), y = model_bytes(b);
    assert_int_equal(x.n, y.n);
    assert_memory_equal(x.p, y.p, x.n);
    nc_buf_free(&x);
    nc_buf_free(&y);
}

/* The undisturbed run, to which the others are compared. */
static void loss_falls(void **state)
{
    struct options o = options("whole");
    (void)state;
    double start = nc_now();
    nc_train_report r = train(&o);
    whole_seconds = nc_now() - start;
    assert_true(r.last_loss < 0.9 * r.first_loss);
    assert_true(isfinite(r.eval_loss));
    assert_true(r.peak_bytes > 0 && r.planned_bytes > 0);
    char path[160];
    snprintf(path, sizeof path, "%s/whole/metrics.jsonl", folder);
    assert_true(nc_file_size(path) > 100);
    snprintf(path, sizeof path, "%s/whole/checkpoint-3", folder);
    assert_false(nc_is_dir(path));
}

/* A child trains and is killed after a while; then the same call goes on. Delays differ, so that kills hit steps, checkpoints and the final save. */
static void killed_run_goes_on(void **state)
{
    (void)state;
    for (int round = 0; round < 4; round++) {
        char out[32];
        snprintf(out, sizeof out, "killed%d", round);
        struct options o = options(out);
        for (int kills = 0; kills < 3; kills++) {
            pid_t child = fork();
            assert_true(child >= 0);
            if (child == 0) {
                nc_error e = { 0 };
                _exit(nc_train(recipe, listed(&o), o.n, NULL, &e) < 0);
            }
            double seconds = whole_seconds * (0.25 + 0.2 * round + 0.1 * kills);
            struct timespec wait = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };
            nanosleep(&wait, NULL);
            kill(child, SIGKILL);
            waitpid(child, NULL, 0);
        }
        train(&o);
        same_models("whole", out);
    }
}

/* Comes every millisecond and cancels as soon as the run has written the figures of one more step. */
static void stop(int signal)
{
    struct stat s;
    (void)signal;
    if (stat(cancelled_metrics, &s) == 0 && s.st_size > metrics_before)
        nc_train_cancel();
}

/* A cancelled run says so, has left a checkpoint, and goes on to the same bits. */
static void cancelled_run_goes_on(void **state)
{
    struct options o = options("cancelled");
    nc_error e = { 0 };
    int cancelled = 0;
    (void)state;
    signal(SIGALRM, stop);
    snprintf(cancelled_metrics, sizeof cancelled_metrics, "%s/cancelled/metrics.jsonl", folder);
    for (int i = 0; i < 5; i++) {
        struct options again = o;
        metrics_before = nc_file_exists(cancelled_metrics) ? (off_t)nc_file_size(cancelled_metrics) : 0;
        ualarm(1000, 1000);
        int status = nc_train(recipe, listed(&again), again.n, NULL, &e);
        ualarm(0, 0);
        assert_true(status == 0 || status == NC_ECANCELLED);
        cancelled += status == NC_ECANCELLED;
        if (status == 0)
            break;
    }
    assert_true(cancelled > 0);
    train(&o);
    same_models("whole", "cancelled");
}

static void threads_do_not_matter(void **state)
{
    struct options o = options("one-thread");
    (void)state;
    setenv("NUNCHI_THREADS", "1", 1);
    train(&o);
    unsetenv("NUNCHI_THREADS");
    same_models("whole", "one-thread");
}

static void another_recipe_is_refused(void **state)
{
    struct options o = options("whole");
    nc_error e = { 0 };
    (void)state;
    add(&o, "learning_rate", "1e-3");
    assert_int_equal(nc_train(recipe, listed(&o), o.n, NULL, &e), NC_EINVAL);
    assert_non_null(strstr(e.message, "another recipe"));
    add(&o, "overwrite_output_dir", "true");
    add(&o, "max_steps", "2");
    train(&o);
}

/* One more sample in the file, and neither a finished stage nor a checkpoint is taken for the same job's. */
static void another_dataset_is_refused(void **state)
{
    struct options o = options("grown");
    nc_error e = { 0 };
    nc_buf b = { 0 };
    char path[100];
    (void)state;
    add(&o, "max_steps", "2");
    train(&o);
    snprintf(path, sizeof path, "%s/talk.jsonl", folder);
    assert_int_equal(nc_file_read(path, 1 << 20, &b, &e), 0);
    nc_buf_adds(&b, "{\"instruction\": \"a\", \"output\": \"b\"}\n");
    assert_int_equal(nc_file_write(path, b.p, b.n, &e), 0);
    assert_int_equal(nc_train(recipe, listed(&o), o.n, NULL, &e), NC_EINVAL);
    assert_non_null(strstr(e.message, "another dataset"));
    nc_buf_free(&b);
}

/* Two micro-batches of four give the gradient of one of eight, up to the order of f32 sums. */
static void accumulation_is_a_larger_batch(void **state)
{
    struct options a = options("accumulated"), b = options("large"), c = options("packed");
    (void)state;
    add(&a, "per_device_train_batch_size", "4");
    add(&a, "gradient_accumulation_steps", "2");
    add(&b, "per_device_train_batch_size", "8");
    add(&b, "gradient_accumulation_steps", "1");
    add(&c, "packing", "true");
    add(&c, "per_device_train_batch_size", "1");
    add(&c, "cutoff_len", "10000");
    add(&c, "gradient_accumulation_steps", "1");
    struct options *all[] = { &a, &b };
    nc_train_report r[2];
    for (int i = 0; i < 2; i++) {
        add(all[i], "num_train_epochs", "1");
        r[i] = train(all[i]);
    }
    assert_true(fabs(r[0].first_loss - r[1].first_loss) < 1e-5 * r[1].first_loss);
    assert_true(fabs(r[0].last_loss - r[1].last_loss) < 1e-3 * r[1].last_loss);
    /* Everything packed into one row: its loss is that of all samples alone, each weighted by its targets. */
    add(&c, "max_steps", "1");
    struct options d = options("alone");
    add(&d, "per_device_train_batch_size", "1");
    add(&d, "gradient_accumulation_steps", "1000");
    add(&d, "max_steps", "1");
    nc_train_report packed = train(&c), alone = train(&d);
    assert_true(fabs(packed.first_loss - alone.first_loss) < 1e-5 * alone.first_loss);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loss_falls), cmocka_unit_test(killed_run_goes_on), cmocka_unit_test(cancelled_run_goes_on), cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(another_recipe_is_refused), cmocka_unit_test(accumulation_is_a_larger_batch),
        cmocka_unit_test(another_dataset_is_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

/* test_augmented.c - `augment` in a recipe: the training pictures change with the epoch and the sample, evaluation's do not; a stopped run and another number of threads reach
 * the same bits; pictures whose rows follow from their size keep it.
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
#include <unistd.h>
#include <cmocka.h>

#include "train/seen_folder.h"

static char metrics[160];
static off_t metrics_before;
static const char crops[] = "augment=[{name: RandomResizedCrop, size: 40, scale: [0.3, 1]}, RandomHorizontalFlip, {name: ColorJitter, brightness: 0.5, hue: 0.3}, RandAugment]";

static int make_folder(void **state)
{
    static const char data[] = "[{\"messages\": [{\"role\": \"user\", \"content\": \"<image>Which? <image>\"}, {\"role\": \"assistant\", \"content\": \"The left.\"}], "
                               "\"images\": [\"a.png\", \"b.png\"], \"videos\": []}, "
                               "{\"messages\": [{\"role\": \"user\", \"content\": \"<image>What?\"}, {\"role\": \"assistant\", \"content\": \"A ball.\"}], \"images\": [\"a.png\"], \"videos\": []}, "
                               "{\"messages\": [{\"role\": \"user\", \"content\": \"<video>Moves?\"}, {\"role\": \"assistant\", \"content\": \"It rolls.\"}], \"images\": [], \"videos\": [\"c.mp4\"]}]";
    (void)state;
    return make_seen(data, "model_name_or_path: " MODEL "\nstage: sft\ndataset: seen\neval_dataset: seen\neval_strategy: steps\neval_steps: 100\ncutoff_len: 256\nlearning_rate: 2.0e-3\n"
                             "num_train_epochs: 8\nlogging_steps: 1\nsave_steps: 4\nper_device_train_batch_size: 2\nseed: 3\nfreeze_vision_tower: false\nfreeze_multi_modal_projector: false\n");
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

static bool same_models(const char *a, const char *b)
{
    nc_buf x = model_bytes(a), y = model_bytes(b);
    bool same = x.n == y.n && !memcmp(x.p, y.p, x.n);
    nc_buf_free(&x);
    nc_buf_free(&y);
    return same;
}

/* Nothing done to the pictures is as no augment at all; something is not, and it differs by seed. The tower's rows are not kept either. */
static void pictures_change(void **state)
{
    static const char *const none[] = { "augment=[]", NULL }, *const some[] = { crops, NULL }, *const other[] = { crops, "seed=4", NULL }, *const seeded[] = { "seed=4", NULL },
                      *const frozen[] = { crops, "freeze_vision_tower=true", NULL }, *const frozen_plain[] = { "freeze_vision_tower=true", NULL };
    (void)state;
    nc_train_report plain = train("plain", NULL), augmented = train("some", some);
    assert_true(plain.last_loss < plain.first_loss && augmented.last_loss < augmented.first_loss);
    assert_int_equal(plain.tokens, augmented.tokens);        /* pictures kept their size, and their rows */
    train("none", none);
    assert_true(same_models("plain", "none"));
    assert_false(same_models("plain", "some"));
    train("other", other);
    train("seeded", seeded);
    assert_false(same_models("other", "some"));
    assert_false(same_models("other", "seeded"));
    assert_true(train("frozen", frozen).last_loss != train("frozen-plain", frozen_plain).last_loss);
}

/* Without learning, evaluation sees the same pictures with and without augment, and training does not. */
static void evaluation_is_not_augmented(void **state)
{
    static const char *const plain[] = { "learning_rate=0", "max_steps=2", NULL }, *const some[] = { "learning_rate=0", "max_steps=2", crops, NULL };
    (void)state;
    nc_train_report a = train("still", plain), b = train("still-some", some);
    assert_true(isfinite(a.eval_loss) && a.eval_loss == b.eval_loss);
    assert_true(a.first_loss != b.first_loss);
}

static void stop(int signal)
{
    struct stat s;
    (void)signal;
    if (stat(metrics, &s) == 0 && s.st_size > metrics_before)
        nc_train_cancel();
}

static void stopped_run_goes_on(void **state)
{
    static const char *const some[] = { crops, NULL };
    int cancelled = 0;
    (void)state;
    signal(SIGALRM, stop);
    snprintf(metrics, sizeof metrics, "%s/stopped/metrics.jsonl", folder);
    for (int i = 0; i < 4; i++) {
        nc_error e = { 0 };
        metrics_before = nc_file_exists(metrics) ? (off_t)nc_file_size(metrics) : 0;
        ualarm(1000, 1000);
        int status = try_train("stopped", some, NULL, &e);
        ualarm(0, 0);
        assert_true(status == 0 || status == NC_ECANCELLED);
        cancelled += status == NC_ECANCELLED;
    }
    assert_true(cancelled > 0);
    train("stopped", some);
    assert_true(same_models("some", "stopped"));
    setenv("NUNCHI_THREADS", "1", 1);
    train("one-thread", some);
    unsetenv("NUNCHI_THREADS");
    assert_true(same_models("some", "one-thread"));
}

static void wrong_entries_are_refused(void **state)
{
    static const char *const wrong[] = { "augment=[{name: ColorJiter}]", NULL }, *const late[] = { "augment=[{name: CenterCrop, size: 8}, {name: RandomCrop, size: 20}]", NULL };
    nc_error e = { 0 };
    (void)state;
    assert_int_equal(try_train("wrong", wrong, NULL, &e), NC_EINVAL);
    assert_non_null(strstr(e.message, "augment: \"ColorJiter\" is no operation known here; nearest is ColorJitter"));
    assert_int_equal(try_train("late", late, NULL, &e), NC_EINVAL);
    assert_non_null(strstr(e.message, "RandomCrop: a crop of 20 x 20 is larger than the picture of 8 x 8"));
    assert_non_null(strstr(e.message, ".png"));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(pictures_change), cmocka_unit_test(evaluation_is_not_augmented), cmocka_unit_test(stopped_run_goes_on),
                                        cmocka_unit_test(wrong_entries_are_refused) };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

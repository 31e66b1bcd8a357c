/* The demo's job in small: four stages from nothing on drawn clips (decoder, tower, projector, captioner), in bf16, killed on the way; and LoRA on its result. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/file.h"
#include "base/log.h"
#include "data/scenes.h"
#include "load/load.h"
#include "train/train.h"

static char folder[64], recipe[100], dataset[100];

#define VISION "{model_type: clip_vision_model, hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 2, image_size: 32, patch_size: 8}"
#define TEXT "{model_type: llama, hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 2, max_position_embeddings: 256, tie_word_embeddings: false}"
static const char text[] =
    "seed: 5\nbf16: true\nvideo_maxlen: 2\nlogging_steps: 1\nsave_steps: 2\ncutoff_len: 200\nlearning_rate: 3.0e-3\nwarmup_ratio: 0.1\nmax_steps: 6\nstages:\n"
    "  - {name: decoder, stage: pt, dataset: captions.txt, train_from_scratch: true, tokenizer_vocab_size: 320, per_device_train_batch_size: 4, model_config: " TEXT "}\n"
    "  - {name: tower, stage: contrastive, dataset: korean_scenes_train, train_from_scratch: true, per_device_train_batch_size: 8,\n"
    "     model_config: {model_type: clip, projection_dim: 16, text_config: {model_type: clip_text_model, hidden_size: 32, intermediate_size: 64, num_hidden_layers: 1,\n"
    "     num_attention_heads: 2, max_position_embeddings: 64}, vision_config: " VISION "}}\n"
    "  - {name: projector, dataset: korean_scenes_train, train_from_scratch: true, per_device_train_batch_size: 4, freeze_multi_modal_projector: false, freeze_language_model: true,\n"
    "     compose: [{from: tower, prefix: vision_model., into: vision_tower.vision_model.}, {from: decoder, into: language_model.}],\n"
    "     model_config: {model_type: llava_next_video, spatial_pool_stride: 2, spatial_pool_mode: average, vision_feature_layer: -2, vision_config: " VISION ", text_config: " TEXT "}}\n"
    "  - {name: captioner, dataset: korean_scenes_train, eval_dataset: korean_scenes_val, eval_strategy: epoch, per_device_train_batch_size: 4, freeze_multi_modal_projector: false,\n"
    "     gradient_accumulation_steps: 2}\n";

static int make_folder(void **state)
{
    nc_error e = { 0 };
    nc_scenes_options o = { .size = 32, .frames = 4, .captions = 1 };
    (void)state;
    nc_log_setup(NC_LOG_SILENT, false);
    strcpy(folder, "/tmp/nunchi-test-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(recipe, sizeof recipe, "%s/r.yaml", folder);
    snprintf(dataset, sizeof dataset, "%s/data", folder);
    if (nc_scenes_make(dataset, 40, 3, &o, NULL, NULL, &e) < 0) {
        fprintf(stderr, "%s\n", e.message);
        return -1;
    }
    return nc_file_write(recipe, text, strlen(text), &e);
}

static int remove_folder(void **state)
{
    nc_error e = { 0 };
    (void)state;
    return nc_remove_tree(folder, &e);
}

static int train(const char *out, const char *more, nc_train_report *r, nc_error *e)
{
    char a[160], b[160];
    char *list[4];
    int n = 0;
    snprintf(a, sizeof a, "dataset_dir=%s", dataset);
    snprintf(b, sizeof b, "output_dir=%s/%s", folder, out);
    list[n++] = a;
    list[n++] = b;
    if (more)
        list[n++] = (char *)more;
    return nc_train(recipe, list, n, r, e);
}

static nc_buf bytes_of(const char *path)
{
    char whole[200];
    nc_buf b = { 0 };
    nc_error e = { 0 };
    snprintf(whole, sizeof whole, "%s/%s", folder, path);
    if (nc_file_read(whole, 1 << 26, &b, &e) < 0)
        fail_msg("%s", e.message);
    return b;
}

static void four_stages_make_a_model(void **state)
{
    nc_train_report r;
    nc_error e = { 0 };
    (void)state;
    if (train("whole", NULL, &r, &e) < 0)
        fail_msg("%s", e.message);
    assert_int_equal(r.stages, 4);
    assert_int_equal(r.steps, 24);
    assert_true(r.last_loss < r.first_loss);
    nc_loaded *l = NULL;
    nc_load_options o = { .weights = { .compute = NC_F32, .kernels = nc_kernels_best() } };
    if (nc_load(r.model, &o, &l, &e) < 0)
        fail_msg("%s", e.message);
    assert_non_null(l->tokenizer);
    assert_non_null(l->video);
    assert_string_equal(l->model->family->name, "llava_next_video");
    nc_loaded_free(l);
}

/* The tower of the last stage is the second stage's, untouched; the projector of the last differs from the third's. */
static void frozen_parts_stay(void **state)
{
    nc_safetensors *tower = NULL, *third = NULL, *last = NULL;
    char path[200];
    nc_error e = { 0 };
    (void)state;
    snprintf(path, sizeof path, "%s/whole/stage1/model", folder);
    assert_int_equal(nc_safetensors_open(path, &tower, &e), 0);
    snprintf(path, sizeof path, "%s/whole/stage2/model", folder);
    assert_int_equal(nc_safetensors_open(path, &third, &e), 0);
    snprintf(path, sizeof path, "%s/whole/model", folder);
    assert_int_equal(nc_safetensors_open(path, &last, &e), 0);
    const nc_stored *a = nc_safetensors_find(tower, "vision_model.encoder.layers.0.mlp.fc1.weight"),
                    *b = nc_safetensors_find(last, "vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight");
    assert_non_null(a);
    assert_non_null(b);
    assert_memory_equal(a->data, b->data, a->bytes);
    const nc_stored *c = nc_safetensors_find(third, "multi_modal_projector.linear_1.weight"), *d = nc_safetensors_find(last, "multi_modal_projector.linear_1.weight");
    assert_memory_not_equal(c->data, d->data, c->bytes);
    nc_safetensors_close(tower);
    nc_safetensors_close(third);
    nc_safetensors_close(last);
}

/* The frozen tower's rows, kept from epoch to epoch or made again for every step. */
static void kept_rows_change_no_bit(void **state)
{
    nc_error e = { 0 };
    (void)state;
    if (train("again", "media_memory_gb=0", NULL, &e) < 0)
        fail_msg("%s", e.message);
    nc_buf a = bytes_of("whole/model/model.safetensors"), b = bytes_of("again/model/model.safetensors");
    assert_int_equal(a.n, b.n);
    assert_memory_equal(a.p, b.p, a.n);
    nc_buf_free(&a);
    nc_buf_free(&b);
}

static void killed_at_any_stage_it_goes_on(void **state)
{
    nc_error e = { 0 };
    (void)state;
    for (int kills = 0; kills < 6; kills++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            _exit(train("killed", NULL, NULL, &e) < 0);
        struct timespec wait = { 0, (60 + 70 * kills) * 1000000L };
        nanosleep(&wait, NULL);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    if (train("killed", NULL, NULL, &e) < 0)
        fail_msg("%s", e.message);
    nc_buf a = bytes_of("whole/model/model.safetensors"), b = bytes_of("killed/model/model.safetensors");
    assert_int_equal(a.n, b.n);
    assert_memory_equal(a.p, b.p, a.n);
    nc_buf_free(&a);
    nc_buf_free(&b);
}

static void a_plan_leaves_nothing(void **state)
{
    nc_buf table = { 0 };
    nc_error e = { 0 };
    char a[160], b[160];
    char *list[] = { a, b };
    (void)state;
    snprintf(a, sizeof a, "dataset_dir=%s", dataset);
    snprintf(b, sizeof b, "output_dir=%s/planned", folder);
    if (nc_train_plan(recipe, list, 2, &table, &e) < 0)
        fail_msg("%s", e.message);
    assert_non_null(strstr(table.p, "stage 3 captioner"));
    assert_non_null(strstr(table.p, "optimizer"));
    nc_buf_free(&table);
    snprintf(b, sizeof b, "%s/planned", folder);
    assert_false(nc_is_dir(b));
    char *small[] = { a, "memory_limit_gb=0.01" };
    assert_int_equal(nc_train_plan(recipe, small, 2, &table, &e), NC_ELIMIT);
    assert_non_null(strstr(e.message, "what would help"));
    nc_buf_free(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(four_stages_make_a_model), cmocka_unit_test(frozen_parts_stay), cmocka_unit_test(kept_rows_change_no_bit),
        cmocka_unit_test(killed_at_any_stage_it_goes_on), cmocka_unit_test(a_plan_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

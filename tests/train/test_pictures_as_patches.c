/* test_pictures_as_patches.c - fine-tuning a model whose tower takes pictures of any size and videos: the recipe's keys for the tower, the merger and the pictures' sizes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "formats/safetensors.h"
#include "train/seen_folder.h"

/* ShareGPT's form, as LLaMA-Factory's LLaVA samples have it: two pictures of different sizes in one question, a video in another. */
static int make_folder(void **state)
{
    static const char data[] = "[{\"messages\": [{\"role\": \"user\", \"content\": \"<image>Which? <image>\"}, {\"role\": \"assistant\", \"content\": \"The left.\"}], "
                               "\"images\": [\"a.png\", \"b.png\"], \"videos\": []}, "
                               "{\"messages\": [{\"role\": \"user\", \"content\": \"<video>움직여?\"}, {\"role\": \"assistant\", \"content\": \"공이 굴러.\"}], \"images\": [], \"videos\": [\"c.mp4\"]}]";
    (void)state;
    return make_seen(data, "model_name_or_path: " MODEL "\nstage: sft\ndataset: seen\ncutoff_len: 256\nlearning_rate: 5.0e-3\nmax_steps: 12\nlogging_steps: 1\nper_device_train_batch_size: 2\nseed: 3\n");
}

static bool changed(const char *model, const char *name)
{
    nc_safetensors *before = NULL, *after = NULL;
    nc_error e = { 0 };
    assert_int_equal(nc_safetensors_open(MODEL, &before, &e), 0);
    assert_int_equal(nc_safetensors_open(model, &after, &e), 0);
    const nc_stored *a = nc_safetensors_find(before, name), *b = nc_safetensors_find(after, name);
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal(a->bytes, b->bytes);
    bool is = memcmp(a->data, b->data, a->bytes);
    nc_safetensors_close(before);
    nc_safetensors_close(after);
    return is;
}

static const char tower[] = "visual.blocks.0.attn.qkv.weight", patches[] = "visual.patch_embed.proj.weight", merger[] = "visual.merger.mlp.0.weight", text[] = "model.layers.0.mlp.up_proj.weight";

static void parts_are_frozen_as_the_recipe_says(void **state)
{
    static const char *const merger_too[] = { "freeze_multi_modal_projector=false", NULL }, *const tower_only[] = { "freeze_vision_tower=false", "freeze_language_model=true", NULL },
                      *const lora[] = { "finetuning_type=lora", "lora_target=all", NULL };
    (void)state;
    nc_train_report r = train("usual", NULL);
    assert_true(r.last_loss < r.first_loss);
    assert_true(changed(r.model, text) && !changed(r.model, tower) && !changed(r.model, patches) && !changed(r.model, merger));
    r = train("merger", merger_too);
    assert_true(changed(r.model, text) && changed(r.model, merger) && !changed(r.model, tower));
    r = train("tower", tower_only);
    assert_true(!changed(r.model, text) && !changed(r.model, merger) && changed(r.model, tower) && changed(r.model, patches));
    r = train("lora", lora);
    assert_true(r.last_loss < r.first_loss);
    assert_true(changed(r.model, text) && !changed(r.model, tower) && !changed(r.model, merger));
}

/* The tower in the program makes no difference to which micro-batch a sample lies in; smaller pictures make shorter samples. */
static void sizes_and_batches(void **state)
{
    static const char *const alone[] = { "per_device_train_batch_size=1", "gradient_accumulation_steps=2", "max_steps=1", NULL }, *const both[] = { "max_steps=1", NULL },
                      *const small[] = { "max_steps=1", "image_max_pixels=200", "video_max_pixels=200", "video_fps=1.0", NULL };
    (void)state;
    nc_train_report one = train("alone", alone), two = train("both", both), less = train("small", small);
    assert_true(fabs(one.first_loss - two.first_loss) <= 1e-6 * fabs(two.first_loss));      /* a sum over micro-batches: its order is theirs */
    assert_int_equal(one.tokens, two.tokens);
    assert_true(less.tokens < two.tokens);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(parts_are_frozen_as_the_recipe_says), cmocka_unit_test(sizes_and_batches) };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

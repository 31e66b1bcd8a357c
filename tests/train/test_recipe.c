/* Recipes: keys, overrides, stages, and what a mistake's message names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "train/recipe.h"

static nc_recipe *parse(const char *text, char *const *overrides, int n)
{
    nc_recipe *r = NULL;
    nc_error e = { 0 };
    if (nc_recipe_parse(nc_str_of(text), "r.yaml", overrides, n, &r, &e) < 0)
        fail_msg("%s", e.message);
    return r;
}

static void fails(const char *text, const char *override, const char *words)
{
    nc_recipe *r = NULL;
    nc_error e = { 0 };
    char *list[] = { (char *)override };
    assert_true(nc_recipe_parse(nc_str_of(text), "r.yaml", list, override != NULL, &r, &e) < 0);
    if (!strstr(e.message, words))
        fail_msg("\"%s\" does not say \"%s\"", e.message, words);
}

static const char staged[] = "dataset: d\nlearning_rate: 1e-3\noutput_dir: out\nstages:\n  - {name: one, stage: pt}\n  - {name: two, stage: sft, learning_rate: 2.0e-4, dataset: e}\n";

static void lays_stages_over_the_common_keys(void **state)
{
    (void)state;
    nc_recipe *r = parse(staged, NULL, 0);
    assert_int_equal(r->count, 2);
    assert_true(r->staged);
    assert_string_equal(r->stages[0].objective->stage, "pt");
    assert_true(r->stages[0].packing);
    assert_true(r->stages[0].learning_rate == 1e-3);
    assert_true(r->stages[1].learning_rate == 2e-4);
    assert_false(r->stages[1].packing);
    assert_string_equal(r->stages[1].dataset, "e");
    assert_string_equal(r->output_dir, "out");
    nc_recipe_free(r);
}

static void overrides_win(void **state)
{
    char *list[] = { "learning_rate=3e-5", "stages.two.max_steps=7", "stages.0.seed=5", "bf16=true" };
    (void)state;
    nc_recipe *r = parse(staged, list, 4);
    assert_true(r->stages[1].learning_rate == 3e-5 && r->stages[0].learning_rate == 3e-5);
    assert_int_equal(r->stages[1].max_steps, 7);
    assert_int_equal(r->stages[0].max_steps, -1);
    assert_int_equal(r->stages[0].seed, 5);
    assert_int_equal(r->stages[0].data_seed, 5);
    assert_true(r->stages[0].bf16);
    nc_recipe_free(r);
}

/* LLaMA-Factory's recipes write a bare no, which YAML reads as false. */
static void a_bare_no_is_a_word_where_one_may_stand(void **state)
{
    (void)state;
    nc_recipe *r = parse("dataset: d\neval_strategy: no\nsave_strategy: no\n", NULL, 0);
    assert_string_equal(r->stages[0].eval_strategy, "no");
    assert_string_equal(r->stages[0].save_strategy, "no");
    nc_recipe_free(r);
    fails("dataset: d\neval_strategy: yes\n", NULL, "r.yaml:2: eval_strategy must be a string");
    fails("dataset: d\noptim: no\n", NULL, "r.yaml:2: optim must be a string");
}

/* The hash names what changes the result: a rate does, the spacing of log lines does not. */
static void hashes_what_matters(void **state)
{
    (void)state;
    nc_recipe *a = parse("dataset: d\nseed: 1\n", NULL, 0), *b = parse("dataset: d\nseed: 1\nlogging_steps: 3\nsave_steps: 9\n", NULL, 0), *c = parse("dataset: d\nseed: 2\n", NULL, 0);
    assert_true(a->stages[0].hash == b->stages[0].hash);
    assert_true(a->stages[0].hash != c->stages[0].hash);
    nc_recipe_free(a);
    nc_recipe_free(b);
    nc_recipe_free(c);
}

static void warns_once_of_keys_without_meaning(void **state)
{
    (void)state;
    nc_recipe *r = parse("dataset: d\nplot_loss: true\nstages: [{stage: pt}, {stage: sft}]\n", NULL, 0);
    const char *first = strstr(r->warnings.p, "plot_loss");
    assert_non_null(first);
    assert_null(strstr(first + 1, "plot_loss"));
    nc_recipe_free(r);
}

static void names_mistakes(void **state)
{
    (void)state;
    fails("dataset: d\n\nlearning_rat: 1\n", NULL, "r.yaml:3: unknown key \"learning_rat\"; nearest is learning_rate");
    fails("dataset: d\nmax_steps: many\n", NULL, "r.yaml:2: max_steps must be a whole number");
    fails("dataset: d\nper_device_train_batch_size: 0\n", NULL, "at least 1");
    fails("dataset: d\nbf16: 3\n", NULL, "true or false");
    fails("dataset: d\nlearning_rate: -1\n", NULL, "at least 0");
    fails("dataset: d\nstage: dpo\n", NULL, "none of pt, sft, contrastive");
    fails("dataset: d\nfinetuning_type: freeze\n", NULL, "none of full, lora");
    fails("stage: sft\n", NULL, "dataset is not set");
    fails("dataset: d\ntrain_from_scratch: true\n", NULL, "needs model_config");
    fails("- a\n", NULL, "a recipe is a map");
    fails("dataset: d\nstages: 3\n", NULL, "stages must be a list");
    fails("dataset: [d\n", NULL, "r.yaml");
    fails("dataset: d\n", "novalue", "write key=value");
    fails(staged, "stages.three.seed=1", "no stage of that number or name");
    fails("dataset: d\n", "sead=1", "the command line: unknown key \"sead\"; nearest is seed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lays_stages_over_the_common_keys), cmocka_unit_test(overrides_win), cmocka_unit_test(a_bare_no_is_a_word_where_one_may_stand), cmocka_unit_test(hashes_what_matters),
        cmocka_unit_test(warns_once_of_keys_without_meaning), cmocka_unit_test(names_mistakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

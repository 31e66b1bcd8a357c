/* The routers' balance loss in a run: as much of it as the recipe says, else as the model's config says, once a step however it is cut; a model without
 * experts is refused. That the loss itself is transformers' is checked on golden folders (nunchi verify: aux.*).
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/file.h"
#include "base/log.h"
#include "train/train.h"

enum { TOP = 2, EXPERTS = 4 };
static char folder[64];

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
    for (int i = 0; i < 64; i++)
        nc_buf_printf(&b, "line %d says %d and then %d more\n", i, i * 7 % 13, i * 5 % 11);
    snprintf(path, sizeof path, "%s/lines.txt", folder);
    int status = nc_file_write(path, b.p, b.n, &e);
    nc_buf_free(&b);
    return status;
}

static int remove_folder(void **state)
{
    nc_error e = { 0 };
    (void)state;
    return nc_remove_tree(folder, &e);
}

/* The loss of the first step, before any update; more: lines of the model's config, keys: of the recipe. */
static int first_loss(const char *model, const char *more, const char *keys, double *loss, nc_error *e)
{
    nc_buf b = { 0 };
    char path[100], out[160];
    nc_train_report r = { 0 };
    nc_buf_printf(&b, "stage: pt\ndataset: lines.txt\ndataset_dir: %s\noverwrite_output_dir: true\ntrain_from_scratch: true\ntokenizer_vocab_size: 300\ntemplate: chatml\n"
                      "cutoff_len: 64\nmax_steps: 1\nlearning_rate: 1.0e-3\nmodel_config:\n  model_type: %s\n  hidden_size: 32\n"
                      "  intermediate_size: 48\n  num_hidden_layers: 2\n  num_attention_heads: 4\n  num_key_value_heads: 2\n  max_position_embeddings: 64\n%s%s", folder, model, more, keys);
    snprintf(path, sizeof path, "%s/r.yaml", folder);
    int status = nc_file_write(path, b.p, b.n, e);
    nc_buf_free(&b);
    snprintf(out, sizeof out, "output_dir=%s/out", folder);
    if (status == 0)
        status = nc_train(path, (char *[]){ out }, 1, &r, e);
    *loss = r.first_loss;
    return status;
}

static double mixture(const char *more, const char *keys)
{
    char config[300];
    nc_error e = { 0 };
    double loss;
    snprintf(config, sizeof config, "  num_local_experts: %d\n  num_experts_per_tok: %d\n%s", EXPERTS, TOP, more);
    if (first_loss("mixtral", config, keys, &loss, &e) < 0)
        fail_msg("%s", e.message);
    return loss;
}

static void as_much_as_is_said(void **state)
{
    const char *asked = "  output_router_logits: true\n  router_aux_loss_coef: 0.5\n";
    (void)state;
    double plain = mixture("", ""), half = mixture("", "moe_aux_loss_coef: 0.5\n"), whole = mixture("", "moe_aux_loss_coef: 1\n"), balance = whole - plain;
    assert_true(balance >= TOP - 1e-3 && balance < EXPERTS);       /* even use of all: TOP */
    assert_true(fabs(half - plain - balance / 2) < 1e-4);
    assert_true(mixture(asked, "") == half);
    assert_true(mixture("  router_aux_loss_coef: 0.5\n", "") == plain);
    assert_true(mixture(asked, "moe_aux_loss_coef: 0\n") == plain);
    double cut = mixture("", "moe_aux_loss_coef: 1\nper_device_train_batch_size: 4\ngradient_accumulation_steps: 2\n") - plain;
    assert_true(cut >= TOP - 1e-3 && cut < EXPERTS);
}

static void needs_experts(void **state)
{
    nc_error e = { 0 };
    double loss;
    (void)state;
    assert_true(first_loss("llama", "", "moe_aux_loss_coef: 0.01\n", &loss, &e) < 0);
    assert_non_null(strstr(e.message, "moe_aux_loss_coef"));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(as_much_as_is_said), cmocka_unit_test(needs_experts) };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

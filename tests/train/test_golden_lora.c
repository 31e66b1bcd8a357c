/* Training on the small base model against the reference: full and with LoRA adapters of every way to name targets. Loss, gradients, ten AdamW
 * steps, the factors after them, and the merged weights.
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
#include "load/load.h"
#include "load/peft.h"
#include "optim/optim.h"

static const char root[] = "tests/golden/train";
enum { rows = 2, columns = 23, most_sites = 64 };

struct golden {
    nc_loaded *l;
    nc_lora *lora;
    nc_safetensors *f, *batch_file;
    nc_program *p;
    nc_value *loss;
    nc_batch *batch;
    nc_site *trained[most_sites];
    int count;
    const char *prefix;
    double lr;
    int32_t ids[rows][columns], targets[rows][columns];
};

static const nc_stored *tensor(nc_safetensors *f, const char *name)
{
    const nc_stored *t = nc_safetensors_find(f, name);
    if (!t)
        fail_msg("%s is not in the golden file", name);
    return t;
}

static void read_batch(struct golden *g)
{
    const nc_stored *ids = tensor(g->batch_file, "train.input_ids"), *labels = tensor(g->batch_file, "train.labels");
    nc_seq seqs[rows];
    nc_error e = { 0 };
    int counted = 0;
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) {
            g->ids[i][j] = (int32_t)nc_dtype_load(NC_I64, ids->data, i * columns + j);
            double next = j + 1 < columns ? nc_dtype_load(NC_I64, labels->data, i * columns + j + 1) : -100;
            g->targets[i][j] = next < 0 ? -1 : (int32_t)next;
            counted += next >= 0;
        }
    for (int i = 0; i < rows; i++)
        seqs[i] = (nc_seq){ .ids = g->ids[i], .count = columns, .slot = -1, .targets = g->targets[i], .weight = 1.0f / (float)counted };
    g->batch = nc_batch_new();
    assert_int_equal(nc_model_prepare(g->l->model, g->batch, seqs, rows, &e), 0);
}

static void build(struct golden *g)
{
    nc_model *m = g->l->model;
    nc_error e = { 0 };
    g->p = nc_program_new(&(nc_program_options){ .compute = NC_F32, .training = true });
    nc_build *b = nc_program_build(g->p);
    nc_head head;
    nc_build_capacity(b, "tokens", rows * columns);
    nc_build_capacity(b, "scored", rows * columns);
    m->family->head(m->self, &head);
    nc_value *h = nc_gather_rows(b->g, nc_model_decoder(m, b, NULL), nc_in(b, "score.rows", NC_I32, "scored", 0));
    nc_value *logp = nc_head_logprob(b->g, h, nc_site_value(b, head.w), nc_site_value(b, head.bias), nc_in(b, "score.targets", NC_I32, "scored", 0), head.scale, head.soft_cap);
    g->loss = nc_nll(b->g, logp, nc_in(b, "score.weights", NC_F32, "scored", 0));
    if (nc_program_finish(g->p, g->loss, 1, &e) < 0 || nc_program_allocate(g->p, NULL, &e) < 0)
        fail_msg("%s", e.message);
}

static void open_case(struct golden *g, const char *name)
{
    char path[200];
    nc_error e = { 0 };
    static const char *const all[] = { "*", NULL };
    bool lora = strcmp(name, "base") != 0;
    *g = (struct golden){ .prefix = lora ? "base_model.model." : "", .lr = lora ? 5e-3 : 1e-3 };
    snprintf(path, sizeof path, "%s/base", root);
    nc_load_options o = { .weights = { .compute = NC_F32, .kernels = nc_kernels_best() }, .train = lora ? NULL : all, .no_front = true };
    if (nc_load(path, &o, &g->l, &e) < 0 || nc_safetensors_open("tests/golden/train/base/golden.safetensors", &g->batch_file, &e) < 0)
        fail_msg("%s", e.message);
    snprintf(path, sizeof path, "%s/%s", root, name);
    if (lora && nc_peft_load(g->l->model, path, NC_F32, true, &g->lora, &e) < 0)
        fail_msg("%s", e.message);
    snprintf(path, sizeof path, "%s/%s/golden.safetensors", root, name);
    if (nc_safetensors_open(path, &g->f, &e) < 0)
        fail_msg("%s", e.message);
    for (int i = 0; !lora && i < g->l->model->site_count; i++)
        g->trained[g->count++] = g->l->model->sites[i];
    for (int i = 0; lora && i < g->lora->count; i++) {
        g->trained[g->count++] = &g->lora->pair[i]->a;
        g->trained[g->count++] = &g->lora->pair[i]->b;
    }
    read_batch(g);
    build(g);
}

static void close_case(struct golden *g)
{
    nc_program_free(g->p);
    nc_batch_free(g->batch);
    nc_lora_free(g->lora);
    nc_safetensors_close(g->f);
    nc_safetensors_close(g->batch_file);
    nc_loaded_free(g->l);
}

static double run(struct golden *g)
{
    nc_error e = { 0 };
    nc_run_options o = { .kernels = nc_kernels_best(), .training = true };
    if (nc_program_run(g->p, g->batch, &o, &e) < 0)
        fail_msg("%s", e.message);
    return ((const float *)g->loss->data)[0];
}

/* Within share of the largest of its tensor plus a thousandth of the largest of all. */
static void compare(const char *what, const char *name, const float *have, const nc_stored *want, double share, double largest_of_all)
{
    const float *w = want->data;
    int64_t n = nc_shape_count(&want->shape);
    double largest = 0, worst = 0;
    for (int64_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs(w[i]));
        worst = fmax(worst, fabs((double)have[i] - w[i]));
    }
    if (!(worst <= share * (largest + 1e-3 * largest_of_all)))
        fail_msg("%s %s: worst %g of %g", what, name, worst, largest);
}

static void check_gradients(struct golden *g)
{
    double largest = 0;
    char name[300];
    for (int i = 0; i < g->count; i++) {
        snprintf(name, sizeof name, "grad.%s%s", g->prefix, g->trained[i]->name);
        const nc_stored *t = tensor(g->f, name);
        for (int64_t j = 0; j < nc_shape_count(&t->shape); j++)
            largest = fmax(largest, fabs(((const float *)t->data)[j]));
    }
    for (int i = 0; i < g->count; i++) {
        snprintf(name, sizeof name, "grad.%s%s", g->prefix, g->trained[i]->name);
        compare("gradient", name, g->trained[i]->grad, tensor(g->f, name), 1e-4, largest);
    }
}

static void check_steps(struct golden *g)
{
    nc_optim_param params[most_sites];
    nc_optim_options o = nc_optim_defaults();
    nc_optim *optim = NULL;
    nc_error e = { 0 };
    const float *losses = tensor(g->f, "adamw.losses")->data, *norms = tensor(g->f, "adamw.grad_norms")->data;
    o.beta2 = 0.95;
    o.weight_decay = 0.1;
    for (int i = 0; i < g->count; i++)
        params[i] = (nc_optim_param){ .name = g->trained[i]->name, .count = nc_site_count(g->trained[i]), .value = g->trained[i]->master, .grad = g->trained[i]->grad, .lr_scale = 1,
                                      .weight_decay = -1 };
    if (nc_optim_new("adamw_torch", &o, params, g->count, &optim, &e) < 0)
        fail_msg("%s", e.message);
    for (int step = 0; step <= 10; step++) {
        for (int i = 0; i < g->count; i++)
            memset(g->trained[i]->grad, 0, sizeof(float) * (size_t)nc_site_count(g->trained[i]));
        double loss = run(g);
        if (fabs(loss - losses[step]) > 1e-4 * fabs(losses[step]))
            fail_msg("loss of step %d is %.7g, the reference's %.7g", step, loss, losses[step]);
        if (step == 10)
            break;
        double norm = nc_optim_norm(optim, NULL, nc_kernels_best());
        if (fabs(norm - norms[step]) > 2e-4 * norms[step])
            fail_msg("norm of step %d is %.7g, the reference's %.7g", step, norm, norms[step]);
        nc_optim_step(optim, NULL, nc_kernels_best(), g->lr, nc_clip_scale(norm, 1));
    }
    nc_optim_free(optim);
    for (int i = 0; i < g->count; i++) {
        char name[300];
        snprintf(name, sizeof name, "adamw.final.%s%s", g->prefix, g->trained[i]->name);
        if (nc_safetensors_find(g->f, name))
            compare("after ten steps", name, g->trained[i]->master, tensor(g->f, name), 1e-3, 0);
    }
}

/* The reference merged the adapter as it is in the file. */
static void check_merge(struct golden *g)
{
    nc_error e = { 0 };
    int compared = 0;
    nc_weights_options o = { .compute = NC_F32, .kernels = nc_kernels_best() };
    assert_int_equal(nc_lora_merge(g->lora, g->l->model, &o, &e), 0);
    for (int i = 0; i < g->l->model->site_count; i++) {
        char name[300];
        const nc_site *s = g->l->model->sites[i];
        snprintf(name, sizeof name, "merged.%s", s->name);
        const nc_stored *t = nc_safetensors_find(g->f, name);
        if (!t)
            continue;
        compare("merged", name, s->value.data, t, 1e-6, 0);
        compared++;
    }
    assert_true(compared > 0);
}

static void trains_as_the_reference(const char *name)
{
    struct golden g;
    open_case(&g, name);
    double loss = run(&g), want = ((const float *)tensor(g.f, "loss")->data)[0];
    if (fabs(loss - want) > 2e-5 * fabs(want))
        fail_msg("%s: loss %.7g, the reference's %.7g", name, loss, want);
    check_gradients(&g);
    if (g.lora) {
        struct golden merged;
        open_case(&merged, name);
        check_merge(&merged);
        close_case(&merged);
    }
    check_steps(&g);
    close_case(&g);
}

static void full(void **state) { (void)state; trains_as_the_reference("base"); }
static void lora(void **state) { (void)state; trains_as_the_reference("lora"); }
static void lora_all(void **state) { (void)state; trains_as_the_reference("lora-all"); }
static void lora_regex(void **state) { (void)state; trains_as_the_reference("lora-regex"); }
static void lora_layers(void **state) { (void)state; trains_as_the_reference("lora-layers"); }
static void rslora(void **state) { (void)state; trains_as_the_reference("rslora"); }

/* What was loaded is saved and loads again, bit for bit. */
static void saves_what_it_loads(void **state)
{
    struct golden g;
    nc_error e = { 0 };
    nc_lora *again = NULL;
    char folder[] = "/tmp/nunchi-test-XXXXXX";
    (void)state;
    assert_non_null(mkdtemp(folder));
    open_case(&g, "rslora");
    nc_lora_config c = { .r = 4, .alpha = 8, .rslora = true };
    c.r = (int)g.lora->pair[0]->a.shape.dim[0];
    c.alpha = g.lora->pair[0]->alpha;
    assert_int_equal(nc_peft_save(g.lora, &c, folder, &e), 0);
    if (nc_peft_load(g.l->model, folder, NC_F32, false, &again, &e) < 0)
        fail_msg("%s", e.message);
    assert_int_equal(again->count, g.lora->count);
    for (int i = 0; i < again->count; i++) {
        assert_memory_equal(again->pair[i]->a.value.data, g.lora->pair[i]->a.value.data, sizeof(float) * (size_t)nc_site_count(&again->pair[i]->a));
        assert_memory_equal(again->pair[i]->b.value.data, g.lora->pair[i]->b.value.data, sizeof(float) * (size_t)nc_site_count(&again->pair[i]->b));
        assert_true(again->pair[i]->scale == g.lora->pair[i]->scale);
    }
    nc_lora_free(again);
    close_case(&g);
    nc_remove_tree(folder, &e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full), cmocka_unit_test(lora), cmocka_unit_test(lora_all), cmocka_unit_test(lora_regex), cmocka_unit_test(lora_layers), cmocka_unit_test(rslora),
        cmocka_unit_test(saves_what_it_loads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

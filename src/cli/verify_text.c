/* verify_text.c - decoders over ids: logits and hidden rows of each sequence, loss and training on the third, greedy text from the second, bf16 runs. */
#include <math.h>
#include <stdio.h>

#include "cli/verify.h"

static const double OUTPUT_LIMIT = 2e-5;

/* hidden.k, tower.hidden.k, projector.out ...: every golden tensor a probe of that name answers for. */
static void compare_probes(nc_verify *v, nc_program *p, nc_arena *a)
{
    for (int i = 0; i < nc_program_probes(p); i++) {
        const char *name = nc_program_probe_name(p, i);
        const nc_stored *want = nc_safetensors_find(v->tensors, name) ? nc_verify_tensor(v, "%s", name) : NULL;
        int64_t n = 0;
        if (!want)
            continue;
        float *ours = nc_verify_probe(a, p, name, &n);
        nc_verify_compare(v, name, want, ours, n, OUTPUT_LIMIT, NULL, 1);
    }
}

static int check_sequence(nc_verify *v, nc_loaded *l, int k, bool probes, nc_error *e)
{
    const nc_stored *in = nc_verify_tensor(v, "in.input_ids.%d", k), *want = nc_verify_tensor(v, "out.logits.%d", k);
    int64_t n = 0, count = nc_shape_count(&in->shape);
    nc_arena *a = nc_arena_new();
    nc_batch *batch = nc_batch_new();
    nc_program *p = NULL;
    nc_seq seq = { .ids = nc_verify_ints(a, in), .count = (int)count, .slot = -1 };
    int status = nc_verify_build(v, l, NC_F32, false, &seq, 1, 0, &p, batch, e);
    if (status == 0) {
        float *ours = nc_verify_probe(a, p, "logits", &n);
        int64_t kept = want ? nc_shape_count(&want->shape) : 0;      /* some goldens hold the last positions only */
        if (want)
            nc_verify_compare(v, want->name, want, n >= kept ? ours + n - kept : NULL, kept, OUTPUT_LIMIT, NULL, 1);
        if (probes)
            compare_probes(v, p, a);
    }
    nc_program_free(p);
    nc_batch_free(batch);
    nc_arena_free(a);
    return status;
}

/* bf16: root-mean-square error against the f32 golden at most 1.5 x that of the reference's own bf16 run. */
static int check_bf16(nc_verify *v, int k, nc_error *e)
{
    const nc_stored *in = nc_verify_tensor(v, "in.input_ids.%d", k), *theirs = nc_verify_tensor(v, "out.logits_bf16.%d", k), *f32 = nc_verify_tensor(v, "out.logits.%d", k);
    nc_load_options o = { .weights = { NC_BF16, true, v->pool, v->kernels }, .no_front = true };
    nc_loaded *l = NULL;
    NC_TRY(nc_load(v->folder, &o, &l, e));
    nc_arena *a = nc_arena_new();
    nc_batch *batch = nc_batch_new();
    nc_program *p = NULL;
    nc_seq seq = { .ids = nc_verify_ints(a, in), .count = (int)nc_shape_count(&in->shape), .slot = -1 };
    int status = nc_verify_build(v, l, NC_BF16, false, &seq, 1, 0, &p, batch, e);
    if (status == 0) {
        int64_t n = 0;
        float *ours = nc_verify_probe(a, p, "logits", &n);
        double our_error = 0, their_error = 0;
        for (int64_t i = 0; i < n; i++) {
            double w = nc_dtype_load(f32->dtype, f32->data, i);
            our_error += (ours[i] - w) * (ours[i] - w);
            their_error += pow(nc_dtype_load(theirs->dtype, theirs->data, i) - w, 2);
        }
        nc_verify_add(v, theirs->name, sqrt(our_error / (double)n), sqrt(our_error / their_error), 1.5, "root-mean-square error over the reference's");
    }
    nc_program_free(p);
    nc_batch_free(batch);
    nc_arena_free(a);
    nc_loaded_free(l);
    return status;
}

/* Sequence k, which another tensor of the file was made from. */
static int sequence(nc_verify *v, int k, const char *of, const nc_stored **in, nc_error *e)
{
    *in = nc_verify_tensor(v, "in.input_ids.%d", k);
    return *in ? 0 : nc_fail(e, NC_EFORMAT, "golden.safetensors has %s, but not in.input_ids.%d it was made from", of, k);
}

static int check_training(nc_verify *v, int k, nc_error *e)
{
    const nc_stored *in;
    NC_TRY(sequence(v, k, "a loss", &in, e));
    int n = (int)nc_shape_count(&in->shape);
    int32_t *ids = nc_verify_ints(v->arena, in), *targets = NC_NEW_ARRAY(v->arena, int32_t, n);
    for (int i = 0; i < n; i++)
        targets[i] = i + 1 < n ? ids[i + 1] : -1;
    nc_batch *batch = nc_batch_new();
    nc_seq seq = { .ids = ids, .count = n, .slot = -1, .targets = targets, .weight = 1.0f / (float)(n - 1) };
    int status = nc_verify_aux(v, &seq, e);
    if (status == 0)
        status = nc_verify_build(v, v->f32, NC_F32, true, &seq, 1, 0, &v->program, batch, e);
    if (status == 0)
        status = nc_verify_train(v, v->program, batch, e);
    nc_batch_free(batch);
    return status;
}

static int run_all(nc_verify *v, nc_error *e)
{
    char name[48];
    for (int k = 0; k < 4; k++) {
        snprintf(name, sizeof name, "in.input_ids.%d", k);
        if (nc_verify_has(v, name))
            NC_TRY(check_sequence(v, v->f32, k, k == 2, e));
        snprintf(name, sizeof name, "out.logits_bf16.%d", k);
        if (nc_verify_has(v, name))
            NC_TRY(check_bf16(v, k, e));
    }
    if (nc_verify_has(v, "generate.new_ids")) {
        const nc_stored *in;
        NC_TRY(sequence(v, 1, "generate.new_ids", &in, e));
        nc_seq from = { .ids = nc_verify_ints(v->arena, in), .count = (int)nc_shape_count(&in->shape), .slot = -1 };
        NC_TRY(nc_verify_generate_from(v, &from, e));
        NC_TRY(nc_verify_cases(v, &from, NULL, e));
    }
    NC_TRY(nc_verify_generate_batch(v, e));
    return nc_verify_has(v, "loss") ? check_training(v, 2, e) : 0;
}

static bool takes(const nc_verify *v)
{
    return v->f32->model->family->decoder != NULL;
}

const nc_verify_kind nc_verify_kind_text = { "text", takes, run_all };

/* golden_sampling.c - golden/sampling: what each logits processor, and the chains of them, make of rows of logits; and the softmax after a chain. */
#include <math.h>
#include <stdlib.h>

#include "base/file.h"
#include "cli/golden.h"
#include "cli/worse.h"
#include "formats/safetensors.h"
#include "infer/decoding.h"

typedef struct table { const nc_stored *t; int rows, columns; } table;
typedef struct sampling { nc_arena *arena; const nc_safetensors *tensors; } sampling;

static int find(const sampling *s, const char *name, table *out, nc_error *e)
{
    const nc_stored *t = nc_safetensors_find(s->tensors, name);
    *out = (table){ t, 0, 0 };
    if (!t || t->shape.rank != 2)
        return nc_fail(e, NC_EFORMAT, "%s is no table of golden.safetensors", name);
    out->rows = (int)t->shape.dim[0];
    out->columns = (int)t->shape.dim[1];
    return 0;
}

static double at(const table *t, int row, int column) { return nc_dtype_load(t->t->dtype, t->t->data, (int64_t)(row % t->rows) * t->columns + column); }

static int32_t *ids_of(nc_arena *a, const table *t, int row)
{
    int32_t *out = NC_NEW_ARRAY(a, int32_t, t->columns + 1);
    for (int i = 0; i < t->columns; i++)
        out[i] = (int32_t)at(t, row, i);
    return out;
}

/* Largest difference; infinite where one removes what the other keeps. */
static double difference(const float *ours, const table *want, int row)
{
    double worst = 0;
    for (int i = 0; i < want->columns; i++) {
        double w = at(want, row, i), d = isinf(w) && isinf(ours[i]) ? 0 : fabs(w - ours[i]);
        worst = nc_worse(worst, d);
    }
    return worst;
}

static void softmax(float *x, int n)
{
    nc_process_renormalize(x, n);
    for (int i = 0; i < n; i++)
        x[i] = (float)exp(x[i]);
}

static int run_case(const sampling *s, const nc_json *c, double *worst, nc_error *e)
{
    const nc_json *o = nc_json_get(c, "options");
    const char *name = nc_json_string(nc_json_get(c, "name"), "");
    table logits, ids, source, want, probabilities;
    nc_decoding d;
    nc_decoding_init(&d);
    d.sample.top_k = 0;
    NC_TRY(nc_decoding_read(&d, s->arena, o, "golden.json", e));
    NC_TRY(find(s, nc_json_string(nc_json_get(c, "logits"), "logits"), &logits, e));
    NC_TRY(find(s, nc_json_string(nc_json_get(c, "ids"), "ids"), &ids, e));
    NC_TRY(find(s, "encoder_ids", &source, e));
    NC_TRY(find(s, nc_arena_printf(s->arena, "out.%s", name), &want, e));
    bool chain = nc_safetensors_find(s->tensors, nc_arena_printf(s->arena, "probs.%s", name)) != NULL;
    if (chain)
        NC_TRY(find(s, nc_arena_printf(s->arena, "probs.%s", name), &probabilities, e));
    int64_t prompt = nc_json_int(nc_json_get(o, "prompt_length"), nc_json_int(nc_json_get(o, "begin_index"), ids.columns));
    if (want.columns != logits.columns || prompt < 0 || prompt > ids.columns || (chain && probabilities.columns != logits.columns))
        return nc_fail(e, NC_EFORMAT, "the case's tables do not fit each other");
    d.sample.process = &d.process;
    float *row = NC_NEW_ARRAY(s->arena, float, logits.columns + 1);
    *worst = 0;
    for (int r = 0; r < logits.rows; r++) {
        int32_t *text = ids_of(s->arena, &ids, r);
        for (int i = 0; i < logits.columns; i++)
            row[i] = (float)at(&logits, r, i);
        nc_sampler *x = nc_sampler_new(&d.sample, nc_kernels_best(), logits.columns, text, (int)prompt);
        nc_sampler_knows(x, ids_of(s->arena, &source, r), source.columns, d.max_length);
        for (int i = (int)prompt; i < ids.columns; i++)
            nc_sampler_saw(x, text[i]);
        nc_sampler_process(x, row);
        nc_sampler_free(x);
        *worst = nc_worse(*worst, difference(row, &want, r));
        if (chain) {
            softmax(row, logits.columns);
            *worst = nc_worse(*worst, difference(row, &probabilities, r));
        }
    }
    return 0;
}

void nc_golden_run_sampling(nc_golden_tally *t, const char *path, const char *folder)
{
    const double limit = 1e-5;
    nc_arena *a = nc_arena_new();
    nc_safetensors *tensors = NULL;
    nc_json *golden = NULL;
    nc_error e = { 0 };
    int status = nc_json_load(a, nc_path_join(a, folder, "golden.json"), &golden, &e);
    if (status == 0)
        status = nc_safetensors_open(nc_path_join(a, folder, "golden.safetensors"), &tensors, &e);
    if (status < 0)
        nc_golden_line(t, NC_CASE_FAILED, path, "%s", e.message);
    NC_JSON_EACH(c, status < 0 ? NULL : nc_json_get(golden, "cases")) {
        const char *name = nc_arena_printf(a, "%s/%s", path, nc_json_string(nc_json_get(c, "name"), "?"));
        sampling s = { a, tensors };
        double worst = 0;
        if (run_case(&s, c, &worst, &e) < 0)
            nc_golden_line(t, NC_CASE_FAILED, name, "%s", e.message);
        else
            nc_golden_line(t, worst <= limit ? NC_CASE_OK : NC_CASE_FAILED, name, "worst difference %.2e of %.0e allowed", worst, limit);
    }
    nc_safetensors_close(tensors);
    nc_arena_free(a);
}

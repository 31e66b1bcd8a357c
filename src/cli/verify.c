/* verify.c - the frame of a verification: opening, comparing, counting what was not looked at. */
#include "cli/verify.h"
#include "nn/moe.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define KIND(name) extern const nc_verify_kind nc_verify_kind_##name;
#include "cli/verify_kinds.list"
#undef KIND
static const nc_verify_kind *const kinds[] = {
#define KIND(name) &nc_verify_kind_##name,
#include "cli/verify_kinds.list"
#undef KIND
};

const nc_stored *nc_verify_tensor(nc_verify *v, const char *format, ...)
{
    char name[256];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    const nc_stored *t = nc_safetensors_find(v->tensors, name);
    for (int i = 0; t && i < nc_safetensors_count(v->tensors); i++)
        if (nc_safetensors_at(v->tensors, i) == t)
            v->used[i] = true;
    return t;
}

bool nc_verify_has(const nc_verify *v, const char *name)
{
    return nc_safetensors_find(v->tensors, name) != NULL;
}

void nc_verify_add(nc_verify *v, const char *name, double abs, double rel, double limit, const char *note)
{
    if (v->count == v->capacity) {
        v->capacity = v->capacity ? 2 * v->capacity : 64;
        v->quantity = nc_xrealloc(v->quantity, sizeof *v->quantity * (size_t)v->capacity);
    }
    v->quantity[v->count++] = (nc_quantity){ nc_arena_strdup(v->arena, name), abs, rel, limit, rel <= limit, note ? nc_arena_strdup(v->arena, note) : NULL };
}

void nc_verify_compare(nc_verify *v, const char *name, const nc_stored *want, const float *ours, int64_t count, double limit, const bool *skip_row, int64_t columns)
{
    int64_t n = nc_shape_count(&want->shape);
    double worst = 0, largest = 0;
    if (n != count || !ours) {
        nc_verify_add(v, name, INFINITY, INFINITY, limit, ours ? "another number of values" : "not computed");
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        double w = nc_dtype_load(want->dtype, want->data, i), d = fabs(w - (double)ours[i]);
        if (skip_row && skip_row[i / columns])
            continue;
        worst = nc_worse(worst, d);
        if (fabs(w) > largest)
            largest = fabs(w);
    }
    double rel = worst == 0 ? 0 : worst / (largest > 0 ? largest : 1);
    double absolute = nc_verify_output_limit(v);
    double allowed = largest > 0 && absolute / largest > limit ? absolute / largest : limit;
    allowed = fmax(allowed, nc_exact_limit(v, name));
    nc_verify_add(v, name, worst, rel, allowed, NULL);
}

void nc_verify_ids(nc_verify *v, const char *name, const nc_stored *want, const int32_t *ours, int64_t count)
{
    int64_t n = nc_shape_count(&want->shape), wrong = n == count ? 0 : n;
    for (int64_t i = 0; n == count && i < n; i++)
        wrong += (int64_t)nc_dtype_load(want->dtype, want->data, i) != ours[i];
    nc_verify_add(v, name, (double)wrong, (double)wrong, 0, "ids that differ");
}

static double stated(const nc_verify *v, const char *path)
{
    return nc_json_double(nc_json_path(v->golden, path), 0);
}

double nc_verify_spread(const nc_verify *v, const char *key, double fallback)
{
    nc_buf path = { 0 };
    nc_buf_printf(&path, "reference_spread.%s", key);
    double s = 4 * stated(v, path.p);
    nc_buf_free(&path);
    return s > fallback ? s : fallback;
}

/* golden.json states the spread of outputs under one of several names, all absolute differences. */
double nc_verify_output_limit(const nc_verify *v)
{
    static const char *const keys[] = { "reference_spread.sdpa_vs_eager", "reference_spread.float64_vs_float32", "tolerance.sdpa_vs_eager", "tolerance.float64_vs_float32" };
    double largest = 0;
    for (int i = 0; i < NC_COUNT(keys); i++)
        if (stated(v, keys[i]) > largest)
            largest = stated(v, keys[i]);
    const nc_json *spread = nc_json_get(v->golden, "spread");
    NC_JSON_EACH(item, spread)
        NC_JSON_EACH(value, item)
            if (nc_json_double(value, 0) > largest)
                largest = nc_json_double(value, 0);
    return 4 * largest;
}

float *nc_verify_probe(nc_arena *a, const nc_program *p, const char *name, int64_t *count)
{
    nc_value *x = nc_program_value(p, name);
    if (!x || !x->data)
        return NULL;
    int64_t counts[NC_MAX_COUNTS];
    nc_graph *g = nc_program_graph((nc_program *)(uintptr_t)p);
    for (int i = 0; i < nc_graph_counts(g); i++)
        counts[i] = nc_program_count(p, nc_graph_count_name(g, i));
    *count = nc_live_count(x, counts);
    float *out = NC_NEW_ARRAY(a, float, *count + 1);
    int64_t columns = nc_shape_last(&x->shape), row_stride = x->shape.rank > 1 ? x->stride[x->shape.rank - 2] : columns;
    for (int64_t i = 0; i < *count; i++)
        out[i] = (float)nc_dtype_load(x->dtype, x->data, nc_value_is_contiguous(x) ? i : i / columns * row_stride + i % columns);
    return out;
}

int32_t *nc_verify_ints(nc_arena *a, const nc_stored *t)
{
    int64_t n = nc_shape_count(&t->shape);
    int32_t *out = NC_NEW_ARRAY(a, int32_t, n + 1);
    for (int64_t i = 0; i < n; i++)
        out[i] = (int32_t)nc_dtype_load(t->dtype, t->data, i);
    return out;
}

/* The program of a decoder over these sequences: hidden rows, "logits" of every row (no training) or "loss". */
int nc_verify_build(nc_verify *v, nc_loaded *l, nc_dtype compute, bool train, const nc_seq *seq, int seqs, int pictures, nc_program **out, nc_batch *batch, nc_error *e)
{
    nc_model *m = l->model;
    NC_TRY(nc_model_prepare(m, batch, seq, seqs, e));
    nc_program_options o = { .compute = compute, .training = train, .probes = true };
    nc_program_size(&o, seq, seqs);
    nc_program *p = nc_program_new(&o);
    nc_build *b = nc_program_build(p);
    b->balance = train && v->balance > 0;
    if (m->family->encoder) {
        nc_build_capacities(b, batch);
    } else {
        nc_build_capacity(b, "tokens", nc_batch_count(batch, "tokens"));
        nc_build_capacity(b, "scored", nc_batch_count(batch, "scored") + 1);
        if (m->family->capacity)
            m->family->capacity(m->self, b, pictures);
    }
    nc_value *loss = NULL, *h = nc_model_decoder(m, b, nc_model_reads(m, b, pictures > 0));
    nc_head head;
    m->family->head(m->self, &head);
    if (train) {
        nc_value *rows = nc_gather_rows(b->g, h, nc_in(b, "score.rows", NC_I32, "scored", 0));
        loss = nc_nll(b->g, nc_model_logprob(b, &head, rows), nc_in(b, "score.weights", NC_F32, "scored", 0));
        nc_value *aux = b->balance ? nc_moe_balance(b) : NULL;
        if (aux)
            loss = nc_add(b->g, loss, nc_affine(b->g, nc_probe(b, aux, "aux.loss"), v->balance, 0));
        nc_probe(b, loss, "loss");
    } else {
        nc_value *logits = nc_model_logits(b, &head, h);
        if (head.scale != 1)
            logits = nc_affine(b->g, logits, head.scale, 0);
        nc_probe(b, head.soft_cap > 0 ? nc_soft_cap(b->g, logits, head.soft_cap) : logits, "logits");
    }
    int status = nc_program_finish(p, loss, nc_pool_threads(v->pool), e);
    if (status == 0)
        status = nc_program_allocate(p, NULL, e);
    if (status == 0)
        status = nc_program_run(p, batch, &(nc_run_options){ .pool = v->pool, .kernels = v->kernels }, e);
    if (status < 0) {
        nc_program_free(p);
        return status;
    }
    *out = p;
    return 0;
}

/* train.* holds what a training run reads, and, of families with batch norm, what it gives. */
static bool is_training_input(const char *name)
{
    static const char *const outputs[] = { "train.loss", "train.logits", "train.grad.*", "train.buffer.*" };
    for (int i = 0; i < NC_COUNT(outputs); i++)
        if (nc_glob(outputs[i], name))
            return false;
    return nc_starts_with(name, "train.");
}

static void count_unchecked(nc_verify *v)
{
    for (int i = 0; i < nc_safetensors_count(v->tensors); i++) {
        const char *name = nc_safetensors_at(v->tensors, i)->name;
        if (v->used[i] || nc_starts_with(name, "in.") || is_training_input(name))
            continue;
        v->unchecked++;
        nc_verify_add(v, name, 0, 0, 0, "unchecked");
    }
}

static int open_files(nc_verify *v, const char *model, nc_error *e)
{
    const char *json = nc_path_join(v->arena, v->folder, "golden.json"), *file = nc_path_join(v->arena, v->folder, "golden.safetensors");
    if (!nc_file_exists(file))
        return nc_fail(e, NC_ENOTFOUND, "%s: no golden.safetensors; there is nothing to verify", v->folder);
    if (nc_file_exists(json))
        NC_TRY(nc_json_load(v->arena, json, &v->golden, e));
    NC_TRY(nc_safetensors_open(file, &v->tensors, e));
    v->used = NC_NEW_ARRAY(v->arena, bool, nc_safetensors_count(v->tensors) + 1);
    static const char *const all[] = { "*", NULL };
    nc_load_options o = { .weights = { NC_F32, false, v->pool, v->kernels }, .train = all };
    return nc_load(model, &o, &v->f32, e);
}

int nc_verify_run(const char *folder, const char *data, nc_pool *pool, nc_verify *v, nc_error *e)
{
    *v = (nc_verify){ .arena = nc_arena_new(), .data = data, .pool = pool, .kernels = nc_kernels_best() };
    v->folder = nc_is_dir(folder) ? nc_arena_strdup(v->arena, folder) : nc_path_dir(v->arena, folder);
    NC_TRY(open_files(v, folder, e));
    const nc_verify_kind *kind = NULL;
    for (int i = 0; i < NC_COUNT(kinds) && !kind; i++)
        kind = kinds[i]->takes(v) ? kinds[i] : NULL;
    if (!kind)
        return nc_fail(e, NC_EUNSUPPORTED, "%s: a %s alone has no outputs to verify", folder, v->f32->model->family->name);
    NC_TRY(kind->run(v, e));
    count_unchecked(v);
    v->passed = v->unchecked == 0;
    for (int i = 0; i < v->count; i++)
        v->passed = v->passed && v->quantity[i].pass;
    return 0;
}

double nc_verify_worst(const nc_verify *v)
{
    double worst = 0;
    for (int i = 0; i < v->count; i++) {
        const nc_quantity *q = &v->quantity[i];
        double part = q->limit > 0 ? q->rel / q->limit : q->rel;
        worst = part > worst ? part : worst;
    }
    return worst;
}

void nc_verify_free(nc_verify *v)
{
    nc_program_free(v->program);
    nc_exact_free(v->exact);
    nc_loaded_free(v->f32);
    nc_safetensors_close(v->tensors);
    free(v->quantity);
    nc_arena_free(v->arena);
}

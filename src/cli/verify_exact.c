/* verify_exact.c - the float64 twin of a case, and from it the distance of the reference's own f32 values from the exact ones. See verify.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/verify.h"

struct distance { const char *name; double relative; };
/* parted: the ten steps of two f32 runs part ways (their losses do), so that one final tensor says no more than all of them do. */
struct nc_exact { nc_loaded *loaded; struct distance *item; int count, capacity; double gradients, start; bool parted; };       /* start: the worst of what the first run gives */
struct moments { double *m, *v; };

int nc_exact_begin(nc_verify *v, nc_error *e)
{
    static const char *const all[] = { "*", NULL };
    nc_load_options o = { .weights = { NC_F64, false, v->pool, v->kernels }, .train = all, .no_front = true };
    v->exact = nc_xcalloc(1, sizeof *v->exact);
    return nc_load(v->folder, &o, &v->exact->loaded, e);
}

void nc_exact_free(struct nc_exact *x)
{
    if (!x)
        return;
    nc_loaded_free(x->loaded);
    free(x->item);
    free(x);
}

nc_loaded *nc_exact_loaded(struct nc_exact *x) { return x->loaded; }

/* A twin that is farther away than rounding takes two runs is another model: its distance excuses nothing. */
static const double most_apart = 2e-4, most_apart_gradients = 2e-3;

static double believed(double relative, double most) { return relative <= most ? 4 * relative : 0; }

double nc_exact_limit(const nc_verify *v, const char *name)
{
    const struct nc_exact *x = v->exact;
    if (!x)
        return 0;
    if (!strcmp(name, "grad"))
        return believed(x->gradients, most_apart_gradients);
    double worst = 0;
    bool is_step = nc_starts_with(name, "adamw."), any_final = x->parted && nc_starts_with(name, "adamw.final.");
    for (int i = 0; i < x->count; i++)
        if (!strcmp(x->item[i].name, name) || (any_final && nc_starts_with(x->item[i].name, "adamw.final.")))
            worst = fmax(worst, x->item[i].relative);
    /* Steps may part as far as they like, once the run they start from is the same. */
    return is_step ? (x->gradients <= most_apart_gradients && x->start <= most_apart ? 4 * worst : 0) : believed(worst, most_apart);
}

static void note(nc_verify *v, const char *name, double relative)
{
    struct nc_exact *x = v->exact;
    if (x->count == x->capacity) {
        x->capacity = x->capacity ? 2 * x->capacity : 64;
        x->item = nc_xrealloc(x->item, sizeof *x->item * (size_t)x->capacity);
    }
    x->item[x->count++] = (struct distance){ nc_arena_strdup(v->arena, name), relative };
    if (!nc_starts_with(name, "adamw."))
        x->start = fmax(x->start, relative);
}

/* floor: added to the tensor's largest magnitude. each: differences relative to their own values (losses). */
static double distance(const nc_stored *want, const double *exact, double floor, bool each)
{
    double worst = 0, largest = 0;
    for (int64_t i = 0; i < nc_shape_count(&want->shape); i++) {
        double w = nc_dtype_load(want->dtype, want->data, i), d = fabs(w - exact[i]);
        worst = fmax(worst, each ? d / fmax(fabs(w), 1e-30) : d);
        largest = fmax(largest, fabs(w));
    }
    return each ? worst : worst == 0 ? 0 : worst / (largest + floor);
}

static const nc_stored *find(const nc_verify *v, const char *name, int64_t count)
{
    const nc_stored *t = nc_safetensors_find(v->tensors, name);
    return t && nc_shape_count(&t->shape) == count ? t : NULL;
}

static double *values_of(nc_arena *a, const nc_program *p, const char *probe, int64_t *count)
{
    const nc_value *x = nc_program_value(p, probe);
    if (!x || !x->data)
        return NULL;
    *count = nc_shape_count(&x->shape);          /* all counts are fixed, or at their capacity */
    double *out = NC_NEW_ARRAY(a, double, *count + 1);
    for (int64_t i = 0; i < *count; i++)
        out[i] = nc_dtype_load(x->dtype, x->data, i);
    return out;
}

/* The largest magnitude of all gradients of a run, as limits take it. */
static double largest_gradient(const nc_verify *v, const char *prefix)
{
    double largest = 0;
    char start[64];
    snprintf(start, sizeof start, "%sgrad.", prefix);
    for (int i = 0; i < nc_safetensors_count(v->tensors); i++) {
        const nc_stored *t = nc_safetensors_at(v->tensors, i);
        for (int64_t j = 0; nc_starts_with(t->name, start) && j < nc_shape_count(&t->shape); j++)
            largest = fmax(largest, fabs(nc_dtype_load(t->dtype, t->data, j)));
    }
    return largest;
}

static const char *file_name(const nc_site *s) { return s->file_name && !s->stacked.parts ? s->file_name : s->name; }

/* Gradients, and what the run left in the sites, under "<prefix>grad." and "<values>". */
static void take_sites(nc_verify *v, nc_arena *a, const nc_program *p, const char *prefix, const char *values, bool gradients)
{
    const nc_model *m = v->exact->loaded->model;
    const double all = gradients ? largest_gradient(v, prefix) : 0;
    char name[300], probe[300];
    for (int i = 0; i < m->site_count; i++) {
        const nc_site *s = m->sites[i];
        int64_t n = 0;
        snprintf(name, sizeof name, "%sgrad.%s", prefix, file_name(s));
        snprintf(probe, sizeof probe, "grad.%s", s->name);
        double *g = gradients ? values_of(a, p, probe, &n) : NULL;
        const nc_stored *want = g ? find(v, name, n) : NULL;
        if (want)
            v->exact->gradients = fmax(v->exact->gradients, distance(want, g, 1e-3 * all, false));
        snprintf(name, sizeof name, "%s%s", values, file_name(s));
        if ((want = find(v, name, nc_site_count(s))))
            note(v, name, distance(want, s->value.data, 0, false));
    }
}

void nc_exact_take(nc_verify *v, const nc_program *p, const char *prefix, bool trained)
{
    nc_arena *a = nc_arena_new();
    char name[300];
    for (int i = 0; i < nc_program_probes(p); i++) {
        const char *probe = nc_program_probe_name(p, i);
        int64_t n = 0;
        double *ours = values_of(a, p, probe, &n);
        snprintf(name, sizeof name, "%s%s", prefix, *prefix && nc_starts_with(probe, "out.") ? probe + 4 : probe);
        const nc_stored *want = ours && !nc_starts_with(probe, "grad.") ? find(v, name, n) : NULL;
        if (want)
            note(v, name, distance(want, ours, 0, false));
    }
    if (trained) {
        snprintf(name, sizeof name, "%sbuffer.", prefix);
        take_sites(v, a, p, prefix, name, true);
    }
    nc_arena_free(a);
}

static double norm_of(const nc_model *m, const nc_program *p)
{
    nc_arena *a = nc_arena_new();
    double sum = 0;
    for (int i = 0; i < m->site_count; i++) {
        int64_t n = 0;
        double *g = values_of(a, p, nc_arena_printf(a, "grad.%s", m->sites[i]->name), &n);
        for (int64_t j = 0; g && j < n; j++)
            sum += g[j] * g[j];
    }
    nc_arena_free(a);
    return sqrt(sum);
}

/* torch.optim.AdamW: rate 1e-3, betas 0.9/0.95, eps 1e-8, decay 0.1, the gradient's norm clipped to 1. */
static void update(const nc_model *m, const nc_program *p, nc_arena *kept, struct moments *state, double norm, int step)
{
    const double clip = norm > 1 ? 1 / (norm + 1e-6) : 1, c1 = 1 - pow(0.9, step), c2 = sqrt(1 - pow(0.95, step));
    nc_arena *a = nc_arena_new();
    for (int i = 0; i < m->site_count; i++) {
        int64_t n = 0;
        double *g = values_of(a, p, nc_arena_printf(a, "grad.%s", m->sites[i]->name), &n), *w = m->sites[i]->value.data;
        if (g && !state[i].m)
            state[i] = (struct moments){ NC_NEW_ARRAY(kept, double, n), NC_NEW_ARRAY(kept, double, n) };
        for (int64_t j = 0; g && j < n; j++) {
            state[i].m[j] = 0.9 * state[i].m[j] + 0.1 * g[j] * clip;
            state[i].v[j] = 0.95 * state[i].v[j] + 0.05 * g[j] * clip * g[j] * clip;
            w[j] = w[j] * (1 - 1e-4) - 1e-3 / c1 * state[i].m[j] / (sqrt(state[i].v[j]) / c2 + 1e-8);
        }
    }
    nc_arena_free(a);
}

int nc_exact_steps(nc_verify *v, nc_program *p, const nc_batch *batch, nc_error *e)
{
    const nc_model *m = v->exact->loaded->model;
    nc_arena *a = nc_arena_new();
    struct moments *state = NC_NEW_ARRAY(a, struct moments, m->site_count + 1);
    double losses[11] = { 0 }, norms[10];
    int status = 0;
    for (int step = 0; step <= 10 && status == 0; step++) {
        int64_t n = 0;
        status = nc_program_run(p, batch, &(nc_run_options){ .pool = v->pool, .kernels = v->kernels, .training = true }, e);
        if (status == 0)
            losses[step] = values_of(a, p, "loss", &n)[0];
        if (status == 0 && step == 0)
            nc_exact_take(v, p, "train.", true);
        if (status == 0 && step < 10) {
            norms[step] = norm_of(m, p);
            update(m, p, a, state, norms[step], step + 1);
        }
    }
    if (status == 0) {
        const nc_stored *want;
        if ((want = find(v, "adamw.losses", 11)))
            note(v, "adamw.losses", distance(want, losses, 0, true));
        if ((want = find(v, "adamw.grad_norms", 10)))
            note(v, "adamw.grad_norms", distance(want, norms, 0, true));
        take_sites(v, a, p, "", "adamw.final.", false);
        v->exact->parted = nc_exact_limit(v, "adamw.losses") > 2e-5;
    }
    nc_arena_free(a);
    return status;
}

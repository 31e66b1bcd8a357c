/* build.c - a program: the graph a model's stages wrote, its inputs and spans bound by name to the tables of a batch. */
#include "nn/build.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_INPUTS = 64, MAX_SPANS = 16 };

struct input { nc_value *value; char name[48]; };
struct span_list { nc_spans spans; char name[48]; };
struct site_value { const nc_site *site; nc_value *value; };
struct probe { const char *name; nc_value *value; };

struct nc_program {
    nc_graph *g;
    nc_plan *plan;
    nc_build build;
    struct input input[MAX_INPUTS];
    int inputs;
    struct span_list spans[MAX_SPANS];
    int span_lists;
    struct site_value *site;      /* a model has a few hundred; searched only while building */
    int sites, site_capacity;
    struct probe *probe;
    int probes, probe_capacity;
    int64_t counts[NC_MAX_COUNTS];
    bool fixed[NC_MAX_COUNTS];
};

nc_program *nc_program_new(const nc_program_options *o)
{
    nc_program *p = nc_xcalloc(1, sizeof *p);
    p->g = nc_graph_new(o->compute);
    p->build = (nc_build){ .g = p->g, .program = p, .cache = o->cache, .training = o->training, .any_size = o->any_size, .masked = o->masked, .frozen = o->frozen, .recompute = o->recompute,
                           .given_rows = o->given_rows, .keep_rows = o->keep_rows, .probes = o->probes, .kept_probe = o->kept_probe, .picture_height = o->picture_height, .picture_width = o->picture_width };
    if (o->point)
        nc_build_point(&p->build, o->point, o->point_context);
    return p;
}

void nc_program_free(nc_program *p)
{
    if (!p)
        return;
    nc_plan_free(p->plan);
    nc_graph_free(p->g);
    free(p->site);
    free(p->probe);
    free(p);
}

nc_build *nc_program_build(nc_program *p) { return &p->build; }
nc_plan *nc_program_plan(nc_program *p) { return p->plan; }
nc_graph *nc_program_graph(nc_program *p) { return p->g; }

/* Gradients of an f64 program are values of the graph, "grad.<site>". */
static void keep_gradients(nc_program *p)
{
    for (int i = 0; i < p->sites; i++) {
        nc_value *leaf = p->site[i].value, *grad = leaf->wants_grad ? nc_graph_gradient(p->g, leaf) : NULL;
        char name[256];
        snprintf(name, sizeof name, "grad.%s", p->site[i].site->name);
        if (grad)
            nc_build_keep(&p->build, grad, name);
    }
}

int nc_program_finish(nc_program *p, nc_value *loss, int threads, nc_error *e)
{
    NC_TRY(nc_graph_check(p->g, e));
    if (loss) {
        nc_keep(p->g, loss);
        if (p->build.training)
            NC_TRY(nc_graph_backward(p->g, loss, p->build.recompute, e));
        if (p->build.training && nc_graph_compute(p->g) == NC_F64)
            keep_gradients(p);
    }
    return nc_plan_new(p->g, threads, &p->plan, e);
}

size_t nc_program_bytes(const nc_program *p) { return p->plan ? nc_plan_bytes(p->plan) : 0; }
int nc_program_allocate(nc_program *p, void *memory, nc_error *e) { return nc_plan_bind(p->plan, memory, e); }

nc_value *nc_program_value(const nc_program *p, const char *probe)
{
    for (int i = p->probes - 1; i >= 0; i--)
        if (!strcmp(p->probe[i].name, probe))
            return p->probe[i].value;
    return NULL;
}

int nc_program_probes(const nc_program *p) { return p->probes; }
const char *nc_program_probe_name(const nc_program *p, int i) { return p->probe[i].name; }

void nc_build_keep(nc_build *b, nc_value *x, const char *name)
{
    nc_program *p = b->program;
    if (nc_graph_failed(b->g))
        return;
    if (p->probes == p->probe_capacity) {
        p->probe_capacity = p->probe_capacity ? 2 * p->probe_capacity : 32;
        p->probe = nc_xrealloc(p->probe, sizeof *p->probe * (size_t)p->probe_capacity);
    }
    nc_keep(b->g, x);
    p->probe[p->probes++] = (struct probe){ nc_arena_strdup(nc_graph_arena(b->g), name), x };
}

int64_t nc_program_count(const nc_program *p, const char *name)
{
    for (int i = 0; i < nc_graph_counts(p->g); i++)
        if (!strcmp(nc_graph_count_name(p->g, i), name))
            return p->counts[i];
    return -1;
}

static int bind_counts(nc_program *p, const nc_batch *batch, nc_error *e)
{
    for (int i = 0; i < nc_graph_counts(p->g); i++) {
        const char *name = nc_graph_count_name(p->g, i);
        int64_t n = nc_batch_count(batch, name), capacity = nc_graph_capacity(p->g, i);
        if (n < 0)
            return nc_fail(e, NC_EINVAL, "the batch has no count '%s', which the program needs", name);
        if (n > capacity)
            return nc_fail(e, NC_ELIMIT, "%lld %s in a batch, but the program was planned for %lld", (long long)n, name, (long long)capacity);
        if (p->fixed[i] && n != capacity)
            return nc_fail(e, NC_EINVAL, "%lld %s in a batch, but the program takes exactly %lld", (long long)n, name, (long long)capacity);
        p->counts[i] = n;
    }
    return 0;
}

static int bind_input(nc_program *p, struct input *in, const nc_batch *batch, nc_error *e)
{
    const nc_tensor *t = nc_batch_find(batch, in->name);
    nc_value *v = in->value;
    int64_t rows = nc_live_rows(v, p->counts), count = nc_live_count(v, p->counts);
    if (!t) {
        if (rows == 0)
            return 0;
        return nc_fail(e, NC_EINVAL, "the batch has no table '%s', which the program needs", in->name);
    }
    if (t->dtype != v->dtype || nc_shape_count(&t->shape) != count)
        return nc_fail(e, NC_ESHAPE, "table '%s' holds %lld numbers of %s, the program needs %lld of %s", in->name, (long long)nc_shape_count(&t->shape),
                       nc_dtype_name(t->dtype), (long long)count, nc_dtype_name(v->dtype));
    v->data = t->data;
    return 0;
}

int nc_program_run(nc_program *p, const nc_batch *batch, const nc_run_options *o, nc_error *e)
{
    NC_TRY(bind_counts(p, batch, e));
    for (int i = 0; i < p->inputs; i++)
        NC_TRY(bind_input(p, &p->input[i], batch, e));
    for (int i = 0; i < p->span_lists; i++)
        p->spans[i].spans = nc_batch_spans(batch, p->spans[i].name);
    nc_run_options run = *o;
    run.counts = p->counts;
    run.training = p->build.training && o->training;
    return nc_plan_run(p->plan, &run, e);
}

enum { MAX_FULL = 48 };

static const char *full_name(const nc_build *b, const char *name, char out[MAX_FULL])
{
    if (!b->part)
        return name;
    snprintf(out, MAX_FULL, "%s%s", b->part, name);
    return out;
}

void nc_build_capacity(nc_build *b, const char *count, int64_t capacity)
{
    char full[MAX_FULL];
    nc_graph_count(b->g, full_name(b, count, full), capacity);
}

void nc_build_capacities(nc_build *b, const nc_batch *batch)
{
    const char *name;
    for (int i = 0; (name = nc_batch_count_name(batch, i)); i++)
        nc_build_capacity(b, name, nc_batch_count(batch, name));
}

void nc_build_fixed(nc_build *b, const char *count, int64_t n)
{
    char full[MAX_FULL];
    int c = nc_graph_count(b->g, full_name(b, count, full), n);
    if (c >= 0 && c < NC_MAX_COUNTS)
        b->program->fixed[c] = true;
}

static int find_count(nc_build *b, const char *name)
{
    char full[MAX_FULL];
    name = full_name(b, name, full);
    for (int i = 0; i < nc_graph_counts(b->g); i++)
        if (!strcmp(nc_graph_count_name(b->g, i), name))
            return i;
    nc_graph_mistake(b->g, NC_EINVAL, "no capacity was set for the count '%s'", name);
    return -1;
}

nc_value *nc_in(nc_build *b, const char *name, nc_dtype t, const char *count, int64_t columns)
{
    char full[MAX_FULL];
    name = full_name(b, name, full);
    nc_program *p = b->program;
    for (int i = 0; i < p->inputs; i++)
        if (!strcmp(p->input[i].name, name))
            return p->input[i].value;
    int c = find_count(b, count);
    if (c < 0 || p->inputs == MAX_INPUTS || strlen(name) >= sizeof p->input[0].name) {
        nc_graph_mistake(b->g, NC_ELIMIT, "input '%s' cannot be added", name);
        return nc_graph_poison(b->g);
    }
    int64_t rows = nc_graph_capacity(b->g, c);
    nc_shape s = columns ? NC_SHAPE(rows, columns) : NC_SHAPE(rows);
    struct input *in = &p->input[p->inputs++];
    strcpy(in->name, name);
    return in->value = nc_input(b->g, in->name, t, s, p->fixed[c] ? -1 : c);
}

const nc_spans *nc_in_spans(nc_build *b, const char *name)
{
    char full[MAX_FULL];
    name = full_name(b, name, full);
    nc_program *p = b->program;
    for (int i = 0; i < p->span_lists; i++)
        if (!strcmp(p->spans[i].name, name))
            return &p->spans[i].spans;
    if (p->span_lists == MAX_SPANS || strlen(name) >= sizeof p->spans[0].name) {
        nc_graph_mistake(b->g, NC_ELIMIT, "spans '%s' cannot be added", name);
        return &p->spans[0].spans;
    }
    strcpy(p->spans[p->span_lists].name, name);
    return &p->spans[p->span_lists++].spans;
}

/* A trained site in a bf16 run is read in bf16 and its gradient is added in f32; both are STATE the site owns. */
static nc_value *make_leaf(nc_build *b, nc_site *s)
{
    nc_value *v = nc_state(b->g, s->name, s->value.dtype, s->shape, s->value.data);
    v->packed = s->packed;
    if (b->training && s->trainable && !(s->flags & NC_SITE_BUFFER)) {
        v->wants_grad = v->has_grad = true;
        if (s->grad && nc_graph_compute(b->g) != NC_F64) {
            v->grad_into = nc_state(b->g, s->name, NC_F32, s->shape, s->grad);
            v->grad_into->squares = &s->squares;
        }
    }
    return v;
}

nc_value *nc_site_value(nc_build *b, nc_site *s)
{
    nc_program *p = b->program;
    if (!s)
        return NULL;
    for (int i = 0; i < p->sites; i++)
        if (p->site[i].site == s)
            return p->site[i].value;
    if (!s->value.data && !s->packed) {
        nc_graph_mistake(b->g, NC_EINVAL, "weight %s has no value yet", s->name);
        return nc_graph_poison(b->g);
    }
    if (p->sites == p->site_capacity) {
        p->site_capacity = p->site_capacity ? 2 * p->site_capacity : 128;
        p->site = nc_xrealloc(p->site, sizeof *p->site * (size_t)p->site_capacity);
    }
    nc_value *v = make_leaf(b, s);
    p->site[p->sites++] = (struct site_value){ s, v };
    return v;
}

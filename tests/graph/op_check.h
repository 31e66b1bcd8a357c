/* op_check.h - what every op's test states, in one call: op_check(&(op_case){ .name = "...", .build = f, .in = { ... } }).
 *
 * The truth is the op in an f64 graph on scalar kernels. Against it: f32 and bf16 graphs on every ISA level of this CPU, values and gradients.
 * Gradients of the f64 graph are checked by central differences of sum(r * y) with random r. Bits must be the same for 1, 2 and 3 threads,
 * for strided views as for contiguous inputs, and for live rows in a larger capacity as without; rows beyond the live ones are not touched (they hold NaN
 * in inputs and a pattern in the output); no live row at all runs. Gradients of weights that go into a state: written by a run with fresh gradients, whatever
 * was there, and added by the next.
 *
 *     static nc_value *build(nc_graph *g, nc_value *const *in, const void *arg) { return nc_rms_norm(g, in[0], in[1], 1e-6, 0); }
 *     op_check(&(op_case){ .name = "rms_norm", .build = build, .in = { { NC_SHAPE(5, 7), .counted = true }, { NC_SHAPE(7), .state = true, .f32 = true } } });
 */
#ifndef TESTS_GRAPH_OP_CHECK_H
#define TESTS_GRAPH_OP_CHECK_H
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/rng.h"
#include "graph/op.h"

enum { OP_INPUTS = 12, OP_PROBES = 24 };

typedef struct op_input {
    nc_shape shape;                  /* with `counted`, dim[0] rows are live, and the count's capacity varies; all counted inputs share one count */
    bool counted;
    int scale;                       /* counted: dim[0] = live number * scale; 0 means 1 */
    bool scalar;                     /* rank 0 is meant (an unset entry ends the list) */
    double low, high;                /* random values uniform in [low, high); both 0: normal */
    const int32_t *ints;             /* an I32 input with these values; no gradient */
    bool state;                      /* a weight: nc_state instead of nc_input */
    bool f32;                        /* stays F32 in a bf16 graph */
    bool no_grad;
    bool no_strided;                 /* never given as a view */
} op_input;

typedef struct op_case {
    const char *name;
    nc_value *(*build)(nc_graph *g, nc_value *const *in, const void *arg);
    const void *arg;
    op_input in[OP_INPUTS];
    double tol_f32, tol_bf16;        /* of the largest magnitude; 0: 1e-5, 1.5e-2. Gradients: 4 times as much */
    double tol_grad;                 /* central differences; 0: 1e-6 of the largest gradient */
    double tol_grad_f32, tol_grad_bf16;
    bool no_bf16, no_f64_truth;      /* no_f64_truth: the truth is f32 on scalar kernels, gradients are not probed */
    bool no_grad, no_strided;
    bool no_live;                    /* capacity may not vary (host tables fix the rows) */
    uint64_t seed;
} op_case;

/* How one run is made. */
typedef struct op_way { nc_dtype compute; nc_isa isa; int threads, extra; bool strided, grad; } op_way;

typedef struct op_session {
    const op_case *c;
    op_way way;
    bool into;                       /* gradients of weights go into states */
    nc_arena *a;
    nc_graph *g;
    nc_plan *plan;
    void *memory;
    nc_value *in[OP_INPUTS], *leaf[OP_INPUTS], *y, *dy, *grad[OP_INPUTS];
    double *value[OP_INPUTS], *seed; /* what goes in, as doubles */
    int64_t live;                    /* of the count */
    int inputs;
} op_session;

static int op_inputs(const op_case *c)
{
    int n = 0;

    while (n < OP_INPUTS && (c->in[n].shape.rank > 0 || c->in[n].scalar))
        n++;
    return n;
}

static nc_pool *op_pool(int threads)
{
    static nc_pool *pools[4];

    if (threads < 2)
        return NULL;
    if (!pools[threads])
        pools[threads] = nc_pool_new(threads);
    return pools[threads];
}

static int64_t op_rows(const op_input *i) { return i->counted ? i->shape.dim[0] / (i->scale ? i->scale : 1) : 0; }

static nc_dtype op_dtype(const op_input *i, nc_dtype compute) { return i->ints ? NC_I32 : i->f32 && compute == NC_BF16 ? NC_F32 : compute; }

/* Random values, the same for every run of the case; bf16: rounded, so that the truth starts from the same numbers. */
static void op_values(const op_case *c, int input, bool bf16, double *to)
{
    const op_input *i = &c->in[input];
    nc_rng r = nc_rng_new(c->seed + 1, (uint64_t)input);

    for (int64_t k = 0, n = nc_shape_count(&i->shape); k < n; k++) {
        double v = i->low == 0 && i->high == 0 ? nc_rng_normal(&r) : i->low + (i->high - i->low) * nc_rng_uniform(&r);
        to[k] = i->ints ? i->ints[k] : bf16 && !i->f32 ? (double)nc_bf16_to_f32(nc_f32_to_bf16((float)v)) : (double)(float)v;
    }
}

/* Leaf of input i: capacity rows where counted, five more columns where it is to be a view. */
static void op_leaf(op_session *s, int i)
{
    const op_input *in = &s->c->in[i];
    nc_shape shape = in->shape;
    char name[16];
    int count = -1, last = shape.rank - 1;
    bool view = s->way.strided && shape.rank >= 2 && !in->ints && !in->no_strided && !in->state;

    snprintf(name, sizeof name, "in%d", i);
    if (view)
        shape.dim[last] += 5;
    if (in->counted) {
        count = nc_graph_count(s->g, "rows", op_rows(in) + s->way.extra);
        shape.dim[0] = (op_rows(in) + s->way.extra) * (in->scale ? in->scale : 1);
    }
    nc_dtype t = op_dtype(in, s->way.compute);
    size_t bytes = nc_dtype_bytes(t, nc_shape_count(&shape));
    if (in->counted && in->scale > 1) {                     /* [capacity, scale, ...] seen as [capacity * scale, ...] */
        nc_shape whole = { .rank = shape.rank + 1 };
        whole.dim[0] = shape.dim[0] / in->scale;
        whole.dim[1] = in->scale;
        for (int k = 1; k < shape.rank; k++)
            whole.dim[k + 1] = shape.dim[k];
        s->leaf[i] = nc_input(s->g, name, t, whole, count);
    } else if (in->state)
        s->leaf[i] = nc_state(s->g, name, t, shape, NULL);
    else
        s->leaf[i] = nc_input(s->g, name, t, shape, count);
    s->leaf[i]->data = nc_arena_alloc(s->a, bytes + 64);
    s->leaf[i]->wants_grad = s->way.grad && !in->ints && !in->no_grad;
    if (s->into && in->state && s->leaf[i]->wants_grad) {
        float *sum = nc_arena_alloc(s->a, nc_shape_count(&shape) * sizeof *sum + 64);
        for (int64_t k = 0; k < nc_shape_count(&shape); k++)
            sum[k] = NAN;
        s->leaf[i]->grad_into = nc_state(s->g, "sum", NC_F32, shape, sum);
    }
    s->in[i] = in->counted && in->scale > 1 ? nc_reshape(s->g, s->leaf[i], shape) : s->leaf[i];
    if (view)
        s->in[i] = nc_slice(s->g, s->in[i], last, 3, in->shape.dim[last]);
}

/* Writes value[i] into the leaf; what is not of the value (rows beyond the live ones, columns beside the view) is NaN. */
static void op_fill(op_session *s, int i)
{
    const op_input *in = &s->c->in[i];
    nc_value *leaf = s->leaf[i];
    int64_t total = nc_shape_count(&leaf->shape), width = nc_shape_last(&in->shape), wide = nc_shape_last(&leaf->shape), n = nc_shape_count(&in->shape);
    int64_t shift = wide > width && in->shape.rank >= 2 ? 3 : 0;

    for (int64_t k = 0; k < total; k++)
        nc_dtype_store(leaf->dtype, leaf->data, k, in->ints ? 1 << 30 : (double)NAN);
    for (int64_t k = 0; k < n; k++)
        nc_dtype_store(leaf->dtype, leaf->data, shift ? k / width * wide + k % width + shift : k, s->value[i][k]);
}

static void op_run_after(op_session *s, bool fresh)
{
    nc_error e = { 0 };
    int64_t counts[1] = { s->live };
    nc_run_options o = { .pool = op_pool(s->way.threads), .kernels = nc_kernels_for(s->way.isa), .counts = counts, .seed = 7, .step = 3, .training = true,
                         .fresh_gradients = fresh };

    memset(s->memory, 0xa5, nc_plan_bytes(s->plan));
    if (nc_plan_run(s->plan, &o, &e) < 0)
        fail_msg("%s: %s", s->c->name, e.message);
}

static void op_run(op_session *s) { op_run_after(s, true); }

static void op_check_built(op_session *s, int rc, nc_error *e)
{
    if (rc < 0)
        fail_msg("%s (%s graph): %s", s->c->name, nc_dtype_name(s->way.compute), e->message);
}

static op_session *op_session_into(const op_case *c, op_way way, bool bf16_values, bool into)
{
    nc_arena *a = nc_arena_new();
    op_session *s = NC_NEW(a, op_session);
    nc_error e = { 0 };

    *s = (op_session){ .c = c, .way = way, .into = into, .a = a, .g = nc_graph_new(way.compute), .inputs = op_inputs(c) };
    for (int i = 0; i < s->inputs; i++) {
        op_leaf(s, i);
        s->value[i] = NC_NEW_ARRAY(a, double, nc_shape_count(&c->in[i].shape) + 1);
        op_values(c, i, bf16_values, s->value[i]);
        op_fill(s, i);
        if (c->in[i].counted)
            s->live = op_rows(&c->in[i]);
    }
    s->y = c->build(s->g, s->in, c->arg);
    op_check_built(s, nc_graph_check(s->g, &e), &e);
    nc_keep(s->g, s->y);
    if (way.grad) {
        s->dy = nc_input(s->g, "dy", s->y->dtype, s->y->shape, s->y->count_scale == 1 ? s->y->count : -1);
        s->dy->count = s->y->count;
        s->dy->count_scale = s->y->count_scale;
        op_check_built(s, nc_graph_backward_from(s->g, s->y, s->dy, false, &e), &e);
        for (int i = 0; i < s->inputs; i++)
            if ((s->grad[i] = nc_graph_gradient(s->g, s->leaf[i])))
                nc_keep(s->g, s->grad[i]);
        int64_t n = nc_shape_count(&s->y->shape);
        s->dy->data = nc_arena_alloc(a, nc_dtype_bytes(s->dy->dtype, n) + 64);
        s->seed = NC_NEW_ARRAY(a, double, n + 1);
        nc_rng r = nc_rng_new(c->seed + 99, 1);
        for (int64_t k = 0; k < n; k++) {
            s->seed[k] = (double)nc_bf16_to_f32(nc_f32_to_bf16((float)nc_rng_normal(&r)));
            nc_dtype_store(s->dy->dtype, s->dy->data, k, s->seed[k]);
        }
    }
    op_check_built(s, nc_plan_new(s->g, 3, &s->plan, &e), &e);
    s->memory = aligned_alloc(64, (nc_plan_bytes(s->plan) / 64 + 1) * 64);
    op_check_built(s, nc_plan_bind(s->plan, s->memory, &e), &e);
    return s;
}

static op_session *op_session_new(const op_case *c, op_way way, bool bf16_values) { return op_session_into(c, way, bf16_values, false); }

static void op_session_free(op_session *s)
{
    nc_plan_free(s->plan);
    nc_graph_free(s->g);
    free(s->memory);
    nc_arena_free(s->a);
}

static int64_t op_live_count(const op_session *s, const nc_value *v) { return nc_live_count(v, &s->live); }

/* Live elements of v as doubles, in the arena. */
static double *op_read(const op_session *s, const nc_value *v)
{
    int64_t n = op_live_count(s, v);
    double *out = NC_NEW_ARRAY(s->a, double, n + 1);

    for (int64_t k = 0; k < n; k++) {
        int64_t rest = k, at = 0;
        for (int a = v->shape.rank - 1; a > 0; a--) {
            at += rest % v->shape.dim[a] * v->stride[a];
            rest /= v->shape.dim[a];
        }
        out[k] = nc_dtype_load(v->dtype, v->data, v->shape.rank ? at + rest * v->stride[0] : 0);
    }
    return out;
}

static void op_same_bits(const op_session *s, const op_session *t, const char *what)
{
    int64_t n = op_live_count(s, s->y);
    const double *x = op_read(s, s->y), *y = op_read(t, t->y);

    if (n != op_live_count(t, t->y))
        fail_msg("%s: %s: other size", s->c->name, what);
    for (int64_t k = 0; k < n; k++)
        if (memcmp(&x[k], &y[k], sizeof *x))
            fail_msg("%s: %s: %s %s element %lld: %.9g instead of %.9g", s->c->name, what, nc_dtype_name(s->way.compute), nc_isa_name(t->way.isa),
                     (long long)k, y[k], x[k]);
}

static void op_close(const op_session *s, const char *what, const double *got, const double *want, int64_t n, double tolerance)
{
    double largest = 0;

    for (int64_t k = 0; k < n; k++)
        if (isfinite(want[k]) && fabs(want[k]) > largest)
            largest = fabs(want[k]);
    for (int64_t k = 0; k < n; k++) {
        bool same = isfinite(want[k]) ? fabs(got[k] - want[k]) <= tolerance * largest + 1e-30 : (isnan(want[k]) ? isnan(got[k]) : got[k] == want[k]);
        if (!same)
            fail_msg("%s: %s in a %s graph on %s: element %lld of %lld is %.9g, should be %.9g (largest %.3g, tolerance %.1e)", s->c->name, what,
                     nc_dtype_name(s->way.compute), nc_isa_name(s->way.isa), (long long)k, (long long)n, got[k], want[k], largest, tolerance);
    }
}

static double op_loss(op_session *s)
{
    double loss = 0;

    op_run(s);
    const double *y = op_read(s, s->y);
    for (int64_t k = 0, n = op_live_count(s, s->y); k < n; k++)
        loss += y[k] * s->seed[k];
    return loss;
}

/* d sum(r*y) / dx by (f(x+h) - f(x-h)) / 2h at a few elements of each input. */
static void op_probe(const op_case *c)
{
    op_session *s = op_session_new(c, (op_way){ NC_F64, NC_ISA_SCALAR, 1, 0, false, true }, false);
    double *grad[OP_INPUTS] = { 0 }, overall = 0, largest[OP_INPUTS] = { 0 };
    nc_rng r = nc_rng_new(c->seed + 5, 5);

    op_run(s);
    for (int i = 0; i < s->inputs; i++)
        if (s->grad[i]) {
            grad[i] = op_read(s, s->grad[i]);
            for (int64_t k = 0, n = op_live_count(s, s->grad[i]); k < n; k++)
                largest[i] = fmax(largest[i], fabs(grad[i][k]));
            overall = fmax(overall, largest[i]);
        }
    for (int i = 0; i < s->inputs; i++) {
        int64_t n = nc_shape_count(&c->in[i].shape), probes = n < OP_PROBES ? n : OP_PROBES;
        if (c->in[i].ints || c->in[i].no_grad)
            continue;
        for (int64_t p = 0; p < probes; p++) {
            int64_t k = n <= OP_PROBES ? p : (int64_t)nc_rng_below(&r, (uint64_t)n);
            double x = s->value[i][k], h = 1e-5 * fmax(1, fabs(x));
            s->value[i][k] = x + h, op_fill(s, i);
            double up = op_loss(s);
            s->value[i][k] = x - h, op_fill(s, i);
            double down = op_loss(s);
            s->value[i][k] = x, op_fill(s, i);
            double want = (up - down) / (2 * h), got = grad[i] ? grad[i][k] : 0;
            if (!(fabs(want - got) <= (c->tol_grad ? c->tol_grad : 1e-6) * (largest[i] + 1e-3 * overall) + 1e-9))
                fail_msg("%s: gradient of input %d at %lld is %.9g, by differences %.9g (largest %.3g)", c->name, i, (long long)k, got, want, largest[i]);
        }
    }
    op_session_free(s);
}

/* Rows beyond the live ones of a lone node's output still hold the pattern. */
static void op_untouched(const op_session *s)
{
    const nc_value *y = s->y;
    size_t from = nc_dtype_bytes(y->dtype, op_live_count(s, y)), to = nc_dtype_bytes(y->dtype, nc_shape_count(&y->shape));

    if (nc_graph_nodes(s->g) != 1 || y->base || y->count < 0)
        return;
    for (size_t k = from; k < to; k++)
        if (((const uint8_t *)y->data)[k] != 0xa5)
            fail_msg("%s: a row beyond the live ones was written (byte %zu)", s->c->name, k);
}

static bool op_has_count(const op_case *c)
{
    for (int i = 0; i < op_inputs(c); i++)
        if (c->in[i].counted)
            return true;
    return false;
}

/* Gradients of weights in states that held NaN are those of s; a second run doubles them. */
static void op_check_into(const op_session *s, double tolerance)
{
    op_session *other = op_session_into(s->c, s->way, s->way.compute == NC_BF16, true);
    for (int run = 1; run <= 2; run++) {
        op_run_after(other, run == 1);
        for (int i = 0; i < s->inputs; i++) {
            if (!s->grad[i] || !other->leaf[i]->grad_into)
                continue;
            int64_t n = op_live_count(s, s->grad[i]);
            double *want = op_read(s, s->grad[i]);
            for (int64_t k = 0; k < n; k++)
                want[k] *= run;
            op_close(other, run == 1 ? "fresh gradient in a state" : "gradient added to a state", op_read(other, other->leaf[i]->grad_into), want, n, run == 1 ? 1e-7 : tolerance);
        }
    }
    op_session_free(other);
}

/* One type on one level: close to the truth; same bits however it is run. */
static void op_check_level(const op_case *c, const op_session *truth, nc_dtype t, nc_isa isa)
{
    bool grad = !c->no_grad, bf16 = t == NC_BF16;
    op_session *s = op_session_new(c, (op_way){ t, isa, 1, 0, false, grad }, bf16);
    double tol = bf16 ? (c->tol_bf16 ? c->tol_bf16 : 1.5e-2) : c->tol_f32 ? c->tol_f32 : 1e-5;
    double tol_grad = bf16 ? (c->tol_grad_bf16 ? c->tol_grad_bf16 : 4 * tol) : c->tol_grad_f32 ? c->tol_grad_f32 : 4 * tol;
    op_session *other;

    op_run(s);
    op_close(s, "output", op_read(s, s->y), op_read(truth, truth->y), op_live_count(s, s->y), tol);
    for (int i = 0; i < s->inputs; i++)
        if (s->grad[i])
            op_close(s, c->in[i].state ? "gradient of a weight" : "gradient of an input", op_read(s, s->grad[i]), op_read(truth, truth->grad[i]),
                     op_live_count(s, s->grad[i]), tol_grad);
    if (grad)
        op_check_into(s, tol_grad);
    for (int threads = 2; threads <= 3; threads++) {
        other = op_session_new(c, (op_way){ t, isa, threads, 0, false, grad }, bf16);
        op_run(other);
        op_same_bits(s, other, "threads");
        for (int i = 0; i < s->inputs; i++)
            if (s->grad[i])
                for (int64_t k = 0, n = op_live_count(s, s->grad[i]); k < n; k++)
                    if (nc_dtype_load(s->grad[i]->dtype, s->grad[i]->data, k) != nc_dtype_load(s->grad[i]->dtype, other->grad[i]->data, k))
                        fail_msg("%s: gradient %d element %lld depends on threads (%d)", c->name, i, (long long)k, threads);
        op_session_free(other);
    }
    if (!c->no_strided) {
        other = op_session_new(c, (op_way){ t, isa, 1, 0, true, false }, bf16);
        op_run(other);
        op_same_bits(s, other, "strided inputs");
        op_session_free(other);
    }
    if (!c->no_live && op_has_count(c)) {
        other = op_session_new(c, (op_way){ t, isa, 2, 5, false, false }, bf16);
        op_run(other);
        op_same_bits(s, other, "larger capacity");
        op_untouched(other);
        op_session_free(other);
        other = op_session_new(c, (op_way){ t, isa, 1, 2, false, grad }, bf16);
        other->live = 0;
        op_run(other);
        op_session_free(other);
    }
    op_session_free(s);
}

static void __attribute__((unused)) op_check(const op_case *c)
{
    nc_dtype types[] = { NC_F32, NC_BF16 };

    if (!c->no_grad && !c->no_f64_truth)
        op_probe(c);
    for (int t = 0; t < (c->no_bf16 ? 1 : 2); t++) {
        op_way way = { c->no_f64_truth ? NC_F32 : NC_F64, NC_ISA_SCALAR, 1, 0, false, !c->no_grad };
        op_session *truth = op_session_new(c, way, types[t] == NC_BF16);
        op_run(truth);
        for (int isa = NC_ISA_SCALAR; isa <= (int)nc_isa_of_cpu(); isa++)
            op_check_level(c, truth, types[t], (nc_isa)isa);
        op_session_free(truth);
    }
}

/* The build of case c must be refused with this code and a message that holds `text`. */
static void __attribute__((unused)) op_check_refused(const op_case *c, int code, const char *text)
{
    nc_graph *g = nc_graph_new(NC_F32);
    nc_value *in[OP_INPUTS] = { 0 };
    nc_error e = { 0 };

    for (int i = 0; i < op_inputs(c); i++) {
        int count = c->in[i].counted ? nc_graph_count(g, "rows", op_rows(&c->in[i])) : -1;
        in[i] = nc_input(g, "in", op_dtype(&c->in[i], NC_F32), c->in[i].shape, count);
    }
    c->build(g, in, c->arg);
    assert_int_equal(nc_graph_check(g, &e), code);
    if (!strstr(e.message, text))
        fail_msg("%s: message \"%s\" does not say \"%s\"", c->name, e.message, text);
    nc_graph_free(g);
}
#endif

/* batch_norm.c - each column of the rows normalized by statistics (Ioffe & Szegedy 2015), and running statistics.
 *
 *   x [N, C], w, b [C];  y = (x - mean) rstd w + b,  rstd = 1 / sqrt(var + eps)
 *   frozen: mean, var are inputs;                 dx = dy w rstd
 *   else of the N live rows, var biased;          dx = w rstd (dy - mean(dy) - h mean(dy h)),  h = (x - mean) rstd
 *   both:                                         dw = sum dy h,  db = sum dy
 *   running: state = (1 - momentum) state + momentum x, in the state's own memory; or state + 1
 * Output 2 is the variance a running statistic takes, N / (N - 1) var. Not frozen it depends on the batch, by definition. Kernels: kernels/batch_norm.h.
 */
#include "graph/op.h"
#include "kernels/batch_norm.h"

#include <math.h>

typedef struct attr { double eps; bool frozen; } attr;
typedef struct job { const nc_node *n; const nc_run *r; int64_t rows, C; char *v[8]; } job;

enum { GRAIN_BYTES = 32768 };

static bool wants(const nc_value *v) { return v && (v->has_grad || v->wants_grad); }
static size_t wide(const nc_value *x) { return x->dtype == NC_F64 ? 8 : 4; }
static size_t column_bytes(const nc_value *x) { return ((size_t)x->shape.dim[1] * wide(x) + 63) & ~(size_t)63; }
static double get(const nc_value *x, const void *p, int64_t i) { return x->dtype == NC_F64 ? ((const double *)p)[i] : (double)((const float *)p)[i]; }
static void set(const nc_value *x, void *p, int64_t i, double v)
{
    if (x->dtype == NC_F64)
        ((double *)p)[i] = v;
    else
        ((float *)p)[i] = (float)v;
}
static double value(const nc_value *v, int64_t i, double otherwise) { return v ? nc_dtype_load(v->dtype, v->data, i) : otherwise; }

static int check(const nc_node *n, nc_error *e, int first, int last)
{
    const nc_value *x = n->in[0];

    NC_TRY(nc_infer_compute(n, 0, e));
    NC_TRY(nc_infer_rank(n, 0, 2, e));
    for (int i = first; i <= last; i++)
        if (n->in[i]) {
            NC_TRY(nc_infer_compute(n, i, e));
            NC_TRY(nc_infer_dims(n, i, e, 1, (int64_t[]){ x->shape.dim[1] }));
            if ((n->in[i]->dtype == NC_F64) != (x->dtype == NC_F64))
                return nc_infer_fail(n, e, NC_ESHAPE, "x is %s, a column's value %s", nc_dtype_name(x->dtype), nc_dtype_name(n->in[i]->dtype));
        }
    return 0;
}

static int infer(nc_graph *g, nc_node *n, nc_error *e)
{
    NC_TRY(check(n, e, 1, 4));
    if (NC_ATTR(n, attr)->frozen && (!n->in[3] || !n->in[4]))
        return nc_infer_fail(n, e, NC_ESHAPE, "frozen statistics must be given");
    NC_TRY(nc_infer_same(g, n, e));
    n->outputs = 4;
    for (int i = 1; i < 4; i++)
        nc_infer_out(n, i, nc_graph_wide(g), NC_SHAPE(n->in[0]->shape.dim[1]), -1, 1);
    return 0;
}

static job job_of(const nc_node *n, const nc_run *r, int vectors)
{
    job j = { .n = n, .r = r, .rows = nc_live_rows(n->in[0], r->counts), .C = n->in[0]->shape.dim[1] };

    for (int i = 0; i < vectors; i++)
        j.v[i] = (char *)r->workspace + (size_t)i * column_bytes(n->in[0]);
    return j;
}

static size_t workspace(const nc_node *n, int threads) { return (void)threads, 6 * column_bytes(n->in[0]); }

static void *at(const job *j, int vector, int64_t column) { return j->v[vector] + (size_t)column * wide(j->n->in[0]); }

/* ---- forward: v 0 mean, 1 var, 2 scale, 3 shift ---- */

static void moments(void *context, int64_t begin, int64_t end, int worker)
{
    const job *j = context;
    const nc_value *x = j->n->in[0];
    (void)worker;
    j->r->kernels->batch_norm->moments[nc_dtype_slot(x->dtype)](at(j, 0, begin), at(j, 1, begin), nc_at(x, begin), j->rows, end - begin, j->C);
}

static void apply(void *context, int64_t begin, int64_t end, int worker)
{
    const job *j = context;
    const nc_value *x = j->n->in[0];
    (void)worker;
    j->r->kernels->batch_norm->apply[nc_dtype_slot(x->dtype)](nc_row_at(j->n->out[0], begin), nc_row_at(x, begin), j->v[2], j->v[3], end - begin, j->C);
}

static int run(const nc_node *n, const nc_run *r)
{
    const nc_value *x = n->in[0];
    const attr *a = NC_ATTR(n, attr);
    job j = job_of(n, r, 4);

    if (!a->frozen)
        nc_parallel_rows(r, j.C, NC_BATCH_NORM_COLUMNS, moments, &j);
    for (int64_t c = 0; c < j.C; c++) {
        double mean = a->frozen ? value(n->in[3], c, 0) : get(x, j.v[0], c), var = a->frozen ? value(n->in[4], c, 1) : get(x, j.v[1], c);
        double rstd = 1 / sqrt(var + a->eps), scale = value(n->in[1], c, 1) * rstd, spread = a->frozen || j.rows < 2 ? 1 : (double)j.rows / (double)(j.rows - 1);
        set(x, j.v[2], c, scale);
        set(x, j.v[3], c, value(n->in[2], c, 0) - mean * scale);
        double stat[] = { mean, var * spread, rstd };
        for (int i = 1; i < 4; i++)
            if (n->out[i]->data)
                set(x, n->out[i]->data, c, stat[i - 1]);
    }
    nc_parallel_rows(r, j.rows, nc_grain(j.C * 4), apply, &j);
    return 0;
}

static void cost(const nc_node *n, const int64_t *counts, double *flops, double *bytes)
{
    double elements = (double)nc_live_count(n->in[0], counts), passes = n->op == &nc_op_batch_norm ? NC_ATTR(n, attr)->frozen ? 2 : 4 : 5;

    *flops = (passes + 1) * elements;
    *bytes = passes * elements * nc_dtype_get(n->in[0]->dtype)->bytes;
}

static void grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    if (!dy[0])
        return;
    nc_value *d = nc_emit(g, &nc_op_batch_norm_grad, n->attr, n->attr_size, (nc_value *[]){ n->in[0], n->in[1], n->out[1], n->out[3], dy[0] }, 5);

    dx[0] = d;
    if (wants(n->in[1]))
        dx[1] = nc_output(d, 1);
    if (wants(n->in[2]))
        dx[2] = nc_output(d, 2);
}

const nc_op nc_op_batch_norm = { .name = "batch_norm", .flags = NC_OP_BATCHY, .infer = infer, .grad = grad, .run = run, .workspace = workspace, .cost = cost };

/* ---- gradient: v 0 s1, 1 s2, 2 scale, 3 m1, 4 q ---- */

static int grad_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    NC_TRY(check(n, e, 1, 3));
    if (n->in[4]->dtype != n->in[0]->dtype || !nc_shape_equal(&n->in[4]->shape, &n->in[0]->shape))
        return nc_infer_fail(n, e, NC_ESHAPE, "x and dy differ in shape or type");
    NC_TRY(nc_infer_same(g, n, e));
    n->outputs = 3;
    for (int i = 1; i < 3; i++)
        nc_infer_out(n, i, nc_graph_wide(g), NC_SHAPE(n->in[0]->shape.dim[1]), -1, 1);
    return 0;
}

static void grad_sums(void *context, int64_t begin, int64_t end, int worker)
{
    const job *j = context;
    const nc_value *x = j->n->in[0], *mean = j->n->in[2], *rstd = j->n->in[3];
    (void)worker;
    j->r->kernels->batch_norm->grad_sums[nc_dtype_slot(x->dtype)](at(j, 0, begin), at(j, 1, begin), nc_at(x, begin), nc_at(j->n->in[4], begin), nc_at(mean, begin), nc_at(rstd, begin),
                                                                  j->rows, end - begin, j->C);
}

static void grad_apply(void *context, int64_t begin, int64_t end, int worker)
{
    const job *j = context;
    const nc_value *x = j->n->in[0];
    const void *const v[] = { j->v[2], j->v[3], j->n->in[2]->data, j->v[4] };
    (void)worker;
    j->r->kernels->batch_norm->grad_apply[nc_dtype_slot(x->dtype)](nc_row_at(j->n->out[0], begin), nc_row_at(x, begin), nc_row_at(j->n->in[4], begin), v, end - begin, j->C);
}

static int grad_run(const nc_node *n, const nc_run *r)
{
    const nc_value *x = n->in[0];
    bool frozen = NC_ATTR(n, attr)->frozen;
    job j = job_of(n, r, 5);

    nc_parallel_rows(r, j.C, NC_BATCH_NORM_COLUMNS, grad_sums, &j);
    for (int64_t c = 0; c < j.C; c++) {
        double rstd = get(x, n->in[3]->data, c), scale = value(n->in[1], c, 1) * rstd, rows = j.rows ? (double)j.rows : 1, s1 = get(x, j.v[0], c), s2 = get(x, j.v[1], c);
        set(x, j.v[2], c, scale);
        set(x, j.v[3], c, frozen ? 0 : s1 / rows);
        set(x, j.v[4], c, frozen ? 0 : scale * rstd * s2 / rows);
        if (n->out[1]->data)
            set(x, n->out[1]->data, c, s2);
        if (n->out[2]->data)
            set(x, n->out[2]->data, c, s1);
    }
    nc_parallel_rows(r, j.rows, nc_grain(j.C * 4), grad_apply, &j);
    return 0;
}

const nc_op nc_op_batch_norm_grad = { .name = "batch_norm_grad", .flags = NC_OP_BATCHY, .infer = grad_infer, .run = grad_run, .workspace = workspace, .cost = cost };

nc_value *nc_batch_norm_op(nc_graph *g, nc_value *x, nc_value *w, nc_value *b, nc_value *mean, nc_value *var, double eps, bool frozen)
{
    attr a = { eps, frozen };
    return nc_emit(g, &nc_op_batch_norm, &a, sizeof a, (nc_value *[]){ x, w, b, mean, var }, 5);
}

/* ---- running statistics ---- */

typedef struct running_attr { double momentum; } running_attr;

static int running_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    const nc_value *s = n->in[0], *x = n->in[1];

    (void)g;
    if (s->kind != NC_VALUE_STATE || (s->dtype != NC_F32 && s->dtype != NC_F64))
        return nc_infer_fail(n, e, NC_ESHAPE, "a running statistic must be a state of f32");
    if (x && (!nc_shape_equal(&s->shape, &x->shape) || x->count >= 0))
        return nc_infer_fail(n, e, NC_ESHAPE, "the statistic and its new value differ in shape");
    nc_infer_out(n, 0, s->dtype, NC_SHAPE(1), -1, 1);
    return 0;
}

static int running_run(const nc_node *n, const nc_run *r)
{
    const nc_value *s = n->in[0], *x = n->in[1];
    const double m = NC_ATTR(n, running_attr)->momentum;

    for (int64_t i = 0; r->training && i < nc_shape_count(&s->shape); i++) {
        double old = nc_dtype_load(s->dtype, s->data, i);
        nc_dtype_store(s->dtype, s->data, i, x ? (1 - m) * old + m * nc_dtype_load(x->dtype, x->data, i) : old + 1);
    }
    nc_dtype_store(n->out[0]->dtype, n->out[0]->data, 0, 0);
    return 0;
}

const nc_op nc_op_running = { .name = "running", .flags = NC_OP_EFFECT, .infer = running_infer, .run = running_run };

nc_value *nc_running_op(nc_graph *g, nc_value *state, nc_value *x, double momentum)
{
    running_attr a = { momentum };
    return nc_emit(g, &nc_op_running, &a, sizeof a, (nc_value *[]){ state, x }, 2);
}

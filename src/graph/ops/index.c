/* index.c - rows chosen by tables of numbers: gather, scatter_add, splice, embedding.
 *
 *   gather    out[i] = table[index[i]]             or, weighted, sum over j of w[i,j] table[index[i,j]]       index -1: nothing (a zero row)
 *   scatter   out[index[i]] += rows[i]             or out[index[i,j]] += w[i,j] rows[i]                        in order of i, then j; f32 sums
 * Each is the other's gradient. scatter chains the items of every destination in order and then runs through destinations, so it may be shared out by
 * destination and adds in the same order for any number of threads; given an accumulator it touches only rows that something goes to.
 *   splice    out[i] = index[i] >= 0 ? rows[index[i]] : x[i]
 *   embedding out[i] = weight[ids[i]] in the graph's compute type, from plain or packed storage; the weight's gradient is a scatter in f32
 * Indices come from the host and are checked against the live rows on every run.
 */
#include "graph/op.h"
#include "kernels/element.h"
#include "kernels/gemm.h"
#include "kernels/index.h"

enum { CHUNK = 512 };

typedef struct scatter_attr { int64_t rows; int count; int64_t scale; nc_dtype dtype; } scatter_attr;
typedef struct job {
    const nc_node *n;
    const nc_run *r;
    const int32_t *index;
    int64_t width, taps, rows;                   /* elements of a row; indices a row; live rows of what indices point to */
    const int32_t *head, *next;                  /* scatter: first item of each destination, next of each item; -1 ends */
} job;

static int64_t row_width(const nc_value *v)
{
    int64_t n = 1;

    for (int i = 1; i < v->shape.rank; i++)
        n *= v->shape.dim[i];
    return n;
}

static int64_t taps_of(const nc_value *index) { return index->shape.rank == 2 ? index->shape.dim[1] : 1; }

static int check_indices(const nc_node *n, const nc_run *r, const nc_value *index, int64_t rows)
{
    const int32_t *p = index->data;

    for (int64_t i = 0, c = nc_live_count(index, r->counts); i < c; i++)
        if (p[i] < -1 || p[i] >= rows)
            return nc_fail(r->error, NC_EINVAL, "%s: index %lld is %d, there are %lld rows", n->op->name, (long long)i, (int)p[i], (long long)rows);
    return 0;
}

/* index [N] or [N, taps] I32; w NULL or like index, in the wide type or x's. */
static int infer_index(const nc_node *n, int index, int w, nc_error *e)
{
    const nc_value *i = n->in[index];

    NC_TRY(nc_infer_dtype(n, index, NC_I32, e));
    if (i->shape.rank != 1 && (i->shape.rank != 2 || !w || !n->in[w]))
        return nc_infer_fail(n, e, NC_ESHAPE, "the index must be one number a row, got %s", nc_shape_str(&i->shape, (char[96]){ 0 }));
    if (w && n->in[w] && (!nc_shape_equal(&i->shape, &n->in[w]->shape) || !nc_same_rows(i, n->in[w]) || !nc_is_compute(n->in[w]->dtype)))
        return nc_infer_fail(n, e, NC_ESHAPE, "weights must be floats of the shape of the index");
    return 0;
}

static double weight_at(const nc_value *w, int64_t i) { return w ? nc_dtype_load(w->dtype, w->data, i) : 1; }

static void cost(const nc_node *n, const int64_t *counts, double *flops, double *bytes)
{
    *flops = 0;
    *bytes = 2.0 * (double)nc_live_count(n->out[0], counts) * nc_dtype_get(n->out[0]->dtype)->bytes;
}

static bool wants(const nc_value *v) { return v && (v->has_grad || v->wants_grad); }

static nc_value *scatter(nc_graph *g, nc_value *rows, nc_value *index, nc_value *w, const scatter_attr *a)
{
    return nc_emit(g, &nc_op_scatter, a, sizeof *a, (nc_value *[]){ rows, index, w, NULL }, 4);
}

/* The scatter that is the gradient of gathering from `table`. */
static nc_value *scatter_into(nc_graph *g, nc_value *dy, nc_value *index, nc_value *w, const nc_value *table)
{
    bool leaf = table->kind != NC_VALUE_NODE;
    scatter_attr a = { table->shape.dim[0], table->count, table->count_scale, leaf ? nc_graph_wide(g) : dy->dtype };

    return scatter(g, dy, index, w, &a);
}

/* ---- gather ---- */

static int gather_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    const nc_value *table = n->in[0], *index = n->in[1];

    (void)g;
    if (table->shape.rank < 1)
        return nc_infer_fail(n, e, NC_ESHAPE, "a table has rows, got a scalar");
    NC_TRY(infer_index(n, 1, 2, e));
    if (n->in[2])
        NC_TRY(nc_infer_compute(n, 0, e));
    nc_shape s = table->shape;
    s.dim[0] = index->shape.dim[0];
    nc_infer_out(n, 0, table->dtype, s, index->count, index->count_scale);
    return 0;
}

static void weighted_row(const job *j, int64_t i)
{
    const nc_value *table = j->n->in[0], *w = j->n->in[2], *y = j->n->out[0];
    int slot = nc_dtype_slot(y->dtype);
    nc_dtype wide = slot == NC_SLOT_F64 ? NC_F64 : NC_F32;
    double sum[CHUNK];

    for (int64_t c = 0; c < j->width; c += CHUNK) {
        int64_t m = j->width - c < CHUNK ? j->width - c : CHUNK;
        memset(sum, 0, sizeof sum);
        for (int64_t t = i * j->taps; t < (i + 1) * j->taps; t++)
            if (j->index[t] >= 0)
                j->r->kernels->index->axpy[slot](sum, nc_at(table, j->index[t] * j->width + c), weight_at(w, t), m);
        j->r->kernels->element->cast(y->dtype, nc_at(y, i * j->width + c), wide, sum, m);
    }
}

static void gather_rows(void *context, int64_t begin, int64_t end, int worker)
{
    const job *j = context;
    const nc_value *table = j->n->in[0], *y = j->n->out[0];
    size_t bytes = nc_dtype_bytes(y->dtype, j->width);

    (void)worker;
    for (int64_t i = begin; i < end; i++)
        if (j->n->in[2])
            weighted_row(j, i);
        else if (j->index[i] >= 0)
            memcpy(nc_at(y, i * j->width), nc_at(table, j->index[i] * j->width), bytes);
        else
            memset(nc_at(y, i * j->width), 0, bytes);
}

static int gather_run(const nc_node *n, const nc_run *r)
{
    const nc_value *table = n->in[0], *index = n->in[1];
    job j = { .n = n, .r = r, .index = index->data, .width = row_width(table), .taps = taps_of(index) };

    NC_TRY(check_indices(n, r, index, nc_live_rows(table, r->counts)));
    nc_parallel_rows(r, nc_live_rows(n->out[0], r->counts), nc_grain(j.width * j.taps * 4), gather_rows, &j);
    return 0;
}

static void gather_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    if (wants(n->in[0]))
        dx[0] = scatter_into(g, dy[0], n->in[1], n->in[2], n->in[0]);
    if (wants(n->in[2]))
        dx[2] = nc_emit(g, &nc_op_gather_dot, NULL, 0, (nc_value *[]){ dy[0], n->in[0], n->in[1] }, 3);
}

const nc_op nc_op_gather = { .name = "gather", .infer = gather_infer, .grad = gather_grad, .run = gather_run, .cost = cost };

nc_value *nc_gather_rows(nc_graph *g, nc_value *table, nc_value *index) { return nc_emit(g, &nc_op_gather, NULL, 0, (nc_value *[]){ table, index, NULL }, 3); }
nc_value *nc_gather_weighted(nc_graph *g, nc_value *table, nc_value *index, nc_value *w)
{
    return nc_emit(g, &nc_op_gather, NULL, 0, (nc_value *[]){ table, index, w }, 3);
}

/* out[i,j] = sum over columns of dy[i] table[index[i,j]]: the gradient of a gather's weights. */
static int dot_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    const nc_value *index = n->in[2];

    if (n->in[0]->dtype != n->in[1]->dtype)
        return nc_infer_fail(n, e, NC_ESHAPE, "dy and the table differ in type");
    NC_TRY(nc_infer_compute(n, 0, e));
    nc_infer_out(n, 0, nc_graph_wide(g), index->shape, index->count, index->count_scale);
    return 0;
}

static void dot_rows(void *context, int64_t begin, int64_t end, int worker)
{
    const job *j = context;
    const nc_value *dy = j->n->in[0], *table = j->n->in[1], *y = j->n->out[0];

    (void)worker;
    for (int64_t t = begin * j->taps; t < end * j->taps; t++) {
        double v = 0;
        if (j->index[t] >= 0)
            v = j->r->kernels->index->dot[nc_dtype_slot(dy->dtype)](nc_at(dy, t / j->taps * j->width), nc_at(table, j->index[t] * j->width), j->width);
        nc_dtype_store(y->dtype, y->data, t, v);
    }
}

static int dot_run(const nc_node *n, const nc_run *r)
{
    job j = { .n = n, .r = r, .index = n->in[2]->data, .width = row_width(n->in[1]), .taps = taps_of(n->in[2]) };

    NC_TRY(check_indices(n, r, n->in[2], nc_live_rows(n->in[1], r->counts)));
    nc_parallel_rows(r, nc_live_rows(n->in[2], r->counts), nc_grain(j.width * j.taps * 4), dot_rows, &j);
    return 0;
}

const nc_op nc_op_gather_dot = { .name = "gather_dot", .infer = dot_infer, .run = dot_run };

/* ---- scatter ---- */

static int scatter_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    const scatter_attr *a = NC_ATTR(n, scatter_attr);
    const nc_value *rows = n->in[0];

    NC_TRY(nc_infer_compute(n, 0, e));
    NC_TRY(infer_index(n, 1, 2, e));
    if (rows->shape.rank < 1 || !nc_same_rows(rows, n->in[1]))
        return nc_infer_fail(n, e, NC_ESHAPE, "rows and index must have the same rows");
    if (a->rows < 0 || (a->count >= 0 && (a->scale < 1 || nc_graph_capacity(g, a->count) * a->scale != a->rows)))
        return nc_infer_fail(n, e, NC_ESHAPE, "%lld output rows are no multiple of their count's capacity", (long long)a->rows);
    nc_shape s = rows->shape;
    s.dim[0] = a->rows;
    nc_infer_out(n, 0, a->dtype, s, a->count, a->count >= 0 ? a->scale : 1);
    return 0;
}

/* Row d of the output from its chain of items. Wide outputs are summed in place, others in pieces of CHUNK columns. */
static void scatter_row(const job *j, int64_t d)
{
    const nc_value *x = j->n->in[0], *w = j->n->in[2], *y = j->n->out[0];
    const nc_slot slot = x->dtype == NC_F64 ? NC_SLOT_F64 : x->dtype == NC_BF16 ? NC_SLOT_BF16 : NC_SLOT_F32;
    void (*axpy)(void *, const void *, double, int64_t) = j->r->kernels->index->axpy[slot];
    bool accumulates = nc_adds(j->n, j->r), in_place = y->dtype == (x->dtype == NC_F64 ? NC_F64 : NC_F32);
    double room[CHUNK];
    int64_t step = in_place ? j->width : CHUNK;

    if (accumulates && j->head[d] < 0)
        return;
    for (int64_t c = 0; c < j->width; c += step) {
        int64_t m = j->width - c < step ? j->width - c : step;
        nc_dtype wide = x->dtype == NC_F64 ? NC_F64 : NC_F32;
        void *to = nc_at(y, d * j->width + c), *sum = in_place ? to : room;
        if (!accumulates)
            memset(sum, 0, nc_dtype_bytes(wide, m));
        else if (!in_place)
            j->r->kernels->element->cast(wide, sum, y->dtype, to, m);
        for (int64_t t = j->head[d]; t >= 0; t = j->next[t])
            axpy(sum, nc_at(x, t / j->taps * j->width + c), weight_at(w, t), m);
        if (!in_place)
            j->r->kernels->element->cast(y->dtype, to, wide, sum, m);
    }
}

static void scatter_rows(void *context, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    for (int64_t d = begin; d < end; d++)
        scatter_row(context, d);
}

static int scatter_run(const nc_node *n, const nc_run *r)
{
    const nc_value *index = n->in[1];
    int64_t rows = nc_live_rows(n->out[0], r->counts), items = nc_live_count(index, r->counts);
    int32_t *head = r->workspace, *next = head + n->out[0]->shape.dim[0];
    const int32_t *p = index->data;
    job j = { .n = n, .r = r, .width = row_width(n->in[0]), .taps = taps_of(index), .head = head, .next = next };

    NC_TRY(check_indices(n, r, index, rows));
    memset(head, 0xff, (size_t)rows * sizeof *head);
    for (int64_t t = items - 1; t >= 0; t--)
        if (p[t] >= 0) {
            next[t] = head[p[t]];
            head[p[t]] = (int32_t)t;
        }
    nc_parallel_rows(r, rows, nc_grain(j.width * 4 < 64 ? 64 : j.width), scatter_rows, &j);
    return 0;
}

static size_t scatter_workspace(const nc_node *n, int threads)
{
    (void)threads;
    return (size_t)(n->out[0]->shape.dim[0] + nc_shape_count(&n->in[1]->shape) + 1) * sizeof(int32_t);
}

static void scatter_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    nc_value *d = nc_cast(g, dy[0], n->in[0]->dtype);

    if (wants(n->in[0]))
        dx[0] = nc_emit(g, &nc_op_gather, NULL, 0, (nc_value *[]){ d, n->in[1], n->in[2] }, 3);
    if (wants(n->in[2]))
        dx[2] = nc_emit(g, &nc_op_gather_dot, NULL, 0, (nc_value *[]){ n->in[0], d, n->in[1] }, 3);
}

static void scatter_cost(const nc_node *n, const int64_t *counts, double *flops, double *bytes)
{
    double in = (double)nc_live_count(n->in[0], counts), out = n->in[3] ? 0 : (double)nc_live_count(n->out[0], counts);

    *flops = in;
    *bytes = in * nc_dtype_get(n->in[0]->dtype)->bytes + (2 * in + out) * nc_dtype_get(n->out[0]->dtype)->bytes;
}

const nc_op nc_op_scatter = { .name = "scatter", .flags = NC_OP_ACCUMULATE | NC_OP_BATCHY, .infer = scatter_infer, .grad = scatter_grad, .run = scatter_run,
                              .workspace = scatter_workspace, .cost = scatter_cost };

nc_value *nc_scatter_add_rows(nc_graph *g, nc_value *rows, nc_value *index, int64_t out_rows, int out_count)
{
    int64_t capacity = out_count >= 0 ? nc_graph_capacity(g, out_count) : 0;
    scatter_attr a = { out_rows, out_count, capacity > 0 ? out_rows / capacity : 1, rows->dtype };

    return scatter(g, rows, index, NULL, &a);
}

/* ---- splice ---- */

static int splice_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    const nc_value *x = n->in[0], *rows = n->in[1];

    NC_TRY(infer_index(n, 2, 0, e));
    if (!nc_same_rows(x, n->in[2]))
        return nc_infer_fail(n, e, NC_ESHAPE, "x and index must have the same rows");
    if (rows && (rows->dtype != x->dtype || rows->shape.rank != x->shape.rank || row_width(rows) != row_width(x)))
        return nc_infer_fail(n, e, NC_ESHAPE, "rows must have the width and type of x");
    return nc_infer_same(g, n, e);
}

/* Without rows the chosen rows become zero. */
static void splice_rows(void *context, int64_t begin, int64_t end, int worker)
{
    const job *j = context;
    const nc_value *x = j->n->in[0], *rows = j->n->in[1], *y = j->n->out[0];
    size_t bytes = nc_dtype_bytes(y->dtype, j->width);

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        void *to = nc_at(y, i * j->width);
        if (j->index[i] >= 0 && rows)
            memcpy(to, nc_at(rows, j->index[i] * j->width), bytes);
        else if (j->index[i] >= 0)
            memset(to, 0, bytes);
        else if (to != nc_at(x, i * j->width))
            memcpy(to, nc_at(x, i * j->width), bytes);
    }
}

static int splice_run(const nc_node *n, const nc_run *r)
{
    job j = { .n = n, .r = r, .index = n->in[2]->data, .width = row_width(n->in[0]) };

    NC_TRY(check_indices(n, r, n->in[2], n->in[1] ? nc_live_rows(n->in[1], r->counts) : INT32_MAX));
    nc_parallel_rows(r, nc_live_rows(n->in[0], r->counts), nc_grain(j.width * 4), splice_rows, &j);
    return 0;
}

static nc_value *splice(nc_graph *g, nc_value *x, nc_value *rows, nc_value *index)
{
    return nc_emit(g, &nc_op_splice, NULL, 0, (nc_value *[]){ x, rows, index }, 3);
}

static void splice_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    if (wants(n->in[0]))
        dx[0] = splice(g, dy[0], NULL, n->in[2]);
    if (wants(n->in[1]))
        dx[1] = scatter_into(g, dy[0], n->in[2], NULL, n->in[1]);
}

const nc_op nc_op_splice = { .name = "splice", .flags = NC_OP_INPLACE, .infer = splice_infer, .grad = splice_grad, .run = splice_run, .cost = cost };

nc_value *nc_splice_rows(nc_graph *g, nc_value *x, nc_value *rows, nc_value *index)
{
    if (x != nc_graph_poison(g) && rows != nc_graph_poison(g))
        rows = nc_cast(g, rows, x->dtype);
    return splice(g, x, rows, index);
}

/* ---- embedding ---- */

static int embedding_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    const nc_value *w = n->in[0], *ids = n->in[1];

    NC_TRY(nc_infer_rank(n, 0, 2, e));
    NC_TRY(infer_index(n, 1, 0, e));
    if (!w->packed && !nc_is_compute(w->dtype) && w->dtype != NC_F16)
        return nc_infer_fail(n, e, NC_EUNSUPPORTED, "a plain weight of %s; pack it", nc_dtype_name(w->dtype));
    nc_infer_out(n, 0, nc_graph_compute(g), NC_SHAPE(ids->shape.dim[0], w->shape.dim[1]), ids->count, ids->count_scale);
    return 0;
}

static void embedding_rows(void *context, int64_t begin, int64_t end, int worker)
{
    const job *j = context;
    const nc_value *w = j->n->in[0], *y = j->n->out[0];

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        void *to = nc_at(y, i * j->width);
        if (j->index[i] < 0)
            memset(to, 0, nc_dtype_bytes(y->dtype, j->width));
        else if (w->packed)
            nc_gemm_unpack_row(w->packed, j->index[i], to, y->dtype);
        else
            j->r->kernels->element->cast(y->dtype, to, w->dtype, nc_at(w, j->index[i] * j->width), j->width);
    }
}

static int embedding_run(const nc_node *n, const nc_run *r)
{
    job j = { .n = n, .r = r, .index = n->in[1]->data, .width = n->in[0]->shape.dim[1] };

    NC_TRY(check_indices(n, r, n->in[1], n->in[0]->shape.dim[0]));
    nc_parallel_rows(r, nc_live_rows(n->in[1], r->counts), nc_grain(j.width * 4), embedding_rows, &j);
    return 0;
}

static void embedding_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    dx[0] = scatter_into(g, dy[0], n->in[1], NULL, n->in[0]);
}

const nc_op nc_op_embedding = { .name = "embedding", .infer = embedding_infer, .grad = embedding_grad, .run = embedding_run, .cost = cost };

nc_value *nc_embedding(nc_graph *g, nc_value *weight, nc_value *ids) { return nc_emit(g, &nc_op_embedding, NULL, 0, (nc_value *[]){ weight, ids }, 2); }

/* reduce.c - sum, mean, max and running sum along one axis, sums over everything or back to a broadcast shape, and accumulation.
 *
 * x is seen as [outer, n, inner] around the axis. Sums are f32 (f64 in an f64 graph) and rounded once. Over a counted axis 0 only live rows count, a mean
 * divides by their live number, and the result depends on the batch (flagged). A long vector is summed in blocks of 16384, the blocks in order.
 *   sum:  dx = dy repeated      mean: dx = dy/n repeated      max: dx = dy/ties where x is the maximum      cumsum: dx = cumsum from the other end
 */
#include "graph/op.h"
#include "kernels/element.h"
#include "kernels/reduce.h"

enum { COLUMNS = 128, BLOCK = 16384 };

typedef struct attr { int axis; bool keep, mean, wide; } attr;
typedef struct view { int64_t outer, n, inner; } view;

static view live_view(const nc_value *x, int axis, const int64_t *counts)
{
    view v = { 1, 1, 1 };

    for (int i = 0; i < x->shape.rank; i++) {
        int64_t d = i == 0 ? nc_live_rows(x, counts) : x->shape.dim[i];
        if (i < axis)
            v.outer *= d;
        else if (i == axis)
            v.n = d;
        else
            v.inner *= d;
    }
    return v;
}

static int infer(nc_graph *g, nc_node *n, nc_error *e)
{
    const attr *a = NC_ATTR(n, attr);
    const nc_value *x = n->in[0];
    char text[96];

    NC_TRY(nc_infer_compute(n, 0, e));
    if (a->axis < 0)
        return nc_infer_fail(n, e, NC_ESHAPE, "%s has no such axis", nc_shape_str(&x->shape, text));
    nc_shape s = x->shape;
    s.dim[a->axis] = 1;
    if (!a->keep) {
        for (int i = a->axis; i + 1 < s.rank; i++)
            s.dim[i] = s.dim[i + 1];
        s.rank--;
    }
    int count = a->axis == 0 ? -1 : x->count;
    nc_infer_out(n, 0, a->wide ? nc_graph_wide(g) : x->dtype, s, count, x->count_scale);
    return 0;
}

/* y, of the reduced shape, with the reduced axis back as a 1. */
static nc_value *with_axis(nc_graph *g, nc_value *y, const nc_value *x, int axis)
{
    nc_shape s = x->shape;

    s.dim[axis] = 1;
    return nc_reshape(g, y, s);
}

static nc_value *reduce(nc_graph *g, const nc_op *op, nc_value *x, attr a)
{
    a.axis = nc_axis(x, a.axis);
    return nc_emit(g, op, &a, sizeof a, &x, 1);
}

static void store(nc_dtype t, void *y, int64_t at, const void *from, bool from_f64, double scale, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double v = from_f64 ? ((const double *)from)[i] : (double)((const float *)from)[i];
        if (scale != 1)
            v = from_f64 ? v * scale : (double)((float)v * (float)scale);
        nc_dtype_store(t, y, at + i, v);
    }
}

/* ---- sum and mean ---- */

typedef struct job { const nc_value *x; nc_value *y; const struct nc_reduce_kernels *k; view v; bool max; double scale; int64_t chunks; const struct nc_element_kernels *e; } job;

/* Pieces are [outer, chunks of columns]. */
static void reduce_pieces(void *context, int64_t begin, int64_t end, int worker)
{
    const job *j = context;
    int slot = nc_dtype_slot(j->x->dtype);
    double wide[COLUMNS];

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        int64_t o = i / j->chunks, c = i % j->chunks * COLUMNS, width = j->v.inner - c < COLUMNS ? j->v.inner - c : COLUMNS;
        const void *from = nc_at(j->x, o * j->v.n * j->v.inner + c);
        (j->max ? j->k->max[slot] : j->k->sum[slot])(wide, from, j->v.n, width, j->v.inner);
        store(j->y->dtype, j->y->data, o * j->v.inner + c, wide, slot == NC_SLOT_F64, j->scale, width);
    }
}

static void sum_blocks(void *context, int64_t begin, int64_t end, int worker)
{
    const job *j = context;
    int slot = nc_dtype_slot(j->x->dtype);

    (void)worker;
    for (int64_t b = begin; b < end; b++) {
        int64_t n = j->v.n - b * BLOCK < BLOCK ? j->v.n - b * BLOCK : BLOCK;
        double wide = 0;
        j->k->sum[slot](&wide, nc_at(j->x, b * BLOCK), n, 1, 1);
        float narrow;
        memcpy(&narrow, &wide, sizeof narrow);
        ((double *)j->y->data)[b] = slot == NC_SLOT_F64 ? wide : (double)narrow;
    }
}

static bool is_vector(const nc_value *x) { return x->shape.rank == 1; }

static size_t workspace(const nc_node *n, int threads)
{
    (void)threads;
    return is_vector(n->in[0]) ? (size_t)(n->in[0]->shape.dim[0] / BLOCK + 1) * sizeof(double) : 0;
}

static int run_sum(const nc_node *n, const nc_run *r)
{
    const attr *a = NC_ATTR(n, attr);
    view v = live_view(n->in[0], a->axis, r->counts);
    job j = { n->in[0], n->out[0], r->kernels->reduce, v, false, a->mean && v.n ? 1.0 / (double)v.n : 1, (v.inner + COLUMNS - 1) / COLUMNS, NULL };

    if (!is_vector(n->in[0])) {
        nc_parallel_rows(r, v.outer * j.chunks, nc_grain(v.n * (v.inner < COLUMNS ? v.inner : COLUMNS) * 4), reduce_pieces, &j);
        return 0;
    }
    nc_value partial = { .data = r->workspace };
    int64_t blocks = (v.n + BLOCK - 1) / BLOCK;
    double total = 0;
    j.y = &partial;
    nc_parallel_rows(r, blocks, 1, sum_blocks, &j);
    for (int64_t b = 0; b < blocks; b++)
        total += ((double *)r->workspace)[b];
    nc_dtype_store(n->out[0]->dtype, n->out[0]->data, 0, total * j.scale);
    return 0;
}

static void grad_sum(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    const attr *a = NC_ATTR(n, attr);
    nc_value *x = n->in[0], *d = with_axis(g, dy[0], x, a->axis);

    if (a->mean && a->axis == 0 && x->count >= 0) {
        nc_graph_mistake(g, NC_EUNSUPPORTED, "mean over a counted axis 0 has no gradient: weight the rows and sum");
        return;
    }
    if (a->mean)
        d = nc_affine(g, d, 1.0 / (double)x->shape.dim[a->axis], 0);
    dx[0] = nc_broadcast_to(g, d, x->shape, x->count);
}

static void cost(const nc_node *n, const int64_t *counts, double *flops, double *bytes)
{
    double in = (double)nc_live_count(n->in[0], counts);

    *flops = in;
    *bytes = in * nc_dtype_get(n->in[0]->dtype)->bytes + (double)nc_live_count(n->out[0], counts) * nc_dtype_get(n->out[0]->dtype)->bytes;
}

const nc_op nc_op_reduce_sum = { .name = "sum", .flags = NC_OP_BATCHY, .infer = infer, .grad = grad_sum, .run = run_sum, .workspace = workspace, .cost = cost };

nc_value *nc_sum(nc_graph *g, nc_value *x, int axis, bool keep) { return reduce(g, &nc_op_reduce_sum, x, (attr){ axis, keep, false, false }); }
nc_value *nc_mean(nc_graph *g, nc_value *x, int axis, bool keep) { return reduce(g, &nc_op_reduce_sum, x, (attr){ axis, keep, true, false }); }

nc_value *nc_sum_all(nc_graph *g, nc_value *x)
{
    return reduce(g, &nc_op_reduce_sum, nc_reshape(g, x, NC_SHAPE(-1)), (attr){ 0, false, false, true });
}

/* Axes are gathered into groups that are summed or stay; each summed group is one sum, from the last to the first. */
nc_value *nc_sum_to(nc_graph *g, nc_value *x, const nc_shape *s)
{
    int rank = x->shape.rank, lead = rank - s->rank, groups = 0;
    nc_shape grouped = { 0 };
    bool summed[NC_MAX_RANK] = { false };
    char a[96], b[96];

    if (x == nc_graph_poison(g) || nc_shape_equal(&x->shape, s))
        return x;
    for (int i = 0; i < rank; i++) {
        int64_t wanted = i < lead ? 1 : s->dim[i - lead];
        bool sum = i < lead || (wanted == 1 && (x->shape.dim[i] != 1 || (i == 0 && x->count >= 0)));
        if (lead < 0 || (!sum && wanted != x->shape.dim[i])) {
            nc_graph_mistake(g, NC_ESHAPE, "sum_to: %s was not broadcast from %s", nc_shape_str(&x->shape, a), nc_shape_str(s, b));
            return nc_graph_poison(g);
        }
        if (groups && summed[groups - 1] == sum)
            grouped.dim[groups - 1] *= x->shape.dim[i];
        else {
            summed[groups] = sum;
            grouped.dim[groups++] = x->shape.dim[i];
        }
    }
    grouped.rank = groups;
    nc_value *y = nc_reshape(g, x, grouped);
    for (int i = groups - 1; i >= 0; i--)
        if (summed[i])
            y = reduce(g, &nc_op_reduce_sum, y, (attr){ i, false, false, true });
    return nc_reshape(g, y, *s);
}

/* ---- max ---- */

static int run_max(const nc_node *n, const nc_run *r)
{
    view v = live_view(n->in[0], NC_ATTR(n, attr)->axis, r->counts);
    job j = { n->in[0], n->out[0], r->kernels->reduce, v, true, 1, (v.inner + COLUMNS - 1) / COLUMNS, NULL };

    nc_parallel_rows(r, v.outer * j.chunks, nc_grain(v.n * (v.inner < COLUMNS ? v.inner : COLUMNS) * 4), reduce_pieces, &j);
    return 0;
}

static void grad_max(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    attr a = *NC_ATTR(n, attr);

    dx[0] = nc_emit(g, &nc_op_reduce_max_grad, &a, sizeof a, (nc_value *[]){ n->in[0], n->out[0], dy[0] }, 3);
}

const nc_op nc_op_reduce_max = { .name = "max", .flags = NC_OP_BATCHY, .infer = infer, .grad = grad_max, .run = run_max, .cost = cost };

nc_value *nc_max(nc_graph *g, nc_value *x, int axis, bool keep) { return reduce(g, &nc_op_reduce_max, x, (attr){ axis, keep, false, false }); }

static int infer_max_grad(nc_graph *g, nc_node *n, nc_error *e)
{
    (void)g;
    for (int i = 0; i < 3; i++)
        NC_TRY(nc_infer_dtype(n, i, n->in[0]->dtype, e));
    NC_TRY(nc_infer_compute(n, 0, e));
    nc_infer_like(n, 0, n->in[0]);
    return 0;
}

static int run_max_grad(const nc_node *n, const nc_run *r)
{
    const nc_value *x = n->in[0];
    view v = live_view(x, NC_ATTR(n, attr)->axis, r->counts);

    for (int64_t o = 0; o < v.outer; o++)
        r->kernels->reduce->max_grad[nc_dtype_slot(x->dtype)](nc_at(n->out[0], o * v.n * v.inner), nc_at(x, o * v.n * v.inner), nc_at(n->in[1], o * v.inner),
                                                              nc_at(n->in[2], o * v.inner), v.n, v.inner);
    return 0;
}

const nc_op nc_op_reduce_max_grad = { .name = "max_grad", .infer = infer_max_grad, .run = run_max_grad };

/* ---- running sums ---- */

typedef struct running { int axis; bool reverse; } running;

static int infer_cumsum(nc_graph *g, nc_node *n, nc_error *e)
{
    if (NC_ATTR(n, running)->axis < 0)
        return nc_infer_fail(n, e, NC_ESHAPE, "no such axis");
    return nc_infer_same(g, n, e);
}

static nc_value *cumsum(nc_graph *g, nc_value *x, int axis, bool reverse)
{
    running a = { nc_axis(x, axis), reverse };

    return nc_emit(g, &nc_op_cumsum, &a, sizeof a, &x, 1);
}

static void grad_cumsum(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    const running *a = NC_ATTR(n, running);

    dx[0] = cumsum(g, dy[0], a->axis, !a->reverse);
}

static int run_cumsum(const nc_node *n, const nc_run *r)
{
    const running *a = NC_ATTR(n, running);
    const nc_value *x = n->in[0];
    view v = live_view(x, a->axis, r->counts);

    for (int64_t o = 0; o < v.outer; o++)
        r->kernels->reduce->cumsum[nc_dtype_slot(x->dtype)](nc_at(n->out[0], o * v.n * v.inner), nc_at(x, o * v.n * v.inner), v.n, v.inner, a->reverse);
    return 0;
}

const nc_op nc_op_cumsum = { .name = "cumsum", .flags = NC_OP_BATCHY, .infer = infer_cumsum, .grad = grad_cumsum, .run = run_cumsum };

nc_value *nc_cumsum(nc_graph *g, nc_value *x, int axis) { return cumsum(g, x, axis, false); }

/* ---- accumulation ---- */

static int infer_accumulate(nc_graph *g, nc_node *n, nc_error *e)
{
    const nc_value *acc = n->in[1];

    (void)g;
    NC_TRY(nc_infer_compute(n, 0, e));
    if (!nc_shape_equal(&n->in[0]->shape, &acc->shape) || (acc->dtype != NC_F32 && acc->dtype != NC_F64) ||
        (acc->dtype == NC_F64) != (n->in[0]->dtype == NC_F64))
        return nc_infer_fail(n, e, NC_ESHAPE, "a sum of shape and type of the accumulator is needed, which is F32 or F64");
    nc_infer_like(n, 0, acc);
    return 0;
}

static void grad_accumulate(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    (void)g, (void)n;
    dx[0] = dy[0];
}

static void copy_pieces(void *context, int64_t begin, int64_t end, int worker)
{
    const job *j = context;

    (void)worker;
    j->e->cast(j->y->dtype, nc_at(j->y, begin), j->x->dtype, nc_at(j->x, begin), end - begin);
}

static void add_pieces(void *context, int64_t begin, int64_t end, int worker)
{
    const job *j = context;

    (void)worker;
    j->k->accumulate[nc_dtype_slot(j->x->dtype)](nc_at(j->y, begin), nc_at(j->x, begin), end - begin);
}

static int run_accumulate(const nc_node *n, const nc_run *r)
{
    job j = { .x = n->in[0], .y = n->out[0], .k = r->kernels->reduce, .e = r->kernels->element };

    nc_parallel_rows(r, nc_live_count(n->in[0], r->counts), BLOCK, nc_adds(n, r) ? add_pieces : copy_pieces, &j);
    return 0;
}

const nc_op nc_op_accumulate = { .name = "accumulate", .flags = NC_OP_ACCUMULATE, .infer = infer_accumulate, .grad = grad_accumulate, .run = run_accumulate };

nc_value *nc_accumulate(nc_graph *g, nc_value *x, nc_value *acc)
{
    if ((x->dtype == NC_F64) != (acc->dtype == NC_F64) || !nc_is_compute(x->dtype))
        x = nc_cast(g, x, acc->dtype);
    return nc_emit(g, &nc_op_accumulate, NULL, 0, (nc_value *[]){ x, acc }, 2);
}

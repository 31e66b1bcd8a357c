/* norm.c - layer norm, RMS norm, l2 norm, group norm, softmax and log-softmax over the last axis; formulas in kernels/norm.h.
 *
 *   x [..., D];  w, b [D] of any compute type (converted to f32 once a run).  norm_grad gives dx, and dw, db [D] in f32 in one pass over the rows.
 * dw and db are summed in blocks of rows (at most 64 blocks, cut by the live number of rows alone), the blocks in order.
 * group norm is a composition: [B, G, C/G ...] normalized without weights, then times w and plus b of each channel.
 */
#include "graph/op.h"
#include "kernels/element.h"
#include "kernels/norm.h"
#include "kernels/reduce.h"

enum { BLOCKS = 64, BLOCK_ROWS = 16 };

typedef struct attr { bool centered, mean; double eps, offset; } attr;
typedef struct job { const nc_node *n; const nc_run *r; nc_norm_shape s; const void *w, *b; void *dw, *db; int64_t rows, block; } job;

static nc_norm_shape shape_of(const nc_node *n)
{
    const attr *a = NC_ATTR(n, attr);
    int64_t D = nc_shape_last(&n->in[0]->shape);

    return (nc_norm_shape){ D, a->centered, a->mean ? 1.0 / (double)D : 1, a->eps, a->offset };
}

static size_t wide_bytes(const nc_value *x) { return x->dtype == NC_F64 ? 8 : 4; }
static size_t row_bytes(const nc_node *n) { return ((size_t)nc_shape_last(&n->in[0]->shape) * wide_bytes(n->in[0]) + 63) & ~(size_t)63; }

static int infer_weights(const nc_node *n, int first, int last, nc_error *e)
{
    int64_t D = nc_shape_last(&n->in[0]->shape);
    char text[96];

    for (int i = first; i <= last; i++) {
        const nc_value *w = n->in[i];
        if (!w)
            continue;
        if (w->shape.rank != 1 || w->shape.dim[0] != D)
            return nc_infer_fail(n, e, NC_ESHAPE, "x of %lld columns needs a weight [%lld], got %s", (long long)D, (long long)D, nc_shape_str(&w->shape, text));
        NC_TRY(nc_infer_compute(n, i, e));
        if ((w->dtype == NC_F64) != (n->in[0]->dtype == NC_F64))
            return nc_infer_fail(n, e, NC_ESHAPE, "x is %s, the weight %s", nc_dtype_name(n->in[0]->dtype), nc_dtype_name(w->dtype));
    }
    return 0;
}

static int infer_rows(const nc_node *n, nc_error *e)
{
    if (n->in[0]->shape.rank < 1 || nc_shape_last(&n->in[0]->shape) < 1)
        return nc_infer_fail(n, e, NC_ESHAPE, "a last axis of at least one column is needed");
    if (n->in[0]->shape.rank == 1 && n->in[0]->count >= 0)
        return nc_infer_fail(n, e, NC_ESHAPE, "the last axis follows a count; it must be a constant");
    return 0;
}

static int infer(nc_graph *g, nc_node *n, nc_error *e)
{
    NC_TRY(infer_rows(n, e));
    NC_TRY(infer_weights(n, 1, 2, e));
    return nc_infer_same(g, n, e);
}

/* The weight as the kernel wants it: as it is, or converted into `room`. */
static const void *widen(const nc_run *r, const nc_value *w, const nc_value *x, char *room)
{
    nc_dtype wide = x->dtype == NC_F64 ? NC_F64 : NC_F32;

    if (!w || w->dtype == wide)
        return w ? w->data : NULL;
    r->kernels->element->cast(wide, room, w->dtype, w->data, nc_shape_last(&x->shape));
    return room;
}

static void norm_rows(void *context, int64_t begin, int64_t end, int worker)
{
    const job *j = context;
    const nc_value *x = j->n->in[0], *y = j->n->out[0];
    int slot = nc_dtype_slot(x->dtype);
    int64_t xs;

    (void)worker;
    if (nc_rows_even(x, &xs)) {
        j->r->kernels->norm->norm[slot](nc_row_at(y, begin), j->s.n, nc_row_at(x, begin), xs, j->w, j->b, end - begin, &j->s);
        return;
    }
    for (int64_t i = begin; i < end; i++)
        j->r->kernels->norm->norm[slot](nc_row_at(y, i), j->s.n, nc_row_at(x, i), 0, j->w, j->b, 1, &j->s);
}

static int run(const nc_node *n, const nc_run *r)
{
    char *room = r->workspace;
    job j = { .n = n, .r = r, .s = shape_of(n), .w = widen(r, n->in[1], n->in[0], room), .b = widen(r, n->in[2], n->in[0], room + row_bytes(n)) };

    nc_parallel_rows(r, nc_live_last_rows(n->in[0], r->counts), nc_grain(j.s.n * 4), norm_rows, &j);
    return 0;
}

static size_t workspace(const nc_node *n, int threads) { return (void)threads, 2 * row_bytes(n); }

static void cost(const nc_node *n, const int64_t *counts, double *flops, double *bytes)
{
    double elements = (double)nc_live_count(n->in[0], counts);

    *flops = 8 * elements;
    *bytes = (double)(n->inputs == 3 && n->out[1] && n->outputs == 3 ? 3 : 2) * elements * nc_dtype_get(n->in[0]->dtype)->bytes;
}

static bool wants(const nc_value *x) { return x && (x->has_grad || x->wants_grad); }

static void grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    nc_value *d = nc_emit(g, &nc_op_norm_grad, n->attr, n->attr_size, (nc_value *[]){ n->in[0], n->in[1], dy[0] }, 3);

    dx[0] = d;
    if (wants(n->in[1]))
        dx[1] = nc_output(d, 1);
    if (wants(n->in[2]))
        dx[2] = nc_output(d, 2);
}

const nc_op nc_op_norm = { .name = "norm", .flags = NC_OP_INPLACE | NC_OP_STRIDED, .infer = infer, .grad = grad, .run = run, .workspace = workspace, .cost = cost };

/* ---- the gradient ---- */

static int grad_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    const nc_value *x = n->in[0], *dy = n->in[2];

    NC_TRY(infer_rows(n, e));
    NC_TRY(infer_weights(n, 1, 1, e));
    if (!nc_shape_equal(&x->shape, &dy->shape) || x->dtype != dy->dtype)
        return nc_infer_fail(n, e, NC_ESHAPE, "x and dy differ in shape or type");
    NC_TRY(nc_infer_same(g, n, e));
    n->outputs = 3;
    for (int i = 1; i < 3; i++)
        nc_infer_out(n, i, nc_graph_wide(g), NC_SHAPE(nc_shape_last(&x->shape)), -1, 1);
    return 0;
}

static void grad_rows(const job *j, int64_t begin, int64_t end, void *dw, void *db)
{
    const nc_value *x = j->n->in[0], *dy = j->n->in[2], *dx = j->n->out[0];
    const struct nc_norm_kernels *k = j->r->kernels->norm;
    int slot = nc_dtype_slot(x->dtype);
    int64_t xs, gs;

    if (nc_rows_even(x, &xs) && nc_rows_even(dy, &gs)) {
        k->norm_grad[slot](nc_row_at(dx, begin), j->s.n, dw, db, nc_row_at(x, begin), xs, nc_row_at(dy, begin), gs, j->w, end - begin, &j->s);
        return;
    }
    for (int64_t i = begin; i < end; i++)
        k->norm_grad[slot](nc_row_at(dx, i), j->s.n, dw, db, nc_row_at(x, i), 0, nc_row_at(dy, i), 0, j->w, 1, &j->s);
}

static void grad_block(void *context, int64_t begin, int64_t end, int worker)
{
    const job *j = context;
    size_t bytes = row_bytes(j->n);

    (void)worker;
    for (int64_t b = begin; b < end; b++) {
        int64_t first = b * j->block, last = first + j->block < j->rows ? first + j->block : j->rows;
        char *dw = j->dw ? (char *)j->dw + (size_t)b * bytes : NULL, *db = j->db ? (char *)j->db + (size_t)b * bytes : NULL;
        if (dw)
            memset(dw, 0, bytes);
        if (db)
            memset(db, 0, bytes);
        grad_rows(j, first, last, dw, db);
    }
}

static void add_blocks(const nc_run *r, const nc_node *n, int output, const char *part, int64_t blocks)
{
    nc_value *y = n->out[output];
    int64_t D = nc_shape_last(&y->shape);

    memset(y->data, 0, nc_dtype_bytes(y->dtype, D));
    for (int64_t b = 0; b < blocks; b++)
        r->kernels->reduce->accumulate[nc_dtype_slot(y->dtype)](y->data, part + (size_t)b * row_bytes(n), D);
}

static int grad_run(const nc_node *n, const nc_run *r)
{
    char *room = r->workspace;
    size_t bytes = row_bytes(n);
    job j = { .n = n, .r = r, .s = shape_of(n), .w = widen(r, n->in[1], n->in[0], room), .rows = nc_live_last_rows(n->in[0], r->counts) };

    j.block = (j.rows + BLOCKS - 1) / BLOCKS;
    j.block = j.block < BLOCK_ROWS ? BLOCK_ROWS : j.block;
    int64_t blocks = (j.rows + j.block - 1) / j.block;
    j.dw = n->out[1]->data ? room + bytes : NULL;
    j.db = n->out[2]->data ? room + bytes * (1 + BLOCKS) : NULL;
    nc_parallel_rows(r, blocks, nc_grain(j.s.n * 8 * j.block), grad_block, &j);
    if (j.dw)
        add_blocks(r, n, 1, j.dw, blocks);
    if (j.db)
        add_blocks(r, n, 2, j.db, blocks);
    return 0;
}

static size_t grad_workspace(const nc_node *n, int threads) { return (void)threads, (1 + 2 * BLOCKS) * row_bytes(n); }

const nc_op nc_op_norm_grad = { .name = "norm_grad", .flags = NC_OP_INPLACE | NC_OP_STRIDED | NC_OP_BATCHY, .infer = grad_infer, .run = grad_run,
                                .workspace = grad_workspace, .cost = cost };

static nc_value *norm(nc_graph *g, attr a, nc_value *x, nc_value *w, nc_value *b)
{
    return nc_emit(g, &nc_op_norm, &a, sizeof a, (nc_value *[]){ x, w, b }, 3);
}
nc_value *nc_layer_norm(nc_graph *g, nc_value *x, nc_value *w, nc_value *b, double eps) { return norm(g, (attr){ true, true, eps, 0 }, x, w, b); }
nc_value *nc_rms_norm(nc_graph *g, nc_value *x, nc_value *w, double eps, double weight_offset) { return norm(g, (attr){ false, true, eps, weight_offset }, x, w, NULL); }
nc_value *nc_l2_norm(nc_graph *g, nc_value *x, double eps) { return norm(g, (attr){ false, false, eps, 0 }, x, NULL, NULL); }

nc_value *nc_group_norm(nc_graph *g, nc_value *x, int groups, nc_value *w, nc_value *b, double eps)
{
    nc_value *poison = nc_graph_poison(g);

    if (x == poison)
        return x;
    if (x->shape.rank < 2 || groups < 1 || x->shape.dim[1] % groups) {
        nc_graph_mistake(g, NC_ESHAPE, "group_norm: %d groups do not divide the channels of %s", groups, nc_shape_str(&x->shape, (char[96]){ 0 }));
        return poison;
    }
    nc_shape s = x->shape, channel = { .rank = s.rank - 1, .dim = { s.dim[1], 1, 1, 1, 1 } };
    int64_t inner = s.dim[1] / groups;
    for (int i = 2; i < s.rank; i++)
        inner *= s.dim[i];
    nc_value *y = nc_reshape(g, nc_layer_norm(g, nc_reshape(g, x, NC_SHAPE(s.dim[0], groups, inner)), NULL, NULL, eps), s);
    if (w && w != poison)
        y = nc_mul(g, y, nc_reshape(g, nc_cast(g, w, x->dtype), channel));
    if (b && b != poison)
        y = nc_add(g, y, nc_reshape(g, nc_cast(g, b, x->dtype), channel));
    return y;
}

/* ---- softmax ---- */

static int softmax_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    NC_TRY(infer_rows(n, e));
    if (n->inputs == 2 && (!nc_shape_equal(&n->in[0]->shape, &n->in[1]->shape) || n->in[0]->dtype != n->in[1]->dtype))
        return nc_infer_fail(n, e, NC_ESHAPE, "y and dy differ in shape or type");
    return nc_infer_same(g, n, e);
}

static void softmax_rows(void *context, int64_t begin, int64_t end, int worker)
{
    const job *j = context;
    const nc_value *x = j->n->in[0], *y = j->n->out[0];
    const struct nc_norm_kernels *k = j->r->kernels->norm;
    int slot = nc_dtype_slot(x->dtype);
    bool log_form = *NC_ATTR(j->n, bool);

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        if (j->n->inputs == 2)
            k->softmax_grad[slot](nc_row_at(y, i), 0, nc_row_at(x, i), 0, nc_row_at(j->n->in[1], i), 0, 1, j->s.n, log_form);
        else
            k->softmax[slot](nc_row_at(y, i), 0, nc_row_at(x, i), 0, 1, j->s.n, log_form);
    }
}

static int softmax_run(const nc_node *n, const nc_run *r)
{
    job j = { .n = n, .r = r, .s = { .n = nc_shape_last(&n->in[0]->shape) } };

    nc_parallel_rows(r, nc_live_last_rows(n->in[0], r->counts), nc_grain(j.s.n * 8), softmax_rows, &j);
    return 0;
}

static nc_value *softmax_slope(nc_graph *g, const bool *log_form, nc_value *y, nc_value *dy)
{
    return nc_emit(g, &nc_op_softmax_grad, log_form, sizeof *log_form, (nc_value *[]){ y, dy }, 2);
}

static void softmax_gradient(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx) { dx[0] = softmax_slope(g, NC_ATTR(n, bool), n->out[0], dy[0]); }

const nc_op nc_op_softmax = { .name = "softmax", .flags = NC_OP_INPLACE | NC_OP_STRIDED, .infer = softmax_infer, .grad = softmax_gradient, .run = softmax_run, .cost = cost };

/* z = y (d - sum(d y)): z' by d is the same form; by y it is g (d - sum(d y)) - d sum(g y). Log form: z = d - exp(y) sum d. */
static void softmax_grad_gradient(nc_graph *g, nc_node *n, nc_value *const *dz, nc_value **dx)
{
    bool log_form = *NC_ATTR(n, bool);
    nc_value *y = n->in[0], *d = n->in[1], *z = dz[0];

    if (log_form) {
        nc_value *p = nc_unary_op(g, NC_EXP, y), *zp = nc_mul(g, z, p);
        dx[0] = nc_unary_op(g, NC_NEG, nc_mul(g, zp, nc_sum(g, d, -1, true)));
        dx[1] = nc_sub(g, z, nc_sum(g, zp, -1, true));
        return;
    }
    dx[0] = nc_sub(g, nc_mul(g, z, nc_sub(g, d, nc_sum(g, nc_mul(g, d, y), -1, true))), nc_mul(g, d, nc_sum(g, nc_mul(g, z, y), -1, true)));
    dx[1] = softmax_slope(g, &log_form, y, z);
}

const nc_op nc_op_softmax_grad = { .name = "softmax_grad", .flags = NC_OP_INPLACE | NC_OP_STRIDED, .infer = softmax_infer, .grad = softmax_grad_gradient,
                                   .run = softmax_run, .cost = cost };

nc_value *nc_softmax(nc_graph *g, nc_value *x) { return nc_emit(g, &nc_op_softmax, &(bool){ false }, sizeof(bool), &x, 1); }
nc_value *nc_log_softmax(nc_graph *g, nc_value *x) { return nc_emit(g, &nc_op_softmax, &(bool){ true }, sizeof(bool), &x, 1); }

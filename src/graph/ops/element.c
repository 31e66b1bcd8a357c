/* element.c - functions of one and two numbers, gated products, casts: y[i] = f(x[i] ...), with numpy's broadcast.
 *
 *   unary       dx = dy f'(x)                                  (fused; its own gradient is written in basic ops where f'' is short)
 *   a + b, a - b, a b, a / b, max, min     gradients summed back to the inputs' shapes; equal operands of max and min share half and half
 *   gated       y = f(gate) up;  dgate = dy up f'(gate), dup = dy f(gate)     one fused op gives both
 *
 * A walk lays the operands over the output: axes that lie evenly for all of them are merged, the last one is run by a kernel, the others are counted through.
 * Pieces are cut by elements alone and an element depends on its own operands only.
 */
#include "graph/op.h"
#include "kernels/element.h"

enum { OPERANDS = 3, PIECE = 16384 };

typedef struct unary_attr { nc_unary kind; double p[2]; } unary_attr;
typedef struct walk {
    int outer;                                   /* axes before the inner one */
    int64_t dim[NC_MAX_RANK], stride[OPERANDS][NC_MAX_RANK];
    int64_t inner, rows, pieces;                 /* pieces of a row */
    int step[OPERANDS];                          /* of the inner axis: 0 or 1 */
    const nc_value *x[OPERANDS];
    int operands;
} walk;

static bool merges(const walk *w, int axis, const int64_t *stride, int64_t dim)
{
    for (int k = 0; k < w->operands; k++)
        if (w->stride[k][axis] != stride[k] * dim)
            return false;
    return true;
}

static walk walk_of(const nc_value *y, const nc_run *r, int operands, nc_value *const *x)
{
    walk w = { .operands = operands, .rows = 1, .inner = 1 };
    int axes = 0;

    for (int k = 0; k < operands; k++)
        w.x[k] = x[k];
    for (int i = 0; i < y->shape.rank; i++) {
        int64_t d = i == 0 ? nc_live_rows(y, r->counts) : y->shape.dim[i], s[OPERANDS];
        if (y->shape.dim[i] == 1 && d == 1)
            continue;
        for (int k = 0; k < operands; k++) {
            int a = i - (y->shape.rank - x[k]->shape.rank);
            s[k] = a < 0 || (x[k]->shape.dim[a] == 1 && y->shape.dim[i] != 1) ? 0 : x[k]->stride[a];
        }
        if (axes && merges(&w, axes - 1, s, d)) {
            w.dim[axes - 1] *= d;
        } else {
            w.dim[axes++] = d;
        }
        for (int k = 0; k < operands; k++)
            w.stride[k][axes - 1] = s[k];
    }
    bool runs = axes > 0;
    for (int k = 0; k < operands && runs; k++)
        runs = w.stride[k][axes - 1] == 0 || w.stride[k][axes - 1] == 1;
    w.outer = runs ? axes - 1 : axes;
    for (int k = 0; k < operands; k++)
        w.step[k] = runs ? (int)w.stride[k][axes - 1] : 0;
    if (runs)
        w.inner = w.dim[axes - 1];
    for (int i = 0; i < w.outer; i++)
        w.rows *= w.dim[i];
    w.pieces = (w.inner + PIECE - 1) / PIECE;
    return w;
}

/* Operand k of row `row`, `at` elements into it. */
static const void *operand(const walk *w, int k, int64_t row, int64_t at)
{
    int64_t o = at * w->step[k];

    for (int i = w->outer - 1; i >= 0; i--) {
        o += row % w->dim[i] * w->stride[k][i];
        row /= w->dim[i];
    }
    return nc_at(w->x[k], o);
}

typedef struct job job;
struct job {
    walk w;
    const nc_node *n;
    const struct nc_element_kernels *k;
    void (*piece)(const job *j, int64_t row, int64_t at, int64_t count);
};

static void pieces(void *context, int64_t begin, int64_t end, int worker)
{
    const job *j = context;

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        int64_t at = i % j->w.pieces * PIECE, left = j->w.inner - at;
        j->piece(j, i / j->w.pieces, at, left < PIECE ? left : PIECE);
    }
}

static int run_walk(const nc_node *n, const nc_run *r, int operands, void (*piece)(const job *, int64_t, int64_t, int64_t))
{
    job j = { walk_of(n->out[0], r, operands, n->in), n, r->kernels->element, piece };

    nc_parallel_rows(r, j.w.rows * j.w.pieces, j.w.inner >= PIECE ? 1 : PIECE / (j.w.inner > 0 ? j.w.inner : 1), pieces, &j);
    return 0;
}

static void *target(const job *j, int output, int64_t row, int64_t at) { return nc_at(j->n->out[output], row * j->w.inner + at); }

static void cost(const nc_node *n, const int64_t *counts, double *flops, double *bytes)
{
    *flops = (double)nc_live_count(n->out[0], counts);
    *bytes = 0;
    for (int i = 0; i < n->inputs; i++)
        if (n->in[i])
            *bytes += (double)nc_live_count(n->in[i], counts) * nc_dtype_get(n->in[i]->dtype)->bytes;
    for (int i = 0; i < n->outputs; i++)
        *bytes += (double)nc_live_count(n->out[i], counts) * nc_dtype_get(n->out[i]->dtype)->bytes;
}

/* ---- one number ---- */

static void unary_piece(const job *j, int64_t row, int64_t at, int64_t count)
{
    const unary_attr *a = NC_ATTR(j->n, unary_attr);

    j->k->unary[nc_dtype_slot(j->n->out[0]->dtype)](a->kind, target(j, 0, row, at), operand(&j->w, 0, row, at), count, a->p);
}
static int unary_run(const nc_node *n, const nc_run *r) { return run_walk(n, r, 1, unary_piece); }

static nc_value *unary_grad(nc_graph *g, const unary_attr *a, nc_value *x, nc_value *dy)
{
    return nc_emit(g, &nc_op_unary_grad, a, sizeof *a, (nc_value *[]){ x, dy }, 2);
}

static void unary_slope(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    const unary_attr *a = NC_ATTR(n, unary_attr);

    if (a->kind == NC_AFFINE)
        dx[0] = nc_affine(g, dy[0], a->p[0], 0);
    else if (a->kind == NC_NEG)
        dx[0] = nc_unary_op(g, NC_NEG, dy[0]);
    else if (a->kind != NC_SIGN && a->kind != NC_STEP)
        dx[0] = unary_grad(g, a, n->in[0], dy[0]);
}

const nc_op nc_op_unary = { .name = "unary", .flags = NC_OP_INPLACE | NC_OP_STRIDED, .infer = nc_infer_same, .grad = unary_slope, .run = unary_run, .cost = cost };

static int unary_grad_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    if (!nc_shape_equal(&n->in[0]->shape, &n->in[1]->shape) || n->in[0]->dtype != n->in[1]->dtype)
        return nc_infer_fail(n, e, NC_ESHAPE, "x and dy differ in shape or type");
    return nc_infer_same(g, n, e);
}

static void unary_grad_piece(const job *j, int64_t row, int64_t at, int64_t count)
{
    const unary_attr *a = NC_ATTR(j->n, unary_attr);

    j->k->unary_grad[nc_dtype_slot(j->n->out[0]->dtype)](a->kind, target(j, 0, row, at), operand(&j->w, 0, row, at), operand(&j->w, 1, row, at), count, a->p);
}
static int unary_grad_run(const nc_node *n, const nc_run *r) { return run_walk(n, r, 2, unary_grad_piece); }

/* f''(x) in basic ops; NULL where it is zero. Kinds without a short formula are refused by name. */
static nc_value *curvature(nc_graph *g, const unary_attr *a, nc_value *x)
{
    nc_value *s;

    switch (a->kind) {
    case NC_EXP: return nc_unary_op(g, NC_EXP, x);
    case NC_LOG: return nc_unary_op(g, NC_NEG, nc_unary_op(g, NC_RECIP, nc_unary_op(g, NC_SQUARE, x)));
    case NC_SQRT: return nc_affine(g, nc_div(g, nc_unary_op(g, NC_RSQRT, x), x), -0.25, 0);
    case NC_RSQRT: return nc_affine(g, nc_div(g, nc_unary_op(g, NC_RSQRT, x), nc_unary_op(g, NC_SQUARE, x)), 0.75, 0);
    case NC_RECIP: return nc_affine(g, nc_unary_op(g, NC_RECIP, nc_mul(g, x, nc_unary_op(g, NC_SQUARE, x))), 2, 0);
    case NC_SQUARE: return nc_affine(g, x, 0, 2);
    case NC_SIN: return nc_unary_op(g, NC_NEG, nc_unary_op(g, NC_SIN, x));
    case NC_COS: return nc_unary_op(g, NC_NEG, nc_unary_op(g, NC_COS, x));
    case NC_TANH:                                                    /* -2 t (1 - t^2) */
        s = nc_unary_op(g, NC_TANH, x);
        return nc_mul(g, nc_affine(g, s, -2, 0), nc_affine(g, nc_unary_op(g, NC_SQUARE, s), -1, 1));
    case NC_SIGMOID:                                                 /* s (1 - s) (1 - 2s) */
        s = nc_unary_op(g, NC_SIGMOID, x);
        return nc_mul(g, nc_mul(g, s, nc_affine(g, s, -1, 1)), nc_affine(g, s, -2, 1));
    case NC_SOFTPLUS:
        s = nc_unary_op(g, NC_SIGMOID, x);
        return nc_mul(g, s, nc_affine(g, s, -1, 1));
    case NC_SILU:                                                    /* s (1 - s) (2 + x (1 - 2s)) */
        s = nc_unary_op(g, NC_SIGMOID, x);
        return nc_mul(g, nc_mul(g, s, nc_affine(g, s, -1, 1)), nc_affine(g, nc_mul(g, x, nc_affine(g, s, -2, 1)), 1, 2));
    case NC_GELU:                                                    /* exp(-x^2/2)/sqrt(2 pi) (2 - x^2) */
        s = nc_unary_op(g, NC_SQUARE, x);
        return nc_mul(g, nc_affine(g, nc_unary_op(g, NC_EXP, nc_affine(g, s, -0.5, 0)), 0.39894228040143267794, 0), nc_affine(g, s, -1, 2));
    case NC_GELU_TANH: case NC_QUICK_GELU: case NC_ERF: case NC_SOFT_CAP:
        nc_graph_mistake(g, NC_EUNSUPPORTED, "unary_grad: this function has no second derivative here; take silu, gelu or tanh");
        return NULL;
    default: return NULL;
    }
}

static void unary_grad_slope(nc_graph *g, nc_node *n, nc_value *const *dz, nc_value **dx)
{
    const unary_attr *a = NC_ATTR(n, unary_attr);
    nc_value *x = n->in[0], *dy = n->in[1], *f2 = x->has_grad || x->wants_grad ? curvature(g, a, x) : NULL;

    if (f2)
        dx[0] = nc_mul(g, nc_mul(g, dz[0], dy), f2);
    dx[1] = unary_grad(g, a, x, dz[0]);
}

const nc_op nc_op_unary_grad = { .name = "unary_grad", .flags = NC_OP_INPLACE | NC_OP_STRIDED, .infer = unary_grad_infer, .grad = unary_grad_slope,
                                 .run = unary_grad_run, .cost = cost };

static nc_value *unary(nc_graph *g, unary_attr a, nc_value *x) { return nc_emit(g, &nc_op_unary, &a, sizeof a, &x, 1); }

nc_value *nc_unary_op(nc_graph *g, nc_unary kind, nc_value *x)
{
    if ((unsigned)kind >= NC_UNARY_KINDS) {
        nc_graph_mistake(g, NC_EINVAL, "unary: no function of number %d", (int)kind);
        return nc_graph_poison(g);
    }
    return unary(g, (unary_attr){ kind, { 0 } }, x);
}
nc_value *nc_affine(nc_graph *g, nc_value *x, double scale, double shift) { return unary(g, (unary_attr){ NC_AFFINE, { scale, shift } }, x); }
nc_value *nc_clamp(nc_graph *g, nc_value *x, double low, double high) { return unary(g, (unary_attr){ NC_CLAMP, { low, high } }, x); }
nc_value *nc_soft_cap(nc_graph *g, nc_value *x, double cap) { return unary(g, (unary_attr){ NC_SOFT_CAP, { cap, 0 } }, x); }

/* ---- two numbers ---- */

static int binary_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    if (n->in[0]->dtype != n->in[1]->dtype)
        return nc_infer_fail(n, e, NC_ESHAPE, "operands are %s and %s", nc_dtype_name(n->in[0]->dtype), nc_dtype_name(n->in[1]->dtype));
    return nc_infer_broadcast(g, n, e);
}

static void binary_piece(const job *j, int64_t row, int64_t at, int64_t count)
{
    nc_binary kind = *NC_ATTR(j->n, nc_binary);

    j->k->binary[nc_dtype_slot(j->n->out[0]->dtype)](kind, target(j, 0, row, at), operand(&j->w, 0, row, at), j->w.step[0], operand(&j->w, 1, row, at),
                                                     j->w.step[1], count);
}
static int binary_run(const nc_node *n, const nc_run *r) { return run_walk(n, r, 2, binary_piece); }

static bool wants(const nc_value *x) { return x->has_grad || x->wants_grad; }

static void binary_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    nc_binary kind = *NC_ATTR(n, nc_binary);
    nc_value *a = n->in[0], *b = n->in[1], *d = dy[0], *da = NULL, *db = NULL;

    switch (kind) {
    case NC_ADD: da = db = d; break;
    case NC_SUB: da = d, db = wants(b) ? nc_unary_op(g, NC_NEG, d) : NULL; break;
    case NC_MUL: da = wants(a) ? nc_mul(g, d, b) : NULL, db = wants(b) ? nc_mul(g, d, a) : NULL; break;
    case NC_DIV:
        da = nc_div(g, d, b);
        db = wants(b) ? nc_unary_op(g, NC_NEG, nc_mul(g, da, nc_div(g, a, b))) : NULL;
        break;
    default: {                                                       /* share of a: 1, 1/2, 0 as it wins, ties, loses */
        nc_value *share = nc_affine(g, nc_unary_op(g, NC_SIGN, kind == NC_MAXIMUM ? nc_sub(g, a, b) : nc_sub(g, b, a)), 0.5, 0.5);
        da = nc_mul(g, d, share), db = wants(b) ? nc_mul(g, d, nc_affine(g, share, -1, 1)) : NULL;
    }
    }
    if (wants(a) && da)
        dx[0] = nc_sum_to(g, da, &a->shape);
    if (wants(b) && db)
        dx[1] = nc_sum_to(g, db, &b->shape);
}

const nc_op nc_op_binary = { .name = "binary", .flags = NC_OP_INPLACE | NC_OP_STRIDED, .infer = binary_infer, .grad = binary_grad, .run = binary_run, .cost = cost };

static int width(nc_dtype t) { return t == NC_F64 ? 2 : t == NC_F32; }

/* Operands of two types meet in the wider one. */
static nc_value *binary(nc_graph *g, nc_binary kind, nc_value *a, nc_value *b)
{
    nc_value *poison = nc_graph_poison(g);

    if (a != poison && b != poison && a->dtype != b->dtype && nc_is_compute(a->dtype) && nc_is_compute(b->dtype)) {
        if (width(a->dtype) < width(b->dtype))
            a = nc_cast(g, a, b->dtype);
        else
            b = nc_cast(g, b, a->dtype);
    }
    return nc_emit(g, &nc_op_binary, &kind, sizeof kind, (nc_value *[]){ a, b }, 2);
}
nc_value *nc_add(nc_graph *g, nc_value *a, nc_value *b) { return binary(g, NC_ADD, a, b); }
nc_value *nc_sub(nc_graph *g, nc_value *a, nc_value *b) { return binary(g, NC_SUB, a, b); }
nc_value *nc_mul(nc_graph *g, nc_value *a, nc_value *b) { return binary(g, NC_MUL, a, b); }
nc_value *nc_div(nc_graph *g, nc_value *a, nc_value *b) { return binary(g, NC_DIV, a, b); }
nc_value *nc_maximum(nc_graph *g, nc_value *a, nc_value *b) { return binary(g, NC_MAXIMUM, a, b); }
nc_value *nc_minimum(nc_graph *g, nc_value *a, nc_value *b) { return binary(g, NC_MINIMUM, a, b); }

/* ---- gated products ---- */

static int gated_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    for (int i = 1; i < n->inputs; i++)
        if (!nc_shape_equal(&n->in[0]->shape, &n->in[i]->shape) || n->in[0]->dtype != n->in[i]->dtype || !nc_same_rows(n->in[0], n->in[i]))
            return nc_infer_fail(n, e, NC_ESHAPE, "gate, up and dy differ in shape or type");
    NC_TRY(nc_infer_same(g, n, e));
    if (n->inputs == 3) {
        n->outputs = 2;
        nc_infer_like(n, 1, n->in[0]);
    }
    return 0;
}

static void gated_piece(const job *j, int64_t row, int64_t at, int64_t count)
{
    nc_unary kind = *NC_ATTR(j->n, nc_unary);

    j->k->gated[nc_dtype_slot(j->n->out[0]->dtype)](kind, target(j, 0, row, at), operand(&j->w, 0, row, at), operand(&j->w, 1, row, at), count);
}
static int gated_run(const nc_node *n, const nc_run *r) { return run_walk(n, r, 2, gated_piece); }

static void gated_slope(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    nc_unary kind = *NC_ATTR(n, nc_unary);

    dx[0] = nc_emit(g, &nc_op_gated_grad, &kind, sizeof kind, (nc_value *[]){ n->in[0], n->in[1], dy[0] }, 3);
    dx[1] = nc_output(dx[0], 1);
}

const nc_op nc_op_gated = { .name = "gated", .flags = NC_OP_INPLACE | NC_OP_STRIDED, .infer = gated_infer, .grad = gated_slope, .run = gated_run, .cost = cost };

static void gated_grad_piece(const job *j, int64_t row, int64_t at, int64_t count)
{
    nc_unary kind = *NC_ATTR(j->n, nc_unary);
    void *dup = j->n->out[1]->data ? target(j, 1, row, at) : NULL;

    j->k->gated_grad[nc_dtype_slot(j->n->out[0]->dtype)](kind, target(j, 0, row, at), dup, operand(&j->w, 0, row, at), operand(&j->w, 1, row, at),
                                                         operand(&j->w, 2, row, at), count);
}
static int gated_grad_run(const nc_node *n, const nc_run *r) { return run_walk(n, r, 3, gated_grad_piece); }

const nc_op nc_op_gated_grad = { .name = "gated_grad", .flags = NC_OP_INPLACE | NC_OP_STRIDED, .infer = gated_infer, .run = gated_grad_run, .cost = cost };

nc_value *nc_gated(nc_graph *g, nc_unary kind, nc_value *gate, nc_value *up)
{
    if ((unsigned)kind >= NC_UNARY_KINDS) {
        nc_graph_mistake(g, NC_EINVAL, "gated: no function of number %d", (int)kind);
        return nc_graph_poison(g);
    }
    return nc_emit(g, &nc_op_gated, &kind, sizeof kind, (nc_value *[]){ gate, up }, 2);
}

/* ---- casts ---- */

static int cast_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    nc_dtype t = *NC_ATTR(n, nc_dtype);

    (void)g;
    if (nc_dtype_get(t)->is_quantized || nc_dtype_get(n->in[0]->dtype)->is_quantized)
        return nc_infer_fail(n, e, NC_EUNSUPPORTED, "from %s to %s", nc_dtype_name(n->in[0]->dtype), nc_dtype_name(t));
    nc_infer_out(n, 0, t, n->in[0]->shape, n->in[0]->count, n->in[0]->count_scale);
    return 0;
}

static void cast_piece(const job *j, int64_t row, int64_t at, int64_t count)
{
    j->k->cast(j->n->out[0]->dtype, target(j, 0, row, at), j->n->in[0]->dtype, operand(&j->w, 0, row, at), count);
}
static int cast_run(const nc_node *n, const nc_run *r) { return run_walk(n, r, 1, cast_piece); }
static void cast_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx) { dx[0] = nc_cast(g, dy[0], n->in[0]->dtype); }

const nc_op nc_op_cast = { .name = "cast", .flags = NC_OP_STRIDED, .infer = cast_infer, .grad = cast_grad, .run = cast_run, .cost = cost };

nc_value *nc_cast(nc_graph *g, nc_value *x, nc_dtype t)
{
    return x == nc_graph_poison(g) || x->dtype == t ? x : nc_emit(g, &nc_op_cast, &t, sizeof t, &x, 1);
}

/* ---- stop_gradient: a view no gradient goes through ---- */

static int stop_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    nc_value *x = n->in[0], *y = n->out[0];

    (void)g, (void)e;
    nc_infer_like(n, 0, x);
    memcpy(y->stride, x->stride, sizeof y->stride);
    y->base = x->base ? x->base : x;
    y->offset = x->base ? x->offset : 0;
    return 0;
}
static void stop_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx) { (void)g, (void)n, (void)dy, (void)dx; }

const nc_op nc_op_stop_gradient = { .name = "stop_gradient", .flags = NC_OP_VIEW | NC_OP_STRIDED, .infer = stop_infer, .grad = stop_grad };

nc_value *nc_stop_gradient(nc_graph *g, nc_value *x)
{
    nc_value *y = nc_emit(g, &nc_op_stop_gradient, NULL, 0, &x, 1);

    if (y != nc_graph_poison(g))
        y->has_grad = false;
    return y;
}

/* op.h - what the files of graph/ops/ share: rules of shape, access to rows, work cut by rows. Included by op files only.
 *
 * An op is `const nc_op nc_op_<name>` in ops/<file>.c, one line OP(<name>) in ops.list, its constructor in ops.h, its line in docs/ops.md.
 *
 *     static int infer(nc_graph *g, nc_node *n, nc_error *e) { return nc_infer_same(g, n, e); }
 *     static void grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx) { dx[0] = nc_mul(g, dy[0], n->in[1]); ... }
 *     static int run(const nc_node *n, const nc_run *r) { ... n->in[0]->data, n->out[0]->data, nc_live_rows(n->out[0], r->counts) ... }
 *     const nc_op nc_op_thing = { .name = "thing", .flags = NC_OP_INPLACE, .infer = infer, .grad = grad, .run = run };
 *     nc_value *nc_thing(nc_graph *g, nc_value *x) { return nc_emit(g, &nc_op_thing, NULL, 0, (nc_value *[]){ x }, 1); }
 *
 * What nc_emit and the runner promise to an op:
 * - infer sees inputs that are no poison; node->out[0..NC_MAX_OUTPUTS) exist and are to be filled by nc_infer_out or nc_infer_like.
 * - Without NC_OP_STRIDED every input is contiguous (a copy was put in between). With it stride[last] is 1 (or the last axis has 1 element).
 * - run: in[i]->data is set (NULL for a packed STATE: look at ->packed). out[0]->data is set; out[i > 0]->data is NULL when nobody reads output i.
 * - Only live rows of axis 0 may be written; rows beyond are not to be touched nor read. There may be 0 of them.
 * - NC_OP_ACCUMULATE: in[inputs - 1] is the accumulator or NULL. Where nc_adds says so, out[accumulated]->data holds a sum to add to; else it is written whole.
 *   The constructor passes NULL; the gradient fills it in. The gradient through it is the core's business.
 * - grad: dx[j] must have in[j]'s shape. Its dtype is cast to what is stored (a leaf's gradient f32, else the value's own dtype), so make
 *   weight gradients in nc_graph_wide(g). dy[i] has output i's dtype. Values read from n->in[], n->out[] may be recomputed twins.
 * - f64 graphs store every float F64: ask nc_graph_wide(g) where you would write NC_F32.
 */
#ifndef NC_GRAPH_OP_H
#define NC_GRAPH_OP_H
#include "graph/ops.h"

#define OP(name) extern const nc_op nc_op_##name;
#include "graph/ops/ops.list"
#undef OP
/* All ops by ops.list. */
int nc_op_count(void);
const nc_op *nc_op_at(int i);
const nc_op *nc_op_find(const char *name);       /* NULL when there is none */

#define NC_ATTR(n, type) ((const type *)(n)->attr)

/* ---- types ---- */
static inline nc_dtype nc_graph_wide(const nc_graph *g) { return nc_graph_compute(g) == NC_F64 ? NC_F64 : NC_F32; }   /* f32, f64 in an f64 graph */
static inline bool nc_is_compute(nc_dtype t) { return nc_dtype_slot(t) >= 0; }                                         /* f32, bf16, f64 */

/* ---- rules of shape ---- */
void nc_infer_out(nc_node *n, int output, nc_dtype t, nc_shape s, int count, int64_t count_scale);
void nc_infer_like(nc_node *n, int output, const nc_value *x);                     /* dtype, shape and count of x */
int nc_infer_same(nc_graph *g, nc_node *n, nc_error *e);                           /* output 0 like input 0, which must be a compute type */
/* Output 0: numpy's broadcast of inputs 0 and 1, dtype of input 0 (of the wider one where they differ). A counted axis 0 meets the same count, or 1, or a lower rank. */
int nc_infer_broadcast(nc_graph *g, nc_node *n, nc_error *e);
int nc_count_broadcast(const nc_value *a, const nc_value *b, const nc_shape *out, int *count, int64_t *scale);  /* NC_ESHAPE when they do not fit */
bool nc_same_rows(const nc_value *a, const nc_value *b);                           /* same axis 0: size, count and scale */
/* "rms_norm: input 1 must be ..., got ..." with the op's name in front; returns code. */
int nc_infer_fail(const nc_node *n, nc_error *e, int code, const char *format, ...) NC_PRINTF(4, 5);
/* The usual checks; input i absent is a failure unless the caller tests for NULL first. */
int nc_infer_rank(const nc_node *n, int input, int rank, nc_error *e);
int nc_infer_dims(const nc_node *n, int input, nc_error *e, int rank, const int64_t *dims);   /* -1 in dims: any */
int nc_infer_dtype(const nc_node *n, int input, nc_dtype t, nc_error *e);
int nc_infer_compute(const nc_node *n, int input, nc_error *e);                    /* f32, bf16 or f64 */
int nc_axis(const nc_value *x, int axis);                                          /* negative counts from the end; -1 when out of range */

/* ---- running ---- */
/* Whether the accumulator's content counts: it is there, and is no gradient that begins with this run. */
static inline bool nc_adds(const nc_node *n, const nc_run *r)
{
    const nc_value *acc = n->in[n->inputs - 1];
    return acc && !(r->fresh && acc->is_gradient);
}
static inline void *nc_at(const nc_value *v, int64_t element) { return (char *)v->data + element * nc_dtype_get(v->dtype)->bytes; }
/* Rows are the leading axes taken together: row i of the last axis starts at this element (any strides). */
static inline int64_t nc_row_offset(const nc_value *v, int64_t row)
{
    int64_t at = 0;
    for (int a = v->shape.rank - 2; a > 0; a--) {
        int64_t next = row / v->shape.dim[a];
        at += (row - next * v->shape.dim[a]) * v->stride[a];
        row = next;
    }
    return v->shape.rank > 1 ? at + row * v->stride[0] : at;
}
static inline void *nc_row_at(const nc_value *v, int64_t row) { return nc_at(v, nc_row_offset(v, row)); }
/* True when all rows lie evenly spaced (then row i starts at element i * *stride). */
bool nc_rows_even(const nc_value *v, int64_t *stride);
/* Live rows of the last axis: live axis 0 times the axes between. A rank-1 value is its own axis 0: one row of its live length is 1. */
static inline int64_t nc_live_last_rows(const nc_value *v, const int64_t *counts)
{
    if (v->shape.rank <= 1)
        return 1;
    int64_t n = nc_live_rows(v, counts);
    for (int i = 1; i < v->shape.rank - 1; i++)
        n *= v->shape.dim[i];
    return n;
}
static inline int64_t nc_live_last(const nc_value *v, const int64_t *counts)      /* length of the last axis, live where it is axis 0 */
{
    return v->shape.rank == 1 ? nc_live_rows(v, counts) : nc_shape_last(&v->shape);
}

/* Calls fn for pieces [begin, end) of `rows`, each `grain` rows long (the last shorter): cut by grain alone, never by threads. */
typedef void nc_rows_fn(void *context, int64_t begin, int64_t end, int worker);
void nc_parallel_rows(const nc_run *r, int64_t rows, int64_t grain, nc_rows_fn *fn, void *context);
/* A grain for row-wise work of about `cost` bytes (or simple operations) a row: pieces of about 32 Ki. */
static inline int64_t nc_grain(int64_t cost) { int64_t g = 32768 / (cost > 0 ? cost : 1); return g < 1 ? 1 : g; }

/* ---- ops of the core's own use ---- */
nc_value *nc_accumulate(nc_graph *g, nc_value *x, nc_value *acc);                  /* acc + x, in acc's memory and dtype */
/* The adjoint of nc_slice: zeros of shape s with x at [start, start + x's length) of axis; s counted as x is. */
nc_value *nc_unslice(nc_graph *g, nc_value *x, int axis, int64_t start, int64_t size);
int64_t nc_unslice_start(const nc_node *n);                                        /* the first column of its rows where axis is 1, else -1 */
#endif

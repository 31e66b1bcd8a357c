/* graph.h - build a static graph of typed nodes, differentiate it, plan its memory, run it.
 *
 * Model code calls op constructors (graph/ops.h), each of which emits a node and returns its value. Building keeps the first mistake and
 * goes on as a no-op (constructors then return a poisoned value that every constructor accepts), so model code is straight
 * mathematics; nc_graph_check reports once. A graph lives in one arena and dies whole.
 *
 * Axis 0 of a value may follow a named count (tokens, patches, sequences ...): its shape then holds the capacity, and each run gives the live
 * number; kernels touch live rows only, so one plan serves every batch up to its capacity.
 * The order of nodes is the order of emission, which is also the order of running.
 */
#ifndef NC_GRAPH_GRAPH_H
#define NC_GRAPH_GRAPH_H
#include "base/thread.h"
#include "kernels/kernels.h"
#include "tensor/tensor.h"

typedef struct nc_graph nc_graph;
typedef struct nc_node nc_node;
typedef struct nc_value nc_value;
typedef struct nc_op nc_op;
struct nc_gemm_b;                    /* kernels/gemm.h: a weight packed for products */

enum { NC_MAX_COUNTS = 48, NC_MAX_OUTPUTS = 5, NC_MAX_INPUTS = 640 };   /* of a node that recomputation may repeat */
typedef enum nc_value_kind {
    NC_VALUE_NODE,                   /* made by a node; memory from the plan's arena */
    NC_VALUE_INPUT,                  /* the caller sets .data before a run; read only */
    NC_VALUE_STATE,                  /* the caller's memory that lives across runs: weights, gradient buffers; may be written by flagged ops */
} nc_value_kind;

struct nc_value {
    nc_value_kind kind;
    nc_dtype dtype;
    nc_shape shape;                  /* axis 0: the capacity when count >= 0 */
    int64_t stride[NC_MAX_RANK];     /* elements; row-major unless a view */
    int count;                       /* named count of axis 0, or -1 */
    int64_t count_scale;             /* live rows of axis 0 = counts[count] * count_scale */
    nc_node *node;                   /* the maker, NULL for inputs and state */
    int output;                      /* which of the maker's outputs */
    nc_value *base;                  /* a view's owner, else NULL; views have kind, node of their own slice op */
    int64_t offset;                  /* a view's start in its base, elements */
    void *data;                      /* set by the plan (or the caller); a view's data already includes the offset */
    const struct nc_gemm_b *packed;  /* STATE only: the weight is held packed; data is then NULL */
    bool wants_grad;                 /* a leaf whose gradient is asked for; set before the leaf is used */
    bool has_grad;                   /* depends on such a leaf; set at emission */
    nc_value *grad_into;             /* leaf only: f32 STATE the gradient is added to (NULL: nc_graph_gradient gives it) */
    double *squares;                 /* STATE only: where a run leaves the sum of the squares of what it leaves in data; 0 where nobody counted. NULL: not wanted */
    bool is_gradient;                /* some leaf's grad_into: a run with fresh_gradients writes it first, then adds */
    const char *name;                /* "model.layers.0.mlp.in"; given by scopes, nc_name, or the site */
    int id;
    int uses;                        /* nodes that read it */
    bool kept;                       /* by nc_keep */
};

typedef enum nc_op_flags {
    NC_OP_INPLACE = 1,               /* output 0 may share the memory of input 0 when that dies here (same bytes, contiguous) */
    NC_OP_STRIDED = 2,               /* inputs may be views with stride[last] == 1 and any row strides; otherwise a copy is inserted */
    NC_OP_EFFECT = 4,                /* writes state: never dropped, never recomputed */
    NC_OP_VIEW = 8,                  /* output 0 is a view of input 0; nothing runs */
    NC_OP_ACCUMULATE = 16,           /* has an optional LAST input that it adds to: out[accumulated] = acc + f; the two share their memory */
    NC_OP_BATCHY = 32,               /* result depends on what else is in the batch by definition (weight gradients, batch norm) */
    NC_OP_GIVES = 64,                /* outputs from 1 on are gradients of this op's own inputs, made for its grad to hand out */
    NC_OP_PLACES = 256,              /* writes outputs whose rows the plan has put further apart (stride[0]); else contiguous as all are */
    NC_OP_SQUARES = 128,             /* counts the squares of output `accumulated` where node->squares is set */
} nc_op_flags;

typedef struct nc_run {              /* what a node sees while it runs */
    nc_pool *pool;
    const nc_kernels *kernels;
    const int64_t *counts;           /* live numbers, by count index */
    void *workspace;                 /* node->workspace bytes, 64-byte aligned */
    const struct nc_node *before;    /* the node that ran just before in the same workspace, as large as this one's; or NULL */
    uint64_t seed, step;             /* for dropout and noise; keyed further by site, sample, row */
    bool training, fresh;            /* fresh: gradients begin with this run; see nc_adds in op.h */
    nc_error *error;                 /* a failing run fills it */
} nc_run;

struct nc_op {                       /* one descriptor an op, one file an op (or a close family), one line in ops.list */
    const char *name;
    unsigned flags;
    int accumulated;                 /* NC_OP_ACCUMULATE: the output that the accumulator becomes */
    /* Checks inputs, fills dtype, shape, count, count_scale of node->out[0..outputs). Sets node->outputs (1 already). */
    int (*infer)(nc_graph *g, nc_node *n, nc_error *e);
    /* dy[i]: gradient of output i or NULL. Sets dx[j] for inputs that has_grad (others may be skipped). Written in the graph's own ops; NULL: refused by name. */
    void (*grad)(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx);
    int (*run)(const nc_node *n, const nc_run *r);
    size_t (*workspace)(const nc_node *n, int threads);                              /* bytes at capacity; NULL: none */
    void (*cost)(const nc_node *n, const int64_t *counts, double *flops, double *bytes);  /* NULL: 0 FLOPs, bytes of in- and outputs */
};

struct nc_node {
    const nc_op *op;
    nc_value **in;                   /* NULL entries are absent optional inputs */
    int inputs, outputs;
    nc_value *out[NC_MAX_OUTPUTS];
    const void *attr;                /* the op's own typed struct, in the graph's arena */
    size_t attr_size;
    int block;                       /* recomputation block, -1 for none */
    int order;
    bool copy_acc;                   /* set by the plan: acc could not share out's memory; the runner copies it there first */
    bool backward;                   /* emitted by the gradient */
    double *squares;                 /* set by the plan where this node is the last that writes a state whose squares are wanted */
    const char *scope;
    size_t workspace;                /* bytes, from the plan */
};

nc_graph *nc_graph_new(nc_dtype compute);        /* compute: NC_F32, NC_BF16 (storage of node outputs) or NC_F64 (gradient checks) */
void nc_graph_free(nc_graph *g);
nc_arena *nc_graph_arena(nc_graph *g);
nc_dtype nc_graph_compute(const nc_graph *g);
int nc_graph_check(nc_graph *g, nc_error *e);    /* the first mistake, with the node's name; 0 when there is none */
void nc_graph_mistake(nc_graph *g, int code, const char *format, ...) NC_PRINTF(3, 4);
bool nc_graph_failed(const nc_graph *g);
nc_value *nc_graph_poison(nc_graph *g);          /* what constructors return after a mistake */

int nc_graph_count(nc_graph *g, const char *name, int64_t capacity);             /* index of the named count; the same name gives the same index */
int64_t nc_graph_capacity(const nc_graph *g, int count);
const char *nc_graph_count_name(const nc_graph *g, int count);
int nc_graph_counts(const nc_graph *g);

/* Leaves. shape.dim[0] is replaced by the count's capacity when count >= 0. Names are copied. */
nc_value *nc_input(nc_graph *g, const char *name, nc_dtype t, nc_shape shape, int count);
nc_value *nc_state(nc_graph *g, const char *name, nc_dtype t, nc_shape shape, void *data);
nc_value *nc_constant(nc_graph *g, double v, nc_dtype t, nc_shape shape);        /* filled; in the graph's arena */

/* Scopes name values: nc_scope_push(g, "layers.%d", i). A block is a stretch of nodes that recomputation may drop and redo. */
void nc_scope_push(nc_graph *g, const char *format, ...) NC_PRINTF(2, 3);
void nc_scope_pop(nc_graph *g);
void nc_block_begin(nc_graph *g);
void nc_block_end(nc_graph *g);
nc_value *nc_name(nc_graph *g, nc_value *v, const char *format, ...) NC_PRINTF(3, 4);   /* returns v */
nc_value *nc_graph_find(const nc_graph *g, const char *name);                    /* the last value with that full name, or NULL */

/* The one way a node comes to be. attr is copied; in[] may hold NULL for absent optional inputs. Returns output 0. */
nc_value *nc_emit(nc_graph *g, const nc_op *op, const void *attr, size_t attr_size, nc_value *const *in, int inputs);
static inline nc_value *nc_output(nc_value *v, int i) { return v->node && i < v->node->outputs ? v->node->out[i] : v; }
void nc_keep(nc_graph *g, nc_value *v);          /* v is read after the run: its memory outlives it */
int nc_graph_nodes(const nc_graph *g);
nc_node *nc_graph_node(const nc_graph *g, int i);

/* The gradient of scalar `loss` for every leaf with wants_grad, as more nodes of the same graph. Where grad_into is set the sum is added there.
 * recompute: values made inside blocks are not kept for the backward pass but made again from the block's inputs. */
int nc_graph_backward(nc_graph *g, nc_value *loss, bool recompute, nc_error *e);
/* The same for sum(dy * y), y of any shape: what a gradient coming from outside the graph needs (pipelines, checks). */
int nc_graph_backward_from(nc_graph *g, nc_value *y, nc_value *dy, bool recompute, nc_error *e);
nc_value *nc_graph_gradient(const nc_graph *g, const nc_value *leaf);            /* after backward; NULL where none reaches it */

/* Plan: memory of every intermediate in one arena by liveness. The peak is known before anything runs. */
typedef struct nc_plan nc_plan;
int nc_plan_new(nc_graph *g, int threads, nc_plan **out, nc_error *e);           /* lays out; allocates nothing large yet */
size_t nc_plan_bytes(const nc_plan *p);          /* the arena: intermediates and workspace, exact */
int nc_plan_bind(nc_plan *p, void *memory, nc_error *e);   /* memory of nc_plan_bytes, 64-byte aligned; NULL: the plan allocates and owns it */
void nc_plan_free(nc_plan *p);                   /* before its graph */
/* counts[i] live numbers in order of nc_graph_count (NULL: capacities). Input values' .data must be set.
 * fresh_gradients: what the memory of every grad_into holds is not read; the first contribution is written there, the others are added. */
typedef struct nc_run_options {
    nc_pool *pool;
    const nc_kernels *kernels;
    const int64_t *counts;
    uint64_t seed, step;
    bool training, fresh_gradients;
} nc_run_options;
int nc_plan_run(nc_plan *p, const nc_run_options *o, nc_error *e);
void nc_plan_cost(const nc_plan *p, const int64_t *counts, double *flops, double *bytes);

/* Profile: when on, every node's time is added up by op name and scope; printed as a table with GFLOP/s and GB/s beside the given limits. */
void nc_plan_profile(nc_plan *p, bool on);
void nc_plan_profile_table(const nc_plan *p, double peak_gflops, double peak_gbps, nc_buf *out);

/* Live rows of axis 0 and live element count during a run. */
static inline int64_t nc_live_rows(const nc_value *v, const int64_t *counts)
{
    return v->shape.rank == 0 ? 1 : v->count >= 0 ? counts[v->count] * v->count_scale : v->shape.dim[0];
}
static inline int64_t nc_live_count(const nc_value *v, const int64_t *counts)
{
    int64_t n = nc_live_rows(v, counts);
    for (int i = 1; i < v->shape.rank; i++)
        n *= v->shape.dim[i];
    return n;
}
bool nc_value_is_contiguous(const nc_value *v);
#endif

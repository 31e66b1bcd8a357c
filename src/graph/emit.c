/* emit.c - the one way a node comes to be: poison and strides are dealt with, the op's rule of shape is asked, the outputs join the graph. */
#include "graph/core.h"

static void take_node(nc_graph *g, nc_node *n)
{
    if (g->nodes == g->node_room) {
        g->node_room = g->node_room ? 2 * g->node_room : 256;
        g->node = nc_xrealloc(g->node, sizeof *g->node * (size_t)g->node_room);
    }
    n->order = g->nodes;
    g->node[g->nodes++] = n;
}

/* Inputs an op cannot read as they lie are copied: views for ops without NC_OP_STRIDED, and values whose last axis is not dense. An accumulator stays itself. */
static nc_value *readable(nc_graph *g, const nc_op *op, nc_value *v)
{
    int last = v->shape.rank - 1;

    if ((op->flags & NC_OP_VIEW) || op == &nc_op_contiguous || nc_value_is_contiguous(v))
        return v;
    if ((op->flags & NC_OP_STRIDED) && (v->stride[last] == 1 || v->shape.dim[last] == 1))
        return v;
    return nc_contiguous(g, v);
}

static bool adopt_inputs(nc_graph *g, const nc_op *op, nc_node *n, nc_value *const *in)
{
    n->in = NC_NEW_ARRAY(g->arena, nc_value *, n->inputs ? n->inputs : 1);
    for (int i = 0; i < n->inputs; i++) {
        if (!in[i])
            continue;
        bool accumulator = (op->flags & NC_OP_ACCUMULATE) && i == n->inputs - 1;
        n->in[i] = accumulator ? in[i] : readable(g, op, in[i]);
        if (n->in[i] == &g->poison)
            return false;
    }
    return true;
}

/* The accumulator must be of its output's own kind, since it becomes that output. */
static int check_accumulator(const nc_node *n, nc_error *e)
{
    const nc_value *acc = n->in[n->inputs - 1], *out = n->out[n->op->accumulated];

    if (!(n->op->flags & NC_OP_ACCUMULATE) || !acc)
        return 0;
    if (acc->dtype != out->dtype || !nc_shape_equal(&acc->shape, &out->shape) || !nc_value_is_contiguous(acc))
        return nc_infer_fail(n, e, NC_ESHAPE, "an accumulator must be contiguous with the output's dtype and shape");
    return acc->kind == NC_VALUE_INPUT ? nc_infer_fail(n, e, NC_EINVAL, "an input cannot be accumulated to") : 0;
}

static int infer(nc_graph *g, nc_node *n, nc_error *e)
{
    NC_TRY(n->op->infer(g, n, e));
    NC_TRY(check_accumulator(n, e));
    for (int i = 0; i < n->outputs; i++) {
        size_t bytes;
        if (nc_shape_bytes(&n->out[i]->shape, n->out[i]->dtype, &bytes) < 0)
            return nc_infer_fail(n, e, NC_ELIMIT, "output %d is too large for memory", i);
    }
    return 0;
}

nc_value *nc_emit(nc_graph *g, const nc_op *op, const void *attr, size_t attr_size, nc_value *const *in, int inputs)
{
    nc_error e = { 0 };

    if (nc_graph_failed(g))
        return &g->poison;
    for (int i = 0; i < inputs; i++)
        if (in[i] == &g->poison)
            return &g->poison;
    nc_node *n = NC_NEW(g->arena, nc_node);
    *n = (nc_node){ .op = op, .inputs = inputs, .outputs = 1, .block = g->block, .backward = g->backward, .scope = nc_graph_scope(g), .attr_size = attr_size };
    n->attr = attr_size ? nc_arena_copy(g->arena, attr, attr_size) : NULL;
    if (!adopt_inputs(g, op, n, in))
        return &g->poison;
    for (int i = 0; i < NC_MAX_OUTPUTS; i++) {
        n->out[i] = nc_value_new(g, NC_VALUE_NODE, g->compute, (nc_shape){ 0 });
        n->out[i]->node = n;
        n->out[i]->output = i;
    }
    if (infer(g, n, &e) < 0) {
        nc_graph_mistake(g, e.code ? e.code : NC_EINVAL, "%s", e.code ? e.message : op->name);
        return &g->poison;
    }
    bool has_grad = false;
    for (int i = 0; i < inputs; i++)
        if (n->in[i]) {
            n->in[i]->uses++;
            has_grad |= n->in[i]->has_grad || n->in[i]->wants_grad;
        }
    take_node(g, n);
    for (int i = 0; i < n->outputs; i++) {
        n->out[i]->has_grad = has_grad && nc_dtype_get(n->out[i]->dtype)->is_float;
        nc_value_take(g, n->out[i]);
    }
    return n->out[0];
}

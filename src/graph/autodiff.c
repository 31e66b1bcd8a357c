/* autodiff.c - reverse-mode differentiation as a graph transform (Griewank & Walther, "Evaluating Derivatives", ch. 3).
 *
 * One sweep from the loss backwards. Node n with gradients dy of its outputs asks its op for dx of its inputs; contributions to one value are
 * added in the order they appear, which the graph alone fixes. Where a contribution comes from a node with a free accumulator, the sum so far
 * (or the leaf's gradient state) is put there instead of an addition. Gradient nodes are ordinary nodes, so a gradient has a gradient.
 * Stored types: the gradient of a leaf or of a view of one in f32, any other in its value's own dtype; f64 graphs store F64.
 */
#include "graph/core.h"
#include <stdlib.h>

typedef struct sweep {
    nc_graph *g;
    nc_value **grad;                 /* by value id, values made before the sweep */
    int values;                      /* made before the sweep */
    nc_value **twin;                 /* by value id: recomputed twin, or NULL */
    nc_node **twin_node;             /* by order */
    int open_block;                  /* the block whose twins exist */
} sweep;

static bool is_leaf(const nc_value *v) { return !v->node; }

static nc_dtype stored_type(const nc_graph *g, const nc_value *v)
{
    if (g->compute == NC_F64)
        return NC_F64;
    return is_leaf(v->base ? v->base : v) || v->dtype != NC_BF16 ? NC_F32 : NC_BF16;
}

/* c may become sum + c inside c's own node: its op accumulates, the place is free, c is fresh and nothing reads it. Gradients that a forward op gives
 * beside its result run early: they may be added to a leaf's state only. */
static bool can_chain(const nc_value *c, const nc_value *sum, int first_node)
{
    const nc_node *n = c->node;

    return n && (n->order >= first_node || ((n->op->flags & NC_OP_GIVES) && !sum->node)) && c->output == n->op->accumulated && c->uses == 0 && !c->kept && (n->op->flags & NC_OP_ACCUMULATE) && n->inputs > 0 &&
           !n->in[n->inputs - 1] && c->dtype == sum->dtype && nc_shape_equal(&c->shape, &sum->shape) && nc_value_is_contiguous(sum);
}

static nc_value *chain(nc_value *c, nc_value *sum)
{
    nc_node *n = c->node;

    n->in[n->inputs - 1] = sum;
    sum->uses++;
    c->has_grad |= sum->has_grad || sum->wants_grad;
    return c;
}

/* Adds contribution c to what v has so far. first_node: nodes from there on were made for this very call of an op's gradient.
 * `alone`: c is given to one input only. */
static void contribute(sweep *s, nc_value *v, nc_value *c, int first_node, bool alone)
{
    nc_graph *g = s->g;
    nc_value *into = is_leaf(v) ? v->grad_into : NULL, *sum = s->grad[v->id] ? s->grad[v->id] : into;
    nc_dtype t = stored_type(g, v);

    if (into)
        into->is_gradient = true;
    if (sum && alone && can_chain(c, sum, first_node)) {
        s->grad[v->id] = chain(c, sum);
        return;
    }
    if (into) {
        s->grad[v->id] = nc_accumulate(g, c, sum);
        return;
    }
    if (c->dtype != t)
        c = nc_cast(g, c, t);
    s->grad[v->id] = sum ? nc_add(g, sum, c) : c;
}

/* The node whose inputs and outputs the gradient's formula reads: the twin where the block is recomputed. */
static nc_node *formula_node(sweep *s, nc_node *n, bool recompute)
{
    if (!recompute || n->block < 0 || n->backward)
        return n;
    if (s->open_block != n->block) {
        int first = n->order;
        while (first > 0 && s->g->node[first - 1]->block == n->block)
            first--;
        if (nc_block_twin(s->g, n->block, first, n->order + 1, s->twin, s->twin_node) < 0)
            return n;
        s->open_block = n->block;
    }
    return s->twin_node[n->order] ? s->twin_node[n->order] : n;
}

static bool wants(const nc_value *v) { return v && (v->has_grad || v->wants_grad) && nc_dtype_get(v->dtype)->is_float; }

/* One contribution is checked and handed on. */
static void take(sweep *s, nc_node *n, int j, nc_value **dx, int first_node)
{
    nc_graph *g = s->g;
    char a[96], b[96];
    bool alone = true;

    if (!nc_shape_equal(&dx[j]->shape, &n->in[j]->shape)) {
        nc_graph_mistake(g, NC_ESHAPE, "%s: gradient of input %d has shape %s, the input %s", n->op->name, j, nc_shape_str(&dx[j]->shape, a),
                         nc_shape_str(&n->in[j]->shape, b));
        return;
    }
    for (int i = 0; i < n->inputs; i++)
        alone &= i == j || dx[i] != dx[j];
    contribute(s, n->in[j], dx[j], first_node, alone);
}

static void differentiate(sweep *s, nc_node *n, bool recompute)
{
    nc_graph *g = s->g;
    nc_value *dy[NC_MAX_OUTPUTS] = { 0 };
    bool any = false, needed = false;

    for (int o = 0; o < n->outputs; o++)
        any |= (dy[o] = s->grad[n->out[o]->id]) != NULL;
    for (int j = 0; j < n->inputs; j++)
        needed |= wants(n->in[j]);
    if (!any || !needed)
        return;
    g->scope[g->scopes - 1] = n->scope;
    if (!n->op->grad) {
        nc_graph_mistake(g, NC_EUNSUPPORTED, "op %s has no gradient of its own%s", n->op->name,
                         n->backward ? " (it is itself part of a gradient: no second derivative here)" : "");
        return;
    }
    nc_node *formula = formula_node(s, n, recompute);
    nc_value **dx = nc_xcalloc((size_t)n->inputs + 1, sizeof *dx);
    int first_node = g->nodes;
    formula->op->grad(g, formula, dy, dx);
    if ((n->op->flags & NC_OP_ACCUMULATE) && n->in[n->inputs - 1])
        dx[n->inputs - 1] = dy[n->op->accumulated];
    for (int j = 0; j < n->inputs && !nc_graph_failed(g); j++)
        if (dx[j] && wants(n->in[j]))
            take(s, n, j, dx, first_node);
    free(dx);
}

static void remember_leaves(sweep *s)
{
    nc_graph *g = s->g;

    free(g->leaf_grad);
    g->leaf_grad = s->grad;
    g->leaf_grads = s->values;
}

static int start(nc_graph *g, const nc_value *y, nc_error *e)
{
    NC_TRY(nc_graph_check(g, e));
    if (!y->has_grad || !y->node)
        return nc_fail(e, NC_EINVAL, "the loss depends on no leaf that wants a gradient");
    return 0;
}

int nc_graph_backward_from(nc_graph *g, nc_value *y, nc_value *dy, bool recompute, nc_error *e)
{
    NC_TRY(start(g, y, e));
    if (!nc_shape_equal(&y->shape, &dy->shape))
        return nc_fail(e, NC_ESHAPE, "a gradient of shape %s cannot start at a value of shape %s", nc_shape_str(&dy->shape, (char[96]){ 0 }),
                       nc_shape_str(&y->shape, (char[96]){ 0 }));
    sweep s = { .g = g, .values = g->values, .open_block = -1 };
    s.grad = nc_xcalloc((size_t)g->values + 1, sizeof *s.grad);
    s.twin = nc_xcalloc((size_t)g->values + 1, sizeof *s.twin);
    s.twin_node = nc_xcalloc((size_t)g->nodes + 1, sizeof *s.twin_node);
    int scopes = g->scopes, block = g->block;
    bool backward = g->backward;
    nc_scope_push(g, "backward");
    g->backward = true;
    g->block = -1;
    s.grad[y->id] = dy;
    for (int i = y->node->order; i >= 0 && !nc_graph_failed(g); i--)
        differentiate(&s, g->node[i], recompute);
    g->scopes = scopes;
    g->backward = backward;
    g->block = block;
    remember_leaves(&s);
    free(s.twin);
    free(s.twin_node);
    return nc_graph_check(g, e);
}

int nc_graph_backward(nc_graph *g, nc_value *loss, bool recompute, nc_error *e)
{
    NC_TRY(start(g, loss, e));
    if (nc_shape_count(&loss->shape) != 1 || loss->count >= 0)
        return nc_fail(e, NC_ESHAPE, "a gradient is taken of one number, the loss has shape %s", nc_shape_str(&loss->shape, (char[96]){ 0 }));
    return nc_graph_backward_from(g, loss, nc_constant(g, 1, loss->dtype, loss->shape), recompute, e);
}

nc_value *nc_graph_gradient(const nc_graph *g, const nc_value *leaf)
{
    return leaf->id >= 0 && leaf->id < g->leaf_grads ? g->leaf_grad[leaf->id] : NULL;
}

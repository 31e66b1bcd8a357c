/* recompute.c - twins of a block's nodes, so that the block's intermediates need not live until the backward pass
 * (Chen et al., "Training deep nets with sublinear memory cost", 2016).
 *
 * Twins are emitted at the end of the graph, just before the block's gradient: the same op, attributes and order, reading twins of values made in the
 * block and the originals of all others. Twins that nobody reads are dropped by the plan. Random ops are keyed by site, so a twin draws the same numbers.
 * What has an effect, or accumulates, is not made again: its original outputs are read.
 */
#include "graph/core.h"

static nc_value *twin_of(nc_value *v, nc_value *const *twin, int values)
{
    return v && v->id < values && twin[v->id] ? twin[v->id] : v;
}

static bool can_repeat(const nc_node *n)
{
    bool accumulates = (n->op->flags & NC_OP_ACCUMULATE) && n->inputs && n->in[n->inputs - 1];

    return !(n->op->flags & NC_OP_EFFECT) && !accumulates;
}

/* Nodes [from, to) of the block; values below the ids that existed before the sweep are indexed by twin[]. */
int nc_block_twin(nc_graph *g, int block, int from, int to, nc_value **twin, nc_node **twin_node)
{
    nc_value *in[NC_MAX_INPUTS];
    int values = 0;

    for (int i = from; i < to; i++)
        for (int o = 0; o < g->node[i]->outputs; o++)
            if (g->node[i]->out[o]->id >= values)
                values = g->node[i]->out[o]->id + 1;
    for (int i = from; i < to; i++) {
        nc_node *n = g->node[i];
        if (n->block != block || !can_repeat(n))
            continue;
        if (n->inputs > NC_MAX_INPUTS) {
            nc_graph_mistake(g, NC_ELIMIT, "%s: %d inputs are too many for recomputation", n->op->name, n->inputs);
            return NC_ELIMIT;
        }
        for (int j = 0; j < n->inputs; j++)
            in[j] = twin_of(n->in[j], twin, values);
        nc_value *y = nc_emit(g, n->op, n->attr, n->attr_size, in, n->inputs);
        if (nc_graph_failed(g))
            return NC_EINVAL;
        y->node->scope = n->scope;
        twin_node[i] = y->node;
        for (int o = 0; o < n->outputs; o++)
            twin[n->out[o]->id] = y->node->out[o];
    }
    return 0;
}

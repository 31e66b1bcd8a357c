/* core.h - the inside of a graph and of a plan; for the files of graph/ itself; op files see op.h. */
#ifndef NC_GRAPH_CORE_H
#define NC_GRAPH_CORE_H
#include "graph/op.h"

typedef struct nc_count { const char *name; int64_t capacity; } nc_count;

struct nc_graph {
    nc_arena *arena;
    nc_dtype compute;
    nc_error mistake;
    nc_value poison;
    nc_count count[NC_MAX_COUNTS];
    int counts;
    nc_value **value;                /* by id */
    int values, value_room;
    nc_node **node;                  /* by order */
    int nodes, node_room;
    const char **scope;              /* stack of full paths */
    int scopes, scope_room;
    int block, blocks;               /* the open block or -1; blocks so far */
    bool backward;                   /* nodes emitted now belong to a gradient */
    nc_value **leaf_grad;            /* by value id, from the last nc_graph_backward */
    int leaf_grads;
};

/* A new value of shape s, row-major, uncounted; it gets an id when it is taken into the graph. */
nc_value *nc_value_new(nc_graph *g, nc_value_kind kind, nc_dtype t, nc_shape s);
void nc_value_take(nc_graph *g, nc_value *v);
void nc_row_major(nc_value *v);
const char *nc_graph_scope(const nc_graph *g);

/* recompute.c: twins of a block's nodes, emitted at the end of the graph. twin[id] maps a value to its twin (NULL: none). */
int nc_block_twin(nc_graph *g, int block, int from, int to, nc_value **twin, nc_node **twin_node);

typedef struct nc_step { const nc_node *node; int (*run)(const nc_node *n, const nc_run *r); size_t workspace_at; } nc_step;
typedef struct nc_alias { nc_value *value; const nc_value *root; int64_t bytes; } nc_alias;   /* its memory is root's (an input or a state), bytes further */

struct nc_plan {
    nc_graph *g;
    nc_arena *arena;
    int threads;
    nc_step *step;
    int steps;
    nc_value **placed;               /* values in the plan's memory, and where */
    size_t *at;
    int placements;
    nc_alias *alias;
    int aliases;
    nc_value **leaf;                 /* inputs and states that a step reads */
    int leaves;
    double **squares;                /* those of the states that steps write: 0 until they are counted */
    int squared;
    size_t bytes;
    void *memory, *owned;
    bool profile;
    double *seconds;                 /* by step */
    uint64_t *calls;
    double *flops, *moved;           /* by step, summed over runs */
};
void nc_node_cost(const nc_node *n, const int64_t *counts, double *flops, double *bytes);
/* parts.c: place[v], by value id, is the unslice whose input v is to be made in its place; NULL elsewhere. Such an unslice has nothing to do. */
void nc_parts_assign(nc_graph *g, const bool *live, nc_node **place);
/* Lays spans of time [first, last] of given bytes into one arena; at[i] is each one's place. Returns the arena's bytes. */
typedef struct nc_lifetime { size_t bytes; int first, last; } nc_lifetime;
size_t nc_layout(const nc_lifetime *life, int count, size_t *at);
#endif

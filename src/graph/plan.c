/* plan.c - which nodes run, which values share memory, and where each lies.
 *
 * 1. Dead nodes: a node runs if it has an effect (NC_OP_EFFECT, or it accumulates into a state), or if a kept value or a running node reads it.
 * 2. Buffers: a view shares its base's, an accumulating node's output its accumulator's, an in-place node's output its input 0's when that ends there.
 *    Where an accumulator is still read later the output gets its own buffer and the runner copies (copy_acc).
 *    Parts of a whole whose maker can leave gaps between rows are made in the whole's memory (parts.c).
 * 3. Lifetimes by order of emission; kept values live to the end; a node's workspace lives for that node. nc_layout places them.
 */
#include "graph/core.h"
#include <stdlib.h>

enum { NEVER = -1, FOREVER = INT32_MAX };

typedef struct buffer { size_t bytes; int first, last; } buffer;

typedef struct planner {
    nc_graph *g;
    nc_plan *p;
    bool *live;                      /* by node */
    int *last;                       /* by value: the last live node that reads it or a view of it; NEVER, FOREVER when kept */
    int *buffer;                     /* by value: its buffer, -1 for inputs, states and what is never made */
    const nc_value **root;           /* by value: the input or state whose memory it is, or NULL */
    int64_t *shift;                  /* by value: bytes from the start of its buffer or root */
    buffer *buffers;
    int buffer_count;
    int *workspace;                  /* by node: its buffer or -1 */
    nc_node **place;                 /* by value: the unslice it is made into (parts.c), or NULL */
} planner;

static bool makes_view(const nc_node *n) { return n->op->flags & NC_OP_VIEW; }

static nc_value *accumulator(const nc_node *n) { return (n->op->flags & NC_OP_ACCUMULATE) && n->inputs ? n->in[n->inputs - 1] : NULL; }

/* The value whose memory v is, through views and through accumulation; for finding effects on states before buffers exist. */
static const nc_value *owner(const nc_value *v)
{
    for (;;) {
        if (v->base)
            v = v->base;
        else if (v->node && v->output == v->node->op->accumulated && accumulator(v->node))
            v = accumulator(v->node);
        else
            return v;
    }
}

static bool has_effect(const nc_node *n)
{
    const nc_value *acc = accumulator(n);

    return (n->op->flags & NC_OP_EFFECT) || (acc && owner(acc)->kind == NC_VALUE_STATE);
}

/* Readers come after makers, so one sweep from the end settles who lives. */
static void mark_live(planner *k)
{
    nc_graph *g = k->g;

    for (int i = g->nodes - 1; i >= 0; i--) {
        nc_node *n = g->node[i];
        bool live = k->live[i] || has_effect(n);
        for (int o = 0; o < n->outputs; o++)
            live |= n->out[o]->kept;
        k->live[i] = live;
        for (int j = 0; live && j < n->inputs; j++)
            if (n->in[j] && n->in[j]->node)
                k->live[n->in[j]->node->order] = true;
    }
}

/* The last node that writes a state counts its squares, if it can and writes all of it. Until then they are unknown. */
static void mark_squares(planner *k)
{
    nc_graph *g = k->g;
    bool *seen = nc_xcalloc((size_t)g->values + 1, 1);

    k->p->squares = NC_NEW_ARRAY(k->p->arena, double *, g->values + 1);
    for (int i = g->nodes - 1; i >= 0; i--) {
        nc_node *n = g->node[i];
        nc_value *acc = k->live[i] ? accumulator(n) : NULL;
        const nc_value *state = acc ? owner(acc) : NULL;
        n->squares = NULL;
        if (!state || state->kind != NC_VALUE_STATE || !state->squares || seen[state->id])
            continue;
        seen[state->id] = true;
        k->p->squares[k->p->squared++] = state->squares;
        if ((n->op->flags & NC_OP_SQUARES) && nc_shape_equal(&n->out[n->op->accumulated]->shape, &state->shape))
            n->squares = state->squares;
    }
    free(seen);
}

/* last[] of a base covers its views; views come after bases, so again one sweep from the end. */
static void mark_last(planner *k)
{
    nc_graph *g = k->g;

    for (int v = 0; v < g->values; v++)
        k->last[v] = g->value[v]->kept ? FOREVER : NEVER;
    for (int i = 0; i < g->nodes; i++)
        for (int j = 0; k->live[i] && !makes_view(g->node[i]) && j < g->node[i]->inputs; j++) {
            const nc_value *v = g->node[i]->in[j];
            if (v && k->last[v->id] < i)
                k->last[v->id] = i;
        }
    for (int v = g->values - 1; v >= 0; v--) {
        const nc_value *base = g->value[v]->base;
        if (base && k->last[base->id] < k->last[v])
            k->last[base->id] = k->last[v];
    }
}

static size_t value_bytes(const nc_value *v) { return nc_dtype_bytes(v->dtype, nc_shape_count(&v->shape)); }

static int new_buffer(planner *k, size_t bytes, int first, int last)
{
    k->buffers[k->buffer_count] = (buffer){ bytes, first, last < first ? first : last };
    return k->buffer_count++;
}

/* v's memory starts where `from`'s does, `bytes` further. */
static void share(planner *k, const nc_value *v, const nc_value *from, int64_t bytes)
{
    int b = k->buffer[from->id];

    k->buffer[v->id] = b;
    k->root[v->id] = k->root[from->id];
    k->shift[v->id] = k->shift[from->id] + bytes;
    if (b >= 0 && k->last[v->id] > k->buffers[b].last)
        k->buffers[b].last = k->last[v->id];
}

/* Nobody reads `from`'s buffer after node n, and no other input of n lies in it. */
static bool ends_here(const planner *k, const nc_node *n, int input)
{
    int b = k->buffer[n->in[input]->id];

    if (b < 0 || k->buffers[b].last != n->order)
        return false;
    for (int j = 0; j < n->inputs; j++)
        if (j != input && n->in[j] && k->buffer[n->in[j]->id] == b)
            return false;
    return true;
}

static bool can_run_in_place(const planner *k, const nc_node *n)
{
    if (!(n->op->flags & NC_OP_INPLACE) || !n->inputs || !n->in[0] || !ends_here(k, n, 0))
        return false;
    const nc_value *v = n->in[0];
    return nc_value_is_contiguous(v) && value_bytes(v) == value_bytes(n->out[0]) && k->shift[v->id] == 0 &&
           k->buffers[k->buffer[v->id]].bytes == value_bytes(v);
}

/* Nothing is left of this unslice: its input is made in its place. */
static bool is_placed(const planner *k, const nc_node *n)
{
    const nc_value *x = n->inputs ? n->in[0] : NULL;
    return x && k->place[(x->base ? x->base : x)->id] == n;
}

/* v, made by node n, becomes columns of the unslice's memory, which begins here if no other part has begun it. */
static void give_place(planner *k, const nc_node *n, nc_value *v)
{
    const nc_node *u = k->place[v->id], *first = u;

    while (first->in[1])
        first = first->in[1]->node;
    nc_value *whole = first->out[0];
    if (k->buffer[whole->id] < 0)
        k->buffer[whole->id] = new_buffer(k, value_bytes(whole), n->order, k->last[whole->id]);
    share(k, v, whole, nc_unslice_start(u) * nc_dtype_get(v->dtype)->bytes);
    v->stride[0] = whole->shape.dim[1];
}

static void give_memory(planner *k, nc_node *n)
{
    nc_value *acc = accumulator(n), *sum = acc ? n->out[n->op->accumulated] : NULL;

    n->copy_acc = false;
    for (int o = 0; o < n->outputs; o++) {
        nc_value *v = n->out[o];
        if (o > 0 && k->last[v->id] == NEVER && v != sum)
            continue;
        if (n->op->flags & NC_OP_PLACES)
            nc_row_major(v);
        if (v->base)
            share(k, v, v->base, v->offset * nc_dtype_get(v->dtype)->bytes);
        else if (k->place[v->id])
            give_place(k, n, v);
        else if (is_placed(k, n))
            share(k, v, acc ? acc : v, 0);
        else if (v == sum && (k->root[acc->id] ? k->root[acc->id]->kind == NC_VALUE_STATE : ends_here(k, n, n->inputs - 1)))
            share(k, v, acc, 0);
        else if (o == 0 && !acc && can_run_in_place(k, n))
            share(k, v, n->in[0], 0);
        else {
            k->buffer[v->id] = new_buffer(k, value_bytes(v), n->order, k->last[v->id]);
            n->copy_acc |= v == sum;
        }
    }
    n->workspace = n->op->workspace ? n->op->workspace(n, k->p->threads) : 0;
    k->workspace[n->order] = n->workspace ? new_buffer(k, n->workspace, n->order, n->order) : -1;
}

static void assign_buffers(planner *k)
{
    nc_graph *g = k->g;

    for (int v = 0; v < g->values; v++) {
        k->buffer[v] = -1;
        if (!g->value[v]->node)
            k->root[v] = g->value[v];
    }
    for (int i = 0; i < g->nodes; i++)
        if (k->live[i])
            give_memory(k, g->node[i]);
}

/* Steps, placements and aliases in the plan's own arrays, which the runner walks. */
static void write_down(planner *k, const size_t *at)
{
    nc_graph *g = k->g;
    nc_plan *p = k->p;
    bool *read = nc_xcalloc((size_t)g->values + 1, 1);

    p->step = NC_NEW_ARRAY(p->arena, nc_step, g->nodes + 1);
    p->placed = NC_NEW_ARRAY(p->arena, nc_value *, g->values + 1);
    p->at = NC_NEW_ARRAY(p->arena, size_t, g->values + 1);
    p->alias = NC_NEW_ARRAY(p->arena, nc_alias, g->values + 1);
    p->leaf = NC_NEW_ARRAY(p->arena, nc_value *, g->values + 1);
    for (int i = 0; i < g->nodes; i++) {
        const nc_node *n = g->node[i];
        if (!k->live[i])
            continue;
        for (int j = 0; j < n->inputs; j++)
            if (n->in[j] && !n->in[j]->node)
                read[n->in[j]->id] = true;
        if (!makes_view(n) && !is_placed(k, n))
            p->step[p->steps++] = (nc_step){ n, n->op->run, k->workspace[i] >= 0 ? at[k->workspace[i]] : 0 };
    }
    for (int v = 0; v < g->values; v++) {
        nc_value *value = g->value[v];
        if (!value->node) {
            if (read[v])
                p->leaf[p->leaves++] = value;
        } else if (k->buffer[v] >= 0) {
            p->placed[p->placements] = value;
            p->at[p->placements++] = at[k->buffer[v]] + (size_t)k->shift[v];
        } else {
            value->data = NULL;
            if (k->root[v])
                p->alias[p->aliases++] = (nc_alias){ value, k->root[v], k->shift[v] };
        }
    }
    free(read);
    p->seconds = NC_NEW_ARRAY(p->arena, double, p->steps + 1);
    p->flops = NC_NEW_ARRAY(p->arena, double, p->steps + 1);
    p->moved = NC_NEW_ARRAY(p->arena, double, p->steps + 1);
    p->calls = NC_NEW_ARRAY(p->arena, uint64_t, p->steps + 1);
}

static void lay_out(planner *k)
{
    nc_lifetime *life = nc_xcalloc((size_t)k->buffer_count + 1, sizeof *life);
    size_t *at = nc_xcalloc((size_t)k->buffer_count + 1, sizeof *at);

    for (int i = 0; i < k->buffer_count; i++)
        life[i] = (nc_lifetime){ k->buffers[i].bytes, k->buffers[i].first, k->buffers[i].last };
    k->p->bytes = nc_layout(life, k->buffer_count, at);
    write_down(k, at);
    free(life);
    free(at);
}

/* A node's run may be missing only where it makes a view; said here once so that the runner need not ask. */
static int check_runnable(const planner *k, nc_error *e)
{
    for (int i = 0; i < k->g->nodes; i++) {
        const nc_node *n = k->g->node[i];
        if (k->live[i] && !makes_view(n) && !n->op->run)
            return nc_fail(e, NC_EUNSUPPORTED, "%s: op %s cannot run on this device", n->scope, n->op->name);
    }
    return 0;
}

int nc_plan_new(nc_graph *g, int threads, nc_plan **out, nc_error *e)
{
    *out = NULL;
    NC_TRY(nc_graph_check(g, e));
    nc_arena *a = nc_arena_new(), *scratch = nc_arena_new();
    nc_plan *p = NC_NEW(a, nc_plan);
    *p = (nc_plan){ .g = g, .arena = a, .threads = threads < 1 ? 1 : threads };
    planner k = { .g = g, .p = p,
                  .live = NC_NEW_ARRAY(scratch, bool, g->nodes + 1), .last = NC_NEW_ARRAY(scratch, int, g->values + 1),
                  .buffer = NC_NEW_ARRAY(scratch, int, g->values + 1), .root = NC_NEW_ARRAY(scratch, const nc_value *, g->values + 1),
                  .shift = NC_NEW_ARRAY(scratch, int64_t, g->values + 1), .buffers = NC_NEW_ARRAY(scratch, buffer, g->values + g->nodes + 1),
                  .workspace = NC_NEW_ARRAY(scratch, int, g->nodes + 1), .place = NC_NEW_ARRAY(scratch, nc_node *, g->values + 1) };
    mark_live(&k);
    int rc = check_runnable(&k, e);
    if (rc == 0) {
        nc_parts_assign(g, k.live, k.place);
        mark_squares(&k);
        mark_last(&k);
        assign_buffers(&k);
        lay_out(&k);
        *out = p;
    }
    nc_arena_free(scratch);
    if (rc < 0)
        nc_arena_free(a);
    return rc;
}

size_t nc_plan_bytes(const nc_plan *p) { return p->bytes; }

int nc_plan_bind(nc_plan *p, void *memory, nc_error *e)
{
    char text[32];

    if (!memory && p->bytes) {
        if (!p->owned && !(p->owned = nc_pages_alloc(p->bytes)))
            return nc_fail(e, NC_ENOMEM, "the plan needs %s for intermediates, which the system refuses", nc_human_bytes((double)p->bytes, text));
        memory = p->owned;
    }
    if ((uintptr_t)memory % 64)
        return nc_fail(e, NC_EINVAL, "a plan's memory must be 64-byte aligned");
    p->memory = memory;
    for (int i = 0; i < p->placements; i++)
        p->placed[i]->data = (char *)memory + p->at[i];
    return 0;
}

void nc_plan_free(nc_plan *p)
{
    if (!p)
        return;
    for (int i = 0; i < p->placements; i++)
        p->placed[i]->data = NULL;
    nc_pages_free(p->owned, p->bytes);
    nc_arena_free(p->arena);
}

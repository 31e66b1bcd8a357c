/* graph.c - the graph's own memory, counts, leaves, names, scopes and blocks. Everything lives in one arena and dies whole. */
#include "graph/core.h"
#include <stdio.h>
#include <stdlib.h>

nc_graph *nc_graph_new(nc_dtype compute)
{
    nc_arena *a = nc_arena_new();
    nc_graph *g = NC_NEW(a, nc_graph);

    g->arena = a;
    g->compute = compute;
    g->block = -1;
    g->poison = (nc_value){ .kind = NC_VALUE_INPUT, .dtype = compute, .shape = NC_SHAPE(1, 1), .stride = { 1, 1 }, .count = -1, .count_scale = 1,
                            .name = "poison", .id = -1 };
    if (!nc_is_compute(compute))
        nc_graph_mistake(g, NC_EINVAL, "a graph computes in F32, BF16 or F64, not in %s", nc_dtype_name(compute));
    return g;
}

void nc_graph_free(nc_graph *g)
{
    if (!g)
        return;
    free(g->value);
    free(g->node);
    free(g->scope);
    free(g->leaf_grad);
    nc_arena_free(g->arena);
}

nc_arena *nc_graph_arena(nc_graph *g) { return g->arena; }
nc_dtype nc_graph_compute(const nc_graph *g) { return g->compute; }
bool nc_graph_failed(const nc_graph *g) { return g->mistake.code != 0; }
nc_value *nc_graph_poison(nc_graph *g) { return &g->poison; }
int nc_graph_nodes(const nc_graph *g) { return g->nodes; }
nc_node *nc_graph_node(const nc_graph *g, int i) { return i >= 0 && i < g->nodes ? g->node[i] : NULL; }

int nc_graph_check(nc_graph *g, nc_error *e)
{
    return g->mistake.code ? nc_fail(e, g->mistake.code, "%s", g->mistake.message) : 0;
}

/* Only the first mistake is kept: those after it are its consequences. */
void nc_graph_mistake(nc_graph *g, int code, const char *format, ...)
{
    va_list args;

    if (g->mistake.code)
        return;
    va_start(args, format);
    nc_failv(&g->mistake, code, format, args);
    va_end(args);
    if (*nc_graph_scope(g))
        nc_fail_in(&g->mistake, "%s", nc_graph_scope(g));
}

int nc_graph_count(nc_graph *g, const char *name, int64_t capacity)
{
    for (int i = 0; i < g->counts; i++)
        if (!strcmp(g->count[i].name, name)) {
            if (g->count[i].capacity != capacity)
                nc_graph_mistake(g, NC_EINVAL, "count %s has capacity %lld, asked for again with %lld", name, (long long)g->count[i].capacity,
                                 (long long)capacity);
            return i;
        }
    if (g->counts == NC_MAX_COUNTS || capacity < 0) {
        nc_graph_mistake(g, NC_ELIMIT, "count %s of capacity %lld: at most %d counts, capacities from 0", name, (long long)capacity, NC_MAX_COUNTS);
        return 0;
    }
    g->count[g->counts] = (nc_count){ nc_arena_strdup(g->arena, name), capacity };
    return g->counts++;
}

int64_t nc_graph_capacity(const nc_graph *g, int count) { return count >= 0 && count < g->counts ? g->count[count].capacity : 0; }
const char *nc_graph_count_name(const nc_graph *g, int count) { return count >= 0 && count < g->counts ? g->count[count].name : ""; }
int nc_graph_counts(const nc_graph *g) { return g->counts; }

void nc_row_major(nc_value *v)
{
    int64_t stride = 1;

    for (int i = v->shape.rank - 1; i >= 0; i--) {
        v->stride[i] = stride;
        stride *= v->shape.dim[i];
    }
}

bool nc_value_is_contiguous(const nc_value *v)
{
    int64_t stride = 1;

    for (int i = v->shape.rank - 1; i >= 0; i--) {
        if (v->shape.dim[i] != 1 && v->stride[i] != stride)
            return false;
        stride *= v->shape.dim[i];
    }
    return true;
}

nc_value *nc_value_new(nc_graph *g, nc_value_kind kind, nc_dtype t, nc_shape s)
{
    nc_value *v = NC_NEW(g->arena, nc_value);

    v->kind = kind;
    v->dtype = t;
    v->shape = s;
    v->count = -1;
    v->count_scale = 1;
    v->id = -1;
    nc_row_major(v);
    return v;
}

void nc_value_take(nc_graph *g, nc_value *v)
{
    if (g->values == g->value_room) {
        g->value_room = g->value_room ? 2 * g->value_room : 256;
        g->value = nc_xrealloc(g->value, sizeof *g->value * (size_t)g->value_room);
    }
    v->id = g->values;
    g->value[g->values++] = v;
}

static nc_value *leaf(nc_graph *g, nc_value_kind kind, const char *name, nc_dtype t, nc_shape s)
{
    size_t bytes;
    char text[96];

    if (nc_shape_bytes(&s, t, &bytes) < 0)
        nc_graph_mistake(g, NC_ESHAPE, "%s: no memory can hold %s %s", name ? name : "constant", nc_dtype_name(t), nc_shape_str(&s, text));
    nc_value *v = nc_value_new(g, kind, t, s);
    v->name = name ? nc_arena_strdup(g->arena, name) : NULL;
    nc_value_take(g, v);
    return v;
}

nc_value *nc_input(nc_graph *g, const char *name, nc_dtype t, nc_shape s, int count)
{
    if (count >= g->counts || (count >= 0 && s.rank == 0)) {
        nc_graph_mistake(g, NC_EINVAL, "input %s: no count %d, or a scalar with a count", name, count);
        return &g->poison;
    }
    if (count >= 0)
        s.dim[0] = g->count[count].capacity;
    nc_value *v = leaf(g, NC_VALUE_INPUT, name, t, s);
    v->count = count < 0 ? -1 : count;
    return v;
}

nc_value *nc_state(nc_graph *g, const char *name, nc_dtype t, nc_shape s, void *data)
{
    nc_value *v = leaf(g, NC_VALUE_STATE, name, t, s);

    v->data = data;
    return v;
}

/* An input whose data the graph brings along. In an f64 graph every float is F64. */
nc_value *nc_constant(nc_graph *g, double x, nc_dtype t, nc_shape s)
{
    if (g->compute == NC_F64 && nc_is_compute(t))
        t = NC_F64;
    nc_value *v = leaf(g, NC_VALUE_INPUT, NULL, t, s);
    if (nc_graph_failed(g))
        return &g->poison;
    int64_t n = nc_shape_count(&s);
    v->data = nc_arena_alloc(g->arena, nc_dtype_bytes(t, n) + 1);
    for (int64_t i = 0; i < n; i++)
        nc_dtype_store(t, v->data, i, x);
    return v;
}

const char *nc_graph_scope(const nc_graph *g) { return g->scopes ? g->scope[g->scopes - 1] : ""; }

void nc_scope_push(nc_graph *g, const char *format, ...)
{
    char part[256];
    va_list args;

    va_start(args, format);
    vsnprintf(part, sizeof part, format, args);
    va_end(args);
    if (g->scopes == g->scope_room) {
        g->scope_room = g->scope_room ? 2 * g->scope_room : 16;
        g->scope = nc_xrealloc(g->scope, sizeof *g->scope * (size_t)g->scope_room);
    }
    g->scope[g->scopes] = g->scopes ? nc_arena_printf(g->arena, "%s.%s", nc_graph_scope(g), part) : nc_arena_strdup(g->arena, part);
    g->scopes++;
}

void nc_scope_pop(nc_graph *g)
{
    if (g->scopes)
        g->scopes--;
    else
        nc_graph_mistake(g, NC_EINVAL, "a scope is closed that was not opened");
}

void nc_block_begin(nc_graph *g)
{
    if (g->block >= 0)
        nc_graph_mistake(g, NC_EINVAL, "blocks do not nest");
    g->block = g->blocks++;
}

void nc_block_end(nc_graph *g)
{
    if (g->block < 0)
        nc_graph_mistake(g, NC_EINVAL, "a block is closed that was not opened");
    g->block = -1;
}

nc_value *nc_name(nc_graph *g, nc_value *v, const char *format, ...)
{
    char part[256];
    va_list args;

    if (v == &g->poison)
        return v;
    va_start(args, format);
    vsnprintf(part, sizeof part, format, args);
    va_end(args);
    v->name = g->scopes ? nc_arena_printf(g->arena, "%s.%s", nc_graph_scope(g), part) : nc_arena_strdup(g->arena, part);
    return v;
}

nc_value *nc_graph_find(const nc_graph *g, const char *name)
{
    for (int i = g->values - 1; i >= 0; i--)
        if (g->value[i]->name && !strcmp(g->value[i]->name, name))
            return g->value[i];
    return NULL;
}

void nc_keep(nc_graph *g, nc_value *v)
{
    if (v != &g->poison)
        v->kept = true;
}

#define OP(name) &nc_op_##name,
static const nc_op *const ops[] = {
#include "graph/ops/ops.list"
};
#undef OP

int nc_op_count(void) { return NC_COUNT(ops); }
const nc_op *nc_op_at(int i) { return i >= 0 && i < NC_COUNT(ops) ? ops[i] : NULL; }

const nc_op *nc_op_find(const char *name)
{
    for (int i = 0; i < NC_COUNT(ops); i++)
        if (!strcmp(ops[i]->name, name))
            return ops[i];
    return NULL;
}

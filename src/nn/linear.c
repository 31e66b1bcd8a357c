/* linear.c - the few functions through which a weight is used; adapters, storage kinds and taps reach every model here. */
#include "nn/build.h"

#include <stdio.h>

nc_value *nc_linear(nc_build *b, nc_value *x, nc_site *w, nc_site *bias)
{
    nc_value *y = nc_linear_op(b->g, x, nc_site_value(b, w), nc_site_value(b, bias), NC_DTYPES);
    for (nc_adapter *a = w->adapters; a; a = a->next)
        y = a->apply(a, b, w, x, y);
    return y;
}

nc_value *nc_embed(nc_build *b, nc_site *table, nc_value *ids)
{
    return nc_embedding(b->g, nc_site_value(b, table), ids);
}

nc_value *nc_rms(nc_build *b, nc_value *x, nc_site *w, double eps)
{
    return nc_rms_norm(b->g, x, nc_site_value(b, w), eps, 0);
}

nc_value *nc_ln(nc_build *b, nc_value *x, nc_site *w, nc_site *bias, double eps)
{
    return nc_layer_norm(b->g, x, nc_site_value(b, w), nc_site_value(b, bias), eps);
}

nc_value *nc_mlp(nc_build *b, nc_unary activation, nc_value *x, nc_site *w1, nc_site *b1, nc_site *w2, nc_site *b2)
{
    x = nc_point(b, x, "mlp.in");
    return nc_point(b, nc_linear(b, nc_unary_op(b->g, activation, nc_linear(b, x, w1, b1)), w2, b2), "mlp.out");
}

nc_value *nc_gated_mlp(nc_build *b, nc_unary activation, nc_value *x, nc_site *gate, nc_site *up, nc_site *down)
{
    x = nc_point(b, x, "mlp.in");
    nc_value *h = nc_gated(b->g, activation, nc_linear(b, x, gate, NULL), nc_linear(b, x, up, NULL));
    return nc_point(b, nc_linear(b, h, down, NULL), "mlp.out");
}

static nc_value *split_heads(nc_build *b, nc_value *x, int heads)
{
    int64_t width = x->shape.dim[x->shape.rank - 1];
    return x->shape.rank == 3 ? x : nc_reshape(b->g, x, NC_SHAPE(x->shape.dim[0], heads, width / heads));
}

static nc_value *attend(nc_build *b, nc_value *q, nc_value *k, nc_value *v, const nc_attention_attr *attr)
{
    nc_value *y = nc_attention(b->g, q, k, v, attr);
    return nc_reshape(b->g, y, NC_SHAPE(y->shape.dim[0], y->shape.dim[1] * y->shape.dim[2]));
}

nc_value *nc_attend_heads(nc_build *b, nc_value *q, nc_value *k, nc_value *v, const nc_attend *a)
{
    nc_attention_attr attr = { .spans = a->spans, .scale = a->scale, .soft_cap = a->soft_cap, .window = a->window, .slopes = a->slopes, .bias = a->bias, .q_code = a->q_code, .k_code = a->k_code,
                               .bias_offset = a->bias_offset, .list = a->list };
    if (a->cached && b->cache) {
        attr.cache = b->cache;
        attr.layer = b->layer++;
    }
    return attend(b, split_heads(b, q, a->heads), split_heads(b, k, a->kv_heads), split_heads(b, v, a->kv_heads), &attr);
}

nc_value *nc_attend_cross(nc_build *b, nc_value *q, nc_value *k, nc_value *v, const nc_attend *a)
{
    nc_attention_attr attr = { .spans = nc_in_spans(b, "cross"), .scale = a->scale };
    const int layer = b->cross++;
    q = split_heads(b, q, a->heads);
    if (k)
        return attend(b, q, split_heads(b, k, a->kv_heads), split_heads(b, v, a->kv_heads), &attr);
    attr.cache = b->cache;
    attr.layer = layer;
    nc_value *none = nc_slice(b->g, q, 1, 0, a->kv_heads);   /* no span has new rows: only the shape counts */
    return attend(b, q, none, none, &attr);
}

void nc_keep_cross(nc_build *b, nc_value *k, nc_value *v, const nc_attend *a, int layer)
{
    k = split_heads(b, k, a->kv_heads);
    nc_attention(b->g, k, k, split_heads(b, v, a->kv_heads), &(nc_attention_attr){ .spans = nc_in_spans(b, "cross"), .cache = b->cache, .layer = layer });
}

nc_value *nc_point(nc_build *b, nc_value *x, const char *name)
{
    for (int i = 0; i < b->points; i++)
        x = b->point[i](b->point_context[i], b, x, name);
    return x;
}

void nc_build_point(nc_build *b, nc_point_fn *fn, void *context)
{
    if (b->points == NC_COUNT(b->point)) {
        nc_graph_mistake(b->g, NC_ELIMIT, "more than %d insertions at the named points", NC_COUNT(b->point));
        return;
    }
    b->point[b->points] = fn;
    b->point_context[b->points++] = context;
}

nc_value *nc_probe(nc_build *b, nc_value *x, const char *format, ...)
{
    if (!b->probes && !b->kept_probe)
        return x;
    char name[96];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    if (b->probes || !strcmp(name, b->kept_probe))
        nc_build_keep(b, x, name);
    return x;
}

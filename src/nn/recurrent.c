/* recurrent.c - see recurrent.h. */
#include "nn/recurrent.h"

nc_recurrent_attr nc_recur(nc_build *b, int64_t floats)
{
    nc_recurrent_attr a = { .spans = nc_in_spans(b, "text"), .cache = b->cache, .state = b->state };
    b->state += floats;
    if (b->cache && b->state > b->cache->states)
        nc_graph_mistake(b->g, NC_EINVAL, "recurrent layers need %lld numbers of state for a sequence, the cache holds %lld", (long long)b->state, (long long)b->cache->states);
    return a;
}

static nc_dtype wide(const nc_build *b) { return nc_graph_compute(b->g) == NC_F64 ? NC_F64 : NC_F32; }

nc_value *nc_widen(nc_build *b, nc_value *x) { return x->dtype == wide(b) ? x : nc_cast(b->g, x, wide(b)); }
nc_value *nc_narrow(nc_build *b, nc_value *x) { return x->dtype == nc_graph_compute(b->g) ? x : nc_cast(b->g, x, nc_graph_compute(b->g)); }
nc_value *nc_site_wide(nc_build *b, nc_site *s) { return s ? nc_widen(b, nc_site_value(b, s)) : NULL; }

nc_value *nc_short_conv(nc_build *b, nc_value *x, nc_site *w, nc_site *bias)
{
    const int64_t C = w->shape.dim[0], T = nc_shape_last(&w->shape);
    nc_recurrent_attr a = nc_recur(b, nc_causal_conv_state(C, T));
    return nc_causal_conv(b->g, nc_widen(b, x), nc_reshape(b->g, nc_site_wide(b, w), NC_SHAPE(C, T)), nc_site_wide(b, bias), &a);
}

nc_value *nc_row_before(nc_build *b, nc_value *x)
{
    nc_recurrent_attr a = nc_recur(b, nc_causal_conv_state(nc_shape_last(&x->shape), 2));
    return nc_narrow(b, nc_causal_conv(b->g, nc_widen(b, x), NULL, NULL, &a));
}

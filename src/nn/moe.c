/* moe.c - see moe.h. Rows are brought together by expert, so that each expert's weights are read once a step for all its rows. */
#include "nn/moe.h"

static nc_value *experts(nc_build *b, nc_value *x, nc_value *starts, nc_site **site, int count)
{
    nc_value *w[NC_MAX_EXPERTS];
    for (int i = 0; i < count && i < NC_MAX_EXPERTS; i++) {
        w[i] = nc_site_value(b, site[i]);
        if (site[i]->adapters)
            nc_graph_mistake(b->g, NC_EUNSUPPORTED, "%s: adapters on a single expert's weights are not known", site[i]->name);
    }
    return nc_expert_linear(b->g, x, starts, w, count);
}

/* What nc_moe_balance needs of one router. */
static void count_choices(nc_build *b, const nc_moe *m, nc_value *share, nc_value *chosen)
{
    nc_value *load = nc_sum(b->g, nc_put_columns(b->g, NULL, chosen, m->experts), 0, false);
    share = nc_sum(b->g, share, 0, false);
    b->expert_top = m->top;
    b->expert_load = b->expert_load ? nc_add(b->g, b->expert_load, load) : load;
    b->expert_share = b->expert_share ? nc_add(b->g, b->expert_share, share) : share;
}

nc_value *nc_moe_mlp(nc_build *b, nc_value *x, const nc_moe *m)
{
    nc_dtype wide = nc_graph_compute(b->g) == NC_F64 ? NC_F64 : NC_F32;
    nc_value *logits = nc_probe(b, nc_cast(b->g, nc_linear(b, x, m->router, NULL), wide), "aux.router_logits.%d", b->routers++);
    nc_value *s = m->sigmoid ? nc_unary_op(b->g, NC_SIGMOID, logits) : nc_softmax(b->g, logits), *by = nc_stop_gradient(b->g, s);
    if (m->choose_bias)
        by = nc_add(b->g, by, nc_stop_gradient(b->g, nc_cast(b->g, nc_site_value(b, m->choose_bias), wide)));
    nc_value *chosen = nc_top_columns(b->g, by, &(nc_top_attr){ m->top, m->groups, m->top_groups, m->group_best });
    if (b->balance)
        count_choices(b, m, s, chosen);
    nc_value *w = nc_take_columns(b->g, s, chosen);
    if (m->normalize)
        w = nc_div(b->g, w, nc_affine(b->g, nc_sum(b->g, w, 1, true), 1, m->sum_floor));
    w = m->scale != 1 ? nc_affine(b->g, w, m->scale, 0) : w;
    nc_value *slots = nc_expert_rows(b->g, chosen, m->experts), *place = nc_output(slots, 1), *starts = nc_output(slots, 2);
    nc_value *rows = nc_gather_rows(b->g, x, slots);
    nc_value *h = nc_gated(b->g, m->activation, experts(b, rows, starts, m->gate, m->experts), experts(b, rows, starts, m->up, m->experts));
    return nc_gather_weighted(b->g, experts(b, h, starts, m->down, m->experts), place, w);
}

nc_value *nc_moe_balance(nc_build *b)
{
    if (!b->expert_load)
        return NULL;
    double experts_of = (double)nc_shape_last(&b->expert_load->shape);
    nc_value *rows = nc_affine(b->g, nc_sum_all(b->g, b->expert_load), 1.0 / b->expert_top, 0);   /* of all routers: each makes expert_top choices a row */
    nc_value *both = nc_affine(b->g, nc_sum_all(b->g, nc_mul(b->g, b->expert_share, b->expert_load)), experts_of, 0);
    return nc_div(b->g, both, nc_mul(b->g, rows, rows));
}

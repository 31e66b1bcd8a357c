/* convnet.c - see convnet.h. */
#include "models/convnet.h"

void nc_convnet_config(nc_model *m, nc_convnet *c, nc_config *r)
{
    static const char *const ignored[] = { "out_features", "out_indices", "stage_names", "drop_path_rate", NULL };
    c->channels = (int)nc_config_int(r, "num_channels", 3);
    c->class = nc_config_class(m, r);
    c->is_bare = m->parent || !*c->class || nc_ends_with(c->class, "Model") || nc_ends_with(c->class, "Backbone");
    nc_config_ignore(r, ignored);
    if (c->channels < 1)
        nc_config_mistake(r, "num_channels is %d", c->channels);
    if (!c->is_bare)
        nc_config_labels(m, r);
}

const char *nc_convnet_prefix(const nc_convnet *c, const char *family) { return c->is_bare ? "" : family; }

nc_site *nc_weight_grid(nc_model *m, const char *name, int64_t out, int64_t in, int64_t groups, int64_t height, int64_t width)
{
    if (groups <= 1)
        return nc_weight_conv(m, name, out, in, height, width);
    nc_site *s = nc_weight(m, 0, NC_INIT_NORMAL, name, out, in / groups * height * width, 0, 0);
    s->file_shape = NC_SHAPE(out, in / groups, height, width);
    return s;
}

nc_batch_norm nc_weight_batch_norm(nc_model *m, const char *name, int64_t channels, double eps, double momentum)
{
    const char *scope = m->scope ? m->scope : "";
    nc_weight_scope(m, "%s%s.", scope, name);
    nc_batch_norm n = { .w = nc_weight_norm(m, "weight", channels), .b = nc_weight_bias(m, "bias", channels), .eps = eps, .momentum = momentum };
    n.mean = nc_weight(m, NC_SITE_BUFFER | NC_SITE_KEEP_F32, NC_INIT_ZERO, "running_mean", channels, 0, 0, 0);
    n.var = nc_weight(m, NC_SITE_BUFFER | NC_SITE_KEEP_F32, NC_INIT_ONE, "running_var", channels, 0, 0, 0);
    n.batches = nc_weight(m, NC_SITE_BUFFER | NC_SITE_KEEP_F32 | NC_SITE_INTEGER | NC_SITE_OPTIONAL, NC_INIT_ZERO, "num_batches_tracked", 1, 0, 0, 0);
    n.batches->file_shape = (nc_shape){ 0 };
    nc_weight_scope(m, "%s", scope);
    return n;
}

nc_conv_unit nc_weight_conv_unit(nc_model *m, const char *conv, const char *norm, const nc_conv_spec *s)
{
    nc_conv_unit u = { .window = nc_window(s->kernel, s->stride, s->kernel / 2) };
    u.w = nc_weight_grid(m, nc_arena_printf(m->arena, "%s.weight", conv), s->out, s->in, s->groups, s->kernel, s->kernel);
    u.norm = nc_weight_batch_norm(m, norm, s->out, s->eps, s->momentum);
    return u;
}

nc_grid nc_conv_unit_apply(nc_build *b, nc_grid x, const nc_conv_unit *u) { return nc_grid_batch_norm(b, nc_grid_conv(b, x, u->w, NULL, &u->window), &u->norm); }

nc_grid nc_squeeze_excite(nc_build *b, nc_grid x, nc_unary activation, nc_dense squeeze, nc_dense excite)
{
    nc_value *gate = nc_unary_op(b->g, activation, nc_dense_apply(b, nc_grid_mean(b, x), squeeze));
    return nc_grid_gate(b, x, nc_unary_op(b->g, NC_SIGMOID, nc_dense_apply(b, gate, excite)));
}

int nc_convnet_prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    (void)m;
    return nc_prepare_grid(batch, ((const nc_convnet *)self)->channels, seqs, count, e);
}

void nc_convnet_capacity(const void *self, nc_build *b, int64_t pictures)
{
    (void)self;
    nc_build_capacity(b, "pictures", pictures);
}

void nc_convnet_head(const nc_convnet *c, nc_build *b, nc_grid last, nc_value *pooled, nc_encoded *out)
{
    nc_grid_probe(b, last, "out.last_hidden_state");
    out->rows = nc_grid_planes(b, last);
    out->pooled = nc_probe(b, pooled, "out.pooled");
    if (c->classifier.w)
        out->logits = nc_probe(b, nc_dense_apply(b, pooled, c->classifier), "out.logits");
}

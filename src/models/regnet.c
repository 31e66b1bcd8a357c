/* regnet.c - RegNet (Radosavovic et al. 2020): X, and Y with squeeze-and-excitation (Hu et al. 2018).
 *
 *   x = relu(norm(conv_3x3/2(picture)))
 *   per layer:  y = relu(norm(conv_1x1 x)); y = relu(norm(conv_3x3/s, groups of groups_width channels (y)));  Y: y = y * sigmoid(w2 relu(w1 mean(y) + b1) + b2)
 *               x = relu(norm(conv_1x1 y) + shortcut x)
 *   logits = classifier(mean over cells)
 *
 * Easy to get wrong: the squeezed width is a quarter of the layer's input width (rounded half to even), not of its own; the first stage is strided unless
 * downsample_in_first_stage says otherwise. Golden: regnet.
 */
#include "models/convnet.h"

#include <math.h>

typedef struct layer { nc_conv_unit reduce, grouped, expand, shortcut; nc_dense squeeze, excite; } layer;
typedef struct stage { layer *layer; int layers, width; } stage;
typedef struct regnet {
    nc_convnet net;
    int embedding, stages, groups_width, *depths, *widths;
    bool has_squeeze, first_strided;
    nc_unary activation;
    nc_conv_unit stem;
    stage *stage;
} regnet;

static void config(nc_model *m, void *self, nc_config *r)
{
    static const int depths[] = { 2, 6, 12, 2 }, widths[] = { 128, 192, 512, 1088 };
    regnet *c = self;
    nc_convnet_config(m, &c->net, r);
    c->embedding = (int)nc_config_int(r, "embedding_size", 32);
    c->stages = nc_config_ints(r, "depths", depths, 4, &c->depths);
    int widths_given = nc_config_ints(r, "hidden_sizes", widths, 4, &c->widths);
    const char *kind = nc_config_string(r, "layer_type", "y");
    c->has_squeeze = !strcmp(kind, "y");
    c->groups_width = (int)nc_config_int(r, "groups_width", 64);
    c->first_strided = nc_config_bool(r, "downsample_in_first_stage", true);
    c->activation = (nc_unary)nc_config_activation(r, "hidden_act", "relu");
    if (!c->has_squeeze && strcmp(kind, "x"))
        nc_config_mistake(r, "layer_type is \"%s\"; known are x and y", kind);
    if (c->stages < 1 || widths_given != c->stages)
        nc_config_mistake(r, "depths names %d stages, hidden_sizes %d", c->stages, widths_given);
    for (int i = 0; i < widths_given; i++)
        if (c->groups_width < 1 || (c->widths[i] > c->groups_width && c->widths[i] % (c->widths[i] / c->groups_width)))
            nc_config_mistake(r, "hidden_sizes: %d channels cannot be cut into groups of groups_width %d", c->widths[i], c->groups_width);
    m->hidden_size = c->stages > 0 && widths_given == c->stages ? c->widths[c->stages - 1] : 0;
}

static nc_conv_unit unit(nc_model *m, const char *scope, const char *name, int out, int in, int kernel, int stride, int groups)
{
    nc_weight_scope(m, "%s%s", scope, name);
    return nc_weight_conv_unit(m, "convolution", "normalization", &(nc_conv_spec){ out, in, kernel, stride, groups, 1e-5, 0.1 });
}

static nc_dense squeeze(nc_model *m, const char *scope, const char *name, int out, int in)
{
    nc_weight_scope(m, "%slayer.2.attention.%s", scope, name);
    nc_site *w = nc_weight_conv(m, "weight", out, in, 1, 1);
    return (nc_dense){ w, nc_weight_bias(m, "bias", out) };
}

static void layer_weights(nc_model *m, const regnet *c, layer *l, const char *scope, int in, int out, int stride)
{
    const int groups = out > c->groups_width ? out / c->groups_width : 1, squeezed = (int)rint(in / 4.0);
    if (in != out || stride != 1)
        l->shortcut = unit(m, scope, "shortcut.", out, in, 1, stride, 1);
    l->reduce = unit(m, scope, "layer.0.", out, in, 1, 1, 1);
    l->grouped = unit(m, scope, "layer.1.", out, out, 3, stride, groups);
    if (c->has_squeeze) {
        l->squeeze = squeeze(m, scope, "0.", squeezed, out);
        l->excite = squeeze(m, scope, "2.", out, squeezed);
    }
    l->expand = unit(m, scope, c->has_squeeze ? "layer.3." : "layer.2.", out, out, 1, 1, 1);
}

static void weights(nc_model *m, void *self)
{
    regnet *c = self;
    const char *prefix = nc_convnet_prefix(&c->net, "regnet.");
    int in = c->embedding;
    c->stem = unit(m, prefix, "embedder.embedder.", in, c->net.channels, 3, 2, 1);
    c->stage = NC_NEW_ARRAY(m->arena, stage, c->stages + 1);
    for (int i = 0; i < c->stages; i++) {
        stage *s = &c->stage[i];
        *s = (stage){ NC_NEW_ARRAY(m->arena, layer, c->depths[i] + 1), c->depths[i], c->widths[i] };
        for (int j = 0; j < s->layers; j++, in = s->width)
            layer_weights(m, c, &s->layer[j], nc_arena_printf(m->arena, "%sencoder.stages.%d.layers.%d.", prefix, i, j), in, s->width, j || (!i && !c->first_strided) ? 1 : 2);
    }
    nc_weight_scope(m, "%s", "");
    if (!c->net.is_bare)
        c->net.classifier = nc_weight_dense(m, "classifier.1", m->labels.count, in, true);
}

static nc_grid layer_forward(const regnet *c, nc_build *b, const layer *l, nc_grid x)
{
    nc_grid rest = l->shortcut.w ? nc_conv_unit_apply(b, x, &l->shortcut) : x;
    nc_grid y = nc_grid_unary(b, c->activation, nc_conv_unit_apply(b, x, &l->reduce));
    y = nc_grid_unary(b, c->activation, nc_conv_unit_apply(b, y, &l->grouped));
    if (l->squeeze.w)
        y = nc_squeeze_excite(b, y, NC_RELU, l->squeeze, l->excite);
    y = nc_conv_unit_apply(b, y, &l->expand);
    return nc_grid_unary(b, c->activation, nc_grid_add(b, y, rest));
}

static void encode(const nc_model *m, const void *self, nc_build *b, nc_modality what, nc_encoded *out)
{
    const regnet *c = self;
    (void)m, (void)what;
    nc_grid x = nc_grid_unary(b, c->activation, nc_conv_unit_apply(b, nc_grid_in(b, c->net.channels), &c->stem));
    nc_grid_probe(b, x, "hidden.0");
    for (int i = 0; i < c->stages; i++) {
        nc_scope_push(b->g, "stages.%d", i);
        for (int j = 0; j < c->stage[i].layers; j++) {
            nc_block_begin(b->g);
            x = layer_forward(c, b, &c->stage[i].layer[j], x);
            nc_block_end(b->g);
        }
        nc_scope_pop(b->g);
        nc_grid_probe(b, x, "hidden.%d", i + 1);
    }
    nc_convnet_head(&c->net, b, x, nc_grid_mean(b, x), out);
}

static const char *const renames[] = { "", "regnet.", "regnet.", "", NULL };

const nc_family nc_family_regnet = {
    .name = "regnet", .architectures = "RegNetForImageClassification RegNetModel", .size = sizeof(regnet), .config = config, .weights = weights, .renames = renames,
    .prepare = nc_convnet_prepare, .encode = encode, .capacity = nc_convnet_capacity,
};

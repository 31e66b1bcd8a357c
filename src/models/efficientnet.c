/* efficientnet.c - EfficientNet (Tan & Le 2019).
 *
 *   x = f(norm(conv_3x3/2(picture padded by 1 after)))
 *   per block:  y = f(norm(expand x)) (none where the ratio is 1);  y = f(norm(depthwise_k/s y));  y = y * gate(mean y)
 *               x = norm(project y) [+ x where the block repeats one before it]
 *   rows = f(norm(top_conv x));  logits = classifier(mean, or maximum, over cells)
 *
 * Widths are those of the base net times width_coefficient, rounded to depth_divisor; repeats are ceil(depth_coefficient * repeats).
 * Easy to get wrong: the stem's width comes from 32 and the top's from 1280; batch_norm_momentum is torch's momentum as written, but the norm behind an expansion has
 * torch's own 0.1; strided depthwise convolutions are padded k/2 - 1 before and k/2 after (k/2 on all sides in blocks named by depthwise_padding); the squeezed width
 * is a share of the block's input. Golden: efficientnet.
 */
#include "models/convnet.h"

#include <math.h>

typedef struct block { nc_conv_unit expand, depth, project; nc_dense squeeze, excite; bool adds; } block;
typedef struct efficientnet {
    nc_convnet net;
    int stages, *in, *out, *kernels, *strides, *ratios, *repeats, *padded, padded_count, divisor, hidden, blocks;
    double width, depth, squeeze, eps, momentum;
    bool pools_max;
    nc_unary activation;
    nc_conv_unit stem, top;
    block *block;
} efficientnet;

static int rounded_width(const efficientnet *c, int channels)
{
    const double wide = channels * c->width;
    int d = c->divisor, n = (int)(wide + d / 2.0) / d * d;
    n = n < d ? d : n;
    return n < 0.9 * wide ? n + d : n;
}

static void check_lists(const efficientnet *c, const int *counts, nc_config *r)
{
    static const char *const names[] = { "out_channels", "kernel_sizes", "strides", "expand_ratios", "num_block_repeats" };
    for (int i = 0; i < NC_COUNT(names); i++)
        if (counts[i] != c->stages)
            nc_config_mistake(r, "in_channels names %d stages, %s %d", c->stages, names[i], counts[i]);
    if (c->stages < 1 || c->divisor < 1 || c->width <= 0)
        nc_config_mistake(r, "in_channels is empty, or depth_divisor or width_coefficient is 0");
}

static void config(nc_model *m, void *self, nc_config *r)
{
    static const int in[] = { 32, 16, 24, 40, 80, 112, 192 }, out[] = { 16, 24, 40, 80, 112, 192, 320 }, kernels[] = { 3, 3, 5, 3, 5, 5, 3 }, strides[] = { 1, 2, 2, 2, 1, 2, 1 };
    static const int ratios[] = { 1, 6, 6, 6, 6, 6, 6 }, repeats[] = { 1, 2, 2, 3, 3, 4, 1 };
    static const char *const ignored[] = { "image_size", "dropout_rate", "drop_connect_rate", "num_hidden_layers", NULL };
    efficientnet *c = self;
    int counts[5];
    nc_convnet_config(m, &c->net, r);
    c->stages = nc_config_ints(r, "in_channels", in, 7, &c->in);
    counts[0] = nc_config_ints(r, "out_channels", out, 7, &c->out);
    counts[1] = nc_config_ints(r, "kernel_sizes", kernels, 7, &c->kernels);
    counts[2] = nc_config_ints(r, "strides", strides, 7, &c->strides);
    counts[3] = nc_config_ints(r, "expand_ratios", ratios, 7, &c->ratios);
    counts[4] = nc_config_ints(r, "num_block_repeats", repeats, 7, &c->repeats);
    c->padded_count = nc_config_ints(r, "depthwise_padding", NULL, 0, &c->padded);
    c->divisor = (int)nc_config_int(r, "depth_divisor", 8);
    c->hidden = (int)nc_config_int(r, "hidden_dim", 2560);
    c->width = nc_config_float(r, "width_coefficient", 2.0);
    c->depth = nc_config_float(r, "depth_coefficient", 3.1);
    c->squeeze = nc_config_float(r, "squeeze_expansion_ratio", 0.25);
    c->eps = nc_config_float(r, "batch_norm_eps", 1e-3);
    c->momentum = nc_config_float(r, "batch_norm_momentum", 0.99);
    c->activation = (nc_unary)nc_config_activation(r, "hidden_act", "swish");
    const char *pooling = nc_config_string(r, "pooling_type", "mean");
    c->pools_max = !strcmp(pooling, "max");
    nc_config_ignore(r, ignored);
    check_lists(c, counts, r);
    if (!c->pools_max && strcmp(pooling, "mean"))
        nc_config_mistake(r, "pooling_type is \"%s\"; known are mean and max", pooling);
    m->hidden_size = c->hidden;
}

static nc_conv_unit unit(nc_model *m, const efficientnet *c, const char *conv, const char *norm, int out, int in, int kernel, int groups, double momentum)
{
    return nc_weight_conv_unit(m, conv, norm, &(nc_conv_spec){ out, in, kernel, 1, groups, c->eps, momentum });
}

static nc_dense squeeze(nc_model *m, const char *name, int out, int in)
{
    nc_site *w = nc_weight_conv(m, nc_arena_printf(m->arena, "squeeze_excite.%s.weight", name), out, in, 1, 1);
    return (nc_dense){ w, nc_weight_bias(m, nc_arena_printf(m->arena, "squeeze_excite.%s.bias", name), out) };
}

/* A strided convolution is padded less before than after. */
static nc_grid_window depth_window(const efficientnet *c, int index, int kernel, int stride)
{
    nc_grid_window w = nc_window(kernel, stride, kernel / 2);
    bool adjusted = stride == 2;
    for (int i = 0; i < c->padded_count; i++)
        adjusted = adjusted && c->padded[i] != index;
    if (adjusted)
        w.before[0] = w.before[1] = kernel / 2 - 1;
    return w;
}

static void block_weights(nc_model *m, const efficientnet *c, block *k, const char *prefix, int index, int stage, int in, int out, bool repeats)
{
    const int inner = in * c->ratios[stage], stride = repeats ? 1 : c->strides[stage], share = (int)(in * c->squeeze);
    nc_weight_scope(m, "%sencoder.blocks.%d.", prefix, index);
    if (c->ratios[stage] != 1)
        k->expand = unit(m, c, "expansion.expand_conv", "expansion.expand_bn", inner, in, 1, 1, 0.1);
    k->depth = unit(m, c, "depthwise_conv.depthwise_conv", "depthwise_conv.depthwise_norm", inner, inner, c->kernels[stage], inner, c->momentum);
    k->depth.window = depth_window(c, index, c->kernels[stage], stride);
    k->squeeze = squeeze(m, "reduce", share > 1 ? share : 1, inner);
    k->excite = squeeze(m, "expand", inner, share > 1 ? share : 1);
    k->project = unit(m, c, "projection.project_conv", "projection.project_bn", out, inner, 1, 1, c->momentum);
    k->adds = repeats;
}

static int repeats_of(const efficientnet *c, int stage) { return (int)ceil(c->depth * c->repeats[stage]); }

static void weights(nc_model *m, void *self)
{
    efficientnet *c = self;
    const char *prefix = nc_convnet_prefix(&c->net, "efficientnet.");
    int stem = rounded_width(c, 32), index = 0, out = 0;
    nc_weight_scope(m, "%s", prefix);
    c->stem = unit(m, c, "embeddings.convolution", "embeddings.batchnorm", stem, c->net.channels, 3, 1, c->momentum);
    c->stem.window = (nc_grid_window){ .kernel = { 3, 3 }, .stride = { 2, 2 }, .after = { 1, 1 } };
    for (int i = 0; i < c->stages; i++)
        c->blocks += repeats_of(c, i);
    c->block = NC_NEW_ARRAY(m->arena, block, c->blocks + 1);
    for (int i = 0; i < c->stages; i++) {
        out = rounded_width(c, c->out[i]);
        for (int j = 0; j < repeats_of(c, i); j++, index++)
            block_weights(m, c, &c->block[index], prefix, index, i, j ? out : rounded_width(c, c->in[i]), out, j > 0);
    }
    nc_weight_scope(m, "%s", prefix);
    c->top = unit(m, c, "encoder.top_conv", "encoder.top_bn", c->hidden, out, 1, 1, c->momentum);
    nc_weight_scope(m, "%s", "");
    if (!c->net.is_bare)
        c->net.classifier = nc_weight_dense(m, "classifier", m->labels.count, c->hidden, true);
}

static nc_grid active(const efficientnet *c, nc_build *b, nc_grid x, const nc_conv_unit *u) { return nc_grid_unary(b, c->activation, nc_conv_unit_apply(b, x, u)); }

static nc_grid block_forward(const efficientnet *c, nc_build *b, const block *k, nc_grid x)
{
    nc_grid y = k->expand.w ? active(c, b, x, &k->expand) : x;
    y = nc_squeeze_excite(b, active(c, b, y, &k->depth), c->activation, k->squeeze, k->excite);
    y = nc_conv_unit_apply(b, y, &k->project);
    return k->adds ? nc_grid_add(b, y, x) : y;
}

static void encode(const nc_model *m, const void *self, nc_build *b, nc_modality what, nc_encoded *out)
{
    const efficientnet *c = self;
    (void)m, (void)what;
    nc_grid x = active(c, b, nc_grid_in(b, c->net.channels), &c->stem);
    nc_grid_probe(b, x, "hidden.0");
    for (int i = 0; i < c->blocks; i++) {
        nc_scope_push(b->g, "blocks.%d", i);
        nc_block_begin(b->g);
        x = block_forward(c, b, &c->block[i], x);
        nc_block_end(b->g);
        nc_scope_pop(b->g);
        nc_grid_probe(b, x, "hidden.%d", i + 1);
    }
    x = active(c, b, x, &c->top);
    if (x.height > c->hidden || x.width > c->hidden)         /* the reference's window of hidden_dim cells would give several, and it takes one */
        nc_graph_mistake(b->g, NC_ELIMIT, "pictures of %d x %d leave a map larger than hidden_dim %d", b->picture_height, b->picture_width, c->hidden);
    const nc_grid_window whole = { .kernel = { (int)x.height, (int)x.width }, .stride = { (int)x.height, (int)x.width } };
    nc_convnet_head(&c->net, b, x, c->pools_max ? nc_grid_pool(b, x, &whole, false).rows : nc_grid_mean(b, x), out);
}

static const char *const renames[] = { "", "efficientnet.", "efficientnet.", "", NULL };

const nc_family nc_family_efficientnet = {
    .name = "efficientnet", .architectures = "EfficientNetForImageClassification EfficientNetModel", .size = sizeof(efficientnet), .config = config, .weights = weights,
    .renames = renames, .prepare = nc_convnet_prepare, .encode = encode, .capacity = nc_convnet_capacity,
};

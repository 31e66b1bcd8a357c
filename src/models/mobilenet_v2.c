/* mobilenet_v2.c - MobileNetV2 (Sandler et al. 2018).
 *
 *   stem:       x = f(norm(conv_3x3/2)); [x = f(norm(conv_1x1 x))]; x = f(norm(depthwise_3x3 x)); x = norm(conv_1x1 x)
 *   per block:  y = f(norm(expand x)); y = f(norm(depthwise_3x3/s y)); y = norm(reduce y);  x = y + x where width and size stay
 *   rows = f(norm(conv_1x1 x));  logits = classifier(mean over cells)
 *
 * Widths are those of the base net times depth_multiplier, rounded to depth_divisible_by, never less than min_depth and never below nine tenths.
 * Easy to get wrong: the momentum is torch's 0.997 (almost no memory); tf_padding pads by what the stride leaves, less before than after, and multiplies that by the
 * dilation; beyond output_stride strides turn into dilations of the blocks that follow; first_layer_is_expansion leaves the stem's 1x1 out. Golden: mobilenet_v2.
 */
#include "models/convnet.h"

#include <math.h>

enum { BLOCKS = 16 };
typedef struct block { nc_conv_unit expand, depth, reduce; bool adds; } block;
typedef struct mobilenet {
    nc_convnet net;
    double multiplier, ratio, eps;
    int divisible, least, output_stride, top_width;
    bool tf_padding, first_is_expansion, finegrained, is_relu6;
    nc_unary activation;
    nc_conv_unit first, expand, depth, reduce, top;
    block block[BLOCKS];
} mobilenet;

static int divisible(const mobilenet *c, int value)
{
    int n = (int)(value + c->divisible / 2.0) / c->divisible * c->divisible;
    n = n < c->least ? c->least : n;
    return n < 0.9 * value ? n + c->divisible : n;
}

static int scaled(const mobilenet *c, int channels) { return divisible(c, (int)rint(channels * c->multiplier)); }

static void config(nc_model *m, void *self, nc_config *r)
{
    static const char *const ignored[] = { "image_size", "classifier_dropout_prob", "semantic_loss_ignore_index", NULL };
    mobilenet *c = self;
    nc_convnet_config(m, &c->net, r);
    c->multiplier = nc_config_float(r, "depth_multiplier", 1.0);
    c->divisible = (int)nc_config_int(r, "depth_divisible_by", 8);
    c->least = (int)nc_config_int(r, "min_depth", 8);
    c->ratio = nc_config_float(r, "expand_ratio", 6);
    c->output_stride = (int)nc_config_int(r, "output_stride", 32);
    c->first_is_expansion = nc_config_bool(r, "first_layer_is_expansion", true);
    c->finegrained = nc_config_bool(r, "finegrained_output", true);
    c->tf_padding = nc_config_bool(r, "tf_padding", true);
    c->eps = nc_config_float(r, "layer_norm_eps", 1e-3);
    c->is_relu6 = !strcmp(nc_config_string(r, "hidden_act", "relu6"), "relu6");
    c->activation = c->is_relu6 ? NC_RELU : (nc_unary)nc_config_activation(r, "hidden_act", "relu6");
    nc_config_ignore(r, ignored);
    if (c->multiplier <= 0 || c->divisible < 1)
        nc_config_mistake(r, "depth_multiplier %g and depth_divisible_by %d must be positive", c->multiplier, c->divisible);
    else
        m->hidden_size = c->top_width = c->finegrained && c->multiplier < 1 ? 1280 : scaled(c, 1280);
}

static nc_conv_unit unit(nc_model *m, const mobilenet *c, const char *scope, const char *name, int out, int in, int kernel, int stride, int groups, int dilation)
{
    nc_weight_scope(m, "%s%s.", scope, name);
    nc_conv_unit u = nc_weight_conv_unit(m, "convolution", "normalization", &(nc_conv_spec){ out, in, kernel, stride, groups, c->eps, 0.997 });
    for (int i = 0; i < 2; i++) {
        u.window.dilation[i] = dilation;
        u.window.before[i] = u.window.after[i] = (kernel - 1) / 2 * dilation;
    }
    return u;
}

static void body_weights(nc_model *m, mobilenet *c, const char *prefix)
{
    static const int widths[] = { 16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320 }, strides[BLOCKS] = { 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1 };
    int stride_so_far = 2, next_dilation = 1;
    for (int i = 0; i < BLOCKS; i++) {
        block *k = &c->block[i];
        const char *scope = nc_arena_printf(m->arena, "%slayer.%d.", prefix, i);
        const int in = scaled(c, widths[i]), out = scaled(c, widths[i + 1]), inner = divisible(c, (int)rint(in * c->ratio));
        bool is_dilated = stride_so_far == c->output_stride;
        int stride = is_dilated ? 1 : strides[i], dilation = is_dilated ? next_dilation : 1;
        if (is_dilated)
            next_dilation *= strides[i];
        else
            stride_so_far *= stride;
        k->expand = unit(m, c, scope, "expand_1x1", inner, in, 1, 1, 1, 1);
        k->depth = unit(m, c, scope, "conv_3x3", inner, inner, 3, stride, inner, dilation);
        k->reduce = unit(m, c, scope, "reduce_1x1", out, inner, 1, 1, 1, 1);
        k->adds = stride == 1 && in == out;
    }
    c->top = unit(m, c, prefix, "conv_1x1", c->top_width, scaled(c, widths[BLOCKS]), 1, 1, 1, 1);
}

static void weights(nc_model *m, void *self)
{
    mobilenet *c = self;
    const char *prefix = nc_convnet_prefix(&c->net, "mobilenet_v2."), *stem = nc_arena_printf(m->arena, "%sconv_stem.", prefix);
    const int wide = scaled(c, 32);
    c->first = unit(m, c, stem, "first_conv", wide, c->net.channels, 3, 2, 1, 1);
    if (!c->first_is_expansion)
        c->expand = unit(m, c, stem, "expand_1x1", wide, wide, 1, 1, 1, 1);
    c->depth = unit(m, c, stem, "conv_3x3", wide, wide, 3, 1, wide, 1);
    c->reduce = unit(m, c, stem, "reduce_1x1", scaled(c, 16), wide, 1, 1, 1, 1);
    body_weights(m, c, prefix);
    nc_weight_scope(m, "%s", "");
    if (!c->net.is_bare)
        c->net.classifier = nc_weight_dense(m, "classifier", m->labels.count, c->top_width, true);
}

/* TensorFlow's SAME: so much that every stride is filled. */
static void pad_same(nc_grid_window *w, int axis, int64_t size)
{
    int stride = w->stride[axis], rest = (int)(size % stride), pad = w->kernel[axis] - (rest ? rest : stride);
    pad = pad > 0 ? pad : 0;
    w->before[axis] = pad / 2 * w->dilation[axis];
    w->after[axis] = (pad - pad / 2) * w->dilation[axis];
}

static nc_grid plain(const mobilenet *c, nc_build *b, nc_grid x, const nc_conv_unit *u)
{
    nc_conv_unit padded = *u;
    for (int i = 0; c->tf_padding && i < 2; i++)
        pad_same(&padded.window, i, i ? x.width : x.height);
    return nc_conv_unit_apply(b, x, &padded);
}

static nc_grid active(const mobilenet *c, nc_build *b, nc_grid x, const nc_conv_unit *u)
{
    x = plain(c, b, x, u);
    if (!c->is_relu6)
        return nc_grid_unary(b, c->activation, x);
    x.rows = nc_clamp(b->g, x.rows, 0, 6);
    return x;
}

static nc_grid stem(const mobilenet *c, nc_build *b)
{
    nc_grid x = active(c, b, nc_grid_in(b, c->net.channels), &c->first);
    if (c->expand.w)
        x = active(c, b, x, &c->expand);
    return plain(c, b, active(c, b, x, &c->depth), &c->reduce);
}

static void encode(const nc_model *m, const void *self, nc_build *b, nc_modality what, nc_encoded *out)
{
    const mobilenet *c = self;
    (void)m, (void)what;
    nc_grid x = stem(c, b);
    for (int i = 0; i < BLOCKS; i++) {
        const block *k = &c->block[i];
        nc_scope_push(b->g, "layer.%d", i);
        nc_block_begin(b->g);
        nc_grid y = plain(c, b, active(c, b, active(c, b, x, &k->expand), &k->depth), &k->reduce);
        x = k->adds ? nc_grid_add(b, y, x) : y;
        nc_block_end(b->g);
        nc_scope_pop(b->g);
        nc_grid_probe(b, x, "hidden.%d", i);
    }
    x = active(c, b, x, &c->top);
    nc_convnet_head(&c->net, b, x, nc_grid_mean(b, x), out);
}

static const char *const renames[] = { "", "mobilenet_v2.", "mobilenet_v2.", "", NULL };

const nc_family nc_family_mobilenet_v2 = {
    .name = "mobilenet_v2", .architectures = "MobileNetV2ForImageClassification MobileNetV2Model", .size = sizeof(mobilenet), .config = config, .weights = weights,
    .renames = renames, .prepare = nc_convnet_prepare, .encode = encode, .capacity = nc_convnet_capacity,
};

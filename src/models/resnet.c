/* resnet.c - ResNet (He et al. 2016).
 *
 *   x = maxpool_3x3/2(relu(norm(conv_7x7/2(picture))))
 *   basic:       x = relu(norm(conv_3x3(relu(norm(conv_3x3/s x)))) + shortcut x)
 *   bottleneck:  x = relu(norm(conv_1x1(relu(norm(conv_3x3/s(relu(norm(conv_1x1 x))))))) + shortcut x), inner width a quarter
 *   logits = classifier(mean over cells)
 *
 * Easy to get wrong: hidden_act acts behind the stem and behind the sum, inside a layer it is always relu; the first stage has stride 1 unless downsample_in_first_stage; the stride stands in the 3x3 unless downsample_in_bottleneck; a shortcut is a
 * strided 1x1 convolution where width or size change, else nothing. Golden: resnet, resnet_basic.
 */
#include "models/resnet.h"

enum { MAX_UNITS = 3 };
typedef struct layer { nc_conv_unit unit[MAX_UNITS], shortcut; int units; } layer;
typedef struct stage { layer *layer; int layers, width; } stage;
typedef struct resnet {
    nc_convnet net;
    int embedding, stages, *depths, *widths;
    bool is_bottleneck, first_strided, strided_reduce, is_timm;
    nc_unary activation;
    nc_conv_unit stem;
    stage *stage;
} resnet;

static void config(nc_model *m, void *self, nc_config *r)
{
    static const int depths[] = { 3, 4, 6, 3 }, widths[] = { 256, 512, 1024, 2048 };
    resnet *c = self;
    nc_convnet_config(m, &c->net, r);
    c->embedding = (int)nc_config_int(r, "embedding_size", 64);
    c->stages = nc_config_ints(r, "depths", depths, 4, &c->depths);
    int widths_given = nc_config_ints(r, "hidden_sizes", widths, 4, &c->widths);
    const char *kind = nc_config_string(r, "layer_type", "bottleneck");
    c->is_bottleneck = !strcmp(kind, "bottleneck");
    c->first_strided = nc_config_bool(r, "downsample_in_first_stage", false);
    c->strided_reduce = nc_config_bool(r, "downsample_in_bottleneck", false);
    c->activation = (nc_unary)nc_config_activation(r, "hidden_act", "relu");
    c->is_timm = !strcmp(nc_config_string(r, "_names", ""), "timm");
    if (!c->is_bottleneck && strcmp(kind, "basic"))
        nc_config_mistake(r, "layer_type is \"%s\"; known are bottleneck and basic", kind);
    if (c->stages < 1 || widths_given != c->stages)
        nc_config_mistake(r, "depths names %d stages, hidden_sizes %d", c->stages, widths_given);
    m->hidden_size = c->stages > 0 && widths_given == c->stages ? c->widths[c->stages - 1] : 0;
}

/* Names of a convolution and its norm under a layer's scope: the shortcut (-1), unit k, or the stem of the whole net (0 under "" or "embedder.embedder."). */
static nc_conv_unit unit(nc_model *m, const resnet *c, const char *scope, int k, int out, int in, int kernel, int stride)
{
    const nc_conv_spec spec = { out, in, kernel, stride, 1, 1e-5, 0.1 };
    nc_weight_scope(m, "%s", scope);
    if (c->is_timm && k < 0)
        return nc_weight_conv_unit(m, "downsample.0", "downsample.1", &spec);
    if (c->is_timm)
        return nc_weight_conv_unit(m, nc_arena_printf(m->arena, "conv%d", k + 1), nc_arena_printf(m->arena, "bn%d", k + 1), &spec);
    if (kernel == 7)
        return nc_weight_conv_unit(m, "embedder.embedder.convolution", "embedder.embedder.normalization", &spec);
    nc_weight_scope(m, k < 0 ? "%sshortcut." : "%slayer.%d.", scope, k);
    return nc_weight_conv_unit(m, "convolution", "normalization", &spec);
}

static void layer_weights(nc_model *m, const resnet *c, layer *l, const char *scope, int in, int out, int stride)
{
    const int inner = c->is_bottleneck ? out / 4 : out;
    if (in != out || stride != 1)
        l->shortcut = unit(m, c, scope, -1, out, in, 1, stride);
    if (c->is_bottleneck) {
        l->unit[0] = unit(m, c, scope, 0, inner, in, 1, c->strided_reduce ? stride : 1);
        l->unit[1] = unit(m, c, scope, 1, inner, inner, 3, c->strided_reduce ? 1 : stride);
        l->unit[2] = unit(m, c, scope, 2, out, inner, 1, 1);
    } else {
        l->unit[0] = unit(m, c, scope, 0, out, in, 3, stride);
        l->unit[1] = unit(m, c, scope, 1, out, out, 3, 1);
    }
    l->units = c->is_bottleneck ? 3 : 2;
}

static void weights(nc_model *m, void *self)
{
    resnet *c = self;
    const char *prefix = nc_convnet_prefix(&c->net, "resnet.");
    int in = c->embedding;
    c->stem = unit(m, c, prefix, 0, in, c->net.channels, 7, 2);
    c->stage = NC_NEW_ARRAY(m->arena, stage, c->stages + 1);
    for (int i = 0; i < c->stages; i++) {
        stage *s = &c->stage[i];
        *s = (stage){ NC_NEW_ARRAY(m->arena, layer, c->depths[i] + 1), c->depths[i], c->widths[i] };
        for (int j = 0; j < s->layers; j++, in = s->width)
            layer_weights(m, c, &s->layer[j], c->is_timm ? nc_arena_printf(m->arena, "layer%d.%d.", i + 1, j) : nc_arena_printf(m->arena, "%sencoder.stages.%d.layers.%d.", prefix, i, j),
                          in, s->width, j || (!i && !c->first_strided) ? 1 : 2);
    }
    nc_weight_scope(m, "%s", "");
    if (!c->net.is_bare)
        c->net.classifier = nc_weight_dense(m, "classifier.1", m->labels.count, in, true);
}

static nc_grid apply(nc_build *b, nc_grid x, const nc_conv_unit *u, bool frozen)
{
    nc_conv_unit held = *u;
    held.norm.frozen = frozen;
    return nc_conv_unit_apply(b, x, &held);
}

static nc_grid layer_forward(const resnet *c, nc_build *b, const layer *l, nc_grid x, bool frozen)
{
    nc_grid y = x, rest = l->shortcut.w ? apply(b, x, &l->shortcut, frozen) : x;
    for (int i = 0; i < l->units; i++) {
        y = apply(b, y, &l->unit[i], frozen);
        if (i + 1 < l->units)
            y = nc_grid_unary(b, NC_RELU, y);
    }
    return nc_grid_unary(b, c->activation, nc_grid_add(b, y, rest));
}

/* held: no gradient goes behind so many stages; -1: everything learns, and batch norm with it. */
static nc_grid features(const resnet *c, nc_build *b, nc_grid x, int stages, int held, bool probed)
{
    const bool frozen = held >= 0;
    const nc_grid_window pool = nc_window(3, 2, 1);
    x = nc_grid_pool(b, nc_grid_unary(b, c->activation, apply(b, x, &c->stem, frozen)), &pool, false);
    if (probed)
        nc_grid_probe(b, x, "hidden.0");
    for (int i = 0; i < stages; i++) {
        nc_scope_push(b->g, "stages.%d", i);
        for (int j = 0; j < c->stage[i].layers; j++) {
            nc_block_begin(b->g);
            x = layer_forward(c, b, &c->stage[i].layer[j], x, frozen);
            nc_block_end(b->g);
        }
        nc_scope_pop(b->g);
        if (i + 1 == held)
            x.rows = nc_stop_gradient(b->g, x.rows);
        if (probed)
            nc_grid_probe(b, x, "hidden.%d", i + 1);
    }
    return x;
}

static void encode(const nc_model *m, const void *self, nc_build *b, nc_modality what, nc_encoded *out)
{
    const resnet *c = self;
    (void)m, (void)what;
    nc_grid x = features(c, b, nc_grid_in(b, c->net.channels), c->stages, -1, true);
    nc_convnet_head(&c->net, b, x, nc_grid_mean(b, x), out);
}

nc_grid nc_resnet_features(const nc_model *m, nc_build *b, nc_grid pictures, int stages, int held)
{
    const resnet *c = m->self;
    return features(c, b, pictures, stages ? stages : c->stages, held, false);
}

const nc_json *nc_resnet_named(nc_arena *a, const char *name)
{
    static const struct { const char *name, *depths; bool is_basic; } known[] = {
        { "resnet18", "2, 2, 2, 2", true }, { "resnet34", "3, 4, 6, 3", true }, { "resnet50", "3, 4, 6, 3", false }, { "resnet101", "3, 4, 23, 3", false }, { "resnet152", "3, 8, 36, 3", false },
    };
    nc_json *out = NULL;
    for (int i = 0; i < NC_COUNT(known); i++)
        if (!strcmp(name, known[i].name)) {
            const char *text = nc_arena_printf(a, "{\"model_type\": \"resnet\", \"_names\": \"timm\", \"depths\": [%s], \"layer_type\": \"%s\", \"hidden_sizes\": [%s]}", known[i].depths,
                                               known[i].is_basic ? "basic" : "bottleneck", known[i].is_basic ? "64, 128, 256, 512" : "256, 512, 1024, 2048");
            nc_json_parse(a, nc_str_of(text), name, &out, &(nc_error){ 0 });
        }
    return out;
}

int nc_resnet_stages(const nc_model *m) { return ((const resnet *)m->self)->stages; }

void nc_resnet_map_size(const nc_model *m, int stages, int64_t height, int64_t width, int64_t *down, int64_t *across)
{
    const resnet *c = m->self;
    const nc_grid_window pool = nc_window(3, 2, 1);
    const nc_grid_window steps[] = { c->stem.window, pool };
    *down = height;
    *across = width;
    for (int i = 0; i < 2; i++)
        nc_grid_out(&steps[i], *down, *across, down, across);
    for (int i = 0; i < (stages ? stages : c->stages); i++)
        for (int j = 0; j < c->stage[i].layers; j++)
            for (int k = 0; k < c->stage[i].layer[j].units; k++)
                nc_grid_out(&c->stage[i].layer[j].unit[k].window, *down, *across, down, across);
}

int nc_resnet_width(const nc_model *m, int stages)
{
    const resnet *c = m->self;
    return c->widths[(stages ? stages : c->stages) - 1];
}

static const char *const renames[] = { "", "resnet.", "resnet.", "", NULL };

const nc_family nc_family_resnet = {
    .name = "resnet", .architectures = "ResNetForImageClassification ResNetModel ResNetBackbone", .size = sizeof(resnet), .config = config, .weights = weights,
    .renames = renames, .prepare = nc_convnet_prepare, .encode = encode, .capacity = nc_convnet_capacity,
};

/* convnext.c - ConvNeXt (Liu et al. 2022) and ConvNeXt V2 (Woo et al. 2023).
 *
 *   x = layernorm(conv_p/p(picture))
 *   per stage:  [x = conv_2x2/2(layernorm x)];  per layer:  y = pwconv1(layernorm(depthwise_7x7 x)), y = f(y);  V2: y = grn(y);  x += scale * pwconv2(y)
 *   grn(y) = y + w * y * g / (mean over channels of g + 1e-6) + b,  g = the root of the sum of squares over the picture's cells
 *   pooled = layernorm(mean over cells);  logits = classifier(pooled)
 *
 * Easy to get wrong: the norms inside have epsilon 1e-6, layer_norm_eps (1e-12) is the last one's; V2 has no layer scale, V1 none where layer_scale_init_value is 0.
 * Golden: convnext, convnextv2.
 */
#include "models/convnet.h"

typedef struct layer { nc_site *conv, *conv_b, *scale, *grn_w, *grn_b; nc_dense norm, up, down; } layer;
typedef struct stage { nc_dense norm; nc_site *conv, *conv_b; layer *layer; int layers, width; } stage;
typedef struct convnext {
    nc_convnet net;
    bool is_v2;
    int stages, patch, *depths, *widths;
    double eps, scale_init;
    nc_unary activation;
    nc_site *patches, *patches_b;
    nc_dense embed_norm, norm;
    stage *stage;
} convnext;

static void config(nc_model *m, void *self, nc_config *r)
{
    static const int depths[] = { 3, 3, 9, 3 }, widths[] = { 96, 192, 384, 768 };
    static const char *const ignored[] = { "image_size", NULL };
    convnext *c = self;
    nc_convnet_config(m, &c->net, r);
    c->patch = (int)nc_config_int(r, "patch_size", 4);
    c->stages = nc_config_ints(r, "depths", depths, 4, &c->depths);
    int widths_given = nc_config_ints(r, "hidden_sizes", widths, 4, &c->widths), stages = (int)nc_config_int(r, "num_stages", c->stages);
    c->activation = (nc_unary)nc_config_activation(r, "hidden_act", "gelu");
    c->eps = nc_config_float(r, "layer_norm_eps", 1e-12);
    c->scale_init = c->is_v2 ? 0 : nc_config_float(r, "layer_scale_init_value", 1e-6);
    nc_config_ignore(r, ignored);
    if (c->stages < 1 || widths_given != c->stages || stages != c->stages || c->patch < 1)
        nc_config_mistake(r, "depths names %d stages, hidden_sizes %d, num_stages %d", c->stages, widths_given, stages);
    m->hidden_size = c->stages > 0 && widths_given == c->stages ? c->widths[c->stages - 1] : 0;
}

static void v2_config(nc_model *m, void *self, nc_config *r)
{
    ((convnext *)self)->is_v2 = true;
    config(m, self, r);
}

/* Held as [C], in the file [1,1,1,C]. */
static nc_site *grn_site(nc_model *m, const char *name, int width)
{
    nc_site *s = nc_weight(m, 0, NC_INIT_ZERO, name, width, 0, 0, 0);
    s->file_shape = NC_SHAPE(1, 1, 1, width);
    return s;
}

static void layer_weights(nc_model *m, const convnext *c, layer *l, int D)
{
    if (c->scale_init > 0) {
        l->scale = nc_weight(m, 0, NC_INIT_ZERO, "layer_scale_parameter", D, 0, 0, 0);
        l->scale->init_value = c->scale_init;
    }
    l->conv = nc_weight_grid(m, "dwconv.weight", D, D, D, 7, 7);
    l->conv_b = nc_weight_bias(m, "dwconv.bias", D);
    l->norm = nc_weight_layer_norm(m, "layernorm", D);
    l->up = nc_weight_dense(m, "pwconv1", 4 * D, D, true);
    if (c->is_v2) {
        l->grn_w = grn_site(m, "grn.weight", 4 * D);
        l->grn_b = grn_site(m, "grn.bias", 4 * D);
    }
    l->down = nc_weight_dense(m, "pwconv2", D, 4 * D, true);
}

static void stage_weights(nc_model *m, const convnext *c, stage *s, const char *prefix, int index, int in)
{
    s->layers = c->depths[index];
    s->width = c->widths[index];
    s->layer = NC_NEW_ARRAY(m->arena, layer, s->layers + 1);
    if (index) {
        nc_weight_scope(m, "%sencoder.stages.%d.downsampling_layer.", prefix, index);
        s->norm = nc_weight_layer_norm(m, "0", in);
        s->conv = nc_weight_grid(m, "1.weight", s->width, in, 1, 2, 2);
        s->conv_b = nc_weight_bias(m, "1.bias", s->width);
    }
    for (int j = 0; j < s->layers; j++) {
        nc_weight_scope(m, "%sencoder.stages.%d.layers.%d.", prefix, index, j);
        layer_weights(m, c, &s->layer[j], s->width);
    }
}

static void family_weights(nc_model *m, convnext *c, const char *family)
{
    const char *prefix = nc_convnet_prefix(&c->net, family);
    const int D = c->widths[0];
    nc_weight_scope(m, "%sembeddings.", prefix);
    c->patches = nc_weight_grid(m, "patch_embeddings.weight", D, c->net.channels, 1, c->patch, c->patch);
    c->patches_b = nc_weight_bias(m, "patch_embeddings.bias", D);
    c->embed_norm = nc_weight_layer_norm(m, "layernorm", D);
    c->stage = NC_NEW_ARRAY(m->arena, stage, c->stages + 1);
    for (int i = 0; i < c->stages; i++)
        stage_weights(m, c, &c->stage[i], prefix, i, c->widths[i ? i - 1 : 0]);
    nc_weight_scope(m, "%s", prefix);
    c->norm = nc_weight_layer_norm(m, "layernorm", c->widths[c->stages - 1]);
    nc_weight_scope(m, "%s", "");
    if (!c->net.is_bare)
        c->net.classifier = nc_weight_dense(m, "classifier", m->labels.count, c->widths[c->stages - 1], true);
}

static void weights(nc_model *m, void *self) { family_weights(m, self, "convnext."); }
static void v2_weights(nc_model *m, void *self) { family_weights(m, self, "convnextv2."); }

static nc_grid grn(nc_build *b, const layer *l, nc_grid y)
{
    nc_value *squares = nc_grid_mean(b, nc_grid_unary(b, NC_SQUARE, y));                             /* [pictures, 4D] */
    nc_value *g = nc_unary_op(b->g, NC_SQRT, nc_affine(b->g, squares, (double)nc_grid_area(y), 0));
    g = nc_div(b->g, g, nc_affine(b->g, nc_mean(b->g, g, -1, true), 1, 1e-6));
    nc_grid z = nc_grid_gate(b, y, nc_mul(b->g, g, nc_site_value(b, l->grn_w)));
    z.rows = nc_add(b->g, z.rows, nc_site_value(b, l->grn_b));
    return nc_grid_add(b, z, y);
}

static nc_grid layer_forward(const convnext *c, nc_build *b, const layer *l, nc_grid x)
{
    const nc_grid_window seven = nc_window(7, 1, 3);
    nc_grid y = nc_grid_layer_norm(b, nc_grid_conv(b, x, l->conv, l->conv_b, &seven), l->norm.w, l->norm.b, 1e-6);
    y = nc_grid_unary(b, c->activation, nc_grid_linear(b, y, l->up.w, l->up.b));
    if (c->is_v2)
        y = grn(b, l, y);
    y = nc_grid_linear(b, y, l->down.w, l->down.b);
    if (l->scale)
        y.rows = nc_mul(b->g, y.rows, nc_site_value(b, l->scale));
    return nc_grid_add(b, x, y);
}

static nc_grid stage_forward(const convnext *c, nc_build *b, const stage *s, nc_grid x)
{
    const nc_grid_window two = nc_window(2, 2, 0);
    if (s->conv)
        x = nc_grid_conv(b, nc_grid_layer_norm(b, x, s->norm.w, s->norm.b, 1e-6), s->conv, s->conv_b, &two);
    for (int j = 0; j < s->layers; j++) {
        nc_block_begin(b->g);
        x = layer_forward(c, b, &s->layer[j], x);
        nc_block_end(b->g);
    }
    return x;
}

static void encode(const nc_model *m, const void *self, nc_build *b, nc_modality what, nc_encoded *out)
{
    const convnext *c = self;
    const nc_grid_window patch = nc_window(c->patch, c->patch, 0);
    (void)m, (void)what;
    nc_grid x = nc_grid_conv(b, nc_grid_in(b, c->net.channels), c->patches, c->patches_b, &patch);
    x = nc_grid_probe(b, nc_grid_layer_norm(b, x, c->embed_norm.w, c->embed_norm.b, 1e-6), "hidden.0");
    for (int i = 0; i < c->stages; i++) {
        nc_scope_push(b->g, "stages.%d", i);
        x = nc_grid_probe(b, stage_forward(c, b, &c->stage[i], x), "hidden.%d", i + 1);
        nc_scope_pop(b->g);
    }
    nc_convnet_head(&c->net, b, x, nc_ln(b, nc_grid_mean(b, x), c->norm.w, c->norm.b, c->eps), out);
}

static const char *const renames[] = { "", "convnext.", "convnext.", "", NULL };
static const char *const v2_renames[] = { "", "convnextv2.", "convnextv2.", "", NULL };

const nc_family nc_family_convnext = {
    .name = "convnext", .architectures = "ConvNextForImageClassification ConvNextModel", .size = sizeof(convnext), .config = config, .weights = weights, .renames = renames,
    .prepare = nc_convnet_prepare, .encode = encode, .capacity = nc_convnet_capacity,
};
const nc_family nc_family_convnextv2 = {
    .name = "convnextv2", .architectures = "ConvNextV2ForImageClassification ConvNextV2Model", .size = sizeof(convnext), .config = v2_config, .weights = v2_weights,
    .renames = v2_renames, .prepare = nc_convnet_prepare, .encode = encode, .capacity = nc_convnet_capacity,
};

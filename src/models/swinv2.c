/* swinv2.c - Swin Transformer V2 (Liu et al. 2022): Swin's windows, another attention and norms behind the sublayers.
 *
 *   per block:  x += layernorm_before(o(attend x));  x += layernorm_after(output(f(intermediate x)))
 *   scores = exp(min(logit_scale, ln 100)) cos(q, k) + 16 sigmoid(mlp(c)),  c the log-spaced offset of the two cells, mlp = linear(relu(linear c))
 *   c = sign(d) log2(|8 d / (w - 1)| + 1) / 3 on each axis, w the window the model was pretrained with, else its own
 *   between stages:  x = norm(reduction([x00, x10, x01, x11]))
 *
 * Easy to get wrong: keys have no bias; a stage's window and its move are fixed by the config's image_size, whatever picture comes; a zero vector's cosine is 0.
 * Golden: swinv2.
 */
#include "models/swin.h"

#include <math.h>

typedef struct own { nc_dense up, down; nc_site *scale; } own;         /* of a block: the bias's mlp, the heads' scales */
typedef struct swinv2 { nc_swin_net net; int *pretrained, pretrained_count; } swinv2;

enum { BIAS_WIDTH = 512 };

static void fix_windows(swinv2 *c)
{
    nc_swin *s = &c->net.swin;
    for (int i = 0; i < s->stages; i++) {
        const int side = (s->height / s->patch) >> i;
        s->stage[i].window = side < s->window ? side : s->window;
        s->stage[i].window = s->stage[i].window < 1 ? 1 : s->stage[i].window;
        s->stage[i].move = side <= s->stage[i].window ? 0 : s->window / 2;
    }
}

static void block_weights(nc_model *m, nc_swin *c, int stage, int block)
{
    nc_swin_block *l = &c->stage[stage].block[block];
    const int D = c->stage[stage].width, F = (int)(c->mlp_ratio * D), H = c->stage[stage].heads;
    own *o = l->own = NC_NEW(m->arena, own);
    o->scale = nc_weight(m, NC_SITE_KEEP_F32, NC_INIT_ZERO, "attention.self.logit_scale", 1, H, 1, 0);
    o->scale->init_value = log(10);
    o->scale->file_shape = NC_SHAPE(H, 1, 1);
    o->up = nc_weight_dense(m, "attention.self.continuous_position_bias_mlp.0", BIAS_WIDTH, 2, true);
    o->down = nc_weight_dense(m, "attention.self.continuous_position_bias_mlp.2", H, BIAS_WIDTH, false);
    l->q = nc_weight_dense(m, "attention.self.query", D, D, c->qkv_bias);
    l->k = nc_weight_dense(m, "attention.self.key", D, D, false);
    l->v = nc_weight_dense(m, "attention.self.value", D, D, c->qkv_bias);
    l->o = nc_weight_dense(m, "attention.output.dense", D, D, true);
    l->before = nc_weight_layer_norm(m, "layernorm_before", D);
    l->up = nc_weight_dense(m, "intermediate.dense", F, D, true);
    l->down = nc_weight_dense(m, "output.dense", D, F, true);
    l->after = nc_weight_layer_norm(m, "layernorm_after", D);
}

static double spaced(int offset, int side, int pretrained)
{
    const double d = 8.0 * offset / (pretrained > 0 ? pretrained - 1 : side > 1 ? side - 1 : 1);
    return copysign(log2(fabs(d) + 1) / 3, d);
}

/* The offsets of two cells of a window as the mlp takes them, [(2 side - 1)^2, 2]: a table of the graph's own. */
static nc_value *offsets(const nc_swin *c, nc_build *b, int stage)
{
    const swinv2 *v = (const swinv2 *)(const void *)c;     /* the tower is its first member's first */
    const int side = nc_swin_window(c, stage), many = 2 * side - 1, pretrained = stage < v->pretrained_count ? v->pretrained[stage] : 0;
    nc_value *x = nc_input(b->g, "offsets", NC_F32, NC_SHAPE((int64_t)many * many, 2), -1);
    float *to = x->data = nc_arena_alloc(nc_graph_arena(b->g), sizeof(float) * 2 * (size_t)many * (size_t)many);
    for (int i = 0; i < many * many; i++) {
        *to++ = (float)spaced(i / many - side + 1, side, pretrained);
        *to++ = (float)spaced(i % many - side + 1, side, pretrained);
    }
    return nc_cast(b->g, x, nc_graph_compute(b->g));
}

/* [heads, offsets], wide */
static nc_value *bias_of(const nc_swin *c, nc_build *b, int stage, const own *o)
{
    nc_value *h = nc_unary_op(b->g, NC_RELU, nc_dense_apply(b, offsets(c, b, stage), o->up));
    h = nc_cast(b->g, nc_dense_apply(b, h, o->down), nc_graph_compute(b->g) == NC_F64 ? NC_F64 : NC_F32);
    return nc_permute(b->g, nc_affine(b->g, nc_unary_op(b->g, NC_SIGMOID, h), 16, 0), (const int[]){ 1, 0 });
}

static nc_value *directions(nc_build *b, nc_value *x, int heads)
{
    x = nc_reshape(b->g, x, NC_SHAPE(x->shape.dim[0], heads, x->shape.dim[1] / heads));
    return nc_l2_norm(b->g, x, 1e-24);                     /* x / max(|x|, 1e-12), the norm's own floor */
}

static nc_value *attention(const nc_swin *c, nc_build *b, int stage, int block, nc_value *x)
{
    const nc_swin_block *l = &c->stage[stage].block[block];
    const own *o = l->own;
    const int heads = c->stage[stage].heads;
    nc_swin_windows w = nc_swin_windows_of(c, b, stage, block);
    nc_value *h = nc_gather_rows(b->g, nc_point(b, x, "attn.in"), w.rows);
    nc_value *scale = nc_unary_op(b->g, NC_EXP, nc_clamp(b->g, nc_site_value(b, o->scale), -1e30, log(100)));      /* [1,H,1] */
    nc_value *q = directions(b, nc_dense_apply(b, h, l->q), heads), *k = directions(b, nc_dense_apply(b, h, l->k), heads), *v = nc_dense_apply(b, h, l->v);
    q = nc_mul(b->g, q, nc_cast(b->g, scale, q->dtype));
    nc_value *y = nc_attend_heads(b, q, k, v, &(nc_attend){ .heads = heads, .kv_heads = heads, .head_dim = c->stage[stage].width / heads, .scale = 1, .spans = w.spans,
                                                            .bias = bias_of(c, b, stage, o), .q_code = w.code, .k_code = w.code, .bias_offset = w.offset });
    return nc_point(b, nc_dense_apply(b, nc_gather_rows(b->g, y, w.back), l->o), "attn.out");
}

static nc_value *block_forward(const nc_swin *c, nc_build *b, int stage, int block, nc_value *x)
{
    const nc_swin_block *l = &c->stage[stage].block[block];
    x = nc_add(b->g, x, nc_ln(b, attention(c, b, stage, block, x), l->before.w, l->before.b, c->eps));
    return nc_add(b->g, x, nc_ln(b, nc_swin_mlp(c, b, l, x), l->after.w, l->after.b, c->eps));
}

static nc_value *merge(const nc_swin *c, nc_build *b, int stage, nc_value *x)
{
    const nc_swin_stage *s = &c->stage[stage];
    return nc_ln(b, nc_dense_apply(b, x, s->reduction), s->norm.w, s->norm.b, 1e-5);
}

static void config(nc_model *m, void *self, nc_config *r)
{
    swinv2 *c = self;
    nc_swin_net_config(m, &c->net, r);
    c->pretrained_count = nc_config_ints(r, "pretrained_window_sizes", NULL, 0, &c->pretrained);
    c->net.swin.block_weights = block_weights;
    c->net.swin.block = block_forward;
    c->net.swin.merge = merge;
    fix_windows(c);
}

static void weights(nc_model *m, void *self) { nc_swin_net_weights(m, &((swinv2 *)self)->net, "swinv2."); }

static const char *const ignored[] = { "*relative_position_index", "*relative_coords_table", "*attn_mask", NULL };
static const char *const renames[] = { "", "swinv2.", "swinv2.", "", NULL };

const nc_family nc_family_swinv2 = {
    .name = "swinv2", .architectures = "Swinv2ForImageClassification Swinv2Model", .size = sizeof(swinv2), .config = config, .weights = weights, .ignored = ignored,
    .renames = renames, .prepare = nc_swin_net_prepare, .encode = nc_swin_net_encode, .capacity = nc_swin_net_capacity,
};

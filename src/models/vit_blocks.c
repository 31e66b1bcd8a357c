/* vit_blocks.c - see vit.h.
 *
 * Easy to get wrong: registers stand between the class row and the patches and have no position; masked patches are replaced before positions are added;
 * in a joined gate-and-up product the gate comes first.
 */
#include "models/vit.h"

/* ---- config and weights ---- */

void nc_vit_config(nc_model *m, nc_vit *c, nc_config *r, double eps, int patch)
{
    static const char *const ignored[] = { "hidden_dropout_prob", "attention_probs_dropout_prob", "attention_dropout", "drop_path_rate", "encoder_stride", "out_features",
                                           "out_indices", "stage_names", "apply_layernorm", "reshape_hidden_states", "layer_norm_type", NULL };
    c->layers = nc_config_layers(r, "num_hidden_layers", 12);
    c->width = (int)nc_config_int(r, "hidden_size", 768);
    c->heads = (int)nc_config_int(r, "num_attention_heads", 12);
    c->eps = nc_config_float(r, "layer_norm_eps", eps);
    c->activation = (nc_unary)nc_config_activation(r, "hidden_act", "gelu");
    c->info = (nc_vision_info){ .image_size = nc_config_side(r, "image_size", 224), .patch_size = nc_config_side(r, "patch_size", patch),
                                .channels = (int)nc_config_int(r, "num_channels", 3), .class_rows = 1, .layers = c->layers, .hidden_size = c->width };
    c->class = nc_config_class(m, r);
    c->o_bias = c->mlp_bias = c->norm_last = true;
    nc_config_ignore(r, ignored);
    m->hidden_size = c->width;
    if (c->heads <= 0 || c->width <= 0 || c->width % c->heads)
        nc_config_mistake(r, "hidden_size %d is no multiple of num_attention_heads %d", c->width, c->heads);
    if (c->info.patch_size <= 0 || c->info.image_size < c->info.patch_size)
        nc_config_mistake(r, "image_size %d is smaller than patch_size %d", c->info.image_size, c->info.patch_size);
}

static const char *joined(nc_model *m, const char *module, const char *what) { return nc_arena_printf(m->arena, "%s.%s", module, what); }

nc_dense nc_weight_dense(nc_model *m, const char *name, int64_t out, int64_t in, bool bias)
{
    if (!name)
        return (nc_dense){ 0 };
    nc_site *w = nc_weight_linear(m, joined(m, name, "weight"), out, in);
    return (nc_dense){ w, bias ? nc_weight_bias(m, joined(m, name, "bias"), out) : NULL };
}

nc_dense nc_weight_layer_norm(nc_model *m, const char *name, int64_t width)
{
    nc_site *w = nc_weight_norm(m, joined(m, name, "weight"), width);
    return (nc_dense){ w, nc_weight_bias(m, joined(m, name, "bias"), width) };
}

/* Rows learned once for all pictures, held as [1, rows, D]. */
static nc_site *token_rows(nc_model *m, const char *name, int64_t rows, int64_t width, bool is_row)
{
    nc_site *s = nc_weight_table(m, name, rows, width);
    if (!is_row)
        s->file_shape = NC_SHAPE(1, rows, width);
    return s;
}

void nc_vit_embedding_weights(nc_model *m, nc_vit *c, const char *prefix)
{
    const int D = c->width, P = c->info.patch_size, side = c->info.image_size / P;
    nc_weight_scope(m, "%s", prefix);
    c->class_token = token_rows(m, "embeddings.cls_token", 1, D, false);
    if (c->info.class_rows == 2)
        c->distillation = token_rows(m, "embeddings.distillation_token", 1, D, false);
    if (c->has_mask)
        c->mask = token_rows(m, "embeddings.mask_token", 1, D, c->mask_is_row);
    if (c->info.register_rows)
        c->registers = token_rows(m, "embeddings.register_tokens", c->info.register_rows, D, false);
    if (c->has_position)
        c->position = token_rows(m, "embeddings.position_embeddings", side * side + c->info.class_rows, D, false);
    c->patch.w = nc_weight_conv(m, joined(m, c->names->patch, "weight"), D, c->info.channels, P, P);
    c->patch.b = nc_weight_bias(m, joined(m, c->names->patch, "bias"), D);
}

static nc_site *layer_scale(nc_model *m, const char *name, const nc_vit *c)
{
    if (!name)
        return NULL;
    nc_site *s = nc_weight(m, 0, NC_INIT_ZERO, name, c->width, 0, 0, 0);
    s->init_value = c->scale_init;
    return s;
}

static nc_dense block_norm(nc_model *m, const nc_vit *c, const char *name)
{
    return c->rms ? (nc_dense){ nc_weight_norm(m, joined(m, name, "weight"), c->width), NULL } : nc_weight_layer_norm(m, name, c->width);
}

void nc_vit_block_weights(nc_model *m, nc_vit *c, const char *prefix)
{
    const nc_vit_names *n = c->names;
    const int D = c->width, F = c->inner;
    c->block = NC_NEW_ARRAY(m->arena, nc_vit_block, c->layers + 1);
    for (int i = 0; i < c->layers; i++) {
        nc_vit_block *l = &c->block[i];
        nc_weight_scope(m, "%s%s%d.", prefix, n->layer, i);
        l->norm1 = block_norm(m, c, n->norm1);
        l->q_norm = (nc_dense){ c->qk_norm ? nc_weight_norm(m, joined(m, n->q_norm, "weight"), D) : NULL, NULL };
        l->k_norm = (nc_dense){ c->qk_norm ? nc_weight_norm(m, joined(m, n->k_norm, "weight"), D) : NULL, NULL };
        l->qkv = nc_weight_dense(m, n->qkv, 3 * D, D, c->q_bias);
        l->q = nc_weight_dense(m, n->q, D, D, c->q_bias);
        l->k = nc_weight_dense(m, n->k, D, D, c->k_bias);
        l->v = nc_weight_dense(m, n->v, D, D, c->v_bias);
        l->o = nc_weight_dense(m, n->o, D, D, c->o_bias);
        l->scale1 = layer_scale(m, n->scale1, c);
        l->norm2 = block_norm(m, c, n->norm2);
        l->gate = nc_weight_dense(m, c->gated && !c->joined ? n->gate : NULL, F, D, c->mlp_bias);
        l->fc1 = nc_weight_dense(m, n->fc1, c->joined ? 2 * F : F, D, c->mlp_bias);
        l->fc2 = nc_weight_dense(m, n->fc2, D, F, c->mlp_bias);
        l->scale2 = layer_scale(m, n->scale2, c);
    }
    nc_weight_scope(m, "%s", prefix);
    if (c->norm_last)
        c->norm = nc_weight_layer_norm(m, n->norm, D);
}

/* ---- forward ---- */

nc_value *nc_dense_apply(nc_build *b, nc_value *x, nc_dense d) { return nc_linear(b, x, d.w, d.b); }

nc_value *nc_vit_embed(const nc_vit *c, nc_build *b)
{
    int64_t width = (int64_t)c->info.channels * c->info.patch_size * c->info.patch_size;
    nc_site *const before[] = { c->class_token, c->distillation, c->registers };
    nc_value *rows[NC_COUNT(before)], *x = nc_cast(b->g, nc_in(b, "vision.patches", NC_F32, "patches", width), nc_graph_compute(b->g));
    int n = 0;
    for (int i = 0; i < NC_COUNT(before); i++)
        if (before[i])
            rows[n++] = nc_site_value(b, before[i]);
    x = nc_dense_apply(b, x, c->patch);
    if (b->masked && c->mask)
        x = nc_splice_rows(b->g, x, nc_site_value(b, c->mask), nc_in(b, "vision.masked", NC_I32, "patches", 0));
    x = nc_gather_rows(b->g, x, nc_in(b, "vision.rows", NC_I32, "vision", 0));
    x = nc_splice_rows(b->g, x, n > 1 ? nc_concat(b->g, rows, n, 0) : rows[0], nc_in(b, "vision.class", NC_I32, "vision", 0));
    if (!c->position)
        return x;
    const int taps = nc_position_taps(&c->info);
    nc_value *table = nc_site_value(b, c->position);
    return nc_add(b->g, x, b->any_size ? nc_gather_weighted(b->g, table, nc_in(b, "vision.taps", NC_I32, "vision", taps), nc_in(b, "vision.share", NC_F32, "vision", taps))
                                       : nc_gather_rows(b->g, table, nc_in(b, "vision.pos", NC_I32, "vision", 0)));
}

/* [H, relations], wide. */
static nc_value *bias_of(const nc_vit *c, nc_build *b, const nc_vit_block *l, const nc_vit_positions *p)
{
    static const int swap[] = { 1, 0 };
    nc_dtype wide = nc_graph_compute(b->g) == NC_F64 ? NC_F64 : NC_F32;
    nc_value *own = l->bias ? nc_cast(b->g, nc_site_value(b, l->bias), wide) : NULL, *all = c->shared_bias ? nc_cast(b->g, nc_site_value(b, c->shared_bias), wide) : NULL;
    nc_value *table = own && all ? nc_add(b->g, own, all) : own ? own : all;
    return nc_permute(b->g, nc_gather_weighted(b->g, table, p->taps, p->share), swap);
}

static void project(const nc_vit *c, nc_build *b, const nc_vit_block *l, nc_value *x, nc_value **q, nc_value **k, nc_value **v)
{
    const nc_dense one[] = { l->q, l->k, l->v };
    nc_value *const all = l->qkv.w ? nc_dense_apply(b, x, l->qkv) : NULL, **const out[] = { q, k, v };
    for (int i = 0; i < 3; i++)
        *out[i] = all ? nc_slice(b->g, all, 1, (int64_t)i * c->width, c->width) : nc_dense_apply(b, x, one[i]);
}

static nc_value *attention(const nc_vit *c, nc_build *b, const nc_vit_block *l, nc_value *x, const nc_vit_positions *p)
{
    const int A = c->width / c->heads;
    x = nc_point(b, x, "attn.in");
    nc_value *q, *k, *v;
    project(c, b, l, x, &q, &k, &v);
    if (c->qk_norm) {
        q = nc_rms(b, q, l->q_norm.w, 1e-6);
        k = nc_rms(b, k, l->k_norm.w, 1e-6);
    }
    if (p && p->rope.cos) {
        q = nc_rope_apply(b, nc_reshape(b->g, q, NC_SHAPE(q->shape.dim[0], c->heads, A)), p->rope);
        k = nc_rope_apply(b, nc_reshape(b->g, k, NC_SHAPE(k->shape.dim[0], c->heads, A)), p->rope);
    }
    nc_attend a = { .heads = c->heads, .kv_heads = c->heads, .head_dim = A, .spans = nc_in_spans(b, "vision") };
    if (p && p->taps) {
        a.bias = bias_of(c, b, l, p);
        a.q_code = p->q_code;
        a.k_code = p->k_code;
        a.bias_offset = p->bias_offset;
    }
    nc_value *y = nc_attend_heads(b, q, k, v, &a);
    return nc_point(b, nc_dense_apply(b, y, l->o), "attn.out");
}

static nc_value *mlp(const nc_vit *c, nc_build *b, const nc_vit_block *l, nc_value *x)
{
    if (!c->gated)
        return nc_mlp(b, c->activation, x, l->fc1.w, l->fc1.b, l->fc2.w, l->fc2.b);
    x = nc_point(b, x, "mlp.in");
    nc_value *up = nc_dense_apply(b, x, l->fc1), *gate = c->joined ? nc_slice(b->g, up, 1, 0, c->inner) : nc_dense_apply(b, x, l->gate);
    if (c->joined)
        up = nc_slice(b->g, up, 1, c->inner, c->inner);
    return nc_point(b, nc_dense_apply(b, nc_gated(b->g, c->activation, gate, up), l->fc2), "mlp.out");
}

static nc_value *scaled(nc_build *b, nc_value *x, nc_site *scale) { return scale ? nc_mul(b->g, x, nc_site_value(b, scale)) : x; }

static nc_value *norm(const nc_vit *c, nc_build *b, nc_value *x, nc_dense n) { return c->rms ? nc_rms(b, x, n.w, c->eps) : nc_ln(b, x, n.w, n.b, c->eps); }

nc_value *nc_vit_blocks(const nc_vit *c, nc_build *b, nc_value *x, int count, const nc_vit_positions *p, const char *prefix)
{
    if (prefix)
        x = nc_probe(b, x, "%s.0", prefix);
    for (int i = 0; i < count; i++) {
        const nc_vit_block *l = &c->block[i];
        nc_scope_push(b->g, "layer.%d", i);
        nc_block_begin(b->g);
        x = nc_add(b->g, x, scaled(b, attention(c, b, l, norm(c, b, x, l->norm1), p), l->scale1));
        x = nc_add(b->g, x, scaled(b, mlp(c, b, l, norm(c, b, x, l->norm2)), l->scale2));
        nc_block_end(b->g);
        nc_scope_pop(b->g);
        if (prefix)
            x = nc_probe(b, x, "%s.%d", prefix, i + 1);
    }
    return x;
}

nc_value *nc_vit_vision(const nc_vit *c, nc_build *b, int layer, const nc_vit_positions *p, const char *prefix)
{
    int depth = layer < 0 ? c->layers + 1 + layer : layer;
    if (depth < 0 || depth > c->layers) {
        nc_graph_mistake(b->g, NC_EINVAL, "the tower has %d layers, layer %d was asked for", c->layers, layer);
        return nc_graph_poison(b->g);
    }
    return nc_vit_blocks(c, b, nc_vit_embed(c, b), depth, p, prefix);
}

nc_value *nc_first_row(nc_build *b, nc_value *x)
{
    return nc_gather_rows(b->g, x, nc_in(b, "first.rows", NC_I32, "pictures", 0));
}

nc_value *nc_mean_of_patches(nc_build *b, nc_value *x)
{
    nc_value *share = nc_cast(b->g, nc_in(b, "mean.share", NC_F32, "vision", 1), x->dtype), *first = nc_in(b, "first.rows", NC_I32, "pictures", 0);
    return nc_scatter_add_rows(b->g, nc_mul(b->g, x, share), nc_in(b, "mean.rows", NC_I32, "vision", 0), first->shape.dim[0], first->count);
}

/* ---- host tables ---- */

int nc_prepare_vision(nc_batch *batch, const nc_vision_info *info, const nc_seq *seqs, int count, nc_error *e)
{
    const int before = info->class_rows + info->register_rows;
    NC_TRY(nc_prepare_samples(batch, info, seqs, count, e));
    int64_t rows = nc_batch_count(batch, "vision");
    int32_t *first = nc_batch_i32(batch, "first.rows", count, 1), *of = nc_batch_i32(batch, "mean.rows", rows, 1);
    float *share = nc_batch_f32(batch, "mean.share", rows, 1);
    nc_spans spans = nc_batch_spans(batch, "vision");
    for (int i = 0; i < count; i++) {
        const nc_span *s = &spans.span[i];
        first[i] = s->k_row;
        for (int j = 0; j < s->k_rows; j++) {
            of[s->k_row + j] = j < before ? -1 : i;
            share[s->k_row + j] = 1.0f / (float)(s->k_rows - before);
        }
    }
    return 0;
}

int nc_vit_prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    (void)m;
    return nc_prepare_vision(batch, &((const nc_vit *)self)->info, seqs, count, e);
}

void nc_vit_info(const void *self, nc_vision_info *out) { *out = ((const nc_vit *)self)->info; }

void nc_vit_capacity(const void *self, nc_build *b, int64_t pictures)
{
    nc_capacity_pictures(b, &((const nc_vit *)self)->info, pictures);
    nc_build_capacity(b, "pictures", pictures);
}

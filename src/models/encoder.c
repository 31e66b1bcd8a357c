/* encoder.c - see encoder.h. */
#include "models/encoder.h"

#include <stdio.h>

void nc_encoder_config(nc_config *r, nc_encoder *c, const char *default_activation, double default_eps)
{
    c->layers = nc_config_layers(r, "num_hidden_layers", 12);
    c->width = (int)nc_config_int(r, "hidden_size", 768);
    c->heads = (int)nc_config_int(r, "num_attention_heads", 12);
    c->inner = (int)nc_config_int(r, "intermediate_size", 3072);
    c->eps = nc_config_float(r, "layer_norm_eps", default_eps);
    c->activation = (nc_unary)nc_config_activation(r, "hidden_act", default_activation);
    nc_config_float(r, "attention_dropout", 0);
    if (c->heads <= 0 || c->width <= 0 || c->width % c->heads)
        nc_config_mistake(r, "hidden_size %d is no multiple of num_attention_heads %d", c->width, c->heads);
}

void nc_encoder_weights(nc_model *m, nc_encoder *c, const char *scope)
{
    const int D = c->width, F = c->inner;
    c->layer = NC_NEW_ARRAY(m->arena, nc_encoder_layer, c->layers);
    for (int i = 0; i < c->layers; i++) {
        nc_encoder_layer *l = &c->layer[i];
        nc_weight_scope(m, "%s%d.", scope, i);
        l->k = nc_weight_linear(m, "self_attn.k_proj.weight", D, D);
        l->kb = nc_weight_bias(m, "self_attn.k_proj.bias", D);
        l->v = nc_weight_linear(m, "self_attn.v_proj.weight", D, D);
        l->vb = nc_weight_bias(m, "self_attn.v_proj.bias", D);
        l->q = nc_weight_linear(m, "self_attn.q_proj.weight", D, D);
        l->qb = nc_weight_bias(m, "self_attn.q_proj.bias", D);
        l->o = nc_weight_linear(m, "self_attn.out_proj.weight", D, D);
        l->ob = nc_weight_bias(m, "self_attn.out_proj.bias", D);
        l->ln1 = nc_weight_norm(m, "layer_norm1.weight", D);
        l->ln1b = nc_weight_bias(m, "layer_norm1.bias", D);
        l->fc1 = nc_weight_linear(m, "mlp.fc1.weight", F, D);
        l->fc1b = nc_weight_bias(m, "mlp.fc1.bias", F);
        l->fc2 = nc_weight_linear(m, "mlp.fc2.weight", D, F);
        l->fc2b = nc_weight_bias(m, "mlp.fc2.bias", D);
        l->ln2 = nc_weight_norm(m, "layer_norm2.weight", D);
        l->ln2b = nc_weight_bias(m, "layer_norm2.bias", D);
    }
}

static nc_value *attention(const nc_encoder *c, nc_build *b, const nc_encoder_layer *l, nc_value *x, const nc_spans *spans)
{
    x = nc_point(b, x, "attn.in");
    nc_value *q = nc_linear(b, x, l->q, l->qb), *k = nc_linear(b, x, l->k, l->kb), *v = nc_linear(b, x, l->v, l->vb);
    nc_value *y = nc_attend_heads(b, q, k, v, &(nc_attend){ .heads = c->heads, .kv_heads = c->heads, .head_dim = c->width / c->heads, .spans = spans });
    return nc_point(b, nc_linear(b, y, l->o, l->ob), "attn.out");
}

nc_value *nc_encoder_blocks(const nc_encoder *c, nc_build *b, nc_value *x, int count, const nc_spans *spans, const char *prefix)
{
    if (prefix)
        x = nc_probe(b, x, "%s.0", prefix);
    for (int i = 0; i < count; i++) {
        const nc_encoder_layer *l = &c->layer[i];
        nc_scope_push(b->g, "encoder.%d", i);
        nc_block_begin(b->g);
        x = nc_add(b->g, x, attention(c, b, l, nc_ln(b, x, l->ln1, l->ln1b, c->eps), spans));
        x = nc_add(b->g, x, nc_mlp(b, c->activation, nc_ln(b, x, l->ln2, l->ln2b, c->eps), l->fc1, l->fc1b, l->fc2, l->fc2b));
        nc_block_end(b->g);
        nc_scope_pop(b->g);
        if (prefix)
            x = nc_probe(b, x, "%s.%d", prefix, i + 1);
    }
    return x;
}

int nc_encoder_depth(const nc_encoder *c, int feature_layer)
{
    int depth = feature_layer < 0 ? c->layers + 1 + feature_layer : feature_layer;
    return depth < 0 || depth > c->layers ? -1 : depth;
}

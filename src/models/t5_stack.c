/* t5_stack.c - see t5.h. */
#include "models/t5.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST_DISTANCE = 1 << 16 };

void nc_t5_check(nc_config *r, const nc_t5_stack *c)
{
    if (c->heads <= 0 || c->d_kv <= 0 || c->width <= 0 || c->inner <= 0)
        nc_config_mistake(r, "d_model %d, num_heads %d of d_kv %d and d_ff %d must be positive", c->width, c->heads, c->d_kv, c->inner);
    if (c->buckets < 4 || c->max_distance < c->buckets / 2 || c->max_distance > MOST_DISTANCE)
        nc_config_mistake(r, "relative_attention_num_buckets %d with relative_attention_max_distance %d", c->buckets, c->max_distance);
}

void nc_t5_mlp_config(nc_config *r, nc_t5_stack *c, const char *fallback)
{
    static const struct { const char *name; nc_unary kind; } known[] = { { "relu", NC_RELU }, { "gelu", NC_GELU }, { "gelu_new", NC_GELU_TANH }, { "silu", NC_SILU }, { "swish", NC_SILU } };
    const char *name = nc_config_string(r, "feed_forward_proj", fallback);
    c->gated = nc_starts_with(name, "gated-");
    const char *kind = c->gated ? name + 6 : name;
    if (!strcmp(name, "gated-gelu"))
        kind = "gelu_new";
    for (int i = 0; i < NC_COUNT(known); i++)
        if (!strcmp(kind, known[i].name)) {
            c->activation = known[i].kind;
            return;
        }
    nc_config_mistake(r, "feed_forward_proj \"%s\" is not known here", name);
}

static void attention_weights(nc_model *m, const nc_t5_stack *c, const nc_t5_names *n, nc_t5_attention *a, const char *sublayer, const char *attention, int64_t key_width)
{
    const int D = c->width, I = c->heads * c->d_kv;
    char at[160];
    nc_site **site[] = { &a->q, &a->k, &a->v, &a->o };
    const char *const part[] = { n->q, n->k, n->v, n->o };
    for (int i = 0; i < 4; i++) {
        snprintf(at, sizeof at, "%s%s%sweight", sublayer, attention, part[i]);
        *site[i] = nc_weight_linear(m, at, i == 3 ? D : I, i == 3 ? I : i == 0 ? D : key_width);
    }
    snprintf(at, sizeof at, "%slayer_norm.weight", sublayer);
    a->norm = nc_weight_norm(m, at, D);
}

static void mlp_weights(nc_model *m, const nc_t5_stack *c, nc_t5_layer *l, const char *sublayer)
{
    char at[160];
    nc_site **site[] = { &l->wi, &l->wi_0, &l->wi_1, &l->wo };
    const char *const part[] = { "wi", "wi_0", "wi_1", "wo" };
    for (int i = 0; i < 4; i++) {
        if (i < 3 && (i == 0) == c->gated)
            continue;
        snprintf(at, sizeof at, "%sDenseReluDense.%s.weight", sublayer, part[i]);
        *site[i] = nc_weight_linear(m, at, i == 3 ? c->width : c->inner, i == 3 ? c->inner : c->width);
    }
    snprintf(at, sizeof at, "%slayer_norm.weight", sublayer);
    l->norm = nc_weight_norm(m, at, c->width);
}

void nc_t5_weights(nc_model *m, nc_t5_stack *c, const nc_t5_names *n, const char *scope)
{
    char block[64], at[160];
    c->layer = NC_NEW_ARRAY(m->arena, nc_t5_layer, c->layers);
    for (int i = 0; i < c->layers; i++) {
        nc_t5_layer *l = &c->layer[i];
        snprintf(block, sizeof block, "%s%d.", n->block, i);
        nc_weight_scope(m, "%s%s", scope, block);
        attention_weights(m, c, n, &l->self, n->self, n->self_attention, c->width);
        if (i == 0) {
            snprintf(at, sizeof at, "%s%srelative_attention_bias.weight", n->self, n->self_attention);
            c->relative = nc_weight_table(m, at, c->buckets, c->heads);
        }
        if (c->decoder)
            attention_weights(m, c, n, &l->cross, n->cross, n->cross_attention, c->cross_width);
        mlp_weights(m, c, l, n->mlp);
    }
    nc_weight_scope(m, "%s", scope);
    c->final_norm = nc_weight_norm(m, "final_layer_norm.weight", c->width);
}

/* The bucket of key index - query index, in the reference's float arithmetic. */
static int bucket_of(const nc_t5_stack *c, int distance)
{
    int buckets = c->decoder ? c->buckets : c->buckets / 2, first = 0, single = buckets / 2;
    if (!c->decoder && distance > 0)
        first = buckets;
    distance = c->decoder ? (distance < 0 ? -distance : 0) : abs(distance);
    if (distance < single)
        return first + distance;
    float share = logf((float)distance / (float)single) / (float)log((double)c->max_distance / single) * (float)(buckets - single);
    int bucket = single + (int)share;
    return first + (bucket < buckets ? bucket : buckets - 1);
}

/* [heads, 2 max_distance + 1]: row r is for key index - query index = r - max_distance. */
static nc_value *relative_bias(const nc_t5_stack *c, nc_build *b)
{
    int64_t rows = 2 * (int64_t)c->max_distance + 1;
    int32_t *index = NC_NEW_ARRAY(nc_graph_arena(b->g), int32_t, rows);
    for (int64_t r = 0; r < rows; r++)
        index[r] = bucket_of(c, (int)(r - c->max_distance));
    nc_value *by_row = nc_embed(b, c->relative, nc_state(b->g, "buckets", NC_I32, NC_SHAPE(rows), index));
    return nc_permute(b->g, nc_cast(b->g, by_row, nc_graph_compute(b->g) == NC_F64 ? NC_F64 : NC_F32), (const int[]){ 1, 0 });
}

static nc_attend heads_of(const nc_t5_stack *c)
{
    return (nc_attend){ .heads = c->heads, .kv_heads = c->heads, .head_dim = c->d_kv, .scale = 1 };
}

static nc_value *self_attention(const nc_t5_stack *c, nc_build *b, const nc_t5_attention *l, nc_value *x, const nc_spans *spans, nc_value *bias)
{
    nc_attend a = heads_of(c);
    a.cached = c->decoder;
    a.spans = spans;
    a.bias = bias;
    a.bias_offset = c->max_distance;
    x = nc_point(b, nc_rms(b, x, l->norm, c->eps), "attn.in");
    nc_value *q = nc_linear(b, x, l->q, NULL), *k = nc_linear(b, x, l->k, NULL), *v = nc_linear(b, x, l->v, NULL);
    return nc_point(b, nc_linear(b, nc_attend_heads(b, q, k, v, &a), l->o, NULL), "attn.out");
}

static nc_value *cross_attention(const nc_t5_stack *c, nc_build *b, const nc_t5_attention *l, nc_value *x, nc_value *rows)
{
    nc_attend a = heads_of(c);
    nc_value *q = nc_linear(b, nc_rms(b, x, l->norm, c->eps), l->q, NULL);
    nc_value *k = rows ? nc_linear(b, rows, l->k, NULL) : NULL, *v = rows ? nc_linear(b, rows, l->v, NULL) : NULL;
    return nc_linear(b, nc_attend_cross(b, q, k, v, &a), l->o, NULL);
}

nc_value *nc_t5_blocks(const nc_t5_stack *c, nc_build *b, nc_value *x, const nc_spans *spans, nc_value *rows, const char *prefix)
{
    nc_value *bias = relative_bias(c, b);
    x = nc_probe(b, x, "%s.0", prefix);
    for (int i = 0; i < c->layers; i++) {
        const nc_t5_layer *l = &c->layer[i];
        nc_scope_push(b->g, "block.%d", i);
        nc_block_begin(b->g);
        x = nc_add(b->g, x, self_attention(c, b, &l->self, x, spans, bias));
        if (c->decoder)
            x = nc_add(b->g, x, cross_attention(c, b, &l->cross, x, rows));
        nc_value *h = nc_rms(b, x, l->norm, c->eps);
        x = nc_add(b->g, x, c->gated ? nc_gated_mlp(b, c->activation, h, l->wi_0, l->wi_1, l->wo) : nc_mlp(b, c->activation, h, l->wi, NULL, l->wo, NULL));
        nc_block_end(b->g);
        nc_scope_pop(b->g);
        if (i + 1 < c->layers)
            x = nc_probe(b, x, "%s.%d", prefix, i + 1);
    }
    return nc_probe(b, nc_rms(b, x, c->final_norm, c->eps), "%s.%d", prefix, c->layers);
}

void nc_t5_cross(const nc_t5_stack *c, nc_build *b, nc_value *rows)
{
    nc_attend a = heads_of(c);
    for (int i = 0; i < c->layers; i++)
        nc_keep_cross(b, nc_linear(b, rows, c->layer[i].cross.k, NULL), nc_linear(b, rows, c->layer[i].cross.v, NULL), &a, i);
}

void nc_t5_cache(const nc_t5_stack *c, nc_cache_need *out)
{
    *out = (nc_cache_need){ .layers = c->layers, .kv_heads = c->heads, .key_dim = c->d_kv, .value_dim = c->d_kv };
}

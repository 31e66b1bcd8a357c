/* bart_stack.c - see bart.h. */
#include "models/bart.h"

#include <math.h>
#include <stdio.h>

const char *const nc_bart_meaningless[] = {
    "dropout", "attention_dropout", "activation_dropout", "classifier_dropout", "classif_dropout", "encoder_layerdrop", "decoder_layerdrop", "init_std", "num_hidden_layers",
    "add_bias_logits", "add_final_layer_norm", "normalize_before", "normalize_embedding", "static_position_embeddings", "extra_pos_embeddings", "gradient_checkpointing",
    "force_bos_token_to_be_generated", "save_step", "output_past", "layernorm_embedding", "use_learned_position_embeddings", "max_source_positions", "max_target_positions",
    "replacing_rate", "student_encoder_layers", "student_decoder_layers", "do_blenderbot_90_layernorm", "author", "kobart_version", NULL,
};

static const char *named(char *buffer, size_t room, const char *side, const char *part)
{
    snprintf(buffer, room, "%s_%s", side, part);
    return buffer;
}

void nc_bart_config(nc_config *r, nc_bart_stack *c, const char *side)
{
    char key[64];
    c->decoder = !strcmp(side, "decoder");
    c->width = c->cross_width = (int)nc_config_int(r, "d_model", 1024);
    c->layers = nc_config_layers(r, named(key, sizeof key, side, "layers"), 12);
    c->heads = (int)nc_config_int(r, named(key, sizeof key, side, "attention_heads"), 16);
    c->inner = (int)nc_config_int(r, named(key, sizeof key, side, "ffn_dim"), 4096);
    c->positions = (int)nc_config_int(r, "max_position_embeddings", 1024);
    c->scale = nc_config_bool(r, "scale_embedding", false) ? sqrt((double)c->width) : 1;
    c->activation = (nc_unary)nc_config_activation(r, "activation_function", "gelu");
    if (c->heads <= 0 || c->width <= 0 || c->width % c->heads)
        nc_config_mistake(r, "d_model %d is no multiple of %s_attention_heads %d", c->width, side, c->heads);
}

static nc_bart_linear linear(nc_model *m, const char *name, int64_t out, int64_t in)
{
    nc_bart_linear l;
    char at[96];
    snprintf(at, sizeof at, "%s.weight", name);
    l.w = nc_weight_linear(m, at, out, in);
    snprintf(at, sizeof at, "%s.bias", name);
    l.b = nc_weight_bias(m, at, out);
    return l;
}

static nc_bart_norm norm(nc_model *m, const char *name, int64_t width)
{
    nc_bart_norm n;
    char at[96];
    snprintf(at, sizeof at, "%s.weight", name);
    n.w = nc_weight_norm(m, at, width);
    snprintf(at, sizeof at, "%s.bias", name);
    n.b = nc_weight_bias(m, at, width);
    return n;
}

static void attention_weights(nc_model *m, const nc_bart_stack *c, nc_bart_attention *a, const char *name, int64_t key_width)
{
    char at[64];
    struct { const char *part; nc_bart_linear *l; int64_t in; } part[] = { { "k_proj", &a->k, key_width }, { "v_proj", &a->v, key_width }, { "q_proj", &a->q, c->width },
                                                                           { "out_proj", &a->o, c->width } };
    for (int i = 0; i < NC_COUNT(part); i++) {
        snprintf(at, sizeof at, "%s.%s", name, part[i].part);
        *part[i].l = linear(m, at, c->width, part[i].in);
    }
    snprintf(at, sizeof at, "%s_layer_norm", name);
    a->norm = norm(m, at, c->width);
}

void nc_bart_weights(nc_model *m, nc_bart_stack *c, const char *scope)
{
    nc_weight_scope(m, "%s", scope);
    if (c->learned)
        c->position = nc_weight_table(m, "embed_positions.weight", (int64_t)c->positions + 2, c->width);
    c->layer = NC_NEW_ARRAY(m->arena, nc_bart_layer, c->layers);
    for (int i = 0; i < c->layers; i++) {
        nc_bart_layer *l = &c->layer[i];
        nc_weight_scope(m, "%slayers.%d.", scope, i);
        attention_weights(m, c, &l->self, "self_attn", c->width);
        if (c->decoder)
            attention_weights(m, c, &l->cross, "encoder_attn", c->cross_width);
        l->fc1 = linear(m, "fc1", c->inner, c->width);
        l->fc2 = linear(m, "fc2", c->width, c->inner);
        l->norm = norm(m, "final_layer_norm", c->width);
    }
    nc_weight_scope(m, "%s", scope);
    if (c->embed_norm)
        c->norm_embed = norm(m, "layernorm_embedding", c->width);
    if (c->final_norm)
        c->norm_final = norm(m, "layer_norm", c->width);
}

/* torch's default, whatever the config's layer_norm_eps would be: these families have none. */
static nc_value *normed(nc_build *b, nc_value *x, nc_bart_norm n) { return nc_ln(b, x, n.w, n.b, 1e-5); }
static nc_value *applied(nc_build *b, nc_value *x, nc_bart_linear l) { return nc_linear(b, x, l.w, l.b); }

nc_value *nc_bart_tokens(const nc_bart_stack *c, nc_build *b, nc_value *ids)
{
    nc_value *x = nc_embed(b, nc_site_is_there(c->own) ? c->own : c->embed, ids);
    return c->scale != 1 ? nc_affine(b->g, x, c->scale, 0) : x;
}

nc_value *nc_bart_embed(const nc_bart_stack *c, nc_build *b, nc_value *x, nc_value *pos, nc_value *rows)
{
    if (c->learned) {
        nc_value *table = nc_slice(b->g, nc_site_value(b, c->position), 0, 2, c->positions);
        rows = nc_gather_rows(b->g, table, nc_reshape(b->g, pos, NC_SHAPE(pos->shape.dim[0])));
    }
    x = nc_add(b->g, x, rows);
    return nc_point(b, c->embed_norm ? normed(b, x, c->norm_embed) : x, "embedding.out");
}

static nc_attend heads_of(const nc_bart_stack *c)
{
    return (nc_attend){ .heads = c->heads, .kv_heads = c->heads, .head_dim = c->width / c->heads };
}

static nc_value *self_attention(const nc_bart_stack *c, nc_build *b, const nc_bart_attention *l, nc_value *x, const nc_spans *spans)
{
    nc_attend a = heads_of(c);
    a.cached = c->decoder;
    a.spans = spans;
    x = nc_point(b, x, "attn.in");
    nc_value *q = applied(b, x, l->q), *k = applied(b, x, l->k), *v = applied(b, x, l->v);
    return nc_point(b, applied(b, nc_attend_heads(b, q, k, v, &a), l->o), "attn.out");
}

static nc_value *cross_attention(const nc_bart_stack *c, nc_build *b, const nc_bart_attention *l, nc_value *x, nc_value *rows)
{
    nc_attend a = heads_of(c);
    nc_value *k = rows ? applied(b, rows, l->k) : NULL, *v = rows ? applied(b, rows, l->v) : NULL;
    return applied(b, nc_attend_cross(b, applied(b, x, l->q), k, v, &a), l->o);
}

/* One sublayer with its norm before or after. */
enum { SELF, CROSS, MLP };
static nc_value *sublayer(const nc_bart_stack *c, nc_build *b, const nc_bart_layer *l, int which, nc_value *x, const nc_spans *spans, nc_value *rows)
{
    const nc_bart_norm n = which == SELF ? l->self.norm : which == CROSS ? l->cross.norm : l->norm;
    nc_value *h = c->pre_norm ? normed(b, x, n) : x;
    if (which == SELF)
        h = self_attention(c, b, &l->self, h, spans);
    else if (which == CROSS)
        h = cross_attention(c, b, &l->cross, h, rows);
    else
        h = nc_mlp(b, c->activation, h, l->fc1.w, l->fc1.b, l->fc2.w, l->fc2.b);
    x = nc_add(b->g, x, h);
    return c->pre_norm ? x : normed(b, x, n);
}

nc_value *nc_bart_blocks(const nc_bart_stack *c, nc_build *b, nc_value *x, const nc_spans *spans, nc_value *rows, const char *prefix)
{
    x = nc_probe(b, x, "%s.0", prefix);
    for (int i = 0; i < c->layers; i++) {
        const nc_bart_layer *l = &c->layer[i];
        nc_scope_push(b->g, "layers.%d", i);
        nc_block_begin(b->g);
        x = sublayer(c, b, l, SELF, x, spans, NULL);
        if (c->decoder)
            x = sublayer(c, b, l, CROSS, x, NULL, rows);
        x = sublayer(c, b, l, MLP, x, NULL, NULL);
        nc_block_end(b->g);
        nc_scope_pop(b->g);
        if (i + 1 < c->layers)
            x = nc_probe(b, x, "%s.%d", prefix, i + 1);
    }
    return nc_probe(b, c->final_norm ? normed(b, x, c->norm_final) : x, "%s.%d", prefix, c->layers);
}

void nc_bart_cross(const nc_bart_stack *c, nc_build *b, nc_value *rows)
{
    nc_attend a = heads_of(c);
    for (int i = 0; i < c->layers; i++)
        nc_keep_cross(b, applied(b, rows, c->layer[i].cross.k), applied(b, rows, c->layer[i].cross.v), &a, i);
}

void nc_bart_cache(const nc_bart_stack *c, nc_cache_need *out)
{
    *out = (nc_cache_need){ .layers = c->layers, .kv_heads = c->heads, .key_dim = c->width / c->heads, .value_dim = c->width / c->heads };
}

/* mamba.c - Mamba (Gu and Dao 2023) and Mamba-2 (Dao and Gu 2024): decoders of state-space mixers alone.
 *
 *   x = embeddings(ids)                                                            [N,D]
 *   per layer:  x += out_proj(y * silu(z)),  [x' | z] = in_proj(rms x)             I = expand * D channels
 *     Mamba     u = silu(conv x'),  [r | B | C] = x_proj u,  d = softplus(dt_proj r)       A = -exp(A_log) [I,n]
 *               y = selective_scan(u, d, A, B, C) + D u
 *     Mamba-2   [z | xBC | dt] = in_proj(rms x),  [u | B | C] = silu(conv xBC),  d = clamp(softplus(dt + dt_bias), time_step_limit)
 *               y = linear_scan(q C, k B, v d u, decay exp(d A)) + D u                     H heads of P, B and C shared by the heads of a group
 *               out_proj(rms_group(y * silu(z)))
 *   logits = head . rms(x)                                                         [N,V]
 *
 * Easy to get wrong: Mamba-2 gates before its norm and norms each group apart, whatever norm_before_gate says; its in_proj begins with z, Mamba's with x; the chunk
 * size changes nothing; the state and everything that makes it (d, A, decay, B, C) are f32 in a bf16 run; files of old converters say backbone.embedding.
 */
#include "models/model.h"

#include <math.h>

#include "nn/recurrent.h"

struct layer { nc_site *norm, *in, *in_b, *conv, *conv_b, *x, *dt, *dt_b, *a_log, *d, *gate_norm, *out, *out_b; };
typedef struct mamba mamba;
struct mamba {
    int layers, width, inner, states, taps, rank, heads, head_dim, groups, vocab;
    double eps, dt_low, dt_high;
    bool bias, conv_bias, tied, two;
    nc_unary activation;
    struct layer *layer;
    nc_site *embed, *norm, *head;
};

static const char *const ignored_keys[] = { "residual_in_fp32", "rescale_prenorm_residual", "time_step_min", "time_step_max", "time_step_floor", "time_step_scale",
                                            "time_step_init_scheme", "use_mambapy", "use_associative_scan", "chunk_size", "norm_before_gate", "rms_norm", "layer_types",
                                            "fused_add_norm", "pad_vocab_size_multiple", NULL };

static void common_config(nc_model *m, mamba *c, nc_config *r, int64_t width, int64_t layers, int64_t states)
{
    c->width = (int)nc_config_int(r, "hidden_size", nc_config_int(r, "d_model", width));
    c->layers = nc_config_layers(r, "num_hidden_layers", nc_config_layers(r, "n_layer", layers));
    c->states = (int)nc_config_int(r, "state_size", states);
    c->taps = (int)nc_config_int(r, "conv_kernel", 4);
    c->eps = nc_config_float(r, "layer_norm_epsilon", 1e-5);
    c->bias = nc_config_bool(r, "use_bias", false);
    c->conv_bias = nc_config_bool(r, "use_conv_bias", true);
    c->activation = (nc_unary)nc_config_activation(r, "hidden_act", "silu");
    c->inner = (int)((int64_t)c->width * nc_config_int(r, "expand", 2) & INT32_MAX);
    if (nc_config_int(r, "intermediate_size", c->inner) != c->inner)
        nc_config_mistake(r, "\"intermediate_size\" is not expand times hidden_size, %d", c->inner);
    nc_config_ignore(r, ignored_keys);
    if (c->width < 1 || c->inner < c->width || c->states < 1 || c->taps < 1 || c->taps > 64)
        nc_config_mistake(r, "hidden_size %d, expand %d, state_size %d, conv_kernel %d", c->width, c->width > 0 ? c->inner / c->width : 0, c->states, c->taps);
    m->hidden_size = c->width;
    m->vocab_size = c->vocab;
}

static void config1(nc_model *m, void *self, nc_config *r)
{
    mamba *c = self;
    const nc_json *rank = nc_config_get(r, "time_step_rank");
    c->vocab = (int)nc_config_int(r, "vocab_size", 50280);
    c->tied = nc_config_bool(r, "tie_word_embeddings", true);
    common_config(m, c, r, 768, 32, 16);
    c->rank = !rank || nc_json_is(rank, NC_JSON_STRING) ? (c->width + 15) / 16 : (int)nc_config_int(r, "time_step_rank", 0);
    if (c->rank < 1)
        nc_config_mistake(r, "\"time_step_rank\" must be over 0");
}

static void config2(nc_model *m, void *self, nc_config *r)
{
    mamba *c = self;
    const nc_json *limit = nc_config_get(r, "time_step_limit");
    c->two = true;
    c->vocab = (int)nc_config_int(r, "vocab_size", 32768);
    c->tied = nc_config_bool(r, "tie_word_embeddings", false);
    common_config(m, c, r, 4096, 64, 128);
    nc_config_get(r, "time_step_rank");
    c->heads = (int)nc_config_int(r, "num_heads", 128);
    c->head_dim = (int)nc_config_int(r, "head_dim", 64);
    c->groups = (int)nc_config_int(r, "n_groups", 8);
    c->dt_high = INFINITY;
    if (limit && limit->count == 2) {
        c->dt_low = nc_json_double(nc_json_at(limit, 0), 0);
        c->dt_high = nc_json_double(nc_json_at(limit, 1), INFINITY);
    } else if (limit) {
        nc_config_mistake(r, "line %d: \"time_step_limit\" must be two numbers", limit->line);
    }
    if (c->heads < 1 || c->head_dim < 1 || c->groups < 1 || (int64_t)c->heads * c->head_dim != c->inner || c->heads % c->groups)
        nc_config_mistake(r, "num_heads %d times head_dim %d must be expand * hidden_size, %d, and n_groups %d divide num_heads", c->heads, c->head_dim, c->inner, c->groups);
}

static void mixer_weights(nc_model *m, const mamba *c, struct layer *l)
{
    const int D = c->width, I = c->inner, n = c->states;
    const int64_t conv = c->two ? I + 2 * (int64_t)c->groups * n : I, in = c->two ? I + conv + c->heads : 2 * (int64_t)I;
    l->in = nc_weight_linear(m, "mixer.in_proj.weight", in, D);
    l->conv = nc_weight(m, 0, NC_INIT_NORMAL, "mixer.conv1d.weight", conv, 1, c->taps, 0);
    l->out = nc_weight_linear(m, "mixer.out_proj.weight", D, I);
    if (c->bias) {
        l->in_b = nc_weight_bias(m, "mixer.in_proj.bias", in);
        l->out_b = nc_weight_bias(m, "mixer.out_proj.bias", D);
    }
    if (c->conv_bias)
        l->conv_b = nc_weight_bias(m, "mixer.conv1d.bias", conv);
    if (c->two) {
        l->dt_b = nc_weight(m, NC_SITE_KEEP_F32, NC_INIT_ZERO, "mixer.dt_bias", c->heads, 0, 0, 0);
        l->a_log = nc_weight(m, NC_SITE_KEEP_F32, NC_INIT_ZERO, "mixer.A_log", c->heads, 0, 0, 0);
        l->d = nc_weight(m, NC_SITE_KEEP_F32, NC_INIT_ONE, "mixer.D", c->heads, 0, 0, 0);
        l->gate_norm = nc_weight_norm(m, "mixer.norm.weight", I);
    } else {
        l->x = nc_weight_linear(m, "mixer.x_proj.weight", c->rank + 2 * (int64_t)n, I);
        l->dt = nc_weight_linear(m, "mixer.dt_proj.weight", I, c->rank);
        l->dt_b = nc_weight_bias(m, "mixer.dt_proj.bias", I);
        l->a_log = nc_weight(m, NC_SITE_KEEP_F32, NC_INIT_ZERO, "mixer.A_log", I, n, 0, 0);
        l->d = nc_weight(m, NC_SITE_KEEP_F32, NC_INIT_ONE, "mixer.D", I, 0, 0, 0);
    }
    l->dt_b->init_value = -4.6;                              /* softplus gives 0.01 */
}

static void weights(nc_model *m, void *self)
{
    mamba *c = self;
    c->layer = NC_NEW_ARRAY(m->arena, struct layer, c->layers);
    nc_weight_scope(m, "backbone.");
    c->embed = c->tied ? nc_weight_linear(m, "embeddings.weight", c->vocab, c->width) : nc_weight_table(m, "embeddings.weight", c->vocab, c->width);
    for (int i = 0; i < c->layers; i++) {
        nc_weight_scope(m, "backbone.layers.%d.", i);
        c->layer[i].norm = nc_weight_norm(m, "norm.weight", c->width);
        mixer_weights(m, c, &c->layer[i]);
    }
    nc_weight_scope(m, "backbone.");
    c->norm = nc_weight_norm(m, "norm_f.weight", c->width);
    nc_weight_scope(m, "%s", "");
    c->head = c->tied ? c->embed : nc_weight_linear(m, "lm_head.weight", c->vocab, c->width);
}

/* -exp(A_log) */
static nc_value *decays(nc_build *b, const struct layer *l) { return nc_affine(b->g, nc_unary_op(b->g, NC_EXP, nc_site_wide(b, l->a_log)), -1, 0); }

static nc_value *mixer1(const mamba *c, nc_build *b, const struct layer *l, nc_value *x)
{
    const int64_t I = c->inner, n = c->states;
    nc_value *xz = nc_linear(b, x, l->in, l->in_b), *z = nc_slice(b->g, xz, 1, I, I);
    nc_value *u = nc_unary_op(b->g, c->activation, nc_short_conv(b, nc_slice(b->g, xz, 1, 0, I), l->conv, l->conv_b));
    nc_value *made = nc_linear(b, nc_narrow(b, u), l->x, NULL);
    nc_value *d = nc_unary_op(b->g, NC_SOFTPLUS, nc_widen(b, nc_linear(b, nc_slice(b->g, made, 1, 0, c->rank), l->dt, l->dt_b)));
    nc_recurrent_attr a = nc_recur(b, nc_selective_scan_state(I, n));
    nc_value *y = nc_selective_scan(b->g, u, d, decays(b, l), nc_widen(b, nc_slice(b->g, made, 1, c->rank, n)), nc_widen(b, nc_slice(b->g, made, 1, c->rank + n, n)), &a);
    y = nc_add(b->g, y, nc_mul(b->g, u, nc_site_wide(b, l->d)));
    return nc_linear(b, nc_gated(b->g, c->activation, z, nc_narrow(b, y)), l->out, l->out_b);
}

static nc_value *mixer2(const mamba *c, nc_build *b, const struct layer *l, nc_value *x)
{
    const int64_t N = x->shape.dim[0], I = c->inner, n = c->states, H = c->heads, P = c->head_dim, G = c->groups;
    nc_value *all = nc_linear(b, x, l->in, l->in_b), *z = nc_slice(b->g, all, 1, 0, I);
    nc_value *xbc = nc_unary_op(b->g, c->activation, nc_short_conv(b, nc_slice(b->g, all, 1, I, I + 2 * G * n), l->conv, l->conv_b));
    nc_value *u = nc_reshape(b->g, nc_contiguous(b->g, nc_slice(b->g, xbc, 1, 0, I)), NC_SHAPE(N, H, P));
    nc_value *B = nc_reshape(b->g, nc_contiguous(b->g, nc_slice(b->g, xbc, 1, I, G * n)), NC_SHAPE(N, G, n));
    nc_value *C = nc_reshape(b->g, nc_contiguous(b->g, nc_slice(b->g, xbc, 1, I + G * n, G * n)), NC_SHAPE(N, G, n));
    nc_value *d = nc_unary_op(b->g, NC_SOFTPLUS, nc_add(b->g, nc_widen(b, nc_slice(b->g, all, 1, 2 * I + 2 * G * n, H)), nc_site_wide(b, l->dt_b)));
    if (c->dt_low > 0 || isfinite(c->dt_high))
        d = nc_clamp(b->g, d, c->dt_low, isfinite(c->dt_high) ? c->dt_high : 1e30);
    nc_recurrent_attr a = nc_recur(b, nc_linear_scan_state(H, n, P));
    nc_value *y = nc_linear_scan(b->g, C, B, nc_mul(b->g, u, nc_reshape(b->g, d, NC_SHAPE(N, H, 1))), nc_unary_op(b->g, NC_EXP, nc_mul(b->g, d, decays(b, l))), NULL, &a);
    y = nc_add(b->g, y, nc_mul(b->g, u, nc_reshape(b->g, nc_site_wide(b, l->d), NC_SHAPE(H, 1))));
    y = nc_gated(b->g, NC_SILU, nc_widen(b, z), nc_reshape(b->g, y, NC_SHAPE(N, I)));
    y = nc_reshape(b->g, nc_rms_norm(b->g, nc_reshape(b->g, y, NC_SHAPE(N, G, I / G)), NULL, c->eps, 0), NC_SHAPE(N, I));
    return nc_linear(b, nc_mul(b->g, nc_narrow(b, y), nc_site_value(b, l->gate_norm)), l->out, l->out_b);
}

static nc_value *decoder(const nc_model *m, const void *self, nc_build *b, nc_value *media)
{
    const mamba *c = self;
    nc_value *x = nc_embed(b, c->embed, nc_in(b, "text.ids", NC_I32, "tokens", 0));
    (void)m;
    if (media)
        x = nc_splice_rows(b->g, x, media, nc_in(b, "text.media", NC_I32, "tokens", 0));
    x = nc_point(b, x, "embedding.out");
    for (int i = 0; i < c->layers; i++) {
        const struct layer *l = &c->layer[i];
        nc_scope_push(b->g, "layers.%d", i);
        nc_block_begin(b->g);
        nc_value *h = nc_point(b, nc_rms(b, x, l->norm, c->eps), "attn.in");
        x = nc_add(b->g, x, nc_point(b, (c->two ? mixer2 : mixer1)(c, b, l, h), "attn.out"));
        nc_block_end(b->g);
        nc_scope_pop(b->g);
        x = nc_probe(b, nc_point(b, x, "block.out"), "hidden.%d", i);        /* the reference counts from what leaves block 0 */
    }
    return nc_probe(b, nc_rms(b, x, c->norm, c->eps), "hidden.%d", c->layers);
}

static void head(const void *self, nc_head *out)
{
    *out = (nc_head){ .w = ((const mamba *)self)->head, .scale = 1 };
}

static void cache(const void *self, nc_cache_need *out)
{
    const mamba *c = self;
    int64_t conv = nc_causal_conv_state(c->two ? c->inner + 2 * (int64_t)c->groups * c->states : c->inner, c->taps);
    int64_t scan = c->two ? nc_linear_scan_state(c->heads, c->states, c->head_dim) : nc_selective_scan_state(c->inner, c->states);
    *out = (nc_cache_need){ .state = c->layers * (conv + scan) };
}

static const char *const ignored[] = { "lm_head.weight", NULL };
static const char *const renames[] = { "backbone.embedding.", "backbone.embeddings.", NULL };

#define MAMBA .size = sizeof(mamba), .weights = weights, .ignored = ignored, .renames = renames, .decoder = decoder, .head = head, .cache = cache
const nc_family nc_family_mamba = { .name = "mamba", .architectures = "MambaForCausalLM MambaModel", .config = config1, MAMBA };
const nc_family nc_family_mamba2 = { .name = "mamba2", .architectures = "Mamba2ForCausalLM Mamba2Model", .config = config2, MAMBA };

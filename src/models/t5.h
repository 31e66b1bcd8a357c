/* t5.h - the stack of T5 (Raffel et al. 2020) and its kin: pre-norm blocks with RMS norms, no biases, and a table of relative positions.
 *
 *   x += o(attend(q h, k h, v h; bias)), h = norm x;   decoder: x += o(attend(q h, k e, v e)), e the encoder's rows;   x += wo f(norm x)
 *
 * The bias of a head is table[bucket(j - i), head]: half the buckets for single distances, the rest logarithmic up to max_distance; an encoder uses one half for each side.
 * Beyond max_distance the last bucket holds, so a table of 2 max_distance + 1 rows says all.
 */
#ifndef NC_MODELS_T5_H
#define NC_MODELS_T5_H
#include "models/model.h"

typedef struct nc_t5_names {         /* below the stack's scope, all with their dot: sublayers of a block (printed with its number) and what they hold */
    const char *block, *self, *cross, *mlp, *self_attention, *cross_attention, *q, *k, *v, *o;
} nc_t5_names;

typedef struct nc_t5_attention { nc_site *norm, *q, *k, *v, *o; } nc_t5_attention;
typedef struct nc_t5_layer { nc_t5_attention self, cross; nc_site *norm, *wi, *wi_0, *wi_1, *wo; } nc_t5_layer;
typedef struct nc_t5_stack {
    int layers, width, d_kv, heads, inner, buckets, max_distance, cross_width;
    double eps;
    nc_unary activation;
    bool gated, decoder;
    nc_t5_layer *layer;
    nc_site *relative, *final_norm;
} nc_t5_stack;

void nc_t5_check(nc_config *r, const nc_t5_stack *c);                            /* sizes that cannot be */
/* "relu", "gated-gelu" ...: T5's way to name an MLP. */
void nc_t5_mlp_config(nc_config *r, nc_t5_stack *c, const char *fallback);
void nc_t5_weights(nc_model *m, nc_t5_stack *c, const nc_t5_names *n, const char *scope);
/* Blocks over x and the final norm; spans of the rows. rows: the encoder's (decoders only, NULL with a cache). Probes prefix.0 ... prefix.layers. */
nc_value *nc_t5_blocks(const nc_t5_stack *c, nc_build *b, nc_value *x, const nc_spans *spans, nc_value *rows, const char *prefix);
void nc_t5_cross(const nc_t5_stack *c, nc_build *b, nc_value *rows);
void nc_t5_cache(const nc_t5_stack *c, nc_cache_need *out);
#endif

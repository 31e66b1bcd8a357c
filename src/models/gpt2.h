/* gpt2.h - GPT-2's stack, with cross attention where it looks at an encoder's rows. See gpt2.c. */
#ifndef NC_MODELS_GPT2_H
#define NC_MODELS_GPT2_H
#include "models/model.h"

typedef struct nc_gpt2_layer {
    nc_site *ln_1, *ln_1b, *attn, *attn_b, *proj, *proj_b, *ln_2, *ln_2b, *fc, *fc_b, *out, *out_b;
    nc_site *ln_cross, *ln_crossb, *cross_q, *cross_qb, *cross_kv, *cross_kvb, *cross_o, *cross_ob;
} nc_gpt2_layer;
typedef struct nc_gpt2 {
    int layers, width, heads, inner, vocab, positions;
    double eps;
    nc_unary activation;
    bool scale, inverse_layer, cross;        /* cross: the owner's to set before weights are listed */
    nc_gpt2_layer *layer;
    nc_site *wte, *wpe, *ln_f, *ln_fb;
} nc_gpt2;

void nc_gpt2_config(nc_model *m, nc_gpt2 *c, nc_config *r);
void nc_gpt2_weights(nc_model *m, nc_gpt2 *c);
/* media: rows that placeholders take, or NULL; rows: the encoder's (NULL with a cache). Probes prefix.0 ... prefix.layers. */
nc_value *nc_gpt2_decode(const nc_gpt2 *c, nc_build *b, nc_value *media, nc_value *rows, const char *prefix);
void nc_gpt2_keep(const nc_gpt2 *c, nc_build *b, nc_value *rows);        /* the cross attentions' keys and values into the cache */
void nc_gpt2_head(const void *self, nc_head *out);
void nc_gpt2_cache(const void *self, nc_cache_need *out);
#endif

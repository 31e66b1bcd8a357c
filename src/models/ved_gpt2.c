/* ved_gpt2.c - GPT-2 with cross attention under a tower (captioners such as ViT-GPT2). */
#include "models/gpt2.h"
#include "models/ved.h"

static void config(nc_model *m, void *self, nc_config *r, const char *type, nc_ved_facts *out)
{
    nc_gpt2 *c = self;
    (void)type;
    nc_gpt2_config(m, c, r);
    if (!nc_config_bool(r, "add_cross_attention", false))
        nc_config_mistake(r, "add_cross_attention is false: such a decoder never looks at the picture");
    c->cross = true;
    *out = (nc_ved_facts){ c->width, c->vocab, c->positions, (int)nc_config_int(r, "cross_attention_hidden_size", 0) };
}

static void weights(nc_model *m, void *self, int cross_width)
{
    (void)cross_width;                       /* the rows are as wide as the decoder, or the owner refused */
    nc_gpt2_weights(m, self);
}

static nc_value *decode(const void *self, nc_build *b, nc_value *rows) { return nc_gpt2_decode(self, b, NULL, rows, "decoder.hidden"); }
static void cross(const void *self, nc_build *b, nc_value *rows) { nc_gpt2_keep(self, b, rows); }

static const char *const types[] = { "gpt2", NULL };
const nc_ved_kind nc_ved_gpt2 = { types, sizeof(nc_gpt2), config, weights, NULL, decode, cross, nc_gpt2_head, nc_gpt2_cache };

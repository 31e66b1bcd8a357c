/* ved_bert.c - BERT's and RoBERTa's layers as a decoder under a tower (Rothe, Narayan, Severyn 2020).
 *
 *   per layer:  x = LayerNorm(x + attention x), causal;  x = LayerNorm(x + crossattention(x, rows));  x = LayerNorm(x + fc2 f(fc1 x))
 *   logits = word . norm f(dense x) + bias
 *
 * Easy to get wrong: the norms come after the sums; every token is of type 0; RoBERTa's positions begin at pad_token_id + 1 and count only tokens that are not padding.
 */
#include "models/bert.h"
#include "models/ved.h"

static void config(nc_model *m, void *self, nc_config *r, const char *type, nc_ved_facts *out)
{
    nc_bert *c = self;
    c->task = NC_BERT_CAUSAL;
    nc_bert_config(m, c, r, strcmp(type, "bert") ? &nc_bert_dialect_roberta : &nc_bert_dialect_bert);
    *out = (nc_ved_facts){ c->width, c->vocab, m->max_positions, (int)nc_config_int(r, "cross_attention_hidden_size", 0) };
}

static void weights(nc_model *m, void *self, int cross_width)
{
    (void)cross_width;
    nc_bert_weights(m, self);
}

static int prepare(const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    const nc_bert *c = self;
    int64_t tokens = nc_batch_count(batch, "tokens");
    int32_t *pos = nc_batch_find(batch, "text.pos")->data, *types = nc_batch_i32(batch, "text.types", tokens, 1), *pads = nc_batch_i32(batch, "text.pads", tokens, 1);
    (void)e;
    for (int i = 0, row = 0; i < count; i++)
        for (int j = 0, padded = 0; j < seqs[i].count; j++, row++) {
            bool is_pad = seqs[i].ids[j] == c->pad;
            padded += is_pad;
            types[row] = 0;
            pads[row] = is_pad ? 0 : -1;
            if (c->dialect->offset_positions)
                pos[row] = is_pad ? c->pad : c->pad + 1 + seqs[i].start + j - padded;
        }
    return 0;
}

static nc_attend heads_of(const nc_bert *c) { return (nc_attend){ .heads = c->heads, .kv_heads = c->heads, .head_dim = c->width / c->heads }; }

static nc_value *self_attention(const nc_bert *c, nc_build *b, const nc_bert_layer *l, nc_value *x)
{
    nc_attend a = heads_of(c);
    a.cached = true;
    a.spans = nc_in_spans(b, "text");
    x = nc_point(b, x, "attn.in");
    nc_value *q = nc_bert_apply(b, x, l->q), *k = nc_bert_apply(b, x, l->k), *v = nc_bert_apply(b, x, l->v);
    return nc_point(b, nc_bert_apply(b, nc_attend_heads(b, q, k, v, &a), l->o), "attn.out");
}

static nc_value *cross_attention(const nc_bert *c, nc_build *b, const nc_bert_layer *l, nc_value *x, nc_value *rows)
{
    nc_attend a = heads_of(c);
    nc_value *k = rows ? nc_bert_apply(b, rows, l->cross_k) : NULL, *v = rows ? nc_bert_apply(b, rows, l->cross_v) : NULL;
    return nc_bert_apply(b, nc_attend_cross(b, nc_bert_apply(b, x, l->cross_q), k, v, &a), l->cross_o);
}

static nc_value *summed(const nc_bert *c, nc_build *b, nc_value *x, nc_value *y, nc_bert_dense norm) { return nc_ln(b, nc_add(b->g, x, y), norm.w, norm.b, c->eps); }

static nc_value *decode(const void *self, nc_build *b, nc_value *rows)
{
    const nc_bert *c = self;
    nc_value *x = nc_probe(b, nc_bert_embeddings(c, b), "decoder.hidden.0");
    for (int i = 0; i < c->layers; i++) {
        const nc_bert_layer *l = &c->layer[i];
        nc_scope_push(b->g, "layer.%d", i);
        nc_block_begin(b->g);
        x = summed(c, b, x, self_attention(c, b, l, x), l->norm1);
        x = summed(c, b, x, cross_attention(c, b, l, x, rows), l->cross_norm);
        x = summed(c, b, x, nc_mlp(b, c->activation, x, l->fc1.w, l->fc1.b, l->fc2.w, l->fc2.b), l->norm2);
        nc_block_end(b->g);
        nc_scope_pop(b->g);
        x = nc_probe(b, x, "decoder.hidden.%d", i + 1);
    }
    return nc_bert_word_rows(c, b, x);
}

static void cross(const void *self, nc_build *b, nc_value *rows)
{
    const nc_bert *c = self;
    for (int i = 0; i < c->layers; i++) {
        nc_attend a = heads_of(c);
        nc_keep_cross(b, nc_bert_apply(b, rows, c->layer[i].cross_k), nc_bert_apply(b, rows, c->layer[i].cross_v), &a, i);
    }
}

static void head(const void *self, nc_head *out)
{
    const nc_bert *c = self;
    *out = (nc_head){ .w = c->word_decoder, .bias = nc_bert_word_bias(c), .scale = 1 };
}

static void cache(const void *self, nc_cache_need *out)
{
    const nc_bert *c = self;
    *out = (nc_cache_need){ .layers = c->layers, .kv_heads = c->heads, .key_dim = c->width / c->heads, .value_dim = c->width / c->heads };
}

static const char *const types[] = { "bert", "roberta", "xlm-roberta", NULL };
const nc_ved_kind nc_ved_bert = { types, sizeof(nc_bert), config, weights, prepare, decode, cross, head, cache };

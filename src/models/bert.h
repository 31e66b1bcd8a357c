/* bert.h - what BERT, RoBERTa, DistilBERT and ELECTRA share: embeddings, post-norm blocks, and heads by class.
 *
 *   x = LayerNorm(word[id] + position[p] + type[t])                      ELECTRA: embeddings_project x where the embedding is narrower
 *   per layer:  x = LayerNorm(x + o attention(q x, k x, v x));  x = LayerNorm(x + fc2 f(fc1 x))
 *   rows = x;  pooled = tanh(dense(first row)) where there is a pooler, else the first row
 */
#ifndef NC_MODELS_BERT_H
#define NC_MODELS_BERT_H
#include "models/model.h"

typedef struct nc_bert_dense { nc_site *w, *b; } nc_bert_dense;

/* How a family spells its modules and what its heads are made of; NULL: has none. */
typedef struct nc_bert_dialect {
    const char *prefix;                                  /* "bert." */
    const char *layer, *q, *k, *v, *o, *norm1, *fc1, *fc2, *norm2;
    const char *pooler;
    /* Masked words: dense, activation, norm, then the word table and a bias. */
    const char *word_dense, *word_norm, *word_decoder, *word_bias;
    /* Classifier of whole texts: [dense, activation,] out, over the pooled vector or the first row. */
    const char *text_dense, *text_out;
    nc_unary text_activation;
    bool gelu_words;                                     /* the masked words' activation is gelu whatever the config says */
    bool has_types, offset_positions;                    /* positions count the tokens that are not padding, from pad_token_id + 1 */
} nc_bert_dialect;

typedef enum nc_bert_task { NC_BERT_BARE, NC_BERT_WORDS, NC_BERT_PRETRAINING, NC_BERT_NEXT_SENTENCE, NC_BERT_TEXT, NC_BERT_TOKENS, NC_BERT_ANSWER, NC_BERT_REPLACED, NC_BERT_CAUSAL } nc_bert_task;

typedef struct nc_bert_layer { nc_bert_dense q, k, v, o, norm1, fc1, fc2, norm2, cross_q, cross_k, cross_v, cross_o, cross_norm; } nc_bert_layer;   /* cross: NC_BERT_CAUSAL's */
typedef struct nc_bert {
    const nc_bert_dialect *dialect;
    int layers, width, heads, inner, vocab, positions, types, narrow, pad;     /* narrow: width of the embeddings */
    double eps;
    nc_unary activation;
    bool tied;
    nc_bert_task task;
    nc_bert_layer *layer;
    nc_site *word, *position, *type;
    nc_bert_dense norm, project, pooler;
    nc_bert_dense word_dense, word_norm, text_dense, head, next_sentence;
    nc_site *word_decoder, *word_bias, *own_bias;
} nc_bert;

/* config(): what the class says is to be built; the keys of BERT's spelling. */
void nc_bert_config(nc_model *m, nc_bert *c, nc_config *r, const nc_bert_dialect *d);
void nc_bert_task_config(nc_model *m, nc_bert *c, nc_config *r);
void nc_bert_weights(nc_model *m, void *self);
int nc_bert_prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e);
void nc_bert_encode(const nc_model *m, const void *self, nc_build *b, nc_modality what, nc_encoded *out);
nc_value *nc_bert_outputs(const nc_model *m, const void *self, nc_build *b);
void nc_bert_capacity(const void *self, nc_build *b, int64_t texts);

/* What a decoder (NC_BERT_CAUSAL, set before nc_bert_config) shares: embedded tokens of the tables text.ids, text.types, text.pos and text.pads. */
extern const nc_bert_dialect nc_bert_dialect_bert, nc_bert_dialect_roberta;
nc_value *nc_bert_embeddings(const nc_bert *c, nc_build *b);
nc_value *nc_bert_word_rows(const nc_bert *c, nc_build *b, nc_value *x);         /* what the word head reads */
nc_site *nc_bert_word_bias(const nc_bert *c);

/* Heads, bert_heads.c. */
void nc_bert_head_weights(nc_model *m, nc_bert *c);
nc_value *nc_bert_heads(const nc_model *m, const nc_bert *c, nc_build *b, nc_encoded *x, bool loss);     /* adds logits; the loss when it is asked for */
nc_bert_dense nc_bert_linear(nc_model *m, const char *module, int64_t out, int64_t in);
nc_bert_dense nc_bert_norm(nc_model *m, const char *module, int64_t width);
static inline nc_value *nc_bert_apply(nc_build *b, nc_value *x, nc_bert_dense d) { return nc_linear(b, x, d.w, d.b); }

#define NC_BERT_KIN .size = sizeof(nc_bert), .weights = nc_bert_weights, .prepare = nc_bert_prepare, .encode = nc_bert_encode, .outputs = nc_bert_outputs, \
                    .capacity = nc_bert_capacity, .reads_text = true
#endif

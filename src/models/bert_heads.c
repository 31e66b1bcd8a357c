/* bert_heads.c - the heads of BERT's lineage and their losses, by class.
 *
 *   masked words        h = norm f(dense x);  logits = h word^T + bias;  mean cross entropy over the rows with a target
 *   next sentence       logits = seq_relationship(pooled), labels 0 (follows) and 1;  BertForPreTraining's loss is the sum of both means
 *   replaced (ELECTRA)  z = dense_prediction f(dense x) per row;  mean of softplus(z) - y z over the rows with a target (0 or 1)
 *   texts, tokens       logits of labels from the first row or the pooled vector, or from every row;  answers: start and end for every row
 */
#include "models/bert.h"

/* An untied decoder has a bias of its own where the file has one (transformers 5 keeps both), else that of the tied head. */
static void word_weights(nc_model *m, nc_bert *c)
{
    const nc_bert_dialect *d = c->dialect;
    c->word_dense = nc_bert_linear(m, d->word_dense, c->narrow, c->width);
    c->word_norm = nc_bert_norm(m, d->word_norm, c->narrow);
    const char *own = nc_arena_printf(m->arena, "%s.bias", d->word_decoder);
    c->word_decoder = c->tied ? c->word : nc_weight_linear(m, nc_arena_printf(m->arena, "%s.weight", d->word_decoder), c->vocab, c->narrow);
    c->word_bias = nc_weight_bias(m, d->word_bias, c->vocab);
    if (!c->tied && strcmp(own, d->word_bias)) {
        c->own_bias = nc_weight_bias(m, own, c->vocab);
        c->own_bias->flags |= NC_SITE_OPTIONAL;
        c->word_bias->flags |= NC_SITE_OPTIONAL;
    }
}

nc_site *nc_bert_word_bias(const nc_bert *c) { return nc_site_is_there(c->own_bias) ? c->own_bias : c->word_bias; }
static nc_value *word_bias(const nc_bert *c, nc_build *b) { return nc_site_value(b, nc_bert_word_bias(c)); }

void nc_bert_head_weights(nc_model *m, nc_bert *c)
{
    const nc_bert_dialect *d = c->dialect;
    const int D = c->width, L = m->labels.count;
    if (c->task == NC_BERT_WORDS || c->task == NC_BERT_PRETRAINING || c->task == NC_BERT_CAUSAL)
        word_weights(m, c);
    if (c->task == NC_BERT_PRETRAINING || c->task == NC_BERT_NEXT_SENTENCE)
        c->next_sentence = nc_bert_linear(m, "cls.seq_relationship", 2, D);
    if (c->task == NC_BERT_REPLACED) {
        c->word_dense = nc_bert_linear(m, "discriminator_predictions.dense", D, D);
        c->head = nc_bert_linear(m, "discriminator_predictions.dense_prediction", 1, D);
    }
    if (c->task == NC_BERT_TEXT && d->text_dense)
        c->text_dense = nc_bert_linear(m, d->text_dense, D, D);
    if (c->task == NC_BERT_TEXT)
        c->head = nc_bert_linear(m, d->text_out, L, D);
    if (c->task == NC_BERT_TOKENS)
        c->head = nc_bert_linear(m, "classifier", L, D);
    if (c->task == NC_BERT_ANSWER)
        c->head = nc_bert_linear(m, "qa_outputs", 2, D);
}

static nc_value *scored(nc_build *b, nc_value *x) { return nc_gather_rows(b->g, x, nc_in(b, "score.rows", NC_I32, "scored", 0)); }

nc_value *nc_bert_word_rows(const nc_bert *c, nc_build *b, nc_value *x)
{
    x = nc_unary_op(b->g, c->dialect->gelu_words ? NC_GELU : c->activation, nc_bert_apply(b, x, c->word_dense));
    return nc_ln(b, x, c->word_norm.w, c->word_norm.b, c->eps);
}

static nc_value *word_loss(const nc_bert *c, nc_build *b, nc_value *rows)
{
    nc_value *logp = nc_head_logprob(b->g, nc_bert_word_rows(c, b, scored(b, rows)), nc_site_value(b, c->word_decoder), word_bias(c, b),
                                     nc_in(b, "score.targets", NC_I32, "scored", 0), 1, 0);
    return nc_nll(b->g, logp, nc_in(b, "score.weights", NC_F32, "scored", 0));
}

static nc_value *replaced(const nc_bert *c, nc_build *b, nc_value *rows)
{
    return nc_bert_apply(b, nc_unary_op(b->g, c->activation, nc_bert_apply(b, rows, c->word_dense)), c->head);
}

static nc_value *replaced_loss(nc_build *b, nc_value *logits)
{
    nc_dtype wide = nc_graph_compute(b->g) == NC_F64 ? NC_F64 : NC_F32;
    nc_value *z = nc_cast(b->g, scored(b, logits), wide), *y = nc_cast(b->g, nc_in(b, "score.targets", NC_I32, "scored", 1), wide);
    nc_value *each = nc_sub(b->g, nc_unary_op(b->g, NC_SOFTPLUS, z), nc_mul(b->g, z, y));
    return nc_sum_all(b->g, nc_mul(b->g, each, nc_in(b, "score.weights", NC_F32, "scored", 1)));
}

static nc_value *token_loss(nc_build *b, nc_value *logits)
{
    nc_dtype wide = nc_graph_compute(b->g) == NC_F64 ? NC_F64 : NC_F32;
    return nc_class_loss(b, nc_cast(b->g, scored(b, logits), wide), nc_in(b, "score.targets", NC_I32, "scored", 1), nc_in(b, "score.weights", NC_F32, "scored", 0));
}

static nc_value *next_sentence(const nc_model *m, const nc_bert *c, nc_build *b, nc_encoded *x, bool loss)
{
    nc_value *logits = nc_probe(b, nc_bert_apply(b, x->pooled, c->next_sentence), "out.seq_relationship");
    (void)m;
    x->logits = logits;
    return loss ? nc_labels_loss(b, &(nc_labels){ 2, NC_SINGLE_LABEL }, logits, "sequences") : NULL;
}

static void text_logits(const nc_bert *c, nc_build *b, nc_encoded *x)
{
    nc_value *v = c->dialect->text_dense ? nc_gather_rows(b->g, x->rows, nc_in(b, "first.rows", NC_I32, "sequences", 0)) : x->pooled;
    if (c->text_dense.w)
        v = nc_unary_op(b->g, c->dialect->text_activation, nc_bert_apply(b, v, c->text_dense));
    x->logits = nc_probe(b, nc_bert_apply(b, v, c->head), "out.logits");
}

static nc_value *words(const nc_bert *c, nc_build *b, const nc_encoded *x, bool loss)
{
    if (b->probes)
        nc_probe(b, nc_linear_op(b->g, nc_bert_word_rows(c, b, x->rows), nc_site_value(b, c->word_decoder), word_bias(c, b), NC_DTYPES), "out.logits");
    return loss ? word_loss(c, b, x->rows) : NULL;
}

nc_value *nc_bert_heads(const nc_model *m, const nc_bert *c, nc_build *b, nc_encoded *x, bool loss)
{
    nc_value *first, *second;
    switch (c->task) {
    case NC_BERT_BARE:
    case NC_BERT_CAUSAL:
        return NULL;
    case NC_BERT_WORDS:
        return words(c, b, x, loss);
    case NC_BERT_NEXT_SENTENCE:
        return next_sentence(m, c, b, x, loss);
    case NC_BERT_PRETRAINING:
        first = words(c, b, x, loss);
        second = next_sentence(m, c, b, x, loss);
        x->logits = NULL;                                /* of the text as a whole there are no labels */
        return loss ? nc_add(b->g, first, second) : NULL;
    case NC_BERT_TEXT:
        text_logits(c, b, x);
        return loss ? nc_labels_loss(b, &m->labels, x->logits, "sequences") : NULL;
    case NC_BERT_TOKENS:
        first = nc_probe(b, nc_bert_apply(b, x->rows, c->head), "out.logits");
        return loss ? token_loss(b, first) : NULL;
    case NC_BERT_ANSWER:
        nc_probe(b, nc_bert_apply(b, x->rows, c->head), "out.logits");
        return NULL;
    case NC_BERT_REPLACED:
        first = nc_probe(b, replaced(c, b, x->rows), "out.logits");
        return loss ? replaced_loss(b, first) : NULL;
    }
    return NULL;
}

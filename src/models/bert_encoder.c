/* bert_encoder.c - see bert.h.
 *
 * Easy to get wrong: norms come after the sum; hidden_act "gelu" is the exact one; the padding row of the word table (and RoBERTa's of the position table) gets no gradient
 * from the input side, though a tied head still reaches it.
 */
#include "models/bert.h"

void nc_bert_config(nc_model *m, nc_bert *c, nc_config *r, const nc_bert_dialect *d)
{
    static const char *const ignored[] = { "hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout", "gradient_checkpointing", "output_past", "directionality",
        "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers", "pooler_size_per_head", "pooler_type", NULL };
    const char *scheme = nc_config_string(r, "position_embedding_type", "absolute");
    c->dialect = d;
    c->layers = nc_config_layers(r, "num_hidden_layers", 12);
    c->width = (int)nc_config_int(r, "hidden_size", 768);
    c->heads = (int)nc_config_int(r, "num_attention_heads", 12);
    c->inner = (int)nc_config_int(r, "intermediate_size", 3072);
    c->vocab = (int)nc_config_int(r, "vocab_size", 30522);
    c->positions = (int)nc_config_int(r, "max_position_embeddings", 512);
    c->types = d->has_types ? (int)nc_config_int(r, "type_vocab_size", 2) : 0;
    c->eps = nc_config_float(r, "layer_norm_eps", 1e-12);
    c->activation = (nc_unary)nc_config_activation(r, "hidden_act", "gelu");
    c->narrow = c->width;
    nc_config_ignore(r, ignored);
    if (strcmp(scheme, "absolute"))
        nc_config_mistake(r, "position_embedding_type \"%s\" is not known here (absolute is)", scheme);
    nc_bert_task_config(m, c, r);
}

void nc_bert_task_config(nc_model *m, nc_bert *c, nc_config *r)
{
    static const struct { const char *end; nc_bert_task task; } tasks[] = {
        { "ForPreTraining", NC_BERT_PRETRAINING }, { "ForMaskedLM", NC_BERT_WORDS }, { "ForNextSentencePrediction", NC_BERT_NEXT_SENTENCE },
        { "ForSequenceClassification", NC_BERT_TEXT }, { "ForTokenClassification", NC_BERT_TOKENS }, { "ForQuestionAnswering", NC_BERT_ANSWER },
    };
    const char *class = c->task == NC_BERT_CAUSAL ? "" : nc_config_class(m, r);
    for (int i = 0; i < NC_COUNT(tasks); i++)
        if (nc_ends_with(class, tasks[i].end))
            c->task = tasks[i].task;
    c->tied = nc_config_bool(r, "tie_word_embeddings", true);
    c->pad = (int)nc_config_int_any(r, "pad_token_id", c->dialect->offset_positions ? 1 : 0);
    if (c->task == NC_BERT_TEXT || c->task == NC_BERT_TOKENS)
        nc_config_labels(m, r);
    nc_config_expect_bool(r, "is_decoder", c->task == NC_BERT_CAUSAL);
    nc_config_expect_bool(r, "add_cross_attention", c->task == NC_BERT_CAUSAL);
    m->hidden_size = c->width;
    m->vocab_size = c->vocab;
    m->text_types = c->dialect->offset_positions ? 1 : c->types;         /* RoBERTa's have one type, whatever the table holds */
    m->max_positions = c->dialect->offset_positions ? c->positions - c->pad - 1 : c->positions;
    if (c->heads <= 0 || c->width <= 0 || c->width % c->heads)
        nc_config_mistake(r, "hidden size %d is no multiple of %d heads", c->width, c->heads);
    if (c->dialect->offset_positions && (c->pad < 0 || m->max_positions < 1))
        nc_config_mistake(r, "max_position_embeddings %d leave no room behind pad_token_id %d", c->positions, c->pad);
}

nc_bert_dense nc_bert_linear(nc_model *m, const char *module, int64_t out, int64_t in)
{
    nc_site *w = nc_weight_linear(m, nc_arena_printf(m->arena, "%s.weight", module), out, in);
    return (nc_bert_dense){ w, nc_weight_bias(m, nc_arena_printf(m->arena, "%s.bias", module), out) };
}

nc_bert_dense nc_bert_norm(nc_model *m, const char *module, int64_t width)
{
    nc_site *w = nc_weight_norm(m, nc_arena_printf(m->arena, "%s.weight", module), width);
    return (nc_bert_dense){ w, nc_weight_bias(m, nc_arena_printf(m->arena, "%s.bias", module), width) };
}

static void embedding_weights(nc_model *m, nc_bert *c, const char *prefix)
{
    const int E = c->narrow;
    nc_weight_scope(m, "%sembeddings.", prefix);
    c->word = nc_weight_table(m, "word_embeddings.weight", c->vocab, E);
    c->position = nc_weight_table(m, "position_embeddings.weight", c->positions, E);
    if (c->types)
        c->type = nc_weight_table(m, "token_type_embeddings.weight", c->types, E);
    c->norm = nc_bert_norm(m, "LayerNorm", E);
    nc_weight_scope(m, "%s", prefix);
    if (E != c->width)
        c->project = nc_bert_linear(m, "embeddings_project", c->width, E);
}

static void cross_weights(nc_model *m, int D, nc_bert_layer *l)
{
    l->cross_q = nc_bert_linear(m, "crossattention.self.query", D, D);
    l->cross_k = nc_bert_linear(m, "crossattention.self.key", D, D);
    l->cross_v = nc_bert_linear(m, "crossattention.self.value", D, D);
    l->cross_o = nc_bert_linear(m, "crossattention.output.dense", D, D);
    l->cross_norm = nc_bert_norm(m, "crossattention.output.LayerNorm", D);
}

void nc_bert_weights(nc_model *m, void *self)
{
    nc_bert *c = self;
    const nc_bert_dialect *d = c->dialect;
    const char *prefix = c->task == NC_BERT_BARE ? "" : d->prefix;
    const int D = c->width;
    embedding_weights(m, c, prefix);
    c->layer = NC_NEW_ARRAY(m->arena, nc_bert_layer, c->layers + 1);
    for (int i = 0; i < c->layers; i++) {
        nc_bert_layer *l = &c->layer[i];
        nc_weight_scope(m, "%s%s%d.", prefix, d->layer, i);
        l->q = nc_bert_linear(m, d->q, D, D);
        l->k = nc_bert_linear(m, d->k, D, D);
        l->v = nc_bert_linear(m, d->v, D, D);
        l->o = nc_bert_linear(m, d->o, D, D);
        l->norm1 = nc_bert_norm(m, d->norm1, D);
        if (c->task == NC_BERT_CAUSAL)
            cross_weights(m, D, l);
        l->fc1 = nc_bert_linear(m, d->fc1, c->inner, D);
        l->fc2 = nc_bert_linear(m, d->fc2, D, c->inner);
        l->norm2 = nc_bert_norm(m, d->norm2, D);
    }
    nc_weight_scope(m, "%s", prefix);
    if (d->pooler && c->task != NC_BERT_CAUSAL) {
        bool needed = c->task == NC_BERT_PRETRAINING || c->task == NC_BERT_NEXT_SENTENCE || (c->task == NC_BERT_TEXT && !d->text_dense);
        c->pooler = nc_bert_linear(m, d->pooler, D, D);
        if (!needed) {                               /* classes without a use for it write none */
            c->pooler.w->flags |= NC_SITE_OPTIONAL;
            c->pooler.b->flags |= NC_SITE_OPTIONAL;
        }
    }
    nc_weight_scope(m, "%s", "");
    nc_bert_head_weights(m, c);
}

/* ---- forward ---- */

/* A row of a table that is padding: looked up, but not learned from the input side. */
static nc_value *embed(const nc_bert *c, nc_build *b, nc_site *table, const char *index, const char *pads)
{
    nc_value *x = nc_embed(b, table, nc_in(b, index, NC_I32, "tokens", 0));
    if (!b->training || !pads || c->pad < 0 || c->pad >= table->shape.dim[0])
        return x;
    nc_value *row = nc_stop_gradient(b->g, nc_slice(b->g, nc_site_value(b, table), 0, c->pad, 1));
    return nc_splice_rows(b->g, x, nc_cast(b->g, row, x->dtype), nc_in(b, pads, NC_I32, "tokens", 0));
}

nc_value *nc_bert_embeddings(const nc_bert *c, nc_build *b)
{
    nc_value *x = embed(c, b, c->word, "text.ids", "text.pads");
    if (c->type)
        x = nc_add(b->g, x, embed(c, b, c->type, "text.types", NULL));
    x = nc_add(b->g, x, embed(c, b, c->position, "text.pos", c->dialect->offset_positions ? "text.pads" : NULL));
    x = nc_ln(b, x, c->norm.w, c->norm.b, c->eps);
    return c->project.w ? nc_bert_apply(b, x, c->project) : x;
}

static nc_value *attention(const nc_bert *c, nc_build *b, const nc_bert_layer *l, nc_value *x)
{
    x = nc_point(b, x, "attn.in");
    nc_value *q = nc_bert_apply(b, x, l->q), *k = nc_bert_apply(b, x, l->k), *v = nc_bert_apply(b, x, l->v);
    nc_value *y = nc_attend_heads(b, q, k, v, &(nc_attend){ .heads = c->heads, .kv_heads = c->heads, .head_dim = c->width / c->heads, .spans = nc_in_spans(b, "text") });
    return nc_point(b, nc_bert_apply(b, y, l->o), "attn.out");
}

static void rows(const nc_bert *c, nc_build *b, nc_encoded *out)
{
    nc_value *x = nc_probe(b, nc_bert_embeddings(c, b), "hidden.0");
    for (int i = 0; i < c->layers; i++) {
        const nc_bert_layer *l = &c->layer[i];
        nc_scope_push(b->g, "layer.%d", i);
        nc_block_begin(b->g);
        x = nc_ln(b, nc_add(b->g, x, attention(c, b, l, x)), l->norm1.w, l->norm1.b, c->eps);
        x = nc_ln(b, nc_add(b->g, x, nc_mlp(b, c->activation, x, l->fc1.w, l->fc1.b, l->fc2.w, l->fc2.b)), l->norm2.w, l->norm2.b, c->eps);
        nc_block_end(b->g);
        nc_scope_pop(b->g);
        nc_probe(b, x, "hidden.%d", i + 1);
    }
    out->rows = nc_probe(b, x, "out.last_hidden_state");
    out->pooled = nc_gather_rows(b->g, x, nc_in(b, "first.rows", NC_I32, "sequences", 0));
    if (nc_site_is_there(c->pooler.w))
        out->pooled = nc_probe(b, nc_unary_op(b->g, NC_TANH, nc_bert_apply(b, out->pooled, c->pooler)), "out.pooled");
}

void nc_bert_encode(const nc_model *m, const void *self, nc_build *b, nc_modality what, nc_encoded *out)
{
    (void)what;
    rows(self, b, out);
    nc_bert_heads(m, self, b, out, false);
}

nc_value *nc_bert_outputs(const nc_model *m, const void *self, nc_build *b)
{
    nc_encoded x = { 0 };
    rows(self, b, &x);
    return nc_bert_heads(m, self, b, &x, true);
}

/* ---- host tables ---- */

int nc_bert_prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    const nc_bert *c = self;
    NC_TRY(nc_prepare_text(batch, seqs, count, e));
    int64_t tokens = nc_batch_count(batch, "tokens");
    int32_t *pos = nc_batch_find(batch, "text.pos")->data, *ids = nc_batch_find(batch, "text.ids")->data;
    int32_t *types = nc_batch_i32(batch, "text.types", tokens, 1), *pads = nc_batch_i32(batch, "text.pads", tokens, 1), *first = nc_batch_i32(batch, "first.rows", count, 1);
    nc_spans spans = nc_batch_spans(batch, "text");
    nc_batch_set_count(batch, "sequences", count);
    for (int i = 0, row = 0; i < count; i++) {
        const nc_seq *s = &seqs[i];
        int32_t seen = 0;
        if (s->start || s->count < 1)
            return nc_fail(e, NC_EINVAL, "an encoder takes whole texts of at least one token; text %d has %d from index %d", i, s->count, s->start);
        if (s->count > m->max_positions)
            return nc_fail(e, NC_ELIMIT, "text %d has %d tokens, the model has positions for %d", i, s->count, m->max_positions);
        spans.span[i].sight = NC_SIGHT_FULL;
        first[i] = row;
        for (int j = 0; j < s->count; j++, row++) {
            bool is_pad = ids[row] == c->pad;
            types[row] = s->types ? s->types[j] : 0;
            pads[row] = is_pad ? 0 : -1;
            if (c->dialect->offset_positions)
                pos[row] = is_pad ? c->pad : c->pad + ++seen;
            if (types[row] < 0 || (c->types && types[row] >= c->types) || ids[row] >= c->vocab)
                return nc_fail(e, NC_EINVAL, "text %d, token %d: id %d of type %d; the model has %d and %d", i, j, ids[row], types[row], c->vocab, c->types);
        }
    }
    return 0;
}

void nc_bert_capacity(const void *self, nc_build *b, int64_t texts)
{
    (void)self;
    nc_build_capacity(b, "sequences", texts);
}

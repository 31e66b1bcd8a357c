/* bert.c - BERT (Devlin et al. 2019), RoBERTa (Liu et al. 2019) and XLM-RoBERTa, DistilBERT (Sanh et al. 2019), ELECTRA (Clark et al. 2020): the spelling and the heads of each.
 *
 * Easy to get wrong: RoBERTa's positions begin at pad_token_id + 1 and count only tokens that are not padding; DistilBERT has no types and no pooler; ELECTRA's classifier is
 * gelu, RoBERTa's tanh, DistilBERT's relu; files of the first BERT name norms LayerNorm.gamma and .beta.
 */
#include "models/bert.h"

#define BERT_LAYERS .layer = "encoder.layer.", .q = "attention.self.query", .k = "attention.self.key", .v = "attention.self.value", .o = "attention.output.dense", \
                    .norm1 = "attention.output.LayerNorm", .fc1 = "intermediate.dense", .fc2 = "output.dense", .norm2 = "output.LayerNorm"

const nc_bert_dialect nc_bert_dialect_bert = {
    .prefix = "bert.", BERT_LAYERS, .pooler = "pooler.dense", .word_dense = "cls.predictions.transform.dense", .word_norm = "cls.predictions.transform.LayerNorm",
    .word_decoder = "cls.predictions.decoder", .word_bias = "cls.predictions.bias", .text_out = "classifier", .has_types = true,
};
#define ROBERTA_HEADS .pooler = "pooler.dense", .word_dense = "lm_head.dense", .word_norm = "lm_head.layer_norm", .word_decoder = "lm_head.decoder", .word_bias = "lm_head.bias", \
                      .text_dense = "classifier.dense", .text_out = "classifier.out_proj", .text_activation = NC_TANH, .gelu_words = true, .has_types = true, \
                      .offset_positions = true
const nc_bert_dialect nc_bert_dialect_roberta = { .prefix = "roberta.", BERT_LAYERS, ROBERTA_HEADS };
static const nc_bert_dialect electra = {
    .prefix = "electra.", BERT_LAYERS, .word_dense = "generator_predictions.dense", .word_norm = "generator_predictions.LayerNorm", .word_decoder = "generator_lm_head",
    .word_bias = "generator_lm_head.bias", .text_dense = "classifier.dense", .text_out = "classifier.out_proj", .text_activation = NC_GELU, .gelu_words = true,
    .has_types = true,
};
static const nc_bert_dialect distilbert = {
    .prefix = "distilbert.", .layer = "transformer.layer.", .q = "attention.q_lin", .k = "attention.k_lin", .v = "attention.v_lin", .o = "attention.out_lin",
    .norm1 = "sa_layer_norm", .fc1 = "ffn.lin1", .fc2 = "ffn.lin2", .norm2 = "output_layer_norm", .word_dense = "vocab_transform", .word_norm = "vocab_layer_norm",
    .word_decoder = "vocab_projector", .word_bias = "vocab_projector.bias", .text_dense = "pre_classifier", .text_out = "classifier", .text_activation = NC_RELU,
};

static void bert_config(nc_model *m, void *self, nc_config *r) { nc_bert_config(m, self, r, &nc_bert_dialect_bert); }
static void roberta_config(nc_model *m, void *self, nc_config *r) { nc_bert_config(m, self, r, &nc_bert_dialect_roberta); }

static void electra_config(nc_model *m, void *self, nc_config *r)
{
    static const char *const ignored[] = { "summary_type", "summary_use_proj", "summary_activation", "summary_last_dropout", "generator_size", "generator_hidden_size", NULL };
    nc_bert *c = self;
    nc_bert_config(m, c, r, &electra);
    c->narrow = (int)nc_config_int(r, "embedding_size", 128);
    if (c->task == NC_BERT_PRETRAINING)
        c->task = NC_BERT_REPLACED;
    nc_config_ignore(r, ignored);
}

static void distilbert_config(nc_model *m, void *self, nc_config *r)
{
    static const char *const ignored[] = { "dropout", "attention_dropout", "qa_dropout", "seq_classif_dropout", "sinusoidal_pos_embds", "tie_weights_", NULL };
    nc_bert *c = self;
    c->dialect = &distilbert;
    c->layers = nc_config_layers(r, "n_layers", 6);
    c->width = c->narrow = (int)nc_config_int(r, "dim", 768);
    c->heads = (int)nc_config_int(r, "n_heads", 12);
    c->inner = (int)nc_config_int(r, "hidden_dim", 3072);
    c->vocab = (int)nc_config_int(r, "vocab_size", 30522);
    c->positions = (int)nc_config_int(r, "max_position_embeddings", 512);
    c->eps = 1e-12;
    c->activation = (nc_unary)nc_config_activation(r, "activation", "gelu");
    nc_config_ignore(r, ignored);
    nc_bert_task_config(m, c, r);
}

/* Tied decoders and index tables that files of some years repeat. */
static const char *const ignored[] = { "*position_ids", "*token_type_ids", "cls.predictions.decoder.*", "lm_head.decoder.*", "generator_lm_head.weight",
                                       "vocab_projector.weight", NULL };
#define RENAMES(prefix) { "", prefix, prefix, "", "*LayerNorm.gamma", "*LayerNorm.weight", "*LayerNorm.beta", "*LayerNorm.bias", NULL }
static const char *const bert_renames[] = RENAMES("bert."), *const roberta_renames[] = RENAMES("roberta."), *const electra_renames[] = RENAMES("electra."),
                  *const distilbert_renames[] = RENAMES("distilbert.");

const nc_family nc_family_bert = {
    .name = "bert", .config = bert_config, .ignored = ignored, .renames = bert_renames, NC_BERT_KIN,
    .architectures = "BertForMaskedLM BertForPreTraining BertForSequenceClassification BertForTokenClassification BertForQuestionAnswering BertForNextSentencePrediction BertModel",
};
const nc_family nc_family_roberta = {
    .name = "roberta", .config = roberta_config, .ignored = ignored, .renames = roberta_renames, NC_BERT_KIN,
    .architectures = "RobertaForMaskedLM RobertaForSequenceClassification RobertaForTokenClassification RobertaForQuestionAnswering RobertaModel",
};
const nc_family nc_family_xlm_roberta = {
    .name = "xlm-roberta", .config = roberta_config, .ignored = ignored, .renames = roberta_renames, NC_BERT_KIN,
    .architectures = "XLMRobertaForMaskedLM XLMRobertaForSequenceClassification XLMRobertaForTokenClassification XLMRobertaForQuestionAnswering XLMRobertaModel",
};
const nc_family nc_family_electra = {
    .name = "electra", .config = electra_config, .ignored = ignored, .renames = electra_renames, NC_BERT_KIN,
    .architectures = "ElectraForPreTraining ElectraForMaskedLM ElectraForSequenceClassification ElectraForTokenClassification ElectraForQuestionAnswering ElectraModel",
};
const nc_family nc_family_distilbert = {
    .name = "distilbert", .config = distilbert_config, .ignored = ignored, .renames = distilbert_renames, NC_BERT_KIN,
    .architectures = "DistilBertForMaskedLM DistilBertForSequenceClassification DistilBertForTokenClassification DistilBertForQuestionAnswering DistilBertModel",
};

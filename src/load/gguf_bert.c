/* gguf_bert.c - BERT, RoBERTa and XLM-RoBERTa, DistilBERT: llama.cpp keeps the encoder and a classifier of texts; pooler and other heads go beside it. RoBERTa's table of positions begins where its
 * positions do, behind the padding's. */
#include <stdlib.h>
#include <string.h>

#include "load/gguf_arch.h"

#define BLOCK(site, file) { "encoder.layer.#." site, "blk.#." file, NULL }
#define DISTIL(site, file) { "transformer.layer.#." site, "blk.#." file, NULL }

static bool is_roberta(const nc_json *config) { return strstr(nc_json_string(nc_json_get(config, "model_type"), ""), "roberta") != NULL; }

static nc_gguf_part some_rows(const char *name, int64_t first, int64_t rows, int64_t columns)
{
    nc_gguf_part p = { .shape = NC_SHAPE(rows, columns), .offset = first * columns, .dim = { 1, 1, 1, rows * columns }, .stride = { 0, 0, 0, 1 } };
    strcpy(p.name, name);
    return p;
}

static void positions(const nc_gguf_ask *ask, nc_gguf_home *out)
{
    const nc_shape *s = &ask->site->shape;
    const int64_t left_out = is_roberta(ask->config) ? nc_gguf_config_int(ask->config, "pad_token_id", 1) + 1 : 0;
    if (left_out <= 0 || left_out >= s->dim[0])
        return;
    out->count = 2;
    out->part[0] = some_rows("position_embd.weight", left_out, s->dim[0] - left_out, s->dim[1]);
    out->part[1] = some_rows("position_embd.padding", 0, left_out, s->dim[1]);
    out->part[1].beside = true;
}

static const nc_json *labels_of(const nc_json *config)
{
    const nc_json *labels = nc_json_get(config, "id2label"), *class = nc_json_at(nc_json_get(config, "architectures"), 0);
    const bool sorts = nc_ends_with(nc_json_string(class, ""), "ForSequenceClassification");
    return sorts && nc_json_is(labels, NC_JSON_OBJECT) && labels->count ? labels : NULL;
}

/* llama.cpp ranks by a classifier of texts whose labels it is told. */
static void classifier(const nc_gguf_ask *ask, nc_gguf_home *out)
{
    if (!labels_of(ask->config)) {
        out->file = NC_GGUF_EXTRA;
        strcpy(out->part[0].name, ask->site->name);
    }
}

static const nc_gguf_rule rules[] = {
    { "classifier.dense.", "cls.", classifier }, { "classifier.out_proj.", "cls.output.", classifier }, { "classifier.", "cls.output.", classifier },
    { "pre_classifier.", "cls.", classifier },
    { "embeddings.word_embeddings.", "token_embd.", NULL }, { "embeddings.position_embeddings.", "position_embd.", positions },
    { "embeddings.token_type_embeddings.", "token_types.", NULL }, { "embeddings.LayerNorm.", "token_embd_norm.", NULL },
    BLOCK("attention.self.query.", "attn_q."), BLOCK("attention.self.key.", "attn_k."), BLOCK("attention.self.value.", "attn_v."), BLOCK("attention.output.dense.", "attn_output."),
    BLOCK("attention.output.LayerNorm.", "attn_output_norm."), BLOCK("intermediate.dense.", "ffn_up."), BLOCK("output.dense.", "ffn_down."), BLOCK("output.LayerNorm.", "layer_output_norm."),
    DISTIL("attention.q_lin.", "attn_q."), DISTIL("attention.k_lin.", "attn_k."), DISTIL("attention.v_lin.", "attn_v."), DISTIL("attention.out_lin.", "attn_output."),
    DISTIL("sa_layer_norm.", "attn_output_norm."), DISTIL("ffn.lin1.", "ffn_up."), DISTIL("ffn.lin2.", "ffn_down."), DISTIL("output_layer_norm.", "layer_output_norm."),
    { NULL, NULL, NULL },
};

static const nc_gguf_word words[] = {
    { "block_count", NC_GGUF_U32, "num_hidden_layers|n_layers", "12" }, { "embedding_length", NC_GGUF_U32, "hidden_size|dim", "768" },
    { "feed_forward_length", NC_GGUF_U32, "intermediate_size|hidden_dim", "3072" }, { "attention.head_count", NC_GGUF_U32, "num_attention_heads|n_heads", "12" },
    { "attention.layer_norm_epsilon", NC_GGUF_F32, "layer_norm_eps", "1e-12" }, { "attention.causal", NC_GGUF_BOOL, "", "0" }, { NULL, 0, NULL, NULL },
};

static void more(const nc_gguf_words *w)
{
    const char *type = nc_json_string(nc_json_get(w->config, "model_type"), "");
    const int64_t left_out = is_roberta(w->config) ? nc_gguf_config_int(w->config, "pad_token_id", 1) + 1 : 0;
    nc_gguf_word_int(w, "context_length", nc_gguf_config_int(w->config, "max_position_embeddings", 512) - left_out);
    const nc_json *labels = labels_of(w->config);
    if (labels) {
        nc_str *words_of = nc_xmalloc(sizeof *words_of * (size_t)labels->count);
        int n = 0;
        NC_JSON_EACH(v, labels)
            words_of[n++] = nc_json_is(v, NC_JSON_STRING) ? v->text : NC_STR("");
        nc_gguf_set_strings(w->meta, "bert.classifier.output_labels", words_of, n);
        free(words_of);
    }
    nc_gguf_set_int(w->meta, "tokenizer.ggml.token_type_count", NC_GGUF_U32, !strcmp(type, "distilbert") ? 1 : nc_gguf_config_int(w->config, "type_vocab_size", 2));
}

/* Which of them by the vocabulary: WordPiece is BERT's (or DistilBERT's, a BERT without types), byte-level BPE RoBERTa's, Unigram XLM-RoBERTa's. */
static void back(const nc_gguf_back *b)
{
    const char *kind = nc_gguf_string(b->g, "tokenizer.ggml.model", "bert");
    const nc_stored *types = nc_gguf_find(b->g, "token_types.weight");
    const bool bpe = !strcmp(kind, "gpt2"), unigram = !strcmp(kind, "t5");
    const int64_t pad = nc_gguf_int(b->g, "tokenizer.ggml.padding_token_id", 1), context = nc_gguf_back_int(b, "context_length", 512);
    nc_json *classes = nc_json_new(b->a, NC_JSON_ARRAY);
    nc_gguf_back_set_text(b, "model_type", bpe ? "roberta" : unigram ? "xlm-roberta" : "bert");
    nc_json_append(classes, nc_json_new_string(b->a, nc_str_of(bpe ? "RobertaModel" : unigram ? "XLMRobertaModel" : "BertModel")));
    nc_json_set(b->a, b->config, "architectures", classes);
    nc_gguf_back_set_int(b, "max_position_embeddings", bpe || unigram ? context + pad + 1 : context);
    nc_gguf_back_set_int(b, "pad_token_id", bpe || unigram ? pad : nc_gguf_int(b->g, "tokenizer.ggml.padding_token_id", 0));
    nc_gguf_back_set_int(b, "type_vocab_size", types ? types->shape.dim[0] : 0);
    nc_gguf_back_rename(b, "tie_word_embeddings", NULL);
}

#define PREFIXED(family, start) { .name = "bert", .families = family, .prefix = start, .rules = { rules }, .words = { words }, .more = more, .back = back }
const nc_gguf_arch nc_gguf_arch_bert = PREFIXED("bert", "bert."), nc_gguf_arch_roberta = PREFIXED("roberta xlm-roberta", "roberta."),
                   nc_gguf_arch_distilbert = PREFIXED("distilbert", "distilbert.");

/* train.h - learns a tokenizer from texts; the result is a tokenizer.json tree.
 *
 *   BPE        merges of the most frequent adjacent pair (Sennrich, Haddow, Birch 2016), with the tie-breaking of the tokenizers library's BpeTrainer
 *   WordPiece  the same over words whose later pieces carry a prefix ("##"), kept as a vocabulary for longest-match-first
 *   Unigram    EM over a seed of frequent substrings, pruned by loss of likelihood (Kudo 2018), as the tokenizers library's UnigramTrainer
 *   WordLevel  the most frequent words
 *
 * Feed documents one by one, then finish. The same texts in any order give the same tokenizer (BPE with a prefix or suffix, WordPiece: texts in the same order).
 */
#ifndef NC_TEXT_TRAIN_H
#define NC_TEXT_TRAIN_H
#include "base/json.h"

typedef enum nc_trainer_model { NC_TRAIN_BPE, NC_TRAIN_WORDPIECE, NC_TRAIN_UNIGRAM, NC_TRAIN_WORDLEVEL } nc_trainer_model;

typedef struct nc_trainer_options {
    nc_trainer_model model;
    int32_t vocab_size;                 /* special tokens and alphabet included; 0: 30000 (Unigram: 8000) */
    int64_t min_frequency;              /* a pair (WordLevel: a word) below it is not taken; 0: 2, negative: no limit */
    const char *const *special;         /* special tokens get the first ids, in this order */
    int special_count;
    const char *pattern;                /* BPE: "gpt2" (default), "qwen2", "llama3", or a regular expression whose matches are words */
    const char *bos, *eos;              /* put around every text by the post-processor; NULL: not. They must be among special. */
    bool nfc;                           /* BPE: normalize to NFC first, as Qwen2 does */
    /* For anything else: tokenizer.json's own parts instead of the model's usual ones; borrowed until finish. */
    const nc_json *normalizer, *pretokenizer, *decoder;
    bool no_byte_alphabet;              /* BPE: start from the characters seen instead of all 256 bytes */
    const char *prefix, *suffix;        /* BPE: continuing_subword_prefix, end_of_word_suffix; NULL: none (WordPiece: "##") */
    int32_t max_token_length;           /* BPE: in characters of the alphabet; 0: no limit */
    const char *unk;                    /* WordPiece, Unigram, WordLevel: the unknown token; NULL: "[UNK]", "<unk>". Unigram adds it in front where it is not special */
    double shrinking_factor;            /* Unigram: share of the pieces that outlive a pruning; 0: 0.75 */
    int sub_iterations;                 /* Unigram: EM rounds between prunings; 0: 2 */
    int32_t max_piece_length;           /* Unigram: in characters; 0: 16 */
    int32_t seed_size;                  /* Unigram: most pieces to begin with; 0: 1000000 */
} nc_trainer_options;

typedef struct nc_trainer nc_trainer;
int nc_trainer_new(const nc_trainer_options *options, nc_trainer **out, nc_error *e);
int nc_trainer_feed(nc_trainer *t, nc_str document, nc_error *e);      /* fails for invalid UTF-8 */
/* The tree is arena's. Write it with nc_json_write; nc_tokenizer_from_json reads it. */
int nc_trainer_finish(nc_trainer *t, nc_arena *arena, nc_json **tree, nc_error *e);
void nc_trainer_free(nc_trainer *t);
bool nc_trainer_model_by_name(const char *name, nc_trainer_model *out);   /* "bpe", "wordpiece", "unigram", "wordlevel" */
#endif

/* train_bpe.h - learns a byte-level BPE tokenizer from texts (Sennrich, Haddow, Birch 2016), with the tie-breaking of the tokenizers library's BpeTrainer.
 *
 * Feed documents one by one, then finish: the result is a tokenizer.json tree. The same texts in any order give the same
 * tokenizer (with a prefix or suffix: texts in the same order).
 */
#ifndef NC_TEXT_TRAIN_BPE_H
#define NC_TEXT_TRAIN_BPE_H
#include "base/json.h"

typedef struct nc_bpe_options {
    int32_t vocab_size;                 /* special tokens and alphabet included; 0: 30000 */
    int64_t min_frequency;              /* a pair below it is not merged; 0: 2, negative: no limit */
    const char *const *special;         /* special tokens get the first ids, in this order */
    int special_count;
    const char *pattern;                /* "gpt2" (default), "qwen2", "llama3", or a regular expression whose matches are words */
    const char *bos, *eos;              /* put around every text by the post-processor; NULL: not. They must be among special. */
    bool nfc;                           /* normalize to NFC first, as Qwen2 does */
    /* For anything else: tokenizer.json's own parts instead of pattern and nfc; borrowed until finish. */
    const nc_json *normalizer, *pretokenizer, *decoder;
    bool no_byte_alphabet;              /* start from the characters seen instead of all 256 bytes */
    const char *prefix, *suffix;        /* continuing_subword_prefix, end_of_word_suffix; NULL: none */
    int32_t max_token_length;           /* in characters of the alphabet; 0: no limit */
} nc_bpe_options;

typedef struct nc_bpe_trainer nc_bpe_trainer;
int nc_bpe_trainer_new(const nc_bpe_options *options, nc_bpe_trainer **out, nc_error *e);
int nc_bpe_trainer_feed(nc_bpe_trainer *t, nc_str document, nc_error *e);      /* fails for invalid UTF-8 */
/* The tree is tree's arena's. Write it with nc_json_write; nc_tokenizer_from_json reads it. */
int nc_bpe_trainer_finish(nc_bpe_trainer *t, nc_arena *arena, nc_json **tree, nc_error *e);
void nc_bpe_trainer_free(nc_bpe_trainer *t);
#endif

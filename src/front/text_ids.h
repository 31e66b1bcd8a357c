/* text_ids.h - a text, a pair of texts, or words, as an encoder reads them: ids with the special tokens, which of two texts each id is of, and where each word begins.
 *
 * What is too long is cut as transformers' tokenizers cut it: from the end of the longer text first, special tokens stay. Words are tokenized one by one, each behind a
 * space (is_split_into_words, add_prefix_space). Results lie in the arena.
 */
#ifndef NC_FRONT_TEXT_IDS_H
#define NC_FRONT_TEXT_IDS_H
#include "text/tokenizer.h"

typedef struct nc_text_ids {
    int32_t *ids, *types;            /* types: 0, and 1 in the second text where the post-processor says so */
    int *word;                       /* of words: whose first piece an id is, else -1; NULL for texts */
    int count;
    bool cut;
} nc_text_ids;

/* most: ids of the whole, special ones included; at least those. pair may be NULL. */
int nc_text_ids_of(const nc_tokenizer *t, nc_arena *a, nc_str text, const nc_str *pair, int most, nc_text_ids *out, nc_error *e);
int nc_text_ids_of_words(const nc_tokenizer *t, nc_arena *a, const nc_str *words, int count, int most, nc_text_ids *out, nc_error *e);
#endif

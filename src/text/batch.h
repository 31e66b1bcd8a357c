/* batch.h - texts of a batch encoded, cut to a length and filled to a common one, as the tokenizers library's truncation and padding do. */
#ifndef NC_TEXT_BATCH_H
#define NC_TEXT_BATCH_H
#include "text/tokenizer.h"

typedef enum nc_truncate_what { NC_LONGEST_FIRST, NC_ONLY_FIRST, NC_ONLY_SECOND } nc_truncate_what;

/* max_length counts special tokens; 0 cuts nothing. What is cut off comes back as further pieces that share stride tokens with their neighbour. */
typedef struct nc_truncation { size_t max_length, stride; nc_truncate_what what; bool left; } nc_truncation;

/* length 0: the longest of the batch. multiple 0 or 1: any length. left: filled in front. */
typedef struct nc_padding { size_t length, multiple; int32_t id; uint8_t type; bool left; } nc_padding;

/* One input: encodings[0], then what was cut off. real[i]: how many entries of encodings[i] are no padding, they lie together at the side padding is not on. */
typedef struct nc_encoding_row { nc_encoding *encodings; size_t *real; size_t n; } nc_encoding_row;
typedef struct nc_encoding_batch { nc_encoding_row *rows; size_t n; } nc_encoding_batch;

/* pairs NULL: single texts; pairs[i].p NULL: text i alone. truncation and padding may be NULL. out is the caller's to free, also on failure. */
int nc_tokenizer_encode_batch(const nc_tokenizer *t, const nc_str *texts, const nc_str *pairs, size_t n, unsigned flags, const nc_truncation *truncation,
                              const nc_padding *padding, nc_encoding_batch *out, nc_error *e);
void nc_encoding_batch_free(nc_encoding_batch *b);
#endif

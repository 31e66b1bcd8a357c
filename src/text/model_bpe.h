/* model_bpe.h - limits of the BPE model and the reader of "vocab" objects that other models share. */
#ifndef NC_TEXT_MODEL_BPE_H
#define NC_TEXT_MODEL_BPE_H
#include "text/parts.h"

#define NC_BPE_AFFIX 64     /* bytes of continuing_subword_prefix and end_of_word_suffix */

int nc_vocab_read(nc_vocab *vocab, const nc_json *object, nc_error *e);
#endif

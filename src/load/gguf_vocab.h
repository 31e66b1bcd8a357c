/* gguf_vocab.h - the vocabulary inside a GGUF file as a tokenizer. */
#ifndef NC_LOAD_GGUF_VOCAB_H
#define NC_LOAD_GGUF_VOCAB_H
#include "formats/gguf.h"
#include "text/tokenizer.h"

/* tokenizer.ggml.model gpt2 (byte-level BPE, pre-tokenizer by tokenizer.ggml.pre), llama (sentencepiece BPE by scores), bert (WordPiece), t5 (Unigram). NC_ENOTFOUND
 * without a vocabulary; NC_EUNSUPPORTED names a kind or pre-tokenizer that is not known. The caller frees *out. */
int nc_gguf_vocab(const nc_gguf *g, const char *file, nc_tokenizer **out, nc_error *e);
int nc_gguf_vocab_open(const char *file, nc_tokenizer **out, nc_error *e);   /* the same from a file */
#endif

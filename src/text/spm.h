/* spm.h - sentencepiece .model files inside src/text.
 *
 * A model file becomes a tree like tokenizer.json's whose parts have types of their own ("SentencePiece", "SentencePieceBPE" ...), so that building, added tokens and
 * lookups are the same code. Entries of "vocab" are [piece, score, type].
 */
#ifndef NC_TEXT_SPM_H
#define NC_TEXT_SPM_H
#include "text/parts.h"

enum { NC_SPM_NORMAL = 1, NC_SPM_UNKNOWN, NC_SPM_CONTROL, NC_SPM_USER, NC_SPM_UNUSED, NC_SPM_BYTE };

/* The tree of a .model file's bytes, in a. file names errors. */
int nc_spm_parse(nc_arena *a, nc_str bytes, const char *file, nc_json **out, nc_error *e);
/* The tree as transformers' class of tokenizer_config.json lays it out: ids, special tokens, template. Other classes leave it. */
void nc_spm_class(nc_arena *a, nc_json *tree, const nc_json *config);
/* Types of a vocabulary of [piece, score, type]; NULL when entries have none. */
const uint8_t *nc_spm_types(nc_arena *a, const nc_json *vocab);
/* Ids of <0x00> to <0xFF>, -1 where absent. */
void nc_byte_entries(const nc_vocab *vocab, int32_t ids[256]);
#endif

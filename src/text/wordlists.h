/* wordlists.h - tokenizers without a tokenizer.json: tiktoken ranks, GPT-2's vocab.json and merges.txt, BERT's vocab.txt, made into the tree of a tokenizer.json. */
#ifndef NC_TEXT_WORDLISTS_H
#define NC_TEXT_WORDLISTS_H
#include "base/json.h"

/* A ranks file has lines of base64, a blank and a number. */
bool nc_ranks_look_like(nc_str text);
/* config (may be NULL) may name the pattern: "pat_str", and special tokens "special_tokens": {text: id}; else they are known by the number of ranks. */
int nc_ranks_parse(nc_arena *a, nc_str text, const char *file, const nc_json *config, nc_json **out, nc_error *e);
/* path is a vocab.json, merges.txt or vocab.txt; what belongs to it lies beside it. config is tokenizer_config.json or NULL. */
int nc_wordlists_load(nc_arena *a, const char *path, const nc_json *config, nc_json **out, nc_error *e);
#endif

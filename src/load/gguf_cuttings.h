/* gguf_cuttings.h - how texts are cut before byte-level BPE, by the name in tokenizer.ggml.pre. */
#ifndef NC_LOAD_GGUF_CUTTINGS_H
#define NC_LOAD_GGUF_CUTTINGS_H
#include "base/json.h"

enum { NC_GGUF_CUTS = 6 };
/* Patterns, step after step. nfc: the model's own tokenizer composes characters first. */
typedef struct nc_gguf_cutting { const char *names; bool nfc; const char *step[NC_GGUF_CUTS]; } nc_gguf_cutting;

const nc_gguf_cutting *nc_gguf_cutting_of(const char *name);              /* NULL when unknown */
/* The name that cuts as this pre_tokenizer of a tokenizer.json does; "default" when llama.cpp has none. Static. */
const char *nc_gguf_cutting_name(nc_arena *a, const nc_json *pre_tokenizer);
#endif

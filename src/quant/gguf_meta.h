/* gguf_meta.h - the metadata llama.cpp wants beside the tensors; for quantize.c. */
#ifndef NC_QUANT_GGUF_META_H
#define NC_QUANT_GGUF_META_H
#include "formats/gguf.h"
#include "load/load.h"

/* Of model.gguf, mmproj.gguf and extra.gguf. The model has an architecture (load/gguf_arch.h). */
void nc_gguf_meta_decoder(nc_gguf_meta *meta, const nc_loaded *l, nc_dtype to);
void nc_gguf_meta_tower(nc_gguf_meta *meta, const nc_loaded *l, nc_dtype to);
void nc_gguf_meta_extra(nc_gguf_meta *meta, const nc_loaded *l, nc_dtype to);
/* Vocabulary, merges, special ids and the chat template from tokenizer.json and what lies beside it. A folder without one says "none". */
int nc_gguf_meta_tokenizer(nc_gguf_meta *meta, const nc_loaded *l, nc_error *e);
#endif

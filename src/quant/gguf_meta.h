/* gguf_meta.h - the metadata llama.cpp wants beside the tensors; for quantize.c. */
#ifndef NC_QUANT_GGUF_META_H
#define NC_QUANT_GGUF_META_H
#include "formats/gguf.h"
#include "load/load.h"

/* NC_EUNSUPPORTED names a family that llama.cpp's files cannot hold. */
int nc_gguf_meta_decoder(nc_gguf_meta *meta, const nc_loaded *l, nc_dtype to, nc_error *e);
void nc_gguf_meta_tower(nc_gguf_meta *meta, const nc_loaded *l, nc_dtype to);
/* Vocabulary, merges, special ids and the chat template from tokenizer.json and what lies beside it. A folder without one adds nothing. */
int nc_gguf_meta_tokenizer(nc_gguf_meta *meta, const nc_loaded *l, nc_error *e);
/* llama 3's frequency factors as llama.cpp keeps them in rope_freqs.weight, [count] in a; NULL when the config asks for none. */
float *nc_gguf_rope_factors(nc_arena *a, const nc_model *m, int *count);
#endif

/* export.h - a model folder written anew as a Hugging Face folder: as it is, in another dtype, from GGUF, or with an adapter merged in.
 *
 * Where nothing is to be converted every file is copied byte for byte. In another dtype every tensor keeps its name, shape and shard; integers stay integers.
 */
#ifndef NC_LOAD_EXPORT_H
#define NC_LOAD_EXPORT_H
#include "load/load.h"

typedef struct nc_export_options {
    nc_dtype dtype;                  /* NC_F32, NC_BF16, NC_F16; NC_DTYPES: the folder's own (quantized GGUF: BF16) */
    const char *adapter;             /* a PEFT folder to merge, or NULL */
    uint64_t max_shard_bytes;        /* 0: 5 GB, as save_pretrained (files that are only converted keep their shards) */
    nc_pool *pool;
} nc_export_options;

/* out is made; it must not be folder itself. config.json comes last, so that a folder that was cut short is no model. *bytes: of the tensors written. */
int nc_export_hf(const char *folder, const char *out, const nc_export_options *o, uint64_t *bytes, nc_error *e);
/* The dtype that keeps a folder's weights: the one most of its products are in, BF16 where they are quantized. */
int nc_export_dtype(const char *folder, nc_dtype *out, nc_error *e);
#endif

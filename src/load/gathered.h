/* gathered.h - a site whose values a GGUF file holds in another order, in parts, or changed (load/gguf_names.h), on their way back. */
#ifndef NC_LOAD_GATHERED_H
#define NC_LOAD_GATHERED_H
#include "load/checkpoint.h"
#include "load/gguf_names.h"

struct nc_gathered { nc_gguf_home place; int64_t count; const nc_stored *tensor[NC_GGUF_PARTS]; };

/* The source of a site of `count` values that lie in the tensors of its place: bytes of the file where it holds them as they are; else gathered, in the file's type where
 * runs of it stay whole, in f32 where not. */
void nc_gathered_source(nc_arena *a, const nc_gguf_home *p, const nc_stored *const *tensors, int64_t count, nc_source *out);
#endif

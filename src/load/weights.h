/* weights.h - memory for a model's sites: planned, allocated, filled from a checkpoint or at random, and given back.
 *
 * How a site is held follows from the run: products' weights (NC_SITE_LINEAR) packed for inference; plain row-major while anything trains, but for those that
 * are trained in bf16. A site trained in bf16 has an f32 master that the optimizer owns and a bf16 copy that the graph reads, which for a product is its
 * weight packed and turned, so that no step packs it again; a frozen one has the copy only.
 */
#ifndef NC_LOAD_WEIGHTS_H
#define NC_LOAD_WEIGHTS_H
#include "formats/safetensors.h"
#include "models/model.h"

typedef struct nc_weights_options {
    nc_dtype compute;                /* NC_F32 or NC_BF16 (NC_F64 for checks: plain only) */
    bool pack;                       /* hold products' weights packed (inference) */
    nc_pool *pool;
    const nc_kernels *kernels;
    bool stored;                     /* packed ones may stay in the files' mappings until a product of many rows packs them (gemm_stored.c); the checkpoint must
                                        then live as long as the model: nc_model_keep */
} nc_weights_options;

/* Bytes the weights will take, packed ones included, by part. Sites' `trainable` must be set before. quantized: the dtype most products are stored in
 * (nc_checkpoint_storage), NC_DTYPES for the run's own. */
typedef struct nc_weights_plan { size_t values, masters, gradients; } nc_weights_plan;
nc_weights_plan nc_weights_bytes(const nc_model *m, const nc_weights_options *o, nc_dtype quantized);

/* Plain memory for every site that is held plain, masters and gradients of trainable ones; packed sites get theirs when they are filled. The model owns all
 * and gives it back in nc_model_free. */
int nc_weights_allocate(nc_model *m, const nc_weights_options *o, nc_error *e);
/* Fills every site from the files (load/checkpoint.h). Missing, misshapen and unknown tensors are errors or warnings as docs/architecture.md says; tensors
 * nobody asked for are a line each of `warn`. Quantized values stay quantized where a site is held packed, else they are dequantized. */
struct nc_checkpoint;
void nc_model_keep(nc_model *m, struct nc_checkpoint *c);    /* closed by nc_model_free */
int nc_weights_read(nc_model *m, struct nc_checkpoint *c, const nc_weights_options *o, nc_buf *warn, nc_error *e);
int nc_weights_load(nc_model *m, nc_safetensors *s, const nc_weights_options *o, nc_buf *warn, nc_error *e);   /* the same from one open safetensors folder */
/* Random values: each site's init, drawn by Philox(seed; site's name), the same whatever the dtype or order. */
int nc_weights_init(nc_model *m, uint64_t seed, const nc_weights_options *o, nc_error *e);
int nc_weights_init_fresh(nc_model *m, uint64_t seed, const nc_weights_options *o, nc_error *e);    /* the same of sites that are NC_SITE_FRESH */
/* Gives one site its values from a row-major array of its own shape: master, copy or packed storage. */
int nc_site_fill(nc_model *m, nc_site *s, nc_dtype t, const void *values, bool transposed, const nc_weights_options *o, nc_error *e);
/* The site's value as any plain dtype, row-major in the file's shape (transposed back where the file is), to out. */
int nc_site_read(const nc_site *s, nc_dtype t, void *out, nc_error *e);
/* Memory that nc_model_free gives back with the model. NULL when the system refuses. */
void *nc_model_alloc(nc_model *m, size_t bytes);

bool nc_site_is_packed(const nc_site *s, const nc_weights_options *o);   /* how it will be held in such a run */
bool nc_site_trains_packed(const nc_site *s, const nc_weights_options *o);
bool nc_site_quantizes(const nc_site *s);    /* a product's weight whose rows are whole blocks of 32 */

/* Marks sites trainable by glob patterns over canonical names (NULL-terminated list; "*" all); returns how many. */
int nc_model_train_only(nc_model *m, const char *const *patterns);
/* A site's bf16 copy made anew from its master (the optimizer keeps it up itself). */
void nc_site_refresh(nc_site *s, nc_pool *pool, const nc_kernels *kernels);

/* Writes folder/model.safetensors (sharded above max_shard_bytes) under the names the folder used (file_name, else canonical), in dtype t (trained masters
 * exactly when F32), and config.json from the model's tree with the dtype set. */
int nc_model_save(const nc_model *m, const char *folder, nc_dtype t, uint64_t max_shard_bytes, nc_error *e);
#endif

/* checkpoint.h - the files of a folder that hold weights, whatever their format: for each site where its values lie and how.
 *
 *   model.safetensors or its shards                     Hugging Face's names
 *   model.gguf, with mmproj.gguf and extra.gguf         llama.cpp's (load/gguf_names.h)
 *
 * Safetensors are taken when both are there. Sources point into the files' mappings and live as long as the checkpoint.
 */
#ifndef NC_LOAD_CHECKPOINT_H
#define NC_LOAD_CHECKPOINT_H
#include "formats/safetensors.h"
#include "models/model.h"

typedef struct nc_source {
    nc_dtype dtype;
    const void *data;            /* row-major [rows, columns] of the site's shape, or [columns, rows] */
    size_t bytes;
    bool transposed;
    bool turned;                 /* the file holds it the other way around than the site's file_shape says (nc_family.turned) */
    const struct nc_gathered *gathered;   /* the values lie elsewhere in another order or form: nc_source_gather makes them; data is where the first of them are */
    const char *name;            /* in the file; NULL: values in memory */
    int fd;                      /* of the file, -1: none; data is at `offset` of it */
    uint64_t offset;
    nc_stacked stacked;
} nc_source;

typedef struct nc_checkpoint nc_checkpoint;
int nc_checkpoint_open(const char *folder, nc_checkpoint **out, nc_error *e);    /* or one .gguf file that stands alone */
nc_checkpoint *nc_checkpoint_borrow(nc_safetensors *s);  /* of files that stay the caller's */
void nc_checkpoint_close(nc_checkpoint *c);              /* NULL is allowed */
bool nc_checkpoint_is_gguf(const nc_checkpoint *c);
/* A site's source. data is NULL when the files lack an optional one; NC_ENOTFOUND when they lack another, NC_ESHAPE when shapes differ. */
int nc_checkpoint_find(nc_checkpoint *c, const nc_model *m, const nc_site *s, nc_source *out, nc_error *e);
const char *nc_checkpoint_folder(const nc_checkpoint *c);   /* NULL when borrowed */
/* The tensor that has a site's name, whatever its shape; NULL: none, or a GGUF. */
const nc_stored *nc_checkpoint_named(const nc_checkpoint *c, const nc_model *m, const nc_site *s);
/* Which stacked tensor may hold a site (nc_family.stacks): its name and the site's place; count is not set. False: none. */
bool nc_stack_of(const nc_model *m, const char *site_name, nc_buf *file, nc_stacked *out);
/* The same kind's site at another index: whether the model has it. */
bool nc_stack_reaches(const nc_model *m, const char *site_name, int index);
/* Gives back the pages of a source that was read through the mapping. */
void nc_checkpoint_drop(const nc_checkpoint *c, const nc_source *source);
/* The dtype that holds most values of the products' weights: how nc_weights_bytes is told of quantized storage. NC_DTYPES: the files do not say. */
nc_dtype nc_checkpoint_storage(nc_checkpoint *c, const nc_model *m);
/* Tensors that no call of find gave out: silent, one line each to `warn` (may be NULL), or an error, as docs/architecture.md says. */
int nc_checkpoint_unread(const nc_checkpoint *c, const nc_model *m, nc_buf *warn, nc_error *e);

/* A site's shape as a matrix: products and tables [dim0, rest], vectors one row. */
void nc_site_matrix(const nc_site *s, int64_t *rows, int64_t *columns);
/* The values of a gathered source in the site's order, nc_dtype_bytes(source->dtype, count of the site) bytes. */
void nc_source_gather(const nc_source *source, void *out);
/* n values at p, unaligned; whole blocks of quantized types. */
void nc_values_to_f32(nc_dtype t, const char *p, int64_t n, float *out);
/* Rows [row0, row0+count) of the site as f32 [count, columns]; not of a gathered source. */
void nc_source_rows(const nc_source *source, int64_t rows, int64_t columns, int64_t row0, int64_t count, float *out);
#endif

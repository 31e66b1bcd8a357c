/* safetensors.h - read by mmap (one file or a sharded folder) and write, whole or not at all.
 *
 *   file = u64 length of header (little endian) | header: one JSON object, padded with spaces | data
 *   header = { "__metadata__": {string: string}, name: { "dtype": "F32", "shape": [..], "data_offsets": [begin, end] }, ... }
 *
 * Offsets count from the end of the header; tensors fill the data without holes or overlap, as the reference demands.
 * Everything is checked at open, so that a reader may use data[0 .. bytes) without further thought.
 * Source: github.com/huggingface/safetensors, README "Format"; the index file is that of transformers' save_pretrained.
 */
#ifndef NC_FORMATS_SAFETENSORS_H
#define NC_FORMATS_SAFETENSORS_H
#include "base/json.h"
#include "formats/stored.h"

typedef struct nc_safetensors nc_safetensors;

/* path: a .safetensors file, an index (.safetensors.index.json), or a folder. In a folder the first that exists is taken of
 * model.safetensors, model.safetensors.index.json, adapter_model.safetensors, diffusion_pytorch_model.safetensors and its index.
 * The caller frees with nc_safetensors_close; tensors and names live as long. */
int nc_safetensors_open(const char *path, nc_safetensors **out, nc_error *e);
void nc_safetensors_close(nc_safetensors *s);                               /* NULL is allowed */

int nc_safetensors_count(const nc_safetensors *s);
const nc_stored *nc_safetensors_at(const nc_safetensors *s, int i);         /* file order: by shard, then by offset */
const nc_stored *nc_safetensors_find(const nc_safetensors *s, const char *name);   /* NULL when absent */
const nc_json *nc_safetensors_metadata(const nc_safetensors *s);            /* the first shard's __metadata__; may be NULL */
int nc_safetensors_files(const nc_safetensors *s);
const char *nc_safetensors_file(const nc_safetensors *s, int shard);        /* its path */
size_t nc_safetensors_bytes(const nc_safetensors *s);                       /* data of all tensors together */

/* p[0..n) lies in a mapping of s, else nothing happens. */
void nc_safetensors_advise(const nc_safetensors *s, const void *p, size_t n, nc_advice advice);
/* Where p[0..n) lies in a file of s, for pread; false when it lies in none. */
bool nc_safetensors_place(const nc_safetensors *s, const void *p, size_t n, int *fd, uint64_t *offset);

/* Writes one file. metadata: an object of strings, NULL for {"format": "pt"}, an empty object for none. Tensors are laid out as the reference does: by
 * falling dtype rank (wide types first), then by name, so that the same tensors give the same bytes. */
int nc_safetensors_write(const char *path, const nc_store *tensors, int count, const nc_json *metadata,
                         nc_store_fill *fill, void *context, nc_error *e);

/* Writes folder/<stem>.safetensors, or when the tensors exceed max_shard_bytes (0: no limit) folder/<stem>-00001-of-0000N.safetensors
 * and <stem>.safetensors.index.json. Tensors go to shards in the order given. The index comes last and files of an
 * earlier save under the same stem are removed after it. */
int nc_safetensors_write_folder(const char *folder, const char *stem, const nc_store *tensors, int count, const nc_json *metadata,
                                uint64_t max_shard_bytes, nc_store_fill *fill, void *context, nc_error *e);

/* "F32", "BF16" ...: the format's name of a dtype, NULL when the format has none. */
const char *nc_safetensors_dtype_name(nc_dtype dtype);
bool nc_safetensors_dtype_of(nc_str name, nc_dtype *out);
#endif

/* stored.h - what tensor files have in common: a tensor as it lies in a mapped file, and one that is to be written. */
#ifndef NC_FORMATS_STORED_H
#define NC_FORMATS_STORED_H
#include "base/file.h"
#include "base/json.h"
#include "tensor/tensor.h"

typedef struct nc_stored {
    const char *name;
    nc_dtype dtype;
    nc_shape shape;                            /* more than NC_MAX_RANK dimensions are refused */
    const void *data;                          /* into the mapping; aligned only as well as the file is */
    size_t bytes;
    int shard;                                 /* which file, counted from 0 */
} nc_stored;

/* What will be done with bytes p[0..n) of a mapping. DROP gives their pages back now (they are read again when touched). */
typedef enum nc_advice { NC_ADVISE_SEQUENTIAL, NC_ADVISE_WILLNEED, NC_ADVISE_DROP } nc_advice;

/* Advises the kernel, rounded outwards to pages: the mapping is read-only, so that a page dropped beside the range is only read
 * once more. False, and nothing done, when p[0..n) is not inside map. */
bool nc_stored_advise(const nc_mapped *map, const void *p, size_t n, nc_advice advice);

/* The descriptor and offset of bytes p[0..n) of a mapping, for pread; false when they are not inside map. */
bool nc_stored_place(const nc_mapped *map, const void *p, size_t n, int *fd, uint64_t *offset);

/* Writing. One entry a tensor; data NULL means that `fill` is asked for the bytes, in pieces of about 1 MiB, in order. */
typedef struct nc_store {
    const char *name;
    nc_dtype dtype;
    nc_shape shape;
    const void *data;
} nc_store;

/* Puts bytes [offset, offset + n) of entry i into out; a piece holds whole elements or blocks. */
typedef int nc_store_fill(void *context, int i, uint64_t offset, void *out, size_t n, nc_error *e);

/* The bytes asked for at once by the writers: the whole blocks of t in 1 MiB. */
static inline size_t nc_store_piece(nc_dtype t)
{
    size_t block = (size_t)nc_dtype_get(t)->bytes;
    return ((size_t)1 << 20) / block * block;
}
#endif

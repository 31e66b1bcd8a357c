/* tensor.h - shapes, and views of numbers in memory. A view owns nothing. */
#ifndef NC_TENSOR_TENSOR_H
#define NC_TENSOR_TENSOR_H
#include "base/str.h"
#include "kernels/dtype.h"

#define NC_MAX_RANK 6
typedef struct nc_shape { int rank; int64_t dim[NC_MAX_RANK]; } nc_shape;   /* outermost first; rank 0 is a scalar */
#define NC_SHAPE(...) nc_shape_of((int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), (int64_t[]){ __VA_ARGS__ })

typedef struct nc_tensor { nc_dtype dtype; nc_shape shape; void *data; } nc_tensor;  /* contiguous */

nc_shape nc_shape_of(int rank, const int64_t *dims);
int64_t nc_shape_count(const nc_shape *s);                     /* product of dims, 1 for a scalar */
bool nc_shape_equal(const nc_shape *a, const nc_shape *b);
char *nc_shape_str(const nc_shape *s, char out[96]);           /* "[2, 3]" */
static inline int64_t nc_shape_last(const nc_shape *s) { return s->rank ? s->dim[s->rank - 1] : 1; }
static inline int64_t nc_shape_rows(const nc_shape *s) { int64_t l = nc_shape_last(s); return l ? nc_shape_count(s) / l : 0; }
/* numpy's broadcast of two shapes; false when they do not fit. */
bool nc_shape_broadcast(const nc_shape *a, const nc_shape *b, nc_shape *out);
int nc_shape_bytes(const nc_shape *s, nc_dtype t, size_t *bytes);   /* checked; NC_ELIMIT on overflow, NC_ESHAPE when blocks do not divide the last axis */
static inline size_t nc_tensor_bytes(const nc_tensor *t) { return nc_dtype_bytes(t->dtype, nc_shape_count(&t->shape)); }
#endif

/* gguf_types.h - shared by GGUF's reader and writer only. */
#ifndef NC_FORMATS_GGUF_TYPES_H
#define NC_FORMATS_GGUF_TYPES_H
#include "formats/gguf.h"

size_t nc_gguf_type_bytes(nc_gguf_type t);     /* 0 for STRING and ARRAY */
/* The little-endian number at p as an integer (0 for floats) and as a double. */
void nc_gguf_number(nc_gguf_type type, const void *p, int64_t *whole, double *real);
#endif

/* gguf.h - GGUF, the file of llama.cpp: metadata and tensors in one mapping. Versions 2 and 3 are read, version 3 is written.
 *
 *   "GGUF" | u32 version | u64 tensors | u64 keys | keys: string, u32 type, value | infos: string, u32 rank, u64 dims (innermost first),
 *   u32 ggml type, u64 offset | padding to general.alignment (32) | data
 *
 * Numbers are little endian; a string is u64 length and bytes. Every length is checked against what is left before it is
 * believed. Source: ggml's docs/gguf.md and gguf.cpp.
 */
#ifndef NC_FORMATS_GGUF_H
#define NC_FORMATS_GGUF_H
#include "formats/stored.h"

typedef enum nc_gguf_type {
    NC_GGUF_U8, NC_GGUF_I8, NC_GGUF_U16, NC_GGUF_I16, NC_GGUF_U32, NC_GGUF_I32, NC_GGUF_F32, NC_GGUF_BOOL,
    NC_GGUF_STRING, NC_GGUF_ARRAY, NC_GGUF_U64, NC_GGUF_I64, NC_GGUF_F64, NC_GGUF_TYPES
} nc_gguf_type;

typedef struct nc_gguf_value nc_gguf_value;
struct nc_gguf_value {
    const char *key;                           /* NULL inside an array */
    nc_gguf_type type;
    int64_t i;                                 /* whole numbers and BOOL; U64 keeps its bits */
    double f;                                  /* F32 and F64 */
    nc_str s;                                  /* STRING, NUL-terminated as well */
    nc_gguf_type item;                         /* ARRAY: what it holds, */
    int64_t count;                             /*        how many, */
    const void *numbers;                       /*        packed little-endian items of a fixed size, unaligned; */
    const nc_str *strings;                     /*        or strings, */
    const nc_gguf_value *arrays;               /*        or arrays */
};

/* A ggml type: its name and block; dtype NC_DTYPES where the program cannot compute with it yet. */
typedef struct nc_ggml_type { int id; const char *name; int block, bytes; nc_dtype dtype; } nc_ggml_type;
const nc_ggml_type *nc_ggml_type_of(uint32_t id);                           /* NULL when ggml has no such type */
const nc_ggml_type *nc_ggml_type_for(nc_dtype dtype);                       /* NULL when ggml cannot hold it */

typedef struct nc_gguf nc_gguf;
int nc_gguf_open(const char *path, nc_gguf **out, nc_error *e);             /* freed by nc_gguf_close */
void nc_gguf_close(nc_gguf *g);                                             /* NULL is allowed */

int nc_gguf_version(const nc_gguf *g);
int nc_gguf_keys(const nc_gguf *g);
const nc_gguf_value *nc_gguf_key(const nc_gguf *g, int i);                  /* file order */
const nc_gguf_value *nc_gguf_get(const nc_gguf *g, const char *key);        /* NULL when absent */
int64_t nc_gguf_int(const nc_gguf *g, const char *key, int64_t fallback);   /* fallback when absent or no number */
double nc_gguf_double(const nc_gguf *g, const char *key, double fallback);
bool nc_gguf_bool(const nc_gguf *g, const char *key, bool fallback);
const char *nc_gguf_string(const nc_gguf *g, const char *key, const char *fallback);
/* Item i of an ARRAY of numbers; 0 outside it. */
int64_t nc_gguf_item_int(const nc_gguf_value *array, int64_t i);
double nc_gguf_item_double(const nc_gguf_value *array, int64_t i);

/* Tensors: shape outermost first (the file's dims reversed), dtype NC_DTYPES where nc_gguf_tensor_type names one not supported yet. */
int nc_gguf_count(const nc_gguf *g);
const nc_stored *nc_gguf_at(const nc_gguf *g, int i);                       /* order of the file's list */
const nc_stored *nc_gguf_find(const nc_gguf *g, const char *name);          /* NULL when absent */
const nc_ggml_type *nc_gguf_tensor_type(const nc_gguf *g, const nc_stored *t);
/* Finds a tensor that can be computed with: NC_ENOTFOUND, or NC_EUNSUPPORTED naming its type. */
int nc_gguf_need(const nc_gguf *g, const char *name, const nc_stored **out, nc_error *e);
void nc_gguf_advise(const nc_gguf *g, const void *p, size_t n, nc_advice advice);
bool nc_gguf_place(const nc_gguf *g, const void *p, size_t n, int *fd, uint64_t *offset);   /* for pread */

/* Writing: values are gathered in the order given (a key set again replaces its value), then the file is written whole. */
typedef struct nc_gguf_meta nc_gguf_meta;
nc_gguf_meta *nc_gguf_meta_new(void);
void nc_gguf_meta_free(nc_gguf_meta *m);                                    /* NULL is allowed */
void nc_gguf_set_int(nc_gguf_meta *m, const char *key, nc_gguf_type type, int64_t v);   /* any whole-number type, or BOOL */
void nc_gguf_set_float(nc_gguf_meta *m, const char *key, nc_gguf_type type, double v);  /* F32 or F64 */
void nc_gguf_set_string(nc_gguf_meta *m, const char *key, nc_str v);
void nc_gguf_set_strings(nc_gguf_meta *m, const char *key, const nc_str *v, int64_t n);
void nc_gguf_set_numbers(nc_gguf_meta *m, const char *key, nc_gguf_type item, const void *packed, int64_t n);  /* host order */
void nc_gguf_set_value(nc_gguf_meta *m, const char *key, const nc_gguf_value *v);       /* deep copy, arrays of arrays too */

/* Writes version 3 with alignment 32. Tensors keep the order given; fill as in stored.h. F32, F16, BF16, F64, I8..I64, Q8_0, Q4_0;
 * at most 4 dimensions and 63 bytes of name, as ggml has. */
int nc_gguf_write(const char *path, const nc_gguf_meta *meta, const nc_store *tensors, int count,
                  nc_store_fill *fill, void *context, nc_error *e);
#endif

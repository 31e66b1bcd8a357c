/* dtype.h - the kinds of numbers. Sizes, names (safetensors' spelling) and scalar conversions. */
#ifndef NC_KERNELS_DTYPE_H
#define NC_KERNELS_DTYPE_H
#include <string.h>
#include "base/status.h"

typedef enum nc_dtype {
    NC_F32, NC_F64, NC_F16, NC_BF16, NC_F8_E4M3, NC_F8_E5M2, NC_I8, NC_U8, NC_I16, NC_I32, NC_I64, NC_BOOL,
    NC_Q8_0, NC_Q4_0,                       /* ggml's blocks of 32: f16 scale and 32 int8; f16 scale and 32 nibbles */
    NC_DTYPES
} nc_dtype;

typedef struct nc_dtype_info {
    const char *name;                       /* "F32", "BF16", "F8_E4M3", "Q8_0" */
    int block;                              /* elements stored together; 1 but for block types */
    int bytes;                              /* bytes of one block */
    bool is_float, is_quantized;
} nc_dtype_info;

/* The three types nodes compute in: kernels that exist for each are arrays fn[NC_SLOTS]. bf16 kernels load bf16, compute in f32 and round once on store. */
typedef enum nc_slot { NC_SLOT_F32, NC_SLOT_BF16, NC_SLOT_F64, NC_SLOTS } nc_slot;
static inline int nc_dtype_slot(nc_dtype t) { return t == NC_F32 ? NC_SLOT_F32 : t == NC_BF16 ? NC_SLOT_BF16 : t == NC_F64 ? NC_SLOT_F64 : -1; }

const nc_dtype_info *nc_dtype_get(nc_dtype t);
const char *nc_dtype_name(nc_dtype t);
int nc_dtype_parse(const char *name, nc_dtype *out);                 /* accepts "BF16", "bf16", "bfloat16", "float32" ...; NC_ENOTFOUND */
static inline size_t nc_dtype_bytes(nc_dtype t, int64_t n)           /* bytes of n elements (n a multiple of the block) */
{
    const nc_dtype_info *i = nc_dtype_get(t);
    return (size_t)(n / i->block) * (size_t)i->bytes;
}

static inline float nc_bf16_to_f32(uint16_t h) { uint32_t u = (uint32_t)h << 16; float f; memcpy(&f, &u, 4); return f; }
static inline uint16_t nc_f32_to_bf16(float f)                       /* round to nearest even; NaN stays NaN */
{
    uint32_t u;
    memcpy(&u, &f, 4);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)((u >> 16) | 0x40);
    return (uint16_t)((u + 0x7fffu + ((u >> 16) & 1)) >> 16);
}
float nc_f16_to_f32(uint16_t h);
uint16_t nc_f32_to_f16(float f);
float nc_f8_e4m3_to_f32(uint8_t b);
float nc_f8_e5m2_to_f32(uint8_t b);
/* Element i of an array of a plain type, as double; for checks and tools, not for loops that matter. */
double nc_dtype_load(nc_dtype t, const void *p, int64_t i);
void nc_dtype_store(nc_dtype t, void *p, int64_t i, double v);
#endif

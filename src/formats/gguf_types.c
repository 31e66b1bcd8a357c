/* gguf_types.c - the types of ggml with their block sizes, and the sizes of metadata types.
 * Source: ggml.h (enum ggml_type) and ggml-common.h (block structs) of ggml 0.18. */
#include "formats/gguf_types.h"

#define NONE NC_DTYPES

static const nc_ggml_type types[] = {
    { 0, "F32", 1, 4, NC_F32 }, { 1, "F16", 1, 2, NC_F16 }, { 2, "Q4_0", 32, 18, NC_Q4_0 }, { 3, "Q4_1", 32, 20, NONE },
    { 6, "Q5_0", 32, 22, NONE }, { 7, "Q5_1", 32, 24, NONE }, { 8, "Q8_0", 32, 34, NC_Q8_0 }, { 9, "Q8_1", 32, 36, NONE },
    { 10, "Q2_K", 256, 84, NONE }, { 11, "Q3_K", 256, 110, NONE }, { 12, "Q4_K", 256, 144, NONE }, { 13, "Q5_K", 256, 176, NONE },
    { 14, "Q6_K", 256, 210, NONE }, { 15, "Q8_K", 256, 292, NONE }, { 16, "IQ2_XXS", 256, 66, NONE }, { 17, "IQ2_XS", 256, 74, NONE },
    { 18, "IQ3_XXS", 256, 98, NONE }, { 19, "IQ1_S", 256, 50, NONE }, { 20, "IQ4_NL", 32, 18, NONE }, { 21, "IQ3_S", 256, 110, NONE },
    { 22, "IQ2_S", 256, 82, NONE }, { 23, "IQ4_XS", 256, 136, NONE }, { 24, "I8", 1, 1, NC_I8 }, { 25, "I16", 1, 2, NC_I16 },
    { 26, "I32", 1, 4, NC_I32 }, { 27, "I64", 1, 8, NC_I64 }, { 28, "F64", 1, 8, NC_F64 }, { 29, "IQ1_M", 256, 56, NONE },
    { 30, "BF16", 1, 2, NC_BF16 }, { 34, "TQ1_0", 256, 54, NONE }, { 35, "TQ2_0", 256, 66, NONE }, { 39, "MXFP4", 32, 17, NONE },
};

const nc_ggml_type *nc_ggml_type_of(uint32_t id)
{
    for (int i = 0; i < NC_COUNT(types); i++)
        if ((uint32_t)types[i].id == id)
            return &types[i];
    return NULL;
}

const nc_ggml_type *nc_ggml_type_for(nc_dtype dtype)
{
    for (int i = 0; i < NC_COUNT(types); i++)
        if (types[i].dtype == dtype && dtype != NONE)
            return &types[i];
    return NULL;
}

size_t nc_gguf_type_bytes(nc_gguf_type t)
{
    static const unsigned char bytes[] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };
    return (size_t)t < sizeof bytes ? bytes[t] : 0;
}

void nc_gguf_number(nc_gguf_type type, const void *p, int64_t *whole, double *real)
{
    const uint8_t *b = p;
    uint64_t u = 0;
    for (size_t i = nc_gguf_type_bytes(type); i-- > 0;)
        u = u << 8 | b[i];
    *real = 0;
    switch (type) {
    case NC_GGUF_I8: *whole = (int8_t)u; break;
    case NC_GGUF_I16: *whole = (int16_t)u; break;
    case NC_GGUF_I32: *whole = (int32_t)u; break;
    case NC_GGUF_BOOL: *whole = u != 0; break;
    case NC_GGUF_F32: {
        uint32_t bits = (uint32_t)u;
        float f;
        memcpy(&f, &bits, sizeof f);
        *real = f;
        *whole = 0;
        return;
    }
    case NC_GGUF_F64:
        memcpy(real, &u, sizeof *real);
        *whole = 0;
        return;
    default: *whole = (int64_t)u; break;
    }
    *real = type == NC_GGUF_U64 ? (double)u : (double)*whole;
}

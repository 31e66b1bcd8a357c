/* dtype.c - sizes and names of the kinds of numbers, and scalar conversions.
 *
 * f16 is IEEE 754 binary16; bf16 the upper half of binary32; f8 e4m3 has no infinity and NaN at S.1111.111, e5m2 is the upper half of binary16
 * (Micikevicius et al., "FP8 formats for deep learning", 2022). Q8_0 and Q4_0 are ggml's blocks of 32 numbers.
 */
#include "kernels/dtype.h"
#include <math.h>
#include <strings.h>

static const nc_dtype_info infos[NC_DTYPES] = {
    [NC_F32] = { "F32", 1, 4, true, false },         [NC_F64] = { "F64", 1, 8, true, false },
    [NC_F16] = { "F16", 1, 2, true, false },         [NC_BF16] = { "BF16", 1, 2, true, false },
    [NC_F8_E4M3] = { "F8_E4M3", 1, 1, true, false }, [NC_F8_E5M2] = { "F8_E5M2", 1, 1, true, false },
    [NC_I8] = { "I8", 1, 1, false, false },          [NC_U8] = { "U8", 1, 1, false, false },
    [NC_I16] = { "I16", 1, 2, false, false },        [NC_I32] = { "I32", 1, 4, false, false },
    [NC_I64] = { "I64", 1, 8, false, false },        [NC_BOOL] = { "BOOL", 1, 1, false, false },
    [NC_Q8_0] = { "Q8_0", 32, 34, false, true },     [NC_Q4_0] = { "Q4_0", 32, 18, false, true },
};
static const nc_dtype_info unknown = { "unknown", 1, 1, false, false };

const nc_dtype_info *nc_dtype_get(nc_dtype t) { return (unsigned)t < NC_DTYPES ? &infos[t] : &unknown; }
const char *nc_dtype_name(nc_dtype t) { return nc_dtype_get(t)->name; }

/* The spellings of PyTorch and of recipes, beside safetensors' own. */
static const struct { const char *name; nc_dtype t; } spellings[] = {
    { "float32", NC_F32 }, { "float", NC_F32 }, { "fp32", NC_F32 }, { "float64", NC_F64 }, { "double", NC_F64 }, { "fp64", NC_F64 },
    { "float16", NC_F16 }, { "half", NC_F16 }, { "fp16", NC_F16 }, { "bfloat16", NC_BF16 }, { "float8_e4m3fn", NC_F8_E4M3 },
    { "float8_e5m2", NC_F8_E5M2 }, { "f8_e4m3fn", NC_F8_E4M3 }, { "int8", NC_I8 }, { "uint8", NC_U8 }, { "int16", NC_I16 }, { "int32", NC_I32 },
    { "int64", NC_I64 }, { "bool", NC_BOOL },
};

int nc_dtype_parse(const char *name, nc_dtype *out)
{
    if (!name)
        return NC_ENOTFOUND;
    if (!strncmp(name, "torch.", 6))
        name += 6;
    for (int i = 0; i < NC_DTYPES; i++)
        if (!strcasecmp(name, infos[i].name))
            return *out = (nc_dtype)i, 0;
    for (int i = 0; i < NC_COUNT(spellings); i++)
        if (!strcasecmp(name, spellings[i].name))
            return *out = spellings[i].t, 0;
    return NC_ENOTFOUND;
}

static uint32_t bits_of(float f) { uint32_t u; memcpy(&u, &f, 4); return u; }
static float float_of(uint32_t u) { float f; memcpy(&f, &u, 4); return f; }

float nc_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 1023;

    if (exponent == 31)
        return float_of(sign | 0x7f800000u | mantissa << 13);
    if (exponent == 0) {                                    /* zero and subnormals: mantissa * 2^-24, exact in binary32 */
        float f = (float)mantissa * 0x1p-24f;
        return sign ? -f : f;
    }
    return float_of(sign | (exponent + 112) << 23 | mantissa << 13);
}

uint16_t nc_f32_to_f16(float f)
{
    uint32_t u = bits_of(f), sign = u >> 16 & 0x8000, magnitude = u & 0x7fffffffu;

    if (magnitude > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));
    if (magnitude >= 0x477ff000u)                           /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7c00);
    if (magnitude < 0x38800000u) {                          /* below 2^-14: adding 0.5 rounds to a multiple of 2^-24 */
        return (uint16_t)(sign | (bits_of(float_of(magnitude) + 0.5f) - 0x3f000000u));
    }
    uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1);
    return (uint16_t)(sign | ((rounded - 0x38000000u) >> 13));
}

float nc_f8_e4m3_to_f32(uint8_t b)
{
    int exponent = b >> 3 & 15, mantissa = b & 7;
    float f;

    if ((b & 127) == 127)
        return float_of(0x7fc00000u);
    f = exponent ? ldexpf((float)(8 + mantissa), exponent - 10) : (float)mantissa * 0x1p-9f;
    return b & 128 ? -f : f;
}

float nc_f8_e5m2_to_f32(uint8_t b) { return nc_f16_to_f32((uint16_t)(b << 8)); }

double nc_dtype_load(nc_dtype t, const void *p, int64_t i)
{
    switch (t) {
    case NC_F32: return ((const float *)p)[i];
    case NC_F64: return ((const double *)p)[i];
    case NC_F16: return nc_f16_to_f32(((const uint16_t *)p)[i]);
    case NC_BF16: return nc_bf16_to_f32(((const uint16_t *)p)[i]);
    case NC_F8_E4M3: return nc_f8_e4m3_to_f32(((const uint8_t *)p)[i]);
    case NC_F8_E5M2: return nc_f8_e5m2_to_f32(((const uint8_t *)p)[i]);
    case NC_I8: return ((const int8_t *)p)[i];
    case NC_U8: case NC_BOOL: return ((const uint8_t *)p)[i];
    case NC_I16: return ((const int16_t *)p)[i];
    case NC_I32: return ((const int32_t *)p)[i];
    case NC_I64: return (double)((const int64_t *)p)[i];
    case NC_Q8_0: case NC_Q4_0: {
        const uint8_t *block = (const uint8_t *)p + (i / 32) * infos[t].bytes;
        uint16_t scale;
        int k = (int)(i % 32);
        memcpy(&scale, block, 2);
        int q = t == NC_Q8_0 ? (int8_t)block[2 + k] : (k < 16 ? block[2 + k] & 15 : block[2 + k - 16] >> 4) - 8;
        return (double)nc_f16_to_f32(scale) * q;
    }
    default: return 0;
    }
}

/* Integers round to nearest and saturate; f8 takes the nearest code by search, which is fine for a check. */
static int64_t rounded(double v, double low, double high) { return v != v ? 0 : (int64_t)rint(v < low ? low : v > high ? high : v); }

static uint8_t nearest_f8(double v, float (*decode)(uint8_t))
{
    uint8_t best = 0;
    double error = INFINITY;

    if (v != v)
        return 0x7f;
    for (int b = 0; b < 256; b++) {
        double d = decode((uint8_t)b), off = fabs(d - v);
        if (d != d || isinf(d) || (signbit(d) != 0) != (signbit(v) != 0))
            continue;
        if (off < error || (off == error && !(b & 1)))
            error = off, best = (uint8_t)b;
    }
    return best;
}

void nc_dtype_store(nc_dtype t, void *p, int64_t i, double v)
{
    switch (t) {
    case NC_F32: ((float *)p)[i] = (float)v; break;
    case NC_F64: ((double *)p)[i] = v; break;
    case NC_F16: ((uint16_t *)p)[i] = nc_f32_to_f16((float)v); break;
    case NC_BF16: ((uint16_t *)p)[i] = nc_f32_to_bf16((float)v); break;
    case NC_F8_E4M3: ((uint8_t *)p)[i] = nearest_f8(v, nc_f8_e4m3_to_f32); break;
    case NC_F8_E5M2: ((uint8_t *)p)[i] = nearest_f8(v, nc_f8_e5m2_to_f32); break;
    case NC_I8: ((int8_t *)p)[i] = (int8_t)rounded(v, -128, 127); break;
    case NC_U8: ((uint8_t *)p)[i] = (uint8_t)rounded(v, 0, 255); break;
    case NC_BOOL: ((uint8_t *)p)[i] = v != 0; break;
    case NC_I16: ((int16_t *)p)[i] = (int16_t)rounded(v, -32768, 32767); break;
    case NC_I32: ((int32_t *)p)[i] = (int32_t)rounded(v, -2147483648.0, 2147483647.0); break;
    case NC_I64: ((int64_t *)p)[i] = rounded(v, -0x1p63, 0x1.fffffffffffffp62); break;
    default: break;                                         /* blocks are written by quant/, never one element at a time */
    }
}

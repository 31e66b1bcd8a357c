/* ggml_blocks.c - Q8_0 and Q4_0 rows; the formulas stand in the header. Multiplication by the reciprocal, the order of
 * comparisons and the rounding (roundf: halves away from zero; truncation of x/d + 8.5) are those of ggml's reference, so that
 * files made here and there are equal byte for byte. */
#include "formats/ggml_blocks.h"
#include <math.h>

#define BLOCK 32

static void put_f16(uint8_t *p, uint16_t h) { p[0] = (uint8_t)h; p[1] = (uint8_t)(h >> 8); }
static uint16_t get_u16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }

static bool quantize_q8_0(const float *x, uint8_t *out)
{
    float most = 0;
    for (int j = 0; j < BLOCK; j++)
        most = fabsf(x[j]) > most ? fabsf(x[j]) : most;
    float d = most / 127.0f, inverse = d != 0 ? 1.0f / d : 0;
    if (!(d <= 65504.0f))
        return false;
    put_f16(out, nc_f32_to_f16(d));
    for (int j = 0; j < BLOCK; j++) {
        float q = x[j] * inverse;
        q = q > 127 ? 127 : q < -127 ? -127 : q == q ? q : 0;                  /* 1/d may be inf for denormal d */
        const int whole = (int)q;                                              /* roundf, as a loop that vectorizes: q - whole is exact */
        const float rest = q - (float)whole;
        out[2 + j] = (uint8_t)(int8_t)(whole + (rest >= 0.5f) - (rest <= -0.5f));
    }
    return true;
}

static bool quantize_q4_0(const float *x, uint8_t *out)
{
    float most = 0, extreme = 0;
    for (int j = 0; j < BLOCK; j++)
        if (most < fabsf(x[j])) {
            most = fabsf(x[j]);
            extreme = x[j];
        }
    float d = extreme / -8.0f, inverse = d != 0 ? 1.0f / d : 0;
    if (!(fabsf(d) <= 65504.0f))
        return false;
    put_f16(out, nc_f32_to_f16(d));
    for (int j = 0; j < BLOCK / 2; j++) {
        float low = x[j] * inverse + 8.5f, high = x[j + BLOCK / 2] * inverse + 8.5f;
        uint8_t a = (uint8_t)(low < 15 ? low > 0 ? low : 0 : 15), b = (uint8_t)(high < 15 ? high > 0 ? high : 0 : 15);
        out[2 + j] = (uint8_t)(a | b << 4);
    }
    return true;
}

static bool all_finite(const float *x, int n)
{
    for (int j = 0; j < n; j++)
        if (!isfinite(x[j]))
            return false;
    return true;
}

static int quantize_blocks(nc_dtype to, const float *x, int64_t n, uint8_t *out, nc_error *e)
{
    size_t step = (size_t)nc_dtype_get(to)->bytes;
    for (int64_t i = 0; i < n; i += BLOCK, out += step)
        if (!all_finite(x + i, BLOCK) || !(to == NC_Q8_0 ? quantize_q8_0(x + i, out) : quantize_q4_0(x + i, out)))
            return nc_fail(e, NC_EINVAL, "values %lld to %lld hold NaN, infinity or more than a half-precision scale can; they cannot become %s",
                           (long long)i, (long long)i + BLOCK - 1, nc_dtype_name(to));
    return 0;
}

int nc_ggml_quantize(nc_dtype to, const float *x, int64_t n, void *out, nc_error *e)
{
    uint16_t h;
    switch (to) {
    case NC_F32:
        memcpy(out, x, (size_t)n * sizeof *x);
        return 0;
    case NC_F16:
    case NC_BF16:
        for (int64_t i = 0; i < n; i++) {
            h = to == NC_F16 ? nc_f32_to_f16(x[i]) : nc_f32_to_bf16(x[i]);
            memcpy((char *)out + 2 * i, &h, 2);
        }
        return 0;
    case NC_Q8_0:
    case NC_Q4_0:
        if (n % BLOCK)
            return nc_fail(e, NC_ESHAPE, "%lld values do not fill blocks of 32; keep this tensor in F16 or F32", (long long)n);
        return quantize_blocks(to, x, n, out, e);
    default:
        return nc_fail(e, NC_EUNSUPPORTED, "cannot convert to %s; F32, F16, BF16, Q8_0 and Q4_0 are known", nc_dtype_name(to));
    }
}

static void dequantize_q8_0(const uint8_t *b, float *out)
{
    float d = nc_f16_to_f32(get_u16(b));
    for (int j = 0; j < BLOCK; j++)
        out[j] = (float)(int8_t)b[2 + j] * d;
}

static void dequantize_q4_0(const uint8_t *b, float *out)
{
    float d = nc_f16_to_f32(get_u16(b));
    for (int j = 0; j < BLOCK / 2; j++) {
        out[j] = (float)((b[2 + j] & 15) - 8) * d;
        out[j + BLOCK / 2] = (float)((b[2 + j] >> 4) - 8) * d;
    }
}

int nc_ggml_dequantize(nc_dtype from, const void *blocks, int64_t n, float *out, nc_error *e)
{
    const uint8_t *b = blocks;
    switch (from) {
    case NC_F32:
        memcpy(out, b, (size_t)n * sizeof *out);
        return 0;
    case NC_F16:
    case NC_BF16:
        for (int64_t i = 0; i < n; i++)
            out[i] = from == NC_F16 ? nc_f16_to_f32(get_u16(b + 2 * i)) : nc_bf16_to_f32(get_u16(b + 2 * i));
        return 0;
    case NC_Q8_0:
    case NC_Q4_0:
        if (n % BLOCK)
            return nc_fail(e, NC_ESHAPE, "%lld values are no whole blocks of 32", (long long)n);
        for (int64_t i = 0; i < n; i += BLOCK, b += nc_dtype_get(from)->bytes)
            from == NC_Q8_0 ? dequantize_q8_0(b, out + i) : dequantize_q4_0(b, out + i);
        return 0;
    default:
        return nc_fail(e, NC_EUNSUPPORTED, "cannot convert from %s; F32, F16, BF16, Q8_0 and Q4_0 are known", nc_dtype_name(from));
    }
}

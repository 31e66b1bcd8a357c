/* gemm_blocks.c - the product of bf16 rows by quantized panels, block by block. Scalar; every level gives these bits.
 *
 *   step = 2^(exponent of max|a| - 11), n = rint(a / step);   C = fma(step * (sum of n * q), scale, C), block after block
 *
 * The sum is at most 32 * 4080 * 128 < 2^24, so it is exact in an int32 and in an f32.
 */
#include <math.h>
#include "kernels/ref/gemm.h"

void nc_ref_gemm_block_step(float max, float *step, float *inverse)
{
    uint32_t bits;
    memcpy(&bits, &max, 4);
    int exponent = (int)(bits >> 23) - 127;
    bool zero = max < 0x1p-100f, none = !(max < 0x1p100f);
    *step = zero ? 0 : none ? NAN : ldexpf(1, exponent - 11);
    *inverse = zero || none ? 0 : ldexpf(1, 11 - exponent);
}

void nc_ref_gemm_blocks_a(const nc_gemm_block_rows *out, const uint16_t *a, int64_t lda, bool transposed, int64_t row, int rows, int64_t k)
{
    for (int64_t i = 0; i < k / NC_GEMM_QK; i++)
        for (int r = 0; r < rows; r++) {
            int8_t *q = out->q + (i * rows + r) * 2 * NC_GEMM_QK;
            float v[NC_GEMM_QK], max = 0, inverse;
            int32_t sum = 0;
            for (int j = 0; j < NC_GEMM_QK; j++) {
                int64_t p = i * NC_GEMM_QK + j;
                v[j] = nc_bf16_to_f32(a[transposed ? p * lda + row + r : (row + r) * lda + p]);
                max = isnan(v[j]) || fabsf(v[j]) > max ? fabsf(v[j]) : max;
            }
            nc_ref_gemm_block_step(max, &out->step[i * rows + r], &inverse);
            for (int j = 0; j < NC_GEMM_QK; j++) {
                int n = inverse == 0 ? 0 : (int)lrintf(v[j] * inverse);
                q[j] = (int8_t)(n >> 6);
                q[NC_GEMM_QK + j] = n & 63;
                sum += n;
            }
            out->offset[i * rows + r] = -out->bias * sum;
        }
}

static float load(nc_dtype t, const void *p, int64_t i) { return t == NC_F32 ? ((const float *)p)[i] : nc_bf16_to_f32(((const uint16_t *)p)[i]); }

static int32_t block_dot(const int8_t *p, nc_gemm_kind kind, const uint8_t *q, int column)
{
    int32_t sum = 0;
    for (int k = 0; k < NC_GEMM_QK; k++) {
        int w = kind == NC_GEMM_Q8_0 ? (int8_t)q[(k / 4 * 16 + column) * 4 + k % 4] : (q[(k / 8 * 16 + column) * 4 + k % 4] >> (k % 8 & 4) & 15) - 8;
        sum += (p[k] * 64 + p[NC_GEMM_QK + k]) * w;
    }
    return sum;
}

void nc_ref_gemm_blocks_tile(const nc_gemm_out *o, const nc_gemm_block_rows *a, int rows, nc_gemm_kind kind, const void *panel, int64_t k)
{
    const uint16_t *scale = panel;
    const uint8_t *q = (const uint8_t *)panel + nc_gemm_scale_bytes(k);
    const int64_t block = kind == NC_GEMM_Q8_0 ? 512 : 256;
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < o->columns; j++) {
            int64_t at = r * o->ldc + j;
            float sum = o->accumulate ? load(o->c_dtype, o->c, at) : 0;
            for (int64_t i = 0; i < k / NC_GEMM_QK; i++)
                sum = fmaf(a->step[i * rows + r] * (float)block_dot(a->q + (i * rows + r) * 2 * NC_GEMM_QK, kind, q + i * block, j), nc_f16_to_f32(scale[i * 16 + j]), sum);
            sum += o->bias ? load(o->bias_dtype, o->bias, j) : 0;
            if (o->c_dtype == NC_F32)
                ((float *)o->c)[at] = sum;
            else
                ((uint16_t *)o->c)[at] = nc_f32_to_bf16(sum);
        }
}

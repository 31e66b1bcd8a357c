/* gemm.c - the definition of the product, and scalar twins of its pieces (packing, panels, tiles).
 *
 *   C[i,j] (+)= sum over k of A[i,k] * W[j,k] + bias[j],  the sum in double, rounded once
 *
 * Layouts are those of kernels/gemm.h.
 */
#include "kernels/ref/gemm.h"

void nc_ref_gemm_f64(double *c, int64_t ldc, const double *a, int64_t as, int64_t ak, const double *w, int64_t ws, int64_t wk,
                     int64_t m, int64_t n, int64_t k, const double *bias, bool accumulate)
{
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = accumulate ? c[i * ldc + j] : 0;
            for (int64_t p = 0; p < k; p++)
                sum += a[i * as + p * ak] * w[j * ws + p * wk];
            c[i * ldc + j] = bias ? sum + bias[j] : sum;
        }
}

void nc_ref_gemm_f32(float *c, int64_t ldc, const float *a, int64_t as, int64_t ak, const float *w, int64_t ws, int64_t wk,
                     int64_t m, int64_t n, int64_t k, const float *bias, bool accumulate)
{
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = accumulate ? c[i * ldc + j] : 0;
            for (int64_t p = 0; p < k; p++)
                sum += (double)a[i * as + p * ak] * w[j * ws + p * wk];
            c[i * ldc + j] = (float)(bias ? sum + bias[j] : sum);
        }
}

static float load(nc_dtype t, const void *p, int64_t i)
{
    return t == NC_F32 ? ((const float *)p)[i] : nc_bf16_to_f32(((const uint16_t *)p)[i]);
}

static void pack_a_f32(float *out, const void *a, nc_dtype dtype, int64_t lda, bool transposed, int64_t row, int rows, int64_t k)
{
    for (int64_t p = 0; p < k; p++)
        for (int r = 0; r < rows; r++)
            *out++ = load(dtype, a, transposed ? p * lda + row + r : (row + r) * lda + p);
}

static void pack_a_bf16(uint16_t *out, const uint16_t *a, int64_t lda, bool transposed, int64_t row, int rows, int64_t k)
{
    for (int64_t p = 0; p < k; p += 2)
        for (int r = 0; r < rows; r++)
            for (int t = 0; t < 2; t++)
                *out++ = p + t >= k ? 0 : a[transposed ? (p + t) * lda + row + r : (row + r) * lda + p + t];
}

static void tile_f32(const nc_gemm_out *o, const float *a, int rows, const float *b, int panels, int64_t k)
{
    (void)panels;
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < o->columns; j++) {
            const float *panel = b + (j / NC_GEMM_PANEL) * k * NC_GEMM_PANEL + j % NC_GEMM_PANEL;
            int64_t at = r * o->ldc + j;
            double sum = o->accumulate ? load(o->c_dtype, o->c, at) : 0;
            for (int64_t p = 0; p < k; p++)
                sum += (double)a[p * rows + r] * panel[p * NC_GEMM_PANEL];
            if (o->bias)
                sum += load(o->bias_dtype, o->bias, j);
            if (o->c_dtype == NC_F32)
                ((float *)o->c)[at] = (float)sum;
            else
                ((uint16_t *)o->c)[at] = nc_f32_to_bf16((float)sum);
        }
}

float nc_ref_gemm_quant_value(nc_gemm_kind kind, const void *panel, int64_t panel_k, int64_t k, int column)
{
    const uint16_t *scale = panel;
    const uint8_t *q = (const uint8_t *)panel + nc_gemm_scale_bytes(panel_k);
    float d = nc_f16_to_f32(scale[k / NC_GEMM_QK * 16 + column]);
    if (kind == NC_GEMM_Q8_0)
        return d * (float)(int8_t)q[(k / 4 * 16 + column) * 4 + k % 4];
    return d * (float)((q[(k / 8 * 16 + column) * 4 + k % 4] >> (k % 8 & 4) & 15) - 8);
}

static float panel_value(nc_gemm_kind kind, const void *panel, int64_t panel_k, int64_t k, int column)
{
    switch (kind) {
    case NC_GEMM_F32:  return ((const float *)panel)[k * NC_GEMM_PANEL + column];
    case NC_GEMM_BF16: return nc_bf16_to_f32(((const uint16_t *)panel)[(k / 2 * NC_GEMM_PANEL + column) * 2 + k % 2]);
    default:           return nc_ref_gemm_quant_value(kind, panel, panel_k, k, column);
    }
}

static void panel_f32(float *out, nc_gemm_kind kind, const void *panel, int64_t k, bool round)
{
    for (int64_t p = 0; p < k; p++)
        for (int j = 0; j < NC_GEMM_PANEL; j++) {
            float v = panel_value(kind, panel, k, p, j);
            *out++ = round ? nc_bf16_to_f32(nc_f32_to_bf16(v)) : v;
        }
}

static float source_value(const nc_gemm_source *s, int64_t row, int64_t k)
{
    int64_t at = s->transposed ? k * s->stride + row : row * s->stride + k;
    switch (s->dtype) {
    case NC_F32:  return ((const float *)s->data)[at];
    case NC_F64:  return (float)((const double *)s->data)[at];
    case NC_BF16: return nc_bf16_to_f32(((const uint16_t *)s->data)[at]);
    default:      return nc_f16_to_f32(((const uint16_t *)s->data)[at]);
    }
}

static void pack_f32(float *out, const nc_gemm_source *s, int64_t row, int valid, int64_t k, bool stream)
{
    (void)stream;
    for (int64_t p = 0; p < k; p++)
        for (int j = 0; j < NC_GEMM_PANEL; j++)
            *out++ = j < valid ? source_value(s, row + j, p) : 0;
}

static void pack_bf16(uint16_t *out, const nc_gemm_source *s, int64_t row, int valid, int64_t k, bool stream)
{
    (void)stream;
    for (int64_t p = 0; p < k; p += 2)
        for (int j = 0; j < NC_GEMM_PANEL; j++)
            for (int t = 0; t < 2; t++) {
                bool live = j < valid && p + t < k;
                if (live && s->dtype == NC_BF16)
                    *out++ = ((const uint16_t *)s->data)[s->transposed ? (p + t) * s->stride + row + j : (row + j) * s->stride + p + t];
                else
                    *out++ = live ? nc_f32_to_bf16(source_value(s, row + j, p + t)) : 0;
            }
}

void nc_ref_gemm_table(struct nc_gemm_kernels *t)
{
    *t = (struct nc_gemm_kernels){
        .isa = NC_ISA_SCALAR, .rows = { 8, 8 }, .panels = { 2, 2 }, .k_step = 2,
        .pack_a_f32 = pack_a_f32, .pack_a_bf16 = pack_a_bf16, .tile_f32 = tile_f32,
        .panel_f32 = panel_f32, .pack_f32 = pack_f32, .pack_bf16 = pack_bf16,
        .blocks_rows = 8, .blocks_a = nc_ref_gemm_blocks_a, .blocks_tile = nc_ref_gemm_blocks_tile,
    };
}

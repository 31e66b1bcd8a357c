/* gemm.h - the scalar twins of the product's pieces: what every ISA's table starts from. */
#ifndef NC_KERNELS_REF_GEMM_H
#define NC_KERNELS_REF_GEMM_H
#include "kernels/gemm.h"

void nc_ref_gemm_table(struct nc_gemm_kernels *t);
/* One value of a quantized panel, in f32: column 0..15, k. */
float nc_ref_gemm_quant_value(nc_gemm_kind kind, const void *panel, int64_t panel_k, int64_t k, int column);

/* How one block of A becomes integers : both 0 when it counts as zero, step NaN when as no number. */
void nc_ref_gemm_block_step(float max, float *step, float *inverse);
/* Products by blocks (ref/gemm_blocks.c): the definition, whose bits every level gives. */
void nc_ref_gemm_blocks_a(const nc_gemm_block_rows *out, const uint16_t *a, int64_t lda, bool transposed, int64_t row, int rows, int64_t k);
void nc_ref_gemm_blocks_tile(const nc_gemm_out *o, const nc_gemm_block_rows *a, int rows, nc_gemm_kind kind, const void *panel, int64_t k);
#endif

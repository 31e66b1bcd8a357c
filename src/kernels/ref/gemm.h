/* gemm.h - the scalar twins of the product's pieces: what every ISA's table starts from. */
#ifndef NC_KERNELS_REF_GEMM_H
#define NC_KERNELS_REF_GEMM_H
#include "kernels/gemm.h"

void nc_ref_gemm_table(struct nc_gemm_kernels *t);
/* One value of a quantized panel, in f32: column 0..15, k. */
float nc_ref_gemm_quant_value(nc_gemm_kind kind, const void *panel, int64_t panel_k, int64_t k, int column);
#endif

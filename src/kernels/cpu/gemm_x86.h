/* gemm_x86.h - the x86-64 levels of the product's table, each overwriting what the level below filled. */
#ifndef NC_KERNELS_CPU_GEMM_X86_H
#define NC_KERNELS_CPU_GEMM_X86_H
#include "kernels/gemm.h"

void nc_gemm_avx2_table(struct nc_gemm_kernels *t);
void nc_gemm_avx512_table(struct nc_gemm_kernels *t);
void nc_gemm_avx512bf16_table(struct nc_gemm_kernels *t);
void nc_gemm_amx_table(struct nc_gemm_kernels *t);
/* Their parts that take blocks of integers (gemm_blocks_<isa>.c). */
void nc_gemm_blocks_avx2_table(struct nc_gemm_kernels *t);
void nc_gemm_blocks_avx512_table(struct nc_gemm_kernels *t);
void nc_gemm_blocks_amx_table(struct nc_gemm_kernels *t);
void nc_gemm_few_amx_table(struct nc_gemm_kernels *t);    /* its part for a few rows, by weights packed or as stored (gemm_few_amx.c) */

static inline void nc_gemm_x86_table(struct nc_gemm_kernels *t, nc_isa isa)
{
    if (isa < NC_ISA_AVX2)
        return;
    nc_gemm_avx2_table(t);
    if (isa < NC_ISA_AVX512)
        return;
    nc_gemm_avx512_table(t);
    if (isa < NC_ISA_AVX512BF16)
        return;
    nc_gemm_avx512bf16_table(t);
    if (isa < NC_ISA_AMX)
        return;
    nc_gemm_amx_table(t);
}
#endif

/* head_avx512bf16.c - head_body.h compiled for AVX512_BF16. */
#include "kernels/cpu/head_body.h"

void nc_head_avx512bf16(struct nc_head_kernels *t) { *t = (struct nc_head_kernels){ logits, exps, rescale, gradient }; }

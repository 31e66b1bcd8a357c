/* norm_avx512bf16.c - norm.h for AVX512_BF16: cpu/norm_body.h compiled with its flags, which round to bf16 in one instruction. */
#define ISA(name) name##_avx512bf16
#include "kernels/cpu/norm_body.h"

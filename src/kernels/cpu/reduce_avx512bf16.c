/* reduce_avx512bf16.c - reduce.h for AVX512_BF16: cpu/reduce_body.h compiled with its flags. */
#define ISA(name) name##_avx512bf16
#include "kernels/cpu/reduce_body.h"

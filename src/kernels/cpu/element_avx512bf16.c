/* element_avx512bf16.c - element.h for AVX512_BF16: cpu/element_body.h compiled with its flags, which round to bf16 in one instruction. */
#define ISA(name) name##_avx512bf16
#include "kernels/cpu/element_body.h"

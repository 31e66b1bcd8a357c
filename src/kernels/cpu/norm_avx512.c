/* norm_avx512.c - norm.h for AVX512: cpu/norm_body.h compiled with its flags. */
#define ISA(name) name##_avx512
#include "kernels/cpu/norm_body.h"

/* batch_norm_avx512.c - batch_norm.h for AVX512: cpu/batch_norm_body.h compiled with its flags. */
#define ISA(name) name##_avx512
#include "kernels/cpu/batch_norm_body.h"

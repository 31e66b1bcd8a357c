/* batch_norm_avx2.c - batch_norm.h for AVX2: cpu/batch_norm_body.h compiled with its flags. */
#define ISA(name) name##_avx2
#include "kernels/cpu/batch_norm_body.h"

/* norm_avx2.c - norm.h for AVX2: cpu/norm_body.h compiled with its flags. */
#define ISA(name) name##_avx2
#include "kernels/cpu/norm_body.h"

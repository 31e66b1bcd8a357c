/* reduce_avx512.c - reduce.h for AVX-512: cpu/reduce_body.h compiled with its flags. */
#define ISA(name) name##_avx512
#include "kernels/cpu/reduce_body.h"

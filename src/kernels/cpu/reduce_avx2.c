/* reduce_avx2.c - reduce.h for AVX2: cpu/reduce_body.h compiled with its flags. */
#define ISA(name) name##_avx2
#include "kernels/cpu/reduce_body.h"

/* index_avx2.c - index.h for AVX2: cpu/index_body.h compiled with its flags. */
#define ISA(name) name##_avx2
#include "kernels/cpu/index_body.h"

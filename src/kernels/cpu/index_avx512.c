/* index_avx512.c - index.h for AVX512: cpu/index_body.h compiled with its flags. */
#define ISA(name) name##_avx512
#include "kernels/cpu/index_body.h"

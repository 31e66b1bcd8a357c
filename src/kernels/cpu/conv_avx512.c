/* conv_avx512.c - conv.h for AVX512: cpu/conv_body.h compiled with its flags. */
#define ISA(name) name##_avx512
#include "kernels/cpu/conv_body.h"

/* conv_avx2.c - conv.h for AVX2: cpu/conv_body.h compiled with its flags. */
#define ISA(name) name##_avx2
#include "kernels/cpu/conv_body.h"

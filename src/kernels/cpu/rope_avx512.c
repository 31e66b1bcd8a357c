/* rope_avx512.c - rope.h for AVX512: cpu/rope_body.h compiled with its flags. */
#define ISA(name) name##_avx512
#include "kernels/cpu/rope_body.h"

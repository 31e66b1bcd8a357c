/* rope_avx2.c - rope.h for AVX2: cpu/rope_body.h compiled with its flags. */
#define ISA(name) name##_avx2
#include "kernels/cpu/rope_body.h"

/* recurrent_avx2.c - recurrent.h for AVX2: cpu/recurrent_body.h compiled with its flags. */
#define ISA(name) name##_avx2
#include "kernels/cpu/recurrent_body.h"

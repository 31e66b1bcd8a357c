/* recurrent_avx512.c - recurrent.h for AVX-512: cpu/recurrent_body.h compiled with its flags. */
#define ISA(name) name##_avx512
#include "kernels/cpu/recurrent_body.h"

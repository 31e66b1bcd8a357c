/* optim_avx512.c - optim.h for AVX-512: cpu/optim_body.h compiled with its flags. */
#define ISA(name) name##_avx512
#include "kernels/cpu/optim_body.h"

/* optim_avx2.c - optim.h for AVX2: cpu/optim_body.h compiled with its flags. */
#define ISA(name) name##_avx2
#include "kernels/cpu/optim_body.h"

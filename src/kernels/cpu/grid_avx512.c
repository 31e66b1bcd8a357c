/* grid_avx512.c - grid.h for AVX512: cpu/grid_body.h compiled with its flags. */
#define ISA(name) name##_avx512
#include "kernels/cpu/grid_body.h"

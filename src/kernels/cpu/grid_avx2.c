/* grid_avx2.c - grid.h for AVX2: cpu/grid_body.h compiled with its flags. */
#define ISA(name) name##_avx2
#include "kernels/cpu/grid_body.h"

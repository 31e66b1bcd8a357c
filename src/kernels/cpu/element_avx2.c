/* element_avx2.c - element.h for AVX2: cpu/element_body.h compiled with its flags. */
#define ISA(name) name##_avx2
#include "kernels/cpu/element_body.h"

/* element_avx512.c - element.h for AVX512: cpu/element_body.h compiled with its flags. */
#define ISA(name) name##_avx512
#include "kernels/cpu/element_body.h"

/* element.c - the table of element.h: references, then twins upward. */
#include "kernels/element.h"

#include <math.h>

NC_FAMILY_FITS(element);

void nc_element_init(struct nc_element_kernels *t, nc_isa isa)
{
    *t = nc_ref_element;
#if defined(__x86_64__)
    if (isa < NC_ISA_AVX2)
        return;
    nc_element_avx2(t);
    if (isa < NC_ISA_AVX512)
        return;
    nc_element_avx512(t);
    if (isa < NC_ISA_AVX512BF16)
        return;
    nc_element_avx512bf16(t);
#else
    (void)isa;
#endif
}

/* Lanes of cpu/simd_math.h's v_sincos beyond its range: s holds the angle on entry. */
void nc_simd_sincos_huge(float *s, float *c, int n);
void nc_simd_sincos_huge(float *s, float *c, int n)
{
    for (int i = 0; i < n; i++) {
        double x = s[i];
        s[i] = (float)sin(x);
        c[i] = (float)cos(x);
    }
}

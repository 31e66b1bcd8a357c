/* norm.c - the table of norm.h: references, then twins upward. */
#include "kernels/norm.h"

NC_FAMILY_FITS(norm);

void nc_norm_init(struct nc_norm_kernels *t, nc_isa isa)
{
    *t = nc_ref_norm;
#if defined(__x86_64__)
    if (isa < NC_ISA_AVX2)
        return;
    nc_norm_avx2(t);
    if (isa < NC_ISA_AVX512)
        return;
    nc_norm_avx512(t);
    if (isa < NC_ISA_AVX512BF16)
        return;
    nc_norm_avx512bf16(t);
#else
    (void)isa;
#endif
}


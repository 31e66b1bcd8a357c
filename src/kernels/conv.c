/* conv.c - the table of conv.h: references, then twins upward. */
#include "kernels/conv.h"

NC_FAMILY_FITS(conv);

void nc_conv_init(struct nc_conv_kernels *t, nc_isa isa)
{
    *t = nc_ref_conv;
#if defined(__x86_64__)
    if (isa < NC_ISA_AVX2)
        return;
    nc_conv_avx2(t);
    if (isa < NC_ISA_AVX512)
        return;
    nc_conv_avx512(t);
#else
    (void)isa;
#endif
}


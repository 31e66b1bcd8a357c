/* optim.c - the table of optim.h: references, then twins upward. */
#include "kernels/optim.h"

NC_FAMILY_FITS(optim);

void nc_optim_init(struct nc_optim_kernels *t, nc_isa isa)
{
    *t = nc_ref_optim;
#if defined(__x86_64__)
    if (isa < NC_ISA_AVX2)
        return;
    nc_optim_avx2(t);
    if (isa < NC_ISA_AVX512)
        return;
    nc_optim_avx512(t);
#else
    (void)isa;
#endif
}

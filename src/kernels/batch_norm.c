/* batch_norm.c - the table of batch_norm.h: references, then twins upward. */
#include "kernels/batch_norm.h"

NC_FAMILY_FITS(batch_norm);

void nc_batch_norm_init(struct nc_batch_norm_kernels *t, nc_isa isa)
{
    *t = nc_ref_batch_norm;
#if defined(__x86_64__)
    if (isa < NC_ISA_AVX2)
        return;
    nc_batch_norm_avx2(t);
    if (isa < NC_ISA_AVX512)
        return;
    nc_batch_norm_avx512(t);
#else
    (void)isa;
#endif
}

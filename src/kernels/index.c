/* index.c - the table of index.h: references, then twins upward. */
#include "kernels/index.h"

NC_FAMILY_FITS(index);

void nc_index_init(struct nc_index_kernels *t, nc_isa isa)
{
    *t = nc_ref_index;
#if defined(__x86_64__)
    if (isa < NC_ISA_AVX2)
        return;
    nc_index_avx2(t);
    if (isa < NC_ISA_AVX512)
        return;
    nc_index_avx512(t);
#else
    (void)isa;
#endif
}


/* reduce.c - the table of reduce.h: references, then twins upward. */
#include "kernels/reduce.h"

NC_FAMILY_FITS(reduce);

void nc_reduce_init(struct nc_reduce_kernels *t, nc_isa isa)
{
    *t = nc_ref_reduce;
#if defined(__x86_64__)
    if (isa < NC_ISA_AVX2)
        return;
    nc_reduce_avx2(t);
    if (isa < NC_ISA_AVX512)
        return;
    nc_reduce_avx512(t);
    if (isa < NC_ISA_AVX512BF16)
        return;
    nc_reduce_avx512bf16(t);
#else
    (void)isa;
#endif
}

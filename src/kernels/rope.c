/* rope.c - the table of rope.h: references, then twins upward. */
#include "kernels/rope.h"

NC_FAMILY_FITS(rope);

void nc_rope_init(struct nc_rope_kernels *t, nc_isa isa)
{
    *t = nc_ref_rope;
#if defined(__x86_64__)
    if (isa < NC_ISA_AVX2)
        return;
    nc_rope_avx2(t);
    if (isa < NC_ISA_AVX512)
        return;
    nc_rope_avx512(t);
    if (isa < NC_ISA_AVX512BF16)
        return;
    nc_rope_avx512bf16(t);
#else
    (void)isa;
#endif
}


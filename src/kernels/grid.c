/* grid.c - the table of grid.h: references, then twins upward. */
#include "kernels/grid.h"

NC_FAMILY_FITS(grid);

void nc_grid_init(struct nc_grid_kernels *t, nc_isa isa)
{
    *t = nc_ref_grid;
#if defined(__x86_64__)
    if (isa < NC_ISA_AVX2)
        return;
    nc_grid_avx2(t);
    if (isa < NC_ISA_AVX512)
        return;
    nc_grid_avx512(t);
#else
    (void)isa;
#endif
}

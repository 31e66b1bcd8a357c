/* gemm_amx.h - what the AMX files of the product share: a row of two panels' finished sums on its way to C. */
#ifndef NC_KERNELS_CPU_GEMM_AMX_H
#define NC_KERNELS_CPU_GEMM_AMX_H
#include "kernels/cpu/amx_tiles.h"
#include "kernels/cpu/gemm_avx512.h"

/* One row of finished sums, in C's type. VCVTNE2PS2BF16 takes denormals as zero; so did the tiles. */
NC_INLINE void nc_amx_store_row(const nc_gemm_out *o, int row, __m512 low, __m512 high, bool stream)
{
    if (o->bias) {
        low = _mm512_add_ps(low, nc_tile_bias(o, 0));
        high = _mm512_add_ps(high, nc_tile_bias(o, 1));
    }
    if (o->c_dtype == NC_BF16) {
        uint16_t *c = (uint16_t *)o->c + row * o->ldc;
        __m512i v = (__m512i)_mm512_cvtne2ps_pbh(high, low);
        if (stream)
            _mm512_stream_si512((void *)c, v);
        else
            _mm512_mask_storeu_epi16(c, nc_mask32(o->columns), v);
        return;
    }
    float *c = (float *)o->c + row * o->ldc;
    if (stream) {
        _mm512_stream_ps(c, low);
        if (o->columns > 16)
            _mm512_stream_ps(c + 16, high);
    } else {
        _mm512_mask_storeu_ps(c, nc_mask16(o->columns), low);
        _mm512_mask_storeu_ps(c + 16, nc_mask16(o->columns - 16), high);
    }
}
#endif

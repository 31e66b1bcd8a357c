/* ggml_blocks.h - rows of ggml's block formats: 32 values a block, bit-equal to ggml's reference quantizers.
 *
 *   Q8_0  f16 d, i8 q[32]    d = max|x| / 127,          q = round(x / d),                     x' = d q           34 bytes
 *   Q4_0  f16 d, u4 q[32]    d = (x of largest |x|)/-8, q = min(15, floor(x / d + 8.5)),      x' = d (q - 8)     18 bytes
 *         byte j holds q[j] in its low and q[j + 16] in its high half
 *
 * 1/d is taken from the f32 d; what is stored is d rounded to f16. Source: ggml, ggml-quants.c, the *_ref functions.
 */
#ifndef NC_FORMATS_GGML_BLOCKS_H
#define NC_FORMATS_GGML_BLOCKS_H
#include "kernels/dtype.h"

/* n values, a multiple of 32 (NC_ESHAPE). A value that is not finite, or too large for the f16 scale, is NC_EINVAL. to: NC_F32,
 * NC_F16, NC_BF16 (those take any n), NC_Q8_0, NC_Q4_0; out has nc_dtype_bytes(to, n) bytes. */
int nc_ggml_quantize(nc_dtype to, const float *x, int64_t n, void *out, nc_error *e);
int nc_ggml_dequantize(nc_dtype from, const void *blocks, int64_t n, float *out, nc_error *e);
#endif

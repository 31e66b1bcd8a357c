/* index_body.h - index.h over vectors; included by index_avx2.c and index_avx512.c, which define ISA(name). */
#include "kernels/cpu/simd.h"
#include "kernels/index.h"

NC_INLINE void axpy(bool h, float *acc, const void *x, float s, int64_t n)
{
    const vf k = v_set(s);
    int64_t i = 0;

    for (; i + NC_VL <= n; i += NC_VL)
        v_store(acc + i, v_fma(k, v_get(h, x, i), v_load(acc + i)));
    if (i < n)
        v_store_n(acc + i, v_fma(k, v_get_n(h, x, i, n - i), v_load_n(acc + i, n - i)), n - i);
}

NC_INLINE double dot(bool h, const void *a, const void *b, int64_t n)
{
    vf s = v_zero(), t = v_zero();
    int64_t i = 0;

    for (; i + 2 * NC_VL <= n; i += 2 * NC_VL) {
        s = v_fma(v_get(h, a, i), v_get(h, b, i), s);
        t = v_fma(v_get(h, a, i + NC_VL), v_get(h, b, i + NC_VL), t);
    }
    if (i + NC_VL <= n) {
        s = v_fma(v_get(h, a, i), v_get(h, b, i), s);
        i += NC_VL;
    }
    if (i < n)
        t = v_fma(v_get_n(h, a, i, n - i), v_get_n(h, b, i, n - i), t);
    return (double)v_sum(v_add(s, t));
}

static void axpy_f32(void *acc, const void *x, double s, int64_t n) { axpy(false, acc, x, (float)s, n); }
static void axpy_bf16(void *acc, const void *x, double s, int64_t n) { axpy(true, acc, x, (float)s, n); }
static double dot_f32(const void *a, const void *b, int64_t n) { return dot(false, a, b, n); }
static double dot_bf16(const void *a, const void *b, int64_t n) { return dot(true, a, b, n); }

void ISA(nc_index)(struct nc_index_kernels *t)
{
    t->axpy[NC_SLOT_F32] = axpy_f32, t->axpy[NC_SLOT_BF16] = axpy_bf16;
    t->dot[NC_SLOT_F32] = dot_f32, t->dot[NC_SLOT_BF16] = dot_bf16;
}

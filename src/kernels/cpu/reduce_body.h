/* reduce_body.h - sums and accumulation of reduce.h over vectors, in the order reduce.h states; included by reduce_avx2.c, reduce_avx512.c and
 * reduce_avx512bf16.c, which define ISA(name). Maxima and running sums stay with the reference.
 *
 * Columns are summed in strips of some vectors: rows may be pages apart, and what the hardware does not see coming in so short a run of lines is fetched.
 */
#include "kernels/cpu/simd.h"
#include "kernels/reduce.h"

enum { LANES = 32, ROWS = 32, STRIP = NC_VL / 2 };   /* lanes of a plain vector's sum; rows of a block; vectors of a strip: sums and blocks' sums in registers */
#define EACH(v, count) _Pragma("GCC unroll 8") for (int v = 0; v < (count); v++)

/* 32 lanes folded by halves: 32 to 16, 8, 4, 2, 1. */
NC_INLINE float fold(float *lane)
{
    for (int h = LANES / 2; h >= 1; h /= 2)
        for (int i = 0; i < h; i++)
            lane[i] += lane[i + h];
    return lane[0];
}

NC_INLINE float sum_vector(bool h, const void *x, int64_t n)
{
    enum { VECTORS = LANES / NC_VL };
    vf s[VECTORS];
    float lane[LANES];
    int64_t j = 0;

    EACH(k, VECTORS)
        s[k] = v_zero();
    for (; j + LANES <= n; j += LANES)
        EACH(k, VECTORS)
            s[k] = v_add(s[k], v_get(h, x, j + NC_VL * k));
    EACH(k, VECTORS)
        v_store(lane + NC_VL * k, s[k]);
    for (; j < n; j++)
        lane[j % LANES] += v_get1(h, x, j);
    return fold(lane);
}

enum { AHEAD = 12 };                                 /* rows: their runs of lines are fetched before the hardware sees them coming */
NC_INLINE void fetch(const char *p, const int64_t bytes)
{
    for (int64_t i = 0; i < bytes; i += 64)
        __builtin_prefetch(p + i);
}

/* vectors * NC_VL columns, all rows: blocks of 32 rows, then the blocks' sums. */
NC_INLINE void sum_strip(bool h, const int vectors, float *y, const void *x, int64_t n, int64_t stride)
{
    vf total[STRIP], block[STRIP];

    EACH(v, vectors)
        total[v] = v_zero();
    for (int64_t j = 0; j < n; j += ROWS) {
        int64_t end = j + ROWS < n ? j + ROWS : n;
        EACH(v, vectors)
            block[v] = v_zero();
        for (int64_t k = j; k < end; k++) {
            if (vectors > 1)
                fetch((const char *)x + (k + AHEAD) * stride * (h ? 2 : 4), vectors * NC_VL * (h ? 2 : 4));
            EACH(v, vectors)
                block[v] = v_add(block[v], v_get(h, x, k * stride + NC_VL * v));
        }
        EACH(v, vectors)
            total[v] = v_add(total[v], block[v]);
    }
    EACH(v, vectors)
        v_store(y + NC_VL * v, total[v]);
}

NC_INLINE float sum_column(bool h, const void *x, int64_t n, int64_t stride)
{
    float total = 0;

    for (int64_t j = 0; j < n; j += ROWS) {
        int64_t end = j + ROWS < n ? j + ROWS : n;
        float block = 0;
        for (int64_t k = j; k < end; k++)
            block += v_get1(h, x, k * stride);
        total += block;
    }
    return total;
}

NC_INLINE void sum_rows(bool h, float *y, const void *x, int64_t n, int64_t inner, int64_t stride)
{
    const int64_t size = h ? 2 : 4;
    const char *from = x;
    int64_t i = 0;

    if (inner == 1 && stride == 1) {
        *y = sum_vector(h, x, n);
        return;
    }
    for (; i + STRIP * NC_VL <= inner; i += STRIP * NC_VL)
        sum_strip(h, STRIP, y + i, from + i * size, n, stride);
    for (; i + NC_VL <= inner; i += NC_VL)
        sum_strip(h, 1, y + i, from + i * size, n, stride);
    for (; i < inner; i++)
        y[i] = sum_column(h, from + i * size, n, stride);
}

/* y += x; to: y's storage. */
NC_INLINE void add_rows(bool to, bool h, void *y, const void *x, int64_t n)
{
    int64_t i = 0;

    for (; i + NC_VL <= n; i += NC_VL)
        v_put(to, y, i, v_add(v_get(to, y, i), v_get(h, x, i)));
    if (i < n)
        v_put_n(to, y, i, v_add(v_get_n(to, y, i, n - i), v_get_n(h, x, i, n - i)), n - i);
}

static void sum_f32(void *y, const void *x, int64_t n, int64_t inner, int64_t stride) { sum_rows(false, y, x, n, inner, stride); }
static void sum_bf16(void *y, const void *x, int64_t n, int64_t inner, int64_t stride) { sum_rows(true, y, x, n, inner, stride); }
static void accumulate_f32(void *y, const void *x, int64_t n) { add_rows(false, false, y, x, n); }
static void accumulate_bf16(void *y, const void *x, int64_t n) { add_rows(false, true, y, x, n); }
static void add_bf16(void *y, const void *x, int64_t n) { add_rows(true, true, y, x, n); }

void ISA(nc_reduce)(struct nc_reduce_kernels *t)
{
    t->sum[NC_SLOT_F32] = sum_f32;
    t->sum[NC_SLOT_BF16] = sum_bf16;
    t->accumulate[NC_SLOT_F32] = t->add[NC_SLOT_F32] = accumulate_f32;
    t->accumulate[NC_SLOT_BF16] = accumulate_bf16;
    t->add[NC_SLOT_BF16] = add_bf16;
}

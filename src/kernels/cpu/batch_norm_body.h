/* batch_norm_body.h - batch_norm.h over vectors of columns; included by batch_norm_avx2.c and batch_norm_avx512.c, which define ISA(name). */
#include "kernels/batch_norm.h"
#include "kernels/cpu/simd.h"

NC_INLINE vf get(bool h, const void *p, int64_t i, int64_t n) { return n >= NC_VL ? v_get(h, p, i) : v_get_n(h, p, i, n); }
NC_INLINE vf load(const float *p, int64_t n) { return n >= NC_VL ? v_load(p) : v_load_n(p, n); }
NC_INLINE void put(bool h, void *p, int64_t i, vf a, int64_t n)
{
    if (n >= NC_VL)
        v_put(h, p, i, a);
    else
        v_put_n(h, p, i, a, n);
}
NC_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

NC_INLINE void add_up(double *total, vf sum)
{
    float part[NC_VL];
    v_store(part, sum);
    for (int i = 0; i < NC_VL; i++)
        total[i] += (double)part[i];
}

/* What is summed of each row: x, (x - mean)^2, or dy and dy (x - mean). */
enum { SUM, SQUARES, DOTS };
NC_INLINE void sums(bool h, int what, double *total, double *dots, const void *x, const void *dy, vf mean, int64_t rows, int64_t at, int64_t n, int64_t stride)
{
    for (int64_t from = 0; from < rows; from += NC_BATCH_NORM_ROWS) {
        vf sum = v_zero(), dot = v_zero();
        for (int64_t i = from; i < least(rows, from + NC_BATCH_NORM_ROWS); i++) {
            const vf v = get(h, x, i * stride + at, n), d = v_sub(v, mean);
            if (what == SUM)
                sum = v_add(sum, v);
            else if (what == SQUARES)
                sum = v_fma(d, d, sum);
            else {
                const vf g = get(h, dy, i * stride + at, n);
                sum = v_add(sum, g);
                dot = v_fma(g, d, dot);
            }
        }
        add_up(total, sum);
        if (what == DOTS)
            add_up(dots, dot);
    }
}

NC_INLINE void moments_body(bool h, float *mean, float *var, const void *x, int64_t rows, int64_t columns, int64_t stride)
{
    for (int64_t c = 0; c < columns; c += NC_VL) {
        double total[NC_VL] = { 0 }, squares[NC_VL] = { 0 };
        float m[NC_VL] = { 0 };
        const int64_t n = columns - c;
        sums(h, SUM, total, NULL, x, NULL, v_zero(), rows, c, n, stride);
        for (int i = 0; i < NC_VL && rows; i++)
            m[i] = (float)(total[i] / (double)rows);
        sums(h, SQUARES, squares, NULL, x, NULL, v_load(m), rows, c, n, stride);
        for (int64_t i = 0; i < least(n, NC_VL); i++) {
            mean[c + i] = m[i];
            var[c + i] = rows ? (float)(squares[i] / (double)rows) : 0;
        }
    }
}

NC_INLINE void apply_body(bool h, void *y, const void *x, const float *scale, const float *shift, int64_t rows, int64_t columns)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t c = 0; c < columns; c += NC_VL) {
            const int64_t n = columns - c, at = i * columns + c;
            put(h, y, at, v_fma(get(h, x, at, n), load(scale + c, n), load(shift + c, n)), n);
        }
}

NC_INLINE void grad_sums_body(bool h, float *s1, float *s2, const void *x, const void *dy, const float *mean, const float *rstd, int64_t rows, int64_t columns, int64_t stride)
{
    for (int64_t c = 0; c < columns; c += NC_VL) {
        double total[NC_VL] = { 0 }, dots[NC_VL] = { 0 };
        const int64_t n = columns - c;
        sums(h, DOTS, total, dots, x, dy, load(mean + c, n), rows, c, n, stride);
        for (int64_t i = 0; i < least(n, NC_VL); i++) {
            s1[c + i] = (float)total[i];
            s2[c + i] = (float)(dots[i] * (double)rstd[c + i]);
        }
    }
}

NC_INLINE void grad_apply_body(bool h, void *dx, const void *x, const void *dy, const void *const v[4], int64_t rows, int64_t columns)
{
    const float *scale = v[0], *m1 = v[1], *mean = v[2], *q = v[3];
    for (int64_t i = 0; i < rows; i++)
        for (int64_t c = 0; c < columns; c += NC_VL) {
            const int64_t n = columns - c, at = i * columns + c;
            const vf d = v_mul(v_sub(get(h, dy, at, n), load(m1 + c, n)), load(scale + c, n));
            put(h, dx, at, v_fnma(v_sub(get(h, x, at, n), load(mean + c, n)), load(q + c, n), d), n);
        }
}

#define STORAGE(suffix, h)                                                                                                                                       \
    static void moments_##suffix(void *mean, void *var, const void *x, int64_t rows, int64_t columns, int64_t stride) { moments_body(h, mean, var, x, rows, columns, stride); } \
    static void apply_##suffix(void *y, const void *x, const void *scale, const void *shift, int64_t rows, int64_t columns) { apply_body(h, y, x, scale, shift, rows, columns); } \
    static void grad_sums_##suffix(void *s1, void *s2, const void *x, const void *dy, const void *mean, const void *rstd, int64_t rows, int64_t columns, int64_t stride) \
    {                                                                                                                                                            \
        grad_sums_body(h, s1, s2, x, dy, mean, rstd, rows, columns, stride);                                                                                     \
    }                                                                                                                                                            \
    static void grad_apply_##suffix(void *dx, const void *x, const void *dy, const void *const v[4], int64_t rows, int64_t columns)                              \
    {                                                                                                                                                            \
        grad_apply_body(h, dx, x, dy, v, rows, columns);                                                                                                         \
    }
STORAGE(f32, false)
STORAGE(bf16, true)

void ISA(nc_batch_norm)(struct nc_batch_norm_kernels *t)
{
#define SET(name) t->name[NC_SLOT_F32] = name##_f32, t->name[NC_SLOT_BF16] = name##_bf16
    SET(moments), SET(apply), SET(grad_sums), SET(grad_apply);
#undef SET
}

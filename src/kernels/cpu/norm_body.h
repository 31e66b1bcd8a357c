/* norm_body.h - norm.h over vectors; included by norm_avx2.c and norm_avx512.c, which define ISA(name).
 *
 * A row is read once for each sum and once for the output; it stays in the first cache between. Four accumulators run through the row.
 * The tail goes through the first accumulator, its lanes beyond n set to what changes nothing.
 */
#include <math.h>

#include "kernels/cpu/simd_math.h"
#include "kernels/norm.h"

/* Vector i of a row of n; `whole` is a constant where EACH_VECTOR expands its body. */
NC_INLINE vf row_get(bool whole, bool h, const void *p, int64_t i, int64_t n) { return whole ? v_get(h, p, i) : v_get_n(h, p, i, n - i); }
NC_INLINE vf row_at(bool h, const void *p, int64_t i, int64_t n) { return row_get(i + NC_VL <= n, h, p, i, n); }
NC_INLINE void row_set(bool whole, bool h, void *p, int64_t i, int64_t n, vf v)
{
    if (whole)
        v_put(h, p, i, v);
    else
        v_put_n(h, p, i, v, n - i);
}
/* The statement for whole vectors, then once for the tail; it sees j and whole. */
#define EACH_VECTOR(n, ...)                                    \
    do {                                                       \
        int64_t j = 0;                                         \
        for (; j + NC_VL <= (n); j += NC_VL) {                 \
            enum { whole = true };                             \
            __VA_ARGS__                                        \
        }                                                      \
        if (j < (n)) {                                         \
            enum { whole = false };                            \
            __VA_ARGS__                                        \
        }                                                      \
    } while (0)
NC_INLINE const void *shift(bool h, const void *p, int64_t elements) { return (const char *)p + elements * (h ? 2 : 4); }
NC_INLINE void *shift_out(bool h, void *p, int64_t elements) { return (char *)p + elements * (h ? 2 : 4); }

/* Sum of x, of x^2, or of (x - m)^2. */
NC_INLINE float sum_row(bool h, const void *x, int64_t n, const bool squares, const bool shifted, vf m)
{
    vf s[4] = { v_zero(), v_zero(), v_zero(), v_zero() };
    int64_t j = 0;

    for (; j + 4 * NC_VL <= n; j += 4 * NC_VL)
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            vf u = shifted ? v_sub(v_get(h, x, j + i * NC_VL), m) : v_get(h, x, j + i * NC_VL);
            s[i] = squares ? v_fma(u, u, s[i]) : v_add(s[i], u);
        }
    for (; j < n; j += NC_VL) {
        vf u = shifted ? v_sub(row_at(h, x, j, n), m) : row_at(h, x, j, n);
        if (shifted && j + NC_VL > n)
            u = v_select(v_head(n - j), u, v_zero());
        s[0] = squares ? v_fma(u, u, s[0]) : v_add(s[0], u);
    }
    return v_sum(v_add(v_add(s[0], s[1]), v_add(s[2], s[3])));
}

NC_INLINE void statistics(bool h, const void *x, const nc_norm_shape *k, float *mean, float *r)
{
    float squares;

    *mean = k->centered ? sum_row(h, x, k->n, false, false, v_zero()) / (float)k->n : 0;
    squares = k->centered ? sum_row(h, x, k->n, true, true, v_set(*mean)) : sum_row(h, x, k->n, true, false, v_zero());
    *r = 1.0f / sqrtf(squares * (float)k->scale + (float)k->eps);
}

/* Element j on of a normalized row; w and b are there or not for all of them. */
NC_INLINE vf norm_value(bool whole, bool h, const void *x, const float *w, const float *b, int64_t j, int64_t n, vf m, vf r, vf offset)
{
    vf v = v_mul(v_sub(row_get(whole, h, x, j, n), m), r), g = w ? v_add(row_get(whole, false, w, j, n), offset) : v;

    if (w && b)
        return v_fma(v, g, row_get(whole, false, b, j, n));
    v = w ? v_mul(v, g) : v;
    return b ? v_add(v, row_get(whole, false, b, j, n)) : v;
}

NC_INLINE void norm_row(bool h, void *y, const void *x, const float *w, const float *b, int64_t n, vf m, vf r, vf offset)
{
    int64_t j = 0;

    for (; j + 2 * NC_VL <= n; j += 2 * NC_VL)
        v_put2(h, y, j, norm_value(true, h, x, w, b, j, n, m, r, offset), norm_value(true, h, x, w, b, j + NC_VL, n, m, r, offset));
    for (; j + NC_VL <= n; j += NC_VL)
        v_put(h, y, j, norm_value(true, h, x, w, b, j, n, m, r, offset));
    if (j < n)
        v_put_n(h, y, j, norm_value(false, h, x, w, b, j, n, m, r, offset), n - j);
}

NC_INLINE void norm_rows(bool h, void *y, int64_t ys, const void *x, int64_t xs, const float *w, const float *b, int64_t rows, const nc_norm_shape *k)
{
    const vf offset = v_set((float)k->offset);

    for (int64_t i = 0; i < rows; i++, x = shift(h, x, xs), y = shift_out(h, y, ys)) {
        float mean, r;
        statistics(h, x, k, &mean, &r);
        if (w && b)
            norm_row(h, y, x, w, b, k->n, v_set(mean), v_set(r), offset);
        else if (w)
            norm_row(h, y, x, w, NULL, k->n, v_set(mean), v_set(r), offset);
        else
            norm_row(h, y, x, NULL, b, k->n, v_set(mean), v_set(r), offset);
    }
}

NC_INLINE void norm_grad_rows(bool h, void *dx, int64_t ds, float *dw, float *db, const void *x, int64_t xs, const void *dy, int64_t gs, const float *w,
                              int64_t rows, const nc_norm_shape *k)
{
    const vf offset = v_set((float)k->offset);
    const int64_t n = k->n;

    for (int64_t i = 0; i < rows; i++, x = shift(h, x, xs), dy = shift(h, dy, gs)) {
        float mean, r;
        statistics(h, x, k, &mean, &r);
        const vf m = v_set(mean), rv = v_set(r);
        vf su = v_zero(), suh = v_zero();
        EACH_VECTOR(n, {                                             /* lanes beyond n have d = 0 */
            vf d = row_get(whole, h, dy, j, n), v = v_mul(v_sub(row_get(whole, h, x, j, n), m), rv);
            vf u = w ? v_mul(d, v_add(row_get(whole, false, w, j, n), offset)) : d;
            su = v_add(su, u);
            suh = v_fma(u, v, suh);
            if (dw)
                row_set(whole, false, dw, j, n, v_fma(d, v, row_get(whole, false, dw, j, n)));
            if (db)
                row_set(whole, false, db, j, n, v_add(d, row_get(whole, false, db, j, n)));
        });
        if (!dx)
            continue;
        const vf mu = v_set(k->centered ? v_sum(su) / (float)n : 0), c = v_set(v_sum(suh) * (float)k->scale);
        EACH_VECTOR(n, {
            vf d = row_get(whole, h, dy, j, n), v = v_mul(v_sub(row_get(whole, h, x, j, n), m), rv);
            vf u = w ? v_mul(d, v_add(row_get(whole, false, w, j, n), offset)) : d;
            row_set(whole, h, dx, j, n, v_mul(rv, v_fnma(v, c, v_sub(u, mu))));
        });
        dx = shift_out(h, dx, ds);
    }
}

NC_INLINE void softmax_rows(bool h, void *y, int64_t ys, const void *x, int64_t xs, int64_t rows, int64_t n, bool log_form)
{
    const vf lowest = v_set(-INFINITY);

    for (int64_t i = 0; i < rows; i++, x = shift(h, x, xs), y = shift_out(h, y, ys)) {
        vf top = lowest, sum = v_zero();
        EACH_VECTOR(n, {
            vf v = row_get(whole, h, x, j, n);
            top = v_max(top, whole ? v : v_select(v_head(n - j), v, lowest));
        });
        const vf t = v_set(v_largest(top));
        EACH_VECTOR(n, {
            vf v = v_exp(v_sub(row_get(whole, h, x, j, n), t));
            sum = v_add(sum, whole ? v : v_select(v_head(n - j), v, v_zero()));
        });
        const float total = v_sum(sum);
        const vf scale = v_set(1.0f / total), log_total = v_set((float)log((double)total));
        EACH_VECTOR(n, {
            vf v = v_sub(row_get(whole, h, x, j, n), t);
            row_set(whole, h, y, j, n, log_form ? v_sub(v, log_total) : v_mul(v_exp(v), scale));
        });
    }
}

NC_INLINE void softmax_grad_rows(bool h, void *dx, int64_t ds, const void *y, int64_t ys, const void *dy, int64_t gs, int64_t rows, int64_t n, bool log_form)
{
    for (int64_t i = 0; i < rows; i++, y = shift(h, y, ys), dy = shift(h, dy, gs), dx = shift_out(h, dx, ds)) {
        vf sum = v_zero();
        EACH_VECTOR(n, {
            vf d = row_get(whole, h, dy, j, n);
            sum = log_form ? v_add(sum, d) : v_fma(d, row_get(whole, h, y, j, n), sum);
        });
        const vf s = v_set(v_sum(sum));
        EACH_VECTOR(n, {
            vf d = row_get(whole, h, dy, j, n), v = row_get(whole, h, y, j, n);
            row_set(whole, h, dx, j, n, log_form ? v_fnma(v_exp(v), s, d) : v_mul(v, v_sub(d, s)));
        });
    }
}

#define STORAGE(suffix, h)                                                                                                                          \
    static void norm_##suffix(void *y, int64_t ys, const void *x, int64_t xs, const void *w, const void *b, int64_t rows, const nc_norm_shape *k)   \
    {                                                                                                                                               \
        norm_rows(h, y, ys, x, xs, w, b, rows, k);                                                                                                  \
    }                                                                                                                                               \
    static void norm_grad_##suffix(void *dx, int64_t ds, void *dw, void *db, const void *x, int64_t xs, const void *dy, int64_t gs, const void *w,  \
                                   int64_t rows, const nc_norm_shape *k)                                                                            \
    {                                                                                                                                               \
        norm_grad_rows(h, dx, ds, dw, db, x, xs, dy, gs, w, rows, k);                                                                               \
    }                                                                                                                                               \
    static void softmax_##suffix(void *y, int64_t ys, const void *x, int64_t xs, int64_t rows, int64_t n, bool log_form)                            \
    {                                                                                                                                               \
        if (log_form)                                                                                                                               \
            softmax_rows(h, y, ys, x, xs, rows, n, true);                                                                                           \
        else                                                                                                                                        \
            softmax_rows(h, y, ys, x, xs, rows, n, false);                                                                                          \
    }                                                                                                                                               \
    static void softmax_grad_##suffix(void *dx, int64_t ds, const void *y, int64_t ys, const void *dy, int64_t gs, int64_t rows, int64_t n,         \
                                      bool log_form)                                                                                                \
    {                                                                                                                                               \
        if (log_form)                                                                                                                               \
            softmax_grad_rows(h, dx, ds, y, ys, dy, gs, rows, n, true);                                                                             \
        else                                                                                                                                        \
            softmax_grad_rows(h, dx, ds, y, ys, dy, gs, rows, n, false);                                                                            \
    }
STORAGE(f32, false)
STORAGE(bf16, true)

void ISA(nc_norm)(struct nc_norm_kernels *t)
{
#define SET(name) t->name[NC_SLOT_F32] = name##_f32, t->name[NC_SLOT_BF16] = name##_bf16
    SET(norm), SET(norm_grad), SET(softmax), SET(softmax_grad);
#undef SET
}

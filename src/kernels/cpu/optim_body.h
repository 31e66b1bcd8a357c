/* optim_body.h - optim.h over vectors in f32; included by optim_avx2.c and optim_avx512.c, which define ISA(name).
 *
 * The passes stream: 16 bytes read and 12 written an element for Adam (30 with the bf16 copy), so that memory is the limit and a division and
 * a square root a vector cost nothing. A tail is loaded with zeros behind and goes through the same arithmetic.
 */
#include "kernels/cpu/simd.h"
#include "kernels/optim.h"

NC_INLINE vf get(const float *p, int64_t i, int64_t n) { return i + NC_VL <= n ? v_load(p + i) : v_load_n(p + i, n - i); }
NC_INLINE void put(float *p, int64_t i, int64_t n, vf v)
{
    if (i + NC_VL <= n)
        v_store(p + i, v);
    else
        v_store_n(p + i, v, n - i);
}
NC_INLINE void put_half(uint16_t *p, int64_t i, int64_t n, vf v)
{
    if (i + NC_VL <= n)
        v_store_h(p + i, v);
    else
        v_store_h_n(p + i, v, n - i);
}

enum { NEXT = 2048 };                            /* bytes to fetch ahead in each stream of a pass: the hardware alone leaves a seventh of memory's speed */
NC_INLINE void fetch(const float *p, int64_t i) { __builtin_prefetch((const char *)(p + i) + NEXT); }

NC_INLINE void adam_body(const nc_adam_step *s, float *p, const float *g, float *m, float *v, float *largest, uint16_t *half, int64_t n)
{
    const vf scale = v_set((float)s->scale), l2 = v_set((float)s->l2), b1 = v_set((float)(1 - s->beta1)), b2 = v_set((float)s->beta2);
    const vf c2 = v_set((float)(1 - s->beta2)), decay = v_set((float)s->decay), rate = v_set((float)s->rate), root = v_set((float)s->root);
    const vf eps = v_set((float)s->eps);

    for (int64_t i = 0; i < n; i += NC_VL) {
        fetch(p, i), fetch(g, i), fetch(m, i), fetch(v, i);
        vf x = get(p, i, n), d = v_fma(l2, x, v_mul(get(g, i, n), scale)), m0 = get(m, i, n);
        vf m1 = v_fma(b1, v_sub(d, m0), m0), v1 = v_fma(v_mul(c2, d), d, v_mul(b2, get(v, i, n)));
        put(m, i, n, m1);
        put(v, i, n, v1);
        if (largest) {
            vf old = get(largest, i, n);
            v1 = v_select(v_lt(v1, old), old, v1);
            put(largest, i, n, v1);
        }
        vf step = v_div(v_mul(rate, m1), v_fma(v_sqrt(v1), root, eps));
        x = v_sub(v_mul(x, decay), step);
        put(p, i, n, x);
        if (half)
            put_half(half, i, n, x);
    }
}

static void adam(const nc_adam_step *s, float *p, const float *g, float *m, float *v, float *largest, uint16_t *half, int64_t n)
{
    if (largest)
        adam_body(s, p, g, m, v, largest, half, n);
    else if (half)
        adam_body(s, p, g, m, v, NULL, half, n);
    else
        adam_body(s, p, g, m, v, NULL, NULL, n);
}

NC_INLINE void sgd_body(const nc_sgd_step *s, float *p, const float *g, float *m, bool first, bool nesterov, uint16_t *half, int64_t n)
{
    const vf scale = v_set((float)s->scale), l2 = v_set((float)s->l2), keep = v_set((float)s->momentum), fresh = v_set((float)(1 - s->dampening));
    const vf lr = v_set((float)s->lr);

    for (int64_t i = 0; i < n; i += NC_VL) {
        vf x = get(p, i, n), d = v_fma(l2, x, v_mul(get(g, i, n), scale));
        if (m) {
            vf m1 = first ? d : v_fma(keep, get(m, i, n), v_mul(fresh, d));
            put(m, i, n, m1);
            d = nesterov ? v_fma(keep, m1, d) : m1;
        }
        x = v_fnma(lr, d, x);
        put(p, i, n, x);
        if (half)
            put_half(half, i, n, x);
    }
}

static void sgd(const nc_sgd_step *s, float *p, const float *g, float *m, uint16_t *half, int64_t n)
{
    if (!m)
        sgd_body(s, p, g, NULL, false, false, half, n);
    else
        sgd_body(s, p, g, m, s->first, s->nesterov, half, n);
}

static void lion(const nc_lion_step *s, float *p, const float *g, float *m, uint16_t *half, int64_t n)
{
    const vf scale = v_set((float)s->scale), b1 = v_set((float)s->beta1), c1 = v_set((float)(1 - s->beta1)), b2 = v_set((float)s->beta2);
    const vf c2 = v_set((float)(1 - s->beta2)), decay = v_set((float)s->decay), lr = v_set((float)s->lr);

    for (int64_t i = 0; i < n; i += NC_VL) {
        vf x = get(p, i, n), d = v_mul(get(g, i, n), scale), m0 = get(m, i, n), c = v_fma(b1, m0, v_mul(c1, d));
        vf step = v_select(v_eq(c, v_zero()), v_zero(), v_copysign(lr, c));
        x = v_sub(v_mul(x, decay), v_select(v_isnan(c), c, step));
        put(p, i, n, x);
        put(m, i, n, v_fma(b2, m0, v_mul(c2, d)));
        if (half)
            put_half(half, i, n, x);
    }
}

enum { AHEAD = 1024 };                           /* floats to fetch ahead: one stream alone is not fetched far enough by the hardware */

/* Four accumulators of doubles, two vectors of floats a turn. */
static double squares(const float *x, int64_t n)
{
    vd a = vd_set(0), b = vd_set(0), c = vd_set(0), d = vd_set(0);

    for (int64_t i = 0; i < n; i += 2 * NC_VL) {
        vf u = get(x, i, n), w = i + NC_VL < n ? get(x, i + NC_VL, n) : v_zero();
        __builtin_prefetch((const char *)(x + i) + 4 * AHEAD);
        __builtin_prefetch((const char *)(x + i) + 4 * AHEAD + 64);
        a = vd_fma(vd_low(u), vd_low(u), a);
        b = vd_fma(vd_high(u), vd_high(u), b);
        c = vd_fma(vd_low(w), vd_low(w), c);
        d = vd_fma(vd_high(w), vd_high(w), d);
    }
    return vd_sum(vd_add(vd_add(a, c), vd_add(b, d)));
}

void ISA(nc_optim)(struct nc_optim_kernels *t)
{
    t->adam = adam;
    t->sgd = sgd;
    t->lion = lion;
    t->squares = squares;
}

/* rope_body.h - rope.h over vectors; included by rope_avx2.c and rope_avx512.c, which define ISA(name). */
#include "kernels/cpu/simd_math.h"
#include "kernels/rope.h"

NC_INLINE vf turned_sine(const float *sine, int64_t i, int64_t n, bool inverse)
{
    vf s = v_get_n(false, sine, i, n);
    return inverse ? v_neg(s) : s;
}

/* Columns i and i + half in step; m lanes of the last vector. */
NC_INLINE void halves(bool h, void *y, int64_t to, const void *x, int64_t from, const float *cosine, const float *sine, const nc_rope_shape *s)
{
    for (int64_t i = 0; i < s->half; i += NC_VL) {
        int64_t m = s->half - i < NC_VL ? s->half - i : NC_VL;
        bool whole = m == NC_VL;
        vf c = whole ? v_load(cosine + i) : v_load_n(cosine + i, m), t = whole ? v_load(sine + i) : v_load_n(sine + i, m);
        t = s->inverse ? v_neg(t) : t;
        vf a = whole ? v_get(h, x, from + i) : v_get_n(h, x, from + i, m);
        vf b = whole ? v_get(h, x, from + s->half + i) : v_get_n(h, x, from + s->half + i, m);
        vf u = v_fnma(b, t, v_mul(a, c)), v = v_fma(a, t, v_mul(b, c));
        if (whole)
            v_put(h, y, to + i, u), v_put(h, y, to + s->half + i, v);
        else
            v_put_n(h, y, to + i, u, m), v_put_n(h, y, to + s->half + i, v, m);
    }
}

/* A vector holds NC_VL/2 pairs; each cosine is needed twice, and (a, b) -> (-b, a) is a swap and a sign. */
NC_INLINE void neighbours(bool h, void *y, int64_t to, const void *x, int64_t from, const float *cosine, const float *sine, const nc_rope_shape *s)
{
    for (int64_t i = 0; i < s->half; i += NC_VL / 2) {
        int64_t m = s->half - i < NC_VL / 2 ? s->half - i : NC_VL / 2;
        bool whole = m == NC_VL / 2;
        vf c = v_twice_low(v_load_n(cosine + i, m)), t = v_twice_low(turned_sine(sine, i, m, s->inverse));
        vf a = whole ? v_get(h, x, from + 2 * i) : v_get_n(h, x, from + 2 * i, 2 * m);
        vf r = v_fma(v_alternate(v_swap(a)), t, v_mul(a, c));
        if (whole)
            v_put(h, y, to + 2 * i, r);
        else
            v_put_n(h, y, to + 2 * i, r, 2 * m);
    }
}

NC_INLINE void rotate_heads(bool h, void *y, int64_t y_head, const void *x, int64_t x_head, const float *cosine, const float *sine, const nc_rope_shape *s)
{
    const size_t size = h ? 2 : 4, rest = (size_t)(s->width - 2 * s->half) * size;

    for (int64_t k = 0; k < s->heads; k++) {
        if (s->neighbours)
            neighbours(h, y, k * y_head, x, k * x_head, cosine, sine, s);
        else
            halves(h, y, k * y_head, x, k * x_head, cosine, sine, s);
        char *to = (char *)y + (size_t)(k * y_head + 2 * s->half) * size;
        const char *from = (const char *)x + (size_t)(k * x_head + 2 * s->half) * size;
        if (rest && to != from)
            memcpy(to, from, rest);
    }
}

static void rotate_f32(void *y, int64_t yh, const void *x, int64_t xh, const void *c, const void *s, const nc_rope_shape *k) { rotate_heads(false, y, yh, x, xh, c, s, k); }
static void rotate_bf16(void *y, int64_t yh, const void *x, int64_t xh, const void *c, const void *s, const nc_rope_shape *k) { rotate_heads(true, y, yh, x, xh, c, s, k); }

static void table(float *cosine, float *sine, const int32_t *position, const nc_rope_freqs *f)
{
    const vf factor = v_set((float)f->factor);

    for (int i = 0; i < f->half; i += NC_VL) {
        int m = f->half - i < NC_VL ? f->half - i : NC_VL;
        float p[NC_VL] = { 0 };
        for (int j = 0; j < m; j++)
            p[j] = (float)position[f->axis_of ? f->axis_of[i + j] : 0] * f->inv_freq[i + j];
        vf s, c;
        v_sincos(v_load(p), &s, &c);
        s = v_mul(s, factor), c = v_mul(c, factor);
        if (m == NC_VL)
            v_store(cosine + i, c), v_store(sine + i, s);
        else
            v_store_n(cosine + i, c, m), v_store_n(sine + i, s, m);
    }
}

void ISA(nc_rope)(struct nc_rope_kernels *t)
{
    t->rotate[NC_SLOT_F32] = rotate_f32, t->rotate[NC_SLOT_BF16] = rotate_bf16;
    t->table_f32 = table;
}

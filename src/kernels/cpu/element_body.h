/* element_body.h - element.h over vectors; included by element_avx2.c and element_avx512.c, which define ISA(name).
 *
 * Each loop is an inline function of constants (storage, kind), expanded once for each case of a switch. Dropout runs ten Philox rounds over
 * vectors of counters, whose words are then transposed into order.
 */
#include "base/rng.h"
#include "kernels/cpu/simd_math.h"
#include "kernels/element.h"

NC_INLINE vf gelu_u2(vf x)                                           /* 2 sqrt(2/pi) (x + 0.044715 x^3) */
{
    return v_mul(v_mul(v_set(1.5957691216f), x), v_fma(v_mul(v_set(0.044715f), x), x, v_set(1.0f)));
}
NC_INLINE vf phi(vf x) { return v_mul(v_set(0.5f), v_add(v_set(1.0f), v_erf(v_mul(x, v_set(0.70710678f))))); }
NC_INLINE vf softplus(vf x) { return v_add(v_max(v_zero(), x), v_log1p01(v_exp(v_neg(v_abs(x))))); }
NC_INLINE vf sign(vf x) { return v_select(v_lt(v_zero(), x), v_set(1.0f), v_select(v_lt(x, v_zero()), v_set(-1.0f), x)); }

NC_INLINE vf sigmoid(bool h, vf x) { return h ? v_sigmoid_bf16(x) : v_sigmoid(x); }

NC_INLINE vf value(bool h, nc_unary kind, vf x, const vf *p)
{
    vf s, c;

    switch (kind) {
    case NC_NEG: return v_neg(x);
    case NC_EXP: return v_exp(x);
    case NC_LOG: return v_log(x);
    case NC_SQRT: return v_sqrt(x);
    case NC_RSQRT: return v_div(v_set(1.0f), v_sqrt(x));
    case NC_RECIP: return v_div(v_set(1.0f), x);
    case NC_SQUARE: return v_mul(x, x);
    case NC_ABS: return v_abs(x);
    case NC_SIGN: return sign(x);
    case NC_SIN: return v_sincos(x, &s, &c), s;
    case NC_COS: return v_sincos(x, &s, &c), c;
    case NC_TANH: return v_tanh(x);
    case NC_SIGMOID: return sigmoid(h, x);
    case NC_SOFTPLUS: return softplus(x);
    case NC_RELU: return v_max(v_zero(), x);
    case NC_GELU: return v_mul(x, phi(x));
    case NC_GELU_TANH: return v_mul(x, sigmoid(h, gelu_u2(x)));
    case NC_QUICK_GELU: return v_mul(x, sigmoid(h, v_mul(v_set(1.702f), x)));
    case NC_SILU: return v_mul(x, sigmoid(h, x));
    case NC_STEP: return v_select(v_lt(v_zero(), x), v_set(1.0f), v_zero());
    case NC_ERF: return v_erf(x);
    case NC_AFFINE: return v_fma(x, p[0], p[1]);
    case NC_CLAMP: return v_min(p[1], v_max(p[0], x));
    case NC_SOFT_CAP: return v_mul(p[0], v_tanh(v_div(x, p[0])));
    default: return x;
    }
}

NC_INLINE vf swish_slope(vf x, vf s, vf k_x) { (void)x; return v_fma(v_mul(k_x, s), v_sub(v_set(1.0f), s), s); }

NC_INLINE vf slope(bool h, nc_unary kind, vf x, const vf *p)
{
    const vf one = v_set(1.0f);
    vf s, c, k;

    switch (kind) {
    case NC_NEG: return v_set(-1.0f);
    case NC_EXP: return v_exp(x);
    case NC_LOG: return v_div(one, x);
    case NC_SQRT: return v_div(v_set(0.5f), v_sqrt(x));
    case NC_RSQRT: return v_div(v_set(-0.5f), v_mul(x, v_sqrt(x)));
    case NC_RECIP: return v_div(v_set(-1.0f), v_mul(x, x));
    case NC_SQUARE: return v_add(x, x);
    case NC_ABS: return sign(x);
    case NC_SIN: return v_sincos(x, &s, &c), c;
    case NC_COS: return v_sincos(x, &s, &c), v_neg(s);
    case NC_TANH: return s = v_tanh(x), v_fnma(s, s, one);
    case NC_SIGMOID: return s = v_sigmoid(x), v_mul(s, v_sub(one, s));
    case NC_SOFTPLUS: return sigmoid(h, x);
    case NC_RELU: return v_select(v_lt(v_zero(), x), one, v_zero());
    case NC_GELU: return v_fma(v_mul(x, v_set(0.39894228f)), v_exp(v_mul(v_set(-0.5f), v_mul(x, x))), phi(x));
    case NC_GELU_TANH:
        s = sigmoid(h, gelu_u2(x));
        k = v_mul(v_mul(x, v_set(1.5957691216f)), v_fma(v_mul(v_set(0.134145f), x), x, one));
        return swish_slope(x, s, k);
    case NC_QUICK_GELU: return k = v_mul(v_set(1.702f), x), swish_slope(x, sigmoid(h, k), k);
    case NC_SILU: return swish_slope(x, sigmoid(h, x), x);
    case NC_ERF: return v_mul(v_set(1.12837917f), v_exp(v_neg(v_mul(x, x))));
    case NC_AFFINE: return p[0];
    case NC_CLAMP: return v_select(v_lt(p[0], x), v_select(v_lt(x, p[1]), one, v_zero()), v_zero());
    case NC_SOFT_CAP: return s = v_tanh(v_div(x, p[0])), v_fnma(s, s, one);
    default: return v_zero();
    }
}

#define KINDS(DO)                                                                                                                             \
    DO(NC_NEG) DO(NC_EXP) DO(NC_LOG) DO(NC_SQRT) DO(NC_RSQRT) DO(NC_RECIP) DO(NC_SQUARE) DO(NC_ABS) DO(NC_SIGN) DO(NC_SIN) DO(NC_COS)         \
    DO(NC_TANH) DO(NC_SIGMOID) DO(NC_SOFTPLUS) DO(NC_RELU) DO(NC_GELU) DO(NC_GELU_TANH) DO(NC_QUICK_GELU) DO(NC_SILU) DO(NC_STEP) DO(NC_ERF)
#define KINDS_WITH_P(DO) DO(NC_AFFINE) DO(NC_CLAMP) DO(NC_SOFT_CAP)

NC_INLINE void unary_loop(bool h, nc_unary kind, void *y, const void *x, int64_t n, const vf *p)
{
    int64_t i = 0;

    for (; i + 2 * NC_VL <= n; i += 2 * NC_VL)
        v_put2(h, y, i, value(h, kind, v_get(h, x, i), p), value(h, kind, v_get(h, x, i + NC_VL), p));
    for (; i + NC_VL <= n; i += NC_VL)
        v_put(h, y, i, value(h, kind, v_get(h, x, i), p));
    if (i < n)
        v_put_n(h, y, i, value(h, kind, v_get_n(h, x, i, n - i), p), n - i);
}

NC_INLINE void unary_grad_loop(bool h, nc_unary kind, void *dx, const void *x, const void *dy, int64_t n, const vf *p)
{
    int64_t i = 0;

    for (; i + 2 * NC_VL <= n; i += 2 * NC_VL)
        v_put2(h, dx, i, v_mul(v_get(h, dy, i), slope(h, kind, v_get(h, x, i), p)), v_mul(v_get(h, dy, i + NC_VL), slope(h, kind, v_get(h, x, i + NC_VL), p)));
    for (; i + NC_VL <= n; i += NC_VL)
        v_put(h, dx, i, v_mul(v_get(h, dy, i), slope(h, kind, v_get(h, x, i), p)));
    if (i < n)
        v_put_n(h, dx, i, v_mul(v_get_n(h, dy, i, n - i), slope(h, kind, v_get_n(h, x, i, n - i), p)), n - i);
}

NC_INLINE vf binary_value(nc_binary kind, vf a, vf b)
{
    switch (kind) {
    case NC_ADD: return v_add(a, b);
    case NC_SUB: return v_sub(a, b);
    case NC_MUL: return v_mul(a, b);
    case NC_DIV: return v_div(a, b);
    case NC_MAXIMUM: return v_select(v_isnan(a), a, v_max(a, b));
    default: return v_select(v_isnan(a), a, v_min(a, b));
    }
}

NC_INLINE void binary_loop(bool h, nc_binary kind, void *y, const void *a, int as, const void *b, int bs, int64_t n)
{
    vf one_a = as || n <= 0 ? v_zero() : v_set(v_get1(h, a, 0)), one_b = bs || n <= 0 ? v_zero() : v_set(v_get1(h, b, 0));
    int64_t i = 0;

    for (; i + 2 * NC_VL <= n; i += 2 * NC_VL)
        v_put2(h, y, i, binary_value(kind, as ? v_get(h, a, i) : one_a, bs ? v_get(h, b, i) : one_b),
               binary_value(kind, as ? v_get(h, a, i + NC_VL) : one_a, bs ? v_get(h, b, i + NC_VL) : one_b));
    for (; i + NC_VL <= n; i += NC_VL)
        v_put(h, y, i, binary_value(kind, as ? v_get(h, a, i) : one_a, bs ? v_get(h, b, i) : one_b));
    if (i < n)
        v_put_n(h, y, i, binary_value(kind, as ? v_get_n(h, a, i, n - i) : one_a, bs ? v_get_n(h, b, i, n - i) : one_b), n - i);
}

NC_INLINE void gated_loop(bool h, nc_unary kind, void *y, const void *gate, const void *up, int64_t n)
{
    int64_t i = 0;

    for (; i + 2 * NC_VL <= n; i += 2 * NC_VL)
        v_put2(h, y, i, v_mul(value(h, kind, v_get(h, gate, i), NULL), v_get(h, up, i)),
               v_mul(value(h, kind, v_get(h, gate, i + NC_VL), NULL), v_get(h, up, i + NC_VL)));
    for (; i + NC_VL <= n; i += NC_VL)
        v_put(h, y, i, v_mul(value(h, kind, v_get(h, gate, i), NULL), v_get(h, up, i)));
    if (i < n)
        v_put_n(h, y, i, v_mul(value(h, kind, v_get_n(h, gate, i, n - i), NULL), v_get_n(h, up, i, n - i)), n - i);
}

NC_INLINE void gated_grad_loop(bool h, nc_unary kind, void *dgate, void *dup, const void *gate, const void *up, const void *dy, int64_t n)
{
    for (int64_t i = 0; i < n; i += NC_VL) {
        int64_t m = n - i < NC_VL ? n - i : NC_VL;
        vf x, u, d;
        if (m == NC_VL)
            x = v_get(h, gate, i), u = v_get(h, up, i), d = v_get(h, dy, i);
        else
            x = v_get_n(h, gate, i, m), u = v_get_n(h, up, i, m), d = v_get_n(h, dy, i, m);
        vf dg = v_mul(v_mul(d, u), slope(h, kind, x, NULL)), du = v_mul(d, value(h, kind, x, NULL));
        if (dgate && m == NC_VL)
            v_put(h, dgate, i, dg);
        else if (dgate)
            v_put_n(h, dgate, i, dg, m);
        if (dup && m == NC_VL)
            v_put(h, dup, i, du);
        else if (dup)
            v_put_n(h, dup, i, du, m);
    }
}

#define STORAGE(suffix, h)                                                                                                                     \
    static void unary_##suffix(nc_unary kind, void *y, const void *x, int64_t n, const double *p)                                              \
    {                                                                                                                                          \
        vf q[2] = { v_set(p ? (float)p[0] : 0), v_set(p ? (float)p[1] : 0) };                                                                  \
        switch (kind) {                                                                                                                        \
            KINDS(UNARY_##suffix) KINDS_WITH_P(UNARY_##suffix)                                                                                 \
        default: break;                                                                                                                        \
        }                                                                                                                                      \
    }                                                                                                                                          \
    static void unary_grad_##suffix(nc_unary kind, void *dx, const void *x, const void *dy, int64_t n, const double *p)                        \
    {                                                                                                                                          \
        vf q[2] = { v_set(p ? (float)p[0] : 0), v_set(p ? (float)p[1] : 0) };                                                                  \
        switch (kind) {                                                                                                                        \
            KINDS(SLOPE_##suffix) KINDS_WITH_P(SLOPE_##suffix)                                                                                 \
        default: break;                                                                                                                        \
        }                                                                                                                                      \
    }                                                                                                                                          \
    static void gated_##suffix(nc_unary kind, void *y, const void *gate, const void *up, int64_t n)                                            \
    {                                                                                                                                          \
        switch (kind) {                                                                                                                        \
            KINDS(GATED_##suffix)                                                                                                              \
        default: break;                                                                                                                        \
        }                                                                                                                                      \
    }                                                                                                                                          \
    static void gated_grad_##suffix(nc_unary kind, void *dgate, void *dup, const void *gate, const void *up, const void *dy, int64_t n)        \
    {                                                                                                                                          \
        switch (kind) {                                                                                                                        \
            KINDS(GATED_GRAD_##suffix)                                                                                                         \
        default: break;                                                                                                                        \
        }                                                                                                                                      \
    }                                                                                                                                          \
    static void binary_##suffix(nc_binary kind, void *y, const void *a, int as, const void *b, int bs, int64_t n)                              \
    {                                                                                                                                          \
        switch (kind) {                                                                                                                        \
            BINARY(h, NC_ADD) BINARY(h, NC_SUB) BINARY(h, NC_MUL) BINARY(h, NC_DIV) BINARY(h, NC_MAXIMUM) BINARY(h, NC_MINIMUM)                \
        default: break;                                                                                                                        \
        }                                                                                                                                      \
    }
#define UNARY_f32(K) case K: unary_loop(false, K, y, x, n, q); break;
#define UNARY_bf16(K) case K: unary_loop(true, K, y, x, n, q); break;
#define SLOPE_f32(K) case K: unary_grad_loop(false, K, dx, x, dy, n, q); break;
#define SLOPE_bf16(K) case K: unary_grad_loop(true, K, dx, x, dy, n, q); break;
#define GATED_f32(K) case K: gated_loop(false, K, y, gate, up, n); break;
#define GATED_bf16(K) case K: gated_loop(true, K, y, gate, up, n); break;
#define GATED_GRAD_f32(K) case K: gated_grad_loop(false, K, dgate, dup, gate, up, dy, n); break;
#define GATED_GRAD_bf16(K) case K: gated_grad_loop(true, K, dgate, dup, gate, up, dy, n); break;
#define BINARY(h, K) case K: \
        if (as && bs) binary_loop(h, K, y, a, 1, b, 1, n); else if (as) binary_loop(h, K, y, a, 1, b, 0, n); else binary_loop(h, K, y, a, 0, b, bs, n); \
        break;
STORAGE(f32, false)
STORAGE(bf16, true)

/* ---- dropout ---- */

NC_INLINE void mul_wide(vi a, uint32_t m, vi *high, vi *low)         /* 32 x 32 -> 64 bits in each lane */
{
#if defined(__AVX512F__)
    __m512i k = _mm512_set1_epi64(m), even = _mm512_mul_epu32(a, k), odd = _mm512_mul_epu32(_mm512_srli_epi64(a, 32), k);
    *low = _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
    *high = _mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 32), odd);
#else
    __m256i k = _mm256_set1_epi64x(m), even = _mm256_mul_epu32(a, k), odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), k);
    *low = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
    *high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
#endif
}

/* One step of the transposition of four vectors of words within each quarter of 128 bits. */
#if defined(__AVX512F__)
#define UNPACK(a, b, which, size) _mm512_unpack##which##_epi##size(a, b)
NC_INLINE vm below(vi a, uint32_t limit) { return _mm512_cmplt_epu32_mask(a, vi_set((int)limit)); }
#else
#define UNPACK(a, b, which, size) _mm256_unpack##which##_epi##size(a, b)
NC_INLINE vm below(vi a, uint32_t limit)
{
    const vi half = vi_set((int)0x80000000u);
    return v_float(_mm256_cmpgt_epi32(vi_xor(vi_set((int)limit), half), vi_xor(a, half)));
}
#endif

/* Words of counters counter .. counter + NC_VL - 1, in order, as four vectors. Position 4l + i of a vector computes counter (NC_VL/4) i + l, so that
 * transposing 4 x 4 words in each quarter l leaves the words in order. */
NC_INLINE void philox_many(uint64_t seed, uint64_t stream, uint64_t counter, vi w[4])
{
    uint32_t low[NC_VL], high[NC_VL];
    for (int l = 0; l < NC_VL / 4; l++)
        for (int i = 0; i < 4; i++) {
            uint64_t c = counter + (uint64_t)(NC_VL / 4 * i + l);
            low[4 * l + i] = (uint32_t)c, high[4 * l + i] = (uint32_t)(c >> 32);
        }
    vi c0 = v_bits(v_load((const float *)(const void *)low)), c1 = v_bits(v_load((const float *)(const void *)high));
    vi c2 = vi_set((int)(uint32_t)stream), c3 = vi_set((int)(uint32_t)(stream >> 32));
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);

    for (int round = 0; round < 10; round++) {
        vi ah, al, bh, bl;
        mul_wide(c0, 0xD2511F53u, &ah, &al);
        mul_wide(c2, 0xCD9E8D57u, &bh, &bl);
        vi n0 = vi_xor(vi_xor(bh, c1), vi_set((int)k0)), n2 = vi_xor(vi_xor(ah, c3), vi_set((int)k1));
        c1 = bl, c3 = al, c0 = n0, c2 = n2;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    vi t0 = UNPACK(c0, c1, lo, 32), t1 = UNPACK(c0, c1, hi, 32), t2 = UNPACK(c2, c3, lo, 32), t3 = UNPACK(c2, c3, hi, 32);
    w[0] = UNPACK(t0, t2, lo, 64), w[1] = UNPACK(t0, t2, hi, 64), w[2] = UNPACK(t1, t3, lo, 64), w[3] = UNPACK(t1, t3, hi, 64);
}

NC_INLINE void dropout_loop(bool h, void *y, const void *x, int64_t n, const nc_dropout_row *d)
{
    const vf scale = v_set((float)d->scale);
    vi w[4];

    for (int64_t i = 0; i < n; i += 4 * NC_VL) {
        philox_many(d->seed, d->stream, d->counter + (uint64_t)i / 4, w);
        for (int k = 0; k < 4; k++) {
            const int64_t at = i + k * NC_VL, left = n - at;
            if (left >= NC_VL)
                v_put(h, y, at, v_select(below(w[k], d->threshold), v_zero(), v_mul(v_get(h, x, at), scale)));
            else if (left > 0)
                v_put_n(h, y, at, v_select(below(w[k], d->threshold), v_zero(), v_mul(v_get_n(h, x, at, left), scale)), left);
        }
    }
}
static void dropout_f32(void *y, const void *x, int64_t n, const nc_dropout_row *d) { dropout_loop(false, y, x, n, d); }
static void dropout_bf16(void *y, const void *x, int64_t n, const nc_dropout_row *d) { dropout_loop(true, y, x, n, d); }

/* ---- casts ---- */

NC_INLINE void cast_loop(bool to_h, void *y, bool from_h, const void *x, int64_t n)
{
    int64_t i = 0;

    for (; i + NC_VL <= n; i += NC_VL)
        v_put(to_h, y, i, v_get(from_h, x, i));
    if (i < n)
        v_put_n(to_h, y, i, v_get_n(from_h, x, i, n - i), n - i);
}

static void cast(nc_dtype to, void *y, nc_dtype from, const void *x, int64_t n)
{
    if (to == NC_BF16 && from == NC_F32)
        cast_loop(true, y, false, x, n);
    else if (to == NC_F32 && from == NC_BF16)
        cast_loop(false, y, true, x, n);
    else
        nc_ref_element.cast(to, y, from, x, n);
}

void ISA(nc_element)(struct nc_element_kernels *t)
{
#define SET(name) t->name[NC_SLOT_F32] = name##_f32, t->name[NC_SLOT_BF16] = name##_bf16
    SET(unary), SET(unary_grad), SET(binary), SET(gated), SET(gated_grad), SET(dropout);
#undef SET
    t->cast = cast;
}

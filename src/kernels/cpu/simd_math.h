/* simd_math.h - exp, log, tanh, erf, sin, cos and the activations over one vector of floats.
 *
 * Range reductions are the textbook ones (Muller, "Elementary Functions", 3rd ed., chapters 11 and 3); the polynomials interpolate the
 * remaining factor at Chebyshev nodes (computed for this project in 50 digits). Errors measured over all of tests/kernels' grid: below 2 ulp
 * where a comment does not say otherwise. NaN in gives NaN out.
 */
#ifndef NC_KERNELS_CPU_SIMD_MATH_H
#define NC_KERNELS_CPU_SIMD_MATH_H
#include "kernels/cpu/simd.h"

/* x * 2^n for |n| <= 300, n integral: two factors so that subnormal results are rounded once at the end. */
NC_INLINE vf v_scale2(vf x, vf n)
{
#if defined(__AVX512F__)
    return _mm512_scalef_ps(x, n);
#else
    vi k = v_to_int(n), half = vi_sar(k, 1);
    vf a = v_float(vi_shl(vi_add(half, vi_set(127)), 23)), b = v_float(vi_shl(vi_add(vi_sub(k, half), vi_set(127)), 23));
    return v_mul(v_mul(x, a), b);
#endif
}

/* e^x = 2^n e^r, n = round(x / ln 2), |r| <= ln2 / 2; ln 2 in two parts, the first exact in 16 bits. */
NC_INLINE vf v_exp(vf x)
{
    vf z = v_min(v_set(89.0f), v_max(v_set(-104.0f), x));            /* min, max give the second where NaN: order keeps NaN */
    vf n = v_round(v_mul(z, v_set(1.44269504f)));
    vf r = v_fnma(n, v_set(-2.12194440e-4f), v_fnma(n, v_set(0.693359375f), z));
    vf p = v_fma(v_set(0.00139261759f), r, v_set(0.00836317334f));
    p = v_fma(p, r, v_set(0.0416665561f));
    p = v_fma(p, r, v_set(0.166665778f));
    p = v_fma(p, r, v_set(0.5f));
    p = v_add(v_fma(p, v_mul(r, r), r), v_set(1.0f));
    return v_scale2(p, n);
}

/* log x = e ln2 + log m, m in [sqrt(1/2), sqrt(2)); subnormals are scaled up first. log 0 = -inf, negative gives NaN. */
NC_INLINE vf v_log(vf x)
{
    const vf inf = v_float(vi_set(0x7f800000));
    vm tiny = v_lt(x, v_set(1.17549435e-38f));
    vf y = v_select(tiny, v_mul(x, v_set(8388608.0f)), x);
    vi u = vi_sub(v_bits(y), vi_set(0x3f3504f3));                    /* exponent steps at sqrt(1/2) */
    vf e = v_sub(vi_to_float(vi_sar(u, 23)), v_select(tiny, v_set(23.0f), v_zero()));
    vf m = v_float(vi_add(vi_and(u, vi_set(0x007fffff)), vi_set(0x3f3504f3)));
    vf f = v_sub(m, v_set(1.0f)), s = v_mul(f, f);
    vf p = v_fma(v_set(0.0697161183f), f, v_set(-0.114797339f));
    p = v_fma(p, f, v_set(0.116854198f));
    p = v_fma(p, f, v_set(-0.124256872f));
    p = v_fma(p, f, v_set(0.142490581f));
    p = v_fma(p, f, v_set(-0.166678026f));
    p = v_fma(p, f, v_set(0.200007156f));
    p = v_fma(p, f, v_set(-0.24999997f));
    p = v_fma(p, f, v_set(0.333333313f));
    p = v_mul(v_mul(p, f), s);
    p = v_fma(e, v_set(-2.12194440e-4f), p);
    p = v_fnma(s, v_set(0.5f), p);
    vf r = v_fma(e, v_set(0.693359375f), v_add(f, p));
    r = v_select(v_eq(x, inf), inf, r);
    r = v_select(v_eq(x, v_zero()), v_neg(inf), r);
    return v_select(v_lt(x, v_zero()), v_float(vi_set(0x7fc00000)), v_select(v_isnan(x), x, r));
}

/* log(1 + y) for y in [0, 1]: the rounding error of 1 + y is put back to first order. */
NC_INLINE vf v_log1p01(vf y)
{
    vf u = v_add(v_set(1.0f), y);
    return v_add(v_log(u), v_div(v_sub(y, v_sub(u, v_set(1.0f))), u));
}

/* |x| < 0.625: x + x^3 P(x^2); else 1 - 2 / (e^2|x| + 1). */
NC_INLINE vf v_tanh(vf x)
{
    vf a = v_abs(x), s = v_mul(x, x);
    vf p = v_fma(v_set(0.00229274482f), s, v_set(-0.00834394526f));
    p = v_fma(p, s, v_set(0.0217689183f));
    p = v_fma(p, s, v_set(-0.0539592579f));
    p = v_fma(p, s, v_set(0.133333042f));
    p = v_fma(p, s, v_set(-0.333333343f));
    p = v_fma(v_mul(p, s), x, x);
    vf big = v_sub(v_set(1.0f), v_div(v_set(2.0f), v_add(v_exp(v_add(a, a)), v_set(1.0f))));
    return v_select(v_lt(a, v_set(0.625f)), p, v_copysign(big, x));
}

/* |x| < 1: x + x P(x^2); else 1 - exp(-|x| R(|x|)), R fitted to -log(erfc x) / x on [1, 4]; 1 beyond 4. */
NC_INLINE vf v_erf(vf x)
{
    vf a = v_abs(x), s = v_mul(x, x), t = v_min(v_set(4.0f), a);
    vf p = v_fma(v_set(7.87587487e-05f), s, v_set(-0.00080168643f));
    p = v_fma(p, s, v_set(0.00518908724f));
    p = v_fma(p, s, v_set(-0.0268542115f));
    p = v_fma(p, s, v_set(0.112835944f));
    p = v_fma(p, s, v_set(-0.37612626f));
    p = v_fma(p, s, v_set(0.128379166f));
    p = v_fma(p, x, x);
    vf q = v_fma(v_set(-1.16603246e-06f), t, v_set(3.659301e-05f));
    q = v_fma(q, t, v_set(-0.000515745545f));
    q = v_fma(q, t, v_set(0.00437392248f));
    q = v_fma(q, t, v_set(-0.0253086016f));
    q = v_fma(q, t, v_set(0.108091913f));
    q = v_fma(q, t, v_set(0.633971453f));
    q = v_fma(q, t, v_set(1.12895727f));
    vf big = v_sub(v_set(1.0f), v_exp(v_neg(v_mul(q, t))));
    return v_select(v_lt(a, v_set(1.0f)), p, v_copysign(big, x));
}

/* sin and cos at once. The reduction x - n pi/2 runs in double with pi/2 in two parts, good to |x| = 1e9 and beyond any angle of a position
 * table; what is larger is reduced by libm, lane by lane. */
void nc_simd_sincos_huge(float *s, float *c, int n);

NC_INLINE vd vd_reduce(vd x, vd *n)
{
    *n = vd_round(vd_mul(x, vd_set(0.63661977236758134308)));
    return vd_fnma(*n, vd_set(6.123233995736766036e-17), vd_fnma(*n, vd_set(1.57079632679489655800), x));
}

NC_INLINE void v_sincos(vf x, vf *sine, vf *cosine)
{
    vd n0, n1, r0 = vd_reduce(vd_low(x), &n0), r1 = vd_reduce(vd_high(x), &n1);
    vf r = vd_join(r0, r1), s = v_mul(r, r), n = vd_join(n0, n1);
    vf p = v_fma(v_set(-0.000195878907f), s, v_set(0.00833274797f));
    p = v_fma(p, s, v_set(-0.166666642f));
    p = v_fma(v_mul(p, s), r, r);
    vf q = v_fma(v_set(2.45479423e-05f), s, v_set(-0.00138883025f));
    q = v_fma(q, s, v_set(0.0416666642f));
    q = v_fma(q, v_mul(s, s), v_fnma(s, v_set(0.5f), v_set(1.0f)));
    /* The quadrant from n mod 4, found in float: n may exceed 2^24 as a float, so it is reduced in double first. */
    vd m0 = vd_fnma(vd_set(4.0), vd_round(vd_mul(n0, vd_set(0.25))), n0), m1 = vd_fnma(vd_set(4.0), vd_round(vd_mul(n1, vd_set(0.25))), n1);
    n = vd_join(m0, m1);                                             /* -2 .. 2 */
    vi k = v_to_int(n);
    vm odd = vi_eq(vi_and(k, vi_set(1)), vi_set(1));
    vf a = v_select(odd, q, p), b = v_select(odd, p, q);
    vi sign_s = vi_shl(vi_and(k, vi_set(2)), 30), sign_c = vi_shl(vi_and(vi_add(k, vi_set(1)), vi_set(2)), 30);
    *sine = v_float(vi_xor(v_bits(a), sign_s));
    *cosine = v_float(vi_xor(v_bits(b), sign_c));
    if (__builtin_expect(vm_any(v_lt(v_set(1e9f), v_abs(x))), 0)) {
        float t[NC_VL], u[NC_VL], v[NC_VL];
        v_store(t, x), v_store(u, *sine), v_store(v, *cosine);
        for (int i = 0; i < NC_VL; i++)
            if (!(t[i] <= 1e9f && t[i] >= -1e9f)) {
                u[i] = v[i] = t[i];
                nc_simd_sincos_huge(&u[i], &v[i], 1);
            }
        *sine = v_load(u), *cosine = v_load(v);
    }
}

NC_INLINE vf v_sigmoid(vf x) { return v_div(v_set(1.0f), v_add(v_set(1.0f), v_exp(v_neg(x)))); }
/* For results stored in bf16, relative error below 3e-6: 2^t of degree 4 with the least relative error, and a reciprocal of 14 bits improved once, where a division
 * alone takes as long as all of this. Below -87 it stays at 2^-126, whose inverse must not become infinite. */
NC_INLINE vf v_sigmoid_bf16(vf x)
{
#if defined(__AVX512F__)
    vf t = v_min(v_set(126.0f), v_mul(x, v_set(-1.44269504f)));      /* in this order NaN stays NaN */
    vf f = _mm512_reduce_ps(t, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    vf q = v_fma(f, v_set(1.3534168e-02f), v_set(5.2011460e-02f));
    q = v_fma(f, q, v_set(2.4144275e-01f));
    q = v_fma(f, q, v_set(6.9300383e-01f));
    vf d = v_add(v_set(1.0f), _mm512_scalef_ps(v_fma(f, q, v_set(1.0000026f)), t)), r = _mm512_rcp14_ps(d);
    return v_fma(r, v_fnma(d, r, v_set(1.0f)), r);
#else
    return v_sigmoid(x);
#endif
}
#endif

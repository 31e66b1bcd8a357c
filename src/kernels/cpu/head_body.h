/* head_body.h - head.h by vectors; compiled for AVX2, for AVX-512, and for AVX512_BF16, which rounds in one instruction. Sums run in four vectors of lanes, folded at the end of a chunk. */
#include "kernels/cpu/simd_math.h"
#include "kernels/head.h"

NC_INLINE vf one_logit(vf x, vf scale, float cap)
{
    x = v_mul(x, scale);
    return cap > 0 ? v_mul(v_tanh(v_div(x, v_set(cap))), v_set(cap)) : x;
}

static float logits(float *x, int64_t n, float scale, float cap)
{
    const vf s = v_set(scale), low = v_set(-INFINITY);
    bool write = scale != 1 || cap > 0;
    vf most = low, other = low;
    int64_t i = 0;
    for (; i + 2 * NC_VL <= n; i += 2 * NC_VL) {
        vf a = v_load(x + i), b = v_load(x + i + NC_VL);
        if (write) {
            a = one_logit(a, s, cap);
            b = one_logit(b, s, cap);
            v_store(x + i, a);
            v_store(x + i + NC_VL, b);
        }
        most = v_max(a, most);
        other = v_max(b, other);
    }
    float result = v_largest(v_max(most, other));
    for (; i < n; i += NC_VL) {
        int64_t rest = n - i < NC_VL ? n - i : NC_VL;
        _Alignas(64) float tail[NC_VL];
        vf a = rest < NC_VL ? v_load_n(x + i, rest) : v_load(x + i);
        if (write)
            a = one_logit(a, s, cap);
        v_store(tail, a);
        for (int64_t j = 0; j < rest; j++) {
            result = tail[j] > result ? tail[j] : result;
            if (write)
                x[i + j] = tail[j];
        }
    }
    return result;
}

NC_INLINE vf slope(vf v, vf l, float cap, vf inverse)
{
    if (!(cap > 0))
        return v;
    vf q = v_mul(l, inverse);
    return v_mul(v, v_fnma(q, q, v_set(1.0f)));
}

NC_INLINE float exps_of(void *e, const bool h, const bool write, const bool past, const float *l, int64_t n, float max, float cap)
{
    const vf m = v_set(max == -INFINITY ? 0 : max), inverse = v_set(cap > 0 ? 1 / cap : 0);
    vf sum[4] = { v_zero(), v_zero(), v_zero(), v_zero() };
    int64_t i = 0;
    for (; i + 4 * NC_VL <= n; i += 4 * NC_VL)
        for (int u = 0; u < 4; u++) {
            vf x = v_load(l + i + u * NC_VL), v = v_exp(v_sub(x, m));
            sum[u] = v_add(sum[u], v);
            if (past)
                v_stream_h((uint16_t *)e + i + u * NC_VL, slope(v, x, cap, inverse));
            else if (write)
                v_put(h, e, i + u * NC_VL, slope(v, x, cap, inverse));
        }
    float total = v_sum(v_add(v_add(sum[0], sum[1]), v_add(sum[2], sum[3])));
    for (; i < n; i += NC_VL) {
        int64_t rest = n - i < NC_VL ? n - i : NC_VL;
        _Alignas(64) float tail[NC_VL];
        vf x = rest < NC_VL ? v_load_n(l + i, rest) : v_load(l + i), v = v_exp(v_sub(x, m));
        v_store(tail, v);
        for (int64_t j = 0; j < rest; j++)
            total += tail[j];
        if (write) {
            v = slope(v, x, cap, inverse);
            if (rest < NC_VL)
                v_put_n(h, e, i, v, rest);
            else
                v_put(h, e, i, v);
        }
    }
    if (past)
        _mm_sfence();
    return total;
}

static float exps(void *e, nc_dtype t, const float *l, int64_t n, float max, float cap, bool past)
{
    if (!e)
        return exps_of(NULL, false, false, false, l, n, max, cap);
    if (t != NC_BF16)
        return exps_of(e, false, true, false, l, n, max, cap);
    return past && (uintptr_t)e % 64 == 0 ? exps_of(e, true, true, true, l, n, max, cap) : exps_of(e, true, true, false, l, n, max, cap);
}

NC_INLINE void rescale_of(void *e, const bool h, int64_t n, float factor)
{
    const vf f = v_set(factor);
    int64_t i = 0;
    for (; i + NC_VL <= n; i += NC_VL)
        v_put(h, e, i, v_mul(v_get(h, e, i), f));
    if (i < n)
        v_put_n(h, e, i, v_mul(v_get_n(h, e, i, n - i), f), n - i);
}

static void rescale(void *e, nc_dtype t, int64_t n, float factor)
{
    if (t == NC_BF16)
        rescale_of(e, true, n, factor);
    else
        rescale_of(e, false, n, factor);
}

NC_INLINE void gradient_of(void *out, const bool h, const float *l, int64_t n, float lse, float factor, float cap)
{
    const vf f = v_set(factor), m = v_set(lse), inverse = v_set(cap > 0 ? 1 / cap : 0);
    int64_t i = 0;
    for (; i + NC_VL <= n; i += NC_VL) {
        vf x = v_load(l + i);
        v_put(h, out, i, v_mul(slope(v_exp(v_sub(x, m)), x, cap, inverse), f));
    }
    if (i < n) {
        vf x = v_load_n(l + i, n - i);
        v_put_n(h, out, i, v_mul(slope(v_exp(v_sub(x, m)), x, cap, inverse), f), n - i);
    }
}

static void gradient(void *out, nc_dtype t, const float *l, int64_t n, float lse, float factor, float cap)
{
    if (t == NC_BF16)
        gradient_of(out, true, l, n, lse, factor, cap);
    else
        gradient_of(out, false, l, n, lse, factor, cap);
}

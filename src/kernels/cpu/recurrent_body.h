/* recurrent_body.h - recurrent.h in f32 over vectors of columns; included by recurrent_avx2.c and recurrent_avx512.c, which define ISA(name).
 *
 * A lane is a column of the state (a channel, a value's coordinate): it never meets its neighbours, so where it lies in a vector changes nothing. Sums over a
 * column's own states run in order. Only gradients that sum over columns (decays, B, C) add lanes together.
 */
#include "kernels/cpu/simd_math.h"
#include "kernels/recurrent.h"

enum { R = NC_RECURRENT_CHUNK };
NC_INLINE vf get(const float *p, int64_t m) { return m == NC_VL ? v_load(p) : v_load_n(p, m); }
NC_INLINE void put(float *p, vf x, int64_t m)
{
    if (m == NC_VL)
        v_store(p, x);
    else
        v_store_n(p, x, m);
}
NC_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
NC_INLINE float *begun(const nc_recurrent_span *s) { return s->fresh ? NULL : s->state; }
NC_INLINE void add_sum(float *p, vf x, bool first) { *p = (first ? 0 : *p) + v_sum(x); }

/* ---- conv: one vector of channels through the rows ---- */
NC_INLINE void conv_vector(const nc_conv_args *a, const nc_recurrent_span *s, int64_t c, const int64_t m, float *w, float *history)
{
    const int64_t T = a->taps, C = a->channels;
    const float *x = (const float *)a->x + s->row * C + c, *state = begun(s);
    float *y = (float *)a->y + s->row * C + c;
    const vf bias = a->bias ? get((const float *)a->bias + c, m) : v_zero();

    for (int64_t j = 0; j < T; j++) {
        float column[NC_VL] = { 0 };
        for (int64_t l = 0; l < m; l++)
            column[l] = a->w ? ((const float *)a->w)[(c + l) * T + j] : j == T - 2;
        v_store(w + j * NC_VL, v_load(column));
        v_store(history + j * NC_VL, state && j < T - 1 ? get(state + j * C + c, m) : v_zero());
    }
    for (int64_t i = 0; i < s->rows; i++) {
        vf sum = bias;
        for (int64_t j = 0; j < T; j++) {
            int64_t index = i - T + 1 + j;
            vf in = index >= 0 ? get(x + index * C, m) : v_load(history + (index + T - 1) * NC_VL);
            sum = v_fma(v_load(w + j * NC_VL), in, sum);
        }
        put(y + i * C, sum, m);
    }
    for (int64_t j = 0; s->state && j < T - 1; j++) {
        int64_t index = s->rows - T + 1 + j;
        put(s->state + j * C + c, index >= 0 ? get(x + index * C, m) : v_load(history + (index + T - 1) * NC_VL), m);
    }
}

static void conv(const nc_conv_args *a, const nc_recurrent_span *s, int64_t unit, void *scratch)
{
    const int64_t end = least(a->channels, (unit + 1) * NC_CONV_UNIT);

    for (int64_t c = unit * NC_CONV_UNIT; c < end; c += NC_VL)
        if (end - c >= NC_VL)
            conv_vector(a, s, c, NC_VL, scratch, (float *)scratch + a->taps * NC_VL);
        else
            conv_vector(a, s, c, end - c, scratch, (float *)scratch + a->taps * NC_VL);
}

static void conv_backward_vector(const nc_conv_args *a, const nc_recurrent_span *s, int64_t c, int64_t m, float *w, float *dw)
{
    const int64_t T = a->taps, C = a->channels;
    const float *x = (const float *)a->x + s->row * C + c, *dy = (const float *)a->dy + s->row * C + c;
    vf bias = v_zero();

    for (int64_t j = 0; j < T; j++) {
        float column[NC_VL] = { 0 };
        for (int64_t l = 0; l < m; l++)
            column[l] = a->w ? ((const float *)a->w)[(c + l) * T + j] : j == T - 2;
        v_store(w + j * NC_VL, v_load(column));
        v_store(dw + j * NC_VL, v_zero());
    }
    for (int64_t i = 0; i < s->rows; i++) {
        vf here = get(dy + i * C, m), dx = v_zero();
        bias = v_add(bias, here);
        for (int64_t j = 0; j < T; j++) {
            if (i + T - 1 - j < s->rows)
                dx = v_fma(v_load(w + j * NC_VL), get(dy + (i + T - 1 - j) * C, m), dx);
            if (i - T + 1 + j >= 0)
                v_store(dw + j * NC_VL, v_fma(here, get(x + (i - T + 1 + j) * C, m), v_load(dw + j * NC_VL)));
        }
        if (a->dx)
            put((float *)a->dx + (s->row + i) * C + c, dx, m);
    }
    for (int64_t j = 0; a->dw && j < T; j++)
        for (int64_t l = 0; l < m; l++)
            ((float *)a->dw)[(c + l) * T + j] += dw[j * NC_VL + l];
    if (a->dbias)
        put((float *)a->dbias + c, v_add(get((float *)a->dbias + c, m), bias), m);
}

static void conv_backward(const nc_conv_args *a, const nc_recurrent_span *s, int64_t unit, void *scratch)
{
    const int64_t end = least(a->channels, (unit + 1) * NC_CONV_UNIT);

    for (int64_t c = unit * NC_CONV_UNIT; c < end; c += NC_VL)
        conv_backward_vector(a, s, c, least(NC_VL, end - c), scratch, (float *)scratch + a->taps * NC_VL);
}

/* ---- linear: W vectors of one head's value columns; S [K][W] ---- */
typedef struct at_row { const float *q, *k; float g, beta; int64_t v, h; } at_row;
NC_INLINE at_row row_of(const nc_linear_args *a, int64_t row, int64_t h)
{
    const int64_t at = (row * a->key_heads + h / (a->heads / a->key_heads)) * a->key, own = row * a->heads + h;
    return (at_row){ (const float *)a->q + at, (const float *)a->k + at, ((const float *)a->decay)[own], a->beta ? ((const float *)a->beta)[own] : 1, own * a->value, own };
}

/* S^T k */
NC_INLINE void project(const int W, const float *S, const float *k, int64_t K, vf *out)
{
#pragma GCC unroll 2
    for (int w = 0; w < W; w++)
        out[w] = v_zero();
    for (int64_t i = 0; i < K; i++)
#pragma GCC unroll 2
        for (int w = 0; w < W; w++)
            out[w] = v_fma(v_load(S + (i * W + w) * NC_VL), v_set(k[i]), out[w]);
}

/* Takes S through n rows that begin with u, key by key: S becomes g S + k u^T, out = S^T q. next: also S^T next after the last of them, into ahead. */
NC_INLINE void advance(const int W, const int n, float *S, const at_row *at, int64_t K, vf u[][2], vf out[][2], const float *next, vf *ahead)
{
    vf g[4];
#pragma GCC unroll 4
    for (int r = 0; r < n; r++) {
        g[r] = v_set(at[r].g);
#pragma GCC unroll 2
        for (int w = 0; w < W; w++)
            out[r][w] = ahead[w] = v_zero();
    }
    for (int64_t i = 0; i < K; i++)
#pragma GCC unroll 2
        for (int w = 0; w < W; w++) {
            vf x = v_load(S + (i * W + w) * NC_VL);
#pragma GCC unroll 4
            for (int r = 0; r < n; r++) {
                x = v_fma(v_set(at[r].k[i]), u[r][w], v_mul(g[r], x));
                out[r][w] = v_fma(x, v_set(at[r].q[i]), out[r][w]);
            }
            v_store(S + (i * W + w) * NC_VL, x);
            if (next)
                ahead[w] = v_fma(x, v_set(next[i]), ahead[w]);
        }
}

/* Rows [i, i + n) of a span; n above 1 for plain sums only. r: S^T k of row i, and on return of row i + n where there is one. */
NC_INLINE void linear_rows(const int W, const int n, const bool delta, const nc_linear_args *a, const nc_recurrent_span *s, int64_t h, int64_t i, int64_t c, int64_t m, float *S,
                           vf *r)
{
    at_row at[4];
    vf u[4][2], o[4][2], ahead[2];
    const float *next = delta && i + n < s->rows ? row_of(a, s->row + i + n, h).k : NULL;

#pragma GCC unroll 4
    for (int j = 0; j < n; j++) {
        at[j] = row_of(a, s->row + i + j, h);
#pragma GCC unroll 2
        for (int w = 0; w < W; w++) {
            u[j][w] = get((const float *)a->v + at[j].v + c + w * NC_VL, m);
            if (delta)
                u[j][w] = v_mul(v_set(at[j].beta), v_fnma(v_set(at[j].g), r[w], u[j][w]));
        }
    }
    if (next)
        advance(W, n, S, at, a->key, u, o, next, ahead);
    else
        advance(W, n, S, at, a->key, u, o, NULL, ahead);
#pragma GCC unroll 4
    for (int j = 0; j < n; j++)
#pragma GCC unroll 2
        for (int w = 0; w < W; w++) {
            put((float *)a->out + at[j].v + c + w * NC_VL, o[j][w], m);
            r[w] = ahead[w];
        }
}

NC_INLINE void linear_columns(const int W, const bool delta, const nc_linear_args *a, const nc_recurrent_span *s, int64_t h, int64_t c, int64_t m, float *S)
{
    const int64_t K = a->key, V = a->value;
    const float *state = begun(s);
    vf r[2] = { v_zero(), v_zero() };
    int64_t i = 0;

    for (int64_t k = 0; k < K; k++)
        for (int w = 0; w < W; w++)
            v_store(S + (k * W + w) * NC_VL, state ? get(state + (h * K + k) * V + c + w * NC_VL, m) : v_zero());
    if (delta)
        project(W, S, row_of(a, s->row, h).k, K, r);
    for (; !delta && i + 4 <= s->rows; i += 4)
        linear_rows(W, 4, false, a, s, h, i, c, m, S, r);
    for (; i < s->rows; i++)
        linear_rows(W, 1, delta, a, s, h, i, c, m, S, r);
    for (int64_t k = 0; s->state && k < K; k++)
        for (int w = 0; w < W; w++)
            put(s->state + (h * K + k) * V + c + w * NC_VL, v_load(S + (k * W + w) * NC_VL), m);
}

static void linear(const nc_linear_args *a, const nc_recurrent_span *s, int64_t h, void *scratch)
{
    for (int64_t c = 0; c < a->value;) {
        const bool two = a->value - c >= 2 * NC_VL;
        const int64_t m = two ? NC_VL : least(NC_VL, a->value - c);
        if (a->beta)
            two ? linear_columns(2, true, a, s, h, c, m, scratch) : linear_columns(1, true, a, s, h, c, m, scratch);
        else
            two ? linear_columns(2, false, a, s, h, c, m, scratch) : linear_columns(1, false, a, s, h, c, m, scratch);
        c += two ? 2 * NC_VL : m;
    }
}

/* The gradient takes a chunk of rows at a time, in it one value column after the other with the keys as lanes: sums over values (dq, dk) then need no adding across
 * lanes. What a chunk reads and writes by column is turned first, and its dq, dk stay close until it is done. */
typedef struct stretch {
    const nc_linear_args *a;
    at_row at[R];                                /* q and k lead to rows filled up with zeros, below */
    int64_t rows, keys;                          /* keys: whole vectors */
    float *v, *dout, *dv;                        /* [V][R] */
    float *q, *k, *dq, *dk, *states;             /* [R][keys]; states one more */
    float dg[R], dbeta[R], r[R], u[R];
} stretch;
NC_INLINE int64_t padded(int64_t K) { return (K + NC_VL - 1) / NC_VL * NC_VL; }

/* Row i of column v: S' = g S + k u into `to`. */
NC_INLINE void column_row(stretch *x, int64_t i, int64_t v, const float *S, float *to)
{
    const at_row *at = &x->at[i];
    const vf g = v_set(at->g);
    float u = x->v[v * R + i];

    if (x->a->beta) {
        vf sum = v_zero();
        for (int64_t c = 0; c < x->keys; c += NC_VL)
            sum = v_fma(v_load(S + c), v_load(at->k + c), sum);
        x->r[i] = v_sum(sum);
        u = at->beta * (u - at->g * x->r[i]);
    }
    x->u[i] = u;
    for (int64_t c = 0; c < x->keys; c += NC_VL)
        v_store(to + c, v_fma(v_set(u), v_load(at->k + c), v_mul(g, v_load(S + c))));
}

/* Row i backward: G is dL/dS_i without the row's own part and leaves as dL/dS_{i-1}. */
NC_INLINE void column_row_backward(stretch *x, const bool delta, int64_t i, int64_t v, float *G)
{
    const at_row *at = &x->at[i];
    const float *before = x->states + i * x->keys, *now = before + x->keys;
    const vf dout = v_set(x->dout[v * R + i]), u = v_set(x->u[i]), g = v_set(at->g);
    float *dq = x->dq + i * x->keys, *dk = x->dk + i * x->keys;
    vf du_sum = v_zero(), dg_sum = v_zero();

    for (int64_t c = 0; c < x->keys; c += NC_VL) {
        const vf y = v_fma(v_load(at->q + c), dout, v_load(G + c));
        v_store(G + c, delta ? y : v_mul(g, y));
        du_sum = v_fma(y, v_load(at->k + c), du_sum);
        dg_sum = v_fma(y, v_load(before + c), dg_sum);
        v_store(dq + c, v_fma(v_load(now + c), dout, v_load(dq + c)));
        v_store(dk + c, v_fma(y, u, v_load(dk + c)));
    }
    float du = v_sum(du_sum), dg = v_sum(dg_sum);
    if (delta) {
        x->dbeta[i] += du * (x->v[v * R + i] - at->g * x->r[i]);
        du *= at->beta;
        dg -= du * x->r[i];
        const vf dr = v_set(-du), back = v_set(-at->g * du);
        for (int64_t c = 0; c < x->keys; c += NC_VL) {
            v_store(dk + c, v_fma(back, v_load(before + c), v_load(dk + c)));
            v_store(G + c, v_mul(g, v_fma(dr, v_load(at->k + c), v_load(G + c))));
        }
    }
    x->dv[v * R + i] = du;
    x->dg[i] += dg;
}

NC_INLINE void column_backward(stretch *x, const bool delta, int64_t v, const float *begin, float *G)
{
    memcpy(x->states, begin, (size_t)x->keys * sizeof(float));
    for (int64_t i = 0; i < x->rows; i++)
        column_row(x, i, v, x->states + i * x->keys, x->states + (i + 1) * x->keys);
    for (int64_t i = x->rows - 1; i >= 0; i--)
        column_row_backward(x, delta, i, v, G);
}

/* A row's keys, filled up. */
static const float *filled(float *to, const float *from, int64_t K, int64_t keys)
{
    memcpy(to, from, (size_t)K * sizeof *to);
    for (int64_t c = K; c < keys; c++)
        to[c] = 0;
    return to;
}

static void rows_begin(stretch *x, const nc_recurrent_span *s, int64_t h, int64_t begin)
{
    const nc_linear_args *a = x->a;

    x->rows = least(R, s->rows - begin);
    for (int64_t i = 0; i < x->rows; i++) {
        x->at[i] = row_of(a, s->row + begin + i, h);
        x->at[i].q = filled(x->q + i * x->keys, x->at[i].q, a->key, x->keys);
        x->at[i].k = filled(x->k + i * x->keys, x->at[i].k, a->key, x->keys);
        for (int64_t v = 0; v < a->value; v++) {
            x->v[v * R + i] = ((const float *)a->v)[x->at[i].v + v];
            x->dout[v * R + i] = ((const float *)a->dout)[x->at[i].v + v];
        }
        x->dg[i] = x->dbeta[i] = x->r[i] = 0;
    }
    memset(x->dq, 0, (size_t)(x->rows * x->keys) * sizeof *x->dq);
    memset(x->dk, 0, (size_t)(x->rows * x->keys) * sizeof *x->dk);
}

static void rows_end(const stretch *x)
{
    const nc_linear_args *a = x->a;

    for (int64_t i = 0; i < x->rows; i++) {
        const at_row *at = &x->at[i];
        if (a->dq)
            memcpy((float *)a->dq + at->h * a->key, x->dq + i * x->keys, (size_t)a->key * sizeof(float));
        if (a->dk)
            memcpy((float *)a->dk + at->h * a->key, x->dk + i * x->keys, (size_t)a->key * sizeof(float));
        for (int64_t v = 0; a->dv && v < a->value; v++)
            ((float *)a->dv)[at->v + v] = x->dv[v * R + i];
        if (a->ddecay)
            ((float *)a->ddecay)[at->h] = x->dg[i];
        if (a->dbeta)
            ((float *)a->dbeta)[at->h] = x->dbeta[i];
    }
}

static void linear_backward(const nc_linear_args *a, const nc_recurrent_span *s, int64_t h, void *scratch)
{
    const int64_t keys = padded(a->key), all = keys * a->value, chunks = nc_recurrent_chunks(s->rows);
    float *G = scratch, *marks = G + all, *at = marks + chunks * all;
    stretch x = { .a = a, .keys = keys, .states = at, .dq = at + (R + 1) * keys, .dk = at + (2 * R + 1) * keys, .q = at + (3 * R + 1) * keys, .k = at + (4 * R + 1) * keys,
               .v = at + (5 * R + 1) * keys };

    x.dout = x.v + R * a->value;
    x.dv = x.dout + R * a->value;
    memset(G, 0, 2 * (size_t)all * sizeof *G);               /* and the first mark */
    for (int64_t c = 0; c + 1 < chunks; c++) {
        rows_begin(&x, s, h, c * R);
        for (int64_t v = 0; v < a->value; v++) {
            float *S = marks + (c + 1) * all + v * keys;
            for (int64_t i = 0; i < R; i++)
                column_row(&x, i, v, i ? S : S - all, S);
        }
    }
    for (int64_t c = chunks - 1; c >= 0; c--) {
        rows_begin(&x, s, h, c * R);
        for (int64_t v = 0; v < a->value; v++)
            if (a->beta)
                column_backward(&x, true, v, marks + c * all + v * keys, G + v * keys);
            else
                column_backward(&x, false, v, marks + c * all + v * keys, G + v * keys);
        rows_end(&x);
    }
}

/* ---- selective: channels as lanes, their states one after the other ---- */
/* A's rows of m channels from c, as [n][lanes]. */
static void turn(const nc_selective_args *a, int64_t c, int64_t m, float *to)
{
    for (int64_t k = 0; k < a->states; k++)
        for (int64_t l = 0; l < NC_VL; l++)
            to[k * NC_VL + l] = l < m ? ((const float *)a->a)[(c + l) * a->states + k] : 0;
}

/* h' from h into `to`; y */
NC_INLINE vf selective_row(const nc_selective_args *a, int64_t row, int64_t c, int64_t m, const float *A, const float *h, float *to)
{
    const int64_t n = a->states, at = row * a->channels + c;
    const float *B = (const float *)a->b + row * n, *C = (const float *)a->c + row * n;
    const vf d = get((const float *)a->d + at, m), dx = v_mul(d, get((const float *)a->x + at, m));
    vf y = v_zero();

    for (int64_t k = 0; k < n; k++) {
        vf x = v_fma(v_exp(v_mul(d, v_load(A + k * NC_VL))), v_load(h + k * NC_VL), v_mul(dx, v_set(B[k])));
        v_store(to + k * NC_VL, x);
        y = v_fma(x, v_set(C[k]), y);
    }
    return y;
}

static void selective(const nc_selective_args *a, const nc_recurrent_span *s, int64_t unit, void *scratch)
{
    const int64_t n = a->states, C = a->channels, end = least(C, (unit + 1) * NC_SCAN_UNIT);
    const float *state = begun(s);
    float *A = scratch, *h = A + n * NC_VL;

    for (int64_t c = unit * NC_SCAN_UNIT; c < end; c += NC_VL) {
        const int64_t m = least(NC_VL, end - c);
        turn(a, c, m, A);
        for (int64_t k = 0; k < n; k++)
            v_store(h + k * NC_VL, state ? get(state + k * C + c, m) : v_zero());
        for (int64_t i = 0; i < s->rows; i++)
            put((float *)a->y + (s->row + i) * C + c, selective_row(a, s->row + i, c, m, A, h, h), m);
        for (int64_t k = 0; s->state && k < n; k++)
            put(s->state + k * C + c, v_load(h + k * NC_VL), m);
    }
}

static void selective_row_backward(const nc_selective_args *a, int64_t row, int64_t unit, int64_t c, int64_t m, const float *A, const float *before, const float *now,
                                   float *G, float *dA)
{
    const int64_t n = a->states, at = row * a->channels + c, shared = (row * nc_units(a->channels, NC_SCAN_UNIT) + unit) * n;
    const bool first = c % NC_SCAN_UNIT == 0;
    const float *B = (const float *)a->b + row * n, *C = (const float *)a->c + row * n;
    const vf d = get((const float *)a->d + at, m), x = get((const float *)a->x + at, m), dy = get((const float *)a->dy + at, m), dx = v_mul(d, x);
    vf du = v_zero(), dd = v_zero();

    for (int64_t k = 0; k < n; k++) {
        vf slope = v_load(A + k * NC_VL), decay = v_exp(v_mul(d, slope)), g = v_fma(dy, v_set(C[k]), v_load(G + k * NC_VL));
        vf moved = v_mul(v_mul(g, v_load(before + k * NC_VL)), decay);
        du = v_fma(g, v_set(B[k]), du);
        dd = v_fma(moved, slope, dd);
        v_store(dA + k * NC_VL, v_fma(moved, d, v_load(dA + k * NC_VL)));
        if (a->db)
            add_sum((float *)a->db + shared + k, v_mul(g, dx), first);
        if (a->dc)
            add_sum((float *)a->dc + shared + k, v_mul(dy, v_load(now + k * NC_VL)), first);
        v_store(G + k * NC_VL, v_mul(decay, g));
    }
    if (a->dx)
        put((float *)a->dx + at, v_mul(du, d), m);
    if (a->dd)
        put((float *)a->dd + at, v_fma(du, x, dd), m);
}

static void selective_vector_backward(const nc_selective_args *a, const nc_recurrent_span *s, int64_t unit, int64_t c, int64_t m, float *scratch)
{
    const int64_t n = a->states, each = n * NC_VL, chunks = nc_recurrent_chunks(s->rows);
    float *A = scratch, *dA = A + each, *G = dA + each, *marks = G + each, *states = marks + (chunks + 1) * each;

    turn(a, c, m, A);
    memset(dA, 0, 3 * (size_t)each * sizeof *dA);            /* and G, and the first mark */
    for (int64_t i = 0; i < s->rows; i++) {
        float *h = marks + (i / R + 1) * each;
        selective_row(a, s->row + i, c, m, A, i % R ? h : h - each, h);
    }
    for (int64_t chunk = chunks - 1; chunk >= 0; chunk--) {
        const int64_t begin = chunk * R, rows = least(R, s->rows - begin);
        memcpy(states, marks + chunk * each, (size_t)each * sizeof *states);
        for (int64_t i = 0; i < rows; i++)
            selective_row(a, s->row + begin + i, c, m, A, states + i * each, states + (i + 1) * each);
        for (int64_t i = rows - 1; i >= 0; i--)
            selective_row_backward(a, s->row + begin + i, unit, c, m, A, states + i * each, states + (i + 1) * each, G, dA);
    }
    for (int64_t k = 0; a->da && k < n; k++)
        for (int64_t l = 0; l < m; l++)
            ((float *)a->da)[(c + l) * n + k] += dA[k * NC_VL + l];
}

static void selective_backward(const nc_selective_args *a, const nc_recurrent_span *s, int64_t unit, void *scratch)
{
    const int64_t end = least(a->channels, (unit + 1) * NC_SCAN_UNIT);

    for (int64_t c = unit * NC_SCAN_UNIT; c < end; c += NC_VL)
        selective_vector_backward(a, s, unit, c, least(NC_VL, end - c), scratch);
}

/* ---- wkv: channels as lanes; a pair of mantissas and their exponent ---- */
typedef struct pair { vf a, b, m; } pair;
NC_INLINE pair wkv_add(pair s, vf shift, vf p, vf x)
{
    const vf from = v_add(s.m, shift), m = v_max(from, p), e1 = v_exp(v_sub(from, m)), e2 = v_exp(v_sub(p, m));
    return (pair){ v_fma(e1, s.a, v_mul(e2, x)), v_fma(e1, s.b, e2), m };
}
NC_INLINE pair wkv_empty(void) { return (pair){ v_zero(), v_zero(), v_set(-1e38f) }; }

static void wkv(const nc_wkv_args *a, const nc_recurrent_span *s, int64_t unit, void *scratch)
{
    const int64_t C = a->channels, end = least(C, (unit + 1) * NC_SCAN_UNIT);
    const float *state = begun(s);

    (void)scratch;
    for (int64_t c = unit * NC_SCAN_UNIT; c < end; c += NC_VL) {
        const int64_t m = least(NC_VL, end - c);
        const vf w = get((const float *)a->w + c, m), u = get((const float *)a->u + c, m);
        pair at = state ? (pair){ get(state + c, m), get(state + C + c, m), get(state + 2 * C + c, m) } : wkv_empty();
        for (int64_t i = 0; i < s->rows; i++) {
            const int64_t row = (s->row + i) * C + c;
            const vf k = get((const float *)a->k + row, m), v = get((const float *)a->v + row, m);
            pair out = wkv_add(at, v_zero(), v_add(k, u), v);
            put((float *)a->y + row, v_div(out.a, out.b), m);
            at = wkv_add(at, w, k, v);
        }
        if (s->state) {
            put(s->state + c, at.a, m);
            put(s->state + C + c, at.b, m);
            put(s->state + 2 * C + c, at.m, m);
        }
    }
}

static void wkv_vector_backward(const nc_wkv_args *a, const nc_recurrent_span *s, int64_t c, int64_t m, pair *before)
{
    const int64_t C = a->channels;
    const vf w = get((const float *)a->w + c, m), u = get((const float *)a->u + c, m), nothing = v_set(-1e38f);
    vf Ga = v_zero(), Gb = v_zero(), o = nothing, dw = v_zero(), du = v_zero();

    before[0] = wkv_empty();
    for (int64_t i = 0; i < s->rows; i++) {
        const int64_t row = (s->row + i) * C + c;
        before[i + 1] = wkv_add(before[i], w, get((const float *)a->k + row, m), get((const float *)a->v + row, m));
    }
    for (int64_t i = s->rows - 1; i >= 0; i--) {
        const int64_t row = (s->row + i) * C + c;
        const vf k = get((const float *)a->k + row, m), v = get((const float *)a->v + row, m);
        const pair out = wkv_add(before[i], v_zero(), v_add(k, u), v);
        const vf y = v_div(out.a, out.b), p = v_div(get((const float *)a->dy + row, m), out.b);
        const vf own = v_mul(v_exp(v_sub(v_add(u, k), out.m)), p), later = v_exp(v_add(k, o)), turned = v_mul(own, v_sub(v, y));
        if (a->dv)
            put((float *)a->dv + row, v_fma(later, Ga, own), m);
        if (a->dk)
            put((float *)a->dk + row, v_fma(later, v_fma(Ga, v, Gb), turned), m);
        du = v_add(du, turned);
        dw = v_fma(v_exp(v_add(v_add(w, before[i].m), o)), v_fma(Ga, before[i].a, v_mul(Gb, before[i].b)), dw);
        const vf from = v_add(w, o), to = v_max(from, v_neg(out.m)), e1 = v_exp(v_sub(from, to)), e2 = v_mul(v_exp(v_sub(v_neg(out.m), to)), p);
        Ga = v_fma(e1, Ga, e2);
        Gb = v_fnma(e2, y, v_mul(e1, Gb));
        o = to;
    }
    if (a->dw)
        put((float *)a->dw + c, v_add(get((float *)a->dw + c, m), dw), m);
    if (a->du)
        put((float *)a->du + c, v_add(get((float *)a->du + c, m), du), m);
}

static void wkv_backward(const nc_wkv_args *a, const nc_recurrent_span *s, int64_t unit, void *scratch)
{
    const int64_t end = least(a->channels, (unit + 1) * NC_SCAN_UNIT);

    for (int64_t c = unit * NC_SCAN_UNIT; c < end; c += NC_VL)
        wkv_vector_backward(a, s, c, least(NC_VL, end - c), scratch);
}

void ISA(nc_recurrent)(struct nc_recurrent_kernels *t)
{
    t->conv[NC_SLOT_F32] = conv, t->conv_backward[NC_SLOT_F32] = conv_backward;
    t->linear[NC_SLOT_F32] = linear, t->linear_backward[NC_SLOT_F32] = linear_backward;
    t->selective[NC_SLOT_F32] = selective, t->selective_backward[NC_SLOT_F32] = selective_backward;
    t->wkv[NC_SLOT_F32] = wkv, t->wkv_backward[NC_SLOT_F32] = wkv_backward;
}

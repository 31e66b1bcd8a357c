/* recurrent.c - the definitions of recurrent.h: one column of the state after the other, arithmetic in double, the state rounded to f32 after every row of an f32 run.
 *
 * Gradients go through the rows backward with G = dL/dS_i (dL/dh_i, dL/da_i); states are made again, chunk by chunk, from those at chunk boundaries.
 */
#include <math.h>
#include <string.h>

#include "kernels/recurrent.h"

static double load(bool f64, const void *p, int64_t i) { return f64 ? ((const double *)p)[i] : (double)((const float *)p)[i]; }
static void store(bool f64, void *p, int64_t i, double v)
{
    if (f64)
        ((double *)p)[i] = v;
    else
        ((float *)p)[i] = (float)v;
}
/* Rounded to f32. volatile: GCC 12 at -O2 drops the rounding of two neighbours that it takes as a vector. */
static double keep(bool f64, double v)
{
    volatile float narrow = (float)v;
    return f64 ? v : (double)narrow;
}
static void add(bool f64, void *p, int64_t i, double v) { store(f64, p, i, load(f64, p, i) + v); }
static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static float *begun(const nc_recurrent_span *s) { return s->fresh ? NULL : s->state; }      /* the state to begin with, or NULL */

/* ---- conv ---- */
/* x of the row `index` of the span, which may lie before it. */
static double input(bool f64, const nc_conv_args *a, const nc_recurrent_span *s, int64_t index, int64_t c)
{
    if (index >= 0)
        return load(f64, a->x, (s->row + index) * a->channels + c);
    const float *state = begun(s);
    return state ? state[(index + a->taps - 1) * a->channels + c] : 0;
}

static void conv(bool f64, const nc_conv_args *a, const nc_recurrent_span *s, int64_t unit)
{
    const int64_t T = a->taps;

    for (int64_t c = unit * NC_CONV_UNIT; c < least(a->channels, (unit + 1) * NC_CONV_UNIT); c++) {
        double last[NC_CONV_MAX_TAPS];
        for (int64_t i = 0; i < s->rows; i++) {
            double sum = a->bias ? load(f64, a->bias, c) : 0;
            for (int64_t j = 0; a->w && j < T; j++)
                sum += load(f64, a->w, c * T + j) * input(f64, a, s, i - T + 1 + j, c);
            store(f64, a->y, (s->row + i) * a->channels + c, a->w ? sum : input(f64, a, s, i - 1, c));
        }
        for (int64_t j = 0; j < T - 1; j++)
            last[j] = input(f64, a, s, s->rows - T + 1 + j, c);
        for (int64_t j = 0; s->state && j < T - 1; j++)
            s->state[j * a->channels + c] = (float)last[j];
    }
}

static void conv_backward(bool f64, const nc_conv_args *a, const nc_recurrent_span *s, int64_t unit)
{
    const int64_t T = a->taps, C = a->channels;

    for (int64_t c = unit * NC_CONV_UNIT; c < least(C, (unit + 1) * NC_CONV_UNIT); c++) {
        double sums[NC_CONV_MAX_TAPS] = { 0 }, bias = 0;
        for (int64_t i = 0; i < s->rows; i++) {
            double dy = load(f64, a->dy, (s->row + i) * C + c), dx = 0;
            bias += dy;
            for (int64_t j = 0; j < T; j++) {
                double w = a->w ? load(f64, a->w, c * T + j) : j == T - 2;
                if (i + T - 1 - j < s->rows)
                    dx += w * load(f64, a->dy, (s->row + i + T - 1 - j) * C + c);
                sums[j] += i - T + 1 + j >= 0 ? dy * load(f64, a->x, (s->row + i - T + 1 + j) * C + c) : 0;
            }
            if (a->dx)
                store(f64, a->dx, (s->row + i) * C + c, dx);
        }
        for (int64_t j = 0; a->dw && j < T; j++)
            add(f64, a->dw, c * T + j, sums[j]);
        if (a->dbias)
            add(f64, a->dbias, c, bias);
    }
}

/* ---- linear ---- */
typedef struct at_row { int64_t q, v, h; } at_row;        /* where a row of a head begins in q and k, in v and out, in decay and beta */
static at_row row_of(const nc_linear_args *a, int64_t row, int64_t h)
{
    return (at_row){ (row * a->key_heads + h / (a->heads / a->key_heads)) * a->key, (row * a->heads + h) * a->value, row * a->heads + h };
}

/* One row of column v: S becomes S_i; *r = S_{i-1}^T k, *u what goes in; returns o. */
static double linear_row(bool f64, const nc_linear_args *a, at_row at, int64_t v, double *S, double *r, double *u)
{
    double g = load(f64, a->decay, at.h), o = 0;

    *r = 0;
    *u = load(f64, a->v, at.v + v);
    for (int64_t k = 0; a->beta && k < a->key; k++)
        *r += S[k] * load(f64, a->k, at.q + k);
    if (a->beta)
        *u = load(f64, a->beta, at.h) * (*u - g * *r);
    for (int64_t k = 0; k < a->key; k++) {
        S[k] = keep(f64, g * S[k] + load(f64, a->k, at.q + k) * *u);
        o += S[k] * load(f64, a->q, at.q + k);
    }
    return o;
}

static void linear(bool f64, const nc_linear_args *a, const nc_recurrent_span *s, int64_t h, void *scratch)
{
    const int64_t K = a->key, V = a->value;
    const float *state = begun(s);
    double *S = scratch, r, u;

    for (int64_t v = 0; v < V; v++) {
        for (int64_t k = 0; k < K; k++)
            S[k] = state ? state[(h * K + k) * V + v] : 0;
        for (int64_t i = 0; i < s->rows; i++) {
            at_row at = row_of(a, s->row + i, h);
            store(f64, a->out, at.v + v, linear_row(f64, a, at, v, S, &r, &u));
        }
        for (int64_t k = 0; s->state && k < K; k++)
            s->state[(h * K + k) * V + v] = (float)S[k];
    }
}

/* G holds dL/dS_i without row i's own part, and leaves as dL/dS_{i-1}; now and before are S_i, S_{i-1}. */
static void linear_row_backward(bool f64, const nc_linear_args *a, at_row at, int64_t v, const double *before, const double *now, double r, double u, double *G)
{
    const int64_t own = at.h * a->key;
    double g = load(f64, a->decay, at.h), dout = load(f64, a->dout, at.v + v), du = 0, dr = 0, dg = 0;

    for (int64_t k = 0; k < a->key; k++) {
        G[k] += load(f64, a->q, at.q + k) * dout;
        du += G[k] * load(f64, a->k, at.q + k);
        dg += G[k] * before[k];
        if (a->dq)
            add(f64, a->dq, own + k, now[k] * dout);
        if (a->dk)
            add(f64, a->dk, own + k, G[k] * u);
    }
    if (a->beta) {
        double beta = load(f64, a->beta, at.h);
        if (a->dbeta)
            add(f64, a->dbeta, at.h, du * (load(f64, a->v, at.v + v) - g * r));
        dr = -beta * du;
        dg += dr * r;
        du *= beta;
    }
    if (a->dv)
        store(f64, a->dv, at.v + v, du);
    if (a->ddecay)
        add(f64, a->ddecay, at.h, dg);
    for (int64_t k = 0; k < a->key; k++) {
        if (a->dk && a->beta)
            add(f64, a->dk, own + k, g * dr * before[k]);
        G[k] = g * (G[k] + dr * load(f64, a->k, at.q + k));
    }
}

static void clear_row(bool f64, void *p, int64_t at, int64_t n)
{
    if (p)
        memset((char *)p + at * (f64 ? 8 : 4), 0, (size_t)n * (f64 ? 8 : 4));
}

static void linear_backward(bool f64, const nc_linear_args *a, const nc_recurrent_span *s, int64_t h, void *scratch)
{
    enum { R = NC_RECURRENT_CHUNK };
    const int64_t K = a->key, chunks = nc_recurrent_chunks(s->rows);
    double *G = scratch, *marks = G + K, *states = marks + (chunks + 1) * K, *r = states + (R + 1) * K, *u = r + R;

    for (int64_t i = 0; i < s->rows; i++) {
        at_row at = row_of(a, s->row + i, h);
        clear_row(f64, a->dq, at.h * K, K);
        clear_row(f64, a->dk, at.h * K, K);
        clear_row(f64, a->ddecay, at.h, 1);
        clear_row(f64, a->dbeta, at.h, 1);
    }
    for (int64_t v = 0; v < a->value; v++) {
        memset(marks, 0, (size_t)K * sizeof *marks);
        memset(G, 0, (size_t)K * sizeof *G);
        for (int64_t i = 0; i < s->rows; i++) {
            double *S = marks + (i / R + 1) * K;
            if (i % R == 0)
                memcpy(S, S - K, (size_t)K * sizeof *S);
            linear_row(f64, a, row_of(a, s->row + i, h), v, S, r, u);
        }
        for (int64_t chunk = chunks - 1; chunk >= 0; chunk--) {
            const int64_t begin = chunk * R, rows = least(R, s->rows - begin);
            memcpy(states, marks + chunk * K, (size_t)K * sizeof *states);
            for (int64_t i = 0; i < rows; i++) {
                memcpy(states + (i + 1) * K, states + i * K, (size_t)K * sizeof *states);
                linear_row(f64, a, row_of(a, s->row + begin + i, h), v, states + (i + 1) * K, &r[i], &u[i]);
            }
            for (int64_t i = rows - 1; i >= 0; i--)
                linear_row_backward(f64, a, row_of(a, s->row + begin + i, h), v, states + i * K, states + (i + 1) * K, r[i], u[i], G);
        }
    }
}

/* ---- selective ---- */
static double selective_row(bool f64, const nc_selective_args *a, int64_t row, int64_t c, double *h)
{
    const int64_t n = a->states;
    double d = load(f64, a->d, row * a->channels + c), x = load(f64, a->x, row * a->channels + c), y = 0;

    for (int64_t k = 0; k < n; k++) {
        h[k] = keep(f64, exp(d * load(f64, a->a, c * n + k)) * h[k] + d * x * load(f64, a->b, row * n + k));
        y += h[k] * load(f64, a->c, row * n + k);
    }
    return y;
}

static void selective(bool f64, const nc_selective_args *a, const nc_recurrent_span *s, int64_t unit, void *scratch)
{
    const float *state = begun(s);
    double *h = scratch;

    for (int64_t c = unit * NC_SCAN_UNIT; c < least(a->channels, (unit + 1) * NC_SCAN_UNIT); c++) {
        for (int64_t k = 0; k < a->states; k++)
            h[k] = state ? state[k * a->channels + c] : 0;
        for (int64_t i = 0; i < s->rows; i++)
            store(f64, a->y, (s->row + i) * a->channels + c, selective_row(f64, a, s->row + i, c, h));
        for (int64_t k = 0; s->state && k < a->states; k++)
            s->state[k * a->channels + c] = (float)h[k];
    }
}

static void selective_row_backward(bool f64, const nc_selective_args *a, int64_t row, int64_t unit, int64_t c, const double *before, const double *now, double *G)
{
    const int64_t n = a->states, at = row * a->channels + c, shared = (row * nc_units(a->channels, NC_SCAN_UNIT) + unit) * n;
    double d = load(f64, a->d, at), x = load(f64, a->x, at), dy = load(f64, a->dy, at), du = 0, dd = 0;

    for (int64_t k = 0; k < n; k++) {
        double A = load(f64, a->a, c * n + k), decay = exp(d * A);
        G[k] += dy * load(f64, a->c, row * n + k);
        du += G[k] * load(f64, a->b, row * n + k);
        dd += G[k] * before[k] * decay * A;
        if (a->da)
            add(f64, a->da, c * n + k, G[k] * before[k] * decay * d);
        if (a->db)
            add(f64, a->db, shared + k, G[k] * d * x);
        if (a->dc)
            add(f64, a->dc, shared + k, dy * now[k]);
        G[k] *= decay;
    }
    if (a->dx)
        store(f64, a->dx, at, du * d);
    if (a->dd)
        store(f64, a->dd, at, dd + du * x);
}

static void selective_backward(bool f64, const nc_selective_args *a, const nc_recurrent_span *s, int64_t unit, void *scratch)
{
    enum { R = NC_RECURRENT_CHUNK };
    const int64_t n = a->states, chunks = nc_recurrent_chunks(s->rows), units = nc_units(a->channels, NC_SCAN_UNIT);
    double *G = scratch, *marks = G + n, *states = marks + (chunks + 1) * n;

    for (int64_t i = 0; i < s->rows; i++) {
        clear_row(f64, a->db, ((s->row + i) * units + unit) * n, n);
        clear_row(f64, a->dc, ((s->row + i) * units + unit) * n, n);
    }
    for (int64_t c = unit * NC_SCAN_UNIT; c < least(a->channels, (unit + 1) * NC_SCAN_UNIT); c++) {
        memset(G, 0, (size_t)n * sizeof *G);
        memset(marks, 0, (size_t)n * sizeof *marks);
        for (int64_t i = 0; i < s->rows; i++) {
            double *h = marks + (i / R + 1) * n;
            if (i % R == 0)
                memcpy(h, h - n, (size_t)n * sizeof *h);
            selective_row(f64, a, s->row + i, c, h);
        }
        for (int64_t chunk = chunks - 1; chunk >= 0; chunk--) {
            const int64_t begin = chunk * R, rows = least(R, s->rows - begin);
            memcpy(states, marks + chunk * n, (size_t)n * sizeof *states);
            for (int64_t i = 0; i < rows; i++) {
                memcpy(states + (i + 1) * n, states + i * n, (size_t)n * sizeof *states);
                selective_row(f64, a, s->row + begin + i, c, states + (i + 1) * n);
            }
            for (int64_t i = rows - 1; i >= 0; i--)
                selective_row_backward(f64, a, s->row + begin + i, unit, c, states + i * n, states + (i + 1) * n, G);
        }
    }
}

/* ---- wkv ---- */
static const double NOTHING = -1e38;                     /* the exponent of an empty state */

/* Adds e^p x to the pair (a, b) e^(m + shift). */
static void wkv_add(bool f64, double *s, double shift, double p, double x)
{
    double m = fmax(s[2] + shift, p), e1 = exp(s[2] + shift - m), e2 = exp(p - m);
    s[0] = keep(f64, e1 * s[0] + e2 * x);
    s[1] = keep(f64, e1 * s[1] + e2);
    s[2] = keep(f64, m);
}

/* y of a row from the state before it; the state moves on. *den, *q: the divisor is den e^q. */
static double wkv_row(bool f64, const nc_wkv_args *a, int64_t at, int64_t c, double *s, double *den, double *q)
{
    double k = load(f64, a->k, at), v = load(f64, a->v, at), out[3] = { s[0], s[1], s[2] };

    wkv_add(f64, out, 0, k + load(f64, a->u, c), v);
    wkv_add(f64, s, load(f64, a->w, c), k, v);
    *den = out[1];
    *q = out[2];
    return out[0] / out[1];
}

static void wkv(bool f64, const nc_wkv_args *a, const nc_recurrent_span *s, int64_t unit, void *scratch)
{
    const float *state = begun(s);
    double den, q;

    (void)scratch;
    for (int64_t c = unit * NC_SCAN_UNIT; c < least(a->channels, (unit + 1) * NC_SCAN_UNIT); c++) {
        double at[3] = { 0, 0, NOTHING };
        for (int j = 0; state && j < 3; j++)
            at[j] = state[j * a->channels + c];
        for (int64_t i = 0; i < s->rows; i++)
            store(f64, a->y, (s->row + i) * a->channels + c, wkv_row(f64, a, (s->row + i) * a->channels + c, c, at, &den, &q));
        for (int j = 0; s->state && j < 3; j++)
            s->state[j * a->channels + c] = (float)at[j];
    }
}

/* With D the divisor, p = dy / D:  Ga_{i-1} = e^w Ga_i + p,  Gb_{i-1} = e^w Gb_i - p y;  Ga, Gb are mantissas of e^o. */
static void wkv_column_backward(bool f64, const nc_wkv_args *a, const nc_recurrent_span *s, int64_t c, double *states)
{
    double w = load(f64, a->w, c), u = load(f64, a->u, c), Ga = 0, Gb = 0, o = NOTHING, dw = 0, du = 0, den, q;

    states[0] = states[1] = 0;
    states[2] = NOTHING;
    for (int64_t i = 0; i < s->rows; i++) {
        memcpy(states + 3 * (i + 1), states + 3 * i, 3 * sizeof *states);
        wkv_row(f64, a, (s->row + i) * a->channels + c, c, states + 3 * (i + 1), &den, &q);
    }
    for (int64_t i = s->rows - 1; i >= 0; i--) {
        const int64_t at = (s->row + i) * a->channels + c;
        double before[3] = { states[3 * i], states[3 * i + 1], states[3 * i + 2] }, k = load(f64, a->k, at), v = load(f64, a->v, at);
        double spare[3] = { before[0], before[1], before[2] }, y = wkv_row(f64, a, at, c, spare, &den, &q), p = load(f64, a->dy, at) / den;
        double own = exp(u + k - q), later = exp(k + o);
        if (a->dv)
            store(f64, a->dv, at, own * p + later * Ga);
        if (a->dk)
            store(f64, a->dk, at, own * p * (v - y) + later * (Ga * v + Gb));
        du += own * p * (v - y);
        dw += exp(w + before[2] + o) * (Ga * before[0] + Gb * before[1]);
        double m = fmax(w + o, -q), e1 = exp(w + o - m), e2 = exp(-q - m);
        Ga = e1 * Ga + e2 * p;
        Gb = e1 * Gb - e2 * p * y;
        o = m;
    }
    if (a->dw)
        add(f64, a->dw, c, dw);
    if (a->du)
        add(f64, a->du, c, du);
}

static void wkv_backward(bool f64, const nc_wkv_args *a, const nc_recurrent_span *s, int64_t unit, void *scratch)
{
    for (int64_t c = unit * NC_SCAN_UNIT; c < least(a->channels, (unit + 1) * NC_SCAN_UNIT); c++)
        wkv_column_backward(f64, a, s, c, scratch);
}

#define TYPED(name, args, with_scratch)                                                                                                                          \
    static void name##_f32(const args *a, const nc_recurrent_span *s, int64_t unit, void *scratch) { (void)scratch; name(false, a, s, unit with_scratch); }      \
    static void name##_f64(const args *a, const nc_recurrent_span *s, int64_t unit, void *scratch) { (void)scratch; name(true, a, s, unit with_scratch); }
#define SCRATCH , scratch
TYPED(conv, nc_conv_args, )
TYPED(conv_backward, nc_conv_args, )
TYPED(linear, nc_linear_args, SCRATCH)
TYPED(linear_backward, nc_linear_args, SCRATCH)
TYPED(selective, nc_selective_args, SCRATCH)
TYPED(selective_backward, nc_selective_args, SCRATCH)
TYPED(wkv, nc_wkv_args, SCRATCH)
TYPED(wkv_backward, nc_wkv_args, SCRATCH)
#define SLOTS(name) { name##_f32, NULL, name##_f64 }

const struct nc_recurrent_kernels nc_ref_recurrent = {
    SLOTS(conv), SLOTS(conv_backward), SLOTS(linear), SLOTS(linear_backward), SLOTS(selective), SLOTS(selective_backward), SLOTS(wkv), SLOTS(wkv_backward),
};

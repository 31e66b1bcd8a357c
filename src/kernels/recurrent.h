/* recurrent.h - recurrences over the rows of a sequence, and their gradients: what state-space and linear-attention decoders stand on.
 *
 *   conv       y_i[c] = bias[c] + sum_j w[c,j] x_{i-T+1+j}[c]                                         j < T taps; without w the row before: y_i = x_{i-1}
 *   linear     S_i = g_i S_{i-1} + k_i u_i^T,  o_i = S_i^T q_i                                        S [K,V] of each head; u_i = v_i  (Mamba-2's SSD: k B, q C, v dt x)
 *              with beta:  u_i = beta_i (v_i - g_i S_{i-1}^T k_i)                                     the gated delta rule (Yang et al. 2024)
 *   selective  h_i[c,n] = exp(d_i[c] A[c,n]) h_{i-1}[c,n] + d_i[c] x_i[c] B_i[n],  y_i[c] = sum_n h_i[c,n] C_i[n]      Mamba (Gu and Dao 2023)
 *   wkv        y_i = (a_{i-1} + e^(u+k_i) v_i) / (b_{i-1} + e^(u+k_i)),  a_i = e^w a_{i-1} + e^(k_i) v_i,  b_i = e^w b_{i-1} + e^(k_i)     RWKV-4 (Peng et al. 2023)
 *
 * Rows are taken one after the other with the state in f32, and every column of the state by itself: a row's result depends on the rows before it alone, whatever the
 * chunks, the batch, the threads or the columns beside it. So a sequence can stop after any row and go on from its state. wkv holds a, b as mantissas of a common
 * e^m, m the largest exponent met.
 *
 * Work is dealt by unit (heads; blocks of channels); one call takes one unit through one span. Everything is contiguous, f32 or f64 (slot F32, F64; BF16 is NULL).
 * A state (f32) is, for each sequence: conv [T-1][C] the last inputs; linear [H][K][V]; selective [n][C]; wkv [3][C] a, b, m.
 * Backward calls begin with nothing and keep nothing; gradients of weights (dw, dbias, dA, du, dw) are added to, rows in order; the rest is written.
 */
#ifndef NC_KERNELS_RECURRENT_H
#define NC_KERNELS_RECURRENT_H
#include "kernels/dtype.h"
#include "kernels/kernels.h"

enum { NC_CONV_UNIT = 64, NC_SCAN_UNIT = 16, NC_RECURRENT_CHUNK = 16, NC_CONV_MAX_TAPS = 64 };   /* channels of a unit; rows between checkpoints of a backward pass */

typedef struct nc_recurrent_span {
    int64_t row, rows;
    float *state;                    /* of this sequence; NULL: begins with nothing, leaves nothing */
    bool fresh;                      /* begins with nothing whatever state holds */
} nc_recurrent_span;

typedef struct nc_conv_args { int64_t channels, taps; const void *x, *w, *bias, *dy; void *y, *dx, *dw, *dbias; } nc_conv_args;      /* w [C,T] */
typedef struct nc_linear_args {
    int64_t heads, key_heads, key, value;                        /* H, G, K, V; H a multiple of G: head h reads q and k of h / (H/G) */
    const void *q, *k, *v, *decay, *beta, *dout;                 /* [N,G,K], [N,G,K], [N,H,V], [N,H], [N,H] or NULL, [N,H,V] */
    void *out, *dq, *dk, *dv, *ddecay, *dbeta;                   /* dq, dk of each head: [N,H,K] */
} nc_linear_args;
typedef struct nc_selective_args {
    int64_t channels, states;
    const void *x, *d, *a, *b, *c, *dy;                          /* [N,C], [N,C], [C,n], [N,n], [N,n], [N,C] */
    void *y, *dx, *dd, *da, *db, *dc;                            /* db, dc of each unit: [N,U,n] */
} nc_selective_args;
typedef struct nc_wkv_args { int64_t channels; const void *k, *v, *w, *u, *dy; void *y, *dk, *dv, *dw, *du; } nc_wkv_args;               /* w = log decay, u [C] */

typedef void nc_conv_fn(const nc_conv_args *a, const nc_recurrent_span *s, int64_t unit, void *scratch);
typedef void nc_linear_fn(const nc_linear_args *a, const nc_recurrent_span *s, int64_t unit, void *scratch);
typedef void nc_selective_fn(const nc_selective_args *a, const nc_recurrent_span *s, int64_t unit, void *scratch);
typedef void nc_wkv_fn(const nc_wkv_args *a, const nc_recurrent_span *s, int64_t unit, void *scratch);

struct nc_recurrent_kernels {
    nc_conv_fn *conv[NC_SLOTS], *conv_backward[NC_SLOTS];
    nc_linear_fn *linear[NC_SLOTS], *linear_backward[NC_SLOTS];
    nc_selective_fn *selective[NC_SLOTS], *selective_backward[NC_SLOTS];
    nc_wkv_fn *wkv[NC_SLOTS], *wkv_backward[NC_SLOTS];
};

static inline int64_t nc_units(int64_t channels, int64_t unit) { return (channels + unit - 1) / unit; }
static inline int64_t nc_recurrent_chunks(int64_t rows) { return (rows + NC_RECURRENT_CHUNK - 1) / NC_RECURRENT_CHUNK; }
/* Scratch of one call, 64-byte aligned, enough at every level; rows: of the longest span (0: a forward call). */
size_t nc_conv_scratch(int64_t taps);
size_t nc_linear_scratch(int64_t key, int64_t value, int64_t rows);
size_t nc_selective_scratch(int64_t states, int64_t rows);
size_t nc_wkv_scratch(int64_t rows);

extern const struct nc_recurrent_kernels nc_ref_recurrent;
void nc_recurrent_avx2(struct nc_recurrent_kernels *t);
void nc_recurrent_avx512(struct nc_recurrent_kernels *t);
#endif

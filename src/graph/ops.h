/* ops.h - the constructors of nodes. x is a value, shapes outermost first; every one accepts poison and NULL-checks nothing else.
 *
 * Unless said otherwise outputs have the dtype of the first input; axis 0 keeps its named count. Sums, statistics and products accumulate in f32
 * (f64 in an f64 graph). Each family lies in graph/ops/<file>.c; docs/ops.md lists them.
 */
#ifndef NC_GRAPH_OPS_H
#define NC_GRAPH_OPS_H
#include "graph/graph.h"
#include "kernels/element.h"

/* ---- element-wise (ops/element.c). Binary ones broadcast as numpy does. ---- */
/* enum nc_unary: kernels/element.h */
nc_value *nc_unary_op(nc_graph *g, nc_unary kind, nc_value *x);
nc_value *nc_add(nc_graph *g, nc_value *a, nc_value *b);
nc_value *nc_sub(nc_graph *g, nc_value *a, nc_value *b);
nc_value *nc_mul(nc_graph *g, nc_value *a, nc_value *b);
nc_value *nc_div(nc_graph *g, nc_value *a, nc_value *b);
nc_value *nc_maximum(nc_graph *g, nc_value *a, nc_value *b);   /* ties share the gradient */
nc_value *nc_minimum(nc_graph *g, nc_value *a, nc_value *b);
nc_value *nc_affine(nc_graph *g, nc_value *x, double scale, double shift);       /* x*scale + shift */
nc_value *nc_clamp(nc_graph *g, nc_value *x, double low, double high);
nc_value *nc_soft_cap(nc_graph *g, nc_value *x, double cap);                     /* cap * tanh(x / cap) */
nc_value *nc_gated(nc_graph *g, nc_unary kind, nc_value *gate, nc_value *up);    /* f(gate) * up, fused: SwiGLU with NC_SILU, GEGLU with NC_GELU_TANH */
nc_value *nc_cast(nc_graph *g, nc_value *x, nc_dtype t);
nc_value *nc_stop_gradient(nc_graph *g, nc_value *x);
/* Inverted dropout; the mask is Philox(seed; step, site, row, column). Identity when p is 0 or the run is not training. */
nc_value *nc_dropout(nc_graph *g, nc_value *x, double p, uint32_t site);

/* ---- reductions (ops/reduce.c). axis may be negative; keep leaves a 1. ---- */
nc_value *nc_sum(nc_graph *g, nc_value *x, int axis, bool keep);
nc_value *nc_mean(nc_graph *g, nc_value *x, int axis, bool keep);
nc_value *nc_max(nc_graph *g, nc_value *x, int axis, bool keep);                 /* the gradient is shared by equal maxima */
nc_value *nc_sum_all(nc_graph *g, nc_value *x);                                  /* f32 scalar */
nc_value *nc_sum_to(nc_graph *g, nc_value *x, const nc_shape *s);                /* adjoint of broadcasting to x's shape */
nc_value *nc_cumsum(nc_graph *g, nc_value *x, int axis);

/* ---- shape (ops/shape.c) ---- */
nc_value *nc_reshape(nc_graph *g, nc_value *x, nc_shape s);                      /* a view; axis 0 of a counted value may be split off or merged with constants: [N,H*A] <-> [N,H,A] <-> [N*H,A] */
nc_value *nc_slice(nc_graph *g, nc_value *x, int axis, int64_t start, int64_t count);   /* a view where it can be */
nc_value *nc_concat(nc_graph *g, nc_value *const *xs, int n, int axis);
nc_value *nc_permute(nc_graph *g, nc_value *x, const int *axes);                 /* copies; axis 0 of a counted value stays in place */
nc_value *nc_broadcast_to(nc_graph *g, nc_value *x, nc_shape s, int count);
nc_value *nc_contiguous(nc_graph *g, nc_value *x);

/* ---- indexed rows (ops/index.c). Index tables are I32 inputs filled on the host; -1 is a zero row (gather) or skipped (scatter). ---- */
nc_value *nc_gather_rows(nc_graph *g, nc_value *table, nc_value *index);         /* out[i,...] = table[index[i],...]; rows, count of index */
nc_value *nc_scatter_add_rows(nc_graph *g, nc_value *rows, nc_value *index, int64_t out_rows, int out_count);  /* out[index[i]] += rows[i], in order of i; f32 sums */
nc_value *nc_splice_rows(nc_graph *g, nc_value *x, nc_value *rows, nc_value *index);   /* out[i] = index[i] >= 0 ? rows[index[i]] : x[i] */
nc_value *nc_embedding(nc_graph *g, nc_value *weight, nc_value *ids);            /* gather from a weight of any storage, packed too; out in the graph's compute dtype; gradient f32 into the weight */
/* out[i,:] = sum_j w[i,j] * table[index[i,j],:]  (interpolated position tables); index, w: [rows, taps] */
nc_value *nc_gather_weighted(nc_graph *g, nc_value *table, nc_value *index, nc_value *w);

/* ---- normalization (ops/norm.c), over the last axis; statistics in f32. b, w may be NULL. ---- */
nc_value *nc_layer_norm(nc_graph *g, nc_value *x, nc_value *w, nc_value *b, double eps);
nc_value *nc_rms_norm(nc_graph *g, nc_value *x, nc_value *w, double eps, double weight_offset);  /* x*rsqrt(mean(x^2)+eps)*(w + weight_offset) */
nc_value *nc_l2_norm(nc_graph *g, nc_value *x, double eps);                      /* x * rsqrt(sum(x^2) + eps) */
nc_value *nc_group_norm(nc_graph *g, nc_value *x, int groups, nc_value *w, nc_value *b, double eps);   /* x [B,C,...] */
nc_value *nc_softmax(nc_graph *g, nc_value *x);                                  /* last axis */
nc_value *nc_log_softmax(nc_graph *g, nc_value *x);

/* ---- rotary positions (ops/rope.c) ---- */
typedef enum nc_rope_style { NC_ROPE_HALVES /* (i, i+d/2) */, NC_ROPE_NEIGHBOURS /* (2i, 2i+1) */ } nc_rope_style;
/* x [N,H,A]; cos, sin [N,R/2] f32 (nc_rope_table); rotates the first R of A. Arithmetic in f32. */
nc_value *nc_rope(nc_graph *g, nc_value *x, nc_value *cos, nc_value *sin, nc_rope_style style);
/* pos [N, axes] I32; inv_freq: rot/2 f32 frequencies (copied); axis_of: which position axis each frequency uses (NULL: axis 0); factor multiplies both. Output 0 cos, output 1 sin. */
nc_value *nc_rope_table(nc_graph *g, nc_value *pos, const float *inv_freq, const int *axis_of, int half, double factor);

/* ---- products (ops/linear.c, ops/matmul.c) ---- */
/* y [N,M] = x [N,K] w[M,K]^T + b[M]; w: STATE plain (f32, bf16, f16) or packed or quantized. x of rank 3 is taken as rows. b may be NULL. out_dtype NC_DTYPES: the compute dtype. */
nc_value *nc_linear_op(nc_graph *g, nc_value *x, nc_value *w, nc_value *b, nc_dtype out_dtype);
/* 2-D or batched product over equal leading axes: a' b' with optional transposition of the last two axes. Axis 0 counted only where it is not summed, or in a weight-gradient product. */
nc_value *nc_matmul(nc_graph *g, nc_value *a, bool ta, nc_value *b, bool tb, nc_dtype out_dtype);

/* ---- mixtures of experts (ops/experts.c) ---- */
enum { NC_MAX_EXPERTS = 512 };
typedef struct nc_top_attr { int top, groups, top_groups, group_best; } nc_top_attr;   /* groups 0 or 1: none; group_best: a group's score is the sum of so many of its best */
nc_value *nc_top_columns(nc_graph *g, nc_value *s, const nc_top_attr *attr);     /* [N,E] -> I32 [N,top], best first; no gradient */
nc_value *nc_take_columns(nc_graph *g, nc_value *x, nc_value *index);            /* [N,E], I32 [N,k] -> x[i,index[i,j]] */
nc_value *nc_put_columns(nc_graph *g, nc_value *y, nc_value *index, int64_t width);   /* the adjoint, [N,width]; y NULL: ones. The columns of a row are distinct. */
/* I32 [N,k] of chosen experts -> output 0: rows [N*k], the row each slot holds, slots of one expert together; 1: place [N,k], the slot of each; 2: starts [experts + 1]. */
nc_value *nc_expert_rows(nc_graph *g, nc_value *chosen, int64_t experts);
nc_value *nc_expert_linear(nc_graph *g, nc_value *x, nc_value *starts, nc_value *const *w, int experts);   /* slots [N*k,K] by their experts' w [M,K] -> [N*k,M] */

/* ---- attention (ops/attention.c) ---- */
struct nc_spans;                                                                 /* graph/spans.h */
struct nc_cache;
typedef struct nc_attention_attr {
    const struct nc_spans *spans;    /* host table that the caller refills before each run */
    double scale;                    /* of q k^T; 0: 1/sqrt(A) */
    double soft_cap;                 /* 0: none */
    int window;                      /* 0: none; position i sees i-window+1 .. i */
    const float *slopes;             /* [H] of ALiBi, copied: score += slopes[h] * (j - i); NULL: none */
    struct nc_cache *cache;          /* NULL: keys are the rows of k; else rows are first written to the cache and attention reads it */
    int layer;                       /* cache layer */
    /* bias [H,R] f32 (differentiable), NULL: none: the score of key j for query i gains bias[h, clamp(bias_offset + code(j) - code(i), 0, R-1)]. Codes are I32 [M] and [N]
     * by rows, or both NULL: the index in the sequence (the only ones over a cache). Nets of windows give y*(2w-1) + x, T5 nothing. */
    nc_value *bias, *q_code, *k_code;
    int64_t bias_offset;
    nc_value *list;                  /* I32 [N,L], NULL: none: row i sees only keys whose index is in its list (ascending, filled up with INT32_MAX). Not with a bias. */
} nc_attention_attr;
/* q [N,H,A], k [M,G,A], v [M,G,Av] (H a multiple of G) -> [N,H,Av]. Output 1: log-sum-exp [N,H] f32. */
nc_value *nc_attention(nc_graph *g, nc_value *q, nc_value *k, nc_value *v, const nc_attention_attr *attr);

/* The keys each row of sparse attention may see (ops/indexer.c): of the keys up to its own the `top` with the largest sum_h w[i,h] max(0, scale * q[i,h,:].k[j,:]), ties to
 * the earlier one; for nc_attention_attr.list. q [N,H,A], k [N,A], w [N,H] wide; I32 [N,top]. No gradient. With a cache k's rows are first kept there, for `layer`. */
typedef struct nc_index_attr { const struct nc_spans *spans; struct nc_cache *cache; int layer, top; double scale; } nc_index_attr;
nc_value *nc_index_keys(nc_graph *g, nc_value *q, nc_value *k, nc_value *w, const nc_index_attr *attr);

/* ---- recurrences over the rows of sequences (ops/recurrent.c; formulas in kernels/recurrent.h). Everything in the wide type: f32, f64 in an f64 graph. ---- */
typedef struct nc_recurrent_attr {
    const struct nc_spans *spans;    /* host table that the caller refills before each run: each span is rows of one sequence in order */
    struct nc_cache *cache;          /* NULL: a span begins with nothing; else with its slot's state (unless q_index is 0), and leaves its own there */
    int64_t state;                   /* where this op's state begins in the slot's */
} nc_recurrent_attr;
nc_value *nc_causal_conv(nc_graph *g, nc_value *x, nc_value *w, nc_value *b, const nc_recurrent_attr *attr);   /* x [N,C], w [C,T], b [C] or NULL; w NULL: the row before */
/* q, k [N,G,K], v [N,H,V], decay [N,H], beta [N,H] (the delta rule) or NULL -> [N,H,V] */
nc_value *nc_linear_scan(nc_graph *g, nc_value *q, nc_value *k, nc_value *v, nc_value *decay, nc_value *beta, const nc_recurrent_attr *attr);
nc_value *nc_selective_scan(nc_graph *g, nc_value *x, nc_value *d, nc_value *a, nc_value *b, nc_value *c, const nc_recurrent_attr *attr);   /* x, d [N,C], a [C,n], b, c [N,n] */
nc_value *nc_wkv(nc_graph *g, nc_value *k, nc_value *v, nc_value *w, nc_value *u, const nc_recurrent_attr *attr);                          /* k, v [N,C], w (log decay), u [C] */
/* Floats of state each keeps for a sequence. */
static inline int64_t nc_causal_conv_state(int64_t channels, int64_t taps) { return channels * (taps - 1); }
static inline int64_t nc_linear_scan_state(int64_t heads, int64_t key, int64_t value) { return heads * key * value; }
static inline int64_t nc_selective_scan_state(int64_t channels, int64_t states) { return channels * states; }
static inline int64_t nc_wkv_state(int64_t channels) { return 3 * channels; }

/* ---- head and losses (ops/head.c) ---- */
/* For rows h [N,D] and head w [V,D]: output 0 = log p(target) [N] f32 (0 where target < 0), output 1 = log-sum-exp [N] f32. Logits are
 * scale * (h w^T + b), soft-capped; made in fixed vocabulary chunks and never stored whole. target I32 [N]. b may be NULL. */
nc_value *nc_head_logprob(nc_graph *g, nc_value *h, nc_value *w, nc_value *b, nc_value *target, double scale, double soft_cap);
/* The same losses as nc_nll(nc_head_logprob(...), weight) in one op: where gradients are asked for they are made together with the value, so training
 * makes the logits once. Only one block of rows x vocabulary lives, as scratch. f32 scalar. weight f32 [N] (no gradient). */
nc_value *nc_head_loss(nc_graph *g, nc_value *h, nc_value *w, nc_value *b, nc_value *target, nc_value *weight, double scale, double soft_cap);
/* Logits [N,V] f32 for the rows that sample; log-probabilities from them by nc_head_logsumexp (kernels/head.h) have nc_head_logprob's bits. */
nc_value *nc_head_logits(nc_graph *g, nc_value *h, nc_value *w, nc_value *b, double scale, double soft_cap);
nc_value *nc_scale_by(nc_graph *g, nc_value *x, nc_value *s);                    /* x * s, s a scalar */
/* -sum(weight * logprob): weight f32 [N] (1/number of targets for a mean). f32 scalar. */
nc_value *nc_nll(nc_graph *g, nc_value *logprob, nc_value *weight);

/* ---- objects in pictures (ops/match.c) ---- */
typedef struct nc_match_attr { int queries; double class, box, giou; } nc_match_attr;     /* queries of a picture; weights of the costs */
/* Rows of logits [N,K] and boxes [N,4] are pictures' queries; objects [T,4] with labels and pictures I32 [T,1]. -> I32 [N]: the object each query is given, or -1: the
 * assignment of least cost in each picture. No gradient. */
nc_value *nc_match(nc_graph *g, nc_value *logits, nc_value *boxes, nc_value *labels, nc_value *objects, nc_value *picture, const nc_match_attr *attr);

/* ---- convolution and pooling (ops/conv.c, ops/pool.c): x [B,C,(D,)H,W], w [O,C/groups,(D,)H,W] ---- */
typedef struct nc_conv_attr { int dims; int stride[3], pad[3], dilation[3]; int groups; } nc_conv_attr;
nc_value *nc_conv(nc_graph *g, nc_value *x, nc_value *w, nc_value *b, const nc_conv_attr *attr);
typedef struct nc_pool_attr { int dims; int kernel[3], stride[3], pad[3]; bool average, count_pad, ceil; } nc_pool_attr;
nc_value *nc_pool_op(nc_graph *g, nc_value *x, const nc_pool_attr *attr);

/* ---- pictures whose cells are rows (ops/grid.c, ops/group_linear.c, ops/batch_norm.c): x [pictures * height * width, channels] ---- */
typedef struct nc_grid_window { int kernel[2], stride[2], dilation[2], before[2], after[2]; bool ceil; } nc_grid_window;   /* rows, columns; stride, dilation 0: 1 */
/* Cells of the output; ceil rounds up, but no window starts beyond the picture and its padding before. false: the window does not fit. */
bool nc_grid_out(const nc_grid_window *w, int64_t height, int64_t width, int64_t *out_height, int64_t *out_width);
nc_value *nc_grid_columns_op(nc_graph *g, nc_value *x, int64_t height, int64_t width, const nc_grid_window *w);   /* [cells, channels * kernel], channels outermost as in a weight */
nc_value *nc_grid_depth_op(nc_graph *g, nc_value *x, nc_value *weight, nc_value *bias, int64_t height, int64_t width, const nc_grid_window *w);   /* weight [channels, kernel] */
nc_value *nc_grid_pool_op(nc_graph *g, nc_value *x, int64_t height, int64_t width, const nc_grid_window *w, bool average);   /* an average over the cells inside */
/* x [N, groups*K], w [groups*M, K] -> [N, groups*M]: each group's columns times its own rows of w. */
nc_value *nc_group_linear_op(nc_graph *g, nc_value *x, nc_value *w, int groups);
/* y = (x - mean) / sqrt(var + eps) * w + b over rows [N, C]; w, b [C] may be NULL. frozen: mean, var are given [C]; else those of the N rows (biased), the gradient goes
 * through them, and mean, var may be NULL. Output 1: mean, 2: variance for a running statistic (n / (n-1) times the biased one), 3: 1 / sqrt(var + eps); all f32 [C]. */
nc_value *nc_batch_norm_op(nc_graph *g, nc_value *x, nc_value *w, nc_value *b, nc_value *mean, nc_value *var, double eps, bool frozen);
/* Writes state = (1 - momentum) state + momentum * x in place when the run is training; x NULL: state + 1. Not differentiated. */
nc_value *nc_running_op(nc_graph *g, nc_value *state, nc_value *x, double momentum);
#endif

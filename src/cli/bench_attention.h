/* bench_attention.h - attention's speed beside this machine's limits. */
#ifndef NC_CLI_BENCH_ATTENTION_H
#define NC_CLI_BENCH_ATTENTION_H
#include "base/str.h"
#include "kernels/kernels.h"

/* Adds a table to out: forward and backward of whole sequences as GFLOP/s and share of peak_f32, peak_bf16 (GFLOP/s of the pool's threads, 0: unknown),
 * and one decoded token over a paged context as GB/s and share of peak_gbps. json (may be NULL, else empty): a list of
 * {tokens, depth, heads, head_dim, gflops, share} and what else tells them apart. NC_ENOMEM when a case does not fit. */
int nc_bench_attention(nc_pool *pool, const nc_kernels *kernels, double peak_f32, double peak_bf16, double peak_gbps, nc_buf *out, nc_buf *json, nc_error *e);
#endif

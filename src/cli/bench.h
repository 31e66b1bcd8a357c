/* bench.h - measurements behind `nunchi bench roofline|gemm`: a table for people and JSON for programs, each figure beside the limit of the same run. */
#ifndef NC_CLI_BENCH_H
#define NC_CLI_BENCH_H
#include "base/str.h"
#include "kernels/roofline.h"

/* Table and JSON are appended to; either may be NULL.
 * roofline: {"isa", "threads", "dram_read_gbps", "bf16_gflops", "int8_gops", "f32_gflops"}.
 * gemm: [{"m", "n", "k", "dtype", "gflops", "share"}] for products, weights packed beforehand, C in f32, packing of the activations included; then
 * {"m", "n", "k", "dtype", "gbps", "share"} for one to eight rows over weights larger than the caches (share: of the memory's speed measured next to it). */
int nc_bench_roofline(nc_pool *pool, const nc_kernels *kernels, nc_roofline *limits, nc_buf *table, nc_buf *json, nc_error *e);
int nc_bench_gemm(nc_pool *pool, const nc_kernels *kernels, const nc_roofline *limits, nc_buf *table, nc_buf *json, nc_error *e);
/* The middle one of n; v is sorted. */
double nc_bench_median(double *v, int n);
#endif

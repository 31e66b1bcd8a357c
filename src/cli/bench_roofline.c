/* bench_roofline.c - the machine's limits as a table and as JSON. */
#include "cli/bench.h"

int nc_bench_roofline(nc_pool *pool, const nc_kernels *kernels, nc_roofline *limits, nc_buf *table, nc_buf *json, nc_error *e)
{
    nc_roofline r;

    NC_TRY(nc_roofline_measure(kernels, pool, &r, e));
    if (limits)
        *limits = r;
    if (table)
        nc_buf_printf(table, "%s, %d threads\n  memory read  %8.1f GB/s\n  bf16         %8.1f GFLOP/s\n  int8         %8.1f GOP/s\n  f32          %8.1f GFLOP/s\n",
                      r.isa, r.threads, r.dram_read_gbps, r.bf16_gflops, r.int8_gops, r.f32_gflops);
    if (json)
        nc_buf_printf(json, "{\"isa\": \"%s\", \"threads\": %d, \"dram_read_gbps\": %.2f, \"bf16_gflops\": %.1f, \"int8_gops\": %.1f, \"f32_gflops\": %.1f}",
                      r.isa, r.threads, r.dram_read_gbps, r.bf16_gflops, r.int8_gops, r.f32_gflops);
    return 0;
}

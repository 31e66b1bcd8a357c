/* roofline.h - the limits of this machine as the program itself reaches them: reading memory, and multiply-adds in registers. */
#ifndef NC_KERNELS_ROOFLINE_H
#define NC_KERNELS_ROOFLINE_H
#include "kernels/kernels.h"

typedef struct nc_roofline {
    const char *isa;                         /* the level of the figures */
    int threads;
    double dram_read_gbps;                   /* 1e9 bytes a second over a block too large for any cache */
    double bf16_gflops, int8_gops, f32_gflops;   /* multiply and add count two; what has no instruction of its own gets f32's figure */
} nc_roofline;

/* About two seconds. 1 GiB is allocated for the reads (less where refused), and given back. */
int nc_roofline_measure(const nc_kernels *kernels, nc_pool *pool, nc_roofline *out, nc_error *e);
/* One more look at the memory's speed in a block of the caller's (first touched by it): for shares stated beside a measurement. */
double nc_roofline_read(const nc_kernels *kernels, nc_pool *pool, const void *block, size_t bytes);

/* What an ISA provides: each runs n rounds in the calling thread and returns the operations done. */
typedef struct nc_roofline_kernels {
    double (*f32)(int64_t n);
    double (*bf16)(int64_t n);
    double (*int8)(int64_t n);
    uint64_t (*read)(const void *p, size_t bytes);   /* some function of all the bytes; bytes a multiple of 1024, p 64-byte aligned */
} nc_roofline_kernels;
void nc_roofline_avx2(nc_roofline_kernels *t);
void nc_roofline_avx512(nc_roofline_kernels *t);
void nc_roofline_avx512bf16(nc_roofline_kernels *t);
void nc_roofline_amx(nc_roofline_kernels *t);
#endif

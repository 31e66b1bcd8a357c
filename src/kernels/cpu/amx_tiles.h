/* amx_tiles.h - the tile instructions as statements the compiler may not move memory accesses across.
 *
 * GCC 12's _tile_loadd does not say that it reads memory: what was just written for it (zeroed sums, a padded last step) may be written after it, or
 * never, when nothing else reads it. Its _tile_loadconfig declares 8 of the 64 bytes as read. Clang's are builtins and know better; one form serves both.
 * A test that brings a scalar model of the instructions defines NC_TILE_MODEL and the statements itself.
 * Clear a tile after its last use (tile_zero). Tiles are renamed like other registers, a cleared one holds no physical register, and those are shared by the
 * two hyperthreads of a core: while the other one holds tiles too, a loop that keeps all eight alive runs each load and each product after the one before
 * (measured: 75 ticks a product where 13 are needed; 37 with the operands cleared as soon as they are used, 15 with at most six tiles alive and no loads).
 * Source: Intel SDM vol. 2, LDTILECFG, TILELOADD(T1), TILESTORED, TDPBF16PS, TDPBSSD.
 */
#ifndef NC_KERNELS_CPU_AMX_TILES_H
#define NC_KERNELS_CPU_AMX_TILES_H
#include <immintrin.h>
#include <stdint.h>

typedef struct nc_tile_config { uint8_t palette, start, reserved[14]; uint16_t row_bytes[16]; uint8_t rows[16]; } nc_tile_config;

#ifndef NC_TILE_MODEL
#define tile_config(c)             __asm__ volatile("ldtilecfg %0" :: "m"(c) : "memory")
#define tile_release()             __asm__ volatile("tilerelease" ::: "memory")
#define tile_zero(t)               __asm__ volatile("tilezero %%tmm" #t ::: "memory")
#define tile_load(t, p, stride)    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t :: "r"((const void *)(p)), "r"((int64_t)(stride)) : "memory")
#define tile_stream(t, p, stride)  __asm__ volatile("tileloaddt1 (%0,%1,1), %%tmm" #t :: "r"((const void *)(p)), "r"((int64_t)(stride)) : "memory")
#define tile_store(t, p, stride)   __asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" :: "r"((void *)(p)), "r"((int64_t)(stride)) : "memory")
#define tile_dot(c, a, b)          __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #c ::: "memory")
#define tile_dot_int8(c, a, b)     __asm__ volatile("tdpbssd %%tmm" #b ", %%tmm" #a ", %%tmm" #c ::: "memory")
#endif
#endif

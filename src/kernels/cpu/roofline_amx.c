/* roofline_amx.c - TDPBF16PS and TDPBUSD on whole tiles, four chains. */
#include <immintrin.h>
#include <string.h>
#include "kernels/roofline.h"

static void configure(void)
{
    struct { uint8_t palette, start, reserved[14]; uint16_t row_bytes[16]; uint8_t rows[16]; } c;
    memset(&c, 0, sizeof c);
    c.palette = 1;
    for (int i = 0; i < 8; i++) {
        c.row_bytes[i] = 64;
        c.rows[i] = 16;
    }
    __asm__ volatile("ldtilecfg %0" :: "m"(c) : "memory");
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
}

static double bf16(int64_t n)
{
    configure();
    for (int64_t i = 0; i < n; i++) {
        _tile_dpbf16ps(0, 4, 5);
        _tile_dpbf16ps(1, 4, 5);
        _tile_dpbf16ps(2, 4, 5);
        _tile_dpbf16ps(3, 4, 5);
    }
    _tile_release();
    return (double)n * 4 * 16 * 16 * 32 * 2;
}

static double int8(int64_t n)
{
    configure();
    for (int64_t i = 0; i < n; i++) {
        _tile_dpbusd(0, 4, 5);
        _tile_dpbusd(1, 4, 5);
        _tile_dpbusd(2, 4, 5);
        _tile_dpbusd(3, 4, 5);
    }
    _tile_release();
    return (double)n * 4 * 16 * 16 * 64 * 2;
}

void nc_roofline_amx(nc_roofline_kernels *t)
{
    t->bf16 = bf16;
    t->int8 = int8;
}

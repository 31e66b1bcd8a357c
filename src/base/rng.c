/* rng.c - Philox4x32-10 and the draws made from it.
 *
 * Ten rounds of (c0,c1,c2,c3) -> (hi(M1*c2)^c1^k0, lo(M1*c2), hi(M0*c0)^c3^k1, lo(M0*c0)) with the key raised by Weyl constants
 * between rounds; counter words are (counter, stream), key words are the seed. Source: Salmon et al., SC 2011, section 5.3.
 */
#include "base/rng.h"

#include <math.h>

void nc_philox(uint64_t seed, uint64_t stream, uint64_t counter, uint32_t out[4])
{
    uint32_t c0 = (uint32_t)counter, c1 = (uint32_t)(counter >> 32), c2 = (uint32_t)stream, c3 = (uint32_t)(stream >> 32);
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c0, b = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(b >> 32) ^ c1 ^ k0, n2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)b;
        c3 = (uint32_t)a;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* The finalizer of splitmix64 (Steele, Lea, Flood 2014): a bijection that spreads every input bit. */
static uint64_t mix(uint64_t x)
{
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

uint64_t nc_rng_stream(uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    return mix(mix(mix(mix(a) ^ b) ^ c) ^ d);
}

nc_rng nc_rng_new(uint64_t seed, uint64_t stream)
{
    return (nc_rng){ seed, stream, 0 };
}

static void draw(nc_rng *r, uint32_t out[4])
{
    nc_philox(r->seed, r->stream, r->counter++, out);
}

static uint64_t word(const uint32_t *w)
{
    return (uint64_t)w[1] << 32 | w[0];
}

uint32_t nc_rng_u32(nc_rng *r)
{
    uint32_t w[4];
    draw(r, w);
    return w[0];
}

/* Lemire, "Fast random integer generation in an interval", 2019: the high half of x*n, refusing the few x that would bias it. */
uint64_t nc_rng_below(nc_rng *r, uint64_t n)
{
    if (n == 0)
        return 0;
    const uint64_t refuse = (0 - n) % n;
    for (;;) {
        uint32_t w[4];
        draw(r, w);
        __extension__ typedef unsigned __int128 wide;
        wide product = (wide)word(w) * n;
        if ((uint64_t)product >= refuse)
            return (uint64_t)(product >> 64);
    }
}

double nc_rng_uniform(nc_rng *r)
{
    uint32_t w[4];
    draw(r, w);
    return (double)(word(w) >> 11) * 0x1p-53;
}

double nc_rng_normal(nc_rng *r)
{
    uint32_t w[4];
    draw(r, w);
    double u = (double)((word(w) >> 11) + 1) * 0x1p-53;      /* (0, 1], so that the logarithm is finite */
    double v = (double)(word(w + 2) >> 11) * 0x1p-53;
    return sqrt(-2 * log(u)) * cos(6.283185307179586476925 * v);
}

void nc_rng_shuffle(nc_rng *r, int64_t *items, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)nc_rng_below(r, i);
        int64_t t = items[i - 1];
        items[i - 1] = items[j];
        items[j] = t;
    }
}

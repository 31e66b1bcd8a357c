/* rng.h - counter-based randomness: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
 *
 * A draw is a pure function of (seed, stream, counter): nothing is carried from one to the next, so a resumed run and a run on
 * other threads draw the same numbers. `stream` names the purpose and place (step, site, sample, row mixed by nc_rng_stream).
 */
#ifndef NC_BASE_RNG_H
#define NC_BASE_RNG_H
#include "base/status.h"

typedef struct nc_rng { uint64_t seed, stream, counter; } nc_rng;           /* counter moves on with each draw of nc_rng_* below */

void nc_philox(uint64_t seed, uint64_t stream, uint64_t counter, uint32_t out[4]);
uint64_t nc_rng_stream(uint64_t a, uint64_t b, uint64_t c, uint64_t d);     /* mixes four numbers into a stream id */
nc_rng nc_rng_new(uint64_t seed, uint64_t stream);
uint32_t nc_rng_u32(nc_rng *r);
uint64_t nc_rng_below(nc_rng *r, uint64_t n);                               /* uniform in [0, n), unbiased */
double nc_rng_uniform(nc_rng *r);                                           /* [0, 1), 53 bits */
double nc_rng_normal(nc_rng *r);                                            /* Box-Muller, one value a call */
void nc_rng_shuffle(nc_rng *r, int64_t *items, size_t n);                   /* Fisher-Yates */
#endif

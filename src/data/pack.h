/* pack.h - which samples form which micro-batch: shuffled by Philox(seed; epoch), whole samples laid end to end, nothing padded.
 *
 * The order of an epoch is a pure function of the sizes, seed and epoch, so a resumed run needs only a position.
 */
#ifndef NC_DATA_PACK_H
#define NC_DATA_PACK_H
#include "base/rng.h"

typedef struct nc_pack_options {
    int batch;                       /* samples of a micro-batch */
    int64_t tokens;                  /* > 0: packing; as many samples as fit in so many tokens, `batch` is not looked at */
    bool exact;                      /* drop a last micro-batch of fewer samples (contrastive pairs) */
    bool shuffle;
    uint64_t seed;
} nc_pack_options;

/* Micro-batch i holds order[begin[i]] .. order[begin[i + 1] - 1]. */
typedef struct nc_epoch { int64_t *order; int *begin; int batches, samples; } nc_epoch;
/* sizes[n]: tokens of each sample, each at most o->tokens when packing. *out is filled or refilled; nc_epoch_free gives back. */
void nc_epoch_make(const nc_pack_options *o, int64_t epoch, const int *sizes, int n, nc_epoch *out);
void nc_epoch_free(nc_epoch *x);
#endif

/* pack.c - an epoch's order and its cuts. Packing is next-fit: a sample that does not fit opens the next micro-batch. */
#include "data/pack.h"

#include <stdlib.h>

#include "base/arena.h"

void nc_epoch_make(const nc_pack_options *o, int64_t epoch, const int *sizes, int n, nc_epoch *out)
{
    nc_epoch_free(out);
    *out = (nc_epoch){ .order = nc_xcalloc((size_t)n + 1, sizeof *out->order), .begin = nc_xcalloc((size_t)n + 2, sizeof *out->begin), .samples = n };
    for (int i = 0; i < n; i++)
        out->order[i] = i;
    if (o->shuffle) {
        nc_rng r = nc_rng_new(o->seed, nc_rng_stream(0x65706f6368, (uint64_t)epoch, 0, 0));
        nc_rng_shuffle(&r, out->order, (size_t)n);
    }
    int64_t held = 0;
    int begun = 0;
    for (int i = 0; i < n; i++) {
        int64_t size = sizes[out->order[i]];
        bool full = o->tokens > 0 ? held + size > o->tokens : i - begun == o->batch;
        if (full && i > begun) {
            out->begin[++out->batches] = begun = i;
            held = 0;
        }
        held += size;
    }
    if (n > begun && !(o->exact && n - begun < o->batch))
        out->begin[++out->batches] = n;
}

void nc_epoch_free(nc_epoch *x)
{
    free(x->order);
    free(x->begin);
    *x = (nc_epoch){ 0 };
}

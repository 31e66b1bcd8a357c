/* dirty_stack.h - fills the stacks of a pool's threads with NaNs, so that a kernel that reads a local it never wrote shows it in its result. */
#ifndef TESTS_KERNELS_DIRTY_STACK_H
#define TESTS_KERNELS_DIRTY_STACK_H
#include "base/thread.h"

static __attribute__((noinline)) void dirty_part(void *context, int64_t part, int64_t parts, int worker)
{
    volatile uint64_t below[4096];
    (void)context, (void)part, (void)parts, (void)worker;
    for (int i = 0; i < 4096; i++)
        below[i] = UINT64_MAX;
    (void)below[0];
}

static void dirty_stacks(nc_pool *pool) { nc_pool_run(pool, 8 * nc_pool_threads(pool), dirty_part, NULL); }
#endif

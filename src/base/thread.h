/* thread.h - one persistent pool of pinned threads that share work by a fixed partition.
 *
 * nc_pool_run calls fn(context, part, parts, worker) once for every part 0..parts-1. Parts are dealt in order to workers as they come free, so what a
 * part computes must depend on its index alone; then results do not depend on the number of threads. Workers spin briefly, then sleep.
 * The caller is worker 0. Not reentrant: fn must not call nc_pool_run on the same pool (it would run serially: allowed, inline).
 * One pool may be used by one thread at a time; another caller waits.
 */
#ifndef NC_BASE_THREAD_H
#define NC_BASE_THREAD_H
#include "base/status.h"

typedef struct nc_pool nc_pool;
typedef void nc_pool_fn(void *context, int64_t part, int64_t parts, int worker);

nc_pool *nc_pool_new(int threads);             /* 0: NUNCHI_THREADS, else the CPUs this process may use */
void nc_pool_free(nc_pool *p);
int nc_pool_threads(const nc_pool *p);         /* NULL counts as 1 */
void nc_pool_run(nc_pool *p, int64_t parts, nc_pool_fn *fn, void *context);   /* p NULL: runs in the caller */
int nc_cpu_count(void);                        /* CPUs this process may run on */
#endif

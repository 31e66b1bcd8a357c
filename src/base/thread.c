/* thread.c - the pool. One atomic word says how many parts of the live job nobody has taken yet; to take a part is to lower it.
 *
 * A part is claimed by compare-and-swap from `left` = r to r - 1, which gives part number parts - r. A claim can only succeed while
 * the job has an unfinished part, so the job's fields are stable from the claim until that part is counted in `unfinished`; a worker
 * that comes late finds left == 0 and touches nothing. The caller therefore waits for parts, never for threads that are still asleep.
 *
 * Sleeping: a worker that found no work while spinning raises `sleepers`, looks once more and waits on the futex `bell`; the caller
 * stores `left` first and reads `sleepers` after. Both are sequentially consistent, so one of the two sees the other.
 */
#include "base/thread.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/str.h"

enum { LARGEST_POOL = 1024, SPIN_NS = 50000 };

struct nc_pool {
    int threads;
    bool spin;                                  /* there is a CPU for every thread */
    bool pinned;                                /* worker i >= 1 stays on cpu[i]; the caller keeps off these */
    int *cpu;                                   /* [threads] */
    pthread_t *thread;                          /* [threads - 1] */
    pthread_mutex_t callers;

    nc_pool_fn *fn;                             /* the live job */
    void *context;
    int64_t parts;

    _Alignas(64) _Atomic int64_t left;          /* parts not taken; the release of the job's fields */
    _Alignas(64) _Atomic int64_t unfinished;    /* parts not computed */
    _Alignas(64) _Atomic uint32_t bell;         /* futex of sleeping workers */
    _Atomic uint32_t sleepers;
    _Atomic uint32_t done;                      /* futex of a sleeping caller */
    _Atomic uint32_t caller_sleeps;
    _Atomic bool stop;
};

struct start {
    nc_pool *pool;
    int worker, cpu;                            /* cpu -1: not pinned */
};

/* The pool whose job the current thread is inside, and as which worker: a nested run on it goes inline. */
static _Thread_local const nc_pool *inside;
static _Thread_local int inside_worker;

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void futex_wait(_Atomic uint32_t *word, uint32_t value)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int count)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

/* Takes and computes parts until none is left. */
static void work(nc_pool *p, int worker)
{
    int64_t r = atomic_load_explicit(&p->left, memory_order_acquire);
    while (r > 0) {
        if (!atomic_compare_exchange_weak_explicit(&p->left, &r, r - 1, memory_order_acq_rel, memory_order_acquire))
            continue;
        p->fn(p->context, p->parts - r, p->parts, worker);
        if (atomic_fetch_sub(&p->unfinished, 1) == 1 && atomic_load(&p->caller_sleeps)) {
            atomic_fetch_add(&p->done, 1);
            futex_wake(&p->done, 1);
        }
        r = atomic_load_explicit(&p->left, memory_order_acquire);
    }
}

/* Spins until *word is zero (or, with more, is above zero) or the time is up; says whether it came. */
static bool spin_until(const nc_pool *p, const _Atomic int64_t *word, bool more)
{
    uint64_t end = 0;
    for (int i = 0;; i++) {
        int64_t v = atomic_load_explicit(word, memory_order_acquire);
        if (more ? v > 0 : v == 0)
            return true;
        if (!p->spin && i >= 64)
            return false;
        relax();
        if ((i & 127) == 127) {
            uint64_t now = nc_now_ns();
            if (!end)
                end = now + SPIN_NS;
            else if (now >= end)
                return false;
        }
    }
}

static void sleep_until_rung(nc_pool *p)
{
    uint32_t bell = atomic_load(&p->bell);
    atomic_fetch_add(&p->sleepers, 1);
    if (atomic_load(&p->left) <= 0 && !atomic_load(&p->stop))
        futex_wait(&p->bell, bell);
    atomic_fetch_sub(&p->sleepers, 1);
}

static void ring(nc_pool *p, int count)
{
    atomic_fetch_add(&p->bell, 1);
    futex_wake(&p->bell, count);
}

static void *worker_main(void *argument)
{
    struct start s = *(struct start *)argument;
    free(argument);
    inside = s.pool;
    inside_worker = s.worker;
    if (s.cpu >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(s.cpu, &set);
        pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    }
    char name[16];
    snprintf(name, sizeof name, "nc-worker-%d", s.worker);
    pthread_setname_np(pthread_self(), name);
    while (!atomic_load(&s.pool->stop)) {
        if (spin_until(s.pool, &s.pool->left, true))
            work(s.pool, s.worker);
        else
            sleep_until_rung(s.pool);
    }
    return NULL;
}

/* The CPUs this thread may run on, in order; the number of them, at most capacity. */
static int allowed_cpus(int *cpus, int capacity)
{
    cpu_set_t set;
    int n = 0;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        for (int i = 0; i < CPU_SETSIZE && n < capacity; i++)
            if (CPU_ISSET(i, &set))
                cpus[n++] = i;
    if (n == 0 && capacity > 0)
        cpus[n++] = 0;
    return n;
}

/* A container's share of CPU time (cgroup v2 cpu.max, "200000 100000"), rounded up; 0 when there is none. */
static int quota_cpus(void)
{
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "re");
    long long quota = 0, period = 0;
    if (!f)
        return 0;
    if (fscanf(f, "%lld %lld", &quota, &period) != 2 || quota <= 0 || period <= 0)
        quota = 0;
    fclose(f);
    return quota ? (int)((quota + period - 1) / period) : 0;
}

int nc_cpu_count(void)
{
    int cpus[LARGEST_POOL], n = allowed_cpus(cpus, LARGEST_POOL), quota = quota_cpus();
    return quota && quota < n ? quota : n;
}

static int wanted_threads(int threads)
{
    const char *text = getenv("NUNCHI_THREADS");
    int64_t value;
    if (threads <= 0 && text && nc_parse_int(text, &value) && value > 0)
        threads = value > LARGEST_POOL ? LARGEST_POOL : (int)value;
    if (threads <= 0)
        threads = nc_cpu_count();
    return threads > LARGEST_POOL ? LARGEST_POOL : threads;
}

nc_pool *nc_pool_new(int threads)
{
    nc_pool *p = aligned_alloc(64, sizeof *p);
    if (!p)
        p = nc_xmalloc(SIZE_MAX);
    memset(p, 0, sizeof *p);
    pthread_mutex_init(&p->callers, NULL);
    p->threads = wanted_threads(threads);
    p->thread = nc_xcalloc((size_t)p->threads, sizeof *p->thread);

    /* The caller is not pinned: threads it makes later would inherit that. NUNCHI_PIN=0 leaves the workers free as well. */
    int cpus[LARGEST_POOL], n = allowed_cpus(cpus, LARGEST_POOL);
    const char *pin = getenv("NUNCHI_PIN");
    p->pinned = p->threads <= n && !(pin && !strcmp(pin, "0"));
    p->spin = p->threads <= n;
    p->cpu = nc_xcalloc((size_t)p->threads, sizeof *p->cpu);
    for (int i = 0; i < p->threads && p->pinned; i++)
        p->cpu[i] = cpus[i];
    for (int i = 1; i < p->threads; i++) {
        struct start *s = nc_xmalloc(sizeof *s);
        *s = (struct start){ p, i, p->pinned ? cpus[i] : -1 };
        if (pthread_create(&p->thread[i - 1], NULL, worker_main, s) != 0) {
            free(s);
            p->threads = i;         /* the system refuses more threads: the same results come from fewer */
            break;
        }
    }
    return p;
}

void nc_pool_free(nc_pool *p)
{
    if (!p)
        return;
    atomic_store(&p->stop, true);
    ring(p, p->threads);
    for (int i = 1; i < p->threads; i++)
        pthread_join(p->thread[i - 1], NULL);
    pthread_mutex_destroy(&p->callers);
    free(p->thread);
    free(p->cpu);
    free(p);
}

int nc_pool_threads(const nc_pool *p)
{
    return p ? p->threads : 1;
}

static void run_inline(int64_t parts, nc_pool_fn *fn, void *context, int worker)
{
    for (int64_t i = 0; i < parts; i++)
        fn(context, i, parts, worker);
}

/* The caller has run out of parts; others still compute some. */
static void wait_for_parts(nc_pool *p)
{
    while (!spin_until(p, &p->unfinished, false)) {
        uint32_t done = atomic_load(&p->done);
        atomic_store(&p->caller_sleeps, 1);
        if (atomic_load(&p->unfinished) > 0)
            futex_wait(&p->done, done);
        atomic_store(&p->caller_sleeps, 0);
    }
}

/* A caller that runs where a worker is pinned would take turns with it (and under real-time scheduling starve it): it moves to the CPU kept for it and may
 * wander again. */
static void step_aside(const nc_pool *p)
{
    const int here = sched_getcpu();
    cpu_set_t all, own;
    for (int i = 1; i < p->threads; i++)
        if (p->cpu[i] == here && sched_getaffinity(0, sizeof all, &all) == 0) {
            CPU_ZERO(&own);
            CPU_SET(p->cpu[0], &own);
            if (sched_setaffinity(0, sizeof own, &own) == 0)
                sched_setaffinity(0, sizeof all, &all);
            return;
        }
}

void nc_pool_run(nc_pool *p, int64_t parts, nc_pool_fn *fn, void *context)
{
    if (parts <= 0)
        return;
    if (!p || inside == p) {
        run_inline(parts, fn, context, p ? inside_worker : 0);
        return;
    }
    const nc_pool *outer = inside;
    const int outer_worker = inside_worker;
    pthread_mutex_lock(&p->callers);
    inside = p;
    inside_worker = 0;
    if (parts == 1 || p->threads == 1) {
        run_inline(parts, fn, context, 0);
    } else {
        if (p->pinned)
            step_aside(p);
        p->fn = fn;
        p->context = context;
        p->parts = parts;
        atomic_store(&p->unfinished, parts);
        atomic_store(&p->left, parts);
        uint32_t asleep = atomic_load(&p->sleepers);
        if (asleep)
            ring(p, asleep < parts - 1 ? (int)asleep : parts - 1 > LARGEST_POOL ? LARGEST_POOL : (int)(parts - 1));
        work(p, 0);
        wait_for_parts(p);
    }
    inside = outer;
    inside_worker = outer_worker;
    pthread_mutex_unlock(&p->callers);
}

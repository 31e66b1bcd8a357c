/* gemm_blocks.c - products of bf16 rows by quantized panels: how they are cut and shared among threads.
 *
 * A's rows are brought to blocks of integers once, in groups of as many rows as a tile holds; where the level has slabs and there are more rows than one
 * group, to values on their grid in groups of 16. Every thread has a lane, a run of panels, so that W is read in one stream a thread; a lane is cut into
 * blocks of groups that stay in L2 and these into claims, runs of pairs of panels. Threads take claims from their own lane until it is empty, then from the
 * others', so a core that others slow down does not hold up the rest. A claim's sums depend on its place alone.
 */
#include <stdatomic.h>
#include "kernels/gemm.h"

enum {
    A_BLOCK_BYTES = 768 << 10,               /* groups of a block: they stay in L2 beside two panels */
    CLAIMS = 16,                             /* wanted in a lane */
    NEXT = 8,                                /* counters apart */
    SLAB_ROWS = 16,
};

typedef struct job {
    const struct nc_gemm_kernels *t;
    const nc_gemm_call *call;
    const nc_gemm_b *b;
    bool slabs;
    int rows;                                            /* of a group */
    int64_t lanes, pairs, groups, block, blocks, runs;   /* pairs of panels; groups, of a block; blocks; runs of pairs that a lane is cut into */
    size_t group_bytes, worker_bytes;
    char *a, *workers;
    _Atomic int64_t *next;                               /* of each lane: the first claim nobody has taken */
} job;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
static size_t up64(size_t v) { return (v + 63) & ~(size_t)63; }

static void job_shape(job *j, const struct nc_gemm_kernels *t, int64_t m, int64_t k)
{
    j->t = t;
    j->slabs = t->blocks_slab && m > t->blocks_rows;
    j->rows = j->slabs ? SLAB_ROWS : t->blocks_rows;
    j->group_bytes = up64((size_t)(j->rows * 2 * k + (j->slabs ? 0 : j->rows * 8 * (k / NC_GEMM_QK) + 512)));
    j->groups = (m + j->rows - 1) / j->rows;
    j->blocks = most(1, (int64_t)(((size_t)j->groups * j->group_bytes + A_BLOCK_BYTES - 1) / A_BLOCK_BYTES));
    j->block = (j->groups + j->blocks - 1) / j->blocks;
    j->blocks = j->block ? (j->groups + j->block - 1) / j->block : 1;
    j->worker_bytes = j->slabs ? 2 * nc_gemm_panel_bytes(NC_GEMM_BF16, k) + (size_t)NC_GEMM_BLOCK_SUMS(j->block * SLAB_ROWS) * 4 : 0;
}

size_t nc_gemm_blocks_workspace(const struct nc_gemm_kernels *t, int64_t m, int64_t k, int threads)
{
    job few = { 0 }, many = { 0 };
    job_shape(&few, t, least(m, t->blocks_rows), k);
    job_shape(&many, t, m, k);
    size_t a = (size_t)most((int64_t)((size_t)few.groups * few.group_bytes), (int64_t)((size_t)many.groups * many.group_bytes));
    return a + (size_t)(threads < 1 ? 1 : threads) * (NEXT * sizeof(int64_t) + many.worker_bytes);
}

static int rows_of(const job *j, int64_t group) { return (int)least(j->rows, j->call->m - group * j->rows); }

static nc_gemm_block_rows group_at(const job *j, int64_t group)
{
    int64_t k = j->b->k, rows = rows_of(j, group);
    char *at = j->a + (size_t)group * j->group_bytes, *steps = at + rows * 2 * k;
    return (nc_gemm_block_rows){ .q = (int8_t *)at, .step = (float *)steps, .offset = (int32_t *)steps + rows * (k / NC_GEMM_QK), .bias = j->b->kind == NC_GEMM_Q8_0 ? 128 : 8 };
}

static void prepare(const job *j, int64_t first, int64_t last)
{
    const nc_gemm_call *c = j->call;
    for (int64_t i = first; i < last; i++) {
        nc_gemm_block_rows rows = group_at(j, i);
        if (j->slabs)
            j->t->blocks_grid((uint16_t *)rows.q, c->a, c->lda, c->a_transposed, i * j->rows, rows_of(j, i), j->b->k);
        else
            j->t->blocks_a(&rows, c->a, c->lda, c->a_transposed, i * j->rows, rows_of(j, i), j->b->k);
    }
}

static void prepare_part(void *context, int64_t part, int64_t parts, int worker)
{
    const job *j = context;
    (void)worker;
    prepare(j, j->groups * part / parts, j->groups * (part + 1) / parts);
}

static nc_gemm_out out_at(const job *j, int64_t panel, int panels, int64_t row)
{
    const nc_gemm_call *c = j->call;
    const int64_t at = panel * NC_GEMM_PANEL;
    return (nc_gemm_out){ .c = (char *)c->c + (size_t)(row * c->ldc + at) * (c->c_dtype == NC_F32 ? 4 : 2), .ldc = c->ldc, .c_dtype = c->c_dtype, .bias_dtype = c->bias_dtype,
                          .accumulate = c->accumulate, .columns = (int)least(panels * NC_GEMM_PANEL, j->b->n - at),
                          .bias = c->bias ? (const char *)c->bias + (size_t)at * (c->bias_dtype == NC_F32 ? 4 : 2) : NULL };
}

/* A pair of panels by the groups [group0, group1). */
static void one_pair(const job *j, int64_t pair, int64_t group0, int64_t group1, char *room)
{
    const nc_gemm_b *b = j->b;
    const size_t bytes = nc_gemm_panel_bytes(b->kind, b->k), wide = nc_gemm_panel_bytes(NC_GEMM_BF16, b->k);
    const int panels = (int)least(2, nc_gemm_panels(b->n) - 2 * pair);
    const char *w = (const char *)b->data + (size_t)(2 * pair) * bytes;
    if (!j->slabs) {
        for (int p = 0; p < panels; p++)
            for (int64_t i = group0; i < group1; i++) {
                nc_gemm_block_rows rows = group_at(j, i);
                nc_gemm_out o = out_at(j, 2 * pair + p, 1, i * j->rows);
                j->t->blocks_tile(&o, &rows, rows_of(j, i), b->kind, w + (size_t)p * bytes, b->k);
            }
        return;
    }
    for (int p = 0; p < panels; p++)
        j->t->blocks_widen((uint16_t *)(room + (size_t)p * wide), b->kind, w + (size_t)p * bytes, b->k);
    j->t->blocks_slab(&(nc_gemm_block_slab){ .o = out_at(j, 2 * pair, panels, group0 * j->rows), .a = (const uint16_t *)(j->a + (size_t)group0 * j->group_bytes),
                                             .w = (const uint16_t *)room, .scale = { (const uint16_t *)w, (const uint16_t *)(w + bytes) },
                                             .rows = least(group1 * j->rows, j->call->m) - group0 * j->rows, .k = b->k, .panels = panels,
                                             .sums = (float *)(room + 2 * wide) });
}

static void work(void *context, int64_t part, int64_t parts, int worker)
{
    const job *j = context;
    char *room = j->workers + (size_t)worker * j->worker_bytes;
    (void)parts;
    if (j->slabs)
        j->t->slab_begin();
    else if (j->t->blocks_begin)
        j->t->blocks_begin();
    for (int64_t i = 0; i < j->lanes; i++) {
        int64_t lane = (part + i) % j->lanes, claim, first = j->pairs * lane / j->lanes, many = j->pairs * (lane + 1) / j->lanes - first;
        while ((claim = atomic_fetch_add_explicit(&j->next[lane * NEXT], 1, memory_order_relaxed)) < j->blocks * j->runs) {
            int64_t run = claim % j->runs, group = claim / j->runs * j->block;
            for (int64_t pair = many * run / j->runs; pair < many * (run + 1) / j->runs; pair++)
                one_pair(j, first + pair, group, least(group + j->block, j->groups), room);
        }
    }
    if (j->slabs)
        j->t->slab_end(&(nc_gemm_rest){ 0 });
    else if (j->t->blocks_end)
        j->t->blocks_end();
}

void nc_gemm_blocks(const struct nc_gemm_kernels *t, nc_pool *pool, const nc_gemm_call *call, const nc_gemm_b *b, void *workspace)
{
    const int threads = nc_pool_threads(pool);
    job j = { .call = call, .b = b, .lanes = threads, .pairs = (nc_gemm_panels(b->n) + 1) / 2, .next = workspace };
    job_shape(&j, t, call->m, b->k);
    j.workers = (char *)workspace + (size_t)threads * NEXT * sizeof(int64_t);
    j.a = j.workers + (size_t)threads * j.worker_bytes;
    j.runs = most(1, least((j.pairs + threads - 1) / threads, CLAIMS / j.blocks));
    for (int64_t i = 0; i < j.lanes; i++)
        atomic_init(&j.next[i * NEXT], 0);
    if (j.groups <= 2)                       /* takes less time than waking the others */
        prepare(&j, 0, j.groups);
    else
        nc_pool_run(pool, least(j.groups, 4 * threads), prepare_part, &j);
    nc_pool_run(pool, least(threads, j.pairs), work, &j);
}

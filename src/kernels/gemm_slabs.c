/* gemm_slabs.c - how a product is cut into slabs and shared among threads, for the level whose matrix unit outruns memory (AMX).
 *
 * Every thread has a lane. With many rows it is a range of rows: its packed A, half of L2 or less, is packed by the thread that reads it and no line of it
 * crosses to another core, and L2 has room for the panels of W that pass by. With few rows it is a run of columns, so that W is read once, in one stream.
 * A lane is cut into blocks of rows, as equal as tiles allow (each reads all of W), and these into claims, runs of column tiles. Threads take claims
 * from their own lane until it is empty, then from the others' (packing the block anew), so a core that others slow down does not hold up the rest.
 * A claim's sums depend on its place alone.
 */
#include <stdatomic.h>
#include "kernels/gemm.h"

enum {
    A_BLOCK_BYTES = 832 << 10, A_MOST_BYTES = 1 << 20,   /* packed A of a block: wanted; at most, to have at least LEAST_ROWS */
    LEAST_ROWS = 128, LANE_ROWS = 192,                   /* rows of a block below which W passes by too often; rows of a lane, else lanes are columns */
    CLAIMS = 24,                                         /* wanted in a lane */
    STREAM_BYTES = 2 << 20,                              /* C of more than this is written past the cache */
};

typedef struct job {
    const struct nc_gemm_kernels *t;
    const nc_gemm_call *call;
    const nc_gemm_b *b;
    int64_t ka, lanes, runs, block, blocks;              /* k filled up; runs of 32 rows in all; most rows of a block; blocks of a lane */
    int64_t tiles, groups;                               /* column tiles of two panels; runs that a lane's are cut into */
    bool by_rows, stream, few, stored;
    size_t a_bytes, worker_bytes;
    char *workers;
    _Atomic int64_t *next;                               /* of each lane, NEXT apart: the first claim nobody has taken; beside it HELD of a worker */
} job;
enum { NEXT = 8, HELD = 1 };                             /* HELD: the first row of the block that the worker has packed, from call to call; -1: none */

static int64_t up(int64_t v, int64_t to) { return (v + to - 1) / to * to; }
static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

/* The most rows of a block. */
static int64_t block_limit(int64_t ka)
{
    int64_t row = most(ka, 32) * 2, fit = A_BLOCK_BYTES / row / 32 * 32;
    return fit >= LEAST_ROWS ? fit : most(32, least(LEAST_ROWS, A_MOST_BYTES / row / 32 * 32));
}

static size_t sums_bytes(int64_t block) { return (size_t)NC_GEMM_SLAB_SUMS(block) * 8; }
static size_t worker_bytes(int64_t block, int64_t k) { return (size_t)(block * up(k, 32)) * 2 + sums_bytes(block); }

static void job_shape(job *j, int64_t m, int64_t k, int threads)
{
    j->ka = up(k, 32);
    j->lanes = threads;
    j->by_rows = m >= LANE_ROWS * threads;
    j->runs = up(m, 32) / 32;
    int64_t most_runs = j->by_rows ? (j->runs + threads - 1) / threads : j->runs, limit = block_limit(j->ka) / 32;
    j->blocks = (most_runs + limit - 1) / limit;
    j->block = (most_runs + j->blocks - 1) / j->blocks * 32;
    j->a_bytes = (size_t)(j->block * j->ka) * 2;
    j->worker_bytes = worker_bytes(j->block, k);
}

size_t nc_gemm_slabs_workspace(int64_t m, int64_t k, int threads)
{
    return (size_t)(threads < 1 ? 1 : threads) * (worker_bytes(least(up(m, 32), block_limit(up(k, 32))), k) + NEXT * sizeof(int64_t));
}

/* A worker: which block it holds packed, and its memory. */
typedef struct hand { int64_t packed; uint16_t *a; nc_gemm_slab slab; nc_gemm_rest rest; } hand;

/* A transposed A holds a block's rows as short runs far apart: a few k are packed for all of them, then the next. */
static void pack(const job *j, hand *w, int64_t row0, int64_t rows)
{
    const nc_gemm_call *c = j->call;
    int64_t k = j->b->k, piece = c->a_transposed ? 32 : k;
    if (j->few) {
        j->t->few_a(w->a, c->a, c->lda, (int)rows, k, j->stored);
        return;
    }
    for (int64_t k0 = 0; k0 < k; k0 += piece)
        for (int64_t row = 0; row < rows; row += 32) {
            int live = (int)least(32, rows - row);
            j->t->pack_a_bf16(w->a + row * j->ka + k0 * (live > 16 ? 32 : 16), (const uint16_t *)c->a + k0 * (c->a_transposed ? c->lda : 1), c->lda,
                              c->a_transposed, row0 + row, live, least(piece, k - k0));
        }
}

static void column_tile(const job *j, hand *w, int64_t tile, int64_t row0)
{
    const nc_gemm_call *c = j->call;
    const nc_gemm_b *b = j->b;
    nc_gemm_slab *s = &w->slab;
    size_t bytes = nc_gemm_panel_bytes(b->kind, b->k), size = c->c_dtype == NC_F32 ? 4 : 2;
    int64_t panels = nc_gemm_panels(b->n), panel = tile * 2, at = panel * NC_GEMM_PANEL;
    const char *from = (j->stored ? (const char *)b->rows : (const char *)b->data) + (size_t)panel * bytes;
    s->panels = (int)least(2, panels - panel);
    s->w = (const uint16_t *)from;
    int64_t then = panel + s->panels < panels ? least(2, panels - panel - s->panels) : 0;
    s->ahead = then ? from + (size_t)s->panels * bytes : NULL;
    s->ahead_lines = (int64_t)((size_t)then * bytes / 64);
    s->o.c = (char *)c->c + (size_t)(row0 * c->ldc + at) * size;
    s->o.bias = c->bias ? (const char *)c->bias + (size_t)at * (c->bias_dtype == NC_F32 ? 4 : 2) : NULL;
    s->o.columns = (int)least(s->panels * NC_GEMM_PANEL, b->n - at);
    s->o.squares_step = j->tiles;
    s->o.squares = c->squares ? c->squares + row0 / 32 * j->tiles + tile : NULL;
    if (j->few)
        j->t->few_slab(s, j->stored);
    else
        j->t->slab_bf16(s, &w->rest);
}

static void do_claim(const job *j, hand *w, int64_t lane, int64_t claim)
{
    int64_t group = claim % j->groups, block = claim / j->groups, run0 = j->by_rows ? j->runs * lane / j->lanes : 0;
    int64_t runs = (j->by_rows ? j->runs * (lane + 1) / j->lanes : j->runs) - run0;
    int64_t row0 = (run0 + runs * block / j->blocks) * 32, rows = least(j->call->m, (run0 + runs * (block + 1) / j->blocks) * 32) - row0;
    int64_t tile0 = j->by_rows ? 0 : j->tiles * lane / j->lanes, tiles = j->by_rows ? j->tiles : j->tiles * (lane + 1) / j->lanes - tile0;
    if (rows <= 0)
        return;
    if (w->packed != row0)
        pack(j, w, row0, rows);
    w->packed = row0;
    w->slab.rows = rows;
    for (int64_t tile = tiles * group / j->groups; tile < tiles * (group + 1) / j->groups; tile++)
        column_tile(j, w, tile0 + tile, row0);
}

static void work(void *context, int64_t part, int64_t parts, int worker)
{
    const job *j = context;
    const nc_gemm_call *c = j->call;
    char *room = j->workers + (size_t)worker * j->worker_bytes;
    (void)part, (void)parts;
    hand w = { .packed = atomic_load_explicit(&j->next[worker * NEXT + HELD], memory_order_relaxed), .a = (uint16_t *)room,
               .slab = { .o = { .ldc = c->ldc, .c_dtype = c->c_dtype, .bias_dtype = c->bias_dtype, .accumulate = c->accumulate },
                         .k = j->b->k, .stream = j->stream, .a = (uint16_t *)room,
                         .sums = { (float *)(room + j->a_bytes), (float *)(room + j->a_bytes) + NC_GEMM_SLAB_SUMS(j->block) } } };
    if (j->few)
        j->t->few_begin((int)c->m, j->stored);
    else
        j->t->slab_begin();
    w.slab.narrow = j->block > 32 && j->t->slab_narrow();
    for (int64_t i = 0; i < j->lanes; i++) {
        int64_t lane = (worker + i) % j->lanes, claim;
        while ((claim = atomic_fetch_add_explicit(&j->next[lane * NEXT], 1, memory_order_relaxed)) < j->blocks * j->groups)
            do_claim(j, &w, lane, claim);
    }
    j->t->slab_end(&w.rest);
    atomic_store_explicit(&j->next[worker * NEXT + HELD], j->few ? -1 : w.packed, memory_order_relaxed);
}

void nc_gemm_slabs(const struct nc_gemm_kernels *t, nc_pool *pool, const nc_gemm_call *call, const nc_gemm_b *b, void *workspace)
{
    int threads = nc_pool_threads(pool);
    job j = { .t = t, .call = call, .b = b, .few = nc_gemm_takes_few(t, call, b->k), .stored = nc_gemm_is_stored(b), .next = workspace, .workers = (char *)workspace + (size_t)threads * NEXT * sizeof(int64_t) };
    job_shape(&j, call->m, b->k, threads);
    j.tiles = (nc_gemm_panels(b->n) + 1) / 2;
    j.groups = most(1, least(j.by_rows ? j.tiles : (j.tiles + threads - 1) / threads, CLAIMS / j.blocks));
    int64_t size = call->c_dtype == NC_F32 ? 4 : 2;
    j.stream = !call->accumulate && !call->near && call->m * b->n * size > STREAM_BYTES && b->n * size % 64 == 0 && call->ldc * size % 64 == 0 && (uintptr_t)call->c % 64 == 0;
    for (int64_t i = 0; i < j.lanes; i++)
        atomic_store_explicit(&j.next[i * NEXT], 0, memory_order_relaxed);
    for (int64_t i = 0; i < threads && !(call->again && !j.few); i++)
        atomic_store_explicit(&j.next[i * NEXT + HELD], -1, memory_order_relaxed);
    nc_pool_run(pool, j.by_rows ? threads : least(threads, j.tiles), work, &j);
}

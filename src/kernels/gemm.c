/* gemm.c - how a product is cut into tiles and shared among threads; which ISA's pieces it uses.
 *
 * A is packed once into blocks of as many rows as a tile holds. The work is then a grid of parts: a block of rows whose packed A stays in the
 * L2 cache, times a run of column tiles; inside a part each pair of W's panels is used for all rows of the block while it is in L2. A tile runs
 * over the whole of k in registers, so C is touched once, in any type, and cutting decides nothing about a sum's order.
 * Panels of other storage than the arithmetic wants (quantized or bf16 in f32 runs) are widened into a worker's scratch, once for all rows of a part.
 * Products of bf16 by quantized panels are cut in gemm_blocks.c, those of a level with slabs in gemm_slabs.c.
 */
#include "kernels/gemm.h"
#include "kernels/ref/gemm.h"

#if defined(__x86_64__)
#include "kernels/cpu/gemm_x86.h"
#endif

NC_FAMILY_FITS(gemm);

void nc_gemm_init(struct nc_gemm_kernels *t, nc_isa isa)
{
    nc_ref_gemm_table(t);
#if defined(__x86_64__)
    nc_gemm_x86_table(t, isa);
#else
    (void)isa;
#endif
}

enum { A_BLOCK_BYTES = 640 << 10 };          /* packed A of a part: stays in L2 beside two panels of W */

enum { W_GROUP_BYTES = 448 << 10 };          /* W's panels of a part where C's rows are walked along */

typedef struct job {
    const struct nc_gemm_kernels *t;
    const nc_gemm_call *call;
    const nc_gemm_b *b;
    bool bf16, widen;                        /* bf16 tiles; panels widened to scratch */
    int rows, panels;                        /* of a tile */
    int64_t ka;                              /* k of packed A: filled to the step */
    size_t element;                          /* bytes of a packed element of A and of a tile's W */
    char *a, *scratch;
    size_t scratch_bytes;                    /* a worker's */
    int64_t block, blocks, tiles, groups;    /* rows of a part, their number; column tiles and the runs they are cut into */
} job;

static int64_t up(int64_t v, int64_t to) { return (v + to - 1) / to * to; }
static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static size_t up64(size_t v) { return (v + 63) & ~(size_t)63; }

static bool by_blocks(nc_gemm_kind kind, nc_dtype a_dtype) { return a_dtype == NC_BF16 && (kind == NC_GEMM_Q8_0 || kind == NC_GEMM_Q4_0); }

static void job_shape(job *j, const struct nc_gemm_kernels *t, nc_gemm_kind kind, int64_t m, int64_t n, int64_t k, nc_dtype a_dtype, int threads)
{
    bool wants_bf16 = a_dtype == NC_BF16 && kind != NC_GEMM_F32;
    j->t = t;
    j->bf16 = wants_bf16 && t->bf16;
    j->widen = kind != (j->bf16 ? NC_GEMM_BF16 : NC_GEMM_F32);
    j->rows = t->rows[j->bf16];
    j->panels = t->panels[j->bf16];
    j->ka = j->bf16 ? up(k, t->k_step) : k;
    j->element = j->bf16 ? 2 : 4;
    j->scratch_bytes = j->widen ? up64((size_t)j->panels * 16 * (size_t)up(k, 2) * j->element) : 0;

    int64_t whole = up(m > 0 ? m : 1, j->rows);
    int64_t fit = A_BLOCK_BYTES / (int64_t)((size_t)(j->ka > 0 ? j->ka : 1) * j->element) / j->rows * j->rows;
    if (fit < 2 * j->rows)
        fit = 2 * j->rows;
    j->blocks = (whole + fit - 1) / fit;
    j->block = up((whole + j->blocks - 1) / j->blocks, j->rows);
    j->blocks = (whole + j->block - 1) / j->block;
    j->tiles = (nc_gemm_panels(n) + j->panels - 1) / j->panels;
    /* Few rows read W once at memory's speed: long runs, so that what is fetched ahead is used by the same thread. */
    int64_t wanted = j->blocks == 1 && m <= j->rows ? 8 * threads : (32 * threads + j->blocks - 1) / j->blocks;
    j->groups = least(j->tiles, wanted);
}

bool nc_gemm_counts_squares(const nc_kernels *kernels, nc_gemm_kind kind, nc_dtype a_dtype)
{
    return a_dtype == NC_BF16 && kind == NC_GEMM_BF16 && kernels->gemm->slab_bf16;
}

size_t nc_gemm_workspace(const nc_kernels *kernels, nc_gemm_kind kind, int64_t m, int64_t n, int64_t k, nc_dtype a_dtype, int threads, bool packs)
{
    if (by_blocks(kind, a_dtype))
        return nc_gemm_blocks_workspace(kernels->gemm, m, k, threads) + 64;
    job j;
    job_shape(&j, kernels->gemm, kind, m, n, k, a_dtype, threads);
    size_t bytes = up64((size_t)up(m, j.rows) * (size_t)j.ka * j.element) + (size_t)(threads < 1 ? 1 : threads) * j.scratch_bytes;
    if (a_dtype == NC_BF16 && kind != NC_GEMM_F32 && kernels->gemm->slab_bf16)
        bytes = nc_gemm_slabs_workspace(m, k, threads);
    size_t panels = 0;
    if (packs)
        panels = up64((size_t)nc_gemm_panels(n) * nc_gemm_panel_bytes(kind, k));
    return bytes + panels + 64;
}

/* Steps [k0, k0 + k) of the tile rows that begin at row; k0 is a multiple of the step. */
static void pack_block(const job *j, int64_t row, int64_t k0, int64_t k)
{
    const nc_gemm_call *c = j->call;
    int rows = (int)least(j->rows, c->m - row);
    char *out = j->a + (size_t)(row * j->ka + k0 * rows) * j->element;
    const char *a = (const char *)c->a + (size_t)(k0 * (c->a_transposed ? c->lda : 1)) * (c->a_dtype == NC_F32 ? 4 : 2);
    if (j->bf16)
        j->t->pack_a_bf16((uint16_t *)out, (const uint16_t *)a, c->lda, c->a_transposed, row, rows, k);
    else
        j->t->pack_a_f32((float *)out, a, c->a_dtype, c->lda, c->a_transposed, row, rows, k);
}

/* Blocks of rows [first, last). A transposed A holds a block's rows as short runs far apart: a few k are packed for all blocks, then the next, so that
 * a fetched line serves all the blocks it covers. */
static void pack_blocks(const job *j, int64_t first, int64_t last)
{
    enum { STEPS = 32 };
    int64_t k = j->b->k, step = j->call->a_transposed ? STEPS : k;
    for (int64_t k0 = 0; k0 < k; k0 += step)
        for (int64_t i = first; i < last; i++)
            pack_block(j, i * j->rows, k0, least(step, k - k0));
}

static void pack_part(void *context, int64_t part, int64_t parts, int worker)
{
    const job *j = context;
    (void)worker;
    int64_t blocks = up(j->call->m, j->rows) / j->rows;
    pack_blocks(j, blocks * part / parts, blocks * (part + 1) / parts);
}

/* The panels of a column tile in the form the tile wants. */
static const void *tile_panels(const job *j, int64_t panel, int panels, char *scratch)
{
    const nc_gemm_b *b = j->b;
    size_t bytes = nc_gemm_panel_bytes(b->kind, b->k);
    const char *from = (const char *)b->data + (size_t)panel * bytes;
    if (!j->widen)
        return from;
    size_t to = 16 * (size_t)b->k * j->element;
    for (int p = 0; p < panels; p++)
        j->t->panel_f32((float *)(scratch + (size_t)p * to), b->kind, from + (size_t)p * bytes, b->k, false);
    return scratch;
}

static void run_tile(const job *j, const nc_gemm_out *o, const void *a, int rows, const void *w, int panels)
{
    int64_t k = j->b->k;
    if (j->bf16)
        j->t->tile_bf16(o, a, rows, w, panels, k);
    else
        j->t->tile_f32(o, a, rows, w, panels, k);
}

/* A column tile of W, ready for its products. */
typedef struct column { const void *w; int64_t at; int panels; nc_gemm_out o; } column;

static column column_tile(const job *j, int64_t tile, char *scratch)
{
    const nc_gemm_call *c = j->call;
    size_t bias_size = c->bias_dtype == NC_F32 ? 4 : 2;
    int64_t panel = tile * j->panels, at = panel * NC_GEMM_PANEL;
    int panels = (int)least(j->panels, nc_gemm_panels(j->b->n) - panel);
    return (column){ tile_panels(j, panel, panels, scratch), at, panels,
                     { .ldc = c->ldc, .c_dtype = c->c_dtype, .bias_dtype = c->bias_dtype, .accumulate = c->accumulate,
                       .columns = (int)least(panels * NC_GEMM_PANEL, j->b->n - at), .bias = c->bias ? (const char *)c->bias + (size_t)at * bias_size : NULL } };
}

/* The tile that is computed next begins at C's element (next_row, next_column): maybe far in memory, so it is asked for meanwhile. */
static void one_tile(const job *j, column *t, int64_t row, int64_t next_row, int64_t next_column)
{
    const nc_gemm_call *c = j->call;
    size_t size = c->c_dtype == NC_F32 ? 4 : 2;
    t->o.next = next_row < c->m && next_column < j->b->n ? (const char *)c->c + (size_t)(next_row * c->ldc + next_column) * size : NULL;
    t->o.next_step = (int64_t)((size_t)c->ldc * size);
    t->o.c = (char *)c->c + (size_t)(row * c->ldc + t->at) * (c->c_dtype == NC_F32 ? 4 : 2);
    run_tile(j, &t->o, j->a + (size_t)row * (size_t)j->ka * j->element, (int)least(j->rows, c->m - row), t->w, t->panels);
}

/* Each pair of panels is used for all rows of the part while, step by step, the next ones come into L2. */
static void by_columns(const job *j, int64_t tile0, int64_t tile1, int64_t row0, int64_t row1, char *scratch)
{
    size_t bytes = nc_gemm_panel_bytes(j->b->kind, j->b->k);
    int64_t length = j->bf16 ? (j->b->k + 1) / 2 : j->b->k, steps = (row1 - row0 + j->rows - 1) / j->rows * length;
    for (int64_t tile = tile0; tile < tile1; tile++) {
        column t = column_tile(j, tile, scratch);
        bool more = (tile + 1) * j->panels < nc_gemm_panels(j->b->n);
        t.o.ahead = (const char *)j->b->data + (size_t)(tile * j->panels + (more ? t.panels : 0)) * bytes;
        t.o.ahead_step = more && steps > 0 ? (int64_t)((size_t)t.panels * bytes) / steps + 1 : 0;
        for (int64_t row = row0; row < row1; row += j->rows) {
            bool last = row + j->rows >= row1;
            one_tile(j, &t, row, last ? row0 : row + j->rows, last ? t.at + j->panels * NC_GEMM_PANEL : t.at);
            t.o.ahead += t.o.ahead_step * length;
        }
    }
}

/* Where C is read as well, its rows are walked along, so that memory is read in long runs; W's panels of the part stay in L2. */
static void by_rows(const job *j, int64_t tile0, int64_t tile1, int64_t row0, int64_t row1)
{
    for (int64_t row = row0; row < row1; row += j->rows)
        for (int64_t tile = tile0; tile < tile1; tile++) {
            column t = column_tile(j, tile, NULL);
            bool last = tile + 1 == tile1;
            t.o.ahead = t.w;
            one_tile(j, &t, row, last ? row + j->rows : row, (last ? tile0 : tile + 1) * j->panels * NC_GEMM_PANEL);
        }
}

static void product_part(void *context, int64_t part, int64_t parts, int worker)
{
    const job *j = context;
    int64_t group = part % j->groups, row0 = part / j->groups * j->block, row1 = least(j->call->m, row0 + j->block);
    int64_t tile0 = j->tiles * group / j->groups, tile1 = j->tiles * (group + 1) / j->groups;

    (void)parts;
    if (j->call->accumulate && !j->widen)
        by_rows(j, tile0, tile1, row0, row1);
    else
        by_columns(j, tile0, tile1, row0, row1, j->scratch + (size_t)worker * j->scratch_bytes);
}

void nc_gemm(const nc_kernels *kernels, nc_pool *pool, const nc_gemm_call *call, const nc_gemm_b *b, void *workspace)
{
    if (call->m <= 0 || b->n <= 0)
        return;
    if (by_blocks(b->kind, call->a_dtype)) {
        nc_gemm_blocks(kernels->gemm, pool, call, b, workspace);
        return;
    }
    if (b->rows && !(nc_gemm_takes_few(kernels->gemm, call, b->k) && nc_gemm_stays(b)))
        nc_gemm_settle(kernels, pool, b);
    if (call->a_dtype == NC_BF16 && b->kind != NC_GEMM_F32 && kernels->gemm->slab_bf16) {
        nc_gemm_slabs(kernels->gemm, pool, call, b, workspace);
        return;
    }
    job j;
    int threads = nc_pool_threads(pool);
    job_shape(&j, kernels->gemm, b->kind, call->m, b->n, b->k, call->a_dtype, threads);
    j.call = call;
    j.b = b;
    j.a = workspace;
    if (call->accumulate && !j.widen) {          /* by_rows: a part's panels fit L2 */
        int64_t fit = W_GROUP_BYTES / (int64_t)((size_t)j.panels * nc_gemm_panel_bytes(b->kind, b->k) + 1);
        int64_t groups = (j.tiles + (fit > 0 ? fit : 1) - 1) / (fit > 0 ? fit : 1);
        j.groups = groups < j.tiles ? groups : j.tiles;
    }
    j.scratch = j.a + up64((size_t)up(call->m, j.rows) * (size_t)j.ka * j.element);
    int64_t tiles = up(call->m, j.rows) / j.rows;
    /* Packing one tile's rows takes less time than waking the others. */
    if (tiles <= 2)
        pack_blocks(&j, 0, tiles);
    else
        nc_pool_run(pool, least(tiles, 4 * threads), pack_part, &j);
    nc_pool_run(pool, j.blocks * j.groups, product_part, &j);
}

void nc_gemm_plain(const nc_kernels *kernels, nc_pool *pool, const nc_gemm_call *call, const nc_gemm_source *w, nc_gemm_kind kind, int64_t n, int64_t k,
                   void *workspace)
{
    if (call->m <= 0 || n <= 0)
        return;
    nc_gemm_b b = { .kind = kind, .n = n, .k = k, .data = workspace, .bytes = (size_t)nc_gemm_panels(n) * nc_gemm_panel_bytes(kind, k) };
    nc_gemm_pack(kernels, pool, &b, w, false, NULL);
    nc_gemm(kernels, pool, call, &b, (char *)workspace + up64(b.bytes));
}

/* ---- A W with W packed ---- */

typedef struct turn { const nc_kernels *kernels; const nc_gemm_b *from; nc_gemm_b to; char *scratch; size_t scratch_bytes; bool round; } turn;

/* One panel (16 rows of W) is, widened to f32, [k][16]: rows of W's transpose, 16 of its k. They are packed as 16 steps of the sum of every panel. */
static void turn_panel(const turn *t, int64_t panel, char *scratch)
{
    const nc_gemm_b *b = t->from;
    const struct nc_gemm_kernels *g = t->kernels->gemm;
    float *values = (float *)scratch;
    int64_t steps = least(16, b->n - panel * 16);
    const char *from = (const char *)b->data + (size_t)panel * nc_gemm_panel_bytes(b->kind, b->k);
    if (b->kind != NC_GEMM_F32) {
        g->panel_f32(values, b->kind, from, b->k, t->round);
        from = (const char *)values;
    }
    nc_gemm_source s = { .dtype = NC_F32, .data = from, .stride = 16 };
    size_t step = nc_gemm_panel_bytes(t->to.kind, t->to.k), at = nc_gemm_panel_bytes(t->to.kind, panel * 16);
    for (int64_t p = 0; p < nc_gemm_panels(b->k); p++) {
        char *out = (char *)t->to.data + (size_t)p * step + at;
        int valid = (int)least(16, b->k - p * 16);
        if (t->to.kind == NC_GEMM_F32)
            g->pack_f32((float *)out, &s, p * 16, valid, steps, false);
        else
            g->pack_bf16((uint16_t *)out, &s, p * 16, valid, steps, false);
    }
}

static void turn_part(void *context, int64_t part, int64_t parts, int worker)
{
    const turn *t = context;
    int64_t panels = nc_gemm_panels(t->from->n);
    for (int64_t i = panels * part / parts; i < panels * (part + 1) / parts; i++)
        turn_panel(t, i, t->scratch + (size_t)worker * t->scratch_bytes);
}

static nc_gemm_kind turned_kind(nc_gemm_kind kind, nc_dtype a_dtype)
{
    return kind == NC_GEMM_F32 || a_dtype == NC_F32 ? NC_GEMM_F32 : NC_GEMM_BF16;
}

static size_t turn_scratch(int64_t k) { return (size_t)up(k, 16) * 64; }

size_t nc_gemm_backward_workspace(const nc_kernels *kernels, nc_gemm_kind kind, int64_t m, int64_t n, int64_t k, nc_dtype a_dtype, int threads)
{
    return nc_gemm_workspace(kernels, turned_kind(kind, a_dtype), m, k, n, a_dtype, threads, true) + (size_t)(threads < 1 ? 1 : threads) * turn_scratch(k);
}

void nc_gemm_backward(const nc_kernels *kernels, nc_pool *pool, const nc_gemm_call *call, const nc_gemm_b *b, void *workspace)
{
    if (call->m <= 0 || b->k <= 0)
        return;
    if (b->turned && call->a_dtype == NC_BF16) {
        nc_gemm_b w = { .kind = NC_GEMM_BF16, .n = b->k, .k = b->n, .data = b->turned, .bytes = (size_t)nc_gemm_panels(b->k) * nc_gemm_panel_bytes(NC_GEMM_BF16, b->n) };
        nc_gemm(kernels, pool, call, &w, workspace);
        return;
    }
    nc_gemm_settle(kernels, pool, b);
    nc_gemm_kind kind = turned_kind(b->kind, call->a_dtype);
    turn t = { .kernels = kernels, .from = b, .scratch = workspace, .scratch_bytes = turn_scratch(b->k), .round = call->a_dtype == NC_BF16 };
    char *packed = (char *)workspace + (size_t)nc_pool_threads(pool) * t.scratch_bytes;
    t.to = (nc_gemm_b){ .kind = kind, .n = b->k, .k = b->n, .data = packed, .bytes = (size_t)nc_gemm_panels(b->k) * nc_gemm_panel_bytes(kind, b->n) };
    if (b->n > 0)
        nc_pool_run(pool, least(nc_gemm_panels(b->n), 4 * nc_pool_threads(pool)), turn_part, &t);
    nc_gemm(kernels, pool, call, &t.to, packed + up64(t.to.bytes));
}

size_t nc_gemm_workspace_any(nc_gemm_kind kind, int64_t m, int64_t n, int64_t k, nc_dtype a_dtype, int threads, bool packs)
{
    size_t most = 0;
    for (int isa = 0; isa <= (int)nc_isa_of_cpu(); isa++) {
        size_t bytes = nc_gemm_workspace(nc_kernels_for((nc_isa)isa), kind, m, n, k, a_dtype, threads, packs);
        most = bytes > most ? bytes : most;
    }
    return most;
}

size_t nc_gemm_backward_workspace_any(nc_gemm_kind kind, int64_t m, int64_t n, int64_t k, nc_dtype a_dtype, int threads)
{
    size_t most = 0;
    for (int isa = 0; isa <= (int)nc_isa_of_cpu(); isa++) {
        size_t bytes = nc_gemm_backward_workspace(nc_kernels_for((nc_isa)isa), kind, m, n, k, a_dtype, threads);
        most = bytes > most ? bytes : most;
    }
    return most;
}

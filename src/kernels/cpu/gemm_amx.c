/* gemm_amx.c - the product of bf16 values by AMX tiles (TDPBF16PS): 16x16 sums += 16 rows x 32 k times 32 k x 16 columns.
 *
 * A block of ours is 32 rows x 2 panels: four tiles of sums (tmm0-3), two of A (tmm4,5), two of W (tmm6,7); a step of 32 k loads four tiles for four
 * products. While the core's other hyperthread holds tiles (see amx_tiles.h) the halves of 16 rows go one after the other, three loads for two products:
 * fewer tiles are alive, and that gains more than the loads cost. A few products are timed to know it, once in a call.
 * A's tile rows are [32 k], W's are the packed layout's pairs of k. Every tile is configured whole: packed A is filled with zeros to 16 or 32 rows and to
 * 32 k, and W's last, shorter step is copied to a zero-filled block.
 *
 * What decides the speed is where the tiles come from. A slab of W (two panels) is cut into pieces of about 512 k, 32 KiB, which stay in L1 while all rows
 * of A pass by from L2 with the hint not to stay (TILELOADDT1: without it A drives W out of L1, and a third of the speed is gone). The sums of
 * unfinished k wait in a scratch of L2 between pieces. Finished sums stay there while the next slab is at work and are turned into C's rows a few at each of
 * its steps, when the vector units have nothing else to do: evenly, since many stores at once hold up the loads of tiles. W's next panels are fetched ahead
 * in the same gaps.
 *
 * A sum runs over k in ascending steps of 32; inside a step the order is the instruction's (pairs ascending), for any number of rows. Cutting k decides
 * nothing: a sum that waits in memory is the same f32. Source: Intel SDM vol. 2, LDTILECFG, TILELOADDT1 and TDPBF16PS.
 */
#include "kernels/cpu/amx_tiles.h"
#include "kernels/cpu/gemm_amx.h"

enum { STEP = 512, PIECE_STEPS = 18 };       /* values of a tile of A or W; most steps of a piece of W */
enum { FETCHED = 8 };                        /* rows of C that are on their way into the cache before they are written */

/* Packed A is [k/32][16 or 32 rows][32], rows and k that are not there zero. */
static void pack_half(uint16_t *out, const uint16_t *a, int64_t lda, bool transposed, int64_t row, int rows, int all, int64_t k)
{
    for (int64_t i = 0; i < k; i += 32, out += 32 * all) {
        __mmask32 mask = nc_mask32(k - i);
        if (!transposed) {
            for (int j = 0; j < 16; j++)
                _mm512_storeu_si512(out + 32 * j, j < rows ? _mm512_maskz_loadu_epi16(mask, a + (row + j) * lda + i) : _mm512_setzero_si512());
            continue;
        }
        __m512i r[16];
        __mmask16 live = nc_mask16(rows);
        for (int p = 0; p < 16; p++) {
            const uint16_t *low = a + (i + 2 * p) * lda + row;
            if (all == 32 && row % 32 == 0) {    /* the next step's lines, which serve 32 rows each */
                _mm_prefetch((const char *)(low + 32 * lda), _MM_HINT_T0);
                _mm_prefetch((const char *)(low + 33 * lda), _MM_HINT_T0);
            }
            __m512i lo = i + 2 * p < k ? _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(live, low)) : _mm512_setzero_si512();
            __m512i hi = i + 2 * p + 1 < k ? _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(live, low + lda)) : _mm512_setzero_si512();
            r[p] = _mm512_or_si512(lo, _mm512_slli_epi32(hi, 16));
        }
        nc_transpose16(r);
        for (int j = 0; j < 16; j++)
            _mm512_storeu_si512(out + 32 * j, r[j]);
    }
}

static void pack_a_bf16(uint16_t *out, const uint16_t *a, int64_t lda, bool transposed, int64_t row, int rows, int64_t k)
{
    pack_half(out, a, lda, transposed, row, rows > 16 ? 16 : rows, rows > 16 ? 32 : 16, k);
    if (rows > 16)
        pack_half(out + STEP, a, lda, transposed, row + 16, rows - 16, 32, k);
}

static void begin(void)
{
    _Alignas(64) nc_tile_config c = { .palette = 1 };
    for (int i = 0; i < 8; i++) {
        c.row_bytes[i] = 64;
        c.rows[i] = 16;
    }
    tile_config(c);
}

/* ---- sums to C ---- */

/* Sums lie as four tiles of [16][16]: rows 0-15 of the first and second panel, rows 16-31. */
static const float *sums_of(const float *sums, unsigned row, unsigned panel) { return sums + (row / 16 * 2 + panel) * 256 + row % 16 * 16; }

/* A row's squares beside those of the block's rows before it; the last row's, and the block has its sum. */
static void add_squares(nc_gemm_rest *d, int row, __m512 low, __m512 high)
{
    __m512 sum = _mm512_fmadd_ps(low, low, row ? _mm512_loadu_ps(d->squares) : _mm512_setzero_ps());
    if (d->o.columns > 16)
        sum = _mm512_fmadd_ps(high, high, sum);
    _mm512_storeu_ps(d->squares, sum);
    if (row + 1 == d->rows)
        *d->o.squares = _mm512_reduce_add_ps(sum);
}

static void finish_row(nc_gemm_rest *d, int row)
{
    const float *sums = sums_of(d->sums, (unsigned)row, 0);
    const __m512 low = _mm512_load_ps(sums), high = _mm512_load_ps(sums + 256);
    nc_amx_store_row(&d->o, row, low, high, d->stream);
    if (d->o.squares)
        add_squares(d, row, low, high);
}

NC_INLINE void fetch_lines(const char *c, int bytes)
{
    __asm__ volatile("prefetchw %0" :: "m"(c[0]));
    if (bytes > 64)
        __asm__ volatile("prefetchw %0" :: "m"(c[64]));
}

static int c_size(const nc_gemm_out *o) { return o->c_dtype == NC_F32 ? 4 : 2; }
static void fetch_row(const nc_gemm_out *o, int row) { fetch_lines((const char *)o->c + row * o->ldc * c_size(o), o->columns * c_size(o)); }

static void next_block(nc_gemm_rest *d)
{
    d->o.c = (char *)d->o.c + 32 * d->o.ldc * c_size(&d->o);
    d->o.squares = d->o.squares ? d->o.squares + d->o.squares_step : NULL;
    d->sums += 1024;
    d->row = 0;
    d->rows = (int)(d->left < 32 ? d->left : 32);
    d->left -= d->rows;
}

static inline int64_t unfinished(const nc_gemm_rest *d) { return d->rows - d->row + d->left; }

static __attribute__((noinline)) void finish_rows(nc_gemm_rest *d, int64_t many)
{
    for (; many > 0 && unfinished(d); many--) {
        if (d->row == d->rows)
            next_block(d);
        if (!d->stream)
            fetch_row(&d->o, d->row + FETCHED);
        finish_row(d, d->row++);
    }
}

static void end(nc_gemm_rest *d)
{
    finish_rows(d, INT64_MAX);
    _mm_sfence();
    tile_release();
}

/* C's old values as sums, in `room`. */
static void gather(float *room, const nc_gemm_out *o, int rows, int64_t row)
{
    size_t size = o->c_dtype == NC_F32 ? 4 : 2;
    for (int r = 0; r < rows; r++)
        for (int p = 0; p < 2; p++)
            _mm512_store_ps((float *)sums_of(room, (unsigned)r, (unsigned)p),
                            nc_load16(o->c_dtype, (const char *)o->c + (size_t)((row + r) * o->ldc + p * 16) * size, nc_mask16(o->columns - p * 16)));
}

/* ---- a block of rows against a piece of W ---- */

typedef struct block {
    const uint16_t *a, *b0, *b1;             /* at the piece's first k; b1 NULL: one panel */
    int64_t a_step;                          /* values of packed A from step to step */
    const uint16_t *last0, *last1;           /* the zero-filled last step, or NULL */
    int64_t steps;                           /* whole steps; the last one comes on top */
    const char *ahead[2]; int64_t ahead_lines;   /* of each panel of W's next piece: where, and lines to fetch at each step */
    nc_gemm_rest *rest; int64_t each;        /* the last slab's sums; rows to finish at each step */
    const char *old; int64_t old_step; int old_rows, old_bytes;   /* rows of C that the next block begins with, to be fetched */
} block;

/* What the vector units and the fetcher do beside a step's products. */
NC_INLINE void beside(block *k)
{
    for (int64_t i = 0; i < k->ahead_lines; i++, k->ahead[0] += 64, k->ahead[1] += 64) {
        _mm_prefetch(k->ahead[0], _MM_HINT_T1);
        _mm_prefetch(k->ahead[1], _MM_HINT_T1);
    }
    for (int i = 0; i < 2 && k->old_rows > 0; i++, k->old_rows--, k->old += k->old_step)
        fetch_lines(k->old, k->old_bytes);
    if (unfinished(k->rest))
        finish_rows(k->rest, k->each);
}

/* Operands are cleared after their last use: a cleared tile holds none of the tile registers that the core renames with. */
NC_INLINE void step(const uint16_t *a, const uint16_t *b0, const uint16_t *b1, const bool both, const bool two)
{
    tile_stream(4, a, 64);
    tile_load(6, b0, 64);
    if (two)
        tile_load(7, b1, 64);
    tile_dot(0, 4, 6);
    if (two)
        tile_dot(1, 4, 7);
    tile_zero(4);
    if (both) {
        tile_stream(5, a + STEP, 64);
        tile_dot(2, 5, 6);
        tile_zero(6);
        if (two)
            tile_dot(3, 5, 7);
        tile_zero(5);
    } else
        tile_zero(6);
    if (two)
        tile_zero(7);
}

NC_INLINE void steps(block *k, const uint16_t *a, const bool both, const bool two)
{
    const uint16_t *b0 = k->b0, *b1 = k->b1;
    for (int64_t i = 0; i < k->steps; i++, a += both ? 2 * STEP : k->a_step, b0 += STEP, b1 += STEP) {
        beside(k);
        step(a, b0, b1, both, two);
    }
    if (k->last0) {
        beside(k);
        step(a, k->last0, k->last1, both, two);
    }
}

static void run_steps(block *k, int half, bool both)
{
    const uint16_t *a = k->a + half * STEP;
    if (both && k->b1)
        steps(k, a, true, true);
    else if (both)
        steps(k, a, true, false);
    else if (k->b1)
        steps(k, a, false, true);
    else
        steps(k, a, false, false);
}

static void zero_sums(void)
{
    tile_zero(0);
    tile_zero(1);
    tile_zero(2);
    tile_zero(3);
}

/* Floats from a row of sums to the next, to the second panel, to the 16th row: as they lie in the scratch, or as C's. */
typedef struct begun { const float *at; int64_t row, right, lower; } begun;

NC_INLINE void load_sums(const begun b, int half, bool both, bool two)
{
    const float *upper = b.at + half * b.lower, *lower = upper + b.lower;
    tile_load(0, upper, 4 * b.row);
    if (two)
        tile_load(1, upper + b.right, 4 * b.row);
    if (both) {
        tile_load(2, lower, 4 * b.row);
        if (two)
            tile_load(3, lower + b.right, 4 * b.row);
    }
}

static void store_sums(float *sums, bool both, bool two)
{
    tile_store(0, sums, 64);
    if (two)
        tile_store(1, sums + 256, 64);
    if (both) {
        tile_store(2, sums + 512, 64);
        if (two)
            tile_store(3, sums + 768, 64);
    }
}

/* ---- a slab ---- */

typedef struct pieces { int64_t pairs, whole, count, each, finish; bool tail; uint16_t last[2][STEP]; } pieces;

/* How k is cut; one block of rows uses a piece of W once, so for it nothing is cut. */
static void cut(pieces *p, const nc_gemm_slab *s)
{
    p->pairs = (s->k + 1) / 2;
    p->whole = p->pairs / 16;
    p->tail = p->pairs % 16 != 0;
    p->count = s->rows <= 32 ? 1 : (p->whole + PIECE_STEPS - 1) / PIECE_STEPS;
    p->count = p->count < 1 ? 1 : p->count;
    p->each = (p->whole + p->count - 1) / p->count;
    if (!p->tail)
        return;
    size_t left = (size_t)(p->pairs % 16) * 64;
    memset(p->last, 0, sizeof p->last);
    for (int i = 0; i < s->panels; i++)
        memcpy(p->last[i], s->w + i * p->pairs * 32 + p->whole * STEP, left);
}

/* What of W is fetched while a piece is at work: the piece behind it, or the first of the slab behind. No more: L2 is A's. */
typedef struct ahead { const char *at[2]; int64_t lines; } ahead;

static ahead ahead_of(const nc_gemm_slab *s, const pieces *p, int64_t i)
{
    bool here = i + 1 < p->count;
    int64_t panel = p->pairs * 64, blocks = (s->rows + 31) / 32;
    const char *from = here ? (const char *)(s->w + (i + 1) * p->each * STEP) : s->ahead;
    bool two = here ? s->panels > 1 : s->ahead_lines * 64 > panel;
    int64_t times = s->narrow ? 2 * blocks : blocks;     /* that a step of the piece is done */
    return (ahead){ { from, from ? from + (two ? panel : 0) : NULL }, from ? (16 + times - 1) / times : 0 };
}

/* C's old values of the block at row: where they lie, if whole tiles of f32 do, else gathered in `room`. */
static begun old_sums(const nc_gemm_slab *s, int64_t row, int rows, float *room)
{
    const nc_gemm_out *o = &s->o;
    if (o->c_dtype == NC_F32 && rows % 16 == 0 && o->columns == 16 * s->panels)
        return (begun){ (const float *)o->c + row * o->ldc, o->ldc, 16, 16 * o->ldc };
    gather(room, o, rows, row);
    return (begun){ room, 16, 256, 512 };
}

/* Has C's rows fetched that the next block begins with: those below, or the next slab's first. */
static void fetch_old(block *k, const nc_gemm_slab *s, int64_t row)
{
    const bool below = row + 32 < s->rows;
    const int size = c_size(&s->o);
    k->old = (const char *)s->o.c + (below ? (row + 32) * s->o.ldc : s->o.columns) * size;
    k->old_step = s->o.ldc * size;
    k->old_bytes = s->o.columns * size;
    k->old_rows = below && s->rows - row - 32 < 32 ? (int)(s->rows - row - 32) : 32;
}

/* Rows [row, row + 32) of the slab by piece i of k. */
static void one_block(const nc_gemm_slab *s, const pieces *p, int64_t i, int64_t row, nc_gemm_rest *rest, ahead *next)
{
    int rows = (int)(s->rows - row < 32 ? s->rows - row : 32);
    bool both = rows > 16, halves = both && s->narrow, final = i + 1 == p->count;
    int64_t from = i * p->each, to = from + p->each < p->whole ? from + p->each : p->whole;
    float *sums = s->sums[!rest->area] + row / 32 * 1024;
    block k = { .a = s->a + row * ((p->pairs + 15) / 16 * 32) + from * (both ? 2 * STEP : STEP), .a_step = both ? 2 * STEP : STEP,
                .b0 = s->w + from * STEP, .b1 = s->panels > 1 ? s->w + p->pairs * 32 + from * STEP : NULL,
                .last0 = final && p->tail ? p->last[0] : NULL, .last1 = p->last[1],
                .steps = to - from, .ahead = { next->at[0], next->at[1] }, .ahead_lines = next->lines, .rest = rest, .each = p->finish };

    begun old = { 0 };
    if (i == 0 && s->o.accumulate) {
        old = old_sums(s, row, rows, sums);
        fetch_old(&k, s, row);
    }
    for (int half = 0; half <= halves; half++) {
        if (i > 0)
            load_sums((begun){ sums, 16, 256, 512 }, half, both && !halves, s->panels > 1);
        else if (old.at)
            load_sums(old, half, both && !halves, s->panels > 1);
        else
            zero_sums();
        run_steps(&k, half, both && !halves);
        store_sums(sums + 512 * half, both && !halves, s->panels > 1);
    }
    next->at[0] = k.ahead[0];
    next->at[1] = k.ahead[1];
}

static void slab_bf16(const nc_gemm_slab *s, nc_gemm_rest *rest)
{
    pieces p;
    cut(&p, s);
    int64_t times = (s->rows + 31) / 32 * (p.whole + p.tail) * (s->narrow ? 2 : 1);    /* that a step is done */
    p.finish = times ? (unfinished(rest) + times - 1) / times : 0;
    for (int64_t i = 0; i < p.count; i++) {
        ahead next = ahead_of(s, &p, i);
        for (int64_t row = 0; row < s->rows; row += 32)
            one_block(s, &p, i, row, rest, &next);
    }
    finish_rows(rest, INT64_MAX);
    int rows = (int)(s->rows < 32 ? s->rows : 32), area = !rest->area;
    *rest = (nc_gemm_rest){ .o = s->o, .area = area, .sums = s->sums[area], .rows = rows, .left = s->rows - rows, .stream = s->stream };
    for (int row = 0; row < FETCHED && !s->stream; row++)
        fetch_row(&s->o, row);
}

/* ---- wide or narrow blocks ---- */

/* Ticks of products with six tiles of sums and operands alive, or with all eight. */
NC_INLINE uint64_t ticks(const bool all)
{
    static const _Alignas(64) uint16_t zeros[STEP];
    uint64_t start = 0;
    zero_sums();
    tile_zero(5);
    tile_zero(7);
    tile_load(4, zeros, 64);
    tile_load(6, zeros, 64);
    if (all) {
        tile_load(5, zeros, 64);
        tile_load(7, zeros, 64);
    }
    for (int i = 0; i < 10; i++) {
        if (i == 2) {
            _mm_lfence();
            start = __rdtsc();
        }
        tile_dot(0, 4, 6);
        tile_dot(1, 4, 6);
        tile_dot(2, 4, 6);
        tile_dot(3, 4, 6);
    }
    _mm_lfence();
    return __rdtsc() - start;
}

/* Whether the core's other hyperthread holds tiles now. */
static bool narrow(void) { return 2 * ticks(true) > 3 * ticks(false); }

void nc_gemm_amx_table(struct nc_gemm_kernels *t)
{
    t->isa = NC_ISA_AMX;
    t->bf16 = true;
    t->rows[1] = 32;
    t->panels[1] = 2;
    t->k_step = 32;
    t->pack_a_bf16 = pack_a_bf16;
    t->slab_begin = begin;
    t->slab_end = end;
    t->slab_narrow = narrow;
    t->slab_bf16 = slab_bf16;
    t->tile_bf16 = NULL;
    nc_gemm_blocks_amx_table(t);
    nc_gemm_few_amx_table(t);
}

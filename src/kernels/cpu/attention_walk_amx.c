/* attention_walk_amx.c - the forward of attention in bf16 by AMX: 32 query rows before the blocks of one group, all in one pipeline.
 *
 *   s = q k^T (32 x 64, depth in steps of 16 words)     p = 2^(unit s - m)     l += p     acc += p v (depth 2 x 32 keys)
 *
 * Several blocks are under way at once: while the powers of one are taken, the products q.k of the next and p.v of those before are issued, a piece of 32 powers
 * after each tile instruction (fill). That is what tile instructions ask for where the core's other hyperthread holds tiles (amx_tiles.h): bunched together they wait
 * for each other, ten instructions apart they hardly do. And what one unit stored is read by the other a block later, when it has long reached the cache: a tile
 * cannot be loaded from a store that is still pending. 32 rows keep q, acc, s and p in the first cache beside a block's keys and values, for heads of 64.
 * A wide acc (more than 64 columns) is read and written once for two blocks, half of its columns beside each of the next two: the same sums as block by block.
 *
 * The maximum is lazy (attention.h): as long as no row rises above its limit, which one vector of differences tells for all 32, nothing is moved and nothing
 * rescaled. l is kept as 16 partial sums, lane c of keys c, c + 16, ..., added at the end. Columns that no row sees are left out by 32, which adds exactly
 * nothing; heads that end inside a tile are finished by copies with zeros (key_rest, value_rest).
 */
#include "kernels/cpu/amx_tiles.h"
#include "kernels/cpu/attention_vec.h"

enum { ROWS = 32, HALF = NC_TILE / 2, RING = 4 };

typedef struct step {                            /* the rows before one block */
    const uint32_t *keys, *values;
    int64_t start;
    int low, high;                               /* columns [low, high), multiples of 32 */
    bool edge;                                   /* some row does not see them all */
} step;

typedef struct share { int from, to, low, high; } share;                     /* of acc += p v: steps [from, to), columns [low, high) */

typedef struct walk {
    float s[2][ROWS * NC_TILE];
    uint32_t p[RING][ROWS * HALF];
    float lanes[ROWS * 16], base[ROWS], limit[ROWS], alpha[RING][ROWS];      /* base: m, or 0 before any key; limit: in raw products */
    uint32_t key_rest[16 * NC_TILE], value_rest[2][HALF * 16];
    bool moved[RING], begun;                     /* begun: acc holds something */
    int row, rows, steps, ring;                  /* rows row.. of the tile; slots of p in use */
    share left;                                  /* the other columns of what was begun; high 0: none */
    step step[NC_ATTENTION_GROUP];
} walk;

size_t nc_attention_walk_amx_bytes(const nc_attention_shape *s) { (void)s; return sizeof(walk); }

static void list_steps(const nc_attention_walk *w, walk *x)
{
    const int64_t *first = w->tile->first + x->row, *last = w->tile->last + x->row;
    const int end = x->rows - 1;

    x->steps = 0;
    for (int b = 0; b < w->blocks; b++) {
        const int64_t start = w->block[b].start, low = first[0] - start, high = last[end] - start;
        if (low < NC_TILE && high >= 0)
            x->step[x->steps++] = (step){ w->block[b].keys, w->block[b].values, start, low < HALF ? 0 : HALF, high < HALF ? HALF : NC_TILE,
                                          w->a->list || first[end] > start || last[0] < start + NC_TILE - 1 };
    }
}

/* ---- powers, a piece at a time ---- */
typedef struct filling {                         /* pieces i, i + by, ... below `end` are left; piece i: row i / 2, columns 32 (i % 2) on */
    int i, end, by;
    vf unit, sum;                                /* sum: of the row's first piece */
    const float *s, *base;
    uint32_t *p;
    float *lanes;
} filling;

INLINE void fill(filling *f)
{
    if (f->i >= f->end)
        return;
    const vf m = vset(f->base[f->i / 2]);
    const vf y = vexp2_bf16(_mm512_fmsub_ps(vload(f->s + f->i * 32), f->unit, m)), z = vexp2_bf16(_mm512_fmsub_ps(vload(f->s + f->i * 32 + 16), f->unit, m));
    _mm512_store_si512(f->p + f->i * 16, (__m512i)_mm512_cvtne2ps_pbh(z, y));
    f->sum = vadd(f->sum, vadd(y, z));
    if (f->i % 2 || f->by == 2) {
        float *lanes = f->lanes + f->i / 2 * 16;
        vstore(lanes, vadd(vload(lanes), f->sum));
        f->sum = vset(0);
    }
    f->i += f->by;
}

/* ---- products: sums 0-3 = rows 0, 16 by columns 0, 16; all tiles are clear before and after ---- */
typedef struct operand { const uint32_t *at; int64_t stride; } operand;      /* a tile's place, its stride in bytes */

/* sums += 16 words of 16 or 32 rows times the columns of y and, with `right`, of z. */
INLINE void multiply(const uint32_t *a, int64_t lda, operand y, operand z, bool lower, bool right, filling *f)
{
    tile_load(4, a, lda * 4);
    fill(f);
    tile_load(6, y.at, y.stride);
    fill(f);
    tile_dot(0, 4, 6);
    fill(f);
    if (right) {
        tile_load(7, z.at, z.stride);
        fill(f);
        tile_dot(1, 4, 7);
        fill(f);
    }
    tile_zero(4);
    if (lower) {
        tile_load(5, a + 16 * lda, lda * 4);
        fill(f);
        tile_dot(2, 5, 6);
        fill(f);
        tile_zero(6);
        if (right) {
            tile_dot(3, 5, 7);
            fill(f);
        }
        tile_zero(5);
    } else
        tile_zero(6);
    tile_zero(7);
}

INLINE void load_sums(const float *c, int64_t ldc, bool lower, bool right, filling *f)
{
    tile_load(0, c, ldc * 4);
    fill(f);
    if (right) {
        tile_load(1, c + 16, ldc * 4);
        fill(f);
    }
    if (lower) {
        tile_load(2, c + 16 * ldc, ldc * 4);
        fill(f);
    }
    if (lower && right) {
        tile_load(3, c + 16 * ldc + 16, ldc * 4);
        fill(f);
    }
}

INLINE void store_sums(float *c, int64_t ldc, bool lower, bool right)
{
    tile_store(0, c, ldc * 4);
    tile_zero(0);
    if (right) {
        tile_store(1, c + 16, ldc * 4);
        tile_zero(1);
    }
    if (lower) {
        tile_store(2, c + 16 * ldc, ldc * 4);
        tile_zero(2);
    }
    if (lower && right) {
        tile_store(3, c + 16 * ldc + 16, ldc * 4);
        tile_zero(3);
    }
}

/* s of a step, 32 columns at a time. */
INLINE void scores(const nc_attention_walk *w, walk *x, const step *t, float *s, filling *f)
{
    const int words = nc_words(&w->a->shape, w->a->shape.head);
    const uint32_t *q = w->q + x->row * w->ldq;
    const bool lower = x->rows > 16;

    for (int k = words / 16 * 16; k < words; k++)
        memcpy(x->key_rest + k % 16 * NC_TILE, t->keys + k * NC_TILE, NC_TILE * 4);
    for (int c = t->low; c < t->high; c += 32) {
        for (int k = 0; k < words; k += 16) {
            const uint32_t *keys = (k + 16 <= words ? t->keys + k * NC_TILE : x->key_rest) + c;
            multiply(q + k, w->ldq, (operand){ keys, NC_TILE * 4 }, (operand){ keys + 16, NC_TILE * 4 }, lower, true, f);
        }
        store_sums(s + c, NC_TILE, lower, true);
    }
}

/* 32 keys and 16 columns of the values of step i. */
INLINE operand columns(const nc_attention_walk *w, const walk *x, int i, int c, int key)
{
    const int V = w->a->shape.value_head;

    return c + 16 <= V ? (operand){ x->step[i].values + key / 2 * V + c, V * 4 } : (operand){ x->value_rest[i % 2] + key / 2 * 16, 64 };
}

/* What is due beside the powers of step i: where acc is wide blocks two by two, unless m moved between them. */
static int shares_of(walk *x, int W, int i, share due[3])
{
    int n = 0;

    if (x->ring == 2) {
        due[0] = (share){ i - 1, i, 0, W };
        return i > 0;
    }
    if (x->left.high)
        due[n++] = x->left;
    x->left.high = 0;
    if (i <= 0 || (i % 2 && i < x->steps))
        return n;
    int from = (i - 1) / 2 * 2, middle = i < x->steps ? (W / 2 + 31) / 32 * 32 : W;
    if (from < i - 1 && x->moved[(i - 1) & (x->ring - 1)])
        due[n++] = (share){ from, from + 1, 0, W }, from++;
    due[n++] = (share){ from, i, 0, middle < W ? middle : W };
    if (middle < W)
        x->left = (share){ from, i, middle, W };
    return n;
}

/* acc as its steps want to find it, and values that end inside a tile. */
static void prepare(const nc_attention_walk *w, walk *x, const share *d)
{
    const int V = w->a->shape.value_head;

    if (x->moved[d->from & (x->ring - 1)] && x->begun)
        rescale(w->acc + x->row * w->width, w->width, x->alpha[d->from & (x->ring - 1)], x->rows);
    for (int i = d->from; i < d->to; i++)
        for (int r = 0; V % 16 && r < HALF; r++)
            _mm512_store_si512(x->value_rest[i % 2] + r * 16, _mm512_maskz_loadu_epi32(mask_first(V % 16), x->step[i].values + r * V + V / 16 * 16));
}

INLINE void weigh(const nc_attention_walk *w, walk *x, const share *d, filling *f)
{
    const int W = (int)w->width;
    const bool lower = x->rows > 16;
    float *acc = w->acc + x->row * W;

    for (int c = d->low; c < d->high; c += 32) {
        const bool right = c + 16 < W;
        if (x->begun)
            load_sums(acc + c, W, lower, right, f);
        for (int i = d->from; i < d->to; i++)
            for (int key = x->step[i].low; key < x->step[i].high; key += 32)
                multiply(x->p[i & (x->ring - 1)] + key / 2, HALF, columns(w, x, i, c, key), columns(w, x, i, c + 16, key), lower, right, f);
        store_sums(acc + c, W, lower, right);
    }
}

/* ---- the running softmax ---- */
/* What is not a product alone: biases, caps, and -inf where a row does not see. */
static void dress(const nc_attention_walk *w, const walk *x, const step *t, float *s)
{
    const nc_attention_args *a = w->a;
    const nc_attention_tile *tile = w->tile;
    vf tanh_out;

    if (a->slopes || a->bias)
        nc_attention_dress(a, tile, s, t->start, x->row, x->row + x->rows);
    for (int i = 0; i < x->rows; i++) {
        const int r = x->row + i;
        const uint64_t seen = nc_bits(tile->first[r] - t->start, tile->last[r] - t->start) & nc_tile_listed(tile, a, r, t->start);
        for (int c = t->low; c < t->high; c += 16) {
            vf y = vload(s + i * NC_TILE + c);
            if (w->score->capped)
                y = score_of(w->score, y, &tanh_out);
            vstore(s + i * NC_TILE + c, vwhere(mask_bits(seen >> c), y, vset(-INFINITY)));
        }
    }
}

static bool rises(const walk *x, const step *t, const float *s)
{
    vf over = vset(-INFINITY);

    if (t->high - t->low == NC_TILE)
#pragma GCC unroll 4
        for (int i = 0; i < x->rows; i++, s += NC_TILE) {
            vf most = vmax(vmax(vload(s), vload(s + 16)), vmax(vload(s + 32), vload(s + 48)));
            over = vmax(vsub(most, vset(x->limit[i])), over);
        }
    else
        for (int i = 0; i < x->rows; i++, s += NC_TILE)
            over = vmax(vsub(vmax(vload(s + t->low), vload(s + t->low + 16)), vset(x->limit[i])), over);
    return _mm512_cmp_ps_mask(over, vset(0), _CMP_GT_OQ) != 0;
}

/* Rows that rose above their limit have their greatest score as m from now on; l follows at once, acc before the product with these p. */
static void move(const nc_attention_walk *w, walk *x, const step *t, const float *s, float unit, float *alphas)
{
    for (int begin = 0; begin < x->rows; begin += 16) {
        float *m = w->m + x->row + begin, *lanes = x->lanes + begin * 16, *alpha = alphas + begin;
        vf most[16];
        for (int i = 0; i < 16; i++) {
            most[i] = vset(-INFINITY);
            for (int c = t->low; begin + i < x->rows && c < t->high; c += 16)
                most[i] = vmax(vload(s + (begin + i) * NC_TILE + c), most[i]);
        }
        const vf top = across(most, false), old = vload(m);
        const vm rises = _mm512_cmp_ps_mask(top, vload(x->limit + begin), _CMP_GT_OQ);
        const vf now = vwhere(rises, vmul(top, vset(unit)), old);
        vstore(m, now);
        vstore(x->base + begin, vwhere(_mm512_cmp_ps_mask(now, vset(-INFINITY), _CMP_GT_OQ), now, vset(0)));
        vstore(x->limit + begin, vdiv(vadd(now, vset(NC_ATTENTION_RISE)), vset(unit)));
        vstore(alpha, vwhere(rises, vexp2(vsub(old, now)), vset(1)));
        for (int i = 0; i < 16; i++)
            vstore(lanes + i * 16, vmul(vload(lanes + i * 16), vset(alpha[i])));
    }
}

static void begin(const nc_attention_walk *w, walk *x, int row)
{
    x->row = row;
    x->rows = w->tile->rows - row < ROWS ? w->tile->rows - row : ROWS;
    x->begun = false;
    x->left.high = 0;
    x->ring = w->width > 64 ? RING : 2;
    list_steps(w, x);
    for (int i = 0; i < ROWS; i += 16) {
        vstore(w->m + row + i, vset(-INFINITY));
        vstore(x->limit + i, vset(-INFINITY));
        vstore(x->base + i, vset(0));
    }
    for (int i = 0; i < ROWS; i++)
        vstore(x->lanes + i * 16, vset(0));
}

static void end(const nc_attention_walk *w, const walk *x)
{
    for (int begin = 0; begin < x->rows; begin += 16) {
        vf lanes[16];
        for (int i = 0; i < 16; i++)
            lanes[i] = vload(x->lanes + (begin + i) * 16);
        vstore(w->l + x->row + begin, across(lanes, true));
    }
    if (!x->begun)
        memset(w->acc + x->row * w->width, 0, (size_t)(x->rows * w->width) * 4);
}

static void pipeline(const nc_attention_walk *w, walk *x)
{
    const bool dressed = w->score->capped || w->a->slopes || w->a->bias;
    const float unit = w->score->capped ? 1 : w->score->scale2;

    for (int i = -1; i <= x->steps; i++) {
        const step *now = &x->step[i];
        float *s = x->s[i & 1];
        const int slot = i & (x->ring - 1);
        filling f = { 0 };
        share due[3];
        if (i >= 0 && i < x->steps) {
            if (dressed || now->edge)
                dress(w, x, now, s);
            if ((x->moved[slot] = rises(x, now, s)))
                move(w, x, now, s, unit, x->alpha[slot]);
            f = (filling){ now->low / 32, x->rows * 2, now->high - now->low == NC_TILE ? 1 : 2, vset(unit), vset(0), s, x->base, x->p[slot], x->lanes };
        }
        if (i + 1 < x->steps)
            scores(w, x, now + 1, x->s[(i + 1) & 1], &f);
        for (int k = 0, n = shares_of(x, (int)w->width, i, due); k < n; k++) {
            if (due[k].low == 0)
                prepare(w, x, &due[k]);
            weigh(w, x, &due[k], &f);
            x->begun |= due[k].high == w->width;
        }
        while (f.i < f.end)
            fill(&f);
    }
}

void nc_attention_walk_amx(const nc_attention_walk *w)
{
    walk *x = w->room;

    if (nc_words(&w->a->shape, w->a->shape.head) % 16)
        memset(x->key_rest, 0, sizeof x->key_rest);
    for (int row = 0; row < w->tile->rows; row += ROWS) {
        begin(w, x, row);
        pipeline(w, x);
        end(w, x);
    }
}

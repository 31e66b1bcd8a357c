/* attention_forward.c - the forward driver: which tile meets which block, and in which order (attention.h states the order, attention_tiles.h the operations).
 *
 * Work is dealt by (span, kv head, tile of 64 query rows); the rows of all query heads of one kv head share tiles, so that a block of keys is fetched once.
 * Without a cache, keys and values of as many spans as fit are first packed into pages of the workspace, then attended: waves of spans. Where there are too
 * few tiles for the threads (decoding a long context), the groups of blocks are dealt too and merged afterwards, in the same order.
 */
#include <math.h>
#include "kernels/cpu/attention_tiles.h"

enum { EXTRA_PAGES = 16, PARTIAL_BYTES = 2 << 20 };

typedef struct scratch {                         /* of one worker; [64] rows */
    nc_attention_tile tile;
    uint64_t seen[NC_TILE];
    float m[NC_TILE], l[NC_TILE], alpha[NC_TILE], total_m[NC_TILE], total_l[NC_TILE];
    uint32_t *q, *p;
    float *s, *acc, *total;                      /* rows of acc and total: width() floats */
    nc_attention_walk walk;
} scratch;

typedef struct job {
    const nc_attention_tiles *t;
    const nc_attention_args *a;
    nc_attention_score score;
    int begin, end;                              /* spans of this wave */
    int64_t *unit, *page;                        /* [spans of the wave + 1] first unit, first page */
    char *keys, *values;                         /* pages of the workspace */
    size_t key_bytes, value_bytes;
    scratch **scratch;
    int groups;                                  /* > 0: groups are dealt apart, partial results here */
    float *partial;
} job;

static int64_t max_units(const nc_attention_shape *s) { return s->rows; }
static int64_t page_room(const nc_attention_shape *s)
{
    return s->paged ? 0 : (s->keys + NC_TILE - 1) / NC_TILE + (s->keys < EXTRA_PAGES ? s->keys : EXTRA_PAGES);
}

/* Rows of queries (words) and of sums (floats) are whole lines. */
static int whole_line(int n) { return (n + 15) / 16 * 16; }
static int query_words(const nc_attention_shape *s) { return whole_line(nc_words(s, s->head)); }
static int width(const nc_attention_shape *s) { return whole_line(s->value_head); }

static size_t scratch_bytes(const nc_attention_shape *s)
{
    return nc_line(sizeof(scratch)) + NC_TILE * 4 * (size_t)(query_words(s) + NC_TILE * 2 + width(s) * 2);
}

size_t nc_attention_tiled_forward_bytes(const nc_attention_shape *s, int threads)
{
    return (size_t)page_room(s) * (nc_attention_key_page_bytes(s) + nc_attention_value_page_bytes(s)) + (size_t)threads * (scratch_bytes(s) + 64) + PARTIAL_BYTES +
           2 * nc_line(sizeof(int64_t) * (size_t)(max_units(s) + 2)) + 64;
}

static scratch *scratch_new(char **at, const nc_attention_shape *s)
{
    scratch *w = nc_carve(at, sizeof *w);
    const size_t q = NC_TILE * 4 * (size_t)query_words(s);

    w->q = memset(nc_carve(at, q), 0, q);
    w->p = nc_carve(at, NC_TILE * NC_TILE * 4);
    w->s = nc_carve(at, NC_TILE * NC_TILE * 4);
    w->acc = nc_carve(at, NC_TILE * 4 * (size_t)width(s));
    w->total = nc_carve(at, NC_TILE * 4 * (size_t)width(s));
    return w;
}

void nc_attention_gaps(const nc_attention_args *a, void *out, int64_t row_bytes, int64_t stride, float *lse)
{
    int64_t row = 0;

    for (int i = 0; i <= a->spans; i++) {
        int64_t until = i < a->spans ? a->span[i].q_row : a->shape.rows;
        nc_clear_rows(out, row, until, row_bytes, stride);
        for (int64_t k = row * a->shape.heads; lse && k < until * a->shape.heads; k++)
            lse[k] = -INFINITY;
        row = i < a->spans ? a->span[i].q_row + a->span[i].q_rows : row;
    }
}

/* ---- packing and appending ---- */
static const char *at_row(const job *j, const void *x, const int64_t stride[2], int64_t row, int g)
{
    return (const char *)x + (row * stride[0] + g * stride[1]) * (j->t->per == 2 ? 2 : 4);
}

/* Part = (page of the wave, kv head). */
static void pack_part(void *context, int64_t part, int64_t parts, int worker)
{
    const job *j = context;
    const nc_attention_shape *d = &j->a->shape;
    const int G = d->kv_heads, g = (int)(part % G), words = nc_words(d, d->head), size = j->t->per == 2 ? 2 : 4;
    const int64_t page = part / G;
    int i = j->begin;

    (void)parts;
    for (int high = j->end - 1; i < high;) {                 /* the last span whose first page is not beyond */
        int mid = (i + high + 1) / 2;
        if (j->page[mid - j->begin] <= page)
            i = mid;
        else
            high = mid - 1;
    }
    const nc_attention_span *s = &j->a->span[i];
    const int64_t start = (page - j->page[i - j->begin]) * NC_TILE, rest = s->k_rows - start;
    const int rows = rest < NC_TILE ? (int)rest : NC_TILE;
    uint32_t *keys = (uint32_t *)(j->keys + (size_t)page * j->key_bytes) + (int64_t)g * words * NC_TILE;
    uint32_t *values = (uint32_t *)(j->values + (size_t)page * j->value_bytes) + (int64_t)g * (NC_TILE / j->t->per) * d->value_head;
    const char *k = at_row(j, j->a->k, j->a->k_stride, s->k_row + start, g);
    int64_t row_bytes = j->a->k_stride[0] * size;
    if (words * j->t->per != d->head) {                      /* odd bf16: filled rows first */
        const int ldq = query_words(d);
        for (int r = 0; r < rows; r++)
            nc_copy_rows(j->scratch[worker]->q + r * ldq, words, k + r * row_bytes, 0, 1, (size_t)d->head * 2);
        k = (const char *)j->scratch[worker]->q;
        row_bytes = ldq * 4;
    }
    j->t->lanes(keys, k, row_bytes, rows, words);
    j->t->pairs(values, at_row(j, j->a->v, j->a->v_stride, s->k_row + start, g), j->a->v_stride[0] * size, rows, d->value_head);
}

/* Part = kv head: spans in order, so that several spans of one slot never meet in a page at once. */
static void append_part(void *context, int64_t part, int64_t parts, int worker)
{
    const job *j = context;
    const nc_attention_args *a = j->a;
    const nc_attention_shape *d = &a->shape;
    const int words = nc_words(d, d->head), size = j->t->per == 2 ? 2 : 4;

    (void)parts, (void)worker;
    for (int i = 0; i < a->spans; i++) {
        const nc_attention_span *s = &a->span[i];
        for (int64_t r = 0; r < s->k_rows; r++) {
            int64_t index = s->q_index + r, block = index / NC_TILE;
            if (index % NC_TILE == 0 && s->k_rows - r >= NC_TILE && words * j->t->per == d->head) {      /* a whole page at once */
                j->t->lanes((uint32_t *)a->pages->keys(a->pages->context, s->slot, block) + part * words * NC_TILE, at_row(j, a->k, a->k_stride, s->k_row + r, (int)part),
                            a->k_stride[0] * size, NC_TILE, words);
                j->t->pairs((uint32_t *)a->pages->values(a->pages->context, s->slot, block) + part * (NC_TILE / j->t->per) * d->value_head,
                            at_row(j, a->v, a->v_stride, s->k_row + r, (int)part), a->v_stride[0] * size, NC_TILE, d->value_head);
                r += NC_TILE - 1;
                continue;
            }
            nc_attention_append(&a->shape, a->pages->keys(a->pages->context, s->slot, block), a->pages->values(a->pages->context, s->slot, block), index, (int)part,
                                at_row(j, a->k, a->k_stride, s->k_row + r, (int)part), at_row(j, a->v, a->v_stride, s->k_row + r, (int)part));
        }
    }
}

/* ---- attending ---- */
static void find_unit(const job *j, int64_t unit, int *span, int *g, int64_t *tile)
{
    int low = j->begin, high = j->end - 1;

    while (low < high) {
        int mid = (low + high + 1) / 2;
        if (j->unit[mid - j->begin] <= unit)
            low = mid;
        else
            high = mid - 1;
    }
    const int64_t tiles = nc_tiles_of(&j->a->span[low], j->a->shape.heads / j->a->shape.kv_heads), in = unit - j->unit[low - j->begin];
    *span = low;
    *g = (int)(in / tiles);
    *tile = tiles - 1 - in % tiles;                          /* the longest first */
}

static void load_queries(const job *j, scratch *w)
{
    const nc_attention_shape *d = &j->a->shape;
    const int words = nc_words(d, d->head), ldq = query_words(d), size = j->t->per == 2 ? 2 : 4;

    for (int r = 0; r < w->tile.rows; r++)
        nc_copy_rows(w->q + r * ldq, words, (const char *)j->a->q + nc_tile_row(&w->tile, r, j->a->q_stride[0], j->a->q_stride[1]) * size, 0, 1,
                     (size_t)d->head * (size_t)size);
}

/* Bias rows that follow each other as the keys do: the first row stands for those before it, the last for those behind. */
static void add_run(float *s, const float *bias, int64_t rows, float once, int64_t shift, int64_t low, int64_t high)
{
    const int64_t last = rows - 1 - shift < high ? rows - 1 - shift : high;
    int64_t c = low;

    for (; c <= high && shift + c < 0; c++)
        s[c] += once * bias[0];
    for (; c <= last; c++)
        s[c] += once * bias[shift + c];
    for (; c <= high; c++)
        s[c] += once * bias[rows - 1];
}

void nc_attention_dress(const nc_attention_args *a, const nc_attention_tile *t, float *s, int64_t start, int begin, int end)
{
    for (int r = begin; r < end; r++, s += NC_TILE) {
        const int64_t low = t->first[r] > start ? t->first[r] - start : 0, high = t->last[r] - start < NC_TILE - 1 ? t->last[r] - start : NC_TILE - 1;
        if (a->slopes) {
            const float slope = (float)((double)a->slopes[t->head[r]] / a->scale);
            const int64_t away = start - nc_tile_index(t, r);
            for (int64_t c = low; c <= high; c++)
                s[c] += slope * (float)(away + c);
        }
        if (!a->bias)
            continue;
        const float *bias = (const float *)a->bias + t->head[r] * a->shape.bias_rows, once = (float)(1 / a->scale);
        const int64_t code = nc_attention_query_code(a, t->span, t->row[r]);
        if (!a->k_code)
            add_run(s, bias, a->shape.bias_rows, once, a->bias_offset + start - code, low, high);
        for (int64_t c = low; a->k_code && c <= high; c++)
            s[c] += once * bias[nc_attention_bias_at(a, t->span, start + c, code)];
    }
}

/* Rows [begin, end) meet one block, with `first` before any other. Where the edge of sight crosses it, 16 rows at a time with no more columns than they see. */
static void meet(const job *j, scratch *w, const uint32_t *keys, const uint32_t *values, int64_t start, int begin, int end, bool first)
{
    const nc_attention_shape *d = &j->a->shape;
    const int words = nc_words(d, d->head), V = d->value_head, ldq = query_words(d), W = width(d), per = j->t->per, cells = NC_TILE / per;
    bool edge = false;
    int low[NC_TILE / 16 + 1], high[NC_TILE / 16 + 1], step;

    for (int r = begin; r < end; r++) {
        w->seen[r] = nc_bits(w->tile.first[r] - start, w->tile.last[r] - start) & nc_tile_listed(&w->tile, j->a, r, start);
        edge |= w->seen[r] != ~(uint64_t)0;
    }
    step = edge ? 16 : NC_TILE;
    for (int r = begin, i = 0; r < end; r += step, i++) {
        int rows = end - r < step ? end - r : step;
        uint64_t any = w->seen[r] | w->seen[r + rows - 1];
        for (int k = r; j->a->list && k < r + rows; k++)
            any |= w->seen[k];
        low[i] = high[i] = 0;
        if (!any)                                            /* of a list alone */
            continue;
        low[i] = __builtin_ctzll(any) / 32 * 32;
        high[i] = (63 - __builtin_clzll(any)) / 16 * 16 + 16;
        j->t->product(w->s + r * NC_TILE + low[i], NC_TILE, w->q + r * ldq, ldq, keys + low[i], NC_TILE, rows, high[i] - low[i], words, false);
    }
    if (j->a->slopes || j->a->bias)
        nc_attention_dress(j->a, &w->tile, w->s + begin * NC_TILE, start, begin, end);
    j->t->softmax(end - begin, w->s + begin * NC_TILE, w->seen + begin, &j->score, w->m + begin, w->l + begin, w->alpha + begin, w->p + begin * cells);
    if (!first)
        j->t->rescale(w->acc + begin * W, W, w->alpha + begin, end - begin);
    for (int r = begin, i = 0; r < end; r += step, i++)
        if (high[i] > 0)
            j->t->product(w->acc + r * W, W, w->p + r * cells + low[i] / per, cells, values + (int64_t)(low[i] / per) * V, V, end - r < step ? end - r : step, V,
                      (high[i] - low[i]) / per, !first);
}

/* Where the tile's kv head of a block lies. */
static void find_block(const job *j, const nc_attention_tile *t, int span, int64_t b, const uint32_t **keys, const uint32_t **values)
{
    const nc_attention_args *a = j->a;
    const nc_attention_shape *d = &a->shape;
    const int64_t page = j->page[span - j->begin] + b;
    const char *k = a->pages ? a->pages->keys(a->pages->context, t->span->slot, b) : j->keys + (size_t)page * j->key_bytes;
    const char *v = a->pages ? a->pages->values(a->pages->context, t->span->slot, b) : j->values + (size_t)page * j->value_bytes;

    *keys = (const uint32_t *)k + (int64_t)t->g * nc_words(d, d->head) * NC_TILE;
    *values = (const uint32_t *)v + (int64_t)t->g * (NC_TILE / j->t->per) * d->value_head;
}

/* The blocks of one group: m, l, acc from nothing. */
static void attend_group(const job *j, scratch *w, int span, int64_t group)
{
    const int64_t keys = nc_attention_keys(w->tile.span, j->a->pages != NULL), W = width(&j->a->shape);
    bool first = true, begun = false;

    for (int r = 0; r < w->tile.rows; r++) {
        w->m[r] = -INFINITY;
        w->l[r] = 0;
    }
    w->walk.blocks = 0;
    for (int64_t b = group * NC_ATTENTION_GROUP; b < (group + 1) * NC_ATTENTION_GROUP && b * NC_TILE < keys; b++) {
        int64_t high = b * NC_TILE + NC_TILE - 1;
        int begin, end;
        const uint32_t *k, *v;
        nc_tile_active(&w->tile, b * NC_TILE, high < keys ? high : keys - 1, &begin, &end);
        if (begin >= end)
            continue;
        find_block(j, &w->tile, span, b, &k, &v);
        if (j->t->walk) {
            w->walk.block[w->walk.blocks].keys = k;
            w->walk.block[w->walk.blocks].values = v;
            w->walk.block[w->walk.blocks++].start = b * NC_TILE;
            continue;
        }
        first &= begin == 0 && end == w->tile.rows;          /* all rows begin here, or from zeros */
        if (!first && !begun)
            memset(w->acc, 0, (size_t)(w->tile.rows * W) * 4);
        meet(j, w, k, v, b * NC_TILE, begin, end, first);
        first = false;
        begun = true;
    }
    if (j->t->walk) {
        w->walk.acc = w->acc;
        j->t->walk(&w->walk);
    } else if (!begun)
        memset(w->acc, 0, (size_t)(w->tile.rows * W) * 4);
}

/* total (m, l, acc) with the next group's (gm, gl, gacc): an empty side leaves the other as it is. */
static void merge(float *m, float *l, float *acc, float gm, float gl, const float *gacc, int V)
{
    if (gl == 0)
        return;
    if (*l == 0) {
        *m = gm;
        *l = gl;
        memcpy(acc, gacc, (size_t)V * 4);
        return;
    }
    float most = *m > gm ? *m : gm, x = exp2f(*m - most), y = exp2f(gm - most);
    for (int c = 0; c < V; c++)
        acc[c] = acc[c] * x + gacc[c] * y;
    *l = *l * x + gl * y;
    *m = most;
}

static void finish(const job *j, scratch *w)
{
    const nc_attention_args *a = j->a;
    const int V = a->shape.value_head;

    for (int r = 0; r < w->tile.rows; r++) {
        int64_t at = nc_tile_row(&w->tile, r, a->shape.heads, 1);
        float l = w->total_l[r];
        j->t->store((char *)a->out + at * V * (j->t->per == 2 ? 2 : 4), w->total + r * width(&a->shape), l != 0 ? 1 / l : 0, V);
        if (a->lse)
            ((float *)a->lse)[at] = (float)(((double)w->total_m[r] + log2((double)l)) * 0.69314718055994531);
    }
}

static void groups_of(const nc_attention_tile *t, int64_t *low, int64_t *high)
{
    *low = INT64_MAX;
    *high = -1;
    for (int r = 0; r < t->rows; r++)
        if (t->first[r] <= t->last[r]) {
            int64_t a = t->first[r] / NC_TILE / NC_ATTENTION_GROUP, b = t->last[r] / NC_TILE / NC_ATTENTION_GROUP;
            *low = a < *low ? a : *low;
            *high = b > *high ? b : *high;
        }
}

static void empty_total(scratch *w, int W)
{
    for (int r = 0; r < w->tile.rows; r++) {
        w->total_m[r] = -INFINITY;
        w->total_l[r] = 0;
    }
    memset(w->total, 0, (size_t)w->tile.rows * (size_t)W * 4);
}

static void attend_part(void *context, int64_t part, int64_t parts, int worker)
{
    const job *j = context;
    scratch *w = j->scratch[worker];
    const int V = j->a->shape.value_head, W = width(&j->a->shape);
    int64_t tile, low, high;
    int span, g;
    uint32_t state;

    (void)parts;
    find_unit(j, part, &span, &g, &tile);
    j->t->enter(&state);
    nc_tile_fill(&w->tile, j->a, &j->a->span[span], g, tile);
    load_queries(j, w);
    groups_of(&w->tile, &low, &high);
    if (low != high)
        empty_total(w, W);
    for (int64_t group = low; group <= high; group++) {
        attend_group(j, w, span, group);
        if (low == high) {                                   /* one group is the total */
            float *acc = w->acc;
            w->acc = w->total;
            w->total = acc;
            memcpy(w->total_m, w->m, sizeof w->m);
            memcpy(w->total_l, w->l, sizeof w->l);
            break;
        }
        for (int r = 0; r < w->tile.rows; r++)
            merge(&w->total_m[r], &w->total_l[r], w->total + r * W, w->m[r], w->l[r], w->acc + r * W, V);
    }
    finish(j, w);
    j->t->leave(&state);
}

/* Groups dealt apart: partial [unit][group] = m[64], l[64], acc [64][width]. */
static int64_t partial_floats(const nc_attention_shape *d) { return NC_TILE * (2 + (int64_t)width(d)); }

static void group_part(void *context, int64_t part, int64_t parts, int worker)
{
    const job *j = context;
    scratch *w = j->scratch[worker];
    float *to = j->partial + part * partial_floats(&j->a->shape);
    int64_t tile;
    int span, g;
    uint32_t state;

    (void)parts;
    find_unit(j, part / j->groups, &span, &g, &tile);
    j->t->enter(&state);
    nc_tile_fill(&w->tile, j->a, &j->a->span[span], g, tile);
    load_queries(j, w);
    attend_group(j, w, span, part % j->groups);
    memcpy(to, w->m, sizeof w->m);
    memcpy(to + NC_TILE, w->l, sizeof w->l);
    memcpy(to + 2 * NC_TILE, w->acc, (size_t)w->tile.rows * (size_t)width(&j->a->shape) * 4);
    j->t->leave(&state);
}

static void merge_part(void *context, int64_t part, int64_t parts, int worker)
{
    const job *j = context;
    scratch *w = j->scratch[worker];
    const int V = j->a->shape.value_head, W = width(&j->a->shape);
    int64_t tile;
    int span, g;
    uint32_t state;

    (void)parts;
    find_unit(j, part, &span, &g, &tile);
    j->t->enter(&state);
    nc_tile_fill(&w->tile, j->a, &j->a->span[span], g, tile);
    empty_total(w, W);
    for (int64_t group = 0; group < j->groups; group++) {
        const float *from = j->partial + (part * j->groups + group) * partial_floats(&j->a->shape);
        for (int r = 0; r < w->tile.rows; r++)
            merge(&w->total_m[r], &w->total_l[r], w->total + r * W, from[r], from[NC_TILE + r], from + 2 * NC_TILE + r * W, V);
    }
    finish(j, w);
    j->t->leave(&state);
}

static void attend(job *j, nc_pool *pool)
{
    const int threads = nc_pool_threads(pool);
    const int64_t units = j->unit[j->end - j->begin];
    int64_t keys = 0;

    for (int i = j->begin; i < j->end; i++) {
        int64_t k = nc_attention_keys(&j->a->span[i], j->a->pages != NULL);
        keys = j->a->span[i].q_rows > 0 && k > keys ? k : keys;
    }
    const int64_t groups = (keys + NC_TILE * NC_ATTENTION_GROUP - 1) / (NC_TILE * NC_ATTENTION_GROUP);
    if (threads > 1 && groups > 1 && units < 2 * threads && units * groups <= PARTIAL_BYTES / 4 / partial_floats(&j->a->shape)) {
        j->groups = (int)groups;
        nc_pool_run(pool, units * groups, group_part, j);
        nc_pool_run(pool, units, merge_part, j);
    } else
        nc_pool_run(pool, units, attend_part, j);
}

/* Spans from `begin` on whose pages fit (at least one); spans that name the same keys as the one before share its pages. */
static int wave(job *j, int begin, int64_t room, int64_t *pages)
{
    const nc_attention_args *a = j->a;
    const int n = a->shape.heads / a->shape.kv_heads;
    int64_t used = 0, units = 0;
    int i = begin;

    for (; i < a->spans && i - begin <= max_units(&a->shape); i++) {
        const nc_attention_span *s = &a->span[i];
        int64_t need = a->pages || s->q_rows == 0 ? 0 : (s->k_rows + NC_TILE - 1) / NC_TILE;
        bool same = i > begin && need && s[-1].q_rows > 0 && s[-1].k_row == s->k_row && s[-1].k_rows == s->k_rows;
        if (!same && i > begin && used + need > room)
            break;
        j->unit[i - begin] = units;
        j->page[i - begin] = same ? j->page[i - 1 - begin] : used;
        used += same ? 0 : need;
        units += nc_tiles_of(s, n) * a->shape.kv_heads;
    }
    j->unit[i - begin] = units;
    j->page[i - begin] = *pages = used;
    j->begin = begin;
    return j->end = i;
}

void nc_attention_tiled_forward(const nc_attention_tiles *t, const nc_attention_args *a, nc_pool *pool, void *workspace)
{
    const nc_attention_shape *d = &a->shape;
    const int threads = nc_pool_threads(pool);
    char *at = workspace;
    job j = { .t = t, .a = a, .score = nc_attention_score_of(a), .key_bytes = nc_attention_key_page_bytes(d), .value_bytes = nc_attention_value_page_bytes(d) };
    int64_t pages;

    j.scratch = nc_carve(&at, sizeof *j.scratch * (size_t)threads);
    for (int i = 0; i < threads; i++) {
        scratch *w = j.scratch[i] = scratch_new(&at, d);
        w->walk = (nc_attention_walk){ .a = a, .score = &j.score, .tile = &w->tile, .q = w->q, .ldq = query_words(d), .width = width(d), .m = w->m, .l = w->l,
                                       .room = t->walk ? nc_carve(&at, t->walk_bytes(d)) : NULL };
    }
    j.unit = nc_carve(&at, sizeof(int64_t) * (size_t)(max_units(d) + 2));
    j.page = nc_carve(&at, sizeof(int64_t) * (size_t)(max_units(d) + 2));
    j.partial = nc_carve(&at, PARTIAL_BYTES);
    j.keys = nc_carve(&at, (size_t)page_room(d) * j.key_bytes);
    j.values = nc_carve(&at, (size_t)page_room(d) * j.value_bytes);
    const int64_t row_bytes = (int64_t)d->heads * d->value_head * (t->per == 2 ? 2 : 4);
    nc_attention_gaps(a, a->out, row_bytes, row_bytes, a->lse);
    if (a->pages)
        nc_pool_run(pool, d->kv_heads, append_part, &j);
    for (int i = 0; i < a->spans;) {
        i = wave(&j, i, page_room(d), &pages);
        if (!a->pages)
            nc_pool_run(pool, pages * d->kv_heads, pack_part, &j);
        attend(&j, pool);
    }
}

/* attention_backward.c - the backward driver. With P recomputed tile by tile from lse, D = rowsum(dout * out) - dlse, f' the slope of the soft cap:
 *
 *   P = 2^(x - lse2)     dP = dout V^T     dS = P (dP - D) f' scale     dV += P^T dout     dK += dS^T Q     dQ += dS K
 *
 * Everything is computed transposed, keys as rows and the 64 queries of a tile as lanes: P^T and dS^T then are operands of dV and dK as they come, and lse and D
 * are vectors. Work is dealt by (cluster of spans that share keys, kv head): query tiles in order, for each the blocks of keys in order, so dk and dv add over
 * query rows in order, in f32; they and dQ^T leave their f32 accumulators once, at the end.
 * With a bias its gradient adds dS / scale by head and table row: clusters are cut into BIAS_CHUNKS runs, each with sums of its own, added in order afterwards.
 */
#include "kernels/cpu/attention_tiles.h"

enum { BIAS_CHUNKS = 16 };

typedef struct scratch {
    nc_attention_tile tile;
    uint64_t seen[NC_TILE];
    float lse2[NC_TILE], d[NC_TILE];
    uint32_t *rows, *q_lanes, *q_pairs, *g_lanes, *g_pairs;  /* the tile's q and dout: rows as they are [64][words], lanes [words][64], pairs [64/per][A or V] */
    uint32_t *p, *ds, *ds_pairs;                             /* P^T, dS^T [64][64/per], dS^T with pairs along keys */
    float *s, *dp, *dq;                                      /* S^T, dP^T [64][64]; dQ^T [A][64] */
    uint32_t *k_rows, *v_rows, *k_turned;                    /* keys and values as rows [keys][words], K^T [blocks][A][64/per] */
    float *dk, *dv;                                          /* [keys of the cluster][A], [..][V] */
    float *dbias;                                            /* [H][R] of the chunk at hand; NULL without a bias */
} scratch;

typedef struct cluster { int begin, end; int64_t low, high; } cluster;   /* spans, and the rows of k they cover */
typedef struct job {
    const nc_attention_tiles *t;
    const nc_attention_args *a;
    nc_attention_score score;
    cluster *cluster;
    scratch **scratch;
    int clusters;
    float *dbias;                                            /* [BIAS_CHUNKS][H][R] */
} job;

static int64_t padded(int64_t keys) { return (keys + NC_TILE - 1) / NC_TILE * NC_TILE; }

static scratch *scratch_new(char **at, const nc_attention_shape *s)
{
    scratch *w = nc_carve(at, sizeof *w);
    const size_t line = NC_TILE * 4, A = (size_t)s->head, V = (size_t)s->value_head, wide = A > V ? A : V, keys = (size_t)padded(s->keys);
    const size_t key_words = (size_t)nc_words(s, s->head), value_words = (size_t)nc_words(s, s->value_head);

    w->rows = nc_carve(at, line * wide);
    w->q_lanes = nc_carve(at, line * key_words);
    w->q_pairs = nc_carve(at, line * A);
    w->g_lanes = nc_carve(at, line * value_words);
    w->g_pairs = nc_carve(at, line * V);
    w->p = nc_carve(at, line * NC_TILE);
    w->ds = nc_carve(at, line * NC_TILE);
    w->ds_pairs = nc_carve(at, line * NC_TILE);
    w->s = nc_carve(at, line * NC_TILE);
    w->dp = nc_carve(at, line * NC_TILE);
    w->dq = nc_carve(at, line * (A + NC_TILE));              /* and room to turn 64 of its rows */
    w->k_rows = nc_carve(at, keys * key_words * 4);
    w->v_rows = nc_carve(at, keys * value_words * 4);
    w->k_turned = nc_carve(at, keys * A * 4);
    w->dk = nc_carve(at, keys * A * 4);
    w->dv = nc_carve(at, keys * V * 4);
    return w;
}

static size_t cluster_bytes(const nc_attention_shape *s) { return nc_line(sizeof(cluster) * ((size_t)s->rows + 1)); }
static size_t bias_bytes(const nc_attention_shape *s) { return nc_line(BIAS_CHUNKS * (size_t)s->heads * (size_t)s->bias_rows * 4); }

size_t nc_attention_tiled_backward_bytes(const nc_attention_shape *s, int threads)
{
    const size_t line = NC_TILE * 4, A = (size_t)s->head, V = (size_t)s->value_head, keys = (size_t)padded(s->keys);
    size_t tile = line * (6 * NC_TILE + (A > V ? A : V) + 4 * A + 2 * V), all = keys * 4 * (4 * A + 2 * V);   /* words of lanes and rows are at most A, V */

    return cluster_bytes(s) + bias_bytes(s) + (size_t)threads * (nc_line(sizeof(scratch)) + tile + all + 16 * 64 + 64) + 64;
}

/* ---- one (cluster, kv head) ---- */
static void load_keys(const job *j, scratch *w, const nc_attention_span *s, int g)
{
    const nc_attention_args *a = j->a;
    const nc_attention_shape *d = &a->shape;
    const int A = d->head, kw = nc_words(d, A), vw = nc_words(d, d->value_head), size = j->t->per == 2 ? 2 : 4;

    nc_copy_rows(w->k_rows, kw, (const char *)a->k + (s->k_row * a->k_stride[0] + g * a->k_stride[1]) * size, a->k_stride[0] * size, (int)s->k_rows, (size_t)(A * size));
    nc_copy_rows(w->v_rows, vw, (const char *)a->v + (s->k_row * a->v_stride[0] + g * a->v_stride[1]) * size, a->v_stride[0] * size, (int)s->k_rows,
                 (size_t)(d->value_head * size));
    for (int64_t start = 0; start < s->k_rows; start += NC_TILE) {
        int rows = s->k_rows - start < NC_TILE ? (int)(s->k_rows - start) : NC_TILE;
        j->t->pairs(w->q_pairs, w->k_rows + start * kw, kw * 4, rows, A);
        j->t->lanes(w->k_turned + start * A, w->q_pairs, A * 4, NC_TILE / j->t->per, A);
    }
}

static void load_tile(const job *j, scratch *w)
{
    const nc_attention_args *a = j->a;
    const nc_attention_shape *d = &a->shape;
    const int A = d->head, V = d->value_head, kw = nc_words(d, A), vw = nc_words(d, V), R = w->tile.rows, size = j->t->per == 2 ? 2 : 4;

    for (int r = 0; r < R; r++)
        nc_copy_rows(w->rows + r * kw, kw, (const char *)a->q + nc_tile_row(&w->tile, r, a->q_stride[0], a->q_stride[1]) * size, 0, 1, (size_t)(A * size));
    j->t->lanes(w->q_lanes, w->rows, kw * 4, R, kw);
    j->t->pairs(w->q_pairs, w->rows, kw * 4, R, A);
    for (int r = 0; r < R; r++) {
        int64_t at = nc_tile_row(&w->tile, r, d->heads, 1);
        const char *dout = (const char *)a->dout + at * V * size;
        nc_copy_rows(w->rows + r * vw, vw, dout, 0, 1, (size_t)(V * size));
        w->d[r] = j->t->dot(dout, (const char *)a->out + at * V * size, V) - (a->dlse ? ((const float *)a->dlse)[at] : 0);
        w->lse2[r] = (float)((double)((const float *)a->lse)[at] * 1.4426950408889634);
    }
    for (int r = R; r < NC_TILE; r++)
        w->d[r] = w->lse2[r] = 0;
    j->t->lanes(w->g_lanes, w->rows, vw * 4, R, vw);
    j->t->pairs(w->g_pairs, w->rows, vw * 4, R, V);
}

/* Lanes lose the keys of the block that are not in their lists. */
static void only_listed(const job *j, scratch *w, int64_t start, int keys)
{
    for (int r = 0; r < w->tile.rows; r++) {
        const uint64_t bits = nc_tile_listed(&w->tile, j->a, r, start);
        for (int k = 0; k < keys; k++)
            w->seen[k] &= ~((~bits >> k & 1) << r);
    }
}

/* Which lanes see key j of the block; true when every row sees every key. */
static bool sight(const job *j, scratch *w, int64_t start, int keys)
{
    const nc_attention_tile *t = &w->tile;
    bool all = t->rows == NC_TILE && !j->a->list;

    for (int k = 0; k < keys; k++) {
        int begin, end;
        nc_tile_active(t, start + k, start + k, &begin, &end);
        w->seen[k] = nc_bits(begin, end - 1);
        all &= end - begin == NC_TILE;
    }
    for (int k = keys; k < NC_TILE; k++)
        w->seen[k] = 0;
    if (j->a->list)
        only_listed(j, w, start, keys);
    return all;
}

/* ALiBi: raw products of keys [begin, end) of the block and all lanes begin at slope / scale * (j - i). */
static void tilt(const job *j, scratch *w, int64_t start, int begin, int end)
{
    float slope[NC_TILE] = { 0 };
    int64_t index[NC_TILE] = { 0 };

    for (int r = 0; r < w->tile.rows; r++) {
        slope[r] = (float)((double)j->a->slopes[w->tile.head[r]] / j->a->scale);
        index[r] = nc_tile_index(&w->tile, r);
    }
    for (int k = begin; k < end; k++)
        for (int r = 0; r < NC_TILE; r++)
            w->s[k * NC_TILE + r] = slope[r] * (float)(start + k - index[r]);
}

/* The bias of the tile's lanes at key k of the block, into its raw scores (back false); or its gradient out of dS. */
static void bias_of_key(const job *j, scratch *w, int64_t start, int k, bool back)
{
    const nc_attention_args *a = j->a;
    const nc_attention_span *s = w->tile.span;
    const int64_t R = a->shape.bias_rows;
    const float once = (float)(1 / a->scale);

    for (int r = 0; r < w->tile.rows; r++) {
        if (!(w->seen[k] >> r & 1))
            continue;
        int64_t at = w->tile.head[r] * R + nc_attention_bias_at(a, s, start + k, nc_attention_query_code(a, s, w->tile.row[r]));
        if (!back)
            w->s[k * NC_TILE + r] += once * ((const float *)a->bias)[at];
        else if (j->t->per == 2)
            w->dbias[at] += once * nc_bf16_to_f32(((const uint16_t *)(w->ds + k * NC_TILE / 2))[r]);
        else
            w->dbias[at] += once * ((const float *)w->ds)[k * NC_TILE + r];
    }
}

/* The tile meets one block of keys. Where the edge of sight crosses it, 16 keys at a time (32 lanes for dQ) with no more than they see. */
static void meet(const job *j, scratch *w, int64_t start, int keys, float *dk, float *dv)
{
    const nc_attention_shape *d = &j->a->shape;
    const nc_attention_tiles *t = j->t;
    const int A = d->head, V = d->value_head, kw = nc_words(d, A), vw = nc_words(d, V), cells = NC_TILE / t->per;
    const bool all = sight(j, w, start, keys);
    const int step = all ? NC_TILE : 16;
    int low[4], high[4];

    for (int k = 0, i = 0; k < keys; k += step, i++) {
        int rows = keys - k < step ? keys - k : step;
        uint64_t any = 0;
        for (int r = k; r < k + rows; r++)
            any |= w->seen[r];
        low[i] = any ? __builtin_ctzll(any) / 32 * 32 : 0;
        high[i] = any ? (63 - __builtin_clzll(any)) / 16 * 16 + 16 : 0;
        if (!any)
            continue;
        if (j->a->slopes)
            tilt(j, w, start, k, k + rows);
        t->product(w->s + k * NC_TILE + low[i], NC_TILE, w->k_rows + (start + k) * kw, kw, w->q_lanes + low[i], NC_TILE, rows, high[i] - low[i], kw, j->a->slopes != NULL);
        t->product(w->dp + k * NC_TILE + low[i], NC_TILE, w->v_rows + (start + k) * vw, vw, w->g_lanes + low[i], NC_TILE, rows, high[i] - low[i], vw, false);
    }
    for (int k = 0; j->a->bias && k < keys; k++)
        bias_of_key(j, w, start, k, false);
    t->gradient((keys + 15) / 16 * 16, w->s, w->dp, w->seen, &j->score, w->lse2, w->d, w->p, w->ds, w->ds_pairs);
    for (int k = 0; j->a->bias && k < keys; k++)
        bias_of_key(j, w, start, k, true);
    for (int k = 0, i = 0; k < keys; k += step, i++) {
        int rows = keys - k < step ? keys - k : step, at = k * cells + low[i] / t->per, depth = (high[i] - low[i]) / t->per;
        if (depth == 0)
            continue;
        t->product(dv + (int64_t)k * V, V, w->p + at, cells, w->g_pairs + (int64_t)(low[i] / t->per) * V, V, rows, V, depth, true);
        t->product(dk + (int64_t)k * A, A, w->ds + at, cells, w->q_pairs + (int64_t)(low[i] / t->per) * A, A, rows, A, depth, true);
    }
    const uint32_t *pairs = t->per == 2 ? w->ds_pairs : w->ds;
    for (int r = 0; r < w->tile.rows; r += all ? NC_TILE : 32) {
        int lanes = all ? NC_TILE : 32, begin = 0, end = keys;
        uint64_t mine = all ? ~(uint64_t)0 : (uint64_t)0xffffffff << r;
        while (begin < end && !(w->seen[begin] & mine))
            begin++;
        while (end > begin && !(w->seen[end - 1] & mine))
            end--;
        begin = begin / 32 * 32;
        end = (end + 15) / 16 * 16;
        if (begin < end)
            t->product(w->dq + r, NC_TILE, w->k_turned + start * A + begin / t->per, NC_TILE, pairs + (int64_t)(begin / t->per) * NC_TILE + r, NC_TILE, A, lanes,
                       (end - begin) / t->per, true);
    }
}

static void store_dq(const job *j, scratch *w)
{
    const nc_attention_shape *d = &j->a->shape;
    const int A = d->head, size = j->t->per == 2 ? 2 : 4;
    float *turned = w->dq + (int64_t)A * NC_TILE;

    for (int c = 0; c < A; c += NC_TILE) {
        int n = A - c < NC_TILE ? A - c : NC_TILE;
        j->t->lanes((uint32_t *)turned, w->dq + (int64_t)c * NC_TILE, NC_TILE * 4, n, NC_TILE);
        for (int r = 0; r < w->tile.rows; r++)
            j->t->store((char *)j->a->dq + (nc_tile_row(&w->tile, r, nc_attention_dq_row(j->a), A) + c) * size, turned + r * NC_TILE, 1, n);
    }
}

static void span_part(const job *j, scratch *w, const nc_attention_span *s, int g, int64_t offset)
{
    const nc_attention_shape *d = &j->a->shape;
    const int A = d->head, V = d->value_head;
    const int64_t tiles = nc_tiles_of(s, d->heads / d->kv_heads);

    for (int64_t i = 0; i < tiles; i++) {
        nc_tile_fill(&w->tile, j->a, s, g, i);
        load_tile(j, w);
        memset(w->dq, 0, (size_t)A * NC_TILE * 4);
        for (int64_t start = 0; start < s->k_rows; start += NC_TILE) {
            int keys = s->k_rows - start < NC_TILE ? (int)(s->k_rows - start) : NC_TILE, begin, end;
            nc_tile_active(&w->tile, start, start + keys - 1, &begin, &end);
            if (begin < end)
                meet(j, w, start, keys, w->dk + (offset + start) * A, w->dv + (offset + start) * V);
        }
        store_dq(j, w);
    }
}

static void cluster_of(const job *j, const cluster *c, int g, scratch *w)
{
    const nc_attention_args *a = j->a;
    const nc_attention_shape *d = &a->shape;
    const int A = d->head, V = d->value_head, size = j->t->per == 2 ? 2 : 4;
    const nc_attention_span *loaded = NULL;

    memset(w->dk, 0, (size_t)((c->high - c->low) * A) * 4);
    memset(w->dv, 0, (size_t)((c->high - c->low) * V) * 4);
    for (int i = c->begin; i < c->end; i++) {
        const nc_attention_span *s = &a->span[i];
        if (s->q_rows == 0 || s->k_rows == 0)
            continue;
        if (!loaded || loaded->k_row != s->k_row || loaded->k_rows < s->k_rows)
            load_keys(j, w, loaded = s, g);
        span_part(j, w, s, g, s->k_row - c->low);
    }
    for (int64_t k = c->low; k < c->high; k++) {
        if (a->dk)
            j->t->store((char *)a->dk + (k * nc_attention_dk_row(a) + g * A) * size, w->dk + (k - c->low) * A, 1, A);
        if (a->dv)
            j->t->store((char *)a->dv + (k * nc_attention_dv_row(a) + g * V) * size, w->dv + (k - c->low) * V, 1, V);
    }
}

static void cluster_part(void *context, int64_t part, int64_t parts, int worker)
{
    const job *j = context;
    const int G = j->a->shape.kv_heads;
    uint32_t state;

    (void)parts;
    j->t->enter(&state);
    cluster_of(j, &j->cluster[part / G], (int)(part % G), j->scratch[worker]);
    j->t->leave(&state);
}

/* Part = (chunk of the clusters, kv head): the heads of a kv head are this part's alone. */
static void chunk_part(void *context, int64_t part, int64_t parts, int worker)
{
    const job *j = context;
    const nc_attention_shape *d = &j->a->shape;
    const int64_t chunk = part / d->kv_heads, g = part % d->kv_heads, n = d->heads / d->kv_heads;
    scratch *w = j->scratch[worker];
    uint32_t state;

    (void)parts;
    j->t->enter(&state);
    w->dbias = j->dbias + chunk * d->heads * d->bias_rows;
    memset(w->dbias + g * n * d->bias_rows, 0, (size_t)(n * d->bias_rows) * 4);
    for (int64_t c = j->clusters * chunk / BIAS_CHUNKS; c < j->clusters * (chunk + 1) / BIAS_CHUNKS; c++)
        cluster_of(j, &j->cluster[c], (int)g, w);
    j->t->leave(&state);
}

static void sum_chunks(const job *j)
{
    const int64_t n = j->a->shape.heads * j->a->shape.bias_rows;

    for (int64_t i = 0; i < n; i++) {
        float sum = 0;
        for (int c = 0; c < BIAS_CHUNKS; c++)
            sum += j->dbias[c * n + i];
        ((float *)j->a->dbias)[i] = sum;
    }
}

/* Spans that share keys come together, so that no two workers add to one row. Clusters are disjoint and ascend in rows of k. */
static int clusters_of(const nc_attention_args *a, cluster *c)
{
    int n = 0;

    for (int i = 0; i < a->spans; i++) {
        const nc_attention_span *s = &a->span[i];
        if (s->q_rows == 0 || s->k_rows == 0)
            continue;
        cluster x = { i, i + 1, s->k_row, s->k_row + s->k_rows };
        for (; n > 0 && c[n - 1].high > x.low; n--) {
            x.begin = c[n - 1].begin;
            x.low = c[n - 1].low < x.low ? c[n - 1].low : x.low;
            x.high = c[n - 1].high > x.high ? c[n - 1].high : x.high;
        }
        c[n++] = x;
    }
    return n;
}

static void clear_gaps(void *x, const cluster *c, int n, int64_t rows, int64_t row_bytes, int64_t stride)
{
    int64_t row = 0;

    for (int i = 0; x && i <= n; i++) {
        int64_t until = i < n ? c[i].low : rows;
        nc_clear_rows(x, row, until, row_bytes, stride);
        row = i < n ? c[i].high : row;
    }
}

void nc_attention_tiled_backward(const nc_attention_tiles *t, const nc_attention_args *a, nc_pool *pool, void *workspace)
{
    const nc_attention_shape *d = &a->shape;
    const int threads = nc_pool_threads(pool);
    const int64_t size = t->per == 2 ? 2 : 4, row_bytes = (int64_t)d->heads * d->head * size, dq_stride = nc_attention_dq_row(a) * size;
    char *at = workspace;
    job j = { .t = t, .a = a, .score = nc_attention_score_of(a) };

    j.cluster = nc_carve(&at, sizeof(cluster) * ((size_t)d->rows + 1));
    j.dbias = nc_carve(&at, bias_bytes(d));
    j.scratch = nc_carve(&at, sizeof *j.scratch * (size_t)threads);
    for (int i = 0; i < threads; i++)
        j.scratch[i] = scratch_new(&at, d);
    const int n = j.clusters = clusters_of(a, j.cluster);
    nc_attention_gaps(a, a->dq, row_bytes, dq_stride, NULL);
    for (int i = 0; i < a->spans; i++)
        if (a->span[i].k_rows == 0)
            nc_clear_rows(a->dq, a->span[i].q_row, a->span[i].q_row + a->span[i].q_rows, row_bytes, dq_stride);
    clear_gaps(a->dk, j.cluster, n, d->keys, (int64_t)d->kv_heads * d->head * size, nc_attention_dk_row(a) * size);
    clear_gaps(a->dv, j.cluster, n, d->keys, (int64_t)d->kv_heads * d->value_head * size, nc_attention_dv_row(a) * size);
    if (!a->bias) {
        nc_pool_run(pool, (int64_t)n * d->kv_heads, cluster_part, &j);
        return;
    }
    nc_pool_run(pool, (int64_t)BIAS_CHUNKS * d->kv_heads, chunk_part, &j);
    if (a->dbias)
        sum_chunks(&j);
}

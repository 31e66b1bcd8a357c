/* indexer.c - which keys each row of a sparse attention may see (DeepSeek-AI 2025, DeepSeek-V3.2's lightning indexer).
 *
 *   index_keys  q [N,H,A], k [N,A], w [N,H] -> I32 [N,top]: of the keys j up to the row's own those with the largest  s_j = sum_h w_h max(0, scale q_h.k_j),
 *               indices ascending, filled up with INT32_MAX. Equal scores: the earlier key; NaN counts as the least.
 *
 * A row's choice depends on its own scores alone, and these on the block of keys they lie in (kernels/attention.h): whole, chunked and cached runs choose alike.
 * With a cache the rows of k are first written to the layer's index pages.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "graph/op.h"
#include "graph/spans.h"
#include "kernels/attention.h"

enum { BLOCK = NC_KEY_BLOCK };

typedef struct job {
    const nc_node *n;
    const nc_run *r;
    const nc_index_attr *a;
    int slot;
    int64_t heads, head, most;                   /* most: keys of the longest span */
    int32_t *span_of;                            /* of each row, -1: none */
    int64_t *first_block;                        /* of each span in `keys` */
    char *keys;                                  /* without a cache: blocks of all spans, [A][64] each */
    size_t block_bytes;
    double *scores;                              /* of each worker twice `most`: by key, and to be ordered */
} job;

static int infer(nc_graph *g, nc_node *n, nc_error *e)
{
    const nc_index_attr *a = NC_ATTR(n, nc_index_attr);
    const nc_value *q = n->in[0];

    if (!a->spans || a->top < 1 || !isfinite(a->scale))
        return nc_infer_fail(n, e, NC_EINVAL, "spans are needed, at least one key, a finite scale");
    if (a->cache && nc_graph_wide(g) == NC_F64)
        return nc_infer_fail(n, e, NC_EUNSUPPORTED, "a cache holds f32, the graph computes in f64");
    NC_TRY(nc_infer_rank(n, 0, 3, e));
    for (int i = 0; i < 3; i++)
        NC_TRY(nc_infer_dtype(n, i, nc_graph_wide(g), e));
    NC_TRY(nc_infer_dims(n, 1, e, 2, (const int64_t[]){ -1, q->shape.dim[2] }));
    NC_TRY(nc_infer_dims(n, 2, e, 2, (const int64_t[]){ -1, q->shape.dim[1] }));
    if (!nc_same_rows(q, n->in[1]) || !nc_same_rows(q, n->in[2]) || q->shape.dim[1] > 65536 || q->shape.dim[2] > NC_ATTENTION_MAX_HEAD)
        return nc_infer_fail(n, e, NC_ESHAPE, "q [N,H,A], k [N,A] and w [N,H] must have the same rows, and heads at most %d wide", NC_ATTENTION_MAX_HEAD);
    nc_infer_out(n, 0, NC_I32, NC_SHAPE(q->shape.dim[0], a->top), q->count, q->count_scale);
    return 0;
}

/* Row `row` of k into column `index` of its block. */
static void put_key(const job *j, void *block, int64_t index, int64_t row)
{
    const int64_t A = j->head;

    for (int64_t c = 0; c < A; c++)
        if (j->slot == NC_SLOT_F64)
            ((double *)block)[c * BLOCK + index] = ((const double *)j->n->in[1]->data)[row * A + c];
        else
            ((float *)block)[c * BLOCK + index] = ((const float *)j->n->in[1]->data)[row * A + c];
}

static void *block_of(const job *j, int span, int64_t block)
{
    const nc_span *s = &j->a->spans->span[span];
    return j->a->cache ? (void *)j->a->cache->index(j->a->cache, s->slot, j->a->layer, (int)block) : j->keys + (size_t)(j->first_block[span] + block) * j->block_bytes;
}

static void keep_keys(const job *j)
{
    for (int i = 0; i < j->a->spans->count; i++) {
        const nc_span *s = &j->a->spans->span[i];
        for (int64_t t = 0; t < s->q_rows; t++) {
            const int64_t index = s->q_index + t;
            put_key(j, block_of(j, i, index / BLOCK), index % BLOCK, s->q_row + t);
        }
    }
}

/* The value that `top` of the n numbers reach: those that equal it lie on the border. Three-way quickselect, largest first; x is disordered. */
static double border(double *x, int64_t n, int64_t top)
{
    for (;;) {
        const double a = x[0], b = x[n / 2], c = x[n - 1], pivot = fmax(fmin(a, b), fmin(fmax(a, b), c));
        int64_t larger = 0, end = n, i = 0;
        while (i < end)
            if (x[i] > pivot) {
                const double t = x[i];
                x[i++] = x[larger];
                x[larger++] = t;
            } else if (x[i] < pivot) {
                const double t = x[i];
                x[i] = x[--end];
                x[end] = t;
            } else {
                i++;
            }
        if (top <= larger) {
            n = larger;
        } else if (top <= end) {
            return pivot;
        } else {
            x += end;
            n -= end;
            top -= end;
        }
    }
}

static void choose(const double *s, double *spare, int64_t n, int64_t top, int32_t *out)
{
    int64_t taken = 0, equal = 0;
    double least = -INFINITY;

    if (n > top) {
        memcpy(spare, s, (size_t)n * sizeof *s);
        least = border(spare, n, top);
        for (int64_t i = 0; i < n; i++)
            equal -= s[i] > least;
        equal += top;
    } else
        equal = n;
    for (int64_t i = 0; i < n; i++)
        if (s[i] > least || (s[i] == least && equal-- > 0))
            out[taken++] = (int32_t)i;
    for (; taken < top; taken++)
        out[taken] = INT32_MAX;
}

static void rows(void *context, int64_t begin, int64_t end, int worker)
{
    const job *j = context;
    const int64_t top = j->a->top, row_bytes = j->heads * (j->slot == NC_SLOT_F64 ? 8 : 4);
    double *scores = j->scores + 2 * j->most * worker, block[BLOCK];

    for (int64_t row = begin; row < end; row++) {
        int32_t *out = (int32_t *)j->n->out[0]->data + row * top;
        const int span = j->span_of[row];
        const nc_span *s = span < 0 ? NULL : &j->a->spans->span[span];
        const int64_t n = s ? s->q_index + row - s->q_row + 1 : 0;
        for (int64_t start = 0; start < n && n > top; start += BLOCK) {
            j->r->kernels->attention->index_scores[j->slot](block, (const char *)j->n->in[0]->data + row * row_bytes * j->head, (const char *)j->n->in[2]->data + row * row_bytes,
                                                            block_of(j, span, start / BLOCK), (int)j->heads, (int)j->head, j->a->scale);
            for (int64_t k = start; k < n && k < start + BLOCK; k++) {
                double x = j->slot == NC_SLOT_F64 ? block[k - start] : (double)((float *)block)[k - start];
                scores[k] = isnan(x) ? -INFINITY : x;
            }
        }
        if (n <= top)                                        /* all of them, whatever they score */
            memset(scores, 0, (size_t)n * sizeof *scores);
        choose(scores, scores + j->most, n, top, out);
    }
}

static int check(const job *j)
{
    const int64_t live = nc_live_rows(j->n->in[0], j->r->counts);
    int64_t after = 0;

    for (int i = 0; i < j->a->spans->count; i++) {
        const nc_span *s = &j->a->spans->span[i];
        if (s->q_rows < 0 || s->q_row < after || s->q_row > live || s->q_rows > live - s->q_row || s->q_index < 0 || (j->a->cache && s->slot < 0))
            return nc_fail(j->r->error, NC_ESHAPE, "index_keys: span %d has rows %d+%d of %lld live, index %d, slot %d", i, s->q_row, s->q_rows, (long long)live, s->q_index, s->slot);
        if (!j->a->cache && s->q_index > 0)
            return nc_fail(j->r->error, NC_EINVAL, "index_keys: span %d begins at index %d, and there is no cache with the keys before", i, s->q_index);
        after = s->q_row + s->q_rows;
    }
    return 0;
}

static int run(const nc_node *n, const nc_run *r)
{
    const nc_value *q = n->in[0];
    job j = { .n = n, .r = r, .a = NC_ATTR(n, nc_index_attr), .slot = nc_dtype_slot(q->dtype), .heads = q->shape.dim[1], .head = q->shape.dim[2], .most = 1 };
    const int64_t live = nc_live_rows(q, r->counts);
    int64_t blocks = 0;

    NC_TRY(check(&j));
    j.block_bytes = (size_t)j.head * BLOCK * (j.slot == NC_SLOT_F64 ? 8 : 4);
    j.span_of = nc_xmalloc(sizeof *j.span_of * ((size_t)live + 1));
    j.first_block = nc_xmalloc(sizeof *j.first_block * ((size_t)j.a->spans->count + 1));
    memset(j.span_of, -1, sizeof *j.span_of * (size_t)live);
    for (int i = 0; i < j.a->spans->count; i++) {
        const nc_span *s = &j.a->spans->span[i];
        for (int64_t t = 0; t < s->q_rows; t++)
            j.span_of[s->q_row + t] = i;
        j.first_block[i] = blocks;
        blocks += (s->q_rows + BLOCK - 1) / BLOCK;
        j.most = s->q_index + s->q_rows > j.most ? s->q_index + s->q_rows : j.most;
    }
    j.keys = j.a->cache ? NULL : nc_xcalloc((size_t)blocks + 1, j.block_bytes);
    j.scores = nc_xmalloc(sizeof *j.scores * 2 * (size_t)j.most * (size_t)nc_pool_threads(r->pool));
    keep_keys(&j);
    nc_parallel_rows(r, live, 4, rows, &j);
    free(j.scores);
    free(j.keys);
    free(j.first_block);
    free(j.span_of);
    return 0;
}

static void cost(const nc_node *n, const int64_t *counts, double *flops, double *bytes)
{
    const nc_index_attr *a = NC_ATTR(n, nc_index_attr);
    const double each = 2.0 * (double)n->in[0]->shape.dim[1] * (double)n->in[0]->shape.dim[2];

    *flops = *bytes = 0;
    for (int i = 0; i < a->spans->count; i++) {
        const nc_span *s = &a->spans->span[i];
        *flops += each * s->q_rows * (s->q_index + (s->q_rows + 1) / 2.0);
        *bytes += 4.0 * (double)n->in[0]->shape.dim[2] * (s->q_index + s->q_rows);
    }
    for (int i = 0; i < n->inputs; i++)
        *bytes += (double)nc_live_count(n->in[i], counts) * nc_dtype_get(n->in[i]->dtype)->bytes;
}

const nc_op nc_op_index_keys = { .name = "index_keys", .infer = infer, .run = run, .cost = cost };
const nc_op nc_op_index_keys_cached = { .name = "index_keys_cached", .flags = NC_OP_EFFECT, .infer = infer, .run = run, .cost = cost };

nc_value *nc_index_keys(nc_graph *g, nc_value *q, nc_value *k, nc_value *w, const nc_index_attr *attr)
{
    return nc_emit(g, attr->cache ? &nc_op_index_keys_cached : &nc_op_index_keys, attr, sizeof *attr, (nc_value *[]){ q, k, w }, 3);
}

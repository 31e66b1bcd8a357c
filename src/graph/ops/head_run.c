/* head_run.c - what the ops of head.c compute.
 *
 * A block is up to 1024 rows (fixed by the vocabulary), a chunk NC_HEAD_CHUNK columns of the vocabulary. For each block: chunk by chunk the logits (a product,
 * f32), each row's maximum and sum merged into its state; then, for gradients, chunk by chunk dl, and the products dh += dl w_c, dw_c += dl^T h, db_c += sum dl.
 * dl has h's type. In head_loss dl starts as exp(l - chunk's maximum) f(l), kept from the first pass, and is rescaled when the block's lse is known.
 */
#include <math.h>
#include "graph/ops/head.h"
#include "kernels/element.h"
#include "kernels/reduce.h"

enum { MOST_ROWS = 1024, KEPT_BYTES = 112 << 20, FAR_BYTES = 32 << 20, DB_COLUMNS = 128 };   /* what is kept of FAR_BYTES leaves the cache before it is read */

typedef struct job {
    const nc_node *n;
    const nc_run *r;
    const nc_value *h, *w, *b;
    const int32_t *target;
    int64_t V, D, chunks, block;             /* block: rows */
    nc_dtype t;                              /* of dl */
    float scale, cap;
    bool keep, adds;                         /* dl of all chunks is kept; dw holds a sum to add to */
    const float *weight, *lse, *dlogprob, *dlse;
    nc_value *dh, *dw, *db;                  /* their data NULL: not wanted */
    char *gemm, *dl, *turned;                /* scratch; turned: the block's h, transposed and packed */
    float *logits, *max, *at_target, *dh32;
    nc_head_state *state;
    int64_t row0, rows, c0, cn;              /* the block and chunk at hand */
} job;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static size_t line(size_t bytes) { return (bytes + 63) & ~(size_t)63; }
static size_t size_of(nc_dtype t) { return (size_t)nc_dtype_get(t)->bytes; }
static bool asked(const nc_value *v) { return v && v->data; }

static nc_gemm_kind kind_of(const nc_value *w, const nc_value *h) { return w->packed ? w->packed->kind : nc_gemm_kind_for(w->dtype, h->dtype == NC_BF16); }
static nc_gemm_kind plain_kind(nc_dtype t) { return t == NC_BF16 ? NC_GEMM_BF16 : NC_GEMM_F32; }

static void shape_of(job *j, const nc_node *n, bool keep)
{
    const nc_head_attr *a = NC_ATTR(n, nc_head_attr);

    *j = (job){ .n = n, .h = n->in[0], .w = n->in[1], .b = n->in[2], .scale = (float)a->scale, .cap = (float)a->cap, .keep = keep, .t = n->in[0]->dtype };
    j->V = j->w->shape.dim[0];
    j->D = j->w->shape.dim[1];
    j->chunks = (j->V + NC_HEAD_CHUNK - 1) / NC_HEAD_CHUNK;
    j->block = MOST_ROWS;
    if (keep) {
        int64_t fit = KEPT_BYTES / (j->V * (int64_t)size_of(j->t)) / 16 * 16;
        j->block = fit < 32 ? 32 : least(fit, MOST_ROWS);
    }
}

/* Scratch for blocks of at most `rows`; carves when at is not NULL. */
static size_t carve(job *j, int64_t rows, int threads, bool gradients, char *at)
{
    int64_t cn = least(j->V, NC_HEAD_CHUNK);
    nc_dtype hd = j->h->dtype;
    size_t gemm = nc_gemm_workspace_any(kind_of(j->w, j->h), rows, cn, j->D, hd, threads, !j->w->packed), used = 0;
    if (gradients) {
        size_t dh = j->w->packed ? nc_gemm_backward_workspace_any(j->w->packed->kind, rows, cn, j->D, j->t, threads)
                                 : nc_gemm_workspace_any(kind_of(j->w, j->h), rows, j->D, cn, j->t, threads, true);
        size_t dw = nc_gemm_workspace_any(plain_kind(j->t), cn, j->D, rows, j->t, threads, false);
        gemm = dh > gemm ? dh : gemm;
        gemm = dw > gemm ? dw : gemm;
    }
    size_t sizes[] = {
        gemm, (size_t)(rows * cn) * 4, (size_t)(rows * j->chunks) * 4, (size_t)rows * 4, (size_t)rows * sizeof(nc_head_state),
        gradients ? (size_t)(rows * (j->keep ? j->V : cn)) * size_of(j->t) : 0, gradients && hd == NC_BF16 ? (size_t)(rows * j->D) * 4 : 0,
        gradients ? (size_t)nc_gemm_panels(j->D) * nc_gemm_panel_bytes(plain_kind(j->t), rows) : 0,
    };
    char *part[NC_COUNT(sizes)];

    for (int i = 0; i < NC_COUNT(sizes); i++) {
        part[i] = at ? at + used : NULL;
        used += line(sizes[i]);
    }
    j->gemm = part[0];
    j->logits = (float *)part[1];
    j->max = (float *)part[2];
    j->at_target = (float *)part[3];
    j->state = (nc_head_state *)part[4];
    j->dl = part[5];
    j->dh32 = (float *)part[6];
    j->turned = part[7];
    return used;
}

static size_t bytes_of(const nc_node *n, int threads, bool keep, bool gradients)
{
    job j;
    if (n->in[0]->dtype == NC_F64)
        return (size_t)n->in[1]->shape.dim[0] * 8;
    shape_of(&j, n, keep);
    return carve(&j, least(j.block, n->in[0]->shape.dim[0] > 0 ? n->in[0]->shape.dim[0] : 1), threads, gradients, NULL);
}

/* Whether a plan will give the gradients memory: they are read by a node, kept, or added to a state. */
static bool loss_gradients(const nc_node *n)
{
    for (int i = 1; i <= 3; i++)
        if (n->out[i]->uses || n->out[i]->kept)
            return true;
    return n->in[5];
}

size_t nc_head_workspace_logprob(const nc_node *n, int threads) { return bytes_of(n, threads, false, false); }
size_t nc_head_workspace_grad(const nc_node *n, int threads) { return bytes_of(n, threads, false, true); }
size_t nc_head_workspace_loss(const nc_node *n, int threads) { return bytes_of(n, threads, loss_gradients(n), loss_gradients(n)); }

/* ---- pieces of a block ---- */

static void *dl_row(const job *j, int64_t i)
{
    int64_t at = (j->keep ? j->c0 * j->rows : 0) + i * j->cn;
    return j->dl + (size_t)at * size_of(j->t);
}

static int64_t target_in_chunk(const job *j, int64_t i)
{
    int64_t t = (int64_t)j->target[j->row0 + i] - j->c0;
    return t >= 0 && t < j->cn ? t : -1;
}

/* The chunk's rows of w, packed or plain. */
static nc_gemm_b packed_chunk(const job *j)
{
    return nc_gemm_chunk(j->w->packed, j->c0, j->cn);
}

static nc_gemm_source plain_chunk(const job *j, bool transposed)
{
    return (nc_gemm_source){ j->w->dtype, nc_at(j->w, j->c0 * j->w->stride[0]), j->w->stride[0], transposed };
}

/* again: the product before was the last chunk's. */
static void chunk_logits(const job *j, bool again)
{
    nc_gemm_call c = { .m = j->rows, .a = nc_at(j->h, j->row0 * j->D), .a_dtype = j->h->dtype, .lda = j->D, .c = j->logits, .c_dtype = NC_F32, .ldc = j->cn, .near = true,
                       .bias = j->b ? nc_at(j->b, j->c0) : NULL, .bias_dtype = j->b ? j->b->dtype : NC_F32 };
    if (j->w->packed) {
        nc_gemm_b b = packed_chunk(j);
        c.again = again && b.kind == NC_GEMM_BF16;
        nc_gemm(j->r->kernels, j->r->pool, &c, &b, j->gemm);
    } else {
        nc_gemm_source s = plain_chunk(j, false);
        nc_gemm_plain(j->r->kernels, j->r->pool, &c, &s, kind_of(j->w, j->h), j->cn, j->D, j->gemm);
    }
}

static void soften(void *context, int64_t begin, int64_t end, int worker)
{
    const job *j = context;
    const struct nc_head_kernels *k = j->r->kernels->head;
    const bool far = j->rows * j->V * (int64_t)size_of(j->t) > FAR_BYTES;

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        float *l = j->logits + i * j->cn;
        float max = k->logits(l, j->cn, j->scale, j->cap), sum = k->exps(j->keep ? dl_row(j, i) : NULL, j->t, l, j->cn, max, j->cap, far);
        int64_t t = target_in_chunk(j, i);
        nc_head_merge(&j->state[i], max, sum);
        j->max[i * j->chunks + j->c0 / NC_HEAD_CHUNK] = max;
        if (t >= 0)
            j->at_target[i] = l[t];
    }
}

static float slope(const job *j, float l) { return j->cap > 0 ? 1 - l / j->cap * (l / j->cap) : 1; }

static void put_target(const job *j, int64_t i, int64_t t, float v)
{
    if (j->t == NC_BF16)
        ((uint16_t *)dl_row(j, i))[t] = nc_f32_to_bf16(v);
    else
        ((float *)dl_row(j, i))[t] = v;
}

/* dl of the loss: weight * (p - [j = target]), times the slope of l. */
static void loss_dl(void *context, int64_t begin, int64_t end, int worker)
{
    const job *j = context;

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        bool live = j->target[j->row0 + i] >= 0;
        float lse = nc_head_lse(j->state[i]), by = live ? j->weight[j->row0 + i] * j->scale : 0;
        int64_t t = target_in_chunk(j, i);
        j->r->kernels->head->rescale(dl_row(j, i), j->t, j->cn, by * expf(j->max[i * j->chunks + j->c0 / NC_HEAD_CHUNK] - lse));
        if (t >= 0)
            put_target(j, i, t, by * slope(j, j->at_target[i]) * (expf(j->at_target[i] - lse) - 1));
    }
}

static void logprob_dl(void *context, int64_t begin, int64_t end, int worker)
{
    const job *j = context;
    const struct nc_head_kernels *k = j->r->kernels->head;

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        int64_t row = j->row0 + i, t = target_in_chunk(j, i);
        float *l = j->logits + i * j->cn;
        float dlogprob = j->dlogprob && j->target[row] >= 0 ? j->dlogprob[row] : 0, by = (j->dlse ? j->dlse[row] : 0) - dlogprob;
        k->logits(l, j->cn, j->scale, j->cap);
        k->gradient(dl_row(j, i), j->t, l, j->cn, j->lse[row], by * j->scale, j->cap);
        if (t >= 0)
            put_target(j, i, t, j->scale * slope(j, l[t]) * (by * expf(l[t] - j->lse[row]) + dlogprob));
    }
}

static void add_db(void *context, int64_t begin, int64_t end, int worker)
{
    const job *j = context;
    _Alignas(64) float sums[DB_COLUMNS];
    float *db = (float *)j->db->data + j->c0;

    (void)worker;
    j->r->kernels->reduce->sum[nc_dtype_slot(j->t)](sums, (char *)dl_row(j, 0) + (size_t)begin * size_of(j->t), j->rows, end - begin, j->cn);
    for (int64_t i = begin; i < end; i++)
        db[i] = sums[i - begin] + (j->row0 ? db[i] : 0);
}

/* h of the block as the second operand of dw, packed at its first chunk. */
static nc_gemm_b rows_turned(const job *j)
{
    nc_gemm_kind kind = plain_kind(j->t);
    nc_gemm_b b = { .kind = kind, .n = j->D, .k = j->rows, .data = j->turned, .bytes = (size_t)nc_gemm_panels(j->D) * nc_gemm_panel_bytes(kind, j->rows) };
    nc_gemm_source s = { j->h->dtype, nc_at(j->h, j->row0 * j->D), j->D, true };
    if (j->c0 == 0)
        nc_gemm_pack(j->r->kernels, j->r->pool, &b, &s, false, NULL);
    return b;
}

static void chunk_gradients(const job *j)
{
    const nc_kernels *k = j->r->kernels;

    if (asked(j->dh)) {
        bool wide = j->dh->dtype == NC_F32;
        nc_gemm_call c = { .m = j->rows, .a = dl_row(j, 0), .a_dtype = j->t, .lda = j->cn, .c = wide ? nc_at(j->dh, j->row0 * j->D) : (void *)j->dh32,
                           .c_dtype = NC_F32, .ldc = j->D, .accumulate = j->c0 > 0 };
        if (j->w->packed) {
            nc_gemm_b b = packed_chunk(j);
            nc_gemm_backward(k, j->r->pool, &c, &b, j->gemm);
        } else {
            nc_gemm_source s = plain_chunk(j, true);
            nc_gemm_plain(k, j->r->pool, &c, &s, kind_of(j->w, j->h), j->D, j->cn, j->gemm);
        }
    }
    if (asked(j->dw)) {
        nc_gemm_call c = { .m = j->cn, .a = dl_row(j, 0), .a_dtype = j->t, .lda = j->cn, .a_transposed = true, .c = nc_at(j->dw, j->c0 * j->D),
                           .c_dtype = NC_F32, .ldc = j->D, .accumulate = j->adds || j->row0 > 0 };
        nc_gemm_b h = rows_turned(j);
        nc_gemm(k, j->r->pool, &c, &h, j->gemm);
    }
    if (asked(j->db))
        nc_parallel_rows(j->r, j->cn, DB_COLUMNS, add_db, (void *)j);
}

static void narrow_dh(void *context, int64_t begin, int64_t end, int worker)
{
    const job *j = context;

    (void)worker;
    j->r->kernels->element->cast(NC_BF16, (uint16_t *)j->dh->data + (j->row0 + begin) * j->D, NC_F32, j->dh32 + begin * j->D, (end - begin) * j->D);
}

enum { ROWS_A_PIECE = 8 };

static void next_chunk(job *j, int64_t c)
{
    j->c0 = c * NC_HEAD_CHUNK;
    j->cn = least(NC_HEAD_CHUNK, j->V - j->c0);
}

static void first_pass(job *j)
{
    for (int64_t i = 0; i < j->rows; i++)
        j->state[i] = NC_HEAD_START;
    for (int64_t c = 0; c < j->chunks; c++) {
        next_chunk(j, c);
        chunk_logits(j, c > 0);
        nc_parallel_rows(j->r, j->rows, ROWS_A_PIECE, soften, j);
    }
}

static void second_pass(job *j, bool again, nc_rows_fn *dl)
{
    for (int64_t c = 0; c < j->chunks; c++) {
        next_chunk(j, c);
        if (again)
            chunk_logits(j, false);
        nc_parallel_rows(j->r, j->rows, ROWS_A_PIECE, dl, j);
        chunk_gradients(j);
    }
    if (asked(j->dh) && j->dh->dtype == NC_BF16)
        nc_parallel_rows(j->r, j->rows, ROWS_A_PIECE, narrow_dh, j);
}

/* What every run begins with: targets are data. */
static int begin(job *j, const nc_node *n, const nc_run *r, bool keep, bool gradients, int64_t *rows)
{
    shape_of(j, n, keep);
    j->r = r;
    *rows = nc_live_rows(n->in[0], r->counts);
    j->target = n->in[3]->data;
    for (int64_t i = 0; i < *rows; i++)
        if (j->target[i] >= j->V)
            return nc_fail(r->error, NC_EINVAL, "%s: target %d of row %lld is outside the vocabulary of %lld", n->op->name, j->target[i], (long long)i, (long long)j->V);
    if (n->in[0]->dtype != NC_F64)
        carve(j, least(j->block, n->in[0]->shape.dim[0] > 0 ? n->in[0]->shape.dim[0] : 1), nc_pool_threads(r->pool), gradients, r->workspace);
    return 0;
}

static void clear_sums(const job *j)
{
    if (asked(j->dw) && !j->adds)
        memset(j->dw->data, 0, (size_t)(j->V * j->D) * size_of(j->dw->dtype));
    if (asked(j->db))
        memset(j->db->data, 0, (size_t)j->V * size_of(j->db->dtype));
}

/* ---- double ---- */

static double row_f64(const job *j, int64_t i, double *l)
{
    const nc_head_attr *a = NC_ATTR(j->n, nc_head_attr);
    return nc_ref_head_row_f64(l, (const double *)j->h->data + i * j->D, j->w->data, j->w->stride[0], j->b ? j->b->data : NULL, j->V, j->D, a->scale, a->cap);
}

/* dl = scale f (by p + extra [target]) of one row, added to dh, dw, db. */
static void row_gradient_f64(const job *j, int64_t i, const double *l, double lse, double by, double extra)
{
    const nc_head_attr *a = NC_ATTR(j->n, nc_head_attr);
    const double *h = (const double *)j->h->data + i * j->D, *w = j->w->data;

    if (asked(j->dh))
        memset((double *)j->dh->data + i * j->D, 0, (size_t)j->D * 8);
    for (int64_t v = 0; v < j->V; v++) {
        double f = a->cap > 0 ? 1 - l[v] / a->cap * (l[v] / a->cap) : 1;
        double dl = a->scale * f * (by * exp(l[v] - lse) + (v == j->target[i] ? extra : 0));
        for (int64_t d = 0; d < j->D; d++) {
            if (asked(j->dh))
                ((double *)j->dh->data)[i * j->D + d] += dl * w[v * j->w->stride[0] + d];
            if (asked(j->dw))
                ((double *)j->dw->data)[v * j->D + d] += dl * h[d];
        }
        if (asked(j->db))
            ((double *)j->db->data)[v] += dl;
    }
}

/* ---- the ops ---- */

int nc_head_run_logprob(const nc_node *n, const nc_run *r)
{
    job j;
    int64_t rows;
    NC_TRY(begin(&j, n, r, false, false, &rows));
    void *logprob = n->out[0]->data, *lse = n->out[1]->data;
    if (n->in[0]->dtype == NC_F64) {
        double *l = r->workspace;
        for (int64_t i = 0; i < rows; i++) {
            double z = row_f64(&j, i, l);
            ((double *)logprob)[i] = j.target[i] >= 0 ? l[j.target[i]] - z : 0;
            if (lse)
                ((double *)lse)[i] = z;
        }
        return 0;
    }
    for (j.row0 = 0; j.row0 < rows; j.row0 += j.block) {
        j.rows = least(j.block, rows - j.row0);
        first_pass(&j);
        for (int64_t i = 0; i < j.rows; i++) {
            float z = nc_head_lse(j.state[i]);
            ((float *)logprob)[j.row0 + i] = j.target[j.row0 + i] >= 0 ? j.at_target[i] - z : 0;
            if (lse)
                ((float *)lse)[j.row0 + i] = z;
        }
    }
    return 0;
}

int nc_head_run_grad(const nc_node *n, const nc_run *r)
{
    job j;
    int64_t rows;
    NC_TRY(begin(&j, n, r, false, true, &rows));
    j.dh = n->out[0], j.dw = n->out[1], j.db = n->out[2];
    const void *lse = n->in[4]->data, *dlogprob = n->in[5] ? n->in[5]->data : NULL, *dlse = n->in[6] ? n->in[6]->data : NULL;
    if (!rows || n->in[0]->dtype == NC_F64)
        clear_sums(&j);
    if (n->in[0]->dtype == NC_F64) {
        for (int64_t i = 0; i < rows; i++) {
            double extra = dlogprob && j.target[i] >= 0 ? ((const double *)dlogprob)[i] : 0;
            double z = row_f64(&j, i, r->workspace);
            row_gradient_f64(&j, i, r->workspace, z, (dlse ? ((const double *)dlse)[i] : 0) - extra, extra);
        }
        return 0;
    }
    j.lse = lse, j.dlogprob = dlogprob, j.dlse = dlse;
    for (j.row0 = 0; j.row0 < rows; j.row0 += j.block) {
        j.rows = least(j.block, rows - j.row0);
        second_pass(&j, true, logprob_dl);
    }
    return 0;
}

int nc_head_run_loss(const nc_node *n, const nc_run *r)
{
    job j;
    int64_t rows;
    bool gradients = n->out[1]->data || n->out[2]->data || n->out[3]->data;
    double loss = 0;
    NC_TRY(begin(&j, n, r, gradients, gradients, &rows));
    j.dh = n->out[1], j.dw = n->out[2], j.db = n->out[3];
    j.adds = nc_adds(n, r);
    if (!rows || n->in[0]->dtype == NC_F64)
        clear_sums(&j);
    if (n->in[0]->dtype == NC_F64) {
        const double *weight = n->in[4]->data;
        double *l = r->workspace;
        for (int64_t i = 0; i < rows; i++) {
            double by = j.target[i] >= 0 ? weight[i] : 0, z = row_f64(&j, i, l);
            if (j.target[i] >= 0)
                loss -= by * (l[j.target[i]] - z);
            row_gradient_f64(&j, i, l, z, by, -by);
        }
        *(double *)n->out[0]->data = loss;
        return 0;
    }
    j.weight = n->in[4]->data;
    for (j.row0 = 0; j.row0 < rows; j.row0 += j.block) {
        j.rows = least(j.block, rows - j.row0);
        first_pass(&j);
        for (int64_t i = 0; i < j.rows; i++)
            if (j.target[j.row0 + i] >= 0)
                loss -= (double)j.weight[j.row0 + i] * (j.at_target[i] - nc_head_lse(j.state[i]));
        if (gradients)
            second_pass(&j, false, loss_dl);
    }
    *(float *)n->out[0]->data = (float)loss;
    return 0;
}

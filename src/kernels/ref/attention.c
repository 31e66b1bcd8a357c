/* attention.c - the definition of attention and its gradient: two passes over the keys a row sees, sums in double (attention.h has the formulas).
 *
 * Gradient, with p = exp(s - lse), D = dout.out - dlse and f' the derivative of the soft cap at s:
 *   dv_j += p dout      ds = p (dout.v_j - D) f' scale      dq += ds k_j      dk_j += ds q      dbias[h, r(i,j)] += ds / scale
 */
#include <math.h>
#include "kernels/attention.h"

static double load(nc_dtype t, const void *p, int64_t i)
{
    return t == NC_F32 ? (double)((const float *)p)[i] : t == NC_F64 ? ((const double *)p)[i] : (double)nc_bf16_to_f32(((const uint16_t *)p)[i]);
}

static void store(nc_dtype t, void *p, int64_t i, double v)
{
    if (t == NC_F32)
        ((float *)p)[i] = (float)v;
    else if (t == NC_F64)
        ((double *)p)[i] = v;
    else
        ((uint16_t *)p)[i] = nc_f32_to_bf16((float)v);
}

static nc_dtype wide(nc_dtype t) { return t == NC_F64 ? NC_F64 : NC_F32; }

/* One span and kv head: key j's vector and value, wherever they lie. */
typedef struct keyed { const nc_attention_args *a; const nc_attention_span *s; int g; } keyed;

static void key_of(const keyed *x, int64_t j, double *k)
{
    const nc_attention_args *a = x->a;
    const nc_attention_shape *d = &a->shape;

    if (!a->pages) {
        for (int c = 0; c < d->head; c++)
            k[c] = load(d->dtype, a->k, (x->s->k_row + j) * a->k_stride[0] + x->g * a->k_stride[1] + c);
        return;
    }
    const void *page = a->pages->keys(a->pages->context, x->s->slot, j / NC_ATTENTION_BLOCK);
    int per = d->dtype == NC_BF16 ? 2 : 1, words = (d->head + per - 1) / per;
    for (int c = 0; c < d->head; c++)
        k[c] = load(d->dtype, page, (((int64_t)x->g * words + c / per) * NC_ATTENTION_BLOCK + j % NC_ATTENTION_BLOCK) * per + c % per);
}

static void value_of(const keyed *x, int64_t j, double *v)
{
    const nc_attention_args *a = x->a;
    const nc_attention_shape *d = &a->shape;

    if (!a->pages) {
        for (int c = 0; c < d->value_head; c++)
            v[c] = load(d->dtype, a->v, (x->s->k_row + j) * a->v_stride[0] + x->g * a->v_stride[1] + c);
        return;
    }
    const void *page = a->pages->values(a->pages->context, x->s->slot, j / NC_ATTENTION_BLOCK);
    int per = d->dtype == NC_BF16 ? 2 : 1;
    int64_t at = j % NC_ATTENTION_BLOCK;
    for (int c = 0; c < d->value_head; c++)
        v[c] = load(d->dtype, page, (((int64_t)x->g * (NC_ATTENTION_BLOCK / per) + at / per) * d->value_head + c) * per + at % per);
}

/* away: j - i, for ALiBi's slope of head h. */
static double score(const nc_attention_args *a, const double *q, const double *k, int h, int64_t away, double *slope)
{
    double s = 0;

    for (int c = 0; c < a->shape.head; c++)
        s += q[c] * k[c];
    s *= a->scale;
    *slope = 1;
    if (a->soft_cap > 0) {
        double t = tanh(s / a->soft_cap);
        *slope = 1 - t * t;
        s = a->soft_cap * t;
    }
    return a->slopes ? s + (double)a->slopes[h] * (double)away : s;
}

/* What the bias adds to the score of the key at hand; c: the query's code. */
static double bias_of(const keyed *x, int h, int64_t j, int64_t c)
{
    const nc_attention_args *a = x->a;

    return a->bias ? load(wide(a->shape.dtype), a->bias, h * a->shape.bias_rows + nc_attention_bias_at(a, x->s, j, c)) : 0;
}

/* The span of query row i, or NULL; spans are in order of rows. */
static const nc_attention_span *span_of(const nc_attention_args *a, int64_t row)
{
    int low = 0, high = a->spans;

    while (low < high) {
        int mid = (low + high) / 2;
        if (a->span[mid].q_row + a->span[mid].q_rows <= row)
            low = mid + 1;
        else
            high = mid;
    }
    while (low < a->spans && a->span[low].q_rows == 0)
        low++;
    return low < a->spans && a->span[low].q_row <= row ? &a->span[low] : NULL;
}

/* Key j is not among those the row may see. */
static bool is_unlisted(const nc_attention_args *a, int64_t row, int64_t j)
{
    return a->list && !(nc_attention_listed(a->list + row * a->listed, a->listed, j) & 1);
}

static void forward_head(const nc_attention_args *a, const nc_attention_span *s, int64_t row, int h)
{
    const nc_attention_shape *d = &a->shape;
    double q[NC_ATTENTION_MAX_HEAD], k[NC_ATTENTION_MAX_HEAD], sum[NC_ATTENTION_MAX_HEAD] = { 0 }, most = -INFINITY, total = 0, slope;
    keyed x = { a, s, h / (d->heads / d->kv_heads) };
    int64_t first = 0, last = -1, index = s ? s->q_index + row - s->q_row : 0, code = s && a->bias ? nc_attention_query_code(a, s, row) : 0;

    if (s)
        nc_attention_sees(s, nc_attention_keys(s, d->paged), a->window, index, &first, &last);
    for (int c = 0; c < d->head; c++)
        q[c] = load(d->dtype, a->q, row * a->q_stride[0] + h * a->q_stride[1] + c);
    for (int64_t j = first; j <= last; j++) {
        if (is_unlisted(a, row, j))
            continue;
        key_of(&x, j, k);
        most = fmax(most, score(a, q, k, h, j - index, &slope) + bias_of(&x, h, j, code));
    }
    for (int64_t j = first; j <= last; j++) {
        if (is_unlisted(a, row, j))
            continue;
        key_of(&x, j, k);
        double p = exp(score(a, q, k, h, j - index, &slope) + bias_of(&x, h, j, code) - most);
        value_of(&x, j, k);
        total += p;
        for (int c = 0; c < d->value_head; c++)
            sum[c] += p * k[c];
    }
    for (int c = 0; c < d->value_head; c++)
        store(d->dtype, a->out, (row * d->heads + h) * d->value_head + c, total > 0 ? sum[c] / total : total);
    if (a->lse)
        store(wide(d->dtype), a->lse, row * d->heads + h, most + log(total));
}

static void forward_part(void *context, int64_t part, int64_t parts, int worker)
{
    const nc_attention_args *a = context;

    (void)parts, (void)worker;
    for (int h = 0; h < a->shape.heads; h++)
        forward_head(a, span_of(a, part), part, h);
}

static void append_part(void *context, int64_t part, int64_t parts, int worker)
{
    const nc_attention_args *a = context;
    const nc_attention_span *s = &a->span[part];
    const size_t size = a->shape.dtype == NC_BF16 ? 2 : 4;

    (void)parts, (void)worker;
    for (int64_t i = 0; i < s->k_rows; i++) {
        int64_t index = s->q_index + i, row = s->k_row + i;
        void *keys = a->pages->keys(a->pages->context, s->slot, index / NC_ATTENTION_BLOCK), *values = a->pages->values(a->pages->context, s->slot, index / NC_ATTENTION_BLOCK);
        for (int g = 0; g < a->shape.kv_heads; g++)
            nc_attention_append(&a->shape, keys, values, index, g, (const char *)a->k + (size_t)(row * a->k_stride[0] + g * a->k_stride[1]) * size,
                                (const char *)a->v + (size_t)(row * a->v_stride[0] + g * a->v_stride[1]) * size);
    }
}

static void forward(const nc_attention_args *a, nc_pool *pool, void *workspace)
{
    (void)workspace;
    if (a->pages)
        nc_pool_run(NULL, a->spans, append_part, (void *)a);
    nc_pool_run(pool, a->shape.rows, forward_part, (void *)a);
}

static size_t forward_bytes(const nc_attention_shape *s, int threads) { (void)s, (void)threads; return 0; }

/* ---- gradient: kv heads apart, query rows in order ---- */
typedef struct backward_job { const nc_attention_args *a; double *sums; } backward_job;   /* sums: dk, dv and dbias of one kv head for each worker */

static void backward_row(const nc_attention_args *a, const nc_attention_span *s, int64_t row, int h, double *dk, double *dv, double *dbias)
{
    const nc_attention_shape *d = &a->shape;
    double q[NC_ATTENTION_MAX_HEAD], k[NC_ATTENTION_MAX_HEAD], v[NC_ATTENTION_MAX_HEAD], g[NC_ATTENTION_MAX_HEAD], dq[NC_ATTENTION_MAX_HEAD] = { 0 };
    keyed x = { a, s, h / (d->heads / d->kv_heads) };
    int64_t first = 0, last = -1, at = row * d->heads + h, index = s ? s->q_index + row - s->q_row : 0, code = s && a->bias ? nc_attention_query_code(a, s, row) : 0;
    double lse = load(wide(d->dtype), a->lse, at), D = a->dlse ? -load(wide(d->dtype), a->dlse, at) : 0, slope;

    if (s)
        nc_attention_sees(s, s->k_rows, a->window, index, &first, &last);
    for (int c = 0; c < d->head; c++)
        q[c] = load(d->dtype, a->q, row * a->q_stride[0] + h * a->q_stride[1] + c);
    for (int c = 0; c < d->value_head; c++) {
        g[c] = load(d->dtype, a->dout, at * d->value_head + c);
        D += g[c] * load(d->dtype, a->out, at * d->value_head + c);
    }
    for (int64_t j = first; j <= last; j++) {
        if (is_unlisted(a, row, j))
            continue;
        key_of(&x, j, k);
        value_of(&x, j, v);
        double p = exp(score(a, q, k, h, j - index, &slope) + bias_of(&x, h, j, code) - lse), dp = 0;
        double *dkj = dk + (s->k_row + j) * d->head, *dvj = dv + (s->k_row + j) * d->value_head;
        for (int c = 0; c < d->value_head; c++) {
            dp += g[c] * v[c];
            dvj[c] += p * g[c];
        }
        double ds = p * (dp - D) * slope * a->scale;
        if (a->bias)
            dbias[nc_attention_bias_at(a, s, j, code)] += p * (dp - D);
        for (int c = 0; c < d->head; c++) {
            dq[c] += ds * k[c];
            dkj[c] += ds * q[c];
        }
    }
    for (int c = 0; c < d->head; c++)
        store(d->dtype, a->dq, row * nc_attention_dq_row(a) + h * d->head + c, dq[c]);
}

static void backward_part(void *context, int64_t g, int64_t parts, int worker)
{
    const backward_job *b = context;
    const nc_attention_args *a = b->a;
    const nc_attention_shape *d = &a->shape;
    const int n = d->heads / d->kv_heads, A = d->head, V = d->value_head;
    const int64_t room = d->keys * (A + V) + n * d->bias_rows;
    double *dk = b->sums + worker * room, *dv = dk + d->keys * A, *dbias = dv + d->keys * V;

    (void)parts;
    memset(dk, 0, (size_t)room * sizeof *dk);
    for (int64_t row = 0; row < d->rows; row++)
        for (int h = 0; h < n; h++)
            backward_row(a, span_of(a, row), row, (int)g * n + h, dk, dv, dbias + h * d->bias_rows);
    for (int64_t i = 0; a->dbias && i < n * d->bias_rows; i++)
        store(wide(d->dtype), a->dbias, g * n * d->bias_rows + i, dbias[i]);
    for (int64_t j = 0; j < d->keys; j++) {
        for (int c = 0; a->dk && c < A; c++)
            store(d->dtype, a->dk, j * nc_attention_dk_row(a) + g * A + c, dk[j * A + c]);
        for (int c = 0; a->dv && c < V; c++)
            store(d->dtype, a->dv, j * nc_attention_dv_row(a) + g * V + c, dv[j * V + c]);
    }
}

static void backward(const nc_attention_args *a, nc_pool *pool, void *workspace)
{
    backward_job b = { a, workspace };
    nc_pool_run(pool, a->shape.kv_heads, backward_part, &b);
}

static size_t backward_bytes(const nc_attention_shape *s, int threads)
{
    return (size_t)threads * (size_t)(s->keys * (s->head + s->value_head) + s->heads / s->kv_heads * s->bias_rows) * sizeof(double);
}

/* ---- scores of sparse attention's indexer ---- */
static void index_scores(nc_dtype t, void *out, const void *q, const void *w, const void *keys, int heads, int head, double scale)
{
    for (int j = 0; j < NC_ATTENTION_BLOCK; j++) {
        double sum = 0;
        for (int h = 0; h < heads; h++) {
            double s = 0;
            for (int c = 0; c < head; c++)
                s += load(t, q, (int64_t)h * head + c) * load(t, keys, (int64_t)c * NC_ATTENTION_BLOCK + j);
            sum += load(t, w, h) * fmax(0, scale * s);
        }
        store(t, out, j, sum);
    }
}
static void index_f32(void *out, const void *q, const void *w, const void *keys, int heads, int head, double scale) { index_scores(NC_F32, out, q, w, keys, heads, head, scale); }
static void index_f64(void *out, const void *q, const void *w, const void *keys, int heads, int head, double scale) { index_scores(NC_F64, out, q, w, keys, heads, head, scale); }

const struct nc_attention_kernels nc_ref_attention = {
    { forward, forward, forward }, { forward_bytes, forward_bytes, forward_bytes },
    { backward, backward, backward }, { backward_bytes, backward_bytes, backward_bytes }, { index_f32, NULL, index_f64 },
};

/* index.c - rows picked, put and added by tables of indices (I32, filled on the host; -1: none).
 *
 *   gather_rows       out[i] = table[index[i]], a zero row for -1                          grad: scatter_add of dy
 *   scatter_add_rows  out[index[i]] += rows[i], in order of i, sums in f32 (f64)           grad: gather of dy
 *   gather_weighted   out[i] = sum_j w[i,j] table[index[i,j]]                               grad: scatter_add with the weights
 *
 * Scattering shares work by columns, so that rows are added in the same order whatever the number of threads.
 */
#include "graph/op.h"
#include "kernels/reduce.h"

static int64_t row_elements(const nc_value *v)
{
    int64_t n = 1;
    for (int i = 1; i < v->shape.rank; i++)
        n *= v->shape.dim[i];
    return n;
}

static int check_index(const nc_node *n, int input, int rank, nc_error *e)
{
    NC_TRY(nc_infer_dtype(n, input, NC_I32, e));
    return nc_infer_rank(n, input, rank, e);
}

static int out_of_range(const nc_node *n, const nc_run *r, int64_t i, int32_t at, int64_t rows)
{
    return nc_fail(r->error, NC_EINVAL, "%s %s: index %d at %lld, of %lld rows", n->op->name, n->out[0]->name ? n->out[0]->name : "", at, (long long)i, (long long)rows);
}

static int check_range(const nc_node *n, const nc_run *r, const nc_value *index, int64_t rows, int64_t least)
{
    const int32_t *at = index->data;
    int64_t count = nc_live_count(index, r->counts);
    for (int64_t i = 0; i < count; i++)
        if (at[i] < least || at[i] >= rows)
            return out_of_range(n, r, i, at[i], rows);
    return 0;
}

/* ---- gather_rows ---- */

static int gather_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    const nc_value *table = n->in[0], *index = n->in[1];
    (void)g;
    NC_TRY(check_index(n, 1, 1, e));
    if (table->shape.rank < 1)
        return nc_infer_fail(n, e, NC_ESHAPE, "the table must have rows");
    nc_shape s = table->shape;
    s.dim[0] = index->shape.dim[0];
    nc_infer_out(n, 0, table->dtype, s, index->count, index->count_scale);
    return 0;
}

static void gather_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    const nc_value *table = n->in[0];
    dx[0] = nc_scatter_add_rows(g, dy[0], n->in[1], table->count >= 0 ? table->shape.dim[0] / table->count_scale : table->shape.dim[0], table->count);
}

struct copy { const nc_node *n; const char *from; char *to; const int32_t *index; size_t bytes; };

static void gather_part(void *context, int64_t begin, int64_t end, int worker)
{
    const struct copy *c = context;
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        if (c->index[i] >= 0)
            memcpy(c->to + (size_t)i * c->bytes, c->from + (size_t)c->index[i] * c->bytes, c->bytes);
        else
            memset(c->to + (size_t)i * c->bytes, 0, c->bytes);
    }
}

static int gather_run(const nc_node *n, const nc_run *r)
{
    const nc_value *table = n->in[0], *index = n->in[1];
    size_t bytes = nc_dtype_bytes(table->dtype, row_elements(table));
    struct copy c = { n, table->data, n->out[0]->data, index->data, bytes };
    NC_TRY(check_range(n, r, index, nc_live_rows(table, r->counts), -1));
    nc_parallel_rows(r, nc_live_rows(index, r->counts), nc_grain((int64_t)bytes), gather_part, &c);
    return 0;
}

const nc_op nc_op_gather_rows = { .name = "gather_rows", .infer = gather_infer, .grad = gather_grad, .run = gather_run };

nc_value *nc_gather_rows(nc_graph *g, nc_value *table, nc_value *index)
{
    return nc_emit(g, &nc_op_gather_rows, NULL, 0, (nc_value *[]){ table, index }, 2);
}

/* ---- scatter_add_rows; with weights: row i adds w[i,j] * rows[i] to each index[i,j] ---- */

typedef struct scatter_attr { int64_t rows; int count; } scatter_attr;

static int scatter_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    const scatter_attr *a = NC_ATTR(n, scatter_attr);
    const nc_value *rows = n->in[0], *index = n->in[1], *weight = n->in[2];
    NC_TRY(nc_infer_compute(n, 0, e));
    NC_TRY(check_index(n, 1, weight ? 2 : 1, e));
    if (rows->shape.rank < 1 || rows->shape.dim[0] != index->shape.dim[0] || rows->count != index->count)
        return nc_infer_fail(n, e, NC_ESHAPE, "as many rows as indices are needed");
    nc_shape s = rows->shape;
    s.dim[0] = a->rows;
    nc_infer_out(n, 0, nc_graph_wide(g), s, a->count, 1);
    return 0;
}

static void scatter_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    nc_value *d = nc_cast(g, dy[0], n->in[0]->dtype);
    dx[0] = n->in[2] ? nc_gather_weighted(g, d, n->in[1], n->in[2]) : nc_gather_rows(g, d, n->in[1]);
}

enum { COLUMNS = 128 };                                      /* a part's share of every row */
struct scatter { const nc_node *n; const nc_run *r; int64_t rows, width, taps; };

static void add_row(const struct scatter *s, void *to, const void *from, int64_t n, float weight)
{
    nc_dtype t = s->n->in[0]->dtype;
    if (!s->n->in[2]) {
        s->r->kernels->reduce->accumulate[nc_dtype_slot(t)](to, from, n);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        if (t == NC_F64)
            ((double *)to)[i] += (double)weight * ((const double *)from)[i];
        else
            ((float *)to)[i] += weight * (t == NC_F32 ? ((const float *)from)[i] : nc_bf16_to_f32(((const uint16_t *)from)[i]));
    }
}

static void scatter_part(void *context, int64_t part, int64_t parts, int worker)
{
    const struct scatter *s = context;
    const nc_value *rows = s->n->in[0], *out = s->n->out[0];
    const int32_t *index = s->n->in[1]->data;
    const float *weight = s->n->in[2] ? s->n->in[2]->data : NULL;
    int64_t from = part * COLUMNS, width = s->width - from < COLUMNS ? s->width - from : COLUMNS;
    (void)parts, (void)worker;
    for (int64_t i = 0; i < s->rows; i++)
        for (int64_t j = 0; j < s->taps; j++) {
            int32_t at = index[i * s->taps + j];
            if (at >= 0)
                add_row(s, nc_at(out, at * s->width + from), nc_at(rows, i * s->width + from), width, weight ? weight[i * s->taps + j] : 1);
        }
}

static int scatter_run(const nc_node *n, const nc_run *r)
{
    const nc_value *out = n->out[0], *index = n->in[1];
    struct scatter s = { n, r, nc_live_rows(n->in[0], r->counts), row_elements(n->in[0]), n->in[2] ? index->shape.dim[1] : 1 };
    int64_t out_rows = nc_live_rows(out, r->counts);
    NC_TRY(check_range(n, r, index, out_rows, -1));
    if (!n->in[3])
        memset(out->data, 0, nc_dtype_bytes(out->dtype, out_rows * s.width));
    nc_pool_run(s.rows * s.width > 16384 ? r->pool : NULL, (s.width + COLUMNS - 1) / COLUMNS, scatter_part, &s);
    return 0;
}

const nc_op nc_op_scatter_add_rows = { .name = "scatter_add_rows", .flags = NC_OP_ACCUMULATE, .infer = scatter_infer, .grad = scatter_grad, .run = scatter_run };

static nc_value *scatter(nc_graph *g, nc_value *rows, nc_value *index, nc_value *weight, int64_t out_rows, int out_count)
{
    scatter_attr a = { out_count >= 0 ? nc_graph_capacity(g, out_count) : out_rows, out_count };
    return nc_emit(g, &nc_op_scatter_add_rows, &a, sizeof a, (nc_value *[]){ rows, index, weight, NULL }, 4);
}

nc_value *nc_scatter_add_rows(nc_graph *g, nc_value *rows, nc_value *index, int64_t out_rows, int out_count)
{
    return scatter(g, rows, index, NULL, out_rows, out_count);
}

/* ---- gather_weighted: out[i] = sum_j w[i,j] table[index[i,j]], in order of j, summed in f32 ---- */

static int weighted_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    const nc_value *table = n->in[0], *index = n->in[1];
    (void)g;
    NC_TRY(nc_infer_compute(n, 0, e));
    NC_TRY(check_index(n, 1, 2, e));
    NC_TRY(nc_infer_dtype(n, 2, NC_F32, e));
    if (!nc_shape_equal(&index->shape, &n->in[2]->shape) || table->shape.rank != 2)
        return nc_infer_fail(n, e, NC_ESHAPE, "needs a table [R,D] and as many weights as indices");
    nc_infer_out(n, 0, table->dtype, NC_SHAPE(index->shape.dim[0], table->shape.dim[1]), index->count, index->count_scale);
    return 0;
}

static void weighted_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    dx[0] = scatter(g, dy[0], n->in[1], n->in[2], n->in[0]->shape.dim[0], n->in[0]->count);
}

struct weighted { const nc_value *table, *out; const int32_t *index; const float *weight; int64_t taps, width; };

static double at_of(const nc_value *v, int64_t i)
{
    return v->dtype == NC_F32 ? ((const float *)v->data)[i] : v->dtype == NC_BF16 ? nc_bf16_to_f32(((const uint16_t *)v->data)[i]) : ((const double *)v->data)[i];
}

static void weighted_part(void *context, int64_t begin, int64_t end, int worker)
{
    const struct weighted *w = context;
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        for (int64_t d = 0; d < w->width; d++) {
            double sum = 0;
            for (int64_t j = 0; j < w->taps; j++)
                if (w->index[i * w->taps + j] >= 0)
                    sum += (double)w->weight[i * w->taps + j] * at_of(w->table, w->index[i * w->taps + j] * w->width + d);
            if (w->out->dtype == NC_F64)
                ((double *)w->out->data)[i * w->width + d] = sum;
            else if (w->out->dtype == NC_F32)
                ((float *)w->out->data)[i * w->width + d] = (float)sum;
            else
                ((uint16_t *)w->out->data)[i * w->width + d] = nc_f32_to_bf16((float)sum);
        }
}

static int weighted_run(const nc_node *n, const nc_run *r)
{
    const nc_value *index = n->in[1];
    struct weighted w = { n->in[0], n->out[0], index->data, n->in[2]->data, index->shape.dim[1], n->in[0]->shape.dim[1] };
    NC_TRY(check_range(n, r, index, nc_live_rows(n->in[0], r->counts), -1));
    nc_parallel_rows(r, nc_live_rows(index, r->counts), nc_grain(w.width * w.taps * 8), weighted_part, &w);
    return 0;
}

const nc_op nc_op_gather_weighted = { .name = "gather_weighted", .infer = weighted_infer, .grad = weighted_grad, .run = weighted_run };

nc_value *nc_gather_weighted(nc_graph *g, nc_value *table, nc_value *index, nc_value *w)
{
    return nc_emit(g, &nc_op_gather_weighted, NULL, 0, (nc_value *[]){ table, index, w }, 3);
}

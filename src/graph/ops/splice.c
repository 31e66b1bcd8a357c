/* splice.c - rows of one table put in the places of another's, and rows of a weight by token ids.
 *
 *   splice_rows   out[i] = index[i] >= 0 ? rows[index[i]] : x[i]      grad: dx = splice_keep(dy, index), drows = scatter_add of dy by index
 *   splice_keep   out[i] = index[i] >= 0 ? 0 : x[i]                   grad: splice_keep of dy
 *   embedding     out[i] = weight[ids[i]] in the compute dtype        grad: scatter_add of dy by ids
 */
#include "graph/op.h"
#include "kernels/gemm.h"

static int64_t row_elements(const nc_value *v)
{
    int64_t n = 1;
    for (int i = 1; i < v->shape.rank; i++)
        n *= v->shape.dim[i];
    return n;
}

struct splice { const nc_value *x, *rows, *out; const int32_t *index; size_t bytes; };

static void splice_part(void *context, int64_t begin, int64_t end, int worker)
{
    const struct splice *s = context;
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        char *to = (char *)s->out->data + (size_t)i * s->bytes;
        const char *same = (const char *)s->x->data + (size_t)i * s->bytes;
        if (s->index[i] < 0 && to != same)
            memcpy(to, same, s->bytes);
        else if (s->index[i] >= 0 && s->rows)
            memcpy(to, (const char *)s->rows->data + (size_t)s->index[i] * s->bytes, s->bytes);
        else if (s->index[i] >= 0)
            memset(to, 0, s->bytes);
    }
}

static int check(const nc_node *n, int index, nc_error *e)
{
    const nc_value *x = n->in[0];
    NC_TRY(nc_infer_dtype(n, index, NC_I32, e));
    NC_TRY(nc_infer_rank(n, index, 1, e));
    if (x->shape.rank < 2 || !nc_same_rows(x, n->in[index]))
        return nc_infer_fail(n, e, NC_ESHAPE, "an index for each row is needed");
    return 0;
}

static int splice_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    const nc_value *x = n->in[0], *rows = n->in[1];
    (void)g;
    NC_TRY(check(n, 2, e));
    if (rows->dtype != x->dtype || rows->shape.rank < 1 || row_elements(rows) != row_elements(x))
        return nc_infer_fail(n, e, NC_ESHAPE, "rows of another width or dtype");
    nc_infer_like(n, 0, x);
    return 0;
}

static void splice_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    const nc_value *rows = n->in[1];
    dx[0] = nc_emit(g, &nc_op_splice_keep, NULL, 0, (nc_value *[]){ dy[0], n->in[2] }, 2);
    if (rows->has_grad)
        dx[1] = nc_scatter_add_rows(g, dy[0], n->in[2], rows->shape.dim[0], rows->count);
}

static int splice_run(const nc_node *n, const nc_run *r)
{
    const nc_value *x = n->in[0], *rows = n->in[1], *index = n->in[2];
    const int32_t *at = index->data;
    int64_t count = nc_live_rows(x, r->counts), have = nc_live_rows(rows, r->counts);
    struct splice s = { x, rows, n->out[0], at, nc_dtype_bytes(x->dtype, row_elements(x)) };
    for (int64_t i = 0; i < count; i++)
        if (at[i] >= have)
            return nc_fail(r->error, NC_EINVAL, "splice_rows: index %d at row %lld, of %lld rows", at[i], (long long)i, (long long)have);
    nc_parallel_rows(r, count, nc_grain((int64_t)s.bytes), splice_part, &s);
    return 0;
}

const nc_op nc_op_splice_rows = { .name = "splice_rows", .flags = NC_OP_INPLACE, .infer = splice_infer, .grad = splice_grad, .run = splice_run };

nc_value *nc_splice_rows(nc_graph *g, nc_value *x, nc_value *rows, nc_value *index)
{
    return nc_emit(g, &nc_op_splice_rows, NULL, 0, (nc_value *[]){ x, rows, index }, 3);
}

static int keep_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    (void)g;
    NC_TRY(check(n, 1, e));
    nc_infer_like(n, 0, n->in[0]);
    return 0;
}

static void keep_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    dx[0] = nc_emit(g, &nc_op_splice_keep, NULL, 0, (nc_value *[]){ dy[0], n->in[1] }, 2);
}

static int keep_run(const nc_node *n, const nc_run *r)
{
    const nc_value *x = n->in[0];
    struct splice s = { x, NULL, n->out[0], n->in[1]->data, nc_dtype_bytes(x->dtype, row_elements(x)) };
    nc_parallel_rows(r, nc_live_rows(x, r->counts), nc_grain((int64_t)s.bytes), splice_part, &s);
    return 0;
}

const nc_op nc_op_splice_keep = { .name = "splice_keep", .flags = NC_OP_INPLACE, .infer = keep_infer, .grad = keep_grad, .run = keep_run };

/* ---- embedding ---- */

static int embedding_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    const nc_value *w = n->in[0], *ids = n->in[1];
    NC_TRY(nc_infer_rank(n, 0, 2, e));
    NC_TRY(nc_infer_rank(n, 1, 1, e));
    NC_TRY(nc_infer_dtype(n, 1, NC_I32, e));
    if (!w->packed && w->dtype != NC_F32 && w->dtype != NC_BF16 && w->dtype != NC_F16 && w->dtype != NC_F64)
        return nc_infer_fail(n, e, NC_ESHAPE, "no embedding from %s held plain", nc_dtype_name(w->dtype));
    nc_infer_out(n, 0, nc_graph_compute(g), NC_SHAPE(ids->shape.dim[0], w->shape.dim[1]), ids->count, ids->count_scale);
    return 0;
}

static void embedding_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    dx[0] = nc_scatter_add_rows(g, dy[0], n->in[1], n->in[0]->shape.dim[0], -1);
}

struct lookup { const nc_value *w, *out; const int32_t *ids; int64_t width; };

static void convert_row(const nc_value *w, int64_t row, int64_t width, void *to, nc_dtype t)
{
    const nc_dtype from = w->dtype;
    const char *p = (const char *)w->data + (size_t)(row * w->stride[0]) * (size_t)nc_dtype_get(from)->bytes;
    if (from == t) {
        memcpy(to, p, nc_dtype_bytes(t, width));
        return;
    }
    for (int64_t i = 0; i < width; i++)
        nc_dtype_store(t, to, i, nc_dtype_load(from, p, i));
}

static void lookup_part(void *context, int64_t begin, int64_t end, int worker)
{
    const struct lookup *l = context;
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        void *to = nc_at(l->out, i * l->width);
        if (l->w->packed)
            nc_gemm_unpack_row(l->w->packed, l->ids[i], to, l->out->dtype);
        else
            convert_row(l->w, l->ids[i], l->width, to, l->out->dtype);
    }
}

static int embedding_run(const nc_node *n, const nc_run *r)
{
    const nc_value *w = n->in[0], *ids = n->in[1];
    struct lookup l = { w, n->out[0], ids->data, w->shape.dim[1] };
    int64_t count = nc_live_rows(ids, r->counts);
    for (int64_t i = 0; i < count; i++)
        if (l.ids[i] < 0 || l.ids[i] >= w->shape.dim[0])
            return nc_fail(r->error, NC_EINVAL, "embedding %s: id %d at row %lld, the table has %lld rows", w->name ? w->name : "", l.ids[i], (long long)i, (long long)w->shape.dim[0]);
    nc_parallel_rows(r, count, nc_grain(l.width * 4), lookup_part, &l);
    return 0;
}

const nc_op nc_op_embedding = { .name = "embedding", .flags = NC_OP_STRIDED, .infer = embedding_infer, .grad = embedding_grad, .run = embedding_run };

nc_value *nc_embedding(nc_graph *g, nc_value *weight, nc_value *ids)
{
    return nc_emit(g, &nc_op_embedding, NULL, 0, (nc_value *[]){ weight, ids }, 2);
}

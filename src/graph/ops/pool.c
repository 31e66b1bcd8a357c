/* pool.c - max and average pooling over planes, x [B,C,(D,)H,W]; windows, ceil mode and divisors as PyTorch has them (kernels/conv.h).
 *
 *   out = floor((in + 2 pad - kernel) / stride) + 1; ceil mode: rounded up, but no window starts beyond the input and its left padding
 *   max: the gradient goes to the first of equal maxima; average: dy / divisor to every cell of the window
 */
#include "graph/op.h"
#include "kernels/conv.h"

typedef struct attr { nc_pool_shape s; int dims; } attr;
typedef struct job { const nc_node *n; const nc_run *r; const nc_pool_shape *s; size_t acc_bytes; } job;

static nc_shape out_shape(const nc_value *x, const attr *a)
{
    nc_shape s = x->shape;

    for (int i = 0; i < a->dims; i++)
        s.dim[2 + i] = a->s.out[3 - a->dims + i];
    return s;
}

static int infer(nc_graph *g, nc_node *n, nc_error *e)
{
    const nc_value *x = n->in[0];

    (void)g;
    NC_TRY(nc_infer_compute(n, 0, e));
    nc_infer_out(n, 0, x->dtype, out_shape(x, NC_ATTR(n, attr)), x->count, x->count_scale);
    return 0;
}

static void planes(void *context, int64_t begin, int64_t end, int worker)
{
    const job *j = context;
    const nc_value *x = j->n->in[0], *y = j->n->out[0];
    int64_t I = nc_conv_volume(j->s->in), P = nc_conv_volume(j->s->out);
    int slot = nc_dtype_slot(x->dtype);

    for (int64_t i = begin; i < end; i++)
        if (j->n->inputs == 2)
            j->r->kernels->conv->pool_grad[slot](nc_at(y, i * I), nc_at(x, i * I), nc_at(j->n->in[1], i * P), j->s, (char *)j->r->workspace + (size_t)worker * j->acc_bytes);
        else
            j->r->kernels->conv->pool[slot](nc_at(y, i * P), nc_at(x, i * I), j->s);
}

static int run(const nc_node *n, const nc_run *r)
{
    const nc_pool_shape *s = &NC_ATTR(n, attr)->s;
    job j = { n, r, s, ((size_t)nc_conv_volume(s->in) * sizeof(double) + 63) & ~(size_t)63 };

    nc_parallel_rows(r, nc_live_rows(n->in[0], r->counts) * n->in[0]->shape.dim[1], nc_grain(nc_conv_volume(s->out) * nc_conv_volume(s->kernel) * 4), planes, &j);
    return 0;
}

static void grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    dx[0] = nc_emit(g, &nc_op_pool_grad, n->attr, n->attr_size, (nc_value *[]){ n->in[0], dy[0] }, 2);
}

const nc_op nc_op_pool = { .name = "pool", .infer = infer, .grad = grad, .run = run };

static int grad_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    NC_TRY(nc_infer_dtype(n, 1, n->in[0]->dtype, e));
    return nc_infer_same(g, n, e);
}

static size_t workspace(const nc_node *n, int threads)
{
    return (((size_t)nc_conv_volume(NC_ATTR(n, attr)->s.in) * sizeof(double) + 63) & ~(size_t)63) * (size_t)threads;
}

const nc_op nc_op_pool_grad = { .name = "pool_grad", .infer = grad_infer, .run = run, .workspace = workspace };

nc_value *nc_pool_op(nc_graph *g, nc_value *x, const nc_pool_attr *p)
{
    attr a = { { { 1, 1, 1 }, { 1, 1, 1 }, { 1, 1, 1 }, { 1, 1, 1 }, { 0, 0, 0 }, p->average, p->count_pad }, p->dims };

    if (x == nc_graph_poison(g))
        return x;
    if (p->dims < 1 || p->dims > 3 || x->shape.rank != p->dims + 2) {
        nc_graph_mistake(g, NC_ESHAPE, "pool: %d dimensions need x of rank %d, got %s", p->dims, p->dims + 2, nc_shape_str(&x->shape, (char[96]){ 0 }));
        return nc_graph_poison(g);
    }
    for (int i = 0; i < p->dims; i++) {
        int k = 3 - p->dims + i;
        int64_t in = x->shape.dim[2 + i], kernel = p->kernel[i], stride = p->stride[i] ? p->stride[i] : kernel, pad = p->pad[i], room = in + 2 * pad - kernel;
        if (kernel < 1 || stride < 1 || pad < 0 || 2 * pad > kernel || room < 0) {
            nc_graph_mistake(g, NC_ESHAPE, "pool: a window of %lld with padding %lld does not fit %lld on axis %d", (long long)kernel, (long long)pad, (long long)in, i);
            return nc_graph_poison(g);
        }
        int64_t out = (room + (p->ceil ? stride - 1 : 0)) / stride + 1;
        if (p->ceil && (out - 1) * stride >= in + pad)
            out--;
        a.s.in[k] = in, a.s.out[k] = out, a.s.kernel[k] = kernel, a.s.stride[k] = stride, a.s.pad[k] = pad;
    }
    return nc_emit(g, &nc_op_pool, &a, sizeof a, &x, 1);
}

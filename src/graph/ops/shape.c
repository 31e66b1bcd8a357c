/* shape.c - the same numbers in another arrangement: reshape, slice (views), contiguous, permute, broadcast_to, concat, unslice (copies).
 *
 * A named count follows axis 0. With live rows counts[c]*k of inner size I, a reshape to inner size J has k*I/J rows a count: [N,H*A] keeps k = 1,
 * [N*H,A] has k = H. Axis 0 of a counted value is neither cut nor moved nor joined: how much of it lives is known only at run time.
 */
#include "graph/op.h"
#include "kernels/reduce.h"

static int64_t inner_count(const nc_shape *s)
{
    int64_t n = 1;

    for (int i = 1; i < s->rank; i++)
        n *= s->dim[i];
    return n;
}

static void infer_view(nc_node *n, nc_shape s, int count, int64_t scale, const int64_t *stride, int64_t shift)
{
    nc_value *x = n->in[0], *y = n->out[0];

    nc_infer_out(n, 0, x->dtype, s, count, scale);
    for (int i = 0; i < s.rank; i++)
        y->stride[i] = stride[i];
    y->base = x->base ? x->base : x;
    y->offset = (x->base ? x->offset : 0) + shift;
}

/* ---- reshape ---- */

/* Strides that show x's elements, in order, under shape s; false where no strides can (numpy's rule: each group of axes that must merge lies evenly). */
static bool view_strides(const nc_value *x, const nc_shape *s, int64_t *stride)
{
    int i = 0, j = 0;

    while (i < x->shape.rank && j < s->rank) {
        int64_t a = x->shape.dim[i], b = s->dim[j];
        int i0 = i, j0 = j;
        while (a != b) {
            if (a < b) {
                if (++i >= x->shape.rank)
                    return false;
                a *= x->shape.dim[i];
            } else {
                if (++j >= s->rank)
                    return false;
                b *= s->dim[j];
            }
        }
        for (int k = i0; k < i; k++)
            if (x->shape.dim[k] != 1 && x->stride[k] != x->stride[k + 1] * x->shape.dim[k + 1])
                return false;
        int64_t step = x->stride[i];
        for (int k = j; k >= j0; k--) {
            stride[k] = step;
            step *= s->dim[k];
        }
        i++, j++;
    }
    for (; i < x->shape.rank; i++)
        if (x->shape.dim[i] != 1)
            return false;
    for (; j < s->rank; j++) {
        if (s->dim[j] != 1)
            return false;
        stride[j] = 1;
    }
    return true;
}

static bool row_major_strides(const nc_shape *s, int64_t *stride)
{
    int64_t step = 1;

    for (int i = s->rank - 1; i >= 0; i--) {
        stride[i] = step;
        step *= s->dim[i];
    }
    return true;
}

static int reshape_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    const nc_value *x = n->in[0];
    nc_shape s = *NC_ATTR(n, nc_shape);
    int64_t stride[NC_MAX_RANK], scale = 1;
    char a[96], b[96];

    (void)g;
    if (nc_shape_count(&s) != nc_shape_count(&x->shape))
        return nc_infer_fail(n, e, NC_ESHAPE, "%s and %s do not hold the same number of elements", nc_shape_str(&x->shape, a), nc_shape_str(&s, b));
    if (x->count >= 0) {
        int64_t old = x->count_scale * inner_count(&x->shape), now = inner_count(&s);
        if (s.rank == 0 || now == 0 || old % now)
            return nc_infer_fail(n, e, NC_ESHAPE, "%s to %s cuts across the rows of its count", nc_shape_str(&x->shape, a), nc_shape_str(&s, b));
        scale = old / now;
    }
    if (!(nc_value_is_contiguous(x) ? row_major_strides(&s, stride) : view_strides(x, &s, stride)))
        return nc_infer_fail(n, e, NC_ESHAPE, "a strided %s cannot be seen as %s", nc_shape_str(&x->shape, a), nc_shape_str(&s, b));
    infer_view(n, s, x->count, scale, stride, 0);
    return 0;
}

static void reshape_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx) { dx[0] = nc_reshape(g, dy[0], n->in[0]->shape); }

const nc_op nc_op_reshape = { .name = "reshape", .flags = NC_OP_VIEW | NC_OP_STRIDED, .infer = reshape_infer, .grad = reshape_grad };

/* One dimension may be -1: what is left over. */
static void fill_in(const nc_value *x, nc_shape *s)
{
    int64_t known = 1;
    int open = -1;

    for (int i = 0; i < s->rank; i++)
        if (s->dim[i] == -1 && open < 0)
            open = i;
        else
            known *= s->dim[i];
    if (open >= 0)
        s->dim[open] = known > 0 ? nc_shape_count(&x->shape) / known : 0;
}

nc_value *nc_reshape(nc_graph *g, nc_value *x, nc_shape s)
{
    int64_t stride[NC_MAX_RANK];

    fill_in(x, &s);
    if (nc_shape_equal(&s, &x->shape))
        return x;
    if (!nc_value_is_contiguous(x) && nc_shape_count(&s) == nc_shape_count(&x->shape) && !view_strides(x, &s, stride))
        x = nc_contiguous(g, x);
    return nc_emit(g, &nc_op_reshape, &s, sizeof s, &x, 1);
}

/* ---- slice and its adjoint ---- */

typedef struct range { int axis; int64_t start, size; } range;

static int slice_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    const range *r = NC_ATTR(n, range);
    const nc_value *x = n->in[0];
    char a[96];

    (void)g;
    if (r->axis < 0 || r->start < 0 || r->size < 0 || r->start > x->shape.dim[r->axis] - r->size)
        return nc_infer_fail(n, e, NC_ESHAPE, "[%lld, +%lld) of axis %d leaves %s", (long long)r->start, (long long)r->size, r->axis,
                             nc_shape_str(&x->shape, a));
    if (x->count >= 0 && r->axis == 0)
        return nc_infer_fail(n, e, NC_ESHAPE, "axis 0 of %s follows a count; gather its rows by index instead", nc_shape_str(&x->shape, a));
    if (nc_dtype_get(x->dtype)->block != 1)
        return nc_infer_fail(n, e, NC_EUNSUPPORTED, "%s is stored in blocks", nc_dtype_name(x->dtype));
    nc_shape s = x->shape;
    s.dim[r->axis] = r->size;
    infer_view(n, s, x->count, x->count_scale, x->stride, r->start * x->stride[r->axis]);
    return 0;
}

static void slice_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    const range *r = NC_ATTR(n, range);

    dx[0] = nc_unslice(g, dy[0], r->axis, r->start, n->in[0]->shape.dim[r->axis]);
}

const nc_op nc_op_slice = { .name = "slice", .flags = NC_OP_VIEW | NC_OP_STRIDED, .infer = slice_infer, .grad = slice_grad };

nc_value *nc_slice(nc_graph *g, nc_value *x, int axis, int64_t start, int64_t count)
{
    range r = { nc_axis(x, axis), start, count };

    if (r.axis >= 0 && start == 0 && count == x->shape.dim[r.axis])
        return x;
    return nc_emit(g, &nc_op_slice, &r, sizeof r, &x, 1);
}

static int unslice_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    const range *r = NC_ATTR(n, range);
    const nc_value *x = n->in[0];
    nc_shape s = x->shape;

    (void)g;
    NC_TRY(nc_infer_compute(n, 0, e));
    if (r->axis < 0 || r->start < 0 || r->start > r->size - x->shape.dim[r->axis] || (r->axis == 0 && x->count >= 0))
        return nc_infer_fail(n, e, NC_ESHAPE, "no room at %lld of %lld on axis %d", (long long)r->start, (long long)r->size, r->axis);
    s.dim[r->axis] = r->size;
    nc_infer_out(n, 0, x->dtype, s, x->count, x->count_scale);
    return 0;
}

static void unslice_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    const range *r = NC_ATTR(n, range);

    dx[0] = nc_slice(g, dy[0], r->axis, r->start, n->in[0]->shape.dim[r->axis]);
}

enum { CHUNK = 16384 };

/* One outer index of y is `block` elements, of which x is [from, to); the block is cut into chunks. */
typedef struct placing { const nc_node *n; const struct nc_reduce_kernels *k; int64_t block, from, to, chunks; bool adds; } placing;

static void unslice_chunks(void *context, int64_t begin, int64_t end, int worker)
{
    const placing *p = context;
    const nc_value *x = p->n->in[0], *y = p->n->out[0];
    int64_t size = nc_dtype_get(x->dtype)->bytes;
    bool adds = p->adds;

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        int64_t outer = i / p->chunks, low = i % p->chunks * CHUNK, high = low + CHUNK < p->block ? low + CHUNK : p->block, at = outer * p->block;
        int64_t a = p->from < low ? low : p->from > high ? high : p->from, b = p->to < a ? a : p->to > high ? high : p->to;
        const void *source = nc_at(x, outer * (p->to - p->from) + a - p->from);
        if (adds && b > a)
            p->k->add[nc_dtype_slot(x->dtype)](nc_at(y, at + a), source, b - a);
        if (adds)
            continue;
        memset(nc_at(y, at + low), 0, (size_t)((a - low) * size));
        memcpy(nc_at(y, at + a), source, (size_t)((b - a) * size));
        memset(nc_at(y, at + b), 0, (size_t)((high - b) * size));
    }
}

static int unslice_run(const nc_node *n, const nc_run *r)
{
    const range *a = NC_ATTR(n, range);
    const nc_value *y = n->out[0];
    int64_t outer = 1, inner = 1;

    for (int i = 0; i < a->axis; i++)
        outer *= i ? y->shape.dim[i] : nc_live_rows(y, r->counts);
    for (int i = a->axis + 1; i < y->shape.rank; i++)
        inner *= y->shape.dim[i];
    placing p = { n, r->kernels->reduce, a->size * inner, a->start * inner, (a->start + n->in[0]->shape.dim[a->axis]) * inner, 0, nc_adds(n, r) };
    p.chunks = (p.block + CHUNK - 1) / CHUNK;
    nc_parallel_rows(r, outer * p.chunks, nc_grain(4 * (p.block < CHUNK ? p.block : CHUNK)), unslice_chunks, &p);
    return 0;
}

const nc_op nc_op_unslice = { .name = "unslice", .flags = NC_OP_ACCUMULATE, .infer = unslice_infer, .grad = unslice_grad, .run = unslice_run };

int64_t nc_unslice_start(const nc_node *n)
{
    const range *r = NC_ATTR(n, range);
    return r->axis == 1 ? r->start : -1;
}

nc_value *nc_unslice(nc_graph *g, nc_value *x, int axis, int64_t start, int64_t size)
{
    range r = { nc_axis(x, axis), start, size };

    return nc_emit(g, &nc_op_unslice, &r, sizeof r, (nc_value *[]){ x, NULL }, 2);
}

/* ---- copies with strides: contiguous, permute, broadcast_to ---- */

typedef struct strided { const nc_value *x, *y; int64_t stride[NC_MAX_RANK]; } strided;

static void copy_line(char *to, const char *from, int64_t n, int64_t stride, int size)
{
    if (n == 0)
        return;
    if (stride == 1) {
        memcpy(to, from, (size_t)(n * size));
        return;
    }
    switch (size) {
    case 2: for (int64_t i = 0; i < n; i++) ((uint16_t *)to)[i] = ((const uint16_t *)from)[i * stride]; break;
    case 4: for (int64_t i = 0; i < n; i++) ((uint32_t *)to)[i] = ((const uint32_t *)from)[i * stride]; break;
    case 8: for (int64_t i = 0; i < n; i++) ((uint64_t *)to)[i] = ((const uint64_t *)from)[i * stride]; break;
    default: for (int64_t i = 0; i < n; i++) memcpy(to + i * size, from + i * stride * size, (size_t)size);
    }
}

/* Where the last axis of y jumps through x and the axis before it lies dense there, [rows, width] is a transposition: done in tiles that stay in the cache. */
static void transpose(char *to, const char *from, int64_t rows, int64_t width, int64_t stride, int size)
{
    enum { TILE = 16 };

    for (int64_t c = 0; c < width; c += TILE)
        for (int64_t i = 0; i < rows; i += TILE)
            for (int64_t k = i, end = i + TILE < rows ? i + TILE : rows; k < end; k++)
                copy_line(to + (k * width + c) * size, from + (c * stride + k) * size, c + TILE < width ? TILE : width - c, stride, size);
}

/* Output lines [begin, end): the index over the leading axes is kept and stepped, so that no line needs a division. */
static void strided_lines(void *context, int64_t begin, int64_t end, int worker)
{
    const strided *c = context;
    const nc_shape *s = &c->y->shape;
    int last = s->rank - 1, size = nc_dtype_get(c->x->dtype)->bytes;
    int64_t index[NC_MAX_RANK] = { 0 }, width = s->rank ? s->dim[last] : 1, step = s->rank ? c->stride[last] : 1, from = 0, rest = begin;

    (void)worker;
    for (int a = last - 1; a >= 0; a--) {
        index[a] = rest % s->dim[a];
        rest /= s->dim[a];
        from += index[a] * c->stride[a];
    }
    bool tiled = last > 0 && step > 1 && c->stride[last - 1] == 1;
    for (int64_t i = begin, lines; i < end; i += lines) {
        lines = tiled && s->dim[last - 1] - index[last - 1] < end - i ? s->dim[last - 1] - index[last - 1] : tiled ? end - i : 1;
        if (tiled)
            transpose(nc_at(c->y, i * width), nc_at(c->x, from), lines, width, step, size);
        else
            copy_line(nc_at(c->y, i * width), nc_at(c->x, from), width, step, size);
        for (int a = last - 1; a >= 0; a--) {
            int64_t steps = a == last - 1 ? lines : 1;
            from += steps * c->stride[a];
            if ((index[a] += steps) < s->dim[a])
                break;
            from -= index[a] * c->stride[a];
            index[a] = 0;
        }
    }
}

/* y = x read with the given strides, one for each axis of y (0: repeated). Axis 0 goes as far as it lives. */
static int copy_strided(const nc_node *n, const nc_run *r, const int64_t *stride)
{
    strided c = { .x = n->in[0], .y = n->out[0] };
    const nc_shape *s = &c.y->shape;

    memcpy(c.stride, stride, sizeof c.stride);
    if (s->rank == 1) {
        copy_line(c.y->data, c.x->data, nc_live_rows(c.y, r->counts), stride[0], nc_dtype_get(c.x->dtype)->bytes);
        return 0;
    }
    int64_t grain = nc_grain(nc_shape_last(s) * 4);
    nc_parallel_rows(r, nc_live_last_rows(c.y, r->counts), grain < 16 ? 16 : grain, strided_lines, &c);
    return 0;
}

static int whole_elements(const nc_node *n, nc_error *e)
{
    const nc_dtype_info *i = nc_dtype_get(n->in[0]->dtype);

    return i->block == 1 ? 0 : nc_infer_fail(n, e, NC_EUNSUPPORTED, "%s is stored in blocks", i->name);
}

static int contiguous_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    (void)g;
    NC_TRY(whole_elements(n, e));
    nc_infer_like(n, 0, n->in[0]);
    return 0;
}

static void contiguous_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    (void)g, (void)n;
    dx[0] = dy[0];
}

static int contiguous_run(const nc_node *n, const nc_run *r) { return copy_strided(n, r, n->in[0]->stride); }

const nc_op nc_op_contiguous = { .name = "contiguous", .flags = NC_OP_STRIDED, .infer = contiguous_infer, .grad = contiguous_grad, .run = contiguous_run };

nc_value *nc_contiguous(nc_graph *g, nc_value *x)
{
    return nc_value_is_contiguous(x) ? x : nc_emit(g, &nc_op_contiguous, NULL, 0, &x, 1);
}

typedef struct axes { int of[NC_MAX_RANK]; } axes;

static int permute_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    const axes *p = NC_ATTR(n, axes);
    const nc_value *x = n->in[0];
    nc_shape s = x->shape;
    unsigned seen = 0;

    (void)g;
    NC_TRY(whole_elements(n, e));
    for (int i = 0; i < s.rank; i++) {
        if (p->of[i] < 0 || p->of[i] >= s.rank || (seen >> p->of[i] & 1))
            return nc_infer_fail(n, e, NC_EINVAL, "axes must be 0..%d, each once", s.rank - 1);
        seen |= 1u << p->of[i];
        s.dim[i] = x->shape.dim[p->of[i]];
    }
    if (x->count >= 0 && p->of[0] != 0)
        return nc_infer_fail(n, e, NC_ESHAPE, "axis 0 follows a count and stays in place");
    nc_infer_out(n, 0, x->dtype, s, x->count, x->count_scale);
    return 0;
}

static void permute_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx)
{
    const axes *p = NC_ATTR(n, axes);
    int back[NC_MAX_RANK] = { 0 };

    for (int i = 0; i < n->in[0]->shape.rank; i++)
        back[p->of[i]] = i;
    dx[0] = nc_permute(g, dy[0], back);
}

static int permute_run(const nc_node *n, const nc_run *r)
{
    const axes *p = NC_ATTR(n, axes);
    int64_t stride[NC_MAX_RANK] = { 0 };

    for (int i = 0; i < n->out[0]->shape.rank; i++)
        stride[i] = n->in[0]->stride[p->of[i]];
    return copy_strided(n, r, stride);
}

const nc_op nc_op_permute = { .name = "permute", .flags = NC_OP_STRIDED, .infer = permute_infer, .grad = permute_grad, .run = permute_run };

nc_value *nc_permute(nc_graph *g, nc_value *x, const int *order)
{
    axes p = { { 0 } };
    bool same = true;

    for (int i = 0; i < x->shape.rank; i++) {
        p.of[i] = order[i];
        same &= order[i] == i;
    }
    return same ? x : nc_emit(g, &nc_op_permute, &p, sizeof p, &x, 1);
}

typedef struct target { nc_shape s; int count; } target;

static int broadcast_infer(nc_graph *g, nc_node *n, nc_error *e)
{
    const target *t = NC_ATTR(n, target);
    const nc_value *x = n->in[0];
    char a[96], b[96];
    nc_shape s;

    NC_TRY(whole_elements(n, e));
    if (!nc_shape_broadcast(&x->shape, &t->s, &s) || !nc_shape_equal(&s, &t->s))
        return nc_infer_fail(n, e, NC_ESHAPE, "%s does not broadcast to %s", nc_shape_str(&x->shape, a), nc_shape_str(&t->s, b));
    int64_t capacity = nc_graph_capacity(g, t->count), scale = t->count >= 0 && capacity > 0 ? s.dim[0] / capacity : 1;
    if (t->count >= 0 && (s.rank == 0 || s.dim[0] != capacity * scale))
        return nc_infer_fail(n, e, NC_ESHAPE, "axis 0 of %s is no multiple of count %s", nc_shape_str(&s, b), nc_graph_count_name(g, t->count));
    if (x->count >= 0 && (x->shape.rank != s.rank || x->count != t->count || x->count_scale != scale))
        return nc_infer_fail(n, e, NC_ESHAPE, "%s follows count %s, the result must too", nc_shape_str(&x->shape, a), nc_graph_count_name(g, x->count));
    nc_infer_out(n, 0, x->dtype, s, t->count, scale);
    return 0;
}

static void broadcast_grad(nc_graph *g, nc_node *n, nc_value *const *dy, nc_value **dx) { dx[0] = nc_sum_to(g, dy[0], &n->in[0]->shape); }

static int broadcast_run(const nc_node *n, const nc_run *r)
{
    const nc_value *x = n->in[0], *y = n->out[0];
    int64_t stride[NC_MAX_RANK] = { 0 };
    int lead = y->shape.rank - x->shape.rank;

    for (int i = lead; i < y->shape.rank; i++)
        stride[i] = x->shape.dim[i - lead] == 1 ? 0 : x->stride[i - lead];
    return copy_strided(n, r, stride);
}

const nc_op nc_op_broadcast = { .name = "broadcast", .flags = NC_OP_STRIDED, .infer = broadcast_infer, .grad = broadcast_grad, .run = broadcast_run };

nc_value *nc_broadcast_to(nc_graph *g, nc_value *x, nc_shape s, int count)
{
    target t = { s, count };

    return nc_shape_equal(&s, &x->shape) && count == x->count ? x : nc_emit(g, &nc_op_broadcast, &t, sizeof t, &x, 1);
}

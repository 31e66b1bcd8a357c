/* match.c - which query stands for which object: the assignment of least cost in each picture (Carion et al. 2020).
 *
 *   logits [N, K], boxes [N, 4] (centre x, y, width, height), N = pictures * queries;  labels I32 [T, 1], objects [T, 4], picture I32 [T, 1] of each object
 *   cost(query, object) = class * -softmax(logits)[label] + box * |box - object|_1 - giou * generalized IoU;  what is not finite counts as the largest f32
 *   -> I32 [N]: the object of each query, -1 for none. No gradient goes through. Sums in double; the assignment is base/assign.h's, exact.
 */
#include "graph/op.h"
#include "base/assign.h"

#include <float.h>
#include <math.h>

static size_t up64(size_t n) { return (n + 63) & ~(size_t)63; }

static int infer(nc_graph *g, nc_node *n, nc_error *e)
{
    const nc_match_attr *a = NC_ATTR(n, nc_match_attr);
    const nc_value *logits = n->in[0];

    (void)g;
    NC_TRY(nc_infer_compute(n, 0, e));
    NC_TRY(nc_infer_compute(n, 1, e));
    NC_TRY(nc_infer_rank(n, 0, 2, e));
    NC_TRY(nc_infer_dims(n, 1, e, 2, (int64_t[]){ -1, 4 }));
    NC_TRY(nc_infer_dtype(n, 2, NC_I32, e));
    NC_TRY(nc_infer_dims(n, 3, e, 2, (int64_t[]){ -1, 4 }));
    NC_TRY(nc_infer_dtype(n, 4, NC_I32, e));
    if (!nc_same_rows(logits, n->in[1]) || a->queries < 1 || logits->shape.dim[0] % a->queries)
        return nc_infer_fail(n, e, NC_ESHAPE, "%d queries a picture do not fit the rows of logits and boxes", a->queries);
    nc_infer_out(n, 0, NC_I32, NC_SHAPE(logits->shape.dim[0]), logits->count, logits->count_scale);
    return 0;
}

typedef struct box { double x0, y0, x1, y1, area; } box;

static box box_at(const nc_value *v, int64_t row)
{
    double c[4];
    for (int i = 0; i < 4; i++)
        c[i] = nc_dtype_load(v->dtype, v->data, row * 4 + i);
    box b = { c[0] - c[2] / 2, c[1] - c[3] / 2, c[0] + c[2] / 2, c[1] + c[3] / 2, 0 };
    b.area = (b.x1 - b.x0) * (b.y1 - b.y0);
    return b;
}

static double generalized_iou(box a, box b)
{
    double w = fmax(0, fmin(a.x1, b.x1) - fmax(a.x0, b.x0)), h = fmax(0, fmin(a.y1, b.y1) - fmax(a.y0, b.y0)), meet = w * h, both = a.area + b.area - meet;
    double hull = (fmax(a.x1, b.x1) - fmin(a.x0, b.x0)) * (fmax(a.y1, b.y1) - fmin(a.y0, b.y0));
    return meet / both - (hull - both) / hull;
}

/* 1 / sum of exp(logits - largest), and the largest. */
static double softmax_scale(const nc_value *logits, int64_t row, double *largest)
{
    const int64_t K = logits->shape.dim[1];
    double sum = 0;
    *largest = -INFINITY;
    for (int64_t k = 0; k < K; k++)
        *largest = fmax(*largest, nc_dtype_load(logits->dtype, logits->data, row * K + k));
    for (int64_t k = 0; k < K; k++)
        sum += exp(nc_dtype_load(logits->dtype, logits->data, row * K + k) - *largest);
    return 1 / sum;
}

/* Costs of one picture [queries, its objects]; object: which ones they are. */
static void fill_costs(const nc_node *n, int64_t first, const int32_t *object, int objects, double *cost)
{
    const nc_match_attr *a = NC_ATTR(n, nc_match_attr);
    const nc_value *logits = n->in[0], *boxes = n->in[1], *labels = n->in[2], *truth = n->in[3];
    const int64_t K = logits->shape.dim[1];

    for (int q = 0; q < a->queries; q++) {
        double largest, scale = softmax_scale(logits, first + q, &largest);
        const box own = box_at(boxes, first + q);
        for (int j = 0; j < objects; j++) {
            double far = 0, share = exp(nc_dtype_load(logits->dtype, logits->data, (first + q) * K + ((const int32_t *)labels->data)[object[j]]) - largest) * scale;
            for (int i = 0; i < 4; i++)
                far += fabs(nc_dtype_load(boxes->dtype, boxes->data, (first + q) * 4 + i) - nc_dtype_load(truth->dtype, truth->data, (int64_t)object[j] * 4 + i));
            double c = a->box * far - a->class * share - a->giou * generalized_iou(own, box_at(truth, object[j]));
            cost[q * objects + j] = isfinite(c) ? c : FLT_MAX;
        }
    }
}

static int check_objects(const nc_node *n, const nc_run *r, int64_t objects, int64_t pictures)
{
    const int32_t *label = n->in[2]->data, *picture = n->in[4]->data;

    for (int64_t i = 0; i < objects; i++)
        if (label[i] < 0 || label[i] >= n->in[0]->shape.dim[1] || picture[i] < 0 || picture[i] >= pictures)
            return nc_fail(r->error, NC_EINVAL, "match: object %lld has label %d and lies in picture %d; there are %lld labels and %lld pictures", (long long)i, (int)label[i],
                           (int)picture[i], (long long)n->in[0]->shape.dim[1], (long long)pictures);
    return 0;
}

static size_t cost_bytes(const nc_node *n, int64_t objects) { return up64((size_t)(NC_ATTR(n, nc_match_attr)->queries * objects) * sizeof(double)); }

static int run(const nc_node *n, const nc_run *r)
{
    const int Q = NC_ATTR(n, nc_match_attr)->queries;
    const int64_t objects = nc_live_rows(n->in[3], r->counts), pictures = nc_live_rows(n->in[0], r->counts) / Q, most = n->in[3]->shape.dim[0];
    int32_t *out = n->out[0]->data, *mine = (int32_t *)r->workspace, *column = mine + (most + 15) / 16 * 16;
    double *cost = (double *)(void *)((char *)r->workspace + up64((size_t)most * 4) + up64((size_t)Q * 4));
    void *work = (char *)cost + cost_bytes(n, most);

    NC_TRY(check_objects(n, r, objects, pictures));
    for (int64_t p = 0; p < pictures; p++) {
        int count = 0;
        for (int64_t i = 0; i < objects; i++)
            if (((const int32_t *)n->in[4]->data)[i] == p)
                mine[count++] = (int32_t)i;
        fill_costs(n, p * Q, mine, count, cost);
        nc_assign(cost, Q, count, column, work);
        for (int q = 0; q < Q; q++)
            out[p * Q + q] = column[q] < 0 ? -1 : mine[column[q]];
    }
    return 0;
}

static size_t workspace(const nc_node *n, int threads)
{
    const int Q = NC_ATTR(n, nc_match_attr)->queries;
    const int64_t most = n->in[3]->shape.dim[0];
    (void)threads;
    return up64((size_t)most * 4) + up64((size_t)Q * 4) + cost_bytes(n, most) + up64(nc_assign_bytes(Q, (int)most));
}

const nc_op nc_op_match = { .name = "match", .infer = infer, .run = run, .workspace = workspace };

nc_value *nc_match(nc_graph *g, nc_value *logits, nc_value *boxes, nc_value *labels, nc_value *objects, nc_value *picture, const nc_match_attr *attr)
{
    return nc_emit(g, &nc_op_match, attr, sizeof *attr, (nc_value *[]){ logits, boxes, labels, objects, picture }, 5);
}

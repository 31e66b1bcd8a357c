/* loss.c - see loss.h. Compositions of the graph's ops: the logits of labels are few. */
#include "nn/loss.h"

nc_value *nc_class_loss(nc_build *b, nc_value *logits, nc_value *labels, nc_value *weights)
{
    nc_value *logp = nc_take_columns(b->g, nc_log_softmax(b->g, logits), labels);                    /* [N,1] */
    return nc_nll(b->g, nc_reshape(b->g, logp, NC_SHAPE(logp->shape.dim[0])), weights);
}

nc_value *nc_square_loss(nc_build *b, nc_value *x, nc_value *target)
{
    nc_value *d = nc_sub(b->g, x, target);
    return nc_affine(b->g, nc_sum_all(b->g, nc_mul(b->g, d, d)), 1.0 / (double)nc_shape_count(&x->shape), 0);
}

nc_value *nc_labels_loss(nc_build *b, const nc_labels *l, nc_value *logits, const char *count)
{
    nc_dtype wide = nc_graph_compute(b->g) == NC_F64 ? NC_F64 : NC_F32;
    logits = nc_cast(b->g, logits, wide);
    if (l->problem == NC_SINGLE_LABEL)
        return nc_class_loss(b, logits, nc_in(b, "labels", NC_I32, count, 1), nc_in(b, "label.weights", NC_F32, count, 0));
    nc_value *y = nc_in(b, "label.values", NC_F32, count, l->count), *w = nc_in(b, "label.weights", NC_F32, count, 1), *each;
    if (l->problem == NC_REGRESSION) {
        nc_value *d = nc_sub(b->g, logits, y);
        each = nc_mul(b->g, d, d);
    } else
        each = nc_sub(b->g, nc_unary_op(b->g, NC_SOFTPLUS, logits), nc_mul(b->g, logits, y));
    return nc_affine(b->g, nc_sum_all(b->g, nc_mul(b->g, each, w)), 1.0 / l->count, 0);
}

void nc_batch_labels(nc_batch *batch, const char *table, const char *weights, const int32_t *labels, int64_t n)
{
    int32_t *out = nc_batch_i32(batch, table, n, 1);
    float *share = nc_batch_f32(batch, weights, n, 1);
    int64_t counted = 0;
    for (int64_t i = 0; i < n; i++)
        counted += labels[i] >= 0;
    for (int64_t i = 0; i < n; i++) {
        out[i] = labels[i] >= 0 ? labels[i] : 0;
        share[i] = labels[i] >= 0 ? 1.0f / (float)counted : 0;
    }
}

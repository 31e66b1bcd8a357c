/* head.c - the head of a decoder over its rows, whose vocabulary may lie in two weights (a frozen one and a few tokens more).
 *
 *   l = [h w^T | h u^T];   log-sum-exp = a + softplus(c - a) with a, c those of the parts
 *   log p(t) = log p_w(t) - softplus(c - a) where t is in w;   log p_u(t) - softplus(a - c) where it is in u
 */
#include "models/model.h"

int nc_head_vocabulary(const nc_head *h)
{
    return (int)(h->w->shape.dim[0] + (h->more ? h->more->shape.dim[0] : 0));
}

nc_value *nc_model_logits(nc_build *b, const nc_head *h, nc_value *rows)
{
    nc_value *x = nc_linear_op(b->g, rows, nc_site_value(b, h->w), nc_site_value(b, h->bias), NC_F32);
    if (!h->more)
        return x;
    nc_value *u = nc_linear_op(b->g, rows, nc_site_value(b, h->more), NULL, NC_F32);
    return nc_concat(b->g, (nc_value *[]){ x, u }, 2, 1);
}

static nc_value *part(nc_build *b, const nc_head *h, nc_value *rows, nc_site *w, const char *targets)
{
    return nc_head_logprob(b->g, rows, nc_site_value(b, w), w == h->w ? nc_site_value(b, h->bias) : NULL, nc_in(b, targets, NC_I32, "scored", 0), h->scale, h->soft_cap);
}

/* -softplus(d) where the mask is 1. */
static nc_value *share(nc_build *b, nc_value *d, const char *mask)
{
    nc_value *lost = nc_unary_op(b->g, NC_NEG, nc_unary_op(b->g, NC_SOFTPLUS, d));
    return nc_mul(b->g, lost, nc_cast(b->g, nc_in(b, mask, NC_F32, "scored", 0), d->dtype));
}

nc_value *nc_model_logprob(nc_build *b, const nc_head *h, nc_value *rows)
{
    if (!h->more)
        return part(b, h, rows, h->w, "score.targets");
    nc_value *w = part(b, h, rows, h->w, "score.base"), *u = part(b, h, rows, h->more, "score.more");
    nc_value *d = nc_sub(b->g, nc_output(u, 1), nc_output(w, 1));
    return nc_add(b->g, nc_add(b->g, w, share(b, d, "score.in_base")), nc_add(b->g, u, share(b, nc_unary_op(b->g, NC_NEG, d), "score.in_more")));
}

nc_value *nc_model_nll(nc_build *b, const nc_head *h, nc_value *rows)
{
    nc_value *weights = nc_in(b, "score.weights", NC_F32, "scored", 0);
    if (b->training && !h->more)                     /* the gradient is made while the softmax is at hand: no logits twice */
        return nc_head_loss(b->g, rows, nc_site_value(b, h->w), nc_site_value(b, h->bias), nc_in(b, "score.targets", NC_I32, "scored", 0), weights, h->scale, h->soft_cap);
    return nc_nll(b->g, nc_model_logprob(b, h, rows), weights);
}

void nc_prepare_targets(nc_batch *batch, int first)
{
    const nc_tensor *t = nc_batch_find(batch, "score.targets");
    const int64_t n = nc_shape_count(&t->shape);
    const int32_t *target = t->data;
    int32_t *base = nc_batch_i32(batch, "score.base", n, 1), *more = nc_batch_i32(batch, "score.more", n, 1);
    float *in_base = nc_batch_f32(batch, "score.in_base", n, 1), *in_more = nc_batch_f32(batch, "score.in_more", n, 1);
    for (int64_t i = 0; i < n; i++) {
        base[i] = target[i] < first ? target[i] : -1;
        more[i] = target[i] < first ? -1 : target[i] - first;
        in_base[i] = base[i] >= 0;
        in_more[i] = more[i] >= 0;
    }
}

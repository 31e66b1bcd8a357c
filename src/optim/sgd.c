/* sgd.c - stochastic gradient descent with momentum, dampening and Nesterov's look ahead, as torch.optim.SGD.
 *
 *   d = g + wd*p     m = momentum*m + (1-dampening)*d, at first d     p -= lr * (nesterov ? d + momentum*m : m)
 * Without momentum p -= lr*d and there is no state. Sutskever et al. 2013 in PyTorch's form.
 */
#include "optim/optimizer.h"

static int states(const nc_optim_options *o) { return o->momentum != 0; }

static int check(const nc_optim_options *o, nc_error *e)
{
    if (!(o->momentum >= 0))
        return nc_fail(e, NC_EINVAL, "optimizer: momentum %g must not be negative", o->momentum);
    if (o->nesterov && (o->momentum == 0 || o->dampening != 0))
        return nc_fail(e, NC_EINVAL, "optimizer: nesterov needs a momentum and no dampening, got %g and %g", o->momentum, o->dampening);
    return 0;
}

static void block(const nc_optim_block *b)
{
    nc_sgd_step s = { .scale = b->scale, .l2 = b->weight_decay, .momentum = b->o->momentum, .dampening = b->o->dampening, .lr = b->lr,
                      .nesterov = b->o->nesterov, .first = b->step == 1 };

    b->k->sgd(&s, b->value, b->grad, b->o->momentum != 0 ? b->state[0] : NULL, b->half, b->n);
}

const nc_optimizer nc_optimizer_sgd = { .names = { "sgd" }, .state_names = { "momentum_buffer" }, .states = states, .check = check, .block = block };

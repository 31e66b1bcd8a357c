/* lion.c - Lion: steps of one size in the direction of an average's sign.
 *
 *   p = p*(1 - lr*wd) - lr * sign(b1*m + (1-b1)*g)     m = b2*m + (1-b2)*g
 * Chen et al., arXiv 2302.06675, algorithm 2.
 */
#include "optim/optimizer.h"

static int states(const nc_optim_options *o) { return (void)o, 1; }

static int check(const nc_optim_options *o, nc_error *e)
{
    if (!(o->beta1 >= 0 && o->beta1 < 1 && o->beta2 >= 0 && o->beta2 < 1))
        return nc_fail(e, NC_EINVAL, "optimizer: adam_beta1 %g and adam_beta2 %g must be at least 0 and below 1", o->beta1, o->beta2);
    return 0;
}

static void block(const nc_optim_block *b)
{
    nc_lion_step s = { .scale = b->scale, .beta1 = b->o->beta1, .beta2 = b->o->beta2, .decay = 1 - b->lr * b->weight_decay, .lr = b->lr };

    b->k->lion(&s, b->value, b->grad, b->state[0], b->half, b->n);
}

const nc_optimizer nc_optimizer_lion = { .names = { "lion", "lion_32bit" }, .state_names = { "exp_avg" }, .states = states, .check = check, .block = block };

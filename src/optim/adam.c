/* adam.c - AdamW (decoupled decay) and Adam (decay as part of the gradient), as torch.optim computes them.
 *
 *   d = g [+ wd*p: Adam]     m = b1*m + (1-b1)*d     v = b2*v + (1-b2)*d^2
 *   p = p*(1 - lr*wd) [AdamW] - lr/(1-b1^t) * m / (sqrt(v / (1-b2^t)) + eps)
 * Kingma & Ba, arXiv 1412.6980; Loshchilov & Hutter, arXiv 1711.05101; amsgrad (the largest v so far in v's place): Reddi et al., arXiv 1904.09237.
 */
#include "optim/optimizer.h"
#include <math.h>

static int states(const nc_optim_options *o) { return o->amsgrad ? 3 : 2; }

static int check(const nc_optim_options *o, nc_error *e)
{
    if (!(o->beta1 >= 0 && o->beta1 < 1 && o->beta2 >= 0 && o->beta2 < 1))
        return nc_fail(e, NC_EINVAL, "optimizer: adam_beta1 %g and adam_beta2 %g must be at least 0 and below 1", o->beta1, o->beta2);
    if (!(o->eps >= 0))
        return nc_fail(e, NC_EINVAL, "optimizer: adam_epsilon %g must not be negative", o->eps);
    return 0;
}

static void step(const nc_optim_block *b, bool decoupled)
{
    double correction1 = 1 - pow(b->o->beta1, (double)b->step), correction2 = 1 - pow(b->o->beta2, (double)b->step);
    nc_adam_step s = { .scale = b->scale, .l2 = decoupled ? 0 : b->weight_decay, .beta1 = b->o->beta1, .beta2 = b->o->beta2,
                       .decay = decoupled ? 1 - b->lr * b->weight_decay : 1, .rate = b->lr / correction1, .root = 1 / sqrt(correction2),
                       .eps = b->o->eps };

    b->k->adam(&s, b->value, b->grad, b->state[0], b->state[1], b->o->amsgrad ? b->state[2] : NULL, b->half, b->n);
}

static void block_adamw(const nc_optim_block *b) { step(b, true); }
static void block_adam(const nc_optim_block *b) { step(b, false); }

const nc_optimizer nc_optimizer_adamw = { .names = { "adamw_torch", "adamw_torch_fused", "adamw" }, .state_names = { "exp_avg", "exp_avg_sq", "max_exp_avg_sq" },
                                          .states = states, .check = check, .block = block_adamw };
const nc_optimizer nc_optimizer_adam = { .names = { "adam" }, .state_names = { "exp_avg", "exp_avg_sq", "max_exp_avg_sq" },
                                         .states = states, .check = check, .block = block_adam };

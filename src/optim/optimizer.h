/* optimizer.h - what one optimizer is: included by the files of this folder only. */
#ifndef NC_OPTIM_OPTIMIZER_H
#define NC_OPTIM_OPTIMIZER_H
#include "kernels/optim.h"
#include "optim/optim.h"

typedef struct nc_optim_block {        /* elements of one parameter that one call updates */
    const nc_optim_options *o;
    const struct nc_optim_kernels *k;
    double lr, weight_decay, scale;    /* of this parameter; scale has maximize's sign */
    int64_t step;                      /* counted from 1 */
    float *value, *state[NC_OPTIM_STATES];
    const float *grad;
    uint16_t *half;
    int64_t n;
} nc_optim_block;

typedef struct nc_optimizer {
    const char *names[4];              /* ends with NULL */
    const char *state_names[NC_OPTIM_STATES];
    int (*states)(const nc_optim_options *o);                 /* the first so many of state_names are kept */
    int (*check)(const nc_optim_options *o, nc_error *e);
    void (*block)(const nc_optim_block *b);
} nc_optimizer;

#define OPTIMIZER(name) extern const nc_optimizer nc_optimizer_##name;
#include "optim/optimizers.list"
#undef OPTIMIZER
#endif

/* optim.h - optimizers over plain float arrays, the gradient's norm, and schedules of the learning rate.
 *
 *     nc_optim_options o = nc_optim_defaults();  o.weight_decay = 0.1;
 *     nc_optim_new("adamw_torch", &o, params, n, &optim, e);
 *     each step:  norm = nc_optim_norm(optim, pool, kernels);
 *                 nc_optim_step(optim, pool, kernels, nc_schedule_rate(&schedule, lr, step), nc_clip_scale(norm, 1.0));
 *
 * A parameter is its f32 master, its f32 gradient and where wanted the bf16 copy that the forward reads; one fused pass updates all of them. The arrays are
 * the caller's and outlive the optimizer, which owns its state. Results do not depend on the number of threads.
 * Names are those of transformers' TrainingArguments (optim, lr_scheduler_type). A new optimizer is one file and one line in optimizers.list.
 */
#ifndef NC_OPTIM_OPTIM_H
#define NC_OPTIM_OPTIM_H
#include "kernels/kernels.h"

typedef struct nc_optim_options {
    double beta1, beta2, eps;          /* Adam, Lion */
    double weight_decay;               /* decoupled in AdamW and Lion, added to the gradient elsewhere */
    double momentum, dampening;        /* SGD */
    bool nesterov, amsgrad, maximize;
} nc_optim_options;
nc_optim_options nc_optim_defaults(void);                     /* PyTorch's for AdamW, without decay: 0.9, 0.999, 1e-8; no momentum */

typedef struct nc_optim_param {
    const char *name;                  /* borrowed; for messages and checkpoints */
    int64_t count;
    float *value;                      /* the master */
    const float *grad;
    uint16_t *half;                    /* the bf16 copy, or NULL */
    double lr_scale;                   /* factor of the learning rate; 1 usually */
    double weight_decay;               /* of this parameter; negative: the options' */
    const struct nc_gemm_b *packed;    /* the bf16 copy of a product's weight: packed and turned (kernels/gemm.h); half is NULL then */
    const double *squares;             /* where whoever made the gradient leaves the sum of its squares, 0 where unknown; or NULL */
} nc_optim_param;

typedef struct nc_optim nc_optim;
enum { NC_OPTIM_STATES = 3 };

/* params is copied. State starts at zero. NC_ENOTFOUND: no optimizer of that name (the message lists them). */
int nc_optim_new(const char *name, const nc_optim_options *o, const nc_optim_param *params, int n, nc_optim **out, nc_error *e);
void nc_optim_free(nc_optim *o);                              /* NULL is allowed */
/* Floats of state an element needs: 2 for AdamW. Negative when there is no such optimizer. For memory plans. */
int nc_optim_states_of(const char *name, const nc_optim_options *o, nc_error *e);

/* Memory of the state, and of what steps with so many threads need beside it. */
size_t nc_optim_bytes(const nc_optim *o, int threads);

/* The norm of all gradients together: squares in double over fixed blocks, blocks in order, where they are not known. NaN or infinite when a gradient is. */
double nc_optim_norm(nc_optim *o, nc_pool *pool, const nc_kernels *kernels);
/* torch's clip_grad_norm_: min(1, max_norm / (norm + 1e-6)); 1 when max_norm is 0 or less. */
double nc_clip_scale(double norm, double max_norm);
/* One step with every gradient multiplied by `scale` on the way. */
void nc_optim_step(nc_optim *o, nc_pool *pool, const nc_kernels *kernels, double lr, double scale);

/* What a checkpoint holds: the steps done and for each parameter nc_optim_states arrays of its count, called "exp_avg" ... */
int64_t nc_optim_steps(const nc_optim *o);
void nc_optim_set_steps(nc_optim *o, int64_t steps);
int nc_optim_states(const nc_optim *o);
const char *nc_optim_state_name(const nc_optim *o, int state);
float *nc_optim_state(nc_optim *o, int param, int state);     /* the optimizer's own memory: read it, or fill it when resuming */
int nc_optim_params(const nc_optim *o);
const nc_optim_param *nc_optim_param_at(const nc_optim *o, int param);

/* ---- schedules ---- */
typedef enum nc_schedule_shape { NC_SHAPE_LINEAR, NC_SHAPE_COSINE, NC_SHAPE_1_SQRT } nc_schedule_shape;
typedef struct nc_schedule {
    const char *name;                  /* constant, constant_with_warmup, linear, cosine, cosine_with_restarts, polynomial, inverse_sqrt, cosine_with_min_lr,
                                        * cosine_warmup_with_min_lr, warmup_stable_decay */
    int64_t warmup_steps, total_steps;
    double num_cycles;                 /* negative: 0.5, and 1 for cosine_with_restarts */
    double power, lr_end;              /* polynomial */
    double min_lr, min_lr_rate;        /* *_min_lr: min_lr when it is not negative, else the rate of lr */
    double warmup_lr_rate;             /* cosine_warmup_with_min_lr: where warmup begins; negative: (step + 1) / warmup_steps */
    int64_t timescale;                 /* inverse_sqrt; 0: warmup_steps, or 10000 without warmup */
    int64_t decay_steps, stable_steps; /* warmup_stable_decay; stable_steps negative: what total_steps leaves */
    double min_lr_ratio;
    nc_schedule_shape warmup_type, decay_type;
} nc_schedule;
nc_schedule nc_schedule_defaults(void);                       /* linear, the library's defaults */
int nc_schedule_check(const nc_schedule *s, nc_error *e);     /* NC_ENOTFOUND: no such name; NC_EINVAL: numbers that cannot be */
/* The rate in force during step `step`, counted from 0. The schedule has been checked. */
double nc_schedule_rate(const nc_schedule *s, double lr, int64_t step);
/* "linear", "cosine", "1-sqrt". */
int nc_schedule_shape_parse(const char *name, nc_schedule_shape *out);
#endif

/* optim.h - one step of an optimizer over a stretch of a parameter, in one pass, and the sum of squares that clipping needs.
 *
 * p, m, v, g are f32 arrays of n elements without overlap, of any alignment. half, where not NULL, receives p rounded to bf16 (nearest even).
 * The gradient used is g*scale + l2*p. Every element is computed for itself, so the result does not depend on how an array is cut.
 */
#ifndef NC_KERNELS_OPTIM_H
#define NC_KERNELS_OPTIM_H
#include "kernels/kernels.h"

/* d = g*scale + l2*p;  m += (1-beta1)*(d-m);  v = beta2*v + (1-beta2)*d*d;  p = p*decay - rate * m / (sqrt(v')*root + eps)
 * where v' is v, or with `largest` the maximum that v has had. AdamW: l2 = 0, decay = 1 - lr*weight_decay; Adam: l2 = weight_decay, decay = 1.
 * rate = lr / (1 - beta1^t), root = 1 / sqrt(1 - beta2^t). Kingma & Ba 2014, algorithm 1; Loshchilov & Hutter 2017, algorithm 2; amsgrad: Reddi et al. 2018. */
typedef struct nc_adam_step { double scale, l2, beta1, beta2, decay, rate, root, eps; } nc_adam_step;
/* d = g*scale + l2*p;  m = first ? d : momentum*m + (1-dampening)*d;  p -= lr * (nesterov ? d + momentum*m : m), or lr*d where m is NULL.
 * PyTorch's SGD (Sutskever et al. 2013). */
typedef struct nc_sgd_step { double scale, l2, momentum, dampening, lr; bool nesterov, first; } nc_sgd_step;
/* d = g*scale;  p = p*decay - lr * sign(beta1*m + (1-beta1)*d);  m = beta2*m + (1-beta2)*d. Chen et al. 2023, algorithm 2. */
typedef struct nc_lion_step { double scale, beta1, beta2, decay, lr; } nc_lion_step;

struct nc_optim_kernels {
    void (*adam)(const nc_adam_step *s, float *p, const float *g, float *m, float *v, float *largest, uint16_t *half, int64_t n);
    void (*sgd)(const nc_sgd_step *s, float *p, const float *g, float *m, uint16_t *half, int64_t n);
    void (*lion)(const nc_lion_step *s, float *p, const float *g, float *m, uint16_t *half, int64_t n);
    /* Sum of x^2 in double, in an order fixed by n. */
    double (*squares)(const float *x, int64_t n);
};
extern const struct nc_optim_kernels nc_ref_optim;                       /* the definitions; arithmetic in double */
void nc_optim_avx2(struct nc_optim_kernels *t);
void nc_optim_avx512(struct nc_optim_kernels *t);
#endif

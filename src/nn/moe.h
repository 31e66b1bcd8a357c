/* moe.h - a mixture of experts: each row's MLP is a weighted sum of a few of many, chosen by a router (Shazeer et al. 2017; Fedus et al. 2021).
 *
 *   s = softmax(router x), or sigmoid;   chosen = the `top` largest of s (+ choose_bias), by groups where there are any
 *   out = scale * sum over chosen e of s_e [/ sum of the chosen s] * down_e (f(gate_e x) * up_e x)
 */
#ifndef NC_NN_MOE_H
#define NC_NN_MOE_H
#include "nn/build.h"

typedef struct nc_moe {
    int experts, top, groups, top_groups, group_best;
    bool sigmoid, normalize;
    double scale, sum_floor;         /* sum_floor: added to the sum that divides */
    nc_unary activation;
    nc_site *router, *choose_bias;   /* choose_bias: added for the choice only; may be NULL */
    nc_site **gate, **up, **down;    /* of each expert */
} nc_moe;

nc_value *nc_moe_mlp(nc_build *b, nc_value *x, const nc_moe *m);       /* probes the n-th router's logits as aux.router_logits.<n> */
/* experts * sum_e (share of choices that went to e) * (mean probability of e), over the routers built so far, f32 scalar; NULL when there is none. */
nc_value *nc_moe_balance(nc_build *b);
#endif

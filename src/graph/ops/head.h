/* head.h - shared by head.c (the ops) and head_run.c (what they compute). */
#ifndef NC_GRAPH_OPS_HEAD_H
#define NC_GRAPH_OPS_HEAD_H
#include "graph/op.h"
#include "kernels/gemm.h"
#include "kernels/head.h"

typedef struct nc_head_attr { double scale, cap; } nc_head_attr;
int nc_head_run_logprob(const nc_node *n, const nc_run *r);
int nc_head_run_grad(const nc_node *n, const nc_run *r);
int nc_head_run_loss(const nc_node *n, const nc_run *r);
size_t nc_head_workspace_logprob(const nc_node *n, int threads);
size_t nc_head_workspace_grad(const nc_node *n, int threads);
size_t nc_head_workspace_loss(const nc_node *n, int threads);
#endif

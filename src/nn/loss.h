/* loss.h - the losses of heads that put labels on pictures or texts, as transformers computes them from problem_type.
 *
 *   single label   mean over rows of -log softmax(logits)[label]            tables "labels" I32, "label.weights" f32 (1/n; 0: not counted)
 *   multi label    mean over rows and labels of softplus(z) - y z           "label.values" f32 [rows, labels], "label.weights"
 *   regression     mean over rows and values of (z - y)^2                   the same tables
 */
#ifndef NC_NN_LOSS_H
#define NC_NN_LOSS_H
#include "nn/build.h"

typedef enum nc_problem { NC_SINGLE_LABEL, NC_MULTI_LABEL, NC_REGRESSION } nc_problem;
typedef struct nc_labels { int count; nc_problem problem; } nc_labels;

/* logits [N, labels], N following the named count. */
nc_value *nc_labels_loss(nc_build *b, const nc_labels *l, nc_value *logits, const char *count);
/* -sum weights * log softmax(logits)[labels]; labels I32 [N,1] (within range also where its weight is 0), weights f32 [N]. */
nc_value *nc_class_loss(nc_build *b, nc_value *logits, nc_value *labels, nc_value *weights);
/* mean of (x - target)^2 over all elements. */
nc_value *nc_square_loss(nc_build *b, nc_value *x, nc_value *target);
/* Fills a table of labels (-1: not counted) and the weights that make a mean of those that count. */
void nc_batch_labels(nc_batch *batch, const char *table, const char *weights, const int32_t *labels, int64_t n);
#endif

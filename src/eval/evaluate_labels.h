/* evaluate_labels.h - a classifier over a labelled set: accuracy, F1, entities or correlations, each label's share and the confusion matrix. */
#ifndef NC_EVAL_EVALUATE_LABELS_H
#define NC_EVAL_EVALUATE_LABELS_H
#include "eval/evaluate.h"

/* Whether the folder (or the model/ of a run) is one that this file scores. */
bool nc_evaluates_labels(const char *folder);
/* Of the options: folder, data (a file, or a folder of pictures; data/dataset.h), out, training_metrics, max_samples, progress and of `open` dtype and threads. *scores lies in a:
 * {"samples", the scores of data/label_scores.h, "labels": [{"label", "precision", "recall", "f1", "support"}], "confusion": [[...]], "seconds"}. */
int nc_evaluate_labels(const nc_evaluate_options *o, nc_arena *a, nc_json **scores, nc_error *e);
void nc_evaluate_labels_table(const nc_json *scores, nc_buf *out);
#endif

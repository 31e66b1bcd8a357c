/* label_scores.h - how well a classifier does: accuracy, F1 and the confusion matrix; of names like B-PER the F1 of entities; of numbers the squared error and correlations.
 *
 *   one of several   accuracy; f1 = mean over the labels that occur (in data or answers) of 2 tp / (2 tp + fp + fn)            scikit-learn's macro average
 *   some of several  accuracy: all labels of a sample right; f1_micro over all decisions (logit > 0), f1 the mean over the labels
 *   numbers          mse, pearson, spearman (ranks, ties share their mean)
 *   words            accuracy and f1 of the words; where labels read B-..., I-... entity_precision, entity_recall, entity_f1: whole entities of one type, as seqeval counts them
 */
#ifndef NC_DATA_LABEL_SCORES_H
#define NC_DATA_LABEL_SCORES_H
#include "data/labels.h"

typedef struct nc_label_scores nc_label_scores;
/* labels must outlive it. */
nc_label_scores *nc_label_scores_new(const nc_label_set *labels, bool words);
void nc_label_scores_free(nc_label_scores *s);                   /* NULL is allowed */
void nc_label_scores_clear(nc_label_scores *s);
/* One decision: logits[labels->count] against the label, or the values. */
void nc_label_scores_add(nc_label_scores *s, const float *logits, int label, const float *values);
void nc_label_scores_end(nc_label_scores *s);                    /* of a text's words: entities do not cross it */

typedef struct nc_label_score { const char *name; double value; } nc_label_score;
enum { NC_LABEL_SCORES = 8 };
int nc_label_scores_list(const nc_label_scores *s, nc_label_score out[NC_LABEL_SCORES]);    /* how many */
/* How many of label `truth` were called `answer`; of NC_LABELS_SOME: [count][2][2] by label, truth, answer. */
int64_t nc_label_confusion(const nc_label_scores *s, int truth, int answer);
typedef struct nc_label_share { double precision, recall, f1; int64_t support; } nc_label_share;
nc_label_share nc_label_share_of(const nc_label_scores *s, int label);
int nc_label_best(const float *logits, int count);               /* the first of the largest */
#endif

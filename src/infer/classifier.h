/* classifier.h - a folder's ...ForSequenceClassification, ...ForTokenClassification or ...ForImageClassification on texts, pairs of texts, words or pictures.
 *
 * What comes out depends on the one asked about and the weights alone, not on what else is asked with it.
 */
#ifndef NC_INFER_CLASSIFIER_H
#define NC_INFER_CLASSIFIER_H
#include "load/load.h"

typedef struct nc_classifier nc_classifier;
typedef enum nc_classified { NC_CLASSIFIES_NOTHING, NC_CLASSIFIES_TEXTS, NC_CLASSIFIES_WORDS, NC_CLASSIFIES_PICTURES } nc_classified;
/* What the class of a folder's config.json labels; nothing for other models. */
nc_classified nc_classifier_kind(const char *folder_or_id);

typedef struct nc_classifier_options { nc_dtype compute; int threads; } nc_classifier_options;
int nc_classifier_open(const char *folder_or_id, const nc_classifier_options *o, nc_classifier **out, nc_error *e);
void nc_classifier_free(nc_classifier *x);   /* NULL is allowed */
nc_loaded *nc_classifier_loaded(const nc_classifier *x);
int nc_classifier_labels(const nc_classifier *x);
const char *nc_classifier_name(const nc_classifier *x, int label);    /* id2label, else LABEL_<n> */

/* One thing to label; the rest is NULL or 0. */
typedef struct nc_unlabelled { nc_str text, pair; const nc_str *words; int word_count; const char *picture; } nc_unlabelled;
/* Logits [1, labels] of each; of words [word_count, labels], NaN for words that the model's positions do not reach. out lies in a. */
int nc_classifier_run(nc_classifier *x, nc_arena *a, const nc_unlabelled *things, int count, float **out, nc_error *e);
/* Logits as probabilities: softmax, of several at once the sigmoid of each; numbers stay. */
void nc_classifier_scores(const nc_classifier *x, const float *logits, double *out);
#endif

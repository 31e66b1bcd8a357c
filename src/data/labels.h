/* labels.h - what the labels of a dataset are: one of several, some of several, or numbers; and the number of each name.
 *
 * Names found in data are sorted (numbers by value), as transformers' examples do; whole numbers 0, 1 ... n-1 are the labels LABEL_0 ... themselves. A set lives in the arena
 * it was made in.
 */
#ifndef NC_DATA_LABELS_H
#define NC_DATA_LABELS_H
#include "data/dataset.h"

typedef enum nc_label_kind { NC_LABELS_ANY, NC_LABELS_ONE, NC_LABELS_SOME, NC_LABELS_NUMBERS } nc_label_kind;

typedef struct nc_label_set {
    nc_label_kind kind;
    int count;                       /* of labels; of numbers a sample has */
    nc_str *name;                    /* [count]; NULL: numbers */
    bool numbered;                   /* a whole number that is no name is a label's own number */
} nc_label_set;

/* What the labels of these datasets say. kind NC_LABELS_ANY: told by them: a list (of a text or picture) is some of several, a fraction a number, else one of several. */
int nc_labels_find(nc_arena *a, const nc_dataset *const *d, int n, nc_label_kind kind, nc_label_set *out, nc_error *e);
/* id2label of a config.json, or LABEL_0 ... where it says the number alone. */
void nc_labels_of_config(nc_arena *a, const nc_json *config, nc_label_kind kind, int count, nc_label_set *out);
/* The label's number, or -1: none of the set. */
int nc_label_id(const nc_label_set *s, const nc_json *label);
/* All labels of the sample in numbers: out[count]: 1 where it has the label (NC_LABELS_SOME), or its numbers. */
int nc_label_values(const nc_label_set *s, const nc_json *label, float *out, nc_error *e);
/* NC_ENOTFOUND in words. */
int nc_label_unknown(const nc_label_set *s, const nc_json *label, nc_error *e);
#endif

/* objective.h - what a stage trains: how its records are read, which samples they become, the loss. One file an objective, one line in objectives.list; the recipe's
 * `stage` is its name.
 *
 * A loss is a sum over what counts in a micro-batch, each with the weight 1 / (what counts in all micro-batches of the step); an exact objective's, which has no such parts, is
 * divided by the micro-batches of the step.
 */
#ifndef NC_TRAIN_OBJECTIVE_H
#define NC_TRAIN_OBJECTIVE_H
#include "data/example.h"
#include "nn/build.h"

struct nc_train_run;

typedef struct nc_objective {
    const char *stage;
    nc_records records;              /* how the files of the dataset are read */
    bool packs;                      /* micro-batches are filled with samples up to cutoff_len unless the recipe says otherwise */
    bool exact;                      /* every micro-batch has per_device_train_batch_size samples, which the loss sets against each other */
    bool one_frame;                  /* a sample is one picture; of a video a frame, another one in each epoch */
    bool keeps_template;             /* the result says with which chat template it was trained */
    /* Whether the model is one that it trains; its config is read, its weights are not. */
    int (*check)(const struct nc_train_run *r, nc_error *e);
    nc_example_kind (*kind)(const struct nc_train_run *r);
    nc_value *(*loss)(struct nc_train_run *r, nc_build *b);
} nc_objective;

/* All of them, in the order of objectives.list. */
const nc_objective *const *nc_objectives(int *count);
#endif

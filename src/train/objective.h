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
    /* Before the model is made, its data at hand: which class it is to be (train/classes.h). NULL: as its config.json says. */
    int (*settle)(struct nc_train_run *r, nc_error *e);
    /* Whether the model is one that it trains; its config is read, its weights are not. */
    int (*check)(const struct nc_train_run *r, nc_error *e);
    void (*examples)(const struct nc_train_run *r, nc_example_options *o);   /* the kind of examples and what that kind wants to know */
    int (*program)(struct nc_train_run *r, nc_program_options *o, nc_error *e);   /* what else its programs need; NULL: nothing */
    nc_value *(*loss)(struct nc_train_run *r, nc_build *b);
    /* What an epoch makes of a sample (masked words): its ids and targets, and how many count; ids NULL: only that number. NULL: the sample as it is. */
    int (*draw)(const struct nc_train_run *r, const nc_examples *x, int64_t index, uint64_t epoch, int32_t *ids, int32_t *targets);
    /* What a micro-batch holds beside the tables of the model's prepare; weight: of what counts. NULL: nothing. */
    int (*tables)(struct nc_train_run *r, const nc_examples *x, const int64_t *order, int count, float weight, nc_error *e);
    const char *(*task_type)(const struct nc_train_run *r);      /* as PEFT calls it, "" where it has no word; NULL: CAUSAL_LM, with an encoder SEQ_2_SEQ_LM */
    /* Scores of an evaluation beside its loss, r->scores: after each of its micro-batches. NULL: none. */
    void (*judge)(struct nc_train_run *r, const nc_examples *x, const int64_t *order, int count);
} nc_objective;

/* All of them, in the order of objectives.list. */
const nc_objective *const *nc_objectives(int *count);
#endif

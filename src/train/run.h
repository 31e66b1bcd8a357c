/* run.h - what the files of this folder share: one stage's run. Inside src/train only. */
#ifndef NC_TRAIN_RUN_H
#define NC_TRAIN_RUN_H
#include <signal.h>

#include "data/label_scores.h"
#include "data/pack.h"
#include "load/load.h"
#include "load/peft.h"
#include "optim/optim.h"
#include "train/recipe.h"
#include "train/train.h"

extern volatile sig_atomic_t nc_train_cancelled;

typedef struct nc_memory_row { const char *what; size_t bytes; } nc_memory_row;
enum { NC_MEMORY_ROWS = 12 };

/* Decoded media outlive a stage: the next one with the same processors takes them over. */
typedef struct nc_media_shelf { nc_arena *arena; nc_media_store *store; uint64_t key; } nc_media_shelf;
void nc_media_shelf_clear(nc_media_shelf *s);

typedef struct nc_frozen nc_frozen;

/* A picture to augment: which draws it gets follows from the epoch, the sample and its place in it. */
struct nc_augment_job { int medium, first, count; uint64_t draw; float *out; nc_error error; };

typedef struct nc_train_run {
    const nc_recipe *recipe;
    const nc_recipe_stage *s;
    int index;                       /* of the stage */
    bool plan_only;
    nc_arena *arena;
    nc_pool *pool;
    const nc_kernels *kernels;
    const char *folder;              /* the stage's */
    const char *front;               /* where tokenizer and processor files lie */
    const char *source;              /* the folder weights come from; NULL: random */
    const char *const *results;      /* folders with the results of the stages before, by index */

    nc_loaded *l;
    nc_weights_options weights;
    size_t learned;                  /* the process's peak once it had learned a tokenizer; 0: it learned none */
    nc_conversation *conversation;
    nc_dataset *data, *eval_data;
    nc_media_shelf *shelf;           /* the training's */
    nc_media_store *store;           /* the shelf's */
    nc_augment *augment;             /* NULL: none */
    struct nc_augment_job *jobs;     /* of a micro-batch; NULL without augment */
    nc_examples *train, *eval;
    uint64_t data_hash;
    nc_label_set labels;             /* of a classifier */
    nc_label_scores *scores;         /* of its last evaluation; NULL: has none */
    bool class_changed;              /* the folder's weights are of another class than the one that is trained */
    bool *own;                       /* by site: its class's own (a head, or what the folder lacks), trained whole where the rest gets adapters; NULL: none */
    nc_lora *lora;                   /* NULL in full training */
    nc_site **trained;               /* sites that a gradient reaches */
    int trained_count;

    nc_pack_options pack;
    int *sizes;                      /* tokens of each training example */
    nc_epoch epoch;                  /* the one held */
    int64_t epoch_index;             /* -1: none */
    int64_t *epoch_steps;            /* steps before epoch k; [epochs + 1] */
    int64_t epochs, total_steps;
    int64_t most_tokens, most_scored, most_pictures, most_samples, most_source;   /* of any micro-batch, evaluation included */

    nc_program *program, *judge;     /* with gradient; for evaluation, may be NULL */
    nc_value *loss, *judge_loss;
    nc_frozen *frozen;               /* NULL: none */
    void *memory;
    size_t memory_bytes;
    nc_batch *batch;
    float *pixels;                   /* staging of a micro-batch's pictures */
    nc_seq *seqs;
    int32_t *drawn;                  /* ids and targets of a micro-batch whose objective draws them */
    nc_media *media;
    nc_pixels *frames;
    nc_optim *optim;
    nc_schedule schedule;
    double flops;                    /* of a micro-batch at capacity, backward included */

    nc_memory_row rows[NC_MEMORY_ROWS];
    int row_count;
    size_t planned;

    int64_t step, tokens, samples;   /* done */
    double seconds, first_loss, last_loss, eval_loss;
} nc_train_run;

/* fresh.c: the front folder of a model that starts from a config: tokenizer, processors, config.json. */
int nc_train_fresh(nc_train_run *r, const char *folder, nc_error *e);
/* classes.c: the class of the family that ends so ("ForSequenceClassification") becomes the stage's model, with those labels where they are given: its config.json is written
 * into the stage's own front folder. */
int nc_train_settle(nc_train_run *r, const char *suffix, const char *what, const nc_label_set *labels, nc_error *e);
int nc_train_mark(nc_train_run *r, nc_error *e);                 /* which sites are the class's own, and which of them the folder lacks */
/* material.c: model without memory, tokenizer, data, examples. A stage's name, "stage<k>", a folder or a Hub id to a folder. */
int nc_train_folder(nc_train_run *r, const char *name, const char **folder, nc_error *e);
int nc_train_open(nc_train_run *r, nc_error *e);
void nc_train_close(nc_train_run *r);
/* weights.c: which sites are trained; values from files, other stages, or at random. */
int nc_train_choose(nc_train_run *r, nc_error *e);
int nc_train_fill(nc_train_run *r, nc_error *e);
/* step.c */
int nc_train_schedule(nc_train_run *r, nc_error *e);             /* epochs, steps, capacities */
int nc_train_programs(nc_train_run *r, nc_error *e);
int nc_train_step(nc_train_run *r, double *loss, double *norm, double *rate, nc_error *e);
int nc_train_evaluate(nc_train_run *r, double *loss, nc_error *e);
/* frozen.c: the rows of a tower that is not trained, each medium's computed once. NULL in r: the step's program holds the tower. */
bool nc_frozen_wanted(const nc_train_run *r);
int nc_frozen_new(nc_train_run *r, nc_error *e);                 /* sets r->frozen */
void nc_frozen_free(nc_frozen *f, int media);                    /* NULL is allowed */
nc_program *nc_frozen_program(const nc_frozen *f);               /* runs in the same memory as the step's */
size_t nc_frozen_kept(const nc_frozen *f);                       /* bytes, in the end */
size_t nc_frozen_staging(const nc_frozen *f, int64_t pictures);  /* of one micro-batch */
const void *nc_frozen_rows(const nc_frozen *f, int medium, int frame);
int nc_frozen_see(nc_train_run *r, const nc_examples *x, const int64_t *order, int count, nc_error *e);   /* all media of a micro-batch have rows after it */
/* plan.c */
int nc_train_memory(nc_train_run *r, nc_error *e);               /* fills rows; NC_ELIMIT when it cannot fit */
void nc_train_table(const nc_train_run *r, nc_buf *out);
size_t nc_process_peak(void);                                    /* VmHWM in bytes */
/* loop.c */
int nc_train_loop(nc_train_run *r, nc_error *e);
int nc_train_save(nc_train_run *r, nc_error *e);                 /* folder/model */
#endif

/* train.h - training by a recipe, from the first stage to a Hugging Face folder in output_dir/model.
 *
 *   output_dir/stage<k>/...            one folder a stage (a recipe without `stages` trains in output_dir itself):
 *     checkpoint-<step>/               masters, optimizer state, position; written whole
 *     metrics.jsonl, events.out...     curves
 *     model/, train_results.json       when the stage is done
 *   output_dir/model/                  the last stage's result
 *   output_dir/train_results.json      train_seconds, tokens_per_second, peak_bytes, planned_bytes, stages
 *
 * The same call on a folder with checkpoints of the same recipe and data goes on from the newest whole one, to the same bits.
 */
#ifndef NC_TRAIN_TRAIN_H
#define NC_TRAIN_TRAIN_H
#include "train/recipe.h"

typedef struct nc_train_report {
    double train_seconds, tokens_per_second;     /* of all stages; tokens that went through the model */
    int64_t tokens, steps, samples;
    uint64_t peak_bytes, planned_bytes;          /* VmHWM of the process; the largest stage's plan */
    double first_loss, last_loss, eval_loss;     /* of the last stage; eval_loss NaN without evaluation */
    int stages;
    char model[1024];                            /* output_dir/model */
} nc_train_report;

/* NC_ECANCELLED after nc_train_cancel: a checkpoint has been written and the same call goes on. report may be NULL. */
int nc_train(const char *recipe_path, char *const *overrides, int n, nc_train_report *report, nc_error *e);
/* What a run would take: a table of memory by part and of FLOPs, appended. Trains nothing and leaves nothing on disk. */
int nc_train_plan(const char *recipe_path, char *const *overrides, int n, nc_buf *table, nc_error *e);
/* Async-signal-safe: finish the step, write a checkpoint, return NC_ECANCELLED. */
void nc_train_cancel(void);
#endif
